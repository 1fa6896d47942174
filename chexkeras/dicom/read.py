"""One file in, one image out, or a reasoned refusal: the only way into the DICOM room."""

import contextlib
import dataclasses
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from chexkeras import checks, storage
from chexkeras.arguments import checked
from chexkeras.dicom import elements, gate, privacy
from chexkeras.dicom.attributes import ages, orientation, views
from chexkeras.dicom.facts import spacing
from chexkeras.dicom.header import Header, name_tag
from chexkeras.dicom.pixels import decoding, display, image_file, plausibility, upright
from chexkeras.dicom.pixels.array_image import GreyArray
from chexkeras.dicom.pixels.contrast import FEWEST_GREY_LEVELS, contrast_of_counts, percentiles, value_counts
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.dicom.rejection import DicomRejected, Violation
from chexkeras.dicom.rules import OFF, REJECT
from chexkeras.storage import Remote

if TYPE_CHECKING:
    from PIL.Image import Image

_MAGIC_AT = 128
_MAGIC = b"DICM"
_MAXIMUM_PADDING = 0.5
_MAXIMUM_SATURATION = 0.5
# Radiographs of NIH ChestX-ray14 have 0.3 % of white at most.
_MAXIMUM_WHITE = 0.1
# JPEG rounds the colours of a grey image in YCbCr to a few grey values.
_MOST_COLOUR = 8
# An image's own contrast fills the grey scale; what spans less is a blank plate with some noise or a single mark on it.
_LEAST_SPAN = 8
_MIDDLE = (0.5, 99.5)
# The same radiographs reach from at most 84 to at least 146.
_MIDDLE_GREY = 128
_SAVE_ANEW = (
    "; save the file anew from the original with its values scaled to all of 0 to 255, or 0 to 65535 in 16 bits"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Radiograph:
    r"""An image ready to be scored. It carries no identifier, no date and no free text.

    Attributes:
        pixels: (rows, columns), uint8; 0 is black, 255 is white.
        view: "PA" or "AP"; empty for a plain image file, which does not say.
        age_years: Age at exposure; NaN when unknown.
        sex: "M", "F" or "".
        pixel_spacing_mm: Distance of rows, as turned, at the detector or in the patient; NaN when unknown.
        warnings: Codes of the rules that the image breaks without being refused.
        decoder: What decoded it: "native", the name of a pydicom plugin, "pillow" for an image file, or "array" for
            values that were handed over.
        photometric: "MONOCHROME1", "MONOCHROME2" or "RGB", as stored; the pixels are always in MONOCHROME2's sense.
        key: Keyed hash of the SOP instance UID; empty for an image file.
        turned: How the stored image lay where it was turned upright: the directions of its rows and columns (PS3.3
            C.7.6.1.1.1), like ``F\R``; empty where the pixels lie as stored, or as the EXIF orientation of an image
            file says. What `pixels.upright.turn` makes of the stored pixels is shown here.
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
    turned: str = ""


@checked
def is_dicom(path: str | Path | bytes) -> bool:
    """Returns whether a file is DICOM by its content, whatever its name.

    Args:
        path: A file, its address in an object store, or its content.

    Source:
        PS3.10 7.1.
    """
    try:
        if not isinstance(path, bytes) and isinstance(place := storage.place(path), Remote):
            return storage.head(place.url, _MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
        with _opened(path if isinstance(path, bytes) else Path(path)) as handle:
            return handle.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
    except OSError:
        return False


def _opened(file: Path | bytes) -> BinaryIO:
    """Returns a file, or its content, opened for reading."""
    return io.BytesIO(file) if isinstance(file, bytes) else file.open("rb")


@checked
def read_dicom(path: str | Path | bytes, *, profile: str | Profile = "clinical") -> Radiograph:
    """Reads an image from a DICOM file, if the profile accepts it.

    The header is judged first; pixels are read and decoded only when it passes.

    An image that lies on a side or on the head, or is mirrored, as Patient Orientation says, is turned upright, with
    the warning "turned", if the view and the other tags (`attributes.orientation.find_orientation`) and the pixels
    (`pixels.upright.is_confirmed`) agree. Otherwise it stays as stored, with the warning "orientation". The profile
    "course" does neither.

    Args:
        path: A DICOM file, its address in an object store, or its content as bytes.
        profile: "clinical", "course", or a `Profile` of your own.

    Returns:
        The image.

    Raises:
        DicomRejected: If it must not be scored; says why, and repeats no free text of the file.
        FileNotFoundError: If there is no such file.
    """
    chosen = find_profile(profile)
    return _raise_or_return(_read_file(_checked_source(path, chosen), chosen))


def _checked_source(path: str | Path | bytes, profile: Profile) -> Path | bytes:
    if isinstance(path, bytes):
        return path
    place = storage.place(path)
    if isinstance(place, Remote):
        return fetched(place, profile)
    return checks.existing_file(checks.typed_path(path, "path"), "path")


def fetched(file: Remote, profile: Profile) -> bytes:
    """Returns the content of a file in an object store, of no more bytes than a file of this machine may have.

    Args:
        file: Where it is.
        profile: The gate's profile.

    Raises:
        DicomRejected: "too_large", of which nothing is read, or "unreadable" with the kind of the error.
    """
    try:
        return storage.content(file.url, profile.maximum_file_bytes)
    except storage.TooLarge as error:
        rejected = DicomRejected.because("too_large", str(error.size), profile=profile)
    except OSError as error:
        rejected = DicomRejected.because("unreadable", "", f"a file that can be read ({privacy.scrub(error)})")
    raise rejected


def _raise_or_return(result: Radiograph | DicomRejected) -> Radiograph:
    if isinstance(result, DicomRejected):
        # An exception keeps the causes and the frames it passed through, with the values in them; none may go along.
        result.__context__ = result.__cause__ = None
        raise result.with_traceback(None)
    return result


def _read_file(file: Path | bytes, profile: Profile) -> Radiograph | DicomRejected:
    try:
        with _opened(file) as handle, privacy.quiet(), _rejecting("unreadable"):
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


def _read(handle: BinaryIO, profile: Profile) -> Radiograph:
    size = _check_file(handle, profile)
    bounded = elements.BoundedFile(handle, size)
    with _rejecting("unreadable"):
        dataset, end = elements.header(bounded)
    meta = Header(dataset.file_meta)
    if meta.text("MediaStorageSOPClassUID") == gate.DICOMDIR:
        raise DicomRejected.because("dicomdir")
    if meta.text("TransferSyntaxUID") not in decoding.NATIVE | decoding.COMPRESSED:
        raise DicomRejected.because("transfer_syntax")
    # The parser stops at the pixel data, or at the end of the file where there is none.
    more = handle.tell() < size
    if bounded.overran and not end:
        raise DicomRejected.because("truncated", "", "elements that end within the file")
    if end in elements.FLOATS:
        raise DicomRejected.because("float_pixels")
    warnings = gate.require(gate.check_header(dataset, size, profile))
    with _rejecting("unreadable"):
        elements.take_pixels(bounded, dataset)
    if "PixelData" not in dataset:
        raise DicomRejected.because("truncated" if more else "no_pixels")
    with _rejecting("decode"):
        rendered = display.render(dataset, profile.pixel_steps)
    quality: tuple[str, ...] = ("padding",) if rendered.padding_fraction > _MAXIMUM_PADDING else ()
    quality += _check_grey_values(rendered.grey_counts, profile, *_shown_by(rendered))
    quality += _check_is_picture(rendered.pixels, profile)
    header = Header(dataset)
    years, _ = ages.find_age(header, from_dates=profile.age_from_dates)
    view = views.find_view(header, profile.view_sources)
    lies = orientation.find_orientation(header, view) if profile.turns_upright else ""
    pixels, turned, code = _upright(rendered.pixels, lies or "")
    uid, sex = header.text("SOPInstanceUID"), header.word("PatientSex")
    return Radiograph(
        pixels=pixels,
        view=view.value,
        age_years=math.nan if years is None else years,
        sex=sex if sex in ("M", "F") else "",
        pixel_spacing_mm=spacing(header, swapped=upright.swaps_sides(turned)),
        warnings=_applicable((*warnings, *quality, *rendered.warnings, *code), profile),
        decoder=rendered.decoder,
        photometric=header.word("PhotometricInterpretation"),
        key=privacy.keyed_hash(uid) if uid else "",
        turned=turned,
    )


def _upright(pixels: np.ndarray, lies: str) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Returns the pixels, turned where they look as they are said to lie, how they lay then, and a warning's code."""
    if not lies:
        return pixels, "", ()
    if not upright.is_confirmed(pixels, lies):
        return pixels, "", ("orientation",)
    return upright.turn(pixels, lies), lies, ("turned",)


def _applicable(codes: tuple[str, ...], profile: Profile) -> tuple[str, ...]:
    """Returns the codes once each, without those that the profile switches off.

    Raises:
        DicomRejected: If the profile makes one of them a reason to refuse the image.
    """
    for code in codes:
        if profile.severity(code) == REJECT:
            raise DicomRejected.because(code)
    return tuple(dict.fromkeys(code for code in codes if profile.severity(code) != OFF))


def _shown_by(rendered: display.Rendered) -> tuple[str, str]:
    """Returns the tag that decides what the image shows, and in words what it is given and how it shows it."""
    stored = f"stored values in use: {rendered.stored_levels}"
    way = {"VOILUTSequence": "VOI table", "WindowWidth": "window"}.get(rendered.shown_by)
    if way is None or rendered.stored_levels < FEWEST_GREY_LEVELS:
        return "PixelData", stored
    return rendered.shown_by, f"{stored}, shown through {way} {rendered.window}"


def _check_grey_values(
    counts: np.ndarray, profile: Profile, tag: str = "file", cause: str = "", remedy: str = "", *, is_low: bool = False
) -> tuple[str, ...]:
    """Checks that an image shows something.

    Args:
        counts: How many pixels have each grey value, padding left out.
        profile: The profile.
        tag: Keyword of the tag that decides the grey values.
        cause: What is to be said of it.
        remedy: How the image is mended.
        is_low: Whether the contrast is known to be low, whatever the counts.

    Returns:
        The codes of the warnings.

    Raises:
        DicomRejected: If the image shows nothing ("constant"), or too little for the profile.
    """
    low, high = percentiles(np.arange(256.0), counts, _MIDDLE) if counts.any() else (0.0, 0.0)
    shown = contrast_of_counts(counts)
    if high - low < _LEAST_SPAN:
        code, found = "constant", f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
    elif shown.problem or is_low:
        code, found = "low_contrast", shown.problem or f"{shown.grey_levels} grey levels in use"
    elif shown.black + shown.white > _MAXIMUM_SATURATION or shown.white > _MAXIMUM_WHITE:
        code, found = "saturated", f"{shown.black:.0%} black and {shown.white:.0%} white"
    elif high < _MIDDLE_GREY or low >= _MIDDLE_GREY:
        code, found = "half_scale", f"{low:.0f} to {high:.0f}"
    else:
        return ()
    if profile.severity(code) == REJECT:
        where, found = name_tag(tag), "; ".join(filter(None, (found, cause)))
        raise DicomRejected((Violation(code, REJECT, where, found, profile.expected(code) + remedy),))
    return (code,)


def _check_is_picture(grey: np.ndarray, profile: Profile) -> tuple[str, ...]:
    """Returns the code of an image that is no picture, where the profile only warns of it."""
    severity = profile.severity("scrambled")
    disorder = "" if severity == OFF else plausibility.disorder(grey)
    if disorder and severity == REJECT:
        raise DicomRejected.because("scrambled", disorder)
    return ("scrambled",) if disorder else ()


def _check_file(handle: BinaryIO, profile: Profile) -> int:
    """Checks what can be told before the data set is parsed, and returns the file's size in bytes."""
    size = handle.seek(0, 2)
    handle.seek(0)
    if size > profile.maximum_file_bytes:
        raise DicomRejected.because("too_large", str(size), profile=profile)
    if handle.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] != _MAGIC:
        raise DicomRejected.because("not_dicom")
    return size


