"""NIH ChestX-ray14: from its folder to an image table, one row per image, and to the table of its boxes.

`load_nih` and `load_boxes` come first; below them stand the label file as text and the release its content tells.

Source:
    Wang et al., "ChestX-ray8", CVPR 2017; data from the NIH Clinical Center, nihcc.app.box.com/v/ChestXray-NIHCC.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from chexkeras import checks, files
from chexkeras import findings as vocabulary
from chexkeras.arguments import checked
from chexkeras.data.datasets import _csv
from chexkeras.data.datasets._files import MISSING, assemble, paths_of, source_of_folder
from chexkeras.data.datasets.registry import NIH
from chexkeras.data.image_table import ImageTable
from chexkeras.storage import Place, Remote

LABEL_FILES = NIH.label_files
BOX_FILE = "BBox_List_2017.csv"
BOX_IMAGE_PX = 1024
OFFICIAL_LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}


@checked
def load_nih(
    root: str | Path,
    *,
    images: str | Path | None = None,
    missing: Literal["error", "skip", "keep"] = "error",
    findings: Iterable[str] = vocabulary.NIH14,
) -> ImageTable:
    """Loads NIH ChestX-ray14, Kaggle's sample of it, or phantoms in its layout, as one row per image.

    Args:
        root: The folder that holds the label file (``Data_Entry_2017_v2020.csv``, ``Data_Entry_2017.csv`` or
            ``sample_labels.csv``, the first that exists), or that file itself; also its address in an object store,
            such as ``s3://bucket/nih``. The official lists are read beside it.
        images: The folder of the images, absolute or relative to `root`; None looks for ``images``, then for Kaggle's
            ``images_001/images`` to ``images_012/images``, then everywhere below `root`.
        missing: What to do with rows whose image is not there: "error"; "skip" drops them and lists them in the
            source's ``left_out``; "keep" leaves them with an empty path (labels only, for exploration and splits).
        findings: Which of the 14 findings become columns, in this order.

    Returns:
        A table with image_id, path, patient_id (text without leading zeros), follow_up, age_years (NaN when blank or
        impossible), sex, view, width_px, height_px, pixel_spacing_mm, one float column (1 or 0) per finding, and
        official_split ("train_val", "test" or ""). ``attrs["source"]`` is its `TableSource`.

    Raises:
        FileNotFoundError: If the folder, the label file, all images, or (with missing="error") any image is missing.
        ValueError: If the label file is malformed, a label is unknown, or an image lies in two folders.
    """
    checks.one_of(missing, MISSING, "missing")
    wanted = vocabulary.resolve(findings)
    label_file = _label_file(root)
    folder = label_file.parent
    text = _read_text(label_file)
    follow_up = _whole_numbers(text, "follow_up", label_file.name)
    ages, implausible = _csv.ages_in_years(text["age"])
    labels, contradictory = _label_columns(text, wanted, label_file.name)
    # pandas is slow at handing out single strings; a list is not.
    image_ids = text["image_id"].tolist()
    official, list_files = _official_split(folder, image_ids)
    described = {
        "patient_id": _csv.patient_ids(text["patient_id"]),
        "follow_up": follow_up,
        "age_years": ages,
        "sex": _csv.sexes(text["sex"]),
        "view": _csv.capitals(text["view"]),
        "width_px": _whole_numbers(text, "width_px", label_file.name),
        "height_px": _whole_numbers(text, "height_px", label_file.name),
        "pixel_spacing_mm": pd.to_numeric(text["pixel_spacing_mm"], errors="coerce").astype(float),
    }
    release = _label_release(image_ids, text["labels"], follow_up)
    # Of millions of rows, what was read is as large as what is made of it.
    del text
    paths = paths_of(folder, image_ids, images, missing)
    table, left_out = assemble(image_ids, paths, described, labels, missing, official=official)
    table.attrs["source"] = source_of_folder(
        folder,
        [label_file, *list_files],
        NIH.source_name,
        release,
        "chexkeras phantoms",
        left_out=left_out,
        implausible_ages=implausible,
        contradictory=contradictory,
    )
    return table


@checked
def load_boxes(root: str | Path) -> pd.DataFrame:
    """Loads NIH's 984 hand-drawn boxes, all on images of the official test list.

    Args:
        root: The folder that holds ``BBox_List_2017.csv``, or that file itself.

    Returns:
        A table with image_id, finding (canonical: the file's ``Infiltrate`` is Infiltration), and x_px, y_px (top left
        corner), width_px, height_px in pixels of the 1024 x 1024 image, whatever the size of the copy at hand;
        ``attrs["image_px"]`` is that 1024, by which figures fit the boxes to smaller images.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it lacks columns, a number is not one, or a finding is unknown.
    """
    path = checks.typed_path(root, "root")
    if not path.is_file():
        path = box_file(checks.existing_folder(path, "root"))
    raw = pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True, index_col=False)
    # The header names the four numbers "Bbox [x,y,w,h]", unquoted, followed by three empty columns: only the order of
    # the first six cells is dependable.
    if raw.shape[1] < 6 or str(raw.columns[0]).strip() != "Image Index":
        raise ValueError(
            f"{path.name} has the columns {', '.join(map(str, raw.columns))}; expected Image Index, Finding Label and "
            "Bbox [x,y,w,h] as NIH publishes them. Download the file again."
        )
    boxes = raw.iloc[:, :6].set_axis(["image_id", "finding", "x_px", "y_px", "width_px", "height_px"], axis=1)
    boxes["finding"] = boxes["finding"].map({name: vocabulary.canonical(name) for name in boxes["finding"].unique()})
    for column in ("x_px", "y_px", "width_px", "height_px"):
        numbers = pd.to_numeric(boxes[column], errors="coerce")
        if numbers.isna().any():
            image = boxes["image_id"][numbers.isna()].iloc[0]
            raise ValueError(f"{path.name}: {column} of {image} is not a number; download the file again.")
        boxes[column] = numbers.astype(float)
    boxes.attrs["image_px"] = BOX_IMAGE_PX
    return boxes


def box_file(folder: Path) -> Path:
    """Returns the file of NIH's boxes in a folder.

    Args:
        folder: Where it lies, also under a name such as ``BBox_List_2017 (1).csv``.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If there are two.
    """
    found = Path(str(_called(folder, BOX_FILE) or folder / BOX_FILE))
    return checks.existing_file(found, "boxes", "download NIH's box list into that folder.")


def _label_file(root: str | Path) -> Place:
    path = files.typed_place(root, "root")
    if path.is_file():
        return path
    folder = files.existing_place(path, "root", is_folder=True)
    label_file = NIH.label_file_in(folder)
    if label_file is not None:
        return label_file
    if not any(folder.iterdir()):
        raise FileNotFoundError(f"root: the folder {str(folder)!r} is empty; expected {' or '.join(LABEL_FILES)}.")
    if isinstance(folder, Remote):
        raise FileNotFoundError(f"root: no label file in {str(folder)!r}; expected {', '.join(LABEL_FILES)}.")
    elsewhere = sorted(path for name in LABEL_FILES for path in (*folder.glob(f"*/{name}"), folder.parent / name))
    hint = next((f" There is one at {str(path)!r}: give its folder." for path in elsewhere if path.is_file()), "")
    raise FileNotFoundError(
        f"root: no label file in {str(folder)!r}; expected {', '.join(LABEL_FILES)}, or give the path of the CSV "
        f"itself.{hint}"
    )


def _called(folder: Place, name: str) -> Place | None:
    """Returns the file of this name in a folder, or the one whose name begins as it does and ends alike.

    Copies of the data set call them train_val_list_NIH.txt, or test_list (1).txt.

    Raises:
        ValueError: If there are two.
    """
    if (folder / name).is_file():
        return folder / name
    stem, ending = name.casefold().rsplit(".", 1)
    found: list[Place] = sorted(
        path
        for path in folder.iterdir()
        if path.name.casefold().startswith(stem) and path.name.casefold().endswith(f".{ending}") and path.is_file()
    )
    if len(found) > 1:
        raise ValueError(
            f"both {found[0].name} and {found[1].name} may be NIH's {name}; keep one, or give it that name."
        )
    return found[0] if found else None


def _official_split(folder: Place, image_ids: list[str]) -> tuple[np.ndarray, list[Place]]:
    """Returns each image's official part, and which lists were read."""
    part_of: dict[str, str] = {}
    read: list[Place] = []
    for part, name in OFFICIAL_LISTS.items():
        path = _called(folder, name)
        if path is None:
            continue
        read.append(path)
        for image in path.read_text(encoding="utf-8-sig").split():
            if part_of.setdefault(image, part) != part:
                raise ValueError(f"{image} is in both {' and '.join(OFFICIAL_LISTS.values())}; download them again.")
    return np.asarray([part_of.get(image, "") for image in image_ids], dtype=object), read


