"""Questions to a DICOMweb service: answers of bounded size and time, from that host alone, errors as one sentence.

What the service says of itself, and what libraries make of it, is repeated nowhere: an address holds identifiers of
studies, and a reason phrase may hold anything.
"""

import importlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from chexkeras.delivery.dicomweb.address import TOKEN, USER, WebAddress, WebLimits, credentials

if TYPE_CHECKING:
    from dicomweb_client.web import DICOMwebClient

Answer = TypeVar("Answer")

JSON = ("application/dicom+json", "application/json")
MULTIPART = ("multipart/related",)
_ACCEPT = {JSON: ", ".join(JSON), MULTIPART: 'multipart/related; type="application/dicom"; transfer-syntax=*'}
# All results of a film go in one piece: a server need not take a body whose length it is not told.
_CHUNK_BYTES = 2**31
_READ_BYTES = 2**20
_LONGEST_BOUNDARY = 70
_MOST_REDIRECTS = 3
_BUSY = (429, 502, 503, 504)
_WHOLE = (200, 202, 204)


class DicomWebError(OSError):
    """What a DICOMweb service did not do, in one sentence that repeats nothing of the service or of a film."""


class _Busy(DicomWebError):
    """It could not be done just then."""


def dicomweb_client() -> Any:
    """Returns the library dicomweb_client.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        return importlib.import_module("dicomweb_client")
    except ImportError as error:
        raise ValueError(
            "DICOMweb needs dicomweb-client, which is not installed; install it with: pip install 'chexkeras[dicomweb]'"
        ) from error


class Connection:
    """A connection to one service.

    Args:
        address: Where it is.
        limits: What is taken from it.

    Attributes:
        client: The library's client, to be used inside `ask`.

    Raises:
        ValueError: If dicomweb-client is not installed, or credentials are incomplete.
    """

    def __init__(self, address: WebAddress, limits: WebLimits) -> None:
        library = dicomweb_client()
        # Both log addresses, which hold identifiers of studies.
        for name in ("dicomweb_client", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._address, self._limits = address, limits
        self._gate = _adapter(limits)
        self._session = _session(address, self._gate)
        self.client: DICOMwebClient = library.DICOMwebClient(
            address.base,
            session=self._session,
            chunk_size=_CHUNK_BYTES,
            timeout=(limits.connect_seconds, limits.silent_seconds),
        )
        # It would send the body again from where the last try left it, which is its end.
        self.client.set_http_retry_params(retry=False)

    def close(self) -> None:
        """Ends the connection."""
        self._session.close()

    def ask(self, what: str, question: Callable[[], Answer], kind: tuple[str, ...], most_bytes: int) -> Answer:
        """Returns the answer to a question, which is asked again while the service is busy.

        Args:
            what: What is asked for, for messages, such as "a list of studies".
            question: Uses `client`.
            kind: Media types that the answer may have: `JSON` or `MULTIPART`.
            most_bytes: The longest answer.

        Raises:
            DicomWebError: If there is no such answer.
        """
        for at in range(self._limits.tries):
            try:
                return self._asked(what, question, kind, most_bytes)
            except _Busy as error:
                if at + 1 == self._limits.tries:
                    raise DicomWebError(str(error)) from None
                time.sleep(self._limits.pause_seconds * 2**at)
        raise AssertionError("tries is 1 or more")

    def _asked(self, what: str, question: Callable[[], Answer], kind: tuple[str, ...], most_bytes: int) -> Answer:
        expected = _Expected(what, kind, most_bytes)
        self._gate.expected = expected
        found: list[Answer] = []
        raised: list[BaseException] = []

        def work() -> None:
            try:
                found.append(question())
                expected.check_end()
            # Told by whoever waits for it.
            except BaseException as error:  # noqa: BLE001
                raised.append(error)

        # A server that sends a byte now and then holds a read for ever, but nobody who waits for a thread.
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(self._limits.answer_seconds)
        if thread.is_alive():
            expected.abandoned = True
            raise self._failed(f"took longer than {self._limits.answer_seconds:g} s for {what}, and was left")
        if raised:
            raise self._translated(raised[0], what) from None
        return found[0]

    def _failed(self, words: str, fix: str = "", *, busy: bool = False) -> DicomWebError:
        kind = _Busy if busy else DicomWebError
        return kind(f"the DICOMweb server {self._address.shown} {words}{f'; {fix}' if fix else ''}.")

    def _translated(self, error: BaseException, what: str) -> BaseException:
        import requests

        errors = requests.exceptions
        if isinstance(error, _Refused):
            return self._failed(error.words, error.fix)
        if isinstance(error, errors.HTTPError) and error.response is not None:
            return self._of_status(error.response.status_code, what)
        if isinstance(error, errors.SSLError):
            return self._failed(
                "has no certificate that can be trusted, or none of this name",
                "give the certificate of who signed it with --dicomweb-ca FILE",
            )
        if isinstance(error, (errors.InvalidSchema, errors.TooManyRedirects)):
            return self._failed(
                "sends elsewhere, and films and results go to no other place than was named",
                "give the address that it means",
            )
        if isinstance(error, errors.ConnectTimeout):
            return self._failed("cannot be reached in time", "is the address right?", busy=True)
        if isinstance(error, errors.Timeout):
            return self._failed(f"fell silent when asked for {what}", busy=True)
        if isinstance(error, errors.ChunkedEncodingError):
            return self._failed(f"ended in the middle of {what}", busy=True)
        if isinstance(error, errors.ConnectionError):
            return self._failed("cannot be reached", "is the address right, and does it run?", busy=True)
        if isinstance(error, (errors.RequestException, ValueError, LookupError, TypeError, AttributeError)):
            return self._failed(f"answered with something else than {what}", "is the address that of its DICOMweb?")
        if isinstance(error, (RecursionError, RuntimeError, ArithmeticError)):
            return self._failed(f"answered with something else than {what}")
        return error

    def _of_status(self, status: int, what: str) -> DicomWebError:
        if status in (401, 403):
            asked = "asks for other credentials" if "Authorization" in self._gate.sent else "asks for credentials"
            fix = f"set {USER} and its password, or {TOKEN}, or use a .netrc file"
            return self._failed(f"{asked} (HTTP {status})", fix)
        if status == 404:
            return self._failed(f"does not have {what} (HTTP 404)", "is the address that of its DICOMweb?")
        if status == 406:
            return self._failed(f"cannot give {what} as it is stored (HTTP 406)")
        return self._failed(f"did not give {what} (HTTP {status})", busy=status in _BUSY)


class _Refused(Exception):
    """An answer that is not taken."""

    def __init__(self, words: str, fix: str = "") -> None:
        super().__init__(words)
        self.words, self.fix = words, fix


class _Expected:
    """What the answer that is awaited may be, and how much of it has come."""

    def __init__(self, what: str, kind: tuple[str, ...], most_bytes: int) -> None:
        self.what, self.kind, self.most_bytes = what, kind, most_bytes
        self.abandoned = False
        self._count, self._tail, self._boundary = 0, b"", b""

    def check_head(self, response: Any) -> None:
        """Refuses an answer of another kind or length before anything of it is read."""
        headers = response.headers
        if str(headers.get("Content-Encoding", "identity")).lower() != "identity":
            raise _Refused(f"compressed {self.what}, which was not asked for")
        stated = str(headers.get("Content-Length", ""))
        if stated.isascii() and stated.isdigit() and (len(stated) > 18 or int(stated) > self.most_bytes):
            self._refuse_length()
        if 200 <= response.status_code < 300 and response.status_code not in _WHOLE:
            raise _Refused(f"gave no whole answer when asked for {self.what} (HTTP {response.status_code})")
        # What is empty has no kind; and what a failure says is not read.
        if response.status_code not in (200, 202, 409) or stated == "0":
            return
        media, *parameters = [part.strip() for part in str(headers.get("Content-Type", "")).split(";")]
        if response.status_code != 409 and media.lower() not in self.kind:
            raise _Refused(
                f"answered with something else than {self.what}: {self.kind[0]} was expected",
                "is the address that of its DICOMweb?",
            )
        # The library compares the whole.
        headers["Content-Type"] = media.lower() if self.kind == JSON else headers["Content-Type"]
        if self.kind == MULTIPART and response.status_code != 409:
            pairs = (each.partition("=") for each in parameters)
            boundary = {name.strip().lower(): value.strip(' "') for name, _, value in pairs}.get("boundary", "")
            if not boundary.isascii() or not 0 < len(boundary) <= _LONGEST_BOUNDARY:
                raise _Refused(f"sent {self.what} without saying where its parts end")
            self._boundary = f"--{boundary}--".encode()

    def count(self, chunk: bytes) -> bytes:
        """Returns a piece of the answer, if it is not too much by now."""
        self._count += len(chunk)
        if self.abandoned or self._count > self.most_bytes:
            self._refuse_length()
        self._tail = (self._tail + chunk[-2 * _LONGEST_BOUNDARY :])[-2 * _LONGEST_BOUNDARY :]
        return chunk

    def check_end(self) -> None:
        """Refuses parts without an end: the library would take what was cut off for the last part."""
        if self._boundary and not self._tail.rstrip(b"\r\n").endswith(self._boundary):
            raise _Refused(f"ended in the middle of {self.what}")

    def _refuse_length(self) -> None:
        raise _Refused(f"sent more than {self.most_bytes:,} bytes for {self.what}, which is not taken")


def _adapter(limits: WebLimits) -> Any:
    from requests.adapters import HTTPAdapter

    class Gate(HTTPAdapter):
        """Lets through what is asked as we want it, and answers within what is expected."""

        expected: _Expected
        sent: Any = ()

        def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
            # The library names the host without its port.
            request.headers.pop("Host", None)
            request.headers["Accept-Encoding"] = "identity"
            request.headers["Accept"] = _ACCEPT[self.expected.kind]
            self.sent = request.headers
            response = super().send(request, *arguments, **options)
            try:
                self.expected.check_head(response)
            except _Refused:
                response.close()
                raise
            response.raw = _Counted(response.raw, self.expected)
            return response

    return Gate()


class _Counted:
    """A body whose bytes are counted as they come."""

    def __init__(self, raw: Any, expected: _Expected) -> None:
        self._raw, self._expected = raw, expected

    def stream(self, amount: int, **options: Any) -> Iterator[bytes]:
        """Yields the body in pieces."""
        for chunk in self._raw.stream(min(amount, _READ_BYTES), **options):
            yield self._expected.count(chunk)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def _session(address: WebAddress, gate: Any) -> Any:
    import requests

    session = requests.Session()
    # Neither proxies nor certificates from the environment: a film goes straight to where it was said to go.
    session.trust_env = False
    session.max_redirects = _MOST_REDIRECTS
    session.auth = credentials(address)
    session.verify = True if address.authorities is None else str(address.authorities)
    # No other adapter is there, so nothing can be asked of another host, wherever the server sends.
    session.adapters.clear()
    session.mount(address.origin, gate)
    return session


def parsed(body: bytes) -> Any:
    """Returns what an answer in JSON says.

    Args:
        body: The answer.

    Raises:
        ValueError: If it is no JSON.
    """
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("lists in lists without end") from None