def read_image(path: str | Path | bytes | GreyArray, profile: str | Profile = "clinical") -> Radiograph:
    """Reads an image from a DICOM, PNG or JPEG file, told apart by content.

    An image file has no header: what it shows cannot be checked, which the warning "no_header" says. It must be grey
    and without transparent pixels, and is turned as its EXIF orientation says. An array is judged as the image file
    that holds its values would be.

    Args:
        path: A file, its address in an object store, its content as bytes, or an array from `array_image.grey_array`.
        profile: "clinical", "course", or a `Profile` of your own; of an image file or an array only the size and the
            grey values are checked.

    Returns:
        The image.

    Raises:
        DicomRejected: If it must not be scored; "not_dicom" where it is neither DICOM nor PNG nor JPEG.
        FileNotFoundError: If there is no such file.
    """
    chosen = find_profile(profile)
    if isinstance(path, GreyArray):
        return _raise_or_return(_read_plain(path, chosen))
    file = _checked_source(path, chosen)
    return read_dicom(file, profile=chosen) if is_dicom(file) else _raise_or_return(_read_plain(file, chosen))


def _read_plain(file: Path | bytes | GreyArray, profile: Profile) -> Radiograph | DicomRejected:
    """Reads what has grey values and no header."""
    try:
        if isinstance(file, GreyArray):
            grey, narrow, decoder = file.pixels, file.narrow_bits, "array"
            rows, columns = grey.shape
            warnings = ("no_header", *gate.require(gate.check_size(rows, columns, profile)))
        else:
            with privacy.quiet(), _rejecting("unreadable"), _opened(file) as handle:
                grey, warnings, narrow = _grey_image(handle, profile)
            decoder = "pillow"
        cause = f"16-bit values of which none takes more than {narrow} bits" if narrow else ""
        counts = value_counts(grey, 256)
        quality = _check_grey_values(counts, profile, cause=cause, remedy=_SAVE_ANEW, is_low=narrow > 0)
        quality += _check_is_picture(grey, profile)
        codes = _applicable((*warnings, *quality), profile)
        return Radiograph(grey, "", math.nan, "", math.nan, codes, decoder, "", "")
    except DicomRejected as rejected:
        return rejected


