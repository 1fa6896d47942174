"""What a training starts from: the classifier as it is built, and an untrained base with BatchNorm statistics."""

import keras
import numpy as np
import pandas as pd

from chexkeras.data.image_table import resolve_targets
from chexkeras.data.pipeline import images_with_ids
from chexkeras.data.splits.splits import Splits, listed
from chexkeras.data.store.store import Store
from chexkeras.models.classifier import build_classifier
from chexkeras.models.given import check_loadable
from chexkeras.models.partition import checkpointed
from chexkeras.models.stages import adapt_batchnorm, backbone_layers, trainable_start
from chexkeras.progress import say, track
from chexkeras.recipes.recipe import Recipe
from chexkeras.training.memory import halving
from chexkeras.training.own_objects import OwnObjects
from chexkeras.training.resume.checkpoints import Checkpoints, assign_all, value
from chexkeras.training.shared import SharedWork

IMAGES_AT_A_TIME = 32
"""Images of a batch where the recipe's batch size shall not matter: recipes that differ in it find the same."""


def spelt_as_in(table: pd.DataFrame, recipe: Recipe) -> Recipe:
    """Returns the recipe with its findings as the table spells them: NIH's Effusion is CheXpert's Pleural Effusion.

    Args:
        table: The image table.
        recipe: The recipe.

    Raises:
        ValueError: If the table lacks one of them.
    """
    try:
        spelt = dict(zip(recipe.targets, resolve_targets(table, recipe.targets), strict=True))
    except ValueError as error:
        raise ValueError(
            f"the recipe trains {listed(recipe.targets)}: {error} Name what this table has with "
            "recipe.replace(targets=...), on the command line --finding."
        ) from None
    weights = tuple((spelt[name], weight) for name, weight in recipe.loss.target_weights)
    return recipe.replace(targets=tuple(spelt.values()), loss=recipe.loss.replace(target_weights=weights))


def built(recipe: Recipe, own: OwnObjects) -> keras.Model:
    """Returns the classifier as it is built from the recipe's seed, with what does not depend on images checked.

    Args:
        recipe: The recipe.
        own: Keras objects of one's own in place of what it names.

    Raises:
        ValueError: If something given does not fit, or a stage names no layer.
    """
    keras.utils.set_random_seed(recipe.seed)
    model = build_classifier(
        recipe.targets,
        backbone=own.backbone or recipe.backbone,
        weights=recipe.weights,
        weights_file=recipe.weights_file,
        image_size=recipe.image_size,
        head=own.head or recipe.head,
        clahe=recipe.clahe,
        exposure=recipe.exposure,
        smoothing=recipe.smoothing,
        precision=recipe.precision,
        input_range=own.input_range,
    )
    for stage in recipe.stages:
        trainable_start(backbone_layers(model), stage.trainable)
    if own.any_given:
        check_loadable(model, "classifier")
    if recipe.gradient_checkpointing:
        checkpointed(model)
    return model


def starting_classifier(
    recipe: Recipe,
    splits: Splits,
    store: Store | None,
    checkpoints: Checkpoints,
    own: OwnObjects,
    shared: SharedWork,
) -> keras.Model:
    """Returns the classifier with the weights that training starts from, now or when it was begun.

    Args:
        recipe: The recipe.
        splits: The split.
        store: The store the images are read from; None reads their files.
        checkpoints: Where they are kept.
        own: Keras objects of one's own.
        shared: What this training has in common with others.

    Raises:
        ValueError: If the weights of a given backbone are lost.
    """
    model = shared.classifier(recipe, lambda: built(recipe, own))
    try:
        start = checkpoints.load_start()
    except ValueError as error:
        say(f"what training started from is made again from the seed: {error}", indent=2)
        start = None
    if start is not None:
        assign_all(model.variables, start)
        return model
    if own.weightless:
        raise ValueError(
            "the weights that the given backbone had are not among the checkpoints, and its configuration does not "
            "hold them; give it again, train(..., backbone=model, resume=True), or begin anew with overwrite=True."
        )
    if recipe.weights is None and not shared.untrained_base(
        model,
        recipe,
        lambda of_base: built(of_base, own),
        lambda base, images: _adapt(
            base, images, recipe.replace(seed=shared.base_seed, batch_size=IMAGES_AT_A_TIME), store
        ),
    ):
        _adapt(model, splits.train, recipe, store)
    checkpoints.save_start([value(variable) for variable in model.variables])
    return model


def _adapt(model: keras.Model, table: pd.DataFrame, recipe: Recipe, store: Store | None) -> None:
    # Shuffled once: NIH lists a patient's images together, and a batch should look like the whole.
    order = np.random.default_rng(recipe.seed).permutation(len(table))
    before = [value(variable) for variable in model.variables]

    def attempt(size: int) -> tuple[int, int]:
        assign_all(model.variables, before)
        used = order[: len(order) // size * size]
        batches = images_with_ids(table.iloc[used], image_size=recipe.image_size, batch_size=size, store=store)
        steps = len(used) // size
        pixels = (pixels for pixels, _ in track(batches, "BatchNorm statistics", steps))
        return adapt_batchnorm(model, pixels), len(used)

    (count, images), _ = halving(attempt, min(recipe.batch_size, len(table)), "taking BatchNorm statistics")
    say(f"untrained base: {count} BatchNorm layers took their statistics from {images:,} images", indent=2)
