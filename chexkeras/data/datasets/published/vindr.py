"""VinDr-CXR: DICOM images of two hospitals in Vietnam, each read by three radiologists.

Source:
    Nguyen et al., "VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations", Scientific Data 9, 2022,
    429; physionet.org/content/vindr-cxr.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.datasets import _csv, correspondence
from chexkeras.data.datasets._files import MISSING, assemble, paths_of, source_of_folder
from chexkeras.data.datasets.custom import NO_PATIENTS_CAUTION
from chexkeras.data.datasets.entries import VINDR
from chexkeras.data.datasets.published import common
from chexkeras.data.image_table import ImageTable

AGREEMENTS = ("majority", "any", "unanimous")
NO_FINDING = "no finding"
_TEST_FILES = {"image_labels_train.csv": "image_labels_test.csv", "annotations_train.csv": "annotations_test.csv"}


@checked
def load_vindr(
    root: str | Path,
    *,
    images: str | Path | None = None,
    agreement: Literal["majority", "any", "unanimous"] = "majority",
    missing: Literal["error", "skip", "keep"] = "error",
    findings: Iterable[str] | None = None,
) -> ImageTable:
    """Loads VinDr-CXR, as published or as the VinBigData challenge hands it out, as one row per image.

    Args:
        root: The folder that holds ``annotations/image_labels_train.csv`` (and ``image_labels_test.csv`` beside it,
            read too), or the challenge's ``train.csv``, which has boxes only; or that file itself.
        images: The folder of the images (DICOM, or PNG and JPEG under the same names), absolute or relative to `root`;
            None looks everywhere below `root`.
        agreement: When a finding counts as present on an image that several readers read: "majority" where more than
            half say so; "any" where one does; "unanimous" where all agree, and images on which they do not are unknown.
        missing: What to do with rows whose image is not there: "error"; "skip" drops them and lists them in the
            source's ``left_out``; "keep" leaves them with an empty path.
        findings: Which findings become columns; None takes all that mean the same as one known here (Nodule/Mass is
            Lung Lesion).

    Returns:
        A table with image_id, path, patient_id (the image: patients are not published), follow_up (0), age_years, sex,
        view, width_px, height_px and pixel_spacing_mm (from the DICOM headers; many say no age), one float column (1,
        0 or NaN) per finding, and official_split ("train_val", or "test" for the images whose labels are a consensus of
        five). ``attrs["source"]`` is its `TableSource`.

    Raises:
        FileNotFoundError: If the folder, the label file, all images, or (with missing="error") any image is missing.
        ValueError: If a label file is malformed, a finding is unknown or not labelled, or an image lies in two folders.
    """
    checks.one_of(missing, MISSING, "missing")
    checks.one_of(agreement, AGREEMENTS, "agreement")
    file = common.label_file(root, VINDR)
    folder = file.parent.parent if file.parent.name == "annotations" else file.parent
    parts = {"train_val": file}
    test = file.parent / _TEST_FILES.get(file.name, "")
    if test.is_file():
        parts["test"] = test
    read = {part: _labels(path, agreement) for part, path in parts.items()}
    there = [name for name in VINDR.vocabulary if all(name in table.columns for table in read.values())]
    wanted = common.columns_asked(findings, there, VINDR.owner)
    table_of = pd.concat([table.assign(**{image_table.OFFICIAL_SPLIT: part}) for part, table in read.items()])
    image_ids = table_of.index.astype(str).tolist()
    _csv.refuse_repeated(pd.Series(image_ids), " and ".join(path.name for path in parts.values()))
    paths = paths_of(folder, image_ids, images, missing, [f"{image}.dicom" for image in image_ids])
    described = common.in_headers(paths) | {"patient_id": image_ids, "follow_up": np.zeros(len(image_ids), np.int64)}
    labels = {name: table_of[name].to_numpy(dtype=float) for name in wanted}
    official = table_of[image_table.OFFICIAL_SPLIT].to_numpy(dtype=object)
    table, left_out = assemble(image_ids, paths, described, labels, missing, official=official)
    table.attrs["source"] = source_of_folder(
        folder,
        list(parts.values()),
        VINDR.source_name,
        f"{file.name}, {agreement} of the readers of an image",
        "chexkeras phantoms in VinDr-CXR's layout",
        (NO_PATIENTS_CAUTION,),
        left_out=left_out,
    )
    return table


def _labels(file: Path, agreement: str) -> pd.DataFrame:
    """Returns one row per image, its id as the index, and a float column for each finding known here."""
    names = {common.plain(name): name for name in correspondence.MEANINGS["vindr"]}
    header = [common.plain(cell) for cell in _csv.header(file)]
    if "classname" in header:
        votes = _of_boxes(file, names)
    else:
        votes = _of_images(file, {names[cell]: place for place, cell in enumerate(header) if cell in names})
    shares = votes.drop(columns="reader").groupby("image_id", sort=False).mean()
    if agreement == "any":
        return (shares > 0).astype(float)
    if agreement == "unanimous":
        return shares.where(shares.isin([0.0, 1.0]))
    return (shares > 0.5).astype(float)


def _of_images(file: Path, place_of: dict[str, int]) -> pd.DataFrame:
    """Reads labels of whole images: a row for each reader of an image, or one for all."""
    if not place_of:
        raise ValueError(f"{file.name} has no column of a finding of VinDr-CXR; use its own files unchanged.")
    written = dict.fromkeys(_csv.header(file)[place] for place in place_of.values())
    text = common.read_text(
        file, {"image_id": "image_id", "rad_id": "reader", **{name: name for name in written}}, ("reader",)
    )
    values = {}
    fix = "Expected 1 or 0; download the file again."
    meant = common.meant_by("vindr")
    for name in written:
        column = _csv.label_values(text[name], (1.0, 0.0), f"{file.name}: {name!r}", text["image_id"].tolist(), fix)
        for here in meant[next(known for known in meant if common.plain(known) == common.plain(name))]:
            values[here] = column
    return _refusing_repeated(pd.DataFrame({"image_id": text["image_id"], "reader": text["reader"], **values}), file)


def _of_boxes(file: Path, names: dict[str, str]) -> pd.DataFrame:
    """Reads boxes: a reader who drew none of a finding said that it is not there."""
    text = common.read_text(file, {"image_id": "image_id", "rad_id": "reader", "class_name": "class"}, ("reader",))
    text["class"] = text["class"].map(common.plain)
    unknown = sorted(set(text["class"]) - set(names))
    if unknown:
        raise ValueError(f"{file.name}: unknown finding {unknown[0]!r}; {checks.nearest(unknown[0], names)}")
    read = text[["image_id", "reader"]].drop_duplicates().reset_index(drop=True)
    keys = pd.MultiIndex.from_frame(read)
    for name in text["class"].unique():
        for here in common.meant_by("vindr")[names[name].casefold()]:
            marked = pd.MultiIndex.from_frame(text.loc[text["class"] == name, ["image_id", "reader"]])
            read[here] = keys.isin(marked).astype(float)
    return read


def _refusing_repeated(votes: pd.DataFrame, file: Path) -> pd.DataFrame:
    twice = votes[["image_id", "reader"]].duplicated()
    if twice.any():
        image = votes["image_id"][twice].iloc[0]
        raise ValueError(f"{file.name}: one reader reads {image} twice; download the file again.")
    return votes
