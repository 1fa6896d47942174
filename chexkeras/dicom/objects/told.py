"""What is told of one film, as plain values: findings with scores and calls, the algorithm and how it was tested."""

from dataclasses import dataclass

from chexkeras.arguments import checked
from chexkeras.checks import one_of
from chexkeras.results import Estimate

NOT_FOR_CLINICAL_USE = "NOT FOR CLINICAL USE"
"""What stands in every object unless the sponsor names the marketing authorisation of the device."""

POSITIVE, NEGATIVE, UNCERTAIN = "positive", "negative", "uncertain"
CALLS = (POSITIVE, NEGATIVE, UNCERTAIN)
"""What a score is called at the frozen threshold, as results call it."""


@checked
@dataclass(frozen=True)
class MeasuredFinding:
    """What was measured of one finding on the run's test part, at its frozen threshold.

    Attributes:
        finding: The finding, as the run spells it.
        threshold: The frozen threshold; a score from here on is called positive.
        rule: How the threshold was chosen, in words.
        auroc: Area under the ROC curve with its interval and n.
        sensitivity: At the threshold, with its interval and n.
        specificity: At the threshold, with its interval and n.
    """

    finding: str
    threshold: float
    rule: str
    auroc: Estimate
    sensitivity: Estimate
    specificity: Estimate

    def lines(self) -> tuple[str, ...]:
        """Returns a line for each figure, with its interval and n, or why there is none."""
        named = (("AUROC", self.auroc), ("sensitivity", self.sensitivity), ("specificity", self.specificity))
        return tuple(f"test {name}: {_figure(estimate)}" for name, estimate in named)


def _figure(estimate: Estimate) -> str:
    if not estimate.estimable:
        return str(estimate)
    interval = f"{estimate.confidence:.0%} CI {estimate.low:.3f} to {estimate.high:.3f}"
    caution = f"; {estimate.caution}" if estimate.caution else ""
    return f"{estimate.value:.3f} ({interval}, n = {estimate.n}{caution})"


@checked
@dataclass(frozen=True)
class DeviceFacts:
    """The algorithm that gave the result.

    Attributes:
        name: What it is called.
        version: Its version.
        manufacturer: Who made it.
        fingerprint: Hexadecimal digits that change with its model, its thresholds and its version.
        tested: What was measured of each finding, in the order of the model's outputs.
        cautions: Sentences that a reader must see beside any number.
        authorisation: The marketing authorisation that the sponsor names; empty where there is none, and every object
            then says `NOT_FOR_CLINICAL_USE`.
    """

    name: str
    version: str
    manufacturer: str
    fingerprint: str
    tested: tuple[MeasuredFinding, ...]
    cautions: tuple[str, ...] = ()
    authorisation: str = ""

    @property
    def mark(self) -> str:
        """What every object says first of its use."""
        return f"Authorisation: {self.authorisation}" if self.authorisation else NOT_FOR_CLINICAL_USE


@checked
@dataclass(frozen=True)
class ScoredFinding:
    """What the device says of one finding on one film.

    Attributes:
        finding: The finding.
        score: The model's output, 0 to 1.
        threshold: The threshold that it was compared with.
        call: One of `CALLS`.
    """

    finding: str
    score: float
    threshold: float
    call: str

    def __post_init__(self) -> None:
        one_of(self.call, CALLS, "call")
        if not (0 <= self.score <= 1 and 0 <= self.threshold <= 1):
            raise ValueError(
                f"score {self.score:.4g} and threshold {self.threshold:.4g} of {self.finding} must lie in 0 to 1."
            )


@checked
@dataclass(frozen=True)
class FilmResult:
    """What became of one film: it was scored, or was not assessed, with the reason.

    Attributes:
        findings: What was found; empty for a film that was not assessed.
        reasons: Why it was not assessed, a sentence each, without patient text; empty where it was.
        warnings: What a reader must know of this film, a sentence each, such as warnings of the gate.
        engine: What computed the scores; empty for a film that was not assessed.
        profile: The profile of the gate that judged the film.
    """

    findings: tuple[ScoredFinding, ...]
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    engine: str = ""
    profile: str = ""

    def __post_init__(self) -> None:
        if bool(self.findings) == bool(self.reasons):
            raise ValueError(
                f"a film has findings or reasons why it was not assessed; {len(self.findings)} finding(s) and "
                f"{len(self.reasons)} reason(s) came."
            )

    @property
    def assessed(self) -> bool:
        """Whether the film was scored."""
        return bool(self.findings)

    def key(self) -> str:
        """Returns what tells this result from another of the same film by the same device.

        Scores are not in it: processors round differently, and the same run on the same film is to be recognised.
        """
        calls = ";".join(f"{each.finding}={each.call}@{each.threshold!r}" for each in self.findings)
        return "|".join((calls, *self.reasons, *self.warnings, self.engine, self.profile))
