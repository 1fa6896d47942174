"""Keras models and layers of one's own, copied into a classifier's graph.

A copy is taken apart layer by layer, models inside of it too, so that stages freeze single layers and heat maps reach
them. The object that was given is left as it is.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from chexkeras.models import backbones
from chexkeras.models.object_record import brief
from chexkeras.models.stored.classes import Refused, check_classes, parse

NAMED_RANGES = ("imagenet", "caffe")
"""Ranges that go by a name: ImageNet's channel means and deviations, or its means alone, blue first."""

_OWN_NAMES = ("preprocess_", "head_")
_PREFIX = "given_"


def check_loadable(model: keras.Model, what: str) -> None:
    """Checks that a model's file will be opened again (`models.stored`): it names layers of Keras or registered ones.

    Args:
        model: The model.
        what: What was given, for the message.

    Raises:
        ValueError: If it would not.
    """
    try:
        check_classes(parse(model.to_json().encode()), dict(keras.saving.get_custom_objects()))
    except Refused as error:
        raise ValueError(f"the {what} could be saved and would not be loaded again: it {error}") from error


def check_range(input_range: Any, channels: int) -> None:
    """Checks what was stated of a model's pixels.

    Args:
        input_range: The model's values of black and white, two numbers, or one of `NAMED_RANGES`.
        channels: Channels that the model takes, 1 or 3.

    Raises:
        ValueError: If it is something else, or does not go with the channels.
    """
    if channels not in (1, 3):
        raise ValueError(f"the model takes images of {channels} channels; 1 or 3 (three equal ones) were expected.")
    if isinstance(input_range, str) and input_range in NAMED_RANGES:
        if channels != 3:
            raise ValueError(f"input_range={input_range!r} is for models of three channels; this one takes 1.")
        return
    try:
        black, white = (float(value) for value in (() if isinstance(input_range, str) else input_range))
    except (TypeError, ValueError):
        black = white = math.nan
    if not (math.isfinite(black) and math.isfinite(white) and black != white):
        raise ValueError(
            f"input_range={input_range!r} must say which values black and white have in the images that the model "
            "takes: (0, 1), (-1, 1), (0, 255) where it begins with its own scaling, 'imagenet' or 'caffe'. It is never "
            "guessed: with the wrong one the scores are wrong and look right."
        )


def prepared(pixels: Any, input_range: Any, channels: int) -> Any:
    """Returns gray pixels as a model of one's own takes them.

    Args:
        pixels: Keras tensor (batch, height, width, 1), 0-255.
        input_range: From the caller, checked by `check_range`.
        channels: 1 or 3.

    Returns:
        Keras tensor (batch, height, width, channels).
    """
    if isinstance(input_range, str):
        return backbones.normalise(pixels, input_range)
    found = backbones.normalise(pixels, "own") if channels == 3 else pixels
    black, white = map(float, input_range)
    if (black, white) == (0.0, 255.0):
        return found
    scaling = keras.layers.Rescaling((white - black) / 255.0, black, name="preprocess_range", dtype="float32")
    return scaling(found)


def input_shape_of(model: Any) -> tuple[int | None, ...] | None:
    """Returns the shape of a model's one input without the batch; None where it has none yet."""
    try:
        inputs = model.inputs
    except (AttributeError, ValueError):
        return None
    if inputs is None or len(inputs) != 1:
        return None
    return tuple(inputs[0].shape[1:])


