"""The structured report, read back with highdicom as a measurement report (TID 1500), and its identity."""

import dataclasses

import pytest
from pydicom.sr.codedict import codes

from chexkeras.dicom.objects.codes import FINDING_CODES, OWN, finding_code
from chexkeras.dicom.objects.common import highdicom
from chexkeras.dicom.objects.source import NotDescribable, read_source
from chexkeras.dicom.objects.structured_report import structured_report
from chexkeras.dicom.objects.told import NOT_FOR_CLINICAL_USE, FilmResult, ScoredFinding
from tests.dicom.objects.made import DEVICE, FILM, IDENTIFIED, REFUSED, SCORED, STUDY, film, saved

sr = pytest.importorskip("highdicom.sr")


@pytest.fixture
def source(tmp_path):
    return read_source(film(tmp_path / "film"))


def read_back(dataset, folder):
    """The groups of measurements of a report, as highdicom reads them from the file."""
    report = sr.ComprehensiveSR.from_dataset(saved(dataset, folder))
    assert isinstance(report.content, sr.MeasurementReport)
    return report, report.content.get_image_measurement_groups()


def numbers(group):
    return {each.name.meaning: float(each.value) for each in group.get_measurements()}


def answers(group):
    return {each.name.meaning: each.value.meaning for each in group.get_qualitative_evaluations()}


def texts(group, name):
    return [item.TextValue for item in group[0].ContentSequence if item.name.meaning == name]


