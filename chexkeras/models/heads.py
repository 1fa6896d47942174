"""Classification heads: from a backbone's feature map to float32 probabilities."""

from typing import Any

import keras

from chexkeras.checks import one_of
from chexkeras.models.options import HEADS
from chexkeras.models.three_way import CLASSES, ThreeWay


def attach(features: Any, n_targets: int, head: str = "three_layer") -> Any:
    """Adds a head to a feature map.

    All begin with global average pooling and end with Dense n. Between the two, "three_layer" has Dense 1024 -
    Dropout 0.5 - Dense 512 - Dropout 0.3, the head of the two-stage pneumonia recipe; "linear" has nothing, as in
    CheXNet (Rajpurkar et al., 2017); "dropout" has Dropout 0.5; "dense_512" has Dense 512 - Dropout 0.3, and
    "dense_1024" Dense 1024; "dense_bn" has Dense 512 - BatchNorm, and that BatchNorm always trains, as it starts
    without statistics. "three_way" has nothing and ends with Dense 3 n: absent, present or uncertain for each finding;
    in training it hands on these three logits (`models.three_way`).

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
