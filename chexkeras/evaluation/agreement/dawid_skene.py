"""The consensus of readers who are not equally good, and how good each is, without a reference standard.

Dawid and Skene's model: every image is of one category, and each reader, independently of the others given that, calls
it by any of them with chances of his own. EM alternates between who is right and what is true. `dawid_skene` takes
calls and gives sensitivities and specificities, `dawid_skene_categories` takes grades and gives confusion matrices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.agreement.ratings import (
    Categories,
    Patients,
    category_name,
    check_ratings,
    codes_of,
    patients_of,
)
from chexkeras.evaluation.uncertainty.limits import clopper_pearson
from chexkeras.evaluation.uncertainty.resampling import patient_counts, percentile_limits
from chexkeras.plain import Described
from chexkeras.results import Estimate
from chexkeras.results.record import Record


@dataclass(frozen=True, eq=False)
class DawidSkene(Described):
    """A consensus by Dawid and Skene's model of calls.

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


@dataclass(frozen=True)
class ReaderConfusion(Record):
    """What one reader makes of each category.

    Attributes:
        reader: The reader's name.
        n_images: Images that the reader rated.
        rates: For each category that an image may truly be of, how often the reader gives each category, in order.
    """

    reader: str
    n_images: int
    rates: tuple[tuple[Estimate, ...], ...]


