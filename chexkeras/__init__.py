"""chexkeras: chest X-ray classifiers in Keras, from a folder of films to an honest FDA-style report.

Names are loaded when first used, so that statistics and DICOM checks start without TensorFlow.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "NIH14": "findings",
    "find_data": "data.find",
    "load_nih": "data.nih",
    "load_boxes": "data.nih",
    "make_phantoms": "data.phantom",
    "audit": "data.audit",
    "Splits": "data.splits",
    "split_by_patient": "data.splits",
    "split_by_image": "data.splits",
    "official_split": "data.splits",
    "make_dataset": "data.pipeline",
    "Recipe": "training.recipe",
    "Stage": "training.recipe",
    "preset": "training.presets",
    "build_classifier": "models.classifier",
    "apply_stage": "models.stages",
    "predict_scores": "models.scoring",
    "train": "training.trainer",
    "Run": "training.run",
    "Estimate": "results",
    "OperatingPoint": "results",
    "Evaluation": "results",
    "auc_interval": "evaluation.intervals",
    "proportion_interval": "evaluation.intervals",
    "choose_threshold": "evaluation.thresholds",
    "positives_needed": "evaluation.thresholds",
    "evaluate": "evaluation.evaluate",
    "DicomRejected": "dicom.gate",
    "read_dicom": "dicom.read",
    "Predictor": "inference.predictor",
    "score_folder": "inference.folder",
    "write_report": "report.fda",
    "show_report": "report.shown",
    "run_demo": "demo",
    "plots": "plots",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(
            f"module 'chexkeras' has no attribute {name!r}; public names: {', '.join(sorted(_PUBLIC))}"
        )
    module = importlib.import_module(f"chexkeras.{_PUBLIC[name]}")
    return module if name == "plots" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
