"""Looking a data set over before training: files, pixels, labels, patients and splits.

Nothing is deleted or corrected. Films that cannot be used are left out of the audit's table and listed with the
reason; everything else is told and left to the reader.
"""

import logging
import multiprocessing
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from typing import Literal, NamedTuple

import pandas as pd

from chexkeras import checks, findings, progress
from chexkeras.data import columns
from chexkeras.data.audit_result import CODES, ERROR, Audit
from chexkeras.data.film_facts import FilmFacts, film_facts
from chexkeras.data.source import source_of
from chexkeras.data.splits import Splits

__all__ = ["CODES", "Audit", "audit"]

_log = logging.getLogger(__name__)


class _Issue(NamedTuple):
    code: str
    image_id: str
    detail: str


def audit(
    table: pd.DataFrame,
    splits: Splits | None = None,
    *,
    decode: bool = True,
    missing: Literal["error", "skip"] = "error",
    processes: int | None = None,
) -> Audit:
    """Audits an image table and its films.

    Args:
        table: An image table.
        splits: A split of it, to check for patients and for equal films in several parts.
        decode: Whether to open every film; False checks the table alone.
        missing: What to do when films are missing, unreadable or constant: "error" raises, "skip" leaves them out of
            the audit's table and adds them to its source's ``left_out``.
        processes: Decode in this many processes instead of in threads, one per core. Threads are nearly as fast, since
            decoding leaves the interpreter free; processes need a script guarded by ``if __name__ == "__main__"``.

    Returns:
        The audit.

    Raises:
        ValueError: If films cannot be used and `missing` is "error"; the message lists the first few.
    """
    checks.one_of(missing, ("error", "skip"), "missing")
    needed = ("image_id", "path", "patient_id") if decode else ("image_id", "patient_id")
    checks.require_columns(table, needed, "the table", "Load it with load_nih, or rename your columns.")
    if processes is not None:
        checks.positive_int(processes, "processes")
    issues = list(_label_issues(table))
    unusable: dict[str, _Issue] = {}
    sizes: list[tuple[str, int]] = []
    part_of = dict(zip(splits.assignment["image_id"], splits.assignment["part"], strict=True)) if splits else {}
    if decode:
        facts = _decode([str(path) for path in table["path"].fillna("")], processes)
        pixel_issues = list(_pixel_issues(table, facts, part_of))
        unusable = {issue.image_id: issue for issue in pixel_issues if CODES[issue.code][0] == ERROR}
        if unusable and missing == "error":
            raise ValueError(_cannot_be_used(list(unusable.values()), len(table)))
        issues += pixel_issues
        sizes = Counter(f"{fact.size[0]} x {fact.size[1]}" for fact in facts if fact.mode).most_common()
    if splits is not None:
        issues += _split_issues(splits)

    kept = table[~table["image_id"].isin(unusable)].reset_index(drop=True)
    kept.attrs = dict(table.attrs)
    if unusable:
        source = source_of(table)
        reasons = tuple((issue.image_id, f"{issue.code}: {issue.detail}") for issue in unusable.values())
        kept.attrs["source"] = replace(source, left_out=(*source.left_out, *reasons))
        _log.warning("%d of %d films cannot be used and are left out", len(unusable), len(table))
    return Audit(
        table=kept,
        issues=_issue_table(issues),
        checked=len(table),
        decoded=decode,
        sizes=tuple(sizes),
        split=splits.description if splits is not None else "",
    )


