"""Confidence intervals for single statistics: area under the ROC curve, average precision, proportions.

Images of one patient resemble each other. Wherever several images come from one patient, name the patients in
`clusters`: the interval then rests on patients, and its `method` says so.

By which method an area under the ROC curve gets its limits is decided in `limits.auc_limits`, for one area, for the
mean of several findings or folds, and for an area of which only the sizes of the classes are known.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.metrics import average_precision
from chexkeras.evaluation.scores import Scores, clean, one_class, patient_numbers
from chexkeras.evaluation.uncertainty.bootstrap import bootstrap_replicates
from chexkeras.evaluation.uncertainty.delong import (
    AucContributions,
    auc_contributions,
    auc_covariance,
    degrees_of,
    raised_covariance,
)
from chexkeras.evaluation.uncertainty.limits import (
    DELONG,
    AreaError,
    auc_limits,
    clopper_pearson,
    hanley_mcneil_error,
    logit_limits,
    variance_floor,
    wilson,
)
from chexkeras.evaluation.uncertainty.worth import Agreement, Error, approximate, effective_size, kish
from chexkeras.results import Estimate


@checked
def auc_interval(
    labels: ArrayLike, scores: ArrayLike, *, clusters: ArrayLike | None = None, confidence: float = 0.95
) -> Estimate:
    """Returns the exact area under the ROC curve with its confidence interval.

    DeLong's variance on the logit scale; Obuchowski's clustered variance when a patient has several images, raised
    where sums over few patients are too small by chance (`worth.Agreement`). Few means what patients are worth: 60
    patients of whom some have a hundred images may be worth ten. Where the patients of a class are worth less than 50,
    Newcombe's score interval at the effective sample sizes, with this variance (not much below Newcombe's own where
    patients are few) and Student's t at Satterthwaite's degrees of freedom. Newcombe's alone where the variance is zero
    or cannot be estimated (a perfect or constant ranking, one patient in a class). Simulated coverage stands in
    benchmarks/README.md.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite; any monotone scale.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate; not estimable when one class is missing, or the interval spans everything from 0 to 1.

    Raises:
        ValueError: If lengths differ or values are out of range; see `scores.clean`.

    Source:
        DeLong et al., Biometrics 44, 1988; Sun & Xu, IEEE Signal Processing Letters 21(11), 2014; Obuchowski,
        Biometrics 53, 1997; Newcombe, Statistics in Medicine 25, 2006 (method 5); Kish, Survey Sampling, 1965;
        Satterthwaite, Biometrics Bulletin 2, 1946.

    Example:
        >>> print(auc_interval([0] * 20 + [1] * 20, range(40)))
        1.000 (95 % CI 0.899-1.000)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    positive, score, kept = clean(labels, scores)
    group = patient_numbers(clusters, kept)
    n_positive, n_negative, n = int(positive.sum()), int((~positive).sum()), len(score)
    if not n_positive or not n_negative:
        return Estimate.not_estimable(one_class(n_positive, n_negative), n=n, confidence=confidence)
    owner = np.arange(n) if group is None else group
    n_patients = int(owner.max()) + 1
    part = auc_contributions(positive, score, owner, n_patients)
    unit, of_patients = ("images", "") if group is None else ("patients", f", {n} images of {n_patients} patients")
    low, high, method = part.limits(confidence, unit=unit)
    method += of_patients + approximate(part.worth, unit)
    return Estimate(part.area, low, high, confidence, n, method).unless_it_spans(0, 1)


def auc_interval_from_counts(area: float, n_positive: int, n_negative: int, *, confidence: float = 0.95) -> Estimate:
    """Returns a published area under the ROC curve with the interval that the sizes of its classes give.

    Args:
        area: The area as published, strictly between 0 and 1.
        n_positive: Positive images, at least 1, taken as independent.
        n_negative: Negative images, at least 1, taken as independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate, with Hanley and McNeil's error.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Hanley & McNeil, Radiology 143, 1982.
    """
    checks.probability(confidence, "confidence", open_interval=True)
    error = hanley_mcneil_error(area, n_positive, n_negative)
    stated = AreaError(error, f"as published, Hanley-McNeil 1982 error {error:.4f}")
    sizes = (n_positive, n_negative)
    low, high, method = auc_limits(area, error**2, sizes, confidence, unit="images", error=stated)
    return Estimate(area, low, high, confidence, n_positive + n_negative, method)


