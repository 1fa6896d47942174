"""A model against shortcuts: what view, age and sex, image size and a thumbnail tell of its own test images.

A shortcut is fitted to the images that the model was trained on, and scores those that the model was tested on; the two
areas under the ROC curve are compared image by image. A model that is not shown to see more than a thumbnail may have
learnt how the images were selected, whatever its AUROC.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.data.audit.shortcuts import FEWEST_PATIENTS, Features, features_of, known_labels, mean_and_spread
from chexkeras.results import Estimate
from chexkeras.results.shortcuts import SHORTCUT_WORDS, TOGETHER, AgainstShortcut, ShortcutStudy, ThumbnailShortcut

KEYS = ("image_id", "patient_id", "finding", "label")
"""Columns of a table of shortcut scores beside one for each shortcut."""
NAMES = tuple(SHORTCUT_WORDS)


def shortcut_scores(
    train: pd.DataFrame,
    test: pd.DataFrame,
    targets: str | Sequence[str],
    *,
    thumbnails: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> tuple[pd.DataFrame, dict[tuple[str, str], str]]:
    """Scores test images by what they show beside the disease, as fitted to training images.

    Args:
        train: Image table of the training part; nothing is taken from the test part, neither labels nor what is usual.
        test: Image table of the test part.
        targets: One finding or several.
        thumbnails: Of the training and of the test images, each of shape (images, height, width), gray; None leaves
            the thumbnail out.

    Returns:
        One row for each finding and test image whose label is known: image_id, patient_id, finding, label, and a
        column for each shortcut, whose scores order the images and are no probabilities (NaN where there are none);
        and, by finding and shortcut, why there are none.

    Raises:
        ValueError: If a column is missing, or thumbnails do not fit the tables.
    """
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    for part, rows in (("train", train), ("test", test)):
        checks.require_columns(rows, ("image_id", "patient_id", *names), part, "Give the parts of one image table.")
    if thumbnails is not None and [len(each) for each in thumbnails] != [len(train), len(test)]:
        raise ValueError(
            f"there are {' and '.join(str(len(each)) for each in thumbnails)} thumbnails of {len(train)} training and "
            f"{len(test)} test images; give one of each image."
        )
    both = pd.concat([train, test], ignore_index=True)
    fitted_to = np.arange(len(both)) < len(train)
    made = features_of(both, None if thumbnails is None else np.concatenate(thumbnails), fitted_to)
    if thumbnails is None:
        made["thumbnail"] = "the images were not at hand"
    usable = [each for each in made.values() if isinstance(each, Features)]
    made[TOGETHER] = Features.together(usable) if len(usable) > 1 else "fewer than two of them tell images apart"
    patients = checks.identifiers(both["patient_id"], "patient_id")
    parts, reasons = [], {}
    for finding in names:
        labels = known_labels(both[finding])
        positive, negative = (fitted_to & (labels == label) for label in (1, 0))
        few = min(len(np.unique(patients[kind])) for kind in (positive, negative))
        measured = ~fitted_to & ~np.isnan(labels)
        columns = {key: both.loc[measured, key].astype(str) for key in KEYS[:2]}
        rows = pd.DataFrame({**columns, "finding": finding, "label": labels[measured]})
        for name, features in made.items():
            if isinstance(features, str):
                reasons[finding, name] = features
            elif few < FEWEST_PATIENTS:
                reasons[finding, name] = f"one class has training images of {few} patient(s) only"
            else:
                rows[name] = features.fit(positive, negative)[measured]
        parts.append(rows.reindex(columns=[*KEYS, *NAMES]))
    return pd.concat(parts, ignore_index=True), reasons


def fit_thumbnails(train: pd.DataFrame, targets: str | Sequence[str], thumbnails: NDArray[Any]) -> ThumbnailShortcut:
    """Fits the shortcut that a thumbnail is, so that it can be kept without the images and score those of other places.

    It orders images as the thumbnail of `shortcut_scores` does.

    Args:
        train: Image table of the training part.
        targets: One finding or several.
        thumbnails: Of its images, shape (images, height, width), gray.

    Returns:
        The fitted shortcut.

    Raises:
        ValueError: If there is not one thumbnail for each image.
    """
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    if len(thumbnails) != len(train):
        raise ValueError(f"there are {len(thumbnails)} thumbnails of {len(train)} images; give one of each.")
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    mean, spread = mean_and_spread(flat)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
    features = Features((flat - mean) * scale)
    patients = checks.identifiers(train["patient_id"], "patient_id")
    coefficients: dict[str, tuple[float, ...]] = {}
    reasons: dict[str, str] = {}
    for finding in names:
        labels = known_labels(train[finding])
        few = min(len(np.unique(patients[labels == label])) for label in (1, 0))
        if len(features.rows) < 2:
            reasons[finding] = "all training images have the same thumbnail"
        elif few < FEWEST_PATIENTS:
            reasons[finding] = f"one class has training images of {few} patient(s) only"
        else:
            coefficients[finding] = tuple((features.coefficients(labels == 1, labels == 0) * scale).tolist())
    return ThumbnailShortcut(tuple(mean.tolist()), coefficients, reasons)


def compare_with_shortcuts(
    scores: pd.DataFrame,
    shortcuts: pd.DataFrame,
    reasons: Mapping[tuple[str, str], str] | None = None,
    *,
    training: Mapping[str, int] | None = None,
    cautions: Sequence[str] = (),
    confidence: float = 0.95,
) -> ShortcutStudy:
    """Compares a model with shortcuts on the same test images: paired, images of a patient taken together.

    Args:
        scores: Long table of the model's test scores (image_id, patient_id, finding, label, score).
        shortcuts: From `shortcut_scores`.
        reasons: Why some have no scores, from the same.
        training: Training images with a known label, by finding.
        cautions: Sentences to show beside the numbers.
        confidence: Coverage of the intervals, in (0, 1).

    Returns:
        The study. Intervals hold for the fitted model and the fitted shortcuts as they are, and are those of each
        comparison alone.

    Raises:
        ValueError: If a finding has shortcut scores of other images, or other labels, than the model's.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988; Obuchowski, Biometrics 53, 1997.
    """
    from chexkeras.evaluation.comparison.paired_tests import auroc_difference
    from chexkeras.evaluation.scores import Scores, scores_fingerprint
    from chexkeras.evaluation.uncertainty.intervals import auc_interval

    known = Scores.of(scores)
    entries = []
    for finding, rows in shortcuts.groupby("finding", sort=False):
        mine = known[(known["finding"] == finding) & known["label"].notna()].set_index("image_id")
        theirs = rows.set_index("image_id")
        if set(mine.index) != set(theirs.index) or (mine["label"] != theirs["label"].reindex(mine.index)).any():
            raise ValueError(
                f"{finding}: the shortcuts were scored on {len(theirs)} images and the model on {len(mine)}, which are "
                "not the same images with the same labels; measure the shortcuts again."
            )
        theirs = theirs.loc[mine.index]
        labels, owners = mine["label"].to_numpy(), mine["patient_id"].to_numpy()
        model = auc_interval(labels, mine["score"].to_numpy(), clusters=owners, confidence=confidence)
        for name in NAMES:
            values = theirs[name].to_numpy(dtype=np.float64)
            if np.isnan(values).any() or not len(values):
                reason = (reasons or {}).get((str(finding), name), "it has no scores")
                none = Estimate.not_estimable(reason, n=len(values), confidence=confidence)
                alone, difference, p_value = none, none, np.nan
            else:
                alone = auc_interval(labels, values, clusters=owners, confidence=confidence)
                difference, p_value = auroc_difference(
                    labels, mine["score"].to_numpy(), values, clusters=owners, confidence=confidence
                )
            count = (training or {}).get(str(finding), 0)
            entries.append(AgainstShortcut(str(finding), name, model, alone, difference, float(p_value), count))
    return ShortcutStudy(scores_fingerprint(known), tuple(entries), tuple(cautions))
