"""The images that a run was tested on, found again: all of them or some patients, each once, and on disk."""

from pathlib import Path

import numpy as np
import pandas as pd

from chexkeras.checks import identifiers, positive_int
from chexkeras.models.scoring import require_image_table


def draw_patients(scores: pd.DataFrame, images: int | None, seed: int) -> pd.DataFrame:
    """Returns image_id and patient_id of the images of all patients, or of some drawn at random.

    Args:
        scores: Scores of the part: image_id and patient_id.
        images: About how many images where there are more; None takes all.
        seed: Of the draw.
    """
    known = scores[["image_id", "patient_id"]].drop_duplicates("image_id")
    if images is None or positive_int(images, "images") >= len(known):
        return known
    counts = known.groupby("patient_id").size()
    drawn = counts.iloc[np.random.default_rng(seed).permutation(len(counts))]
    enough = int(np.searchsorted(drawn.cumsum().to_numpy(), images)) + 1
    return known[known["patient_id"].isin(set(drawn.index[:enough]))]


def rows_of(image_ids: pd.Series, table: pd.DataFrame, what: str = "test images") -> pd.DataFrame:
    """Returns the rows of an image table that belong to images, in the table's order.

    Args:
        image_ids: The images, as text.
        table: An image table.
        what: What these images are, for the message.

    Raises:
        TypeError: If it is no image table.
        ValueError: If one is not in the table, or twice.
    """
    require_image_table(table)
    wanted = set(image_ids)
    table = table.assign(image_id=identifiers(table["image_id"], "image_id"))
    rows = table[table["image_id"].isin(wanted)]
    lacking = sorted(wanted - set(rows["image_id"]))
    if lacking:
        raise ValueError(
            f"{len(lacking):,} of the {len(wanted):,} {what} are not in the table, first {lacking[0]}; "
            "give the image table that the run was trained from."
        )
    twice = rows.loc[rows["image_id"].duplicated(), "image_id"]
    if len(twice):
        raise ValueError(
            f"{len(twice):,} row(s) of the table name one of the {what} that another row names too, first "
            f"{twice.iloc[0]}; keep one row for each image."
        )
    return rows


def require_on_disk(rows: pd.DataFrame, what: str = "test images") -> None:
    """Refuses absent images before any is scored: the test part must be whole, so none can be skipped.

    Args:
        rows: Rows of an image table.
        what: What these images are, for the message.

    Raises:
        FileNotFoundError: If the file of one is not there.
    """
    if "path" not in rows:
        return  # Said by the pipeline, which needs the column.
    paths = rows["path"].fillna("").astype(str)
    absent = rows.loc[[not path or not Path(path).is_file() for path in paths], "image_id"]
    if len(absent):
        raise FileNotFoundError(
            f"{len(absent):,} of the {len(rows):,} {what} are not on disk, first {absent.iloc[0]}; "
            "restore the image, or give the store that the run was trained from."
        )
