"""What several trainings on the same images have in common, so that it is computed once."""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras import checks, files
from chexkeras.models.stages import backbone_layers
from chexkeras.recipes.recipe import Recipe
from chexkeras.training.frozen.engine import FrozenEngine
from chexkeras.training.frozen.shelves import Shelves
from chexkeras.training.resume.checkpoints import assign_all, value


@dataclass
class SharedWork:
    """What one training has in common with others; nothing, as it is made without arguments.

    Attributes:
        shelves: Where what is frozen is stored for others too; None keeps it beside the run while it is trained.
        trainings: How many trainings use what is stored.
        base_seed: Seed of an untrained base's weights; None takes each recipe's own, so that nothing is shared.
        base_images: Image table, without regard to labels: an untrained base takes its BatchNorm statistics from these
            images once; None takes each training's own.
        lean: Whether runs are written without what says more of the images than of the model: its shortcuts, what
            training images look like, subgroups. Test images are then scored from stored features where there are any.
        base_file: Where the untrained base is kept for a series that goes on after a kill; None keeps it in memory.
        engines: What computes features, made ready once for all, by what it computes.
    """

    shelves: Shelves | None = None
    trainings: int = 1
    base_seed: int | None = None
    base_images: pd.DataFrame | None = None
    lean: bool = False
    base_file: Path | None = None
    engines: dict[tuple[str, ...], FrozenEngine] = field(default_factory=dict, repr=False)
    _models: dict[str, tuple[keras.Model, list[np.ndarray]]] = field(default_factory=dict, repr=False)
    _bases: dict[str, list[np.ndarray]] = field(default_factory=dict, repr=False)

    def classifier(self, recipe: Recipe, build: Callable[[], keras.Model]) -> keras.Model:
        """Returns the classifier of a recipe as it is built; one that was built before is brought back to that.

        Args:
            recipe: The recipe.
            build: Builds it from the recipe's seed.
        """
        if self.trainings == 1:
            return build()
        key = repr(sorted((name, repr(setting)) for name, setting in recipe.to_dict().items() if name in _OF_MODEL))
        if key not in self._models:
            model = build()
            # One at a time: a classifier takes much memory.
            self._models = {key: (model, [value(variable) for variable in model.variables])}
        model, start = self._models[key]
        assign_all(model.variables, start)
        return model

    def untrained_base(
        self, model: keras.Model, recipe: Recipe, build: Callable[[Recipe], keras.Model], adapt: Callable[..., None]
    ) -> bool:
        """Gives a classifier the untrained base that all share, with its BatchNorm statistics; False if none is shared.

        Args:
            model: The classifier as it is built.
            recipe: Its recipe.
            build: Builds the classifier of a recipe.
            adapt: Takes the BatchNorm statistics of a classifier from the images of a table.
        """
        if self.base_seed is None:
            return False
        of_base = recipe.replace(seed=self.base_seed)
        key = repr(sorted((name, repr(setting)) for name, setting in of_base.to_dict().items() if name in _OF_BASE))
        if key not in self._bases:
            kept = _read_base(self.base_file, key)
            if kept is None:
                base = model if recipe.seed == self.base_seed else build(of_base)
                if self.base_images is not None:
                    adapt(base, self.base_images)
                kept = [value(variable) for variable in _variables_of_base(base)]
                _write_base(self.base_file, key, kept)
            self._bases = {key: kept}
        assign_all(_variables_of_base(model), self._bases[key])
        return self.base_images is not None


_OF_BASE = ("backbone", "weights", "weights_file", "image_size", "clahe", "exposure", "smoothing", "precision", "seed")
_OF_MODEL = (*_OF_BASE, "targets", "head")


def _variables_of_base(model: keras.Model) -> list[keras.Variable]:
    return [variable for layer in backbone_layers(model) for variable in layer.variables]


def _write_base(file: Path | None, key: str, values: list[np.ndarray]) -> None:
    if file is not None:
        arrays: dict[str, Any] = {f"variable.{place}": array for place, array in enumerate(values)}
        with files.replacing(file) as temporary, temporary.open("wb") as handle:
            np.savez(handle, key=np.frombuffer(key.encode(), np.uint8), **arrays)


def _read_base(file: Path | None, key: str) -> list[np.ndarray] | None:
    """Returns the base that a file keeps; None if it is another one's, damaged or not there: it is then made again."""
    if file is None or not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as stored:
            if stored["key"].tobytes() != key.encode():
                return None
            return [stored[f"variable.{place}"] for place in range(len(stored.files) - 1)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def shared_shelves(folder: str | Path | None, limit: int | None) -> Shelves | None:
    """Returns the folder in which what is frozen stays for later trainings.

    Args:
        folder: As `train` takes `features_store`.
        limit: As `train` takes `features_limit`.

    Raises:
        ValueError: If a limit is given without a folder, or is not above 0.
        NotADirectoryError: If the folder is a file.
    """
    if limit is not None:
        checks.positive_int(limit, "features_limit")
        if folder is None:
            raise ValueError(
                f"features_limit={limit} limits a folder of stored features; name it with features_store, too."
            )
    if folder is None:
        return None
    root = checks.typed_path(folder, "features_store")
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"features_store: {str(root)!r} is a file; name a folder, which is made if needed.")
    return Shelves(root, limit=limit)
