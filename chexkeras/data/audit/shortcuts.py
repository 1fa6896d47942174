"""What a model could answer from without looking for disease: view, age and sex, image size, or a blurred thumbnail.

Where one of these alone tells a finding's images from the others, a network can learn it in place of the finding, and a
test part from the same source will not show it. The numbers are the bar that a model has to clear, and its subgroups
are to be read with them in mind. Each shortcut becomes rows of numbers for a linear fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.splits.splitters import iterative_stratification
from chexkeras.results import Estimate

_COMMON_SIZE = 0.01
_AGE_BAND_YEARS = 10


class Features:
    """Different rows of numbers, and which of them each image has: NIH's 112,120 images have two views.

    Args:
        values: Shape (images, numbers), finite.
    """

    @classmethod
    def together(cls, several: Sequence["Features"]) -> "Features":
        """Returns the numbers of several features side by side.

        Args:
            several: Features of the same images.
        """
        return cls(np.concatenate([each.rows[each.row_of] for each in several], axis=1))

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.rows, self.row_of = np.unique(values, axis=0, return_inverse=True)
        self.row_of = self.row_of.ravel()

    def fit(self, positive: NDArray[np.bool_], negative: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Returns the score of every image by a logistic regression fitted to some.

        Args:
            positive: Shape (images,), which to fit to as positive.
            negative: Shape (images,), which to fit to as negative.

        Returns:
            Shape (images,), the linear score without the intercept.
        """
        return (self.rows @ self.coefficients(positive, negative))[self.row_of]

    def coefficients(self, positive: NDArray[np.bool_], negative: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Returns the slopes of a logistic regression fitted to some images.

        Args:
            positive: Shape (images,), which to fit to as positive.
            negative: Shape (images,), which to fit to as negative.

        Returns:
            Shape (numbers,), in the order of the features' numbers.
        """
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        count, fit = len(self.rows), LogisticRegression(max_iter=1000).fit
        weights = [np.bincount(self.row_of[kind], minlength=count) for kind in (positive, negative)]
        present = [weight > 0 for weight in weights]
        # Matrices this small are multiplied much faster by one thread than by many that wait for each other.
        with threadpool_limits(1):
            fitted = fit(
                np.concatenate([self.rows[rows] for rows in present]),
                np.repeat([1, 0], [int(rows.sum()) for rows in present]),
                sample_weight=np.concatenate([weight[rows] for weight, rows in zip(weights, present, strict=True)]),
            )
        return np.asarray(fitted.coef_[0], dtype=np.float64)


def _one_hot(values: pd.Series) -> NDArray[np.float64]:
    return pd.get_dummies(values).to_numpy(dtype=np.float64)


Seen = NDArray[np.bool_] | slice
"""Rows that a shortcut is known from: those of the training part, or all."""
EVERY = slice(None)


def mean_and_spread(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns mean and standard deviation of the known values of each column; 0 where none is known.

    Args:
        values: Shape (rows, columns); NaN is unknown.
    """
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    return mean, np.sqrt((np.where(known, values - mean, 0) ** 2).sum(axis=0) / count)


def _standard(values: NDArray[np.float64], seen: Seen) -> NDArray[np.float64]:
    """Returns columns of mean 0 and deviation 1 among the rows seen; unknown values at the mean, a single one as 0."""
    mean, spread = mean_and_spread(values[seen])
    centred = np.where(np.isnan(values), 0, values - mean)
    return np.where(spread > 0, centred / np.where(spread > 0, spread, 1), 0)


def _differing(values: NDArray[np.float64], what: str, seen: Seen) -> Features | str:
    features = Features(values)
    return features if len(np.unique(features.row_of[seen])) > 1 else f"all images have the same {what}"


def _of_views(table: pd.DataFrame, seen: Seen) -> Features | str:
    if "view" not in table.columns:
        return "the table has no column view"
    return _differing(_one_hot(table["view"].fillna("").astype(str)), "view", seen)


def _of_age_and_sex(table: pd.DataFrame, seen: Seen) -> Features | str:
    present = [column for column in ("age_years", "sex") if column in table.columns]
    if not present:
        return "the table has neither age_years nor sex"
    parts = []
    if "age_years" in present:
        ages = table["age_years"].to_numpy(dtype=np.float64)
        parts += [_standard(ages[:, None], seen), _one_hot(pd.Series(ages // _AGE_BAND_YEARS).fillna(-1))]
    if "sex" in present:
        parts.append(_one_hot(table["sex"].fillna("").astype(str)))
    return _differing(np.concatenate(parts, axis=1), "age and sex", seen)


def _of_sizes(table: pd.DataFrame, seen: Seen) -> Features | str:
    if not {"width_px", "height_px"} <= set(table.columns):
        return "the table has no columns width_px and height_px"
    given = [column for column in ("width_px", "height_px", "pixel_spacing_mm") if column in table.columns]
    numbers = table[given].to_numpy(dtype=np.float64)
    size = table["width_px"].astype(str) + " x " + table["height_px"].astype(str)
    share = size.map(size[seen].value_counts(normalize=True)).fillna(0.0)
    kinds = _one_hot(size.where(share >= _COMMON_SIZE, "another"))
    return _differing(np.concatenate([kinds, _standard(numbers, seen)], axis=1), "image size", seen)


def of_thumbnails(thumbnails: NDArray[Any], seen: Seen = EVERY) -> Features | str:
    """Returns thumbnails of shape (images, height, width) pixel by pixel, or why they tell nothing.

    Args:
        thumbnails: Gray images of one size.
        seen: The rows that decide what is usual.
    """
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    return _differing(_standard(flat, seen), "thumbnail", seen)


def features_of(table: pd.DataFrame, thumbnails: NDArray[Any] | None, seen: Seen = EVERY) -> dict[str, Features | str]:
    """Returns the features of every shortcut, or the reason why there are none, in the order of `SHORTCUTS`.

    Args:
        table: An image table.
        thumbnails: Shape (rows of the table, height, width), gray; None leaves the thumbnail out.
        seen: The rows that decide what is usual: those of the training part, where others are to be scored.
    """
    made = {name: build(table, seen) for name, build in BUILDERS.items()}
    return made if thumbnails is None else {**made, "thumbnail": of_thumbnails(thumbnails, seen)}


BUILDERS: dict[str, Callable[[pd.DataFrame, Seen], Features | str]] = {
    "view": _of_views,
    "age and sex": _of_age_and_sex,
    "image size": _of_sizes,
}
"""From an image table, and the rows that decide what is usual, to features or to the reason why there are none."""


SHORTCUTS = ("view", "age and sex", "image size", "thumbnail")

INFORMATIVE_AUROC = 0.55
"""From this area on, if its interval excludes 0.5, a shortcut is called informative: with 100,000 images an interval
excludes 0.5 at differences that no model would live on."""

FEWEST = 50
"""Images of each class that a finding needs to be measured where nobody asked for it by name."""

FEWEST_PATIENTS = 10
"""Patients of each class that a fit needs."""


@dataclass(frozen=True)
class Shortcut:
    """How well one thing beside the disease tells one finding.

    Attributes:
        name: One of `SHORTCUTS`.
        finding: The finding.
        auroc: Of a logistic regression on this alone, on patients it was not fitted to.
        positives: Images with the finding.
        negatives: Images without it.
    """

    name: str
    finding: str
    auroc: Estimate
    positives: int
    negatives: int

    @property
    def informative(self) -> bool:
        """Whether the area is at least 0.55 and its interval lies above 0.5."""
        return bool(self.auroc.estimable and self.auroc.value >= INFORMATIVE_AUROC and self.auroc.low > 0.5)

    def __str__(self) -> str:
        """Returns, for example, "0.617 (0.585-0.648)*", the asterisk standing for informative; "-" if there is none."""
        if not self.auroc.estimable:
            return "-"
        area = self.auroc
        return f"{area.value:.3f} ({area.low:.3f}-{area.high:.3f}){'*' if self.informative else ''}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values, and whether it is informative."""
        return {**asdict(self), "informative": self.informative}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Shortcut":
        """Rebuilds a shortcut from `to_dict`.

        Args:
            data: Plain values.
        """
        kept = {name: data[name] for name in ("name", "finding", "positives", "negatives")}
        return cls(**kept, auroc=Estimate.from_dict(data["auroc"]))


@checked
def shortcuts(
    table: pd.DataFrame,
    targets: str | Sequence[str] | None = None,
    *,
    thumbnails: NDArray[Any] | None = None,
    seed: int = 0,
    folds: int = 5,
) -> tuple[Shortcut, ...]:
    """Measures how well view, age and sex, image size, and a thumbnail, each alone, tell each finding.

    Patients are dealt into folds; the images of each fold are scored by a logistic regression fitted to the other
    folds. Sizes are taken as kinds of machine (every size that at least 1 % of the images have) and as numbers; ages in
    bands of ten years and as numbers. Images are ranked within their fold, and the areas of the folds averaged by their
    pairs of images: scores of different fits do not compare, and a fold rich in positives leaves few for its fit, so
    that ranking all images together would call a useless predictor worse than chance.

    Args:
        table: An image table.
        targets: One finding or several; None takes every finding with at least 50 positive and 50 negative images.
        thumbnails: Shape (rows of the table, height, width), gray; None leaves the thumbnail out.
        seed: Deals the patients out.
        folds: How many folds, at least 2.

    Returns:
        Finding by finding, in the order of `SHORTCUTS`. Not estimable, with the reason, where the table lacks the
        columns, all images are alike in them, or a class has images of too few patients.

    Raises:
        ValueError: If a target is no label of the table, patients are not named, or an argument is out of range.

    Source:
        LeDell, Petersen & van der Laan, Electronic Journal of Statistics 9, 2015 (area and interval over folds);
        Obuchowski, Biometrics 53, 1997 (several images of a patient).
    """
    checks.require_columns(
        table, ("patient_id",), "the table", "Without it, images of one patient would be in two folds."
    )
    if checks.positive_int(folds, "folds") < 2:
        raise ValueError("folds=1 leaves no patients to fit to; give at least 2.")
    if thumbnails is not None and (thumbnails.ndim != 3 or len(thumbnails) != len(table)):
        raise ValueError(f"thumbnails have shape {thumbnails.shape}; expected ({len(table)}, height, width).")
    names = (
        _measurable(table) if targets is None else image_table.resolve_targets(table, targets) if len(targets) else ()
    )
    if not names:
        return ()
    patients = pd.factorize(checks.identifiers(table["patient_id"], "patient_id"), sort=True)[0]
    if folds > (count := int(patients.max()) + 1):
        raise ValueError(f"folds={folds} are more than the {count} patients of the table; give fewer.")
    labels = {name: known_labels(table[name]) for name in names}
    classes = np.stack([labels[name] == label for name in names for label in (1, 0)], axis=1)
    fold_of = _deal(patients, classes, folds, seed)
    made = features_of(table, thumbnails)
    return tuple(
        _measured(name, features, finding, labels[finding], patients, fold_of)
        for finding in names
        for name, features in made.items()
    )


def _measured(
    name: str,
    features: Features | str,
    finding: str,
    labels: NDArray[np.float64],
    patients: NDArray[np.int64],
    fold_of: NDArray[np.int64],
) -> Shortcut:
    positive, known = labels == 1, ~np.isnan(labels)
    counts = int(positive.sum()), int((known & ~positive).sum())
    few = min(len(np.unique(patients[kind])) for kind in (positive, known & ~positive))
    if isinstance(features, str) or few < FEWEST_PATIENTS:
        reason = features if isinstance(features, str) else f"one class has images of {few} patient(s) only"
        return Shortcut(name, finding, Estimate.not_estimable(reason, n=sum(counts)), *counts)
    scores = np.zeros(len(labels))
    for fold in np.unique(fold_of):
        held = fold_of == fold
        scores[held] = features.fit(positive & ~held, known & ~positive & ~held)[held]
    return Shortcut(name, finding, _area_over_folds(labels, scores, patients, fold_of), *counts)


def _area_over_folds(
    labels: NDArray[np.float64],
    scores: NDArray[np.float64],
    patients: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    confidence: float = 0.95,
) -> Estimate:
    """Returns the mean of the folds' areas, each fold counting with its pairs of a positive and a negative image.

    Folds share no patient, so the variances of their areas (Obuchowski's) add up.
    """
    from chexkeras.evaluation.uncertainty.intervals import auc_variance
    from chexkeras.evaluation.uncertainty.limits import auc_limits

    known = ~np.isnan(labels)
    n, folds = int(known.sum()), np.unique(fold_of)
    measured, pairs = [], []
    for fold in folds:
        held = known & (fold_of == fold)
        positives = int((labels[held] == 1).sum())
        if positives and positives < held.sum():
            measured.append(auc_variance(labels[held], scores[held], clusters=patients[held]))
            pairs.append(positives * (int(held.sum()) - positives))
    areas, variances = np.array(measured).T
    weights = np.array(pairs) / np.sum(pairs)
    area, variance = float(weights @ areas), float(weights**2 @ variances)
    if np.isnan(variance):
        return Estimate.not_estimable("a fold has images of one patient only in one class", n=n, confidence=confidence)
    positives, negatives = (len(np.unique(patients[labels == label])) for label in (1, 0))
    low, high, method = auc_limits(area, variance, (positives, negatives), confidence)
    basis = f"{n} images of {len(np.unique(patients[known]))} patients"
    method = f"mean of {len(areas)} patient-disjoint folds, whose variances add up; {method}; {basis}"
    return Estimate(area, low, high, confidence, n, method)


def _measurable(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(
        name
        for name in image_table.finding_columns(table)
        if (table[name] == 1).sum() >= FEWEST and (table[name] == 0).sum() >= FEWEST
    )


def known_labels(column: pd.Series) -> NDArray[np.float64]:
    """Returns labels as 1, 0 and NaN; a label that a first model filled in is a guess, and counts as unknown."""
    values = column.to_numpy(dtype=np.float64)
    return np.where((values == 0) | (values == 1), values, np.nan)


def _deal(patients: NDArray[np.int64], classes: NDArray[np.bool_], folds: int, seed: int) -> NDArray[np.int64]:
    """Returns the fold of each image: all images of a patient in one, each class of each finding spread over all."""
    counts = np.zeros((int(patients.max()) + 1, classes.shape[1]), dtype=np.int64)
    np.add.at(counts, patients, classes.astype(np.int64))
    return iterative_stratification(counts, np.bincount(patients), (1 / folds,) * folds, seed)[patients]
