"""Writes a worklist: the ending of the path says as what."""

import csv
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chexkeras import checks, files, storage
from chexkeras.arguments import checked
from chexkeras.delivery.dicom_output import device_facts
from chexkeras.delivery.worklist.fhir import WORKLIST, fhir_bundle
from chexkeras.delivery.worklist.hl7 import oru_batch
from chexkeras.delivery.worklist.identified import StudyResults, by_study
from chexkeras.delivery.worklist.order import GROUPS, WorklistEntry, reading_order
from chexkeras.dicom.objects.told import DeviceFacts
from chexkeras.inference.score_folder import files_by_name
from chexkeras.progress import say
from chexkeras.runs.run import Run
from chexkeras.storage import Place, Remote

COLUMNS = (
    "rank", "file", "group", "why", "finding", "score", "threshold", "call", "margin", "other_findings",
    "unlike_training", "codes", "key", "engine", "profile", "algorithm", "version", "run", "use", "cautions",
)  # fmt: skip
"""Columns of the table: provenance stands in every row, since rows are copied out of tables."""


@dataclass(frozen=True)
class WorklistFormat:
    """One way to write a worklist.

    Attributes:
        content: What it holds, for help texts.
        is_own: Called with the first line of a file, for JSON with all of it; whether it may be replaced.
        messages: Returns the text of messages; None for the table, which names nobody and needs no films.
    """

    content: str
    is_own: Callable[[str], bool]
    messages: Callable[[list[StudyResults], DeviceFacts, datetime], str] | None = None


def _is_bundle(text: str) -> bool:
    try:
        return bool(json.loads(text)["identifier"]["system"] == WORKLIST)
    except (ValueError, LookupError, TypeError):
        return False


FORMATS: dict[str, WorklistFormat] = {
    ".csv": WorklistFormat("one row a film, nobody named", lambda first: first.startswith("rank,file,group,why,")),
    ".hl7": WorklistFormat(
        "a batch of HL7 2.5.1 messages, one ORU^R01 a study",
        lambda first: first.startswith("FHS|^~\\&|CHEXKERAS|"),
        oru_batch,
    ),
    ".json": WorklistFormat(
        "a FHIR R4 bundle with Observations and the reading order",
        _is_bundle,
        lambda studies, device, made: json.dumps(fhir_bundle(studies, device, made), indent=1, ensure_ascii=False),
    ),
}
"""The formats by the ending of the path, in lower case. Those with messages name patients and studies."""


def check_worklist(path: Place, films: Path | None, name: str = "out", *, needs_films: bool = True) -> WorklistFormat:
    """Returns the format of a path, if it can be written with what is there.

    Args:
        path: Where to write.
        films: The folder of the films; None where it is not known.
        name: What the argument is called, for messages.
        needs_films: Whether messages need the folder by now.

    Raises:
        ValueError: If the path has another ending, or a message is wanted without films, or in an object store.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        endings = ", ".join(f"{ending} ({each.content})" for ending, each in FORMATS.items())
        raise ValueError(f"{name} {str(path)!r} ends in {path.suffix!r}; a worklist is written as {endings}.")
    if form.messages and isinstance(path, Remote):
        raise ValueError(
            f"{name} {path.url!r}: messages name patient and study, and who reads them in an object store is decided "
            "by its owner; give a path of this machine, or write the table (.csv), which names nobody."
        )
    if form.messages and films is None and needs_films:
        raise ValueError(
            f"{name} {str(path)!r}: messages name patient and study, which only the films say; give the folder of the "
            "films, with films=FOLDER (on the command line --films FOLDER)."
        )
    return form


@checked
def write_worklist(
    run: Run,
    records: Iterable[dict[str, Any]],
    out: str | Path,
    *,
    films: str | Path | None = None,
    names: str = "path",
    made: datetime | None = None,
) -> list[WorklistEntry]:
    """Writes films in the order in which they are worth reading, whole or not at all.

    A table names files as the results do, and nobody else. Messages name patient and study, which are read from the
    films, and are readable by their owner alone; a film that does not say whose it is has none, which is said.

    Args:
        run: The run that scored the films.
        records: What became of each film, as `read_results` and `Predictor.records` give it.
        out: Where to write; the ending names one of `FORMATS`: ".csv", ".hl7" or ".json". The table may go to an
            address in an object store.
        films: The folder of the films, for messages.
        names: How the results name files, see `score_folder`.
        made: When messages say that they were made, with its time zone; by default now.

    Returns:
        The worklist.

    Raises:
        FileNotFoundError: If the run lacks a file, or the folder is not there.
        OSError: If nothing can be written there.
        ValueError: If the results are those of another run, there are none, the path has another ending, or films are
            missing for messages.
    """
    path = files.typed_place(out, "out")
    if isinstance(path, Remote):
        storage.check_writable(path, "out")
    folder = None if films is None else checks.existing_folder(checks.typed_path(films, "films"), "films")
    form = check_worklist(path, folder)
    known = list(records)
    if not known:
        raise ValueError("there are no results to order; score files first, with 'chexkeras predict'.")
    device = device_facts(run)
    _check_run(device, known)
    entries = reading_order(known)
    if form.messages is None:
        with files.replacing(path) as temporary:
            _write_table(temporary, entries, device)
        return entries
    studies, left = by_study(entries, files_by_name(folder, names) if folder else {})
    for reason, count in left.items():
        say(f"{count} film(s) without a message, which the table (.csv) has: {reason}")
    text = form.messages(studies, device, made or datetime.now(UTC))
    with files.replacing(path, owner_only=True) as temporary:
        temporary.write_bytes(text.encode())
    return entries


def _check_run(device: DeviceFacts, records: list[dict[str, Any]]) -> None:
    """Refuses results at other thresholds: the provenance would be wrong."""
    thresholds = {each.finding: each.threshold for each in device.tested}
    for finding in (finding for record in records for finding in record["findings"]):
        name, threshold = finding["finding"], float(finding["threshold"])
        if not math.isclose(thresholds.get(name, math.nan), threshold, rel_tol=1e-9):
            raise ValueError(
                f"these results are of another run: they call {name} positive from {threshold:.6g} on, and the run "
                f"{'has no such finding' if name not in thresholds else f'from {thresholds[name]:.6g}'}; name the run "
                "that made them."
            )


def _write_table(path: Path, entries: list[WorklistEntry], device: DeviceFacts) -> None:
    shared = {
        "algorithm": device.name, "version": device.version, "run": device.fingerprint, "use": device.mark,
        "cautions": " ".join(device.cautions),
    }  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as handle:
        table = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        table.writeheader()
        for entry in entries:
            leading, record = entry.leading, entry.record
            why = " ".join(entry.result.reasons) or GROUPS[entry.group]
            row = {
                "rank": entry.rank, "file": entry.file, "group": entry.group, "why": why,
                "finding": leading.finding if leading else "", "score": leading.score if leading else "",
                "threshold": leading.threshold if leading else "", "call": leading.call if leading else "",
                "margin": f"{entry.margin:.6f}" if leading else "", "other_findings": ";".join(entry.others),
                "unlike_training": "yes" if entry.unlike else "", "codes": record["code"],
                "key": record.get("key", ""), "engine": record["engine"], "profile": record["profile"], **shared,
            }  # fmt: skip
            table.writerow({name: files.to_cell(value) for name, value in row.items()})
