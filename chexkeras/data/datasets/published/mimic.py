"""MIMIC-CXR-JPG: JPEG images of a hospital in Boston, labelled from reports by two programs.

Source:
    Johnson et al., "MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs", arXiv:1901.07042,
    2019; physionet.org/content/mimic-cxr-jpg.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras import findings as vocabulary
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.datasets import _csv
from chexkeras.data.datasets._files import MISSING, assemble, in_their_folders, refuse_missing, source_of_folder
from chexkeras.data.datasets.entries import MIMIC
from chexkeras.data.datasets.labels import BLANKS, policies, policy_cautions, settle
from chexkeras.data.datasets.published import common
from chexkeras.data.image_table import ImageTable

LABELLERS = ("chexpert", "negbio")
PATIENTS_FILES = ("patients.csv", "patients.csv.gz")
_OFFICIAL = {"train": "train_val", "validate": "train_val", "test": "test"}
_MARKS = (1.0, 0.0, -1.0)
# A lateral decubitus or oblique image keeps its name; the rest are these.
_VIEWS = {"LL": common.LATERAL, "LATERAL": common.LATERAL, "RL": common.LATERAL}
_RELEASE = re.compile(r"mimic-cxr-([\d.]+)-")
_DICOM_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}", re.IGNORECASE)


@checked
def load_mimic(
    root: str | Path,
    *,
    labeller: Literal["chexpert", "negbio"] = "chexpert",
    views: Literal["frontal", "lateral", "all"] = "frontal",
    uncertain: str | Mapping[str, str] = "ignore",
    blank: Literal["negative", "unknown"] = "negative",
    missing: Literal["error", "skip", "keep"] = "error",
    findings: Iterable[str] = vocabulary.CHEXPERT14,
) -> ImageTable:
    """Loads MIMIC-CXR-JPG as one row per image.

    Args:
        root: The folder that holds ``mimic-cxr-2.0.0-chexpert.csv`` or ``-negbio.csv``, ``-metadata.csv`` and
            ``-split.csv`` (each also as ``.csv.gz``, of this or a later release) and ``files/p10/p10000032/...``.
            MIMIC-IV's ``patients.csv``, which says sex and age, is read where it lies beside them.
        labeller: Whose labels: of CheXpert's program or of NegBio.
        views: "frontal", "lateral" or "all".
        uncertain: What an uncertain label becomes, one policy for all findings or a dictionary with one per finding:
            "ignore", "zeros", "ones", "self_trained" or "multiclass"; see `load_chexpert`.
        blank: What a blank label means: "negative", or "unknown".
        missing: What to do with rows whose image is not there: "error"; "skip" drops them and lists them in the
            source's ``left_out``; "keep" leaves them with an empty path.
        findings: Which of CheXpert's 14 observations become columns, in this order.

    Returns:
        A table with image_id (``p10/p10000032/s50414267/....jpg``), path, patient_id (the subject), follow_up (the
        study's place in time among the patient's), age_years and sex (NaN and "" without ``patients.csv``), view ("AP",
        "PA", "LATERAL", "" or another as written), width_px, height_px, pixel_spacing_mm (NaN), one float column (1, 0
        or NaN) per finding, official_split ("train_val", "test" or "") and uncertain (the findings marked uncertain,
        joined by "|"). Images whose study has no label are left out. ``attrs["source"]`` is its `TableSource`.

    Raises:
        FileNotFoundError: If the folder, a table, all images, or (with missing="error") any image is missing.
        ValueError: If an argument is unknown, a table is malformed, or none of the images has the views asked for.
    """
    checks.one_of(labeller, LABELLERS, "labeller")
    checks.one_of(views, common.VIEWS, "views")
    checks.one_of(missing, MISSING, "missing")
    checks.one_of(blank, BLANKS, "blank")
    wanted = vocabulary.resolve(findings, vocabulary.CHEXPERT14)
    policy_of = policies(uncertain, wanted)
    given = checks.typed_path(root, "root")
    folder = given.parent if given.is_file() else common.label_file(root, MIMIC).parent
    label_file, metadata, split = (_file(folder, what) for what in (labeller, "metadata", "split"))
    rows = _images(metadata).merge(_parts(split), on="image", how="left")
    rows[image_table.OFFICIAL_SPLIT] = rows["part"].map(_OFFICIAL).fillna("")
    marks = _marks(label_file, wanted)
    rows = rows.merge(marks, on=["patient_id", "study"], how="left", indicator="labelled")
    rows["image_id"] = [
        f"p{patient[:2]}/p{patient}/s{study}/{image}.jpg"
        for patient, study, image in zip(rows["patient_id"], rows["study"], rows["image"], strict=True)
    ]
    without = (rows["labelled"] == "left_only").to_numpy()
    unlabelled = tuple((image, f"no label of {labeller} for its study") for image in rows["image_id"][without])
    rows = common.of_views(rows[~without].reset_index(drop=True), views, MIMIC.owner)
    ages, sexes, people = _people(folder, rows)
    labels, marked = settle(rows[list(wanted)].to_numpy(dtype=float), policy_of, blank)
    image_ids = rows["image_id"].tolist()
    paths, _ = in_their_folders(_places(folder, image_ids), other_endings=True)
    refuse_missing(image_ids, paths, missing, str(folder), "Keep the folders files/p10/... as they are published")
    described = {
        "patient_id": rows["patient_id"],
        "follow_up": rows.groupby("patient_id")["when"].rank(method="dense").to_numpy(dtype=float).astype(np.int64) - 1,
        "age_years": ages,
        "sex": sexes,
        "view": rows["view"],
        "width_px": pd.to_numeric(rows["width_px"], errors="coerce").astype(float),
        "height_px": pd.to_numeric(rows["height_px"], errors="coerce").astype(float),
    }
    official = rows[image_table.OFFICIAL_SPLIT]
    table, left_out = assemble(image_ids, paths, described, labels, missing, official=official, uncertain=marked)
    release = _RELEASE.match(label_file.name)
    table.attrs["source"] = source_of_folder(
        folder,
        [label_file, metadata, split, *people],
        MIMIC.source_name,
        f"{release[1] if release else 'unknown release'}, labels of {labeller}",
        "chexkeras phantoms in MIMIC-CXR-JPG's layout",
        policy_cautions(table, policy_of),
        left_out=(*unlabelled, *left_out),
        views=views,
        uncertain_policy=tuple(policy_of.items()),
        blank_policy=blank,
    )
    return table


def _file(folder: Path, what: str) -> Path:
    """Returns the table of labels, metadata or parts in a folder."""
    found = sorted(path for path in folder.glob(f"mimic-cxr-*-{what}.csv*") if path.suffix in (".csv", ".gz"))
    if not found:
        raise FileNotFoundError(
            f"root: no mimic-cxr-2.0.0-{what}.csv (or .csv.gz) in {str(folder)!r}; download it from PhysioNet "
            "into that folder."
        )
    releases = {match[1] for path in found if (match := _RELEASE.match(path.name))}
    if len(releases) > 1:
        raise ValueError(f"{found[0].name} and {found[-1].name} are of two releases; keep one.")
    # Unpacked beside packed is the same table.
    return found[0]


def _images(file: Path) -> pd.DataFrame:
    text = common.read_text(
        file,
        {"dicom_id": "image", "subject_id": "patient_id", "study_id": "study", "ViewPosition": "written",
         "Rows": "height_px", "Columns": "width_px", "StudyDate": "date", "StudyTime": "time"},
        ("height_px", "width_px", "date", "time"),
    )  # fmt: skip
    for name, form in (("image", _DICOM_ID), ("patient_id", re.compile(r"\d{8}")), ("study", re.compile(r"\d{8}"))):
        wrong = ~text[name].map(lambda value, form=form: form.fullmatch(value) is not None)
        if wrong.any():
            raise ValueError(
                f"{file.name}: {text[name][wrong].iloc[0][:60]!a} is no identifier of MIMIC; use its own file."
            )
    _csv.refuse_repeated(text["image"], file.name)
    text["view"] = text["written"].str.upper().map(lambda view: _VIEWS.get(view, view))
    text["when"] = text["date"] + text["time"].str.partition(".")[0].str.zfill(6) + text["study"]
    return text


def _parts(file: Path) -> pd.DataFrame:
    text = common.read_text(file, {"dicom_id": "image", "split": "part"})
    wrong = ~text["part"].isin(list(_OFFICIAL))
    if wrong.any():
        raise ValueError(f"{file.name}: split is {text['part'][wrong].iloc[0]!r}; not {', '.join(_OFFICIAL)}.")
    _csv.refuse_repeated(text["image"], file.name)
    return text


def _marks(file: Path, wanted: tuple[str, ...]) -> pd.DataFrame:
    """Returns the marks of each study: 1, 0, -1 or NaN for a blank."""
    text = common.read_text(file, {"subject_id": "patient_id", "study_id": "study", **{name: name for name in wanted}})
    studies = text["study"].tolist()
    fix = "Expected 1.0, 0.0, -1.0 (uncertain) or a blank; use MIMIC's own file unchanged."
    for name in wanted:
        text[name] = _csv.label_values(text[name], _MARKS, f"{file.name}: {name!r}", studies, fix)
    _csv.refuse_repeated(text["study"], file.name)
    return text


def _people(folder: Path, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[Path]]:
    """Returns ages in years and sexes from MIMIC-IV's table of patients, where it is there, and the file read.

    The dates of a patient are shifted all by the same time, so that differences of years hold.
    """
    file = next((folder / name for name in PATIENTS_FILES if (folder / name).is_file()), None)
    if file is None:
        return np.full(len(rows), np.nan), np.full(len(rows), "", dtype=object), []
    text = common.read_text(
        file, {"subject_id": "patient_id", "gender": "sex", "anchor_age": "age", "anchor_year": "year"}
    )
    _csv.refuse_repeated(text["patient_id"], file.name)
    of_rows = rows[["patient_id", "date"]].merge(text, on="patient_id", how="left")
    ages, years, dates = (
        pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
        for column in (of_rows["age"], of_rows["year"], of_rows["date"].str[:4])
    )
    age = ages + dates - years
    possible = (age >= 0) & (age <= _csv.MAX_AGE_YEARS)
    return np.where(possible, age, np.nan), _csv.sexes(of_rows["sex"].fillna("")), [file]


def _places(folder: Path, image_ids: list[str]) -> list[str]:
    below = folder / "files" if (folder / "files").is_dir() else folder
    return [f"{below}{os.sep}{image}" for image in image_ids]
