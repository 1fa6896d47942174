"""The receiver: answers C-ECHO, takes films by C-STORE, and answers storage commitment.

A film is written as it came, its data set unparsed, and is on disk before it is acknowledged. A worker process of the
gate judges later what it holds.
"""

import contextlib
import re
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from chexkeras.dicom.pixels.decoding import COMPRESSED, NATIVE
from chexkeras.dicom.privacy import quiet, scrub
from chexkeras.node import commitment
from chexkeras.node.guard import Budget, ConnectionGuard, GuardedTlsSocket, guarded
from chexkeras.node.metrics import Metrics
from chexkeras.node.network import set_up_network_library
from chexkeras.node.settings import NodeSettings
from chexkeras.node.spool import Spool, SpoolFull

if TYPE_CHECKING:
    from pynetdicom.association import Association

# Computed and Digital X-Ray Image Storage - For Presentation. Raw detector values (For Processing) are no images to be
# read: that class is not offered, so a sender learns when it asks (PS3.8 9.3.3.2, "abstract syntax not supported").
FILMS = ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1")
_VERIFICATION, _COMMITMENT = "1.2.840.10008.1.1", "1.2.840.10008.1.20.1"
SYNTAXES = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    *sorted((NATIVE | COMPRESSED) - {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"}),
)
"""Transfer syntaxes of films: those of the decoders."""

# Answers to C-STORE. Source: PS3.4 B.2.3.
TAKEN, OUT_OF_RESOURCES, OTHER_CLASS, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_MOST_UID_LETTERS = 64
# As many more connections as are allowed are let in, to be told no in the protocol's words; further ones are closed.
_SPARE_CONNECTIONS = 8
_LAST_WORDS_SECONDS = 10.0
# A connection that asks for no association by then is closed.
_REQUEST_SECONDS = 10.0


class Receiver:
    """Listens for associations.

    Args:
        settings: The node's settings.
        spool: Where films are kept.
        metrics: Where is counted what came.
        associate: Called with a title; returns a new association to it, for reports on storage commitment, or None.

    Raises:
        OSError: If the address is taken or is none of this machine.
        ValueError: If the certificates are unusable.
    """

    def __init__(
        self, settings: NodeSettings, spool: Spool, metrics: Metrics,
        associate: "Callable[[str], Association | None]" = lambda _: None,
    ) -> None:  # fmt: skip
        set_up_network_library()
        self._settings, self._spool, self._metrics = settings, spool, metrics
        self._is_ending = False
        self._silence = contextlib.ExitStack()
        self._storing = 0
        self._idle = threading.Condition()
        self._reporter = commitment.CommitmentReporter(associate, lambda word: metrics.count("commitments", word))
        self._server = self._made()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened at."""
        return int(self._server.server_address[1])

    @property
    def is_alive(self) -> bool:
        """Whether it listens."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begins to listen."""
        # What a caller sends as a UID or a title is quoted in warnings, which may be the name of a patient.
        self._silence.enter_context(quiet())
        self._thread.start()

    def close(self) -> None:
        """Takes no more, lets what is being stored be stored, and ends."""
        self._is_ending = True
        if self._thread.is_alive():
            self._server.shutdown()
        else:
            self._server.server_close()
        with self._idle:
            self._idle.wait_for(lambda: self._storing == 0, timeout=_LAST_WORDS_SECONDS)
        for association in self._server.active_associations:
            association.abort()
        self._silence.close()

    def _made(self) -> Any:
        from pynetdicom import AE, evt

        limits = self._settings.limits
        entity = AE(self._settings.title)
        entity.maximum_pdu_size = limits.pdu_bytes
        entity.maximum_associations = limits.associations
        entity.network_timeout = entity.dimse_timeout = limits.idle_seconds
        entity.acse_timeout = min(limits.pdu_seconds, _REQUEST_SECONDS)
        entity.require_called_aet = True
        entity.require_calling_aet = [title.strip() for title in self._settings.allow]
        entity.add_supported_context(_VERIFICATION, list(SYNTAXES[:2]))
        entity.add_supported_context(_COMMITMENT, list(SYNTAXES[:2]))
        for films in FILMS:
            entity.add_supported_context(films, list(SYNTAXES))
        handlers: list[Any] = [
            (evt.EVT_C_ECHO, lambda _: TAKEN), (evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._commit),
            (evt.EVT_REJECTED, self._rejected), (evt.EVT_CONN_OPEN, _wake_when_it_ends),
        ]  # fmt: skip
        tls = self._settings.tls
        try:
            return entity.make_server(
                (self._settings.host.strip("[]"), self._settings.port), evt_handlers=handlers,
                ssl_context=None if tls is None else tls.server_context(), server_class=_server_class(),
                limits=limits, budget=Budget(limits.in_flight_bytes), metrics=self._metrics,
            )  # fmt: skip
        except OSError as error:
            if isinstance(error, ssl.SSLError) or error.errno is None:
                raise
            raise OSError(
                f"the node cannot listen at {self._settings.host}:{self._settings.port} ({error.strerror or error}); "
                "choose another port with --port, or another address with --host."
            ) from None

    def _rejected(self, event: Any) -> None:
        known = str(event.assoc.requestor.ae_title).strip() in {title.strip() for title in self._settings.allow}
        called = str(event.assoc.requestor.primitive.called_ae_title).strip() == self._settings.title.strip()
        reason = "unknown caller" if not known else "other title called" if not called else "too many associations"
        self._metrics.count("associations_rejected", reason)

    def _store(self, event: Any) -> int:
        with self._idle:
            self._storing += 1
        try:
            return self._stored(event)
        finally:
            with self._idle:
                self._storing -= 1
                self._idle.notify_all()

    def _stored(self, event: Any) -> int:
        request, syntax = event.request, str(event.context.transfer_syntax)
        uid = str(request.AffectedSOPInstanceUID or "")
        if self._is_ending:
            return self._refused("the node ends", OUT_OF_RESOURCES)
        if str(request.AffectedSOPClassUID) != str(event.context.abstract_syntax):
            return self._refused("class differs from the context", OTHER_CLASS)
        if not _UID.fullmatch(uid) or len(uid) > _MOST_UID_LETTERS:
            return self._refused("invalid UID", CANNOT_UNDERSTAND)
        data = request.DataSet.getbuffer() if request.DataSet is not None else memoryview(b"")
        if not data:
            return self._refused("no data set", CANNOT_UNDERSTAND)
        head = file_head(str(request.AffectedSOPClassUID), uid, syntax, str(event.assoc.requestor.ae_title).strip())
        try:
            is_new = self._spool.receive(uid, head, data)
        except SpoolFull as full:
            return self._refused(f"{full.reason} full", OUT_OF_RESOURCES)
        except OSError as error:
            return self._refused(f"not written ({scrub(error)})", OUT_OF_RESOURCES)
        finally:
            data.release()
        self._metrics.count("received" if is_new else "again")
        return TAKEN

    def _refused(self, reason: str, status: int) -> int:
        self._metrics.count("stores_refused", reason)
        return status

    def _commit(self, event: Any) -> tuple[int, None]:
        if event.action_type != commitment.REQUEST:
            return commitment.NO_SUCH_ACTION, None
        if str(event.request.RequestedSOPInstanceUID) != commitment.INSTANCE_UID:
            return commitment.NO_SUCH_INSTANCE, None
        report = commitment.answer(event.action_information, self._spool.keeps, self._spool.knows)
        if report is None:
            return commitment.INVALID_ARGUMENT, None
        requester = str(event.assoc.requestor.ae_title).strip()
        if not self._reporter.send(report, event.assoc, requester):
            return OUT_OF_RESOURCES, None
        self._metrics.count("commitments", "refused" if report.failed else "committed")
        return commitment.SUCCESS, None


def _wake_when_it_ends(event: Any) -> None:
    """Sees to it that a connection that ends before its association begins is let go of at once.

    Its thread would go on waiting for the request until the time for it is over, and so many of them are not allowed.
    """
    association = event.assoc

    def wake() -> None:
        if association.requestor.primitive is None:
            # What the library takes for the end of the waiting time.
            association.dul.to_user_queue.put(None)

    association.dul.socket.socket.ended = wake


def file_head(sop_class: str, uid: str, syntax: str, caller: str) -> bytes:
    """Returns what stands before the data set in a file: the preamble and the file meta information.

    Args:
        sop_class: SOP class UID.
        uid: SOP instance UID.
        syntax: Transfer syntax UID.
        caller: The sender's title.

    Source:
        PS3.10 7.1.
    """
    own = "2.25." + str(int.from_bytes(b"chexkeras-node", "big"))
    elements = [
        (0x0001, b"OB", b"\x00\x01"), (0x0002, b"UI", sop_class.encode("ascii")), (0x0003, b"UI", uid.encode("ascii")),
        (0x0010, b"UI", syntax.encode("ascii")), (0x0012, b"UI", own.encode("ascii")),
        (0x0016, b"AE", caller.encode("ascii", "replace")[:16]),
    ]  # fmt: skip
    body = b""
    for number, kind, value in elements:
        value += (b" " if kind == b"AE" else b"\x00") * (len(value) % 2)
        length = b"\x00\x00" + struct.pack("<I", len(value)) if kind == b"OB" else struct.pack("<H", len(value))
        body += struct.pack("<HH", 2, number) + kind + length + value
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body)) + body


