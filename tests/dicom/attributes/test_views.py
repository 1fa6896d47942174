import pytest

from chexkeras.dicom.attributes.views import find_view
from chexkeras.dicom.header import Header
from chexkeras.dicom.profiles import CLINICAL, COURSE
from tests.dicom.dicom_images import code_item, image, ramp


def _header(**tags):
    return Header(image(ramp(4, 4), **tags))


def _view(profile=CLINICAL, **tags):
    return find_view(_header(**tags), profile.view_sources)


@pytest.mark.parametrize("written", ["PA", "pa ", "POSTERO-ANTERIOR", "POSTERO_ANTERIOR", "POSTEROANTERIOR"])
def test_spellings_of_postero_anterior_are_folded(written):
    assert _view(ViewPosition=written).value == "PA"


@pytest.mark.parametrize(
    "written",
    [
        *(
            "LL",
            "RL",
            "LATERAL",
            "LLD",
            "RLO",
            "LLO",
            "OBLIQUE",
            "XX",
            "PA\\LL",
            "AP_LAT",
            "PA/LAT",
            "XTABLE",
            "AP X-TABLE",
        ),
        *("X TABLE LAT", "AP DECUB", "PA OBL", "FRONTAL", "DV", "側面", "боковая", "PAL", "LAO"),
    ],
)
def test_any_other_view_is_named_but_not_frontal(written):
    answer = _view(ViewPosition=written)
    assert (answer.value, answer.source) == ("", "ViewPosition")


@pytest.mark.parametrize(
    ("tags", "value", "source"),
    [
        ({"ViewCodeSequence": code_item("399348003")}, "AP", "ViewCodeSequence"),
        ({"ViewCodeSequence": code_item("R-10214", scheme="SRT")}, "PA", "ViewCodeSequence"),
        ({"ViewCodeSequence": code_item("399173006")}, "", "ViewCodeSequence"),
        ({"PatientPosition": "AP"}, "AP", "PatientPosition"),
        ({"PatientPosition": "HFS"}, "", ""),
        ({"SeriesDescription": "view: AP"}, "AP", "SeriesDescription"),
        ({"SeriesDescription": "Chest pa erect"}, "PA", "SeriesDescription"),
        ({"SeriesDescription": "Chest PA and lateral"}, "", "SeriesDescription"),
        ({"SeriesDescription": "PA or AP"}, "", ""),
        ({"SeriesDescription": "Japan"}, "", ""),
        ({}, "", ""),
    ],
)
def test_where_view_position_is_empty_the_other_tags_are_asked_in_order(tags, value, source):
    answer = _view(ViewPosition="", **tags)
    assert (answer.value, answer.source) == (value, source)


def test_the_first_tag_that_answers_wins_and_the_other_is_kept():
    answer = _view(ViewPosition="PA", PatientPosition="AP")
    assert (answer.value, answer.also, answer.also_source) == ("PA", "AP", "PatientPosition")
    assert _view(ViewPosition="PA", ViewCodeSequence=code_item("399173006")).also == "399173006"
    three = _view(ViewPosition="PA", PatientPosition="AP", ViewCodeSequence=code_item("399173006"))
    assert three.also == "399173006"


@pytest.mark.parametrize("keyword", ["SeriesDescription", "ProtocolName"])
@pytest.mark.parametrize(
    "text", ["Lateral", "Chest LAT", "Thorax seitl.", "de profil", "Tórax perfil", "LEFT DECUBITUS"]
)
def test_a_description_of_another_view_alone_contradicts_a_coded_one(keyword, text):
    answer = _view(ViewPosition="PA", PatientPosition="PA", **{keyword: text})
    assert (answer.value, answer.also, answer.also_source, answer.study) == ("PA", "", keyword, False)
    answer = _view(ViewPosition="PA", StudyDescription=text)
    assert (answer.value, answer.also_source, answer.study) == ("PA", "", True)


@pytest.mark.parametrize(
    "text", ["Chest PA and lateral", "CHEST P.A. + LAT", "face et profil", "frente y perfil", "bilateral", "PA", "x"]
)
def test_a_description_that_names_a_frontal_view_too_is_no_contradiction(text):
    answer = _view(ViewPosition="PA", SeriesDescription=text, ProtocolName=text, StudyDescription=text)
    assert (answer.value, answer.also_source, answer.study) == ("PA", "", False)


def test_a_description_can_swap_pa_and_ap_and_one_of_both_swaps_nothing():
    answer = _view(ViewPosition="PA", ProtocolName="Chest A.P. erect")
    assert (answer.value, answer.also, answer.also_source) == ("PA", "AP", "ProtocolName")
    assert _view(ViewPosition="PA", ProtocolName="Chest PA or AP").also_source == ""
    # The other view weighs more.
    answer = _view(ViewPosition="PA", SeriesDescription="AP", ProtocolName="lateral")
    assert (answer.also, answer.also_source) == ("", "ProtocolName")


@pytest.mark.parametrize(
    ("written", "view"),
    [
        *[
            (text, "PA")
            for text in ("P.A.", "p. a.", "PA ERECT", "PA UPRIGHT", "PA\\PA", "PA\\P.A.", "CHEST PA", "PA stehend")
        ],
        *[
            (text, "AP")
            for text in (
                "A.P.",
                "AP SUPINE",
                "PORTABLE AP",
                "SEMIERECT AP",
                "AP SEMI-ERECT",
                "AP SUP",
                "AP/BED",
                "AP Liegend",
            )
        ],
        *[(text, "PA") for text in ("P->A", "PA 1", "PA GRID", "PA DEBOUT", "PA DE PIE", "PA 立位", "后前位")],
        *[
            (text, "AP")
            for text in ("AP SEMI", "A->P", "AP EN CAMA", "AP LETTO", "AP WHEELCHAIR", "Anterior-Posterior")
        ],
        *[(text, "") for text in ("PA\\AP", "PA\\LATERAL", "ERECT", "PA OBLIQUE", "AP DECUBITUS", "LATERAL SUPINE")],
    ],
)
def test_postures_and_repetitions_change_no_view(written, view):
    answer = _view(ViewPosition=written)
    assert (answer.value, answer.source) == (view, "ViewPosition")


def test_the_course_profile_reads_the_view_from_patient_position_only():
    assert _view(COURSE, ViewPosition="PA").source == ""
    assert _view(COURSE, PatientPosition="PA").value == "PA"
    assert _view(COURSE, PatientPosition="XX").named == "XX"


def test_free_text_is_never_part_of_the_view():
    assert _view(ViewPosition="", SeriesDescription="lateral John Doe").named == ""
