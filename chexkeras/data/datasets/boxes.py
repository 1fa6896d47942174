"""Boxes and outlines that radiologists drew: NIH's, RSNA's pneumonia challenge, VinDr-CXR's and CheXlocalize's.

None of the data sets may be handed on; each is read as it is published. Findings keep their meaning: what a data set
calls by another name but means alike is renamed, what it means otherwise is left out (`CORRESPONDING`).

Source:
    Wang et al., CVPR 2017 (NIH); Shih et al., Radiology: Artificial Intelligence 1, 2019 (RSNA); Nguyen et al.,
    Scientific Data 9, 2022 (VinDr-CXR); Saporta et al., Nature Machine Intelligence 4, 2022 (CheXlocalize).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks, files
from chexkeras import findings as vocabulary
from chexkeras.arguments import checked
from chexkeras.data.datasets import _csv, correspondence, nih
from chexkeras.progress import say

COLUMNS = ("image_id", "finding", "x_px", "y_px", "width_px", "height_px", "reader")
"""Columns of the table of boxes: upper left corner and size, and who drew it ("" where the file does not say)."""

SQUARE_PX = 1024
"""Boxes are given as on a square image this wide: images are scaled to the model's square without padding."""

CORRESPONDING = {kind: correspondence.here(kind) for kind in ("rsna", "vindr", "chexlocalize")}
"""What the names of a data set mean here, None where nothing here means the same."""

KINDS = ("nih", *CORRESPONDING)

_RSNA = ("patientId", "x", "y", "width", "height", "Target")
_VINDR = ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max")
_MOST_PIXELS, _MOST_JSON_BYTES = 64 * 10**6, 512 * 2**20


class _Read(NamedTuple):
    """Boxes as a file has them, in pixels of its own images, and the size of each image: rows and columns."""

    boxes: pd.DataFrame
    sizes: dict[str, tuple[float, float]]


@checked
def load_boxes(
    root: str | Path,
    *,
    kind: str | None = None,
    table: pd.DataFrame | None = None,
    findings: Iterable[str] | None = None,
    least_readers: int = 1,
) -> pd.DataFrame:
    """Loads boxes that radiologists drew.

    Args:
        root: The file: NIH's ``BBox_List_2017.csv``, RSNA's ``stage_2_train_labels.csv``, VinDr-CXR's
            ``annotations_train.csv`` or ``annotations_test.csv`` (also Kaggle's ``train.csv``), CheXlocalize's
            ``gt_annotations_val.json`` (outlines, each of which gives the box around it) or
            ``gt_segmentations_val.json`` (masks, each connected part of which gives one). A folder is NIH's.
        kind: "nih", "rsna", "vindr" or "chexlocalize"; None tells by the content.
        table: Image table: boxes of its images only are kept, under their image_id there. VinDr-CXR's file does not say
            how large the images are: it needs the table, with width_px and height_px.
        findings: Which findings, in which spelling, such as a run's targets; None keeps all, in NIH's spelling where it
            has one and else in CheXpert's.
        least_readers: Where several readers drew: how many of them must have marked a finding on an image for its boxes
            to count.

    Returns:
        A table with `COLUMNS`, in pixels of a square image, ``attrs["image_px"]`` wide; ``attrs["source"]`` is the
        file's name, ``attrs["left_out"]`` how many boxes were left out, by reason.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If its content is none of these, a number is not one, a finding is unknown, sizes are missing, or no
            box is of an image of the table.
    """
    if kind is not None:
        checks.one_of(kind, KINDS, "kind")
    checks.positive_int(least_readers, "least_readers")
    path = checks.typed_path(root, "root")
    if path.is_dir() and kind in (None, "nih"):
        path = nih.box_file(path)
    path = checks.existing_file(path, "root", "give the file of the boxes.")
    known = kind or _kind(path)
    left_out: dict[str, int] = {}
    if known == "nih":
        boxes = _of_table(nih.load_boxes(path).assign(reader=""), table, left_out)
    else:
        read = _READERS[known](path)
        boxes = _named(read.boxes, known, path.name, left_out)
        if read.sizes:
            boxes = _of_table(_squared(boxes, read.sizes), table, left_out)
        else:
            boxes = _squared(_of_table(boxes, table, left_out), _sizes(table, path.name))
    boxes = _wanted(boxes, findings, left_out)
    if least_readers > 1:
        count = boxes.groupby(["image_id", "finding"])["reader"].transform("nunique")
        left_out["marked by fewer readers"] = int((count < least_readers).sum())
        boxes = boxes[count >= least_readers]
    boxes = boxes[list(COLUMNS)].reset_index(drop=True)
    boxes.attrs |= {"image_px": nih.BOX_IMAGE_PX if known == "nih" else SQUARE_PX, "source": path.name}
    boxes.attrs["left_out"] = {reason: number for reason, number in left_out.items() if number}
    for reason, number in boxes.attrs["left_out"].items():
        say(f"{path.name}: {number:,} boxes left out: {reason}")
    return boxes


