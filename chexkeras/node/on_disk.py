"""Writing that is on disk when it returns, and reading what a kill may have cut short."""

import json
import os
from pathlib import Path
from typing import Any


def number_in(path: Path) -> int:
    """Returns the whole number that a small file holds; 0 where there is none.

    Args:
        path: The file.
    """
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def is_whole(path: Path) -> bool:
    """Returns whether a file holds a whole JSON object.

    Args:
        path: The file.
    """
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes JSON beside its place, sees to it that it is on disk, and renames it.

    Args:
        path: The file.
        value: Plain values.
    """
    temporary = path.with_name(f".{path.name}")
    write_through(temporary, json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    os.replace(temporary, path)


def write_through(path: Path, *parts: bytes | memoryview) -> None:
    """Writes a file that its owner alone may read, and returns once it is on disk.

    Args:
        path: The file.
        *parts: Its content, one after the other.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "wb", buffering=0) as file:
        for part in parts:
            left = memoryview(part)
            while left:
                left = left[file.write(left) :]
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Returns once what was written to a file is on disk.

    Args:
        path: The file.
    """
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Returns once it is on disk which names a folder holds.

    Args:
        folder: The folder.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
