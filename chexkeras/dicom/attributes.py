"""Which part of the body a film shows and from which side: the tags that say so, in the order they are trusted."""

import dataclasses

from chexkeras.dicom.descriptions import (
    frontal_views,
    names_chest,
    names_frontal_view,
    names_other_part,
    names_other_view,
    plain,
    words_of,
)
from chexkeras.dicom.header import Header, fold

_PA, _AP = "PA", "AP"

# PS3.3 C.8.1.1 and C.8.11.5 (defined terms of View Position), with the spellings seen in practice, folded.
_FRONTAL = {
    "PA": _PA,
    "AP": _AP,
    "POSTERO ANTERIOR": _PA,
    "POSTEROANTERIOR": _PA,
    "POSTERIOR ANTERIOR": _PA,
    "ANTERO POSTERIOR": _AP,
    "ANTEROPOSTERIOR": _AP,
    "ANTERIOR POSTERIOR": _AP,
    "P A": _PA,
    "A P": _AP,
}
# What is written beside a view and does not change it.
POSTURES = (
    *("ERECT", "UPRIGHT", "STANDING", "SITTING", "SEMI", "SEMIERECT", "SEMIUPRIGHT", "SUPINE", "SUP", "LYING"),
    *("RECUMBENT", "STEHEND", "SITZEND", "LIEGEND", "BED", "BEDSIDE", "PORT", "PORTABLE", "MOBILE"),
)
"""How and where the patient was exposed: what is written beside a view or a part of the body and changes neither."""

_BESIDE_A_VIEW = frozenset((*POSTURES, "CHEST", "THORAX", "TORAX", "VIEW"))

# PS3.16 CID 4010 "DX View" in SNOMED CT and the older SNOMED RT codes.
_FRONTAL_CODES = {"272479007": _PA, "R-10214": _PA, "R-40888": _PA, "399348003": _AP, "R-10206": _AP}

# PS3.16 CID 4031: chest, thorax, lung, intra-thoracic; SNOMED CT, then SNOMED RT.
_CHEST_CODES = frozenset({"816094009", "51185008", "39607008", "43799004", "T-D3000", "T-28000", "T-D3200"})

