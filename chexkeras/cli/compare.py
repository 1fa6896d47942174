"""``chexkeras compare`` and ``chexkeras reader-study``: runs against each other, readers with and without a device."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.checks import probability
from chexkeras.cli.app import app, errors_for_people, tell
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
        tell(f"Left out, since not every run has learnt it: {', '.join(compared.left_out)}")
    for caution in dict.fromkeys(caution for run in loaded.values() for caution in run.cautions):
        tell(f"Caution: {caution}")
    show_side_by_side(compared.evaluations)
    for comparison in compared.comparisons:
        tell(str(comparison))
    if out is not None:
        tell(f"written: {files.write_csv(out, comparison_table(compared.comparisons))}")
    if figures is not None:
        from chexkeras.plots.comparison import draw_comparison

        for path in draw_comparison(loaded, compared.comparisons, figures, compared.evaluations):
            tell(f"written: {path}")


@app.command()
@errors_for_people
def reader_study(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="CSV of readings: reader, modality, image_id, truth, rating; patient_id, finding."
        ),
    ],
    column: Annotated[
        list[str] | None, typer.Option(help="What the file calls a column: modality=treatment. May be repeated.")
    ] = None,
    finding: Annotated[str | None, typer.Option(help="Analyse this finding only; all by default.")] = None,
    figure: Annotated[str, typer.Option(help="auroc, sensitivity or specificity.")] = "auroc",
    threshold: Annotated[
        float | None,
        typer.Option(help="Rating from which on an image is called positive; for sensitivity, specificity."),
    ] = None,
    first: Annotated[
        str | None, typer.Option(help="Modality claimed to be better, such as that with the device.")
    ] = None,
    second: Annotated[str | None, typer.Option(help="Modality it is compared with.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="How much worse --first may be and still count as no worse, stated beforehand.")
    ] = None,
    readers: Annotated[str, typer.Option(help="random: readers like these; fixed: these readers only.")] = "random",
    images: Annotated[str, typer.Option(help="random: patients like these; fixed: these images only.")] = "random",
    covariance: Annotated[str, typer.Option(help="delong, unbiased or jackknife.")] = "delong",
    missing: Annotated[
        str, typer.Option(help="drop: leave images out that a reader did not read; error: refuse them.")
    ] = "error",
    out: Annotated[Path | None, typer.Option(help="CSV file to write every number to.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder to draw the readers' curves and gains in.")] = None,
) -> None:
    """Analyses several readers who read the same images in several ways, such as with and without a device.

    By Obuchowski, Rockette and Hillis: means of the readers, differences with their intervals, F and p, Holm's
    correction over everything compared. Says better, worse or not distinguishable by the interval.
    """
    from chexkeras import files
    from chexkeras.evaluation.readers.mrmc import mrmc_all
    from chexkeras.evaluation.readers.reader_study import read_reader_study

    if out is not None:
        check_destination(out, "--out", {".csv": table_of("finding", "what", "modality")})
    if (first is None) != (second is None):
        raise ValueError("--first and --second go together; give both or neither.")
    if margin is not None and first is None:
        raise ValueError("--margin needs --first and --second: which modality may be how much worse than which.")
    study = read_reader_study(file, columns=_columns(column or []), missing=missing)
    if finding is not None:
        study = study.of_finding(finding)
    results = mrmc_all(
        study, figure, threshold=threshold, covariance=covariance, readers=readers, images=images
    )  # fmt: skip
    for result in results:
        tell(str(result))
        pairs = [(pair.first, pair.second) for pair in result.differences]
        for pair in pairs if first is None or second is None else [(first, second)]:
            tell(str(result.verdict(*pair, margin=margin)))
    if out is not None:
        import pandas as pd

        tables = [result.to_frame().assign(finding=result.finding) for result in results]
        whole = pd.concat(tables)
        columns = ["finding", *(name for name in whole.columns if name != "finding")]
        tell(f"written: {files.write_csv(out, whole[columns])}")
    if figures is not None:
        from chexkeras.plots.readers.reader_study import draw_reader_study

        for result in results:
            of_finding = study.of_finding(result.finding) if len(results) > 1 else study
            written = draw_reader_study(of_finding, result, figures, first=first, second=second, margin=margin)
            tell(f"written: {written}")


def _columns(given: list[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in given]
    for name, equals, theirs in pairs:
        if not (name and equals and theirs):
            raise ValueError(
                f"--column {name + equals + theirs!r}: give our name and the file's, as modality=treatment."
            )
    return {name.strip(): theirs.strip() for name, _, theirs in pairs}


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
