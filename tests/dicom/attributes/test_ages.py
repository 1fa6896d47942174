import pytest

from chexkeras.dicom.attributes.ages import age_against, age_from_dates, find_age, parse_age
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


def _against(years, **tags):
    return age_against(Header(image(ramp(4, 4), **tags)), years)[0]


@pytest.mark.parametrize(
    ("years", "expected"), [(62, None), (64, None), (66, None), (61, 64), (67, 64), (5, 64), (0, 64)]
)
def test_an_age_and_dates_may_differ_by_two_years(years, expected):
    assert _against(years, PatientBirthDate="19600101", StudyDate="20240101") == expected


def test_months_and_days_are_compared_as_whole_years():
    assert _against(2.9, PatientBirthDate="20230601", StudyDate="20231001") is None
    assert _against(13 / 365.25, PatientBirthDate="20230601", StudyDate="20231001") is None


@pytest.mark.parametrize("born", ["", "19501340", "17000101", "20300101", "1950", "19000101", "18991230", "19010101"])
def test_dates_that_cannot_be_right_contradict_nothing(born):
    tags = {"PatientBirthDate": born, "StudyDate": "20150101"}
    assert _against(30, **tags) is None
    assert age_from_dates(Header(image(ramp(4, 4), **tags))) is None


def test_one_date_of_exposure_that_fits_is_enough():
    tags = {"PatientBirthDate": "19600101", "AcquisitionDate": "20000101", "StudyDate": "20240101"}
    assert _against(64, **tags) is None
    assert _against(40, **tags) is None
    assert _against(30, **tags) == 40
    assert _against(30, PatientBirthDate="19600101") is None


def test_a_day_of_exposure_that_is_the_birthday_too_may_stand_for_any_date():
    def is_reliable(**tags):
        return age_against(Header(image(ramp(4, 4), **tags)), 45)[1]

    assert not is_reliable(PatientBirthDate="20000101", StudyDate="20000101")
    assert not is_reliable(PatientBirthDate="20000101", AcquisitionDate="20200101", StudyDate="20000101")
    assert is_reliable(PatientBirthDate="20000101", StudyDate="20000102")
