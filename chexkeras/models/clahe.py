"""CLAHE as a layer: contrast-limited adaptive histogram equalisation of every film, saved with the model.

It is no augmentation: what a model was trained on is what it must be given when it is validated, tested and used.
As the first layer of the graph it cannot be forgotten, and a PNG and a DICOM object meet the same one.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from chexkeras.checks import positive_int

_LEVELS = 256


def lightness_tables() -> tuple[np.ndarray, np.ndarray]:
    """Returns the tables from gray to 8-bit lightness L* and back, int32 arrays (256,).

    A gray pixel in Lab has a = b = 0, so that equalising L alone, as image libraries do with colour films, is a matter
    of two tables.

    Source:
        IEC 61966-2-1 (sRGB); CIE 15 (L*), scaled to 255 / 100.
    """
    gray = np.arange(_LEVELS) / 255.0
    linear = np.where(gray <= 0.04045, gray / 12.92, ((gray + 0.055) / 1.055) ** 2.4)
    threshold, slope = (6 / 29) ** 3, (29 / 3) ** 3
    lightness = np.where(linear <= threshold, slope * linear, 116.0 * np.cbrt(linear) - 16.0)
    level = np.arange(_LEVELS) * 100.0 / 255.0
    luminance = np.where(level <= 8.0, level / slope, ((level + 16.0) / 116.0) ** 3)
    encoded = np.where(luminance <= 0.0031308, 12.92 * luminance, 1.055 * luminance ** (1 / 2.4) - 0.055)
    return np.rint(lightness * 2.55).astype(np.int32), np.rint(encoded * 255.0).astype(np.int32)


@keras.saving.register_keras_serializable("chexkeras")
class Clahe(keras.layers.Layer):
    """Contrast-limited adaptive histogram equalisation.

    The film is cut into tiles; the histogram of each is clipped, what was cut off is spread over all levels, and its
    cumulated form maps the gray values. Between the tiles' centres the maps are interpolated. Rounding and the
    spreading of the remainder follow OpenCV's ``createCLAHE``, so that the result is the same to the gray level.

    Args:
        clip_limit: Largest count of a level, as a multiple of the mean count; at least 1.
        tiles: Tiles a side.
        lightness: Whether to equalise CIE lightness, as is done with colour films in Lab, instead of gray values.
        **kwargs: As for any layer.

    Source:
        Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994.
    """

    def __init__(self, clip_limit: float = 2.0, tiles: int = 8, lightness: bool = True, **kwargs: Any) -> None:
        # Half precision cannot tell 256 levels apart after a multiplication.
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        if isinstance(clip_limit, bool) or not isinstance(clip_limit, (int, float)) or not 1.0 <= clip_limit <= _LEVELS:
            raise ValueError(f"clip_limit={clip_limit!r} must be a number from 1 (weakest) to {_LEVELS}; usual is 2.")
        self.clip_limit = float(clip_limit)
        self.tiles = positive_int(tiles, "tiles")
        self.lightness = lightness

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Works out which tiles each pixel lies between.

        Args:
            input_shape: (batch, height, width, 1), height and width known.

        Raises:
            ValueError: If not.
        """
        height, width, channels = input_shape[1:]
        if height is None or width is None or channels != 1 or min(height, width) < self.tiles:
            raise ValueError(
                f"Clahe got films of shape {tuple(input_shape[1:])}; it needs (height, width, 1), both known and at "
                f"least {self.tiles} pixels."
            )
        tall, wide = -(-height // self.tiles), -(-width // self.tiles)
        self._margins = (tall * self.tiles - height, wide * self.tiles - width)
        rows, columns = np.arange(height + self._margins[0]), np.arange(width + self._margins[1])
        self._tile_of = (rows // tall)[:, None] * self.tiles + columns // wide
        self._area = tall * wide
        upper, lower, down = _neighbours(height, tall, self.tiles)
        left, right, across = _neighbours(width, wide, self.tiles)
        self._corners = [
            (row[:, None] * self.tiles + column, vertical[:, None] * horizontal)
            for row, vertical in ((upper, 1 - down), (lower, down))
            for column, horizontal in ((left, 1 - across), (right, across))
        ]
        self.built = True

    def call(self, pixels: Any) -> Any:
        """Equalises films.

        Args:
            pixels: float32 tensor (batch, height, width, 1), 0-255; rounded to whole values.

        Returns:
            float32 tensor of the same shape, whole values 0-255.
        """
        to_lightness, to_gray = lightness_tables()
        values = ops.cast(ops.round(ops.clip(pixels[..., 0], 0.0, 255.0)), "int32")
        if self.lightness:
            values = ops.take(to_lightness, values)
        maps = self._maps(values)
        # One flat table, so that a look-up is a single gather: film, then tile, then level.
        films = ops.arange(ops.shape(values)[0], dtype="int32")[:, None, None] * self.tiles**2
        mixed = sum(
            ops.take(maps, (films + tile.astype(np.int32)) * _LEVELS + values) * weight.astype(np.float32)
            for tile, weight in self._corners
        )
        levels = ops.cast(ops.clip(ops.round(mixed), 0.0, 255.0), "int32")
        if self.lightness:
            levels = ops.take(to_gray, levels)
        return ops.cast(levels, "float32")[..., None]

    def _maps(self, values: Any) -> Any:
        """Returns the map of every tile of every film, a flat float32 tensor (films * tiles * tiles * 256,)."""
        padded = ops.pad(values, ((0, 0), (0, self._margins[0]), (0, self._margins[1])), mode="reflect")
        count = ops.shape(values)[0] * self.tiles**2
        films = ops.arange(ops.shape(values)[0], dtype="int32")[:, None, None] * self.tiles**2
        level_of_tile = ops.reshape((films + self._tile_of.astype(np.int32)) * _LEVELS + padded, (-1,))
        counts = ops.segment_sum(ops.ones_like(level_of_tile), level_of_tile, count * _LEVELS)
        counts = ops.reshape(counts, (-1, _LEVELS))
        limit = max(int(self.clip_limit * self._area / _LEVELS), 1)
        clipped = ops.minimum(counts, limit)
        excess = ops.sum(counts - clipped, axis=-1, keepdims=True)
        rest = excess % _LEVELS
        # The rest is dealt out at equal distances, beginning with black.
        step = ops.maximum(_LEVELS // ops.maximum(rest, 1), 1)
        levels = np.arange(_LEVELS, dtype=np.int32)
        dealt = ops.cast((levels % step == 0) & (levels // step < rest), "int32")
        cumulated = ops.cumsum(clipped + excess // _LEVELS + dealt, axis=-1)
        maps = ops.round(ops.cast(cumulated, "float32") * np.float32((_LEVELS - 1) / self._area))
        return ops.reshape(ops.clip(maps, 0.0, 255.0), (-1,))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the films, which stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer was made with."""
        own = {"clip_limit": self.clip_limit, "tiles": self.tiles, "lightness": self.lightness}
        return {**super().get_config(), **own}


def _neighbours(length: int, tile: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns for each position the tile before it, the tile after it, and the weight of the latter."""
    place = np.arange(length, dtype=np.float32) * np.float32(1.0 / tile) - np.float32(0.5)
    before = np.floor(place).astype(np.int64)
    return np.maximum(before, 0), np.minimum(before + 1, tiles - 1), place - before.astype(np.float32)
