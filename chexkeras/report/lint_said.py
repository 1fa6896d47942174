"""Numbers that a document says of something, and which of them contradict each other."""

import itertools
from dataclasses import dataclass

from chexkeras.report.lint.document import Passage
from chexkeras.report.lint.language import Number, Subject


@dataclass(frozen=True)
class Said:
    """A number said of something, where, and of what."""

    number: Number
    passage: Passage
    subject: Subject
    kind: str = ""


def conflicts(found: list[Said]) -> list[Said]:
    """Returns every entry that differs from another one on the same subject."""
    told = [entry for entry in found if entry.subject.told]
    # A number without a name belongs to what has that number.
    kept = [entry for entry in found if entry.subject.told or not any(entry.number.agrees(e.number) for e in told)]
    clashing: dict[int, Said] = {}
    for (i, one), (j, other) in itertools.combinations(enumerate(kept), 2):
        if not one.number.agrees(other.number) and not one.subject.apart_from(other.subject):
            clashing |= {i: one, j: other}
    return [clashing[at] for at in sorted(clashing)]


def listed(found: list[Said]) -> str:
    """Returns the numbers as printed, each once, for a message."""
    return " and ".join(dict.fromkeys(entry.number.text for entry in found))
