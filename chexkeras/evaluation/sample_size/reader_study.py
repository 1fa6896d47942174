"""How many readers and cases a multi-reader study needs, and the power it has with those at hand.

Every reader reads every case, in every modality (for example without and with a device). Components of variance come
from a pilot study's analysis, or without one from `assumed_components`. The powers are those of Obuchowski and
Rockette's analysis with Hillis' degrees of freedom, so a study that is planned here is to be analysed in that way.

In simulated studies the powers are right to a percentage point or two from five readers on; with three they are up to
six too low, because the analysis itself then errs more often than it says (7 % for 5 %).

More cases do not make up for few readers: where readers differ in what a modality does for them, the power with
unlimited cases is still limited. The tables say so.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.results import ReaderVarianceComponents
from chexkeras.results.record import Record

RANDOM = ("readers and cases", "cases", "readers")
"""What a study may generalise to: what is not named stays as in the study."""

_LARGEST = 1_000_000


@dataclass(frozen=True)
class ReaderStudyOption(Record):
    """A number of readers, with the fewest cases that give them the power wanted.

    Attributes:
        readers: Readers, each of whom reads every case in every modality.
        cases: The fewest cases; None where no number of cases is enough.
        readings: Readings of all readers together; None where `cases` is.
        power: With these cases; where `cases` is None, the most that any number of cases has.
        note: What else there is to know, for a reader; empty where there is nothing.
    """

    readers: int
    cases: int | None
    readings: int | None
    power: float
    note: str = ""

    def __str__(self) -> str:
        """Returns, for example, ``6 readers x 251 cases (power 0.801)``."""
        if self.cases is None:
            return self.note
        return f"{self.readers} readers x {self.cases:,} cases (power {self.power:.3f})" + (
            self.note and f"; {self.note}"
        )


@dataclass(frozen=True)
class ReaderStudySize(Record):
    """Numbers of readers and cases that each give a multi-reader study the power wanted.

    Attributes:
        options: One for each number of readers, in the order asked for.
        purpose: In words, what they achieve and under which assumptions.
    """

    options: tuple[ReaderStudyOption, ...]
    purpose: str

    def to_frame(self) -> pd.DataFrame:
        """Returns a table with a row for each number of readers: readers, cases, readings, power, note."""
        frame = pd.DataFrame([option.to_dict() for option in self.options])
        return frame.astype({"cases": "Int64", "readings": "Int64"})

    def __str__(self) -> str:
        """Returns the purpose and the options, a line each."""
        return "\n".join([self.purpose, *(f"  {option}" for option in self.options)])


class _Error(NamedTuple):
    """The variance of an estimate and the degrees of freedom with which a study will know it, one for each size."""

    variance: NDArray[np.float64]
    degrees: NDArray[np.float64]


@checked
def power_reader_study(
    components: ReaderVarianceComponents,
    n_readers: int,
    n_cases: int,
    *,
    difference: float,
    margin: float | None = None,
    random: str = "readers and cases",
    confidence: float = 0.95,
) -> float:
    """Returns the power of a comparison of two modalities that every reader reads every case in.

    With ``k`` the pilot's cases over the planned ones, the mean difference of ``r`` readers has the variance
    ``2 / r x (treatment_reader + k x (error - cov1 + (r - 1) x max(cov2 - cov3, 0)))``.

    Args:
        components: Variance components of the figure of merit, of a pilot study or assumed, in the mix of normal and
            abnormal cases that is planned.
        n_readers: Readers, at least 2; 1 is enough where readers are fixed.
        n_cases: Independent cases of all kinds, at least 2, counted as in `components.n_cases`; where patients give
            several images, patients.
        difference: The true difference of the mean figures, new modality minus old, in the figure's units.
        margin: How much lower the new modality may be and still count as not inferior, at least 0, in the figure's
            units: power is then the probability that the lower limit of the difference's interval lies above
            ``-margin``; 0 asks for superiority in this direction. None for the two-sided test of no difference.
        random: What is to be concluded on: "readers and cases" like those of the study (the usual claim); "cases", for
            these very readers; "readers", for these very cases.
        confidence: Coverage of the two-sided interval, in (0, 1); one minus the size of the two-sided test.

    Returns:
        The power, in (0, 1), taking the components as known.

    Raises:
        TypeError: If the components are not `ReaderVarianceComponents`.
        ValueError: If an argument is out of range, or the components contradict each other.

    Source:
        Hillis, Obuchowski & Berbaum, Academic Radiology 18, 2011; Hillis, Statistics in Medicine 26, 2007 (degrees of
        freedom).

    Example:
        Five readers and 114 cases were Van Dyke's; what would ten readers and 165 cases see of the same difference?

        >>> pilot = ReaderVarianceComponents(0.00020040, 0.00080229, 0.00034661, 0.00034407, 0.00023903, n_cases=114)
        >>> round(power_reader_study(pilot, 10, 165, difference=0.0438), 3)
        0.805
    """
    parts, readers, power_at = _comparison(components, (n_readers,), difference, margin, random, confidence)
    cases = checks.positive_int(n_cases, "n_cases", least=2)
    return float(power_at(readers[0], np.array([parts.n_cases / cases]))[0])


@checked
def sample_size_reader_study(
    components: ReaderVarianceComponents,
    readers: Iterable[int] = tuple(range(4, 21)),
    *,
    difference: float,
    power: float = 0.8,
    margin: float | None = None,
    random: str = "readers and cases",
    confidence: float = 0.95,
) -> ReaderStudySize:
    """Returns the fewest cases for each number of readers that give a comparison of two modalities a wanted power.

    Args:
        components: Variance components of the figure of merit, of a pilot study or assumed, in the mix of normal and
            abnormal cases that is planned.
        readers: Numbers of readers to find cases for, each at least 2; 1 is enough where readers are fixed.
        difference: The true difference of the mean figures, new modality minus old, in the figure's units.
        power: The probability wanted, strictly between 0 and 1.
        margin: How much lower the new modality may be and still count as not inferior, at least 0, in the figure's
            units; 0 asks for superiority in this direction; None for the two-sided test of no difference.
        random: What is to be concluded on: "readers and cases" like those of the study (the usual claim); "cases", for
            these very readers; "readers", for these very cases.
        confidence: Coverage of the two-sided interval, in (0, 1); one minus the size of the two-sided test.

    Returns:
        An option for each number of readers; one whose power stays too low with any number of cases says so.

    Raises:
        TypeError: If the components are not `ReaderVarianceComponents`.
        ValueError: If an argument is out of range, the components contradict each other, or there is nothing to show:
            no difference, or one that lies beyond the margin.

    Source:
        Hillis, Obuchowski & Berbaum, Academic Radiology 18, 2011.

    Example:
        >>> pilot = ReaderVarianceComponents(0.00020040, 0.00080229, 0.00034661, 0.00034407, 0.00023903, n_cases=114)
        >>> print(sample_size_reader_study(pilot, (3, 6, 10), difference=0.0438))
        power 0.8 that a two-sided test at 95 % confidence sees a difference of 0.0438 between two modalities read by \
