"""Confidence limits and p-values in closed form, from plain numbers: what every interval is made of.

Limits of a proportion, limits on the logit scale, limits and standard errors of an area under the ROC curve of which
only the area and the sizes of the classes are known, p-values corrected for several tests.

By which method an area under the ROC curve gets its limits, and how that is put in words, is decided in `auc_limits`:
for one area, for the mean of several findings or folds, for a published area, and where a bootstrap or a difference of
two perfect rankings has no variance. To change the method, change that function.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from chexkeras import checks
from chexkeras.evaluation.uncertainty.worth import NORMAL_FROM, student_quantile

FEW = 30
"""What patients of a class are worth below which the variance of an area is at least Hanley and McNeil's."""

DELONG = {"images": "DeLong", "patients": "DeLong clustered by patient (Obuchowski 1997)"}
"""The words for the variance of an area, by what is independent."""


NO_VARIANCE = "because the DeLong variance is zero or undefined"


def normal_quantile(confidence: float) -> float:
    """Returns the standard normal quantile of a two-sided interval.

    Args:
        confidence: Coverage, in (0, 1).

    Returns:
        For example 1.96 for 0.95.
    """
    from scipy import special

    return float(special.ndtri(0.5 + confidence / 2))


def clopper_pearson(successes: float, n: float, confidence: float) -> tuple[float, float]:
    """Returns the exact binomial limits.

    Args:
        successes: From 0 to `n`; fractions are allowed, for effective sample sizes.
        n: Above 0.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower and upper limit.

    Source:
        Clopper & Pearson, Biometrika 26, 1934; by the beta distribution also for fractions, Korn & Graubard, Survey
        Methodology 24, 1998.
    """
    from scipy import special

    tail = (1 - confidence) / 2
    low = special.betaincinv(successes, n - successes + 1, tail) if successes > 0 else 0.0
    high = special.betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return float(low), float(high)


def wilson(successes: float, n: float, confidence: float) -> tuple[float, float]:
    """Returns Wilson's score limits of a proportion.

    Args:
        successes: From 0 to `n`.
        n: Above 0.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower and upper limit.

    Source:
        Wilson, JASA 22, 1927.
    """
    share, z2 = successes / n, normal_quantile(confidence) ** 2
    centre, half = share + z2 / (2 * n), math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n)
    low = 0.0 if successes == 0 else (centre - half) / (1 + z2 / n)
    high = 1.0 if successes == n else (centre + half) / (1 + z2 / n)
    return low, high


def logit_limits(
    value: float, standard_error: float, confidence: float, *, degrees: float = math.inf
) -> tuple[float, float]:
    """Returns limits computed on the logit scale, so that they stay between 0 and 1.

    Args:
        value: Strictly between 0 and 1.
        standard_error: Of the value itself, not of its logit.
        confidence: Coverage, in (0, 1).
        degrees: Of freedom of Student's t; infinite for the normal distribution.

    Returns:
        Lower and upper limit.
    """
    from scipy import special

    half = student_quantile(confidence, degrees) * standard_error / (value * (1 - value))
    return float(special.expit(special.logit(value) - half)), float(special.expit(special.logit(value) + half))


def hanley_mcneil_variance(area: float, n_positive: float, n_negative: float, *, averaged: bool = True) -> float:
    """Returns the variance of an area under the ROC curve from the area and the sizes of the classes alone.

    Args:
        area: Area under the ROC curve, in [0, 1].
        n_positive: Positive images, at least 1; a fraction for effective sizes.
        n_negative: Negative images, at least 1; a fraction for effective sizes.
        averaged: Whether the mean of both sizes stands for each of them where pairs of images of one class count, as
            Newcombe takes it; otherwise Hanley and McNeil's own formula.

    Returns:
        The variance under the negative exponential model, 0 at an area of 0 or 1; near DeLong's where scores are not
        far from that model.

    Source:
        Hanley & McNeil, Radiology 143, 1982, equations 1 and 2; Newcombe, Statistics in Medicine 25, 2006 (method 5).
    """
    if averaged:
        mean = (n_positive + n_negative) / 2 - 1
        spread = 1 + mean * ((1 - area) / (2 - area) + area / (1 + area))
        return area * (1 - area) * spread / (n_positive * n_negative)
    return max(0.0, pairs_variance(area, n_positive, n_negative, area / (2 - area), 2 * area**2 / (1 + area)))


