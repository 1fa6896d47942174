"""Writing so that a reader never sees half a file, fingerprints that say which file it was, and what a folder holds.

Everything is written beside its destination under a temporary name and renamed: an interrupted run leaves the
previous output as it was. What goes to an object store is written on this machine and copied there when it is whole.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn, overload

import pandas as pd

from chexkeras import checks, storage
from chexkeras.storage import Place, Remote

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The numbers of errors that mean: the disk is full, or a quota or a limit of size is reached."""

MOST_JSON_BYTES = 16 * 2**20
"""The largest JSON file that is read: some hundred times what a run writes."""

MOST_TABLE_BYTES = 512 * 2**20
"""The largest table that is read: scores of 500,000 images on 14 findings are smaller."""

_DEEPEST = 64
_MOST_DIGITS = 18


@contextlib.contextmanager
def replacing(path: str | Place, *, owner_only: bool = False) -> Iterator[Path]:
    """Yields a temporary path that replaces `path` when the block ends without an error.

    Args:
        path: The destination; its folder is made if needed. What is in an object store is written there.
        owner_only: Whether nobody but the owner may read the file, whatever other new files are. On this machine only.

    Yields:
        A path in the same folder, with the same suffix, to be written by the caller.

    Raises:
        NotUploaded: If it did not get to an object store; it is kept on this machine.
    """
    if isinstance(path, Remote):
        with storage.uploading(path) as temporary:
            yield temporary
        return
    destination = Path(path)
    if destination.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder, where a file was to be written; name a file.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{destination.stem}.", suffix=destination.suffix, dir=destination.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; outputs get the permissions any other new file would have.
        if not owner_only:
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
        os.replace(temporary, destination)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Yields a path that becomes the folder `path`, whole or not at all, when the block ends without an error.

    Args:
        path: The destination. A folder that is there is replaced with all that lies in it.

    Yields:
        A path beside it where there is nothing yet, for the caller to make a folder of.
    """
    destination = Path(path)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.stem}.", dir=destination.parent) as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        yield new
        # No folder can be put in another's place; the old one is moved out of the way, and back if that fails.
        if destination.exists():
            destination.rename(old)
        try:
            new.rename(destination)
        except OSError:
            if old.exists():
                old.rename(destination)
            raise


def output_folder(path: Path, name: str, marker: str, what: str, *, overwrite: bool) -> Path:
    """Returns the folder that outputs go to, if nothing but earlier outputs of the same kind can be lost.

    Args:
        path: What the caller gave.
        name: Its name, for messages, such as "--out".
        marker: The file by which a folder is known as one of these outputs.
        what: What the outputs are, for messages, such as "heat maps".
        overwrite: Whether earlier outputs may be replaced.

    Raises:
        FileExistsError: If it holds outputs already, and they may not be replaced.
        OSError: If nothing can be written there.
        ValueError: If it is a file, lies in a run folder, or holds something else.
    """
    folder = path.resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{name} {str(path)!r} is a file; name a folder.")
    inside = [parent for parent in (folder, *folder.parents) if (parent / "recipe.json").is_file()]
    if inside:
        raise ValueError(f"{name} {str(path)!r} lies in the run folder {inside[0].name!r}; choose a place outside it.")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / marker).is_file():
            raise ValueError(f"{name} {str(path)!r} holds something else already; name a new folder.")
        if not overwrite:
            raise FileExistsError(f"{name} {str(path)!r} holds {what} already; --overwrite replaces them.")
    for place in {folder, folder.parent}:
        there = next(each for each in (place, *place.parents) if each.exists())
        try:
            tempfile.TemporaryFile(dir=there).close()
        except OSError as error:
            raise type(error)(
                f"{name}: nothing can be written into {str(there)!r} ({error.strerror}); choose a folder where you may "
                "write."
            ) from None
    return folder


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


@overload
def write_text(path: str | Path, text: str) -> Path: ...
@overload
def write_text(path: Remote, text: str) -> Remote: ...


def write_text(path: str | Place, text: str) -> Place:
    """Writes UTF-8 text atomically and returns the path.

    Args:
        path: The file, see `replacing`.
        text: Its content.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path if isinstance(path, Remote) else Path(path)


