"""What a node is told: who it is, whom it answers, where it keeps films, and its limits; each checked once."""

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chexkeras.arguments import checked
from chexkeras.checks import one_of, positive_int
from chexkeras.dicom.workers.options import ReadOptions

LOOPBACK = "127.0.0.1"
PORT = 11112
"""The port that is registered for DICOM beside 104, which only the system's administrator may open."""

METRICS_PORT = 11113
NEEDED = ("pynetdicom", "highdicom")
"""Packages of the extra "node"."""

REFUSED = ("report", "silent")
"""What becomes of a film that the gate refuses: a result that says "not assessed" and why, or none."""

# PS3.5 6.2, Application Entity: printable ASCII without the backslash, at most 16 characters, not blank.
_TITLE = re.compile(r"[ -\[\]-~]{1,16}")
_HIGHEST_PORT = 65_535


@checked(fields=True)
@dataclass(frozen=True)
class NodeLimits:
    """What a node takes on.

    Attributes:
        object_bytes: Largest film; a sender that goes beyond is cut off.
        in_flight_bytes: What all associations together may hold in memory of films that are not yet on disk.
        pdu_bytes: Largest PDU that is announced and taken, at least 4,096.
        associations: Associations at a time; the next is rejected as "local limit exceeded".
        waiting: Films in the spool that are not yet sent; at more, senders are told to come again (0xA700).
        free_bytes: Space that stays free on the spool's disk; with less, senders are told to come again (0xA700).
        pdu_seconds: Time that one PDU may take from its first byte to its last.
        object_seconds: Time that one film may take from its first byte to its last.
        idle_seconds: Time that a connection may be silent.
        tries: How often a result is offered to a peer that refuses it, before it becomes a dead letter.
        longest_pause_seconds: Longest pause between two tries, or while the peer cannot be reached.
        attempts: How often the scoring of a film may be cut short by the end of the process before the film becomes a
            dead letter.
        remembered_days: How long a film is known by its UID after it was sent.

    Raises:
        ValueError: If a limit is too small.
    """

    object_bytes: int = 128 * 2**20
    in_flight_bytes: int = 512 * 2**20
    pdu_bytes: int = 128 * 2**10
    associations: int = 8
    waiting: int = 1_000
    free_bytes: int = 512 * 2**20
    pdu_seconds: float = 20.0
    object_seconds: float = 300.0
    idle_seconds: float = 60.0
    tries: int = 8
    longest_pause_seconds: float = 60.0
    attempts: int = 10
    remembered_days: float = 90.0

    def __post_init__(self) -> None:
        positive_int(self.pdu_bytes, "pdu_bytes", least=4_096)
        for name in ("object_bytes", "in_flight_bytes", "associations", "waiting", "tries", "attempts"):
            positive_int(getattr(self, name), name)
        positive_int(self.free_bytes, "free_bytes", least=0)
        for name in (
            "pdu_seconds", "object_seconds", "idle_seconds", "longest_pause_seconds", "remembered_days",
        ):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be above 0.")


@dataclass(frozen=True)
class Peer:
    """Where results are sent.

    Attributes:
        title: Its application entity title.
        host: Its host.
        port: Its port.
    """

    title: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"


