"""The table of out-of-fold scores: every image scored by models that have not seen its patient, checked once.

One row for each image, finding, repeat and seed. A repeat is one division of the patients into folds, a seed one
training of all its folds; the folds of a repeat are the same for every seed, so that seeds can be told from folds.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.evaluation.scores import COLUMNS, Scores, one_class

FOLD_COLUMNS = (*COLUMNS, "repeat", "fold", "seed", "threshold")
"""Columns of a table of out-of-fold scores: those of `scores.COLUMNS`; `repeat`, `fold` and `seed`, whole numbers; and
`threshold`, frozen on the fold's own validation part, NaN where there is none."""

FILE = "out_of_fold.csv"
"""The table in the folder of a cross-validation."""

_FIX = "A table of out-of-fold scores has one row for each image, finding, repeat and seed; cross_validate writes one."
_NUMBERS = ("repeat", "fold", "seed")
_NAMED = 5


@checked
@dataclass(frozen=True, eq=False)
class FindingFolds:
    """The out-of-fold scores of one finding, images whose label is known in the order of their names.

    Attributes:
        finding: Its name.
        image_id: Shape (n,), text.
        patient_id: Shape (n,), text.
        positive: Shape (n,), labels.
        score: Shape (repeats, seeds, n), in [0, 1].
        fold: Shape (repeats, n), the fold in which each image was tested, 0, 1, ...
        threshold: Shape (repeats, seeds, n), that of the image's fold; NaN where there is none.
        names: For each repeat the numbers that its folds have in the table.
    """

    finding: str
    image_id: NDArray[np.object_]
    patient_id: NDArray[np.object_]
    positive: NDArray[np.bool_]
    score: NDArray[np.float64]
    fold: NDArray[np.int64]
    threshold: NDArray[np.float64]
    names: tuple[tuple[int, ...], ...]

    @property
    def n_trainings(self) -> int:
        """Trainings of all folds: repeats times seeds."""
        return int(self.score.shape[0] * self.score.shape[1])

    @property
    def n_folds(self) -> tuple[int, ...]:
        """Folds of each repeat."""
        return tuple(map(len, self.names))

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """Shape (n,), patient numbers 0, 1, ... in the order of their names."""
        return np.unique(self.patient_id.astype(str), return_inverse=True)[1].astype(np.int64)

    def unmeasurable(self) -> str:
        """Returns why the finding cannot be measured within every fold, "" where it can."""
        n_positive = int(self.positive.sum())
        if n_positive in (0, len(self.positive)):
            return one_class(n_positive, len(self.positive) - n_positive)
        for repeat, names in enumerate(self.names):
            for number, name in enumerate(names):
                rows = self.fold[repeat] == number
                found = int(self.positive[rows].sum())
                if found in (0, int(rows.sum())):
                    where = f"fold {name}" + (f" of repeat {repeat + 1}" if len(self.names) > 1 else "")
                    return f"{where} has {one_class(found, int(rows.sum()) - found)}; take fewer folds"
        return ""


