"""What training changes of a classifier: the variables it can have touched so far, and their values at a moment."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from chexkeras.models.partition import changes_in_training


class Changes:
    """The variables of a classifier that the stages so far could change; all others are as they were at the start.

    A variable is known by its position among ``model.variables``: names count up with every model that Keras builds.

    Args:
        model: A classifier of `build_classifier`, as it is before training.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._variables = model.variables
        self._position = {id(variable): position for position, variable in enumerate(self._variables)}
        self._weights = {self._position[id(weight)] for weight in model.weights}
        self._start: dict[int, np.ndarray] = {}

    def extend(self) -> None:
        """Takes in what the stage that was just applied can change."""
        for layer in self._model.layers:
            if changes_in_training(layer):
                for variable in layer.variables:
                    self._start.setdefault(self._position[id(variable)], value(variable))

    def values(self) -> dict[int, np.ndarray]:
        """Returns the present values of everything that may have changed."""
        return {position: value(self._variables[position]) for position in sorted(self._start)}

    def weights(self) -> dict[int, np.ndarray]:
        """Returns the present values of the weights that may have changed, without any random state."""
        return {position: found for position, found in self.values().items() if position in self._weights}

    def assign(self, values: dict[int, np.ndarray]) -> None:
        """Gives variables the values of `values`, and no others.

        Args:
            values: From `values`, of this model or of one built alike.
        """
        for position, found in values.items():
            self._variables[position].assign(found)

    def assign_weights(self, weights: dict[int, np.ndarray]) -> None:
        """Brings the classifier back to the weights it had at some moment; random state goes on from where it is.

        Args:
            weights: From `weights`. What only a later stage could change gets the value it had at the start.
        """
        for position in sorted(self._start.keys() & self._weights):
            self._variables[position].assign(weights.get(position, self._start[position]))


def value(variable: Any) -> np.ndarray:
    """Returns a copy of a variable's value that later steps do not touch."""
    return np.array(keras.ops.convert_to_numpy(variable))


def assign_all(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Gives every variable of a list its value.

    Args:
        variables: For example an optimizer's.
        values: As many.

    Raises:
        ValueError: If they differ in number or shape: the values are of something built differently.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [found.shape for found in values]:
        raise ValueError(
            f"{len(values)} saved values do not fit the {len(shapes)} variables there are; they are of a model or an "
            "optimizer that was built differently. Discard them and train anew (overwrite=True, on the "
            "command line --overwrite)."
        )
    for variable, found in zip(variables, values, strict=True):
        variable.assign(found)
