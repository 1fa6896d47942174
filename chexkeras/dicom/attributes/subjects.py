"""What was exposed and what was made of it: a person or an animal, a test object, an image as taken or one computed."""

import re

from chexkeras.dicom.attributes import descriptions, vocabulary
from chexkeras.dicom.attributes.charsets import letters
from chexkeras.dicom.attributes.evidence import OF_THE_SERIES, OF_THE_STUDY, described
from chexkeras.dicom.attributes.vocabulary import pattern_of
from chexkeras.dicom.header import Header

# SNOMED CT, and both SNOMED RT codes in use for Homo sapiens.
_HUMAN_CODES = frozenset({"337915000", "L-85B00", "L-85003"})
_HUMAN_WORDS = re.compile(
    r"|UNKNOWN|NONE|N ?A|HUMANS?( BEING)?|HOMO( SAPIENS)?|H SAPIENS|PERSON|MAN|MENSCH|MENS|HUMAIN|HUMANO|UMANO|MENNESKE"
    r"|MANNISKA|IHMINEN|CZLOWIEK|CLOVEK|EMBER|INSAN|" + letters("ЧЕЛОВЕК|ЛЮДИНА|人|人間|人类|ヒト|사람|인간")
)
_VETERINARY = pattern_of(
    r"""
    CANINE CANIN[AO]? CANIS FELINE FELIN[AO]? FELIS EQUINE EQUIN[AO] EQUUS BOVINE AVIAN PORCINE OVINE CAPRINE
    VETERINA\w* TIERKLINIK TIERARZT\w*
    """,
    "ВЕТЕРИНАР 獣医 動物病院 兽医 宠物 동물병원",
)
# Implants made of animals, a variant of the aorta, nerves and infections.
_OF_HUMANS = pattern_of(
    r"""
    (?:BOVINE|PORCINE|EQUINE)_(?:ARCH|AORTIC|VALVE\w*|PERICARD\w*|XENO\w*|BIO\w*|[AM]VR|TAVI|GRAFT|PATCH|TB|TUBERC\w*)
    AVIAN_(?:FLU|INFLUENZA|H5\w*) CAUDA_EQUINA
    """
)
# These bite, kick and scratch patients and give scans and people their names: they count where nothing else is said.
_ANIMALS = pattern_of(
    """
    DOGS? CATS? HORSE PONY RABBIT FERRET MONKEY MACAQUE HUND KATZE PFERD KANINCHEN CHIENN?E? CHAT CHEVAL PERR[AO]
    GAT[AO] CABALLO CACHORRO CAO CANE GATT[AO] CAVALLO HOND KAT KATT KONIJN KOIRA KISSA KOT KUTYA MACSKA KOPEK KEDI
    """,
    "СОБАКА КОШКА 犬 猫 狗 고양이 강아지",
)
_NOTHING_ELSE = (vocabulary.CHEST, vocabulary.OTHER_PART, vocabulary.OTHER_VIEW, vocabulary.SAYS_FRONTAL)
_RADIOGRAPHY = frozenset(("X RAY XRAY RX XR RTG VIEW L R LL RL LEFT RIGHT " + letters("КЛЕТКА КЛЕТКИ")).split())

_TEST_OBJECT = pattern_of(
    r"""
    PHANTOMS? FANTOM\w* QUALITY_(?:CONTROL|ASSURANCE|CHECK) QUALITATS(?:KONTROLLE|SICHERUNG) CONTROLE_DE_QUALIT\w*
    CONTROL_DE_CALIDAD CONTROLLO_DI_QUALITA KONSTANZPR\w* KALIBR\w* CALIBRA\w* FLAT_?FIELD UNIFORMITY TG_?18 SMPTE
    (?:DAILY|WEEKLY|MONTHLY|ANNUAL|DETECTOR|DR|CR)_(?:QA|QC) (?:QA|QC)_(?:TEST|CHECK|IMAGES?|SHOT|EXPOSURE)
    (?:TEST|CHECK)_(?:IMAGES?|PATTERN|OBJECT|SHOT|EXPOSURE|PLATE|BILD) TEST(?:BILD|AUFNAHME|KORPER|OBJEKT)\w*
    """,
    "ФАНТОМ КОНТРОЛЬ_КАЧЕСТВА ファントム 模体 体模 팬텀 品質管理 质量控制 テスト画像",
    r"^(?:QA|QC)\b ^TEST(?:\s?\d+)?$",
)
_TEST_IDIOMS = pattern_of(r"PHANTOM_(?:LIMB|PAIN|TUMOU?R|SCHMERZ\w*)")

