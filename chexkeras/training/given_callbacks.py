"""Keras callbacks of one's own: told of the run's epochs as of one long fit."""

from collections.abc import Sequence
from typing import Any

import keras

_REFUSED = {
    "EarlyStopping": "a stage's patience (Stage(patience=3)) stops it",
    "ModelCheckpoint": "every epoch is checkpointed beside the run, and the best one is kept (keep_epochs keeps more)",
    "BackupAndRestore": "every epoch is checkpointed beside the run; resume=True continues",
    "ReduceLROnPlateau": 'a stage does that: Stage(schedule="reduce_on_plateau")',
    "LearningRateScheduler": 'a stage has a schedule: Stage(schedule="warmup_cosine")',
    "SwapEMAWeights": "a stage averages its weights: Stage(ema=0.999)",
    "TensorBoard": "train(..., tensorboard=folder) writes its logs",
    "TerminateOnNaN": "a loss that is no number stops training, and the message says where",
}


class GivenCallbacks:
    """Callbacks that were given to `train`.

    They see one fit over all stages: `on_train_begin` once, epochs counted over the run from 0, the steps of each
    epoch, and after an epoch the numbers of its row in the history. They come after chexkeras' own. `model` is the
    classifier, also where a stage is fitted on stored features. One that sets ``model.stop_training`` ends its stage.

    Args:
        callbacks: The callbacks.

    Raises:
        TypeError: If one is no Keras callback.
        ValueError: If it is one whose work belongs to the recipe.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback] = ()) -> None:
        if isinstance(callbacks, keras.callbacks.Callback):
            callbacks = [callbacks]
        self.callbacks = tuple(callbacks)
        for each in self.callbacks:
            if not isinstance(each, keras.callbacks.Callback):
                raise TypeError(
                    f"callbacks holds a {type(each).__name__}; objects of keras.callbacks.Callback were expected"
                    + (f": {each.__name__}(...) makes one." if callable(each) and hasattr(each, "__name__") else ".")
                )
            for name, instead in _REFUSED.items():
                if isinstance(each, getattr(keras.callbacks, name, ())):
                    raise ValueError(
                        f"callbacks: {type(each).__name__} would do what the recipe decides and records, and a resumed "
                        f"training would lose what it had done; {instead}."
                    )

    def __bool__(self) -> bool:
        return bool(self.callbacks)

    @property
    def names(self) -> list[str]:
        """The classes, in the order in which they are called."""
        return [type(each).__name__ for each in self.callbacks]

    def begin(self, model: keras.Model, epochs: int, steps: int) -> None:
        """Tells that training begins, or goes on.

        Args:
            model: The classifier.
            epochs: Most epochs of all stages together.
            steps: Steps of an epoch.
        """
        for each in self.callbacks:
            each.set_model(model)
            each.set_params({"epochs": epochs, "steps": steps, "verbose": 0})
            each.on_train_begin({})

    def epoch_begins(self, model: keras.Model, number: int) -> None:
        """Tells that an epoch begins.

        Args:
            model: The classifier.
            number: The epoch's number within the run, from 1.
        """
        if self.callbacks:
            model.stop_training = False
        for each in self.callbacks:
            each.on_epoch_begin(number - 1, {})

    def epoch_ends(self, model: keras.Model, row: dict[str, Any]) -> bool:
        """Tells that an epoch was run, measured and checkpointed.

        Args:
            model: The classifier.
            row: Its row of the history.

        Returns:
            Whether one of them asks for the stage to end.
        """
        logs = {name: value for name, value in row.items() if isinstance(value, float)}
        for each in self.callbacks:
            each.on_epoch_end(row["global_epoch"] - 1, dict(logs))
        return bool(self.callbacks) and bool(model.stop_training)

    def end(self) -> None:
        """Tells that the last stage has ended."""
        for each in self.callbacks:
            each.on_train_end({})

    def of_steps(self) -> list[keras.callbacks.Callback]:
        """Returns what tells them of every step of an epoch, for `fit`."""
        return [_StepForwarding(self.callbacks)] if self.callbacks else []


class _StepForwarding(keras.callbacks.Callback):
    """Hands on the steps of one `fit`, and nothing else of it: each epoch is a `fit` of its own."""

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        super().__init__()
        self._callbacks = callbacks

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells that a step begins."""
        for each in self._callbacks:
            each.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells that a step has ended."""
        for each in self._callbacks:
            each.on_train_batch_end(batch, logs)
