"""PadChest: 16-bit PNG images of a hospital in Spain in six views, labelled by physicians and by a program.

Source:
    Bustos et al., "PadChest: A large chest x-ray image dataset with multi-label annotated reports", Medical Image
    Analysis 66, 2020, 101797; bimcv.cipf.es/bimcv-projects/padchest.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras import findings as vocabulary
from chexkeras.arguments import checked
from chexkeras.data.datasets import _csv
from chexkeras.data.datasets._files import MISSING, assemble, paths_of, source_of_folder
from chexkeras.data.datasets.entries import PADCHEST
from chexkeras.data.datasets.published import common
from chexkeras.data.image_table import ImageTable

_COLUMNS = {
    "ImageID": "image_id", "PatientID": "patient_id", "StudyDate_DICOM": "date", "PatientBirth": "birth",
    "PatientSex_DICOM": "sex", "Projection": "projection", "Labels": "labels", "MethodLabel": "method",
    "Manufacturer_DICOM": "manufacturer", "Columns_DICOM": "width_px", "Rows_DICOM": "height_px",
    "SpatialResolution_DICOM": "pixel_spacing_mm",
}  # fmt: skip
_OPTIONAL = ("date", "birth", "method", "manufacturer", "width_px", "height_px", "pixel_spacing_mm")
# Lying patients are taken from the front; views of ribs and unknown ones keep their names.
_PROJECTIONS = {"PA": "PA", "AP": "AP", "AP_HORIZONTAL": "AP", "L": "LATERAL", "COSTAL": "COSTAL", "UNK": "", "": ""}
EXCLUDED = "EXCLUDE"
NORMAL = "normal"
# What a report says of the image or of another report: alone it says nothing of the findings.
_NOTHING_SAID = frozenset({"", "unchanged", "exclude", "suboptimal study"})
_LABEL = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*""")


@checked
def load_padchest(
    root: str | Path,
    *,
    images: str | Path | None = None,
    views: Literal["frontal", "lateral", "all"] = "frontal",
    missing: Literal["error", "skip", "keep"] = "error",
    findings: Iterable[str] | None = None,
) -> ImageTable:
    """Loads PadChest as one row per image. Its reports are not read.

    Args:
        root: The folder that holds ``PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv`` (also ``.csv.gz``), or that
            file itself.
        images: The folder of the images, absolute or relative to `root`; None looks everywhere below `root`, where the
            download has the folders ``0`` to ``54``.
        views: "frontal" (PA, AP and AP of lying patients), "lateral" or "all", which has views of ribs too.
        missing: What to do with rows whose image is not there: "error"; "skip" drops them and lists them in the
            source's ``left_out``; "keep" leaves them with an empty path.
        findings: Which findings become columns; None takes all that mean the same as one known here.

    Returns:
        A table with image_id, path, patient_id, follow_up (the image's number among its patient's), age_years (year of
        the image less year of birth), sex, view ("PA", "AP", "LATERAL", "COSTAL" or ""), width_px, height_px,
        pixel_spacing_mm, one float column per finding (1, 0, or NaN where a report says nothing of findings),
        official_split (""), manufacturer and labelled_by ("Physician" or "RNN_model").
        ``attrs["source"]`` is its `TableSource`.

    Raises:
        FileNotFoundError: If the folder, the label file, all images, or (with missing="error") any image is missing.
        ValueError: If the label file is malformed, a finding is not labelled, or an image lies in two folders.
    """
    checks.one_of(missing, MISSING, "missing")
    checks.one_of(views, common.VIEWS, "views")
    wanted = common.columns_asked(findings, PADCHEST.vocabulary, PADCHEST.owner)
    file = common.label_file(root, PADCHEST)
    rows = common.read_text(file, _COLUMNS, _OPTIONAL)
    _csv.refuse_repeated(rows["image_id"], file.name)
    rows["view"] = _views(rows["projection"], file.name)
    unread = rows["projection"].str.upper() == EXCLUDED
    excluded = tuple((image, "PadChest marks the view as EXCLUDE") for image in rows["image_id"][unread])
    rows = common.of_views(rows[~unread].reset_index(drop=True), views, PADCHEST.owner)
    labels = _labels(rows["labels"], rows["image_id"], wanted, file.name)
    ages, implausible = _ages(rows)
    image_ids = rows["image_id"].tolist()
    paths = paths_of(file.parent, image_ids, images, missing)
    patients = _csv.patient_ids(rows["patient_id"])
    described = {
        "patient_id": np.where(patients == "", rows["image_id"].to_numpy(object), patients),
        "follow_up": common.follow_ups(patients.tolist()),
        "age_years": ages,
        "sex": _csv.sexes(rows["sex"].replace({"nan": "", "None": ""})),
        "view": rows["view"],
        **{name: pd.to_numeric(rows[name], errors="coerce").astype(float) for name in
           ("width_px", "height_px", "pixel_spacing_mm")},
    }  # fmt: skip
    groups = {"manufacturer": rows["manufacturer"].to_numpy(object), "labelled_by": rows["method"].to_numpy(object)}
    table, left_out = assemble(image_ids, paths, described, labels, missing, groups=groups)
    table.attrs["source"] = source_of_folder(
        file.parent,
        [file],
        PADCHEST.source_name,
        file.name.partition(".csv")[0].rpartition("_")[2],
        "chexkeras phantoms in PadChest's layout",
        left_out=(*excluded, *left_out),
        implausible_ages=implausible,
        views=views,
        group_columns=tuple(groups),
    )
    return table


