import dataclasses
import math
import os
import struct
import threading
import warnings

import numpy as np
import pytest
from PIL import Image
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from chexkeras.dicom.profiles import CLINICAL
from chexkeras.dicom.read import Radiograph, is_dicom, read_dicom, read_image
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.rules import RULES
from tests.dicom.dicom_images import CHEST_IMAGE, CR, SECONDARY_CAPTURE, encoded, image, ramp, write

EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
PLAIN_EIGHT = {"drop": ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"), **EIGHT}


def rejection(path, profile="clinical", read=read_dicom):
    with pytest.raises(DicomRejected) as caught:
        read(path, profile=profile)
    return caught.value


def test_a_well_formed_image_is_read(make_image):
    radiograph = read_dicom(make_image())
    assert (radiograph.view, radiograph.age_years, radiograph.sex, radiograph.pixel_spacing_mm) == (
        "PA",
        45.0,
        "F",
        0.14,
    )
    assert (radiograph.warnings, radiograph.decoder, radiograph.photometric) == ((), "native", "MONOCHROME2")
    assert radiograph.pixels.dtype == np.uint8 and radiograph.pixels.shape == (256, 256)
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0, 255)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_transfer_syntax_does_not_change_the_pixels(make_image, syntax):
    plain = read_dicom(make_image())
    other = read_dicom(make_image(name="other.dcm", syntax=syntax))
    np.testing.assert_array_equal(other.pixels, plain.pixels)


def test_compressed_pixels_are_read_and_their_decoder_is_named(make_image):
    radiograph = read_dicom(make_image(syntax=JPEG2000Lossless, raw=encoded(ramp(), "JPEG2000")))
    np.testing.assert_array_equal(radiograph.pixels, read_dicom(make_image(name="plain.dcm")).pixels)
    assert radiograph.decoder == "pillow"


def test_what_the_file_does_not_say_is_empty_or_nan(make_image):
    drop = ("PatientAge", "PatientSex", "ImagerPixelSpacing", "SOPInstanceUID")
    radiograph = read_dicom(make_image(drop=drop))
    assert math.isnan(radiograph.age_years) and math.isnan(radiograph.pixel_spacing_mm)
    assert (radiograph.sex, radiograph.key, radiograph.warnings) == ("", "", ("age_unknown",))
    assert read_dicom(make_image(PatientSex="O", name="other.dcm")).sex == ""


def test_spacing_falls_back_on_the_patient_plane_and_zero_is_no_spacing(make_image):
    radiograph = read_dicom(make_image(ImagerPixelSpacing=[0, 0], PixelSpacing=[0.2, 0.2]))
    assert radiograph.pixel_spacing_mm == 0.2
    assert math.isnan(read_dicom(make_image(name="0.dcm", ImagerPixelSpacing="")).pixel_spacing_mm)


def test_warnings_of_header_and_display_are_told_once_each_in_order(make_image):
    path = make_image(PatientAge="58", BodyPartExamined="", drop=("WindowWidth", "WindowCenter"))
    assert read_dicom(path).warnings == ("body_part_missing", "age_format", "window_missing")


def test_a_png_wrapped_in_dicom_gives_the_same_pixels(tmp_path, make_image):
    values = ramp(300, 280, 255).astype(np.uint8) ^ np.random.default_rng(3).integers(0, 8, (300, 280), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "image.png")
    wrapped = make_image(values, SOPClassUID=SECONDARY_CAPTURE, PatientPosition="AP", ViewPosition="", **PLAIN_EIGHT)
    np.testing.assert_array_equal(read_dicom(wrapped, profile="course").pixels, values)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png").pixels, values)
    assert read_dicom(wrapped, profile="course").view == "AP"


@pytest.mark.parametrize(
    "content", [b"", b"x", b"<!DOCTYPE html><html></html>" * 20, b"\x89PNG\r\n\x1a\n" + b"\0" * 300]
)
@pytest.mark.parametrize("profile", ["clinical", "course"])
def test_what_is_not_dicom_is_rejected_whatever_its_name(tmp_path, content, profile):
    path = tmp_path / "test1.dcm"
    path.write_bytes(content)
    assert not is_dicom(path)
    assert rejection(path, profile).code == "not_dicom"
    # What begins as a PNG file and is none cannot be read as one.
    code = "unreadable" if content.startswith(b"\x89PNG") else "not_dicom"
    assert rejection(path, profile, read=read_image).code == code


def test_a_file_without_its_preamble_is_not_forced(tmp_path, make_image):
    path = tmp_path / "bare.dcm"
    path.write_bytes(make_image().read_bytes()[132:])
    assert rejection(path).code == "not_dicom"


def test_a_file_over_the_limit_is_rejected_before_it_is_parsed(make_image, monkeypatch):
    small = dataclasses.replace(CLINICAL, maximum_file_bytes=1000)
    monkeypatch.setattr("pydicom.filereader.read_partial", lambda *args, **kwargs: pytest.fail("parsed"))
    rejected = rejection(make_image(), small)
    assert (rejected.code, rejected.expected) == ("too_large", "at most 1000 bytes")


