"""Files made to take the reader down, read in the program's own process: what is refused needs no worker to be safe."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from chexkeras.dicom.read import read_dicom, read_image
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.rules import RULE_BY_CODE
from tests.dicom.dicom_images import code_item, encoded, image, lookup_item, ramp, write

EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
NO_WINDOW = ("WindowCenter", "WindowWidth")
MIB = 2**20


def refusal(path, read=read_image):
    """The refusal, and the most memory that Python held meanwhile, in MiB."""
    tracemalloc.start()
    try:
        with pytest.raises(DicomRejected) as caught:
            read(path)
        return caught.value.code, tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def test_a_deflate_bomb_is_refused_without_inflating_it(tmp_path):
    # 200 kB that would become 200 MB.
    radiograph = write(tmp_path / "radiograph.dcm", image(ramp(), syntax="1.2.840.10008.1.2.1.99"))
    content = radiograph.read_bytes()
    start = 132 + 12 + struct.unpack_from("<L", content, 140)[0]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = squeeze.compress(b"\x09\x00\x01\x00OB\x00\x00\x00\x00\xff\x7f" + bytes(200 * MIB)) + squeeze.flush()
    radiograph.write_bytes(content[:start] + body)
    assert radiograph.stat().st_size < MIB
    code, held = refusal(radiograph)
    assert code == "transfer_syntax"
    assert held < 5


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFE])
@pytest.mark.parametrize(
    ("element", "before"),
    [
        (b"\x02\x00\x02\x01OB", b"\x02\x00\x10\x00UI"),
        (b"\x08\x00\x60\x00UN", b"\x08\x00\x60\x00CS"),
        (b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00OW"),
    ],
)
def test_a_length_beyond_the_file_makes_no_room_for_it(tmp_path, element, before, length):
    path = write(tmp_path / "image.dcm", image(ramp()))
    content = path.read_bytes()
    at = content.index(before)
    path.write_bytes(content[:at] + element + struct.pack("<HL", 0, length) + content[at:])
    assert refusal(path)[1] < 5


@pytest.mark.parametrize("sides", [(65535, 65535), (10_000, 10_000), (256, 65535)])
def test_huge_dimensions_are_refused_before_anything_is_decoded(tmp_path, sides):
    path = write(tmp_path / "image.dcm", image(ramp(), Rows=sides[0], Columns=sides[1]))
    assert refusal(path) == ("geometry", pytest.approx(0, abs=5))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGBaseline8Bit])
def test_a_small_image_with_a_huge_codestream_is_refused(tmp_path, syntax):
    values = ramp(highest=255).astype(np.uint8)
    raw = bytearray(encoded(values, "JPEG2000" if syntax == JPEG2000Lossless else "JPEG"))
    if syntax == JPEG2000Lossless:
        at = raw.index(b"\xff\x4f\xff\x51") + 8
        raw[at : at + 8] = struct.pack(">LL", 60_000, 60_000)
    else:
        at = raw.index(b"\xff\xc0") + 5
        raw[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    path = write(tmp_path / "image.dcm", image(values, syntax=syntax, raw=bytes(raw), **EIGHT))
    assert refusal(path) == ("codestream_size", pytest.approx(0, abs=5))


def test_a_run_length_bomb_is_refused(tmp_path):
    from pydicom.encaps import encapsulate

    header = struct.pack("<16L", 1, 64, *[0] * 14)
    raw = encapsulate([header + bytes([129, 0]) * MIB])
    path = write(tmp_path / "image.dcm", image(ramp(), syntax=RLELossless, raw=raw, **EIGHT))
    # 2 MB in the file, 128 MB inflated.
    assert refusal(path) == ("codestream_size", pytest.approx(0, abs=10))


def test_sequences_in_sequences_end_somewhere(tmp_path):
    nested = b"\x08\x00\x18\x22SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    path = write(tmp_path / "image.dcm", image(ramp()))
    content = path.read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")
    path.write_bytes(content[:at] + nested + content[at:])
    assert refusal(path)[0] == "unreadable"


def test_a_directory_leads_nowhere():
    # It names other files of its folder; none of them is opened, it is refused for what it is.
    path = get_testdata_file("DICOMDIR", download=False)
    assert refusal(path)[0] == "dicomdir"


@pytest.mark.parametrize("name", ["no_meta.dcm", "ExplVR_LitEndNoMeta.dcm", "rtplan.dump"])
def test_nothing_is_forced(name):
    assert refusal(get_testdata_file(name, download=False), read_dicom)[0] == "not_dicom"


def _compressed(syntax):
    values = ramp(highest=255).astype(np.uint8)
    formats = {JPEG2000Lossless: "JPEG2000", JPEGBaseline8Bit: "JPEG"}
    if syntax in formats:
        return image(values, syntax=syntax, raw=encoded(values, formats[syntax]), drop=NO_WINDOW, **EIGHT)
    dataset = image(values, drop=NO_WINDOW, **EIGHT)
    dataset.compress(syntax, generate_instance_uid=False)
    return dataset


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless])
def test_a_compressed_image_cut_at_any_tenth_is_refused(tmp_path, syntax):
    path = write(tmp_path / "image.dcm", _compressed(syntax))
    content = path.read_bytes()
    assert read_image(path).view == "PA"
    for tenth in range(10):
        path.write_bytes(content[: len(content) * tenth // 10])
        code, held = refusal(path)
        assert code in RULE_BY_CODE
        assert held < 10


# What no published file shows, each in an image that is otherwise in order.
ODD_IMAGES = {
    "sigmoid": {"VOILUTFunction": "SIGMOID", "WindowCenter": 2048, "WindowWidth": 2000},
    "high bit": {"HighBit": 15},
    "inverse with MONOCHROME2": {"PresentationLUTShape": "INVERSE"},
    "signed": {"PixelRepresentation": 1, "WindowCenter": 0},
    "padding": {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 10},
    "two windows": {"WindowCenter": [2048, 1000], "WindowWidth": [4096, 10]},
    "voi table": {"VOILUTSequence": lookup_item(np.arange(4096), 0, 12)},
    "coded region": {"BodyPartExamined": "", "AnatomicRegionSequence": code_item("816094009")},
    "malformed age": {"PatientAge": "81"},
}


@pytest.mark.parametrize("name", ODD_IMAGES)
def test_odd_images_are_read(tmp_path, name):
    values = {"high bit": ramp() << 4, "signed": ramp().astype(np.int16) - 2048}.get(name, ramp())
    radiograph = read_image(write(tmp_path / "radiograph.dcm", image(values, **ODD_IMAGES[name])))
    assert np.unique(radiograph.pixels).size > 100
    assert set(radiograph.warnings) <= {"presentation_conflict", "body_part_fallback", "age_format"}


@pytest.mark.parametrize("keyword", ["WindowCenter", "Rows", "PixelSpacing"])
def test_a_value_of_a_hundred_thousand_parts_is_a_image_or_a_refusal(tmp_path, keyword):
    dataset = image(ramp())
    value = b"\1\0" * 10**5 if keyword == "Rows" else b"\\".join([b"1"] * 10**5)
    tag = Tag(keyword)
    dataset[tag] = RawDataElement(tag, "UN", len(value), value, 0, False, True)
    path = write(tmp_path / "image.dcm", dataset)
    if keyword == "Rows":
        assert refusal(path)[0] == "unreadable"
    else:
        assert read_image(path).view == "PA"
