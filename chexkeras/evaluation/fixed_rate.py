"""One rate where the other is fixed: sensitivity at a given specificity, specificity at a given sensitivity.

Both have two sources of error: for the sensitivity at a fixed specificity the positives that are counted, and the
negatives that set the threshold. An interval at the threshold found, as if it had been given, leaves out the second.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.scores import clean, one_class, patient_numbers
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.evaluation.uncertainty.limits import wilson
from chexkeras.evaluation.uncertainty.worth import Agreement, approximate, effective_size
from chexkeras.results import Estimate, RateAtTarget

_ROUNDING = 1e-9


def mirrored(
    over: str, positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Returns labels and scores of the curve on which what is fixed or ranged over is a specificity.

    A sensitivity is the specificity of the curve with positives and negatives, high and low scores exchanged.

    Args:
        over: "specificity" or "sensitivity".
        positive: Shape (n,), clean labels.
        scores: Shape (n,), finite.
    """
    return (positive, scores) if over == "specificity" else (~positive, -scores)


def unusable(positive: NDArray[np.bool_], group: NDArray[np.int64] | None) -> str:
    """Returns why nothing can be said of a curve; empty where it can.

    Args:
        positive: Shape (n,), clean labels.
        group: Shape (n,), patient numbers; None when images are independent.
    """
    n_positive = int(positive.sum())
    if n_positive in (0, len(positive)):
        return one_class(n_positive, len(positive) - n_positive)
    owner, unit = (np.arange(len(positive)), "image") if group is None else (group, "patient")
    for name, members in (("positive", positive), ("negative", ~positive)):
        if len(np.unique(owner[members])) == 1:
            return f"only one {name} {unit}, at least two are needed"
    return ""


