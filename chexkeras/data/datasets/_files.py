"""Finding the images of a table on disk: flat, in Kaggle's twelve folders, or nested in any way, in one scan.

And what to do about images that are not there.
"""

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pandas as pd

from chexkeras import checks

MISSING = ("error", "skip", "keep")
"""What a loader may do about rows without an image: raise, leave them out, or keep them with an empty path."""

_log = logging.getLogger(__name__)

_KAGGLE = tuple(f"images_{number:03d}" for number in range(1, 13))


def _files_below(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Yields every file below a folder; a folder that links lead to twice is entered once."""
    waiting = [str(folder)]
    entered: set[tuple[int, int]] = set()
    while waiting:
        current = waiting.pop()
        status = os.stat(current)
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        inner = []
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_dir():
                    inner.append(entry.path)
                elif entry.is_file():
                    yield entry
        # A stack gives the last pushed first: reversed keeps the scan in name order on every file system.
        waiting.extend(sorted(inner, reverse=True))


def _search(folders: Collection[Path], names: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in folders:
        for entry in _files_below(folder):
            if entry.name not in names:
                continue
            earlier = found.setdefault(entry.name, entry.path)
            if earlier != entry.path:
                raise ValueError(
                    f"the image {entry.name} lies both in {os.path.dirname(earlier)} and in "
                    f"{os.path.dirname(entry.path)}; name the one folder to use with images= (on the command line "
                    "--images)."
                )
    return found


def locate_images(
    root: Path, names: Collection[str], images: str | Path | None = None
) -> tuple[dict[str, str], tuple[Path, ...]]:
    """Finds images by file name.

    Without `images`, the first of these that holds a wanted image is used: ``root/images``; Kaggle's
    ``root/images_001/images`` to ``root/images_012/images``; everything below `root`.

    Args:
        root: The data set's folder.
        names: Wanted file names; a set or a dict, since each file found is looked up in it.
        images: A folder, absolute or relative to `root`, searched with everything below it.

    Returns:
        The path of each image found by file name, and the folders searched.

    Raises:
        FileNotFoundError: If `images` does not exist.
        NotADirectoryError: If `images` is a file.
        ValueError: If a wanted name lies in two folders.
    """
    if images is not None:
        chosen = Path(images).expanduser()
        folder = checks.existing_folder(chosen if chosen.is_absolute() else root / chosen, "images")
        return _search((folder,), names), (folder,)
    kaggle = tuple(folder for folder in (root / name / "images" for name in _KAGGLE) if folder.is_dir())
    flat = (root / "images",) if (root / "images").is_dir() else ()
    for folders in (flat, kaggle):
        found = _search(folders, names)
        if found:
            return found, folders
    return _search((root,), names), (root,)


def refuse_missing(image_ids: Sequence[str], paths: Sequence[str], missing: str, where: str, fix: str) -> None:
    """Checks that there are images for a table.

    Args:
        image_ids: The images.
        paths: The path of each, "" where it was not found.
        missing: One of `MISSING`.
        where: Where was looked, for the message.
        fix: How to show where the images are, for the message: the beginning of a sentence.

    Raises:
        FileNotFoundError: If none was found and `missing` is not "keep", or any was not and it is "error".
    """
    absent = [image for image, path in zip(image_ids, paths, strict=True) if not path]
    keep = "keep the rows without images with missing='keep'."
    if missing != "keep" and len(absent) == len(image_ids):
        raise FileNotFoundError(
            f"none of the {len(image_ids)} images is in {where} (first: {', '.join(absent[:3])}). {fix}, or {keep}"
        )
    if missing == "error" and absent:
        raise FileNotFoundError(
            f"{len(absent)} of {len(image_ids)} images are missing in {where} (first: {', '.join(absent[:3])}). "
            f"{fix}, drop these rows with missing='skip' (on the command line --missing skip), or {keep}"
        )


def leave_out_missing(table: pd.DataFrame) -> tuple[pd.DataFrame, tuple[tuple[str, str], ...]]:
    """Returns the rows that have an image, and (image_id, reason) of those that have none."""
    absent = table["path"] == ""
    left_out = tuple((image, "image not found") for image in table["image_id"][absent])
    if left_out:
        _log.warning("%d of %d rows have no image and are left out", len(left_out), len(table))
    return table[~absent].reset_index(drop=True), left_out
