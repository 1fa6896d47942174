"""The audit log: one line of JSON a film, without patient text, each written once and on disk before it counts."""

import errno
import json
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NAME = "audit.jsonl"
# Lines of films that were being finished when the process ended are among the last.
_TAIL_BYTES = 4 * 2**20
_MOST_BYTES = 256 * 2**20
SHOWN_LETTERS = 16
"""Digits of a film's name that a line shows: those of `dicom.privacy.keyed_hash` under the spool's key."""


class AuditLog:
    """Lines of films, appended to a file.

    A log of 256 MiB is renamed to "audit.jsonl." and the time, and a new one is begun; nothing is removed.

    Args:
        folder: The spool's folder.
        unfinished: Names of the films that an earlier process had in hand; each may have its line already.
    """

    def __init__(self, folder: Path, unfinished: Iterable[str] = ()) -> None:
        self.path = folder / NAME
        self._lock = threading.Lock()
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        names = {name[:SHOWN_LETTERS] for name in unfinished}
        self._earlier = {(film, outcome) for film, outcome in self._tail() if film in names}

    def write(self, name: str, values: dict[str, Any]) -> bool:
        """Appends the line of a film, unless it is there already.

        Args:
            name: The film's name in the spool.
            values: Plain values, "outcome" among them.

        Returns:
            Whether it was written now; False where that was done before and the film's end could not be noted: the
            process ended, or the disk was full.

        Raises:
            OSError: If it cannot be written; nothing of it is there then.
        """
        shown = name[:SHOWN_LETTERS]
        with self._lock:
            if (shown, values["outcome"]) in self._earlier:
                return False
            line = json.dumps({"time": _now(), "film": shown, **values}, ensure_ascii=False, allow_nan=False)
            self._append(f"{line}\n".encode())
            self._earlier.add((shown, values["outcome"]))
            if os.fstat(self._handle).st_size > _MOST_BYTES:
                self._begin_another()
        return True

    def settle(self, name: str) -> None:
        """Forgets a film whose end is noted in the spool.

        Args:
            name: The film's name in the spool.
        """
        with self._lock:
            self._earlier = {entry for entry in self._earlier if entry[0] != name[:SHOWN_LETTERS]}

    def _append(self, line: bytes) -> None:
        """Writes a line, whole or not at all."""
        size = os.fstat(self._handle).st_size
        try:
            if os.write(self._handle, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._handle)
        except OSError:
            os.ftruncate(self._handle, size)
            raise

    def close(self) -> None:
        """Closes the file."""
        os.close(self._handle)

    def _begin_another(self) -> None:
        os.close(self._handle)
        named = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        free = (self.path.with_name(f"{NAME}.{named}-{number}") for number in range(1_000_000))
        self.path.rename(next(path for path in free if not path.exists()))
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def _tail(self) -> set[tuple[str, str]]:
        """Returns film and outcome of the last lines; one that was cut short is ended, so that the next is whole."""
        size = os.fstat(self._handle).st_size
        content = os.pread(self._handle, min(size, _TAIL_BYTES), max(size - _TAIL_BYTES, 0))
        if content and not content.endswith(b"\n"):
            os.write(self._handle, b"\n")
        found = set()
        for line in content.splitlines():
            try:
                told = json.loads(line)
                found.add((str(told["film"]), str(told["outcome"])))
            except (ValueError, KeyError, TypeError):
                continue
        return found


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
