"""One look for every figure: colours that the colour-blind can tell apart, sizes for print, cautions that stay."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from chexkeras.plots.cautions import cautions as cautions
from chexkeras.plots.cautions import short_line
from chexkeras.plots.fitting import fit
from chexkeras.plots.fitting import legend_below as legend_below
from chexkeras.plots.fitting import legend_inside as legend_inside
from chexkeras.plots.layout.cell import EDGE_INCHES, begins_at_cell
from chexkeras.plots.layout.cell import room as room
from chexkeras.plots.layout.measures import shortened as shortened
from chexkeras.plots.layout.measures import text_inches as text_inches
from chexkeras.plots.layout.measures import wrapped as wrapped
from chexkeras.plots.layout.names import keep_beside as keep_beside
from chexkeras.plots.layout.names import keep_inside as keep_inside
from chexkeras.results import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

Parameters = ParamSpec("Parameters")
Drawn = TypeVar("Drawn")

BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
AMBER = "#E69F00"
INK = "#222222"
GREY = "#7A7A7A"
PALE = "#E9ECEF"
"""Okabe and Ito's palette, with greys: distinguishable with any common colour vision and in black-and-white print.

Source: Okabe and Ito, "Color Universal Design", jfly.uni-koeln.de/color.
"""

DPI = 150
NOTE_COLOUR = "#8C2D04"
NOTE_POINTS = 10.0
_USUAL_INCHES, _SMALLEST = (4.4, 3.2), 0.7
"""In a panel narrower or lower than this type is smaller, but not by more than this factor."""

_PAGE_INCHES, _LEAST_POINTS = 6.8, 7.0
"""A figure is at most so wide on a printed page; type below this size cannot be read there."""

_FITTED_LATER = "_chexkeras_fitted_later"

_RC: Any = {
    "figure.dpi": 100,
    "savefig.dpi": DPI,
    "savefig.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "lines.linewidth": 1.8,
    "text.parse_math": False,
}


@contextlib.contextmanager
def house_style(scale: float = 1.0) -> Iterator[None]:
    """Applies the package's look inside a ``with`` block and restores whatever the caller had set.

    Args:
        scale: What sizes of type are multiplied by.
    """
    from matplotlib import rcParams

    # Not rc_context, which restores every setting: the first figure of a notebook switches pyplot to interactive, and
    # with that undone Jupyter would show no figure after the first.
    before = {name: rcParams[name] for name in _RC}
    rcParams.update(_RC)
    rcParams.update({name: _RC[name] * scale for name in _RC if name.endswith(("labelsize", "fontsize", "font.size"))})
    try:
        yield
    finally:
        rcParams.update(before)


def styled(draw: Callable[Parameters, Drawn]) -> Callable[Parameters, Drawn]:
    """Returns `draw` wrapped so that it always draws in the house style, and its texts fit into their panel.

    In the narrow panel of a grid type is smaller. Figures from `figure` are fitted once, when they are saved.
    """

    @functools.wraps(draw)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Drawn:
        from matplotlib.axes import Axes

        given = kwargs.get("ax")
        before: list[Axes] = list(given.figure.axes) if isinstance(given, Axes) else []
        with house_style(_scale(given) if isinstance(given, Axes) else 1.0):
            if isinstance(given, Axes):
                _dress(given)
            drawn = draw(*args, **kwargs)
            if isinstance(drawn, Axes) and not getattr(drawn.get_figure(root=True), _FITTED_LATER, False):
                made = [ax for ax in drawn.figure.axes if ax not in before and ax is not drawn]
                fit([drawn, *made])
        return drawn

    return wrapper


def _dress(ax: "Axes") -> None:
    """Gives axes that came from elsewhere type of the size that everything else in the panel has."""
    from matplotlib import rcParams

    for axis, size in ((ax.xaxis, rcParams["xtick.labelsize"]), (ax.yaxis, rcParams["ytick.labelsize"])):
        axis.set_tick_params(labelsize=size)
        axis.label.set_fontsize(rcParams["axes.labelsize"])


def _scale(ax: "Axes") -> float:
    place = room(ax)
    return max(_SMALLEST, min(1.0, place.width / _USUAL_INCHES[0], place.height / _USUAL_INCHES[1]))


def axes(ax: "Axes | None", width: float = 6.4, height: float = 4.4) -> "Axes":
    """Returns `ax`, or the axes of a new pyplot figure, which notebooks then show by themselves.

    Args:
        ax: Axes to draw on, or None.
        width: Of a new figure, in inches.
        height: Of a new figure, in inches.
    """
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def figure(rows: int = 1, columns: int = 1, *, width: float = 6.4, height: float = 4.4) -> "tuple[Figure, list[Axes]]":
    """Returns a figure that pyplot does not know, so that nothing needs closing, and its axes in reading order.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        width: Of each panel, in inches.
        height: Of each panel, in inches.
    """
    from matplotlib.figure import Figure

    with house_style():
        drawn = Figure(figsize=(width * columns, height * rows), layout="constrained")
        setattr(drawn, _FITTED_LATER, True)
        if rows * columns == 1:
            return drawn, [drawn.subplots()]
        # Each panel in a part of its own, whose size is known before anything is drawn: titles and cautions fit it.
        parts = drawn.subfigures(rows, columns, squeeze=False)
        return drawn, [part.subplots() for part in parts.ravel()]


def points(size: float) -> float:
    """Returns a size of type as it is in this panel: smaller in a narrow one.

    Args:
        size: The size in a panel of usual width.
    """
    from matplotlib import rcParams

    return size * float(rcParams["font.size"]) / _RC["font.size"]


def title(ax: "Axes", text: str, notes: tuple[str, ...] = ()) -> None:
    """Writes the title and, between it and the drawing, the cautions in one line: see `cautions.short_line`.

    Above the drawing they cannot collide with tick labels of any length; they begin at the edge of the panel, so that
    long tick labels, which leave the drawing little room, cut none of them off.

    Args:
        ax: The axes.
        text: The title.
        notes: Cautions, from `cautions`.
    """
    from matplotlib.transforms import blended_transform_factory

    place = across(ax)
    size, note_size = points(_RC["axes.titlesize"]), points(NOTE_POINTS)
    line = short_line(notes, place.inches, note_size)
    pad = 6 + (1.4 * note_size if line else 0)
    heading = ax.set_title(
        "\n".join(wrapped(text, place.inches, size, weight="bold")), loc="left", pad=pad, fontsize=size
    )
    if place.coordinates == "subfigure fraction":
        above: Any = ax
        offset = above.transAxes + above.titleOffsetTrans
        heading.set_transform(blended_transform_factory(above.figure.transSubfigure, offset))
        heading.set_x(place.x)
        begins_at_cell(ax, heading)
    if line:
        note = ax.annotate(
            line,
            xy=(place.x, 1),
            xycoords=(place.coordinates, "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=note_size,
            fontstyle="italic",
            color=NOTE_COLOUR,
            label="caution",
        )
        # The title above it keeps its room; its length must not push the drawing aside.
        note.set_in_layout(False)
        _keep_when_cropped(note)


def _keep_when_cropped(note: "Text") -> None:
    """Keeps a text that the layout passes over on a figure that is cropped to what is drawn, as in notebooks."""
    from matplotlib.artist import Artist

    place = Artist()
    place.get_tightbbox = functools.partial(_extent, note)  # type: ignore[method-assign]
    figure: Any = note.figure
    figure.add_artist(place)


def _extent(note: "Text", renderer: Any = None) -> "Bbox | None":
    """Returns where a text stands, in pixels; None once it was taken off its figure."""
    return note.get_window_extent(renderer) if note.figure is not None else None


class Across(NamedTuple):
    """Where text that runs across a whole panel begins, and how much room it has.

    Attributes:
        x: Left end, a share of the figure or of the drawing.
        coordinates: What `x` is a share of: "subfigure fraction", which is that of the whole figure where the panel was
            added to no part of it, or "axes fraction".
        inches: Width.
    """

    x: float
    coordinates: str
    inches: float


def across(ax: "Axes") -> Across:
    """Returns where text across a panel goes: from edge to edge of its share of the figure, tick labels included.

    How wide the drawing itself becomes is known only once the figure is laid out; its share of the figure is fixed.
    Without a layout the drawing's place is known, and the text begins there.

    Args:
        ax: The axes.
    """
    place, box = room(ax), ax.figure.bbox
    width = box.width / ax.figure.dpi
    if place.laid_out:
        return Across(place.left + EDGE_INCHES / width, "subfigure fraction", place.width - 2 * EDGE_INCHES)
    begins = (ax.get_window_extent().x0 - box.x0) / ax.figure.dpi
    return Across(0.0, "axes fraction", max(place.left * width + place.width - begins - EDGE_INCHES, 0.5))


def interval_text(estimate: Estimate, digits: int = 3) -> str:
    """Returns, for example, "0.873 (95 % CI 0.812–0.917)", or "not estimable"."""
    if not estimate.estimable:
        return "not estimable"
    value, low, high = (f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high))
    between = " to " if estimate.low < 0 else "–"
    caution = ", approximate" if estimate.caution else ""
    return f"{value} ({estimate.confidence * 100:g} % CI {low}{between}{high}{caution})"


def words(finding: str) -> str:
    """Returns a finding's name as prose prints it: "Pleural_Thickening" becomes "Pleural Thickening"."""
    return finding.replace("_", " ")


