"""The numbers of a report, keyed: each fact knows its value, how it is printed, and where in the run it was read.

Templates may use facts only, so no number of a report is typed by hand.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras import files
from chexkeras.checks import existing_folder, nearest, one_of
from chexkeras.report.answers import FILE as ANSWERS_FILE
from chexkeras.report.answers import Answers
from chexkeras.report.goals import PerformanceGoals
from chexkeras.results import Estimate

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
"""What a report cannot do without. The model is not opened: only its fingerprint is checked. No film is needed."""

NOT_STATED = "not stated"
NOT_RECORDED = "not recorded"
UNKNOWN_NUMBER = "an unknown number of"
"""What stands before "patients" where the image table names none."""


@dataclass(frozen=True)
class Fact:
    """One number or word of a report.

    Attributes:
        value: As read or computed.
        text: As printed.
        file: The file of the run folder it comes from; "submission.toml" (or the file that it names) for what the
            author stated; "regulation" for what law, guidance or a standard says; "convention" for what no run
            decides.
        field: Where in that file: a path such as "findings[0].sensitivity", or in words how it was computed.
    """

    value: Any
    text: str
    file: str
    field: str


class Facts(Mapping[str, Fact]):
    """Facts in the order in which they were collected, by key."""

    def __init__(self) -> None:
        self._facts: dict[str, Fact] = {}

    def __getitem__(self, key: str) -> Fact:
        """Returns a fact; a KeyError names the nearest keys."""
        if key not in self._facts:
            raise KeyError(f"no fact {key!r}; {nearest(key, self._facts)}")
        return self._facts[key]

    def __contains__(self, key: object) -> bool:
        return key in self._facts

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def add(self, key: str, value: Any, text: str | None = None, *, file: str, field: str) -> Fact:
        """Records a fact.

        Args:
            key: A dotted name, for example "test.Effusion.sensitivity".
            value: As read or computed; an Estimate, a plain value, or a list or dict of plain values.
            text: As printed; by default `printed` decides.
            file: Where it comes from.
            field: Where in that file.

        Raises:
            ValueError: If the key is taken.
        """
        if key in self._facts:
            raise ValueError(f"fact {key!r} is recorded twice; every key stands for one number.")
        self._facts[key] = Fact(value, printed(value) if text is None else text, file, field)
        return self._facts[key]

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Returns everything as plain values, for facts.json."""
        plain = {}
        for key, fact in self._facts.items():
            value = fact.value.to_dict() if isinstance(fact.value, Estimate) else fact.value
            plain[key] = {"value": value, "text": fact.text, "file": fact.file, "field": fact.field}
        return plain

    def save(self, path: str | Path) -> Path:
        """Writes the facts as JSON and returns the path."""
        return files.write_json(path, self.to_dict())


