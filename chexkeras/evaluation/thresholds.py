"""Choosing the decision threshold on one part of the data and freezing it with the rule that chose it.

Scores in, frozen `OperatingPoint` out. A threshold is always one of the observed scores, stored exactly; images with
the same score are called together. `RULES` holds the rules by which it may be chosen; to add one, write the function
that picks a candidate and give it an entry there.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import EllipsisType
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.scores import Scores, one_class
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.evaluation.uncertainty.worth import kish
from chexkeras.results import Estimate, OperatingPoint

USUAL_TARGET = 0.8
"""The sensitivity or specificity to reach where none is named."""

STATED = 0.5
"""The threshold of a finding that none can be chosen for, among others for which one can."""


@checked
def choose_threshold(
    scores: pd.DataFrame | None,
    *,
    rule: str = "sensitivity",
    target: float | EllipsisType | None = ...,
    prevalence: float | None = None,
    finding: str | None = None,
    chosen_on: str | None = None,
    confidence: float = 0.95,
) -> OperatingPoint:
    """Chooses a threshold by a stated rule and freezes it with what chose it.

    Args:
        scores: Long table of scores (image_id, patient_id, finding, label, score); None only with a rule that uses no
            data.
        rule: One of `RULES`, whose entries say which threshold each takes, and what its target is.
        target: What the rule aims at, in its own unit; left out, `USUAL_TARGET` for a rule that reaches for a
            sensitivity or specificity. Ignored by a rule without a target.
        prevalence: For a rule that weighs errors: how frequent the finding is where they are to be weighed, strictly
            between 0 and 1; None for the share of positives among these images.
        finding: Which finding; may be left out when the table has one only.
        chosen_on: The part the scores come from, for the record; None takes what the table of a run's scores says of
            itself, "validation" where it says nothing.
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
        target = USUAL_TARGET if rule in RULES and RULES[rule].reaches else None
    check_rule(rule, target, prevalence)
    checks.probability(confidence, "confidence", open_interval=True)
    entry = RULES[rule]
    if entry.pick is None:
        return _stated(None if scores is None else Scores.of(scores), target, finding, confidence)
    if scores is None:
        raise ValueError(f"rule={rule!r} needs scores to choose from; only rule='fixed' does without.")
    table = Scores.of(scores)
    chosen_on = chosen_on or table.part or "validation"
    name = table.only_finding(finding, "threshold")
    rows = table.of_finding(name)
    positive, score, patients = rows.arrays()
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise ValueError(
            f"{name}: a threshold cannot be chosen on {chosen_on}, {one_class(n_positive, n_negative)}; "
            "choose it on a part that has both."
        )
    wanted = float(target) if entry.check_target and target is not None else None
    aim = Aim(math.nan if wanted is None else wanted, confidence, prevalence, f"{name} on {chosen_on}")
    candidates = Candidates.of(positive, score, patients)
    row, note = entry.pick(candidates, aim)
    threshold = float(candidates.threshold[row])
    called = score >= threshold
    return OperatingPoint(
        finding=name,
        threshold=threshold,
        rule=rule,
        target=wanted,
        chosen_on=chosen_on,
        scores_fingerprint=rows.fingerprint,
        n_positive=n_positive,
        n_negative=n_negative,
        sensitivity=clustered_proportion_interval(called[positive], patients[positive], confidence=confidence),
        specificity=clustered_proportion_interval(~called[~positive], patients[~positive], confidence=confidence),
        note=note,
    )


