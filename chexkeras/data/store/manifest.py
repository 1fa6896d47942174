"""The file of images and the manifest of an image store, which is checked when it is read."""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from chexkeras import files
from chexkeras.storage import Place


@dataclass(frozen=True)
class ImagesFile:
    """A file of uint8 images.

    Attributes:
        path: The file.
        images: How many there are.
        size: Height and width of each, pixels.
    """

    path: Path
    images: int
    size: int

    @property
    def bytes_per_image(self) -> int:
        """Disk space of one image."""
        return self.size * self.size

    @property
    def header(self) -> bytes:
        """What the file begins with, by numpy's format."""
        written = BytesIO()
        shape = (self.images, self.size, self.size)
        np.lib.format.write_array_header_1_0(written, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return written.getvalue()

    def create(self) -> None:
        """Gives the file its header and its full length; what it holds already is kept, what is new is black."""
        header = self.header
        self.path.touch()
        with self.path.open("r+b") as file:
            file.write(header)
            file.truncate(len(header) + self.images * self.bytes_per_image)

    def check(self, fix: str) -> None:
        """Checks that the file has its header and its full length.

        Args:
            fix: What to do if not, to end the message with.

        Raises:
            ValueError: If not.
        """
        header = self.header
        expected = len(header) + self.images * self.bytes_per_image
        found = self.path.stat().st_size if self.path.is_file() else 0
        if found != expected:
            change = "cut short" if found < expected else "lengthened"
            raise ValueError(
                f"{str(self.path)!r} has {found:,} bytes, {expected:,} were expected: it was {change}; {fix}."
            )
        with self.path.open("rb") as file:
            if file.read(len(header)) != header:
                raise ValueError(
                    f"{str(self.path)!r} is not a file of {self.images:,} images of {self.size} px; {fix}."
                )

    def write(self, rows: range, images: np.ndarray) -> None:
        """Writes images and waits until they are on the disk.

        Args:
            rows: Where, one after the other.
            images: uint8 array (rows, size, size).
        """
        with self.path.open("r+b") as file:
            file.seek(len(self.header) + rows.start * self.bytes_per_image)
            file.write(np.ascontiguousarray(images[: len(rows)]).data)
            file.flush()
            os.fsync(file.fileno())

    def sha256(self, rows: range) -> str:
        """Returns the SHA-256 of some images' bytes as they lie on the disk.

        Args:
            rows: Which, one after the other.
        """
        with self.path.open("rb") as file:
            file.seek(len(self.header) + rows.start * self.bytes_per_image)
            return hashlib.sha256(file.read(len(rows) * self.bytes_per_image)).hexdigest()

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads images.

        Args:
            rows: Row numbers, in any order; they may repeat.

        Returns:
            uint8 array (rows, size, size), in the order given.

        Raises:
            ValueError: If a row is out of range, or the file is too short.
        """
        wanted = np.asarray(rows, np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < self.images:
            raise ValueError(f"rows must lie from 0 to {self.images - 1}, got {wanted.min()} to {wanted.max()}.")
        images = np.empty((len(wanted), self.size, self.size), np.uint8)
        start = len(self.header)
        with self.path.open("rb", buffering=0) as file:
            # In the order of the disk, not of the batch.
            for position in np.argsort(wanted):
                file.seek(start + int(wanted[position]) * self.bytes_per_image)
                if file.readinto(images[position].data) != self.bytes_per_image:
                    raise ValueError(f"{str(self.path)!r} was cut short while it was in use; prepare the store again.")
        return images


MANIFEST = "manifest.json"
IMAGES = "films.npy"
INDEX = "index.csv"
FORMAT = "chexkeras film store 1"
_SHA256 = re.compile("[0-9a-f]{64}")
# Memory that a part of a store from elsewhere may take; the parts of those made here have 16 MB, or 8 larger images.
_LARGEST_CHUNK = 2**26
_LARGEST_SIZE = 8192
# What the file of a store calls these fields, as the first stores did.
_FILE_KEYS = {"images": "films", "chunk_images": "chunk_films"}


@dataclass
class Manifest:
    """The content of ``manifest.json``. It holds no time and no path: the same images give the same bytes.

    Attributes:
        images: Rows of the store.
        size: Height and width of every image, pixels.
        chunk_images: Images a chunk, the unit in which progress is kept; the last chunk may have fewer.
        pixels_version: `data.pixels.PIXELS_VERSION` of the program that decoded them.
        profile: Name of the DICOM gate's profile.
        chexkeras: Version of the package that began the store.
        table_sha256: Fingerprint of the image table that it was begun from.
        image_ids_sha256: Hash of the image ids in row order.
        index_sha256: Hash of ``index.csv``.
        chunks: Of each chunk the hash of its `pixels`, and of its `sources`: ids, file names and sizes in bytes, which
            tell a replaced image without reading it; None while it is not decoded.
        left_out: Code of the reason by image id, for images that could not be decoded.
        low_contrast: By image id, why images that are in the store show too little, in words.
    """

    images: int
    size: int
    chunk_images: int
    pixels_version: int
    profile: str
    chexkeras: str
    table_sha256: str
    image_ids_sha256: str
    index_sha256: str = ""
    chunks: list[dict[str, str] | None] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    low_contrast: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.chunks:
            self.chunks = [None] * -(-self.images // self.chunk_images)

    def __str__(self) -> str:
        return (
            f"{self.images:,} images of {self.size} px, DICOM profile {self.profile}, pixels version "
            f"{self.pixels_version}, image ids {self.image_ids_sha256[:8]}"
        )

    @property
    def complete(self) -> bool:
        """Whether every chunk is decoded."""
        return None not in self.chunks

    def rows(self, chunk: int) -> range:
        """Returns the rows of a chunk.

        Args:
            chunk: Its number, from 0.
        """
        start = chunk * self.chunk_images
        return range(start, min(start + self.chunk_images, self.images))

    def images_file(self, folder: Path) -> ImagesFile:
        """Returns the file of pixels.

        Args:
            folder: The store's folder.
        """
        return ImagesFile(folder / IMAGES, self.images, self.size)

    def describes_same(self, other: "Manifest") -> bool:
        """Returns whether two manifests are of the same images in the same order, and of the same pixels.

        Args:
            other: The other manifest.
        """
        names = ("images", "size", "chunk_images", "pixels_version", "profile", "image_ids_sha256")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the manifest's file holds."""
        return hashlib.sha256(json.dumps(self._plain(), sort_keys=True).encode()).hexdigest()

    def _plain(self) -> dict[str, Any]:
        return {"format": FORMAT, "complete": self.complete, **_renamed(asdict(self), _FILE_KEYS)}

    def save(self, folder: Path) -> None:
        """Writes the manifest into a store's folder, replacing an earlier one whole.

        Args:
            folder: The store's folder.
        """
        self.write(folder / MANIFEST)

    def write(self, path: Place) -> None:
        """Writes the manifest, replacing an earlier one whole.

        Args:
            path: The file.

        Raises:
            NotUploaded: If it did not get to an object store.
        """
        files.write_json(path, self._plain())

    @classmethod
    def load(cls, folder: Place) -> "Manifest":
        """Reads the manifest of a store.

        Args:
            folder: The store's folder.

        Raises:
            FileNotFoundError: If it has none.
            ValueError: If it is damaged or of another format.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(
                f"no image store in {str(folder)!r}: it has no {MANIFEST}; make one with 'chexkeras prepare'."
            )
        return cls.read(path)

    @classmethod
    def read(cls, path: Place) -> "Manifest":
        """Reads a manifest's file.

        Args:
            path: The file, of at most `files.MOST_JSON_BYTES`.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is damaged or of another format.
        """
        found: Any = files.read_json(path)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(
                f"{path} is not the manifest of an image store ({FORMAT!r}); give a folder made by 'chexkeras prepare'."
            )
        try:
            fields_found = {name: value for name, value in found.items() if name not in ("format", "complete")}
            manifest = cls(**_renamed(fields_found, {key: name for name, key in _FILE_KEYS.items()}))
            whole = len(manifest.chunks) == -(-manifest.images // manifest.chunk_images)
            wrong = manifest.wrong_field()
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            raise ValueError(f"{path} has other fields ({error}); delete the folder and prepare it again.") from error
        if not whole:
            raise ValueError(f"{path} does not list all its parts; delete the folder and prepare it again.")
        if wrong:
            raise ValueError(f"{path} holds no {wrong} that can be; delete the folder and prepare it again.")
        return manifest

    def wrong_field(self) -> str:
        """Returns the name of a field whose value no store has, "" where there is none."""
        counts = (self.images, self.size, self.chunk_images)
        if any(type(count) is not int or not 0 < count < 10**9 for count in counts) or self.size > _LARGEST_SIZE:
            return "number of images or pixels"
        if self.chunk_images > 1 and self.chunk_images * self.size**2 > max(_LARGEST_CHUNK, 8 * self.size**2):
            return "number of images a part"
        if not all(isinstance(text, str) and len(text) < 1000 for text in (self.profile, self.chexkeras)):
            return "name"
        sums = [self.table_sha256, self.image_ids_sha256, *([self.index_sha256] if self.index_sha256 else [])]
        for chunk in self.chunks:
            if chunk is not None and (not isinstance(chunk, dict) or chunk.keys() != {"pixels", "sources"}):
                return "part"
            sums += [] if chunk is None else chunk.values()
        if not all(isinstance(each, str) and _SHA256.fullmatch(each) for each in sums):
            return "checksum"
        for told in (self.left_out, self.low_contrast):
            if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
                return "reason"
        return "" if type(self.pixels_version) is int else "version of pixels"


def _renamed(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in values.items()}