def test_a_deflated_file_is_refused_without_inflating_it(make_image, monkeypatch):
    path = make_image(syntax=DeflatedExplicitVRLittleEndian)
    monkeypatch.setattr("pydicom.filereader.zlib.decompress", lambda *args: pytest.fail("inflated"))
    assert rejection(path).code == "transfer_syntax"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.4.100", "1.2.3.4", "x", ""])
def test_other_transfer_syntaxes_are_refused(make_image, tmp_path, syntax):
    path = make_image()
    content = path.read_bytes()
    old = b"UI\x14\x001.2.840.10008.1.2.1\0"
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, b"UI\x14\x00" + syntax.encode().ljust(20, b"\0")[:20]))
    assert rejection(path).code == "transfer_syntax"


def test_a_missing_transfer_syntax_is_refused(make_image):
    assert rejection(make_image(drop=("TransferSyntaxUID",))).code == "transfer_syntax"


def test_a_directory_of_files_is_refused(make_image):
    path = make_image(name="DICOMDIR", SOPClassUID="1.2.840.10008.1.3.10")
    assert rejection(path).code == "dicomdir"


@pytest.mark.parametrize("tenth", range(10))
def test_a_file_cut_at_any_tenth_is_rejected(make_image, tenth):
    path = make_image()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * tenth // 10])
    assert rejection(path).code in {"not_dicom", "truncated"}


def test_a_file_cut_anywhere_in_its_header_is_rejected_and_nothing_else_is_raised(make_image):
    path = make_image()
    content = path.read_bytes()
    header = len(content) - 2 * 256 * 256
    for end in range(0, header, 7):
        path.write_bytes(content[:end])
        assert rejection(path).code
    path.write_bytes(content[: header + 2 * 256 * 256 - 2])
    assert rejection(path).code == "truncated"


