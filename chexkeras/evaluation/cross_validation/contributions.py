"""What each image contributes to the error of a cross-validated statistic, averaged over repeats and seeds.

A statistic is measured within every fold, by the model that has not seen the fold's patients, and averaged. An image is
tested once in every training of all folds; its contributions to these are averaged before they are squared, so that
repeats and seeds, which ask the same patients again, do not pass for more patients.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from chexkeras.evaluation.calibration.logistic import fit_shift, log_odds
from chexkeras.evaluation.cross_validation.fold_scores import FindingFolds
from chexkeras.evaluation.metrics import placements
from chexkeras.evaluation.uncertainty.delong import AucContributions, class_contributions
from chexkeras.evaluation.uncertainty.worth import Agreement


class Influenced(NamedTuple):
    """A statistic with what each image contributes to its error.

    Attributes:
        value: The statistic.
        of_images: Shape (n,), contributions; 0 for images that do not count.
        owner: Shape (n,), patient numbers.
        counts: Shape (n,), which images the statistic is about.
        least: What its variance is at least, as of independent images.
    """

    value: float
    of_images: NDArray[np.float64]
    owner: NDArray[np.int64]
    counts: NDArray[np.bool_]
    least: float = 0.0

    @property
    def agreement(self) -> Agreement:
        """How far the images of one patient agree in what they contribute."""
        return Agreement.of(self.of_images[self.counts], self.owner[self.counts])

    @property
    def variance(self) -> float:
        """By patient, raised to what the design effect says; NaN of one patient."""
        agreement = self.agreement
        if agreement.n_patients < 2:
            return math.nan
        factor = agreement.n_patients / (agreement.n_patients - 1)
        return max(self.least, factor * float(agreement.scatter) * float(agreement.design_effect()))


_FLAT = 1e8
# Negatives of a fold from which on each is measured by the others, too.
_FEWEST = 3
_LEAST_SQUARE = 1e-6
# Precision goes by ranks, in steps: its slope is taken over a tenth of a standard deviation to each side.
_STEP = 0.1
"""The variance of a coefficient beyond which there is none."""


def areas_in_folds(scores: FindingFolds) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the area under the ROC curve within every fold, and the placements that they are the means of.

    Args:
        scores: Of one finding that can be measured in every fold.

    Returns:
        Areas, shape (repeats, seeds, folds); and for each image which share of the other class in its fold it is
        ranked rightly against, ties half, shape (repeats, seeds, n).
    """
    n_repeats, n_seeds, _ = scores.score.shape
    areas = np.empty((n_repeats, n_seeds, scores.n_folds[0]))
    placed = np.empty_like(scores.score)
    for repeat, fold, rows in _folds(scores):
        positive = scores.positive[rows]
        n_positive = int(positive.sum())
        other = np.where(positive, len(rows) - n_positive, n_positive)
        for seed in range(n_seeds):
            placed[repeat, seed, rows] = placements(positive, scores.score[repeat, seed, rows]) / (2 * other)
            areas[repeat, seed, fold] = placed[repeat, seed, rows[positive]].mean()
    return areas, placed


def auroc_parts(
    scores: FindingFolds, owner: NDArray[np.int64], n_owners: int, minus: FindingFolds | None = None
) -> tuple[AucContributions, NDArray[np.float64]]:
    """Returns the mean area of the folds, or the difference of two recipes, with the contributions of patients.

    An image contributes its placement less the mean area of all folds, over the images of its class in its fold and
    the number of folds. LeDell, Petersen and van der Laan take off the area of the image's own fold instead; where a
    fold has few positives that takes off what is to be measured (of a single positive, all of it), and intervals of
    95 % cover as little as 51 %, see benchmarks/README.md.

    Args:
        scores: Of one finding that can be measured in every fold.
        owner: Shape (n,), patient numbers below `n_owners`.
        n_owners: Length of the contributions, the same for all areas whose covariance is wanted.
        minus: Scores of another recipe on the same folds, whose area is subtracted.

    Returns:
        The area with its contributions; and areas, or differences, within folds, shape (repeats, seeds, folds).

    Source:
        LeDell, Petersen & van der Laan, Electronic Journal of Statistics 9, 2015; Obuchowski, Biometrics 53, 1997.
    """
    areas, placed = areas_in_folds(scores)
    if minus is not None:
        others, elsewhere = areas_in_folds(minus)
        areas, placed = areas - others, placed - elsewhere
    value = float(areas.mean())
    weights = fold_weights(scores)
    contribution = ((placed - value) * weights[:, np.newaxis]).mean(axis=(0, 1))

    def added(contribution: NDArray[np.float64]) -> AucContributions:
        of_classes = [(contribution[rows], owner[rows]) for rows in (scores.positive, ~scores.positive)]
        return class_contributions(value, of_classes[0], of_classes[1], n_owners)

    part = added(contribution)
    variance = part.variance
    if minus is not None or not variance > 0:
        return part, areas
    # What is left is never less than by LeDell's, which takes off the area of each image's own fold.
    of_folds = np.take_along_axis(areas, scores.fold[:, np.newaxis].repeat(areas.shape[1], axis=1), axis=2)
    least = added(((placed - of_folds) * weights[:, np.newaxis]).mean(axis=(0, 1))).variance
    left = max(1 - _counted_twice(scores, part) / variance, min(least / variance, 1.0))
    return added(contribution * math.sqrt(left)), areas


