"""One ``.npy`` file of films of one size, read and written by rows.

Every film has the same number of bytes, so that row r begins at a known place: any order of films is read without
decoding, without an index structure and with no library but numpy, whose format is documented, stable since 2007
and can be memory-mapped by anyone (``np.load(path, mmap_mode="r")``). HDF5, zarr, LMDB and TFRecord would add a
dependency, and compression or record headers, for which films of one size have no use.

Here the file is read and written, not mapped: the pages of a map count to the process that touches them, and one epoch
would let its memory grow to the size of the file.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class FilmsFile:
    """A file of uint8 films.

    Attributes:
        path: The file.
        films: How many there are.
        size: Height and width of each, pixels.
    """

    path: Path
    films: int
    size: int

    @property
    def bytes_per_film(self) -> int:
        """Disk space of one film."""
        return self.size * self.size

    @property
    def header(self) -> bytes:
        """What the file begins with, by numpy's format."""
        written = BytesIO()
        shape = (self.films, self.size, self.size)
        np.lib.format.write_array_header_1_0(written, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return written.getvalue()

    def create(self) -> None:
        """Gives the file its header and its full length; what it holds already is kept, what is new is black."""
        header = self.header
        self.path.touch()
        with self.path.open("r+b") as file:
            file.write(header)
            file.truncate(len(header) + self.films * self.bytes_per_film)

    def check(self, fix: str) -> None:
        """Checks that the file has its header and its full length.

        Args:
            fix: What to do if not, to end the message with.

        Raises:
            ValueError: If not.
        """
        header = self.header
        expected = len(header) + self.films * self.bytes_per_film
        found = self.path.stat().st_size if self.path.is_file() else 0
        if found != expected:
            change = "cut short" if found < expected else "lengthened"
            raise ValueError(
                f"{str(self.path)!r} has {found:,} bytes, {expected:,} were expected: it was {change}; {fix}."
            )
        with self.path.open("rb") as file:
            if file.read(len(header)) != header:
                raise ValueError(f"{str(self.path)!r} is not a file of {self.films:,} films of {self.size} px; {fix}.")

    def write(self, rows: range, films: np.ndarray) -> None:
        """Writes films and waits until they are on the disk.

        Args:
            rows: Where, one after the other.
            films: uint8 array (rows, size, size).
        """
        with self.path.open("r+b") as file:
            file.seek(len(self.header) + rows.start * self.bytes_per_film)
            file.write(np.ascontiguousarray(films[: len(rows)]).data)
            file.flush()
            os.fsync(file.fileno())

    def sha256(self, rows: range) -> str:
        """Returns the SHA-256 of some films' bytes as they lie on the disk.

        Args:
            rows: Which, one after the other.
        """
        with self.path.open("rb") as file:
            file.seek(len(self.header) + rows.start * self.bytes_per_film)
            return hashlib.sha256(file.read(len(rows) * self.bytes_per_film)).hexdigest()

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads films.

        Args:
            rows: Row numbers, in any order; they may repeat.

        Returns:
            uint8 array (rows, size, size), in the order given.

        Raises:
            ValueError: If a row is out of range, or the file is too short.
        """
        wanted = np.asarray(rows, np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < self.films:
            raise ValueError(f"rows must lie from 0 to {self.films - 1}, got {wanted.min()} to {wanted.max()}.")
        films = np.empty((len(wanted), self.size, self.size), np.uint8)
        start = len(self.header)
        with self.path.open("rb", buffering=0) as file:
            # In the order of the disk, not of the batch.
            for position in np.argsort(wanted):
                file.seek(start + int(wanted[position]) * self.bytes_per_film)
                if file.readinto(films[position].data) != self.bytes_per_film:
                    raise ValueError(f"{str(self.path)!r} was cut short while it was in use; prepare the store again.")
        return films
