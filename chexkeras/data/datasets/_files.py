"""From what a loader read to an image table: the images found on disk, the columns in order, and the source.

Images lie flat, in Kaggle's twelve folders, or nested in any way, and are found in one scan.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chexkeras import files, storage
from chexkeras.data import image_table
from chexkeras.data.image_table import PHANTOM_FILE, ImageTable, TableSource, phantom_cautions, phantom_site
from chexkeras.progress import say
from chexkeras.storage import Place, Remote

MISSING = ("error", "skip", "keep")
"""What a loader may do about rows without an image: raise, leave them out, or keep them with an empty path."""

_log = logging.getLogger(__name__)

_KAGGLE = tuple(f"images_{number:03d}" for number in range(1, 13))


def _files_below(folder: Place) -> Iterator[tuple[str, str]]:
    """Yields name and path of every file below a folder; a folder that links lead to twice is entered once.

    Folders below that cannot be searched are told in one line: their images will be missing.
    """
    if isinstance(folder, Remote):
        yield from ((url.rpartition("/")[2], url) for url in storage.files_below(folder))
        return
    closed: list[str] = []

    def refused(path: str, error: OSError) -> None:
        if path == str(folder):
            raise type(error)(f"the folder {path!r} cannot be searched ({error.strerror}); ask for permission.")
        closed.append(f"{os.path.relpath(path, folder)!r:.80} ({error.strerror})")

    for entry in files.entries_below(folder, refused, follow_links=True):
        # A link that leads to itself is none, as a link to nothing is not.
        with contextlib.suppress(OSError):
            if entry.is_file():
                yield entry.name, entry.path
    if closed:
        count = "1 folder" if len(closed) == 1 else f"{len(closed):,} folders"
        say(f"{count} below {str(folder)!r} cannot be searched for images, first {closed[0]}")


ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
"""Endings of image files, without capitals."""


def _stem(name: str) -> str:
    """Returns what names of one image share: the name without capitals, and without the ending of an image file."""
    plain = name.casefold()
    stem, ending = os.path.splitext(plain)
    return stem if ending in ENDINGS else plain


def _search(folders: Collection[Place], names: Collection[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Returns the path of each image found by file name, and for each name the files that are called nearly so."""
    found: dict[str, str] = {}
    alike: dict[str, list[str]] = {}
    named = {_stem(name): name for name in names}
    for folder in folders:
        for file, path in _files_below(folder):
            if file not in names:
                name = named.get(_stem(file))
                if name is not None:
                    alike.setdefault(name, []).append(path)
                continue
            earlier = found.setdefault(file, path)
            if earlier != path:
                raise ValueError(
                    f"the image {file} lies both in {os.path.dirname(earlier)} and in {os.path.dirname(path)}; name "
                    "the one folder to use with images= (on the command line --images)."
                )
    return found, {name: paths for name, paths in alike.items() if name not in found}


def _with_alike(found: dict[str, str], alike: Mapping[str, list[str]]) -> dict[str, str]:
    """Returns what was found, and for the other names the one file that is called nearly so."""
    for name, paths in alike.items():
        if len(paths) > 1:
            raise ValueError(
                f"the image {name} is not there, but {' and '.join(map(os.path.basename, paths[:2]))} are; keep the "
                "one that is meant."
            )
        found[name] = paths[0]
    tell_alike({name: paths[0] for name, paths in alike.items()})
    return found


def tell_alike(path_of: Mapping[str, str]) -> None:
    """Says that images lie under another ending, or in other capitals, than a label file writes.

    Args:
        path_of: The file taken for each name.
    """
    if path_of:
        name, path = next(iter(path_of.items()))
        _log.warning(
            "%d images lie there under another ending or in other capitals (first: %s for %s)",
            len(path_of), os.path.basename(path), name,
        )  # fmt: skip


