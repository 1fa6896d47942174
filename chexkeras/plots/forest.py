"""Rows of estimates with their intervals, and columns of text beside them: the frame of every forest plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chexkeras.plots import style
from chexkeras.results import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES_A_ROW = 0.29
_POINTS = 10.0


@dataclass(frozen=True)
class Row:
    """One line of a forest plot.

    Attributes:
        label: What stands on the left.
        estimate: The number; None for a heading.
        cells: Texts of the columns between label and drawing.
        right: Text on the right of a heading; an estimate's own text stands there otherwise.
        bold: Whether the label is a heading.
        summary: Whether the estimate is the overall one, drawn as a diamond.
    """

    label: str
    estimate: Estimate | None = None
    cells: tuple[str, ...] = ()
    right: str = ""
    bold: bool = False
    summary: bool = False


def height_of(rows: int) -> float:
    """Returns the height in inches of a new figure with so many rows."""
    return 1.5 + _INCHES_A_ROW * rows


def draw_rows(
    ax: "Axes", rows: Sequence[Row], *, columns: Sequence[str] = (), right_heading: str = "", digits: int = 3
) -> None:
    """Draws rows from the top down: labels and columns on the left, estimates in the middle, texts on the right.

    Args:
        ax: The axes; its x-axis is the statistic's.
        rows: What to draw.
        columns: Headings of the cells.
        right_heading: Heading of the texts on the right.
        digits: Decimals of these texts.
    """
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=_POINTS)
    positions = list(range(len(rows)))
    ax.set_ylim(len(rows) - 0.4, -1.2)
    ax.set_yticks(positions, [""] * len(rows))
    beside = ax.get_yaxis_transform()
    # Offsets in points, so that columns keep their distance whatever the size of the drawing.
    width = 52
    label_at = -(width * len(columns) + 8)

    def text(x: float, y: float, content: str, offset: float, align: str, **looks: Any) -> None:
        ax.annotate(
            content, (x, y), xycoords=beside, xytext=(offset, 0), textcoords="offset points", ha=align, va="center",
            fontsize=_POINTS, annotation_clip=False, **looks,
        )  # fmt: skip

    for number, heading in enumerate(columns):
        text(0, -0.8, heading, -(width * (len(columns) - number - 1) + 10), "right", color=style.GREY)
    text(1, -0.8, right_heading, 8, "left", color=style.GREY)
    for y, row in zip(positions, rows, strict=True):
        text(0, y, row.label, label_at, "right", fontweight="bold" if row.bold or row.summary else "normal")
        for number, cell in enumerate(row.cells):
            text(0, y, cell, -(width * (len(row.cells) - number - 1) + 10), "right")
        if row.estimate is None:
            text(1, y, row.right, 8, "left", fontstyle="italic")
        elif not row.estimate.estimable:
            text(1, y, row.right or row.estimate.reason.split(",")[0], 8, "left", color=style.GREY, fontstyle="italic")
        else:
            _draw(ax, y, row.estimate, summary=row.summary)
            text(1, y, row.right or _numbers(row.estimate, digits), 8, "left")


def _draw(ax: "Axes", y: float, estimate: Estimate, *, summary: bool) -> None:
    ax.errorbar(
        [estimate.value],
        [y],
        xerr=[[estimate.value - estimate.low], [estimate.high - estimate.value]],
        color=style.INK if summary else style.BLUE,
        marker="D" if summary else "s",
        markersize=6.5 if summary else 5.5,
        linestyle="none",
        linewidth=1.4,
        capsize=2.5,
        zorder=3,
    )


def _numbers(estimate: Estimate, digits: int) -> str:
    value, low, high = (f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high))
    between = " to " if estimate.low < 0 else "–"
    return f"{value} ({low}{between}{high})".replace("-", "−")
