"""CLAHE as a layer: contrast-limited adaptive histogram equalisation of every image, saved with the model.

It is no augmentation: what a model was trained on is what it must be given when it is validated, tested and used.
As the first layer of the graph it cannot be forgotten, and a PNG and a DICOM object meet the same one.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from chexkeras.checks import positive_int
from chexkeras.models.classifier import check_clahe

_LEVELS = 256


def lightness_tables() -> tuple[np.ndarray, np.ndarray]:
    """Returns the tables from gray to 8-bit lightness L* and back, int64 arrays (256,).

    A gray pixel has a = b = 0 in Lab, so that equalising L alone, as is done with colour images, takes no more than two
    tables. The first is rounded as OpenCV's 8-bit conversion does (15 fractional bits, 296 for 295.8): where two grays
    share one lightness decides the histogram.

    Returns:
        Lightness by gray, and gray by lightness, both 0-255.

    Source:
        IEC 61966-2-1 (sRGB); CIE 15 (L*), 0-100 there, 0-255 here; OpenCV, modules/imgproc/src/color_lab.cpp.
    """
    gray = np.arange(_LEVELS) / 255.0
    linear = np.where(gray <= 0.04045, gray / 12.92, ((gray + 0.055) / 1.055) ** 2.4)
    coarse = np.rint(linear * 255 * 8) / (255 * 8)
    root = np.rint(np.where(coarse < 0.008856, 7.787 * coarse + 16 / 116, np.cbrt(coarse)) * 2**15).astype(np.int64)
    offset = (16 * 255 * 2**15 + 50) // 100
    lightness = (296 * root - offset + 2**14) >> 15
    level = np.arange(_LEVELS) * 100.0 / 255.0
    luminance = np.where(level <= 8.0, level / 903.3, ((level + 16.0) / 116.0) ** 3)
    encoded = np.where(luminance <= 0.0031308, 12.92 * luminance, 1.055 * luminance ** (1 / 2.4) - 0.055)
    return lightness, np.rint(encoded * 255.0).astype(np.int64)


@keras.saving.register_keras_serializable("chexkeras")
class Clahe(keras.layers.Layer):
    """Contrast-limited adaptive histogram equalisation.

    The image is cut into tiles; the histogram of each is clipped, what was cut off is spread over all levels, and its
    cumulated form maps the gray values. Between the tiles' centres the maps are interpolated. Limit, remainder and
    borders are those of OpenCV's ``createCLAHE``. All arithmetic is on whole numbers, so that an image gives the same
    result in any batch and on any device; where OpenCV's own arithmetic is inexact, halves can differ by one level.

    Args:
        clip_limit: Largest count of a level, as a multiple of the mean count; at least 1.
        tiles: Tiles a side.
        lightness: Whether to equalise CIE lightness, as is done with colour images in Lab, instead of gray values.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`; dtype is float32 and nothing is trained, whatever
            they say.

    Source:
        Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994.
    """

    def __init__(self, clip_limit: float = 2.0, tiles: int = 8, lightness: bool = True, **kwargs: Any) -> None:
        # Half precision cannot tell 256 levels apart after a multiplication.
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        check_clahe(clip_limit, "clip_limit")
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
                f"Clahe got images of shape {tuple(input_shape[1:])}; it needs (height, width, 1), both known and at "
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
            (row[:, None] * self.tiles + column, (vertical[:, None] * horizontal).astype(np.float32))
            for row, vertical in ((upper, 2 * tall - down), (lower, down))
            for column, horizontal in ((left, 2 * wide - across), (right, across))
        ]
        self.built = True

    def call(self, pixels: Any) -> Any:
        """Equalises images.

        Args:
            pixels: float32 tensor (batch, height, width, 1), 0-255; rounded to whole values.

        Returns:
            float32 tensor of the same shape, whole values 0-255.
        """
        to_lightness, to_gray = lightness_tables()
        values = ops.cast(ops.round(ops.clip(pixels[..., 0], 0.0, 255.0)), "int64")
        if self.lightness:
            values = ops.take(to_lightness, values)
        # Tiles are counted through all images, so that one flat table holds all maps and a look-up is a single gather.
        first_tile = ops.arange(ops.shape(values)[0], dtype="int64")[:, None, None] * self.tiles**2
        maps = self._maps(values, first_tile)
        mixed = sum(ops.take(maps, (first_tile + tile) * _LEVELS + values) * weight for tile, weight in self._corners)
        levels = ops.cast(_divided(mixed, 4 * self._area), "int64")
        if self.lightness:
            levels = ops.take(to_gray, levels)
        return ops.cast(levels, "float32")[..., None]

    def _maps(self, values: Any, first_tile: Any) -> Any:
        """Returns the map of every tile of every image, a flat float32 tensor (images * tiles * tiles * 256,)."""
        padded = ops.pad(values, ((0, 0), (0, self._margins[0]), (0, self._margins[1])), mode="reflect")
        places = ops.reshape((first_tile + self._tile_of) * _LEVELS + padded, (-1,))
        levels = ops.shape(values)[0] * self.tiles**2 * _LEVELS
        counts = ops.reshape(ops.segment_sum(ops.ones_like(places, "float32"), places, levels), (-1, _LEVELS))
        limit = max(int(self.clip_limit * self._area / _LEVELS), 1)
        clipped = ops.minimum(counts, limit)
        excess = ops.sum(counts - clipped, axis=-1, keepdims=True)
        everywhere = ops.floor(excess / _LEVELS)
        # The rest is dealt out at equal distances, beginning with black.
        rest = excess - _LEVELS * everywhere
        step = ops.maximum(ops.floor((_LEVELS + 0.5) / ops.maximum(rest, 1.0)), 1.0)
        level = np.arange(_LEVELS, dtype=np.float32)
        turn = ops.floor((level + 0.5) / step)
        dealt = ops.cast((turn * step == level) & (turn < rest), "float32")
        cumulated = ops.cumsum(clipped + everywhere + dealt, axis=-1)
        return ops.reshape(_divided((_LEVELS - 1.0) * cumulated, self._area), (-1,))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the images, which stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer was made with."""
        own = {"clip_limit": self.clip_limit, "tiles": self.tiles, "lightness": self.lightness}
        return {**super().get_config(), **own}


def _neighbours(length: int, tile: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns for each position the tile before it, the tile after it, and the latter's weight in parts of 2 tile."""
    place = 2 * np.arange(length) - tile
    before = place // (2 * tile)
    return np.maximum(before, 0), np.minimum(before + 1, tiles - 1), place - before * 2 * tile


def _divided(whole: Any, divisor: int) -> Any:
    """Returns whole numbers divided and rounded, halves to even as OpenCV does, as floats that are whole."""
    # The 0.25 keeps a quotient off the whole numbers: a device may multiply by an inexact reciprocal instead.
    rounded = ops.floor((whole + divisor / 2 + 0.25) / divisor)
    is_half = rounded * divisor - whole == divisor / 2
    is_odd = rounded - 2.0 * ops.floor(rounded / 2.0) == 1.0
    return rounded - ops.cast(is_half & is_odd, "float32")
