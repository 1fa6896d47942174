"""Showing the training films of chosen findings several times an epoch: after splitting, and for training alone."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.data import image_table


def checked_factors(table: pd.DataFrame, factors: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Returns the factors as (finding, factor), findings as the table spells them, in the order given.

    Args:
        table: The training films.
        factors: How often an epoch shows the films of each finding.

    Raises:
        TypeError: If `factors` is no mapping.
        ValueError: If a finding is no label of the table or is on none of its films, or a factor is no whole number of
            at least 1.
    """
    if not isinstance(factors, Mapping):
        raise TypeError(f"factors={factors!r}; give a dictionary such as {{'Pneumonia': 4}}.")
    if not factors:
        return ()
    names = image_table.resolve_targets(table, list(factors))
    checked = tuple(
        (name, checks.positive_int(factor, f"the factor of {name}"))
        for name, factor in zip(names, factors.values(), strict=True)
    )
    for name, _ in checked:
        if not (table[name] == 1).any():
            raise ValueError(f"none of the {len(table)} training films shows {name}; there is nothing to repeat.")
    return checked


def repeated(table: pd.DataFrame, factors: tuple[tuple[str, int], ...]) -> pd.DataFrame:
    """Returns the table with the films of each finding as often as its factor says, one after the other.

    A film with several of the findings counts with the largest of their factors; one with none of them stays once.

    Args:
        table: The training films, each once.
        factors: From `checked_factors`.

    Example:
        >>> films = pd.DataFrame({"image_id": ["a", "b", "c"], "Edema": [1.0, 0.0, 1.0], "Hernia": [0.0, 0.0, 1.0]})
        >>> repeated(films, (("Edema", 2), ("Hernia", 3)))["image_id"].tolist()
        ['a', 'a', 'b', 'c', 'c', 'c']
    """
    times = np.ones(len(table), dtype=np.int64)
    for name, factor in factors:
        times = np.where((table[name] == 1).to_numpy(), np.maximum(times, factor), times)
    rows = table.iloc[np.repeat(np.arange(len(table)), times)].reset_index(drop=True)
    rows.attrs = dict(table.attrs)
    return rows
