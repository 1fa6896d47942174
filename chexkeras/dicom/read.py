"""One file in, one film out, or a reasoned refusal: the only way into the DICOM room."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from chexkeras import checks
from chexkeras.dicom import ages, anatomy, decode, gate, pixels, privacy
from chexkeras.dicom.header import Header
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.rules import OFF, REJECT

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MAGIC_AT = 128
_MAGIC = b"DICM"
_MAXIMUM_PADDING = 0.5
_MAXIMUM_SATURATION = 0.5

# Only these are kept when a file is parsed, so that names and numbers of patients are never held at all.
_TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "Modality", "PresentationIntentType", "PatientSex"),
    *("PatientSpeciesDescription", "PatientSpeciesCodeSequence", "AnatomicalOrientationType"),
    *("BodyPartExamined", "AnatomicRegionSequence", "StudyDescription", "SeriesDescription", "ProtocolName"),
    *("ViewPosition", "ViewCodeSequence", "PatientPosition", "PatientOrientation"),
    *("PatientAge", "PatientBirthDate", "AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate"),
    *("BurnedInAnnotation", "LossyImageCompression", "ImagerPixelSpacing", "PixelSpacing"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Radiograph:
    """A film ready to be scored. It carries no identifier, no date and no free text.

    Attributes:
        pixels: (rows, columns), uint8; 0 is black, 255 is white.
        view: "PA" or "AP"; empty for a plain image file, which does not say.
        age_years: Age at exposure; NaN when unknown.
        sex: "M", "F" or "".
        pixel_spacing_mm: Distance of rows at the detector or in the patient; NaN when unknown.
        warnings: Codes of the rules that the film breaks without being refused.
        decoder: What decoded it: "native", the name of a pydicom plugin, or "pillow" for an image file.
        photometric: "MONOCHROME1", "MONOCHROME2" or "RGB", as stored; the pixels are always in MONOCHROME2's sense.
        key: Keyed hash of the SOP instance UID; empty for an image file.
    """

    pixels: np.ndarray = dataclasses.field(repr=False)
    view: str
    age_years: float
    sex: str
    pixel_spacing_mm: float
    warnings: tuple[str, ...]
    decoder: str
    photometric: str
    key: str


def is_dicom(path: str | Path) -> bool:
    """Returns whether a file is DICOM by its content, whatever its name.

    Args:
        path: A file.

    Source:
        PS3.10 7.1.
    """
    try:
        with Path(path).open("rb") as handle:
            return handle.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
    except OSError:
        return False


def read_dicom(path: str | Path, *, profile: str | Profile = "clinical") -> Radiograph:
    """Reads a film from a DICOM file, if the profile accepts it.

    The header is judged first; pixels are read and decoded only when it passes.

    Args:
        path: A DICOM file.
        profile: "clinical", "course", or a `Profile` of your own.

    Returns:
        The film.

    Raises:
        DicomRejected: If it must not be scored; says why, and repeats no free text of the file.
        FileNotFoundError: If there is no such file.
    """
    file = checks.existing_file(path, "path")
    chosen = find_profile(profile)
    return _raise_or_return(_outcome(file, chosen))


def _raise_or_return(outcome: Radiograph | DicomRejected) -> Radiograph:
    if isinstance(outcome, DicomRejected):
        # An exception keeps the causes and the frames it passed through, with the values in them; none may go along.
        outcome.__context__ = outcome.__cause__ = None
        raise outcome.with_traceback(None)
    return outcome


def _outcome(file: Path, profile: Profile) -> Radiograph | DicomRejected:
    try:
        with file.open("rb") as handle, privacy.quiet():
            return _read(handle, profile)
    except DicomRejected as rejected:
        return rejected
    except OSError as error:
        return DicomRejected.because("unreadable", "", f"a file that can be opened ({privacy.scrub(error)})")


@contextlib.contextmanager
def _rejecting(code: str) -> Iterator[None]:
    """Turns what reading an untrusted file raises into a rejection that names the class of the error only."""
    try:
        yield
    except MemoryError:
        raise DicomRejected.because("decoder_limit", "", "a file that fits into memory") from None
    except privacy.decode_errors() as error:
        raise DicomRejected.because(code, "", f"a file that can be read ({privacy.scrub(error)})") from None


class _Bounded:
    """A file for the parser: it gives no more than there is, and never all that is left at once.

    The parser asks for as many bytes as a length in the file says, up to 4 GB, for which Python would make room first.
    And it asks for all that is left only to inflate it, a thousandfold if it must, before any check.
    """

    class Deflated(Exception):
        """The parser was about to inflate the data set."""

    def __init__(self, handle: BinaryIO, size: int):
        self._handle, self._size = handle, size
        self.seek, self.tell = handle.seek, handle.tell

    def read(self, count: int = -1) -> bytes:
        """Returns the next `count` bytes, fewer at the end of the file."""
        if count < 0:
            raise self.Deflated
        return self._handle.read(min(count, max(self._size - self.tell(), 0)))


def _read(handle: BinaryIO, profile: Profile) -> Radiograph:
    size = _check_file(handle, profile)
    bounded = _Bounded(handle, size)
    with _rejecting("unreadable"):
        dataset = _parse(bounded, _TAGS, stop_before_pixels=True)
    meta = Header(dataset.file_meta)
    if meta.text("MediaStorageSOPClassUID") == gate.DICOMDIR:
        raise DicomRejected.because("dicomdir")
    if meta.text("TransferSyntaxUID") not in decode.NATIVE | decode.COMPRESSED:
        raise DicomRejected.because("transfer_syntax")
    # The parser stops at the pixel data, or at the end of the file where there is none.
    more = handle.tell() < size
    warnings = gate.require(gate.check_header(dataset, size, profile))
    with _rejecting("unreadable"):
        image = _parse(bounded, ("PixelData",), stop_before_pixels=False)
        if "PixelData" in image:
            # As it stands in the file: converting it needs the tags around it.
            dataset["PixelData"] = image.get_item("PixelData")
    if "PixelData" not in dataset:
        raise DicomRejected.because("truncated" if more else "no_pixels")
    with _rejecting("decode"):
        rendered = pixels.render(dataset, profile.pixel_steps)
    _check_not_constant(rendered.pixels)
    quality: tuple[str, ...] = ("padding",) if rendered.padding_fraction > _MAXIMUM_PADDING else ()
    quality += _saturation(rendered.pixels, rendered.padding_fraction)
    header = Header(dataset)
    years, _ = ages.find_age(header, from_dates=profile.age_from_dates)
    uid, sex = header.text("SOPInstanceUID"), header.word("PatientSex")
    return Radiograph(
        pixels=rendered.pixels,
        view=anatomy.find_view(header, profile.view_sources).value,
        age_years=math.nan if years is None else years,
        sex=sex if sex in ("M", "F") else "",
        pixel_spacing_mm=_spacing(header),
        warnings=_applicable((*warnings, *quality, *rendered.warnings), profile),
        decoder=rendered.decoder,
        photometric=header.word("PhotometricInterpretation"),
        key=privacy.keyed_hash(uid) if uid else "",
    )


def _applicable(codes: tuple[str, ...], profile: Profile) -> tuple[str, ...]:
    """Returns the codes once each, without those that the profile switches off.

    Raises:
        DicomRejected: If the profile makes one of them a reason to refuse the film.
    """
    for code in codes:
        if profile.severity(code) == REJECT:
            raise DicomRejected.because(code)
    return tuple(dict.fromkeys(code for code in codes if profile.severity(code) != OFF))


def _check_not_constant(grey: np.ndarray) -> None:
    if grey.min() == grey.max():
        raise DicomRejected.because("constant", str(grey.flat[0]))


def _saturation(grey: np.ndarray, padding_fraction: float = 0.0) -> tuple[str, ...]:
    """Returns the code of a film that shows little but black or little but white; padding, shown black, is no part."""
    black = np.count_nonzero(grey == 0) / grey.size - padding_fraction
    white = np.count_nonzero(grey == 255) / grey.size
    return ("saturated",) if max(black, white) > _MAXIMUM_SATURATION else ()


def _check_file(handle: BinaryIO, profile: Profile) -> int:
    """Checks what can be told before the data set is parsed, and returns the file's size in bytes."""
    size = handle.seek(0, 2)
    handle.seek(0)
    if size > profile.maximum_file_bytes:
        raise DicomRejected.because("too_large", str(size), profile=profile)
    if handle.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] != _MAGIC:
        raise DicomRejected.because("not_dicom")
    return size


