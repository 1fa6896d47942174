"""The rules by which a document is checked: what they are told of the run, what they find, and how they are registered.

A rule is a function decorated with `rule`; nothing else lists it.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chexkeras.report.lint.document import Document, Passage
from chexkeras.report.lint.language import Number, Subject

_LONGEST_QUOTE = 100
_MOST_PLACES = 6


@dataclass(frozen=True)
class Place:
    """A line of the document, and what stands there."""

    line: int
    quote: str

    def __str__(self) -> str:
        """Returns, for example, ``line 12: "the threshold is 0.40"``."""
        return f'line {self.line}: "{self.quote}"'


@dataclass(frozen=True)
class ReportIssue:
    """One thing in a document that does not hold together.

    Attributes:
        rule: The rule's name.
        message: What is wrong.
        places: Where, in the order of the document.
        advice: What to do.
    """

    rule: str
    message: str
    places: tuple[Place, ...]
    advice: str

    def __str__(self) -> str:
        """Returns the rule, what is wrong, where, and what to do, as lines for a person."""
        shown = [f"  {place}" for place in self.places[:_MOST_PLACES]]
        more = len(self.places) - _MOST_PLACES
        shown += [f"  and {more} more"] if more > 0 else []
        return "\n".join([f"{self.rule}: {self.message}", *shown, f"  to do: {self.advice}"])


@dataclass(frozen=True)
class RunFacts:
    """What the run says that a document describes.

    Attributes:
        views: Views of the images used.
        ages: Youngest and oldest patient, years; None where no age is known.
        thresholds: The frozen threshold of each finding.
        parameters: Every count of parameters that is one of the model's.
        verdicts: The verdict by finding and measure: ("Effusion", "sensitivity"); "" stands for all of them.
        leaky: Whether parts share patients.
        leaky_weights: Whether the weights that training started from have seen images that are measured.
        synthetic: Whether the images are synthetic.
        sampled: Whether sampling set the share of positives.
    """

    views: frozenset[str] = frozenset()
    ages: tuple[float, float] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    parameters: frozenset[int] = frozenset()
    verdicts: Mapping[tuple[str, str], str] = field(default_factory=dict)
    leaky: bool = False
    leaky_weights: bool = False
    synthetic: bool = False
    sampled: bool = False


Found = tuple[str, tuple[Place, ...], str]
"""What a rule finds: what is wrong, where, and what to do."""

Rule = Callable[[Document, RunFacts | None], Iterator[ReportIssue]]
RULES: dict[str, Rule] = {}
"""Every rule by its name, in the order in which findings are listed."""


def rule(name: str) -> Callable[[Callable[[Document, RunFacts | None], Iterator[Found]]], Rule]:
    """Registers a check as a rule.

    Args:
        name: The rule's name, as it stands before what was found.
    """

    def register(check: Callable[[Document, RunFacts | None], Iterator[Found]]) -> Rule:
        @functools.wraps(check)
        def named(document: Document, known: RunFacts | None) -> Iterator[ReportIssue]:
            return (ReportIssue(name, *found) for found in check(document, known))

        RULES[name] = named
        return named

    return register


def place(passage: Passage, start: int = 0, end: int | None = None) -> Place:
    """Returns where a passage stands, quoted around the words from `start` to `end`."""
    text = " | ".join(cell for cell in passage.row if cell) if passage.row else passage.text
    if len(text) > _LONGEST_QUOTE:
        middle = 0 if passage.row else (start + (start if end is None else end)) // 2
        at = max(0, min(middle - _LONGEST_QUOTE // 2, len(text) - _LONGEST_QUOTE))
        cut = text[at : at + _LONGEST_QUOTE]
        text = f"{'…' if at else ''}{cut.strip()}{'…' if at + _LONGEST_QUOTE < len(text) else ''}"
    return Place(passage.line, " ".join(text.split()))


def places(passages: Iterable[Passage]) -> tuple[Place, ...]:
    """Returns where passages stand, each line once, in the order of the document."""
    found = {where.line: where for where in map(place, passages)}
    return tuple(found[line] for line in sorted(found))


def known_from_run(run: Any, answers: Any = None, *, without_model: bool = False) -> RunFacts:
    """Reads what the checks need to know from a run.

    Args:
        run: A `Run`.
        answers: The author's `Answers`, whose goals the verdicts are held against; the conventional goals without.
        without_model: Whether the model file may be missing from the run folder.

    Raises:
        FileNotFoundError: If a file of the run folder is missing.
        ValueError: If a file lacks a field.
    """
    from chexkeras.report.facts.collect import collect_facts

    return known_from_facts(collect_facts(run, answers=answers, without_model=without_model))


def known_from_facts(facts: Any) -> RunFacts:
    """Returns what the checks need to know of a run, from the facts of its report.

    Args:
        facts: The report's `Facts`.
    """
    counts = {int(facts["network.parameters"].value)}
    for stage in facts["stages"].value:
        counts |= {int(facts[f"stage.{stage}.{kind}_parameters"].value) for kind in ("trainable", "frozen")}
    findings = list(facts["evaluated"].value)
    verdicts = {("", ""): str(facts["verdict"].value)}
    for finding in findings:
        verdicts[finding, ""] = str(facts[f"verdict.{finding}"].value)
        for measure in ("sensitivity", "specificity"):
            verdicts[finding, measure] = str(facts[f"verdict.{finding}.{measure}"].value)
    low, high = (float(facts[f"data.all.age_{end}"].value) for end in ("min", "max"))
    return RunFacts(
        views=frozenset(facts["data.all.views"].value),
        ages=(low, high) if low == low else None,
        thresholds={
            finding: float(facts[f"point.{finding}.threshold"].value)
            for finding in findings
            if facts[f"point.{finding}"].value
        },
        parameters=frozenset(counts),
        verdicts=verdicts,
        leaky=bool(facts["split.leaky"].value),
        leaky_weights=facts["weights.seen_here"].value in ("test", "validation"),
        synthetic=bool(facts["source.synthetic"].value),
        sampled=bool(facts["prevalence.sampled"].value),
    )


@dataclass(frozen=True)
class StatedNumber:
    """A number said of something, where, and of what."""

    number: Number
    passage: Passage
    subject: Subject
    kind: str = ""


def conflicts(found: list[StatedNumber]) -> list[StatedNumber]:
    """Returns every entry that differs from another one on the same subject."""
    told = [entry for entry in found if entry.subject.told]
    # A number without a name belongs to what has that number.
    kept = [entry for entry in found if entry.subject.told or not any(entry.number.agrees(e.number) for e in told)]
    clashing: dict[int, StatedNumber] = {}
    for (i, one), (j, other) in itertools.combinations(enumerate(kept), 2):
        if not one.number.agrees(other.number) and not one.subject.apart_from(other.subject):
            clashing |= {i: one, j: other}
    return [clashing[at] for at in sorted(clashing)]


def listed(found: list[StatedNumber]) -> str:
    """Returns the numbers as printed, each once, for a message."""
    return " and ".join(dict.fromkeys(entry.number.text for entry in found))
