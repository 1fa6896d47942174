"""How many images a study needs for an area under the ROC curve, and what it can show with those it has."""

import math
from collections.abc import Callable

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.sample_size.rates import PlannedSize
from chexkeras.evaluation.uncertainty.limits import hanley_mcneil_variance, normal_quantile, pairs_variance

MODELS = ("binormal", "hanley_mcneil", "obuchowski")
"""What `auc_standard_error` may assume about scores."""

_LARGEST = 10_000_000


@checked
def auc_standard_error(auc: float, n_positive: float, n_negative: float, *, model: str = "binormal") -> float:
    """Returns the standard error to expect of an area under the ROC curve, before there are any scores.

    Args:
        auc: The area expected, strictly between 0.5 and 1.
        n_positive: Independent positives, at least 2.
        n_negative: Independent negatives, at least 2.
        model: "binormal": exact for scores that are normal in both classes with equal variance, on any monotone
            scale. "hanley_mcneil": for exponential scores. "obuchowski": an approximation meant for ratings,
            about a sixth larger around .85, so on the safe side.

    Returns:
        The standard error.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Hanley & McNeil, Radiology 143, 1982; Obuchowski, Statistical Methods in Medical Research 7, 1998.

    Example:
        >>> round(auc_standard_error(0.85, 500, 500), 4)
        0.0119
    """
    checks.one_of(model, MODELS, "model")
    area = _area(auc, "auc")
    for name, size in (("n_positive", n_positive), ("n_negative", n_negative)):
        if not (isinstance(size, (int, float)) and math.isfinite(size) and size >= 2):
            raise ValueError(f"{name}={size!r} must be a number of at least 2.")
    from scipy import special

    distance = float(special.ndtri(area))
    if model == "obuchowski":
        square = 2 * distance**2
        ratio = n_negative / n_positive
        return math.sqrt(0.0099 * math.exp(-square / 2) * (5 * square + 8 + (square + 8) / ratio) / n_positive)
    if model == "binormal":
        # That two images of one class both compare rightly with one of the other: two normal differences with
        # correlation 1/2, both above zero.
        both = area - 2 * float(special.owens_t(distance, 1 / math.sqrt(3)))
        return math.sqrt(pairs_variance(area, n_positive, n_negative, both, both))
    return math.sqrt(hanley_mcneil_variance(area, n_positive, n_negative, averaged=False))


@checked
def sample_size_auc(
    expected: float,
    half_width: float,
    *,
    negatives_per_positive: float = 1.0,
    confidence: float = 0.95,
    model: str = "binormal",
) -> PlannedSize:
    """Returns how many positives give the area under the ROC curve an interval of a wanted half width.

    Args:
        expected: The area expected, strictly between 0.5 and 1.
        half_width: Half the width wanted, strictly between 0 and 1.
        negatives_per_positive: How many negatives go with each positive, above 0; at a prevalence p, (1 - p) / p.
        confidence: Coverage of the interval, in (0, 1).
        model: What scores are assumed to be: "binormal", "hanley_mcneil" or "obuchowski", see `auc_standard_error`.

    Returns:
        Positives as `cases`, positives and negatives together as `total`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> print(sample_size_auc(0.70, 0.07, model="obuchowski"))
        114 cases (228 images in all): 95 % interval of +/-0.07 around an expected area of 0.7, model obuchowski
    """
    area, ratio = _area(expected, "expected"), _ratio(negatives_per_positive)
    half = checks.probability(half_width, "half_width", open_interval=True)
    checks.probability(confidence, "confidence", open_interval=True)
    wanted = half / normal_quantile(confidence)
    purpose = f"{confidence * 100:g} % interval of +/-{half:g} around an expected area of {area:g}, model {model}"
    return _smallest(lambda n: auc_standard_error(area, n, n * ratio, model=model) <= wanted, ratio, purpose)


