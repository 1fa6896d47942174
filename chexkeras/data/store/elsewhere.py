"""A store in an object store: its images in shards, which workers write side by side, and a manifest that comes last.

There is ``shards/00012-<checksum>.npy`` for each chunk of the store, ``parts/<i>-of-<n>.json`` for what each of several
workers did, ``index.csv``, and ``manifest.json``, the very file of a store on this machine: without it nothing there is
a store. A shard has the same bytes whoever wrote it, and its name follows from the manifest, which holds no path. So a
shard that is there need not be written again, one that changed has another name, and nothing is ever deleted: whoever
reads by an earlier manifest finds its shards. Images are read from a copy on this machine, a store like any other.
"""

import contextlib
import hashlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from chexkeras import files, storage
from chexkeras.data.store.manifest import INDEX, MANIFEST, ImagesFile, Manifest
from chexkeras.parallel import map_ordered
from chexkeras.progress import say, track
from chexkeras.storage import Remote

_AT_ONCE = 4
_WAIT_SECONDS = 0.5
_OWN = frozenset({"shards", "parts", INDEX})


def check_disk(folder: Path, needed: int) -> None:
    """Checks that a store fits on the disk.

    Args:
        folder: Where it goes, there or not.
        needed: Its bytes.

    Raises:
        OSError: If it does not.
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OSError(
            f"the store needs {needed / 1e9:.2f} GB in {str(folder)!r}, but {free / 1e9:.2f} GB are free there; make "
            "room, choose a folder on another disk, or a smaller size."
        )


def manifest_of(store: Remote) -> Manifest | None:
    """Returns the manifest of a store in an object store; None where there is none yet.

    Args:
        store: Its address.

    Raises:
        FileExistsError: If something else is there.
        OSError: If the object store cannot be asked.
        ValueError: If the manifest is none, or of a store that is not whole.
    """
    if not (store / MANIFEST).is_file():
        if store.is_file():
            raise FileExistsError(f"{store.url!r} is a file; name a folder for the store.")
        if store.is_dir() and any(entry.name not in _OWN for entry in store.iterdir()):
            raise FileExistsError(f"{store.url!r} holds something that is no image store; give a new or empty folder.")
        return None
    found = Manifest.load(store)
    if not found.complete or not found.index_sha256:
        raise ValueError(f"{(store / MANIFEST).url!r} is of a store that is not whole; prepare it again elsewhere.")
    return found


@contextlib.contextmanager
def work_folder(store: Remote, part: tuple[int, int]) -> Iterator[Path]:
    """Yields the folder of this machine in which a store for an object store is made; no other process has it.

    Args:
        store: Its address.
        part: Which part of it is made here, of how many.

    Raises:
        FileExistsError: If another process makes it at this moment.
    """
    folder = storage.cache_folder("preparing", store.name, f"{store.url} {part[0]} of {part[1]}")
    with folder.with_name(f"{folder.name}.lock").open("ab") as held:
        files.lock(held, f"another process of this machine prepares {store.url!r} at this moment; wait for it.")
        yield folder
        with contextlib.suppress(OSError):
            folder.rmdir()


def fetched(store: Remote) -> Path:
    """Returns the folder of this machine that holds a copy of a store; what is missing of it is fetched and checked.

    Args:
        store: Its address.

    Raises:
        FileNotFoundError: If there is no store, or a shard of it is missing.
        OSError: If the object store cannot be asked, or the disk has too little space.
        ValueError: If the manifest is none, or the shards or the index are not what it says.
    """
    manifest = manifest_of(store)
    if manifest is None:
        raise FileNotFoundError(
            f"no image store at {store.url!r}: it has no {MANIFEST}, which comes last; make one with 'chexkeras "
            f"prepare DATA --store {store.url}', or wait until it is whole."
        )
    folder = _copy_folder(store, manifest)
    with _held(folder, store):
        kept = _kept(folder, manifest)
        if kept.chunks != manifest.chunks or not _has_index(folder, manifest):
            _fetch(store, manifest, folder, kept)
    return folder


def _copy_folder(store: Remote, manifest: Manifest) -> Path:
    """Returns the folder for a store's copy: another one for every content, so that none changes while it is read."""
    return storage.cache_folder("stores", store.name, manifest.fingerprint)


