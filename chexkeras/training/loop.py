"""Fitting stage after stage, epoch by epoch, with exact validation AUROC; the best epoch's weights are kept.

One stage's fitting, an epoch at a time: with smaller batches where memory does not suffice, from any saved state.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras.data.store.store import Store
from chexkeras.models.stages import apply_stage, factors_of_blocks, freeze, rate_factors
from chexkeras.progress import duration, say
from chexkeras.recipes.recipe import MONITORS, Recipe, Stage
from chexkeras.training.callbacks import EarlyStopping, EpochProgress, FiniteLoss, mean_auc, one_class_targets
from chexkeras.training.distributed.sharing import Sharing
from chexkeras.training.frozen.plan import FeaturePlan
from chexkeras.training.given_callbacks import GivenCallbacks
from chexkeras.training.memory import GatheredGradients, halving, in_pieces, once
from chexkeras.training.optimizers import AveragedWeights, LearningRate, make_optimizer
from chexkeras.training.resume.checkpoints import BestEpochs, Checkpoints, Snapshot, TrainedVariables, assign_all, value
from chexkeras.training.stage_data import StageData, image_data


class StageFit:
    """A stage under way.

    Args:
        classifier: The classifier, compiled for the stage.
        data: What the stage fits and reads.
        loss: The loss.
        stage: The stage.
        steps: Steps of an epoch.
        batch_size: Images a step.
        trained: What training has changed so far, this stage included.
        seed: The recipe's seed.
        further: Keras callbacks that are told of every step, after all others.

    Attributes:
        images_at_a_time: Images whose gradients are computed together: the batch size, or less where memory ran out.
    """

    def __init__(
        self,
        classifier: keras.Model,
        data: StageData,
        loss: keras.losses.Loss,
        stage: Stage,
        steps: int,
        batch_size: int,
        trained: TrainedVariables,
        seed: int,
        further: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        self._further = further
        self.classifier, self.data, self.loss, self.stage, self.steps = classifier, data, loss, stage, steps
        self._can_halve = data.sharing is None or not data.sharing.several_processes
        self.batch_size = self.images_at_a_time = self._images_scored_at_a_time = batch_size
        self._trained, self._seed = trained, seed
        # Built here as `fit` would build it, so that there is a state before the first step.
        self._optimizer = classifier.optimizer
        self._optimizer.build(data.model.trainable_variables)
        self._held: list[np.ndarray] = []
        self._hold()
        self._average = AveragedWeights() if stage.ema is not None else None
        self.snapshot = self._taken()

    def _hold(self) -> None:
        """Copies all variables on JAX, where Keras hands their memory on: what breaks off leaves none of them."""
        if keras.backend.backend() == "jax" and self._can_halve:
            self._held = [value(variable) for variable in self.classifier.variables]

    def _give_back(self) -> None:
        if self._held:
            assign_all(self.classifier.variables, self._held)

    def _taken(self) -> Snapshot:
        raw = self._average.raw if self._average is not None else []
        return Snapshot(self._trained.values(), [value(variable) for variable in self._optimizer.variables], raw)

    def save(self) -> Snapshot:
        """Takes and returns the state after an epoch, to which a later epoch falls back."""
        self.snapshot = self._taken()
        return self.snapshot

    def restore(self, snapshot: Snapshot, images_at_a_time: int | None = None) -> None:
        """Resumes from a state.

        Args:
            snapshot: From `save`, of this stage or of the same stage in an earlier process.
            images_at_a_time: As it was there; None leaves it.

        Raises:
            ValueError: If the state is another model's.
        """
        self._trained.assign(snapshot.variables)
        assign_all(self._optimizer.variables, snapshot.optimizer)
        if self._average is not None:
            self._average.raw = snapshot.raw
        self.snapshot = snapshot
        if images_at_a_time is not None and images_at_a_time != self.images_at_a_time:
            self._cut(images_at_a_time)

    def _cut(self, images: int) -> None:
        self.images_at_a_time = images
        gathered = GatheredGradients(self._optimizer, self._pieces)
        self.data.model.compile(optimizer=gathered, loss=self.loss, auto_scale_loss=False)

    @property
    def _pieces(self) -> int:
        return math.ceil(self.batch_size / self.images_at_a_time)

    def epoch(self, epoch: int, global_epoch: int) -> float:
        """Fits one epoch and returns its mean loss; starts it again with smaller batches where memory runs out.

        Args:
            epoch: Its number within the stage, from 1.
            global_epoch: Its number within the run, from 1, which fixes order and augmentation.

        Raises:
            OutOfMemory: If memory does not suffice for one image.
            ValueError: If the loss stops being a number.
        """

        def attempt(images: int) -> float:
            if images != self.images_at_a_time:
                self._cut(images)
                self._give_back()
                self.restore(self.snapshot)
            return self._fit(epoch, global_epoch)

        where = f"{self.stage.name} epoch {epoch}"
        if not self._can_halve:
            return once(attempt, self.images_at_a_time, where)[0]
        loss, _ = halving(attempt, self.images_at_a_time, where, ", or unfreeze fewer layers")
        return loss

    def _fit(self, epoch: int, global_epoch: int) -> float:
        where = f"{self.stage.name} epoch {epoch}"
        progress = EpochProgress(f"{where}/{self.stage.epochs}", self.steps * self._pieces)
        # Not before: what Keras looks at to build the model, it may draw from the same generator.
        seeding = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: _seed_dropout(self._seed, global_epoch))
        averaging = [] if self._average is None else [self._average]
        callbacks = [seeding, *averaging, FiniteLoss(where, self._pieces), progress, *self._further]
        # The epoch's number fixes order and augmentation, so that a run can be resumed at any epoch.
        batches = self.data.train(global_epoch)
        if self._pieces > 1:
            share = None if self.data.sharing is None else self.data.sharing.share
            batches = in_pieces(batches, self.images_at_a_time, self._pieces, share)
        try:
            result = self.data.model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=callbacks)
        finally:
            progress.close()
        return float(result.history["loss"][-1])

    def scores(self) -> np.ndarray:
        """Returns the probabilities of the validation images, in table order; what fills up a batch behind them."""
        self._hold()

        def attempt(images: int) -> np.ndarray:
            self._give_back()
            return np.asarray(self.data.model.predict(self.data.validation(images), verbose=0))

        attempts, images = halving if self._can_halve else once, self._images_scored_at_a_time
        found, self._images_scored_at_a_time = attempts(attempt, images, "scoring the validation")
        return found

    def finish(self) -> None:
        """Leaves the classifier with the optimizer it was compiled with."""
        if self.data.model is self.classifier and self.images_at_a_time != self.batch_size:
            self.classifier.compile(optimizer=self._optimizer, loss=self.loss, auto_scale_loss=False)


def _seed_dropout(seed: int, epoch: int) -> None:
    """Lets an epoch draw the same whatever came before it.

    Elsewhere each dropout layer has a state of its own, which is saved with the model's variables; on PyTorch Keras
    draws from the one generator of the whole program.
    """
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed * 1_000_003 + epoch)


_MONITOR_NAMES = {"val_auroc": "validation AUROC", "val_loss": "validation loss"}


@dataclass
class Fitted:
    """What fitting leaves behind, besides the model's weights.

    Attributes:
        history: One row per epoch.
        stages: One entry per stage: its boundary, its epochs and how it ended.
        best_stage: Stage of the epoch whose weights the model now has.
        best_epoch: Its number within the stage, from 1.
        best_value: Its value of the recipe's monitor; None where no epoch had one.
        kept: Numbers within the run, from 1, of the epochs whose weights are kept, the best first.
        stopped: Stages that a callback ended.
        images_at_a_time: By stage: images whose gradients were computed together, the batch size unless memory ran out.
        best_epochs: The weights of the epochs that are kept.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    best_stage: str = ""
    best_epoch: int = 0
    best_value: float | None = None
    kept: list[int] = field(default_factory=list)
    images_at_a_time: dict[str, int] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    best_epochs: BestEpochs | None = field(default=None, repr=False, compare=False)

    def record(self) -> dict[str, Any]:
        """Returns everything but the weights, as plain values."""
        return asdict(replace(self, best_epochs=None))

    def rows(self, stage: str) -> list[dict[str, Any]]:
        """Returns the history of one stage."""
        return [row for row in self.history if row["stage"] == stage]


