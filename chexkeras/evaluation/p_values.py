"""P-values: corrected for tests made together, and as print has them."""

import math
from collections.abc import Iterable

import numpy as np


def holm(p_values: Iterable[float]) -> list[float]:
    """Returns p-values after Holm's correction; NaN stands for no test and counts for nothing.

    Args:
        p_values: Of tests made together, each in [0, 1] or NaN.

    Returns:
        Adjusted p-values, in order.

    Source:
        Holm, Scandinavian Journal of Statistics 6, 1979.

    Example:
        >>> holm([0.01, 0.04, float("nan"), 0.03])
        [0.03, 0.06, nan, 0.06]
    """
    values = np.array(list(p_values), dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    remaining = len(order) - np.arange(len(order))
    values[order] = np.minimum(np.maximum.accumulate(remaining * values[order]), 1.0)
    return [float(value) for value in values]


def p_text(p_value: float) -> str:
    """Returns a p-value as print has it: three decimals, "<0.001" below, a dash where there is none.

    Example:
        >>> p_text(0.0421), p_text(1e-9), p_text(float("nan"))
        ('0.042', '<0.001', '–')
    """
    if math.isnan(p_value):
        return "–"
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
