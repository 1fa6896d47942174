"""The result of a scored film as DICOM files: what a run says of it, beside the film in its archive."""

import collections
import hashlib
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import chexkeras
from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.dicom import privacy
from chexkeras.dicom.objects.common import highdicom, save_object
from chexkeras.dicom.objects.film_map import FilmMap
from chexkeras.dicom.objects.presentation_state import presentation_state
from chexkeras.dicom.objects.secondary_capture import secondary_capture
from chexkeras.dicom.objects.source import NotDescribable, SourceFilm, read_source
from chexkeras.dicom.objects.structured_report import structured_report
from chexkeras.dicom.objects.told import DeviceFacts, FilmResult, MeasuredFinding, ScoredFinding
from chexkeras.dicom.origin import YES
from chexkeras.dicom.profiles import CLINICAL, PROFILES, Profile, find_profile
from chexkeras.dicom.read import Radiograph, is_dicom
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.rules import RULE_BY_CODE
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.inference.results_file import records_of
from chexkeras.inference.score_folder import files_by_name
from chexkeras.parallel import WorkersUnavailable
from chexkeras.progress import say, track
from chexkeras.report.answers import load_answers
from chexkeras.results import Estimate
from chexkeras.runs.run import Run

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

KINDS = ("sr", "sc", "pr")
"""What is made of a film: a structured report; a secondary capture of a film that was scored; a presentation state of
one that has a heat map."""

ANSWERS = "submission.toml"
"""The file in a run folder with the sponsor's answers (`chexkeras report-init`), where there is one."""

OBJECTS = ".chexkeras-objects.jsonl"
"""The hidden list, in a folder of objects, of which objects are of which film."""

_OBJECT = re.compile(r"2\.25\.\d{1,39}\.dcm")
_MANUFACTURER = "chexkeras"
_NEEDED = (
    *("file", "verdict", "code", "detail", "finding", "score", "threshold", "decision", "engine", "profile"),
    *("synthetic", "fingerprint"),
)
_ONE_WORKER = ReadOptions(workers=1)
_AS_DICOM = "files that are no DICOM files have no DICOM objects: they name no patient and no study"


@checked
class DicomOutput:
    """Writes DICOM objects of a run's results; safe to use from several threads, and in a ``with`` block.

    The same run on the same film gives objects with the same SOP instance UIDs, so that an archive recognises them.
    Objects hold the film's patient and study identifiers, and are readable by the owner of the files alone. Pixels are
    decoded by a worker process, within limits; heat maps start TensorFlow with the first film that needs one.

    Args:
        run: The run that scores the films.
        kinds: Which objects are made, of `KINDS`.
        heat_maps: Whether heat maps are part of the objects, where the run's maps passed their checks
            (`chexkeras explain`). Without them there is no presentation state.
        profile: The profile by which the films were judged; None takes the one that a record names, and "clinical"
            where that is one of your own.

    Raises:
        FileNotFoundError: If a file of the run is missing.
        ValueError: If a kind is unknown or given twice, highdicom is not installed (extra "dicom-out"), or a file of
            the run or its answers is damaged.
    """

    def __init__(
        self,
        run: Run,
        kinds: tuple[str, ...] = KINDS,
        *,
        heat_maps: bool = True,
        profile: str | Profile | None = None,
    ) -> None:
        self.kinds = checked_kinds(kinds)
        highdicom()
        self.device = device_facts(run)
        self._profile = None if profile is None else find_profile(profile)
        self._maps = _Maps(run, self._say_once) if heat_maps and {"sc", "pr"} & set(self.kinds) else None
        self._pools: dict[str, ReaderPool] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()
        if "pr" in self.kinds and self._maps is None:
            self._say_once("no presentation states are made: they mark contours of heat maps, which are left out")

    def __enter__(self) -> "DicomOutput":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker process; the next film starts another."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def write(self, source: Path, record: dict[str, Any], folder: Path) -> list[Path]:
        """Writes the objects of one film: of one that was not scored, the structured report that says why.

        Args:
            source: The file that was scored.
            record: What became of it, as `Predictor.records` and `score_folder` give it.
            folder: Where the objects are written; made, for its owner alone, if it is not there.

        Returns:
            The files, each named by the SOP instance UID of its object; none of a file that is not DICOM.

        Raises:
            FileNotFoundError: If the film is gone.
            NotDescribable: A ValueError, if the film does not say which patient, study or instance it is, or cannot be
                read again; the message is one sentence without patient text. Nothing is written then.
            OSError: If nothing can be written there.
            WorkersUnavailable: If the process that decodes cannot be started.
        """
        if not is_dicom(source):
            self._say_once(_AS_DICOM)
            return []
        try:
            made = self._made(source, record)
        except (NotDescribable, OSError, WorkersUnavailable):
            raise
        except privacy.decode_errors() as error:
            # What a library says may quote the film.
            reason = f"no DICOM object could be made of the film ({privacy.scrub(error)})."
            raise NotDescribable(reason) from None
        # Built first, all of them: a film has all of its objects or none.
        return [save_object(each, folder) for each in made]

    def _made(self, source: Path, record: dict[str, Any]) -> "list[Dataset]":
        profile = self._profile or _named(record)
        film, result = read_source(source), film_result(record, profile)
        made = [structured_report(film, self.device, result)] if "sr" in self.kinds else []
        if result.assessed and {"sc", "pr"} & set(self.kinds):
            made += self._pictures(source, film, result, profile)
        return made

    def _pictures(self, source: Path, film: SourceFilm, result: FilmResult, profile: Profile) -> "list[Dataset]":
        try:
            image = self._pool(profile).read(source)
        except DicomRejected as refused:
            raise NotDescribable(
                f"the film was scored and cannot be read again by the profile {profile.name!r} ({refused.code}); if it "
                "was judged by a profile of your own, give that profile."
            ) from None
        maps = self._maps.of(image) if self._maps else []
        made = []
        if "sc" in self.kinds:
            made.append(secondary_capture(film, self.device, result, image.pixels, maps))
        if "pr" in self.kinds and maps:
            if film.grey:
                made.append(presentation_state(film, self.device, result, image.turned, maps))
            else:
                self._say_once("films in colour have no presentation state: a grayscale one cannot refer to them")
        return made

    def _pool(self, profile: Profile) -> ReaderPool:
        with self._lock:
            if profile.name not in self._pools:
                self._pools[profile.name] = ReaderPool(profile, _ONE_WORKER)
            return self._pools[profile.name]

    def _say_once(self, sentence: str) -> None:
        with self._lock:
            if sentence in self._told:
                return
            self._told.add(sentence)
        say(sentence)


