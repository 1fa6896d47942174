"""Reading a label file: its header, its columns by position, its labels, and who the patients are.

Identifiers, ages and sexes become clean columns, labels values that are what they must be.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.storage import Place, Remote

_ENCODING = "utf-8-sig"
_LONGEST_HEADER = 2**20
_MOST_UNPACKED_BYTES = 2**30


def header(path: Place) -> list[str]:
    """Returns the cells of the first line.

    Args:
        path: The CSV.

    Raises:
        ValueError: If the file is not UTF-8 text.
    """
    return _header(path)[0]


class _Unpacked(io.RawIOBase):
    """What a compressed file holds, up to a size that no label file has: a small file may unpack to fill a disk."""

    def __init__(self, path: Place):
        packed = io.BytesIO(path.read_bytes()) if isinstance(path, Remote) else path
        self._file = gzip.open(packed, "rb")  # noqa: SIM115
        self._path = path
        self._left = _MOST_UNPACKED_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise ValueError(
                f"{self._path.name} unpacks to more than {_MOST_UNPACKED_BYTES // 2**20:,} MB, which is no label file; "
                "download it again."
            )
        return int(count)

    def close(self) -> None:
        self._file.close()
        super().close()


def _opened(path: Place) -> io.TextIOWrapper:
    """Returns a label file opened as text; one that ends in .gz is unpacked as it is read."""
    if path.suffix.lower() == ".gz":
        return io.TextIOWrapper(io.BufferedReader(_Unpacked(path), 2**20), encoding=_ENCODING, newline="")
    if isinstance(path, Remote):
        return io.TextIOWrapper(io.BytesIO(path.read_bytes()), encoding=_ENCODING, newline="")
    return path.open(encoding=_ENCODING, newline="")


_UNREADABLE = (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile)
_DELIMITERS = (",", ";", "\t")


def _header(path: Place) -> tuple[list[str], str]:
    """Returns the cells of the first line, and what separates them: where a comma is the decimal sign, a semicolon."""
    try:
        with _opened(path) as handle:
            # A quoted cell may hold the end of a line; nobody writes a header of more.
            start = handle.read(_LONGEST_HEADER)
        rows = {mark: next(csv.reader(io.StringIO(start, newline=""), delimiter=mark), []) for mark in _DELIMITERS}
    except (csv.Error, *_UNREADABLE) as error:
        raise _unreadable(path, error) from error
    mark = max(_DELIMITERS, key=lambda each: len(rows[each]))
    return rows[mark], mark


def read_columns(path: Place, names: Sequence[str | None], numbers: Collection[str] = ()) -> pd.DataFrame:
    """Reads some columns of a CSV under new names.

    By position and without the header: rows that end in a comma under a header that does not, or the other way round,
    would otherwise shift by one column.

    Args:
        path: The CSV.
        names: For each cell of the header, the column's new name, or None to leave it out.
        numbers: Which of the new names to read as numbers where they are; the others stay text, "" where blank.

    Returns:
        The columns, in the file's order.

    Raises:
        ValueError: If a name is given twice, the file is not UTF-8 text or not a CSV, or it has no rows.
    """
    checks.refuse_repeated_columns((name for name in names if name is not None), path.name)
    kept = {place: name for place, name in enumerate(names) if name is not None}
    blank = {name: ["", "NaN", "nan"] for name in numbers}
    mark, handle = _header(path)[1], _opened(path)
    try:
        table = pd.read_csv(
            handle, header=None, skiprows=1, usecols=list(kept), names=list(kept.values()), index_col=False,
            dtype={name: str for name in kept.values() if name not in blank}, keep_default_na=False, na_values=blank,
            sep=mark, skipinitialspace=True, low_memory=False,
        )  # fmt: skip
    except pd.errors.EmptyDataError:
        table = pd.DataFrame()
    except (pd.errors.ParserError, *_UNREADABLE) as error:
        raise _unreadable(path, error) from error
    finally:
        handle.close()
    if table.empty:
        raise ValueError(f"{path.name} has a header and no rows; give one row per image, or get the file again.")
    text = [name for name in table.columns if name not in blank]
    table[text] = table[text].fillna("")
    return table


def label_values(
    column: pd.Series, allowed: Sequence[float], what: str, image_ids: Sequence[str], fix: str
) -> np.ndarray:
    """Returns a column of labels as floats.

    Args:
        column: Numbers, booleans or text.
        allowed: The values there may be, beside NaN for a blank.
        what: The column's name in the message, for example "train.csv: 'Edema'".
        image_ids: The image of each row, for the message.
        fix: What to do about other values, a sentence.

    Returns:
        Float array of the allowed values and NaN.

    Raises:
        ValueError: If there are other values; the message names the first and its image.
    """
    blank = column.isna()
    plain = column
    if not pd.api.types.is_numeric_dtype(column):
        plain = column.map(str).str.strip().replace({"True": "1", "False": "0"})
        blank |= plain.isin(["", "NA", "NaN", "nan"])
    values = pd.to_numeric(plain, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = ~(np.isin(values, allowed) | blank.to_numpy(dtype=bool))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{what} is {column.iloc[first]!r} for {image_ids[first]}"
            + (f" (and wrong in {int(wrong.sum()) - 1:,} other rows)" if wrong.sum() > 1 else "")
            + f". {fix}"
        )
    return values


def refuse_repeated(image_ids: pd.Series, what: str) -> None:
    """Checks that no image is named twice.

    Args:
        image_ids: The image of each row.
        what: The table's name in the message.

    Raises:
        ValueError: If one is; the message names the first.
    """
    repeated = image_ids[image_ids.duplicated()]
    if len(repeated):
        raise ValueError(
            f"{what} names {repeated.nunique()} image(s) more than once, first {repeated.iloc[0]!r}; "
            "keep one row per image."
        )


def _unreadable(path: Place, error: Exception) -> ValueError:
    if isinstance(error, UnicodeDecodeError):
        return ValueError(
            f"{path.name} is not UTF-8 text: byte {error.start:,} is 0x{error.object[error.start]:02x}. Save it as "
            "UTF-8 (in a spreadsheet: CSV UTF-8), or get the file again."
        )
    return ValueError(f"{path.name} cannot be read as a CSV ({error}); save it as one anew, or get the file again.")


MAX_AGE_YEARS = 120.0
_AGE = re.compile(r"(-?\d+(?:\.\d+)?)([YMWD]?)")
_UNITS_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_SEXES = {"MALE": "M", "FEMALE": "F", "UNKNOWN": ""}


def per_unique(column: pd.Series, convert: Callable[[str], object]) -> np.ndarray:
    """Applies a function once per different value: label files repeat a few hundred values 100,000 times.

    Args:
        column: Text.
        convert: From one text to its value.
    """
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
    """Returns text in capitals without blanks around it.

    Args:
        column: Text.
    """
    return per_unique(column, lambda value: value.strip().upper()).astype(object)


def sexes(column: pd.Series) -> np.ndarray:
    """Returns "M" and "F", also where a file writes Male and Female; "" for Unknown; other text in capitals.

    Args:
        column: Sexes as a label file writes them.

    Example:
        >>> sexes(pd.Series(["Female", "m", "Unknown", "O"])).tolist()
        ['F', 'M', '', 'O']
    """
    return per_unique(column, lambda value: _SEXES.get(value.strip().upper(), value.strip().upper())).astype(object)


_PLAIN_NUMBER = re.compile(r"0*([0-9]+?)(\.0+)?")


def patient_ids(column: pd.Series) -> np.ndarray:
    """Returns patient numbers as text, so that ``00000013``, ``13`` and ``13.0`` are one patient, "13".

    Args:
        column: Whole numbers as text, as NIH numbers its patients; other text stays as it is.
    """

    def plain(value: str) -> str:
        match = _PLAIN_NUMBER.fullmatch(value.strip())
        return match[1] if match else value.strip()

    return per_unique(column, plain).astype(object)
