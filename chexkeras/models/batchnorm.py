"""Moving statistics for the BatchNorm layers of an untrained base.

A network with random weights and BatchNorm's initial statistics (mean 0, variance 1) passes on features whose scale
grows or dies from layer to layer. One pass over the training films gives every BatchNorm the mean and variance it
actually sees.
"""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from chexkeras.models.stages import backbone_layers


class _TrainingMode(keras.layers.Layer):
    """Calls a model with ``training=True``, so that the compiled `predict` updates BatchNorm's moving statistics."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self._model = model

    def call(self, pixels: Any) -> Any:
        # One number a film: what matters is what the pass leaves behind.
        return keras.ops.mean(self._model(pixels, training=True), axis=(1, 2, 3))


def adapt_batchnorm(model: keras.Model, batches: Iterable[Any]) -> int:
    """Replaces the moving statistics of the backbone's BatchNorm layers by averages over one pass.

    Keras updates a moving statistic as ``m * old + (1 - m) * batch``; after K batches the start value still weighs
    ``m ** K``. Taking that share out again leaves the weighted mean of the K batch statistics alone, as Adam's bias
    correction does (Kingma and Ba, 2015, section 3).

    Args:
        model: A classifier of `build_classifier`.
        batches: Pixel batches (batch, height, width, 1), 0-255, of equal size, as each counts the same.

    Returns:
        How many BatchNorm layers were given statistics.

    Raises:
        ValueError: If `batches` is empty.
    """
    layers = backbone_layers(model)
    normalisations = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not normalisations:
        return 0
    before = [
        (convert_to_numpy(layer.moving_mean), convert_to_numpy(layer.moving_variance)) for layer in normalisations
    ]
    base = _TrainingMode(keras.Model(model.input, layers[-1].output))
    compiled = keras.Model(model.input, base(model.input))
    trainable = [layer.trainable for layer in normalisations]
    for layer in normalisations:
        layer.trainable = True
    count = 0
    for pixels in batches:
        # As an array: on JAX and PyTorch Keras takes no batch of TensorFlow's here.
        compiled.predict_on_batch(np.asarray(pixels))
        count += 1
    for layer, flag in zip(normalisations, trainable, strict=True):
        layer.trainable = flag
    if count == 0:
        raise ValueError("no batch of films to take BatchNorm statistics from; give at least one.")
    for layer, (mean, variance) in zip(normalisations, before, strict=True):
        start = layer.momentum**count
        layer.moving_mean.assign((convert_to_numpy(layer.moving_mean) - start * mean) / (1.0 - start))
        layer.moving_variance.assign((convert_to_numpy(layer.moving_variance) - start * variance) / (1.0 - start))
    return len(normalisations)
