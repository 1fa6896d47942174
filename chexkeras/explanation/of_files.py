"""Heat maps of files, one after the other, and which heat maps of a run may be drawn: those that passed checks."""

import contextlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chexkeras.arguments import checked
from chexkeras.dicom.workers.options import ISOLATED, ReadOptions
from chexkeras.evaluation.scores import scores_fingerprint
from chexkeras.explanation.explain import AcceptedFile, Explainer, accepted, findings_wanted
from chexkeras.explanation.heatmaps import Heatmaps
from chexkeras.explanation.methods import METHODS
from chexkeras.inference.ensemble import Ensemble
from chexkeras.inference.given_images import as_path
from chexkeras.results import HeatmapStudy
from chexkeras.results.heatmaps import DEPENDS
from chexkeras.runs.run import HEATMAPS, Run

if TYPE_CHECKING:
    from chexkeras.dicom.profiles import Profile

UNCHECKED = "NOT CHECKED: nobody has shown that this heat map depends on the model."
"""What stands on a heat map that is drawn although its run has not passed the checks."""

_SHOWN_PX = 1024
_HOW = "run 'chexkeras explain' on it first, or give unchecked=True (on the command line --unchecked-heatmaps)"


@dataclass(frozen=True)
class DrawableMaps:
    """Which heat maps of a run are drawn, or why none are.

    Attributes:
        findings: The findings.
        method: Of the maps.
        layer: The layer that was checked; None for the last one with rows and columns.
        note: What stands on every map: that they were checked, or were not.
        reason: Why none are drawn, one sentence; empty where they are.
    """

    findings: tuple[str, ...]
    method: str
    layer: str | None
    note: str
    reason: str = ""


@checked
def drawable_maps(
    run: Run | Ensemble | str | Path,
    *,
    finding: str | Sequence[str] | None = None,
    method: str | None = None,
    unchecked: bool = False,
) -> DrawableMaps:
    """Returns which heat maps of a run may be drawn of images that nobody has read yet.

    A map that was not shown to depend on the model may show nothing of it, and looks as convincing. So only the
    finding, method and layer are drawn that `study_heatmaps` found to depend on the model, on the scores on file;
    occlusion asks the model itself and needs no check. Of an ensemble every member must have passed.

    Args:
        run: A run, its folder, or an ensemble.
        finding: One of the run's findings, or several; None takes the one that was checked, and without checks all.
        method: One of `METHODS`; None takes the one that was checked, and without checks "gradcam".
        unchecked: Whether maps are drawn whatever was found out about them; they then say so.

    Raises:
        FileNotFoundError: If a folder is no run.
        ValueError: If the finding or the method is unknown.
    """
    ensemble = run if isinstance(run, Ensemble) else Ensemble.of([run])
    if finding is not None:
        findings_wanted(finding, ensemble.targets)
    if method is not None:
        METHODS.find(method, "method")
    studies = [_current_study(member) for member in ensemble.members]
    first = next((study for study in studies if study is not None), None)
    given = method or (first.checks.method if first is not None else "gradcam")
    checked = (first.finding,) if first is not None else ensemble.targets
    wanted = findings_wanted(finding, ensemble.targets) if finding is not None else checked
    if METHODS[given].formula is None:
        return DrawableMaps(wanted, given, None, "Occlusion: by how much the score falls where the image is covered.")
    layers = {study.checks.layer for study in studies if study is not None}
    layer = layers.pop() if len(layers) == 1 and first is not None and given == first.checks.method else None
    reasons = [_reason(member, study, wanted, given) for member, study in zip(ensemble.members, studies, strict=True)]
    reason = next(filter(None, reasons), "")
    if not reason and layer is None:
        reason = "no heat maps are drawn: those of the ensemble's runs were checked at different layers."
    if unchecked:
        return DrawableMaps(wanted, given, layer, UNCHECKED if reason else _passed(studies))
    return DrawableMaps(wanted, given, layer, "" if reason else _passed(studies), reason)