def _kind(path: Path) -> str:
    """Returns whose file it is, by its content."""
    if path.suffix.lower() == ".json":
        return "chexlocalize"
    cells = [cell.strip() for cell in _csv.header(path)]
    for kind, columns in (("rsna", _RSNA), ("vindr", _VINDR)):
        if set(columns) <= set(cells):
            return kind
    if cells[:1] == ["Image Index"]:
        return "nih"
    raise ValueError(
        f"{path.name} has the columns {', '.join(cells)[:300]}; boxes are read as NIH, RSNA ({', '.join(_RSNA)}), "
        f"VinDr-CXR ({', '.join(_VINDR)}) and CheXlocalize (JSON) publish them."
    )


def _text(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """Reads some columns of a CSV as text; optional ones that are not there are blank."""
    cells = [cell.strip() for cell in _csv.header(path)]
    lacking = [name for name in columns if name not in cells]
    if lacking:
        raise ValueError(f"{path.name} lacks the column(s) {', '.join(lacking)}; download it again, and give its kind.")
    names = [cell if cell in (*columns, *optional) else None for cell in cells]
    text = _csv.read_columns(path, names)
    for name in optional:
        if name not in text:
            text[name] = ""
    return text.apply(lambda column: column.str.strip())


def _numbers(text: pd.DataFrame, columns: Sequence[str], images: pd.Series, name: str) -> NDArray[np.float64]:
    values = text[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(values).all(axis=1)
    if wrong.any():
        image = images[wrong].iloc[0]
        raise ValueError(f"{name}: a box of {image} has a place or size that is no number; download the file again.")
    return np.asarray(values)


def _boxes(
    images: pd.Series, names: pd.Series, corners: NDArray[np.float64], readers: pd.Series, file: str
) -> pd.DataFrame:
    """Returns a table of boxes from corners: left, top, right, bottom."""
    flat = (corners[:, 2] <= corners[:, 0]) | (corners[:, 3] <= corners[:, 1])
    if flat.any():
        raise ValueError(f"{file}: a box of {images[flat].iloc[0]} has no width or height; download the file again.")
    places = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    of_whom = {"image_id": images.to_numpy(), "finding": names.to_numpy(), "reader": readers.to_numpy()}
    return pd.DataFrame(places, columns=list(COLUMNS[2:6])).assign(**of_whom)


def _rsna(path: Path) -> _Read:
    """Reads RSNA's boxes; patients without one have a row with Target 0 and no numbers."""
    text = _text(path, _RSNA)
    if not text["Target"].isin(["0", "1"]).all():
        raise ValueError(f"{path.name}: Target is neither 0 nor 1 in some rows; download the file again.")
    text = text[text["Target"] == "1"]
    values = _numbers(text, ("x", "y", "width", "height"), text["patientId"], path.name)
    corners = np.column_stack([values[:, :2], values[:, :2] + values[:, 2:]])
    blank, name = pd.Series("", index=text.index), pd.Series("Lung Opacity", index=text.index)
    boxes = _boxes(text["patientId"], name, corners, blank, path.name)
    # All images of the challenge are squares of this size.
    return _Read(boxes, dict.fromkeys(boxes["image_id"], (1024.0, 1024.0)))


def _vindr(path: Path) -> _Read:
    """Reads VinDr-CXR's boxes; "No finding" has a row without numbers for each reader."""
    text = _text(path, _VINDR, ("rad_id",))
    text = text[text["class_name"].str.casefold() != "no finding"]
    corners = _numbers(text, ("x_min", "y_min", "x_max", "y_max"), text["image_id"], path.name)
    return _Read(_boxes(text["image_id"], text["class_name"], corners, text["rad_id"], path.name), {})


def _chexlocalize(path: Path) -> _Read:
    """Reads CheXlocalize's outlines, lists of points, or masks, run-length encoded."""
    files.readable(path, _MOST_JSON_BYTES)
    document = files.read_json(path)
    rows: list[tuple[str, str, float, float, float, float]] = []
    sizes: dict[str, tuple[float, float]] = {}
    try:
        for image, entry in document.items():
            if "img_size" in entry:
                height, width = map(float, entry["img_size"])
                sizes[image] = (height, width)
            for name, drawn in entry.items():
                if name == "img_size":
                    continue
                if isinstance(drawn, dict):
                    sizes[image] = (float(drawn["size"][0]), float(drawn["size"][1]))
                    around = _around_mask(drawn)
                else:
                    around = [_around(np.asarray(outline, np.float64)) for outline in drawn]
                rows += [(image, name, *corners) for corners in around]
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"{path.name} is not as CheXlocalize publishes its outlines or masks ({error!s:.200}); download it again."
        ) from None
    frame = pd.DataFrame(rows, columns=["image", "name", "left", "top", "right", "bottom"])
    corners = frame[["left", "top", "right", "bottom"]].to_numpy(np.float64)
    blank = pd.Series("", index=frame.index)
    return _Read(_boxes(frame["image"], frame["name"], corners, blank, path.name), sizes)


def _around(outline: NDArray[np.float64]) -> tuple[float, float, float, float]:
    if outline.ndim != 2 or outline.shape[1] != 2 or not len(outline) or not np.isfinite(outline).all():
        raise ValueError(f"an outline of shape {outline.shape}; points (x, y) were expected")
    (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
    return left, top, right, bottom


def _around_mask(encoded: dict[str, Any]) -> list[tuple[float, float, float, float]]:
    from scipy import ndimage

    parts, _ = ndimage.label(decode_mask(encoded))
    return [
        (float(across.start), float(down.start), float(across.stop), float(down.stop))
        for down, across in ndimage.find_objects(parts)
    ]


def decode_mask(encoded: dict[str, Any]) -> NDArray[np.bool_]:
    """Returns a run-length encoded mask, as COCO's tools write it.

    Runs of 0 and 1 in turn go down the columns. As text, each count is written in groups of five bits, lowest first,
    from the character "0" on, with a sixth bit where more follow; from the fourth count on it is the difference to the
    count before the last.

    Args:
        encoded: size, rows and columns; counts, text or a list of numbers.

    Returns:
        bool array (rows, columns).

    Raises:
        ValueError: If the counts do not fill the mask, or it is too large.

    Example:
        >>> decode_mask({"size": [2, 3], "counts": [1, 2, 3]}).astype(int).tolist()
        [[0, 1, 0], [1, 0, 0]]
    """
    rows, columns = (int(length) for length in encoded["size"])
    if not (rows > 0 and columns > 0 and rows * columns <= _MOST_PIXELS):
        raise ValueError(f"a mask of {rows} x {columns} pixels")
    counts = encoded["counts"]
    runs = _runs(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if any(count < 0 for count in runs) or sum(runs) != rows * columns:
        raise ValueError(f"runs that do not fill a mask of {rows} x {columns} pixels")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.asarray(values.reshape(columns, rows).T)


def _runs(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64 or shift > 40:
            raise ValueError(f"the character {character!a} in a mask")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            # The highest bit of the last group is the sign.
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


_READERS: dict[str, Callable[[Path], _Read]] = {"rsna": _rsna, "vindr": _vindr, "chexlocalize": _chexlocalize}


def _named(boxes: pd.DataFrame, kind: str, file: str, left_out: dict[str, int]) -> pd.DataFrame:
    """Renames findings to what means the same here, and leaves out the others."""
    meaning = CORRESPONDING[kind]
    plain = boxes["finding"].str.casefold()
    unknown = boxes.loc[~plain.isin(list(meaning)), "finding"]
    if len(unknown):
        name = str(unknown.iloc[0])
        raise ValueError(f"{file}: unknown finding {name!r}; {checks.nearest(name.casefold(), meaning)}")
    meant = plain.map(meaning)
    without = boxes.loc[meant.isna(), "finding"]
    if len(without):
        left_out[f"no finding here means the same as {', '.join(sorted(set(without)))}"] = len(without)
    return boxes.assign(finding=meant)[meant.notna()]


def _of_table(boxes: pd.DataFrame, table: pd.DataFrame | None, left_out: dict[str, int]) -> pd.DataFrame:
    """Keeps the boxes of a table's images, under the names that these have there."""
    if table is None:
        return boxes
    checks.require_columns(table, ("image_id",), "the image table", "Load it with open_data or load_table.")
    names: dict[str, str] = {}
    for image in table["image_id"].astype(str):
        for alias in _aliases(image):
            names.setdefault(alias, image)
    renamed = boxes["image_id"].map(names)
    unknown = boxes.loc[renamed.isna(), "image_id"]
    if len(unknown) == len(boxes):
        raise ValueError(
            f"no box is of an image of the table: boxes are of {', '.join(map(repr, unknown.unique()[:2]))}, the table "
            f"has {', '.join(map(repr, list(names)[:2]))}."
        )
    if len(unknown):
        left_out[f"{unknown.nunique():,} images such as {unknown.iloc[0]!r} are not in the table"] = len(unknown)
    return boxes.assign(image_id=renamed)[renamed.notna()]


def _aliases(image: str) -> tuple[str, ...]:
    """Returns the names that a file of boxes may have for an image: its own, without an ending, CheXlocalize's.

    Example:
        >>> _aliases("valid/patient64541/study1/view1_frontal.jpg")[1:]
        ('valid/patient64541/study1/view1_frontal', 'patient64541_study1_view1_frontal')
    """
    path = PurePosixPath(image)
    parts = path.with_suffix("").parts
    first = next((place for place, part in enumerate(parts) if part.startswith("patient")), 0)
    return image, str(path.with_suffix("")), "_".join(parts[first:])


def _sizes(table: pd.DataFrame | None, file: str) -> dict[str, tuple[float, float]]:
    """Returns rows and columns of each image of a table."""
    if table is None or not {"width_px", "height_px"} <= set(table.columns):
        raise ValueError(
            f"{file} does not say how large the images are; give table=, an image table with width_px and height_px."
        )
    heights, widths = (pd.to_numeric(table[name], errors="coerce").tolist() for name in ("height_px", "width_px"))
    return dict(zip(table["image_id"].astype(str), zip(heights, widths, strict=True), strict=True))


def _squared(boxes: pd.DataFrame, sizes: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """Scales boxes to a square image, rows and columns each for itself, as images are scaled for the model."""
    known = [sizes.get(image, (np.nan, np.nan)) for image in boxes["image_id"]]
    size = np.asarray(known, np.float64).reshape(-1, 2)
    lacking = ~(size > 0).all(axis=1)
    if lacking.any():
        image = boxes["image_id"].to_numpy()[lacking][0]
        raise ValueError(f"the size of the image {image} is not known; give a table with its width_px and height_px.")
    y, x = SQUARE_PX / size.T
    return boxes.assign(
        x_px=boxes["x_px"] * x, y_px=boxes["y_px"] * y, width_px=boxes["width_px"] * x, height_px=boxes["height_px"] * y
    )


def _wanted(boxes: pd.DataFrame, findings: Iterable[str] | None, left_out: dict[str, int]) -> pd.DataFrame:
    if findings is None:
        return boxes
    wanted = vocabulary.label_names(tuple(findings))
    spelt: dict[str, str | None] = {}
    for name in boxes["finding"].unique():
        try:
            spelt[name] = vocabulary.canonical(name, wanted)
        except ValueError:
            spelt[name] = None
    renamed = boxes["finding"].map(spelt)
    left_out["of findings that are not asked for"] = int(renamed.isna().sum())
    return boxes.assign(finding=renamed)[renamed.notna()]