@contextlib.contextmanager
def _held(folder: Path, store: Remote) -> Iterator[None]:
    """Waits until no other process fetches the same store, and keeps others waiting."""
    with folder.with_name(f"{folder.name}.lock").open("ab") as handle:
        said = False
        while True:
            try:
                files.lock(handle, "")
                break
            except FileExistsError:
                if not said:
                    say(f"another process fetches the store {store.url}; waiting for it")
                said = True
                time.sleep(_WAIT_SECONDS)
        yield


def _kept(folder: Path, manifest: Manifest) -> Manifest:
    """Returns what is there of a copy, as a manifest of its own."""
    fresh = Manifest(**{**vars(manifest), "chunks": [None] * len(manifest.chunks)})
    try:
        found = Manifest.load(folder)
        manifest.images_file(folder).check("")
    except (ValueError, OSError):
        return fresh
    same = [chunk if chunk == wanted else None for chunk, wanted in zip(found.chunks, manifest.chunks, strict=False)]
    return Manifest(**{**vars(manifest), "chunks": same}) if len(same) == len(manifest.chunks) else fresh


def _has_index(folder: Path, manifest: Manifest) -> bool:
    return (folder / INDEX).is_file() and files.sha256_file(folder / INDEX) == manifest.index_sha256


def _fetch(store: Remote, manifest: Manifest, folder: Path, kept: Manifest) -> None:
    todo = [number for number, chunk in enumerate(kept.chunks) if chunk is None]
    check_disk(folder, sum(len(manifest.rows(number)) for number in todo) * manifest.size**2)
    index = storage.content((store / INDEX).url, files.MOST_TABLE_BYTES)
    if hashlib.sha256(index).hexdigest() != manifest.index_sha256:
        raise ValueError(f"{(store / INDEX).url!r} is not the one that the store's manifest names; prepare it again.")
    with files.replacing(folder / INDEX) as temporary:
        temporary.write_bytes(index)
    file = manifest.images_file(folder)
    file.create()
    kept.save(folder)

    def shard(number: int) -> np.ndarray:
        return _shard(store, manifest, number)

    reading = map_ordered(shard, todo, executor="threads", workers=_AT_ONCE, ahead=2 * _AT_ONCE)
    with contextlib.closing(reading):
        for number, images in zip(todo, track(reading, "fetching the store", len(todo)), strict=True):
            file.write(manifest.rows(number), images)
            kept.chunks[number] = manifest.chunks[number]
            kept.save(folder)
    say(f"the store {store.url} was copied to {folder}")


def _shard_name(manifest: Manifest, number: int) -> str:
    return f"{number:05}-{(manifest.chunks[number] or {})['pixels'][:32]}.npy"


def _header(manifest: Manifest, number: int) -> bytes:
    return ImagesFile(Path(), len(manifest.rows(number)), manifest.size).header


def _shard(store: Remote, manifest: Manifest, number: int) -> np.ndarray:
    """Returns the images of a shard, once they are known to be those that the manifest means."""
    address = store / "shards" / _shard_name(manifest, number)
    rows, header = manifest.rows(number), _header(manifest, number)
    expected = len(header) + len(rows) * manifest.size**2
    try:
        content = storage.content(address.url, expected)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the shard {address.url!r} is not there, which the store's manifest names; copy it there, or prepare the "
            "store again."
        ) from None
    except storage.TooLarge:
        content = b""
    pixels = memoryview(content)[len(header) :]
    if (
        len(content) != expected
        or content[: len(header)] != header
        or hashlib.sha256(pixels).hexdigest() != (manifest.chunks[number] or {})["pixels"]
    ):
        raise ValueError(
            f"the shard {address.url!r} is not the one that the store's manifest names; delete it and prepare the "
            "store again."
        )
    return np.frombuffer(pixels, np.uint8).reshape(len(rows), manifest.size, manifest.size)


