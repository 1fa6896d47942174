"""Whose film it is, read from files that are in order, odd or hostile: repeated as it is, or not at all."""

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from chexkeras.dicom.objects.source import NotDescribable, read_source
from tests.dicom.dicom_images import SECONDARY_CAPTURE, image, ramp, write
from tests.dicom.objects.made import FILM, IDENTIFIED, SERIES, STUDY, film, raw


def test_identifiers_are_repeated_as_they_are(tmp_path):
    found = read_source(film(tmp_path / "film"))
    for keyword, value in IDENTIFIED.items():
        assert found.dataset[keyword].value == value, keyword
    assert (found.study, found.uid, found.number) == (STUDY, FILM, 3)
    assert found.dataset.SeriesInstanceUID == SERIES
    assert (found.rows, found.columns, found.grey) == (256, 256, True)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_are_read(tmp_path, syntax):
    assert read_source(film(tmp_path / "film", syntax=syntax)).dataset.PatientName == "Doe^Jane"


def test_nothing_else_of_the_film_is_taken_along(tmp_path):
    path = film(tmp_path / "film", StudyDescription="Pneumonia?", PatientComments="x", InstitutionName="St. Elsewhere")
    text = str(read_source(path).dataset)
    assert "Pneumonia" not in text and "Elsewhere" not in text and "Comments" not in text


def test_a_film_does_not_print_its_patient(tmp_path):
    shown = repr(read_source(film(tmp_path / "film")))
    assert "Doe" not in shown and "A-17" not in shown and STUDY not in shown


def test_what_may_be_missing_is_left_empty(tmp_path):
    may = [keyword for keyword in IDENTIFIED if not keyword.endswith("InstanceUID")]
    found = read_source(film(tmp_path / "film", drop=may)).dataset
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyTime", "StudyID"):
        assert not found[keyword].value, keyword
    assert found.AccessionNumber == "" and found.InstanceNumber == 1 and "IssuerOfPatientID" not in found


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("value", [None, "", "1.2.three", "1" * 65, "1..2", "../../etc/passwd"])
def test_without_knowing_which_film_it_is_no_object_is_made(tmp_path, keyword, value):
    path = film(tmp_path / "film", drop=(keyword,)) if value is None else film(tmp_path / "film", **{keyword: value})
    with pytest.raises(NotDescribable, match=keyword) as raised:
        read_source(path)
    assert not value or value not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientBirthDate", "19701331"),
        ("PatientBirthDate", "1970.01.31"),
        ("StudyDate", "today"),
        ("StudyTime", "25:00"),
        ("StudyTime", "246060"),
        ("StudyID", "S" * 17),
        ("AccessionNumber", "A" * 17),
        ("AccessionNumber", "A\\B"),
        ("PatientSex", "WOMAN"),
        ("PatientName", "D" * 65),
        ("PatientName", "Doe\x1b[31m"),
        ("PatientName", "A^B^C^D^E^F"),
        ("ReferringPhysicianName", "a=b=c=d"),
    ],
)
def test_what_does_not_conform_and_does_not_decide_is_left_empty(tmp_path, keyword, value):
    assert not read_source(film(tmp_path / "film", **{keyword: value})).dataset[keyword].value


@pytest.mark.parametrize("value", ["P" * 65, "A\\B", "A\x00\x01B", "17\x1b[2J"])
def test_a_patient_number_that_cannot_be_repeated_refuses_the_film(tmp_path, value):
    with pytest.raises(NotDescribable, match=r"\(0010,0020\) PatientID does not conform"):
        read_source(film(tmp_path / "film", PatientID=value))


