"""Every tag that the gate or the display chain reads, written as something else: no error, whatever stands there."""

import struct

import pytest
from pydicom.tag import Tag

from chexkeras.dicom.elements import header_tags
from chexkeras.dicom.read import read_dicom
from chexkeras.dicom.rejection import DicomRejected
from tests.dicom.dicom_images import CANARY_CODE, image, leaks, ramp, write

CANARY = CANARY_CODE.encode()
LONG = (b"SQ", b"OB", b"UN", b"UT")
EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "WindowCenter": 128, "WindowWidth": 256}


def element(tag, representation, value):
    length = struct.pack("<HL", 0, len(value)) if representation in LONG else struct.pack("<H", len(value))
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + representation + length + value


def spliced(content, tag, new):
    """A file of explicit little-endian elements with one of them put in the place of its tag."""
    at = 132
    while at < len(content):
        group, number, representation, length = struct.unpack_from("<HH2sH", content, at)
        head = 8
        if representation in (*LONG, b"OW"):
            head, length = 12, struct.unpack_from("<L", content, at + 8)[0]
        met = group << 16 | number
        if group > 2 and met >= tag:
            return content[:at] + new + content[at + (head + length if met == tag else 0) :]
        at += head + length
    raise AssertionError(tag)


def item(content):
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(content)) + content


# An element of a representation that does not exist; pydicom's error quotes it.
UNKNOWN = element(0x4F445E45, b"JO", CANARY)
NESTED = item(element(0x00080104, b"SQ", item(element(0x00080104, b"SQ", item(UNKNOWN)))))
FORMS = {
    "a sequence of what is unknown": ("SQ", item(UNKNOWN)),
    "a sequence that nests": ("SQ", NESTED),
    "a sequence of a code": ("SQ", item(element(0x00080100, b"SH", CANARY) + UNKNOWN)),
    "a sequence for a code": ("SQ", item(element(0x00080100, b"SQ", item(UNKNOWN)))),
    "sequences in a table": (
        "SQ",
        item(element(0x00283002, b"SQ", item(UNKNOWN)) + element(0x00283006, b"SQ", item(UNKNOWN))),
    ),
    "a sequence of no items": ("SQ", CANARY + b"x" * 7),
    "an empty item": ("SQ", item(b"")),
    "bytes": ("OB", b"\xff" * 3),
    "numbers of an odd length": ("US", b"\xff" * 5),
    "floats of an odd length": ("FD", b"\x80" * 7),
    "text": ("LT", CANARY + b"\\" + CANARY),
    "a number out of range": ("DS", b"1e999"),
    "names": ("PN", CANARY + b"=^\\" + b"\xff" * 3),
    "what is unknown": ("UN", CANARY),
}


@pytest.mark.parametrize("form", FORMS)
def test_no_tag_raises_whatever_stands_there(tmp_path, form):
    representation, value = FORMS[form]
    path, refused = write(tmp_path / "image.dcm", image(ramp(highest=255), **EIGHT)), set()
    content = path.read_bytes()
    for tag in map(Tag, header_tags()):
        path.write_bytes(spliced(content, tag, element(tag, representation.encode(), value)))
        try:
            read_dicom(path)
        except DicomRejected as rejected:
            assert not leaks(f"{rejected!r} {rejected} {rejected.violations}"), tag
            assert rejected.__context__ is None
            refused.add(rejected.code)
    assert "unreadable" in refused or representation in ("LT", "PN", "UN")


@pytest.mark.parametrize("keyword", ["PatientAge", "PresentationIntentType", "StudyDescription", "Modality"])
def test_a_sequence_where_text_is_expected_is_unreadable(tmp_path, keyword):
    path, tag = write(tmp_path / "image.dcm", image(ramp(highest=255), **EIGHT)), Tag(keyword)
    path.write_bytes(spliced(path.read_bytes(), tag, element(tag, b"SQ", item(UNKNOWN))))
    with pytest.raises(DicomRejected) as caught:
        read_dicom(path)
    assert "unreadable" in {violation.code for violation in caught.value.violations}