def _counted_twice(scores: FindingFolds, part: AucContributions) -> float:
    """Returns the part of a variance that comes from comparisons within small folds and is counted in both classes.

    Whether a positive ranks above a negative varies by area x (1 - area). With few images in a fold this shows in the
    placements of its positives and once more in those of its negatives, by one over the product of their numbers, or
    of what they are worth where images of one patient agree. Pairs that meet in several repeats count by their mean
    weight.
    """
    n_positive = int(scores.positive.sum())
    sizes = n_positive, len(scores.positive) - n_positive
    worth = math.prod(min(1.0, effective / size) for effective, size in zip(part.sizes, sizes, strict=True))
    tables = []
    for repeat, n_folds in enumerate(scores.n_folds):
        counts = [np.bincount(scores.fold[repeat][rows], minlength=n_folds)
                  for rows in (scores.positive, ~scores.positive)]  # fmt: skip
        tables.append(1 / (n_folds * counts[0] * counts[1]))
    total = 0.0
    for one, first in enumerate(tables):
        for other, second in enumerate(tables):
            together = scores.fold[one] * len(second) + scores.fold[other]
            met = math.prod(
                np.bincount(together[rows], minlength=len(first) * len(second)).astype(np.float64)
                for rows in (scores.positive, ~scores.positive)
            )
            total += float(met @ np.outer(first, second).ravel())
    return part.area * (1 - part.area) * total / len(tables) ** 2 / worth


def fold_weights(scores: FindingFolds) -> NDArray[np.float64]:
    """Returns what each image counts in a mean over folds of a mean over the images of its class.

    Args:
        scores: Of one finding.

    Returns:
        Shape (repeats, n): 1 over the images of its class in its fold and the number of folds.
    """
    weights = np.empty(scores.fold.shape)
    for repeat, _, rows in _folds(scores):
        positive = scores.positive[rows]
        n_positive = int(positive.sum())
        weights[repeat, rows] = 1 / np.where(positive, n_positive, len(rows) - n_positive) / scores.n_folds[repeat]
    return weights


def average_precision_parts(scores: FindingFolds) -> Influenced:
    """Returns the average precision over all folds, with the contributions of images at a fixed prevalence.

    The average precision of a fold with few positives is far too high: at three positives by 0.15, see
    benchmarks/README.md, so that their mean would be, too. Ranks within a fold cannot tell how small the
    false-positive rate is where none of its few negatives lies above, and what is made of them is too low where the
    ranking is good. So the folds are put on one scale: the logit of a score, less the mean of its fold's negatives, by
    their standard deviation. Each positive then has the false-positive rate of its place among the negatives of all
    folds. Precision follows from both rates and the prevalence, and is averaged over positives. The rate above which j
    of m negatives lie is taken as (j + 1/3) / (m + 2/3), its median: 0 would make the precision at the highest scores
    1, for certain. Whatever shifts or stretches all logits of a fold changes nothing.

    Args:
        scores: Of one finding that can be measured in every fold.

    Source:
        Pepe, The Statistical Evaluation of Medical Tests, 2003, section 4.3 (placement values); Tukey, Annals of
        Mathematical Statistics 33, 1962 (the thirds).
    """
    n_repeats, n_seeds, n = scores.score.shape
    values, total = [], np.zeros(n)
    for repeat in range(n_repeats):
        folds = [rows for at, _, rows in _folds(scores) if at == repeat]
        for seed in range(n_seeds):
            aligned = _aligned(scores.positive, scores.score[repeat, seed], folds)
            value, contribution = _placed_precision(scores.positive, aligned)
            contribution += _by_alignment(scores.positive, aligned, folds)
            values.append(value)
            total += contribution / (n_repeats * n_seeds)
    # Classes have a fixed size: what all images of one contribute alike is the prevalence's, which is taken as given.
    for rows in (scores.positive, ~scores.positive):
        total[rows] -= total[rows].mean()
    return Influenced(math.fsum(values) / len(values), total, scores.owner, np.ones(n, dtype=bool))


