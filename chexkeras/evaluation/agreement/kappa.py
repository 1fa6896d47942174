"""How far readers agree beyond chance: Fleiss' kappa of several readers, Cohen's of two, weighted or not.

1 is perfect agreement, 0 is what chance would do. Kappa depends on how frequent the categories are: with a rare finding
good readers may have a low kappa, so give the frequencies with it. The interval is made in `beyond_chance`.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.agreement.beyond_chance import Coefficient, Sums, coefficient_estimate
from chexkeras.evaluation.agreement.ratings import (
    CALLS,
    Categories,
    Patients,
    category_name,
    check_ratings,
    patients_of,
)
from chexkeras.results import Estimate

WEIGHTS = ("none", "linear", "quadratic")


@checked
def fleiss_kappa(
    ratings: pd.DataFrame,
    *,
    categories: Categories | None = CALLS,
    patients: Patients | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Returns Fleiss' kappa, the agreement of readers beyond chance, with an interval that rests on patients.

    Every reader's ratings count alike, whoever gave them, and categories have no order: 4 and 5 disagree as much as 1
    and 5. For grades take `krippendorff_alpha` or, of two readers, `cohen_kappa` with weights. Images that a reader
    left out are left out.

    Args:
        ratings: Table with a row for each image, known by its index or the column image_id, and a column for each of at
            least two readers: one of the categories, or NaN where not rated.
        categories: The values that a rating may take, numbers or texts; by default the calls 0 and 1. None takes every
            number that occurs.
        patients: The patient of each image, by image id; None where every image is a patient of its own.
        confidence: Coverage, in (0, 1).

    Returns:
        Kappa, from -1 / (readers - 1) to 1; 0 is chance. Not estimable when all ratings are alike, no image has all
        ratings, or all images come from one patient. Where patients do not differ, as in perfect agreement, the limits
        are Clopper and Pearson's for the agreement of what the patients are worth, at the expected disagreement found.

    Raises:
        TypeError: If the ratings are not a DataFrame.
        ValueError: If there are fewer than two readers, no image, an image or reader twice, a rating that is none of
            the categories, or an image without a patient.

    Source:
        Fleiss, Psychological Bulletin 76, 1971.

    Example:
        >>> table = pd.DataFrame({"A": [1, 1, 0, 0, 1, 0], "B": [1, 1, 0, 0, 0, 0]})
        >>> print(fleiss_kappa(table))
        0.657 (95 % CI -0.508 to 0.962; approximate: worth 6 images)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    table = check_ratings(ratings, categories=categories, graded=True)
    complete = table.dropna()
    n, readers = complete.shape
    if not n:
        return Estimate.not_estimable("no image was rated by all readers", confidence=confidence)
    values, codes = np.unique(complete.to_numpy(), return_inverse=True)
    if len(values) == 1:
        reason = f"all ratings are {category_name(values[0], categories)}; kappa is undefined"
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    given = np.stack([np.bincount(row, minlength=len(values)) for row in codes.reshape(n, readers)]).astype(np.float64)
    split = 1 - (given * (given - 1)).sum(axis=1) / (readers * (readers - 1))

    def sums(times: NDArray[np.float64], added: NDArray[np.float64] | float) -> Sums:
        return Sums(times @ split, times.sum(axis=1), times @ given + added)

    def expected(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(1 - ((frequencies / frequencies.sum(axis=1, keepdims=True)) ** 2).sum(axis=1))

    left_out = f"; {len(table) - n} images without all ratings left out" if n < len(table) else ""
    basis = f"{readers} readers, {n} images{left_out}"
    owner = patients_of(complete.index, patients)
    kappa = Coefficient("Fleiss' kappa", sums, expected, blocks=1, ratings=readers, units=1, largest=1)
    return coefficient_estimate(kappa, owner, confidence, basis=basis)


@checked
def cohen_kappa(
    ratings: pd.DataFrame,
    *,
    weights: str = "none",
    categories: Categories | None = CALLS,
    patients: Patients | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Returns Cohen's kappa of two readers, weighted for grades, with an interval that rests on patients.

    Other than Fleiss' kappa it takes each reader's own frequencies for what chance would do. With weights, grades far
    from each other disagree more than neighbours. Images that one reader left out are left out.

    Args:
        ratings: Table with a row for each image, known by its index or the column image_id, and a column for each of
            the two readers: one of the categories, or NaN where not rated.
        weights: "none": categories have no order. "linear": grades disagree by their distance. "quadratic": by its
            square, as an intraclass correlation does.
        categories: The values that a rating may take; by default the calls 0 and 1. The distance of numbers is their
            difference, so those of 1, 2, 3, 4, 5 are 1 to 4; that of texts is how far apart they stand here. None takes
            any number, for example on a scale of 101 points.
        patients: The patient of each image, by image id; None where every image is a patient of its own.
        confidence: Coverage, in (0, 1).

    Returns:
        Kappa, at most 1; 0 is chance. Not estimable when all ratings are alike, no image has both ratings, or all
        images come from one patient. Where patients do not differ, as in perfect
        agreement, the limits are Clopper and Pearson's for the agreement of what the patients are worth; a
        disagreement is then taken for the largest that the ratings found allow.

    Raises:
        TypeError: If the ratings are not a DataFrame.
        ValueError: If there are not two readers, weights are unknown, an image or reader is there twice, a rating is
            none of the categories, or an image has no patient.

    Source:
        Cohen, Educational and Psychological Measurement 20, 1960; Cohen, Psychological Bulletin 70, 1968 (weights);
        Fleiss & Cohen, Educational and Psychological Measurement 33, 1973 (quadratic weights and the intraclass
        correlation).

    Example:
        >>> grades = pd.DataFrame({"A": [1, 2, 3, 4, 5, 3, 2, 4], "B": [1, 2, 4, 4, 5, 3, 3, 4]})
        >>> print(cohen_kappa(grades, weights="quadratic", categories=(1, 2, 3, 4, 5)))
        0.917 (95 % CI 0.238-0.983; approximate: worth 8 images)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    checks.one_of(weights, WEIGHTS, "weights")
    table = check_ratings(ratings, categories=categories, graded=True)
    if table.shape[1] != 2:
        raise ValueError(
            f"Cohen's kappa is that of two readers and {table.shape[1]} are given ({', '.join(table.columns)}); choose "
            "two columns, or take fleiss_kappa or krippendorff_alpha of all."
        )
    complete = table.dropna()
    n = len(complete)
    if not n:
        return Estimate.not_estimable("no image was rated by both readers", confidence=confidence)
    values, codes = np.unique(complete.to_numpy(), return_inverse=True)
    if len(values) == 1:
        reason = f"all ratings are {category_name(values[0], categories)}; kappa is undefined"
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    apart = np.abs(values[:, None] - values) / (values[-1] - values[0])
    cost = {"none": (apart > 0).astype(np.float64), "linear": apart, "quadratic": apart**2}[weights]
    first, second = codes.reshape(n, 2).T
    split, chosen = cost[first, second], np.hstack([np.eye(len(values))[reader] for reader in (first, second)])

    def sums(times: NDArray[np.float64], added: NDArray[np.float64] | float) -> Sums:
        return Sums(times @ split, times.sum(axis=1), times @ chosen + added)

    def expected(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
        own = frequencies.reshape(len(frequencies), 2, -1)
        shares = own / own.sum(axis=2, keepdims=True)
        return np.asarray(((shares[:, 0] @ cost) * shares[:, 1]).sum(axis=1))

    left_out = f"; {len(table) - n} images without both ratings left out" if n < len(table) else ""
    name = "Cohen's kappa" if weights == "none" else f"Cohen's kappa with {weights} weights"
    kappa = Coefficient(name, sums, expected, blocks=2, ratings=2, units=1, largest=1)
    owner = patients_of(complete.index, patients)
    return coefficient_estimate(kappa, owner, confidence, basis=f"{n} images{left_out}")
