"""The long table of scores: one row for each image and finding, checked once, identified by its fingerprint.

Rows are known by `image_id`, never by position, so scores cannot slip against their labels. A table is checked where it
enters (`Scores.of`); functions inside the library take `Scores` and do not check again. Statistics that take plain
arrays check them here too (`clean`, `patient_numbers`), once, at their edge.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.findings import plain_name
from chexkeras.results import OperatingPoint

COLUMNS = ("image_id", "patient_id", "finding", "label", "score")
"""Columns of a table of scores: `label` is 1, 0 or NaN (unknown), `score` a probability in [0, 1]."""

PART = "part"
"""Where a table of scores says in its ``attrs`` of which part of a run it is."""

Points = OperatingPoint | Iterable[OperatingPoint]
"""Frozen operating points, at most one for each finding."""

# What rounding in float32 may add to a probability; logits go far beyond it.
_ROUNDING = 1e-6

_FIX = "A table of scores has one row for each image and finding; chexkeras.models.predict_scores makes one."


class LabelledImages(NamedTuple):
    """The images of one finding whose label is known.

    Attributes:
        positive: Shape (n,), labels.
        score: Shape (n,), probabilities in [0, 1].
        patient: Shape (n,), the patient of each image, text.
    """

    positive: NDArray[np.bool_]
    score: NDArray[np.float64]
    patient: NDArray[np.object_]


@checked
class Scores(pd.DataFrame):
    """A long table of scores that was checked; to its user a DataFrame like any other.

    It has `COLUMNS` in this order; identifiers are text, no image is scored twice for one finding or belongs to two
    patients, labels are 1, 0 or NaN, scores lie in [0, 1]. `Scores.of` makes it. Rows chosen with a mask,
    ``scores[mask]``, and deep copies are `Scores` as well. Every other operation of pandas gives a plain DataFrame, and
    a table that was changed in place is checked again when it next meets `Scores.of`.

    Example:
        >>> table = Scores.of(pd.DataFrame({"image_id": ["a", "b"], "patient_id": ["p", "q"], "finding": "Edema",
        ...                                 "label": [1, 0], "score": [0.9, 0.2]}))
        >>> type(table[table["score"] > 0.5]).__name__, type(table[["image_id", "score"]]).__name__
        ('Scores', 'DataFrame')
    """

    # Not in pandas' `_metadata`, which it would hand on to the results of any operation.
    _checked = False

    @classmethod
    def of(cls, scores: pd.DataFrame) -> "Scores":
        """Returns the table of scores with its columns in order and clean types, or says what is wrong with it.

        Args:
            scores: The table; further columns are left out. `Scores` are returned as they are.

        Returns:
            Identifiers as str, each written in one way (see `checks.identifiers`: 1, 1.0 and "1 " are "1"), label and
            score as float64; a score that rounding has put just outside [0, 1] is drawn to its end.

        Raises:
            TypeError: If it is not a pandas DataFrame.
            ValueError: If columns are missing, there is no row, an identifier is missing or could be one or two (the
                texts "1" and "1.0", of patients "001" and "1" too), an image is scored twice for one finding or
                belongs to two patients, a label is not 1/0/NaN, a score is not a probability, or a finding has a name
                that cannot be shown (`findings.plain_name`).
        """
        if isinstance(scores, cls) and scores._checked and tuple(scores.columns) == COLUMNS and len(scores):
            return scores
        if not isinstance(scores, pd.DataFrame):
            raise TypeError(f"scores is a {type(scores).__name__}; a pandas DataFrame was expected. {_FIX}")
        checks.require_columns(scores, COLUMNS, "the table of scores", _FIX)
        if scores.empty:
            raise ValueError(f"the table of scores has no rows. {_FIX}")
        columns: dict[str, pd.Series] = {
            column: pd.Series(check(scores[column], column), index=scores.index)
            for column, check in zip(COLUMNS, (checks.identifiers, checks.patient_identifiers), strict=False)
        }
        columns["finding"] = scores["finding"]
        for column, values in columns.items():
            missing = int((values.isna() | (values.astype(str) == "")).sum())
            if missing:
                raise ValueError(f"{missing} row(s) of the table of scores have no {column}; every row needs one.")
            columns[column] = values.astype(str)
        columns |= {column: _floats(scores, column) for column in COLUMNS[3:]}
        clean = pd.DataFrame(columns).reset_index(drop=True)
        repeated = clean[clean.duplicated(["image_id", "finding"])]
        if len(repeated):
            first = repeated.iloc[0]
            raise ValueError(
                f"{len(repeated)} row(s) score an image twice for one finding, first {first['image_id']} for "
                f"{first['finding']}; score every image once."
            )
        owners = clean[["image_id", "patient_id"]].drop_duplicates()
        shared = owners.loc[owners.duplicated("image_id"), "image_id"]
        if len(shared):
            raise ValueError(f"{len(shared)} image(s) belong to two patients, first {shared.iloc[0]}; fix patient_id.")
        for finding, part in clean.groupby("finding", sort=False):
            plain_name(str(finding))
            known_labels(part["label"].to_numpy(), f"{finding}: ")
            check_values(part["score"].to_numpy(), f"{finding}: ", probabilities=True)
        clean["score"] = clean["score"].clip(0.0, 1.0)
        clean.attrs = {PART: scores.attrs[PART]} if isinstance(scores.attrs.get(PART), str) else {}
        return cls._from(clean, checked=True)

    @property
    def part(self) -> str:
        """The part of a run that these scores, or those that they were chosen from, are of; empty where unknown."""
        return str(self.attrs.get(PART, ""))

    def as_part(self, part: str) -> "Scores":
        """Returns these scores as those of a part, which goes with whatever rows of them are chosen.

        Args:
            part: "validation" or "test".
        """
        named = self._from(self.copy(), checked=self._checked)
        named.attrs[PART] = part
        return named

    @classmethod
    def _from(cls, rows: pd.DataFrame, *, checked: bool) -> "Scores":
        made = cls(rows)
        made.attrs = dict(rows.attrs)
        made._checked = checked
        return made

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings, in order of appearance."""
        return tuple(str(name) for name in self["finding"].unique())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of these rows, see `scores_fingerprint`."""
        return scores_fingerprint(self)

    def of_finding(self, finding: str) -> "Scores":
        """Returns the rows of one finding, none if it was not scored."""
        return self[self["finding"].to_numpy() == finding]

    def by_finding(self) -> dict[str, "Scores"]:
        """Returns the rows of each finding, in order of appearance."""
        return {finding: self.of_finding(finding) for finding in self.findings}

    def only_finding(self, finding: str | None, needed_for: str) -> str:
        """Returns the finding that is meant: the one named, or the only one there is.

        Args:
            finding: Its name; None where the table has one finding only.
            needed_for: What every finding has for itself, for the message, for example "threshold".

        Raises:
            ValueError: If it was not scored, or is not named although there are several.
        """
        if finding is not None:
            return checks.one_of(finding, self.findings, "finding")
        if len(self.findings) > 1:
            raise ValueError(
                f"the table holds {len(self.findings)} findings ({', '.join(self.findings)}); name one with "
                f"finding=..., since every finding has its own {needed_for}."
            )
        return self.findings[0]

    def labelled(self) -> "Scores":
        """Returns the rows whose label is known."""
        return self[self["label"].notna().to_numpy()]

    def arrays(self) -> LabelledImages:
        """Returns labels, scores and patients of the rows whose label is known."""
        known = self.labelled()
        return LabelledImages(
            known["label"].to_numpy() == 1, known["score"].to_numpy(), known["patient_id"].to_numpy(dtype=object)
        )

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def copy(self, deep: bool = True) -> pd.DataFrame:  # type: ignore[misc, override]
        """Returns a copy: `Scores` again, or with ``deep=False`` a plain DataFrame of the same memory."""
        made = super().copy(deep=deep)
        return Scores._from(made, checked=self._checked) if deep else made

    def __getitem__(self, key: Any) -> Any:
        """Returns a column, several columns, or rows; rows chosen with a mask are `Scores`."""
        found = super().__getitem__(key)
        if isinstance(found, pd.Series):
            # A column may share memory with the table; what is done to it must not reach the checked values.
            return found.copy()
        mask = isinstance(key, (pd.Series, np.ndarray)) and key.dtype == bool
        return Scores._from(found, checked=self._checked) if mask and isinstance(found, pd.DataFrame) else found

    def __setitem__(self, key: Any, value: Any) -> None:
        self._checked = False
        super().__setitem__(key, value)

    def isetitem(self, loc: Any, value: Any) -> None:
        """Sets a column by its position; the table will be checked again."""
        self._checked = False
        super().isetitem(loc, value)

    def _update_inplace(self, *args: Any, **kwargs: Any) -> None:
        self._checked = False
        super()._update_inplace(*args, **kwargs)  # type: ignore[misc]


def _indexer(name: str) -> property:
    """Returns ``loc``, ``iloc``, ``at`` or ``iat`` of a DataFrame, writing through which asks for a new check."""
    plain: Any = type(getattr(pd.DataFrame(), name))

    def write(self: Any, key: Any, value: Any) -> None:
        self.obj._checked = False
        plain.__setitem__(self, key, value)

    kind = type(plain.__name__, (plain,), {"__setitem__": write})
    return property(lambda scores: kind(name, scores))


for _name in ("loc", "iloc", "at", "iat"):
    setattr(Scores, _name, _indexer(_name))


def _floats(scores: pd.DataFrame, column: str) -> pd.Series:
    try:
        return scores[column].astype("float64")
    except (TypeError, ValueError) as error:
        raise ValueError(f"the {column} column of the table of scores is not numeric ({error}).") from error


@checked
def read_scores(path: str | Path) -> Scores:
    """Reads a table of scores from CSV, every float exactly as it was written, and checks it.

    Args:
        path: A CSV file with at least `COLUMNS`.

    Returns:
        The clean table, see `Scores.of`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its contents are not a table of scores.
    """
    found = checks.existing_file(checks.typed_path(path, "scores"), "scores")
    file = files.readable(found, files.MOST_TABLE_BYTES)
    # As text first: a patient called "NA" is a patient, "00000001" keeps its zeros, and Python's own conversion gives
    # back the very float that was written, which pandas' fast one does not promise.
    try:
        table = files.read_csv(file, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{file.name} is empty. {_FIX}") from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.name} is no CSV in UTF-8 ({error}). {_FIX}") from error
    for column in {"label", "score"}.intersection(table.columns):
        try:
            table[column] = [float(text) if text not in ("", "NA") else math.nan for text in table[column]]
        except ValueError as error:
            raise ValueError(f"{file.name}: the {column} column is not numeric ({error}).") from error
    return Scores.of(table)


@checked
def write_scores(path: str | Path, scores: pd.DataFrame) -> Path:
    """Checks a table of scores and writes it as CSV with every digit, so that reading it gives the same fingerprint.

    Args:
        path: The destination.
        scores: The table.

    Returns:
        The path.

    Raises:
        ValueError: See `Scores.of`.
    """
    # float32 would be written with fewer digits than the same number has as float64.
    return files.write_csv(path, Scores.of(scores))


@checked
def scores_fingerprint(scores: pd.DataFrame) -> str:
    """Returns the SHA-256 that identifies scores with their labels, whatever the order of rows.

    Args:
        scores: Rows with image_id, label and score; of one finding, or of several with their `finding` column.

    Returns:
        64 hexadecimal digits, the same before and after a round trip through `write_scores` and `read_scores`.

    Raises:
        ValueError: If a column is missing.
    """
    checks.require_columns(scores, ("image_id", "label", "score"), "the table of scores", _FIX)
    columns = {"image_id": pd.Series(checks.identifiers(scores["image_id"], "image_id"), index=scores.index, dtype=str)}
    if "finding" in scores.columns and scores["finding"].nunique() > 1:
        columns["finding"] = scores["finding"].astype(str)
    for column in ("label", "score"):
        # repr of a Python float is its shortest exact form; pandas and numpy versions do not matter to it.
        columns[column] = pd.Series([repr(float(value)) for value in scores[column]], index=scores.index, dtype=str)
    return files.sha256_table(pd.DataFrame(columns))


def points_by_finding(
    points: Points, scores: Scores, doing: str, instead: str, *, model: str = ""
) -> dict[str, OperatingPoint]:
    """Returns frozen operating points by their finding, and refuses those that these very scores chose, or their part.

    Args:
        points: At most one for each finding.
        scores: What they are to be applied to; where they say of which part they are, rows left out change nothing.
        doing: What would be flattered, to complete the message.
        instead: What to do instead, to complete the message.
        model: Whose points they are, to begin the message; empty where there is one model only.

    Raises:
        ValueError: If a finding has several points, or the scores chose one.
    """
    frozen: dict[str, OperatingPoint] = {}
    for point in (points,) if isinstance(points, OperatingPoint) else points:
        if point.finding in frozen:
            whose = f"{model}: " if model else ""
            raise ValueError(f"{whose}{point.finding} has more than one operating point; give one for each finding.")
        rows = scores.of_finding(point.finding)
        same = bool(point.scores_fingerprint) and point.scores_fingerprint == rows.fingerprint
        if same or point.chosen_on == scores.part != "":
            whose = f"{model}, " if model else ""
            those = "these very scores" if same else "the part that these scores are of"
            raise ValueError(
                f"{whose}{point.finding}: the threshold was chosen on {those} ({point.chosen_on}), so "
                f"{doing} would flatter it; {instead}."
            )
        frozen[point.finding] = point
    return frozen


def known_labels(labels: NDArray[np.float64], where: str = "") -> NDArray[np.bool_]:
    """Returns which labels are known, and refuses what is neither 1, 0 nor NaN.

    Args:
        labels: Shape (n,).
        where: Begins the message, for example "Pneumonia: ".

    Returns:
        Shape (n,), False where the label is NaN.

    Raises:
        ValueError: If a label is something else.
    """
    known = ~np.isnan(labels)
    strange = known & (labels != 0) & (labels != 1)
    if strange.any():
        raise ValueError(
            f"{where}labels must be 1, 0 or NaN (unknown); found {labels[strange][0]:g} in {int(strange.sum())} "
            "row(s). Map uncertain labels to 1, 0 or NaN first."
        )
    return known


def check_values(scores: NDArray[np.float64], where: str = "", *, probabilities: bool) -> NDArray[np.float64]:
    """Returns scores, and refuses those that are not finite or, with `probabilities`, not in [0, 1].

    A softmax in float32 ends at 1.0000001: what rounding has put just outside [0, 1] is drawn to its end.

    Args:
        scores: Shape (n,).
        where: Begins the message, for example "Pneumonia: ".
        probabilities: Whether scores must lie in [0, 1], give or take 1e-6.

    Returns:
        Shape (n,), the scores; with `probabilities` none outside [0, 1].

    Raises:
        ValueError: If one is refused.
    """
    broken = int((~np.isfinite(scores)).sum())
    if broken:
        raise ValueError(
            f"{where}{broken} of {len(scores)} scores are NaN or infinite; the model's output is broken "
            "(diverged training or damaged weights): score again."
        )
    if not probabilities or not len(scores) or (scores.min() >= 0 and scores.max() <= 1):
        return scores
    if scores.min() < -_ROUNDING or scores.max() > 1 + _ROUNDING:
        raise ValueError(
            f"{where}scores run from {scores.min():g} to {scores.max():g} and look like logits; probabilities in "
            "[0, 1] are expected: apply a sigmoid."
        )
    return scores.clip(0.0, 1.0)


def one_column(labels: ArrayLike, values: ArrayLike, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns labels and what goes with them as float64, or says why they do not belong together.

    Args:
        labels: Shape (n,).
        values: Shape (n,).
        name: What the values are called, for the message.

    Raises:
        ValueError: If shapes differ, nothing is given, or they are no numbers.
    """
    label, value = checks.numbers(labels, "labels"), checks.numbers(values, name)
    if label.ndim != 1 or label.shape != value.shape:
        raise ValueError(
            f"labels have shape {label.shape} and {name} {value.shape}; both must be one column of equal length, "
            "one finding at a time."
        )
    if not len(label):
        raise ValueError(f"labels and {name} are empty; at least one row is needed.")
    return label, value