def fit_stages(
    model: keras.Model,
    recipe: Recipe,
    loss: keras.losses.Loss,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    plan: FeaturePlan | None = None,
    store: Store | None = None,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    callbacks: GivenCallbacks | None = None,
    sharing: Sharing | None = None,
) -> Fitted:
    """Runs a recipe's stages; the model ends with the weights of the epoch that the recipe's monitor finds best.

    Args:
        model: A classifier of `build_classifier`, with the weights that training starts from; changed in place.
        recipe: The recipe.
        loss: The loss of every stage.
        train: Image table of the training part, its rows as often as an epoch shows them.
        validation: Image table of the validation part.
        plan: Stored features for the stages that can use them; None reads the images again in every epoch.
        store: The store the images are read from; None reads their files.
        checkpoints: Where every epoch's state is kept, and resumed if there is one; None keeps none.
        on_epoch: Is given the history's row after each epoch.
        callbacks: Callbacks that the user gave; None for none.
        sharing: The devices that share each batch; None where one has it all.

    Returns:
        History and boundaries.

    Raises:
        ValueError: If the loss stops being a number (the message says in which step), a stage accumulates over more
            steps than it has, or memory does not suffice for one image.
        OSError: If a checkpoint cannot be written.
    """
    mode, name = MONITORS[recipe.monitor], _MONITOR_NAMES[recipe.monitor]
    labels = validation[list(recipe.targets)].to_numpy(np.float32)
    left_out = one_class_targets(labels, recipe.targets)
    if left_out:
        say(f"the validation AUROC leaves out what has one class there: {', '.join(left_out)}", indent=2)
    steps = math.ceil(len(train) / recipe.batch_size)
    optimizers = [make_optimizer(stage, steps) for stage in recipe.stages]
    trained = TrainedVariables(model)
    saved = checkpoints.load() if checkpoints is not None else None
    fitted = Fitted(**saved.record) if saved is not None else Fitted()
    fitted.best_epochs = best = BestEpochs(trained, recipe.keep_epochs, mode)
    if saved is not None:
        best.resume(saved.kept, {row["global_epoch"]: row[recipe.monitor] for row in fitted.history})
    if fitted.history:
        row = fitted.history[-1]
        say(f"resumed after {row['stage']} epoch {row['epoch']}, epoch {len(fitted.history)} of the run", indent=2)
    ended_before = {entry["stage"] for entry in fitted.stages}
    given = callbacks or GivenCallbacks()
    if given and fitted.history:
        say(f"callbacks begin anew, and see the rest of the training alone: {', '.join(given.names)}", indent=2)
    given.begin(model, sum(stage.epochs for stage in recipe.stages), steps)
    for stage, optimizer in zip(recipe.stages, optimizers, strict=True):
        if stage.name in ended_before:
            freeze(model, stage.trainable, stage.batchnorm)
            trained.extend()
            continue
        best.assign()
        boundary = apply_stage(
            model, stage.trainable, optimizer=optimizer, loss=loss, name=stage.name, batchnorm=stage.batchnorm
        )
        trained.extend()
        further: dict[str, Any] = {}
        if stage.layer_decay is not None:
            optimizer.set_factors(model, rate_factors(model, stage.layer_decay))
            further["learning_rate_factors"] = factors_of_blocks(model, stage.layer_decay)
        say(f"{boundary}; {_epochs_to_come(recipe.stages, stage)}", indent=2)
        if plan is not None and stage.name in plan.layers:
            data = plan.stage_data(model, recipe, stage.name)
        else:
            data = image_data(model, recipe, train, validation, store, sharing)
        under_way = StageFit(model, data, loss, stage, steps, recipe.batch_size, trained, recipe.seed, given.of_steps())
        rate, stopping = LearningRate(stage, optimizer, mode), EarlyStopping(stage.patience, mode)
        earlier = fitted.rows(stage.name)
        for row in earlier:
            # Both follow from the monitored values alone: what they learned is read again from the history.
            stopping.update(row[recipe.monitor])
            rate.after_epoch(row[recipe.monitor])
        if earlier and saved is not None:
            under_way.restore(saved.snapshot, fitted.images_at_a_time[stage.name])
        epoch = len(earlier)
        while epoch < stage.epochs and not stopping.exhausted and stage.name not in fitted.stopped:
            epoch += 1
            given.epoch_begins(model, len(fitted.history) + 1)
            row = _epoch(under_way, epoch, len(fitted.history) + 1, labels)
            value = row[recipe.monitor]
            row["learning_rate"] = rate.after_epoch(value)
            fitted.history.append(row)
            fitted.images_at_a_time[stage.name] = under_way.images_at_a_time
            stopping.update(value)
            if best.offer(len(fitted.history), value):
                fitted.best_stage, fitted.best_epoch, fitted.best_value = stage.name, epoch, value
            fitted.kept = best.numbers
            _report(row, stage, _left(fitted, stage, stopping.exhausted))
            snapshot = under_way.save()
            if given.epoch_ends(model, row):
                fitted.stopped.append(stage.name)
                say(f"a callback ended {stage.name}")
            _check_unchanged(trained, snapshot, given)
            if checkpoints is not None:
                checkpoints.save(fitted.record(), snapshot, best.weights)
            if on_epoch is not None:
                on_epoch(row)
        under_way.finish()
        if stopping.exhausted and epoch < stage.epochs:
            of = "" if fitted.best_stage == stage.name else f"{fitted.best_stage} "
            kept = f"; {of}epoch {fitted.best_epoch} kept" if fitted.best_epoch else ""
            epochs = "epoch" if stage.patience == 1 else f"{stage.patience} epochs"
            say(f"  {stage.name} stopped after epoch {epoch}: no better {name} in {epochs}{kept}", indent=6)
        ended = f"no better {name} for its patience" if stopping.exhausted else "all epochs run"
        if stage.name in fitted.stopped:
            ended = "a callback ended it"
        fitted.stages.append(
            {**boundary.to_dict(), **further, "epochs_run": epoch, "best_epoch": stopping.best_epoch, "ended": ended}
        )
    best.assign()
    given.end()
    return fitted


