"""Going through a folder of files: one outcome for every file, and no file that stops the others."""

import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter

from chexkeras.checks import existing_folder
from chexkeras.dicom.gate import DicomRejected
from chexkeras.dicom.privacy import scrub
from chexkeras.dicom.profiles import Profile
from chexkeras.dicom.read import Radiograph, read_film

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file before scoring.

    Attributes:
        path: The file.
        film: The film, or None when it was refused.
        code: Why it was refused, or the codes of its warnings.
        detail: One sentence on the refusal, without patient text; empty for an accepted film.
        seconds: Time spent on reading and checking.
    """

    path: Path
    film: Radiograph | None
    code: str
    detail: str
    seconds: float

    @property
    def verdict(self) -> str:
        """Returns "accept", "warn" (accepted, with a warning) or "reject"."""
        if self.film is None:
            return "reject"
        return "warn" if self.film.warnings else "accept"


def find_files(folder: str | Path) -> list[Path]:
    """Returns every file below a folder, sorted, whatever its name ends in.

    Hidden files are left out, and links are not followed: a folder must not lead out of itself.

    Args:
        folder: Where to look.

    Raises:
        FileNotFoundError: If the folder is not there.
        ValueError: If it holds no file.
    """
    root = existing_folder(folder, "folder")
    found = [
        Path(parent) / name
        for parent, _, names in os.walk(root, followlinks=False)
        for name in names
        if not name.startswith(".") and not (Path(parent) / name).is_symlink()
    ]
    if not found:
        raise ValueError(f"no file in {str(folder)!r}; give a folder with DICOM, PNG or JPEG files.")
    return sorted(found)


def read_file(path: Path, profile: str | Profile = "clinical") -> FileOutcome:
    """Reads one file, and turns whatever goes wrong into a refusal.

    Args:
        path: A file.
        profile: The gate's profile.

    Returns:
        Its outcome.
    """
    start = perf_counter()
    try:
        film = read_film(path, profile)
    except DicomRejected as rejection:
        return FileOutcome(path, None, rejection.code, str(rejection), perf_counter() - start)
    # The boundary of the batch: a decoder may raise anything, and one file must not end the folder.
    except Exception as error:  # noqa: BLE001
        detail = f"reading failed ({scrub(error)})"
        _log.warning("one file could not be read: %s", scrub(error))
        return FileOutcome(path, None, "unreadable", detail, perf_counter() - start)
    return FileOutcome(path, film, ";".join(film.warnings), "", perf_counter() - start)


def read_files(
    paths: Iterable[str | Path], profile: str | Profile = "clinical", workers: int = 2
) -> Iterator[FileOutcome]:
    """Reads files ahead of their use, in order.

    Args:
        paths: Files.
        profile: The gate's profile.
        workers: Threads that read; a few films are held in memory at a time, however many files there are.

    Yields:
        One outcome a file, in the order given.
    """
    waiting = iter(paths)
    with ThreadPoolExecutor(workers) as pool:
        pending = [pool.submit(read_file, Path(path), profile) for path in islice(waiting, 4 * workers)]
        while pending:
            yield pending.pop(0).result()
            pending.extend(pool.submit(read_file, Path(path), profile) for path in islice(waiting, 1))
