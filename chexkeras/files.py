"""Writing so that a reader never sees half a file, fingerprints that say which file it was, and what a folder holds.

Everything is written beside its destination under a temporary name and renamed: an interrupted run leaves the
previous output as it was.
"""

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pandas as pd


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path that replaces `path` when the block ends without an error.

    Args:
        path: The destination; its folder is made if needed.

    Yields:
        A path in the same folder, with the same suffix, to be written by the caller.
    """
    destination = Path(path)
    destination.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{destination.stem}.", suffix=destination.suffix, dir=destination.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; outputs get the permissions any other new file would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, destination)
    finally:
        temporary.unlink(missing_ok=True)


def lock(handle: IO[Any], taken: str) -> bool:
    """Holds an open file for this process, until it is closed or the process ends, however it ends.

    Args:
        handle: The open file.
        taken: The message where another process holds it: who that is and what to do.

    Returns:
        False where the file system knows no locks, so that the caller can say so; True otherwise, on Windows too,
        where nothing is locked.

    Raises:
        FileExistsError: If another process holds the file.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileExistsError(taken) from None
    except OSError:
        return False
    return True


def write_text(path: str | Path, text: str) -> Path:
    """Writes UTF-8 text atomically and returns the path.

    Args:
        path: The file; its folder is made if needed.
        text: Its content.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_csv(path: str | Path, frame: pd.DataFrame) -> Path:
    """Writes a table atomically, without its index, floats with all their digits, and returns the path.

    Args:
        path: The file; its folder is made if needed.
        frame: The table.
    """
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False)
    return Path(path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no NaN and no infinity; both mean "not a number a reader can use".
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def write_json(path: str | Path, value: Any) -> Path:
    """Writes strict JSON atomically (NaN and infinity become null) and returns the path.

    Args:
        path: The file; its folder is made if needed.
        value: Plain values: dictionaries, lists, texts, numbers, paths, and arrays of one number.
    """
    return write_text(path, json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it is not JSON; the message names the file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); it may be cut short: write it again.") from error


def sha256_file(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal.

    Args:
        path: The file.
    """
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_table(frame: pd.DataFrame) -> str:
    """Returns the SHA-256 of a table's values, whatever the order of its rows and whatever wrote it.

    Args:
        frame: A table; its columns count by name and order, its index does not count.

    Returns:
        64 hexadecimal digits.
    """
    lines = frame.to_csv(index=False, header=False, lineterminator="\n").splitlines()
    header = ",".join(map(str, frame.columns))
    return hashlib.sha256("\n".join([header, *sorted(lines)]).encode()).hexdigest()


def entries_below(
    folder: str | Path,
    refused: Callable[[str, OSError], object],
    *,
    follow_links: bool,
    enter: Callable[["os.DirEntry[str]"], bool] = lambda _: True,
) -> Iterator["os.DirEntry[str]"]:
    """Yields what lies below a folder but for the folders that are entered, folder after folder in the order of names.

    It goes as deep as there are folders, where `os.walk` and `Path.rglob` may run out of recursion (Python 3.11), and
    goes on where one cannot be entered, for want of permission or because its path is longer than the system takes.

    Args:
        folder: Where to begin.
        refused: Called with the path of a folder that cannot be listed, `folder` among them, and with the error.
        follow_links: Whether links to folders are followed; each folder is then entered once, whatever leads there.
        enter: Called with each folder below; False leaves it alone, and it is yielded.

    Yields:
        Files, links, and whatever else is not entered.
    """
    waiting, entered = [os.fspath(folder)], set()
    while waiting:
        current = waiting.pop()
        try:
            if follow_links:
                status = os.stat(current)
                if (status.st_dev, status.st_ino) in entered:
                    continue
                entered.add((status.st_dev, status.st_ino))
            with os.scandir(current) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            refused(current, error)
            continue
        folders = {entry.name: entry.path for entry in entries if _is_folder(entry, follow_links) and enter(entry)}
        yield from (entry for entry in entries if entry.name not in folders)
        # The last is taken first: so they are entered in the order of names.
        waiting.extend(reversed(folders.values()))


def _is_folder(entry: "os.DirEntry[str]", follow_links: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow_links)
    except OSError:
        # A link to itself; or the folder around it is out of reach by now.
        return False
