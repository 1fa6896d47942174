"""Drawing whole patients with replacement, as a count for each patient instead of a copied table."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras.evaluation.inputs import clean, patient_numbers

# Weights of one batch of replicates stay within the processor's cache and a few megabytes of memory.
_CELLS_IN_A_BATCH = 1_000_000


class Films(NamedTuple):
    """One column of labels and scores.

    Attributes:
        positive: Shape (n,), clean labels.
        scores: Shape (n,), finite.
        owner: Shape (n,), the patient number of each film.
    """

    positive: NDArray[np.bool_]
    scores: NDArray[np.float64]
    owner: NDArray[np.int64]


class Sample(NamedTuple):
    """What is drawn from: patients, with one or several columns of their films.

    Attributes:
        columns: At least one; films whose label is unknown in a column are not in it.
        ever_positive: Shape (patients,), whether a patient has a positive film in any column.
        unit: "patients", or "images" when no patient has several.
    """

    columns: list[Films]
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
        ValueError: If shapes differ or values are out of range; see `inputs.clean`.
    """
    label, score = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
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
    columns = [Films(positive, values, numbers[mask]) for positive, values, mask in cleaned]
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
        strata: Shape (patients,), the stratum of each patient, for example whether any film is positive.
        replicates: How many replicates in all.
        seed: One seed, one result.
        width: Cells that one replicate will need, to size the batches.

    Yields:
        Shape (batch, patients), whole numbers.
    """
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
