"""Reading the files of a run folder, which may come from elsewhere: each holds what it should or is refused in words.

`Run` says which files there are and what they mean; here is only how any of them is opened.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from chexkeras import files
from chexkeras.checks import require_columns
from chexkeras.progress import printable
from chexkeras.runs import documents

FIX = "The file is damaged or was cut short: restore it, or train again."
"""What to do about a file that no run writes so, where no other advice is better."""
_LONGEST_WORDS = 500
_FROM_TEST = ("evaluation.json", "scores_test.csv")
_Record = TypeVar("_Record")


class RunFiles:
    """The files of one run folder, each opened by its name within the folder.

    Attributes:
        folder: Where the run lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str) -> bool:
        """Whether the run keeps a file of this name; many are there only where something was asked for.

        Args:
            name: The file's name.
        """
        return (self.folder / name).is_file()

    def file(self, name: str, most_bytes: int | None = None) -> Path:
        """Returns the path of a file of the run that is there and, with `most_bytes`, can be read.

        Args:
            name: The file's name.
            most_bytes: The largest size that is read; None to look only whether the file is there.

        Raises:
            FileNotFoundError: If the run has no such file.
            ValueError: If it is larger, no plain file, or a link to a file elsewhere.
        """
        path = self.folder / name
        if not path.is_file():
            self.refuse_what_has_no_test_part(name)
            raise FileNotFoundError(
                f"the run folder {str(self.folder)!r} has no {name}; train again, or restore that file. "
                "A run folder is what chexkeras train writes."
            )
        return path if most_bytes is None else files.readable(path, most_bytes, within=self.folder)

    def refuse_what_has_no_test_part(self, *names: str) -> None:
        """Says why a run has not been tested, where that is why it lacks a file: nothing is damaged then.

        Args:
            names: The files that it lacks.

        Raises:
            FileNotFoundError: If one of them is made on a test part, and the run's split has none.
        """
        split = self.folder / "splits.csv"
        if not set(names) & set(_FROM_TEST) or not split.is_file():
            return
        try:
            parts = set(self.table("splits.csv", ("part",), ("part",), dtype=str)["part"])
        except ValueError:
            return
        if parts and "test" not in parts:
            raise FileNotFoundError(
                f"the run in {str(self.folder)!r} has no test part: it is fitted to all images, as the final model of "
                "a cross-validation is, and what it is worth is estimated by the folds. Give the folder of the "
                "cross-validation to 'chexkeras report'; this run can score files ('chexkeras predict')."
            )

    def json(self, name: str, check: documents.Check) -> Any:
        """Returns a JSON document of the run that holds what it should.

        Args:
            name: The file's name.
            check: What it must hold, see `documents`.

        Raises:
            FileNotFoundError: If the run has no such file.
            ValueError: If it cannot be read, or holds something else.
        """
        document = files.read_json(self.file(name, files.MOST_JSON_BYTES))
        with fields_of(name):
            check(document, "")
        return document

    def record(
        self,
        name: str,
        from_dict: Callable[[Any], _Record],
        fix: str = FIX,
        check: Callable[[_Record], None] | None = None,
    ) -> _Record | None:
        """Returns the record that a JSON document of the run holds; None where the run has no such file.

        Args:
            name: The file's name.
            from_dict: Makes the record of the document, and raises what a wrong one raises.
            fix: The sentence that says how to get a right one.
            check: Called with the record; raises ValueError where it does not belong to this run.

        Raises:
            ValueError: If the file cannot be read, or holds something else.
        """
        if not self.has(name):
            return None
        document = files.read_json(self.file(name, files.MOST_JSON_BYTES))
        with fields_of(name, fix):
            found = from_dict(document)
            if check is not None:
                check(found)
        return found

    def table(
        self,
        name: str,
        columns: tuple[str, ...],
        filled: tuple[str, ...],
        numbers: tuple[str, ...] = (),
        **options: Any,
    ) -> pd.DataFrame:
        """Returns a table of the run that has its columns, with a value in every row of those that must be filled.

        Args:
            name: The name of the CSV file.
            columns: The columns that it must have; their texts are of a length that a person reads.
            filled: Those of them that have a value in every row.
            numbers: Those of them whose values are numbers, or blank.
            **options: Passed on to `files.read_csv`.

        Raises:
            FileNotFoundError: If the run has no such file.
            ValueError: If it cannot be read, or holds something else.
        """
        path = self.file(name, files.MOST_TABLE_BYTES)
        try:
            table = files.read_csv(path, **options)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{name} of the run cannot be read ({brief(error)}). {FIX}") from error
        require_columns(table, columns, f"{name} of the run", FIX)
        for column in filled:
            lacking = int((table[column].isna() | (table[column].astype(str) == "")).sum())
            if lacking:
                raise ValueError(f"{lacking} row(s) of the run's {name} have no {column}. {FIX}")
        for column in columns:
            texts = table[column].unique() if not pd.api.types.is_numeric_dtype(table[column]) else ()
            if any(isinstance(value, str) and len(value) > documents.LONGEST_TEXT for value in texts):
                raise ValueError(f"{name} of the run holds a text without end in {column}. {FIX}")
        for column in numbers:
            blank = table[column].isna() | (table[column].astype(str) == "")
            try:
                values = pd.to_numeric(table[column], errors="coerce").astype("float64")
                wrong = int((~np.isfinite(values) & ~blank).sum())
            except OverflowError:
                wrong = 1
            if wrong:
                raise ValueError(f"{wrong} row(s) of the run's {name} have no number in {column}. {FIX}")
        return table


@contextlib.contextmanager
def fields_of(name: str, fix: str = FIX) -> Iterator[None]:
    """Says which file of the run lacks a field, or holds something else in its place.

    Args:
        name: The file's name.
        fix: The sentence that says how to get a right one.

    Raises:
        ValueError: If what is done within raises an error that a wrong document causes.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"is not what a run writes ({brief(error)})"
        raise ValueError(f"{name} of the run {what}. {fix}") from error


def brief(error: Exception) -> str:
    """Returns an error's words, which may quote the file, as far as a sentence can hold them.

    Args:
        error: The error.
    """
    words = printable(str(error))
    return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]} ..."
