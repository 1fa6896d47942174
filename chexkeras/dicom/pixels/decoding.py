"""From Pixel Data to stored values: what decodes them, the bits that count, and the sign.

A decoder allocates what the codestream asks for, not what the header says, and a malformed codestream can keep a parser
busy for ever. So what a compressed frame says of its own size is read here first, from the few bytes that hold it;
run-length coding has no such bytes, and its runs are counted.

Decoders differ where a codestream and the header disagree: some add half of the range, some fail. So every decoder is
told the codestream's own sign and bits, and its values are read as the header says here, in one way for all of them.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from chexkeras.dicom import privacy
from chexkeras.dicom.header import Header, is_rgb
from chexkeras.dicom.pixels import codestream, plausibility
from chexkeras.dicom.rejection import DicomRejected

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


# PS3.5 A.1, A.2, A.3: values as they are. A.4: compressed, one fragment sequence per frame.
NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"})
RLE = "1.2.840.10008.1.2.5"
# JPEG baseline, extended and lossless, and JPEG-LS.
_JPEG = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81))
_JPEG_LOSSY = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
# JPEG 2000 and its high-throughput form.
_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))
COMPRESSED = _JPEG | _JPEG_2000 | {RLE}

# The most widely tested library first, so that the same file meets the same decoder wherever it is installed.
_PREFERRED = ("pillow", "pyjpegls", "pydicom", "pylibjpeg")
# Asked only where no other decoder is installed: it ends the whole process on some damaged JPEG streams.
_LAST_RESORT = "gdcm"
# What a run-length coded segment may hold beyond its rows and columns: fill bytes of careless writers.
_RLE_SLACK = 128
# A codestream of fewer is damaged, or no film; one decoder ends the process over it.
_LEAST_BITS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class StoredPixels:
    """The stored values of a single-frame grey image, shifted, masked and sign-extended.

    Attributes:
        values: (rows, columns), int32.
        lowest: Smallest value that the stored bits can hold.
        highest: Largest value that the stored bits can hold.
        bits: Bits Stored.
        decoder: What decoded them: "native", or the name of pydicom's plugin.
        warnings: Codes of the rules on pixel data that the image breaks without being refused.
    """

    values: np.ndarray
    lowest: int
    highest: int
    bits: int
    decoder: str
    warnings: tuple[str, ...] = ()


def stored_values(dataset: "Dataset") -> StoredPixels:
    """Decodes the single frame of a grey image, or of an RGB image whose channels are equal.

    Args:
        dataset: A data set with its file meta information and pixel data.

    Returns:
        The stored values and what decoded them.

    Raises:
        DicomRejected: If the description is inconsistent ("geometry", "bits", "photometric", "multi_frame"), the data
            is missing or of the wrong length ("no_pixels", "truncated", "pixel_length", "codestream_size"), nothing
            decodes it ("transfer_syntax", "decoder_missing", "decode"), its values do not fit into the stored bits
            ("bits"), or its bytes are not in their order ("scrambled").

    Source:
        PS3.5 8.1.1 (Bits Stored of Bits Allocated, up to High Bit), 8.2 (what a codestream says of itself goes before
        the header), PS3.3 C.7.6.3.1.
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
    frame, warnings = None, list[str]()
    if syntax in NATIVE:
        if dataset["PixelData"].is_undefined_length:
            # Fragments (PS3.5 A.4): what stands between them would be read as pixels, and the image lie beside itself.
            raise DicomRejected.because("pixel_length", "", "uncompressed data of a defined length, not in fragments")
        if _has_excess(header, rows, columns, cell):
            warnings.append("excess_padding")
    else:
        frame = _checked_frame(header, syntax, rows, columns, cell)
        if frame and frame.bits < min(bits, _LEAST_BITS):
            raise DicomRejected.because("bits", str(frame.bits), f"at least {_LEAST_BITS} bits in the codestream")
    for keyword, usual in (("SamplesPerPixel", 1), ("PlanarConfiguration", 0)):
        if keyword not in dataset:
            setattr(dataset, keyword, usual)
    container, decoder = _decode(dataset, syntax, sign, frame)
    if container.shape != ((rows, columns) if samples == 1 else (rows, columns, samples)):
        raise DicomRejected.because("decode", "", "an image of the size in the header")
    if samples == 3:
        container = _grey_of(container)
    if frame and syntax in _JPEG_LOSSY and plausibility.ends_in_nothing(container, frame.bits):
        raise DicomRejected.because("truncated", "", "a codestream with the data of all rows")
    # Swapped cells that have unused bits are told by these, in which there may as well be an overlay.
    if (frame or bits == allocated) and plausibility.bytes_are_swapped(container):
        raise DicomRejected.because("scrambled", "swapped bytes")
    values = container.astype(np.int32)
    if frame is None:
        # Native and run-length cells are bytes as stored; what a codec gives is right-aligned whatever High Bit says.
        _check_unused_bits(header, values, bits, high)
        values >>= high + 1 - bits
        _keep_bits(values, bits, sign)
    else:
        _describe(values, frame, bits, sign)
        if frame.signed is not None and frame.signed != bool(sign):
            warnings.append("codestream_sign")
        if frame.bits < bits:
            warnings.append("codestream_bits")
    if plausibility.other_sign_is_smoother(values, bits, sign):
        # Whichever of the two is wrong: if it is not the sign, it is the values.
        expected = f"{'signed' if sign else 'unsigned'} values, as the header says"
        raise DicomRejected.because("bits", "", expected)
    if plausibility.lower_byte_is_foreign(values):
        raise DicomRejected.because("scrambled", "lower bytes that do not belong to the upper ones")
    lowest = -(1 << (bits - 1)) if sign else 0
    return StoredPixels(values, lowest, lowest + (1 << bits) - 1, bits, decoder, tuple(warnings))


