"""How the checks read English: numbers, measures, intervals, names of models and parts, and what is denied."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chexkeras.findings import ALL
from chexkeras.models.backbones import BACKBONES
from chexkeras.report.lint.document import Document, Passage


def any_of(*patterns: str) -> re.Pattern[str]:
    """Returns one pattern of several, whatever the case of letters."""
    return re.compile("|".join(patterns), re.IGNORECASE)


MEASURES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "average precision": r"\baverage precision\b|\bAU-?PRC?\b|\bPR[- ]AUC\b",
        "AUROC": r"\bAU-?ROC\b|\bROC[- ]AUC\b|(?<!PR[- ])\bAUC\b|\barea under (?:the )?(?:ROC|receiver)[a-z -]*curve",
        "F score": r"\bF1\b(?:[- ]?scores?)?|\bF[- ]scores?\b",
        "accuracy": r"\baccuracy\b",
        "sensitivity": r"\bsensitivit(?:y|ies)\b|(?<![-–] )(?<!precision[-/])\brecall\b|\btrue positive rate\b",
        "specificity": r"\bspecificit(?:y|ies)\b|\btrue negative rate\b",
        "PPV": r"\bPPV\b|\bpositive predictive value\b|(?<!average )(?<!mixed )(?<!half )\bprecision\b(?![-/ ]+recall)",
        "NPV": r"\bNPV\b|\bnegative predictive value\b",
        "Matthews correlation": r"\bMCC\b|\bMatthews\b",
    }.items()
}
"""Measures of performance, by any of their names."""

DEPENDENT = ("average precision", "F score", "accuracy", "PPV", "NPV")
"""Measures that depend on the share of positives."""

NUMBER = re.compile(
    r"(?<![\w.,/])(?<!\d[eE]-)(?P<digits>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?|\.\d+)(?![\d]|[.,]\d)"
    r"(?:\s*(?P<unit>%|percent\b|million\b|thousand\b|[MmKk]\b))?(?!\w)"
)
_SCALE = {"%": 0.01, "percent": 0.01, "million": 1e6, "m": 1e6, "thousand": 1e3, "k": 1e3}

INTERVAL = re.compile(
    r"\bCIs?\b|\bintervals?\b|±|\+/-|\blimits?\b|\bbounds?\b|\bstandard errors?\b|"
    r"[\[(]\s*\d*\.\d+\s*%?\s*(?:[-–,;]|to)\s*\d*\.\d+",
    re.IGNORECASE,
)
"""Words and signs by which an interval is given, or said to be missing."""

RANGE = re.compile(r"(?<!\d)\d*\.\d+\s*%?\s*(?:[-–,;]|to)\s*[-−]?\d*\.\d+")
"""The two limits of an interval."""

_NEGATION = re.compile(
    r"\b(?:no|not|never|neither|nor|none|nothing|without|cannot|nobody|\w+n['’]t|whether|unless|if|would|could|"
    r"might|may|should|must|aims?|aimed|goals?|targets?|hop(?:e|es|ed|ing)|plan(?:s|ned)?)\b",
    re.IGNORECASE,
)
_BREAK = re.compile(
    r";|\b(?:but|however|yet|although|though|whereas|while)\b|,? and (?:we|our|ours|it|the|this|these)\b", re.IGNORECASE
)
_EMPHASIS = re.compile(r"\b(?:not only|not just|no doubt|without doubt|without question|no finding)\b", re.IGNORECASE)
_DENIED_AFTER = re.compile(r"^\W*(?:[\w'’-]+\W+){0,5}?(?:not|never|no|nothing|none|nobody)\b", re.IGNORECASE)

# Before a number: what is asked for, or the number of something else.
_OF_ELSE = any_of(r"\bat least\b", "≥", ">=", r"\bno less than\b", r"\bprevalence\b", r"\bthresholds?\b")

_NAMED = re.compile(
    r"\b(?P<kind>(?i:experiments?|exp\.?|runs?|models?|variants?|stages?|phases?|folds?|seeds?|config(?:uration)?s?))"
    r"[ #]*(?P<name>\d+[A-Za-z]?|[A-Z]\d*)\b"
)
# Published names are also written in parts, "ConvNeXt-Tiny"; "small CNN" in parts would be any small network.
NETWORKS = "|".join(
    "[- ]?".join(re.findall(r"DINOv\d|[A-Z]+(?![a-z])|[A-Z][a-z]+|\d+", name)) if entry.published else name
    for name, entry in BACKBONES.items()
)
"""Pattern of the names of the backbones that recipes have, whatever the case of letters."""
_KINDS = any_of(
    rf"\b(?:baseline|ensemble|{NETWORKS})\b",
    # Others of these families, which reports compare with.
    r"\b(?:(?:densenet|resnet|vgg)[- ]?\d+|efficientnet[- ]?\w+|convnext[- ]?(?:tiny|small|base|large|xlarge))\b",
)
_PARTS = {
    "train": re.compile(r"\btrain(?:ing)?\b", re.IGNORECASE),
    "validation": re.compile(r"\bval(?:idation)?\b|\bdev(?:elopment)?\b", re.IGNORECASE),
    "test": re.compile(r"\btest(?:ed)?\b|\bhold-?out\b", re.IGNORECASE),
}
_FINDINGS = {
    name: re.compile(rf"\b{re.escape(name).replace('_', '[ _]')}\b", re.IGNORECASE)
    for name in ALL
    if name != "Abnormal"
}


@dataclass(frozen=True)
class Number:
    """A number as printed: its value, and how far what it stands for may lie from it."""

    value: float
    tolerance: float
    start: int
    end: int
    text: str

    def agrees(self, other: "Number | float") -> bool:
        """Whether both can be roundings of one number."""
        value, tolerance = (other.value, other.tolerance) if isinstance(other, Number) else (float(other), 0.0)
        return abs(self.value - value) <= max(self.tolerance, tolerance) * (1 + 1e-9) + 1e-12


def _number(match: re.Match[str]) -> Number:
    digits = match["digits"].replace(",", "")
    scale = _SCALE.get((match["unit"] or "").casefold(), 1.0)
    decimals = len(digits.partition(".")[2])
    value = float(digits)
    # "2.1M" and "2,000" are rounded; a whole number written out is exact.
    tolerance = 0.5 * 10.0**-decimals if decimals or scale != 1.0 else 0.0
    return Number(value * scale, tolerance * scale, match.start(), match.end(), match[0].strip())


def numbers(text: str, start: int = 0, end: int | None = None) -> list[Number]:
    """Returns the numbers of a text, with percent, million and thousand worked in.

    Example:
        >>> [number.value for number in numbers("2.1M weights, 85 % and .40 of 1,024")]
        [2100000.0, 0.85, 0.4, 1024.0]
    """
    return [_number(match) for match in NUMBER.finditer(text, start, len(text) if end is None else end)]


def is_rate(number: Number) -> bool:
    """Whether a number looks like a performance figure: a decimal fraction, or a percentage."""
    return 0 <= number.value <= 1 and ("." in number.text or "%" in number.text or "percent" in number.text)


def measures(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yields every measure that a text names, in its order."""
    found = [(match.start(), name, match) for name, pattern in MEASURES.items() for match in pattern.finditer(text)]
    for _, name, match in sorted(found, key=lambda entry: entry[0]):
        yield name, match


