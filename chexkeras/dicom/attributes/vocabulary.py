r"""The words by which hospitals name the chest, other parts of the body and views, in about thirty languages.

Words in Latin letters stand alone, in upper case and without accents, a space in them as ``_``; languages in the order
English, German, French, Spanish, Portuguese, Italian, Dutch, those of the North, of the East, others. Words in other
letters count within others too, as many are written without spaces. Only words count that are rare in reasons for an
image and in names; so no list is complete.
"""

import re

from chexkeras.dicom.attributes.charsets import letters

# What is written beside a view and does not change it.
POSTURES = (
    *("ERECT", "UPRIGHT", "STANDING", "SITTING", "SEMI", "SEMIERECT", "SEMIUPRIGHT", "SUPINE", "SUP", "LYING"),
    *("RECUMBENT", "STEHEND", "SITZEND", "LIEGEND", "BED", "BEDSIDE", "PORT", "PORTABLE", "MOBILE"),
)
"""How and where the patient was exposed: what is written beside a view or a part of the body and changes neither."""

_BESIDE = """
    GRID STRETCHER TROLLEY WHEELCHAIR INSPIRATION INSP EXPIRATION IN STEHEN SITZEN LIEGEN IM BETT DEBOUT ASSIS ASSISE
    COUCHE AU LIT DE EN PIE SENTADO ACOSTADO SUPINO ORTOSTATISMO CAMA LETTO STAAND ZITTEND LIGGEND STAENDE SITTANDE
    LIGGANDE STOJACO LEZACO SIEDZACO AYAKTA 立位 臥位 座位 坐位 卧位 仰臥位 床边 ポータブル СТОЯ ЛЕЖА СИДЯ
"""
BESIDE = frozenset((*POSTURES, *letters(_BESIDE).split()))
"""`POSTURES` with those in other languages."""


def _other(pattern: str) -> str:
    """Returns a pattern whose letters, other than Latin ones, are as `charsets.letters` leaves them in a text."""
    return re.sub(r"[^\x00-\x7F]+", lambda found: letters(found[0]), pattern).replace("_", " ")


def pattern_of(latin: str, others: str = "", more: str = "") -> re.Pattern[str]:
    r"""Returns what finds one of several words in a description.

    Args:
        latin: Words in Latin letters, upper case without accents, found whole: regular expressions that spaces part,
            with ``_`` for a space within one.
        others: Words in other letters, found anywhere, in Cyrillic letters at the start of a word.
        more: Regular expressions for all else.
    """
    whole = "|".join(latin.split()).replace("_", " ")
    anywhere = (re.sub(r"^(?=[Ѐ-ӿ])", r"\\b", _other(word)) for word in others.split())
    return re.compile("|".join((rf"\b(?:{whole})\b", *anywhere, *more.split())))


_CHEST_NAMES = """
    CHEST CXR THORAX THX LUNGS? HEMITHORAX PULMO LUNGEN? BRUSTKORB POUMONS? POITRINE PULMON TORAX PECHO PULMAO PULMOES
    PEITO TORACE POLMONI? PETTO BORST BORSTKAS LONGEN BROSTKORG LUNGOR BRYSTKASSEN? LUNGER KEUHKOT RINTAKEHA RINTA
    KLATKA_PIERSIOWA KLATKA KLP PLUCA? HRUDNIK HRUD PLICE MELLKAS GOGUS AKCIGER TORAKS GRUDNI_KOS PRSNI_KOS PRSA
    PLAMANI KRUTINE KRUTS RIND DADA PARU NGUC PHOI TIM_PHOI
"""
CHEST_NAME = pattern_of(f"{_CHEST_NAMES} TUDO KOPS BRUST BRYST")
"""Names of the chest as values of Body Part Examined, some of which mean something else elsewhere."""

CHEST = pattern_of(
    rf"""
    {_CHEST_NAMES} CHEST\w* THORA[XK]\w* THORACIC(?!_(?:SPINE|VERTEBR\w*|INLET|OUTLET)) PULMON\w* POLMON\w* LONGFOTO
    KLATK\w*_PIERS\w* PLUC\w* KEUHKO\w* RINTAKEHA\w* BROSTKORG\w* LUNGRONTGEN MELLKAS\w* TUDOFELV\w* HRUDNIK\w*
    TORAKS\w* AKCIGER\w*
    """,
    "胸部 胸片 胸写 胸(?=[正側侧XP単单]|$|_) 肺 흉부 가슴 폐 ОГК ОРГАН\\w*_ГРУДН ГРУДЬ ГРУДНАЯ"
    " ГРУДНОЙ_КЛЕТК ГРУДНА ГРУДНОЇ ЛЕГКИ ЛЕГЕН ГРЪДЕН ΘΩΡΑΚ صدر חזה ทรวงอก ปอด",
)

