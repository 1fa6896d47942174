"""Every transfer syntax of the table of decoders: what decodes it, and that it decodes it right."""

import base64

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

from chexkeras.dicom.pixels.decoding import COMPRESSED, stored_values
from chexkeras.dicom.rejection import DicomRejected
from tests.dicom.dicom_images import encoded, image, with_only

EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
ROW, COLUMN = np.mgrid[:8, :12]
# 12 bits: one image that no prediction guesses, for lossless codes, and a smooth one, for the others.
ROUGH = (37 * ROW**2 + 113 * COLUMN**2 + 55 * ROW * COLUMN) % 4096
SMOOTH = 2000 + 60 * ROW + 40 * COLUMN

# Nothing that is required here writes these; they are ROUGH and SMOOTH as imagecodecs 2026.3 coded them (OpenJPH,
# libjpeg-turbo with predictor 1 and 4).
STREAMS = {
    "htj2k_lossless": (
        "/0//UQApQAAAAAAMAAAACAAAAAAAAAAAAAAADAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQ"
        "kJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAO8AAf+TwAAmy/IFB3QAAMAAEwDa/gMHdADAABNAABPA"
        "ABMADPoDB3QA9NrWAwF0AAD8Aod0AMAAFbAABXwAAV4n3cECN4iUAAMBebYAR6JwK9X5AhD8AEIAvZYAPwIQfgfgAWD5ADKAvZYAwAAu"
        "sgABdTAAC2zh8PAwx3BUOHB8OHJsXZFNOIRDuHB0uIcLx4YTx4ZD7x3LAVZaOGpQAbG6AEkymdCGdkmmHe2SQHvaJQF8kpzQDq9JpnIS"
        "YJbE6v0CS0hImAEiQboA/uf/f/9//v9//3//f8f/MQOErlg/GYFzC3oA/9k="
    ),
    "htj2k": (
        "/0//UQApQAAAAAAMAAAACAAAAAAAAAAAAAAADAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAAKv9SAAwAAgABAAUEBEAA/1wAIyK3GLbq"
        "tuq2vK8ArwCu4qdMp0ynZJADkAOQRpfSl9KXYf9kABcAAU9wZW5KUEggVmVyIDAuMjYuMy7/kAAKAAAAAACDAAH/k8AAATAdhQeHdAAA"
        "wAACUKIDB3QAwAAEsAABOJ8BB3QA+tb3AKI0AMAAFVAABWAYj6OJyQIQ+bUABsgEkAmQACEDfrYAwAAWjAABbABSmkYQRDaNIPwBJn4Q"
        "rwt4AJyZmStzxVyZlbkyK/MACKYQgU3c1Wo7AP/Z"
    ),
    "jpeg_12_bits": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoK"
        "BggLDAsKDAkKCgr/wQALDAAIAAwBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAC//EACIQAAADBwUAAAAAAAAAAAAAAAALJwIGCQooRWE2"
        "UVNicf/aAAgBAQAAPwBLiUmLutMobw27zAQ4htl3VJjvobvbujGB/9k="
    ),
    "jpeg_lossless_first": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALDAAIAAwBAREA/8QAGgAAAwEBAQEAAAAAAAAAAAAACgsMCQgHBv/aAAgBAQABAACf/wDcdUyN"
        "TFz+Wbct46fngKGNKJ9L1RsUTYacwwlEW+jtae3omkvft/b+4JUZwrGeVIcVzhj+9GhTZ9c6Lb8FtHeMnpX9zFOh0EyQenq0D1NIvMRP"
        "zk1G27pmd6oXUnyiDU3YQmY0hhVKFt7ps99kiTpdlK+y+3ZTpv8AIwNQ3Es4M/pRlU1qo7eHfItQ7aSXa9OXJz2ggSAp46sb/9k="
    ),
    "jpeg_lossless": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALDAAIAAwBAREA/8QAGwABAAIDAQEAAAAAAAAAAAAABgwNCQoLBwj/2gAIAQEABAAAj/8A7jlT"
        "2Ndxff56bcW87T8eAkMfFESt27du3gG1gbt27dv7e3bt27du3gG1gbwDawN/rlu3bt27du3bt2+QNu3bt4BtYG7du3bwDbKa3bt27dvA"
        "NrA3gG1gbt8y7du3gG1gbt27du3b54W7du3bt27dvANrA3//2Q=="
    ),
}


# GDCM, or the decoder of the extra [jpeg12], which is asked before it.
LOSSLESS = {"gdcm", "pylibjpeg"}


def coded(name):
    return encapsulate([base64.b64decode(STREAMS[name])])


def compressed(syntax, values, **options):
    dataset = image(values)
    dataset.compress(syntax, generate_instance_uid=False, **options)
    return dataset.PixelData


