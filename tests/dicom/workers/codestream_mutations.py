"""Damage to what a compressed frame says of itself: segments of JPEG, JPEG-LS and JPEG 2000, the header of run-length
coding, the chunks of PNG."""

import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np

_NUMBERS = (0, 1, 2, 3, 7, 8, 16, 31, 32, 64, 127, 128, 255, 256, 4096, 32767, 32768, 65535, 0x7FFFFFFF, 0xFFFFFFFF)
# Markers without a segment: TEM, restarts, SOI, EOI; SOC, EPH, SOD, EOC of JPEG 2000 are told apart by their code.
_BARE = frozenset((0x01, *range(0xD0, 0xDA), 0x4F, 0x92, 0x93))
_START_OF_SCAN, _START_OF_DATA = 0xDA, 0x93
_SEGMENTS = (0xC0, 0xC1, 0xC3, 0xC4, 0xDA, 0xDB, 0xDD, 0xE0, 0xEE, 0xF7, 0xF8, 0xFE, *range(0x50, 0x65), 0x90, 0x91)


def damage_stream(stream: bytes, rng: np.random.Generator) -> bytes:
    """Returns a frame with one thing wrong in what it says of itself; a stream of no known kind as it is."""
    if stream.startswith(b"\x89PNG"):
        return _damage_png(stream, rng)
    start = max(0, stream.find(b"\xff\x4f\xff\x51")) if stream[:2] != b"\xff\xd8" else 0
    if stream[start : start + 2] in (b"\xff\xd8", b"\xff\x4f"):
        return stream[:start] + _damage_segments(stream[start:], rng)
    return _damage_run_lengths(stream, rng) if len(stream) >= 64 else stream