def printed(value: Any) -> str:
    """Returns a value as a report prints it: whole numbers with thousands commas, estimates with interval and n."""
    if isinstance(value, Estimate):
        return estimate_text(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_STATED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        # Small rates read as 0.00001, not as 1e-05.
        return f"{value:.4g}" if value == 0 or abs(value) >= 1e-4 else f"{value:.8f}".rstrip("0")
    if isinstance(value, (list, tuple)):
        return ", ".join(printed(item) for item in value)
    return str(value) or NOT_STATED


def interval_text(estimate: Estimate, *, scale: float = 1.0, digits: int = 3) -> str:
    """Returns, for example, "95 % CI 0.718–0.977"."""
    low, high = (f"{number * scale:.{digits}f}" for number in (estimate.low, estimate.high))
    return f"{estimate.confidence * 100:g} % CI {low}–{high}"


def estimate_text(estimate: Estimate) -> str:
    """Returns, for example, "0.893 (95 % CI 0.718–0.977; n = 28)", or why there is no number."""
    if not estimate.estimable:
        return f"not estimable ({estimate.reason or 'no reason given'})"
    return f"{estimate.value:.3f} ({interval_text(estimate)}; n = {estimate.n:,})"


def percent(value: float, digits: int = 1) -> str:
    """Returns a fraction as a percentage, for example "24.5 %"."""
    return NOT_STATED if math.isnan(value) else f"{value * 100:.{digits}f} %"


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
        FileNotFoundError: If the folder or one of its files is missing; the message names the files.
    """
    found = existing_folder(folder, "run folder")
    missing = [name for name in REQUIRED_FILES if not (found / name).is_file()]
    if without_model and MODEL in missing:
        missing.remove(MODEL)
    if missing:
        spared = (
            " Where the model cannot be had, without_model=True (chexkeras report --without-model) takes its "
            "fingerprint from provenance.json."
        )
        raise FileNotFoundError(
            f"the run folder {str(found)!r} lacks {', '.join(missing)}; a report needs every file that training "
            f"writes. Copy the whole folder, or train again.{spared if MODEL in missing else ''}"
        )
    return found


def collect_facts(
    run: Any,
    goals: PerformanceGoals | None = None,
    answers: Answers | None = None,
    *,
    without_model: bool = False,
) -> Facts:
    """Reads every number of the report from a run, and what its author stated.

    Args:
        run: A `Run`.
        goals: What performance is asked for; by default the goals in `answers`, or the conventional ones.
        answers: From `load_answers`; None for a report without answers.
        without_model: Whether the model file may be missing from the run folder.

    Returns:
        The facts, in the order of the report.

    Raises:
        FileNotFoundError: If a file of the run folder, or one that the answers name, is missing.
        ValueError: If a file lacks a field, or the answers do not fit the run.
    """
    from chexkeras.report import (
        calibration_facts,
        comparison_facts,
        crosswalk_facts,
        data_facts,
        dicom_facts,
        integrity,
        performance_facts,
        planning_facts,
        reader_facts,
        regulation_facts,
        software_facts,
        subgroup_facts,
        training_facts,
        triage_facts,
    )

    folder = check_complete(run.folder, without_model=without_model)
    run = run if isinstance(run, ReadOnce) else ReadOnce(run)
    documents = Documents(run)
    splits = run.splits
    facts = Facts()
    stated = Answers() if answers is None else answers
    if goals is not None and stated.goals() is not None:
        raise ValueError(f"performance goals are given twice, by goals=... and in {ANSWERS_FILE}; give them once.")
    wanted = goals or stated.goals() or PerformanceGoals()
    evaluated = [entry.finding for entry in run.evaluation.findings]
    for finding in stated.prevalences:
        one_of(finding, evaluated, f"finding of [prevalence] in {ANSWERS_FILE}")
    for key, value in stated.values.items():
        facts.add(f"answer.{key}", value, file=ANSWERS_FILE, field=key)
    data_facts.add_provenance(facts, documents)
    data_facts.add_file_checks(facts, folder)
    integrity.add_split_check(facts, run, splits)
    data_facts.add_split(facts, documents, splits)
    data_facts.add_data(facts, documents, run.table, run.left_out)
    training_facts.add_training(facts, documents, run.history)
    performance_facts.add_performance(facts, documents, run, wanted)
    performance_facts.add_deployment(facts, run, stated)
    training_facts.add_intensities(facts, run)
    dicom_facts.add_dicom(facts, run.dicom_results, run.table)
    subgroup_facts.add_subgroups(facts, documents, run, wanted.fewest_positives)
    calibration_facts.add_calibration(facts, documents, run, stated)
    triage_facts.add_processing_time(facts, run.dicom_results)
    triage_facts.add_waiting(facts, stated)
    planning_facts.add_planning(facts, stated)
    comparison_facts.add_comparison(facts, run, stated)
    reader_facts.add_readers(facts, run, stated)
    software_facts.add_software(facts, documents, run)
    regulation_facts.add_regulation(facts)
    crosswalk_facts.add_crosswalk(facts)
    data_facts.add_cautions(facts, run)
    return facts
