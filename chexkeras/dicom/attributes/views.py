"""The view: from several tags, in the order in which they are trusted, and from free text last."""

import dataclasses

from chexkeras.dicom.attributes import descriptions, vocabulary
from chexkeras.dicom.attributes.evidence import OF_THE_SERIES, OF_THE_STUDY, TagEvidence, described
from chexkeras.dicom.header import Header

_PA, _AP = "PA", "AP"

_BESIDE_A_VIEW = vocabulary.BESIDE | {"VIEW", "X", "RAY", "XRAY"}

# PS3.16 CID 4010 "DX View" in SNOMED CT and the older SNOMED RT codes.
_FRONTAL_CODES = {"272479007": _PA, "R-10214": _PA, "R-40888": _PA, "399348003": _AP, "R-10206": _AP}


def find_view(header: Header, sources: tuple[str, ...]) -> TagEvidence:
    """Returns the view, from the first tag that names one.

    Args:
        header: The header.
        sources: Keywords of the tags to ask, the most trusted first, of ViewPosition, ViewCodeSequence,
            PatientPosition (where some archives put the view) and SeriesDescription.

    Returns:
        The answer; `also` holds the view of a second coded tag, or the other frontal one of a description, that
        disagrees. Where SeriesDescription is among the sources, the descriptions are read against the coded tags.
    """
    if sources == ("PatientPosition",):
        # Where this tag alone is asked, its value is taken for what it is.
        word = header.word("PatientPosition")
        return TagEvidence(
            word if word in (_PA, _AP) else "", header.text("PatientPosition"), "PatientPosition" if word else ""
        )
    is_described = "SeriesDescription" in sources
    coded = [_coded_view(header, keyword) for keyword in sources if keyword != "SeriesDescription"]
    answered = [answer for answer in coded if answer.source]
    if answered:
        first = answered[0]
        # What is not frontal weighs more than what only swaps PA and AP.
        for other in sorted(answered[1:], key=lambda answer: bool(answer.value)):
            if other.value != first.value:
                first = dataclasses.replace(first, also=other.value or other.named, also_source=other.source)
                break
        is_conflict = bool(first.also) and first.also not in (_PA, _AP)
        return _compared_view(header, first) if first.value and not is_conflict and is_described else first
    if not is_described:
        return TagEvidence()
    answer = _described_view(header)
    return _compared_view(header, answer) if answer.value else answer


def _coded_view(header: Header, keyword: str) -> TagEvidence:
    if keyword == "ViewCodeSequence":
        codes = header.codes(keyword)
        return TagEvidence(_FRONTAL_CODES.get(codes[0], ""), codes[0], keyword) if codes else TagEvidence()
    views = {_without_posture(part) for part in header.texts(keyword)}
    # Several values can stand here; all must name one view.
    view = views.pop() if len(views) == 1 and views <= {_PA, _AP} else ""
    if keyword == "PatientPosition" and not view:
        # PS3.3 C.7.3.1.1.2: its own terms (HFS, FFP, ...) place a patient on a table and say nothing on the view.
        return TagEvidence()
    return TagEvidence(view, header.text(keyword), keyword) if header.word(keyword) else TagEvidence()


def _without_posture(written: str) -> str:
    """Returns a value of View Position (PS3.3 C.8.1.1, C.8.11.5) without what is written beside a view."""
    words = descriptions.without_chest_names(descriptions.words_of(written)).split()
    return " ".join(word for word in words if word not in _BESIDE_A_VIEW and not word.isdecimal())


def _described_view(header: Header) -> TagEvidence:
    words = described(header, "SeriesDescription")
    frontal = descriptions.frontal_views(words)
    if descriptions.names_other_view(words):
        # "PA and lateral" names a study of two images; which of them this is cannot be told.
        return TagEvidence(source="SeriesDescription")
    return TagEvidence(frontal.pop(), source="SeriesDescription") if len(frontal) == 1 else TagEvidence()


def _compared_view(header: Header, answer: TagEvidence) -> TagEvidence:
    """Returns a frontal view with what the descriptions say against it."""
    answer = dataclasses.replace(answer, study=_names_another_view(described(header, OF_THE_STUDY)))
    swapped = answer
    for keyword in OF_THE_SERIES:
        words = described(header, keyword)
        if _names_another_view(words):
            return dataclasses.replace(answer, also="", also_source=keyword)
        named = set() if descriptions.names_other_view(words) else descriptions.frontal_views(words)
        if len(named) == 1 and answer.value not in named and not swapped.also_source:
            swapped = dataclasses.replace(answer, also=named.pop(), also_source=keyword)
    return swapped


def _names_another_view(words: str) -> bool:
    return descriptions.names_other_view(words) and not descriptions.names_frontal_view(words)
