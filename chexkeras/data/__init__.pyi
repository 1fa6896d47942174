# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from .audit.audit import audit as audit
from .audit.duplicates import near_duplicates as near_duplicates, near_duplicates_between as near_duplicates_between
from .audit.result import Audit as Audit
from .audit.shared_images import (
    SharedImages as SharedImages,
    shared_images as shared_images,
    shared_with_training as shared_with_training,
)
from .audit.shortcuts import shortcuts as shortcuts
from .audit.sites import site_shortcuts as site_shortcuts
from .augmentation import Augmentation as Augmentation, augment as augment
from .corrections import apply_corrections as apply_corrections, read_corrections as read_corrections
from .datasets.boxes import load_boxes as load_boxes
from .datasets.chexpert import load_chexpert as load_chexpert
from .datasets.custom import load_table as load_table
from .datasets.labels import (
    add_abnormal as add_abnormal,
    fill_uncertain as fill_uncertain,
    uncertain_mask as uncertain_mask,
)
from .datasets.nih import load_nih as load_nih
from .datasets.overview import list_data_sets as list_data_sets, list_findings as list_findings
from .datasets.published.mimic import load_mimic as load_mimic
from .datasets.published.openi import load_openi as load_openi
from .datasets.published.padchest import load_padchest as load_padchest
from .datasets.published.rsna import load_rsna as load_rsna
from .datasets.published.siim import load_siim as load_siim
from .datasets.published.vindr import load_vindr as load_vindr
from .datasets.registry import DATA_SETS as DATA_SETS, data_set_of as data_set_of, open_data as open_data
from .image_table import ImageTable as ImageTable, TableSource as TableSource, source_of as source_of
from .joint import combine_tables as combine_tables, sites_of as sites_of
from .perturbations import (
    PERTURBATIONS as PERTURBATIONS,
    Perturbation as Perturbation,
    perturbations_of as perturbations_of,
)
from .pipeline import make_dataset as make_dataset
from .readings.load import load_readings as load_readings
from .splits.folds import k_fold as k_fold
from .splits.sites import leave_one_site_out as leave_one_site_out, split_each_site as split_each_site
from .splits.splits import Splits as Splits
from .splits.splitters import (
    official_split as official_split,
    official_split_by_image as official_split_by_image,
    split_by_image as split_by_image,
    split_by_patient as split_by_patient,
)
from .store.prepare import prepare as prepare, prepare_part as prepare_part
from .store.store import Store as Store
