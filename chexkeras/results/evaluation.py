"""What was measured on one split, finding by finding; JSON both ways, a table in a notebook.

From the parts to the whole: calibration, what a threshold means at a stated prevalence, groups of patients or images,
one finding, all findings.
"""

import html
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from chexkeras import plain
from chexkeras.arguments import checked
from chexkeras.checks import no_such, one_of
from chexkeras.plain import PlainTable
from chexkeras.results.estimate import NOT_MEASURED, Estimate, OperatingPoint
from chexkeras.results.record import Record


@dataclass(frozen=True)
class ReliabilityBin(Record):
    """One group of images with neighbouring scores.

    Attributes:
        low: Smallest score in it.
        high: Largest score in it.
        n_images: How many images.
        n_positive: How many of them are positive.
        mean_score: What the model said on average.
        observed: The share of positives, what happened.
    """

    low: float
    high: float
    n_images: int
    n_positive: int
    mean_score: float
    observed: Estimate


@dataclass(frozen=True)
class Calibration(Record, nan=("reliability", "resolution", "uncertainty")):
    """How well scores agree with observed shares, for one finding on one split.

    Attributes:
        n_images: Images with a known label.
        n_positive: Positives among them.
        intercept: Calibration in the large: the shift of the log odds that the scores lack; 0 is perfect.
        slope: Of the log odds; 1 is perfect, below 1 the scores are too extreme.
        brier: Mean squared difference of score and label; 0 is perfect.
        reliability: Of the binned scores: squared distance to the observed shares, 0 is perfect.
        resolution: Of the binned scores: how far the bins' shares lie from the prevalence, larger is better.
        uncertainty: prevalence x (1 - prevalence), what no model can change.
        expected_calibration_error: Mean absolute distance of score and observed share over bins of equal size.
        bins: The reliability table.
        scores: Which scores were measured: "as the model gave them", or recalibrated and how.
    """

    n_images: int
    n_positive: int
    intercept: Estimate
    slope: Estimate
    brier: Estimate
    reliability: float
    resolution: float
    uncertainty: float
    expected_calibration_error: Estimate
    bins: tuple[ReliabilityBin, ...]
    scores: str = "as the model gave them"

    @property
    def skill(self) -> float:
        """The Brier skill score: 1 is perfect, 0 no better than always saying the prevalence."""
        return 1 - self.brier.value / self.uncertainty if self.uncertainty else float("nan")


@dataclass(frozen=True)
class Deployment(Record):
    """Predictive values and counts at a stated prevalence, from sensitivity and specificity as measured.

    Attributes:
        prevalence: The stated share of positives, in (0, 1).
        ppv: Positive predictive value there.
        npv: Negative predictive value there.
        true_positives_per_1000: Positive images found, of 1,000 images of all kinds.
        false_negatives_per_1000: Positive images missed, of 1,000 images of all kinds.
        false_positives_per_1000: Negative images called positive, of 1,000 images of all kinds.
        true_negatives_per_1000: Negative images called negative, of 1,000 images of all kinds.
    """

    prevalence: float
    ppv: Estimate
    npv: Estimate
    true_positives_per_1000: Estimate
    false_negatives_per_1000: Estimate
    false_positives_per_1000: Estimate
    true_negatives_per_1000: Estimate


STATISTICS = ("auroc", "sensitivity", "specificity")
"""What is measured in every group."""


@dataclass(frozen=True)
class Subgroup(Record):
    """One group: its size and what was measured in it.

    Attributes:
        level: The group, for example "F", "60-74" or "AP".
        n_images: Images with a known label.
        n_patients: Patients among them.
        n_positive: Positive images.
        n_negative: Negative images.
        auroc: In the group; not estimable with the reason "too few ..." where the group is too small to say anything.
        sensitivity: At the operating point; not estimable without one, or where the group has too few positive images.
        specificity: At the operating point; not estimable without one, or where it has too few negative images.
    """

    level: str
    n_images: int
    n_patients: int
    n_positive: int
    n_negative: int
    auroc: Estimate
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class Interaction(Record, nan=("p_value", "p_adjusted")):
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


@checked
@dataclass(frozen=True)
class SubgroupAnalysis(Record):
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
        one_of(statistic, STATISTICS, "statistic")
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
        return PlainTable(rows)


