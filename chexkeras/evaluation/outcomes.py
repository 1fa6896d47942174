"""The four outcomes of calling images positive or negative, by patient, and the standard error of what they give.

Any smooth function of the four counts has a gradient; the images' gradients, added up within patients, are what its
variance is made of. With one image for each patient this is the textbook delta method.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras.evaluation.inputs import known_labels, patient_numbers
from chexkeras.evaluation.uncertainty.limits import normal_quantile

_FEW = 10


class Called(NamedTuple):
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
        """Which of the four outcomes each image is, in the order of `Outcomes`, shape (n,)."""
        return np.where(self.positive, np.where(self.called, 0, 1), np.where(self.called, 2, 3))

    @property
    def owner(self) -> NDArray[np.int64]:
        """The patient number of each image, a number of its own where images are independent, shape (n,)."""
        return np.arange(len(self.positive)) if self.patients is None else self.patients


def clean_calls(labels: ArrayLike, called: ArrayLike, clusters: ArrayLike | None = None) -> Called:
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
    label, call = np.asarray(labels, dtype=np.float64), np.asarray(called, dtype=np.float64)
    if label.ndim != 1 or label.shape != call.shape:
        raise ValueError(
            f"labels have shape {label.shape} and called {call.shape}; both must be one column of equal length, "
            "one finding at a time."
        )
    if not len(label):
        raise ValueError("labels and called are empty; at least one row is needed.")
    kept = known_labels(label)
    strange = kept & (call != 0) & (call != 1)
    if strange.any():
        raise ValueError(
            f"called must be True or False; found {call[strange][0]:g} in {int(strange.sum())} row(s). Give decisions, "
            "such as scores >= threshold, not scores."
        )
    return Called(label[kept] == 1, call[kept] == 1, patient_numbers(clusters, kept))


@dataclass(frozen=True)
class Outcomes:
    """The four counts, in the order true positives, false negatives, false positives, true negatives.

    Attributes:
        totals: Shape (4,); fractions are allowed, for effective sample sizes.
        of_patients: Shape (patients, 4), the counts of each patient; None when every image is its own patient.
    """

    totals: NDArray[np.float64]
    of_patients: NDArray[np.float64] | None = None

    @classmethod
    def count(cls, calls: Called) -> "Outcomes":
        """Returns the outcomes of clean calls."""
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
    def counted(self) -> str:
        """What the variance rests on, to end the `method` of an estimate; empty for enough independent images."""
        positives, negatives = self.with_positive, self.with_negative
        text, unit = "", "images"
        if self.of_patients is not None:
            unit = "patients"
            text = f", variance by patient ({self.n} images of {len(self.of_patients)} patients)"
        if min(positives, negatives) < _FEW:
            few, name = min((positives, "positive"), (negatives, "negative"))
            text += f"; only {few:g} {name} {unit if few != 1 else unit[:-1]}, the interval is approximate"
        return text

    @property
    def with_positive(self) -> float:
        """Patients with a positive image; positive images where images are independent."""
        counts = self.totals[:2] if self.of_patients is None else self.of_patients[:, :2].any(axis=1)
        return float(counts.sum())

    @property
    def with_negative(self) -> float:
        """Patients with a negative image; negative images where images are independent."""
        counts = self.totals[2:] if self.of_patients is None else self.of_patients[:, 2:].any(axis=1)
        return float(counts.sum())

    def standard_error(self, gradient: NDArray[np.float64], added: float = 0.0) -> float:
        """Returns the standard error of a function of the four counts that only depends on their ratios.

        The variance by patient is never taken to be smaller than that of as many independent images, since a few
        patients may agree by chance.

        Args:
            gradient: Shape (4,), its derivatives by the counts, at the counts plus `added`.
            added: Images added to each of the four counts to keep the function finite.

        Returns:
            The standard error.

        Source:
            Obuchowski, Statistics in Medicine 17, 1998, for proportions; linearisation as in Binder, International
            Statistical Review 51, 1983.
        """
        independent = float((self.totals + added) @ gradient**2)
        if self.of_patients is None:
            return math.sqrt(independent)
        n_patients = len(self.of_patients)
        between = float(((self.of_patients @ gradient) ** 2).sum()) * n_patients / (n_patients - 1)
        return math.sqrt(max(independent, between + added * float((gradient**2).sum())))

    def quantile(self, confidence: float) -> float:
        """Returns the quantile of a two-sided interval: normal, or Student's t where patients were counted."""
        if self.of_patients is None:
            return normal_quantile(confidence)
        from scipy import special

        return float(special.stdtrit(len(self.of_patients) - 1, 0.5 + confidence / 2))


def log_likelihood_ratio(outcomes: Outcomes, *, of_positive_call: bool, added: float = 0.0) -> tuple[float, float]:
    """Returns the logarithm of a likelihood ratio with its standard error.

    Args:
        outcomes: The four counts; after `added`, none of the two that the ratio divides is 0.
        of_positive_call: sensitivity / (1 - specificity) if True, (1 - sensitivity) / specificity if False.
        added: Images added to each count.

    Returns:
        Logarithm and standard error; for independent images the variance is Simel's, which is also Mercaldo's for the
        logit of a predictive value, because the odds after the call are the odds before it times the ratio.

    Source:
        Simel, Samsa & Matchar, Journal of Clinical Epidemiology 44, 1991.
    """
    counts = outcomes.totals + added
    n_positive, n_negative = counts[0] + counts[1], counts[2] + counts[3]
    above, below = (0, 2) if of_positive_call else (1, 3)
    ratio = (counts[above] / n_positive) / (counts[below] / n_negative)
    gradient = np.array([-1 / n_positive, -1 / n_positive, 1 / n_negative, 1 / n_negative])
    gradient[above] += 1 / counts[above]
    gradient[below] -= 1 / counts[below]
    return math.log(ratio), outcomes.standard_error(gradient, added)