class Graft:
    """Copies models and layers, with their weights, into the graph of a tensor, layer by layer.

    Args:
        rename: Takes the name of a layer or operation and returns that of its copy.

    Attributes:
        names: Names of the copies, in graph order.
    """

    def __init__(self, rename: Callable[[str], str] | None = None) -> None:
        self._rename = rename or free_name
        self.names: list[str] = []

    def add(self, given: Any, tensor: Any) -> Any:
        """Adds a copy to the graph.

        Args:
            given: A Keras model of one input and one output, or a layer.
            tensor: A Keras tensor.

        Returns:
            Its output, a Keras tensor.

        Raises:
            ValueError: If Keras cannot apply it to the tensor, or copy it.
        """
        if isinstance(given, keras.Sequential):
            layers = [layer for layer in given.layers if not isinstance(layer, keras.layers.InputLayer)]
            for layer in layers:
                tensor = self.add(layer, tensor)
            return tensor
        graph = _graph_of(given)
        if graph is None:
            return self._copy(given)(tensor)
        outputs: list[Any] = []

        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            # Those that were not copied are taken apart. How they are called (in training or not) goes along by itself.
            made = isinstance(operation, _CopiedLayer)
            outputs.append(operation(*args, **kwargs) if made else self.add(operation, args[0]))
            return outputs[-1]

        def copy(operation: Any) -> Any:
            # A model inside is taken apart when it is called, if it is called once.
            return operation if _is_taken_apart(operation) else self._copy(operation)

        keras.models.clone_model(graph, input_tensors=tensor, clone_function=copy, call_function=call)
        # A graph of one output ends with it.
        return outputs[-1] if outputs else tensor

    def _copy(self, operation: Any) -> Any:
        name = self._rename(operation.name)
        while name in self.names:
            name += "_again"
        self.names.append(name)
        copy = type(operation).from_config({**operation.get_config(), "name": name})
        weights = operation.get_weights() if isinstance(operation, keras.layers.Layer) else []
        return _CopiedLayer(copy, weights)


class _CopiedLayer:
    """A copy of a layer or operation, which gets its weights when it is first called."""

    def __init__(self, layer: Any, weights: list[np.ndarray]) -> None:
        self.layer, self.weights = layer, weights

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.layer(*args, **kwargs)
        if self.weights:
            self.layer.set_weights(self.weights)
            self.weights = []
        return result


def free_name(name: str) -> str:
    """Returns a layer's name, changed where it is one that the classifier's own layers have."""
    return f"{_PREFIX}{name}" if name.startswith(_OWN_NAMES) or name == "pixels" else name


def _graph_of(given: Any) -> keras.Model | None:
    """Returns a model as the graph of its layers; None for a layer, or a model that is code of its own."""
    if not isinstance(given, keras.Model) or input_shape_of(given) is None or len(given.outputs) != 1:
        return None
    return keras.Model(given.inputs[0], given.outputs[0])


def _is_taken_apart(operation: Any) -> bool:
    if not isinstance(operation, keras.Model) or len(getattr(operation, "_inbound_nodes", ())) > 1:
        return False
    return isinstance(operation, keras.Sequential) or _graph_of(operation) is not None


def check_probabilities(scores: np.ndarray, targets: tuple[str, ...], what: str) -> None:
    """Checks that what a model or head gives are probabilities, one for each finding.

    Args:
        scores: float array (n, outputs), of several images or of made-up features.
        targets: The findings, in output order.
        what: What was given, for the message.

    Raises:
        ValueError: If they are not; the message says what to change.
    """
    if scores.ndim != 2 or scores.shape[1] != len(targets):
        raise ValueError(
            f"the {what} gives {tuple(scores.shape[1:])} numbers for an image; one for each finding was expected, "
            f"({len(targets)},): {', '.join(targets)}. Of two classes, absent and present, keep the second."
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"the {what} gives {scores[~np.isfinite(scores)][0]} where a probability was expected.")
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError(
            f"the {what} gives {scores.min():.4g} to {scores.max():.4g}, and probabilities, 0 to 1, were expected: "
            'end it with a sigmoid, keras.layers.Dense(n, activation="sigmoid") or keras.layers.Activation("sigmoid").'
        )
    if (len(targets) > 1 and np.allclose(scores.sum(axis=1), 1.0, atol=1e-5)) or np.allclose(scores, 1.0, atol=1e-6):
        raise ValueError(
            f"the {what} gives numbers that sum to 1 for every image, as a softmax does: findings do not exclude each "
            "other, and each needs a probability of its own. End it with a sigmoid."
        )


