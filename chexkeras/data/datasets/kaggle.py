"""NIH ChestX-ray14 as Kaggle attaches it: somewhere below the input folder, under one mount or another."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from chexkeras import files
from chexkeras.data.datasets.registry import NIH

DEEPEST = 5
"""How many folders below the input folder a label file is looked for; ``datasets/OWNER/KIND/NAME`` is the fourth."""

# 112,120 images lie in these, and no label file does; listing them over a network takes minutes.
_IMAGES = re.compile(r"images?([-_ ]?\d+)*", re.IGNORECASE)
# What the data set brings besides its label file, and nothing else is called.
_BESIDE = re.compile(r"(BBox_List_2017|train_val_list|test_list).*\.(csv|txt)|images_0\d\d", re.IGNORECASE)
_IMAGE_FILES = (".png", ".jpg", ".jpeg")


def find_attached(below: Path) -> Path | None:
    """Returns the folder of NIH ChestX-ray14, or of a part of it in its layout, that is attached below a folder.

    Kaggle shows the data set "nih-chest-xrays/data" as ``data``, or as ``datasets/organizations/nih-chest-xrays/data``;
    other copies lie deeper. One data set that is attached twice, with the same label file, is one: the copy with the
    images beside its label file is taken, and of several the one that lies least deep.

    Args:
        below: Kaggle's input folder. It is read only; that it is not there means that nothing is attached.

    Returns:
        The folder of the label file, or None where nothing in NIH's layout is attached.

    Raises:
        FileNotFoundError: If part of the data set is attached: images or lists without a label file, or a label file
            without images.
        ValueError: If two different data sets are.
    """
    labelled: list[tuple[Path, Path, bool]] = []
    parts: list[Path] = []
    for folder, names in _folders(below):
        label_file = NIH.label_file_in(folder)
        if label_file is not None:
            labelled.append((folder, label_file, any(map(_IMAGES.fullmatch, names))))
        else:
            parts += [folder / name for name in names if _BESIDE.fullmatch(name)][:1]
    with_images = [found for found in labelled if found[2] or _holds_image(found[0])]
    if labelled and not with_images:
        raise FileNotFoundError(
            f"{str(labelled[0][1])!r} is attached, but no image lies below its folder: attach the whole data set "
            f"(nih-chest-xrays/data), {_WAYS_OUT}."
        )
    if parts and not labelled:
        raise FileNotFoundError(
            f"{str(parts[0])!r} belongs to NIH ChestX-ray14, but its label file ({' or '.join(NIH.label_files[:2])}) "
            f"is nowhere below {str(below)!r}: attach the whole data set (nih-chest-xrays/data), {_WAYS_OUT}."
        )
    # Images in folders beside the label file first, then the least deep.
    with_images.sort(key=lambda found: (not found[2], len(found[0].parts), str(found[0])))
    different = {files.sha256_file(label_file): folder for folder, label_file, _ in reversed(with_images)}
    if len(different) > 1:
        raise ValueError(
            f"{len(different)} different data sets in NIH's layout are attached, "
            f"{' and '.join(sorted(repr(str(folder)) for folder in different.values()))}: say which one is meant, by "
            "its folder in the environment variable CHEXKERAS_DATA."
        )
    return with_images[0][0] if with_images else None


_WAYS_OUT = (
    "or name a folder in NIH's layout, or the word phantoms for synthetic images, in the environment variable "
    "CHEXKERAS_DATA"
)


def _folders(below: Path, deepest: int = DEEPEST) -> Iterator[tuple[Path, list[str]]]:
    """Yields folders with the names of what they hold, none of them a folder of images."""
    try:
        with os.scandir(below) as entries:
            held = sorted((entry.name, entry.is_dir()) for entry in entries)
    except OSError:
        return
    yield below, [name for name, _ in held]
    if deepest:
        for name, is_folder in held:
            if is_folder and not _IMAGES.fullmatch(name):
                yield from _folders(below / name, deepest - 1)


def _holds_image(folder: Path) -> bool:
    """Returns whether a folder, or a folder in it, holds an image; reads no further than the first."""
    for found, folders, names in os.walk(folder):
        if any(name.lower().endswith(_IMAGE_FILES) for name in names):
            return True
        if len(Path(found).parts) - len(folder.parts) >= DEEPEST:
            folders.clear()
    return False
