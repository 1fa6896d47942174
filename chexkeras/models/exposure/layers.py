"""The layers behind `entries`: first in the graph and saved with the model, so that no image can reach it without them.

They are no augmentation: what a model was trained on is what it must be given when it is validated, tested and used.
A gray value multiplied and shifted alike in a whole image, as another exposure or window does, gives the same result.
None of it is trained, and all of it is computed image by image: a batch changes nothing.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from chexkeras.models.exposure.entries import EXPOSURES, check_smoothing

MEAN, SPREAD = 115.0, 58.0
"""Gray values that `Standardise` aims at: with ImageNet's own mean and deviation after it, about 0 and 1."""
SMALLEST_SPREAD = 2.0
"""Standard deviation, gray values, below which an image is not spread out further: there is nothing but rounding."""
SMALLEST_RANGE = 8.0
"""The same for the distance of two percentiles, or of the darkest and the brightest pixel."""
_BINS = 1024
_PERCENTILES = (0.02, 0.98)
# Of the image's own range: what lies closer to its black or white is border, marker or saturated.
_EDGE = 0.01
# Where less than this is left, it was the image that was cut off, not its border.
_SMALLEST_INNER = 0.25


class ExposureLayer(keras.layers.Layer):
    """A layer of images (batch, height, width, 1), each changed by what is measured on itself.

    Args:
        inner: Whether pixels at the image's own black and white are left out of what is measured.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`; dtype is float32 and nothing is trained, whatever
            they say.
    """

    def __init__(self, inner: bool = False, **kwargs: Any) -> None:
        # Half precision cannot sum the pixels of an image.
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        if not isinstance(inner, bool):
            raise ValueError(f"inner={inner!r} must be true or false.")
        self.inner = inner

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Checks the images' shape.

        Args:
            input_shape: (batch, height, width, 1), height and width known.

        Raises:
            ValueError: If it is another.
        """
        if len(input_shape) != 4 or None in input_shape[1:] or input_shape[-1] != 1:
            raise ValueError(
                f"{type(self).__name__} got images of shape {tuple(input_shape[1:])}; it needs (height, width, 1), "
                "both known."
            )
        self.built = True

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the images, which stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer was made with."""
        return {**super().get_config(), "inner": self.inner}

    def _flat(self, pixels: Any) -> tuple[Any, Any]:
        """Returns gray values (batch, pixels) and which of them are measured, 1 or 0."""
        values = ops.reshape(ops.cast(pixels, "float32"), (-1, math.prod(pixels.shape[1:])))
        everything = ops.ones_like(values)
        if not self.inner:
            return values, everything
        black = ops.min(values, axis=1, keepdims=True)
        white = ops.max(values, axis=1, keepdims=True)
        margin = _EDGE * (white - black)
        inside = ops.cast((values > black + margin) & (values < white - margin), "float32")
        enough = ops.mean(inside, axis=1, keepdims=True) >= _SMALLEST_INNER
        return values, ops.where(enough, inside, everything)


@keras.saving.register_keras_serializable("chexkeras")
class Standardise(ExposureLayer):
    """Brings every image to the mean `MEAN` and the standard deviation `SPREAD`, gray values.

    An image whose own standard deviation is below `SMALLEST_SPREAD` keeps part of its flatness: an even one becomes an
    even one. The result is not cut off at 0 and 255.
    """

    def call(self, pixels: Any) -> Any:
        """Standardises images.

        Args:
            pixels: float32 tensor (batch, height, width, 1), 0-255.

        Returns:
            float32 tensor of the same shape.
        """
        values, measured = self._flat(pixels)
        count = ops.sum(measured, axis=1, keepdims=True)
        mean = ops.sum(measured * values, axis=1, keepdims=True) / count
        centred = values - mean
        spread = ops.sqrt(ops.sum(measured * centred * centred, axis=1, keepdims=True) / count)
        result = MEAN + SPREAD * centred / ops.maximum(spread, SMALLEST_SPREAD)
        return ops.reshape(result, ops.shape(pixels))


@keras.saving.register_keras_serializable("chexkeras")
class Stretch(ExposureLayer):
    """Brings the 2nd percentile of every image's gray values to 0 and the 98th to 255; what lies beyond is cut off."""

    def call(self, pixels: Any) -> Any:
        """Stretches images.

        Args:
            pixels: float32 tensor (batch, height, width, 1), 0-255.

        Returns:
            float32 tensor of the same shape, 0-255.
        """
        values, measured = self._flat(pixels)
        # What is not measured goes behind everything else.
        last = ops.max(values, axis=1, keepdims=True) + 1.0
        ordered = ops.sort(ops.where(measured > 0, values, last), axis=1)
        count = ops.sum(measured, axis=1, keepdims=True)
        low, high = (_at(ordered, share * (count - 1.0)) for share in _PERCENTILES)
        result = 255.0 * (values - low) / ops.maximum(high - low, SMALLEST_RANGE)
        return ops.reshape(ops.clip(result, 0.0, 255.0), ops.shape(pixels))


