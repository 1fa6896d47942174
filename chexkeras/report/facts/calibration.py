"""Facts on scores as probabilities: calibration, net benefit, and what another prevalence would make of them."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from chexkeras.report.facts.facts import Facts, percent, printed
from chexkeras.report.facts.performance import compared
from chexkeras.report.facts.run_reader import Documents
from chexkeras.results import Calibration, Estimate

_FILE, _SCORES, _RECALIBRATION = "evaluation.json", "scores_test.csv", "recalibration.json"
IDEAL = {"intercept": 0, "slope": 1, "brier": 0, "expected_calibration_error": 0}
"""What perfectly calibrated scores would have; for the Brier score, scores that are also always right."""

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Threshold probabilities shown where the author states none."""

_REPLICATES = 500
_SHIFT_REPLICATES = 200
_BALANCED = 0.5
_SURE = 1e-12


class Probabilities(NamedTuple):
    """A finding's test scores as they are read as probabilities.

    Attributes:
        rows: Scores table of the finding: recalibrated where a recalibration was saved with the run.
        words: What the scores are.
        prevalence: At which they are calibrated, as far as they are; NaN where that is not known.
        origin: Where that prevalence comes from, in words.
        file: The file that it comes from.
        recalibration: The saved `Recalibration`, or None.
    """

    rows: pd.DataFrame
    words: str
    prevalence: float
    origin: str
    file: str
    recalibration: Any


def probabilities_of(run: Any, finding: str) -> Probabilities:
    """Returns the test scores of a finding, recalibrated where the run keeps a recalibration of them.

    Args:
        run: A `Run`.
        finding: One that was scored.
    """
    scores = run.scores("test")
    rows = scores[scores["finding"] == finding]
    saved = next((entry for entry in run.recalibrations if entry.finding == finding), None)
    if saved is not None:
        share = saved.n_positive / (saved.n_positive + saved.n_negative)
        origin = f"share of positives in the {saved.fitted_on} part, which fitted the recalibration"
        return Probabilities(saved.apply(rows), saved.description, share, origin, _RECALIBRATION, saved)
    if run.recipe.to_dict()["loss"].get("class_weights") == "balanced":
        origin = "class weights balanced the classes"
        return Probabilities(rows, Calibration.scores, _BALANCED, origin, "recipe.json", None)
    train = run.table.loc[run.table["part"] == "train", finding].dropna()
    share = float((train == 1).mean()) if len(train) else float("nan")
    return Probabilities(rows, Calibration.scores, share, "share of positives in training", "table.csv", None)