NAMES = {
    "ISO_IR 100": ("Müller^Jürgen".encode("latin-1"), "Müller^Jürgen"),
    "ISO_IR 101": ("Wałęsa^Ąnna".encode("iso8859-2"), "Wałęsa^Ąnna"),
    "ISO_IR 144": ("Люкceмбypг".encode("iso8859-5"), "Люкceмбypг"),
    "ISO_IR 126": ("Διονυσιος".encode("iso8859-7"), "Διονυσιος"),
    "ISO_IR 192": ("Wang^XiaoDong=王^小东".encode(), "Wang^XiaoDong=王^小东"),
    "GB18030": ("Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    "\\ISO 2022 IR 87": (
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "\\ISO 2022 IR 149": (b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"),
}


@pytest.mark.parametrize("declared", NAMES)
def test_names_in_every_character_set_become_the_same_name_in_utf8(tmp_path, declared):
    encoded, name = NAMES[declared]
    dataset = image(ramp(), **{**IDENTIFIED, "SpecificCharacterSet": declared.split("\\")})
    raw(dataset, "PatientName", "PN", encoded)
    found = read_source(write(tmp_path / "film", dataset)).dataset
    assert str(found.PatientName) == name
    assert found.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize(("encoded", "name"), [("Grüße".encode(), "Grüße"), ("Grüße".encode("latin-1"), "Grüße")])
def test_a_name_without_a_declared_character_set_is_read_as_utf8_or_else_latin1(tmp_path, encoded, name):
    dataset = image(ramp(), **IDENTIFIED)
    raw(dataset, "PatientName", "PN", encoded)
    raw(dataset, "PatientID", "LO", encoded)
    found = read_source(write(tmp_path / "film", dataset)).dataset
    assert (str(found.PatientName), found.PatientID) == (name, name)


def test_what_cannot_be_decoded_is_not_guessed(tmp_path):
    dataset = image(ramp(), **IDENTIFIED, SpecificCharacterSet="ISO_IR 192")
    raw(dataset, "PatientName", "PN", b"M\xfcller\xff")
    assert str(read_source(write(tmp_path / "name", dataset)).dataset.PatientName) == ""
    raw(dataset, "PatientID", "LO", b"M\xfcller\xff")
    with pytest.raises(NotDescribable, match="does not conform"):
        read_source(write(tmp_path / "number", dataset))


def test_a_file_that_is_no_dicom_file_has_no_objects(tmp_path):
    path = tmp_path / "page.dcm"
    path.write_text("<html>")
    with pytest.raises(NotDescribable, match="no DICOM file"):
        read_source(path)
    with pytest.raises(FileNotFoundError):
        read_source(tmp_path / "nothing")


def test_a_header_that_cannot_be_read_is_one_sentence(tmp_path):
    path = film(tmp_path / "deflated", syntax=DeflatedExplicitVRLittleEndian)
    with pytest.raises(NotDescribable, match=r"cannot be read \(transfer_syntax\)"):
        read_source(path)


def test_a_number_that_is_cut_off_names_nobody(tmp_path):
    content = film(tmp_path / "whole", PatientID="12345678").read_bytes()
    cut = tmp_path / "cut"
    for kept in (b"1234", b"12345678"):
        cut.write_bytes(content[: content.index(kept) + len(kept)])
        if kept == b"1234":
            with pytest.raises(NotDescribable, match=r"cannot be read \(truncated\)"):
                read_source(cut)
    # Cut off behind it, the film's other tags are missing.
    with pytest.raises(NotDescribable):
        read_source(cut)


def test_a_film_in_colour_and_several_frames_are_no_single_grey_image(tmp_path):
    assert not read_source(film(tmp_path / "frames", NumberOfFrames=2)).grey
    rgb = film(tmp_path / "rgb", SOPClassUID=SECONDARY_CAPTURE, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    assert not read_source(rgb).grey


def test_hostile_numbers_do_no_harm(tmp_path):
    dataset = image(ramp(), **IDENTIFIED)
    for keyword, representation, encoded in (
        ("InstanceNumber", "IS", b"Zqxj"),
        ("WindowCenter", "DS", b"nan\\inf\\1e999"),
        ("WindowWidth", "DS", b"-1\\0\\x"),
        ("RescaleSlope", "DS", b"0"),
    ):
        raw(dataset, keyword, representation, encoded)
    found = read_source(write(tmp_path / "film", dataset))
    assert found.number == 1 and found.display.window is None and found.display.rescale is None
