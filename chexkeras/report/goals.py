"""What performance is asked for, and the verdict that an interval gives on it."""

from dataclasses import dataclass

from chexkeras.arguments import checked
from chexkeras.checks import positive_int, probability
from chexkeras.plain import Described
from chexkeras.results import Estimate

MET = "MET"
NOT_MET = "NOT MET"
NOT_ESTIMABLE = "NOT ESTIMABLE"


@checked(fields=True)
@dataclass(frozen=True)
class PerformanceGoals(Described):
    """Performance goals; a convention to be justified or replaced by whoever submits, never a requirement by itself.

    Attributes:
        sensitivity_above: The lower confidence limit of the sensitivity must lie above this, in (0, 1).
        specificity_above: The lower confidence limit of the specificity must lie above this, in (0, 1).
        fewest_positives: Groups with fewer positive images are called too few to judge.
        origin: What kind of goals these are, printed beside them.
    """

    sensitivity_above: float = 0.80
    specificity_above: float = 0.80
    fewest_positives: int = 10
    origin: str = "convention"

    def __post_init__(self) -> None:
        probability(self.sensitivity_above, "sensitivity_above", open_interval=True)
        probability(self.specificity_above, "specificity_above", open_interval=True)
        positive_int(self.fewest_positives, "fewest_positives")


@dataclass(frozen=True)
class Verdict:
    """Whether a goal was reached, and the sentence that says why."""

    word: str
    reason: str


def judge(estimate: Estimate, goal: float, *, invalid: str = "") -> Verdict:
    """Returns the verdict of an interval's lower limit on a goal.

    Args:
        estimate: What was measured.
        goal: The lower limit must lie above this.
        invalid: Why the measurement proves nothing whatever its value (for example a leaky split); empty when sound.

    Returns:
        MET, NOT MET or NOT ESTIMABLE, with the reason.

    Example:
        >>> judge(Estimate(0.9, 0.82, 0.95, n=100), 0.8).word
        'MET'
        >>> judge(Estimate(0.9, 0.78, 0.95, n=40), 0.8).reason
        'the estimate lies above the goal, but its lower limit 0.780 does not: not shown with this many images'
    """
    if invalid:
        return Verdict(NOT_ESTIMABLE, invalid)
    if not estimate.estimable:
        return Verdict(NOT_ESTIMABLE, estimate.reason)
    if estimate.low > goal:
        return Verdict(MET, f"the lower limit {estimate.low:.3f} lies above the goal")
    if estimate.high < goal:
        return Verdict(NOT_MET, f"even the upper limit {estimate.high:.3f} lies below the goal")
    if estimate.value > goal:
        return Verdict(
            NOT_MET,
            f"the estimate lies above the goal, but its lower limit {estimate.low:.3f} does not: "
            "not shown with this many images",
        )
    return Verdict(NOT_MET, f"the estimate {estimate.value:.3f} itself does not lie above the goal")


def overall(words: list[str]) -> str:
    """Returns the verdict on all goals together: one missed goal is enough to miss, one unknown to leave it open.

    Example:
        >>> overall([MET, NOT_ESTIMABLE])
        'NOT ESTIMABLE'
    """
    if NOT_MET in words:
        return NOT_MET
    return MET if words and all(word == MET for word in words) else NOT_ESTIMABLE
