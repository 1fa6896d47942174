"""Whether pixel data is what the header promises: bytes behind the last pixel, ends of codestreams, several frames."""

import time

import numpy as np
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from chexkeras.dicom.pixels import codestream
from chexkeras.dicom.pixels.decoding import stored_values
from chexkeras.dicom.read import read_dicom, read_image
from chexkeras.dicom.rejection import DicomRejected
from tests.dicom.dicom_images import encoded, image, ramp, write

EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def rejection(dataset):
    with pytest.raises(DicomRejected) as caught:
        stored_values(dataset)
    return caught.value


def native(values, rest=b"", **tags):
    dataset = image(values, **tags)
    dataset.PixelData = dataset.PixelData + rest
    return dataset


@pytest.mark.parametrize("rest", [b"\0\0", b"\0" * 100, b"\xff" * 4096, b" " * 3000, b"\1\2\3\4", bytes(range(200))])
@pytest.mark.parametrize("tags", [{}, EIGHT, {"syntax": ExplicitVRBigEndian}])
def test_padding_behind_the_last_pixel_is_left_out_with_a_warning(rest, tags):
    values = ramp(256, 300, 255)
    plain, padded = stored_values(native(values, **tags)), stored_values(native(values, rest, **tags))
    np.testing.assert_array_equal(padded.values, plain.values)
    assert (plain.warnings, padded.warnings) == ((), ("excess_padding",))


@pytest.mark.parametrize(
    "rest",
    [
        # One column too few in the header, whose pixels are not all the same.
        bytes(range(256)) * 2,
        # A frame more, whatever is in it.
        bytes(256 * 300 * 2),
        # Bits Allocated too few.
        b"\0\1" * (256 * 300),
    ],
)
def test_more_than_padding_is_another_geometry(rest):
    assert rejection(native(ramp(256, 300), rest)).code == "pixel_length"


def test_one_byte_makes_the_length_even_without_a_warning():
    assert stored_values(image(ramp(3, 3, 255), **EIGHT)).warnings == ()


def test_a_film_with_padding_is_accepted_and_the_same(tmp_path):
    plain = read_dicom(write(tmp_path / "plain.dcm", image(ramp())))
    film = read_dicom(write(tmp_path / "image.dcm", native(ramp(), bytes(1000))))
    np.testing.assert_array_equal(film.pixels, plain.pixels)
    assert film.warnings == ("excess_padding",)


def compressed(syntax, values=None):
    values = ramp(256, 256) if values is None else values
    dataset = image(values)
    dataset.compress(syntax, generate_instance_uid=False)
    return dataset


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("frames", [0, ""])
def test_no_frames_are_read_as_one(tmp_path, syntax, frames):
    dataset = compressed(syntax) if syntax else image(ramp())
    dataset.NumberOfFrames = frames
    film = read_dicom(write(tmp_path / "image.dcm", dataset))
    np.testing.assert_array_equal(film.pixels, read_dicom(write(tmp_path / "one.dcm", image(ramp()))).pixels)
    assert film.warnings == (("number_of_frames",) if frames == 0 else ())


def test_fewer_frames_than_none_are_refused(tmp_path):
    with pytest.raises(DicomRejected) as caught:
        read_dicom(write(tmp_path / "image.dcm", image(ramp(), NumberOfFrames=-1)))
    assert caught.value.code == "multi_frame"


GREY = ramp(64, 64, 255).astype(np.uint8)
STREAMS = {
    JPEGBaseline8Bit: (GREY, lambda: encoded(GREY, "JPEG", quality=95), EIGHT),
    JPEG2000Lossless: (ramp(64, 64), lambda: encoded(ramp(64, 64), "JPEG2000", no_jp2=True), {}),
    JPEGLSLossless: (ramp(64, 64), lambda: compressed(JPEGLSLossless, ramp(64, 64)).PixelData, {}),
}


