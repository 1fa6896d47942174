"""What a compressed image says of its own size, read before anything decodes it.

A decoder allocates what the codestream asks for, not what the header says; and a malformed one can keep a parser busy
for ever. Only the few bytes that hold the size are looked at here.
"""

_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
# Markers without a segment behind them: TEM, RST0-RST7, SOI, EOI.
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})


def jpeg_2000_size(stream: bytes) -> tuple[int, int]:
    """Returns (rows, columns) of a JPEG 2000 codestream, with or without a JP2 file around it.

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
    siz = stream[start : start + 24]
    if len(siz) < 24 or siz[:4] != b"\xff\x4f\xff\x51":
        raise ValueError("the codestream does not begin with SOC and SIZ")
    width, height, left, top = (int.from_bytes(siz[at : at + 4], "big") for at in (8, 12, 16, 20))
    return height - top, width - left


def jpeg_size(stream: bytes) -> tuple[int, int]:
    """Returns (rows, columns) of a JPEG or JPEG-LS stream.

    Args:
        stream: The frame.

    Raises:
        ValueError: If it is not one.

    Source:
        ITU-T T.81 B.1.1 and B.2.2 (markers, frame header); T.87 C.1.1 for JPEG-LS.
    """
    if stream[:2] != b"\xff\xd8":
        raise ValueError("the stream does not begin with SOI")
    at = 2
    while at + 9 <= len(stream):
        if stream[at] != 0xFF:
            raise ValueError("a marker was expected")
        marker = stream[at + 1]
        if marker in _START_OF_FRAME:
            return int.from_bytes(stream[at + 5 : at + 7], "big"), int.from_bytes(stream[at + 7 : at + 9], "big")
        # 0xFF may be repeated before a marker.
        at += 1 if marker == 0xFF else 2 if marker in _BARE else 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    raise ValueError("the stream has no frame header")
