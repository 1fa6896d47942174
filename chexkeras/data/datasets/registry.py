"""Opening images by what lies there: NIH's layout, CheXpert's, or a table of one's own."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from chexkeras.data.datasets import _csv, chexpert, nih
from chexkeras.data.datasets.custom import load_table

NIH, CHEXPERT, TABLE = "NIH's layout", "CheXpert's layout", "a table of one's own"

OPTIONS: dict[str, tuple[str, ...]] = {
    NIH: ("images",),
    CHEXPERT: ("part", "views", "uncertain", "blank"),
    TABLE: (
        "images", "image_column", "label_columns", "patient_column", "view_column", "sex_column", "age_column",
        "separator",
    ),
}  # fmt: skip
"""Which options each kind takes; their meaning is that of `load_nih`, `load_chexpert` and `load_table`."""

_NEEDED = ("image_column", "label_columns")
_NOT_ON_THE_COMMAND_LINE = ("part",)


def open_data(root: str | Path, *, missing: Literal["error", "skip", "keep"] = "error", **options: Any) -> pd.DataFrame:
    """Loads images whose kind is told from what lies there.

    Args:
        root: A folder in NIH's layout or in CheXpert's (or the folder that holds that of CheXpert), NIH's label file
            itself, or a CSV of one's own, which needs `image_column` and `label_columns`.
        missing: What to do with rows whose image is not there, as for every loader.
        **options: What the loader of that kind takes besides; None stands for an option that was not given. `images`
            is the folder of the images, absolute or relative to the label file's.

    Returns:
        The image table.

    Raises:
        FileNotFoundError: If nothing is there, or a folder without a label file that is known.
        TypeError: If there is no such option at all.
        ValueError: If an option belongs to another kind, or a table of one's own lacks one that it needs; and
            whatever the loader raises.

    Example:
        >>> open_data("images.csv", image_column="file", label_columns="Edema")
        Traceback (most recent call last):
        FileNotFoundError: root: no file or folder at 'images.csv'; check the spelling, or give its full path.
    """
    known = dict.fromkeys(name for names in OPTIONS.values() for name in names)
    unknown = [name for name in options if name not in known]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; there are: {', '.join(known)}.")
    given = {name: value for name, value in options.items() if value is not None}
    path = Path(root).expanduser()
    kind = TABLE if path.is_file() and "image_column" in given else kind_of(path)
    foreign = [name for name in given if name not in OPTIONS[kind]]
    if foreign:
        owners = " and ".join(owner for owner, names in OPTIONS.items() if foreign[0] in names)
        raise ValueError(
            f"{foreign[0]}={given[foreign[0]]!r}{_also(foreign[:1])} is for {owners}, but {str(root)!r} is {kind}, "
            f"which takes: {', '.join(OPTIONS[kind])}."
        )
    return _LOADERS[kind](path, missing, given)


def kind_of(root: str | Path) -> str:
    """Returns what lies there: `NIH`, `CHEXPERT` or `TABLE`.

    Args:
        root: A folder, or a CSV.

    Raises:
        FileNotFoundError: If nothing is there, or a folder without a label file that is known; the message says what
            was looked for.
        ValueError: If a folder holds label files of both data sets, or CheXpert's label file is given itself.
    """
    path = Path(root).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"root: no file or folder at {str(root)!r}; check the spelling, or give its full path.")
    if path.is_file():
        if _is_nih(path):
            return NIH
        if _is_chexpert(path):
            raise ValueError(f"root: {str(root)!r} is CheXpert's label file; give its folder, {str(path.parent)!r}.")
        return TABLE
    of_nih = [path / name for name in nih.LABEL_FILES if (path / name).is_file()]
    of_chexpert = [file for file in _chexpert_places(path) if file.is_file() and _is_chexpert(file)]
    if of_nih and of_chexpert:
        raise ValueError(
            f"root: {str(root)!r} holds label files of NIH ({of_nih[0].name}) and of CheXpert ({of_chexpert[0].name}); "
            "give NIH's label file itself, or the folder of CheXpert alone."
        )
    if not of_nih and not of_chexpert:
        raise FileNotFoundError(_nothing_known(path))
    return NIH if of_nih else CHEXPERT


def _chexpert_places(folder: Path) -> list[Path]:
    folders = (folder, *(folder / name for name in chexpert.FOLDERS))
    return [place / name for place in folders for name in chexpert.LABEL_FILES.values()]


def _cells(file: Path) -> set[str]:
    return {re.sub(r"[^a-z]", "", cell.casefold()) for cell in _csv.header(file)}


def _is_nih(file: Path) -> bool:
    return {"imageindex", "findinglabels"} <= _cells(file)


def _is_chexpert(file: Path) -> bool:
    return {"path", "frontallateral"} <= _cells(file)


def _nothing_known(folder: Path) -> str:
    looked_for = (
        f"NIH's {' or '.join(nih.LABEL_FILES)}; CheXpert's {' or '.join(chexpert.LABEL_FILES.values())}, there or in "
        f"{' or '.join(chexpert.FOLDERS)}"
    )
    message = f"root: no label file in {str(folder)!r}; looked for {looked_for}."
    nearby = (place / name for name in nih.LABEL_FILES for place in (*sorted(folder.glob("*/")), folder.parent))
    elsewhere = next((file for file in nearby if file.is_file()), None)
    if elsewhere is not None:
        return f"{message} There is one at {str(elsewhere)!r}: give its folder."
    own = sorted(file.name for file in folder.glob("*.csv"))
    if own:
        return f"{message} If {own[0]} is your own table, give its path, with {' and '.join(_NEEDED)}{_also(_NEEDED)}."
    if not any(folder.iterdir()):
        return f"{message} The folder is empty."
    return f"{message} Give the folder that holds it, or the path of a CSV of your own."


def _also(names: Iterable[str]) -> str:
    """Returns how the command line writes options, to stand behind their names."""
    written = [f"--{name.replace('_', '-')}" for name in names if name not in _NOT_ON_THE_COMMAND_LINE]
    return f" (on the command line {' and '.join(written)})" if written else ""


def _load_nih(path: Path, missing: str, given: Mapping[str, Any]) -> pd.DataFrame:
    return nih.load_nih(path, missing=missing, **given)  # type: ignore[arg-type]


def _load_chexpert(path: Path, missing: str, given: Mapping[str, Any]) -> pd.DataFrame:
    return chexpert.load_chexpert(path, missing=missing, **given)  # type: ignore[arg-type]


def _load_table(path: Path, missing: str, given: Mapping[str, Any]) -> pd.DataFrame:
    absent = [name for name in _NEEDED if name not in given]
    if absent:
        header = ", ".join(cell for cell in _csv.header(path) if cell.strip())
        raise ValueError(
            f"root: {path.name} is a table of your own: name {' and '.join(absent)}{_also(absent)}. It has the "
            f"columns: {header[:300] or 'none'}."
        )
    options = dict(given)
    folder = options.pop("images", None)
    # An absolute folder replaces the one that it is joined to.
    return load_table(path, root=path.parent / folder if folder else None, missing=missing, **options)  # type: ignore[arg-type]


_LOADERS: dict[str, Callable[[Path, str, Mapping[str, Any]], pd.DataFrame]] = {
    NIH: _load_nih,
    CHEXPERT: _load_chexpert,
    TABLE: _load_table,
}
