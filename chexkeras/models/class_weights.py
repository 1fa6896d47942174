"""How much a positive and a negative weigh, from the training labels alone.

To add a rule, add an entry to `CLASS_WEIGHTS`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from chexkeras.data.sampling import balance_groups, times_shown
from chexkeras.models.registry import Parameter, Registry, number


@dataclass(frozen=True)
class ClassWeightRule:
    """From the number of positives and of negatives of a target to the weights of one of each.

    Attributes:
        name: How recipes name it.
        doc: What it does and where it is from.
        weigh: Takes the two numbers, and by name the numbers of `parameters`; returns both weights. None weighs nothing
            and takes any numbers.
        parameters: Its numbers in a recipe.
    """

    name: str
    doc: str
    weigh: Callable[..., tuple[float, float]] | None
    parameters: tuple[Parameter, ...] = ()


def _balanced(positives: float, negatives: float) -> tuple[float, float]:
    known = positives + negatives
    return known / (2 * positives), known / (2 * negatives)


def _capped(positives: float, negatives: float, cap: float | None) -> tuple[float, float]:
    return min(negatives / positives, math.inf if cap is None else cap), 1.0


def _effective(positives: float, negatives: float, beta: float) -> tuple[float, float]:
    if beta == 0.0:
        return 1.0, 1.0
    # 1 - beta^n without losing digits where beta is close to 1; the common factor (1 - beta) cancels.
    positive, negative = (1.0 / -math.expm1(count * math.log(beta)) for count in (positives, negatives))
    mean = (positives * positive + negatives * negative) / (positives + negatives)
    return positive / mean, negative / mean


CLASS_WEIGHTS: Registry[ClassWeightRule] = Registry(
    "rule for class weights",
    (
        ClassWeightRule(
            "balanced",
            "``n / (2 n+)`` and ``n / (2 n-)``: both classes weigh the same in sum and the mean weight is 1, so "
            "learning rates keep their meaning.",
            _balanced,
        ),
        ClassWeightRule("none", "1 and 1.", None),
        ClassWeightRule(
            "capped",
            "``n- / n+``, at most `cap`, and 1.",
            _capped,
            (
                Parameter(
                    "cap",
                    None,
                    number(above=0, usual=20, null="for no limit"),
                    "Largest weight of a positive, above 0; None sets no limit.",
                ),
            ),
        ),
        ClassWeightRule(
            "effective",
            "Each class by the inverse of its effective number ``(1 - beta^n) / (1 - beta)``, scaled so that the mean "
            'weight is 1. `beta` 0 gives "none"; towards 1 it becomes "balanced". The paper scales the weights of the '
            'classes to a sum instead, which changes all of them by one factor. Source: Cui et al., "Class-Balanced '
            'Loss Based on Effective Number of Samples", CVPR 2019.',
            _effective,
            (
                Parameter(
                    "beta",
                    0.9999,
                    number(at_least=0, below=1, usual=0.9999),
                    "Share by which each further image counts less than the one before, in [0, 1).",
                ),
            ),
        ),
    ),
)


def training_times(table: pd.DataFrame, balance: tuple[str, ...]) -> np.ndarray:
    """Returns how often an epoch shows each row, on average over epochs: once, unless batches are balanced.

    Args:
        table: Training part of the image table, its rows as often as up-sampling repeats them.
        balance: `Recipe.balanced_batches`.

    Raises:
        ValueError: If a group that batches are to be balanced over has no image.
    """
    return times_shown(balance_groups(table, balance), len(table)) if balance else np.ones(len(table))


def _columns(targets: str | tuple[str, ...]) -> tuple[str, ...]:
    return (targets,) if isinstance(targets, str) else targets


def label_counts(table: pd.DataFrame, targets: str | tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Returns how many rows of a table are positive, negative and unknown for each target.

    Args:
        table: Training part of the image table, its rows as often as an epoch shows them.
        targets: One label column, or several in output order.

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
        for name in _columns(targets)
    }


def _counts_by_epoch(
    table: pd.DataFrame, targets: tuple[str, ...], times: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Returns how many positives and negatives of each target an epoch shows."""
    return {name: (float(times[table[name] == 1.0].sum()), float(times[table[name] == 0.0].sum())) for name in targets}


def class_weights(
    table: pd.DataFrame,
    targets: str | tuple[str, ...],
    rule: str = "balanced",
    *,
    times: np.ndarray | None = None,
    **numbers: float | None,
) -> tuple[list[float], list[float]]:
    """Returns the weight of a positive and of a negative for each target; unknown labels do not count.

    Args:
        table: Training part of the image table.
        targets: One label column, or several in output order.
        rule: A name in `CLASS_WEIGHTS`, whose entry tells the formula: "balanced", "none", "capped" or "effective".
        times: float array (n_rows,): how often an epoch shows each row, from `training_times`; None counts each once.
        **numbers: The rule's own: `cap` of "capped", `beta` of "effective"; their defaults are those of a recipe.

    Returns:
        Positive weights and negative weights, one of each per target.

    Raises:
        ValueError: If the rule is unknown, a number is out of its range, or a target has one class only among the
            training images.

    Example:
        >>> table = pd.DataFrame({"Pneumonia": [1.0, 0.0, 0.0, 0.0]})
        >>> class_weights(table, "Pneumonia")
        ([2.0], [0.6666666666666666])
        >>> class_weights(table, "Pneumonia", "capped", cap=2.5)
        ([2.5], [1.0])
    """
    entry = CLASS_WEIGHTS.find(rule, "class_weights")
    columns = _columns(targets)
    if entry.weigh is None:
        return [1.0] * len(columns), [1.0] * len(columns)
    numbers = {parameter.name: parameter.default for parameter in entry.parameters} | numbers
    for parameter in entry.parameters:
        parameter.check(numbers[parameter.name], parameter.name)
    pairs = []
    counts = _counts_by_epoch(table, columns, np.ones(len(table)) if times is None else times)
    for name, (positives, negatives) in counts.items():
        if not positives or not negatives:
            raise ValueError(
                f"{name} has {positives:g} positive and {negatives:g} negative training images; class weights need "
                "both. Use more images or another finding."
            )
        pairs.append(entry.weigh(positives, negatives, **numbers))
    return [positive for positive, _ in pairs], [negative for _, negative in pairs]


def imbalance_record(
    table: pd.DataFrame,
    targets: tuple[str, ...],
    rule: str,
    factors: tuple[tuple[str, int], ...],
    balance: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Returns what a run records of the classes and of what was done about them, as plain values.

    Args:
        table: The training rows, as often as up-sampling repeats them.
        targets: Label columns in output order.
        rule: How the loss weighs the classes; "none" where it does not.
        factors: (finding, how often an epoch shows its images).
        balance: `Recipe.balanced_batches`.
    """
    counts = _counts_by_epoch(table, targets, training_times(table, balance))
    return {
        "class_weights": rule,
        "up_sampled": dict(factors),
        "rows_an_epoch": len(table),
        "labels": label_counts(table, targets),
        "balanced_batches": {name: len(rows) for name, rows in balance_groups(table, balance).items()},
        "positives_an_epoch": {name: round(positives, 1) for name, (positives, _) in counts.items()},
    }
