"""Paired tests on the same images: how much better one model is than another, with interval and p-value.

Sensitivities and specificities are proportions of the same images. Only images that one model called rightly and the
other wrongly say anything about the difference. With one image for each patient they are counted (McNemar); with
several they are added up within patients first, and patients are counted. Areas under the ROC curve are compared by
DeLong's paired test, any other statistic by a bootstrap of patients.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.evaluation.scores import clean, one_class, patient_numbers
from chexkeras.evaluation.uncertainty.bootstrap import bootstrap_differences
from chexkeras.evaluation.uncertainty.delong import auc_contributions, auc_difference_contributions
from chexkeras.evaluation.uncertainty.limits import auc_limits, clopper_pearson, normal_quantile
from chexkeras.evaluation.uncertainty.resampling import Statistic, find_statistic, p_value_of, percentile_limits
from chexkeras.evaluation.uncertainty.worth import approximate, kish, student_p_value, student_quantile
from chexkeras.results import Estimate

# Where limits with a design effect are looked for: ever closer towards the difference itself.
_STEPS = np.linspace(0, 1, 65)[1:] ** 2
_FEW_PATIENTS = 10


def mcnemar(first_only: int, second_only: int, n: int, *, confidence: float = 0.95) -> tuple[Estimate, float]:
    """Returns the difference of two proportions of the same independent images, and McNemar's exact p-value.

    The interval inverts the score test, so it is never empty and stays within -1 and 1. It excludes 0 exactly where the
    p-value is below 1 - confidence: where the score test alone would exclude it, the limit beside 0 is Clopper and
    Pearson's for the discordant images, which decides as the exact test does.

    Args:
        first_only: Images that only the first got right.
        second_only: Images that only the second got right.
        n: All images, those on which both agree included.
        confidence: Coverage, in (0, 1).

    Returns:
        First minus second with its interval, and the two-sided p-value; 1 without discordant images.

    Raises:
        ValueError: If counts are not whole, negative, or the discordant images exceed n; or n is 0.

    Source:
        McNemar, Psychometrika 12, 1947; Tango, Statistics in Medicine 17, 1998; both as recommended by Fagerland,
        Lydersen & Laake, Statistics in Medicine 33, 2014; Clopper & Pearson, Biometrika 26, 1934.

    Example:
        >>> difference, p_value = mcnemar(1, 7, 21)
        >>> print(difference, round(p_value, 4))
        -0.286 (95 % CI -0.517 to 0.020) 0.0703
    """
    checks.probability(confidence, "confidence", open_interval=True)
    for name, value in (("first_only", first_only), ("second_only", second_only), ("n", n)):
        checks.positive_int(value, name, least=0)
    if first_only + second_only > n or n == 0:
        raise ValueError(
            f"first_only={first_only} and second_only={second_only} do not fit n={n}; n counts all images, "
            "those on which both agree included."
        )
    from scipy import stats

    discordant = int(first_only) + int(second_only)
    p_value = float(stats.binomtest(int(first_only), discordant).pvalue) if discordant else 1.0
    limits = _tango(int(first_only), int(second_only), int(n), confidence)
    method = "McNemar exact, Tango score interval"
    if (limits[0] > 0 or limits[1] < 0) and not p_value < 1 - confidence:
        shares = clopper_pearson(first_only, discordant, confidence)
        limits = _beside_zero(limits, (discordant / n * (2 * shares[0] - 1), discordant / n * (2 * shares[1] - 1)))
        method += ", beside 0 Clopper-Pearson on the discordant images"
    method += f"; {discordant} of {n} images discordant"
    return Estimate((first_only - second_only) / n, *limits, confidence, int(n), method), p_value


def _beside_zero(limits: tuple[float, float], others: tuple[float, float]) -> tuple[float, float]:
    """Returns limits that exclude 0 with the one beside 0 moved to that of other limits, which hold it."""
    return (min(others[0], 0.0), limits[1]) if limits[0] > 0 else (limits[0], max(others[1], 0.0))


def _tango(
    first_only: float, second_only: float, n: float, confidence: float, effect: Callable[[float], float] | None = None
) -> tuple[float, float]:
    """Returns the differences at which Tango's score statistic equals plus and minus the normal quantile.

    Args:
        first_only: Images that only the first got right.
        second_only: Images that only the second got right.
        n: All images, or what they are worth.
        confidence: Coverage, in (0, 1).
        effect: By how much patients multiply the variance at a difference; None for independent images.

    Returns:
        Lower and upper limit.
    """
    from scipy import optimize

    z, difference = normal_quantile(confidence), (first_only - second_only) / n

    def excess(delta: float) -> float:
        # The share of second_only that is most likely when the true difference is delta.
        b = -first_only - second_only + (2 * n - first_only + second_only) * delta
        c = -second_only * delta * (1 - delta)
        share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = max(n * (2 * share + delta * (1 - delta)), 0.0) * (1.0 if effect is None else effect(delta))
        return (first_only - second_only - n * delta) ** 2 - z * z * variance

    # Without discordant images the variance vanishes at the difference itself, so the search begins just beside it.
    edge = 1e-9

    def end(bound: float) -> float:
        before = difference + math.copysign(edge, bound)
        if abs(before) >= 1 and before * bound > 0:
            return bound
        # With a design effect the statistic need not rise all the way: the limit is where it first exceeds.
        for part in _STEPS if effect is not None else (1.0,):
            here = difference + (bound - difference) * part
            if excess(here) > 0:
                return float(optimize.brentq(excess, before, here)) if excess(before) < 0 else before
            before = here
        return bound

    return end(-1.0), end(1.0)


def paired_proportions(
    first: ArrayLike, second: ArrayLike, *, clusters: ArrayLike | None = None, confidence: float = 0.95
) -> tuple[Estimate, float]:
    """Returns the difference of two proportions of the same images and the p-value that they are equal.

    One image for each patient: `mcnemar`. Several: a patient's images are added up to the number by which one model
    was right more often than the other, and the exact test asks how often patients who favour either model with equal
    chance would differ in sum as much. Where nobody's number exceeds 1 that is McNemar's exact test. Tango's score
    variance is multiplied by the design effect, by which patients vary more than as many independent images, and gives
    his interval where every patient has one image. The interval excludes 0 exactly where the p-value is below
    1 - confidence: where the score test decides otherwise, the limit beside 0 comes from the exact test, given how far
    the models differ on each patient.

    Args:
        first: Shape (n,), whether the first model was right on each image, 0/1 or booleans.
        second: Shape (n,), whether the second model was right on each image, 0/1 or booleans.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        First minus second with its interval, and the two-sided p-value. Not estimable, with p NaN, without images or
        when all come from one patient.

    Raises:
        ValueError: If lengths differ, one of them is neither 0 nor 1, or a patient is missing.

    Source:
        Fisher, The Design of Experiments, 1935, section 21 (the test of signs given the sizes of differences); Tango,
        Statistics in Medicine 17, 1998 (score interval); Obuchowski, Statistics in Medicine 17, 1998 (variance of
        differences added up within patients); Kish, Survey Sampling, 1965 (design effect).

    Example:
        >>> first, second = [1] * 100, [0] * 4 + [1] * 96
        >>> for patients in (range(100), [*range(99), 98]):
        ...     difference, p_value = paired_proportions(first, second, clusters=list(patients))
        ...     print(difference, round(p_value, 3))
        0.040 (95 % CI -0.008 to 0.098) 0.125
        0.040 (95 % CI -0.008 to 0.099) 0.125
    """
    checks.probability(confidence, "confidence", open_interval=True)
    hits = [checks.numbers(right, name) for right, name in ((first, "first"), (second, "second"))]
    if hits[0].ndim != 1 or hits[0].shape != hits[1].shape:
        raise ValueError(f"first has shape {hits[0].shape} and second {hits[1].shape}; one outcome for each image.")
    if not all(np.isin(right, (0.0, 1.0)).all() for right in hits):
        raise ValueError("first and second must be 0/1 or booleans, without missing values.")
    n = len(hits[0])
    if n == 0:
        return Estimate.not_estimable("no images to compare on", confidence=confidence), math.nan
    difference = hits[0] - hits[1]
    group = patient_numbers(clusters, np.ones(n, dtype=bool))
    if group is None:
        return mcnemar(int((difference > 0).sum()), int((difference < 0).sum()), n, confidence=confidence)
    return _clustered(difference, group, confidence)


def _clustered(difference: NDArray[np.float64], group: NDArray[np.int64], confidence: float) -> tuple[Estimate, float]:
    n, patients = len(difference), int(group.max()) + 1
    if patients == 1:
        reason = f"all {n} images come from one patient"
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    gained, sizes = (np.rint(np.bincount(group, each)) for each in (difference, np.ones(n)))
    value, worth = float(difference.sum() / n), kish(group)
    signs = _Signs.of(gained)
    p_value = signs.p_value()
    method = "exact test of the signs of patients' net differences, Tango score interval"
    if np.allclose(gained, value * sizes, rtol=0, atol=1e-9):
        limits = _tango(max(value, 0.0) * worth, max(-value, 0.0) * worth, worth, confidence)
        method += f" on the {worth:.1f} patients that these are worth, because they do not differ from each other"
    else:
        ahead, behind = float(gained.clip(min=0).sum()), float(-gained.clip(max=0).sum())
        limits = _tango(ahead, behind, n, confidence, _design_effect(gained, sizes))
        method += " with design effect"
    significant, excluded = p_value < 1 - confidence, limits[0] > 0 or limits[1] < 0
    if significant != excluded:
        shares = signs.share_limits(confidence)
        scale = signs.size / n
        if significant:
            # How far the models differ at all is uncertain as well; its own limit keeps the limit beside 0 cautious.
            spread = float(np.sqrt(np.sum((np.abs(gained) - scale * sizes) ** 2)) / signs.size)
            scale *= math.exp(-normal_quantile(confidence) * spread)
            low, high = (scale * (2 * share - 1) for share in shares)
            limits = (low, limits[1]) if value > 0 else (limits[0], high)
        else:
            limits = _beside_zero(limits, (scale * (2 * shares[0] - 1), scale * (2 * shares[1] - 1)))
        method += ", beside 0 by the exact test"
    discordant = len(np.unique(group[difference != 0]))
    method += f"; {n} images of {patients} patients, {discordant} of them with discordant images"
    method += approximate(worth)
    return Estimate(value, *limits, confidence, n, method), p_value


def _design_effect(gained: NDArray[np.float64], sizes: NDArray[np.float64]) -> Callable[[float], float]:
    """Returns by how much patients multiply the variance of the sum of differences, at a true difference.

    The squares of patients' sums over the squares of as many single images; discordant images that cancel within a
    patient count as concordant. 1 where every patient has one image.
    """
    kinds, times = np.unique(np.column_stack([gained, sizes]), axis=0, return_counts=True)
    ahead, behind = (float(times @ kinds[:, 0].clip(*bounds)) for bounds in ((0, None), (None, 0)))
    equal = float(times @ kinds[:, 1]) - ahead + behind

    def effect(delta: float) -> float:
        of_patients = float(times @ (kinds[:, 0] - delta * kinds[:, 1]) ** 2)
        return of_patients / (ahead * (1 - delta) ** 2 - behind * (1 + delta) ** 2 + equal * delta**2)

    return effect


class _Signs(NamedTuple):
    """Patients by how far the models differ on them, whichever is ahead.

    Attributes:
        sizes: Shape (kinds,), the different sizes of patients' net differences, at least 1.
        patients: Shape (kinds,), how many patients have each.
        total: The sum of net differences, with their signs.
    """

    sizes: NDArray[np.int64]
    patients: NDArray[np.int64]
    total: int

    @classmethod
    def of(cls, gained: NDArray[np.float64]) -> "_Signs":
        sizes, patients = np.unique(np.abs(gained[gained != 0]).astype(np.int64), return_counts=True)
        return cls(sizes, patients.astype(np.int64), round(float(gained.sum())))

    @property
    def size(self) -> int:
        """The largest sum that there could be."""
        return int(self.sizes @ self.patients)

    def tails(self, share: float) -> tuple[float, float]:
        """Returns how probable a sum at most, and at least, as large is where each favours the first with a chance."""
        from scipy import signal, stats

        chances = np.ones(1)
        for size, patients in zip(self.sizes, self.patients, strict=True):
            spread = np.zeros(int(size * patients) + 1)
            spread[::size] = stats.binom.pmf(np.arange(patients + 1), patients, share)
            chances = signal.convolve(chances, spread, method="auto" if len(chances) * len(spread) > 1e6 else "direct")
        # Entry k is the chance of the sum 2 k - size.
        at = (self.total + self.size) // 2
        below, above = float(chances[: at + 1].sum()), float(chances[at:].sum())
        return min(max(below, 0.0), 1.0), min(max(above, 0.0), 1.0)

    def p_value(self) -> float:
        """Returns the two-sided p-value that each favours either model with equal chance."""
        if not self.total:
            return 1.0
        # The least that there can be, where the transform behind long convolutions would leave only rounding.
        least = 0.5 ** float(self.patients.sum() - 1)
        return min(1.0, max(2 * min(self.tails(0.5)), least))

    def share_limits(self, confidence: float) -> tuple[float, float]:
        """Returns limits of the chance to favour the first, Clopper and Pearson's where all sizes are 1."""
        from scipy import optimize

        tail = (1 - confidence) / 2
        low, high = 0.0, 1.0
        if self.total > -self.size:
            low = float(optimize.brentq(lambda share: self.tails(share)[1] - tail, 0.0, 1.0))
        if self.total < self.size:
            high = float(optimize.brentq(lambda share: self.tails(share)[0] - tail, 0.0, 1.0))
        return low, high


