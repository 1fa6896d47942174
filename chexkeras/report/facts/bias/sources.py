"""Facts on results from another source than the run's: each number says what it was measured on."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from chexkeras.report.facts.facts import Facts

_FILE = "dicom_results.csv"
# Of these no header could be read that would tell where they come from.
_UNREAD = {"not_dicom", "unreadable", "too_large"}

ALL, SOME, NONE, NOT_RECORDED = "all", "some", "none", "not recorded"
"""How many of the DICOM files are marked as synthetic."""


def kind_of_files(results: pd.DataFrame) -> tuple[str, int]:
    """Returns how many of the files scored or refused are synthetic, in one word and as a number.

    Args:
        results: One row a file and finding; `synthetic` is missing from results of earlier versions.
    """
    files = results.drop_duplicates("file")
    told = files["synthetic"].fillna("").astype(str) if "synthetic" in files else pd.Series("", index=files.index)
    marked = int((told == "yes").sum())
    unmarked = int(((told != "yes") & ~files["code"].fillna("").isin(_UNREAD)).sum())
    if not marked:
        return (NONE if (told == "no").any() else NOT_RECORDED), 0
    return (SOME if unmarked else ALL), marked


def add_file_origin(facts: Facts, results: pd.DataFrame | None) -> None:
    """Records whether the DICOM files are synthetic, in the words that stand beside every number from them.

    Args:
        facts: Where they go; "source.synthetic" and "dicom.files" are there already.
        results: The run's results on DICOM files; None where none were scored.
    """
    kind, marked = (NONE, 0) if results is None else kind_of_files(results)
    field = "synthetic, as the files themselves say"
    nouns = {
        ALL: "synthetic DICOM files",
        SOME: f"DICOM files ({marked:,} of them synthetic)",
        NONE: "DICOM files",
        NOT_RECORDED: "DICOM files (whether synthetic was not recorded)",
    }
    beside = {
        ALL: " (synthetic files)",
        SOME: f" ({marked:,} of {facts['dicom.files'].value if results is not None else 0:,} files synthetic)",
        NONE: "",
        NOT_RECORDED: " (whether the files are synthetic was not recorded)",
    }
    facts.add("dicom.synthetic", kind, file=_FILE, field=field)
    facts.add("dicom.noun", nouns[kind], file=_FILE, field=field)
    facts.add("dicom.beside", beside[kind], beside[kind] or "", file=_FILE, field=field)
    note = "" if results is None else _difference(kind, marked, bool(facts["source.synthetic"].value))
    facts.add("dicom.origin_note", note, note, file=_FILE, field=f"{field}, against source.synthetic of the run")


def _difference(kind: str, marked: int, trained_on_synthetic: bool) -> str:
    """Returns what must be said where the files are of another origin than the images trained and tested on."""
    if kind in (ALL, SOME) and not trained_on_synthetic:
        which = "are synthetic" if kind == ALL else f"are in part synthetic ({marked:,})"
        return (
            f"The DICOM files scored with this run {which}, unlike the images that it was trained and tested on: what "
            "is told of them (verdicts, refusals, failure modes, processing time, baseline) shows that the software "
            "works, and is no evidence about clinical files."
        )
    if kind == NONE and trained_on_synthetic:
        return (
            "The DICOM files scored with this run are not marked as synthetic, unlike the images that it was trained "
            "and tested on: its scores and calls on them mean nothing."
        )
    return ""


def add_reading_origin(facts: Facts, key: str, run: Any, images: Iterable[str], file: str) -> None:
    """Records whether the images that readers read are the run's own, and synthetic.

    Args:
        facts: Where they go; "source.synthetic" is there already.
        key: "readers" or "reader_study".
        run: The `Run`.
        images: The image ids that were read.
        file: The table of readings.
    """
    read = set(map(str, images))
    foreign = len(read - set(run.table["image_id"].astype(str)))
    note = ""
    if foreign:
        note = (
            f"{foreign:,} of the {len(read):,} images that were read are not among this run's; where they come from, "
            "and whether they are synthetic, is not recorded here."
        )
    elif facts["source.synthetic"].value:
        note = "The images that were read are this run's own, and synthetic: no clinical evidence."
    facts.add(f"{key}.origin_note", note, note, file=file, field="image_id, against table.csv and source.synthetic")


def add_comparison_origin(facts: Facts, run: Any, other: Any, name: str) -> None:
    """Records whether another run was trained on images of another source.

    Args:
        facts: Where they go.
        run: The `Run` of the report.
        other: The other `Run`.
        name: What the other is called.
    """
    mine, theirs = run.provenance["source"], other.provenance["source"]
    note = ""
    if (mine["dataset"], mine["synthetic"]) != (theirs["dataset"], theirs["synthetic"]):
        note = (
            f"{name[0].upper()}{name[1:]} was trained on {_named(theirs)}, this run on {_named(mine)}: they have the "
            "test images in common, not what they learnt from."
        )
    facts.add("comparison.origin_note", note, note, file="provenance.json", field="source of both runs")


def _named(source: dict[str, Any]) -> str:
    return f"{source['dataset']} ({'synthetic' if source['synthetic'] else 'not synthetic'})"
