"""Partial areas: the area under the part of the ROC curve where a device is to work, and two models' difference.

A whole area also counts thresholds that nobody would use; a partial area is restricted to the specificities (or
sensitivities) asked for. One rate where the other is fixed: see `fixed_rate`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.fixed_rate import combined_side, mirrored, shares_at_ranks, unusable
from chexkeras.evaluation.scores import clean, patient_numbers
from chexkeras.evaluation.uncertainty.delong import AucContributions, class_contributions
from chexkeras.evaluation.uncertainty.limits import logit_limits
from chexkeras.evaluation.uncertainty.worth import (
    Agreement,
    approximate,
    effective_size,
    satterthwaite,
    student_p_value,
    student_quantile,
)
from chexkeras.results import Estimate, PartialArea, PartialAreaDifference

_FEW_MISSED = 3
"""Independent positives' worth of area missed (or gained) below which its variance is too uncertain for the logit."""

_FEW_SETTERS = 10
"""Images of the class that sets the range, within it, below which the error of the range is simulated."""

_PATHS = 2000
_ROUNDING = 1e-9


class _Region(NamedTuple):
    """A range of specificity or sensitivity as a range of the false-positive rate of one of two mirrored curves.

    Attributes:
        over: "specificity" or "sensitivity".
        low: Where the range begins.
        high: Where it ends.
    """

    over: str
    low: float
    high: float

    @property
    def rates(self) -> tuple[float, float]:
        """The range of the false-positive rate, or of the miss rate."""
        return 1 - self.high, 1 - self.low

    @property
    def width(self) -> float:
        """The largest area."""
        return self.high - self.low

    def standardised(self, area: Estimate, *, difference: bool = False) -> Estimate:
        """Returns an area, or a difference of two, on McClish's scale."""
        begin, end = self.rates
        chance = (end**2 - begin**2) / 2
        scale = 0.5 / (self.width - chance)
        shift = 0.0 if difference else 0.5 - chance * scale
        value, low, high = (shift + scale * number for number in (area.value, area.low, area.high))
        method = f"{area.method}; standardised (McClish 1989)" if area.estimable else area.method
        return Estimate(value, low, high, area.confidence, area.n, method, area.reason)


@checked
def partial_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    specificity: Sequence[float] | None = None,
    sensitivity: Sequence[float] | None = None,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> PartialArea:
    """Returns the area under the part of the ROC curve that lies in a range of specificity or of sensitivity.

    The variance is DeLong's with truncated placements: a positive image counts the false-positive rates of the range at
    which it is called, a negative image the sensitivities of the range at which it is not, so that the uncertainty of
    where the range begins and ends is part of it. Contributions are added up within patients. Limits are made on the
    logit scale with Student's t at what patients are worth; where less than three positives' worth of area is missed
    (or gained), score limits under the power ROC curve, Hanley and McNeil's model. Where fewer than ten images of the
    class that sets the range lie in it, such as six of 60 positives for sensitivities above 0.9, the error of the range
    is skewed and is simulated from order statistics.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite; any monotone scale.
        specificity: The range, such as (0.9, 1), each in [0, 1]; give this or `sensitivity`.
        sensitivity: The range, such as (0.9, 1), each in [0, 1]; the area is then the one to the right of the curve,
            mean specificity over these sensitivities times the width.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The area and the same standardised. Not estimable when a class is missing or comes from one patient.

    Raises:
        ValueError: If not exactly one range is given, it is empty or leaves [0, 1]; and see `scores.clean`.

    Source:
        McClish, Medical Decision Making 9, 1989 (partial area, standardised); He & Escobar, Statistics in Medicine 27,
        2008 (placements); Obuchowski, Biometrics 53, 1997 (patients); Hanley & McNeil, Radiology 143, 1982, and
        Newcombe, Statistics in Medicine 25, 2006 (score limits under a power curve).

    Example:
        >>> print(partial_auc([0] * 40 + [1] * 40, list(range(40)) + list(range(15, 55)), specificity=(0.8, 1)).area)
        0.095 (95 % CI 0.050-0.132)
    """
    region = _region(specificity, sensitivity)
    checks.probability(confidence, "confidence", open_interval=True)
    positive, score, kept = clean(labels, scores)
    group = patient_numbers(clusters, kept)
    reason = unusable(positive, group)
    if reason:
        none = Estimate.not_estimable(reason, n=len(score), confidence=confidence)
        return PartialArea(*region, none, none)
    return _partial_area(region, positive, score, group, confidence)


