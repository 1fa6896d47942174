"""What commands print of a run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from chexkeras.cli.app import tell
from chexkeras.progress import printable

if TYPE_CHECKING:
    from rich.table import Table

    from chexkeras.results import Estimate, Evaluation
    from chexkeras.runs.run import Run

_SIDE_BY_SIDE = 3
_MEASURES = {
    "AUROC": "auroc", "average precision": "average_precision", "sensitivity": "sensitivity",
    "specificity": "specificity", "PPV": "ppv", "NPV": "npv", "F1": "f1",
}  # fmt: skip


def show_evaluation(evaluation: "Evaluation") -> None:
    """Prints an evaluation as a table, its cautions first."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for caution in evaluation.cautions:
        console.print(_plain(f"Caution: {caution}"), highlight=False)
    title = _plain(f"Results on the {evaluation.split} part")
    if len(evaluation.findings) > _SIDE_BY_SIDE:
        console.print(_one_row_each(evaluation, title))
        console.print(f"Mean AUROC of the findings: {evaluation.macro_auroc}", highlight=False)
        return
    frame = evaluation.to_frame()
    table = Table("", *map(_plain, frame["finding"]), title=title, title_justify="left")
    for name in frame.columns[1:]:
        table.add_row(name, *map(str, frame[name]))
    console.print(table)


def show_side_by_side(evaluations: "Mapping[str, Evaluation]") -> None:
    """Prints a table for each finding, with a column for each run.

    Args:
        evaluations: By the run's name, of the same findings.
    """
    from rich.console import Console
    from rich.table import Table

    console, names = Console(), list(evaluations)
    columns = [_plain(name) for name in names]
    for entry in evaluations[names[0]].findings:
        found = {name: evaluation[entry.finding] for name, evaluation in evaluations.items()}
        images = f"{entry.n_positive:,} positive of {entry.n_images:,} test images"
        title = _plain(f"{entry.finding}: {images}, with {_confidence(entry.auroc)}")
        table = Table("", *columns, title=title, title_justify="left")
        for words, field in _MEASURES.items():
            table.add_row(words, *(_short(getattr(each, field)) for each in found.values()))
        points = {name: each.operating_point for name, each in found.items()}
        table.add_row("threshold", *(f"{point.threshold:.4g}" if point else "none" for point in points.values()))
        counts = ((each.true_positives, each.false_negatives, each.false_positives, each.true_negatives)
                  for each in found.values())  # fmt: skip
        table.add_row("TP, FN, FP, TN", *(", ".join(map(str, four)) if four[0] is not None else "" for four in counts))
        console.print(table)


def _plain(text: str) -> str:
    """Returns a word of a run's files as Rich shows it: not taken for markup, and nothing in it that cannot be seen."""
    from rich.markup import escape

    return escape(printable(text))


def _one_row_each(evaluation: "Evaluation", title: str) -> "Table":
    """Returns what fits a terminal of 80 columns however many findings there are."""
    from rich.table import Table

    interval = _confidence(evaluation.findings[0].auroc)
    columns = (f"{name} ({interval})" for name in ("AUROC", "sensitivity", "specificity"))
    table = Table("finding", "positive", *columns, title=title, title_justify="left", box=None)
    table.columns[0].min_width = max(len(entry.finding) for entry in evaluation.findings)
    for entry in evaluation.findings:
        numbers = (_short(estimate) for estimate in (entry.auroc, entry.sensitivity, entry.specificity))
        table.add_row(_plain(entry.finding), f"{entry.n_positive:,} of {entry.n_images:,}", *numbers)
    return table


def _confidence(estimate: "Estimate") -> str:
    return f"{estimate.confidence * 100:g} % CI"


def _short(estimate: "Estimate") -> str:
    if not estimate.estimable:
        return "not estimable"
    return f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"


def show_dicom(run: "Run") -> None:
    """Prints how many of a run's DICOM files were accepted, where any were scored."""
    results = run.dicom_results
    if results is None:
        return
    counts = results.drop_duplicates("file")["verdict"].value_counts()
    accepted = int(counts.get("accept", 0) + counts.get("warn", 0))
    tell(f"DICOM files           {accepted} accepted, {int(counts.get('reject', 0))} rejected, with reasons")