def _keep_bits(values: np.ndarray, bits: int, sign: int) -> None:
    """Leaves the stored bits of right-aligned values, sign-extended; bits outside them may hold anything."""
    # In place, here and below: an image can have 50 million values.
    values &= (1 << bits) - 1
    if sign:
        values -= (values >> (bits - 1)) << bits


def _describe(values: np.ndarray, frame: codestream.Frame, bits: int, sign: int) -> None:
    """Gives the values of a codestream the sign and the bits that the header says.

    Where the two disagree on the sign, the writer gave the encoder the bits of the cells under the wrong name, and the
    bits are right. pydicom's `pixel_array` reads them so.
    """
    if sign and not frame.signed:
        values -= (values >> (frame.bits - 1)) << frame.bits
    elif frame.signed and not sign:
        values &= (1 << frame.bits) - 1
    _check_range(values, bits, sign)
    _keep_bits(values, bits, sign)


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
    if header.integer("NumberOfFrames") not in (None, 0, 1):
        raise DicomRejected.because("multi_frame")
    if not isinstance(header.value("PixelData"), bytes):
        raise DicomRejected.because("unreadable" if header.unreadable else "no_pixels")


def _has_excess(header: Header, rows: int, columns: int, cell: int) -> bool:
    """Checks that uncompressed data is as long as rows, columns and cells say; one padding byte makes it even.

    Returns:
        Whether more bytes follow that can only be padding: all of one value and fewer than the image itself has, or
        fewer than its shorter side has. A row or column too few in the header would leave at least as many.

    Source:
        PS3.5 8.1.1, whose note asks receivers to accept trailing padding.
    """
    expected, data = rows * columns * cell, header.value("PixelData")
    if len(data) < expected:
        raise DicomRejected.because("truncated", str(len(data)), f"{expected} bytes")
    rest = data[expected:]
    if len(rest) <= expected % 2:
        return False
    is_uniform = len(rest) < expected and rest.count(rest[0]) == len(rest)
    if not is_uniform and len(rest) >= min(rows, columns) * cell:
        raise DicomRejected.because("pixel_length", str(len(data)), f"{expected} bytes")
    return True


