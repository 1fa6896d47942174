"""What commands print of a run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from chexkeras.cli.app import tell

if TYPE_CHECKING:
    from chexkeras.results import Evaluation
    from chexkeras.runs.run import Run

_MEASURES = {
    "AUROC": "auroc", "average precision": "average_precision", "sensitivity": "sensitivity",
    "specificity": "specificity", "PPV": "ppv", "NPV": "npv", "F1": "f1",
}  # fmt: skip


def show_evaluation(evaluation: "Evaluation") -> None:
    """Prints an evaluation, its cautions first."""
    tell(str(evaluation))


def show_side_by_side(evaluations: "Mapping[str, Evaluation]") -> None:
    """Prints a table for each finding, with a column for each run.

    Args:
        evaluations: By the run's name, of the same findings.
    """
    from chexkeras import plain

    names = list(evaluations)
    for entry in evaluations[names[0]].findings:
        found = {name: evaluation[entry.finding] for name, evaluation in evaluations.items()}
        images = f"{entry.n_positive:,} positive of {entry.n_images:,} test images"
        notes = plain.Notes()
        columns = {"": [*_MEASURES, "threshold", "TP, FN, FP, TN"]}
        for name, each in found.items():
            point = each.operating_point
            counts = (each.true_positives, each.false_negatives, each.false_positives, each.true_negatives)
            columns[name] = [
                *(notes.cell(getattr(each, field)) for field in _MEASURES.values()),
                f"{point.threshold:.4g}" if point else "none",
                ", ".join(map(str, counts)) if counts[0] is not None else "",
            ]
        tell(plain.wrapped(f"{entry.finding}: {images}, with {entry.auroc.confidence * 100:g} % confidence intervals"))
        tell(plain.table(columns))
        tell("\n".join([*notes.lines(), ""]))


def show_shortcuts(run: "Run") -> None:
    """Prints one line where a run's model is not shown to see more than a shortcut.

    Args:
        run: The run.
    """
    from chexkeras import plain

    study = run.shortcuts
    if study is not None and study.headline:
        tell(plain.wrapped(f"Shortcuts: {study.headline}", later="  "))


def show_dicom(run: "Run") -> None:
    """Prints how many of a run's DICOM files were accepted, where any were scored."""
    results = run.dicom_results
    if results is None:
        return
    counts = results.drop_duplicates("file")["verdict"].value_counts()
    accepted = int(counts.get("accept", 0) + counts.get("warn", 0))
    tell(f"DICOM files           {accepted} accepted, {int(counts.get('reject', 0))} rejected, with reasons")
