import pytest

from chexkeras.dicom.attributes.subjects import find_computed, find_test_object, is_animal, is_secondary
from chexkeras.dicom.header import Header
from tests.dicom.dicom_images import code_item, image, ramp

SERIES = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")

ANIMALS = (
    "CANINE THORAX", "FELINE thorax", "Equine chest", "Veterinary chest", "Tierklinik Thorax", "canino tórax",
    "DOG", "cat", "DOG CHEST PA", "Thorax Hund", "Hund Thorax VD", "THORAX CHIEN PROFIL", "Torax perro lateral",
    "RX TORACE CANE LL", "gato torax", "Cat thorax 2 views", "Thorax kat", "犬 胸部", "猫胸部正面",
    "Собака грудная клетка", "강아지 흉부", "獣医 胸部", "HORSE",
)  # fmt: skip
PEOPLE = (
    "CHEST PA", "DOG BITE CHEST", "CAT SCAN FOLLOW UP", "CHEST PRIOR TO CAT SCAN", "kicked by horse",
    "fall from horse", "cat scratch disease", "Dr Hund Thorax", "Katzenallergie", "Hundebiss", "bovine arch",
    "s/p bovine valve", "Porcine AVR", "avian influenza", "cauda equina", "CHAT GPT", "walks with cane", "狂犬病",
    "Veteran", "VETERANS HOSPITAL CHEST", "Foxhound", "Catheter", "Categorical", "Doge",
    "thorax pig-tail catheter", "Chatham", "PERROT", "monkeypox", "rabbit allergy",
)  # fmt: skip
TEST_OBJECTS = (
    "CHEST PA QA PHANTOM", "Phantom", "QC", "QA chest", "Daily QC", "Quality control", "Konstanzprüfung",
    "Fantôme thorax", "fantoma", "TEST", "Test 2", "TEST IMAGE", "Testbild", "Flat field", "Detector calibration",
    "TG18-QC", "胸部ファントム", "体模", "Фантом", "Contrôle de qualité", "Qualitätskontrolle",
    "control de calidad",
)  # fmt: skip
NO_TEST_OBJECTS = (
    "Phantom limb pain", "TB test positive", "stress test", "COVID test pending", "Mantoux-Test", "CLINIQUE QC",
    "latest", "CHEST PA", "Phantomschmerz", "calibre change", "protest", "Phantom pain, chest PA",
)  # fmt: skip
COMPUTED = (
    "AI RESULT HEATMAP OVERLAY", "Bone suppressed", "Bone Suppression", "CHEST PA BONE SUPPRESSION",
    "Rib suppression", "Dual energy soft tissue", "SOFT TISSUE IMAGE", "Subtraction", "Stitched",
    "Knochensubtraktion", "suppression osseuse", "supresión ósea", "Screenshot", "Dose report", "Tube enhancement",
    "AI analysis", "Tomosynthesis", "骨抑制", "heat map", "Companion view", "Montage",
    "CAD marks", "Chest topogram", "CT scout", "Soft tissue DES",
)  # fmt: skip
AS_TAKEN = (
    "CHEST PA", "No overlay", "AI", "CAD known", "bone metastases", "soft tissue swelling", "line placement",
    "stitch abscess", "dose 5 mg", "PTX?", "Bones", "rib fracture", "AIR under diaphragm", "post PTX",
    "CHEST PA W/O GRID", "tube check", "scout view", "CAD and COPD", "camera",
)  # fmt: skip


def _header(**tags):
    return Header(image(ramp(4, 4), **tags))


@pytest.mark.parametrize("text", ANIMALS)
def test_an_animal_is_seen_in_every_description(text):
    for keyword in (*SERIES, "StudyDescription"):
        assert is_animal(_header(**{keyword: text}))


