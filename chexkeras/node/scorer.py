"""The scorer: takes films from the spool, scores them in batches, and makes their results."""

import contextlib
import math
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import chexkeras
from chexkeras.dicom.objects.source import NotDescribable
from chexkeras.dicom.privacy import scrub
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.files import NO_ROOM
from chexkeras.node.audit_log import SHOWN_LETTERS, AuditLog
from chexkeras.node.drift import DriftWatch, charts_of
from chexkeras.node.film import SpooledFilm
from chexkeras.node.metrics import Metrics
from chexkeras.node.settings import NodeSettings
from chexkeras.node.spool import Spool
from chexkeras.parallel import WorkersUnavailable
from chexkeras.runs.run import Run

if TYPE_CHECKING:
    from chexkeras.delivery.dicom_output import DicomOutput
    from chexkeras.inference.predictor import Predictor
    from chexkeras.inference.read_files import FileResult

# The model is compiled for each; a batch between two of them would be filled up, and cost as much as the larger one.
BATCHES = (1, 4, 16)
_LOOK_SECONDS = 0.25
_PAUSE_SECONDS = 5.0


class SpoolScorer:
    """Scores what the spool receives, in threads of its own.

    Args:
        run: The run.
        settings: The node's settings.
        spool: Where films come from and go.
        output: What makes DICOM objects of results.
        metrics: Where is counted what was scored.
        log: The audit log, for films of which no result can be made.
    """

    def __init__(
        self, run: Run, settings: NodeSettings, spool: Spool, output: "DicomOutput", metrics: Metrics, log: AuditLog
    ) -> None:  # fmt: skip
        self._run, self._settings, self._spool = run, settings, spool
        self._output, self._metrics, self._log = output, metrics, log
        self._predictor: Predictor | None = None
        self.drift: DriftWatch | None = None
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._pool = ReaderPool(settings.profile, settings.read_options)
        # As far ahead as a folder is read: the next batch is decoded while the model scores this one.
        self._read: queue.Queue[tuple[SpooledFilm, FileResult]] = queue.Queue(2 * BATCHES[-1])
        self._in_hand: list[tuple[SpooledFilm, FileResult]] = []
        self._readers = [threading.Thread(target=self._read_films, daemon=True) for _ in range(self._pool.size)]
        self._thread = threading.Thread(target=self._work, name="scorer", daemon=True)
        # Objects are made of the last batch's results while the model scores the next.
        self._to_write: queue.Queue[tuple[SpooledFilm, dict[str, Any]]] = queue.Queue(2 * BATCHES[-1])
        self._writer = threading.Thread(target=self._write, name="writer", daemon=True)

    @property
    def fingerprint(self) -> str:
        """The run's fingerprint, as results and the audit log name it."""
        return self._output.device.fingerprint

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded."""
        return self._predictor is not None

    @property
    def is_alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive() and self._writer.is_alive()

    def start(self) -> None:
        """Begins to load the model, and then to score."""
        self._thread.start()
        self._writer.start()

    def close(self) -> None:
        """Scores what is in hand, puts back what is not, and ends."""
        self._stop.set()
        for thread in (*self._readers, self._thread, self._writer):
            if thread.is_alive():
                thread.join()
        self._pool.close()
        for left in (self._read, self._to_write):
            while not left.empty():
                self._spool.give_back(left.get()[0])

    def _work(self) -> None:
        try:
            predictor = self._load()
            while not self._stop.is_set() or any(thread.is_alive() for thread in self._readers) or self._has_more():
                batch = self._batch()
                if batch:
                    self._score(predictor, batch)
        # Whatever it is, the node ends with it, in order: a node that takes films and scores none must not go on.
        except Exception as error:  # noqa: BLE001
            self.error = error

    def _has_more(self) -> bool:
        return bool(self._in_hand) or not self._read.empty()

    def _load(self) -> "Predictor":
        from chexkeras.inference.predictor import Predictor

        settings = self._settings
        predictor = Predictor.load(self._run, settings.profile, settings.engine)
        black = np.zeros(predictor.model.input_shape[1:3], np.uint8)
        for size in BATCHES:
            # Compiled now, and not while the first film waits.
            predictor.score([black], size)
        self.drift = DriftWatch(charts_of(self._run), self._spool.folder)
        self._predictor = predictor
        for thread in self._readers:
            thread.start()
        return predictor

    def _read_films(self) -> None:
        try:
            self._read_until_stopped()
        # As where films are scored.
        except Exception as error:  # noqa: BLE001
            self.error = error

    def _read_until_stopped(self) -> None:
        from chexkeras.inference.read_files import read_file

        read, predictor = self._pool.prepare(), self._predictor
        while not self._stop.is_set():
            film = self._spool.claim(_LOOK_SECONDS)
            if film is None:
                continue
            try:
                result = read_file(film.path, read, predictor.for_model)  # type: ignore[union-attr]
            except WorkersUnavailable:
                self._spool.give_back(film)
                self._stop.wait(_PAUSE_SECONDS)
                continue
            self._hand_on(self._read, (film, result), self._thread)

    def _hand_on(self, to: "queue.Queue[Any]", item: tuple[SpooledFilm, Any], taker: threading.Thread) -> None:
        """Puts a film into a queue when there is room, and back into the spool when nobody takes any more."""
        while True:
            try:
                return to.put(item, timeout=_LOOK_SECONDS)
            except queue.Full:
                if not taker.is_alive():
                    return self._spool.give_back(item[0])

    def _write(self) -> None:
        try:
            while self._thread.is_alive() or not self._to_write.empty():
                with contextlib.suppress(queue.Empty):
                    self._finish(*self._to_write.get(timeout=_LOOK_SECONDS))
        # As where films are scored.
        except Exception as error:  # noqa: BLE001
            self.error = error

    def _batch(self) -> list[tuple[SpooledFilm, "FileResult"]]:
        """Returns films that have been read by now, as many as a full batch of `BATCHES`; waits where there is none."""
        if not self._in_hand:
            with contextlib.suppress(queue.Empty):
                self._in_hand.append(self._read.get(timeout=_LOOK_SECONDS))
        while self._in_hand and len(self._in_hand) < BATCHES[-1]:
            try:
                self._in_hand.append(self._read.get_nowait())
            except queue.Empty:
                break
        size = max((each for each in BATCHES if each <= len(self._in_hand)), default=0)
        batch, self._in_hand = self._in_hand[:size], self._in_hand[size:]
        return batch

    def _score(self, predictor: "Predictor", batch: list[tuple[SpooledFilm, "FileResult"]]) -> None:
        results = [result for _, result in batch]
        accepted = sum(result.image is not None for result in results)
        size = next(each for each in BATCHES if each >= min(accepted, BATCHES[-1]))
        records = predictor.records_of(results, size)
        for (film, _), record in zip(batch, records, strict=True):
            shown = film.name[:SHOWN_LETTERS]
            self._hand_on(self._to_write, (film, {**record, "file": shown, "key": shown}), self._writer)

    def _finish(self, film: SpooledFilm, record: dict[str, Any]) -> None:
        try:
            self._make_results(film, record)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            # There may be room again in a moment; putting a film back takes none.
            self._metrics.count("send_failures", f"result not written ({scrub(error)})")
            self._spool.give_back(film)
            self._stop.wait(_PAUSE_SECONDS)

    def _make_results(self, film: SpooledFilm, record: dict[str, Any]) -> None:
        is_silent = record["verdict"] == "reject" and self._settings.refused == "silent"
        told = audit_values(film, record, self.fingerprint)
        try:
            if not is_silent:
                self._output.write(film.path, record, film.results)
        except NotDescribable as error:
            # Its message repeats nothing of the film.
            self._give_up(film, record, told, f"no result: {error}")
            return
        # What a library says may quote the film.
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise
            self._give_up(film, record, told, f"no result ({scrub(error)})")
            return
        self._spool.commit(film, told)
        self._count(record)
        if self.drift is not None:
            self.drift.add([record])

    def _give_up(self, film: SpooledFilm, record: dict[str, Any], told: dict[str, Any], why: str) -> None:
        self._metrics.count("dead")
        self._log.write(film.name, {**told, "outcome": "dead", "why": why})
        self._spool.bury(film, {**told, "reason": why})
        self._log.settle(film.name)
        self._count(record)

    def _count(self, record: dict[str, Any]) -> None:
        self._metrics.count("scored", record["verdict"])
        if record["verdict"] == "reject":
            self._metrics.count("refused", str(record["code"]))


def audit_values(film: SpooledFilm, record: dict[str, Any], fingerprint: str) -> dict[str, Any]:
    """Returns what a line of the audit log says of a film's scoring: nothing of the film but sizes and our own words.

    Args:
        film: The film.
        record: What `Predictor.records_of` gives.
        fingerprint: Of the run.
    """
    findings = {
        entry["finding"]: {"score": round(entry["score"], 6), "call": entry["decision"]} for entry in record["findings"]
    }
    return {
        "received": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(film.received)),
        "bytes": film.path.stat().st_size,
        "verdict": record["verdict"],
        "codes": [code for code in str(record["code"]).split(";") if code],
        "findings": findings,
        "novelty": None if math.isnan(record["novelty"]) else round(record["novelty"], 4),
        "profile": record["profile"],
        "engine": record["engine"],
        "run": fingerprint,
        "version": chexkeras.__version__,
    }
