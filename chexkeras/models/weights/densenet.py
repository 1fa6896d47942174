"""From PyTorch's DenseNet to Keras': the same arrays, in other places and another order.

Three things differ. A kernel is (out, in, rows, columns) there and (rows, columns, in, out) here. BatchNorm adds 1e-5
to the variance there and 1.001e-5 here, so the difference goes into the variance. And where the first convolution
there reads one gray channel, here it reads three equal ones, so each gets a third of the kernel. Padding agrees:
zeros before the first convolution, and before the maximum, which is taken of values that are at least zero.

Source: Huang et al., CVPR 2017; names as in torchvision's models and in keras.applications.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chexkeras.models.stored.classes import Refused

TORCH_EPSILON = 1e-5
"""What PyTorch's BatchNorm adds to the variance unless it is told otherwise."""
_BLOCKS = {
    "DenseNet121": (6, 12, 24, 16),
    "DenseNet169": (6, 12, 32, 32),
    "DenseNet201": (6, 12, 48, 32),
}
CONVERTED = tuple(_BLOCKS)
"""Backbones for which weights of PyTorch are converted."""
_NORM = ("weight", "bias", "running_mean", "running_var")
_OLD_NAMES = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
_FIRST = "conv0.weight"
_FIX = "See 'chexkeras weights' for what can be read, or describe its keys in a JSON file."


def layer_names(backbone: str) -> dict[str, str]:
    """Returns the layer of Keras for every convolution and BatchNorm of torchvision's network.

    Args:
        backbone: One of `CONVERTED`.

    Example:
        >>> layer_names("DenseNet121")["denseblock4.denselayer16.conv2"]
        'conv5_block16_2_conv'
    """
    found = {"conv0": "conv1_conv", "norm0": "conv1_bn"}
    for block, layers in enumerate(_BLOCKS[backbone], start=1):
        for layer in range(1, layers + 1):
            theirs, ours = f"denseblock{block}.denselayer{layer}", f"conv{block + 1}_block{layer}"
            found |= {
                f"{theirs}.norm1": f"{ours}_0_bn",
                f"{theirs}.conv1": f"{ours}_1_conv",
                f"{theirs}.norm2": f"{ours}_1_bn",
                f"{theirs}.conv2": f"{ours}_2_conv",
            }
        if block < 4:
            found |= {
                f"transition{block}.norm": f"pool{block + 1}_bn",
                f"transition{block}.conv": f"pool{block + 1}_conv",
            }
    return found | {"norm5": "bn"}


def features_of(arrays: Mapping[str, np.ndarray], keys: Sequence[tuple[str, str]] = ()) -> dict[str, np.ndarray]:
    """Returns the arrays of the network without its last layer, by torchvision's keys without what stands before them.

    Args:
        arrays: Arrays by key, of a state dictionary, a checkpoint or a whole model.
        keys: By what a key begins in the file, and what stands there in torchvision's.

    Raises:
        Refused: If there is no DenseNet among them, or more than one.
    """
    named = {_OLD_NAMES.sub(r"\1\2.", _mapped(key, keys)): array for key, array in arrays.items()}
    begins = [key.removesuffix(_FIRST) for key in named if f".{key}".endswith(f".{_FIRST}")]
    if not begins:
        some = ", ".join(sorted(key for key in named if len(key) < 80 and key.isprintable())[:3])
        raise Refused(
            "holds no DenseNet of PyTorch: no array's key ends in conv0.weight" + (f"; it has {some}" if some else ""),
            _FIX,
        )
    if len(begins) > 1:
        raise Refused(f"holds {len(begins)} networks, and which one is meant cannot be told", _FIX)
    return {key.removeprefix(begins[0]): array for key, array in named.items() if key.startswith(begins[0])}


def _mapped(key: str, keys: Sequence[tuple[str, str]]) -> str:
    """Returns a key with its beginning exchanged, by the longest that fits."""
    for old, new in sorted(keys, key=lambda pair: -len(pair[0])):
        if key.startswith(old):
            return new + key[len(old) :]
    return key


def network_of(features: Mapping[str, np.ndarray]) -> str | None:
    """Returns which of `CONVERTED` has as many layers in each block, or None.

    Args:
        features: From `features_of`.
    """
    count = [0, 0, 0, 0]
    for key in features:
        found = re.match(r"denseblock([1-4])\.denselayer(\d{1,3})\.", key)
        if found:
            block = int(found[1]) - 1
            count[block] = max(count[block], int(found[2]))
    return next((name for name, blocks in _BLOCKS.items() if blocks == tuple(count)), None)


def converted(features: Mapping[str, np.ndarray], backbone: str, epsilon: float) -> dict[str, list[np.ndarray]]:
    """Returns the weights of every layer of Keras' network, in Keras' order and form.

    Args:
        features: From `features_of`.
        backbone: Which network they are to be for.
        epsilon: What its BatchNorm adds to the variance.

    Raises:
        Refused: If they are of another network, an array is missing, or a number is none.
    """
    network = network_of(features)
    if network != backbone:
        fix = f"Set backbone={network!r}." if network else _FIX
        raise Refused(f"does not fit {backbone}: its layers are those of {network or 'another network'}", fix)
    weights: dict[str, list[np.ndarray]] = {}
    for theirs, ours in layer_names(backbone).items():
        if ours.endswith("conv"):
            kernel = _floats(features, f"{theirs}.weight", 4).transpose(2, 3, 1, 0)
            weights[ours] = [_three_channels(kernel) if theirs == "conv0" else kernel]
        else:
            scale, shift, mean, variance = (_floats(features, f"{theirs}.{name}", 1) for name in _NORM)
            if (variance < 0).any():
                raise Refused(f"has a variance below zero ({theirs})", _FIX)
            weights[ours] = [scale, shift, mean, variance + (TORCH_EPSILON - epsilon)]
    return {name: [array.astype(np.float32) for array in arrays] for name, arrays in weights.items()}


def _floats(features: Mapping[str, np.ndarray], key: str, dimensions: int) -> np.ndarray:
    array = features.get(key)
    if array is None:
        raise Refused(f"lacks the array {key}", _FIX)
    numbers: np.ndarray = array.astype(np.float64)
    if numbers.ndim != dimensions or not numbers.size:
        raise Refused(f"has an array {key} of another shape than a DenseNet's", _FIX)
    if not np.isfinite(numbers).all():
        raise Refused(f"has numbers in {key} that are none (NaN or infinite)", _FIX)
    return numbers


def _three_channels(kernel: np.ndarray) -> np.ndarray:
    """Returns the first kernel for three equal channels, whatever number of them it was made for."""
    return np.repeat(kernel / 3.0, 3, axis=2) if kernel.shape[2] == 1 else kernel


def put(model: Any, weights: Mapping[str, list[np.ndarray]]) -> None:
    """Gives a network its weights, all or none.

    Args:
        model: Keras' network without its top.
        weights: From `converted`.

    Raises:
        Refused: If a shape is another one, or a layer has none.
    """
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    if set(layers) != set(weights):
        raise Refused("does not fit the layers of the installed Keras", "Use a version that the documentation names.")
    for name, layer in layers.items():
        wanted = [tuple(variable.shape) for variable in layer.weights]
        if [array.shape for array in weights[name]] != wanted:
            raise Refused(f"has arrays of another shape for the layer {name}", _FIX)
    for name, layer in layers.items():
        layer.set_weights(weights[name])
