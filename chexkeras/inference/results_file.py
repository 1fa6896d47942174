"""Results in files: as CSV, one row a file and finding; as JSON lines, one a file; and read back from both."""

import csv
import json
import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from chexkeras import files

COLUMNS = (
    "file", "verdict", "code", "detail", "view", "age_years", "finding", "score", "threshold", "decision", "decoder",
    "engine", "seconds", "profile", "key",
)  # fmt: skip
"""Columns of the table of results; a rejected file has empty `finding`, `score`, `threshold` and `decision`."""

FINDING_COLUMNS = ("finding", "score", "threshold", "decision")
FILE_COLUMNS = (*COLUMNS, "fingerprint")
"""Columns of a results file: `fingerprint` says for which file, model, threshold and rules a row holds."""

SUFFIXES = (".csv", ".jsonl")

_FIELDS = (*(name for name in FILE_COLUMNS if name not in FINDING_COLUMNS), "findings")
_NUMBERS = ("age_years", "score", "threshold", "seconds")
_NOTHING = {"finding": "", "score": math.nan, "threshold": math.nan, "decision": ""}


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def rows_of(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the rows of one file: one a finding, or a single one without a score.

    Args:
        record: What `Predictor.records` yields.
    """
    common = {name: value for name, value in record.items() if name != "findings"}
    for finding in record["findings"] or (_NOTHING,):
        yield {**common, **finding}


def results_file(path: str | Path) -> Path:
    """Returns a path under which results can be written.

    Args:
        path: What the caller gave.

    Raises:
        ValueError: If it is a folder, or ends neither in .csv nor in .jsonl.
    """
    chosen = Path(path).expanduser()
    if chosen.is_dir():
        raise ValueError(f"{str(path)!r} is a folder; name the file to write, such as {str(chosen / 'results.csv')!r}.")
    if chosen.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{str(path)!r} ends in {chosen.suffix!r}; results are written as .csv or .jsonl.")
    return chosen


def to_line(record: dict[str, Any]) -> str:
    """Returns a record as one line of JSON, NaN as null, the codes as a list."""
    # In the same order whether it was scored or read back.
    plain = {name: None if _is_nan(record[name]) else record[name] for name in _FIELDS}
    plain["codes"] = [code for code in plain.pop("code").split(";") if code]
    return json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"


def from_line(line: str) -> dict[str, Any]:
    """Returns the record of one line of JSON.

    Raises:
        ValueError: If the line is no record.
    """
    plain = json.loads(line)
    try:
        codes, age = plain.pop("codes"), plain["age_years"]
        record = {**plain, "code": ";".join(codes), "age_years": math.nan if age is None else age}
        return {name: record[name] for name in _FIELDS}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no result: {type(error).__name__}") from None


def write_results(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Writes results, all or nothing; the name's ending says how.

    Args:
        path: A path of `results_file`.
        records: What `Predictor.records` yields, each with a "fingerprint".
    """
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        if path.suffix.lower() == ".jsonl":
            handle.writelines(map(to_line, records))
            return
        table = csv.DictWriter(handle, FILE_COLUMNS, lineterminator="\n")
        table.writeheader()
        for record in records:
            for row in rows_of(record):
                table.writerow({name: "" if _is_nan(value) else value for name, value in row.items()})


def read_results(path: Path) -> list[dict[str, Any]]:
    """Reads results back.

    Args:
        path: A file of `write_results`.

    Returns:
        The records; empty where there is no such file.

    Raises:
        ValueError: If it holds something else.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            if path.suffix.lower() == ".jsonl":
                return [from_line(line) for line in handle]
            return [_record(list(rows)) for _, rows in groupby(csv.DictReader(handle), key=lambda row: row["file"])]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(
            f"{str(path)!r} is no file of results of this version ({type(error).__name__}); name another file, or "
            "score the folder without resume and with overwrite=True (--overwrite) to replace it."
        ) from None


def _record(rows: list[dict[str, str]]) -> dict[str, Any]:
    values = [
        {name: _number(row[name]) if name in _NUMBERS else row[name] for name in FILE_COLUMNS} for row in rows
    ]  # fmt: skip
    findings = [{name: row[name] for name in FINDING_COLUMNS} for row in values if row["finding"]]
    common = {name: value for name, value in values[0].items() if name not in FINDING_COLUMNS}
    return {**common, "findings": findings}


def _number(text: str) -> float:
    return float(text) if text else math.nan
