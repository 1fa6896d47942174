"""How much better one set of scores is than another on the same images: the difference, its interval, its p-value."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.evaluation.counted import Statistic, find_statistic
from chexkeras.evaluation.inputs import clean, one_class, patient_numbers
from chexkeras.evaluation.uncertainty.bootstrap import bootstrap_differences
from chexkeras.evaluation.uncertainty.delong import auc_contributions, contributions_covariance
from chexkeras.evaluation.uncertainty.limits import newcombe_auc, normal_quantile
from chexkeras.results import Estimate

_FEW_PATIENTS = 10


def auroc_difference(
    labels: ArrayLike,
    first_scores: ArrayLike,
    second_scores: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> tuple[Estimate, float]:
    """Returns the difference of two areas under the ROC curve of the same images, and the p-value that they are equal.

    DeLong's paired test; with several images of a patient, Obuchowski's covariance. The p-value is below
    1 - confidence exactly where the interval excludes 0. Scores that order the images alike differ by 0, for certain.
    Two perfect rankings have no estimated variance; their difference of 0 gets the interval that Newcombe's limits of
    each give when added as squares, with p 1.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        first_scores: Shape (n,), finite.
        second_scores: Shape (n,), finite.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        First minus second with its interval, and the two-sided p-value. Not estimable, with p NaN, when a class is
        missing, comes from one patient, or the areas differ without any variance.

    Raises:
        ValueError: See `inputs.clean`.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988; Obuchowski, Biometrics 53, 1997; Newcombe, Statistics in
        Medicine 25, 2006 (limits of one area); Zou & Donner, Statistics in Medicine 27, 2008 (limits of a difference
        from the limits of its parts).
    """
    checks.probability(confidence, "confidence", open_interval=True)
    positive, first, kept = clean(labels, first_scores)
    second = clean(labels, second_scores)[1]
    group = patient_numbers(clusters, kept)
    n, n_positive = len(positive), int(positive.sum())
    if n_positive in (0, n):
        return Estimate.not_estimable(one_class(n_positive, n - n_positive), n=n, confidence=confidence), math.nan
    owner = np.arange(n) if group is None else group
    n_owners = int(owner.max()) + 1
    parts = [auc_contributions(positive, scores, owner, n_owners) for scores in (first, second)]
    method = "paired DeLong"
    if group is not None:
        method += f", clustered by patient (Obuchowski 1997); {n} images of {n_owners} patients"
        if parts[0].n_positive_patients < _FEW_PATIENTS:
            method += f", only {parts[0].n_positive_patients} of them positive: approximate"
    if np.array_equal(_order(first), _order(second)):
        return Estimate(0.0, 0.0, 0.0, confidence, n, f"{method}; both order the images alike"), 1.0
    # The difference has contributions of its own; subtracting variances would lose digits where models nearly agree.
    joint = parts[0]._replace(
        area=parts[0].area - parts[1].area,
        of_positives=parts[0].of_positives - parts[1].of_positives,
        of_negatives=parts[0].of_negatives - parts[1].of_negatives,
    )
    variance = float(contributions_covariance([joint])[0, 0])
    if math.isnan(variance):
        class_, unit = (
            "positive" if joint.n_positive_patients < 2 else "negative",
            "image" if group is None else "patient",
        )
        reason = f"only one {class_} {unit}; the error of the difference cannot be estimated"
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    if variance > 0:
        half = normal_quantile(confidence) * math.sqrt(variance)
        limits = (max(-1.0, joint.area - half), min(1.0, joint.area + half))
        p_value = math.erfc(abs(joint.area) / math.sqrt(2 * variance))
        return Estimate(joint.area, *limits, confidence, n, method), p_value
    if joint.area != 0:
        reason = f"the areas {parts[0].area:.3f} and {parts[1].area:.3f} differ, but without any estimated variance"
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    low, high = newcombe_auc(parts[0].area, joint.n_positive_patients, joint.n_negative_patients, confidence)
    down, up = parts[0].area - low, high - parts[0].area
    method = f"Newcombe 2006 limits of each area, added as squares, because the variance is zero; {method}"
    return Estimate(0.0, -math.hypot(down, up), math.hypot(down, up), confidence, n, method), 1.0


def _order(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.unique(scores, return_inverse=True)[1]


def bootstrap_difference(
    statistic: Statistic | str,
    labels: ArrayLike,
    first_scores: ArrayLike,
    second_scores: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[Estimate, float]:
    """Returns the difference of any statistic of two models on the same images, and the p-value that it is 0.

    Whole patients are drawn, and both models are measured on the same draws. The p-value is twice the smaller share of
    replicates on either side of 0, itself counted as one more replicate; where it is below 1 - confidence the interval
    excludes 0.

    Args:
        statistic: As for `bootstrap.bootstrap_replicates`; larger is better.
        labels: Shape (n,), 1, 0 or NaN (left out).
        first_scores: Shape (n,), finite.
        second_scores: Shape (n,), finite.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).
        replicates: Bootstrap replicates.
        seed: One seed, one result.

    Returns:
        First minus second with its percentile interval, and the two-sided p-value, at least 2 / (replicates + 1). Not
        estimable, with p NaN, where a class is missing or comes from one patient, or the statistic has no value on
        these images or on more than half of the replicates.

    Raises:
        TypeError: If the statistic is neither a name nor a function.
        ValueError: See `inputs.clean`.

    Source:
        Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 4.4 (the replicate added).
    """
    checks.probability(confidence, "confidence", open_interval=True)
    checks.positive_int(replicates, "replicates")
    name, plain, _ = find_statistic(statistic)
    positive, first, kept = clean(labels, first_scores)
    second = clean(labels, second_scores)[1]
    group = patient_numbers(clusters, kept)
    n, n_positive = len(positive), int(positive.sum())
    owner = np.arange(n) if group is None else group
    if n_positive in (0, n):
        return Estimate.not_estimable(one_class(n_positive, n - n_positive), n=n, confidence=confidence), math.nan
    known = positive.astype(np.float64)
    difference = float(plain(known, first)) - float(plain(known, second))
    if math.isnan(difference):
        reason = f"{name} has no value on these images"
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    if np.array_equal(first, second):
        return Estimate(0.0, 0.0, 0.0, confidence, n, "both give the same scores"), 1.0
    unit = "images" if group is None else "patients"
    positives, negatives = (len(np.unique(owner[members])) for members in (positive, ~positive))
    if min(positives, negatives) < 2:
        reason = f"only one {'positive' if positives < 2 else 'negative'} {unit[:-1]}; a bootstrap needs at least two"
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    drawn = bootstrap_differences(statistic, known, first, second, clusters=group, replicates=replicates, seed=seed)
    undefined = int(np.isnan(drawn).sum())
    if 2 * undefined > replicates:
        reason = f"{name} has no value in {undefined} of {replicates} bootstrap replicates"
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    drawn = drawn[~np.isnan(drawn)]
    low, high = (float(limit) for limit in np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2]))
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (1 + beyond) / (len(drawn) + 1))
    method = (
        f"paired percentile bootstrap of {int(owner.max()) + 1} {unit} ({positives} positive), {replicates} "
        f"replicates, seed {seed}"
    )
    if undefined:
        method += f"; {undefined} replicates without a value left out"
    if positives < _FEW_PATIENTS:
        method += f"; only {positives} positive {unit}: approximate"
    return Estimate(difference, min(low, difference), max(high, difference), confidence, n, method), p_value
