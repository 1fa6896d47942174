"""Losses for imbalanced, partly unlabelled targets: computed in float32, NaN labels masked, saved with the model."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

_EPSILON = 1e-7


def _masked(labels: Any, probabilities: Any) -> tuple[Any, Any, Any]:
    """Returns float32 labels with NaN replaced by 0, clipped float32 probabilities, and the mask of known labels."""
    labels = ops.cast(labels, "float32")
    probabilities = ops.clip(ops.cast(probabilities, "float32"), _EPSILON, 1.0 - _EPSILON)
    unknown = ops.isnan(labels)
    return ops.where(unknown, 0.0, labels), probabilities, ops.cast(ops.logical_not(unknown), "float32")


@keras.saving.register_keras_serializable("chexkeras")
class WeightedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy with a weight for positives and one for negatives of every target.

    ``-(w+ y log p + w- (1 - y) log(1 - p))``, averaged over targets; an unknown label adds nothing.

    Args:
        positive_weights: Weight of a positive, one per target.
        negative_weights: Weight of a negative, one per target.
        label_smoothing: In [0, 1): moves labels towards one half, so that 0.1 makes them 0.05 and 0.95.
        name: The loss's name.

    Raises:
        ValueError: If the weights are not positive, differ in number, or the smoothing is out of range.
    """

    def __init__(
        self,
        positive_weights: Sequence[float] = (1.0,),
        negative_weights: Sequence[float] = (1.0,),
        label_smoothing: float = 0.0,
        name: str = "weighted_binary_crossentropy",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        if len(positive_weights) != len(negative_weights) or min(*positive_weights, *negative_weights) <= 0.0:
            raise ValueError(
                f"positive_weights={list(positive_weights)} and negative_weights={list(negative_weights)} must be "
                "positive and equally many: one of each per target."
            )
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing={label_smoothing!r} must be at least 0 and below 1; try 0.1.")
        self.positive_weights = [float(weight) for weight in positive_weights]
        self.negative_weights = [float(weight) for weight in negative_weights]
        self.label_smoothing = float(label_smoothing)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each film, shape (batch,)."""
        labels, probabilities, known = _masked(y_true, y_pred)
        labels = labels * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        positive = ops.convert_to_tensor(self.positive_weights, "float32") * labels * ops.log(probabilities)
        negative = ops.convert_to_tensor(self.negative_weights, "float32") * (1.0 - labels) * ops.log1p(-probabilities)
        return -ops.mean(known * (positive + negative), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the loss."""
        return {
            **super().get_config(),
            "positive_weights": self.positive_weights,
            "negative_weights": self.negative_weights,
            "label_smoothing": self.label_smoothing,
        }


@keras.saving.register_keras_serializable("chexkeras")
class FocalLoss(keras.losses.Loss):
    """Focal loss: cross-entropy in which easy films count less.

    ``-(alpha y (1 - p)^gamma log p + (1 - alpha) (1 - y) p^gamma log(1 - p))``, averaged over targets; an unknown label
    adds nothing.

    Args:
        gamma: At least 0; 0 gives cross-entropy weighted by alpha alone.
        alpha: Weight of positives in (0, 1); negatives get the rest. One value, or one per target.
        name: The loss's name.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """

    def __init__(
        self, gamma: float = 2.0, alpha: float | Sequence[float] = 0.25, name: str = "focal_loss", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        alphas = [float(alpha)] if isinstance(alpha, (int, float)) else [float(value) for value in alpha]
        if gamma < 0.0:
            raise ValueError(f"gamma={gamma!r} must be at least 0; the paper uses 2.")
        if not all(0.0 < value < 1.0 for value in alphas):
            raise ValueError(f"alpha={alpha!r} must lie strictly between 0 and 1; the paper uses 0.25.")
        self.gamma = float(gamma)
        self.alpha = alphas

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each film, shape (batch,)."""
        labels, probabilities, known = _masked(y_true, y_pred)
        alpha = ops.convert_to_tensor(self.alpha, "float32")
        positive = alpha * labels * ops.power(1.0 - probabilities, self.gamma) * ops.log(probabilities)
        negative = (1.0 - alpha) * (1.0 - labels) * ops.power(probabilities, self.gamma) * ops.log1p(-probabilities)
        return -ops.mean(known * (positive + negative), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the loss."""
        return {**super().get_config(), "gamma": self.gamma, "alpha": self.alpha}