def stated_values(text: str) -> list[tuple[str, Number]]:
    """Returns measures with the number said of each: the first after it, or the one right before it.

    Example:
        >>> [(name, number.value) for name, number in stated_values("AUC was 0.67 and recall 40.1 %; 0.9 specificity")]
        [('AUROC', 0.67), ('sensitivity', 0.401), ('specificity', 0.9)]
    """
    found = list(measures(text))
    stated: list[tuple[str, Number]] = []
    used: set[int] = set()
    for at, (name, match) in enumerate(found):
        end = found[at + 1][1].start() if at + 1 < len(found) else len(text)
        following = [n for n in numbers(text, match.end(), min(end, match.end() + 60)) if is_rate(n)]
        if following and _OF_ELSE.search(text, match.end(), following[0].start):
            continue
        near = numbers(text, max(0, match.start() - 40), match.start())
        preceding = [n for n in near if is_rate(n) and match.start() - n.end <= 2]
        # "0.9 specificity" after "recall 40 %": the number before belongs to this measure, not to the one before it.
        for number in (*preceding[-1:], *following[:1]):
            if number.start not in used:
                if following and number is following[0] and at + 1 < len(found) and _belongs_next(text, number, end):
                    continue
                used.add(number.start)
                stated.append((name, number))
                break
    return stated


