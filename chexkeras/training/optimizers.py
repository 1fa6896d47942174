"""From a stage's settings to an optimizer: which one, how its learning rate moves, and the average of the weights."""

from dataclasses import dataclass, field
from typing import Any

import keras

from chexkeras.recipes.recipe import Stage
from chexkeras.training.callbacks import EarlyStopping

_MOMENTUM = 0.9
_NEVER_BELOW = 1e-8


def make_optimizer(stage: Stage, steps: int) -> keras.optimizers.Optimizer:
    """Returns a fresh optimizer for a stage.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter, ICLR 2019) and touches every trained weight, as
    in PyTorch's AdamW. SGD has a momentum of 0.9. Gradients are clipped by their norm over all weights together, after
    accumulation. The average of the weights moves once with every change of the weights.

    Args:
        stage: The stage.
        steps: Steps of an epoch.

    Raises:
        ValueError: If the stage accumulates over more steps than it has, and so would never change a weight.
    """
    if stage.accumulate > steps * stage.epochs:
        raise ValueError(
            f"{stage.name}.accumulate={stage.accumulate}, but the stage has only {steps * stage.epochs} steps and "
            "would never change a weight; lower accumulate or the batch size."
        )
    options: dict[str, Any] = {"learning_rate": _schedule(stage, steps)}
    # Left out where they are not asked for, so that a plain stage gets the optimizer it always got.
    if stage.clip_norm is not None:
        options["global_clipnorm"] = stage.clip_norm
    if stage.accumulate > 1:
        options["gradient_accumulation_steps"] = stage.accumulate
    if stage.ema is not None:
        options.update(use_ema=True, ema_momentum=stage.ema)
    if stage.optimizer == "sgd":
        options.update(momentum=_MOMENTUM, weight_decay=stage.weight_decay or None)
    elif stage.optimizer == "adamw":
        options.update(weight_decay=stage.weight_decay)
    of_keras = {"sgd": keras.optimizers.SGD, "adamw": keras.optimizers.AdamW, "adam": keras.optimizers.Adam}
    averaged_rarely = {"sgd": AveragedSGD, "adamw": AveragedAdamW, "adam": AveragedAdam}
    kinds = averaged_rarely if stage.ema is not None and stage.accumulate > 1 else of_keras
    return kinds[stage.optimizer](**options)


class _AveragedOnceAChange:
    """Moves the average of the weights when they change; Keras also moves it while gradients are being gathered.

    Keras' rule is ``average = momentum * average + (1 - momentum) * weights`` after every batch: where the weights
    have not changed, a momentum of 1 leaves the average exactly as it is.
    """

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Takes one batch's gradients, which change the weights if they are the last of a change.

        Args:
            grads: As for Keras' optimizers.
            trainable_variables: Likewise.
        """
        momentum = self.ema_momentum
        changes = keras.ops.equal((self._iterations + 1) % self.gradient_accumulation_steps, 0)
        self.ema_momentum = keras.ops.where(changes, momentum, 1.0)
        try:
            super().apply(grads, trainable_variables)
        finally:
            self.ema_momentum = momentum


@keras.saving.register_keras_serializable("chexkeras")
class AveragedSGD(_AveragedOnceAChange, keras.optimizers.SGD):
    """Keras' SGD, its average of the weights moved once a change."""


@keras.saving.register_keras_serializable("chexkeras")
class AveragedAdam(_AveragedOnceAChange, keras.optimizers.Adam):
    """Keras' Adam, its average of the weights moved once a change."""


@keras.saving.register_keras_serializable("chexkeras")
class AveragedAdamW(_AveragedOnceAChange, keras.optimizers.AdamW):
    """Keras' AdamW, its average of the weights moved once a change."""


def _schedule(stage: Stage, steps: int) -> Any:
    """Returns the learning rate: a number, or a cosine over the stage's steps, if asked for after a linear warm-up."""
    if stage.schedule not in ("cosine", "warmup_cosine"):
        return stage.learning_rate
    warm = steps * stage.warmup_epochs if stage.schedule == "warmup_cosine" else 0
    rest = max(steps * stage.epochs - warm, 1)
    if not warm:
        return keras.optimizers.schedules.CosineDecay(stage.learning_rate, rest)
    return keras.optimizers.schedules.CosineDecay(0.0, rest, warmup_target=stage.learning_rate, warmup_steps=warm)


@dataclass
class LearningRate:
    """Follows a stage's learning rate from epoch to epoch, and lowers it on a plateau where the schedule says so.

    Attributes:
        stage: The stage.
        optimizer: The optimizer that its epochs are run with.
        mode: "max" or "min": which direction of the monitored value is better.
        value: The learning rate now.
    """

    stage: Stage
    optimizer: Any
    mode: str
    value: float = field(init=False)

    def __post_init__(self) -> None:
        self.value = self.stage.learning_rate
        self._waiting = EarlyStopping(self.stage.reduce_patience, self.mode)

    def after_epoch(self, monitored: float) -> float:
        """Takes an epoch's monitored value and returns the learning rate that the epoch ended at.

        On a plateau the next epoch gets the learning rate times the stage's factor.
        """
        if self.stage.schedule == "constant":
            return self.value
        if self.stage.schedule != "reduce_on_plateau":
            return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        used = self.value
        self._waiting.update(monitored)
        if self._waiting.exhausted:
            self.value = max(used * self.stage.reduce_factor, _NEVER_BELOW)
            self.optimizer.learning_rate = self.value
            self._waiting = EarlyStopping(self.stage.reduce_patience, self.mode, self._waiting.best)
        return used


class AveragedWeights(keras.callbacks.Callback):
    """Keeps the moving average of the weights apart from the weights that go on training.

    Keras puts the average in place of the weights whenever `fit` ends, and here every epoch is one `fit`: without this
    callback each epoch would start from the average. With it, the average is what is scored and kept, and the next
    epoch goes on from the weights themselves.
    """

    def __init__(self) -> None:
        super().__init__()
        self._raw: list[Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the weights back that the last epoch ended with."""
        if self._raw is not None:
            for variable, value in zip(self.model.trainable_variables, self._raw, strict=True):
                variable.assign(value)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers the weights before Keras puts the average in their place."""
        self._raw = [keras.ops.convert_to_numpy(variable) for variable in self.model.trainable_variables]

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Gives the weights memory of their own: on JAX they share the average's, which the next prediction frees."""
        for variable in self.model.trainable_variables:
            variable.assign(keras.ops.copy(variable))
