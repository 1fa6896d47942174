"""Reads the files of a folder: an image or a reason for every file, and no file that stops the others."""

import errno
import logging
import os
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, overload

from chexkeras import files, progress, storage
from chexkeras.checks import existing_folder, typed_path
from chexkeras.dicom.origin import synthetic
from chexkeras.dicom.pixels.array_image import GreyArray
from chexkeras.dicom.privacy import scrub
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.dicom.read import Radiograph, fetched, read_image
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.workers.options import ISOLATED, ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.inference.given_images import GivenImage, as_place
from chexkeras.parallel import WorkersUnavailable, map_ordered
from chexkeras.storage import Place, Remote

_log = logging.getLogger(__name__)

# Threads that read where there are no worker processes.
_IN_PROCESS_THREADS = 2


@dataclass(frozen=True)
class FileResult:
    """One file as it was read, before scoring.

    Attributes:
        path: The file, or an image that is in none.
        image: The image, or None when it was refused.
        code: Why it was refused, or the codes of its warnings.
        detail: One sentence on the refusal, without patient text; empty for an accepted image.
        seconds: Time spent on reading and checking.
        synthetic: Whether the file says that a program made its image, see `dicom.origin`; "" where nothing was read.
    """

    path: Place | GivenImage
    image: Radiograph | None
    code: str
    detail: str
    seconds: float
    synthetic: str = ""

    @property
    def verdict(self) -> str:
        """Returns "accept", "warn" (accepted, with a warning) or "reject"."""
        if self.image is None:
            return "reject"
        return "warn" if self.image.warnings else "accept"


@overload
def find_files(folder: Remote) -> list[Remote]: ...


@overload
def find_files(folder: str | Path) -> list[Path]: ...


def find_files(folder: str | Place) -> list[Any]:
    """Returns every file below a folder, sorted, whatever its name ends in.

    Hidden files and folders are left out, and so is what is no file: links are not followed, since a folder must not
    lead out of itself, and a pipe would be waited for. How many there were is printed in one line, without their names.
    A folder below that cannot be read, or lies too deep for the system, is listed itself, so that it is refused instead
    of passed over.

    Args:
        folder: Where to look; of an object store a `Remote`, of which one list is asked for.

    Raises:
        FileNotFoundError: If the folder is not there.
        OSError: If it may not be read.
        ValueError: If it holds no file.
    """
    if isinstance(folder, Remote):
        return _find_elsewhere(folder)
    root = existing_folder(typed_path(folder, "folder"), "folder")
    found: list[Path] = []
    hidden = no_files = 0

    def refused(path: str, error: OSError) -> None:
        if path == str(root):
            raise type(error)(f"folder: {str(folder)!r} cannot be read ({error.strerror}); ask for permission.")
        found.append(Path(path))

    for entry in files.entries_below(root, refused, follow_links=False, enter=_is_visible):
        if not _is_visible(entry):
            hidden += 1
        elif _is_file(entry):
            found.append(Path(entry.path))
        else:
            no_files += 1
    _say_what_is_left_out(no_files, hidden)
    if not found:
        raise ValueError(f"no file in {str(folder)!r}; give a folder with DICOM, PNG or JPEG files.")
    return sorted(found)


def _find_elsewhere(folder: Remote) -> list[Remote]:
    """Returns every file below a folder of an object store, as `find_files` does."""
    start = len(folder.url) + 1
    found: list[Remote] = []
    hidden: set[str] = set()
    for url in storage.files_below(folder):
        parts = url[start:].split("/")
        first = next((at for at, part in enumerate(parts) if part.startswith(".")), None)
        if first is None:
            found.append(Remote(url))
        else:
            # A hidden folder counts once, whatever it holds.
            hidden.add("/".join(parts[: first + 1]))
    _say_what_is_left_out(0, len(hidden))
    if not found:
        raise ValueError(f"no file in {str(folder)!r}; give a folder with DICOM, PNG or JPEG files.")
    return sorted(found, key=lambda file: file.url.split("/"))


def _say_what_is_left_out(no_files: int, hidden: int) -> None:
    parts = []
    if no_files:
        noun = "entry that is no file" if no_files == 1 else "entries that are no files"
        parts.append(f"{no_files:,} {noun} (links, pipes)")
    if hidden:
        parts.append(f"{hidden:,} hidden {'file or folder' if hidden == 1 else 'files or folders'}")
    if parts:
        progress.say(f"left out {' and '.join(parts)}")


def _is_visible(entry: "os.DirEntry[str]") -> bool:
    return not entry.name.startswith(".")


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        # Gone since, or out of reach: it was listed, and gets its row.
        return True