def auc_variance(labels: ArrayLike, scores: ArrayLike, *, clusters: ArrayLike | None = None) -> tuple[float, float]:
    """Returns the area under the ROC curve and its DeLong (or, with patients, Obuchowski) variance.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out); both classes.
        scores: Shape (n,), finite.
        clusters: Shape (n,), the patient of each image; None when images are independent.

    Returns:
        Area and variance; the variance is NaN when a class comes from one patient only.

    Raises:
        ValueError: If a class is missing; and see `scores.clean`.
    """
    positive, score, kept = clean(labels, scores)
    if positive.all() or not positive.any():
        reason = one_class(int(positive.sum()), int((~positive).sum()))
        raise ValueError(f"the area under the ROC curve needs both classes; {reason}.")
    group = patient_numbers(clusters, kept)
    areas, covariance = auc_covariance(positive, score, group)
    return float(areas[0]), float(covariance[0, 0])


@checked
def macro_auc_interval(scores_table: pd.DataFrame, *, confidence: float = 0.95) -> Estimate:
    """Returns the mean AUROC over findings, each counted once, with its confidence interval.

    The findings are scored on the same images, so their areas vary together. What every patient contributes to the
    error of each area gives the covariance matrix of all areas, and from it the variance of their mean; images of one
    patient may agree. Variances are raised where few patients make them too small, and Student's t is used, as in
    `auc_interval`.

    Args:
        scores_table: Long table of scores (image_id, patient_id, finding, label, score).
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate; `n` counts images, `method` names the findings that are left out for having one class only, or
        one of their classes from a single patient. With one finding it is `auc_interval`'s. Not estimable when no
        finding has both classes. When every ranking is perfect, Newcombe's interval of the finding with the fewest
        positives, since the mean cannot vary more than the least certain area.

    Raises:
        TypeError: If it is not a pandas DataFrame.
        ValueError: If it is not a clean table of scores, see `Scores.of`.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988; Obuchowski, Biometrics 53, 1997 (contributions of
        clusters, here also across labels).
    """
    checks.probability(confidence, "confidence", open_interval=True)
    table = Scores.of(scores_table)
    known = table.labelled()
    parts, left_out = _contributions(table, known)
    if not parts:
        reason = f"no finding has both classes: {'; '.join(f'{name}: {why}' for name, why in left_out.items())}"
        return Estimate.not_estimable(reason, n=known["image_id"].nunique(), confidence=confidence)
    used = known[known["finding"].isin(list(parts))]
    n, n_patients = used["image_id"].nunique(), used["patient_id"].nunique()
    unit = "images" if n == n_patients else "patients"
    value, low, high, method = mean_of_areas(list(parts.values()), confidence, unit)
    method += f", {n} images of {n_patients} patients"
    if left_out:
        method += f"; left out: {', '.join(f'{name} ({why})' for name, why in left_out.items())}"
    return Estimate(value, low, high, confidence, n, method)


def _contributions(table: Scores, known: Scores) -> tuple[dict[str, AucContributions], dict[str, str]]:
    """Returns the areas that can be averaged, and why other findings are left out."""
    patients = pd.Index(table["patient_id"].unique())
    parts: dict[str, AucContributions] = {}
    single: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in table.findings:
        positive, score, names = known.of_finding(name).arrays()
        if positive.all() or not positive.any():
            left_out[name] = one_class(int(positive.sum()), int((~positive).sum()))
            continue
        owner = patients.get_indexer(names).astype(np.int64)
        part = auc_contributions(positive, score, owner, len(patients))
        parts[name] = part
        for kind, count in (("positives", part.n_positive_patients), ("negatives", part.n_negative_patients)):
            if count == 1:
                single[name] = f"{kind} of one patient only"
    if len(single) < len(parts):
        parts = {name: part for name, part in parts.items() if name not in single}
        left_out |= single
    return parts, left_out


