"""The error of an area under the ROC curve where there are no scores, only the area and how many images of each class.

For published results. Where there are scores, DeLong's variance needs no model of them.
"""

import math

from chexkeras import checks
from chexkeras.evaluation.uncertainty.limits import normal_quantile


def hanley_mcneil_error(area: float, n_positive: int, n_negative: int) -> float:
    """Returns the standard error of an area under the ROC curve from the area and the class sizes alone.

    Args:
        area: In [0, 1].
        n_positive: At least 1.
        n_negative: At least 1.

    Returns:
        The standard error under the negative exponential model; near DeLong's where scores are not far from that.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Hanley & McNeil, Radiology 143, 1982, equations 1 and 2.

    Example:
        >>> round(hanley_mcneil_error(0.8931710615280596, 51, 58), 4)
        0.0325
    """
    checks.probability(area, "area")
    checks.positive_int(n_positive, "n_positive")
    checks.positive_int(n_negative, "n_negative")
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area)
    variance += (n_positive - 1) * (two_positives - area**2) + (n_negative - 1) * (two_negatives - area**2)
    return math.sqrt(max(variance, 0.0) / (n_positive * n_negative))


def correlation_needed(
    first_auc: float, second_auc: float, n_positive: int, n_negative: int, *, confidence: float = 0.95
) -> float:
    """Returns above which correlation of two areas of the same images their difference would be significant.

    Args:
        first_auc: In (0, 1).
        second_auc: In (0, 1).
        n_positive: Positive images.
        n_negative: Negative images.
        confidence: 1 - the level of the two-sided test, in (0, 1).

    Returns:
        At most 1, which equal areas need; negative where the areas differ even if they are not correlated.

    Source:
        Hanley & McNeil, Radiology 148, 1983, equation 1, solved for r.

    Example:
        >>> round(correlation_needed(0.6736, 0.6715, 222, 16148), 5)
        0.99857
    """
    errors = [hanley_mcneil_error(area, n_positive, n_negative) for area in (first_auc, second_auc)]
    largest_variance = ((first_auc - second_auc) / normal_quantile(confidence)) ** 2
    return (errors[0] ** 2 + errors[1] ** 2 - largest_variance) / (2 * errors[0] * errors[1])
