"""The variance of the area under the ROC curve, for one classifier or several on the same images.

DeLong's variance treats images as independent; Obuchowski's lets the images of one patient agree with each other.
Both come out of one formula, because every image contributes a known amount to the area.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chexkeras.evaluation.metrics import placements
from chexkeras.evaluation.uncertainty.limits import NO_VARIANCE, auc_limits
from chexkeras.evaluation.uncertainty.worth import NORMAL_FROM, Agreement, satterthwaite


class AucContributions(NamedTuple):
    """One area under the ROC curve, taken apart into what each patient's images contribute to its error.

    Attributes:
        area: The area, or the difference of two.
        of_positives: Shape (patients,), contributions of positive images added up within patients; they sum to 0.
        of_negatives: Shape (patients,), the same of negative images.
        n_positive_patients: Patients with a positive image.
        n_negative_patients: Patients with a negative image.
        n_patients: Patients with any image.
        effective_positives: How many independent positive images would tell as much: their number over the design
            effect of their contributions.
        effective_negatives: The same of negative images.
        worth_positives: What the patients with positive images are worth, see `worth.kish`.
        worth_negatives: What the patients with negative images are worth.
        variance_positives: What positive images add to the variance: never less than their design effect says, which
            Obuchowski's sum of squares may do by chance; NaN where they come from one patient only.
        variance_negatives: The same of negative images.
    """

    area: float
    of_positives: NDArray[np.float64]
    of_negatives: NDArray[np.float64]
    n_positive_patients: int
    n_negative_patients: int
    n_patients: int
    effective_positives: float
    effective_negatives: float
    worth_positives: float
    worth_negatives: float
    variance_positives: float
    variance_negatives: float

    @property
    def patients(self) -> tuple[int, int]:
        """Patients with a positive and with a negative image."""
        return self.n_positive_patients, self.n_negative_patients

    @property
    def sizes(self) -> tuple[float, float]:
        """Independent positive and negative images that would tell as much."""
        return self.effective_positives, self.effective_negatives

    @property
    def worth(self) -> float:
        """What the patients of the class that tells less are worth."""
        return min(self.worth_positives, self.worth_negatives)

    @property
    def variance(self) -> float:
        """The variance of the area for intervals and tests: Obuchowski's, raised where that is too small by chance."""
        return float(raised_covariance([self])[0, 0])

    @property
    def degrees(self) -> float:
        """Degrees of freedom of `variance`; infinite where patients are worth enough for the normal distribution."""
        return degrees_of([self])

    def limits(
        self, confidence: float, *, unit: str = "patients", because: str = NO_VARIANCE
    ) -> tuple[float, float, str]:
        """Returns the limits of the area and how they were computed.

        Args:
            confidence: Coverage, in (0, 1).
            unit: What is independent, "patients" or "images".
            because: Why there is no variance, where there is none.
        """
        return auc_limits(
            self.area, self.variance, self.patients, confidence,
            sizes=self.sizes, worth=self.worth, degrees=self.degrees, unit=unit, because=because,
        )  # fmt: skip

    @property
    def satterthwaite(self) -> float:
        """Degrees of freedom of `variance`, however much patients are worth."""
        return _satterthwaite([self])


def auc_contributions(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], clusters: NDArray[np.int64], n_clusters: int
) -> AucContributions:
    """Returns the area under the ROC curve with the contributions of patients, from which covariances are made.

    An image's contribution is its placement minus the area, over the size of its class.

    Args:
        positive: Shape (n,), clean labels with both classes.
        scores: Shape (n,), finite.
        clusters: Shape (n,), patient numbers below `n_clusters`; not all need occur.
        n_clusters: Length of the result, the same for all areas whose covariance is wanted.

    Returns:
        The area and its contributions.

    Source:
        Obuchowski, Biometrics 53, 1997; Rao & Scott, Biometrics 48, 1992 (design effect).
    """
    return _of_images(*_image_contributions(positive, scores), positive, clusters, n_clusters)


