"""How much a positive and a negative weigh, from the training labels alone.

From a recipe's words to the loss object that training minimises.
"""

import math
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras.checks import one_of
from chexkeras.data.image_table import resolve_targets
from chexkeras.data.sampling import balance_groups, times_shown
from chexkeras.models.losses import (
    AsymmetricLoss,
    AucMarginLoss,
    FocalLoss,
    ThreeWayCrossentropy,
    WeightedBinaryCrossentropy,
    with_third_class,
)
from chexkeras.recipes.recipe import CLASS_WEIGHTS, Recipe


def training_times(table: pd.DataFrame, balance: tuple[str, ...]) -> np.ndarray:
    """Returns how often an epoch shows each row, on average over epochs: once, unless batches are balanced.

    Args:
        table: Training part of the image table, its rows as often as up-sampling repeats them.
        balance: `Recipe.balanced_batches`.

    Raises:
        ValueError: As `data.sampling.balance_groups`.
    """
    return times_shown(balance_groups(table, balance), len(table)) if balance else np.ones(len(table))


def label_counts(table: pd.DataFrame, targets: str | tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Returns how many rows of a table are positive, negative and unknown for each target.

    Args:
        table: Training part of the image table, its rows as often as an epoch shows them.
        targets: Findings in output order.

    Example:
        >>> label_counts(pd.DataFrame({"Mass": [1.0, 0.0, 0.0, None]}), "Mass")
        {'Mass': {'positive': 1, 'negative': 2, 'unknown': 1}}
    """
    return {
        name: {
            "positive": int((table[name] == 1.0).sum()),
            "negative": int((table[name] == 0.0).sum()),
            "unknown": int(table[name].isna().sum()),
        }
        for name in resolve_targets(table, targets)
    }


def class_weights(
    table: pd.DataFrame,
    targets: str | tuple[str, ...],
    mode: str = "balanced",
    *,
    cap: float | None = None,
    beta: float = 0.9999,
    times: np.ndarray | None = None,
) -> tuple[list[float], list[float]]:
    """Returns the weight of a positive and of a negative for each target.

    Of n known labels, n+ are positive and n- negative; unknown labels do not count.

    - "balanced": ``n / (2 n+)`` and ``n / (2 n-)``. Both classes weigh the same in sum and the mean weight is 1, so
      learning rates keep their meaning.
    - "capped": ``n- / n+``, at most `cap`, and 1.
    - "effective": each class by the inverse of its effective number ``(1 - beta^n) / (1 - beta)``, scaled so that the
      mean weight is 1. `beta` 0 gives "none"; towards 1 it becomes "balanced". The paper scales the weights of the
      classes to a sum instead, which changes all of them by one factor.
    - "none": 1 and 1.

    Args:
        table: Training part of the image table.
        targets: Findings in output order.
        mode: One of `recipe_parts.CLASS_WEIGHTS`.
        cap: For "capped": largest weight of a positive, above 0; None sets no limit.
        beta: For "effective": in [0, 1).
        times: float array (n_rows,): how often an epoch shows each row, from `training_times`; None counts each once.

    Returns:
        Positive weights and negative weights, one of each per target.

    Raises:
        ValueError: If a target has one class only among the training images.

    Source:
        Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019.

    Example:
        >>> table = pd.DataFrame({"Pneumonia": [1.0, 0.0, 0.0, 0.0]})
        >>> class_weights(table, "Pneumonia")
        ([2.0], [0.6666666666666666])
        >>> class_weights(table, "Pneumonia", "capped", cap=2.5)
        ([2.5], [1.0])
    """
    counts = _shown_counts(table, targets, times)
    if one_of(mode, CLASS_WEIGHTS, "class_weights") == "none":
        return [1.0] * len(counts), [1.0] * len(counts)
    if cap is not None and not 0.0 < cap < math.inf:
        raise ValueError(f"cap={cap!r} must be a number above 0, such as 20, or None for no limit.")
    if not 0.0 <= beta < 1.0:
        raise ValueError(f"beta={beta!r} must be at least 0 and below 1; the paper uses 0.9 to 0.9999.")
    pairs = []
    for name, count in counts.items():
        positives, negatives = count["positive"], count["negative"]
        if not positives or not negatives:
            raise ValueError(
                f"{name} has {positives:g} positive and {negatives:g} negative training images; class weights need "
                "both. Use more images or another finding."
            )
        if mode == "balanced":
            pair = (positives + negatives) / (2 * positives), (positives + negatives) / (2 * negatives)
        elif mode == "capped":
            pair = min(negatives / positives, math.inf if cap is None else cap), 1.0
        else:
            pair = _effective(positives, negatives, beta)
        pairs.append(pair)
    return [positive for positive, _ in pairs], [negative for _, negative in pairs]


def _shown_counts(
    table: pd.DataFrame, targets: str | tuple[str, ...], times: np.ndarray | None
) -> dict[str, dict[str, float]]:
    """Returns `label_counts`, each row counted as often as it is shown."""
    counts = label_counts(table, targets)
    if times is None:
        return counts
    values = {"positive": 1.0, "negative": 0.0}
    return {name: {key: float(times[table[name] == value].sum()) for key, value in values.items()} for name in counts}


def _effective(positives: float, negatives: float, beta: float) -> tuple[float, float]:
    if beta == 0.0:
        return 1.0, 1.0
    # 1 - beta^n without losing digits where beta is close to 1; the common factor (1 - beta) cancels.
    positive, negative = (1.0 / -math.expm1(count * math.log(beta)) for count in (positives, negatives))
    mean = (positives * positive + negatives * negative) / (positives + negatives)
    return positive / mean, negative / mean


def imbalance_record(
    table: pd.DataFrame,
    targets: tuple[str, ...],
    mode: str,
    factors: tuple[tuple[str, int], ...],
    balance: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Returns what a run records of the classes and of what was done about them, as plain values.

    Args:
        table: The training rows, as often as up-sampling repeats them.
        targets: Findings in output order.
        mode: How the loss weighs the classes; "none" where it does not.
        factors: (finding, how often an epoch shows its images).
        balance: `Recipe.balanced_batches`.
    """
    groups = balance_groups(table, balance)
    shown = _shown_counts(table, targets, training_times(table, balance))
    return {
        "class_weights": mode,
        "up_sampled": dict(factors),
        "rows_an_epoch": len(table),
        "labels": label_counts(table, targets),
        "balanced_batches": {name: len(rows) for name, rows in groups.items()},
        "positives_an_epoch": {name: round(count["positive"], 1) for name, count in shown.items()},
    }


def build_loss(recipe: Recipe, train: pd.DataFrame) -> keras.losses.Loss:
    """Returns the recipe's loss, its class weights taken from the training images.

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
