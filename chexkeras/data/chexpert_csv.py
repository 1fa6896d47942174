"""CheXpert's label file as clean columns: its header, its paths and its marks for present, absent and uncertain."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from chexkeras import findings as vocabulary
from chexkeras.data import demographics
from chexkeras.data.datasets import _csv

# Keys are header cells with everything but letters removed.
_HEADER = {"path": "path", "sex": "sex", "age": "age", "frontallateral": "frontal_lateral", "appa": "ap_pa"}
_SHOWN = {"path": "Path", "sex": "Sex", "age": "Age", "frontal_lateral": "Frontal/Lateral", "ap_pa": "AP/PA"}
_PATH = re.compile(
    r"(?:(?!\.)([^/]+)/)?((?:train|valid)/(patient\d+)/study(\d+)/[^/]+\.(?:jpg|jpeg|png))", re.IGNORECASE
)
_MARKS = (1.0, 0.0, -1.0)
LATERAL = "LATERAL"


def read_text(path: Path, findings: Sequence[str]) -> pd.DataFrame:
    """Reads the label file.

    Args:
        path: ``train.csv`` or ``valid.csv``, or a file in their format; further columns are left out.
        findings: The findings that must be there, canonical spelling.

    Returns:
        Text columns path, sex, age, frontal_lateral and ap_pa, and one column per observation of CheXpert that the file
        has, as it is written there.

    Raises:
        ValueError: If it is malformed, has no rows, lacks a column, or has one twice.
    """
    cells = _csv.header(path)
    names = [_column(cell) for cell in cells]
    known = [name for name in names if name]
    missing = [_SHOWN.get(name, name) for name in (*_SHOWN, *findings) if name not in known]
    if missing:
        raise ValueError(
            f"{path.name} lacks the column(s) {', '.join(missing)}; its first line is: {','.join(cells)[:300]!r}. "
            "Use CheXpert's train.csv and valid.csv unchanged."
        )
    return _csv.read_columns(path, names, numbers=[name for name in known if name not in _SHOWN])


def _column(cell: str) -> str | None:
    name = _HEADER.get(re.sub(r"[^a-z]", "", cell.casefold()))
    if name is None:
        try:
            name = vocabulary.canonical(cell, vocabulary.CHEXPERT14)
        except ValueError:
            # A column of the reader's own.
            return None
    return name


def parts_of_paths(text: pd.DataFrame, file_name: str) -> pd.DataFrame:
    """Returns what the paths say of each film.

    Args:
        text: What `read_text` returned.
        file_name: For messages.

    Returns:
        Columns release (the leading folder, for example CheXpert-v1.0-small, or ""), image_id (the path below it),
        patient_id (patient00001) and study (int).

    Raises:
        ValueError: If a path has another form, which includes every path that leads out of the data set's folder.
    """
    paths = text["path"].str.strip().tolist()
    matches = [_PATH.fullmatch(path) for path in paths]
    wrong = [path for path, match in zip(paths, matches, strict=True) if match is None]
    if wrong:
        raise ValueError(
            f"{file_name}: Path {wrong[0]!r} (and {len(wrong) - 1} more) is not of the form "
            "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg; restore CheXpert's own paths, or use "
            "load_table for a table of your own (on the command line the CSV with --image-column)."
        )
    groups = [match.groups(default="") for match in matches if match is not None]
    releases, image_ids, patients, studies = (list(values) for values in zip(*groups, strict=True))
    return pd.DataFrame(
        {
            "release": np.asarray(releases, dtype=object),
            "image_id": np.asarray(image_ids, dtype=object),
            "patient_id": np.asarray(patients, dtype=object),
            "study": np.asarray(studies).astype(np.int64),
        }
    )


def views(text: pd.DataFrame, file_name: str) -> np.ndarray:
    """Returns each film's view: "LATERAL", or what the file says of a frontal film ("AP", "PA", "" where blank).

    Raises:
        ValueError: If ``Frontal/Lateral`` is neither.
    """
    planes = demographics.capitals(text["frontal_lateral"])
    wrong = ~np.isin(planes.astype(str), ("FRONTAL", LATERAL))
    if wrong.any():
        plane, path = text[["frontal_lateral", "path"]].iloc[int(np.argmax(wrong))]
        raise ValueError(
            f"{file_name}: Frontal/Lateral is {plane!r} for {path} (and wrong in {int(wrong.sum()) - 1} other rows); "
            "expected Frontal or Lateral."
        )
    return np.where(planes == LATERAL, LATERAL, demographics.capitals(text["ap_pa"])).astype(object)


def ages_in_years(column: pd.Series) -> tuple[np.ndarray, int]:
    """Returns ages in years, NaN where blank or impossible, and how many were impossible.

    CheXpert writes 0 where it does not know, and 90 for everyone of 90 or more.
    """
    years, implausible = demographics.ages_in_years(column)
    nought = years == 0.0
    return np.where(nought, np.nan, years), implausible + int(nought.sum())


def marks(text: pd.DataFrame, findings: Sequence[str], file_name: str) -> np.ndarray:
    """Returns the marks of some findings.

    Args:
        text: What `read_text` returned.
        findings: Which of its columns, canonical spelling.
        file_name: For messages.

    Returns:
        Float array (n_films, n_findings): 1 present, 0 absent, -1 uncertain, NaN blank.

    Raises:
        ValueError: If there are other marks.
    """
    paths = text["path"].tolist()
    fix = "Expected 1.0 (present), 0.0 (absent), -1.0 (uncertain) or a blank; restore CheXpert's own file."
    columns = [_csv.label_values(text[name], _MARKS, f"{file_name}: {name!r}", paths, fix) for name in findings]
    return np.column_stack(columns)
