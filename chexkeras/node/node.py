"""The node as a whole: receiver, scorer and sender around one spool, with health and metrics."""

import contextlib
import importlib.metadata
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import chexkeras
from chexkeras.arguments import checked
from chexkeras.dicom.privacy import scrub
from chexkeras.dicom.profiles import find_profile
from chexkeras.inference.engines import check_engine
from chexkeras.node.audit_log import AuditLog
from chexkeras.node.metrics import Metrics, MetricsServer, Sample
from chexkeras.node.receiver import Receiver
from chexkeras.node.scorer import SpoolScorer
from chexkeras.node.sender import Sender
from chexkeras.node.settings import NodeSettings, check_packages
from chexkeras.node.spool import Spool
from chexkeras.progress import say
from chexkeras.report.facts.software import WATCHED_IMAGES
from chexkeras.runs.run import Run

_LOOK_SECONDS = 0.5
_FORGET_SECONDS = 3_600.0


@checked
class Node:
    """A DICOM node that answers a PACS with the results of a run; used in a ``with`` block, or closed by `close`.

    Nothing of a film is lost by an end of the process at any moment: what was acknowledged is on disk, and goes on with
    the next node on the same spool.

    Args:
        run: The run or its folder.
        settings: What the node is told.

    Attributes:
        settings: What the node was told.
        metrics: What was counted.
        cautions: The run's cautions, to be shown beside its results.

    Raises:
        FileExistsError: If another node uses the spool.
        FileNotFoundError: If the run lacks a file.
        OSError: If an address is taken, or the spool cannot be written to.
        ValueError: If a package, profile, engine or kind of object is missing or unknown, or the run is damaged.
    """

    def __init__(self, run: Run | str | Path, settings: NodeSettings) -> None:
        check_packages()
        find_profile(settings.profile)
        check_engine(settings.engine)
        loaded = run if isinstance(run, Run) else Run.load(run)
        loaded.check_model()
        from chexkeras.delivery.dicom_output import DicomOutput

        output = DicomOutput(loaded, settings.kinds)
        self.settings, self.metrics, self.cautions = settings, Metrics(), loaded.cautions
        with contextlib.ExitStack() as made:
            self.spool = Spool(settings.spool, settings.limits, keep_originals=settings.keep_originals)
            made.callback(self.spool.close)
            self.log = AuditLog(self.spool.folder, self.spool.unfinished())
            made.callback(self.log.close)
            if settings.retry_dead:
                say(f"{self.spool.revive()} films that were put aside are tried again")
            self.sender = Sender(settings, self.spool, self.metrics, self.log)
            self.scorer = SpoolScorer(loaded, settings, self.spool, output, self.metrics, self.log)
            self.receiver = Receiver(settings, self.spool, self.metrics, self.sender.associate)
            made.callback(self.receiver.close)
            self.server: MetricsServer | None = None
            if settings.metrics_port is not None:
                self.server = MetricsServer(settings.metrics_port, self.samples, self.health)
            made.pop_all()
        self._forgotten = time.monotonic()
        self._alarmed: set[str] = set()

    def start(self) -> "Node":
        """Begins to listen, to score once the model is loaded, and to send."""
        if self.server is not None:
            self.server.start()
        self.receiver.start()
        self.scorer.start()
        self.sender.start()
        return self

    def run(self, stop: threading.Event | None = None) -> None:
        """Works until it is interrupted.

        Args:
            stop: Ends it when it is set.

        Raises:
            RuntimeError: If a part of the node has failed.
        """
        stop = stop or threading.Event()
        while not stop.wait(_LOOK_SECONDS):
            self._check_parts()
            self._say_drift()
            if time.monotonic() - self._forgotten > _FORGET_SECONDS:
                self.spool.forget_old()
                self._forgotten = time.monotonic()

    def close(self) -> None:
        """Ends in order: takes no more films, scores and sends what is in hand; all else stays in the spool."""
        self.receiver.close()
        self.scorer.close()
        self.sender.close()
        if self.server is not None:
            self.server.close()
        self.log.close()
        self.spool.close()

    def __enter__(self) -> "Node":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_parts(self) -> None:
        for part, name in ((self.scorer, "scorer"), (self.sender, "sender")):
            if part.error is not None:
                if isinstance(part.error, (ValueError, OSError)):
                    raise part.error
                raise RuntimeError(f"the {name} ended ({scrub(part.error)}); the spool has what was taken.")

    def _say_drift(self) -> None:
        points = [] if self.scorer.drift is None else self.scorer.drift.points()
        alarmed = {chart.key: (chart, count) for chart, count, is_alarm in points if is_alarm}
        for key in alarmed.keys() - self._alarmed:
            chart, count = alarmed[key]
            say(
                f"drift: {key}: {count} of the last {WATCHED_IMAGES} films, {chart.low} to {chart.high} were expected: "
                "films, prevalence or device have changed"
            )
        self._alarmed = set(alarmed)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Returns whether all parts work and the model is loaded, and that in words."""
        parts = {"receiver": self.receiver.is_alive, "scorer": self.scorer.is_alive, "sender": self.sender.is_alive}
        is_well = all(parts.values())
        status = "failed" if not is_well else "ok" if self.scorer.is_ready else "starting"
        return status == "ok", {
            "status": status, **parts, "model": self.scorer.is_ready, "peer": self.sender.peer_is_up,
            "waiting": self.spool.queue_length,
        }  # fmt: skip

    def samples(self) -> list[Sample]:
        """Returns all metrics."""
        found = self.metrics.samples()
        found += [
            ("films", "gauge", "Films in the spool, by place.", {"place": place}, float(count))
            for place, count in self.spool.counts().items()
        ]
        for name, words, value in (
            ("queue_length", "Films that are yet to be scored or sent.", self.spool.queue_length),
            ("queue_oldest_seconds", "For how long the oldest of them has waited.", self.spool.oldest_seconds()),
            ("ready", "Whether the model is loaded.", self.scorer.is_ready),
            ("peer_up", "Whether the peer could be reached at the last try.", self.sender.peer_is_up),
            ("disk_free_bytes", "Space left on the spool's disk.", shutil.disk_usage(self.spool.folder).free),
        ):
            found.append((name, "gauge", words, {}, float(value)))
        made_by = {name: importlib.metadata.version(name) for name in ("pynetdicom", "highdicom", "pydicom")}
        made_by = {"version": chexkeras.__version__, "run": self.scorer.fingerprint, **made_by}
        found.append(("info", "gauge", "What receives, scores and sends; always 1.", made_by, 1.0))
        return found + list(self._drift_samples())

    def _drift_samples(self) -> Iterator[Sample]:
        points = [] if self.scorer.drift is None else self.scorer.drift.points()
        seen = [(chart, float(count), is_alarm) for chart, count, is_alarm in points if count is not None]
        for name, words, values in (
            (
                "drift_low",
                "Fewest that the baseline lets expect in a block.",
                [(c, float(c.low)) for c, _, _ in points],
            ),
            (
                "drift_high",
                "Most that the baseline lets expect in a block.",
                [(c, float(c.high)) for c, _, _ in points],
            ),
            ("drift_count", "Count of the last whole block.", [(chart, count) for chart, count, _ in seen]),
            ("drift_alarm", "Whether that count is outside.", [(chart, float(alarm)) for chart, _, alarm in seen]),
        ):
            for chart, value in values:
                yield name, "gauge", words, {"of": chart.kind, "finding": chart.finding}, value


@contextlib.contextmanager
def quiet_threads(metrics: Metrics) -> Iterator[None]:
    """Counts errors that end a thread of the network library, instead of printing them with what they quote.

    Args:
        metrics: Where they are counted.
    """
    before = threading.excepthook

    def count(arguments: "threading.ExceptHookArgs") -> None:
        kind = arguments.exc_type.__name__
        metrics.count("connections_failed", kind)
        if not (arguments.exc_traceback and "pynetdicom" in _files_of(arguments.exc_traceback)):
            say(f"a thread of the node ended with {kind}")

    threading.excepthook = count
    try:
        yield
    finally:
        threading.excepthook = before


def _files_of(traceback: TracebackType | None) -> str:
    found = []
    while traceback is not None:
        found.append(traceback.tb_frame.f_code.co_filename)
        traceback = traceback.tb_next
    return " ".join(found)
