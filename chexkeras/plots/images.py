"""Images themselves, with their boxes, and what became of a folder of DICOM files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras.arguments import checked
from chexkeras.checks import one_of, positive_int, require_columns
from chexkeras.data.image_table import finding_columns
from chexkeras.dicom.pixels import image_file
from chexkeras.dicom.read import is_dicom
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.plots import style
from chexkeras.plots._inputs import finding_scores
from chexkeras.results import OperatingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_IMAGES, MOST_IN_GALLERY = 48, 20
BOX = ("x_px", "y_px", "width_px", "height_px")
_LONG_EDGE_PX = 384
_CELL_INCHES = 2.3
_GAP, _TITLE_ROOM = 0.06, 0.085
"""Between two images, and for a line of a title, in widths of an image."""


def read_images(paths: Sequence[str], image_ids: Sequence[str]) -> Iterator[tuple[np.ndarray, float]]:
    """Yields images as (rows, columns) uint8, reduced for display, and their original widths in pixels.

    Args:
        paths: The images' files, PNG, JPEG or DICOM; a DICOM file is read in a process of its own.
        image_ids: Their names, for messages.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is no image that can be scored.
    """
    with ReaderPool(options=ReadOptions(workers=1)) as readers:
        for path, image_id in zip(paths, image_ids, strict=True):
            yield _reduced(path, image_id, readers)


def _reduced(path: str, image_id: str, readers: ReaderPool) -> tuple[np.ndarray, float]:
    from PIL import Image

    if not path:
        raise FileNotFoundError(f"image {image_id} has no file (path is empty); load the table without missing='keep'.")
    try:
        pixels = readers.read(path).pixels if is_dicom(path) else image_file.decode(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"image {image_id}: no file at {path!r}; was the folder moved?") from error
    except (ValueError, DicomRejected) as error:
        raise ValueError(f"image {image_id} cannot be drawn: {error} 'chexkeras audit' lists such images.") from error
    image = Image.fromarray(pixels)
    image.thumbnail((_LONG_EDGE_PX, _LONG_EDGE_PX))
    return np.asarray(image), float(pixels.shape[1])


def _describe(row: pd.Series, findings: Sequence[str], none: str = "No Finding") -> str:
    """Returns an image's findings and view, for its title: two findings a line, two lines at most."""
    shown = [style.words(name) for name in findings if row.get(name) == 1]
    more = f" +{len(shown) - 4}" if len(shown) > 4 else ""
    found = ",\n".join(", ".join(shown[at : at + 2]) for at in (0, 2) if shown[at:]) + more if shown else none
    view = row.get("view", "")
    return f"{found} · {view}" if view else found


def require_boxes(boxes: pd.DataFrame) -> None:
    """Checks that a table of boxes has what drawing needs.

    Args:
        boxes: The table.

    Raises:
        ValueError: If it lacks a column; the message names them.
    """
    require_columns(boxes, ["image_id", "finding", *BOX], "the table of boxes", "load_boxes(...) returns such a table.")


def _draw_boxes(mosaic: "Mosaic", boxes: pd.DataFrame, corner: tuple[float, float], wide: float, scale: float) -> None:
    from matplotlib.patches import Rectangle

    ax = mosaic.ax
    places = boxes[list(BOX)].to_numpy(float) * scale
    points = min(style.points(7), mosaic.points)
    named: set[tuple[str, int]] = set()
    for (left, top, width, height), finding in zip(places, boxes["finding"].astype(str), strict=True):
        x, y = corner[0] + left, corner[1] + top
        ax.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=style.AMBER, linewidth=1.6))
        # One name for boxes of a finding that begin at the same height: two would hide each other.
        if (finding, round(y * 12)) in named:
            continue
        named.add((finding, round(y * 12)))
        # A name that began at the left of a box at the right would run into the next image.
        in_right_half = left + width / 2 > wide / 2
        room = (left + width if in_right_half else wide - left) * mosaic.inches
        ax.text(
            x + width if in_right_half else x,
            y,
            style.shortened(style.words(finding), room - 0.03, points),
            fontsize=points,
            color="black",
            va="bottom",
            ha="right" if in_right_half else "left",
            clip_on=True,
            bbox={"facecolor": style.AMBER, "edgecolor": "none", "pad": 0.8},
        )