@checked(fields=True)
@dataclass(frozen=True)
class Tls:
    """Certificates for encrypted connections in which both sides show one.

    Attributes:
        certificate: The node's own certificate, PEM.
        key: Its private key, PEM.
        authorities: Certificates of those who sign the others' certificates, PEM; who shows none of these is cut off.
        to_peer: Whether results are sent encrypted, too, under the same certificate.
    """

    certificate: Path
    key: Path
    authorities: Path
    to_peer: bool = False

    def server_context(self) -> ssl.SSLContext:
        """Returns what the receiver's connections are made with.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If it holds no certificate or key, or the two do not belong together.
        """
        return self._loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def client_context(self) -> ssl.SSLContext:
        """Returns what connections to the peer are made with; the peer's certificate has to name its host.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If it holds no certificate or key, or the two do not belong together.
        """
        return self._loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def _loaded(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        loads: tuple[tuple[Callable[[], object], str], ...] = (
            (lambda: context.load_cert_chain(self.certificate, self.key), "--tls-cert and --tls-key"),
            (lambda: context.load_verify_locations(self.authorities), "--tls-ca"),
        )
        for load, options in loads:
            try:
                load()
            except FileNotFoundError:
                raise FileNotFoundError(f"{options}: a file is not there; check the spelling.") from None
            except ssl.SSLError as error:
                reason = (error.reason or "no PEM").replace("_", " ").lower()
                raise ValueError(f"{options}: {reason}; PEM files that belong together were expected.") from None
        return context


@checked(fields=True)
@dataclass(frozen=True)
class NodeSettings:
    """What a node is told.

    Attributes:
        title: The node's own application entity title; who calls another one is rejected.
        peer: Where results are sent: TITLE@HOST:PORT.
        spool: Folder that holds films until their results are sent; one node at a time uses it.
        allow: Application entity titles that may send; others are rejected.
        host: Address to listen at; by default this machine alone.
        port: Port to listen at, 1 to 65535; 0 takes a free one.
        metrics_port: Port of this machine for health and metrics; 0 takes a free one, None opens none.
        kinds: Which objects are made of a result, see `delivery.dicom_output`.
        refused: "report" sends "not assessed" with the reason for what the gate refuses; "silent" sends nothing.
        profile: The DICOM gate's profile.
        engine: What computes the scores.
        keep_originals: Whether films stay in the spool's folder "kept" after their results were sent.
        retry_dead: Whether films that were put aside are tried again at the start.
        tls: Certificates; None for unencrypted connections.
        read_options: How many processes decode films, and within which limits.
        limits: What the node takes on.

    Raises:
        ValueError: If one of them is none of those, or a package of the extra "node" is not installed.

    Example:
        >>> from pathlib import Path
        >>> NodeSettings("CHEXKERAS", "ORTHANC@127.0.0.1:4242", Path("spool"), ("ORTHANC",)).to
        Peer(title='ORTHANC', host='127.0.0.1', port=4242)
    """

    title: str
    peer: str
    spool: Path
    allow: tuple[str, ...]
    host: str = LOOPBACK
    port: int = PORT
    metrics_port: int | None = METRICS_PORT
    kinds: tuple[str, ...] = ("sr",)
    refused: str = "report"
    profile: str = "clinical"
    engine: str = "keras"
    keep_originals: bool = False
    retry_dead: bool = False
    tls: Tls | None = None
    read_options: ReadOptions = field(default_factory=lambda: ReadOptions(workers=2))
    limits: NodeLimits = NodeLimits()

    def __post_init__(self) -> None:
        _check_title(self.title, "--aet")
        peer_of(self.peer)
        if not self.allow:
            raise ValueError("allow is empty; name the application entity titles that may send (--allow TITLE).")
        for title in self.allow:
            _check_title(title, "--allow")
        for port, option in ((self.port, "--port"), (self.metrics_port, "--metrics-port")):
            if port is not None and not 0 <= port <= _HIGHEST_PORT:
                raise ValueError(f"{option} {port} must be from 1 to {_HIGHEST_PORT}, or 0 for a free one.")
        one_of(self.refused, REFUSED, "refused")
        if self.read_options.processes < 1:
            raise ValueError(
                "read_options.workers=0 would decode what a network sends without protection; give 1 or more."
            )

    @property
    def to(self) -> Peer:
        """Where results are sent."""
        return peer_of(self.peer)


def peer_of(text: str) -> Peer:
    """Returns the peer that TITLE@HOST:PORT names.

    Args:
        text: Title, host and port; an IPv6 address stands in brackets.

    Raises:
        ValueError: If it is written in another way.

    Example:
        >>> peer_of("ORTHANC@[::1]:4242")
        Peer(title='ORTHANC', host='::1', port=4242)
    """
    title, at, address = text.rpartition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon and host and port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT):
        raise ValueError(f"--peer {text!r}: TITLE@HOST:PORT was expected, for example ORTHANC@127.0.0.1:4242.")
    _check_title(title, "--peer")
    return Peer(title.strip(), host.strip("[]"), int(port))


def check_packages() -> None:
    """Checks that what the node needs is installed, before anything expensive.

    Raises:
        ValueError: If a package is missing; says how to install it.
    """
    import importlib.util

    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"the node needs {' and '.join(missing)}, which is not installed; install it with: "
            "pip install 'chexkeras[node]'"
        )


def _check_title(title: str, option: str) -> None:
    if not _TITLE.fullmatch(title) or not title.strip():
        raise ValueError(
            f"{option} {title!r}: an application entity title was expected, 1 to 16 characters of ASCII without a "
            "backslash, for example ORTHANC."
        )
