"""NIH ChestX-ray14: from its folder to an image table, one row per film, and to the table of its boxes.

Source:
    Wang et al., "ChestX-ray8", CVPR 2017; data from the NIH Clinical Center, nihcc.app.box.com/v/ChestXray-NIHCC.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from chexkeras import checks, files
from chexkeras import findings as vocabulary
from chexkeras.data import demographics, image_table, nih_csv
from chexkeras.data.datasets._files import MISSING, leave_out_missing, locate_films, refuse_missing
from chexkeras.data.nih_release import label_release
from chexkeras.data.source import PHANTOM_FILE, TableSource, phantom_cautions

LABEL_FILES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv")
BOX_FILE = "BBox_List_2017.csv"
BOX_FILM_PX = 1024
OFFICIAL_LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}


def load_nih(
    root: str | Path,
    *,
    images: str | Path | None = None,
    missing: Literal["error", "skip", "keep"] = "error",
    findings: Iterable[str] = vocabulary.NIH14,
) -> pd.DataFrame:
    """Loads NIH ChestX-ray14, Kaggle's sample of it, or phantoms in its layout, as one row per film.

    Args:
        root: The folder that holds the label file (``Data_Entry_2017_v2020.csv``, ``Data_Entry_2017.csv`` or
            ``sample_labels.csv``, the first that exists), or that file itself. The official lists are read beside it.
        images: The folder of the films, absolute or relative to `root`; None looks for ``images``, then for Kaggle's
            ``images_001/images`` to ``images_012/images``, then everywhere below `root`.
        missing: What to do with rows whose film is not there: "error"; "skip" drops them and lists them in the source's
            ``left_out``; "keep" leaves them with an empty path (labels only, for exploration and splits).
        findings: Which of the 14 findings become columns, in this order.

    Returns:
        A table with image_id, path, patient_id (text without leading zeros), follow_up, age_years (NaN when blank or
        impossible), sex, view, width_px, height_px, pixel_spacing_mm, one float column (1 or 0) per finding, and
        official_split ("train_val", "test" or ""). ``attrs["source"]`` is its `TableSource`.

    Raises:
        FileNotFoundError: If the folder, the label file, all films, or (with missing="error") any film is missing.
        ValueError: If the label file is malformed, a label is unknown, or a film lies in two folders.
    """
    checks.one_of(missing, MISSING, "missing")
    wanted = vocabulary.resolve(findings)
    label_file = _label_file(root)
    folder = label_file.parent
    text = nih_csv.read_text(label_file)
    follow_up = nih_csv.whole_numbers(text, "follow_up", label_file.name)
    ages, implausible = demographics.ages_in_years(text["age"])
    labels, contradictory = nih_csv.label_columns(text, wanted, label_file.name)
    # pandas is slow at handing out single strings; a list is not.
    image_ids = text["image_id"].tolist()
    official, list_files = _official_split(folder, image_ids)
    table = pd.DataFrame(
        {
            "image_id": image_ids,
            "path": _paths(folder, image_ids, images, missing),
            "patient_id": demographics.patient_ids(text["patient_id"]),
            "follow_up": follow_up,
            "age_years": ages,
            "sex": demographics.sexes(text["sex"]),
            "view": demographics.capitals(text["view"]),
            "width_px": nih_csv.whole_numbers(text, "width_px", label_file.name),
            "height_px": nih_csv.whole_numbers(text, "height_px", label_file.name),
            "pixel_spacing_mm": pd.to_numeric(text["pixel_spacing_mm"], errors="coerce").astype(float),
            **labels,
            image_table.OFFICIAL_SPLIT: official,
        }
    )
    table, left_out = leave_out_missing(table) if missing == "skip" else (table, ())
    phantom = folder / PHANTOM_FILE
    read = [label_file, *list_files, *([phantom] if phantom.is_file() else [])]
    source: dict[str, Any] = {
        "files": tuple((path.name, files.sha256_file(path)) for path in read),
        "left_out": left_out,
        "implausible_ages": implausible,
        "contradictory": contradictory,
    }
    if phantom.is_file():
        table.attrs["source"] = TableSource(
            dataset="chexkeras phantoms",
            label_release="not applicable (synthetic)",
            synthetic=True,
            cautions=phantom_cautions(phantom),
            **source,
        )
    else:
        release = label_release(image_ids, text["labels"].tolist(), follow_up.tolist())
        table.attrs["source"] = TableSource(dataset="NIH ChestX-ray14", label_release=release, **source)
    return table


def load_boxes(root: str | Path) -> pd.DataFrame:
    """Loads NIH's 984 hand-drawn boxes, all on films of the official test list.

    Args:
        root: The folder that holds ``BBox_List_2017.csv``, or that file itself.

    Returns:
        A table with image_id, finding (canonical: the file's ``Infiltrate`` is Infiltration), and x_px, y_px (top left
        corner), width_px, height_px in pixels of the 1024 x 1024 film, whatever the size of the copy at hand;
        ``attrs["film_px"]`` is that 1024, by which figures fit the boxes to smaller films.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it lacks columns, a number is not one, or a finding is unknown.
    """
    path = Path(root).expanduser()
    if not path.is_file():
        path = checks.existing_file(
            checks.existing_folder(path, "root") / BOX_FILE, "boxes", "download NIH's box list into that folder."
        )
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
    boxes.attrs["film_px"] = BOX_FILM_PX
    return boxes


def _label_file(root: str | Path) -> Path:
    path = Path(root).expanduser()
    if path.is_file():
        return path
    folder = checks.existing_folder(path, "root")
    for name in LABEL_FILES:
        if (folder / name).is_file():
            return folder / name
    if not any(folder.iterdir()):
        raise FileNotFoundError(f"root: the folder {str(folder)!r} is empty; expected {' or '.join(LABEL_FILES)}.")
    elsewhere = sorted(path for name in LABEL_FILES for path in (*folder.glob(f"*/{name}"), folder.parent / name))
    hint = next((f" There is one at {str(path)!r}: give its folder." for path in elsewhere if path.is_file()), "")
    raise FileNotFoundError(
        f"root: no label file in {str(folder)!r}; expected {', '.join(LABEL_FILES)}, or give the path of the CSV "
        f"itself.{hint}"
    )


def _official_split(folder: Path, image_ids: list[str]) -> tuple[np.ndarray, list[Path]]:
    """Returns each film's official part, and which lists were read."""
    part_of: dict[str, str] = {}
    read = []
    for part, name in OFFICIAL_LISTS.items():
        path = folder / name
        if not path.is_file():
            continue
        read.append(path)
        for image in path.read_text(encoding="utf-8-sig").split():
            if part_of.setdefault(image, part) != part:
                raise ValueError(f"{image} is in both {' and '.join(OFFICIAL_LISTS.values())}; download them again.")
    return np.asarray([part_of.get(image, "") for image in image_ids], dtype=object), read


def _paths(folder: Path, image_ids: list[str], images: str | Path | None, missing: str) -> list[str]:
    found, searched = locate_films(folder, set(image_ids), images)
    paths = [found.get(image, "") for image in image_ids]
    where = " and ".join(map(str, searched[:2])) + (" ..." if len(searched) > 2 else "")
    refuse_missing(
        image_ids, paths, missing, where, "Give the folder of the films with images= (on the command line --images)"
    )
    return paths
