"""F1 of a model against radiologists, as in the CheXNet study, at one stated prevalence.

F1 rises with prevalence: calling everything positive has an F1 of 0.667 where half of the images are positive and of
0.027 where 1.36 % are. So F1 is computed here from sensitivity and specificity at a prevalence that the caller states,
the same for everybody, and never compared with an F1 from elsewhere.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.agreement.ratings import check_ratings, patients_of
from chexkeras.evaluation.comparison.compare import judge
from chexkeras.evaluation.uncertainty.resampling import p_value_of, patient_counts, percentile_limits
from chexkeras.results import Comparison, Estimate


def f1_at_prevalence(sensitivity: ArrayLike, specificity: ArrayLike, prevalence: float) -> NDArray[np.float64]:
    """Returns F1 where the finding is as frequent as stated.

    Args:
        sensitivity: In [0, 1]; any shape.
        specificity: In [0, 1]; of the same shape.
        prevalence: Share of positives, in (0, 1).

    Returns:
        ``2 p Se / (p Se + (1 - p)(1 - Sp) + p)``, of the same shape. Calling everything positive is sensitivity 1 and
        specificity 0.

    Raises:
        ValueError: If the prevalence is out of range.

    Example:
        >>> print(f1_at_prevalence(1, 0, 0.5).round(3), f1_at_prevalence(1, 0, 0.01356).round(4))
        0.667 0.0268
    """
    share = checks.probability(prevalence, "prevalence", open_interval=True)
    found = share * np.asarray(sensitivity, dtype=np.float64)
    return np.asarray(2 * found / (found + (1 - share) * (1 - np.asarray(specificity, dtype=np.float64)) + share))


@checked
def model_against_readers(
    ratings: pd.DataFrame,
    calls: pd.Series,
    *,
    prevalence: float,
    name: str = "model",
    patients: pd.Series | Mapping[str, str] | None = None,
    margin: float | None = None,
    confidence: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compares a model's mean F1 against readers with the readers' mean F1 against each other.

    The model is scored against each reader's ratings as the truth, and so is every reader against each other reader;
    the means are compared on the same bootstrap samples. In the CheXNet study readers were scored against the model
    too; here they are not, since agreeing with the model is no merit of a reader.

    Args:
        ratings: One row for each image, one column for each of at least two readers: 1, 0 or NaN (not rated).
        calls: The model's calls of the same images at its frozen threshold, 1 or 0, by image id; named by the finding.
        prevalence: Where F1 is stated, in (0, 1), for example that of the place where the model would work.
        name: What to call the model.
        patients: The patient of each image, by image id; patients are then drawn whole.
        margin: How much lower the model's F1 may be and still count as not inferior, in (0, 1); see
            `compare`.
        confidence: Coverage of intervals, in (0, 1).
        replicates: Bootstrap replicates; 10,000 in the study.
        seed: One seed, one result, whatever the order of rows.

    Returns:
        Model minus readers; better or worse when the interval of the difference excludes 0 and the p-value agrees.

    Raises:
        TypeError: If the ratings are not a DataFrame.
        ValueError: If the calls are of other images, which would compare F1 across prevalences, or are not 1 or 0; if
            an argument is out of range; if there are fewer than two readers, an image or reader is there twice, or a
            rating is not 1, 0 or NaN.

    Source:
        Rajpurkar et al., CheXNet, arXiv:1711.05225v3, 2017, section 3.
    """
    checks.probability(confidence, "confidence", open_interval=True)
    checks.probability(prevalence, "prevalence", open_interval=True)
    checks.positive_int(replicates, "replicates")
    if margin is not None:
        checks.probability(margin, "margin", open_interval=True)
    table = check_ratings(ratings)
    raters = np.column_stack([_calls_of(calls, table.index, name), table.to_numpy()])
    owner = patients_of(table.index, patients)
    pairs = [(one, other) for one in range(raters.shape[1]) for other in range(1, raters.shape[1]) if one != other]
    counts = np.stack([_counts(raters[:, one], raters[:, other], owner) for one, other in pairs], axis=1)
    of_model = np.array([one == 0 for one, _ in pairs])
    n, n_patients = len(table), len(counts)
    unit = "images" if n_patients == n else "patients"

    def finished(values: tuple[Estimate, Estimate], difference: Estimate, p_value: float) -> Comparison:
        names = (name, f"mean of {table.shape[1]} readers")
        finding = "the finding rated" if calls.name is None else str(calls.name)
        statistic = f"F1 at prevalence {prevalence:.4g}"
        return judge(Comparison.measured(names, finding, statistic, values, difference, p_value, margin=margin))

    means = _means(counts.sum(axis=0)[None], of_model, prevalence)
    if np.isnan(means).any():
        nothing = Estimate.not_estimable("a reader found no positive, or no negative", n=n, confidence=confidence)
        return finished((nothing, nothing), nothing, float("nan"))
    strata = np.bincount(owner, np.nansum(table.to_numpy(), axis=1)) > 0
    draws = patient_counts(strata, replicates=replicates, seed=seed, width=max(n_patients, counts[0].size))
    flat = counts.reshape(n_patients, -1)
    drawn = np.concatenate(
        [_means((batch @ flat).reshape(-1, *counts.shape[1:]), of_model, prevalence) for batch in draws]
    )
    usable = drawn[~np.isnan(drawn).any(axis=1)]
    if 2 * len(usable) < replicates:
        reason = f"no value in {replicates - len(usable)} of {replicates} bootstrap replicates"
        nothing = Estimate.not_estimable(reason, n=n, confidence=confidence)
        return finished((nothing, nothing), nothing, float("nan"))
    method = (
        f"mean F1 against each reader, percentile bootstrap of {n_patients} {unit}, "
        f"{replicates} replicates, seed {seed}"
    )

    def estimate(value: float, redrawn: NDArray[np.float64]) -> Estimate:
        return Estimate(value, *percentile_limits(redrawn, value, confidence), confidence, n, method)

    apart = usable[:, 0] - usable[:, 1]
    values = (estimate(float(means[0, 0]), usable[:, 0]), estimate(float(means[0, 1]), usable[:, 1]))
    return finished(values, estimate(float(means[0, 0] - means[0, 1]), apart), p_value_of(apart))