def _check_unchanged(trained: TrainedVariables, snapshot: Snapshot, given: GivenCallbacks) -> None:
    """Refuses callbacks that change weights after they were scored: neither history nor checkpoint would tell."""
    if given and any(
        not np.array_equal(found, snapshot.variables[place], equal_nan=True)
        for place, found in trained.values().items()
    ):
        raise ValueError(
            f"a callback changed weights at the end of an epoch ({', '.join(given.names)}), after they were scored: "
            "what is recorded would be of other weights. Change them in on_train_batch_end, or in the model."
        )


def _epoch(under_way: StageFit, epoch: int, global_epoch: int, labels: np.ndarray) -> dict[str, Any]:
    start = time.perf_counter()
    sharing = under_way.data.sharing
    if sharing is not None:
        sharing.wait_for_all()
    loss = under_way.epoch(epoch, global_epoch)
    scores = under_way.scores()[: len(labels)]
    if not np.isfinite(scores).all():
        # The loss of a step is that before its change of the weights: what the last one broke shows here first.
        raise ValueError(
            f"the weights give scores that are no numbers after {under_way.stage.name} epoch {epoch}: its last step "
            "broke them; lower the learning rate, or use precision='float32' (on the command line --set "
            "precision=float32) if this ran in half precision."
        )
    return {
        "stage": under_way.stage.name,
        "epoch": epoch,
        "global_epoch": global_epoch,
        "loss": loss,
        "val_loss": float(keras.ops.convert_to_numpy(under_way.loss(labels, scores))),
        "val_auroc": mean_auc(labels, scores.astype(np.float64)),
        "learning_rate": under_way.stage.learning_rate,
        "seconds": time.perf_counter() - start,
    }


