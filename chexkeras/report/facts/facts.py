"""The numbers of a report, keyed: each fact knows its value, how it is printed, and where in the run it was read.

Templates may use facts only, so no number of a report is typed by hand.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from chexkeras import files
from chexkeras.checks import nearest
from chexkeras.results import Estimate

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

    def __repr__(self) -> str:
        return f"<Facts: {len(self)} numbers and texts of a run's report, by key>"

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


class _OfScores(Protocol):
    @property
    def scores_fingerprint(self) -> str: ...


StudyT = TypeVar("StudyT", bound=_OfScores)


def add_study(
    facts: Facts,
    key: str,
    study: StudyT | None,
    run: Any,
    *,
    file: str,
    made: str,
    fits: bool = True,
    also: tuple[str, str] | None = None,
) -> StudyT | None:
    """Records whether a run holds a study of its test scores, under `key`, and whether it is stale, under "key.stale".

    What was measured of other scores than those on file says nothing of the run, and is not shown.

    Args:
        facts: Where they go.
        key: Of the study, for example "robustness".
        study: As the run keeps it; None where there is none.
        run: The `Run`.
        file: The study's file in the run folder.
        made: What was done, in words, for example "whether heat maps were made".
        fits: Whether the study is of what is on file in all else, too.
        also: For what `fits` compares: the study's field, and the file that it is held against.

    Returns:
        The study where it may be shown, or else None.
    """
    from chexkeras.evaluation.scores import scores_fingerprint

    current = study is not None and fits and study.scores_fingerprint == scores_fingerprint(run.scores("test"))
    field, against = also or ("", "")
    source = file if study else "convention"
    facts.add(key, current, file=source, field=f"{made}, on the scores{field and f' and {field}'} on file")
    facts.add(
        f"{key}.stale",
        study is not None and not current,
        file=source,
        field=f"scores_fingerprint{field and f' and {field}'}, against scores_test.csv{against and f' and {against}'}",
    )
    return study if current else None


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
    return f"{estimate.confidence * 100:g} % CI {low}–{high}{_caution(estimate)}"


def _caution(estimate: Estimate) -> str:
    return f"; {estimate.caution}" if estimate.caution else ""


def estimate_text(estimate: Estimate) -> str:
    """Returns, for example, "0.893 (95 % CI 0.718–0.977; n = 28)", or why there is no number."""
    if not estimate.estimable:
        return f"not estimable ({estimate.reason or 'no reason given'})"
    return f"{estimate.value:.3f} ({interval_text(estimate)}; n = {estimate.n:,})"


def difference_text(estimate: Estimate) -> str:
    """Returns, for example, "-0.120 (95 % CI -0.181 to -0.052)", or why there is no number."""
    if not estimate.estimable:
        return f"not estimable ({estimate.reason or 'no reason given'})"
    # Plus zero: what rounds to nothing has no sign to lose.
    low, value, high = (f"{round(number, 3) + 0.0:+.3f}" for number in (estimate.low, estimate.value, estimate.high))
    return f"{value} ({estimate.confidence * 100:g} % CI {low} to {high}{_caution(estimate)})"


def percent(value: float, digits: int = 1) -> str:
    """Returns a fraction as a percentage, for example "24.5 %"."""
    return NOT_STATED if math.isnan(value) else f"{value * 100:.{digits}f} %"
