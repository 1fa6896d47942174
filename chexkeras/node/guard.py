"""Limits on what a connection may send: how much, how fast, and how much before an answer.

pynetdicom reads a PDU of whatever length its header says, waits for it as long as it takes, and keeps all messages that
come before an answer went out. A guard stands at the socket, follows the bytes in both directions as far as PDUs and
the fragments in them, and cuts a connection off that goes beyond a limit.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

from chexkeras.node.settings import NodeLimits

# PS3.8 9.3: types of PDUs.
_ASSOCIATE_REQUEST, _ASSOCIATE_ACCEPT, _DATA, _ABORT = 1, 2, 4, 7
_HEADER_BYTES, _FRAGMENT_HEADER_BYTES = 6, 6
# 128 presentation contexts with 60 transfer syntaxes of 40 characters each are 300 KB.
_MOST_ASSOCIATE_BYTES = 512 * 2**10
# Release and abort hold four bytes.
_MOST_OTHER_BYTES = 64
_MOST_COMMAND_BYTES = 64 * 2**10
# A sender waits for the answer, unless asynchronous operations were negotiated, which they are not.
_MOST_UNANSWERED = 4
# (0000,0100), a US of two bytes, whose highest bit is set in answers. Source: PS3.7 E.1.
_COMMAND_FIELD = b"\x00\x00\x00\x01\x02\x00\x00\x00"
_SEND_SECONDS = 30.0
# PS3.8 9.3.8: A-ABORT by the provider, invalid PDU parameter value.
_ABORT_PDU = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06"


class LimitExceeded(OSError):
    """A connection that went beyond a limit; pynetdicom takes it for one that was lost.

    Args:
        reason: Which limit, one word or two.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"connection cut off: {reason}")
        self.reason = reason


