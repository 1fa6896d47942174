"""How frequent a finding truly is, from calls of a test or a reference standard that errs with known rates."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.scores import known_labels, patient_numbers
from chexkeras.evaluation.uncertainty.intervals import size_behind
from chexkeras.evaluation.uncertainty.limits import clopper_pearson, normal_quantile
from chexkeras.evaluation.uncertainty.worth import Agreement, approximate, effective_size
from chexkeras.results import Estimate


@checked
def true_prevalence(
    called: ArrayLike,
    sensitivity: float | Estimate,
    specificity: float | Estimate,
    *,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Returns how frequent a finding truly is, from calls of a test that errs with known rates.

    Rogan and Gladen: the share of calls, less the false alarms, over what one more positive adds. Where sensitivity and
    specificity are known exactly, Clopper-Pearson limits of the share of calls are carried over; where they are
    estimates, their errors are added (Lang and Reiczigel), with as many images behind each as a Clopper-Pearson
    interval of its length would have.

    Args:
        called: Shape (n,), True or 1 where the test is positive, False or 0 where not; NaN is left out.
        sensitivity: Of the test: a number taken as known, or an estimate from other images.
        specificity: Of the test: a number taken as known, or an estimate from other images.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The prevalence, drawn in to 0 or 1 where chance took it beyond, which `method` says. Not estimable where the
        test is no better than chance, or where fewer or more images are called than the rates allow by chance.

    Raises:
        ValueError: If a call is neither true nor false, a rate is not in [0, 1], or shapes differ.

    Source:
        Rogan & Gladen, American Journal of Epidemiology 107, 1978; Reiczigel, Földi & Ózsvári, Epidemiology and
        Infection 138, 2010 (rates known); Lang & Reiczigel, Preventive Veterinary Medicine 113, 2014 (rates estimated).

    Example:
        >>> print(true_prevalence([1] * 23 + [0] * 127, 0.96, 0.89))
        0.051 (95 % CI 0.000-0.131)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    rates = KnownRate.of(sensitivity, "sensitivity"), KnownRate.of(specificity, "specificity")
    call = checks.numbers(called, "called")
    if call.ndim != 1:
        raise ValueError(f"called has shape {call.shape}; one call for each image was expected.")
    kept = known_labels(call, "called: ")
    group, n = patient_numbers(clusters, kept), int(kept.sum())
    if not n:
        return Estimate.not_estimable("no image has a call", confidence=confidence)
    return prevalence_of(call[kept] == 1, np.arange(n) if group is None else group, rates, confidence)


class KnownRate(NamedTuple):
    """A sensitivity or specificity of a reference.

    Attributes:
        value: In [0, 1].
        size: Independent images behind it; infinite where it is taken as known.
    """

    value: float
    size: float

    @classmethod
    def of(cls, given: float | Estimate, name: str) -> "KnownRate":
        """Returns a rate that was given as a number, taken as known, or as an estimate.

        Args:
            given: The rate.
            name: What it is, for messages.

        Raises:
            ValueError: If it is not in [0, 1], not estimable, or its interval has no length.
        """
        if not isinstance(given, Estimate):
            return cls(checks.probability(given, name), math.inf)
        if not given.estimable:
            raise ValueError(f"{name} is not estimable ({given.reason}); give a number, or an estimate that has one.")
        checks.probability(given.value, name)
        return cls(given.value, size_behind(given, name))

    @property
    def variance(self) -> float:
        """Of the estimate, one image of either kind added so that a rate of 1 is not taken as certain."""
        if math.isinf(self.size):
            return 0.0
        share = (self.size * self.value + 1) / (self.size + 2)
        return share * (1 - share) / (self.size + 2)


def why_not(share: float, sensitivity: KnownRate, specificity: KnownRate) -> str:
    """Returns why a share of positives cannot be taken apart into true and false ones, or an empty text.

    Args:
        share: Of images that the test, or the reference, finds positive.
        sensitivity: Of the same.
        specificity: Of the same.
    """
    rates = f"sensitivity {sensitivity.value:.3f} and specificity {specificity.value:.3f}"
    if sensitivity.value + specificity.value <= 1:
        return f"with {rates} it is no better than chance, so it says nothing of the truth"
    found = f"{share:.3f} of the images are found positive"
    if share <= 1 - specificity.value:
        return (
            f"{found}, no more than the {1 - specificity.value:.3f} of false alarms that the specificity stands for, "
            "so none of them need be real"
        )
    if share >= sensitivity.value:
        return (
            f"{found}, no fewer than the sensitivity {sensitivity.value:.3f} gives if all were positive, so none of "
            "the negatives need be real"
        )
    return ""


def prevalence_of(
    called: NDArray[np.bool_], owner: NDArray[np.int64], rates: tuple[KnownRate, KnownRate], confidence: float
) -> Estimate:
    """Returns the true prevalence of clean calls, see `true_prevalence`.

    Args:
        called: Shape (n,), at least one.
        owner: Shape (n,), patient numbers.
        rates: Sensitivity and specificity of the test.
        confidence: Coverage, in (0, 1).
    """
    sensitivity, specificity = rates
    n, share, better = len(called), float(called.mean()), sensitivity.value + specificity.value - 1
    if better <= 0:
        return Estimate.not_estimable(why_not(share, *rates), n=n, confidence=confidence)
    agreement = Agreement.of(called.astype(np.float64) - share, owner)
    size = float(effective_size(agreement, confidence)) if 0 < share < 1 else agreement.worth
    value = (share - (1 - specificity.value)) / better
    if math.isinf(sensitivity.size) and math.isinf(specificity.size):
        ends = clopper_pearson(share * size, size, confidence)
        limits = [(end - (1 - specificity.value)) / better for end in ends]
        how = f"Rogan & Gladen 1978, Clopper-Pearson limits of the share of calls at {size:.1f} images"
    else:
        limits = _lang_reiczigel(share, size, rates, confidence)
        how = f"Rogan & Gladen 1978, Lang & Reiczigel 2014 limits at {size:.1f} images"
    if limits[0] > 1 or limits[1] < 0:
        beyond = "fewer" if limits[1] < 0 else "more"
        reason = (
            f"{share:.3f} of the images are called, {beyond} than sensitivity {sensitivity.value:.3f} and specificity "
            f"{specificity.value:.3f} allow at any prevalence; one of the two is not what it is said to be"
        )
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    drawn = min(1.0, max(0.0, value))
    if drawn != value:
        how += f", drawn in from {value:.3f}"
    low, high = (min(1.0, max(0.0, limit)) for limit in limits)
    basis = f"; {n} images" + ("" if agreement.n_patients == n else f" of {agreement.n_patients} patients")
    method = how + basis + approximate(agreement.worth, "images" if agreement.n_patients == n else "patients")
    return Estimate(drawn, min(low, drawn), max(high, drawn), confidence, n, method)


def _lang_reiczigel(share: float, size: float, rates: tuple[KnownRate, KnownRate], confidence: float) -> list[float]:
    """Returns limits of the prevalence, not drawn in, with images added to all three shares."""
    z = normal_quantile(confidence)
    adjusted = (size * share + z * z / 2) / (size + z * z)
    one, other = ((r.size * r.value + 1) / (r.size + 2) if math.isfinite(r.size) else r.value for r in rates)
    better = one + other - 1
    value = (adjusted + other - 1) / better
    errors = rates[0].variance, rates[1].variance
    shift = 2 * z * z * (value * errors[0] - (1 - value) * errors[1])
    spread = adjusted * (1 - adjusted) / (size + z * z) + value**2 * errors[0] + (1 - value) ** 2 * errors[1]
    half = z * math.sqrt(spread) / abs(better)
    return [value + shift - half, value + shift + half]