the same readers, for readers and cases like these, with the components of 114 cases
          not reachable with 3 readers: no number of cases has more power than 0.544
          6 readers x 251 cases (power 0.801)
          10 readers x 163 cases (power 0.802)
    """
    parts, numbers, power_at = _comparison(components, readers, difference, margin, random, confidence)
    wanted = checks.probability(power, "power", open_interval=True)
    if margin is None and difference == 0:
        raise ValueError("difference=0: no number of cases shows what is not there; give a difference, or a margin.")
    if margin is not None and difference + margin <= 1e-12:
        raise ValueError(
            f"difference={difference:g} must lie above -margin={-margin:g}; no number of cases shows what is not so."
        )
    if margin is None:
        aim = f"a two-sided test at {confidence * 100:g} % confidence sees a difference of {difference:g}"
    else:
        aim = (
            f"the two-sided {confidence * 100:g} % interval lies above {-margin or 0:g} when the true difference is "
            f"{difference:g}"
        )
    purpose = (
        f"power {wanted:g} that {aim} between two modalities read by the same readers, {_WHOM[random]}, with the "
        f"components of {parts.n_cases:,} cases"
    )
    return _options(parts, numbers, power_at, wanted, purpose, modalities=2)


@checked
def power_reader_lower_bound(
    components: ReaderVarianceComponents,
    n_readers: int,
    n_cases: int,
    *,
    true: float,
    goal: float,
    random: str = "readers and cases",
    confidence: float = 0.95,
) -> float:
    """Returns the probability that the lower limit of the readers' mean figure in one modality lies above a goal.

    With ``k`` the pilot's cases over the planned ones, the mean of ``r`` readers has the variance
    ``1 / r x (reader + treatment_reader + k x (error + (r - 1) x max(cov2, 0)))``.

    Args:
        components: Variance components of the figure of merit, with that of readers; `cov1` and `cov3` are not used.
        n_readers: Readers, at least 2; 1 is enough where readers are fixed.
        n_cases: Independent cases of all kinds, at least 2, counted as in `components.n_cases`.
        true: The true mean figure.
        goal: What the lower limit of the mean's interval has to lie above, in the figure's units.
        random: What is to be concluded on: "readers and cases" like those of the study; "cases", for these very
            readers; "readers", for these very cases.
        confidence: Coverage of the two-sided interval by Student's t, in (0, 1).

    Returns:
        The power, in (0, 1), taking the components as known.

    Raises:
        TypeError: If the components are not `ReaderVarianceComponents`.
        ValueError: If an argument is out of range, the components contradict each other, or the variance of readers is
            needed and not known.

    Source:
        Hillis, Statistics in Medicine 26, 2007 (interval of one modality's mean, its degrees of freedom).

    Example:
        >>> pilot = ReaderVarianceComponents(0.0002, 0.0008, 0.0003, 0.0003, 0.0002, n_cases=114, reader=0.0015)
        >>> round(power_reader_lower_bound(pilot, 8, 200, true=0.90, goal=0.85), 2)
        0.64
    """
    parts, readers, power_at = _one_modality(components, (n_readers,), true - goal, random, confidence)
    cases = checks.positive_int(n_cases, "n_cases", least=2)
    return float(power_at(readers[0], np.array([parts.n_cases / cases]))[0])


@checked
def sample_size_reader_lower_bound(
    components: ReaderVarianceComponents,
    readers: Iterable[int] = tuple(range(4, 21)),
    *,
    true: float,
    goal: float,
    power: float = 0.8,
    random: str = "readers and cases",
    confidence: float = 0.95,
) -> ReaderStudySize:
    """Returns the fewest cases for each number of readers that show their mean figure to lie above a goal.

    Args:
        components: Variance components of the figure of merit, with that of readers; `cov1` and `cov3` are not used.
        readers: Numbers of readers to find cases for, each at least 2; 1 is enough where readers are fixed.
        true: The true mean figure, above the goal.
        goal: What the lower limit of the mean's interval has to lie above, in the figure's units.
        power: The probability wanted, strictly between 0 and 1.
        random: What is to be concluded on: "readers and cases" like those of the study; "cases", for these very
            readers; "readers", for these very cases.
        confidence: Coverage of the two-sided interval by Student's t, in (0, 1).

    Returns:
        An option for each number of readers; one whose power stays too low with any number of cases says so.

    Raises:
        TypeError: If the components are not `ReaderVarianceComponents`.
        ValueError: If an argument is out of range, the components contradict each other, the variance of readers is
            needed and not known, or the true figure does not lie above the goal.

    Source:
        Hillis, Statistics in Medicine 26, 2007.
    """
    parts, numbers, power_at = _one_modality(components, readers, true - goal, random, confidence)
    wanted = checks.probability(power, "power", open_interval=True)
    if true <= goal:
        raise ValueError(f"true={true:g} must lie above goal={goal:g}; no study shows a goal that is not met.")
    purpose = (
        f"power {wanted:g} that the lower limit of the two-sided {confidence * 100:g} % interval of the readers' mean "
        f"lies above {goal:g} when it is {true:g}, {_WHOM[random]}, with the components of {parts.n_cases:,} cases"
    )
    return _options(parts, numbers, power_at, wanted, purpose, modalities=1)


_WHOM = {
    "readers and cases": "for readers and cases like these",
    "cases": "for these readers and cases like theirs",
    "readers": "for readers like these on these cases",
}

_PowerAt = Callable[[int, NDArray[np.float64]], NDArray[np.float64]]
"""Power with a number of readers, for each of several ratios of the pilot's cases to the planned ones."""


def _comparison(
    components: ReaderVarianceComponents,
    readers: Iterable[int],
    difference: float,
    margin: float | None,
    random: str,
    confidence: float,
) -> tuple[ReaderVarianceComponents, tuple[int, ...], _PowerAt]:
    parts, numbers = _checked(components, ("cov1", "cov2", "cov3"), readers, random, confidence)
    effect = _finite(difference, "difference")
    if margin is not None and _finite(margin, "margin") < 0:
        raise ValueError(f"margin={margin!r} must be at least 0: how much lower the new modality may be.")
    shift = effect if margin is None else effect + margin
    shared = max(parts.cov2 - parts.cov3, 0.0)
    own = parts.error - parts.cov1
    if own - shared < 0 or own <= 0:
        raise ValueError(
            f"error={parts.error:g} is smaller than cov1 + max(cov2 - cov3, 0) = {parts.cov1 + shared:g}: a difference "
            "would have a negative variance. Check the order of the components."
        )
    of_readers = max(parts.treatment_reader, 0.0)

    def power_at(number: int, scale: NDArray[np.float64]) -> NDArray[np.float64]:
        error = _error(number, scale, of_readers=of_readers, own=own, shared=shared, random=random)
        return _power(shift, error._replace(variance=2 * error.variance), confidence, two_sided=margin is None)

    return parts, numbers, power_at


def _one_modality(
    components: ReaderVarianceComponents, readers: Iterable[int], gain: float, random: str, confidence: float
) -> tuple[ReaderVarianceComponents, tuple[int, ...], _PowerAt]:
    parts, numbers = _checked(components, ("cov2",), readers, random, confidence)
    above = _finite(gain, "true - goal")
    if random != "cases" and (parts.reader is None or math.isnan(parts.reader)):
        raise ValueError(
            'components.reader is not known; one modality\'s mean needs the variance of readers, or random="cases" for '
            "a claim on these very readers."
        )
    shared = max(parts.cov2, 0.0)
    if parts.error < shared:
        raise ValueError(f"error={parts.error:g} is below cov2={parts.cov2:g}; check the order of the components.")
    of_readers = max((parts.reader or 0.0) + parts.treatment_reader, 0.0)

    def power_at(number: int, scale: NDArray[np.float64]) -> NDArray[np.float64]:
        error = _error(number, scale, of_readers=of_readers, own=parts.error, shared=shared, random=random)
        return _power(above, error, confidence, two_sided=False)

    return parts, numbers, power_at


def _error(
    number: int, scale: NDArray[np.float64], *, of_readers: float, own: float, shared: float, random: str
) -> _Error:
    """Returns the variance of a mean over readers, and Hillis' degrees of freedom at the expected mean squares.

    Args:
        number: Readers.
        scale: Shape (n,), the pilot's cases over the planned ones; 0 for unlimited cases.
        of_readers: Variance between readers that more cases do not lessen.
        own: Variance of a reader's error with the pilot's cases.
        shared: Covariance of two readers' errors.
        random: One of `RANDOM`.
    """
    # The mean square of readers estimates what they do not share; what they share is estimated from the cases, whose
    # number is taken as large.
    square = of_readers + scale * (own - shared)
    if random == "cases":
        return _Error(scale * (own + (number - 1) * shared) / number, np.full(len(scale), math.inf))
    if random == "readers":
        return _Error(square / number, np.full(len(scale), number - 1.0))
    whole = of_readers + scale * (own + (number - 1) * shared)
    ratio = np.divide(whole, square, out=np.full(len(scale), math.inf), where=square > 0)
    return _Error(whole / number, (number - 1) * ratio**2)


def _power(shift: float, error: _Error, confidence: float, *, two_sided: bool) -> NDArray[np.float64]:
    """Returns how often an estimate that many standard errors from the limit is seen to differ from it."""
    from scipy import special

    certain = error.variance <= 0
    away = shift / np.sqrt(np.where(certain, 1.0, error.variance))
    critical = special.stdtrit(error.degrees, 0.5 + confidence / 2)
    found = 1 - _below(critical, error.degrees, away)
    if two_sided:
        found = found + _below(-critical, error.degrees, away)
    sure = float(shift != 0 if two_sided else shift > 0)
    return np.asarray(np.where(certain, sure, found), dtype=np.float64)


def _below(value: NDArray[np.float64], degrees: NDArray[np.float64], away: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns how often a noncentral t lies below a value."""
    from scipy import special

    found = special.nctdtr(degrees, away, value)
    # Where it is nearer to 0 or 1 than numbers can tell, SciPy's function may give NaN.
    return np.asarray(np.where(np.isnan(found), np.where(away < value, 1.0, 0.0), found))


def _options(
    parts: ReaderVarianceComponents,
    numbers: tuple[int, ...],
    power_at: _PowerAt,
    wanted: float,
    purpose: str,
    *,
    modalities: int,
) -> ReaderStudySize:
    # More cases may even have less power: as the error of cases goes, so do the degrees of freedom. So every size is
    # looked at, in steps of a few per cent.
    sizes = np.unique(np.geomspace(2, _LARGEST, 500).round())
    found: list[ReaderStudyOption] = []
    for number in numbers:
        powers = power_at(number, parts.n_cases / sizes)
        enough = powers >= wanted
        if not enough.any():
            found.append(
                _without_cases(number, max(float(powers.max()), float(power_at(number, np.zeros(1))[0])), wanted)
            )
            continue
        first = int(np.argmax(enough))
        low, high = (int(sizes[first - 1]) + 1 if first else 2), int(sizes[first])
        while low < high:
            middle = (low + high) // 2
            reached = power_at(number, np.array([parts.n_cases / middle]))[0] >= wanted
            low, high = (low, middle) if reached else (middle + 1, high)
        note = ""
        if not enough[first:].all():
            later = int(sizes[first:][~enough[first:]][0])
            note = f"about {later:,} cases and more have less power: few readers are then all there is to learn from"
        reached = float(power_at(number, np.array([parts.n_cases / high]))[0])
        found.append(ReaderStudyOption(number, high, number * high * modalities, reached, note))
    return ReaderStudySize(tuple(found), purpose)


def _without_cases(number: int, most: float, wanted: float) -> ReaderStudyOption:
    note = f"not reachable with {number} reader{'s' if number > 1 else ''}: "
    if most >= wanted:
        note += f"more than {_LARGEST:,} cases would be needed"
    else:
        note += f"no number of cases has more power than {most:.3f}"
    return ReaderStudyOption(number, None, None, most, note)


def _checked(
    components: ReaderVarianceComponents,
    covariances: tuple[str, ...],
    readers: Iterable[int],
    random: str,
    confidence: float,
) -> tuple[ReaderVarianceComponents, tuple[int, ...]]:
    if not isinstance(components, ReaderVarianceComponents):
        raise TypeError(
            f"components is {type(components).__name__}; give ReaderVarianceComponents, by "
            "conjectured_components or, of a pilot study, by ReaderVarianceComponents.of(result)."
        )
    checks.one_of(random, RANDOM, "random")
    checks.probability(confidence, "confidence", open_interval=True)
    for name in ("treatment_reader", "error", *covariances):
        _finite(getattr(components, name), f"components.{name}")
    if components.error <= 0:
        raise ValueError(f"components.error={components.error!r} must be above 0; it is a variance.")
    checks.positive_int(components.n_cases, "components.n_cases", least=2)
    least, hint = (1, "") if random == "cases" else (2, '; one reader says nothing on others, see random="cases"')
    if not isinstance(readers, Iterable):
        raise TypeError(f"readers={readers!r} must be several numbers to plan for, for example [5] or range(4, 21).")
    numbers = tuple(checks.positive_int(number, "readers", least=least, hint=hint) for number in readers)
    if not numbers:
        raise ValueError("readers is empty; name the numbers of readers to plan for, for example range(4, 21).")
    return components, numbers


def _finite(value: ArrayLike, name: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={value!r} is not a number.") from error
    if not math.isfinite(number):
        raise ValueError(f"{name}={value!r} must be a finite number.")
    return number
