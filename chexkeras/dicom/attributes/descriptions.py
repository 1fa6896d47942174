"""Free text on an image, in English, German, French, Spanish, Italian and Portuguese.

Only words count that are rare in indications and names, and what usually means something else beside them is taken out
before. Such lists are never complete: they can miss a lateral image, as the tags can.
"""

import contextlib
import re
import unicodedata

from chexkeras.dicom.header import fold

# What is written beside a view and does not change it.
POSTURES = (
    *("ERECT", "UPRIGHT", "STANDING", "SITTING", "SEMI", "SEMIERECT", "SEMIUPRIGHT", "SUPINE", "SUP", "LYING"),
    *("RECUMBENT", "STEHEND", "SITZEND", "LIEGEND", "BED", "BEDSIDE", "PORT", "PORTABLE", "MOBILE"),
)
"""How and where the patient was exposed: what is written beside a view or a part of the body and changes neither."""

_CHEST = re.compile(
    r"\b(CHEST\w*|CXR|THORA[XK]\w*|THORACIC(?! (SPINE|VERTEBR\w*|INLET|OUTLET))|TORAX|TORACE"
    r"|LUNG(S|E|EN)?|POUMONS?|PULMON\w*|PULMAO|POLMON\w*)\b"
)
_OTHER_PART = re.compile(
    r"\b(ABD|ABDOM\w*|ADDOM\w*|RIBS?|RIPPEN\w*|COTES|COSTILLAS?|COSTELAS?|STERNUM|PELVI\w*|BECKEN\w*|BASSIN|BACINO|BACIA"
    r"|\w*SPINE|SPINAL|VERTEBR\w*|WIRBEL\w*|RACHIS|COLUMNA|COLONNA|COLUNA|LUMBAR|LUMBAIRE|CERVICAL|[HBL]WS"
    r"|SKULL|SCHAE?DEL\w*|CRANE|CRANEO|CRANIO|HEAD|SINUSES|PARANASAL|NNH|NECK|MANDIBLE|DENTAL"
    r"|SHOULDER|SCHULTER\w*|EPAULE|HOMBRO|SPALLA|OMBRO|SCAPULA|CLAVIC\w*|HUMER\w*|ELBOW|FOREARM|WRIST|HANDS?|FINGERS?|MANO"
    r"|HIPS?|HUE?FT\w*|HANCHE|CADERA|FEMUR|KNEES?|KNIE\w*|GENOU|RODILLA|GINOCCHIO|JOELHO|PATELLA|TIBIA|LEGS?|ANKLES?"
    r"|FOOT|FEET|TOES?|EXTREMIT\w*|BREAST|MAMMO\w*|KUB|BARIUM)\b"
)
# Positions of a chest patient, reasons for the image and ways of speaking that name another part without meaning it.
_IDIOMS = re.compile(
    r"\b(HEAD (UP|DOWN|END|OF|ELEV\w*)|FOOT (OF|END)|HAND ?HELD|NECK LINE|FINGER CLUBBING"
    r"|BREAST (CA|CANCER|IMPLANTS?)|(PRE|POST) ?OP(ERATIVE)? \w+)\b"
)

# Decubitus without a side is the supine patient in the Romance languages.
_SIDE = r"(LAT\w*|LEFT|RIGHT|L|R|IZQ\w*|DER\w*|DCHO|ESQ\w*|DIR\w*|GAUCHE|DROITE?|SIN\w*|DES\w*)"
_OTHER_VIEW = re.compile(
    r"\b([LR]?LAT|LATS?|LATERAL(?!I[TD])\w*|LATERO|LLD|RLD|OBL|OBLI[QCK]\w*|RAO|LAO|RPO|LPO|OAG|OAD|LORDOTI\w*"
    r"|SEITL\w*|SEITE|SEITEN|SEITENAUFN\w*|SCHRAE?G\w*|ANLIEGEND|PROFIL\w*|PERFIL|(CROSS|X) ?TABLE"
    rf"|DECUB\w* {_SIDE}|{_SIDE} DECUB\w*|(CHEST|THORAX|TORAX|TORACE|RX|PROJ\w*|PROIEZ\w*) (LL|RL|L L|R L))\b"
    r"|^(LL|RL|L L|R L)$"
)
_PA_AP = re.compile(r"\b(?:CHEST|THORAX|TORAX)?(PA|AP)\b")
# Enough to say that a description does not speak of another view alone: a frontal view, or two views.
_SAYS_FRONTAL = re.compile(
    r"\b((CHEST|THORAX|TORAX)?(PA|AP)|FRONT\w*|FRNT|FACE|FRENTE|(POSTERO|ANTERO)\w*|DV|VD|D V|V D|SAGITTAL\w*"
    r"|F (Y|ET|E|U|UND|AND|PROFIL|PERFIL|LAT)"
    r"|(2|TWO|ZWEI|DOS|DUE|DUAS|DEUX) ?(V|VW|VWS|VIEWS?|EB\w*|P|PRO\w*|INC\w*))\b"
)


def words_of(text: str) -> str:
    """Returns a description as plain words, "P.A." written as one; what the functions below are given.

    Example:
        >>> words_of("Thorax p.a./seitl.")
        'THORAX PA SEITL'
    """
    return re.sub(r"\b(P A|A P)\b", lambda found: found[0].replace(" ", ""), plain(text))


def plain(text: str) -> str:
    """Returns text folded, without accents; UTF-8 that was read as Latin-1 is repaired first.

    Example:
        >>> plain("Tórax_p.a.")
        'TORAX P A'
    """
    with contextlib.suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    letters = unicodedata.normalize("NFKD", text)
    return fold("".join(letter for letter in letters if not unicodedata.combining(letter)))


def names_chest(words: str) -> bool:
    """Returns whether the chest is named."""
    return bool(_CHEST.search(words))


def names_other_part(words: str) -> bool:
    """Returns whether another part of the body is named, alone or beside the chest.

    Example:
        >>> names_other_part("THORACIC SPINE"), names_other_part("PORT HEAD UP 45")
        (True, False)
    """
    return bool(_OTHER_PART.search(_IDIOMS.sub(" ", words)))


def names_other_view(words: str) -> bool:
    """Returns whether a view that is not frontal is named, alone or beside a frontal one.

    Example:
        >>> names_other_view("TORAX DECUBITO SUPINO"), names_other_view("LEFT LATERAL DECUBITUS")
        (False, True)
    """
    return bool(_OTHER_VIEW.search(words))


def names_frontal_view(words: str) -> bool:
    """Returns whether a frontal view is named, or that there are two views, one of which is frontal."""
    return bool(_SAYS_FRONTAL.search(words))


def frontal_views(words: str) -> set[str]:
    """Returns which of "PA" and "AP" are named."""
    return set(_PA_AP.findall(words))