@dataclass(frozen=True)
class CategoryConsensus(Record):
    """A consensus by Dawid and Skene's model of several categories.

    Attributes:
        categories: Those that occur in the ratings, in their order, as text.
        prevalences: Share of the images that each is true of.
        readers: The confusion matrix of each reader.
        image_ids: The images that any reader rated.
        probabilities: How probably each of these images is of each category.
        smoothing: How many images were added to every cell of every confusion matrix.
        log_likelihood: Of the ratings, at the estimates.
        iterations: How many EM steps were made.
        converged: Whether the last step changed no parameter by more than the tolerance.
        switched: Whether categories were exchanged so that readers agree with them as often as possible.
    """

    categories: tuple[str, ...]
    prevalences: tuple[Estimate, ...]
    readers: tuple[ReaderConfusion, ...]
    image_ids: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    smoothing: float
    log_likelihood: float
    iterations: int
    converged: bool
    switched: bool

    def consensus(self) -> pd.Series:
        """Returns the most probable category of each image, as text, by image id."""
        best = np.argmax(np.array(self.probabilities), axis=1)
        return pd.Series([self.categories[each] for each in best], index=list(self.image_ids), name="consensus")

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each reader and true category, and a column for each category given, as text."""
        return pd.DataFrame(
            [
                {"reader": entry.reader, "true": true}
                | {f"given {given}": str(found) for given, found in zip(self.categories, row, strict=True)}
                for entry in self.readers
                for true, row in zip(self.categories, entry.rates, strict=True)
            ]
        )


class _Fit(NamedTuple):
    """Estimates of several samples, first axis samples.

    Attributes:
        prevalence: Shape (samples, categories).
        confusion: Shape (samples, readers, true categories, given categories).
        posterior: Shape (samples, patterns, categories).
        log_likelihood: Shape (samples,).
        iterations: Steps made.
        converged: Shape (samples,).
        switched: Shape (samples,).
    """

    prevalence: NDArray[np.float64]
    confusion: NDArray[np.float64]
    posterior: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    iterations: int
    converged: NDArray[np.bool_]
    switched: NDArray[np.bool_]


class _Steps(NamedTuple):
    """How EM is run.

    Attributes:
        tolerance: Largest change of a parameter at which a sample has converged.
        most: Most steps.
        smoothing: Images added to every cell of every confusion matrix.
    """

    tolerance: float
    most: int
    smoothing: float = 0.0


class _Bootstrap(NamedTuple):
    """How intervals are made.

    Attributes:
        confidence: Their coverage.
        replicates: Of patients.
        seed: One seed, one result.
    """

    confidence: float
    replicates: int
    seed: int


class _Fitted(NamedTuple):
    """The model on the images themselves and on bootstrap samples of patients.

    Attributes:
        fit: On the images themselves.
        drawn: On samples of patients.
        known: The ratings of the images that any reader rated.
        pattern: Shape (images,), the row of the fit's posterior that is each image's.
        owner: Shape (images,), the patient of each.
        bootstrap: How the samples were drawn.
    """

    fit: _Fit
    drawn: _Fit
    known: pd.DataFrame
    pattern: NDArray[np.int64]
    owner: NDArray[np.int64]
    bootstrap: _Bootstrap

    @property
    def posterior(self) -> NDArray[np.float64]:
        """How probably each image is of each category, shape (images, categories)."""
        return self.fit.posterior[0][self.pattern]

    def estimate(self, value: float, drawn: NDArray[np.float64], of_images: NDArray[np.float64], n: int) -> Estimate:
        """Returns a share with its interval.

        Args:
            value: The share.
            drawn: Shape (samples,), the share in each sample.
            of_images: Shape (images,), how much each image counts for it.
            n: Images, for the estimate.
        """
        confidence, replicates, seed = self.bootstrap
        n_patients = int(self.owner.max()) + 1
        unit = "images" if n_patients == len(self.owner) else "patients"
        low, high = percentile_limits(drawn, value, confidence)
        how = f"percentile bootstrap of {n_patients} {unit}, {replicates} replicates, seed {seed}"
        weights = np.bincount(self.owner, of_images)
        if high - low < 1e-9 and weights.any():
            # A reader who never errs in the sample never errs in a sample of it either, which proves nothing.
            worth = max(float(weights.sum() ** 2 / (weights**2).sum()), min(1.0, float(weights.sum())))
            low, high = clopper_pearson(min(max(value, 0.0), 1.0) * worth, worth, confidence)
            how = f"Clopper-Pearson on the {worth:.1f} {unit} that tell, because no replicate differs"
        return Estimate(value, min(low, value), max(high, value), confidence, n, f"Dawid-Skene EM, {how}")


@checked
def dawid_skene(
    ratings: pd.DataFrame,
    *,
    patients: Patients | None = None,
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
        ratings: One row for each image, one column for each of at least three readers: 1, 0 or NaN (not rated). For
            grades take `dawid_skene_categories`.
        patients: The patient of each image, by image id; patients are then drawn whole.
        confidence: Coverage of the percentile bootstrap intervals, in (0, 1).
        replicates: Bootstrap replicates.
        seed: One seed, one result, whatever the order of rows.
        tolerance: Largest change of a parameter at which EM stops.
        max_iterations: After how many steps it stops in any case.

    Returns:
        The consensus; look at `converged`. Where no replicate differs, as with a reader who never errs, the limits are
        Clopper and Pearson's for what the patients are worth.

    Raises:
        TypeError: If the ratings are not a DataFrame.
        ValueError: If there are fewer than three readers, a reader rated nothing, all ratings are of one class, a
            rating is not 1, 0 or NaN, an image or reader is there twice, or an image has no patient.

    Source:
        Dawid & Skene, Applied Statistics 28, 1979.
    """
    steps, bootstrap = _checked(tolerance, max_iterations, 0.0, confidence, replicates, seed)
    table = check_ratings(ratings, minimum=3)
    if np.nanmin(table) == np.nanmax(table):
        which = "positive" if np.nanmax(table) else "negative"
        raise ValueError(f"all ratings are {which}; sensitivity and specificity need images of both kinds.")
    model = _modelled(table, (0.0, 1.0), patients, steps, bootstrap)
    posterior, rated = model.posterior, model.known.notna().to_numpy()

    def of_readers(kind: int) -> dict[str, Estimate]:
        return {
            str(reader): model.estimate(
                float(model.fit.confusion[0, column, kind, kind]),
                model.drawn.confusion[:, column, kind, kind],
                posterior[:, kind] * rated[:, column],
                int(rated[:, column].sum()),
            )
            for column, reader in enumerate(table.columns)
        }

    whole = np.ones(len(model.known))
    return DawidSkene(
        probabilities=pd.Series(posterior[:, 1], index=model.known.index).reindex(table.index).rename("probability"),
        sensitivities=of_readers(1),
        specificities=of_readers(0),
        prevalence=model.estimate(
            float(model.fit.prevalence[0, 1]), model.drawn.prevalence[:, 1], whole, len(model.known)
        ),
        log_likelihood=float(model.fit.log_likelihood[0]),
        iterations=model.fit.iterations,
        converged=bool(model.fit.converged[0]),
        switched=bool(model.fit.switched[0]),
    )


