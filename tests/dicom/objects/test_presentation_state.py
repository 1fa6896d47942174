"""The presentation state: contours in the stored film's pixels, and how the film is shown beneath them."""

import dataclasses

import numpy as np
import pytest

from chexkeras.dicom.objects.presentation_state import presentation_state
from chexkeras.dicom.objects.source import NotDescribable, read_source
from tests.dicom.dicom_images import lookup_item, ramp
from tests.dicom.objects.made import DEVICE, FILM, IDENTIFIED, MAP, SCORED, STUDY, blob, film, saved

pytest.importorskip("highdicom")


def state_of(path, folder, turned="", maps=(MAP,)):
    return saved(presentation_state(read_source(path), DEVICE, SCORED, turned, list(maps)), folder)


def graphics(state):
    (annotation,) = state.GraphicAnnotationSequence
    return [np.array(each.GraphicData).reshape(-1, 2) for each in annotation.get("GraphicObjectSequence", [])]


def test_contours_lie_on_the_film_and_refer_to_it(tmp_path):
    state = state_of(film(tmp_path / "film"), tmp_path / "out")
    (line,) = graphics(state)
    # The hot place of the map is row 4 of 7, column 2 of 7; the film has 256 rows and columns.
    assert line.mean(axis=0) == pytest.approx([2.5 / 7 * 256, 4.5 / 7 * 256], abs=8)
    assert np.array_equal(line[0], line[-1]) and line.min() >= 0 and line.max() <= 256
    (annotation,) = state.GraphicAnnotationSequence
    assert annotation.GraphicObjectSequence[0].GraphicAnnotationUnits == "PIXEL"
    assert [each.ReferencedSOPInstanceUID for each in annotation.ReferencedImageSequence] == [FILM]
    assert state.ReferencedSeriesSequence[0].SeriesInstanceUID == IDENTIFIED["SeriesInstanceUID"]


def test_on_a_film_that_is_not_square_and_was_turned_contours_lie_on_the_pixels_as_stored(tmp_path):
    path = film(tmp_path / "film", ramp(300, 400))
    (line,) = graphics(state_of(path, tmp_path / "out", "F\\R"))
    # Upright the film has 400 rows and 300 columns; what is at (x, y) there was stored at column y, row 300 - x.
    x, y = 2.5 / 7 * 300, 4.5 / 7 * 400
    assert line.mean(axis=0) == pytest.approx([y, 300 - x], abs=12)
    assert line[:, 0].max() <= 400 and line[:, 1].max() <= 300


def test_it_says_score_and_mark_beside_the_film(tmp_path):
    state = state_of(film(tmp_path / "film"), tmp_path / "out")
    (text,) = state.GraphicAnnotationSequence[0].TextObjectSequence
    words = text.UnformattedTextValue
    assert words.startswith("NOT FOR CLINICAL USE") and "Effusion: score 0.812, positive" in words
    assert "Synthetic images" in words and "0123456789abcdef" in words and "Mass" not in words
    assert state.ContentDescription.startswith("NOT FOR CLINICAL USE")


def test_long_words_are_cut_at_what_the_standard_takes(tmp_path):
    device = dataclasses.replace(DEVICE, cautions=("A caution. " * 200,))
    state = saved(presentation_state(read_source(film(tmp_path / "film")), device, SCORED, "", [MAP]), tmp_path / "out")
    (text,) = state.GraphicAnnotationSequence[0].TextObjectSequence
    assert len(text.UnformattedTextValue) <= 1024 and "NOT FOR CLINICAL USE" in text.UnformattedTextValue


def test_it_belongs_to_the_film_s_patient_and_study(tmp_path):
    state = state_of(film(tmp_path / "film"), tmp_path / "out")
    assert state.StudyInstanceUID == STUDY and state.PatientName == "Doe^Jane" and state.Modality == "PR"
    assert state.PatientID == "A-17" and state.BodyPartExamined == "CHEST"