def _decode(paths: Sequence[str], processes: int | None) -> list[FilmFacts]:
    if processes is None:
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
            return list(progress.track(threads.map(film_facts, paths), "opening films", total=len(paths)))
    # Forking a process that runs TensorFlow's threads can hang it: always start fresh ones.
    with ProcessPoolExecutor(max_workers=processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(progress.track(pool.map(film_facts, paths, chunksize=32), "opening films", total=len(paths)))


def _pixel_issues(table: pd.DataFrame, facts: Sequence[FilmFacts], part_of: dict[str, str]) -> Iterator[_Issue]:
    images = table["image_id"].tolist()
    patients = table["patient_id"].tolist()
    usual = Counter(fact.size for fact in facts if fact.mode).most_common(1)
    same: dict[str, list[int]] = defaultdict(list)
    for row, (image, fact) in enumerate(zip(images, facts, strict=True)):
        if fact.problem:
            yield _Issue(fact.problem, image, fact.detail)
            continue
        same[fact.digest].append(row)
        if fact.size != usual[0][0]:
            (width, height), (usual_width, usual_height) = fact.size, usual[0][0]
            yield _Issue("unusual_size", image, f"{width} x {height}; most are {usual_width} x {usual_height}")
        if fact.mode != "L":
            content = "colour" if fact.colour else "gray"
            yield _Issue("not_grayscale", image, f"{content} pixels stored as {fact.mode}")
    for rows in same.values():
        first = rows[0]
        for row in rows[1:]:
            yield _Issue("duplicate_pixels", images[row], f"same pixels as {images[first]}")
            if patients[row] != patients[first]:
                detail = f"patient {patients[row]}; same pixels as {images[first]} of patient {patients[first]}"
                yield _Issue("same_image_two_patients", images[row], detail)
            here, there = part_of.get(images[row], ""), part_of.get(images[first], "")
            if here != there:
                yield _Issue("duplicate_crosses_split", images[row], f"in {here}; {images[first]} is in {there}")


def _label_issues(table: pd.DataFrame) -> Iterator[_Issue]:
    contradictory = set(source_of(table).contradictory)
    if findings.NO_FINDING in table.columns:
        labels = [column for column in columns.finding_columns(table) if column in findings.NIH14]
        both = (table[findings.NO_FINDING] == 1) & (table[labels] == 1).any(axis=1)
        contradictory |= set(table["image_id"][both])
    if contradictory:
        for image in table["image_id"][table["image_id"].isin(contradictory)]:
            yield _Issue("label_contradiction", image, f"{findings.NO_FINDING} together with a finding")
    if "age_years" in table.columns:
        for image in table["image_id"][table["age_years"].isna()]:
            yield _Issue("implausible_age", image, "blank, or outside 0 to 120 years")
    yield from _outside(table, "sex", ("M", "F"))
    yield from _outside(table, "view", ("PA", "AP"))


def _outside(table: pd.DataFrame, column: str, known: tuple[str, ...]) -> Iterator[_Issue]:
    if column not in table.columns:
        return
    odd = table[~table[column].isin(known)]
    for image, value in zip(odd["image_id"], odd[column], strict=True):
        yield _Issue(f"unknown_{column}", image, f"{value!r}" if isinstance(value, str) and value else "blank")


def _split_issues(splits: Splits) -> Iterator[_Issue]:
    assignment = splits.assignment[splits.assignment["patient_id"].isin(splits.crossing_patients)]
    for patient, rows in assignment.groupby("patient_id", sort=False):
        counts = ", ".join(f"{part} {count}" for part, count in rows["part"].value_counts(sort=False).items())
        yield _Issue("patient_crosses_split", rows["image_id"].iloc[0], f"patient {patient}: {counts}")


def _issue_table(issues: Iterable[_Issue]) -> pd.DataFrame:
    """Returns the issues, the gravest code first and within a code in table order."""
    rank = {code: position for position, code in enumerate(CODES)}
    ordered = sorted(issues, key=lambda issue: rank[issue.code])
    rows = [(issue.code, issue.image_id, CODES[issue.code][0], issue.detail) for issue in ordered]
    return pd.DataFrame(rows, columns=["code", "image_id", "severity", "detail"])


def _cannot_be_used(unusable: Sequence[_Issue], films: int) -> str:
    listed = "; ".join(f"{issue.image_id} ({issue.code}: {issue.detail})" for issue in unusable[:3])
    return (
        f"{len(unusable)} of {films} films cannot be used: {listed}{'; ...' if len(unusable) > 3 else ''}. Replace the "
        "files, or leave these films out with missing='skip' (they are then listed with the reason)."
    )