@checked
def dawid_skene_categories(
    ratings: pd.DataFrame,
    *,
    categories: Categories,
    smoothing: float = 0.0,
    patients: Patients | None = None,
    confidence: float = 0.95,
    replicates: int = 500,
    seed: int = 0,
) -> CategoryConsensus:
    """Returns the consensus on several categories and each reader's confusion matrix.

    Categories have no order here. The likelihood is the same with categories exchanged. EM starts from the share of
    readers who give each, and should readers come out to give other categories than the true ones more often, the
    categories are exchanged so that they agree as often as possible on average. Errors that readers share are
    invisible. With many categories and few images cells rest on next to nothing, which their intervals show.

    Args:
        ratings: One row for each image, known by its index or the column image_id, and one column for each of at least
            three readers: one of the categories, or NaN (not rated).
        categories: The values that a rating may take, numbers or texts; for calls take (0, 1).
        smoothing: How many images are added to every cell of every confusion matrix, at least 0. 0 is maximum
            likelihood; 1 draws readers who rated few images of a category towards giving all categories alike.
        patients: The patient of each image, by image id; patients are then drawn whole.
        confidence: Coverage of the percentile bootstrap intervals, in (0, 1).
        replicates: Bootstrap replicates.
        seed: One seed, one result, whatever the order of rows.

    Returns:
        The consensus on the categories that occur; look at `converged`. A row of a confusion matrix is not estimable
        where no image that the reader rated is likely of that category. Where no replicate differs, as with a reader
        who never errs, the limits are Clopper and Pearson's for what the patients are worth.

    Raises:
        TypeError: If the ratings are not a DataFrame.
        ValueError: If there are fewer than three readers, a reader rated nothing, all ratings are alike, a rating is
            none of the categories, smoothing is negative, an image or reader is there twice, or an image has no
            patient.

    Source:
        Dawid & Skene, Applied Statistics 28, 1979.

    Example:
        >>> grades = pd.DataFrame({"A": list("nnmms" * 4), "B": list("nnmms" * 4), "C": list("nmmss" * 4)},
        ...                       index=range(101, 121))
        >>> found = dawid_skene_categories(grades, categories=("n", "m", "s"), replicates=100)
        >>> found.consensus().tolist()[:5], round(found.readers[2].rates[0][1].value, 2)
        (['n', 'n', 'm', 'm', 's'], 0.5)
    """
    steps, bootstrap = _checked(1e-7, 2000, smoothing, confidence, replicates, seed)
    table = check_ratings(ratings, minimum=3, categories=categories, graded=True)
    codes = [float(code) for code in codes_of(categories) if (table == code).to_numpy().any()]
    names = tuple(category_name(code, categories) for code in codes)
    if len(codes) < 2:
        raise ValueError(f"all ratings are {names[0] if names else 'missing'}; a consensus needs at least two kinds.")
    model = _modelled(table, codes, patients, steps, bootstrap)
    posterior, rated = model.posterior, model.known.notna().to_numpy()

    def cell(column: int, true: int, given: int) -> Estimate:
        of_images, n = posterior[:, true] * rated[:, column], int(rated[:, column].sum())
        if of_images.sum() < 1e-3:
            reason = f"no image that this reader rated is likely {names[true]}"
            return Estimate.not_estimable(reason, n=n, confidence=confidence)
        value, drawn = (fit.confusion[:, column, true, given] for fit in (model.fit, model.drawn))
        return model.estimate(float(value[0]), drawn, of_images, n)

    kinds, whole = range(len(codes)), np.ones(len(model.known))
    return CategoryConsensus(
        categories=names,
        prevalences=tuple(
            model.estimate(
                float(model.fit.prevalence[0, kind]), model.drawn.prevalence[:, kind], whole, len(model.known)
            )
            for kind in kinds
        ),
        readers=tuple(
            ReaderConfusion(
                str(reader),
                int(rated[:, column].sum()),
                tuple(tuple(cell(column, true, given) for given in kinds) for true in kinds),
            )
            for column, reader in enumerate(table.columns)
        ),
        image_ids=tuple(model.known.index),
        probabilities=tuple(tuple(float(each) for each in row) for row in posterior),
        smoothing=steps.smoothing,
        log_likelihood=float(model.fit.log_likelihood[0]),
        iterations=model.fit.iterations,
        converged=bool(model.fit.converged[0]),
        switched=bool(model.fit.switched[0]),
    )


def _checked(
    tolerance: float, max_iterations: int, smoothing: float, confidence: float, replicates: int, seed: int
) -> tuple[_Steps, _Bootstrap]:
    checks.probability(confidence, "confidence", open_interval=True)
    checks.probability(tolerance, "tolerance", open_interval=True)
    checks.positive_int(max_iterations, "max_iterations")
    checks.positive_int(replicates, "replicates")
    if not 0 <= smoothing < np.inf:
        raise ValueError(f"smoothing={smoothing!r} must be a number of images of at least 0; 0 is maximum likelihood.")
    return _Steps(tolerance, max_iterations, float(smoothing)), _Bootstrap(confidence, replicates, seed)


