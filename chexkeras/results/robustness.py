"""What changed films do to a model's scores and calls."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras import files
from chexkeras.results.comparison import Comparison
from chexkeras.results.estimate import Estimate

AS_IS = "unchanged"
"""What films without a change are called in the comparisons."""

VERDICTS = ("held", "worse", "not shown", "not estimable")
"""What can be said of a statistic after a change."""


@dataclass(frozen=True)
class PerturbationEffect:
    """One change's effect on one finding.

    Attributes:
        perturbation: Name of the change.
        group: What kind of change it is: exposure, sharpness, position or misuse.
        finding: The finding.
        comparisons: AUROC and, with an operating point, sensitivity and specificity: the changed films minus the same
            films as they are.
        calls_changed: Share of the films whose call differs; not estimable without an operating point.
        shift_median: Median of the absolute difference of a film's score.
        shift_95: 95th percentile of it.
    """

    perturbation: str
    group: str
    finding: str
    comparisons: tuple[Comparison, ...]
    calls_changed: Estimate
    shift_median: float
    shift_95: float

    def __getitem__(self, statistic: str) -> Comparison:
        """Returns the comparison of one statistic; raises KeyError naming those there are."""
        for entry in self.comparisons:
            if entry.statistic == statistic:
                return entry
        there = ", ".join(entry.statistic for entry in self.comparisons)
        raise KeyError(f"{statistic!r} was not compared; there are: {there}")

    def verdict(self, statistic: str) -> str:
        """Returns what can be said of one statistic, one of `VERDICTS`.

        "held": the interval of the difference excludes a loss of the stated margin or more. "worse": it does not, and
        it lies below 0. "not shown": neither, for want of films; this is no robustness. Nothing is corrected for the
        number of changes, since to overlook a loss would be the graver mistake.
        """
        entry = self[statistic]
        if not entry.difference.estimable:
            return "not estimable"
        if entry.non_inferior:
            return "held"
        return "worse" if entry.difference.high < 0 else "not shown"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "PerturbationEffect":
        """Rebuilds an effect from its plain values."""
        made = tuple(Comparison.from_dict(entry) for entry in data["comparisons"])
        return cls(**{**data, "comparisons": made, "calls_changed": Estimate.from_dict(data["calls_changed"])})


@dataclass(frozen=True)
class Robustness:
    """Effects of many changes on the films of one part.

    Attributes:
        split: The part, "test".
        scores_fingerprint: SHA-256 of the part's saved scores, which the films as they are gave again.
        image_size: Height and width of the films as they were changed, in pixels.
        n_images: Films that were changed.
        n_patients: Patients among them.
        n_images_in_part: Films of the whole part; where it is more, whole patients were drawn at random.
        seed: Of that draw and of the noise.
        repeat_difference: Largest difference of a score from the saved one when the films are scored again.
        single_difference: Largest difference between scoring films one at a time and in batches.
        single_images: How many films were scored one at a time.
        margin: Loss of AUROC, sensitivity or specificity from which on a change matters, stated beforehand.
        effects: Change by change, and within it finding by finding.
        cautions: Sentences a reader must see beside any of these numbers.
        provenance: Versions, commit and time of the measurement, from `provenance.collect`.
    """

    split: str
    scores_fingerprint: str
    image_size: int
    n_images: int
    n_patients: int
    n_images_in_part: int
    seed: int
    repeat_difference: float
    single_difference: float
    single_images: int
    margin: float
    effects: tuple[PerturbationEffect, ...]
    cautions: tuple[str, ...] = ()
    provenance: dict[str, Any] | None = None

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings, in target order."""
        return tuple(dict.fromkeys(effect.finding for effect in self.effects))

    def of(self, finding: str) -> tuple[PerturbationEffect, ...]:
        """Returns every effect on one finding.

        Raises:
            KeyError: If it was not measured.
        """
        found = tuple(effect for effect in self.effects if effect.finding == finding)
        if not found:
            raise KeyError(f"{finding!r} was not measured; there are: {', '.join(self.findings)}")
        return found

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each change and finding, each number with its interval as text."""
        rows = []
        for effect in self.effects:
            row = {"finding": effect.finding, "group": effect.group, "change": effect.perturbation}
            for entry in effect.comparisons:
                row[entry.statistic] = str(entry.first_value)
                row[f"difference of {entry.statistic}"] = str(entry.difference)
                row[f"verdict on {entry.statistic}"] = effect.verdict(entry.statistic)
            row["calls changed"] = str(effect.calls_changed)
            row["median change of the score"] = f"{effect.shift_median:.3f}"
            rows.append(row)
        table = pd.DataFrame(rows)
        table.attrs["cautions"] = self.cautions
        return table

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Robustness":
        """Rebuilds the measurement from `to_dict`."""
        effects = tuple(PerturbationEffect.from_dict(entry) for entry in data["effects"])
        return cls(**{**data, "effects": effects, "cautions": tuple(data["cautions"])})

    def save(self, path: str | Path) -> Path:
        """Writes the measurement as JSON and returns the path."""
        return files.write_json(path, self.to_dict())