def _calls_of(calls: pd.Series, images: pd.Index, name: str) -> NDArray[np.float64]:
    own = calls.astype("float64")
    own.index = pd.Index(checks.identifiers(calls.index, f"image_id of {name}"), dtype=object)
    other = sorted(set(own.index) ^ set(images))
    if other or own.index.has_duplicates:
        raise ValueError(
            f"{name} and the readers have {len(other)} image(s) not in common{f', first {other[0]}' if other else ''}; "
            "F1 compares on the same images only, since it depends on their prevalence."
        )
    values = own.loc[images].to_numpy()
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError(f"calls of {name} must be 1 or 0 for every image; apply its frozen threshold first.")
    return np.asarray(values)


def _counts(called: NDArray[np.float64], truth: NDArray[np.float64], owner: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns true positives, positives, true negatives and negatives of each patient, shape (patients, 4)."""
    known = ~(np.isnan(called) | np.isnan(truth))
    positive, negative = known & (truth == 1), known & (truth == 0)
    cells = [positive & (called == 1), positive, negative & (called == 0), negative]
    counts = np.zeros((int(owner.max()) + 1, 4))
    np.add.at(counts, owner, np.column_stack(cells).astype(float))
    return counts


def _means(counts: NDArray[np.float64], of_model: NDArray[np.bool_], prevalence: float) -> NDArray[np.float64]:
    """Returns the model's mean F1 and the readers', from counts of shape (samples, pairs, 4)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = f1_at_prevalence(counts[..., 0] / counts[..., 1], counts[..., 2] / counts[..., 3], prevalence)
    return np.column_stack([scores[:, of_model].mean(axis=1), scores[:, ~of_model].mean(axis=1)])
