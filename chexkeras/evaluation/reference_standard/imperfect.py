"""A reference standard that errs: prevalence, sensitivity and specificity as they would be against the truth.

Labels from reports, or one reader's, miss some findings and see some that are not there. If it is known how often, the
apparent rates of a device can be carried over to the truth, as long as device and reference err independently of each
other given the truth. If they miss the same faint findings, that carries too far; bounds then say what still holds.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.rates import clean_calls
from chexkeras.evaluation.reference_standard.prevalence import KnownRate, prevalence_of, why_not
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.evaluation.uncertainty.resampling import patient_counts
from chexkeras.evaluation.uncertainty.worth import Agreement, approximate, kish, student_quantile
from chexkeras.plain import PlainTable
from chexkeras.results import Estimate
from chexkeras.results.record import Record


@checked
@dataclass(frozen=True)
class ReferenceCorrected(Record):
    """Rates of a device against an imperfect reference, and against the truth.

    Attributes:
        n_images: Images with a reference and a call.
        sensitivity: Against the truth, if device and reference err independently given the truth.
        specificity: Against the truth, if device and reference err independently given the truth.
        prevalence: True share of positives.
        apparent_sensitivity: Against the reference as it is.
        apparent_specificity: Against the reference as it is.
        sensitivity_lowest: The least that the sensitivity may be, however device and reference go together.
        sensitivity_highest: The most that the sensitivity may be, however device and reference go together.
        specificity_lowest: The least that the specificity may be.
        specificity_highest: The most that the specificity may be.
        cautions: What must stand beside the numbers.
    """

    n_images: int
    sensitivity: Estimate
    specificity: Estimate
    prevalence: Estimate
    apparent_sensitivity: Estimate
    apparent_specificity: Estimate
    sensitivity_lowest: Estimate
    sensitivity_highest: Estimate
    specificity_lowest: Estimate
    specificity_highest: Estimate
    cautions: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each rate: as it appears, corrected, and between which bounds it lies in any case."""
        return PlainTable(
            [
                {
                    "rate": name,
                    "against the reference": str(getattr(self, f"apparent_{name}")),
                    "against the truth": str(getattr(self, name)),
                    "at least": str(getattr(self, f"{name}_lowest")),
                    "at most": str(getattr(self, f"{name}_highest")),
                }
                for name in ("sensitivity", "specificity")
            ]
        )


