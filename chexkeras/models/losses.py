"""Losses for imbalanced, partly unlabelled targets: computed in float32, NaN labels masked, saved with the model.

Training with uncertain as a third class: how the labels say it, and the loss that reads it.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from chexkeras.data.datasets.labels import uncertain_mask
from chexkeras.data.image_table import resolve_targets

# Whoever loads a saved model imports this module to make its names known; the layers of our own are among them.
from chexkeras.models import clahe, heads  # noqa: F401
from chexkeras.models.heads import CLASSES

_EPSILON = 1e-7


def _masked(labels: Any, probabilities: Any) -> tuple[Any, Any, Any]:
    """Returns float32 labels with NaN replaced by 0, clipped float32 probabilities, and the mask of known labels."""
    labels = ops.cast(labels, "float32")
    probabilities = ops.clip(ops.cast(probabilities, "float32"), _EPSILON, 1.0 - _EPSILON)
    unknown = ops.isnan(labels)
    return ops.where(unknown, 0.0, labels), probabilities, ops.cast(ops.logical_not(unknown), "float32")


def checked_weights(weights: float | Sequence[float], name: str = "target_weights") -> list[float]:
    """Returns weights of targets as floats.

    Raises:
        ValueError: If there is none, or one is not a number above 0.
    """
    found = _numbers(weights, name)
    if min(found) <= 0.0:
        raise ValueError(f"{name}={weights!r} must be above 0, one per target or one for all.")
    return found


def _numbers(values: Any, name: str, expected: str = "a number, or a list with one for each target") -> list[float]:
    try:
        found = np.atleast_1d(values)
    except ValueError:
        found = np.empty(0)
    if found.dtype.kind not in "iuf" or found.ndim > 1 or not found.size or not np.isfinite(found).all():
        raise ValueError(f"{name}={values!r} must be {expected}; neither NaN nor infinity.")
    return [float(value) for value in found]


def _number(value: Any, name: str) -> float:
    found = _numbers(value, name, "one number")
    if np.ndim(value):
        raise ValueError(f"{name}={value!r} must be one number, not several.")
    return found[0]


def _smoothing(value: float) -> float:
    number = _number(value, "label_smoothing")
    if not 0.0 <= number < 1.0:
        raise ValueError(f"label_smoothing={value!r} must be at least 0 and below 1; try 0.1.")
    return number


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
        self.positive_weights = checked_weights(positive_weights, "positive_weights")
        self.negative_weights = checked_weights(negative_weights, "negative_weights")
        if len(self.positive_weights) != len(self.negative_weights):
            raise ValueError(
                f"positive_weights={positive_weights!r} and negative_weights={negative_weights!r} must be equally "
                "many: one of each per target."
            )
        self.label_smoothing = _smoothing(label_smoothing)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each image, shape (batch,)."""
        labels, probabilities, known = _masked(y_true, y_pred)
        labels = labels * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        positive = ops.convert_to_tensor(self.positive_weights, "float32") * labels * ops.log(probabilities)
        negative = ops.convert_to_tensor(self.negative_weights, "float32") * (1.0 - labels) * ops.log1p(-probabilities)
        return -ops.mean(known * (positive + negative), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the loss."""
        own = {"positive_weights": self.positive_weights, "negative_weights": self.negative_weights}
        return {**super().get_config(), **own, "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("chexkeras")
class FocalLoss(keras.losses.Loss):
    """Focal loss: cross-entropy in which easy images count less.

    ``-a e^gamma (y log p + (1 - y) log(1 - p))`` with the error ``e = y (1 - p) + (1 - y) p`` and the weight
    ``a = alpha y + (1 - alpha) (1 - y)``, times the target's weight, averaged over targets; an unknown label adds
    nothing. For labels 0 and 1 this is the paper's formula; for labels between (a first model's probability, or
    smoothed ones) it is how Keras (`BinaryFocalCrossentropy`) and torchvision (`sigmoid_focal_loss`) read it.

    Args:
        gamma: At least 0; 0 gives cross-entropy weighted by alpha alone.
        alpha: Weight of positives in (0, 1); negatives get the rest. One value, or one per target.
        target_weights: How much each target counts; one value, or one per target.
        label_smoothing: In [0, 1): moves labels towards one half, so that 0.1 makes them 0.05 and 0.95.
        name: The loss's name.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Sequence[float] = 0.25,
        target_weights: Sequence[float] = (1.0,),
        label_smoothing: float = 0.0,
        name: str = "focal_loss",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.gamma = _number(gamma, "gamma")
        self.alpha = _numbers(alpha, "alpha")
        if self.gamma < 0.0:
            raise ValueError(f"gamma={gamma!r} must be at least 0; the paper uses 2.")
        if not all(0.0 < value < 1.0 for value in self.alpha):
            raise ValueError(f"alpha={alpha!r} must lie strictly between 0 and 1; the paper uses 0.25.")
        self.target_weights = checked_weights(target_weights)
        self.label_smoothing = _smoothing(label_smoothing)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each image, shape (batch,)."""
        labels, probabilities, known = _masked(y_true, y_pred)
        labels = labels * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        alpha = ops.convert_to_tensor(self.alpha, "float32")
        alpha = alpha * labels + (1.0 - alpha) * (1.0 - labels)
        error = labels * (1.0 - probabilities) + (1.0 - labels) * probabilities
        likelihood = labels * ops.log(probabilities) + (1.0 - labels) * ops.log1p(-probabilities)
        weights = ops.convert_to_tensor(self.target_weights, "float32")
        return -ops.mean(weights * known * alpha * ops.power(error, self.gamma) * likelihood, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the loss."""
        own = {"gamma": self.gamma, "alpha": self.alpha, "target_weights": self.target_weights}
        return {**super().get_config(), **own, "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("chexkeras")
class AsymmetricLoss(keras.losses.Loss):
    """Asymmetric loss: negatives are focused on harder than positives, and the easiest do not count at all.

    ``-(y (1 - p)^g+ log p + (1 - y) q^g- log(1 - q))`` with ``q = max(p - clip, 0)``, times the target's weight,
    averaged over targets; an unknown label adds nothing. With both gammas and `clip` 0 it is binary cross-entropy.

    Args:
        gamma_positive: Focusing of positives, at least 0.
        gamma_negative: Focusing of negatives, at least 0.
        clip: Probability up to which a negative costs nothing, in [0, 1).
        target_weights: How much each target counts; one value, or one per target.
        name: The loss's name.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021, equations 4 to 7.
    """

    def __init__(
        self,
        gamma_positive: float = 1.0,
        gamma_negative: float = 4.0,
        clip: float = 0.05,
        target_weights: Sequence[float] = (1.0,),
        name: str = "asymmetric_loss",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.gamma_positive = _number(gamma_positive, "gamma_positive")
        self.gamma_negative = _number(gamma_negative, "gamma_negative")
        self.clip = _number(clip, "clip")
        if min(self.gamma_positive, self.gamma_negative) < 0.0:
            raise ValueError(
                f"gamma_positive={gamma_positive!r} and gamma_negative={gamma_negative!r} must be at least 0; "
                "usual are 1 and 4."
            )
        if not 0.0 <= self.clip < 1.0:
            raise ValueError(f"clip={clip!r} must be at least 0 and below 1; the paper uses 0.05.")
        self.target_weights = checked_weights(target_weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each image, shape (batch,)."""
        labels, probabilities, known = _masked(y_true, y_pred)
        # Not 0 but epsilon: the gradient of a power below 1 is infinite at 0.
        shifted = ops.maximum(probabilities - self.clip, _EPSILON)
        positive = labels * ops.power(1.0 - probabilities, self.gamma_positive) * ops.log(probabilities)
        negative = (1.0 - labels) * ops.power(shifted, self.gamma_negative) * ops.log1p(-shifted)
        weights = ops.convert_to_tensor(self.target_weights, "float32")
        return -ops.mean(weights * known * (positive + negative), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the loss."""
        return {
            **super().get_config(),
            "gamma_positive": self.gamma_positive,
            "gamma_negative": self.gamma_negative,
            "clip": self.clip,
            "target_weights": self.target_weights,
        }


@keras.saving.register_keras_serializable("chexkeras")
class AucMarginLoss(keras.losses.Loss):
    """AUC margin loss: positives and negatives each close together, their means a margin apart.

    The paper minimises over the network and two numbers a and b, and maximises over a third, alpha >= 0, the terms
    ``E[(h - a)^2 | positive] + E[(h - b)^2 | negative] + 2 alpha (m + E[h | negative] - E[h | positive]) - alpha^2``.
    For given scores all three have a closed form: a and b are the means of the scores of positives and of negatives,
    and alpha is ``max(0, m + b - a)``. Put in, what is left to minimise is, for each target,

    ``variance of positives + variance of negatives + max(0, m + b - a)^2``,

    averaged over targets with their weights. No variable beside the network's has to be trained, saved or restored.
    Means and variances are those of the batch, so a batch should hold several images of either class: with a rare
    finding use larger batches or up-sampling. A target that lacks a class in the batch adds nothing, nor does an
    unknown label. The factor p (1 - p) by which the paper's formula weighs a target of prevalence p is left out, so
    that rare targets count as much as frequent ones; `target_weights` weighs them otherwise.

    Args:
        margin: By how much the mean score of positives is to exceed that of negatives, in (0, 1].
        target_weights: How much each target counts; one value, or one per target.
        name: The loss's name.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Yuan et al., "Large-scale Robust Deep AUC Maximization: A New Surrogate Loss and Empirical Studies on Medical
        Image Classification", ICCV 2021.
    """

    def __init__(
        self,
        margin: float = 1.0,
        target_weights: Sequence[float] = (1.0,),
        name: str = "auc_margin_loss",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.margin = _number(margin, "margin")
        if not 0.0 < self.margin <= 1.0:
            raise ValueError(f"margin={margin!r} must be above 0 and at most 1; the paper uses 1.")
        self.target_weights = checked_weights(target_weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of the batch, once for each image, shape (batch,)."""
        labels, probabilities, known = _masked(y_true, y_pred)
        positive, negative = known * labels, known * (1.0 - labels)
        mean_positive, spread_positive, some_positive = _moments(probabilities, positive)
        mean_negative, spread_negative, some_negative = _moments(probabilities, negative)
        alpha = ops.maximum(self.margin + mean_negative - mean_positive, 0.0)
        weights = ops.convert_to_tensor(self.target_weights, "float32") * some_positive * some_negative
        batch = ops.mean(weights * (spread_positive + spread_negative + ops.square(alpha)))
        return batch * ops.ones_like(labels[:, 0])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the loss."""
        return {**super().get_config(), "margin": self.margin, "target_weights": self.target_weights}


def _moments(values: Any, chosen: Any) -> tuple[Any, Any, Any]:
    """Returns, per column, mean and variance of the chosen values, and 1.0 where there are any, else 0.0."""
    count = ops.sum(chosen, axis=0)
    divisor = ops.maximum(count, 1.0)
    mean = ops.sum(chosen * values, axis=0) / divisor
    variance = ops.sum(chosen * ops.square(values - mean), axis=0) / divisor
    return mean, variance, ops.cast(count > 0.0, "float32")


UNCERTAIN = -1.0
"""What a training label says where the report was uncertain, as in CheXpert's own label files."""


def with_third_class(rows: pd.DataFrame, targets: str | Sequence[str]) -> pd.DataFrame:
    """Returns training rows whose uncertain labels say so, instead of being unknown.

    For training alone: what is evaluated keeps them unknown.

    Args:
        rows: Image table loaded with the policy "multiclass" for the targets.
        targets: Findings in output order.

    Returns:
        A copy; `UNCERTAIN` where a label is unknown because the report was uncertain.

    Raises:
        ValueError: If no label of any target is uncertain: a third class that never occurs cannot be learnt.
    """
    names = resolve_targets(rows, targets)
    marked = uncertain_mask(rows, names) & rows[list(names)].isna()
    if not marked.to_numpy().any():
        raise ValueError(
            f"no training label of {', '.join(names)} is uncertain, so that there is no third class to learn; load "
            'CheXpert with uncertain="multiclass", or take another head and loss.'
        )
    labelled = rows.copy()
    for name in names:
        labelled[name] = np.where(marked[name], UNCERTAIN, rows[name].to_numpy(float))
    labelled.attrs = dict(rows.attrs)
    return labelled


@keras.saving.register_keras_serializable("chexkeras")
class ThreeWayCrossentropy(keras.losses.Loss):
    """Cross-entropy over absent, present and uncertain, for the head "three_way".

    In training the head gives three logits for each finding: the loss is minus the logarithm of the softmax at the
    class that the label names, times the target's weight, averaged over targets; an unknown label adds nothing. A
    label strictly between 0 and 1 (a first model's probability) is divided between absent and present.

    Otherwise the head gives one probability for each finding, and the loss is binary cross-entropy on the labels that
    are certain: what a validation loss can be measured on.

    Args:
        target_weights: How much each target counts; one value, or one per target.
        name: The loss's name.

    Raises:
        ValueError: If a weight is not above 0.

    Source:
        Irvin et al., AAAI 2019, U-MultiClass.
    """

    def __init__(
        self, target_weights: Sequence[float] = (1.0,), name: str = "three_way_crossentropy", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        self.target_weights = checked_weights(target_weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each image, shape (batch,).

        Args:
            y_true: (batch, n): 1, 0, `UNCERTAIN` or NaN.
            y_pred: (batch, 3 n) logits or (batch, n) probabilities, as `models.heads.ThreeWay` gives them.
        """
        labels = ops.cast(y_true, "float32")
        given = ops.cast(y_pred, "float32")
        uncertain = labels == UNCERTAIN
        either = ops.logical_not(ops.logical_or(ops.isnan(labels), uncertain))
        present = ops.where(either, labels, 0.0)
        absent = ops.where(either, 1.0 - labels, 0.0)
        findings = labels.shape[-1]
        if given.shape[-1] == findings:
            given = ops.clip(given, _EPSILON, 1.0 - _EPSILON)
            each = present * ops.log(given) + absent * ops.log1p(-given)
        else:
            logarithms = ops.log_softmax(ops.reshape(given, (-1, findings, len(CLASSES))), axis=-1)
            named = ops.stack([absent, present, ops.cast(uncertain, "float32")], axis=-1)
            each = ops.sum(named * logarithms, axis=-1)
        return -ops.mean(ops.convert_to_tensor(self.target_weights, "float32") * each, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the loss."""
        return {**super().get_config(), "target_weights": self.target_weights}
