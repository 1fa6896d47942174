"""One statistic in several sets of images at once: values, how they vary together, limits of each and of differences.

Sets may share patients (one patient imaged PA and AP) and even images (a group and all images). What every patient
contributes to the error of each value gives their covariance. All that is said of gaps between groups rests on
`measure_areas` and `measure_shares`: on how many patients an interval rests, and its floor, are decided there.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chexkeras.evaluation.uncertainty.delong import AucContributions, auc_contributions, raised_covariance
from chexkeras.evaluation.uncertainty.limits import clopper_pearson, hanley_mcneil_variance, wilson
from chexkeras.evaluation.uncertainty.worth import Agreement, approximate, effective_size

_DRAWS = 1 << 15

Limits = Callable[[float], tuple[float, float]]
"""From a confidence in (0, 1) to lower and upper limit."""


class SetEstimates(NamedTuple):
    """A statistic in k sets of images.

    Attributes:
        values: Shape (k,).
        covariance: Shape (k, k), over patients.
        covariance_if_equal: Shape (k, k), as it would be if all sets had one and the same value.
        limits: Of each value, at any confidence; they make up for few patients.
        sides: Of each value, the limits that those of a difference are recovered from.
        methods: Of each value, how its limits are made.
        n_images: Shape (k,), images that each value is made of.
    """

    values: NDArray[np.float64]
    covariance: NDArray[np.float64]
    covariance_if_equal: NDArray[np.float64]
    limits: tuple[Limits, ...]
    sides: tuple[Limits, ...]
    methods: tuple[str, ...]
    n_images: NDArray[np.int64]

    def difference(self, first: int, second: int, confidence: float) -> tuple[float, float, float]:
        """Returns the first value minus the second with its limits, recovered from the limits of either.

        Args:
            first: Index of a set.
            second: Index of another set.
            confidence: Coverage, in (0, 1).

        Returns:
            Difference, lower limit, upper limit.

        Source:
            Newcombe, Statistics in Medicine 17, 1998 (method 10, two independent proportions); Zou & Donner, Statistics
            in Medicine 27, 2008, with the correlation of the two values.
        """
        one, other = float(self.values[first]), float(self.values[second])
        (low_one, high_one), (low_other, high_other) = self.sides[first](confidence), self.sides[second](confidence)
        scale = math.sqrt(self.covariance[first, first] * self.covariance[second, second])
        together = float(np.clip(self.covariance[first, second] / scale, -1, 1)) if scale > 0 else 0.0
        below = _side(one - low_one, high_other - other, together)
        above = _side(high_one - one, other - low_other, together)
        return one - other, max(-1.0, one - other - below), min(1.0, one - other + above)


def _side(first: float, second: float, together: float) -> float:
    return math.sqrt(max(first**2 + second**2 - 2 * together * first * second, 0.0))


def measure_areas(
    positive: NDArray[np.bool_],
    scores: NDArray[np.float64],
    patients: NDArray[np.int64],
    sets: Sequence[NDArray[np.bool_]],
) -> SetEstimates:
    """Measures the area under the ROC curve in every set of images.

    Args:
        positive: Shape (n,), clean labels.
        scores: Shape (n,), finite.
        patients: Shape (n,), patient numbers 0, 1, ...
        sets: k masks of shape (n,), which may overlap; each has both classes, either from at least two patients.

    Returns:
        The estimates, in the order of `sets`, each with the limits of `intervals.auc_interval`.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988; Obuchowski, Biometrics 53, 1997.
    """
    n_patients = int(patients.max()) + 1
    parts = [auc_contributions(positive[rows], scores[rows], patients[rows], n_patients) for rows in sets]
    covariance = raised_covariance(parts)
    values: NDArray[np.float64] = np.array([part.area for part in parts])
    if_equal = covariance.copy()
    for number, part in enumerate(parts):
        if not covariance[number, number] > 0:
            if_equal[number, number] = hanley_mcneil_variance(float(values.mean()), *part.sizes)
    limits = tuple(cache(_of_area(part)) for part in parts)
    methods = tuple(part.limits(0.95)[2] + approximate(part.worth) for part in parts)
    counts = np.array([int(rows.sum()) for rows in sets])
    return SetEstimates(values, covariance, if_equal, limits, limits, methods, counts)


def _of_area(part: AucContributions) -> Limits:
    return lambda confidence: part.limits(confidence)[:2]


def measure_shares(
    right: NDArray[np.bool_],
    patients: NDArray[np.int64],
    sets: Sequence[NDArray[np.bool_]],
    kinds: Sequence[str] | None = None,
) -> SetEstimates:
    """Measures the share of images called rightly in every set: sensitivity in sets of positives, else specificity.

    Args:
        right: Shape (n,), whether each image was called rightly.
        patients: Shape (n,), patient numbers 0, 1, ...
        sets: k masks of shape (n,), which may overlap; each with images of at least two patients.
        kinds: For each set of what it is a share, where there are sensitivities and specificities among them; only
            shares of one kind might be equal. None where all are of one kind.

    Returns:
        The estimates, in the order of `sets`, each with Clopper and Pearson's limits at the effective sample size. A
        difference rests on Wilson's at the same size: exact limits are too wide once two are combined, Wilson's alone
        too narrow where several must cover at once and shares are near 1.

    Source:
        Clopper & Pearson, Biometrika 26, 1934; Wilson, JASA 22, 1927; Rao & Scott, Biometrics 48, 1992 (design effect);
        Korn & Graubard, Survey Methodology 24, 1998 (few clusters).
    """
    hits, n_patients = right.astype(np.float64), int(patients.max()) + 1
    values: NDArray[np.float64] = np.array([hits[rows].mean() for rows in sets])
    residuals: NDArray[np.float64] = np.stack(
        [np.bincount(patients[rows], hits[rows] - share, n_patients) for rows, share in zip(sets, values, strict=True)]
    )
    agreements = [Agreement.of(hits[rows] - share, patients[rows]) for rows, share in zip(sets, values, strict=True)]
    # What one image's variance is divided by; where all images agree, their patients may agree fully.
    sizes = np.array([each.n / float(each.design_effect()) for each in agreements])
    together, scale = residuals @ residuals.T, np.sqrt((residuals**2).sum(axis=1))
    correlation = np.divide(
        together, np.outer(scale, scale), out=np.eye(len(sets)), where=np.outer(scale, scale) > 0
    )  # fmt: skip
    spread = np.sqrt(values * (1 - values) / sizes)
    if_equal = np.sqrt(variances_if_equal(hits, patients, sets, kinds))
    words = "Clopper-Pearson at the effective sample size (Korn & Graubard 1998)"
    each = list(zip(values.tolist(), agreements, strict=True))
    return SetEstimates(
        values, correlation * np.outer(spread, spread), correlation * np.outer(if_equal, if_equal),
        tuple(cache(_of_share(clopper_pearson, *one)) for one in each),
        tuple(cache(_of_share(wilson, *one)) for one in each),
        tuple(words + approximate(agreement.worth) for agreement in agreements),
        np.array([int(rows.sum()) for rows in sets]),
    )  # fmt: skip


def variances_if_equal(
    hits: NDArray[np.float64],
    patients: NDArray[np.int64],
    sets: Sequence[NDArray[np.bool_]],
    kinds: Sequence[str] | None = None,
) -> NDArray[np.float64]:
    """Returns the variances of shares that are equal within each kind; the images of patients agree alike in all.

    In a small set the correlation within patients would be chance, so it is taken from all sets of a kind together.

    Args:
        hits: Shape (n,), 1.0 for each image called rightly, else 0.0.
        patients: Shape (n,), patient numbers 0, 1, ...
        sets: k masks of shape (n,), none empty.
        kinds: For each set of what it is a share; None where all are of one kind.

    Returns:
        Shape (k,).

    Source:
        Rao & Scott, Biometrics 48, 1992 (design effects).
    """
    kinds = ["share"] * len(sets) if kinds is None else kinds
    variances = np.zeros(len(sets))
    for kind in dict.fromkeys(kinds):
        members = [number for number, name in enumerate(kinds) if name == kind]
        every = np.logical_or.reduce([sets[number] for number in members])
        common = float(hits[every].mean())
        together = Agreement.of(hits[every] - common, patients[every])
        for number in members:
            own = Agreement.of(hits[sets[number]] - common, patients[sets[number]])
            variances[number] = common * (1 - common) * together.design_effect_elsewhere(own) / own.n
    return variances


def _of_share(
    limits: Callable[[float, float, float], tuple[float, float]], share: float, agreement: Agreement
) -> Limits:
    def at(confidence: float) -> tuple[float, float]:
        size = float(effective_size(agreement, confidence))
        return limits(share * size, size, confidence)

    return at


class Joint(NamedTuple):
    """What several contrasts of estimates do together.

    Attributes:
        confidence: That each interval needs for all of them to cover together as often as asked.
        by_chance: How large the largest contrast would be on average if all estimated values were equal.
    """

    confidence: float
    by_chance: float


def joint(estimates: SetEstimates, contrasts: NDArray[np.float64], confidence: float) -> Joint:
    """Returns the confidence that each of several intervals needs, and how large the largest contrast is by chance.

    The largest standardised error follows the maximum of a multivariate normal distribution, which the points of a
    fixed lattice give without drawing. Few patients enter through the limits of each value, by Student's t.

    Args:
        estimates: Of k sets.
        contrasts: Shape (m, k), what the intervals are of, such as rows of the identity, or differences.
        confidence: That all m intervals cover, in (0, 1).

    Returns:
        The confidence, from the one asked for (all contrasts vary as one) to its m-th root (Sidak's for independent
        ones, a bound in any case, taken where a variance is zero or not known), and the mean of the largest contrast.

    Source:
        Sidak, JASA 62, 1967; Hothorn, Bretz & Westfall, Biometrical Journal 50, 2008; the lattice (Richtmyer's) as in
        Genz & Bretz, Computation of Multivariate Normal and t Probabilities, 2009.
    """
    from scipy import special

    used = contrasts.any(axis=0)
    contrasts = contrasts[:, used]
    covariance, if_equal = (each[np.ix_(used, used)] for each in (estimates.covariance, estimates.covariance_if_equal))
    by_chance = float(_largest(_errors(if_equal), contrasts, np.ones(len(contrasts))).mean())
    of_contrasts = contrasts @ covariance @ contrasts.T
    bound = float(confidence ** (1 / len(contrasts)))
    if len(contrasts) == 1 or not (np.diag(covariance) > 0).all() or not (np.diag(of_contrasts) > 0).all():
        return Joint(bound, by_chance)
    spread = np.sqrt(np.diag(of_contrasts))
    if np.allclose(of_contrasts / np.outer(spread, spread), np.eye(len(contrasts)), rtol=0, atol=1e-9):
        return Joint(bound, by_chance)
    quantile = float(np.quantile(_largest(_errors(covariance), contrasts, spread), confidence))
    return Joint(float(np.clip(2 * special.ndtr(quantile) - 1, confidence, bound)), by_chance)


def _largest(
    errors: NDArray[np.float64], contrasts: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the largest contrast of each draw, in units of `spread`, shape (draws,)."""
    largest = np.zeros(len(errors))
    for contrast, scale in zip(contrasts, spread, strict=True):
        np.maximum(largest, np.abs(errors @ contrast) / scale, out=largest)
    return largest


def _errors(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns points that fill a normal distribution evenly, shape (draws, k), the same ones each time."""
    from scipy import special

    variances, axes = np.linalg.eigh(covariance)
    points = np.modf(np.outer(np.arange(1, _DRAWS + 1), np.sqrt(_primes(len(covariance)))))[0]
    # Folding the lattice makes its error fall faster.
    normal = special.ndtri(np.clip(np.abs(2 * points - 1), 1e-12, 1 - 1e-12))
    return normal @ (axes * np.sqrt(np.clip(variances, 0, None))).T


def _primes(count: int) -> NDArray[np.float64]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return np.array(found, dtype=np.float64)
