import struct

import numpy as np
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from chexkeras.dicom.pixels.decoding import stored_values
from chexkeras.dicom.read import read_dicom
from chexkeras.dicom.rejection import DicomRejected
from tests.dicom.dicom_images import encoded, image, ramp, with_only, write
from tests.dicom.workers.tree import PIXEL_DATA, coding_of, parse
from tests.dicom.workers.tree import write as write_tree

EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def rejection(dataset):
    with pytest.raises(DicomRejected) as caught:
        stored_values(dataset)
    return caught.value.code


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("bits", [{}, EIGHT])
def test_native_values_come_back_as_stored(syntax, bits):
    values = ramp(5, 7, 255)
    stored = stored_values(image(values, syntax=syntax, **bits))
    if syntax == ExplicitVRBigEndian and bits:
        # Bytes in OW are swapped in pairs (PS3.5 7.3); the factory writes them unswapped.
        swapped = np.append(values.ravel(), 0).reshape(-1, 2)[:, ::-1].ravel()[:35]
        values = swapped.reshape(5, 7)
    np.testing.assert_array_equal(stored.values, values)
    assert stored.decoder == "native"


def test_run_length_coded_values_come_back_and_are_shifted_like_native_ones():
    values = ramp(16, 16)
    dataset = image(values << 4, HighBit=15)
    dataset.compress(RLELossless, generate_instance_uid=False)
    stored = stored_values(dataset)
    np.testing.assert_array_equal(stored.values, values)
    assert stored.decoder == "pydicom"


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(("sign", "lowest"), [(0, 0), (1, -2048)])
def test_values_that_pydicom_compresses_come_back(syntax, sign, lowest):
    values = (ramp(40, 48).astype(np.int32) + lowest).astype(np.int16 if sign else np.uint16)
    dataset = image(values, PixelRepresentation=sign)
    dataset.compress(syntax, generate_instance_uid=False)
    stored = stored_values(dataset)
    np.testing.assert_array_equal(stored.values, values)
    assert stored.decoder == {JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pillow"}[syntax]


def test_nearly_lossless_values_come_back_within_their_error():
    values = ramp(16, 24)
    dataset = image(values)
    dataset.compress(JPEGLSNearLossless, jls_error=3, generate_instance_uid=False)
    assert 0 < np.abs(stored_values(dataset).values - values).max() <= 3


@pytest.mark.parametrize("plugin", ["pillow", "gdcm", "pylibjpeg"])
def test_every_decoder_gives_the_same_values_and_is_named(monkeypatch, plugin):
    values = ramp(32, 48)
    dataset = image(values, syntax=JPEG2000Lossless, raw=encoded(values, "JPEG2000"))
    with_only(monkeypatch, JPEG2000Lossless, plugin)
    stored = stored_values(dataset)
    np.testing.assert_array_equal(stored.values, values)
    assert stored.decoder == plugin


def test_the_next_decoder_is_asked_where_one_fails_a_stranger_late_and_gdcm_not_at_all(monkeypatch):
    values, asked = ramp(40, 48), []

    def failing(name):
        def decode(*_):
            asked.append(name)
            raise RuntimeError("CANARY")

        return decode

    decoder = get_decoder(JPEG2000Lossless)
    dataset = image(values, syntax=JPEG2000Lossless, raw=encoded(values, "JPEG2000"))
    plugins = {name: failing(name) for name in ("stranger", "gdcm", "pillow")}
    monkeypatch.setattr(decoder, "_available", {**plugins, "pylibjpeg": decoder._available["pylibjpeg"]})
    stored = stored_values(dataset)
    assert (stored.decoder, asked) == ("pylibjpeg", ["pillow"])
    np.testing.assert_array_equal(stored.values, values)
    monkeypatch.setattr(decoder, "_available", plugins)
    asked.clear()
    assert rejection(dataset) == "decode"
    assert asked == ["pillow", "stranger"]


def test_jpeg_2000_values_come_back_and_are_not_shifted():
    values = ramp(16, 16)
    dataset = image(values, syntax=JPEG2000Lossless, raw=encoded(values, "JPEG2000"))
    stored = stored_values(dataset)
    np.testing.assert_array_equal(stored.values, values)
    assert stored.decoder == "pillow"


def test_jpeg_values_come_back_nearly_as_stored():
    values = ramp(16, 16, 255).astype(np.uint8)
    dataset = image(values, syntax=JPEGBaseline8Bit, raw=encoded(values, "JPEG", quality=95), **EIGHT)
    stored = stored_values(dataset)
    assert np.abs(stored.values - values).max() <= 4
    assert (stored.lowest, stored.highest) == (0, 255)


def test_native_data_that_is_cut_short_is_rejected():
    assert rejection(image(ramp(4, 4), raw=b"\0" * 30)) == "truncated"
    assert rejection(image(ramp(4, 4), raw=b"")) == "no_pixels"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("bits", [{}, EIGHT])
def test_uncompressed_data_in_fragments_is_refused_and_not_read_with_what_stands_between_them(tmp_path, syntax, bits):
    # Sixteen bytes of items, and the values behind them: with padding at the end this looks like an image.
    path = write(tmp_path / "image.dcm", image(ramp(highest=255 if bits else 4095), **bits))
    file = parse(path.read_bytes())
    pixels = file.find(PIXEL_DATA)
    pixels.fragments = [b"", pixels.value]
    file.coding, file.syntax = coding_of(syntax.encode()), syntax.encode()
    path.write_bytes(write_tree(file))
    with pytest.raises(DicomRejected, match="uncompressed data of a defined length, not in fragments") as caught:
        read_dicom(path)
    assert caught.value.code == "pixel_length"


def test_one_byte_more_makes_the_length_even_and_is_accepted():
    assert stored_values(image(ramp(3, 3, 255), **EIGHT)).values.shape == (3, 3)


def test_a_broken_codestream_is_rejected():
    stream = bytearray(encoded(ramp(64, 64), "JPEG2000"))
    assert rejection(image(ramp(64, 64), syntax=JPEG2000Lossless, raw=bytes(stream[:200]))) == "truncated"
    assert rejection(image(ramp(64, 64), syntax=JPEG2000Lossless, raw=b"\0" * 64)) == "decode"


def test_a_codestream_of_another_size_than_the_header_says_is_rejected():
    dataset = image(ramp(8, 8), syntax=JPEG2000Lossless, raw=encoded(ramp(64, 64), "JPEG2000"))
    assert rejection(dataset) == "codestream_size"
    jpeg = encoded(ramp(64, 48, 255).astype(np.uint8), "JPEG")
    with pytest.raises(DicomRejected) as caught:
        stored_values(image(ramp(8, 8, 255), syntax=JPEGBaseline8Bit, raw=jpeg, **EIGHT))
    assert (caught.value.code, caught.value.found, caught.value.expected) == ("codestream_size", "64 X 48", "8 X 8")


def test_a_box_without_a_length_does_not_hold_the_reader_up():
    stream = bytearray(encoded(ramp(64, 64), "JPEG2000"))
    second_box = stream.index(b"ftyp") - 4
    stream[second_box : second_box + 4] = b"\0\0\0\0"
    assert rejection(image(ramp(64, 64), syntax=JPEG2000Lossless, raw=bytes(stream))) == "decode"


def test_a_syntax_without_a_decoder_is_rejected_with_its_uid(monkeypatch):
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    with pytest.raises(DicomRejected, match=r"1\.2\.840\.10008\.1\.2\.4\.80; none is installed") as caught:
        stored_values(image(ramp(4, 4), syntax=JPEGLSLossless, raw=encoded(ramp(4, 4, 255).astype(np.uint8), "JPEG")))
    assert caught.value.code == "decoder_missing"


@pytest.mark.parametrize(
    ("code", "tags"),
    [
        ("transfer_syntax", {"drop": ("TransferSyntaxUID",)}),
        ("transfer_syntax", {"syntax": "1.2.840.10008.1.2.4.100"}),
        ("geometry", {"Rows": 0}),
        ("geometry", {"drop": ("Columns",)}),
        ("bits", {"BitsAllocated": 16, "BitsStored": 17}),
        ("bits", {"drop": ("BitsAllocated",)}),
        ("bits", {"HighBit": 3}),
        ("photometric", {"SamplesPerPixel": 3}),
        ("multi_frame", {"NumberOfFrames": 3}),
        ("no_pixels", {"drop": ("PixelData",)}),
    ],
)
def test_an_inconsistent_description_is_rejected_before_decoding(code, tags):
    assert rejection(image(ramp(4, 4), **tags)) == code


def _frame_of_12_bits():
    """A JPEG stream whose frame header says 12 bits (ITU-T T.81 B.2.2), which is as far as any decoder here gets."""
    values = ramp(16, 16, 255).astype(np.uint8)
    stream = bytearray(get_frame(encoded(values, "JPEG"), 0, number_of_frames=1))
    start = stream.index(b"\xff\xc0")
    stream[start + 1], stream[start + 4] = 0xC1, 12
    return bytes(stream)


def test_jpeg_of_12_bits_names_the_extra_that_decodes_it():
    if "pylibjpeg" in get_decoder(JPEGExtended12Bit).available_plugins:
        pytest.skip("the decoder for 12 bits is installed")
    dataset = image(ramp(16, 16), syntax=JPEGExtended12Bit, raw=encapsulate([_frame_of_12_bits()]))
    with pytest.raises(DicomRejected, match=r"pip install 'chexkeras\[jpeg12\]' .*GPL-3.0\); found 12 bits") as caught:
        stored_values(dataset)
    assert caught.value.code == "decoder_missing"


def test_jpeg_of_12_bits_that_its_decoder_cannot_read_is_rejected_as_such(monkeypatch):
    def fails(*_):
        raise RuntimeError

    monkeypatch.setattr(get_decoder(JPEGExtended12Bit), "_available", {"pylibjpeg": fails})
    dataset = image(ramp(16, 16), syntax=JPEGExtended12Bit, raw=encapsulate([_frame_of_12_bits()]))
    assert rejection(dataset) == "decode"


def rgb(channels, **tags):
    """An image of three channels, pixel by pixel."""
    values = np.stack(channels, axis=-1).astype(np.uint8)
    rgb_tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, **EIGHT}
    return image(values[..., 0], raw=values.tobytes(), **{**rgb_tags, **tags})