def test_scores_calls_and_findings_are_read_back(source, tmp_path):
    report, groups = read_back(structured_report(source, DEVICE, SCORED), tmp_path / "out")
    assert [(group.finding_type.value, group.finding_type.scheme_designator) for group in groups] == [
        ("60046008", "SCT"), ("309529002", "SCT"),
    ]  # fmt: skip
    assert numbers(groups[0]) == {"Classifier score": 0.812346, "Decision threshold of the score": 0.3125}
    assert answers(groups[0])["Call at the decision threshold"] == "Present"
    assert answers(groups[1])["Call at the decision threshold"] == "Absent"
    assert groups[0].finding_sites[0].value.meaning == "Pleura"
    assert [each.referenced_sop_instance_uid for each in groups[0].source_images] == [FILM]
    assert report.CompletionFlag == "COMPLETE"
    assert (report.PreliminaryFlag, report.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")


def test_algorithm_and_test_figures_stand_with_every_finding(source, tmp_path):
    _, groups = read_back(structured_report(source, DEVICE, SCORED), tmp_path / "out")
    for group in groups:
        assert texts(group, "Algorithm Name") == ["chexkeras udacity-2a"]
        assert texts(group, "Algorithm Version") == ["0.1.0"]
    said = texts(groups[0], "Algorithm Parameters")
    assert "run fingerprint: 0123456789abcdef" in said and "engine: keras 3.15.1" in said
    assert "threshold: 0.3125 (the rule sensitivity 0.8)" in said
    assert "test AUROC: 0.810 (95% CI 0.750 to 0.860, n = 222)" in said
    assert "test sensitivity: 0.800 (95% CI 0.700 to 0.880, n = 90)" in said
    assert any("not estimable: one class only" in each for each in texts(groups[1], "Algorithm Parameters"))


def test_mark_warnings_and_cautions_stand_with_every_finding(source, tmp_path):
    report, groups = read_back(structured_report(source, DEVICE, SCORED), tmp_path / "out")
    for group in groups:
        said = texts(group, "Comment")
        assert said[0] == NOT_FOR_CLINICAL_USE
        assert "Caution: Synthetic images, not clinical evidence." in said
        assert "Warning: view_fallback: expected View Position" in said
    assert report.SeriesDescription.startswith(NOT_FOR_CLINICAL_USE) and report.ContentQualification == "RESEARCH"


def test_an_authorised_device_says_its_authorisation_instead(source, tmp_path):
    device = dataclasses.replace(DEVICE, authorisation="K000000, FDA 510(k)")
    report, groups = read_back(structured_report(source, device, SCORED), tmp_path / "out")
    assert texts(groups[0], "Comment")[0] == "Authorisation: K000000, FDA 510(k)"
    assert report.ContentQualification == "PRODUCT" and NOT_FOR_CLINICAL_USE not in str(report)


def test_a_refused_film_is_not_assessed_for_any_finding_and_says_why(source, tmp_path):
    _, groups = read_back(structured_report(source, DEVICE, REFUSED), tmp_path / "out")
    assert [group.finding_type.meaning for group in groups] == ["Pleural effusion", "Lung mass"]
    for group in groups:
        assert answers(group) == {"Whether the film was assessed": "Not assessed"}
        assert not group.get_measurements()
        assert any(each.startswith("Not assessed: modality:") for each in texts(group, "Comment"))


def test_a_score_that_is_left_open_is_undetermined(source, tmp_path):
    result = FilmResult((ScoredFinding("Effusion", 0.31, 0.3125, "uncertain"),), engine="keras", profile="clinical")
    _, groups = read_back(structured_report(source, DEVICE, result), tmp_path / "out")
    assert answers(groups[0])["Call at the decision threshold"] == codes.DCM.PresenceUndetermined.meaning


def test_it_belongs_to_the_film_s_patient_and_study_and_refers_to_the_film(source, tmp_path):
    report, _ = read_back(structured_report(source, DEVICE, SCORED), tmp_path / "out")
    for keyword in set(IDENTIFIED) - {"SOPInstanceUID", "SeriesInstanceUID"}:
        assert report[keyword].value == IDENTIFIED[keyword], keyword
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert study.StudyInstanceUID == STUDY
    assert [each.ReferencedSOPInstanceUID for each in series.ReferencedSOPSequence] == [FILM]
    assert report.SeriesInstanceUID != IDENTIFIED["SeriesInstanceUID"]


def test_every_known_finding_is_coded_and_read_back(source, tmp_path):
    names = (
        *FINDING_CODES,
        "肺結節",
        "A label of one's own that is far longer than any code or meaning may be, really",
    )
    findings = tuple(ScoredFinding(name, 0.4, 0.5, "negative") for name in names)
    report, groups = read_back(structured_report(source, DEVICE, FilmResult(findings)), tmp_path / "out")
    for name, group in zip(names, groups, strict=True):
        assert group.finding_type.value == finding_code(name).code.value
        assert f"Label as the model was trained on it: {name}." in texts(group, "Comment")
    assert [item.CodingSchemeDesignator for item in report.CodingSchemeIdentificationSequence] == [OWN]


def test_the_same_result_has_the_same_uid_and_another_one_another(source, tmp_path):
    first, again = structured_report(source, DEVICE, SCORED), structured_report(source, DEVICE, SCORED)
    assert (first.SOPInstanceUID, first.SeriesInstanceUID) == (again.SOPInstanceUID, again.SeriesInstanceUID)
    other_run = dataclasses.replace(DEVICE, fingerprint="f" * 16)
    other_film = read_source(film(tmp_path / "other", SOPInstanceUID="1.2.3"))
    other_call = FilmResult((ScoredFinding("Effusion", 0.1, 0.3125, "negative"),))
    others = [
        structured_report(source, other_run, SCORED),
        structured_report(other_film, DEVICE, SCORED),
        structured_report(source, DEVICE, other_call),
        structured_report(source, DEVICE, REFUSED),
    ]
    assert len({first.SOPInstanceUID, *(each.SOPInstanceUID for each in others)}) == 5
    # One series for a run and a study, whatever the film; another run has another one.
    assert others[1].SeriesInstanceUID == first.SeriesInstanceUID != others[0].SeriesInstanceUID


def test_scores_that_differ_by_a_rounding_are_the_same_result(source):
    nearly = dataclasses.replace(
        SCORED, findings=(dataclasses.replace(SCORED.findings[0], score=0.8123456), *SCORED.findings[1:])
    )
    first, other = (structured_report(source, DEVICE, result) for result in (SCORED, nearly))
    assert first.SOPInstanceUID == other.SOPInstanceUID


def test_a_kind_of_file_that_the_standard_does_not_name_is_refused(tmp_path):
    path = film(tmp_path / "private", SOPClassUID="1.2.826.0.1.3680043.10.999")
    with pytest.raises(NotDescribable, match="SOP class"):
        structured_report(read_source(path), DEVICE, REFUSED)


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.22", "1.2.840.10008.1.3.10"])
def test_refused_files_of_other_kinds_are_reported_or_refused_in_a_sentence(tmp_path, uid):
    source = read_source(film(tmp_path / "other", SOPClassUID=uid))
    try:
        assert structured_report(source, DEVICE, REFUSED).Modality == "SR"
    except NotDescribable as error:
        assert "no DICOM object is made" in str(error)


def test_without_highdicom_one_sentence_says_what_to_install(monkeypatch):
    import builtins

    real = builtins.__import__

    def none(name, *rest, **options):
        if name.split(".")[0] == "highdicom":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr("importlib.import_module", lambda name: none(name))
    with pytest.raises(ValueError, match=r"pip install 'chexkeras\[dicom-out\]'"):
        highdicom("sr")