GREY = (SMOOTH >> 4).astype(np.uint8)
DEEP = SMOOTH.astype(np.uint16)
# Syntax: the image, its pixel data, how far a value may lie off, and what may decode it.
SYNTAXES = {
    uid.JPEGBaseline8Bit: (GREY, lambda: encoded(GREY, "JPEG", quality=98), 3, {"pillow"}),
    uid.JPEGExtended12Bit: (SMOOTH, lambda: coded("jpeg_12_bits"), 2, {"pylibjpeg"}),
    uid.JPEGLossless: (ROUGH, lambda: coded("jpeg_lossless"), 0, LOSSLESS),
    uid.JPEGLosslessSV1: (ROUGH, lambda: coded("jpeg_lossless_first"), 0, LOSSLESS),
    uid.JPEGLSLossless: (ROUGH, lambda: compressed(uid.JPEGLSLossless, ROUGH), 0, {"pyjpegls"}),
    uid.JPEGLSNearLossless: (ROUGH, lambda: compressed(uid.JPEGLSNearLossless, ROUGH, jls_error=3), 3, {"pyjpegls"}),
    uid.JPEG2000Lossless: (SMOOTH, lambda: encoded(DEEP, "JPEG2000", no_jp2=True), 0, {"pillow"}),
    uid.JPEG2000: (GREY, lambda: encoded(GREY, "JPEG2000", no_jp2=True, irreversible=True), 2, {"pillow"}),
    uid.HTJ2KLossless: (ROUGH, lambda: coded("htj2k_lossless"), 0, {"pylibjpeg"}),
    uid.HTJ2KLosslessRPCL: (ROUGH, lambda: coded("htj2k_lossless"), 0, {"pylibjpeg"}),
    uid.HTJ2K: (SMOOTH, lambda: coded("htj2k"), 2, {"pylibjpeg"}),
    uid.RLELossless: (ROUGH, lambda: compressed(uid.RLELossless, ROUGH), 0, {"pydicom"}),
}


def test_the_table_has_every_compressed_syntax():
    assert set(SYNTAXES) == COMPRESSED


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_every_transfer_syntax_is_decoded(syntax):
    values, pixel_data, tolerance, decoders = SYNTAXES[syntax]
    if not decoders.intersection(get_decoder(syntax).available_plugins):
        pytest.skip("needs the extra [jpeg12]")
    bits = EIGHT if values is GREY else {}
    stored = stored_values(image(values, syntax=syntax, raw=pixel_data(), **bits))
    assert stored.decoder in decoders
    assert np.abs(stored.values - values).max() <= tolerance


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_only_jpeg_of_12_bits_needs_an_extra(syntax):
    plain = set(get_decoder(syntax).available_plugins) - ({"pylibjpeg"} if syntax.keyword.startswith("JPEG") else set())
    assert bool(SYNTAXES[syntax][3] & plain) == (syntax != uid.JPEGExtended12Bit)


# The decoders of each transfer syntax, on pydicom's own test files; the values are checked in test_oracle.py.
BUNDLED = {
    "JPEG2000.dcm": "pillow",
    "693_J2KI.dcm": "pillow",
    "MR_small_jp2klossless.dcm": "pillow",
    "MR_small_jpeg_ls_lossless.dcm": "pyjpegls",
    "JPEGLSNearLossless_08.dcm": "pyjpegls",
    "JPEGLSNearLossless_16.dcm": "pyjpegls",
    "MR_small_RLE.dcm": "pydicom",
    "MR_small_bigendian.dcm": "native",
    "MR_small_implicit.dcm": "native",
}


@pytest.mark.parametrize(("name", "decoder"), BUNDLED.items())
def test_the_files_that_pydicom_ships_are_decoded_by_the_decoder_of_their_syntax(name, decoder):
    assert stored_values(pydicom.dcmread(get_testdata_file(name, download=False))).decoder == decoder


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "decoder"),
    [
        ("RG1_J2KI.dcm", {"pillow"}),
        ("RG3_J2KR.dcm", {"pillow"}),
        ("JLSL_16_15_1_1F.dcm", {"pyjpegls"}),
        ("JPGLosslessP14SV1_1s_1f_8b.dcm", LOSSLESS),
        ("emri_small_RLE.dcm", None),
    ],
)
def test_the_published_compressed_files_are_decoded_and_all_decoders_agree(real_dicom, monkeypatch, name, decoder):
    dataset = pydicom.dcmread(real_dicom / "codecs" / name)
    if decoder is None:
        with pytest.raises(DicomRejected, match="multi_frame"):
            stored_values(dataset)
        return
    stored = stored_values(dataset)
    assert stored.decoder in decoder
    syntax = dataset.file_meta.TransferSyntaxUID
    for plugin in get_decoder(syntax).available_plugins:
        with monkeypatch.context() as patch:
            with_only(patch, syntax, plugin)
            np.testing.assert_array_equal(stored_values(dataset).values, stored.values)
