"""An archive behind DICOMweb: its studies are found, their chest films fetched, results stored beside them."""

import collections
import contextlib
import functools
import hashlib
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from chexkeras.arguments import checked
from chexkeras.delivery.dicomweb.address import WebAddress, WebLimits
from chexkeras.delivery.dicomweb.connection import JSON, MULTIPART, Connection, DicomWebError, parsed
from chexkeras.dicom import privacy
from chexkeras.dicom.objects.source import NotDescribable, film_identity
from chexkeras.progress import say, track

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FILM_CLASSES = ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1")
"""What is fetched: computed radiographs, and digital ones for presentation."""

MODALITIES = ("CR", "DX")

_STUDY, _SERIES, _CLASS, _UID = "0020000D", "0020000E", "00080016", "00080018"
_VALID_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64
_DATE = re.compile(r"(\d{8})(-(\d{8})?)?|-\d{8}")
# How many a question asks for; a service that has more is asked again from there.
_PAGE = 500
# PS3.18 Table 10.5.3-1 and PS3.4 Table GG.4-1; warnings say that something was changed, and it is stored.
_REASONS = {
    0x0110: "processing failure", 0x0122: "kind of object not taken", 0xA700: "out of resources",
    0xA900: "does not match its kind", 0xC000: "cannot be understood", 0xC122: "transfer syntax not taken",
}  # fmt: skip
NOT_CONFIRMED = "not confirmed"
_LIMITS = WebLimits()


@dataclass(frozen=True)
class StoredResults:
    """What became of results that an archive was given.

    Attributes:
        stored: How many objects it says it has stored.
        failed: How many it has not, by reason: a code of the standard and its meaning, or `NOT_CONFIRMED`.
    """

    stored: int
    failed: dict[str, int]


@dataclass(frozen=True)
class _Film:
    """A film in the archive."""

    study: str
    series: str
    uid: str


