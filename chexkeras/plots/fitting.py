"""Text that fits: the room that a panel has, how wide words are, and drawings whose texts stay apart and on the canvas.

How wide a drawing becomes is known only once its figure is laid out. So texts are measured then, and wrapped, moved or
thinned out where they would leave their panel or run into each other; a second layout gives them their room.
"""

import itertools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from chexkeras.plots.layout.cell import cell as cell_of
from chexkeras.plots.layout.cell import room, root, settle
from chexkeras.plots.layout.measures import POINTS_AN_INCH, text_inches, wrapped
from chexkeras.plots.layout.names import fit_names, fit_texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

_PASSES = 3
_LEAST_POINTS = 4.5
_FEW_TICKS = 3
_BELOW_POINTS = 7.0
_INSIDE, _AXIS_INCHES = 0.62, 0.7
"""A legend in the drawing takes up at most this share of it; what a numbered axis and its label take of a panel."""

_WIDTH_OF_SMALL, _HEIGHT_OF_SMALL, _LEAST_LEGEND_POINTS, _TITLE_INCHES = 0.92, 0.5, 6.0, 1.1
_HEIGHT_OF_CORNER = 0.7
"""In smaller type it may take so much of the drawing's width and height; what title and axis label take of a panel."""

_LEGEND_EDGES_INCHES, _LEGEND_SHARE = 0.3, 0.8
_BELOW, _CORNER, _WHOLE, _FITTED = "_chexkeras_below", "_chexkeras_corner", "_chexkeras_whole", "_chexkeras_fitted"


def fit(panels: "Sequence[Axes]") -> None:
    """Lays a figure out and mends the texts of panels that would leave their room or run into each other.

    Args:
        panels: Axes of one figure, finished but for this.
    """
    if not panels:
        return
    drawn = root(panels[0])
    if drawn.get_layout_engine() is not None:
        # What is drawn beside a panel changes its room, so those fitted before it are looked at again.
        panels = [*(ax for ax in getattr(drawn, _FITTED, ()) if ax in drawn.axes and ax not in panels), *panels]
        setattr(drawn, _FITTED, panels)
    every = [cast("Axes", part) for ax in panels for part in (*ax.child_axes, ax)]
    for _ in range(_PASSES):
        with warnings.catch_warnings():
            # Before its texts are fitted a narrow panel may have no room for its drawing.
            warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)
            lay_out(drawn, panels)
        # Every panel is looked at, whether or not one before it has changed.
        if not any([_fit_panel(ax) for ax in every]):
            return
    lay_out(drawn, panels)
    for ax in every:
        _legend_follows(ax)


def _legend_follows(ax: "Axes") -> None:
    """Puts the legend under the drawing, where it stands there, once that has moved."""
    legend = ax.get_legend()
    if legend is not None and getattr(legend, _BELOW, False):
        _put_below(ax, legend)


def lay_out(drawn: "Figure", panels: "Sequence[Axes]" = ()) -> None:
    """Settles the layout of a figure that has one; in one without, each panel keeps to its own cell.

    Args:
        drawn: The whole figure.
        panels: Those of its axes that are placed here where the figure has no layout.
    """
    engine = drawn.get_layout_engine()
    if engine is not None:
        engine.execute(drawn)
    else:
        for ax in panels:
            settle(ax, _legend_follows)
    for ax in drawn.axes:
        ax.apply_aspect()
        if engine is None:
            # The places of labels are found by whoever measures them.
            ax.get_tightbbox()


def _size(text: "Text") -> float:
    """Returns the size of a text's type in points."""
    return float(text.get_fontsize())


