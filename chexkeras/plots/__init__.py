"""Figures: each function draws on the axes it is given (or on a new figure), and returns the axes."""

from chexkeras.plots.calibration import reliability
from chexkeras.plots.clinical_use import decision_curve, triage_by_workload, triage_waiting
from chexkeras.plots.comparison import (
    auroc_bars,
    difference_forest,
    precision_recall_comparison,
    roc_comparison,
    threshold_comparison,
)
from chexkeras.plots.curves import precision_recall, roc
from chexkeras.plots.dataset import (
    age_sex,
    cooccurrence,
    findings_per_image,
    findings_with,
    images_per_patient,
    prevalence,
    prevalence_by_age,
    views,
)
from chexkeras.plots.flowchart import flowchart
from chexkeras.plots.forest import robustness_forest, subgroup_forest
from chexkeras.plots.images import dicom_verdicts, images
from chexkeras.plots.shortcuts import intensity_histogram, intensity_profile, shortcuts
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
    "findings_per_image",
    "findings_with",
    "flowchart",
    "images",
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
