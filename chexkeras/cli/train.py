"""``chexkeras train``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chexkeras.checks import one_of, probability
from chexkeras.cli.app import Data, Images, Missing, app, errors_for_people
from chexkeras.cli.shown import show_evaluation


@app.command()
@errors_for_people
def train(
    data: Data,
    run: Annotated[Path, typer.Option(help="Run folder to write.")],
    finding: Annotated[
        list[str] | None, typer.Option(help="Finding to learn, by default the preset's; repeat for several.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Recipe to start from: two-stage, udacity-2a, demo or quick.")
    ] = "two-stage",
    weights: Annotated[
        str | None,
        typer.Option(help="'imagenet', a weights file, or 'none' for an untrained base; by default the preset's."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field of the recipe, e.g. stage2.learning_rate=3e-5.")
    ] = None,
    split: Annotated[str, typer.Option(help="'patient', 'official' (NIH's test list) or 'image' (leaky).")] = "patient",
    validation: Annotated[float, typer.Option(help="Share of films for validation.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of films for test (not with --split official).")] = 0.15,
    images: Images = None,
    missing: Missing = "error",
    features: Annotated[
        str, typer.Option(help="Compute what is frozen once: 'auto', 'float16', 'float32' or 'off'.")
    ] = "auto",
    draws: Annotated[
        int | None,
        typer.Option(help="With random augmentation: store so many fixed draws of it (changes the recipe)."),
    ] = None,
    caution: Annotated[
        list[str] | None, typer.Option(help="Sentence to show beside every number, e.g. how the films were sampled.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of split, weights, order and augmentation.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run of the same name.")] = False,
) -> None:
    """Trains in two stages, chooses the threshold on validation, evaluates on test, and writes a run folder."""
    from chexkeras.data.audit import audit as audit_films
    from chexkeras.data.nih import load_nih
    from chexkeras.progress import say
    from chexkeras.training import presets
    from chexkeras.training import run as run_folder
    from chexkeras.training.settings import with_settings

    recipe = presets.preset(preset).replace(seed=seed)
    if finding:
        recipe = recipe.replace(targets=tuple(finding))
    if weights is not None:
        recipe = recipe.replace(weights=None if weights.lower() == "none" else weights)
    recipe = with_settings(recipe, settings or ())
    run_folder.check_free(run, overwrite)
    one_of(missing, ("error", "skip"), "--missing")
    one_of(split, ("patient", "official", "image"), "--split")
    one_of(features, ("auto", "float16", "float32", "off"), "--features")
    for share, name in ((validation, "--validation"), (test, "--test")):
        probability(share, name, open_interval=True)
    checked = audit_films(load_nih(data, images=images, missing=missing), missing=missing)
    say(checked.summary)
    splits = _split(split, checked.table, recipe.targets, validation, test, recipe.seed)
    say(str(splits))
    from chexkeras.training.trainer import train as train_recipe

    finished = train_recipe(
        recipe,
        splits,
        run,
        audit=checked,
        cautions=caution or (),
        overwrite=overwrite,
        features=features,
        draws=draws,
    )
    show_evaluation(finished.evaluation)
    typer.echo(f"run folder: {finished.folder}")


def _split(kind: str, table: Any, targets: tuple[str, ...], validation: float, test: float, seed: int) -> Any:
    from chexkeras.data import splits

    if kind == "official":
        return splits.official_split(table, targets, validation=validation, seed=seed)
    make = splits.split_by_patient if kind == "patient" else splits.split_by_image
    return make(table, targets, validation=validation, test=test, seed=seed)