def pairs_variance(
    area: float, n_positive: float, n_negative: float, two_positives: float, two_negatives: float
) -> float:
    """Returns the variance of an area under the ROC curve from how often pairs of images compare rightly.

    Args:
        area: Area under the ROC curve, in [0, 1].
        n_positive: Positive images, at least 1.
        n_negative: Negative images, at least 1.
        two_positives: Probability that two positive images both score above one negative image.
        two_negatives: Probability that two negative images both score below one positive image.

    Returns:
        The variance.

    Source:
        Hanley & McNeil, Radiology 143, 1982, equation 1.
    """
    of_pairs = (n_positive - 1) * (two_positives - area**2) + (n_negative - 1) * (two_negatives - area**2)
    return (area * (1 - area) + of_pairs) / (n_positive * n_negative)


def newcombe_auc(
    area: float,
    n_positive: float,
    n_negative: float,
    confidence: float,
    *,
    inflation: float = 1.0,
    degrees: float = math.inf,
) -> tuple[float, float]:
    """Returns the limits t with ``|area - t| = q sqrt(V(t))``, V being `hanley_mcneil_variance`.

    Args:
        area: Area under the ROC curve, in [0, 1].
        n_positive: At least 1; a fraction for effective sizes.
        n_negative: At least 1; a fraction for effective sizes.
        confidence: Coverage, in (0, 1).
        inflation: Multiplies V, where the data vary more or less than it assumes.
        degrees: Of freedom of Student's t for the quantile q; infinite for the normal distribution.

    Returns:
        Lower and upper limit, also for a perfect ranking.

    Source:
        Newcombe, Statistics in Medicine 25, 2006 (method 5).
    """
    from scipy import optimize

    q2 = student_quantile(confidence, degrees) ** 2 * inflation

    def excess(limit: float) -> float:
        return (area - limit) ** 2 - q2 * hanley_mcneil_variance(limit, n_positive, n_negative)

    # At 0 and 1 the variance vanishes, so the excess is >= 0 there and < 0 just beside the area.
    edge = 1e-12
    low = optimize.brentq(excess, 0.0, min(area, 1 - edge)) if area > edge else 0.0
    high = optimize.brentq(excess, max(area, edge), 1.0) if area < 1 - edge else 1.0
    return float(low), float(high)


class AreaError(NamedTuple):
    """A standard error of an area under the ROC curve that few patients have already been allowed for in.

    Attributes:
        value: The error, above 0.
        words: What it is, for the method of an estimate.
    """

    value: float
    words: str


def auc_limits(
    area: float,
    variance: float,
    patients: tuple[int, int],
    confidence: float,
    *,
    sizes: tuple[float, float] | None = None,
    worth: float | None = None,
    degrees: float | None = None,
    unit: str = "patients",
    error: AreaError | None = None,
    whose: str = "",
    because: str = NO_VARIANCE,
) -> tuple[float, float, str]:
    """Returns the limits of an area under the ROC curve and how they were computed.

    Everything that reports an interval of an area comes here, so that the method can be changed in one place; see
    `intervals.auc_interval` for what it is and why.

    Args:
        area: The area, or the mean of several.
        variance: Its variance; 0 or NaN where there is none.
        patients: How many patients have a positive image, and how many a negative one.
        confidence: Coverage, in (0, 1).
        sizes: How many independent positive and negative images would tell as much; None for the numbers of patients.
        worth: What the patients of the class that tells less are worth, see `worth.kish`; None for the smaller number
            of patients.
        degrees: Of freedom of the variance; None for one less than `worth`, or infinite from `NORMAL_FROM` on.
        unit: What is independent, "patients" or "images".
        error: The standard error to rest the limits on, however few patients there are; None takes that of `variance`,
            DeLong's or Obuchowski's, and makes up for what it misses with few patients.
        whose: Whose patients these are, for the method, such as "of the rarest finding"; empty for those of the area.
        because: Why there is no variance, where there is none.

    Returns:
        Lower limit, upper limit, method.
    """
    positives, negatives = sizes or patients
    worth = float(min(patients)) if worth is None else worth
    if degrees is None:
        degrees = max(1.0, worth - 1) if worth < NORMAL_FROM else math.inf
    newcombe = f"Newcombe 2006 method 5 on {patients[0]} positive and {patients[1]} negative {unit}"
    newcombe += f" {whose}" if whose else ""
    if not variance > 0:
        return *newcombe_auc(area, positives, negatives, confidence), f"{newcombe}, {because}"
    student = "" if math.isinf(degrees) else f", Student's t with {degrees:.0f} degrees of freedom"
    if error is None and worth >= NORMAL_FROM:
        error = AreaError(variance**0.5, DELONG[unit])
    if error is not None:
        limits = logit_limits(area, error.value, confidence, degrees=degrees)
        return *limits, f"{error.words}, logit interval{student}"
    inflation = max(variance / hanley_mcneil_variance(area, positives, negatives), least_inflation(worth))
    method = f"{newcombe}, worth {worth:.0f} in the smaller class, with the {DELONG[unit]} variance"
    if inflation > variance / hanley_mcneil_variance(area, positives, negatives):
        method += " raised towards its own"
    limits = newcombe_auc(area, positives, negatives, confidence, inflation=inflation, degrees=degrees)
    return *limits, method + student