def in_their_folders(paths: Sequence[str], *, other_endings: bool) -> tuple[list[str], str]:
    """Finds images at their paths, or in their folders under a name in other capitals.

    Args:
        paths: Where each image should lie.
        other_endings: Whether a file with another ending of an image is taken too. Beside images named by a table of
            one's own it may be something else, such as a mask: there it is only told.

    Returns:
        The path of each image, "" where there is none; and a sentence on files with another ending that were not taken.

    Raises:
        ValueError: If two files may be meant.
    """
    listed: dict[str, dict[str, list[str]]] = {}
    found, taken, hint = [], {}, ""
    elsewhere = _list_elsewhere([path for path in paths if storage.is_remote(path)])
    for path in paths:
        folder, name = os.path.split(path)
        if storage.is_remote(path):
            alike = elsewhere.get(folder, {}).get(_stem(name), [])
            if name in alike:
                found.append(path)
                continue
        elif os.path.isfile(path):
            found.append(path)
            continue
        else:
            if folder not in listed:
                listed[folder] = _names_by_stem(folder)
            alike = listed[folder].get(_stem(name), [])
        same = [other for other in alike if other.casefold() == name.casefold()]
        chosen = same or (alike if other_endings else [])
        if len(chosen) > 1:
            raise ValueError(f"{name} is not there, but {' and '.join(chosen[:2])} are; keep the one that is meant.")
        if alike and not chosen:
            hint = hint or f"{name} lies there as {alike[0]}: write the names as the files are called"
        found.append(os.path.join(folder, chosen[0]) if chosen else "")
        if chosen:
            taken[name] = found[-1]
    tell_alike(taken)
    return found, hint


# Up to so many folders each is listed alone; more are found in one list of what lies below all of them.
_MOST_LISTS = 50


def _list_elsewhere(paths: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Returns the names of files in the folders of some addresses, by folder and stem."""
    folders = dict.fromkeys(os.path.dirname(path) for path in paths)
    together = storage.shared_folder(folders) if len(folders) > _MOST_LISTS else ""
    listed: dict[str, dict[str, list[str]]] = {}
    if together:
        below = storage.files_below(Remote(together))
        names = ((folder, name) for folder, name in map(os.path.split, below) if folder in folders)
    else:
        names = ((folder, name) for folder in folders for name in storage.names_in(folder))
    for folder, name in names:
        listed.setdefault(folder, {}).setdefault(_stem(name), []).append(name)
    return listed


def _names_by_stem(folder: str) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_file():
                names.setdefault(_stem(entry.name), []).append(entry.name)
    return names


def locate_images(
    root: Place, names: Collection[str], images: str | Path | None = None
) -> tuple[dict[str, str], tuple[Place, ...]]:
    """Finds images by file name.

    Without `images`, the first of these that holds a wanted image is used: ``root/images``; Kaggle's
    ``root/images_001/images`` to ``root/images_012/images``; everything below `root`. An image that lies there under
    another ending (``.jpg`` for ``.png``) or in other capitals is taken where no file has the very name.

    Args:
        root: The data set's folder, on this machine or in an object store.
        names: Wanted file names; a set or a dict, since each file found is looked up in it.
        images: A folder, absolute, an address or relative to `root`, searched with everything below it.

    Returns:
        The path of each image found by file name, and the folders searched.

    Raises:
        FileNotFoundError: If `images` does not exist.
        NotADirectoryError: If `images` is a file.
        ValueError: If a wanted name lies in two folders, or two files are called nearly so.
    """
    if images is not None:
        folder = files.existing_place(below(root, images), "images", is_folder=True)
        return _with_alike(*_search((folder,), names)), (folder,)
    # Of an object store a folder that is not listed is asked for.
    parts = tuple(root / name for name in _KAGGLE)
    kaggle: tuple[Place, ...] = tuple(part / "images" for part in parts if part.is_dir() and (part / "images").is_dir())
    flat: tuple[Place, ...] = (root / "images",) if (root / "images").is_dir() else ()
    searched: list[tuple[dict[str, list[str]], tuple[Place, ...]]] = []
    places: tuple[tuple[Place, ...], ...] = (flat, kaggle, (root,))
    for folders in places:
        found, alike = _search(folders, names)
        if found:
            return _with_alike(found, alike), folders
        searched.append((alike, folders))
    alike, folders = next((each for each in searched if each[0]), ({}, (root,)))
    return _with_alike({}, alike), folders


def below(root: Place, folder: str | Path) -> Place:
    """Returns a folder that was named: an absolute one or an address as it is, another one below `root`.

    Args:
        root: Where relative paths begin.
        folder: What somebody typed.
    """
    chosen = files.typed_place(folder, "images")
    if isinstance(chosen, Remote) or chosen.is_absolute():
        return chosen
    return root / chosen.as_posix() if isinstance(root, Remote) else root / chosen


def paths_of(
    folder: Place, image_ids: Sequence[str], images: str | Path | None, missing: str, names: Sequence[str] | None = None
) -> list[str]:
    """Returns the file of each image, found by its name, see `locate_images`; "" where there is none.

    Args:
        folder: The data set's folder.
        image_ids: The images.
        images: A folder of the images, absolute or relative to `folder`; None looks in the usual places.
        missing: One of `MISSING`.
        names: The file name of each; None takes the image_ids.

    Returns:
        The path of each.

    Raises:
        FileNotFoundError: If none was found and `missing` is not "keep", or any was not and it is "error".
        ValueError: If a name lies in two folders, or two files are called nearly so.
    """
    wanted = image_ids if names is None else names
    found, searched = locate_images(folder, set(wanted), images)
    paths = [found.get(name, "") for name in wanted]
    where = " and ".join(map(str, searched[:2])) + (" ..." if len(searched) > 2 else "")
    refuse_missing(
        image_ids, paths, missing, where, "Give the folder of the images with images= (on the command line --images)"
    )
    return paths


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


def assemble(
    image_ids: Sequence[str],
    paths: Sequence[str],
    described: Mapping[str, Any],
    labels: Mapping[str, np.ndarray],
    missing: str,
    *,
    official: Any = "",
    uncertain: np.ndarray | None = None,
    groups: Mapping[str, Any] | None = None,
) -> tuple[ImageTable, tuple[tuple[str, str], ...]]:
    """Puts what a loader read into an image table.

    Args:
        image_ids: The id of each image.
        paths: The file of each, "" where there is none.
        described: The other columns of `image_table.METADATA`; those that are not given become NaN.
        labels: Float column by finding, in the vocabulary's order.
        missing: One of `MISSING`; "skip" leaves out the rows without a file.
        official: The data set's own part of each image: "train_val", "test" or "".
        uncertain: Each image's uncertain findings, joined by "|"; None where the data set has no uncertain labels.
        groups: Further text columns by name, to group images by; None where there are none.

    Returns:
        The table, without a source, and (image_id, reason) of the rows left out.
    """
    columns: dict[str, Any] = {name: described.get(name, np.nan) for name in image_table.METADATA}
    columns |= {"image_id": image_ids, "path": paths, **labels, image_table.OFFICIAL_SPLIT: official}
    if uncertain is not None:
        columns[image_table.UNCERTAIN] = uncertain
    columns |= groups or {}
    table = pd.DataFrame(columns)
    absent = table["path"] == ""
    if missing != "skip" or not absent.any():
        return ImageTable.of(table), ()
    left_out = tuple((image, "image not found") for image in table["image_id"][absent])
    _log.warning("%d of %d rows have no image and are left out", len(left_out), len(table))
    return ImageTable.of(table[~absent].reset_index(drop=True)), left_out


def fingerprint_of_folder(folder: Path, pattern: str) -> tuple[str, str]:
    """Returns a folder's name and one SHA-256 of the names and contents of its files.

    Args:
        folder: The folder.
        pattern: Which files, such as "*.xml".
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob(pattern)):
        digest.update(f"{path.name} {files.sha256_file(path)}\n".encode())
    return folder.name, digest.hexdigest()


