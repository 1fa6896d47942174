"""Fits how unlike its training images an image is, and freezes from where on that is said, at a false-alarm rate.

The layouts of the training images (`data.image_layout`) have a mean, directions in which they differ, and a remainder;
what is far from them is unlike them. Some mistakes in handling are so common, and so close to a chest image, that they
are learnt beside: the training images themselves are inverted, turned and flipped, and a linear discriminant tells them
from the images as they are. Nothing is learnt of what else a camera or a scanner may bring.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras.arguments import checked
from chexkeras.checks import numbers, probability
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.results.estimate import Estimate
from chexkeras.results.novelty import GRID, ChangedImages, Likeness, Mistake, Novelty, distance_from

RATE = 0.01
"""Share of images like the training images that may be flagged, where nothing else is stated."""
FEWEST = 20
"""Training images below which nothing is fitted."""
_DIRECTIONS = 8
_FITTED = 0.7
_RIDGE = 0.1
_SHRINKAGE = 0.05
_TOP = 0.99
_LEAST = 1e-9
# Texture (in logarithms) and gray values (in spreads) that differ by less than this are the same to anybody; where all
# training images agree more closely, as where every film is black at its border, nothing follows from the next digit.
_LEAST_SCALE = 0.05
_SHAPE = (GRID, GRID)

MISTAKES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "gray values inverted": lambda grid: -grid,
    "turned by 90 degrees": lambda grid: np.rot90(grid, 1),
    "turned by 270 degrees": lambda grid: np.rot90(grid, 3),
    "turned by 180 degrees": lambda grid: np.rot90(grid, 2),
    "upside down": lambda grid: grid[::-1],
}
"""Mistakes that are learnt, by name: what each does to the grid of area means, whose mean is 0."""


@checked
def fit_novelty(layouts: ArrayLike, image_size: int, *, seed: int = 0) -> Novelty:
    """Learns what training images look like; `freeze` then chooses the threshold.

    Args:
        layouts: Array (n, numbers), one layout for each training image, at least 20.
        image_size: Height and width of the images, pixels.
        seed: Decides which three tenths of the images are not fitted to, but scale each measure.

    Returns:
        The measure, without a threshold.

    Raises:
        ValueError: If there are fewer images, or layouts are no numbers.

    Source:
        Lee et al., NeurIPS 2018 (Mahalanobis distance for images unlike training); Golan & El-Yaniv, NeurIPS 2018
        (turned training images as examples of what does not belong).
    """
    given = numbers(layouts, "layouts")
    if given.ndim != 2 or len(given) < FEWEST:
        raise ValueError(
            f"layouts have shape {given.shape}; at least {FEWEST} rows, one for each image, were expected."
        )
    order = np.random.default_rng(seed).permutation(len(given))
    cut = int(_FITTED * len(given))
    fitted, others = given[order[:cut]], given[order[cut:]]
    mean = fitted.mean(axis=0)
    scale = _scales(fitted - mean)
    centred, left = (fitted - mean) / scale, (others - mean) / scale
    return Novelty(
        image_size=int(image_size),
        mean=_floats(mean),
        scale=_floats(scale),
        parts=tuple(
            _likeness(centred, left, name, start, stop, most)
            for name, start, stop, most in (
                ("where it is bright and dark", 0, GRID**2, _DIRECTIONS),
                ("its texture or range of gray values", GRID**2, centred.shape[1], centred.shape[1]),
            )
        ),
        mistakes=tuple(_mistakes(centred, left, mean, scale)),
        n_training=len(given),
    )


def _scales(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns one scale for all area means, which belong together, and one for each measure of texture."""
    each = np.maximum(centred.std(axis=0), _LEAST_SCALE)
    each[: GRID**2] = max(float(np.sqrt((centred[:, : GRID**2] ** 2).mean())), _LEAST)
    return np.asarray(each)


def _likeness(
    centred: NDArray[np.float64], left: NDArray[np.float64], name: str, start: int, stop: int, most: int
) -> Likeness:
    """Returns what a part of the layouts has in common, with at most so many directions of their own variance."""
    _, singular, turned = np.linalg.svd(centred[:, start:stop], full_matrices=False)
    variances = singular**2 / (len(centred) - 1)
    # Shrunk towards their mean: the smallest are underestimated from so few images.
    variances = (1 - _SHRINKAGE) * variances + max(_SHRINKAGE * float(variances.sum()) / (stop - start), _LEAST)
    kept = min(most, len(variances) - 1)
    rest = max(float(variances[kept:].sum()) / (stop - start - kept), _LEAST)
    directions = turned[:kept]
    centre, spread = _scaled(distance_from(left[:, start:stop], directions, variances[:kept], rest))
    rows = tuple(map(_floats, directions))
    return Likeness(name, start, stop, rows, _floats(variances[:kept]), rest, centre, spread)


def _mistakes(
    centred: NDArray[np.float64], left: NDArray[np.float64], mean: NDArray[np.float64], scale: NDArray[np.float64]
) -> list[Mistake]:
    covariance = centred.T @ centred / (len(centred) - 1)
    covariance += _RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    found = []
    for name, change in MISTAKES.items():
        middle = mean.copy()
        middle[: GRID**2] = change(mean[: GRID**2].reshape(_SHAPE)).ravel()
        weights = np.linalg.solve(covariance, (middle - mean) / scale)
        centre, spread = _scaled(left @ weights)
        typical = (float((middle - mean) / scale @ weights) - centre) / spread
        found.append(Mistake(name, _floats(weights), centre, spread, max(typical, _LEAST)))
    return found


