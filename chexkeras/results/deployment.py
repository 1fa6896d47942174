"""What a threshold would mean where the finding is as frequent as stated."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from chexkeras.results.estimate import Estimate


@dataclass(frozen=True)
class Deployment:
    """Predictive values and counts at a stated prevalence, from sensitivity and specificity as measured.

    Attributes:
        prevalence: The stated share of positives, in (0, 1).
        ppv: Positive predictive value there.
        npv: Negative predictive value there.
        true_positives_per_1000: Positive images found, of 1,000 images of all kinds; likewise the next three.
        false_negatives_per_1000: Positive images missed.
        false_positives_per_1000: Negative images called positive.
        true_negatives_per_1000: Negative images called negative.
    """

    prevalence: float
    ppv: Estimate
    npv: Estimate
    true_positives_per_1000: Estimate
    false_negatives_per_1000: Estimate
    false_positives_per_1000: Estimate
    true_negatives_per_1000: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Deployment":
        """Rebuilds the figures from `to_dict`."""
        estimates = {field.name: Estimate.from_dict(data[field.name]) for field in fields(cls)[1:]}
        return cls(data["prevalence"], **estimates)
