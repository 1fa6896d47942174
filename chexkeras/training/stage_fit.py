"""One stage's fitting, an epoch at a time: with smaller batches where memory does not suffice, from any saved state."""

import math

import keras
import numpy as np

from chexkeras.recipes.recipe import Stage
from chexkeras.training.callbacks import EpochProgress, FiniteLoss
from chexkeras.training.changes import Changes, assign_all, value
from chexkeras.training.memory import halving
from chexkeras.training.micro_batches import GatheredGradients, in_pieces
from chexkeras.training.optimizers import AveragedWeights
from chexkeras.training.resume.checkpoints import Snapshot
from chexkeras.training.stage_data import StageData


class _Average(AveragedWeights):
    """The callback whose state, the weights behind the moving average, is part of a checkpoint."""

    @property
    def raw(self) -> list[np.ndarray]:
        return self._raw or []

    @raw.setter
    def raw(self, values: list[np.ndarray]) -> None:
        self._raw = values or None


class StageFit:
    """A stage under way.

    Args:
        classifier: The classifier, compiled for the stage.
        data: What the stage fits and reads.
        loss: The loss.
        stage: The stage.
        steps: Steps of an epoch.
        batch_size: Films a step.
        changes: What training has changed so far, this stage included.
        seed: The recipe's seed.

    Attributes:
        films_at_a_time: Films whose gradients are computed together: the batch size, or less where memory ran out.
    """

    def __init__(
        self,
        classifier: keras.Model,
        data: StageData,
        loss: keras.losses.Loss,
        stage: Stage,
        steps: int,
        batch_size: int,
        changes: Changes,
        seed: int,
    ) -> None:
        self.classifier, self.data, self.loss, self.stage, self.steps = classifier, data, loss, stage, steps
        self.batch_size = self.films_at_a_time = self._films_scored_at_a_time = batch_size
        self._changes, self._seed = changes, seed
        # Built here as `fit` would build it, so that there is a state before the first step.
        self._optimizer = classifier.optimizer
        self._optimizer.build(data.model.trainable_variables)
        self._held: list[np.ndarray] = []
        self._hold()
        self._average = _Average() if stage.ema is not None else None
        self.snapshot = self._taken()

    def _hold(self) -> None:
        """Copies all variables on JAX, where Keras hands their memory on: what breaks off leaves none of them."""
        if keras.backend.backend() == "jax":
            self._held = [value(variable) for variable in self.classifier.variables]

    def _give_back(self) -> None:
        if self._held:
            assign_all(self.classifier.variables, self._held)

    def _taken(self) -> Snapshot:
        raw = self._average.raw if self._average is not None else []
        return Snapshot(self._changes.values(), [value(variable) for variable in self._optimizer.variables], raw)

    def save(self) -> Snapshot:
        """Takes and returns the state after an epoch, to which a later epoch falls back."""
        self.snapshot = self._taken()
        return self.snapshot

    def restore(self, snapshot: Snapshot, films_at_a_time: int | None = None) -> None:
        """Takes up a state.

        Args:
            snapshot: From `save`, of this stage or of the same stage in an earlier process.
            films_at_a_time: As it was there; None leaves it.

        Raises:
            ValueError: If the state is another model's.
        """
        self._changes.assign(snapshot.variables)
        assign_all(self._optimizer.variables, snapshot.optimizer)
        if self._average is not None:
            self._average.raw = snapshot.raw
        self.snapshot = snapshot
        if films_at_a_time is not None and films_at_a_time != self.films_at_a_time:
            self._cut(films_at_a_time)

    def _cut(self, films: int) -> None:
        self.films_at_a_time = films
        gathered = GatheredGradients(self._optimizer, self._pieces)
        self.data.model.compile(optimizer=gathered, loss=self.loss, auto_scale_loss=False)

    @property
    def _pieces(self) -> int:
        return math.ceil(self.batch_size / self.films_at_a_time)

    def epoch(self, epoch: int, global_epoch: int) -> float:
        """Fits one epoch and returns its mean loss; starts it anew with smaller batches where memory runs out.

        Args:
            epoch: Its number within the stage, from 1.
            global_epoch: Its number within the run, from 1, which fixes order and augmentation.

        Raises:
            OutOfMemory: If memory does not suffice for one film.
            ValueError: If the loss stops being a number.
        """

        def attempt(films: int) -> float:
            if films != self.films_at_a_time:
                self._cut(films)
                self._give_back()
                self.restore(self.snapshot)
            return self._fit(epoch, global_epoch)

        where = f"{self.stage.name} epoch {epoch}"
        loss, _ = halving(attempt, self.films_at_a_time, where, ", or unfreeze fewer layers")
        return loss

    def _fit(self, epoch: int, global_epoch: int) -> float:
        where = f"{self.stage.name} epoch {epoch}"
        progress = EpochProgress(f"{where}/{self.stage.epochs}", self.steps * self._pieces)
        # Not before: what Keras looks at to build the model, it may draw from the same generator.
        seeding = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: _seed_dropout(self._seed, global_epoch))
        averaging = [] if self._average is None else [self._average]
        callbacks = [seeding, *averaging, FiniteLoss(where, self._pieces), progress]
        # The epoch's number fixes order and augmentation, so that a run can be taken up again at any epoch.
        batches = self.data.train(global_epoch)
        if self._pieces > 1:
            batches = in_pieces(batches, self.films_at_a_time, self._pieces)
        try:
            result = self.data.model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=callbacks)
        finally:
            progress.close()
        return float(result.history["loss"][-1])

    def scores(self) -> np.ndarray:
        """Returns the probabilities of the validation films, in table order."""
        self._hold()

        def attempt(films: int) -> np.ndarray:
            self._give_back()
            return np.asarray(self.data.model.predict(self.data.validation(films), verbose=0))

        found, self._films_scored_at_a_time = halving(attempt, self._films_scored_at_a_time, "scoring the validation")
        return found

    def finish(self) -> None:
        """Leaves the classifier with the optimizer it was compiled with."""
        if self.data.model is self.classifier and self.films_at_a_time != self.batch_size:
            self.classifier.compile(optimizer=self._optimizer, loss=self.loss, auto_scale_loss=False)


def _seed_dropout(seed: int, epoch: int) -> None:
    """Lets an epoch draw the same whatever came before it.

    Elsewhere each dropout layer has a state of its own, which is saved with the model's variables; on PyTorch Keras
    draws from the one generator of the whole program.
    """
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed * 1_000_003 + epoch)
