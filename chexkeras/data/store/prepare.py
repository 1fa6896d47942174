"""Decoding the images of a table once into a store; killed at any point and started again, it ends with the same bytes.

Images are decoded in chunks of about 16 MB. A chunk counts as done when its pixels are on the disk and its checksum is
in the manifest. Starting again decodes what is not done, what no longer has its checksum, and what has another source.
"""

import contextlib
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

import chexkeras
from chexkeras import checks, files, progress, storage
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.store import elsewhere
from chexkeras.data.store.decoder import GROUP, Decoded, Problem, decode_images
from chexkeras.data.store.manifest import INDEX, MANIFEST, Manifest
from chexkeras.data.store.store import Store, listed
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.parallel import HERE, WorkersUnavailable, Workplace, place_of
from chexkeras.storage import Place, Remote

_CHUNK_BYTES = 16_000_000
_SOURCE = ["image_id", "file", "bytes"]
_WHOLE = (1, 1)


class _StoreWanted(NamedTuple):
    """A store as it is wanted.

    Attributes:
        images: What `_images` returns.
        fresh: The manifest of a store of them with nothing done.
        missing: What to do about images that cannot be used.
        profile: The DICOM gate's profile.
        workers: How many decode; None for the usual number.
        place: Where.
    """

    images: pd.DataFrame
    fresh: Manifest
    missing: str
    profile: Profile
    workers: int | None
    place: Workplace


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
        folder: Where the store goes: a new or empty folder, or one with a store. Where it is an address in an object
            store, the store is made on this machine, sent there with the manifest last, and kept here to be read.
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
        FileExistsError: If the folder holds something else, or another process of this machine prepares the store.
        OSError: If the disk has too little space, or nothing can be written to an object store, said before anything is
            decoded; or if an object store cannot be reached, or stops to answer: the same call goes on there.
        WorkersUnavailable: If the processes that read DICOM files cannot be started, there is no cluster, or its
            workers cannot be used; what was stored before is kept.
    """
    root = files.typed_place(folder, "folder")
    wanted = _store_wanted(table, root, size, missing, profile, workers, executor)
    store = _larger_store(root, wanted) if isinstance(root, Path) else None
    if store is None:
        store = _made(root, wanted) if isinstance(root, Path) else _made_elsewhere(root, wanted)
        progress.say(
            f"{len(store) - len(store.left_out):,} images of {size} px are stored in {root} "
            f"({len(store) * size * size / 1e9:.2f} GB), {len(store.left_out):,} left out"
        )
    _tell_of_contrast(store, wanted.images)
    return store


@checked
def prepare_part(
    table: pd.DataFrame,
    folder: str | Path,
    part: tuple[int, int],
    *,
    size: int = 224,
    missing: Literal["error", "skip"] = "error",
    profile: str | Profile = "clinical",
    workers: int | None = None,
    executor: str | Workplace = HERE,
) -> bool:
    """Decodes a part of the images of a table into a store in an object store, beside others who decode the rest.

    Each worker gives the same table and the same number of parts, and another part. The last one to be ready writes the
    manifest, which makes them a store; its bytes are those of a store that one alone prepared. A part whose worker was
    lost is prepared again by the same call, anywhere.

    Args:
        table: As `prepare` takes it, the same for every part.
        folder: Address of the store in an object store.
        part: Which part, from 1, and how many there are, at most 1,000.
        size: As `prepare` takes it.
        missing: As `prepare` takes it.
        profile: As `prepare` takes it.
        workers: As `prepare` takes it.
        executor: As `prepare` takes it.

    Returns:
        Whether the store is whole now.

    Raises:
        ValueError: As `prepare` does, or if the part is none, or the folder is of this machine, where `workers` share
            the work.
        FileExistsError: As `prepare` does.
        OSError: As `prepare` does.
        WorkersUnavailable: As `prepare` does.
    """
    root = files.typed_place(folder, "folder")
    if not isinstance(root, Remote):
        raise ValueError(
            f"parts are prepared for a store in an object store, not for {str(root)!r}; leave part out (on the command "
            "line --part): on one machine workers share the work."
        )
    number, parts = part
    if not 1 <= number <= parts <= _MOST_PARTS:
        raise ValueError(
            f"part {number} of {parts} is none; give a number from 1 on, of at most {_MOST_PARTS:,} parts."
        )
    wanted = _store_wanted(table, root, size, missing, profile, workers, executor)
    there = _whole_there(root, wanted)
    if there is not None and _is_of(there, wanted):
        return True
    with elsewhere.work_folder(root, part) as work:
        _filled(work, wanted, range(number - 1, len(wanted.fresh.chunks), parts))
        is_whole = elsewhere.publish(work, root, part)
        shutil.rmtree(work)
    progress.say(f"part {number} of {parts} is in {root}, {'which is whole' if is_whole else 'others are to come'}")
    return is_whole


_MOST_PARTS = 1_000


def _store_wanted(
    table: pd.DataFrame,
    root: Place,
    size: int,
    missing: str,
    profile: str | Profile,
    workers: int | None,
    executor: str | Workplace,
) -> _StoreWanted:
    """Checks the arguments of `prepare`, and that an object store can be written to."""
    place = place_of(executor)
    checks.one_of(missing, ("error", "skip"), "missing")
    checks.positive_int(size, "size")
    if workers is not None:
        checks.positive_int(workers, "workers")
    chosen = find_profile(profile)
    if isinstance(root, Remote):
        storage.check_writable(root / MANIFEST, "folder")
    images = _images(table, missing)
    fresh = Manifest(
        images=len(images),
        size=size,
        chunk_images=max(1, _CHUNK_BYTES // (size * size * GROUP)) * GROUP,
        pixels_version=_pixels_version(),
        profile=chosen.name,
        chexkeras=chexkeras.__version__,
        table_sha256=image_table.fingerprint(table),
        image_ids_sha256=_sha256(images[["image_id"]]),
        index_sha256=hashlib.sha256(_index_text(images).encode()).hexdigest(),
    )
    return _StoreWanted(images, fresh, missing, chosen, workers, place)


def _index_text(images: pd.DataFrame) -> str:
    return images[_SOURCE].rename_axis("row").to_csv(lineterminator="\n")


def _made(root: Path, wanted: _StoreWanted) -> Store:
    """Returns the store in a folder of this machine, made or completed."""
    _filled(root, wanted, range(len(wanted.fresh.chunks)))
    store = Store.load(root)
    if len(store.left_out) == len(store):
        reasons = ", ".join(sorted(set(store.left_out.values())))
        raise ValueError(f"none of the {len(store)} images can be used ({reasons}); 'chexkeras audit' tells more.")
    return store


def _filled(root: Path, wanted: _StoreWanted, chunks: range) -> None:
    """Decodes what is not done of some chunks of a store on this machine."""
    images, manifest = wanted.images, _manifest_to_go_on(root, wanted.fresh)
    todo = _begin(root, manifest, images, wanted.missing, chunks)
    if not todo:
        return
    try:
        decoding = decode_images(
            images["path"].tolist(),
            [manifest.rows(chunk) for chunk in todo],
            size=manifest.size,
            profile=wanted.profile,
            workers=wanted.workers,
            place=wanted.place,
        )
        _decode(root, manifest, images, decoding, wanted.missing)
    except (KeyboardInterrupt, OSError, WorkersUnavailable) as stopped:
        why = "interrupted" if isinstance(stopped, KeyboardInterrupt) else "stopped"
        progress.say(f"{why}: {_done(manifest):,} of {len(images):,} images are stored; the same call goes on there")
        raise


def _made_elsewhere(root: Remote, wanted: _StoreWanted) -> Store:
    """Returns the copy of a store in an object store, made and sent or found there."""
    there = _whole_there(root, wanted)
    with elsewhere.work_folder(root, _WHOLE) as work:
        is_begun = (work / MANIFEST).is_file()
        if is_begun or there is None or not _is_of(there, wanted):
            _made(work, wanted)
            elsewhere.publish(work, root, _WHOLE)
            elsewhere.keep_copy(work, root)
    return Store.load(str(root))


def _whole_there(root: Remote, wanted: _StoreWanted) -> Manifest | None:
    """Returns the manifest of a store in an object store, if it is of the images that are wanted."""
    there = elsewhere.manifest_of(root)
    if there is not None:
        _check_same(root, there, wanted.fresh)
    return there


def _is_of(there: Manifest, wanted: _StoreWanted) -> bool:
    """Returns whether a whole store is of these very files, with nothing left out that is wanted."""
    if wanted.missing == "error" and there.left_out:
        return False
    sources = [_source_of(wanted.images, there.rows(number)) for number in range(len(there.chunks))]
    return [chunk and chunk["sources"] for chunk in there.chunks] == sources


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


def _larger_store(root: Path, wanted: _StoreWanted) -> Store | None:
    """Returns the complete store of a larger table that holds all these images, if the folder has one."""
    store, images, fresh = _complete_store(root), wanted.images, wanted.fresh
    alike = ("size", "profile", "pixels_version")
    if (
        store is None
        or len(store) <= len(images)
        or any(getattr(store.manifest, name) != getattr(fresh, name) for name in alike)
    ):
        return None
    known = pd.read_csv(root / INDEX, dtype={"image_id": str, "file": str}, keep_default_na=False)
    found = images.merge(known, on=_SOURCE)
    if len(found) < len(images):
        return None
    if wanted.missing == "error":
        store.rows(images["image_id"])
    store.verify()
    progress.say(f"all {len(images):,} images are in {root}, a store of {len(store):,}")
    return store


def _pixels_version() -> int:
    from chexkeras.data.pixels import PIXELS_VERSION

    return PIXELS_VERSION


def _manifest_to_go_on(root: Path, fresh: Manifest) -> Manifest:
    """Returns the manifest to go on from: that of the folder, or a new one."""
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"{str(root)!r} is a file; name a folder for the store.")
    if not (root / MANIFEST).is_file():
        # Hidden files are what a kill leaves of the first manifest.
        if root.is_dir() and any(not entry.name.startswith(".") for entry in root.iterdir()):
            raise FileExistsError(f"{str(root)!r} holds something that is no image store; give a new or empty folder.")
        return dataclasses.replace(fresh, chunks=list(fresh.chunks), left_out={}, low_contrast={})
    found = Manifest.load(root)
    _check_same(root, found, fresh)
    return found


def _check_same(root: Place, found: Manifest, fresh: Manifest) -> None:
    if not found.describes_same(fresh):
        raise ValueError(
            f"{str(root)!r} holds another store ({found}), not this one ({fresh}), or its images in another "
            "order; give another folder, or delete this one."
        )


def _begin(root: Path, manifest: Manifest, images: pd.DataFrame, missing: str, chunks: range) -> list[int]:
    """Makes the folder ready, and returns those of some chunks that are to be decoded."""
    todo = [chunk for chunk in chunks if not _is_sound(root, manifest, images, chunk, missing)]
    text = _index_text(images)
    index_sha256 = hashlib.sha256(text.encode()).hexdigest()
    if not todo and manifest.index_sha256 == index_sha256 and _complete_store(root) is not None:
        return todo
    elsewhere.check_disk(root, sum(len(manifest.rows(chunk)) for chunk in todo) * manifest.size**2)
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