def _epochs_to_come(stages: Sequence[Stage], stage: Stage) -> str:
    later = [f"{after.name} of {after.epochs}" for after in stages[list(stages).index(stage) + 1 :]]
    return ", then ".join([f"at most {stage.epochs} epochs", *later])


def _left(fitted: Fitted, stage: Stage, exhausted: bool) -> str:
    """Returns how long the stage takes where nothing stops it earlier; "" where it is over.

    The first epoch of a stage is compiled for and tells little: it counts only while there is no other. What an epoch
    of a later stage takes is not known before it begins: it may train ten times as many layers.
    """
    done = fitted.rows(stage.name)
    seconds = float(np.median([row["seconds"] for row in done[1:] or done]))
    seconds *= 0 if exhausted else stage.epochs - len(done)
    return f"{duration(seconds)} left" if seconds else ""


def _report(row: dict[str, Any], stage: Stage, left: str) -> None:
    """Prints an epoch on one line of 80 columns; "val" is the loss on the validation part, as Keras calls it."""
    measured = (
        f"  {row['stage']} epoch {row['epoch']}/{stage.epochs}: loss {row['loss']:.4f}, val "
        f"{row['val_loss']:.4f}, AUROC {row['val_auroc']:.3f}, {duration(row['seconds'])}"
    )
    say(f"{measured}; {left}" if left else measured, indent=6)