def test_rgb_of_equal_channels_is_read_as_grey_and_any_other_is_rejected():
    grey = ramp(6, 8, 255)
    np.testing.assert_array_equal(stored_values(rgb([grey] * 3)).values, grey)
    np.testing.assert_array_equal(stored_values(rgb([grey] * 3, drop=("PlanarConfiguration",))).values, grey)
    other = grey.copy()
    other[5, 7] -= 1
    for channels in ([other, grey, grey], [grey, other, grey], [grey, grey, other]):
        assert rejection(rgb(channels)) == "photometric"


def test_rgb_plane_by_plane_is_read_the_same():
    grey = ramp(6, 8, 255).astype(np.uint8)
    dataset = rgb([grey] * 3, PlanarConfiguration=1)
    dataset.PixelData = np.stack([grey] * 3).tobytes()
    np.testing.assert_array_equal(stored_values(dataset).values, grey)


def test_compressed_rgb_of_equal_channels_is_read_as_grey():
    grey = ramp(32, 48, 255).astype(np.uint8)
    raw = encoded(np.stack([grey] * 3, axis=-1), "JPEG2000", irreversible=False, mct=0)
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, **EIGHT}
    np.testing.assert_array_equal(stored_values(image(grey, syntax=JPEG2000Lossless, raw=raw, **tags)).values, grey)