def _server_class() -> type:
    from pynetdicom.transport import AssociationServer

    class GuardedServer(AssociationServer):
        """Accepts connections and puts each under guard."""

        request_queue_size = 64

        def __init__(self, *arguments: Any, limits: Any, budget: Budget, metrics: Metrics, **options: Any) -> None:
            self._limits, self._budget, self._metrics = limits, budget, metrics
            super().__init__(*arguments, **options)
            if self.ssl_context is not None:
                self.ssl_context.sslsocket_class = GuardedTlsSocket

        def get_request(self) -> tuple[Any, Any]:
            """Returns the next connection, under guard; its handshake is left to its own thread."""
            taken, address = cast(socket.socket, self.socket).accept()
            guard = ConnectionGuard(self._limits, self._budget)
            return guarded(taken, guard, self._cut, self.ssl_context), address

        def verify_request(self, request: Any, client_address: Any) -> bool:
            """Returns whether there is room for another connection."""
            if len(self.active_associations) < self._limits.associations + _SPARE_CONNECTIONS:
                return True
            self._cut("too many connections")
            return False

        def shutdown(self) -> None:
            """Ends; the entity knows nothing of this server, and is not told."""
            socketserver.BaseServer.shutdown(self)
            self.server_close()

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Counts what goes wrong with a new connection."""
            self._metrics.count("connections_failed", "accepting")

        def _cut(self, reason: str) -> None:
            self._metrics.count("connections_cut", reason)

    return GuardedServer
