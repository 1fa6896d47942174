"""What every process but the first does: it fits along with its part of each batch, and keeps nothing."""

import hashlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chexkeras.data.store.store import Store
from chexkeras.recipes.recipe import Recipe
from chexkeras.training.distributed.sharing import Sharing
from chexkeras.training.distributed.team import Team
from chexkeras.training.loop import fit_stages
from chexkeras.training.objective import build_loss
from chexkeras.training.own_objects import OwnObjects
from chexkeras.training.resume.checkpoints import Checkpoints, Snapshot
from chexkeras.training.start import built


def share_work(
    team: Team, recipe: Recipe, train: pd.DataFrame, validation: pd.DataFrame, store: Store | None, folder: Path
) -> None:
    """Tells the other processes what to fit; for the first one.

    Args:
        team: The processes.
        recipe: The recipe, findings as the table spells them.
        train: Image table of the training part, its rows as often as an epoch shows them.
        validation: Image table of the validation part.
        store: The store the images are read from; None reads their files.
        folder: Where the checkpoints lie: what training starts from, and the last epoch's state if there is one.
    """
    names = Checkpoints(folder).names
    told = {"recipe": recipe.to_dict(), "images": _digest((train, validation), store), "checkpoints": names}
    tables = [_packed(part, recipe) for part in (train, validation)]
    team.tell(told, [*tables, *((folder / name).read_bytes() for name in names)])


def follow(team: Team, table: pd.DataFrame, store: Store | None) -> None:
    """Fits along until the first process ends the training.

    Args:
        team: The processes.
        table: The image table as this machine has it: where the images are is read from it, what they show is told.
        store: The store the images are read from; None reads their files.

    Raises:
        ValueError: If the images here are others than those of the first process.
        WorkerGone: If a process has ended.
        Dismissed: If the first process cannot go on.
    """
    told, arrays = team.hear()
    recipe = Recipe.from_dict(told["recipe"])
    train, validation = (_unpacked(each, table) for each in arrays[:2])
    if _digest((train, validation), store) != told["images"]:
        raise ValueError(
            "the images on this machine are others than those of worker 0, by their sizes in bytes or the store's "
            "fingerprint; give every machine the same."
        )
    sharing = Sharing(team=team)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in zip(told["checkpoints"], arrays[2:], strict=True):
            (Path(folder) / name).write_bytes(content)
        checkpoints = _ReadAlone(Path(folder))
        start = checkpoints.load_start()
        if start is None:
            raise ValueError("worker 0 did not tell what training starts from.")
        with team.watching(), sharing.fitting(start, lambda: built(recipe, OwnObjects())) as model:
            loss = build_loss(recipe, train)
            fit_stages(model, recipe, loss, train, validation, None, store, checkpoints, sharing=sharing)
            team.part()


class _ReadAlone(Checkpoints):
    """Checkpoints that are read and not written: the first process writes them."""

    def save(self, record: dict[str, Any], snapshot: Snapshot, kept: dict[int, dict[int, np.ndarray]]) -> None:
        """Does nothing."""


def _packed(table: pd.DataFrame, recipe: Recipe) -> bytes:
    """Returns the images of a table and their labels, without where they are and whose."""
    columns = [*dict.fromkeys((*recipe.targets, *recipe.balanced_batches))]
    content = io.BytesIO()
    ids = table["image_id"].astype(str).to_numpy(str)
    np.savez_compressed(content, ids=ids, columns=np.array(columns), labels=table[columns].to_numpy(np.float64))
    return content.getvalue()


def _unpacked(content: bytes, table: pd.DataFrame) -> pd.DataFrame:
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        rows = pd.DataFrame(stored["labels"], columns=stored["columns"].tolist())
        rows.insert(0, "image_id", stored["ids"].tolist())
    here = pd.Series(table["path"].to_numpy() if "path" in table else "", index=table["image_id"].astype(str))
    lacking = sorted(set(rows["image_id"]) - set(here.index))
    if lacking:
        raise ValueError(
            f"{len(lacking)} images of worker 0 are not among those of this machine, first {lacking[0]!r}; give every "
            "machine the same."
        )
    rows.insert(1, "path", here[rows["image_id"]].to_numpy())
    return rows


def _digest(parts: Sequence[pd.DataFrame], store: Store | None) -> str:
    """Returns what tells images from others: the store's fingerprint, or the sizes of their files."""
    if store is not None:
        return store.fingerprint
    digest = hashlib.sha256()
    for part in parts:
        for image_id, path in zip(part["image_id"].astype(str), part["path"].fillna(""), strict=True):
            size = Path(path).stat().st_size if Path(path).is_file() else None
            digest.update(f"{image_id}|{size}\n".encode())
    return digest.hexdigest()
