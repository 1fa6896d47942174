"""Keras callbacks: a bar while an epoch runs, and a stop at the first loss that is not a number."""

import math
from typing import Any

import keras

from chexkeras import progress


class FiniteLoss(keras.callbacks.Callback):
    """Stops training at the first step whose loss is NaN or infinite, and says which step.

    Args:
        where: The stage and epoch, for the message.
    """

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the running mean of the loss, which one bad step spoils for good."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss became {loss} in {self.where}, step {batch + 1}; lower the learning rate, or use "
                "precision='float32' if this ran in half precision."
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
