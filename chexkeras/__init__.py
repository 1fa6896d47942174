"""chexkeras: chest X-ray classifiers in Keras, from a folder of images to an honest FDA-style report.

Names are loaded when first used, so that statistics and DICOM checks start without TensorFlow.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "NIH14": "findings",
    "CHEXPERT14": "findings",
    "CHEXPERT5": "findings",
    "find_data": "demo",
    "load_nih": "data.datasets.nih",
    "load_boxes": "data.datasets.nih",
    "load_chexpert": "data.datasets.chexpert",
    "load_table": "data.datasets.custom",
    "open_data": "data.datasets.registry",
    "prepare": "data.store.prepare",
    "Store": "data.store.store",
    "add_abnormal": "data.datasets.labels",
    "uncertain_mask": "data.datasets.labels",
    "fill_uncertain": "data.datasets.labels",
    "make_phantoms": "phantoms",
    "make_chexpert_phantoms": "phantoms",
    "audit": "data.audit.audit",
    "shortcuts": "data.audit.shortcuts",
    "Splits": "data.splits.splitters",
    "split_by_patient": "data.splits.splitters",
    "split_by_image": "data.splits.splitters",
    "official_split": "data.splits.splitters",
    "official_split_by_image": "data.splits.splitters",
    "make_dataset": "data.pipeline",
    "Recipe": "recipes.recipe",
    "Stage": "recipes.recipe",
    "preset": "recipes.presets",
    "presets": "recipes.presets",
    "build_classifier": "models.classifier",
    "apply_stage": "models.stages",
    "predict_scores": "models.scoring",
    "train": "training.trainer",
    "Run": "runs.run",
    "Estimate": "results",
    "OperatingPoint": "results",
    "Evaluation": "results",
    "auc_interval": "evaluation.uncertainty.intervals",
    "proportion_interval": "evaluation.uncertainty.intervals",
    "choose_threshold": "evaluation.thresholds",
    "positives_needed": "evaluation.thresholds",
    "evaluate": "evaluation.evaluate",
    "bootstrap_interval": "evaluation.uncertainty.bootstrap",
    "macro_auc_interval": "evaluation.uncertainty.intervals",
    "compare": "evaluation.comparison.compare",
    "compare_all": "evaluation.comparison.compare",
    "comparison_table": "evaluation.comparison.compare",
    "subgroup_analyses": "evaluation.subgroups",
    "subgroup_table": "evaluation.subgroups",
    "age_bands": "evaluation.subgroups",
    "fleiss_kappa": "evaluation.readers.agreement",
    "readers_against_others": "evaluation.readers.agreement",
    "dawid_skene": "evaluation.readers.dawid_skene",
    "model_against_readers": "evaluation.readers.reader_f1",
    "published_table": "evaluation.comparison.published",
    "compare_published": "evaluation.comparison.published",
    "compare_all_published": "evaluation.comparison.published",
    "measure_calibration": "evaluation.calibration.calibration",
    "fit_recalibration": "evaluation.calibration.recalibration",
    "save_recalibrations": "evaluation.calibration.recalibration",
    "net_benefit": "evaluation.clinical_use.decision_curve",
    "decision_curve": "evaluation.clinical_use.decision_curve",
    "triage_effect": "evaluation.clinical_use.triage",
    "simulate_triage": "evaluation.clinical_use.triage",
    "rates": "evaluation.rates",
    "rates_from_counts": "evaluation.rates",
    "deployment_from_outcomes": "evaluation.clinical_use.deployment",
    "shift_probabilities": "evaluation.calibration.prior_shift",
    "estimate_prevalence": "evaluation.calibration.prior_shift",
    "power_lower_bound": "evaluation.sample_size.rates",
    "sample_size_lower_bound": "evaluation.sample_size.rates",
    "sample_size_proportion": "evaluation.sample_size.rates",
    "design_effect": "evaluation.sample_size.rates",
    "DicomRejected": "dicom.gate",
    "read_dicom": "dicom.read",
    "Predictor": "inference.predictor",
    "Reading": "dicom.workers.options",
    "load_engine": "inference.engines",
    "Ensemble": "inference.ensemble",
    "ScoringViews": "inference.test_time_augmentation",
    "predict_views": "inference.test_time_augmentation",
    "measure_robustness": "inference.robustness",
    "Robustness": "results",
    "Perturbation": "data.perturbations",
    "PERTURBATIONS": "data.perturbations",
    "perturbations_of": "data.perturbations",
    "score_folder": "inference.score_folder",
    "write_report": "report.submission",
    "show_report": "report.submission",
    "write_html": "report.html",
    "write_model_card": "report.model_card",
    "check_report": "report.lint.check",
    "open_fields": "report.submission",
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
