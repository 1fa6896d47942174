"""A worker process, seen from the program that started it: greeted, watched, and cleared away when it is lost."""

import contextlib
import errno
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from chexkeras.dicom import privacy
from chexkeras.dicom.profiles import Profile
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.workers import worker
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.parallel import WorkersUnavailable

_START_SECONDS = 120.0
# A machine under load may have no room for a process at one moment and have it at the next.
_NO_ROOM = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
_PAUSES_SECONDS = (0.1, 0.3, 1.0, 2.0)
# Each thread of a numerical library reserves memory of its own; reading needs none of them. And what one image's arrays
# held is kept for the next image's (glibc's names, in bytes): taking it from the system again cost a third of the time.
_SETTINGS = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}
# As much as the system gives anybody: an image of 1024 px goes through at once.
_PIPE_BYTES = 2**20
# SIGKILL, which the system sends when memory runs out, and SIGXCPU, by their numbers on Linux and macOS.
_LIMIT_SIGNALS = (9, 24)


class WorkerLost(Exception):
    """A worker process that ended, or had to be ended, while it read a file."""

    def __init__(self, rejection: DicomRejected, *, expired: bool):
        super().__init__(rejection.code)
        self.rejection, self.expired = rejection, expired


class Worker:
    """One worker process, started when it is first needed and again after it was lost.

    It is used by one thread at a time; `close` may be called from any.

    Args:
        profile: The gate's profile.
        options: The limits.

    Attributes:
        files_read: Files that the process has read since it was started.
        peak_bytes: Most memory that a process has held at once.
    """

    def __init__(self, profile: Profile, options: ReadOptions):
        self._profile, self._options = profile, options
        self._is_closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._expired = False
        self.files_read = 0
        self.peak_bytes = 0

    @property
    def is_running(self) -> bool:
        """Whether there is a process, as far as is known."""
        return self._process is not None

    def start(self) -> None:
        """Starts the process, and waits until it can read.

        Raises:
            WorkersUnavailable: If it does not come up.
        """
        # The modules of a notebook's or a test's own path are found as they are here.
        begin = "import json, sys; sys.path[:] = json.loads(sys.argv[1])"
        code = f"{begin}; from chexkeras.dicom.workers.worker import main; main()"
        path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
        self._process = self._spawned([sys.executable, "-c", code, path])
        _widen(self._answers)
        if self._is_closed:
            # Closed while it was being started; the greeting below finds nobody.
            self._process.kill()
        settings = {
            "memory_bytes": self._options.memory_bytes,
            "seconds": self._options.seconds,
            "hash_key_variable": privacy.HASH_KEY_VARIABLE,
            "hash_key": privacy.process_key(),
        }
        try:
            with self._watched(_START_SECONDS):
                worker.send(self._requests, settings, pickle.dumps(self._profile))
                worker.receive(self._answers, largest=0)
        except (EOFError, OSError, ValueError):
            reason = self._error_output()
            self.stop()
            raise _not_started(reason) from None
        except WorkersUnavailable:
            self.stop()
            raise

    def _spawned(self, command: list[str]) -> "subprocess.Popen[bytes]":
        """Returns the new process; waits a moment where the system has no room for one, and tries again."""
        pipe, pauses = subprocess.PIPE, iter(_PAUSES_SECONDS)
        while True:
            try:
                return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **_SETTINGS})
            except OSError as error:
                pause = next(pauses, None)
                if pause is None or error.errno not in _NO_ROOM or self._is_closed:
                    raise _not_started(error.strerror or type(error).__name__) from None
            time.sleep(pause)

    def _error_output(self) -> str:
        """Returns the last line that a process printed which did not start; no file was read, so no patient's text."""
        process = cast("subprocess.Popen[bytes]", self._process)
        process.kill()
        lines = cast(BinaryIO, process.stderr).read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    @property
    def _requests(self) -> BinaryIO:
        return cast(BinaryIO, cast("subprocess.Popen[bytes]", self._process).stdin)

    @property
    def _answers(self) -> BinaryIO:
        return cast(BinaryIO, cast("subprocess.Popen[bytes]", self._process).stdout)

    @contextlib.contextmanager
    def _watched(self, seconds: float) -> Iterator[None]:
        """Ends the process if the block takes longer.

        Raises:
            WorkersUnavailable: If nothing can watch it.
        """
        process, self._expired = cast("subprocess.Popen[bytes]", self._process), False

        def expire() -> None:
            self._expired = True
            process.kill()

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError as error:
            # The system gives no thread; no file is to blame for that either.
            raise _not_started(str(error)) from None
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def read(self, file: Path | bytes) -> tuple[dict[str, Any], bytearray]:
        """Returns the worker's answer about one file.

        Args:
            file: Its path, or its content: no more than the profile lets a file have.

        Raises:
            WorkerLost: If the worker did not survive it.
            WorkersUnavailable: If there is no worker, and none can be started.
        """
        if not self.is_running:
            self.start()
        try:
            with self._watched(self._options.seconds):
                if isinstance(file, bytes):
                    worker.send(self._requests, {"whole": True}, file)
                else:
                    worker.send(self._requests, {}, os.fsencode(file))
                header, pixels = worker.receive(self._answers, largest=self._profile.maximum_pixels)
        except (EOFError, OSError, ValueError, RecursionError):
            raise WorkerLost(self._end(), expired=self._expired) from None
        self.files_read += 1
        if self._expired:
            # The answer came at the last moment; the process is gone all the same.
            self.stop()
        self.peak_bytes = max(self.peak_bytes, int(header.get("peak_bytes", 0)))
        return header, pixels

    def _end(self) -> DicomRejected:
        """Clears away a process that was lost, and returns why its file is refused."""
        process = cast("subprocess.Popen[bytes]", self._process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)
        status, expired = process.returncode, self._expired
        self.stop()
        if expired:
            expected = f"a file that is read within {self._options.seconds:g} seconds"
            return DicomRejected.because("decoder_limit", "", expected)
        if status is not None and -status in _LIMIT_SIGNALS:
            return DicomRejected.because("decoder_limit")
        return DicomRejected.because("decoder_crash", "" if status is None else _ending(status))

    def close(self) -> None:
        """Ends the process whatever it does, and for good; the thread that uses it clears it away."""
        self._is_closed = True
        process = self._process
        if process is not None:
            process.kill()

    def stop(self) -> None:
        """Ends the process, if there is one."""
        process, self._process, self.files_read = self._process, None, 0
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                cast(BinaryIO, stream).close()


def _not_started(reason: str) -> WorkersUnavailable:
    return WorkersUnavailable(
        f"the process that reads images did not start ({reason}); "
        "with ReadOptions(workers=0) (on the command line --workers 0) images are read in the program's own process."
    )


def _widen(stream: BinaryIO) -> None:
    """Lets a pipe hold an image, where the system can and allows it."""
    try:
        import fcntl

        fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
