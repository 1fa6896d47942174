"""What acting on scores is worth: net benefit and decision curves, against acting on every image and on none.

A threshold probability t says how many false alarms one true finding is worth: (1 - t) / t. Whoever would look at nine
images without the finding to catch one with it has t = 0.1.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.metrics import confusion
from chexkeras.evaluation.scores import check_values, one_class
from chexkeras.evaluation.uncertainty.resampling import Images, as_sample, patient_counts

if TYPE_CHECKING:
    from scipy import sparse

COLUMNS = (
    "threshold_probability", "net_benefit", "low", "high", "treat_all", "treat_none",
    "difference", "difference_low", "difference_high",
)  # fmt: skip
"""Columns of a decision curve."""


@checked
def net_benefit(
    labels: ArrayLike, scores: ArrayLike, threshold_probability: float, prevalence: float | None = None
) -> float:
    """Returns the net benefit of calling an image positive when its score reaches the threshold probability.

    In true positives per image: TP/n - FP/n x t/(1 - t). At a stated prevalence p of the place of use:
    p x sensitivity - (1 - p) x (1 - specificity) x t/(1 - t).

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), calibrated probabilities in [0, 1].
        threshold_probability: t, strictly between 0 and 1.
        prevalence: Share of positives at the place of use, strictly between 0 and 1; None for that of these images.

    Returns:
        At most the prevalence; below 0 the calls do more harm than calling none. `decision_curve` has its interval.

    Raises:
        ValueError: If t or the prevalence is not strictly between 0 and 1, scores are not probabilities, or a class is
            missing; see `scores.clean`.

    Source:
        Vickers & Elkin, Medical Decision Making 26, 2006.

    Example:
        >>> net_benefit([1, 1, 0, 0], [0.9, 0.3, 0.6, 0.1], 0.2)
        0.4375
    """
    cut = checks.probability(threshold_probability, "threshold_probability", open_interval=True)
    counts = confusion(labels, scores, cut)
    n_positive = counts.true_positives + counts.false_negatives
    n_negative = counts.false_positives + counts.true_negatives
    _require_both(n_positive, n_negative)
    share = n_positive / (n_positive + n_negative)
    if prevalence is not None:
        share = checks.probability(prevalence, "prevalence", open_interval=True)
    sensitivity, false_alarms = counts.true_positives / n_positive, counts.false_positives / n_negative
    return share * sensitivity - (1 - share) * false_alarms * cut / (1 - cut)


@checked
def decision_curve(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    thresholds: ArrayLike | None = None,
    prevalence: float | None = None,
    clusters: ArrayLike | None = None,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns the net benefit at each threshold probability, with that of acting on every image and on none.

    Only probabilities can be compared with a threshold probability: recalibrate scores first where the model was
    trained with class weights, and shift their odds to a stated prevalence, where a score of 0.3 no longer means 30 %:
    odds x [stated x (1 - observed)] / [observed x (1 - stated)]. The better default is whichever of all and none has
    the larger net benefit; a model is of use where the difference to it is above 0.

    Limits are percentiles of a bootstrap of patients at each threshold by itself. With a stated prevalence only
    sensitivity and specificity vary, so patients with and without a positive image are drawn separately; otherwise the
    prevalence of these images varies too.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out); both classes.
        scores: Shape (n,), calibrated probabilities in [0, 1].
        thresholds: Threshold probabilities, strictly between 0 and 1, ascending. By default 100 of them, evenly
            spaced up to four times the prevalence, but at least 0.05 and at most 0.99.
        prevalence: Share of positives at the place of use, strictly between 0 and 1; None for that of these images.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        replicates: Bootstrap replicates.
        confidence: Coverage at each threshold, in (0, 1).
        seed: One seed, one result, whatever the order of rows.

    Returns:
        One row for each threshold with `COLUMNS`: net benefit of the model with limits, of treating all and none, and
        the difference of the model to the better default with limits. Limits are NaN when a class comes from a single
        patient. `attrs` has n_images, n_positive, n_patients, prevalence (stated or observed), confidence and method.

    Raises:
        ValueError: If a threshold or the prevalence is not strictly between 0 and 1, a class is missing, or scores
            are not probabilities; see `scores.clean`.

    Source:
        Vickers & Elkin, Medical Decision Making 26, 2006; Vickers, Cronin, Elkin & Gonen, BMC Medical Informatics and
        Decision Making 8:53, 2008 (bootstrap; stated prevalence).
    """
    checks.positive_int(replicates, "replicates")
    checks.probability(confidence, "confidence", open_interval=True)
    sample = as_sample(labels, scores, clusters)
    images, patients = sample.columns[0], len(sample.ever_positive)
    images = images._replace(scores=check_values(images.scores, probabilities=True))
    n, n_positive = len(images.scores), int(images.positive.sum())
    _require_both(n_positive, n - n_positive)
    share = n_positive / n
    if prevalence is not None:
        share = checks.probability(prevalence, "prevalence", open_interval=True)
    grid = _grid(np.linspace(0.0, min(0.99, max(0.05, 4 * share)), 101)[1:] if thresholds is None else thresholds)
    tally = _Tally.of(images, grid, prevalence)
    value, treat_all = (row[0] for row in tally.benefit(np.ones((1, patients), dtype=np.int64)))
    together = np.zeros(patients, dtype=bool) if prevalence is None else sample.ever_positive
    batches = patient_counts(together, replicates=replicates, seed=seed, width=max(patients, len(grid)))
    models, defaults = (np.concatenate(parts) for parts in zip(*map(tally.benefit, batches), strict=True))
    low, high = _limits(models, value, images, confidence)
    difference = value - np.maximum(treat_all, 0)
    difference_low, difference_high = _limits(models - np.maximum(defaults, 0), difference, images, confidence)
    curve = pd.DataFrame(
        {
            "threshold_probability": grid,
            "net_benefit": value,
            "low": low,
            "high": high,
            "treat_all": treat_all,
            "treat_none": 0.0,
            "difference": difference,
            "difference_low": difference_low,
            "difference_high": difference_high,
        }
    )
    curve.attrs = {
        "n_images": n,
        "n_positive": n_positive,
        "n_patients": patients if sample.unit == "patients" else None,
        "prevalence": share,
        "prevalence_stated": prevalence is not None,
        "confidence": confidence,
        "method": f"percentile bootstrap of {patients} {sample.unit}, {replicates} replicates, seed {seed}",
    }
    return curve


