"""Krippendorff's alpha: agreement of any number of readers beyond chance, some ratings missing, on any scale."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.agreement.beyond_chance import Coefficient, Sums, coefficient_estimate
from chexkeras.evaluation.agreement.ratings import Categories, Patients, category_name, check_ratings, patients_of
from chexkeras.results import Estimate

LEVELS = ("nominal", "ordinal", "interval", "ratio")

# The table of all pairs of values has the square of this many cells.
_MOST_RATIOS = 2000


@checked
def krippendorff_alpha(
    ratings: pd.DataFrame,
    *,
    level: str,
    categories: Categories | None = None,
    patients: Patients | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Returns Krippendorff's alpha with an interval that rests on patients.

    Every pair of ratings of an image counts, an image with m of them as m ratings, so readers may leave images out.
    What is expected by chance are pairs of any two ratings of the whole table, whoever gave them.

    Args:
        ratings: Table with a row for each image, known by its index or the column image_id, and a column for each of at
            least two readers: a rating, or NaN where not rated. Images with one rating say nothing and are left out.
        level: How far two ratings disagree. "nominal": they differ or not. "ordinal": by the square of how many
            ratings lie between them. "interval": by the square of their difference. "ratio": by the square of their
            difference over their sum, for numbers from 0 on where 1 and 2 are as far apart as 50 and 100.
        categories: The values that a rating may take, numbers or texts in their order, for "nominal" and "ordinal".
            None takes any number, for example grades of five points or a scale of 101.
        patients: The patient of each image, by image id; None where every image is a patient of its own.
        confidence: Coverage, in (0, 1).

    Returns:
        Alpha, at most 1; 0 is chance. Not estimable when all ratings are alike, no image has two, or all images come
        from one patient. Where patients do not differ, as in perfect agreement,
        the limits are Clopper and Pearson's for the agreement of what the patients are worth; a disagreement is then
        taken for the largest that the ratings found allow.

    Raises:
        TypeError: If the ratings are not a DataFrame.
        ValueError: If there are fewer than two readers, the level is unknown or does not fit the ratings, an image or
            reader is there twice, a rating is none of the categories, or an image has no patient.

    Source:
        Krippendorff, Computing Krippendorff's Alpha-Reliability, University of Pennsylvania, 2011; Krippendorff,
        Content Analysis, 2004, chapter 11.

    Example:
        >>> grades = pd.DataFrame({"A": [1, 2, 3, 4, 5, 3, 2, 4], "B": [1, 2, 4, 4, 5, 3, None, 4],
        ...                        "C": [1, 1, 3, 4, 4, 3, 2, None]})
        >>> print(krippendorff_alpha(grades, level="ordinal"))
        0.918 (95 % CI 0.569-0.964; approximate: worth 8 images)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    checks.one_of(level, LEVELS, "level")
    table = check_ratings(ratings, categories=categories, graded=True)
    if categories is not None and isinstance(categories[0], str) and level in ("interval", "ratio"):
        raise ValueError(f"level={level!r} needs numbers and the categories are texts; take 'nominal' or 'ordinal'.")
    rated = table[table.notna().sum(axis=1) >= 2]
    n = len(rated)
    if not n:
        return Estimate.not_estimable("no image has two ratings", confidence=confidence)
    found = _Ratings.of(rated.to_numpy())
    if len(found.values) == 1:
        reason = f"all ratings are {category_name(found.values[0], categories)}; alpha is undefined"
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    alpha = _on_ratios(found) if level == "ratio" else _on_squares(found, level)
    left_out = f"; {len(table) - n} images with fewer than two ratings left out" if n < len(table) else ""
    basis = f"{table.shape[1]} readers, {len(found.code)} ratings of {n} images{left_out}"
    return coefficient_estimate(alpha, patients_of(rated.index, patients), confidence, basis=basis)


class _Ratings(NamedTuple):
    """Ratings one after the other, image by image.

    Attributes:
        values: Shape (values,), the ratings that occur, ascending.
        code: Shape (ratings,), which of them each is.
        image: Shape (ratings,), the image of each, ascending.
        first: Shape (images,), where the ratings of each image begin.
        size: Shape (images,), how many each image has.
    """

    values: NDArray[np.float64]
    code: NDArray[np.int64]
    image: NDArray[np.int64]
    first: NDArray[np.int64]
    size: NDArray[np.int64]

    @classmethod
    def of(cls, table: NDArray[np.float64]) -> "_Ratings":
        known = ~np.isnan(table)
        values, code = np.unique(table[known], return_inverse=True)
        size = known.sum(axis=1)
        return cls(values, code, np.nonzero(known)[0], np.cumsum(size) - size, size)

    def frequencies(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns how often each value occurs where images count so often, shape (samples, values)."""
        order = np.argsort(self.code, kind="stable")
        starts = np.searchsorted(self.code[order], np.arange(len(self.values)))
        return np.asarray(np.add.reduceat(times[:, self.image[order]], starts, axis=1))


