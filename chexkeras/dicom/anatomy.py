"""Which part of the body a film shows and from which side: the tags that say so, in the order they are trusted."""

import dataclasses
import re

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
}

# PS3.16 CID 4010 "DX View" in SNOMED CT and the older SNOMED RT codes.
_FRONTAL_CODES = {"272479007": _PA, "R-10214": _PA, "R-40888": _PA, "399348003": _AP, "R-10206": _AP}

# PS3.16 CID 4031: chest, thorax, lung, intra-thoracic; SNOMED CT, then SNOMED RT.
_CHEST_CODES = frozenset({"816094009", "51185008", "39607008", "43799004", "T-D3000", "T-28000", "T-D3200"})

_CHEST_WORDS = re.compile(r"\b(CHEST|CXR|THORA[XK]\w*|T[OÓ]RAX|TORACE|LUNGS?|PULMON\w*)\b")
_OTHER_WORDS = re.compile(
    r"\b(ABD\w*|RIBS?|PELVI\w*|\w*SPINE|SPINAL|SKULL|HEAD|SINUS\w*|NECK|SHOULDER|CLAVIC\w*|HUMER\w*|ELBOW|FOREARM|WRIST|HANDS?"
    r"|FINGERS?|HIPS?|FEMUR|KNEES?|TIBIA|LEGS?|ANKLES?|FOOT|FEET|TOES?|EXTREMIT\w*|BREAST|MAMMO\w*|DENTAL|KUB)\b"
)
_NOT_FRONTAL_WORDS = re.compile(r"\b(LAT|LATERAL\w*|LL|RL|LLD|RLD|OBL\w*|DECUB\w*|LORDOTIC|RAO|LAO|RPO|LPO)\b")
_FRONTAL_WORDS = re.compile(r"\b(PA|AP)\b")

_DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "StudyDescription")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one question about a film came to.

    Attributes:
        value: The answer ("PA", "AP", "CHEST"); empty when it is not one of these or unknown.
        named: What was written, when it came from a coded tag; empty when nothing was, or only in free text.
        source: The keyword of the tag it came from; empty when no tag answered.
        also: The other coded answer, when two tags disagree; otherwise empty.
        also_source: The keyword of the tag that disagrees.
    """

    value: str = ""
    named: str = ""
    source: str = ""
    also: str = ""
    also_source: str = ""


def _coded_view(header: Header, keyword: str) -> Answer:
    if keyword == "ViewCodeSequence":
        codes = header.codes(keyword)
        return Answer(_FRONTAL_CODES.get(codes[0], ""), codes[0], keyword) if codes else Answer()
    word, written = header.word(keyword), header.text(keyword)
    if keyword == "PatientPosition" and word not in _FRONTAL:
        # PS3.3 C.7.3.1.1.2: its own terms (HFS, FFP, ...) place a patient on a table and say nothing on the view.
        return Answer()
    return Answer(_FRONTAL.get(word, ""), written, keyword) if word else Answer()


def _described_view(header: Header) -> Answer:
    words = fold(header.text("SeriesDescription"))
    frontal = set(_FRONTAL_WORDS.findall(words))
    if _NOT_FRONTAL_WORDS.search(words):
        # "PA and lateral" names a study of two films; which of them this is cannot be told.
        return Answer(source="SeriesDescription")
    return Answer(frontal.pop(), source="SeriesDescription") if len(frontal) == 1 else Answer()


def find_view(header: Header, sources: tuple[str, ...]) -> Answer:
    """Returns the view, from the first tag that names one.

    Args:
        header: The header.
        sources: Keywords of the tags to ask, the most trusted first, of ViewPosition, ViewCodeSequence,
            PatientPosition (where some archives put the view) and SeriesDescription.

    Returns:
        The answer; `also` holds the view of a second coded tag that disagrees.
    """
    if sources == ("PatientPosition",):
        # Where this tag alone is asked, its value is taken for what it is.
        word = header.word("PatientPosition")
        return Answer(
            word if word in (_PA, _AP) else "", header.text("PatientPosition"), "PatientPosition" if word else ""
        )
    coded = [_coded_view(header, keyword) for keyword in sources if keyword != "SeriesDescription"]
    answered = [answer for answer in coded if answer.source]
    if answered:
        first = answered[0]
        for other in answered[1:]:
            if other.value != first.value:
                return dataclasses.replace(first, also=other.value or other.named, also_source=other.source)
        return first
    return _described_view(header) if "SeriesDescription" in sources else Answer()


def is_lateral_by_orientation(header: Header) -> bool:
    """Returns whether the rows run towards the front or back of the patient, as they do in a lateral film.

    Not enough to accept or refuse by: the same letters occur in other positions of the patient.

    Source:
        PS3.3 C.7.6.1.1.1, Patient Orientation: the first value is the direction of the rows.
    """
    directions = header.texts("PatientOrientation")
    return bool(directions) and directions[0][:1].upper() in ("A", "P")


def find_body_part(header: Header, accepted: tuple[str, ...], *, fallbacks: bool) -> Answer:
    """Returns whether the film shows the chest: value "CHEST", or empty where it does not or nobody says.

    Args:
        header: The header.
        accepted: Values of Body Part Examined that count as chest, folded.
        fallbacks: Whether the coded region and then the descriptions are asked where Body Part Examined is empty.

    Returns:
        The answer; `also` holds the code of an anatomic region that contradicts Body Part Examined.
    """
    # Several values can stand here; every one of them must be the chest.
    parts = header.texts("BodyPartExamined") if header.word("BodyPartExamined") else ()
    regions = header.codes("AnatomicRegionSequence") if fallbacks else ()
    elsewhere = next((code for code in regions if code not in _CHEST_CODES), "")
    if parts:
        strange = next((part for part in parts if fold(part) not in accepted), "")
        return Answer("" if strange else "CHEST", strange or parts[0], "BodyPartExamined", also=elsewhere)
    if regions:
        return Answer("" if elsewhere else "CHEST", elsewhere or regions[0], "AnatomicRegionSequence")
    for keyword in _DESCRIPTIONS if fallbacks else ():
        words = fold(header.text(keyword))
        chest, other = _CHEST_WORDS.search(words), _OTHER_WORDS.search(words)
        if chest and not other:
            return Answer("CHEST", source=keyword)
        if other and not chest:
            return Answer("", source=keyword)
    return Answer()
