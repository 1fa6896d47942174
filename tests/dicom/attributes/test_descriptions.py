"""Free text as hospitals write it: what must not cost a good image, and what must not let another one pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexkeras.dicom.attributes.descriptions import (
    frontal_views,
    names_chest,
    names_frontal_view,
    names_other_part,
    names_other_view,
    words_of,
)

FRONTAL_CHEST = (
    "CHEST PA", "Thorax pa", "Thorax stehend p.a./seitl.", "RX TORAX PA Y LAT", "THORAX FACE", "Thorax liegend",
    "CHEST 1V PORT", "Chest AP supine bedside line placement", "CXR post ETT", "RX TORAX DECUBITO SUPINO",
    "T\u00f3rax em dec\u00fabito", "Torace in decubito supino", "Thorax en d\u00e9cubitus", "CHEST DORSAL DECUBITUS",
    "CHEST FRONT AND LAT", "CHEST FRNT/LAT", "CHESTPA LAT", "ChestPA/Lat", "Thorax F/Profil", "TORAX 2P (F Y PERFIL)",
    "Thorax d.v. / lat", "Thorax sagittal und seitlich", "CHEST 2 VIEWS W LATERAL", "Chest 2 views w/ oblique",
    "Thorax 2 Ebenen seitl.", "Torace 2 proiezioni (LL)", "Chest (laterality unspecified)", "Thorax Oblast",
    "Thorax Lateralit\u00e4t: k.A.", "pneumonia LL", "bilateral", "face et profil", "frente y perfil",
)  # fmt: skip
OTHER_VIEW = (
    "Lateral", "Chest LAT", "LLAT", "Thorax seitl.", "de profil", "T\u00f3rax perfil", "LEFT LATERAL DECUBITUS",
    "CHEST DECUBITUS RIGHT", "dec\u00fabito lateral", "Chest oblique", "RAO", "LORDOTIC", "Lord\u00f3tica", "CHEST LL",
    "L-L", "Cross table", "Thorax links anliegend", "Seitenaufnahme", "Schr\u00e4g", "OAD", "W Chest Lat",
)  # fmt: skip
IDIOMS = (
    "sinus tachycardia", "Arms abducted", "ABDULLAH", "Port Head up 45", "Foot of bed", "Hand held", "NECK LINE",
    "Breast Ca", "FINGER CLUBBING", "Pre-op hip", "post ETT", "TORAX DE PIE", "Thoracic surgery",
)  # fmt: skip
OTHER_PART = (
    "KNEE", "Kniegelenk", "Schultergelenk", "Becken\u00fcbersicht", "Wirbels\u00e4ule", "Rippen", "Abdomen", "Addome",
    "Ginocchio", "Spalla", "Bacino", "Coluna", "Joelho", "Mano", "Rachis", "Columna", "H\u00fcfte", "Sch\u00e4del",
    "C\u00f4tes", "Costillas", "Sternum", "Lumbar spine", "Cervical", "Patella", "Scapula", "Mandible",
    "Barium swallow", "Thoracic Spine AP", "Thoracic vertebrae", "BWS", "T-SPINE", "RIBS", "KUB", "Paranasal sinuses",
    "Shoulder",
)  # fmt: skip


@pytest.mark.parametrize("text", FRONTAL_CHEST)
def test_a_frontal_chest_image_is_not_taken_for_another(text):
    words = words_of(text)
    assert not names_other_view(words) or names_frontal_view(words)
    assert not names_other_part(words) or names_chest(words)


@pytest.mark.parametrize("text", OTHER_VIEW)
def test_another_view_alone_is_seen(text):
    words = words_of(text)
    assert names_other_view(words) and not names_frontal_view(words)


@pytest.mark.parametrize("text", IDIOMS)
def test_words_that_mean_no_part_of_the_body_name_none(text):
    assert not names_other_part(words_of(text))


@pytest.mark.parametrize("text", OTHER_PART)
def test_another_part_alone_is_seen(text):
    words = words_of(text)
    assert names_other_part(words) and not names_chest(words)


@pytest.mark.parametrize("text", ["Abdomen and chest", "Chest; knee pain", "Thorax + BWS", "SPINE SURVEY CHEST"])
def test_the_chest_beside_another_part_is_named(text):
    assert names_chest(words_of(text))


@pytest.mark.parametrize(
    ("text", "views"),
    [("Chest P.A.", {"PA"}), ("AP or PA", {"AP", "PA"}), ("Japan", set()), ("ChestPA", {"PA"}), ("PAX", set())],
)
def test_pa_and_ap_are_words_of_their_own(text, views):
    assert frontal_views(words_of(text)) == views


@given(st.text(max_size=200))
def test_any_text_is_read(text):
    words = words_of(text)
    for ask in (names_chest, names_other_part, names_other_view, names_frontal_view):
        assert ask(words) in (True, False)