REVISION_2020 = "2020 revision"
CORRECTED_2017 = "2017 release, corrected labels"
FIRST_2017 = "2017 release, first labels"
RELEASE_2017 = "2017 release"
UNKNOWN = "unknown"

# Images whose labels NIH changed between its first release (of which Kaggle's sample is a part) and the corrected one:
# each gained the finding named here.
_GAINED = {
    "00000150_002.png": "Pneumonia",
    "00000193_019.png": "Pneumonia",
    "00007444_003.png": "Pneumonia",
    "00010815_006.png": "Atelectasis",
    "00011151_004.png": "Mass",
    "00011831_008.png": "Pneumonia",
    "00011832_002.png": "Nodule",
    "00019765_010.png": "Pneumonia",
    "00020065_008.png": "Mass",
    "00022727_000.png": "Infiltration",
    "00027464_033.png": "Cardiomegaly",
    "00029808_003.png": "Pneumonia",
}
_NAME = re.compile(r"\d{8}_(\d{3})\.")
# With 27 % of the later images renumbered, this many that all agree are the 2020 revision once in 10,000.
_ENOUGH_IMAGES = 30


def _label_release(image_ids: Sequence[str], labels: Iterable[str], follow_up: Iterable[int]) -> str:
    """Names the release.

    Two things tell the releases apart. The first labels lack findings that the corrected ones have (the twelve images
    above; Pneumonia on 1,431 images against 1,353). And the 2020 revision renumbered the follow-ups: before it, the
    follow-up was always the number in the file's name, since then it differs on 22 % of images.

    Args:
        image_ids: File names such as ``00000001_000.png``.
        labels: Label text such as ``Cardiomegaly|Emphysema``.
        follow_up: Follow-up numbers.

    Returns:
        "2020 revision", "2017 release, corrected labels", "2017 release, first labels", "2017 release" when no image
        tells which labels, or "unknown" when the evidence is missing or speaks both ways.
    """
    renumbered, later = False, 0
    for image, given in zip(image_ids, follow_up, strict=True):
        match = _NAME.match(image)
        if match:
            number = int(match[1])
            renumbered, later = renumbered or number != given, later + (number > 0)
    has_gained = [
        _GAINED[image] in text.split("|") for image, text in zip(image_ids, labels, strict=True) if image in _GAINED
    ]
    if has_gained and not any(has_gained):
        return UNKNOWN if renumbered else FIRST_2017
    if has_gained and not all(has_gained):
        return UNKNOWN
    if renumbered:
        return REVISION_2020
    if later < _ENOUGH_IMAGES:
        return UNKNOWN
    return CORRECTED_2017 if has_gained else RELEASE_2017


