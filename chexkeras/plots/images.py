"""Images themselves, with their boxes, and what became of a folder of DICOM files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.checks import require_columns
from chexkeras.data.image_table import finding_columns
from chexkeras.dicom.pixels import image_file
from chexkeras.dicom.read import is_dicom
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_IMAGES = 48
_LONG_EDGE_PX = 384
_GAP = 0.04
_TITLE_ROOM = 0.16


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


def _describe(row: pd.Series, findings: Sequence[str]) -> str:
    """Returns an image's findings and view, for its title."""
    shown = [style.words(name) for name in findings if row.get(name) == 1]
    more = f" +{len(shown) - 2}" if len(shown) > 2 else ""
    found = ", ".join(shown[:2]) + more if shown else "No Finding"
    view = row.get("view", "")
    return f"{found} · {view}" if view else found


def _draw_boxes(ax: "Axes", boxes: pd.DataFrame, corner: tuple[float, float], wide: float, scale: float) -> None:
    from matplotlib.patches import Rectangle

    places = boxes[["x_px", "y_px", "width_px", "height_px"]].to_numpy(float) * scale
    for (left, top, width, height), finding in zip(places, boxes["finding"].astype(str), strict=True):
        x, y = corner[0] + left, corner[1] + top
        ax.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=style.AMBER, linewidth=1.6))
        # A name that began at the left of a box at the right would run into the next image.
        in_right_half = left + width / 2 > wide / 2
        ax.text(
            x + width if in_right_half else x,
            y,
            style.words(finding),
            fontsize=7,
            color="black",
            va="bottom",
            ha="right" if in_right_half else "left",
            clip_on=True,
            bbox={"facecolor": style.AMBER, "edgecolor": "none", "pad": 0.8},
        )


@checked
@style.styled
def images(
    table: pd.DataFrame,
    boxes: pd.DataFrame | None = None,
    *,
    titles: Sequence[str] | None = None,
    columns: int = 4,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the images of a table side by side, with their boxes.

    Args:
        table: Image table; its images are drawn in order, at most 48.
        boxes: Boxes as `load_boxes` returns them (x_px, y_px, width_px, height_px). They are measured on images
            ``boxes.attrs["image_px"]`` wide, so that they fit reduced copies too; without it, on the file drawn.
        titles: One line per image; by default its findings and view.
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
    columns = min(columns, len(table))
    count_rows = -(-len(table) // columns)
    step_x, step_y = 1 + _GAP, 1 + _GAP + _TITLE_ROOM
    ax = style.axes(ax, 2.3 * columns * step_x, 2.3 * count_rows * step_y + 0.5)
    ax.grid(visible=False)
    ax.set_axis_off()
    findings = finding_columns(table)
    shown = read_images(table["path"].astype(str).tolist(), table["image_id"].astype(str).tolist())
    for index, ((_, row), (image, width_px)) in enumerate(zip(table.iterrows(), shown, strict=True)):
        x = (index % columns) * step_x
        y = (index // columns) * step_y + _TITLE_ROOM
        # The longer edge fills the unit cell, so images keep their shape.
        unit = 1 / max(image.shape)
        tall, wide = image.shape[0] * unit, image.shape[1] * unit
        corner = (x + (1 - wide) / 2, y + (1 - tall) / 2)
        extent = (corner[0], corner[0] + wide, corner[1] + tall, corner[1])
        ax.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent, aspect="equal", interpolation="antialiased")
        ax.text(
            x,
            y - 0.03,
            titles[index] if titles is not None else _describe(row, findings),
            fontsize=8,
            va="bottom",
            ha="left",
        )
        if boxes is not None:
            measured_px = float(boxes.attrs.get("image_px", width_px))
            _draw_boxes(ax, boxes[boxes["image_id"] == row["image_id"]], corner, wide, wide / measured_px)
    ax.set_xlim(0, columns * step_x - _GAP)
    ax.set_ylim(count_rows * step_y - _GAP, 0)
    ax.set_aspect("equal")
    style.title(ax, f"{len(table)} images" if len(table) > 1 else "1 image", style.cautions(note, table))
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
    ax = style.axes(ax, 6.4, 1.5 + 0.3 * max(1, len(rows)))
    rows.reverse()
    bars = ax.barh(
        [name for _, name, _ in rows],
        [count for _, _, count in rows],
        color=[colours[verdict] for verdict, _, _ in rows],
        hatch=[hatches[verdict] for verdict, _, _ in rows],
        edgecolor="white",
        height=0.7,
    )
    ax.bar_label(bars, [f" {count:,}" for _, _, count in rows], fontsize=8.5)
    ax.margins(x=0.1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("files")
    ax.grid(axis="y", visible=False)
    style.title(ax, f"DICOM checks: {len(per_file):,} files", style.cautions(note, results))
    return ax