@pytest.mark.parametrize("text", PEOPLE)
def test_people_who_meet_animals_are_people(text):
    assert not is_animal(_header(SeriesDescription=text, StudyDescription=text))


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientSpeciesDescription": "Canis familiaris"},
        {"PatientSpeciesCodeSequence": code_item("448771007")},
        {"PatientBreedDescription": "Labrador"},
        {"PatientSexNeutered": "ALTERED"},
        {"ResponsiblePersonRole": "OWNER"},
        {"AnatomicalOrientationType": "QUADRUPED"},
    ],
)
def test_tags_of_veterinary_images_tell(tags):
    assert is_animal(_header(**tags))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Human",
        "Homo sapiens",
        "HOMO_SAPIENS",
        "Humain",
        "Mensch",
        "человек",
        "人",
        "ヒト",
        "사람",
        "unknown",
        "N/A",
    ],
)
def test_human_is_human_in_any_language(written):
    tags = {
        "PatientSpeciesDescription": written,
        "PatientBreedDescription": written,
        "SpecificCharacterSet": "ISO_IR 192",
    }
    assert not is_animal(_header(**tags, ResponsiblePersonRole="PARENT", AnatomicalOrientationType="BIPED"))


@pytest.mark.parametrize("text", TEST_OBJECTS)
def test_a_phantom_or_test_is_seen_in_every_description(text):
    for keyword in (*SERIES, "StudyDescription"):
        assert find_test_object(_header(**{keyword: text})) == keyword


@pytest.mark.parametrize("text", NO_TEST_OBJECTS)
def test_tests_of_patients_are_no_tests_of_machines(text):
    assert find_test_object(_header(SeriesDescription=text, StudyDescription=text)) == ""


def test_an_image_for_quality_control_says_so():
    assert find_test_object(_header(QualityControlImage="YES")) == "QualityControlImage"
    assert (
        find_test_object(_header(QualityControlImage="NO"))
        == find_test_object(_header(QualityControlImage="BOTH"))
        == ""
    )


@pytest.mark.parametrize("text", COMPUTED)
def test_a_computed_image_is_seen_in_the_descriptions_of_its_own(text):
    for keyword in (*SERIES, "DerivationDescription"):
        assert find_computed(_header(**{keyword: text})) == keyword
    # Of a study, the images as taken are part as well.
    assert find_computed(_header(StudyDescription=text)) == ""


@pytest.mark.parametrize("text", AS_TAKEN)
def test_an_image_as_taken_is_not_taken_for_a_computed_one(text):
    assert find_computed(_header(SeriesDescription=text, DerivationDescription=text)) == ""


@pytest.mark.parametrize(
    "value",
    [
        *(
            "BONE",
            "SOFT_TISSUE",
            "AI HEATMAP",
            "AIHEATMAP",
            "OVERLAY",
            "SUBTRACTION",
            "LOCALIZER",
            "MOSAIC",
            "STITCHED",
            "DRR",
        ),
        *("TOMOSYNTHESIS", "SCREENSHOT", "CAD", "DUAL_ENERGY", "COMPOSED"),
        *("GRADCAM", "SEGMENTATION", "LUNG MASK", "SYNTHETIC", "GAN", "FAKE", "MPR"),
    ],
)
def test_what_makers_add_to_the_image_type_tells(value):
    assert find_computed(_header(ImageType=["DERIVED", "PRIMARY", "", value])) == "ImageType"
    assert find_computed(_header(ImageType=["ORIGINAL", "PRIMARY", value])) == "ImageType"


@pytest.mark.parametrize(
    ("kind", "secondary"),
    [
        (["ORIGINAL", "PRIMARY"], False),
        (["DERIVED", "PRIMARY"], False),
        (["DERIVED", "PRIMARY", "", "RAD"], False),
        (["DERIVED", "PRIMARY", "POST_PROCESSED", "", "", "", "100000"], False),
        (["ORIGINAL", "PRIMARY", "CHEST"], False),
        ("", False),
        ("DERIVED", False),
        (["DERIVED", "SECONDARY"], True),
        (["ORIGINAL", "SECONDARY", "OTHER"], True),
    ],
)
def test_the_usual_types_are_those_of_images_as_taken(kind, secondary):
    assert find_computed(_header(ImageType=kind)) == ""
    assert is_secondary(_header(ImageType=kind)) is secondary