def auc_difference_contributions(
    positive: NDArray[np.bool_],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    clusters: NDArray[np.int64],
    n_clusters: int,
) -> AucContributions:
    """Returns the difference of two areas of the same images with contributions of its own.

    Subtracting variances would lose digits where models nearly agree.

    Args:
        positive: Shape (n,), clean labels with both classes.
        first: Shape (n,), finite scores.
        second: Shape (n,), finite scores, whose area is subtracted.
        clusters: Shape (n,), patient numbers below `n_clusters`; not all need occur.
        n_clusters: Length of the result.

    Returns:
        The difference and its contributions.
    """
    (area, contribution), (other, subtracted) = (_image_contributions(positive, scores) for scores in (first, second))
    return _of_images(area - other, contribution - subtracted, positive, clusters, n_clusters)


def _image_contributions(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    doubled = placements(positive, scores)
    area = int(doubled[positive].sum()) / (2 * n_positive * n_negative)
    own, other = np.where(positive, n_positive, n_negative), np.where(positive, n_negative, n_positive)
    return area, (doubled / (2 * other) - area) / own


def _of_images(
    area: float,
    contribution: NDArray[np.float64],
    positive: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    n_clusters: int,
) -> AucContributions:
    positives, negatives = ((contribution[members], clusters[members]) for members in (positive, ~positive))
    return class_contributions(area, positives, negatives, n_clusters)


Contributions = tuple[NDArray[np.float64], NDArray[np.int64]]
"""What the images of one class contribute to the error of an area, and the patient of each, both of shape (n,)."""


def class_contributions(
    area: float, positives: Contributions, negatives: Contributions, n_clusters: int
) -> AucContributions:
    """Adds up within patients what images contribute to the error of an area, class by class.

    Args:
        area: The area, whole or partial, of images or of lesions, or the difference of two.
        positives: Contributions of the positive images, which sum to 0, and their patients.
        negatives: The same of the negative images.
        n_clusters: Length of the result, the same for all areas whose covariance is wanted; patient numbers lie below.

    Returns:
        The area with the contributions of patients.
    """
    (of_positives, positive), (of_negatives, negative) = (
        (np.bincount(owner, values, n_clusters).astype(np.float64), Agreement.of(values, owner))
        for values, owner in (positives, negatives)
    )
    return AucContributions(
        area=area,
        of_positives=of_positives,
        of_negatives=of_negatives,
        n_positive_patients=positive.n_patients,
        n_negative_patients=negative.n_patients,
        n_patients=len(np.union1d(positives[1], negatives[1])),
        effective_positives=_effective(positive),
        effective_negatives=_effective(negative),
        worth_positives=positive.worth,
        worth_negatives=negative.worth,
        variance_positives=_raised(positive),
        variance_negatives=_raised(negative),
    )


def _effective(agreement: Agreement) -> float:
    return max(1.0, agreement.n / float(agreement.design_effect()))


def _raised(agreement: Agreement) -> float:
    return _factor(agreement.n_patients) * float(agreement.scatter) * float(agreement.design_effect())


def _factor(n_patients: int) -> float:
    return n_patients / (n_patients - 1) if n_patients > 1 else math.nan


def degrees_of(parts: Sequence[AucContributions]) -> float:
    """Returns the degrees of freedom of a variance that areas of the same patients add up to.

    Args:
        parts: One for each area.

    Returns:
        Satterthwaite's, both classes of each area being parts of the variance; infinite where the patients of every
        class are worth `NORMAL_FROM` and more, where Student's t differs little from the normal distribution.
    """
    return math.inf if min(part.worth for part in parts) >= NORMAL_FROM else _satterthwaite(parts)


def _satterthwaite(parts: Sequence[AucContributions]) -> float:
    variances = [v for part in parts for v in (part.variance_positives, part.variance_negatives)]
    if np.isnan(variances).any():
        return 1.0
    return satterthwaite(variances, [w for part in parts for w in (part.worth_positives, part.worth_negatives)])


def raised_covariance(parts: Sequence[AucContributions]) -> NDArray[np.float64]:
    """Returns the covariance matrix for intervals and tests: no variance smaller than its design effect says.

    Where few patients carry many images, sums of squares over patients are often too small by chance. Correlations
    are those of `contributions_covariance`; with one image for each patient it is that matrix.

    Args:
        parts: One for each of k areas.

    Returns:
        Shape (k, k); NaN where a class comes from one patient only.
    """
    covariance = contributions_covariance(parts)
    variances = np.diag(covariance)
    raised = variances.copy()
    for row, part in enumerate(parts):
        for sums, patients, variance in (
            (part.of_positives, part.n_positive_patients, part.variance_positives),
            (part.of_negatives, part.n_negative_patients, part.variance_negatives),
        ):
            raised[row] += max(0.0, variance - _factor(patients) * float(sums @ sums))
    scale = np.sqrt(np.divide(raised, variances, out=np.ones_like(raised), where=variances > 0))
    covariance = covariance * np.outer(scale, scale)
    np.fill_diagonal(covariance, raised)
    return covariance


def contributions_covariance(parts: Sequence[AucContributions]) -> NDArray[np.float64]:
    """Returns the covariance matrix of areas whose contributions refer to the same patients.

    Products of contributions are added up over patients, with Obuchowski's small-sample factors (for two areas with
    different positives, the geometric mean of theirs). The areas may belong to different labels, such as several
    findings on the same images.

    Args:
        parts: One for each of k areas.

    Returns:
        Shape (k, k); NaN where a class comes from one patient only.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988; Obuchowski, Biometrics 53, 1997.
    """
    of_positives = np.stack([part.of_positives for part in parts])
    of_negatives = np.stack([part.of_negatives for part in parts])
    within = _small_sample([part.n_positive_patients for part in parts]) * (of_positives @ of_positives.T)
    within = within + _small_sample([part.n_negative_patients for part in parts]) * (of_negatives @ of_negatives.T)
    cross = of_positives @ of_negatives.T
    covariance = within + _small_sample([part.n_patients for part in parts]) * (cross + cross.T)
    # Where the terms of patients cancel, what is left is rounding, and may even be negative.
    scale = np.sqrt(np.outer(np.diag(within), np.diag(within)))
    covariance[np.abs(covariance) <= 1e-12 * scale] = 0.0
    return covariance


def _small_sample(n_patients: list[int]) -> NDArray[np.float64]:
    sizes = np.array(n_patients, dtype=np.float64)
    factors = np.divide(sizes, sizes - 1, out=np.full(len(sizes), np.nan), where=sizes > 1)
    return np.sqrt(np.outer(factors, factors))


def auc_covariance(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], clusters: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the areas of k classifiers on the same images and the covariance matrix of these areas.

    Contributions of images are added up within patients, separately for positive and negative images; their products
    over patients are the covariance. With one image for each patient this is DeLong's estimate exactly.

    Args:
        positive: Shape (n,), clean labels with both classes.
        scores: Shape (n,) or (k, n), finite.
        clusters: Shape (n,), patient numbers 0, 1, ...; None when every image is its own patient.

    Returns:
        Areas, shape (k,), and covariance, shape (k, k); the covariance is NaN when a class comes from one patient
        only.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988; Sun & Xu, IEEE Signal Processing Letters 21(11), 2014;
        Obuchowski, Biometrics 53, 1997.
    """
    group = np.arange(len(positive)) if clusters is None else clusters
    n_groups = int(group.max()) + 1
    parts = [auc_contributions(positive, row, group, n_groups) for row in np.atleast_2d(scores)]
    return np.array([part.area for part in parts]), contributions_covariance(parts)
