"""Who and what a film is of, as its result must repeat it: patient, study, and the film that is referred to.

This is the only place in the package that reads identifiers of patients and studies. They go into DICOM objects, which
return to the archive that the film came from, and nowhere else: no message, log or table has them. A value that does
not conform is left empty where the standard allows that, never repaired by guessing; where it decides whose result it
is, no object is made.
"""

import dataclasses
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.dicom import elements, privacy
from chexkeras.dicom.attributes.charsets import readings
from chexkeras.dicom.header import Header, name_tag
from chexkeras.dicom.objects.display_tags import DISPLAY_KEYWORDS, DisplayTags, display_tags
from chexkeras.dicom.read import is_dicom
from chexkeras.dicom.rejection import DicomRejected

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_UIDS = {
    "StudyInstanceUID": "by which a result is bound to its study",
    "SeriesInstanceUID": "by which a result refers to the film",
    "SOPInstanceUID": "by which a result refers to the film",
    "SOPClassUID": "by which a result refers to the film",
}
# Keyword and longest value of texts that may be empty (PS3.3 C.7.1.1, C.7.2.1; PS3.5 6.2).
_TEXTS = {"IssuerOfPatientID": 64, "AccessionNumber": 16, "StudyID": 16}
_NAMES = ("PatientName", "ReferringPhysicianName")
_DATES, _TIMES = ("PatientBirthDate", "StudyDate"), ("StudyTime",)
_SEXES = ("M", "F", "O")
_IMAGE = (
    *("Modality", "InstanceNumber", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("NumberOfFrames", *DISPLAY_KEYWORDS),
)
_KEYWORDS = (*_UIDS, "PatientID", *_TEXTS, *_NAMES, *_DATES, *_TIMES, "PatientSex", *_IMAGE)

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DATE = re.compile(r"(1[89]|2[01])\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_LONGEST_ID, _LONGEST_UID, _LONGEST_NAME = 64, 64, 64
# PS3.5 6.2: a person's name has up to three groups of up to five components.
_MOST_GROUPS, _MOST_COMPONENTS = 3, 5


class NotDescribable(ValueError):
    """A file of which no DICOM object can be made; the message says why and repeats no value of the file."""


@dataclasses.dataclass(frozen=True, eq=False)
class SourceFilm:
    """A film, as objects about it need it. Its data set holds identifiers of a patient: it is never printed.

    Attributes:
        dataset: Patient, study, and the film itself: values that conform to the standard, in UTF-8, and nothing else.
        rows: Rows as stored; 0 where the file does not say.
        columns: Columns as stored; 0 where the file does not say.
        grey: Whether it is one grey image, which a presentation state can refer to.
        display: How its own tags show its values.
    """

    dataset: "Dataset" = dataclasses.field(repr=False)
    rows: int
    columns: int
    grey: bool
    display: DisplayTags

    @property
    def uid(self) -> str:
        """Its SOP instance UID."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def study(self) -> str:
        """Its study instance UID."""
        return str(self.dataset.StudyInstanceUID)

    @property
    def series(self) -> str:
        """Its series instance UID."""
        return str(self.dataset.SeriesInstanceUID)

    @property
    def number(self) -> int:
        """Its instance number, or 1."""
        return int(self.dataset.InstanceNumber)


@checked
def film_identity(path: str | Path) -> tuple[str, str, str]:
    """Returns the UIDs of study, series and film that a DICOM file names.

    Args:
        path: A DICOM file, whether the gate accepts it or not.

    Raises:
        FileNotFoundError: If there is no such file.
        NotDescribable: If it is no DICOM file, cannot be read, or lacks one of them.
    """
    header = _read_header(path)
    named = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    with privacy.quiet():
        study, series, film = (_uid(header, keyword, _UIDS[keyword]) for keyword in named)
    return study, series, film


@checked
def read_source(path: str | Path) -> SourceFilm:
    """Reads who and what a film is of.

    Args:
        path: A DICOM file, whether the gate accepts it or not.

    Raises:
        FileNotFoundError: If there is no such file.
        NotDescribable: If it is no DICOM file, cannot be read, or does not say which study, series and instance it is
            or whose.
    """
    header = _read_header(path)
    with privacy.quiet():
        return _source(header)


def _read_header(path: str | Path) -> Header:
    file = checks.existing_file(checks.typed_path(path, "path"), "path")
    if not is_dicom(file):
        raise NotDescribable("the file is no DICOM file; DICOM objects are made of DICOM files only.")
    with privacy.quiet():
        try:
            return Header(_header(file))
        except DicomRejected as refused:
            reason = refused.code
        except privacy.tag_errors() as error:
            reason = privacy.scrub(error)
    raise NotDescribable(f"the header cannot be read ({reason}); no DICOM object is made.")


def _header(file: Path) -> "Dataset":
    with file.open("rb") as handle:
        bounded = elements.BoundedFile(handle, file.stat().st_size)
        ends = (elements.PIXEL_DATA, *elements.FLOATS)
        found = elements.parse(bounded, _KEYWORDS, lambda tag: tag in ends)
        if bounded.overran:
            # Cut off in the middle, a number could be that of another patient.
            raise DicomRejected.because("truncated")
        return found


def _source(header: Header) -> SourceFilm:
    from pydicom.dataset import Dataset

    clean = Dataset()
    clean.SpecificCharacterSet = "ISO_IR 192"
    for keyword, purpose in _UIDS.items():
        setattr(clean, keyword, _uid(header, keyword, purpose))
    clean.PatientID = _patient_id(header)
    for keyword in _NAMES:
        setattr(clean, keyword, _name(header, keyword))
    for keyword, longest in _TEXTS.items():
        value = _text(header, keyword)
        fits = value if _is_plain(value) and len(value) <= longest else ""
        if fits or keyword != "IssuerOfPatientID":
            setattr(clean, keyword, fits)
    for keyword in _DATES:
        setattr(clean, keyword, _matching(header, keyword, _DATE))
    for keyword in _TIMES:
        setattr(clean, keyword, _matching(header, keyword, _TIME))
    sex = header.word("PatientSex")
    clean.PatientSex = sex if sex in _SEXES else ""
    number = header.integer("InstanceNumber") or 0
    clean.InstanceNumber = number if 0 < number < 2**31 else 1
    modality = header.word("Modality")
    clean.Modality = modality if re.fullmatch("[A-Z0-9]{2,16}", modality) else "OT"
    return _with_image(header, clean)


def _with_image(header: Header, clean: "Dataset") -> SourceFilm:
    rows, columns = (header.integer(keyword) or 0 for keyword in ("Rows", "Columns"))
    photometric = header.word("PhotometricInterpretation")
    has_size = 0 < rows < 2**16 and 0 < columns < 2**16
    grey = (
        has_size
        and photometric in ("MONOCHROME1", "MONOCHROME2")
        and header.integer("SamplesPerPixel") in (None, 1)
        and header.integer("NumberOfFrames") in (None, 1)
    )
    if has_size:
        clean.Rows, clean.Columns = rows, columns
    if grey:
        clean.SamplesPerPixel, clean.PhotometricInterpretation = 1, photometric
    tags = display_tags(header) if grey else DisplayTags()
    return SourceFilm(clean, rows if has_size else 0, columns if has_size else 0, grey, tags)


def _uid(header: Header, keyword: str, purpose: str) -> str:
    value = header.text(keyword)
    if len(value) > _LONGEST_UID or not _UID.fullmatch(value):
        has = "has no" if not value else "has no valid"
        raise NotDescribable(f"the film {has} {name_tag(keyword)}, {purpose}; no DICOM object is made of it.")
    return value


def _patient_id(header: Header) -> str:
    value = _text(header, "PatientID")
    if not _is_plain(value) or len(value) > _LONGEST_ID:
        raise NotDescribable(
            f"the film's {name_tag('PatientID')} does not conform (PS3.5 6.2: one value of at most {_LONGEST_ID} "
            "characters in the declared character set), and a changed one would name another patient; no DICOM object "
            "is made of it."
        )
    return value


def _text(header: Header, keyword: str) -> str:
    return _declared(header, header.text(keyword))


def _name(header: Header, keyword: str) -> str:
    value = header.value(keyword)
    name = _declared(header, _shown(value)).rstrip(" ^=")
    groups = name.split("=")
    fits = all(len(group) <= _LONGEST_NAME and group.count("^") < _MOST_COMPONENTS for group in groups)
    return name if _is_plain(name) and fits and len(groups) <= _MOST_GROUPS else ""


def _shown(value: Any) -> str:
    from pydicom.valuerep import PersonName

    if value is None:
        return ""
    try:
        # Several names, where one is expected, are told by the sign that parts them, which no name has.
        return str(value) if isinstance(value, (str, PersonName)) else "\\".join(map(str, value))
    except privacy.tag_errors():
        return "\\"


def _declared(header: Header, text: str) -> str:
    """Returns a text by the character set that the file declares; without one as UTF-8, if it is, or else Latin-1."""
    return text if header.texts("SpecificCharacterSet") else readings(text)[0]


def _is_plain(text: str) -> bool:
    r"""Returns whether a text is one value without control characters and without what could not be decoded."""
    return "\\" not in text and not any(
        unicodedata.category(each) in ("Cc", "Cs", "Co", "Cn") or each == "\ufffd" for each in text
    )


def _matching(header: Header, keyword: str, pattern: re.Pattern[str]) -> str:
    value = header.text(keyword)
    return value if pattern.fullmatch(value) else ""
