"""NIH's label file as text: its header spellings, ages, sexes and finding labels, turned into clean columns."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from chexkeras import findings as vocabulary

# Keys are header cells with everything but letters and digits removed. NIH's own file writes the two bracketed names
# with a comma inside and no quotes, so a CSV reader sees four cells, the second of each pair without its context.
_HEADER = {
    "imageindex": "image_id",
    "findinglabels": "labels",
    "followup": "follow_up",
    "patientid": "patient_id",
    "patientage": "age",
    "patientgender": "sex",
    "patientsex": "sex",
    "viewposition": "view",
    "originalimagewidth": "width_px",
    "height": "height_px",
    "originalimageheight": "height_px",
    "originalimagepixelspacingx": "pixel_spacing_mm",
}
_SHOWN = {
    "image_id": "Image Index",
    "labels": "Finding Labels",
    "follow_up": "Follow-up #",
    "patient_id": "Patient ID",
    "age": "Patient Age",
    "sex": "Patient Gender",
    "view": "View Position",
    "width_px": "OriginalImage[Width",
    "height_px": "Height]",
    "pixel_spacing_mm": "OriginalImagePixelSpacing[x",
}
_AGE = re.compile(r"(-?\d+(?:\.\d+)?)([YMWD]?)")
_UNITS_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
MAX_AGE_YEARS = 120.0


def read_text(path: Path) -> pd.DataFrame:
    """Reads the label file as text, one column per known header cell.

    Args:
        path: The CSV, in NIH's spelling (with or without a trailing empty column) or in that of Kaggle's sample.

    Returns:
        Text columns image_id, labels, follow_up, patient_id, age, sex, view, width_px, height_px, pixel_spacing_mm.

    Raises:
        ValueError: If it is empty, has no rows, lacks a column, names an image twice, or is not UTF-8 text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            cells = next(csv.reader(handle), [])
        known = [_HEADER.get(re.sub(r"[^a-z0-9]", "", cell.casefold())) for cell in cells]
        wanted = {name: position for position, name in enumerate(known) if name}
        missing = [_SHOWN[name] for name in _SHOWN if name not in wanted]
        if missing:
            raise ValueError(
                f"{path.name} lacks the column(s) {', '.join(missing)}; its first line is: {','.join(cells)[:300]!r}. "
                "Use NIH's Data_Entry_2017_v2020.csv or Data_Entry_2017.csv, or Kaggle's sample_labels.csv, unchanged."
            )
        # By position and without the header: rows that end in a comma under a header that does not, or the other way
        # round, would otherwise shift by one column.
        places = sorted(wanted.values())
        text = pd.read_csv(
            path, header=None, skiprows=1, usecols=places, names=[str(known[place]) for place in places], dtype=str,
            index_col=False, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig",
        ).fillna("")  # fmt: skip
    except pd.errors.EmptyDataError:
        text = pd.DataFrame()
    except (UnicodeDecodeError, pd.errors.ParserError) as error:
        raise ValueError(
            f"{path.name} cannot be read as a CSV ({error}); download it again or save it as UTF-8."
        ) from error
    if text.empty:
        raise ValueError(f"{path.name} has a header and no rows; download it again.")
    text = text[list(_SHOWN)]
    repeated = text["image_id"][text["image_id"].duplicated()]
    if len(repeated):
        raise ValueError(
            f"{path.name} names {repeated.nunique()} image(s) more than once, first {repeated.iloc[0]!r}; "
            "keep one row per image."
        )
    return text


def _per_unique(column: pd.Series, convert: Callable[[str], object]) -> np.ndarray:
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
    years = _per_unique(column, _one_age).astype(float)
    blank = _per_unique(column, lambda text: not text.strip()).astype(bool)
    return years, int((np.isnan(years) & ~blank).sum())


def whole_numbers(text: pd.DataFrame, column: str, file_name: str) -> np.ndarray:
    """Returns a text column as integers.

    Raises:
        ValueError: If a value is no whole number; the message names the first and its image.
    """
    numbers = pd.to_numeric(text[column], errors="coerce").to_numpy(dtype=float)
    wrong = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{file_name}: {_SHOWN[column]!r} is {text[column].iloc[first]!r} for {text['image_id'].iloc[first]} "
            f"(and in {int(wrong.sum()) - 1} other rows); a whole number was expected."
        )
    return numbers.astype(np.int64)


def capitals(column: pd.Series) -> np.ndarray:
    """Returns text in capitals without blanks around it."""
    return _per_unique(column, lambda value: value.strip().upper()).astype(object)


def patient_ids(column: pd.Series) -> np.ndarray:
    """Returns patient identifiers as text without leading zeros, so that ``00000013`` and ``13`` are one patient."""
    return _per_unique(column, lambda value: value.strip().lstrip("0") or value.strip()).astype(object)


def _parts(combination: str) -> tuple[str, ...]:
    known = (*vocabulary.NIH14, vocabulary.NO_FINDING)
    return tuple(vocabulary.canonical(part.strip(), known) for part in combination.split("|"))


def label_columns(
    text: pd.DataFrame, findings: Sequence[str], file_name: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns one 0/1 column per finding.

    A film labelled ``No Finding`` together with a finding keeps the finding and is reported, not corrected: which of
    the two is wrong cannot be known from the text.

    Args:
        text: What `read_text` returned.
        findings: Which findings to make columns of, canonical spelling.
        file_name: For messages.

    Returns:
        Float columns by finding, and the image_ids whose labels contradict themselves.

    Raises:
        ValueError: If a label is blank or unknown; the message names the image and the nearest known label.
    """
    codes, combinations = pd.factorize(text["labels"])
    parsed = []
    for code, combination in enumerate(combinations):
        try:
            if not combination.strip():
                raise ValueError(f"the label is blank; write {vocabulary.NO_FINDING!r} for a film without findings")
            parsed.append(_parts(combination))
        except ValueError as error:
            image = text["image_id"].iloc[int(np.argmax(codes == code))]
            raise ValueError(
                f"{file_name}: labels {combination!r} of {image} ({int((codes == code).sum())} row(s)): {error}"
            ) from error
    columns = {finding: np.asarray([float(finding in parts) for parts in parsed])[codes] for finding in findings}
    contradicts = np.asarray([vocabulary.NO_FINDING in parts and len(set(parts)) > 1 for parts in parsed])[codes]
    return columns, tuple(text["image_id"][contradicts])
