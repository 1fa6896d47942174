"""Whether groups of images differ by more than chance: tests that the same patients may be in several groups.

One patient filmed both PA and AP makes the two views depend on each other. Contributions are added up within patients,
for all groups at once, so their covariances are part of every test.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chexkeras.evaluation.uncertainty.delong import auc_contributions, contributions_covariance
from chexkeras.results import Interaction


def untested(statistic: str, reason: str) -> Interaction:
    """Returns the test that cannot be made, with the reason."""
    return Interaction(statistic, math.nan, math.nan, reason=reason)


def areas_differ(
    positive: NDArray[np.bool_],
    values: NDArray[np.float64],
    patients: NDArray[np.int64],
    groups: Sequence[NDArray[np.bool_]],
) -> Interaction:
    """Returns the Wald chi-square test that groups have the same area under the ROC curve.

    Args:
        positive: Shape (n,), clean labels.
        values: Shape (n,), scores.
        patients: Shape (n,), patient numbers 0, 1, ...
        groups: At least two masks of shape (n,), disjoint, each with both classes.

    Returns:
        The test; none where errors cannot be estimated.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988 (contrasts of areas); Obuchowski, Biometrics 53, 1997.
    """
    n_patients = int(patients.max()) + 1
    parts = [auc_contributions(positive[rows], values[rows], patients[rows], n_patients) for rows in groups]
    areas = np.array([part.area for part in parts])
    method = f"Wald chi-square on {len(parts)} AUROCs, DeLong covariance over patients (Obuchowski 1997)"
    return _all_equal("auroc", areas[1:] - areas[0], _of_differences(contributions_covariance(parts)), method)


def proportions_differ(
    statistic: str, right: NDArray[np.bool_], patients: NDArray[np.int64], groups: Sequence[NDArray[np.bool_]]
) -> Interaction:
    """Returns the generalised score chi-square test that groups have the same proportion.

    With one image for each patient and two groups it is close to Pearson's chi-square; it differs in that each group
    keeps its own scatter about the common proportion.

    Args:
        statistic: "sensitivity" or "specificity".
        right: Shape (n,), whether each image was called rightly.
        patients: Shape (n,), patient numbers 0, 1, ...
        groups: At least two masks of shape (n,), disjoint, not empty.

    Returns:
        The test; none where errors cannot be estimated.

    Source:
        Boos, The American Statistician 46, 1992; Rotnitzky & Jewell, Biometrika 77, 1990 (with clusters).
    """
    common = right[np.logical_or.reduce(list(groups))].mean()
    n_patients = int(patients.max()) + 1
    # Each patient's residuals about the common proportion, in the units of each group's own proportion.
    residuals: NDArray[np.float64] = np.stack(
        [np.bincount(patients[rows], (right[rows] - common) / rows.sum(), n_patients).astype(float) for rows in groups]
    )
    sums = residuals.sum(axis=1)
    method = f"generalised score chi-square on {len(groups)} groups, clustered by patient (Boos 1992)"
    return _all_equal(statistic, sums[1:] - sums[0], _of_differences(residuals @ residuals.T), method)


def _of_differences(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    contrast = np.hstack([-np.ones((len(covariance) - 1, 1)), np.eye(len(covariance) - 1)])
    return contrast @ covariance @ contrast.T


def _all_equal(
    statistic: str, differences: NDArray[np.float64], covariance: NDArray[np.float64], method: str
) -> Interaction:
    from scipy import stats

    if np.allclose(differences, 0, rtol=0, atol=1e-12):
        return Interaction(statistic, 1.0, 1.0, method + "; all groups are exactly equal")
    # Correlations, so that neither the scale of a statistic nor the size of a group decides what counts as singular.
    scale = np.sqrt(np.diag(covariance))
    if np.isnan(covariance).any() or not scale.all():
        return untested(statistic, "the error of a difference between groups cannot be estimated")
    correlation = covariance / np.outer(scale, scale)
    if np.linalg.eigvalsh(correlation)[0] < 1e-9:
        return untested(statistic, "too few patients to estimate how the groups vary together")
    standardised = differences / scale
    chi2 = float(standardised @ np.linalg.solve(correlation, standardised))
    p_value = float(stats.chi2.sf(chi2, len(differences)))
    return Interaction(statistic, p_value, p_value, method)
