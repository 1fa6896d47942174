"""The layers of a vision transformer that Keras does not have: tokens, attention with turned positions, patches.

Each takes one tensor and gives one, so that the graph is cut between any two blocks. They are saved with the model.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

_ROTARY_BASE = 100.0


def _initial() -> keras.initializers.Initializer:
    """Returns a fresh initializer: one that is used twice draws the same numbers twice."""
    return keras.initializers.TruncatedNormal(stddev=0.02)


@keras.saving.register_keras_serializable("chexkeras")
class Tokens(keras.layers.Layer):
    """Patches as a row of tokens, behind a class token and registers.

    Args:
        registers: How many registers.
        positions: Whether a learnt position is added to the class token and each patch.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.
    """

    def __init__(self, registers: int = 0, positions: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.registers, self.positions = int(registers), bool(positions)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the tokens and positions.

        Args:
            input_shape: (batch, rows, columns, width), all but the batch known.
        """
        _, rows, columns, width = input_shape
        self.patches, self.width = int(rows or 0) * int(columns or 0), width
        self.class_token = self.add_weight(shape=(1, 1, width), initializer=_initial(), name="class_token")
        if self.registers:
            shape = (1, self.registers, width)
            self.register_tokens = self.add_weight(shape=shape, initializer=_initial(), name="register_tokens")
        if self.positions:
            shape = (1, self.patches + 1, width)
            self.position = self.add_weight(shape=shape, initializer=_initial(), name="position")
        self.built = True

    def call(self, patches: Any) -> Any:
        """Returns the tokens.

        Args:
            patches: Tensor (batch, rows, columns, width).
        """
        tokens = ops.reshape(patches, (-1, self.patches, self.width))
        batch = ops.shape(tokens)[0]
        first = ops.tile(ops.cast(self.class_token, tokens.dtype), (batch, 1, 1))
        if self.positions:
            position = ops.cast(self.position, tokens.dtype)
            first, tokens = first + position[:, :1], tokens + position[:, 1:]
        parts = [first, tokens]
        if self.registers:
            parts.insert(1, ops.tile(ops.cast(self.register_tokens, tokens.dtype), (batch, 1, 1)))
        return ops.concatenate(parts, axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns (batch, 1 + registers + patches, width)."""
        batch, rows, columns, width = input_shape
        return batch, 1 + self.registers + int(rows or 0) * int(columns or 0), width

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer was made with."""
        return {**super().get_config(), "registers": self.registers, "positions": self.positions}


@keras.saving.register_keras_serializable("chexkeras")
class SelfAttention(keras.layers.Layer):
    """Attention of tokens to each other, with several heads.

    Args:
        heads: How many heads.
        grid: Patches a side, where positions turn queries and keys; 0 where they do not. Tokens before the patches are
            not turned.
        key_bias: Whether keys have a bias.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.
    """

    def __init__(self, heads: int, grid: int = 0, key_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.grid, self.key_bias = int(heads), int(grid), bool(key_bias)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the four dense layers.

        Args:
            input_shape: (batch, tokens, width), all but the batch known.
        """
        _, self.tokens, width = input_shape
        self.width = int(width or 0)
        for name in ("query", "key", "value", "output"):
            dense = keras.layers.Dense(
                self.width,
                use_bias=name != "key" or self.key_bias,
                kernel_initializer=_initial(),
                dtype=self.dtype_policy,
                name=name,
            )
            dense.build(input_shape)
            setattr(self, f"{name}_dense", dense)
        self.turns = rotations(self.grid, self.width // self.heads) if self.grid else None
        self.built = True

    def call(self, tokens: Any) -> Any:
        """Returns what each token has gathered from the others.

        Args:
            tokens: Tensor (batch, tokens, width).
        """
        shape = (-1, self.tokens, self.heads, self.width // self.heads)
        query, key, value = (
            ops.reshape(dense(tokens), shape) for dense in (self.query_dense, self.key_dense, self.value_dense)
        )
        if self.turns is not None:
            query, key = self._turned(query, self.turns), self._turned(key, self.turns)
        gathered = ops.dot_product_attention(query, key, value, scale=(self.width // self.heads) ** -0.5)
        return self.output_dense(ops.reshape(gathered, (-1, self.tokens, self.width)))

    def _turned(self, values: Any, turns: tuple[Any, Any]) -> Any:
        before = values.shape[1] - self.grid**2
        cosine, sine = (ops.cast(turn[None, :, None, :], values.dtype) for turn in turns)
        patches = values[:, before:]
        first, second = ops.split(patches, 2, axis=-1)
        turned = patches * cosine + ops.concatenate([-second, first], axis=-1) * sine
        return ops.concatenate([values[:, :before], turned], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the tokens, which stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer was made with."""
        return {**super().get_config(), "heads": self.heads, "grid": self.grid, "key_bias": self.key_bias}


def rotations(grid: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns by which angles each patch turns the numbers of its queries and keys.

    Centres of patches lie between -1 and 1 in both directions. Frequencies fall from 1 by a base of 100.

    Args:
        grid: Patches a side.
        size: Numbers of a head, a multiple of 4.

    Returns:
        Cosines and sines, float32 arrays (grid * grid, size).

    Source:
        Siméoni et al., arXiv 2508.10104, section 3.2; Su et al., arXiv 2104.09864.
    """
    centres = 2.0 * (np.arange(grid) + 0.5) / grid - 1.0
    places = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 2)
    frequencies = _ROTARY_BASE ** -np.arange(0.0, 1.0, 4.0 / size)
    angles = 2.0 * math.pi * places[:, :, None] * frequencies
    angles = np.tile(angles.reshape(len(places), -1), (1, 2))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


@keras.saving.register_keras_serializable("chexkeras")
class BranchScale(keras.layers.Layer):
    """Scales what a block adds to its tokens, number by number ("layer scale").

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Source:
        Touvron et al., ICCV 2021.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the factors.

        Args:
            input_shape: (batch, tokens, width).
        """
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")
        self.built = True

    def call(self, tokens: Any) -> Any:
        """Returns the scaled tokens.

        Args:
            tokens: Tensor (batch, tokens, width).
        """
        return tokens * ops.cast(self.factor, tokens.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the tokens, which stays."""
        return input_shape


@keras.saving.register_keras_serializable("chexkeras")
class PatchMap(keras.layers.Layer):
    """The tokens of patches as a feature map, which heads pool and heat maps are made of.

    Args:
        grid: Patches a side.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.
    """

    def __init__(self, grid: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = int(grid)

    def call(self, tokens: Any) -> Any:
        """Returns the feature map (batch, grid, grid, width).

        Args:
            tokens: Tensor (batch, tokens, width), those of patches last.
        """
        patches = tokens[:, tokens.shape[1] - self.grid**2 :]
        return ops.reshape(patches, (-1, self.grid, self.grid, tokens.shape[-1]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns (batch, grid, grid, width)."""
        return input_shape[0], self.grid, self.grid, input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer was made with."""
        return {**super().get_config(), "grid": self.grid}