# Keys are header cells with everything but letters and digits removed. NIH's own file writes the two bracketed names
# with a comma inside and no quotes, so a CSV reader sees four cells, the second of each pair without its context.
_HEADER = {
    "imageindex": "image_id",
    "findinglabels": "labels",
    "followup": "follow_up",
    "patientid": "patient_id",
    "patientage": "age",
    "patientgender": "sex",
    "patientsex": "sex",
    "viewposition": "view",
    "originalimagewidth": "width_px",
    "height": "height_px",
    "originalimageheight": "height_px",
    "originalimagepixelspacingx": "pixel_spacing_mm",
}
_WRITTEN = {
    "image_id": "Image Index",
    "labels": "Finding Labels",
    "follow_up": "Follow-up #",
    "patient_id": "Patient ID",
    "age": "Patient Age",
    "sex": "Patient Gender",
    "view": "View Position",
    "width_px": "OriginalImage[Width",
    "height_px": "Height]",
    "pixel_spacing_mm": "OriginalImagePixelSpacing[x",
}


def _read_text(path: Place) -> pd.DataFrame:
    """Reads the label file as text, one column per known header cell.

    Args:
        path: The CSV, in NIH's spelling (with or without a trailing empty column) or in that of Kaggle's sample.

    Returns:
        Text columns image_id, labels, follow_up, patient_id, age, sex, view, width_px, height_px, pixel_spacing_mm.

    Raises:
        ValueError: If it is empty, has no rows, lacks a column, names an image twice, or is not UTF-8 text.
    """
    cells = _csv.header(path)
    known = [_HEADER.get(re.sub(r"[^a-z0-9]", "", cell.casefold())) for cell in cells]
    # A name that two cells have belongs to the last of them.
    place_of = {name: place for place, name in enumerate(known) if name}
    missing = [_WRITTEN[name] for name in _WRITTEN if name not in place_of]
    if missing:
        raise ValueError(
            f"{path.name} lacks the column(s) {', '.join(missing)}; its first line is: {','.join(cells)[:300]!r}. "
            "Use NIH's Data_Entry_2017_v2020.csv or Data_Entry_2017.csv, or Kaggle's sample_labels.csv, unchanged."
        )
    names = [name if name and place_of[name] == place else None for place, name in enumerate(known)]
    text = _csv.read_columns(path, names)[list(_WRITTEN)]
    text["image_id"] = text["image_id"].str.strip()
    _csv.refuse_repeated(text["image_id"], path.name)
    return text