# What makers add from the third value on.
_COMPUTED_TYPES = pattern_of(
    r"""
    AI CAD \w*HEAT_?MAP\w* SALIENCY OVERLAY\w* SUBTRACT\w* DUAL_ENERGY BONE SOFT TISSUE BSI SUPPRESS\w* LOCALI[SZ]ER
    MOSAIC STITCH\w* COMPOS\w* COLLAGE MONTAGE MIP DRR TOMO\w* RECON\w* REFORMAT\w* SCREEN_?(?:SHOT|SAVE|CAPTURE)
    ANNOTATED REPORT PHANTOM QC QA GRAD_?CAM\w* CAM SEGMENT\w* \w*MASK SYNTHETIC GENERATED GAN FAKE MPR
    """
)
_COMPUTED = pattern_of(
    r"""
    \w*HEAT_?MAPS? SALIENCY GRAD_?CAM (?<!NO_)(?<!WITHOUT_)OVERLAYS? AI_(?:RESULT\w*|OUTPUT|ANALYSIS|CAD|FINDING\w*)
    AI_REPORT (?:BONE|RIB)S?_?(?:SUPPRE\w*|SUBTR\w*|ONLY|IMAGE|SELECTIVE|FREE|REMOV\w*)
    SUPPRESS(?:ED|ION)_(?:BONE|RIB)S? SOFT_?TISSUE_(?:ONLY|IMAGE|SEL\w*) KNOCHEN(?:UNTERDRUCK\w*|SUBTRAKT\w*)
    DUAL_ENERGY SUPP?RESS?ION_(?:OS|HUES)\w* SUBTRACTI(?:ON|ED) SUBTRAKTION\w* STITCH(?:ED|ING) MOSAIC COLLAGE
    MONTAGE TOMOSYNTHES\w* SCREEN_?(?:SHOT|SAVE|CAPTURE|DUMP)S? DOSE_(?:REPORT|SUMMARY|INFO) COMPANION_(?:VIEW|IMAGE)
    CAD_(?:MARKS?|MARKING\w*|RESULT\w*|OUTPUT) TOPOGRAMM?S? CT_SCOUT SCOUT_CT SOFT_?TISSUE_DES
    (?:TUBE|LINE|CATHETER|PTX|PNEUMOTHORAX)_(?:ENHANC\w*|VISUALI[SZ]\w*)
    """,
    "骨抑制 ヒートマップ 热图 热力图 히트맵 エネルギーサブトラクション ДВУХЭНЕРГ",
)


def is_animal(header: Header) -> bool:
    """Returns whether the patient is no human: by species, breed, owner, neutering, anatomical terms or a description.

    Source:
        PS3.3 C.7.1.1 (Patient Species, Patient Breed, Responsible Person Role), C.7.2.2 (Patient's Sex Neutered).
    """
    codes = header.codes("PatientSpeciesCodeSequence")
    named = (header.text(name) for name in ("PatientSpeciesDescription", "PatientBreedDescription"))
    return (
        (bool(codes) and not _HUMAN_CODES.intersection(codes))
        or not all(_HUMAN_WORDS.fullmatch(descriptions.plain(name)) for name in named)
        or header.word("AnatomicalOrientationType") == "QUADRUPED"
        or header.word("ResponsiblePersonRole") == "OWNER"
        or bool(header.word("PatientSexNeutered"))
        or any(_speaks_of_animal(described(header, keyword)) for keyword in (*OF_THE_SERIES, OF_THE_STUDY))
    )


def _speaks_of_animal(words: str) -> bool:
    if _VETERINARY.search(_OF_HUMANS.sub(" ", words)):
        return True
    if not _ANIMALS.search(words):
        return False
    for pattern in (_ANIMALS, *_NOTHING_ELSE):
        words = pattern.sub(" ", words)
    return all(word in vocabulary.BESIDE | _RADIOGRAPHY or word.isdecimal() for word in words.split())


def find_test_object(header: Header) -> str:
    """Returns the keyword of the tag that says that a phantom or nothing was exposed; empty when none does.

    Source:
        PS3.3 C.7.6.1, Quality Control Image.
    """
    if header.word("QualityControlImage") == "YES":
        return "QualityControlImage"
    for keyword in (*OF_THE_SERIES, OF_THE_STUDY):
        if _TEST_OBJECT.search(_TEST_IDIOMS.sub(" ", described(header, keyword))):
            return keyword
    return ""


def find_computed(header: Header) -> str:
    """Returns the keyword of the tag that says that an image was computed or drawn on; empty when none does.

    Source:
        PS3.3 C.7.6.1.1.2 (Image Type), C.7.6.1.1.3 (Derivation Description).
    """
    if any(_COMPUTED_TYPES.search(descriptions.plain(kind)) for kind in header.texts("ImageType")):
        return "ImageType"
    keywords = (*OF_THE_SERIES, "DerivationDescription")
    return next((keyword for keyword in keywords if _COMPUTED.search(described(header, keyword))), "")


def is_secondary(header: Header) -> bool:
    """Returns whether Image Type says that the image was made after the examination.

    Source:
        PS3.3 C.7.6.1.1.2, value 2.
    """
    return header.texts("ImageType")[1:2] == ("SECONDARY",)
