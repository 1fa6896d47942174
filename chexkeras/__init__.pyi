# The public names of chexkeras: what editors and type checkers see, and what Python loads when they are used.

from . import (
    data as data,
    delivery as delivery,
    dicom as dicom,
    evaluation as evaluation,
    explanation as explanation,
    inference as inference,
    models as models,
    phantoms as phantoms,
    plots as plots,
    recipes as recipes,
    report as report,
    results as results,
)
from .data.audit.audit import audit as audit
from .data.datasets.chexpert import load_chexpert as load_chexpert
from .data.datasets.custom import load_table as load_table
from .data.datasets.nih import load_nih as load_nih
from .data.datasets.registry import open_data as open_data
from .data.splits.splits import Splits as Splits
from .data.splits.splitters import (
    official_split as official_split,
    split_by_image as split_by_image,
    split_by_patient as split_by_patient,
)
from .data.store.prepare import prepare as prepare
from .demo import find_data as find_data, find_run as find_run, run_demo as run_demo
from .dicom.read import read_dicom as read_dicom
from .dicom.rejection import DicomRejected as DicomRejected
from .evaluation.comparison.compare import compare as compare, compare_all as compare_all
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.reference_standard.label_quality import label_quality as label_quality
from .evaluation.thresholds import choose_threshold as choose_threshold
from .explanation.explain import explain as explain
from .findings import CHEXPERT14 as CHEXPERT14, NIH14 as NIH14
from .inference.ensemble import Ensemble as Ensemble
from .inference.external import evaluate_external as evaluate_external
from .inference.predictor import Predictor as Predictor
from .inference.robustness import measure_robustness as measure_robustness
from .inference.score_folder import score_folder as score_folder
from .notebook import notebook_settings as notebook_settings
from .page.serve import app as app
from .phantoms.nih import make_phantoms as make_phantoms
from .recipes import presets as presets
from .recipes.presets import preset as preset
from .recipes.recipe import Recipe as Recipe, Stage as Stage
from .report.html import write_html as write_html
from .report.lint.check import check_report as check_report
from .report.model_card import write_model_card as write_model_card
from .report.submission import show_report as show_report, write_report as write_report
from .results import Estimate as Estimate, Evaluation as Evaluation, OperatingPoint as OperatingPoint
from .runs.analysis import evaluate_by_readers as evaluate_by_readers
from .runs.run import Run as Run
from .runs.series import CrossValidation as CrossValidation, SeedRuns as SeedRuns, Sweep as Sweep
from .training.elsewhere import run_from_model as run_from_model
from .training.experiments.cross_validation import cross_validate as cross_validate, train_seeds as train_seeds
from .training.experiments.sweep import sweep as sweep
from .training.second_pass import fill_uncertain_from as fill_uncertain_from
from .training.trainer import train as train

__version__: str
