"""Training with uncertain as a third class: how the labels say it, and the loss that reads it."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from chexkeras.data.datasets.labels import uncertain_mask
from chexkeras.data.image_table import resolve_targets
from chexkeras.models.losses import checked_weights
from chexkeras.models.three_way import CLASSES

UNCERTAIN = -1.0
"""What a training label says where the report was uncertain, as in CheXpert's own label files."""

_EPSILON = 1e-7


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
        """Returns the loss of each film, shape (batch,).

        Args:
            y_true: (batch, n): 1, 0, `UNCERTAIN` or NaN.
            y_pred: (batch, 3 n) logits or (batch, n) probabilities, as `models.three_way.ThreeWay` gives them.
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
