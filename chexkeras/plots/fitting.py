"""Text that fits: the room that a panel has, how wide words are, and drawings whose texts stay apart and on the canvas.

How wide a drawing becomes is known only once its figure is laid out. So texts are measured then, and wrapped, moved or
thinned out where they would leave their panel or run into each other; a second layout gives them their room.
"""

import functools
import itertools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

POINTS_AN_INCH = 72.0
EDGE_INCHES = 0.06
_SAFE = 1.05
"""Type on the screen is up to so much wider than its outlines."""

_PASSES = 3
_JOINTS = "_-/;"
"""Where a word may be cut that is wider than its line."""

_LEAST_POINTS = 4.5
_FEW_TICKS = 3
_BELOW_POINTS = 7.0
_INSIDE, _AXIS_INCHES = 0.62, 0.7
"""A legend in the drawing takes up at most this share of it; what a numbered axis and its label take of a panel."""

_LEGEND_EDGES_INCHES, _LEGEND_SHARE = 0.3, 0.8
_BELOW, _WHOLE = "_chexkeras_below", "_chexkeras_whole"


@functools.lru_cache(maxsize=4096)
def text_inches(text: str, points: float, *, style: str = "normal", weight: str = "normal") -> float:
    """Returns how wide the widest line of a text is.

    Args:
        text: The text.
        points: Size of the type.
        style: "normal" or "italic".
        weight: "normal" or "bold".
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    looks: Any = {"style": style, "weight": weight}
    font, measure = FontProperties(size=points, **looks), TextToPath()
    widths = [measure.get_text_width_height_descent(line, font, ismath=False)[0] for line in text.splitlines() if line]
    return max(widths, default=0.0) * _SAFE / POINTS_AN_INCH


def wrapped(text: str, inches: float, points: float, **looks: str) -> list[str]:
    """Returns the lines of a text that has so much room, at a size of type; a word stays whole if it fits a line.

    Args:
        text: One paragraph, or several lines, which stay apart.
        inches: Width.
        points: Size of the type.
        **looks: Of the type, as `text_inches` takes them.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and text_inches(longer, points, **looks) > inches:
                lines.append(line)
                line = word
            else:
                line = longer
            while text_inches(line, points, **looks) > inches and len(line) > 1:
                # A word that is wider than its room is cut, or it would leave the panel.
                ends = range(len(line) - 1, 1, -1)
                fits = next((end for end in ends if text_inches(line[:end], points, **looks) <= inches), 1)
                joint = max(line.rfind(sign, 0, fits) for sign in _JOINTS) + 1
                fits = joint if joint > fits / 3 else fits
                lines.append(line[:fits])
                line = line[fits:]
        lines.append(line)
    return lines if text else []


def shortened(text: str, inches: float, points: float, **looks: str) -> str:
    """Returns a text that is no wider than its room, with "…" where something was left off.

    Args:
        text: One line.
        inches: Width.
        points: Size of the type.
        **looks: Of the type, as `text_inches` takes them.
    """
    if text_inches(text, points, **looks) <= inches:
        return text
    for end in range(len(text) - 1, 0, -1):
        short = text[:end].rstrip(" ,·") + "…"
        if text_inches(short, points, **looks) <= inches:
            return short
    return "…"


class Room(NamedTuple):
    """The part of a figure that belongs to one panel, tick labels and title included.

    Attributes:
        left: Left end, as a share of the figure (or of the part of it that the panel was added to).
        bottom: Lower end, likewise.
        width: In inches.
        height: In inches.
        laid_out: Whether a layout finds the drawing's place within it, once the texts around it are known.
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
    box, dpi = drawn.bbox, _root(ax).dpi
    left, right, lower, upper = 0.0, 1.0, 0.0, 1.0
    spec = ax.get_subplotspec()
    # A grid within a grid, as that of the two panels of training curves, has a share of a share.
    for part in [] if spec is None else _nested(spec):
        grid = part.get_gridspec()
        columns = np.asarray(grid.get_width_ratios(), dtype=np.float64)
        rows = np.asarray(grid.get_height_ratios(), dtype=np.float64)
        wide, tall = right - left, upper - lower
        ends = (part.colspan.start, part.colspan.stop), (part.rowspan.start, part.rowspan.stop)
        left, right = (left + wide * columns[:at].sum() / columns.sum() for at in ends[0])
        upper, lower = (upper - tall * rows[:at].sum() / rows.sum() for at in ends[1])
    laid_out = spec is not None and _root(ax).get_layout_engine() is not None
    return Room(left, lower, (right - left) * box.width / dpi, (upper - lower) * box.height / dpi, laid_out)


def _nested(spec: Any) -> list[Any]:
    """Returns a place in a grid, preceded by the places that its grid itself stands in."""
    found = [spec]
    while (outer := getattr(found[0].get_gridspec(), "_subplot_spec", None)) is not None:
        found.insert(0, outer)
    return found


def _root(ax: "Axes") -> "Figure":
    """Returns the whole figure, of which the one that axes were added to may be a part."""
    return cast("Figure", ax.get_figure(root=True))


def fit(panels: "Sequence[Axes]") -> None:
    """Lays a figure out and mends the texts of panels that would leave their room or run into each other.

    Args:
        panels: Axes of one figure, finished but for this.
    """
    if not panels:
        return
    drawn = _root(panels[0])
    every = [cast("Axes", part) for ax in panels for part in (*ax.child_axes, ax)]
    for _ in range(_PASSES):
        with warnings.catch_warnings():
            # Before its texts are fitted a narrow panel may have no room for its drawing.
            warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)
            lay_out(drawn)
        # Every panel is looked at, whether or not one before it has changed.
        if not any([_fit_panel(ax) for ax in every]):
            return
    lay_out(drawn)
    for ax in every:
        legend = ax.get_legend()
        if legend is not None and getattr(legend, _BELOW, False):
            _put_below(ax, legend)


def lay_out(drawn: "Figure") -> None:
    """Settles the layout of a figure that has one.

    Args:
        drawn: The whole figure.
    """
    engine = drawn.get_layout_engine()
    if engine is not None:
        engine.execute(drawn)
    for ax in drawn.axes:
        ax.apply_aspect()
        if engine is None:
            # The places of labels are found by whoever measures them.
            ax.get_tightbbox()


def _size(text: "Text") -> float:
    """Returns the size of a text's type in points."""
    return float(text.get_fontsize())