@checked
class WebArchive:
    """An archive behind DICOMweb; in a ``with`` block, or closed by `close`.

    Args:
        address: Where it is: a `WebAddress`, or its URL.
        limits: What is taken from it.

    Raises:
        ValueError: If the address is none, dicomweb-client is not installed (extra "dicomweb"), or credentials are
            incomplete.
    """

    def __init__(self, address: WebAddress | str, limits: WebLimits = _LIMITS) -> None:
        self.address = WebAddress(address) if isinstance(address, str) else address
        self._limits = limits
        self._connection = Connection(self.address, limits)

    def __enter__(self) -> "WebArchive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def studies_of(self, date: str) -> list[str]:
        """Returns the studies of a date that hold computed or digital radiographs, by their UIDs, sorted.

        Args:
            date: A day, YYYYMMDD, or days from and to, YYYYMMDD-YYYYMMDD, one of which may be left out.

        Raises:
            DicomWebError: If the service does not say.
            ValueError: If the date is written in another way.

        Source:
            PS3.18 10.6 (QIDO-RS).
        """
        check_date(date)
        client, found = self._connection.client, set()
        for modality in MODALITIES:
            filters = {"StudyDate": date, "ModalitiesInStudy": modality}
            page = functools.partial(client.search_for_studies, search_filters=filters, limit=_PAGE)
            for item in self._listed("a list of studies", page):
                found.add(self._uid(item, _STUDY))
        return sorted(found)

    def fetch(self, studies: Sequence[str], folder: Path) -> int:
        """Fetches the chest films of studies, as they are stored, each into a file that its owner alone may read.

        Files are named by keyed hashes of study and film (`dicom.privacy.keyed_hash`), so that no name in results is an
        identifier; the same film has the same name as long as the key is the same, and the same time of change as long
        as its content is.

        Args:
            studies: Study instance UIDs.
            folder: Where to; a folder that is there.

        Returns:
            How many films there are now.

        Raises:
            DicomWebError: If the studies have no film or too many, or the service did not give one as it was asked for.
            OSError: If nothing can be written there.
            ValueError: If what is named is no UID.

        Source:
            PS3.18 10.4 (WADO-RS), 10.6 (QIDO-RS).
        """
        wanted = list(dict.fromkeys(studies))
        for number, study in enumerate(wanted, start=1):
            check_uid(study, f"study {number}")
        films: list[_Film] = []
        empty = []
        for number, study in enumerate(wanted, start=1):
            found = self._films_of(study, f"study {number} of {len(wanted)}")
            films += found
            empty += [] if found else [str(number)]
            if len(films) > self._limits.films:
                raise DicomWebError(
                    f"these studies hold more than {self._limits.films:,} films; name fewer, or allow more with "
                    "--most-films."
                )
        if not films:
            raise DicomWebError(
                f"the DICOMweb server {self.address.shown} has no computed or digital radiograph (CR, DX) in what was "
                f"asked for, {len(empty)} stud{'y' if len(empty) == 1 else 'ies'}; is the UID right?"
            )
        if empty:
            say(f"without a computed or digital radiograph (CR, DX), of {len(wanted)} studies: {', '.join(empty)}")
        for film in track(films, "fetching films", len(films), lines=True):
            self._save(film, folder)
        return len(films)

    def store(self, results: Sequence[Sequence[Path]]) -> StoredResults:
        """Stores results, and looks what the archive says of each.

        Args:
            results: The objects of each film, DICOM files of this package, one question each.

        Raises:
            DicomWebError: If the archive gives no account; what was stored before is stored.

        Source:
            PS3.18 10.5 (STOW-RS), Annex I.2 (what it answers).
        """
        stored, failed = 0, collections.Counter[str]()
        for paths in track(results, "storing results", len(results), lines=True):
            answers = self._stored(paths)
            stored += answers.pop("", 0)
            failed.update(answers)
        return StoredResults(stored, dict(sorted(failed.items())))

    def _listed(self, what: str, page: Callable[..., Any]) -> Iterator[dict[str, Any]]:
        """Yields what the service lists, page after page; ends where nothing new comes.

        A short page is no end: a service may give fewer at a time than it is asked for.
        """
        most, seen, offset = 50 * self._limits.films, set[str](), 0
        while True:
            question = functools.partial(page, offset=offset)
            found = self._connection.ask(what, question, JSON, self._limits.list_bytes)
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise self._odd(what)
            fresh = {repr(item): item for item in found if repr(item) not in seen}
            seen |= fresh.keys()
            if len(seen) > most:
                raise DicomWebError(f"the DICOMweb server {self.address.shown} lists more than {most:,} entries.")
            yield from fresh.values()
            if not fresh:
                return
            offset += len(found)

    def _films_of(self, study: str, shown: str) -> list[_Film]:
        found = {}
        page = functools.partial(self._connection.client.search_for_instances, study, limit=_PAGE)
        for item in self._listed(f"a list of what {shown} holds", page):
            if _value(item, _CLASS) in FILM_CLASSES:
                # Whatever study an entry names: it is this one that is asked for the film, and the film is looked at.
                film = _Film(study, self._uid(item, _SERIES), self._uid(item, _UID))
                found[film.uid] = film
        return [found[uid] for uid in sorted(found)]

    def _save(self, film: _Film, folder: Path) -> None:
        connection = self._connection
        place = f"studies/{film.study}/series/{film.series}/instances/{film.uid}"

        def question() -> bytes:
            # To its end: a part that was cut off is known by what is missing behind it.
            parts = list(itertools.islice(connection.client.iter_bulkdata(f"{self.address.base}/{place}"), 2))
            if len(parts) != 1:
                many = "no film" if not parts else "more than one film"
                raise DicomWebError(f"the DICOMweb server {self.address.shown} sent {many} where one was asked for.")
            return parts[0]

        content = connection.ask("a film", question, MULTIPART, self._limits.film_bytes)
        path = folder / privacy.keyed_hash(film.study) / f"{privacy.keyed_hash(film.uid)}.dcm"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)
        with open(path, "xb", opener=_private) as file:
            file.write(content)
        try:
            self._check(path, film)
        except DicomWebError:
            path.unlink()
            raise
        # A later run knows a film that has not changed by size and time of change, though it is fetched again.
        time_ns = int.from_bytes(hashlib.sha256(content).digest()[:7], "big")
        os.utime(path, ns=(time_ns, time_ns))

    def _check(self, path: Path, film: _Film) -> None:
        try:
            if film_identity(path) == (film.study, film.series, film.uid):
                return
            words = "sent another film than was asked for"
        except NotDescribable:
            words = "sent something that does not say which film it is"
        raise DicomWebError(f"the DICOMweb server {self.address.shown} {words}; nothing of it was scored.")

    def _stored(self, paths: Sequence[Path]) -> dict[str, int]:
        """Returns how many objects failed, by reason; under "" how many were stored."""
        import pydicom
        from requests.exceptions import HTTPError

        with privacy.quiet():
            objects = [pydicom.dcmread(path) for path in paths]
        (study,) = {str(each.StudyInstanceUID) for each in objects}

        def question() -> "Dataset":
            with privacy.quiet():
                try:
                    return self._connection.client.store_instances(objects, study)
                except HTTPError as error:
                    # Conflict: none or not all were stored, and it says which.
                    if error.response is None or error.response.status_code != 409:
                        raise
                    return pydicom.Dataset.from_json(parsed(error.response.content))

        answer = self._connection.ask("an account of what it stored", question, JSON, self._limits.list_bytes)
        with privacy.quiet():
            return dict(collections.Counter(_outcome(str(each.SOPInstanceUID), answer) for each in objects))

    def _uid(self, item: dict[str, Any], tag: str) -> str:
        value = _value(item, tag)
        if len(value) > _LONGEST_UID or not _VALID_UID.fullmatch(value):
            raise self._odd("a list with valid UIDs")
        return value

    def _odd(self, what: str) -> DicomWebError:
        return DicomWebError(f"the DICOMweb server {self.address.shown} answered with something else than {what}.")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _value(item: dict[str, Any], tag: str) -> str:
    """Returns the first value of a tag in DICOM's JSON; empty where there is none."""
    try:
        return str(item[tag]["Value"][0])
    except (LookupError, TypeError):
        return ""


