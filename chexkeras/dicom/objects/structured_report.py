"""The structured report of a film: a measurement report (TID 1500) with what was found, or why it was not assessed."""

from typing import TYPE_CHECKING, Any

from chexkeras.arguments import checked
from chexkeras.dicom import privacy
from chexkeras.dicom.objects.codes import OWN, CodeTriplet, FindingCode, finding_code
from chexkeras.dicom.objects.common import SeriesOf, highdicom, of_known_class
from chexkeras.dicom.objects.source import SourceFilm
from chexkeras.dicom.objects.told import NEGATIVE, POSITIVE, UNCERTAIN, DeviceFacts, FilmResult, MeasuredFinding
from chexkeras.dicom.objects.uids import derived_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SERIES = SeriesOf("sr", 9001, "chest film, structured report")

SCORE = CodeTriplet("SCORE", OWN, "Classifier score")
THRESHOLD = CodeTriplet("THRESHOLD", OWN, "Decision threshold of the score")
CALL = CodeTriplet("CALL", OWN, "Call at the decision threshold")
ASSESSMENT = CodeTriplet("ASSESSMENT", OWN, "Whether the film was assessed")
LABEL = CodeTriplet("LABEL", OWN, "Label as the model was trained on it")

# PS3.16 Annex D; a score inside the band that the run leaves open is "undetermined".
CALL_CODES = {
    POSITIVE: CodeTriplet("121053", "DCM", "Present"),
    NEGATIVE: CodeTriplet("121054", "DCM", "Absent"),
    UNCERTAIN: CodeTriplet("121059", "DCM", "Presence Undetermined"),
}
ASSESSED = CodeTriplet("ASSESSED", OWN, "Assessed")
NOT_ASSESSED = CodeTriplet("NOT_ASSESSED", OWN, "Not assessed")

CHEST_XRAY = CodeTriplet("399208008", "SCT", "Plain X-ray of chest")
_DIGITS = 6
"""Digits of a score behind the point."""


@checked
def structured_report(film: SourceFilm, device: DeviceFacts, result: FilmResult) -> "Dataset":
    """Builds the structured report of a film: Comprehensive SR, preliminary and unverified.

    Args:
        film: The film.
        device: The algorithm.
        result: What it says of the film.

    Returns:
        The object, of highdicom's class `ComprehensiveSR`.

    Raises:
        NotDescribable: If the film's kind is none that is known.
        ValueError: If highdicom is not installed.

    Source:
        PS3.16 TID 1500, TID 1501, TID 300, TID 4019; PS3.3 A.35.3.
    """
    sr = highdicom("sr")
    with privacy.quiet(), of_known_class(film):
        names = _findings(device, result)
        groups = [_group(sr, film, device, result, name) for name in names]
        observer = sr.ObserverContext(
            observer_type=_code(sr, CodeTriplet("121007", "DCM", "Device")),
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=derived_uid("device", device.fingerprint),
                name=device.name,
                manufacturer_name=device.manufacturer,
                model_name=device.name,
                serial_number=device.fingerprint,
            ),
        )
        content = sr.MeasurementReport(
            observation_context=sr.ObservationContext(observer_device_context=observer),
            procedure_reported=_code(sr, CHEST_XRAY),
            imaging_measurements=groups,
        )
        return sr.ComprehensiveSR(
            evidence=[film.dataset],
            content=content,
            is_complete=True,
            is_final=False,
            is_verified=False,
            coding_schemes=[_scheme(highdicom("coding_schemes"))],
            **SERIES.identity(film, device, result),
        )


def _findings(device: DeviceFacts, result: FilmResult) -> list[str]:
    """Returns the findings that the report speaks of: of a film that was not assessed, all that were not."""
    if result.assessed:
        return [each.finding for each in result.findings]
    return [each.finding for each in device.tested] or ["Chest film"]


def _group(sr: Any, film: SourceFilm, device: DeviceFacts, result: FilmResult, finding: str) -> Any:
    coded = finding_code(finding)
    tested = next((each for each in device.tested if each.finding == finding), None)
    scored = next((each for each in result.findings if each.finding == finding), None)
    answers = [(ASSESSMENT, ASSESSED if scored else NOT_ASSESSED)]
    measurements = []
    if scored is not None:
        answers.append((CALL, CALL_CODES[scored.call]))
        unit = _code(sr, CodeTriplet("1", "UCUM", "no units"))
        for name, value in ((SCORE, scored.score), (THRESHOLD, scored.threshold)):
            measurements.append(sr.Measurement(name=_code(sr, name), value=round(value, _DIGITS), unit=unit))
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=derived_uid("finding", device.fingerprint, film.uid, finding), identifier=f"{device.name}: {finding}"
        ),
        finding_type=_code(sr, coded.code),
        finding_sites=[sr.FindingSite(anatomic_location=_code(sr, coded.site))],
        algorithm_id=sr.AlgorithmIdentification(
            name=device.name,
            version=device.version,
            manufacturer=device.manufacturer,
            parameters=_parameters(device, result, tested),
        ),
        measurements=measurements or None,
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name=_code(sr, name), value=_code(sr, value)) for name, value in answers
        ],
        source_images=[sr.SourceImageForMeasurementGroup(film.dataset.SOPClassUID, film.dataset.SOPInstanceUID)],
    )
    for text in _comments(device, result, finding, coded):
        comment = sr.TextContentItem(
            name=_code(sr, CodeTriplet("121106", "DCM", "Comment")), value=text, relationship_type="CONTAINS"
        )
        group[0].ContentSequence.append(comment)
    return group


def _parameters(device: DeviceFacts, result: FilmResult, tested: MeasuredFinding | None) -> list[str]:
    parameters = [f"run fingerprint: {device.fingerprint}"]
    if result.engine:
        parameters.append(f"engine: {result.engine}")
    if result.profile:
        parameters.append(f"gate profile: {result.profile}")
    if tested is not None:
        parameters += [f"threshold: {tested.threshold:.6g} ({tested.rule})", *tested.lines()]
    return parameters


def _comments(device: DeviceFacts, result: FilmResult, finding: str, coded: FindingCode) -> list[str]:
    comments = [device.mark, *(f"Not assessed: {reason}" for reason in result.reasons)]
    comments += [f"Label as the model was trained on it: {finding}."]
    if coded.radlex:
        comments.append(f"RadLex: {coded.radlex}.")
    if coded.note:
        comments.append(f"Of the code: {coded.note}.")
    return [
        *comments,
        *(f"Warning: {each}" for each in result.warnings),
        *(f"Caution: {each}" for each in device.cautions),
    ]


def _code(sr: Any, code: CodeTriplet) -> Any:
    return sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def _scheme(coding: Any) -> Any:
    return coding.CodingSchemeIdentificationItem(designator=OWN, name="chexkeras", responsible_organization="chexkeras")
