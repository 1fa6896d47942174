"""The gate: may this image be scored at all? Every violation is collected, each with a stable code."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from chexkeras.dicom import privacy
from chexkeras.dicom.attributes import ages, body_parts, orientation, subjects, views
from chexkeras.dicom.header import Header, is_rgb, name_tag
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.dicom.rejection import DicomRejected, Violation
from chexkeras.dicom.rules import OFF, REJECT, RULE_BY_CODE, WARN

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DICOMDIR = "1.2.840.10008.1.3.10"
_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
# Computed radiography, and digital X-ray for presentation.
_RADIOGRAPHS = ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1")
# Secondary capture: single-frame, and multi-frame of bytes and of words, which exporters use for single frames too.
_SECONDARY_CAPTURES = ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.2", "1.2.840.10008.5.1.4.1.1.7.3")

# A data set with none of them holds no image, and is not said to hold a bad one.
_IMAGE_TAGS = ("Rows", "Columns", "BitsAllocated", "BitsStored")


class _Notes:
    """Collects violations with the severity that the profile gives them."""

    def __init__(self, profile: Profile):
        self.profile = profile
        self.violations: list[Violation] = []

    def add(
        self, code: str, found: str | int | float = "", *, own: str = "", keyword: str = "", expected: str = ""
    ) -> None:
        """Notes a violation, unless the profile switches its rule off.

        Args:
            code: The rule's code.
            found: The value of the file; text is repeated only if it is a known term, a number only if it is small.
            own: What was found, in words of our own.
            keyword: The tag, where it is not the rule's.
            expected: What would have passed, where it is not the rule's.
        """
        severity = self.profile.severity(code)
        if severity != OFF:
            tag = name_tag(keyword) if keyword else self.profile.tag(code)
            expected = expected or self.profile.expected(code)
            self.violations.append(Violation(code, severity, tag, own or privacy.repeatable(found), expected))

    def in_order(self) -> list[Violation]:
        """Returns the violations in the order of the rules."""
        order = list(RULE_BY_CODE)
        return sorted(self.violations, key=lambda violation: order.index(violation.code))


_Check = Callable[[Header, Profile, _Notes], None]


def check_header(dataset: "Dataset", file_size: int, profile: str | Profile = "clinical") -> list[Violation]:
    """Checks everything that can be checked before the pixels are decoded.

    Args:
        dataset: The header; pixel data may be absent.
        file_size: Size of the file in bytes.
        profile: A profile or its name.

    Returns:
        The violations, in the order of the rules; empty for an image in order.
    """
    chosen = find_profile(profile)
    header, notes = Header(dataset), _Notes(chosen)
    if file_size > chosen.maximum_file_bytes:
        notes.add("too_large", own=str(file_size))
    with privacy.quiet():
        for check in _CHECKS:
            check(header, chosen, notes)
    for keyword in header.unreadable:
        notes.add("unreadable", keyword=keyword, expected="a value that can be read")
    return notes.in_order()


def check_size(rows: int, columns: int, profile: str | Profile = "clinical") -> list[Violation]:
    """Checks the size of an image.

    Args:
        rows: Its rows; 0 when unknown.
        columns: Its columns; 0 when unknown.
        profile: A profile or its name.

    Returns:
        The violations: "geometry", "aspect" or none.
    """
    chosen = find_profile(profile)
    notes = _Notes(chosen)
    _note_size(rows, columns, chosen, notes)
    return notes.violations


def require(violations: list[Violation]) -> tuple[str, ...]:
    """Returns the codes of the warnings.

    Raises:
        DicomRejected: If any violation rejects.
    """
    if any(violation.severity == REJECT for violation in violations):
        raise DicomRejected(tuple(violations))
    return tuple(violation.code for violation in violations if violation.severity == WARN)


def _check_kind(header: Header, profile: Profile, notes: _Notes) -> None:
    sop_class, modality = header.sop_class, header.word("Modality")
    if sop_class == DICOMDIR:
        notes.add("dicomdir")
    elif sop_class in _SECONDARY_CAPTURES:
        notes.add("sop_class_secondary")
    elif sop_class not in (*_RADIOGRAPHS, _FOR_PROCESSING):
        # A UID itself is not repeated, it could be anyone's; the name of a registered class is no secret.
        notes.add("sop_class", own=_class_name(sop_class))
    if sop_class == _FOR_PROCESSING or header.word("PresentationIntentType") == "FOR PROCESSING":
        notes.add("for_processing", "FOR PROCESSING")
    if not modality:
        # The class says what the object is and the modality only repeats it, so that its absence need not reject.
        notes.add("modality_missing" if sop_class in _RADIOGRAPHS else "modality")
    elif modality not in profile.modalities:
        notes.add("modality", header.text("Modality"))


def _class_name(uid: str) -> str:
    from pydicom.uid import UID

    name = UID(uid).name
    return "" if name == uid else str(name)


def _check_subject(header: Header, profile: Profile, notes: _Notes) -> None:
    if subjects.is_animal(header):
        notes.add("species")
    if test_object := subjects.find_test_object(header):
        notes.add("quality_control", keyword=test_object)
    if computed := subjects.find_computed(header):
        notes.add("image_type", keyword=computed)
    elif subjects.is_secondary(header) and header.sop_class not in _SECONDARY_CAPTURES:
        notes.add("image_type_secondary", "SECONDARY")


def _check_body_part(header: Header, profile: Profile, notes: _Notes) -> None:
    answer = body_parts.find_body_part(
        header, profile.body_parts, qualifiers=profile.body_part_qualifiers, fallbacks=profile.body_part_fallbacks
    )
    if not answer.source:
        notes.add("body_part_missing")
    elif not answer.value:
        notes.add("body_part", answer.named, keyword=answer.source)
    elif answer.also_source:
        notes.add("body_part_conflict", answer.also, keyword=answer.also_source)
    elif answer.source != "BodyPartExamined":
        notes.add("body_part_fallback", keyword=answer.source)
    if answer.study:
        notes.add("body_part_study")


def _check_view(header: Header, profile: Profile, notes: _Notes) -> None:
    answer = views.find_view(header, profile.view_sources)
    if not answer.source:
        notes.add("view_missing")
    elif not answer.value:
        notes.add("view", answer.named, keyword=answer.source)
    elif answer.also_source and answer.also not in ("PA", "AP"):
        notes.add("view_conflict", answer.also, keyword=answer.also_source)
    elif answer.also_source:
        notes.add("view_ambiguous", answer.also, keyword=answer.also_source)
    if answer.study:
        notes.add("view_study")
    if answer.value and answer.source != "ViewPosition":
        notes.add("view_fallback", answer.value, keyword=answer.source)
    if orientation.find_orientation(header, answer) is None:
        notes.add("orientation", header.text("PatientOrientation"))


def _check_age(header: Header, profile: Profile, notes: _Notes) -> None:
    years, codes = ages.find_age(header, from_dates=profile.age_from_dates)
    for code in codes:
        notes.add(code)
    if years is None:
        return
    is_accepted = profile.minimum_age_years <= years <= profile.maximum_age_years
    if not is_accepted:
        notes.add("age", years)
    against, is_reliable = ages.age_against(header, years) if profile.age_from_dates else (None, False)
    if against is not None:
        decides = is_accepted != (profile.minimum_age_years <= against <= profile.maximum_age_years)
        notes.add(
            "age_conflict" if decides and is_reliable else "age_ambiguous",
            own=f"{years:g}, and {against:g} by the dates",
        )


def _note_size(rows: int, columns: int, profile: Profile, notes: _Notes) -> None:
    short, long = min(rows, columns), max(rows, columns)
    # Sizes have 16 bits; a larger number is none.
    found = f"{rows} X {columns}" if short > 0 and long < 65536 else ""
    if (
        short < max(profile.minimum_side_px, 1)
        or long > profile.maximum_side_px
        or short * long > profile.maximum_pixels
    ):
        notes.add("geometry", own=found)
    elif long > profile.maximum_aspect * short:
        notes.add("aspect", own=found)


def _check_frames_and_size(header: Header, profile: Profile, notes: _Notes) -> None:
    frames = header.integer("NumberOfFrames")
    if frames == 0:
        notes.add("number_of_frames", frames)
    elif frames not in (None, 1):
        notes.add("multi_frame", frames)
    if not any(map(header.has, _IMAGE_TAGS)):
        notes.add("no_pixels")
        return
    _note_size(header.integer("Rows") or 0, header.integer("Columns") or 0, profile, notes)


def _check_pixel_description(header: Header, profile: Profile, notes: _Notes) -> None:
    if not any(map(header.has, _IMAGE_TAGS)):
        return
    photometric, samples = header.word("PhotometricInterpretation"), header.integer("SamplesPerPixel")
    if is_rgb(header) and profile.severity("grey_as_rgb") != REJECT:
        # Whether the three channels are equal is seen when they are decoded.
        notes.add("grey_as_rgb", "RGB")
    elif photometric not in ("MONOCHROME1", "MONOCHROME2"):
        notes.add("photometric", header.text("PhotometricInterpretation"))
    elif samples not in (None, 1):
        notes.add("photometric", samples, keyword="SamplesPerPixel")
    allocated, stored = header.integer("BitsAllocated"), header.integer("BitsStored")
    high, sign = header.integer("HighBit"), header.integer("PixelRepresentation")
    if allocated not in (8, 16):
        notes.add("bits", "" if allocated is None else allocated, keyword="BitsAllocated", expected="8 or 16")
    elif stored is None or not 8 <= stored <= allocated:
        notes.add("bits", "" if stored is None else stored)
    elif high is not None and not stored - 1 <= high < allocated:
        notes.add("bits", high, keyword="HighBit")
    elif sign not in (None, 0, 1):
        notes.add("bits", sign, keyword="PixelRepresentation", expected="0 or 1")
    elif high is None or sign is None:
        notes.add("bits_assumed")


def _check_quality(header: Header, profile: Profile, notes: _Notes) -> None:
    if header.word("BurnedInAnnotation") == "YES":
        notes.add("burned_in", "YES")
    if header.text("LossyImageCompression") == "01":
        notes.add("lossy", "01")


_CHECKS: tuple[_Check, ...] = (
    _check_kind,
    _check_subject,
    _check_body_part,
    _check_view,
    _check_age,
    _check_frames_and_size,
    _check_pixel_description,
    _check_quality,
)
