"""What the loaders of published data sets share: the label file, what DICOM headers say, views, patients."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chexkeras import checks, progress
from chexkeras import findings as vocabulary
from chexkeras.data.datasets import _csv, correspondence
from chexkeras.data.datasets.data_set import DataSet
from chexkeras.dicom.facts import HeaderFacts, header_facts
from chexkeras.dicom.read import is_dicom

VIEWS = ("frontal", "lateral", "all")
LATERAL = "LATERAL"


def label_file(root: str | Path, entry: DataSet) -> Path:
    """Returns a data set's label file: the one given, or the one in the folder given.

    Args:
        root: The folder, or the file itself.
        entry: The data set.

    Raises:
        FileNotFoundError: If it is not there; the message says what was looked for.
    """
    path = checks.typed_path(root, "root")
    if path.is_file():
        return path
    folder = checks.existing_folder(path, "root")
    found = entry.label_file_in(folder)
    if found is None:
        # The folder of another download, or a folder too high or too low.
        below = next((place for place in sorted(folder.glob("*/")) if entry.label_file_in(place) is not None), None)
        hint = f" There is one in {str(below)!r}: give that folder." if below else ""
        raise FileNotFoundError(f"root: no label file in {str(folder)!r}; looked for {entry.looked_for}.{hint}")
    return found


def read_text(path: Path, wanted: Mapping[str, str], optional: Iterable[str] = ()) -> pd.DataFrame:
    """Reads columns of a label file as text without blanks around it.

    Args:
        path: The CSV.
        wanted: New name of each column by its own; capitals, blanks and underscores of the latter do not matter.
        optional: Which of the new names may be missing; they are then blank.

    Returns:
        The columns by their new names.

    Raises:
        ValueError: If a column is missing, or the file is malformed.
    """
    new = {plain(name): name_here for name, name_here in wanted.items()}
    cells = _csv.header(path)
    names = [new.get(plain(cell)) for cell in cells]
    may_lack = set(optional)
    lacking = [name for name, name_here in wanted.items() if name_here not in names and name_here not in may_lack]
    if lacking:
        raise ValueError(
            f"{path.name} lacks the column(s) {', '.join(lacking)}; its first line is: {','.join(cells)[:300]!r}. Use "
            "the publisher's own file unchanged."
        )
    text = _csv.read_columns(path, names)
    for name in may_lack - set(text.columns):
        text[name] = ""
    return text.apply(lambda column: column.str.strip())


def plain(cell: str) -> str:
    """Returns a header cell without capitals and without all that is neither letter nor digit.

    Args:
        cell: The cell.
    """
    return re.sub(r"[^a-z0-9]", "", cell.casefold())


def columns_asked(findings: Iterable[str] | None, there: Sequence[str], owner: str) -> tuple[str, ...]:
    """Returns the findings that become columns.

    Args:
        findings: Those asked for; None takes all.
        there: Those that the data set labels.
        owner: Whose data set it is, for the message.

    Raises:
        ValueError: If it does not label one.
    """
    if findings is None:
        return tuple(there)
    try:
        return vocabulary.resolve(findings, there)
    except ValueError as error:
        raise ValueError(f"{owner} does not label it: {error}") from error


def in_headers(paths: Sequence[str]) -> dict[str, Any]:
    """Returns what the DICOM headers say of each image, as columns of `image_table.METADATA`.

    Args:
        paths: Files; those that are no DICOM files, or not there (""), say nothing.
    """
    facts = [
        header_facts(path) if path and is_dicom(path) else HeaderFacts()
        for path in progress.track(paths, "reading DICOM headers", total=len(paths))
    ]
    return {
        "view": np.asarray([fact.view for fact in facts], dtype=object),
        "sex": np.asarray([fact.sex for fact in facts], dtype=object),
        "age_years": np.asarray([fact.age_years for fact in facts], dtype=float),
        "width_px": np.asarray([fact.width_px or np.nan for fact in facts], dtype=float),
        "height_px": np.asarray([fact.height_px or np.nan for fact in facts], dtype=float),
        "pixel_spacing_mm": np.asarray([fact.pixel_spacing_mm for fact in facts], dtype=float),
    }


def of_views(rows: pd.DataFrame, views: str, owner: str) -> pd.DataFrame:
    """Returns the rows of the views asked for; an image whose view is not known counts as frontal.

    Args:
        rows: Rows with a column view.
        views: One of `VIEWS`.
        owner: Whose data set it is, for the message.

    Raises:
        ValueError: If none has them.
    """
    if views == "all":
        return rows
    kept = rows[(rows["view"] == LATERAL) == (views == "lateral")].reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"none of {owner}'s {len(rows):,} images is {views}; choose other views: {', '.join(VIEWS)}.")
    return kept


def meant_by(data_set: str) -> dict[str, tuple[str, ...]]:
    """Returns the findings known here that each name of a data set means, by the name without capitals.

    Args:
        data_set: A key of `correspondence.MEANINGS`.
    """
    return {name.casefold(): meaning.columns for name, meaning in correspondence.MEANINGS[data_set].items()}


def follow_ups(patients: Sequence[str]) -> np.ndarray:
    """Returns each image's number among its patient's, in the table's order, from 0.

    Args:
        patients: The patient of each image.
    """
    series = pd.Series(patients, dtype=object)
    return series.groupby(series, sort=False).cumcount().to_numpy(dtype=np.int64)
