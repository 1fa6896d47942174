"""What patients are worth: how many independent patients tell as much, and the degrees of freedom that follow.

Where one patient has 100 images and fifty have one, a share over images rests on about two patients, however many there
are. A variance that is estimated from so few is itself uncertain: Student's t at one degree of freedom less than the
patients are worth makes up for it. All intervals and tests that rest on patients take their degrees from here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


def kish(owner: NDArray[np.int64]) -> float:
    """Returns how many patients with equally many images would tell as much as these if the images of each agreed.

    Args:
        owner: Shape (n,), the patient number of each image, 0 or above; not all numbers need occur.

    Returns:
        (sum m)^2 / sum m^2 over the patients' numbers of images m: at most the number of patients, at least 1; 0 for
        no image.

    Source:
        Kish, Survey Sampling, 1965.

    Example:
        >>> kish(np.array([0, 1, 2, 3])), round(kish(np.array([0] * 9 + [1, 2, 3])), 2)
        (4.0, 1.71)
    """
    if not len(owner):
        return 0.0
    images = np.bincount(owner).astype(np.float64)
    return float(images.sum() ** 2 / (images**2).sum())


@dataclass(frozen=True)
class Agreement:
    """Values of images about their mean, added up: what says how far the images of one patient agree.

    Every field may be an array, so that many sets of values on the same images are judged at once.

    Attributes:
        n: Images.
        n_patients: Patients.
        squares: Sum over patients of the squared number of images.
        scatter: Sum over images of the squared deviations from the mean.
        together: Sum over patients of the square of their added deviations.
        between: The same, each square divided by the patient's number of images.
    """

    n: int
    n_patients: int
    squares: float
    scatter: float | NDArray[np.float64]
    together: float | NDArray[np.float64]
    between: float | NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64], owner: NDArray[np.int64]) -> "Agreement":
        """Adds up values that lie about 0.

        Args:
            values: Shape (n,), deviations from their mean.
            owner: Shape (n,), the patient number of each image, 0 or above; not all numbers need occur.
        """
        images = np.bincount(owner).astype(np.float64)
        squared = np.bincount(owner, values, len(images)) ** 2
        between = float((squared / np.maximum(images, 1)).sum())
        n_patients, squares = int(np.count_nonzero(images)), float((images**2).sum())
        return cls(len(values), n_patients, squares, float((values**2).sum()), float(squared.sum()), between)

    @property
    def worth(self) -> float:
        """What the patients are worth, see `kish`."""
        return self.n**2 / self.squares

    def design_effect(self) -> NDArray[np.float64]:
        """Returns by how much the variance of the sum of the values exceeds that of independent images.

        The largest of three: 1, since a few patients may disagree by chance; the ratio of squared sums of patients to
        squared values, which also sees that patients with many images may be harder; and 1 + (b - 1) ICC, b being the
        images over the worth of their patients and ICC the correlation within patients by analysis of variance, which
        is steadier, since no single patient decides it. The second alone, the usual one, falls short where few
        patients carry many images: intervals of 95 % cover 80-90 %, see benchmarks/README.md.

        Returns:
            1 or above; where the values do not vary, as if all images of a patient agreed.

        Source:
            Rao & Scott, Biometrics 48, 1992 (ratio of squares); Kish, Survey Sampling, 1965 (correlation); Searle,
            Casella & McCulloch, Variance Components, 1992, section 3.6 (analysis of variance, unequal sizes).
        """
        scatter, together = (np.asarray(x, dtype=np.float64) for x in (self.scatter, self.together))
        if self.n == self.n_patients:
            return np.ones_like(scatter)
        by_correlation = 1 + (self.crowding - 1) * self.correlation()
        by_squares = np.divide(together, scatter, out=np.ones_like(scatter), where=scatter > 0)
        return np.maximum(np.maximum(by_squares, by_correlation), 1.0)

    @property
    def crowding(self) -> float:
        """Images over the worth of their patients: the design effect if all images of a patient agreed."""
        return self.squares / self.n

    def correlation(self) -> NDArray[np.float64]:
        """Returns the correlation within patients by analysis of variance, in [0, 1].

        Returns:
            1 where the values do not vary, or come from one patient.
        """
        scatter, between = (np.asarray(x, dtype=np.float64) for x in (self.scatter, self.between))
        if self.n == self.n_patients or self.n_patients == 1:
            return np.ones_like(scatter)
        between_mean = between / (self.n_patients - 1)
        within_mean = np.maximum(scatter - between, 0.0) / (self.n - self.n_patients)
        whole = between_mean + ((self.n - self.crowding) / (self.n_patients - 1) - 1) * within_mean
        ratio = np.divide(between_mean - within_mean, whole, out=np.ones_like(whole), where=whole > 0)
        return np.clip(ratio, 0.0, 1.0)

    def design_effect_elsewhere(self, other: "Agreement") -> float:
        """Returns the design effect of other images whose patients agree as these do.

        Args:
            other: Images of the same kind, such as one group of these.

        Returns:
            1 or above.
        """
        own = float(self.design_effect())
        # What exceeds 1 grows with the images that share a patient.
        shared = (own - 1) / (self.crowding - 1) if self.crowding > 1 else 0.0
        return max(1.0, 1 + (other.crowding - 1) * shared)


def satterthwaite(variances: Sequence[float], worths: Sequence[float]) -> float:
    """Returns the degrees of freedom of a sum of variances that were each estimated from few patients.

    Args:
        variances: The parts of a variance, at least 0.
        worths: What the patients behind each part are worth, see `kish`; each is counted as at least 2.

    Returns:
        At least 1; infinite where all variances are 0.

    Source:
        Satterthwaite, Biometrics Bulletin 2, 1946.

    Example:
        >>> round(satterthwaite([1.0, 1.0], [11, 11]), 1), round(satterthwaite([1.0, 0.0], [11, 400]), 1)
        (20.0, 10.0)
    """
    parts = np.asarray(variances, dtype=np.float64)
    degrees = np.maximum(np.asarray(worths, dtype=np.float64) - 1, 1.0)
    below = float((parts**2 / degrees).sum())
    return float(parts.sum() ** 2 / below) if below > 0 else math.inf


def student_quantile(confidence: float, degrees: float) -> float:
    """Returns the quantile of a two-sided interval by Student's t.

    Args:
        confidence: Coverage, in (0, 1).
        degrees: Of freedom, above 0; infinite for the normal distribution.

    Example:
        >>> round(student_quantile(0.95, 10), 3), round(student_quantile(0.95, math.inf), 3)
        (2.228, 1.96)
    """
    from scipy import special

    upper = 0.5 + confidence / 2
    return float(special.ndtri(upper) if math.isinf(degrees) else special.stdtrit(degrees, upper))


def student_p_value(ratio: float, degrees: float) -> float:
    """Returns the two-sided p-value of a difference over its standard error.

    Args:
        ratio: The difference over its standard error.
        degrees: Of freedom, above 0; infinite for the normal distribution.

    Example:
        >>> round(student_p_value(-1.96, math.inf), 3), round(student_p_value(2.228, 10), 3)
        (0.05, 0.05)
    """
    from scipy import special

    return (
        math.erfc(abs(ratio) / math.sqrt(2)) if math.isinf(degrees) else float(2 * special.stdtr(degrees, -abs(ratio)))
    )


class Error(NamedTuple):
    """A standard error that may rest on few patients.

    Attributes:
        value: The standard error.
        degrees: Degrees of freedom; infinite for many independent images.
    """

    value: float
    degrees: float = math.inf

    @property
    def words(self) -> str:
        """The quantile that limits are made with, for the method of an estimate; empty for the normal distribution."""
        return "" if math.isinf(self.degrees) else f", Student's t with {self.degrees:.0f} degrees of freedom"

    def half_width(self, confidence: float) -> float:
        """Returns half the width of a two-sided interval: by the normal distribution, or by Student's t."""
        return student_quantile(confidence, self.degrees) * self.value


