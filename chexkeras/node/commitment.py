"""Storage commitment: the node says which films it will keep, and that is none unless it was told to keep them.

A sender that gets a commitment may delete its own copy. A node removes films once their results are sent, so it commits
itself to nothing, and says so in the standard's way; with `keep_originals` it answers for the films that it holds.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chexkeras.node.network import settle

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.association import Association

# PS3.4 J.3.2 and J.3.3: the well-known instance, the action, the events, and why an instance is not committed to.
INSTANCE_UID = "1.2.840.10008.1.20.1.1"
REQUEST, ALL_WELL, SOME_FAILED = 1, 1, 2
NO_SUCH_OBJECT, NOT_COMMITTED = 0x0112, 0x0110
# Answers to N-ACTION. Source: PS3.7 C.
SUCCESS, NO_SUCH_ACTION, NO_SUCH_INSTANCE, INVALID_ARGUMENT = 0x0000, 0x0123, 0x0112, 0x0115
_MOST_INSTANCES = 10_000
# The answer to N-ACTION goes out first.
_PAUSE_SECONDS = 0.3
_MOST_WAITING = 16


@dataclass(frozen=True)
class CommitmentReport:
    """What is answered to a request.

    Attributes:
        event: `ALL_WELL` or `SOME_FAILED`.
        content: The event's information.
        committed: How many instances are committed to.
        failed: How many are not.
    """

    event: int
    content: "Dataset"
    committed: int
    failed: int


def answer(request: "Dataset", keeps: Callable[[str], bool], holds: Callable[[str], bool]) -> CommitmentReport | None:
    """Returns the report on the instances of a request; None where it is no request.

    Args:
        request: The action's information.
        keeps: Called with a SOP instance UID; whether it is kept for good.
        holds: Called with one; whether it is known.

    Source:
        PS3.4 J.3.2.1.1, J.3.3.1.1.
    """
    from pydicom.dataset import Dataset

    transaction, wanted = str(request.get("TransactionUID", "")), request.get("ReferencedSOPSequence")
    if not transaction or not wanted or len(wanted) > _MOST_INSTANCES:
        return None
    kept, failed = [], []
    for item in wanted:
        told = Dataset()
        told.ReferencedSOPClassUID = item.get("ReferencedSOPClassUID", "")
        told.ReferencedSOPInstanceUID = uid = str(item.get("ReferencedSOPInstanceUID", ""))
        if keeps(uid):
            kept.append(told)
            continue
        told.FailureReason = NOT_COMMITTED if holds(uid) else NO_SUCH_OBJECT
        failed.append(told)
    content = Dataset()
    content.TransactionUID = transaction
    if kept:
        content.ReferencedSOPSequence = kept
    if failed:
        content.FailedSOPSequence = failed
    return CommitmentReport(SOME_FAILED if failed else ALL_WELL, content, len(kept), len(failed))


class CommitmentReporter:
    """Sends reports after their requests were answered: over the same association, or over one to the peer.

    Args:
        to_peer: Called with the requester's title; returns a new association to it, or None where its address is not
            known or it cannot be reached.
        told: Called with what became of a report, one word.
    """

    def __init__(self, to_peer: "Callable[[str], Association | None]", told: Callable[[str], None]) -> None:
        self._to_peer, self._told = to_peer, told
        self._waiting = threading.Semaphore(_MOST_WAITING)

    def send(self, report: CommitmentReport, association: "Association", requester: str) -> bool:
        """Sends a report in a thread of its own; returns False where too many wait already.

        Args:
            report: The report.
            association: The one that the request came over.
            requester: The requester's title.
        """
        if not self._waiting.acquire(blocking=False):
            return False
        threading.Thread(
            target=self._send, args=(report, association, requester), name="commitment", daemon=True
        ).start()
        return True

    def _send(self, report: CommitmentReport, association: "Association", requester: str) -> None:
        try:
            time.sleep(_PAUSE_SECONDS)
            other = self._to_peer(requester)
            way: Any = association if other is None else other
            status = "not delivered"
            if way.is_established:
                settle(way)
                given, _ = way.send_n_event_report(report.content, report.event, "1.2.840.10008.1.20.1", INSTANCE_UID)
                status = "delivered" if given and given.Status == SUCCESS else "not delivered"
            if other is not None:
                other.release()
            self._told(status)
        # The association may end at any moment, in ways that the library tells by many kinds of error.
        except Exception:  # noqa: BLE001
            self._told("not delivered")
        finally:
            self._waiting.release()