OTHER_PART = pattern_of(
    r"""
    ABD ABDOM\w* ADDOM\w* RIBS? RIPPEN\w* COTES COSTILLAS? COSTELAS? STERNUM PELVI\w* BECKEN\w* BASSIN BACINO BACIA
    \w*SPINE SPINAL VERTEBR\w* WIRBEL\w* RACHIS COLUMNA COLONNA COLUNA LUMBAR LUMBAIRE CERVICAL [HBL]WS
    SKULL SCHAE?DEL\w* CRANE CRANEO CRANIO HEAD SINUSES PARANASAL NNH NECK MANDIBLE DENTAL
    SHOULDER SCHULTER\w* EPAULE HOMBRO SPALLA OMBRO SCAPULA CLAVIC\w* HUMER\w* ELBOW FOREARM WRIST HANDS? FINGERS? MANO
    HIPS? HUE?FT\w* HANCHE CADERA FEMUR KNEES? KNIE\w* GENOU RODILLA GINOCCHIO JOELHO PATELLA TIBIA LEGS? ANKLES?
    FOOT FEET TOES? EXTREMIT\w* BREAST MAMMO\w* KUB BARIUM
    BUIK\w* BEKKEN\w* WERVEL\w* SCHEDEL\w* SCHOUDER\w* HEUP\w* BUKOVERSIKT\w* RYGGRAD\w* HALSRYGG\w*
    LANDRYGG\w* SKULDRA KNALED HOFTLED VATSA\w* SELKARANKA\w* POLVI OLKAPAA LONKKA BRZUCH\w* BRZUSZN\w* KREGOSLUP\w*
    KOLAN\w* MIEDNIC\w* CZASZK\w* BARKU BRICHO KOLENO LEBKA PATERE PANEV RAMENO GERINC\w* KOPONYA MEDENCE
    BATIN_GRAFI\w* OMURGA\w* DIZ_GRAFI\w* OMUZ FUSSE? KOLJENO KRALJEZNIC\w* COLOANA GENUNCHI ABDOMENUL LUTUT
    """,
    "腹(?![背臥卧]) 頭部 头颅 頭蓋 頸椎 颈椎 腰椎 胸椎 脊椎 脊柱 骨盤 骨盆 膝 肩関節 肩关节 肩部 股関節 髋 手指"
    " 手部 肋骨 手関節 足部 足関節 복부 무릎 어깨 척추 요추 경추 흉추 골반 두개골 손목 발목 ПОЗВОНОЧНИК БРЮШН"
    " ЖИВОТ КОЛЕНН КОЛЕНО ЧЕРЕП ПЛЕЧЕВ ПОЯСНИЧ ХРЕБ КОЛІН ЧЕРЕВН ΚΟΙΛΙΑ ΓΟΝΑΤ بطن ركبة בטן ברך ท้อง เข่า",
)

# Positions of a chest patient, reasons for the image and ways of speaking that name another part without meaning it.
IDIOMS = re.compile(
    r"\b(HEAD (UP|DOWN|END|OF|ELEV\w*)|FOOT (OF|END)|HAND ?HELD|NECK LINE|FINGER CLUBBING"
    r"|BREAST (CA|CANCER|IMPLANTS?)|(PRE|POST) ?OP(ERATIVE)? \w+)\b"
)

# Decubitus without a side is the supine patient in the Romance languages.
_SIDE = r"(?:LAT\w*|LEFT|RIGHT|L|R|IZQ\w*|DER\w*|DCHO|ESQ\w*|DIR\w*|GAUCHE|DROITE?|SIN\w*|DES\w*)"
_SHOWN = r"(?:CHEST|THORAX|TORAX|TORACE|TORAKS|PULMO|PLUCA|RX|PROJ\w*|PROIEZ\w*)"
OTHER_VIEW = pattern_of(
    rf"""
    [LR]?LAT LATS? LATERAL(?!I[TD])\w* LATERAAL\w* LATERO\w* (?:CHEST|THORAX|TORAX|CXR)[LR]?LAT(?:ERAL)? LATCHEST
    LLD RLD OBL OBLI[QCK]\w* RAO LAO RPO LPO OAG OAD LORDOTI\w* (?:CROSS|X)_?TABLE
    SEITL\w* SEITE SEITEN SEITENAUFN\w* SEITBILD SCHRAE?G\w* ANLIEGEND PROFIL\w* PERFIL
    ZIJDELINGS\w* ZIJAANZICHT ZIJWAARTS\w* DWARSE? PROFIEL\w* SIDOBILD\w* SIDBILD\w* SIDEBIL(?:LE)?DE\w* SIDEOPTAG\w*
    SIVUKUVA\w* SIVU SIVULTA SIVUPROJ\w* BOK BOKIEM BOCZN\w* Z_BOKU BOCN\w* BOKORYS OLDALIRANY\w* OLDALFELV\w* OLDALI
    SIDOPROJ\w* STRANSK\w* YANDAN KYLJELTA SONAS SANSKAT\w*
    YAN_(?:GRAFI\w*|AKCIGER) (?:AKCIGER|TORAKS|GRAFI\w*)_YAN SONIN\w* KULGVAADE\w* SANU_PROJ\w* NGHIENG SAMPING
    DECUB\w*_{_SIDE} {_SIDE}_DECUB\w* {_SHOWN}_(?:LL|RL|L_L|R_L)
    """,
    "側面 侧面 側位 侧位 側臥 侧卧 斜位 측면 측와위 БОКОВ БІЧН БОК\\b ПРОФИЛ СТРАНИЧН КОСАЯ КОСОЙ ЛАТЕРАЛЬН"
    " ΠΛΑΓΙ ΠΡΟΦΙΛ جانبي צדדי לטרלי (?:צילום|חזה)_צד\\b ด้านข้าง",
    r"^(?:LL|RL|L\sL|R\sL)$",
)

