"""How uncertain an average precision of weighted images is, where few negatives stand for many.

Precision at a high score depends on the false-positive rate there, which may be below one over the negatives at hand.
Where each negative stands for many of the population, counting it as 0 flatters, and no resampling of the same images
shows it. The draws here do: between two neighbouring negatives lies an unknown share of the population's negatives.
"""

import numpy as np
from numpy.typing import NDArray

from chexkeras.evaluation.uncertainty.influence import heaviness
from chexkeras.evaluation.uncertainty.resampling import rows_in_a_batch


def weighted_average_precision(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    """Returns the average precision of weighted images, the area under their precision-recall curve as a sum of steps.

    Args:
        positive: Shape (n,), labels with a positive.
        scores: Shape (n,), finite.
        weights: Shape (n,), above 0.

    Example:
        >>> labels, scores = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])
        >>> round(weighted_average_precision(labels, scores, np.ones(4)), 4)
        0.8333
    """
    # Blocks of equal scores from the highest down.
    block = np.unique(-scores, return_inverse=True)[1]
    gained = np.bincount(block, weights * positive)
    called = np.cumsum(np.bincount(block, weights))
    return float(gained @ (np.cumsum(gained) / called) / gained.sum())


def average_precision_draws(
    positive: NDArray[np.bool_],
    scores: NDArray[np.float64],
    weights: NDArray[np.float64],
    owner: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Returns average precisions that the population may have, given these images.

    Each draw gives every patient an exponential amount (the Bayesian bootstrap), with strata kept at their weight. The
    negatives are laid out by score: each spreads its amount over the gap below it, one more of average size lies above
    the highest, and a positive has the false-positive rate of the place in the gap where it stands. For equally
    weighted independent images these gaps are distributed exactly as the shares of a population between the order
    statistics of a sample are.

    Args:
        positive: Shape (n,), labels with both classes.
        scores: Shape (n,), finite.
        weights: Shape (n,), above 0.
        owner: Shape (n,), patient numbers.
        strata: Shape (n,), stratum numbers 0, 1, ...; the classes where there are no others.
        replicates: How many draws.
        seed: One seed, one result, whatever the order of rows.

    Returns:
        Shape (replicates,), in (0, 1].

    Source:
        Rubin, Annals of Statistics 9, 1981 (Bayesian bootstrap); Wilks, Annals of Mathematical Statistics 12, 1941
        (shares between order statistics).
    """
    rng = np.random.default_rng(seed)
    # Ties in an order of their own, so that a draw does not depend on the position of a row.
    ranks = np.lexsort((weights, owner, -scores))
    high, low = ranks[positive[ranks]], ranks[~positive[ranks]]
    above = np.searchsorted(-scores[low], -scores[high], side="right")
    reached = np.searchsorted(-scores[high], -scores[high], side="right") - 1
    place = _places(above, -scores[high])
    unseen, n_patients, n_strata = heaviness(weights[low], owner[low]), int(owner.max()) + 1, int(strata.max()) + 1
    of_patients = np.zeros((n_patients, n_strata + 1))
    np.add.at(of_patients, (owner, strata), weights)
    of_patients[:, -1] = np.bincount(owner[low], weights[low], n_patients)
    drawn: list[NDArray[np.float64]] = []
    for start in range(0, replicates, rows_in_a_batch(len(scores))):
        rows = min(rows_in_a_batch(len(scores)), replicates - start)
        amounts = rng.standard_exponential((rows, n_patients + 1))
        sums = amounts[:, :-1] @ of_patients
        scale = of_patients[:, :-1].sum(axis=0) / sums[:, :-1]
        hits, alarms = (amounts[:, owner[each]] * weights[each] * scale[:, strata[each]] for each in (high, low))
        negatives = alarms.sum(axis=1)
        gaps = np.column_stack([unseen * amounts[:, -1] * negatives / sums[:, -1], alarms])
        gaps *= (negatives / gaps.sum(axis=1))[:, np.newaxis]
        below = np.column_stack([np.zeros(rows), np.cumsum(gaps, axis=1)])
        false = below[:, above] + place * gaps[:, np.minimum(above, len(low))]
        true = np.cumsum(hits, axis=1)
        precision = true[:, reached] / (true[:, reached] + false)
        drawn.append((hits * precision).sum(axis=1) / true[:, -1])
    return np.concatenate(drawn)


def _places(gap: NDArray[np.int64], order: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns where in its gap each positive stands, in (0, 1): the distinct scores of a gap at equal distances."""
    place = np.empty(len(gap))
    for number in np.unique(gap):
        rows = gap == number
        _, rank = np.unique(order[rows], return_inverse=True)
        place[rows] = (rank + 1) / (rank.max() + 2)
    return place
