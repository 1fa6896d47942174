"""What a compressed frame says of itself, read from the few bytes that hold it, before a decoder sees the rest."""

import itertools
import struct
from collections.abc import Iterator
from typing import NamedTuple

_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
# Markers without a segment behind them: TEM, RST0-RST7, SOI, EOI.
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})
_HUFFMAN_TABLES, _START_OF_SCAN, _APP0 = 0xC4, 0xDA, 0xE0
_JFIF = b"JFIF\0"
_END = b"\xff\xd9"
# SOI and the marker after it, SOC and SIZ, and a JP2 file.
_BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", _JP2_SIGNATURE)
# What writers leave behind the end, besides padding.
_LONGEST_TRAIL = 64
_RLE_HEADER = struct.Struct("<16L")


class Frame(NamedTuple):
    """What a codestream says it holds.

    Attributes:
        rows: Rows.
        columns: Columns.
        samples: Samples (components) per pixel.
        bits: Bits of the first sample.
        signed: Whether its values are signed; None where the code does not say, as JPEG does not.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    signed: bool | None = None


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
    return Frame(height - top, width - left, int.from_bytes(siz[40:42], "big"), (siz[42] & 0x7F) + 1, siz[42] > 0x7F)


def jpeg_frame(stream: bytes) -> Frame:
    """Returns what a JPEG or JPEG-LS stream holds.

    Args:
        stream: The frame.

    Raises:
        ValueError: If it is not one.

    Source:
        ITU-T T.81 B.1.1 and B.2.2 (markers, frame header); T.87 C.1.1 for JPEG-LS.
    """
    at = _frame_header(stream)
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
    for marker, _ in _jpeg_segments(stream):
        yield marker
        if marker in _START_OF_FRAME:
            return


def check_jpeg_segments(stream: bytes) -> None:
    """Checks the segments before the first scan; some decoders end the whole process over one that is damaged.

    Args:
        stream: A JPEG or JPEG-LS stream.

    Raises:
        ValueError: If they do not follow one another up to a scan, a Huffman table does not add up, or the scan does
            not name components of the frame.

    Source:
        ITU-T T.81 B.1.1.4 (segments), B.2.3 (scan header), B.2.4.2 (Huffman tables), Annex C (their codes); T.871 10.1
        (JFIF, of which there are versions 1.00 to 1.02).
    """
    samples, identifiers = 0, b""
    for marker, at in _jpeg_segments(stream):
        segment = stream[at + 4 : at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")]
        if marker in _START_OF_FRAME:
            samples, identifiers = segment[5], segment[6::3]
            if len(segment) != 6 + 3 * samples or not samples:
                raise ValueError("a frame header does not hold its components")
        elif marker == _APP0 and segment.startswith(_JFIF) and segment[5:6] != b"\x01":
            raise ValueError("a JFIF segment of a version that there is not")
        elif marker == _HUFFMAN_TABLES:
            _check_huffman_tables(segment)
        elif marker == _START_OF_SCAN:
            count = segment[0] if segment else 0
            named = segment[1 : 1 + 2 * count : 2]
            if not 1 <= count <= samples or len(segment) != 4 + 2 * count or not set(named) <= set(identifiers):
                raise ValueError("a scan header does not name components of the frame")


def _check_huffman_tables(segment: bytes) -> None:
    at = 0
    while at < len(segment):
        counts = segment[at + 1 : at + 17]
        # Codes of a length use up their share of all codes; more than all there are would be the same code twice.
        used = sum(count << (16 - length) for length, count in enumerate(counts, 1))
        at += 17 + sum(counts)
        if len(counts) < 16 or used > 1 << 16 or not 0 < sum(counts) <= 256 or at > len(segment):
            raise ValueError("a Huffman table does not add up")


def begins_frame(stream: bytes) -> bool:
    """Returns whether some bytes begin as a JPEG, JPEG-LS or JPEG 2000 frame does."""
    return stream.startswith(_BEGINNINGS)


def is_ended(stream: bytes) -> bool:
    """Returns whether a JPEG, JPEG-LS or JPEG 2000 stream has the marker of its end, padding behind it left aside.

    Without it, one JPEG-LS decoder tries for many seconds, in which it cannot be interrupted; the others refuse.

    Args:
        stream: The frame.

    Source:
        ITU-T T.81 Table B.1 (EOI), T.87 C.1.1; ISO/IEC 15444-1 A.4.4 (EOC), the same two bytes; PS3.5 A.4 (padding).
    """
    return _END in stream.rstrip(b"\x00\xff")[-_LONGEST_TRAIL:]


def _frame_header(stream: bytes) -> int:
    return next(at for marker, at in _jpeg_segments(stream) if marker in _START_OF_FRAME)


def _jpeg_segments(stream: bytes) -> Iterator[tuple[int, int]]:
    """Yields each marker with its place, up to the first scan; there is a frame header among them."""
    if stream[:2] != b"\xff\xd8":
        raise ValueError("the stream does not begin with SOI")
    at, has_frame = 2, False
    while at + 10 <= len(stream):
        if stream[at] != 0xFF:
            raise ValueError("a marker was expected")
        marker = stream[at + 1]
        # 0xFF may be repeated before a marker.
        if marker != 0xFF:
            has_frame |= marker in _START_OF_FRAME
            if marker == _START_OF_SCAN and not has_frame:
                break
            yield marker, at
        if marker == _START_OF_SCAN:
            return
        at += 1 if marker == 0xFF else 2 if marker in _BARE else 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    raise ValueError(f"the stream has no {'scan' if has_frame else 'frame header'}")


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