def note_output(run: Run, *, drawn: bool) -> None:
    """Notes with a run whether its heat maps are part of what the device gives, by which its report is worded.

    Args:
        run: A run; one that was never studied keeps nothing.
        drawn: Whether heat maps were drawn of the files whose results the run keeps.
    """
    study = run.heatmaps
    if study is not None and study.part_of_output != drawn:
        replace(study, part_of_output=drawn).save(run.folder / HEATMAPS)


def _current_study(run: Run) -> HeatmapStudy | None:
    """Returns what was found out about a run's heat maps, if it was found on the scores on file."""
    study = run.heatmaps
    return study if study is not None and study.scores_fingerprint == scores_fingerprint(run.scores("test")) else None


def _reason(run: Run, study: HeatmapStudy | None, wanted: tuple[str, ...], method: str) -> str:
    name = run.folder.name
    if study is None:
        stale = "were checked on other scores than those on file" if run.heatmaps else "were never checked"
        return f"no heat maps are drawn: those of the run {name!r} {stale}; {_HOW}."
    if study.checks.verdict != DEPENDS:
        found = f"the checks of the run {name!r} found: {study.checks.verdict} ({study.checks.reason})"
        return f"no heat maps are drawn: {found}; unchecked=True (--unchecked-heatmaps) draws them all the same."
    others = [finding for finding in wanted if finding != study.finding]
    if others or method != study.checks.method:
        asked = f"{', '.join(others or wanted)} by {method}"
        return (
            f"no heat maps are drawn: the run {name!r} was checked for {study.finding} by {study.checks.method}, not "
            f"for {asked}; {_HOW}."
        )
    return ""


def _passed(studies: Sequence[HeatmapStudy | None]) -> str:
    counted = ", ".join(str(study.checks.n_images) for study in studies if study is not None)
    return f"In checks on {counted} test images these heat maps depended on the model."


class ExplainedFile(NamedTuple):
    """A file with its heat maps.

    Attributes:
        path: The file.
        shown: uint8 array (rows, columns), 0-255: the image as it is shown, reduced where it is large.
        turned: Whether the image was turned upright, so that the map does not lie as the pixels are stored.
        maps: The heat maps of this one image.
    """

    path: Path
    shown: NDArray[np.uint8]
    turned: bool
    maps: Heatmaps


@checked
def explain_files(
    explainer: Explainer,
    files: Iterable[str | Path],
    *,
    profile: "str | Profile" = "clinical",
    read_options: ReadOptions = ISOLATED,
    refused: list[str] | None = None,
) -> Generator[ExplainedFile, None, None]:
    """Yields the files that the gate accepts with their heat maps, in order; few images are in memory at a time.

    Args:
        explainer: The models.
        files: DICOM, PNG and JPEG files.
        profile: The DICOM gate's profile.
        read_options: How many worker processes read, and their limits.
        refused: Receives the code of each file that is refused and so has no map.

    Yields:
        The files in the order given, without those that are refused.
    """
    size, codes = explainer.image_px, refused if refused is not None else []
    paths = [as_path(file) for file in files]
    waiting: list[AcceptedFile] = []
    with contextlib.closing(accepted(paths, size, profile, read_options, codes, ahead=explainer.batch_size)) as read:
        for file in read:
            waiting.append(file)
            if len(waiting) == explainer.batch_size:
                yield from _explained(explainer, waiting)
                waiting = []
    if waiting:
        yield from _explained(explainer, waiting)


def _explained(explainer: Explainer, batch: Sequence[AcceptedFile]) -> Generator[ExplainedFile, None, None]:
    names = [str(place) for place in range(len(batch))]
    maps = explainer.explain(np.stack([file.pixels for file in batch]), names)
    for name, file in zip(names, batch, strict=True):
        image = Image.fromarray(file.image.pixels)
        image.thumbnail((_SHOWN_PX, _SHOWN_PX))
        yield ExplainedFile(file.path, np.asarray(image), bool(file.image.turned), maps.only([name]))
