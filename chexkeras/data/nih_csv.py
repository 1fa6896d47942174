"""NIH's label file as text: its header spellings and finding labels, turned into clean columns."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from chexkeras import findings as vocabulary
from chexkeras.data.datasets import _csv

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
_SHOWN = {
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


def read_text(path: Path) -> pd.DataFrame:
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
    missing = [_SHOWN[name] for name in _SHOWN if name not in place_of]
    if missing:
        raise ValueError(
            f"{path.name} lacks the column(s) {', '.join(missing)}; its first line is: {','.join(cells)[:300]!r}. "
            "Use NIH's Data_Entry_2017_v2020.csv or Data_Entry_2017.csv, or Kaggle's sample_labels.csv, unchanged."
        )
    names = [name if name and place_of[name] == place else None for place, name in enumerate(known)]
    text = _csv.read_columns(path, names)[list(_SHOWN)]
    _csv.refuse_repeated(text["image_id"], path.name)
    return text


def whole_numbers(text: pd.DataFrame, column: str, file_name: str) -> np.ndarray:
    """Returns a text column as integers.

    Raises:
        ValueError: If a value is no whole number; the message names the first and its image.
    """
    numbers = pd.to_numeric(text[column], errors="coerce").to_numpy(dtype=float)
    wrong = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{file_name}: {_SHOWN[column]!r} is {text[column].iloc[first]!r} for {text['image_id'].iloc[first]} "
            f"(and in {int(wrong.sum()) - 1} other rows); a whole number was expected."
        )
    return numbers.astype(np.int64)


def _parts(combination: str) -> tuple[str, ...]:
    known = (*vocabulary.NIH14, vocabulary.NO_FINDING)
    return tuple(vocabulary.canonical(part.strip(), known) for part in combination.split("|"))


def label_columns(
    text: pd.DataFrame, findings: Sequence[str], file_name: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns one 0/1 column per finding.

    A film labelled ``No Finding`` together with a finding keeps the finding and is reported, not corrected: which of
    the two is wrong cannot be known from the text.

    Args:
        text: What `read_text` returned.
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
                raise ValueError(f"the label is blank; write {vocabulary.NO_FINDING!r} for a film without findings")
            parsed.append(_parts(combination))
        except ValueError as error:
            image = text["image_id"].iloc[int(np.argmax(codes == code))]
            raise ValueError(
                f"{file_name}: labels {combination!r} of {image} ({int((codes == code).sum())} row(s)): {error}"
            ) from error
    columns = {finding: np.asarray([float(finding in parts) for parts in parsed])[codes] for finding in findings}
    contradicts = np.asarray([vocabulary.NO_FINDING in parts and len(set(parts)) > 1 for parts in parsed])[codes]
    return columns, tuple(text["image_id"][contradicts])
