"""``chexkeras compare``."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.checks import probability
from chexkeras.cli.app import app, errors_for_people
from chexkeras.cli.destination import check_destination, table_of
from chexkeras.cli.output import show_side_by_side


@app.command()
@errors_for_people
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two run folders or more, scored on the same test images.")],
    finding: Annotated[
        list[str] | None, typer.Option(help="Compare on this finding only; all that the runs share by default.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Call images at this score in every run, not at each run's frozen threshold.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write the comparisons to.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder to draw the runs' curves in, side by side.")] = None,
) -> None:
    """Puts runs side by side on the same images, and says which of them can be told apart.

    AUROC, and sensitivity and specificity at each run's frozen threshold or at a stated one, by paired tests that let
    the images of one patient agree, with Holm's correction over everything compared.
    """
    from chexkeras import files
    from chexkeras.evaluation.comparison.compare import comparison_table
    from chexkeras.runs.analysis import compare_runs
    from chexkeras.runs.run import Run

    if out is not None:
        check_destination(out, "--out", {".csv": table_of("finding", "statistic", "first")})
    if threshold is not None:
        probability(threshold, "--threshold")
    loaded = {name: Run.load(folder) for name, folder in zip(_names(runs), runs, strict=True)}
    compared = compare_runs(loaded, finding or (), threshold=threshold)
    if compared.left_out:
        typer.echo(f"Left out, since not every run has learnt it: {', '.join(compared.left_out)}")
    for caution in dict.fromkeys(caution for run in loaded.values() for caution in run.cautions):
        typer.echo(f"Caution: {caution}")
    show_side_by_side(compared.evaluations)
    for comparison in compared.comparisons:
        typer.echo(str(comparison))
    if out is not None:
        typer.echo(f"written: {files.write_csv(out, comparison_table(compared.comparisons))}")
    if figures is not None:
        from chexkeras.plots.comparison import draw_comparison

        for path in draw_comparison(loaded, compared.comparisons, figures, compared.evaluations):
            typer.echo(f"written: {path}")


def _names(runs: list[Path]) -> list[str]:
    """Returns the folders' names, with as much of their paths as tells them apart."""
    parts = [folder.resolve().parts for folder in runs]
    if len(set(parts)) < len(parts):
        raise ValueError("one run folder is given twice; name different runs.")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["-".join(part.strip("/\\") for part in path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in runs]
