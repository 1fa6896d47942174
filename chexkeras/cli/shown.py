"""What commands print of a run."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from chexkeras.results import Evaluation
    from chexkeras.training.run import Run


def show_evaluation(evaluation: "Evaluation") -> None:
    """Prints an evaluation as a table, its cautions first."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for caution in evaluation.cautions:
        console.print(f"Caution: {caution}", markup=False, highlight=False)
    frame = evaluation.to_frame()
    table = Table("", *frame["finding"], title=f"Results on the {evaluation.split} part", title_justify="left")
    for name in frame.columns[1:]:
        table.add_row(name, *map(str, frame[name]))
    console.print(table)


def show_dicom(run: "Run") -> None:
    """Prints how many of a run's DICOM files were accepted, where any were scored."""
    results = run.dicom_results
    if results is None:
        return
    counts = results.drop_duplicates("file")["verdict"].value_counts()
    accepted = int(counts.get("accept", 0) + counts.get("warn", 0))
    typer.echo(f"DICOM files           {accepted} accepted, {int(counts.get('reject', 0))} rejected, with reasons")
