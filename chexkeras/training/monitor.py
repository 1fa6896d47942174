"""What decides which epoch was best: exact AUROC on the whole validation part, and when to stop waiting for better."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from chexkeras.evaluation import metrics

MONITORS = {"val_auroc": "max", "val_loss": "min"}
"""What may decide which epoch was best, and which direction of it is better."""


def mean_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the exact AUROC averaged over the targets that have both classes.

    Args:
        labels: float array (n_images, n_targets) of 1, 0 or NaN.
        scores: float array of the same shape, [0, 1].

    Returns:
        The mean, in [0, 1]; NaN when no target has both classes.
    """
    values = []
    for column in range(labels.shape[1]):
        known = ~np.isnan(labels[:, column])
        if len(np.unique(labels[known, column])) == 2:
            values.append(metrics.auc(labels[known, column], scores[known, column]))
    return float(np.mean(values)) if values else math.nan


def one_class_targets(labels: np.ndarray, targets: Sequence[str]) -> tuple[str, ...]:
    """Returns the targets that `mean_auc` leaves out because the known labels are of one class, or none are known.

    Args:
        labels: float array (n_images, n_targets) of 1, 0 or NaN.
        targets: Their names.
    """
    classes = [len(np.unique(column[~np.isnan(column)])) for column in labels.T]
    return tuple(name for name, count in zip(targets, classes, strict=True) if count < 2)


def better(value: float, best: float | None, mode: str) -> bool:
    """Returns whether a value beats the best so far; one that is not a number never does, anything else beats None."""
    if math.isnan(value):
        return False
    return best is None or (value > best if mode == "max" else value < best)


@dataclass
class EarlyStopping:
    """Remembers the best epoch of a stage and says when its patience is used up.

    Attributes:
        patience: Epochs without a better value after which to stop; None never stops.
        mode: "max" where larger is better, "min" where smaller is.
        best: Best value so far; None before the first.
        best_epoch: Its epoch, counted from 1; 0 before the first.
    """

    patience: int | None
    mode: str = "max"
    best: float | None = None
    best_epoch: int = 0
    _epoch: int = field(default=0, repr=False)

    def update(self, value: float) -> bool:
        """Takes the next epoch's value and returns whether it is the best so far."""
        self._epoch += 1
        if better(value, self.best, self.mode):
            self.best, self.best_epoch = value, self._epoch
            return True
        return False

    @property
    def exhausted(self) -> bool:
        """Whether the stage should end."""
        return self.patience is not None and self._epoch - self.best_epoch >= self.patience