def _signed(estimate: Estimate) -> str:
    """Returns a number with its interval where both may be negative."""
    if not estimate.estimable:
        return f"not estimable ({estimate.reason})"
    value, low, high = (f"{number:.2f}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({estimate.confidence * 100:g} % CI {low} to {high}; n = {estimate.n:,})"


def _add_calibration_of(facts: Facts, key: str, measured: Calibration, file: str, at: str) -> None:
    """Records a calibration under `key`, and how it lies to the ideal."""
    for name in IDEAL:
        estimate = getattr(measured, name)
        text = _signed(estimate) if name in ("intercept", "slope") else None
        facts.add(f"{key}.{name}", estimate, text, file=file, field=f"{at}.{name}")
    for name in ("reliability", "resolution", "uncertainty"):
        value = getattr(measured, name)
        facts.add(f"{key}.{name}", value, f"{value:.4f}", file=file, field=f"{at}.{name}")
    facts.add(f"{key}.scores", measured.scores, file=file, field=f"{at}.scores")
    facts.add(f"{key}.bins", len(measured.bins), file=file, field=f"{at}.bins, how many")
    words = {"intercept": compared(measured.intercept, 0.0), "slope": compared(measured.slope, 1.0)}
    for name, word in words.items():
        facts.add(f"{key}.{name}_is", word, file=file, field=f"{at}.{name} against the ideal")
    readable = set(words.values()) == {"around"}
    facts.add(f"{key}.readable", readable, file=file, field=f"{at}, slope and intercept against the ideal")


def _add_measured(facts: Facts, documents: Documents, index: int, finding: str) -> None:
    """Records the calibration that was measured when the run was evaluated."""
    at, key = f"findings[{index}].calibration", f"calibration.{finding}"
    plain = documents.pick(_FILE, at, None)
    facts.add(key, plain is not None, file=_FILE, field=f"{at}, whether it was measured")
    if plain is not None:
        _add_calibration_of(facts, key, Calibration.from_dict(plain), _FILE, at)


def _add_recalibrated(facts: Facts, finding: str, found: Probabilities) -> None:
    """Records how the saved recalibration does on the test part."""
    from chexkeras.evaluation.calibration.calibration import measure_calibration

    key, saved = f"recalibrated.{finding}", found.recalibration
    facts.add(key, saved is not None, file=_RECALIBRATION if saved else "convention",
              field=f"{finding}: whether a recalibration was saved with the run")  # fmt: skip
    if saved is None:
        return
    facts.add(f"{key}.note", saved.note, file=_RECALIBRATION, field=f"{finding}: note")
    measured = measure_calibration(
        found.rows["label"], found.rows["score"], clusters=found.rows["patient_id"].to_numpy(), replicates=_REPLICATES,
        confidence=facts["test.confidence"].value, scores_are=found.words,
    )  # fmt: skip
    _add_calibration_of(facts, key, measured, _SCORES, f"{finding}, after {_RECALIBRATION}")


def decision_rows(found: Probabilities, stated: float | None) -> pd.DataFrame:
    """Returns the scores that a decision curve compares with threshold probabilities.

    Args:
        found: From `probabilities_of`.
        stated: The prevalence that the author stated, or None. Recalibrated scores are shifted to it; others are taken
            at their word, since a shift is valid for calibrated scores only.
    """
    from chexkeras.evaluation.calibration.prior_shift import shift_probabilities

    known = found.rows[found.rows["label"].notna()]
    if found.recalibration is None or stated is None:
        return known
    shifted = shift_probabilities(known["score"], from_prevalence=found.prevalence, to_prevalence=stated)
    return known.assign(score=shifted)


def _benefit(value: float) -> str:
    """Returns a net benefit as printed; what rounds to none has no sign."""
    return f"{round(value, 4) + 0.0:.4f}"


def _add_net_benefit(
    facts: Facts, finding: str, found: Probabilities, thresholds: list[float], share: float | None
) -> None:
    from chexkeras.evaluation.clinical_use.decision_curve import decision_curve

    key = f"decision.{finding}"
    known = decision_rows(found, share)
    both = known["label"].nunique() > 1
    facts.add(key, both, file=_SCORES, field=f"{finding}: whether both classes are there")
    if not both:
        return
    curve = decision_curve(known["label"], known["score"], thresholds=thresholds, prevalence=share,
                           clusters=known["patient_id"], replicates=_REPLICATES,
                           confidence=facts["test.confidence"].value)  # fmt: skip
    confidence = f"{curve.attrs['confidence'] * 100:g} % CI"
    table = []
    for row in curve.to_dict("records"):
        shown = {name: _benefit(value) for name, value in row.items()}
        net = f"{shown['net_benefit']} ({confidence} {shown['low']} to {shown['high']})"
        gain = f"{shown['difference']} ({confidence} {shown['difference_low']} to {shown['difference_high']})"
        word = (
            "above" if row["difference_low"] > 0 else "below" if row["difference_high"] < 0 else "not distinguishable"
        )
        if math.isnan(row["difference_low"] + row["difference_high"] + row["low"] + row["high"]):
            without = "without an interval: too few patients"
            net, gain = f"{shown['net_benefit']} ({without})", f"{shown['difference']} ({without})"
            word = "not estimable"
        table.append([f"{row['threshold_probability']:g}", net, shown["treat_all"], gain, word])
    stated = "stated in submission.toml" if share is not None else "observed"
    facts.add(f"{key}.table", table, "", file=_SCORES, field=f"{finding}: net benefit at the {stated} prevalence")
    value = float(curve.attrs["prevalence"])
    facts.add(f"{key}.prevalence", value, percent(value, 2), file=_SCORES if share is None else "submission.toml",
              field=f"{finding}: prevalence of the decision curve, {stated}")  # fmt: skip
    facts.add(f"{key}.scores", found.words, file=found.file, field=f"{finding}: which scores the curve rests on")
    facts.add(f"{key}.method", str(curve.attrs["method"]), file=_SCORES, field=f"{finding}: how limits were computed")


def border(scores: Any, before: float) -> int | None:
    """Returns 0 or 1 where the likelihood of a prevalence keeps rising up to there, so that no share in between fits.

    The likelihood of scores at another prevalence is concave in it: it is largest at a border if it still rises there.

    Args:
        scores: Probabilities calibrated at `before`.
        before: Prevalence, strictly between 0 and 1.

    Example:
        >>> border([0.9, 0.95], 0.1), border([0.2, 0.6], 0.4)
        (1, None)
    """
    values = np.clip(np.asarray(scores, dtype=np.float64), _SURE, 1 - _SURE)
    ratios = (values / before) / ((1 - values) / (1 - before))
    if np.mean(ratios) <= 1:
        return 0
    return 1 if np.mean(1 / ratios) <= 1 else None


def _add_shift(facts: Facts, finding: str, found: Probabilities, stated: float | None) -> None:
    """Records the prevalence that scores alone suggest, and what the threshold becomes at the stated one."""
    from chexkeras.evaluation.calibration.prior_shift import estimate_prevalence, shift_probabilities

    key, before = f"shift.{finding}", found.prevalence
    facts.add(f"{key}.from", before, percent(before), file=found.file, field=f"{finding}: {found.origin}")
    facts.add(f"{key}.from_reason", found.origin, file=found.file, field=f"{finding}: where that share comes from")
    known = found.rows[found.rows["label"].notna()]
    possible = 0 < before < 1 and len(known) > 0
    facts.add(key, possible, file=_SCORES, field=f"{finding}: whether a shift can be computed")
    if not possible:
        return
    estimated = estimate_prevalence(known["score"], train_prevalence=before, clusters=known["patient_id"],
                                    replicates=_SHIFT_REPLICATES).prevalence  # fmt: skip
    end = border(known["score"], before)
    if end is not None and estimated.estimable:
        reason = f"the scores fit no share of positives better than {'all' if end else 'none'}, so they are too far off"
        estimated = Estimate.not_estimable(reason, n=estimated.n, confidence=estimated.confidence)
    facts.add(f"{key}.estimated", estimated, file=_SCORES, field=f"{finding}: prevalence estimated from scores alone")
    observed = float((known["label"] == 1).mean())
    facts.add(f"{key}.observed", observed, percent(observed), file=_SCORES, field=f"{finding}: share labelled positive")
    facts.add(f"{key}.agrees", compared(estimated, observed), file=_SCORES,
              field=f"{finding}: estimated against labelled prevalence")  # fmt: skip
    if stated is not None and facts[f"point.{finding}"].value:
        threshold = facts[f"point.{finding}.threshold"].value
        if found.recalibration is not None:
            threshold = float(found.recalibration.probabilities([threshold])[0])
        value = float(shift_probabilities([threshold], from_prevalence=before, to_prevalence=stated)[0])
        facts.add(f"{key}.threshold", value, f"{value:.3g}", file="operating_points.json",
                  field=f"{finding}: threshold as a probability at the prevalence of submission.toml")  # fmt: skip


def add_calibration(facts: Facts, documents: Documents, run: Any, answers: Any) -> None:
    """Records calibration, net benefit and prevalence shift of every finding.

    Args:
        facts: Where they go; thresholds and data are there already.
        documents: The run's files.
        run: The `Run`.
        answers: The author's `Answers`.
    """
    chosen = answers.get("decision.thresholds")
    thresholds = list(chosen or THRESHOLDS)
    file = "submission.toml" if chosen else "convention"
    field = "decision.thresholds" if chosen else "threshold probabilities shown by default"
    for name, ideal in IDEAL.items():
        facts.add(f"ideal.{name}", ideal, file="convention", field=f"ideal {name.replace('_', ' ')}")
    facts.add("decision.thresholds", thresholds, printed(thresholds), file=file, field=field)
    for index, finding in enumerate(facts["evaluated"].value):
        found = probabilities_of(run, finding)
        _add_measured(facts, documents, index, finding)
        _add_recalibrated(facts, finding, found)
        # What the calibration of the scores in use says; unmeasured scores must not be read as probabilities.
        used = f"{'recalibrated' if found.recalibration is not None else 'calibration'}.{finding}.readable"
        readable = used in facts and bool(facts[used].value)
        facts.add(f"probabilities.{finding}", readable, file=_SCORES,
                  field=f"{finding}: slope and intercept of the scores in use, against the ideal")  # fmt: skip
        share = answers.prevalences.get(finding)
        _add_net_benefit(facts, finding, found, thresholds, share)
        _add_shift(facts, finding, found, share)