@dataclass(frozen=True)
class SelectivePrediction(Record):
    """What a threshold does where images within a frozen band round it are left open.

    Attributes:
        n_images: Images with a known label.
        n_called: Those that keep their call.
        coverage: Share of images that keep their call.
        accuracy: Share of right calls among these, at their prevalence.
        sensitivity: Share of positives among these that are called positive.
        specificity: Share of negatives among these that are called negative.
    """

    n_images: int
    n_called: int
    coverage: Estimate
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class FindingEvaluation(Record):
    """How well one finding is recognised on one split.

    Attributes:
        finding: The finding.
        n_images: Images with a known label.
        n_patients: Patients among them.
        n_positive: Images labelled positive.
        n_negative: Images labelled negative.
        prevalence: Share of positives.
        auroc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve, as average precision; compare with `prevalence`.
        operating_point: The frozen threshold, or None where none was chosen.
        true_positives: Positive images called positive at the operating point; None without one.
        false_negatives: Positive images not called at the operating point; None without one.
        false_positives: Negative images called positive at the operating point; None without one.
        true_negatives: Negative images not called at the operating point; None without one.
        sensitivity: Share of positives called positive at the operating point; not estimable without one, as all rates
            below.
        specificity: Share of negatives called negative.
        ppv: Positive predictive value among these images, whatever sampling made their prevalence.
        npv: Negative predictive value among these images, whatever sampling made their prevalence.
        likelihood_ratio_positive: sensitivity / (1 - specificity).
        likelihood_ratio_negative: (1 - sensitivity) / specificity.
        accuracy: Share of images called rightly.
        f1: Harmonic mean of PPV and sensitivity; it holds at this prevalence only.
        mcc: Matthews correlation coefficient, -1 to 1.
        deployment: What the threshold would mean at stated prevalences.
        calibration: How far the scores can be read as probabilities; None where that was not measured.
        subgroups: One entry for each column asked for.
        selective: What is left where images near the threshold are left open; None where all are called, as usual.
    """

    finding: str
    n_images: int
    n_patients: int
    n_positive: int
    n_negative: int
    prevalence: Estimate
    auroc: Estimate
    average_precision: Estimate
    operating_point: OperatingPoint | None
    true_positives: int | None
    false_negatives: int | None
    false_positives: int | None
    true_negatives: int | None
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    likelihood_ratio_positive: Estimate = NOT_MEASURED
    likelihood_ratio_negative: Estimate = NOT_MEASURED
    accuracy: Estimate = NOT_MEASURED
    f1: Estimate = NOT_MEASURED
    mcc: Estimate = NOT_MEASURED
    deployment: tuple[Deployment, ...] = ()
    calibration: Calibration | None = None
    subgroups: tuple[SubgroupAnalysis, ...] = ()
    selective: SelectivePrediction | None = None

    def __str__(self) -> str:
        """Returns every number with its interval and what it was measured on, a line each."""
        point = self.operating_point
        counts = {
            "sensitivity": f"{self.true_positives} of {self.n_positive:,} positive images",
            "specificity": f"{self.true_negatives} of {self.n_negative:,} negative images",
        }
        rows = {
            "AUROC": str(self.auroc),
            "average precision": f"{self.average_precision}; prevalence {plain.number(self.prevalence.value)}",
            "threshold": "none chosen" if point is None else str(point).removeprefix(f"{point.finding}: "),
        }
        for name in ("sensitivity", "specificity", "ppv", "npv", "f1"):
            found = getattr(self, name)
            if found.estimable or point is not None:
                rows[plain.words(name)] = f"{found}; {counts[name]}" if name in counts and point else str(found)
        images = f"{self.n_positive:,} positive of {self.n_images:,} images, {self.n_patients:,} patients"
        if self.selective is not None and point is not None:
            rows["left open"] = f"scores {point.abstain}"
            rows["then called"] = f"{self.selective.coverage} of the images"
            rows["rightly"] = f"{self.selective.accuracy} of them; of all images {self.accuracy}"
        wide = max(map(len, rows))
        lines = [plain.wrapped(text, f"  {name:<{wide}}  ") for name, text in rows.items()]
        if self.calibration is not None:
            lines.append(plain.wrapped(f"calibration: slope {self.calibration.slope}, intercept "
                                       f"{self.calibration.intercept}", "  ", "    "))  # fmt: skip
        grouped = ", ".join(analysis.column for analysis in self.subgroups)
        lines += [plain.wrapped(f"groups, each printed by .subgroups: {grouped}", "  ", "    ")] if grouped else []
        return "\n".join([plain.wrapped(f"{self.finding}: {images}", later="    "), *lines])


