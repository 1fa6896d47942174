"""Looking a data set over before training: files, pixels, labels, patients, splits and shortcuts.

Nothing is deleted or corrected. Images that cannot be used are left out of the audit's table and listed with the
reason; everything else is told and left to the reader.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.data.audit.appearance import appearance_issues, measured
from chexkeras.data.audit.image_checks import ImageFacts, blurred, duplicate_issues, image_issues, open_images
from chexkeras.data.audit.result import CODES, ERROR, Audit, AuditIssue
from chexkeras.data.audit.shortcuts import shortcuts
from chexkeras.data.audit.sites import site_shortcuts
from chexkeras.data.audit.table_checks import selection, split_issues, table_issues
from chexkeras.data.image_table import ImageTable, TableSource
from chexkeras.data.splits.splits import Splits
from chexkeras.parallel import HERE, Workplace, place_of

__all__ = ["CODES", "Audit", "audit"]

_log = logging.getLogger(__name__)


@checked
def audit(
    table: pd.DataFrame,
    splits: Splits | None = None,
    *,
    targets: str | Sequence[str] | None = None,
    decode: bool = True,
    missing: Literal["error", "skip"] = "error",
    processes: int | None = None,
    executor: str | Workplace = HERE,
) -> Audit:
    """Audits an image table and its images.

    Args:
        table: An image table.
        splits: A split of it, to check for patients and for equal or nearly equal images in several parts.
        targets: The findings whose shortcuts are measured; None takes every finding with at least 50 positive and 50
            negative images, an empty sequence none.
        decode: Whether to open every image; False checks the table alone.
        missing: What to do when images are missing, unreadable or constant: "error" raises, "skip" leaves them out of
            the audit's table and adds them to its source's ``left_out``.
        processes: Decode in this many processes instead of in threads, one per core. Threads are nearly as fast, since
            decoding leaves the interpreter free; processes need a script guarded by ``if __name__ == "__main__"``. On a
            cluster: how many of its processors take part; None takes all.
        executor: Where images are opened: "processes" (on this machine), "serial" (one after the other), "ray" (on a
            cluster, see `Workplace`); or a `Workplace`. The audit is the same.

    Returns:
        The audit. Where the images were chosen by their findings, its table's source carries a caution that says so.

    Raises:
        ValueError: If images cannot be used and `missing` is "error" (the message lists the first few), or a target is
            no label of the table.
        WorkersUnavailable: If the processes that read DICOM files cannot be started, there is no cluster, or its
            workers cannot be used.
    """
    place = place_of(executor)
    checks.one_of(missing, ("error", "skip"), "missing")
    fix = "Load it with open_data, or rename your columns."
    table = ImageTable.of(table, fix=fix)
    if decode:
        checks.require_columns(table, ("path",), "the table", fix)
    if processes is not None:
        checks.positive_int(processes, "processes")
    if targets:
        targets = table.targets(targets)
    issues = list(table_issues(table))
    if splits is not None:
        issues += split_issues(splits)
    facts: list[ImageFacts] = []
    thumbnails = np.zeros((0, 0, 0))
    unusable: dict[str, AuditIssue] = {}
    if decode:
        facts, thumbnails = open_images([str(path) for path in table["path"].fillna("")], processes, place)
        found = list(image_issues(table, facts))
        unusable = {issue.image_id: issue for issue in found if CODES[issue.code][0] == ERROR}
        if unusable and missing == "error":
            raise ValueError(_cannot_be_used(list(unusable.values()), len(table)))
        part_of = dict(zip(splits.assignment["image_id"], splits.assignment["part"], strict=True)) if splits else {}
        issues += [*found, *duplicate_issues(table, facts, thumbnails, part_of)]
        issues += appearance_issues(table, facts, thumbnails)
    usable = ~table["image_id"].isin(unusable).to_numpy()
    kept = table[usable].reset_index(drop=True)
    seen = [fact for fact, kept_one in zip(facts, usable, strict=True) if kept_one] if decode else []
    pictures = blurred(thumbnails[usable]) if decode else None
    chosen, caution = selection(kept, table)
    if unusable or caution:
        kept.attrs["source"] = _told(table.source, unusable, caution)
    if unusable:
        _log.warning("%d of %d images cannot be used and are left out", len(unusable), len(table))
    sized = _with_sizes(kept, seen)
    return Audit(
        table=kept,
        issues=_issue_table([*issues, *chosen]),
        checked=len(table),
        decoded=decode,
        sizes=tuple(Counter(f"{fact.size[0]} x {fact.size[1]}" for fact in facts if fact.mode).most_common()),
        split=splits.description if splits is not None else "",
        appearance=measured(facts),
        shortcuts=shortcuts(sized, targets, thumbnails=pictures),
        sites=() if targets is not None and not len(targets) else site_shortcuts(sized, targets, thumbnails=pictures),
    )


def _told(source: TableSource, unusable: dict[str, AuditIssue], caution: str) -> TableSource:
    """Returns the source with what was left out, and with the caution if there is one."""
    reasons = tuple((issue.image_id, f"{issue.code}: {issue.detail}") for issue in unusable.values())
    cautions = tuple(dict.fromkeys((*source.cautions, caution))) if caution else source.cautions
    return replace(source, left_out=(*source.left_out, *reasons), cautions=cautions)


def _with_sizes(table: pd.DataFrame, facts: Sequence[ImageFacts]) -> pd.DataFrame:
    """Returns the table with the sizes of the opened images, where it does not say how large the images were."""
    if not facts or "width_px" in table.columns:
        return table
    sizes = pd.DataFrame([fact.size for fact in facts], columns=["width_px", "height_px"], index=table.index)
    return table.assign(**sizes)


def _issue_table(issues: Iterable[AuditIssue]) -> pd.DataFrame:
    """Returns the issues, the gravest code first and within a code in table order."""
    rank = {code: position for position, code in enumerate(CODES)}
    ordered = sorted(issues, key=lambda issue: rank[issue.code])
    rows = [(issue.code, issue.image_id, CODES[issue.code][0], issue.detail) for issue in ordered]
    return pd.DataFrame(rows, columns=["code", "image_id", "severity", "detail"])


def _cannot_be_used(unusable: Sequence[AuditIssue], images: int) -> str:
    listed = "; ".join(f"{issue.image_id} ({issue.code}: {issue.detail})" for issue in unusable[:3])
    return (
        f"{len(unusable)} of {images} images cannot be used: "
        f"{listed}{'; ...' if len(unusable) > 3 else ''}. Replace the "
        "files, or leave these images out with missing='skip' (on the command line --missing skip); they are then "
        "listed with the reason."
    )
