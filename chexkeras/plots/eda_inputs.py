"""What the figures of an image table have in common: which findings to draw, and how many images there are."""

from collections.abc import Iterable

import pandas as pd

from chexkeras.data import image_table

FIX = "Give an image table as load_nih returns it."


def chosen_findings(table: pd.DataFrame, findings: str | Iterable[str] | None) -> list[str]:
    """Returns the findings to draw, as the table spells them.

    Args:
        table: Image table.
        findings: One finding or several; None takes all that the table has.

    Raises:
        ValueError: If a finding is no label of the table, or it has none.
    """
    wanted = image_table.finding_columns(table) if findings is None else findings
    return list(image_table.resolve_targets(table, wanted))


def counted_table(table: pd.DataFrame) -> str:
    """Returns, for example, "1,000 images of 682 patients"."""
    return f"{len(table):,} images of {table['patient_id'].nunique():,} patients"
