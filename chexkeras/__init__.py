"""chexkeras: chest X-ray classifiers in Keras, from a folder of films to an honest FDA-style report.

Names are loaded when first used, so that statistics and DICOM checks start without TensorFlow.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "NIH14": "findings",
    "CHEXPERT14": "findings",
    "CHEXPERT5": "findings",
    "find_data": "data.find",
    "load_nih": "data.nih",
    "load_boxes": "data.nih",
    "load_chexpert": "data.chexpert",
    "load_table": "data.table",
    "open_data": "data.open",
    "prepare": "data.prepare",
    "Store": "data.store",
    "add_abnormal": "data.abnormal",
    "uncertain_mask": "data.uncertain",
    "fill_uncertain": "data.uncertain",
    "make_phantoms": "data.phantom",
    "make_chexpert_phantoms": "data.phantom",
    "audit": "data.audit",
    "shortcuts": "data.shortcuts",
    "Splits": "data.splits",
    "split_by_patient": "data.splits",
    "split_by_image": "data.splits",
    "official_split": "data.splits",
    "official_split_by_image": "data.splits",
    "make_dataset": "data.pipeline",
    "Recipe": "training.recipe",
    "Stage": "training.recipe",
    "preset": "training.presets",
    "presets": "training.presets",
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
    "bootstrap_interval": "evaluation.bootstrap",
    "macro_auc_interval": "evaluation.macro",
    "compare": "evaluation.comparison",
    "compare_all": "evaluation.comparison",
    "comparison_table": "evaluation.comparison",
    "subgroup_analyses": "evaluation.subgroups",
    "subgroup_table": "evaluation.subgroups",
    "age_bands": "evaluation.grouping",
    "fleiss_kappa": "evaluation.readers",
    "readers_against_others": "evaluation.readers",
    "dawid_skene": "evaluation.dawid_skene",
    "model_against_readers": "evaluation.reader_f1",
    "published_table": "evaluation.published",
    "compare_published": "evaluation.published_comparison",
    "compare_all_published": "evaluation.published_comparison",
    "measure_calibration": "evaluation.calibration",
    "fit_recalibration": "evaluation.recalibration",
    "save_recalibrations": "evaluation.recalibration",
    "net_benefit": "evaluation.utility",
    "decision_curve": "evaluation.utility",
    "triage_effect": "evaluation.triage",
    "simulate_triage": "evaluation.triage_simulation",
    "rates": "evaluation.rates",
    "rates_from_counts": "evaluation.rates",
    "deployment_from_outcomes": "evaluation.deployment",
    "shift_probabilities": "evaluation.prevalence",
    "estimate_prevalence": "evaluation.prevalence",
    "power_lower_bound": "evaluation.planning",
    "sample_size_lower_bound": "evaluation.planning",
    "sample_size_proportion": "evaluation.planning",
    "design_effect": "evaluation.planning",
    "DicomRejected": "dicom.gate",
    "read_dicom": "dicom.read",
    "Predictor": "inference.predictor",
    "Reading": "dicom.reading",
    "load_engine": "inference.engines",
    "Ensemble": "inference.ensemble",
    "ScoringViews": "inference.views",
    "predict_views": "inference.views",
    "measure_robustness": "inference.robustness",
    "Robustness": "results",
    "Perturbation": "data.perturb",
    "PERTURBATIONS": "data.perturb",
    "perturbations_of": "data.perturb",
    "score_folder": "inference.folder",
    "write_report": "report.fda",
    "show_report": "report.shown",
    "write_html": "report.html",
    "write_model_card": "report.model_card",
    "check_report": "report.lint",
    "open_fields": "report.fda",
    "load_answers": "report.answers",
    "write_answers_template": "report.answers",
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
    return module if name in ("plots", "presets") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
