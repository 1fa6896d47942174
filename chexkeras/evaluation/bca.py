"""BCa: the levels at which percentiles of bootstrap replicates are taken, corrected for bias and skewness."""

import math

import numpy as np
from numpy.typing import NDArray

from chexkeras.evaluation.counted import OnCounts
from chexkeras.evaluation.uncertainty.limits import normal_quantile
from chexkeras.evaluation.uncertainty.resampling import Sample, rows_in_a_batch

# The acceleration from g groups errs by about 0.65 / g (the sampling error of a skewness, over 6), here 0.0013.
_JACKKNIFE_GROUPS = 500


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
        width: Number of films, to size the batches.

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
