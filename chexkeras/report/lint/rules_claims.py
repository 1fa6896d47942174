"""Checks of claims: nothing stronger than the verdicts, no verdict that the numbers contradict, no field left open."""

import re
import unicodedata
from collections.abc import Iterator

from chexkeras.report.goals import MET, NOT_ESTIMABLE, NOT_MET
from chexkeras.report.lint.document import CELL, Document, Passage
from chexkeras.report.lint.issue import Found, Place, RunFacts, place, places, rule
from chexkeras.report.lint.language import MEASURES, any_of, denied, subject

_PEOPLE = r"(?:radiologists?|physicians?|doctors?|clinicians?|experts?|humans?|specialists?|readers?)"
_THAN = rf"(?:that of |those of |the )?(?:\w+ ){{0,3}}?{_PEOPLE}\b"
_CLAIMS: dict[str, re.Pattern[str]] = {
    "clearance": any_of(
        r"\b(?:FDA|510\(k\)|CE)[- ]?(?:cleared|approved|certified|marked)\b",
        r"\b(?:cleared|approved|authori[sz]ed) (?:by|through) (?:the )?FDA\b",
        r"\b(?:FDA|510\(k\)) (?:clearance|approval)\b",
        r"\bmarket(?:ing)? clearance\b",
        r"\bgranted clearance\b",
        r"\bFDA(?: has| have)?(?: \w+)? (?:cleared|approved|authori[sz]ed|granted)\b",
        r"\b(?:cleared|authori[sz]ed|approved) (?:under|as|with) (?:the )?(?:510\(k\)|PMA|De Novo|EUA|[A-Z]+\d)",
        r"\b(?:De Novo|PMA|510\(k\))(?: \w+)? (?:granted|cleared|approved|authori[sz]ed|number)\b",
    ),
    "equivalence": any_of(
        rf"\b{_PEOPLE}[- ]level\b",
        r"\bsubstantial(?:ly)? equivalen(?:t|ce)\b",
        r"\bequivalen(?:t|ce) (?:to|with)\b",
        rf"\b(?:on (?:a )?par with|comparable (?:to|with)|as (?:good|accurate|well) as) {_THAN}",
        rf"\b(?:match(?:es|ed|ing)?|equal(?:s|led)?(?: to)?|rival(?:s|led|ling)?|approach(?:es|ed|ing)) {_THAN}",
    ),
    "superiority": any_of(
        r"\bout-?perform(?:s|ed|ing)?\b",
        r"\b(?:achiev|reach|deliver|provid|establish|set|is|are|our|with)\w*\b[^.;]{0,40}\bstate[- ]of[- ]the[- ]art\b",
        r"\bsuper-?human\b",
        rf"\b(?:superior to|better than|exceed(?:s|ed|ing)?|surpass(?:es|ed|ing)?) {_THAN}",
    ),
    "proof": any_of(
        r"\b(?:prove[sn]?|guarantee[sd]?)\b[^.;]{0,40}"
        r"\b(?:safe\w*|effective\w*|accura\w+|reliab\w+|clinical\w*|works|value)\b",
        r"\b(?:proven|guaranteed)\b",
        r"\bclinically (?:validated|proven)\b",
        r"\bdemonstrat(?:es|ed|ing) (?:\w+ ){0,2}?(?:safety|effectiveness|efficacy|clinical)\b",
    ),
    "readiness": any_of(
        r"\b(?:ready|suitable|safe|fit) for (?:\w+ ){0,2}?(?:use|practice|deployment|production)\b",
    ),
}
# The number of a submission is a claim by itself, whatever the words around it deny; that of a predicate is another's.
_NUMBER = re.compile(r"\b(?:K|DEN|BK|EUA)[- ]?\d{6}\b|\bP\d{6}\b", re.IGNORECASE)
_TAG = re.compile(r"<!--|-->|</?[A-Za-z][^<>]*>")
_OF_OTHERS = any_of(r"\bet al\b", r"\bpredicates?\b", r"\bCheXNet\b", r"\barxiv\b", r"\bdoi\b")

_VERDICT = re.compile(rf"\b({NOT_MET}|{NOT_ESTIMABLE}|{MET})\b")
_AIM = r"(?:goals?|criteri(?:on|a)|standards?|requirements?|end-?points?)"
_SUCCESS = any_of(
    rf"\b{_AIM} (?:\w+ ){{0,3}}?(?:was|were|is|are|has been|have been) (?:both |all )?"
    r"(?:met|reached|achieved|satisfied|fulfilled)\b",
    r"\b(?:meets?|fulfill?s|satisf(?:y|ies)|reach(?:es)?|achieves?) (?:all |both |the |its |these )*(?:\w+ ){0,2}?"
    rf"{_AIM}\b",
)
# "A goal is met when ..." says what the word means.
_WHEN = any_of(r"\A,? (?:when|if|where|only)\b")
_NOT = any_of(r"\bnot\b")
_ABOUT_ALL = any_of(r"\b(?:goals?|verdict|overall)\b")

