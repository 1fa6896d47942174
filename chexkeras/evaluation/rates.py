"""What a threshold achieves, as rates with their intervals: from calls on images, or from four published counts."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.evaluation.inputs import one_class
from chexkeras.evaluation.outcomes import Called, Outcomes, clean_calls, log_likelihood_ratio
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval, proportion_interval
from chexkeras.evaluation.uncertainty.limits import clopper_pearson
from chexkeras.results import Estimate

_ONE_PATIENT = "all images come from one patient"


@dataclass(frozen=True)
class Rates:
    """What the four counts give, each number with its interval.

    Attributes:
        true_positives: Count, likewise the next three.
        false_negatives: Positive images not called.
        false_positives: Negative images called positive.
        true_negatives: Negative images not called.
        sensitivity: Share of positives called positive.
        specificity: Share of negatives not called positive.
        ppv: Positive predictive value among these images, whatever sampling made their prevalence.
        npv: Negative predictive value, likewise.
        accuracy: Share of images called rightly, likewise.
        likelihood_ratio_positive: sensitivity / (1 - specificity).
        likelihood_ratio_negative: (1 - sensitivity) / specificity.
        f1: Harmonic mean of PPV and sensitivity; it holds at this prevalence only.
        mcc: Matthews correlation coefficient, -1 to 1, at this prevalence.
        youden: sensitivity + specificity - 1.
    """

    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    accuracy: Estimate
    likelihood_ratio_positive: Estimate
    likelihood_ratio_negative: Estimate
    f1: Estimate
    mcc: Estimate
    youden: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


def rates(
    labels: ArrayLike, called: ArrayLike, *, clusters: ArrayLike | None = None, confidence: float = 0.95
) -> Rates:
    """Returns what calls on images achieve.

    Proportions get the interval of `clustered_proportion_interval` (Clopper-Pearson for independent images). The
    logarithms of the likelihood ratios are linearised and their contributions added up within patients: with one
    image for each patient that is Simel's interval exactly, and unlike a bootstrap it needs no seed and stays defined
    when a replicate would draw no false alarm. F1 is a function of the share of true positives among the images that
    are positive or called, so it gets the exact interval of that share. MCC is linearised on Fisher's z scale.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        called: Shape (n,), whether each image was called positive, for example ``scores >= threshold``.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The rates; one that the counts leave undefined is not estimable, with the reason.

    Raises:
        ValueError: If lengths differ, a label is not 1/0/NaN, a call is neither true nor false, or a patient is
            missing.

    Source:
        Simel, Samsa & Matchar, Journal of Clinical Epidemiology 44, 1991 (likelihood ratios); Newcombe, Statistics in
        Medicine 17, 1998, method 10 (Youden's index); Youden, Cancer 3, 1950; Matthews, Biochimica et Biophysica Acta
        405, 1975.

    Example:
        >>> print(rates([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0]).f1)
        0.667 (95 % CI 0.127-0.965)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    calls = clean_calls(labels, called, clusters)
    return _gather(Outcomes.count(calls), _share_by_image(calls, confidence), confidence)


def rates_from_counts(tp: int, fn: int, fp: int, tn: int, *, confidence: float = 0.95) -> Rates:
    """Returns what four counts of independent images give, for example those of a published table.

    Args:
        tp: True positives.
        fn: False negatives.
        fp: False positives.
        tn: True negatives.
        confidence: Coverage, in (0, 1).

    Returns:
        The rates, as `rates` gives them for one image of each patient.

    Raises:
        ValueError: If a count is not a whole number of at least 0.

    Example:
        >>> found = rates_from_counts(670, 74, 202, 640)
        >>> print(found.likelihood_ratio_positive)
        3.754 (95 % CI 3.321-4.243)
        >>> print(found.likelihood_ratio_negative)
        0.131 (95 % CI 0.105-0.163)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    for name, count in (("tp", tp), ("fn", fn), ("fp", fp), ("tn", tn)):
        if isinstance(count, (bool, np.bool_)) or not isinstance(count, (int, np.integer)) or count < 0:
            raise ValueError(f"{name}={count!r} must be a whole number of at least 0: a count of images, not a rate.")

    counts = (int(tp), int(fn), int(fp), int(tn))
    return _gather(Outcomes(np.array(counts, dtype=np.float64)), _share_of_counts(counts, confidence), confidence)


class _Cells(NamedTuple):
    """Which of the four counts a share takes, of which, and why it may be undefined."""

    part: tuple[int, ...]
    whole: tuple[int, ...]
    empty: str


_Share = Callable[[_Cells], Estimate]

_SENSITIVITY = _Cells((0,), (0, 1), "no positives")
_SPECIFICITY = _Cells((3,), (2, 3), "no negatives")


def _share_by_image(calls: Called, confidence: float) -> _Share:
    def share(cells: _Cells) -> Estimate:
        rows = np.isin(calls.kind, cells.whole)
        hits = np.isin(calls.kind[rows], cells.part)
        return clustered_proportion_interval(hits, calls.owner[rows], confidence=confidence, empty=cells.empty)

    return share


def _share_of_counts(counts: tuple[int, ...], confidence: float) -> _Share:
    def share(cells: _Cells) -> Estimate:
        whole = sum(counts[cell] for cell in cells.whole)
        if not whole:
            return Estimate.not_estimable(cells.empty, confidence=confidence)
        return proportion_interval(sum(counts[cell] for cell in cells.part), whole, confidence=confidence)

    return share


def _gather(outcomes: Outcomes, share: _Share, confidence: float) -> Rates:
    tp, fn, fp, tn = (int(count) for count in outcomes.totals)
    sensitivity, specificity = share(_SENSITIVITY), share(_SPECIFICITY)
    return Rates(
        true_positives=tp,
        false_negatives=fn,
        false_positives=fp,
        true_negatives=tn,
        sensitivity=sensitivity,
        specificity=specificity,
        ppv=share(_Cells((0,), (0, 2), "no image is called positive")),
        npv=share(_Cells((3,), (1, 3), "every image is called positive")),
        accuracy=share(_Cells((0, 3), (0, 1, 2, 3), "no image has a known label")),
        likelihood_ratio_positive=_likelihood_ratio(outcomes, True, confidence),
        likelihood_ratio_negative=_likelihood_ratio(outcomes, False, confidence),
        f1=_f1(outcomes, share, confidence),
        mcc=_mcc(outcomes, sensitivity, specificity, confidence),
        youden=_youden(sensitivity, specificity, confidence),
    )


def _likelihood_ratio(outcomes: Outcomes, of_positive_call: bool, confidence: float) -> Estimate:
    n = outcomes.n
    tp, fn, fp, tn = outcomes.totals
    above, below, *others = (tp, fp, fn, tn) if of_positive_call else (fn, tn, tp, fp)
    if not (tp + fn and fp + tn):
        reason = one_class(int(tp + fn), int(fp + tn))
    elif not above and not below:
        reason = "no image is called positive" if of_positive_call else "every image is called positive"
    else:
        reason = _ONE_PATIENT if outcomes.one_patient else ""
    if reason:
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    # Where every image is called, the ratio is 1 and would seem to be known exactly.
    added = 0.0 if above and below and any(others) else 0.5
    logarithm, error = log_likelihood_ratio(outcomes, of_positive_call=of_positive_call, added=added)
    half = outcomes.quantile(confidence) * error
    method = "Simel 1991, log interval" + outcomes.counted
    if added:
        method += "; a count is zero, so 0.5 was added to all four"
    value, low, high = (math.exp(logarithm + step) for step in (0.0, -half, half))
    return Estimate(value, low, high, confidence, n, method)


def _f1(outcomes: Outcomes, share: _Share, confidence: float) -> Estimate:
    tp, fn, _, _ = outcomes.totals
    if not tp + fn:
        return Estimate.not_estimable("no positives", n=outcomes.n, confidence=confidence)
    # F1 = 2 J / (1 + J) for the share J of true positives among the images that are positive or called.
    overlap = share(_Cells((0,), (0, 1, 2), "no positives"))
    value, low, high = (2 * number / (1 + number) for number in (overlap.value, overlap.low, overlap.high))
    method = f"from the share of true positives among {overlap.n} images positive or called: {overlap.method}"
    return Estimate(value, low, high, confidence, outcomes.n, method)


def _mcc(outcomes: Outcomes, sensitivity: Estimate, specificity: Estimate, confidence: float) -> Estimate:
    n, (tp, fn, fp, tn) = outcomes.n, outcomes.totals
    if not (tp + fn and fp + tn):
        reason = one_class(int(tp + fn), int(fp + tn))
    elif not tp + fp:
        reason = "no image is called positive"
    elif not fn + tn:
        reason = "every image is called positive"
    else:
        reason = _ONE_PATIENT if outcomes.one_patient else ""
    if reason:
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    value, gradient = _matthews(outcomes.totals)
    if abs(value) < 1:
        half = outcomes.quantile(confidence) * outcomes.standard_error(gradient) / (1 - value**2)
        centre = math.atanh(value)
        method = "delta method on Fisher's z" + outcomes.counted
        return Estimate(value, math.tanh(centre - half), math.tanh(centre + half), confidence, n, method)
    # Without an error there is no variance: the other end is where both rates are at their joint worst.
    worst = [
        clopper_pearson(rate.value * size, size, 1 - (1 - confidence) / 2)
        for rate, size in ((sensitivity, outcomes.with_positive), (specificity, outcomes.with_negative))
    ]
    side = 0 if value > 0 else 1
    rate_positive, rate_negative = worst[0][side], worst[1][side]
    counts = np.array([rate_positive, 1 - rate_positive, 1 - rate_negative, rate_negative])
    limit, _ = _matthews(counts * np.repeat([tp + fn, fp + tn], 2))
    method = "from Clopper-Pearson limits of sensitivity and specificity, because no call differs" + outcomes.counted
    return Estimate(value, min(value, limit), max(value, limit), confidence, n, method)


def _matthews(counts: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Returns the Matthews correlation of four counts without an empty margin, and its gradient."""
    tp, fn, fp, tn = counts
    margins = np.array([tp + fn, fp + tn, tp + fp, fn + tn])
    scale = math.sqrt(float(np.prod(margins)))
    value = float((tp * tn - fp * fn) / scale)
    inverse = 1 / margins
    of_scale = np.array(
        [inverse[0] + inverse[2], inverse[0] + inverse[3], inverse[1] + inverse[2], inverse[1] + inverse[3]]
    )
    return max(-1.0, min(1.0, value)), np.array([tn, -fp, -fn, tp]) / scale - value / 2 * of_scale


def _youden(sensitivity: Estimate, specificity: Estimate, confidence: float) -> Estimate:
    n = sensitivity.n + specificity.n
    for rate in (sensitivity, specificity):
        if not rate.estimable:
            return Estimate.not_estimable(rate.reason, n=n, confidence=confidence)
    value = sensitivity.value + specificity.value - 1
    below = math.hypot(sensitivity.value - sensitivity.low, specificity.value - specificity.low)
    above = math.hypot(sensitivity.high - sensitivity.value, specificity.high - specificity.value)
    method = "Newcombe 1998 method 10 on the intervals of sensitivity and specificity"
    return Estimate(value, max(-1.0, value - below), min(1.0, value + above), confidence, n, method)
