"""The variance of the area under the ROC curve, for one classifier or several on the same films.

DeLong's variance treats images as independent; Obuchowski's lets the images of one patient agree with each other.
Both come out of one formula, because every image contributes a known amount to the area.
"""

import numpy as np
from numpy.typing import NDArray

from chexkeras.evaluation.metrics import placements


def auc_covariance(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], clusters: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the areas of k classifiers on the same images and the covariance matrix of these areas.

    An image's contribution is its placement minus the area, over the size of its class. Contributions are added up
    within patients, separately for positive and negative images; their products over patients are the covariance.
    With one image for each patient this is DeLong's estimate exactly.

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
    table = np.atleast_2d(scores)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    doubled = np.stack([placements(positive, row) for row in table])
    areas = doubled[:, positive].sum(axis=1) / (2 * n_positive * n_negative)

    group = np.arange(len(positive)) if clusters is None else clusters
    n_groups = int(group.max()) + 1
    own, other = np.where(positive, n_positive, n_negative), np.where(positive, n_negative, n_positive)
    contribution = (doubled / (2 * other) - areas[:, None]) / own
    of_positives = np.stack([np.bincount(group, row * positive, n_groups) for row in contribution])
    of_negatives = np.stack([np.bincount(group, row * ~positive, n_groups) for row in contribution])

    within = _small_sample(len(np.unique(group[positive]))) * (of_positives @ of_positives.T)
    within = within + _small_sample(len(np.unique(group[~positive]))) * (of_negatives @ of_negatives.T)
    cross = of_positives @ of_negatives.T
    covariance = within + _small_sample(n_groups) * (cross + cross.T)
    # Where the terms of patients cancel, what is left is rounding, and may even be negative.
    scale = np.sqrt(np.outer(np.diag(within), np.diag(within)))
    covariance[np.abs(covariance) <= 1e-12 * scale] = 0.0
    return areas, covariance


def _small_sample(n_groups: int) -> float:
    return n_groups / (n_groups - 1) if n_groups > 1 else np.nan
