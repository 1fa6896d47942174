"""The long table of scores: one row for each image and finding, checked once, identified by its fingerprint.

Rows are known by `image_id`, never by position, so scores cannot slip against their labels.
"""

import math
from pathlib import Path

import pandas as pd

from chexkeras import checks, files
from chexkeras.evaluation.inputs import check_values, known_labels

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
