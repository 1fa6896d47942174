"""Where a partly frozen classifier can be cut in two: a prefix that is a constant function, and what is trained.

What lies before the first trainable layer gives the same output for the same image in every epoch. If at some point of
the graph exactly one tensor crosses, everything before that point can be computed once and kept.

What is left of a classifier after its frozen prefix, computed without the gradients that nobody needs.

Where memory is short, a network can be trained in segments: each keeps its input alone, and computes what lies inside
once more when its gradients are due (gradient checkpointing).

In a dense network every block reads the prefix's constant output again, next to what the trained blocks added to it.
Kept apart, the constant channels need no gradient; concatenated with the others they would get one, only to be thrown
away. The two ways give the same output and the same weight gradients but for rounding.
"""

import inspect
import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import ops

from chexkeras.arguments import checked


class Channels(NamedTuple):
    """A tensor in two groups of channels: those that no trained weight has touched, then the others."""

    constant: Any
    changing: Any

    def whole(self) -> Any:
        """Returns the tensor itself."""
        present = [part for part in self if part is not None]
        return present[0] if len(present) == 1 else ops.concatenate(present, axis=-1)


class GraphStep(NamedTuple):
    """A layer, or an operation such as a sum, and the names of those whose outputs it reads."""

    layer: keras.Operation
    reads: tuple[str, ...]
    constant: bool


class TrainedPart(keras.Model):
    """From a crossing tensor to the probabilities, sharing a classifier's layers and weights.

    Args:
        crossing: Name of the layer whose output is the input here.
        steps: The layers after it in graph order; the last gives the output.
        checkpointed: Whether training keeps the inputs of segments alone and computes what is inside them twice.
    """

    def __init__(self, crossing: str, steps: list[GraphStep], checkpointed: bool = False) -> None:
        super().__init__(name="trained_part")
        self.crossing = crossing
        self.plan = [(step.reads, step.constant, _takes_training(step.layer)) for step in steps]
        self.shared_layers = [step.layer for step in steps]
        self.segments = _segments(crossing, steps) if checkpointed else [Segment(0, len(steps), False)]

    def call(self, features: Any, training: bool | None = None) -> Any:
        """Returns the probabilities.

        Args:
            features: Tensor (batch, ...), the crossing layer's output.
            training: Whether dropout is active. It is handed on in so many words: on JAX Keras calls this method
                itself, and the layers would not learn of it.
        """
        name, value = self.crossing, Channels(features, None)
        for segment in self.segments:
            value = self._segment(segment, name, value, training)
            name = self.shared_layers[segment.stop - 1].name
        return value.whole()

    def _segment(self, segment: "Segment", name: str, value: Channels, training: bool | None) -> Channels:
        """Returns what a segment makes of the one tensor that it reads."""

        def computed(given: Channels) -> Channels:
            values = {name: given}
            part = slice(segment.start, segment.stop)
            for layer, (reads, constant, takes_training) in zip(self.shared_layers[part], self.plan[part], strict=True):
                call = partial(layer, training=training) if takes_training else layer
                values[layer.name] = _run(layer, call, [values[each] for each in reads], constant)
            return values[self.shared_layers[segment.stop - 1].name]

        if not (segment.twice and training):
            return computed(value)
        # Only tensors go in and come out: which of the two groups of channels there are is known beforehand.
        before = [part is not None for part in value]
        after: list[bool] = []

        def of_tensors(*tensors: Any) -> tuple[Any, ...]:
            left = iter(tensors)
            found = computed(Channels(*(next(left) if there else None for there in before)))
            after[:] = [part is not None for part in found]
            return tuple(part for part in found if part is not None)

        found = keras.remat(of_tensors)(*(part for part in value if part is not None))
        parts = iter(found if isinstance(found, (tuple, list)) else (found,))
        return Channels(*(next(parts) if there else None for there in after))


class Segment(NamedTuple):
    """Some layers of a network, between two points where one tensor alone crosses.

    Attributes:
        start: Place of the first in graph order.
        stop: Place after the last.
        twice: Whether they are computed once more for their gradients, instead of being kept.
    """

    start: int
    stop: int
    twice: bool


def check_remat() -> None:
    """Checks that Keras can compute a part of a network twice.

    Raises:
        ValueError: If it is too old.
    """
    if not hasattr(keras, "remat"):
        raise ValueError(
            f"gradient_checkpointing=True needs keras.remat, which Keras {keras.__version__} has not; update it (pip "
            "install -U keras), or set gradient_checkpointing=false."
        )


