"""Files that a run scored: their scores beside the frozen threshold, and the images as the classifier gets them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from chexkeras.arguments import checked
from chexkeras.checks import existing_folder, positive_int, require_columns, typed_path
from chexkeras.dicom.profiles import Profile
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.plots import style
from chexkeras.plots.images import MOST_IMAGES, Mosaic
from chexkeras.results import OperatingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES_A_FILE = 0.3
_COLOURS = {"positive": style.ORANGE, "negative": style.BLUE, "uncertain": style.GREY}
_COLUMNS = ("file", "verdict", "finding", "score", "decision")


def _scored(results: pd.DataFrame, point: OperatingPoint, most: int) -> pd.DataFrame:
    require_columns(results, _COLUMNS, "the results", "Give those of cx.score_folder or Predictor.predict.")
    if positive_int(most, "most") > MOST_IMAGES:
        raise ValueError(f"most={most} files are more than one figure holds; give 1 to {MOST_IMAGES}.")
    rows = results[(results["verdict"] != "reject") & (results["finding"] == point.finding)]
    if rows.empty:
        raise ValueError(f"no file was scored for {point.finding}; there is nothing to draw.")
    # Those that a run keeps are read with their blanks as text.
    return rows.head(most).assign(score=pd.to_numeric(rows["score"]))


@checked
@style.styled
def file_scores(
    results: pd.DataFrame,
    point: OperatingPoint,
    *,
    most: int = 40,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the scores of files beside the threshold that was frozen before any of them was seen.

    Args:
        results: One row per file and finding, from `score_folder` or `Predictor.predict`.
        point: The frozen operating point; its finding is drawn.
        most: How many files at most, the first ones, 1 to 48.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the results carry.

    Returns:
        The axes, the first file on top.

    Raises:
        ValueError: If no file was scored for the finding, a column is missing, or `most` is out of range.
    """
    rows = _scored(results, point, most)
    ax = style.axes(ax, 8.0, _INCHES_A_FILE * len(rows) + 2.0)
    places = list(range(len(rows)))[::-1]
    ax.axvline(point.threshold, color=style.INK, linestyle="--", linewidth=1.2, zorder=1)
    if point.abstain is not None and point.abstain.low == point.abstain.low:
        ax.axvspan(point.abstain.low, point.abstain.high, color=style.PALE, zorder=0)
    for place, score, decision in zip(places, rows["score"].astype(float), rows["decision"].astype(str), strict=True):
        ax.plot([score], [place], "o", color=_COLOURS.get(decision, style.INK), markersize=7, zorder=3)
    # A name may hold the folders it lies in; half of the panel is for the scores.
    room, size = 0.45 * style.room(ax).width, style.points(9)
    ax.set_yticks(places, [style.shortened(str(name), room, size) for name in rows["file"]], fontsize=size)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.7, len(rows) - 0.3)
    called = ", ".join(
        f"{word} {(rows['decision'] == word).sum()}" for word in _COLOURS if word in set(rows["decision"])
    )
    ax.set_xlabel(
        f"score for {style.words(point.finding)} (orange positive, blue negative): {called}\n"
        f"dashed: threshold {point.threshold:.3f}, {_origin(point)}"
    )
    shown = f"{len(rows)} files" if len(rows) > 1 else "1 file"
    style.title(ax, f"Scores of {shown}: {style.words(point.finding)}", style.cautions(note, results))
    return ax


def _origin(point: OperatingPoint) -> str:
    aim = "" if point.target is None else f" {point.target:g}"
    return "stated" if point.chosen_on == "stated" else f"chosen on {point.chosen_on} by the rule {point.rule}{aim}"


@checked
@style.styled
def file_images(
    folder: str | Path,
    results: pd.DataFrame,
    point: OperatingPoint,
    *,
    profile: str | Profile = "clinical",
    most: int = 6,
    columns: int = 3,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws files that were scored, as the classifier gets them, with score and decision.

    Args:
        folder: The folder that was scored; the results name files below it.
        results: One row per file and finding, from `score_folder`.
        point: The frozen operating point; its finding is told.
        profile: The DICOM gate's profile that the files were scored with.
        most: How many files at most, the first ones, 1 to 48.
        columns: Images in a row.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the results carry.

    Returns:
        The axes: a mosaic in which every image is one unit wide.

    Raises:
        FileNotFoundError: If the folder or a file is not there.
        ValueError: If no file was scored for the finding, a column is missing, or `most` is out of range.
        DicomRejected: If the profile refuses a file.
    """
    rows = _scored(results, point, most)
    root = existing_folder(typed_path(folder, "folder"), "folder")
    mosaic = Mosaic.on(ax, len(rows), positive_int(columns, "columns"), lines=2)
    # Hostile until checked: in a process of its own, as when it was scored.
    with ReaderPool(profile, ReadOptions(workers=1)) as readers:
        for index, row in enumerate(rows.itertuples()):
            pixels = readers.read(root / str(row.file)).pixels
            mosaic.put(index, pixels, f"{row.file}\n{style.words(point.finding)} {row.score:.3f}: {row.decision}")
    style.title(mosaic.ax, "As the classifier gets them", style.cautions(note, results))
    return mosaic.ax
