"""Figures: each function draws on the axes it is given (or on a new figure), and returns the axes."""

from chexkeras.plots.decisions import confusion_matrix, score_histogram, threshold_tradeoff
from chexkeras.plots.eda import age_sex, cooccurrence, findings_per_image, images_per_patient, prevalence, views
from chexkeras.plots.evaluation import precision_recall, roc
from chexkeras.plots.films import dicom_verdicts, films
from chexkeras.plots.flowchart import flowchart
from chexkeras.plots.intensities import intensity_histogram
from chexkeras.plots.training import training_curves

__all__ = [
    "age_sex",
    "confusion_matrix",
    "cooccurrence",
    "dicom_verdicts",
    "films",
    "findings_per_image",
    "flowchart",
    "images_per_patient",
    "intensity_histogram",
    "precision_recall",
    "prevalence",
    "roc",
    "score_histogram",
    "threshold_tradeoff",
    "training_curves",
    "views",
]
