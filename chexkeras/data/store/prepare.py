"""Decoding the images of a table once into a store; killed at any point and started again, it ends with the same bytes.

Images are decoded in chunks of about 16 MB. A chunk counts as done when its pixels are on the disk and its checksum is
in the manifest. Starting again decodes what is not done, what no longer has its checksum, and what has another source.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

import chexkeras
from chexkeras import checks, files, progress, storage
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.store.decoder import GROUP, Decoded, Problem, decode_images
from chexkeras.data.store.store import INDEX, MANIFEST, Manifest, Store, listed
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.parallel import HERE, WorkersUnavailable, Workplace, place_of

_CHUNK_BYTES = 16_000_000
_SOURCE = ["image_id", "file", "bytes"]


@checked
def prepare(
    table: pd.DataFrame,
    folder: str | Path,
    *,
    size: int = 224,
    missing: Literal["error", "skip"] = "error",
    profile: str | Profile = "clinical",
    workers: int | None = None,
    executor: str | Workplace = HERE,
) -> Store:
    """Decodes every image of a table once into a store.

    A folder that has a store of these images is resumed where it stopped, or checked and returned when it is complete.
    So is the complete store of a larger table that holds them all.

    Args:
        table: Image table with `image_id` and `path`: PNG, JPEG or DICOM files, told apart by content, or their
            addresses in an object store. An image that occurs several times is stored once.
        folder: Where the store goes: a new or empty folder, or one with a store.
        size: Height and width to store, pixels; the `image_size` of the models to be trained.
        missing: What to do about images that are missing, cannot be decoded, are constant or are refused by the DICOM
            gate: "error" raises, "skip" leaves them out and lists them with the reason in the store's `left_out`.
        profile: The DICOM gate's profile; image files have no header to be judged by.
        workers: Threads that decode, and processes that read where there are DICOM files; None takes one for each core
            that this process may use. On a cluster: how many of its processors take part; None takes all.
        executor: Where images are decoded: "processes" (on this machine), "serial" (one after the other), "ray" (on a
            cluster, see `Workplace`); or a `Workplace`. The store has the same bytes.

    Returns:
        The store.

    Raises:
        ValueError: If images cannot be used and `missing` is "error", an id stands for two files, or the folder's store
            is of other images.
        FileExistsError: If the folder holds something else.
        OSError: If the disk has too little space, said before anything is decoded; or if an object store cannot be
            reached, or stops to answer: the same call goes on there.
        WorkersUnavailable: If the processes that read DICOM files cannot be started, there is no cluster, or its
            workers cannot be used; what was stored before is kept.
    """
    place = place_of(executor)
    checks.one_of(missing, ("error", "skip"), "missing")
    checks.positive_int(size, "size")
    if workers is not None:
        checks.positive_int(workers, "workers")
    chosen = find_profile(profile)
    images = _images(table, missing)
    root = checks.typed_path(folder, "folder")
    larger = _larger_store(root, images, size, missing, chosen)
    if larger is not None:
        _tell_of_contrast(larger, images)
        return larger
    manifest = _manifest_to_go_on(root, images, table, size, chosen)
    todo = _begin(root, manifest, images, missing)
    if todo:
        try:
            decoding = decode_images(
                images["path"].tolist(),
                [manifest.rows(chunk) for chunk in todo],
                size=size,
                profile=chosen,
                workers=workers,
                place=place,
            )
            _decode(root, manifest, images, decoding, missing)
        except (KeyboardInterrupt, OSError, WorkersUnavailable) as stopped:
            why = "interrupted" if isinstance(stopped, KeyboardInterrupt) else "stopped"
            progress.say(
                f"{why}: {_done(manifest):,} of {len(images):,} images are stored; the same call goes on there"
            )
            raise
    store = Store.load(root)
    if len(store.left_out) == len(store):
        reasons = ", ".join(sorted(set(store.left_out.values())))
        raise ValueError(f"none of the {len(store)} images can be used ({reasons}); 'chexkeras audit' tells more.")
    _tell_of_contrast(store, images)
    progress.say(
        f"{len(store) - len(store.left_out):,} images of {size} px are stored in {root} "
        f"({len(store) * size * size / 1e9:.2f} GB), {len(store.left_out):,} left out"
    )
    return store


def _tell_of_contrast(store: Store, images: pd.DataFrame) -> None:
    told = store.told_of_contrast(images["image_id"])
    if told:
        progress.say(told)


def _images(table: pd.DataFrame, missing: str) -> pd.DataFrame:
    """Returns one row per image: image_id, path, file name and bytes; "" and -1 where there is no file."""
    checks.require_columns(table, ["image_id", "path"], "the image table", "Load it with open_data.")
    if table.empty:
        raise ValueError("the image table is empty; there is nothing to prepare. Check the filter made of it.")
    images = table[["image_id", "path"]].fillna("").astype(str)
    ids = checks.identifiers(table["image_id"], "image_id")
    images["image_id"] = pd.Series(ids, index=images.index).fillna("").astype(str)
    images = images.drop_duplicates().reset_index(drop=True)
    repeated = images["image_id"][images["image_id"].duplicated()]
    if len(repeated):
        raise ValueError(
            f"{len(repeated)} image ids stand for two files (first {listed(repeated)}); give every image its own id."
        )
    images["bytes"] = [storage.size_of(path) for path in images["path"]]
    absent = images["bytes"] < 0
    if absent.any() and missing == "error":
        raise ValueError(
            f"{absent.sum()} of {len(images)} images have no file (first "
            f"{listed(images['image_id'][absent])}); name the "
            "right folder when loading the table, or leave these out with missing='skip' (on the command line "
            "--missing skip)."
        )
    images.loc[absent, "path"] = ""
    images["file"] = [os.path.basename(path) for path in images["path"]]
    return images


def _sha256(frame: pd.DataFrame) -> str:
    return hashlib.sha256(frame.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def _source_of(images: pd.DataFrame, rows: range) -> str:
    return _sha256(images[_SOURCE].iloc[rows.start : rows.stop])


def _complete_store(root: Path) -> Store | None:
    try:
        return Store.load(root)
    except (ValueError, OSError):
        return None


def _larger_store(root: Path, images: pd.DataFrame, size: int, missing: str, profile: Profile) -> Store | None:
    """Returns the complete store of a larger table that holds all these images, if the folder has one."""
    store = _complete_store(root)
    if (
        store is None
        or store.size != size
        or len(store) <= len(images)
        or store.manifest.profile != profile.name
        or store.manifest.pixels_version != _pixels_version()
    ):
        return None
    known = pd.read_csv(root / INDEX, dtype={"image_id": str, "file": str}, keep_default_na=False)
    found = images.merge(known, on=_SOURCE)
    if len(found) < len(images):
        return None
    if missing == "error":
        store.rows(images["image_id"])
    store.verify()
    progress.say(f"all {len(images):,} images are in {root}, a store of {len(store):,}")
    return store


def _pixels_version() -> int:
    from chexkeras.data.pixels import PIXELS_VERSION

    return PIXELS_VERSION


def _manifest_to_go_on(root: Path, images: pd.DataFrame, table: pd.DataFrame, size: int, profile: Profile) -> Manifest:
    """Returns the manifest to go on from: that of the folder, or a new one."""
    fresh = Manifest(
        images=len(images),
        size=size,
        chunk_images=max(1, _CHUNK_BYTES // (size * size * GROUP)) * GROUP,
        pixels_version=_pixels_version(),
        profile=profile.name,
        chexkeras=chexkeras.__version__,
        table_sha256=image_table.fingerprint(table),
        image_ids_sha256=_sha256(images[["image_id"]]),
    )
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"{str(root)!r} is a file; name a folder for the store.")
    if not (root / MANIFEST).is_file():
        # Hidden files are what a kill leaves of the first manifest.
        if root.is_dir() and any(not entry.name.startswith(".") for entry in root.iterdir()):
            raise FileExistsError(f"{str(root)!r} holds something that is no image store; give a new or empty folder.")
        return fresh
    found = Manifest.load(root)
    if not found.describes_same(fresh):
        raise ValueError(
            f"{str(root)!r} holds another store ({found}), not this one ({fresh}), or its images in another "
            "order; give another folder, or delete this one."
        )
    return found


def _begin(root: Path, manifest: Manifest, images: pd.DataFrame, missing: str) -> list[int]:
    """Makes the folder ready, and returns the chunks that are to be decoded."""
    todo = [chunk for chunk in range(len(manifest.chunks)) if not _is_sound(root, manifest, images, chunk, missing)]
    text = images[_SOURCE].rename_axis("row").to_csv(lineterminator="\n")
    index_sha256 = hashlib.sha256(text.encode()).hexdigest()
    if not todo and manifest.index_sha256 == index_sha256 and _complete_store(root) is not None:
        return todo
    _check_disk(root, sum(len(manifest.rows(chunk)) for chunk in todo) * manifest.size**2)
    root.mkdir(parents=True, exist_ok=True)
    for leftover in (*root.glob(".manifest.*"), *root.glob(".index.*")):
        leftover.unlink()
    for chunk in todo:
        rows = manifest.rows(chunk)
        manifest.chunks[chunk] = None
        for image_id in images["image_id"].iloc[rows.start : rows.stop]:
            manifest.left_out.pop(image_id, None)
            manifest.low_contrast.pop(image_id, None)
    manifest.index_sha256 = index_sha256
    # The manifest comes first: a folder with something else and no manifest is not ours.
    manifest.save(root)
    files.write_text(root / INDEX, text)
    manifest.images_file(root).create()
    return todo


def _is_sound(root: Path, manifest: Manifest, images: pd.DataFrame, chunk: int, missing: str) -> bool:
    """Returns whether a chunk is done, comes from these very files and has its checksum."""
    recorded, rows, file = manifest.chunks[chunk], manifest.rows(chunk), manifest.images_file(root)
    if recorded is None or recorded["sources"] != _source_of(images, rows) or not file.path.is_file():
        return False
    if missing == "error" and images["image_id"].iloc[rows.start : rows.stop].isin(manifest.left_out).any():
        return False
    return file.sha256(rows) == recorded["pixels"]


def _check_disk(root: Path, needed: int) -> None:
    place = root.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OSError(
            f"the store needs {needed / 1e9:.2f} GB in {str(root)!r}, but {free / 1e9:.2f} GB are free there; make "
            "room, choose a folder on another disk, or a smaller size."
        )


def _decode(
    root: Path, manifest: Manifest, images: pd.DataFrame, decoding: Generator[Decoded, None, None], missing: str
) -> None:
    """Decodes chunks, and records each in the manifest as soon as it is on the disk."""
    size, image_ids = manifest.size, images["image_id"].tolist()
    file = manifest.images_file(root)
    pixels = np.empty((min(manifest.chunk_images, manifest.images), size, size), np.uint8)
    problems: dict[str, Problem] = {}
    low_contrast: dict[str, str] = {}
    told = False
    # Closed here: an error that is caught somewhere would keep threads and processes alive.
    with contextlib.closing(decoding), progress.bar() as shown:
        task = shown.add_task("decoding images", total=manifest.images, completed=_done(manifest))
        for decoded in decoding:
            chunk = decoded.rows.start // manifest.chunk_images
            rows = manifest.rows(chunk)
            pixels[decoded.rows.start - rows.start : decoded.rows.stop - rows.start] = decoded.images
            problems.update({image_ids[row]: problem for row, problem in decoded.problems.items()})
            low_contrast.update({image_ids[row]: problem for row, problem in decoded.low_contrast.items()})
            if low_contrast and not told:
                image, why = next(iter(low_contrast.items()))
                progress.say(f"{image} shows too little: {why}; all such images are counted at the end")
                told = True
            shown.advance(task, len(decoded.rows))
            if decoded.rows.stop < rows.stop:
                continue
            if problems and missing == "error":
                raise ValueError(_cannot_be_used(problems, manifest))
            checksum = hashlib.sha256(pixels[: len(rows)].data).hexdigest()
            file.write(rows, pixels)
            manifest.left_out.update({image_id: problem.code for image_id, problem in problems.items()})
            manifest.low_contrast.update(low_contrast)
            manifest.chunks[chunk] = {"pixels": checksum, "sources": _source_of(images, rows)}
            manifest.save(root)
            problems.clear()
            low_contrast.clear()


def _done(manifest: Manifest) -> int:
    return sum(len(manifest.rows(number)) for number, chunk in enumerate(manifest.chunks) if chunk is not None)


def _cannot_be_used(problems: dict[str, Problem], manifest: Manifest) -> str:
    shown = "; ".join(f"{image_id} ({code}: {detail})" for image_id, (code, detail) in list(problems.items())[:3])
    return (
        f"{len(problems)} image(s) cannot be used: {shown}{'; ...' if len(problems) > 3 else ''}. "
        "Replace the files, or leave such images out with missing='skip' (on the command line --missing skip). The "
        f"{_done(manifest):,} images stored before are kept; preparing goes on there."
    )
