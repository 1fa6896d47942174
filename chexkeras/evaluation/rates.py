"""What a threshold achieves, as rates with their intervals: from calls on images, or from four published counts.

`rates` and `rates_from_counts` come first. Below them are the four counts of calling images positive or negative, by
patient, and the standard error of what they give: any smooth function of the four counts has a gradient, and the
images' gradients, added up within patients, are what its variance is made of. With one image for each patient this is
the textbook delta method.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.scores import known_labels, one_class, one_column, patient_numbers
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval, proportion_interval
from chexkeras.evaluation.uncertainty.limits import clopper_pearson
from chexkeras.evaluation.uncertainty.worth import NORMAL_FROM, Agreement, Error, approximate, satterthwaite
from chexkeras.results import Estimate
from chexkeras.results.record import Record

_ONE_PATIENT = "all images come from one patient"


@dataclass(frozen=True)
class Rates(Record):
    """What the four counts give, each number with its interval.

    Attributes:
        true_positives: Positive images called positive.
        false_negatives: Positive images not called.
        false_positives: Negative images called positive.
        true_negatives: Negative images not called.
        sensitivity: Share of positives called positive.
        specificity: Share of negatives not called positive.
        ppv: Positive predictive value among these images, whatever sampling made their prevalence.
        npv: Negative predictive value among these images, whatever sampling made their prevalence.
        accuracy: Share of images called rightly, whatever sampling made their prevalence.
        likelihood_ratio_positive: sensitivity / (1 - specificity).
        likelihood_ratio_negative: (1 - sensitivity) / specificity.
        f1: Harmonic mean of PPV and sensitivity; it holds at this prevalence only.
        mcc: Matthews correlation coefficient, -1 to 1, at this prevalence.
        youden: sensitivity + specificity - 1.
    """

    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    accuracy: Estimate
    likelihood_ratio_positive: Estimate
    likelihood_ratio_negative: Estimate
    f1: Estimate
    mcc: Estimate
    youden: Estimate


@checked
def rates(
    labels: ArrayLike, called: ArrayLike, *, clusters: ArrayLike | None = None, confidence: float = 0.95
) -> Rates:
    """Returns what calls on images achieve.

    Proportions get the interval of `clustered_proportion_interval` (Clopper-Pearson for independent images). The
    logarithms of the likelihood ratios are linearised and their contributions added up within patients: with one image
    of each patient that is Simel's interval, with Student's t where a class has fewer than 50 images. F1 is a function
    of the share of true positives among the images that are positive or called, so it gets the exact interval of that
    share. MCC is linearised on Fisher's z scale.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        called: Shape (n,), whether each image was called positive, for example ``scores >= threshold``.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The rates; one that the counts leave undefined is not estimable, with the reason.

    Raises:
        ValueError: If lengths differ, a label is not 1/0/NaN, a call is neither true nor false, or a patient is
            missing.

    Source:
        Simel, Samsa & Matchar, Journal of Clinical Epidemiology 44, 1991 (likelihood ratios); Newcombe, Statistics in
        Medicine 17, 1998, method 10 (Youden's index); Youden, Cancer 3, 1950; Matthews, Biochimica et Biophysica Acta
        405, 1975.

    Example:
        >>> print(rates([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0]).f1)
        0.667 (95 % CI 0.127-0.965)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    calls = clean_calls(labels, called, clusters)
    return _gather(PatientCounts.of(calls), _share_by_image(calls, confidence), confidence)


@checked
def rates_from_counts(tp: int, fn: int, fp: int, tn: int, *, confidence: float = 0.95) -> Rates:
    """Returns what four counts of independent images give, for example those of a published table.

    Args:
        tp: True positives.
        fn: False negatives.
        fp: False positives.
        tn: True negatives.
        confidence: Coverage, in (0, 1).

    Returns:
        The rates, as `rates` gives them for one image of each patient.

    Raises:
        ValueError: If a count is not a whole number of at least 0.

    Example:
        >>> found = rates_from_counts(670, 74, 202, 640)
        >>> print(found.likelihood_ratio_positive)
        3.754 (95 % CI 3.321-4.243)
        >>> print(found.likelihood_ratio_negative)
        0.131 (95 % CI 0.105-0.163)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    given = {"tp": tp, "fn": fn, "fp": fp, "tn": tn}
    hint = ": a count of images, not a rate"
    counts = tuple(checks.positive_int(value, name, least=0, hint=hint) for name, value in given.items())
    return _gather(PatientCounts(np.array(counts, dtype=np.float64)), _share_of_counts(counts, confidence), confidence)


class _Cells(NamedTuple):
    """Which of the four counts a share takes, of which, and why it may be undefined."""

    part: tuple[int, ...]
    whole: tuple[int, ...]
    empty: str


_Share = Callable[[_Cells], Estimate]

_SENSITIVITY = _Cells((0,), (0, 1), "no positives")
_SPECIFICITY = _Cells((3,), (2, 3), "no negatives")


def _share_by_image(calls: "LabelledCalls", confidence: float) -> _Share:
    def share(cells: _Cells) -> Estimate:
        rows = np.isin(calls.kind, cells.whole)
        hits = np.isin(calls.kind[rows], cells.part)
        found = clustered_proportion_interval(hits, calls.owner[rows], confidence=confidence, empty=cells.empty)
        return found.unless_it_spans(0, 1)

    return share


def _share_of_counts(counts: tuple[int, ...], confidence: float) -> _Share:
    def share(cells: _Cells) -> Estimate:
        whole = sum(counts[cell] for cell in cells.whole)
        if not whole:
            return Estimate.not_estimable(cells.empty, confidence=confidence)
        return proportion_interval(sum(counts[cell] for cell in cells.part), whole, confidence=confidence)

    return share


def _gather(tally: "PatientCounts", share: _Share, confidence: float) -> Rates:
    tp, fn, fp, tn = (int(count) for count in tally.totals)
    sensitivity, specificity = share(_SENSITIVITY), share(_SPECIFICITY)
    return Rates(
        true_positives=tp,
        false_negatives=fn,
        false_positives=fp,
        true_negatives=tn,
        sensitivity=sensitivity,
        specificity=specificity,
        ppv=share(_Cells((0,), (0, 2), "no image is called positive")),
        npv=share(_Cells((3,), (1, 3), "every image is called positive")),
        accuracy=share(_Cells((0, 3), (0, 1, 2, 3), "no image has a known label")),
        likelihood_ratio_positive=_likelihood_ratio(tally, True, confidence),
        likelihood_ratio_negative=_likelihood_ratio(tally, False, confidence),
        f1=_f1(tally, share, confidence),
        mcc=_mcc(tally, sensitivity, specificity, confidence),
        youden=_youden(sensitivity, specificity, confidence),
    )


def _likelihood_ratio(tally: "PatientCounts", of_positive_call: bool, confidence: float) -> Estimate:
    n = tally.n
    tp, fn, fp, tn = tally.totals
    above, below, *others = (tp, fp, fn, tn) if of_positive_call else (fn, tn, tp, fp)
    if not (tp + fn and fp + tn):
        reason = one_class(int(tp + fn), int(fp + tn))
    elif not above and not below:
        reason = "no image is called positive" if of_positive_call else "every image is called positive"
    else:
        reason = _ONE_PATIENT if tally.one_patient else ""
    if reason:
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    # Where every image is called, the ratio is 1 and would seem to be known exactly.
    added = 0.0 if above and below and any(others) else 0.5
    logarithm, error = log_likelihood_ratio(tally, of_positive_call=of_positive_call, added=added)
    half = error.half_width(confidence)
    method = "Simel 1991, log interval" + error.words + tally.basis
    if added:
        method += "; a count is zero, so 0.5 was added to all four"
        method += "" if tally.of_patients is None else ", counted in patients"
    value, low, high = (math.exp(logarithm + step) for step in (0.0, -half, half))
    return Estimate(value, low, high, confidence, n, method)


def _f1(tally: "PatientCounts", share: _Share, confidence: float) -> Estimate:
    tp, fn, _, _ = tally.totals
    if not tp + fn:
        return Estimate.not_estimable("no positives", n=tally.n, confidence=confidence)
    # F1 = 2 J / (1 + J) for the share J of true positives among the images that are positive or called.
    overlap = share(_Cells((0,), (0, 1, 2), "no positives"))
    if not overlap.estimable:
        return Estimate.not_estimable(overlap.reason, n=tally.n, confidence=confidence)
    value, low, high = (2 * number / (1 + number) for number in (overlap.value, overlap.low, overlap.high))
    method = f"from the share of true positives among {overlap.n} images positive or called: {overlap.method}"
    return Estimate(value, low, high, confidence, tally.n, method)


def _mcc(tally: "PatientCounts", sensitivity: Estimate, specificity: Estimate, confidence: float) -> Estimate:
    n, (tp, fn, fp, tn) = tally.n, tally.totals
    if not (tp + fn and fp + tn):
        reason = one_class(int(tp + fn), int(fp + tn))
    elif not tp + fp:
        reason = "no image is called positive"
    elif not fn + tn:
        reason = "every image is called positive"
    else:
        reason = _ONE_PATIENT if tally.one_patient else ""
    if reason:
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    value, gradient = _matthews(tally.totals)
    if abs(value) < 1:
        error = tally.error(gradient)
        half = error.half_width(confidence) / (1 - value**2)
        centre = math.atanh(value)
        method = "delta method on Fisher's z" + error.words + tally.basis
        limits = math.tanh(centre - half), math.tanh(centre + half)
        return Estimate(value, *limits, confidence, n, method).unless_it_spans(-1, 1)
    # Without an error there is no variance: the other end is where both rates are at their joint worst.
    worst = [
        clopper_pearson(rate.value * size, size, 1 - (1 - confidence) / 2)
        for rate, size in zip((sensitivity, specificity), tally.with_class, strict=True)
    ]
    side = 0 if value > 0 else 1
    rate_positive, rate_negative = worst[0][side], worst[1][side]
    counts = np.array([rate_positive, 1 - rate_positive, 1 - rate_negative, rate_negative])
    limit, _ = _matthews(counts * np.repeat([tp + fn, fp + tn], 2))
    method = "from Clopper-Pearson limits of sensitivity and specificity, because no call differs" + tally.basis
    return Estimate(value, min(value, limit), max(value, limit), confidence, n, method)


def _matthews(counts: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Returns the Matthews correlation of four counts without an empty margin, and its gradient."""
    tp, fn, fp, tn = counts
    margins = np.array([tp + fn, fp + tn, tp + fp, fn + tn])
    scale = math.sqrt(float(np.prod(margins)))
    value = float((tp * tn - fp * fn) / scale)
    inverse = 1 / margins
    of_scale = np.array(
        [inverse[0] + inverse[2], inverse[0] + inverse[3], inverse[1] + inverse[2], inverse[1] + inverse[3]]
    )
    return max(-1.0, min(1.0, value)), np.array([tn, -fp, -fn, tp]) / scale - value / 2 * of_scale


def _youden(sensitivity: Estimate, specificity: Estimate, confidence: float) -> Estimate:
    n = sensitivity.n + specificity.n
    for rate in (sensitivity, specificity):
        if not rate.estimable:
            return Estimate.not_estimable(rate.reason, n=n, confidence=confidence)
    value = sensitivity.value + specificity.value - 1
    below = math.hypot(sensitivity.value - sensitivity.low, specificity.value - specificity.low)
    above = math.hypot(sensitivity.high - sensitivity.value, specificity.high - specificity.value)
    method = "Newcombe 1998 method 10 on the intervals of sensitivity and specificity"
    limits = max(-1.0, value - below), min(1.0, value + above)
    return Estimate(value, *limits, confidence, n, method).unless_it_spans(-1, 1)


class LabelledCalls(NamedTuple):
    """Clean labels and calls.

    Attributes:
        positive: Shape (n,), labels.
        called: Shape (n,), whether an image was called positive.
        patients: Shape (n,), patient numbers 0, 1, ...; None when no patient has several images.
    """

    positive: NDArray[np.bool_]
    called: NDArray[np.bool_]
    patients: NDArray[np.int64] | None

    @property
    def kind(self) -> NDArray[np.int64]:
        """Which of the four counts each image is, in the order of `PatientCounts`, shape (n,)."""
        return np.where(self.positive, np.where(self.called, 0, 1), np.where(self.called, 2, 3))

    @property
    def owner(self) -> NDArray[np.int64]:
        """The patient number of each image, a number of its own where images are independent, shape (n,)."""
        return np.arange(len(self.positive)) if self.patients is None else self.patients


def clean_calls(labels: ArrayLike, called: ArrayLike, clusters: ArrayLike | None = None) -> LabelledCalls:
    """Validates labels and calls and takes out the rows whose label is unknown.

    Args:
        labels: Shape (n,), 1, 0 or NaN (unknown).
        called: Shape (n,), True or 1 where an image was called positive, False or 0 where not.
        clusters: Shape (n,), the patient of each image; None when images are independent.

    Returns:
        Labels, calls and patients of the kept rows.

    Raises:
        ValueError: If shapes differ, nothing is given, a label is not 1/0/NaN, a call is neither true nor false, or a
            patient is missing.
    """
    label, call = one_column(labels, called, "called")
    kept = known_labels(label)
    strange = kept & (call != 0) & (call != 1)
    if strange.any():
        raise ValueError(
            f"called must be True or False; found {call[strange][0]:g} in {int(strange.sum())} row(s). Give decisions, "
            "such as scores >= threshold, not scores."
        )
    return LabelledCalls(label[kept] == 1, call[kept] == 1, patient_numbers(clusters, kept))


@dataclass(frozen=True)
class PatientCounts:
    """The four counts, in the order true positives, false negatives, false positives, true negatives.

    Attributes:
        totals: Shape (4,); fractions are allowed, for effective sample sizes.
        of_patients: Shape (patients, 4), the counts of each patient; None when every image is its own patient.
    """

    totals: NDArray[np.float64]
    of_patients: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, calls: LabelledCalls) -> "PatientCounts":
        """Counts clean calls."""
        totals = np.bincount(calls.kind, minlength=4).astype(np.float64)
        if calls.patients is None:
            return cls(totals)
        n_patients = int(calls.patients.max()) + 1
        cells = np.bincount(4 * calls.patients + calls.kind, minlength=4 * n_patients)
        return cls(totals, cells.reshape(n_patients, 4).astype(np.float64))

    @property
    def n(self) -> int:
        """Images."""
        return round(float(self.totals.sum()))

    @property
    def one_patient(self) -> bool:
        """Whether all images come from one patient, so that nothing says how patients differ."""
        return self.of_patients is not None and len(self.of_patients) == 1

    @property
    def basis(self) -> str:
        """What the variance rests on, to end the `method` of an estimate; empty for enough independent images."""
        text, unit = "", "images"
        if self.of_patients is not None:
            unit = "patients"
            text = f", variance by patient ({self.n} images of {len(self.of_patients)} patients)"
        return text + approximate(min(self.worths), unit)

    @property
    def worths(self) -> tuple[float, float]:
        """What the patients with positive and with negative images are worth; images where these are independent."""
        if self.of_patients is None:
            return float(self.totals[:2].sum()), float(self.totals[2:].sum())
        positives, negatives = self.of_patients[:, :2].sum(axis=1), self.of_patients[:, 2:].sum(axis=1)
        worths = [float(n.sum() ** 2 / (n @ n)) if n.any() else 0.0 for n in (positives, negatives)]
        return worths[0], worths[1]

    @property
    def per_patient(self) -> NDArray[np.float64]:
        """Images for each patient that those of their class are worth, shape (4,); 1 where images are independent."""
        sizes = np.array([self.totals[:2].sum(), self.totals[2:].sum()])
        worths = np.array(self.worths)
        return np.repeat(np.divide(sizes, worths, out=np.ones(2), where=worths > 0), 2)

    @property
    def with_class(self) -> tuple[float, float]:
        """Patients with a positive and with a negative image; images where these are independent."""
        if self.of_patients is None:
            return float(self.totals[:2].sum()), float(self.totals[2:].sum())
        found = self.of_patients.reshape(-1, 2, 2).any(axis=2).sum(axis=0)
        return float(found[0]), float(found[1])

    def error(self, gradient: NDArray[np.float64], added: ArrayLike = 0.0) -> Error:
        """Returns the standard error of a function of the four counts that only depends on their ratios.

        Student's t makes up for few images of a class. With several images of a patient, the variance is added up from
        what positive images contribute, what negative ones do, and how many there are of either; no part is smaller
        than its design effect says (`worth.Agreement`).

        Args:
            gradient: Shape (4,), its derivatives by the counts, at the counts plus `added`.
            added: Images added to the four counts to keep the function finite; they count as images of patients with
                as many images as these patients have.

        Returns:
            The standard error with its degrees of freedom.

        Source:
            Obuchowski, Statistics in Medicine 17, 1998, for proportions; linearisation as in Binder, International
            Statistical Review 51, 1983.
        """
        extra = np.broadcast_to(np.asarray(added, dtype=np.float64), 4)
        squares = (self.totals + extra) * gradient**2
        independent = float(squares.sum())
        if self.of_patients is None:
            of_classes = [float(squares[:2].sum()), float(squares[2:].sum())]
            few = min(self.worths) < NORMAL_FROM
            return Error(math.sqrt(independent), satterthwaite(of_classes, self.worths) if few else math.inf)
        parts = [part for part in _parts(self.of_patients, gradient) if part.scatter > 1e-15 * independent]
        variances = [_factor(part.n_patients) * float(part.scatter * part.design_effect()) for part in parts]
        sums = self.of_patients @ gradient
        between = _factor(len(self.of_patients)) * float(sums @ sums)
        raised = sum(
            max(0.0, variance - _factor(part.n_patients) * float(part.together))
            for variance, part in zip(variances, parts, strict=True)
        )
        variance = max(independent, between + raised + float((extra * self.per_patient) @ gradient**2))
        return Error(math.sqrt(variance), satterthwaite(variances, [part.worth for part in parts]))


