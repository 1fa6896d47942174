"""How far groups of patients or images lie apart: each against the rest, best against worst, true and false alarms."""

from dataclasses import dataclass

import pandas as pd

from chexkeras.arguments import checked
from chexkeras.plain import PlainTable
from chexkeras.results.estimate import Estimate
from chexkeras.results.record import Record

MARGIN_VERDICTS = ("met", "not met", "not shown", "not estimable")
"""What an interval says of a margin: all of it on the right side, all beyond it, on both sides, or no interval."""


@dataclass(frozen=True)
class GroupValue(Record):
    """One statistic in one group, with an interval that holds together with those of the other groups.

    Attributes:
        level: The group, for example "F" or "AP".
        n_images: Images with a known label.
        n_patients: Patients among them.
        n_positive: Positive images.
        n_negative: Negative images.
        value: In the group; its interval is one of several that all cover at once as often as its confidence says. Not
            estimable with the reason where the group is too small.
    """

    level: str
    n_images: int
    n_patients: int
    n_positive: int
    n_negative: int
    value: Estimate


@checked
@dataclass(frozen=True)
class SubgroupGaps(Record, nan=("gap_by_chance",)):
    """How far the groups of one column lie apart in one statistic.

    Attributes:
        finding: The finding.
        column: What the images were grouped by.
        statistic: "auroc", "sensitivity" or "specificity".
        overall: On all images whose group is known.
        groups: One for each group, with simultaneous intervals.
        best: The group with the highest value; empty with fewer than two groups large enough.
        worst: The group with the lowest value; empty with fewer than two groups large enough.
        gap: Value of the best minus that of the worst group. The interval allows for best and worst having been picked
            after the fact, so it covers whichever groups are truly best and worst.
        gap_by_chance: How large this gap is on average where all groups are equal; NaN without a gap.
        shortfall: Value on all images minus that of the worst group, with an interval that allows for the picking.
        n_unknown: Images whose group is not known; they count nowhere.
    """

    finding: str
    column: str
    statistic: str
    overall: Estimate
    groups: tuple[GroupValue, ...]
    best: str
    worst: str
    gap: Estimate
    gap_by_chance: float
    shortfall: Estimate
    n_unknown: int = 0

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each group, each number with its interval as text."""
        rows = [
            {
                self.column: group.level,
                "images": group.n_images,
                "patients": group.n_patients,
                "positives": group.n_positive,
                f"{self.statistic} (simultaneous interval)": str(group.value),
            }
            for group in self.groups
        ]
        return PlainTable(rows)

    def __str__(self) -> str:
        """Returns one sentence on the gap between the best and the worst group."""
        if not self.gap.estimable:
            return f"{self.finding}, {self.statistic} by {self.column}: {self.gap}"
        return (
            f"{self.finding}, {self.statistic} by {self.column}: {self.best} lies {self.gap} above {self.worst}; "
            f"{self.gap_by_chance:.3f} is expected where all groups are equal"
        )


@dataclass(frozen=True)
class GroupAgainstRest(Record):
    """One group against all other images whose group is known.

    Attributes:
        level: The group, for example "F" or "AP".
        n_images: Images with a known label.
        n_positive: Positive images.
        n_negative: Negative images.
        value: In the group.
        rest: In all others, those of groups too small to stand alone included.
        difference: Group minus rest, two-sided.
        verdict: One of `MARGIN_VERDICTS`: "met" where the interval lies above ``-margin``, "not met" where it lies
            below it, "not shown" where it holds it.
    """

    level: str
    n_images: int
    n_positive: int
    n_negative: int
    value: Estimate
    rest: Estimate
    difference: Estimate
    verdict: str


@checked
@dataclass(frozen=True)
class SubgroupNonInferiority(Record):
    """Whether every group of one column is at most a margin worse than the rest.

    Attributes:
        finding: The finding.
        column: What the images were grouped by.
        statistic: "auroc", "sensitivity" or "specificity".
        margin: How much worse a group may be, in the statistic's units.
        one_sided_confidence: That a verdict of "met" or "not met" claims for one group.
        groups: One for each group.
        n_unknown: Images whose group is not known; they count nowhere.
    """

    finding: str
    column: str
    statistic: str
    margin: float
    one_sided_confidence: float
    groups: tuple[GroupAgainstRest, ...]
    n_unknown: int = 0

    @property
    def verdict(self) -> str:
        """What holds of all groups: "met" for each, else "not met" for any, else "not shown".

        That every group is non-inferior needs no correction for their number, since each must pass; groups with images
        that could not be estimated leave it "not shown". A single group's "not met" is not corrected.

        Source:
            Berger, Technometrics 24, 1982 (intersection-union tests).
        """
        said = {group.verdict for group in self.groups if group.n_images}
        return "met" if said == {"met"} else "not met" if "not met" in said else "not shown"

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each group, each number with its interval as text."""
        rows = [
            {
                self.column: group.level,
                "images": group.n_images,
                "positives": group.n_positive,
                self.statistic: str(group.value),
                "the rest": str(group.rest),
                "difference": str(group.difference),
                f"within {self.margin:g}": group.verdict,
            }
            for group in self.groups
        ]
        return PlainTable(rows)


@dataclass(frozen=True)
class GroupRates(Record):
    """Sensitivity and false-positive rate in one group, with intervals that hold together over groups and rates.

    Attributes:
        level: The group, for example "F" or "AP".
        n_positive: Positive images.
        n_negative: Negative images.
        sensitivity: Share of positives called positive; not estimable where they are too few.
        false_positive_rate: Share of negatives called positive; not estimable where they are too few.
    """

    level: str
    n_positive: int
    n_negative: int
    sensitivity: Estimate
    false_positive_rate: Estimate


@checked
@dataclass(frozen=True)
class EqualizedOdds(Record, nan=("gap_by_chance",)):
    """How far a frozen threshold is from equal sensitivities and equal false-positive rates in all groups.

    Attributes:
        finding: The finding.
        column: What the images were grouped by.
        groups: One for each group.
        sensitivity_gap: Highest minus lowest sensitivity of the groups.
        false_positive_rate_gap: Highest minus lowest false-positive rate of the groups.
        gap: The larger of the two. All three intervals hold together and allow for best and worst having been picked
            after the fact.
        gap_by_chance: How large the gap is on average where both rates are equal in all groups; NaN without a gap.
        n_unknown: Images whose group is not known; they count nowhere.
    """

    finding: str
    column: str
    groups: tuple[GroupRates, ...]
    sensitivity_gap: Estimate
    false_positive_rate_gap: Estimate
    gap: Estimate
    gap_by_chance: float
    n_unknown: int = 0

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each group, each number with its interval as text."""
        rows = [
            {
                self.column: group.level,
                "positives": group.n_positive,
                "negatives": group.n_negative,
                "sensitivity": str(group.sensitivity),
                "false-positive rate": str(group.false_positive_rate),
            }
            for group in self.groups
        ]
        return PlainTable(rows)
