"""``chexkeras evaluate``."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chexkeras.cli.app import RunFolder, app, errors_for_people, starting_tensorflow, tell
from chexkeras.cli.destination import check_destination, object_with
from chexkeras.cli.image_options import ROOT, Load, Missing, with_image_options
from chexkeras.cli.output import show_evaluation, show_shortcuts

if TYPE_CHECKING:
    import pandas as pd

    from chexkeras.runs.run import Run


_OF_ANOTHER_HOSPITAL = "Another hospital"


@app.command()
@errors_for_people
@with_image_options
def evaluate(
    load: Load,
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
    abstain_share: Annotated[
        float | None,
        typer.Option(help="Leave open the images nearest to the threshold, at most such a share of validation."),
    ] = None,
    abstain_accuracy: Annotated[
        float | None,
        typer.Option(help="Leave open as few images as it takes for the other calls to be right in such a share."),
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
        bool,
        typer.Option(
            "--overwrite", help="With --keep or --data: replace an earlier comparison, or external test, of the run."
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", help=f"Images of another hospital. {ROOT}", rich_help_panel=_OF_ANOTHER_HOSPITAL),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="What that hospital is called, for the run's external/NAME; the data set's name where left out.",
            rich_help_panel=_OF_ANOTHER_HOSPITAL,
        ),
    ] = None,
    findings: Annotated[
        list[str] | None,
        typer.Option(
            "--finding",
            help="Where that data set calls a finding otherwise: RUNS=THEIRS, such as Effusion='Pleural Effusion'; "
            "repeat for several.",
            rich_help_panel=_OF_ANOTHER_HOSPITAL,
        ),
    ] = None,
    overlap: Annotated[
        str,
        typer.Option(
            help="Images of patients of the run itself: 'error' refuses, 'leave_out' leaves them out and counts them.",
            rich_help_panel=_OF_ANOTHER_HOSPITAL,
        ),
    ] = "error",
    margin: Annotated[
        float, typer.Option(help="Loss of AUROC from which on it matters.", rich_help_panel=_OF_ANOTHER_HOSPITAL)
    ] = 0.05,
    operating_margin: Annotated[
        float,
        typer.Option(
            help="Loss of sensitivity or specificity at the frozen threshold from which on it matters.",
            rich_help_panel=_OF_ANOTHER_HOSPITAL,
        ),
    ] = 0.1,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Store of those images made by 'chexkeras prepare'; the images themselves are then not opened.",
            rich_help_panel=_OF_ANOTHER_HOSPITAL,
        ),
    ] = None,
    missing: Missing = "error",
) -> None:
    """Shows a run's test results: as measured, at another threshold (--rule), or against readers (--reference).

    With --abstain-share or --abstain-accuracy images near the threshold are left open, and the rest is measured.

    With --data the frozen model and thresholds are measured on images of another hospital, each scored once; the result
    is kept with the run, for its report. Images of the run itself are known by their pixels, whatever they are called:
    they are left out and counted, and refused where they are more than half. Otherwise the run folder stays as it is,
    unless --keep is given.
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
    abstains = abstain_share is not None or abstain_accuracy is not None
    if abstains and (data is not None or reference):
        raise ValueError("--abstain-share and --abstain-accuracy go without --data and --reference; leave them out.")
    if data is not None:
        if reference or rule is not None or target is not None or image_ids is not None or keep:
            raise ValueError(
                "--data measures the frozen run and keeps the result; leave --rule, --target, --reference, "
                "--image-ids and --keep out."
            )
        given = {
            "findings": _pairs(findings),
            "overlap": overlap,
            "margin": margin,
            "operating_margin": operating_margin,
        }
        _elsewhere(loaded, functools.partial(load, data, missing=missing), name, store, given, overwrite, out)
        return
    if name is not None or findings or store is not None or overlap != "error":
        raise ValueError("--name, --finding, --overlap and --store need --data, the images of another hospital.")
    if reference:
        if rule is not None or target is not None:
            raise ValueError("--reference goes with the frozen thresholds; leave --rule and --target out.")
        _against_readers(loaded, reference, image_ids, consensus, keep, overwrite, out)
        return
    if image_ids is not None or keep or overwrite:
        raise ValueError(
            "--image-ids, --keep and --overwrite need --reference, the CSV of what readers said; --overwrite or --data."
        )
    evaluation = loaded.evaluation
    if target is not None and rule is None:
        raise ValueError("--target needs --rule; for example --rule sensitivity --target 0.9.")
    if rule is not None or abstains:
        evaluation = evaluate_at(loaded, rule, target, abstain_share=abstain_share, abstain_accuracy=abstain_accuracy)
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


def _pairs(given: list[str] | None) -> dict[str, str]:
    """Returns what --finding says, the other data set's column by the run's finding."""
    pairs = {}
    for text in given or ():
        mine, between, theirs = (part.strip() for part in text.partition("="))
        if not (mine and between and theirs):
            raise ValueError(f"--finding {text!r} must say RUNS=THEIRS, such as Effusion='Pleural Effusion'.")
        if mine in pairs:
            raise ValueError(f"--finding names {mine} twice; give each finding of the run one column.")
        pairs[mine] = theirs
    return pairs


def _elsewhere(
    run: "Run", load: "Callable[[], pd.DataFrame]", name: str | None, store: Path | None, given: dict[str, Any],
    overwrite: bool, out: Path | None,
) -> None:  # fmt: skip
    from chexkeras.checks import one_of, probability
    from chexkeras.data.store.store import Store
    from chexkeras.results.external import site_name
    from chexkeras.runs.external import EXTERNAL, refuse_taken

    one_of(given["overlap"], ("error", "leave_out"), "--overlap")
    probability(given["margin"], "--margin", open_interval=True)
    probability(given["operating_margin"], "--operating-margin", open_interval=True)
    run.check_model()
    if name is not None:
        refuse_taken(run, site_name(name), overwrite)
    opened = Store.load(store) if store is not None else None
    table = load()
    starting_tensorflow()
    from chexkeras.inference.external import evaluate_external

    test = evaluate_external(run, table, name=name, store=opened, overwrite=overwrite, **given)
    tell(str(test))
    if out is not None:
        tell(f"written: {test.save(out)}")
    tell(f"written: {run.folder / EXTERNAL / test.name}")