def mean_of_areas(parts: list[AucContributions], confidence: float, unit: str) -> tuple[float, float, float, str]:
    """Returns the mean of areas on the same patients, its limits and how they were computed.

    Args:
        parts: One for each finding, at least one.
        confidence: Coverage, in (0, 1).
        unit: What is independent, "patients" or "images".
    """
    if len(parts) == 1:
        low, high, method = parts[0].limits(confidence, unit=unit)
        return parts[0].area, low, high, f"one finding: {method}"
    value, variance = math.fsum(part.area for part in parts) / len(parts), _variance_of_mean(parts)
    # Where no ranking varies, the rarest finding says how much there is to know.
    rarest = min(parts, key=lambda part: min(part.sizes))
    words = f"{DELONG[unit]} with covariances between findings"
    low, high, method = auc_limits(
        value, variance, rarest.patients, confidence, sizes=rarest.sizes, worth=rarest.worth,
        degrees=degrees_of(parts), unit=unit, whose="of the rarest",
        error=AreaError(math.sqrt(variance), words) if variance > 0 else None,
    )  # fmt: skip
    return value, low, high, f"mean of {len(parts)} findings, {method}{approximate(rarest.worth, unit)}"


def _variance_of_mean(parts: list[AucContributions]) -> float:
    floored = raised_covariance(parts)
    for row, part in enumerate(parts):
        floored[row, row] = max(floored[row, row], variance_floor(part.area, part.sizes, part.worth))
    return float(floored.mean())


@checked
def average_precision_interval(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 2000,
    sampled_prevalence: bool = False,
) -> Estimate:
    """Returns the average precision with an interval whose error comes from a bootstrap of whole patients.

    Average precision depends on the prevalence. By default the interval is for the prevalence of these images, and
    says so: patients with and without a positive image are resampled separately, as suits images that were chosen by
    their labels. Of images that are a random sample of a population, `sampled_prevalence` makes the interval hold the
    population's average precision: patients are resampled together, and how many are positive varies.

    The replicates' standard deviation makes limits on the logit scale, with Student's t at one degree of freedom less
    than the positive patients are worth. Percentiles would cover too rarely with few positives (86-89 % of the time
    with 10): an image drawn twice is ranked as a tie, which lifts the replicates above the estimate.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).
        seed: One seed, one result, whatever the order of rows.
        replicates: Bootstrap replicates.
        sampled_prevalence: Whether the images are a random sample, so that their prevalence is an estimate too.

    Returns:
        The estimate; not estimable when a class is missing or the positives come from one patient. For a perfect
        ranking, whose replicates are all 1, the binomial interval on positive patients.

    Raises:
        ValueError: If lengths differ or values are out of range; see `scores.clean`.

    Source:
        Boyd, Eng & Page, ECML PKDD 2013.
    """
    checks.probability(confidence, "confidence", open_interval=True)
    checks.positive_int(replicates, "replicates")
    positive, score, kept = clean(labels, scores)
    group = patient_numbers(clusters, kept)
    n, n_positive = len(score), int(positive.sum())
    if n_positive in (0, n):
        return Estimate.not_estimable(one_class(n_positive, n - n_positive), n=n, confidence=confidence)
    unit = "images" if group is None else "patients"
    owner = np.arange(n) if group is None else group
    n_patients, positive_patients = int(owner.max()) + 1, len(np.unique(owner[positive]))
    if positive_patients < 2:
        reason = f"only one positive {unit.removesuffix('s')}; a bootstrap needs at least two"
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    value = average_precision(positive, score)
    drawn = bootstrap_replicates(
        "average_precision", positive, score,
        clusters=group, replicates=replicates, seed=seed, keep_classes=not sampled_prevalence,
    )  # fmt: skip
    # A replicate without positives says nothing of the average precision.
    drawn = drawn[~np.isnan(drawn)]
    worth = min(kish(owner[positive]), kish(owner[~positive]))
    if len(drawn) < 2 or drawn.min() == drawn.max():
        low, high = clopper_pearson(worth * value, worth, confidence)
        method = f"binomial on positive {unit} worth {worth:.1f}, because the bootstrap does not vary"
        return Estimate(value, low, high, confidence, n, method)
    # The value is below 1 here, because every replicate of a perfect ranking is 1.
    error = float(drawn.std(ddof=1))
    low, high = logit_limits(value, error, confidence, degrees=max(1.0, worth - 1))
    prevalence = f"of the population they were drawn from at random (prevalence here {n_positive / n:.3g})"
    if not sampled_prevalence:
        prevalence = f"at the prevalence of these images, {n_positive / n:.3g}"
    method = (
        f"average precision {prevalence}, logit interval with the standard error of a bootstrap of {n_patients} {unit} "
        f"({positive_patients} positive), {replicates} replicates, seed {seed}{approximate(worth, unit)}"
    )
    return Estimate(value, low, high, confidence, n, method)


