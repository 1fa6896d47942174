"""A residual network with squeeze-and-excitation, trained from scratch: no ImageNet weights exist for it.

Source: He et al., CVPR 2016 (basic blocks, depths 3-4-6-3); Hu et al., CVPR 2018 (squeeze-and-excitation, ratio 16).
"""

from typing import Any

import keras

_DEPTHS = (3, 4, 6, 3)
_WIDTHS = (64, 128, 256, 512)
_RATIO = 16


def se_resnet34(pixels: Any, weights: str | None) -> Any:
    """Adds the network's layers to a graph.

    Args:
        pixels: Keras tensor (batch, height, width, 3), normalised.
        weights: None, or a weights file written by `keras.Model.save_weights` of the same layers.

    Returns:
        The feature map, a Keras tensor (batch, height / 32, width / 32, 512).
    """
    features = _convolution(pixels, 64, 7, 2, "stem")
    features = keras.layers.Activation("relu", name="stem_relu")(features)
    features = keras.layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(features)
    for stage, (depth, width) in enumerate(zip(_DEPTHS, _WIDTHS, strict=True), start=1):
        for block in range(1, depth + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            features = _block(features, width, stride, f"stage{stage}_block{block}")
    if weights is not None:
        keras.Model(pixels, features).load_weights(weights)
    return features


def _convolution(features: Any, filters: int, size: int, stride: int, name: str) -> Any:
    convolution = keras.layers.Conv2D(
        filters,
        size,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )
    return keras.layers.BatchNormalization(name=f"{name}_bn")(convolution(features))


def _block(features: Any, width: int, stride: int, name: str) -> Any:
    shortcut = features
    if stride != 1 or features.shape[-1] != width:
        shortcut = _convolution(features, width, 1, stride, f"{name}_shortcut")
    features = _convolution(features, width, 3, stride, f"{name}_1")
    features = keras.layers.Activation("relu", name=f"{name}_1_relu")(features)
    features = _convolution(features, width, 3, 1, f"{name}_2")
    excitation = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(features)
    excitation = keras.layers.Dense(width // _RATIO, activation="relu", name=f"{name}_reduce")(excitation)
    excitation = keras.layers.Dense(width, activation="sigmoid", name=f"{name}_expand")(excitation)
    features = keras.layers.Multiply(name=f"{name}_excite")([features, excitation])
    features = keras.layers.Add(name=f"{name}_add")([features, shortcut])
    return keras.layers.Activation("relu", name=f"{name}_relu")(features)
