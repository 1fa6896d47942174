"""The weights of the best epochs so far, as many as the recipe keeps."""

from collections.abc import Mapping

import numpy as np

from chexkeras.training.changes import Changes
from chexkeras.training.monitor import better


class BestEpochs:
    """Ranks the epochs of a run by its monitor, over all stages, and holds the weights of the first few.

    Args:
        changes: What training changes.
        keep: How many to hold.
        mode: "max" where a larger value is better, "min" where a smaller one is.
    """

    def __init__(self, changes: Changes, keep: int, mode: str) -> None:
        self._changes, self._keep, self._mode = changes, keep, mode
        self._values: dict[int, float] = {}
        self.weights: dict[int, dict[int, np.ndarray]] = {}

    @property
    def numbers(self) -> list[int]:
        """The epochs' numbers within the run, the best first; of equal ones the earlier."""
        ranked: list[int] = []
        for number, value in sorted(self._values.items()):
            worse = (place for place, other in enumerate(ranked) if better(value, self._values[other], self._mode))
            ranked.insert(next(worse, len(ranked)), number)
        return ranked

    def offer(self, number: int, value: float) -> bool:
        """Takes the weights that the model now has, if they are among the best.

        Args:
            number: The epoch's number within the run, from 1.
            value: Its value of the monitor; NaN is never among the best.

        Returns:
            Whether the epoch is the best so far.
        """
        if not better(value, None, self._mode):
            return False
        self._values[number] = value
        for gone in self.numbers[self._keep :]:
            del self._values[gone]
            self.weights.pop(gone, None)
        if number in self._values:
            self.weights[number] = self._changes.weights()
        return self.numbers[0] == number

    def take_up(self, weights: Mapping[int, dict[int, np.ndarray]], values: Mapping[int, float]) -> None:
        """Goes on from what a checkpoint held.

        Args:
            weights: Weights by epoch.
            values: The monitor's values of the same epochs.
        """
        self.weights, self._values = dict(weights), {number: values[number] for number in weights}

    def assign(self, number: int | None = None) -> None:
        """Brings the classifier back to the weights of an epoch.

        Args:
            number: The epoch; None takes the best, and changes nothing where there is none.
        """
        if number is not None or self.weights:
            self._changes.assign_weights(self.weights[self.numbers[0] if number is None else number])
