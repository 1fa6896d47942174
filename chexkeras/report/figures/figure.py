"""A figure of the report as it goes to its file: panels in rows, and the cautions where no drawing can hide them."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras.plots import style
from chexkeras.plots.cautions import kinds
from chexkeras.results import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

_LEADING = re.compile(r"^average precision(?: at the prevalence of these images, [\d.]+)?, ")
_COUNTS = re.compile(r" of \d[\d,]* patients| at the effective sample size \d[\d.,]*|[,;]? worth \d[\d.]*")
_ENDS = re.compile(r"[,;](?! clustered)| on \d| \(\d")
_EFFECTIVE = " at the effective sample size"

FEW = 6
"""Panels above this number are drawn three in a row, so that a figure still fits on a page."""

_SHARP_PANELS, _DPI_OF_MANY = 4, 100


def intervals_in_words(estimates: Iterable[Estimate]) -> str:
    """Returns how intervals were computed, without the numbers of each: "95 % intervals: DeLong clustered by patient".

    Args:
        estimates: Those drawn; what is not estimable has no interval.
    """
    known = [estimate for estimate in estimates if estimate.estimable and estimate.method]
    methods = dict.fromkeys(_method(estimate.method) for estimate in known)
    levels = " and ".join(dict.fromkeys(f"{estimate.confidence * 100:g} %" for estimate in known))
    return f"{levels} intervals: {'; '.join(methods)}" if methods else ""


def _method(text: str) -> str:
    """Returns a method's name.

    Example:
        >>> _method("Clopper-Pearson at the effective sample size 114.7 (Korn & Graubard 1998); 125 images")
        'Clopper-Pearson at the effective sample size (Korn & Graubard 1998)'
    """
    text = _COUNTS.sub(lambda found: _EFFECTIVE if found[0].startswith(_EFFECTIVE) else "", _LEADING.sub("", text))
    return _ENDS.split(text)[0].strip()


DrawPanel = Callable[[str, "Axes", tuple[str, ...]], Any]
"""Draws the panel of one name on axes, with the cautions that it shall carry."""


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes:
        name: Its name in the template and, with ".png", its file.
        caption: What it shows, with n and the part; also the text for those who cannot see it.
        source: A sentence on the files of the run folder that it was drawn from.
        intervals: Which level its intervals have and how they were computed; "" where it has none.
        cautions: Every caution, in full: on the figure itself is room for their kinds only.
        at_head: Whether the document has them in full at its head, so that a caption names their kinds.
    """

    name: str
    caption: str
    source: str
    intervals: str = ""
    cautions: tuple[str, ...] = ()
    at_head: bool = False

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.name}.png"

    @property
    def small_print(self) -> str:
        """What stands under the figure after its caption: intervals, source and cautions, in sentences.

        Five cautions of two lines each under every figure would hide the figures: what the head of the document says in
        full is named by its kinds. A caution of the figure's own, or of no known kind, is printed in full.
        """
        told = [f"{self.intervals}." if self.intervals else "", self.source]
        named, _ = kinds(self.cautions)
        if self.cautions and self.at_head and named:
            unnamed = [caution for caution in self.cautions if not kinds([caution])[0]]
            told.append(f"Cautions, in full at the head of this document: {', '.join(named)}.")
            told += unnamed
        elif self.cautions:
            told.append(f"{'Caution' if len(self.cautions) == 1 else 'Cautions'}: {' '.join(self.cautions)}")
        return " ".join(part for part in told if part)


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
        estimates: Those whose intervals are drawn, for the words on how they were computed.
        cautions: Cautions of its own, in place of the run's; None for the run's.
        name: The figure's name in the template; the catalogue fills it in.
    """

    caption: str
    files: str
    draw: DrawPanel
    size: tuple[float, float]
    panels: Sequence[str] = ("",)
    columns: int | None = None
    estimates: Sequence[Estimate] = ()
    cautions: tuple[str, ...] | None = None
    name: str = ""

    @property
    def figure(self) -> Figure:
        """The figure as the template uses it, with cautions of its own if it has any."""
        intervals = intervals_in_words(self.estimates)
        return Figure(self.name, self.caption, f"Source: {self.files}.", intervals, self.cautions or ())

    def write(self, folder: Path, notes: tuple[str, ...]) -> None:
        """Draws it; the cautions stand on a single panel itself, above several once for all.

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
        above = count > 1
        columns = min(self.columns or (2 if count <= FEW else 3), count)
        rows = -(-count // columns)
        made, panels = style.figure(rows, columns, width=width, height=height)
        notes = notes if self.cautions is None else self.cautions
        for name, ax in zip(self.panels, panels, strict=False):
            self.draw(name, ax, () if above else notes)
        for ax in panels[count:]:
            ax.remove()
        if above:
            style.figure_note(made, notes)
        style.settle(made)
        return made
