"""Validation of labels, scores and patients, once, at the edge of every statistic."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def known_labels(labels: NDArray[np.float64], where: str = "") -> NDArray[np.bool_]:
    """Returns which labels are known, and refuses what is neither 1, 0 nor NaN.

    Args:
        labels: Shape (n,).
        where: Begins the message, for example "Pneumonia: ".

    Returns:
        Shape (n,), False where the label is NaN.

    Raises:
        ValueError: If a label is something else.
    """
    known = ~np.isnan(labels)
    strange = known & (labels != 0) & (labels != 1)
    if strange.any():
        raise ValueError(
            f"{where}labels must be 1, 0 or NaN (unknown); found {labels[strange][0]:g} in {int(strange.sum())} "
            "row(s). Map uncertain labels to 1, 0 or NaN first."
        )
    return known


def check_values(scores: NDArray[np.float64], where: str = "", *, probabilities: bool) -> None:
    """Refuses scores that are not finite or, with `probabilities`, not in [0, 1].

    Args:
        scores: Shape (n,).
        where: Begins the message, for example "Pneumonia: ".
        probabilities: Whether scores must lie in [0, 1].

    Raises:
        ValueError: If one is refused.
    """
    broken = int((~np.isfinite(scores)).sum())
    if broken:
        raise ValueError(
            f"{where}{broken} of {len(scores)} scores are NaN or infinite; the model's output is broken "
            "(diverged training or damaged weights): score again."
        )
    if probabilities and len(scores) and (scores.min() < 0 or scores.max() > 1):
        raise ValueError(
            f"{where}scores run from {scores.min():g} to {scores.max():g} and look like logits; probabilities in "
            "[0, 1] are expected: apply a sigmoid."
        )


def clean(
    labels: ArrayLike, scores: ArrayLike, *, probabilities: bool = False
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    """Validates labels and scores and takes out the rows whose label is unknown.

    Args:
        labels: Shape (n,), 1, 0 or NaN (unknown).
        scores: Shape (n,), finite; higher means more likely positive.
        probabilities: Whether scores must also lie in [0, 1].

    Returns:
        Labels as booleans, scores as float64, both of the kept rows, and the mask (n,) of rows kept.

    Raises:
        ValueError: If shapes differ, nothing is given, a label is not 0/1/NaN, or a score of a kept row is not finite
            (or, with `probabilities`, outside [0, 1]).
    """
    label = np.asarray(labels, dtype=np.float64)
    score = np.asarray(scores, dtype=np.float64)
    if label.ndim != 1 or label.shape != score.shape:
        raise ValueError(
            f"labels have shape {label.shape} and scores {score.shape}; both must be one column of equal length, "
            "one finding at a time."
        )
    if not len(label):
        raise ValueError("labels and scores are empty; at least one row is needed.")
    kept = known_labels(label)
    check_values(score[kept], probabilities=probabilities)
    return label[kept] == 1, score[kept], kept


def patient_numbers(clusters: ArrayLike | None, kept: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Returns the patients of the kept images as whole numbers.

    Args:
        clusters: Shape (n,), the patient of each image; None when images are independent.
        kept: Shape (n,), which images count.

    Returns:
        0, 1, ... in the sorted order of patients; None when no patient has several kept images.

    Raises:
        ValueError: If lengths differ or a patient is missing.
    """
    if clusters is None:
        return None
    names = np.asarray(clusters)
    if names.shape != kept.shape:
        raise ValueError(f"clusters have shape {names.shape}, expected {kept.shape}: one patient for each image.")
    names = names[kept]
    missing = int(np.sum(pd.isna(names)))
    if missing:
        raise ValueError(f"{missing} of {len(names)} clusters are missing; every image needs its patient.")
    patients, numbers = np.unique(names.astype(str) if names.dtype.kind == "O" else names, return_inverse=True)
    return None if len(patients) == len(names) else numbers.astype(np.int64)


def one_class(n_positive: int, n_negative: int) -> str:
    """Returns in words which class is missing, the reason why nothing can be ranked."""
    if not n_positive and not n_negative:
        return "no image has a known label"
    if not n_positive:
        return f"no positives: all {n_negative} known labels are negative"
    return f"no negatives: all {n_positive} known labels are positive"
