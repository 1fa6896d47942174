"""The consensus of readers, and each of them against the others: calls, or grades of several categories."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.agreement.ratings import (
    CALLS,
    Categories,
    Patients,
    category_name,
    check_ratings,
    codes_of,
    patients_of,
)
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.results import Estimate
from chexkeras.results.estimate import NOT_MEASURED
from chexkeras.results.record import Record


@dataclass(frozen=True)
class CategoryPerformance(Record):
    """One reader on the images to which the others gave one category.

    Attributes:
        category: The category.
        agreement: Share of these images to which the reader gave it too.
    """

    category: str
    agreement: Estimate


@dataclass(frozen=True)
class ReaderPerformance(Record):
    """One reader against the majority of the others.

    Attributes:
        reader: The reader's name.
        n_images: Images that the reader rated and on which the others have a majority.
        n_tied: Images left out because the others are split evenly.
        sensitivity: Of calls, the share of the others' positives that the reader called positive.
        specificity: Of calls, the share of the others' negatives that the reader called negative.
        agreement: Share of all images to which the reader gave the others' category.
        by_category: The same for each category of the others, in order; of calls negative, then positive.
    """

    reader: str
    n_images: int
    n_tied: int
    sensitivity: Estimate
    specificity: Estimate
    agreement: Estimate = NOT_MEASURED
    by_category: tuple[CategoryPerformance, ...] = ()


@checked
def majority(ratings: pd.DataFrame, *, categories: Categories = CALLS) -> pd.Series:
    """Returns the consensus of readers: the category that more of them gave than any other, image by image.

    Args:
        ratings: Table with a row for each image, known by its index or the column image_id, and a column for each
            reader: one of the categories, or NaN where not rated.
        categories: The values that a rating may take, numbers or texts; by default the calls 0 and 1.

    Returns:
        The category, or NaN where several have the most readers or none rated the image; by image id.

    Raises:
        TypeError: If the ratings are not a DataFrame.
        ValueError: If there is no reader, no image, an image or reader twice, or a rating that is none of the
            categories.

    Example:
        >>> readers = pd.DataFrame({"A": [1, 1, 0], "B": [1, 0, 0], "C": [0, None, 0]}, index=["x", "y", "z"])
        >>> majority(readers).to_list()
        [1.0, nan, 0.0]
        >>> majority(readers + 3, categories=(1, 2, 3, 4, 5)).to_list()
        [4.0, nan, 3.0]
    """
    table = check_ratings(ratings, minimum=1, categories=categories, graded=True)
    chosen = _most_frequent(table.to_numpy(), codes_of(categories))[0]
    if isinstance(categories[0], str):
        names = [categories[int(code)] if code >= 0 else np.nan for code in np.where(np.isnan(chosen), -1, chosen)]
        return pd.Series(names, index=table.index, name="majority", dtype=object)
    return pd.Series(chosen, index=table.index, name="majority")


def _most_frequent(
    ratings: NDArray[np.float64], codes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Returns the most frequent category of each image, NaN where there is none, and where several share that place."""
    readers = np.stack([(ratings == code).sum(axis=1) for code in codes], axis=1)
    most = readers.max(axis=1)
    tied = (most > 0) & ((readers == most[:, None]).sum(axis=1) > 1)
    return np.where(tied | (most == 0), np.nan, codes[readers.argmax(axis=1)]), tied


@checked
def readers_against_others(
    ratings: pd.DataFrame,
    *,
    categories: Categories = CALLS,
    patients: Patients | None = None,
    confidence: float = 0.95,
) -> tuple[ReaderPerformance, ...]:
    """Returns how each reader does against the majority of the other readers.

    Where the others are split evenly there is no consensus; these images, often the difficult ones, are left out and
    counted, and flatter the reader. With calls and an odd number of others there are none.

    Args:
        ratings: Table with a row for each image, known by its index or the column image_id, and a column for each of at
            least three readers: one of the categories, or NaN where not rated.
        categories: The values that a rating may take, numbers or texts; by default the calls 0 and 1.
        patients: The patient of each image, by image id; None where every image is a patient of its own.
        confidence: Coverage, in (0, 1).

    Returns:
        One entry for each reader, in order of columns; not estimable where the others gave no image a category. Of
        more or other categories than the calls 0 and 1 there is no sensitivity and specificity.

    Raises:
        TypeError: If the ratings are not a DataFrame.
        ValueError: If there are fewer than three readers, no image, an image or reader twice, a rating that is none of
            the categories, or an image without a patient.

    Example:
        >>> grades = pd.DataFrame({"A": [1, 2, 3, 3], "B": [1, 2, 3, 2], "C": [1, 2, 3, 2]})
        >>> first = readers_against_others(grades, categories=(1, 2, 3))[0]
        >>> first.agreement.value, [(entry.category, entry.agreement.value) for entry in first.by_category]
        (0.75, [('1', 1.0), ('2', 0.5), ('3', 1.0)])
    """
    checks.probability(confidence, "confidence", open_interval=True)
    table = check_ratings(ratings, minimum=3, categories=categories, graded=True)
    owner = patients_of(table.index, patients)
    codes, calls = codes_of(categories), tuple(categories) == CALLS
    made = []
    for reader in table.columns:
        consensus, tied = _most_frequent(table.drop(columns=reader).to_numpy(), codes)
        given = table[reader].to_numpy()
        rated = ~np.isnan(given)
        kept = rated & ~np.isnan(consensus)

        def share(
            rows: NDArray[np.bool_],
            empty: str,
            right: NDArray[np.bool_] = given == consensus,
        ) -> Estimate:
            return clustered_proportion_interval(right[rows], owner[rows], confidence=confidence, empty=empty)

        by_category = []
        for code in codes:
            name = category_name(code, categories)
            nothing = f"the other readers agree on no {name}" if calls else f"the other readers give no image {name}"
            by_category.append(CategoryPerformance(name, share(kept & (consensus == code), nothing)))
        several = Estimate.not_estimable("ratings of several categories, see by_category", confidence=confidence)
        made.append(
            ReaderPerformance(
                reader=str(reader),
                n_images=int(kept.sum()),
                n_tied=int((rated & tied).sum()),
                sensitivity=by_category[1].agreement if calls else several,
                specificity=by_category[0].agreement if calls else several,
                agreement=share(kept, "the other readers have no majority"),
                by_category=tuple(by_category),
            )
        )
    return tuple(made)
