import io

import numpy as np
import pytest
from PIL import Image

from chexkeras.dicom.codestream import jpeg_2000_size, jpeg_size


def _stream(format_name, rows=40, columns=64, **options):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((rows, columns), dtype=np.uint8)).save(stream, format_name, **options)
    return stream.getvalue()


@pytest.mark.parametrize("no_jp2", [True, False])
def test_jpeg_2000_tells_its_size_with_and_without_a_file_around_it(no_jp2):
    assert jpeg_2000_size(_stream("JPEG2000", no_jp2=no_jp2)) == (40, 64)


@pytest.mark.parametrize("progressive", [True, False])
def test_jpeg_tells_its_size(progressive):
    assert jpeg_size(_stream("JPEG", progressive=progressive)) == (40, 64)


def test_repeated_fill_bytes_before_a_marker_are_skipped():
    stream = _stream("JPEG")
    assert jpeg_size(stream[:2] + b"\xff\xff\xff" + stream[2:]) == (40, 64)


# T.87: SOI, then SOF55 with length 11, precision 8, 5 rows, 7 columns, one component.
def test_jpeg_ls_tells_its_size():
    assert jpeg_size(bytes.fromhex("ffd8 fff7 000b 08 0005 0007 01 01 11 00 ffda")) == (5, 7)


@pytest.mark.parametrize("read", [jpeg_size, jpeg_2000_size])
@pytest.mark.parametrize("format_name", ["JPEG", "JPEG2000", "PNG"])
def test_a_stream_cut_before_its_size_is_refused(read, format_name):
    stream = _stream(format_name)
    for end in (0, 1, 2, 11, 12, 20):
        with pytest.raises(ValueError, match=r"begin with|frame header|length"):
            read(stream[:end])


def test_random_bytes_are_refused_and_never_hold_the_reader_up():
    rng = np.random.default_rng(0)
    for start, read in ((b"\xff\xd8", jpeg_size), (b"\x00\x00\x00\x0cjP  ", jpeg_2000_size)):
        for _ in range(200):
            stream = start + bytes(rng.choice([0, 255, 1, 8, 90], 300).astype(np.uint8))
            try:
                assert len(read(stream)) == 2
            except ValueError as error:
                assert str(error)