@checked
def power_auc_lower_bound(
    true: float,
    goal: float,
    n_positive: float,
    n_negative: float,
    *,
    confidence: float = 0.95,
    one_sided: bool = False,
    model: str = "binormal",
) -> float:
    """Returns the probability that the lower bound of an area's logit interval lies above a goal.

    Args:
        true: The true area, strictly between 0.5 and 1.
        goal: Strictly between 0 and 1.
        n_positive: Independent positives.
        n_negative: Independent negatives.
        confidence: Of the interval, in (0, 1).
        one_sided: Whether all the error lies below the bound.
        model: What scores are assumed to be: "binormal", "hanley_mcneil" or "obuchowski", see `auc_standard_error`.

    Returns:
        The power, in (0, 1), by the normal approximation on the logit scale, where `intervals.auc_interval` works.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> round(power_auc_lower_bound(0.85, 0.80, 200, 200), 2)
        0.66
    """
    from scipy import special

    area, aim = _area(true, "true"), checks.probability(goal, "goal", open_interval=True)
    error = auc_standard_error(area, n_positive, n_negative, model=model) / (area * (1 - area))
    gain = float(special.logit(area) - special.logit(aim))
    return float(special.ndtr(gain / error - _quantile(confidence, one_sided)))


@checked
def sample_size_auc_lower_bound(
    true: float,
    goal: float,
    power: float = 0.8,
    *,
    negatives_per_positive: float = 1.0,
    confidence: float = 0.95,
    one_sided: bool = False,
    model: str = "binormal",
) -> PlannedSize:
    """Returns how many positives show with a wanted power that an area under the ROC curve lies above a goal.

    Args:
        true: The true area, strictly between 0.5 and 1, above the goal.
        goal: Strictly between 0 and 1.
        power: The probability wanted, strictly between 0 and 1.
        negatives_per_positive: How many negatives go with each positive, above 0.
        confidence: Of the interval, in (0, 1).
        one_sided: Whether all the error lies below the bound.
        model: What scores are assumed to be: "binormal", "hanley_mcneil" or "obuchowski", see `auc_standard_error`.

    Returns:
        Positives as `cases`, positives and negatives together as `total`.

    Raises:
        ValueError: If an argument is out of range, or the true area does not lie above the goal.
    """
    area, aim, ratio = _area(true, "true"), checks.probability(goal, "goal"), _ratio(negatives_per_positive)
    wanted = checks.probability(power, "power", open_interval=True)
    if area <= aim:
        raise ValueError(f"true={true:g} must lie above goal={goal:g}; no number shows a goal that is not met.")

    def enough(n: int) -> bool:
        sizes = (n, n * ratio)
        found = power_auc_lower_bound(area, aim, *sizes, confidence=confidence, one_sided=one_sided, model=model)
        return found >= wanted

    purpose = (
        f"power {wanted:g} that the {'one' if one_sided else 'two'}-sided {confidence * 100:g} % lower bound lies "
        f"above {aim:g} when the true area is {area:g}, model {model}"
    )
    return _smallest(enough, ratio, purpose)


@checked
def power_auc_difference(
    first: float,
    second: float,
    n_positive: float,
    n_negative: float,
    *,
    correlation: float,
    margin: float | None = None,
    confidence: float = 0.95,
    model: str = "binormal",
) -> float:
    """Returns the probability that two areas under the ROC curve are told apart, or the first shown not to be inferior.

    Args:
        first: The true area of one model, strictly between 0.5 and 1.
        second: That of the other, strictly between 0.5 and 1.
        n_positive: Independent positives.
        n_negative: Independent negatives.
        correlation: Of the two estimated areas, in [0, 1): 0 on different images, about .5 for two models on the same
            images, more for versions of one model. A pilot's paired DeLong covariance gives it.
        margin: How much lower the first area may be and still count as not inferior, in [0, 1): power is then the
            probability that the lower limit of the interval of first minus second lies above ``-margin``; 0 asks for
            superiority in this direction. None for the two-sided test of equal areas.
        confidence: Of the two-sided interval, in (0, 1); one minus the size of the two-sided test.
        model: What scores are assumed to be: "binormal", "hanley_mcneil" or "obuchowski", see `auc_standard_error`.

    Returns:
        The power, in (0, 1), of the paired DeLong test by the normal approximation.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Hanley & McNeil, Radiology 148, 1983 (variance of a difference of correlated areas).

    Example:
        >>> round(power_auc_difference(0.85, 0.82, 500, 500, correlation=0.5), 2)
        0.67
        >>> round(power_auc_difference(0.85, 0.85, 500, 500, correlation=0.5, margin=0.03), 2)
        0.71
    """
    from scipy import special

    gap = _area(first, "first") - _area(second, "second")
    shared = checks.probability(correlation, "correlation")
    if shared == 1:
        raise ValueError("correlation=1 leaves nothing to tell the models apart by; give less, for example 0.5.")
    one, other = (auc_standard_error(area, n_positive, n_negative, model=model) for area in (first, second))
    error = math.sqrt(one**2 + other**2 - 2 * shared * one * other)
    needed = _quantile(confidence, one_sided=False)
    if margin is not None:
        return float(special.ndtr((gap + _margin(margin)) / error - needed))
    return float(special.ndtr(gap / error - needed) + special.ndtr(-gap / error - needed))


