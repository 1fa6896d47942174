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
from chexkeras.training.distributed.sharing import Sharing


@dataclass
class StageData:
    """What one stage reads and fits.

    Attributes:
        model: What `fit` is called on; compiled.
        train: Gives the batches (inputs, labels) of an epoch.
        validation: Gives the inputs of the validation part, in table order, so many images a batch.
        sharing: The devices that share each batch; None where one has it all.
    """

    model: keras.Model
    train: Callable[[int], Any]
    validation: Callable[[int], Any]
    sharing: Sharing | None = None


def image_data(
    model: keras.Model,
    recipe: Recipe,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    store: Store | None = None,
    sharing: Sharing | None = None,
) -> StageData:
    """Returns the data of a stage that reads every image in every epoch.

    Args:
        model: The classifier, compiled for the stage.
        recipe: The recipe.
        train: Image table of the training part.
        validation: Image table of the validation part.
        store: The store the images are read from; None reads their files.
        sharing: The devices that share each batch; None where one has it all.
    """
    share = None if sharing is None else sharing.share
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
            share=share,
        )

    def held_out(images_a_batch: int) -> Any:
        if share is not None:
            # So that only the last batch is filled up, and what fills it stands behind all images.
            images_a_batch = share.filled(images_a_batch)
        images = make_dataset(
            validation, recipe.targets, image_size=size, batch_size=images_a_batch, store=store, share=share
        )
        return images.map(lambda inputs, _: inputs if share is None else inputs[0])

    fitted = checkpointed(model) if recipe.gradient_checkpointing else model
    if sharing is not None:
        fitted = sharing.shared_model(fitted)
    if fitted is not model:
        fitted.compile(optimizer=model.optimizer, loss=model.loss)
    return StageData(fitted, batches, held_out, sharing)
