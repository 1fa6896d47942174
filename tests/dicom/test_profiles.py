import dataclasses

import pytest

from chexkeras.dicom.gate import check_header
from chexkeras.dicom.profiles import CLINICAL, rules_table
from chexkeras.dicom.rules import RULES
from tests.dicom.dicom_images import image, ramp


def violations(profile="clinical", **tags):
    return check_header(image(ramp(), **tags), 200_000, profile)


def codes(profile="clinical", **tags):
    return {violation.code: violation.severity for violation in violations(profile, **tags)}


def test_profiles_are_changed_by_replacing_fields():
    ribs = dataclasses.replace(CLINICAL, name="ribs", body_parts=(*CLINICAL.body_parts, "RIBCAGE"))
    assert codes(ribs, BodyPartExamined="RIBCAGE") == {}
    strict = dataclasses.replace(CLINICAL, name="strict", overrides=(("lossy", "reject"), ("age_format", "off")))
    assert codes(strict, LossyImageCompression="01", PatientAge="58") == {"lossy": "reject"}
    older = dataclasses.replace(CLINICAL, name="22", minimum_age_years=22)
    (violation,) = violations(older, PatientAge="021Y")
    assert (violation.found, violation.expected) == ("21", "22 to 120 years")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overrides": (("lossi", "warn"),)}, "lossy"),
        ({"overrides": (("lossy", "ignore"),)}, "reject, warn, off"),
        ({"severities": "clinic"}, "clinical"),
    ],
)
def test_a_profile_with_unknown_words_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CLINICAL, **changes)


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="clinical, course"):
        violations("udacity")


def test_the_table_shows_what_a_profile_applies_with_its_own_limits():
    clinical, course = rules_table(), rules_table("course")
    assert list(clinical.columns) == ["code", "item", "expected", "tag", "severity", "reason"]
    assert clinical["code"].is_unique and len(clinical) == len(RULES)
    row = clinical.set_index("code").loc["modality"]
    assert (row["expected"], row["tag"], row["severity"]) == ("DX or CR", "(0008,0060) Modality", "reject")
    parts = clinical.set_index("code").loc["body_part", "expected"]
    assert (
        parts.startswith("CHEST, CXR, THORAX, TORAX, TORACE, LUNG, ") and "(with or without PA AP P A ERECT " in parts
    )
    assert course.set_index("code").loc["body_part", "expected"] == "CHEST"
    assert course.set_index("code").loc["view", "tag"] == "(0018,5100) PatientPosition"
    assert "sop_class" not in set(course["code"])
    assert (clinical[["expected", "tag", "reason"]] != "").all().all()
    assert not clinical["expected"].str.contains("{", regex=False).any()
