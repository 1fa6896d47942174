"""Drawing whole patients with replacement, and statistics of the images drawn.

A draw is a count for each patient instead of a copied table, and statistics are computed from these counts: nothing is
copied, nothing sorted again.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.evaluation.metrics import auc, average_precision
from chexkeras.evaluation.scores import clean, patient_numbers

# Weights of one batch of replicates stay within the processor's cache and a few megabytes of memory.
_CELLS_IN_A_BATCH = 1_000_000


class Images(NamedTuple):
    """One column of labels and scores.

    Attributes:
        positive: Shape (n,), clean labels.
        scores: Shape (n,), finite.
        owner: Shape (n,), the patient number of each image.
    """

    positive: NDArray[np.bool_]
    scores: NDArray[np.float64]
    owner: NDArray[np.int64]


class Sample(NamedTuple):
    """What is drawn from: patients, with one or several columns of their images.

    Attributes:
        columns: At least one; images whose label is unknown in a column are not in it.
        ever_positive: Shape (patients,), whether a patient has a positive image in any column.
        unit: "patients", or "images" when no patient has several.
    """

    columns: list[Images]
    ever_positive: NDArray[np.bool_]
    unit: str


def as_sample(labels: ArrayLike, scores: ArrayLike, clusters: ArrayLike | None) -> Sample:
    """Validates labels and scores and numbers their patients, so that draws do not depend on the order of rows.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out), or (n, k) when every column has labels of its own.
        scores: Shape (n,) or (n, k), finite where the label is known.
        clusters: Shape (n,), the patient of each image; None when images are independent.

    Returns:
        The sample.

    Raises:
        ValueError: If shapes differ or values are out of range; see `scores.clean`.
    """
    label, score = checks.numbers(labels, "labels"), checks.numbers(scores, "scores")
    table = score[:, np.newaxis] if score.ndim == 1 else score
    if label.ndim == 1 and table.ndim == 2 and len(label) == len(table):
        label = np.broadcast_to(label[:, np.newaxis], table.shape)
    if label.ndim != 2 or label.shape != table.shape or not table.shape[1]:
        raise ValueError(
            f"labels have shape {np.shape(labels)} and scores {score.shape}; expected a row for each image: scores "
            "(n,) or (n, columns), labels of the same shape or (n,)."
        )
    cleaned = [clean(*column) for column in zip(label.T, table.T, strict=True)]
    kept = np.any([mask for _, _, mask in cleaned], axis=0)
    group, unit = patient_numbers(clusters, kept), "patients"
    if group is None:
        unit, group = "images", np.empty(int(kept.sum()), dtype=np.int64)
        group[_order(label[kept].T, table[kept].T)] = np.arange(len(group))
    numbers = np.full(len(kept), -1)
    numbers[kept] = group
    columns = [Images(positive, values, numbers[mask]) for positive, values, mask in cleaned]
    ever_positive = np.zeros(int(group.max(initial=-1)) + 1, dtype=bool)
    for column in columns:
        ever_positive[column.owner[column.positive]] = True
    return Sample(columns, ever_positive, unit)


def _order(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns an order of images by labels and scores, in which a draw belongs to these and not to a row's position."""
    if len(scores) == 2:
        # That of a pair stays the same when the two are named the other way round.
        scores = np.stack([scores[0], np.abs(scores[0] - scores[1]), scores[0] + scores[1]])
    return np.lexsort((*scores, *labels))


