"""Where an image table came from, what was left out of it, and what a reader must be told beside its numbers."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

SYNTHETIC_CAUTION = "Synthetic films, not clinical evidence."


@dataclass(frozen=True)
class TableSource:
    """The origin of an image table; travels in ``table.attrs["source"]``.

    Attributes:
        dataset: The data set's name.
        label_release: Which release of the labels, for example "2020 revision".
        files: (file name, SHA-256) of every file the table was read from.
        synthetic: Whether the films are phantoms.
        cautions: Sentences shown wherever a number from this table is shown.
        left_out: (image_id, reason) of every row the loader dropped.
        implausible_ages: How many ages were impossible and became NaN.
        contradictory: image_ids labelled both "No Finding" and with a finding; the finding is kept, the audit tells.
    """

    dataset: str
    label_release: str = "not stated"
    files: tuple[tuple[str, str], ...] = ()
    synthetic: bool = False
    cautions: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    implausible_ages: int = 0
    contradictory: tuple[str, ...] = field(default=(), repr=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> "TableSource":
        """Returns itself: pandas deep-copies `attrs` at every step, and this never changes."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values; of what was left out, the count."""
        return {
            "dataset": self.dataset,
            "label_release": self.label_release,
            "files": dict(self.files),
            "synthetic": self.synthetic,
            "cautions": list(self.cautions),
            "left_out": len(self.left_out),
            "implausible_ages": self.implausible_ages,
            "contradictory": len(self.contradictory),
        }


def source_of(table: pd.DataFrame) -> TableSource:
    """Returns the table's source, or a neutral one for a table that carries none."""
    source = table.attrs.get("source")
    return source if isinstance(source, TableSource) else TableSource(dataset="own table")
