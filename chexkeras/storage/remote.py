"""Files and folders in an object store beside those of this machine: ``s3://``, ``gs://`` and ``memory://``.

`place` tells an address from a path, and nothing else does. What lies elsewhere is a `Remote`, which can do what
reading needs of `pathlib.Path` and is none: what was not made for it cannot take it by mistake. In a table of images an
address stays text; `is_remote` knows it.
"""

import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from chexkeras.storage.drivers import FROM_ENVIRONMENT, SCHEMES, asked

MOST_TEXT_BYTES = 2**30
"""The largest label file that is read from an object store."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
# What pathlib makes of an address.
_JOINED = re.compile(r"(s3|s3a|s3n|gs|gcs|az|abfs|abfss|hdfs|https?|ftp|memory|file):/(?!/)(.*)", re.DOTALL)
_HEADER_BYTES = 64 * 2**10


class TooLarge(ValueError):
    """A file in an object store that is larger than may be read.

    Attributes:
        size: Its bytes.
    """

    def __init__(self, name: str, size: int, most: int):
        super().__init__(f"{name} has {size:,} bytes, more than the {most:,} that are read.")
        self.size = size


class Status(NamedTuple):
    """What the store says of a file.

    Attributes:
        size: Bytes; 0 of a folder.
        is_folder: Whether it is what others lie below.
        version: Changes when the content does; "" where the store does not say.
    """

    size: int
    is_folder: bool
    version: str


@dataclass(frozen=True, order=True)
class Remote:
    """A file or folder in an object store; made by `place`.

    Attributes:
        url: Its address, such as ``s3://bucket/nih/images``.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "Remote":
        return Remote(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """What stands behind the last slash."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The ending of the name with its dot, "" where there is none."""
        return os.path.splitext(self.name)[1]

    @property
    def parent(self) -> "Remote":
        """What it lies in; a bucket lies in itself."""
        before = self.url.rpartition("/")[0]
        return self if before.endswith(":/") or before.endswith(":") else Remote(before)

    def exists(self) -> bool:
        """Returns whether anything is there.

        Raises:
            OSError: If the store cannot be asked.
        """
        return _status_or_none(self.url) is not None

    def is_file(self) -> bool:
        """Returns whether a file is there.

        Raises:
            OSError: If the store cannot be asked.
        """
        found = _status_or_none(self.url)
        return found is not None and not found.is_folder

    def is_dir(self) -> bool:
        """Returns whether files lie below.

        Raises:
            OSError: If the store cannot be asked.
        """
        found = _status_or_none(self.url)
        return found is not None and found.is_folder

    def iterdir(self) -> "Iterator[Remote]":
        """Yields what lies in a folder, in the order of names.

        Raises:
            OSError: If the store cannot be asked, or nothing is there.
        """
        yield from (Remote(url) for url, _ in _listed(self.url))

    def read_bytes(self) -> bytes:
        """Returns the content of a file of at most `MOST_TEXT_BYTES`.

        Raises:
            OSError: If it is not there or cannot be read.
            TooLarge: If it is larger.
        """
        return content(self.url, MOST_TEXT_BYTES)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Returns the text of a file, see `read_bytes`.

        Args:
            encoding: How it is written.
        """
        return self.read_bytes().decode(encoding)


Place = Path | Remote
"""Where a file or folder is: on this machine, or in an object store."""


def is_remote(path: object) -> bool:
    """Returns whether a text is an address rather than a path.

    Args:
        path: A text, a path, or a `Remote`.

    Example:
        >>> is_remote("s3://bucket/a.png"), is_remote("images/a.png"), is_remote("C:/images")
        (True, False, False)
    """
    return isinstance(path, Remote) or (isinstance(path, str) and "://" in path and _ADDRESS.match(path) is not None)


def place(path: "str | Path | Remote", name: str = "path") -> Place:
    """Returns where a text points to.

    ``file:///data`` is the path ``/data``. An address that became a path, in which pathlib writes one slash for two, is
    an address again.

    Args:
        path: What was given: a path, or an address of one of `SCHEMES`.
        name: What it is called, for messages.

    Raises:
        ValueError: If it is an address of another kind, or one that holds a user, a key or a signature.

    Example:
        >>> place("s3://bucket/nih/"), place(Path("s3://bucket/nih"))
        (Remote(url='s3://bucket/nih'), Remote(url='s3://bucket/nih'))
    """
    if isinstance(path, Remote):
        return path
    found = _ADDRESS.match(path) if isinstance(path, str) else None
    if found is None:
        found = _JOINED.match(path if isinstance(path, str) else path.as_posix())
        if found is None or os.path.lexists(path):
            return Path(path)
    scheme, rest = found[1].lower(), found[2]
    if scheme == "file":
        # A host of its own would be another machine.
        rest = f"/{rest.lstrip('/')}" if found.re is _JOINED else rest.removeprefix("localhost")
        if not rest.startswith("/"):
            raise ValueError(f"{name}: an address file:// names a file of this machine, as in file:///data/nih.")
        return Path(rest)
    # What follows may be a secret, and is not repeated.
    if scheme not in SCHEMES:
        raise ValueError(f"{name}: addresses {scheme}:// are not read; s3://, gs:// and file:// are.")
    bucket = rest.partition("/")[0]
    if "@" in bucket or ":" in bucket:
        raise ValueError(
            f"{name}: the address {scheme}:// holds a user, a key or a server, and is not repeated here; give "
            f"{scheme}://BUCKET/FOLDER: {FROM_ENVIRONMENT}."
        )
    if "?" in rest or "#" in rest:
        raise ValueError(
            f"{name}: the address {scheme}:// has a question mark or a #, behind which a signature may stand, and is "
            f"not repeated here; give {scheme}://BUCKET/FOLDER: {FROM_ENVIRONMENT}."
        )
    if any(ord(each) < 32 or ord(each) == 127 for each in rest):
        raise ValueError(f"{name}: the address {scheme}:// holds characters that cannot be seen.")
    if not bucket:
        raise ValueError(f"{name}: the address {scheme}:// names no bucket; give {scheme}://BUCKET/FOLDER.")
    return Remote(f"{scheme}://{rest.rstrip('/')}")


def own_path(path: str | Path, name: str) -> Path:
    """Returns a path of this machine, for what is read from or written to no other place.

    Args:
        path: What was given.
        name: What it is called, for messages.

    Raises:
        ValueError: If it is an address.
    """
    found = place(path, name)
    if isinstance(found, Remote):
        raise ValueError(
            f"{name}: {found.url!r} is in an object store, from which images in NIH's layout, tables of your own "
            "('chexkeras audit', 'prepare', 'train'), stores and folders to score ('chexkeras predict') are read, and "
            "where stores, results, audits and worklists are written; give a path of this machine here."
        )
    return found


def content(path: str, most_bytes: int) -> bytes:
    """Returns what a file in an object store holds: one request where its folder was listed, else two.

    Args:
        path: Its address.
        most_bytes: The largest size; nothing of a larger one is read.

    Raises:
        FileNotFoundError: If it is not there.
        OSError: If it cannot be read; a `ConnectionError` or `TimeoutError` where that may be otherwise next time.
        TooLarge: If it is larger.
    """
    found = _file(path)
    if found.size > most_bytes:
        raise TooLarge(path.rpartition("/")[2], found.size, most_bytes)
    return _part(path, 0, found.size)


def head(path: str, count: int) -> bytes:
    """Returns the first bytes of a file in an object store.

    Args:
        path: Its address.
        count: How many; all of a shorter one.

    Raises:
        OSError: As `content` does.
    """
    return _part(path, 0, min(count, _file(path).size))


def opened(path: str | Path) -> BinaryIO:
    """Returns a file opened for reading; of one in an object store only the parts that are read are fetched.

    Args:
        path: A path of this machine, or an address as text. Whoever needs all of it takes `content`.

    Raises:
        OSError: As `content` does; reading it may, too.
    """
    if isinstance(path, str) and is_remote(path):
        return io.BufferedReader(_Parts(path), _HEADER_BYTES)
    return Path(path).open("rb")


def absolute(path: str) -> str:
    """Returns a path from the root of this machine's files, for work elsewhere; an address and "" stay as they are.

    Args:
        path: A path of this machine, an address, or "".
    """
    return os.path.abspath(path) if path and not is_remote(path) else path


def size_of(path: str) -> int:
    """Returns the bytes of a file, -1 where there is none.

    Args:
        path: A path of this machine, or an address.

    Raises:
        OSError: If an object store cannot be asked.
    """
    if is_remote(path):
        found = _status_or_none(path)
        return -1 if found is None or found.is_folder else found.size
    try:
        return os.stat(path).st_size if path and not os.path.isdir(path) else -1
    except OSError:
        return -1


def status(path: str) -> Status:
    """Returns what a store says of a file; without a request where its folder was listed.

    Args:
        path: Its address.

    Raises:
        FileNotFoundError: If nothing is there.
        OSError: If the store cannot be asked.
    """

    def ask(driver: Any, limits: dict[str, Any]) -> dict[str, Any]:
        return dict(driver.info(key_of(path), **limits))

    return _status(asked(path, ask))


def files_below(folder: Remote) -> list[str]:
    """Returns the addresses of all files below a folder, of which each then knows its size without a request.

    They come folder after folder, in the order of names, as `files.entries_below` gives those of this machine. What was
    known of files elsewhere is forgotten.

    Args:
        folder: Where to begin.

    Raises:
        FileNotFoundError: If nothing is there.
        OSError: If the store cannot be asked.
    """
    start = key_of(folder.url)

    def ask(driver: Any, _: dict[str, Any]) -> list[str]:
        driver.invalidate_cache()
        # An entry that ends in a slash, or bears the folder's own name, is an empty folder's.
        found = driver.find(start, detail=True)
        below = [each["name"] for each in found.values() if each["type"] == "file" and each["name"] != start]
        return [name for name in below if not name.endswith("/")]

    names = asked(folder.url, ask, is_list=True)
    if not names and not folder.exists():
        raise FileNotFoundError(f"nothing at {folder.url!r}; check bucket and folder")
    scheme = folder.url.partition("://")[0]
    return [f"{scheme}://{name.lstrip('/')}" for name in sorted(names, key=_in_order)]


def names_in(folder: str) -> list[str]:
    """Returns the names of the files in a folder, in order; none where nothing is there.

    Args:
        folder: Its address.

    Raises:
        OSError: If the store cannot be asked.
    """
    try:
        return [url.rpartition("/")[2] for url, found in _listed(folder) if not found.is_folder]
    except FileNotFoundError:
        return []


def shared_folder(folders: Iterable[str]) -> str:
    """Returns the innermost folder that all lie in, of this machine or of one bucket; "" where there is none.

    Args:
        folders: Paths, or addresses.

    Example:
        >>> shared_folder(["s3://bucket/a/b", "s3://bucket/a/c"]), shared_folder(["s3://bucket/a", "s3://other/a"])
        ('s3://bucket/a', '')
    """
    shared: list[str] | None = None
    for parts in (folder.split("/") for folder in dict.fromkeys(folders)):
        pairs = zip(parts if shared is None else shared, parts, strict=False)
        shared = [part for part, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
    found = "/".join(shared or ())
    return "" if found.endswith(":/") or found.endswith(":") else found


class _Parts(io.RawIOBase):
    """A file in an object store, of which what is asked for is fetched."""

    def __init__(self, path: str):
        self._path, self._at = path, 0
        self._size = _file(path).size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = _part(self._path, self._at, min(self._at + len(buffer), self._size))
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _file(path: str) -> Status:
    found = status(path)
    if found.is_folder:
        raise IsADirectoryError("a folder of an object store, where a file was expected")
    return found


def _part(path: str, start: int, stop: int) -> bytes:
    """Returns some bytes of a file, all that are asked for."""
    if stop <= start:
        return b""

    def ask(driver: Any, limits: dict[str, Any]) -> bytes:
        part = bytes(driver.cat_file(key_of(path), start=start, end=stop, **limits))
        if len(part) != stop - start:
            raise ConnectionError("another number of bytes than was asked for")
        return part

    return asked(path, ask)


def _listed(folder: str) -> list[tuple[str, Status]]:
    """Returns address and status of what lies in a folder."""
    key, scheme = key_of(folder), folder.partition("://")[0]

    def ask(driver: Any, _: dict[str, Any]) -> list[dict[str, Any]]:
        return list(driver.ls(key, detail=True))

    found = [(each["name"].rstrip("/"), _status(each)) for each in asked(folder, ask, is_list=True)]
    return [(f"{scheme}://{name.lstrip('/')}", said) for name, said in sorted(found) if name != key]


def _status_or_none(path: str) -> Status | None:
    try:
        return status(path)
    except FileNotFoundError:
        return None


def _status(said: dict[str, Any]) -> Status:
    version = next((said[name] for name in ("ETag", "etag", "LastModified", "created", "mtime") if said.get(name)), "")
    return Status(int(said.get("size") or 0), said.get("type") == "directory", str(version).strip('"'))


def key_of(path: str) -> str:
    """Returns an address as the driver writes it.

    Args:
        path: The address.
    """
    scheme, _, rest = path.partition("://")
    return f"/{rest}" if scheme == "memory" else rest


def _in_order(name: str) -> list[tuple[bool, str]]:
    """Returns what puts the files of a folder before its folders."""
    *folders, last = name.split("/")
    return [*((True, each) for each in folders), (False, last)]
