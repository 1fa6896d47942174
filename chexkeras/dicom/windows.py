"""The three functions by which a window turns modality values into grey, and the range where there is no window."""

from collections.abc import Callable

import numpy as np


def linear_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Returns the values seen through a LINEAR window, 0 to 1.

    The half and the one belong to it: with center 128 and width 256, 0 becomes 0 and 255 becomes 1.

    Args:
        values: Modality values.
        center: Window Center.
        width: Window Width, at least 1.

    Source:
        PS3.3 C.11.2.1.2.1.
    """
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0.0, 1.0)


def linear_exact_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Returns the values seen through a LINEAR_EXACT window, 0 to 1.

    Args:
        values: Modality values.
        center: Window Center.
        width: Window Width, above 0.

    Source:
        PS3.3 C.11.2.1.3.2.
    """
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def sigmoid_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Returns the values seen through a SIGMOID window, 0 to 1.

    Args:
        values: Modality values.
        center: Window Center, shown as one half.
        width: Window Width, above 0.

    Source:
        PS3.3 C.11.2.1.3.1.
    """
    # Beyond 700 the exponential overflows, and the value is 0 or 1 in any case.
    return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))


WINDOWS: dict[str, Callable[[np.ndarray, float, float], np.ndarray]] = {
    "LINEAR": linear_window,
    "LINEAR EXACT": linear_exact_window,
    "SIGMOID": sigmoid_window,
}
"""The functions by the folded value of VOI LUT Function."""


def percentiles(values: np.ndarray, counts: np.ndarray, shares: tuple[float, float]) -> tuple[float, float]:
    """Returns two percentiles of values that occur several times.

    Args:
        values: Distinct values, in any order.
        counts: How often each occurs; not all 0.
        shares: The two percentages, 0 to 100.

    Returns:
        For each, the smallest value that at least this share of all values does not exceed.

    Source:
        Hyndman and Fan, The American Statistician 1996; 50: 361, definition 1.

    Example:
        >>> percentiles(np.array([7.0, 3.0, 5.0]), np.array([1, 98, 1]), (0.5, 99.0))
        (3.0, 5.0)
    """
    order = np.argsort(values, kind="stable")
    order = order[counts[order] > 0]
    reached = np.cumsum(counts[order])
    places = (np.searchsorted(reached, reached[-1] * share / 100.0) for share in shares)
    low, high = (float(values[order][place]) for place in places)
    return low, high
