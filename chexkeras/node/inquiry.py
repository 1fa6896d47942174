"""Asks the peer whether it has a result already: the answer to an earlier C-STORE may be lost, and the result not."""

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


def has_already(path: Path, opened: "Callable[[set[tuple[str, str]]], Association | None]") -> bool:
    """Returns whether the peer says that it has an object; False where it does not answer such questions.

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
