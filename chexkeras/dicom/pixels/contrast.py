"""How much of the grey scale an image uses: grey levels in use, and the shares that are all black and all white."""

import dataclasses

import numpy as np

FEWEST_GREY_LEVELS = 64
"""An image that uses fewer has lost what it stored: of 2,046 radiographs of NIH ChestX-ray14 none uses fewer than 102
(127 where it has 320 pixels a side or more). 12 bits shown as if they were 16 leave 14 to 16."""

MOST_CLIPPED = 0.8
"""An image of which more is black or white shows too little; the same radiographs reach 0.45, 0.003 of it white."""

MOST_AT_EACH_END = 0.25
"""A surround is black or white; where more than this is black and more than this white, a window has cut off both."""

# A marker burned in, or what a lossy codec leaves around one, has grey levels of its own.
_COUNTED_SHARE = 0.99
# Fewer pixels do not tell much of an image's contrast.
_FEWEST_PIXELS = 64 * 64
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
            an image in order and for one of fewer than 4,096 pixels.
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
    levels = used_levels(counts[1:255])
    black, white = float(counts[0] / pixels), float(counts[255] / pixels)
    return Contrast(levels, black, white, _problem(levels, black, white) if pixels >= _FEWEST_PIXELS else "")


def _problem(levels: int, black: float, white: float) -> str:
    if black + white > MOST_CLIPPED or min(black, white) > MOST_AT_EACH_END:
        return f"{black:.0%} of the pixels black and {white:.0%} white"
    return f"{levels} grey level{'s' * (levels != 1)} in use" if levels < FEWEST_GREY_LEVELS else ""


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


def used_levels(counts: np.ndarray) -> int:
    """Returns how few distinct values make up 99 % of all.

    Args:
        counts: How often each value occurs.

    Example:
        >>> used_levels(np.array([1, 60, 0, 39])), used_levels(np.zeros(4))
        (2, 0)
    """
    reached = np.sort(counts)[::-1].cumsum()
    return int(np.searchsorted(reached, _COUNTED_SHARE * reached[-1])) + 1 if reached[-1] else 0


def percentiles(values: np.ndarray, counts: np.ndarray, shares: tuple[float, float]) -> tuple[float, float]:
    """Returns two percentiles of values that occur several times.

    Args:
        values: Distinct values, in any order.
        counts: How often each occurs; not all 0.
        shares: The two percentages, 0 to 100.

    Returns:
        For each, the smallest value that at least this share of all values does not exceed.

    Source:
        Hyndman and Fan, The American Statistician 1996; 50: 361, definition 1.

    Example:
        >>> percentiles(np.array([7.0, 3.0, 5.0]), np.array([1, 98, 1]), (0.5, 99.0))
        (3.0, 5.0)
    """
    order = np.argsort(values, kind="stable")
    order = order[counts[order] > 0]
    reached = np.cumsum(counts[order])
    places = (np.searchsorted(reached, reached[-1] * share / 100.0) for share in shares)
    low, high = (float(values[order][place]) for place in places)
    return low, high
