"""The run folder as a report reads it: what must be there, its JSON files by path, and its scores once."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras.checks import existing_folder, typed_path
from chexkeras.report.facts.facts import Facts
from chexkeras.runs.run_files import RunFiles

MODEL = "model.keras"

REQUIRED_FILES = (
    "recipe.json",
    "provenance.json",
    "stages.json",
    "history.csv",
    "splits.csv",
    "splits.json",
    "table.csv",
    "left_out.csv",
    "audit.json",
    MODEL,
    "scores_validation.csv",
    "scores_test.csv",
    "operating_points.json",
    "evaluation.json",
)
"""What a report cannot do without. The model is not opened: only its fingerprint is checked. No image is needed."""


class Documents:
    """The JSON files of a run, read by path, so that what a fact says of its origin is true by construction."""

    def __init__(self, run: Any) -> None:
        self._documents: dict[str, Any] = {
            "recipe.json": run.recipe.to_dict(),
            "provenance.json": run.provenance,
            "stages.json": list(run.stages),
            "operating_points.json": [point.to_dict() for point in run.operating_points],
            "evaluation.json": run.evaluation.to_dict(),
            "audit.json": run.audit,
        }

    def pick(self, file: str, path: str, default: Any = ...) -> Any:
        """Returns what lies at `path`, for example "findings[0].sensitivity".

        Args:
            file: One of the run's JSON files.
            path: Names joined by dots, positions in brackets; "" for the whole document.
            default: What to return when it is not there; without it that is an error.

        Raises:
            ValueError: If it is not there and no default is given.
        """
        found = self._documents[file]
        for name, position in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
            try:
                found = found[int(position)] if position else found[name]
            except (KeyError, IndexError, TypeError) as error:
                if default is not ...:
                    return default
                raise ValueError(
                    f"{file} of the run has no field {path!r}; was it written by another version? Train again."
                ) from error
        return found

    def add(self, facts: Facts, key: str, file: str, path: str, text: str | None = None, default: Any = ...) -> Any:
        """Picks a value, records it as a fact under its own path, and returns it."""
        value = self.pick(file, path, default)
        facts.add(key, value, text, file=file, field=path)
        return value


class ReadOnce:
    """A run whose scores are read from disk once, however many sections ask for them; nobody may change them.

    Args:
        run: A `Run`; what is not about scores is asked of it.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self._scores: dict[str, pd.DataFrame] = {}

    def scores(self, part: str) -> pd.DataFrame:
        """Returns the scores of a part, as `Run.scores`."""
        if part not in self._scores:
            self._scores[part] = self._run.scores(part)
        return self._scores[part]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)


def check_complete(folder: str | Path, *, without_model: bool = False) -> Path:
    """Returns the run folder if every file that a report needs is there.

    Args:
        folder: The run folder.
        without_model: Whether the model file may be missing.

    Raises:
        FileNotFoundError: If the folder or one of its files is missing; the message names the files, or says that the
            run has no test part.
    """
    found = existing_folder(typed_path(folder, "run folder"), "run folder")
    missing = [name for name in REQUIRED_FILES if not (found / name).is_file()]
    if without_model and MODEL in missing:
        missing.remove(MODEL)
    if missing:
        RunFiles(found).refuse_what_has_no_test_part(*missing)
        spared = (
            " Where the model cannot be had, without_model=True (chexkeras report --without-model) takes its "
            "fingerprint from provenance.json."
        )
        raise FileNotFoundError(
            f"the run folder {str(found)!r} lacks {', '.join(missing)}; a report needs every file that training "
            f"writes. Copy the whole folder, or train again.{spared if MODEL in missing else ''}"
        )
    return found
