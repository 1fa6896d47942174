"""A number with its interval, and a decision threshold that remembers its rule and the scores that chose it.

Nothing printed for a reader is a bare float.
"""

import math
import re
from dataclasses import dataclass

from chexkeras.arguments import checked
from chexkeras.results.record import Record

_PRINTED = 0.0005
"""How near to a bound a limit lies that is printed as the bound."""


@checked
@dataclass(frozen=True)
class Estimate(Record, nan=("value", "low", "high")):
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
        """Returns the estimate that has no value, with the reason.

        Args:
            reason: Why there is none, for a reader.
            n: Sample size, as far as there is one.
            confidence: Coverage an interval would claim, in (0, 1).
            method: How it would have been computed.
        """
        return cls(math.nan, math.nan, math.nan, confidence, n, method, reason)

    def unless_it_spans(self, least: float, most: float) -> "Estimate":
        """Returns the estimate, or none where its interval spans all that the number could be, as it would be printed.

        Such an interval says nothing, and a value beside it would pass for a result.

        Args:
            least: The smallest value that there could be.
            most: The largest one.

        Example:
            >>> print(Estimate(0.5, 0.0001, 0.9998, n=9).unless_it_spans(0, 1))
            not estimable: the interval spans everything from 0 to 1
        """
        if not (self.low < least + _PRINTED and self.high > most - _PRINTED):
            return self
        reason = f"the interval spans everything from {least:g} to {most:g}"
        reason += f" ({self.caution.partition(': ')[2]})" if self.caution else ""
        return Estimate.not_estimable(reason, n=self.n, confidence=self.confidence, method=self.method)

    def refuse_impossible(self) -> None:
        """Checks what was read: a confidence that is no share, or a count below none.

        Raises:
            ValueError: If it is so.
        """
        if not 0 < self.confidence < 1 or self.n < 0:
            raise ValueError(f"an estimate has the confidence {self.confidence:.4g} and n = {self.n}")

    @property
    def estimable(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    @property
    def caution(self) -> str:
        """What limits the interval, such as "approximate: worth 8 patients"; empty where nothing does.

        It is printed beside the number. Where few patients carry many images, an interval may cover less often than it
        says, whatever its method.
        """
        found = re.search(r"interval (approximate: worth [^;,]*)", self.method)
        return found[1] if found and self.estimable else ""

    def __str__(self) -> str:
        """Returns, for example, ``0.873 (95 % CI 0.812-0.917)`` or ``not estimable: no positives``."""
        if not self.estimable:
            return f"not estimable: {self.reason}"
        # "-0.517--0.026" would be hard to read.
        between = " to " if self.low < 0 else "-"
        caution = f"; {self.caution}" if self.caution else ""
        return f"{self.value:.3f} ({self.confidence * 100:g} % CI {self.low:.3f}{between}{self.high:.3f}{caution})"

    def __repr__(self) -> str:
        """Returns the same with the sample size, for the Python prompt."""
        return f"<Estimate: {self}, n = {self.n:,}>" if self.estimable else f"<Estimate: {self}>"


NOT_MEASURED = Estimate.not_estimable("not measured")
"""What stands where nothing was computed."""


@checked
@dataclass(frozen=True)
class AbstainBand(Record, nan=("low", "high")):
    """The scores round a threshold whose images are left open, frozen with it.

    Attributes:
        low: Smallest score that is left open; NaN where no band did what was asked.
        high: Largest score that is left open.
        rule: "share" or "accuracy", what the band was chosen for.
        target: The share of images that may be left open, or the accuracy that the other calls are to reach.
        coverage: Share of images that keep their call, on the scores that chose the band.
        accuracy: Share of right calls among these (optimistic; the claim is made on another split).
        note: One sentence for a reader: what limits the band, or why there is none.
    """

    low: float
    high: float
    rule: str
    target: float
    coverage: Estimate
    accuracy: Estimate
    note: str = ""

    def holds(self, score: float) -> bool:
        """Returns whether a score is left open.

        Args:
            score: A score, in [0, 1].
        """
        return self.low <= score <= self.high

    def refuse_impossible(self) -> None:
        """Checks what was read.

        Raises:
            ValueError: If an end lies outside of the scores or the ends are in the wrong order, or the rule is unknown.
        """
        ends = math.isnan(self.low) + math.isnan(self.high)
        if ends == 1 or (ends == 0 and not 0 <= self.low <= self.high <= 1):
            raise ValueError(f"a band of uncertain scores from {self.low:.4g} to {self.high:.4g}")
        if self.rule not in ("share", "accuracy") or not 0 < self.target <= 1:
            raise ValueError(f"a band chosen for {self.rule!a:.40} {self.target:.4g}")

    def __str__(self) -> str:
        """Returns the band and what it was chosen for, as part of a sentence."""
        aim = f"at most {self.target:g} of the images" if self.rule == "share" else f"accuracy {self.target:g}"
        if math.isnan(self.low):
            return f"none for {aim}: {self.note.removeprefix('No band: ').rstrip('.')}"
        return f"{self.low:.4g} to {self.high:.4g}, chosen for {aim}"


@checked
@dataclass(frozen=True)
class OperatingPoint(Record):
    """A decision threshold, frozen with the rule and the scores that chose it.

    An image is called positive when ``score >= threshold``.

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
        specificity: At the threshold, on the scores that chose it (optimistic; the claim is made on another split).
        note: One sentence for a reader on what the rule guarantees and what it does not.
        inequality: When an image is called positive, in words.
        abstain: The scores round the threshold whose images are left open; None where every image is called.
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
    abstain: AbstainBand | None = None

    def call(self, score: float) -> str:
        """Returns what is said of an image: "positive", "negative", or "uncertain" within the band that is left open.

        Args:
            score: Its score, in [0, 1].
        """
        if self.abstain is not None and self.abstain.holds(score):
            return "uncertain"
        return "positive" if score >= self.threshold else "negative"

    def __str__(self) -> str:
        """Returns the threshold, its rule, and which scores chose it, as one sentence."""
        aim = "" if self.target is None else f" {self.target:g}"
        chosen = "stated" if self.chosen_on == "stated" else f"chosen on {self.chosen_on}"
        images = f" ({self.n_positive:,} positive, {self.n_negative:,} negative images)" if self.n_positive else ""
        return f"{self.finding}: {self.threshold:.4g} by the rule {self.rule}{aim}, {chosen}{images}"

    def refuse_impossible(self) -> None:
        """Checks what was read: with a threshold outside [0, 1] every image would get the same call.

        Raises:
            ValueError: If the threshold is outside, a count is below none, or the inequality is another one.
        """
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"the threshold {self.threshold:.4g} lies outside of the scores, 0 to 1")
        if self.n_positive < 0 or self.n_negative < 0:
            raise ValueError("an operating point counts fewer than no images")
        band = self.abstain
        if band is not None and not math.isnan(band.low) and not band.low <= self.threshold <= band.high:
            raise ValueError(f"the threshold {self.threshold:.4g} lies outside of its band of uncertain scores")
        if self.inequality != OperatingPoint.inequality:
            raise ValueError(f"an operating point calls by another inequality than {OperatingPoint.inequality!r}")
