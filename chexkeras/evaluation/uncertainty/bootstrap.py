"""The bootstrap of whole patients: replicates and intervals of any statistic, paired differences of two models.

Images of one patient are drawn together, and patients with and without a positive image are drawn separately, so that
every replicate has as many of either. Nothing depends on the order of rows. Limits are percentiles of the replicates,
or with BCa percentiles at levels that are corrected for bias and skewness.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.scores import one_class
from chexkeras.evaluation.uncertainty.limits import auc_limits, clopper_pearson, normal_quantile
from chexkeras.evaluation.uncertainty.resampling import (
    OnCounts,
    Sample,
    Statistic,
    as_sample,
    find_statistic,
    on_counts,
    patient_counts,
    rows_in_a_batch,
)
from chexkeras.evaluation.uncertainty.worth import approximate, kish
from chexkeras.results import Estimate

# The acceleration from g groups errs by about 0.65 / g (the sampling error of a skewness, over 6), here 0.0013.
_JACKKNIFE_GROUPS = 500


def bootstrap_replicates(
    statistic: Statistic | str,
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    replicates: int = 2000,
    seed: int = 0,
    keep_classes: bool = True,
) -> NDArray[np.float64]:
    """Returns a statistic on samples drawn with replacement from the patients, of one column of scores or several.

    All columns see the same draws, so their replicates may be subtracted or averaged. Patients with a positive image in
    any column and patients without are drawn separately.

    Args:
        statistic: "auroc" or "average_precision", which need no copied images, or any function
            ``statistic(labels, scores)`` of arrays (labels 1.0 or 0.0) that returns a number.
        labels: Shape (n,), 1, 0 or NaN (left out), or (n, k) when every column has labels of its own, such as k
            findings on the same images.
        scores: Shape (n,) or (n, k), finite where the label is known.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        replicates: How many.
        seed: One seed, one result, whatever the order of rows.
        keep_classes: Whether every replicate has as many patients with a positive image as the sample; otherwise all
            patients are drawn together, and how many have one varies too.

    Returns:
        Shape (replicates,), or (replicates, k) for scores of shape (n, k); NaN where a replicate has no value, such as
        one without a class that the statistic needs.

    Raises:
        TypeError: If the statistic is neither a name nor a function.
        ValueError: If the name is unknown, shapes differ or values are out of range; see `scores.clean`.

    Source:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993; Davison & Hinkley, Bootstrap Methods and their
        Application, 1997, section 3.8 (drawing whole clusters).
    """
    checks.positive_int(replicates, "replicates")
    _, plain, key = find_statistic(statistic)
    sample = as_sample(labels, scores, clusters)
    strata = sample.ever_positive if keep_classes else np.zeros_like(sample.ever_positive)
    drawn = _replicates(plain, key, sample, replicates, seed, strata)
    return drawn[:, 0] if np.ndim(scores) == 1 else drawn


def bootstrap_differences(
    statistic: Statistic | str,
    labels: ArrayLike,
    first_scores: ArrayLike,
    second_scores: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Returns replicates of a statistic's difference between two models, both measured on the same draws of patients.

    Args:
        statistic: "auroc" or "average_precision", or any function ``statistic(labels, scores)`` of arrays (labels 1.0
            or 0.0) that returns a number.
        labels: Shape (n,), 1, 0 or NaN (left out).
        first_scores: Shape (n,), finite.
        second_scores: Shape (n,), finite, of the same images in the same order.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        replicates: How many.
        seed: One seed, one result, whatever the order of rows.

    Returns:
        Shape (replicates,), first minus second; NaN where a replicate has no value.

    Raises:
        TypeError: If the statistic is neither a name nor a function.
        ValueError: If the name is unknown, shapes differ or values are out of range; see `scores.clean`.
    """
    first, second = np.asarray(first_scores, dtype=np.float64), np.asarray(second_scores, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"first_scores have shape {first.shape} and second_scores {second.shape}; both must be one column with a "
            "score for each image, in the same order."
        )
    both = bootstrap_replicates(
        statistic, labels, np.stack([first, second], axis=1), clusters=clusters, replicates=replicates, seed=seed
    )
    return both[:, 0] - both[:, 1]


