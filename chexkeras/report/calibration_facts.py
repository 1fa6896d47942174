"""Facts on scores as probabilities: calibration, net benefit, and what another prevalence would make of them."""

from typing import Any

import pandas as pd

from chexkeras.report.facts import Documents, Facts, percent, printed
from chexkeras.report.performance_facts import compared
from chexkeras.results import Calibration, Estimate

_FILE, _SCORES = "evaluation.json", "scores_test.csv"
_ESTIMATES = ("intercept", "slope", "brier", "expected_calibration_error")
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Threshold probabilities shown where the author states none."""

_REPLICATES = 500
_BALANCED = 0.5


def _signed(estimate: Estimate) -> str:
    """Returns a number with its interval where both may be negative."""
    if not estimate.estimable:
        return f"not estimable ({estimate.reason})"
    value, low, high = (f"{number:.2f}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({estimate.confidence * 100:g} % CI {low} to {high}; n = {estimate.n:,})"


def _add_measured(facts: Facts, documents: Documents, index: int, finding: str) -> bool:
    """Records the calibration that was measured; returns whether the scores can be read as probabilities."""
    at, key = f"findings[{index}].calibration", f"calibration.{finding}"
    plain = documents.pick(_FILE, at, None)
    facts.add(key, plain is not None, file=_FILE, field=f"{at}, whether it was measured")
    if plain is None:
        return False
    measured = Calibration.from_dict(plain)
    for name in _ESTIMATES:
        estimate = getattr(measured, name)
        text = _signed(estimate) if name in ("intercept", "slope") else None
        facts.add(f"{key}.{name}", estimate, text, file=_FILE, field=f"{at}.{name}")
    for name in ("reliability", "resolution", "uncertainty"):
        value = getattr(measured, name)
        facts.add(f"{key}.{name}", value, f"{value:.4f}", file=_FILE, field=f"{at}.{name}")
    documents.add(facts, f"{key}.scores", _FILE, f"{at}.scores")
    facts.add(f"{key}.bins", len(measured.bins), file=_FILE, field=f"{at}.bins, how many")
    words = {"intercept": compared(measured.intercept, 0.0), "slope": compared(measured.slope, 1.0)}
    for name, word in words.items():
        facts.add(f"{key}.{name}_is", word, file=_FILE, field=f"{at}.{name} against the ideal")
    return set(words.values()) == {"around"}


def _add_net_benefit(facts: Facts, finding: str, rows: pd.DataFrame, thresholds: list[float], share: Any) -> None:
    from chexkeras.evaluation.utility import decision_curve

    key = f"decision.{finding}"
    known = rows[rows["label"].notna()]
    both = known["label"].nunique() > 1
    facts.add(key, both, file=_SCORES, field=f"{finding}: whether both classes are there")
    if not both:
        return
    curve = decision_curve(known["label"], known["score"], thresholds=thresholds, prevalence=share,
                           clusters=known["patient_id"], replicates=_REPLICATES)  # fmt: skip
    confidence = f"{curve.attrs['confidence'] * 100:g} % CI"
    table = []
    for row in curve.to_dict("records"):
        net = f"{row['net_benefit']:.4f} ({confidence} {row['low']:.4f} to {row['high']:.4f})"
        gain = f"{row['difference']:.4f} ({confidence} {row['difference_low']:.4f} to {row['difference_high']:.4f})"
        word = "above" if row["difference_low"] > 0 else "below" if row["difference_high"] < 0 else "not distinguishable"
        table.append([f"{row['threshold_probability']:g}", net, f"{row['treat_all']:.4f}", gain, word])
    stated = "stated in submission.toml" if share is not None else "observed"
    facts.add(f"{key}.table", table, "", file=_SCORES, field=f"{finding}: net benefit at the {stated} prevalence")
    facts.add(f"{key}.prevalence", curve.attrs["prevalence"], percent(curve.attrs["prevalence"], 2), file=_SCORES,
              field=f"{finding}: prevalence of the decision curve, {stated}")  # fmt: skip
    facts.add(f"{key}.method", curve.attrs["method"], file=_SCORES, field=f"{finding}: how the limits were computed")


def _add_shift(facts: Facts, documents: Documents, finding: str, rows: pd.DataFrame, stated: float | None) -> None:
    """Records the prevalence that scores alone suggest, and what the threshold becomes at the stated one."""
    from chexkeras.evaluation.prevalence import estimate_prevalence, shift_probabilities

    key = f"shift.{finding}"
    balanced = (documents.pick("recipe.json", "loss") or {}).get("class_weights") == "balanced"
    trained = facts[f"data.train.{finding}.prevalence"].value if "train" in facts["parts"].value else float("nan")
    before = _BALANCED if balanced else trained
    why = "class weights balanced the classes" if balanced else "share of positives in the training part"
    facts.add(f"{key}.from", before, percent(before), file="recipe.json" if balanced else "table.csv",
              field=f"{finding}: {why}")  # fmt: skip
    facts.add(f"{key}.from_reason", why, file="recipe.json", field="loss.class_weights")
    known = rows[rows["label"].notna()]
    possible = 0 < before < 1 and len(known) > 0
    facts.add(key, possible, file=_SCORES, field=f"{finding}: whether a shift can be computed")
    if not possible:
        return
    found = estimate_prevalence(known["score"], train_prevalence=before, clusters=known["patient_id"],
                                replicates=_REPLICATES).prevalence  # fmt: skip
    facts.add(f"{key}.estimated", found, file=_SCORES, field=f"{finding}: prevalence estimated from scores alone")
    observed = float((known["label"] == 1).mean())
    facts.add(f"{key}.observed", observed, percent(observed), file=_SCORES, field=f"{finding}: share labelled positive")
    facts.add(f"{key}.agrees", compared(found, observed), file=_SCORES,
              field=f"{finding}: estimated against labelled prevalence")  # fmt: skip
    if stated is not None and facts[f"point.{finding}"].value:
        threshold = facts[f"point.{finding}.threshold"].value
        value = float(shift_probabilities([threshold], from_prevalence=before, to_prevalence=stated)[0])
        facts.add(f"{key}.threshold", value, f"{value:.3g}", file="operating_points.json",
                  field=f"{finding}: threshold as a probability at the prevalence of submission.toml")  # fmt: skip


def add_calibration(facts: Facts, documents: Documents, scores: pd.DataFrame, answers: Any) -> None:
    """Records calibration, net benefit and prevalence shift of every finding.

    Args:
        facts: Where they go; thresholds and data are there already.
        documents: The run's files.
        scores: Of the test part.
        answers: The author's `Answers`.
    """
    chosen = answers.get("decision.thresholds")
    thresholds = list(chosen or THRESHOLDS)
    facts.add("decision.thresholds", thresholds, printed(thresholds), file="submission.toml" if chosen else "convention",
              field="decision.thresholds" if chosen else "threshold probabilities shown by default")  # fmt: skip
    for index, entry in enumerate(documents.pick(_FILE, "findings")):
        finding = str(entry["finding"])
        rows = scores[scores["finding"] == finding]
        readable = _add_measured(facts, documents, index, finding)
        facts.add(f"calibration.{finding}.readable", readable, file=_FILE,
                  field=f"findings[{index}].calibration, slope and intercept against the ideal")  # fmt: skip
        share = answers.prevalences.get(finding)
        _add_net_benefit(facts, finding, rows, thresholds, share)
        _add_shift(facts, documents, finding, rows, share)
