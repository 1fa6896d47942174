"""The patient's age: from its tag, however it is written, or else from two dates."""

import datetime
import re

from chexkeras.dicom.header import Header

OLDEST_PLAUSIBLE_YEARS = 120.0
"""No patient is older."""

_YEARS_PER_UNIT = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
# The date nearest to the exposure first: a study can be filed years later.
_EXPOSURE_DATES = ("AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate")
# The first days of calendars, which systems write where they know no date.
_NO_BIRTHS = tuple(datetime.date(*day) for day in ((1899, 12, 30), (1899, 12, 31), (1900, 1, 1), (1901, 1, 1)))
_MOST_YEARS_APART = 2


def find_age(header: Header, *, from_dates: bool) -> tuple[float | None, tuple[str, ...]]:
    """Returns the age in years or None, and the warning codes met on the way.

    Args:
        header: The header.
        from_dates: Whether a missing age may be worked out from the dates of birth and exposure.
    """
    years, warning = parse_age(header.text("PatientAge"))
    warnings: tuple[str, ...] = (warning,) if warning else ()
    if years is None and from_dates:
        years = age_from_dates(header)
        if years is not None:
            # A missing age is no longer unknown; a malformed one is still worth saying.
            warnings = (*(code for code in warnings if code != "age_unknown"), "age_from_dates")
    return years, warnings


def parse_age(text: str) -> tuple[float | None, str | None]:
    """Reads a patient's age.

    Args:
        text: The value of Patient's Age (0010,1010): three digits and D, W, M or Y; shorter or bare numbers are
            common in practice and are read as well, the latter as years.

    Returns:
        The age in years, or None where there is none; and a warning code ("age_unknown", "age_format",
        "age_malformed", "age_implausible"), or None for a well written, plausible age.

    Source:
        PS3.5 6.2, VR AS; bare numbers occur in the RSNA pneumonia challenge's files.

    Example:
        >>> parse_age("045Y"), parse_age("006M"), parse_age("58")
        ((45.0, None), (0.5, None), (58.0, 'age_format'))
    """
    stripped = text.strip().upper()
    if not stripped:
        return None, "age_unknown"
    match = re.fullmatch(r"(\d{1,4}) ?([DWMY]?)", stripped, flags=re.ASCII)
    if match is None:
        return None, "age_malformed"
    years = int(match[1]) * _YEARS_PER_UNIT[match[2] or "Y"]
    if years > OLDEST_PLAUSIBLE_YEARS:
        return None, "age_implausible"
    well_written = len(match[1]) == 3 and match[2] and " " not in stripped
    return years, None if well_written else "age_format"


def age_from_dates(header: Header) -> float | None:
    """Returns the whole years between birth and exposure, or None where the dates are missing or cannot be right.

    Whole years, as the age tag gives them: a fraction would tell the birthday to whoever knows the day of the image.
    A date of birth that a system writes where it knows none is taken for missing, and so is one after the exposure.
    """
    exposed = next((date for name in _EXPOSURE_DATES if (date := _date(header.text(name)))), None)
    return _years_between(_date_of_birth(header), exposed)


def age_against(header: Header, years: float) -> tuple[float | None, bool]:
    """Returns the age that the dates give where it contradicts the age tag, and whether the dates can be relied on.

    Tag and dates may differ by up to two years: a birthday goes by between order and exposure, and dates are shifted or
    cut to the year where they are to name nobody. One of several dates of exposure that fits is enough, since the
    clocks of consoles are wrong at times.

    Args:
        header: The header.
        years: The age of the tag in years.

    Returns:
        Whole years, or None where the dates agree or say nothing; and False where the patient would be born on the day
        of the exposure: one day in place of every date is what is left where dates were removed.
    """
    born = _date_of_birth(header)
    dates = [_date(header.text(name)) for name in _EXPOSURE_DATES]
    found = [age for date in dates if (age := _years_between(born, date)) is not None]
    # A tag in months or days has a fraction, dates have none.
    contradicts = bool(found) and min(abs(int(years) - age) for age in found) > _MOST_YEARS_APART
    return found[0] if contradicts else None, born not in dates


def _date_of_birth(header: Header) -> datetime.date | None:
    born = _date(header.text("PatientBirthDate"))
    return None if born in _NO_BIRTHS else born


def _years_between(born: datetime.date | None, exposed: datetime.date | None) -> float | None:
    if born is None or exposed is None:
        return None
    before_birthday = (exposed.month, exposed.day) < (born.month, born.day)
    years = float(exposed.year - born.year - before_birthday)
    return years if 0 <= years <= OLDEST_PLAUSIBLE_YEARS else None


def _date(text: str) -> datetime.date | None:
    # PS3.5 6.2, VR DA; older files separate the parts with full stops.
    match = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", text.strip(), flags=re.ASCII)
    if match is None:
        return None
    try:
        return datetime.date(*map(int, match.groups()))
    except ValueError:
        return None
