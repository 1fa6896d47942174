"""From Pixel Data to stored values: what decodes them, the bits that count, and the sign.

A decoder allocates what the codestream asks for, not what the header says, and a malformed codestream can keep a parser
busy for ever. So what a compressed frame says of its own size is read here first, from the few bytes that hold it;
run-length coding has no such bytes, and its runs are counted.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from chexkeras.dicom import privacy
from chexkeras.dicom.header import Header, is_rgb
from chexkeras.dicom.pixels import codestream
from chexkeras.dicom.rejection import DicomRejected

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


# PS3.5 A.1, A.2, A.3: values as they are. A.4: compressed, one fragment sequence per frame.
NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"})
RLE = "1.2.840.10008.1.2.5"
# JPEG baseline, extended and lossless, and JPEG-LS.
_JPEG = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81))
_JPEG_12_BIT = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
# JPEG 2000 and its high-throughput form.
_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))
COMPRESSED = _JPEG | _JPEG_2000 | {RLE}

# The most widely tested library first, so that the same file meets the same decoder wherever it is installed.
_PREFERRED = ("pillow", "pyjpegls", "pydicom", "pylibjpeg")
# Asked only where no other decoder is installed: it ends the whole process on some damaged JPEG streams.
_LAST_RESORT = "gdcm"
# What a run-length coded segment may hold beyond its rows and columns: fill bytes of careless writers.
_RLE_SLACK = 128


@dataclasses.dataclass(frozen=True, eq=False)
class StoredPixels:
    """The stored values of a single-frame grey image, shifted, masked and sign-extended.

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