@checked
def proportion_interval(
    successes: int, n: int, *, method: str = "clopper-pearson", confidence: float = 0.95
) -> Estimate:
    """Returns a proportion of independent cases with its confidence interval.

    Args:
        successes: How many of `n`, a whole number.
        n: How many cases; 0 is allowed and not estimable.
        method: "clopper-pearson" (exact, for claims) or "wilson" (score, for plots).
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate; at 0 or `n` successes Clopper-Pearson keeps its half of the error on the open side.

    Raises:
        ValueError: If the counts are not whole, negative, or successes exceed n; or the method is unknown.

    Source:
        Clopper & Pearson, Biometrika 26, 1934; Wilson, JASA 22, 1927; both as in Newcombe, Statistics in Medicine 17,
        1998.

    Example:
        >>> print(proportion_interval(283, 299))
        0.946 (95 % CI 0.915-0.969)
    """
    checks.one_of(method, ("clopper-pearson", "wilson"), "method")
    checks.probability(confidence, "confidence", open_interval=True)
    checks.positive_int(successes, "successes", least=0)
    checks.positive_int(n, "n", least=0)
    if successes > n:
        raise ValueError(f"successes={successes} exceed n={n}; give how many of the n cases succeeded.")
    if n == 0:
        return Estimate.not_estimable("no cases (n = 0)", confidence=confidence)
    share = successes / n
    if method == "wilson":
        return Estimate(share, *wilson(successes, n, confidence), confidence, int(n), "Wilson")
    return Estimate(share, *clopper_pearson(successes, n, confidence), confidence, int(n), "Clopper-Pearson")


@checked
def clustered_proportion_interval(
    successes: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95, empty: str = "no cases (n = 0)"
) -> Estimate:
    """Returns a proportion of images with an interval that lets images of one patient agree.

    The design effect is the larger of the ratio estimator's variance over the binomial one and what the correlation
    within patients says (`worth.Agreement`); the Clopper-Pearson interval is taken at ``n / design effect``
    images, further reduced for few patients by Korn and Graubard's ratio of t quantiles. It is never narrower than
    the plain interval, and equals it when every patient has one image. Without variance (0 or all successes) the
    plain interval on what the patients are worth is given, which is conservative.

    Args:
        successes: Shape (n,), whether each image succeeded.
        clusters: Shape (n,), the patient of each image.
        confidence: Coverage, in (0, 1).
        empty: The reason to give when there is no image.

    Returns:
        The estimate; `n` is in images, the number of patients is in `method`.

    Raises:
        ValueError: If lengths differ, one of them is neither 0 nor 1, or a patient is missing.

    Source:
        Rao & Scott, Biometrics 48, 1992; Obuchowski, Statistics in Medicine 17, 1998 (variance); Korn & Graubard,
        Survey Methodology 24, 1998 (Clopper-Pearson at the effective sample size); Kish, Survey Sampling, 1965 (what
        patients are worth, which counts here where patients are counted there).
    """
    checks.probability(confidence, "confidence", open_interval=True)
    hits = checks.numbers(successes, "successes")
    if hits.ndim != 1:
        raise ValueError(f"successes have shape {hits.shape}; expected one column, one entry for each image.")
    if not np.isin(hits, (0.0, 1.0)).all():
        raise ValueError("successes must be 0/1 or booleans, without missing values.")
    n, n_hits = len(hits), int(hits.sum())
    if n == 0:
        return Estimate.not_estimable(empty, confidence=confidence)
    group = patient_numbers(clusters, np.ones(n, dtype=bool))
    if group is None:
        return proportion_interval(n_hits, n, confidence=confidence)
    share = n_hits / n
    agreement = Agreement.of(hits - share, group)
    basis = f"{n} images of {agreement.n_patients} patients{approximate(agreement.worth)}"
    if n_hits in (0, n):
        low, high = clopper_pearson(agreement.worth if n_hits else 0, agreement.worth, confidence)
        method = f"Clopper-Pearson on patients, worth {agreement.worth:.1f}, because the images do not vary; {basis}"
        return Estimate(share, low, high, confidence, n, method)
    effective = float(effective_size(agreement, confidence))
    low, high = clopper_pearson(share * effective, effective, confidence)
    method = f"Clopper-Pearson at the effective sample size {effective:.1f} (Korn & Graubard 1998); {basis}"
    return Estimate(share, low, high, confidence, n, method)


