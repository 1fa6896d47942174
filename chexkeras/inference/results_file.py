"""Results of a folder in files: the formats that can be written, each read back too, and the journal of a run.

A format is one entry of `FORMATS`; the command line and Python users choose it by the ending of the path.
"""

import contextlib
import csv
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from chexkeras import files, storage
from chexkeras.arguments import checked
from chexkeras.progress import say
from chexkeras.storage import Place, Remote

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
"""One file's result: `FILE_COLUMNS` without `FINDING_COLUMNS`, and "findings", a list of dictionaries with these."""

COLUMNS = (
    "file", "verdict", "code", "detail", "view", "age_years", "finding", "score", "threshold", "decision", "decoder",
    "engine", "seconds", "profile", "key", "synthetic", "novelty", "novelty_threshold",
)  # fmt: skip
"""Columns of the table of results; a rejected file has empty `finding`, `score`, `threshold` and `decision`.

`synthetic` is "yes" where the file says that a program made its image, "no" where it does not, "" where nobody looked.
`novelty` says how unlike the training images the image is, and above `novelty_threshold` it is called so; both are
empty where the run has not learnt it, or the image was not read.
"""

FINDING_COLUMNS = ("finding", "score", "threshold", "decision")
FILE_COLUMNS = (*COLUMNS, "fingerprint")
"""Columns of a results file: `fingerprint` says for which file, model, threshold and rules a row holds."""

_FIELDS = (*(name for name in FILE_COLUMNS if name not in FINDING_COLUMNS), "findings")
_OF_FILES = ("age_years", "novelty", "novelty_threshold")
_NUMBERS = (*_OF_FILES, "score", "threshold", "seconds")
# Columns that results of earlier versions lack, and what they hold there.
_ADDED: dict[str, Any] = {"synthetic": "", "novelty": math.nan, "novelty_threshold": math.nan}
_NOTHING = {"finding": "", "score": math.nan, "threshold": math.nan, "decision": ""}


@dataclass(frozen=True)
class ResultsFormat:
    """One way to keep results on disk.

    Attributes:
        content: What it holds, for help texts, such as "one row a file and finding".
        write: Called with a path where there is nothing yet, with the records, and with the image file of each record
            by the record's "file". It writes them all. That all of it is kept or nothing, `write_results` sees to.
        read: Called with a path that was written; returns the records. Raises ValueError, KeyError, TypeError or
            csv.Error where it holds something else.
        is_own: Called with the first line of a file; returns whether it begins results in this format, which may be
            replaced.
        is_folder: Whether the path is a folder, for formats of one object an image. Such a format can keep the records
            in a file of `write_lines` beside the objects, from which `read_lines` reads them.
    """

    content: str
    write: Callable[[Path, Iterable[Record], Mapping[str, Place]], None]
    read: Callable[[Path], list[Record]]
    is_own: Callable[[str], bool]
    is_folder: bool = False


def write_table(path: Path, records: Iterable[Record], sources: Mapping[str, Place]) -> None:
    """Writes results as CSV, one row a file and finding.

    Args:
        path: The file to write.
        records: The results.
        sources: The image file of each record; not needed here.
    """
    with path.open("w", encoding="utf-8", newline="") as handle:
        table = csv.DictWriter(handle, FILE_COLUMNS, lineterminator="\n")
        table.writeheader()
        for row in (row for record in records for row in rows_of(record)):
            table.writerow({name: "" if _is_nan(value) else files.to_cell(value) for name, value in row.items()})


def read_table(path: Path) -> list[Record]:
    """Reads results from CSV.

    Args:
        path: A file of `write_table`.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        return [_record(list(rows)) for _, rows in groupby(csv.DictReader(handle), key=lambda row: row["file"])]


def _record(rows: list[dict[str, str]]) -> Record:
    values = [
        {name: _number(row[name]) if name in _NUMBERS else files.from_cell(row[name]) for name in FILE_COLUMNS}
        for row in (_ADDED | dict[str, Any](row) for row in rows)
    ]
    findings = [{name: row[name] for name in FINDING_COLUMNS} for row in values if row["finding"]]
    return {**{name: values[0][name] for name in _FIELDS[:-1]}, "findings": findings}


def _number(text: str | float) -> float:
    return float(text) if text or isinstance(text, float) else math.nan


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def rows_of(record: Record) -> Iterator[dict[str, Any]]:
    """Yields the rows of one file: one a finding, or a single one without a score.

    Args:
        record: What `Predictor.records` yields.
    """
    common = {name: value for name, value in record.items() if name != "findings"}
    for finding in record["findings"] or (_NOTHING,):
        yield {**common, **finding}


def records_of(results: "pd.DataFrame") -> Iterator[Record]:
    """Yields a record for each file of a table of results, in the order of the table.

    Args:
        results: What `score_folder` returned.
    """
    for _, rows in results.groupby("file", sort=False):
        record = {column: rows[column].iloc[0] for column in rows.columns if column not in FINDING_COLUMNS}
        scored = record["verdict"] != "reject"
        yield {**record, "findings": rows[list(FINDING_COLUMNS)].to_dict("records") if scored else []}


def write_lines(path: Path, records: Iterable[Record], sources: Mapping[str, Place]) -> None:
    """Writes results as lines of JSON, one a file.

    Args:
        path: The file to write.
        records: The results.
        sources: The image file of each record; not needed here.
    """
    with path.open("w", encoding="utf-8", newline="") as handle:
        handle.writelines(map(to_line, records))


def read_lines(path: Path) -> list[Record]:
    """Reads results from lines of JSON.

    Args:
        path: A file of `write_lines`.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        return [from_line(line) for line in handle]