@checked
def bootstrap_interval(
    statistic: Statistic | str,
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    method: str = "percentile",
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Returns any statistic with an interval from a bootstrap of whole patients, stratified by ever-positive.

    BCa corrects the percentiles for the bias of the replicates and for skewness. Its acceleration comes from the
    jackknife over patients within each stratum; beyond 500 patients in a stratum, over 500 random groups of them.

    Args:
        statistic: "auroc" or "average_precision", or any function ``statistic(labels, scores)`` of arrays (labels 1.0
            or 0.0) that returns a number.
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite where the label is known.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        method: "percentile" or "bca".
        confidence: Coverage, in (0, 1).
        replicates: Bootstrap replicates; 2,000 or more for 95 % limits.
        seed: One seed, one result, whatever the order of rows.

    Returns:
        The estimate, which its interval always contains. Not estimable when the statistic has no value (such as with
        one class only), a class comes from one patient only, more than half of the replicates have no value, or all
        are equal; for a perfect ranking of "auroc" Newcombe's interval, of "average_precision" the binomial one on
        positive patients.

    Raises:
        TypeError: If the statistic is neither a name nor a function.
        ValueError: If a name is unknown, shapes differ or values are out of range; see `scores.clean`.

    Source:
        Efron, JASA 82, 1987 (BCa); Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 5.3.2
        (several strata).

    Example:
        >>> labels, patients = [0, 0, 1, 0, 1, 0, 1, 1, 0, 1] * 8, [k // 4 for k in range(80)]
        >>> print(bootstrap_interval("auroc", labels, range(80), clusters=patients, method="bca"))
        0.527 (95 % CI 0.410-0.639)
    """
    checks.one_of(method, ("percentile", "bca"), "method")
    checks.probability(confidence, "confidence", open_interval=True)
    checks.positive_int(replicates, "replicates")
    name, plain, key = find_statistic(statistic)
    if np.ndim(scores) != 1:
        raise ValueError(f"scores have shape {np.shape(scores)}; an interval is made of one column at a time.")
    sample = as_sample(labels, scores, clusters)
    images = sample.columns[0]
    n, n_positive = len(images.scores), int(images.positive.sum())
    if n_positive in (0, n) and (key or not n):
        return Estimate.not_estimable(one_class(n_positive, n - n_positive), n=n, confidence=confidence)
    value = float(plain(images.positive.astype(np.float64), images.scores))
    unit, strata = sample.unit, sample.ever_positive
    with_positive, with_negative = int(strata.sum()), len(np.unique(images.owner[~images.positive]))
    reason = _why_not(value, with_positive, with_negative, unit, n_positive, n - n_positive)
    if reason:
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    drawn = _replicates(plain, key, sample, replicates, seed, strata)[:, 0]
    undefined = int(np.isnan(drawn).sum())
    if 2 * undefined > replicates:
        reason = f"{name} has no value in {undefined} of {replicates} bootstrap replicates"
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    drawn = drawn[~np.isnan(drawn)]
    if drawn.min() == drawn.max():
        return _without_variation(key, name, value, (with_positive, with_negative), unit, n, confidence)
    levels = np.array([1 - confidence, 1 + confidence]) / 2
    label = "percentile"
    if method == "bca":
        corrected = bca_levels(value, drawn, on_counts(plain, key, *images), sample, confidence)
        label = "percentile (BCa is undefined here)" if corrected is None else "BCa"
        levels = levels if corrected is None else corrected
    low, high = (float(limit) for limit in np.quantile(drawn, levels))
    how = (
        f"{name}, {label} bootstrap of {len(strata)} {unit} ({with_positive} positive), {replicates} replicates, "
        f"seed {seed}"
    )
    if undefined:
        how += f"; {undefined} replicates without a value left out"
    how += approximate(min(kish(images.owner[rows]) for rows in (images.positive, ~images.positive)), unit)
    # Images drawn twice are ranked as ties, which can lift all replicates of a poor ranking above its estimate.
    return Estimate(value, min(low, value), max(high, value), confidence, n, how)


def _replicates(
    plain: Statistic, key: str, sample: Sample, replicates: int, seed: int, strata: NDArray[np.bool_]
) -> NDArray[np.float64]:
    functions = [on_counts(plain, key, *images) for images in sample.columns]
    width = max(len(images.scores) for images in sample.columns)
    batches = patient_counts(strata, replicates=replicates, seed=seed, width=width)
    return np.concatenate([np.stack([values(counts) for values in functions], axis=1) for counts in batches])


def _why_not(value: float, positive: int, negative: int, unit: str, n_positive: int, n_negative: int) -> str:
    """Returns why a bootstrap would say nothing, or an empty text."""
    for kind, patients in (("positive", positive), ("negative", negative)):
        if patients == 1:
            return f"only one {kind} {unit.removesuffix('s')}; a bootstrap needs at least two"
    if math.isfinite(value):
        return ""
    if not n_positive or not n_negative:
        return one_class(n_positive, n_negative)
    return "the statistic has no finite value on these images"


def _without_variation(
    key: str, name: str, value: float, patients: tuple[int, int], unit: str, n: int, confidence: float
) -> Estimate:
    positive = patients[0]
    because = "because the bootstrap does not vary"
    if key == "auroc":
        low, high, how = auc_limits(value, 0.0, patients, confidence, unit=unit, because=because)
        return Estimate(value, low, high, confidence, n, how)
    if key == "average_precision":
        low, high = clopper_pearson(positive * value, positive, confidence)
        return Estimate(value, low, high, confidence, n, f"binomial on {positive} positive {unit}, {because}")
    reason = f"{name} is {value:g} in every bootstrap replicate, so the bootstrap has no interval to offer"
    return Estimate.not_estimable(reason, n=n, confidence=confidence)


def bca_levels(
    value: float, drawn: NDArray[np.float64], statistic: OnCounts, sample: Sample, confidence: float
) -> NDArray[np.float64] | None:
    """Returns the two levels of the replicates' distribution that are the BCa limits.

    Args:
        value: The statistic on the sample itself.
        drawn: Its replicates, without NaN.
        statistic: The statistic on counts of patients.
        sample: Of one column.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower and upper level, in (0, 1); None where they are undefined, because all replicates lie on one side of the
        value or the jackknife has no variance.

    Source:
        Efron, JASA 82, 1987.
    """
    from scipy import special

    below = (np.sum(drawn < value) + 0.5 * np.sum(drawn == value)) / len(drawn)
    if below in (0, 1):
        return None
    bias, z = special.ndtri(below), normal_quantile(confidence)
    skew = acceleration(statistic, sample.ever_positive, len(sample.columns[0].scores))
    shifted = bias + np.array([-z, z])
    if math.isnan(skew) or (1 - skew * shifted <= 0).any():
        return None
    return special.ndtr(bias + shifted / (1 - skew * shifted))


def acceleration(statistic: OnCounts, strata: NDArray[np.bool_], width: int) -> float:
    """Returns the skewness of the patients' influence on a statistic, over 6.

    The influence comes from the jackknife within each stratum: over patients, or beyond 500 of them over 500 random
    groups, whose influence has the same skewness once summed.

    Args:
        statistic: The statistic on counts of patients.
        strata: Shape (patients,), the stratum of each patient.
        width: Number of images, to size the batches.

    Returns:
        The acceleration; NaN without variance or where a sample without some patients has no value.

    Source:
        Davison & Hinkley, Bootstrap Methods and their Application, 1997, sections 3.2.1 and 5.3.2.
    """
    squares = cubes = 0.0
    for stratum in (False, True):
        members = np.flatnonzero(strata == stratum)
        groups = min(len(members), _JACKKNIFE_GROUPS)
        if groups < 2:
            continue
        # Random groups: patients are numbered in the order of their names or scores, which may say something of them.
        group = np.random.default_rng(0).permutation(len(members)) % groups
        left = np.empty(groups)
        step = rows_in_a_batch(max(width, len(strata)))
        for start in range(0, groups, step):
            out = np.arange(start, min(start + step, groups))
            counts = np.ones((len(out), len(strata)), dtype=np.int64)
            counts[:, members] = group != out[:, np.newaxis]
            left[out] = statistic(counts)
        influence = (groups - 1) / groups * (np.mean(left) - left)
        squares, cubes = squares + float((influence**2).sum()), cubes + float((influence**3).sum())
    return cubes / (6 * squares**1.5) if squares > 0 else math.nan
