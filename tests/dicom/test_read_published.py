"""Real images: the pack of the pneumonia course and published test files, each with the verdict it must get."""

import numpy as np
import pydicom
import pytest

from chexkeras.dicom.read import read_dicom
from chexkeras.dicom.rejection import DicomRejected

pytestmark = pytest.mark.realdata


def rejection(path, profile="clinical"):
    with pytest.raises(DicomRejected) as caught:
        read_dicom(path, profile=profile)
    return caught.value


COURSE_PACK = [
    ("test1.dcm", "PA", 81.0, "M"),
    ("test2.dcm", "AP", 58.0, "M"),
    ("test3.dcm", "AP", 77.0, "M"),
]


@pytest.mark.parametrize(("name", "view", "age_years", "sex"), COURSE_PACK)
def test_the_first_three_images_of_the_course_pack_are_accepted(real_dicom, name, view, age_years, sex):
    path = real_dicom / "course" / name
    image = read_dicom(path, profile="course")
    assert (image.view, image.age_years, image.sex, image.warnings) == (view, age_years, sex, ())
    np.testing.assert_array_equal(image.pixels, pydicom.dcmread(path).pixel_array)
    clinical = read_dicom(path)
    np.testing.assert_array_equal(clinical.pixels, image.pixels)
    assert clinical.warnings == ("sop_class_secondary", "view_fallback", "age_format")


@pytest.mark.parametrize(
    ("name", "code", "found"), [("test4", "body_part", "RIBCAGE"), ("test5", "modality", "CT"), ("test6", "view", "XX")]
)
def test_the_other_three_are_refused_each_for_its_own_reason(real_dicom, name, code, found):
    rejected = rejection(real_dicom / "course" / f"{name}.dcm", "course")
    assert (rejected.code, rejected.found, len(rejected.violations)) == (code, found, 1)


def test_a_real_computed_radiography_chest_image_is_accepted(real_dicom):
    path = real_dicom / "codecs" / "RG1_J2KI.dcm"
    image = read_dicom(path)
    assert (image.view, image.sex, image.photometric) == ("PA", "F", "MONOCHROME1")
    assert image.age_years == 55.0
    assert image.warnings == ("age_from_dates", "lossy")
    raw = pydicom.dcmread(path).pixel_array
    assert np.corrcoef(image.pixels.ravel(), raw.ravel())[0, 1] < -0.99


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("RG3_J2KR.dcm", "body_part"),
        ("JLSL_16_15_1_1F.dcm", "modality"),
        ("JPGLosslessP14SV1_1s_1f_8b.dcm", "sop_class"),
        ("emri_small_RLE.dcm", "sop_class"),
        ("mlut_18.dcm", "modality"),
        ("vlut_04.dcm", "modality"),
    ],
)
def test_real_files_that_are_no_chest_images_are_refused(real_dicom, name, code):
    assert rejection(real_dicom / "codecs" / name).code == code