def to_line(record: Record) -> str:
    """Returns a record as one line of JSON, NaN as null, the codes as a list."""
    # In the same order whether it was scored or read back.
    told = {**_ADDED, **record}
    plain: Record = {name: None if _is_nan(told[name]) else told[name] for name in _FIELDS}
    plain["codes"] = [code for code in plain.pop("code").split(";") if code]
    return json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"


def from_line(line: str) -> Record:
    """Returns the record of one line of JSON.

    Raises:
        ValueError: If the line is no record.
    """
    plain = json.loads(line)
    try:
        codes, told = plain.pop("codes"), {**_ADDED, **plain}
        numbers = {name: math.nan if told[name] is None else told[name] for name in _OF_FILES}
        record = {**told, **numbers, "code": ";".join(codes)}
        return {name: record[name] for name in _FIELDS}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no result: {type(error).__name__}") from None


def _begins_lines(first: str) -> bool:
    try:
        plain = json.loads(first)
    except ValueError:
        return False
    return isinstance(plain, dict) and {"file", "verdict", "codes"} <= plain.keys()


FORMATS: dict[str, ResultsFormat] = {
    ".csv": ResultsFormat(
        "one row a file and finding", write_table, read_table, lambda first: first.startswith("file,verdict,code,")
    ),
    ".jsonl": ResultsFormat("one line a file", write_lines, read_lines, _begins_lines),
}
"""The formats by the ending of the path, in lower case."""


def results_path(path: str | Path) -> Place:
    """Returns where results can be written: on this machine, or in an object store.

    Args:
        path: What the caller gave, a path or an address; its ending names one of `FORMATS`.

    Raises:
        ValueError: If it has another ending, is a folder where a file is to be written or the other way round, or is a
            folder that holds something else than results.
    """
    chosen = files.typed_place(path, "out")
    form = FORMATS.get(chosen.suffix.lower())
    if isinstance(chosen, Remote):
        if form is None or form.is_folder:
            endings = " or ".join(ending for ending, each in FORMATS.items() if not each.is_folder)
            raise ValueError(f"{chosen.url!r} ends in {chosen.suffix!r}; results there are written as {endings}.")
        return chosen
    if chosen.is_dir() and not (form and form.is_folder):
        raise ValueError(f"{str(path)!r} is a folder; name the file to write, such as {str(chosen / 'results.csv')!r}.")
    if form is None:
        raise ValueError(f"{str(path)!r} ends in {chosen.suffix!r}; results are written as {' or '.join(FORMATS)}.")
    if form.is_folder and chosen.is_file():
        raise ValueError(f"{str(path)!r} is a file; results that end in {chosen.suffix} are a folder, name a new one.")
    if form.is_folder and chosen.is_dir() and any(chosen.iterdir()):
        # It is going to be replaced as a whole, and with it whatever else lies in it.
        read_results(chosen)
    return chosen


@checked
def write_results(path: Place, records: Iterable[Record], sources: Mapping[str, Place] | None = None) -> None:
    """Writes results, all or nothing; the ending of the path says how.

    Args:
        path: A place of `results_path`.
        records: What `Predictor.records` yields, each with a "fingerprint".
        sources: The image file of each record, by the record's "file"; None where the format needs none.

    Raises:
        NotUploaded: If they did not get to an object store; they are kept on this machine.
    """
    form, sources = FORMATS[path.suffix.lower()], sources or {}
    if isinstance(path, Remote) or not form.is_folder:
        with files.replacing(path) as temporary:
            form.write(temporary, records, sources)
        return
    with files.replacing_folder(path) as new:
        form.write(new, records, sources)


