"""Argument validation at the edge of the library: functions that return clean values or say what to do.

Each error names what came, what was expected and how to fix it.
"""

import difflib
import functools
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import storage
from chexkeras.progress import printable

if TYPE_CHECKING:
    import pandas as pd

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Raised = TypeVar("Raised", bound=Exception)


def in_a_sentence(error: Raised) -> Raised:
    """Returns an error that a notebook shows as what it says, without the hundred lines of where it was raised.

    IPython lets an error write its own traceback; everywhere else nothing changes.

    Args:
        error: One that says all that its reader needs.
    """
    said = f"{type(error).__name__}: {printable(str(error), chr(10))}"
    error._render_traceback_ = lambda: said.splitlines()  # type: ignore[attr-defined]
    return error


def sentences_in_notebooks(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Returns a function whose refusals (ValueError, OSError) a notebook shows by `in_a_sentence`.

    Args:
        function: One that refuses what its user has named before it does anything.
    """

    @functools.wraps(function)
    def wrapped(*arguments: Parameters.args, **options: Parameters.kwargs) -> Returned:
        try:
            return function(*arguments, **options)
        except (ValueError, OSError) as error:
            raise in_a_sentence(error)  # noqa: B904 - it is the same error

    return wrapped


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
    try:
        known = value in allowed
    except ValueError:
        # An array or a table, which is equal to nothing as a whole.
        known = False
    if not known:
        given = (
            f"{name}={value!r}; {nearest(value, allowed)}" if isinstance(value, str) else f"{name} is {said(value)}."
        )
        raise ValueError(f"{given} Expected one of: {', '.join(allowed)}.")
    return value


def no_such(name: object, known: Iterable[str], what: str) -> str:
    """Returns the message of a KeyError: what is not there, what looks like it, and what there is.

    Args:
        name: What was looked up.
        known: The names there are.
        what: What is said of a name that is not there, such as "was not evaluated".

    Example:
        >>> no_such("Mas", ["Mass", "Edema"], "was not evaluated")
        "'Mas' was not evaluated; did you mean 'Mass'? There are: Mass, Edema."
    """
    names = [str(each) for each in known]
    there = f"There are: {', '.join(names)}." if names else "There is none."
    return f"{shown(name)} {what}; {nearest(str(name), names)} {there}"


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
        # A text would pass here and fail where it is computed with.
        number = float("nothing" if isinstance(value, (str, bytes)) else value)
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


def numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Returns values as an array of float64, or says that they are no numbers.

    Args:
        values: What the caller gave; any shape.
        name: What they are called, for the message.

    Raises:
        ValueError: If they are text that is no number, dates, complex, or a list of unequal lists.
    """
    dtype = getattr(values, "dtype", None)
    if getattr(dtype, "kind", "") in ("c", "m", "M"):
        raise ValueError(f"{name} are {dtype} values; real numbers were expected.")
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} are not numbers ({error}); give a list or array of numbers.") from error


_LONGEST_SHOWN = 60


def is_table(value: object) -> bool:
    """Returns whether a value is a DataFrame, without importing pandas.

    Args:
        value: What the caller gave.
    """
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def is_short(value: object) -> bool:
    """Returns whether a value can be shown in a message: text or a number, as `shown` shows it.

    Args:
        value: What the caller gave.
    """
    return isinstance(value, (str, int, float, np.number))


