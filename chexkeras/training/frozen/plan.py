"""Which stages can train on stored features, and the stores they share: one pass over the images fills them all."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras.checks import one_of, positive_int
from chexkeras.data.sampling import balance_groups, balanced, shuffled
from chexkeras.data.store.store import Store
from chexkeras.models.partition import Partition, first_changing, frozen_share, partition
from chexkeras.models.stages import freeze
from chexkeras.parallel import HERE, Workplace
from chexkeras.progress import say
from chexkeras.recipes.recipe import Recipe
from chexkeras.training.frozen.augmented_copies import AugmentedCopies
from chexkeras.training.frozen.engine import FrozenEngine, frozen_engine
from chexkeras.training.frozen.feature_store import FeatureOverflow, FeatureSpec, FeatureStore, feature_batches
from chexkeras.training.frozen.shelves import Shelf, Shelves
from chexkeras.training.stage_data import StageData

FEATURES = ("auto", "float16", "float32", "off")
_WORTH_STORING = 0.2
_SCORED_AT_A_TIME = 32


@dataclass
class FeaturePlan:
    """Stores of training and validation features, and the stages that read them.

    Attributes:
        layers: Crossing layer of each stage that trains on features, by stage name.
        train: Store of the training images, in all copies.
        validation: Store of the validation images, unchanged.
        test: Store of the test images, unchanged; None where they are scored by the whole model.
        automatic: Whether float32 may be taken where float16 cannot hold a feature.
    """

    layers: dict[str, str]
    train: FeatureStore
    validation: FeatureStore
    test: FeatureStore | None = None
    automatic: bool = False

    @property
    def stores(self) -> tuple[FeatureStore, ...]:
        """All stores."""
        return tuple(store for store in (self.validation, self.test, self.train) if store is not None)

    def fill(self, batch_size: int, place: Workplace = HERE) -> None:
        """Computes all stores; in float32 where the number type was left to us and float16 cannot hold a feature.

        Args:
            batch_size: Images a step.
            place: Where to compute.

        Raises:
            FeatureOverflow: If a feature does not fit the number type that was asked for.
            OSError: If the disk has too little space for all stores; said before anything is computed.
        """
        shelves = [shelf for store in self.stores for shelf in store.on]
        try:
            with self.train.shelves.filling(list(dict.fromkeys(shelves))):
                self._fill(batch_size, place)
        except FeatureOverflow:
            if not self.automatic or self.train.spec.dtype == "float32":
                raise
            say("a feature is too large for float16; storing float32 instead")
            for name in ("validation", "test", "train"):
                store = getattr(self, name)
                if store is not None:
                    spec = replace(store.spec, dtype="float32")
                    setattr(self, name, FeatureStore(store.shelves, spec, store.table, store.images))
            self.fill(batch_size, place)

    def _fill(self, batch_size: int, place: Workplace) -> None:
        for store in self.stores:
            store.check()
        missing: dict[Shelf, set[bytes]] = {}
        for store in self.stores:
            for shelf, keys in store.missing().items():
                missing.setdefault(shelf, set()).update(keys)
        self.train.shelves.make_room(sum(shelf.entry_bytes * len(keys) for shelf, keys in missing.items()))
        try:
            # The room of all is taken before anything is computed.
            for shelf, keys in missing.items():
                shelf.reserve(len(keys))
            for store in self.stores:
                store.fill(batch_size, place)
        finally:
            for shelf in missing:
                shelf.give_back()

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
            order = np.arange(len(held_out.entries))
            return feature_batches(held_out, None, order=order, copies=None, batch_size=images_a_batch)

        return StageData(parts.suffix, batches, validation)

    def predict(self, model: keras.Model, part: str) -> np.ndarray | None:
        """Returns what a trained classifier says of a part, computed from its stored features.

        Args:
            model: The classifier.
            part: "validation" or "test".

        Returns:
            float array (images, n_targets), in table order; None where the part's features are not stored.
        """
        store = getattr(self, part)
        if store is None:
            return None
        # Nothing before the earliest crossing was trained: what is stored there is what the network computes.
        crossing = min(self.layers.values(), key=lambda layer: model.operations.index(model.get_layer(layer)))
        parts = partition(model, at=crossing)
        held = store.features(crossing)
        batches = feature_batches(
            held, None, order=np.arange(len(held.entries)), copies=None, batch_size=_SCORED_AT_A_TIME
        )
        return np.asarray(parts.suffix.predict(batches, verbose=0)) if parts is not None else None


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
    shelves: Shelves,
    features: str = "auto",
    draws: int | None = None,
    store: Store | None = None,
    engine: str = "keras",
    *,
    test: pd.DataFrame | None = None,
    trainings: int = 1,
    engines: dict[tuple[str, ...], FrozenEngine] | None = None,
) -> FeaturePlan | None:
    """Decides whether training on stored features is exact and cheaper, and says so.

    Random changes other than the flip are stored only when `draws` asks for it: an epoch then shows each image in one
    of so many fixed draws instead of a new one, which is another recipe.

    Args:
        model: A classifier of `build_classifier` with the weights training starts from.
        recipe: The recipe.
        train: Image table of the training part.
        validation: Image table of the validation part.
        shelves: Where the stores go.
        features: "auto" (float16 where it applies), "float16", "float32" or "off".
        draws: How many draws of the recipe's random changes to store; None stores none.
        store: The store the images are read from; None reads their files.
        engine: What computes the features, one of `engine.FROZEN_ENGINES`.
        test: Image table of the test part, if its images are to be scored from stored features; None stores none.
        trainings: How many trainings use the same features.
        engines: Engines made ready before, by what they compute; the one that is made here is added. None for none.

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
    if not epochs or epochs * trainings <= copies.count:
        return None
    dtype = "float32" if features == "float32" else "float16"
    prefix = keras.Model(model.input, list(outputs.values()))
    spec = FeatureSpec(prefix, tuple(outputs), copies, dtype)
    if engine != "keras":
        ready = {} if engines is None else engines
        if spec.keys not in ready:
            ready[spec.keys] = frozen_engine(prefix, engine, recipe.batch_size)
        spec = replace(spec, engine=ready[spec.keys] if ready[spec.keys].name != "keras" else None)
    plain = replace(spec, copies=AugmentedCopies())
    plan = FeaturePlan(
        layers,
        FeatureStore(shelves, spec, train, store),
        FeatureStore(shelves, plain, validation, store),
        FeatureStore(shelves, plain, test, store) if test is not None else None,
        automatic=features == "auto",
    )
    size = sum(shelf.entry_bytes * len(keys) for each in plan.stores for shelf, keys in each.missing().items())
    if size > (room := shelves.room()):
        why = "half of what is free" if shelves.limit is None else "what the limit leaves"
        say(
            f"every epoch reads the images again: stored features would take {size / 1e9:.1f} GB, more than the "
            f"{room / 1e9:.1f} GB that may be taken, {why}",
            indent=2,
        )
        return None
    passes = f"{copies.count} pass{'es' if copies.count > 1 else ''}"
    say(
        f"{', '.join(layers)}: what is frozen is computed once and stored ({', '.join(outputs)}; {copies}; "
        f"{dtype}, {size / 1e6:,.0f} MB): {passes} over the training images instead of up to {epochs * trainings}",
        indent=2,
    )
    return plan
