import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from chexkeras.dicom import gate
from chexkeras.dicom.gate import check_header, require
from chexkeras.dicom.profiles import CLINICAL
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.rules import RULES
from tests.dicom.dicom_images import CHEST_IMAGE, CR, SECONDARY_CAPTURE, code_item, image, ramp

SIZE = 200_000
COURSE_IMAGE = {"PatientPosition": "PA"}
GREY_AS_RGB = {"SamplesPerPixel": 3, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def violations(profile="clinical", **tags):
    values = tags.pop("values", ramp())
    return check_header(image(values, **tags), SIZE, profile)


def codes(profile="clinical", **tags):
    found = violations(profile, **tags)
    return {violation.code: violation.severity for violation in found}


def test_a_well_formed_chest_image_breaks_no_rule():
    assert violations() == []
    assert violations("course", **COURSE_IMAGE) == []


CLINICAL_CASES = [
    ("sop_class", "reject", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}),
    ("sop_class", "reject", {"SOPClassUID": ""}),
    ("sop_class_secondary", "warn", {"SOPClassUID": SECONDARY_CAPTURE}),
    ("for_processing", "reject", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"}),
    ("for_processing", "reject", {"PresentationIntentType": "FOR PROCESSING"}),
    ("dicomdir", "reject", {"SOPClassUID": "1.2.840.10008.1.3.10"}),
    ("modality", "reject", {"Modality": "CT"}),
    ("modality", "reject", {"Modality": "RF"}),
    ("modality", "reject", {"Modality": "", "SOPClassUID": SECONDARY_CAPTURE}),
    ("modality_missing", "warn", {"Modality": ""}),
    ("species", "reject", {"PatientSpeciesDescription": "Canine"}),
    ("species", "reject", {"PatientSpeciesCodeSequence": code_item("448771007")}),
    ("species", "reject", {"AnatomicalOrientationType": "QUADRUPED"}),
    ("species", "reject", {"StudyDescription": "FELINE thorax"}),
    ("species", "reject", {"AcquisitionDeviceProcessingDescription": "CANINE THORAX"}),
    ("quality_control", "reject", {"QualityControlImage": "YES"}),
    ("quality_control", "reject", {"SeriesDescription": "CHEST PA QA PHANTOM"}),
    ("image_type", "reject", {"ImageType": ["DERIVED", "SECONDARY", "", "AI HEATMAP"]}),
    ("image_type", "reject", {"ImageType": ["DERIVED", "PRIMARY", "", "BONE"]}),
    ("image_type", "reject", {"DerivationDescription": "bone suppression"}),
    ("image_type_secondary", "warn", {"ImageType": ["DERIVED", "SECONDARY"]}),
    ("sop_class_secondary", "warn", {"ImageType": ["DERIVED", "SECONDARY"], "SOPClassUID": SECONDARY_CAPTURE}),
    ("view_conflict", "reject", {"AcquisitionDeviceProcessingDescription": "CHEST LATERAL"}),
    ("body_part_conflict", "reject", {"AcquisitionDeviceProcessingDescription": "[LOWER LEG ]"}),
    ("body_part", "reject", {"BodyPartExamined": "RIBCAGE"}),
    ("body_part", "reject", {"BodyPartExamined": "", "StudyDescription": "left knee"}),
    ("body_part_missing", "warn", {"BodyPartExamined": ""}),
    ("body_part_fallback", "warn", {"BodyPartExamined": "", "StudyDescription": "Thorax"}),
    ("body_part_conflict", "reject", {"AnatomicRegionSequence": code_item("72696002")}),
    ("body_part_conflict", "reject", {"SeriesDescription": "Left knee"}),
    ("body_part_conflict", "reject", {"ProtocolName": "Knie"}),
    ("body_part_study", "warn", {"StudyDescription": "XR KNEE"}),
    ("view_conflict", "reject", {"SeriesDescription": "CHEST LATERAL"}),
    ("view_conflict", "reject", {"ProtocolName": "Thorax seitlich"}),
    ("view_conflict", "reject", {"SeriesDescription": "胸部側面", "SpecificCharacterSet": "ISO_IR 192"}),
    ("view_conflict", "reject", {"SeriesDescription": "胸部側面".encode("shift_jis").decode("latin-1")}),
    ("view_study", "warn", {"StudyDescription": "CHEST LATERAL"}),
    ("view_ambiguous", "warn", {"SeriesDescription": "Chest AP"}),
    ("view", "reject", {"ViewPosition": "LL"}),
    ("view", "reject", {"ViewPosition": "", "SeriesDescription": "lateral"}),
    ("view_missing", "reject", {"ViewPosition": ""}),
    ("view_fallback", "warn", {"ViewPosition": "", "PatientPosition": "AP"}),
    ("view_conflict", "reject", {"ViewCodeSequence": code_item("399173006")}),
    ("view_ambiguous", "warn", {"PatientPosition": "AP"}),
    ("orientation", "warn", {"PatientOrientation": ["A", "F"]}),
    ("age", "reject", {"PatientAge": "017Y"}),
    ("age", "reject", {"PatientAge": "006M"}),
    ("age", "reject", {"PatientAge": "", "PatientBirthDate": "20100101", "StudyDate": "20200101"}),
    ("age_conflict", "reject", {"PatientAge": "005Y", "PatientBirthDate": "19600101", "StudyDate": "20240101"}),
    ("age_conflict", "reject", {"PatientAge": "030Y", "PatientBirthDate": "20190101", "StudyDate": "20240101"}),
    ("age_conflict", "reject", {"PatientAge": "030Y", "PatientBirthDate": "20231231", "StudyDate": "20240101"}),
    ("age_ambiguous", "warn", {"PatientAge": "030Y", "PatientBirthDate": "20240101", "StudyDate": "20240101"}),
    ("age_conflict", "reject", {"PatientAge": "064M", "PatientBirthDate": "19600101", "StudyDate": "20240101"}),
    ("age_ambiguous", "warn", {"PatientAge": "030Y", "PatientBirthDate": "19600101", "StudyDate": "20240101"}),
    ("age_unknown", "warn", {"PatientAge": ""}),
    ("age_malformed", "warn", {"PatientAge": "old"}),
    ("age_implausible", "warn", {"PatientAge": "411Y"}),
    ("age_format", "warn", {"PatientAge": "58"}),
    ("age_from_dates", "warn", {"PatientAge": "", "PatientBirthDate": "19500101", "StudyDate": "20200101"}),
    ("multi_frame", "reject", {"NumberOfFrames": 2}),
    ("number_of_frames", "warn", {"NumberOfFrames": 0}),
    ("geometry", "reject", {"Rows": 255}),
    ("geometry", "reject", {"Columns": 10_001}),
    ("geometry", "reject", {"Rows": 10_000, "Columns": 10_000}),
    ("geometry", "reject", {"drop": ("Rows",)}),
    ("aspect", "reject", {"Rows": 256, "Columns": 1000}),
    ("photometric", "reject", {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}),
    ("photometric", "reject", {"PhotometricInterpretation": "YBR_FULL", **GREY_AS_RGB}),
    ("photometric", "reject", {"SamplesPerPixel": 3}),
    ("grey_as_rgb", "warn", {"PhotometricInterpretation": "RGB", **GREY_AS_RGB}),
    ("photometric", "reject", {"PhotometricInterpretation": "PALETTE COLOR"}),
    ("photometric", "reject", {"PhotometricInterpretation": ""}),
    ("bits", "reject", {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}),
    ("bits", "reject", {"BitsAllocated": 12}),
    ("bits", "reject", {"BitsStored": 7, "HighBit": 6}),
    ("bits", "reject", {"BitsStored": 17}),
    ("bits", "reject", {"HighBit": 10}),
    ("bits", "reject", {"HighBit": 16}),
    ("bits", "reject", {"PixelRepresentation": 2}),
    ("bits", "reject", {"drop": ("BitsStored",)}),
    ("no_pixels", "reject", {"drop": ("Rows", "Columns", "BitsAllocated", "BitsStored")}),
    ("bits_assumed", "warn", {"drop": ("PixelRepresentation",)}),
    ("bits_assumed", "warn", {"drop": ("HighBit",)}),
    ("burned_in", "warn", {"BurnedInAnnotation": "YES"}),
    ("lossy", "warn", {"LossyImageCompression": "01"}),
]


@pytest.mark.parametrize(("code", "severity", "tags"), CLINICAL_CASES)
def test_the_clinical_profile_names_what_is_wrong_and_nothing_else(code, severity, tags):
    found = codes(**tags)
    companions = {"age": {"age_from_dates"}, "age_conflict": {"age"}}.get(code, set())
    companions |= {"sop_class_secondary"} if tags.get("SOPClassUID") == SECONDARY_CAPTURE else set()
    assert found.pop(code) == severity
    assert set(found) <= companions


ACCEPTED = [
    {"SOPClassUID": CR, "Modality": "CR"},
    {"BodyPartExamined": "THORAX"},
    {"ImageType": ["DERIVED", "PRIMARY"], "AcquisitionDeviceProcessingDescription": "CHEST,PA"},
    {"SeriesDescription": "Thorax PA", "StudyDescription": "Dual energy chest"},
    {"BodyPartExamined": "CHEST X-RAY"},
    {"ViewPosition": "P.A."},
    {"StudyDescription": "CHEST PA AND LATERAL", "SeriesDescription": "PA", "ProtocolName": "W Chest PA"},
    {"StudyDescription": "Röntgen Thorax in 2 Ebenen p.a. und seitlich"},
    {"StudyDescription": "Radiographie du thorax face et profil", "SeriesDescription": "Thorax"},
    {"StudyDescription": "Chest and abdomen", "SeriesDescription": "follow-up"},
    {"PatientAge": "018Y"},
    {"PatientAge": "120Y"},
    {"PatientAge": "043Y", "PatientBirthDate": "19790101", "StudyDate": "20240601"},
    {"PatientAge": "030Y", "PatientBirthDate": "19000101", "StudyDate": "20150101"},
    {"PatientAge": "030Y", "PatientBirthDate": "20250101", "StudyDate": "20240101"},
    {"PatientSpeciesDescription": "Homo sapiens"},
    {"PatientSpeciesCodeSequence": code_item("337915000")},
    {"NumberOfFrames": 1},
    {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
    {"BitsStored": 16, "HighBit": 15},
    {"BitsStored": 12, "HighBit": 15},
    {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    {"Rows": 256, "Columns": 768},
    {"Rows": 5000, "Columns": 10_000},
]


@pytest.mark.parametrize("tags", ACCEPTED)
def test_what_is_just_inside_the_limits_breaks_no_rule(tags):
    assert codes(**tags) == {}


COURSE_CASES = [
    ("modality", {"Modality": "CT"}),
    ("modality", {"Modality": "CR"}),
    ("body_part", {"BodyPartExamined": "RIBCAGE"}),
    ("body_part", {"BodyPartExamined": "THORAX"}),
    ("body_part_missing", {"BodyPartExamined": "", "StudyDescription": "CHEST"}),
    ("view", {"PatientPosition": "XX"}),
    ("view_missing", {"PatientPosition": ""}),
    ("age", {"PatientAge": "006M"}),
    ("age_unknown", {"PatientAge": "", "PatientBirthDate": "19500101", "StudyDate": "20200101"}),
    ("age_malformed", {"PatientAge": "?"}),
    ("age_implausible", {"PatientAge": "121"}),
    ("multi_frame", {"NumberOfFrames": 2}),
    ("geometry", {"drop": ("Columns",)}),
    ("photometric", {"PhotometricInterpretation": "RGB", **GREY_AS_RGB}),
]


@pytest.mark.parametrize(("code", "tags"), COURSE_CASES)
def test_the_course_profile_rejects_by_its_own_literal_checks(code, tags):
    assert codes("course", **{**COURSE_IMAGE, **tags}) == {code: "reject"}


@pytest.mark.parametrize(
    "tags", [{"PatientAge": "81"}, {"PatientAge": "081Y"}, {"PatientAge": "5"}, {"SOPClassUID": SECONDARY_CAPTURE}]
)
def test_the_course_profile_accepts_what_the_reference_project_does(tags):
    assert codes("course", **COURSE_IMAGE, **tags) == {}


def test_every_rule_of_the_header_has_a_case_here():
    covered = {code for code, *_ in CLINICAL_CASES} | {"too_large", "unreadable"}
    elsewhere = {"not_dicom", "transfer_syntax", "no_header", "decoder_limit", "decoder_crash", "too_many_elements",
                 "unlike_training", "unlike_resolution"}  # fmt: skip
    tested_with_pixels = {rule.code for rule in RULES if rule.item in ("Pixel data", "Display")}
    assert covered | elsewhere | tested_with_pixels == {rule.code for rule in RULES}


def test_a_file_over_the_limit_is_rejected():
    found = check_header(image(ramp()), CLINICAL.maximum_file_bytes + 1)
    assert [violation.code for violation in found] == ["too_large"]


def test_all_violations_are_collected_in_the_order_of_the_rules():
    found = violations(Modality="CT", BodyPartExamined="KNEE", ViewPosition="LL", PatientAge="58", Rows=10)
    assert [violation.code for violation in found] == ["modality", "body_part", "view", "age_format", "geometry"]
    with pytest.raises(DicomRejected) as caught:
        require(found)
    assert caught.value.code == "modality"
    assert (caught.value.tag, caught.value.found) == ("(0008,0060) Modality", "CT")
    assert caught.value.expected == "DX or CR"
    assert caught.value.violations == tuple(found)
    assert str(caught.value).startswith("modality: (0008,0060) Modality: expected DX or CR; found CT; body_part: ")
    assert "age_format" not in str(caught.value)


def test_warnings_alone_do_not_reject():
    assert require(violations(PatientAge="58", BodyPartExamined="")) == ("body_part_missing", "age_format")


def test_the_tag_named_is_the_one_that_was_looked_at():
    (violation,) = violations("course", PatientPosition="XX")
    assert (violation.tag, violation.found) == ("(0018,5100) PatientPosition", "XX")
    (violation,) = violations(BitsAllocated=32)
    assert (violation.tag, violation.found) == ("(0028,0100) BitsAllocated", "32")
    assert violation.expected == "8 or 16"
    (violation,) = violations(SeriesDescription="knee")
    assert (violation.tag, violation.found) == ("(0008,103E) SeriesDescription", "")
    (violation,) = violations(ProtocolName="lateral")
    assert (violation.tag, violation.found) == ("(0018,1030) ProtocolName", "")
    (violation,) = violations(HighBit=16)
    assert (violation.tag, violation.found) == ("(0028,0102) HighBit", "16")


@pytest.mark.parametrize("written", ["Doe^John", "Müller", "DOE JOHN", "JOHN DOE 19500312 F", "a\nb", "19500312", "7"])
def test_what_is_no_known_term_is_not_repeated(written):
    for keyword, code in (("BodyPartExamined", "body_part"), ("ViewPosition", "view"), ("Modality", "modality")):
        (violation,) = violations(**{keyword: written})
        assert (violation.code, violation.found) == (code, "")


def test_a_class_is_named_but_an_unregistered_uid_is_not_repeated():
    assert violations(SOPClassUID="1.2.840.10008.5.1.4.1.1.2")[0].found == "CT Image Storage"
    assert violations(SOPClassUID="1.2.3.19500312")[0].found == ""


def test_a_code_of_no_vocabulary_and_a_number_too_large_for_its_tag_are_not_repeated():
    assert violations(ViewCodeSequence=code_item("399173006"))[0].found == "399173006"
    assert violations(ViewCodeSequence=code_item("19500312"))[0].found == ""
    assert violations(NumberOfFrames=3)[0].found == "3"
    assert violations(NumberOfFrames=19500312)[0].found == ""


def _spoil(dataset, keyword, vr, value):
    tag = Tag(keyword)
    dataset[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return dataset


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("Rows", "US", b"\x01"),
        ("Rows", "DS", b"abc"),
        ("Columns", "US", b"\0\1\0\1"),
        ("BitsStored", "IS", b"12.5"),
        ("NumberOfFrames", "IS", b"one"),
        ("NumberOfFrames", "DS", b"nan"),
        ("Modality", "OB", b"\xff\xfe\0\0"),
        ("ViewCodeSequence", "SQ", b"\xfe\xff"),
        ("ViewCodeSequence", "LO", b"PA"),
        ("SOPClassUID", "XX", b"1.2"),
        ("PatientAge", "SQ", b"045Y"),
    ],
)
def test_a_value_that_cannot_be_read_rejects_and_raises_nothing(keyword, vr, value):
    found = check_header(_spoil(image(ramp()), keyword, vr, value), SIZE)
    assert found


@pytest.mark.parametrize("keyword", sorted({*CHEST_IMAGE, "Rows", "Columns"}))
@pytest.mark.parametrize("profile", ["clinical", "course"])
def test_any_single_missing_tag_is_accepted_warned_of_or_rejected(keyword, profile):
    for violation in violations(profile, PatientPosition="PA", drop=(keyword,)):
        assert violation.severity in ("reject", "warn")


def test_an_empty_data_set_is_rejected():
    from pydicom.dataset import Dataset

    found = check_header(Dataset(), 0)
    assert {"sop_class", "modality", "view_missing", "no_pixels"} <= {violation.code for violation in found}


@pytest.mark.parametrize("keyword", ["StudyDescription", "SeriesDescription", "ProtocolName"])
@pytest.mark.parametrize("text", ["knee of John Doe", "lateral John Doe 19500312", "AP John Doe"])
def test_nothing_of_a_description_that_contradicts_is_repeated(keyword, text):
    found = violations(**{keyword: text})
    said = " ".join(map(str, found)).upper()
    assert found or (keyword, text) == ("StudyDescription", "AP John Doe")
    assert "JOHN" not in said and "1950" not in said and "KNEE" not in said


def test_the_two_ages_that_contradict_one_another_are_said_and_no_date():
    (age, conflict) = violations(PatientAge="005Y", PatientBirthDate="19600312", StudyDate="20240405")[::-1]
    assert (age.found, conflict.found) == ("5", "5, and 64 by the dates")
    assert not any(date in str(conflict) for date in ("1960", "0312", "2024", "0405"))
    # Where the deployment does not ask dates, they contradict nothing.
    tags = {"PatientAge": "030Y", "PatientBirthDate": "20190101", "StudyDate": "20240101"}
    assert codes("course", **COURSE_IMAGE, **tags) == {}


def test_an_age_outside_the_intended_use_is_refused_however_the_conflict_is_rated():
    lenient = dataclasses.replace(CLINICAL, name="lenient", overrides=(("age_conflict", "warn"),))
    tags = {"PatientAge": "005Y", "PatientBirthDate": "19600101", "StudyDate": "20240101"}
    assert codes(lenient, **tags) == {"age": "reject", "age_conflict": "warn"}


def test_the_course_profile_compares_no_descriptions():
    tags = {"SeriesDescription": "KNEE LATERAL", "ProtocolName": "KNEE LATERAL", "StudyDescription": "KNEE LATERAL"}
    assert codes("course", **COURSE_IMAGE, **tags) == {}
    assert codes(**tags) == dict.fromkeys(("body_part_conflict", "view_conflict"), "reject") | dict.fromkeys(
        ("body_part_study", "view_study"), "warn"
    )


def test_the_gate_starts_without_pydicom_and_without_tensorflow():
    script = "import sys, chexkeras.dicom.gate; print({'pydicom', 'tensorflow', 'keras', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_sizes_of_images_without_a_header_are_checked_by_the_same_rules():
    assert gate.check_size(1024, 1024) == []
    assert [violation.code for violation in gate.check_size(100, 1024)] == ["geometry"]
    assert [violation.code for violation in gate.check_size(256, 1024)] == ["aspect"]
    assert [violation.code for violation in gate.check_size(0, 0, "course")] == ["geometry"]
    assert gate.check_size(np.int64(300), np.int64(300)) == []