def _modelled(
    table: pd.DataFrame, codes: Sequence[float], patients: Patients | None, steps: _Steps, bootstrap: _Bootstrap
) -> _Fitted:
    idle = [name for name in table.columns if table[name].isna().all()]
    if idle:
        raise ValueError(f"{', '.join(idle)} rated no image; leave that reader out.")
    known = table.dropna(how="all")
    owner = patients_of(known.index, patients)
    # Images with the same ratings are one pattern with a weight, so thousands of replicates are quickly done.
    patterns, pattern = np.unique(np.where(known.isna(), -np.inf, known), axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    given = (patterns[:, :, None] == np.asarray(codes)).astype(np.float64)
    fit = _fit(given, np.bincount(pattern)[None, :].astype(np.float64), steps)
    n_patients = int(owner.max()) + 1
    images = np.zeros((n_patients, len(patterns)))
    np.add.at(images, (owner, pattern), 1.0)
    counts = patient_counts(
        np.zeros(n_patients, dtype=bool),
        replicates=bootstrap.replicates,
        seed=bootstrap.seed,
        width=max(n_patients, given.size),
    )
    drawn = [_fit(given, batch @ images, steps) for batch in counts]
    joined = [np.concatenate([each[field] for each in drawn]) for field in (0, 1)]
    return _Fitted(fit, fit._replace(prevalence=joined[0], confusion=joined[1]), known, pattern, owner, bootstrap)


def _fit(given: NDArray[np.float64], weights: NDArray[np.float64], steps: _Steps) -> _Fit:
    """Runs EM for several weightings of the same patterns at once.

    Args:
        given: Shape (patterns, readers, categories), 1 for the category that the reader gave; all 0 if not rated.
        weights: Shape (samples, patterns), how many images show each pattern.
        steps: How it is run.

    Returns:
        The estimates.
    """
    n_patterns, n_readers, n_categories = given.shape
    flat, samples = given.reshape(n_patterns, -1), len(weights)
    total = weights.sum(axis=1)
    votes = given.sum(axis=1)
    posterior = np.broadcast_to(votes / votes.sum(axis=1, keepdims=True), (samples, n_patterns, n_categories))
    before = np.full((samples, n_categories * (1 + n_readers * n_categories)), np.inf)
    iterations, converged = 0, np.zeros(samples, dtype=bool)
    while iterations < steps.most and not converged.all():
        iterations += 1
        counted = np.swapaxes(weights[:, :, None] * posterior, 1, 2)
        prevalence = counted.sum(axis=2) / total[:, None]
        cells = (counted @ flat).reshape(samples, n_categories, n_readers, n_categories) + steps.smoothing
        rows = cells.sum(axis=3, keepdims=True)
        # All categories alike, which favours none, where a sample holds nothing to take a share of.
        confusion = np.divide(cells, rows, out=np.full(cells.shape, 1 / n_categories), where=rows > 1e-300)
        joint = _log(prevalence)[:, :, None] + _log(confusion).reshape(samples, n_categories, -1) @ flat.T
        largest = joint.max(axis=1, keepdims=True)
        likelihood = largest + np.log(np.exp(joint - largest).sum(axis=1, keepdims=True))
        posterior = np.swapaxes(np.exp(joint - likelihood), 1, 2)
        now = np.column_stack([prevalence, confusion.reshape(samples, -1)])
        converged = np.abs(now - before).max(axis=1) <= steps.tolerance
        before = now
    confusion = np.swapaxes(confusion, 1, 2)
    order = np.stack([_best_names(each) for each in confusion.mean(axis=1)])
    switched = (order != np.arange(n_categories)).any(axis=1)
    return _Fit(
        np.take_along_axis(prevalence, order, axis=1),
        np.take_along_axis(confusion, order[:, None, :, None], axis=2),
        np.take_along_axis(posterior, order[:, None, :], axis=2),
        (weights * likelihood[:, 0]).sum(axis=1),
        iterations,
        converged,
        switched,
    )


def _best_names(confusion: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns which latent class is to be called by each category, so that readers agree with it most on average."""
    from scipy import optimize

    classes, names = optimize.linear_sum_assignment(-confusion)
    order = classes[np.argsort(names)].astype(np.int64)
    better = confusion[order, np.arange(len(order))].sum() > np.trace(confusion) + 1e-12
    return order if better else np.arange(len(order))


def _log(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    # A reader who never erred in the sample is given no certainty beyond this, so that products stay finite.
    return np.asarray(np.log(np.maximum(probability, 1e-12)))