def error_bars(
    ax: "Axes", x: "float | Estimate", y: "float | Estimate", *, marker: str = "o", colour: str = BLUE, **looks: Any
) -> None:
    """Draws one point with the intervals of its coordinates.

    Args:
        ax: The axes.
        x: Where it lies; an estimate is drawn with its interval.
        y: Where it lies; an estimate is drawn with its interval.
        marker: Its shape, as matplotlib names it.
        colour: Of point and bars.
        **looks: Further arguments of `Axes.errorbar`.
    """
    at: list[float] = []
    errors: list[Any] = []
    for place in (x, y):
        if isinstance(place, Estimate):
            at.append(place.value)
            errors.append([[place.value - place.low], [place.high - place.value]])
        else:
            at.append(place)
            errors.append(None)
    looks = {"linestyle": "none", "capsize": 2.5, **looks}
    ax.errorbar([at[0]], [at[1]], xerr=errors[0], yerr=errors[1], color=colour, marker=marker, **looks)


def figure_note(drawn: "Figure", notes: tuple[str, ...]) -> None:
    """Writes cautions once above all panels of a figure, in one line.

    Args:
        drawn: The figure.
        notes: Cautions, from `cautions`.
    """
    if notes:
        width = float(drawn.get_size_inches()[0])
        size = note_points(width)
        drawn.suptitle(
            short_line(notes, width - 2 * EDGE_INCHES, size), x=EDGE_INCHES / width, ha="left", fontsize=size,
            fontstyle="italic", color=NOTE_COLOUR,
        )  # fmt: skip


