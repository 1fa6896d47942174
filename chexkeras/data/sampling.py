"""Which rows of a table an epoch shows, and in which order.

Each row once, or groups of images in equal shares, or the images of chosen findings several times: after splitting, and
for training alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.data import image_table
from chexkeras.data.image_table import resolve_targets

Table = TypeVar("Table", bound=pd.DataFrame)

NONE_OF_THEM = "none of them"
"""Name of the group of images that show none of the findings."""


@dataclass(frozen=True)
class EpochRows:
    """The rows of a table that an epoch shows.

    Attributes:
        rows: int64 array (n,): positions in the table, in order.
        draws: int64 array (n,): a number for each, which random changes are drawn from; different where one image is
            shown twice.
    """

    rows: np.ndarray
    draws: np.ndarray


@dataclass(frozen=True)
class Share:
    """The rows of every batch that one of several processes reads, where they train together on each batch.

    Every device gets as many rows as any other. What a batch lacks for that is filled up at its end with its own rows,
    which whoever computes with them leaves out again.

    Attributes:
        processes: How many processes there are.
        process: The number of this one, from 0.
        devices: How many devices all of them have together, equally many each.
    """

    processes: int
    process: int
    devices: int

    def filled(self, rows: int) -> int:
        """Returns how many rows a batch has once it is filled up.

        Args:
            rows: Rows of the batch.

        Example:
            >>> Share(processes=2, process=0, devices=4).filled(10)
            12
        """
        return -(-rows // self.devices) * self.devices

    def read_of(self, rows: int) -> int:
        """Returns how many rows of a batch this process reads.

        Args:
            rows: Rows of the batch.
        """
        return self.filled(rows) // self.processes

    def of(self, epoch: EpochRows, batch_size: int) -> EpochRows:
        """Returns the rows of an epoch that this process reads, batch by batch.

        Args:
            epoch: The rows of the whole epoch.
            batch_size: Rows a batch; the last may have fewer.

        Example:
            >>> Share(processes=2, process=1, devices=2).of(in_order(7), batch_size=4).rows.tolist()
            [2, 3, 6, 4]
        """
        n, chosen = len(epoch.rows), []
        for start in range(0, n, batch_size):
            batch = np.arange(start, min(start + batch_size, n))
            mine = self.read_of(len(batch))
            chosen.append(np.resize(batch, self.filled(len(batch)))[self.process * mine :][:mine])
        places = np.concatenate(chosen)
        return EpochRows(epoch.rows[places], epoch.draws[places])


def balance_groups(table: pd.DataFrame, findings: str | tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns the groups that balanced batches show in equal shares: the images of each finding, and those of none.

    An image with two of the findings belongs to both groups; one where none is known to be present and none is known to
    be absent belongs to no group, and is not shown.

    Args:
        table: The training images.
        findings: The findings; none makes no groups.

    Returns:
        int64 arrays of positions in the table, by finding as the table spells it; `NONE_OF_THEM` comes last.

    Raises:
        ValueError: If a finding is no label of the table, or a group is empty.

    Example:
        >>> images = pd.DataFrame({"Edema": [1.0, 0.0, 0.0, None, 0.0]})
        >>> {name: rows.tolist() for name, rows in balance_groups(images, "Edema").items()}
        {'Edema': [0], 'none of them': [1, 2, 4]}
    """
    if not findings:
        return {}
    names = resolve_targets(table, findings)
    labels = table[list(names)].to_numpy(float)
    groups = {name: np.flatnonzero(column == 1) for name, column in zip(names, labels.T, strict=True)}
    groups[NONE_OF_THEM] = np.flatnonzero((labels == 0).any(axis=1) & ~(labels == 1).any(axis=1))
    for name, rows in groups.items():
        if not len(rows):
            shows = f"shows none of {', '.join(names)}" if name == NONE_OF_THEM else f"shows {name}"
            raise ValueError(
                f"none of the {len(table)} training images {shows}; balanced batches need images of every group. Use "
                "more images, or leave balanced_batches out."
            )
    return groups


