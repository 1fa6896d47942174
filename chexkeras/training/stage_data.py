"""What one stage reads and fits: the whole classifier on images, or its suffix on stored features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import pandas as pd

from chexkeras.data.pipeline import make_dataset
from chexkeras.data.store.store import Store
from chexkeras.models.partition import checkpointed
from chexkeras.recipes.recipe import Recipe


@dataclass
class StageData:
    """What one stage reads and fits.

    Attributes:
        model: What `fit` is called on; compiled.
        train: Gives the batches (inputs, labels) of an epoch.
        validation: Gives the inputs of the validation part, in table order, so many images a batch.
    """

    model: keras.Model
    train: Callable[[int], Any]
    validation: Callable[[int], Any]


def image_data(
    model: keras.Model, recipe: Recipe, train: pd.DataFrame, validation: pd.DataFrame, store: Store | None = None
) -> StageData:
    """Returns the data of a stage that reads every image in every epoch.

    Args:
        model: The classifier, compiled for the stage.
        recipe: The recipe.
        train: Image table of the training part.
        validation: Image table of the validation part.
        store: The store the images are read from; None reads their files.
    """
    size, batch_size = recipe.image_size, recipe.batch_size

    def batches(epoch: int) -> Any:
        return make_dataset(
            train,
            recipe.targets,
            image_size=size,
            batch_size=batch_size,
            shuffle=True,
            augmentation=recipe.augment,
            balance=recipe.balanced_batches,
            seed=recipe.seed,
            epoch=epoch,
            counting=False,
            store=store,
        )

    def held_out(images_a_batch: int) -> Any:
        images = make_dataset(validation, recipe.targets, image_size=size, batch_size=images_a_batch, store=store)
        return images.map(lambda pixels, _: pixels)

    if not recipe.gradient_checkpointing:
        return StageData(model, batches, held_out)
    fitted = checkpointed(model)
    fitted.compile(optimizer=model.optimizer, loss=model.loss)
    return StageData(fitted, batches, held_out)
