"""What the header says of an image: the view, the part of the body, and the patient's age.

Each comes from several tags, asked in the order in which they are trusted. Free text is asked last, in English, German,
French, Spanish, Italian and Portuguese. Only words count that are rare in indications and names, and what usually means
something else beside them is taken out before. Such lists are never complete: they can miss a lateral image, as the
tags can. The age comes from its tag, however it is written, or else from two dates.
"""

import contextlib
import dataclasses
import datetime
import re
import unicodedata

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
class TagEvidence:
    """What the tags answer to one question about an image, and which of them.

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
        return TagEvidence()
    answer = _described_view(header)
    return _compared_view(header, answer) if answer.value else answer


def _coded_view(header: Header, keyword: str) -> TagEvidence:
    if keyword == "ViewCodeSequence":
        codes = header.codes(keyword)
        return TagEvidence(_FRONTAL_CODES.get(codes[0], ""), codes[0], keyword) if codes else TagEvidence()
    word, written = header.word(keyword), header.text(keyword)
    if keyword == "PatientPosition" and word not in _FRONTAL:
        # PS3.3 C.7.3.1.1.2: its own terms (HFS, FFP, ...) place a patient on a table and say nothing on the view.
        return TagEvidence()
    views = {_FRONTAL.get(_without_posture(part), "") for part in header.texts(keyword)}
    # Several values can stand here; all must name one view.
    return TagEvidence(views.pop() if len(views) == 1 else "", written, keyword) if word else TagEvidence()


def _without_posture(written: str) -> str:
    return " ".join(word for word in fold(written).split() if word not in _BESIDE_A_VIEW)


def _described_view(header: Header) -> TagEvidence:
    words = _described(header, "SeriesDescription")
    frontal = frontal_views(words)
    if names_other_view(words):
        # "PA and lateral" names a study of two images; which of them this is cannot be told.
        return TagEvidence(source="SeriesDescription")
    return TagEvidence(frontal.pop(), source="SeriesDescription") if len(frontal) == 1 else TagEvidence()


def _compared_view(header: Header, answer: TagEvidence) -> TagEvidence:
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


def _described(header: Header, keyword: str) -> str:
    return words_of(header.text(keyword))


def _names_another_view(words: str) -> bool:
    return names_other_view(words) and not names_frontal_view(words)


def is_lateral_by_orientation(header: Header) -> bool:
    """Returns whether the rows run towards the front or back of the patient, as they do in a lateral image.

    Not enough to accept or refuse by: the same letters occur in other positions of the patient.

    Source:
        PS3.3 C.7.6.1.1.1, Patient Orientation: the first value is the direction of the rows.
    """
    directions = header.texts("PatientOrientation")
    return bool(directions) and directions[0][:1].upper() in ("A", "P")


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
    against = next((keyword for keyword in _OF_THE_SERIES if _names_another_part(_described(header, keyword))), "")
    return dataclasses.replace(
        answer, also_source=against, study=_names_another_part(_described(header, _OF_THE_STUDY))
    )


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
        words = _described(header, keyword)
        chest, other = names_chest(words), names_other_part(words)
        if chest and not other:
            return TagEvidence("CHEST", source=keyword)
        if other and not chest:
            return TagEvidence("", source=keyword)
    return TagEvidence()


def _is_accepted(part: str, accepted: tuple[str, ...], qualifiers: tuple[str, ...]) -> bool:
    if fold(part) in accepted:
        return True
    # Beside qualifiers, synonyms may stand together: "CHEST/THORAX".
    words = [word for word in plain(part).split() if word not in qualifiers] if qualifiers else []
    return bool(words) and all(word in accepted for word in words)


def _names_another_part(words: str) -> bool:
    return names_other_part(words) and not names_chest(words)


_CHEST = re.compile(
    r"\b(CHEST\w*|CXR|THORA[XK]\w*|THORACIC(?! (SPINE|VERTEBR\w*|INLET|OUTLET))|TORAX|TORACE"
    r"|LUNG(S|E|EN)?|POUMONS?|PULMON\w*|PULMAO|POLMON\w*)\b"
)
_OTHER_PART = re.compile(
    r"\b(ABD|ABDOM\w*|ADDOM\w*|RIBS?|RIPPEN\w*|COTES|COSTILLAS?|COSTELAS?|STERNUM|PELVI\w*|BECKEN\w*|BASSIN|BACINO|BACIA"
    r"|\w*SPINE|SPINAL|VERTEBR\w*|WIRBEL\w*|RACHIS|COLUMNA|COLONNA|COLUNA|LUMBAR|LUMBAIRE|CERVICAL|[HBL]WS"
    r"|SKULL|SCHAE?DEL\w*|CRANE|CRANEO|CRANIO|HEAD|SINUSES|PARANASAL|NNH|NECK|MANDIBLE|DENTAL"
    r"|SHOULDER|SCHULTER\w*|EPAULE|HOMBRO|SPALLA|OMBRO|SCAPULA|CLAVIC\w*|HUMER\w*|ELBOW|FOREARM|WRIST|HANDS?|FINGERS?|MANO"
    r"|HIPS?|HUE?FT\w*|HANCHE|CADERA|FEMUR|KNEES?|KNIE\w*|GENOU|RODILLA|GINOCCHIO|JOELHO|PATELLA|TIBIA|LEGS?|ANKLES?"
    r"|FOOT|FEET|TOES?|EXTREMIT\w*|BREAST|MAMMO\w*|KUB|BARIUM)\b"
)
# Positions of a chest patient, reasons for the image and ways of speaking that name another part without meaning it.
_IDIOMS = re.compile(
    r"\b(HEAD (UP|DOWN|END|OF|ELEV\w*)|FOOT (OF|END)|HAND ?HELD|NECK LINE|FINGER CLUBBING"
    r"|BREAST (CA|CANCER|IMPLANTS?)|(PRE|POST) ?OP(ERATIVE)? \w+)\b"
)

# Decubitus without a side is the supine patient in the Romance languages.
_SIDE = r"(LAT\w*|LEFT|RIGHT|L|R|IZQ\w*|DER\w*|DCHO|ESQ\w*|DIR\w*|GAUCHE|DROITE?|SIN\w*|DES\w*)"
_OTHER_VIEW = re.compile(
    r"\b([LR]?LAT|LATS?|LATERAL(?!I[TD])\w*|LATERO|LLD|RLD|OBL|OBLI[QCK]\w*|RAO|LAO|RPO|LPO|OAG|OAD|LORDOTI\w*"
    r"|SEITL\w*|SEITE|SEITEN|SEITENAUFN\w*|SCHRAE?G\w*|ANLIEGEND|PROFIL\w*|PERFIL|(CROSS|X) ?TABLE"
    rf"|DECUB\w* {_SIDE}|{_SIDE} DECUB\w*|(CHEST|THORAX|TORAX|TORACE|RX|PROJ\w*|PROIEZ\w*) (LL|RL|L L|R L))\b"
    r"|^(LL|RL|L L|R L)$"
)
_PA_AP = re.compile(r"\b(?:CHEST|THORAX|TORAX)?(PA|AP)\b")
# Enough to say that a description does not speak of another view alone: a frontal view, or two views.
_SAYS_FRONTAL = re.compile(
    r"\b((CHEST|THORAX|TORAX)?(PA|AP)|FRONT\w*|FRNT|FACE|FRENTE|(POSTERO|ANTERO)\w*|DV|VD|D V|V D|SAGITTAL\w*"
    r"|F (Y|ET|E|U|UND|AND|PROFIL|PERFIL|LAT)"
    r"|(2|TWO|ZWEI|DOS|DUE|DUAS|DEUX) ?(V|VW|VWS|VIEWS?|EB\w*|P|PRO\w*|INC\w*))\b"
)


def words_of(text: str) -> str:
    """Returns a description as plain words, "P.A." written as one; what the functions below are given.

    Example:
        >>> words_of("Thorax p.a./seitl.")
        'THORAX PA SEITL'
    """
    return re.sub(r"\b(P A|A P)\b", lambda found: found[0].replace(" ", ""), plain(text))


def plain(text: str) -> str:
    """Returns text folded, without accents; UTF-8 that was read as Latin-1 is repaired first.

    Example:
        >>> plain("Tórax_p.a.")
        'TORAX P A'
    """
    with contextlib.suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    letters = unicodedata.normalize("NFKD", text)
    return fold("".join(letter for letter in letters if not unicodedata.combining(letter)))


def names_chest(words: str) -> bool:
    """Returns whether the chest is named."""
    return bool(_CHEST.search(words))


def names_other_part(words: str) -> bool:
    """Returns whether another part of the body is named, alone or beside the chest.

    Example:
        >>> names_other_part("THORACIC SPINE"), names_other_part("PORT HEAD UP 45")
        (True, False)
    """
    return bool(_OTHER_PART.search(_IDIOMS.sub(" ", words)))


def names_other_view(words: str) -> bool:
    """Returns whether a view that is not frontal is named, alone or beside a frontal one.

    Example:
        >>> names_other_view("TORAX DECUBITO SUPINO"), names_other_view("LEFT LATERAL DECUBITUS")
        (False, True)
    """
    return bool(_OTHER_VIEW.search(words))


def names_frontal_view(words: str) -> bool:
    """Returns whether a frontal view is named, or that there are two views, one of which is frontal."""
    return bool(_SAYS_FRONTAL.search(words))


def frontal_views(words: str) -> set[str]:
    """Returns which of "PA" and "AP" are named."""
    return set(_PA_AP.findall(words))


OLDEST_PLAUSIBLE_YEARS = 120.0

_YEARS_PER_UNIT = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
# The date nearest to the exposure first: a study can be filed years later.
_EXPOSURE_DATES = ("AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate")


def find_age(header: Header, *, from_dates: bool) -> tuple[float | None, tuple[str, ...]]:
    """Returns the age in years or None, and the warning codes met on the way.

    Args:
        header: The header.
        from_dates: Whether a missing age may be worked out from the dates of birth and exposure.
    """
    years, warning = parse_age(header.text("PatientAge"))
    warnings: tuple[str, ...] = (warning,) if warning else ()
    if years is None and from_dates:
        years = age_from_dates(header)
        if years is not None:
            # A missing age is no longer unknown; a malformed one is still worth saying.
            warnings = (*(code for code in warnings if code != "age_unknown"), "age_from_dates")
    return years, warnings


def parse_age(text: str) -> tuple[float | None, str | None]:
    """Reads a patient's age.

    Args:
        text: The value of Patient's Age (0010,1010): three digits and D, W, M or Y; shorter or bare numbers are
            common in practice and are read as well, the latter as years.

    Returns:
        The age in years, or None where there is none; and a warning code ("age_unknown", "age_format",
        "age_malformed", "age_implausible"), or None for a well written, plausible age.

    Source:
        PS3.5 6.2, VR AS; bare numbers occur in the RSNA pneumonia challenge's files.

    Example:
        >>> parse_age("045Y"), parse_age("006M"), parse_age("58")
        ((45.0, None), (0.5, None), (58.0, 'age_format'))
    """
    stripped = text.strip().upper()
    if not stripped:
        return None, "age_unknown"
    match = re.fullmatch(r"(\d{1,4}) ?([DWMY]?)", stripped, flags=re.ASCII)
    if match is None:
        return None, "age_malformed"
    years = int(match[1]) * _YEARS_PER_UNIT[match[2] or "Y"]
    if years > OLDEST_PLAUSIBLE_YEARS:
        return None, "age_implausible"
    well_written = len(match[1]) == 3 and match[2] and " " not in stripped
    return years, None if well_written else "age_format"


def age_from_dates(header: Header) -> float | None:
    """Returns the whole years between birth and exposure, or None where the dates are missing or cannot be right.

    Whole years, as the age tag gives them: a fraction would tell the birthday to whoever knows the day of the image.
    """
    born = _date(header.text("PatientBirthDate"))
    exposed = next((date for name in _EXPOSURE_DATES if (date := _date(header.text(name)))), None)
    if born is None or exposed is None:
        return None
    before_birthday = (exposed.month, exposed.day) < (born.month, born.day)
    years = float(exposed.year - born.year - before_birthday)
    return years if 0 <= years <= OLDEST_PLAUSIBLE_YEARS else None


def _date(text: str) -> datetime.date | None:
    # PS3.5 6.2, VR DA; older files separate the parts with full stops.
    match = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", text.strip(), flags=re.ASCII)
    if match is None:
        return None
    try:
        return datetime.date(*map(int, match.groups()))
    except ValueError:
        return None
