"""``chexkeras compare``."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import app, errors_for_people
from chexkeras.cli.destination import check_destination, table_of


@app.command()
@errors_for_people
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two run folders or more, scored on the same test films.")],
    out: Annotated[Path | None, typer.Option(help="CSV file to write the comparisons to.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder to draw the runs' curves in, side by side.")] = None,
) -> None:
    """Puts runs side by side on the same films, and says which of them can be told apart.

    AUROC, and sensitivity and specificity at each run's frozen threshold, by paired tests that let the films of one
    patient agree, with Holm's correction over everything compared.
    """
    from chexkeras import files
    from chexkeras.evaluation.comparison import compare_all, comparison_table
    from chexkeras.training.run import Run

    if len(runs) < 2:
        raise ValueError(f"compare needs at least two runs, got {len(runs)}.")
    if out is not None:
        check_destination(out, "--out", {".csv": table_of("finding", "statistic", "first")})
    loaded = {name: Run.load(folder) for name, folder in zip(_names(runs), runs, strict=True)}
    made = compare_all(
        {name: run.scores("test") for name, run in loaded.items()},
        points={name: run.operating_points for name, run in loaded.items()},
    )
    for caution in dict.fromkeys(caution for run in loaded.values() for caution in run.cautions):
        typer.echo(f"Caution: {caution}")
    for comparison in made:
        typer.echo(str(comparison))
    if out is not None:
        typer.echo(f"written: {files.write_csv(out, comparison_table(made))}")
    if figures is not None:
        from chexkeras.plots.comparison_page import draw_comparison

        for path in draw_comparison(loaded, made, figures):
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
