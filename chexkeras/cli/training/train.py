"""``chexkeras train``."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from chexkeras.checks import one_of, positive_int
from chexkeras.cli.app import Address, app, command_line, errors_for_people, starting_tensorflow, tell
from chexkeras.cli.image_options import ROOT, Load, Missing, with_image_options
from chexkeras.cli.output import show_evaluation, show_shortcuts
from chexkeras.cli.training.inputs import FeaturesLimit, FeaturesStore, bytes_of, load_images
from chexkeras.cli.training.workers import announce, follow_first, shared_by
from chexkeras.progress import say
from chexkeras.training.distributed.team import Team

if TYPE_CHECKING:
    import pandas as pd

    from chexkeras.recipes.protocol import SplitPlan
    from chexkeras.recipes.recipe import Recipe
    from chexkeras.training.resume.interrupted import InterruptedTraining
    from chexkeras.training.resume.interrupted_series import InterruptedSeries

_KEPT = {
    "finding": "--finding", "preset": "--preset", "weights": "--weights",
    "weights_file": "--weights-file", "settings": "--set", "split": "--split",
    "as_run": "--as-run", "validation": "--validation", "test": "--test", "features": "--features",
    "frozen_engine": "--frozen-engine", "caution": "--caution", "draws": "--draws", "seed": "--seed",
    "overwrite": "--overwrite",
    "folds": "--folds", "repeats": "--repeats", "seeds": "--seeds", "final": "--final",
    "features_store": "--features-store", "features_limit": "--features-limit",
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
    features_store: FeaturesStore = None,
    features_limit: FeaturesLimit = None,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Cross-validation: so many trainings, each tested on patients that it has not seen, for little more "
            "than the price of one; every image gets a score by a model that has not seen it."
        ),
    ] = None,
    repeats: Annotated[int | None, typer.Option(help="With --folds: divide into folds so many times.")] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="So many trainings that differ in nothing but the seed, and their mean: how much of a result is luck."
        ),
    ] = None,
    final: Annotated[
        str | None,
        typer.Option(
            help="With --folds, the model to use afterwards: 'refit' (the default, one training on all images), "
            "'ensemble' (the folds' models together) or 'none'."
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
    workers: Annotated[
        str | None,
        typer.Option(
            help="Share each batch, with KERAS_BACKEND=jax: among so many GPUs of this machine, or processes where it "
            "has none; or 'slurm' or 'torchrun' where one of these starts this command once for each worker, on one "
            "machine or several. The run is the same but for rounding."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run of the same name, or an interrupted training of it.")
    ] = False,
    executor: Annotated[
        str,
        typer.Option(help="Where what is frozen is computed once: 'processes' here, 'ray' on a cluster (extra ray)."),
    ] = "processes",
    address: Address = None,
) -> None:
    """Trains in two stages, chooses the threshold on validation, evaluates on test, and writes a run folder."""
    from chexkeras.inference.engines import check_frozen_engine
    from chexkeras.parallel import Workplace
    from chexkeras.recipes import protocol
    from chexkeras.runs import writer
    from chexkeras.runs.series import check_free_for_series
    from chexkeras.training import second_pass
    from chexkeras.training.frozen.place import place_of_features
    from chexkeras.training.resume.interrupted import InterruptedTraining, resumed_by
    from chexkeras.training.resume.interrupted_series import InterruptedSeries

    if (run is None) == (resume is None):
        raise ValueError("give either --run, the folder of a new run, or --resume, the run of an interrupted training.")
    folder = cast(Path, resume or run)
    # What is kept with an interrupted training cannot be given again.
    going_on = command_line("run", "resume", *_KEPT, adding=("--resume", str(folder)))
    _check_shared(workers, {"--folds": folds, "--seeds": seeds, "--draws": draws, "--features-store": features_store,
                            "--features": None if features in ("auto", "off") else features})  # fmt: skip
    place = place_of_features(
        Workplace(executor, address), features or "auto", frozen_engine or "keras", shared=workers is not None
    )
    with shared_by(workers, folder, going_on) as crew:
        if isinstance(crew, Team) and not crew.leads:
            follow_first(crew, load, data, missing, store, corrections)
            return
        interrupted: InterruptedTraining | InterruptedSeries | None = None
        many = folds is not None or seeds is not None
        if resume is not None:
            given = (
                finding,
                preset,
                weights,
                weights_file,
                settings,
                split,
                as_run,
                validation,
                test,
                features,
                frozen_engine,
                caution,
                draws,
                seed,
                overwrite,
                folds,
                repeats,
                seeds,
                final,
                features_store,
                features_limit,
            )
            interrupted = _interrupted(folder, dict(zip(_KEPT.values(), given, strict=True)))
            recipe, named = interrupted.recipe, interrupted.recipe.name
            many = isinstance(interrupted, InterruptedSeries)
        else:
            _check_series(folds, repeats, seeds, final, {"--split": split, "--as-run": as_run or None, "--test": test,
                          "--first-run": first_pass, "--tensorboard": tensorboard})  # fmt: skip
            named = preset or "two-stage"
            recipe = recipe_with(named, finding, (weights, weights_file), settings, seed)
            if many:
                check_free_for_series(folder, overwrite)
            else:
                writer.check_free(folder, overwrite)
            with resumed_by(going_on):
                InterruptedTraining(folder).check_free(overwrite)
        announce(crew, recipe, named, interrupted)
        with _option_names():
            plan = _split_plan(preset, as_run, split, validation, test)
        features = one_of("auto" if features is None else features, ("auto", "float16", "float32", "off"), "--features")
        if frozen_engine is not None:
            with _option_names():
                check_frozen_engine(frozen_engine)
        limit = bytes_of(features_limit)
        images = load_images(load, data, missing, store, named, recipe, corrections)
        # A training that is resumed kept them.
        cautions = images.cautions if interrupted is None else ()
        if first_pass is not None:
            with _option_names():
                second_pass.check_first_run(first_pass, images.table, recipe, images.store)
        if interrupted is None and first_pass is None and folds is None:
            # What the table alone rules out is said before its images are looked at.
            protocol.split_for(images.table, recipe, plan)
        checked = images.audited()
        kept: dict[str, Any] = {"audit": checked, "store": images.store, "resume": interrupted is not None,
                                "executor": place}  # fmt: skip
        options = {"cautions": (*cautions, *(caution or ())), "overwrite": overwrite, "features": features,
                   "draws": draws, "features_store": features_store, "features_limit": limit,
                   "frozen_engine": frozen_engine or "keras"}  # fmt: skip
        if many:
            how = {"folds": folds, "repeats": repeats, "seeds": seeds, "final": final, "validation": validation}
            how = {name: value for name, value in how.items() if value is not None}
            with resumed_by(going_on):
                _train_many(folder, recipe, checked.table, interrupted, {**options, **how}, kept, plan, corrections)
            return
        if first_pass is not None:
            unused = {"--split": split, "--as-run": as_run or None, "--validation": validation, "--test": test}
            named_too = [name for name, value in unused.items() if value is not None]
            if named_too:
                say(f"--first-run keeps that run's split: {', '.join(named_too)} not used")
            splits = second_pass.fill_uncertain_from(first_pass, checked.table, recipe, images.store)
        elif isinstance(interrupted, InterruptedTraining):
            splits = interrupted.splits(checked.table)
        else:
            splits = protocol.split_for(checked.table, recipe, plan)
        say(str(splits))
        _refuse_unread(corrections, splits.test)
        starting_tensorflow()
        from chexkeras.training.trainer import train as train_recipe

        with resumed_by(going_on):
            finished = train_recipe(
                recipe,
                splits,
                folder,
                tensorboard=tensorboard,
                workers=crew,
                **kept,
                **(options if interrupted is None else interrupted.options),
            )
        show_evaluation(finished.evaluation)
        show_shortcuts(finished)
        tell(f"run folder: {finished.folder}")


def _check_shared(workers: str | None, others: Mapping[str, Any]) -> None:
    """Refuses what several workers cannot have."""
    given = [f"{name} {value}" for name, value in others.items() if value is not None]
    if workers is not None and given:
        raise ValueError(
            f"--workers cannot be had with {', '.join(given)}: stored features and several trainings that share them "
            "take one process and one device; leave --workers out, they need no more."
        )


def _refuse_unread(corrections: Path | None, tested: "pd.DataFrame") -> None:
    """Refuses labels of tested images that were corrected without a reader."""
    from chexkeras.data.corrections import read_corrections

    if corrections is not None:
        read_corrections(corrections).refuse_unread(tested["image_id"])


def _check_series(
    folds: int | None, repeats: int | None, seeds: int | None, final: str | None, others: Mapping[str, Any]
) -> None:
    """Refuses options that say nothing without others, or that say how a single training is done."""
    for name, value in {"--repeats": repeats, "--final": final}.items():
        if value is not None and folds is None:
            raise ValueError(f"{name} {value} is for cross-validation: give --folds, too.")
    from chexkeras.runs.series import FINAL

    if folds is not None:
        positive_int(folds, "--folds", least=2)
        positive_int(1 if repeats is None else repeats, "--repeats")
        one_of("none" if final is None else final, FINAL, "--final")
    if seeds is not None:
        positive_int(seeds, "--seeds", least=2 if folds is None else 1)
    single = ("--first-run", "--tensorboard")
    given = [name for name, value in others.items() if value is not None and (folds is not None or name in single)]
    if given and (folds is not None or seeds is not None):
        raise ValueError(f"{'--folds' if folds is not None else '--seeds'} cannot be had with {', '.join(given)}.")


def _train_many(
    folder: Path,
    recipe: "Recipe",
    table: "pd.DataFrame",
    interrupted: "InterruptedTraining | InterruptedSeries | None",
    options: dict[str, Any],
    kept: dict[str, Any],
    plan: "SplitPlan",
    corrections: Path | None,
) -> None:
    """Cross-validates, or trains several seeds, and prints what came of it."""
    from chexkeras.data.splits.splits import Splits
    from chexkeras.recipes import protocol
    from chexkeras.runs.series import SEEDS
    from chexkeras.training.resume.interrupted_series import InterruptedSeries

    series = interrupted if isinstance(interrupted, InterruptedSeries) else None
    of_seeds = "folds" not in options if series is None else series.kind == SEEDS
    if series is not None:
        options = series.options
    starting_tensorflow()
    from chexkeras.training.experiments.cross_validation import cross_validate, train_seeds

    if of_seeds:
        options.pop("validation", None)
        splits = (
            protocol.split_for(table, recipe, plan)
            if series is None
            else Splits.load(series.folder / "splits.csv", table)
        )
        say(str(splits))
        _refuse_unread(corrections, splits.test)
        seeds = train_seeds(recipe, splits, folder, **kept, **options)
        show_evaluation(seeds.ensemble)
        tell(f"{len(seeds.runs)} trainings that differ in nothing but their seed, and their mean (AUROC):")
        tell(str(seeds.spread))
        tell(f"folder: {seeds.folder}")
        return
    from chexkeras.report.experiments import write_cross_validation

    # Every image is tested in some fold.
    _refuse_unread(corrections, table)
    found = cross_validate(recipe, table, folder, **kept, **options)
    tell(str(found.evaluation))
    tell(f"page: {write_cross_validation(found)}")
    tell(f"The model to use: {found.record['final']['said']}.")
    tell(f"folder: {found.folder}")


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


def own_split(split: str | None, validation: float | None, test: float | None) -> "SplitPlan":
    """Returns how images are split by options alone.

    Args:
        split: What `--split` says; None splits by patient.
        validation: Share of images for validation; None for the usual one.
        test: Share of images for test; None for the usual one.
    """
    with _option_names():
        return _split_plan(None, False, split, validation, test)


def _split_plan(
    preset: str | None, as_run: bool, split: str | None, validation: float | None, test: float | None
) -> "SplitPlan":
    from chexkeras.recipes import protocol

    if not as_run:
        return protocol.own_split(split or "patient", validation, test)
    if preset is None or split is not None:
        raise ValueError("--as-run takes the split of a preset's source: give --preset, and leave out --split.")
    return protocol.source_split(preset, validation, test)


def _interrupted(folder: Path, kept: Mapping[str, Any]) -> "InterruptedTraining | InterruptedSeries":
    """Returns the interrupted training or series, which keeps what `kept` names: none of it can be given again."""
    from chexkeras.runs.series import SWEEP
    from chexkeras.training.resume.interrupted import InterruptedTraining
    from chexkeras.training.resume.interrupted_series import InterruptedSeries

    series = InterruptedSeries(folder)
    interrupted = series if series.exists() else InterruptedTraining.load(folder)
    if series.exists() and series.kind == SWEEP:
        raise ValueError(f"{str(folder)!r} is an interrupted sweep; go on with it by chexkeras sweep --resume.")
    # By identity: a seed or share of 0 equals False, and was given.
    given = [name for name, value in kept.items() if value is not None and value is not False and value != []]
    if given:
        raise ValueError(f"--resume goes on with what the training was started with; leave out {', '.join(given)}.")
    return interrupted


def recipe_with(
    preset: str,
    finding: list[str] | None,
    weights: tuple[str | None, Path | None],
    settings: list[str] | None,
    seed: int | None,
) -> "Recipe":
    """Returns the recipe that the options describe: a preset and what they change in it.

    Args:
        preset: Its name.
        finding: Findings to learn; None keeps the preset's.
        weights: What `--weights` and `--weights-file` say; None keeps the preset's.
        settings: Fields to change, as `recipes.with_settings` takes them.
        seed: None keeps the preset's.
    """
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
