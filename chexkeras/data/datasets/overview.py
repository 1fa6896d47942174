"""An overview of the data sets that can be opened: how large, under which terms, from where, and what they label."""

import pandas as pd

from chexkeras import checks
from chexkeras import findings as vocabulary
from chexkeras.arguments import checked
from chexkeras.data.datasets import correspondence
from chexkeras.data.datasets.data_set import DataSet
from chexkeras.data.datasets.entries import DATA_SETS

_PUBLISHED = tuple(entry for entry in DATA_SETS if entry.source_name)


@checked
def list_data_sets() -> pd.DataFrame:
    """Returns the published data sets that `open_data` reads, a row each.

    Returns:
        Text columns name, size, license (under which terms), page (where its publisher hands it out), layouts (which
        downloads are read), images_of (the data set whose images its images are, "" where they are its own), labels
        (NIH's findings that it labels too, joined by ", ") and citation.

    Example:
        >>> list_data_sets().set_index("name").loc["SIIM-ACR", ["labels", "images_of"]].tolist()
        ['Pneumothorax', 'NIH ChestX-ray14']
    """
    rows = [
        {
            "name": entry.owner,
            "size": entry.size,
            "license": entry.license,
            "page": entry.page,
            "layouts": "; ".join(entry.layouts),
            "images_of": entry.images_of,
            "labels": ", ".join(_of_nih(entry)),
            "citation": entry.citation,
        }
        for entry in _PUBLISHED
    ]
    return pd.DataFrame(rows)


@checked
def list_findings(name: str) -> pd.DataFrame:
    """Returns what a data set's own names of findings mean here, a row each.

    Args:
        name: The data set, as `list_data_sets` names it; capitals do not matter.

    Returns:
        Text columns name (as its files write it), here (the findings known here that mean the same, joined by ", "; ""
        where none does), nih (NIH's labels, any of which is meant; "" where none is) and why (why NIH's labels do not
        mean the same).

    Raises:
        ValueError: If there is no such data set.

    Example:
        >>> list_findings("VinDr-CXR").set_index("name").loc["Nodule/Mass"].tolist()
        ['Lung Lesion', 'Nodule, Mass', '']
    """
    by_name = {entry.owner.casefold(): entry for entry in _PUBLISHED}
    entry = by_name.get(name.casefold())
    if entry is None:
        raise ValueError(f"name: {checks.no_such(name, [each.owner for each in _PUBLISHED], 'is no data set')}")
    meanings = correspondence.MEANINGS.get(entry.meanings) or {
        finding: correspondence.same(finding) for finding in entry.vocabulary
    }
    rows = [
        {"name": each, "here": ", ".join(meant.columns), "nih": ", ".join(meant.nih), "why": meant.why}
        for each, meant in meanings.items()
    ]
    return pd.DataFrame(rows)


def _of_nih(entry: DataSet) -> tuple[str, ...]:
    """Returns NIH's findings that a data set labels too, in NIH's order."""
    found = set()
    for name in entry.vocabulary:
        try:
            found.add(vocabulary.canonical(name))
        except ValueError:
            continue
    return tuple(name for name in vocabulary.NIH14 if name in found)