@checked
def read_results(path: Place) -> list[Record]:
    """Reads results back.

    Args:
        path: A file, or a folder, of `write_results`, on this machine or in an object store.

    Returns:
        The records; empty where there is nothing.

    Raises:
        OSError: If an object store cannot be asked.
        ValueError: If it holds something else, or what an object store has is larger than `files.MOST_TABLE_BYTES`.
    """
    if not path.exists():
        return []
    if isinstance(path, Remote):
        # The formats read files.
        with tempfile.TemporaryDirectory() as folder:
            copied = Path(folder, f"results{path.suffix}")
            copied.write_bytes(storage.content(path.url, files.MOST_TABLE_BYTES))
            return _read(copied, path)
    return _read(path, path)


def _read(path: Path, meant: Place) -> list[Record]:
    try:
        return FORMATS[path.suffix.lower()].read(path)
    except (FileNotFoundError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(
            f"{str(meant)!r} is no file of results of this version ({type(error).__name__}); name another file, or "
            "score the folder without resume and with overwrite=True (--overwrite) to replace it."
        ) from None


_SYNC_EVERY = 64


class Journal:
    """Finished records in a hidden file beside the results, one line each; a crash costs the last few at most.

    While it is open no other process can open it: two runs into one file would lose the results of the first. Of
    results that go to an object store it lies on this machine (`storage.folder_of_output`), and no other finds it.

    Args:
        destination: Where the results will be written.
    """

    def __init__(self, destination: Place):
        if isinstance(destination, Remote):
            self.path = storage.folder_of_output(destination) / "journal"
        else:
            self.path = destination.with_name(f".{destination.name}.journal")
        self._destination = destination
        self._handle: BinaryIO | None = None
        self._begun = False
        self._unsynced = 0

    def read(self) -> list[dict[str, Any]]:
        """Returns the records of an interrupted run; a line that was cut off is left out, empty where there is none."""
        if not self.path.is_file():
            return []
        records = []
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            try:
                records.append(from_line(line.decode()))
            except ValueError:
                # A crash of the whole machine can leave blocks of zeros between lines.
                continue
        return records

    def open(self) -> None:
        """Makes ready to add records behind those that are there, and holds the journal against other processes.

        Raises:
            FileExistsError: If another process holds it.
            OSError: If it cannot be written, and neither could the results.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while self._handle is None:
                self._handle = self._held()
        except OSError as error:
            if error.errno is None or isinstance(self._destination, Remote):
                raise
            raise type(error)(
                f"no results can be written into {str(self.path.parent)!r} ({error.strerror}); choose a folder where "
                "you may write, with out='FOLDER/results.csv' (on the command line --out)."
            ) from None
        self._begun = False

    def _held(self) -> BinaryIO | None:
        """Returns the opened file, or None if it was removed before it was held."""
        handle = self.path.open("ab")
        try:
            _lock(handle, self._destination)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle.fileno()), self.path.stat()):
                    return handle
        except BaseException:
            handle.close()
            raise
        handle.close()
        return None

    def _opened(self) -> BinaryIO:
        if self._handle is None:
            raise ValueError("the journal is not open; call open() first.")
        return self._handle

    def add(self, record: dict[str, Any]) -> None:
        """Writes one record down; it is on the disk at the latest some records later."""
        handle = self._opened()
        if not self._begun and os.fstat(handle.fileno()).st_size:
            # The line after one that was cut off must not become part of it.
            handle.write(b"\n")
        self._begun = True
        handle.write(to_line(record).encode())
        handle.flush()
        self._unsynced += 1
        if self._unsynced >= _SYNC_EVERY:
            os.fsync(handle.fileno())
            self._unsynced = 0

    def clear(self) -> None:
        """Empties the journal, which stays open."""
        self._opened().truncate(0)

    def close(self) -> None:
        """Brings what was added onto the disk, and lets go of the journal; an empty one is removed.

        Raises:
            OSError: If the disk is full; what was there before is kept.
        """
        handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            os.fsync(handle.fileno())
            is_empty = not os.fstat(handle.fileno()).st_size
        except OSError:
            handle.close()
            raise
        if is_empty:
            self._handle = handle
            self.discard()
        else:
            handle.close()

    def discard(self) -> None:
        """Removes the journal, once the results are written, and lets go of it."""
        handle, self._handle = self._handle, None
        if handle is not None and os.name == "nt":
            # Windows removes no open file. Elsewhere it goes while it is held, so that nobody else holds what goes.
            handle.close()
        self.path.unlink(missing_ok=True)
        if handle is not None:
            handle.close()
        if isinstance(self._destination, Remote):
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()


def _lock(handle: BinaryIO, destination: Place) -> None:
    taken = f"another process is writing results to {str(destination)!r} at this moment; wait for it"
    if not files.lock(handle, f"{taken}, or name another file."):
        say(f"{destination.parent} knows no locks; take care that no other process writes to {destination.name}")
