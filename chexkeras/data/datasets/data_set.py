"""What is declared of a data set: how it is recognised, loaded, cited, and told from others."""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from chexkeras.storage import Place, Remote

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
        label_files: Names of its label files, or of the folder that holds them, the preferred first; none for a table
            of one's own.
        header: Cells, letters alone, that the first line of its label file has.
        by_header: Whether a label file in a folder counts only with that header, its name being a common one.
        folders: Names of the folders in which the label files lie too.
        opens_file: Whether the label file itself can be given in place of its folder.
        vocabulary: Its findings, in order.
        source_name: `TableSource.dataset` of its tables; "" where tables are named after their file.
        meanings: Its key in `correspondence.MEANINGS`; "" where its findings are called as they are here.
        size: How many images of how many patients, in words; "" where the user knows.
        page: Where its publisher hands it out; "" where the user knows.
        layouts: Which downloads are read, a few words each.
        images_of: `source_name` of the data set whose images its images are; "" where they are its own.
        image_name: Regular expression that finds its images' own names in a path, with the groups image and, where
            the name says whose image it is, patient; "" where names are anybody's.
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
    meanings: str = ""
    size: str = ""
    page: str = ""
    layouts: tuple[str, ...] = ()
    images_of: str = ""
    image_name: str = ""
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

    def load(self, root: Place, **options: Any) -> "ImageTable":
        """Loads images of this data set.

        Args:
            root: Its folder or label file.
            **options: `missing`, and options of the loader.

        Returns:
            The image table.
        """
        module, function = self.loader.split(":")
        # Loaders take a path or, where they read from an object store, an address as text.
        return getattr(importlib.import_module(module), function)(
            root if isinstance(root, Path) else str(root), **options
        )

    def is_label_file(self, file: Place) -> bool:
        """Returns whether a CSV begins as the data set's label file does.

        Args:
            file: The CSV.
        """
        from chexkeras.data.datasets import _csv

        return bool(self.header) and self.header <= {
            re.sub(r"[^a-z]", "", cell.casefold()) for cell in _csv.header(file)
        }

    @overload
    def label_file_in(self, folder: Remote) -> Remote | None: ...

    @overload
    def label_file_in(self, folder: Path) -> Path | None: ...

    def label_file_in(self, folder: Place) -> Place | None:
        """Returns the data set's label file in a folder, or None.

        Args:
            folder: A folder that exists.
        """
        places: tuple[Place, ...] = (folder, *(folder / name for name in self.folders))
        there = (place / name for place in places for name in self.label_files if (place / name).exists())
        file = next((file for file in there if not self.by_header or self.is_label_file(file)), None)
        if file is not None or self.by_header:
            return file
        # Copies are called Data_Entry_2017 (1).csv, or in small letters.
        begins = tuple(Path(name).stem.casefold() for name in self.label_files)
        csvs: list[Place] = sorted(path for path in folder.iterdir() if path.suffix.casefold() == ".csv")
        named = (path for path in csvs if path.name.casefold().startswith(begins))
        alike = [path for path in named if self.is_label_file(path)]
        return alike[0] if len(alike) == 1 else None
