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


# Japanese, Chinese, Korean, Russian, Ukrainian, Bulgarian, Greek, Arabic, Hebrew, Thai; Dutch, Polish, Czech,
# Hungarian, Turkish, Romanian, Croatian, Finnish, Swedish, Danish, Vietnamese, Indonesian; and those from above.
FRONTAL_CHEST_ELSEWHERE = (
    "胸部正面", "胸部 PA 立位", "胸部ＰＡ", "胸部X線 2方向", "胸部2方向 正面・側面", "胸部正側",
    "胸部 AP ポータブル", "胸部 腹臥位", "胸部正侧位", "胸部后前位", "胸片 正位", "胸部DR正位", "胸部正位+侧位",
    "흉부 정면", "흉부 PA", "흉부정측면", "Chest PA 흉부후전상", "흉부 AP 침상", "Грудная клетка прямая",
    "ОГК в 2 проекциях, прямая и боковая", "ОГК в прямой и левой боковой проекции",
    "Рентгенография органов грудной клетки обзорная", "Лёгкие задне-передняя", "Легені пряма",
    "Гръден кош фас и профил, ЗАДНА", "ΘΩΡΑΚΑΣ ΟΠΙΣΘΙΟΠΡΟΣΘΙΑ", "Ακτινογραφία θώρακος", "أشعة على الصدر أمامي",
    "צילום חזה", "ทรวงอก ด้านหน้า PA", "X-thorax 2 richtingen", "Thorax PA en lateraal",
    "Thorax voor-achterwaarts en zijdelings", "Thorax in 2 vlakken", "Klatka piersiowa PA", "RTG klp PA i bok",
    "RTG płuc przednio-tylne + boczne", "Klatka piersiowa 2 rzuty", "Hrudník PA",
    "Srdce a plíce zadopřední a bočná", "Mellkas PA", "Mellkas kétirányú", "Tüdőfelvétel", "Akciğer grafisi PA",
    "Göğüs 2 yönlü (PA+yan)", "PA AC GRAFİSİ", "Radiografie toracică PA și profil", "Pluća PA",
    "Pluća i srce PA i profil", "Keuhkokuva PA ja sivu", "Keuhkot etukuva", "Lungor PA",
    "Lungröntgen frontal + sidobild", "Thorax PA og sidebilde", "X-quang ngực thẳng",
    "X quang tim phổi thẳng nghiêng", "Foto toraks PA", "Foto paru AP", "Thorax a.p. im Bett", "PA und seitlich",
    "PA et profil", "PA y lateral", "PA e LL", "PA en dwars", "Tele de thorax PA", "RX TORACE AP LETTO",
    "Radio pulmonaire de face debout", "Radiografia do tórax em PA e perfil", "Postero-anterior and lateral",
)  # fmt: skip
OTHER_VIEW_ELSEWHERE = (
    "胸部側面", "胸部 側面 L→R", "胸部側位", "胸部侧位片", "胸部左侧位", "胸部斜位", "胸部 側臥位", "흉부 측면",
    "흉부 좌측면", "ОГК боковая", "Легкие левый бок", "Грудная клетка, правая боковая проекция", "Бічна проекція",
    "Гръден кош профил", "ΑΚΤΙΝΟΓΡΑΦΙΑ ΘΩΡΑΚΟΣ ΠΛΑΓΙΑ", "اشعة صدر جانبي", "צילום חזה צד", "צילום חזה לטרלי",
    "ทรวงอก ด้านข้าง", "Thorax zijdelings", "X-thorax lateraal", "Thorax dwars", "Thorax profiel",
    "RTG klatki piersiowej bok", "Kl. piersiowa boczne", "Hrudník bočný", "RTG S+P bočná projekce",
    "Mellkas oldalirányú", "Mellkas lateralis", "Akciğer yan grafi", "Toraks yan", "Rx toracic profil", "Pluća LL",
    "Pluća profil", "Thorax sivukuva", "Keuhkot sivulta", "Lungröntgen sidobild", "Thorax sidebilde",
    "X quang tim phổi nghiêng", "Foto thorax samping", "ChestLat", "Lat Chest", "CHEST_LAT", "CHEST LLAT",
    "ThoraxLateral", "W Chest Lat L-R", "Th. seitl. li. anl.", "Radio poumons profil gauche",
    "RX TORAX LATERAL IZQ", "Torace L.L.", "Raio-X tórax perfil esquerdo", "X-table", "Krūtinė, šoninė",
    "Thorax sidoprojektion", "Thorax sidebillede", "Pljuča stranska", "Akciğer yandan", "Thorax kyljeltä",
    "Krūtinė šonas", "Plaušas sānskats",
)  # fmt: skip
OTHER_PART_ELSEWHERE = (
    "胸椎", "腰椎 正面", "腹部", "膝関節", "頭部", "手指", "흉추", "복부", "무릎", "Коленный сустав",
    "Органы брюшной полости", "Грудной отдел позвоночника", "בטן", "بطن", "Buikoverzicht", "Wervelkolom", "Bekken",
    "Jama brzuszna", "Kręgosłup", "Kolano", "Lonkka", "Vatsa", "Ryggrad", "Gerinc", "Batın grafisi",
    "Coloana lombară", "Füße beidseits", "肋骨",
)  # fmt: skip
IDIOMS_ELSEWHERE = ("手術後", "barking cough", "Karin", "Prone 腹臥位", "pulse", "Pater", "has fever")


@pytest.mark.parametrize("text", FRONTAL_CHEST + FRONTAL_CHEST_ELSEWHERE)
def test_a_frontal_chest_image_is_not_taken_for_another(text):
    words = words_of(text)
    assert not names_other_view(words) or names_frontal_view(words)
    assert not names_other_part(words) or names_chest(words)


@pytest.mark.parametrize("text", OTHER_VIEW + OTHER_VIEW_ELSEWHERE)
def test_another_view_alone_is_seen(text):
    words = words_of(text)
    assert names_other_view(words) and not names_frontal_view(words)


@pytest.mark.parametrize("text", IDIOMS + IDIOMS_ELSEWHERE)
def test_words_that_mean_no_part_of_the_body_name_none(text):
    assert not names_other_part(words_of(text))


@pytest.mark.parametrize("text", OTHER_PART + OTHER_PART_ELSEWHERE)
def test_another_part_alone_is_seen(text):
    words = words_of(text)
    assert names_other_part(words) and not names_chest(words)


@pytest.mark.parametrize("text", ["Abdomen and chest", "Chest; knee pain", "Thorax + BWS", "SPINE SURVEY CHEST"])
def test_the_chest_beside_another_part_is_named(text):
    assert names_chest(words_of(text))


@pytest.mark.parametrize(
    ("text", "views"),
    [
        *(
            (text, {"PA"})
            for text in ("P->A", "后前位", "背腹", "흉부후전상", "postero-anterior", "Zadopřední", "arka-ön")
        ),
        *((text, {"AP"}) for text in ("A→P", "前后位", "腹背方向", "anterior/posterior", "przednio-tylne", "ön arka")),
        ("Chest P.A.", {"PA"}),
        ("AP or PA", {"AP", "PA"}),
        ("Japan", set()),
        ("ChestPA", {"PA"}),
        ("PAX", set()),
    ],
)
def test_pa_and_ap_are_words_of_their_own(text, views):
    assert frontal_views(words_of(text)) == views


@given(st.text(max_size=200))
def test_any_text_is_read(text):
    words = words_of(text)
    for ask in (names_chest, names_other_part, names_other_view, names_frontal_view):
        assert ask(words) in (True, False)