def _scaled(values: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the median, and how far the 99th percentile lies above it."""
    middle, top = (float(value) for value in np.quantile(values, (0.5, _TOP)))
    return middle, max(top - middle, _LEAST)


def _floats(values: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


@checked
def conformal_rank(n: int, rate: float) -> int | None:
    """Returns which of n values, from the smallest, is exceeded by one more of their kind at most at a stated rate.

    The smallest k with (n + 1 - k) / (n + 1) <= rate; None where even the largest is exceeded more often, for want of
    values.

    Args:
        n: How many values there are, from 0.
        rate: The rate, in (0, 1).

    Source:
        Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005 (inductive conformal prediction).

    Example:
        >>> conformal_rank(200, 0.01), conformal_rank(99, 0.01), conformal_rank(98, 0.01)
        (199, 99, None)
    """
    probability(rate, "rate", open_interval=True)
    # Rounding must not ask for one value more: 0.99 * 100 is a little more than 99.
    rank = math.ceil((n + 1) * (1 - rate) - 1e-9)
    return rank if rank <= n else None


@checked
def false_alarm_estimate(n: int, rank: int, confidence: float = 0.95) -> Estimate:
    """Returns the share of further values of the same kind that exceed the rank-th of n, with its interval.

    For values without ties the share has a beta distribution with n + 1 - rank and rank, whatever theirs.

    Args:
        n: How many values there were.
        rank: Which of them the threshold is, from the smallest, 1 to n.
        confidence: Coverage, in (0, 1).

    Raises:
        ValueError: If the rank is none of 1 to n.

    Source:
        Vovk, Conditional validity of inductive conformal predictors, ACML 2012.

    Example:
        >>> print(false_alarm_estimate(200, 199))
        0.010 (95 % CI 0.001-0.028)
    """
    from scipy.special import betaincinv

    if not 1 <= rank <= n:
        raise ValueError(f"rank={rank!r} must be one of 1 to {n}.")
    above = n + 1 - rank
    tail = (1 - probability(confidence, "confidence", open_interval=True)) / 2
    low, high = (float(betaincinv(above, rank, share)) for share in (tail, 1 - tail))
    method = f"beta distribution of the share above the value of rank {rank} of {n}, images taken as independent"
    return Estimate(above / (n + 1), low, high, confidence, n, method)


@checked
def freeze(
    fitted: Novelty,
    validation: ArrayLike,
    *,
    rate: float = RATE,
    test: ArrayLike | None = None,
    patients: Sequence[str] | None = None,
    cautions: tuple[str, ...] = (),
    changed: Mapping[str, ArrayLike] | None = None,
) -> Novelty:
    """Chooses the threshold on validation images, and says how often it is passed on test images.

    Args:
        fitted: From `fit_novelty`.
        validation: Layouts of the validation images, array (n, numbers).
        rate: Share of such images that may be flagged, in (0, 1).
        test: Layouts of the test images; None where they are not measured.
        patients: The patient of each test image, for the interval.
        cautions: What limits the measure.
        changed: By what was done to them, the layouts of test images that were changed, in the order of `test` as far
            as they go; None where none were.

    Returns:
        The measure with its threshold; without one where validation has too few images for the rate.

    Raises:
        ValueError: If the rate is out of range, or layouts are of another length.
    """
    on_validation = np.sort(fitted.of(numbers(validation, "validation")))
    rank = conformal_rank(len(on_validation), rate)
    if rank is None:
        least = math.ceil(1 / rate) - 1
        reason = (
            f"{len(on_validation):,} validation images cannot tell a false-alarm rate of {rate:g}, at least {least:,} "
            "are needed"
        )
        alarms, threshold = Estimate.not_estimable(reason, n=len(on_validation)), math.nan
    else:
        alarms = false_alarm_estimate(len(on_validation), rank)
        threshold = float(on_validation[rank - 1])
    frozen = dataclasses.replace(
        fitted, threshold=threshold, rate=rate, n_validation=len(on_validation), false_alarms=alarms,
        validation=_percentiles(on_validation), cautions=cautions,
    )  # fmt: skip
    if test is None or not len(np.asarray(test)):
        return frozen
    on_test = frozen.of(numbers(test, "test"))
    who = np.arange(len(on_test)).astype(str) if patients is None else np.asarray(patients)

    def flagged(novelty: NDArray[np.float64]) -> Estimate:
        if rank is None:
            return Estimate.not_estimable("there is no threshold", n=len(novelty))
        return clustered_proportion_interval(frozen.unlike(novelty), who[: len(novelty)])

    told = {name: frozen.of(numbers(layouts, f"changed: {name}")) for name, layouts in (changed or {}).items()}
    return dataclasses.replace(
        frozen,
        on_test=flagged(on_test),
        test=_percentiles(on_test),
        changed=tuple(ChangedImages(name, flagged(found), _percentiles(found)) for name, found in told.items()),
    )


def _percentiles(values: NDArray[np.float64]) -> tuple[float, ...]:
    return _floats(np.quantile(values, np.linspace(0, 1, 101)))
