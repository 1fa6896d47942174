"""Occlusion: what a score loses when a part of the image is painted over.

Slow, and independent of what is inside the network: a check on the other methods.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from chexkeras.checks import positive_int

_LEAST_PROBABILITY = 1e-7
"""Where float32 probabilities end: their logits are taken from here."""


def occlusion_maps(
    image: NDArray[np.float32],
    score: Callable[[NDArray[np.float32]], NDArray[np.floating]],
    *,
    cells: int = 14,
    patch: int = 3,
) -> NDArray[np.float32]:
    """Returns by how much each finding's logit falls where the image is painted over.

    A square window moves over the image in steps of one cell; what it covers becomes the image's mean gray value. A
    cell's value is the mean loss of all windows that cover it.

    Args:
        image: float32 array (size, size, 1), 0-255.
        score: Takes float32 images (n, size, size, 1) and gives probabilities (n, n_findings).
        cells: Rows and columns of the map.
        patch: Width of the window in cells, at least 1.

    Returns:
        float32 array (n_findings, cells, cells), in units of the logit.

    Raises:
        ValueError: If the cells are more than the image's pixels, or the window is wider than the image.

    Source:
        Zeiler & Fergus, ECCV 2014, section 4.
    """
    size = image.shape[0]
    if not positive_int(patch, "patch") <= positive_int(cells, "cells") <= size:
        raise ValueError(f"cells={cells} and patch={patch}: expected 1 <= patch <= cells <= {size}, the image's side.")
    edges = np.linspace(0, size, cells + 1).round().astype(int)
    windows = list(_windows(cells, patch))
    painted = np.repeat(image[np.newaxis], len(windows) + 1, axis=0)
    for picture, (rows, columns) in zip(painted[1:], windows, strict=True):
        picture[edges[rows.start] : edges[rows.stop], edges[columns.start] : edges[columns.stop]] = image.mean()
    logits = logits_of(score(painted))
    total = np.zeros((logits.shape[1], cells, cells))
    covered = np.zeros((cells, cells))
    for (rows, columns), loss in zip(windows, logits[0] - logits[1:], strict=True):
        total[:, rows, columns] += loss[:, np.newaxis, np.newaxis]
        covered[rows, columns] += 1
    return (total / covered).astype(np.float32)


def _windows(cells: int, patch: int) -> Iterator[tuple[slice, slice]]:
    """Yields windows that begin before the first cell and end behind the last, so that all cells are covered alike."""
    for top in range(1 - patch, cells):
        for left in range(1 - patch, cells):
            yield slice(max(top, 0), min(top + patch, cells)), slice(max(left, 0), min(left + patch, cells))


def logits_of(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns the logits of probabilities, those of 0 and 1 being where float32 ends.

    Args:
        probabilities: Any shape, each in [0, 1].
    """
    kept = np.clip(probabilities.astype(np.float64), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.asarray(np.log(kept / (1 - kept)))
