"""Who the patients are, as label files spell it: identifiers, ages and sexes, turned into clean columns."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

MAX_AGE_YEARS = 120.0
_AGE = re.compile(r"(-?\d+(?:\.\d+)?)([YMWD]?)")
_UNITS_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_SEXES = {"MALE": "M", "FEMALE": "F", "UNKNOWN": ""}


def per_unique(column: pd.Series, convert: Callable[[str], object]) -> np.ndarray:
    """Applies a function once per different value: label files repeat a few hundred values 100,000 times."""
    codes, values = pd.factorize(column)
    return np.asarray([convert(value) for value in values])[codes]


def _one_age(text: str) -> float:
    match = _AGE.fullmatch(text.strip().upper())
    if not match:
        return np.nan
    years = float(match[1]) / _UNITS_PER_YEAR[match[2]]
    return years if 0 <= years <= MAX_AGE_YEARS else np.nan


def ages_in_years(column: pd.Series) -> tuple[np.ndarray, int]:
    """Returns ages in years from ``58``, ``060Y``, ``006M``, ``002W`` or ``013D``.

    Args:
        column: Ages as text.

    Returns:
        Float years, NaN where blank or impossible (below 0, above 120, or no age at all), and how many were impossible.

    Example:
        >>> ages_in_years(pd.Series(["58", "006M", "411Y"]))
        (array([58. ,  0.5,  nan]), 1)
    """
    years = per_unique(column, _one_age).astype(float)
    blank = per_unique(column, lambda text: not text.strip()).astype(bool)
    return years, int((np.isnan(years) & ~blank).sum())


def capitals(column: pd.Series) -> np.ndarray:
    """Returns text in capitals without blanks around it."""
    return per_unique(column, lambda value: value.strip().upper()).astype(object)


def sexes(column: pd.Series) -> np.ndarray:
    """Returns "M" and "F", also where a file writes Male and Female; "" for Unknown; other text in capitals.

    Example:
        >>> sexes(pd.Series(["Female", "m", "Unknown", "O"])).tolist()
        ['F', 'M', '', 'O']
    """
    return per_unique(column, lambda value: _SEXES.get(value.strip().upper(), value.strip().upper())).astype(object)


def patient_ids(column: pd.Series) -> np.ndarray:
    """Returns patient identifiers as text without leading zeros, so that ``00000013`` and ``13`` are one patient."""
    return per_unique(column, lambda value: value.strip().lstrip("0") or value.strip()).astype(object)
