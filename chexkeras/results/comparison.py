"""Whether two models, or two runs, can be told apart."""

from dataclasses import dataclass

from chexkeras.arguments import checked
from chexkeras.results.estimate import Estimate
from chexkeras.results.record import Record

VERDICTS = ("better", "worse", "not distinguishable", "not estimable")
"""What can be said of the first against the second; of a statistic that has no better direction, "different"."""


@checked
@dataclass(frozen=True)
class Comparison(Record, nan=("p_value", "p_adjusted")):
    """One statistic of two models on the same images, of two sites with different patients, or of two publications.

    Attributes:
        first: Name of the first model.
        second: Name of the second.
        finding: The finding; empty where there is one without a name.
        statistic: For example "AUROC" or "sensitivity".
        first_value: Of the first model.
        second_value: Of the second.
        difference: First minus second, with its interval.
        p_value: Two-sided; NaN where there is none.
        p_adjusted: After Holm's correction over the comparisons made together; equals `p_value` for a single one.
        verdict: One of `VERDICTS`, from the adjusted p-value at 1 - confidence; "different" in place of "better" and
            "worse" where neither direction is better.
        margin: The stated non-inferiority margin, or None.
        non_inferior: Whether the interval of the difference lies above ``-margin``; None without a margin.
        method: How it was compared.
    """

    first: str
    second: str
    finding: str
    statistic: str
    first_value: Estimate
    second_value: Estimate
    difference: Estimate
    p_value: float
    p_adjusted: float
    verdict: str
    margin: float | None = None
    non_inferior: bool | None = None
    method: str = ""

    @classmethod
    def measured(
        cls,
        names: tuple[str, str],
        finding: str,
        statistic: str,
        values: tuple[Estimate, Estimate],
        difference: Estimate,
        p_value: float,
        *,
        margin: float | None = None,
    ) -> "Comparison":
        """Returns a comparison as it was measured, not yet judged.

        Args:
            names: Of the first and of the second model.
            finding: The finding.
            statistic: For example "AUROC".
            values: Of the first and of the second model.
            difference: First minus second; its method becomes that of the comparison.
            p_value: Two-sided; NaN where there is none.
            margin: The stated non-inferiority margin, or None.
        """
        verdict, method = "not estimable", difference.method
        return cls(
            *names, finding, statistic, *values, difference, p_value, p_value, verdict, margin=margin, method=method
        )

    def __str__(self) -> str:
        """Returns the verdict as a sentence with the difference and its interval."""
        about = f"{self.finding}, {self.statistic}" if self.finding else self.statistic
        if self.verdict == "not estimable":
            return f"{about}: {self.first} and {self.second} cannot be compared"
        told = {"better": "is better than", "worse": "is worse than", "different": "differs from"}
        words = told.get(self.verdict, "is not distinguishable from")
        text = f"{about}: {self.first} {words} {self.second}, difference {self.difference}"
        # An interval that leaves out 0 beside "not distinguishable" would read as a contradiction.
        if self.verdict not in told and self.difference.low * self.difference.high > 0.0:
            text += f", which is less than Holm's correction over all comparisons asks for (p = {self.p_adjusted:.2g})"
        if self.non_inferior is not None:
            shown = "shown" if self.non_inferior else "not shown"
            text += f"; non-inferiority within {self.margin:g} {shown}"
        return text