def auroc_difference(
    labels: ArrayLike,
    first_scores: ArrayLike,
    second_scores: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> tuple[Estimate, float]:
    """Returns the difference of two areas under the ROC curve of the same images, and the p-value that they are equal.

    DeLong's paired test; with several images of a patient, Obuchowski's covariance, raised where few patients make it
    too small by chance; Student's t where patients are worth less than 50. The p-value is below
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
        missing, comes from one patient, the areas differ without any variance, or the interval spans all from -1 to 1.

    Raises:
        ValueError: See `scores.clean`.

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
    if np.array_equal(_order(first), _order(second)):
        return Estimate(0.0, 0.0, 0.0, confidence, n, f"{method}; both order the images alike"), 1.0
    joint = auc_difference_contributions(positive, first, second, owner, n_owners)
    variance = joint.variance
    if math.isnan(variance):
        class_, unit = (
            "positive" if joint.n_positive_patients < 2 else "negative",
            "image" if group is None else "patient",
        )
        reason = f"only one {class_} {unit}; the error of the difference cannot be estimated"
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    if variance > 0:
        error, degrees = math.sqrt(variance), joint.degrees
        half = student_quantile(confidence, degrees) * error
        limits = (max(-1.0, joint.area - half), min(1.0, joint.area + half))
        if not math.isinf(degrees):
            method += f", Student's t with {degrees:.0f} degrees of freedom"
        method += approximate(joint.worth, "images" if group is None else "patients")
        found = Estimate(joint.area, *limits, confidence, n, method).unless_it_spans(-1, 1)
        return found, student_p_value(joint.area / error, degrees) if found.estimable else math.nan
    if joint.area != 0:
        reason = f"the areas {parts[0].area:.3f} and {parts[1].area:.3f} differ, but without any estimated variance"
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    patients = joint.n_positive_patients, joint.n_negative_patients
    unit, because = "images" if group is None else "patients", "because the variance is zero"
    low, high, how = auc_limits(parts[0].area, variance, patients, confidence, unit=unit, because=because)
    down, up = parts[0].area - low, high - parts[0].area
    method = f"limits of each area ({how}), added as squares; {method}"
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
        statistic: "auroc" or "average_precision", or any function ``statistic(labels, scores)`` of arrays (labels 1.0
            or 0.0) that returns a number; larger is better.
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
        ValueError: See `scores.clean`.

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
    method = (
        f"paired percentile bootstrap of {int(owner.max()) + 1} {unit} ({positives} positive), {replicates} "
        f"replicates, seed {seed}"
    )
    if undefined:
        method += f"; {undefined} replicates without a value left out"
    if positives < _FEW_PATIENTS:
        method += f"; only {positives} positive {unit}: approximate"
    limits = percentile_limits(drawn, difference, confidence)
    return Estimate(difference, *limits, confidence, n, method), p_value_of(drawn)
