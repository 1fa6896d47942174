"""What each shortcut is made of: view, age and sex, image size and thumbnail as rows of numbers for a linear fit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_COMMON_SIZE = 0.01
_AGE_BAND_YEARS = 10


class Features:
    """Different rows of numbers, and which of them each film has: NIH's 112,120 films have two views.

    Args:
        values: Shape (films, numbers), finite.
    """

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.rows, self.row_of = np.unique(values, axis=0, return_inverse=True)
        self.row_of = self.row_of.ravel()

    def fit(self, positive: NDArray[np.bool_], negative: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Returns the score of every film by a logistic regression fitted to some.

        Args:
            positive: Shape (films,), which to fit to as positive.
            negative: Likewise as negative.

        Returns:
            Shape (films,), the linear score without the intercept.
        """
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        count, fit = len(self.rows), LogisticRegression(max_iter=1000).fit
        weights = [np.bincount(self.row_of[kind], minlength=count) for kind in (positive, negative)]
        present = [weight > 0 for weight in weights]
        # Matrices this small are multiplied much faster by one thread than by many that wait for each other.
        with threadpool_limits(1):
            fitted = fit(
                np.concatenate([self.rows[rows] for rows in present]),
                np.repeat([1, 0], [int(rows.sum()) for rows in present]),
                sample_weight=np.concatenate([weight[rows] for weight, rows in zip(weights, present, strict=True)]),
            )
        return (self.rows @ fitted.coef_[0])[self.row_of]


def _one_hot(values: pd.Series) -> NDArray[np.float64]:
    return pd.get_dummies(values).to_numpy(dtype=np.float64)


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns columns of mean 0 and deviation 1, unknown values at the mean; a column of one value becomes 0."""
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    centred = np.where(known, values - mean, 0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    return centred / np.where(spread > 0, spread, 1)


def _differing(values: NDArray[np.float64], what: str) -> Features | str:
    features = Features(values)
    return features if len(features.rows) > 1 else f"all films have the same {what}"


def _of_views(table: pd.DataFrame) -> Features | str:
    if "view" not in table.columns:
        return "the table has no column view"
    return _differing(_one_hot(table["view"].fillna("").astype(str)), "view")


def _of_age_and_sex(table: pd.DataFrame) -> Features | str:
    present = [column for column in ("age_years", "sex") if column in table.columns]
    if not present:
        return "the table has neither age_years nor sex"
    parts = []
    if "age_years" in present:
        ages = table["age_years"].to_numpy(dtype=np.float64)
        parts += [_standard(ages[:, None]), _one_hot(pd.Series(ages // _AGE_BAND_YEARS).fillna(-1))]
    if "sex" in present:
        parts.append(_one_hot(table["sex"].fillna("").astype(str)))
    return _differing(np.concatenate(parts, axis=1), "age and sex")


def _of_sizes(table: pd.DataFrame) -> Features | str:
    if not {"width_px", "height_px"} <= set(table.columns):
        return "the table has no columns width_px and height_px"
    given = [column for column in ("width_px", "height_px", "pixel_spacing_mm") if column in table.columns]
    numbers = table[given].to_numpy(dtype=np.float64)
    size = table["width_px"].astype(str) + " x " + table["height_px"].astype(str)
    share = size.map(size.value_counts(normalize=True))
    kinds = _one_hot(size.where(share >= _COMMON_SIZE, "another"))
    return _differing(np.concatenate([kinds, _standard(numbers)], axis=1), "image size")


def of_thumbnails(thumbnails: NDArray[Any]) -> Features | str:
    """Returns thumbnails of shape (films, height, width) pixel by pixel, or why they tell nothing."""
    return _differing(_standard(thumbnails.reshape(len(thumbnails), -1).astype(np.float64)), "thumbnail")


BUILDERS: dict[str, Callable[[pd.DataFrame], Features | str]] = {
    "view": _of_views,
    "age and sex": _of_age_and_sex,
    "image size": _of_sizes,
}
"""From an image table to features, or to the reason why there are none."""
