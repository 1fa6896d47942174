"""How a model's outputs change with what goes into it, on TensorFlow, JAX and PyTorch alike."""

from typing import Any

import keras
import numpy as np


def gradients(model: keras.Model, inputs: list[np.ndarray], kernel: np.ndarray) -> np.ndarray:
    """Returns the gradients of linear combinations of a model's outputs with regard to its last input.

    Args:
        model: Any model that gives a tensor (batch, units); run as in scoring, without dropout.
        inputs: One float32 array (batch, ...) for each input of the model.
        kernel: float32 array (units, n): each column weighs the outputs into one number for each image.

    Returns:
        float32 array (n, batch, ...), shaped like the last input behind its first axis.
    """
    rest = [keras.ops.convert_to_tensor(array) for array in inputs[:-1]]
    of_backend = {"tensorflow": _on_tensorflow, "jax": _on_jax, "torch": _on_torch}
    name = keras.backend.backend()
    if name not in of_backend:
        raise ValueError(f"no gradients on the Keras backend {name!r}; use {', '.join(of_backend)}.")
    return of_backend[name](model, rest, inputs[-1], kernel.astype(np.float32))


def _outputs(model: keras.Model, rest: list[Any], last: Any, kernel: np.ndarray) -> Any:
    """Returns the weighted outputs, tensor (batch, n)."""
    given = [*rest, last] if rest else last
    units = keras.ops.cast(model(given, training=False), "float32")
    return keras.ops.matmul(units, keras.ops.convert_to_tensor(kernel))


def _on_tensorflow(model: keras.Model, rest: list[Any], last: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    watched = tf.convert_to_tensor(last)
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(watched)
        columns = tf.unstack(_outputs(model, rest, watched, kernel), axis=1)
    return np.stack([tape.gradient(column, watched).numpy() for column in columns])


def _on_jax(model: keras.Model, rest: list[Any], last: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    import jax

    outputs, pull_back = jax.vjp(lambda value: _outputs(model, rest, value, kernel), keras.ops.convert_to_tensor(last))
    unit = np.eye(kernel.shape[1], dtype=np.float32)
    return np.stack([np.asarray(pull_back(np.broadcast_to(row, outputs.shape).copy())[0]) for row in unit])


def _on_torch(model: keras.Model, rest: list[Any], last: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    import torch

    watched = keras.ops.convert_to_tensor(last).detach().requires_grad_(True)
    with torch.enable_grad():
        outputs = _outputs(model, rest, watched, kernel)
        found = [
            torch.autograd.grad(outputs[:, column].sum(), watched, retain_graph=True)[0]
            for column in range(kernel.shape[1])
        ]
    return np.stack([keras.ops.convert_to_numpy(gradient) for gradient in found])
