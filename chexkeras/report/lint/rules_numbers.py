"""Checks of numbers: two best values, thresholds, figures without an interval, counts of parameters."""

import itertools
import re
from collections.abc import Iterator, Mapping

from chexkeras.models.backbones import BACKBONES
from chexkeras.report.lint.document import CELL, Document, Passage, Table
from chexkeras.report.lint.issue import Found, RunFacts, StatedNumber, conflicts, listed, places, rule
from chexkeras.report.lint.language import (
    INTERVAL,
    NETWORKS,
    NUMBER,
    RANGE,
    Subject,
    any_of,
    denied,
    is_rate,
    measures,
    numbers,
    row_names,
    stated_values,
    subject,
)

_BEST = re.compile(r"\b(?:best|highest|maximum|maximal|peak|top)\b", re.IGNORECASE)
_THRESHOLD = any_of(
    r"\b(?:thresholds?|cut-?offs?|operating points?)\b(?! probabilit)"
    r"(?P<between>[^\d.;,()]{0,30}?)(?P<number>\d*\.\d+)(?![\d%])",
    r"(?<!\d)(?P<before>\d*\.\d+)[- ](?:score )?(?:threshold|cut-?off)\b(?! probabilit)",
    r"\bscores? (?:is |of |was )?(?:at least|≥|>=)\s*(?P<least>\d*\.\d+)(?![\d%])",
)
_THRESHOLD_COLUMN = any_of(r"\b(?:threshold|cut-?off)\b(?! probabilit)")
_ASIDE = any_of(
    r"\b(?:instead of|rather than|would|could|for comparison|exploratory|alternative\w*|another|other|if)\b",
    r"\b(?:lowering|raising|correspond\w*|max|maxim\w+|highest)\b",
    r"\bprobabilit(?:y|ies)\b",
)
_NOT_MEASURED = any_of(
    r"\b(?:goals?|targets?|aims?|requires?|required|requirements?|criteri\w+|standards?|must|should|expect\w*)\b",
    r"\b(?:assum\w*|plann?\w*|chance|coin|power|margin|ask(?:s|ed)? for|worked example)\b",
    r"\b(?:true rate|no skill|would|published|literature|p|p-?values?|ideal)\b",
)
_BARE_COLUMN = re.compile(
    r"\b(?:images?|patients?|films?|radiographs?|cases|counts?|number|n|positives?|p|power|verdict|method|how|why|"
    r"goals?|expected)\b",
    re.IGNORECASE,
)


