"""Classification heads: from a backbone's feature map to float32 probabilities.

To add one, add an entry to `HEADS`. Keras is imported only when a head is built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chexkeras.models.registry import GIVEN, Registry

CLASSES = ("absent", "present", "uncertain")
"""What the head "three_way" tells apart for each finding, in the order of its logits."""


@dataclass(frozen=True)
class Head:
    """What follows the global average pooling with which every head begins.

    Attributes:
        name: How recipes name it.
        doc: Its layers and where they are from, one sentence.
        layers: Takes the pooled features, a Keras tensor (batch, channels), and returns what the last layer reads.
        three_way: Whether it ends with Dense 3 n and `models.three_way.ThreeWay` instead of Dense n with a sigmoid.
    """

    name: str
    doc: str
    layers: Callable[[Any], Any] = lambda pooled: pooled
    three_way: bool = False


def _dense(pooled: Any, units: int) -> Any:
    import keras

    return keras.layers.Dense(units, activation="relu", name=f"head_dense_{units}")(pooled)


def _dropout(pooled: Any, rate: float, name: str = "head_dropout") -> Any:
    import keras

    return keras.layers.Dropout(rate, name=name)(pooled)


def _three_layer(pooled: Any) -> Any:
    hidden = _dropout(_dense(pooled, 1024), 0.5, "head_dropout_1")
    return _dropout(_dense(hidden, 512), 0.3, "head_dropout_2")


def _dense_bn(pooled: Any) -> Any:
    import keras

    # Keras' usual 0.99 would score a stage of few steps with the statistics that it started from.
    return keras.layers.BatchNormalization(momentum=0.9, name="head_batchnorm", dtype="float32")(_dense(pooled, 512))


def _not_given(_: Any) -> Any:
    raise ValueError(
        f"the recipe names the head {GIVEN!r}, a Keras object, and none was given: train(recipe, ..., head=layer)."
    )


HEADS: Registry[Head] = Registry(
    "head",
    (
        Head(
            "three_layer",
            "Dense 1024 - Dropout 0.5 - Dense 512 - Dropout 0.3, the head of the two-stage pneumonia recipe.",
            _three_layer,
        ),
        Head("linear", "Nothing between pooling and output, as in CheXNet (Rajpurkar et al., 2017)."),
        Head("dropout", "Dropout 0.5.", lambda pooled: _dropout(pooled, 0.5)),
        Head("dense_512", "Dense 512 - Dropout 0.3.", lambda pooled: _dropout(_dense(pooled, 512), 0.3)),
        Head("dense_1024", "Dense 1024.", lambda pooled: _dense(pooled, 1024)),
        Head(
            "dense_bn",
            "Dense 512 - BatchNorm; that BatchNorm always trains, as it starts without statistics.",
            _dense_bn,
        ),
        Head(
            "three_way",
            "Nothing between pooling and Dense 3 n: absent, present or uncertain for each finding; in training it "
            "hands on these logits (Irvin et al., AAAI 2019, U-MultiClass).",
            three_way=True,
        ),
    ),
    given=Head(GIVEN, "A Keras layer or model that was given to training.", _not_given),
)


def attach(features: Any, n_targets: int, head: str = "three_layer") -> Any:
    """Adds a head to a feature map: global average pooling, the layers of the entry in `HEADS`, and the output.

    Args:
        features: Keras tensor (batch, rows, columns, channels).
        n_targets: How many probabilities.
        head: A name in `HEADS`, whose entry tells the layers.

    Returns:
        Keras tensor (batch, n_targets), float32 whatever the precision policy, each in [0, 1].

    Raises:
        ValueError: If the head is unknown.
    """
    import keras

    entry = HEADS.find(head, "head")
    hidden = entry.layers(keras.layers.GlobalAveragePooling2D(name="head_pool")(features))
    if entry.three_way:
        from chexkeras.models.three_way import ThreeWay

        logits = keras.layers.Dense(len(CLASSES) * n_targets, dtype="float32", name="head_logits")(hidden)
        return ThreeWay(name="head_probability")(logits)
    return keras.layers.Dense(n_targets, activation="sigmoid", dtype="float32", name="head_probability")(hidden)
