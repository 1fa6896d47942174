"""``chexkeras train``."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chexkeras.checks import one_of
from chexkeras.cli.app import app, command_line, errors_for_people, starting_tensorflow, tell
from chexkeras.cli.image_options import ROOT, Load, Missing, with_image_options
from chexkeras.cli.output import show_evaluation, show_shortcuts

if TYPE_CHECKING:
    from chexkeras.recipes.protocol import SplitPlan
    from chexkeras.recipes.recipe import Recipe
    from chexkeras.training.resume.interrupted import InterruptedTraining

_KEPT = {
    "finding": "--finding", "preset": "--preset", "weights": "--weights",
    "weights_file": "--weights-file", "settings": "--set", "split": "--split",
    "as_run": "--as-run", "validation": "--validation", "test": "--test", "features": "--features",
    "frozen_engine": "--frozen-engine", "caution": "--caution", "draws": "--draws", "seed": "--seed",
    "overwrite": "--overwrite",
}  # fmt: skip
"""What is kept with an interrupted training, by parameter."""


@app.command()
@errors_for_people
@with_image_options
def train(
    load: Load,
    data: Annotated[Path, typer.Option("--data", help=ROOT)],
    run: Annotated[Path | None, typer.Option(help="Run folder to write.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --run: continue the interrupted training of this run. It needs the images again (--data, "
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
        typer.Option(
            "--as-run",
            help="Split as the preset's source did, in its shares where it states them, to repeat its result; leaky "
            "where that was.",
        ),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            help="'imagenet', a name that 'chexkeras weights' lists, a weights file (Keras, PyTorch, safetensors), or "
            "'none' for an untrained base; by default the preset's."
        ),
    ] = None,
    weights_file: Annotated[
        Path | None, typer.Option(help="File of the weights that --weights or the preset names; nothing is downloaded.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field of the recipe, e.g. stage2.learning_rate=3e-5.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="'patient' (the default), 'official' (NIH's test list, CheXpert's valid.csv), 'image' (leaky), or "
            "'official_image' (the official test list, the rest by image: leaky between training and validation)."
        ),
    ] = None,
    validation: Annotated[float | None, typer.Option(help="Share of images for validation; 0.15 by default.")] = None,
    test: Annotated[
        float | None, typer.Option(help="Share of images for test (not with an official test list); 0.15 by default.")
    ] = None,
    missing: Missing = "error",
    store: Annotated[
        Path | None, typer.Option(help="Store made by 'chexkeras prepare'; the images themselves are then not opened.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="Compute what is frozen once: 'auto' (the default), 'float16', 'float32' or 'off'."),
    ] = None,
    frozen_engine: Annotated[
        str | None,
        typer.Option(
            help="What computes what is frozen: 'keras' (the default), 'openvino', 'openvino-bf16', 'onnx', or 'auto', "
            "the fastest of those that are installed."
        ),
    ] = None,
    first_pass: Annotated[
        Path | None,
        typer.Option(
            "--first-run",
            help="With --uncertain self_trained, a second pass: this run, trained the same way before, fills the "
            "uncertain labels of its training images with its scores; its split is kept.",
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(help="With random augmentation: store so many fixed draws of it (changes the recipe)."),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(help="CSV of labels corrected by hand, as 'chexkeras suspects' writes it to be filled in."),
    ] = None,
    caution: Annotated[
        list[str] | None, typer.Option(help="Sentence to show beside every number, e.g. how the images were sampled.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of split, weights, order and augmentation, by default the preset's.")
    ] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's logs, a point an epoch.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run of the same name, or an interrupted training of it.")
    ] = False,
) -> None:
    """Trains in two stages, chooses the threshold on validation, evaluates on test, and writes a run folder."""
    from chexkeras.data.audit.audit import audit as audit_images
    from chexkeras.data.corrections import apply_corrections, read_corrections
    from chexkeras.data.store.store import Store
    from chexkeras.inference.engines import check_frozen_engine
    from chexkeras.progress import say
    from chexkeras.recipes import protocol
    from chexkeras.runs import writer
    from chexkeras.training import second_pass
    from chexkeras.training.resume.interrupted import InterruptedTraining, resumed_by

    if (run is None) == (resume is None):
        raise ValueError("give either --run, the folder of a new run, or --resume, the run of an interrupted training.")
    # What is kept with an interrupted training cannot be given again.
    going_on = command_line("run", "resume", *_KEPT, adding=("--resume", str(resume or run)))
    interrupted = None
    if resume is not None:
        given = (finding, preset, weights, weights_file, settings, split, as_run, validation, test, features,
                 frozen_engine, caution, draws, seed, overwrite)  # fmt: skip
        interrupted = _interrupted(resume, dict(zip(_KEPT.values(), given, strict=True)))
        recipe = interrupted.recipe
        named = recipe.name
    else:
        named = preset or "two-stage"
        recipe = _recipe(named, finding, (weights, weights_file), settings, seed)
        writer.check_free(run, overwrite)
        with resumed_by(going_on):
            InterruptedTraining(run).check_free(overwrite)
    one_of(missing, ("error", "skip"), "--missing")
    with _option_names():
        plan = _split_plan(preset, as_run, split, validation, test)
    features = one_of("auto" if features is None else features, ("auto", "float16", "float32", "off"), "--features")
    if frozen_engine is not None:
        with _option_names():
            check_frozen_engine(frozen_engine)
    opened = Store.load(store) if store is not None else None
    if opened is not None:
        opened.require_size(recipe.image_size)
    loaded = load(
        data,
        missing=missing if opened is None else "keep",
        usual=protocol.source_reading(named, recipe),
        because=f"read as by the source of preset {named}",
    )
    if corrections is not None:
        corrected = apply_corrections(loaded, corrections)
        say(corrected.source.cautions[-1])
        loaded = corrected
    table = protocol.usable_table(loaded, recipe, opened, missing)
    # A training that is resumed kept them.
    cautions = protocol.reading_cautions(named, table, recipe) if interrupted is None else ()
    for sentence in cautions:
        say(sentence)
    if first_pass is not None:
        with _option_names():
            second_pass.check_first_run(first_pass, table, recipe, opened)
    checked = audit_images(table, missing=missing, decode=opened is None)
    say(checked.summary)
    if first_pass is not None:
        unused = {"--split": split, "--as-run": as_run or None, "--validation": validation, "--test": test}
        given = [name for name, value in unused.items() if value is not None]
        if given:
            say(f"--first-run keeps that run's split: {', '.join(given)} not used")
        splits = second_pass.fill_uncertain_from(first_pass, checked.table, recipe, opened)
    elif interrupted is not None:
        splits = interrupted.splits(checked.table)
    else:
        splits = protocol.split_for(checked.table, recipe, plan)
    say(str(splits))
    if corrections is not None:
        read_corrections(corrections).refuse_unread(splits.test["image_id"])
    starting_tensorflow()
    from chexkeras.training.trainer import train as train_recipe

    options = {"cautions": (*cautions, *(caution or ())), "overwrite": overwrite, "features": features, "draws": draws}
    if frozen_engine is not None:
        options["frozen_engine"] = frozen_engine
    with resumed_by(going_on):
        finished = train_recipe(
            recipe,
            splits,
            resume or run,
            audit=checked,
            store=opened,
            resume=interrupted is not None,
            tensorboard=tensorboard,
            **(options if interrupted is None else interrupted.options),
        )
    show_evaluation(finished.evaluation)
    show_shortcuts(finished)
    tell(f"run folder: {finished.folder}")


@contextlib.contextmanager
def _option_names() -> Iterator[None]:
    """Names options where a message of the library names parameters: --split image for kind='image'."""
    try:
        yield
    except ValueError as error:
        named = r"\b(validation|test|kind|uncertain|frozen_engine)='?([^\s',;:]+)'?"
        options = {"kind": "--split", "frozen_engine": "--frozen-engine"}
        text = re.sub(named, lambda found: f"{options.get(found[1], f'--{found[1]}')} {found[2]}", str(error))
        raise ValueError(text) from error


def _split_plan(
    preset: str | None, as_run: bool, split: str | None, validation: float | None, test: float | None
) -> "SplitPlan":
    from chexkeras.recipes import protocol

    if not as_run:
        return protocol.own_split(split or "patient", validation, test)
    if preset is None or split is not None:
        raise ValueError("--as-run takes the split of a preset's source: give --preset, and leave out --split.")
    return protocol.source_split(preset, validation, test)


def _interrupted(folder: Path, kept: Mapping[str, Any]) -> "InterruptedTraining":
    """Returns the interrupted training of a run, which keeps what `kept` names: none of it can be given again."""
    from chexkeras.training.resume.interrupted import InterruptedTraining

    interrupted = InterruptedTraining.load(folder)
    # By identity: a seed or share of 0 equals False, and was given.
    given = [name for name, value in kept.items() if value is not None and value is not False and value != []]
    if given:
        raise ValueError(f"--resume goes on with what the training was started with; leave out {', '.join(given)}.")
    return interrupted


def _recipe(
    preset: str,
    finding: list[str] | None,
    weights: tuple[str | None, Path | None],
    settings: list[str] | None,
    seed: int | None,
) -> "Recipe":
    """Returns the recipe that the options describe: a preset and what they change in it."""
    from chexkeras.models.weights import opening
    from chexkeras.recipes import presets
    from chexkeras.recipes.overrides import with_settings

    recipe = presets.preset(preset)
    if seed is not None:
        recipe = recipe.replace(seed=seed)
    if finding:
        recipe = recipe.replace(targets=tuple(finding))
    named, file = weights
    if named is not None:
        recipe = recipe.replace(weights=None if named.lower() == "none" else named, weights_file=None)
    if file is not None:
        recipe = recipe.replace(weights_file=str(file))
    recipe = with_settings(recipe, settings or ())
    # Looked into before images are: what does not fit is told at once.
    opening.find(recipe.backbone, recipe.weights, recipe.weights_file)
    return recipe
