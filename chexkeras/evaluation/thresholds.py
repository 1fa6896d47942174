"""Choosing the decision threshold on one part of the data and freezing it with the rule that chose it.

Scores in, frozen `OperatingPoint` out. A threshold is always one of the observed scores, stored exactly; images with
the same score are called together.

The rules by which a threshold is chosen: what each may aim at, which score it takes, and what that guarantees.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import EllipsisType
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.evaluation.scores import check_scores, one_class, scores_fingerprint
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.results import Estimate, OperatingPoint

RULES = ("sensitivity", "guarded_sensitivity", "specificity", "youden", "f1", "cost", "net_benefit", "fixed")
"""Rules that `thresholds.choose_threshold` knows."""

USUAL_TARGET = 0.8
"""What a rule aims at that reaches for a sensitivity or a specificity, where nothing else is said."""

REACHING = ("sensitivity", "guarded_sensitivity", "specificity")
"""Rules whose target is a sensitivity or a specificity."""

_AIMLESS = ("youden", "f1")
_WEIGHING = ("cost", "net_benefit")


def check_rule(rule: str, target: float | None, prevalence: float | None = None) -> None:
    """Checks a rule and what it aims at, before there are any scores.

    Args:
        rule: One of `RULES`.
        target: As for `thresholds.choose_threshold`.
        prevalence: Likewise.

    Raises:
        ValueError: If the rule is unknown, the target is missing or out of range, or a prevalence is given that is
            out of range or that the rule has no use for.
    """
    checks.one_of(rule, RULES, "rule")
    if prevalence is not None:
        if rule not in _WEIGHING:
            raise ValueError(
                f"prevalence={prevalence!r} means nothing to rule={rule!r}; leave it out, or use one of: "
                f"{', '.join(_WEIGHING)}."
            )
        checks.probability(prevalence, "prevalence", open_interval=True)
    if rule in _AIMLESS:
        return
    if target is None:
        raise ValueError(f"rule={rule!r} needs {_NEEDS.get(rule, 'a target, for example target=0.8 (--target 0.8)')}.")
    if rule == "cost":
        _check_cost(target)
        return
    if rule == "guarded_sensitivity" and target == 1:
        raise ValueError("target=1.0 cannot be guaranteed from any number of positives; aim below 1, for example 0.9.")
    if checks.probability(target, "target", open_interval=rule == "net_benefit") == 0 and rule != "fixed":
        raise ValueError(
            f"target=0 asks nothing of rule={rule!r}; give the {rule.split('_')[-1]} to reach, such as 0.8."
        )


_NEEDS = {
    "fixed": "the threshold itself as target, for example target=0.5 (--target 0.5)",
    "cost": "as target what a missed positive costs in false alarms, for example target=10 (--target 10)",
    "net_benefit": "as target the probability from which acting is worth it, for example target=0.1 (--target 0.1)",
}


def _check_cost(target: float) -> None:
    try:
        cost = float(target)
    except (TypeError, ValueError) as error:
        raise ValueError(f"target={target!r} is not a number; give a cost in false alarms, such as 10.") from error
    if not (math.isfinite(cost) and cost > 0):
        raise ValueError(
            f"target={target!r} must be above 0: what a missed positive costs in false alarms, such as 10."
        )


def positives_needed(target: float, confidence: float = 0.95) -> int:
    """Returns the smallest number of positives with which the guarded rule can promise `target`.

    Even if every positive is found, the one-sided Clopper-Pearson bound is only ``(1 - confidence) ** (1 / n)``. Where
    patients have several positive images, it is patients that count.

    Args:
        target: Sensitivity to promise, strictly between 0 and 1.
        confidence: One-sided confidence, in (0, 1).

    Returns:
        The number of positive images, each of another patient.

    Example:
        >>> positives_needed(0.95)
        59
    """
    checks.probability(target, "target", open_interval=True)
    checks.probability(confidence, "confidence", open_interval=True)
    return math.ceil(math.log(1 - confidence) / math.log(target))


@dataclass(frozen=True)
class Candidates:
    """The distinct scores as thresholds, ascending, with what each would achieve.

    Attributes:
        threshold: Shape (k,).
        hits: True positives, shape (k,), whole numbers.
        alarms: False positives, likewise.
        patient_hits: For each patient with a positive image the share of them called, added up, shape (k,).
        n_patients: Patients with a positive image.
    """

    threshold: NDArray[np.float64]
    hits: NDArray[np.int64]
    alarms: NDArray[np.int64]
    patient_hits: NDArray[np.float64]
    n_patients: int

    @property
    def n_positive(self) -> int:
        """Positive images; the lowest score calls them all."""
        return int(self.hits[0])

    @property
    def n_negative(self) -> int:
        """Negative images."""
        return int(self.alarms[0])

    @classmethod
    def of(
        cls, positive: NDArray[np.bool_], scores: NDArray[np.float64], patients: NDArray[np.object_]
    ) -> "Candidates":
        """Returns the candidates of known labels.

        Args:
            positive: Shape (n,), with both classes.
            scores: Shape (n,), probabilities.
            patients: Shape (n,), the patient of each image.
        """
        thresholds = np.unique(scores)
        order = np.argsort(-scores[positive], kind="stable")
        descending = scores[positive][order]
        called = np.searchsorted(-descending, -thresholds, side="right")
        _, owner, images = np.unique(patients[positive].astype(str), return_inverse=True, return_counts=True)
        shares = np.append(0.0, np.cumsum(1 / images[owner][order]))
        negatives = np.sort(scores[~positive])
        alarms = len(negatives) - np.searchsorted(negatives, thresholds, side="left")
        return cls(thresholds, called, alarms, shares[called], len(images))


class Choice(NamedTuple):
    """What a rule took.

    Attributes:
        row: Of the candidates.
        note: One sentence for a reader on what that guarantees and what it does not.
    """

    row: int
    note: str


def choose(
    rule: str, aim: float, candidates: Candidates, *, confidence: float, prevalence: float | None, where: str
) -> Choice:
    """Returns the candidate that a rule takes.

    Args:
        rule: One of `RULES` but "fixed", checked.
        aim: The target, checked; NaN for rules without one.
        candidates: The thresholds to choose from.
        confidence: One-sided, of the guard.
        prevalence: To weigh errors at; None for the share of positives among the images.
        where: Begins a message, for example "Pneumonia on validation".

    Raises:
        ValueError: If no candidate reaches the aim.
    """
    hits, alarms = candidates.hits, candidates.alarms
    n_positive, n_negative = candidates.n_positive, candidates.n_negative
    if rule == "youden":
        # Whole numbers, so that equally good thresholds are recognised as such; argmax takes the lowest of them.
        row = int(np.argmax(hits * n_negative - alarms * n_positive))
        return Choice(
            row, "The threshold with the largest observed sensitivity + specificity - 1; it guarantees neither."
        )
    if rule == "f1":
        row = int(np.argmax(2 * hits / (hits + alarms + n_positive)))
        note = "The threshold with the largest observed F1, which holds at the prevalence of these images only; it "
        return Choice(row, note + "guarantees nothing.")
    if rule in _WEIGHING:
        return _cheapest(rule, aim, candidates, prevalence)
    falls_short = "on new images it falls short about as often as not."
    if rule == "specificity":
        specificity = (n_negative - alarms) / n_negative
        reached = np.flatnonzero(specificity >= aim)
        if not len(reached):
            raise ValueError(
                f"{where}: no threshold reaches specificity {aim:g}, because the highest score belongs to a negative "
                f"image (best {specificity[-1]:.4f}); lower the target."
            )
        note = f"The smallest threshold with an observed specificity of at least {aim:g}; {falls_short}"
        return Choice(int(reached[0]), note)
    if rule == "sensitivity":
        note = f"The largest threshold with an observed sensitivity of at least {aim:g}; {falls_short}"
        return Choice(int(np.flatnonzero(hits / n_positive >= aim)[-1]), note)
    return _guarded(aim, candidates, confidence, where)


def _cheapest(rule: str, aim: float, candidates: Candidates, prevalence: float | None) -> Choice:
    """Returns the candidate with the smallest sum of missed positives, each weighed in false alarms, and false alarms.

    Net benefit at the threshold probability t is highest where the cost is lowest at (1 - t) / t false alarms for a
    missed positive, so both rules are one.
    """
    missed_costs = aim if rule == "cost" else (1 - aim) / aim
    n_positive, n_negative = candidates.n_positive, candidates.n_negative
    weight = missed_costs
    at = "the share of positives among these images"
    if prevalence is not None:
        weight *= prevalence / (1 - prevalence) * n_negative / n_positive
        at = f"prevalence {prevalence:g}"
    cost = weight * (n_positive - candidates.hits) + candidates.alarms
    # Equal costs may differ by rounding; of equally good thresholds the most sensitive is taken.
    row = int(np.flatnonzero(cost <= cost.min() + 1e-9 * (weight + 1))[0])
    price = f"one missed positive counting as {missed_costs:g} false alarms, at {at}"
    if rule == "cost":
        note = f"The threshold with the lowest observed cost, {price}; it guarantees no sensitivity."
    else:
        note = (
            f"The threshold with the largest observed net benefit at the threshold probability {aim:g} ({price}); it "
            "guarantees no sensitivity."
        )
    if cost[row] > weight * n_positive:
        note += " Calling no image positive would cost less."
    elif candidates.alarms[row] == n_negative:
        note += " It calls every image positive."
    return Choice(row, note)


def _guarded(aim: float, candidates: Candidates, confidence: float, where: str) -> Choice:
    """Returns the largest threshold whose lower bound for the sensitivity reaches the aim.

    The bound is the exact one-sided binomial bound of as many independent images as there are patients, for the share
    of images found and for the share found averaged over patients; the lower of the two counts. With one image for
    each patient this is the Clopper-Pearson bound, and its threshold Wilks' order statistic. With several it holds
    however much a patient's images agree, because their average cannot vary more than one image does; no correlation
    has to be estimated, which is what makes bounds at an estimated effective sample size fall short too often.
    """
    from scipy import special

    n_positive, n_patients = candidates.n_positive, candidates.n_patients
    found = np.minimum(candidates.hits * (n_patients / n_positive), candidates.patient_hits)
    bound = special.betaincinv(np.maximum(found, 1e-9), n_patients - found + 1, 1 - confidence)
    reached = np.flatnonzero(bound >= aim)
    several = n_patients < n_positive
    if not len(reached):
        came = f"{n_positive} positives" + (f" of {n_patients} patients" if several else "")
        needed = f"{positives_needed(aim, confidence)}" + (" patients with a positive image" if several else "")
        raise ValueError(
            f"{where}: sensitivity {aim:g} cannot be guaranteed at {confidence * 100:g} % confidence from {came}, at "
            f"least {needed} are needed even if all are found; gather more, lower the target, or use "
            "rule='sensitivity', which guarantees nothing."
        )
    note = (
        f"With {confidence * 100:g} % confidence the sensitivity is at least {aim:g} on images like those that chose "
        "the threshold, provided that "
    )
    if not several:
        return Choice(int(reached[-1]), note + "these are independent.")
    note += (
        f"their patients are independent: the {n_positive} positive images come from {n_patients} patients and count "
        f"as no more than {n_patients} images, so images of one patient may agree."
    )
    return Choice(int(reached[-1]), note)


__all__ = ["RULES", "check_rule", "choose_threshold", "choose_thresholds", "positives_needed", "scores_fingerprint"]

STATED = 0.5
"""The threshold of a finding that none can be chosen for, among others for which one can."""


def choose_threshold(
    scores: pd.DataFrame | None,
    *,
    rule: str = "sensitivity",
    target: float | EllipsisType | None = ...,
    prevalence: float | None = None,
    finding: str | None = None,
    chosen_on: str = "validation",
    confidence: float = 0.95,
) -> OperatingPoint:
    """Chooses a threshold by a stated rule and freezes it with what chose it.

    Args:
        scores: Long table of scores (image_id, patient_id, finding, label, score); None only with rule "fixed".
        rule: "sensitivity": the largest threshold whose observed sensitivity reaches `target`.
            "guarded_sensitivity": the largest threshold whose one-sided lower bound reaches it: Clopper-Pearson's,
            and where patients have several positive images that of as many images as there are patients.
            "specificity": the smallest threshold whose observed specificity reaches `target`.
            "youden": the largest sensitivity + specificity - 1. "f1": the largest F1. "cost": the lowest expected
            cost, a missed positive costing `target` false alarms. "net_benefit": the largest net benefit at the
            threshold probability `target`. Of several equally good thresholds these four take the most sensitive.
            "fixed": `target` is the threshold, no data is used.
        target: What the rule aims at; left out, 0.8 for the three rules that reach for a rate. Ignored by "youden"
            and "f1".
        prevalence: For "cost" and "net_benefit": how frequent the finding is where errors are to be weighed, strictly
            between 0 and 1; None for the share of positives among these images.
        finding: Which finding; may be left out when the table has one only.
        chosen_on: The part the scores come from, for the record.
        confidence: Of the guard (one-sided) and of the intervals recorded, in (0, 1).

    Returns:
        The frozen operating point.

    Raises:
        ValueError: If the rule or finding is unknown, a class is missing, the target or prevalence is out of range,
            the target cannot be reached, or the scores are not a clean table of probabilities.

    Source:
        Wilks, Annals of Mathematical Statistics 12, 1941 (the guard is an order-statistic tolerance bound); Youden,
        Cancer 3, 1950; Metz, Seminars in Nuclear Medicine 8, 1978 (cost); Vickers & Elkin, Medical Decision Making
        26, 2006 (net benefit).
    """
    if isinstance(target, EllipsisType):
        target = USUAL_TARGET if rule in REACHING else None
    check_rule(rule, target, prevalence)
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
    score, patients = known["score"].to_numpy(), known["patient_id"].to_numpy()
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise ValueError(
            f"{name}: a threshold cannot be chosen on {chosen_on}, {one_class(n_positive, n_negative)}; "
            "choose it on a part that has both."
        )
    aimed = rule not in ("youden", "f1")
    aim = float(target) if aimed and target is not None else math.nan
    candidates = Candidates.of(positive, score, patients)
    where = f"{name} on {chosen_on}"
    row, note = choose(rule, aim, candidates, confidence=confidence, prevalence=prevalence, where=where)
    threshold = float(candidates.threshold[row])
    called = score >= threshold
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
        note=note,
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


def choose_thresholds(
    scores: pd.DataFrame,
    findings: Iterable[str],
    *,
    rule: str = "sensitivity",
    target: float | EllipsisType | None = ...,
    chosen_on: str = "validation",
) -> tuple[OperatingPoint, ...]:
    """Chooses a threshold for each of several findings by one rule.

    A finding of which these scores have one class only, as a rare one among fourteen may, gets `STATED`: its operating
    point says that nothing chose it.

    Args:
        scores: Long table of scores, as for `choose_threshold`.
        findings: The findings, in the order wanted; at least one has both classes.
        rule: As for `choose_threshold`.
        target: Likewise.
        chosen_on: Likewise.

    Returns:
        One frozen operating point for each finding.

    Raises:
        ValueError: As `choose_threshold`.
    """
    names, table = tuple(findings), check_scores(scores)
    classes = {name: set(rows["label"].dropna()) for name, rows in table.groupby("finding")}
    several = any(len(classes.get(name, ())) == 2 for name in names)
    points = []
    for name in names:
        if several and name in classes and len(classes[name]) < 2:
            stated = choose_threshold(None, rule="fixed", target=STATED, finding=name)
            note = (
                f"{chosen_on} has images of one class only, so that no threshold could be chosen; {STATED} is stated."
            )
            points.append(dataclasses.replace(stated, note=note))
        else:
            points.append(choose_threshold(scores, rule=rule, target=target, finding=name, chosen_on=chosen_on))
    return tuple(points)


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
