"""Connections of the page's server: how many are open at once, how long each may take to ask and to take its answer.

uvicorn bounds neither the time in which a request's head arrives nor connections that ask for nothing, which cost a
stranger nothing to hold. Here a clock runs for every connection but those whose answer is being made.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from chexkeras.page.server import Message, Receive, Send, ServerLimits

_FULL_WORDS = b'{"error": "The server has no connection free just now; try again in some seconds."}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_FULL_WORDS), _FULL_WORDS)
)


class Timer(Protocol):
    """What a clock hands back."""

    def cancel(self) -> None:
        """Ends it."""


Later = Callable[[float, Callable[[], None]], Timer]


def _later(seconds: float, act: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, act)


class Connections:
    """An ASGI application behind connections that are counted and timed.

    Args:
        app: The application.
        limits: What the server takes on.
        later: Calls something after so many seconds.
    """

    def __init__(self, app: Callable[..., Any], limits: ServerLimits, *, later: Later = _later) -> None:
        self._app, self.limits, self.later = app, limits, later
        self._open: dict[tuple[Any, ...], _Connection] = {}
        self._of: Counter[Any] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def wrapped(self, protocol: Callable[..., asyncio.Protocol]) -> Callable[..., asyncio.Protocol]:
        """Returns a factory of uvicorn's protocols whose connections are watched.

        Args:
            protocol: uvicorn's own, such as `H11Protocol`.
        """
        return lambda *args, **kwargs: _Connection(protocol(*args, **kwargs), self)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request.

        Args:
            scope: What is asked, as ASGI tells it.
            receive: Gives the body, part by part.
            send: Takes the answer.
        """
        connection = self._open.get(tuple(scope.get("client") or ()))
        if connection is None:
            return await self._app(scope, receive, send)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                connection.answering()
            await send(message)

        connection.asked()
        await self._app(scope, receive, watched)

    def admit(self, name: tuple[Any, ...], connection: "_Connection") -> bool:
        """Returns whether there is room for a connection, which is then counted.

        Args:
            name: Address and port of the other side.
            connection: The connection.
        """
        most = self.limits.connections
        # Whoever opens many leaves room for others.
        if len(self._open) >= most or self._of[name[0]] >= max(most * 3 // 4, 1):
            return False
        self._open[name] = connection
        self._of[name[0]] += 1
        return True

    def leave(self, name: tuple[Any, ...], connection: "_Connection") -> None:
        """Forgets a connection.

        Args:
            name: Address and port of the other side.
            connection: The connection.
        """
        if self._open.get(name) is not connection:
            return
        del self._open[name]
        self._of[name[0]] -= 1
        if not self._of[name[0]]:
            del self._of[name[0]]


class _Connection(asyncio.Protocol):
    """One connection: hands everything on to uvicorn's protocol, and ends it when its time is up."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self._inner, self._connections = inner, connections
        self._name: tuple[Any, ...] = ()
        self._transport: Any = None
        self._timer: Timer | None = None
        self._admitted = self._answered = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._name = tuple(transport.get_extra_info("peername") or ("", id(self)))[:2]
        self._admitted = self._connections.admit(self._name, self)
        if not self._admitted:
            transport.write(_FULL)
            transport.close()
            return
        self._inner.connection_made(transport)
        self._wait(self._connections.limits.asking_seconds)

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        # The first bytes after an answer begin the next question; its time runs from here, however slowly it comes.
        if self._answered:
            self._answered = False
            self._wait(self._connections.limits.asking_seconds)
        self._inner.data_received(data)

    def asked(self) -> None:
        """A request's head is complete: its body and its answer have limits of their own."""
        self._answered = False
        self._stop()

    def answering(self) -> None:
        """The answer begins: the other side has so much time to take it."""
        self._answered = True
        self._wait(self._connections.limits.upload_seconds)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._admitted else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        if self._admitted:
            self._connections.leave(self._name, self)
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._timer = self._connections.later(seconds, self._too_slow)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        # Not `close`, which would wait for what the other side does not take.
        self._transport.abort()
