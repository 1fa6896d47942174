"""The part of the body: from its own tag, else from a coded region, and from free text last."""

import dataclasses

from chexkeras.dicom.attributes import descriptions, vocabulary
from chexkeras.dicom.attributes.evidence import OF_THE_SERIES, OF_THE_STUDY, TagEvidence, described
from chexkeras.dicom.header import Header, fold

# PS3.16 CID 4031: chest, thorax, lung, intra-thoracic; SNOMED CT, then SNOMED RT.
_CHEST_CODES = frozenset({"816094009", "51185008", "39607008", "43799004", "T-D3000", "T-28000", "T-D3200"})
_DESCRIPTIONS = (*OF_THE_SERIES, OF_THE_STUDY)


def find_body_part(
    header: Header, accepted: tuple[str, ...], *, qualifiers: tuple[str, ...] = (), fallbacks: bool
) -> TagEvidence:
    """Returns whether the image shows the chest: value "CHEST", or empty where it does not or nobody says.

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
    against = next((keyword for keyword in OF_THE_SERIES if _names_another_part(described(header, keyword))), "")
    return dataclasses.replace(answer, also_source=against, study=_names_another_part(described(header, OF_THE_STUDY)))


def _body_part(header: Header, accepted: tuple[str, ...], qualifiers: tuple[str, ...], fallbacks: bool) -> TagEvidence:
    # Several values can stand here; every one of them must be the chest.
    parts = header.texts("BodyPartExamined") if header.word("BodyPartExamined") else ()
    regions = header.codes("AnatomicRegionSequence") if fallbacks else ()
    elsewhere = next((code for code in regions if code not in _CHEST_CODES), "")
    if parts:
        strange = next((part for part in parts if not _is_accepted(part, accepted, qualifiers)), "")
        against = "AnatomicRegionSequence" if elsewhere else ""
        return TagEvidence("" if strange else "CHEST", strange or parts[0], "BodyPartExamined", elsewhere, against)
    if regions:
        return TagEvidence("" if elsewhere else "CHEST", elsewhere or regions[0], "AnatomicRegionSequence")
    for keyword in _DESCRIPTIONS if fallbacks else ():
        words = described(header, keyword)
        chest, other = descriptions.names_chest(words), descriptions.names_other_part(words)
        if chest and not other:
            return TagEvidence("CHEST", source=keyword)
        if other and not chest:
            return TagEvidence("", source=keyword)
    return TagEvidence()


def _is_accepted(part: str, accepted: tuple[str, ...], qualifiers: tuple[str, ...]) -> bool:
    if fold(part) in accepted:
        return True
    if not qualifiers or len(part) > descriptions.LONGEST:
        return False
    # Beside qualifiers, names of the chest in any language may stand together: "CHEST/THORAX".
    words = descriptions.words_of(part)
    named = [word for word in words.split() if word not in qualifiers and word not in vocabulary.BESIDE]
    latin = descriptions.without_chest_names(" ".join(filter(str.isascii, named)))
    return bool(named) and all(word in accepted for word in latin.split()) and (words.isascii() or _is_chest(words))


def _is_chest(words: str) -> bool:
    elsewhere = descriptions.names_other_part(words) or descriptions.names_other_view(words)
    return descriptions.names_chest(words) and not elsewhere


def _names_another_part(words: str) -> bool:
    return descriptions.names_other_part(words) and not descriptions.names_chest(words)