@checked
@dataclass(frozen=True, eq=False)
class FoldScores:
    """A table of out-of-fold scores that was checked.

    Attributes:
        findings: The scores of each finding by its name, in order of appearance.
        repeats: Numbers of the repeats, ascending.
        seeds: Numbers of the seeds, ascending.
        n_folds: Folds of every repeat.
        n_images: Images in the table.
        patients: Names of its patients, sorted.
        fingerprint: SHA-256 of the rows, in any order.
    """

    findings: dict[str, FindingFolds]
    repeats: tuple[int, ...]
    seeds: tuple[int, ...]
    n_folds: int
    n_images: int
    patients: NDArray[np.str_]
    fingerprint: str

    @classmethod
    def of(cls, table: pd.DataFrame) -> "FoldScores":
        """Returns the scores of a table, or says in one sentence what is wrong with it.

        Args:
            table: With `FOLD_COLUMNS`; further columns are left out.

        Raises:
            TypeError: If it is not a pandas DataFrame.
            ValueError: If columns are missing; a number of a repeat, fold or seed is no whole number of at least 0; a
                patient is in two folds of a repeat; rows are missing or twice; labels, patients or folds differ where
                they must not; a fold has several thresholds of one finding; or see `Scores.of`.
        """
        if not isinstance(table, pd.DataFrame):
            raise TypeError(f"the table is a {type(table).__name__}; a pandas DataFrame was expected. {_FIX}")
        checks.require_columns(table, FOLD_COLUMNS, "the table of out-of-fold scores", _FIX)
        if table.empty:
            raise ValueError(f"the table of out-of-fold scores has no rows. {_FIX}")
        numbers = {name: _whole(table[name], name) for name in _NUMBERS}
        # Each training by itself is a plain table of scores: labels, identifiers and probabilities are checked there.
        training = pd.MultiIndex.from_arrays([numbers["repeat"], numbers["seed"]])
        codes, trainings = pd.factorize(training, sort=True)
        repeats, seeds = (tuple(sorted({int(pair[at]) for pair in trainings})) for at in (0, 1))
        if len(trainings) < len(repeats) * len(seeds):
            there = {(int(repeat), int(seed)) for repeat, seed in trainings}
            lacking = next((r, s) for r in repeats for s in seeds if (r, s) not in there)
            raise ValueError(f"repeat {lacking[0]} has no rows of seed {lacking[1]}; every repeat needs every seed.")
        plain = table[list(COLUMNS)].reset_index(drop=True)
        frame = pd.concat(
            [_scores_of(plain[codes == code], *trainings[code]) for code in range(len(trainings))]
        ).sort_index(kind="stable")
        frame = pd.DataFrame(frame).assign(**numbers, threshold=_thresholds(table["threshold"]))
        _refuse_patients_in_two_folds(frame)
        findings = {str(name): _finding(rows, str(name), repeats, seeds)
                    for name, rows in frame.groupby("finding", sort=False)}  # fmt: skip
        fingerprint = files.sha256_table(
            frame.assign(**{name: [repr(float(x)) for x in frame[name]] for name in ("label", "score", "threshold")})
        )
        counts = sorted({count for each in findings.values() for count in each.n_folds})
        if len(counts) > 1:
            raise ValueError(
                f"repeats have {' and '.join(map(str, counts))} folds; a mean over repeats needs as many folds in each."
            )
        patients = np.unique(frame["patient_id"].to_numpy(dtype=object).astype(str))
        return cls(findings, repeats, seeds, counts[0], int(frame["image_id"].nunique()), patients, fingerprint)

    def numbers_of(self, scores: FindingFolds) -> NDArray[np.int64]:
        """Returns the patient of each image as its place in `patients`, the same for all findings.

        Args:
            scores: Of one finding.
        """
        return np.searchsorted(self.patients, scores.patient_id.astype(str)).astype(np.int64)


@checked
def read_out_of_fold(path: str | Path) -> pd.DataFrame:
    """Reads a table of out-of-fold scores, every float exactly as it was written.

    Args:
        path: The file, or the folder of a cross-validation, which has it as ``out_of_fold.csv``.

    Returns:
        The table as `FoldScores.of` takes it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such table.
    """
    given = checks.typed_path(path, "out_of_fold")
    found = checks.existing_file(given / FILE if given.is_dir() else given, "out_of_fold")
    file = files.readable(found, files.MOST_TABLE_BYTES)
    try:
        table = files.read_csv(file, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.name} is no CSV of out-of-fold scores ({error}). {_FIX}") from error
    checks.require_columns(table, FOLD_COLUMNS, file.name, _FIX)
    for name in ("label", "score", "threshold", *_NUMBERS):
        try:
            table[name] = [float(text) if text not in ("", "NA", "nan") else math.nan for text in table[name]]
        except ValueError as error:
            raise ValueError(f"{file.name}: the {name} column is not numeric ({error}).") from error
    return table


def _whole(values: pd.Series, name: str) -> NDArray[np.int64]:
    numbers = checks.numbers(values.to_numpy(), name)
    strange = ~np.isfinite(numbers) | (numbers % 1 != 0) | (numbers < 0) | (numbers > 2**62)
    if strange.any():
        raise ValueError(
            f"the {name} column of the table of out-of-fold scores holds {numbers[strange][0]:g}; whole numbers of at "
            "least 0 were expected."
        )
    return numbers.astype(np.int64)


