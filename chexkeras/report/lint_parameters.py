"""Check of a model's size: counts of parameters against the model, each other, and the layers as drawn."""

import itertools
import re
from collections.abc import Iterator, Mapping

from chexkeras.report.lint.document import CELL, Document, Passage
from chexkeras.report.lint.issue import Issue, Known, places
from chexkeras.report.lint.language import NUMBER, numbers, row_names, subject
from chexkeras.report.lint_said import Said, conflicts, listed

_PARAMETERS = re.compile(r"\bparam(?:eter)?s\b", re.IGNORECASE)
_FEWEST_PARAMETERS = 1000
_DENSE = re.compile(r"\b(?:Dense|fully[- ]connected|FC|Linear)\b[^\d\n|]{0,20}?(\d{1,5})\b(?! *\*)", re.IGNORECASE)
_POOLED = re.compile(r"\bglobal[- _]?(?:average|max)?[- _]?pool\w*|\bGlobalAveragePooling\w*|\bGAP\b", re.IGNORECASE)
_FLATTENED = re.compile(r"\bflatten\w*", re.IGNORECASE)
_FEATURES: Mapping[str, int] = {
    "densenet121": 1024, "densenet169": 1664, "densenet201": 1920, "resnet50": 2048, "resnet101": 2048, "vgg16": 512,
    "vgg19": 512, "efficientnetb0": 1280, "efficientnetb1": 1280, "inceptionv3": 2048, "xception": 2048,
    "mobilenetv2": 1280,
}  # fmt: skip
"""Channels that each backbone hands to global pooling, as keras.applications builds it."""

_KINDS = {
    "trainable": re.compile(r"(?<!non-)(?<!un)\btrainable\b|\btuned\b", re.IGNORECASE),
    "frozen": re.compile(r"\bfrozen\b|\bnon-?trainable\b", re.IGNORECASE),
    "head": re.compile(r"\bheads?\b|\bclassifier\b|\badded\b|\bcustom\b|\bdense layers\b", re.IGNORECASE),
    "backbone": re.compile(r"\bbackbone\b|\bbase (?:model|network)\b", re.IGNORECASE),
}


def _kind(text: str) -> str:
    return next((name for name, pattern in _KINDS.items() if pattern.search(text)), "total")


def _parameter_counts(document: Document) -> list[Said]:
    names = row_names(document)
    found: list[Said] = []
    for passage in document.words:
        about = subject(passage, names)
        if passage.kind == CELL and passage.text != passage.label:
            for heading in (passage.column, passage.label):
                counts = [n for n in numbers(passage.text) if n.value >= _FEWEST_PARAMETERS]
                if _PARAMETERS.search(heading) and len(counts) == 1 and counts[0].text == passage.text.lstrip("~≈ "):
                    found.append(Said(counts[0], passage, about, _kind(heading)))
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
                found.append(Said(number, passage, about, _kind(passage.text[since:until])))
    return found


def drawn_head(document: Document) -> tuple[set[int], list[Passage]]:
    """Returns the counts of parameters that a head can have as its dense layers are drawn, and where they are drawn."""
    everything = " ".join(passage.text for passage in document.passages)
    backbone = re.search(r"\b(densenet|resnet|vgg|efficientnet|inception|xception|mobilenet)[- ]?(v?\w?\d+)?\b",
                         everything, re.IGNORECASE)  # fmt: skip
    features = _FEATURES.get("".join(filter(None, backbone.groups())).casefold()) if backbone else None
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


def parameter_count(document: Document, known: Known | None) -> Iterator[Issue]:
    """A count of parameters is one of the model's."""
    found = _parameter_counts(document)
    if known is not None:
        wrong = [entry for entry in found if not any(entry.number.agrees(count) for count in known.parameters)]
        if wrong:
            counts = ", ".join(f"{count:,}" for count in sorted(known.parameters))
            yield Issue(
                "parameter-count",
                f"{listed(wrong)} parameters are no count of this model, which has {counts}",
                places(entry.passage for entry in wrong),
                "take the counts from the run's stages.json.",
            )
        return
    for kind in dict.fromkeys(entry.kind for entry in found):
        clashing = conflicts([entry for entry in found if entry.kind == kind])
        if clashing:
            yield Issue(
                "parameter-count",
                f"the {kind} parameters are given as {listed(clashing)}",
                places(entry.passage for entry in clashing),
                "count them from the model, once.",
            )
    possible, drawn = drawn_head(document)
    wrong = [entry for entry in found if entry.kind == "head" and possible]
    wrong = [entry for entry in wrong if not any(entry.number.agrees(count) for count in possible)]
    if wrong:
        yield Issue(
            "parameter-count",
            f"the head is said to have {listed(wrong)} parameters; the layers as drawn give "
            f"{' or '.join(f'{count:,}' for count in sorted(possible))}",
            places([*(entry.passage for entry in wrong), *drawn]),
            "count them from the model, or mend the drawing.",
        )
