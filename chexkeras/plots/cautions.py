"""Cautions on figures: one short line that always fits, of which kinds there are; the sentences stand beside it."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from chexkeras.plots.layout.measures import text_inches

SEE = "see cautions"
_KINDS = tuple(
    (re.compile(pattern, re.IGNORECASE), words)
    for pattern, words in (
        (r"\bleaky weights\b", "weights that saw the images"),
        (r"\bleaky\b(?! weights)|also have images in another part", "leaky split"),
        (r"\bsynthetic\b|\bphantoms?\b", "synthetic images"),
        (r"case-control|not a random sample|enriched|equal numbers|was set when", "case-control sample"),
        (r"chosen controls|negatives? .*without any", "chosen controls"),
        (r"untrained|random weights", "untrained base"),
        (r"were trained on (is not|them)|trained on is not known", "weights of unknown training"),
        (r"not shown to depend on the model", "maps that failed a check"),
        (r"tells? (the )?classes apart|shortcut|thumbnail", "shortcuts in the data"),
        (r"patients are not known|patients not known", "patients not known"),
        (r"another version", "limits of another version"),
        (r"not the (one|scores)|not those|mixed up|replaced", "files that do not belong together"),
        (r"second look", "second look at the test part"),
        (r"too few|has no (positive|negative) image", "few images"),
        (r"few readers|readers say little|readers? only", "few readers"),
        (r"sites say little", "few sites"),
        (r"intervals .*(cover|approximate)|interval is approximate", "approximate intervals"),
        (r"heat map", "a map is no finding"),
    )
)
"""What cautions are about, the gravest first: words that tell, and how a figure names it."""


def cautions(note: "str | Iterable[str] | None", *bearers: Any) -> tuple[str, ...]:
    """Returns the cautions of a figure, a sentence each.

    Args:
        note: What the caller wants there: a sentence, several, or "" for none. None means whatever the data carry.
        *bearers: Objects which may carry cautions: an image table (through its source), an Evaluation, a Run.
    """
    if note is not None:
        return tuple(part for part in ([note] if isinstance(note, str) else note) if part)
    found: list[str] = []
    for bearer in bearers:
        attrs = getattr(bearer, "attrs", {})
        found.extend(getattr(attrs.get("source"), "cautions", ()) or attrs.get("cautions", ()))
        found.extend(getattr(bearer, "cautions", ()) or ())
    return tuple(dict.fromkeys(found))


def kinds(sentences: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """Returns which kinds of caution there are, the gravest first, and how many sentences are of no known kind.

    Args:
        sentences: The cautions.

    Example:
        >>> kinds(["Synthetic images, not clinical evidence.", "Ask Dr. Meier."])
        (('synthetic images',), 1)
    """
    told = [[words for pattern, words in _KINDS if pattern.search(caution)] for caution in sentences]
    found = {words for words_of_one in told for words in words_of_one}
    return tuple(words for _, words in _KINDS if words in found), sum(not words_of_one for words_of_one in told)


def short_line(sentences: Sequence[str], inches: float, points: float) -> str:
    """Returns one line that is no wider than its room: the sentences where they fit, otherwise their kinds.

    Args:
        sentences: The cautions.
        inches: Room for the line.
        points: Size of its type, which is italic.

    Returns:
        For example "Case-control sample; untrained base; 1 more; see cautions"; "" without cautions.
    """
    if not sentences:
        return ""
    named, others = kinds(sentences)
    lines = [" ".join(sentences)]
    for count in range(len(named), 0, -1):
        more = len(named) - count + others
        parts = [*named[:count], *([f"{more} more"] if more else []), SEE]
        lines.append("; ".join(parts))
    if named:
        lines.append(f"{named[0]} and more" if len(sentences) > 1 else named[0])
    lines += [f"{len(sentences)} {'caution' if len(sentences) == 1 else 'cautions'}; {SEE}", SEE]
    fitting = (line for line in lines if text_inches(line, points, style="italic") <= inches)
    line = next(fitting, lines[-1])
    return line[:1].upper() + line[1:]
