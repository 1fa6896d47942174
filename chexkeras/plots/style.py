"""One look for every figure: colours that the colour-blind can tell apart, sizes for print, cautions that stay."""

import contextlib
import functools
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from chexkeras.results import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
_POINTS_A_LINE, _LETTERS_AN_INCH, _EDGE_INCHES = 14.0, 12.0, 0.06
_PAGE_INCHES, _LEAST_POINTS = 6.8, 7.0
"""A figure is at most so wide on a printed page; type below this size cannot be read there."""

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
def house_style() -> Iterator[None]:
    """Applies the package's look inside a ``with`` block and restores whatever the caller had set."""
    from matplotlib import rcParams

    # Not rc_context, which restores every setting: the first figure of a notebook switches pyplot to interactive, and
    # with that undone Jupyter would show no figure after the first.
    before = {name: rcParams[name] for name in _RC}
    rcParams.update(_RC)
    try:
        yield
    finally:
        rcParams.update(before)


def styled(draw: Callable[Parameters, Drawn]) -> Callable[Parameters, Drawn]:
    """Returns `draw` wrapped so that it always draws in the house style."""

    @functools.wraps(draw)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Drawn:
        with house_style():
            return draw(*args, **kwargs)

    return wrapper


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
        panels = drawn.subplots(rows, columns, squeeze=False)
    return drawn, list(panels.ravel())


def cautions(note: "str | Iterable[str] | None", *bearers: Any) -> tuple[str, ...]:
    """Returns the sentences that must stand on a figure.

    Args:
        note: What the caller wants there: a sentence, several, or "" for none. None means whatever the data carry.
        *bearers: Objects which may carry cautions: an image table (through its source), an Evaluation, a Run.
    """
    if note is not None:
        return tuple(part for part in ([note] if isinstance(note, str) else note) if part)
    found: list[str] = []
    for bearer in bearers:
        carried = getattr(bearer, "attrs", {})
        found.extend(getattr(carried.get("source"), "cautions", ()) or carried.get("cautions", ()))
        found.extend(getattr(bearer, "cautions", ()) or ())
    return tuple(dict.fromkeys(found))


def title(ax: "Axes", text: str, notes: tuple[str, ...] = ()) -> None:
    """Writes the title and, between it and the drawing, the cautions.

    Above the drawing they cannot collide with tick labels of any length; they run across the whole panel, so that long
    tick labels, which leave the drawing little room, cut none of them off.

    Args:
        ax: The axes.
        text: The title.
        notes: Cautions, from `cautions`.
    """
    place = across(ax)
    lines = wrapped(" ".join(notes), place.inches)
    ax.set_title(text, loc="left", pad=6 + _POINTS_A_LINE * len(lines))
    if lines:
        note = ax.annotate(
            "\n".join(lines),
            xy=(place.x, 1),
            xycoords=(place.coordinates, "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=NOTE_POINTS,
            fontstyle="italic",
            color=NOTE_COLOUR,
            label="caution",
        )
        # The title above it keeps its room; its length must not push the drawing aside.
        note.set_in_layout(False)


class Across(NamedTuple):
    """Where text that runs across a whole panel begins, and how much room it has.

    Attributes:
        x: Left end.
        coordinates: What `x` is measured in.
        inches: Width.
    """

    x: float
    coordinates: str
    inches: float


def across(ax: "Axes") -> Across:
    """Returns where text across a panel goes: from edge to edge of its share of the figure, tick labels included.

    How wide the drawing itself becomes is known only once the figure is laid out; its share of the figure is fixed.
    Without a layout the drawing's own width is all that is known.

    Args:
        ax: The axes.
    """
    from matplotlib.figure import Figure

    drawn, spec = ax.figure, ax.get_subplotspec()
    if not isinstance(drawn, Figure) or drawn.get_layout_engine() is None or spec is None:
        return Across(0, "axes fraction", ax.get_window_extent().width / ax.figure.dpi)
    ratios = np.asarray(spec.get_gridspec().get_width_ratios(), dtype=np.float64)
    start, stop = (float(ratios[:column].sum() / ratios.sum()) for column in (spec.colspan.start, spec.colspan.stop))
    width = float(drawn.get_size_inches()[0])
    return Across(start + _EDGE_INCHES / width, "figure fraction", width * (stop - start) - 2 * _EDGE_INCHES)


def wrapped(text: str, inches: float, points: float = NOTE_POINTS) -> list[str]:
    """Returns the lines of a text that has so much room, at a size of type.

    Args:
        text: One paragraph.
        inches: Width.
        points: Size of the type.
    """
    return textwrap.wrap(text, max(24, int(_LETTERS_AN_INCH * 10 / points * inches)))


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
    """Writes cautions once above all panels of a figure.

    Args:
        drawn: The figure.
        notes: Cautions, from `cautions`.
    """
    if notes:
        width = float(drawn.get_size_inches()[0])
        lines = wrapped(" ".join(notes), width - 2 * _EDGE_INCHES, note_points(width))
        drawn.suptitle("\n".join(lines), fontsize=note_points(width), fontstyle="italic", color=NOTE_COLOUR)


def note_points(width: float) -> float:
    """Returns the size of the cautions on a figure of so many inches: wide ones are printed smaller.

    Args:
        width: Of the figure, in inches.
    """
    return max(NOTE_POINTS, _LEAST_POINTS * width / _PAGE_INCHES)


_SQUARE_PAD_INCHES = 0.26


def save(drawn: "Figure", path: str | Path, *, dpi: int = DPI) -> None:
    """Writes a finished figure as PNG.

    Args:
        drawn: The figure; its layout is settled here and fixed.
        path: Where to.
        dpi: Pixels per inch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    engine = drawn.get_layout_engine()
    if engine is not None:
        if any(ax.get_aspect() == 1.0 for ax in drawn.axes):
            # The layout takes a square drawing for lower than it becomes: title and label would touch the edges.
            engine.set(h_pad=_SQUARE_PAD_INCHES)  # type: ignore[call-arg]
        # Saving would settle the layout twice over; for many panels that is most of the time.
        engine.execute(drawn)
        drawn.set_layout_engine("none")
    drawn.set_facecolor("white")
    drawn.set_dpi(dpi)
    # savefig would draw everything once more without drawing it, for layouts that are settled already.
    FigureCanvasAgg(drawn).print_png(str(path))