class _Maps:
    """Heat maps of a run, where they passed their checks; the model is loaded for the first film."""

    def __init__(self, run: Run, tell: Callable[[str], None]) -> None:
        # Keras starts here.
        from chexkeras.explanation.of_files import drawable_maps

        self._drawn = drawable_maps(run)
        self._run, self._tell = run, tell
        self._explainer: Any = None
        self._computing = threading.Lock()

    def of(self, image: Radiograph) -> list[FilmMap]:
        """Returns the maps of a film; none where the run's may not be drawn, which is said once."""
        if self._drawn.reason:
            # What follows tells how to draw unchecked maps all the same, which go into no object.
            reason = self._drawn.reason.partition(";")[0].removeprefix("no heat maps are drawn: ").rstrip(".")
            self._tell(f"DICOM objects without heat maps, and no presentation states: {reason}")
            return []
        with self._computing:
            from chexkeras.explanation.explain import WHAT_IT_IS_NOT, Explainer

            if self._explainer is None:
                drawn = self._drawn
                self._explainer = Explainer(
                    self._run, finding=drawn.findings, method=drawn.method, layer=drawn.layer, batch_size=1
                )
            pixels = self._pixels(image)
            made = self._explainer.explain(pixels[np.newaxis].astype(np.float32), ["0"])
        note = f"{self._drawn.note} {WHAT_IT_IS_NOT}"
        return [FilmMap(finding, made.of("0", finding), made.method, note) for finding in made.findings]

    def _pixels(self, image: Radiograph) -> np.ndarray:
        # TensorFlow starts here.
        from chexkeras.data.pixels import to_model_pixels

        return to_model_pixels(image.pixels[..., np.newaxis], self._explainer.image_px).numpy()


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
    answers = load_answers(stated) if stated.is_file() else None
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
            MeasuredFinding(
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


def _named(record: dict[str, Any]) -> Profile:
    """Returns the profile that a record names; one that `predict` varied is named after it."""
    return PROFILES.get(str(record["profile"]).partition(",")[0], CLINICAL)


def film_result(record: dict[str, Any], profile: Profile | None = None) -> FilmResult:
    """Returns a record as plain values for objects.

    Args:
        record: What became of a film, as `Predictor.records` gives it.
        profile: The gate's profile, for its words; by default the one of the record's name, or "clinical".
    """
    chosen = profile or _named(record)
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


def objects_folder(out: str | Path, scored: str | Path | None, *, replaces: bool = False, name: str = "out") -> Path:
    """Returns the folder that objects of files go to, if nothing but earlier ones can be lost.

    Args:
        out: What the caller gave.
        scored: The folder of the films, in which the objects must not lie, since they would be scored next time; None
            where films are in none that stays.
        replaces: Whether earlier objects may be replaced or added to.
        name: What the argument is called, for messages.

    Raises:
        FileExistsError: If it holds objects already, and they may not be replaced.
        OSError: If nothing can be written there.
        ValueError: If it is a file, lies in a run or in the folder of the films, or holds something else.
    """
    folder = files.output_folder(checks.typed_path(out, name), name, OBJECTS, "DICOM objects", overwrite=replaces)
    if scored is not None and folder.is_relative_to(Path(scored).resolve()):
        raise ValueError(
            f"{name} {str(out)!r} lies in the folder that is scored, and the objects would be scored next time; choose "
            "a place outside it."
        )
    return folder


@checked
def write_objects(
    output: DicomOutput,
    scored: str | Path,
    out: str | Path,
    results: pd.DataFrame,
    *,
    names: str = "path",
    resume: bool = False,
    overwrite: bool = False,
) -> int:
    """Writes the objects of every film of a folder that was scored; goes on where it was interrupted.

    A hidden list in the folder says which objects are of which film, by the film's name in the results. It is by this
    list that a later call knows what to keep, with `resume`, and what to remove.

    Args:
        output: What makes the objects.
        scored: The folder that was scored.
        out: Folder for the objects, a new one; made for its owner alone.
        results: What `score_folder` returned.
        names: How `results` names files, see `score_folder`.
        resume: Whether objects that are there stay, of films whose result has not changed.
        overwrite: Whether earlier objects in `out` are removed.

    Returns:
        How many objects the folder holds now.

    Raises:
        FileExistsError: If `out` holds objects already.
        OSError: If nothing can be written there.
        ValueError: If `out` holds something else, or is where the films are.
    """
    folder = objects_folder(out, scored, replaces=resume or overwrite)
    found = files_by_name(checks.existing_folder(checks.typed_path(scored, "scored"), "scored"), names)
    checks.require_columns(results, _NEEDED, "results", "Give what score_folder returned.")
    records = {record["file"]: record for record in records_of(results)}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    earlier = _listed(folder / OBJECTS)
    settings = f"{output.device!r}{output.kinds}"
    marks = {
        name: hashlib.sha256(f"{record['fingerprint']}{settings}".encode()).hexdigest()[:16]
        for name, record in records.items()
    }
    kept = {
        name: entry
        for name, entry in earlier.items()
        if resume and entry["mark"] == marks.get(name) and all((folder / each).is_file() for each in entry["objects"])
    }
    stay = {each for entry in kept.values() for each in entry["objects"]}
    for each in {each for entry in earlier.values() for each in entry["objects"]} - stay:
        (folder / each).unlink(missing_ok=True)
    missing = [name for name in records if name not in kept and name in found]
    refused: collections.Counter[str] = collections.Counter()
    _list_again(folder / OBJECTS, kept)
    with (folder / OBJECTS).open("a", encoding="utf-8") as listing:
        for name in track(missing, "writing DICOM objects", len(missing), lines=True):
            written: list[Path] = []
            try:
                written = output.write(found[name], records[name], folder)
            except (NotDescribable, FileNotFoundError) as error:
                refused[str(error) if isinstance(error, NotDescribable) else "the film is gone."] += 1
            entry = {"file": name, "mark": marks[name], "objects": [path.name for path in written]}
            stay.update(entry["objects"])
            listing.write(json.dumps(entry) + "\n")
            listing.flush()
    for reason, count in refused.items():
        say(f"{count} file(s) without DICOM objects: {reason}")
    return len(stay)


def objects_by_film(folder: Path) -> dict[str, list[Path]]:
    """Returns the objects that `write_objects` wrote into a folder, by the film's name in the results.

    Args:
        folder: The folder.
    """
    return {name: [folder / each for each in entry["objects"]] for name, entry in _listed(folder / OBJECTS).items()}


def _listed(path: Path) -> dict[str, dict[str, Any]]:
    """Returns what a list of objects says, by name of the film; lines that were cut off are left out."""
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            # What is listed is removed: nothing but objects of this package may be.
            if all(_OBJECT.fullmatch(each) for each in entry["objects"]):
                found[str(entry["file"])] = {**entry, "mark": str(entry["mark"])}
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _list_again(path: Path, entries: dict[str, dict[str, Any]]) -> None:
    with files.replacing(path, owner_only=True) as temporary:
        text = "".join(json.dumps(entry) + "\n" for entry in entries.values())
        temporary.write_text(text, encoding="utf-8")
