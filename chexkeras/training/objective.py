"""What a training minimises: from a recipe to its Keras loss, and to the labels as that loss reads them."""

from typing import Any

import numpy as np
import pandas as pd

from chexkeras.data.datasets.labels import uncertain_mask
from chexkeras.models.class_weights import class_weights, training_times
from chexkeras.models.loss_entry import keras_class
from chexkeras.models.losses import LOSSES, UNCERTAIN
from chexkeras.recipes.recipe import Recipe


def build_loss(recipe: Recipe, train: pd.DataFrame) -> Any:
    """Returns the recipe's loss, its class weights taken from the training images.

    Args:
        recipe: The recipe.
        train: Image table of the training part, its rows as often as an epoch shows them.

    Returns:
        A `keras.losses.Loss`.

    Raises:
        ValueError: If class weights are asked for a target with one class, or batches cannot be balanced.
    """
    spec, entry = recipe.loss, LOSSES[recipe.loss.name]
    given = dict(spec.target_weights)
    weights = [float(given.get(target, 1.0)) for target in recipe.targets]
    if not entry.class_weights:
        return keras_class(entry)(target_weights=weights, **spec.numbers)
    times = training_times(train, recipe.balanced_batches)
    sides = class_weights(train, recipe.targets, spec.class_weights, times=times, **spec.rule_numbers)
    positive, negative = ([each * weight for each, weight in zip(side, weights, strict=True)] for side in sides)
    return keras_class(entry)(positive_weights=positive, negative_weights=negative, **spec.numbers)


def training_labels(recipe: Recipe, rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the training rows with labels as the recipe's loss reads them.

    Args:
        recipe: The recipe.
        rows: Image table of the training part, its rows as often as an epoch shows them.

    Raises:
        ValueError: If the recipe has a third class, uncertain, and no label is.
    """
    return with_third_class(rows, recipe.targets) if recipe.three_way else rows


def with_third_class(rows: pd.DataFrame, targets: tuple[str, ...]) -> pd.DataFrame:
    """Returns training rows whose uncertain labels say so, instead of being unknown.

    For training alone: what is evaluated keeps them unknown.

    Args:
        rows: Image table loaded with the policy "multiclass" for the targets.
        targets: Label columns in output order.

    Returns:
        A copy; `models.losses.UNCERTAIN` where a label is unknown because the report was uncertain.

    Raises:
        ValueError: If no label of any target is uncertain: a third class that never occurs cannot be learnt.
    """
    marked = uncertain_mask(rows, targets) & rows[list(targets)].isna()
    if not marked.to_numpy().any():
        raise ValueError(
            f"no training label of {', '.join(targets)} is uncertain, so that there is no third class to learn; load "
            'CheXpert with uncertain="multiclass", or take another head and loss.'
        )
    labelled = rows.copy()
    for name in targets:
        labelled[name] = np.where(marked[name], UNCERTAIN, rows[name].to_numpy(float))
    labelled.attrs = dict(rows.attrs)
    return labelled