class Budget:
    """Bytes that all connections together may hold in memory.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self._most, self._used, self._lock = most, 0, threading.Lock()

    @property
    def used(self) -> int:
        """Bytes that are held now."""
        return self._used

    def take(self, count: int) -> bool:
        """Returns whether there is room for so many more, which then count.

        Args:
            count: Bytes.
        """
        with self._lock:
            if self._used + count > self._most:
                return False
            self._used += count
            return True

    def give_back(self, count: int) -> None:
        """Frees bytes again.

        Args:
            count: Bytes.
        """
        with self._lock:
            self._used -= count


class ConnectionGuard:
    """Follows one connection; raises where it goes beyond a limit.

    Args:
        limits: The limits.
        budget: What all connections share.
        clock: Seconds that never go back.
    """

    def __init__(self, limits: NodeLimits, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._budget, self._clock = limits, budget, clock
        self._header = bytearray()
        self._left = 0
        self._is_data = False
        self._fragment = bytearray()
        self._fragment_left = 0
        self._is_last_of_message = False
        self._command_bytes = 0
        self._is_command = False
        self._unanswered = self._held = self._object_bytes = 0
        self._pdu_ends = self._message_ends = float("inf")
        self._lock = threading.Lock()

    def seconds_left(self) -> float:
        """Returns how long the next bytes may take.

        Raises:
            LimitExceeded: If there is no time left.
        """
        now = self._clock()
        if not self._header:
            self._pdu_ends = now + self._limits.pdu_seconds
        left = min(self._pdu_ends, self._message_ends) - now
        if left <= 0:
            raise LimitExceeded("too slow")
        return left

    def received(self, data: bytes) -> None:
        """Takes note of bytes that came in.

        Args:
            data: The bytes, in order.

        Raises:
            LimitExceeded: If they go beyond a limit.
        """
        place = 0
        while place < len(data):
            if self._left == 0:
                place += self._take_header(data, place)
            elif self._is_data:
                place += self._take_data(data, place)
            else:
                step = min(self._left, len(data) - place)
                self._left -= step
                place += step
                self._end_pdu()
        if self._clock() > min(self._pdu_ends, self._message_ends):
            raise LimitExceeded("too slow")

    def sent(self, data: bytes) -> None:
        """Takes note of bytes that went out: an answer frees what was held for its request.

        Args:
            data: A PDU, or what is left of one.
        """
        # PS3.8 E.2: the message control header of the first fragment, "command, last fragment".
        if len(data) <= 11 or data[0] != _DATA or data[11] & 3 != 3:
            return
        place = data.find(_COMMAND_FIELD, 12, 12 + _MOST_COMMAND_BYTES)
        is_answer = place < 0 or data[place + len(_COMMAND_FIELD) + 1] & 0x80
        with self._lock:
            if not is_answer:
                # A request of the node's own: the other side's answer to it is none that waits for one.
                self._unanswered -= 1
            elif self._unanswered > 0:
                self._unanswered -= 1
            if self._unanswered <= 0:
                self._free()

    def close(self) -> None:
        """Frees what was held for the connection."""
        with self._lock:
            self._free()

    def _free(self) -> None:
        self._budget.give_back(self._held)
        self._held = self._object_bytes = 0

    def _take_header(self, data: bytes, place: int) -> int:
        step = min(_HEADER_BYTES - len(self._header), len(data) - place)
        if not self._header:
            self._pdu_ends = self._clock() + self._limits.pdu_seconds
        self._header += data[place : place + step]
        if len(self._header) == _HEADER_BYTES:
            kind, length = self._header[0], int.from_bytes(self._header[2:6], "big")
            self._is_data = kind == _DATA
            most = {
                _DATA: self._limits.pdu_bytes, _ASSOCIATE_REQUEST: _MOST_ASSOCIATE_BYTES,
                _ASSOCIATE_ACCEPT: _MOST_ASSOCIATE_BYTES,
            }.get(kind, _MOST_OTHER_BYTES)  # fmt: skip
            if length > most:
                raise LimitExceeded("PDU too long")
            self._left = length
            self._end_pdu()
        return step

    def _end_pdu(self) -> None:
        if self._left == 0:
            self._header.clear()
            self._fragment.clear()
            self._fragment_left = 0
            self._pdu_ends = float("inf")

    def _take_data(self, data: bytes, place: int) -> int:
        if self._fragment_left == 0:
            step = min(_FRAGMENT_HEADER_BYTES - len(self._fragment), len(data) - place, self._left)
            self._fragment += data[place : place + step]
            self._left -= step
            if len(self._fragment) == _FRAGMENT_HEADER_BYTES:
                self._begin_fragment()
                self._fragment.clear()
        else:
            step = min(self._fragment_left, len(data) - place, self._left)
            self._fragment_left -= step
            self._left -= step
            if self._fragment_left == 0:
                self._end_fragment()
        self._end_pdu()
        return step

    def _begin_fragment(self) -> None:
        # The length counts the context's number and the control header, which are read already.
        length, control = int.from_bytes(self._fragment[:4], "big") - 2, self._fragment[5]
        if length < 0 or length > self._left:
            raise LimitExceeded("fragment longer than its PDU")
        if self._message_ends == float("inf"):
            self._message_ends = self._clock() + self._limits.object_seconds
        if control & 1:
            self._command_bytes += length
            if self._command_bytes > _MOST_COMMAND_BYTES:
                raise LimitExceeded("command too long")
        self._hold(length, 0 if control & 1 else length)
        self._is_last_of_message = bool(control & 2)
        self._is_command = bool(control & 1)
        self._fragment_left = length
        if length == 0:
            self._end_fragment()

    def _hold(self, count: int, of_object: int) -> None:
        with self._lock:
            self._object_bytes += of_object
            if self._object_bytes > self._limits.object_bytes:
                raise LimitExceeded("object too large")
            if not self._budget.take(count):
                raise LimitExceeded("too much at once")
            self._held += count

    def _end_fragment(self) -> None:
        if not self._is_last_of_message:
            return
        if self._is_command:
            self._command_bytes = 0
            with self._lock:
                self._unanswered += 1
                if self._unanswered > _MOST_UNANSWERED:
                    raise LimitExceeded("too many unanswered requests")
        # A command without a data set ends the message as well; a data set begins its time with its first fragment.
        self._message_ends = float("inf")


class _Guarded:
    """Reads and writes of a socket, followed by a guard; `ended` is called once, when nothing more can come."""

    guard: ConnectionGuard
    told: Callable[[str], None]
    ended: Callable[[], None] | None = None

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Returns the next bytes; raises LimitExceeded where a limit is passed."""
        try:
            self.settimeout(self.guard.seconds_left())  # type: ignore[attr-defined]
            data: bytes = super().recv(size, flags)  # type: ignore[misc]
            self.guard.received(data)
        except LimitExceeded as error:
            self._cut_off(error.reason)
            raise
        except TimeoutError:
            self._cut_off("too slow")
            raise
        except OSError:
            self._end()
            raise
        if not data:
            self._end()
        return data

    def send(self, data: bytes, flags: int = 0) -> int:
        """Sends bytes and returns how many; a peer that takes none for long is an error."""
        self.settimeout(_SEND_SECONDS)  # type: ignore[attr-defined]
        count: int = super().send(data, flags)  # type: ignore[misc]
        self.guard.sent(data[:count])
        return count

    def close(self) -> None:
        """Closes the socket."""
        with contextlib.suppress(AttributeError):
            self.guard.close()
        super().close()  # type: ignore[misc]
        self._end()

    def _end(self) -> None:
        ended, self.ended = self.ended, None
        if ended is not None:
            ended()

    def _cut_off(self, reason: str) -> None:
        self.told(reason)
        with contextlib.suppress(OSError, ValueError):
            self.settimeout(0.2)  # type: ignore[attr-defined]
            super().send(_ABORT_PDU)  # type: ignore[misc]
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        self._end()


class GuardedSocket(_Guarded, socket.socket):  # type: ignore[misc]
    """A plain socket under guard."""


class GuardedTlsSocket(_Guarded, ssl.SSLSocket):  # type: ignore[misc]
    """An encrypted one."""


def guarded(
    taken: socket.socket, guard: ConnectionGuard, told: Callable[[str], None], tls: ssl.SSLContext | None = None
) -> socket.socket:
    """Returns a connection under guard, in place of one that was accepted.

    Args:
        taken: The accepted socket; it is no longer to be used.
        guard: What follows it.
        told: Called with the reason when the connection is cut off.
        tls: What to encrypt with, whose `sslsocket_class` is `GuardedTlsSocket`. The handshake comes with the first
            byte that is read, where it holds up nobody else.
    """
    made: GuardedSocket | GuardedTlsSocket
    if tls is None:
        made = GuardedSocket(taken.family, taken.type, taken.proto, fileno=taken.detach())
    else:
        made = tls.wrap_socket(taken, server_side=True, do_handshake_on_connect=False)  # type: ignore[assignment]
    made.guard, made.told = guard, told
    return made
