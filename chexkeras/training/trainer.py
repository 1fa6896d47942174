"""Training from a recipe and a split to a run folder, in one go or in several."""

import contextlib
import hashlib
import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.data.audit.audit import Audit
from chexkeras.data.audit.audit import audit as audit_images
from chexkeras.data.image_table import refuse_dicom
from chexkeras.data.sampling import balance_groups
from chexkeras.data.splits.splits import Splits, listed
from chexkeras.data.splits.splitters import check_classes
from chexkeras.data.store.store import Store
from chexkeras.inference.engines import check_frozen_engine
from chexkeras.models.classifier import resolve_precision
from chexkeras.parallel import HERE, Workplace
from chexkeras.progress import say
from chexkeras.recipes.presets import recipe_of
from chexkeras.recipes.recipe import Recipe, Stage
from chexkeras.runs import writer
from chexkeras.runs.run import Run
from chexkeras.training import finish
from chexkeras.training.callbacks import EpochLog
from chexkeras.training.distributed.follow import share_work
from chexkeras.training.distributed.sharing import Sharing
from chexkeras.training.distributed.team import Team, check_batch
from chexkeras.training.frozen.place import check_shareable, place_of_features
from chexkeras.training.frozen.plan import FeaturePlan, check_draws, plan_features
from chexkeras.training.frozen.shelves import Shelves
from chexkeras.training.loop import Fitted, fit_stages
from chexkeras.training.memory import halving
from chexkeras.training.objective import build_loss, training_labels
from chexkeras.training.own_objects import OwnObjects, loss_for_labels
from chexkeras.training.resume.checkpoints import Checkpoints, value
from chexkeras.training.resume.interrupted import InterruptedTraining, TrainingRequest
from chexkeras.training.shared import SharedWork, shared_shelves
from chexkeras.training.start import IMAGES_AT_A_TIME, built, spelt_as_in, starting_classifier