def refuse_open_end(model: Any, what: str) -> None:
    """Refuses a model that ends with a linear Dense layer, whose numbers may lie between 0 and 1 by chance.

    Args:
        model: A model or layer of Keras.
        what: What was given, for the message.

    Raises:
        ValueError: If it ends so.
    """
    last = (getattr(model, "layers", None) or [model])[-1]
    if isinstance(last, keras.layers.Dense) and last.get_config().get("activation") == "linear":
        raise ValueError(
            f"the {what} ends with the Dense layer {last.name!r} without an activation, which gives any number "
            "(logits) where a probability was expected: end it with a sigmoid, keras.layers.Dense(n, "
            'activation="sigmoid"), or put keras.layers.Activation("sigmoid") behind it.'
        )


def as_float32(tensor: Any) -> Any:
    """Returns a Keras tensor in float32, whatever the precision of the layers before."""
    if keras.backend.standardize_dtype(tensor.dtype) == "float32":
        return tensor
    return keras.layers.Activation("linear", dtype="float32", name="head_float32")(tensor)


def random_features(shape: tuple[int | None, ...], seed: int = 0) -> np.ndarray:
    """Returns made-up features of several sizes, to try a head on.

    Args:
        shape: Their shape without the batch; what is not known counts 1.
        seed: Decides the numbers.
    """
    rng = np.random.default_rng(seed)
    sizes = np.array([0.0, 0.1, 1.0, 1.0, 10.0, 100.0]).reshape(-1, *([1] * len(shape)))
    return (rng.normal(size=(len(sizes), *(side or 1 for side in shape))) * sizes).astype(np.float32)


def names_for_maps(model: keras.Model) -> Callable[[str], str]:
    """Returns names for the copies of a model's layers, by which heat maps find its feature map and its last layer.

    They can where an image's features are pooled or flattened once, by a layer after which there are none with rows and
    columns, and the last layer is a Dense with a sigmoid. Where that is not so names stay, and heat maps are refused.

    Args:
        model: A Keras model.
    """
    flat = _flat_layers(model)
    pooled = [
        place
        for place, layer in enumerate(flat)
        if isinstance(layer, _POOLING) and len(getattr(layer.output, "shape", ())) == 2
    ]
    last = flat[-1] if flat else None
    activation = getattr(last, "activation", None)
    ends_in_sigmoid = type(last) is keras.layers.Dense and activation is keras.activations.sigmoid
    if len(pooled) != 1 or not ends_in_sigmoid:
        return free_name
    new = {flat[pooled[0]].name: "head_pool", flat[-1].name: "head_probability"}
    new |= {layer.name: f"head_{layer.name.removeprefix('head_')}" for layer in flat[pooled[0] + 1 : -1]}
    return lambda name: new.get(name) or free_name(name)


_POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D, keras.layers.Flatten)


def _flat_layers(model: keras.Model) -> list[Any]:
    """Returns a model's layers and operations in graph order, those of models inside in the place of these."""
    graph = None if isinstance(model, keras.Sequential) else _graph_of(model)
    steps = model.layers if isinstance(model, keras.Sequential) else graph.operations if graph is not None else [model]
    found: list[Any] = []
    for step in steps:
        if isinstance(step, keras.layers.InputLayer):
            continue
        found += _flat_layers(step) if _is_taken_apart(step) and step is not model else [step]
    return found


