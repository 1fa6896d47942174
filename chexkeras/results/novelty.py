"""How unlike its training images an image is, and from where on that is said: frozen with the run that learnt them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras.arguments import checked
from chexkeras.results.estimate import NOT_MEASURED, Estimate
from chexkeras.results.record import Record

GRID = 16
"""Rows and columns of area means with which an image's layout begins (`data.image_layout`)."""
_MOST_NUMBERS, _MOST_DIRECTIONS, _MOST_PARTS = 2_000, 64, 16


@checked
@dataclass(frozen=True)
class Likeness(Record):
    """What a part of the training images' layouts has in common: a mean of 0, some directions, one variance elsewhere.

    Attributes:
        name: What is unusual in an image that is far away, such as "where it is bright and dark".
        start: The first number of the standardised layout that belongs to the part.
        stop: The number behind its last one.
        directions: Principal directions, each as long as the part.
        variances: Variance of the training images along each, above 0.
        rest: Variance in every other direction, above 0.
        centre: The median distance of training images that were not fitted to.
        spread: Their 99th percentile less the median, above 0.
    """

    name: str
    start: int
    stop: int
    directions: tuple[tuple[float, ...], ...]
    variances: tuple[float, ...]
    rest: float
    centre: float
    spread: float

    def measure(self, standardised: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns how far images are from the training images, 0 for the median one and 1 for one in a hundred.

        Args:
            standardised: Array (n, numbers), the whole layouts.
        """
        part = standardised[:, self.start : self.stop]
        distance = distance_from(part, np.asarray(self.directions), np.asarray(self.variances), self.rest)
        return np.asarray((distance - self.centre) / self.spread)


@checked
@dataclass(frozen=True)
class Mistake(Record):
    """A mistake in handling an image that is told from images as they should be along one direction.

    Attributes:
        name: What was done to the image, such as "gray values inverted".
        weights: One for each number of the standardised layout; their sum of products rises with likeness to it.
        centre: The median of that sum on training images as they are, which were not fitted to.
        spread: Its 99th percentile there less the median, above 0.
        typical: The measure of the mean training image when the mistake is made to it, above 0.
    """

    name: str
    weights: tuple[float, ...]
    centre: float
    spread: float
    typical: float

    def measure(self, standardised: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns how like the mistake images are, 0 for the median training image and 1 for one in a hundred.

        Args:
            standardised: Array (n, numbers), the whole layouts.
        """
        return np.asarray((standardised @ np.asarray(self.weights) - self.centre) / self.spread)

    def discriminant(self, measure: float) -> float:
        """Returns the linear discriminant of the mistake against images as they are, above 0 nearer to the mistake.

        Args:
            measure: From `measure`.
        """
        return float((measure - self.typical / 2) * self.spread + self.centre / 2)


@dataclass(frozen=True)
class ChangedImages(Record):
    """The run's test images with something done to them, and how many are then unlike the training images.

    Attributes:
        name: What was done, such as "upside down".
        flagged: Share of them above the threshold.
        percentiles: Their novelty at 0, 1, ... 100 %, for figures.
    """

    name: str
    flagged: Estimate
    percentiles: tuple[float, ...]


@checked
@dataclass(frozen=True)
class Novelty(Record, nan=("threshold",)):
    """How far images lie from the training images, with the threshold that validation froze.

    The novelty of an image is the largest of several measures, each scaled so that the median training image has 0 and
    one image in a hundred of them more than 1: its distances from the training images (probabilistic principal
    components), and its likeness to each mistake. An image is called unlike the training images when
    ``novelty > threshold``.

    Attributes:
        image_size: Height and width of the images that are looked at, pixels: those of the model.
        mean: Mean layout of the training images (`data.image_layout`).
        scale: What each number of the layout is divided by, above 0.
        parts: What the parts of the training images' layouts have in common.
        mistakes: Mistakes that were learnt beside.
        n_training: Training images that were fitted to or scaled by.
        threshold: Frozen on validation; NaN, infinite, where there are too few validation images for the rate.
        rate: Share of images like the training images that is to be flagged, (0, 1).
        n_validation: Validation images that chose the threshold.
        false_alarms: Which share that threshold flags of images like the validation images, with its interval: the
            rate is known only as well as so many images can tell.
        on_test: Share of the run's test images above the threshold.
        validation: The validation images' novelty at 0, 1, ... 100 %, for figures.
        test: The same of the test images.
        cautions: What limits the measure.
        changed: The test images inverted, turned, upside down and so on; empty in runs of before.
    """

    image_size: int
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    parts: tuple[Likeness, ...]
    mistakes: tuple[Mistake, ...]
    n_training: int
    threshold: float = math.nan
    rate: float = 0.01
    n_validation: int = 0
    false_alarms: Estimate = NOT_MEASURED
    on_test: Estimate = NOT_MEASURED
    validation: tuple[float, ...] = ()
    test: tuple[float, ...] = ()
    cautions: tuple[str, ...] = ()
    changed: tuple[ChangedImages, ...] = ()

    def refuse_impossible(self) -> None:
        """Checks what was read: lengths that belong together, finite numbers, spreads above 0.

        Raises:
            ValueError: If something cannot be.
        """
        length = len(self.mean)
        if not 1 <= length <= _MOST_NUMBERS or not 1 <= len(self.parts) <= _MOST_PARTS >= len(self.mistakes):
            raise ValueError(
                f"layouts of {length:,} numbers, {len(self.parts)} parts and {len(self.mistakes)} mistakes"
            )
        _check_row("scale", self.scale, length)
        above = [*self.scale]
        finite = [*self.mean, *self.validation, *self.test]
        for entry in self.changed:
            _check_row("percentiles", entry.percentiles, 101)
            finite += entry.percentiles
        for part in self.parts:
            if not 0 <= part.start < part.stop <= length or len(part.directions) > _MOST_DIRECTIONS:
                raise ValueError(f"{part.name} has the numbers {part.start} to {part.stop} of {length}")
            _check_row("variances", part.variances, len(part.directions))
            for row in part.directions:
                _check_row("a direction", row, part.stop - part.start)
                finite += row
            above += [*part.variances, part.rest, part.spread]
            finite.append(part.centre)
        for mistake in self.mistakes:
            _check_row("weights", mistake.weights, length)
            finite += [*mistake.weights, mistake.centre]
            above += [mistake.spread, mistake.typical]
        if not all(0 < value < math.inf for value in above):
            raise ValueError("a scale, variance or spread is not above 0")
        if not all(math.isfinite(value) for value in finite) or math.isinf(self.threshold):
            raise ValueError("a number is not finite")
        if not 0 < self.rate < 1 or self.n_validation < 0 or self.n_training < 0 or not 16 <= self.image_size <= 4096:
            raise ValueError(f"rate {self.rate:.4g}, {self.n_validation} validation images, {self.image_size} pixels")

    @property
    def names(self) -> tuple[str, ...]:
        """What each measure is called, in the order of `measures`."""
        return (*(entry.name for entry in self.parts), *(entry.name for entry in self.mistakes))

    def measures(self, layouts: ArrayLike) -> NDArray[np.float64]:
        """Returns every measure of images.

        Args:
            layouts: Array (n, numbers), from `data.image_layout`.

        Returns:
            float64 array (n, measures): above 1 lies about one training image in a hundred, by each measure.

        Raises:
            ValueError: If a layout has another length, as of images of another size.
        """
        given = np.atleast_2d(np.asarray(layouts, dtype=np.float64))
        if given.shape[1] != len(self.mean):
            raise ValueError(f"layouts have {given.shape[1]} numbers; {len(self.mean)} were expected.")
        standardised = (given - np.asarray(self.mean)) / np.asarray(self.scale)
        found = [part.measure(standardised) for part in self.parts]
        found += [mistake.measure(standardised) for mistake in self.mistakes]
        return np.stack(found, axis=1)

    def named(self, measures: ArrayLike) -> str:
        """Returns what an image is most like: a mistake where one alone would flag it, else what is most unusual in it.

        Args:
            measures: Those of one image, a row of `measures`.
        """
        row, before = np.asarray(measures, dtype=np.float64), len(self.parts)
        if not self.mistakes or not (row[before:] > self.threshold).any():
            return self.names[int(row.argmax())]
        # A turned image has something of an inverted one; the discriminant between all of them tells which it is.
        found = [entry.discriminant(value) for entry, value in zip(self.mistakes, row[before:], strict=True)]
        return self.mistakes[int(np.argmax(found))].name

    def of(self, layouts: ArrayLike) -> NDArray[np.float64]:
        """Returns the novelty of images, the largest of their measures.

        Args:
            layouts: Array (n, numbers), from `data.image_layout`.
        """
        return np.asarray(self.measures(layouts).max(axis=1))

    def unlike(self, novelty: ArrayLike) -> NDArray[np.bool_]:
        """Returns which images are unlike the training images; none where there is no threshold.

        Args:
            novelty: Array (n,), from `of`.
        """
        return np.asarray(np.asarray(novelty, dtype=np.float64) > self.threshold)

    def __str__(self) -> str:
        """Returns the threshold and how often it is wrong, as one sentence."""
        if math.isnan(self.threshold):
            return f"no threshold: {self.false_alarms}"
        return (
            f"novelty above {self.threshold:.3g} is unlike the training images; false alarms {self.false_alarms} "
            f"({self.n_validation:,} validation images), on test {self.on_test}"
        )


def distance_from(
    centred: NDArray[np.float64], directions: NDArray[np.float64], variances: NDArray[np.float64], rest: float
) -> NDArray[np.float64]:
    """Returns how far images lie from a mean, in spreads of the images it is the mean of, over all numbers.

    The square root of the mean squared number of standard deviations (Mahalanobis), where all but some directions share
    one variance.

    Args:
        centred: Array (n, numbers), less the mean.
        directions: Array (k, numbers), orthonormal.
        variances: Array (k,), along each.
        rest: Variance in every other direction.

    Source:
        Tipping & Bishop, Journal of the Royal Statistical Society B 61, 1999 (probabilistic principal components).
    """
    along = centred @ directions.T
    inside = (along**2 / variances).sum(axis=1)
    outside = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0.0) / rest
    return np.asarray(np.sqrt((inside + outside) / centred.shape[1]))


def _check_row(name: str, row: tuple[float, ...], length: int) -> None:
    if len(row) != length:
        raise ValueError(f"{name} holds {len(row)} numbers, {length} were expected")