def _stated(scores: Scores | None, target: float | None, finding: str | None, confidence: float) -> OperatingPoint:
    # `check_rule` has seen that there is a target.
    threshold = math.nan if target is None else float(target)
    if scores is not None:
        finding = scores.only_finding(finding, "threshold")
    if finding is None:
        raise ValueError("rule='fixed' without scores needs finding=..., the finding that the threshold decides.")
    unknown = Estimate.not_estimable("the threshold was stated, not chosen on data", confidence=confidence)
    return OperatingPoint(
        finding=finding,
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


@checked
def choose_thresholds(
    scores: pd.DataFrame,
    findings: Iterable[str],
    *,
    rule: str = "sensitivity",
    target: float | EllipsisType | None = ...,
    chosen_on: str | None = None,
) -> tuple[OperatingPoint, ...]:
    """Chooses a threshold for each of several findings by one rule.

    A finding of which these scores have one class only, as a rare one among fourteen may, gets `STATED`: its operating
    point says that nothing chose it.

    Args:
        scores: Long table of scores (image_id, patient_id, finding, label, score).
        findings: The findings, in the order wanted; at least one has both classes.
        rule: One of `RULES`.
        target: What the rule aims at, the same for all findings; left out, 0.8 for rules that reach for a rate.
        chosen_on: The part the scores come from, for the record; None takes what the table of a run's scores says of
            itself, "validation" where it says nothing.

    Returns:
        One frozen operating point for each finding.

    Raises:
        ValueError: If the rule or a finding is unknown, the target is out of range or cannot be reached, no finding
            has both classes, or the scores are not a clean table of probabilities.
    """
    names, table = tuple(findings), Scores.of(scores)
    chosen_on = chosen_on or table.part or "validation"
    classes = {name: set(rows["label"].dropna()) for name, rows in table.by_finding().items()}
    several = any(len(classes.get(name, ())) == 2 for name in names)
    points = []
    for name in names:
        if several and name in classes and len(classes[name]) < 2:
            stated = choose_threshold(None, rule="fixed", target=STATED, finding=name)
            why = "has images of one class only, so that no threshold could be chosen"
            points.append(dataclasses.replace(stated, note=f"{chosen_on} {why}; {STATED} is stated."))
        else:
            points.append(choose_threshold(table, rule=rule, target=target, finding=name, chosen_on=chosen_on))
    return tuple(points)


@checked
def positives_needed(target: float, confidence: float = 0.95) -> int:
    """Returns the smallest number of positives with which the guarded rule can promise `target`.

    Even if every positive is found, the one-sided Clopper-Pearson bound is only ``(1 - confidence) ** (1 / n)``. Where
    patients have several positive images, it is what patients are worth that counts.

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
        alarms: False positives, shape (k,), whole numbers.
        n_patients: Patients with a positive image.
        worth: What these patients are worth, see `worth.kish`; the number of positives where each has one.
    """

    threshold: NDArray[np.float64]
    hits: NDArray[np.int64]
    alarms: NDArray[np.int64]
    n_patients: int
    worth: float

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
        positives = np.sort(scores[positive])
        called = len(positives) - np.searchsorted(positives, thresholds, side="left")
        owner = np.unique(patients[positive].astype(str), return_inverse=True)[1]
        negatives = np.sort(scores[~positive])
        alarms = len(negatives) - np.searchsorted(negatives, thresholds, side="left")
        return cls(thresholds, called, alarms, int(owner.max()) + 1, kish(owner))


class Aim(NamedTuple):
    """What a rule is asked for.

    Attributes:
        target: The target, checked; NaN for rules without one.
        confidence: One-sided, of a guard.
        prevalence: To weigh errors at; None for the share of positives among the images.
        where: Begins a message, for example "Pneumonia on validation".
    """

    target: float
    confidence: float
    prevalence: float | None
    where: str


@dataclass(frozen=True)
class Rule:
    """One rule by which a threshold may be chosen: the choice, its target with the checks, and the words for it.

    Attributes:
        summary: What it takes, in a few words, for lists of the rules.
        pick: Returns the row of the candidate it takes, and one sentence for a reader on what that guarantees and what
            not; raises a ValueError where none reaches the aim. None for a rule that uses no data.
        check_target: Raises a ValueError where a target is out of range; given the rule's name and the target. None
            for a rule without a target.
        needs: What the target is, to complete the message where it is missing.
        reaches: The rate that the target is a value of, "sensitivity" or "specificity", 0.8 where none is given; empty
            for other targets.
        weighs: Whether errors are weighed at a prevalence that may be stated.
    """

    summary: str
    pick: Callable[[Candidates, Aim], tuple[int, str]] | None
    check_target: Callable[[str, float], None] | None = None
    needs: str = "a target, for example target=0.8 (--target 0.8)"
    reaches: str = ""
    weighs: bool = False


def check_rule(rule: str, target: float | None, prevalence: float | None = None) -> None:
    """Checks a rule and what it aims at, before there are any scores.

    Args:
        rule: One of `RULES`.
        target: What the rule aims at; None for a rule without a target.
        prevalence: How frequent the finding is where errors are to be weighed, strictly between 0 and 1; None for the
            share of positives among the images that choose.

    Raises:
        ValueError: If the rule is unknown, the target is missing or out of range, or a prevalence is given that is
            out of range or that the rule has no use for.
    """
    entry = RULES[checks.one_of(rule, RULES, "rule")]
    if prevalence is not None:
        if not entry.weighs:
            raise ValueError(
                f"prevalence={prevalence!r} means nothing to rule={rule!r}; leave it out, or use one of: "
                f"{', '.join(name for name, other in RULES.items() if other.weighs)}."
            )
        checks.probability(prevalence, "prevalence", open_interval=True)
    if entry.check_target is None:
        return
    if target is None:
        raise ValueError(f"rule={rule!r} needs {entry.needs}.")
    entry.check_target(rule, target)


_NO_PROMISE = "on new images it falls short about as often as not."


def _check_rate(rule: str, target: float) -> None:
    if rule == "guarded_sensitivity" and target == 1:
        raise ValueError("target=1.0 cannot be guaranteed from any number of positives; aim below 1, for example 0.9.")
    if checks.probability(target, "target") == 0:
        raise ValueError(
            f"target=0 asks nothing of rule={rule!r}; give the {RULES[rule].reaches} to reach, such as 0.8."
        )


def _sensitivity(candidates: Candidates, aim: Aim) -> tuple[int, str]:
    row = int(np.flatnonzero(candidates.hits / candidates.n_positive >= aim.target)[-1])
    return row, f"The largest threshold with an observed sensitivity of at least {aim.target:g}; {_NO_PROMISE}"


def _specificity(candidates: Candidates, aim: Aim) -> tuple[int, str]:
    specificity = (candidates.n_negative - candidates.alarms) / candidates.n_negative
    reached = np.flatnonzero(specificity >= aim.target)
    if not len(reached):
        raise ValueError(
            f"{aim.where}: no threshold reaches specificity {aim.target:g}, because the highest score belongs to a "
            f"negative image (best {specificity[-1]:.4f}); lower the target."
        )
    note = f"The smallest threshold with an observed specificity of at least {aim.target:g}; {_NO_PROMISE}"
    return int(reached[0]), note


def _guarded(candidates: Candidates, aim: Aim) -> tuple[int, str]:
    """Returns the largest threshold whose lower bound for the sensitivity reaches the aim.

    The bound is the exact one-sided binomial bound of as many independent images as the patients are worth (Kish's
    number), for the share of images found. With one image for each patient this is the Clopper-Pearson bound, and its
    threshold Wilks' order statistic. With several it holds however much a patient's images agree, and also where
    patients with many images are the harder ones: no correlation is estimated, which is what makes bounds at an
    estimated effective sample size fall short in 7-10 % of such studies instead of 5 (benchmarks/README.md).
    """
    from scipy import special

    target, confidence = aim.target, aim.confidence
    n_positive, n_patients, worth = candidates.n_positive, candidates.n_patients, candidates.worth
    found = candidates.hits * (worth / n_positive)
    bound = special.betaincinv(np.maximum(found, 1e-9), worth - found + 1, 1 - confidence)
    reached = np.flatnonzero(bound >= target)
    several = n_patients < n_positive
    unequal = f", worth {worth:.1f} because some have more images than others" if worth < n_patients - 0.05 else ""
    if not len(reached):
        came, needed = f"{n_positive} positives", f"{positives_needed(target, confidence)}"
        if several:
            came += f" of {n_patients} patients{unequal}"
            needed += " patients with equally many positive images"
        raise ValueError(
            f"{aim.where}: sensitivity {target:g} cannot be guaranteed at {confidence * 100:g} % confidence from "
            f"{came}; at least {needed} are needed even if all are found. Gather more, lower the target, or use "
            "rule='sensitivity', which guarantees nothing."
        )
    note = (
        f"With {confidence * 100:g} % confidence the sensitivity is at least {target:g} on images like those that "
        "chose the threshold, provided that "
    )
    if not several:
        return int(reached[-1]), note + "these are independent."
    note += (
        f"their patients are independent: the {n_positive} positive images come from {n_patients} patients{unequal}, "
        f"and count as no more than {worth:.4g} images, so images of one patient may agree."
    )
    return int(reached[-1]), note


def _youden(candidates: Candidates, aim: Aim) -> tuple[int, str]:
    # Whole numbers, so that equally good thresholds are recognised as such; argmax takes the lowest of them.
    row = int(np.argmax(candidates.hits * candidates.n_negative - candidates.alarms * candidates.n_positive))
    return row, "The threshold with the largest observed sensitivity + specificity - 1; it guarantees neither."


def _f1(candidates: Candidates, aim: Aim) -> tuple[int, str]:
    row = int(np.argmax(2 * candidates.hits / (candidates.hits + candidates.alarms + candidates.n_positive)))
    note = "The threshold with the largest observed F1, which holds at the prevalence of these images only; it "
    return row, note + "guarantees nothing."


def _check_cost(rule: str, target: float) -> None:
    try:
        cost = float(target)
    except (TypeError, ValueError) as error:
        raise ValueError(f"target={target!r} is not a number; give a cost in false alarms, such as 10.") from error
    if not (math.isfinite(cost) and cost > 0):
        raise ValueError(
            f"target={target!r} must be above 0: what a missed positive costs in false alarms, such as 10."
        )


def _cost(candidates: Candidates, aim: Aim) -> tuple[int, str]:
    row, price, extreme = _cheapest(candidates, aim.target, aim.prevalence)
    note = f"The threshold with the lowest observed cost, {price}; it guarantees no sensitivity."
    return row, note + extreme


def _net_benefit(candidates: Candidates, aim: Aim) -> tuple[int, str]:
    # Net benefit at the threshold probability t is highest where the cost is lowest at (1 - t) / t false alarms for a
    # missed positive.
    row, price, extreme = _cheapest(candidates, (1 - aim.target) / aim.target, aim.prevalence)
    note = (
        f"The threshold with the largest observed net benefit at the threshold probability {aim.target:g} ({price}); "
        "it guarantees no sensitivity."
    )
    return row, note + extreme


def _cheapest(candidates: Candidates, missed_costs: float, prevalence: float | None) -> tuple[int, str, str]:
    """Returns the candidate with the smallest sum of missed positives, each weighed in false alarms, and false alarms.

    Args:
        candidates: The thresholds to choose from.
        missed_costs: What a missed positive costs in false alarms.
        prevalence: To weigh errors at; None for the share of positives among the images.

    Returns:
        Its row, the price in words, and a sentence where calling all or no images positive is as good.
    """
    n_positive, n_negative = candidates.n_positive, candidates.n_negative
    weight, at = missed_costs, "the share of positives among these images"
    if prevalence is not None:
        weight *= prevalence / (1 - prevalence) * n_negative / n_positive
        at = f"prevalence {prevalence:g}"
    cost, extreme = weight * (n_positive - candidates.hits) + candidates.alarms, ""
    # Equal costs may differ by rounding; of equally good thresholds the most sensitive is taken.
    row = int(np.flatnonzero(cost <= cost.min() + 1e-9 * (weight + 1))[0])
    if cost[row] > weight * n_positive:
        extreme = " Calling no image positive would cost less."
    elif candidates.alarms[row] == n_negative:
        extreme = " It calls every image positive."
    return row, f"one missed positive counting as {missed_costs:g} false alarms, at {at}", extreme


def _check_probability(rule: str, target: float) -> None:
    checks.probability(target, "target", open_interval=rule != "fixed")


RULES: dict[str, Rule] = {
    "sensitivity": Rule(
        "largest threshold with the observed sensitivity of --target", _sensitivity, _check_rate, reaches="sensitivity"
    ),
    "guarded_sensitivity": Rule(
        "largest threshold that guarantees the sensitivity of --target", _guarded, _check_rate, reaches="sensitivity"
    ),
    "specificity": Rule(
        "smallest threshold with the observed specificity of --target", _specificity, _check_rate, reaches="specificity"
    ),
    "youden": Rule("largest sensitivity + specificity - 1", _youden),
    "f1": Rule("largest F1", _f1),
    "cost": Rule(
        "lowest cost, where a missed positive costs --target false alarms", _cost, _check_cost, weighs=True,
        needs="as target what a missed positive costs in false alarms, for example target=10 (--target 10)",
    ),
    "net_benefit": Rule(
        "largest net benefit at the threshold probability --target", _net_benefit, _check_probability, weighs=True,
        needs="as target the probability from which acting is worth it, for example target=0.1 (--target 0.1)",
    ),
    "fixed": Rule(
        "--target itself, without data", None, _check_probability,
        needs="the threshold itself as target, for example target=0.5 (--target 0.5)",
    ),
}  # fmt: skip
"""Every rule by its name; the name is what recipes, operating points and the command line say.

Where rates are concerned, "observed" is on the images that choose. The guarded sensitivity is a one-sided lower bound:
Clopper-Pearson's, and where patients have several positive images that of as many images as these are worth. Rules
that weigh sensitivity against specificity take, of several equally good thresholds, the most sensitive.
"""
