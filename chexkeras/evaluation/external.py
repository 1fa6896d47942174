"""A run at another hospital, in numbers: against its own test part, and what adjusting it to the place would give."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from chexkeras.evaluation.calibration.calibration import measure_calibration
from chexkeras.evaluation.calibration.recalibration import fit_recalibration
from chexkeras.evaluation.comparison.unpaired import compare_unpaired
from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.scores import Scores
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.results import Comparison, ExternalFinding, LocalAdjustment, OperatingPoint
from chexkeras.results.external import INTERNAL


def against_internal(
    scores: Scores,
    internal: Scores,
    points: Sequence[OperatingPoint],
    *,
    labels: Mapping[str, str],
    name: str,
    margins: tuple[float, float],
    same_source: bool = False,
    seen_by_weights: bool = False,
) -> tuple[ExternalFinding, ...]:
    """Returns each finding of an external test beside the run's own test part: other patients, the same thresholds.

    Args:
        scores: Of the images there.
        internal: The run's test scores.
        points: The run's frozen operating points of these findings.
        labels: The label column there, by the run's finding.
        name: What the site is called.
        margins: Losses that matter: of AUROC, and of sensitivity and specificity, each in (0, 1).
        same_source: Whether patients of both are numbered alike; between hospitals a number means different people.
        seen_by_weights: Whether the weights that the run began with have seen images there: nothing is said to hold.
    """
    there: pd.DataFrame = scores
    if not same_source:
        there = scores.assign(patient_id=f"{name}: " + scores["patient_id"])
    known = list(labels)
    decided = {point.finding for point in points}
    made: dict[str, list[Comparison]] = {finding: [] for finding in known}
    for group, used in ((decided, points), (set(known) - decided, [])):
        if not group:
            continue
        stated = {"AUROC": margins[0]}
        stated |= dict.fromkeys(("sensitivity", "specificity"), margins[1]) if used else {}
        for entry in compare_unpaired(
            there[there["finding"].isin(group)],
            internal[internal["finding"].isin(group)],
            names=(name, INTERNAL),
            points=used or None,
            statistics=("AUROC", "calibration slope", "calibration intercept"),
            margin=stated,
        ):
            made[entry.finding].append(entry)
    found = []
    for finding in known:
        rows = scores[scores["finding"] == finding]
        positive, negative = (int(rows.loc[rows["label"] == label, "patient_id"].nunique()) for label in (1, 0))
        compared = tuple(made[finding])
        found.append(ExternalFinding(finding, labels[finding], positive, negative, compared, seen_by_weights))
    return tuple(found)


def forecast_adjustment(
    scores: Scores, points: Sequence[OperatingPoint], fitting: Collection[str]
) -> tuple[LocalAdjustment, ...]:
    """Returns what a threshold and a recalibration chosen on some images of a site give on its others.

    Args:
        scores: Of the images there.
        points: The run's frozen operating points; the local threshold follows the rule of each.
        fitting: Image ids that choose; no patient has images among them and among the others.
    """
    made = []
    for point in points:
        rows = scores.of_finding(point.finding).labelled()
        fit = rows["image_id"].isin(fitting)
        made.append(_adjusted(point, rows[fit], rows[~fit]))
    return tuple(made)


def _adjusted(point: OperatingPoint, fit: Scores, rest: Scores) -> LocalAdjustment:
    counts = {
        "n_fitted": len(fit), "n_fitted_positive": int((fit["label"] == 1).sum()),
        "n_measured": len(rest), "n_measured_positive": int((rest["label"] == 1).sum()),
    }  # fmt: skip
    about: dict[str, Any] = {"finding": point.finding, "frozen_threshold": point.threshold, **counts}
    if not len(fit) or not len(rest):
        return LocalAdjustment(**about, reason="one half of the patients has no known label")
    positive, score, patients = rest.arrays()
    found: dict[str, Any] = {}
    reasons = []
    frozen = rates(positive, score >= point.threshold, clusters=patients)
    found |= {"sensitivity_frozen": frozen.sensitivity, "specificity_frozen": frozen.specificity}
    try:
        # A threshold that was stated is stated at the site too.
        local = choose_threshold(
            fit, rule=point.rule, target=point.target, finding=point.finding, chosen_on="half of the site"
        )
        there = rates(positive, score >= local.threshold, clusters=patients)
        found |= {
            "local_threshold": local.threshold,
            "sensitivity_local": there.sensitivity,
            "specificity_local": there.specificity,
        }
    except ValueError as error:
        reasons.append(f"no threshold: {error}")
    before = measure_calibration(positive, score, clusters=patients)
    found |= {"slope_before": before.slope, "intercept_before": before.intercept, "brier_before": before.brier}
    try:
        platt = fit_recalibration(fit, method="platt", finding=point.finding, fitted_on="half of the site")
        after = measure_calibration(positive, platt.probabilities(score), clusters=patients)
        found |= {"slope_after": after.slope, "intercept_after": after.intercept, "brier_after": after.brier}
    except ValueError as error:
        reasons.append(f"no recalibration: {error}")
    return LocalAdjustment(**about, **found, reason="; ".join(reasons)[:500])