def effective_size(agreement: Agreement, confidence: float) -> NDArray[np.float64]:
    """Returns how many independent images would tell as much of a proportion as these images of few patients.

    Args:
        agreement: Of the successes about their share.
        confidence: Two-sided coverage of the interval that it is for, in (0, 1).

    Returns:
        Images over design effect, less the ratio of squared quantiles of Student's t at the images and at what their
        patients are worth; at least 1, and the number of images where each patient has one.

    Source:
        Korn & Graubard, Survey Methodology 24, 1998, with what patients are worth in place of their number.
    """
    fewness = 1.0
    if agreement.n > agreement.n_patients:
        worth = max(agreement.worth - 1, 1.0)
        fewness = (student_quantile(confidence, agreement.n - 1) / student_quantile(confidence, worth)) ** 2
    return np.maximum(1.0, agreement.n / agreement.design_effect() * fewness)


NORMAL_FROM = 50
"""What patients must be worth for a variance of theirs to be taken as known: limits by the normal distribution."""

FEW = 10
"""Patients' worth below which an interval says that it is approximate."""

FEWEST = 5
"""Patients' worth below which no difference of two rates is estimated: its interval would be about as wide as 1."""


def too_few(owner: NDArray[np.int64]) -> str:
    """Returns why patients tell too little of a difference of two rates, empty where they are worth enough.

    Args:
        owner: Shape (n,), the patient number of each image, 0 or above; not all numbers need occur.

    Example:
        >>> too_few(np.arange(5)), too_few(np.array([0] * 9 + [1, 2, 3, 4]))
        ('', '5 patients, worth 2.0, are too few: a difference needs patients worth 5')
    """
    worth, patients = kish(owner), len(np.unique(owner))
    if not 0 < worth < FEWEST:
        return ""
    counted = "1 patient is" if patients == 1 else f"{patients} patients are"
    if worth < patients - 0.05:
        counted = f"{patients} patients, worth {worth:.1f}, are"
    return f"{counted} too few: a difference needs patients worth {FEWEST}"


def approximate(worth: float, unit: str = "patients") -> str:
    """Returns the caution to end the method of an interval with, empty where patients are worth enough.

    Args:
        worth: What the patients of the rarer class are worth, see `kish`.
        unit: What is counted, "patients" or "images".

    Example:
        >>> approximate(8.2), approximate(45.0)
        ('; interval approximate: worth 8 patients', '')
    """
    if worth >= FEW:
        return ""
    counted = f"{worth:.0f}"
    return f"; interval approximate: worth {counted} {unit if counted != '1' else unit[:-1]}"