FORMULA = re.compile(r"[\t\r]|[\s\"']*[" + re.escape("=+-@＝＋－＠﹦﹢﹣﹫") + "]")
"""What a spreadsheet takes for the beginning of a formula, full-width and small forms among them; also behind blanks
and quotation marks."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _runs(text: Any) -> bool:
    """Returns whether a spreadsheet would run a cell."""
    return isinstance(text, str) and FORMULA.match(text) is not None and not _NUMBER.fullmatch(text)


def to_cell(value: Any) -> Any:
    """Returns what to write for a cell: a text that a spreadsheet would run gets an apostrophe, all else stays.

    Names and identifiers in a table are words that somebody else chose, and people open tables in spreadsheets.

    Args:
        value: A text, or anything else.

    Source:
        OWASP, CSV Injection.

    Example:
        >>> to_cell("=1+1"), to_cell("-0.5"), to_cell("a-1"), to_cell(-1)
        ("'=1+1", '-0.5', 'a-1', -1)
    """
    return f"'{value}" if _runs(value) else value


def from_cell(value: Any) -> Any:
    """Returns what `to_cell` was given.

    Args:
        value: A text, or anything else.
    """
    return value[1:] if isinstance(value, str) and value.startswith("'") and _runs(value[1:]) else value


def write_csv(path: str | Path, frame: pd.DataFrame) -> Path:
    """Writes a table atomically, without its index, floats with all their digits, and returns the path.

    Texts that a spreadsheet would run are written as `to_cell` says; `read_csv` gives them back.

    Args:
        path: The file; its folder is made if needed.
        frame: The table.
    """
    with replacing(path) as temporary:
        _each_text(frame, to_cell).rename(columns=to_cell).to_csv(temporary, index=False)
    return Path(path)


def read_csv(path: str | Path, **options: Any) -> pd.DataFrame:
    """Reads a table that `write_csv` wrote.

    Args:
        path: The file.
        **options: Options of `pandas.read_csv`.

    Raises:
        ValueError: If it is no CSV; errors of pandas are of this kind.
    """
    return _each_text(pd.read_csv(path, **options), from_cell)


def _each_text(frame: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    """Returns the table with its texts changed; the table itself where there is none to change."""
    changed = None
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place]
        texts = not pd.api.types.is_numeric_dtype(column)
        if texts and any(change(value) is not value for value in column.unique()):
            changed = frame.copy() if changed is None else changed
            changed.isetitem(place, column.map(change).array)
    return frame if changed is None else changed


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


@overload
def write_json(path: str | Path, value: Any) -> Path: ...
@overload
def write_json(path: Remote, value: Any) -> Remote: ...


def write_json(path: str | Place, value: Any) -> Place:
    """Writes strict JSON atomically (NaN and infinity become null) and returns the path.

    Args:
        path: The file, see `replacing`.
        value: Plain values: dictionaries, lists, texts, numbers, paths, and arrays of one number.
    """
    return write_text(path, json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def readable(path: str | Path, most_bytes: int, *, within: str | Path | None = None) -> Path:
    """Returns a path that leads to a file of a size that can be read, and to nothing that could block or never end.

    Args:
        path: The file.
        most_bytes: The largest size.
        within: A folder that the file must lie in, wherever links lead; None for anywhere.

    Raises:
        FileNotFoundError: If nothing is there.
        ValueError: If it is a folder, pipe or device, is too large, or a link that leads out of `within`.
    """
    file = Path(path)
    if within is not None and not file.resolve().is_relative_to(Path(within).resolve()):
        raise ValueError(f"{file.name} is a link to a file elsewhere; put the file itself in its place.")
    state = file.stat()
    if not stat.S_ISREG(state.st_mode):
        raise ValueError(f"{file.name} is a folder, a pipe or a device; a file was expected.")
    if state.st_size > most_bytes:
        raise ValueError(
            f"{file.name} has {state.st_size:,} bytes, more than the {most_bytes:,} that are read; it is no such file."
        )
    return file


def read_json(path: str | Place) -> Any:
    """Reads a JSON file, as strictly as `write_json` writes it.

    Args:
        path: The file, of at most `MOST_JSON_BYTES`.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it is not JSON, or is JSON that readers take in different ways or choke on: a key twice, NaN, a
            number without end, half a character, lists in lists in lists; the message names the file.
    """
    if isinstance(path, Remote):
        name, written = path.name, storage.content(path.url, MOST_JSON_BYTES)
    else:
        file = readable(path, MOST_JSON_BYTES)
        name, written = file.name, file.read_bytes()
    try:
        found = json.loads(
            written.decode(),
            object_pairs_hook=_each_key_once,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
        _refuse_deep(found)
        # Half a character, which "\\ud800" is, cannot be written again.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        deep = "lists in lists without end" if isinstance(error, RecursionError) else error
        raise ValueError(f"{name} is not valid JSON ({deep}); it may be cut short: write it again.") from error
    return found


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("a number is too large")
    return int(digits)


def _refuse_deep(value: Any) -> None:
    """Raises a RecursionError where lists and objects lie deeper in each other than `_DEEPEST`."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list)))
        level = [each for items in inner for each in items]
        if not level:
            return
    raise RecursionError


def typed_place(path: str | Path, name: str) -> Place:
    """Returns the path, see `checks.typed_path`, or the address in an object store that a person gave.

    Args:
        path: What the caller gave.
        name: The argument's name, for the message.

    Raises:
        ValueError: As `checks.typed_path` and `storage.place` do.
    """
    found = storage.place(path, name)
    return found if isinstance(found, Remote) else checks.typed_path(path, name)


def existing_place(found: Place, name: str, *, is_folder: bool) -> Place:
    """Returns a place where there is a file, or a folder.

    Args:
        found: The place.
        name: The argument's name, for the message.
        is_folder: Whether a folder is expected; else a file is.

    Raises:
        FileNotFoundError: If nothing is there.
        NotADirectoryError: If it is a file, and a folder was expected.
        OSError: If an object store cannot be asked.
    """
    if isinstance(found, Path):
        return checks.existing_folder(found, name) if is_folder else checks.existing_file(found, name)
    if found.is_dir() if is_folder else found.is_file():
        return found
    if is_folder and found.is_file():
        raise NotADirectoryError(f"{name}: {found.url!r} is a file, a folder was expected.")
    kind = "folder" if is_folder else "file"
    raise FileNotFoundError(f"{name}: no {kind} at {found.url!r}; check bucket and name.")


def sha256_file(path: str | Place) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal.

    Args:
        path: The file.
    """
    if isinstance(path, Remote):
        return hashlib.sha256(path.read_bytes()).hexdigest()
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
