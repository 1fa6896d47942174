"""The columns of an image table that images are grouped by, and the group of each image by any of them.

`USUAL_COLUMNS` are those that every run is measured by where its table has them. A new one gets its entry there, and
the evaluation, the report's facts and sentences, and the figures follow. A loader puts the column into the table: for
one's own CSV `load_table(group_columns=...)`.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked

AGE_EDGES = (0, 18, 22, 40, 60, 75)
"""Where age bands begin, in years. Adults begin at 22 in FDA's device terms; 18 to 21 are transitional adolescents.

Source: FDA, Premarket Assessment of Pediatric Medical Devices, 2014.
"""

ADULT_AGE_YEARS = 22
"""From this age on FDA speaks of adults; 18 to 21 are transitional adolescents."""

OLDER_AGE_YEARS = 65

_DISTINCT_VALUES = 6
_QUANTILE_BANDS = 4
_NUMBERS = ("integer", "floating", "mixed-integer-float", "boolean")


@dataclass(frozen=True)
class GroupedColumn:
    """A column of the image table that images are grouped by: its words, and how it makes groups.

    Attributes:
        words: In a sentence.
        heading: In figures and tables.
        short: Among other columns, where `words` would be long; empty for `words`.
        levels: The words for its values; a value that is not named stands for itself.
        in_list: How a group is called in a list of groups by several columns, "{}" standing for its level.
        group: Returns the group of each value, as ordered categories; None takes each text as a group and cuts numbers,
            see `groups_of`.
        overview: The same with fewer groups, or in another order, for the overview at the head of the report; None
            takes those of `group`.
    """

    words: str
    heading: str
    levels: Mapping[str, str] = field(default_factory=dict)
    short: str = ""
    in_list: str = "{}"
    group: Callable[[pd.Series], pd.Series] | None = None
    overview: Callable[[pd.Series], pd.Series] | None = None

    def level(self, value: str) -> str:
        """Returns the word for one of its values."""
        return self.levels.get(value, value)


@checked
def age_bands(ages: Iterable[float], edges: Sequence[float] = AGE_EDGES) -> pd.Series:
    """Returns the band of each age, as ordered categories.

    Args:
        ages: In years; NaN is unknown. A series keeps its index.
        edges: Where bands begin, in whole years, ascending; the last band is open.

    Returns:
        Categories such as "40-59", in order of age; those that no age falls into are kept.

    Raises:
        ValueError: If an age is no number, is infinite, negative or below the first edge, or the edges do not ascend.

    Example:
        >>> list(age_bands([17.9, 18, 45, 90]))
        ['0-17', '18-21', '40-59', '75+']
    """
    try:
        years = (ages if isinstance(ages, pd.Series) else pd.Series(list(ages), dtype=object)).astype("float64")
    except (TypeError, ValueError) as error:
        raise ValueError(f"ages must be numbers, in years ({error}); correct them or set them to NaN.") from error
    bounds = [float(edge) for edge in edges]
    if len(bounds) < 2 or any(after <= before for before, after in itertools.pairwise(bounds)):
        raise ValueError(f"edges={tuple(edges)} must be at least two ascending ages, such as {AGE_EDGES}.")
    _refuse_infinite(years, "age")
    if (years < bounds[0]).any():
        raise ValueError(f"an age of {years.min():g} years lies below the first band; correct it or set it to NaN.")
    names = [f"{low:g}-{high - 1:g}" for low, high in itertools.pairwise(bounds)] + [f"{bounds[-1]:g}+"]
    return pd.cut(years, [*bounds, np.inf], right=False, labels=names)


def _ages_at_a_glance(ages: pd.Series) -> pd.Series:
    names = [
        f"younger than {ADULT_AGE_YEARS} years",
        f"{ADULT_AGE_YEARS} to {OLDER_AGE_YEARS - 1} years",
        f"{OLDER_AGE_YEARS} years and older",
    ]
    return pd.cut(ages, [-np.inf, ADULT_AGE_YEARS, OLDER_AGE_YEARS, np.inf], right=False, labels=names)


def _reversed(values: pd.Series) -> pd.Series:
    """Returns texts as categories from Z to A, so that PA comes before AP."""
    known = _texts(values)
    return _named(known, {text: text for text in sorted(known.dropna().unique(), reverse=True)})


USUAL_COLUMNS: dict[str, GroupedColumn] = {
    "sex": GroupedColumn("sex", "sex", {"F": "female", "M": "male"}),
    "age_years": GroupedColumn("age in years", "age (years)", short="age", group=age_bands, overview=_ages_at_a_glance),
    "view": GroupedColumn("view", "view", in_list="{} view", overview=_reversed),
    "race": GroupedColumn("race", "race", in_list="race {}"),
    "ethnicity": GroupedColumn("ethnicity", "ethnicity", in_list="ethnicity {}"),
    "site": GroupedColumn("site", "site", in_list="site {}"),
    "manufacturer": GroupedColumn("manufacturer", "manufacturer", in_list="manufacturer {}"),
}
"""What every run is measured by, besides as a whole, where its table has it; the report names those it has not."""


def column_words(column: str) -> GroupedColumn:
    """Returns the words for a column that images are grouped by, those of its name where it is not a usual one.

    Example:
        >>> column_words("age_years").words, column_words("sex").level("F"), column_words("Lung_Lesion").words
        ('age in years', 'female', 'Lung Lesion')
    """
    words = column.replace("_", " ")
    return USUAL_COLUMNS.get(column, GroupedColumn(words, words, in_list=f"{words.replace('{', '(')} {{}}"))


def columns_to_measure(table: pd.DataFrame, further: Iterable[str] = ()) -> tuple[str, ...]:
    """Returns the columns that a table's images are grouped by: the usual ones that it has, then its loader's own.

    Args:
        table: An image table.
        further: The columns that `load_table(group_columns=...)` added, `group_columns` of the table's source.

    Example:
        >>> columns_to_measure(pd.DataFrame({"image_id": ["a"], "view": ["PA"], "sex": ["F"]}))
        ('sex', 'view')
    """
    wanted = dict.fromkeys((*USUAL_COLUMNS, *further))
    return tuple(name for name in wanted if name in table.columns)


def any_known(values: pd.Series) -> bool:
    """Returns whether a column says anything of any image; a blank text says nothing.

    Args:
        values: The column.
    """
    return bool((values.notna() & (values.astype(str).str.strip() != "")).any())


def overview_groups(values: pd.Series, column: str) -> tuple[tuple[str, pd.Series], ...]:
    """Returns the few groups by a column that an overview lists.

    Args:
        values: The column of an image table.
        column: Its name.

    Returns:
        For each group with any image its name and the mask of its images, in order.

    Example:
        >>> [name for name, mask in overview_groups(pd.Series(["AP", "PA", ""]), "view")]
        ['PA view', 'AP view']
    """
    entry = column_words(column)
    values = _plain(values, column)
    groups = entry.overview(values) if entry.overview is not None else _categories(values, column)
    names = [str(name) for name in groups.cat.categories]
    masks = [groups.cat.codes == code for code in range(len(names))]
    called = [entry.in_list.format(entry.level(name)) for name in names]
    return tuple((name, mask) for name, mask in zip(called, masks, strict=True) if mask.any())


def groups_of(
    table: pd.DataFrame, column: str, image_ids: Sequence[str] | pd.Series, *, finding: str = ""
) -> pd.Series:
    """Returns the group of each image by one column of an image table.

    "age_years" becomes age bands. A column of 1 and 0 becomes "with" and "without" it. Another number with more than
    6 distinct values is cut at its quartiles; a value that fills a quarter or more of the images, such as a dose of 0,
    is a group of its own, and the values on either side of it are cut into bands by how many they are. Anything else
    is a category by its text, whole numbers without a decimal point; a categorical keeps its order.

    Args:
        table: Image table with image_id, as a column or as its index; image ids are unique.
        column: What to group by.
        image_ids: Shape (n,), the images wanted.
        finding: The finding measured, which cannot be grouped by.

    Returns:
        Categories, in the order of `image_ids`; missing where the group is not known.

    Raises:
        ValueError: If the column is missing or is the finding itself, an image is not in the table or is there twice,
            a number is infinite, or no image has a known group.
    """
    if "image_id" in table.columns:
        table = table.set_index("image_id")
    if column not in table.columns:
        near = checks.nearest(column, map(str, table.columns))
        raise ValueError(f"the image table has no column {column!r}; {near}")
    if column == finding:
        raise ValueError(f"{column} is the finding measured; every group by its label would hold one class only.")
    values = table[column]
    values.index = pd.Index(checks.identifiers(table.index, "image_id of the image table"), dtype=object)
    if values.index.has_duplicates:
        twice = values.index[values.index.duplicated()]
        raise ValueError(f"{len(twice)} image(s) are in the image table twice, first {twice.tolist()[0]}.")
    wanted = pd.Index(checks.identifiers(image_ids, "image_id"), dtype=object)
    lacking = wanted.difference(values.index)
    if len(lacking):
        raise ValueError(
            f"{len(lacking)} of {len(wanted)} images scored are not in the image table, first {lacking.tolist()[0]}; "
            "give the table they come from."
        )
    known = values.loc[wanted].reset_index(drop=True)
    if not known.notna().any():
        raise ValueError(f"no image has a known {column}; leave that column out.")
    return _categories(_plain(known, column), column)


def _plain(values: pd.Series, column: str) -> pd.Series:
    """Returns a column with numbers as numbers, also those that pandas holds as objects, and none infinite."""
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) in _NUMBERS:
        values = values.astype("float64")
    if pd.api.types.is_numeric_dtype(values):
        _refuse_infinite(values.astype("float64"), column)
    return values


def _refuse_infinite(numbers: pd.Series, column: str) -> None:
    infinite = int(np.isinf(numbers.to_numpy(dtype=float)).sum())
    if infinite:
        raise ValueError(
            f"{column} is infinite for {infinite} of {len(numbers)} images, which belongs to no group; correct it, or "
            "set it to NaN (unknown)."
        )


def _categories(values: pd.Series, column: str) -> pd.Series:
    if isinstance(values.dtype, pd.CategoricalDtype):
        names = _texts(pd.Series(values.cat.categories, dtype=object)).dropna()
        return _named(_texts(values.astype(object)), {name: name for name in names})
    group = column_words(column).group
    if group is not None:
        return group(values)
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.astype("float64")
        distinct = sorted(numbers.dropna().unique())
        if set(distinct) <= {0.0, 1.0}:
            return _named(numbers, {0.0: f"without {column}", 1.0: f"with {column}"})
        if len(distinct) > _DISTINCT_VALUES:
            return _quantile_bands(numbers)
        return _named(numbers, dict(zip(distinct, _told_apart(distinct, "{:.{}g}".format, 6), strict=True)))
    texts = _texts(values)
    return _named(texts, {text: text for text in sorted(texts.dropna().unique())})


def _texts(values: pd.Series) -> pd.Series:
    # Text that says nothing is as unknown as a missing value.
    texts = values.map(_text, na_action="ignore")
    return texts.where(texts != "")


def _text(value: object) -> str:
    # In a column put together of others the same number may be 1 on one row and 1.0 on another.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _named(values: pd.Series, names: dict[float, str] | dict[str, str]) -> pd.Series:
    return pd.Series(pd.Categorical(values.map(names), list(names.values()), ordered=True), index=values.index)


def _told_apart(values: Sequence[Any], shown: Callable[[Any, int], str], digits: int) -> list[str]:
    """Returns values as text with so many digits, or with as many more as it takes to tell them apart."""
    for number in range(digits, 18):
        names = [shown(value, number) for value in values]
        if len(set(names)) == len(names):
            break
    return names


def _quantile_bands(numbers: pd.Series) -> pd.Series:
    """Returns the quartiles of a measure; a value that fills one is a group of its own, with bands on either side."""
    known = np.sort(numbers.dropna().to_numpy(dtype=float))
    edges = _quantiles(known, _QUANTILE_BANDS)
    frequent = np.unique(edges[1:][edges[1:] == edges[:-1]])
    bands = [(value, value) for value in frequent]
    for rest in np.split(known[~np.isin(known, frequent)], np.searchsorted(known[~np.isin(known, frequent)], frequent)):
        if len(rest):
            cuts = np.unique(_quantiles(rest, max(1, round(_QUANTILE_BANDS * len(rest) / len(known)))))
            bands += list(itertools.pairwise(cuts)) if len(cuts) > 1 else [(cuts[0], cuts[0])]
    bands.sort()

    def shown(band: tuple[float, float], digits: int) -> str:
        low, high = band
        return f"{low:.{digits}g}" if low == high else f"{low:.{digits}g} to {high:.{digits}g}"

    # A value on an edge belongs to the lower of two bands; one that fills a band to that.
    above = np.searchsorted([high for _, high in bands], numbers.to_numpy(dtype=float), side="left")
    codes = np.where(numbers.isna(), -1, above).astype(np.int64)
    names = pd.Index(_told_apart(bands, shown, 4))
    return pd.Series(pd.Categorical.from_codes(codes, names, ordered=True), index=numbers.index)


def _quantiles(values: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    return np.asarray(np.quantile(values, np.linspace(0, 1, parts + 1)))
