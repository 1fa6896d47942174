"""From a recipe's words to the loss object that training minimises."""

import keras
import pandas as pd

from chexkeras.models.losses import AsymmetricLoss, AucMarginLoss, FocalLoss, WeightedBinaryCrossentropy
from chexkeras.recipes.recipe import Recipe
from chexkeras.training.class_weights import class_weights, training_times
from chexkeras.training.three_way import ThreeWayCrossentropy, with_third_class


def build_loss(recipe: Recipe, train: pd.DataFrame) -> keras.losses.Loss:
    """Returns the recipe's loss, its class weights taken from the training films.

    Args:
        recipe: The recipe.
        train: Image table of the training part, its rows as often as an epoch shows them.

    Raises:
        ValueError: If class weights are asked for a target with one class, or batches cannot be balanced.
    """
    spec = recipe.loss
    given = dict(spec.target_weights)
    counts = [float(given.get(target, 1.0)) for target in recipe.targets]
    if spec.name == "focal":
        return FocalLoss(spec.gamma, spec.alpha, counts, spec.label_smoothing)
    if spec.name == "asymmetric":
        return AsymmetricLoss(spec.gamma_positive, spec.gamma_negative, spec.clip, counts)
    if spec.name == "auc_margin":
        return AucMarginLoss(spec.margin, counts)
    if spec.name == "three_way":
        return ThreeWayCrossentropy(counts)
    times = training_times(train, recipe.balanced_batches)
    weights = class_weights(train, recipe.targets, spec.class_weights, cap=spec.cap, beta=spec.beta, times=times)
    positive, negative = ([w * count for w, count in zip(side, counts, strict=True)] for side in weights)
    return WeightedBinaryCrossentropy(positive, negative, spec.label_smoothing)


def training_labels(recipe: Recipe, rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the training rows with labels as the recipe's loss reads them.

    Args:
        recipe: The recipe.
        rows: Image table of the training part, its rows as often as an epoch shows them.

    Raises:
        ValueError: If the recipe has a third class, uncertain, and no label is.
    """
    return with_third_class(rows, recipe.targets) if recipe.loss.name == "three_way" else rows
