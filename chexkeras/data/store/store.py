"""An image store: the images of a table, decoded once, found by image id.

A store is a folder with a ``.npy`` file (the pixels), ``index.csv`` (row, image_id, file, bytes) and ``manifest.json``
(size, versions, checksums). In an object store the pixels are in parts, see `elsewhere`. It holds the very pixels that
`data.pipeline` makes of the image files, so that training from either gives the same result, bit for bit.

Every image has the same number of bytes, so that row r begins at a known place: any order of images is read without
decoding, without an index structure and with no library but numpy, whose format is documented, stable since 2007 and
can be memory-mapped by anyone (``np.load(path, mmap_mode="r")``). HDF5, zarr, LMDB and TFRecord would add a
dependency, and compression or record headers, for which images of one size have no use. Here the file is read and
written, not mapped: the pages of a map count to the process that touches them, and one epoch would let its memory grow
to the size of the file.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.data.image_table import source_of
from chexkeras.data.store.manifest import INDEX, ImagesFile, Manifest
from chexkeras.storage import Remote

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

        One in an object store is copied to this machine first, once, and checked on the way.

        Args:
            folder: Its folder, or its address in an object store.

        Raises:
            FileNotFoundError: If there is no store.
            OSError: If an object store cannot be asked, or the disk has too little space for the copy.
            ValueError: If it is incomplete, cut short, damaged, or something else.
        """
        found = files.typed_place(folder, "store")
        if isinstance(found, Remote):
            from chexkeras.data.store.elsewhere import fetched

            found = fetched(found)
        root = checks.existing_folder(found, "store")
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
        if len(image_ids) != manifest.images or image_ids.duplicated().any():
            raise ValueError(f"{INDEX} of the store {str(root)!r} does not name every image once; {_FIX}.")
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
