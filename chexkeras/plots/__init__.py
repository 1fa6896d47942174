"""Figures: each function draws on the axes it is given (or on a new figure), and returns the axes."""

from chexkeras.plots.calibration import reliability
from chexkeras.plots.clinical_use import decision_curve, triage_by_workload, triage_waiting
from chexkeras.plots.comparison import (
    difference_forest,
    precision_recall_comparison,
    roc_comparison,
    threshold_comparison,
)
from chexkeras.plots.curves import precision_recall, roc
from chexkeras.plots.dataset import findings_per_image, images_per_patient, prevalence, views
from chexkeras.plots.eda_age import age_sex, prevalence_by_age
from chexkeras.plots.eda_together import cooccurrence, findings_with
from chexkeras.plots.findings import auroc_bars
from chexkeras.plots.flowchart import flowchart
from chexkeras.plots.images import dicom_verdicts, films
from chexkeras.plots.intensities import intensity_histogram, intensity_profile
from chexkeras.plots.robustness import robustness_forest
from chexkeras.plots.shortcuts import shortcuts
from chexkeras.plots.subgroups import subgroup_forest
from chexkeras.plots.thresholds import confusion_matrix, score_histogram, threshold_tradeoff
from chexkeras.plots.training import training_curves

__all__ = [
    "age_sex",
    "auroc_bars",
    "confusion_matrix",
    "cooccurrence",
    "decision_curve",
    "dicom_verdicts",
    "difference_forest",
    "films",
    "findings_per_image",
    "findings_with",
    "flowchart",
    "images_per_patient",
    "intensity_histogram",
    "intensity_profile",
    "precision_recall",
    "precision_recall_comparison",
    "prevalence",
    "prevalence_by_age",
    "reliability",
    "robustness_forest",
    "roc",
    "roc_comparison",
    "score_histogram",
    "shortcuts",
    "subgroup_forest",
    "threshold_comparison",
    "threshold_tradeoff",
    "training_curves",
    "triage_by_workload",
    "triage_waiting",
    "views",
]
