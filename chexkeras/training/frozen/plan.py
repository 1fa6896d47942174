"""Which stages can train on stored features, and the stores they share: one pass over the images fills them all."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras.checks import one_of, positive_int
from chexkeras.data.sampling import balance_groups, balanced, shuffled
from chexkeras.data.store.store import Store
from chexkeras.models.partition import Partition, first_changing, frozen_share, partition
from chexkeras.models.stages import freeze
from chexkeras.progress import say
from chexkeras.recipes.recipe import Recipe
from chexkeras.training.frozen.augmented_copies import AugmentedCopies
from chexkeras.training.frozen.engine import frozen_engine
from chexkeras.training.frozen.feature_store import FeatureOverflow, FeatureSpec, FeatureStore, feature_batches
from chexkeras.training.stage_data import StageData

FEATURES = ("auto", "float16", "float32", "off")
_SHARE_OF_FREE_DISK = 0.5
_WORTH_STORING = 0.2


@dataclass
class FeaturePlan:
    """Stores of training and validation features, and the stages that read them.

    Attributes:
        layers: Crossing layer of each stage that trains on features, by stage name.
        train: Store of the training images, in all copies.
        validation: Store of the validation images, unchanged.
        automatic: Whether float32 may be taken where float16 cannot hold a feature.
    """

    layers: dict[str, str]
    train: FeatureStore
    validation: FeatureStore
    automatic: bool = False

    def fill(self, batch_size: int) -> None:
        """Computes both stores; in float32 where the number type was left to us and float16 cannot hold a feature.

        Args:
            batch_size: Images a step.

        Raises:
            FeatureOverflow: If a feature does not fit the number type that was asked for.
            OSError: If the disk has too little space for both stores; said before anything is computed.
        """
        stores = (self.validation, self.train)
        try:
            for store in stores:
                store.reserve()
        except OSError:
            for store in stores:
                store.give_back()
            raise
        try:
            self.validation.fill(batch_size)
            self.train.fill(batch_size)
        except FeatureOverflow:
            if not self.automatic or self.train.spec.dtype == "float32":
                raise
            say("a feature is too large for float16; storing float32 instead")
            for name in ("validation", "train"):
                store = getattr(self, name)
                shutil.rmtree(store.folder, ignore_errors=True)
                spec = replace(store.spec, dtype="float32")
                setattr(self, name, FeatureStore(store.folder, spec, store.table, store.images))
            self.fill(batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Returns what was stored, as plain values for the record."""
        spec = self.train.spec
        engine = {} if spec.engine is None else {"engine": spec.engine.to_dict()}
        views = {"views": str(spec.copies), "exact": spec.copies.exact}
        return {"dtype": spec.dtype, "layers": self.layers, **views, **engine}

    def stage_data(self, model: keras.Model, recipe: Recipe, stage: str) -> StageData:
        """Returns the data of a stage whose suffix is fitted on stored features.

        Args:
            model: The classifier, compiled for the stage.
            recipe: The recipe.
            stage: The stage's name, a key of `layers`.
        """
        parts = _useful_partition(model, checkpointed=recipe.gradient_checkpointing)
        if parts is None or parts.crossing != self.layers[stage]:
            raise ValueError(f"the model's frozen part is not the one planned for {stage}; apply its stage first.")
        parts.suffix.compile(optimizer=model.optimizer, loss=model.loss)
        features = self.train.features(parts.crossing)
        labels = self.train.table[list(recipe.targets)].to_numpy(np.float32)
        held_out = self.validation.features(parts.crossing)
        groups = balance_groups(self.train.table, recipe.balanced_batches)

        def batches(epoch: int) -> Any:
            n, seed = len(labels), recipe.seed
            shown = balanced(groups, n, seed, epoch) if groups else shuffled(n, seed, epoch)
            copies = self.train.spec.copies.in_epoch(epoch, shown.draws)
            return feature_batches(features, labels, order=shown.rows, copies=copies, batch_size=recipe.batch_size)

        def validation(images_a_batch: int) -> Any:
            order = np.arange(len(held_out))
            return feature_batches(held_out, None, order=order, copies=None, batch_size=images_a_batch)

        return StageData(parts.suffix, batches, validation)


def _useful_partition(model: keras.Model, stage: str = "", checkpointed: bool = False) -> Partition | None:
    """Returns the partition where storing pays; says why where it does not and `stage` is named."""
    parts = partition(model, checkpointed)
    if parts is None or not parts.prefix.weights:
        return None
    share = frozen_share(model, parts.prefix)
    if share >= _WORTH_STORING:
        return parts
    first = first_changing(model)
    if stage and first is not None and not first.trainable_weights:
        say(
            f"{stage} reads the images again: {first.name} changes from step to step although it is frozen (dropout, "
            f"or BatchNorm in training), and only {share:.0%} of the work lies before it",
            indent=2,
        )
    return None


