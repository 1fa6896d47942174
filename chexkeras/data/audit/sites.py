"""The site as a shortcut: whether it can be told from an image, and what it alone tells of the labels.

Where several hospitals are in one table, a network may learn which one an image is from, and answer with how often the
finding is there.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from chexkeras.arguments import checked
from chexkeras.data.audit.shortcuts import FEWEST_PATIENTS, Shortcut, shortcuts
from chexkeras.data.joint import SITE

_MOST_SITES = 20


@checked
def site_shortcuts(
    table: pd.DataFrame,
    targets: str | Sequence[str] | None = None,
    *,
    thumbnails: NDArray[Any] | None = None,
    seed: int = 0,
) -> tuple[Shortcut, ...]:
    """Measures whether a site can be told from view, age and sex, size or thumbnail, and what the site tells of labels.

    Args:
        table: An image table with the column `site`; images without one are left out.
        targets: The findings; None takes every finding with at least 50 positive and 50 negative images.
        thumbnails: Shape (rows of the table, height, width), gray; None leaves the thumbnail out.
        seed: Deals the patients out.

    Returns:
        For each site ("site north" in place of a finding) an AUROC of each shortcut, that site's images against all
        others; and for each finding one of the shortcut "site". Fitted over patients, see `data.shortcuts`. None where
        the table has fewer than two sites of at least 10 patients.

    Raises:
        ValueError: If a target is no label of the table.
    """
    if SITE not in table.columns:
        return ()
    site = table[SITE].fillna("").astype(str).str.strip()
    patients = table["patient_id"].groupby(site).nunique()
    names = [name for name in pd.unique(site) if name and patients[name] >= FEWEST_PATIENTS]
    if len(names) < 2 or len(names) > _MOST_SITES:
        return ()
    known = site.isin(names).to_numpy()
    rows, here = table[known].reset_index(drop=True), site[known].reset_index(drop=True)
    pictures = None if thumbnails is None else thumbnails[known]
    # Columns with plain names, whatever the sites are called.
    columns = {f"site_{number}": name for number, name in enumerate(names)}
    marked = rows.assign(**{column: (here == name).astype(float) for column, name in columns.items()})
    told = shortcuts(marked, tuple(columns), thumbnails=pictures, seed=seed)
    # What the view tells of a finding is measured in the same way as what the site tells of it.
    of_labels = shortcuts(rows.assign(view=here), targets, seed=seed)
    return (
        *(replace(entry, finding=f"site {columns[entry.finding]}") for entry in told),
        *(replace(entry, name=SITE) for entry in of_labels if entry.name == "view"),
    )
