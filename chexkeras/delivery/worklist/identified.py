"""Results by study, with the identifiers that a message needs to reach its patient."""

import collections
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from chexkeras.delivery.worklist.order import WorklistEntry
from chexkeras.dicom.objects.source import NotDescribable, SourceFilm, read_source
from chexkeras.dicom.objects.told import DeviceFacts
from chexkeras.dicom.objects.uids import derived_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class IdentifiedFilm:
    """A film of a worklist, and which film it is. It holds identifiers of a patient: it is never printed.

    Attributes:
        entry: Its place and result.
        source: Patient, study and film.
    """

    entry: WorklistEntry
    source: SourceFilm = field(repr=False)


@dataclass(frozen=True)
class StudyResults:
    """The films of one study, in their order.

    Attributes:
        films: One or more.
    """

    films: tuple[IdentifiedFilm, ...] = field(repr=False)

    @property
    def tags(self) -> "Dataset":
        """Patient and study, as the film says that comes first."""
        return self.films[0].source.dataset

    @property
    def entry(self) -> WorklistEntry:
        """The entry of the film that comes first, which is the study's place."""
        return self.films[0].entry

    def uid(self, device: DeviceFacts, *parts: str) -> str:
        """Returns an identifier of what a run says of this study, the same when it says the same again.

        Args:
            device: The run.
            *parts: What else tells one from another.
        """
        said = [f"{film.source.uid}={film.entry.result.key()}" for film in self.films]
        return derived_uid("message", device.fingerprint, self.films[0].source.study, *said, *parts)


def day(text: str) -> str:
    """Returns a date of a film, YYYYMMDD, if there is such a day; empty otherwise.

    Args:
        text: What the film says.

    Example:
        >>> day("20240229"), day("20250229"), day("")
        ('20240229', '', '')
    """
    try:
        datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return ""
    return text


def by_study(
    entries: Iterable[WorklistEntry], films: Mapping[str, Path]
) -> tuple[list[StudyResults], collections.Counter[str]]:
    """Returns results by study, studies in the order of their first films, and how many films have none, by reason.

    Args:
        entries: A worklist.
        films: The file of each film by its name in the results.

    Returns:
        The studies, and counts by reasons, sentences without patient text.
    """
    found: dict[tuple[str, str, str], list[IdentifiedFilm]] = {}
    left: collections.Counter[str] = collections.Counter()
    for entry in entries:
        if entry.file not in films:
            left["the film is not in the folder of films"] += 1
            continue
        try:
            source = read_source(films[entry.file])
        except FileNotFoundError:
            left["the film is gone"] += 1
        except NotDescribable as error:
            left[str(error).rstrip(".").replace("no DICOM object is made", "no message is made")] += 1
        else:
            tags = source.dataset
            if not tags.PatientID:
                left["the film has no Patient ID, by which a message finds its patient"] += 1
                continue
            whose = (source.study, str(tags.PatientID), str(tags.get("IssuerOfPatientID", "")))
            found.setdefault(whose, []).append(IdentifiedFilm(entry, source))
    return [StudyResults(tuple(each)) for each in found.values()], left