@rule("two-best-values")
def two_best_values(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """One quantity has one best value, unless each says which model, part or finding it belongs to."""
    names = row_names(document)
    found: dict[str, list[StatedNumber]] = {}
    for passage in document.words:
        place_words = f"{passage.column} {passage.label}" if passage.kind == CELL else ""
        if passage.kind == CELL and passage.text == passage.label:
            continue
        if not _BEST.search(f"{passage.text} {place_words}"):
            continue
        stated = stated_values(passage.text) if _BEST.search(passage.text) else []
        if not stated and _BEST.search(place_words):
            measured = [name for name, _ in measures(place_words)]
            rates = [number for number in numbers(passage.text) if is_rate(number)]
            stated = [(name, rate) for name, rate in zip(measured[:1], rates[:1], strict=False)]
        since = 0
        for name, number in stated:
            # "0.81 for stage 1, 0.83 for stage 2": each number is about what is named since the one before.
            about = subject(passage, names, (since, number.end) if len(stated) > 1 else None)
            found.setdefault(name, []).append(StatedNumber(number, passage, about))
            since = number.end
    for name, entries in found.items():
        clashing = conflicts(entries)
        if clashing:
            yield (
                f"the best {name} is given as {listed(clashing)}",
                places(entry.passage for entry in clashing),
                "say of which model and on which part each value is, or keep the one that holds.",
            )


def _thresholds(document: Document) -> list[StatedNumber]:
    names = row_names(document)
    found: list[StatedNumber] = []
    for passage in document.words:
        since = 0
        for match in _THRESHOLD.finditer(passage.text):
            within, since = (since, match.end()), match.end()
            if _ASIDE.search(passage.text) or denied(passage.text, match.start(), match.start()):
                continue
            if any(True for _ in measures(match["between"] or "")):
                continue
            group = next(name for name in ("number", "before", "least") if match[name])
            number = numbers(passage.text, match.start(group), match.end(group))
            if number:
                found.append(StatedNumber(number[0], passage, subject(passage, names, within)))
    for position, table in enumerate(document.tables):
        found += _column_of_thresholds(document, position, table, names)
    return found


def _column_of_thresholds(document: Document, position: int, table: Table, names: frozenset[str]) -> list[StatedNumber]:
    """Returns the thresholds of a column that names them; a column of many is a sweep and states none."""
    cells = [
        passage for passage in document.passages
        if passage.table == position and _THRESHOLD_COLUMN.search(passage.column)
    ]  # fmt: skip
    found = []
    for passage in cells:
        rates = numbers(passage.text)
        if len(rates) == 1 and "." in rates[0].text and rates[0].text == passage.text.strip():
            found.append(StatedNumber(rates[0], passage, subject(passage, names)))
    findings = [entry.subject.findings for entry in found]
    return found if len(found) == 1 or len(set(findings)) == len(found) else []


@rule("threshold-differs")
def threshold_differs(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """Text and tables use one threshold for a finding: the frozen one."""
    found = _thresholds(document)
    # A model's name in the one place and none in the other is no excuse, nor is the part it was used on.
    bare = [
        StatedNumber(entry.number, entry.passage, Subject(entry.subject.models, frozenset(), entry.subject.findings))
        for entry in found
    ]
    if known is None:
        clashing = conflicts(bare)
        if clashing:
            yield (
                f"thresholds {listed(clashing)} are used for the same calls",
                places(entry.passage for entry in clashing),
                "give every result at the threshold that was chosen and frozen, or name what the other one is for.",
            )
        return
    wrong = []
    for entry in found:
        wanted = [value for name, value in known.thresholds.items() if name in entry.subject.findings]
        if not any(entry.number.agrees(value) for value in wanted or known.thresholds.values()):
            wrong.append(entry)
    if wrong:
        frozen = ", ".join(f"{value:.4g} for {name}" for name, value in known.thresholds.items()) or "none"
        yield (
            f"the text has {listed(wrong)}, the run froze {frozen}",
            places(entry.passage for entry in wrong),
            "write the report again from this run, or name what the other threshold is for.",
        )


def _bare_cells(document: Document) -> Iterator[Passage]:
    """Yields cells that hold a performance figure while nothing in their row or heading gives an interval."""
    for passage in document.passages:
        if passage.kind != CELL or passage.text == passage.label:
            continue
        here = [f"{passage.column}", *passage.row[:2]]
        named = any(True for text in here for _ in measures(text))
        rates = [number for number in numbers(passage.text) if is_rate(number)]
        alone = rates and re.fullmatch(r"[*\s~≈]*[\d.,]+\s*%?[*\s]*", passage.text)
        if not named or not alone:
            continue
        if INTERVAL.search(" ".join((passage.column, passage.caption, *passage.row, *_headings(document, passage)))):
            continue
        by_column = any(True for _ in measures(passage.column))
        words = f"{passage.column} {passage.label} {passage.caption}"
        if _NOT_MEASURED.search(words) or (not by_column and _BARE_COLUMN.search(passage.column)):
            continue
        yield passage


def _headings(document: Document, passage: Passage) -> tuple[str, ...]:
    return document.tables[passage.table].header if passage.table >= 0 else ()


@rule("no-interval")
def no_interval(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """A performance figure comes with its interval."""
    bare: list[Passage] = list(_bare_cells(document))
    for passage in document.words:
        stated = stated_values(passage.text)
        limits = len(RANGE.findall(passage.text))
        # One interval does not cover two figures; where it is only spoken of, what is said may be about both.
        given = limits >= len(stated) if limits else INTERVAL.search(passage.text)
        if not stated or given or _NOT_MEASURED.search(passage.text):
            continue
        if passage.kind == CELL and INTERVAL.search(" ".join(passage.row)):
            continue
        bare.append(passage)
    if bare:
        yield (
            f"performance figures without an interval on {len({passage.line for passage in bare})} line(s)",
            places(bare),
            "give each figure its interval and number of images, or say that it is a single value without one.",
        )


_PARAMETERS = re.compile(r"\bparam(?:eter)?s\b", re.IGNORECASE)
_FEWEST_PARAMETERS = 1000
_DENSE = re.compile(r"\b(?:Dense|fully[- ]connected|FC|Linear)\b[^\d\n|]{0,20}?(\d{1,5})\b(?! *\*)", re.IGNORECASE)
_POOLED = re.compile(r"\bglobal[- _]?(?:average|max)?[- _]?pool\w*|\bGlobalAveragePooling\w*|\bGAP\b", re.IGNORECASE)
_FLATTENED = re.compile(r"\bflatten\w*", re.IGNORECASE)
_FEATURES: Mapping[str, int] = {
    # Networks of other projects' reports that no recipe here names.
    "resnet101": 2048, "vgg19": 512, "inceptionv3": 2048, "xception": 2048, "mobilenetv2": 1280,
} | {name.casefold(): entry.channels for name, entry in BACKBONES.items() if entry.channels}  # fmt: skip
"""Channels that each backbone hands to global pooling, as keras.applications builds it."""
_NETWORK = any_of(
    rf"\b(?:{NETWORKS}|"
    r"(?:densenet|resnet|vgg|efficientnet|inception|xception|mobilenet|convnext)(?:[- ]?v?\w?\d+)?)\b"
)

_KINDS = {
    "trainable": re.compile(r"(?<!non-)(?<!un)\btrainable\b|\btuned\b", re.IGNORECASE),
    "frozen": re.compile(r"\bfrozen\b|\bnon-?trainable\b", re.IGNORECASE),
    "head": re.compile(r"\bheads?\b|\bclassifier\b|\badded\b|\bcustom\b|\bdense layers\b", re.IGNORECASE),
    "backbone": re.compile(r"\bbackbone\b|\bbase (?:model|network)\b", re.IGNORECASE),
}


_OF_STAGE = re.compile(r"stage\b|stage ?\d", re.IGNORECASE)


def _kind(text: str) -> str:
    return next((name for name, pattern in _KINDS.items() if pattern.search(text)), "total")


def _parameter_counts(document: Document) -> list[StatedNumber]:
    names = row_names(document)
    found: list[StatedNumber] = []
    for passage in document.words:
        about = subject(passage, names)
        if passage.kind == CELL and passage.text != passage.label:
            for heading in (passage.column, passage.label):
                counts = [n for n in numbers(passage.text) if n.value >= _FEWEST_PARAMETERS]
                if _PARAMETERS.search(heading) and len(counts) == 1 and counts[0].text == passage.text.lstrip("~≈ "):
                    found.append(StatedNumber(counts[0], passage, about, _kind(heading)))
                    break
        all_numbers = list(NUMBER.finditer(passage.text))
        for at, match in enumerate(all_numbers):
            number = numbers(passage.text, match.start(), match.end())[0]
            after = re.match(r"[\s-]*(?:[A-Za-z-]+[\s-]+){0,3}?param(?:eter)?s\b", passage.text[match.end() :])
            before = re.search(r"\bparam(?:eter)?s\b(?: count)?[\s:=(~≈]*(?:of|is|are|was|were)?[\s~≈]*$",
                               passage.text[: match.start()])  # fmt: skip
            if number.value >= _FEWEST_PARAMETERS and (after or before):
                since = all_numbers[at - 1].end() if at else 0
                until = all_numbers[at + 1].start() if at + 1 < len(all_numbers) else len(passage.text)
                found.append(StatedNumber(number, passage, about, _kind(passage.text[since:until])))
    return found


def drawn_head(document: Document) -> tuple[set[int], list[Passage]]:
    """Returns the counts of parameters that a head can have as its dense layers are drawn, and where they are drawn."""
    everything = " ".join(passage.text for passage in document.passages)
    backbone = _NETWORK.search(everything)
    features = _FEATURES.get(re.sub("[- ]", "", backbone[0]).casefold()) if backbone else None
    # Without global pooling the head's first layer sees every position of the feature map, not one value a channel.
    pooled = _POOLED.search(everything) and not _FLATTENED.search(everything)
    if features is None or not pooled:
        return set(), []
    chains: dict[tuple[str, ...], tuple[list[int], list[Passage]]] = {}
    for passage in document.passages:
        for match in _DENSE.finditer(passage.text):
            widths, where = chains.setdefault(passage.section, ([], []))
            widths.append(int(match[1]))
            where.append(passage)
    if len(chains) != 1:
        return set(), []
    ((widths, where),) = chains.values()
    sizes = [features, *widths]
    total = sum((into + 1) * out for into, out in itertools.pairwise(sizes))
    outputs = {0} if widths[-1] < 32 else {0, widths[-1] + 1, 14 * (widths[-1] + 1)}
    return {total + extra for extra in outputs}, where


@rule("parameter-count")
def parameter_count(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """A count of parameters is one of the model's."""
    found = _parameter_counts(document)
    if known is not None:
        wrong = [entry for entry in found if not any(entry.number.agrees(count) for count in known.parameters)]
        if wrong:
            counts = ", ".join(f"{count:,}" for count in sorted(known.parameters))
            yield (
                f"{listed(wrong)} parameters are no count of this model, which has {counts}",
                places(entry.passage for entry in wrong),
                "take the counts from the run's stages.json.",
            )
        return
    # What each stage trains differs from stage to stage; which of them the model is from, only its run can tell.
    found = [entry for entry in found if not (entry.passage.kind == CELL and _OF_STAGE.match(entry.passage.label))]
    for kind in dict.fromkeys(entry.kind for entry in found):
        clashing = conflicts([entry for entry in found if entry.kind == kind])
        if clashing:
            yield (
                f"the {kind} parameters are given as {listed(clashing)}",
                places(entry.passage for entry in clashing),
                "count them from the model, once.",
            )
    possible, drawn = drawn_head(document)
    wrong = [entry for entry in found if entry.kind == "head" and possible]
    wrong = [entry for entry in wrong if not any(entry.number.agrees(count) for count in possible)]
    if wrong:
        yield (
            f"the head is said to have {listed(wrong)} parameters; the layers as drawn give "
            f"{' or '.join(f'{count:,}' for count in sorted(possible))}",
            places([*(entry.passage for entry in wrong), *drawn]),
            "count them from the model, or correct the drawing.",
        )
