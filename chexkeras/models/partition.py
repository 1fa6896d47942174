"""Where a partly frozen classifier can be cut in two: a prefix that is a constant function, and what is trained.

What lies before the first trainable layer gives the same output for the same film in every epoch. If at some point of
the graph exactly one tensor crosses, everything before that point can be computed once and kept.
"""

import math
from dataclasses import dataclass

import keras

from chexkeras.models.trained_part import Step, TrainedPart


@dataclass(frozen=True)
class Partition:
    """A classifier cut in two models that share its layers and weights.

    Attributes:
        crossing: Name of the layer whose output crosses the cut.
        prefix: From pixels to that output; constant as long as its stage lasts.
        suffix: From that output to the probabilities; what a stage trains.
    """

    crossing: str
    prefix: keras.Model
    suffix: TrainedPart


def changes_in_training(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer's output for the same input can differ between two training steps.

    That is so if it has trainable weights, if it is a BatchNorm that normalises by the batch, or if it draws random
    numbers (dropout, stochastic depth).
    """
    if layer.trainable_weights:
        return True
    if isinstance(layer, keras.layers.BatchNormalization):
        return bool(layer.trainable)
    # `variables` holds a layer's random state besides its weights.
    return len(layer.variables) > len(layer.weights)


def first_changing(model: keras.Model) -> keras.layers.Layer | None:
    """Returns the first layer in graph order whose output can differ between two training steps; None if none can."""
    return next((layer for layer in model.layers if changes_in_training(layer)), None)


def frozen_share(model: keras.Model, prefix: keras.Model) -> float:
    """Returns the share of a classifier's multiplications that its prefix makes, from 0 to 1.

    Args:
        model: The classifier.
        prefix: Its constant part.
    """
    whole = sum(_multiplications(layer) for layer in model.layers)
    return sum(_multiplications(layer) for layer in prefix.layers) / whole if whole else 0.0


def _multiplications(layer: keras.layers.Layer) -> int:
    kernel = getattr(layer, "kernel", None)
    return 0 if kernel is None else math.prod(kernel.shape) * math.prod(layer.output.shape[1:-1])


def _inputs(layer: keras.layers.Layer) -> list[keras.KerasTensor]:
    return [] if isinstance(layer, keras.layers.InputLayer) else keras.tree.flatten(layer.input)


def crossing_layer(model: keras.Model) -> keras.layers.Layer | None:
    """Finds the last layer before anything trainable whose output alone feeds the rest of the graph.

    Args:
        model: A flat functional classifier whose `trainable` flags are set (`models.stages.apply_stage`).

    Returns:
        The layer, or None when nothing but the input crosses: then there is nothing to compute in advance.
    """
    layers = model.layers
    position = {id(tensor): index for index, layer in enumerate(layers) for tensor in keras.tree.flatten(layer.output)}
    last_use = list(range(len(layers)))
    for index, layer in enumerate(layers):
        for tensor in _inputs(layer):
            producer = position[id(tensor)]
            last_use[producer] = max(last_use[producer], index)
    for tensor in keras.tree.flatten(model.output):
        last_use[position[id(tensor)]] = len(layers)
    changing = first_changing(model)
    first = layers.index(changing) if changing is not None else len(layers) - 1
    for cut in range(first, 1, -1):
        crossing = [index for index in range(cut) if last_use[index] >= cut]
        if len(crossing) == 1 and not isinstance(layers[crossing[0]], keras.layers.InputLayer):
            return layers[crossing[0]]
    return None


def partition(model: keras.Model) -> Partition | None:
    """Cuts a classifier at its crossing layer.

    Args:
        model: As for `crossing_layer`.

    Returns:
        The two parts, or None when there is no point to cut at.
    """
    layer = crossing_layer(model)
    if layer is None:
        return None
    return Partition(layer.name, keras.Model(model.input, layer.output), TrainedPart(layer.name, _after(model, layer)))


def _after(model: keras.Model, crossing: keras.layers.Layer) -> list[Step]:
    producer = {id(tensor): layer.name for layer in model.layers for tensor in keras.tree.flatten(layer.output)}
    later = model.layers[model.layers.index(crossing) + 1 :]
    return [
        Step(layer, tuple(producer[id(tensor)] for tensor in _inputs(layer)), not changes_in_training(layer))
        for layer in later
    ]