def test_a_cut_codestream_is_rejected(make_image):
    path = make_image(syntax=JPEG2000Lossless, raw=encoded(ramp(), "JPEG2000"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert rejection(path).code == "truncated"


@pytest.mark.parametrize("keyword", sorted({*CHEST_IMAGE, "Rows", "Columns", "PixelData", "TransferSyntaxUID"}))
@pytest.mark.parametrize("profile", ["clinical", "course"])
def test_any_single_missing_tag_gives_a_image_or_a_rejection(make_image, keyword, profile):
    path = make_image(PatientPosition="PA", drop=(keyword,))
    try:
        assert isinstance(read_dicom(path, profile=profile), Radiograph)
    except DicomRejected as rejected:
        assert rejected.code in {rule.code for rule in RULES}


def test_flipped_bytes_give_a_image_or_a_rejection(make_image):
    path = make_image()
    content = path.read_bytes()
    header = len(content) - 2 * 256 * 256
    rng = np.random.default_rng(11)
    for _ in range(150):
        spoilt = bytearray(content)
        for position in rng.integers(132, header, 3):
            spoilt[position] = rng.integers(256)
        path.write_bytes(spoilt)
        try:
            assert read_dicom(path).pixels.dtype == np.uint8
        except DicomRejected as rejected:
            assert rejected.code


def test_a_constant_image_is_rejected_after_decoding(make_image):
    rejected = rejection(make_image(np.full((256, 256), 700)))
    assert (rejected.code, rejected.found) == ("constant", "44; stored values in use: 1")


@pytest.mark.parametrize("suffix", ["dcm", "png"])
def test_a_blank_image_with_one_mark_or_a_little_noise_is_constant_too(make_image, tmp_path, suffix):
    noise = np.random.default_rng(0).integers(-3, 4, (256, 256)) + 100
    marked = np.full((256, 256), 100)
    marked[9, 9] = 250
    # A spread of eight grey values is no longer constant, though of low contrast; seven are not enough.
    spread = np.tile(np.linspace(100, 108, 256).round(), (256, 1))
    for name, values, code in (
        ("marked", marked, "constant"),
        ("noise", noise, "constant"),
        ("spread", spread, "low_contrast"),
    ):
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "png":
            Image.fromarray(values.astype(np.uint8)).save(path)
        else:
            make_image(values.astype(np.uint8), name=path.name, **PLAIN_EIGHT)
        assert rejection(path, read=read_image).code == code, name


def test_an_element_that_is_longer_than_the_file_is_said_to_be_cut_off(make_image):
    path = make_image()
    content = path.read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")
    # The last length stands for "until a delimiter", which never comes.
    lengths = (0x7FFFFFFE, 0x7FFFFFFE, 0xFFFFFFFF)
    for element, length in zip(
        (b"\x08\x00\x01\x00UN", b"\x08\x00\x18\x00UN", b"\x08\x00\x01\x00OB"), lengths, strict=True
    ):
        path.write_bytes(content[:at] + element + struct.pack("<HL", 0, length) + content[at:])
        rejected = rejection(path)
        assert (rejected.code, rejected.expected) == ("truncated", "elements that end within the file")


@pytest.mark.parametrize("both", [False, True])
def test_floating_point_pixels_are_named_as_such(make_image, both):
    dataset = image(ramp(), drop=() if both else ("PixelData",))
    dataset.FloatPixelData = ramp().astype("<f4").tobytes()
    assert rejection(write(make_image(), dataset)).code == "float_pixels"


@pytest.mark.parametrize("keyword", ["StudyDescription", "WindowCenter"])
def test_a_value_longer_than_any_real_one_is_not_parted(make_image, keyword):
    path = make_image(drop=(keyword,))
    content = path.read_bytes()
    at, tag = content.index(b"\x08\x00\x60\x00CS"), Tag(keyword)
    value = b"1\\" * 100_000
    element = struct.pack("<HH2sHL", tag.group, tag.elem, b"UN", 0, len(value)) + value
    path.write_bytes(content[:at] + element + content[at:])
    if keyword == "StudyDescription":
        assert (rejection(path).code, rejection(path).tag) == ("unreadable", "(0008,1030) StudyDescription")
    else:
        assert read_dicom(path).warnings == ("window_invalid", "window_missing")


def test_what_follows_the_pixels_is_not_read(make_image):
    path = make_image()
    plain, behind = read_dicom(path).pixels, bytes(8 * 400_000)
    with path.open("ab") as handle:
        handle.write(behind)
    # More elements of zeros than a file may have before its pixels.
    np.testing.assert_array_equal(read_dicom(path).pixels, plain)


@pytest.mark.parametrize("kind", ["elements", "items"])
def test_a_file_of_nothing_but_empty_elements_or_items_is_given_up(make_image, kind):
    path = make_image()
    content = path.read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")
    elements = b"\x08\x00\x01\x00LO\x00\x00" * 150_000
    sequence = b"\x08\x00\x18\x22SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0" + bytes(4)
    items = sequence + (b"\xfe\xff\x00\xe0" + bytes(4)) * 150_000 + b"\xfe\xff\xdd\xe0" + bytes(4)
    path.write_bytes(content[:at] + {"elements": elements, "items": items}[kind] + content[at:])
    rejected = rejection(path)
    # Not the limit of a worker, which another try could keep.
    assert rejected.code == "too_many_elements" and "at most 100,000 steps" in rejected.expected


def test_an_image_with_rows_and_columns_but_no_pixels_is_rejected(make_image):
    assert rejection(make_image(drop=("PixelData",))).code == "no_pixels"
    assert (
        rejection(make_image(drop=("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored"))).code == "no_pixels"
    )


def test_pixels_are_not_read_when_the_header_is_refused(make_image, monkeypatch):
    monkeypatch.setattr("chexkeras.dicom.pixels.display.render", lambda dataset: pytest.fail("decoded"))
    assert rejection(make_image(Modality="CT")).code == "modality"


def test_a_image_that_is_mostly_padding_is_warned_of(make_image):
    values = ramp()
    values[:, :150] = 9
    assert read_dicom(make_image(values, PixelPaddingValue=9)).warnings == ("padding",)


def test_a_profile_can_reject_what_only_the_pixels_show(make_image):
    strict = dataclasses.replace(CLINICAL, overrides=(("window_missing", "reject"),))
    assert rejection(make_image(drop=("WindowCenter", "WindowWidth")), strict).code == "window_missing"


def test_the_course_profile_and_the_clinical_one_differ_where_they_should(make_image):
    path = make_image(SOPClassUID=CR, Modality="CR")
    assert read_dicom(path).view == "PA"
    assert rejection(path, "course").code == "modality"


def test_a_missing_file_is_the_callers_mistake(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at"):
        read_dicom(tmp_path / "none.dcm")
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path)
    assert not is_dicom(tmp_path)
    assert not is_dicom(tmp_path / "none.dcm")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_opened_is_rejected(make_image):
    path = make_image()
    path.chmod(0)
    assert rejection(path).code == "unreadable"


def test_several_threads_read_the_same_image(make_image):
    path, found = make_image(PatientAge="58"), []

    def work():
        for _ in range(5):
            found.append(read_dicom(path).warnings)

    filters = list(warnings.filters)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [("age_format",)] * 20
    assert warnings.filters == filters


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        *((charset, "胸部側面") for charset in ("ISO_IR 192", "GB18030", ["", "ISO 2022 IR 87"])),
        (["", "ISO 2022 IR 149"], "흉부 측면"),
        ("ISO_IR 144", "Грудная клетка, боковая"),
        ("ISO_IR 101", "Płuca boczne"),
    ],
)
def test_descriptions_in_any_declared_character_set_are_compared(tmp_path, charset, text):
    file = write(tmp_path / "image.dcm", image(ramp(), SpecificCharacterSet=charset, SeriesDescription=text))
    with pytest.raises(DicomRejected) as caught:
        read_dicom(file)
    assert caught.value.code == "view_conflict"