@checked
def correct_reference_error(
    labels: ArrayLike,
    called: ArrayLike,
    *,
    reference_sensitivity: float | Estimate,
    reference_specificity: float | Estimate,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> ReferenceCorrected:
    """Returns a device's sensitivity and specificity against the truth, from labels that err with known rates.

    If device and reference err independently given the truth, the apparent rates are mixtures that can be taken apart.
    The limits invert a score test, in which the images of a patient may agree and the reference's own rates may be
    uncertain; with a perfect reference they are Wilson's. Without independence only bounds remain: from the most to the
    least that the device's calls can go with the truth, given how both go with the reference.

    Args:
        labels: Shape (n,), the imperfect reference: 1, 0 or NaN (left out).
        called: Shape (n,), whether the device called each image positive.
        reference_sensitivity: Of the reference against the truth: a number taken as known, or an estimate from other
            images.
        reference_specificity: Of the reference against the truth: a number taken as known, or an estimate from other
            images.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).
        replicates: Bootstrap replicates, for the limits of the bounds.
        seed: One seed, one result, whatever the order of rows.

    Returns:
        The corrected rates, drawn in to 0 or 1 where chance took them beyond. Not estimable where the share of positive
        labels lies outside what the reference's rates allow (from 1 - specificity to sensitivity), where the reference
        is no better than chance, or where independence contradicts the counts beyond chance.

    Raises:
        ValueError: If shapes differ, a label is not 1/0/NaN, a call is neither true nor false, a rate is not in [0, 1],
            or a patient is missing.

    Source:
        Gart & Buck, American Journal of Epidemiology 83, 1966; Staquet et al., Journal of Chronic Diseases 34, 1981
        (correction); Emerson et al., Statistical Methods in Medical Research 27, 2018 (bounds without independence).

    Example:
        >>> labels = [1] * 100 + [0] * 300
        >>> called = [1] * 80 + [0] * 20 + [1] * 30 + [0] * 270
        >>> found = correct_reference_error(labels, called, reference_sensitivity=0.9, reference_specificity=0.95)
        >>> print(found.sensitivity)
        0.931 (95 % CI 0.821-1.000)
        >>> print(found.apparent_sensitivity)
        0.800 (95 % CI 0.708-0.873)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    checks.positive_int(replicates, "replicates")
    sensitivity = KnownRate.of(reference_sensitivity, "reference_sensitivity")
    rates = sensitivity, KnownRate.of(reference_specificity, "reference_specificity")
    calls = clean_calls(labels, called, clusters)
    n, owner = len(calls.positive), calls.owner
    if not n:
        nothing = Estimate.not_estimable("no image has a known label", confidence=confidence)
        return _gathered(0, [nothing] * 9, ())
    positive, call = calls.positive, calls.called
    apparent = [
        clustered_proportion_interval(right[rows], owner[rows], confidence=confidence, empty=empty)
        for right, rows, empty in ((call, positive, "no positives"), (~call, ~positive, "no negatives"))
    ]
    cells = np.bincount(calls.kind, minlength=4)
    reason = why_not(float(positive.mean()), *rates)
    if reason:
        none = Estimate.not_estimable(reason, n=n, confidence=confidence)
        corrected, bounds = [none, none], [none] * 4
    else:
        image = _CalledImages(positive, call, owner, "images" if calls.patients is None else "patients")
        flipped = _CalledImages(~positive, ~call, owner, image.unit)
        values = _corrected(cells / n, rates[0].value, rates[1].value)
        corrected = [
            _score_interval(image, rates[1], values, confidence),
            _score_interval(flipped, rates[0], (values[1], values[0], 1 - values[2]), confidence),
        ]
        bounds = _bounds(calls.kind, owner, rates, (confidence, replicates, seed))
    prevalence = prevalence_of(positive, owner, rates, confidence)
    return _gathered(n, [*corrected, prevalence, *apparent, *bounds], _cautions(bounds))


def _gathered(n: int, found: list[Estimate], cautions: tuple[str, ...]) -> ReferenceCorrected:
    sensitivity, specificity, prevalence, apparent_sensitivity, apparent_specificity, *bounds = found
    return ReferenceCorrected(
        n_images=n,
        sensitivity=sensitivity,
        specificity=specificity,
        prevalence=prevalence,
        apparent_sensitivity=apparent_sensitivity,
        apparent_specificity=apparent_specificity,
        sensitivity_lowest=bounds[0],
        sensitivity_highest=bounds[1],
        specificity_lowest=bounds[2],
        specificity_highest=bounds[3],
        cautions=cautions,
    )


def _corrected(cells: NDArray[np.float64], sensitivity: float, specificity: float) -> tuple[float, float, float]:
    """Returns the device's sensitivity and specificity and the prevalence, from shares of images.

    Args:
        cells: Shape (4,), shares with label and call, label alone, call alone, neither.
        sensitivity: Of the reference.
        specificity: Of the reference.
    """
    both, label_only, call_only, neither = (float(cell) for cell in cells)
    labelled, called = both + label_only, both + call_only
    found = (both - (1 - specificity) * called) / (labelled - (1 - specificity))
    passed = (neither - (1 - sensitivity) * (1 - called)) / (1 - labelled - (1 - sensitivity))
    return found, passed, (labelled - (1 - specificity)) / (sensitivity + specificity - 1)


class _CalledImages(NamedTuple):
    """Clean labels and calls with patients."""

    positive: NDArray[np.bool_]
    called: NDArray[np.bool_]
    owner: NDArray[np.int64]
    unit: str


def _score_interval(
    images: _CalledImages, other: KnownRate, values: tuple[float, float, float], confidence: float
) -> Estimate:
    """Returns the sensitivity with the limits at which a score test just rejects.

    At the true sensitivity t the mean of (label - a) (call - t), a being the reference's false alarms, is 0; its
    variance there follows from t, the specificity and the prevalence.

    Args:
        images: For the specificity with labels and calls exchanged.
        other: The reference's specificity.
        values: The device's sensitivity, its specificity, and the prevalence, as estimated.
        confidence: Coverage, in (0, 1).
    """
    label, call, n = images.positive.astype(np.float64), images.called.astype(np.float64), len(images.owner)
    value, specificity, prevalence = values[0], min(1.0, max(0.0, values[1])), min(1.0, max(0.0, values[2]))
    false = 1 - other.value
    # Negatives that the reference calls: their share of the squared factor, and the rest, which positives have.
    of_negatives = (1 - prevalence) * false * (1 - false)
    of_positives = max(0.0, float(((label - false) ** 2).mean()) - of_negatives)
    counted = np.ones(n, dtype=bool) if false > 0 else images.positive
    agreement = Agreement.of(((label - false) * (call - value))[counted], images.owner[counted])
    worth = kish(images.owner[images.positive])
    clustered = images.unit == "patients"
    quantile = student_quantile(confidence, max(worth - 1, 1.0) if clustered else math.inf)
    inflation = float(agreement.design_effect()) / n

    def excess(t: float) -> float:
        mean = float(((label - false) * (call - t)).mean())
        spread = of_positives * t * (1 - t) + of_negatives * ((1 - specificity) * (1 - t) ** 2 + specificity * t * t)
        return mean**2 - quantile**2 * (inflation * spread + other.variance * (float(call.mean()) - t) ** 2)

    # A quadratic in t: three of its values say what it is.
    at = [excess(t) for t in (0.0, 0.5, 1.0)]
    a, b, c = 2 * (at[0] - 2 * at[1] + at[2]), 4 * at[1] - 3 * at[0] - at[2], at[0]
    low, high = 0.0, 1.0
    if a > 0:
        root = math.sqrt(max(0.0, b * b - 4 * a * c))
        low, high = (-b - root) / (2 * a), (-b + root) / (2 * a)
    if low > 1 or high < 0:
        reason = (
            f"the counts ask for a value of {value:.3f}, and none from 0 to 1 fits them: the reference's rates are not "
            "what they are said to be, or device and reference do not err independently"
        )
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    drawn = min(1.0, max(0.0, value))
    method = "corrected for the reference's errors, independent of the device's given the truth; score interval"
    if drawn != value:
        method += f", drawn in from {value:.3f}"
    method += f"; {n} images" + (f" of {len(np.unique(images.owner))} patients" if clustered else "")
    method += approximate(worth, images.unit)
    return Estimate(drawn, min(drawn, max(0.0, low)), max(drawn, min(1.0, high)), confidence, n, method)


def _bounds(
    kind: NDArray[np.int64],
    owner: NDArray[np.int64],
    rates: tuple[KnownRate, KnownRate],
    settings: tuple[float, int, int],
) -> list[Estimate]:
    """Returns least and greatest sensitivity, least and greatest specificity, with bootstrap limits."""
    confidence, replicates, seed = settings
    n = len(kind)
    # Independent images are told apart by their kind alone, so a draw does not depend on the position of a row.
    order = np.argsort(kind, kind="stable") if int(owner.max()) + 1 == n else np.arange(n)
    group = np.arange(n) if int(owner.max()) + 1 == n else owner
    n_patients = int(group.max()) + 1
    of_patients = np.bincount(4 * group + kind[order], minlength=4 * n_patients).reshape(n_patients, 4)
    strata = np.zeros(n_patients, dtype=bool)
    counts = patient_counts(strata, replicates=replicates, seed=seed, width=n_patients)
    cells = np.concatenate([batch @ of_patients for batch in counts]).astype(np.float64)
    cells /= cells.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[2])
    drawn = [
        np.full(replicates, rate.value)
        if math.isinf(rate.size)
        else rng.beta(rate.size * rate.value + 0.5, rate.size * (1 - rate.value) + 0.5, replicates)
        for rate in rates
    ]
    # The labels have the order (label and call, label alone, call alone, neither), see PatientCounts.
    value = frechet_bounds(np.bincount(kind, minlength=4)[np.newaxis] / n, *(np.array([r.value]) for r in rates))[:, 0]
    redrawn = frechet_bounds(cells, *drawn)
    unit = "images" if n_patients == n else "patients"
    method = f"Fréchet bounds, percentile bootstrap of {n_patients} {unit}, {replicates} replicates, seed {seed}"
    tails = (1 - confidence) / 2, (1 + confidence) / 2
    made = []
    for estimate, values in zip(value, redrawn, strict=True):
        low, high = (float(limit) for limit in np.quantile(values, tails))
        middle = float(estimate)
        made.append(Estimate(middle, min(low, middle), max(high, middle), confidence, n, method))
    return made


def frechet_bounds(
    cells: NDArray[np.float64], sensitivity: NDArray[np.float64], specificity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns between which values a device's rates lie, however its errors go with those of the reference.

    Among images of one label, the share that is called and positive is at most the smaller of both shares, and at least
    what they overlap.

    Args:
        cells: Shape (k, 4), shares of images with label and call, label alone, call alone, neither.
        sensitivity: Shape (k,), of the reference.
        specificity: Shape (k,), of the reference.

    Returns:
        Shape (4, k): least and greatest sensitivity, least and greatest specificity; 0 and 1 where the share of labels
        lies outside what the reference's rates allow.
    """
    labelled = cells[:, 0] + cells[:, 1]
    better = sensitivity + specificity - 1
    prevalence = np.divide(labelled + specificity - 1, better, out=np.full(len(cells), np.nan), where=better > 0)
    usable = (prevalence > 0) & (prevalence < 1)
    prevalence = np.where(usable, prevalence, 0.5)
    found = np.zeros((4, len(cells)))
    for called, size, share in (
        (cells[:, 0], labelled, prevalence * sensitivity),
        (cells[:, 2], 1 - labelled, prevalence * (1 - sensitivity)),
    ):
        # Both shares are of all images; rounding must not take a part beyond its whole.
        real = np.minimum(share, size)
        found[0] += np.maximum(0.0, called + real - size)
        found[1] += np.minimum(called, real)
        found[2] += np.maximum(0.0, (size - called) + (size - real) - size)
        found[3] += np.minimum(size - called, size - real)
    found[:2] /= prevalence
    found[2:] /= 1 - prevalence
    found = np.clip(found, 0.0, 1.0)
    found[0::2, ~usable], found[1::2, ~usable] = 0.0, 1.0
    return found


def _cautions(bounds: list[Estimate]) -> tuple[str, ...]:
    text = "Corrected as if device and reference erred independently given the truth, which these images cannot show."
    if all(bound.estimable for bound in bounds):
        text += (
            f" However they go together, sensitivity lies from {bounds[0].value:.3f} to {bounds[1].value:.3f} and "
            f"specificity from {bounds[2].value:.3f} to {bounds[3].value:.3f}."
        )
    return (text,)
