"""Which stages can train on stored features, and the stores they share: one pass over the films fills them all."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras.checks import one_of
from chexkeras.data.augment import Augmentation, flips
from chexkeras.data.pipeline import epoch_order
from chexkeras.models.partition import Partition, partition
from chexkeras.models.stages import freeze
from chexkeras.progress import say
from chexkeras.training.features import FeatureOverflow, FeatureSpec, FeatureStore, feature_batches
from chexkeras.training.recipe import Recipe
from chexkeras.training.stage_data import StageData

FEATURES = ("auto", "float16", "float32", "off")
_SHARE_OF_FREE_DISK = 0.5


@dataclass
class FeaturePlan:
    """Stores of training and validation features, and the stages that read them.

    Attributes:
        layers: Crossing layer of each stage that trains on features, by stage name.
        train: Store of the training films, in all views.
        validation: Store of the validation films, unchanged.
        automatic: Whether float32 may be taken where float16 cannot hold a feature.
    """

    layers: dict[str, str]
    train: FeatureStore
    validation: FeatureStore
    automatic: bool = False

    def fill(self, batch_size: int) -> None:
        """Computes both stores; in float32 where the number type was left to us and float16 cannot hold a feature."""
        try:
            self.validation.fill(batch_size)
            self.train.fill(batch_size)
        except FeatureOverflow:
            if not self.automatic or self.train.spec.dtype == "float32":
                raise
            say("a feature is too large for float16; storing float32 instead")
            for name in ("validation", "train"):
                store = getattr(self, name)
                setattr(self, name, FeatureStore(store.folder, replace(store.spec, dtype="float32"), store.table))
            self.fill(batch_size)

    def stage_data(self, model: keras.Model, recipe: Recipe, stage: str) -> StageData:
        """Returns the data of a stage whose suffix is fitted on stored features.

        Args:
            model: The classifier, compiled for the stage.
            recipe: The recipe.
            stage: The stage's name, a key of `layers`.
        """
        parts = _useful_partition(model)
        if parts is None or parts.crossing != self.layers[stage]:
            raise ValueError(f"the model's frozen part is not the one planned for {stage}; apply its stage first.")
        parts.suffix.compile(optimizer=model.optimizer, loss=model.loss)
        features = self.train.features(parts.crossing)
        labels = self.train.table[list(recipe.targets)].to_numpy(np.float32)
        held_out = self.validation.features(parts.crossing)

        def batches(epoch: int) -> Any:
            order = epoch_order(len(labels), recipe.seed, epoch)
            views = flips(recipe.seed, epoch, order).astype(np.int64) if recipe.augment.flip else None
            return feature_batches(features, labels, order=order, views=views, batch_size=recipe.batch_size)

        def validation() -> Any:
            order = np.arange(len(held_out))
            return feature_batches(held_out, None, order=order, views=None, batch_size=recipe.batch_size)

        return StageData(parts.suffix, batches, validation)


def _useful_partition(model: keras.Model) -> Partition | None:
    parts = partition(model)
    return parts if parts is not None and parts.prefix.weights else None


def plan_features(
    model: keras.Model,
    recipe: Recipe,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    folder: Path,
    features: str = "auto",
) -> FeaturePlan | None:
    """Decides whether training on stored features is exact and cheaper, and says so.

    Args:
        model: A classifier of `build_classifier` with the weights training starts from.
        recipe: The recipe.
        train: Image table of the training part.
        validation: Image table of the validation part.
        folder: Where the stores go.
        features: "auto" (float16 where it applies), "float16", "float32" or "off".

    Returns:
        The plan, or None when every stage has to read the films anew in every epoch.
    """
    if one_of(features, FEATURES, "features") == "off":
        return None
    if recipe.augment.active and recipe.augment != Augmentation(flip=True):
        say("every epoch reads the films anew: with random augmentation no two epochs show the same film")
        return None
    layers, trained = {}, set()
    for stage in recipe.stages:
        freeze(model, stage.trainable)
        parts = _useful_partition(model)
        # A prefix that an earlier stage has changed is not the function that was stored.
        if parts is not None and trained.isdisjoint(layer.name for layer in parts.prefix.layers):
            layers[stage.name] = parts.crossing
        trained.update(layer.name for layer in model.layers if layer.trainable_weights)
    views = (False, True) if recipe.augment.flip else (False,)
    epochs = sum(stage.epochs for stage in recipe.stages if stage.name in layers)
    if epochs <= len(views):
        return None
    crossing = tuple(dict.fromkeys(layers.values()))
    outputs = [model.get_layer(name).output for name in crossing]
    dtype = "float32" if features == "float32" else "float16"
    spec = FeatureSpec(keras.Model(model.input, outputs), crossing, views, dtype)
    plain = FeatureSpec(spec.model, crossing, (False,), dtype)
    size = spec.bytes_per_film() * len(train) + plain.bytes_per_film() * len(validation)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > _SHARE_OF_FREE_DISK * free:
        say(
            f"every epoch reads the films anew: stored features would take {size / 1e9:.1f} GB, more than half of the "
            f"{free / 1e9:.1f} GB free"
        )
        return None
    passes = f"{len(views)} pass{'es' if len(views) > 1 else ''}"
    say(
        f"{', '.join(layers)}: what is frozen is computed once and stored ({', '.join(crossing)}; {dtype}, "
        f"{size / 1e6:,.0f} MB): {passes} over the training films instead of up to {epochs}"
    )
    stores = (FeatureStore(folder / "train", spec, train), FeatureStore(folder / "validation", plain, validation))
    return FeaturePlan(layers, *stores, automatic=features == "auto")