def _grey_image(handle: BinaryIO, profile: Profile) -> tuple[np.ndarray, tuple[str, ...], int]:
    """Returns a PNG or JPEG file's uint8 grey values, the codes of the warnings and `image_file.narrow_bits`."""
    from PIL import Image

    if handle.seek(0, 2) > profile.maximum_file_bytes:
        raise DicomRejected.because("too_large", profile=profile)
    handle.seek(0)
    if not image_file.is_image(handle.read(_MAGIC_AT)):
        raise DicomRejected.because("not_dicom", "", "a DICOM file, DICM after 128 bytes, or a PNG or JPEG file")
    handle.seek(0)
    try:
        image = Image.open(handle, formats=image_file.FORMATS)
    except Image.DecompressionBombError:
        raise DicomRejected.because("geometry", profile=profile) from None
    with image:
        pictures = image_file.picture_count(image)
        if pictures > 1:
            expected = "one picture in the file; save the one that is meant alone"
            raise DicomRejected((Violation("multi_frame", REJECT, "file", str(pictures), expected),))
        warnings = gate.require(gate.check_size(image.height, image.width, profile))
        _check_colours(image)
        return image_file.grey_values(image), ("no_header", *warnings), image_file.narrow_bits(image)


def _check_colours(image: "Image") -> None:
    """Refuses what an image stored as a grey DICOM object could not be: a colour photograph, or one with holes."""
    expected = ""
    if not image_file.is_decodable(image):
        expected = "grey or RGB"
    elif not image_file.is_opaque(image):
        expected = "an image without transparent pixels"
    elif image_file.colour_difference(image) > _MOST_COLOUR:
        expected = f"a grey image; of one in RGB, channels at most {_MOST_COLOUR} grey values apart"
    if expected:
        raise DicomRejected((Violation("photometric", REJECT, "file", "", expected),))
