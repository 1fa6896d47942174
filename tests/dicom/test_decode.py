import numpy as np
import pytest
from dicom_films import encoded, image, ramp
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from chexkeras.dicom.decode import stored_values
from chexkeras.dicom.gate import DicomRejected

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


def test_native_data_that_is_too_long_for_its_description_is_rejected():
    assert rejection(image(ramp(4, 4), raw=b"\0" * 34)) == "pixel_length"


def test_one_byte_more_makes_the_length_even_and_is_accepted():
    assert stored_values(image(ramp(3, 3, 255), **EIGHT)).values.shape == (3, 3)


def test_a_broken_codestream_is_rejected():
    stream = bytearray(encoded(ramp(64, 64), "JPEG2000"))
    assert rejection(image(ramp(64, 64), syntax=JPEG2000Lossless, raw=bytes(stream[:200]))) == "decode"
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
    with pytest.raises(
        DicomRejected, match=r"1\.2\.840\.10008\.1\.2\.4\.80 .*no decoder for it is installed"
    ) as caught:
        stored_values(image(ramp(4, 4), syntax=JPEGLSLossless, raw=encoded(ramp(4, 4, 255).astype(np.uint8), "JPEG")))
    assert caught.value.code == "decode"


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