@checked
def mean_interval(
    values: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    confidence: float = 0.95,
) -> Estimate:
    """Returns the mean of one number for each image, with an interval that lets images of one patient agree.

    The variance of the mean of independent images times their design effect (`worth.Agreement`), and Student's t with
    what the patients are worth, less one, as degrees of freedom.

    Args:
        values: Shape (n,), finite numbers.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        bounds: The least and the largest value possible; limits stay within.
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate; not estimable with fewer than two patients.

    Raises:
        ValueError: If lengths differ, a value is not finite, or a patient is missing.

    Source:
        Rao & Scott, Biometrics 48, 1992 (design effect); Kish, Survey Sampling, 1965.

    Example:
        >>> print(mean_interval([0.2, 0.4, 0.6, 0.8]))
        0.500 (95 % CI 0.089-0.911; approximate: worth 4 patients)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    given = checks.numbers(values, "values")
    if given.ndim != 1 or not np.isfinite(given).all():
        raise ValueError(f"values of shape {given.shape} must be one finite number for each image.")
    n = len(given)
    group = patient_numbers(clusters, np.ones(n, dtype=bool)) if n else None
    owner = np.arange(n) if group is None else group
    agreement = Agreement.of(given - given.mean(), owner) if n else None
    if agreement is None or agreement.n_patients < 2:
        reason = "no images" if agreement is None else "one patient only: nothing tells how patients differ"
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    variance = float(agreement.scatter) / (n - 1) / n * float(agreement.design_effect())
    error = Error(math.sqrt(variance), max(1.0, agreement.worth - 1))
    value, half = float(given.mean()), error.half_width(confidence)
    low, high = max(bounds[0], value - half), min(bounds[1], value + half)
    basis = f"{n} images" if group is None else f"{n} images of {agreement.n_patients} patients"
    method = f"mean{error.words}; {basis}{approximate(agreement.worth)}"
    return Estimate(value, low, high, confidence, n, method)


def size_behind(estimate: Estimate, name: str) -> float:
    """Returns how many independent images would give a share a Clopper-Pearson interval of the length it has.

    Args:
        estimate: A share with its interval.
        name: What it is, for messages.

    Raises:
        ValueError: If the interval has no length, or does not lie in [0, 1].

    Example:
        >>> round(size_behind(proportion_interval(45, 50), "sensitivity"), 3)
        50.0
    """
    from scipy import optimize

    length = estimate.high - estimate.low
    if not 0 <= estimate.low <= estimate.value <= estimate.high <= 1 or not 0 < length < 1:
        raise ValueError(
            f"{name}={estimate} needs an interval within 0 and 1, of some length; give a number to take it as known."
        )

    def excess(log_size: float) -> float:
        size = math.exp(log_size)
        low, high = clopper_pearson(estimate.value * size, size, estimate.confidence)
        return high - low - length

    smallest, largest = math.log(1e-3), math.log(1e9)
    if excess(largest) >= 0 or excess(smallest) <= 0:
        return 1e9 if excess(largest) >= 0 else 1e-3
    return math.exp(optimize.brentq(excess, smallest, largest, xtol=1e-12))
