"""From Pixel Data to stored values: the decoder that ran, the bits that count, and the sign."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from chexkeras.dicom import codestream, privacy
from chexkeras.dicom.gate import DicomRejected
from chexkeras.dicom.header import Header

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# PS3.5 A.1, A.2, A.3: values as they are. A.4: compressed, one fragment sequence per frame.
NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"})
RLE = "1.2.840.10008.1.2.5"
# JPEG baseline, extended and lossless, and JPEG-LS.
_JPEG = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81))
# JPEG 2000 and its high-throughput form.
_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))
COMPRESSED = _JPEG | _JPEG_2000 | {RLE}


@dataclasses.dataclass(frozen=True, eq=False)
class StoredPixels:
    """The stored values of a single-frame grayscale image, shifted, masked and sign-extended.

    Attributes:
        values: (rows, columns), int32.
        lowest: Smallest value that the stored bits can hold.
        highest: Largest value that the stored bits can hold.
        bits: Bits Stored.
        decoder: What decoded them: "native", or the name of pydicom's plugin.
    """

    values: np.ndarray
    lowest: int
    highest: int
    bits: int
    decoder: str


def transfer_syntax(dataset: "Dataset") -> str:
    """Returns the transfer syntax UID of a data set read from a file; empty when it is not given."""
    meta = getattr(dataset, "file_meta", None)
    return Header(meta).text("TransferSyntaxUID") if meta is not None else ""


def _check_native_length(header: Header, rows: int, columns: int, allocated: int) -> None:
    """Checks that uncompressed data is as long as rows, columns and bits say; one padding byte makes it even."""
    expected = rows * columns * allocated // 8
    length = len(header.value("PixelData"))
    if length < expected:
        raise DicomRejected.because("truncated", str(length), f"{expected} bytes")
    if length > expected + expected % 2:
        raise DicomRejected.because("pixel_length", str(length), f"{expected} bytes")


def _check_codestream(header: Header, syntax: str, rows: int, columns: int) -> None:
    """Checks that a compressed frame is of the size that the header says, before a decoder allocates it."""
    from pydicom.encaps import get_frame

    try:
        frame = get_frame(header.value("PixelData"), 0, number_of_frames=1)
        size = codestream.jpeg_2000_size(frame) if syntax in _JPEG_2000 else codestream.jpeg_size(frame)
    except privacy.tag_errors() as error:
        raise DicomRejected.because("decode", "", f"a complete codestream ({privacy.scrub(error)})") from None
    if size != (rows, columns):
        raise DicomRejected.because("codestream_size", f"{size[0]} X {size[1]}", f"{rows} X {columns}")


def _decode(dataset: "Dataset", syntax: str, sign: int) -> tuple[np.ndarray, str]:
    """Returns the decoded container values and the plugin that decoded them; the first that can, in pydicom's order."""
    from pydicom.pixels import get_decoder

    names: list[str] = []
    failures: list[str] = []
    # Unused bits are cleared after the shift, which pydicom does not do for a high bit out of place.
    options: dict[str, Any] = {"pixel_representation": sign, "correct_unused_bits": False}
    with privacy.quiet():
        try:
            decoder = get_decoder(syntax)
            names = [""] if decoder.is_native else list(decoder.available_plugins)
        except privacy.decode_errors() as error:
            failures.append(privacy.scrub(error))
        for name in names:
            try:
                values, _ = decoder.as_array(dataset, raw=True, index=0, decoding_plugin=name, **options)
            except privacy.decode_errors() as error:
                failures.append(f"{name or 'native'} {privacy.scrub(error)}")
            else:
                return values, name or "native"
    tried = f"tried: {', '.join(failures)}" if failures else "no decoder for it is installed"
    raise DicomRejected.because("decode", "", f"pixel data in {syntax} that a decoder can read ({tried})")


def stored_values(dataset: "Dataset") -> StoredPixels:
    """Decodes the single frame of a grayscale image.

    Args:
        dataset: A data set with its file meta information and pixel data.

    Returns:
        The stored values and what decoded them.

    Raises:
        DicomRejected: If the description is inconsistent ("geometry", "bits", "photometric", "multi_frame"), the data
            is missing or of the wrong length ("no_pixels", "truncated", "pixel_length", "codestream_size"), or nothing
            decodes it ("transfer_syntax", "decode").

    Source:
        PS3.5 8.1.1 (Bits Stored of Bits Allocated, up to High Bit), PS3.3 C.7.6.3.1.
    """
    header = Header(dataset)
    rows, columns = header.integer("Rows") or 0, header.integer("Columns") or 0
    allocated, bits = header.integer("BitsAllocated") or 0, header.integer("BitsStored") or 0
    sign = header.integer("PixelRepresentation") or 0
    high = header.integer("HighBit")
    high = bits - 1 if high is None else high
    syntax = transfer_syntax(dataset)
    if syntax not in NATIVE | COMPRESSED:
        raise DicomRejected.because("transfer_syntax")
    if rows < 1 or columns < 1:
        raise DicomRejected.because("geometry", f"{rows} X {columns}", "at least one row and one column")
    if allocated not in (8, 16) or not 1 <= bits <= allocated or not bits - 1 <= high < allocated or sign not in (0, 1):
        raise DicomRejected.because("bits", str(bits), "1 to 16 bits stored in 8 or 16, the high bit among them")
    if header.integer("SamplesPerPixel") not in (None, 1):
        raise DicomRejected.because("photometric", "", "one sample per pixel")
    if header.integer("NumberOfFrames") not in (None, 1):
        raise DicomRejected.because("multi_frame")
    if not isinstance(header.value("PixelData"), bytes):
        raise DicomRejected.because("unreadable" if header.unreadable else "no_pixels")
    if syntax in NATIVE:
        _check_native_length(header, rows, columns, allocated)
    elif syntax != RLE:
        _check_codestream(header, syntax, rows, columns)
    if "SamplesPerPixel" not in dataset:
        dataset.SamplesPerPixel = 1
    container, decoder = _decode(dataset, syntax, sign)
    if container.shape != (rows, columns):
        raise DicomRejected.because("decode", "", "an image of the size in the header")
    values = container.astype(np.int32)
    # A codec's own values are right-aligned whatever High Bit says; native and run-length cells are bytes as stored.
    if syntax in NATIVE or syntax == RLE:
        values >>= high + 1 - bits
    # Bits outside the stored ones may hold anything (PS3.5 8.1.1).
    values &= (1 << bits) - 1
    if sign:
        values -= (values >> (bits - 1)) << bits
    lowest = -(1 << (bits - 1)) if sign else 0
    return StoredPixels(values, lowest, lowest + (1 << bits) - 1, bits, decoder)
