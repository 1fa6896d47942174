"""How bright the training films are with and without a finding: a run keeps it, since it keeps no film."""

from typing import Any

import numpy as np
import pandas as pd

from chexkeras.data.pipeline import films_with_ids
from chexkeras.data.store.store import Store

FILE = "intensities.json"
_BINS = 64
_MOST = 100


def intensities(
    table: pd.DataFrame, targets: tuple[str, ...], *, image_size: int, store: Store | None = None, seed: int = 0
) -> dict[str, Any]:
    """Returns the mean gray-level histogram of the films with each finding and of those without it.

    At most 100 films of each group are opened, drawn at random, always the same ones for one seed. Gray levels are
    those the classifier sees.

    Args:
        table: Image table of the training part.
        targets: Findings in output order.
        image_size: Height and width of the model's films, pixels.
        store: Films decoded before; None reads the files.
        seed: Decides which films are drawn.

    Returns:
        For each finding "bins" (65 edges, 0 to 256), "positive" and "negative" (64 shares of a film's pixels, which sum
        to 1; None where there is no such film), and how many films each is the mean of.
    """
    drawn = {name: _drawn(table, name, seed) for name in targets}
    wanted = pd.concat([rows for groups in drawn.values() for rows in groups.values()])
    wanted = wanted.drop_duplicates("image_id")
    shares = _shares(wanted, image_size, store) if len(wanted) else {}
    edges = np.linspace(0, 256, _BINS + 1).tolist()
    found = {}
    for name, groups in drawn.items():
        entry: dict[str, Any] = {"bins": edges}
        for group, rows in groups.items():
            each = [shares[image_id] for image_id in rows["image_id"].astype(str)]
            entry[group] = np.mean(each, axis=0).tolist() if each else None
            entry[f"n_{group}"] = len(each)
        of = {group: int((table[name] == label).sum()) for label, group in ((1.0, "positive"), (0.0, "negative"))}
        entry["n_note"] = (
            f"of {of['positive']:,} training films with {name} and {of['negative']:,} without, at most {_MOST} of each"
        )
        found[name] = entry
    return found


def _drawn(table: pd.DataFrame, name: str, seed: int) -> dict[str, pd.DataFrame]:
    groups = {}
    for label, group in ((1.0, "positive"), (0.0, "negative")):
        rows = table[table[name] == label].drop_duplicates("image_id")
        groups[group] = rows.sample(min(_MOST, len(rows)), random_state=seed)
    return groups


def _shares(table: pd.DataFrame, image_size: int, store: Store | None) -> dict[str, np.ndarray]:
    """Returns each film's share of pixels per gray band, by image id."""
    found = {}
    for pixels, ids in films_with_ids(table, image_size=image_size, store=store):
        for film, image_id in zip(pixels.numpy(), ids.numpy(), strict=True):
            counts, _ = np.histogram(film, _BINS, (0, 256))
            found[image_id.decode()] = counts / film.size
    return found
