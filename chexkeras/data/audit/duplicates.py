"""Images that are copies of each other though their pixels differ: saved again as JPEG, resized, brightened.

Chest images are all alike, so what finds copies of photographs fails here: of 498,823 pairs of images of different
patients in 1,000 images of NIH, 972 (0.2 %) agree in all but 4 of the 64 bits of a difference hash. The correlation of
16 x 16 thumbnails tells them apart: at most 0.973 between different patients (1,000 images at 320 px and 1,000 at
64 px), at least 0.997 between an image and its copy as JPEG of quality 50 to 90, at half, 224 or 1024 pixels, 10 gray
values brighter or darker, with 10 % more or less contrast, or with gamma 0.9 to 1.1. Images of one patient reach 0.987.
Crops, rotations and mirror images are not found.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

SIMILARITY = 0.997
"""Correlation from which two images are near duplicates."""

MOST_PAIRS = 5_000_000

# More find fewer false candidates and search longer; 8 are the fastest at 112,120 images.
_COMPONENTS = 8
_BLOCK = 8192
_SAMPLE = 1000


class TooAlike(ValueError):
    """So many images resemble each other that listing the pairs would tell nothing and fill the memory."""


@checked
def near_duplicates(thumbnails: np.ndarray, *, similarity: float = SIMILARITY) -> pd.DataFrame:
    """Finds every pair of images whose thumbnails correlate at least so much.

    Thumbnails of mean 0 and length 1 lie at a distance of sqrt(2 - 2 correlation). Projecting them on their first
    principal components can only bring them closer, so a range search there misses no pair; what it finds is then
    measured in full. Memory grows with the images (about 130 bytes each besides the thumbnails), not with their pairs.

    Args:
        thumbnails: Shape (n, height, width), any numbers; a flat thumbnail (all values equal) is in no pair.
        similarity: The correlation, in (0, 1).

    Returns:
        One row per pair: first and second (positions, first < second) and similarity, by position.

    Raises:
        ValueError: If the shape is another one or `similarity` is out of range.
        TooAlike: If about 5,000,000 pairs or more are close.

    Example:
        >>> images = np.random.default_rng(0).random((3, 16, 16))
        >>> images[2] = images[0] * 0.9 + 0.05
        >>> near_duplicates(images)[["first", "second"]].values.tolist()
        [[0, 2]]
    """
    from scipy.spatial import cKDTree
    from threadpoolctl import threadpool_limits

    least = checks.probability(similarity, "similarity", open_interval=True)
    if thumbnails.ndim != 3:
        raise ValueError(f"thumbnails have shape {thumbnails.shape}; expected (images, height, width).")
    flat = thumbnails.reshape(len(thumbnails), thumbnails.shape[1] * thumbnails.shape[2])
    # Matrices this small are multiplied faster by one thread than by many that wait for each other.
    with threadpool_limits(1):
        points, used = _projected(flat)
    # A little more than the distance itself, for rounding; the full correlation decides.
    radius = np.sqrt(2 - 2 * least) * (1 + 1e-6) + 1e-9
    tree = cKDTree(points)
    _check_number(tree, radius)
    pairs = np.sort(used[tree.query_pairs(radius, output_type="ndarray")], axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    blocks = [pairs[start : start + _BLOCK] for start in range(0, len(pairs), _BLOCK)]
    found = [np.einsum("ij,ij->i", _unit(flat[block[:, 0]]), _unit(flat[block[:, 1]])) for block in blocks]
    correlation = np.concatenate(found) if found else np.zeros(0)
    close = correlation >= least
    return pd.DataFrame(
        {"first": pairs[close, 0], "second": pairs[close, 1], "similarity": np.minimum(correlation[close], 1.0)}
    )


def _check_number(tree: "cKDTree", radius: float) -> None:
    """Refuses images of which far too many pairs are close, told from a thousand of them."""
    step = max(1, tree.n // _SAMPLE)
    close = tree.query_ball_point(tree.data[::step], radius, return_length=True)
    expected = (float(np.mean(close)) - 1) * tree.n / 2 if tree.n else 0.0
    if expected > MOST_PAIRS:
        raise TooAlike(
            f"about {expected:,.0f} pairs among {tree.n:,} images look alike, more than {MOST_PAIRS:,}: as thumbnails "
            "the images hardly differ (blank margins, one image many times?). Look at some of them, or ask "
            "for a higher similarity."
        )


def _unit(flat: np.ndarray) -> np.ndarray:
    """Returns rows of mean 0 and length 1; a row whose values are all equal becomes 0."""
    centred = flat - flat.mean(axis=1, keepdims=True, dtype=np.float64)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-9)


def _projected(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows on their first principal components, without flat ones, and which rows those are."""
    size = flat.shape[1]
    total, product, count = np.zeros(size), np.zeros((size, size)), 0
    blocks = range(0, len(flat), _BLOCK)
    for start in blocks:
        unit = _unit(flat[start : start + _BLOCK])
        total, product, count = total + unit.sum(axis=0), product + unit.T @ unit, count + len(unit)
    mean = total / max(count, 1)
    # eigh sorts from the smallest eigenvalue up.
    basis = np.linalg.eigh(product / max(count, 1) - np.outer(mean, mean))[1][:, -_COMPONENTS:]
    points, used = [np.zeros((0, basis.shape[1]))], [np.zeros(0, np.int64)]
    for start in blocks:
        unit = _unit(flat[start : start + _BLOCK])
        kept = np.flatnonzero(unit.any(axis=1))
        points.append(unit[kept] @ basis)
        used.append(kept + start)
    return np.concatenate(points), np.concatenate(used)