def _checked_frame(header: Header, syntax: str, rows: int, columns: int, cell: int) -> codestream.Frame | None:
    """Checks that a compressed frame is whole and of the size that the header says, before a decoder allocates it.

    Returns:
        What the codestream says of itself; None for run-length coding, which says nothing.
    """
    from pydicom.encaps import generate_fragments, get_frame

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
            return None
        frame = (codestream.jpeg_2000_frame if syntax in _JPEG_2000 else codestream.jpeg_frame)(stream)
        if syntax in _JPEG:
            codestream.check_jpeg_segments(stream)
        pictures = sum(map(codestream.begins_frame, generate_fragments(header.value("PixelData"))))
    except privacy.tag_errors() as error:
        raise DicomRejected.because("decode", "", f"a complete codestream ({privacy.scrub(error)})") from None
    if frame[:3] != (rows, columns, samples):
        # The samples are named only where they are what differs.
        shown = 3 if frame[:2] == (rows, columns) else 2
        found, expected = (" X ".join(map(str, sides[:shown])) for sides in (frame, (rows, columns, samples)))
        raise DicomRejected.because("codestream_size", found, expected)
    if frame.bits > 8 * cell // samples:
        raise DicomRejected.because("bits", str(frame.bits), f"at most {8 * cell // samples} bits in the codestream")
    if pictures > 1:
        raise DicomRejected.because("multi_frame", str(pictures), "1 frame in the pixel data")
    if not codestream.is_ended(stream):
        raise DicomRejected.because("truncated", "", "a codestream with the marker of its end")
    return frame


def _decode(dataset: "Dataset", syntax: str, sign: int, frame: codestream.Frame | None) -> tuple[np.ndarray, str]:
    """Returns the decoded container values and the plugin that decoded them; the first that can, in our order.

    Args:
        dataset: The image.
        syntax: Its transfer syntax.
        sign: Its Pixel Representation.
        frame: What the codestream says of itself, if it does.
    """
    from pydicom.pixels import get_decoder

    names: list[str] = []
    failures: list[str] = []
    # Unused bits are cleared after the shift, which pydicom does not do for a high bit out of place.
    options: dict[str, Any] = {"correct_unused_bits": False, "number_of_frames": 1, "pixel_representation": sign}
    # Without the spaces around it, which count for nothing (PS3.5 6.2) and which decoders take for another kind.
    options["photometric_interpretation"] = Header(dataset).text("PhotometricInterpretation").upper()
    if frame:
        options |= {"pixel_representation": int(bool(frame.signed)), "bits_stored": frame.bits}
        options["bits_allocated"] = 8 if frame.bits <= 8 else 16
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
    if syntax in _JPEG_LOSSY and frame and frame.bits > 8 and "pylibjpeg" not in names:
        expected = "JPEG of 8 bits; for 12 bits: pip install 'chexkeras[jpeg12]' (pylibjpeg-libjpeg, licence GPL-3.0)"
        raise DicomRejected.because("decoder_missing", f"{frame.bits} bits", expected)
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


def _check_unused_bits(header: Header, cells: np.ndarray, bits: int, high: int) -> None:
    """Checks that the bits above the stored ones hold nothing that belongs to the values.

    They may hold the sign once more or not, an overlay, or one and the same bits everywhere; what varies otherwise is a
    value that needs more bits than the header says, and would turn from white to black where it is cut off. The bits
    below the stored ones only make a value finer.

    Source:
        PS3.5 8.1.1; PS3.3 C.9.2 of 2004 (Overlay Bit Position, retired since).
    """
    free = ((1 << (header.integer("BitsAllocated") or 0)) - 1) >> (high + 1) << (high + 1)
    for group in range(0x6000, 0x6020, 2):
        free &= ~(1 << min(max(header.integer(f"{group:04X}0102") or 0, 0), 31))
    if not free:
        return
    first = int(cells[0, 0]) & free
    is_constant, is_sign = True, bool(header.integer("PixelRepresentation"))
    for row in cells:
        unused = row & free
        is_constant = is_constant and bool((unused == first).all())
        is_sign = is_sign and bool(((unused == 0) | (unused == (-(row >> high & 1) & free))).all())
        if not is_constant and not is_sign:
            break
    else:
        return
    raise DicomRejected.because("bits", str(bits), "values that fit into the stored bits, with the others unused")