def _parts(of_patients: NDArray[np.float64], gradient: NDArray[np.float64]) -> list[Agreement]:
    """Takes the contributions of images apart: those within each class, and to which class they belong."""
    parts, means = [], np.zeros(4)
    for cells in (slice(0, 2), slice(2, 4)):
        counts = of_patients[:, cells]
        if counts.any():
            means[cells] = (counts.sum(axis=0) @ gradient[cells]) / counts.sum()
            parts.append(_agreement(counts, gradient[cells] - means[cells]))
    return [*parts, _agreement(of_patients, means)]


def _agreement(counts: NDArray[np.float64], values: NDArray[np.float64]) -> Agreement:
    """Adds up values that each count of images has, by patient."""
    images = counts.sum(axis=1)
    sums, images = (counts @ values)[images > 0], images[images > 0]
    return Agreement(
        n=round(float(images.sum())),
        n_patients=len(images),
        squares=float(images @ images),
        scatter=float(counts.sum(axis=0) @ values**2),
        together=float(sums @ sums),
        between=float((sums**2 / images).sum()),
    )


def _factor(n_patients: int) -> float:
    return n_patients / max(n_patients - 1, 1)


def log_likelihood_ratio(tally: "PatientCounts", *, of_positive_call: bool, added: float = 0.0) -> tuple[float, Error]:
    """Returns the logarithm of a likelihood ratio with its standard error.

    Args:
        tally: The four counts; after `added`, none of the two that the ratio divides is 0.
        of_positive_call: sensitivity / (1 - specificity) if True, (1 - sensitivity) / specificity if False.
        added: Patients added to each count, with as many images as these patients have: images that say the same once
            more must not make a count that is zero look any more certain.

    Returns:
        Logarithm and standard error; for independent images the variance is Simel's, which is also Mercaldo's for the
        logit of a predictive value, because the odds after the call are the odds before it times the ratio.

    Source:
        Simel, Samsa & Matchar, Journal of Clinical Epidemiology 44, 1991.
    """
    extra = added * tally.per_patient
    counts = tally.totals + extra
    n_positive, n_negative = counts[0] + counts[1], counts[2] + counts[3]
    above, below = (0, 2) if of_positive_call else (1, 3)
    ratio = (counts[above] / n_positive) / (counts[below] / n_negative)
    gradient = np.array([-1 / n_positive, -1 / n_positive, 1 / n_negative, 1 / n_negative])
    gradient[above] += 1 / counts[above]
    gradient[below] -= 1 / counts[below]
    return math.log(ratio), tally.error(gradient, extra)
