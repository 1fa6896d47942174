"""Which mark hits which lesion: points inside boxes, or boxes that overlap enough.

Coordinates run from the upper left corner of the image, x to the right and y down, in pixels of the image that the
lesions were drawn on. NIH's boxes are in pixels of the 1024 x 1024 image, whatever the size of the image that is read.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked

BOX = ("x_px", "y_px", "width_px", "height_px")
"""Columns of a box: upper left corner, width and height."""

_FIX_MARKS = "A table of marks has one row for each mark: image_id, x_px, y_px, rating."
_FIX_LESIONS = "A table of lesions has one row for each lesion: image_id, x_px, y_px, width_px, height_px."


@checked
def marks_from_peaks(peaks: Mapping[str, ArrayLike], *, scale: float = 1.0, reader: str = "model") -> pd.DataFrame:
    """Returns the marks of a model from the peaks of its heat maps.

    Args:
        peaks: For each image that was read, by image id, the peaks as an array of shape (n, 3): column of the pixel,
            row of the pixel, both counted from 0, and rating (higher is more suspicious). An image without a peak has
            an array of no rows; it counts as read.
        scale: Pixels of the image that lesions are drawn on for each pixel of the heat map, above 0: 1024 / 320 for
            NIH's boxes and maps of 320 x 320.
        reader: What to call the model.

    Returns:
        A table with reader, image_id, x_px, y_px (the centre of the pixel) and rating; an image without a peak has one
        row without a rating.

    Raises:
        ValueError: If peaks are not arrays of finite numbers with three columns, or an argument is out of range.

    Example:
        >>> marks = marks_from_peaks({"a": [[10, 4, 0.9], [3, 3, 0.2]], "b": []}, scale=2)
        >>> marks[["image_id", "x_px", "y_px", "rating"]].to_numpy().tolist()
        [['a', 21.0, 9.0, 0.9], ['a', 7.0, 7.0, 0.2], ['b', nan, nan, nan]]
    """
    if not isinstance(peaks, Mapping):
        raise TypeError(f"peaks is a {type(peaks).__name__}; give a mapping from image ids to arrays of shape (n, 3).")
    if not (isinstance(scale, (int, float)) and math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale={scale!r} must be a number above 0, such as 1024 / 320.")
    images, rows = [], []
    for image, given in peaks.items():
        try:
            found = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"peaks of image {image} are not numbers ({error}).") from error
        if not found.size:
            found = np.full((1, 3), np.nan)
        elif found.ndim != 2 or found.shape[1] != 3 or not np.isfinite(found).all():
            raise ValueError(
                f"peaks of image {image} have shape {found.shape}; finite numbers of shape (n, 3) were expected: "
                "column, row, rating."
            )
        images += [str(image)] * len(found)
        rows.append(found)
    values = np.concatenate(rows) if rows else np.empty((0, 3))
    columns = {"x_px": (values[:, 0] + 0.5) * scale, "y_px": (values[:, 1] + 0.5) * scale, "rating": values[:, 2]}
    return pd.DataFrame({"reader": reader, "image_id": pd.Series(images, dtype=str)} | columns)


@checked
def match_marks(marks: pd.DataFrame, lesions: pd.DataFrame, *, overlap: float | None = None) -> pd.DataFrame:
    """Returns the marks with the lesion that each hits.

    A mark hits one lesion at most: of several whose boxes hold it, the one whose centre is nearest; of several that it
    overlaps enough, the one it overlaps most. Several marks may hit the same lesion.

    Args:
        marks: One row for each mark: image_id, x_px, y_px (the point marked, or the upper left corner of the box
            marked), with `overlap` also width_px and height_px, other columns as they are. A row without coordinates
            hits nothing.
        lesions: One row for each lesion of the finding in question: image_id, x_px, y_px (upper left corner), width_px,
            height_px, and, where lesions have names, lesion; without, the lesions of an image are numbered, see
            `named_lesions`.
        overlap: None for marks that are points, which hit a box when they lie in it, edges included. For marks that are
            boxes the intersection over union from which on they hit a lesion, in (0, 1].

    Returns:
        A copy of the marks with a column lesion: its name, or None for a mark that hits nothing.

    Raises:
        TypeError: If a table is not a DataFrame.
        ValueError: If a column is missing, a coordinate is not a number, a box has no area, or two lesions of an image
            have one name.

    Example:
        >>> lesions = pd.DataFrame({"image_id": ["a"], "x_px": 10, "y_px": 20, "width_px": 30, "height_px": 40})
        >>> marks = pd.DataFrame({"image_id": ["a", "a", "b"], "x_px": [15, 50, 15], "y_px": [30, 30, 30]})
        >>> match_marks(marks, lesions)["lesion"].tolist()
        ['1', None, None]
    """
    if overlap is not None and checks.probability(overlap, "overlap") == 0:
        raise ValueError("overlap=0 would let every mark of an image hit; give a share above 0, for example 0.5.")
    boxes = named_lesions(lesions)
    known = _boxes(boxes, BOX, "the table of lesions", _FIX_LESIONS)
    if np.isnan(known).any():
        raise ValueError("a lesion has no box: x_px, y_px, width_px and height_px of every lesion must be numbers.")
    used = BOX[:2] if overlap is None else BOX
    drawn = _boxes(_table(marks, "marks"), used, "the table of marks", _FIX_MARKS)
    pairs = pd.merge(
        pd.DataFrame({"image": marks["image_id"].astype(str).to_numpy(), "mark": np.arange(len(marks))}),
        pd.DataFrame({"image": boxes["image_id"].astype(str).to_numpy(), "lesion": np.arange(len(boxes))}),
        on="image",
    )
    mark, lesion = (pairs[name].to_numpy() for name in ("mark", "lesion"))
    of_mark, of_lesion = drawn[mark], known[lesion]
    if overlap is None:
        inside = (of_mark >= of_lesion[:, :2]) & (of_mark <= of_lesion[:, :2] + of_lesion[:, 2:])
        hit = inside.all(axis=1)
        away = np.hypot(*(of_mark - of_lesion[:, :2] - of_lesion[:, 2:] / 2).T)
    else:
        share = _intersection_over_union(of_mark, of_lesion)
        hit, away = share >= overlap, -share
    mark, lesion, away = mark[hit], lesion[hit], away[hit]
    names = boxes["lesion"].to_numpy(dtype=object)
    # The nearest first, and of equally near ones the first by name; assigning backwards leaves it standing.
    order = np.lexsort((names[lesion].astype(str), away))[::-1]
    found = np.full(len(marks), None, dtype=object)
    found[mark[order]] = names[lesion[order]]
    return marks.assign(lesion=pd.Series(found, index=marks.index, dtype=object))


def named_lesions(lesions: pd.DataFrame) -> pd.DataFrame:
    """Returns lesions with a name each, as text, unique within its image.

    Args:
        lesions: One row for each lesion, with image_id and either lesion, its name, or a box (x_px, y_px, width_px,
            height_px); lesions without names are numbered "1", "2", ... in each image in the order of their boxes'
            coordinates, whatever the order of rows.

    Returns:
        A copy with the column lesion.

    Raises:
        TypeError: If it is not a DataFrame.
        ValueError: If a column or a name is missing, or two lesions of an image have one name.
    """
    table = _table(lesions, "lesions").copy()
    if "lesion" in table.columns:
        table["lesion"] = names_as_text(table["lesion"])
        if table["lesion"].isna().any():
            raise ValueError(
                f"{int(table['lesion'].isna().sum())} lesion(s) have no name; name all, or drop the column."
            )
    else:
        fix = "Name the lesions in a column lesion, or give their boxes."
        checks.require_columns(table, BOX, "the table of lesions", fix)
        order = np.lexsort([table[column].to_numpy() for column in reversed(BOX)])
        number = table.iloc[order].groupby("image_id", sort=False).cumcount().to_numpy() + 1
        numbers = np.empty(len(table), dtype=np.int64)
        numbers[order] = number
        table["lesion"] = pd.Series(numbers.astype(str), index=table.index, dtype=object)
    twice = table.duplicated(["image_id", "lesion"])
    if twice.any():
        first = table[twice].iloc[0]
        raise ValueError(
            f"{int(twice.sum())} lesion(s) have the name of another one of their image, first {first['lesion']!r} in "
            f"{first['image_id']}; give every lesion of an image a name of its own."
        )
    return table


def names_as_text(column: pd.Series) -> pd.Series:
    """Returns names as text, None where there is none; whole numbers that pandas made floats are whole again.

    Args:
        column: Names, numbers or missing values; empty text counts as missing.
    """

    def text(value: object) -> str | None:
        if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return str(value).strip() or None

    return pd.Series([text(value) for value in column.tolist()], index=column.index, dtype=object)


def _table(given: pd.DataFrame, name: str) -> pd.DataFrame:
    if not isinstance(given, pd.DataFrame):
        raise TypeError(f"{name} is a {type(given).__name__}; a pandas DataFrame was expected.")
    checks.require_columns(given, ("image_id",), f"the table of {name}", f"Every row of {name} belongs to an image.")
    return given


def _boxes(table: pd.DataFrame, columns: tuple[str, ...], what: str, fix: str) -> NDArray[np.float64]:
    checks.require_columns(table, columns, what, fix)
    try:
        values = np.column_stack([table[column].to_numpy(dtype=np.float64, na_value=np.nan) for column in columns])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: coordinates must be numbers ({error}). {fix}") from error
    if np.isinf(values).any() or (len(columns) == 4 and (values[:, 2:] <= 0).any()):
        raise ValueError(f"{what}: a coordinate is infinite, or a box has no area; width and height are above 0. {fix}")
    return values


def _intersection_over_union(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    upper = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    both = np.clip(upper - np.maximum(first[:, :2], second[:, :2]), 0, None).prod(axis=1)
    return np.asarray(both / (first[:, 2:].prod(axis=1) + second[:, 2:].prod(axis=1) - both))