@pytest.mark.parametrize(
    "tags", [{"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}, {"PhotometricInterpretation": "YBR_FULL"}]
)
def test_other_colour_is_rejected_before_decoding(tags):
    assert rejection(rgb([ramp(4, 4, 255)] * 3, **tags)) == "photometric"


def test_a_codestream_of_more_samples_or_bits_than_the_header_says_is_rejected():
    colour = np.stack([ramp(32, 48, 255).astype(np.uint8)] * 3, axis=-1)
    dataset = image(colour[..., 0], syntax=JPEG2000Lossless, raw=encoded(colour, "JPEG2000"), **EIGHT)
    with pytest.raises(DicomRejected) as caught:
        stored_values(dataset)
    assert (caught.value.code, caught.value.found, caught.value.expected) == (
        "codestream_size", "32 X 48 X 3", "32 X 48 X 1",
    )  # fmt: skip
    deep = image(ramp(32, 48), syntax=JPEG2000Lossless, raw=encoded(ramp(32, 48), "JPEG2000"), **EIGHT)
    assert rejection(deep) == "bits"


def _run_length_frame(*segments):
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    return struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


def test_a_run_length_bomb_is_rejected_before_it_is_decoded(monkeypatch):
    # 2 MB that would become 128 MB where 4 x 4 pixels were announced.
    bomb = encapsulate([_run_length_frame(bytes([129, 0]) * 10**6)])
    monkeypatch.setattr(get_decoder(RLELossless), "_available", {"pydicom": lambda *_: pytest.fail("decoded")})
    assert rejection(image(ramp(4, 4, 255), syntax=RLELossless, raw=bomb, **EIGHT)) == "codestream_size"


def test_a_run_length_frame_needs_a_segment_for_every_byte_of_a_pixel():
    one = encapsulate([_run_length_frame(bytes([241, 7]))])
    assert stored_values(image(ramp(4, 4, 255), syntax=RLELossless, raw=one, **EIGHT)).values.tolist() == [[7] * 4] * 4
    assert rejection(image(ramp(4, 4), syntax=RLELossless, raw=one)) == "codestream_size"


def test_memory_that_runs_out_is_a_limit_and_no_other_decoder_is_asked(monkeypatch):
    asked = []

    def hungry(*_, decoding_plugin, **__):
        asked.append(decoding_plugin)
        raise MemoryError

    monkeypatch.setattr(get_decoder(JPEG2000), "as_array", hungry)
    dataset = image(ramp(32, 32), syntax=JPEG2000, raw=encoded(ramp(32, 32), "JPEG2000"))
    assert rejection(dataset) == "decoder_limit"
    assert asked == ["pillow"]


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_compressed_values_beyond_the_stored_bits_are_refused_and_not_cut_off(syntax):
    values = ramp(64, 64, 5000)
    dataset = image(values, BitsStored=16, HighBit=15)
    dataset.compress(syntax)
    np.testing.assert_array_equal(stored_values(dataset).values, values)
    dataset.BitsStored, dataset.HighBit = 12, 11
    with pytest.raises(DicomRejected, match="compressed values that fit into the stored bits; found 12") as caught:
        stored_values(dataset)
    assert caught.value.code == "bits"
