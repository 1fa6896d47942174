"""An image store: the images of a table, decoded once, found by image id.

A store is a folder with a ``.npy`` file (the pixels), ``index.csv`` (row, image_id, file, bytes) and ``manifest.json``
(size, versions, checksums). It holds the very pixels that `data.pipeline` makes of the image files, so that training
from either gives the same result, bit for bit.

Every image has the same number of bytes, so that row r begins at a known place: any order of images is read without
decoding, without an index structure and with no library but numpy, whose format is documented, stable since 2007 and
can be memory-mapped by anyone (``np.load(path, mmap_mode="r")``). HDF5, zarr, LMDB and TFRecord would add a
dependency, and compression or record headers, for which images of one size have no use. Here the file is read and
written, not mapped: the pages of a map count to the process that touches them, and one epoch would let its memory grow
to the size of the file.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.data.image_table import source_of


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

    def save(self, folder: Path) -> None:
        """Writes the manifest into a store's folder, replacing an earlier one whole.

        Args:
            folder: The store's folder.
        """
        files.write_json(
            folder / MANIFEST, {"format": FORMAT, "complete": self.complete, **_renamed(asdict(self), _FILE_KEYS)}
        )

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
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
        found: Any = files.read_json(path)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(
                f"{path} is not the manifest of an image store ({FORMAT!r}); give a folder made by 'chexkeras prepare'."
            )
        try:
            fields_found = {name: value for name, value in found.items() if name not in ("format", "complete")}
            manifest = cls(**_renamed(fields_found, {key: name for name, key in _FILE_KEYS.items()}))
            whole = len(manifest.chunks) == -(-manifest.images // manifest.chunk_images)
        except (TypeError, ZeroDivisionError) as error:
            raise ValueError(f"{path} has other fields ({error}); delete the folder and prepare it again.") from error
        if not whole:
            raise ValueError(f"{path} does not list all its parts; delete the folder and prepare it again.")
        return manifest


def _renamed(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in values.items()}


_FIX = "prepare it again from the same table: what is sound is kept"


@checked
@dataclass(frozen=True, eq=False, repr=False)
class Store:
    """Decoded images on disk; made by `data.store.prepare.prepare`, opened by `Store.load`.

    Attributes:
        folder: Where it lies.
        image_ids: Id of each row.
        manifest: What it says of itself.
    """

    folder: Path
    image_ids: pd.Index
    manifest: Manifest

    @classmethod
    def load(cls, folder: str | Path) -> "Store":
        """Opens a store and checks that it is whole; the pixels themselves are checked by `verify`.

        Args:
            folder: Its folder.

        Raises:
            FileNotFoundError: If there is no store.
            ValueError: If it is incomplete, cut short, damaged, or something else.
        """
        root = checks.existing_folder(checks.typed_path(folder, "store"), "store")
        manifest = Manifest.load(root)
        if not manifest.complete:
            done = sum(chunk is not None for chunk in manifest.chunks)
            raise ValueError(
                f"the store {str(root)!r} is not complete ({done} of {len(manifest.chunks)} parts are done); {_FIX}."
            )
        manifest.images_file(root).check(_FIX)
        index = root / INDEX
        if not index.is_file() or files.sha256_file(index) != manifest.index_sha256:
            raise ValueError(f"{INDEX} of the store {str(root)!r} is missing or was changed; {_FIX}.")
        image_ids = pd.read_csv(index, usecols=["image_id"], dtype=str, keep_default_na=False)["image_id"]
        return cls(root, pd.Index(image_ids), manifest)

    def __repr__(self) -> str:
        left_out = f", {len(self.left_out):,} left out" if self.left_out else ""
        return f"Store({len(self):,} images of {self.size} px in {str(self.folder)!r}{left_out})"

    def __len__(self) -> int:
        return self.manifest.images

    @property
    def size(self) -> int:
        """Height and width of the images, pixels."""
        return self.manifest.size

    @property
    def left_out(self) -> dict[str, str]:
        """Code of the reason by image id, for images that could not be decoded."""
        return dict(self.manifest.left_out)

    def told_of_contrast(self, image_ids: Iterable[str]) -> str:
        """Returns a sentence on those of some images that show too little to be read; "" where none does.

        Args:
            image_ids: The images.
        """
        dim = self.manifest.low_contrast
        found = list(dict.fromkeys(image for image in image_ids if image in dim))
        if not found:
            return ""
        return (
            f"{len(found):,} image(s) show too little, few gray levels or nearly all black or white: "
            f"{', '.join(f'{image} ({dim[image]})' for image in found[:3])}{', ...' if len(found) > 3 else ''}; "
            "'chexkeras audit' tells more."
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the checksums of all pixels: equal for stores that hold the same images in the same rows."""
        digest = hashlib.sha256(f"{self.manifest.images}|{self.size}".encode())
        for chunk in self.manifest.chunks:
            digest.update((chunk or {})["pixels"].encode())
        return digest.hexdigest()

    @property
    def images(self) -> np.ndarray:
        """A read-only memory map (images, size, size), uint8; the image of a left-out row is black."""
        return np.load(self._file.path, mmap_mode="r")

    @property
    def _file(self) -> ImagesFile:
        return self.manifest.images_file(self.folder)

    def rows(self, image_ids: Iterable[str]) -> np.ndarray:
        """Finds images by id.

        Args:
            image_ids: Ids in any order; they may repeat.

        Returns:
            int64 array, the row of each.

        Raises:
            ValueError: If images are not in the store; the message counts them and names the first.
        """
        wanted = pd.Index(checks.identifiers(image_ids, "image_ids").tolist(), dtype=object)
        rows = self.image_ids.get_indexer(wanted)
        absent = wanted[rows < 0]
        if len(absent):
            raise ValueError(
                f"{len(absent)} of {len(wanted)} images are not in the store {str(self.folder)!r} of {len(self):,} "
                f"(first {listed(absent)}); prepare a store from this table, read the image files, or leave these "
                "images out: store.leave_out_absent(table) (on the command line --missing skip)."
            )
        left_out = wanted[wanted.isin(list(self.left_out))]
        if len(left_out):
            raise ValueError(
                f"{len(left_out)} of {len(wanted)} images were left out when the store was prepared (first "
                f"{left_out[0]!r}: {self.left_out[left_out[0]]}); leave them out of the table too: "
                "store.leave_out_absent(table) (on the command line --missing skip)."
            )
        return rows.astype(np.int64)

    def leave_out_absent(self, table: pd.DataFrame) -> pd.DataFrame:
        """Leaves out the images of a table that the store does not have, and lists them in the table's source.

        Args:
            table: Image table with `image_id`.

        Returns:
            The other rows; the source's `left_out` says of the rest why: not in the store, or the reason for which it
            was left out when the store was prepared.

        Raises:
            ValueError: If no image is left.
        """
        checks.require_columns(table, ["image_id"], "the image table", "Load it with open_data.")
        ids = pd.Series(checks.identifiers(table["image_id"], "image_id"), index=table.index)
        absent = ~ids.isin(self.image_ids) | ids.isin(list(self.left_out))
        if absent.all():
            raise ValueError(
                f"none of the {len(table)} images is in the store {str(self.folder)!r} of {len(self):,}; prepare a "
                "store from this table."
            )
        reasons = tuple((image_id, self.left_out.get(image_id, "not in the store")) for image_id in ids[absent])
        kept = table[~absent].reset_index(drop=True)
        if reasons:
            source = source_of(table)
            kept.attrs = {**table.attrs, "source": replace(source, left_out=(*source.left_out, *reasons))}
        return kept

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads images.

        Args:
            rows: Row numbers, in any order; they may repeat.

        Returns:
            uint8 array (rows, size, size), in the order given.

        Raises:
            ValueError: If a row is out of range, or the file was cut short since the store was opened.
        """
        return self._file.read(rows)

    def verify(self) -> None:
        """Compares all pixels with the checksums of the manifest; reads the whole store once.

        Raises:
            ValueError: If images were changed; the message names the rows.
        """
        for number, recorded in enumerate(self.manifest.chunks):
            rows = self.manifest.rows(number)
            if self._file.sha256(rows) != (recorded or {})["pixels"]:
                raise ValueError(
                    f"rows {rows.start} to {rows.stop - 1} of the store {str(self.folder)!r} differ from their "
                    f"checksum; {_FIX}."
                )

    def require_size(self, image_size: int) -> None:
        """Checks that the images have the size that is wanted.

        Args:
            image_size: Height and width wanted, pixels.

        Raises:
            ValueError: If not.
        """
        if image_size != self.size:
            raise ValueError(
                f"the store {str(self.folder)!r} holds images of {self.size} px, but {image_size} px are wanted; "
                f"prepare one with size={image_size} (on the command line prepare --size {image_size}), or train with "
                f"image_size={self.size} (train --set image_size={self.size})."
            )


def listed(values: Iterable[str], most: int = 3) -> str:
    """Returns the first few values for a message.

    Args:
        values: Texts.
        most: How many are named.

    Example:
        >>> listed(["a", "b"], most=1)
        "'a', ..."
    """
    names = [repr(value) for value in values]
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
