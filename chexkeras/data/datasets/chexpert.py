"""CheXpert: from its folder to an image table, one row per image, uncertain labels settled by a stated policy.

CheXpert may not be handed on: get it from Stanford, https://stanfordmlgroup.github.io/competitions/chexpert/.
`load_chexpert` comes first; below it stands the label file, its header, its paths and its marks as clean columns.

Source:
    Irvin et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison", AAAI 2019.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras import findings as vocabulary
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.datasets import _csv
from chexkeras.data.datasets._files import (
    MISSING,
    assemble,
    in_their_folders,
    refuse_missing,
    source_of_folder,
)
from chexkeras.data.datasets.labels import BLANKS, policies, policy_cautions, settle
from chexkeras.data.datasets.registry import CHEXPERT
from chexkeras.data.image_table import ImageTable

FOLDERS = CHEXPERT.folders
LABEL_FILES = dict(zip(("train", "valid"), CHEXPERT.label_files, strict=True))
# CheXpert's valid.csv is what most results are measured on: three radiologists labelled it, and its patients are in no
# other part. Its own test set is not part of the download.
_OFFICIAL = {"train": "train_val", "valid": "test"}
VIEWS = ("frontal", "lateral", "all")


@checked
def load_chexpert(
    root: str | Path,
    *,
    part: Literal["train", "valid", "all"] = "all",
    views: Literal["frontal", "lateral", "all"] = "frontal",
    uncertain: str | Mapping[str, str] = "ignore",
    blank: Literal["negative", "unknown"] = "negative",
    missing: Literal["error", "skip", "keep"] = "error",
    findings: Iterable[str] = vocabulary.CHEXPERT14,
) -> ImageTable:
    """Loads CheXpert, full size or small, or phantoms in its layout, as one row per image.

    Args:
        root: The folder with ``train.csv`` and ``valid.csv`` (``CheXpert-v1.0`` or ``CheXpert-v1.0-small``, or the
            first of the four "batch" folders of the full-size download), or the folder that holds it.
        part: Which label file to read; "all" reads those that are there.
        views: Which images to load.
        uncertain: What an uncertain label becomes, one policy for all findings or a dictionary with one per finding
            (findings that it leaves out are "ignore"): "ignore" makes it unknown, which the loss masks; "zeros" absent;
            "ones" present; "self_trained" unknown, until `fill_uncertain` fills in a first model's scores; "multiclass"
            unknown, while training takes it from `uncertain_mask` as a third class.
        blank: What a blank label means: "negative", as in most work on CheXpert, or "unknown".
        missing: What to do with rows whose image is not there: "error"; "skip" drops them and lists them in the
            source's ``left_out``; "keep" leaves them with an empty path (labels only, for exploration and splits).
        findings: Which of the 14 observations become columns, in this order.

    Returns:
        A table with image_id (the path below the data set's folder), path, patient_id (``patient00001``), follow_up
        (the study's number), age_years (NaN when blank, 0 or impossible; CheXpert writes 90 for 90 and more), sex
        ("M", "F" or ""), view ("AP", "PA", "LATERAL"; a few frontal images say "LL" or "RL" and keep it), width_px,
        height_px and pixel_spacing_mm (NaN: CheXpert does not say), one float column (1, 0 or NaN) per finding,
        official_split ("train_val" for train.csv, "test" for valid.csv), and uncertain (the findings marked uncertain,
        joined by "|"). ``attrs["source"]`` is its `TableSource`, with the policies.

    Raises:
        FileNotFoundError: If the folder, the label files, all images, or (with missing="error") any image is missing.
        ValueError: If an argument is unknown, a label file is malformed, an image is named twice, none has the views
            asked for, or a patient lies in two batches.
    """
    checks.one_of(part, (*LABEL_FILES, "all"), "part")
    checks.one_of(views, VIEWS, "views")
    checks.one_of(missing, MISSING, "missing")
    checks.one_of(blank, BLANKS, "blank")
    wanted = vocabulary.resolve(findings, vocabulary.CHEXPERT14)
    policy_of = policies(uncertain, wanted)
    label_files = _label_files(checks.typed_path(root, "root"), part)
    folder = next(iter(label_files.values())).parent
    rows = pd.concat([_rows(file, name, wanted) for name, file in label_files.items()], ignore_index=True)
    _csv.refuse_repeated(rows["image_id"], " and ".join(file.name for file in label_files.values()))
    rows = _of_views(rows, views)

    ages, implausible = _ages_in_years(rows["age"])
    labels, marked = settle(rows[list(wanted)].to_numpy(), policy_of, blank)
    image_ids = rows["image_id"].tolist()
    paths, _ = in_their_folders(_places(folder, image_ids), other_endings=True)
    fix = (
        "Put the images where the label file names them; the four folders of the full-size download stay beside one "
        "another under their own names"
    )
    refuse_missing(image_ids, paths, missing, str(folder), fix)
    described = {
        "patient_id": rows["patient_id"],
        "follow_up": rows["study"],
        "age_years": ages,
        "sex": _csv.sexes(rows["sex"]),
        "view": rows["view"],
    }
    official = rows[image_table.OFFICIAL_SPLIT]
    table, left_out = assemble(image_ids, paths, described, labels, missing, official=official, uncertain=marked)
    table.attrs["source"] = source_of_folder(
        folder,
        list(label_files.values()),
        CHEXPERT.source_name,
        " and ".join(sorted(set(rows["release"]) - {""})) or "not stated",
        "chexkeras phantoms in CheXpert's layout",
        policy_cautions(table, policy_of),
        left_out=left_out,
        implausible_ages=implausible,
        contradictory=tuple(rows["image_id"][rows["contradictory"]]),
        views=views,
        uncertain_policy=tuple(policy_of.items()),
        blank_policy=blank,
    )
    return table


def _label_files(root: Path, part: str) -> dict[str, Path]:
    """Returns the label files to read, all of one folder, by part."""
    checks.existing_folder(root, "root")
    names = {name: file for name, file in LABEL_FILES.items() if part in (name, "all")}
    in_folder = {
        folder: {name: folder / file for name, file in names.items() if (folder / file).is_file()}
        for folder in (root, *(root / name for name in FOLDERS))
    }
    found = {folder: read for folder, read in in_folder.items() if read}
    if not found:
        raise FileNotFoundError(
            f"root: no {' or '.join(names.values())} in {str(root)!r}, nor in {' or '.join(FOLDERS)} below it; give "
            "the folder that holds CheXpert's label files."
        )
    if len(found) > 1 and root not in found:
        folders = " and ".join(folder.name for folder in found)
        raise ValueError(f"root: both {folders} are in {str(root)!r}; give the folder of one of them.")
    return next(iter(found.values()))


def _places(folder: Path, image_ids: Sequence[str]) -> list[str]:
    """Returns where each image should lie: below the label files, or below its patient in a batch of the download.

    Raises:
        ValueError: If a patient lies in two batches.
    """
    places = [f"{folder}{os.sep}{image}" for image in image_ids]
    absent = [row for row, place in enumerate(places) if not os.path.isfile(place)]
    patients = _patients_in_batches(folder) if absent else {}
    for row in absent:
        part, patient, rest = image_ids[row].split("/", 2)
        found = {*patients.get(f"{part}/{patient}".casefold(), ()), *patients.get(patient.casefold(), ())}
        if len(found) > 1:
            names = " and ".join(sorted(os.path.basename(os.path.dirname(place)) for place in found)[:2])
            raise ValueError(f"{patient} lies both in {names}; keep the one of CheXpert's download.")
        if found:
            places[row] = f"{found.pop()}{os.sep}{rest}"
    return places


def _patients_in_batches(folder: Path) -> dict[str, list[str]]:
    """Returns the folders of each patient, and of each part and patient, in the batches that lie beside label files."""
    # The label files lie in the first batch, or beside the batches.
    around = folder.resolve().parent if "batch" in folder.resolve().name.casefold() else folder
    batches = [path for path in sorted(around.iterdir()) if "batch" in path.name.casefold() and path.is_dir()]
    found: dict[str, list[str]] = {}
    for batch in batches:
        for part in ("", *LABEL_FILES):
            with contextlib.suppress(OSError), os.scandir(batch / part) as entries:
                for entry in entries:
                    if entry.name.casefold().startswith("patient") and entry.is_dir():
                        key = f"{part}/{entry.name}" if part else entry.name
                        found.setdefault(key.casefold(), []).append(entry.path)
    return found


def _rows(file: Path, part: str, wanted: tuple[str, ...]) -> pd.DataFrame:
    """Returns one row per image of a label file, the labels as it marks them."""
    text = _read_text(file, wanted)
    there = [name for name in vocabulary.CHEXPERT14 if name in text.columns]
    marks = pd.DataFrame(_read_marks(text, there, file.name), columns=there)
    described = _parts_of_paths(text, file.name).assign(
        age=text["age"], sex=text["sex"], view=_views(text, file.name), contradictory=False
    )
    if vocabulary.NO_FINDING in there:
        others = [name for name in there if name not in (vocabulary.NO_FINDING, vocabulary.SUPPORT_DEVICES)]
        described["contradictory"] = (marks[vocabulary.NO_FINDING] == 1) & (marks[others] == 1).any(axis=1)
    described[image_table.OFFICIAL_SPLIT] = _OFFICIAL[part]
    return pd.concat([described, marks[list(wanted)]], axis=1)


def _of_views(rows: pd.DataFrame, views: str) -> pd.DataFrame:
    if views == "all":
        return rows
    kept = rows[(rows["view"] == LATERAL) == (views == "lateral")].reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"none of the {len(rows)} images is {views}; choose other views, one of: {', '.join(VIEWS)}.")
    return kept


# Keys are header cells with everything but letters removed.
_HEADER = {"path": "path", "sex": "sex", "age": "age", "frontallateral": "frontal_lateral", "appa": "ap_pa"}
_WRITTEN = {"path": "Path", "sex": "Sex", "age": "Age", "frontal_lateral": "Frontal/Lateral", "ap_pa": "AP/PA"}
_PATH = re.compile(
    r"(?:(?!\.)([^/]+)/)?((?:train|valid)/(patient\d+)/study(\d+)/[^/]+\.(?:jpg|jpeg|png))", re.IGNORECASE
)
_MARKS = (1.0, 0.0, -1.0)
LATERAL = "LATERAL"


def _read_text(path: Path, findings: Sequence[str]) -> pd.DataFrame:
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
    missing = [_WRITTEN.get(name, name) for name in (*_WRITTEN, *findings) if name not in known]
    if missing:
        raise ValueError(
            f"{path.name} lacks the column(s) {', '.join(missing)}; its first line is: {','.join(cells)[:300]!r}. "
            "Use CheXpert's train.csv and valid.csv unchanged."
        )
    return _csv.read_columns(path, names, numbers=[name for name in known if name not in _WRITTEN])


def _column(cell: str) -> str | None:
    name = _HEADER.get(re.sub(r"[^a-z]", "", cell.casefold()))
    if name is None:
        try:
            name = vocabulary.canonical(cell, vocabulary.CHEXPERT14)
        except ValueError:
            # A column of the reader's own.
            return None
    return name


def _parts_of_paths(text: pd.DataFrame, file_name: str) -> pd.DataFrame:
    """Returns what the paths say of each image.

    Args:
        text: What `_read_text` returned.
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
    releases, image_ids, written, studies = (list(values) for values in zip(*groups, strict=True))
    # One patient however it is written.
    patients = [patient.casefold() for patient in written]
    return pd.DataFrame(
        {
            "release": np.asarray(releases, dtype=object),
            "image_id": np.asarray(image_ids, dtype=object),
            "patient_id": np.asarray(patients, dtype=object),
            "study": np.asarray(studies).astype(np.int64),
        }
    )


def _views(text: pd.DataFrame, file_name: str) -> np.ndarray:
    """Returns each image's view: "LATERAL", or what the file says of a frontal image ("AP", "PA", "" where blank).

    Raises:
        ValueError: If ``Frontal/Lateral`` is neither.
    """
    planes = _csv.capitals(text["frontal_lateral"])
    wrong = ~np.isin(planes.astype(str), ("FRONTAL", LATERAL))
    if wrong.any():
        plane, path = text[["frontal_lateral", "path"]].iloc[int(np.argmax(wrong))]
        raise ValueError(
            f"{file_name}: Frontal/Lateral is {plane!r} for {path} (and wrong in {int(wrong.sum()) - 1} other rows); "
            "expected Frontal or Lateral."
        )
    return np.where(planes == LATERAL, LATERAL, _csv.capitals(text["ap_pa"])).astype(object)


def _ages_in_years(column: pd.Series) -> tuple[np.ndarray, int]:
    """Returns ages in years, NaN where blank or impossible, and how many were impossible.

    CheXpert writes 0 where it does not know, and 90 for everyone of 90 or more.
    """
    years, implausible = _csv.ages_in_years(column)
    nought = years == 0.0
    return np.where(nought, np.nan, years), implausible + int(nought.sum())


def _read_marks(text: pd.DataFrame, findings: Sequence[str], file_name: str) -> np.ndarray:
    """Returns the marks of some findings.

    Args:
        text: What `_read_text` returned.
        findings: Which of its columns, canonical spelling.
        file_name: For messages.

    Returns:
        Float array (n_images, n_findings): 1 present, 0 absent, -1 uncertain, NaN blank.

    Raises:
        ValueError: If there are other marks.
    """
    paths = text["path"].tolist()
    fix = "Expected 1.0 (present), 0.0 (absent), -1.0 (uncertain) or a blank; restore CheXpert's own file."
    columns = [_csv.label_values(text[name], _MARKS, f"{file_name}: {name!r}", paths, fix) for name in findings]
    return np.column_stack(columns)
