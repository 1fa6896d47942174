"""A connection to another process: JSON and arrays of bytes, and the news that it is gone. Nothing received is run."""

import contextlib
import json
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

_PING_SECONDS, _SILENCE_SECONDS = 5.0, 35.0
_MOST_BYTES, _AT_ONCE = 1 << 36, 1 << 20
MOST_BYTES_OF_STRANGERS = 1 << 16
"""Bytes that are taken in of whoever connects, before it is known to belong to the training."""
_HEADER = struct.Struct("!II")


class WorkerGone(ConnectionError):
    """One of several processes that train together has ended or does not answer: none of them can go on."""


class Dismissed(Exception):
    """The first process has ended the training and says why."""


class Line:
    """A connection to another process, read by a thread of its own.

    Args:
        connection: The connected socket.
        name: Whom it leads to, for messages.
        on_gone: Called once when nothing more will come, with the exception that says why.
    """

    def __init__(self, connection: socket.socket, name: str, on_gone: Callable[[WorkerGone | Dismissed], None]) -> None:
        self._name, self._connection, self._on_gone = name, connection, on_gone
        self._sending = threading.Lock()
        self._closed = False
        self.received: queue.Queue[tuple[dict[str, Any], list[bytes]]] = queue.Queue()

    def listen(self) -> None:
        """Starts to read, and to say now and then that this process is there."""
        self._connection.settimeout(_SILENCE_SECONDS)
        for work in (self._read, self._ping):
            threading.Thread(target=work, daemon=True).start()

    def send(self, message: dict[str, Any], arrays: Sequence[bytes] = ()) -> None:
        """Sends a message.

        Args:
            message: Plain values.
            arrays: Bytes behind it.
        """
        # Who does not take it in is noticed by the reader.
        with contextlib.suppress(OSError), self._sending:
            send(self._connection, message, arrays)

    def close(self) -> None:
        """Ends the connection without a word."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _ping(self) -> None:
        while not self._closed:
            time.sleep(_PING_SECONDS)
            self.send({"kind": "ping"})

    def _read(self) -> None:
        try:
            while True:
                message, arrays = receive(self._connection, _MOST_BYTES)
                if message["kind"] == "failed":
                    raise ConnectionError(str(message["why"]))
                if message["kind"] == "end":
                    self._on_gone(Dismissed(message["why"]))
                    return
                if message["kind"] != "ping":
                    self.received.put((message, arrays))
        except TimeoutError:
            why = f"it has not answered for {_SILENCE_SECONDS:.0f} s"
        except (OSError, ValueError, KeyError) as error:
            why = str(error)
        if not self._closed:
            self._on_gone(
                WorkerGone(
                    f"{self._name} is lost ({why}): none can go on without it; every epoch that was finished is kept."
                )
            )


def send(connection: socket.socket, message: dict[str, Any], arrays: Sequence[bytes] = ()) -> None:
    """Sends a message.

    Args:
        connection: A connected socket.
        message: Plain values.
        arrays: Bytes behind it.

    Raises:
        OSError: If it cannot be sent.
    """
    head = json.dumps({**message, "sizes": [len(each) for each in arrays]}).encode()
    connection.sendall(_HEADER.pack(len(head), len(arrays)) + head)
    for each in arrays:
        # The time limit is for a call: what is large is sent in several.
        for start in range(0, len(each), _AT_ONCE):
            connection.sendall(memoryview(each)[start : start + _AT_ONCE])


def receive(connection: socket.socket, most: int) -> tuple[dict[str, Any], list[bytes]]:
    """Returns the next message and the bytes behind it.

    Args:
        connection: A connected socket.
        most: Bytes that are taken in at most.

    Raises:
        OSError: If nothing comes.
        ValueError: If something else comes than what `send` sends.
    """
    size, count = _HEADER.unpack(_exactly(connection, _HEADER.size))
    if size > min(most, 1 << 30):
        raise ValueError("it sent something else than a worker sends")
    message = json.loads(_exactly(connection, size))
    sizes = message.pop("sizes")
    if len(sizes) != count or sum(sizes) > most or any(each < 0 for each in sizes):
        raise ValueError("it sent something else than a worker sends")
    return message, [_exactly(connection, each) for each in sizes]


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray(size)
    view, done = memoryview(found), 0
    while done < size:
        got = connection.recv_into(view[done:])
        if not got:
            raise ConnectionError("its process has ended")
        done += got
    return bytes(found)
