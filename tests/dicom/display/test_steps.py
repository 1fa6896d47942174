import dataclasses

import numpy as np
import pytest

from chexkeras.dicom.pixels.display import render
from chexkeras.dicom.profiles import CLINICAL, STEPS, USUAL_STEPS, PixelSteps
from chexkeras.dicom.read import read_dicom
from chexkeras.dicom.rejection import DicomRejected
from tests.dicom.dicom_images import image, lookup_item, ramp

EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
# Every step has something to do in this one: 2 x - 100, a window, padding, an inversion.
FULL = {
    "RescaleSlope": 2,
    "RescaleIntercept": -100,
    "PixelPaddingValue": 4095,
    "WindowCenter": 40.5,
    "WindowWidth": 81,
    "PhotometricInterpretation": "MONOCHROME1",
    "PresentationLUTShape": "INVERSE",
}
NOTHING = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PresentationLUTShape")


def shown(values, steps=USUAL_STEPS, **tags):
    rendered = render(image(np.asarray([values]), **tags), steps)
    return rendered.pixels[0].tolist(), rendered.steps


def test_the_steps_taken_are_told_in_their_order():
    # 255 - (0, 64, 255) after the window of 0..80; padding is black.
    assert shown([50, 60, 90, 4095], **FULL) == ([255, 191, 0, 0], ("modality", "padding", "voi", "inversion"))
    assert shown([0, 10, 255], drop=NOTHING, **EIGHT) == ([0, 10, 255], ())


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        # Without rescaling the window sees 50, 60 and 90: 159.4, 191.3, 255, inverted.
        ("modality", [96, 64, 0, 0]),
        # The padding becomes 8090, white in the window, black inverted.
        ("padding", [255, 191, 0, 0]),
        # Without a window the range in use, 0 to 80, is shown: 0, 63.75, 255.
        ("voi", [255, 191, 0, 0]),
        ("inversion", [0, 64, 255, 0]),
    ],
)
def test_a_step_that_is_off_is_not_taken_whatever_the_file_says(step, expected):
    steps = PixelSteps(**{step: "off"})
    found, taken = shown([50, 60, 90, 4095], steps, **FULL)
    assert found == expected
    assert taken == tuple(name for name in STEPS if name != step)


@pytest.mark.parametrize("step", list(STEPS))
def test_a_required_step_refuses_a_image_to_which_it_does_not_apply(step):
    steps = PixelSteps(**{step: "required"})
    assert shown([50, 60, 90, 4095], steps, **FULL) == shown([50, 60, 90, 4095], **FULL)
    with pytest.raises(DicomRejected, match=rf"the step '{step}' applies \(PS3.3 C") as caught:
        render(image(ramp(4, 4, 255), drop=NOTHING, **EIGHT), steps)
    assert caught.value.code == "pixel_step"


def test_a_table_that_is_unusable_does_not_satisfy_a_requirement():
    broken = lookup_item([0, 512], 0, 10)
    broken[0].LUTDescriptor = [30, 0, 10]
    with pytest.raises(DicomRejected) as caught:
        render(image(ramp(4, 4), drop=NOTHING, VOILUTSequence=broken), PixelSteps(voi="required"))
    assert caught.value.code == "pixel_step"


def test_the_steps_are_part_of_the_profile(make_image):
    strict = dataclasses.replace(CLINICAL, name="with a window", pixel_steps=PixelSteps(voi="required"))
    assert read_dicom(make_image(), profile=strict).view == "PA"
    with pytest.raises(DicomRejected) as caught:
        read_dicom(make_image(drop=("WindowCenter", "WindowWidth")), profile=strict)
    assert caught.value.code == "pixel_step"


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match=r"voi of PixelSteps='require'; did you mean 'required'\?"):
        PixelSteps(voi="require")


def test_every_step_has_its_clause_and_its_field():
    assert list(STEPS) == [field.name for field in dataclasses.fields(PixelSteps)]
    assert all(clause.startswith("PS3.3 C.") for clause in STEPS.values())