# What was meant to be exposed, and then what the whole study was ordered as.
_OF_THE_SERIES = ("SeriesDescription", "ProtocolName")
_OF_THE_STUDY = "StudyDescription"
_DESCRIPTIONS = (*_OF_THE_SERIES, _OF_THE_STUDY)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one question about a film came to.

    Attributes:
        value: The answer ("PA", "AP", "CHEST"); empty when it is not one of these or unknown.
        named: What was written, when it came from a coded tag; empty when nothing was, or only in free text.
        source: The keyword of the tag it came from; empty when no tag answered.
        also: The other coded answer, when two tags disagree; otherwise empty, also where free text disagrees.
        also_source: The keyword of the tag that disagrees; empty when none does.
        study: Whether the description of the whole study speaks of something else alone.
    """

    value: str = ""
    named: str = ""
    source: str = ""
    also: str = ""
    also_source: str = ""
    study: bool = False


def _described(header: Header, keyword: str) -> str:
    return words_of(header.text(keyword))


def _coded_view(header: Header, keyword: str) -> Answer:
    if keyword == "ViewCodeSequence":
        codes = header.codes(keyword)
        return Answer(_FRONTAL_CODES.get(codes[0], ""), codes[0], keyword) if codes else Answer()
    word, written = header.word(keyword), header.text(keyword)
    if keyword == "PatientPosition" and word not in _FRONTAL:
        # PS3.3 C.7.3.1.1.2: its own terms (HFS, FFP, ...) place a patient on a table and say nothing on the view.
        return Answer()
    views = {_FRONTAL.get(_without_posture(part), "") for part in header.texts(keyword)}
    # Several values can stand here; all must name one view.
    return Answer(views.pop() if len(views) == 1 else "", written, keyword) if word else Answer()


def _without_posture(written: str) -> str:
    return " ".join(word for word in fold(written).split() if word not in _BESIDE_A_VIEW)


def _described_view(header: Header) -> Answer:
    words = _described(header, "SeriesDescription")
    frontal = frontal_views(words)
    if names_other_view(words):
        # "PA and lateral" names a study of two films; which of them this is cannot be told.
        return Answer(source="SeriesDescription")
    return Answer(frontal.pop(), source="SeriesDescription") if len(frontal) == 1 else Answer()


def _compared_view(header: Header, answer: Answer) -> Answer:
    """Returns a frontal view with what the descriptions say against it."""
    answer = dataclasses.replace(answer, study=_names_another_view(_described(header, _OF_THE_STUDY)))
    swapped = answer
    for keyword in _OF_THE_SERIES:
        words = _described(header, keyword)
        if _names_another_view(words):
            return dataclasses.replace(answer, also="", also_source=keyword)
        named = set() if names_other_view(words) else frontal_views(words)
        if len(named) == 1 and answer.value not in named and not swapped.also_source:
            swapped = dataclasses.replace(answer, also=named.pop(), also_source=keyword)
    return swapped


def _names_another_view(words: str) -> bool:
    return names_other_view(words) and not names_frontal_view(words)


def find_view(header: Header, sources: tuple[str, ...]) -> Answer:
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
        return Answer(
            word if word in (_PA, _AP) else "", header.text("PatientPosition"), "PatientPosition" if word else ""
        )
    described = "SeriesDescription" in sources
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
        return _compared_view(header, first) if first.value and not is_conflict and described else first
    if not described:
        return Answer()
    answer = _described_view(header)
    return _compared_view(header, answer) if answer.value else answer


def is_lateral_by_orientation(header: Header) -> bool:
    """Returns whether the rows run towards the front or back of the patient, as they do in a lateral film.

    Not enough to accept or refuse by: the same letters occur in other positions of the patient.

    Source:
        PS3.3 C.7.6.1.1.1, Patient Orientation: the first value is the direction of the rows.
    """
    directions = header.texts("PatientOrientation")
    return bool(directions) and directions[0][:1].upper() in ("A", "P")


def find_body_part(
    header: Header, accepted: tuple[str, ...], *, qualifiers: tuple[str, ...] = (), fallbacks: bool
) -> Answer:
    """Returns whether the film shows the chest: value "CHEST", or empty where it does not or nobody says.

    Args:
        header: The header.
        accepted: Values of Body Part Examined that count as chest, folded.
        qualifiers: Words that may stand beside these and change nothing.
        fallbacks: Whether the coded region and then the descriptions are asked where Body Part Examined is empty, and
            read against it where it is not.

    Returns:
        The answer; `also` holds the code of an anatomic region that contradicts Body Part Examined, and `also_source`
        the tag that contradicts it, which can be a description of the series.
    """
    answer = _body_part(header, accepted, qualifiers, fallbacks)
    if not answer.value or answer.also_source or not fallbacks:
        return answer
    against = next((keyword for keyword in _OF_THE_SERIES if _names_another_part(_described(header, keyword))), "")
    return dataclasses.replace(
        answer, also_source=against, study=_names_another_part(_described(header, _OF_THE_STUDY))
    )


def _names_another_part(words: str) -> bool:
    return names_other_part(words) and not names_chest(words)


def _is_accepted(part: str, accepted: tuple[str, ...], qualifiers: tuple[str, ...]) -> bool:
    if fold(part) in accepted:
        return True
    # Beside qualifiers, synonyms may stand together: "CHEST/THORAX".
    words = [word for word in plain(part).split() if word not in qualifiers] if qualifiers else []
    return bool(words) and all(word in accepted for word in words)


def _body_part(header: Header, accepted: tuple[str, ...], qualifiers: tuple[str, ...], fallbacks: bool) -> Answer:
    # Several values can stand here; every one of them must be the chest.
    parts = header.texts("BodyPartExamined") if header.word("BodyPartExamined") else ()
    regions = header.codes("AnatomicRegionSequence") if fallbacks else ()
    elsewhere = next((code for code in regions if code not in _CHEST_CODES), "")
    if parts:
        strange = next((part for part in parts if not _is_accepted(part, accepted, qualifiers)), "")
        against = "AnatomicRegionSequence" if elsewhere else ""
        return Answer("" if strange else "CHEST", strange or parts[0], "BodyPartExamined", elsewhere, against)
    if regions:
        return Answer("" if elsewhere else "CHEST", elsewhere or regions[0], "AnatomicRegionSequence")
    for keyword in _DESCRIPTIONS if fallbacks else ():
        words = _described(header, keyword)
        chest, other = names_chest(words), names_other_part(words)
        if chest and not other:
            return Answer("CHEST", source=keyword)
        if other and not chest:
            return Answer("", source=keyword)
    return Answer()
