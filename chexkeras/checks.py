"""Argument validation at the edge of the library: functions that return clean values or say what to do.

Each error names what came, what was expected and how to fix it.
"""

import difflib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns a sentence naming the choices that look like `name`, to end or go on an error message with.

    Args:
        name: What the caller gave.
        choices: The names there are.

    Example:
        >>> nearest("Pnuemonia", ["Pneumonia", "Edema"])
        "did you mean 'Pneumonia'?"
    """
    lowered = {str(choice).casefold(): str(choice) for choice in choices}
    close = [lowered[match] for match in difflib.get_close_matches(str(name).casefold(), lowered, n=2, cutoff=0.6)]
    return f"did you mean {' or '.join(map(repr, close))}?" if close else "nothing similar is known."


def one_of(value: str, choices: Iterable[str], name: str) -> str:
    """Returns `value` if it is one of `choices`.

    Args:
        value: What the caller gave.
        choices: What is allowed.
        name: The argument's name, for the message.

    Raises:
        ValueError: If it is not.
    """
    allowed = tuple(choices)
    if value not in allowed:
        raise ValueError(f"{name}={value!r}; {nearest(str(value), allowed)} Expected one of: {', '.join(allowed)}.")
    return value


def probability(value: float, name: str, *, open_interval: bool = False) -> float:
    """Returns `value` as a float in [0, 1], or in (0, 1) when `open_interval`.

    Args:
        value: What the caller gave.
        name: The argument's name, for the message.
        open_interval: Whether 0 and 1 themselves are refused.

    Raises:
        ValueError: If it lies outside, is not a number, or is NaN.
    """
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={value!r} is not a number; give a fraction such as 0.9.") from error
    inside = 0.0 < number < 1.0 if open_interval else 0.0 <= number <= 1.0
    if math.isnan(number) or not inside:
        bounds = "strictly between 0 and 1" if open_interval else "between 0 and 1"
        raise ValueError(f"{name}={value!r} must lie {bounds}; give a fraction, so 90 % is 0.9.")
    return number


def positive_int(value: int, name: str, *, least: int = 1, hint: str = "") -> int:
    """Returns `value` as an int of at least 1.

    Args:
        value: What the caller gave.
        name: The argument's name, for the message.
        least: The smallest value allowed, 0 for a count.
        hint: Ends the message.

    Raises:
        ValueError: If it is not a whole number of at least `least`.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {least}{hint}.")
    return int(value)


def require_columns(frame: "pd.DataFrame", columns: Iterable[str], what: str, fix: str) -> None:
    """Checks that a table has the columns a step needs.

    Args:
        frame: The table.
        columns: The names needed.
        what: The table's name in the message, for example "Data_Entry_2017.csv".
        fix: One sentence on what to do.

    Raises:
        ValueError: If any is missing; the message lists them all.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        present = ", ".join(map(str, frame.columns[:20]))
        raise ValueError(f"{what} lacks the column(s) {', '.join(missing)}; it has: {present}. {fix}")


def existing_folder(path: str | Path, name: str) -> Path:
    """Returns `path` as a folder that exists.

    Args:
        path: What the caller gave.
        name: The argument's name, for the message.

    Raises:
        FileNotFoundError: If nothing is there.
        NotADirectoryError: If it is a file.
    """
    folder = Path(path).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"{name}: no folder at {str(path)!r}; check the spelling, or give its full path.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{name}: {str(path)!r} is a file, a folder was expected.")
    return folder


def existing_file(path: str | Path, name: str, fix: str = "check the spelling, or give its full path.") -> Path:
    """Returns `path` as a file that exists.

    Args:
        path: What the caller gave.
        name: The argument's name, for the message.
        fix: One sentence on what to do when it is missing.

    Raises:
        FileNotFoundError: If no file is there.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{name}: no file at {str(path)!r}; {fix}")
    return file
