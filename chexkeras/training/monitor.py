"""What decides which epoch was best: exact AUROC on the whole validation part, and when to stop waiting for better."""

import math
from dataclasses import dataclass, field

import numpy as np

from chexkeras.evaluation import metrics


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


@dataclass
class EarlyStopping:
    """Remembers the best epoch of a stage and says when its patience is used up; larger is better.

    Attributes:
        patience: Epochs without a better value after which to stop; None never stops.
        best: Best value so far.
        best_epoch: Its epoch, counted from 1; 0 before the first.
    """

    patience: int | None
    best: float = -math.inf
    best_epoch: int = 0
    _epoch: int = field(default=0, repr=False)

    def update(self, value: float) -> bool:
        """Takes the next epoch's value and returns whether it is the best so far."""
        self._epoch += 1
        if value > self.best:
            self.best, self.best_epoch = value, self._epoch
            return True
        return False

    @property
    def exhausted(self) -> bool:
        """Whether the stage should end."""
        return self.patience is not None and self._epoch - self.best_epoch >= self.patience