@checked
def sensitivity_at_specificity(
    labels: ArrayLike,
    scores: ArrayLike,
    specificity: float,
    *,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> RateAtTarget:
    """Returns the sensitivity at a fixed specificity, with an interval that knows that the threshold is estimated.

    The threshold is the lowest observed score with at least the specificity asked for. How many negatives lie above the
    score whose specificity truly is the one asked for follows a binomial distribution, whatever the scores' own; the
    sensitivities at the ranks that it allows are the threshold's limits, without any density to be estimated. They are
    combined with Wilson's limits of the sensitivity, both at effective sample sizes where patients have several images.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite; any monotone scale.
        specificity: To fix, in (0, 1).
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The sensitivity with both intervals, and the threshold. Not estimable when a class is missing or comes from one
        patient. Where the negatives are too few to allow one false positive, the interval is wide and begins at 0.

    Raises:
        ValueError: If the specificity is out of range; and see `scores.clean`.

    Source:
        Woodruff, JASA 47, 1952 (limits of a quantile by ranks); Zou & Donner, Statistics in Medicine 27, 2008 (limits
        combined). Compared with the bootstrap intervals of Zhou & Qin, Statistics in Medicine 24, 2005, which cover
        less often near a sensitivity of 1, and the score interval of Huang et al., Statistica Sinica 33, 2023, which
        does where few images set the threshold.

    Example:
        >>> found = sensitivity_at_specificity([0] * 40 + [1] * 40, [*range(40), *range(15, 55)], 0.9)
        >>> print(found.rate, found.threshold)
        0.475 (95 % CI 0.308-0.656) 36.0
    """
    target = checks.probability(specificity, "specificity", open_interval=True)
    return _at_target("specificity", labels, scores, target, clusters, confidence)


@checked
def specificity_at_sensitivity(
    labels: ArrayLike,
    scores: ArrayLike,
    sensitivity: float,
    *,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> RateAtTarget:
    """Returns the specificity at a fixed sensitivity, with an interval that knows that the threshold is estimated.

    The threshold is the highest observed score with at least the sensitivity asked for. What is said of
    `sensitivity_at_specificity` holds with positives and negatives exchanged: the positives set the threshold here, so
    that few of them make the interval wide.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite; any monotone scale.
        sensitivity: To fix, in (0, 1).
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The specificity with both intervals, and the threshold. Not estimable when a class is missing or comes from one
        patient. Where the positives are too few to allow one miss, the interval is wide and begins at 0.

    Raises:
        ValueError: If the sensitivity is out of range; and see `scores.clean`.

    Source:
        Woodruff, JASA 47, 1952; Zou & Donner, Statistics in Medicine 27, 2008.
    """
    target = checks.probability(sensitivity, "sensitivity", open_interval=True)
    return _at_target("sensitivity", labels, scores, target, clusters, confidence)


def _at_target(
    at: str, labels: ArrayLike, scores: ArrayLike, target: float, clusters: ArrayLike | None, confidence: float
) -> RateAtTarget:
    checks.probability(confidence, "confidence", open_interval=True)
    positive, score, kept = clean(labels, scores)
    group = patient_numbers(clusters, kept)
    statistic = "sensitivity" if at == "specificity" else "specificity"
    # Positives and negatives change places, and so do high and low scores, where the sensitivity is fixed.
    cases, values = mirrored(at, positive, score)
    n_others = int((~cases).sum())
    allowed = math.floor((1 - target) * n_others + _ROUNDING)
    reason = unusable(positive, group)
    if reason:
        none = Estimate.not_estimable(reason, n=len(score), confidence=confidence)
        return RateAtTarget(statistic, at, target, math.nan, math.nan, none, none)
    # Images above this one of the others are called.
    edge = float(np.sort(values[~cases])[::-1][allowed])
    called = values > edge
    low, high, how = _limits(called, cases, values, 1 - target, group, confidence)
    above = values[called]
    threshold = -edge if at == "sensitivity" else float(above.min()) if len(above) else math.nan
    owner = np.arange(len(values)) if group is None else group
    at_threshold = clustered_proportion_interval(called[cases], owner[cases], confidence=confidence)
    reached = float((~called[~cases]).mean())
    estimate = Estimate(float(called[cases].mean()), low, high, confidence, int(cases.sum()), how)
    return RateAtTarget(statistic, at, target, reached, threshold, estimate, at_threshold)


def _limits(
    called: NDArray[np.bool_],
    cases: NDArray[np.bool_],
    values: NDArray[np.float64],
    allowed: float,
    group: NDArray[np.int64] | None,
    confidence: float,
) -> tuple[float, float, str]:
    """Returns the limits of the share of cases called where a share of the others truly is, and how they were made."""
    owner, unit = (np.arange(len(values)), "images") if group is None else (group, "patients")
    rate = float(called[cases].mean())
    residuals = np.where(cases, called - rate, called - float(called[~cases].mean()))
    of_cases, of_others = (Agreement.of(residuals[members], owner[members]) for members in (cases, ~cases))
    sizes = [float(effective_size(each, confidence)) for each in (of_cases, of_others)]
    low, high = wilson(rate * sizes[0], sizes[0], confidence)
    ranks = np.array(_ranks(allowed, sizes[1], confidence)) * of_others.n / sizes[1]
    lowest, highest = shares_at_ranks(ranks, values[cases], values[~cases])
    # Where a patient's images all score high, more of both classes are called: such errors cancel.
    sums = [np.bincount(owner[rows], residuals[rows], int(owner.max()) + 1) for rows in (cases, ~cases)]
    scale = math.sqrt(float(sums[0] @ sums[0]) * float(sums[1] @ sums[1]))
    together = float(sums[0] @ sums[1]) / scale if scale > 0 else 0.0
    below = combined_side(rate - low, max(0.0, rate - float(lowest)), together)
    above = combined_side(high - rate, max(0.0, float(highest) - rate), together)
    how = "Wilson limits combined with limits of the threshold by rank (Woodruff 1952, Zou & Donner 2008)"
    if group is not None:
        how += f" at effective sample sizes {sizes[0]:.1f} and {sizes[1]:.1f}"
    how += approximate(min(of_cases.worth, of_others.worth), unit)
    return max(0.0, rate - below), min(1.0, rate + above), how


def _ranks(allowed: float, size: float, confidence: float) -> tuple[float, float]:
    """Returns between which ranks of the others, highest first, the true threshold lies.

    How many of the others lie above it is binomial, whatever their distribution.

    Args:
        allowed: The share of others that truly lies above the threshold, in (0, 1).
        size: Independent others; a fraction for effective sizes.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower and upper rank, from 0 to `size`; with the middle of each step of the binomial distribution, since whole
        steps would cover too often.
    """
    from scipy import optimize, special

    def at_least(rank: float) -> float:
        return float(special.betainc(rank + 0.5, size - rank + 0.5, allowed))

    tail, edge = (1 - confidence) / 2, 0.5 - 1e-9
    found = [
        optimize.brentq(lambda rank, chance=chance: at_least(rank) - chance, -edge, size + edge)
        for chance in (1 - tail, tail)
    ]
    return max(0.0, float(found[0])), min(size, float(found[1]))


def shares_at_ranks(
    ranks: NDArray[np.float64], cases: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the share of cases above thresholds that so many of the others exceed, ties counting half.

    Args:
        ranks: From 0 to the number of others; whole ranks lie halfway between two of them. At rank 0 nothing is known,
            and the share is taken to be 0.
        cases: Scores of one class.
        others: Scores of the other class.

    Returns:
        Of the shape of `ranks`, from 0 to 1.
    """
    edges, ordered = np.sort(others)[::-1], np.sort(cases)
    below = np.searchsorted(ordered, edges, side="right") + np.searchsorted(ordered, edges, side="left")
    middles = np.concatenate([[0.0], np.arange(len(others)) + 0.5, [float(len(others))]])
    return np.interp(ranks, middles, np.concatenate([[0.0], 1 - below / (2 * len(cases)), [1.0]]))


def combined_side(counted: float, of_threshold: float, together: float) -> float:
    """Returns how far a limit lies from a rate or area, never less than if the threshold had been given.

    Args:
        counted: How far it lies for the images counted alone.
        of_threshold: How far it lies for the threshold alone.
        together: Correlation of the errors that the two classes make; where it is above 0 they cancel in part.

    Source:
        Zou & Donner, Statistics in Medicine 27, 2008.
    """
    squared = counted**2 + of_threshold**2 - 2 * max(0.0, together) * counted * of_threshold
    return max(counted, math.sqrt(max(squared, 0.0)))
