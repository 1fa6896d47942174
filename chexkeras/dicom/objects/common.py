"""What all objects share: the library that builds them, their series, and files that only the owner can read."""

import contextlib
import dataclasses
import importlib
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras import files
from chexkeras.dicom import privacy
from chexkeras.dicom.objects.source import NotDescribable, SourceFilm
from chexkeras.dicom.objects.told import DeviceFacts, FilmResult
from chexkeras.dicom.objects.uids import derived_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LONGEST_TEXT = 64


def highdicom(module: str = "") -> Any:
    """Returns the library highdicom, or one of its modules.

    Args:
        module: Name below the library, such as "sr"; "" for the library.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        with privacy.quiet():
            return importlib.import_module(f"highdicom.{module}".rstrip("."))
    except ImportError as error:
        raise ValueError(
            "DICOM objects need highdicom, which is not installed; install it with: pip install 'chexkeras[dicom-out]'"
        ) from error


@dataclasses.dataclass(frozen=True)
class SeriesOf:
    """Which series an object of a kind stands in, the same for all films of a study and all runs of a device.

    Attributes:
        kind: "sr", "sc" or "pr".
        number: The series' number.
        description: What the series is called, behind the device's mark.
    """

    kind: str
    number: int
    description: str

    def identity(self, film: SourceFilm, device: DeviceFacts, result: FilmResult, settings: str = "") -> dict[str, Any]:
        """Returns what highdicom is given to identify an object.

        Args:
            film: The film.
            device: The device.
            result: What it says of the film.
            settings: What else tells one object of the film from another.
        """
        mark = "" if device.authorisation else f"{device.mark}: "
        return {
            "series_instance_uid": derived_uid("series", device.fingerprint, film.study, self.kind),
            "series_number": self.number,
            "sop_instance_uid": derived_uid(
                *("instance", device.fingerprint, film.study, film.series, film.uid, self.kind, result.key(), settings)
            ),
            "instance_number": film.number,
            "manufacturer": device.manufacturer[:_LONGEST_TEXT],
            "manufacturer_model_name": device.name[:_LONGEST_TEXT],
            # The program, and the libraries that build and write the object.
            "software_versions": (
                device.version[:_LONGEST_TEXT],
                *(f"{name} {importlib.metadata.version(name)}" for name in ("highdicom", "pydicom")),
            ),
            "device_serial_number": device.fingerprint[:_LONGEST_TEXT],
            "series_description": f"{mark}{self.description}"[:_LONGEST_TEXT],
            "content_qualification": "PRODUCT" if device.authorisation else "RESEARCH",
        }


@contextlib.contextmanager
def of_known_class(film: SourceFilm) -> Iterator[None]:
    """Holds while an object is built that takes over what belongs to patient and study, looked up by the film's kind.

    Args:
        film: The film.

    Raises:
        NotDescribable: If the film's kind is none that the library knows.
    """
    try:
        yield
    except KeyError as error:
        if error.args != (film.dataset.SOPClassUID,):
            raise
        unknown = NotDescribable("the film's kind (SOP class) is none that is known; no DICOM object is made of it.")
        raise unknown from None


def save_object(dataset: "Dataset", folder: Path) -> Path:
    """Writes an object, whole or not at all, readable by its owner alone.

    Args:
        dataset: The object.
        folder: Where to; made, for its owner alone, if it is not there.

    Returns:
        The file, named by the object's SOP instance UID.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    destination = folder / f"{dataset.SOPInstanceUID}.dcm"
    with (
        privacy.quiet(),
        files.replacing(destination, owner_only=True) as temporary,
        temporary.open("wb") as handle,
    ):
        dataset.save_as(handle, enforce_file_format=True)
        handle.flush()
        # A node may tell a sender that the result is safe.
        os.fsync(handle.fileno())
    return destination
