"""Keras callbacks: a bar while an epoch runs, a stop at the first loss that is not a number, epochs for TensorBoard.

What decides which epoch was best: exact AUROC on the whole validation part, and when to stop waiting for better.
"""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from chexkeras import progress
from chexkeras.evaluation import metrics
from chexkeras.training.resume.checkpoints import better


class FiniteLoss(keras.callbacks.Callback):
    """Stops training at the first step whose loss is NaN or infinite, and says which step.

    Args:
        where: The stage and epoch, for the message.
        pieces: In how many pieces a step's batch is computed.
    """

    def __init__(self, where: str, pieces: int = 1) -> None:
        super().__init__()
        self.where = where
        self.pieces = pieces

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the running mean of the loss, which one bad step spoils for good."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss became {loss} in {self.where}, step {batch // self.pieces + 1}; lower the learning rate, or "
                "use precision='float32' (on the command line --set precision=float32) if this ran in half precision."
            )


class EpochProgress(keras.callbacks.Callback):
    """Shows a bar with the running loss while an epoch runs; silent where nobody watches.

    Args:
        description: What is running, a few words.
        steps: Steps of the epoch.
    """

    def __init__(self, description: str, steps: int) -> None:
        super().__init__()
        self.description = description
        self.steps = steps
        self.bar: Any = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Opens the bar."""
        self.bar = progress.bar()
        self.task = self.bar.add_task(self.description, total=self.steps)
        self.bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar."""
        self.bar.update(self.task, completed=batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Takes the bar away."""
        self.close()

    def close(self) -> None:
        """Takes the bar away, also after an epoch that broke off: a bar that is left hides the terminal's cursor."""
        if self.bar is not None:
            self.bar.stop()


class EpochLog:
    """Writes each epoch's numbers where TensorBoard finds them; a resumed training adds to them.

    Args:
        folder: TensorBoard's log folder.

    Raises:
        ValueError: If TensorBoard is not installed.
        OSError: If the folder cannot be made.
    """

    def __init__(self, folder: str | Path) -> None:
        self.check(folder)
        self._board = keras.callbacks.TensorBoard(str(folder), write_graph=False, profile_batch=0)
        # The callback would put its model's learning rate, which may have moved on, in place of the epoch's.
        self._board.set_model(SimpleNamespace(optimizer=None))
        self._board.on_train_begin()

    @staticmethod
    def check(folder: str | Path) -> None:
        """Checks that TensorBoard is there, which TensorFlow does not always bring along, and makes the folder.

        Args:
            folder: TensorBoard's log folder.

        Raises:
            ValueError: If TensorBoard is not installed.
            OSError: If the folder cannot be made.
        """
        if importlib.util.find_spec("tensorboard") is None:
            raise ValueError(
                "tensorboard=... (on the command line --tensorboard) needs the package tensorboard, which is not "
                "installed: pip install tensorboard, or leave it out (history.csv has the same numbers)."
            )
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"the folder for TensorBoard's logs, tensorboard={str(folder)!r} (--tensorboard), cannot be made "
                f"({error}); name another."
            ) from error

    def __call__(self, row: dict[str, Any]) -> None:
        """Writes one epoch.

        Args:
            row: A row of the history.
        """
        numbers = {name: row[name] for name in ("loss", "val_loss", "val_auroc", "learning_rate", "seconds")}
        self._board.on_epoch_end(row["global_epoch"], numbers)

    def close(self) -> None:
        """Writes what is still in memory."""
        self._board.on_train_end()


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
