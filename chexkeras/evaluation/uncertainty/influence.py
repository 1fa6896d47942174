"""What each image contributes to the error of a weighted statistic, and the variance that these contributions make.

A statistic of weighted images changes a little when the weight of one image changes a little. This change, its
influence, times the weight is the image's contribution; contributions sum to 0, and their squares, added up within
patients first, are the variance of the statistic (linearisation). With equal weights this is DeLong's and Obuchowski's
variance of an area, and the binomial one of a share.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chexkeras.evaluation.uncertainty.limits import clopper_pearson
from chexkeras.evaluation.uncertainty.worth import Agreement, student_quantile


class Influence(NamedTuple):
    """A statistic of weighted images, with what each image has to do with it.

    Attributes:
        value: The statistic.
        of_images: Shape (n,), its derivative by the weight of each image.
    """

    value: float
    of_images: NDArray[np.float64]


def weighted_share(hits: NDArray[np.bool_], among: NDArray[np.bool_], weights: NDArray[np.float64]) -> Influence:
    """Returns the weighted share of hits among some of the images.

    Args:
        hits: Shape (n,).
        among: Shape (n,), the images that count; their weights sum to more than 0.
        weights: Shape (n,), at least 0.

    Example:
        >>> share = weighted_share(np.array([True, False]), np.array([True, True]), np.array([3.0, 1.0]))
        >>> share.value, share.of_images
        (0.75, array([ 0.0625, -0.1875]))
    """
    total = float(weights[among].sum())
    value = float(weights[among & hits].sum()) / total
    return Influence(value, np.where(among, hits - value, 0.0) / total)


def weighted_auc(positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> Influence:
    """Returns the area under the ROC curve of weighted images: the weight of rightly ranked pairs, ties half.

    Args:
        positive: Shape (n,), labels with both classes.
        scores: Shape (n,), finite.
        weights: Shape (n,), at least 0, above 0 in both classes.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988, here with weights.
    """
    block = np.unique(scores, return_inverse=True)[1]
    of_positives, of_negatives = (np.bincount(block, weights * rows, block.max() + 1) for rows in (positive, ~positive))
    n_positive, n_negative = of_positives.sum(), of_negatives.sum()
    below = np.cumsum(of_negatives) - of_negatives / 2
    above = n_positive - np.cumsum(of_positives) + of_positives / 2
    placed = np.where(positive, below[block] / n_negative, above[block] / n_positive)
    # Rounding must not carry a perfect ranking beyond 1.
    value = min(1.0, float((weights * placed)[positive].sum() / n_positive))
    return Influence(value, (placed - value) / np.where(positive, n_positive, n_negative))


class Spread(NamedTuple):
    """The variance of a statistic, and how much the images of one patient agree in what they contribute.

    Attributes:
        variance: By patient, raised where sums over few patients are too small by chance; NaN where a stratum that
            contributes has one patient only.
        of_domains: The parts of it that each domain's own images make.
    """

    variance: float
    of_domains: tuple[float, ...]


def spread(
    contributions: NDArray[np.float64],
    owner: NDArray[np.int64],
    strata: NDArray[np.int64],
    domains: Sequence[NDArray[np.bool_]],
    *,
    small_sample: bool = True,
) -> Spread:
    """Returns the variance that contributions of images make, summed within patients.

    Strata are groups of images of which the sampling fixed how many there are (or whose share of the population is
    known), such as the classes; what all images of a stratum have in common does then not vary.

    Args:
        contributions: Shape (n,), weights times influences.
        owner: Shape (n,), patient numbers; patients may have images in several strata.
        strata: Shape (n,), stratum numbers 0, 1, ...
        domains: Which images contribute in one way, each of shape (n,): both classes for an area, the denominator for
            a share. In each the variance is at least what its design effect says, see `worth.Agreement`.
        small_sample: Whether each stratum gets the factor m / (m - 1) for its m patients.

    Returns:
        The variance and its parts.

    Source:
        Binder, International Statistical Review 51, 1983; Williams, Biometrics 56, 2000 (sums over clusters).
    """
    n_strata = int(strata.max()) + 1
    sizes = np.bincount(strata, minlength=n_strata)
    means = np.bincount(strata, contributions, n_strata) / np.maximum(sizes, 1)
    width = int(owner.max()) + 1
    patients = np.count_nonzero(
        np.bincount(strata * width + owner, minlength=n_strata * width).reshape(-1, width), axis=1
    )
    contributing = np.bincount(strata, np.abs(contributions), n_strata) > 0
    if (contributing & (patients < 2)).any():
        return Spread(math.nan, (math.nan,) * len(domains))
    factor = np.ones(n_strata)
    if small_sample:
        factor = np.divide(patients, patients - 1, out=factor, where=patients > 1)
    centred = (contributions - means[strata]) * np.sqrt(factor)[strata]
    variance, parts = _squares(centred, owner), []
    for domain in domains:
        agreement = Agreement.of(centred[domain], owner[domain])
        raised = float(agreement.scatter * agreement.design_effect())
        variance += max(0.0, raised - _squares(centred[domain], owner[domain]))
        parts.append(raised)
    return Spread(variance, tuple(parts))


def _squares(contributions: NDArray[np.float64], owner: NDArray[np.int64]) -> float:
    of_patients = np.bincount(owner, contributions)
    return float(of_patients @ of_patients)


def count_patients(owner: NDArray[np.int64]) -> int:
    """Returns how many different patients there are.

    Args:
        owner: Shape (n,), patient numbers, at least 0; not all numbers need occur.
    """
    return int(np.count_nonzero(np.bincount(owner)))


def weighted_kish(weights: NDArray[np.float64], owner: NDArray[np.int64]) -> float:
    """Returns how many patients with equal weights would tell as much as these.

    Args:
        weights: Shape (n,), at least 0, of images.
        owner: Shape (n,), patient numbers.

    Returns:
        (sum W)^2 / sum W^2 over the patients' sums of weights W; 0 where all weights are 0.

    Source:
        Kish, Survey Sampling, 1965.

    Example:
        >>> weighted_kish(np.array([1.0, 1.0, 1.0]), np.array([0, 1, 2]))
        3.0
    """
    sums = np.bincount(owner, weights) if len(owner) else np.zeros(1)
    squares = float(sums @ sums)
    return float(sums.sum()) ** 2 / squares if squares > 0 else 0.0


def heaviness(weights: NDArray[np.float64], owner: NDArray[np.int64]) -> float:
    """Returns the weight of the patient that the average unit of weight belongs to: heavy patients count by weight.

    Args:
        weights: Shape (n,), above 0, of at least one image.
        owner: Shape (n,), patient numbers.

    Example:
        >>> heaviness(np.array([1.0, 1.0, 2.0]), np.array([0, 1, 2]))
        1.5
    """
    return float(weights.sum()) / weighted_kish(weights, owner)


def share_limits(share: float, variance: float, n: int, worth: float, confidence: float) -> tuple[float, float, float]:
    """Returns the limits of a share with any variance, and the number of independent images they rest on.

    Args:
        share: Strictly between 0 and 1.
        variance: Its variance, above 0.
        n: Images behind it.
        worth: How many patients with equal weights would tell as much as those behind it.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower limit, upper limit, effective sample size: images that would have this variance if they were independent
        and equally weighted, fewer where the variance itself rests on few patients.

    Source:
        Korn & Graubard, Survey Methodology 24, 1998 (Clopper-Pearson at the effective sample size).
    """
    fewness = student_quantile(confidence, max(n - 1, 1)) / student_quantile(confidence, max(worth - 1, 1.0))
    effective = share * (1 - share) / variance * min(1.0, fewness) ** 2
    return *clopper_pearson(share * effective, effective, confidence), effective