PA_AP = re.compile(r"\b(?:CHEST|THORAX|TORAX|CXR)?(PA|AP)\b")

# Enough to say that a description does not speak of another view alone: a frontal view, or two views.
_TWO = r"(?:2|TWO|ZWEI|DOS|DUE|DUAS|DEUX|TWEE|TVA|KAKSI|DWIE|DWOCH|DVE|KET|IKI|DOUA)"
SAYS_FRONTAL = pattern_of(
    rf"""
    (?:CHEST|THORAX|TORAX|CXR)?(?:PA|AP) FRONT\w* FRNT FACE FRENTE (?:POSTERO|ANTERO)\w* DV VD D_V V_D SAGITTAL\w*
    F_(?:Y|ET|E|U|UND|AND|PROFIL|PERFIL|LAT) VOORAANZICHT ETUKUVA\w* ETUPROJ\w* PRZEDNI\w*
    TYLN\w* Z_PRZODU KETIRANY\w* SZEMBOL (?:NGUC|PHOI)_THANG THANG_(?:VA_)?NGHIENG
    {_TWO}_?(?:V|VW|VWS|VIEWS?|EB\w*|P|PRO\w*|INC\w*|RICHT\w*|VLAK\w*|RIKT\w*|PLAN\w*|SUUN\w*|IRANY\w*|YON\w*|RZUT\w*)
    """,
    "正[面位側侧、] 二方向 2_?方向 両方向 [두2]_?방향 정면 정측 ПРЯМ ПЕРЕДН ЗАДН (?:2|ДВУХ|ДВОХ|ДВЕ)_[XХ]?_?ПРОЕКЦ"
    " ΟΠΙΣΘΙΟ ΠΡΟΣΘΙΟ امامي חזיתי ด้านหน้า",
)

SPELLINGS = tuple(
    (re.compile(pattern), f" {spelling} ")
    for pattern, spelling in (
        (r"\b(?:P A|POSTER(?:O|IOR) ?ANTERIOR\w*|TYLNO PRZEDN\w*|ZADOPREDN\w*|ACHTER ?VOORW\w*|ARKA ON)\b", "PA"),
        (r"\b(?:A P|ANTER(?:O|IOR) ?POSTERIOR\w*|PRZEDNIO TYLN\w*|PREDOZADN\w*|VOOR ?ACHTERW\w*|ON ARKA)\b", "AP"),
        (_other(r"[后後]前位?|背腹|후전[상면방]|\bЗАДНЕ ?ПЕРЕДН\w*|ΟΠΙΣΘΙΟ ?ΠΡΟΣΘΙ\w*"), "PA"),
        (_other(r"前[后後]位?|腹背|전후[상면방]|\bПЕРЕДНЕ ?ЗАДН\w*|ΠΡΟΣΘΙΟ ?ΟΠΙΣΘΙ\w*"), "AP"),
        (r"\bT(?:O? |[^\WH]|)RAX\b", "TORAX"),
        (r"\bPULM N\b", "PULMON"),
        (r"\bPULM O\b", "PULMAO"),
        (r"\bDEC ?BITO\b", "DECUBITO"),
        (r"\bBR STKORG\w*", "BROSTKORG"),
        (r"\bSCHR G\b", "SCHRAG"),
        (r"\bSCH DEL\b", "SCHADEL"),
        (r"\bC TES\b", "COTES"),
    )
)
"""Other ways to write PA and AP, and what is left of words that lost letters, each with its usual spelling."""

_EASTERN = r"[\u0E00-\u0E7F\u3040-\u30FF\u3400-\u9FFF\uAC00-\uD7AF]"
BETWEEN_SCRIPTS = re.compile(rf"(?<=[A-Z\d])(?={_EASTERN})|(?<={_EASTERN})(?=[A-Z\d])")
"""Where one script ends and another begins, which ends words too."""
