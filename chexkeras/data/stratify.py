"""Sharing units out to parts so that every label is spread over them alike.

Source:
    Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011 (iterative
    stratification: the rarest label first, each unit to the part that lacks it most).
"""

from collections.abc import Sequence

import numpy as np


def iterative_stratification(
    positives: np.ndarray, sizes: np.ndarray, shares: Sequence[float], seed: int
) -> np.ndarray:
    """Assigns units (patients, or single films) to parts.

    As in Sechidis et al. the rarest label still to be placed is placed first, and each of its units goes where the
    label is lacking most. Patients have between one and nearly two hundred films, so four things differ: a unit counts
    with its films; the large units of a label are placed before the small ones, which can then fill what is left open;
    "lacking" is measured against a part's share of what has been placed so far, not against its final quota, or else
    the part with the largest quota would receive every large patient; and no part is left without a label while there
    are units that could give it.

    Args:
        positives: Count of positive films, shape (units, labels).
        sizes: Count of all films, shape (units,), at least 1 each.
        shares: Fraction of films for each part; they sum to 1.
        seed: One seed, one assignment.

    Returns:
        The index of the part, shape (units,).
    """
    n_units, n_labels = positives.shape
    n_parts = len(shares)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(n_units)
    part_of = np.full(n_units, -1)
    placed = [[0] * n_parts for _ in range(n_labels)]
    placed_films = [0] * n_parts

    def place(units: np.ndarray, counts: list[int], label: int | None) -> None:
        total, films = (sum(placed[label]) if label is not None else 0), sum(placed_films)
        for position, (unit, count) in enumerate(zip(units.tolist(), counts, strict=True)):
            size = int(sizes[unit])
            total, films = total + count, films + size
            behind_films = [share * films - have for share, have in zip(shares, placed_films, strict=True)]
            if label is None:
                part = max(range(n_parts), key=behind_films.__getitem__)
            else:
                here = placed[label]
                candidates = [index for index in range(n_parts) if not here[index]]
                if not candidates or len(units) - position > len(candidates):
                    candidates = list(range(n_parts))
                behind = [share * total - have for share, have in zip(shares, here, strict=True)]
                part = max(candidates, key=lambda index: (behind[index], behind_films[index]))
            part_of[unit] = part
            placed_films[part] += size
            for other in np.flatnonzero(positives[unit]).tolist():
                placed[other][part] += int(positives[unit, other])

    def large_first(units: np.ndarray, weights: np.ndarray) -> np.ndarray:
        # Classes of doubling size, shuffled within: by exact size, every seed would place the large patients alike.
        return units[np.argsort(-np.floor(np.log2(weights)), kind="stable")]

    waiting = np.ones(n_units, dtype=bool)
    while True:
        remaining = (positives[waiting] > 0).sum(axis=0)
        if not remaining.any():
            break
        label = int(np.argmin(np.where(remaining > 0, remaining, n_units + 1)))
        units = shuffled[waiting[shuffled] & (positives[shuffled, label] > 0)]
        units = large_first(units, positives[units, label])
        place(units, positives[units, label].tolist(), label)
        waiting[units] = False
    rest = shuffled[waiting[shuffled]]
    rest = large_first(rest, sizes[rest])
    place(rest, [0] * len(rest), None)
    return part_of