def shown(value: object) -> str:
    """Returns a value as a message shows it: on one line, and no longer than a line.

    Args:
        value: What the caller gave.
    """
    text = repr(value)
    return printable(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")


def came(value: object) -> str:
    """Returns what came, in words, for a message.

    Args:
        value: What the caller gave.

    Example:
        >>> came(None), came("Mass"), came([1]), came(int)
        ('None', 'text', 'a list', 'the class int')
    """
    if value is None:
        return "None"
    if isinstance(value, str):
        return "text"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if is_table(value):
        return f"a table of {len(value):,} rows ({type(value).__name__})"  # type: ignore[arg-type]
    if isinstance(value, os.PathLike):
        return f"the path {shown(os.fspath(value))}"
    return with_article(type(value).__name__)


def said(value: object) -> str:
    """Returns what came, in words, and as it is where it is short.

    Args:
        value: What the caller gave.

    Example:
        >>> said(3), said([3])
        ('3, an int', 'a list')
    """
    return f"{shown(value)}, {came(value)}" if is_short(value) else came(value)


def with_article(name: str) -> str:
    """Returns a word with its article.

    Args:
        name: The word.
    """
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


_LONGEST_COLUMN = 100


def require_columns(frame: "pd.DataFrame", columns: Iterable[str], what: str, fix: str) -> None:
    """Checks that a table has the columns a step needs.

    Args:
        frame: The table.
        columns: The names needed.
        what: The table's name in the message, for example "Data_Entry_2017.csv".
        fix: One sentence on what to do.

    Raises:
        ValueError: If any is missing, the message lists them all; or stands there twice.
    """
    wanted = list(columns)
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        # A file that is no table may have all that it holds for a column.
        present = ", ".join(printable(str(column))[:_LONGEST_COLUMN] for column in frame.columns[:20])
        raise ValueError(f"{what} lacks the column(s) {', '.join(map(str, missing))}; it has: {present}. {fix}")
    refuse_repeated_columns(frame.columns[frame.columns.isin(wanted)], what)


def refuse_repeated_columns(columns: Iterable[object], what: str) -> None:
    """Checks that no two columns of a table have one name.

    Args:
        columns: The names.
        what: The table's name in the message.

    Raises:
        ValueError: If two have; the message lists the names.
    """
    counts = Counter(columns)
    repeated = sorted(str(name) for name, count in counts.items() if count > 1)
    if repeated:
        raise ValueError(f"{what} has more than one column for {', '.join(repeated)}; keep one of each.")


def typed_path(path: str | Path, name: str) -> Path:
    """Returns a path that a person gave, where a leading "~" stands for a home folder as in a shell.

    Only for what somebody typed. A path from a listing, a table's row or a file is taken as it is written: a folder may
    be called "~" or "~user", and its files are not those in that user's home. An absolute path is never changed.

    Args:
        path: What the caller gave.
        name: The argument's name, for the message.

    Raises:
        ValueError: If something is there under the very name, and something else in the home folder; or if it is the
            address of something in an object store.

    Example:
        >>> typed_path("runs/~first", "run") == Path("runs/~first")
        True
    """
    literal = storage.own_path(path, name)
    if not str(literal).startswith("~"):
        return literal
    # Not Path.expanduser, which fails where there is no such user, and which "./~user" reaches as "~user".
    home = Path(os.path.expanduser(path))
    if home != literal and not os.path.lexists(literal):
        return home
    if home != literal and os.path.lexists(home):
        raise ValueError(
            f"{name}: {str(path)!r} is here under this name, and in a home folder too; give the full path of the one "
            "that is meant."
        )
    return literal.absolute()


def existing_folder(path: str | Path, name: str) -> Path:
    """Returns `path`, as it is written, as a folder that exists; of what a person typed see `typed_path`.

    Args:
        path: What the caller gave.
        name: The argument's name, for the message.

    Raises:
        FileNotFoundError: If nothing is there.
        NotADirectoryError: If it is a file.
    """
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(f"{name}: no folder at {str(path)!r}; check the spelling, or give its full path.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{name}: {str(path)!r} is a file, a folder was expected.")
    return folder


def existing_file(path: str | Path, name: str, fix: str = "check the spelling, or give its full path.") -> Path:
    """Returns `path`, as it is written, as a file that exists; of what a person typed see `typed_path`.

    Args:
        path: What the caller gave.
        name: The argument's name, for the message.
        fix: One sentence on what to do when it is missing.

    Raises:
        FileNotFoundError: If no file is there.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{name}: no file at {str(path)!r}; {fix}")
    return file


# As text: what a table was written with that had no value there. "NA" may be a name.
_MISSING = frozenset({"nan", "NaN", "None", "<NA>", "NaT"})
# Digits of any script; a spreadsheet may write the decimal sign as a comma.
_NUMBER = re.compile(r"[+-]?\d{1,40}([.,]\d{1,40})?([eE][+-]?\d{1,3})?")
_ROUNDED = re.compile(r"[0-9]([.,][0-9]+)?E\+[0-9]+")
# Blanks that Python does not count as such: the mark at the beginning of a file, and one of no width.
_INVISIBLE = "\ufeff\u200b"
_DECIMAL_ZEROS = re.compile(r"([+-]?\d+)[.,]0+")


def identifiers(values: "ArrayLike | Iterable[object] | pd.Series", name: str) -> NDArray[np.object_]:
    """Returns the identifiers of a column as text, each patient or image written one way.

    A table that was put together of others may hold one patient as the number 1, as 1.0 (which pandas makes of it
    beside a blank) and as "1 ". As three patients their images would count as independent, and every interval would
    be too narrow. So whole numbers become text without a decimal point, and blanks around a text go. The texts "1" and
    "1.0" in one column are refused, since nothing tells whether they are one patient. "001" and "1" are two; of
    patients see `patient_identifiers`. What pandas, NumPy and Python write for a missing value is missing.

    Args:
        values: Shape (n,), text, numbers or both; missing values are allowed.
        name: What the identifiers are called, for the message, for example "patient_id".

    Returns:
        Shape (n,), text; None where a value is missing, "" where a text is blank.

    Raises:
        ValueError: If values are no single column, a number is infinite or too large for its type to tell it from
            its neighbours, or two texts differ only by zeros after the decimal point.

    Example:
        >>> identifiers(np.array([1, 1.0, "1 ", "001", None], dtype=object), "patient_id").tolist()
        ['1', '1', '1', '001', None]
    """
    import pandas as pd

    # NumPy would write a list of numbers and texts as texts, where 1.0 can no longer be told from "1.0".
    listed = isinstance(values, Iterable) and not isinstance(values, (str, bytes)) and not hasattr(values, "ndim")
    given: Any = np.fromiter(values, dtype=object) if listed else values  # type: ignore[arg-type]
    if getattr(given, "ndim", 0) != 1:
        raise ValueError(f"{name} has shape {np.shape(given)}; expected one column of identifiers.")
    column = pd.Series(given)
    try:
        codes, found = pd.factorize(column)
    except TypeError as error:
        raise ValueError(f"{name} holds values that are neither text nor numbers ({error}).") from error
    # Numbers in their own type, which says how exact they are.
    floating = isinstance(column.dtype, np.dtype) and column.dtype.kind == "f"
    distinct: Any = np.asarray(found, dtype=column.dtype) if floating else found  # type: ignore[arg-type]
    texts = [_stripped(value) if isinstance(value, str) else _identifier(value, name) for value in distinct]
    written = set(texts)
    plain_of: dict[str, str] = {}
    for text in sorted(text for text in written if text.endswith("0")):
        match = _DECIMAL_ZEROS.fullmatch(text)
        if match is None:
            continue
        plain = match[1]
        other = plain if plain in written else plain_of.setdefault(plain, text)
        if other != text:
            raise ValueError(
                f"{name} holds both {other!r} and {text!r}, which may be one or two; write each identifier in one way, "
                "numbers without a decimal point."
            )
    # One entry more, which the code of a missing value, -1, points at.
    return np.array([*(None if text in _MISSING else text for text in texts), None], dtype=object)[codes]


def patient_identifiers(values: "ArrayLike | Iterable[object] | pd.Series", name: str) -> NDArray[np.object_]:
    """Returns the identifiers of patients as `identifiers` does, and refuses those that could be one patient or two.

    "00001" and "1", or "1e3" and "1000", are one patient wherever tables of two origins were put together, and a
    patient taken for two has images on both sides of a split.

    Args:
        values: Shape (n,), text, numbers or both; missing values are allowed.
        name: What the identifiers are called, for the message.

    Returns:
        Shape (n,), text; None where a value is missing, "" where a text is blank.

    Raises:
        ValueError: As `identifiers`; if two texts are one number; or if a spreadsheet has rounded a number to a power
            of ten, since patients whose numbers are alike are then written alike.

    Example:
        >>> patient_identifiers(["7", "007"], "patient_id")
        Traceback (most recent call last):
        ValueError: patient_id holds both '007' and '7', which are one number and may be one patient or two; write ...
    """
    ids = identifiers(values, name)
    text_of: dict[Decimal, str] = {}
    for text in sorted({text for text in ids if text is not None and _NUMBER.fullmatch(text)}):
        if _ROUNDED.fullmatch(text):
            raise ValueError(
                f"{name} holds {text!r}, a number that a spreadsheet has rounded, so that several patients may be "
                "written alike; export the column as text."
            )
        other = text_of.setdefault(Decimal(text.replace(",", ".")), text)
        if other != text:
            raise ValueError(
                f"{name} holds both {other!r} and {text!r}, which are one number and may be one patient or two; write "
                "each patient in one way, and tell two patients apart by a letter before the number."
            )
    return ids


def _stripped(text: str) -> str:
    return text.strip().strip(_INVISIBLE).strip()


def _identifier(value: Any, name: str) -> str:
    if isinstance(value, (float, np.floating)):
        largest = 2 / float(np.finfo(type(value)).eps)
        if not abs(float(value)) <= largest:
            raise ValueError(
                f"{name} holds the number {float(value):g}, which a {type(value).__name__} does not tell from its "
                "neighbours; read the column as text (dtype=str)."
            )
        if value == int(value):
            return str(int(value))
        value = float(value)
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()


def is_loopback(host: str) -> bool:
    """Returns whether an address is this machine's own, which no other machine reaches.

    Args:
        host: Name or address, for example "127.0.0.1", "localhost" or "[::1]".
    """
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