def attach_backbone(backbone: Any, pixels: Any, input_range: Any) -> Any:
    """Adds a copy of a Keras model or layer to a graph as its backbone.

    Args:
        backbone: From images of 1 or 3 channels to a feature map; a layer, or a model without an input yet, gets 3.
        pixels: Keras tensor (batch, height, width, 1), 0-255.
        input_range: The backbone's values of black and white, or one of `NAMED_RANGES`.

    Returns:
        The feature map, a Keras tensor (batch, rows, columns, channels).

    Raises:
        TypeError: If it is no Keras layer or model.
        ValueError: If its range is not stated, or it takes or gives tensors of another shape.
    """
    _check_kind(backbone, "backbone")
    shape = input_shape_of(backbone)
    if shape is not None and len(shape) != 3:
        raise ValueError(f"backbone: the model takes {shape}; images (height, width, 1 or 3) were expected.")
    channels = 3 if shape is None else int(shape[2] or 0)
    check_range(input_range, channels)
    try:
        features = Graft(free_name).add(backbone, prepared(pixels, input_range, channels))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"backbone: {type(backbone).__name__} cannot be applied to images of {pixels.shape[1]} x {pixels.shape[2]} "
            f"pixels and {channels} channels ({brief(error)})."
        ) from error
    found = tuple(getattr(features, "shape", ()))
    if len(found) != 4 or None in found[1:]:
        raise ValueError(
            f"the backbone gives {found[1:]} for an image; a feature map (rows, columns, channels) was expected: take "
            "its pooling and its last layers off (include_top=False, pooling=None), which the head brings."
        )
    return features


def attach_head(head: Any, features: Any, targets: tuple[str, ...]) -> Any:
    """Adds a copy of a Keras model or layer to a feature map as its head.

    One that takes a vector gets the average of the feature map over rows and columns.

    Args:
        head: From a feature map, or a vector of its channels, to one probability for each target.
        features: Keras tensor (batch, rows, columns, channels).
        targets: The findings, in output order.

    Returns:
        Keras tensor (batch, n_targets), float32.

    Raises:
        TypeError: If it is no Keras layer or model.
        ValueError: If it takes or gives something else, or has no weights to train.
    """
    _check_kind(head, "head")
    shape = input_shape_of(head)
    pooled = keras.layers.GlobalAveragePooling2D(name="head_pool")(features)
    wanted = {None: (pooled, features), 1: (pooled,), 3: (features,)}.get(None if shape is None else len(shape), ())
    problems = [] if wanted else [f"it takes {shape}"]
    for tensor in wanted:
        try:
            made = Graft(_names_in_head(head, tensor is features)).add(head, tensor)
        except (TypeError, ValueError, NotImplementedError) as error:
            problems.append(brief(error))
            continue
        if len(made.shape) == 2:
            break
        problems.append(f"of {tuple(tensor.shape[1:])} it makes {tuple(made.shape[1:])}")
    else:
        raise ValueError(
            f"head: {type(head).__name__} makes no probabilities of the feature map {tuple(features.shape[1:])} or of "
            f"its average {tuple(pooled.shape[1:])} ({'; '.join(problems)}); a layer or model to ({len(targets)},) was "
            "expected."
        )
    probabilities = as_float32(made)
    tried = keras.Model(tensor, probabilities)
    if not tried.trainable_weights:
        raise ValueError(f"head: {type(head).__name__} has no weights to train; end it with Dense(n, 'sigmoid').")
    check_probabilities(np.asarray(tried.predict_on_batch(random_features(tensor.shape[1:]))), targets, "head")
    return probabilities


def _check_kind(value: Any, what: str) -> None:
    if not isinstance(value, keras.layers.Layer):
        raise TypeError(
            f"{what} is a {type(value).__name__}; a name, or a Keras model or layer, was expected"
            + (f": call it, {value.__name__}(...), and give what it returns." if callable(value) else ".")
        )


def _names_in_head(head: Any, takes_features: bool) -> Callable[[str], str]:
    """Returns names for the copies of a head's layers; heat maps find its pooling and its last layer by theirs."""
    flat = _flat_layers(head)
    last = flat[-1]
    new = {layer.name: f"head_{layer.name.removeprefix('head_')}" for layer in flat}
    if type(last) is keras.layers.Dense and last.activation is keras.activations.sigmoid:
        new[last.name] = "head_probability"
    pooling = [layer.name for layer in flat if isinstance(layer, _POOLING)]
    if takes_features and len(pooling) == 1:
        new[pooling[0]] = "head_pool"
    return lambda name: new.get(name) or f"head_{name.removeprefix('head_')}"