def stream_of(syntax):
    values, pixel_data, tags = STREAMS[syntax]
    return values, get_frame(pixel_data(), 0, number_of_frames=1).rstrip(b"\0"), tags


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: syntax.keyword)
def test_a_codestream_needs_the_marker_of_its_end(syntax):
    values, stream, tags = stream_of(syntax)
    assert stream.endswith(b"\xff\xd9")
    for rest in (b"", b"\0", b"\xff", bytes(500)):
        dataset = image(values, syntax=syntax, raw=encapsulate([stream + rest]), **tags)
        assert stored_values(dataset).values.shape == values.shape
    for cut in (1, 2, 50, len(stream) // 2):
        rejected = rejection(image(values, syntax=syntax, raw=encapsulate([stream[:-cut]]), **tags))
        assert (rejected.code, rejected.expected) == ("truncated", "a codestream with the marker of its end")


def test_a_jpeg_ls_stream_that_ends_early_is_refused_before_a_decoder_loses_itself_in_it():
    # ITU-T T.87: SOI, SOF55 of 96 x 96 pixels of 8 bits, SOS, and a few bytes of a scan, over which one decoder takes
    # many seconds.
    stream = "ffd8 fff7000b08 00600060 01011100 ffda0008 010100000000 3cafff7fff03000000528000005da29d3f"
    dataset = image(np.zeros((96, 96)), syntax=JPEGLSLossless, raw=encapsulate([bytes.fromhex(stream)]), **EIGHT)
    start = time.process_time()
    assert rejection(dataset).code == "truncated"
    assert time.process_time() - start < 1


def test_a_jpeg_stream_cut_and_closed_is_told_by_the_gray_that_decoders_fill_in(tmp_path):
    values = ramp(256, 256, 255).astype(np.uint8)
    stream = get_frame(encoded(values, "JPEG", quality=95), 0, number_of_frames=1).rstrip(b"\0")
    closed = stream[: len(stream) // 2] + b"\xff\xd9"
    rejected = rejection(image(values, syntax=JPEGBaseline8Bit, raw=encapsulate([closed]), **EIGHT))
    assert (rejected.code, rejected.expected) == ("truncated", "a codestream with the data of all rows")
    (tmp_path / "image.jpg").write_bytes(closed)
    with pytest.raises(DicomRejected) as caught:
        read_image(tmp_path / "image.jpg")
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: syntax.keyword)
def test_a_second_frame_among_the_fragments_is_not_passed_over(syntax):
    values, stream, tags = stream_of(syntax)
    # Fragments of one frame are put together; two that each begin a frame are two frames.
    parts = encapsulate([stream], fragments_per_frame=4)
    np.testing.assert_array_equal(
        stored_values(image(values, syntax=syntax, raw=parts, **tags)).values,
        stored_values(image(values, syntax=syntax, raw=encapsulate([stream]), **tags)).values,
    )
    rejected = rejection(image(values, syntax=syntax, raw=encapsulate([stream, stream]), **tags))
    assert (rejected.code, rejected.found) == ("multi_frame", "2")


# ITU-T T.81: SOI; DHT with two codes of one bit, of the categories 0 and 1; SOF3 of 16 x 16 pixels of 8 bits; SOS with
# predictor 1; and a scan of zeros, which are so many differences of 0 from the middle of the grey scale.
TABLE = bytes.fromhex("ffc4 0015 00 02000000000000000000000000000000 0001".replace(" ", ""))
FRAME = bytes.fromhex("ffc3 000b 08 0010 0010 01 01 11 00")
SCAN = bytes.fromhex("ffda 0008 01 0100 01 00 00")


def lossless(*, table=TABLE, frame=FRAME, scan=SCAN, before=b""):
    return b"\xff\xd8" + before + table + frame + scan + bytes(32) + b"\xff\xd9"


def test_a_lossless_jpeg_stream_written_by_hand_is_decoded():
    dataset = image(np.zeros((16, 16)), syntax=JPEGLosslessSV1, raw=encapsulate([lossless()]), **EIGHT)
    np.testing.assert_array_equal(stored_values(dataset).values, np.full((16, 16), 128))


DAMAGED = {
    "a segment too short": {"before": bytes.fromhex("ffee0002") + b"Adobe\0\0\0\0\0\0\0"},
    "a JFIF version that there is not": {"before": bytes.fromhex("ffe0 0010 4a46494600 0502 00 0001 0001 0000")},
    "a table without a length": {"table": TABLE[:2] + b"\0\2" + TABLE[4:]},
    "more codes than there are": {
        "table": TABLE.replace(b"\0\x02\0", b"\0\x03\0", 1).replace(b"\x15", b"\x16") + b"\2"
    },
    "more codes than values": {"table": TABLE.replace(b"\0\x02\0\0", b"\0\x01\2\0", 1)},
    "no codes": {"table": bytes.fromhex("ffc40013") + bytes(17)},
    "a component that is not there": {"scan": SCAN.replace(b"\1\1\0", b"\1\2\0")},
    "more components than there are": {"scan": bytes.fromhex("ffda 000a 02 0100 0100 01 00 00")},
    "no component": {"scan": bytes.fromhex("ffda 0006 00 01 00 00")},
    "a frame of no component": {"frame": bytes.fromhex("ffc3 0008 08 0010 0010 00")},
    "no scan": {"scan": b""},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_segments_are_refused_before_a_decoder_ends_the_process_over_them(name, monkeypatch):
    stream = lossless(**DAMAGED[name])
    assert stream != lossless()
    with pytest.raises(ValueError, match=r"marker|table|scan|frame|version"):
        codestream.check_jpeg_segments(stream)
    # Nothing is given to a decoder.
    monkeypatch.setattr("pydicom.pixels.get_decoder", None)
    dataset = image(np.zeros((16, 16)), syntax=JPEGLosslessSV1, raw=encapsulate([stream]), **EIGHT)
    assert rejection(dataset).code in {"decode", "codestream_size"}
