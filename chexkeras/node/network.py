"""How pynetdicom is used: without a word in logs, files sent as they are, and asking a peer what it has."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras.dicom.privacy import quiet

if TYPE_CHECKING:
    from pynetdicom.association import Association

# Study Root Query/Retrieve Information Model - FIND.
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_PENDING = (0xFF00, 0xFF01)
_KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def set_up_network_library() -> None:
    """Keeps pynetdicom from logging what it sends and receives, and from decoding what it sends.

    Its log would hold patients' text; and a file of ours is encoded already as the peer has agreed to.
    """
    from pynetdicom import _config

    _config.LOG_HANDLER_LEVEL = "none"
    _config.STORE_SEND_CHUNKED_DATASET = True
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)


def settle(association: "Association") -> None:
    """Sees to it that the answer to the next request reaches whoever asks; called before each request.

    In pynetdicom 3.0.4 the thread of an association pauses while a request waits for its answer. After the one before,
    it may not have woken yet when the next request looks whether it pauses; then it takes the answer away, and the
    request waits until its time is over (once in some hundred requests on a busy machine).

    Args:
        association: The association.
    """
    # It says so anew once it has looked for messages, and pauses.
    association._is_paused = False


def has_already(path: Path, opened: "Callable[[set[tuple[str, str]]], Association | None]") -> bool:
    """Returns whether the peer says that it has an object; False where it does not answer such questions.

    The answer to an earlier C-STORE may be lost, and the result not.

    Args:
        path: The object, a DICOM file of our own.
        opened: Called with pairs of SOP class and transfer syntax; returns a new association to the peer or None.

    Source:
        PS3.4 C.4.1 (C-FIND), C.6.2 (Study Root).
    """
    from pydicom import dcmread
    from pydicom.dataset import Dataset

    association = None
    try:
        association = opened({(FIND, "1.2.840.10008.1.2"), (FIND, "1.2.840.10008.1.2.1")})
        if association is None:
            return False
        with quiet():
            held = dcmread(path, specific_tags=list(_KEYS))
            question = Dataset()
            question.QueryRetrieveLevel = "IMAGE"
            for key in _KEYS:
                setattr(question, key, held[key].value)
            answers = list(association.send_c_find(question, FIND))
        return any(_is_of(status, found, held) for status, found in answers)
    # A peer that answers in another way than the standard says has told nothing; the library raises many kinds.
    except Exception:  # noqa: BLE001
        return False
    finally:
        if association is not None and association.is_established:
            association.release()


def _is_of(status: Any, found: Any, held: Any) -> bool:
    is_match = "Status" in status and status.Status in _PENDING and found is not None
    return is_match and str(found.get("SOPInstanceUID", "")) == str(held.SOPInstanceUID)
