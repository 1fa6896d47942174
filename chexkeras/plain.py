"""Results as plain text of 80 columns: what `print` and the Python prompt show, without a notebook."""

import dataclasses
import math
import re
import string
import textwrap
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from chexkeras.progress import printable

WIDTH = 80
"""Columns of a terminal that nobody has widened."""
_GAP = "  "
_MOST_ROWS = 60
_MOST_LISTED = 12
_WORDS = {"auroc": "AUROC", "ppv": "PPV", "npv": "NPV", "f1": "F1", "mcc": "MCC", "iou": "IoU", "iobb": "IoBB",
          "ema": "EMA", "clahe": "CLAHE", "afroc": "AFROC", "brier": "Brier score"}  # fmt: skip
# What a program needs and a reader does not.
_UNTOLD = frozenset({"provenance"})
_FINGERPRINT = 12


def wrapped(text: str, indent: str = "", later: str | None = None, width: int = WIDTH) -> str:
    """Returns a text in lines of a width; a word that is longer than a line stays whole.

    Args:
        text: One paragraph.
        indent: What the first line begins with.
        later: What the other lines begin with; None takes blanks as wide as `indent`.
        width: Columns.
    """
    following = " " * len(indent) if later is None else later
    lines = textwrap.wrap(printable(text), width, initial_indent=indent, subsequent_indent=following,
                          break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return "\n".join(lines) or indent.rstrip()


class Described:
    """A dataclass that prints its fields as text to read, and at the Python prompt too."""

    def __init_subclass__(cls, **further: Any) -> None:
        super().__init_subclass__(**further)
        # A dataclass would write a line of every field and its type, which nobody can read at the Python prompt.
        if "__repr__" not in vars(cls):
            cls.__repr__ = Described.__repr__  # type: ignore[method-assign]

    def __str__(self) -> str:
        """Returns lines to read: what it is, its cautions, and each field that has a value, with its interval."""
        return f"{words(type(self).__name__)}\n{described(self)}"

    def __repr__(self) -> str:
        """Returns what `print` shows; in brackets, with the name of its class, where that is one line."""
        text = str(self)
        return text if "\n" in text else wrapped(f"<{type(self).__name__}: {text}>", later=" ")


def cautions(sentences: Sequence[str]) -> list[str]:
    """Returns cautions as they stand before numbers, each in lines of 80 columns.

    Args:
        sentences: The cautions.
    """
    return [wrapped(sentence, "Caution: ") for sentence in sentences]


def table(columns: Mapping[str, Sequence[str]], width: int = WIDTH) -> str:
    """Returns a table as text; one that is too wide goes on below, its first column repeated.

    Args:
        columns: The cells of each column from top to bottom, by its heading; the first says what a row is about.
        width: Columns of the terminal.

    Example:
        >>> print(table({"finding": ["Edema", "Mass"], "AUROC": ["0.81", "0.7"], "images": ["120", "9"]}, 15))
        finding  AUROC
        Edema     0.81
        Mass       0.7
        <BLANKLINE>
        finding  images
        Edema       120
        Mass          9
    """
    texts = {name: [printable(str(cell)) for cell in cells] for name, cells in columns.items()}
    if not texts or not next(iter(texts.values())):
        return "(no rows)"
    key, *others = texts
    # A long text takes several lines of its row.
    room = max(width - min(_widest(key, texts[key]), width // 2) - len(_GAP), 20)
    texts = {name: cells if name == key else [_cell(cell, room) for cell in cells]
             for name, cells in texts.items()}  # fmt: skip
    texts[key] = [_cell(cell, max(width // 2, 20)) for cell in texts[key]]
    widths = {name: _widest(name, cells) for name, cells in texts.items()}
    blocks: list[list[str]] = [[key]]
    for name in others:
        taken = sum(widths[each] + len(_GAP) for each in blocks[-1])
        if taken + widths[name] > width and len(blocks[-1]) > 1:
            blocks.append([key])
        blocks[-1].append(name)
    return "\n\n".join(_block({name: texts[name] for name in block}, widths) for block in blocks)


def _cell(text: str, width: int) -> str:
    """Returns a cell in lines of a width; an address that is longer than a line is broken anywhere."""
    lines = wrapped(text, width=width).split("\n")
    return "\n".join(line[at : at + width] for line in lines for at in range(0, max(len(line), 1), width))


def _widest(name: str, cells: Sequence[str]) -> int:
    return max(len(line) for cell in (name, *cells) for line in cell.split("\n"))


def _block(columns: Mapping[str, Sequence[str]], widths: Mapping[str, int]) -> str:
    first = next(iter(columns))
    right = {name for name, cells in columns.items() if name != first and all(map(_is_counted, cells))}
    lines = []
    for row in zip(*([name, *cells] for name, cells in columns.items()), strict=True):
        parts = [cell.split("\n") for cell in row]
        for at in range(max(map(len, parts))):
            pieces = [part[at] if at < len(part) else "" for part in parts]
            padded = [
                piece.rjust(widths[name]) if name in right else piece.ljust(widths[name])
                for piece, name in zip(pieces, columns, strict=True)
            ]
            lines.append(_GAP.join(padded).rstrip())
    return "\n".join(lines)


def _is_counted(cell: str) -> bool:
    return re.fullmatch(r"-?[\d,.]*( %)?", cell) is not None


class PlainTable(pd.DataFrame):
    """A table to read: printed in 80 columns, whole, with every text in it; otherwise a DataFrame like any other."""

    @property
    def _constructor(self) -> type["PlainTable"]:
        return PlainTable

    def __repr__(self) -> str:
        """Returns the table as text: turned round where only so it fits, else in several tables below each other."""
        named = self.index.name is not None
        frame = self.reset_index() if named else self
        shown = frame.head(_MOST_ROWS)
        columns = {str(name): [number(value) for value in shown.iloc[:, at]] for at, name in enumerate(shown.columns)}
        turned = _turned(columns)
        wide = sum(_widest(name, cells) + len(_GAP) for name, cells in columns.items()) - len(_GAP) > WIDTH
        narrow = sum(_widest(name, cells) + len(_GAP) for name, cells in turned.items()) - len(_GAP) <= WIDTH
        # Rows that share their first cell cannot become columns.
        text = table(turned if wide and narrow and any(turned.values()) else columns)
        more = len(frame) - len(shown)
        notes = self.attrs.get("cautions", ())
        return "\n".join([*cautions(notes), text, *([f"... and {more:,} more rows"] if more else [])])

    __str__ = __repr__


def _turned(columns: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    key, *others = columns or ("",)
    names = columns.get(key, ())
    if len(set(names)) < len(names) or not others:
        return {key: []}
    return {key: others} | {name: [columns[each][at] for each in others] for at, name in enumerate(names)}


def number(value: Any) -> str:
    """Returns a value as a cell shows it: four digits of a number, "" of what is missing.

    Args:
        value: Any plain value.
    """
    if value is None or value is pd.NaT or (isinstance(value, Real) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    return f"{value:,}" if isinstance(value, Integral) else f"{float(value):.4g}"


def words(name: str) -> str:
    """Returns the name of a field as a reader knows it.

    Args:
        name: For example "n_positive" or "auroc".

    Example:
        >>> words("n_positive"), words("difference_of_auroc"), words("SubgroupAnalysis")
        ('positive', 'difference of AUROC', 'Subgroup analysis')
    """
    if name[:1].isupper():
        first, *rest = re.findall(r"[A-Z][a-z0-9]*", name) or [name]
        return " ".join([first, *(word.lower() for word in rest)])
    return " ".join(_WORDS.get(word, word) for word in name.removeprefix("n_").split("_"))


def described(record: Any, indent: str = "") -> str:
    """Returns the fields of a dataclass as text to read: cautions first, then a line for each field, tables last.

    Args:
        record: An instance of a dataclass.
        indent: What every line begins with.
    """
    lines, tables = [], []
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    given = values.pop("cautions", ())
    lines += [wrapped(sentence, f"{indent}Caution: ") for sentence in given]
    for name, value in values.items():
        if (
            name in _UNTOLD
            or name.startswith("_")
            or value is None
            or (isinstance(value, (str, tuple, dict)) and not value)
        ):
            continue
        label = words(name)
        if isinstance(value, pd.DataFrame):
            tables.append(f"{indent}{label}: a table of {len(value):,} rows")
        elif isinstance(value, tuple) and all(map(_is_dataclass, value)):
            tables.append(f"{indent}{label}:\n{textwrap.indent(_rows(value), indent)}")
        elif _is_dataclass(value) and not _is_one_line(value):
            lines.append(f"{indent}{label}:\n{described(value, f'{indent}  ')}")
        else:
            lines.append(wrapped(f"{label}: {_told(name, value)}", indent, f"{indent}    "))
    return "\n".join([*lines, *tables])


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _is_one_line(value: Any) -> bool:
    return hasattr(value, "estimable")


def _told(name: str, value: Any) -> str:
    if hasattr(value, "estimable"):
        return f"{value}, n = {value.n:,}" if value.estimable else str(value)
    if name.endswith(("fingerprint", "sha256")):
        return str(value)[:_FINGERPRINT]
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_told('', each)}" for key, each in value.items())
    if isinstance(value, (tuple, list)):
        told = [_told("", each) for each in value[:_MOST_LISTED]]
        return ", ".join([*told, *([f"{len(value):,} in all"] if len(value) > _MOST_LISTED else [])])
    if isinstance(value, np.ndarray):
        return f"an array of {' x '.join(map(str, value.shape))}"
    return number(value)


class Notes:
    """What must be said of the estimates of a table beside it, each marked in its cell by a letter.

    Why one has no value, and what limits an interval; what several have in common is said once.
    """

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}

    def cell(self, value: Any) -> str:
        """Returns an `Estimate` as a cell of a table whose heading names the confidence.

        Args:
            value: The estimate.
        """
        if value.estimable:
            between = " to " if value.low < 0 else "-"
            text, note = f"{value.value:.3f} ({value.low:.3f}{between}{value.high:.3f})", value.caution
        else:
            text, note = "not estimable", value.reason
        if not note:
            return text
        # Beyond z come aa, ab and so on: a table of many groups may have many reasons.
        at = len(self._marks)
        letters = string.ascii_lowercase
        mark = letters[at] if at < len(letters) else letters[at // len(letters) - 1] + letters[at % len(letters)]
        return f"{text} {self._marks.setdefault(note, mark)}"

    def lines(self) -> list[str]:
        """Returns the notes to stand below the table."""
        return [wrapped(note, f"{mark}: ") for note, mark in self._marks.items()]


def heading(name: str, estimates: Sequence[Any]) -> str:
    """Returns a column's heading with the confidence of its intervals, where all have one.

    Args:
        name: What the column shows.
        estimates: Its `Estimate`s.
    """
    said = {each.confidence for each in estimates}
    return f"{name} ({said.pop() * 100:g} % CI)" if len(said) == 1 else name


def _rows(records: Sequence[Any]) -> str:
    """Returns records of one kind as a table, a row each; what does not fit into a cell is left to themselves."""
    first = records[0]
    columns: dict[str, list[str]] = {}
    notes = Notes()
    for field in dataclasses.fields(first):
        values = [getattr(record, field.name) for record in records]
        if any(isinstance(value, (Mapping, pd.DataFrame)) for value in values):
            continue
        if all(hasattr(value, "estimable") for value in values):
            columns[heading(words(field.name), values)] = [notes.cell(value) for value in values]
        elif any(
            _is_dataclass(value) or (isinstance(value, tuple) and any(map(_is_dataclass, value))) for value in values
        ):
            continue
        elif any(value not in ("", None, ()) for value in values):
            columns[words(field.name)] = [_told(field.name, value) for value in values]
    return "\n".join([table(columns), *notes.lines()])
