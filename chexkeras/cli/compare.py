"""``chexkeras compare``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chexkeras.checks import one_of, probability
from chexkeras.cli.app import app, errors_for_people
from chexkeras.cli.destination import check_destination, table_of
from chexkeras.cli.output import show_side_by_side

if TYPE_CHECKING:
    from chexkeras.results import OperatingPoint
    from chexkeras.runs.run import Run


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
    from chexkeras.evaluation.comparison.compare import compare_all, comparison_table
    from chexkeras.evaluation.evaluate import evaluate
    from chexkeras.runs.run import Run

    if len(runs) < 2:
        raise ValueError(f"compare needs at least two runs, got {len(runs)}.")
    if threshold is not None:
        probability(threshold, "--threshold")
    if out is not None:
        check_destination(out, "--out", {".csv": table_of("finding", "statistic", "first")})
    loaded = {name: Run.load(folder) for name, folder in zip(_names(runs), runs, strict=True)}
    findings = _shared(loaded, finding or ())
    scores = {name: run.scores("test") for name, run in loaded.items()}
    scores = {name: table[table["finding"].isin(findings)] for name, table in scores.items()}
    points = _points(loaded, findings, threshold)
    made = compare_all(scores, points=points if any(points.values()) else None)
    for caution in dict.fromkeys(caution for run in loaded.values() for caution in run.cautions):
        typer.echo(f"Caution: {caution}")
    evaluations = {name: evaluate(table, points[name]) for name, table in scores.items()}
    show_side_by_side(evaluations)
    for comparison in made:
        typer.echo(str(comparison))
    if out is not None:
        typer.echo(f"written: {files.write_csv(out, comparison_table(made))}")
    if figures is not None:
        from chexkeras.plots.comparison import draw_comparison

        for path in draw_comparison(loaded, made, figures, evaluations):
            typer.echo(f"written: {path}")


def _shared(runs: "Mapping[str, Run]", wanted: Sequence[str]) -> list[str]:
    """Returns the findings to compare on, and says which ones not every run has learnt."""
    targets = {name: run.recipe.targets for name, run in runs.items()}
    everything = list(dict.fromkeys(finding for each in targets.values() for finding in each))
    shared = [finding for finding in everything if all(finding in each for each in targets.values())]
    if not shared:
        learnt = "; ".join(f"{name} {', '.join(each)}" for name, each in targets.items())
        raise ValueError(f"the runs have learnt no finding in common: {learnt}.")
    if wanted:
        return [one_of(finding, shared, "--finding") for finding in dict.fromkeys(wanted)]
    if len(shared) < len(everything):
        lone = [finding for finding in everything if finding not in shared]
        typer.echo(f"Left out, since not every run has learnt it: {', '.join(lone)}")
    return shared


def _points(
    runs: "Mapping[str, Run]", findings: Sequence[str], threshold: float | None
) -> "dict[str, list[OperatingPoint]]":
    """Returns each run's operating points for the findings that all of them decide."""
    if threshold is not None:
        from chexkeras.evaluation.thresholds import choose_threshold

        stated = [choose_threshold(None, rule="fixed", target=threshold, finding=finding) for finding in findings]
        return dict.fromkeys(runs, stated)
    frozen = {name: {point.finding: point for point in run.operating_points} for name, run in runs.items()}
    decided = [finding for finding in findings if all(finding in each for each in frozen.values())]
    return {name: [each[finding] for finding in decided] for name, each in frozen.items()}


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
