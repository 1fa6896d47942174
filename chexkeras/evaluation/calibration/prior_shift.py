"""Scores where the finding is more or less frequent than in training: what they become, and how frequent it is.

Both rest on two assumptions. The scores are calibrated probabilities at the training prevalence, and only the share of
positives has changed: a positive image looks as positive images did in training, a negative one as negatives did. Other
scanners, other patients or another meaning of the label break the second; recalibrate on labelled images then.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.scores import check_values, patient_numbers
from chexkeras.evaluation.uncertainty.resampling import patient_counts
from chexkeras.results import Estimate

_VALID = "valid for calibrated scores and a change of prevalence alone"
# Scores of exactly 0 and 1 claim a certainty that would outweigh any number of images.
_SURE = 1e-12
_GRID = 65
# Up to so many cells, 64 megabytes, the slopes of all patients are held at once; above, they are computed in blocks of
# patients, each for as many replicates as have their counts in 128 megabytes.
_CELLS_AT_ONCE = 2**23
_COUNTS_AT_ONCE = 2**26


class PrevalenceShift(NamedTuple):
    """How frequent a finding is among unlabelled images, and their scores at that prevalence.

    Attributes:
        prevalence: The share of positives, with its interval.
        scores: Shape (n,), the scores shifted to it; as they came when it is not estimable.
        iterations: Steps taken.
        converged: Whether the last step moved the prevalence by less than the tolerance.
    """

    prevalence: Estimate
    scores: NDArray[np.float64]
    iterations: int
    converged: bool


@checked
def shift_probabilities(scores: ArrayLike, *, from_prevalence: float, to_prevalence: float) -> NDArray[np.float64]:
    """Returns the probabilities that calibrated scores become at another prevalence.

    The odds are multiplied by the ratio of the prevalences' odds; the ranking stays, so a threshold is shifted by the
    same formula. It is valid for calibrated scores and a change of prevalence alone.

    Args:
        scores: Probabilities in [0, 1], any shape.
        from_prevalence: At which they are calibrated, strictly between 0 and 1: the training prevalence, or 0.5 where
            class weights balanced the classes.
        to_prevalence: At which they are wanted, strictly between 0 and 1.

    Returns:
        Probabilities of the same shape; 0 and 1 stay what they are.

    Raises:
        ValueError: If a score is not a probability, or a prevalence is not strictly between 0 and 1.

    Source:
        Saerens, Latinne & Decaestecker, Neural Computation 14, 2002 (equation 2.4).

    Example:
        >>> shift_probabilities([0.8], from_prevalence=0.5, to_prevalence=0.0136).round(4)
        array([0.0523])
    """
    before = checks.probability(from_prevalence, "from_prevalence", open_interval=True)
    after = checks.probability(to_prevalence, "to_prevalence", open_interval=True)
    given = checks.numbers(scores, "scores")
    return _shifted(check_values(given.ravel(), probabilities=True).reshape(given.shape), before, after)


def _shifted(scores: NDArray[np.float64], before: float, after: float) -> NDArray[np.float64]:
    of_positive, of_negative = scores * (after / before), (1 - scores) * ((1 - after) / (1 - before))
    return np.asarray(of_positive / (of_positive + of_negative))


@checked
def estimate_prevalence(
    scores: ArrayLike,
    *,
    train_prevalence: float,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
    iterations: int = 10_000,
    tolerance: float = 1e-9,
    replicates: int = 2000,
    seed: int = 0,
) -> PrevalenceShift:
    """Estimates from scores alone, without labels, how frequent a finding is, and shifts the scores to it.

    The prevalence is set to the mean of the scores shifted to it, again and again (the EM algorithm); its fixed point
    has the largest likelihood. The interval comes from a bootstrap of whole patients. Valid for calibrated scores and
    a change of prevalence alone: a shift of the scores for any other reason is taken for one of prevalence.

    Args:
        scores: Shape (n,), probabilities in [0, 1] of images that were not used for training.
        train_prevalence: At which the scores are calibrated, strictly between 0 and 1: the training prevalence, or 0.5
            where class weights balanced the classes.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).
        iterations: Most steps to take.
        tolerance: The change of prevalence below which the steps end.
        replicates: Bootstrap replicates.
        seed: One seed, one result, whatever the order of rows.

    Returns:
        The prevalence and the shifted scores; not estimable when all scores are equal, which says nothing about it, or
        when all images come from one patient.

    Raises:
        ValueError: If a score is not a probability, or an argument is out of range.

    Source:
        Saerens, Latinne & Decaestecker, Neural Computation 14, 2002.
    """
    before = checks.probability(train_prevalence, "train_prevalence", open_interval=True)
    checks.probability(confidence, "confidence", open_interval=True)
    checks.positive_int(iterations, "iterations")
    checks.positive_int(replicates, "replicates")
    checks.probability(tolerance, "tolerance", open_interval=True)
    given = checks.numbers(scores, "scores")
    if given.ndim != 1 or not len(given):
        raise ValueError(f"scores have shape {given.shape}; expected one column of at least one score.")
    given = check_values(given, probabilities=True)
    n, group = len(given), patient_numbers(clusters, np.ones(len(given), dtype=bool))
    reason = "all scores are equal, so they say nothing about prevalence" if given.min() == given.max() else ""
    if group is not None and not group.any():
        reason = reason or "all images come from one patient"
    if reason:
        return PrevalenceShift(Estimate.not_estimable(reason, n=n, confidence=confidence), given.copy(), 0, False)
    bounded = given.clip(_SURE, 1 - _SURE)
    value, steps, converged = _expectation_maximisation(bounded, before, iterations, tolerance)
    drawn = _bootstrap(bounded, before, group, replicates, seed)
    tail = (1 - confidence) / 2
    low, high = (float(limit) for limit in np.quantile(drawn, [tail, 1 - tail]))
    unit = f"{n} images" if group is None else f"{n} images of {int(group.max()) + 1} patients"
    method = (
        f"EM (Saerens 2002) from prevalence {before:g}, {steps} steps; percentile bootstrap of {unit}, {replicates} "
        f"replicates, seed {seed}; {_VALID}"
    )
    if not converged:
        method += f"; not converged to {tolerance:g}, give more iterations"
    estimate = Estimate(value, min(low, value), max(high, value), confidence, n, method)
    return PrevalenceShift(estimate, _shifted(bounded, before, value), steps, converged)


def _expectation_maximisation(
    scores: NDArray[np.float64], before: float, iterations: int, tolerance: float
) -> tuple[float, int, bool]:
    # Towards an end of the scale the steps become ever smaller; whether the likelihood rises to there is known before.
    at_none, at_all = (_slopes(scores, before, end).sum() for end in (0.0, 1.0))
    if at_none <= 0 or at_all >= 0:
        return (0.0 if at_none <= 0 else 1.0), 0, True
    value = before
    for step in range(1, iterations + 1):
        previous, value = value, float(_shifted(scores, before, value).mean())
        if abs(value - previous) < tolerance:
            return value, step, True
    return value, iterations, False


def _slopes(scores: NDArray[np.float64], before: float, at: float) -> NDArray[np.float64]:
    """Returns what each score adds to the slope of the log likelihood at a prevalence, shape (n,)."""
    negative = (1 - scores) / (1 - before)
    rise = scores / before - negative
    return np.asarray(rise / (negative + at * rise))


class _Patients:
    """Slopes of the log likelihood, added up within patients in blocks of them, so that memory stays bounded.

    Attributes:
        count: How many patients there are.
    """

    def __init__(self, scores: NDArray[np.float64], before: float, group: NDArray[np.int64] | None) -> None:
        # In this order a draw belongs to the score, not to the position of its row; images of a patient lie together.
        order = np.argsort(scores, kind="stable")
        if group is not None:
            order = order[np.argsort(group[order], kind="stable")]
        self._owner = np.arange(len(scores)) if group is None else group[order]
        self._scores, self._before = scores[order], before
        self.count = int(self._owner[-1]) + 1

    def slopes(self, grid: NDArray[np.float64], replicates: int, seed: int) -> NDArray[np.float64]:
        """Returns the slope of each replicate at each prevalence of a grid, shape (replicates, prevalences)."""
        size = max(1, _CELLS_AT_ONCE // len(grid))
        firsts = range(0, self.count, size)
        whole = self._block(0, self.count, grid) if len(firsts) == 1 else None
        # A patient among so many is never drawn 65,536 times.
        held = np.empty((min(replicates, max(1, _COUNTS_AT_ONCE // self.count)), self.count), dtype=np.uint16)
        found, waiting, one_stratum = [], 0, np.zeros(self.count, dtype=bool)
        for batch in patient_counts(one_stratum, replicates=replicates, seed=seed, width=self.count):
            if whole is not None:
                found.append(batch.astype(np.float64) @ whole)
                continue
            for counts in batch:
                held[waiting] = counts
                waiting += 1
                if waiting == len(held) or len(held) * len(found) + waiting == replicates:
                    slopes = np.zeros((waiting, len(grid)))
                    for first in firsts:
                        last = min(first + size, self.count)
                        slopes += held[:waiting, first:last].astype(np.float64) @ self._block(first, last, grid)
                    found.append(slopes)
                    waiting = 0
        return np.concatenate(found)

    def _block(self, first: int, last: int, grid: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = slice(*np.searchsorted(self._owner, (first, last)))
        scores, owner = self._scores[rows], self._owner[rows] - first
        made = np.empty((last - first, len(grid)))
        for column, at in enumerate(grid):
            made[:, column] = np.bincount(owner, _slopes(scores, self._before, float(at)), last - first)
        return made


def _bootstrap(
    scores: NDArray[np.float64], before: float, group: NDArray[np.int64] | None, replicates: int, seed: int
) -> NDArray[np.float64]:
    """Returns the prevalence of largest likelihood for each draw of patients.

    The slope of the log likelihood falls with the prevalence. Added up within patients at a few prevalences, one
    product with the counts of patients gives it for all replicates, and so where it crosses zero: first roughly, then
    on a grid within the range of all replicates.
    """
    patients = _Patients(scores, before, group)
    grid = np.sin(np.linspace(0, np.pi / 2, _GRID)) ** 2
    for _ in range(2):
        slopes = patients.slopes(grid, replicates, seed)
        above = (slopes > 0).sum(axis=1)
        left, right = np.maximum(above - 1, 0), np.minimum(above, _GRID - 1)
        rows = np.arange(replicates)
        fall = slopes[rows, left] - slopes[rows, right]
        part = np.divide(slopes[rows, left], fall, out=np.zeros(replicates), where=fall > 0)
        drawn = np.asarray(grid[left] + part * (grid[right] - grid[left]))
        grid = np.linspace(grid[left.min()], grid[right.max()], _GRID)
    return drawn
