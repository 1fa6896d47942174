"""The data sets that can be opened, and `open_data`, which tells them apart by what lies in a folder.

An entry of `entries.DATA_SETS` says how a data set is recognised, which options its loader has and what the report says
of it. To add one, write its loader in the folder `published` and its entry there; `open_data` and the command line
follow.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chexkeras.arguments import checked
from chexkeras.data.datasets.data_set import DataSet, Option
from chexkeras.data.datasets.entries import CHEXPERT, DATA_SETS, NIH, OWN_TABLE
from chexkeras.storage import Remote

if TYPE_CHECKING:
    from chexkeras.data.image_table import ImageTable

__all__ = ["CHEXPERT", "DATA_SETS", "NIH", "OWN_TABLE", "DataSet", "Option", "data_set_of", "open_data", "recognise"]

_IN_FOLDERS = tuple(entry for entry in DATA_SETS if entry.label_files)
_NEEDED = tuple(option.name for option in OWN_TABLE.options if option.needed)


@checked
def open_data(root: str | Path, *, missing: Literal["error", "skip", "keep"] = "error", **options: Any) -> "ImageTable":
    """Loads images, telling their data set by what lies there.

    Args:
        root: A folder in the layout of a data set of `DATA_SETS` (or, for CheXpert, the folder that holds its folder),
            NIH's label file itself, or a CSV of one's own, which needs `image_column` and `label_columns`. NIH's layout
            and a CSV may also lie in an object store: an address such as ``s3://bucket/nih``.
        missing: What to do with rows whose image is not there: "error" raises; "skip" drops them and lists them in the
            source's ``left_out``; "keep" leaves them with an empty path.
        **options: What the loader of that data set takes besides; None stands for an option that was not given.
            `images` is the folder of the images, absolute or relative to the label file's.

    Returns:
        The image table.

    Raises:
        FileNotFoundError: If nothing is there, or a folder without a label file that is known.
        TypeError: If no data set has such an option.
        ValueError: If an option belongs to another data set, or a table of one's own lacks one that it needs; and
            whatever the loader raises.

    Example:
        >>> open_data("images.csv", image_column="file", label_columns="Edema")
        Traceback (most recent call last):
        FileNotFoundError: root: no file or folder at 'images.csv'; check the spelling, or give its full path.
    """
    known = dict.fromkeys(name for entry in DATA_SETS for name in entry.option_names)
    unknown = [name for name in options if name not in known]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; there are: {', '.join(known)}.")
    given = {name: value for name, value in options.items() if value is not None}
    # The list of commands needs the names of data sets alone, and starts without pandas.
    from chexkeras import files

    path = files.typed_place(root, "root")
    entry = OWN_TABLE if path.is_file() and _NEEDED[0] in given else recognise(str(path))
    foreign = [name for name in given if name not in entry.option_names]
    if foreign:
        owners = _listed([other.name for other in DATA_SETS if foreign[0] in other.option_names])
        raise ValueError(
            f"{foreign[0]}={given[foreign[0]]!r}{_on_command_line(foreign[:1])} is for {owners}, but {str(root)!r} is "
            f"{entry.name}, which takes: {', '.join(entry.option_names)}."
        )
    absent = [option.name for option in entry.options if option.needed and option.name not in given]
    if absent:
        from chexkeras.data.datasets import _csv

        header = ", ".join(cell for cell in _csv.header(path) if cell.strip())
        raise ValueError(
            f"root: {path.name} is a table of your own: name {' and '.join(absent)}{_on_command_line(absent)}. It has "
            f"the columns: {header[:300] or 'none'}."
        )
    if isinstance(path, Remote) and entry not in (NIH, OWN_TABLE):
        raise ValueError(
            f"root: {str(path)!r} is {entry.name}, which is not read from an object store: {NIH.name} and tables of "
            "your own are. Copy the data set to this machine, or write a table of its images with --image-column."
        )
    return entry.load(path, missing=missing, **given)


def recognise(root: str | Path) -> DataSet:
    """Returns the entry of the data set that lies in a folder or a file.

    Args:
        root: A folder, or a CSV.

    Raises:
        FileNotFoundError: If nothing is there, or a folder without a label file that is known; the message says what
            was looked for.
        ValueError: If a folder holds label files of two data sets, or a label file is given that is opened by its
            folder only.
    """
    from chexkeras import files

    path = files.typed_place(root, "root")
    if not path.exists():
        raise FileNotFoundError(f"root: no file or folder at {str(root)!r}; check the spelling, or give its full path.")
    if path.is_file():
        entry = next((entry for entry in _IN_FOLDERS if entry.is_label_file(path)), OWN_TABLE)
        if not entry.opens_file:
            raise ValueError(
                f"root: {str(root)!r} is {entry.owner}'s label file; give its folder, {str(path.parent)!r}."
            )
        return entry
    if isinstance(path, Remote):
        # Listed once: what is looked for in it then costs no request.
        _ = list(path.iterdir())
    found = [(entry, file) for entry in _IN_FOLDERS if (file := entry.label_file_in(path)) is not None]
    if not found and isinstance(path, Remote):
        raise FileNotFoundError(
            f"root: no label file in {str(path)!r}; looked for {'; '.join(entry.looked_for for entry in _IN_FOLDERS)}. "
            "Give the folder that holds it, or the address of a CSV of your own."
        )
    if not found:
        raise FileNotFoundError(_nothing_known(Path(str(path))))
    if len(found) > 1:
        holds = " and ".join(f"of {entry.owner} ({file.name})" for entry, file in found)
        raise ValueError(
            f"root: {str(root)!r} holds label files {holds}; give {found[0][0].owner}'s label file itself, or the "
            f"folder of {found[1][0].owner} alone."
        )
    return found[0][0]


@checked
def data_set_of(source_name: str) -> DataSet | None:
    """Returns the entry of a table's data set, with its license and citation, or None for a table of one's own.

    Args:
        source_name: `TableSource.dataset`.

    Example:
        >>> data_set_of("CheXpert").owner
        'CheXpert'
    """
    return next((entry for entry in DATA_SETS if source_name and entry.source_name == source_name), None)


def _listed(names: list[str]) -> str:
    """Returns names as a sentence lists them: "a, b and c"."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _nothing_known(folder: Path) -> str:
    message = (
        f"root: no label file in {str(folder)!r}; looked for {'; '.join(entry.looked_for for entry in _IN_FOLDERS)}."
    )
    places = (*sorted(folder.glob("*/")), folder.parent)
    nearby = (
        place / name
        for entry in _IN_FOLDERS
        if not entry.by_header
        for name in entry.label_files
        for place in places
        if (place / name).is_file()
    )
    # Names that anybody's file may have count with their header only; archives unpack into a folder of their own.
    by_header = (
        file for entry in _IN_FOLDERS if entry.by_header for place in places if (file := _label_file_in(entry, place))
    )
    elsewhere = next(nearby, None) or next(by_header, None)
    if elsewhere is not None:
        return f"{message} There is one at {str(elsewhere)!r}: give its folder."
    files = sorted(folder.glob("*.[cC][sS][vV]"))
    own = [file.name for file in files]
    for entry in _IN_FOLDERS:
        known = next((file.name for file in files if _begins_as(entry, file)), None)
        if known is not None:
            fix = "give its path" if entry.opens_file else f"call it {' or '.join(entry.label_files)}"
            return f"{message} {known} is a label file of {entry.owner} under another name: {fix}."
    if own:
        named = f"{' and '.join(_NEEDED)}{_on_command_line(_NEEDED)}"
        return f"{message} If {own[0]} is your own table, give its path, with {named}."
    if not any(folder.iterdir()):
        return f"{message} The folder is empty."
    return f"{message} Give the folder that holds it, or the path of a CSV of your own."


def _label_file_in(entry: DataSet, place: Path) -> Path | None:
    try:
        return entry.label_file_in(place)
    except ValueError:
        return None


def _begins_as(entry: DataSet, file: Path) -> bool:
    try:
        return entry.is_label_file(file)
    except ValueError:
        return False


def _on_command_line(names: Iterable[str]) -> str:
    """Returns how the command line writes options, to stand behind their names."""
    flags = {option.name: option.flag for entry in DATA_SETS for option in entry.options if option.on_command_line}
    written = [flags[name] for name in names if name in flags]
    return f" (on the command line {' and '.join(written)})" if written else ""
