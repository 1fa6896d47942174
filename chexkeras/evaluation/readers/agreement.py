"""Radiologists as readers: how far they agree, their consensus, each of them against the others.

Ratings are a table with one row for each image (its index is the image_id, or it has that column) and one column for
each reader: 1 the finding is there, 0 it is not, NaN not rated.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.evaluation.uncertainty.limits import clopper_pearson
from chexkeras.evaluation.uncertainty.resampling import patient_counts, percentile_limits
from chexkeras.results import Estimate


@dataclass(frozen=True)
class ReaderPerformance:
    """One reader against the majority of the others.

    Attributes:
        reader: The reader's name.
        n_images: Images that the reader rated and on which the others have a majority.
        n_tied: Images left out because the others are split evenly.
        sensitivity: Share of the others' positives that the reader called positive.
        specificity: Share of the others' negatives that the reader called negative.
    """

    reader: str
    n_images: int
    n_tied: int
    sensitivity: Estimate
    specificity: Estimate


def check_ratings(ratings: pd.DataFrame, *, minimum: int = 2) -> pd.DataFrame:
    """Returns ratings as float64 with image ids as a sorted text index, or says what is wrong with them.

    Args:
        ratings: One row for each image, one column for each reader, 1, 0 or NaN.
        minimum: How many readers are needed.

    Raises:
        TypeError: If it is not a DataFrame.
        ValueError: If there are too few readers, no image, an image twice, or a rating that is not 1, 0 or NaN.
    """
    if not isinstance(ratings, pd.DataFrame):
        raise TypeError(f"ratings is a {type(ratings).__name__}; a DataFrame of images by readers was expected.")
    table = ratings.set_index("image_id") if "image_id" in ratings.columns else ratings
    if table.shape[1] < minimum:
        raise ValueError(f"{table.shape[1]} reader(s) rated the images; at least {minimum} are needed.")
    if not len(table):
        raise ValueError("the ratings hold no image; one row for each image is expected.")
    try:
        clean = table.astype("float64")
    except (TypeError, ValueError) as error:
        raise ValueError(f"the ratings are not numeric ({error}); give 1, 0 or NaN.") from error
    values = clean.to_numpy()
    strange = ~(np.isnan(values) | (values == 0) | (values == 1))
    if strange.any():
        raise ValueError(
            f"ratings must be 1, 0 or NaN (not rated); found {values[strange][0]:g} in {int(strange.sum())} place(s). "
            "Reduce grades or scores to calls first."
        )
    clean.index = pd.Index(checks.identifiers(table.index, "image_id of the ratings"), dtype=object)
    clean.columns = pd.Index(checks.identifiers(table.columns, "the readers' names"), dtype=object)
    nameless = int((clean.index.isna() | (clean.index == "")).sum())
    if nameless:
        raise ValueError(f"{nameless} row(s) of the ratings have no image id; every row needs one.")
    if clean.columns.has_duplicates:
        twice = clean.columns[clean.columns.duplicated()].tolist()
        raise ValueError(f"{len(twice)} reader(s) have two columns, first {twice[0]}; give one column for each reader.")
    if clean.index.has_duplicates:
        twice = clean.index[clean.index.duplicated()].tolist()
        raise ValueError(f"{len(twice)} image(s) are rated in two rows, first {twice[0]}; give one row for each image.")
    return clean.sort_index()


def patients_of(images: pd.Index, patients: pd.Series | Mapping[str, str] | None) -> NDArray[np.int64]:
    """Returns the patients of images as whole numbers 0, 1, ...; each image its own where no patients are given.

    Args:
        images: Image ids.
        patients: The patient of each image, by image id; identifiers may be text or numbers, 1, 1.0 and "1 " are one.

    Raises:
        ValueError: If an image has no patient, or two.
    """
    if patients is None:
        return np.arange(len(images))
    given = patients if isinstance(patients, pd.Series) else pd.Series(dict(patients), dtype=object)
    known = pd.Series(
        checks.identifiers(given, "patients"), index=checks.identifiers(given.index, "image_id of the patients")
    )
    known = known[known.notna() & (known != "")]
    owned = known.groupby(level=0).nunique()
    if (owned > 1).any():
        raise ValueError(
            f"{int((owned > 1).sum())} image(s) belong to two patients, first {owned.index[owned > 1].tolist()[0]}; "
            "give one patient for each image."
        )
    known = known[~known.index.duplicated()]
    lacking = [image for image in images if image not in known.index]
    if lacking:
        raise ValueError(f"{len(lacking)} of {len(images)} rated images have no patient, first {lacking[0]}.")
    return pd.factorize(known.loc[images].to_numpy(dtype=object), sort=True)[0].astype(np.int64)


def majority(ratings: pd.DataFrame) -> pd.Series:
    """Returns the consensus of readers by majority, image by image.

    Args:
        ratings: Table with a row for each image, known by its index or the column image_id, and a column for each
            reader: 1 the finding is there, 0 it is not, NaN not rated.

    Returns:
        1, 0, or NaN where the readers are split evenly or none rated the image; by image id.

    Raises:
        ValueError: See `check_ratings`.

    Example:
        >>> readers = pd.DataFrame({"A": [1, 1, 0], "B": [1, 0, 0], "C": [0, None, 0]}, index=["x", "y", "z"])
        >>> majority(readers).to_list()
        [1.0, nan, 0.0]
    """
    share = check_ratings(ratings, minimum=1).mean(axis=1)
    return (share > 0.5).astype("float64").mask(share.isna() | (share == 0.5)).rename("majority")


def fleiss_kappa(
    ratings: pd.DataFrame,
    *,
    patients: pd.Series | Mapping[str, str] | None = None,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Returns Fleiss' kappa, the agreement of readers beyond chance, with a percentile bootstrap interval.

    Images that a reader left out are left out. Kappa depends on how frequent the finding is: with a rare finding good
    readers may have a low kappa, so give the prevalence with it.

    Args:
        ratings: Table with a row for each image, known by its index or the column image_id, and a column for each of at
            least two readers: 1 the finding is there, 0 it is not, NaN not rated.
        patients: The patient of each image, by image id; patients are then drawn whole.
        confidence: Coverage, in (0, 1).
        replicates: Bootstrap replicates.
        seed: One seed, one result, whatever the order of rows.

    Returns:
        Kappa, at most 1; 0 is chance. Not estimable when all ratings are the same class, or no image has all ratings.
        At perfect agreement the interval is Clopper-Pearson's for the agreement, on patients.

    Raises:
        TypeError: See `check_ratings`.
        ValueError: See `check_ratings`.

    Source:
        Fleiss, Psychological Bulletin 76, 1971.
    """
    from statsmodels.stats.inter_rater import fleiss_kappa as kappa_of

    checks.probability(confidence, "confidence", open_interval=True)
    checks.positive_int(replicates, "replicates")
    table = check_ratings(ratings)
    complete = table.dropna()
    n, readers = complete.shape
    left_out = f"; {len(table) - n} images without all ratings left out" if n < len(table) else ""
    if not n:
        reason = "no image was rated by all readers"
        return Estimate.not_estimable(reason, confidence=confidence)
    found = complete.to_numpy().sum(axis=1)
    if found.sum() in (0, n * readers):
        which = "negative" if not found.sum() else "positive"
        return Estimate.not_estimable(f"all ratings are {which}; kappa is undefined", n=n, confidence=confidence)
    value = float(kappa_of(np.column_stack([readers - found, found])))
    agreeing = (found * (found - 1) + (readers - found) * (readers - found - 1)) / (readers * (readers - 1))
    owner = patients_of(complete.index, patients)
    n_patients = int(owner.max()) + 1
    unit = "images" if n_patients == n else "patients"
    sums: NDArray[np.float64] = np.zeros((n_patients, 3))
    np.add.at(sums, owner, np.column_stack([np.ones(n), found / readers, agreeing]))
    basis = f"{readers} readers, {n} images{left_out}"
    if n_patients < 2:
        return Estimate.not_estimable("all images come from one patient", n=n, confidence=confidence)
    if (agreeing == 1).all():
        share = found.mean() / readers
        chance = share**2 + (1 - share) ** 2
        low = clopper_pearson(n_patients, n_patients, confidence)[0]
        method = f"Fleiss' kappa, Clopper-Pearson for perfect agreement on {n_patients} {unit}; {basis}"
        return Estimate(value, (low - chance) / (1 - chance), 1.0, confidence, n, method)
    one_stratum = np.zeros(n_patients, dtype=bool)
    draws = patient_counts(one_stratum, replicates=replicates, seed=seed, width=n_patients)
    drawn = np.concatenate([_kappa(counts @ sums) for counts in draws])
    drawn = drawn[~np.isnan(drawn)]
    method = (
        f"Fleiss' kappa, percentile bootstrap of {n_patients} {unit}, {replicates} replicates, seed {seed}; {basis}"
    )
    return Estimate(value, *percentile_limits(drawn, value, confidence), confidence, n, method)