def _require_both(n_positive: int, n_negative: int) -> None:
    if not n_positive or not n_negative:
        raise ValueError(f"net benefit needs both classes; {one_class(n_positive, n_negative)}.")


def _grid(thresholds: ArrayLike) -> NDArray[np.float64]:
    grid = checks.numbers(thresholds, "thresholds")
    if grid.ndim != 1 or not len(grid):
        raise ValueError(f"thresholds have shape {grid.shape}; give a list of threshold probabilities.")
    for value in grid:
        checks.probability(float(value), "thresholds", open_interval=True)
    if (np.diff(grid) <= 0).any():
        raise ValueError("thresholds must ascend, each above the one before; sort them and drop repeated ones.")
    return grid


class _Tally(NamedTuple):
    """Counts called images in replicates and turns them into net benefit.

    Attributes:
        cells: Sparse, shape (2 x (thresholds + 1), patients): how many negative images of a patient, and below how many
            positive ones, reach exactly so many thresholds.
        harm: t / (1 - t), shape (thresholds,).
        prevalence: Stated; None when that of the images counts.
    """

    cells: "sparse.csr_array"
    harm: NDArray[np.float64]
    prevalence: float | None

    @classmethod
    def of(cls, images: Images, grid: NDArray[np.float64], prevalence: float | None) -> "_Tally":
        from scipy import sparse

        cell = np.searchsorted(grid, images.scores, side="right") + (len(grid) + 1) * images.positive
        shape = (2 * (len(grid) + 1), int(images.owner.max()) + 1)
        cells = sparse.csr_array((np.ones(len(cell), dtype=np.int64), (cell, images.owner)), shape=shape)
        return cls(cells, grid / (1 - grid), prevalence)

    def benefit(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the net benefit of the model and of treating all.

        Args:
            counts: Shape (replicates, patients), how often each patient was drawn.

        Returns:
            Two arrays of shape (replicates, thresholds).
        """
        reached = (self.cells @ counts.T).T.reshape(len(counts), 2, -1)
        # An image is called at every threshold up to the last that its score reaches.
        at_least = reached[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
        alarms, hits, sizes = at_least[:, 0, 1:], at_least[:, 1, 1:], at_least[:, :, 0]
        n_negative, n_positive = sizes[:, :1], sizes[:, 1:]
        if self.prevalence is None:
            n = n_positive + n_negative
            return (hits - self.harm * alarms) / n, (n_positive - self.harm * n_negative) / n
        share = self.prevalence
        # A replicate without negatives has no value here.
        with np.errstate(invalid="ignore"):
            model = share * hits / n_positive - (1 - share) * self.harm * alarms / n_negative
        return model, np.broadcast_to(share - (1 - share) * self.harm, model.shape)


def _limits(
    drawn: NDArray[np.float64], value: NDArray[np.float64], images: Images, confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if min(len(np.unique(images.owner[rows])) for rows in (images.positive, ~images.positive)) == 1:
        nothing = np.full_like(value, np.nan)
        return nothing, nothing
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return np.minimum(low, value), np.maximum(high, value)
