"""The part of the ROC curve where a device is to work: partial areas, and one rate where the other is fixed."""

from dataclasses import dataclass

from chexkeras.results.estimate import Estimate
from chexkeras.results.record import Record


@dataclass(frozen=True)
class PartialArea(Record):
    """The area under a part of the ROC curve.

    Attributes:
        over: What the part is a range of, "specificity" or "sensitivity".
        low: Where the range begins.
        high: Where it ends.
        area: The area itself: mean sensitivity over the specificities times the width of the range (or the other way
            round), at most the width.
        standardised: The same on a scale where 0.5 is chance and 1 is perfect (McClish's correction).
    """

    over: str
    low: float
    high: float
    area: Estimate
    standardised: Estimate


@dataclass(frozen=True)
class PartialAreaDifference(Record, nan=("p_value",)):
    """The difference of two models' areas under the same part of the ROC curve, on the same images.

    Attributes:
        first: Of the first model.
        second: Of the second model.
        difference: First minus second, of the areas themselves.
        standardised: First minus second, of the standardised areas.
        p_value: Two-sided, that they are equal; NaN where there is no test.
    """

    first: PartialArea
    second: PartialArea
    difference: Estimate
    standardised: Estimate
    p_value: float


@dataclass(frozen=True)
class RateAtTarget(Record, nan=("threshold",)):
    """One rate where the other is fixed.

    Attributes:
        statistic: "sensitivity" or "specificity".
        at: What is fixed, the other of the two.
        target: What it is fixed at.
        reached: What it is on these images at the threshold, at least the target.
        threshold: The threshold, an observed score; NaN where even the highest score calls too many images.
        rate: With an interval for the rate where the other truly is at the target, the threshold being uncertain.
        at_threshold: With an interval for the rate at this very threshold, as if it had been given.
    """

    statistic: str
    at: str
    target: float
    reached: float
    threshold: float
    rate: Estimate
    at_threshold: Estimate
