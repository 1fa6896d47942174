"""``chexkeras train``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chexkeras.checks import existing_file, one_of, probability
from chexkeras.cli.app import app, errors_for_people
from chexkeras.cli.films import ROOT, Load, Missing, with_film_options
from chexkeras.cli.shown import show_evaluation


@app.command()
@errors_for_people
@with_film_options
def train(
    load: Load,
    data: Annotated[Path, typer.Option("--data", help=ROOT)],
    run: Annotated[Path | None, typer.Option(help="Run folder to write.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --run: take up the unfinished training of this run. It needs the films again (--data, "
            "--store and what else says where they are), its recipe, split and other options are kept with it."
        ),
    ] = None,
    finding: Annotated[
        list[str] | None, typer.Option(help="Finding to learn, by default the preset's; repeat for several.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Recipe to start from, by default two-stage; 'chexkeras presets' lists and explains them."),
    ] = None,
    as_run: Annotated[
        bool,
        typer.Option("--as-run", help="Split as the preset's source did, to repeat its result; leaky where that was."),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(help="'imagenet', a weights file, or 'none' for an untrained base; by default the preset's."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field of the recipe, e.g. stage2.learning_rate=3e-5.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="'patient' (the default), 'official' (NIH's test list, CheXpert's valid.csv) or 'image' (leaky)."
        ),
    ] = None,
    validation: Annotated[float, typer.Option(help="Share of films for validation.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of films for test (not with --split official).")] = 0.15,
    missing: Missing = "error",
    store: Annotated[
        Path | None, typer.Option(help="Store made by 'chexkeras prepare'; the films themselves are then not opened.")
    ] = None,
    features: Annotated[
        str, typer.Option(help="Compute what is frozen once: 'auto', 'float16', 'float32' or 'off'.")
    ] = "auto",
    first_run: Annotated[
        Path | None,
        typer.Option(
            help="With --uncertain self_trained, a second pass: this run, trained the same way before, fills the "
            "uncertain labels of its training films with its scores; its split is kept.",
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(help="With random augmentation: store so many fixed draws of it (changes the recipe)."),
    ] = None,
    caution: Annotated[
        list[str] | None, typer.Option(help="Sentence to show beside every number, e.g. how the films were sampled.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of split, weights, order and augmentation; 0 by default.")
    ] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's logs, a point an epoch.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run of the same name, or an unfinished training of it.")
    ] = False,
) -> None:
    """Trains in two stages, chooses the threshold on validation, evaluates on test, and writes a run folder."""
    from chexkeras.data.audit import audit as audit_films
    from chexkeras.data.store import Store
    from chexkeras.progress import say
    from chexkeras.training import presets, run_folder
    from chexkeras.training.settings import with_settings
    from chexkeras.training.unfinished import Unfinished

    if (run is None) == (resume is None):
        raise ValueError("give either --run, the folder of a new run, or --resume, the run of an unfinished training.")
    unfinished = Unfinished.load(resume) if resume is not None else None
    kept = {"--finding": finding, "--preset": preset, "--weights": weights, "--set": settings, "--split": split,
            "--as-run": as_run, "--caution": caution, "--draws": draws, "--seed": seed}  # fmt: skip
    given = [name for name, value in kept.items() if value not in (None, False, [])]
    if unfinished is not None:
        if given:
            raise ValueError(f"--resume goes on with what the training was started with; leave out {', '.join(given)}.")
        recipe = unfinished.recipe
    else:
        recipe = presets.preset(preset or "two-stage").replace(seed=seed or 0)
        if finding:
            recipe = recipe.replace(targets=tuple(finding))
        if weights is not None:
            recipe = recipe.replace(weights=None if weights.lower() == "none" else weights)
        recipe = with_settings(recipe, settings or ())
        if recipe.weights not in (None, "imagenet"):
            existing_file(recipe.weights, "weights")
        run_folder.check_free(run, overwrite)
        Unfinished(run).check_free(overwrite)
    one_of(missing, ("error", "skip"), "--missing")
    if as_run and (preset is None or split is not None):
        raise ValueError("--as-run takes the split of a preset's source: give --preset, and leave out --split.")
    split = presets.as_run_split(str(preset)) if as_run else split or "patient"
    one_of(split, ("patient", "official", "image"), "--split")
    one_of(features, ("auto", "float16", "float32", "off"), "--features")
    for share, name in ((validation, "--validation"), (test, "--test")):
        probability(share, name, open_interval=True)
    opened = Store.load(store) if store is not None else None
    if opened is not None:
        opened.require_size(recipe.image_size)
    table = _usable(load(data, missing=missing if opened is None else "keep"), recipe, opened, missing)
    first = _first(first_run, table, recipe, opened) if first_run is not None else None
    checked = audit_films(table, missing=missing, decode=opened is None)
    say(checked.summary)
    if first is None and unfinished is not None:
        splits = unfinished.splits(checked.table)
    elif first is None:
        if _left_open(table, recipe.targets):
            say("first pass: the uncertain labels do not count; a second one with --first-run fills them")
        splits = _split(split, checked.table, recipe.targets, validation, test, recipe.seed)
    else:
        splits = _filled(first, checked.table, recipe, opened)
    say(str(splits))
    from chexkeras.training.trainer import train as train_recipe

    options = {"cautions": caution or (), "overwrite": overwrite, "features": features, "draws": draws}
    if unfinished is not None:
        options = unfinished.options
    finished = train_recipe(
        recipe,
        splits,
        resume or run,
        audit=checked,
        store=opened,
        resume=unfinished is not None,
        tensorboard=tensorboard,
        **options,
    )
    show_evaluation(finished.evaluation)
    typer.echo(f"run folder: {finished.folder}")


def _usable(table: Any, recipe: Any, store: Any, missing: str) -> Any:
    """Returns the table that the recipe can be trained on, before a film is opened."""
    from chexkeras.data.abnormal import add_abnormal
    from chexkeras.data.columns import resolve_targets
    from chexkeras.data.decoder import refuse_dicom
    from chexkeras.data.uncertain import refuse_third_class
    from chexkeras.findings import ABNORMAL

    if ABNORMAL in recipe.targets:
        table = add_abnormal(table)
    resolve_targets(table, recipe.targets)
    if recipe.head != "three_way":
        refuse_third_class(table, recipe.targets)
    if store is None:
        refuse_dicom(table)
    elif missing == "skip":
        table = store.leave_out_absent(table)
    else:
        store.rows(table["image_id"])
    return table


def _first(folder: Path, table: Any, recipe: Any, store: Any) -> Any:
    """Returns the run whose scores can fill the uncertain labels of the recipe's targets."""
    from chexkeras.training.run import Run

    first, left_open = Run.load(folder), _left_open(table, recipe.targets)
    if not left_open:
        raise ValueError("--first-run fills uncertain labels; it needs --uncertain self_trained.")
    if set(left_open) - set(first.recipe.targets):
        raise ValueError(
            f"--first-run {folder} learnt {', '.join(first.recipe.targets)}, which are not all of the findings to fill "
            f"({', '.join(left_open)}); train a first run on the same."
        )
    if store is not None:
        store.require_size(first.recipe.image_size)
    return first


