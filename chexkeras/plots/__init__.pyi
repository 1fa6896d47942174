# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from .calibration import reliability as reliability
from .clinical_use import (
    decision_curve as decision_curve,
    triage_by_workload as triage_by_workload,
    triage_waiting as triage_waiting,
)
from .comparison import (
    auroc_bars as auroc_bars,
    difference_forest as difference_forest,
    draw_comparison as draw_comparison,
    precision_recall_comparison as precision_recall_comparison,
    roc_comparison as roc_comparison,
    threshold_comparison as threshold_comparison,
)
from .curves import precision_recall as precision_recall, roc as roc
from .dataset import (
    age_sex as age_sex,
    cooccurrence as cooccurrence,
    findings_per_image as findings_per_image,
    findings_with as findings_with,
    images_per_patient as images_per_patient,
    prevalence as prevalence,
    prevalence_by_age as prevalence_by_age,
    views as views,
)
from .explanation.heatmaps import heatmap as heatmap, heatmap_gallery as heatmap_gallery
from .explanation.scored_files import save_heatmaps as save_heatmaps
from .flowchart import flowchart as flowchart
from .forest import (
    gaps_forest as gaps_forest,
    robustness_forest as robustness_forest,
    sites_forest as sites_forest,
    subgroup_forest as subgroup_forest,
)
from .images import dicom_verdicts as dicom_verdicts, image_gallery as image_gallery, images as images
from .readers.reader_study import (
    plot_reader_study as plot_reader_study,
    reader_forest as reader_forest,
    reader_roc as reader_roc,
)
from .scoring.files import file_images as file_images, file_scores as file_scores
from .scoring.novelty import novelty_distances as novelty_distances
from .shortcuts import (
    intensity_histogram as intensity_histogram,
    intensity_profile as intensity_profile,
    shortcut_comparison as shortcut_comparison,
    shortcuts as shortcuts,
)
from .sites.external import external_forest as external_forest
from .thresholds import (
    confusion_matrix as confusion_matrix,
    score_histogram as score_histogram,
    threshold_tradeoff as threshold_tradeoff,
)
from .training.experiments import fold_plot as fold_plot
from .training.history import training_curves as training_curves