def _views(projections: pd.Series, file: str) -> np.ndarray:
    written = projections.str.upper()
    wrong = ~written.isin([*_PROJECTIONS, EXCLUDED])
    if wrong.any():
        raise ValueError(
            f"{file}: Projection is {projections[wrong].iloc[0]!r} in {int(wrong.sum())} row(s); expected PA, L, AP, "
            "AP_horizontal, COSTAL, UNK or EXCLUDE."
        )
    return written.map(_PROJECTIONS).fillna("").to_numpy(dtype=object)


def _ages(rows: pd.DataFrame) -> tuple[np.ndarray, int]:
    """Returns ages in years from the years of image and birth, and how many were impossible."""
    year = pd.to_numeric(rows["date"].str[:4], errors="coerce").to_numpy(dtype=float)
    age = year - pd.to_numeric(rows["birth"], errors="coerce").to_numpy(dtype=float)
    possible = (age >= 0) & (age <= _csv.MAX_AGE_YEARS)
    return np.where(possible, age, np.nan), int((~possible & ~np.isnan(age)).sum())


def _labels(texts: pd.Series, image_ids: pd.Series, wanted: tuple[str, ...], file: str) -> dict[str, np.ndarray]:
    """Returns a column per finding; NaN where a report says nothing of findings."""
    codes, combinations = pd.factorize(texts)
    meant = common.meant_by("padchest")
    rows = np.zeros((len(combinations), len(wanted)))
    for code, text in enumerate(combinations):
        try:
            words = _words(text)
        except ValueError as error:
            image = image_ids.iloc[int(np.argmax(codes == code))]
            raise ValueError(f"{file}: labels of {image}: {error}") from error
        if words <= _NOTHING_SAID:
            rows[code] = np.nan
            continue
        shown = {name for word in words for name in meant.get(word, ())}
        if words == {NORMAL}:
            shown.add(vocabulary.NO_FINDING)
        rows[code] = [name in shown for name in wanted]
    return {name: rows[codes, column] for column, name in enumerate(wanted)}


def _words(text: str) -> frozenset[str]:
    """Returns the labels of a list as Python writes it, without capitals.

    Example:
        >>> sorted(_words("['pleural effusion', ' unchanged']"))
        ['pleural effusion', 'unchanged']
    """
    inner = text.strip()
    if inner in ("", "nan"):
        return frozenset({""})
    words: list[str] = []
    if inner.startswith("[") and inner.endswith("]"):
        place, end = 1, len(inner) - 1
        while place < end:
            match = _LABEL.match(inner, place)
            if match is None:
                break
            words.append((match[1] if match[1] is not None else match[2]).strip().casefold())
            place = match.end() + (inner[match.end()] == ",")
        if place >= end:
            return frozenset(words or {""})
    raise ValueError(f"{text[:80]!a} is no list of labels such as ['normal']; use PadChest's own file unchanged")
