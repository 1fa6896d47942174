"""``chexkeras robustness`` and ``chexkeras novelty``: images unlike those that a run learnt from."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from chexkeras.checks import positive_int, probability
from chexkeras.cli.app import Address, Executor, RunFolder, app, errors_for_people, place_at, starting_tensorflow, tell
from chexkeras.cli.image_options import ROOT, Load, with_image_options
from chexkeras.data.perturbations import GROUPS, PERTURBATIONS, perturbations_of


@app.command()
@errors_for_people
@with_image_options
def robustness(
    load: Load,
    run: RunFolder,
    data: Annotated[Path, typer.Option("--data", help=ROOT)],
    store: Annotated[
        Path | None,
        typer.Option(help="Store of 'chexkeras prepare', or its address; the images are then not opened."),
    ] = None,
    sample: Annotated[
        int, typer.Option(help="About how many test images to change, whole patients drawn at random; 0 takes all.")
    ] = 1000,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Only these changes: {', '.join(GROUPS)}; repeat for several.")
    ] = None,
    margin: Annotated[float, typer.Option(help="Loss of AUROC from which on a change matters.")] = 0.05,
    operating_margin: Annotated[
        float,
        typer.Option(help="Loss of sensitivity or specificity at the frozen threshold from which on a change matters."),
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw of patients and of the noise.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier measurement of the run.")] = False,
    executor: Executor = "processes",
    address: Address = None,
) -> None:
    """Changes a run's test images (exposure, noise, position, compression, misuse) and scores them again.

    The result is kept with the run as robustness.json, for its report.
    """
    from chexkeras.data.store.store import Store
    from chexkeras.results.robustness import VERDICTS
    from chexkeras.runs.run import ROBUSTNESS, Run
    from chexkeras.runs.writer import refuse_second

    place = place_at(executor, address)
    chosen = perturbations_of(only) if only else PERTURBATIONS
    probability(margin, "--margin", open_interval=True)
    probability(operating_margin, "--operating-margin", open_interval=True)
    wanted = positive_int(sample, "--sample") if sample != 0 else None
    loaded, opened = Run.load(run), Store.load(store) if store is not None else None
    refuse_second(loaded, ROBUSTNESS, overwrite)
    loaded.check_model()
    table = load(data, missing="keep")
    starting_tensorflow()
    from chexkeras.inference.robustness import measure_robustness

    measured = measure_robustness(
        loaded,
        table,
        images=wanted,
        perturbations=chosen,
        store=opened,
        margin=margin,
        operating_margin=operating_margin,
        seed=seed,
        overwrite=overwrite,
        executor=place,
    )
    for caution in measured.cautions:
        tell(f"Caution: {caution}")
    repeated = f"{measured.repeat_difference:.1g}" if measured.repeat_difference else "0"
    tell(
        f"{measured.n_images:,} test images of {measured.n_patients:,} patients, scored again: largest difference "
        f"{repeated}"
    )
    for effect in measured.effects:
        called = effect.operating_point or "none frozen"
        tell(f"{effect.finding}, {effect.perturbation}: {effect.leading}")
        tell(f"    discrimination {effect.discrimination}, operating point {called}; changed minus unchanged:")
        for entry in effect.comparisons:
            tell(f"    {entry.statistic:11} {entry.difference}")
        tell(f"    share unlike the training images: {effect.unlike}")
    counts = Counter(effect.leading for effect in measured.effects)
    tell("changes by the worse of both verdicts: " + ", ".join(f"{counts[word]} {word}" for word in VERDICTS))
    tell(f"written: {loaded.folder / ROBUSTNESS}")


@app.command()
@errors_for_people
@with_image_options
def novelty(
    load: Load,
    run: RunFolder,
    data: Annotated[Path, typer.Option("--data", help=ROOT)],
    store: Annotated[
        Path | None,
        typer.Option(help="Store of 'chexkeras prepare', or its address; the images are then not opened."),
    ] = None,
    rate: Annotated[
        float, typer.Option(help="Share of images like the training images that may be flagged, frozen on validation.")
    ] = 0.01,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what the run has learnt before.")] = False,
) -> None:
    """Learns what a run's training images look like, so that 'predict' tells which files are unlike them.

    Training does this at its end; this is for runs of earlier versions. No score and no threshold of a finding changes.
    The result is kept with the run as novelty.json, for its report.
    """
    from chexkeras.checks import probability
    from chexkeras.data.store.store import Store
    from chexkeras.runs.run import NOVELTY, Run
    from chexkeras.runs.writer import refuse_second

    probability(rate, "--rate", open_interval=True)
    loaded, opened = Run.load(run), Store.load(store) if store is not None else None
    refuse_second(loaded, NOVELTY, overwrite)
    table = load(data, missing="keep")
    starting_tensorflow()
    from chexkeras.inference.novelty import measure_novelty

    learnt = measure_novelty(loaded, table, store=opened, rate=rate, overwrite=overwrite)
    for caution in (*loaded.cautions, *learnt.cautions):
        tell(f"Caution: {caution}")
    tell(str(learnt))
    for entry in learnt.changed:
        tell(f"  test images, {entry.name}: flagged {entry.flagged}")
    if loaded.resolution is not None:
        tell(f"learnt from files of this resolution: {loaded.resolution}")
    tell(f"written: {loaded.folder / NOVELTY}")