@checked
def sample_size_auc_difference(
    first: float,
    second: float,
    power: float = 0.8,
    *,
    correlation: float,
    margin: float | None = None,
    negatives_per_positive: float = 1.0,
    confidence: float = 0.95,
    model: str = "binormal",
) -> PlannedSize:
    """Returns how many positives tell two areas under the ROC curve apart, or show the first not to be inferior.

    Args:
        first: The true area of one model, strictly between 0.5 and 1.
        second: That of the other, strictly between 0.5 and 1; different from the first unless there is a margin.
        power: The probability wanted, strictly between 0 and 1.
        correlation: Of the two estimated areas, in [0, 1): 0 on different images, about .5 for two models on the same
            images, more for versions of one model.
        margin: How much lower the first area may be and still count as not inferior, in [0, 1); 0 asks for superiority
            in this direction; None for the two-sided test of equal areas.
        negatives_per_positive: How many negatives go with each positive, above 0.
        confidence: Of the two-sided interval, in (0, 1); one minus the size of the two-sided test.
        model: What scores are assumed to be: "binormal", "hanley_mcneil" or "obuchowski", see `auc_standard_error`.

    Returns:
        Positives as `cases`, positives and negatives together as `total`.

    Raises:
        ValueError: If an argument is out of range, the areas are equal and there is no margin, or the first lies below
            the second by the margin or more.

    Example:
        >>> sample_size_auc_difference(0.85, 0.85, correlation=0.5, margin=0.03).cases
        615
    """
    ratio, wanted = _ratio(negatives_per_positive), checks.probability(power, "power", open_interval=True)
    if margin is None and first == second:
        raise ValueError(f"first and second are both {first:g}; no number of images tells equal areas apart.")
    if margin is not None and first - second + _margin(margin) <= 1e-12:
        raise ValueError(
            f"first={first:g} lies below second={second:g} by margin={margin:g} or more; no number of images shows "
            "what is not so."
        )

    def enough(n: int) -> bool:
        sizes = (n, n * ratio)
        test = {"correlation": correlation, "confidence": confidence}
        return power_auc_difference(first, second, *sizes, **test, margin=margin, model=model) >= wanted

    if margin is None:
        aim = f"areas of {first:g} and {second:g} are told apart at {confidence * 100:g} % confidence"
    else:
        aim = (
            f"the two-sided {confidence * 100:g} % interval of the difference of areas of {first:g} and {second:g} "
            f"lies above {-margin or 0:g}"
        )
    purpose = f"power {wanted:g} that {aim}, estimates correlated {correlation:g}, model {model}"
    return _smallest(enough, ratio, purpose)


def _area(value: float, name: str) -> float:
    area = checks.probability(value, name, open_interval=True)
    if area <= 0.5:
        raise ValueError(f"{name}={value!r}: plan for an area under the ROC curve above 0.5, which is chance.")
    return area


def _margin(margin: float) -> float:
    shift = checks.probability(margin, "margin")
    if shift == 1:
        raise ValueError("margin=1 calls everything not inferior; give less, for example 0.05.")
    return shift


def _ratio(negatives_per_positive: float) -> float:
    ratio = float(negatives_per_positive)
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"negatives_per_positive={negatives_per_positive!r} must be a number above 0, such as 1.")
    return ratio


def _quantile(confidence: float, one_sided: bool) -> float:
    checks.probability(confidence, "confidence", open_interval=True)
    return normal_quantile(2 * confidence - 1 if one_sided else confidence)


def _smallest(enough: Callable[[int], bool], ratio: float, purpose: str) -> PlannedSize:
    """Returns the smallest number of positives that is enough; more is always enough too."""
    low = max(2, math.ceil(2 / ratio))
    high = low
    while not enough(high):
        if high > _LARGEST:
            raise ValueError(f"more than {_LARGEST:,} positives would be needed ({purpose}); ask for less.")
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    images = high * (1 + ratio)
    return PlannedSize(high, math.ceil(images - 1e-9 * images), images, purpose)
