"""How images look beside the others of their data set: inverted, turned, unlike all others, far darker or flatter.

What each image shows is not known here; what most of them show is. Chest images agree so far that a thumbnail of 16 x
16 pixels tells how an image was turned: the version of it (turned by 0, 90, 180 or 270 degrees, inverted or not) that
is likeliest under a normal distribution of the others' thumbnails. A border that is black or white throughout is left
off first: where a body stands on the plate says nothing of how it is turned. Of 1,000 images of NIH at 320 px and 1,000
at 64 px it suspects 3 and none; of images that were turned or inverted, six among 60, it names 99 %. Mirrored images
are not told: right and left differ too little in a thumbnail. Nor is a data set of which every image is turned the same
way.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from chexkeras.data.audit.image_checks import ImageFacts
from chexkeras.data.audit.result import AuditIssue
from chexkeras.data.image_table import ImageTable

FEWEST_IMAGES = 30
"""Images of one plane (frontal or lateral) from which they are compared with one another."""

MIXED_SHARE = 0.1
"""Share of images turned or inverted from which the data set itself is called mixed."""

_FEWEST_MIXED = 5
_TURNS, _VERSIONS = 4, 8
# How much likelier than the image as it is another version must be, in units of the likeliest version's usual lead:
# much at first, while the model is made of images of which some are turned.
_SURE, _LIKELY, _SUSPECTED = 0.5, 0.2, 0.15
_ROUNDS = 3
# Each image is judged by a model that has not seen it.
_FOLDS = 8
_MOST_IN_MODEL = 2000
# Where fewer images are likeliest as they are, the images have no usual way to stand and nothing in common.
_AGREED = 0.5
# A neighbour that two odd images share is no sign of being usual.
_NEIGHBOUR = 3
# Quartile ranges beyond a quartile; of a normal distribution 1 in 20,000 lies there.
_FAR, _APART = 2.5, 2.5
# Gray values that nobody sees are no reason to look at an image, however alike the others are.
_LEAST_GRAY = 20.0
_BLOCK = 4096
# A border is as black or as white as the image gets, within this share of its gray values; what is left of a thumbnail
# without it has this many pixels a side at least.
_BORDER, _LEAST_SIDE = 0.05, 6


class _Looks(NamedTuple):
    """Per image its likeliest version, 0 as it is, +1 a quarter turn to the left, +4 inverted; and if it is odd."""

    versions: np.ndarray
    unlike: np.ndarray


def appearance_issues(table: ImageTable, facts: Sequence[ImageFacts], thumbnails: np.ndarray) -> Iterator[AuditIssue]:
    """Yields images that look turned, inverted, unlike the others, or far from them in brightness or contrast.

    Frontal and lateral images are each compared with their like; fewer than `FEWEST_IMAGES` with none.

    Args:
        table: The image table.
        facts: One entry per row.
        thumbnails: One per row, uint16 array (images, 16, 16), see `image_checks.thumbnail`.
    """
    seen = np.array([bool(fact.digest) for fact in facts], dtype=bool)
    lateral = (table["view"] == "LATERAL").to_numpy() if "view" in table.columns else np.zeros(len(table), dtype=bool)
    for group in (seen & ~lateral, seen & lateral):
        rows = np.flatnonzero(group).tolist()
        if len(rows) >= FEWEST_IMAGES:
            yield from _turned(table, rows, thumbnails[rows])
            yield from _extreme(table, rows, [facts[row] for row in rows])


def measured(facts: Sequence[ImageFacts]) -> dict[str, dict[str, float]]:
    """Returns the lowest, middle and highest brightness, contrast and number of gray levels of some images.

    Args:
        facts: Of every image; those that were not decoded are left out.
    """
    seen = [fact for fact in facts if fact.digest]
    values = {name: [getattr(fact, name) for fact in seen] for name in ("brightness", "contrast", "gray_levels")}
    if not seen:
        return {}
    return {
        name: {"lowest": float(np.min(each)), "median": float(np.median(each)), "highest": float(np.max(each))}
        for name, each in values.items()
    }


def _turned(table: ImageTable, rows: list[int], thumbnails: np.ndarray) -> Iterator[AuditIssue]:
    looks = _looks(thumbnails)
    names = table["image_id"].to_numpy(dtype=object)[rows]
    inverted, turns = looks.versions >= _TURNS, looks.versions % _TURNS
    sides = {1: "by 90 degrees to the left", 2: "by 180 degrees", 3: "by 90 degrees to the right"}
    for name, is_inverted, turn in zip(names, inverted, turns, strict=True):
        also = f", and turned {sides[turn]}" if is_inverted and turn else ""
        if is_inverted:
            yield AuditIssue("looks_inverted", name, f"like the others once black and white are exchanged{also}")
        elif turn:
            code = "looks_upside_down" if turn == 2 else "looks_on_its_side"
            yield AuditIssue(code, name, f"like the others once it is turned back; it is turned {sides[turn]}")
    for name in names[looks.unlike]:
        yield AuditIssue("unlike_the_rest", name, "as a thumbnail it resembles no other image as images of this set do")
    for code, many in (("mixed_polarity", inverted), ("mixed_orientation", turns != 0)):
        if many.sum() >= _FEWEST_MIXED and many.mean() >= MIXED_SHARE:
            word = "inverted" if code == "mixed_polarity" else "turned"
            detail = f"{int(many.sum())} of {len(rows)} images look {word} beside the others; which are right?"
            yield AuditIssue(code, "", detail)


def _extreme(table: ImageTable, rows: list[int], facts: Sequence[ImageFacts]) -> Iterator[AuditIssue]:
    names = table["image_id"].to_numpy(dtype=object)[rows]
    for code, measure, words in (
        ("unusual_brightness", "brightness", "mean gray value"),
        ("unusual_contrast", "contrast", "standard deviation of the gray values"),
    ):
        values = np.array([getattr(fact, measure) for fact in facts], dtype=float)
        low, high = np.percentile(values, [25, 75])
        least = max(_FAR * (high - low), _LEAST_GRAY)
        for row in np.flatnonzero(np.abs(values - np.clip(values, low, high)) > least):
            detail = f"{words} {values[row]:.0f}; of half of the images {low:.0f} to {high:.0f}"
            yield AuditIssue(code, names[row], detail)


def _looks(thumbnails: np.ndarray) -> _Looks:
    """Compares thumbnails of one kind of image with one another."""
    from threadpoolctl import threadpool_limits

    # Matrices this small are multiplied faster by one thread than by many that wait for each other.
    with threadpool_limits(1):
        return _compared(_units(np.stack([_without_border(thumbnail) for thumbnail in thumbnails])))


def _without_border(thumbnail: np.ndarray) -> np.ndarray:
    """Returns a thumbnail whose body fills it: without rows and columns at its edges that are all black or white."""
    gray = thumbnail.astype(np.float32)
    lowest, highest = float(gray.min()), float(gray.max())
    inside = gray
    for extreme in (lowest, highest):
        body = np.abs(gray - extreme) > _BORDER * (highest - lowest)
        rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
        if not len(rows):
            continue
        left = gray[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if left.size < inside.size and min(left.shape) >= _LEAST_SIDE:
            inside = left
    whole = Image.fromarray(np.ascontiguousarray(inside))
    return np.asarray(whole.resize(gray.shape[::-1], Image.Resampling.BILINEAR))


def _compared(units: np.ndarray) -> _Looks:
    # The direction in which thumbnails differ most from flat ones is theirs whatever the sign: inverted ones share it.
    some = _sample(units)
    mean = np.linalg.eigh(some.T @ some)[1][:, -1]
    mean = _symmetric(mean * np.median(some @ mean))
    likely = _likelihoods(some, mean, np.eye(some.shape[1], dtype=some.dtype))
    fold = np.arange(len(some)) % _FOLDS
    for least in (_SURE, *[_LIKELY] * (_ROUNDS - 1)):
        upright = _undone(some, _chosen(likely, least))
        for judged in (fold == number for number in range(_FOLDS)):
            likely[judged] = _likelihoods(some[judged], *_model(upright[~judged]))
    if len(some) < len(units):
        likely = _likelihoods(units, *_model(_undone(some, _chosen(likely, _LIKELY))))
    if (likely.argmax(axis=1) == 0).mean() < _AGREED:
        return _Looks(np.zeros(len(units), dtype=np.int64), np.zeros(len(units), dtype=bool))
    versions = _chosen(likely, _SUSPECTED)
    return _Looks(versions, _unlike(_undone(units, versions)))


def _units(thumbnails: np.ndarray) -> np.ndarray:
    """Returns thumbnails as rows of mean 0 and length 1."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)