def _outcome(uid: str, answer: "Dataset") -> str:
    """Returns why an object was not stored, in words of our own; empty where it was."""
    try:
        for item in answer.get("FailedSOPSequence") or ():
            if str(item.get("ReferencedSOPInstanceUID", "")) == uid:
                return _reason(item.get("FailureReason"))
        for item in answer.get("ReferencedSOPSequence") or ():
            if str(item.get("ReferencedSOPInstanceUID", "")) == uid:
                return ""
    except privacy.tag_errors():
        return NOT_CONFIRMED
    return NOT_CONFIRMED


def _reason(code: Any) -> str:
    if not isinstance(code, int) or not 0 <= code <= 0xFFFF:
        return "no reason given"
    # Of codes that leave their last digits to the archive, the first ones say what is meant.
    meaning = _REASONS.get(code) or _REASONS.get(code & 0xFF00) or _REASONS.get(code & 0xF000)
    return f"0x{code:04X}{f' ({meaning})' if meaning else ''}"


def check_uid(text: str, name: str) -> str:
    """Returns a UID, if it is one.

    Args:
        text: What the caller gave.
        name: What it names, for messages.

    Raises:
        ValueError: If it is none.
    """
    if len(text) > _LONGEST_UID or not _VALID_UID.fullmatch(text):
        raise ValueError(f"{name}: a UID was expected, digits and points, at most {_LONGEST_UID} of them.")
    return text


def _is_day(text: str) -> bool:
    try:
        return not text or bool(datetime.strptime(text, "%Y%m%d"))
    except ValueError:
        return False


def check_date(text: str) -> str:
    """Returns a day or a range of days, if it is one.

    Args:
        text: What the caller gave.

    Raises:
        ValueError: If it is none.

    Example:
        >>> check_date("20261201-20261202")
        '20261201-20261202'
    """
    if not _DATE.fullmatch(text) or not all(map(_is_day, text.split("-"))):
        raise ValueError(f"date {text!r}: YYYYMMDD or YYYYMMDD-YYYYMMDD was expected, for example 20261201.")
    return text


@contextlib.contextmanager
def fetched(archive: WebArchive, studies: Sequence[str]) -> Iterator[Path]:
    """Yields a folder with the chest films of studies, which is removed at the end of the block, however it ends.

    Args:
        archive: The archive.
        studies: Study instance UIDs.

    Yields:
        The folder, its owner's alone, in the system's folder for temporary files.

    Raises:
        DicomWebError: As `WebArchive.fetch`.
        OSError: If there is no room.
    """
    with tempfile.TemporaryDirectory(prefix="chexkeras-films-") as folder:
        archive.fetch(studies, Path(folder))
        yield Path(folder)
