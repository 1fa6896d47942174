"""Normal or abnormal: the one label that sums up a film's findings."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from chexkeras import findings as vocabulary
from chexkeras.data import image_table


def add_abnormal(table: pd.DataFrame, findings: Iterable[str] | None = None) -> pd.DataFrame:
    """Returns the table with a column "Abnormal", a target like any other.

    A film is abnormal (1) when any finding is present, normal (0) when "No Finding" is, or when every finding is known
    to be absent, and unknown (NaN) otherwise. Where "No Finding" contradicts a finding, the finding counts. CheXpert's
    Support Devices make no film abnormal: its own "No Finding" leaves them out too.

    Args:
        table: An image table.
        findings: The findings that count; None takes all of the table's.

    Returns:
        A copy with the column after the other labels (replaced, if there was one), and the table's source.

    Raises:
        ValueError: If a finding is no label of the table, or only some of a data set's findings are there and
            `findings` does not say that these are enough: a film without them may well show another.

    Example:
        >>> table = pd.DataFrame({"Edema": [1.0, 0.0, np.nan], "Mass": [0.0, 0.0, 0.0]})
        >>> add_abnormal(table, ["Edema", "Mass"])["Abnormal"].tolist()
        [1.0, 0.0, nan]
    """
    counted = _counted(table) if findings is None else image_table.resolve_targets(table, findings)
    known = table[list(counted)]
    present = (known == 1).any(axis=1)
    absent = (known == 0).all(axis=1)
    if vocabulary.NO_FINDING in image_table.label_columns(table):
        absent |= table[vocabulary.NO_FINDING] == 1
    abnormal = np.where(present, 1.0, np.where(absent, 0.0, np.nan))
    result = table.drop(columns=vocabulary.ABNORMAL, errors="ignore")
    present_columns = list(result.columns)
    last = max(present_columns.index(label) for label in image_table.label_columns(result))
    result.insert(last + 1, vocabulary.ABNORMAL, abnormal)
    result.attrs = dict(table.attrs)
    return result


def _counted(table: pd.DataFrame) -> tuple[str, ...]:
    counted = tuple(name for name in image_table.finding_columns(table) if name != vocabulary.SUPPORT_DEVICES)
    if not counted:
        raise ValueError("the table has no finding to tell normal from abnormal by; load it with its findings.")
    if vocabulary.NO_FINDING in image_table.label_columns(table):
        return counted
    for data_set, names in (("NIH", vocabulary.NIH14), ("CheXpert", vocabulary.CHEXPERT14)):
        full = set(names) - {vocabulary.NO_FINDING, vocabulary.SUPPORT_DEVICES}
        if set(counted) < full:
            raise ValueError(
                f"the table holds {len(counted)} of {data_set}'s findings ({', '.join(counted)}): a film without these "
                "may show another. Load them all, or name the findings that count with findings=."
            )
    return counted
