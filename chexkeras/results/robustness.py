"""What changed images do to a model's scores and calls."""

import math
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any

import pandas as pd

from chexkeras import plain
from chexkeras.arguments import checked
from chexkeras.plain import PlainTable
from chexkeras.results.comparison import Comparison
from chexkeras.results.estimate import NOT_MEASURED, Estimate
from chexkeras.results.record import Record

_AUROC = "AUROC"

AS_IS = "unchanged"
"""What images without a change are called in the comparisons."""

VERDICTS = ("held", "worse", "not shown", "not estimable")
"""What can be said of a statistic after a change."""

RATES = ("sensitivity", "specificity")
"""What a device's operating point is judged by: its rates at the frozen threshold."""

# What measurements of an earlier version lack.
_ADDED = {"unlike"}
_WORST_FIRST = ("worse", "not estimable", "not shown", "held")

# With few patients the variance of a difference is often too small by chance, and Student's t makes up for it in part:
# in simulations "held" was false in 10-12 % with 3 positives, 5-6 % with 10 and 4 % with 30, where 2.5 % were meant.
FEWEST_PATIENTS = 30
"""Patients with, and patients without a finding that it takes for an AUROC to be called held."""


@checked
@dataclass(frozen=True)
class PerturbationEffect(Record, nan=("shift_median", "shift_95")):
    """One change's effect on one finding.

    Attributes:
        perturbation: Name of the change.
        group: What kind of change it is: exposure, sharpness, position or misuse.
        finding: The finding.
        n_positive: Patients with an image that shows the finding.
        n_negative: Patients with an image that does not; who has images of both kinds counts in both.
        comparisons: AUROC and, with an operating point, sensitivity and specificity: the changed images minus the same
            images as they are.
        calls_changed: Share of the images whose call differs; not estimable without an operating point.
        shift_median: Median of the absolute difference of an image's score.
        shift_95: 95th percentile of it.
        unlike: Share of the changed images that are called unlike the training images (`Novelty`); not measured where
            the run has not learnt it.
    """

    perturbation: str
    group: str
    finding: str
    n_positive: int
    n_negative: int
    comparisons: tuple[Comparison, ...]
    calls_changed: Estimate
    shift_median: float
    shift_95: float
    unlike: Estimate = NOT_MEASURED

    def __post_init__(self) -> None:
        for name in ("n_positive", "n_negative"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise ValueError(f"{name}={count!r} of {self._what} must be a whole number of patients, 0 or more.")

    @property
    def _what(self) -> str:
        return f"{self.perturbation!r} on {self.finding}"

    def __getitem__(self, statistic: str) -> Comparison:
        """Returns the comparison of one statistic; raises KeyError naming those there are."""
        for entry in self.comparisons:
            if entry.statistic == statistic:
                return entry
        there = ", ".join(entry.statistic for entry in self.comparisons)
        raise KeyError(f"{statistic!r} was not compared; there are: {there}")

    @property
    def discrimination(self) -> str:
        """What can be said of the ranking of images: the verdict on the AUROC."""
        return self.verdict(_AUROC)

    @property
    def operating_point(self) -> str | None:
        """What can be said of calls at the frozen threshold: the worse verdict of sensitivity and specificity.

        None where nothing was called, for want of an operating point.
        """
        called = {entry.statistic for entry in self.comparisons} & set(RATES)
        return worse_of(*(self.verdict(name) for name in sorted(called))) if called else None

    @property
    def leading(self) -> str:
        """The verdict on the change: the worse of those on discrimination and on the operating point.

        Images may be ranked as before while every score has moved past the frozen threshold, by which the device
        calls; such a change has not been borne.
        """
        return worse_of(self.discrimination, *filter(None, (self.operating_point,)))

    def verdict(self, statistic: str) -> str:
        """Returns what can be said of one statistic, one of `VERDICTS`.

        "held": the interval of the difference excludes a loss of the statistic's margin or more. "worse": it does not,
        and it lies below 0. "not shown": neither, for want of images; this is no robustness. An AUROC has not held with
        fewer than `FEWEST_PATIENTS` patients with or without the finding, where its interval promises too much: that
        too is not shown. Nothing is corrected for the number of changes, since to overlook a loss would be the graver
        mistake. A model that separates nothing has nothing to lose, so that "held" says nothing of it.
        """
        entry = self[statistic]
        if not entry.difference.estimable:
            return "not estimable"
        if entry.non_inferior:
            few = statistic == _AUROC and min(self.n_positive, self.n_negative) < FEWEST_PATIENTS
            return "not shown" if few else "held"
        return "worse" if entry.difference.high < 0 else "not shown"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "PerturbationEffect":
        """Rebuilds an effect from its plain values; null shifts become NaN.

        Raises:
            ValueError: If a field is lacking or unknown, or a count is none.
        """
        _require_fields(cls, data)
        return super().from_dict(data)


@checked
@dataclass(frozen=True)
class Robustness(Record):
    """Effects of many changes on the images of one part.

    Attributes:
        split: The part, "test".
        scores_fingerprint: SHA-256 of the part's saved scores, which the images as they are gave again.
        image_size: Height and width of the images as they were changed, in pixels.
        n_images: Images that were changed.
        n_patients: Patients among them.
        n_images_in_part: Images of the whole part; where it is more, whole patients were drawn at random.
        seed: Of that draw and of the noise.
        repeat_difference: Largest difference of a score from the saved one when the images are scored again.
        single_difference: Largest difference between scoring images one at a time and in batches.
        single_images: How many images were scored one at a time.
        margin: Loss of AUROC from which on a change matters, stated beforehand.
        effects: Change by change, and within it finding by finding.
        cautions: Sentences a reader must see beside any of these numbers.
        provenance: Versions, commit and time of the measurement, from `provenance.collect`.
        thresholds: The frozen thresholds that images were called with, by finding; empty without operating points.

    Raises:
        ValueError: If there is no effect, a change and finding stand twice, an effect has no AUROC, or the margin is
            out of range, not that of the AUROCs, or not one for all rates.
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
    thresholds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.margin, bool) or not isinstance(self.margin, Real) or not 0 < self.margin < 1:
            raise ValueError(f"margin={self.margin!r} must be a number strictly between 0 and 1.")
        if not self.effects:
            raise ValueError("effects is empty; a measurement holds at least one change of one finding.")
        seen: set[tuple[str, str]] = set()
        for effect in self.effects:
            if (effect.perturbation, effect.finding) in seen:
                raise ValueError(f"{effect._what} stands twice in effects; each change and finding belongs there once.")
            seen.add((effect.perturbation, effect.finding))
            if _AUROC not in {entry.statistic for entry in effect.comparisons}:
                raise ValueError(f"{effect._what} has no comparison of the AUROC, which every effect must have.")
            for entry in effect.comparisons:
                # Files of earlier versions have the margin of the AUROC for the rates too.
                stated = self.operating_margin if entry.statistic in RATES else self.margin
                if entry.margin != stated:
                    raise ValueError(
                        f"margin={stated!r}, but the {entry.statistic} of {effect._what} was compared with "
                        f"margin {entry.margin!r}; one margin holds for all."
                    )

    @property
    def operating_margin(self) -> float | None:
        """Loss of sensitivity or specificity from which on a change matters; None where nothing was called."""
        rates = (entry for effect in self.effects for entry in effect.comparisons if entry.statistic in RATES)
        return next((entry.margin for entry in rates), None)

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

    def __str__(self) -> str:
        """Returns how the images were chosen and every change's effect with its verdicts, cautions first."""
        drawn = "" if self.n_images == self.n_images_in_part else f" of {self.n_images_in_part:,}, drawn by patient"
        images = f"{self.n_images:,} {self.split} images{drawn}, {self.n_patients:,} patients, seed {self.seed}"
        return "\n".join([plain.wrapped(f"{images}; a loss of {self.margin:g} matters"), str(self.to_frame())])

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each change and finding, each number with its interval as text.

        "verdict" is the leading one, the worse of those on the AUROC and on the operating point.
        """
        rows = []
        for effect in self.effects:
            row = {"finding": effect.finding, "group": effect.group, "change": effect.perturbation}
            row |= {"verdict": effect.leading, "verdict on the operating point": effect.operating_point or "none"}
            for entry in effect.comparisons:
                row[entry.statistic] = str(entry.first_value)
                row[f"difference of {entry.statistic}"] = str(entry.difference)
                row[f"verdict on {entry.statistic}"] = effect.verdict(entry.statistic)
            row["calls changed"] = str(effect.calls_changed)
            row["unlike training"] = str(effect.unlike)
            known = not math.isnan(effect.shift_median)
            row["median change of the score"] = f"{effect.shift_median:.3f}" if known else "not estimable"
            rows.append(row)
        table = PlainTable(rows)
        table.attrs["cautions"] = self.cautions
        return table

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Robustness":
        """Rebuilds the measurement from `to_dict`.

        Raises:
            ValueError: If a field is lacking or unknown, as in a file of another version, or what it holds is no
                measurement.
        """
        _require_fields(cls, data)
        return super().from_dict(data)


def worse_of(*verdicts: str) -> str:
    """Returns the verdict that says least for a model: "worse", then "not estimable", "not shown", and last "held".

    Args:
        *verdicts: At least one, each of `VERDICTS`.

    Example:
        >>> worse_of("held", "not shown")
        'not shown'
    """
    return min(verdicts, key=_WORST_FIRST.index)


def _require_fields(kind: type, data: dict[str, Any]) -> None:
    """Raises a ValueError where plain values were not written by this version."""
    if not isinstance(data, dict):
        raise ValueError(f"the measurement of changed images is a {type(data).__name__}, not values by name")
    names = {entry.name for entry in fields(kind)}
    lacking, unknown = sorted(names - set(data) - _ADDED), sorted(set(data) - names)
    if lacking or unknown:
        found = [f"{word} {', '.join(some)}" for word, some in (("lacks", lacking), ("has unknown", unknown)) if some]
        raise ValueError(
            f"the measurement of changed images {' and '.join(found)}: it comes from another version of chexkeras, or "
            "is damaged."
        )
