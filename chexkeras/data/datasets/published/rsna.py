"""RSNA Pneumonia Detection Challenge: images of NIH ChestX-ray14 as DICOM, read by radiologists.

Source:
    Shih et al., "Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert Annotations of
    Possible Pneumonia", Radiology: Artificial Intelligence 1, 2019, e180041.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.datasets._files import MISSING, assemble, paths_of, source_of_folder
from chexkeras.data.datasets.custom import NO_PATIENTS_CAUTION
from chexkeras.data.datasets.entries import RSNA
from chexkeras.data.datasets.published import common
from chexkeras.data.image_table import ImageTable

CLASS_FILE = "stage_2_detailed_class_info.csv"
MAPPING_FILE = "pneumonia-challenge-dataset-mappings_2018.json"
CLASSES = ("Lung Opacity", "No Lung Opacity / Not Normal", "Normal")
CLASS = "rsna_class"
POSSIBLE_CAUTION = (
    "Pneumonia is possible pneumonia here: radiologists marked opacities on the image alone, knowing nothing else of "
    "the patient."
)
ENRICHED_CAUTION = (
    "The images were chosen from NIH ChestX-ray14 so that pneumonia is far more frequent: predictive values and "
    "calibration do not carry over."
)
_MOST_JSON_BYTES = 64 * 2**20
_NIH_NAME = re.compile(r"(\d{8})_(\d{3})\.png")


@checked
def load_rsna(
    root: str | Path,
    *,
    images: str | Path | None = None,
    missing: Literal["error", "skip", "keep"] = "error",
    findings: Iterable[str] | None = None,
) -> ImageTable:
    """Loads the RSNA Pneumonia Detection Challenge as one row per image.

    Its images are images of NIH ChestX-ray14. Which, and of which patients, says the file
    ``pneumonia-challenge-dataset-mappings_2018.json`` that RSNA publishes; it is read where it lies beside the labels.

    Args:
        root: The folder that holds ``stage_2_train_labels.csv``, or that file itself;
            ``stage_2_detailed_class_info.csv`` is read beside it.
        images: The folder of the images (DICOM, or PNG and JPEG under the same names), absolute or relative to `root`;
            None looks everywhere below `root`.
        missing: What to do with rows whose image is not there: "error"; "skip" drops them and lists them in the
            source's ``left_out``; "keep" leaves them with an empty path.
        findings: Which findings become columns: Pneumonia is the only one; None takes it.

    Returns:
        A table with image_id (the challenge's patientId, which is one image), path, patient_id (NIH's patient where
        the mapping is there, else the image), follow_up, age_years, sex, view, width_px, height_px and
        pixel_spacing_mm (from the DICOM headers), Pneumonia (1 where a box was drawn), official_split (""), rsna_class
        ("Lung Opacity", "No Lung Opacity / Not Normal" or "Normal"; where the class file is there) and nih_image_id
        (where the mapping is there). ``attrs["source"]`` is its `TableSource`.

    Raises:
        FileNotFoundError: If the folder, the label file, all images, or (with missing="error") any image is missing.
        ValueError: If a file is malformed, the files contradict each other, or an image lies in two folders.
    """
    checks.one_of(missing, MISSING, "missing")
    wanted = common.columns_asked(findings, RSNA.vocabulary, RSNA.owner)
    file = common.label_file(root, RSNA)
    folder = file.parent
    image_ids, target = _targets(file)
    classes, class_files = _classes(folder, image_ids, target)
    origin, mapping_files = _origins(folder, image_ids)
    paths = paths_of(folder, image_ids, images, missing, [f"{image}.dcm" for image in image_ids])
    matches = [_NIH_NAME.fullmatch(name) for name in origin]
    described = common.in_headers(paths) | {
        "patient_id": [str(int(match[1])) if match else image for match, image in zip(matches, image_ids, strict=True)],
        "follow_up": [int(match[2]) if match else 0 for match in matches],
    }
    groups = {CLASS: classes} if class_files else {}
    more = {image_table.NIH_IMAGE: np.asarray(origin, dtype=object)} if mapping_files else {}
    labels = {name: target for name in wanted}
    table, left_out = assemble(image_ids, paths, described, labels, missing, groups={**groups, **more})
    cautions = (POSSIBLE_CAUTION, ENRICHED_CAUTION, *(() if all(matches) else (NO_PATIENTS_CAUTION,)))
    table.attrs["source"] = source_of_folder(
        folder,
        [file, *class_files, *mapping_files],
        RSNA.source_name,
        "stage 2, training images",
        "chexkeras phantoms in RSNA's layout",
        cautions,
        left_out=left_out,
        group_columns=tuple(groups),
    )
    return table


def _targets(file: Path) -> tuple[list[str], np.ndarray]:
    """Returns the images, and 1.0 for those with a box."""
    text = common.read_text(file, {"patientId": "image_id", "Target": "target"})
    wrong = ~text["target"].isin(["0", "1"])
    if wrong.any():
        raise ValueError(
            f"{file.name}: Target is {text['target'][wrong].iloc[0]!r} for {text['image_id'][wrong].iloc[0]}; 0 or 1 "
            "was expected. Download the file again."
        )
    numbers = (text["target"] == "1").astype(float)
    one = numbers.groupby(text["image_id"], sort=False).agg(["max", "min"])
    if (one["max"] != one["min"]).any():
        image = one.index[one["max"] != one["min"]][0]
        raise ValueError(f"{file.name}: {image} is listed both with a box and without one; download the file again.")
    return one.index.tolist(), one["max"].to_numpy(dtype=float)


def _classes(folder: Path, image_ids: list[str], target: np.ndarray) -> tuple[np.ndarray, list[Path]]:
    """Returns each image's class, "" where the file does not say, and the file read."""
    file = folder / CLASS_FILE
    if not file.is_file():
        return np.full(len(image_ids), "", dtype=object), []
    text = common.read_text(file, {"patientId": "image_id", "class": "class"}).drop_duplicates()
    unknown = ~text["class"].isin(CLASSES)
    if unknown.any():
        raise ValueError(f"{file.name}: class {text['class'][unknown].iloc[0]!r}; expected {', '.join(CLASSES)}.")
    if text["image_id"].duplicated().any():
        image = text["image_id"][text["image_id"].duplicated()].iloc[0]
        raise ValueError(f"{file.name}: {image} is in two classes; download the file again.")
    found = pd.Series(text["class"].to_numpy(), index=text["image_id"]).reindex(image_ids).fillna("").to_numpy(object)
    contradicts = (found != "") & ((found == CLASSES[0]) != (target == 1))
    if contradicts.any():
        image = image_ids[int(np.argmax(contradicts))]
        raise ValueError(
            f"{file.name} and the labels contradict each other for {image} and {int(contradicts.sum()) - 1} other "
            "image(s); take both from one download."
        )
    return found, [file]


def _origins(folder: Path, image_ids: list[str]) -> tuple[list[str], list[Path]]:
    """Returns the name of each image in NIH ChestX-ray14, "" where it is not known, and the file read."""
    file = folder / MAPPING_FILE
    if not file.is_file():
        return [""] * len(image_ids), []
    files.readable(file, _MOST_JSON_BYTES)
    try:
        origin = {str(entry["subset_img_id"]): str(entry["img_id"]) for entry in files.read_json(file)}
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"{file.name} is not as RSNA publishes it: a list of entries with subset_img_id and img_id was expected. "
            "Download it again."
        ) from error
    wrong = next((name for name in origin.values() if not _NIH_NAME.fullmatch(name)), None)
    if wrong is not None:
        raise ValueError(f"{file.name}: {wrong[:80]!a} is no name of an image of NIH; download the file again.")
    return [origin.get(image, "") for image in image_ids], [file]
