"""Padding: stored values that fill up an image and take no part in it."""

import numpy as np

from chexkeras.dicom.header import Header

# Fewer pixels do not tell an image's own values from padding.
_FEWEST_PIXELS = 4096
# Real padding stands out of the values around it by far more; values of the image itself, by less.
_STANDS_OUT = 8.0
# Part of the image's range that counts as around a value.
_AROUND = 1 / 64
# At the end of an image's range, so many distinct values are no filling, with what a lossy codec makes of it.
_MANY_VALUES = 16


def padding_mask(header: Header, lowest: int, counts: np.ndarray, warnings: list[str]) -> np.ndarray:
    """Returns which stored values are padding and take no part in the chain; they are shown black.

    A padding value in the midst of the image's own values, or a range that cuts through them, as often as these, is a
    mistake that would make part of the image black: nothing is padding then, with the code "padding_invalid".

    Args:
        header: The header.
        lowest: The lowest stored value that can occur; below 0 for signed ones.
        counts: How often each stored value occurs, the lowest first.
        warnings: Codes are appended here.

    Returns:
        One bool for each possible stored value, the lowest first.

    Source:
        PS3.3 C.7.5.1.1.2 (Pixel Padding Value and Range Limit, in stored values, both included).
    """
    names = ("PixelPaddingValue", "PixelPaddingRangeLimit")
    ends = [header.integer(name) for name in names]
    nothing = np.zeros(counts.size, dtype=bool)
    if any(
        end is None and (header.text(name) or name in header.unreadable) for name, end in zip(names, ends, strict=True)
    ):
        warnings.append("padding_invalid")
    if ends[0] is None:
        return nothing
    known = [_signed_as_stored(end, lowest) - lowest for end in ends if end is not None]
    start, stop = max(0, min(known)), min(counts.size, max(known) + 1)
    if start >= stop:
        return nothing
    if _cuts_the_image(counts, start, stop):
        warnings.append("padding_invalid")
        return nothing
    nothing[start:stop] = True
    return nothing


def _signed_as_stored(value: int, lowest: int) -> int:
    """Returns a value with the sign of the stored ones; 16 bits hold either, and the other is a common slip."""
    if lowest < 0 and value > 32767:
        return value - 65536
    return value + 65536 if lowest >= 0 > value else value


def _cuts_the_image(counts: np.ndarray, start: int, stop: int) -> bool:
    """Returns whether padding from `start` up to `stop` takes values away that belong to the image."""
    outside = counts.copy()
    outside[start:stop] = 0
    used = np.flatnonzero(outside)
    if outside.sum() < _FEWEST_PIXELS:
        return False
    width = max(1, int((used[-1] - used[0]) * _AROUND))
    # Pixels for each value that occurs: an image of 12 bits stored in 16 has gaps.
    usual = outside.sum() / used.size
    below = outside[max(0, start - width) : start], counts[start : min(stop, start + width)]
    above = outside[stop : stop + width], counts[max(start, stop - width) : stop]
    borders = [_is_even(near, inner, usual) for near, inner in (below, above)]
    distinct = np.count_nonzero(counts[start:stop])
    return all(borders) or (any(borders) and bool(distinct >= _MANY_VALUES))


def _is_even(near: np.ndarray, inner: np.ndarray, usual: float) -> bool:
    """Returns whether values on both sides of a border are as frequent as each other and as the image's usually are."""
    if not near.any() or not inner.any():
        return False
    outer, within = near[near > 0].mean(), inner[inner > 0].mean()
    return bool(outer * _STANDS_OUT > usual and within < outer * _STANDS_OUT and outer < within * _STANDS_OUT)
