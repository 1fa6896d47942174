"""Health and metrics of a node on a port of this machine, in the text format of Prometheus."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chexkeras.node.settings import LOOPBACK

Sample = tuple[str, str, str, dict[str, str], float]
"""Name without the prefix, "counter" or "gauge", what it says, labels, value."""

_PREFIX = "chexkeras_node_"
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = 5.0

COUNTED = {
    "received": "Films that were taken and are on disk.",
    "again": "Films that were known already; nothing was kept of them.",
    "stores_refused": "Films that were answered with a failure, by reason.",
    "associations_rejected": "Associations that were rejected, by reason.",
    "connections_cut": "Connections that were cut off, by reason.",
    "connections_failed": "Connections that ended with an error inside the network library.",
    "scored": "Films that went through the gate and the model, by verdict.",
    "refused": "Films that the gate refused, by code.",
    "results": "Results that the peer has taken.",
    "sent": "Films of which the peer has taken every result.",
    "silent": "Refused films for which nothing was sent.",
    "send_failures": "Tries to send that failed, by reason.",
    "dead": "Films that were put aside.",
    "commitments": "Requests for storage commitment that were answered, by answer.",
}
"""What is counted, since the process began."""


class Metrics:
    """Counts, from as many threads as like."""

    def __init__(self) -> None:
        self._counts = Counter[tuple[str, str]]()
        self._lock = threading.Lock()

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Counts something.

        Args:
            name: One of `COUNTED`.
            label: Its reason, code or verdict, a word of our own; empty for none.
            by: How many.
        """
        if name not in COUNTED:
            raise KeyError(f"{name!r} is not counted; COUNTED lists what is.")
        with self._lock:
            self._counts[name, label] += by

    def value(self, name: str, label: str | None = None) -> int:
        """Returns a count.

        Args:
            name: One of `COUNTED`.
            label: Its label; None sums over all.
        """
        with self._lock:
            return sum(n for (key, of), n in self._counts.items() if key == name and label in (None, of))

    def samples(self) -> list[Sample]:
        """Returns all counts; what was never counted is 0."""
        with self._lock:
            counts = dict(self._counts)
        for name in COUNTED:
            if not any(key == name for key, _ in counts):
                counts[name, ""] = 0
        return [
            (f"{name}_total", "counter", COUNTED[name], {"by": label} if label else {}, float(count))
            for (name, label), count in sorted(counts.items())
        ]


def as_text(samples: Iterable[Sample]) -> str:
    """Returns samples in Prometheus' text format.

    Args:
        samples: The samples; those of one name stand together.

    Source:
        https://prometheus.io/docs/instrumenting/exposition_formats/

    Example:
        >>> print(as_text([("up", "gauge", "Whether it is.", {"of": "peer"}, 1.0)]), end="")
        # HELP chexkeras_node_up Whether it is.
        # TYPE chexkeras_node_up gauge
        chexkeras_node_up{of="peer"} 1
    """
    lines, before = [], ""
    for name, kind, words, labels, value in samples:
        if name != before:
            lines += [f"# HELP {_PREFIX}{name} {words}", f"# TYPE {_PREFIX}{name} {kind}"]
            before = name
        told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{_PREFIX}{name}{f'{{{told}}}' if told else ''} {value:.10g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Says nothing of requesters that went away."""


class MetricsServer:
    """Answers GET /metrics and GET /health on this machine's own address, and nothing else.

    Args:
        port: The port; 0 takes a free one.
        samples: Called for each request of /metrics.
        health: Called for each request of /health; returns whether all is well, and what is to be said of it.

    Raises:
        OSError: If the port is taken.
    """

    def __init__(
        self, port: int, samples: Callable[[], list[Sample]], health: Callable[[], tuple[bool, dict[str, Any]]]
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = _SECONDS
            server_version, sys_version = "chexkeras", ""

            def do_GET(self) -> None:
                """Answers."""
                if self.path == "/metrics":
                    self._answer(200, _TYPE, as_text(samples()))
                elif self.path == "/health":
                    is_well, words = health()
                    self._answer(200 if is_well else 503, "application/json", json.dumps(words) + "\n")
                else:
                    self._answer(404, "text/plain", "GET /metrics or GET /health was expected.\n")

            def _answer(self, status: int, kind: str, text: str) -> None:
                content = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Says nothing of requests."""

        try:
            self._server = _QuietServer((LOOPBACK, port), Handler)
        except OSError as error:
            raise OSError(
                f"metrics cannot be served at {LOOPBACK}:{port} ({error.strerror or error}); choose another port with "
                "--metrics-port."
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def close(self) -> None:
        """Ends."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