def source_of_folder(
    folder: Place,
    read: Sequence[Place],
    dataset: str,
    label_release: str,
    phantoms: str,
    cautions: tuple[str, ...] = (),
    **facts: Any,
) -> TableSource:
    """Returns the source of a table, which is synthetic where the folder says so.

    Args:
        folder: The folder of the label files; `PHANTOM_FILE` in it, or beside it, marks phantoms.
        read: The files the table was read from.
        dataset: The data set's name.
        label_release: Which release of the labels.
        phantoms: What phantoms in this layout are called.
        cautions: Sentences to be shown beside the table's numbers.
        **facts: Further fields of `TableSource`.
    """
    # Label files may lie in a folder of the download, as those of CheXpert's batches do.
    places: tuple[Place, ...] = (folder / PHANTOM_FILE, folder.parent / PHANTOM_FILE)
    marker = next((path for path in places if path.is_file()), None)
    synthetic = marker is not None
    if marker is not None:
        site = phantom_site(marker)
        dataset, label_release = f"{phantoms}, site {site}" if site else phantoms, "not applicable (synthetic)"
        cautions, read = (*phantom_cautions(marker), *cautions), (*read, marker)
    fingerprints = tuple((path.name, files.sha256_file(path)) for path in read)
    return TableSource(dataset, label_release, fingerprints, synthetic, cautions, **facts)