def _left_open(table: Any, targets: tuple[str, ...]) -> list[str]:
    from chexkeras.data.columns import resolve_targets
    from chexkeras.data.source import source_of

    policy_of = dict(source_of(table).uncertain_policy)
    return [name for name in resolve_targets(table, targets) if policy_of.get(name) == "self_trained"]


def _filled(first: Any, table: Any, recipe: Any, store: Any) -> Any:
    """Returns the split of a first run, the uncertain labels of its training films filled with its model's scores."""
    import dataclasses

    from chexkeras.data.splits import Splits
    from chexkeras.data.uncertain import fill_uncertain
    from chexkeras.models.scoring import predict_scores

    splits = Splits.load(first.folder / "splits.csv", table)
    scores = predict_scores(first.load_model(), splits.train, first.recipe.targets, store=store)
    left_open = _left_open(table, recipe.targets)
    filled = fill_uncertain(splits.table, scores[scores["finding"].isin(left_open)])
    return dataclasses.replace(splits, table=filled)


def _split(kind: str, table: Any, targets: tuple[str, ...], validation: float, test: float, seed: int) -> Any:
    from chexkeras.data import splits

    if kind == "official":
        return splits.official_split(table, targets, validation=validation, seed=seed)
    make = splits.split_by_patient if kind == "patient" else splits.split_by_image
    return make(table, targets, validation=validation, test=test, seed=seed)
