"""The data sets that can be opened, and `open_data`, which tells them apart by what lies in a folder.

An entry says how a data set is recognised, which options its loader has and what the report says of it. To add one,
write its loader in a file beside this one and its entry in `DATA_SETS`; `open_data` and the command line follow.
Entries are plain words, so that the command line starts without pandas.
"""

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chexkeras import checks, findings
from chexkeras.arguments import checked

if TYPE_CHECKING:
    from chexkeras.data.image_table import ImageTable


@dataclass(frozen=True)
class Option:
    """One option of a data set's loader.

    Attributes:
        name: The keyword argument of the loader.
        help: What the command line says of it, one sentence.
        values: How the command line reads it: "text" as it is; "each" as one value for all findings, or as
            NAME=VALUE, repeated; "names" as names, or as NAME=OTHER, separated by commas or repeated; "pairs" as
            NAME=OTHER, repeated.
        on_command_line: Whether the command line has it.
        needed: Whether the loader cannot do without it.
        singular: Its name on the command line, where that is said once for each value; empty for `name`.
    """

    name: str
    help: str = ""
    values: Literal["text", "each", "names", "pairs"] = "text"
    on_command_line: bool = True
    needed: bool = False
    singular: str = ""

    @property
    def flag(self) -> str:
        """How the command line writes it, such as "--view-column"."""
        return f"--{(self.singular or self.name).replace('_', '-')}"


@dataclass(frozen=True)
class DataSet:
    """One kind of data set: how it is recognised, loaded and cited.

    Attributes:
        name: What its images lie in, for messages: "NIH's layout".
        owner: Whose it is, for messages and for headings of the command line: "NIH".
        loader: Its loader as "module:function"; takes (root, missing=, **options) and returns an `ImageTable`.
        options: What the loader takes besides `missing`.
        label_files: Names of its label files, the preferred first; none for a table of one's own.
        header: Cells, letters alone, that the first line of its label file has.
        by_header: Whether a label file in a folder counts only with that header, its name being a common one.
        folders: Names of the folders in which the label files lie too.
        opens_file: Whether the label file itself can be given in place of its folder.
        vocabulary: Its findings, in order.
        source_name: `TableSource.dataset` of its tables; "" where tables are named after their file.
        license: Under which terms the images may be used, a sentence; "" where the user knows.
        citation: The publication to cite; "" where the user knows.
        phantoms: The function that makes synthetic images in its layout, as "module:function"; "" if there is none.
    """

    name: str
    owner: str
    loader: str
    options: tuple[Option, ...] = ()
    label_files: tuple[str, ...] = ()
    header: frozenset[str] = frozenset()
    by_header: bool = False
    folders: tuple[str, ...] = ()
    opens_file: bool = True
    vocabulary: tuple[str, ...] = ()
    source_name: str = ""
    license: str = ""
    citation: str = ""
    phantoms: str = ""

    @property
    def option_names(self) -> tuple[str, ...]:
        """The names of its options."""
        return tuple(option.name for option in self.options)

    @property
    def looked_for(self) -> str:
        """What is looked for in a folder, for messages."""
        names = f"{self.owner}'s {' or '.join(self.label_files)}"
        return f"{names}, there or in {' or '.join(self.folders)}" if self.folders else names

    def load(self, root: Path, **options: Any) -> "ImageTable":
        """Loads images of this data set.

        Args:
            root: Its folder or label file.
            **options: `missing`, and options of the loader.

        Returns:
            The image table.
        """
        return _function(self.loader)(root, **options)

    def is_label_file(self, file: Path) -> bool:
        """Returns whether a CSV begins as the data set's label file does.

        Args:
            file: The CSV.
        """
        from chexkeras.data.datasets import _csv

        return bool(self.header) and self.header <= {
            re.sub(r"[^a-z]", "", cell.casefold()) for cell in _csv.header(file)
        }

    def label_file_in(self, folder: Path) -> Path | None:
        """Returns the data set's label file in a folder, or None.

        Args:
            folder: A folder that exists.
        """
        places = (folder, *(folder / name for name in self.folders))
        there = (place / name for place in places for name in self.label_files if (place / name).is_file())
        file = next((file for file in there if not self.by_header or self.is_label_file(file)), None)
        if file is not None or self.by_header:
            return file
        # Copies are called Data_Entry_2017 (1).csv, or in small letters.
        begins = tuple(Path(name).stem.casefold() for name in self.label_files)
        named = (path for path in sorted(folder.glob("*.[cC][sS][vV]")) if path.name.casefold().startswith(begins))
        alike = [path for path in named if self.is_label_file(path)]
        return alike[0] if len(alike) == 1 else None


_IMAGES = Option("images", "Folder of the images, absolute or beside the label file, where there are several.")

