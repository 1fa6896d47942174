"""The consensus of readers who are not equally good, and how good each is, without a reference standard.

Dawid and Skene's model: every image is positive or not, and each reader, independently of the others given that, finds
positives with one probability and clears negatives with another. EM alternates between who is right and what is true.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.evaluation.readers.agreement import check_ratings, patients_of
from chexkeras.evaluation.uncertainty.resampling import patient_counts, percentile_limits
from chexkeras.results import Estimate


@dataclass(frozen=True, eq=False)
class DawidSkene:
    """A consensus by Dawid and Skene's model.

    Attributes:
        probabilities: How probably each image is positive, by image id; NaN where nobody rated it.
        sensitivities: Of each reader, by name.
        specificities: Of each reader, by name.
        prevalence: Share of positives.
        log_likelihood: Of the ratings, at the estimates.
        iterations: How many EM steps were made.
        converged: Whether the last step changed no parameter by more than the tolerance.
        switched: Whether the classes were exchanged because readers would otherwise be worse than chance on average.
    """

    probabilities: pd.Series
    sensitivities: dict[str, Estimate]
    specificities: dict[str, Estimate]
    prevalence: Estimate
    log_likelihood: float
    iterations: int
    converged: bool
    switched: bool

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each reader, numbers with their intervals as text."""
        return pd.DataFrame(
            [
                {"reader": name, "sensitivity": str(found), "specificity": str(self.specificities[name])}
                for name, found in self.sensitivities.items()
            ]
        )


class _Fit(NamedTuple):
    prevalence: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    specificity: NDArray[np.float64]
    posterior: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    iterations: int
    converged: NDArray[np.bool_]
    switched: NDArray[np.bool_]