def _parse(bounded: _Bounded, keywords: tuple[str, ...], *, stop_before_pixels: bool) -> "Dataset":
    from pydicom import dcmread

    bounded.seek(0)
    source = cast(BinaryIO, bounded)
    try:
        return dcmread(source, stop_before_pixels=stop_before_pixels, specific_tags=list(keywords))
    except _Bounded.Deflated:
        raise DicomRejected.because("transfer_syntax") from None


def _spacing(header: Header) -> float:
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        numbers = header.numbers(keyword)
        if numbers and numbers[0] > 0:
            return numbers[0]
    return math.nan


def read_film(path: str | Path, profile: str | Profile = "clinical") -> Radiograph:
    """Reads a film from a DICOM, PNG or JPEG file, told apart by content.

    An image file has no header: what it shows cannot be checked, which the warning "no_header" says.

    Args:
        path: A file.
        profile: "clinical", "course", or a `Profile` of your own; of an image file only the size is checked.

    Returns:
        The film.

    Raises:
        DicomRejected: If it must not be scored; "unreadable" where it is neither DICOM nor an image.
        FileNotFoundError: If there is no such file.
    """
    file = checks.existing_file(path, "path")
    chosen = find_profile(profile)
    return read_dicom(file, profile=chosen) if is_dicom(file) else _raise_or_return(_image_outcome(file, chosen))


def _image_outcome(file: Path, profile: Profile) -> Radiograph | DicomRejected:
    try:
        with privacy.quiet(), _rejecting("unreadable"):
            grey, warnings = _grey_image(file, profile)
        _check_not_constant(grey)
        codes = _applicable((*warnings, *_saturation(grey)), profile)
        return Radiograph(grey, "", math.nan, "", math.nan, codes, "pillow", "", "")
    except DicomRejected as rejected:
        return rejected


def _grey_image(file: Path, profile: Profile) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decodes a PNG or JPEG file into uint8 grey values, and returns them with the codes of the warnings."""
    from PIL import Image

    if file.stat().st_size > profile.maximum_file_bytes:
        raise DicomRejected.because("too_large", profile=profile)
    with Image.open(file, formats=("PNG", "JPEG")) as image:
        warnings = gate.require(gate.check_size(image.height, image.width, profile))
        if image.mode.startswith("I"):
            # 16-bit grey values; Pillow's own conversion to 8 bits would clip them.
            grey = np.rint(np.asarray(image, dtype=np.float64) / 257.0).astype(np.uint8)
        else:
            grey = np.asarray(image.convert("L"))
    return grey, ("no_header", *warnings)