def note_points(width: float) -> float:
    """Returns the size of the cautions on a figure of so many inches: wide ones are printed smaller.

    Args:
        width: Of the figure, in inches.
    """
    return max(NOTE_POINTS, _LEAST_POINTS * width / _PAGE_INCHES)


_SQUARE_PAD_INCHES = 0.26


def settle(drawn: "Figure") -> None:
    """Settles the layout of a finished figure for good, with its texts fitted.

    Args:
        drawn: A figure from `figure`, or any other.
    """
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    engine = drawn.get_layout_engine()
    if engine is None or isinstance(engine, PlaceHolderLayoutEngine):
        return
    if any(ax.get_aspect() == 1.0 for ax in drawn.axes):
        # The layout takes a square drawing for lower than it becomes: title and label would touch the edges.
        engine.set(h_pad=_SQUARE_PAD_INCHES)  # type: ignore[call-arg]
    with house_style():
        fit(drawn.axes)
    # Drawing would settle the layout once more; for many panels that is most of the time.
    drawn.set_layout_engine("none")


def save(drawn: "Figure", path: str | Path, *, dpi: int = DPI) -> None:
    """Writes a finished figure as PNG.

    Args:
        drawn: The figure; its layout is settled here and fixed.
        path: Where to.
        dpi: Pixels per inch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    settle(drawn)
    drawn.set_facecolor("white")
    drawn.set_dpi(dpi)
    # savefig would draw everything once more without drawing it, for layouts that are settled already.
    FigureCanvasAgg(drawn).print_png(str(path))
