"""Classification heads: from a backbone's feature map to float32 probabilities.

Three answers for each finding, absent, present or uncertain, and one probability out of them.

Source:
    Irvin et al., AAAI 2019, U-MultiClass: a softmax over the three; the probability of a finding is that of present
    among absent and present.
"""

from typing import Any

import keras
from keras import ops

from chexkeras.checks import one_of
from chexkeras.models.options import HEADS

CLASSES = ("absent", "present", "uncertain")


@keras.saving.register_keras_serializable("chexkeras")
class ThreeWay(keras.layers.Layer):
    """Turns three logits for each finding into what is wanted of them.

    In training it hands on all three, which the loss needs; otherwise it gives one probability for each finding, so
    that the model scores images as every other does. Computed in float32.

    Args:
        **kwargs: As for any layer.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, logits: Any, training: bool | None = None) -> Any:
        """Returns logits or probabilities.

        Args:
            logits: float32 tensor (batch, 3 n), the three classes of a finding side by side, as in `CLASSES`.
            training: Whether all three are wanted.

        Returns:
            (batch, n): the probability of present among absent and present; in training the logits.
        """
        if training:
            return logits
        of_each = ops.reshape(logits, (-1, logits.shape[-1] // len(CLASSES), len(CLASSES)))
        # e^present / (e^absent + e^present), without the exponentials that could overflow.
        return ops.sigmoid(of_each[..., 1] - of_each[..., 0])


def attach(features: Any, n_targets: int, head: str = "three_layer") -> Any:
    """Adds a head to a feature map.

    All begin with global average pooling and end with Dense n. Between the two, "three_layer" has Dense 1024 -
    Dropout 0.5 - Dense 512 - Dropout 0.3, the head of the two-stage pneumonia recipe; "linear" has nothing, as in
    CheXNet (Rajpurkar et al., 2017); "dropout" has Dropout 0.5; "dense_512" has Dense 512 - Dropout 0.3, and
    "dense_1024" Dense 1024; "dense_bn" has Dense 512 - BatchNorm, and that BatchNorm always trains, as it starts
    without statistics. "three_way" has nothing and ends with Dense 3 n: absent, present or uncertain for each finding;
    in training it hands on these three logits (`models.heads`).

    Args:
        features: Keras tensor (batch, rows, columns, channels).
        n_targets: How many probabilities.
        head: One of `models.options.HEADS`.

    Returns:
        Keras tensor (batch, n_targets), float32 whatever the precision policy, each in [0, 1].

    Raises:
        ValueError: If the head is unknown.
    """
    one_of(head, HEADS, "head")
    pooled = keras.layers.GlobalAveragePooling2D(name="head_pool")(features)
    if head == "three_layer":
        pooled = keras.layers.Dense(1024, activation="relu", name="head_dense_1024")(pooled)
        pooled = keras.layers.Dropout(0.5, name="head_dropout_1")(pooled)
        pooled = keras.layers.Dense(512, activation="relu", name="head_dense_512")(pooled)
        pooled = keras.layers.Dropout(0.3, name="head_dropout_2")(pooled)
    elif head == "dropout":
        pooled = keras.layers.Dropout(0.5, name="head_dropout")(pooled)
    elif head == "dense_512":
        pooled = keras.layers.Dense(512, activation="relu", name="head_dense_512")(pooled)
        pooled = keras.layers.Dropout(0.3, name="head_dropout")(pooled)
    elif head == "dense_1024":
        pooled = keras.layers.Dense(1024, activation="relu", name="head_dense_1024")(pooled)
    elif head == "dense_bn":
        pooled = keras.layers.Dense(512, activation="relu", name="head_dense_512")(pooled)
        # Keras' usual 0.99 would score a stage of few steps with the statistics that it started from.
        normalisation = keras.layers.BatchNormalization(momentum=0.9, name="head_batchnorm", dtype="float32")
        pooled = normalisation(pooled)
    elif head == "three_way":
        logits = keras.layers.Dense(len(CLASSES) * n_targets, dtype="float32", name="head_logits")(pooled)
        return ThreeWay(name="head_probability")(logits)
    return keras.layers.Dense(n_targets, activation="sigmoid", dtype="float32", name="head_probability")(pooled)
