"""A figure of the report as it goes to its file: panels in rows, and the cautions where no drawing can hide them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

FEW = 6
"""Panels above this number are drawn three in a row, so that a figure still fits on a page."""

_SHARP_PANELS, _DPI_OF_MANY = 4, 100

DrawPanel = Callable[[str, "Axes", tuple[str, ...]], Any]
"""Draws the panel of one name on axes, with the cautions that it shall carry."""


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
class PlannedFigure:
    """A figure not yet drawn: what it says, and how each of its panels is drawn.

    Attributes:
        caption: What it shows, with n.
        files: The files of the run folder that it is drawn from, in words.
        draw: Draws one panel.
        size: Width and height of each panel, in inches.
        panels: Names of the panels, in reading order, mostly findings; one without a name by default.
        columns: Panels in a row; None takes two, or three where there are many.
        notes_above: Whether the cautions stand above the panel rather than on it, for drawings with long labels.
        name: The figure's name in the template; the catalogue fills it in.
    """

    caption: str
    files: str
    draw: DrawPanel
    size: tuple[float, float]
    panels: Sequence[str] = ("",)
    columns: int | None = None
    notes_above: bool = False
    name: str = ""

    @property
    def figure(self) -> Figure:
        """The figure as the template uses it."""
        return Figure(self.name, self.caption, f"Source: {self.files}.")

    def write(self, folder: Path, notes: tuple[str, ...]) -> None:
        """Draws it; the cautions stand on a single panel itself, above several (or long labels) once for all.

        Args:
            folder: Where the PNG file goes; must exist.
            notes: The cautions, a sentence each.
        """
        count = len(self.panels)
        style.save(
            self.drawn(notes), folder / self.figure.file, dpi=style.DPI if count <= _SHARP_PANELS else _DPI_OF_MANY
        )

    def drawn(self, notes: tuple[str, ...]) -> "MatplotlibFigure":
        """Returns the figure, its texts fitted, not yet written.

        Args:
            notes: The cautions, a sentence each.
        """
        (width, height), count = self.size, len(self.panels)
        above = self.notes_above or count > 1
        columns = min(self.columns or (2 if count <= FEW else 3), count)
        rows = -(-count // columns)
        made, panels = style.figure(rows, columns, width=width, height=height)
        for name, ax in zip(self.panels, panels, strict=False):
            self.draw(name, ax, () if above else notes)
        for ax in panels[count:]:
            ax.remove()
        if above:
            style.figure_note(made, notes)
        style.settle(made)
        return made
