"""Keeping patient text out of everything this package reports: hashed identifiers, silenced warnings, clean errors.

pydicom quotes the offending value in its warnings, log records and exception texts. A value can be a name, so none
of the three may leave this package.

A tag that should hold a code can hold whatever was typed at the console. So a refusal repeats a value only where every
word of it is a term of the vocabulary below; what is in no vocabulary could be a name or a number of a patient.
"""

import contextlib
import errno
import functools
import hashlib
import hmac
import logging
import os
import re
import secrets
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator

HASH_KEY_VARIABLE = "CHEXKERAS_HASH_KEY"

_FALLBACK_KEY = secrets.token_hex(32)


def process_key() -> str:
    """Returns the secret of this process: the variable CHEXKERAS_HASH_KEY or else a random one, for its workers."""
    return os.environ.get(HASH_KEY_VARIABLE) or _FALLBACK_KEY


def keyed_hash(text: str, key: str | bytes | None = None) -> str:
    """Returns a short pseudonym for an identifier, so that a row can be found again by who holds the key.

    A plain hash would not do: UIDs and patient numbers can be guessed and hashed by anyone.

    Args:
        text: The identifier.
        key: The secret. By default the environment variable CHEXKERAS_HASH_KEY, or, where that is not set, a random
            key of this process, so that two runs cannot be linked.

    Returns:
        16 hexadecimal digits of HMAC-SHA256.

    Source:
        RFC 2104 (HMAC).

    Example:
        >>> keyed_hash("1.2.3", key="secret") == keyed_hash("1.2.3", key="secret")
        True
        >>> keyed_hash("1.2.3", key="secret") == keyed_hash("1.2.3", key="other")
        False
    """
    key = process_key() if key is None else key
    secret = key.encode() if isinstance(key, str) else key
    return hmac.new(secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]