def clean(
    labels: ArrayLike, scores: ArrayLike, *, probabilities: bool = False
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    """Validates labels and scores and takes out the rows whose label is unknown.

    Args:
        labels: Shape (n,), 1, 0 or NaN (unknown).
        scores: Shape (n,), finite; higher means more likely positive.
        probabilities: Whether scores must also lie in [0, 1], give or take 1e-6; those just outside are drawn to its
            ends.

    Returns:
        Labels as booleans, scores as float64, both of the kept rows, and the mask (n,) of rows kept.

    Raises:
        ValueError: If shapes differ, nothing is given, a label is not 0/1/NaN, or a score of a kept row is not finite
            (or, with `probabilities`, outside [0, 1]).
    """
    label, score = one_column(labels, scores, "scores")
    kept = known_labels(label)
    return label[kept] == 1, check_values(score[kept], probabilities=probabilities), kept


def patient_numbers(clusters: ArrayLike | None, kept: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Returns the patients of the kept images as whole numbers.

    A patient that is the number 1 on one row, 1.0 on another and "1 " on a third is one patient: as three, their images
    would count as independent and the interval would be too narrow.

    Args:
        clusters: Shape (n,), the patient of each image, text, numbers or both, each written in one way (see
            `checks.identifiers`); None when images are independent.
        kept: Shape (n,), which images count.

    Returns:
        0, 1, ... in the sorted order of patients; None when no patient has several kept images.

    Raises:
        ValueError: If lengths differ, a patient is missing, or could be one or two (the texts "1" and "1.0").
    """
    if clusters is None:
        return None
    names = np.asarray(clusters)
    if names.dtype.kind == "U" and not hasattr(clusters, "dtype"):
        # In a list of numbers and texts NumPy has made text of the number 1.0, no longer to be told from "1.0".
        names = np.asarray(clusters, dtype=object)
    if names.shape != kept.shape:
        raise ValueError(f"clusters have shape {names.shape}, expected {kept.shape}: one patient for each image.")
    names = names[kept]
    if names.dtype.kind == "f" and (np.abs(names) < 2 / np.finfo(names.dtype).eps).all() and (names % 1 == 0).all():
        names = names.astype(np.int64)
    if names.dtype.kind not in "iu":
        names = checks.identifiers(names, "clusters")
        missing = int(np.sum(pd.isna(names) | (names == "")))
        if missing:
            raise ValueError(f"{missing} of {len(names)} clusters are missing; every image needs its patient.")
    numbers, patients = pd.factorize(names, sort=True)
    return None if len(patients) == len(names) else numbers.astype(np.int64)


def one_class(n_positive: int, n_negative: int) -> str:
    """Returns in words which class is missing, the reason why nothing can be ranked."""
    if not n_positive and not n_negative:
        return "no image has a known label"
    if not n_positive:
        return f"no positives: all {n_negative} known labels are negative"
    return f"no negatives: all {n_positive} known labels are positive"
