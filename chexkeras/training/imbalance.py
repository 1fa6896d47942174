"""How much a positive and a negative weigh, from the training labels alone."""

import pandas as pd

from chexkeras.checks import one_of
from chexkeras.findings import resolve

CLASS_WEIGHTS = ("balanced", "none")


def class_weights(
    table: pd.DataFrame, targets: str | tuple[str, ...], mode: str = "balanced"
) -> tuple[list[float], list[float]]:
    """Returns the weight of a positive and of a negative for each target.

    "balanced" gives ``n / (2 n+)`` and ``n / (2 n-)``: both classes weigh the same in sum and the mean weight is 1, so
    learning rates keep their meaning. Unknown labels do not count.

    Args:
        table: Training part of the image table.
        targets: Findings in output order.
        mode: "balanced" or "none".

    Returns:
        Positive weights and negative weights, one of each per target.

    Raises:
        ValueError: If a target has one class only among the training films.

    Example:
        >>> table = pd.DataFrame({"Pneumonia": [1.0, 0.0, 0.0, 0.0]})
        >>> class_weights(table, "Pneumonia")
        ([2.0], [0.6666666666666666])
    """
    names = resolve(targets)
    if one_of(mode, CLASS_WEIGHTS, "class_weights") == "none":
        return [1.0] * len(names), [1.0] * len(names)
    positive_weights, negative_weights = [], []
    for name in names:
        positives = int((table[name] == 1.0).sum())
        negatives = int((table[name] == 0.0).sum())
        if not positives or not negatives:
            raise ValueError(
                f"{name} has {positives} positive and {negatives} negative training films; class weights need both. "
                "Use more films or another finding."
            )
        positive_weights.append((positives + negatives) / (2 * positives))
        negative_weights.append((positives + negatives) / (2 * negatives))
    return positive_weights, negative_weights
