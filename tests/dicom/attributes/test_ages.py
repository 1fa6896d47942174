import pytest

from chexkeras.dicom.attributes.ages import find_age, parse_age
from chexkeras.dicom.header import Header
from tests.dicom.dicom_images import image, ramp


@pytest.mark.parametrize(
    ("text", "years", "warning"),
    [
        ("045Y", 45.0, None),
        ("006M", 0.5, None),
        ("013D", 13 / 365.25, None),
        ("02W", 14 / 365.25, "age_format"),
        ("002W", 14 / 365.25, None),
        ("58", 58.0, "age_format"),
        ("81", 81.0, "age_format"),
        ("058", 58.0, "age_format"),
        (" 045y ", 45.0, None),
        ("120Y", 120.0, None),
        ("121Y", None, "age_implausible"),
        ("411", None, "age_implausible"),
        ("999M", 83.25, None),
        ("", None, "age_unknown"),
        ("abc", None, "age_malformed"),
        ("-5Y", None, "age_malformed"),
        ("45Y\\46Y", None, "age_malformed"),
        ("4.5Y", None, "age_malformed"),
        ("٤٥", None, "age_malformed"),
    ],
)
def test_an_age_is_read_as_it_is_written_in_practice(text, years, warning):
    found, code = parse_age(text)
    assert found == (None if years is None else pytest.approx(years))
    assert code == warning


def _age(**tags):
    return find_age(Header(image(ramp(4, 4), **tags)), from_dates=True)


def test_a_missing_age_is_worked_out_from_the_date_nearest_to_the_exposure():
    years, codes = _age(PatientAge="", PatientBirthDate="19500101", StudyDate="20200101", AcquisitionDate="20000101")
    assert years == pytest.approx(50.0, abs=0.01)
    assert codes == ("age_from_dates",)


def test_a_given_age_is_preferred_to_dates():
    assert _age(PatientBirthDate="19500101", StudyDate="20200101") == (45.0, ())


def test_a_malformed_age_stays_named_when_dates_replace_it():
    years, codes = _age(PatientAge="old", PatientBirthDate="1950.01.01", StudyDate="20200101")
    assert years == pytest.approx(70.0, abs=0.01)
    assert codes == ("age_malformed", "age_from_dates")


@pytest.mark.parametrize("born", ["", "19501340", "17000101", "20300101", "1950"])
def test_dates_that_cannot_be_right_leave_the_age_unknown(born):
    assert _age(PatientAge="", PatientBirthDate=born, StudyDate="20200101") == (None, ("age_unknown",))
