"""A film in the spool: where it is, and what its folder holds."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILM, RESULTS, SENT, RECORD = "film.dcm", "results", "sent", "record.json"
"""The film as it came, the results that are to be sent, those that were, and what is known of its scoring."""


@dataclass(frozen=True)
class SpooledFilm:
    """A film in the spool.

    Attributes:
        name: Keyed hash of its SOP instance UID, 32 hexadecimal digits.
        folder: Where it is now.
        received: When it came, seconds since 1970.
        attempts: How often its scoring was cut short.
    """

    name: str
    folder: Path
    received: float
    attempts: int = 0

    @property
    def path(self) -> Path:
        """The film itself, a DICOM file."""
        return self.folder / FILM

    @property
    def results(self) -> Path:
        """The folder of results that are to be sent."""
        return self.folder / RESULTS

    @property
    def record(self) -> dict[str, Any]:
        """What `Spool.commit` was given."""
        return json.loads((self.folder / RECORD).read_text(encoding="utf-8"))

    @property
    def unsent(self) -> list[Path]:
        """The results that are yet to be sent."""
        return sorted(self.results.glob("*.dcm"))

    @property
    def sent_count(self) -> int:
        """How many results were sent."""
        return sum(1 for _ in (self.folder / SENT).glob("*.dcm"))