def test_values_are_shown_as_the_film_s_own_tags_say(tmp_path):
    state = state_of(film(tmp_path / "film", RescaleSlope=2, RescaleIntercept=-100), tmp_path / "out")
    assert (float(state.RescaleSlope), float(state.RescaleIntercept)) == (2.0, -100.0)
    (voi,) = state.SoftcopyVOILUTSequence
    assert (float(voi.WindowCenter), float(voi.WindowWidth)) == (2048.0, 4096.0)
    assert state.PresentationLUTShape == "IDENTITY"


@pytest.mark.parametrize(
    "tags",
    [
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "drop": ("PresentationLUTShape",)},
        {"PresentationLUTShape": "INVERSE"},
    ],
)
def test_films_whose_low_values_are_white_stay_so(tmp_path, tags):
    assert state_of(film(tmp_path / "film", **tags), tmp_path / "out").PresentationLUTShape == "INVERSE"


def test_tables_are_repeated(tmp_path):
    entries = (np.arange(4096) ** 2 / 4095).astype(int)
    path = film(tmp_path / "film", VOILUTSequence=lookup_item(entries, 0, 12))
    state = state_of(path, tmp_path / "out")
    table = np.frombuffer(state.SoftcopyVOILUTSequence[0].VOILUTSequence[0].LUTData, "<u2")
    assert (
        np.allclose(table / 65535, entries / 4095, atol=1e-4) and "WindowCenter" not in state.SoftcopyVOILUTSequence[0]
    )


def test_a_modality_table_and_what_follows_it_become_one_table(tmp_path):
    falling = np.arange(4095, -1, -1)
    path = film(tmp_path / "film", ModalityLUTSequence=lookup_item(falling, 0, 12), WindowCenter=1024, WindowWidth=2048)
    state = state_of(path, tmp_path / "out")
    table = np.frombuffer(state.SoftcopyVOILUTSequence[0].VOILUTSequence[0].LUTData, "<u2")
    # Stored 4095 is modality value 0, black; the window ends at 2047, and all stored values below 2048 are white.
    assert table[4095] == 0 and table[0] == table[2048] == 65535 and table[3071] == pytest.approx(32784, abs=40)
    assert "RescaleSlope" not in state and "ModalityLUTSequence" not in state


def test_a_table_of_signed_values_begins_below_0(tmp_path):
    values = ramp().astype(np.int16) - 2048
    path = film(
        tmp_path / "film", values, PixelRepresentation=1, VOILUTSequence=lookup_item(np.arange(4096), -2048, 12)
    )
    descriptor = state_of(path, tmp_path / "out").SoftcopyVOILUTSequence[0].VOILUTSequence[0]["LUTDescriptor"]
    assert list(descriptor.value) == [4096, -2048, 16]


def test_free_text_of_a_table_is_not_taken_along(tmp_path):
    item = lookup_item(np.arange(4096), 0, 12)
    item[0].LUTExplanation = "for Doe"
    state = state_of(film(tmp_path / "film", VOILUTSequence=item), tmp_path / "out")
    assert "for Doe" not in str(state)


def test_a_film_without_window_has_none_here(tmp_path):
    path = film(tmp_path / "film", drop=("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"))
    state = state_of(path, tmp_path / "out")
    assert "SoftcopyVOILUTSequence" not in state and "RescaleSlope" not in state


def test_a_map_that_is_nowhere_above_0_marks_nothing_and_still_says_the_score(tmp_path):
    state = state_of(film(tmp_path / "film"), tmp_path / "out", maps=[dataclasses.replace(MAP, heat=-blob() - 1)])
    assert graphics(state) == []
    assert state.GraphicAnnotationSequence[0].TextObjectSequence


def test_several_frames_or_colours_have_no_presentation_state(tmp_path):
    with pytest.raises(NotDescribable, match="no single grey image"):
        state_of(film(tmp_path / "frames", NumberOfFrames=2), tmp_path / "out")
    with pytest.raises(ValueError, match="none was given"):
        presentation_state(read_source(film(tmp_path / "film")), DEVICE, SCORED, "", [])
