"""What commands that train have in common: their images, and where what is frozen is kept."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chexkeras.checks import one_of
from chexkeras.cli.image_options import Load
from chexkeras.progress import say

if TYPE_CHECKING:
    import pandas as pd

    from chexkeras.data.audit.audit import Audit
    from chexkeras.data.store.store import Store
    from chexkeras.recipes.recipe import Recipe

FeaturesStore = Annotated[
    Path | None,
    typer.Option(help="Folder in which what is frozen stays: later trainings with the same weights find it there."),
]
FeaturesLimit = Annotated[
    str | None,
    typer.Option(
        help="Size that --features-store may reach, such as 20GB; what was not used for the longest time then goes."
    ),
]


@dataclass(frozen=True)
class LoadedImages:
    """The images of a training as the command line loads them.

    Attributes:
        table: The usable ones.
        store: The opened store; None where the files are read.
        missing: What is done about images that are absent.
        cautions: What is to be said of how their labels are read.
    """

    table: "pd.DataFrame"
    store: "Store | None"
    missing: Any
    cautions: tuple[str, ...]

    def audited(self) -> "Audit":
        """Audits the images and says what was found."""
        from chexkeras.data.audit.audit import audit as audit_images

        checked = audit_images(self.table, missing=self.missing, decode=self.store is None)
        say(checked.summary)
        return checked


def load_images(
    load: Load,
    data: Path,
    missing: str,
    store: Path | None,
    named: str,
    recipe: "Recipe",
    corrections: Path | None = None,
) -> LoadedImages:
    """Loads the images of a training.

    Args:
        load: The loader that `with_image_options` gives.
        data: The data set's folder.
        missing: "error" or "skip".
        store: Folder of decoded images; None reads the files.
        named: Name of the preset.
        recipe: The recipe.
        corrections: File of labels corrected by hand; None for none.
    """
    from chexkeras.data.corrections import apply_corrections
    from chexkeras.data.store.store import Store
    from chexkeras.recipes import protocol

    one_of(missing, ("error", "skip"), "--missing")
    opened = Store.load(store) if store is not None else None
    if opened is not None:
        opened.require_size(recipe.image_size)
    loaded = load(
        data,
        missing=missing if opened is None else "keep",
        usual=protocol.source_reading(named, recipe),
        because=f"read as by the source of preset {named}",
    )
    if corrections is not None:
        corrected = apply_corrections(loaded, corrections)
        say(corrected.source.cautions[-1])
        loaded = corrected
    table = protocol.usable_table(loaded, recipe, opened, missing)
    cautions = tuple(protocol.reading_cautions(named, table, recipe))
    for sentence in cautions:
        say(sentence)
    return LoadedImages(table, opened, missing, cautions)


_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def bytes_of(size: str | None) -> int | None:
    """Returns a size in bytes.

    Args:
        size: For example "20GB" or "500 MB"; None where none was given.

    Raises:
        ValueError: If it is no size.
    """
    if size is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]B)\s*", size.upper())
    if match is None or not float(match[1]):
        raise ValueError(f"--features-limit {size!r} is no size; write a number and KB, MB, GB or TB, such as 20GB.")
    return int(float(match[1]) * _UNITS[match[2]])
