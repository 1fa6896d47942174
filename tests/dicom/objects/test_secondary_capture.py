"""The secondary capture: what is drawn, what it says of itself, and that it is never scored."""

import dataclasses

import numpy as np
import pytest

from chexkeras.dicom import DicomRejected, read_dicom
from chexkeras.dicom.objects.secondary_capture import NARROWEST, draw, secondary_capture
from chexkeras.dicom.objects.source import read_source
from chexkeras.dicom.objects.told import FilmResult, ScoredFinding
from chexkeras.findings import NIH14
from tests.dicom.objects.made import DEVICE, FILM, IDENTIFIED, MAP, REFUSED, SCORED, STUDY, blob, film, saved

pytest.importorskip("highdicom")

AMBER, RED, CYAN = (255, 191, 0), (255, 96, 64), (0, 255, 255)


def grey(rows=300, columns=300):
    y, x = np.mgrid[:rows, :columns]
    return (40 + 170 * x / columns * y / rows).astype(np.uint8)


def has(picture, colour):
    return bool((picture == np.array(colour)).all(axis=2).any())


@pytest.fixture
def capture(tmp_path):
    source = read_source(film(tmp_path / "film"))
    return saved(secondary_capture(source, DEVICE, SCORED, grey(), [MAP]), tmp_path / "out")


def test_it_says_that_it_is_derived_and_has_words_burnt_in(capture):
    assert capture.SOPClassUID.name == "Secondary Capture Image Storage"
    assert list(capture.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    assert capture.BurnedInAnnotation == "YES" and capture.BodyPartExamined == "CHEST"
    assert capture.DerivationDescription.startswith("NOT FOR CLINICAL USE")
    assert capture.SeriesDescription.startswith("NOT FOR CLINICAL USE") and capture.ContentQualification == "RESEARCH"
    assert [each.ReferencedSOPInstanceUID for each in capture.SourceImageSequence] == [FILM]


def test_it_belongs_to_the_film_s_patient_and_study(capture):
    assert capture.StudyInstanceUID == STUDY and capture.SeriesInstanceUID != IDENTIFIED["SeriesInstanceUID"]
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "AccessionNumber", "StudyID"):
        assert capture[keyword].value == IDENTIFIED[keyword], keyword


@pytest.mark.parametrize("profile", ["clinical", "course"])
@pytest.mark.parametrize("maps", [[], [MAP]])
def test_the_gate_refuses_it(tmp_path, profile, maps):
    source = read_source(film(tmp_path / "film"))
    saved(secondary_capture(source, DEVICE, SCORED, grey(), maps), tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    with pytest.raises(DicomRejected) as refused:
        read_dicom(path, profile=profile)
    codes = {violation.code for violation in refused.value.violations}
    assert "modality" in codes
    if profile == "clinical":
        assert "image_type" in codes


@pytest.mark.parametrize("modality", ["CR", "DX"])
def test_the_gate_refuses_it_even_where_its_modality_is_changed(tmp_path, modality):
    source = read_source(film(tmp_path / "film"))
    dataset = saved(secondary_capture(source, DEVICE, SCORED, grey(), []), tmp_path / "out")
    dataset.Modality = modality
    dataset.save_as(tmp_path / "changed.dcm")
    with pytest.raises(DicomRejected) as refused:
        read_dicom(tmp_path / "changed.dcm")
    assert {violation.code for violation in refused.value.violations} >= {"image_type"}


@pytest.mark.parametrize("shape", [(256, 256), (512, 512), (3000, 2400), (2000, 3000), (700, 300), (300, 900)])
def test_words_are_legible_whatever_the_film_s_size(shape):
    picture = draw(grey(*shape), DEVICE, SCORED, [MAP])
    assert picture.shape[1] >= NARROWEST and max(picture.shape) < 2000
    # Letters of the mark are amber above the film, tall enough to be read: 10 rows and more of the picture have some.
    letters = (picture[: picture.shape[0] // 4] == np.array(AMBER)).all(axis=2).any(axis=1)
    assert letters.sum() >= 10
    for colour in (AMBER, RED, CYAN):
        assert has(picture, colour)


def test_the_film_keeps_its_proportions_and_nothing_is_drawn_over_it_without_a_map():
    image = grey(600, 400)
    picture = draw(image, DEVICE, SCORED, [])
    film_rows = (picture[:, :, 0] == picture[:, :, 1]).all(axis=1) & (picture.max(axis=(1, 2)) > 100)
    (where,) = np.nonzero(film_rows)
    assert where.size > 0
    row = picture[where[len(where) // 2]]
    (lit,) = np.nonzero(row[:, 0])
    assert lit.size / where.size == pytest.approx(400 / 600, abs=0.05) or lit.size >= 400


def test_heat_colours_the_hot_place_and_leaves_the_cold_one_grey():
    heat = np.zeros((8, 8), np.float32)
    heat[6, 1] = 1
    picture = draw(np.full((640, 640), 120, np.uint8), DEVICE, SCORED, [dataclasses.replace(MAP, heat=heat)])
    top = next(row for row in range(picture.shape[0]) if (picture[row, 500] == 120).all())
    hot, cold = picture[top + 520, 120].astype(int), picture[top + 100, 560].astype(int)
    assert hot[0] - hot[2] > 40 and np.ptp(cold) == 0


def test_a_map_that_is_nowhere_above_0_draws_no_line():
    picture = draw(grey(), DEVICE, SCORED, [dataclasses.replace(MAP, heat=-blob() - 1)])
    plain = draw(grey(), DEVICE, SCORED, [])
    assert picture.shape[0] > plain.shape[0]
    assert not has(picture[100:500], CYAN)


def test_fourteen_findings_and_long_words_fit():
    device = dataclasses.replace(DEVICE, cautions=("A caution " * 60, "W" * 300))
    result = FilmResult(tuple(ScoredFinding(name, 0.5, 0.5, "positive") for name in NIH14), engine="keras")
    picture = draw(grey(512, 512), device, result, [MAP])
    assert picture.shape[0] > picture.shape[1] and not (picture[:, -2:] == np.array(RED)).all(axis=2).any()


def test_no_identifier_is_drawn(tmp_path):
    one = read_source(film(tmp_path / "one"))
    other = read_source(film(tmp_path / "other", PatientName="Poe^Edgar", PatientID="B-2"))
    first, second = (secondary_capture(each, DEVICE, SCORED, grey(), [MAP]) for each in (one, other))
    assert first.PixelData == second.PixelData and first.PatientName != second.PatientName


def test_a_film_that_was_not_assessed_has_none(tmp_path):
    with pytest.raises(ValueError, match="not assessed"):
        secondary_capture(read_source(film(tmp_path / "film")), DEVICE, REFUSED, grey())
