"""Films from an archive behind DICOMweb and results back to it: what ``chexkeras predict --dicomweb`` does."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from chexkeras.cli.app import command_line, fail, tell
from chexkeras.progress import say

if TYPE_CHECKING:
    from chexkeras.delivery.dicomweb.archive import WebArchive


@contextlib.contextmanager
def films_of(
    folder: Path | None, archive: "WebArchive | None", studies: list[str], date: str | None, *, resume: bool
) -> Iterator[Path]:
    """Yields the folder to score: that which was named, or one with an archive's films, which is removed in the end.

    Args:
        folder: What the user named.
        archive: What `archive_of` returned.
        studies: Study instance UIDs that the user named.
        date: The date that the user named.
        resume: Whether results of an earlier run are kept, whose films have the same names only under the same key.

    Yields:
        The folder.

    Raises:
        DicomWebError: If films cannot be fetched.
        ValueError: If there are none, or names cannot be the same.
    """
    if archive is None:
        # One of the two is there, as `archive_of` has checked.
        yield folder or Path()
        return
    from chexkeras.delivery.dicomweb.archive import fetched
    from chexkeras.dicom.privacy import HASH_KEY_VARIABLE

    if not os.environ.get(HASH_KEY_VARIABLE):
        if resume:
            raise ValueError(
                f"films of an archive are named by a hash under a key; --resume needs {HASH_KEY_VARIABLE} as it was "
                "set for the first run."
            )
        say(f"films are named by a hash that nobody can repeat; set {HASH_KEY_VARIABLE} to a secret that you keep")
    with archive:
        wanted = list(dict.fromkeys([*studies, *(archive.studies_of(date) if date else ())]))
        if not wanted:
            raise ValueError(f"the archive has no computed or digital radiograph (CR, DX) of the date {date}.")
        with fetched(archive, wanted) as films:
            yield films


def archive_of(
    url: str | None,
    folder: Path | None,
    studies: list[str],
    date: str | None,
    *,
    authorities: Path | None,
    allow_http: bool,
    films: int,
    stores: bool,
) -> "WebArchive | None":
    """Returns the archive that the options name, before anything is asked of it; None where they name a folder.

    Args:
        url: --dicomweb.
        folder: FOLDER.
        studies: --study.
        date: --date.
        authorities: --dicomweb-ca.
        allow_http: --allow-http.
        films: --most-films.
        stores: --store-results.

    Raises:
        ValueError: If the options do not go together, or one of them is wrong.
    """
    if url is None:
        if folder is None:
            raise ValueError("nothing to score: give a FOLDER, or --dicomweb URL and --study UID.")
        given = {"--study": studies, "--date": date, "--dicomweb-ca": authorities, "--store-results": stores}
        alone = [option for option, value in given.items() if value]
        if alone:
            raise ValueError(f"{alone[0]} is of films from an archive; give --dicomweb URL, too, instead of FOLDER.")
        return None
    if folder is not None:
        raise ValueError("a FOLDER and --dicomweb are two sources of films; give one of them.")
    if not studies and date is None:
        raise ValueError("--dicomweb needs --study UID (again for others) or --date YYYYMMDD: which films are meant?")
    from chexkeras.delivery.dicomweb.address import WebAddress, WebLimits
    from chexkeras.delivery.dicomweb.archive import WebArchive, check_date, check_uid

    for study in studies:
        check_uid(study, "--study")
    if date is not None:
        check_date(date)
    return WebArchive(WebAddress(url, authorities, allow_http), WebLimits(films=films))


def store_objects(archive: "WebArchive", objects: Path) -> None:
    """Stores objects in the archive and says what became of them; ends the command where not all were stored.

    Args:
        archive: The archive.
        objects: A folder of `write_objects`.
    """
    from chexkeras.delivery.dicom_output import objects_by_film

    try:
        done = archive.store([paths for _, paths in sorted(objects_by_film(objects).items()) if paths])
    except OSError as error:
        _end(error)
    if done.failed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in done.failed.items())
        _end(OSError(f"the archive has not stored {sum(done.failed.values())} of the results: {reasons}."))
    tell(f"{done.stored} DICOM objects are stored in the archive {archive.address.shown}")


@contextlib.contextmanager
def owner_s_folder() -> Iterator[str]:
    """Yields a folder for results on their way, its owner's alone, which is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="chexkeras-results-") as folder:
        yield folder


def _end(error: Exception) -> NoReturn:
    fail(error, "the table of results is written", command_line(adding=("--resume",)))