def dawid_skene(
    ratings: pd.DataFrame,
    *,
    patients: pd.Series | Mapping[str, str] | None = None,
    confidence: float = 0.95,
    replicates: int = 500,
    seed: int = 0,
    tolerance: float = 1e-7,
    max_iterations: int = 2000,
) -> DawidSkene:
    """Returns the consensus and the readers' sensitivities and specificities by maximum likelihood.

    The likelihood is the same with positives and negatives exchanged. EM starts from the share of readers who see the
    finding, and should readers come out worse than chance on average (sensitivity + specificity below 1), the classes
    are exchanged. Errors that readers share, such as a faint finding that all of them miss, are invisible to it.

    Args:
        ratings: One row for each image, one column for each of at least three readers: 1, 0 or NaN (not rated).
        patients: The patient of each image, by image id; patients are then drawn whole.
        confidence: Coverage of the percentile bootstrap intervals, in (0, 1).
        replicates: Bootstrap replicates.
        seed: One seed, one result, whatever the order of rows.
        tolerance: Largest change of a parameter at which EM stops.
        max_iterations: After how many steps it stops in any case.

    Returns:
        The consensus; look at `converged`.

    Raises:
        TypeError: See `agreement.check_ratings`.
        ValueError: If there are fewer than three readers, a reader rated nothing, or all ratings are of one class; see
            `agreement.check_ratings`.

    Source:
        Dawid & Skene, Applied Statistics 28, 1979.
    """
    checks.probability(confidence, "confidence", open_interval=True)
    checks.probability(tolerance, "tolerance", open_interval=True)
    checks.positive_int(max_iterations, "max_iterations")
    checks.positive_int(replicates, "replicates")
    table = check_ratings(ratings, minimum=3)
    idle = [name for name in table.columns if table[name].isna().all()]
    if idle:
        raise ValueError(f"{', '.join(idle)} rated no image; leave that reader out.")
    known = table.dropna(how="all")
    called = known.to_numpy()
    if np.nanmin(called) == np.nanmax(called):
        which = "positive" if np.nanmax(called) else "negative"
        raise ValueError(f"all ratings are {which}; sensitivity and specificity need images of both kinds.")
    # Images with the same ratings are one pattern with a weight, so thousands of replicates are quickly done.
    patterns, pattern = np.unique(np.where(np.isnan(called), -1, called), axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    fit = _fit(patterns, np.bincount(pattern)[None, :].astype(float), tolerance, max_iterations)
    probabilities = pd.Series(fit.posterior[0][pattern], index=known.index).reindex(table.index)

    owner = patients_of(known.index, patients)
    n_patients = int(owner.max()) + 1
    images = np.zeros((n_patients, len(patterns)))
    np.add.at(images, (owner, pattern), 1.0)
    one_stratum = np.zeros(n_patients, dtype=bool)
    counts = patient_counts(one_stratum, replicates=replicates, seed=seed, width=max(n_patients, patterns.size))
    drawn = [_fit(patterns, batch @ images, tolerance, max_iterations) for batch in counts]
    unit = "images" if n_patients == len(known) else "patients"
    method = f"Dawid-Skene EM, percentile bootstrap of {n_patients} {unit}, {replicates} replicates, seed {seed}"

    def estimate(value: float, replicates_of_it: NDArray[np.float64], n: int) -> Estimate:
        usable = replicates_of_it[~np.isnan(replicates_of_it)]
        return Estimate(float(value), *percentile_limits(usable, value, confidence), confidence, n, method)

    def of_readers(name: str) -> dict[str, Estimate]:
        values, redrawn = getattr(fit, name)[0], np.concatenate([getattr(each, name) for each in drawn])
        rated = known.notna().sum().to_numpy()
        return {
            str(reader): estimate(values[column], redrawn[:, column], int(rated[column]))
            for column, reader in enumerate(table.columns)
        }

    return DawidSkene(
        probabilities=probabilities.rename("probability"),
        sensitivities=of_readers("sensitivity"),
        specificities=of_readers("specificity"),
        prevalence=estimate(fit.prevalence[0], np.concatenate([each.prevalence for each in drawn]), len(known)),
        log_likelihood=float(fit.log_likelihood[0]),
        iterations=fit.iterations,
        converged=bool(fit.converged[0]),
        switched=bool(fit.switched[0]),
    )


def _fit(patterns: NDArray[np.float64], weights: NDArray[np.float64], tolerance: float, max_iterations: int) -> _Fit:
    """Runs EM for several weightings of the same patterns at once.

    Args:
        patterns: Shape (patterns, readers), 1, 0 or -1 (not rated).
        weights: Shape (samples, patterns), how many images show each pattern.
        tolerance: Largest change of a parameter at which a sample has converged.
        max_iterations: Most steps.

    Returns:
        The estimates, first axis samples.
    """
    rated, found = (patterns >= 0).astype(float), (patterns == 1).astype(float)
    cleared = rated - found
    total = weights.sum(axis=1)
    posterior = np.broadcast_to(found.sum(axis=1) / rated.sum(axis=1), weights.shape)
    before = np.full((len(weights), 1 + 2 * patterns.shape[1]), np.inf)
    iterations, converged = 0, np.zeros(len(weights), dtype=bool)
    while iterations < max_iterations and not converged.all():
        iterations += 1
        positive, negative = weights * posterior, weights * (1 - posterior)
        prevalence = positive.sum(axis=1) / total
        sensitivity = _ratio(positive @ found, positive @ rated)
        specificity = _ratio(negative @ cleared, negative @ rated)
        of_positive = _log(prevalence)[:, None] + _log(sensitivity) @ found.T + _log(1 - sensitivity) @ cleared.T
        of_negative = _log(1 - prevalence)[:, None] + _log(1 - specificity) @ found.T + _log(specificity) @ cleared.T
        both = np.logaddexp(of_positive, of_negative)
        posterior = np.exp(of_positive - both)
        now = np.column_stack([prevalence, sensitivity, specificity])
        converged = np.abs(now - before).max(axis=1) <= tolerance
        before = now
    switched = np.nanmean(sensitivity + specificity, axis=1) < 1
    turn = switched[:, None]
    return _Fit(
        np.where(switched, 1 - prevalence, prevalence),
        np.where(turn, 1 - specificity, sensitivity),
        np.where(turn, 1 - sensitivity, specificity),
        np.where(turn, 1 - posterior, posterior),
        (weights * both).sum(axis=1),
        iterations,
        converged,
        switched,
    )


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns shares; one half, which favours no class, where a sample holds nothing to take a share of."""
    return np.divide(part, whole, out=np.full(part.shape, 0.5), where=whole > 1e-300)


def _log(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    # A reader who never erred in the sample is given no certainty beyond this, so that products stay finite.
    return np.log(np.maximum(probability, 1e-12))