def _belongs_next(text: str, number: Number, end: int) -> bool:
    """Whether a number stands right before the next measure, with a break between it and the one before."""
    before = text[max(0, number.start - 6) : number.start]
    return 0 <= end - number.end <= 2 and bool(re.search(r"[;,]|\band\b", before))


def denied(text: str, start: int, end: int) -> bool:
    """Whether what stands between two positions is negated, doubted, or only aimed at.

    Example:
        >>> text = "This does not claim equivalence, but the model is radiologist-level."
        >>> [denied(text, text.index(word), text.index(word) + 5) for word in ("equivalence", "radiologist")]
        [True, False]
    """
    before = _EMPHASIS.sub("", text[:start])
    for piece in _BREAK.finditer(before):
        last = piece.end()
        before = " " * last + before[last:]
    after = text[end:]
    cut = _BREAK.search(after)
    after = after[: cut.start()] if cut else after
    return bool(_NEGATION.search(before) or _DENIED_AFTER.search(after))


def statements(document: Document, pattern: re.Pattern[str]) -> list[tuple[Passage, re.Match[str]]]:
    """Returns every passage in which a pattern stands and is not denied."""
    found = []
    for passage in document.words:
        for match in pattern.finditer(passage.text):
            if not denied(passage.text, match.start(), match.end()):
                found.append((passage, match))
                break
    return found


@dataclass(frozen=True)
class Subject:
    """What a passage is about; an empty set says that it does not tell."""

    models: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    findings: frozenset[str] = frozenset()

    @property
    def told(self) -> bool:
        """Whether a model or a finding is named."""
        return bool(self.models or self.findings)

    def apart_from(self, other: "Subject") -> bool:
        """Whether the two are about different things: another model, part or finding."""
        pairs = ((self.models, other.models), (self.parts, other.parts), (self.findings, other.findings))
        return any(mine and theirs and not mine & theirs for mine, theirs in pairs)


def row_names(document: Document) -> frozenset[str]:
    """Returns the short row labels of tables of measures: the names by which a document calls its models."""
    names: set[str] = set()
    for table in document.tables:
        if sum(bool(next(measures(column), None)) for column in table.header[1:]):
            names |= {row[0].casefold() for row in table.rows if row and 0 < len(row[0]) <= 30}
    return frozenset(name for name in names if not any(pattern.search(name) for pattern in _FINDINGS.values()))


def _models(text: str, names: frozenset[str]) -> frozenset[str]:
    found = set()
    for match in _NAMED.finditer(text):
        kind = match["kind"].casefold().rstrip(".s")
        found.add(f"stage{match['name']}" if kind == "stage" else match["name"].casefold())
    found |= {re.sub(r"[- ]", "", match[0].casefold()) for match in _KINDS.finditer(text)}
    for name in names:
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text.casefold()) and not name.isdigit():
            found.add(name)
    return frozenset(found)


def _findings(text: str) -> frozenset[str]:
    return frozenset(name for name, pattern in _FINDINGS.items() if pattern.search(text))


def _last_finding(text: str) -> frozenset[str]:
    """Returns the finding that a text named last."""
    ends = {name: match.end() for name, pattern in _FINDINGS.items() for match in pattern.finditer(text)}
    return frozenset({max(ends, key=lambda name: ends[name])}) if ends else frozenset()


def subject(passage: Passage, names: frozenset[str] = frozenset(), within: tuple[int, int] | None = None) -> Subject:
    """Returns what a passage is about, by its own words or, where they do not tell, by what stands above it.

    Args:
        passage: The passage.
        names: Names of models, from `row_names`.
        within: Which characters of it to look at first; all of them by default.
    """
    own = " ".join(filter(None, (passage.text, passage.label, passage.column)))
    first = [passage.text[slice(*within)]] if within else []
    around = [*first, own, passage.caption, *reversed(passage.section)]
    models = next((found for found in (_models(text, names) for text in around) if found), frozenset())
    parts: frozenset[str] = frozenset()
    for text in around:
        parts = frozenset(name for name, pattern in _PARTS.items() if pattern.search(text))
        if parts:
            break
    findings = next((found for found in map(_findings, (*first, own)) if found), None) or _last_finding(passage.lead)
    return Subject(models, parts, findings)