@checked
def train(
    recipe: Recipe | str,
    splits: Splits,
    run_dir: str | Path,
    *,
    audit: Audit | None = None,
    cautions: Sequence[str] = (),
    overwrite: bool = False,
    features: str = "auto",
    features_store: str | Path | None = None,
    features_limit: int | None = None,
    draws: int | None = None,
    frozen_engine: str = "keras",
    store: Store | None = None,
    resume: bool = False,
    tensorboard: str | Path | None = None,
    backbone: keras.layers.Layer | None = None,
    input_range: tuple[float, float] | str | None = None,
    head: keras.layers.Layer | None = None,
    loss: keras.losses.Loss | None = None,
    augment: keras.layers.Layer | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    workers: int | Team | None = None,
    executor: str | Workplace = HERE,
) -> Run:
    """Trains, chooses the operating points on validation, evaluates on test and writes the run folder.

    Everything that can be refused is refused before the first epoch. A run of the same name stays as it was until the
    new one is complete. Every epoch leaves a checkpoint beside the run folder, which goes when the run is complete: a
    training that was interrupted or killed is continued with `resume` and ends as if nothing had happened.

    Keras objects take the place of what the recipe names. Each is copied and left as it is, and recorded in the run by
    its class and configuration; one that Keras cannot make again from these is refused. A resumed training makes them
    again, all but callbacks, and refuses others than those it began with.

    Args:
        recipe: What to do, or the name of a preset.
        splits: Which image belongs to which part.
        run_dir: Folder to write.
        audit: An audit of the images made before; None makes one now.
        cautions: Further sentences to show beside every number of the run, for example on how the images were sampled.
        overwrite: Whether a run of the same name, or an interrupted training of it, may be replaced.
        features: Whether to compute what is frozen once and store it instead of once per epoch: "auto" (float16 where
            that is exact but for rounding, and cheaper), "float16", "float32" or "off".
        features_store: Folder in which what is frozen stays for later trainings: those with the same frozen weights,
            images and copies of them find it there, whatever else differs, several at once too. None keeps it beside
            the run and removes it at the end.
        features_limit: Bytes that the folder may take; what was not used for the longest time then gives way. None
            leaves half of the free disk free.
        draws: With random augmentation: how many fixed draws of it to store for each image instead of drawing again in
            every epoch. That changes the recipe and is recorded; None reads the images again.
        frozen_engine: What computes features that are stored: "keras"; "openvino", "openvino-bf16" or "onnx", which
            need the extra of that name and are compared with Keras first; or "auto", the fastest of those on this
            machine. Its difference from Keras is recorded in the run.
        store: Images decoded before (`cx.prepare`); the files at `path` are then not opened, and the run is
            the same, bit for bit. Without an `audit`, labels and patients are audited but no pixels.
        resume: Whether to continue the interrupted training of this run. Everything else has to be as it was; what it
            was is kept with it, see `resume.interrupted.InterruptedTraining`.
        tensorboard: Folder for TensorBoard's logs, a point an epoch (needs the package tensorboard); None writes none.
        backbone: A Keras model or layer from images (batch, side, side, 1 or 3) to a feature map (batch, rows, columns,
            channels), with its weights; one that goes by a name is set in the recipe, recipe.replace(backbone=name).
            Where `recipe.weights` is None it counts as untrained, and its BatchNorm statistics are taken from the
            training images. Stages freeze and unfreeze its layers, models inside of it layer by layer, but code of its
            own (a subclassed model) as one layer.
        input_range: With `backbone`, what it expects: its values of black and white, such as (0, 1), (-1, 1), or (0,
            255) where it scales them itself; or "imagenet" or "caffe", see `run_from_model`. Never guessed.
        head: A Keras model or layer from the feature map, or from its average over rows and columns, to one probability
            for each target; one that goes by a name is set in the recipe, recipe.replace(head=name).
        loss: An object of keras.losses.Loss, of labels and probabilities (batch, n_targets); one that goes by a name is
            set in the recipe, recipe.replace(loss=cx.recipes.Loss(name)). Where labels are unknown they are NaN: a loss
            that gives NaN for them is computed finding by finding on the known ones, if it is a mean over findings.
        augment: A Keras layer, or a Sequential of several, that changes training images (batch, side, side, 1), 0 to
            255, at random; changes of chexkeras are set in the recipe,
            recipe.replace(augment=cx.data.Augmentation(...)). It takes their place. What it draws follows from the
            recipe's seed, the epoch and the image; its own seed has no effect.
        callbacks: Objects of keras.callbacks.Callback, called in this order after chexkeras' own, with epochs counted
            over the whole run. They are recorded by the names of their classes, and may not change weights between
            epochs. Of a resumed training they see the rest alone, and a caution says so. Those that do what the recipe
            decides (EarlyStopping, ModelCheckpoint, schedules of the learning rate) are refused.
        workers: How many devices of this machine share each batch, such as its GPUs, with Keras' JAX backend
            (KERAS_BACKEND=jax): the batch stays the recipe's and the run is the same but for rounding, as it is resumed
            with any number of them. What is frozen is then not stored, but computed in every epoch. Several processes
            and machines are started on the command line (chexkeras train --workers), which gives their team here.
            None takes one device.
        executor: Where features that are stored are computed: "ray" (a cluster, see `parallel.Workplace`), or here.

    Returns:
        The run.

    Raises:
        ValueError: If an image cannot be read, a part lacks a class, a stage names no layer, the operating point cannot
            be chosen from so few positives, the loss stops being a number, memory does not suffice for one image, a
            training is to be resumed with other inputs, or a Keras object takes or gives something else than it should
            or cannot be recorded.
        TypeError: If a Keras object is of another kind.
        FileExistsError: If the folder is taken, or an interrupted training would be lost.
        FileNotFoundError: If there is nothing to resume.
        OSError: If a checkpoint cannot be written.
    """
    own = OwnObjects.of(backbone, input_range, head, loss, augment, callbacks)
    recipe = recipe_of(recipe)
    if tensorboard is not None:
        EpochLog.check(tensorboard)
    shelves = shared_shelves(features_store, features_limit)
    check_frozen_engine(frozen_engine)
    place, sharing = place_of_features(executor, features, frozen_engine, shared=workers is not None), None
    if workers is not None:
        check_shareable(features, draws, features_store, own, workers)
        sharing = Sharing(team=workers) if isinstance(workers, Team) else Sharing(workers)
        check_batch(recipe.batch_size, sharing.share.devices)
    computed = (frozen_engine, sharing, place)
    asked = Asked(audit, cautions, overwrite, features, draws, store, resume, tensorboard, own, *computed)
    with shelves or contextlib.nullcontext():
        return train_one(recipe, splits, run_dir, asked, SharedWork(shelves))


