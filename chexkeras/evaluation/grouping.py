"""Which group each image belongs to: sex, view, age band, another finding's label, bands of any measure."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from chexkeras import checks

AGE_EDGES = (0, 18, 22, 40, 60, 75)
"""Where age bands begin, in years. Adults begin at 22 in FDA's device terms; 18 to 21 are transitional adolescents.

Source: FDA, Premarket Assessment of Pediatric Medical Devices, 2014.
"""

_DISTINCT_VALUES = 6
_QUANTILE_BANDS = 4


def age_bands(ages: Iterable[float], edges: Sequence[float] = AGE_EDGES) -> pd.Series:
    """Returns the band of each age, as ordered categories.

    Args:
        ages: In years; NaN is unknown. A series keeps its index.
        edges: Where bands begin, in whole years, ascending; the last band is open.

    Returns:
        Categories such as "40-59", in order of age; those that no age falls into are kept.

    Raises:
        ValueError: If an age is negative or lies below the first edge, or the edges do not ascend.

    Example:
        >>> list(age_bands([17.9, 18, 45, 90]))
        ['0-17', '18-21', '40-59', '75+']
    """
    years = ages.astype("float64") if isinstance(ages, pd.Series) else pd.Series(list(ages), dtype="float64")
    bounds = [float(edge) for edge in edges]
    if len(bounds) < 2 or any(after <= before for before, after in itertools.pairwise(bounds)):
        raise ValueError(f"edges={tuple(edges)} must be at least two ascending ages, such as {AGE_EDGES}.")
    if (years < bounds[0]).any():
        raise ValueError(f"an age of {years.min():g} years lies below the first band; mend it or set it to NaN.")
    names = [f"{low:g}-{high - 1:g}" for low, high in itertools.pairwise(bounds)] + [f"{bounds[-1]:g}+"]
    return pd.cut(years, [*bounds, np.inf], right=False, labels=names)


def groups_of(
    table: pd.DataFrame, column: str, image_ids: Sequence[str] | pd.Series, *, finding: str = ""
) -> pd.Series:
    """Returns the group of each image by one column of an image table.

    "age_years" becomes age bands. A column of 1 and 0 becomes "with" and "without" it. Another number with more than
    6 distinct values is cut at its quartiles. Anything else is a category by its text; a categorical keeps its order.

    Args:
        table: Image table with image_id, as a column or as its index; image ids are unique.
        column: What to group by.
        image_ids: Shape (n,), the images wanted.
        finding: The finding measured, which cannot be grouped by.

    Returns:
        Categories, in the order of `image_ids`; missing where the group is not known.

    Raises:
        ValueError: If the column is missing or is the finding itself, an image is not in the table or is there twice,
            or no image has a known group.
    """
    if "image_id" in table.columns:
        table = table.set_index("image_id")
    if column not in table.columns:
        near = checks.nearest(column, map(str, table.columns))
        raise ValueError(f"the image table has no column {column!r}; {near}")
    if column == finding:
        raise ValueError(f"{column} is the finding measured; every group by its label would hold one class only.")
    values = table[column]
    values.index = values.index.astype(str)
    if values.index.has_duplicates:
        twice = values.index[values.index.duplicated()]
        raise ValueError(f"{len(twice)} image(s) are in the image table twice, first {twice.tolist()[0]}.")
    wanted = pd.Index([str(image_id) for image_id in image_ids])
    lacking = wanted.difference(values.index)
    if len(lacking):
        raise ValueError(
            f"{len(lacking)} of {len(wanted)} images scored are not in the image table, first {lacking.tolist()[0]}; "
            "give the table they come from."
        )
    known = values.loc[wanted].reset_index(drop=True)
    if not known.notna().any():
        raise ValueError(f"no image has a known {column}; leave that column out.")
    return _categories(known, column)


def _categories(values: pd.Series, column: str) -> pd.Series:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.rename_categories([str(name) for name in values.cat.categories])
    if column == "age_years":
        return age_bands(values)
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.astype("float64")
        distinct = sorted(numbers.dropna().unique())
        if set(distinct) <= {0.0, 1.0}:
            return _named(numbers, {0.0: f"without {column}", 1.0: f"with {column}"})
        if len(distinct) > _DISTINCT_VALUES:
            return _quantile_bands(numbers)
        return _named(numbers, {number: f"{number:g}" for number in distinct})
    # Text that says nothing is as unknown as a missing value.
    texts = values.map(lambda value: str(value).strip(), na_action="ignore")
    texts = texts.where(texts != "")
    return _named(texts, {text: text for text in sorted(texts.dropna().unique())})


def _named(values: pd.Series, names: dict[float, str] | dict[str, str]) -> pd.Series:
    return pd.Series(pd.Categorical(values.map(names), list(names.values()), ordered=True), index=values.index)


def _quantile_bands(numbers: pd.Series) -> pd.Series:
    edges = np.unique(np.quantile(numbers.dropna(), np.linspace(0, 1, _QUANTILE_BANDS + 1)))
    names = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)]
    return pd.cut(numbers, list(edges), labels=names, include_lowest=True)
