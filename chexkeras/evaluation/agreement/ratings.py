"""Tables of ratings: one row for each image, one column for each reader, checked once where they enter.

A rating is a call (1 the finding is there, 0 it is not), one of several categories such as the grades of a five-point
scale, or any number, such as a position on a scale of 101 points. NaN is not rated.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks

CALLS = (0, 1)
"""The categories of calls: the finding is not there, or it is."""

Categories = Sequence[float] | Sequence[str]
"""The values that a rating may take, in their order."""

Patients = pd.Series | Mapping[Any, Any]
"""The patient of each image, by image id."""

_CALLS_OF_GRADES = "make calls of grades first, for example (ratings >= 4).where(ratings.notna())"


def check_ratings(
    ratings: pd.DataFrame, *, minimum: int = 2, categories: Categories | None = CALLS, graded: bool = False
) -> pd.DataFrame:
    """Returns ratings as float64 with image ids as a sorted text index, or says what is wrong with them.

    Args:
        ratings: One row for each image, known by its index or the column image_id, and one column for each reader.
        minimum: How many readers are needed.
        categories: The values a rating may take besides NaN (not rated), numbers or texts in their order; by default
            the calls 0 and 1. None takes any finite number.
        graded: Whether the function that asks takes categories, for the message.

    Returns:
        Images by readers. Numbers stay what they are; of texts the position among the categories, from 0.

    Raises:
        TypeError: If it is not a DataFrame.
        ValueError: If there are too few readers, no image, an image or a reader twice, a rating that is none of the
            categories, or the categories themselves are not told apart.

    Example:
        >>> grades = pd.DataFrame({"A": ["mild", "severe"], "B": ["none", None]}, index=["x", "y"])
        >>> check_ratings(grades, categories=("none", "mild", "severe"))["A"].tolist()
        [1.0, 2.0]
    """
    if not isinstance(ratings, pd.DataFrame):
        raise TypeError(f"ratings is a {type(ratings).__name__}; a DataFrame of images by readers was expected.")
    table = ratings.set_index("image_id") if "image_id" in ratings.columns else ratings
    if table.shape[1] < minimum:
        raise ValueError(f"{table.shape[1]} reader(s) rated the images; at least {minimum} are needed.")
    if not len(table):
        raise ValueError("the ratings hold no image; one row for each image is expected.")
    allowed = None if categories is None else check_categories(categories)
    clean = pd.DataFrame(
        _values(table, allowed, graded),
        index=pd.Index(checks.identifiers(table.index, "image_id of the ratings"), dtype=object),
        columns=pd.Index(checks.identifiers(table.columns, "the readers' names"), dtype=object),
    )
    nameless = int((clean.index.isna() | (clean.index == "")).sum())
    if nameless:
        raise ValueError(f"{nameless} row(s) of the ratings have no image id; every row needs one.")
    if clean.columns.has_duplicates:
        twice = clean.columns[clean.columns.duplicated()].tolist()
        raise ValueError(f"{len(twice)} reader(s) have two columns, first {twice[0]}; give one column for each reader.")
    if clean.index.has_duplicates:
        twice = clean.index[clean.index.duplicated()].tolist()
        raise ValueError(f"{len(twice)} image(s) are rated in two rows, first {twice[0]}; give one row for each image.")
    return clean.sort_index()


def check_categories(categories: Categories) -> tuple[float, ...] | tuple[str, ...]:
    """Returns categories as a tuple, or says why ratings could not be told apart by them.

    Args:
        categories: At least two, all numbers or all texts.

    Raises:
        ValueError: If there are fewer than two, one stands there twice, or they are of two kinds.
    """
    given: tuple[Any, ...] = tuple(categories) if not isinstance(categories, str) else (categories,)
    texts = [isinstance(each, str) for each in given]
    if len(given) < 2 or len(set(given)) < len(given) or any(texts) != all(texts):
        raise ValueError(
            f"categories={given!r} must be at least two different values, all of them numbers or all of them texts, "
            "for example (1, 2, 3, 4, 5)."
        )
    if not any(texts) and not np.isfinite(np.asarray(given, dtype=np.float64)).all():
        raise ValueError(f"categories={given!r} must be finite numbers; NaN, not rated, is no category.")
    return given


def codes_of(categories: Categories) -> NDArray[np.float64]:
    """Returns the numbers that `check_ratings` writes for categories: themselves, or the positions of texts.

    Args:
        categories: At least two, all numbers or all texts.
    """
    given = check_categories(categories)
    texts = isinstance(given[0], str)
    return np.arange(len(given), dtype=np.float64) if texts else np.asarray(given, dtype=np.float64)


def category_name(value: float, categories: Categories | None) -> str:
    """Returns what a rating is called: "negative" and "positive" for calls, otherwise its number or text.

    Args:
        value: As `check_ratings` writes it.
        categories: The values that a rating may take; None for any number.
    """
    if categories is not None and tuple(categories) == CALLS:
        return "positive" if value else "negative"
    if categories is not None and isinstance(categories[0], str):
        return str(categories[int(np.flatnonzero(codes_of(categories) == value)[0])])
    return f"{value:g}"


def _values(
    table: pd.DataFrame, categories: tuple[float, ...] | tuple[str, ...] | None, graded: bool
) -> NDArray[np.float64]:
    named = "name the categories, for example categories=(1, 2, 3, 4, 5)"
    fix = f"{named}, or {_CALLS_OF_GRADES}" if graded else _CALLS_OF_GRADES
    if categories is not None and isinstance(categories[0], str):
        position = {text: float(number) for number, text in enumerate(categories)}
        cells = table.to_numpy(dtype=object)
        known = ~pd.isna(cells)
        values: NDArray[np.float64] = np.full(cells.shape, np.nan)
        strange = [cell for cell in cells[known] if cell not in position]
        if strange:
            raise ValueError(
                f"ratings must be one of {', '.join(map(repr, categories))} or missing (not rated); found "
                f"{strange[0]!r}, {len(strange)} such in all."
            )
        values[known] = [position[cell] for cell in cells[known]]
        return values
    try:
        values = table.astype("float64").to_numpy()
    except (TypeError, ValueError) as error:
        raise ValueError(f"the ratings are not numeric ({error}); give numbers, or {fix}.") from error
    if categories is None:
        infinite = int(np.isinf(values).sum())
        if infinite:
            raise ValueError(f"{infinite} rating(s) are infinite; give finite numbers, or NaN where not rated.")
        return values
    strange_values = ~(np.isnan(values) | np.isin(values, np.asarray(categories, dtype=np.float64)))
    if strange_values.any():
        listed = ", ".join(f"{each:g}" for each in sorted(categories, reverse=True)[:11])
        listed += ", ..." if len(categories) > 11 else ""
        raise ValueError(
            f"ratings must be {listed} or NaN (not rated); found {values[strange_values][0]:g} in "
            f"{int(strange_values.sum())} place(s). To go on, {fix}."
        )
    return values


def patients_of(images: pd.Index, patients: Patients | None) -> NDArray[np.int64]:
    """Returns the patients of images as whole numbers 0, 1, ...; each image its own where no patients are given.

    Args:
        images: Image ids.
        patients: The patient of each image, by image id; identifiers may be text or numbers, 1, 1.0 and "1 " are one.

    Raises:
        ValueError: If an image has no patient, or two.
    """
    if patients is None:
        return np.arange(len(images))
    given = patients if isinstance(patients, pd.Series) else pd.Series(dict(patients), dtype=object)
    known = pd.Series(
        checks.identifiers(given, "patients"), index=checks.identifiers(given.index, "image_id of the patients")
    )
    known = known[known.notna() & (known != "")]
    owned = known.groupby(level=0).nunique()
    if (owned > 1).any():
        raise ValueError(
            f"{int((owned > 1).sum())} image(s) belong to two patients, first {owned.index[owned > 1].tolist()[0]}; "
            "give one patient for each image."
        )
    known = known[~known.index.duplicated()]
    lacking = [image for image in images if image not in known.index]
    if lacking:
        raise ValueError(f"{len(lacking)} of {len(images)} rated images have no patient, first {lacking[0]}.")
    return pd.factorize(known.loc[images].to_numpy(dtype=object), sort=True)[0].astype(np.int64)