def times_shown(groups: dict[str, np.ndarray], n: int) -> np.ndarray:
    """Returns how often an epoch of balanced batches shows each row of a table of n, on average over epochs.

    Args:
        groups: From `balance_groups`.
        n: Rows of the table.

    Example:
        >>> times_shown({"Edema": np.array([0]), "none of them": np.array([1, 2, 3])}, 4).round(2).tolist()
        [2.0, 0.67, 0.67, 0.67]
    """
    times = np.zeros(n)
    for rows in groups.values():
        times[rows] += n / len(groups) / len(rows)
    return times


def in_order(n: int) -> EpochRows:
    """Returns every row of a table of n once, in the table's order.

    Args:
        n: Rows of the table.
    """
    order = np.arange(n, dtype=np.int64)
    return EpochRows(order, order)


def shuffled(n: int, seed: int, epoch: int) -> EpochRows:
    """Returns every row of a table of n once, in a random order.

    Args:
        n: Rows of the table.
        seed: Decides the order together with the epoch.
        epoch: The epoch's number.
    """
    order = np.random.default_rng([seed, epoch]).permutation(n).astype(np.int64)
    return EpochRows(order, order)


def balanced(groups: dict[str, np.ndarray], n: int, seed: int, epoch: int) -> EpochRows:
    """Returns n rows, the groups taking turns: any neighbouring rows hold equal shares of them, to within one.

    Each group is gone through in a random order, and in another one when all its images were shown, across the ends of
    epochs: no image comes a second time before every other of its group came as often. What an epoch shows follows from
    its number alone, so that a training can be resumed at any epoch.

    Args:
        groups: From `balance_groups`.
        n: Rows an epoch shows, the table's.
        seed: Decides the orders.
        epoch: The epoch's number, from 0; epoch 0 begins the first orders.

    Source:
        Class-aware sampling: Shen et al., "Relay Backpropagation for Effective Learning of Deep Convolutional Neural
        Networks", ECCV 2016. One finding gives LibAUC's batches with a fixed share of positives.
    """
    slots = np.arange(epoch * n, (epoch + 1) * n, dtype=np.int64)
    rows = np.empty(n, np.int64)
    for turn, members in enumerate(groups.values()):
        mine = slots % len(groups) == turn
        places = slots[mine] // len(groups)
        if len(places):
            begun, ended = int(places[0]) // len(members), int(places[-1]) // len(members)
            # The permutations that this epoch reads, one after the other.
            rounds = [_permuted(members, seed, turn, number) for number in range(begun, ended + 1)]
            rows[mine] = np.concatenate(rounds)[places - begun * len(members)]
    return EpochRows(rows, rows + n * _occurrence(rows))


def _permuted(members: np.ndarray, *numbers: int) -> np.ndarray:
    return np.random.default_rng(numbers).permutation(members)


def _occurrence(rows: np.ndarray) -> np.ndarray:
    """Returns how often each row came before in the same epoch."""
    return pd.Series(rows).groupby(rows).cumcount().to_numpy(np.int64)


def checked_factors(table: pd.DataFrame, factors: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Returns the factors as (finding, factor), findings as the table spells them, in the order given.

    Args:
        table: The training images.
        factors: How often an epoch shows the images of each finding.

    Raises:
        TypeError: If `factors` is no mapping.
        ValueError: If a finding is no label of the table or is on none of its images, or a factor is no whole number of
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
            raise ValueError(f"none of the {len(table)} training images shows {name}; there is nothing to repeat.")
    return checked


def repeated(table: Table, factors: tuple[tuple[str, int], ...]) -> Table:
    """Returns the table with the images of each finding as often as its factor says, one after the other.

    An image with several of the findings counts with the largest of their factors; one with none of them stays once.

    Args:
        table: The training images, each once.
        factors: From `checked_factors`.

    Example:
        >>> images = pd.DataFrame({"image_id": ["a", "b", "c"], "Edema": [1.0, 0.0, 1.0], "Hernia": [0.0, 0.0, 1.0]})
        >>> repeated(images, (("Edema", 2), ("Hernia", 3)))["image_id"].tolist()
        ['a', 'a', 'b', 'c', 'c', 'c']
    """
    times = np.ones(len(table), dtype=np.int64)
    for name, factor in factors:
        times = np.where((table[name] == 1).to_numpy(), np.maximum(times, factor), times)
    return table.iloc[np.repeat(np.arange(len(table)), times)].reset_index(drop=True)
