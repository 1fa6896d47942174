"""Where a partly frozen classifier can be cut in two: a prefix that is a constant function, and what is trained.

What lies before the first trainable layer gives the same output for the same film in every epoch. If at some point of
the graph exactly one tensor crosses, everything before that point can be computed once and kept.
"""

import math
from dataclasses import dataclass
from typing import Any

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


def changes_in_training(layer: keras.Operation) -> bool:
    """Returns whether a layer's output for the same input can differ between two training steps.

    That is so if it has trainable weights, if it is a BatchNorm that normalises by the batch, or if it draws random
    numbers (dropout, stochastic depth). An operation without a layer, such as a sum, never changes.
    """
    if not isinstance(layer, keras.layers.Layer):
        return False
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
    if isinstance(layer, keras.Model):
        return sum(_multiplications(inner) for inner in layer.layers)
    kernel = getattr(layer, "kernel", None)
    return 0 if kernel is None else math.prod(kernel.shape) * math.prod(layer.output.shape[1:-1])


def _graph(model: keras.Model) -> tuple[dict[str, tuple[str, ...]], str] | None:
    """Returns the names of what each layer or operation reads, in the order of its arguments, and the output's name.

    From the model's configuration, because a layer that is itself a model (ConvNeXt's downsampling) does not tell
    where it stands in the graph around it. None where an operation takes something else than tensors.
    """
    config = model.get_config()
    reads = {}
    for entry in config["layers"]:
        names: list[str] = []
        for node in entry["inbound_nodes"]:
            if not _collect(node["args"], names):
                return None
        reads[entry["name"]] = tuple(names)
    return reads, keras.tree.flatten(config["output_layers"])[0]


def _collect(value: Any, names: list[str]) -> bool:
    """Appends the producers of all tensors in `value`; returns whether there is nothing else in it."""
    if isinstance(value, (list, tuple)):
        return all([_collect(item, names) for item in value])
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        names.append(value["config"]["keras_history"][0])
        return True
    return value is None


def crossing_layer(model: keras.Model) -> keras.Operation | None:
    """Finds the last layer before anything trainable whose output alone feeds the rest of the graph.

    Args:
        model: A functional classifier whose `trainable` flags are set (`models.stages.apply_stage`).

    Returns:
        The layer or operation, or None when nothing but the input crosses: then there is nothing to compute in advance.
    """
    layers, graph = model.operations, _graph(model)
    if graph is None:
        return None
    reads, output = graph
    position = {layer.name: index for index, layer in enumerate(layers)}
    last_use = list(range(len(layers)))
    for index, layer in enumerate(layers):
        for name in reads[layer.name]:
            last_use[position[name]] = max(last_use[position[name]], index)
    last_use[position[output]] = len(layers)
    changing = first_changing(model)
    first = layers.index(changing) if changing is not None else len(layers) - 1
    for cut in range(first, 1, -1):
        crossing = [index for index in range(cut) if last_use[index] >= cut]
        last = layers[crossing[0]] if len(crossing) == 1 else None
        # A model among the layers gives its own inner output, not the tensor of this graph.
        if last is not None and not isinstance(last, (keras.layers.InputLayer, keras.Model)):
            return last
    return None


def partition(model: keras.Model) -> Partition | None:
    """Cuts a classifier at its crossing layer.

    Args:
        model: As for `crossing_layer`.

    Returns:
        The two parts, or None when there is no point to cut at.
    """
    layer, graph = crossing_layer(model), _graph(model)
    if layer is None or graph is None:
        return None
    reads, _ = graph
    later = model.operations[model.operations.index(layer) + 1 :]
    steps = [Step(after, reads[after.name], not changes_in_training(after)) for after in later]
    return Partition(layer.name, keras.Model(model.input, layer.output), TrainedPart(layer.name, steps))
