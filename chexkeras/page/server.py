"""The server of the page: what may be asked, by whom, how much at a time, and what every answer carries.

It serves a fixed set of files from memory, so no path leads to a file of the machine; it writes nothing, keeps nothing
of an upload once its answer is out, and knows no sessions, so nobody's upload can reach another.
"""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import resources
from typing import Any, Protocol
from urllib.parse import urlsplit

from chexkeras.arguments import checked
from chexkeras.checks import positive_int, probability
from chexkeras.dicom.privacy import scrub
from chexkeras.page.access import ComeAgain, Password
from chexkeras.page.document import PageDocument
from chexkeras.page.examples import ExampleFilm
from chexkeras.parallel import WorkersUnavailable

_log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'; "
    "frame-ancestors {frames}"
)
# A report is one file whose style and pictures are in it; nothing in it runs, wherever the file came from. The page
# shows it in a frame.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; sandbox "
    "allow-same-origin; frame-ancestors 'self' {frames}"
)
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "cache-control": "no-store",
}
REPORTS = ("/report", "/model-card")
"""Addresses of the pages that are written when they are asked for."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_MOST_QUESTION_BYTES = 4096


class Scorer(Protocol):
    """What scores a film for the server, see `film.FilmScorer`."""

    def answer(self, content: bytes, *, only_row: bool = False) -> dict[str, Any]:
        """Returns what became of a film."""


@checked
@dataclass(frozen=True)
class ServerLimits:
    """What the server takes on.

    Attributes:
        largest_bytes: Largest upload.
        at_once: Films that are read and scored at the same time.
        waiting: Further uploads that wait for their turn; more are told to come again.
        upload_seconds: Time an upload may take, and an answer to be taken.
        asking_seconds: Time in which a connection has to say what it asks for.
        connections: Open connections, at most; one address may have three quarters of them.

    Raises:
        ValueError: If a limit is below 1.
    """

    largest_bytes: int = 100 * 2**20
    at_once: int = 2
    waiting: int = 6
    upload_seconds: float = 120.0
    asking_seconds: float = 15.0
    connections: int = 64

    def __post_init__(self) -> None:
        for name in ("largest_bytes", "at_once", "connections"):
            positive_int(getattr(self, name), name)
        positive_int(self.waiting, "waiting", least=0)
        for name in ("upload_seconds", "asking_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be above 0.")


class _Refusal(Exception):
    """An answer that is none: a status and a sentence for whoever asked."""

    def __init__(self, status: int, words: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers or {}


@dataclass
class _Reply:
    content: bytes
    kind: str
    policy: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    embedded: bool = False
    words: str = ""


@checked
class PageServer:
    """The page of a run as an ASGI application.

    Args:
        document: What the page tells of the run.
        scorer: What scores an upload.
        reports: Makes the pages to read besides, "report" and "model-card", whole HTML documents by name; called when
            one of them is asked for first, since drawing a report's figures takes a while. None where there are none.
        examples: Films to try, by key.
        limits: What the server takes on.
        password: What whoever asks must give (HTTP Basic, any user name); empty asks for none.
        hosts: Names under which the server may be asked; empty takes any. Loopback's by default, so that another web
            page cannot reach the server by giving its own name this machine's address.
        framed_by: Who may show the page in a frame: nobody ("'none'"), or origins as a content security policy names
            them.

    Raises:
        ValueError: If a host or frame has characters that no name has.
    """

    def __init__(
        self,
        document: PageDocument,
        scorer: Scorer,
        *,
        reports: Callable[[], dict[str, str]] | None = None,
        examples: dict[str, ExampleFilm] | None = None,
        limits: ServerLimits = ServerLimits(),
        password: str = "",
        hosts: tuple[str, ...] = LOCAL_NAMES,
        framed_by: str = "'none'",
    ) -> None:
        for name in (*hosts, framed_by):
            if any(letter in name for letter in ";,\r\n\t"):
                raise ValueError(f"{name!r} is no name of a host; letters, digits, dots and colons were expected.")
        self.document, self.limits = document, limits
        self._scorer, self._examples = scorer, dict(examples or {})
        self._password = Password(password) if password else None
        self._hosts, self._policy = hosts, _PAGE_POLICY.format(frames=framed_by)
        self._report_policy = _REPORT_POLICY.format(frames="" if framed_by == "'none'" else framed_by).strip()
        self._framed = framed_by != "'none'"
        self._pages, self._make_reports = self._read_static(), reports
        self._reporting: asyncio.Task[None] | None = None
        self._inside = 0
        self._turn: asyncio.Semaphore | None = None

    def _read_static(self) -> dict[str, _Reply]:
        """Reads every file of the page once: a request names an entry of this table, never a path."""
        found = {}
        for file in (resources.files("chexkeras.page") / "static").iterdir():
            suffix = file.name.rpartition(".")[2]
            if suffix in _TYPES:
                address = "/" if file.name == "page.html" else f"/static/{file.name}"
                found[address] = _Reply(file.read_bytes(), _TYPES[suffix], self._policy)
        return found

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request.

        Args:
            scope: What is asked, as ASGI tells it.
            receive: Gives the body, part by part.
            send: Takes the answer.
        """
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        further: dict[str, str] = {}
        try:
            self._check_where(headers, scope["method"])
            if self._password is not None:
                further = await self._check_who(self._password, headers, scope)
            reply = await self._reply(scope["method"], scope["path"], headers, receive)
        except _Refusal as refusal:
            reply = _said(refusal.status, refusal.words, refusal.headers)
        except (WorkersUnavailable, MemoryError):
            reply = _said(503, "The server cannot read films just now; try again in a minute.")
        # The boundary of the server: one request must not end the others, and nobody is shown its insides.
        except Exception as error:  # noqa: BLE001
            _log.warning("a request could not be answered: %s", scrub(error))
            reply = _said(
                500, "Something went wrong on the server; the film was not scored, and nothing of it was kept."
            )
        if reply.words and "text/html" in headers.get("accept", ""):
            # Somebody who opened an address reads it, not the page's script.
            reply = replace(reply, content=reply.words.encode(), kind="text/plain")
        await _send(send, reply, self._headers(reply) | further, head=scope["method"] == "HEAD")

    def _headers(self, reply: _Reply) -> dict[str, str]:
        kind = f"{reply.kind}; charset=utf-8" if reply.kind.startswith("text/") else reply.kind
        headers = {**_ALWAYS, "content-type": kind, "content-length": str(len(reply.content)), **reply.headers}
        headers["content-security-policy"] = reply.policy or self._policy
        if not self._framed:
            headers["x-frame-options"] = "SAMEORIGIN" if reply.embedded else "DENY"
        return headers

    def _check_where(self, headers: dict[str, str], method: str) -> None:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if self._hosts and name.lower() not in self._hosts:
            raise _Refusal(421, "This server is not known under that name; use the address that it printed.")
        # Other web pages, open in the same browser, must not use it.
        if method == "POST" and _is_foreign(headers, host):
            raise _Refusal(403, "Only the page itself may ask for scores.")

    async def _check_who(self, password: Password, headers: dict[str, str], scope: Message) -> dict[str, str]:
        """Returns the headers that make a browser known which has just given the password."""
        try:
            admitted = await password.admits(headers, str((scope.get("client") or ("",))[0]))
        except ComeAgain as again:
            words = "Too many wrong passwords came from this address; wait a little, then try again."
            raise _Refusal(429, words, {"retry-after": str(math.ceil(again.seconds))}) from None
        if not admitted:
            asked = {"www-authenticate": 'Basic realm="chexkeras", charset="UTF-8"'}
            raise _Refusal(401, "A password is needed; ask whoever started this page.", asked)
        return {} if password.knows(headers) else {"set-cookie": password.cookie}

    async def _reply(self, method: str, path: str, headers: dict[str, str], receive: Receive) -> _Reply:
        if path in REPORTS and self._make_reports is not None:
            await self._written(self._make_reports)
        if path in self._pages:
            _only(method, "GET", "HEAD")
            return self._pages[path]
        if path == "/api/run":
            _only(method, "GET", "HEAD")
            told = self.document.shown()
            told["examples"] = [
                {"key": key, "words": film.words, "verdict": film.verdict} for key, film in self._examples.items()
            ]
            told["pages"] = [] if self._make_reports is None else [path.strip("/") for path in REPORTS]
            told["largest_bytes"] = self.limits.largest_bytes
            return _json(told)
        if path.startswith("/api/examples/") and path.removeprefix("/api/examples/") in self._examples:
            _only(method, "GET", "HEAD")
            return _Reply(self._examples[path.removeprefix("/api/examples/")].content, "application/octet-stream")
        if path in ("/api/film", "/api/row"):
            _only(method, "POST")
            return await self._film(headers, receive, only_row=path == "/api/row")
        if path in ("/api/meaning", "/api/waiting"):
            _only(method, "POST")
            asked = await self._question(headers, receive)
            answer = self._meaning if path == "/api/meaning" else self._waiting
            try:
                return _json(await asyncio.to_thread(answer, asked))
            except (ValueError, KeyError, TypeError) as error:
                raise _Refusal(400, _sentence(error)) from None
        raise _Refusal(404, "There is nothing at this address.")

    async def _written(self, make: Callable[[], dict[str, str]]) -> None:
        """Writes the reports once, however many ask for them at the same time."""
        if self._reporting is None:
            self._reporting = asyncio.create_task(self._write(make))
        try:
            await asyncio.shield(self._reporting)
        except (ValueError, OSError, KeyError) as error:
            self._reporting = None
            _log.warning("the report could not be written: %s", scrub(error))
            raise _Refusal(500, "The report of this run could not be written; 'chexkeras report' says why.") from None

    async def _write(self, make: Callable[[], dict[str, str]]) -> None:
        for name, text in (await asyncio.to_thread(make)).items():
            self._pages[f"/{name}"] = _Reply(text.encode(), "text/html", self._report_policy, embedded=True)

    def _meaning(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self.document.meaning(_number(asked, "prevalence"))

    def _waiting(self, asked: dict[str, Any]) -> dict[str, Any]:
        finding, readers = asked.get("finding"), _number(asked, "readers")
        if finding not in {point.finding for point in self.document.points}:
            raise ValueError("finding must be one of the run's findings.")
        if not (1 <= readers <= 1000 and readers == int(readers)):
            raise ValueError("readers must be a whole number from 1 to 1,000.")
        arrivals, reads = _number(asked, "arrivals"), _number(asked, "reads")
        share = probability(_number(asked, "prevalence"), "prevalence", open_interval=True)
        return {"words": self.document.waiting(str(finding), share, arrivals, reads, int(readers))}

    async def _question(self, headers: dict[str, str], receive: Receive) -> dict[str, Any]:
        body = await self._body(headers, receive, _MOST_QUESTION_BYTES)
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            raise _Refusal(400, "The question could not be read; numbers by name were expected, as JSON.")
        return asked

    async def _film(self, headers: dict[str, str], receive: Receive, *, only_row: bool) -> _Reply:
        if self._inside >= self.limits.at_once + self.limits.waiting:
            words = "The server is busy with other films; this one was not taken. Try again in some seconds."
            raise _Refusal(503, words, {"retry-after": "5"})
        if self._turn is None:
            self._turn = asyncio.Semaphore(self.limits.at_once)
        # Counted before the body is read: so many uploads are in memory, and no more.
        self._inside += 1
        try:
            content = await self._body(headers, receive, self.limits.largest_bytes)
            if not content:
                raise _Refusal(400, "The file is empty; choose a DICOM, PNG or JPEG file.")
            async with self._turn:
                answer = await asyncio.to_thread(partial(self._scorer.answer, content, only_row=only_row))
            return _json(answer)
        finally:
            self._inside -= 1

    async def _body(self, headers: dict[str, str], receive: Receive, most: int) -> bytes:
        too_large = _Refusal(413, f"The file is too large; at most {most / 2**20:,.0f} MiB are taken.")
        stated = headers.get("content-length", "")
        if stated.isdigit() and int(stated) > most:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.upload_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Refusal(400, "The upload was broken off.")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            raise _Refusal(408, "The upload took too long; try again over a faster connection.") from None


def _is_foreign(headers: dict[str, str], host: str) -> bool:
    """Returns whether another web page asks.

    Browsers say so themselves over TLS and on this machine, which holds behind a proxy that changes the host, too;
    elsewhere the origin is compared with the host.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()


def _only(method: str, *allowed: str) -> None:
    if method not in allowed:
        raise _Refusal(405, f"Only {' and '.join(allowed)} are answered here.", {"allow": ", ".join(allowed)})


def _number(asked: dict[str, Any], name: str) -> float:
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        raise ValueError(f"{name} must be a number.")
    return float(value)


def _sentence(error: Exception) -> str:
    return str(error.args[0]) if error.args else "That cannot be computed."


def _json(value: dict[str, Any]) -> _Reply:
    return _Reply(json.dumps(value, allow_nan=False).encode(), "application/json")


def _said(status: int, words: str, headers: dict[str, str] | None = None) -> _Reply:
    content = json.dumps({"error": words}).encode()
    return _Reply(content, "application/json", headers=headers or {}, status=status, words=words)


async def _send(send: Send, reply: _Reply, headers: dict[str, str], *, head: bool) -> None:
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    await send({"type": "http.response.body", "body": b"" if head else reply.content})