def _fit_panel(ax: "Axes") -> bool:
    """Mends the texts of one panel; returns whether its layout changes by that."""
    if not ax.get_visible():
        return False
    cell = cell_of(ax)
    changed = False
    if ax.axison:
        changed = fit_names(ax, cell)
        changed |= _thin_out(ax.xaxis, upright=False) | _thin_out(ax.yaxis, upright=True)
        changed |= _fit_label(ax, ax.xaxis.label, cell) | _fit_label(ax, ax.yaxis.label, cell)
    changed |= fit_texts(ax)
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
    own, before = ax.get_window_extent(), (0.5, 0.5)
    # From its own place, wherever an earlier look at it has moved it.
    if upright:
        label.set_y(before[1])
    else:
        label.set_x(before[0])
    dpi = root(ax).dpi
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
    gap = (0.0 if upright else 3.0) * root(axis.axes).dpi / 100
    if all(low >= high + gap for (_, high), (low, _) in itertools.pairwise(boxes)):
        return False
    locator = axis.get_major_locator()
    if isinstance(locator, MaxNLocator):
        # Ticks beyond the ends of the axis are not drawn.
        low, high = sorted(axis.get_view_interval())
        count = sum(low <= at <= high for at in axis.get_majorticklocs())
        if count <= _FEW_TICKS:
            return False
        locator.set_params(nbins=max(_FEW_TICKS - 1, count - 2))
        return True
    words = [label.get_text() for label in axis.get_ticklabels()]
    pitch = float(np.median(np.diff(sorted(low + high for low, high in boxes)))) / 2
    inches, points = pitch / root(axis.axes).dpi, _size(named[0])
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
    """Writes the legend into a corner of the drawing, in smaller type in a narrow one, or else under it.

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
    from matplotlib import rcParams

    place, points = room(ax), float(rcParams["legend.fontsize"])
    if _widest(handles) <= _INSIDE * (place.width - _AXIS_INCHES):
        return _in_corner(ax.legend(**{"loc": loc, **looks}))
    # Under a low drawing a legend would take most of its height; small type in a corner takes less.
    tall = place.height - _TITLE_INCHES
    wide = min(place.width - _AXIS_INCHES, tall) if ax.get_aspect() == 1.0 else place.width - _AXIS_INCHES
    lines = sum(str(handle.get_label()).count("\n") + 1 for handle in handles)
    smaller = points * min(
        _WIDTH_OF_SMALL * wide / _widest(handles), _HEIGHT_OF_SMALL * tall * POINTS_AN_INCH / (1.6 * lines * points)
    )
    if smaller < _LEAST_LEGEND_POINTS:
        return legend_below(ax, **looks)
    return _in_corner(ax.legend(**{"loc": loc, **looks, "fontsize": min(points, smaller)}))


def _in_corner(legend: "Legend") -> "Legend":
    setattr(legend, _CORNER, True)
    return legend


def _fit_corner(ax: "Axes", legend: "Legend") -> bool:
    """Prints a legend in the drawing smaller where that is narrow, or puts it below; returns whether it did."""
    own, box = ax.get_window_extent(), legend.get_window_extent()
    factor = min(own.width / box.width, _HEIGHT_OF_CORNER * own.height / box.height)
    if factor >= 1:
        return False
    texts = [*legend.get_texts(), *([legend.get_title()] if legend.get_title().get_text() else [])]
    sizes = [_size(text) for text in texts]
    # The lines and colours beside the words keep their width.
    factor *= _WIDTH_OF_SMALL
    if factor * max(sizes) < _LEAST_LEGEND_POINTS:
        legend.set_loc("upper center")
        setattr(legend, _CORNER, False)
        setattr(legend, _BELOW, True)
        _put_below(ax, legend)
        return True
    for text, size in zip(texts, sizes, strict=True):
        text.set_fontsize(factor * size)
    return False


def _widest(handles: "Sequence[Any]") -> float:
    """Returns how wide the widest entry of a legend is, its line or colour and the gap to the next included."""
    from matplotlib import rcParams

    points = float(rcParams["legend.fontsize"])
    return max(text_inches(str(handle.get_label()), points) for handle in handles) + 5 * points / POINTS_AN_INCH


def _put_below(ax: "Axes", legend: "Legend") -> None:
    """Puts a legend under the label of the x-axis, however many lines that has."""
    from matplotlib.transforms import offset_copy

    own, dpi = ax.get_window_extent(), root(ax).dpi
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
    below = getattr(legend, _CORNER, False) and _fit_corner(ax, legend)
    before = legend.get_window_extent()
    texts = [text.get_text() for text in legend.get_texts()]
    too_wide = before.width - cell.width
    if too_wide > 0:
        for text in [*legend.get_texts(), legend.get_title()]:
            spare = before.width - text.get_window_extent().width if len(texts) else 0.0
            lines = wrapped(text.get_text(), max((cell.width - spare) / root(ax).dpi, 0.5), _size(text))
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
    return below or abs(after.y0 - before.y0) > 1 or abs(after.x0 - before.x0) > 1