def _turn(pixels: int, turns: int) -> np.ndarray:
    """Returns the pixel that each pixel of a flat square image comes from when it is turned to the left."""
    side = round(pixels**0.5)
    return np.rot90(np.arange(pixels).reshape(side, side), turns).ravel()


def _symmetric(rows: np.ndarray) -> np.ndarray:
    side = round(rows.shape[-1] ** 0.5)
    square = rows.reshape(*rows.shape[:-1], side, side)
    return ((square + square[..., ::-1]) / 2).reshape(rows.shape)


def _undone(units: np.ndarray, versions: np.ndarray) -> np.ndarray:
    """Returns images turned back and with the polarity of the others, each by its version."""
    upright = units.copy()
    for version in range(1, _VERSIONS):
        rows = versions == version
        upright[rows] = units[rows][:, _turn(units.shape[1], -version % _TURNS)] * (1 if version < _TURNS else -1)
    return upright


def _sample(rows: np.ndarray) -> np.ndarray:
    return rows[:: -(-len(rows) // _MOST_IN_MODEL)]


def _model(upright: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and inverse covariance of images and their mirror images, the covariance drawn towards a sphere."""
    side = round(upright.shape[1] ** 0.5)
    mirrored = upright.reshape(-1, side, side)[..., ::-1].reshape(upright.shape)
    both = np.concatenate([upright, mirrored])
    mean = both.mean(axis=0)
    covariance = (both - mean).T @ (both - mean) / len(both)
    # As much of a sphere as the images vary: few images leave most directions without any variance.
    sphere = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    return mean, np.linalg.inv(covariance + sphere * np.eye(len(covariance), dtype=covariance.dtype))


def _likelihoods(units: np.ndarray, mean: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Returns (images, versions): minus the squared distance of an image, taken back from each version, to the mean."""
    found = np.empty((len(units), _VERSIONS))
    for start in range(0, len(units), _BLOCK):
        block = units[start : start + _BLOCK]
        for version in range(_VERSIONS):
            away = _undone(block, np.full(len(block), version)) - mean
            found[start : start + _BLOCK, version] = -np.einsum("ij,ij->i", away @ inverse, away)
    return found


def _chosen(likely: np.ndarray, least: float) -> np.ndarray:
    """Returns the likeliest version of each image where it leads so far, and 0 elsewhere."""
    ordered = np.sort(likely, axis=1)
    usual = float(np.median(ordered[:, -1] - ordered[:, -2]))
    lead = ordered[:, -1] - likely[:, 0]
    return np.where(lead > least * usual, likely.argmax(axis=1), 0)


def _unlike(upright: np.ndarray) -> np.ndarray:
    """Returns which images resemble no others: the correlation with the third of those most alike is an outlier."""
    others = _sample(upright)
    nearest = np.concatenate(
        [
            # One more, for the image itself.
            np.partition(upright[start : start + _BLOCK] @ others.T, -_NEIGHBOUR - 1, axis=1)[:, -_NEIGHBOUR - 1]
            for start in range(0, len(upright), _BLOCK)
        ]
    )
    distance = -np.arctanh(np.clip(nearest, -0.999, 0.999))
    low, high = np.percentile(distance, [25, 75])
    return distance > high + _APART * (high - low)
