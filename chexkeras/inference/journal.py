"""What a run over a folder has done so far, kept on disk until its results are written."""

import contextlib
import os
from pathlib import Path
from typing import Any, BinaryIO

from chexkeras.inference import results_file
from chexkeras.progress import say

_SYNC_EVERY = 64


class Journal:
    """Finished records in a hidden file beside the results, one line each; a crash costs the last few at most.

    While it is open no other process can open it: two runs into one file would lose the results of the first.

    Args:
        destination: Where the results will be written.
    """

    def __init__(self, destination: Path):
        self.path = destination.with_name(f".{destination.name}.journal")
        self._destination = destination
        self._handle: BinaryIO | None = None
        self._begun = False
        self._unsynced = 0

    def read(self) -> list[dict[str, Any]]:
        """Returns the records of an interrupted run; a line that was cut off is left out, empty where there is none."""
        if not self.path.is_file():
            return []
        records = []
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            try:
                records.append(results_file.from_line(line.decode()))
            except ValueError:
                # A crash of the whole machine can leave blocks of zeros between lines.
                continue
        return records

    def open(self) -> None:
        """Makes ready to add records behind those that are there, and holds the journal against other processes.

        Raises:
            FileExistsError: If another process holds it.
            OSError: If it cannot be written, and neither could the results.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while self._handle is None:
                self._handle = self._held()
        except OSError as error:
            if error.errno is None:
                raise
            raise type(error)(
                f"no results can be written into {str(self.path.parent)!r} ({error.strerror}); choose a folder where "
                "you may write, with out='FOLDER/results.csv' (on the command line --out)."
            ) from None
        self._begun = False

    def _held(self) -> BinaryIO | None:
        """Returns the opened file, or None if it was removed before it was held."""
        handle = self.path.open("ab")
        try:
            _lock(handle, self._destination)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle.fileno()), self.path.stat()):
                    return handle
        except BaseException:
            handle.close()
            raise
        handle.close()
        return None

    def _opened(self) -> BinaryIO:
        if self._handle is None:
            raise ValueError("the journal is not open; call open() first.")
        return self._handle

    def add(self, record: dict[str, Any]) -> None:
        """Writes one record down; it is on the disk at the latest some records later."""
        handle = self._opened()
        if not self._begun and os.fstat(handle.fileno()).st_size:
            # The line after one that was cut off must not become part of it.
            handle.write(b"\n")
        self._begun = True
        handle.write(results_file.to_line(record).encode())
        handle.flush()
        self._unsynced += 1
        if self._unsynced >= _SYNC_EVERY:
            os.fsync(handle.fileno())
            self._unsynced = 0

    def clear(self) -> None:
        """Empties the journal, which stays open."""
        self._opened().truncate(0)

    def close(self) -> None:
        """Brings what was added onto the disk, and lets go of the journal; an empty one is removed."""
        if self._handle is None:
            return
        os.fsync(self._handle.fileno())
        if os.fstat(self._handle.fileno()).st_size:
            self._handle.close()
            self._handle = None
        else:
            self.discard()

    def discard(self) -> None:
        """Removes the journal, once the results are written, and lets go of it."""
        handle, self._handle = self._handle, None
        if handle is not None and os.name == "nt":
            # Windows removes no open file. Elsewhere it goes while it is held, so that nobody else holds what goes.
            handle.close()
        self.path.unlink(missing_ok=True)
        if handle is not None:
            handle.close()


def _lock(handle: BinaryIO, destination: Path) -> None:
    try:
        import fcntl
    except ImportError:
        # Windows has none.
        return
    # A lock of the kernel's goes with the process that held it, however that ends.
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileExistsError(
            f"another process is writing results to {str(destination)!r} at this moment; wait for it, or name another "
            "file."
        ) from None
    except OSError:
        say(f"{destination.parent} knows no locks; take care that no other process writes to {destination.name}")