class Mosaic(NamedTuple):
    """Images side by side on one axes, each in a cell of one unit with room for its title.

    Attributes:
        ax: The axes.
        columns: Images in a row.
        lines: Lines of a title.
        inches: Width of a cell.
        points: Size of the titles' type.
    """

    ax: "Axes"
    columns: int
    lines: int
    inches: float
    points: float

    @classmethod
    def on(cls, ax: "Axes | None", count: int, columns: int, *, lines: int = 1, beside: float = 0.0) -> "Mosaic":
        """Returns the mosaic for so many images, on axes given or on those of a new figure.

        Args:
            ax: Axes to draw on, or None.
            count: How many images.
            columns: At most so many in a row.
            lines: Lines of a title.
            beside: Room at the right for something else, in inches.
        """
        columns = min(columns, count)
        rows = -(-count // columns)
        wide, tall = columns * (1 + _GAP), rows * (1 + _GAP + _TITLE_ROOM * lines)
        ax = style.axes(ax, _CELL_INCHES * wide + beside, _CELL_INCHES * tall + 0.6)
        place = style.room(ax)
        inches = max(min((place.width - beside) / wide, (place.height - 0.6) / tall), 0.1)
        ax.grid(visible=False)
        ax.set_axis_off()
        ax.set_xlim(0, wide - _GAP)
        ax.set_ylim(tall - _GAP, 0)
        ax.set_aspect("equal")
        points = min(style.points(8), 0.72 * 72 * _TITLE_ROOM * inches)
        return cls(ax, columns, lines, inches, points)

    def put(self, index: int, image: NDArray[np.uint8], title: str) -> tuple[float, float, float, float]:
        """Draws one image with its title; the longer edge fills the cell, so images keep their shape.

        Args:
            index: Its place, counted from 0 in reading order.
            image: Shape (rows, columns), 0-255.
            title: Its lines; what is too long for the cell is cut.

        Returns:
            Where it lies: left, right, bottom, top.
        """
        x = (index % self.columns) * (1 + _GAP)
        y = (index // self.columns) * (1 + _GAP + _TITLE_ROOM * self.lines) + _TITLE_ROOM * self.lines
        unit = 1 / max(image.shape)
        tall, wide = image.shape[0] * unit, image.shape[1] * unit
        left, top = x + (1 - wide) / 2, y
        extent = (left, left + wide, top + tall, top)
        self.ax.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="antialiased")
        lines = [style.shortened(line, 0.97 * self.inches, self.points) for line in title.split("\n")]
        self.ax.text(x, y - 0.025, "\n".join(lines), fontsize=self.points, va="bottom", ha="left", linespacing=1.1)
        return extent


@checked
@style.styled
def images(
    table: pd.DataFrame,
    boxes: pd.DataFrame | None = None,
    *,
    titles: Sequence[str] | None = None,
    title: str = "",
    columns: int = 4,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the images of a table side by side, with their boxes.

    Args:
        table: Image table; its images are drawn in order, at most 48.
        boxes: Boxes as `load_boxes` returns them (x_px, y_px, width_px, height_px). They are measured on images
            ``boxes.attrs["image_px"]`` wide, so that they fit reduced copies too; without it, on the file drawn.
        titles: One text per image; by default its findings, the first four by name, and its view.
        title: What they show, above all of them; by default how many images they are.
        columns: Images in a row.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes: a mosaic in which every image is one unit wide.

    Raises:
        ValueError: If there is no image, or more than fit, or the titles are not as many as the images.
        FileNotFoundError: If an image's file is missing; the message names it.
    """
    require_columns(table, ["image_id", "path"], "the image table", "Give an image table as load_nih returns it.")
    if not 1 <= len(table) <= MOST_IMAGES:
        raise ValueError(f"{len(table)} images to draw; give 1 to {MOST_IMAGES}, for example images(table.head(8)).")
    if titles is not None and len(titles) != len(table):
        raise ValueError(f"{len(titles)} titles for {len(table)} images; give one line each.")
    if boxes is not None:
        require_boxes(boxes)
    findings = finding_columns(table)
    told = list(titles) if titles is not None else [_describe(row, findings) for _, row in table.iterrows()]
    ax = _drawn(Mosaic.on(ax, len(table), columns, lines=_most_lines(told)), table, told, boxes)
    counted = f"{len(table)} images" if len(table) > 1 else "1 image"
    style.title(ax, title or counted, style.cautions(note, table))
    return ax


def _most_lines(titles: Sequence[str]) -> int:
    return max(text.count("\n") for text in titles) + 1


def _drawn(mosaic: Mosaic, table: pd.DataFrame, titles: Sequence[str], boxes: pd.DataFrame | None) -> "Axes":
    shown = read_images(table["path"].astype(str).tolist(), table["image_id"].astype(str).tolist())
    for index, (name, (image, width_px)) in enumerate(zip(table["image_id"], shown, strict=True)):
        left, right, _, top = mosaic.put(index, image, titles[index])
        if boxes is not None:
            measured_px = float(boxes.attrs.get("image_px", width_px))
            of_image, scale = boxes[boxes["image_id"] == name], (right - left) / measured_px
            _draw_boxes(mosaic, of_image, (left, top), right - left, scale)
    return mosaic.ax


class _Outcome(NamedTuple):
    """Which images a gallery holds.

    Attributes:
        label: 1 or 0: what the image is labelled.
        called: Whether its score reaches the threshold.
        word: How they are called in the title.
        order: Which come first.
    """

    label: int
    called: bool
    word: str
    order: str


OUTCOMES = {
    "false negative": _Outcome(1, False, "Missed", "lowest scores first"),
    "false positive": _Outcome(0, True, "Falsely called", "highest scores first"),
    "true positive": _Outcome(1, True, "Found", "highest scores first"),
    "true negative": _Outcome(0, False, "Rightly left alone", "lowest scores first"),
}
"""The galleries that `image_gallery` draws: what becomes of an image at a threshold, as in the confusion matrix."""


@checked
@style.styled
def image_gallery(
    table: pd.DataFrame,
    scores: pd.DataFrame,
    point: OperatingPoint,
    outcome: str = "false negative",
    *,
    finding: str | None = None,
    most: int = 8,
    boxes: pd.DataFrame | None = None,
    columns: int = 4,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the images that a threshold calls wrongly (or rightly), the most surprising first, with their scores.

    Args:
        table: Image table that holds these images with their files, for example ``splits.test``.
        scores: Scores table of the part that is looked at (one row per image and finding).
        point: The frozen operating point.
        outcome: "false negative", "false positive", "true positive" or "true negative".
        finding: Which finding; by default the operating point's.
        most: How many images at most, 1 to 20; the title says of how many.
        boxes: Boxes as `load_boxes` returns them, of any size; those of this finding are drawn.
        columns: Images in a row.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes: a mosaic in which every image is one unit wide, or a sentence where there is no such image.

    Raises:
        ValueError: If the outcome or the finding is unknown, `most` is out of range, or the table lacks a scored image.
        FileNotFoundError: If an image's file is missing; the message names it.

    Example:
        ``plots.image_gallery(splits.test, run.scores("test"), run.operating_points[0], "false positive")``
    """
    kind = OUTCOMES[one_of(outcome, OUTCOMES, "outcome")]
    if positive_int(most, "most") > MOST_IN_GALLERY:
        raise ValueError(f"most={most} images are more than one figure holds; give 1 to {MOST_IN_GALLERY}.")
    require_columns(table, ["image_id", "path"], "the image table", "Give an image table as load_nih returns it.")
    found = finding_scores(scores, finding or point.finding)
    if found.finding != point.finding:
        raise ValueError(
            f"the operating point is of {point.finding}, not of {found.finding}; give that of the finding."
        )
    rows = found.rows[(found.labels == kind.label) & ((found.scores >= point.threshold) == kind.called)]
    rows = rows.sort_values("score", ascending=kind.order.startswith("lowest"), kind="stable")
    shown = rows.head(most)
    word = style.words(found.finding)
    text = f"{kind.word}: {word}, {len(shown)} of {len(rows):,}, {kind.order} (threshold {point.threshold:.4g})"
    notes = style.cautions(note, table, scores)
    if shown.empty:
        ax = style.axes(ax, 6.4, 2.0)
        ax.set_axis_off()
        ax.text(0.5, 0.5, f"no {outcome} among {len(found.rows):,} images", transform=ax.transAxes, ha="center",
                va="center", fontsize=style.points(10))  # fmt: skip
        style.title(ax, f"{kind.word}: {word}, none (threshold {point.threshold:.4g})", notes)
        return ax
    placed = table.assign(image_id=table["image_id"].astype(str)).drop_duplicates("image_id").set_index("image_id")
    names = shown["image_id"].astype(str)
    missing = [name for name in names if name not in placed.index]
    if missing:
        raise ValueError(
            f"the image table lacks {len(missing)} of the images scored, such as {missing[0]!r}; give the table that "
            "was scored, for example splits.test."
        )
    chosen = placed.loc[names].reset_index()
    findings = [name for name in finding_columns(table) if name != found.finding]
    others = [_describe(row, findings, none="no other finding") for _, row in chosen.iterrows()]
    titles = [f"score {score:.3f}\n{other}" for score, other in zip(shown["score"], others, strict=True)]
    if boxes is not None:
        require_boxes(boxes)
        boxes = boxes[boxes["finding"].astype(str) == found.finding]
    ax = _drawn(Mosaic.on(ax, len(chosen), columns, lines=_most_lines(titles)), chosen, titles, boxes)
    style.title(ax, text, notes)
    return ax


@checked
@style.styled
def dicom_verdicts(
    results: pd.DataFrame, *, ax: "Axes | None" = None, note: str | Sequence[str] | None = None
) -> "Axes":
    """Draws how many DICOM files were accepted, accepted with a warning, or rejected, by reason.

    Args:
        results: One row per file and finding, with file, verdict ("accept", "warn" or "reject") and code.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.

    Raises:
        ValueError: If a column is missing.
    """
    from matplotlib.ticker import MaxNLocator

    require_columns(results, ["file", "verdict", "code"], "the DICOM results", "Give dicom_results.csv of a run.")
    per_file = results.drop_duplicates("file")
    colours = {"accept": style.GREEN, "warn": style.AMBER, "reject": style.ORANGE}
    hatches = {"accept": "", "warn": "..", "reject": "//"}
    rows: list[tuple[str, str, int]] = []
    for verdict, word in (("accept", "accepted"), ("warn", "accepted with a warning"), ("reject", "rejected")):
        chosen = per_file[per_file["verdict"] == verdict]
        codes = chosen["code"].fillna("").astype(str).value_counts()
        for code, count in sorted(codes.items(), key=lambda item: (-item[1], item[0])):
            rows.append((verdict, f"{word}: {code}" if code else word, int(count)))
    rows.reverse()
    ax = style.axes(ax, 6.4, 1.5 + 0.3 * max(1, len(rows)))
    # A file may have many warnings, all of them in its label; the bars keep half of the panel.
    room, size = 0.5 * style.room(ax).width, style.points(9)
    names = ["\n".join(style.wrapped(name.replace(";", "; "), room, size)) for _, name, _ in rows]
    bars = ax.barh(
        names,
        [count for _, _, count in rows],
        color=[colours[verdict] for verdict, _, _ in rows],
        hatch=[hatches[verdict] for verdict, _, _ in rows],
        edgecolor="white",
        height=0.7,
    )
    ax.bar_label(bars, [f" {count:,}" for _, _, count in rows], fontsize=style.points(8.5))
    ax.margins(x=0.1)
    style.keep_beside(ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("files")
    ax.grid(axis="y", visible=False)
    style.title(ax, f"DICOM checks: {len(per_file):,} files", style.cautions(note, results))
    return ax