GAP = re.compile(r"\[SPONSOR TO COMPLETE:[^\]]*\]?")
_OPEN = re.compile(
    r"\[SPONSOR TO COMPLETE:(?! ?\.\.\.\])|\bTODO\b|\bTBD\b|\bFIXME\b|\bXXX+\b|\blorem ipsum\b|"
    r"\[(?:insert|your|fill)\b[^\]]*\]|<< ?[Ii]nsert\b[^>]*>>"
)


@rule("claim-beyond-evidence")
def claim_beyond_evidence(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """No claim of clearance, equivalence, superiority, proof or readiness."""
    for what, pattern in _CLAIMS.items():
        found: list[Place] = []
        # A clearance is looked for where no reader looks, too.
        for passage in document.passages if what == "clearance" else document.words:
            text = GAP.sub(lambda gap: " " * len(gap[0]), _as_read(passage.text))
            if _OF_OTHERS.search(text):
                continue
            claims = [match for match in pattern.finditer(text) if not denied(text, match.start(), match.end())]
            claims += _NUMBER.finditer(text) if what == "clearance" else ()
            found += [place(passage, match.start(), match.end()) for match in claims]
        if found:
            yield (
                f"a claim of {what}, which no measurement of one run can carry",
                tuple(found),
                "say what was measured, with its interval, and leave the judgement to the reader.",
            )


def _as_read(text: str) -> str:
    """Returns a text as its reader takes it: without tags and characters that are not seen, in plain letters."""
    seen = (each for each in unicodedata.normalize("NFKC", _TAG.sub("", text)) if unicodedata.category(each) != "Cf")
    return " ".join("".join(seen).split())


def _measure_before(text: str) -> str | None:
    """Returns which measure a verdict at the end of a text is on: the nearest named before it, "" for all of them."""
    nearest = {
        name: max((match.end() for match in MEASURES[name].finditer(text)), default=-1)
        for name in ("sensitivity", "specificity")
    }
    nearest[""] = max((match.end() for match in _ABOUT_ALL.finditer(text)), default=-1)
    name = max(nearest, key=lambda key: nearest[key])
    return name if nearest[name] >= 0 else None


def _measure_of(passage: Passage, end: int) -> str:
    """Returns which measure a verdict is on, by the words before it, its column, and the cells before it."""
    before = passage.row[: passage.row.index(passage.text)] if passage.kind == CELL else ()
    looked_at = (passage.text[:end], passage.column, " ".join(before))
    named = [name for name in map(_measure_before, looked_at) if name is not None]
    return next((name for name in named if name), "")


def _verdicts(document: Document) -> Iterator[tuple[Passage, str, str, str]]:
    """Yields every verdict in a document with its finding and its measure; "" stands for all."""
    for passage in document.passages:
        found = list(_VERDICT.finditer(passage.text))
        # "MET, NOT MET or NOT ESTIMABLE" explains the words and uses none.
        if len({match[1] for match in found}) == 3:
            continue
        told = [(match, match[1]) for match in found]
        told += [
            (match, MET)
            for match in _SUCCESS.finditer(passage.text)
            if not denied(passage.text, match.start(), match.start())
            and not _NOT.search(match[0])
            and not _WHEN.search(passage.text[match.end() :])
        ]
        since = 0
        for match, word in sorted(told, key=lambda entry: entry[0].start()):
            findings = subject(passage, within=(since, match.end())).findings
            finding = next(iter(findings)) if len(findings) == 1 else ""
            yield passage, finding, _measure_of(passage, match.start()), word
            since = match.end()


@rule("verdict-differs")
def verdict_differs(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """A goal has one verdict, and it is the one that the interval gives."""
    found: dict[tuple[str, str], list[tuple[Passage, str]]] = {}
    for passage, finding, measure, word in _verdicts(document):
        found.setdefault((finding, measure), []).append((passage, word))
    only = {finding for finding, _ in known.verdicts if finding} if known else set()
    for (finding, measure), entries in found.items():
        of = " of ".join(filter(None, (measure or "the goals", finding.replace("_", " "))))
        if known is not None:
            if finding and finding not in only:
                yield (
                    f"a verdict is given on {finding.replace('_', ' ')}, which was not measured",
                    places(passage for passage, _ in entries),
                    "write the report again from this run.",
                )
                continue
            key = (finding or (next(iter(only)) if measure and len(only) == 1 else ""), measure)
            wanted = known.verdicts.get(key)
            wrong = [passage for passage, word in entries if wanted is not None and word != wanted]
            if wrong:
                yield (
                f"the verdict on {of} is {wanted} by the run's intervals", places(wrong),
                            "write the report again from this run.")  # fmt: skip
        elif len({word for _, word in entries}) > 1:
            words = " and ".join(dict.fromkeys(word for _, word in entries))
            yield (
                f"the verdict on {of} is given as {words}",
                        places(passage for passage, _ in entries),
                        "keep the one that the interval's lower limit gives.")  # fmt: skip


@rule("open-field")
def open_field(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """Nothing is left to fill in."""
    found = [
        place(passage, match.start(), match.end())
        for passage in document.words
        for match in _OPEN.finditer(passage.text)
    ]
    if found:
        yield (
            f"{len(found)} field(s) are left open",
            tuple(found),
            "answer them in submission.toml (chexkeras report-init writes one) and write the report again.",
        )
