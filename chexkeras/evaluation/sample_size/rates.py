"""How many images a study needs for sensitivity and specificity, and what it can show with those it has.

Sizes are counts of independent cases of the class that the rate is about: positives for a sensitivity, negatives for a
specificity. Images of one patient are not independent; `PlannedSize.clustered` says how many images make up for that.
Areas under the ROC curve are planned in `sample_size.auroc`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.uncertainty.limits import clopper_pearson, normal_quantile
from chexkeras.plain import Described

_LARGEST = 10_000_000


@dataclass(frozen=True)
class PlannedSize(Described):
    """A number of cases, and what it is for.

    Attributes:
        cases: Cases of the class in question, whole.
        total: Images of all kinds that are expected to hold them; equal to `cases` where no prevalence was given.
        unrounded: The total before rounding up.
        purpose: In words, what the number achieves and how it was computed.
    """

    cases: int
    total: int
    unrounded: float
    purpose: str

    def clustered(self, images_per_patient: float | ArrayLike, correlation: float) -> "PlannedSize":
        """Returns the size when patients give several images, which tell less than as many patients would.

        Args:
            images_per_patient: The same number of images of every patient, at least 1, or the number of each patient;
                only images of the class in question count.
            correlation: How much a patient's images agree: the intraclass correlation of being called rightly, in
                [0, 1].

        Returns:
            The size times the design effect.
        """
        effect = design_effect(images_per_patient, correlation)
        purpose = f"{self.purpose}; times a design effect of {effect:.3g} for several images of a patient"
        cases, images = effect * self.cases, effect * self.unrounded
        return replace(self, cases=_round_up(cases), total=_round_up(images), unrounded=images, purpose=purpose)

    def __str__(self) -> str:
        """Returns, for example, ``126 cases (1,255 images in all): ...``."""
        images = f" ({self.total:,} images in all)" if self.total != self.cases else ""
        return f"{self.cases:,} cases{images}: {self.purpose}"


@dataclass(frozen=True)
class BoundSize(Described):
    """How many cases show that a rate lies above a goal.

    Attributes:
        lasting: The smallest number from which on every larger one has the power; plan with this.
        smallest: The smallest number that has it at all: exact power goes up and down with the number of cases, so a
            few more may have less.
        power: Exact power with `lasting` cases.
        purpose: In words.
    """

    lasting: int
    smallest: int
    power: float
    purpose: str

    def __str__(self) -> str:
        """Returns the plan in one sentence."""
        fewer = f"; {self.smallest:,} have it too, but some larger numbers have less"
        if self.smallest == self.lasting:
            fewer = ""
        return f"{self.lasting:,} cases (power {self.power:.3f}{fewer}): {self.purpose}"


@checked
def sample_size_proportion(
    expected: float, half_width: float, *, prevalence: float | None = None, confidence: float = 0.95
) -> PlannedSize:
    """Returns how many cases give a rate an interval of a wanted half width.

    Args:
        expected: The rate expected, for example a sensitivity, strictly between 0 and 1.
        half_width: Half the width wanted, strictly between 0 and 1.
        prevalence: Share of the class in question among all images, for a specificity that of the negatives; None
            where cases are collected by class.
        confidence: Coverage of the interval, in (0, 1).

    Returns:
        The size, by the normal approximation; `half_width_proportion` gives the exact width.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Buderer, Academic Emergency Medicine 3, 1996; the example is of Hajian-Tilaki, Journal of Biomedical
        Informatics 48, 2014.

    Example:
        >>> sample_size_proportion(0.80, 0.07, prevalence=0.10).total
        1255
    """
    rate = checks.probability(expected, "expected", open_interval=True)
    half = checks.probability(half_width, "half_width", open_interval=True)
    checks.probability(confidence, "confidence", open_interval=True)
    share = 1.0 if prevalence is None else checks.probability(prevalence, "prevalence")
    if share == 0:
        raise ValueError("prevalence=0: no number of images would hold a case; give a share above 0.")
    cases = normal_quantile(confidence) ** 2 * rate * (1 - rate) / half**2
    purpose = f"{confidence * 100:g} % interval of +/-{half:g} around an expected {rate:g} (Buderer 1996)"
    if prevalence is not None:
        purpose += f", cases being {share * 100:g} % of all images"
    return PlannedSize(_round_up(cases), _round_up(cases / share), cases / share, purpose)


def half_width_proportion(n: int, expected: float, *, confidence: float = 0.95) -> float:
    """Returns how far the Clopper-Pearson interval reaches from a rate, on its longer side.

    Args:
        n: Independent cases.
        expected: The rate expected, in [0, 1]; the nearest whole number of successes is taken.
        confidence: Coverage, in (0, 1).

    Returns:
        The distance.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        With 500 positives and 500 negatives, rates of .85 are known to within 3.4 percentage points.

        >>> round(half_width_proportion(500, 0.85), 3)
        0.034
    """
    checks.positive_int(n, "n")
    checks.probability(confidence, "confidence", open_interval=True)
    successes = round(n * checks.probability(expected, "expected"))
    low, high = clopper_pearson(successes, n, confidence)
    return max(successes / n - low, high - successes / n)


@checked
def power_lower_bound(n: int, true: float, goal: float, *, confidence: float = 0.95, one_sided: bool = False) -> float:
    """Returns the exact probability that the Clopper-Pearson lower bound of a rate reaches a goal.

    Args:
        n: Independent cases.
        true: The true rate, in [0, 1].
        goal: What the bound has to reach, strictly between 0 and 1.
        confidence: Of the interval, in (0, 1).
        one_sided: Whether all the error lies below the bound; otherwise half of it, as in a two-sided interval.

    Returns:
        The power, in [0, 1]; where the true rate is below the goal, the chance of showing what is not so.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> [round(power_lower_bound(500, true, 0.80), 4) for true in (0.85, 0.87)]
        [0.8267, 0.9882]
    """
    checks.positive_int(n, "n")
    _, rate, aim, tail = _bound_arguments(0.5, true, goal, confidence, one_sided)
    return float(_powers(np.array([n]), rate, aim, tail)[0])


@checked
def sample_size_lower_bound(
    true: float, goal: float, power: float = 0.8, *, confidence: float = 0.95, one_sided: bool = False
) -> BoundSize:
    """Returns how many cases show with a wanted power that a rate lies above a goal.

    Args:
        true: The true rate, strictly between 0 and 1, above the goal.
        goal: What the Clopper-Pearson lower bound has to reach, strictly between 0 and 1.
        power: The probability wanted, strictly between 0 and 1.
        confidence: Of the interval, in (0, 1).
        one_sided: Whether all the error lies below the bound.

    Returns:
        The smallest number from which on the power stays, and the smallest that has it at all.

    Raises:
        ValueError: If an argument is out of range, or the true rate does not lie above the goal.

    Example:
        >>> plan = sample_size_lower_bound(0.85, 0.80)
        >>> plan.lasting, plan.smallest
        (494, 466)
    """
    wanted, rate, aim, tail = _bound_arguments(power, true, goal, confidence, one_sided)
    if rate <= aim or rate == 1:
        raise ValueError(
            f"true={true:g} must lie above goal={goal:g} and below 1; no number of cases shows a goal that is not met."
        )
    from scipy import special

    of_goal, of_power = (max(0.0, float(special.ndtri(share))) for share in (1 - tail, wanted))
    deviations = of_goal * math.sqrt(aim * (1 - aim)) + of_power * math.sqrt(rate * (1 - rate))
    # The ups and downs of the power shrink with the number of cases, and at four times the normal approximation's
    # number it is far above what is wanted.
    last = 4 * math.ceil((deviations / (rate - aim)) ** 2) + 200
    if last > _LARGEST:
        raise ValueError(
            f"true={true:g} and goal={goal:g} are so close that more than {_LARGEST // 4:,} cases would be needed; "
            "lower the goal."
        )
    sizes = np.arange(1, last + 1)
    enough = _powers(sizes, rate, aim, tail) >= wanted
    lasting = int(sizes[np.flatnonzero(~enough)[-1] + 1]) if not enough.all() else 1
    purpose = (
        f"power {wanted:g} that the {'one' if one_sided else 'two'}-sided {confidence * 100:g} % Clopper-Pearson lower "
        f"bound reaches {aim:g} when the true rate is {rate:g}"
    )
    reached = float(_powers(np.array([lasting]), rate, aim, tail)[0])
    return BoundSize(lasting, int(sizes[np.argmax(enough)]), reached, purpose)


@checked
def design_effect(images_per_patient: float | ArrayLike, correlation: float) -> float:
    """Returns by how much the variance grows because patients give several images.

    Multiply a sample size by it, or divide a number of images by it to see how many independent ones they are worth.

    Args:
        images_per_patient: The same number of images of every patient, at least 1, or the number of each patient.
        correlation: How much a patient's images agree: the intraclass correlation of being called rightly, from 0
            (no more than images of different patients) to 1 (always).

    Returns:
        ``1 + (m - 1) * correlation``, m being the number of images or, where patients differ, the mean over images of
        the number that their patient has.

    Raises:
        ValueError: If a number of images is below 1 or the correlation is not in [0, 1].

    Source:
        Kish, Survey Sampling, 1965.

    Example:
        >>> round(design_effect(2.5, 0.4), 3)
        1.6
    """
    agree = checks.probability(correlation, "correlation")
    images = np.atleast_1d(checks.numbers(images_per_patient, "images_per_patient"))
    if images.ndim != 1 or not len(images) or not np.isfinite(images).all() or (images < 1).any():
        raise ValueError(
            f"images_per_patient={images_per_patient!r} must be at least 1: the same number for every patient, or one "
            "number for each."
        )
    return float(1 + ((images**2).sum() / images.sum() - 1) * agree)


def _bound_arguments(
    power: float, true: float, goal: float, confidence: float, one_sided: bool
) -> tuple[float, float, float, float]:
    wanted = checks.probability(power, "power", open_interval=True)
    rate = checks.probability(true, "true")
    aim = checks.probability(goal, "goal", open_interval=True)
    alpha = 1 - checks.probability(confidence, "confidence", open_interval=True)
    return wanted, rate, aim, alpha if one_sided else alpha / 2


def _powers(sizes: NDArray[np.int64], true: float, goal: float, tail: float) -> NDArray[np.float64]:
    from scipy import stats

    # The bound reaches the goal when so many successes or more have at most the tail's probability at the goal.
    needed = stats.binom.isf(tail, sizes, goal) + 1
    return np.asarray(stats.binom.sf(needed - 1, sizes, true), dtype=np.float64)


def _round_up(number: float) -> int:
    # 10.000000000000002 is ten.
    return math.ceil(number - 1e-9 * max(1.0, number))
