"""What an image looks like from afar, in a few hundred numbers: where it is bright and dark, and how fine its grain is.

Brightness and contrast do not count, so that another exposure of the same film is the same layout. No network is asked:
what can be seen here can be said of every model, whatever computes its scores.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chexkeras.arguments import checked
from chexkeras.checks import numbers
from chexkeras.results.novelty import GRID

_TEXTURE_PX = (128, 64, 32)
_HISTOGRAM_PX = 64
_SHARES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
# An image of one gray value has no contrast that could be divided out.
_LEAST_SPREAD = 1.0
_SMOOTH = 1e-3


def layout_length(image_size: int) -> int:
    """Returns how many numbers describe an image.

    Args:
        image_size: Height and width, pixels, at least 16.
    """
    return GRID**2 + 2 * len(_levels(image_size)) + len(_SHARES)


@checked
def image_layout(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns an image's layout: area means on a grid of 16 x 16, of mean 0 and spread 1, then texture and gray values.

    Texture is the logarithm of the mean step from one pixel to the next, down and across, as a share of the image's
    spread, at up to three sizes of at most 128 pixels: noise and print are coarser or finer than film. Gray values are
    seven quantiles at 64 pixels, less the mean, in spreads. Nothing finer is looked at, which the resolution of a
    detector would change.

    Args:
        image: Array (side, side), gray values 0-255, at least 16 pixels a side.

    Returns:
        float64 array (`layout_length(side)`,).

    Raises:
        ValueError: If the image is not square, or smaller.
    """
    gray = numbers(image, "image")
    if gray.ndim != 2 or gray.shape[0] != gray.shape[1] or len(gray) < GRID:
        raise ValueError(f"image has shape {gray.shape}; a square one of at least {GRID} pixels a side was expected.")
    film = Image.fromarray(np.ascontiguousarray(gray, dtype=np.float32))
    grid = _reduced(film, GRID)
    spread = max(float(np.asarray(film).std()), _LEAST_SPREAD)
    texture = []
    for side in _levels(len(gray)):
        small = _reduced(film, side)
        texture += [np.abs(np.diff(small, axis=axis)).mean() / spread for axis in (0, 1)]
    quantiles = np.quantile(_standardised(_reduced(film, min(_HISTOGRAM_PX, len(gray)))), _SHARES)
    return np.concatenate([_standardised(grid).ravel(), np.log(np.asarray(texture) + _SMOOTH), quantiles])


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((values - values.mean()) / max(float(values.std()), _LEAST_SPREAD))


def layouts_of(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the layouts of images of one size.

    Args:
        images: Array (n, side, side) or (n, side, side, 1), gray values 0-255.

    Returns:
        float64 array (n, `layout_length(side)`).
    """
    return np.stack([image_layout(image.reshape(image.shape[:2])) for image in np.asarray(images)])


def _levels(image_size: int) -> list[int]:
    return sorted({min(side, image_size) for side in _TEXTURE_PX})


def _reduced(film: Image.Image, side: int) -> NDArray[np.float64]:
    return np.asarray(film.resize((side, side), Image.Resampling.BOX), dtype=np.float64)
