"""The process that reads images for another one: it may be lost at any file, and may use so much memory and no more.

`pool` starts it and talks to it over its standard streams. A message is a header in JSON and some bytes. What comes
back is never unpickled: whatever a hostile file makes of this process, it can send numbers and text, but no code.
"""

import dataclasses
import json
import os
import pickle
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from chexkeras.dicom.profiles import Profile

_LENGTHS = struct.Struct("<IQ")
_LARGEST_HEADER = 2**20


def send(stream: BinaryIO, header: dict[str, Any], content: bytes | memoryview = b"") -> None:
    """Writes one message.

    Args:
        stream: Where to.
        header: What JSON can hold.
        content: Bytes that go along.
    """
    text = json.dumps(header).encode()
    stream.write(_LENGTHS.pack(len(text), len(content)))
    stream.write(text)
    stream.write(content)
    stream.flush()


def receive(stream: BinaryIO, largest: int) -> tuple[dict[str, Any], bytearray]:
    """Reads one message.

    Args:
        stream: Where from.
        largest: Most bytes that may come along with a header; more are refused before room is made for them.

    Returns:
        The header and the bytes.

    Raises:
        EOFError: If the other side is gone.
        ValueError: If what comes is no message.
    """
    length, size = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    if length > _LARGEST_HEADER or size > largest:
        raise ValueError(f"a message of {length} and {size} bytes; at most {_LARGEST_HEADER} and {largest} expected.")
    header = json.loads(bytes(_exactly(stream, length)))
    if not isinstance(header, dict):
        raise ValueError("a message that has no header.")
    return header, _exactly(stream, size)


def _exactly(stream: BinaryIO, length: int) -> bytearray:
    content = bytearray(length)
    view = memoryview(content)
    filled = 0
    while filled < length:
        count = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the other side is gone.")
        filled += count
    return content


def main() -> None:
    """Reads the settings and then one file after the other, and answers each with an image or a refusal.

    A file comes as its path, or whole, where only the program has it.
    """
    requests, answers = _own_streams()
    settings, packed = receive(requests, largest=2**20)
    # Pickle comes from the process that started this one, which is trusted; profiles hold tuples, JSON does not.
    profile = pickle.loads(packed)
    os.environ[settings["hash_key_variable"]] = settings["hash_key"]
    _load_libraries()
    _limit_memory(settings["memory_bytes"])
    _silence()
    send(answers, {"ready": True})
    while True:
        try:
            header, file = receive(requests, largest=max(2**20, profile.maximum_file_bytes))
        except EOFError:
            return
        _limit_time(settings["seconds"])
        given = bytes(file)
        del file
        send(answers, *_answer(given if header.get("whole") else os.fsdecode(given), profile))


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Takes the standard streams for itself, so that nothing that a C library prints gets among the messages."""
    import signal

    # Ctrl-C reaches every process of a terminal, and a batch system ends all processes of a job; the one that started
    # this one decides what becomes of it. An end of the file being read would count against the file.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    sys.stdin = open(os.devnull)  # noqa: SIM115
    return requests, answers


def _load_libraries() -> None:
    """Imports what reading needs, before memory is limited: libraries are no part of what a file may use."""
    from pydicom.pixels import get_decoder

    from chexkeras.dicom import read  # noqa: F401
    from chexkeras.dicom.pixels import decoding

    for syntax in sorted(decoding.COMPRESSED):
        _ = get_decoder(syntax).available_plugins
    import PIL.Image

    PIL.Image.init()


def _silence() -> None:
    """Sends what libraries print on standard error to nowhere: GDCM and OpenJPEG quote the file there."""
    nothing = os.open(os.devnull, os.O_RDWR)
    sys.stderr.flush()
    os.dup2(nothing, 2)


def _limit_memory(more: int) -> None:
    """Lets this process use `more` bytes than it does now, leave no core dump, and write no file."""
    try:
        import resource
    except ImportError:
        # Windows has no such limits; the time limit of the pool remains.
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    used = _address_space()
    if used:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = used + more if hard == resource.RLIM_INFINITY else min(used + more, hard)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def _address_space() -> int:
    """Returns the bytes of address space in use, or 0 where the system does not say (it then ignores limits, too)."""
    try:
        with open("/proc/self/statm") as handle:
            return int(handle.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _limit_time(seconds: float) -> None:
    """Lets the next file use so much processor time, for the case that nobody is left who watches the clock."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(time.process_time() + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _peak_bytes() -> int:
    """Returns the most memory that this process has held at once; 0 where the system does not say."""
    try:
        # Not getrusage, whose peak a process takes over from the one that started it.
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _answer(path: str | bytes, profile: "Profile") -> tuple[dict[str, Any], bytes | memoryview]:
    """Returns the message about one file."""
    import numpy as np

    from chexkeras.dicom import privacy
    from chexkeras.dicom.read import read_image
    from chexkeras.dicom.rejection import DicomRejected

    start = time.perf_counter()
    pixels: bytes | memoryview = b""
    try:
        image = read_image(path, profile)
        header = {
            field.name: getattr(image, field.name) for field in dataclasses.fields(image) if field.name != "pixels"
        }
        header["shape"] = image.pixels.shape
        pixels = np.ascontiguousarray(image.pixels).reshape(-1).data
    except DicomRejected as rejected:
        header = {"violations": [dataclasses.astuple(violation) for violation in rejected.violations]}
    except MemoryError:
        header = {"lost": "decoder_limit"}
    # The boundary of the process: a decoder may raise anything, and the process is good for the next file still.
    except Exception as error:  # noqa: BLE001
        header = {"error": privacy.scrub(error)}
    return {**header, "seconds": time.perf_counter() - start, "peak_bytes": _peak_bytes()}, pixels
