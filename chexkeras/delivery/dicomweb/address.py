"""Where a DICOMweb service is, how it is proved to be that one, and who asks: checked before anything is asked."""

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chexkeras.arguments import checked
from chexkeras.checks import existing_file, is_loopback, positive_int

USER, PASSWORD, TOKEN = "CHEXKERAS_DICOMWEB_USER", "CHEXKERAS_DICOMWEB_PASSWORD", "CHEXKERAS_DICOMWEB_TOKEN"
"""Environment variables with credentials. Without them the file .netrc is asked, or that which NETRC names."""

_HIGHEST_PORT = 65_535
_EXAMPLE = "https://pacs.example.org:8042/dicom-web"


@checked(fields=True)
@dataclass(frozen=True)
class WebLimits:
    """What is taken from a DICOMweb service, which may be broken or hostile.

    Attributes:
        films: Most films of one call; 1 or more.
        film_bytes: Largest film, bytes.
        list_bytes: Longest answer that is no film, such as a list of studies, bytes.
        connect_seconds: How long a connection may take to be made.
        silent_seconds: How long the service may say nothing while it answers.
        answer_seconds: How long an answer may take from question to end; a film, or a film's results, is one.
        tries: How often a question is asked that the service could not answer just then (HTTP 429, 502 to 504, or a
            connection that broke).
        pause_seconds: Pause before the second try; it doubles.

    Raises:
        ValueError: If a limit is too small.
    """

    films: int = 1_000
    film_bytes: int = 128 * 2**20
    list_bytes: int = 32 * 2**20
    connect_seconds: float = 10.0
    silent_seconds: float = 30.0
    answer_seconds: float = 300.0
    tries: int = 3
    pause_seconds: float = 2.0

    def __post_init__(self) -> None:
        for name in ("films", "film_bytes", "list_bytes", "tries"):
            positive_int(getattr(self, name), name)
        for name in ("connect_seconds", "silent_seconds", "answer_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be above 0.")
        if not self.pause_seconds >= 0:
            raise ValueError(f"pause_seconds={self.pause_seconds!r} must be 0 or more.")


@checked(fields=True)
@dataclass(frozen=True)
class WebAddress:
    """Where a DICOMweb service is.

    Attributes:
        url: The address below which ``/studies`` answers, for example "https://pacs.example.org:8042/dicom-web".
        authorities: Certificates of those who sign the server's certificate, PEM; None takes those that are well known.
        allow_http: Whether films and results may travel unencrypted to another machine.

    Raises:
        FileNotFoundError: If the file of certificates is not there.
        ValueError: If the address is none, holds a password, or is unencrypted and of another machine.

    Example:
        >>> WebAddress("https://pacs.example.org:8042/dicom-web/").shown
        'pacs.example.org:8042'
    """

    url: str
    authorities: Path | None = None
    allow_http: bool = False

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            port, host = parts.port, parts.hostname or ""
        except ValueError:
            parts, port, host = urlsplit(""), None, ""
        plain = self.url.isascii() and self.url.isprintable() and " " not in self.url
        if parts.username is not None or parts.password is not None:
            # Not repeated: it would be in a log.
            raise ValueError(
                f"the address of the DICOMweb server holds a user or password, which everybody sees who lists "
                f"processes; set {USER} and {PASSWORD}, or use a .netrc file."
            )
        if not plain or parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or port == 0:
            raise ValueError(f"the address of the DICOMweb server {self.url!r}: {_EXAMPLE} was expected, for example.")
        if parts.scheme == "http" and not is_loopback(host) and not self.allow_http:
            raise ValueError(
                f"http to {host!r} would send films and results unencrypted over the network; give its https address, "
                "or allow it with allow_http=True (--allow-http)."
            )
        if self.authorities is not None:
            _check_authorities(existing_file(self.authorities, "authorities"))

    @property
    def base(self) -> str:
        """The address without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def origin(self) -> str:
        """Scheme, host and port with a slash behind them: what every question must begin with."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/"

    @property
    def shown(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc


def _check_authorities(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError(f"{path.name!r} holds no certificate; a PEM file of certificates was expected.") from None


def credentials(address: WebAddress) -> Callable[[Any], Any]:
    """Returns what puts credentials to a request: from the environment, from .netrc, or nothing.

    Args:
        address: The service; a .netrc file names its host.

    Raises:
        ValueError: If a user stands in the environment without a password or the other way round, or a token holds
            what no header can.
    """
    from requests.auth import HTTPBasicAuth
    from requests.utils import get_netrc_auth

    token, user, password = (os.environ.get(name) for name in (TOKEN, USER, PASSWORD))
    if (user is None) != (password is None):
        raise ValueError(f"{USER} and {PASSWORD} belong together; set both or none.")
    if token is not None and user is not None:
        raise ValueError(f"{TOKEN} and {USER} are both set; one way to log in was expected.")
    if token is not None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError(f"{TOKEN} holds blanks or signs that no token has, or nothing; set it again.")
        return _Bearer(token)
    if user is not None and password is not None:
        return HTTPBasicAuth(user.encode(), password.encode())
    found = get_netrc_auth(address.url)
    return HTTPBasicAuth(*found) if found else lambda request: request


class _Bearer:
    """Puts a token to a request."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request
