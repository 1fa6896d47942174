"""The cell of a figure that belongs to one panel, and a drawing that stays in it where no layout sees to that."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

EDGE_INCHES = 0.06
_STEPS = 6
_STILL_PX = 0.25
_HEADING = "_chexkeras_heading"
_LEAST_SHARE = 0.12
"""A drawing keeps so much of its cell's width and height, even where its texts would take more."""


class Room(NamedTuple):
    """The part of a figure that belongs to one panel, tick labels and title included.

    Attributes:
        left: Left end, as a share of the figure (or of the part of it that the panel was added to).
        bottom: Lower end, likewise.
        width: In inches.
        height: In inches.
        laid_out: Whether the drawing's place within it is found once the texts around it are known, by the figure's
            layout or by `settle`; not so for axes that stand in no grid.
    """

    left: float
    bottom: float
    width: float
    height: float
    laid_out: bool


def room(ax: "Axes") -> Room:
    """Returns the room of a panel: its share of the figure by the grid that it stands in, or all of the figure.

    Args:
        ax: The axes.
    """
    drawn = ax.figure
    box, dpi = drawn.bbox, root(ax).dpi
    left, right, lower, upper = 0.0, 1.0, 0.0, 1.0
    spec = ax.get_subplotspec()
    by_layout = root(ax).get_layout_engine() is not None
    # A grid within a grid, as that of the two panels of training curves, has a share of a share.
    for part in [] if spec is None else _nested(spec):
        grid, columns, rows = part.get_gridspec(), part.colspan, part.rowspan
        if by_layout:
            widths = np.asarray(grid.get_width_ratios(), dtype=np.float64)
            heights = np.asarray(grid.get_height_ratios(), dtype=np.float64)
            wide, tall = right - left, upper - lower
            left, right = (left + wide * widths[:at].sum() / widths.sum() for at in (columns.start, columns.stop))
            upper, lower = (upper - tall * heights[:at].sum() / heights.sum() for at in (rows.start, rows.stop))
            continue
        # Without a layout the drawings stand fast, and each has half of the gap to the next.
        bottoms, tops, lefts, rights = grid.get_grid_positions(drawn)
        left, right = (
            (rights[columns.start - 1] + lefts[columns.start]) / 2 if columns.start else left,
            (rights[columns.stop - 1] + lefts[columns.stop]) / 2 if columns.stop < len(lefts) else right,
        )
        upper, lower = (
            (bottoms[rows.start - 1] + tops[rows.start]) / 2 if rows.start else upper,
            (bottoms[rows.stop - 1] + tops[rows.stop]) / 2 if rows.stop < len(tops) else lower,
        )
    return Room(left, lower, (right - left) * box.width / dpi, (upper - lower) * box.height / dpi, spec is not None)


def _nested(spec: Any) -> list[Any]:
    """Returns a place in a grid, preceded by the places that its grid itself stands in."""
    found = [spec]
    while (outer := getattr(found[0].get_gridspec(), "_subplot_spec", None)) is not None:
        found.insert(0, outer)
    return found


def root(ax: "Axes") -> "Figure":
    """Returns the whole figure, of which the one that axes were added to may be a part.

    Args:
        ax: The axes.
    """
    return cast("Figure", ax.get_figure(root=True))


def cell(ax: "Axes") -> "Bbox":
    """Returns the room of a panel in pixels, without its edges.

    Args:
        ax: The axes.
    """
    from matplotlib.transforms import Bbox

    place, box, dpi = room(ax), ax.figure.bbox, root(ax).dpi
    x, y = box.x0 + place.left * box.width, box.y0 + place.bottom * box.height
    edge = EDGE_INCHES * dpi
    return Bbox.from_extents(x + edge, y + edge / 2, x + place.width * dpi - edge, y + place.height * dpi - edge / 2)


def begins_at_cell(ax: "Axes", heading: "Artist") -> None:
    """Says that a title begins at the edge of its panel's cell, not of its drawing, so it takes no room beside that.

    Args:
        ax: The axes.
        heading: The title.
    """
    setattr(ax, _HEADING, heading)


def settle(ax: "Axes", moved: "Callable[[Axes], None]") -> None:
    """Moves and shrinks a drawing that no layout places until all that belongs to it lies in its cell.

    It never grows beyond its place in the grid, and takes part in a layout that the figure is given later.

    Args:
        ax: The axes; those that stand in no grid stay where they are.
        moved: Called whenever the drawing has moved, to put in its place what is placed by it.
    """
    from matplotlib.transforms import Bbox

    spec, drawn = ax.get_subplotspec(), cast("Figure", ax.figure)
    if spec is None:
        return
    to_pixels: Any = drawn.transSubfigure
    usual, given = to_pixels.transform_bbox(spec.get_position(drawn)), cell(ax)
    heading: Any = getattr(ax, _HEADING, None)
    before: Bbox | None = None
    for _ in range(_STEPS):
        ax.apply_aspect()
        # Measuring also moves tick labels and axis labels along with the drawing.
        ax.get_tightbbox()
        moved(ax)
        around, own = ax.get_tightbbox(for_layout_only=True), ax.get_window_extent()
        beside = around
        if heading is not None:
            heading.set_visible(False)
            beside = ax.get_tightbbox(for_layout_only=True)
            heading.set_visible(True)
        if around is None or beside is None:
            return
        x0, x1 = max(usual.x0, given.x0 + own.x0 - beside.x0), min(usual.x1, given.x1 - (beside.x1 - own.x1))
        y0, y1 = max(usual.y0, given.y0 + own.y0 - around.y0), min(usual.y1, given.y1 - (around.y1 - own.y1))
        least_wide, least_tall = _LEAST_SHARE * given.width, _LEAST_SHARE * given.height
        x0, y0 = min(x0, given.x1 - least_wide), min(y0, given.y1 - least_tall)
        place = Bbox.from_extents(x0, y0, max(x1, x0 + least_wide), max(y1, y0 + least_tall))
        ax.set_position(to_pixels.inverted().transform_bbox(place))
        # What is placed by hand is left out of layouts; this was not.
        ax.set_in_layout(True)
        if before is not None and np.abs(np.asarray(place.extents) - np.asarray(before.extents)).max() < _STILL_PX:
            break
        before = place
    ax.apply_aspect()
    moved(ax)
