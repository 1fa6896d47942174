"""Images that lie on a side or on the head, or are mirrored: turned where tag and pixels agree."""

import dataclasses

import numpy as np
import pytest

from chexkeras.dicom.pixels.upright import is_confirmed, swaps_sides, turn
from chexkeras.dicom.profiles import CLINICAL
from chexkeras.dicom.read import read_dicom
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from tests.dicom.dicom_images import image, write

# How an upright image is stored so that its rows and columns run in these directions, worked out by hand from a corner:
# the upper right pixel of an upright image is the patient's upper left.
STORED = {
    "L\\F": lambda upright: upright,
    "R\\H": lambda upright: np.rot90(upright, 2),
    "F\\R": lambda upright: np.rot90(upright),
    "H\\L": lambda upright: np.rot90(upright, -1),
    "R\\F": np.fliplr,
    "L\\H": np.flipud,
    "F\\L": np.transpose,
    "H\\R": lambda upright: np.rot90(upright, 2).T,
}
LYING = [orientation for orientation in STORED if orientation != "L\\F"]


def chest(rows=320, columns=288):
    """Two dark lungs that part downwards, and a heart on the patient's left."""
    y, x = np.mgrid[:rows, :columns] / np.array([[[rows]], [[columns]]])
    away = 0.2 + 0.15 * (y - 0.5)
    lungs = np.exp(-(((np.abs(x - 0.5) - away) / 0.13) ** 2) - ((y - 0.45) / 0.27) ** 2)
    heart = np.exp(-(((x - 0.62) / 0.12) ** 2) - ((y - 0.65) / 0.12) ** 2)
    return np.rint(4095 * np.clip(0.7 - 0.6 * lungs + 0.3 * heart, 0, 1)).astype(np.uint16)


def stored_as(tmp_path, orientation, values=None, **tags):
    tags = {"ImagerPixelSpacing": [0.1, 0.2], "PatientOrientation": orientation.split("\\"), **tags}
    values = np.ascontiguousarray(STORED[orientation](chest())) if values is None else values
    return write(tmp_path / "image.dcm", image(values, **tags))


@pytest.mark.parametrize("orientation", STORED)
def test_a_marked_corner_comes_to_its_place(orientation):
    upright = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(turn(STORED[orientation](upright), orientation), upright)


@pytest.mark.parametrize("orientation", LYING)
def test_an_image_that_lies_as_its_tag_says_is_turned_and_named(tmp_path, orientation):
    expected = read_dicom(stored_as(tmp_path, "L\\F"))
    radiograph = read_dicom(stored_as(tmp_path, orientation))
    np.testing.assert_array_equal(radiograph.pixels, expected.pixels)
    assert radiograph.pixels.flags.c_contiguous
    assert (radiograph.turned, radiograph.warnings) == (orientation, ("turned",))
    assert (expected.turned, expected.warnings, expected.pixel_spacing_mm) == ("", (), 0.1)
    assert radiograph.pixel_spacing_mm == (0.2 if swaps_sides(orientation) else 0.1)


@pytest.mark.parametrize("orientation", [lying for lying in LYING if lying != "R\\F"])
def test_an_image_that_stands_upright_whatever_its_tag_says_is_left_alone(tmp_path, orientation):
    expected = read_dicom(stored_as(tmp_path, "L\\F"))
    radiograph = read_dicom(stored_as(tmp_path, orientation, chest()))
    np.testing.assert_array_equal(radiograph.pixels, expected.pixels)
    assert (radiograph.turned, radiograph.warnings, radiograph.pixel_spacing_mm) == ("", ("orientation",), 0.1)


@pytest.mark.parametrize("orientation", ["R\\F", "L\\H"])
def test_an_ap_image_is_not_mirrored_by_its_tag(tmp_path, orientation):
    radiograph = read_dicom(stored_as(tmp_path, orientation, chest(), ViewPosition="AP"))
    assert (radiograph.turned, radiograph.warnings) == ("", ("orientation",))
    np.testing.assert_array_equal(radiograph.pixels, read_dicom(stored_as(tmp_path, "L\\F")).pixels)


def test_nothing_is_turned_or_said_in_the_course_profile(tmp_path):
    file = stored_as(tmp_path, "F\\R", PatientPosition="PA")
    radiograph = read_dicom(file, profile="course")
    assert (radiograph.turned, radiograph.warnings, radiograph.pixel_spacing_mm) == ("", (), 0.1)
    np.testing.assert_array_equal(turn(radiograph.pixels, "F\\R"), read_dicom(file).pixels)


def test_a_deployment_can_leave_images_as_stored_or_refuse_those_that_lie(tmp_path):
    file = stored_as(tmp_path, "R\\H")
    as_stored = dataclasses.replace(CLINICAL, name="as stored", turns_upright=False)
    assert (read_dicom(file, profile=as_stored).turned, read_dicom(file, profile=as_stored).warnings) == ("", ())
    with pytest.raises(DicomRejected) as caught:
        read_dicom(file, profile=dataclasses.replace(CLINICAL, name="upright", overrides=(("turned", "reject"),)))
    assert caught.value.code == "turned"


def test_worker_processes_hand_on_how_an_image_was_turned(tmp_path):
    file = stored_as(tmp_path, "H\\L")
    with ReaderPool(options=ReadOptions(workers=1)) as pool:
        radiograph = pool.read(file)
    assert (radiograph.turned, radiograph.warnings) == ("H\\L", ("turned",))
    np.testing.assert_array_equal(radiograph.pixels, read_dicom(file).pixels)


@pytest.mark.parametrize("shape", [(256, 256), (256, 700), (1, 40), (3, 2)])
@pytest.mark.parametrize("orientation", LYING)
def test_any_size_is_compared(shape, orientation):
    assert is_confirmed(np.zeros(shape, np.uint8), orientation) is (orientation == "R\\F")
