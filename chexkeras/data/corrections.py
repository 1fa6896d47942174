"""Labels that a person has corrected: a file with a row for each, applied to an image table, and told everywhere."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.data.image_table import OFFICIAL_SPLIT, ImageTable

CORRECTION_COLUMNS = ("image_id", "finding", "label", "proposed", "your_label", "note", "read_by")
"""Columns of a file of corrections. `your_label` is filled in: 1, 0 or "unknown"; a blank leaves the label as it is.
`read_by` names who has read the image; labels of a test part need it."""

_LABELS = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "unknown": math.nan}
_FIX = "chexkeras suspects writes such a file, to fill in."


@checked
@dataclass(frozen=True, eq=False)
class Corrections:
    """A file of corrections, read and checked.

    Attributes:
        name: The file's name.
        sha256: Fingerprint of its bytes.
        rows: Only rows that were filled in: image_id, finding, label, your_label (float), read_by (text).
    """

    name: str
    sha256: str
    rows: pd.DataFrame

    def refuse_unread(self, test_images: pd.Series) -> None:
        """Refuses corrections of a test part that name no reader.

        Args:
            test_images: The image ids of the test part.

        Raises:
            ValueError: If there is one; the message names them.
        """
        unread = self.rows[self.rows["image_id"].isin(test_images.astype(str)) & (self.rows["read_by"] == "")]
        if len(unread):
            raise ValueError(
                f"{self.name} corrects {len(unread)} label(s) of the test part without a reader, first "
                f"{unread['finding'].iloc[0]} of {unread['image_id'].iloc[0]}: test labels are never corrected by a "
                "model's opinion; name in its column read_by who has read the image, or take these rows out."
            )


@checked
def read_corrections(path: str | Path) -> Corrections:
    """Reads a file of corrections.

    Args:
        path: A CSV with at least image_id, finding, label and your_label.

    Returns:
        The rows in which `your_label` is filled in.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If columns are missing, a label is none of 1, 0 and "unknown", or a label is corrected twice.
    """
    found = checks.existing_file(checks.typed_path(path, "corrections"), "corrections")
    file = files.readable(found, files.MOST_TABLE_BYTES)
    try:
        table = files.read_csv(file, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.name} is no CSV of corrections ({error}). {_FIX}") from error
    checks.require_columns(table, ("image_id", "finding", "label", "your_label"), file.name, _FIX)
    rows = table[table["your_label"].str.strip() != ""].copy()
    for name in ("label", "your_label"):
        given = rows[name].str.strip().str.lower()
        strange = given[~given.isin([*_LABELS, *([""] if name == "label" else [])])]
        if len(strange):
            raise ValueError(
                f"{file.name}: {name} of {rows.loc[strange.index[0], 'image_id']} is {strange.iloc[0]!r:.40}; 1, 0 or "
                '"unknown" was expected.'
            )
        rows[name] = given.map(_LABELS).astype(float)
    rows["read_by"] = rows["read_by"].str.strip() if "read_by" in rows.columns else ""
    twice = rows[rows.duplicated(["image_id", "finding"])]
    if len(twice):
        raise ValueError(
            f"{file.name} corrects {twice['finding'].iloc[0]} of {twice['image_id'].iloc[0]} twice; keep one row."
        )
    columns = ["image_id", "finding", "label", "your_label", "read_by"]
    return Corrections(file.name, files.sha256_file(file), rows[columns].reset_index(drop=True))


@checked
def apply_corrections(table: pd.DataFrame, file: str | Path) -> ImageTable:
    """Returns an image table with the labels that a file of corrections gives, and says so in its source.

    Args:
        table: An image table; it stays as it is.
        file: The file, see `read_corrections`.

    Returns:
        The corrected table. Its source lists the file with its SHA-256, and has a caution with the number of labels,
        which is shown wherever a number from the table is shown.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no such file, names an image or finding that the table does not have, was made for
            other labels than the table's, or corrects a label of the data set's own test list without a reader.
    """
    images, corrections = ImageTable.of(table), read_corrections(file)
    rows = corrections.rows
    unknown = sorted(set(rows["finding"]) - set(images.labels))
    if unknown:
        raise ValueError(f"{corrections.name} names {unknown[0]!r}, which is no label of the table; it has: "
                         f"{', '.join(images.labels)}.")  # fmt: skip
    place = pd.Series(range(len(images)), index=images["image_id"].astype(str))
    absent = rows[~rows["image_id"].isin(place.index)]
    if len(absent):
        raise ValueError(
            f"{corrections.name} names {len(absent)} image(s) that the table does not have, first "
            f"{absent['image_id'].iloc[0]}; use the file with the images it was written for."
        )
    if OFFICIAL_SPLIT in images.columns:
        corrections.refuse_unread(images.loc[images[OFFICIAL_SPLIT] == "test", "image_id"])
    made = images.copy()
    changed = 0
    for finding, part in rows.groupby("finding", sort=False):
        at = place[part["image_id"]].to_numpy()
        values = images[str(finding)].to_numpy(dtype=float, copy=True)
        other = ~((values[at] == part["label"].to_numpy()) | (pd.isna(values[at]) & part["label"].isna().to_numpy()))
        if other.any():
            first = part["image_id"].to_numpy()[other][0]
            raise ValueError(
                f"{corrections.name} was made for other labels: {finding} of {first} is {values[at][other][0]:g} in "
                "the table; write the list of suspects again from these labels."
            )
        new = part["your_label"].to_numpy()
        changed += int((~((values[at] == new) | (pd.isna(values[at]) & pd.isna(new)))).sum())
        values[at] = new
        made[str(finding)] = values
    read = int((rows["read_by"] != "").sum())
    caution = (
        f"{changed:,} label(s) were corrected by hand from {corrections.name} (SHA-256 {corrections.sha256[:12]}), "
        f"chosen by what a model's scores contradicted; {read:,} name a reader. Labels that the model agreed with were "
        "not read."
    )
    source = images.source.reading_too([(corrections.name, corrections.sha256)])
    return ImageTable.of(made).with_source(replace(source, cautions=(*source.cautions, caution)))