def stored_values(dataset: "Dataset") -> StoredPixels:
    """Decodes the single frame of a grey image, or of an RGB image whose channels are equal.

    Args:
        dataset: A data set with its file meta information and pixel data.

    Returns:
        The stored values and what decoded them.

    Raises:
        DicomRejected: If the description is inconsistent ("geometry", "bits", "photometric", "multi_frame"), the data
            is missing or of the wrong length ("no_pixels", "truncated", "pixel_length", "codestream_size"), or nothing
            decodes it ("transfer_syntax", "decoder_missing", "decode").

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
    _check_description(header, rows, columns, allocated, bits, high)
    samples = header.integer("SamplesPerPixel") or 1
    # Bytes of a pixel; also the number of segments of a run-length coded frame (PS3.5 G.2).
    cell = samples * allocated // 8
    coded_bits = allocated
    if syntax in NATIVE:
        _check_native_length(header, rows, columns, cell)
    else:
        coded_bits = _check_codestream(header, syntax, rows, columns, cell)
    for keyword, usual in (("SamplesPerPixel", 1), ("PlanarConfiguration", 0)):
        if keyword not in dataset:
            setattr(dataset, keyword, usual)
    container, decoder = _decode(dataset, syntax, sign, coded_bits)
    if container.shape != ((rows, columns) if samples == 1 else (rows, columns, samples)):
        raise DicomRejected.because("decode", "", "an image of the size in the header")
    if samples == 3:
        container = _grey_of(container)
    values = container.astype(np.int32)
    # A codec's own values are right-aligned whatever High Bit says; native and run-length cells are bytes as stored.
    if syntax in NATIVE or syntax == RLE:
        values >>= high + 1 - bits
    if syntax not in NATIVE:
        _check_range(values, bits, sign)
    # Bits outside the stored ones may hold anything (PS3.5 8.1.1).
    values &= (1 << bits) - 1
    if sign:
        values -= (values >> (bits - 1)) << bits
    lowest = -(1 << (bits - 1)) if sign else 0
    return StoredPixels(values, lowest, lowest + (1 << bits) - 1, bits, decoder)


def transfer_syntax(dataset: "Dataset") -> str:
    """Returns the transfer syntax UID of a data set read from a file; empty when it is not given."""
    meta = getattr(dataset, "file_meta", None)
    return Header(meta).text("TransferSyntaxUID") if meta is not None else ""


def _check_description(header: Header, rows: int, columns: int, allocated: int, bits: int, high: int) -> None:
    samples, sign = header.integer("SamplesPerPixel") or 1, header.integer("PixelRepresentation") or 0
    if rows < 1 or columns < 1:
        raise DicomRejected.because("geometry", f"{rows} X {columns}", "at least one row and one column")
    if allocated not in (8, 16) or not 1 <= bits <= allocated or not bits - 1 <= high < allocated or sign not in (0, 1):
        raise DicomRejected.because("bits", str(bits), "1 to 16 bits stored in 8 or 16, the high bit among them")
    if samples != 1 and not is_rgb(header):
        raise DicomRejected.because("photometric", "", "one sample per pixel, or three equal ones of 8 bits in RGB")
    if header.integer("NumberOfFrames") not in (None, 1):
        raise DicomRejected.because("multi_frame")
    if not isinstance(header.value("PixelData"), bytes):
        raise DicomRejected.because("unreadable" if header.unreadable else "no_pixels")


def _check_native_length(header: Header, rows: int, columns: int, cell: int) -> None:
    """Checks that uncompressed data is as long as rows, columns and cells say; one padding byte makes it even."""
    expected = rows * columns * cell
    length = len(header.value("PixelData"))
    if length < expected:
        raise DicomRejected.because("truncated", str(length), f"{expected} bytes")
    if length > expected + expected % 2:
        raise DicomRejected.because("pixel_length", str(length), f"{expected} bytes")


def _check_codestream(header: Header, syntax: str, rows: int, columns: int, cell: int) -> int:
    """Checks that a compressed frame is of the size that the header says, before a decoder allocates it.

    Returns:
        The bits that the codestream gives a sample; 8 for run-length coding, which codes bytes.
    """
    from pydicom.encaps import get_frame

    samples = header.integer("SamplesPerPixel") or 1
    try:
        stream = get_frame(header.value("PixelData"), 0, number_of_frames=1)
        if syntax == RLE:
            limit = rows * columns + _RLE_SLACK
            segments, longest = codestream.run_length_segments(stream, limit)
            if segments != cell or longest > limit:
                found = f"{segments} segments, the longest {'over ' * (longest > limit)}{min(longest, limit)} bytes"
                raise DicomRejected.because(
                    "codestream_size", found, f"{cell} segments of at most {rows * columns} bytes"
                )
            return 8
        frame = (codestream.jpeg_2000_frame if syntax in _JPEG_2000 else codestream.jpeg_frame)(stream)
    except privacy.tag_errors() as error:
        raise DicomRejected.because("decode", "", f"a complete codestream ({privacy.scrub(error)})") from None
    if frame[:3] != (rows, columns, samples):
        # The samples are named only where they are what differs.
        shown = 3 if frame[:2] == (rows, columns) else 2
        found, expected = (" X ".join(map(str, sides[:shown])) for sides in (frame, (rows, columns, samples)))
        raise DicomRejected.because("codestream_size", found, expected)
    if frame.bits > 8 * cell // samples:
        raise DicomRejected.because("bits", str(frame.bits), f"at most {8 * cell // samples} bits in the codestream")
    return frame.bits


def _decode(dataset: "Dataset", syntax: str, sign: int, bits: int) -> tuple[np.ndarray, str]:
    """Returns the decoded container values and the plugin that decoded them; the first that can, in our order.

    Args:
        dataset: The image.
        syntax: Its transfer syntax.
        sign: Its Pixel Representation.
        bits: What the codestream says of the bits of a sample.
    """
    from pydicom.pixels import get_decoder

    names: list[str] = []
    failures: list[str] = []
    # Unused bits are cleared after the shift, which pydicom does not do for a high bit out of place.
    options: dict[str, Any] = {"pixel_representation": sign, "correct_unused_bits": False}
    with privacy.quiet():
        try:
            decoder = get_decoder(syntax)
            names = [""] if decoder.is_native else _in_order(decoder.available_plugins)
        except privacy.decode_errors() as error:
            failures.append(privacy.scrub(error))
        for name in names:
            try:
                values, _ = decoder.as_array(dataset, raw=True, index=0, decoding_plugin=name, **options)
            except MemoryError:
                # Another decoder would ask for as much; the worker's limit has spoken.
                raise DicomRejected.because("decoder_limit", "", "pixel data that fits into memory") from None
            except privacy.decode_errors() as error:
                failures.append(f"{name or 'native'} {privacy.scrub(error)}")
            else:
                return values, name or "native"
    if syntax in _JPEG_12_BIT and bits > 8 and "pylibjpeg" not in names:
        expected = "JPEG of 8 bits; for 12 bits: pip install 'chexkeras[jpeg12]' (pylibjpeg-libjpeg, licence GPL-3.0)"
        raise DicomRejected.because("decoder_missing", f"{bits} bits", expected)
    if not failures:
        raise DicomRejected.because("decoder_missing", "", f"a decoder for {syntax}; none is installed")
    tried = f"tried: {', '.join(failures)}"
    raise DicomRejected.because("decode", "", f"pixel data in {syntax} that a decoder can read ({tried})")


def _in_order(plugins: tuple[str, ...]) -> list[str]:
    """Returns the plugins to ask, one after the other."""
    known = [name for name in _PREFERRED if name in plugins]
    strangers = [name for name in plugins if name not in (*_PREFERRED, _LAST_RESORT)]
    return known + strangers or list(plugins)


def _grey_of(container: np.ndarray) -> np.ndarray:
    """Returns one channel of an RGB image whose three channels are equal."""
    first = container[..., 0]
    if not all(np.array_equal(first, container[..., channel]) for channel in (1, 2)):
        raise DicomRejected.because("photometric", "", "grey, or RGB with three equal channels")
    return first


def _check_range(values: np.ndarray, bits: int, sign: int) -> None:
    """Checks that a codec's values fit into the stored bits; cut off above them, white would turn black.

    In uncompressed cells, the bits above may hold an overlay (PS3.5 8.1.2); compressed ones hold none. Signed values
    may come with the sign extended or not.
    """
    low, high = int(values.min()), int(values.max())
    if low < (-(1 << (bits - 1)) if sign else 0) or high >= 1 << bits:
        raise DicomRejected.because("bits", str(bits), "compressed values that fit into the stored bits")
