"""How performance differs between groups of patients or films."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from chexkeras.results.estimate import Estimate

STATISTICS = ("auroc", "sensitivity", "specificity")
"""What is measured in every group."""


@dataclass(frozen=True)
class Subgroup:
    """One group: its size and what was measured in it.

    Attributes:
        level: The group, for example "F", "60-74" or "AP".
        n_images: Images with a known label.
        n_patients: Patients among them.
        n_positive: Positive images.
        n_negative: Negative images.
        auroc: In the group; not estimable with the reason "too few ..." where the group is too small to say anything.
        sensitivity: At the operating point; likewise.
        specificity: Likewise.
    """

    level: str
    n_images: int
    n_patients: int
    n_positive: int
    n_negative: int
    auroc: Estimate
    sensitivity: Estimate
    specificity: Estimate

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Subgroup":
        """Rebuilds a group from its plain values."""
        return cls(**{**data, **{name: Estimate.from_dict(data[name]) for name in STATISTICS}})


@dataclass(frozen=True)
class Interaction:
    """Whether a statistic differs between the groups of one column by more than chance.

    Attributes:
        statistic: One of `STATISTICS`.
        p_value: Of the test that all groups are equal; NaN where it cannot be made.
        p_adjusted: The same after Holm's correction over everything tested together.
        method: The test.
        reason: Why there is none; empty when there is one.
    """

    statistic: str
    p_value: float
    p_adjusted: float
    method: str = ""
    reason: str = ""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Interaction":
        """Rebuilds a test from its plain values; null numbers become NaN."""
        numbers = {name: float("nan") if data[name] is None else data[name] for name in ("p_value", "p_adjusted")}
        return cls(**{**data, **numbers})


@dataclass(frozen=True)
class SubgroupAnalysis:
    """The groups of one column, for one finding on one split.

    Attributes:
        column: What the images were grouped by, for example "sex".
        groups: One entry per group.
        interactions: One test per statistic.
        n_unknown: Images whose group is not known; they are in no group.
    """

    column: str
    groups: tuple[Subgroup, ...]
    interactions: tuple[Interaction, ...]
    n_unknown: int = 0

    def worst(self, statistic: str) -> Subgroup | None:
        """Returns the group with the lowest estimate of a statistic; None where no group has one."""
        measured = [group for group in self.groups if getattr(group, statistic).estimable]
        return min(measured, key=lambda group: getattr(group, statistic).value, default=None)

    def to_frame(self) -> pd.DataFrame:
        """Returns one row per group, each number with its interval as text."""
        rows = [
            {
                self.column: group.level,
                "images": group.n_images,
                "patients": group.n_patients,
                "positives": group.n_positive,
                "AUROC": str(group.auroc),
                "sensitivity": str(group.sensitivity),
                "specificity": str(group.specificity),
            }
            for group in self.groups
        ]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SubgroupAnalysis":
        """Rebuilds an analysis from `to_dict`."""
        groups = tuple(Subgroup.from_dict(group) for group in data["groups"])
        interactions = tuple(Interaction.from_dict(test) for test in data["interactions"])
        return cls(**{**data, "groups": groups, "interactions": interactions})