def _segments(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, beginning and end of the segments up to the coded data, of JPEG, JPEG-LS or JPEG 2000."""
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        length = 0 if marker in _BARE else int.from_bytes(stream[at + 2 : at + 4], "big")
        yield marker, at, min(at + 2 + length, len(stream))
        at += 2 + length
        if marker in (_START_OF_SCAN, _START_OF_DATA):
            return


def _damage_segments(stream: bytes, rng: np.random.Generator) -> bytes:
    found = list(_segments(stream))
    if not found:
        return stream
    _, start, end = found[rng.integers(len(found))]
    segment, before, after = stream[start:end], stream[:start], stream[end:]
    other = found[rng.integers(len(found))]
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: before + _with_number(segment, 4, rng) + after,
        lambda: before + _with_number(_with_number(segment, 4, rng), 4, rng) + after,
        # Its length.
        lambda: before + segment[:2] + struct.pack(">H", rng.choice((0, 1, 2, 3, 8, 255, 65535))) + segment[4:] + after,
        lambda: before + segment[:2] + struct.pack(">H", max(2, len(segment) - 3)) + segment[4:] + after,
        # Its marker.
        lambda: before + bytes((0xFF, _SEGMENTS[rng.integers(len(_SEGMENTS))])) + segment[2:] + after,
        # Gone, twice, often, and in another's place.
        lambda: before + after,
        lambda: before + segment * 2 + after,
        lambda: before + segment * int(rng.integers(3, 3000)) + after,
        lambda: before + after[:0] + stream[other[1] : other[2]] + segment + after,
        # One more, of any kind.
        lambda: before + _any_segment(rng) + segment + after,
        lambda: before + _any_preset(rng) + segment + after,
        # Coded data without an end, without a middle, with a second image behind.
        lambda: stream[: -int(rng.integers(1, 5))],
        lambda: stream[: end + (len(stream) - end) * int(rng.integers(0, 8)) // 8],
        lambda: stream + stream,
        lambda: stream[: len(stream) // 2] + b"\xff\xd9" + stream[len(stream) // 2 :],
        lambda: stream[: len(stream) // 2] + bytes((0xFF, rng.integers(0xD0, 0xD8))) + stream[len(stream) // 2 :],
    )
    return changes[rng.integers(len(changes))]()


def _with_number(segment: bytes, first: int, rng: np.random.Generator) -> bytes:
    """Returns a segment with an extreme number of one, two or four bytes somewhere behind its length."""
    width = int(rng.choice((1, 1, 2, 4)))
    if len(segment) < first + width:
        return segment
    at = int(rng.integers(first, len(segment) - width + 1))
    number = _NUMBERS[rng.integers(len(_NUMBERS))] % (1 << 8 * width)
    return segment[:at] + number.to_bytes(width, "big") + segment[at + width :]


def _any_segment(rng: np.random.Generator) -> bytes:
    content = rng.integers(0, 256, int(rng.choice((0, 1, 2, 4, 17, 64, 5000))), dtype=np.uint8).tobytes()
    return bytes((0xFF, _SEGMENTS[rng.integers(len(_SEGMENTS))])) + struct.pack(">H", len(content) + 2) + content


def _any_preset(rng: np.random.Generator) -> bytes:
    """Returns a segment that a decoder believes: JPEG-LS LSE (T.87 C.2.4), JPEG DRI, JPEG 2000 POC, RGN or COM."""
    numbers = [_NUMBERS[index] % 65536 for index in rng.integers(len(_NUMBERS), size=5)]
    kinds = (
        (0xF8, b"\x01" + struct.pack(">5H", *numbers)),
        (0xF8, bytes((rng.integers(2, 5), rng.integers(256), 1)) + struct.pack(">4H", *numbers[:4])),
        (0xDD, struct.pack(">H", numbers[0])),
        (0x5F, struct.pack(">BBHBBB", 0, 0, numbers[0], 255, 255, 4)),
        (0x5E, struct.pack(">BBB", 0, 0, int(rng.integers(256)))),
        (0x64, b"\0\1" + b"x" * 60000),
    )
    marker, content = kinds[rng.integers(len(kinds))]
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def _damage_run_lengths(stream: bytes, rng: np.random.Generator) -> bytes:
    """Changes the number of segments, or where one begins (PS3.5 G.5), or a run."""
    header = list(struct.unpack("<16L", stream[:64]))
    numbers = (*_NUMBERS, len(stream), len(stream) - 1, len(stream) + 1, 63, 65, header[1], header[2])
    if rng.integers(4):
        for _ in range(rng.integers(1, 3)):
            header[int(rng.choice((0, 1, 2, 3, rng.integers(16))))] = numbers[rng.integers(len(numbers))]
        return struct.pack("<16L", *header) + stream[64:]
    at = int(rng.integers(64, len(stream) + 1))
    return stream[:at] + bytes((rng.choice((0, 127, 128, 129, 255)), 0)) * int(rng.integers(1, 300)) + stream[at:]


def _damage_png(stream: bytes, rng: np.random.Generator) -> bytes:
    """Changes a chunk, and its checksum with it, so that a decoder believes it."""
    chunks, at = [], 8
    while at + 12 <= len(stream):
        length = int.from_bytes(stream[at : at + 4], "big")
        chunks.append((stream[at + 4 : at + 8], stream[at + 8 : at + 8 + length]))
        at += 12 + length
    index = int(rng.integers(len(chunks)))
    name, content = chunks[index]
    other = (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"gAMA", b"IEND")
    changes: tuple[Callable[[], list[tuple[bytes, bytes]]], ...] = (
        lambda: [(name, _with_number(content, 0, rng))],
        lambda: [(name, _with_number(_with_number(content, 0, rng), 0, rng))],
        lambda: [(other[rng.integers(len(other))], content)],
        lambda: [],
        lambda: [(name, content)] * int(rng.integers(2, 300)),
        lambda: [(other[rng.integers(len(other))], zlib.compress(bytes(10**6))), (name, content)],
        lambda: [(name, content[: len(content) // 2])],
        lambda: [(name, content + b"\0" * 100)],
    )
    chunks[index : index + 1] = changes[rng.integers(len(changes))]()
    return stream[:8] + b"".join(map(_chunk, chunks))


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    name, content = chunk
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))