def _whole_numbers(text: pd.DataFrame, column: str, file_name: str) -> np.ndarray:
    """Returns a text column as integers.

    Raises:
        ValueError: If a value is no whole number; the message names the first and its image.
    """
    numbers = pd.to_numeric(text[column], errors="coerce").to_numpy(dtype=float)
    wrong = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{file_name}: {_WRITTEN[column]!r} is {text[column].iloc[first]!r} for {text['image_id'].iloc[first]} "
            f"(and in {int(wrong.sum()) - 1} other rows); a whole number was expected."
        )
    return numbers.astype(np.int64)


def _parts(combination: str) -> tuple[str, ...]:
    known = (*vocabulary.NIH14, vocabulary.NO_FINDING)
    return tuple(vocabulary.canonical(part.strip(), known) for part in combination.split("|"))


def _label_columns(
    text: pd.DataFrame, findings: Sequence[str], file_name: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns one 0/1 column per finding.

    An image labelled ``No Finding`` together with a finding keeps the finding and is reported, not corrected: which of
    the two is wrong cannot be known from the text.

    Args:
        text: What `_read_text` returned.
        findings: Which findings to make columns of, canonical spelling.
        file_name: For messages.

    Returns:
        Float columns by finding, and the image_ids whose labels contradict themselves.

    Raises:
        ValueError: If a label is blank or unknown; the message names the image and the nearest known label.
    """
    codes, combinations = pd.factorize(text["labels"])
    parsed = []
    for code, combination in enumerate(combinations):
        try:
            if not combination.strip():
                raise ValueError(f"the label is blank; write {vocabulary.NO_FINDING!r} for an image without findings")
            parsed.append(_parts(combination))
        except ValueError as error:
            image = text["image_id"].iloc[int(np.argmax(codes == code))]
            raise ValueError(
                f"{file_name}: labels {combination!r} of {image} ({int((codes == code).sum())} row(s)): {error}"
            ) from error
    columns = {finding: np.asarray([float(finding in parts) for parts in parsed])[codes] for finding in findings}
    contradicts = np.asarray([vocabulary.NO_FINDING in parts and len(set(parts)) > 1 for parts in parsed])[codes]
    return columns, tuple(text["image_id"][contradicts])