@dataclass(frozen=True)
class Asked:
    """Arguments of `train` besides recipe, splits, folder and the store of features."""

    audit: Audit | None = None
    cautions: Sequence[str] = ()
    overwrite: bool = False
    features: str = "auto"
    draws: int | None = None
    store: Store | None = None
    resume: bool = False
    tensorboard: str | Path | None = None
    own: OwnObjects = field(default_factory=OwnObjects)
    frozen_engine: str = "keras"
    sharing: Sharing | None = None
    place: Workplace = HERE


def train_one(recipe: Recipe, splits: Splits, run_dir: str | Path, asked: Asked, shared: SharedWork) -> Run:
    """Does what `train` does, with what it shares with other trainings.

    Args:
        recipe: What to do.
        splits: Which image belongs to which part.
        run_dir: Folder to write.
        asked: The other arguments of `train`.
        shared: What this training has in common with others.

    Returns:
        The run.

    Raises:
        ValueError: As `train` says.
        FileExistsError: If the folder is taken, or an interrupted training would be lost.
        FileNotFoundError: If there is nothing to resume.
        OSError: If a checkpoint cannot be written.
    """
    own = asked.own
    writer.clear_abandoned(run_dir)
    unfinished = InterruptedTraining.load(run_dir) if asked.resume else InterruptedTraining(run_dir)
    if asked.resume and unfinished.complete:
        say(f"the run {unfinished.run_dir.name} is complete already")
        shutil.rmtree(unfinished.folder)
        return Run.load(run_dir)
    overwrite = asked.overwrite or (asked.resume and unfinished.options["overwrite"])
    folder = writer.check_free(run_dir, overwrite)
    store, features, draws = asked.store, asked.features, asked.draws
    if asked.sharing is not None and not asked.resume:
        # Whoever takes it up with one device reads the images in every epoch, too.
        features = "off"
    if store is None:
        refuse_dicom(splits.table)
    if asked.resume:
        own = own.completed(unfinished.options.get("given", {}))
    given = own.record()
    recipe = own.named_in(spelt_as_in(splits.table, recipe))
    if not (splits.has_test or shared.lean):
        raise ValueError("the split has no test part, so that the run could not be measured; split with a test share.")
    check_classes(splits, recipe.targets)
    if splits.targets and not set(splits.targets) & set(recipe.targets):
        say(
            f"trains {listed(recipe.targets)}, as the recipe says, on a split that is stratified over "
            f"{listed(splits.targets)}; recipe.replace(targets=...) trains another finding"
        )
    as_split = splits
    if recipe.up_sample:
        splits = splits.up_sampled(dict(recipe.up_sample))
    # What cannot be balanced is refused here, before anything is computed.
    balance_groups(splits.train, recipe.balanced_batches)
    check_draws(recipe, features, draws)
    if draws is not None and not _leading_held(recipe):
        raise ValueError(
            f"draws={draws} (--draws) stores features, but the first stage trains BatchNorm; leave draws out."
        )
    finish.rehearse_operating_points(recipe, splits.validation)
    if store is not None:
        store.require_size(recipe.image_size)
        store.rows(splits.table["image_id"])
    options = {"features": features, "draws": draws, "cautions": list(asked.cautions), "overwrite": overwrite}
    if shared.shelves is not None and not shared.lean:
        options |= {"features_store": str(shared.shelves.root.resolve()), "features_limit": shared.shelves.limit}
    inputs = _inputs(recipe, splits, features, draws, store)
    if asked.frozen_engine != "keras":
        options["frozen_engine"] = inputs["frozen_engine"] = asked.frozen_engine
    if given:
        options["given"] = given
        inputs["given"] = {part: entry if part == "callbacks" else entry["sha256"] for part, entry in given.items()}
        if "backbone" in given:
            inputs["given"]["input_range"] = given["backbone"]["input_range"]
        # Built before anything is kept or computed: what does not fit is refused here.
        built(recipe, own)
    own_loss = None
    if own.loss is not None:
        own_loss, given["loss"]["unknown_labels"] = _own_loss(own, recipe, splits)
    request = TrainingRequest(recipe, as_split, inputs, options)
    with unfinished.claimed(request, resume=asked.resume, overwrite=overwrite):
        checkpoints = Checkpoints(unfinished.folder)
        audit = asked.audit
        if audit is None:
            audit = audit_images(
                pd.concat([splits.train, splits.validation, splits.test]), splits, decode=store is None
            )
            for line in audit.suspicions:
                say(line)
        if store is not None and not shared.lean and (dim := store.told_of_contrast(splits.table["image_id"])):
            say(dim)
        model = starting_classifier(recipe, splits, store, checkpoints, own, shared)
        rows = training_labels(recipe, splits.training_rows)
        fitted_loss = build_loss(recipe, rows) if own_loss is None else own_loss
        with contextlib.ExitStack() as stored:
            shelves = stored.enter_context(_shelves(shared, folder, unfinished))
            on_epoch = stored.enter_context(_epoch_log(asked.tensorboard))
            plan = _features(model, recipe, splits, rows, shelves, unfinished, asked, shared)
            fitted = _fitted(
                model, recipe, fitted_loss, rows, splits, plan, checkpoints, on_epoch, replace(asked, own=own)
            )
            if not shared.lean:
                # No longer needed: it goes whether the run can be written or not.
                stored.close()
            say(f"keeping the weights of {fitted.best_stage} epoch {fitted.best_epoch}, best on validation", indent=2)
            further = {
                "run_id": unfinished.run_id,
                "taken_up_after_epochs": checkpoints.resumed_after,
                "seconds": checkpoints.seconds,
                "store": store.fingerprint if store is not None else None,
                "features": plan.to_dict() if plan else None,
                **({"given": given} if given else {}),
                **({"workers": asked.sharing.record()} if asked.sharing is not None else {}),
            }
            shown = finish.all_cautions(recipe, splits, [*asked.cautions, *_begun_anew(own, checkpoints.resumed_after)])
            ended = finish.FinishedTraining(recipe, splits, audit, fitted_loss, fitted, tuple(shown), store, further)
            try:
                _write(model, ended, folder, plan if shared.lean else None, lean=shared.lean)
            except OSError as error:
                raise OSError(
                    f"the run could not be written to {folder} ({error}); every epoch is kept: free some space and "
                    "continue with resume=True (on the command line train --resume)."
                ) from error
    return Run.load(run_dir)


