"""Stages: which layers are frozen, and the one function that switches.

Two facts of Keras 3 make it one function. Changing ``trainable`` after ``compile`` does nothing until the model is
compiled again; and a BatchNorm layer keeps updating its moving statistics once it is unfrozen, whatever ``training``
flag the base was called with. So switching a stage sets ``trainable``, holds every BatchNorm of the backbone unless it
is to be trained, and compiles.

Moving statistics for the BatchNorm layers of an untrained base.

A network with random weights and BatchNorm's initial statistics (mean 0, variance 1) passes on features whose scale
grows or dies from layer to layer. One pass over the training images gives every BatchNorm the mean and variance it
actually sees.
"""

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from chexkeras.arguments import checked
from chexkeras.checks import nearest, one_of
from chexkeras.models.classifier import BATCHNORM


@dataclass(frozen=True)
class StageBoundary:
    """What a stage trains and what it leaves alone.

    Attributes:
        stage: The stage's name.
        first_trainable_layer: The first layer of the graph from which on layers may change.
        backbone_layers: Layers of the backbone, its input included (427 for DenseNet121).
        backbone_layers_trainable: How many of them, counted from the top, are unfrozen.
        batchnorm_layers_held: BatchNorm layers of the backbone whose weights and statistics cannot change.
        layers_trainable: Names of the layers with weights that this stage changes.
        trainable_parameters: Parameters this stage changes.
        frozen_parameters: Parameters it leaves alone, BatchNorm statistics among them.
        total_parameters: Both together.
    """

    stage: str
    first_trainable_layer: str
    backbone_layers: int
    backbone_layers_trainable: int
    batchnorm_layers_held: int
    layers_trainable: tuple[str, ...]
    trainable_parameters: int
    frozen_parameters: int
    total_parameters: int

    def __str__(self) -> str:
        """Returns one line for a person."""
        return (
            f"{self.stage}: trains from {self.first_trainable_layer} "
            f"({self.backbone_layers_trainable} of {self.backbone_layers} backbone layers), "
            f"{self.trainable_parameters:,} parameters trained, {self.frozen_parameters:,} frozen, "
            f"{self.batchnorm_layers_held} BatchNorm layers held"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


def backbone_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the backbone's layers in graph order, the model's input first, preprocessing and head left out.

    The input counts as in `keras.applications`, so that a share of the layers means there and here the same.
    """
    return [layer for layer in model.layers if not layer.name.startswith(("preprocess_", "head_"))]


def trainable_start(layers: list[keras.layers.Layer], trainable: float | str) -> int:
    """Returns the index of the first unfrozen backbone layer; ``len(layers)`` when all are frozen.

    Args:
        layers: The backbone's layers in graph order.
        trainable: Share of the layers to unfreeze, counted from the top and rounded up (0 to 1), "none", "all", or a
            layer's name.

    Raises:
        ValueError: If the share lies outside [0, 1] or no layer has that name.
    """
    if trainable in ("all", "none"):
        return 0 if trainable == "all" else len(layers)
    if isinstance(trainable, str):
        names = [layer.name for layer in layers]
        if trainable not in names:
            raise ValueError(
                f"trainable={trainable!r} is no layer of the backbone; {nearest(trainable, names)} "
                "Give a layer's name, a share from 0 to 1, 'all' or 'none'."
            )
        return names.index(trainable)
    if not 0.0 <= trainable <= 1.0:
        raise ValueError(f"trainable={trainable!r} must be a share from 0 to 1 (20 % is 0.2) or a layer's name.")
    # 1e-9: 0.1 * 30 is 3.0000000000000004, which must not become 4 layers.
    return len(layers) - math.ceil(trainable * len(layers) - 1e-9)


_BLOCK = re.compile(r"block(\d+)_")


def blocks(model: keras.Model) -> list[list[keras.layers.Layer]]:
    """Returns the backbone's layers in blocks, in graph order.

    A transformer's are its own, and what makes tokens of the image before them; a convolutional network's are the
    layers of one resolution.

    Args:
        model: A classifier of `build_classifier`.
    """
    layers = backbone_layers(model)
    shapes = [tuple(keras.tree.flatten(layer.output)[0].shape) for layer in layers]
    # What is pooled within a block, as for squeeze and excitation, is no new resolution: larger ones follow.
    sides = [math.prod(shape[1:3]) if len(shape) == 4 else 0 for shape in shapes]
    resolutions = list(itertools.accumulate(reversed(sides), max))[::-1]
    groups: list[list[keras.layers.Layer]] = []
    before: Any = None
    for layer, shape, resolution in zip(layers, shapes, resolutions, strict=True):
        named = _BLOCK.match(layer.name)
        key: Any = resolution if len(shape) == 4 else named[1] if named else before
        # What has no weights, such as the input and padding, begins the block that follows it.
        if before is None or (key != before and any(each.weights for each in groups[-1])):
            groups.append([])
        groups[-1].append(layer)
        before = key
    if len(groups) > 1 and not any(layer.weights for layer in groups[-1]):
        last = groups.pop()
        groups[-1] += last
    return groups


def rate_factors(model: keras.Model, layer_decay: float) -> dict[str, float]:
    """Returns which share of a stage's learning rate each of the backbone's layers has.

    Args:
        model: A classifier of `build_classifier`.
        layer_decay: The factor from block to block towards the input, in (0, 1].

    Returns:
        By the layer's name; layers that are not among them, the head's, have all of it.
    """
    return {
        layer.name: layer_decay**depth
        for depth, group in enumerate(reversed(blocks(model)), start=1)
        for layer in group
    }


def factors_of_blocks(model: keras.Model, layer_decay: float) -> dict[str, float]:
    """Returns the same for a record: by the first layer of each block, from the input on.

    Args:
        model: A classifier of `build_classifier`.
        layer_decay: The factor from block to block towards the input, in (0, 1].
    """
    factors = rate_factors(model, layer_decay)
    return {group[0].name: factors[group[0].name] for group in blocks(model)}


def _parameters(weights: list[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def freeze(model: keras.Model, trainable: float | str, batchnorm: str = "held") -> int:
    """Sets which layers are trainable, without compiling; takes effect at the next `compile`.

    Args:
        model: A classifier of `build_classifier`.
        trainable: Share of the backbone's layers to unfreeze, from the top, 0 to 1; "none", "all", or the name of the
            first layer to unfreeze.
        batchnorm: "held" keeps every BatchNorm of the backbone as it is; "trained" trains those of unfrozen layers.

    Returns:
        The index of the first unfrozen backbone layer.

    Raises:
        ValueError: If `trainable` names nothing or is out of range, or `batchnorm` is neither.
    """
    layers = backbone_layers(model)
    start = trainable_start(layers, trainable)
    held = one_of(batchnorm, BATCHNORM, "batchnorm") == "held"
    model.trainable = True
    for index, layer in enumerate(layers):
        for inner in layer._flatten_layers():
            # Each by itself: Keras hands a flag on to what is inside only where it changes.
            inner.trainable = index >= start and not (held and isinstance(inner, keras.layers.BatchNormalization))
    return start


def batchnorm_layers(layer: keras.layers.Layer) -> list[keras.layers.BatchNormalization]:
    """Returns the BatchNorm layers of a layer: itself, or those inside of a model that stands in the graph as one.

    Args:
        layer: A layer of a classifier.
    """
    return [inner for inner in layer._flatten_layers() if isinstance(inner, keras.layers.BatchNormalization)]


@checked
def apply_stage(
    model: keras.Model,
    trainable: float | str,
    *,
    optimizer: keras.optimizers.Optimizer,
    loss: keras.losses.Loss,
    name: str = "stage",
    batchnorm: str = "held",
) -> StageBoundary:
    """Freezes and unfreezes the backbone's layers for a stage, holds BatchNorm or not, and compiles.

    Args:
        model: A classifier of `build_classifier`.
        trainable: Share of the backbone's layers to unfreeze, counted from the top, or the name of the first layer to
            unfreeze. 0 or "none" trains the head alone, 1 or "all" everything (but BatchNorm where it is held).
        optimizer: A fresh optimizer; its state belongs to this stage.
        loss: The loss.
        name: The stage's name, for the record.
        batchnorm: "held" keeps every BatchNorm of the backbone as it is, weights and statistics; "trained" trains those
            of unfrozen layers, which then normalise by the batch. Those of frozen layers are held in either case.

    Returns:
        What the stage trains.

    Raises:
        ValueError: If `trainable` names nothing or is out of range, or `batchnorm` is neither.
    """
    layers = backbone_layers(model)
    start = freeze(model, trainable, batchnorm)
    model.compile(optimizer=optimizer, loss=loss)
    changing = [layer for layer in model.layers if layer.trainable_weights]
    first = layers[start].name if start < len(layers) else next(x.name for x in model.layers if _is_head(x))
    return StageBoundary(
        stage=name,
        first_trainable_layer=first,
        backbone_layers=len(layers),
        backbone_layers_trainable=len(layers) - start,
        batchnorm_layers_held=sum(not inner.trainable for layer in layers for inner in batchnorm_layers(layer)),
        layers_trainable=tuple(layer.name for layer in changing),
        trainable_parameters=_parameters(model.trainable_weights),
        frozen_parameters=_parameters(model.non_trainable_weights),
        total_parameters=_parameters(model.weights),
    )


def _in_head(layer: keras.layers.Layer) -> bool:
    return layer.name.startswith("head_")


def _is_head(layer: keras.layers.Layer) -> bool:
    return _in_head(layer) and bool(layer.weights)


class _TrainingMode(keras.layers.Layer):
    """Calls a model with ``training=True``, so that the compiled `predict` updates BatchNorm's moving statistics."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self._model = model

    def call(self, pixels: Any) -> Any:
        # One number an image: what matters is what the pass leaves behind.
        return keras.ops.mean(self._model(pixels, training=True), axis=(1, 2, 3))


@checked
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
    normalisations = [inner for layer in layers for inner in batchnorm_layers(layer)]
    if not normalisations:
        return 0
    before = [
        (convert_to_numpy(layer.moving_mean), convert_to_numpy(layer.moving_variance)) for layer in normalisations
    ]
    # What the head reads: a sum of branches can come last, which is no layer.
    base = _TrainingMode(keras.Model(model.input, next(layer for layer in model.layers if _in_head(layer)).input))
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
        raise ValueError("no batch of images to take BatchNorm statistics from; give at least one.")
    for layer, (mean, variance) in zip(normalisations, before, strict=True):
        start = layer.momentum**count
        layer.moving_mean.assign((convert_to_numpy(layer.moving_mean) - start * mean) / (1.0 - start))
        layer.moving_variance.assign((convert_to_numpy(layer.moving_variance) - start * variance) / (1.0 - start))
    return len(normalisations)
