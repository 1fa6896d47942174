"""Windows: the part of the values that is shown, by center and width, as one of three functions."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from chexkeras.dicom.header import Header


def linear_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Returns the values seen through a LINEAR window, 0 to 1.

    The half and the one belong to it: with center 128 and width 256, 0 becomes 0 and 255 becomes 1.

    Args:
        values: Modality values.
        center: Window Center.
        width: Window Width, at least 1.

    Source:
        PS3.3 C.11.2.1.2.1.
    """
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return _from_black_to_white((values - (center - 0.5)), width - 1)


def linear_exact_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Returns the values seen through a LINEAR_EXACT window, 0 to 1.

    Args:
        values: Modality values.
        center: Window Center.
        width: Window Width, above 0.

    Source:
        PS3.3 C.11.2.1.3.2.
    """
    return _from_black_to_white(values - center, width)


def sigmoid_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Returns the values seen through a SIGMOID window, 0 to 1.

    Args:
        values: Modality values.
        center: Window Center, shown as one half.
        width: Window Width, above 0.

    Source:
        PS3.3 C.11.2.1.3.1.
    """
    with np.errstate(over="ignore"):
        steepness = -4.0 * (values - center) / width
    # Beyond 700 the exponential overflows, and the value is 0 or 1 in any case.
    return 1.0 / (1.0 + np.exp(np.clip(steepness, -700.0, 700.0)))


def _from_black_to_white(distances: np.ndarray, width: float) -> np.ndarray:
    with np.errstate(over="ignore"):
        # A width near 0 makes infinities, which are black and white as they should be.
        return np.clip(distances / width + 0.5, 0.0, 1.0)


WINDOWS: dict[str, Callable[[np.ndarray, float, float], np.ndarray]] = {
    "LINEAR": linear_window,
    "LINEAR EXACT": linear_exact_window,
    "SIGMOID": sigmoid_window,
}
"""The functions by the folded value of VOI LUT Function."""


def usable_windows(header: Header, function: str) -> Iterator[tuple[int, Callable[[np.ndarray], np.ndarray]]]:
    """Yields each usable window of a header: its number, the first being 1, and what it makes of modality values.

    Args:
        header: The header.
        function: A key of `WINDOWS`.

    Source:
        PS3.3 C.11.2.1.2: several centers and widths are alternatives, in pairs.
    """
    # The function LINEAR divides by the width less one (PS3.3 C.11.2.1.2.1).
    least = 1.0 if function == "LINEAR" else 0.0
    pairs = zip(header.numbers_or_nan("WindowCenter"), header.numbers_or_nan("WindowWidth"), strict=False)
    for number, (center, width) in enumerate(pairs, start=1):
        if math.isfinite(center) and math.isfinite(width) and width > 0 and width >= least:
            yield number, _window(function, center, width)


def _window(function: str, center: float, width: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: WINDOWS[function](values, center, width)
