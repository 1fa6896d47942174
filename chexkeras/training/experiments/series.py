"""A series of trainings on the same images: one folder, whole or not at all, that goes on where it was killed.

While it is under way it lies beside its destination as ``.<name>.series``: what was asked for, the base that all share,
what is stored for all, and the runs. Each run is trained, checkpointed and resumed as any other (`training.resume`);
one that is complete is not trained again. The folder takes its name when the last part of it is written.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras import files
from chexkeras.data.audit.audit import Audit
from chexkeras.data.audit.audit import audit as audit_images
from chexkeras.data.image_table import refuse_dicom
from chexkeras.data.splits.splits import Splits
from chexkeras.data.store.store import Store
from chexkeras.progress import say
from chexkeras.recipes.recipe import Recipe
from chexkeras.runs.run import Run
from chexkeras.runs.series import RUNS, check_free_for_series
from chexkeras.training.frozen.shelves import Shelves
from chexkeras.training.resume.interrupted import InterruptedTraining, say_how_to_go_on
from chexkeras.training.resume.interrupted_series import ASKED, DISCARD, InterruptedSeries
from chexkeras.training.shared import SharedWork
from chexkeras.training.trainer import Asked, train_one

_BASE, _FEATURES, _LOCK = "base.npz", "features", "lock"


class Series:
    """A series of trainings under way; `under_way` opens one.

    Args:
        folder: Where its parts lie.
        asked: The arguments of every training but how it is resumed.
        shared: What the trainings have in common.

    Attributes:
        audit: The audit of their images.
    """

    def __init__(self, folder: Path, asked: Asked, shared: SharedWork) -> None:
        self.folder, self._asked, self._shared = folder, asked, shared
        self.audit = asked.audit

    def train(self, name: str, recipe: Recipe, splits: Splits, title: str = "") -> Run:
        """Trains one of the series, goes on with it, or takes it as it is if it is complete.

        Args:
            name: Name of its folder.
            recipe: Its recipe.
            splits: Its split.
            title: What to say of it before it begins; "" says nothing.
        """
        run_dir = self.folder / RUNS / name
        begun = InterruptedTraining(run_dir)
        if (run_dir / "recipe.json").is_file() and not begun.exists():
            return Run.load(run_dir)
        if title:
            say(title)
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        return train_one(recipe, splits, run_dir, replace(self._asked, resume=begun.exists()), self._shared)


@contextlib.contextmanager
def under_way(
    destination: str | Path,
    kind: str,
    inputs: dict[str, Any],
    options: dict[str, Any],
    asked: Asked,
    shared: SharedWork,
    table: pd.DataFrame,
    splits: Splits | None = None,
) -> Iterator[Series]:
    """Yields a series to train in; its folder takes its place when the block ends without an error.

    What can be refused is refused before the images are audited, once for all trainings.

    Args:
        destination: The folder that is to be.
        kind: The name of the file that tells what the folder holds, one of `runs.series.SERIES`.
        inputs: What the result depends on besides how it is computed, as plain values.
        options: What is kept besides, so that it need not be given again when the series is resumed.
        asked: The arguments of every training; `resume` says whether the series goes on with what is there, `overwrite`
            whether a complete or an interrupted one of the name may be replaced.
        shared: What the trainings have in common; given shelves inside the folder where it has none.
        table: The image table of all trainings.
        splits: Their split; None where each has its own.

    Raises:
        FileExistsError: If the folder is taken, work would be lost, or another process is at it.
        FileNotFoundError: If there is nothing to resume.
        ValueError: If it is to be resumed with other inputs.
    """
    if asked.store is None:
        refuse_dicom(table)
    begun, shelves = InterruptedSeries(destination), shared.shelves
    final, folder = check_free_for_series(destination, asked.overwrite), begun.folder
    computed = {"features": asked.features, "draws": asked.draws, "frozen_engine": asked.frozen_engine}
    inputs = {**inputs, **computed, "store": asked.store.fingerprint if asked.store is not None else None}
    options = {
        **options,
        **computed,
        "cautions": list(asked.cautions),
        "overwrite": asked.overwrite,
        "features_store": str(shelves.root.resolve()) if shelves is not None else None,
        "features_limit": shelves.limit if shelves is not None else None,
    }
    if asked.resume:
        if not begun.exists():
            raise FileNotFoundError(
                f"nothing to resume for {str(final)!r}: no series of trainings of that name was interrupted. Check the "
                "name, or start without resume."
            )
        begun.require(inputs)
        say(f"{begun.done} trainings of {final.name} are complete; going on")
    else:
        if begun.exists() and begun.begun and not asked.overwrite:
            raise FileExistsError(
                f"a series of trainings of {str(final)!r} was interrupted after {begun.done} complete ones: continue "
                f"it with resume=True (on the command line train --resume, with the same --data), or {DISCARD}."
            )
        if folder.exists():
            with _claimed(folder, final):
                shutil.rmtree(folder)
        folder.mkdir(parents=True)
        files.write_json(folder / ASKED, {"kind": kind, "inputs": inputs, "options": options})
    with _claimed(folder, final):
        own = None
        if shared.shelves is None:
            shared.shelves = own = Shelves(folder / _FEATURES)
        shared.base_file = folder / _BASE
        try:
            audit = asked.audit or _audited(table, asked.store, splits)
            yield Series(folder, replace(asked, audit=audit, resume=False, overwrite=False), shared)
        except BaseException as error:
            # A training that was stopped after an epoch has said it.
            stored = isinstance(error, KeyboardInterrupt) and (folder / _FEATURES).exists()
            if not begun.in_a_training and (begun.done or stored):
                say_how_to_go_on(f"after {begun.done} complete trainings, which are kept with what was stored")
            raise
        finally:
            if own is not None:
                own.close()
        shutil.rmtree(folder / _FEATURES, ignore_errors=True)
        for name in (_BASE, ASKED):
            (folder / name).unlink(missing_ok=True)
        _put_in_place(folder, final)


def _audited(table: pd.DataFrame, store: Store | None, splits: Splits | None) -> Audit:
    found = audit_images(table, splits, decode=store is None)
    for line in found.suspicions:
        say(line)
    return found


def _put_in_place(folder: Path, final: Path) -> None:
    (folder / _LOCK).unlink(missing_ok=True)
    if not final.exists():
        os.replace(folder, final)
        return
    previous = final.with_name(f".{final.name}.{os.getpid()}.previous")
    os.replace(final, previous)
    try:
        os.replace(folder, final)
    except BaseException:
        os.replace(previous, final)
        raise
    shutil.rmtree(previous)


@contextlib.contextmanager
def _claimed(folder: Path, final: Path) -> Iterator[None]:
    if os.name == "nt":
        # Windows has no such lock, and renames no folder with an open file.
        yield
        return
    with (folder / _LOCK).open("a") as handle:
        if not files.lock(handle, f"another process is training {str(final)!r} at this moment; wait for it."):
            say(f"{folder.parent} knows no locks; take care that no other process trains {final.name}")
        yield
