"""What a threshold would mean where the finding is as frequent as stated, which is rarely as frequent as in a study."""

import math

import numpy as np
from numpy.typing import ArrayLike

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.rates import PatientCounts, clean_calls, log_likelihood_ratio
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.evaluation.uncertainty.limits import normal_quantile
from chexkeras.results import Deployment, Estimate


@checked
def deployment_from_outcomes(
    labels: ArrayLike,
    called: ArrayLike,
    prevalence: float,
    *,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Deployment:
    """Returns predictive values and counts at a stated prevalence, from calls on images.

    The odds that a called image is positive are the stated odds times the likelihood ratio, so the interval of a
    predictive value is that of the likelihood ratio moved to the stated prevalence: Mercaldo's for independent
    images; where patients have several, its variance comes from sums over patients, which also holds that a patient's
    positive and negative images go together.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        called: Shape (n,), whether each image was called positive.
        prevalence: The share of positives to assume, strictly between 0 and 1; taken as known.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The figures; not estimable, with the reason, when a class is missing.

    Raises:
        ValueError: If the prevalence is not a fraction strictly between 0 and 1; and see `rates.clean_calls`.

    Source:
        Mercaldo, Lau & Zhou, Statistics in Medicine 26, 2007 (logit interval; with a zero count, its adjusted form).
    """
    share = checks.probability(prevalence, "prevalence", open_interval=True)
    checks.probability(confidence, "confidence", open_interval=True)
    calls = clean_calls(labels, called, clusters)
    sensitivity, specificity = (
        clustered_proportion_interval(right[rows], calls.owner[rows], confidence=confidence, empty=empty)
        for right, rows, empty in (
            (calls.called, calls.positive, "no positives"),
            (~calls.called, ~calls.positive, "no negatives"),
        )
    )
    return _deployment(sensitivity, specificity, PatientCounts.of(calls), share, confidence)


@checked
def deployment(
    sensitivity: Estimate,
    specificity: Estimate,
    prevalence: float,
    *,
    n_positive: float,
    n_negative: float,
    confidence: float = 0.95,
) -> Deployment:
    """Returns predictive values and counts at a stated prevalence, from sensitivity and specificity as published.

    Args:
        sensitivity: With its interval.
        specificity: With its interval.
        prevalence: The share of positives to assume, strictly between 0 and 1; taken as known.
        n_positive: Independent positives behind the sensitivity; effective numbers may be fractions.
        n_negative: Independent negatives behind the specificity.
        confidence: Coverage, that of the two intervals.

    Returns:
        The figures; not estimable, with the reason, when sensitivity or specificity is not.

    Raises:
        ValueError: If the prevalence is not a fraction strictly between 0 and 1, a number of cases is not positive, or
            the confidence is not that of the intervals.

    Source:
        Mercaldo, Lau & Zhou, Statistics in Medicine 26, 2007 (logit interval; with a zero count, its adjusted form).

    Example:
        >>> from chexkeras.evaluation.uncertainty.intervals import proportion_interval
        >>> found, passed = proportion_interval(90, 100), proportion_interval(80, 100)
        >>> print(deployment(found, passed, 0.01, n_positive=100, n_negative=100).ppv)
        0.043 (95 % CI 0.030-0.063)
    """
    share = checks.probability(prevalence, "prevalence", open_interval=True)
    checks.probability(confidence, "confidence", open_interval=True)
    for name, rate in (("sensitivity", sensitivity), ("specificity", specificity)):
        if rate.confidence != confidence:
            raise ValueError(
                f"confidence={confidence:g}, but the interval of the {name} has {rate.confidence:g}; both must agree."
            )
    for name, size in (("n_positive", n_positive), ("n_negative", n_negative)):
        if not (math.isfinite(size) and size > 0):
            raise ValueError(f"{name}={size!r} must be a number of cases above 0.")
    hits, passed = sensitivity.value * n_positive, specificity.value * n_negative
    cells = np.array([hits, n_positive - hits, n_negative - passed, passed])
    # A share times its number is a whole count again, but for rounding; a zero count must be seen as zero.
    near = np.round(cells)
    cells = np.where(np.abs(cells - near) < 1e-9 * (n_positive + n_negative), near, cells)
    return _deployment(sensitivity, specificity, PatientCounts(cells), share, confidence)


def _deployment(
    sensitivity: Estimate, specificity: Estimate, tally: PatientCounts, prevalence: float, confidence: float
) -> Deployment:
    in_thousand = f"per 1,000 images at prevalence {prevalence:g}, from the {{}} ({{}})"

    def scaled(rate: Estimate, name: str, size: float, complement: bool) -> Estimate:
        if not rate.estimable:
            return Estimate.not_estimable(rate.reason, n=rate.n, confidence=confidence)
        value, low, high = (1 - x if complement else x for x in (rate.value, rate.low, rate.high))
        method = in_thousand.format(name, rate.method)
        return Estimate(size * value, size * min(low, high), size * max(low, high), confidence, rate.n, method)

    positives, negatives = 1000 * prevalence, 1000 * (1 - prevalence)
    return Deployment(
        prevalence=prevalence,
        ppv=_predictive_value(sensitivity, specificity, tally, prevalence, confidence, of_positive_call=True),
        npv=_predictive_value(sensitivity, specificity, tally, prevalence, confidence, of_positive_call=False),
        true_positives_per_1000=scaled(sensitivity, "sensitivity", positives, False),
        false_negatives_per_1000=scaled(sensitivity, "sensitivity", positives, True),
        false_positives_per_1000=scaled(specificity, "specificity", negatives, True),
        true_negatives_per_1000=scaled(specificity, "specificity", negatives, False),
    )


def _predictive_value(
    sensitivity: Estimate,
    specificity: Estimate,
    tally: PatientCounts,
    prevalence: float,
    confidence: float,
    *,
    of_positive_call: bool,
) -> Estimate:
    n = sensitivity.n + specificity.n
    for rate in (sensitivity, specificity):
        if not rate.estimable:
            return Estimate.not_estimable(rate.reason, n=n, confidence=confidence)
    tp, fn, fp, tn = tally.totals
    right, wrong = (tp / (tp + fn), fp / (fp + tn)) if of_positive_call else (tn / (fp + tn), fn / (tp + fn))
    of_right, of_wrong = (prevalence, 1 - prevalence) if of_positive_call else (1 - prevalence, prevalence)
    if not right and not wrong:
        reason = "no image is called positive" if of_positive_call else "every image is called positive"
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    if tally.one_patient:
        return Estimate.not_estimable("all images come from one patient", n=n, confidence=confidence)
    value = float(of_right * right / (of_right * right + of_wrong * wrong))
    added = 0.0 if tally.totals.all() else normal_quantile(confidence) ** 2 / 2
    logarithm, error = log_likelihood_ratio(tally, of_positive_call=of_positive_call, added=added)
    if not of_positive_call:
        logarithm = -logarithm
    centre = logarithm + math.log(of_right / of_wrong)
    half = error.half_width(confidence)
    low, high = (1 / (1 + math.exp(-limit)) for limit in (centre - half, centre + half))
    method = f"Mercaldo 2007, logit interval{error.words}, at prevalence {prevalence:g}{tally.basis}"
    if added:
        method += f"; a count is zero, so the limits rest on {added:.2f} added to all four"
        method += f"{'' if tally.of_patients is None else ', counted in patients,'} and reach to the value"
        low, high = min(low, value), max(high, value)
    return Estimate(value, low, high, confidence, n, method)