@checked
def compare_partial_auc(
    labels: ArrayLike,
    first_scores: ArrayLike,
    second_scores: ArrayLike,
    *,
    specificity: Sequence[float] | None = None,
    sensitivity: Sequence[float] | None = None,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> PartialAreaDifference:
    """Returns the difference of two models' partial areas on the same images, and the p-value that they are equal.

    Every image contributes to the difference what it contributes to the first area less what it contributes to the
    second, so that the models may agree as they like. The p-value is below 1 - confidence exactly where the interval
    excludes 0. Scores that order the images alike differ by 0, for certain.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        first_scores: Shape (n,), finite.
        second_scores: Shape (n,), finite.
        specificity: The range, such as (0.9, 1), each in [0, 1]; give this or `sensitivity`.
        sensitivity: The range, such as (0.9, 1), each in [0, 1].
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        Both areas, and first minus second. The difference is not estimable, with p NaN, when a class is missing, comes
        from one patient, or the areas differ without any variance.

    Raises:
        ValueError: If not exactly one range is given, it is empty or leaves [0, 1]; and see `scores.clean`.

    Source:
        He & Escobar, Statistics in Medicine 27, 2008; Obuchowski, Biometrics 53, 1997.
    """
    region = _region(specificity, sensitivity)
    checks.probability(confidence, "confidence", open_interval=True)
    positive, first, kept = clean(labels, first_scores)
    second = clean(labels, second_scores)[1]
    group = patient_numbers(clusters, kept)
    n, unit = len(positive), "images" if group is None else "patients"
    reason = unusable(positive, group)
    if reason:
        none = Estimate.not_estimable(reason, n=n, confidence=confidence)
        nothing = PartialArea(*region, none, none)
        return PartialAreaDifference(nothing, nothing, none, none, math.nan)
    areas = [_partial_area(region, positive, score, group, confidence) for score in (first, second)]
    contributions = [_contributions(region, positive, score) for score in (first, second)]
    value = areas[0].area.value - areas[1].area.value
    part = _of_patients(region, value, contributions[0][1] - contributions[1][1], positive, group)
    variance, degrees, p_value = part.variance, _degrees(region, part), math.nan
    method = "paired, truncated placements (He & Escobar 2008)" + _clustered(part, n, unit)
    orders = [np.unique(score, return_inverse=True)[1] for score in (first, second)]
    if np.array_equal(orders[0], orders[1]):
        made, p_value = Estimate(0.0, 0.0, 0.0, confidence, n, f"{method}; both order the images alike"), 1.0
    elif variance > (_ROUNDING * region.width) ** 2:
        half = student_quantile(confidence, degrees) * math.sqrt(variance)
        low, high = max(-region.width, value - half), min(region.width, value + half)
        method += f", Student's t with {degrees:.0f} degrees of freedom{_cautions(region, part, unit)}"
        made = Estimate(value, low, high, confidence, n, method)
        p_value = student_p_value(value / math.sqrt(variance), degrees)
    elif abs(value) > _ROUNDING:
        words = f"the areas {areas[0].area.value:.4f} and {areas[1].area.value:.4f} differ, but without any variance"
        made = Estimate.not_estimable(words, n=n, confidence=confidence)
    else:
        down, up = (areas[0].area.value - areas[0].area.low), (areas[0].area.high - areas[0].area.value)
        half = math.hypot(down, up)
        method += "; limits of each area added as squares, because the variance is zero"
        made, p_value = Estimate(0.0, -half, half, confidence, n, method), 1.0
    return PartialAreaDifference(areas[0], areas[1], made, region.standardised(made, difference=True), p_value)


def _region(specificity: Sequence[float] | None, sensitivity: Sequence[float] | None) -> _Region:
    given = {
        name: ends for name, ends in (("specificity", specificity), ("sensitivity", sensitivity)) if ends is not None
    }
    if len(given) != 1:
        raise ValueError("give either specificity=(0.9, 1) or sensitivity=(0.9, 1), the range that the area is over.")
    ((name, ends),) = given.items()
    if np.ndim(ends) != 1 or len(ends) != 2:
        raise ValueError(f"{name}={ends!r}; a range of two fractions is expected, such as (0.9, 1).")
    low, high = sorted(checks.probability(end, name) for end in ends)
    if high - low < 1e-6:
        raise ValueError(f"{name}={ends!r} is an empty range; give two different fractions, such as (0.9, 1).")
    return _Region(name, low, high)


def _partial_area(
    region: _Region,
    positive: NDArray[np.bool_],
    scores: NDArray[np.float64],
    group: NDArray[np.int64] | None,
    confidence: float,
) -> PartialArea:
    value, contribution = _contributions(region, positive, scores)
    part = _of_patients(region, value, contribution, positive, group)
    share, scale = value / region.width, region.width**2
    if _setters(region, part) < _FEW_SETTERS:
        cases, values = mirrored(region.over, positive, scores)
        owner = np.arange(len(scores)) if group is None else group
        size = float(effective_size(Agreement.of(contribution[~cases], owner[~cases]), confidence))
        sizes, degrees = (part.effective_positives, math.inf), max(part.worth_positives - 1, 1.0)
        low, high, how = _limits(share, part.variance_positives / scale, degrees, region, sizes, confidence)
        classes = values[cases], values[~cases]
        low, high = _with_range(region, part, (low, high), classes, max(2.0, size), confidence)
        how += ", combined with limits of the range from simulated order statistics (Zou & Donner 2008)"
    else:
        degrees = _degrees(region, part)
        low, high, how = _limits(share, part.variance / scale, degrees, region, part.sizes, confidence)
    n, unit = len(positive), "images" if group is None else "patients"
    method = "truncated placements (He & Escobar 2008)" + _clustered(part, n, unit)
    method += f", {how}{_cautions(region, part, unit)}"
    area = Estimate(value, low * region.width, high * region.width, confidence, n, method)
    return PartialArea(*region, area, region.standardised(area))


def _clustered(part: AucContributions, n: int, unit: str) -> str:
    words = f" clustered by patient (Obuchowski 1997; {n} images of {part.n_patients} patients)"
    return words if unit == "patients" else ""


def _contributions(
    region: _Region, positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Returns a partial area, and what every image contributes to its error, shape (n,).

    A positive image's placement is the false-positive rate at which it is first called, and it adds to the area the
    part of the range above that. A negative image's placement is the sensitivity at which it is called; the area loses
    what positives of the range lie below it.
    """
    begin, end = region.rates
    cases, values = mirrored(region.over, positive, scores)
    block = np.unique(-values, return_inverse=True)[1]
    counts = [np.bincount(block[members], minlength=int(block.max()) + 1) for members in (cases, ~cases)]
    # Sensitivity and false-positive rate before and after each block of tied scores, strictest first.
    tpr, fpr = (np.append(0.0, np.cumsum(count)) / count.sum() for count in counts)
    inside = [_snapped(rate, fpr) for rate in (begin, end)]
    of_cases = end - _mean_clipped(fpr, *inside)[block[cases]]
    of_others = _mean_clipped(tpr, *(_sensitivity_at(rate, fpr, tpr) for rate in inside))[block[~cases]]
    area = float(of_cases.mean())
    contribution = np.empty(len(scores))
    contribution[cases] = (of_cases - area) / len(of_cases)
    contribution[~cases] = (of_others - of_others.mean()) / len(of_others)
    return area, contribution


def _snapped(rate: float, points: NDArray[np.float64]) -> float:
    """Returns the rate, or the point of the curve that it is up to rounding (1 - 0.9 is not 0.1)."""
    nearest = float(points[np.abs(points - rate).argmin()])
    return nearest if abs(nearest - rate) < _ROUNDING else rate


def _mean_clipped(points: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Returns for each step between points the mean of the rates passed, clipped to a range."""
    integral = np.where(
        points < low, low * points - low**2 / 2, np.where(points > high, high * points - high**2 / 2, points**2 / 2)
    )
    steps = np.diff(points)
    flat = np.clip(points[1:], low, high)
    return np.divide(np.diff(integral), steps, out=flat, where=steps > 1e-12)


def _sensitivity_at(rate: float, fpr: NDArray[np.float64], tpr: NDArray[np.float64]) -> float:
    """Returns the sensitivity at a false-positive rate: the middle of a vertical step, straight between tied blocks."""
    first, last = int(np.searchsorted(fpr, rate, "left")), int(np.searchsorted(fpr, rate, "right")) - 1
    if last >= first:
        return float(tpr[first] + tpr[last]) / 2
    return float(np.interp(rate, fpr[[last, first]], tpr[[last, first]]))


def _of_patients(
    region: _Region,
    value: float,
    contribution: NDArray[np.float64],
    positive: NDArray[np.bool_],
    group: NDArray[np.int64] | None,
) -> AucContributions:
    """Returns an area with contributions added up within patients, positives being those of the curve looked at."""
    cases = positive if region.over == "specificity" else ~positive
    owner = np.arange(len(positive)) if group is None else group
    of_cases, of_others = ((contribution[rows], owner[rows]) for rows in (cases, ~cases))
    return class_contributions(value, of_cases, of_others, int(owner.max()) + 1)


def _setters(region: _Region, part: AucContributions) -> float:
    """Returns how many independent images of the class that sets the range lie within it."""
    return part.effective_negatives * region.rates[1]


def _degrees(region: _Region, part: AucContributions) -> float:
    """Returns the degrees of freedom of a partial area's variance.

    The placements of the class that sets the range vary little outside it, so that its variance rests on those within.
    """
    worths = (part.worth_positives, min(part.worth_negatives, max(_setters(region, part), 2.0)))
    degrees = satterthwaite([part.variance_positives, part.variance_negatives], worths)
    return max(part.worth - 1, 1.0) if math.isinf(degrees) else degrees


def _cautions(region: _Region, part: AucContributions, unit: str) -> str:
    setters, words = _setters(region, part), approximate(part.worth, unit)
    if words or setters >= _FEW_SETTERS:
        return words
    kind = "negatives" if region.over == "specificity" else "positives"
    return f"; interval approximate: only {setters:.1f} {kind} set the range"


def _limits(
    share: float,
    variance: float,
    degrees: float,
    region: _Region,
    sizes: tuple[float, float],
    confidence: float,
) -> tuple[float, float, str]:
    """Returns the limits of a partial area over its width, and how they were made."""
    from scipy import optimize

    student = f"Student's t with {degrees:.0f} degrees of freedom"
    if variance > 0 and min(share, 1 - share) * sizes[0] >= _FEW_MISSED:
        low, high = logit_limits(share, math.sqrt(variance), confidence, degrees=degrees)
        return low, high, f"logit interval, {student}"
    quantile = student_quantile(confidence, degrees)
    expected = power_curve_variance(share, region.rates, sizes)
    inflation = max(1.0, variance / expected) if expected > 0 else 1.0

    def excess(limit: float) -> float:
        return (share - limit) ** 2 - quantile**2 * inflation * power_curve_variance(limit, region.rates, sizes)

    edge = 1e-9
    low = optimize.brentq(excess, edge, min(share, 1 - edge)) if share > edge and excess(edge) > 0 else 0.0
    high = optimize.brentq(excess, max(share, edge), 1 - edge) if share < 1 - edge and excess(1 - edge) > 0 else 1.0
    how = f"score limits under a power ROC curve (Hanley & McNeil 1982), few positives missed or found, {student}"
    return float(low), float(high), how


def _with_range(
    region: _Region,
    part: AucContributions,
    cases: tuple[float, float],
    classes: tuple[NDArray[np.float64], NDArray[np.float64]],
    size: float,
    confidence: float,
) -> tuple[float, float]:
    """Returns limits of an area over its width that know how uncertain the range is where few images set it.

    How many images of that class lie above the thresholds that truly bound the range is a path of uniform order
    statistics, whatever the scores' distribution. Areas over such paths are skewed, which a variance would not show.

    Args:
        region: The range.
        part: The area.
        cases: Limits of the area over its width, as if the range had been given.
        classes: Scores of the class that is counted and of the class that sets the range.
        size: How many independent images set the range.
        confidence: Coverage, in (0, 1).
    """
    (begin, end), share = region.rates, part.area / region.width
    inside = min(int(size), math.ceil(size * end + 6 * math.sqrt(size * end) + 8))
    chance = np.random.default_rng(0)
    gaps, others = chance.exponential(size=(_PATHS, inside)), chance.gamma(size + 1 - inside, size=(_PATHS, 1))
    reached = np.cumsum(gaps, axis=1)
    points = np.pad(reached / (reached[:, -1:] + others), ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    at_ranks = shares_at_ranks(np.arange(inside + 1) * len(classes[1]) / size, *classes)
    areas = np.diff(np.clip(points, begin, end), axis=1) @ at_ranks / region.width
    low, high = np.quantile(areas, [(1 - confidence) / 2, (1 + confidence) / 2])
    scale = math.sqrt(float(part.of_positives @ part.of_positives) * float(part.of_negatives @ part.of_negatives))
    together = -float(part.of_positives @ part.of_negatives) / scale if scale > 0 else 0.0
    below = combined_side(share - cases[0], float(areas.mean() - low), together)
    above = combined_side(cases[1] - share, float(high - areas.mean()), together)
    return max(0.0, share - below), min(1.0, share + above)


def power_curve_variance(share: float, rates: tuple[float, float], sizes: tuple[float, float]) -> float:
    """Returns the variance of a partial area, over the width of its range, from the area and the class sizes alone.

    Args:
        share: The partial area over its width, in [0, 1].
        rates: Where the range of the false-positive rate begins and ends.
        sizes: How many independent positive and negative images there are.

    Returns:
        The variance where the ROC curve is ``false-positive rate ** k``; 0 at a share of 0 or 1. Over the whole range
        it is Hanley and McNeil's for large samples.

    Source:
        Hanley & McNeil, Radiology 143, 1982 (the curve of two exponential distributions), here truncated.
    """
    from scipy import optimize

    begin, end = rates
    if not 0 < share < 1:
        return 0.0

    def mean_power(power: float) -> float:
        return (end ** (power + 1) - begin ** (power + 1)) / (power + 1) / (end - begin)

    above = 1.0
    while mean_power(above) > share:
        above *= 2
    k = optimize.brentq(lambda power: mean_power(power) - share, 0.0, above)
    # Moments of the placements clipped to the range: of positives, whose distribution is rate ** k, and of negatives.
    first = begin ** (k + 1) + k / (k + 1) * (end ** (k + 1) - begin ** (k + 1)) + end * (1 - end**k)
    second = begin ** (k + 2) + k / (k + 2) * (end ** (k + 2) - begin ** (k + 2)) + end**2 * (1 - end**k)

    def clipped(power: float) -> float:
        return begin ** (power + 1) + (end - begin) * mean_power(power) + (1 - end) * end**power

    of_positives, of_negatives = second - first**2, clipped(2 * k) - clipped(k) ** 2
    return (max(of_positives, 0.0) / sizes[0] + max(of_negatives, 0.0) / sizes[1]) / (end - begin) ** 2