def publish(folder: Path, store: Remote, part: tuple[int, int]) -> bool:
    """Writes what was prepared on this machine to an object store, and the manifest once all parts are there.

    Args:
        folder: The store on this machine, or what was prepared of it.
        store: Where to.
        part: Which part it is, from 1, of how many.

    Returns:
        Whether the store is whole there.

    Raises:
        OSError: If something did not get there; the same call goes on there.
        ValueError: If a file of another part is none, or no image of any part can be used.
    """
    manifest = Manifest.load(folder)
    there = _sizes(store)
    todo = [number for number, chunk in enumerate(manifest.chunks) if chunk is not None]
    todo = [number for number in todo if there.get(_shard_name(manifest, number)) != _bytes(manifest, number)]
    file = manifest.images_file(folder)

    def send(number: int) -> None:
        pixels = file.read(manifest.rows(number)).tobytes()
        if hashlib.sha256(pixels).hexdigest() != (manifest.chunks[number] or {})["pixels"]:
            raise ValueError(f"images in {str(folder)!r} changed while they were sent; prepare the store again.")
        storage.put(store / "shards" / _shard_name(manifest, number), _header(manifest, number) + pixels)

    sending = map_ordered(send, todo, executor="threads", workers=_AT_ONCE, ahead=2 * _AT_ONCE)
    with contextlib.closing(sending):
        for _ in track(sending, "sending the store", len(todo)):
            pass
    if part[1] > 1:
        manifest.write(store / "parts" / _part_name(*part))
        together = bound(store, manifest, part[1])
        rows = {image_id: row for row, image_id in enumerate(image_ids(folder))}
        for told in (together.left_out, together.low_contrast):
            # In the order in which one worker alone would have come upon them.
            ordered = sorted(told.items(), key=lambda item: rows.get(item[0], 0))
            told.clear()
            told.update(ordered)
        there = _sizes(store)
        numbers = range(len(together.chunks))
        if not together.complete or any(
            there.get(_shard_name(together, number)) != _bytes(together, number) for number in numbers
        ):
            return False
        if len(together.left_out) == together.images:
            raise ValueError(f"none of the {together.images} images can be used; 'chexkeras audit' tells more.")
        manifest = together
    storage.put(store / INDEX, folder / INDEX)
    manifest.write(store / MANIFEST)
    return True


def keep_copy(folder: Path, store: Remote) -> None:
    """Keeps what was published as the copy from which this machine reads.

    Args:
        folder: The store on this machine, whole; it is moved.
        store: Its address.
    """
    copy = _copy_folder(store, Manifest.load(folder))
    with _held(copy, store):
        shutil.rmtree(copy)
        folder.rename(copy)


def bound(store: Remote, like: Manifest, parts: int) -> Manifest:
    """Returns what several workers say of a store, in one manifest.

    Args:
        store: Its address.
        like: What one of them says; others of other images are left aside.
        parts: How many there are.

    Raises:
        OSError: If the object store cannot be asked.
        ValueError: If a file of theirs is none.
    """
    together = Manifest(**{**vars(like), "chunks": [None] * len(like.chunks), "left_out": {}, "low_contrast": {}})
    names = set(storage.names_in((store / "parts").url))
    for number in range(1, parts + 1):
        if _part_name(number, parts) not in names:
            continue
        found = Manifest.read(store / "parts" / _part_name(number, parts))
        if not found.describes_same(like) or found.index_sha256 != like.index_sha256:
            continue
        together.chunks = [chunk or other for chunk, other in zip(together.chunks, found.chunks, strict=True)]
        together.left_out.update(found.left_out)
        together.low_contrast.update(found.low_contrast)
    return together


def image_ids(folder: Path) -> list[str]:
    """Returns the image ids of a store, or of what was prepared of it, in the order of its rows.

    Args:
        folder: Its folder on this machine.
    """
    ids = pd.read_csv(folder / INDEX, usecols=["image_id"], dtype=str, keep_default_na=False)["image_id"]
    return [str(each) for each in ids]


def _part_name(number: int, parts: int) -> str:
    return f"{number}-of-{parts}.json"


def _bytes(manifest: Manifest, number: int) -> int:
    return len(_header(manifest, number)) + len(manifest.rows(number)) * manifest.size**2


def _sizes(store: Remote) -> dict[str, int]:
    """Returns the bytes of every shard that is there, by name."""
    try:
        return {url.rpartition("/")[2]: storage.size_of(url) for url in storage.files_below(store / "shards")}
    except FileNotFoundError:
        return {}
