"""SIIM-ACR Pneumothorax Segmentation: images of NIH ChestX-ray14 as DICOM, with outlines that radiologists drew.

Source:
    SIIM-ACR Pneumothorax Segmentation, kaggle.com/c/siim-acr-pneumothorax-segmentation, 2019; Filice et al.,
    "Crowdsourcing pneumothorax annotations using machine learning annotations on the NIH chest X-ray dataset", Journal
    of Digital Imaging 33, 2020, 490-496.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.data.datasets._files import MISSING, assemble, paths_of, source_of_folder
from chexkeras.data.datasets.custom import NO_PATIENTS_CAUTION
from chexkeras.data.datasets.entries import SIIM
from chexkeras.data.datasets.published import common
from chexkeras.data.image_table import ImageTable

ENRICHED_CAUTION = (
    "The images were chosen from NIH ChestX-ray14 so that pneumothorax is far more frequent: predictive values and "
    "calibration do not carry over."
)


@checked
def load_siim(
    root: str | Path,
    *,
    images: str | Path | None = None,
    missing: Literal["error", "skip", "keep"] = "error",
    findings: Iterable[str] | None = None,
) -> ImageTable:
    """Loads SIIM-ACR Pneumothorax Segmentation as one row per image.

    Its images are images of NIH ChestX-ray14; which ones was not published, so that only their pixels can tell.

    Args:
        root: The folder that holds ``train-rle.csv`` or ``stage_2_train.csv``, or that file itself.
        images: The folder of the images (DICOM, or PNG and JPEG under the same names), absolute or relative to `root`;
            None looks everywhere below `root`.
        missing: What to do with rows whose image is not there: "error"; "skip" drops them and lists them in the
            source's ``left_out``; "keep" leaves them with an empty path.
        findings: Which findings become columns: Pneumothorax is the only one; None takes it.

    Returns:
        A table with image_id, path, patient_id (the image: patients are not published), follow_up (0), age_years, sex,
        view, width_px, height_px and pixel_spacing_mm (from the DICOM headers), Pneumothorax (1 where an outline was
        drawn) and official_split (""). ``attrs["source"]`` is its `TableSource`.

    Raises:
        FileNotFoundError: If the folder, the label file, all images, or (with missing="error") any image is missing.
        ValueError: If the label file is malformed, lists an image both with and without an outline, or an image lies
            in two folders.
    """
    checks.one_of(missing, MISSING, "missing")
    wanted = common.columns_asked(findings, SIIM.vocabulary, SIIM.owner)
    file = common.label_file(root, SIIM)
    text = common.read_text(file, {"ImageId": "image_id", "EncodedPixels": "runs"})
    outlined = (text["runs"] != "-1").astype(float)
    wrong = ~text["runs"].str.fullmatch(r"-1|\d+( \d+)*")
    if wrong.any():
        raise ValueError(
            f"{file.name}: EncodedPixels of {text['image_id'][wrong].iloc[0]} is neither -1 nor numbers; download the "
            "file again."
        )
    one = outlined.groupby(text["image_id"], sort=False).agg(["max", "min"])
    if (one["max"] != one["min"]).any():
        image = one.index[one["max"] != one["min"]][0]
        raise ValueError(f"{file.name}: {image} is listed with an outline and without one; download the file again.")
    image_ids = one.index.tolist()
    paths = paths_of(file.parent, image_ids, images, missing, [f"{image}.dcm" for image in image_ids])
    described = common.in_headers(paths) | {"patient_id": image_ids, "follow_up": np.zeros(len(image_ids), np.int64)}
    labels = {name: one["max"].to_numpy(dtype=float) for name in wanted}
    table, left_out = assemble(image_ids, paths, described, labels, missing)
    table.attrs["source"] = source_of_folder(
        file.parent,
        [file],
        SIIM.source_name,
        file.name,
        "chexkeras phantoms in SIIM-ACR's layout",
        (ENRICHED_CAUTION, NO_PATIENTS_CAUTION),
        left_out=left_out,
    )
    return table
