"""What evaluation hands on: numbers that carry their interval, thresholds that carry their rule, and their JSON.

Nothing printed for a reader is a bare float. An `Estimate` is a value with its interval, sample size and method, or
says why there is none; an `OperatingPoint` is a threshold that remembers which scores chose it.
"""

import html
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras import files


@dataclass(frozen=True)
class Estimate:
    """One number with its confidence interval.

    Attributes:
        value: The point estimate; NaN when it cannot be estimated.
        low: Lower confidence limit.
        high: Upper confidence limit.
        confidence: Coverage the interval claims, in (0, 1).
        n: Sample size behind the number (images unless `method` says otherwise).
        method: How value and interval were computed.
        reason: Why there is no number; empty when there is one.
    """

    value: float
    low: float
    high: float
    confidence: float = 0.95
    n: int = 0
    method: str = ""
    reason: str = ""

    @classmethod
    def not_estimable(cls, reason: str, *, n: int = 0, confidence: float = 0.95, method: str = "") -> "Estimate":
        """Returns the estimate that has no value, with the reason."""
        return cls(math.nan, math.nan, math.nan, confidence, n, method, reason)

    @property
    def estimable(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    def __str__(self) -> str:
        """Returns, for example, ``0.873 (95 % CI 0.812-0.917)`` or ``not estimable: no positives``."""
        if not self.estimable:
            return f"not estimable: {self.reason}"
        return f"{self.value:.3f} ({self.confidence * 100:g} % CI {self.low:.3f}-{self.high:.3f})"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Estimate":
        """Rebuilds an estimate from `to_dict`; null numbers become NaN."""
        numbers = {name: math.nan if data[name] is None else data[name] for name in ("value", "low", "high")}
        return cls(**{**data, **numbers})


@dataclass(frozen=True)
class OperatingPoint:
    """A decision threshold, frozen with the rule and the scores that chose it.

    A film is called positive when ``score >= threshold``.

    Attributes:
        finding: The finding it decides.
        threshold: In the score's units, [0, 1], stored exactly.
        rule: The rule's name, for example "sensitivity".
        target: What the rule aimed at (a sensitivity, a specificity, ...); None for rules without one.
        chosen_on: The part that chose it, for example "validation"; "stated" when no data chose it.
        scores_fingerprint: SHA-256 of the scores that chose it; empty when no data chose it.
        n_positive: Positives among those scores.
        n_negative: Negatives among those scores.
        sensitivity: At the threshold, on the scores that chose it (optimistic; the claim is made on another split).
        specificity: Likewise.
        note: One sentence for a reader on what the rule guarantees and what it does not.
    """

    finding: str
    threshold: float
    rule: str
    target: float | None
    chosen_on: str
    scores_fingerprint: str
    n_positive: int
    n_negative: int
    sensitivity: Estimate
    specificity: Estimate
    note: str = ""
    inequality: str = "score >= threshold"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "OperatingPoint":
        """Rebuilds an operating point from `to_dict`."""
        nested = {name: Estimate.from_dict(data[name]) for name in ("sensitivity", "specificity")}
        return cls(**{**data, **nested})


@dataclass(frozen=True)
class FindingEvaluation:
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
        true_positives: Count at the operating point, likewise the three below; None without one.
        sensitivity: At the operating point, likewise the three below; not estimable without one.
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

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "FindingEvaluation":
        """Rebuilds the evaluation of a finding from `to_dict`."""
        estimates = {
            field.name: Estimate.from_dict(data[field.name]) for field in fields(cls) if field.type is Estimate
        }
        point = data["operating_point"]
        return cls(**{**data, **estimates, "operating_point": point and OperatingPoint.from_dict(point)})


@dataclass(frozen=True)
class Evaluation:
    """Everything measured on one split; JSON both ways, a table in a notebook.

    Attributes:
        split: The part measured, for example "test".
        scores_fingerprint: SHA-256 of the scores measured.
        findings: One entry per finding, in target order.
        cautions: Sentences a reader must see beside the numbers (synthetic films, leaky split, ...).
    """

    split: str
    scores_fingerprint: str
    findings: tuple[FindingEvaluation, ...]
    cautions: tuple[str, ...] = ()

    def __getitem__(self, finding: str) -> FindingEvaluation:
        """Returns the evaluation of one finding; raises KeyError naming those there are."""
        for entry in self.findings:
            if entry.finding == finding:
                return entry
        raise KeyError(f"{finding!r} was not evaluated; there are: {', '.join(e.finding for e in self.findings)}")

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
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        notes = "".join(f"<p><strong>Caution:</strong> {html.escape(caution)}</p>" for caution in self.cautions)
        table = self.to_frame().set_index("finding").T.to_html()
        return f"<p>Measured on the {html.escape(self.split)} part.</p>{table}{notes}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Evaluation":
        """Rebuilds an evaluation from `to_dict`."""
        entries = tuple(FindingEvaluation.from_dict(entry) for entry in data["findings"])
        return cls(**{**data, "findings": entries, "cautions": tuple(data["cautions"])})

    def save(self, path: str | Path) -> Path:
        """Writes the evaluation as JSON and returns the path."""
        return files.write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Reads an evaluation written by `save`."""
        return cls.from_dict(files.read_json(path))
