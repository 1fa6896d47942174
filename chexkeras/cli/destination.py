"""Where a command may write: not over its inputs, not into a run, not over a file of another kind."""

import json
from collections.abc import Callable, Container
from pathlib import Path

from chexkeras.checks import typed_path

Own = Callable[[str], bool]

_OF_A_RUN = ("recipe.json", "provenance.json")


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