def _coefficient(
    ratings: _Ratings,
    level: str,
    within: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    between: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    largest: float,
) -> Coefficient:
    """Returns alpha from what disagrees, added up over the pairs of images, and over all pairs of ratings."""

    def sums(times: NDArray[np.float64], added: NDArray[np.float64] | float) -> Sums:
        own = ratings.frequencies(times)
        return Sums(within(times, own + added), own.sum(axis=1), own + added)

    def expected(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
        total = frequencies.sum(axis=1)
        return np.asarray(between(frequencies) / (total * (total - 1)))

    mean = len(ratings.code) / len(ratings.size)
    return Coefficient(f"Krippendorff's alpha, {level}", sums, expected, 1, mean, mean, largest)


def _on_squares(ratings: _Ratings, level: str) -> Coefficient:
    """Returns alpha by squared differences of something: of values, of ranks, or of being a value or not."""
    values, others = ratings.values - ratings.values.mean(), ratings.size - 1
    if level == "nominal":
        split = (ratings.size * others - _pairs_alike(ratings)) / others
        return _coefficient(
            ratings, level, lambda times, _: times @ split,
            lambda often: often.sum(axis=1) ** 2 - (often**2).sum(axis=1), 1.0,
        )  # fmt: skip

    def scored(often: NDArray[np.float64]) -> NDArray[np.float64]:
        if level == "interval":
            return values[None, :]
        # Ratings between two values, each of these counting half, are the difference of their mean ranks.
        return np.asarray((np.cumsum(often, axis=1) - often / 2) / often.sum(axis=1, keepdims=True))

    def within(times: NDArray[np.float64], often: NDArray[np.float64]) -> NDArray[np.float64]:
        each = np.broadcast_to(scored(often), often.shape)[:, ratings.code]
        sums, squares = (np.add.reduceat(part, ratings.first, axis=1) for part in (each, each**2))
        return np.asarray((times * 2 * (ratings.size * squares - sums**2) / others).sum(axis=1))

    def between(often: NDArray[np.float64]) -> NDArray[np.float64]:
        score, total = scored(often), often.sum(axis=1)
        mean = (often * score).sum(axis=1) / total
        return np.asarray(2 * total * (often * (score - mean[:, None]) ** 2).sum(axis=1))

    largest = float(np.ptp(scored(ratings.frequencies(np.ones((1, len(ratings.size))))))) ** 2
    return _coefficient(ratings, level, within, between, largest)


def _pairs_alike(ratings: _Ratings) -> NDArray[np.float64]:
    """Returns how many ordered pairs of an image's ratings are of one value, shape (images,)."""
    together, times = np.unique(ratings.image * len(ratings.values) + ratings.code, return_counts=True)
    pairs = (times * (times - 1)).astype(np.float64)
    return np.asarray(np.bincount(together // len(ratings.values), pairs, len(ratings.size)), dtype=np.float64)


def _on_ratios(ratings: _Ratings) -> Coefficient:
    values = ratings.values
    if values[0] < 0:
        raise ValueError(f"level='ratio' needs numbers from 0 on; the smallest is {values[0]:g}. Take 'interval'.")
    if len(values) > _MOST_RATIOS:
        raise ValueError(
            f"level='ratio' compares all pairs of values, and {len(values):,} different ones are more than "
            f"{_MOST_RATIOS:,}; round the ratings."
        )
    sums = values[:, None] + values
    cost = np.divide(values[:, None] - values, sums, out=np.zeros_like(sums), where=sums > 0) ** 2
    split: NDArray[np.float64] = np.zeros(len(ratings.size))
    # The ratings of an image against those that come so and so many places after them.
    for places in range(1, int(ratings.size.max())):
        together = np.flatnonzero(ratings.image[places:] == ratings.image[:-places])
        pairs = 2 * cost[ratings.code[together], ratings.code[together + places]]
        split += np.bincount(ratings.image[together], pairs, len(split))
    split /= ratings.size - 1
    return _coefficient(
        ratings, "ratio", lambda times, _: times @ split, lambda often: ((often @ cost) * often).sum(axis=1),
        float(cost.max()),
    )  # fmt: skip