def _kappa(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns kappa of each row of (images, shares of positive ratings, agreements), added up over images."""
    share, agreement = sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0]
    chance = share**2 + (1 - share) ** 2
    return np.divide(agreement - chance, 1 - chance, out=np.full(len(sums), np.nan), where=chance < 1)


def readers_against_others(
    ratings: pd.DataFrame,
    *,
    patients: pd.Series | Mapping[str, str] | None = None,
    confidence: float = 0.95,
) -> tuple[ReaderPerformance, ...]:
    """Returns how each reader does against the majority of the other readers.

    Where the others are split evenly there is no consensus; these images, often the difficult ones, are left out and
    counted, and flatter the reader. With an odd number of others there are none.

    Args:
        ratings: Table with a row for each image, known by its index or the column image_id, and a column for each of at
            least three readers: 1 the finding is there, 0 it is not, NaN not rated.
        patients: The patient of each image, by image id.
        confidence: Coverage, in (0, 1).

    Returns:
        One entry for each reader, in order of columns; not estimable where the others found no positive or no negative.

    Raises:
        TypeError: See `check_ratings`.
        ValueError: See `check_ratings`.
    """
    checks.probability(confidence, "confidence", open_interval=True)
    table = check_ratings(ratings, minimum=3)
    owner = patients_of(table.index, patients)
    made = []
    for reader in table.columns:
        others = table.drop(columns=reader)
        consensus = majority(others).to_numpy()
        rated = table[reader].notna().to_numpy()
        called = table[reader].to_numpy() == 1
        kept = rated & ~np.isnan(consensus)

        def share(
            label: float,
            empty: str,
            called: NDArray[np.bool_] = called,
            among: NDArray[np.bool_] = kept,
            consensus: NDArray[np.float64] = consensus,
        ) -> Estimate:
            rows = among & (consensus == label)
            right = called[rows] == bool(label)
            return clustered_proportion_interval(right, owner[rows], confidence=confidence, empty=empty)

        made.append(
            ReaderPerformance(
                reader=str(reader),
                n_images=int(kept.sum()),
                n_tied=int((rated & (others.mean(axis=1) == 0.5).to_numpy()).sum()),
                sensitivity=share(1.0, "the other readers agree on no positive"),
                specificity=share(0.0, "the other readers agree on no negative"),
            )
        )
    return tuple(made)
