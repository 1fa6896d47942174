"""Arrays as grey values: what a file with the same values would give, its black and white stated and never guessed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

_COLOURS = (3, 4)
_WHITE_8, _WHITE_16 = 255, 65535
_STATE = (
    "state what is black and what is white: value_range=(0, 1) or (0, 255) for scaled values, (0, 65535) for all of 16 "
    "bits, (0, 4095) for the 12 bits of a detector"
)


@dataclass(frozen=True, eq=False)
class GreyArray:
    """An image that was given as an array.

    Attributes:
        pixels: (rows, columns), uint8; 0 is black, 255 is white.
        narrow_bits: How many bits its values take where all of 16 bits were stated and fewer are used; else 0. See
            `image_file.narrow_bits`.
    """

    pixels: np.ndarray = field(repr=False)
    narrow_bits: int = 0


def split_images(array: np.ndarray, name: str) -> list[np.ndarray]:
    """Returns the images of an array, each (rows, columns).

    Args:
        array: (rows, columns), (rows, columns, 1), (n, rows, columns) or (n, rows, columns, 1), numbers of any kind.
        name: What the array is called, for the message.

    Raises:
        ValueError: If it has another shape, or its values are of several channels.
    """
    shape = array.shape
    if array.ndim in (3, 4) and shape[-1] in _COLOURS:
        raise ValueError(
            f"{name} has {shape[-1]} channels, shape {shape}; a radiograph is grey, and how colours become grey is not "
            "guessed. Give one channel, such as array[..., 0] where they are equal."
        )
    if 0 in shape[1:] or array.ndim not in (2, 3, 4) or (array.ndim == 4 and shape[-1] != 1):
        raise ValueError(
            f"{name} has the shape {shape}; (rows, columns), (rows, columns, 1), (n, rows, columns) or "
            "(n, rows, columns, 1) was expected."
        )
    if array.ndim == 2:
        return [array]
    if array.ndim == 3 and shape[-1] == 1:
        return [array[..., 0]]
    return list(array[..., 0] if array.ndim == 4 else array)


def checked_range(value_range: Any) -> tuple[float, float] | None:
    """Returns what was stated to be black and white, as two numbers; None where nothing was.

    Args:
        value_range: What the caller gave.

    Raises:
        ValueError: If it is not two finite numbers, the smaller one first.
    """
    if value_range is None:
        return None
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(
            f"value_range={value_range!r} must be two numbers, that of black and then the larger one of white, such as "
            "(0, 1); values whose white is the smaller one are turned over first: white + black - array."
        )
    return low, high


def grey_array(array: np.ndarray, value_range: tuple[float, float] | None, name: str) -> GreyArray:
    """Returns one image's values as grey values, as a PNG file with them gives.

    Args:
        array: (rows, columns), whole or floating-point numbers.
        value_range: The values of black and white, from `checked_range`; None is 0 and 255 for uint8, and refused for
            all others.
        name: What the array is called, for the message.

    Raises:
        TypeError: If the values are no real numbers.
        ValueError: If no range was stated where the type does not tell it, or a value lies outside or is NaN.
    """
    if array.dtype.kind not in "uif":
        raise TypeError(f"{name} holds {array.dtype} values; real numbers were expected, such as uint8 from 0 to 255.")
    if value_range is None:
        if array.dtype != np.uint8:
            raise ValueError(f"{name} holds {array.dtype} values, which do not tell their range; {_STATE}.")
        return GreyArray(np.ascontiguousarray(array))
    low, high = value_range
    least, most = float(array.min()), float(array.max())
    # NaN is in no range.
    if not (low <= least and most <= high):
        found = "NaN" if np.isnan(least) else f"{least:g} to {most:g}"
        raise ValueError(f"{name} holds {found}, and value_range=({low:g}, {high:g}) was stated; {_STATE}.")
    if array.dtype == np.uint8 and value_range == (0, _WHITE_8):
        return GreyArray(np.ascontiguousarray(array))
    grey = np.rint((array.astype(np.float64) - low) * _WHITE_8 / (high - low)).astype(np.uint8)
    bits = int(most).bit_length() if array.dtype.kind in "ui" and value_range == (0, _WHITE_16) else 16
    return GreyArray(grey, bits if bits < 16 else 0)
