"""The columns of an image table: which describe the film, which hold labels, and the fingerprint of them all."""

from collections.abc import Iterable

import pandas as pd

from chexkeras import files, findings

METADATA: tuple[str, ...] = (
    "image_id", "path", "patient_id", "follow_up", "age_years", "sex", "view", "width_px", "height_px",
    "pixel_spacing_mm",
)  # fmt: skip
"""What is known of a film besides its labels, in table order."""

OFFICIAL_SPLIT = "official_split"
"""The column, after the findings, that holds the data set's own split: "train_val", "test" or ""."""


def finding_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Returns the label columns of an image table: every numeric column that does not describe the film.

    Example:
        >>> finding_columns(pd.DataFrame({"image_id": ["a"], "age_years": [58.0], "Edema": [1.0]}))
        ('Edema',)
    """
    described = {*METADATA, OFFICIAL_SPLIT, findings.NO_FINDING}
    return tuple(
        column for column in table.columns if column not in described and pd.api.types.is_numeric_dtype(table[column])
    )


def resolve_targets(table: pd.DataFrame, targets: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the targets as the table's label columns spell them.

    Args:
        table: An image table.
        targets: One finding or several, in any spelling that `findings.resolve` accepts.

    Returns:
        Column names, in the order given.

    Raises:
        ValueError: If a target is no label column of the table, is given twice, or none is given.
    """
    present = finding_columns(table)
    if not present:
        raise ValueError(
            f"the table has no label column (it has: {', '.join(map(str, table.columns))}); "
            "add one float column per finding, 1 = present, 0 = absent, NaN = unknown."
        )
    return findings.resolve(targets, present)


def fingerprint(table: pd.DataFrame) -> str:
    """Returns the SHA-256 of an image table wherever its films lie: all columns but `path`, rows in any order."""
    return files.sha256_table(table.drop(columns="path", errors="ignore"))
