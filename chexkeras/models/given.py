"""Keras models and layers of one's own, copied into a classifier's graph; what is recorded of Keras objects.

A copy is taken apart layer by layer, models inside of it too, so that stages freeze single layers and heat maps reach
them. The object that was given is left as it is.
"""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from chexkeras.checks import one_of
from chexkeras.models import backbones
from chexkeras.models.stored.classes import Refused, check_classes, parse

NAMED_RANGES = ("imagenet", "caffe")
"""Ranges that go by a name: ImageNet's channel means and deviations, or its means alone, blue first."""

_OWN_NAMES = ("preprocess_", "head_")
_PREFIX = "given_"
_REGISTER = (
    "Register its class, @keras.saving.register_keras_serializable(), give it a get_config that holds its arguments, "
    "and register it again in every process that loads the run."
)


def recorded(value: Any, what: str) -> dict[str, Any]:
    """Returns what Keras says of an object: its class and configuration, from which it can be made again.

    Args:
        value: A layer, a model or a loss.
        what: What it was given as, for the message: "loss".

    Raises:
        ValueError: If it cannot be made again from that: its class is not registered, or holds code.
    """
    try:
        config = keras.saving.serialize_keras_object(value)
        found: dict[str, Any] = json.loads(json.dumps(config))
        rebuilt(found, what)
    # Whatever a class makes of being asked for its configuration.
    except Exception as error:
        raise ValueError(
            f"{what}={type(value).__name__} cannot be recorded with the run, since Keras cannot make it again from its "
            f"configuration ({_brief(error)}). {_REGISTER}"
        ) from error
    for entry in _classes(found):
        module = str(entry.get("module") or "builtins")
        if entry.get("registered_name") not in keras.saving.get_custom_objects() and module.split(".")[0] not in (
            "keras", "builtins",
        ):  # fmt: skip
            raise ValueError(
                f"{what}={type(value).__name__} cannot be recorded with the run: {entry['class_name']} is neither "
                f"Keras' own nor registered, and another process would not find it. {_REGISTER}"
            )
    return found


def rebuilt(config: dict[str, Any], what: str) -> Any:
    """Returns an object made again from what was recorded of it.

    Args:
        config: From `recorded`.
        what: What it was given as, for the message.

    Raises:
        ValueError: If its class is not known here.
    """
    try:
        return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception as error:
        raise ValueError(
            f"{what}: {config.get('class_name')} cannot be made again from its configuration ({_brief(error)}). "
            f"{_REGISTER}"
        ) from error


def digest(config: dict[str, Any]) -> str:
    """Returns a fingerprint of what was recorded of an object; names that Keras counted up do not change it.

    Args:
        config: From `recorded`.
    """
    return hashlib.sha256(json.dumps(_without_names(config), sort_keys=True).encode()).hexdigest()


def _without_names(value: Any) -> Any:
    """Returns a configuration with the names of its layers by their place, since Keras counts names up."""
    text = json.dumps(value)
    names = list(dict.fromkeys(_names(value)))
    # Longest first, lest a name is found inside another one.
    for place, name in sorted(enumerate(names), key=lambda pair: -len(pair[1])):
        text = text.replace(json.dumps(name), json.dumps(f"#{place}"))
    return json.loads(text)


def _names(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for each in value for name in _names(each)]
    if not isinstance(value, dict):
        return []
    found = [value["name"]] if isinstance(value.get("name"), str) else []
    return found + [name for each in value.values() for name in _names(each)]


def _classes(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [entry for each in value for entry in _classes(each)]
    if not isinstance(value, dict):
        return []
    own = [value] if isinstance(value.get("class_name"), str) and not value["class_name"].startswith("__") else []
    return own + [entry for each in value.values() for entry in _classes(each)]


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
    if isinstance(input_range, str):
        one_of(input_range, NAMED_RANGES, "input_range")
        if channels != 3:
            raise ValueError(f"input_range={input_range!r} is for models of three channels; this one takes 1.")
        return
    try:
        black, white = (float(value) for value in input_range)
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
    if (len(targets) > 1 and np.allclose(scores.sum(axis=1), 1.0, atol=1e-5)) or np.all(scores == 1.0):
        raise ValueError(
            f"the {what} gives numbers that sum to 1 for every image, as a softmax does: findings do not exclude each "
            "other, and each needs a probability of its own. End it with a sigmoid."
        )


def as_float32(tensor: Any) -> Any:
    """Returns a Keras tensor in float32, whatever the precision of the layers before."""
    if keras.backend.standardize_dtype(tensor.dtype) == "float32":
        return tensor
    return keras.layers.Activation("linear", dtype="float32", name="head_float32")(tensor)


def _brief(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:200]}"


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
    ends_in_sigmoid = type(last) is keras.layers.Dense and last.activation is keras.activations.sigmoid
    if len(pooled) != 1 or not ends_in_sigmoid:
        return free_name
    new = {flat[pooled[0]].name: "head_pool", flat[-1].name: "head_probability"}
    new |= {layer.name: f"head_{layer.name.removeprefix('head_')}" for layer in flat[pooled[0] + 1 : -1]}
    return lambda name: new.get(name) or free_name(name)


_POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D, keras.layers.Flatten)


def _flat_layers(model: keras.Model) -> list[Any]:
    """Returns a model's layers and operations in graph order, those of models inside in the place of these."""
    graph = _graph_of(model)
    steps = graph.operations if graph is not None else [model]
    found: list[Any] = []
    for step in steps:
        if isinstance(step, keras.layers.InputLayer):
            continue
        found += _flat_layers(step) if _is_taken_apart(step) and step is not model else [step]
    return found
