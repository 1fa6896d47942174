"""A worklist as a FHIR R4 bundle: an Observation for each film and finding, and a List with the reading order.

Source:
    HL7 FHIR R4 (4.0.1): Bundle, Device, ImagingStudy, List, Observation, Patient.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chexkeras.delivery.worklist.identified import IdentifiedFilm, StudyResults, day
from chexkeras.delivery.worklist.order import GROUPS, suspicion
from chexkeras.dicom.objects.codes import DICOM, OWN, RADLEX, SNOMED, CodeTriplet, finding_code
from chexkeras.dicom.objects.structured_report import CALL_CODES, CHEST_XRAY, SCORE, THRESHOLD
from chexkeras.dicom.objects.told import NEGATIVE, POSITIVE, DeviceFacts, ScoredFinding
from chexkeras.dicom.objects.wording import PRELIMINARY, caution_lines, device_lines, tested_line

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

WORKLIST = "urn:chexkeras:worklist"
"""The system of the identifier by which a bundle is known as one of these."""

_SYSTEMS = {
    SNOMED: "http://snomed.info/sct", RADLEX: "http://www.radlex.org", OWN: "urn:chexkeras:codes",
    DICOM: "http://dicom.nema.org/resources/ontology/DCM",
}  # fmt: skip
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_INTERPRETATIONS = {POSITIVE: ("POS", "Positive"), NEGATIVE: ("NEG", "Negative")}
_INDETERMINATE = ("IND", "Indeterminate")
_SEXES = {"M": "male", "F": "female", "O": "other"}
_DIGITS = 6


def fhir_bundle(studies: Sequence[StudyResults], device: DeviceFacts, made: datetime) -> dict[str, Any]:
    """Returns a bundle of type "collection", as plain values for JSON.

    Args:
        studies: The results by study, in their order.
        device: The run.
        made: When the bundle is made, with its time zone.
    """
    instant = made.isoformat(timespec="seconds")
    entries: dict[str, dict[str, Any]] = {}

    def add(resource: dict[str, Any], *identity: str) -> str:
        url = f"urn:uuid:{_uuid(device.fingerprint, resource['resourceType'], *identity)}"
        entries.setdefault(url, {"fullUrl": url, "resource": resource})
        return url

    maker = add(_device(device))
    items = []
    for study in studies:
        tags = study.tags
        whose = (str(tags.PatientID), str(tags.get("IssuerOfPatientID", "")))
        patient = add(_patient(tags), *whose)
        imaging = add(_imaging(study, patient), study.films[0].source.study, *whose)
        items.append({"flag": {"text": study.entry.group}, "item": {"reference": imaging}})
        for film in study.films:
            names = [each.finding for each in film.entry.result.findings] or [each.finding for each in device.tested]
            scores = {each.finding: each for each in film.entry.result.findings}
            for name in names:
                found = _observation(film, name, scores.get(name), device, instant)
                found |= {"subject": {"reference": patient}, "device": {"reference": maker}}
                found["derivedFrom"] = [{"reference": imaging}]
                identity = study.uid(device, film.source.uid, name)
                found["identifier"] = [{"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{identity}"}]
                add(found, identity)
    add(_order(items, device, instant), *(study.uid(device) for study in studies))
    return {
        "resourceType": "Bundle", "type": "collection", "timestamp": instant,
        "identifier": {"system": WORKLIST, "value": device.fingerprint}, "entry": list(entries.values()),
    }  # fmt: skip


def _uuid(*parts: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "\0".join(parts)))


def _device(device: DeviceFacts) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "identifier": [{"system": "urn:chexkeras:run", "value": device.fingerprint}],
        "manufacturer": device.manufacturer,
        "deviceName": [{"name": device.name, "type": "model-name"}],
        "version": [{"value": device.version}],
        "note": [{"text": text} for text in (device.mark, *map(tested_line, device.tested))],
    }


def _patient(tags: "Dataset") -> dict[str, Any]:
    identifier: dict[str, Any] = {"value": str(tags.PatientID)}
    if tags.get("IssuerOfPatientID"):
        identifier["assigner"] = {"display": str(tags.IssuerOfPatientID)}
    found: dict[str, Any] = {"resourceType": "Patient", "identifier": [identifier]}
    family, given, middle, prefix, suffix = (str(tags.PatientName).split("=")[0].split("^") + [""] * 5)[:5]
    parts = {"family": family, "given": [each for each in (given, middle) if each], "prefix": [prefix] * bool(prefix),
             "suffix": [suffix] * bool(suffix)}  # fmt: skip
    name = {key: value for key, value in parts.items() if value}
    if name:
        found["name"] = [name]
    if tags.PatientSex:
        found["gender"] = _SEXES[str(tags.PatientSex)]
    if day(str(tags.PatientBirthDate)):
        found["birthDate"] = _date(str(tags.PatientBirthDate))
    return found


def _imaging(study: StudyResults, patient: str) -> dict[str, Any]:
    tags, source = study.tags, study.films[0].source
    identifiers: list[dict[str, Any]] = [{"system": "urn:dicom:uid", "value": f"urn:oid:{source.study}"}]
    if tags.AccessionNumber:
        accession = {"coding": [{"system": f"{_TERMINOLOGY}/v2-0203", "code": "ACSN"}]}
        identifiers.append({"type": accession, "value": str(tags.AccessionNumber)})
    found = {"resourceType": "ImagingStudy", "identifier": identifiers, "status": "available",
             "subject": {"reference": patient}}  # fmt: skip
    if day(str(tags.StudyDate)):
        found["started"] = _date(str(tags.StudyDate))
    series: dict[str, list[dict[str, Any]]] = {}
    for film in study.films:
        kind = {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{film.source.dataset.SOPClassUID}"}
        series.setdefault(film.source.series, []).append({"uid": film.source.uid, "sopClass": kind})
    modality = {"system": _SYSTEMS[DICOM], "code": str(tags.Modality)}
    found["series"] = [{"uid": uid, "modality": modality, "instance": films} for uid, films in series.items()]
    return found


def _observation(
    film: IdentifiedFilm, name: str, scored: ScoredFinding | None, device: DeviceFacts, instant: str
) -> dict[str, Any]:
    coded, result, entry = finding_code(name), film.entry.result, film.entry
    notes = [device.mark, PRELIMINARY, *device_lines(device, result), f"{entry.group}: {GROUPS[entry.group]}."]
    notes += [f"Place {entry.rank} in the reading order."]
    notes += [f"Not assessed: {reason}" for reason in result.reasons]
    notes += [*(tested_line(each) for each in device.tested if each.finding == name), *caution_lines(device, result)]
    found: dict[str, Any] = {
        "resourceType": "Observation", "status": "preliminary",
        "category": [{"coding": [{"system": f"{_TERMINOLOGY}/observation-category", "code": "imaging"}]}],
        "code": _concept(coded.code, name), "issued": instant, "bodySite": _concept(coded.site),
        "method": {"text": f"{device.name} {device.version}, run {device.fingerprint}"},
        "note": [{"text": text} for text in notes],
        "component": [{"code": _concept(CodeTriplet("FILM", OWN, "SOP Instance UID of the film")),
                       "valueString": film.source.uid}],
    }  # fmt: skip
    if day(str(film.source.dataset.StudyDate)):
        found["effectiveDateTime"] = _date(str(film.source.dataset.StudyDate))
    if scored is None:
        found["dataAbsentReason"] = {
            "coding": [{"system": f"{_TERMINOLOGY}/data-absent-reason", "code": "not-performed"}],
            "text": "Not assessed",
        }
        return found
    found["valueCodeableConcept"] = _concept(CALL_CODES[scored.call])
    code, shown = _INTERPRETATIONS.get(suspicion(scored), _INDETERMINATE)
    system = f"{_TERMINOLOGY}/v3-ObservationInterpretation"
    found["interpretation"] = [{"coding": [{"system": system, "code": code, "display": shown}]}]
    for what, value in ((SCORE, scored.score), (THRESHOLD, scored.threshold)):
        quantity = {"value": round(value, _DIGITS), "system": "http://unitsofmeasure.org", "code": "1"}
        found["component"].append({"code": _concept(what), "valueQuantity": quantity})
    return found


def _order(items: list[dict[str, Any]], device: DeviceFacts, instant: str) -> dict[str, Any]:
    order = {"system": f"{_TERMINOLOGY}/list-order", "code": "priority"}
    found: dict[str, Any] = {
        "resourceType": "List", "status": "current", "mode": "snapshot", "title": f"Reading order: {device.mark}",
        "code": _concept(CHEST_XRAY), "date": instant, "orderedBy": {"coding": [order]},
        "note": [{"text": f"{group}: {why}."} for group, why in GROUPS.items()],
    }  # fmt: skip
    return found | ({"entry": items} if items else {})


def _concept(code: CodeTriplet, text: str = "") -> dict[str, Any]:
    coding = {"system": _SYSTEMS[code.scheme], "code": code.value, "display": code.meaning}
    return {"coding": [coding], "text": text or code.meaning}


def _date(text: str) -> str:
    """Returns DICOM's date as FHIR's; a time of day would need a time zone, which a film seldom names."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"
