"""From a stage's settings to an optimizer, its learning rate from epoch to epoch, and the average of the weights."""

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras

from chexkeras.models.optimizers import OPTIMIZERS, SCHEDULES
from chexkeras.recipes.recipe import Stage
from chexkeras.training.callbacks import EarlyStopping

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
    entry, schedule, settings = OPTIMIZERS[stage.optimizer], SCHEDULES[stage.schedule], stage.to_dict()
    rate = stage.learning_rate if schedule.steps is None else schedule.steps(settings, steps)
    options: dict[str, Any] = {"learning_rate": rate, **entry.options(settings)}
    # Left out where they are not asked for, so that a plain stage gets the optimizer it always got.
    if stage.clip_norm is not None:
        options["global_clipnorm"] = stage.clip_norm
    if stage.accumulate > 1:
        options["gradient_accumulation_steps"] = stage.accumulate
    if stage.ema is not None:
        options.update(use_ema=True, ema_momentum=stage.ema)
    kind = getattr(keras.optimizers, entry.keras_name)
    if stage.layer_decay is not None:
        kind = _layer_wise(kind)
    return (_averaged(kind) if stage.ema is not None and stage.accumulate > 1 else kind)(**options)


class _LayerWise:
    """Gives each weight its own share of the learning rate, and decays it by that share.

    Keras' own weight decay knows one learning rate alone, so it is done here, before the weight is changed: decoupled
    from the gradient, as there.
    """

    def __init__(self, **options: Any) -> None:
        decay = float(options.pop("weight_decay", None) or 0.0)
        # Keras' AdamW wants a number.
        super().__init__(**{**options, "weight_decay": 0.0})
        self.decay = decay
        self.factors: dict[int, float] = {}
        self._known: list[Any] = []

    def set_factors(self, model: keras.Model, factors: dict[str, float]) -> None:
        """Says which share of the learning rate each weight has; weights of other layers have all of it.

        Args:
            model: The classifier.
            factors: The share by the layer's name.
        """
        for layer in model.layers:
            for variable in layer.trainable_variables:
                # TensorFlow hands on what lies behind Keras' variable.
                for each in (variable, variable.value):
                    self.factors[id(each)] = factors.get(layer.name, 1.0)
                    self._known.append(each)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Changes one weight.

        Args:
            gradient: Its gradient.
            variable: The weight.
            learning_rate: That of the step.
        """
        rate = learning_rate * self.factors[id(variable)]
        if self.decay:
            variable.assign(variable - variable * keras.ops.cast(rate * self.decay, variable.dtype))
        super().update_step(gradient, variable, rate)  # type: ignore[misc]


@functools.cache
def _layer_wise(kind: type[Any]) -> type[Any]:
    """Returns an optimizer of Keras with a learning rate for each layer."""
    made = type(f"LayerWise{kind.__name__}", (_LayerWise, kind), {"__module__": __name__})
    made.__doc__ = f"Keras' {kind.__name__}, with a learning rate for each layer."
    return made


class _AveragedOnceAChange:
    """Moves the average of the weights when they change; Keras also moves it while gradients are being gathered.

    Keras' rule is ``average = momentum * average + (1 - momentum) * weights`` after every batch: where the weights
    have not changed, a momentum of 1 leaves the average exactly as it is.
    """

    if TYPE_CHECKING:
        # What it has of the optimizer of Keras that it is mixed into.
        _iterations: Any
        ema_momentum: Any
        gradient_accumulation_steps: int

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Takes one batch's gradients, which change the weights if they are the last of a change.

        Args:
            grads: One gradient for each variable; None for a variable the loss does not depend on.
            trainable_variables: The variables; None for those the optimizer was built with.
        """
        momentum = self.ema_momentum
        # Keras' public `iterations` counts whole changes only, so the batches have to be read from behind it.
        changes = keras.ops.equal((self._iterations + 1) % self.gradient_accumulation_steps, 0)
        self.ema_momentum = keras.ops.where(changes, momentum, 1.0)
        try:
            super().apply(grads, trainable_variables)  # type: ignore[misc]
        finally:
            self.ema_momentum = momentum


@functools.cache
def _averaged(kind: type[Any]) -> type[Any]:
    """Returns an optimizer of Keras whose average of the weights moves once a change, registered for saving."""
    made = type(f"Averaged{kind.__name__}", (_AveragedOnceAChange, kind), {"__module__": __name__})
    made.__doc__ = f"Keras' {kind.__name__}, its average of the weights moved once a change."
    return keras.saving.register_keras_serializable("chexkeras")(made)


for _entry in OPTIMIZERS.values():
    # Made at once, so that a saved optimizer is known as soon as this module is.
    _averaged(getattr(keras.optimizers, _entry.keras_name))


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

        Args:
            monitored: The epoch's value of the recipe's monitor.
        """
        schedule, used = SCHEDULES[self.stage.schedule], self.value
        if schedule.steps is not None:
            return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        if not schedule.on_plateau:
            return used
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

    Attributes:
        raw: The weights behind the average, in the order of the model's trainable ones: part of a checkpoint. Empty
            before the first epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.raw: list[Any] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the weights back that the last epoch ended with."""
        if self.raw:
            for variable, value in zip(self.model.trainable_variables, self.raw, strict=True):
                variable.assign(value)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers the weights before Keras puts the average in their place."""
        self.raw = [keras.ops.convert_to_numpy(variable) for variable in self.model.trainable_variables]

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Gives the weights memory of their own: on JAX they share the average's, which the next prediction frees."""
        for variable in self.model.trainable_variables:
            variable.assign(keras.ops.copy(variable))
