"""One look for every figure: colours that the colour-blind can tell apart, sizes for print, cautions that stay."""

import contextlib
import functools
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

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
        height: Likewise.
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
        height: Likewise.
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

    Above the drawing they cannot collide with tick labels of any length, and no crop of the axes loses them.

    Args:
        ax: The axes.
        text: The title.
        notes: Cautions, from `cautions`.
    """
    # About 16 characters of 8-point type fit into an inch.
    width_inches = ax.get_window_extent().width / ax.figure.dpi
    lines = textwrap.wrap(" ".join(notes), max(24, int(16 * width_inches)))
    ax.set_title(text, loc="left", pad=6 + 11.5 * len(lines))
    if lines:
        ax.annotate(
            "\n".join(lines),
            xy=(0, 1),
            xycoords="axes fraction",
            xytext=(0, 4),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=8,
            fontstyle="italic",
            color=NOTE_COLOUR,
            label="caution",
        )


def interval_text(estimate: Estimate, digits: int = 3) -> str:
    """Returns, for example, "0.873 (95 % CI 0.812–0.917)", or "not estimable"."""
    if not estimate.estimable:
        return "not estimable"
    value, low, high = (f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high))
    between = " to " if estimate.low < 0 else "–"
    return f"{value} ({estimate.confidence * 100:g} % CI {low}{between}{high})"


def words(finding: str) -> str:
    """Returns a finding's name as prose prints it: "Pleural_Thickening" becomes "Pleural Thickening"."""
    return finding.replace("_", " ")


def figure_note(drawn: "Figure", notes: tuple[str, ...]) -> None:
    """Writes cautions once above all panels of a figure.

    Args:
        drawn: The figure.
        notes: Cautions, from `cautions`.
    """
    if notes:
        lines = textwrap.wrap(" ".join(notes), int(13 * drawn.get_size_inches()[0]))
        drawn.suptitle("\n".join(lines), fontsize=9, fontstyle="italic", color=NOTE_COLOUR)


def save(drawn: "Figure", path: str | Path, *, dpi: int = DPI) -> None:
    """Writes a finished figure as PNG.

    Args:
        drawn: The figure; its layout is settled here and fixed.
        path: Where to.
        dpi: Pixels per inch.
    """
    engine = drawn.get_layout_engine()
    if engine is not None:
        # Saving would settle the layout twice over; for many panels that is most of the time.
        engine.execute(drawn)
        drawn.set_layout_engine("none")
    drawn.savefig(path, dpi=dpi, facecolor="white")