@keras.saving.register_keras_serializable("chexkeras")
class Equalise(ExposureLayer):
    """Replaces every gray value by the share of the image's pixels that are darker, times 255; equal ones share a rank.

    Any change of the gray scale that keeps its order, such as another gamma, leaves the result as it is but for values
    that it makes equal. The image's own range is cut into 1,024 steps for counting. An image whose range is below
    `SMALLEST_RANGE` keeps part of its flatness: an even one becomes an even one.
    """

    def call(self, pixels: Any) -> Any:
        """Ranks the gray values of images.

        Args:
            pixels: float32 tensor (batch, height, width, 1), 0-255.

        Returns:
            float32 tensor of the same shape, 0-255.
        """
        values, measured = self._flat(pixels)
        images = ops.shape(values)[0]
        black = ops.min(values, axis=1, keepdims=True)
        extent = ops.max(values, axis=1, keepdims=True) - black
        step = ops.maximum(extent, 1e-3) / (_BINS - 1.0)
        places = ops.cast(ops.round(ops.clip((values - black) / step, 0.0, _BINS - 1.0)), "int64")
        # Steps are counted through all images, so that one flat table holds all of them.
        first = ops.arange(images, dtype="int64")[:, None] * _BINS
        counts = ops.segment_sum(
            ops.reshape(measured, (-1,)), ops.reshape(first + places, (-1,)), num_segments=images * _BINS
        )
        counts = ops.reshape(counts, (-1, _BINS))
        shares = (ops.cumsum(counts, axis=1) - counts / 2.0) / ops.sum(counts, axis=1, keepdims=True)
        ranks = ops.take_along_axis(shares, places, axis=1)
        trusted = ops.minimum(extent / SMALLEST_RANGE, 1.0)
        return ops.reshape(255.0 * (0.5 + trusted * (ranks - 0.5)), ops.shape(pixels))


@keras.saving.register_keras_serializable("chexkeras")
class Smooth(keras.layers.Layer):
    """A low-pass: a Gaussian whose kernel sums to 1, the image continued by reflection.

    What noise, compression, blur and another resolution change most is what a low-pass takes away from every image.

    Args:
        sigma_px: Standard deviation, pixels of the model's input, above 0 to 10.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`; dtype is float32 and nothing is trained, whatever
            they say.

    Raises:
        ValueError: If `sigma_px` is out of range.
    """

    def __init__(self, sigma_px: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        check_smoothing(sigma_px, "sigma_px")
        self.sigma_px = float(sigma_px)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Works out the kernel.

        Args:
            input_shape: (batch, height, width, 1), height and width known and larger than three standard deviations.

        Raises:
            ValueError: If it is another.
        """
        self._radius = max(1, math.ceil(3.0 * self.sigma_px))
        sides = [side or 0 for side in input_shape[1:3]]
        if len(input_shape) != 4 or input_shape[-1] != 1 or min(sides) <= self._radius:
            raise ValueError(
                f"Smooth got images of shape {tuple(input_shape[1:])}; it needs (height, width, 1), both known and "
                f"above {self._radius} pixels."
            )
        offsets = np.arange(-self._radius, self._radius + 1)
        weights = np.exp(-0.5 * (offsets / self.sigma_px) ** 2)
        self._kernel = (weights / weights.sum()).astype(np.float32)
        self.built = True

    def call(self, pixels: Any) -> Any:
        """Smooths images.

        Args:
            pixels: float32 tensor (batch, height, width, 1).

        Returns:
            float32 tensor of the same shape.
        """
        edge = (self._radius, self._radius)
        rows = ops.pad(pixels, ((0, 0), edge, (0, 0), (0, 0)), mode="reflect")
        kernel = self._kernel[:, None, None, None]
        rows = ops.conv(rows, kernel, padding="valid", data_format="channels_last")
        columns = ops.pad(rows, ((0, 0), (0, 0), edge, (0, 0)), mode="reflect")
        kernel = self._kernel[None, :, None, None]
        return ops.conv(columns, kernel, padding="valid", data_format="channels_last")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the images, which stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer was made with."""
        return {**super().get_config(), "sigma_px": self.sigma_px}


def _at(ordered: Any, place: Any) -> Any:
    """Returns the values at places between two of an ordered row, linear between them; float32 (batch, 1)."""
    below = ops.floor(place)
    index = ops.cast(below, "int32")
    lower = ops.take_along_axis(ordered, index, axis=1)
    upper = ops.take_along_axis(ordered, ops.minimum(index + 1, ordered.shape[1] - 1), axis=1)
    # Between the last measured one and what was put behind it the share is 0.
    return lower + (place - below) * (upper - lower)


def attach(pixels: Any, exposure: str | None, smoothing: float | None) -> Any:
    """Adds the low-pass and the gray scale to a graph, those that are wanted.

    The low-pass comes first: noise widens an image's gray values, and would be measured with them.

    Args:
        pixels: Keras tensor (batch, height, width, 1), 0-255.
        exposure: A name in `entries.EXPOSURES`, or None.
        smoothing: Standard deviation of the low-pass, pixels of the model's input; None for none.

    Returns:
        Keras tensor of the same shape.
    """
    if smoothing is not None:
        pixels = Smooth(smoothing, name="preprocess_smoothing")(pixels)
    if exposure is not None:
        entry = EXPOSURES.find(exposure, "exposure")
        layer = {"Standardise": Standardise, "Stretch": Stretch, "Equalise": Equalise}[entry.layer]
        pixels = layer(entry.inner, name="preprocess_exposure")(pixels)
    return pixels
