"""What a loss is declared with, and the Keras class that is made of it."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chexkeras.models.class_weights import CLASS_WEIGHTS
from chexkeras.models.registry import Parameter

# Names that recipes, formulas or `keras.losses.Loss` give a meaning of their own.
_RESERVED = (
    "name", "class_weights", "target_weights", "positive_weights", "negative_weights", "labels", "scores", "reduction",
    "dtype",
)  # fmt: skip
# Keras' own losses take it after what weighs, and so do these.
_LAST = "label_smoothing"


@dataclass(frozen=True, eq=False)
class LossEntry:
    """All that there is to know of a loss.

    Attributes:
        name: How recipes name it.
        keras_name: Name of its Keras class, registered as "chexkeras>" and this name.
        words: What reports call it.
        formula: Takes labels (batch, n_targets; NaN where unknown) and scores, both float32 tensors, and by name the
            weights and the numbers of `parameters`; returns the loss of each image, (batch,).
        doc: What it is, for whom, and its source.
        parameters: Its numbers in a recipe. Losses may share a number's name, each with a default and range of its own.
        class_weights: Whether it weighs positives and negatives of each target, by `models.class_weights`; its formula
            then takes `positive_weights` and `negative_weights`, otherwise `target_weights`, lists of floats.
        three_way: Whether it learns "uncertain" as a third class, which takes a head and labels that have one.
    """

    name: str
    keras_name: str
    words: str
    formula: Callable[..., Any]
    doc: str
    parameters: tuple[Parameter, ...] = ()
    class_weights: bool = False
    three_way: bool = False

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the lists of weights, one of each per target, that the Keras class takes."""
        return ("positive_weights", "negative_weights") if self.class_weights else ("target_weights",)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments of the Keras class, in order: its numbers and weights, then `label_smoothing`."""
        names = [own.name for own in self.parameters]
        return (*(name for name in names if name != _LAST), *self.weights, *(name for name in names if name == _LAST))

    def __post_init__(self) -> None:
        taken = dict.fromkeys(_RESERVED, "every loss")
        for rule in CLASS_WEIGHTS.values():
            taken |= {own.name: f"the class-weight rule {rule.name!r}" for own in rule.parameters}
        for own in self.parameters:
            if own.name in taken:
                raise ValueError(
                    f"the loss {self.name!r} cannot have a number {own.name!r}: that name belongs to "
                    f"{taken[own.name]}; choose another, such as '{self.name}_{own.name}'."
                )
            taken[own.name] = "another number of this loss"
            own.check(own.default, f"the default of {own.name}")


def _each(values: Any, name: str) -> list[float]:
    """Returns one number, or a list with one for each target, as a list of floats."""
    try:
        found = np.atleast_1d(values)
    except ValueError:
        found = np.empty(0)
    if found.dtype.kind not in "iuf" or found.ndim > 1 or not found.size or not np.isfinite(found).all():
        raise ValueError(
            f"{name}={values!r} must be a number, or a list with one for each target; neither NaN nor infinity."
        )
    return [float(value) for value in found]


def _checked_weights(values: Any, name: str) -> list[float]:
    found = _each(values, name)
    if min(found) <= 0.0:
        raise ValueError(f"{name}={values!r} must be above 0, one per target or one for all.")
    return found


def _checked(parameter: Parameter, value: Any) -> float | list[float]:
    plain = value.item() if isinstance(value, np.generic) else value
    found = _each(plain, parameter.name) if parameter.per_target else [plain]
    for each in found if isinstance(found, list) else [found]:
        parameter.check(each, parameter.name)
    return found if parameter.per_target else float(plain)


@functools.cache
def keras_class(entry: LossEntry) -> Any:
    """Returns the Keras class of a loss, made and registered for saving when it is first asked for.

    Its arguments are the numbers of the loss, then its weights (a number or one per target, above 0; 1 by default),
    then `label_smoothing` where it has that, and by name those of `keras.losses.Loss`.

    Args:
        entry: A value of `LOSSES`.
    """
    import keras
    from keras import ops

    numbers = {parameter.name: parameter for parameter in entry.parameters}
    arguments = entry.arguments
    snake_case = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", entry.keras_name).lower()

    class TargetLoss(keras.losses.Loss):
        def __init__(self, *values: Any, name: str = snake_case, **named: Any) -> None:
            if len(values) > len(arguments):
                raise TypeError(f"{entry.keras_name} takes {', '.join(arguments)}, but {len(values)} values came.")
            given = dict(zip(arguments, values, strict=False))
            given |= {argument: named.pop(argument) for argument in arguments if argument in named}
            super().__init__(name=name, **named)
            self.settings: dict[str, Any] = {}
            for argument in arguments:
                if argument in entry.weights:
                    self.settings[argument] = _checked_weights(given.get(argument, 1.0), argument)
                else:
                    parameter = numbers[argument]
                    self.settings[argument] = _checked(parameter, given.get(argument, parameter.default))
            if len({len(self.settings[weights]) for weights in entry.weights}) > 1:
                both = " and ".join(f"{weights}={self.settings[weights]!r}" for weights in entry.weights)
                raise ValueError(f"{both} must be equally many: one of each per target.")
            # Each is an attribute too, as of any loss of Keras.
            for argument, setting in self.settings.items():
                setattr(self, argument, setting)

        def call(self, y_true: Any, y_pred: Any) -> Any:
            """Returns the loss of each image, shape (batch,)."""
            return entry.formula(ops.cast(y_true, "float32"), ops.cast(y_pred, "float32"), **self.settings)

        def get_config(self) -> dict[str, Any]:
            """Returns the arguments that rebuild the loss."""
            return {**super().get_config(), **self.settings}

    TargetLoss.__name__ = TargetLoss.__qualname__ = entry.keras_name
    TargetLoss.__doc__ = entry.doc
    return keras.saving.register_keras_serializable("chexkeras", entry.keras_name)(TargetLoss)
