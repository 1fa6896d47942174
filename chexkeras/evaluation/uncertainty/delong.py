"""The variance of the area under the ROC curve, for one classifier or several on the same images.

DeLong's variance treats images as independent; Obuchowski's lets the images of one patient agree with each other.
Both come out of one formula, because every image contributes a known amount to the area.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chexkeras.evaluation.metrics import placements


class AucContributions(NamedTuple):
    """One area under the ROC curve, taken apart into what each patient's images contribute to its error.

    Attributes:
        area: The area.
        of_positives: Shape (patients,), contributions of positive images added up within patients; they sum to 0.
        of_negatives: Shape (patients,), the same of negative images.
        n_positive_patients: Patients with a positive image.
        n_negative_patients: Patients with a negative image.
        n_patients: Patients with any image.
        effective_positives: How many independent positive images would tell as much: their number over the design
            effect of the contributions, or `n_positive_patients` where these are all zero or come from one patient.
        effective_negatives: The same of negative images.
    """

    area: float
    of_positives: NDArray[np.float64]
    of_negatives: NDArray[np.float64]
    n_positive_patients: int
    n_negative_patients: int
    n_patients: int
    effective_positives: float
    effective_negatives: float


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
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    doubled = placements(positive, scores)
    area = int(doubled[positive].sum()) / (2 * n_positive * n_negative)
    sums: list[NDArray[np.float64]] = []
    present: list[NDArray[np.bool_]] = []
    effective: list[float] = []
    for members, own, other in ((positive, n_positive, n_negative), (~positive, n_negative, n_positive)):
        owner, contribution = clusters[members], (doubled[members] / (2 * other) - area) / own
        of_patients = np.bincount(owner, contribution, n_clusters).astype(np.float64)
        sums.append(of_patients)
        present.append(np.bincount(owner, minlength=n_clusters) > 0)
        together, apart = float((of_patients**2).sum()), float((contribution**2).sum())
        n_patients = int(np.count_nonzero(present[-1]))
        effective.append(own / max(1.0, together / apart) if apart > 0 and n_patients > 1 else float(n_patients))
    positives, negatives, either = (int(np.count_nonzero(these)) for these in (*present, present[0] | present[1]))
    return AucContributions(area, sums[0], sums[1], positives, negatives, either, effective[0], effective[1])


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