def rows_in_a_batch(width: int) -> int:
    """Returns how many replicates of `width` cells are worked on together."""
    return max(1, _CELLS_IN_A_BATCH // max(width, 1))


def patient_counts(strata: NDArray[np.bool_], *, replicates: int, seed: int, width: int) -> Iterator[NDArray[np.int64]]:
    """Yields how often each patient was drawn, in batches of replicates; each stratum keeps its size.

    Args:
        strata: Shape (patients,), the stratum of each patient, for example whether any image is positive.
        replicates: How many replicates in all.
        seed: One seed, one result.
        width: Cells that one replicate will need, to size the batches.

    Yields:
        Shape (batch, patients), whole numbers.
    """
    checks.positive_int(seed, "seed", least=0)
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)]
    members = [np.flatnonzero(strata == stratum) for stratum in (False, True)]
    batch = rows_in_a_batch(width)
    for start in range(0, replicates, batch):
        rows = min(batch, replicates - start)
        counts = np.zeros((rows, len(strata)), dtype=np.int64)
        for stream, patients in zip(streams, members, strict=True):
            if len(patients):
                drawn = stream.integers(0, len(patients), size=(rows, len(patients)))
                drawn += len(patients) * np.arange(rows)[:, None]
                tally = np.bincount(drawn.ravel(), minlength=rows * len(patients))
                counts[:, patients] = tally.reshape(rows, len(patients))
        yield counts


def percentile_limits(drawn: NDArray[np.float64], value: float, confidence: float) -> tuple[float, float]:
    """Returns the percentile limits of replicates, drawn apart where needed so that they hold the value itself.

    Args:
        drawn: Shape (replicates,), without NaN.
        value: The statistic on the sample itself.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower and upper limit.
    """
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return min(float(low), value), max(float(high), value)


def p_value_of(drawn: NDArray[np.float64]) -> float:
    """Returns the two-sided p-value that a difference is 0, from its replicates.

    Args:
        drawn: Shape (replicates,), without NaN.

    Returns:
        Twice the smaller share of replicates on either side of 0, itself counted as one more replicate; at most 1.

    Source:
        Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 4.4.
    """
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (1 + beyond) / (len(drawn) + 1))


Statistic = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""A number from labels (1.0 or 0.0) and scores, both of shape (n,)."""

OnCounts = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""A statistic of resampled images: counts of patients, shape (replicates, patients), to values, shape (replicates,)."""


