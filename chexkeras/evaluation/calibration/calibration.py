"""How far scores can be read as probabilities: slope, intercept, Brier score, calibration error, reliability table.

A model trained with class weights, or on another prevalence than it meets, ranks as well as before and is still badly
calibrated; see `recalibration` for the remedy.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.calibration.logistic import CLIP, fit_line, fit_shift, log_odds, standard_errors, why_no_line
from chexkeras.evaluation.scores import check_values, one_class
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval, proportion_interval
from chexkeras.evaluation.uncertainty.limits import logit_limits
from chexkeras.evaluation.uncertainty.resampling import as_sample, patient_counts
from chexkeras.evaluation.uncertainty.worth import approximate, kish, student_quantile
from chexkeras.results import Calibration, Estimate, ReliabilityBin


class _Scored(NamedTuple):
    """Clean images in ascending order of scores, with the bin of each and what is said of them all."""

    positive: NDArray[np.bool_]
    score: NDArray[np.float64]
    owner: NDArray[np.int64]
    bin: NDArray[np.int64]
    unit: str
    confidence: float

    @property
    def patients(self) -> NDArray[np.int64] | None:
        return None if self.unit == "images" else self.owner

    @property
    def n_patients(self) -> int:
        return int(self.owner.max(initial=-1)) + 1

    @property
    def basis(self) -> str:
        """The images and patients that an interval rests on."""
        return "" if self.patients is None else f", {len(self.score)} images of {self.n_patients} patients"

    @property
    def few(self) -> str:
        """Says so where the patients of a class are worth few."""
        return approximate(min(kish(self.owner[rows]) for rows in (self.positive, ~self.positive)), self.unit)

    def nothing(self, reason: str) -> Estimate:
        return Estimate.not_estimable(reason, n=len(self.score), confidence=self.confidence)


@checked
def measure_calibration(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    bins: int = 10,
    confidence: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
    scores_are: str = "as the model gave them",
) -> Calibration:
    """Measures how well scores agree with the observed shares of positives.

    Slope and intercept come from logistic recalibration. The slope is that of a regression of the labels on the log
    odds of the scores; the intercept is the shift of the log odds, at slope 1, that makes the mean score equal the
    prevalence (calibration in the large). Scores are drawn in to [1e-7, 1 - 1e-7] for both. Where patients have several
    images, their variance lets the images of a patient agree, and limits use Student's t at what patients are worth.

    The Brier score has limits on the logit scale with the standard error of a bootstrap of patients, which here is not
    stratified: how many are positive is part of what varies. Its decomposition, Brier = reliability - resolution +
    uncertainty, is exact for the binned scores (each image given its bin's mean score) and only approximate for the
    scores themselves.

    The expected calibration error (ECE) is taken over bins with equally many images. It is biased upwards, most with
    few images: even a perfectly calibrated model shows some by chance, and `method` says how much. A percentile
    interval would therefore exclude 0 always, so the lower limit is 0 wherever chance alone could explain the error,
    and otherwise that of the basic bootstrap, which takes the bias off. The upper limit is the bootstrap's percentile.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), probabilities in [0, 1].
        clusters: Shape (n,), the patient of each image; None when images are independent.
        bins: Bins of the reliability table; fewer come out when many images have the same score.
        confidence: Coverage, in (0, 1).
        replicates: Bootstrap replicates.
        seed: One seed, one result, whatever the order of rows.
        scores_are: What the scores are, for the record, such as `Recalibration.description`.

    Returns:
        The calibration; with one class nothing but the table, the rest not estimable with the reason. When the scores
        separate the classes, or all are equal, there is no slope.

    Raises:
        ValueError: If `bins` or `replicates` is below 1, or scores are not probabilities; see `scores.clean`.

    Source:
        Cox, Biometrika 45, 1958 (slope and intercept); Van Calster et al., BMC Medicine 17:230, 2019; Brier, Monthly
        Weather Review 78, 1950; Murphy, Journal of Applied Meteorology 12, 1973 (decomposition); Nixon et al., CVPR
        Workshops 2019 (bins of equal mass).

    Example:
        >>> measured = measure_calibration([1] + [0] * 9 + [1] * 6 + [0] * 4, [0.2] * 10 + [0.7] * 10)
        >>> round(measured.brier.value, 4), round(measured.expected_calibration_error.value, 4)
        (0.175, 0.1)
    """
    checks.positive_int(bins, "bins")
    checks.positive_int(replicates, "replicates")
    checks.positive_int(seed, "seed", least=0)
    checks.probability(confidence, "confidence", open_interval=True)
    sample = as_sample(labels, scores, clusters)
    images = sample.columns[0]
    images = images._replace(scores=check_values(images.scores, probabilities=True))
    order = np.lexsort((images.positive, images.scores))
    positive, score = images.positive[order], images.scores[order]
    scored = _Scored(positive, score, images.owner[order], equal_mass_bins(score, bins), sample.unit, confidence)
    n, n_positive = len(score), int(positive.sum())
    table = tuple(_reliability_bin(scored, number) for number in range(int(scored.bin.max(initial=-1)) + 1))
    if n_positive in (0, n):
        none = scored.nothing(one_class(n_positive, n - n_positive))
        intercept = slope = brier = error = none
        reliability = resolution = uncertainty = math.nan
    else:
        intercept, slope = _intercept_and_slope(scored)
        brier, error = _bootstrapped(scored, replicates, seed)
        reliability, resolution, uncertainty = _decomposed(scored)
    return Calibration(
        n_images=n,
        n_positive=n_positive,
        intercept=intercept,
        slope=slope,
        brier=brier,
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        expected_calibration_error=error,
        bins=table,
        scores=scores_are,
    )


def equal_mass_bins(scores: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Divides images into bins of about equal size by their scores; images with one score share a bin.

    Args:
        scores: Shape (n,), in any order.
        bins: How many bins at most.

    Returns:
        Shape (n,), the bin of each image: 0, 1, ... in ascending order of scores, none of them empty.

    Example:
        >>> equal_mass_bins(np.array([0.1, 0.1, 0.1, 0.4, 0.8, 0.9]), 3)
        array([0, 0, 0, 1, 2, 2])
    """
    _, block, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    # A block of equal scores goes where its middle falls; in whole numbers, so that no rounding decides.
    middle = 2 * np.cumsum(sizes) - sizes
    bin_of_block = (middle * bins) // (2 * max(1, len(scores)))
    return np.unique(bin_of_block, return_inverse=True)[1][block].astype(np.int64)


def _reliability_bin(scored: _Scored, number: int) -> ReliabilityBin:
    rows = scored.bin == number
    positive, score = scored.positive[rows], scored.score[rows]
    n, n_positive = len(score), int(positive.sum())
    if scored.patients is None:
        observed = proportion_interval(n_positive, n, method="wilson", confidence=scored.confidence)
    else:
        observed = clustered_proportion_interval(positive, scored.owner[rows], confidence=scored.confidence)
    return ReliabilityBin(float(score[0]), float(score[-1]), n, n_positive, float(score.mean()), observed)


def _intercept_and_slope(scored: _Scored) -> tuple[Estimate, Estimate]:
    odds, positive, owner = log_odds(scored.score), scored.positive, scored.patients
    if owner is not None:
        for kind, rows in (("positive", positive), ("negative", ~positive)):
            if len(np.unique(owner[rows])) == 1:
                reason = f"all {kind} images come from one patient, who says nothing about how patients differ"
                return scored.nothing(reason), scored.nothing(reason)
    drawn_in = int(((scored.score < CLIP) | (scored.score > 1 - CLIP)).sum())
    ending = scored.basis + scored.few
    if drawn_in:
        ending += f"; {drawn_in} scores drawn in to [{CLIP:g}, 1 - {CLIP:g}]"
    how = "Wald interval" if owner is None else "Wald interval with Student's t and variance by patient"

    quantile = student_quantile(scored.confidence, math.inf if owner is None else max(kish(owner) - 1, 1.0))

    def estimate(value: float, error: float, name: str) -> Estimate:
        half = quantile * float(error)
        method = f"{name}, {how}{ending}"
        return Estimate(value, value - half, value + half, scored.confidence, len(odds), method)

    ones = np.ones((len(odds), 1))
    shift = fit_shift(odds, positive)
    errors = standard_errors(ones, special.expit(odds + shift), positive, owner)
    intercept = estimate(shift, errors[0], "logistic recalibration at slope 1")
    reason = why_no_line(odds, positive)
    if reason:
        return intercept, scored.nothing(reason)
    start, slope = fit_line(odds, positive)
    errors = standard_errors(np.column_stack([ones, odds]), special.expit(start + slope * odds), positive, owner)
    return intercept, estimate(slope, errors[1], "logistic recalibration")


def _decomposed(scored: _Scored) -> tuple[float, float, float]:
    """Returns reliability, resolution and uncertainty of the binned scores."""
    sizes = np.bincount(scored.bin)
    observed, mean = np.bincount(scored.bin, scored.positive) / sizes, np.bincount(scored.bin, scored.score) / sizes
    prevalence, weight = float(scored.positive.mean()), sizes / sizes.sum()
    reliability = float(weight @ (mean - observed) ** 2)
    return reliability, float(weight @ (observed - prevalence) ** 2), prevalence * (1 - prevalence)


def _bootstrapped(scored: _Scored, replicates: int, seed: int) -> tuple[Estimate, Estimate]:
    """Returns the Brier score and the expected calibration error, both from one bootstrap of patients."""
    n, n_patients, n_bins = len(scored.score), scored.n_patients, int(scored.bin.max()) + 1
    if n_patients == 1:
        return (scored.nothing("all images come from one patient; a bootstrap needs at least two"),) * 2
    residual = scored.score - scored.positive
    # Of each patient: images, squared errors, and the residuals of each bin; everything else are sums of these.
    sums = np.zeros((n_patients, 2 + n_bins))
    sums[:, 0] = np.bincount(scored.owner, minlength=n_patients)
    sums[:, 1] = np.bincount(scored.owner, residual**2, n_patients)
    np.add.at(sums, (scored.owner, 2 + scored.bin), residual)
    together = np.zeros(n_patients, dtype=bool)
    batches = patient_counts(together, replicates=replicates, seed=seed, width=n_patients)
    totals = np.concatenate([counts.astype(np.float64) @ sums for counts in batches])
    how = f"bootstrap of {n_patients} {scored.unit}, {replicates} replicates, seed {seed}{scored.few}"

    value, drawn = float(sums[:, 1].sum() / n), totals[:, 1] / totals[:, 0]
    if np.ptp(drawn) <= 1e-12:
        brier = scored.nothing(f"it is {value:g} in every bootstrap replicate, so there is no interval to offer")
    else:
        limits = logit_limits(value, float(drawn.std(ddof=1)), scored.confidence)
        brier = Estimate(value, *limits, scored.confidence, n, f"logit interval with the standard error of a {how}")

    of_bins, drawn_bins = sums[:, 2:].sum(axis=0), totals[:, 2:] / totals[:, :1]
    value, drawn = float(np.abs(of_bins).sum() / n), np.abs(drawn_bins).sum(axis=1)
    chance = _by_chance(scored, drawn_bins - of_bins / n, seed)
    high = float(np.quantile(drawn, (1 + scored.confidence) / 2))
    low = 0.0
    if value > np.quantile(chance, scored.confidence):
        low = min(value, max(0.0, 2 * value - high))
    method = (
        f"{n_bins} bins of equal size, {how}; calibrated scores would show about {chance.mean():.4f} by chance, which "
        "the lower limit takes into account"
    )
    return brier, Estimate(value, low, max(high, value), scored.confidence, n, method)


def _by_chance(scored: _Scored, deviations: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Returns calibration errors as calibrated scores would show them: the larger of two kinds of replicates.

    The bootstrap's deviations know that a patient's images agree, but see no variation in a bin without positives;
    binomial draws at the mean scores see that, but take images as independent.
    """
    sizes = np.bincount(scored.bin)
    mean = np.clip(np.bincount(scored.bin, scored.score) / sizes, 0.0, 1.0)
    drawn = np.random.default_rng(seed).binomial(sizes, mean, size=(len(deviations), len(sizes)))
    kinds = (np.abs(deviations).sum(axis=1), np.abs(drawn - sizes * mean).sum(axis=1) / sizes.sum())
    return max(kinds, key=lambda kind: float(np.quantile(kind, scored.confidence)))