_LISTED = 3
"""Findings up to which `print` lists each by itself."""


@checked
@dataclass(frozen=True)
class Evaluation(Record):
    """Everything measured on one split; JSON both ways, a table in a notebook.

    Attributes:
        split: The part measured, for example "test".
        scores_fingerprint: SHA-256 of the scores measured.
        findings: One entry per finding, in target order.
        cautions: Sentences a reader must see beside the numbers (synthetic images, leaky split, ...).
        macro_auroc: Mean AUROC of the findings that have both classes; `method` names those that have not.
    """

    split: str
    scores_fingerprint: str
    findings: tuple[FindingEvaluation, ...]
    cautions: tuple[str, ...] = ()
    macro_auroc: Estimate = NOT_MEASURED

    def __getitem__(self, finding: str) -> FindingEvaluation:
        """Returns the evaluation of one finding; raises KeyError naming those there are."""
        for entry in self.findings:
            if entry.finding == finding:
                return entry
        raise KeyError(no_such(finding, (entry.finding for entry in self.findings), "was not evaluated"))

    def __str__(self) -> str:
        """Returns the numbers as text of 80 columns, cautions first: a list for a few findings, tables for many."""
        lines = plain.cautions(self.cautions)
        if len(self.findings) <= _LISTED:
            lines += [f"Results on the {self.split} part", *map(str, self.findings)]
        else:
            lines.append(
                plain.wrapped(
                    f"Results on the {self.split} part, positive images of all whose label is known, with "
                    f"{self.findings[0].auroc.confidence * 100:g} % confidence intervals"
                )
            )
            lines += ["", self._as_tables()]
        if len(self.findings) > 1:
            _, _, left_out = self.macro_auroc.method.partition("; left out: ")
            without = f"; without {left_out}" if left_out else ""
            lines.append(plain.wrapped(f"Mean AUROC of the findings: {self.macro_auroc}{without}"))
        return "\n".join(lines)

    def _as_tables(self) -> str:
        columns = {
            "finding": [entry.finding for entry in self.findings],
            "positive": [f"{entry.n_positive:,} of {entry.n_images:,}" for entry in self.findings],
            "patients": [f"{entry.n_patients:,}" for entry in self.findings],
        }
        notes = plain.Notes()
        for name in ("auroc", "sensitivity", "specificity", "average_precision"):
            columns[plain.words(name)] = [notes.cell(getattr(entry, name)) for entry in self.findings]
        points = [entry.operating_point for entry in self.findings]
        columns["threshold"] = [f"{point.threshold:.4g}" if point else "none chosen" for point in points]
        return "\n".join([plain.table(columns), *notes.lines()])

    def to_frame(self) -> pd.DataFrame:
        """Returns one row per finding, each number with its interval as text."""
        rows = [
            {
                "finding": entry.finding,
                "images": entry.n_images,
                "patients": entry.n_patients,
                "positives": entry.n_positive,
                "AUROC": str(entry.auroc),
                "average precision": str(entry.average_precision),
                "threshold": f"{entry.operating_point.threshold:.4g}" if entry.operating_point else "none chosen",
                "sensitivity": str(entry.sensitivity),
                "specificity": str(entry.specificity),
                "PPV": str(entry.ppv),
                "NPV": str(entry.npv),
            }
            for entry in self.findings
        ]
        return PlainTable(rows)

    def _repr_html_(self) -> str:
        notes = "".join(f"<p><strong>Caution:</strong> {html.escape(caution)}</p>" for caution in self.cautions)
        table = self.to_frame().set_index("finding").T.to_html()
        mean = f" Mean AUROC of the findings: {html.escape(str(self.macro_auroc))}." if len(self.findings) > 1 else ""
        return f"<p>Measured on the {html.escape(self.split)} part.{mean}</p>{table}{notes}"

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Reads an evaluation written by `save`."""
        return cls.read(path)
