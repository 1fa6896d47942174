import pytest

from chexkeras.dicom.attributes.orientation import find_orientation
from chexkeras.dicom.attributes.views import find_view
from chexkeras.dicom.header import Header
from chexkeras.dicom.profiles import CLINICAL
from tests.dicom.dicom_images import image, ramp


def _lies(written, view="PA", **tags):
    header = Header(image(ramp(4, 4), PatientOrientation=written, ViewPosition=view, **tags))
    return find_orientation(header, find_view(header, CLINICAL.view_sources))


@pytest.mark.parametrize("written", ["", ["L", "F"], ["l", "f"], "L", ["L ", " F"], ["", ""]])
@pytest.mark.parametrize("view", ["PA", "AP"])
def test_an_upright_image_and_one_that_says_nothing_are_not_turned(written, view):
    assert _lies(written, view) == ""


@pytest.mark.parametrize("written", [["R", "H"], ["F", "R"], ["H", "L"], ["h", "l"]])
@pytest.mark.parametrize("view", ["PA", "AP"])
def test_a_patient_seen_from_the_front_can_lie_on_a_side_or_on_the_head(written, view):
    assert _lies(written, view) == "\\".join(written).upper()


@pytest.mark.parametrize("written", [["R", "F"], ["L", "H"], ["F", "L"], ["H", "R"]])
def test_only_a_pa_image_can_be_one_that_was_never_mirrored(written):
    assert _lies(written) == _lies(written, FieldOfViewHorizontalFlip="NO") == "\\".join(written)
    assert _lies(written, "AP") is None
    assert _lies(written, FieldOfViewHorizontalFlip="YES") is None
    assert _lies(written, PatientPosition="AP") is None
    assert _lies(written, SeriesDescription="Chest AP") is None


@pytest.mark.parametrize(
    "written",
    [
        *(
            ["A", "F"],
            ["P", "F"],
            ["PF", "AF"],
            ["L", "P"],
            ["L", "L"],
            ["L", "R"],
            ["H", "F"],
            ["F", "F"],
            "F",
            "A",
            "R",
        ),
        *(["LF", "FR"], ["RT", "CD"], ["L", "F", "A"], ["LEFT", "FOOT"], "LF", "?", ["1", "0"]),
    ],
)
@pytest.mark.parametrize("view", ["PA", "AP", ""])
def test_directions_that_no_frontal_image_has_are_not_believed(written, view):
    assert _lies(written, view) is None


def test_an_image_of_one_side_of_the_body_is_not_turned():
    assert _lies(["F", "R"], ImageLaterality="L") is None
    assert _lies(["F", "R"], ImageLaterality="U") == _lies(["F", "R"], ImageLaterality="B") == "F\\R"
    assert _lies(["L", "F"], ImageLaterality="L") == ""
