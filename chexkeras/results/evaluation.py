"""Everything measured on one split; JSON both ways, a table in a notebook."""

import html
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras import files
from chexkeras.results.estimate import NOT_MEASURED, Estimate
from chexkeras.results.finding import FindingEvaluation


@dataclass(frozen=True)
class Evaluation:
    """Everything measured on one split; JSON both ways, a table in a notebook.

    Attributes:
        split: The part measured, for example "test".
        scores_fingerprint: SHA-256 of the scores measured.
        findings: One entry per finding, in target order.
        cautions: Sentences a reader must see beside the numbers (synthetic films, leaky split, ...).
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
        mean = f" Mean AUROC of the findings: {html.escape(str(self.macro_auroc))}." if len(self.findings) > 1 else ""
        return f"<p>Measured on the {html.escape(self.split)} part.{mean}</p>{table}{notes}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Evaluation":
        """Rebuilds an evaluation from `to_dict`."""
        entries = tuple(FindingEvaluation.from_dict(entry) for entry in data["findings"])
        macro = Estimate.from_dict(data["macro_auroc"]) if "macro_auroc" in data else NOT_MEASURED
        return cls(**{**data, "findings": entries, "cautions": tuple(data["cautions"]), "macro_auroc": macro})

    def save(self, path: str | Path) -> Path:
        """Writes the evaluation as JSON and returns the path."""
        return files.write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Reads an evaluation written by `save`."""
        return cls.from_dict(files.read_json(path))
