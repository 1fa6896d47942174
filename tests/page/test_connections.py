"""Connections: so many at once, ended when they are slow to ask or to take their answer. No clock runs here."""

import asyncio
import socket

import pytest

from chexkeras.page.connections import Connections
from chexkeras.page.server import PageServer, ServerLimits

LIMITS = ServerLimits(connections=4, asking_seconds=5.0, upload_seconds=50.0)


class Timers:
    """What was asked to happen later; a test lets it happen."""

    def __init__(self):
        self.waiting = []

    def later(self, seconds, act):
        timer = Timer(self, seconds, act)
        self.waiting.append(timer)
        return timer

    def pass_by(self):
        for timer in list(self.waiting):
            timer.cancel()
            timer.act()


class Timer:
    def __init__(self, timers, seconds, act):
        self.timers, self.seconds, self.act = timers, seconds, act

    def cancel(self):
        if self in self.timers.waiting:
            self.timers.waiting.remove(self)


class Transport:
    """The other side, which keeps what is written to it."""

    def __init__(self, protocol, peer):
        self.protocol, self.peer, self.written, self.state = protocol, peer, b"", "open"
        protocol.connection_made(self)

    def get_extra_info(self, name):
        return self.peer if name == "peername" else None

    def write(self, data):
        self.written += data

    def close(self):
        self._end("closed")

    def abort(self):
        self._end("aborted")

    def _end(self, state):
        if self.state == "open":
            self.state = state
            self.protocol.connection_lost(None)


class Inner(asyncio.Protocol):
    """Stands for uvicorn's protocol."""

    def __init__(self):
        self.events = []

    def connection_made(self, transport):
        self.events.append("made")

    def data_received(self, data):
        self.events.append(data)

    def connection_lost(self, exc):
        self.events.append("lost")


async def answering(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


@pytest.fixture
def timers():
    return Timers()


@pytest.fixture
def connections(timers):
    return Connections(answering, LIMITS, later=timers.later)


def connect(connections, host="192.0.2.1", port=1000):
    inner = Inner()
    return Transport(connections.wrapped(lambda: inner)(), (host, port)), inner


def ask(connections, host="192.0.2.1", port=1000):
    async def send(message):
        pass

    asyncio.run(connections({"type": "http", "client": (host, port)}, None, send))


def test_a_connection_that_asks_nothing_is_ended(connections, timers):
    transport, inner = connect(connections)
    assert [timer.seconds for timer in timers.waiting] == [5.0]
    timers.pass_by()
    assert transport.state == "aborted" and inner.events == ["made", "lost"] and len(connections) == 0


def test_a_head_that_comes_byte_by_byte_gains_no_time(connections, timers):
    transport, _ = connect(connections)
    first = timers.waiting[0]
    for letter in b"GET / HTTP/1.1\r\nX-Slow: ":
        transport.protocol.data_received(bytes([letter]))
    assert timers.waiting == [first]
    timers.pass_by()
    assert transport.state == "aborted"


def test_once_asked_only_the_answer_is_timed(connections, timers):
    transport, _ = connect(connections)
    seen = []

    async def app(scope, receive, send):
        seen.append(list(timers.waiting))
        await answering(scope, receive, send)

    connections._app = app
    ask(connections)
    # None while the answer is made; then the other side has its time to take it.
    assert seen == [[]]
    assert [timer.seconds for timer in timers.waiting] == [50.0]
    timers.pass_by()
    assert transport.state == "aborted"


def test_the_next_question_of_a_connection_is_timed_from_its_first_byte(connections, timers):
    transport, _ = connect(connections)
    ask(connections)
    transport.protocol.data_received(b"G")
    timer = timers.waiting[0]
    assert timer.seconds == 5.0
    transport.protocol.data_received(b"E")
    assert timers.waiting == [timer]
    timers.pass_by()
    assert transport.state == "aborted"


def test_a_connection_that_is_done_leaves_no_clock(connections, timers):
    transport, inner = connect(connections)
    transport.close()
    assert not timers.waiting and len(connections) == 0 and inner.events == ["made", "lost"]


def test_connections_are_bounded_and_told_so(connections):
    one = [connect(connections, port=port)[0] for port in range(1000, 1004)]
    # Three quarters are the most that one address may have.
    assert [transport.state for transport in one] == ["open", "open", "open", "closed"]
    refused = one[-1].written
    assert refused.startswith(b"HTTP/1.1 503 ") and b"try again" in refused
    head, _, body = refused.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    other, _ = connect(connections, host="192.0.2.2", port=1000)
    third, inner = connect(connections, host="192.0.2.3", port=1000)
    assert other.state == "open" and third.state == "closed" and inner.events == []
    third.protocol.data_received(b"GET / HTTP/1.1\r\n")
    assert inner.events == [] and len(connections) == 4
    one[0].close()
    assert connect(connections, host="192.0.2.3", port=1001)[0].state == "open"


def test_uvicorn_answers_behind_it_and_forgets_who_left(document):
    """A real server: a page asked for twice on one connection, and the connection counted only as long as it lives."""
    pytest.importorskip("uvicorn")
    from chexkeras.page.serve import ServedPage, uvicorn_server

    class Kept:
        def close(self):
            pass

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn_server(PageServer(document, Kept()))
        port = bound.getsockname()[1]
        with (
            ServedPage(server, Kept(), f"http://127.0.0.1:{port}/", bound).start(),
            socket.create_connection(("127.0.0.1", port), timeout=30) as asker,
        ):
            for _ in range(2):
                asker.sendall(b"GET /api/run HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
                answer = b""
                while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
                    answer += asker.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 OK")
            assert len(server.config.app) == 1
