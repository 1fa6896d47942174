"""A figure of the report as it goes to its file: panels in rows, and the cautions where no drawing can hide them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 6
"""Findings above this number are drawn three in a row, so that a sheet still fits on a page."""

_SHARP_PANELS, _SHEET_DPI = 4, 100
_INCHES_A_POINT = 1.3 / 72
"""Height of a line of the cautions: what they need is added to a figure, so that the drawing keeps its room."""

Panels = Callable[[str, "Axes", tuple[str, ...]], Any]


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes:
        name: Its name in the template and, with ".png", its file.
        caption: What it shows, with n; also the text for those who cannot see it.
        source: A sentence on the files of the run folder that it was drawn from.
    """

    name: str
    caption: str
    source: str

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.name}.png"


@dataclass(frozen=True)
class Sheet:
    """A figure, and how it is drawn: one panel for each name of what is shown.

    Attributes:
        figure: What it is.
        draw: Draws the panel of one name on axes, with the cautions that it shall carry.
        shown: Names of the panels, in reading order.
        width: Of each panel, in inches.
        height: Likewise; long cautions add to it.
        columns: Panels in a row; None takes two, or three where there are many.
        notes_above: Whether the cautions stand above the panel rather than on it, for drawings with long labels.
    """

    figure: Figure
    draw: Panels
    shown: Sequence[str]
    width: float
    height: float
    columns: int | None = None
    notes_above: bool = False

    def write(self, folder: Path, notes: tuple[str, ...]) -> None:
        """Draws it; the cautions stand on a single panel itself, above several (or long labels) once for all."""
        above = self.notes_above or len(self.shown) > 1
        columns = min(self.columns or (2 if len(self.shown) <= FEW else 3), len(self.shown))
        rows = -(-len(self.shown) // columns)
        points = style.note_points(self.width * columns) if above else style.NOTE_POINTS
        lines = len(style.wrapped(" ".join(notes), self.width * columns, points))
        height = self.height + _INCHES_A_POINT * points * max(0, lines - 1) / rows
        drawn, panels = style.figure(rows, columns, width=self.width, height=height)
        for name, ax in zip(self.shown, panels, strict=False):
            self.draw(name, ax, () if above else notes)
        for ax in panels[len(self.shown) :]:
            ax.remove()
        if above:
            style.figure_note(drawn, notes)
        style.save(drawn, folder / self.figure.file, dpi=style.DPI if len(self.shown) <= _SHARP_PANELS else _SHEET_DPI)
