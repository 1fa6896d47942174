"""A folder of stored features that trainings share: found again by what they depend on, checked, limited in size.

A shelf holds one tensor of a frozen network for any number of images, in a folder named after a hash of all that the
tensor depends on besides the image. Images are added at its end and never moved, so that a training reads while another
one adds. A shelf is three files: ``values.bin`` (the tensors, one after the other), ``index.bin`` (36 bytes an entry:
the SHA-256 that says of which image it is, and the CRC-32 of its values) and ``manifest.json`` (shape and number type).
What ``index.bin`` does not list is not there: a kill in the middle of an entry leaves the entries before it.
"""

import contextlib
import errno
import io
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chexkeras import files
from chexkeras.progress import say, track

_FORMAT = 1
_MANIFEST, _INDEX, _VALUES, _IN_USE, _FILLING = "manifest.json", "index.bin", "values.bin", "in_use", "filling"
_ENTRY = np.dtype([("key", "V32"), ("crc", "<u4")])
_GONE = bytes(32)
_CHECKED_AT_A_TIME = 256
SHARE_OF_FREE_DISK = 0.5
"""How much of the free disk stored features may take where no limit is set."""


class Shelf:
    """One tensor of a frozen network, for the images that it was computed for.

    Args:
        folder: Where it lies.
        shape: Shape of the tensor for one image.
        dtype: Number type it is stored in.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: str) -> None:
        self.folder, self.shape, self.dtype = folder, shape, np.dtype(dtype)
        self.entry_bytes = int(np.prod(shape)) * self.dtype.itemsize
        self._manifest = {"format": _FORMAT, "shape": list(shape), "dtype": dtype}
        self._row_of: dict[bytes, int] = {}
        self._count = 0
        self._sound = np.zeros(0, bool)
        self._in_use: Any = None

    def open(self) -> None:
        """Makes the shelf if it is not there, reads what it holds, and keeps it from being removed until `close`."""
        self.close()
        while self._in_use is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                handle = (self.folder / _IN_USE).open("a")
                _lock(handle, shared=True)
                # Whoever made room may have removed it in this very moment.
                if _is_file_at(handle, self.folder / _IN_USE):
                    self._in_use = handle
                else:
                    handle.close()
        os.utime(self.folder / _IN_USE)
        if not self._known():
            with (self.folder / _FILLING).open("a") as handle:
                _lock(handle)
                if not self._known():
                    self._begin()
        self.read()

    def _known(self) -> bool:
        try:
            return files.read_json(self.folder / _MANIFEST) == self._manifest
        except (ValueError, FileNotFoundError):
            return False

    def _begin(self) -> None:
        if (self.folder / _MANIFEST).exists():
            say(f"the stored features {self.folder.name} are damaged; they are computed again")
        for name in (_INDEX, _VALUES):
            (self.folder / name).write_bytes(b"")
        files.write_json(self.folder / _MANIFEST, self._manifest)

    def close(self) -> None:
        """Lets the shelf be removed by whoever needs its room."""
        if self._in_use is not None:
            self._in_use.close()
            self._in_use = None

    def read(self) -> None:
        """Reads what the shelf holds by now: another process may have added to it."""
        self._row_of, self._count = {}, 0
        for name in (_INDEX, _VALUES):
            (self.folder / name).touch()
        with contextlib.suppress(FileNotFoundError):
            stored = (self.folder / _INDEX).read_bytes()
            index = np.frombuffer(stored[: len(stored) // _ENTRY.itemsize * _ENTRY.itemsize], _ENTRY)
            whole = (self.folder / _VALUES).stat().st_size // self.entry_bytes
            if whole < len(index):
                say(f"the stored features {self.folder.name} are cut short; what is missing is computed again")
                index = index[:whole]
            self._count = len(index)
            self._row_of = {bytes(key): row for row, key in enumerate(index["key"]) if bytes(key) != _GONE}
        sound = np.zeros(self._count, bool)
        sound[: len(self._sound)] = self._sound[: self._count]
        self._sound = sound

    def rows(self, keys: Iterable[bytes]) -> np.ndarray:
        """Returns where entries lie.

        Args:
            keys: Whose, 32 bytes each.

        Returns:
            int64 array: the row of each; -1 of those that are not there.
        """
        return np.fromiter((self._row_of.get(key, -1) for key in keys), np.int64)

    @property
    def values(self) -> np.ndarray:
        """A read-only memory map (entries, ...)."""
        if not self._count:
            return np.zeros((0, *self.shape), self.dtype)
        return np.memmap(self.folder / _VALUES, self.dtype, "r", shape=(self._count, *self.shape))

    def drop_damaged(self, rows: np.ndarray) -> int:
        """Reads entries whole and takes those out whose values are not those that were written; returns how many.

        Args:
            rows: int array: which; those that were read before are not read again.
        """
        doubtful = np.unique(rows[rows >= 0])
        doubtful = doubtful[~self._sound[doubtful]]
        if not len(doubtful):
            return 0
        index = np.fromfile(self.folder / _INDEX, _ENTRY, self._count)
        values, damaged = self.values, []
        parts = np.array_split(doubtful, -(-len(doubtful) // _CHECKED_AT_A_TIME))
        for part in track(parts, "checking stored features", len(parts)):
            damaged += [row for row in part if zlib.crc32(values[row].tobytes()) != index["crc"][row]]
        self._sound[doubtful] = True
        if damaged:
            with (self.folder / _INDEX).open("r+b") as file:
                for row in damaged:
                    file.seek(int(row) * _ENTRY.itemsize)
                    file.write(_GONE)
            say(f"{len(damaged):,} stored features in {self.folder.name} are damaged; they are computed again")
            self.read()
        return len(damaged)

    def reserve(self, entries: int) -> None:
        """Takes the disk space of further entries: a map into a file with holes ends the process on a full disk.

        Args:
            entries: How many.

        Raises:
            OSError: If the disk has too little space; what was taken is given back.
        """
        try:
            _allocate(self.folder / _VALUES, (self._count + entries) * self.entry_bytes)
        except OSError as error:
            self.give_back()
            if error.errno not in files.NO_ROOM:
                raise
            raise _no_room(entries * self.entry_bytes, self.folder.parent) from error

    def give_back(self) -> None:
        """Frees the disk space that was taken and not used."""
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self.folder / _VALUES, self._count * self.entry_bytes)

    def append(self, keys: Sequence[bytes], values: np.ndarray) -> None:
        """Adds entries; only one process at a time may, see `Shelves.filling`.

        Args:
            keys: Whose, 32 bytes each.
            values: Array (entries, ...) of the shelf's number type.
        """
        written = np.ascontiguousarray(values, self.dtype)
        index = np.zeros(len(keys), _ENTRY)
        for place, key in enumerate(keys):
            index[place] = (key, zlib.crc32(written[place].tobytes()))
        with (self.folder / _VALUES).open("r+b") as file:
            file.seek(self._count * self.entry_bytes)
            file.write(written.data if written.size else b"")
        with (self.folder / _INDEX).open("r+b") as file:
            # Behind what is whole: a kill may have left half an entry.
            file.truncate(self._count * _ENTRY.itemsize)
            file.seek(0, io.SEEK_END)
            file.write(index.tobytes())
        self._row_of.update({key: self._count + place for place, key in enumerate(keys)})
        self._count += len(keys)
        self._sound = np.append(self._sound, np.ones(len(keys), bool))

    def sync(self) -> None:
        """Waits until all that was added is on the disk."""
        for name in (_VALUES, _INDEX):
            with (self.folder / name).open("r+b") as file:
                os.fsync(file.fileno())


class Shelves:
    """A folder of shelves.

    Args:
        root: The folder.
        limit: Bytes that all shelves together may take; those that were not used for the longest time then go. None
            sets no limit but that half of the free disk stays free.
        own: Whether the folder is of one training alone: then what its shelves hold of other images goes at once.
    """

    def __init__(self, root: Path, *, limit: int | None = None, own: bool = False) -> None:
        self.root, self.limit, self.own = root, limit, own
        self._open: dict[str, Shelf] = {}

    def __enter__(self) -> "Shelves":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets all shelves be removed by whoever needs their room."""
        for shelf in self._open.values():
            shelf.close()
        self._open = {}

    def shelf(self, key: str, shape: tuple[int, ...], dtype: str) -> Shelf:
        """Returns a shelf, made if it is not there and kept from being removed.

        Args:
            key: Hash of what its tensor depends on besides the image.
            shape: Shape of the tensor for one image.
            dtype: Number type it is stored in.
        """
        name = key[:32]
        if name not in self._open:
            shelf = Shelf(self.root / name, shape, dtype)
            shelf.open()
            self._open[name] = shelf
        return self._open[name]

    def room(self) -> int:
        """Returns how many bytes may still be stored, once all that nobody uses has gone."""
        self.root.mkdir(parents=True, exist_ok=True)
        idle = sum(map(_bytes_of, self._idle()))
        free = int(SHARE_OF_FREE_DISK * (shutil.disk_usage(self.root).free + idle))
        if self.limit is None:
            return free
        held = sum(_bytes_of(folder) for folder in self._folders()) - idle
        return max(0, min(self.limit - held, shutil.disk_usage(self.root).free + idle))

    def make_room(self, needed: int) -> None:
        """Removes the shelves that were not used for the longest time, until so many bytes can be stored.

        Args:
            needed: How many.
        """
        for folder in self._idle():
            taken = sum(map(_bytes_of, self._folders()))
            over = self.limit is not None and taken + needed > self.limit
            if not (self.own or over or needed > shutil.disk_usage(self.root).free):
                return
            with _held(folder / _IN_USE) as free:
                if free:
                    if not self.own:
                        say(f"stored features {folder.name}, not used for the longest time, give way")
                    shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def filling(self, shelves: Sequence[Shelf]) -> Iterator[None]:
        """Holds shelves for adding to them, after waiting for another process that does so; they are read anew.

        Args:
            shelves: Which.
        """
        with contextlib.ExitStack() as held:
            # In one order everywhere: two processes never wait for each other.
            for shelf in sorted(shelves, key=lambda shelf: shelf.folder.name):
                handle = held.enter_context((shelf.folder / _FILLING).open("a"))
                if not _lock(handle, wait=False):
                    say(f"another process adds to the stored features {shelf.folder.name}; waiting for it")
                    _lock(handle)
                shelf.read()
            yield

    def _folders(self) -> list[Path]:
        return [path for path in self.root.iterdir() if (path / _IN_USE).is_file()] if self.root.is_dir() else []

    def _idle(self) -> list[Path]:
        """Returns the shelves that nobody uses, those first that were not used for the longest time."""
        found = []
        for folder in self._folders():
            with _held(folder / _IN_USE) as free, contextlib.suppress(FileNotFoundError):
                if free:
                    found.append(((folder / _IN_USE).stat().st_mtime_ns, folder))
        return [folder for _, folder in sorted(found)]


def _no_room(needed: int, folder: Path) -> OSError:
    free = shutil.disk_usage(folder).free
    return OSError(
        f"stored features need {needed:,} bytes in {str(folder)!r}, but {free:,} bytes are free there (a quota may "
        "allow less); make room, or compute them again in every epoch with features='off' (on the command line "
        "--features off)."
    )


def _bytes_of(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.bin"):
        with contextlib.suppress(FileNotFoundError):
            # As many as the disk gave: a file may be allocated beyond its end.
            total += max(path.stat().st_size, 512 * getattr(path.stat(), "st_blocks", 0))
    return total


def _lock(handle: Any, *, shared: bool = False, wait: bool = True) -> bool:
    """Locks an open file; returns False where another holds it and nobody waits. Without locks all is free."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL):
            raise
    return True


def _is_file_at(handle: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Yields whether nobody else holds a file, which is held meanwhile."""
    try:
        handle = path.open("a")
    except OSError:
        yield False
        return
    with handle:
        yield _lock(handle, wait=False)


def _allocate(path: Path, size: int) -> None:
    """Gives every byte of a file its place on the disk; what it holds stays. Not every platform and disk can."""
    if not hasattr(os, "posix_fallocate") or not size:
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
