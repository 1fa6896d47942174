"""``chexkeras sweep``: settings of a recipe tried on one split."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from chexkeras.checks import one_of
from chexkeras.cli.app import app, command_line, errors_for_people, starting_tensorflow, tell
from chexkeras.cli.image_options import ROOT, Load, Missing, with_image_options
from chexkeras.cli.training.inputs import FeaturesLimit, FeaturesStore, bytes_of, load_images
from chexkeras.cli.training.train import own_split, recipe_with
from chexkeras.progress import say

_KEPT = {
    "finding": "--finding", "preset": "--preset", "weights": "--weights", "weights_file": "--weights-file",
    "settings": "--set", "trials": "--trials", "split": "--split", "validation": "--validation", "test": "--test",
    "features": "--features", "features_store": "--features-store", "features_limit": "--features-limit",
    "draws": "--draws", "caution": "--caution", "seed": "--seed", "overwrite": "--overwrite",
}  # fmt: skip
"""What is kept with an interrupted sweep, by parameter."""


@app.command()
@errors_for_people
@with_image_options
def sweep(
    load: Load,
    data: Annotated[Path, typer.Option("--data", help=ROOT)],
    out: Annotated[Path | None, typer.Option(help="Folder to write the runs and their comparison to.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Instead of --out: continue the interrupted sweep of this folder.")
    ] = None,
    finding: Annotated[list[str] | None, typer.Option(help="Finding to learn; repeat for several.")] = None,
    preset: Annotated[
        list[str] | None, typer.Option(help="Recipe to start from, by default two-stage; repeat to try several.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="As chexkeras train takes it; by default the preset's.")] = None,
    weights_file: Annotated[Path | None, typer.Option(help="File of the weights; nothing is downloaded.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Values to try, e.g. stage2.learning_rate=1e-5,3e-5,1e-4; repeat for several fields."
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Try so many combinations drawn at random; all of them by default.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="As chexkeras train takes it; by patient by default.")] = None,
    validation: Annotated[float | None, typer.Option(help="Share of images for validation; 0.15 by default.")] = None,
    test: Annotated[float | None, typer.Option(help="Share of images for test; 0.15 by default.")] = None,
    missing: Missing = "error",
    store: Annotated[Path | None, typer.Option(help="Store made by 'chexkeras prepare', or its address.")] = None,
    features: Annotated[
        str | None,
        typer.Option(help="Compute what is frozen once: 'auto' (the default), 'float16', 'float32' or 'off'."),
    ] = None,
    features_store: FeaturesStore = None,
    features_limit: FeaturesLimit = None,
    draws: Annotated[
        int | None, typer.Option(help="With random augmentation: store so many fixed draws of it.")
    ] = None,
    caution: Annotated[list[str] | None, typer.Option(help="Sentence to show beside every number.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split, weights, order and augmentation.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sweep of the same name.")] = False,
) -> None:
    """Trains every combination of some settings on one split, what is frozen once, and chooses on validation alone.

    The test part says how much of the winner's lead was luck.
    """
    from chexkeras.data.splits.splits import Splits
    from chexkeras.recipes import protocol
    from chexkeras.recipes.overrides import combinations
    from chexkeras.recipes.recipe import Recipe
    from chexkeras.report.experiments import write_sweep
    from chexkeras.runs.series import SWEEP, check_free_for_series
    from chexkeras.training.resume.interrupted import resumed_by
    from chexkeras.training.resume.interrupted_series import InterruptedSeries

    if (out is None) == (resume is None):
        raise ValueError("give either --out, the folder of a new sweep, or --resume, that of an interrupted one.")
    folder = cast(Path, resume or out)
    going_on = command_line("out", "resume", *_KEPT, adding=("--resume", str(folder)))
    begun = InterruptedSeries(folder)
    names = preset or ["two-stage"]
    if resume is not None:
        given = (finding, preset, weights, weights_file, settings, trials, split, validation, test, features,
                 features_store, features_limit, draws, caution, seed, overwrite)  # fmt: skip
        named = [flag for flag, value in zip(_KEPT.values(), given, strict=True) if value not in (None, False)]
        if named:
            raise ValueError(f"--resume goes on with what the sweep was started with; leave out {', '.join(named)}.")
        if not begun.exists() or begun.kind != SWEEP:
            raise FileNotFoundError(f"nothing to resume for {str(folder)!r}: no sweep of that name was interrupted.")
        options = begun.options
        recipes = [Recipe.from_dict(entry) for entry in options.pop("recipes")]
        names = [recipes[0].name]
    else:
        check_free_for_series(folder, overwrite)
        recipes = [recipe_with(name, finding, (weights, weights_file), None, seed) for name in names]
        # Told before the images are looked over, which takes long where they are many.
        tried = _values(settings or [])
        combinations(recipes, tried, trials)
        options = {
            "settings": tried, "trials": trials, "overwrite": overwrite, "draws": draws,
            "features": one_of(features or "auto", ("auto", "float16", "float32", "off"), "--features"),
            "features_store": features_store, "features_limit": bytes_of(features_limit),
        }  # fmt: skip
    images = load_images(load, data, missing, store, names[0], recipes[0])
    if resume is None:
        options["cautions"] = (*images.cautions, *(caution or ()))
    checked = images.audited()
    if resume is None:
        splits = protocol.split_for(checked.table, recipes[0], own_split(split, validation, test))
    else:
        splits = Splits.load(begun.folder / "splits.csv", checked.table)
    say(str(splits))
    starting_tensorflow()
    from chexkeras.training.experiments.sweep import sweep as run_sweep

    with resumed_by(going_on):
        kept: dict[str, Any] = {"audit": checked, "store": images.store, "resume": resume is not None}
        found = run_sweep(recipes, splits, folder, **kept, **options)
    for sentence in found.cautions:
        tell(f"Caution: {sentence}")
    tell(str(found.table))
    tell(found.optimism)
    tell(f"page: {write_sweep(found)}")
    tell(f"chosen on validation: {found.winner.folder}")


def _values(settings: list[str]) -> dict[str, list[str]]:
    """Returns the values to try by field, each as text."""
    found: dict[str, list[str]] = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        values = [value.strip() for value in text.split(",")]
        if not equals or not all(values):
            raise ValueError(
                f"--set {setting!r} must read field=value,value, for example stage2.learning_rate=1e-5,3e-5."
            )
        if field.strip() in found:
            raise ValueError(f"--set {field.strip()} is given twice; write all its values after one another.")
        found[field.strip()] = values
    return found
