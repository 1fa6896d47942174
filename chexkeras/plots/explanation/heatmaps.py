"""Heat maps over their images, with boxes: one large, or a gallery.

The image stays in shades of gray and keeps its own contrast: what is added is transparent where the map is low. What
speaks for the finding is orange, what speaks against it is blue, and boxes are white lines edged with black, which all
can tell apart who see colours differently.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras.arguments import checked
from chexkeras.checks import require_columns
from chexkeras.explanation.heatmaps import Heatmaps
from chexkeras.plots import style
from chexkeras.plots.images import BOX, Mosaic, read_images, require_boxes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

_ROWS = "Give rows of the table that was loaded."
MOST_IMAGES = 24
CONTOURS = (0.5, 0.75)
"""Where contours run, as shares of the map's highest value."""

_STRONGEST = 0.6


@checked
@style.styled
def heatmap(
    maps: Heatmaps,
    image: str,
    pixels: NDArray[np.uint8] | str,
    *,
    finding: str | None = None,
    boxes: pd.DataFrame | None = None,
    title: str | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws one image with its heat map.

    Args:
        maps: Heat maps, from `explain`.
        image: The image's name among them.
        pixels: The image, (rows, columns), 0-255, or its PNG, JPEG or DICOM file.
        finding: One of the maps' findings; None where there is one only.
        boxes: Boxes as `load_boxes` returns them, drawn where they are of this image and finding. They are measured on
            images ``boxes.attrs["image_px"]`` wide; without it, on the image drawn.
        title: What stands above; by default the finding and its score.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the maps' cautions.

    Returns:
        The axes.

    Raises:
        ValueError: If there is no such image or finding.
        FileNotFoundError: If the image's file is missing.
    """
    column = maps.column(finding)
    name = maps.findings[column]
    if not isinstance(pixels, str) and (np.ndim(pixels) != 2 or not np.size(pixels)):
        raise ValueError(f"pixels have shape {np.shape(pixels)}; rows and columns of one image were expected.")
    (shown, width_px), *_ = read_images([pixels], [image]) if isinstance(pixels, str) else [(pixels, pixels.shape[1])]
    ax = style.axes(ax, 6.4, 6.2)
    ax.grid(visible=False)
    rows, columns = shown.shape
    ax.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=(0, columns, rows, 0), interpolation="antialiased")
    scale = _overlay(ax, maps.of(image, name, (rows, columns)), (0, columns, rows, 0))
    if boxes is not None:
        of_image = _boxes_of(boxes, image, name)
        _draw_boxes(ax, of_image, (0.0, 0.0), _boxes_scale(boxes, width_px, columns, rows))
    ax.set_xlim(0, columns)
    ax.set_ylim(rows, 0)
    ax.set_xticks([])
    ax.set_yticks([])
    bar = ax.figure.colorbar(scale, ax=ax, fraction=0.046, pad=0.03)
    bar.set_label(_unit(maps))
    ax.set_xlabel(f"{maps.method}, layer {maps.layer}", fontsize=8)
    above = f"{style.words(name)}: score {maps.score(image, name):.3f}" if title is None else title
    style.title(ax, above, style.cautions(note, maps))
    return ax


@checked
@style.styled
def heatmap_gallery(
    maps: Heatmaps,
    table: pd.DataFrame,
    *,
    finding: str | None = None,
    boxes: pd.DataFrame | None = None,
    titles: Sequence[str] | None = None,
    threshold: float | None = None,
    pixels: Sequence[NDArray[np.uint8]] | None = None,
    columns: int = 4,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws images with their heat maps side by side.

    Every map has its own scale, from 0 to its highest value: colours of two images cannot be compared, scores can.

    Args:
        maps: Heat maps, from `explain`.
        table: Image table of the images to draw, at most 24, in order, with image_id and path.
        finding: One of the maps' findings; None where there is one only.
        boxes: Boxes as `load_boxes` returns them.
        titles: What each image is, for example "missed"; its score stands below. None writes its label.
        threshold: The frozen threshold, written beside the scores.
        pixels: The images themselves, (rows, columns), 0-255, in the table's order; None reads their files.
        columns: Images in a row.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the maps' cautions.

    Returns:
        The axes: a mosaic in which every image is one unit wide.

    Raises:
        ValueError: If there is no image, or more than fit, or one has no map, or the titles are not as many.
        FileNotFoundError: If an image's file is missing.
    """
    name = maps.findings[maps.column(finding)]
    require_columns(table, ["image_id", *(["path"] if pixels is None else [])], "the image table", _ROWS)
    if not 1 <= len(table) <= MOST_IMAGES:
        raise ValueError(f"{len(table)} images to draw; give 1 to {MOST_IMAGES}.")
    if titles is not None and len(titles) != len(table):
        raise ValueError(f"{len(titles)} titles for {len(table)} images; give one each.")
    mosaic = Mosaic.on(ax, len(table), columns, lines=2, beside=0.8)
    ax = mosaic.ax
    scale = None
    names = table["image_id"].astype(str).tolist()
    read: Iterable[tuple[NDArray[np.uint8], float]]
    if pixels is None:
        read = read_images(table["path"].astype(str).tolist(), names)
    else:
        read = [(image, float(image.shape[1])) for image in pixels]
    beside = "" if threshold is None else f", threshold {threshold:.3f}"
    for index, (image, (shown, width_px)) in enumerate(zip(names, read, strict=True)):
        told = titles[index] if titles is not None else _label(table.iloc[index], name)
        scored = f"score {maps.score(image, name):.3f}{beside}"
        extent = mosaic.put(index, shown, f"{told}\n{scored}" if told else scored)
        heat = maps.of(image, name, shown.shape)
        scale = _overlay(ax, heat, extent)
        if not heat.max() > 0:
            middle = (extent[0] + extent[1]) / 2, (extent[2] + extent[3]) / 2
            ax.text(*middle, "nothing above 0", fontsize=mosaic.points, color="white", ha="center")
        if boxes is not None:
            scale_xy = _boxes_scale(boxes, width_px, extent[1] - extent[0], extent[2] - extent[3])
            _draw_boxes(ax, _boxes_of(boxes, image, name), (extent[0], extent[3]), scale_xy)
    if scale is not None:
        bar = ax.figure.colorbar(scale, ax=ax, fraction=0.03, pad=0.02, shrink=0.6)
        low, high = scale.get_clim()
        bar.set_ticks([low or 0.0, high or 1.0], labels=["lowest" if low else "0", "highest"])
        bar.set_label("each image on its own scale")
    style.title(ax, f"{style.words(name)}: heat maps by {maps.method}", style.cautions(note, maps))
    return ax


def _label(row: pd.Series, finding: str) -> str:
    known = {1.0: "positive", 0.0: "negative"}
    return known.get(row.get(finding, np.nan), "")


def _unit(maps: Heatmaps) -> str:
    return "adds to the logit" if maps.unit == "logit" else f"{maps.method}, relative"


def _overlay(ax: "Axes", heat: NDArray[np.float32], extent: tuple[float, float, float, float]) -> "ScalarMappable":
    """Lays a map over an image and returns its scale for a colour bar."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    largest = float(max(np.abs(heat).max(), 1e-12))
    lowest = -largest if heat.min() < 0 else 0.0
    shares = np.linspace(lowest / largest, 1.0, 256)
    colours = np.array([_colour(share) for share in shares])
    mapping = ListedColormap(colours)
    norm = Normalize(lowest, largest)
    ax.imshow(heat, cmap=mapping, norm=norm, extent=extent, interpolation="nearest")
    highest = float(heat.max())
    if highest > 0 and heat.min() < CONTOURS[0] * highest:
        rows, columns = heat.shape
        across = np.linspace(extent[0], extent[1], 2 * columns + 1)[1::2]
        down = np.linspace(extent[3], extent[2], 2 * rows + 1)[1::2]
        levels = [share * highest for share in CONTOURS]
        ax.contour(across, down, heat, levels=levels, colors=style.ORANGE, linewidths=(0.8, 1.3))
    return ScalarMappable(norm, mapping)


def _colour(share: float) -> tuple[float, float, float, float]:
    from matplotlib.colors import to_rgb

    return (*to_rgb(style.ORANGE if share >= 0 else style.BLUE), _STRONGEST * abs(share))


def _boxes_of(boxes: pd.DataFrame, image: str, finding: str) -> NDArray[np.float64]:
    require_boxes(boxes)
    chosen = boxes[(boxes["image_id"].astype(str) == image) & (boxes["finding"] == finding)]
    return chosen[list(BOX)].to_numpy(float)


def _boxes_scale(boxes: pd.DataFrame, width_px: float, wide: float, tall: float) -> tuple[float, float]:
    """Returns what boxes are multiplied with, across and down, on an image drawn so wide and tall.

    Boxes that say how wide their image is are those of a square, which the image was scaled to without padding.
    """
    given = boxes.attrs.get("image_px")
    return (wide / width_px, wide / width_px) if given is None else (wide / given, tall / given)


def _draw_boxes(
    ax: "Axes", boxes: NDArray[np.float64], corner: tuple[float, float], scale: tuple[float, float]
) -> None:
    from matplotlib.patches import Rectangle

    for left, top, width, height in boxes * (*scale, *scale):
        place: Any = ((corner[0] + left, corner[1] + top), width, height)
        ax.add_patch(Rectangle(*place, fill=False, edgecolor="black", linewidth=2.6))
        ax.add_patch(Rectangle(*place, fill=False, edgecolor="white", linewidth=1.2))
