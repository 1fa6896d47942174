"""``chexkeras evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chexkeras.cli.app import RunFolder, app, errors_for_people, tell
from chexkeras.cli.destination import check_destination, object_with
from chexkeras.cli.output import show_evaluation, show_shortcuts

if TYPE_CHECKING:
    from chexkeras.runs.run import Run


@app.command()
@errors_for_people
def evaluate(
    run: RunFolder,
    rule: Annotated[
        str | None,
        typer.Option(
            help="Choose the threshold again by this rule, such as sensitivity or youden; '--rule list' names them all."
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="What the rule aims at. Left out, 0.8 for a rule that reaches for a sensitivity or specificity; other "
            "rules with a target need it stated."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write what is shown to.")] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            help="CSV of what readers said of test images: NIH images read again, RSNA or VinDr boxes, or a table "
            "of your own with image_id, reader and a column for each finding. Repeat for several files."
        ),
    ] = None,
    image_ids: Annotated[
        Path | None,
        typer.Option(help="CSV with subset_img_id and img_id, where --reference names images otherwise (RSNA)."),
    ] = None,
    consensus: Annotated[
        str, typer.Option(help="How several readings become one: majority, any, all or dawid_skene.")
    ] = "majority",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the comparison with --reference in the run, for its report.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --keep: replace an earlier comparison of the run.")
    ] = False,
) -> None:
    """Shows a run's test results: as measured, at another threshold (--rule), or against readers (--reference).

    The run folder stays as it is, unless --keep is given.
    """
    from chexkeras.evaluation.thresholds import RULES
    from chexkeras.runs.analysis import evaluate_at
    from chexkeras.runs.run import Run

    if rule == "list":
        tell("\n".join(f"{name}: {entry.summary}" for name, entry in RULES.items()))
        return
    if out is not None:
        check_destination(out, "--out", {".json": object_with("findings", "split")})
    loaded = Run.load(run)
    if reference:
        if rule is not None or target is not None:
            raise ValueError("--reference goes with the frozen thresholds; leave --rule and --target out.")
        _against_readers(loaded, reference, image_ids, consensus, keep, overwrite, out)
        return
    if image_ids is not None or keep or overwrite:
        raise ValueError("--image-ids, --keep and --overwrite need --reference, the CSV of what readers said.")
    evaluation = loaded.evaluation
    if rule is not None:
        evaluation = evaluate_at(loaded, rule, target)
    elif target is not None:
        raise ValueError("--target needs --rule; for example --rule sensitivity --target 0.9.")
    show_evaluation(evaluation)
    show_shortcuts(loaded)
    if out is not None:
        tell(f"written: {evaluation.save(out)}")


def _against_readers(
    run: "Run", reference: list[Path], image_ids: Path | None, consensus: str, keep: bool, overwrite: bool,
    out: Path | None,
) -> None:  # fmt: skip
    from chexkeras.data.readings.load import load_readings
    from chexkeras.runs.analysis import evaluate_by_readers

    readings = load_readings(reference, image_ids=image_ids)
    found = evaluate_by_readers(run, readings, consensus=consensus, keep=keep, overwrite=overwrite)
    tell(str(found))
    if found.images_elsewhere:
        tell(f"{found.images_elsewhere:,} images that were read belong to other parts of the run and are not counted")
    if out is not None:
        tell(f"written: {found.save(out)}")