def _cell(ax: "Axes") -> "Bbox":
    """Returns the room of a panel in pixels, without its edges."""
    from matplotlib.transforms import Bbox

    place, box, dpi = room(ax), ax.figure.bbox, _root(ax).dpi
    x, y = box.x0 + place.left * box.width, box.y0 + place.bottom * box.height
    edge = EDGE_INCHES * dpi
    return Bbox.from_extents(x + edge, y + edge / 2, x + place.width * dpi - edge, y + place.height * dpi - edge / 2)


def _fit_panel(ax: "Axes") -> bool:
    """Mends the texts of one panel; returns whether its layout changes by that."""
    if not ax.get_visible():
        return False
    cell = _cell(ax)
    changed = False
    if ax.axison:
        changed = _thin_out(ax.xaxis, upright=False) | _thin_out(ax.yaxis, upright=True)
        changed |= _fit_label(ax, ax.xaxis.label, cell) | _fit_label(ax, ax.yaxis.label, cell)
    legend = ax.get_legend()
    if legend is not None:
        changed |= _fit_legend(ax, legend, cell)
    return changed


def _fit_label(ax: "Axes", label: "Text", cell: "Bbox") -> bool:
    """Wraps an axis label to its room and moves it into the panel."""
    text = label.get_text()
    if not text or not label.get_visible():
        return False
    upright = label.get_rotation() != 0
    own, before = ax.get_window_extent(), label.get_position()
    dpi = _root(ax).dpi
    long = own.height if upright else cell.width
    whole = getattr(label, _WHOLE, text)
    setattr(label, _WHOLE, whole)
    lines = wrapped(whole, max(long / dpi, 0.7), _size(label))
    label.set_text("\n".join(lines))
    box = label.get_window_extent()
    low, high, least, most = (box.y0, box.y1, cell.y0, cell.y1) if upright else (box.x0, box.x1, cell.x0, cell.x1)
    off = max(0.0, least - low) - max(0.0, high - most)
    if abs(off) > 0.5 and abs(off) < most - least:
        if upright:
            label.set_y(before[1] + off / own.height)
        else:
            label.set_x(before[0] + off / own.width)
    return label.get_text() != text


def _thin_out(axis: "Axis", *, upright: bool) -> bool:
    """Leaves out tick labels, or prints them smaller where each names a thing, until no two of them touch."""
    from matplotlib.ticker import MaxNLocator

    named = [label for label in axis.get_ticklabels() if label.get_visible() and label.get_text()]
    # A rotated label runs beside its neighbours, at the distance of their ticks.
    slanted = any(label.get_rotation() % 90 for label in named)
    if len(named) < 2:
        return False
    boxes = sorted(
        (box.y0, box.y1) if upright else (box.x0, box.x1) for box in (label.get_window_extent() for label in named)
    )
    if slanted:
        middles = sorted(axis.axes.transData.transform([(at, 0) for at in axis.get_majorticklocs()])[:, 0])
        pitch = float(np.diff(middles).min()) * 72 / axis.axes.figure.dpi
        points = max(_LEAST_POINTS, 0.62 * pitch)
        if points >= _size(named[0]):
            return False
        axis.set_tick_params(labelsize=points)
        return True
    gap = (0.0 if upright else 3.0) * _root(axis.axes).dpi / 100
    if all(low >= high + gap for (_, high), (low, _) in itertools.pairwise(boxes)):
        return False
    locator = axis.get_major_locator()
    if isinstance(locator, MaxNLocator):
        count = len(axis.get_majorticklocs())
        if count <= _FEW_TICKS:
            return False
        locator.set_params(nbins=max(_FEW_TICKS - 1, count - 2))
        return True
    words = [label.get_text() for label in axis.get_ticklabels()]
    pitch = float(np.median(np.diff(sorted(low + high for low, high in boxes)))) / 2
    inches, points = pitch / _root(axis.axes).dpi, _size(named[0])
    if upright:
        # Each names a row, so none can go.
        axis.set_tick_params(labelsize=max(_LEAST_POINTS, min(points - 0.5, 0.8 * inches * POINTS_AN_INCH)))
    elif any(" " in word for word in words):
        axis.set_ticklabels(["\n".join(wrapped(word, 0.94 * inches, points)) for word in words])
    else:
        axis.set_ticklabels([word if number % 2 == 0 else "" for number, word in enumerate(words)])
    return True


