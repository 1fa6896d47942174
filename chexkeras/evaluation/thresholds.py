"""Choosing the decision threshold on one part of the data and freezing it with the rule that chose it.

Scores in, frozen `OperatingPoint` out. A threshold is always one of the observed scores, stored exactly; images with
the same score are called together.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from chexkeras import checks
from chexkeras.evaluation.inputs import one_class
from chexkeras.evaluation.intervals import clustered_proportion_interval
from chexkeras.evaluation.metrics import threshold_table
from chexkeras.evaluation.scores import check_scores, scores_fingerprint
from chexkeras.results import Estimate, OperatingPoint

__all__ = ["RULES", "choose_threshold", "positives_needed", "scores_fingerprint"]

RULES = ("sensitivity", "guarded_sensitivity", "specificity", "youden", "f1", "fixed")
"""Rules that `choose_threshold` knows."""


def positives_needed(target: float, confidence: float = 0.95) -> int:
    """Returns the smallest number of positives with which the guarded rule can promise `target`.

    Even if every positive is found, the one-sided Clopper-Pearson bound is only ``(1 - confidence) ** (1 / n)``.

    Args:
        target: Sensitivity to promise, strictly between 0 and 1.
        confidence: One-sided confidence, in (0, 1).

    Returns:
        The number of positive images.

    Example:
        >>> positives_needed(0.95)
        59
    """
    checks.probability(target, "target", open_interval=True)
    checks.probability(confidence, "confidence", open_interval=True)
    return math.ceil(math.log(1 - confidence) / math.log(target))


def choose_threshold(
    scores: pd.DataFrame | None,
    *,
    rule: str = "sensitivity",
    target: float | None = 0.8,
    finding: str | None = None,
    chosen_on: str = "validation",
    confidence: float = 0.95,
) -> OperatingPoint:
    """Chooses a threshold by a stated rule and freezes it with what chose it.

    Args:
        scores: Long table of scores (image_id, patient_id, finding, label, score); None only with rule "fixed".
        rule: "sensitivity": the largest threshold whose observed sensitivity reaches `target`.
            "guarded_sensitivity": the largest threshold whose one-sided Clopper-Pearson lower bound reaches it.
            "specificity": the smallest threshold whose observed specificity reaches `target`.
            "youden": the largest sensitivity + specificity - 1. "f1": the largest F1. Of several equally good
            thresholds these two take the most sensitive. "fixed": `target` is the threshold, no data is used.
        target: What the rule aims at, a fraction; ignored by "youden" and "f1".
        finding: Which finding; may be left out when the table has one only.
        chosen_on: The part the scores come from, for the record.
        confidence: Of the guard (one-sided) and of the intervals recorded, in (0, 1).

    Returns:
        The frozen operating point.

    Raises:
        ValueError: If the rule or finding is unknown, a class is missing, the target is out of range or cannot be
            reached, or the scores are not a clean table of probabilities.

    Source:
        Wilks, Annals of Mathematical Statistics 12, 1941 (the guard is an order-statistic tolerance bound); Youden,
        Cancer 3, 1950.
    """
    check_rule(rule, target)
    checks.probability(confidence, "confidence", open_interval=True)
    if rule == "fixed":
        return _fixed(scores, target, finding, confidence)
    if scores is None:
        raise ValueError(f"rule={rule!r} needs scores to choose from; only rule='fixed' does without.")
    table = check_scores(scores)
    name = _one_finding(table, finding)
    rows = table[table["finding"] == name]
    known = rows[rows["label"].notna()]
    positive = known["label"].to_numpy() == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise ValueError(
            f"{name}: a threshold cannot be chosen on {chosen_on}, {one_class(n_positive, n_negative)}; "
            "choose it on a part that has both."
        )
    aimed = rule not in ("youden", "f1")
    aim = float(target) if aimed and target is not None else math.nan
    candidates = threshold_table(known["label"], known["score"])
    chosen = _choose(rule, aim, candidates, confidence, f"{name} on {chosen_on}")
    threshold = float(candidates["threshold"].iloc[chosen])
    called, patients = known["score"].to_numpy() >= threshold, known["patient_id"].to_numpy()
    return OperatingPoint(
        finding=name,
        threshold=threshold,
        rule=rule,
        target=aim if aimed else None,
        chosen_on=chosen_on,
        scores_fingerprint=scores_fingerprint(rows),
        n_positive=n_positive,
        n_negative=n_negative,
        sensitivity=clustered_proportion_interval(called[positive], patients[positive], confidence=confidence),
        specificity=clustered_proportion_interval(~called[~positive], patients[~positive], confidence=confidence),
        note=_note(rule, aim, confidence, n_positive, len(set(patients[positive]))),
    )


def _one_finding(table: pd.DataFrame, finding: str | None) -> str:
    names = list(table["finding"].unique())
    if finding is None:
        if len(names) > 1:
            raise ValueError(
                f"the table holds {len(names)} findings ({', '.join(names)}); name one with finding=..., "
                "since every finding has its own threshold."
            )
        return str(names[0])
    return checks.one_of(finding, names, "finding")


def check_rule(rule: str, target: float | None) -> None:
    """Checks a rule and what it aims at, before there are any scores.

    Args:
        rule: One of `RULES`.
        target: As for `choose_threshold`.

    Raises:
        ValueError: If the rule is unknown or the target is missing or out of range.
    """
    if checks.one_of(rule, RULES, "rule") in ("youden", "f1"):
        return
    if target is None:
        if rule == "fixed":
            raise ValueError("rule='fixed' needs the threshold itself as target, for example target=0.5.")
        raise ValueError(f"rule={rule!r} needs a target, for example target=0.8.")
    if rule == "guarded_sensitivity" and target == 1:
        raise ValueError("target=1.0 cannot be guaranteed from any number of positives; aim below 1, for example 0.9.")
    if checks.probability(target, "target") == 0 and rule != "fixed":
        raise ValueError(
            f"target=0 asks nothing of rule={rule!r}; give the {rule.split('_')[-1]} to reach, such as 0.8."
        )


def _choose(rule: str, aim: float, candidates: pd.DataFrame, confidence: float, where: str) -> int:
    """Returns the row of the chosen threshold among `candidates`, which ascend."""
    hits, alarms = candidates["true_positives"].to_numpy(), candidates["false_positives"].to_numpy()
    n_positive = int(hits[0])
    n_negative = int(alarms[0])
    if rule == "youden":
        # Whole numbers, so that equally good thresholds are recognised as such; argmax takes the lowest of them.
        return int(np.argmax(hits * n_negative - alarms * n_positive))
    if rule == "f1":
        return int(np.argmax(2 * hits / (hits + alarms + n_positive)))
    if rule == "specificity":
        reached = np.flatnonzero(candidates["specificity"].to_numpy() >= aim)
        if not len(reached):
            best = candidates["specificity"].iloc[-1]
            raise ValueError(
                f"{where}: no threshold reaches specificity {aim:g}, because the highest score belongs to a negative "
                f"image (best {best:.4f}); lower the target."
            )
        return int(reached[0])
    if rule == "sensitivity":
        return int(np.flatnonzero(candidates["sensitivity"].to_numpy() >= aim)[-1])
    reached = np.flatnonzero(_lower_bound(hits, n_positive, confidence) >= aim)
    if not len(reached):
        raise ValueError(
            f"{where}: sensitivity {aim:g} cannot be guaranteed at {confidence * 100:g} % confidence from {n_positive} "
            f"positives, at least {positives_needed(aim, confidence)} are needed even if all are found; gather more, "
            "lower the target, or use rule='sensitivity', which guarantees nothing."
        )
    return int(reached[-1])


def _lower_bound(hits: NDArray[np.int64], n: int, confidence: float) -> NDArray[np.float64]:
    """Returns the one-sided Clopper-Pearson lower bound for each number of hits out of n."""
    bound = special.betaincinv(np.maximum(hits, 1), n - hits + 1.0, 1 - confidence)
    return np.where(hits > 0, bound, 0.0)


def _note(rule: str, aim: float, confidence: float, n_positive: int, n_patients: int) -> str:
    """Returns a sentence on what the rule guarantees, and what it does not."""
    if rule == "guarded_sensitivity":
        note = (
            f"With {confidence * 100:g} % confidence the sensitivity is at least {aim:g} on films like those that "
            "chose the threshold, provided that these are independent."
        )
        if n_patients < n_positive:
            note += (
                f" The {n_positive} positive films come from {n_patients} patients, so they are not independent and "
                "the guarantee is weaker than stated."
            )
        return note
    return {
        "sensitivity": f"The largest threshold with an observed sensitivity of at least {aim:g}; on new films it falls "
        "short about as often as not.",
        "specificity": f"The smallest threshold with an observed specificity of at least {aim:g}; on new films it "
        "falls short about as often as not.",
        "youden": "The threshold with the largest observed sensitivity + specificity - 1; it guarantees neither.",
        "f1": "The threshold with the largest observed F1, which holds at the prevalence of these films only; it "
        "guarantees nothing.",
    }[rule]


def _fixed(scores: pd.DataFrame | None, target: float | None, finding: str | None, confidence: float) -> OperatingPoint:
    # `check_rule` has seen that there is a target.
    threshold = checks.probability(math.nan if target is None else target, "target")
    if scores is not None:
        name = _one_finding(check_scores(scores), finding)
    elif finding is None:
        raise ValueError("rule='fixed' without scores needs finding=..., the finding that the threshold decides.")
    else:
        name = finding
    unknown = Estimate.not_estimable("the threshold was stated, not chosen on data", confidence=confidence)
    return OperatingPoint(
        finding=name,
        threshold=threshold,
        rule="fixed",
        target=threshold,
        chosen_on="stated",
        scores_fingerprint="",
        n_positive=0,
        n_negative=0,
        sensitivity=unknown,
        specificity=unknown,
        note="The threshold was stated beforehand; no data chose it.",
    )
