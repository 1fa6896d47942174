"""Where a command may write: not over its inputs, not into a run, not over a file of another kind."""

import json
from collections.abc import Callable, Container
from pathlib import Path

from chexkeras import storage
from chexkeras.checks import typed_path
from chexkeras.storage import Place, Remote

Own = Callable[[str], bool]

# A line of results names a file and holds its findings.
_LONGEST_LINE = 2**20
_OF_A_RUN = ("recipe.json", "provenance.json")


def check_place(out: Path, option: str, kinds: dict[str, Own], folders: Container[str] = ()) -> Place:
    """Returns where a file is to be written, on this machine or in an object store, see `check_destination`.

    Args:
        out: What the user gave: a path or an address.
        option: The option's name, for messages.
        kinds: As `check_destination` takes them.
        folders: As `check_destination` takes them.

    Raises:
        OSError: If an object store cannot be asked, or gives no leave to write there.
        ValueError: As `check_destination` says.
    """
    from chexkeras.files import typed_place

    found = typed_place(out, option)
    if isinstance(found, Path):
        return check_destination(found, option, kinds, folders)
    suffix = found.suffix.lower()
    if suffix not in kinds:
        raise ValueError(f"{option} {found.url!r} must end in {' or '.join(kinds)}, to say what is written.")
    storage.check_writable(found, option)
    if found.is_dir():
        raise ValueError(f"{option} {found.url!r} is a folder; name a file.")
    if found.exists() and not _is_own_there(found, kinds[suffix]):
        raise ValueError(
            f"{option} {found.url!r} is there already and is not an output of this command; choose another name."
        )
    return found


def check_destination(out: Path, option: str, kinds: dict[str, Own], folders: Container[str] = ()) -> Path:
    """Returns the path of a file to write, if writing it loses nothing but an earlier output of the same kind.

    Args:
        out: What the user gave.
        option: The option's name, for messages.
        kinds: Suffixes that may be written, each with what tells from the first line of a file that is there whether it
            is this command's own.
        folders: Suffixes of these that name a folder. What lies in it is looked at where it is written.

    Raises:
        ValueError: If the suffix is another, the file would lie in a run folder, or a file of another kind is there.
    """
    suffix = out.suffix.lower()
    if suffix not in kinds:
        raise ValueError(f"{option} {str(out)!r} must end in {' or '.join(kinds)}, to say what is written.")
    path = typed_path(out, option).resolve()
    for folder in path.parents:
        if all((folder / name).is_file() for name in _OF_A_RUN):
            raise ValueError(
                f"{option} {str(out)!r} lies in the run folder {folder.name!r}, whose files are its evidence; choose a "
                "place outside it."
            )
    if path.is_dir():
        if suffix in folders:
            return out
        raise ValueError(f"{option} {str(out)!r} is a folder; name a file.")
    if path.exists() and not _is_own(path, kinds[suffix]):
        raise ValueError(
            f"{option} {str(out)!r} is there already and is not an output of this command; choose another name."
        )
    return out


def _is_own(path: Path, own: Own) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
            return not first or own(first if path.suffix.lower() != ".json" else first + file.read())
    except UnicodeDecodeError:
        return False


def _is_own_there(file: Remote, own: Own) -> bool:
    from chexkeras.files import MOST_TABLE_BYTES

    read = storage.content(file.url, MOST_TABLE_BYTES) if file.suffix.lower() == ".json" else _first_line(file)
    try:
        return not read or own(read.decode())
    except UnicodeDecodeError:
        return False


def _first_line(file: Remote) -> bytes:
    return storage.head(file.url, _LONGEST_LINE).partition(b"\n")[0]


def table_of(*columns: str) -> Own:
    """Returns what tells a CSV whose first columns are these."""
    return lambda first: first.strip().split(",")[: len(columns)] == list(columns)


def object_with(*keys: str) -> Own:
    """Returns what tells JSON, of a file or of a line, that has these keys."""

    def own(text: str) -> bool:
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            return False
        return isinstance(value, dict) and set(keys) <= set(value)

    return own


def heading(*words: str) -> Own:
    """Returns what tells Markdown whose first line is a heading with these words."""
    return lambda first: first.startswith("#") and all(word in first for word in words)
