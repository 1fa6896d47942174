"""Where an image table came from, what was left out of it, and what a reader must be told beside its numbers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras import files

SYNTHETIC_CAUTION = "Synthetic films, not clinical evidence."
CASE_CONTROL_CAUTION = (
    "Prevalence was set when the films were made (a case-control sample): predictive values and calibration do not "
    "carry over to other populations."
)
PHANTOM_FILE = "PHANTOM.json"
"""The file that marks a folder's films as synthetic."""


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
        views: Which views were loaded, for example "frontal"; "" where the loader does not choose.
        uncertain_policy: (finding, policy) of every finding whose uncertain labels had to be settled.
        blank_policy: What a blank label became, "negative" or "unknown"; "" where there is no such choice.
    """

    dataset: str
    label_release: str = "not stated"
    files: tuple[tuple[str, str], ...] = ()
    synthetic: bool = False
    cautions: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    implausible_ages: int = 0
    contradictory: tuple[str, ...] = field(default=(), repr=False)
    views: str = ""
    uncertain_policy: tuple[tuple[str, str], ...] = ()
    blank_policy: str = ""

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
            "views": self.views,
            "uncertain_policy": dict(self.uncertain_policy),
            "blank_policy": self.blank_policy,
        }


def source_of(table: pd.DataFrame) -> TableSource:
    """Returns the table's source, or a neutral one for a table that carries none."""
    source = table.attrs.get("source")
    return source if isinstance(source, TableSource) else TableSource(dataset="own table")


def phantom_cautions(marker: Path) -> tuple[str, ...]:
    """Returns what must be said of phantoms, given the file that marks their folder."""
    made = files.read_json(marker)
    parameters = made.get("parameters", {}) if isinstance(made, dict) else {}
    enriched = bool(parameters.get("prevalence"))
    return (SYNTHETIC_CAUTION, CASE_CONTROL_CAUTION) if enriched else (SYNTHETIC_CAUTION,)
