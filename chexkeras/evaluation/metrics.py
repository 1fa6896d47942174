"""Exact discrimination metrics: area under the ROC curve, curves at every score, and counts at a threshold.

Everything is computed on the whole set at once, never by binning. An unknown label (NaN) takes its row out. Arguments
come in the order ``(labels, scores)``, and an image counts as positive when ``score >= threshold``.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.scores import clean, one_class


class RocCurve(NamedTuple):
    """Points of a ROC curve, from (0, 0) to (1, 1).

    Attributes:
        false_positive_rate: 1 - specificity, shape (k + 1,).
        sensitivity: Shape (k + 1,).
        threshold: The distinct scores, descending; NaN for the first point, which no score reaches.
    """

    false_positive_rate: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    threshold: NDArray[np.float64]


class PrecisionRecallCurve(NamedTuple):
    """Points of a precision-recall curve, one for each distinct score, in scikit-learn's order.

    Attributes:
        precision: Shape (k,).
        recall: Descending from 1, shape (k,).
        threshold: The distinct scores, ascending, shape (k,).
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    threshold: NDArray[np.float64]


class Confusion(NamedTuple):
    """The four counts at one threshold."""

    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int


def placements(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns for every row twice the number of rows of the other class that it beats, a tie counting half.

    These are the midranks of Sun & Xu with the rank inside the own class taken off: for a positive, negatives scored
    below it; for a negative, positives scored above it. Whole numbers keep the area exact.

    Args:
        positive: Shape (n,), clean labels; at least one row.
        scores: Shape (n,), finite.

    Returns:
        Shape (n,), from 0 to 2 x the size of the other class.

    Source:
        Sun & Xu, IEEE Signal Processing Letters 21(11), 2014.
    """
    order = np.argsort(scores)
    ordered, positives_below = scores[order], np.append(0, np.cumsum(positive[order]))
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    stops = np.append(starts[1:], len(ordered))
    # One number for each tied block: rows of a class below it plus rows of that class not above it.
    positives = positives_below[starts] + positives_below[stops]
    beaten = np.repeat(starts + stops - positives, stops - starts)
    beating = np.repeat(2 * positives_below[-1] - positives, stops - starts)
    doubled = np.empty(len(scores), dtype=np.int64)
    doubled[order] = np.where(positive[order], beaten, beating)
    return doubled


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Returns the exact area under the ROC curve: the share of (positive, negative) pairs ranked rightly, ties half.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite; any monotone scale.

    Returns:
        In [0, 1]; NaN when one class is missing (`intervals.auc_interval` also says why).

    Raises:
        ValueError: See `scores.clean`.

    Source:
        Hanley & McNeil, Radiology 143, 1982.

    Example:
        >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
        0.875
    """
    positive, score, _ = clean(labels, scores)
    pairs = int(positive.sum()) * int((~positive).sum())
    if not pairs:
        return math.nan
    return int(placements(positive, score)[positive].sum()) / (2 * pairs)


class _Blocks(NamedTuple):
    """Cumulative counts over tied blocks of scores, strictest threshold first."""

    threshold: NDArray[np.float64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    n_positive: int
    n_negative: int


def _blocks(labels: ArrayLike, scores: ArrayLike) -> _Blocks:
    positive, score, _ = clean(labels, scores)
    order = np.argsort(-score, kind="stable")
    score, positive = score[order], positive[order]
    # Rows with one score are called together, so only the last row of each tied block is a possible threshold.
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], len(score) > 0))
    true_positives = np.cumsum(positive, dtype=np.int64)[ends]
    n_positive = int(positive.sum())
    return _Blocks(score[ends], true_positives, ends + 1 - true_positives, n_positive, len(score) - n_positive)


@checked
def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve:
    """Returns the ROC curve with a point at every distinct score and no artificial threshold.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite.

    Returns:
        The curve, from (0, 0) to (1, 1).

    Raises:
        ValueError: If a class is missing; and see `scores.clean`.
    """
    blocks = _blocks(labels, scores)
    if not blocks.n_positive or not blocks.n_negative:
        raise ValueError(f"a ROC curve needs both classes; {one_class(blocks.n_positive, blocks.n_negative)}.")
    return RocCurve(
        np.append(0.0, blocks.false_positives / blocks.n_negative),
        np.append(0.0, blocks.true_positives / blocks.n_positive),
        np.append(np.nan, blocks.threshold),
    )


@checked
def precision_recall_curve(labels: ArrayLike, scores: ArrayLike) -> PrecisionRecallCurve:
    """Returns the precision-recall curve with a point at every distinct score.

    Draw it as steps (matplotlib's "steps-post"): between two points precision does not move in a straight line.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite.

    Returns:
        The curve; it has no invented point at recall 0.

    Raises:
        ValueError: If there is no positive; and see `scores.clean`.

    Source:
        Davis & Goadrich, ICML 2006, on why not to interpolate.
    """
    blocks = _blocks(labels, scores)
    if not blocks.n_positive:
        raise ValueError("a precision-recall curve needs at least one positive; there is none.")
    called = blocks.true_positives + blocks.false_positives
    precision, recall = blocks.true_positives / called, blocks.true_positives / blocks.n_positive
    return PrecisionRecallCurve(precision[::-1], recall[::-1], blocks.threshold[::-1])


@checked
def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Returns the area under the precision-recall curve as a sum of steps, without trapezoids.

    Its chance level is the prevalence, so values do not compare across prevalences.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite.

    Returns:
        In (0, 1]; NaN without positives.

    Raises:
        ValueError: See `scores.clean`.

    Example:
        >>> average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
        0.8333333333333333
    """
    blocks = _blocks(labels, scores)
    if not blocks.n_positive:
        return math.nan
    gained = np.diff(blocks.true_positives, prepend=0)
    called = blocks.true_positives + blocks.false_positives
    return float((gained * blocks.true_positives / called).sum() / blocks.n_positive)


@checked
def confusion(labels: ArrayLike, scores: ArrayLike, threshold: float) -> Confusion:
    """Counts the four outcomes when an image is called positive at ``score >= threshold``.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), probabilities in [0, 1].
        threshold: In [0, 1].

    Returns:
        True positives, false negatives, false positives, true negatives.

    Raises:
        ValueError: If the threshold lies outside [0, 1]; and see `scores.clean`.

    Example:
        >>> confusion([1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1], 0.5)
        Confusion(true_positives=1, false_negatives=1, false_positives=1, true_negatives=1)
    """
    cut = checks.probability(threshold, "threshold")
    positive, score, _ = clean(labels, scores, probabilities=True)
    called = score >= cut
    hits, alarms = int((called & positive).sum()), int((called & ~positive).sum())
    return Confusion(hits, int(positive.sum()) - hits, alarms, int((~positive).sum()) - alarms)
