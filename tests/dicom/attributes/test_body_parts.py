import pytest

from chexkeras.dicom.attributes.body_parts import find_body_part
from chexkeras.dicom.header import Header
from chexkeras.dicom.profiles import CLINICAL
from tests.dicom.dicom_images import code_item, image, ramp

# In other languages, and with letters that were lost.
CHEST_ELSEWHERE = (
    "PECHO", "T?RAX", "T??RAX", "胸部", "胸部正面", "胸", "흉부", "ГРУДЬ", "Грудная клетка", "ОГК", "PLUCA",
    "Płuca", "BRÖSTKORG", "BR?STKORG", "BORST", "KLATKA PIERSIOWA", "GÖĞÜS", "MELLKAS", "HRUDNIK", "RINTA",
    "PULM?N", "THX", "PEITO", "POITRINE", "ΘΩΡΑΚΑΣ", "صدر", "ทรวงอก", "NGỰC", "DADA", "CHEST DE PIE", "胸部 立位",
    "THORAX IM LIEGEN",
)  # fmt: skip
OTHER_PART_ELSEWHERE = (
    "胸椎", "胸骨", "腹部", "胸部側面", "胸部と腹部", "흉추", "Грудной отдел позвоночника", "RINTALASTA",
    "THORAXLATERAL", "BRUST WIRBEL", "CHEST X-TABLE", "BUIK", "Тело", "WAS?",
)  # fmt: skip


def _header(**tags):
    return Header(image(ramp(4, 4), **tags))


def _part(**tags):
    return find_body_part(
        _header(**tags), CLINICAL.body_parts, qualifiers=CLINICAL.body_part_qualifiers, fallbacks=True
    )


@pytest.mark.parametrize(
    "written",
    [
        *["CHEST", "chest ", "Thorax", "LUNG", "PORT_CHEST", "CHEST\\THORAX", "THORAX PA", "THORAX_AP", "CHEST X-RAY"],
        *["CHEST 2 VIEWS", "CHEST 1 VIEW", "CXR", "CHEST P.A.", "TÓRAX", "TO\u0301RAX", "TÃ\x93RAX", "chest portable"],
        *["CHEST/THORAX", "TORACE", "Pulmão", "CHEST SEMI ERECT", "CHEST 3 VIEWS", "CHEST 2V", "Thorax liegend"],
        *CHEST_ELSEWHERE,
    ],
)
def test_synonyms_of_chest_are_folded(written):
    assert _part(BodyPartExamined=written).value == "CHEST"


@pytest.mark.parametrize(
    "written",
    [
        *["RIBCAGE", "KNEE", "CHESTABDOMEN", "CHEST\\ABDOMEN", "TSPINE", "CHEST LATERAL", "CHEST ABDOMEN", "PA"],
        *["2 VIEWS", "CHEST LL", "THORAX LATERAL", "THORACIC SPINE", "CHEST SPINE"],
        *OTHER_PART_ELSEWHERE,
    ],
)
def test_another_body_part_is_named(written):
    answer = _part(BodyPartExamined=written)
    assert (answer.value, answer.source) == ("", "BodyPartExamined")
    assert answer.named


@pytest.mark.parametrize(
    ("tags", "value", "source"),
    [
        ({"AnatomicRegionSequence": code_item("816094009")}, "CHEST", "AnatomicRegionSequence"),
        ({"AnatomicRegionSequence": code_item("T-D3000", scheme="SRT")}, "CHEST", "AnatomicRegionSequence"),
        ({"AnatomicRegionSequence": code_item("72696002")}, "", "AnatomicRegionSequence"),
        ({"StudyDescription": "THORAX"}, "CHEST", "StudyDescription"),
        ({"SeriesDescription": "Chest PA"}, "CHEST", "SeriesDescription"),
        ({"ProtocolName": "left knee 2 views"}, "", "ProtocolName"),
        ({"StudyDescription": "Chest and abdomen"}, "", ""),
        ({"StudyDescription": "follow-up"}, "", ""),
        ({}, "", ""),
    ],
)
@pytest.mark.parametrize("empty", ["", "UNKNOWN", "n/a"])
def test_where_body_part_is_empty_the_other_tags_are_asked_in_order(tags, value, source, empty):
    answer = _part(BodyPartExamined=empty, **tags)
    assert (answer.value, answer.source) == (value, source)


def test_a_region_that_contradicts_the_body_part_is_kept():
    assert _part(AnatomicRegionSequence=code_item("72696002")).also == "72696002"


@pytest.mark.parametrize("keyword", ["SeriesDescription", "ProtocolName"])
@pytest.mark.parametrize("text", ["KNEE", "Abdomen", "rodilla", "Schädel", "L-Spine"])
def test_a_description_of_another_part_alone_contradicts_the_chest(keyword, text):
    answer = _part(**{keyword: text})
    assert (answer.value, answer.also, answer.also_source, answer.study) == ("CHEST", "", keyword, False)
    answer = _part(StudyDescription=text)
    assert (answer.value, answer.also_source, answer.study) == ("CHEST", "", True)
    region = code_item("816094009")
    assert _part(BodyPartExamined="", AnatomicRegionSequence=region, **{keyword: text}).also_source == keyword


@pytest.mark.parametrize("text", ["Chest and abdomen", "follow-up", "PA", "CHEST RIBS", "Tórax"])
def test_a_description_with_the_chest_or_no_part_at_all_is_no_contradiction(text):
    answer = _part(SeriesDescription=text, ProtocolName=text, StudyDescription=text)
    assert (answer.value, answer.also_source, answer.study) == ("CHEST", "", False)


def test_free_text_is_never_part_of_the_answer():
    assert _part(BodyPartExamined="", StudyDescription="knee of John Doe").named == ""


@pytest.mark.parametrize("encoding", ["utf-8", "shift_jis", "gb18030", "iso2022_jp"])
def test_code_strings_in_other_character_sets_are_read(encoding):
    assert _part(BodyPartExamined="胸部".encode(encoding).decode("latin-1")).value == "CHEST"
    assert _part(BodyPartExamined="腹部".encode(encoding).decode("latin-1")).value == ""