@functools.cache
def tag_errors() -> tuple[type[Exception], ...]:
    """Returns what touching a tag of a damaged file can raise.

    pydicom converts a value when it is first asked for, and a bad one then raises whatever the conversion met: int()
    and float() (ValueError, OverflowError), struct, a missing index or code (LookupError), an empty value (TypeError,
    AttributeError), sequences nested too deep (RecursionError, a RuntimeError), an end of file inside a length, or one
    of pydicom's own two exceptions, which derive from none of these.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    python = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError, AssertionError)
    return (*python, EOFError, OSError, struct.error, zlib.error, BytesLengthException, InvalidDicomError)


@functools.cache
def decode_errors() -> tuple[type[Exception], ...]:
    """Returns what decoding a damaged image can raise.

    Added to `tag_errors`: Pillow answers a broken stream with SyntaxError, or with its own class for one that is too
    large, a plugin may lack its library, and a header that promises too much ends in MemoryError.
    """
    from PIL.Image import DecompressionBombError

    return (*tag_errors(), SyntaxError, ImportError, MemoryError, DecompressionBombError)


def scrub(error: BaseException) -> str:
    """Returns what may be said of an exception: the name of its class, and nothing of its text.

    The system's own errors are told with their code from those that a library raises over what a file holds.

    Example:
        >>> scrub(OSError(5, "Input/output error", "/home/doe")), scrub(OSError("image file of DOE is truncated"))
        ('OSError EIO', 'OSError')
    """
    name = type(error).__name__
    code = errno.errorcode.get(error.errno or 0) if type(error) is OSError else None
    return f"{name} {code}" if code else name


class _Silence:
    """The process-wide switches that keep pydicom quiet, held while at least one thread is inside `quiet`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._restore = contextlib.ExitStack()

    def enter(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._switch_off()
            self._depth += 1

    def leave(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._restore.close()

    def _switch_off(self) -> None:
        from pydicom import config

        self._restore.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for name in ("pydicom", "PIL", "highdicom"):
            library = logging.getLogger(name)
            self._restore.callback(library.setLevel, library.level)
            library.setLevel(logging.CRITICAL + 1)
        # Validation only warns, and quotes the value when it does; the gate's own rules judge the values.
        mode = config.settings.reading_validation_mode
        self._restore.callback(setattr, config.settings, "reading_validation_mode", mode)
        config.settings.reading_validation_mode = config.IGNORE


_SILENCE = _Silence()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings and log records of pydicom, Pillow and highdicom inside the block, and restores them after it.

    These libraries quote values. The switches are process-wide, so nested and concurrent blocks share them: the first
    one in switches off, the last one out restores.
    """
    _SILENCE.enter()
    try:
        yield
    finally:
        _SILENCE.leave()


# PS3.3 C.7.3.1.1.1, defined terms of Modality, with retired ones.
_MODALITIES = """
    ANN AR ASMT AU BDUS BI BMD CD CF CFM CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG EEG EMG EOG EPS ES FA
    FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS MA MG MR MS M3D NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS
    OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM
    SMR SR SRF ST STAIN TEXTUREMAP TG US VA VF XA XAPROTOCOL XC
"""

# PS3.16 Annex L, defined terms of Body Part Examined, whole and in words, with the spellings seen in practice.
_BODY_PARTS = """
    ABDOMEN ABDOMENPELVIS ADRENAL ANKLE ANUS AORTA ARM AXILLA BACK BILE DUCT BLADDER BRACHIAL BRAIN BREAST BRONCHUS
    BUTTOCK CALCANEUS CALF CAROTID CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS CHOROID PLEXUS CIRCLE OF
    WILLIS CLAVICLE COCCYX COLON CORNEA CORONARY ARTERY CSPINE CTSPINE DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE EYELID
    FACE FEET FEMUR FINGER FOOT FOREARM GALLBLADDER HAND HANDS HEAD HEADNECK HEART HIP HIPS HUMERUS ILEUM ILIUM JAW
    JEJUNUM KIDNEY KNEE KNEES LARYNX LEG LIVER LSPINE LSSPINE LUNG LUNGS MANDIBLE MAXILLA MEDIASTINUM MOUTH NECK
    NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE ORBIT OVARY PANCREAS PAROTID PATELLA PELVIS PENIS PHARYNX PROSTATE
    RADIUS RADIUSULNA RECTUM RIB RIBS RIBCAGE SACRUM SCALP SCAPULA SCLERA SCROTUM SHOULDER SKULL SPINE SPLEEN SSPINE
    STERNUM STOMACH SUBMANDIBULAR TESTIS THIGH THORAX TORAX THUMB THYMUS THYROID TIBIAFIBULA TLSPINE TMJ TOE TONGUE
    TRACHEA TSPINE ULNA URETER URETHRA UTERUS VAGINA VULVA WHOLEBODY WRIST ZYGOMA CERVICAL THORACIC LUMBAR BODY LOWER
    UPPER BILATERAL PORT PORTABLE
"""

# PS3.3 C.8.1.1, C.8.11.5 (View Position), C.7.3.1.1.2 (Patient Position), C.7.6.1.1.1 (Patient Orientation), and "XX",
# which stands for an unknown position in the course's images.
_VIEWS = """
    AP PA LL RL RLD LLD RLO LLO LAT LATERAL OBLIQUE DECUBITUS LORDOTIC FRONTAL POSTERO ANTERO POSTEROANTERIOR
    ANTEROPOSTERIOR ANTERIOR POSTERIOR LEFT RIGHT HFP HFS HFDR HFDL FFDR FFDL FFP FFS LFP LFS RFP RFS XX RAO LAO RPO LPO
    A P L R F H AF PF LF RF AH PH LH RH
"""

# PS3.3 C.7.6.3.1.2 (Photometric Interpretation), C.8.11.1 (Presentation Intent Type), yes and no.
_OTHERS = """
    MONOCHROME1 MONOCHROME2 PALETTE COLOR RGB HSV ARGB CMYK XYB YBR FULL 422 PARTIAL 420 ICT RCT FOR PROCESSING
    PRESENTATION YES NO UNKNOWN OTHER NONE PRIMARY SECONDARY
"""

# SNOMED CT codes of PS3.16 CID 4010 (views), then CID 4031 (regions) with thorax, lung and thoracic cavity; and the
# older SNOMED RT codes that stand for some of them.
_CODES = """
    30730003 119376003 260426006 260427002 260499007 272479007 399004004 399006002 399033003 399038007 399059000
    399061009 399067008 399071006 399099002 399110001 399132005 399135007 399160007 399162004 399173006 399182000
    399184004 399196006 399198007 399225005 399236003 399242004 399255003 399260004 399272005 399288005 399312000
    399316002 399325008 399335002 399348003 399351005 399352003 399356000 399360002 399368009
    661005 774007 955009 2095001 4596009 7569003 7844006 13648007 13881006 14742008 14975008 15776009 16953009
    16982005 21306003 22356005 24136001 27949001 28231008 28273000 29707007 29836001 30021000 30315005 30608006
    32849002 34402009 34516001 34707002 38266002 38848004 39607008 39723000 40983000 41216001 42575006 43799004
    44567001 45048000 45289007 51185008 51299004 53120007 53505006 53620006 54019009 54735007 55024004 56459004
    56873002 58742003 59066005 61685007 64234005 64688005 66019005 68367000 69536005 69695003 69930009 70258002
    70925003 71341001 71854001 72001000 72410000 72696002 74386004 74670003 76505004 76752008 79601000 79741001
    80144004 80891009 81745001 85050009 85562004 85856004 86598002 87342007 87953007 89546000 89837001 91397008
    91609006 102292000 110517009 110621006 110639002 110861005 113197003 122494005 122495006 122496007 303270005
    361078006 363654007 371195002 371398005 416152001 416319003 416550000 416775004 417437006 421060004 431491007
    706342009 816092008 816094009 818981001 818982008 1217253001 1217254007 1217256009 1217257000 1231522001
    R-10206 R-10214 R-10228 R-10232 R-10236 R-40888 T-28000 T-D1100 T-D3000 T-D3200 T-D4000 T-D8700
"""

TERMS = frozenset(f"{_MODALITIES} {_BODY_PARTS} {_VIEWS} {_OTHERS}".split())
CODES = frozenset(_CODES.split())

_LARGEST_NUMBER = 65_535


def repeatable(value: str | int | float) -> str:
    """Returns a value of a file if it may be repeated in a message, and otherwise nothing.

    Args:
        value: The value of a coded or technical tag, never of a free-text one.

    Returns:
        Text in upper case if it is a code of the vocabulary or each of its words is a term; a number of at most 65,535,
        which is what technical tags hold; otherwise empty.

    Example:
        >>> repeatable(" Ribcage "), repeatable("DOE JOHN"), repeatable("19500312"), repeatable(17.0)
        ('RIBCAGE', '', '', '17')
    """
    if isinstance(value, (int, float)):
        return f"{value:.6g}" if abs(value) <= _LARGEST_NUMBER else ""
    text = value.strip().upper()
    words = re.split(r"[ _\\/.,+-]+", text)
    return text if text in CODES or (text and TERMS.issuperset(words)) else ""
