"""Starts TensorFlow without the notices that its libraries print on every start.

A dozen lines (which processor, no GPU, a library registered twice) stand before all else on a terminal and in a red
box in a notebook. Most come before any setting of TensorFlow is read, and from compiled code, so that Python cannot
hold them back. `quiet_tensorflow` therefore waits for whoever imports TensorFlow first, and as long as the import lasts
leads what is written to standard error through a process of its own, which drops those notices and hands on everything
else as it comes. A process, since it still hands on the last words where TensorFlow takes this one down.

With `TF_CPP_MIN_LOG_LEVEL=0` (or 1) set by the user nothing is held back.
"""

import contextlib
import importlib.machinery
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any, cast

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
"""TensorFlow's own setting: 0 shows everything, 1 warnings, 2 errors, 3 nothing but what ends the program."""

_STANDARD_ERROR = 2
# How a library says where and when: I0000 00:00:1796040886.660541 6619 port.cc:153], or before TensorFlow 2.18 with the
# date first: 2026-11-30 12:14:52.123456: I tensorflow/core/util/port.cc:153].
_MADE = rb"(?:%(kind)s\d{4} \d\d:\d\d:\d\S* +\d+ |\d{4}-\d\d-\d\d \S+: %(kind)s )\S+:\d+\] "
_NOTICES = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    rb"|To enable the following instructions: "
    rb"|" + _MADE % {b"kind": b"I"} +
    # What reads as a warning or an error and is none: libraries linked twice, an optional one not installed, and a
    # machine without a GPU (303: no driver there; NO_DEVICE: none, or all of them hidden).
    rb"|" + _MADE % {b"kind": b"[WE]"} + rb"(?:Unable to register cu\w+ factory|computation placer already registered"
    rb"|TF-TRT Warning: Could not find TensorRT|failed call to cuInit: .*(?:\(303\)|NO_DEVICE|no CUDA-capable device))"
)  # fmt: skip
_LAST_WORDS_SECONDS = 5.0


def is_notice(line: bytes) -> bool:
    """Returns whether a line is one that TensorFlow's libraries print on every start.

    Args:
        line: As it is written to standard error.

    Example:
        >>> is_notice(b"I0000 00:00:1796040886.660541    6619 port.cc:153] oneDNN custom operations are on.")
        True
        >>> is_notice(b"E0000 00:00:1796040886.660541    6619 cuda_dnn.cc:463] Loaded runtime CuDNN library: 8.9.4")
        False
    """
    return _NOTICES.match(line) is not None


def quiet_tensorflow() -> None:
    """Sees to it that TensorFlow starts quietly, whoever imports it first in this process."""
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _QuietFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietFinder())


class _QuietFinder(MetaPathFinder):
    """Finds TensorFlow where the other finders do, to be imported by `_QuietLoader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns how TensorFlow is imported, and None for every other module."""
        if fullname != "tensorflow" or os.environ.get(LEVEL, "2") in ("0", "1"):
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = cast(Loader, _QuietLoader(spec.loader))
                return spec
        return None


class _QuietLoader:
    """Imports TensorFlow as its own loader does, which is handed on in everything else."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Runs the import, and asks for the devices: what is said of them would else stand between later lines."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        os.environ.setdefault(LEVEL, "2")
        with _without_notices():
            self._loader.exec_module(module)
            # Whoever uses a device that fails is told so again, and why.
            with contextlib.suppress(Exception):
                module.config.list_physical_devices()


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """Drops the notices from what is written to standard error in the block; without a process, drops nothing."""
    try:
        kept = os.dup(_STANDARD_ERROR)
    except OSError:
        # There is no standard error.
        yield
        return
    try:
        reader = _start_reader(kept)
        if reader is None:
            yield
            return
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, _STANDARD_ERROR)
            # Behind what it still has to say. A process started meanwhile may hold its pipe open: it then goes on by
            # itself.
            with contextlib.suppress(subprocess.TimeoutExpired):
                reader.wait(_LAST_WORDS_SECONDS)
    finally:
        os.close(kept)


def _start_reader(to: int) -> "subprocess.Popen[bytes] | None":
    """Starts the process that reads standard error from now on, and returns it; None where none can be started.

    Args:
        to: Descriptor of what standard error was.
    """
    # A program made of Python, or one that holds Python inside, would start itself.
    if getattr(sys, "frozen", False) or not sys.executable or not os.path.isfile(__file__):
        return None
    command = [sys.executable, "-I", "-S", __file__]
    try:
        reader = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=to, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
        )
    except OSError:
        return None
    if reader.stdin is not None:
        _flush()
        os.dup2(reader.stdin.fileno(), _STANDARD_ERROR)
        reader.stdin.close()
    return reader


def _flush() -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def _hand_on() -> None:
    """Copies standard input to standard output, line by line, but for the notices: what the process does."""
    import signal

    # Ctrl-C reaches every process of a terminal; this one ends when its pipe does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        if not is_notice(line):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _hand_on()