def least_inflation(worth: float) -> float:
    """Returns which share of Hanley and McNeil's variance the variance of an area is at least taken to be.

    A variance estimated from few patients is too small by chance as often as not. The share is 1 below `FEW` and falls
    as patients are worth more, so that a patient more or less changes little; from `NORMAL_FROM` on there is no floor.

    Args:
        worth: What the patients of the class that tells less are worth.

    Returns:
        From 0 to 1.
    """
    return min(1.0, FEW / worth) if worth < NORMAL_FROM else 0.0


def variance_floor(area: float, sizes: tuple[float, float], worth: float) -> float:
    """Returns what the variance of an area is at least taken to be, where few patients make DeLong's too small.

    Args:
        area: The area.
        sizes: How many independent positive and negative images would tell as much.
        worth: What the patients of the class that tells less are worth.

    Returns:
        The share of Hanley and McNeil's variance that `least_inflation` gives.
    """
    return least_inflation(worth) * hanley_mcneil_variance(area, *sizes)


def hanley_mcneil_error(area: float, n_positive: int, n_negative: int) -> float:
    """Returns the standard error of an area under the ROC curve from the area and the class sizes alone.

    Args:
        area: Area under the ROC curve, in [0, 1].
        n_positive: Positive images, at least 1.
        n_negative: Negative images, at least 1.

    Returns:
        The root of `hanley_mcneil_variance`.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Hanley & McNeil, Radiology 143, 1982, equations 1 and 2.

    Example:
        >>> round(hanley_mcneil_error(0.8931710615280596, 51, 58), 4)
        0.0325
    """
    checks.probability(area, "area")
    checks.positive_int(n_positive, "n_positive")
    checks.positive_int(n_negative, "n_negative")
    return math.sqrt(hanley_mcneil_variance(area, n_positive, n_negative, averaged=False))


def correlation_needed(
    first_auc: float, second_auc: float, n_positive: int, n_negative: int, *, confidence: float = 0.95
) -> float:
    """Returns above which correlation of two areas of the same images their difference would be significant.

    Args:
        first_auc: Area of the first model, in (0, 1).
        second_auc: Area of the second model, in (0, 1).
        n_positive: Positive images.
        n_negative: Negative images.
        confidence: 1 - the level of the two-sided test, in (0, 1).

    Returns:
        At most 1, which equal areas need; negative where the areas differ even if they are not correlated.

    Source:
        Hanley & McNeil, Radiology 148, 1983, equation 1, solved for r.

    Example:
        >>> round(correlation_needed(0.6736, 0.6715, 222, 16148), 5)
        0.99857
    """
    errors = [hanley_mcneil_error(area, n_positive, n_negative) for area in (first_auc, second_auc)]
    largest_variance = ((first_auc - second_auc) / normal_quantile(confidence)) ** 2
    return (errors[0] ** 2 + errors[1] ** 2 - largest_variance) / (2 * errors[0] * errors[1])


def holm(p_values: Iterable[float]) -> list[float]:
    """Returns p-values after Holm's correction; NaN stands for no test and counts for nothing.

    Args:
        p_values: Of tests made together, each in [0, 1] or NaN.

    Returns:
        Adjusted p-values, in order.

    Source:
        Holm, Scandinavian Journal of Statistics 6, 1979.

    Example:
        >>> holm([0.01, 0.04, float("nan"), 0.03])
        [0.03, 0.06, nan, 0.06]
    """
    values = np.array(list(p_values), dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    remaining = len(order) - np.arange(len(order))
    values[order] = np.minimum(np.maximum.accumulate(remaining * values[order]), 1.0)
    return [float(value) for value in values]


def p_text(p_value: float) -> str:
    """Returns a p-value as print has it: three decimals, "<0.001" below, a dash where there is none.

    Args:
        p_value: In [0, 1]; NaN where there is no test.

    Example:
        >>> p_text(0.0421), p_text(1e-9), p_text(float("nan"))
        ('0.042', '<0.001', '–')
    """
    if math.isnan(p_value):
        return "–"
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