def _segments(crossing: str, steps: list[GraphStep]) -> list[Segment]:
    """Cuts steps into segments wherever one tensor crosses, and joins small ones.

    The largest segment decides how much is held at a time, so others are joined up to its size: fewer inputs are kept.
    What draws random numbers or moves statistics would do so twice; such layers stand by themselves and are kept.
    """
    place = {crossing: -1} | {step.layer.name: index for index, step in enumerate(steps)}
    last_use = [index for index in range(-1, len(steps))]
    for index, step in enumerate(steps):
        for name in step.reads:
            last_use[place[name] + 1] = index
    cuts, furthest = [0], last_use[0]
    for index in range(len(steps)):
        # What was made before this step is read by it or earlier.
        if furthest <= index:
            cuts.append(index + 1)
        furthest = max(furthest, last_use[index + 1])
    natural = [
        (start, stop, all(_repeats(step.layer) for step in steps[start:stop]))
        for start, stop in itertools.pairwise(cuts)
    ]
    weight = [sum(_size(step.layer) for step in steps[start:stop]) for start, stop, _ in natural]
    largest = max((size for size, (_, _, twice) in zip(weight, natural, strict=True) if twice), default=0)
    found: list[Segment] = []
    held = 0
    for (start, stop, twice), size in zip(natural, weight, strict=True):
        if found and twice and found[-1].twice and held + size <= largest:
            found[-1] = Segment(found[-1].start, stop, True)
            held += size
        else:
            found.append(Segment(start, stop, twice))
            held = size
    # The last layers give the loss at once: computing them twice would save nothing.
    found[-1] = found[-1]._replace(twice=False)
    # One layer keeps no more than its input anyway, unless it is made of others.
    single = [part.stop - part.start == 1 and not _is_composed(steps[part.start].layer) for part in found]
    return [part._replace(twice=part.twice and not alone) for part, alone in zip(found, single, strict=True)]


def _repeats(layer: keras.Operation) -> bool:
    """Returns whether computing a layer twice is the same as computing it once."""
    if not isinstance(layer, keras.layers.Layer):
        return True
    if isinstance(layer, keras.layers.BatchNormalization):
        return not layer.trainable
    if isinstance(layer, keras.Model):
        return all(_repeats(inner) for inner in layer.layers)
    return len(layer.variables) == len(layer.weights)


def _is_composed(layer: keras.Operation) -> bool:
    """Returns whether a layer holds others, and so more between its input and its output than its output."""
    return isinstance(layer, keras.layers.Layer) and bool(
        [inner for inner in vars(layer).values() if isinstance(inner, keras.layers.Layer)]
    )


def _size(layer: keras.Operation) -> int:
    """Returns how many numbers an image has at a layer's output."""
    return sum(math.prod(side or 1 for side in tuple(x.shape)[1:]) for x in keras.tree.flatten(layer.output))


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
    # Inside of a layer that is code of its own, no output is known.
    kernel, output = getattr(layer, "kernel", None), getattr(layer, "output", None)
    return 0 if kernel is None or output is None else math.prod(kernel.shape) * math.prod(output.shape[1:-1])


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


@checked
def partition(model: keras.Model, checkpointed: bool = False, at: str | None = None) -> Partition | None:
    """Cuts a classifier at its crossing layer.

    Args:
        model: A functional classifier whose `trainable` flags are set (`models.stages.apply_stage`).
        checkpointed: Whether training the part after it keeps the inputs of segments alone.
        at: Name of the layer behind which to cut, whose output alone feeds the rest of the graph, as an earlier stage
            found it; None finds the last one before anything trainable.

    Returns:
        The two parts, or None when there is no point to cut at.
    """
    layer, graph = crossing_layer(model) if at is None else model.get_layer(at), _graph(model)
    if layer is None or graph is None:
        return None
    suffix = TrainedPart(layer.name, _steps_after(model, layer, graph[0]), checkpointed)
    return Partition(layer.name, keras.Model(model.input, layer.output), suffix)


def checkpointed(model: keras.Model) -> TrainedPart:
    """Returns the whole of a classifier, for training in segments; it shares the classifier's layers and weights.

    Args:
        model: A functional classifier whose `trainable` flags are set (`models.stages.apply_stage`).

    Raises:
        ValueError: If Keras is too old, or the classifier's graph cannot be followed layer by layer.
    """
    check_remat()
    graph = _graph(model)
    if graph is None:
        raise ValueError(
            "gradient_checkpointing=True follows a network layer by layer, and this backbone or head has an operation "
            "that takes more than tensors; set gradient_checkpointing=false."
        )
    first = next(layer for layer in model.operations if isinstance(layer, keras.layers.InputLayer))
    return TrainedPart(first.name, _steps_after(model, first, graph[0]), checkpointed=True)


def _steps_after(model: keras.Model, layer: keras.Operation, reads: dict[str, tuple[str, ...]]) -> list[GraphStep]:
    later = model.operations[model.operations.index(layer) + 1 :]
    return [GraphStep(after, reads[after.name], not changes_in_training(after)) for after in later]