def read_file(
    path: Place | GivenImage,
    read: Callable[[Path | bytes | GreyArray], Radiograph] = read_image,
    convert: Callable[[Radiograph], Radiograph] | None = None,
    profile: str | Profile = "clinical",
) -> FileResult:
    """Reads one file, and turns whatever goes wrong into a refusal.

    Args:
        path: A file, also one in an object store, or an image that is in memory.
        read: What reads it: `read_image`, or the `read` of a `ReaderPool`.
        convert: What becomes of the image that was read; None leaves it as it is.
        profile: The gate's profile, which says how large a file in an object store may be.

    Returns:
        The image, or why there is none.

    Raises:
        WorkersUnavailable: If the processes that read cannot be started.
    """
    content: Path | bytes | GreyArray
    if isinstance(path, Remote):
        # Fetched by this process, once for all that looks at it: workers need neither network nor credentials.
        start = perf_counter()
        try:
            content = fetched(path, find_profile(profile))
        except DicomRejected as rejection:
            return FileResult(path, None, rejection.code, str(rejection), perf_counter() - start)
        result = replace(_read_one(GivenImage(path.url, content), read, convert), path=path)
        result = replace(result, seconds=perf_counter() - start)
    else:
        result = _read_one(path, read, convert)
        content = path.content if isinstance(path, GivenImage) else path
    # What hung once is not opened again.
    if result.code == "decoder_limit" or not isinstance(content, (bytes, Path)):
        return result
    return replace(result, synthetic=synthetic(content))


def _read_one(
    path: Path | GivenImage,
    read: Callable[[Path | bytes | GreyArray], Radiograph],
    convert: Callable[[Radiograph], Radiograph] | None,
) -> FileResult:
    start = perf_counter()
    try:
        if isinstance(path, GivenImage):
            image = read(path.content)
        else:
            _refuse_what_is_no_file(path)
            # Absolute, so that a folder called "~user" is taken by its name.
            image = read(path.absolute())
        image = image if convert is None else convert(image)
    except DicomRejected as rejection:
        return FileResult(path, None, rejection.code, str(rejection), perf_counter() - start)
    except WorkersUnavailable:
        raise
    # The boundary of the batch: a decoder may raise anything, and one file must not end the folder.
    except Exception as error:  # noqa: BLE001
        detail = f"reading failed ({scrub(error)})"
        _log.warning("one file could not be read: %s", scrub(error))
        return FileResult(path, None, "unreadable", detail, perf_counter() - start)
    return FileResult(path, image, ";".join(image.warnings), "", perf_counter() - start)


def _refuse_what_is_no_file(path: Path) -> None:
    """Refuses a folder that stands in a list of files, since what is below it could not be looked at.

    The same for a path that is longer than the system takes, of a file or of such a folder.
    """
    expected = "a file, not a folder"
    try:
        os.lstat(path)
        if not os.path.isdir(path):
            return
        os.scandir(path).close()
    except FileNotFoundError:
        # Whoever reads it says so.
        return
    except OSError as error:
        expected = f"a folder that may be read ({scrub(error)})"
        if error.errno == errno.ENAMETOOLONG:
            expected = "a path that the system takes; this one is too long: move what lies there further up"
    raise DicomRejected.because("unreadable", "", expected)


def read_files(
    paths: Iterable[str | Place | GivenImage],
    profile: str | Profile = "clinical",
    read_options: ReadOptions = ISOLATED,
    *,
    convert: Callable[[Radiograph], Radiograph] | None = None,
    ahead: int = 8,
) -> Generator[FileResult, None, None]:
    """Reads files ahead of their use, in order.

    Args:
        paths: Files, also in an object store, or images that are in memory (`given_images`).
        profile: The gate's profile.
        read_options: How many processes read, and their limits.
        convert: What becomes of an image as soon as it is read, by the thread that waited for it; for example a smaller
            one, of which many can be kept.
        ahead: Files that are read before they are asked for.

    Yields:
        One result a file, in the order given. So many images are held in memory at a time as are read ahead, however
        many files there are.

    Raises:
        TypeError: If something among them is no path.
        WorkersUnavailable: If the threads or processes that read cannot be started; what was read before comes first.
    """
    wanted = (path if isinstance(path, GivenImage) else as_place(path) for path in paths)
    threads = read_options.processes or _IN_PROCESS_THREADS
    options: dict[str, Any] = {"executor": "threads", "workers": threads, "ahead": max(ahead, 2 * threads)}
    if read_options.processes:
        # Each worker process is talked to by a thread of its own. The processes are ended before the threads are waited
        # for, so that an interrupted run does not wait for a file that hangs.
        pool = ReaderPool(profile, read_options)
        work, options = (
            partial(read_file, convert=convert, profile=profile),
            {**options, "setup": pool.prepare, "on_end": pool.close},
        )
    else:
        work = partial(read_file, read=partial(read_image, profile=profile), convert=convert, profile=profile)
    yield from map_ordered(work, wanted, **options)
