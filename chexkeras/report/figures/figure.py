"""A figure of the report as it goes to its file: panels in rows, and the cautions where no drawing can hide them.

What the figures of one report have in common: which findings they show, how parts are named, what is to be drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras.plots import style
from chexkeras.report.answers import Answers
from chexkeras.report.facts.facts import Facts

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


if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes", tuple[str, ...]], Any]


class Plan:
    """Every figure that this run and these answers allow."""

    def __init__(self, run: Any, facts: Facts, answers: Answers) -> None:
        self.run, self.facts, self.answers = run, facts, answers
        self.sheets: list[Sheet] = []
        self.findings = [str(name) for name in facts["evaluated"].value]
        self.points = {point.finding: point for point in run.operating_points}
        self.decided = [finding for finding in self.findings if finding in self.points]
        self.named = ", ".join(style.words(finding) for finding in self.findings)
        self.test = run.scores("test")
        self.leading = self._leading()

    def _leading(self) -> list[str]:
        """The findings whose curves are shown: all of a few; of many those with the most positives to learn from."""
        if len(self.findings) <= FEW:
            return self.findings
        return sorted(self.findings, key=lambda finding: -self.facts[f"test.{finding}.n_positive"].value)[:FEW]

    def led(self, shown: Sequence[str]) -> str:
        """The words of a caption that say which findings are shown."""
        named = ", ".join(style.words(finding) for finding in shown)
        if len(self.findings) <= FEW:
            return named
        return f"{named}, the {len(shown)} findings with the most positive test images"

    def counted(self, part: str) -> str:
        """How many images of how many patients a part has, where patients are known."""
        images = f"{self.facts[f'data.{part}.images'].text} images"
        if not self.facts["patients.known"].value:
            return f"{images}, patients not known"
        return f"{images} of {self.facts[f'data.{part}.patients'].text} patients"

    def add(
        self, name: str, caption: str, files: str, draw: Draw, size: tuple[float, float], *, notes_above: bool = False
    ) -> None:
        """Plans a figure of one panel."""
        self.sheet(name, caption, files, lambda _, ax, notes: draw(ax, notes), size, [name], notes_above=notes_above)

    def sheet(
        self, name: str, caption: str, files: str, draw: Panels, size: tuple[float, float], shown: Sequence[str],
        columns: int | None = None, *, notes_above: bool = False,
    ) -> None:  # fmt: skip
        """Plans a figure with a panel for each of `shown`; none where there is nothing to show."""
        if shown:
            source = f"Source: {files}."
            self.sheets.append(Sheet(Figure(name, caption, source), draw, list(shown), *size, columns, notes_above))
