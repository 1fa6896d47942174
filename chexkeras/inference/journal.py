"""What a run over a folder has done so far, kept on disk until its results are written."""

import os
from pathlib import Path
from typing import Any, BinaryIO

from chexkeras.inference import outputs

_SYNC_EVERY = 64


class Journal:
    """Finished records in a hidden file beside the results, one line each; a crash costs the last few at most.

    Args:
        destination: Where the results will be written.
    """

    def __init__(self, destination: Path):
        self.path = destination.with_name(f".{destination.name}.journal")
        self._handle: BinaryIO | None = None
        self._unsynced = 0

    def read(self) -> list[dict[str, Any]]:
        """Returns the records of an interrupted run; a line that was cut off is left out, empty where there is none."""
        if not self.path.is_file():
            return []
        records = []
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            try:
                records.append(outputs.from_line(line.decode()))
            except ValueError:
                # A crash of the whole machine can leave blocks of zeros between lines.
                continue
        return records

    def open(self) -> None:
        """Makes ready to add records behind those that are there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = self.path.open("ab")
        if self._handle.tell():
            # The line after one that was cut off must not become part of it.
            self._handle.write(b"\n")

    def add(self, record: dict[str, Any]) -> None:
        """Writes one record down; it is on the disk at the latest some records later."""
        if self._handle is None:
            raise ValueError("the journal is not open; call open() first.")
        self._handle.write(outputs.to_line(record).encode())
        self._handle.flush()
        self._unsynced += 1
        if self._unsynced >= _SYNC_EVERY:
            os.fsync(self._handle.fileno())
            self._unsynced = 0

    def close(self) -> None:
        """Brings what was added onto the disk."""
        if self._handle is not None:
            os.fsync(self._handle.fileno())
            self._handle.close()
            self._handle = None

    def discard(self) -> None:
        """Removes the journal, once the results are written."""
        self.path.unlink(missing_ok=True)
