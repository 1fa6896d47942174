"""Writing to an object store: a file appears whole or not at all, and lies on this machine until then."""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chexkeras.storage.drivers import asked
from chexkeras.storage.remote import Remote, key_of

CACHE_VARIABLE = "CHEXKERAS_CACHE"
"""The environment variable that names the folder of this machine for what belongs to an object store."""

_SLOWEST_BYTES_PER_SECOND = 100_000
# More than this goes up in parts, which the store puts together at the end.
_ONE_REQUEST_BYTES = 50 * 2**20


class NotUploaded(OSError):
    """What was made for an object store did not get there, and is kept on this machine.

    Attributes:
        kept: Where it is, whole.
    """

    def __init__(self, why: OSError, kept: Path):
        super().__init__(f"{str(why).rstrip('.')}; what was to be written there is kept, whole, in {str(kept)!r}.")
        self.kept = kept


def cache_folder(kind: str, name: str, known_by: str) -> Path:
    """Returns a folder of this machine, readable by its owner alone, for what belongs to an object store.

    Args:
        kind: What it holds, a word.
        name: A name for people; what no file system would take is left out.
        known_by: What tells it from others with that name; the same text gives the same folder.

    Raises:
        OSError: If it cannot be made.
    """
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    root = Path(os.environ.get(CACHE_VARIABLE) or os.path.join(home, "chexkeras")).expanduser().absolute()
    shown = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:40].strip(".") or "unnamed"
    folder = root / kind / f"{shown}-{hashlib.sha256(known_by.encode()).hexdigest()[:16]}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"nothing can be kept in {str(root)!r} on this machine ({error.strerror}); name a folder where you may "
            f"write in {CACHE_VARIABLE}."
        ) from None
    return folder


def folder_of_output(place: Remote) -> Path:
    """Returns the folder of this machine for what is on its way to a file in an object store.

    Args:
        place: The file.

    Raises:
        OSError: If it cannot be made.
    """
    return cache_folder("outputs", place.name, place.url)


def check_writable(place: Remote, name: str) -> None:
    """Checks that a file can be written, by beginning to write it and giving up: nothing is there afterwards.

    Also that there is a folder on this machine for what is on its way.

    Args:
        place: The file.
        name: What it is called, for messages.

    Raises:
        OSError: If it cannot, or the store cannot be asked; in one sentence.
    """
    # That there is no place on this machine would otherwise be found out after hours of work.
    here = folder_of_output(place)
    tempfile.TemporaryFile(dir=here).close()
    with contextlib.suppress(OSError):
        here.rmdir()
    # fsspec's memory takes everything, and would show what was begun.
    if place.url.startswith("memory:"):
        return

    def ask(driver: Any, _: dict[str, Any]) -> None:
        begun = driver.open(key_of(place.url), "wb", autocommit=False)
        try:
            begun.write(b"\n")
            begun.flush(force=True)
        finally:
            # Whoever may write and not give up leaves what no list shows.
            with contextlib.suppress(Exception):
                begun.discard()

    try:
        asked(place.url, ask)
    except OSError as error:
        raise type(error)(f"{name}: nothing can be written to {place.url!r}: {error}") from None


def put(place: Remote, content: bytes | Path) -> None:
    """Writes a file of an object store, in place of one that is there; it appears when all of it has arrived.

    Args:
        place: The file.
        content: What it is to hold, or the file of this machine that is to be copied.

    Raises:
        OSError: If it did not get there; what was there before still is.
    """
    key, size = key_of(place.url), content.stat().st_size if isinstance(content, Path) else len(content)
    whole = content.read_bytes() if isinstance(content, Path) and size <= _ONE_REQUEST_BYTES else content

    def ask(driver: Any, limits: dict[str, Any]) -> None:
        if isinstance(whole, Path):
            driver.put_file(str(whole), key, **limits)
        else:
            driver.pipe_file(key, whole, **limits)
        driver.invalidate_cache()

    asked(place.url, ask, more_seconds=size / _SLOWEST_BYTES_PER_SECOND)


@contextlib.contextmanager
def uploading(place: Remote) -> Iterator[Path]:
    """Yields a path of this machine, whose file is copied to an object store when the block ends without an error.

    Args:
        place: Where to.

    Yields:
        A path with the same ending, where the caller writes.

    Raises:
        NotUploaded: If it did not get there.
    """
    folder = folder_of_output(place)
    kept = folder / f"output{place.suffix}"
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as within:
        temporary = Path(within, kept.name)
        yield temporary
        try:
            put(place, temporary)
        except OSError as error:
            os.replace(temporary, kept)
            raise NotUploaded(error, kept) from None
    kept.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
