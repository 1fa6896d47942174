"""Reading images in worker processes, so that no file can take the program down with it, or hold it up.

A worker has a limit of memory and of time for each file. One that goes over it, or dies, is replaced, and its file is
refused with "decoder_limit" or "decoder_crash". Workers are plain child processes that import neither TensorFlow nor
the program that started them, so a script needs no ``if __name__ == "__main__"``.
"""

import contextlib
import queue
from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np

from chexkeras import storage
from chexkeras.arguments import checked
from chexkeras.dicom.pixels.array_image import GreyArray
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.dicom.read import Radiograph, fetched, read_image
from chexkeras.dicom.rejection import DicomRejected, Violation
from chexkeras.dicom.workers.options import ISOLATED, ReadOptions
from chexkeras.dicom.workers.process import Worker, WorkerLost
from chexkeras.parallel import WorkersUnavailable
from chexkeras.storage import Remote


@checked
class ReaderPool:
    """Some worker processes that read images; use it in a ``with`` block, from as many threads as there are workers.

    Args:
        profile: The gate's profile: "clinical", "course", or a `Profile` of your own.
        options: How many workers there are, at least 1, and their limits.

    Raises:
        ValueError: If there is no such profile, or no worker.
    """

    def __init__(self, profile: str | Profile = "clinical", options: ReadOptions = ISOLATED):
        if options.processes < 1:
            raise ValueError("a pool needs at least 1 worker; use read_image to read in the program's own process.")
        self._profile = chosen = find_profile(profile)
        self.size = options.processes
        self._workers = [Worker(chosen, options) for _ in range(self.size)]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._closed = False
        self.restarts = 0
        for each in self._workers:
            self._free.put(each)

    def __enter__(self) -> "ReaderPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; a file that is being read is given up."""
        self._closed = True
        for each in self._workers:
            each.close()
        idle: list[Worker] = []
        with contextlib.suppress(queue.Empty):
            while True:
                idle.append(self._free.get_nowait())
        # The others are cleared away by the threads that use them.
        for each in idle:
            each.stop()
            self._free.put(each)

    def prepare(self) -> Callable[[str | Path | bytes | GreyArray], Radiograph]:
        """Starts one more worker, so that its start-up is no part of the time that its first file takes.

        Returns:
            `read`. A worker that did not start raises its error there.
        """
        borrowed = self._free.get()
        try:
            if not borrowed.is_running and not self._closed:
                with contextlib.suppress(WorkersUnavailable):
                    borrowed.start()
        finally:
            self._give_back(borrowed)
        return self.read

    @property
    def peak_bytes(self) -> int:
        """Most memory that a worker has held at once; 0 where the system does not say."""
        return max(each.peak_bytes for each in self._workers)

    def read(self, path: str | Path | bytes | GreyArray) -> Radiograph:
        """Reads an image in a worker; as `read.read_image`, and no file can do harm.

        Args:
            path: A DICOM, PNG or JPEG file, told apart by content; its address in an object store, from which this
                process fetches it, so that a worker needs neither network nor credentials; its content as bytes, which
                is not written to disk; or an array, in which nothing needs decoding, and no worker takes part.

        Returns:
            The image.

        Raises:
            DicomRejected: If it must not be scored; "decoder_limit" or "decoder_crash" where the worker was lost.
            WorkersUnavailable: If the workers cannot be started, or the pool was closed.
        """
        self._check_open()
        if isinstance(path, GreyArray):
            return read_image(path, self._profile)
        if not isinstance(path, bytes) and isinstance(place := storage.place(path), Remote):
            # Before a worker is taken: while this thread waits for the store, another one's file is decoded.
            path = fetched(place, self._profile)
        if isinstance(path, bytes) and len(path) > self._profile.maximum_file_bytes:
            raise DicomRejected.because("too_large", str(len(path)), profile=self._profile)
        borrowed = self._free.get()
        try:
            header, pixels = self._read(borrowed, path if isinstance(path, bytes) else Path(path).absolute())
        finally:
            self._give_back(borrowed)
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return _image(header, pixels)
        # A worker that answers in another form is one that a file has got hold of.
        raise DicomRejected.because("decoder_crash")

    def _give_back(self, borrowed: Worker) -> None:
        if self._closed:
            borrowed.stop()
        self._free.put(borrowed)

    def _read(self, borrowed: Worker, path: Path | bytes) -> tuple[dict[str, Any], bytearray]:
        """Reads with a worker, and once more with a fresh one: the files before this one must not decide about it."""
        for _ in range(2):
            fresh, rejection = borrowed.files_read == 0, DicomRejected.because("decoder_limit")
            try:
                self._check_open()
                header, pixels = borrowed.read(path)
            except WorkerLost as lost:
                self._check_open()
                self.restarts += 1
                rejection = lost.rejection
                fresh |= lost.expired
            else:
                if not _is_limit(header):
                    return header, pixels
                # A worker that has run out of memory once may have little left.
                borrowed.stop()
            if fresh:
                break
        return {"violations": [astuple(violation) for violation in rejection.violations]}, bytearray()

    def _check_open(self) -> None:
        if self._closed:
            raise WorkersUnavailable("the pool of workers was closed.")


def _image(header: dict[str, Any], pixels: bytearray) -> Radiograph:
    """Returns the image of a worker's answer, or raises the rejection in it."""
    if "violations" in header:
        raise DicomRejected(tuple(Violation(*violation) for violation in header["violations"]))
    if "error" in header:
        raise DicomRejected.because("unreadable", "", f"a file that can be read ({header['error']})")
    image = np.frombuffer(pixels, dtype=np.uint8).reshape(header["shape"])
    values = {field.name: header[field.name] for field in fields(Radiograph) if field.name != "pixels"}
    return Radiograph(pixels=image, **{**values, "warnings": tuple(values["warnings"])})


def _is_limit(header: dict[str, Any]) -> bool:
    codes = [row[0] for row in header.get("violations", ())]
    return header.get("lost") == "decoder_limit" or "decoder_limit" in codes
