"""The long table of scores: one row for each image and finding, checked once, identified by its fingerprint.

Rows are known by `image_id`, never by position, so scores cannot slip against their labels.

Validation of labels, scores and patients, once, at the edge of every statistic.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks, files


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


def check_values(scores: NDArray[np.float64], where: str = "", *, probabilities: bool) -> None:
    """Refuses scores that are not finite or, with `probabilities`, not in [0, 1].

    Args:
        scores: Shape (n,).
        where: Begins the message, for example "Pneumonia: ".
        probabilities: Whether scores must lie in [0, 1].

    Raises:
        ValueError: If one is refused.
    """
    broken = int((~np.isfinite(scores)).sum())
    if broken:
        raise ValueError(
            f"{where}{broken} of {len(scores)} scores are NaN or infinite; the model's output is broken "
            "(diverged training or damaged weights): score again."
        )
    if probabilities and len(scores) and (scores.min() < 0 or scores.max() > 1):
        raise ValueError(
            f"{where}scores run from {scores.min():g} to {scores.max():g} and look like logits; probabilities in "
            "[0, 1] are expected: apply a sigmoid."
        )


def clean(
    labels: ArrayLike, scores: ArrayLike, *, probabilities: bool = False
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    """Validates labels and scores and takes out the rows whose label is unknown.

    Args:
        labels: Shape (n,), 1, 0 or NaN (unknown).
        scores: Shape (n,), finite; higher means more likely positive.
        probabilities: Whether scores must also lie in [0, 1].

    Returns:
        Labels as booleans, scores as float64, both of the kept rows, and the mask (n,) of rows kept.

    Raises:
        ValueError: If shapes differ, nothing is given, a label is not 0/1/NaN, or a score of a kept row is not finite
            (or, with `probabilities`, outside [0, 1]).
    """
    label = np.asarray(labels, dtype=np.float64)
    score = np.asarray(scores, dtype=np.float64)
    if label.ndim != 1 or label.shape != score.shape:
        raise ValueError(
            f"labels have shape {label.shape} and scores {score.shape}; both must be one column of equal length, "
            "one finding at a time."
        )
    if not len(label):
        raise ValueError("labels and scores are empty; at least one row is needed.")
    kept = known_labels(label)
    check_values(score[kept], probabilities=probabilities)
    return label[kept] == 1, score[kept], kept


def patient_numbers(clusters: ArrayLike | None, kept: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Returns the patients of the kept images as whole numbers.

    Args:
        clusters: Shape (n,), the patient of each image; None when images are independent.
        kept: Shape (n,), which images count.

    Returns:
        0, 1, ... in the sorted order of patients; None when no patient has several kept images.

    Raises:
        ValueError: If lengths differ or a patient is missing.
    """
    if clusters is None:
        return None
    names = np.asarray(clusters)
    if names.shape != kept.shape:
        raise ValueError(f"clusters have shape {names.shape}, expected {kept.shape}: one patient for each image.")
    names = names[kept]
    missing = int(np.sum(pd.isna(names)))
    if missing:
        raise ValueError(f"{missing} of {len(names)} clusters are missing; every image needs its patient.")
    patients, numbers = np.unique(names.astype(str) if names.dtype.kind == "O" else names, return_inverse=True)
    return None if len(patients) == len(names) else numbers.astype(np.int64)


def one_class(n_positive: int, n_negative: int) -> str:
    """Returns in words which class is missing, the reason why nothing can be ranked."""
    if not n_positive and not n_negative:
        return "no image has a known label"
    if not n_positive:
        return f"no positives: all {n_negative} known labels are negative"
    return f"no negatives: all {n_positive} known labels are positive"


COLUMNS = ("image_id", "patient_id", "finding", "label", "score")
"""Columns of a table of scores: `label` is 1, 0 or NaN (unknown), `score` a probability in [0, 1]."""

_FIX = "A table of scores has one row for each image and finding; chexkeras.predict_scores makes one."


def check_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Returns the table of scores with its columns in order and clean types, or says what is wrong with it.

    Args:
        scores: The table; further columns are left out.

    Returns:
        A new table with `COLUMNS`; identifiers are str, label and score float64.

    Raises:
        TypeError: If it is not a pandas DataFrame.
        ValueError: If columns are missing, there is no row, an identifier is missing, an image is scored twice for
            one finding or belongs to two patients, a label is not 1/0/NaN, or a score is not a probability.
    """
    if not isinstance(scores, pd.DataFrame):
        raise TypeError(f"scores is a {type(scores).__name__}; a pandas DataFrame was expected. {_FIX}")
    checks.require_columns(scores, COLUMNS, "the table of scores", _FIX)
    if scores.empty:
        raise ValueError(f"the table of scores has no rows. {_FIX}")
    for column in ("image_id", "patient_id", "finding"):
        missing = int((scores[column].isna() | (scores[column].astype(str) == "")).sum())
        if missing:
            raise ValueError(f"{missing} row(s) of the table of scores have no {column}; every row needs one.")
    clean = pd.DataFrame(
        {
            "image_id": scores["image_id"].astype(str),
            "patient_id": scores["patient_id"].astype(str),
            "finding": scores["finding"].astype(str),
            "label": _floats(scores, "label"),
            "score": _floats(scores, "score"),
        }
    ).reset_index(drop=True)
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
        raise ValueError(f"{len(shared)} image(s) belong to two patients, first {shared.iloc[0]}; mend patient_id.")
    for finding, part in clean.groupby("finding", sort=False):
        known_labels(part["label"].to_numpy(), f"{finding}: ")
        check_values(part["score"].to_numpy(), f"{finding}: ", probabilities=True)
    return clean


def _floats(scores: pd.DataFrame, column: str) -> pd.Series:
    try:
        return scores[column].astype("float64")
    except (TypeError, ValueError) as error:
        raise ValueError(f"the {column} column of the table of scores is not numeric ({error}).") from error


def read_scores(path: str | Path) -> pd.DataFrame:
    """Reads a table of scores from CSV, every float exactly as it was written, and checks it.

    Args:
        path: A CSV file with at least `COLUMNS`.

    Returns:
        The clean table, see `check_scores`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its contents are not a table of scores.
    """
    file = checks.existing_file(path, "scores")
    # As text first: a patient called "NA" is a patient, "00000001" keeps its zeros, and Python's own conversion gives
    # back the very float that was written, which pandas' fast one does not promise.
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{file} is empty. {_FIX}") from error
    for column in {"label", "score"}.intersection(table.columns):
        try:
            table[column] = [float(text) if text not in ("", "NA") else math.nan for text in table[column]]
        except ValueError as error:
            raise ValueError(f"{file}: the {column} column is not numeric ({error}).") from error
    return check_scores(table)


def write_scores(path: str | Path, scores: pd.DataFrame) -> Path:
    """Checks a table of scores and writes it as CSV with every digit, so that reading it gives the same fingerprint.

    Args:
        path: The destination.
        scores: The table.

    Returns:
        The path.

    Raises:
        ValueError: See `check_scores`.
    """
    # float32 would be written with fewer digits than the same number has as float64.
    return files.write_csv(path, check_scores(scores))


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
    columns = {"image_id": scores["image_id"].astype(str)}
    if "finding" in scores.columns and scores["finding"].nunique() > 1:
        columns["finding"] = scores["finding"].astype(str)
    for column in ("label", "score"):
        # repr of a Python float is its shortest exact form; pandas and numpy versions do not matter to it.
        columns[column] = pd.Series([repr(float(value)) for value in scores[column]], index=scores.index, dtype=str)
    return files.sha256_table(pd.DataFrame(columns))
