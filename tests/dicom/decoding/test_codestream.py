import io
import struct

import numpy as np
import pytest
from PIL import Image

from chexkeras.dicom.pixels.codestream import jpeg_2000_frame, jpeg_frame, run_length_segments


def _stream(format_name, rows=40, columns=64, values=None, **options):
    stream = io.BytesIO()
    values = np.zeros((rows, columns), dtype=np.uint8) if values is None else values
    Image.fromarray(values).save(stream, format_name, **options)
    return stream.getvalue()


@pytest.mark.parametrize("no_jp2", [True, False])
def test_jpeg_2000_tells_its_size_with_and_without_a_file_around_it(no_jp2):
    assert jpeg_2000_frame(_stream("JPEG2000", no_jp2=no_jp2))[:4] == (40, 64, 1, 8)


def test_samples_and_bits_are_told_as_well():
    colour, deep = np.zeros((40, 64, 3), dtype=np.uint8), np.zeros((40, 64), dtype=np.uint16)
    assert jpeg_2000_frame(_stream("JPEG2000", values=colour))[:4] == (40, 64, 3, 8)
    assert jpeg_2000_frame(_stream("JPEG2000", values=deep))[:4] == (40, 64, 1, 16)
    assert jpeg_frame(_stream("JPEG", values=colour))[:4] == (40, 64, 3, 8)


@pytest.mark.parametrize("progressive", [True, False])
def test_jpeg_tells_its_size(progressive):
    assert jpeg_frame(_stream("JPEG", progressive=progressive))[:4] == (40, 64, 1, 8)


def test_repeated_fill_bytes_before_a_marker_are_skipped():
    stream = _stream("JPEG")
    assert jpeg_frame(stream[:2] + b"\xff\xff\xff" + stream[2:])[:4] == (40, 64, 1, 8)


# T.87: SOI, then SOF55 with length 11, precision 8, 5 rows, 7 columns, one component.
def test_jpeg_ls_tells_its_size():
    assert jpeg_frame(bytes.fromhex("ffd8 fff7 000b 08 0005 0007 01 01 11 00 ffda"))[:4] == (5, 7, 1, 8)


@pytest.mark.parametrize("read", [jpeg_frame, jpeg_2000_frame])
@pytest.mark.parametrize("format_name", ["JPEG", "JPEG2000", "PNG"])
def test_a_stream_cut_before_its_size_is_refused(read, format_name):
    stream = _stream(format_name)
    for end in (0, 1, 2, 11, 12, 20):
        with pytest.raises(ValueError, match=r"begin with|frame header|length"):
            read(stream[:end])


def test_random_bytes_are_refused_and_never_hold_the_reader_up():
    rng = np.random.default_rng(0)
    for start, read in ((b"\xff\xd8", jpeg_frame), (b"\x00\x00\x00\x0cjP  ", jpeg_2000_frame)):
        for _ in range(200):
            stream = start + bytes(rng.choice([0, 255, 1, 8, 90], 300).astype(np.uint8))
            try:
                assert len(read(stream)) == 5
            except ValueError as error:
                assert str(error)


def _run_length(*segments):
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    return struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


# PS3.5 G.3.1: n below 128 copies n + 1 bytes, n above 128 repeats one byte 257 - n times, 128 does nothing.
def test_runs_are_counted_by_hand():
    assert run_length_segments(_run_length(bytes([0, 9, 128, 255, 9])), 100) == (1, 3)
    assert run_length_segments(_run_length(bytes([129, 7]), bytes([4, 1, 2, 3, 4, 5])), 1000) == (2, 128)


@pytest.mark.parametrize("seed", range(5))
def test_runs_are_counted_as_pydicom_decodes_them(seed):
    from pydicom.pixels.decoders.rle import _rle_decode_segment

    segment = np.random.default_rng(seed).integers(0, 256, 500, dtype=np.uint8).tobytes()
    # 128 does nothing, so that a run at the end finds its bytes whichever it is.
    segment += bytes([128] * 200)
    decoded = len(_rle_decode_segment(segment))
    assert run_length_segments(_run_length(segment), 10**6) == (1, decoded)


def test_counting_ends_at_the_limit():
    bomb = _run_length(bytes([129, 0]) * 10**6)
    count, longest = run_length_segments(bomb, at_most=1000)
    assert count == 1 and 1000 < longest <= 1128


@pytest.mark.parametrize(
    "stream", [b"", bytes(63), bytes(64), _run_length(b"")[:4] + bytes(60), struct.pack("<16L", 16, *range(64, 79))]
)
def test_a_frame_without_a_usable_header_is_refused(stream):
    with pytest.raises(ValueError, match=r"header|order"):
        run_length_segments(stream, 10)
