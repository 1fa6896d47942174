"""Faults in the process that reads images: a profile that, when a worker unpickles it, makes files misbehave by
name."""

import ctypes
import dataclasses
import os
import sys
import time

from chexkeras.dicom.profiles import CLINICAL, Profile

# That of the images; a worker process is to import no more than it must.
CANARY = "Zqxjvkwqhz^Bxgqjfkwvzq"
_kept = []


@dataclasses.dataclass(frozen=True)
class FaultyProfile(Profile):
    def __reduce__(self):
        return _install, ({field.name: getattr(self, field.name) for field in dataclasses.fields(Profile)},)


@dataclasses.dataclass(frozen=True)
class StillbornProfile(Profile):
    def __reduce__(self):
        return _fail, ()


def _fail():
    raise KeyError("no such library")


STILLBORN = StillbornProfile(**{field.name: getattr(CLINICAL, field.name) for field in dataclasses.fields(Profile)})
FAULTY = FaultyProfile(**{field.name: getattr(CLINICAL, field.name) for field in dataclasses.fields(Profile)})


def _install(fields):
    from chexkeras.dicom import read

    intact = read.read_image

    def faulty(path, profile):
        # Of a file that came whole, its content names the fault.
        fault = path[:10].decode("latin-1") if isinstance(path, bytes) else os.path.basename(path)
        if fault in _FAULTS:
            _FAULTS[fault]()
        return intact(path, profile)

    read.read_image = faulty
    return Profile(**fields)


def _write_to_standard_streams():
    for stream in (1, 2):
        os.write(stream, CANARY.encode() * 1000)
    sys.stdout.write(CANARY)
    sys.stderr.write(CANARY)
    sys.stderr.flush()


def _raise():
    raise KeyError(CANARY)


def _keep_memory():
    _kept.append(bytearray(300 * 2**20))


def _write_file():
    with open(os.path.join(os.environ["TMPDIR"], "leak"), "wb") as handle:
        handle.write(b"x" * 10)


_FAULTS = {
    "sleep": lambda: time.sleep(1000),
    "spin": lambda: exec("while True: pass"),
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(3),
    "memory": lambda: bytearray(2**34),
    "keep": _keep_memory,
    "print": _write_to_standard_streams,
    "raise": _raise,
    "write": _write_file,
}

SECONDS = 60
"""Limit for tests in which some files must be read, however busy the machine is, and others hang."""


def end_what_hangs(monkeypatch):
    """Lets the limit of `SECONDS` pass in half a second for the files that hang, and in its own time for all others."""
    from chexkeras.dicom.workers.process import Worker

    read, watched = Worker.read, Worker._watched

    def noting(self, path):
        self.hangs = os.path.basename(path) in ("sleep", "spin")
        return read(self, path)

    def hurried(self, seconds):
        return watched(self, 0.5 if seconds == SECONDS and self.hangs else seconds)

    monkeypatch.setattr(Worker, "read", noting)
    monkeypatch.setattr(Worker, "_watched", hurried)
