"""The sender: brings results to the peer, again and again until it has them, or has refused them often enough."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras.dicom.privacy import quiet, scrub
from chexkeras.files import NO_ROOM
from chexkeras.node.audit_log import AuditLog
from chexkeras.node.film import SpooledFilm
from chexkeras.node.metrics import Metrics
from chexkeras.node.network import has_already, set_up_network_library, settle
from chexkeras.node.settings import NodeSettings
from chexkeras.node.spool import Spool

if TYPE_CHECKING:
    from pynetdicom.association import Association

_LOOK_SECONDS = 0.25
_FIRST_PAUSE_SECONDS = 1.0
_PAUSE_SECONDS = 2.0
# An association is kept for the next film for so long; while it is open, the library looks a thousand times a second.
_LINGER_SECONDS = 0.5
_ANSWER_SECONDS = 30.0
# Answers to C-STORE: taken, also with a warning; too little room now. Source: PS3.4 B.2.3, PS3.7 C.
_TAKEN = (0x0000, 0xB000, 0xB006, 0xB007)
_NO_ROOM = range(0xA700, 0xA800)
# No answer came, which is none of the protocol's statuses.
_LOST = -1
# SOP class not supported. Source: PS3.7 C.
_NO_SUCH_CLASS = 0x0122


class NothingTaken(Exception):
    """The peer answers, and takes none of the kinds of objects that it was offered."""


class Sender:
    """Sends the results of scored films, in a thread of its own.

    A result that the peer refuses is offered `limits.tries` times, with doubling pauses, before its film becomes a dead
    letter. While the peer cannot be reached, or has no room, films wait: that is none of their faults.

    Args:
        settings: The node's settings.
        spool: Where films come from.
        metrics: Where is counted what was sent.
        log: The audit log.
    """

    def __init__(self, settings: NodeSettings, spool: Spool, metrics: Metrics, log: AuditLog) -> None:
        set_up_network_library()
        self._settings, self._spool, self._metrics, self._log = settings, spool, metrics, log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sender", daemon=True)
        self._association: Association | None = None
        self._offered: frozenset[tuple[str, str]] = frozenset()
        self._last_use = 0.0
        self._peer_pause, self._peer_again = _FIRST_PAUSE_SECONDS, 0.0
        self._film_again: dict[str, float] = {}
        self.peer_is_up = True
        self.error: Exception | None = None
        self._tls = None if settings.tls is None or not settings.tls.to_peer else settings.tls.client_context()

    @property
    def is_alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Sends what is in hand, and ends."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def associate(self, title: str) -> "Association | None":
        """Returns a new association to the peer, for reports on storage commitment; None to anybody else.

        Args:
            title: Whose title.
        """
        if title != self._settings.to.title:
            return None
        from pynetdicom import build_role

        commitment = "1.2.840.10008.1.20.1"
        # The node stays the provider of the service though it opens the association (PS3.4 J.3.3).
        return self._opened({(commitment, "1.2.840.10008.1.2"), (commitment, "1.2.840.10008.1.2.1")},
                            [build_role(commitment, scp_role=True)])  # fmt: skip

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                self._round()
        # The node ends with it, in order.
        except Exception as error:  # noqa: BLE001
            self.error = error
        finally:
            self._release()

    def _round(self) -> None:
        films, now = self._spool.to_send(_LOOK_SECONDS), time.monotonic()
        ready = [film for film in films if self._film_again.get(film.name, 0.0) <= now]
        if not ready or self._peer_again > now:
            if self._association is not None and now - self._last_use > _LINGER_SECONDS:
                self._release()
            if films:
                self._stop.wait(_LOOK_SECONDS)
            return
        for film in ready:
            try:
                if self._stop.is_set() or not self._send(film):
                    return
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                # What the peer has is noted by renaming, which takes no room; the rest is done when there is some.
                self._metrics.count("send_failures", f"not noted ({scrub(error)})")
                self._stop.wait(_PAUSE_SECONDS)
                return

    def _send(self, film: SpooledFilm) -> bool:
        """Sends what a film has left; returns whether the next one may be tried at once."""
        for path in film.unsent:
            # Offered before, and the answer lost: by the end of the process, or of the association.
            is_there = self._spool.offered(film) == path.name and has_already(path, self._opened)
            self._spool.note_offered(film, path)
            status = _TAKEN[0] if is_there else self._store(path)
            if status is None:
                return False
            if status not in _TAKEN:
                self._refused(film, status)
                return True
            self._spool.note_sent(film, path)
            self._metrics.count("results", "found there" if is_there else "taken")
            self._peer_pause = _FIRST_PAUSE_SECONDS
            if self._stop.is_set() and film.unsent:
                return False
        self._film_again.pop(film.name, None)
        count = film.sent_count
        outcome = "sent" if count else "nothing to send"
        self._log.write(film.name, {**film.record, "outcome": outcome, "results": count})
        self._spool.finish(film, {"outcome": outcome, "results": count})
        self._log.settle(film.name)
        self._metrics.count("sent" if count else "silent")
        return True

    def _store(self, path: Path) -> int | None:
        """Offers a result; returns the peer's answer, or None where the peer cannot be reached or has no room."""
        from pydicom.filereader import read_file_meta_info

        with quiet():
            meta = read_file_meta_info(path)
        wanted = (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
        try:
            association = self._connected(wanted)
            if association is None:
                return None
            settle(association)
            with quiet():
                answer = association.send_c_store(path)
        except (ValueError, NothingTaken):
            # No context for it: the peer does not take such objects.
            return _NO_SUCH_CLASS
        except (RuntimeError, OSError) as error:
            self._unreachable(f"association lost ({scrub(error)})")
            return None
        self._last_use = time.monotonic()
        status = answer.get("Status") if answer else None
        if status is None:
            self._release(abort=True)
            # It may have been the object that the peer broke over, and it may have been anything else.
            self._unreachable("no answer")
            return _LOST
        if status in _NO_ROOM:
            self._unreachable("peer has no room")
            return None
        return int(status)

    def _refused(self, film: SpooledFilm, status: int) -> None:
        if status != _LOST:
            self._spool.note_offered(film, None)
        word = "no answer" if status == _LOST else f"0x{status:04X}"
        if status != _LOST:
            self._metrics.count("send_failures", word)
        tries = self._spool.tries(film, add=1)
        if tries < self._settings.limits.tries:
            pause = min(_FIRST_PAUSE_SECONDS * 2 ** (tries - 1), self._settings.limits.longest_pause_seconds)
            self._film_again[film.name] = time.monotonic() + pause
            return
        self._film_again.pop(film.name, None)
        self._metrics.count("dead")
        told = {
            **film.record,
            "outcome": "dead",
            "results": film.sent_count,
            "why": f"the peer refused a result: {word}",
        }
        self._log.write(film.name, told)
        self._spool.bury(film, {"reason": f"the peer refused a result {tries} times, last with {word}"})
        self._log.settle(film.name)

    def _connected(self, wanted: tuple[str, str]) -> "Association | None":
        if self._association is not None and not self._association.is_established:
            self._release(abort=True)
        if self._association is not None and wanted not in self._offered:
            self._release()
        if self._association is None:
            # What was offered before is offered again: the next film has the same kinds of results.
            self._offered |= {wanted}
            self._association = self._opened(set(self._offered))
            self.peer_is_up = self._association is not None
            if self._association is None:
                self._unreachable("peer cannot be reached")
        return self._association

    def _opened(self, contexts: set[tuple[str, str]], roles: list[Any] | None = None) -> "Association | None":
        from pynetdicom import AE

        entity, peer = AE(self._settings.title), self._settings.to
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _ANSWER_SECONDS
        entity.connection_timeout = _ANSWER_SECONDS
        for sop_class in sorted({sop_class for sop_class, _ in contexts}):
            for syntax in sorted(syntax for of, syntax in contexts if of == sop_class):
                # One context each: the peer would choose among several, and the object is sent as it is.
                entity.add_requested_context(sop_class, syntax) if roles is None else None
            if roles is not None:
                entity.add_requested_context(sop_class, sorted(syntax for of, syntax in contexts if of == sop_class))
        try:
            association = entity.associate(
                peer.host, peer.port, ae_title=peer.title, ext_neg=roles,
                tls_args=None if self._tls is None else (self._tls, peer.host),
            )  # fmt: skip
        except (OSError, RuntimeError):
            return None
        if association.is_established:
            return association
        if association.rejected_contexts:
            raise NothingTaken
        return None

    def _unreachable(self, reason: str) -> None:
        self._metrics.count("send_failures", reason)
        self._peer_again = time.monotonic() + self._peer_pause
        self._peer_pause = min(2 * self._peer_pause, self._settings.limits.longest_pause_seconds)

    def _release(self, *, abort: bool = False) -> None:
        association, self._association = self._association, None
        if association is None:
            return
        try:
            association.abort() if abort else association.release()
        # It was to end, and has ended.
        except Exception:  # noqa: BLE001
            return
