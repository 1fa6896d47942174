"""What is left of a classifier after its frozen prefix, computed without the gradients that nobody needs.

In a dense network every block reads the prefix's constant output again, next to what the trained blocks added to it.
Kept apart, the constant channels need no gradient; concatenated with the others they would get one, only to be thrown
away. The two ways give the same output and the same weight gradients but for rounding.
"""

import inspect
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import ops


class Channels(NamedTuple):
    """A tensor in two groups of channels: those that no trained weight has touched, then the others."""

    constant: Any
    changing: Any

    def whole(self) -> Any:
        """Returns the tensor itself."""
        present = [part for part in self if part is not None]
        return present[0] if len(present) == 1 else ops.concatenate(present, axis=-1)


class Step(NamedTuple):
    """A layer, or an operation such as a sum, and the names of those whose outputs it reads."""

    layer: keras.Operation
    reads: tuple[str, ...]
    constant: bool


class TrainedPart(keras.Model):
    """From a crossing tensor to the probabilities, sharing a classifier's layers and weights.

    Args:
        crossing: Name of the layer whose output is the input here.
        steps: The layers after it in graph order; the last gives the output.
    """

    def __init__(self, crossing: str, steps: list[Step]) -> None:
        super().__init__(name="trained_part")
        self.crossing = crossing
        self.plan = [(step.reads, step.constant, _takes_training(step.layer)) for step in steps]
        self.shared_layers = [step.layer for step in steps]

    def call(self, features: Any, training: bool | None = None) -> Any:
        """Returns the probabilities.

        Args:
            features: Tensor (batch, ...), the crossing layer's output.
            training: Whether dropout is active. It is handed on in so many words: on JAX Keras calls this method
                itself, and the layers would not learn of it.
        """
        values = {self.crossing: Channels(features, None)}
        for layer, (reads, constant, takes_training) in zip(self.shared_layers, self.plan, strict=True):
            given = [values[name] for name in reads]
            call = partial(layer, training=training) if takes_training else layer
            values[layer.name] = _run(layer, call, given, constant)
        return values[self.shared_layers[-1].name].whole()


def _takes_training(layer: keras.Operation) -> bool:
    return isinstance(layer, keras.layers.Layer) and "training" in inspect.signature(layer.call).parameters


def _run(layer: keras.Operation, call: Any, given: list[Channels], constant: bool) -> Channels:
    first = given[0]
    if not isinstance(layer, keras.layers.Layer):
        return Channels(None, call(*(value.whole() for value in given)))
    if _joins_channels(layer) and first.constant is not None:
        others = [first.changing] if first.changing is not None else []
        others += [value.whole() for value in given[1:]]
        if all(value.changing is None for value in given):
            return Channels(call([value.constant for value in given]), None)
        return Channels(first.constant, others[0] if len(others) == 1 else ops.concatenate(others, axis=-1))
    if first.constant is not None and first.changing is not None and layer.compute_dtype == "float32":
        if isinstance(layer, (keras.layers.Activation, keras.layers.ReLU)) and _elementwise(layer):
            return Channels(call(first.constant), call(first.changing))
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.trainable and _last_axis(layer, first):
            cut = first.constant.shape[-1]
            return Channels(_normalised(layer, first.constant, 0, cut), _normalised(layer, first.changing, cut, None))
        if _is_pointwise(layer):
            cut, kernel = first.constant.shape[-1], layer.kernel[0, 0]
            product = ops.matmul(first.constant, kernel[:cut]) + ops.matmul(first.changing, kernel[cut:])
            return Channels(None, product)
    inputs = [value.whole() for value in given]
    output = call(inputs[0] if len(inputs) == 1 else inputs)
    if constant and all(value.changing is None for value in given):
        return Channels(output, None)
    return Channels(None, output)


def _joins_channels(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.Concatenate) and layer.axis in (-1, len(layer.output.shape) - 1)


def _elementwise(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.ReLU) or layer.activation is keras.activations.relu


def _last_axis(layer: keras.layers.BatchNormalization, value: Channels) -> bool:
    return layer.axis in (-1, len(value.constant.shape) - 1)


def _is_pointwise(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.kernel_size == (1, 1)
        and layer.strides == (1, 1)
        and layer.groups == 1
        and not layer.use_bias
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
    )


def _normalised(layer: keras.layers.BatchNormalization, values: Any, start: int, stop: int | None) -> Any:
    """Applies some channels of a held BatchNorm as one multiplication and one addition."""
    scale = ops.rsqrt(layer.moving_variance[start:stop] + layer.epsilon)
    if layer.scale:
        scale = scale * layer.gamma[start:stop]
    shift = -layer.moving_mean[start:stop] * scale
    if layer.center:
        shift = shift + layer.beta[start:stop]
    return values * scale + shift
