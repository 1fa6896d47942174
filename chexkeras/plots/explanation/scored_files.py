"""Heat maps of scored files: a PNG for each, and a table that says which image is of which file."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import existing_folder, require_columns, typed_path
from chexkeras.dicom.workers.options import ISOLATED, ReadOptions
from chexkeras.plots import style
from chexkeras.plots.explanation.heatmaps import heatmap
from chexkeras.progress import say, track
from chexkeras.results import OperatingPoint

if TYPE_CHECKING:
    from chexkeras.dicom.profiles import Profile
    from chexkeras.explanation.of_files import DrawableMaps, ExplainedFile
    from chexkeras.inference.ensemble import Ensemble
    from chexkeras.inference.test_time_augmentation import TestTimeAugmentation
    from chexkeras.runs.run import Run

NOT_A_DEVICE = "Not a medical device."
"""What stands on every heat map of a file."""

INDEX = "heatmaps.csv"
COLUMNS = ("image", "file", "finding", "score", "threshold", "decision", "method", "layer")
"""Columns of the table beside the images: `file` as the results name it."""

_TURNED = "Drawn as shown: the file's pixels are stored turned or mirrored."
_OWN = re.compile(r"\d{6}\.png|heatmaps\.csv")
# Scores of another engine differ a little; those of another image, a changed file, more.
_SAME_SCORE = 0.05
_PANEL_INCHES, _MOST_IN_A_ROW, _LINE_INCHES = (6.4, 6.2), 3, 0.19
_RESULTS = "Give what score_folder or Predictor.predict returned."


def heatmaps_folder(
    out: str | Path, scored: str | Path | None = None, *, overwrite: bool = False, name: str = "out"
) -> Path:
    """Returns the folder that heat maps of files go to, if nothing but earlier ones can be lost.

    Args:
        out: What the caller gave.
        scored: The folder of the files; the heat maps must not lie in it, where they would be scored next time.
        overwrite: Whether earlier heat maps may be replaced.
        name: What the argument is called, for messages.

    Raises:
        FileExistsError: If it holds heat maps already, and they may not be replaced.
        OSError: If nothing can be written there.
        ValueError: If it is a file, lies in a run or in the folder of the files, or holds something else.
    """
    folder = files.output_folder(typed_path(out, name), name, INDEX, "heat maps", overwrite=overwrite)
    if scored is not None and folder.is_relative_to(Path(scored).resolve()):
        raise ValueError(
            f"{name} {str(out)!r} lies in the folder that is scored, and its images would be scored next time; choose "
            "a place outside it."
        )
    # It is replaced as a whole.
    others = [path.name for path in folder.iterdir() if not _OWN.fullmatch(path.name)] if folder.is_dir() else []
    if others:
        raise ValueError(f"{name} {str(out)!r} holds {len(others)} thing(s) that are no heat maps; name a new folder.")
    return folder


@checked
def save_heatmaps(
    run: "Run | Ensemble | str | Path",
    scored: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    results: pd.DataFrame | None = None,
    finding: str | Sequence[str] | None = None,
    method: str | None = None,
    augmentation: "TestTimeAugmentation | None" = None,
    unchecked: bool = False,
    names: str = "path",
    profile: "str | Profile" = "clinical",
    read_options: ReadOptions = ISOLATED,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Draws for every file that was scored its heat map, with finding, score, call, method and cautions, into a PNG.

    The PNG files are numbered, so that their names hold nothing of a patient; the table beside them says which is of
    which file. Refused files have none. Images are drawn as they are shown, upright where the file stores them turned.

    Args:
        run: A run, its folder, or an ensemble.
        scored: The folder that was scored, or a list of DICOM, PNG and JPEG files.
        out: Folder for the images, a new one; it appears when all are there.
        results: What `score_folder` or `Predictor.predict` returned on the same files: scores, thresholds and calls
            stand on the images as they stand there. None scores the files.
        finding: One of the run's findings, or several; None takes the one whose heat maps were checked.
        method: One of `explanation.METHODS`; None takes the one that was checked.
        augmentation: Test-time augmentation, whose scores are averaged as the maps are.
        unchecked: Whether maps are drawn although the run's have not passed the checks; each image then says so.
        names: How `results` names files, see `score_folder`.
        profile: The DICOM gate's profile.
        read_options: How many worker processes read, and their limits.
        overwrite: Whether earlier heat maps in `out` are replaced.

    Returns:
        A row for each image and finding, with `COLUMNS`; ``heatmaps.csv`` in the folder holds the same.

    Raises:
        FileExistsError: If `out` holds heat maps already.
        FileNotFoundError: If the run, its model or the folder is not there.
        OSError: If nothing can be written there.
        ValueError: If the run's heat maps have not passed the checks, `out` holds something else, a finding or method
            is unknown, a scored file is not there, or no file has a score.
    """
    from chexkeras.explanation.explain import Explainer
    from chexkeras.explanation.of_files import drawable_maps, explain_files

    folder = heatmaps_folder(out, scored if isinstance(scored, (str, Path)) else None, overwrite=overwrite)
    chosen = drawable_maps(run, finding=finding, method=method, unchecked=unchecked)
    if chosen.reason:
        raise ValueError(chosen.reason)
    paths, calls = _scored_files(scored, names, results), _calls(run, results, augmentation)
    explainer = Explainer(
        run, finding=chosen.findings, method=chosen.method, layer=chosen.layer, augmentation=augmentation
    )
    refused: list[str] = []
    name_of = {path: name for name, path in paths.items()}
    rows: list[dict[str, Any]] = []
    changed = 0
    with files.replacing_folder(folder) as new:
        new.mkdir()
        explained = explain_files(
            explainer, paths.values(), profile=profile, read_options=read_options, refused=refused
        )
        for file in track(explained, "drawing heat maps", len(paths), lines=True):
            (name,) = file.maps.images
            scores = {finding: file.maps.score(name, finding) for finding in chosen.findings}
            told = [calls(name_of[file.path], finding, score) for finding, score in scores.items()]
            if any(abs(row.score - scores[row.finding]) > _SAME_SCORE for row in told):
                changed += 1
                continue
            image = f"{len(rows) // len(told) + 1:06d}.png"
            _draw(file, told, chosen, new / image)
            rows += [
                {"image": image, "file": row.file, "finding": row.finding, "score": row.score,
                 "threshold": row.threshold, "decision": row.decision, "method": file.maps.method,
                 "layer": file.maps.layer}
                for row in told
            ]  # fmt: skip
        if not rows:
            raise ValueError(f"no file has a heat map: {', '.join(sorted(set(refused))) or 'none was given'}.")
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        files.write_csv(new / INDEX, table)
    if changed:
        say(f"{changed} file(s) have no heat map: their score is now another one than in the results")
    if refused:
        say(f"{len(refused)} file(s) were refused and have no heat map")
    return table


