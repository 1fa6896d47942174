"""Worklists as messages: what parsers of others make of them, and what they say of whom."""

import dataclasses
import datetime
import json

import pytest

from chexkeras.delivery.worklist.fhir import fhir_bundle
from chexkeras.delivery.worklist.hl7 import oru_batch
from chexkeras.delivery.worklist.identified import by_study
from chexkeras.delivery.worklist.order import reading_order
from tests.delivery.worklist.conftest import told
from tests.dicom.objects.made import DEVICE, FILM, STUDY, film, raw

MADE = datetime.datetime(2026, 12, 1, 10, 30, tzinfo=datetime.UTC)
RECORDS = [told("two"), told("one", 0.9, 0.1), told("three", 0.1, 0.2, novelty=2.0), told("notes")]


@pytest.fixture
def studies(films):
    found, left = by_study(reading_order(RECORDS), {each["file"]: films / each["file"] for each in RECORDS})
    assert sum(left.values()) == 1 and "no DICOM file" in next(iter(left))
    return found


def messages(text):
    """The messages of a batch, each as an independent parser reads and checks it."""
    pytest.importorskip("hl7apy")
    from hl7apy.consts import VALIDATION_LEVEL
    from hl7apy.parser import parse_message

    segments = text.split("\r")
    assert segments.pop() == ""
    assert [each.split("|")[0] for each in (*segments[:2], *segments[-2:])] == ["FHS", "BHS", "BTS", "FTS"]
    parted = "\r".join(segments[2:-2]).split("\rMSH|")
    found = [
        parse_message(("" if at == 0 else "MSH|") + each, validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
        for at, each in enumerate(parted)
    ]
    assert segments[-2] == f"BTS|{len(found)}"
    for each in found:
        assert each.validate()
    return found


def observations(message):
    return [
        [order.obr, [each.obx for each in order.oru_r01_observation]]
        for order in message.oru_r01_patient_result.oru_r01_order_observation
    ]


def test_studies_follow_one_another_in_the_reading_order(studies):
    assert [[film.entry.file for film in study.films] for study in studies] == [["one", "two"], ["three"]]


def test_each_study_is_one_valid_message_of_its_patient(studies):
    first, second = messages(oru_batch(studies, DEVICE, MADE))
    assert first.msh.msh_9.to_er7() == "ORU^R01^ORU_R01" and first.msh.msh_12.to_er7() == "2.5.1"
    assert first.msh.msh_11.to_er7() == "T" and first.msh.msh_7.to_er7() == "20261201103000+0000"
    assert first.msh.msh_10.to_er7() != second.msh.msh_10.to_er7()
    patient = first.oru_r01_patient_result.oru_r01_patient.pid
    assert patient.pid_3.to_er7() == "A-17^^^HOSPITAL" and patient.pid_5.to_er7() == "Doe^Jane"
    assert patient.pid_7.to_er7() == "19700131" and patient.pid_8.to_er7() == "F"
    other = second.oru_r01_patient_result.oru_r01_patient.pid
    # Prefix and suffix change places between the two standards.
    assert other.pid_5.to_er7() == "Müller^Änne^^jun.^Dr."


def test_findings_stand_with_score_threshold_flag_and_provenance(studies):
    first, second = messages(oru_batch(studies, DEVICE, MADE))
    (order, seen), (_, refused) = observations(first)
    assert order.obr_25.to_er7() == "P" and order.obr_18.to_er7() == "ACC7" and order.obr_7.to_er7() == "20250102101112"
    coded = {each.obx_3.to_er7().split("^")[0] + each.obx_4.to_er7(): each for each in seen}
    found, score = coded["600460081.1"], coded["SCORE1.1"]
    assert found.obx_3.to_er7() == "60046008^Pleural effusion^SCT^Effusion^Effusion^99CHEXKERAS"
    assert found.obx_5.to_er7() == "121053^Present^DCM" and found.obx_8.to_er7() == "A"
    assert score.obx_5.to_er7() == "0.9" and score.obx_6.to_er7() == "1^no units^UCUM"
    assert score.obx_7.to_er7() == "<0.3125" and score.obx_8.to_er7() == "A"
    # A score that was not calibrated is no probability.
    assert {each.obx_9.to_er7() for each in seen} == {""}
    assert coded["3095290021.2"].obx_5.to_er7() == "121054^Absent^DCM" and coded["SCORE1.2"].obx_8.to_er7() == "N"
    assert {each.obx_11.to_er7() for each in seen} == {"P"}
    assert {each.obx_17.to_er7() for each in seen} == {"chexkeras udacity-2a 0.1.0"}
    assert {each.obx_18.to_er7() for each in seen} == {"0123456789abcdef^CHEXKERAS"}
    assert coded["RANK1"].obx_5.to_er7() == "1" and coded["GROUP1"].obx_5.to_er7() == "positive"
    assert coded["1130141"].obx_5.to_er7() == f"^{STUDY}^ISO" and coded["FILM1"].obx_5.to_er7() == f"^{FILM}^ISO"
    assert [each.obx_11.to_er7() for each in refused][-2:] == ["X", "X"]
    ((_, unlike),) = observations(second)
    assert "unlike training" in {each.obx_5.to_er7() for each in unlike}


def test_notes_tell_of_use_reasons_and_cautions(studies):
    text = oru_batch(studies, DEVICE, MADE)
    for said in ("NOT FOR CLINICAL USE", "not verified by a physician", "Not assessed: modality: expected DX or CR",
                 "test AUROC: 0.810", *(f"Caution: {each}" for each in DEVICE.cautions)):  # fmt: skip
        assert f"|L|{said}" in text or f", {said}" in text or said in text.replace("|L|", "")
    authorised = dataclasses.replace(DEVICE, authorisation="K000000")
    assert "|T|2.5.1|" in text and "|P|2.5.1|" in oru_batch(studies, authorised, MADE)


HOSTILE = "O\\Neil|x^y&z~q\r\nOBX|9|ST|injected||x\x00\x1b"


def test_what_a_film_or_a_run_says_cannot_become_a_segment(tmp_path):
    pytest.importorskip("hl7apy")
    path = film(tmp_path / "one", PatientID="A|7^&~", AccessionNumber="|^~&", PatientName="O|Neil^J~ane")
    device = dataclasses.replace(DEVICE, name=HOSTILE, cautions=(HOSTILE,))
    found, _ = by_study(reading_order([told("one", 0.9)]), {"one": path})
    text = oru_batch(found, device, MADE)
    (message,) = messages(text)
    pid = message.oru_r01_patient_result.oru_r01_patient.pid
    assert pid.pid_3.to_er7() == "A\\F\\7\\S\\\\T\\\\R\\^^^HOSPITAL" and pid.pid_5.to_er7() == "O\\F\\Neil^J\\R\\ane"
    assert "\rOBX|9|ST|injected" not in text and not set(text) & set("\n\x00\x1b")
    assert "O\\E\\Neil\\F\\x\\S\\y\\T\\z\\R\\q OBX\\F\\9" in text


def test_the_same_results_give_the_same_messages_and_others_another_number(studies, films):
    again, _ = by_study(reading_order(RECORDS[::-1]), {each["file"]: films / each["file"] for each in RECORDS})
    assert oru_batch(studies, DEVICE, MADE) == oru_batch(again, DEVICE, MADE)
    assert fhir_bundle(studies, DEVICE, MADE) == fhir_bundle(again, DEVICE, MADE)
    changed = [told("one", 0.1, 0.1), *(each for each in RECORDS if each["file"] != "one")]
    other, _ = by_study(reading_order(changed), {each["file"]: films / each["file"] for each in RECORDS})

    def numbers(found):
        return {line.split("|")[9] for line in oru_batch(found, DEVICE, MADE).split("\r") if line.startswith("MSH")}

    assert len(numbers(studies) & numbers(other)) == 1


def test_films_that_find_no_patient_have_no_message_and_are_counted(tmp_path):
    nobody = film(tmp_path / "nobody", PatientID="")
    unnamed = film(tmp_path / "unnamed", drop=("StudyInstanceUID",))
    records = [told("nobody", 0.9), told("unnamed", 0.9), told("gone", 0.9), told("elsewhere", 0.9)]
    places = {"nobody": nobody, "unnamed": unnamed, "gone": tmp_path / "gone"}
    found, left = by_study(reading_order(records), places)
    assert found == [] and sorted(left.values()) == [1, 1, 1, 1]
    assert any("no Patient ID" in reason for reason in left) and any("StudyInstanceUID" in reason for reason in left)
    bundle = fhir_bundle(found, DEVICE, MADE)
    assert [each["resource"]["resourceType"] for each in bundle["entry"]] == ["Device", "List"]
    assert messages_of_nobody(oru_batch(found, DEVICE, MADE))


def messages_of_nobody(text):
    return [line.split("|")[0] for line in text.strip("\r").split("\r")] == ["FHS", "BHS", "BTS", "FTS"]


def test_dates_that_no_calendar_has_are_left_out(tmp_path):
    path = film(tmp_path / "one", PatientBirthDate="19700230", StudyDate="20250229")
    found, _ = by_study(reading_order([told("one", 0.9)]), {"one": path})
    text = oru_batch(found, DEVICE, MADE) + json.dumps(fhir_bundle(found, DEVICE, MADE))
    assert "19700230" not in text and "20250229" not in text and "1970-02" not in text
    bundle_of(fhir_bundle(found, DEVICE, MADE))


# ---- FHIR


def bundle_of(value):
    """The bundle as an independent parser reads and checks it."""
    pytest.importorskip("fhir.resources")
    from fhir.resources.R4B.bundle import Bundle

    return Bundle.model_validate(json.loads(json.dumps(value)))


def resources(bundle, kind):
    return [each.resource for each in bundle.entry if type(each.resource).__name__ == kind]


def test_a_bundle_is_valid_and_each_reference_leads_to_something(studies):
    value = fhir_bundle(studies, DEVICE, MADE)
    bundle_of(value)
    urls = [each["fullUrl"] for each in value["entry"]]
    assert len(set(urls)) == len(urls)

    def references(part):
        if isinstance(part, dict):
            return [value for key, value in part.items() if key == "reference"] + references(list(part.values()))
        return [each for inner in part for each in references(inner)] if isinstance(part, list) else []

    assert references(value) and set(references(value)) <= set(urls)


def test_a_bundle_says_what_was_found_of_whom_and_by_what(studies):
    bundle = bundle_of(fhir_bundle(studies, DEVICE, MADE))
    jane, anna = resources(bundle, "Patient")
    assert jane.identifier[0].value == "A-17" and jane.name[0].family == "Doe" and jane.gender == "female"
    assert str(jane.birthDate) == "1970-01-31" and anna.name[0].prefix == ["Dr."] and anna.name[0].suffix == ["jun."]
    (device,) = resources(bundle, "Device")
    assert device.identifier[0].value == DEVICE.fingerprint and device.version[0].value == "0.1.0"
    found, _, refused, *_ = resources(bundle, "Observation")
    assert found.status == "preliminary" and found.code.coding[0].code == "60046008" and found.code.text == "Effusion"
    assert found.valueCodeableConcept.coding[0].code == "121053" and found.interpretation[0].coding[0].code == "POS"
    values = {each.code.coding[0].code: each for each in found.component}
    assert float(values["SCORE"].valueQuantity.value) == 0.9 and values["FILM"].valueString == FILM
    assert float(values["THRESHOLD"].valueQuantity.value) == 0.3125
    notes = [each.text for each in found.note]
    assert notes[0] == "NOT FOR CLINICAL USE" and any(each.startswith("Caution:") for each in notes)
    assert refused.dataAbsentReason.coding[0].code == "not-performed" and refused.valueCodeableConcept is None
    assert any(each.text.startswith("Not assessed: modality") for each in refused.note)


def test_the_list_has_the_studies_in_the_reading_order(studies):
    value = fhir_bundle(studies, DEVICE, MADE)
    (order,) = resources(bundle_of(value), "List")
    where = {each["fullUrl"]: each["resource"] for each in value["entry"]}
    named = [where[each.item.reference]["identifier"][0]["value"] for each in order.entry]
    assert named == [f"urn:oid:{STUDY}", f"urn:oid:{STUDY}.3"]
    assert [each.flag.text for each in order.entry] == ["positive", "unlike training"]


def test_names_in_other_scripts_and_broken_values_make_valid_messages(tmp_path):
    import pydicom

    path = film(tmp_path / "one", SpecificCharacterSet="ISO_IR 192", PatientName="Yamada^Tarou=山田^太郎")
    dataset = pydicom.dcmread(path)
    raw(dataset, "PatientSex", "CS", b"<script>")
    dataset.save_as(path)
    found, _ = by_study(reading_order([told("one", 0.9)]), {"one": path})
    bundle = bundle_of(fhir_bundle(found, DEVICE, MADE))
    (patient,) = resources(bundle, "Patient")
    assert patient.gender is None and patient.name[0].family == "Yamada"
    (message,) = messages(oru_batch(found, DEVICE, MADE))
    assert message.oru_r01_patient_result.oru_r01_patient.pid.pid_5.to_er7() == "Yamada^Tarou"
