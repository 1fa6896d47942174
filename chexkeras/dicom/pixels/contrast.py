"""How much of the grey scale an image uses: grey levels in use, and the shares that are all black and all white."""

import dataclasses

import numpy as np

FEWEST_GREY_LEVELS = 64
"""An image that uses fewer has lost what it stored: of 2,046 radiographs of NIH ChestX-ray14 none uses fewer than 102
(127 where it has 320 pixels a side or more). 12 bits shown as if they were 16 leave 14 to 16."""

MOST_CLIPPED = 0.9
"""An image of which more is black or white shows next to nothing; the same radiographs reach 0.45, all of it black."""

# A marker burned in, or what a lossy codec leaves around one, has grey levels of its own.
_COUNTED_SHARE = 0.99
# A level stands for that many pixels at least, so that a thumbnail is not refused for its size.
_PIXELS_A_LEVEL = 16
# Pixels counted at a time: numpy makes 64-bit numbers of what it counts, 400 MB for a large image.
_AT_A_TIME = 2**20


@dataclasses.dataclass(frozen=True)
class Contrast:
    """How much of the grey scale an image uses.

    Attributes:
        grey_levels: Distinct grey values in use: the fewest that make up 99 % of the pixels that are neither black nor
            white; 0 to 254.
        black: Share of the pixels that are all black (0), 0 to 1.
        white: Share of the pixels that are all white (255), 0 to 1.
        problem: Why the contrast is too low to read the image, with the figure ("14 grey levels in use"); empty for
            an image in order.
    """

    grey_levels: int
    black: float
    white: float
    problem: str = ""


def contrast(pixels: np.ndarray) -> Contrast:
    """Returns how much of the grey scale an image uses.

    Args:
        pixels: Grey values, uint8, any shape; 0 is black, 255 is white. As decoded: resizing invents grey levels.

    Example:
        >>> contrast(np.tile(np.arange(256, dtype=np.uint8), 16)).problem
        ''
        >>> contrast(np.tile(np.arange(256, dtype=np.uint8), 16) // 17).problem
        '14 grey levels in use'
    """
    return contrast_of_counts(value_counts(pixels, 256))


def contrast_of_counts(counts: np.ndarray) -> Contrast:
    """Returns how much of the grey scale an image uses, from how often each grey value occurs.

    Args:
        counts: (256,), the number of pixels of each grey value; padding left out.
    """
    pixels = int(counts.sum())
    if not pixels:
        return Contrast(0, 0.0, 0.0, "no pixels")
    inner = np.sort(counts[1:255])[::-1].cumsum()
    levels = int(np.searchsorted(inner, _COUNTED_SHARE * inner[-1])) + 1 if inner[-1] else 0
    black, white = float(counts[0] / pixels), float(counts[255] / pixels)
    problem = ""
    if black + white > MOST_CLIPPED:
        problem = f"{black:.0%} of the pixels black and {white:.0%} white"
    elif levels < min(FEWEST_GREY_LEVELS, pixels // _PIXELS_A_LEVEL):
        problem = f"{levels} grey levels in use"
    return Contrast(levels, black, white, problem)


def value_counts(values: np.ndarray, size: int) -> np.ndarray:
    """Returns how often each whole number below `size` occurs.

    Args:
        values: Whole numbers from 0 to `size` - 1, any shape.
        size: How many numbers there are.

    Returns:
        (size,), int64.
    """
    flat = values.reshape(-1)
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, flat.size, _AT_A_TIME):
        counts += np.bincount(flat[start : start + _AT_A_TIME], minlength=size)
    return counts
