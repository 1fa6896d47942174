"""Resampling whole patients, fast enough for thousands of replicates on a full test set.

A replicate is a count for each patient, not a copied table: sums weighted by these counts give the statistic on the
resampled films without building them.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Weights of one batch of replicates stay within the processor's cache and a few megabytes of memory.
_CELLS_IN_A_BATCH = 1_000_000


def patient_counts(strata: NDArray[np.bool_], *, replicates: int, seed: int, width: int) -> Iterator[NDArray[np.int64]]:
    """Yields how often each patient was drawn, in batches of replicates; each stratum keeps its size.

    Args:
        strata: Shape (patients,), the stratum of each patient, for example whether any film is positive.
        replicates: How many replicates in all.
        seed: One seed, one result.
        width: Cells that one replicate will need, to size the batches.

    Yields:
        Shape (batch, patients), whole numbers.
    """
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)]
    members = [np.flatnonzero(strata == stratum) for stratum in (False, True)]
    batch = max(1, _CELLS_IN_A_BATCH // max(width, 1))
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


def bootstrap_average_precision(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], clusters: NDArray[np.int64], *, replicates: int, seed: int
) -> NDArray[np.float64]:
    """Returns the average precision of each replicate of a patient bootstrap stratified by ever-positive.

    Args:
        positive: Shape (n,), clean labels with at least one positive.
        scores: Shape (n,), finite.
        clusters: Shape (n,), patient numbers 0, 1, ...
        replicates: How many.
        seed: One seed, one result.

    Returns:
        Shape (replicates,).
    """
    ever_positive = np.bincount(clusters, positive) > 0
    order = np.argsort(-scores, kind="stable")
    ordered, owner = scores[order], clusters[order]
    positive = positive[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    # Only tied blocks that hold a positive add to the sum; all others are merged into the next such block.
    holding = np.unique(np.searchsorted(ends, np.flatnonzero(positive)))
    stops = ends[holding] + 1
    last = int(stops[-1])
    starts = np.append(0, stops[:-1])
    owner = owner[:last]
    rows_positive = np.flatnonzero(positive)
    block_of_positive = np.searchsorted(stops, rows_positive, side="right")
    starts_positive = np.searchsorted(block_of_positive, np.arange(len(stops)))

    values = []
    for counts in patient_counts(ever_positive, replicates=replicates, seed=seed, width=len(scores)):
        called = np.add.reduceat(counts[:, owner], starts, axis=1).cumsum(axis=1)
        gained = np.add.reduceat(counts[:, owner[rows_positive]], starts_positive, axis=1)
        hits = gained.cumsum(axis=1)
        # A block drawn zero times gains nothing, whatever its precision is said to be.
        values.append((gained * hits / np.maximum(called, 1)).sum(axis=1) / hits[:, -1])
    return np.concatenate(values)