def _fitted(
    model: keras.Model,
    recipe: Recipe,
    loss: keras.losses.Loss,
    rows: pd.DataFrame,
    splits: Splits,
    plan: FeaturePlan | None,
    checkpoints: Checkpoints,
    on_epoch: EpochLog | None,
    asked: Asked,
) -> Fitted:
    """Fits all stages, on one device or on those that share each batch; the classifier then has the best weights."""
    sharing, own, store, validation = asked.sharing, asked.own, asked.store, splits.validation
    if sharing is None:
        return fit_stages(model, recipe, loss, rows, validation, plan, store, checkpoints, on_epoch, own.callbacks)
    if sharing.team is not None:
        share_work(sharing.team, recipe, rows, validation, store, checkpoints.folder)
    start = [value(variable) for variable in model.variables]
    with sharing.fitting(start, lambda: built(recipe, own)) as copy:
        fitted = fit_stages(
            copy, recipe, loss, rows, validation, None, store, checkpoints, on_epoch, own.callbacks, sharing
        )
        if sharing.team is not None:
            sharing.team.part()
    sharing.bring_back(copy, model, fitted.best_epochs)
    return fitted


def _write(
    model: keras.Model, ended: finish.FinishedTraining, folder: Path, plan: FeaturePlan | None, *, lean: bool
) -> None:
    with writer.writing(folder) as working:
        # The model has the best epoch's weights: they are safe on disk before the others take their place.
        if lean:
            finish.write_lean_run(model, ended, working, plan)
            return
        finish.write_run(model, ended, working)
        best = ended.fitted.best_epochs
        for number in ended.fitted.kept[1:]:
            if best is not None:
                best.assign(number)
            finish.write_run(model, ended, writer.epoch_folder(working, number), number)


def _inputs(recipe: Recipe, splits: Splits, features: str, draws: int | None, store: Store | None) -> dict[str, Any]:
    """Returns what the result depends on; an image counts by its size in bytes, which costs no reading of it."""
    if store is not None:
        images = store.fingerprint
    else:
        digest = hashlib.sha256()
        for image_id, path in zip(splits.table["image_id"], splits.table["path"].fillna(""), strict=True):
            file = Path(path)
            digest.update(f"{image_id}|{file.stat().st_size if file.is_file() else None}\n".encode())
        images = digest.hexdigest()
    return {
        "recipe": recipe.to_dict(),
        "table": splits.table_sha256,
        "split": splits.fingerprint,
        "films": images,
        "read from": "a store" if store is not None else "files",
        "features": features,
        "draws": draws,
        "weights": finish.weights_record(recipe),
        "precision": resolve_precision(recipe.precision),
        "backend": keras.backend.backend(),
    }