def check_draws(recipe: Recipe, features: str, draws: int | None) -> None:
    """Checks a request for stored draws, before anything is computed.

    Args:
        recipe: The recipe.
        features: "auto", "float16", "float32" or "off".
        draws: How many draws of the random changes to store; None stores none.

    Raises:
        ValueError: If draws are asked for where there is nothing to draw, or nothing is stored.
    """
    if draws is None:
        return
    positive_int(draws, "draws")
    if features == "off":
        raise ValueError(
            f"draws={draws} (--draws) stores features, but features='off' (--features off) forbids it; leave one of "
            "them out."
        )
    if AugmentedCopies(recipe.augment).exact:
        raise ValueError(
            f"draws={draws} (--draws), but recipe {recipe.name!r} changes no image at random beyond the "
            "flip, whose two copies are stored anyway; leave draws out."
        )


def plan_features(
    model: keras.Model,
    recipe: Recipe,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    folder: Path,
    features: str = "auto",
    draws: int | None = None,
    store: Store | None = None,
    engine: str = "keras",
) -> FeaturePlan | None:
    """Decides whether training on stored features is exact and cheaper, and says so.

    Random changes other than the flip are stored only when `draws` asks for it: an epoch then shows each image in one
    of so many fixed draws instead of a new one, which is another recipe.

    Args:
        model: A classifier of `build_classifier` with the weights training starts from.
        recipe: The recipe.
        train: Image table of the training part.
        validation: Image table of the validation part.
        folder: Where the stores go.
        features: "auto" (float16 where it applies), "float16", "float32" or "off".
        draws: How many draws of the recipe's random changes to store; None stores none.
        store: The store the images are read from; None reads their files.
        engine: What computes the features, one of `engine.FROZEN_ENGINES`.

    Returns:
        The plan, or None when every stage has to read the images again in every epoch.

    Raises:
        ValueError: If draws are asked for and the recipe has no random changes to draw, or features are "off".
    """
    check_draws(recipe, features, draws)
    if one_of(features, FEATURES, "features") == "off":
        return None
    copies = AugmentedCopies(recipe.augment, recipe.seed, draws or 0)
    if not copies.exact and not copies.draws:
        say("every epoch reads the images again: with random augmentation no two epochs show the same image", indent=2)
        return None
    layers: dict[str, str] = {}
    outputs: dict[str, Any] = {}
    trained: set[str] = set()
    for stage in recipe.stages:
        freeze(model, stage.trainable)
        parts = _useful_partition(model, stage.name)
        # A prefix that an earlier stage has changed is not the function that was stored.
        if parts is not None and trained.isdisjoint(layer.name for layer in parts.prefix.layers):
            layers[stage.name] = parts.crossing
            outputs[parts.crossing] = parts.prefix.output
        trained.update(layer.name for layer in model.layers if layer.trainable_weights)
    epochs = sum(stage.epochs for stage in recipe.stages if stage.name in layers)
    if epochs <= copies.count:
        return None
    dtype = "float32" if features == "float32" else "float16"
    prefix = keras.Model(model.input, list(outputs.values()))
    spec = FeatureSpec(prefix, tuple(outputs), copies, dtype)
    plain = replace(spec, copies=AugmentedCopies())
    size = spec.bytes_per_image() * len(train) + plain.bytes_per_image() * len(validation)
    folder.mkdir(parents=True, exist_ok=True)
    # What an interrupted training has stored here is used or overwritten: its room counts as free.
    held = sum(512 * path.stat().st_blocks for path in folder.rglob("*.npy"))
    free = shutil.disk_usage(folder).free + held
    if size > _SHARE_OF_FREE_DISK * free:
        say(
            f"every epoch reads the images again: stored features would take {size / 1e9:.1f} GB, more than half of "
            f"the {free / 1e9:.1f} GB free",
            indent=2,
        )
        return None
    passes = f"{copies.count} pass{'es' if copies.count > 1 else ''}"
    say(
        f"{', '.join(layers)}: what is frozen is computed once and stored ({', '.join(outputs)}; {copies}; "
        f"{dtype}, {size / 1e6:,.0f} MB): {passes} over the training images instead of up to {epochs}",
        indent=2,
    )
    if engine != "keras":
        computes = frozen_engine(prefix, engine, recipe.batch_size)
        if computes.name != "keras":
            spec, plain = replace(spec, engine=computes), replace(plain, engine=computes)
    of_train = FeatureStore(folder / "train", spec, train, store)
    of_validation = FeatureStore(folder / "validation", plain, validation, store)
    return FeaturePlan(layers, of_train, of_validation, automatic=features == "auto")