def legend_below(ax: "Axes", *, columns: int = 1, **looks: Any) -> "Legend | None":
    """Writes the legend under the drawing and its axis label, where it covers no data, in as many columns as fit.

    Args:
        ax: The axes.
        columns: At most so many columns.
        **looks: Further arguments of `Axes.legend`.

    Returns:
        The legend; None where nothing is labelled.
    """
    handles = looks.get("handles") or ax.get_legend_handles_labels()[0]
    if not handles:
        return None
    columns = max(1, min(columns, int((room(ax).width - _LEGEND_EDGES_INCHES) / _widest(handles))))
    looks = {"alignment": "left", **looks}
    made = ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=columns, borderaxespad=0, **looks)
    if columns == 1:
        # One that is much wider than its drawing would make a layout narrow the drawing, again and again.
        for text in made.get_texts():
            size = _size(text)
            inches = max(_LEGEND_SHARE * room(ax).width - 5 * size / POINTS_AN_INCH, 0.6)
            text.set_text("\n".join(wrapped(text.get_text(), inches, size)))
    setattr(made, _BELOW, True)
    _put_below(ax, made)
    return made


def legend_inside(ax: "Axes", loc: str = "best", **looks: Any) -> "Legend | None":
    """Writes the legend into a corner of the drawing, or under it where it would take up most of a narrow one.

    Args:
        ax: The axes.
        loc: The corner, as `Axes.legend` names it.
        **looks: Further arguments of `Axes.legend`.

    Returns:
        The legend; None where nothing is labelled.
    """
    handles, _ = ax.get_legend_handles_labels()
    if not handles:
        return None
    if _widest(handles) > _INSIDE * (room(ax).width - _AXIS_INCHES):
        return legend_below(ax, **looks)
    return ax.legend(**{"loc": loc, **looks})


def _widest(handles: "Sequence[Any]") -> float:
    """Returns how wide the widest entry of a legend is, its line or colour and the gap to the next included."""
    from matplotlib import rcParams

    points = float(rcParams["legend.fontsize"])
    return max(text_inches(str(handle.get_label()), points) for handle in handles) + 5 * points / POINTS_AN_INCH


def _put_below(ax: "Axes", legend: "Legend") -> None:
    """Puts a legend under the label of the x-axis, however many lines that has."""
    from matplotlib.transforms import offset_copy

    own, dpi = ax.get_window_extent(), _root(ax).dpi
    texts = [label for label in ax.xaxis.get_ticklabels() if label.get_text()] if ax.axison else []
    texts += [ax.xaxis.label] if ax.xaxis.label.get_text() and ax.axison else []
    texts += [text for child in ax.child_axes for text in (child.xaxis.label, *child.xaxis.get_ticklabels())]
    lowest = min([own.y0, *(text.get_window_extent().y0 for text in texts if text.get_text())])
    down = (own.y0 - lowest) * POINTS_AN_INCH / dpi + _BELOW_POINTS
    legend.set_bbox_to_anchor(
        (0.5, 0.0),
        offset_copy(ax.transAxes, fig=ax.figure, y=-down, units="points"),  # type: ignore[arg-type]
    )


def _fit_legend(ax: "Axes", legend: "Legend", cell: "Bbox") -> bool:
    """Wraps the words of a legend that is wider than its panel, and moves one under the drawing into the panel."""
    before = legend.get_window_extent()
    texts = [text.get_text() for text in legend.get_texts()]
    too_wide = before.width - cell.width
    if too_wide > 0:
        for text in [*legend.get_texts(), legend.get_title()]:
            spare = before.width - text.get_window_extent().width if len(texts) else 0.0
            lines = wrapped(text.get_text(), max((cell.width - spare) / _root(ax).dpi, 0.5), _size(text))
            text.set_text("\n".join(lines))
    if not getattr(legend, _BELOW, False):
        return texts != [text.get_text() for text in legend.get_texts()]
    _put_below(ax, legend)
    box = legend.get_window_extent()
    off = max(0.0, cell.x0 - box.x0) - max(0.0, box.x1 - cell.x1)
    if abs(off) > 0.5:
        anchor = legend.get_bbox_to_anchor().transformed(ax.transAxes.inverted())
        from matplotlib.transforms import Affine2D

        moved = Affine2D().translate(off, 0)
        legend.set_bbox_to_anchor((0.5, anchor.y0), ax.transAxes + moved)
    after = legend.get_window_extent()
    return abs(after.y0 - before.y0) > 1 or abs(after.x0 - before.x0) > 1
