"""The columns of an image table: which describe the film, which hold labels, and the fingerprint of them all.

A label is a float: 1 present, 0 absent, NaN unknown. One exception is made, and only on training films: a label that
`data.datasets.labels.fill_uncertain` filled is the first model's probability, strictly between 0 and 1.
"""

from collections.abc import Iterable

import pandas as pd

from chexkeras import files, findings

METADATA: tuple[str, ...] = (
    "image_id", "path", "patient_id", "follow_up", "age_years", "sex", "view", "width_px", "height_px",
    "pixel_spacing_mm",
)  # fmt: skip
"""What is known of a film besides its labels, in table order."""

OFFICIAL_SPLIT = "official_split"
"""The column, after the labels, that holds the data set's own split: "train_val", "test" or ""."""

UNCERTAIN = "uncertain"
"""The column, where the data set has uncertain labels, that names a film's uncertain findings, joined by "|".

Text, so that it is never taken for a label; a column, so that it stays with its film when tables are filtered, split,
joined and saved. `data.datasets.labels.uncertain_mask` reads it.
"""

_DERIVED = (findings.NO_FINDING, findings.ABNORMAL)


def label_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Returns every column that can be a target: the findings, and "No Finding" and "Abnormal" where there are such.

    Labels are numeric; text and booleans describe the film.

    Example:
        >>> label_columns(pd.DataFrame({"age_years": [58.0], "No Finding": [0.0], "Edema": [1.0], "icu": [True]}))
        ('No Finding', 'Edema')
    """
    described = {*METADATA, OFFICIAL_SPLIT, UNCERTAIN}
    return tuple(
        column
        for column in table.columns
        if column not in described
        and pd.api.types.is_numeric_dtype(table[column])
        and not pd.api.types.is_bool_dtype(table[column])
    )


def finding_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Returns the label columns that are findings: all but "No Finding" and "Abnormal", which sum the others up.

    Example:
        >>> finding_columns(pd.DataFrame({"image_id": ["a"], "age_years": [58.0], "Edema": [1.0]}))
        ('Edema',)
    """
    return tuple(column for column in label_columns(table) if column not in _DERIVED)


def resolve_targets(table: pd.DataFrame, targets: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the targets as the table's label columns spell them.

    Args:
        table: An image table.
        targets: One label or several, in any spelling that `findings.resolve` accepts.

    Returns:
        Column names, in the order given.

    Raises:
        ValueError: If a target is no label column of the table, is given twice, or none is given.
    """
    present = label_columns(table)
    if not present:
        raise ValueError(
            f"the table has no label column (it has: {', '.join(map(str, table.columns))}); "
            "add one float column per finding, 1 = present, 0 = absent, NaN = unknown."
        )
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    if findings.ABNORMAL in names and findings.ABNORMAL not in present:
        raise ValueError(f"the table has no column {findings.ABNORMAL!r}; add_abnormal(table) derives it.")
    return findings.resolve(names, present)


def fingerprint(table: pd.DataFrame) -> str:
    """Returns the SHA-256 of an image table wherever its films lie: all columns but `path`, rows in any order."""
    return files.sha256_table(table.drop(columns="path", errors="ignore"))