NIH = DataSet(
    name="NIH's layout",
    owner="NIH",
    loader="chexkeras.data.datasets.nih:load_nih",
    options=(_IMAGES,),
    label_files=("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv"),
    header=frozenset({"imageindex", "findinglabels"}),
    vocabulary=findings.NIH14,
    source_name="NIH ChestX-ray14",
    license="No restriction on use; name the NIH Clinical Center, link its download page and cite the paper.",
    citation="Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks, CVPR 2017.",
    phantoms="chexkeras.phantoms:make_phantoms",
)

CHEXPERT = DataSet(
    name="CheXpert's layout",
    owner="CheXpert",
    loader="chexkeras.data.datasets.chexpert:load_chexpert",
    options=(
        Option("part", on_command_line=False),
        Option("views", "Images to read: frontal (usual), lateral or all."),
        Option(
            "uncertain",
            "What uncertain labels become: ignore (usual), zeros, ones, self_trained, or multiclass with the head "
            "three_way; Edema=ones for one finding, repeated for several.",
            values="each",
        ),
        Option("blank", "What blank labels mean: negative (usual) or unknown."),
    ),
    label_files=("train.csv", "valid.csv"),
    header=frozenset({"path", "frontallateral"}),
    by_header=True,
    # The last holds the label files of the full-size download, which comes as four folders.
    folders=("CheXpert-v1.0", "CheXpert-v1.0-small", "CheXpert-v1.0 batch 1 (validate & csv)"),
    opens_file=False,
    vocabulary=findings.CHEXPERT14,
    source_name="CheXpert",
    license="Stanford University Dataset Research Use Agreement: research only, not to be handed on.",
    citation="Irvin et al., CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison, "
    "AAAI 2019.",
    phantoms="chexkeras.phantoms:make_chexpert_phantoms",
)

OWN_TABLE = DataSet(
    name="a table of one's own",
    owner="Your own CSV",
    loader="chexkeras.data.datasets.custom:open_table",
    options=(
        _IMAGES,
        Option("image_column", "Column with the file: PNG, JPEG or DICOM.", needed=True),
        Option(
            "label_columns",
            "Columns with labels 1, 0 or blank: a,b or a=Finding,b=Finding; repeat or separate by commas.",
            values="names",
            needed=True,
        ),
        Option("patient_column", "Column that says whose image it is."),
        Option("view_column", "Column with PA or AP."),
        Option("sex_column", "Column with the sex."),
        Option("age_column", "Column with the age in years."),
        Option(
            "group_columns",
            "Further column to group images by, as NAME=COLUMN, such as manufacturer=Scanner; repeat for several.",
            values="pairs",
            singular="group_column",
        ),
        Option("separator", "The one label column lists findings in words with this between."),
    ),
)

DATA_SETS: tuple[DataSet, ...] = (NIH, CHEXPERT, OWN_TABLE)
"""Every data set, in the order in which messages and the command line name them; a table of one's own comes last."""

_IN_FOLDERS = tuple(entry for entry in DATA_SETS if entry.label_files)
_NEEDED = tuple(option.name for option in OWN_TABLE.options if option.needed)


@checked
def open_data(root: str | Path, *, missing: Literal["error", "skip", "keep"] = "error", **options: Any) -> "ImageTable":
    """Loads images, telling their data set by what lies there.

    Args:
        root: A folder in the layout of a data set of `DATA_SETS` (or, for CheXpert, the folder that holds its folder),
            NIH's label file itself, or a CSV of one's own, which needs `image_column` and `label_columns`.
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
    path = checks.typed_path(root, "root")
    entry = OWN_TABLE if path.is_file() and _NEEDED[0] in given else recognise(path)
    foreign = [name for name in given if name not in entry.option_names]
    if foreign:
        owners = " and ".join(other.name for other in DATA_SETS if foreign[0] in other.option_names)
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
    path = checks.typed_path(root, "root")
    if not path.exists():
        raise FileNotFoundError(f"root: no file or folder at {str(root)!r}; check the spelling, or give its full path.")
    if path.is_file():
        entry = next((entry for entry in _IN_FOLDERS if entry.is_label_file(path)), OWN_TABLE)
        if not entry.opens_file:
            raise ValueError(
                f"root: {str(root)!r} is {entry.owner}'s label file; give its folder, {str(path.parent)!r}."
            )
        return entry
    found = [(entry, file) for entry in _IN_FOLDERS if (file := entry.label_file_in(path)) is not None]
    if not found:
        raise FileNotFoundError(_nothing_known(path))
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


def _function(name: str) -> Callable[..., Any]:
    module, function = name.split(":")
    return getattr(importlib.import_module(module), function)


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
    elsewhere = next(nearby, None)
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
