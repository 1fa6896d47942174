"""A decision threshold that remembers its rule and the scores that chose it."""

from dataclasses import asdict, dataclass
from typing import Any

from chexkeras.results.estimate import Estimate


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
