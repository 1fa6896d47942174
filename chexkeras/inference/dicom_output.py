"""The result of a scored film as DICOM files: what a run says of it, beside the film in its archive."""

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chexkeras
from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.dicom.objects.common import highdicom, save_object
from chexkeras.dicom.objects.source import SourceFilm, read_source
from chexkeras.dicom.objects.structured_report import structured_report
from chexkeras.dicom.objects.told import DeviceFacts, FilmResult, ScoredFinding, TestedFinding
from chexkeras.dicom.origin import YES
from chexkeras.dicom.profiles import CLINICAL, PROFILES, Profile
from chexkeras.dicom.read import is_dicom
from chexkeras.dicom.rules import RULE_BY_CODE
from chexkeras.progress import say
from chexkeras.results import Estimate
from chexkeras.runs.run import Run

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

KINDS = ("sr",)
"""What is made of a film: "sr", a structured report."""

ANSWERS = "submission.toml"
"""The file in a run folder with the sponsor's answers (`chexkeras report-init`), where there is one."""

_MANUFACTURER = "chexkeras"


@checked
class DicomOutput:
    """Writes DICOM objects of a run's results; safe to use from several threads.

    The same run on the same film gives objects with the same SOP instance UIDs, so that an archive recognises them.
    Objects hold the film's patient and study identifiers, and are readable by the owner of the files alone.

    Args:
        run: The run that scores the films.
        kinds: Which objects are made, of `KINDS`.
        heat_maps: Whether heat maps are part of the objects, where the run's maps passed their checks.

    Raises:
        FileNotFoundError: If a file of the run is missing.
        ValueError: If a kind is unknown or given twice, highdicom is not installed (extra "dicom-out"), or a file of
            the run or its answers is damaged.
    """

    def __init__(self, run: Run, kinds: tuple[str, ...] = KINDS, *, heat_maps: bool = True) -> None:
        self.kinds = checked_kinds(kinds)
        highdicom()
        self.device = device_facts(run)
        self._run, self._heat_maps = run, heat_maps
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def write(self, source: Path, record: dict[str, Any], folder: Path) -> list[Path]:
        """Writes the objects of one film.

        Args:
            source: The file that was scored.
            record: What became of it, as `Predictor.records` and `score_folder` give it.
            folder: Where the objects are written; made, for its owner alone, if it is not there.

        Returns:
            The files, each named by the SOP instance UID of its object; none of a file that is not DICOM.

        Raises:
            FileNotFoundError: If the film is gone.
            NotDescribable: A ValueError, if the film does not say which patient, study or instance it is; the message
                is one sentence without patient text.
            OSError: If nothing can be written there.
        """
        if not is_dicom(source):
            self._say_once("files that are no DICOM files have no DICOM objects: they name no patient and no study")
            return []
        film, result = read_source(source), film_result(record)
        return [save_object(_BUILDERS[kind](film, self.device, result), folder) for kind in self.kinds]

    def _say_once(self, sentence: str) -> None:
        with self._lock:
            if sentence in self._told:
                return
            self._told.add(sentence)
        say(sentence)


_BUILDERS: dict[str, Callable[[SourceFilm, DeviceFacts, FilmResult], "Dataset"]] = {"sr": structured_report}


def checked_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the kinds of objects in the order of `KINDS`.

    Args:
        kinds: Names of `KINDS`.

    Raises:
        ValueError: If there is none, one is unknown, or one stands there twice.
    """
    for kind in kinds:
        checks.one_of(kind, KINDS, "kinds")
    if not kinds or len(set(kinds)) < len(kinds):
        raise ValueError(f"kinds={kinds!r}: give each of {', '.join(KINDS)} once at most, and at least one.")
    return tuple(kind for kind in KINDS if kind in kinds)


def device_facts(run: Run) -> DeviceFacts:
    """Returns what objects say of a run: name, version, fingerprint, test figures, cautions, authorisation.

    Objects say NOT FOR CLINICAL USE unless the sponsor names a marketing authorisation as device.authorisation in the
    run's `ANSWERS`. A run on synthetic images says it whatever the sponsor answers.

    Args:
        run: The run.

    Raises:
        FileNotFoundError: If a file of the run is missing.
        ValueError: If a file of the run or its answers is damaged.
    """
    points = run.checked_points()
    stated = run.folder / ANSWERS
    answers = chexkeras.report.load_answers(stated) if stated.is_file() else None
    name = answers.get("device.name") if answers else None
    authorisation = (answers.get("device.authorisation") if answers else None) or ""
    evaluated = {entry.finding: entry for entry in run.evaluation.findings}
    tested = []
    for point in points:
        entry = evaluated.get(point.finding)
        at_another = (
            entry is None or entry.operating_point is None or entry.operating_point.threshold != point.threshold
        )
        missing = Estimate.not_estimable("the run has no test at this threshold")
        tested.append(
            TestedFinding(
                finding=point.finding,
                threshold=point.threshold,
                rule=str(point).partition(" by ")[2],
                auroc=missing if entry is None else entry.auroc,
                sensitivity=missing if entry is None or at_another else entry.sensitivity,
                specificity=missing if entry is None or at_another else entry.specificity,
            )
        )
    return DeviceFacts(
        name=str(name or f"chexkeras {run.recipe.name}"),
        version=chexkeras.__version__,
        manufacturer=str((answers.get("device.submitter") if answers else None) or _MANUFACTURER),
        fingerprint=run_fingerprint(run),
        tested=tuple(tested),
        cautions=run.cautions,
        authorisation="" if run.provenance["source"]["synthetic"] else authorisation,
    )


def run_fingerprint(run: Run) -> str:
    """Returns 16 hexadecimal digits that change with a run's model, its thresholds and this package's version.

    Args:
        run: The run.

    Raises:
        FileNotFoundError: If the run has no model.
        ValueError: If its model is not the one that was trained.
    """
    parts = [files.sha256_file(run.check_model()), [point.to_dict() for point in run.operating_points]]
    text = json.dumps([*parts, chexkeras.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def film_result(record: dict[str, Any], profile: Profile | None = None) -> FilmResult:
    """Returns a record as plain values for objects.

    Args:
        record: What became of a film, as `Predictor.records` gives it.
        profile: The gate's profile, for its words; by default the one of the record's name, or "clinical".
    """
    chosen = profile or PROFILES.get(str(record["profile"]).partition(",")[0], CLINICAL)
    if record["verdict"] == "reject":
        reason = str(record["detail"] or record["code"])
        return FilmResult((), (reason,), profile=str(record["profile"]))
    warnings = [
        f"{code}: expected {chosen.expected(code)}" for code in str(record["code"]).split(";") if code in RULE_BY_CODE
    ]
    if record.get("synthetic") == YES:
        warnings.append("the film says of itself that a program made it")
    findings = tuple(
        # Engines compute in fewer digits, and may end a rounding outside 0 to 1.
        ScoredFinding(
            entry["finding"], min(max(float(entry["score"]), 0.0), 1.0), float(entry["threshold"]), entry["decision"]
        )
        for entry in record["findings"]
    )
    return FilmResult(findings, (), tuple(warnings), str(record["engine"]), str(record["profile"]))
