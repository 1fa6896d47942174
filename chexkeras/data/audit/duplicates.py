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
    return pd.concat(_correlated(flat, pairs[:, 0], flat, pairs[:, 1], least), ignore_index=True)


@checked
def near_duplicates_between(
    thumbnails: np.ndarray, others: np.ndarray, *, similarity: float = SIMILARITY
) -> pd.DataFrame:
    """Finds every pair of an image of one set and an image of another whose thumbnails correlate at least so much.

    As `near_duplicates` does within one set. Pairs within a set are not looked for. The second set is searched in
    blocks, so that memory grows with the images of both sets and not with their pairs.

    Args:
        thumbnails: Those of the first set, shape (n, height, width), any numbers; a flat one is in no pair.
        others: Those of the second set, shape (m, height, width), of the same height and width.
        similarity: The correlation, in (0, 1).

    Returns:
        One row per pair: first (position in the first set), second (position in the second) and similarity, sorted by
        second, then by first.

    Raises:
        ValueError: If a shape is another one, the sets differ in height or width, or `similarity` is out of range.
        TooAlike: If about 5,000,000 pairs or more are close.

    Example:
        >>> images = np.random.default_rng(0).random((3, 16, 16))
        >>> near_duplicates_between(images, images[1:2] * 0.9 + 0.05)[["first", "second"]].values.tolist()
        [[1, 0]]
    """
    from scipy.spatial import cKDTree
    from threadpoolctl import threadpool_limits

    least = checks.probability(similarity, "similarity", open_interval=True)
    for given in (thumbnails, others):
        if given.ndim != 3 or given.shape[1:] != thumbnails.shape[1:]:
            raise ValueError(
                f"thumbnails have the shapes {thumbnails.shape} and {others.shape}; expected (images, height, width), "
                "with one height and width."
            )
    flat, flat_others = (given.reshape(len(given), given.shape[1] * given.shape[2]) for given in (thumbnails, others))
    with threadpool_limits(1):
        basis = _basis(flat, flat_others)
        points, used = _on(basis, flat)
        points_others, used_others = _on(basis, flat_others)
    radius = np.sqrt(2 - 2 * least) * (1 + 1e-6) + 1e-9
    tree = cKDTree(points)
    _check_number(tree, radius, points_others)
    found = []
    for start in range(0, len(points_others), _BLOCK):
        near = tree.query_ball_point(points_others[start : start + _BLOCK], radius)
        counts = np.fromiter(map(len, near), np.int64, len(near))
        if not counts.sum():
            continue
        second = used_others[start + np.repeat(np.arange(len(near)), counts)]
        first = used[np.concatenate([np.asarray(each, np.int64) for each in near if each])]
        found += _correlated(flat, first, flat_others, second, least)
    pairs = (
        pd.concat(found, ignore_index=True) if found else _correlated(flat, used[:0], flat_others, used[:0], least)[0]
    )
    return pairs.sort_values(["second", "first"], ignore_index=True)


def _correlated(
    flat: np.ndarray, first: np.ndarray, others: np.ndarray, second: np.ndarray, least: float
) -> list[pd.DataFrame]:
    """Returns those of some pairs that correlate at least so much, a table for each block of them."""
    found = []
    for start in range(0, max(len(first), 1), _BLOCK):
        one, two = first[start : start + _BLOCK], second[start : start + _BLOCK]
        correlation = np.einsum("ij,ij->i", _unit(flat[one]), _unit(others[two]))
        close = correlation >= least
        values = np.minimum(correlation[close], 1.0)
        found.append(pd.DataFrame({"first": one[close], "second": two[close], "similarity": values}))
    return found


def _check_number(tree: "cKDTree", radius: float, others: np.ndarray | None = None) -> None:
    """Refuses images of which far too many pairs are close, told from a thousand of them."""
    asked = tree.data if others is None else others
    close = tree.query_ball_point(asked[:: max(1, len(asked) // _SAMPLE)], radius, return_length=True)
    each = float(np.mean(close)) if len(close) else 0.0
    expected = max(each - 1, 0.0) * tree.n / 2 if others is None else each * len(asked)
    if expected > MOST_PAIRS:
        among = f"among {tree.n:,} images" if others is None else f"of {tree.n:,} and {len(asked):,} images"
        raise TooAlike(
            f"about {expected:,.0f} pairs {among} look alike, more than {MOST_PAIRS:,}: as thumbnails "
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
    return _on(_basis(flat), flat)


def _basis(*sets: np.ndarray) -> np.ndarray:
    """Returns the first principal components of the rows of all sets."""
    size = sets[0].shape[1]
    total, product, count = np.zeros(size), np.zeros((size, size)), 0
    for flat in sets:
        for start in range(0, len(flat), _BLOCK):
            unit = _unit(flat[start : start + _BLOCK])
            total, product, count = total + unit.sum(axis=0), product + unit.T @ unit, count + len(unit)
    mean = total / max(count, 1)
    # eigh sorts from the smallest eigenvalue up.
    return np.asarray(np.linalg.eigh(product / max(count, 1) - np.outer(mean, mean))[1][:, -_COMPONENTS:])


def _on(basis: np.ndarray, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows projected on components, without flat ones, and which rows those are."""
    points, used = [np.zeros((0, basis.shape[1]))], [np.zeros(0, np.int64)]
    for start in range(0, len(flat), _BLOCK):
        unit = _unit(flat[start : start + _BLOCK])
        kept = np.flatnonzero(unit.any(axis=1))
        points.append(unit[kept] @ basis)
        used.append(kept + start)
    return np.concatenate(points), np.concatenate(used)