def _leading_held(recipe: Recipe) -> tuple[Stage, ...]:
    """Returns the stages before the first that trains BatchNorm: what a later one reads is no constant function."""
    return tuple(itertools.takewhile(lambda stage: stage.batchnorm == "held", recipe.stages))


def _own_loss(own: OwnObjects, recipe: Recipe, splits: Splits) -> tuple[keras.losses.Loss, str]:
    labels = pd.concat([splits.train, splits.validation])[list(recipe.targets)].to_numpy(float)
    return loss_for_labels(own.loss, labels)


def _begun_anew(own: OwnObjects, resumed_after: Sequence[int]) -> list[str]:
    """Returns what is to be said of callbacks that saw a part of the training alone."""
    if not own.callbacks or not resumed_after:
        return []
    epochs = ", ".join(map(str, resumed_after))
    return [
        f"The training was resumed after epoch {epochs} with callbacks that began anew "
        f"({', '.join(own.callbacks.names)}): what they had kept of earlier epochs was lost."
    ]


@contextlib.contextmanager
def _shelves(shared: SharedWork, run_dir: Path, unfinished: InterruptedTraining) -> Iterator[Shelves]:
    """Yields where features are stored: shared, or beside the run until it is complete or cannot be resumed."""
    if shared.shelves is not None:
        yield shared.shelves
        return
    folder = run_dir.with_name(f".{run_dir.name}.features")
    try:
        with Shelves(folder, own=True) as shelves:
            yield shelves
    except KeyboardInterrupt:
        raise
    except BaseException:
        if not unfinished.holds_epochs:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _epoch_log(folder: str | Path | None) -> Iterator[EpochLog | None]:
    log = EpochLog(folder) if folder is not None else None
    try:
        yield log
    finally:
        if log is not None:
            log.close()


def _features(
    model: keras.Model,
    recipe: Recipe,
    splits: Splits,
    rows: pd.DataFrame,
    shelves: Shelves,
    unfinished: InterruptedTraining,
    asked: Asked,
    shared: SharedWork,
) -> FeaturePlan | None:
    """Returns the plan for stored features, filled: the one that the training began with, if it was begun before."""
    before, features, engine = unfinished.plan, asked.features, asked.frozen_engine
    if asked.sharing is not None:
        _keep_no_features(recipe, before, unfinished)
        return None
    if before is not None:
        features = before["features"]["dtype"] if before["features"] else "off"
        # That which was chosen then, not the one that is fastest today.
        engine = (before["features"] or {}).get("engine", {"name": "keras"})["name"]
    stages, plan = _leading_held(recipe), None
    if stages and not (before is not None and features == "off"):
        planned = recipe.replace(stages=stages)
        # What is scored from features is scored as the whole network does only if every stage kept them.
        test = splits.test if shared.lean and len(stages) == len(recipe.stages) and len(splits.test) else None
        plan = plan_features(
            model, planned, rows, splits.validation, shelves, features, asked.draws, asked.store,
            engine, test=test, trainings=shared.trainings, engines=shared.engines,
        )  # fmt: skip
    if before is not None and before["features"] and plan is None:
        raise ValueError(
            f"the training of {unfinished.run_dir.name} began with stored features, for which there is no room any "
            "more; free some space on the disk, or begin again with overwrite=True "
            "(on the command line --overwrite)."
        )
    if plan is not None:
        # Not the recipe's batch size: recipes that differ in it find the same features, to the last bit.
        halving(partial(plan.fill, place=asked.place), IMAGES_AT_A_TIME, "computing what is frozen")
    if before is None:
        unfinished.save_plan(plan.to_dict() if plan is not None else None)
    return plan


def _keep_no_features(recipe: Recipe, before: dict[str, Any] | None, unfinished: InterruptedTraining) -> None:
    """Keeps that every epoch reads the images: whoever resumes this does so too, with one device as with several."""
    if before is not None and before["features"]:
        raise ValueError(
            f"the training of {unfinished.run_dir.name} began with stored features, on which one process trains: "
            "resume it without workers (on the command line without --workers)."
        )
    if before is None:
        unfinished.save_plan(None)
    if any(stage.trainable not in (1.0, "all") for stage in recipe.stages):
        say(
            "what is frozen is computed in every epoch, since workers share it; without workers it is computed once "
            "and stored, which may be faster.",
            indent=2,
        )