def _aligned(
    positive: NDArray[np.bool_], score: NDArray[np.float64], folds: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Returns scores on one scale for all folds: that on which each fold's negatives have mean 0 and deviation 1.

    A negative that took part in mean and deviation looks nearer to the others than a new image would, and one that is
    measured by the others alone looks farther away. Half way between, the average precision is, in simulations, as
    that of as many images in one fold.
    """
    logits = log_odds(score)
    aligned = np.empty(len(score))
    for rows in folds:
        own = ~positive[rows]
        low = logits[rows[own]]
        spread = low.std(ddof=1) if len(low) > 1 else 0.0
        scaled = (logits[rows] - low.mean()) / (spread if spread > 0 else 1.0)
        if len(low) > _FEWEST and spread > 0:
            scaled[own] = (scaled[own] + _by_the_others(scaled[own])) / 2
        aligned[rows] = scaled
    # So that images which were tied in a fold, and only they, still are in spite of rounding.
    return np.round(aligned, 9)


def _by_the_others(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns values of mean 0 and deviation 1, each by the mean and deviation of the others instead."""
    m = len(scaled)
    squares = (m - 1) - scaled**2 * m / (m - 1)
    return scaled * m / (m - 1) / np.sqrt(np.maximum(squares / (m - 2), _LEAST_SQUARE))


def _by_alignment(
    positive: NDArray[np.bool_], aligned: NDArray[np.float64], folds: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Returns what each negative contributes to the error by its share in the mean and deviation of its fold."""
    contribution = np.zeros(len(positive))
    for rows in folds if len(folds) > 1 else []:
        low = rows[~positive[rows]]
        own = aligned[low]
        # A value above the mean draws the whole fold down; one far from it draws the fold together.
        for moved, drawn in ((np.ones(len(rows)), own), (aligned[rows], (own**2 - 1) / 2)):
            ends = []
            for step in (-_STEP, _STEP):
                changed = aligned.copy()
                changed[rows] += step * moved
                ends.append(_placed_precision(positive, changed)[0])
            contribution[low] -= (ends[1] - ends[0]) / (2 * _STEP) * drawn / len(low)
    return contribution


def _placed_precision(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Returns the average precision of one training, and what each image contributes to its error."""
    n_positive, prevalence = int(positive.sum()), float(positive.mean())
    high, low = np.flatnonzero(positive), np.flatnonzero(~positive)
    low = low[np.argsort(score[low], kind="stable")]
    places = [np.searchsorted(score[low], score[high], side) for side in ("left", "right")]
    rates = (len(low) - (places[0] + places[1]) / 2 + 1 / 3) / (len(low) + 2 / 3)
    order = np.sort(rates)
    below, reached = (np.searchsorted(order, rates, side) for side in ("left", "right"))
    true = (below + reached + 1) / (2 * n_positive)
    called = prevalence * true + (1 - prevalence) * rates
    precision = prevalence * true / called
    value = float(precision.mean())
    by_true = prevalence * (1 - prevalence) * rates / called**2
    by_false = -prevalence * (1 - prevalence) * true / called**2
    # A positive raises the true-positive rate at every positive of a higher false-positive rate, ties half.
    in_order = np.argsort(rates, kind="stable")
    above = np.append(np.cumsum(by_true[in_order][::-1])[::-1], 0.0)
    raised = (above[below] + above[reached]) / 2
    contribution = np.empty(len(positive))
    contribution[high] = (precision - value + (raised - float(by_true @ true)) / n_positive) / n_positive
    # A negative raises the false-positive rate of the positives that it lies above.
    gained = sum(np.bincount(place, by_false, len(low) + 1) for place in places) / 2
    contribution[low] = (np.cumsum(gained)[: len(low)] - float(by_false @ rates)) / len(low) / n_positive
    return value, contribution


def share_parts(scores: FindingFolds, among: NDArray[np.bool_], *, called: bool) -> Influenced:
    """Returns the share of some images that are called positive, or negative, at the thresholds of their folds.

    Calls of different folds can be counted together, since each is one yes or no of the rule that is judged.

    Args:
        scores: Of one finding with a threshold in every fold.
        among: Shape (n,), the images that count, at least one.
        called: Whether calls of "positive" are counted, or those of "negative".
    """
    hits = (scores.score >= scores.threshold) == called
    of_images = hits.mean(axis=(0, 1))
    value = float(of_images[among].mean())
    contribution = np.where(among, of_images - value, 0.0) / int(among.sum())
    return Influenced(value, contribution, scores.owner, among)


def brier_parts(scores: FindingFolds) -> Influenced:
    """Returns the mean squared difference of score and label.

    Args:
        scores: Of one finding.
    """
    squares = ((scores.score - scores.positive) ** 2).mean(axis=(0, 1))
    value = float(squares.mean())
    everyone = np.ones(len(squares), dtype=bool)
    return Influenced(value, (squares - value) / len(squares), scores.owner, everyone)


def intercept_parts(scores: FindingFolds) -> Influenced:
    """Returns the shift of the log odds that the scores lack, the same in all folds, averaged over trainings.

    Args:
        scores: Of one finding with both classes.
    """

    def fit(odds: NDArray[np.float64], fold: NDArray[np.int64]) -> _Fitted:
        shift = fit_shift(odds, scores.positive)
        fitted = special.expit(odds + shift)
        information = float((fitted * (1 - fitted)).sum())
        return shift, (scores.positive - fitted) / information, 1 / information

    return _mean_of_fits(scores, fit)


def slope_parts(scores: FindingFolds) -> Influenced:
    """Returns the slope of the log odds, the same in all folds, beside an intercept of each fold's own.

    Images are compared within folds only; a slope for each fold would often be infinite. The variance is enlarged by
    folds / (folds - 1), as Nadeau and Bengio enlarge that of folds that share training images; without it intervals of
    95 % cover 82-88 % of the time with 150 images.

    Args:
        scores: Of one finding that can be measured in every fold.
    """

    def fit(odds: NDArray[np.float64], fold: NDArray[np.int64]) -> _Fitted:
        design = np.column_stack([fold[:, np.newaxis] == np.arange(int(fold.max()) + 1), odds]).astype(np.float64)
        line, inverse, fitted = _logistic(design, scores.positive.astype(np.float64))
        return float(line[-1]), (design @ inverse[:, -1]) * (scores.positive - fitted), float(inverse[-1, -1])

    found = _mean_of_fits(scores, fit)
    # Images that are easy by chance make the models that are trained on them bolder: estimate and truth move apart.
    enlarged = scores.n_folds[0] / (scores.n_folds[0] - 1)
    return found._replace(of_images=found.of_images * math.sqrt(enlarged), least=found.least * enlarged)


_Fitted = tuple[float, NDArray[np.float64], float]
"""A coefficient, what each image contributes to its error, and its variance if images were independent."""


def _mean_of_fits(scores: FindingFolds, fit: Callable[[NDArray[np.float64], NDArray[np.int64]], _Fitted]) -> Influenced:
    n_repeats, n_seeds, n = scores.score.shape
    values, least, total = [], [], np.zeros(n)
    for repeat in range(n_repeats):
        for seed in range(n_seeds):
            value, contribution, variance = fit(log_odds(scores.score[repeat, seed]), scores.fold[repeat])
            values.append(value)
            least.append(variance)
            total += contribution / (n_repeats * n_seeds)
    # Repeats and seeds ask the same images again: they make no more of them.
    return Influenced(
        math.fsum(values) / len(values), total, scores.owner, np.ones(n, dtype=bool), math.fsum(least) / len(least)
    )


def _logistic(
    design: NDArray[np.float64], label: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns coefficients, the inverse of the information, and fitted probabilities; NaN where no finite fit is best.

    Newton's method, each step halved until the likelihood does not fall.
    """
    line = np.zeros(design.shape[1])
    line[:-1] = [special.logit(label[design[:, at] > 0].mean()) for at in range(design.shape[1] - 1)]

    def likelihood(at: NDArray[np.float64]) -> float:
        fitted = design @ at
        return float(label @ fitted - np.logaddexp(0, fitted).sum())

    best, nothing = likelihood(line), np.full(design.shape[1], np.nan)
    for _ in range(100):
        fitted = special.expit(design @ line)
        information = (design * (fitted * (1 - fitted))[:, np.newaxis]).T @ design
        try:
            inverse = np.linalg.inv(information)
        except np.linalg.LinAlgError:
            break
        if np.abs(inverse).max() > _FLAT:
            # The likelihood has become flat: classes are separated, and the slope grows for ever.
            break
        step = inverse @ (design.T @ (label - fitted))
        reached = likelihood(line + step)
        while reached < best - 1e-12 * abs(best) and np.abs(step).max() > 1e-12:
            step /= 2
            reached = likelihood(line + step)
        line, best = line + step, reached
        if np.abs(step).max() < 1e-10:
            return line, inverse, special.expit(design @ line)
    return nothing, np.outer(nothing, nothing), np.full(len(label), np.nan)


def _folds(scores: FindingFolds) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Yields repeat, fold and the images that are tested there."""
    for repeat, n_folds in enumerate(scores.n_folds):
        order = np.argsort(scores.fold[repeat], kind="stable")
        ends = np.searchsorted(scores.fold[repeat][order], np.arange(n_folds + 1))
        for fold in range(n_folds):
            yield repeat, fold, order[ends[fold] : ends[fold + 1]]
