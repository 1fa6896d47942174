"""From Pixel Data to stored values: what decodes them, the bits that count, and the sign.

A decoder allocates what the codestream asks for, not what the header says, and a malformed codestream can keep a parser
busy for ever. So what a compressed frame says of its own size is read here first, from the few bytes that hold it;
run-length coding has no such bytes, and its runs are counted.
"""

import dataclasses
import itertools
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chexkeras.dicom import privacy
from chexkeras.dicom.header import Header, is_rgb
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
            segments, longest = run_length_segments(stream, limit)
            if segments != cell or longest > limit:
                found = f"{segments} segments, the longest {'over ' * (longest > limit)}{min(longest, limit)} bytes"
                raise DicomRejected.because(
                    "codestream_size", found, f"{cell} segments of at most {rows * columns} bytes"
                )
            return 8
        frame = (jpeg_2000_frame if syntax in _JPEG_2000 else jpeg_frame)(stream)
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


_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
# Markers without a segment behind them: TEM, RST0-RST7, SOI, EOI.
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})
_RLE_HEADER = struct.Struct("<16L")


class Frame(NamedTuple):
    """What a codestream says it holds.

    Attributes:
        rows: Rows.
        columns: Columns.
        samples: Samples (components) per pixel.
        bits: Bits of the first sample.
    """

    rows: int
    columns: int
    samples: int
    bits: int


def jpeg_2000_frame(stream: bytes) -> Frame:
    """Returns what a JPEG 2000 codestream holds, with or without a JP2 file around it.

    Args:
        stream: The frame; DICOM wants no file around it (PS3.5 8.2.4), but some writers leave one.

    Raises:
        ValueError: If it is not one.

    Source:
        ISO/IEC 15444-1 A.5.1 (SIZ) and I.4 (boxes).
    """
    start = 0
    if stream.startswith(_JP2_SIGNATURE):
        while stream[start + 4 : start + 8] != b"jp2c":
            length = int.from_bytes(stream[start : start + 4], "big")
            if length < 8:
                # Zero is "to the end of the file"; following it would never move on.
                raise ValueError("a JP2 box without a length stands before the codestream")
            start += length
        start += 8
    siz = stream[start : start + 43]
    if len(siz) < 43 or siz[:4] != b"\xff\x4f\xff\x51":
        raise ValueError("the codestream does not begin with SOC and SIZ")
    width, height, left, top = (int.from_bytes(siz[at : at + 4], "big") for at in (8, 12, 16, 20))
    # The highest bit of Ssiz is the sign.
    return Frame(height - top, width - left, int.from_bytes(siz[40:42], "big"), (siz[42] & 0x7F) + 1)


def jpeg_frame(stream: bytes) -> Frame:
    """Returns what a JPEG or JPEG-LS stream holds.

    Args:
        stream: The frame.

    Raises:
        ValueError: If it is not one.

    Source:
        ITU-T T.81 B.1.1 and B.2.2 (markers, frame header); T.87 C.1.1 for JPEG-LS.
    """
    *_, (_, at) = _jpeg_segments(stream)
    rows, columns = (int.from_bytes(stream[at + n : at + n + 2], "big") for n in (5, 7))
    return Frame(rows, columns, stream[at + 9], stream[at + 4])


def jpeg_segments(stream: bytes) -> Iterator[int]:
    """Yields the markers of a JPEG stream up to its frame header, which comes last.

    Args:
        stream: A JPEG or JPEG-LS stream.

    Raises:
        ValueError: If it is not one, or has no frame header.

    Source:
        ITU-T T.81 B.1.1 and Table B.1.
    """
    return (marker for marker, _ in _jpeg_segments(stream))


def _jpeg_segments(stream: bytes) -> Iterator[tuple[int, int]]:
    """Yields each marker with its place."""
    if stream[:2] != b"\xff\xd8":
        raise ValueError("the stream does not begin with SOI")
    at = 2
    while at + 10 <= len(stream):
        if stream[at] != 0xFF:
            raise ValueError("a marker was expected")
        marker = stream[at + 1]
        # 0xFF may be repeated before a marker.
        if marker != 0xFF:
            yield marker, at
        if marker in _START_OF_FRAME:
            return
        at += 1 if marker == 0xFF else 2 if marker in _BARE else 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    raise ValueError("the stream has no frame header")


def run_length_segments(stream: bytes, at_most: int) -> tuple[int, int]:
    """Returns how many segments a run-length coded frame has, and how many bytes the longest of them makes.

    Two bytes can make 128, so a file of the largest accepted size could inflate to many gigabytes.

    Args:
        stream: The frame.
        at_most: Counting ends where a segment makes more than this.

    Raises:
        ValueError: If it is not one.

    Source:
        PS3.5 G.3.1 (runs), G.5 (header).

    Example:
        >>> header = _RLE_HEADER.pack(1, 64, *[0] * 14)
        >>> run_length_segments(header + bytes([2, 7, 8, 9, 256 - 3, 5]), at_most=100)
        (1, 7)
    """
    if len(stream) < _RLE_HEADER.size:
        raise ValueError("the frame is shorter than its header")
    count, *offsets = _RLE_HEADER.unpack_from(stream)
    bounds = [*offsets[:count], len(stream)]
    if not 1 <= count <= 15 or bounds[0] < _RLE_HEADER.size or bounds != sorted(bounds):
        raise ValueError("the offsets of the segments are not in order")
    longest = 0
    for start, end in itertools.pairwise(bounds):
        at, made = start, 0
        while at < end and made <= at_most:
            code = stream[at]
            if code < 128:
                made += code + 1
                at += code + 2
            elif code > 128:
                made += 257 - code
                at += 2
            else:
                at += 1
        longest = max(longest, made)
    return count, longest
