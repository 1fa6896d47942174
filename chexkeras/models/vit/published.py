"""Weights of DINOv2 and DINOv3 as keras-hub publishes them, put into the layers of `network`.

keras-hub is optional: it is imported here alone, when such weights are asked for.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np

from chexkeras.models.vit.sizes import MissingPackage, VisionTransformer


def load(model: keras.Model, size: VisionTransformer, file: Path | None = None) -> None:
    """Gives a network of `network.patch_features` the published weights.

    Args:
        model: From normalised pixels to the feature map.
        size: Which network it is.
        file: The file ``model.weights.h5`` of its preset in keras-hub; None lets keras-hub download it.

    Raises:
        ValueError: If keras-hub is missing or another than expected, or the file does not fit.
        OSError: If the weights cannot be downloaded.
    """
    hub = keras_hub(size)
    if file is None:
        theirs = hub.models.Backbone.from_preset(size.preset, dtype="float32")
    else:
        theirs = hub_backbone(hub, size)
        theirs.load_weights(str(file))
    put(model, size, theirs)


def keras_hub(size: VisionTransformer) -> ModuleType:
    """Imports keras-hub, without tensorflow-text, which its networks for images do not need.

    tensorflow-text is a large binary for one version of TensorFlow; keras-hub does without it where it is missing,
    which is what it is made to believe while it is imported.

    Args:
        size: The network whose weights are asked for, for the message.

    Raises:
        MissingPackage: If keras-hub is not installed, or something that it needs.
    """
    if importlib.util.find_spec("keras_hub") is None:
        raise MissingPackage(
            f"the published weights of {size.name} need keras-hub, which is not installed: pip install "
            "'chexkeras[hub]', or use weights=None (--weights none)."
        )
    hidden = "tensorflow_text" not in sys.modules
    if hidden:
        sys.modules["tensorflow_text"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("keras_hub")
    except ImportError as error:
        raise MissingPackage(
            f"keras-hub is installed and cannot be imported ({error!s:.200}): pip install 'chexkeras[hub]' brings "
            "what it needs."
        ) from error
    finally:
        if hidden:
            del sys.modules["tensorflow_text"]


def hub_backbone(hub: ModuleType, size: VisionTransformer) -> Any:
    """Returns keras-hub's own network of a size, with random weights.

    Args:
        hub: The module keras_hub.
        size: Which network.
    """
    side = size.trained_grid * size.patch
    settings: dict[str, Any] = {
        "patch_size": size.patch,
        "num_layers": size.depth,
        "hidden_dim": size.width,
        "num_heads": size.heads,
        "intermediate_dim": size.hidden,
        "num_register_tokens": size.registers,
        "image_shape": (side, side, 3),
        "data_format": "channels_last",
        "dtype": "float32",
    }
    if size.rotary:
        settings |= {"use_key_bias": False, "layer_norm_eps": size.epsilon}
        return hub.models.DINOV3Backbone(**settings)
    return hub.models.DINOV2Backbone(**settings, position_embedding_shape=(side, side))


def put(model: keras.Model, size: VisionTransformer, theirs: Any) -> None:
    """Copies the weights of keras-hub's network, all or none.

    Args:
        model: From normalised pixels to the feature map.
        size: Which network it is.
        theirs: keras-hub's network of the same size, for any image size.

    Raises:
        ValueError: If the installed keras-hub names its parts otherwise, or a shape is another.
    """
    try:
        arrays = _arrays(theirs, size, model.output_shape[1])
    except AttributeError as error:
        version = getattr(sys.modules.get("keras_hub"), "__version__", "")
        raise ValueError(
            f"keras-hub {version} builds {size.name} otherwise than is known here ({error!s:.100}); use keras-hub "
            "0.32, or a version that the documentation names."
        ) from error
    for layer in model.layers:
        wanted = [tuple(variable.shape) for variable in layer.weights]
        if wanted != [array.shape for array in arrays.get(layer.name, [])]:
            raise ValueError(f"the weights do not fit {size.name}: those of the layer {layer.name} have another shape.")
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(arrays[layer.name])


def _arrays(theirs: Any, size: VisionTransformer, grid: int) -> dict[str, list[np.ndarray]]:
    """Returns the arrays of every layer by its name here, in Keras' order."""
    embedding = theirs.embeddings
    tokens = [_array(embedding.cls_token)]
    if size.registers:
        tokens.append(_array(embedding.register_tokens))
    if not size.rotary:
        tokens.append(positions_for(_array(embedding.position_embeddings), grid))
    found = {
        "embed_patches": _arrays_of(embedding.patch_embeddings.projection),
        "embed_tokens": tokens,
        "norm": _arrays_of(theirs.layernorm),
    }
    for number, block in enumerate(theirs.encoder.layers, start=1):
        inner = block.attention if size.rotary else block.attention.attention
        first = block.mlp.up_proj if size.rotary else block.mlp.fc1
        second = block.mlp.down_proj if size.rotary else block.mlp.fc2
        dense = (inner.query_dense, inner.key_dense, inner.value_dense, inner.output_dense)
        found |= {
            f"block{number}_norm1": _arrays_of(block.norm1),
            f"block{number}_attention": [array for layer in dense for array in _flat(layer, size.width)],
            f"block{number}_scale1": [_array(block.layer_scale1.lambda1)],
            f"block{number}_norm2": _arrays_of(block.norm2),
            f"block{number}_dense1": _arrays_of(first),
            f"block{number}_dense2": _arrays_of(second),
            f"block{number}_scale2": [_array(block.layer_scale2.lambda1)],
        }
    return found


def positions_for(positions: np.ndarray, grid: int) -> np.ndarray:
    """Returns learnt positions for another number of patches, by bicubic interpolation, as DINOv2 does it.

    Args:
        positions: float32 array (1, 1 + side * side, width), the class token's first.
        grid: Patches a side of the images at hand.

    Returns:
        float32 array (1, 1 + grid * grid, width).
    """
    side, width = round((positions.shape[1] - 1) ** 0.5), positions.shape[2]
    if side == grid:
        return positions
    of_patches = keras.ops.image.resize(
        positions[:, 1:].reshape(1, side, side, width), (grid, grid), "bicubic", data_format="channels_last"
    )
    resized = keras.ops.convert_to_numpy(of_patches).reshape(1, grid * grid, width)
    return np.concatenate([positions[:, :1], resized], axis=1)


def _array(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def _arrays_of(layer: Any) -> list[np.ndarray]:
    return [_array(variable) for variable in layer.weights]


def _flat(layer: Any, width: int) -> list[np.ndarray]:
    """Returns kernel and bias without the axis of heads, which lie one behind the other."""
    kernel, *bias = _arrays_of(layer)
    return [kernel.reshape(width, width), *(array.reshape(width) for array in bias)]