def auroc_on_counts(positive: NDArray[np.bool_], scores: NDArray[np.float64], owner: NDArray[np.int64]) -> OnCounts:
    """Returns the function that gives the exact AUROC of resampled images.

    Images are sorted once. In each replicate a running sum over the drawn negatives says how many of them lie below,
    and how many not above, each positive; ties count half.

    Args:
        positive: Shape (n,), clean labels.
        scores: Shape (n,), finite.
        owner: Shape (n,), the patient number of each image.

    Returns:
        The function; its value is NaN where a class was not drawn.
    """
    order = np.argsort(scores, kind="stable")
    negatives, positives = order[~positive[order]], order[positive[order]]
    left, right = (np.searchsorted(scores[negatives], scores[positives], side) for side in ("left", "right"))
    owner_negative, owner_positive = owner[negatives], owner[positives]
    whole = _counting_type(owner)

    def values(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn = counts.astype(whole)
        running = np.zeros((len(drawn), len(negatives) + 1), dtype=whole)
        np.cumsum(np.take(drawn, owner_negative, axis=1), axis=1, out=running[:, 1:])
        beaten = np.take(running, left, axis=1) + np.take(running, right, axis=1)
        weights = np.take(drawn, owner_positive, axis=1)
        # Whole numbers far below 2**53, so float64 sums are exact.
        won = np.einsum("ij,ij->i", weights.astype(np.float64), beaten.astype(np.float64))
        return _divide(won, 2.0 * weights.sum(axis=1) * running[:, -1])

    return values


def average_precision_on_counts(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], owner: NDArray[np.int64]
) -> OnCounts:
    """Returns the function that gives the average precision of resampled images.

    Args:
        positive: Shape (n,), clean labels with at least one positive.
        scores: Shape (n,), finite.
        owner: Shape (n,), the patient number of each image.

    Returns:
        The function; its value is NaN where no positive was drawn.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, owner, positive = scores[order], owner[order], positive[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    # Only tied blocks that hold a positive add to the sum; all others are merged into the next such block.
    rows_positive = np.flatnonzero(positive)
    stops = ends[np.unique(np.searchsorted(ends, rows_positive))] + 1
    starts = np.append(0, stops[:-1])
    owner_called, owner_positive = owner[: stops[-1]], owner[rows_positive]
    block_of_positive = np.searchsorted(stops, rows_positive, side="right")
    starts_positive = np.searchsorted(block_of_positive, np.arange(len(stops)))
    whole = _counting_type(owner)

    def values(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn = counts.astype(whole)
        called = np.add.reduceat(np.take(drawn, owner_called, axis=1), starts, axis=1).cumsum(axis=1)
        gained = np.add.reduceat(np.take(drawn, owner_positive, axis=1), starts_positive, axis=1)
        hits = gained.cumsum(axis=1)
        # A block drawn zero times gains nothing, whatever its precision is said to be.
        return _divide((gained * (hits / np.maximum(called, 1))).sum(axis=1), hits[:, -1])

    return values


def any_on_counts(
    statistic: Statistic, positive: NDArray[np.bool_], scores: NDArray[np.float64], owner: NDArray[np.int64]
) -> OnCounts:
    """Returns the function that copies the drawn images and calls any statistic on them, one replicate at a time.

    Args:
        statistic: ``statistic(labels, scores)``, a number, NaN where it is undefined.
        positive: Shape (n,), clean labels.
        scores: Shape (n,), finite.
        owner: Shape (n,), the patient number of each image.

    Returns:
        The function.
    """
    labels = positive.astype(np.float64)

    def values(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        times = counts[:, owner]
        return np.array([float(statistic(np.repeat(labels, row), np.repeat(scores, row))) for row in times])

    return values


NAMED: dict[str, tuple[Statistic, Callable[..., OnCounts]]] = {
    "auroc": (auc, auroc_on_counts),
    "average_precision": (average_precision, average_precision_on_counts),
}
"""Statistics with a fast way: their plain function and their function on counts."""


def find_statistic(statistic: Statistic | str) -> tuple[str, Statistic, str]:
    """Returns a statistic's name in words, its plain function, and its name in `NAMED`, empty for other functions.

    Args:
        statistic: A name in `NAMED`, or a function of labels and scores.

    Raises:
        TypeError: If it is neither.
        ValueError: If the name is unknown.
    """
    if isinstance(statistic, str):
        key = checks.one_of(statistic, NAMED, "statistic")
        return key.replace("_", " "), NAMED[key][0], key
    if not callable(statistic):
        raise TypeError(
            f"statistic is a {type(statistic).__name__}; expected one of {', '.join(NAMED)}, or a function of labels "
            "and scores that returns a number."
        )
    for key, (plain, _) in NAMED.items():
        if statistic is plain:
            return key.replace("_", " "), plain, key
    name = getattr(statistic, "__name__", "statistic")
    return "statistic" if name == "<lambda>" else name.strip("_").replace("_", " "), statistic, ""


def on_counts(
    plain: Statistic, key: str, positive: NDArray[np.bool_], scores: NDArray[np.float64], owner: NDArray[np.int64]
) -> OnCounts:
    """Returns the fastest function that gives a statistic of resampled images.

    Args:
        plain: The statistic.
        key: Its name in `NAMED`, or "".
        positive: Shape (n,), clean labels.
        scores: Shape (n,), finite.
        owner: Shape (n,), the patient number of each image.

    Returns:
        The function; of a named statistic it is NaN everywhere when a class is missing.
    """
    if not key:
        return any_on_counts(plain, positive, scores, owner)
    if positive.all() or not positive.any():
        return lambda counts: np.full(len(counts), np.nan)
    return NAMED[key][1](positive, scores, owner)


def _counting_type(owner: NDArray[np.int64]) -> type[np.signedinteger]:
    """Returns the smallest type that holds twice the images of any replicate; half the bytes is twice the speed."""
    images_of_patients = np.bincount(owner)
    # At most, every draw is the patient with the most images.
    most = 2 * len(images_of_patients) * int(images_of_patients.max())
    return np.int32 if most < 2**31 else np.int64


def _divide(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
