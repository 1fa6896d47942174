"""Splits of images from several sites: by patient within each site, or one site left out to test on."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.data.joint import SITE, sites_of
from chexkeras.data.splits.splits import Splits
from chexkeras.data.splits.splitters import assign_parts, checked_for_split, made_split


@checked
def split_each_site(
    table: pd.DataFrame, targets: str | Sequence[str], *, validation: float = 0.15, test: float = 0.15, seed: int = 0
) -> Splits:
    """Splits by patient within each site, so that every part holds the same share of every site.

    Args:
        table: An image table with the column `site`, see `data.combine_tables`.
        targets: The findings to stratify over.
        validation: Fraction of each site's images for validation, in (0, 1).
        test: Fraction of each site's images for testing, in (0, 1); with `validation` below 1.
        seed: One seed, one division.

    Returns:
        The split.

    Raises:
        ValueError: If a site has too few patients, a part lacks a class, or an argument is out of range.

    Example:
        >>> people = [str(number) for number in range(80)]
        >>> table = pd.DataFrame({"image_id": people, "patient_id": people, "site": ["north", "south"] * 40,
        ...                       "Mass": [float(number % 8 < 2) for number in range(80)]})
        >>> split_each_site(table, "Mass", validation=0.25, test=0.25).test["site"].value_counts().to_dict()
        {'north': 10, 'south': 10}
    """
    shares = _shares(validation, test)
    table, names = checked_for_split(table, targets)
    sites_of(table)
    part = np.full(len(table), "", dtype=object)
    sites = table[SITE].astype(str).str.strip().to_numpy()
    for site in pd.unique(sites):
        rows = sites == site
        part[rows] = assign_parts(table[rows], names, shares, checks.positive_int(seed, "seed", least=0), "patient")
    return made_split("patient", seed, names, shares, table, part, fold="each site by itself")


@checked
def leave_one_site_out(
    table: pd.DataFrame, targets: str | Sequence[str], *, validation: float = 0.15, seed: int = 0
) -> tuple[Splits, ...]:
    """Splits that test on one site each and learn from all others, as a model meets a hospital it has not seen.

    A site that does not label a target, or has one class of it only, cannot be tested on and is passed over.

    Args:
        table: An image table with the column `site`, see `data.combine_tables`.
        targets: The findings to stratify over.
        validation: Fraction of the images of the other sites for validation, in (0, 1).
        seed: One seed, one division.

    Returns:
        One split for each site that can be tested on; `Splits.fold` names it.

    Raises:
        ValueError: If there are fewer than two sites, none can be tested on, or the others lack a class.

    Example:
        >>> people = [str(number) for number in range(80)]
        >>> table = pd.DataFrame({"image_id": people, "patient_id": people, "site": ["north", "south"] * 40,
        ...                       "Mass": [float(number % 8 < 2) for number in range(80)]})
        >>> [(splits.fold, set(splits.test["site"])) for splits in leave_one_site_out(table, "Mass")]
        [('site north left out', {'north'}), ('site south left out', {'south'})]
    """
    share = checks.probability(validation, "validation", open_interval=True)
    checks.positive_int(seed, "seed", least=0)
    table, names = checked_for_split(table, targets)
    sites = sites_of(table)
    if len(sites) < 2:
        raise ValueError(f"the table has images of one site only, {sites[0]!r}; leaving it out leaves nothing.")
    of = table[SITE].astype(str).str.strip()
    found = []
    for site in sites:
        tested = (of == site).to_numpy()
        if not all(set(table.loc[tested, name].dropna()) >= {0.0, 1.0} for name in names):
            continue
        part = np.full(len(table), "test", dtype=object)
        part[~tested] = assign_parts(table[~tested], names, {"train": 1 - share, "validation": share}, seed, "patient")
        size = float(tested.mean())
        shares = {"train": (1 - share) * (1 - size), "validation": share * (1 - size), "test": size}
        found.append(made_split("patient", seed, names, shares, table, part, fold=f"site {site} left out"))
    if not found:
        raise ValueError(
            f"no site has images with and without {' and '.join(names)}; leave out targets that a site does not label."
        )
    return tuple(found)


def _shares(validation: float, test: float) -> dict[str, float]:
    asked = {
        "validation": checks.probability(validation, "validation", open_interval=True),
        "test": checks.probability(test, "test", open_interval=True),
    }
    if sum(asked.values()) >= 1:
        raise ValueError(f"validation={validation} and test={test} leave nothing for training; together keep below 1.")
    return {"train": 1 - sum(asked.values()), **asked}