class _Call(NamedTuple):
    """What the results say of a file and a finding; NaN and empty where there is no threshold."""

    file: str
    finding: str
    score: float
    threshold: float
    decision: str


def _scored_files(
    scored: str | Path | Sequence[str | Path], names: str, results: pd.DataFrame | None
) -> dict[str, Path]:
    """Returns the files to draw by their names in the results."""
    from chexkeras.inference.given_images import as_path
    from chexkeras.inference.score_folder import files_by_name

    if isinstance(scored, (str, Path)):
        found = files_by_name(existing_folder(typed_path(scored, "scored"), "scored"), names)
    else:
        found = {str(as_path(path)): as_path(path) for path in scored}
    if results is None:
        return found
    require_columns(results, ("file", "verdict", "finding", "score", "threshold", "decision"), "the results", _RESULTS)
    accepted = dict.fromkeys(results.loc[results["verdict"] != "reject", "file"].astype(str))
    lacking = [name for name in accepted if name not in found]
    if lacking:
        raise ValueError(
            f"{len(lacking)} scored file(s), such as {lacking[0]!r}, are not there; give the folder that was scored, "
            "and the names that its results have (names='hashed')."
        )
    return {name: found[name] for name in accepted}


def _calls(
    run: "Run | Ensemble | str | Path", results: pd.DataFrame | None, augmentation: "TestTimeAugmentation | None"
) -> Callable[[str, str, float], _Call]:
    """Returns what gives the call of a file and a finding, from the results or else from the run's own threshold."""
    from chexkeras.inference.ensemble import Ensemble
    from chexkeras.runs.run import Run

    if results is not None:
        known = {
            (str(row.file), str(row.finding)): _Call(*row)
            for row in results[list(_Call._fields)][results["verdict"] != "reject"].itertuples(index=False)
        }
        return lambda file, finding, _: known[file, finding]
    points: dict[str, OperatingPoint] = {}
    if augmentation is None and not isinstance(run, Ensemble):
        # A threshold belongs to the scores that chose it, which averaged ones are not.
        opened = run if isinstance(run, Run) else Run.load(run)
        points = {point.finding: point for point in opened.checked_points()}

    def call(file: str, finding: str, score: float) -> _Call:
        if finding not in points:
            return _Call(file, finding, score, math.nan, "")
        return _Call(file, finding, score, points[finding].threshold, points[finding].call(score))

    return call


def _draw(file: "ExplainedFile", calls: Sequence[_Call], chosen: "DrawableMaps", path: Path) -> None:
    (name,) = file.maps.images
    columns = min(len(calls), _MOST_IN_A_ROW)
    rows = -(-len(calls) // columns)
    maps = file.maps
    notes = (NOT_A_DEVICE, chosen.note, *((_TURNED,) if file.turned else ()), *maps.cautions)
    width, height = _PANEL_INCHES
    lines = len(style.wrapped(" ".join(notes), width * columns, style.NOTE_POINTS))
    drawn, panels = style.figure(rows, columns, width=width, height=height + _LINE_INCHES * lines / rows)
    for call, ax in zip(calls, panels, strict=False):
        heatmap(
            maps,
            name,
            file.shown,
            finding=call.finding,
            title=_title(call),
            ax=ax,
            note=notes if rows * columns == 1 else "",
        )
    for ax in panels[len(calls) :]:
        ax.remove()
    if rows * columns > 1:
        style.figure_note(drawn, notes)
    style.save(drawn, path)


def _title(call: _Call) -> str:
    found = f"{style.words(call.finding)}: score {call.score:.3f}"
    return f"{found}, called {call.decision} (threshold {call.threshold:.3f})" if call.decision else found
