"""What the figures of one report have in common: which findings they show, how parts are named, what is to be drawn."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chexkeras.plots import style
from chexkeras.report.answers import Answers
from chexkeras.report.facts.facts import Facts
from chexkeras.report.figures.figure import FEW, Figure, Panels, Sheet

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