def _thresholds(values: pd.Series) -> NDArray[np.float64]:
    numbers = checks.numbers(values.to_numpy(), "threshold")
    strange = ~np.isnan(numbers) & ~((numbers >= 0) & (numbers <= 1))
    if strange.any():
        raise ValueError(
            f"the threshold column of the table of out-of-fold scores holds {numbers[strange][0]:g}; thresholds lie "
            "between 0 and 1, NaN where there is none."
        )
    return numbers


def _scores_of(rows: pd.DataFrame, repeat: int, seed: int) -> pd.DataFrame:
    try:
        checked_rows = Scores.of(rows)
    except ValueError as error:
        raise ValueError(f"repeat {repeat}, seed {seed}: {error}") from error
    return pd.DataFrame(checked_rows).set_axis(rows.index)


def _refuse_patients_in_two_folds(frame: pd.DataFrame) -> None:
    placed = frame[["repeat", "patient_id", "fold"]].drop_duplicates()
    twice = placed[placed.duplicated(["repeat", "patient_id"])]
    if twice.empty:
        return
    names = list(dict.fromkeys(twice["patient_id"]))
    repeat = int(twice["repeat"].iloc[0])
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    raise ValueError(
        f"{len(names)} patient(s) are in two folds of a repeat, so that models have seen patients they are tested on: "
        f"{', '.join(names[:_NAMED])}{more} (first in repeat {repeat}); divide by patient, the same way for every seed "
        "of a repeat."
    )


def _finding(rows: pd.DataFrame, finding: str, repeats: Iterable[int], seeds: Iterable[int]) -> FindingFolds:
    repeats, seeds = list(repeats), list(seeds)
    images = np.unique(rows["image_id"].to_numpy(dtype=object).astype(str)).astype(object)
    shape = (len(repeats), len(seeds), len(images))
    if len(rows) != math.prod(shape):
        counted = (
            rows.groupby(["repeat", "seed"]).size().reindex(pd.MultiIndex.from_product([repeats, seeds]), fill_value=0)
        )
        least: Any = counted.idxmin()
        (repeat, seed), found = least, int(counted.min())
        raise ValueError(
            f"{finding}: repeat {repeat}, seed {seed} scores {found:,} of {len(images):,} images; every image needs "
            "one score in every repeat and of every seed."
        )
    ordered = rows.sort_values(["repeat", "seed", "image_id"], kind="stable")
    label, score, threshold = (ordered[name].to_numpy(float).reshape(shape) for name in ("label", "score", "threshold"))
    patient = ordered["patient_id"].to_numpy(dtype=object).reshape(shape)
    fold = ordered["fold"].to_numpy(np.int64).reshape(shape)
    for name, values in (("labels", np.nan_to_num(label, nan=-1.0)), ("patients", patient)):
        differing = np.flatnonzero((values != values[:1, :1]).any(axis=(0, 1)))
        if len(differing):
            raise ValueError(
                f"{finding}: {len(differing)} image(s) have other {name} in another repeat or seed, first "
                f"{images[differing[0]]}; all rows of an image must agree."
            )
    moved = np.flatnonzero((fold != fold[:, :1]).any(axis=(0, 1)))
    if len(moved):
        raise ValueError(
            f"{finding}: {len(moved)} image(s) are in another fold with another seed of one repeat, first "
            f"{images[moved[0]]}; a repeat has the same folds for every seed."
        )
    known = ~np.isnan(label[0, 0])
    names, codes = [], np.empty((len(repeats), int(known.sum())), dtype=np.int64)
    for at in range(len(repeats)):
        # Folds are those of all images: one in which no label is known is a fold all the same.
        numbers = np.unique(fold[at, 0])
        names.append(tuple(map(int, numbers)))
        codes[at] = np.searchsorted(numbers, fold[at, 0][known])
        for number in numbers:
            within = np.nan_to_num(threshold[at][:, fold[at, 0] == number], nan=-1.0)
            if (within != within[:, :1]).any():
                raise ValueError(
                    f"{finding}: fold {number} of repeat {repeats[at]} has several thresholds of one training; each is "
                    "frozen once for a fold."
                )
        if len(numbers) < 2:
            raise ValueError(
                f"{finding}: repeat {repeats[at]} has one fold only; cross-validation needs at least two, or measure "
                "the scores with evaluate."
            )
    return FindingFolds(
        finding, images[known], patient[0, 0][known], label[0, 0][known] == 1, score[:, :, known], codes,
        threshold[:, :, known], tuple(names),
    )  # fmt: skip
