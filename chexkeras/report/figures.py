"""The figures of a report: drawn from the run folder alone, each with a caption that is a sentence of facts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras import plots
from chexkeras.plots import style
from chexkeras.progress import track
from chexkeras.report.facts import Facts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_COLUMNS = 2
_SHEET_DPI = 100


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes:
        name: Its name in the template and, with ".png", its file.
        caption: What it shows, with n; also the text for those who cannot see it.
    """

    name: str
    caption: str

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.name}.png"


def _save(path: Path, draw: Callable[["Axes"], Any], width: float, height: float) -> None:
    drawn, (ax,) = style.figure(width=width, height=height)
    draw(ax)
    style.save(drawn, path)


def _sheet(
    path: Path,
    draw: "Callable[[str, Axes, tuple[str, ...]], Any]",
    findings: Sequence[str],
    notes: tuple[str, ...],
    size: tuple[float, float],
) -> None:
    """Draws one panel per finding; the cautions stand on a single panel itself, above several once for all."""
    if len(findings) == 1:
        _save(path, lambda ax: draw(findings[0], ax, notes), *size)
        return
    columns = min(_MOST_COLUMNS, len(findings))
    rows = -(-len(findings) // columns)
    drawn, panels = style.figure(rows, columns, width=size[0], height=size[1])
    for finding, ax in zip(findings, panels, strict=False):
        draw(finding, ax, ())
    for ax in panels[len(findings) :]:
        ax.remove()
    style.figure_note(drawn, notes)
    style.save(drawn, path, dpi=style.DPI if rows <= _MOST_COLUMNS else _SHEET_DPI)


def draw_figures(run: Any, facts: Facts, folder: Path) -> dict[str, Figure]:
    """Draws every figure of the report.

    Args:
        run: A `Run`.
        facts: Its facts.
        folder: Where the PNG files go; must exist.

    Returns:
        The figures by name.
    """
    made: dict[str, Figure] = {}
    about_data = tuple(facts["cautions.data"].value)
    about_all = tuple(facts["cautions"].value)
    table, evaluation = run.table, run.evaluation
    test, validation = run.scores("test"), run.scores("validation")
    points = {point.finding: point for point in run.operating_points}
    findings = list(facts["evaluated"].value)
    decided = [finding for finding in findings if finding in points]
    named = ", ".join(style.words(finding) for finding in findings)

    def counted(part: str) -> str:
        return f"{facts[f'data.{part}.images'].text} images of {facts[f'data.{part}.patients'].text} patients"

    def single(name: str, caption: str, draw: "Callable[[Axes], Any]", size: tuple[float, float]) -> None:
        jobs.append((Figure(name, caption), lambda path: _save(path, draw, *size)))

    def sheet(
        name: str,
        caption: str,
        draw: "Callable[[str, Axes, tuple[str, ...]], Any]",
        size: tuple[float, float],
        shown: Sequence[str],
    ) -> None:
        jobs.append((Figure(name, caption), lambda path: _sheet(path, draw, shown, about_all, size)))

    jobs: list[tuple[Figure, Callable[[Path], None]]] = []
    everyone = counted("all")
    single(
        "flowchart",
        f"Flow of a film through the algorithm, from the DICOM file to the call for {named}",
        lambda ax: plots.flowchart(run.recipe, stages=run.stages, points=run.operating_points, ax=ax, note=about_all),
        (7.2, 8.4),
    )
    single(
        "training_curves",
        f"Loss and validation AUROC over {facts['training.epochs'].text} epochs; the vertical line parts the stages",
        lambda ax: plots.training_curves(run.history, ax=ax, note=about_all),
        (6.6, 5.4),
    )
    single("prevalence", f"Findings among {everyone}",
           lambda ax: plots.prevalence(table, ax=ax, note=about_data), (6.6, 5.2))  # fmt: skip
    single("age_sex", f"Age and sex of {everyone}",
           lambda ax: plots.age_sex(table, ax=ax, note=about_data), (6.6, 4.0))  # fmt: skip
    single("views", f"Views of {everyone}" + (f", with the share showing {named}" if len(findings) == 1 else ""),
           lambda ax: plots.views(table, findings[0] if len(findings) == 1 else None, ax=ax, note=about_data),
           (6.6, 2.8))  # fmt: skip
    single("images_per_patient", f"Images per patient among {everyone}",
           lambda ax: plots.images_per_patient(table, ax=ax, note=about_data), (6.6, 3.6))  # fmt: skip
    single("cooccurrence", f"Findings that occur together among {everyone}",
           lambda ax: plots.cooccurrence(table, ax=ax, note=about_data), (8.6, 8.0))  # fmt: skip
    sheet("roc", f"ROC curve on the test part ({counted('test')}) for {named}, with the operating point",
          lambda f, ax, n: plots.roc(test, evaluation, finding=f, ax=ax, note=n), (5.4, 5.6), findings)  # fmt: skip
    sheet("precision_recall", f"Precision-recall curve on the test part ({counted('test')}) for {named}",
          lambda f, ax, n: plots.precision_recall(test, evaluation, finding=f, ax=ax, note=n),
          (5.4, 5.0), findings)  # fmt: skip
    sheet("score_histogram", f"Scores of positive and negative images of the test part ({counted('test')})",
          lambda f, ax, n: plots.score_histogram(test, points.get(f), finding=f, ax=ax, note=n),
          (6.2, 4.0), findings)  # fmt: skip
    if decided:
        sheet("threshold_tradeoff",
              f"Sensitivity and specificity against the threshold on the validation part ({counted('validation')})",
              lambda f, ax, n: plots.threshold_tradeoff(validation, points[f], ax=ax, note=n),
              (7.4, 4.8), decided)  # fmt: skip
        sheet("confusion_matrix", f"Calls at the frozen threshold on the test part ({counted('test')})",
              lambda f, ax, n: plots.confusion_matrix(evaluation, finding=f, ax=ax, note=n),
              (5.2, 4.6), decided)  # fmt: skip
    if run.dicom_results is not None:
        results = run.dicom_results
        reasons = len(facts["dicom.reject_reasons"].value) + len(facts["dicom.warn_reasons"].value)
        caption = f"Verdicts on {facts['dicom.files'].text} DICOM files, by reason"
        size = (6.6, 1.7 + 0.3 * reasons)
        single("dicom_verdicts", caption, lambda ax: plots.dicom_verdicts(results, ax=ax, note=about_data), size)
    for figure, job in track(jobs, "Drawing figures"):
        job(folder / figure.file)
        made[figure.name] = figure
    return made
