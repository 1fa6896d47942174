"""What each reader achieves in each modality, and how these figures vary together when other patients are drawn.

Readers look at the same patients, so their figures are correlated: an unusually difficult sample makes all of them look
worse. The covariance matrix of all figures of a study is what an analysis of a reader study rests on.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.metrics import placements
from chexkeras.evaluation.readers.reader_study import ModalityReadings, ReaderStudy
from chexkeras.evaluation.uncertainty.delong import auc_contributions, contributions_covariance

Figure = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""``figure(labels, ratings)``: labels 1.0 or 0.0 and ratings of one reader, returns a number."""

FIGURES = ("auroc", "sensitivity", "specificity")
"""The figures with a name."""

COVARIANCES = ("delong", "unbiased", "jackknife")
"""How covariances are estimated."""

_PAIRS_AT_ONCE = 2_000_000


class Figures(NamedTuple):
    """The figures of all readers in all modalities, with their covariances.

    Attributes:
        values: Shape (modalities, readers).
        covariance: Shape (modalities x readers, modalities x readers), reader after reader within each modality; NaN
            where `reason` says why there is none.
        reason: Why nothing can be estimated; empty where it can.
    """

    values: NDArray[np.float64]
    covariance: NDArray[np.float64]
    reason: str = ""


@checked
def figures_of_merit(
    study: ReaderStudy,
    figure: str | Figure = "auroc",
    *,
    threshold: float | None = None,
    covariance: str = "delong",
) -> tuple[pd.Series, pd.DataFrame]:
    """Returns each reader's figure in each modality and the covariance matrix of these figures.

    Args:
        study: The ratings of one finding.
        figure: "auroc" (the empirical area under the ROC curve), "sensitivity", "specificity", or a function
            ``figure(labels, ratings)`` of arrays (labels 1.0 or 0.0) that returns a number.
        threshold: For sensitivity and specificity: a rating of at least this much calls an image positive.
        covariance: "delong" adds up, patient by patient, what each image contributes to a figure (DeLong; with several
            images of a patient Obuchowski's); "unbiased" is the U-statistic without bias, for one image a patient;
            "jackknife" leaves out one patient after the other, and is the only one for a function.

    Returns:
        Figures by (modality, reader), and their covariances with the same names on both sides. Patients that two
        modalities do not share add nothing to their covariance.

    Raises:
        ValueError: If the study has several findings, an argument is unknown or does not fit the others, or the figures
            cannot be estimated, with the reason.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988; Obuchowski, Biometrics 53, 1997; Gallas, Academic
        Radiology 13, 2006 (without bias); Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982.

    Example:
        >>> table = pd.DataFrame({"reader": ["A"] * 4 + ["B"] * 4, "modality": "film", "image_id": list("wxyz") * 2,
        ...                       "truth": [1, 1, 0, 0] * 2, "rating": [5, 3, 3, 1, 4, 5, 2, 1]})
        >>> figures_of_merit(ReaderStudy.of(table))[0].round(3).to_dict()
        {('film', 'A'): 0.875, ('film', 'B'): 1.0}
    """
    check_figure(figure, threshold, covariance)
    found = figures_with_covariance(study.readings(), figure, threshold, covariance)
    if found.reason:
        raise ValueError(f"the figures of the readers cannot be estimated: {found.reason}.")
    names = pd.MultiIndex.from_product([study.modalities, study.readers], names=["modality", "reader"])
    return pd.Series(found.values.ravel(), names), pd.DataFrame(found.covariance, names, names)


def check_figure(figure: str | Figure, threshold: float | None, covariance: str) -> str:
    """Returns what the figure is called in print, or says what does not fit.

    Args:
        figure: One of `FIGURES`, or a function.
        threshold: Needed for sensitivity and specificity.
        covariance: One of `COVARIANCES`.

    Raises:
        ValueError: If one is unknown or does not fit the others.
    """
    checks.one_of(covariance, COVARIANCES, "covariance")
    if callable(figure):
        if covariance != "jackknife":
            raise ValueError(
                f'covariance="{covariance}" knows {", ".join(FIGURES)}; for a function give covariance="jackknife".'
            )
        return getattr(figure, "__name__", "figure").strip("_<>").replace("_", " ")
    checks.one_of(figure, FIGURES, "figure")
    if figure == "auroc":
        if threshold is not None:
            raise ValueError("an area under the ROC curve has no threshold; leave threshold out.")
        return "AUROC"
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float, np.number)) or not np.isfinite(threshold):
        raise ValueError(
            f"{figure} needs threshold=, the lowest rating that calls an image positive; got {threshold!r}."
        )
    return f"{figure} at a rating of at least {threshold:g}"


def figures_with_covariance(
    readings: tuple[ModalityReadings, ...], figure: str | Figure, threshold: float | None, covariance: str
) -> Figures:
    """Returns the figures and their covariances, of arguments that were checked.

    Args:
        readings: One entry for each modality, with the same readers.
        figure: One of `FIGURES`, or a function.
        threshold: For sensitivity and specificity.
        covariance: One of `COVARIANCES`.

    Raises:
        ValueError: If the unbiased covariance is asked for although a patient has several images, or a function returns
            no number.
    """
    shape = len(readings), len(readings[0].ratings)
    nothing = np.full((shape[0] * shape[1],) * 2, np.nan)
    reason = _too_few(readings, figure)
    if reason:
        return Figures(np.full(shape, np.nan), nothing, reason)
    parts = [_counted(part, figure) for part in readings]
    if figure == "auroc" and covariance == "delong":
        return _delong(parts)
    values = np.array([[_value(part, row, figure, threshold) for row in part.ratings] for part in parts])
    if covariance == "jackknife":
        return Figures(values, _jackknife(parts, figure, threshold))
    if covariance == "delong":
        return Figures(values, _clustered_shares(parts, threshold, values))
    _refuse_several_images(readings)
    return Figures(values, _unbiased_areas(parts) if figure == "auroc" else _unbiased_shares(parts, threshold, values))


def _counted(part: ModalityReadings, figure: str | Figure) -> ModalityReadings:
    """Returns the images that count for a figure: positives for a sensitivity, negatives for a specificity."""
    if figure not in FIGURES[1:]:
        return part
    kept = part.positive if figure == "sensitivity" else ~part.positive
    return ModalityReadings(part.modality, part.positive[kept], part.patient[kept], part.ratings[:, kept])


def _too_few(readings: tuple[ModalityReadings, ...], figure: str | Figure) -> str:
    """Returns why there is no figure or no covariance, empty if there are both."""
    needed = {"sensitivity": (True,), "specificity": (False,)}.get(
        figure if isinstance(figure, str) else "", (True, False)
    )
    for part in readings:
        for label in needed:
            patients = len(np.unique(part.patient[part.positive == label]))
            what = "positive" if label else "negative"
            if not patients:
                return f"no {what} image in {part.modality}" if part.modality else f"no {what} image"
            if patients == 1:
                return f"only one patient with a {what} image in {part.modality}"
    return ""


def _refuse_several_images(readings: tuple[ModalityReadings, ...]) -> None:
    truth: dict[int, bool] = {}
    for part in readings:
        same = all(truth.setdefault(patient, label) == label
                   for patient, label in zip(part.patient.tolist(), part.positive.tolist(), strict=True))  # fmt: skip
        if not same or len(np.unique(part.patient)) < len(part.patient):
            raise ValueError(
                'covariance="unbiased" needs one image for each patient in each modality, with one truth; '
                f'{part.modality} has patients with several: give covariance="delong" or "jackknife", which let images '
                "of one patient agree."
            )


def _value(
    part: ModalityReadings, ratings: NDArray[np.float64], figure: str | Figure, threshold: float | None
) -> float:
    if figure == "auroc":
        positives = int(part.positive.sum())
        doubled = int(placements(part.positive, ratings)[part.positive].sum())
        return doubled / (2 * positives * (len(ratings) - positives))
    if callable(figure):
        return _number(figure(part.positive.astype(np.float64), ratings.copy()), part.modality)
    return float(_right(part, threshold, ratings).mean())


def _number(value: object, modality: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"figure returned {value!r} in {modality}; one number was expected.") from error
    if not np.isfinite(number):
        raise ValueError(
            f"figure returned {number} in {modality}, on all images or with one patient left out; it must be a number."
        )
    return number


def _right(part: ModalityReadings, threshold: float | None, ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns which images were called rightly, 1.0 or 0.0."""
    return ((ratings >= (threshold or 0.0)) == part.positive).astype(np.float64)


def _delong(parts: list[ModalityReadings]) -> Figures:
    n_patients = _n_patients(parts)
    made = [auc_contributions(part.positive, row, part.patient, n_patients) for part in parts for row in part.ratings]
    areas = np.array([each.area for each in made]).reshape(len(parts), -1)
    return Figures(areas, contributions_covariance(made))


def _clustered_shares(
    parts: list[ModalityReadings], threshold: float | None, values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns covariances of shares of images from the residuals of patients, as of a ratio of two sums."""
    n_patients, sums, sizes = _n_patients(parts), [], []
    for part, shares in zip(parts, values, strict=True):
        for row, share in zip(part.ratings, shares, strict=True):
            residuals = _right(part, threshold, row) - share
            sums.append(np.bincount(part.patient, residuals, n_patients) / len(residuals))
            sizes.append(len(np.unique(part.patient)))
    return _small_sample(np.stack(sums), np.array(sizes, dtype=np.float64), of_jackknife=False)


def _small_sample(rows: NDArray[np.float64], sizes: NDArray[np.float64], *, of_jackknife: bool) -> NDArray[np.float64]:
    factors = (sizes - 1) / sizes if of_jackknife else sizes / (sizes - 1)
    return np.sqrt(np.outer(factors, factors)) * (rows @ rows.T)


def _n_patients(parts: list[ModalityReadings]) -> int:
    return max(int(part.patient.max()) for part in parts) + 1


def _jackknife(parts: list[ModalityReadings], figure: str | Figure, threshold: float | None) -> NDArray[np.float64]:
    n_patients, rows, sizes = _n_patients(parts), [], []
    for part in parts:
        present = np.unique(part.patient)
        for ratings in part.ratings:
            left_out = _without_each(part, ratings, figure, threshold)
            row = np.zeros(n_patients)
            row[present] = left_out - left_out.mean()
            rows.append(row)
            sizes.append(len(present))
    return _small_sample(np.stack(rows), np.array(sizes, dtype=np.float64), of_jackknife=True)


def _without_each(
    part: ModalityReadings, ratings: NDArray[np.float64], figure: str | Figure, threshold: float | None
) -> NDArray[np.float64]:
    """Returns the figure without the first, the second, ... of the patients."""
    owner = np.unique(part.patient, return_inverse=True)[1]
    n_patients = int(owner.max()) + 1
    if callable(figure):
        labels = part.positive.astype(np.float64)
        return np.array([_number(figure(labels[owner != gone], ratings[owner != gone]), part.modality)
                         for gone in range(n_patients)])  # fmt: skip
    if figure != "auroc":
        right = _right(part, threshold, ratings)
        return (right.sum() - np.bincount(owner, right)) / (len(right) - np.bincount(owner))
    positive, doubled = part.positive, placements(part.positive, ratings)
    positives, negatives = (np.bincount(owner[members], minlength=n_patients) for members in (positive, ~positive))
    # Pairs that go with a patient: those of its positives and those of its negatives, minus those within it.
    gone = np.bincount(owner, doubled, n_patients)
    for patient in np.flatnonzero((positives > 0) & (negatives > 0)):
        own = owner == patient
        gone[patient] -= placements(positive[own], ratings[own])[positive[own]].sum()
    pairs = (positives.sum() - positives) * (negatives.sum() - negatives)
    return (doubled[positive].sum() - gone) / (2 * pairs)


def _unbiased_shares(
    parts: list[ModalityReadings], threshold: float | None, values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns share x share minus the mean of products of two different patients, which estimates the product."""
    n_patients, right, seen = _n_patients(parts), [], []
    for part in parts:
        for row in part.ratings:
            right.append(np.bincount(part.patient, _right(part, threshold, row), n_patients))
            seen.append(np.bincount(part.patient, minlength=n_patients).astype(np.float64))
    calls, present = np.stack(right), np.stack(seen)
    sums, sizes = calls.sum(axis=1), present.sum(axis=1)
    apart = np.outer(sizes, sizes) - present @ present.T
    return _without_rounding(
        np.outer(values.ravel(), values.ravel()) - (np.outer(sums, sums) - calls @ calls.T) / apart
    )


def _unbiased_areas(parts: list[ModalityReadings]) -> NDArray[np.float64]:
    """Returns area x area minus the mean of products of two pairs of patients without a common one.

    That mean estimates the product of both areas without bias, so the difference estimates their covariance without
    bias. Sums over pairs of pairs come from sums over pairs: all, minus those with a common positive patient, minus
    those with a common negative one, plus those with both.
    """
    n_patients = _n_patients(parts)
    positives, negatives = np.zeros((2, len(parts), n_patients), dtype=bool)
    for number, part in enumerate(parts):
        positives[number, part.patient[part.positive]] = True
        negatives[number, part.patient[~part.positive]] = True
    n_readers = len(parts[0].ratings)
    # Which of a modality's patients are positive, and which negative, holds for all its readers.
    of_figure = np.repeat(np.arange(len(parts)), n_readers)
    ratings = np.zeros((len(of_figure), n_patients))
    for number, part in enumerate(parts):
        ratings[number * n_readers : (number + 1) * n_readers, part.patient] = part.ratings
    rows, columns = np.flatnonzero(positives.any(axis=0)), np.flatnonzero(negatives.any(axis=0))
    below = ratings[:, columns]
    of_rows = np.zeros((len(of_figure), len(rows)))
    of_columns = np.zeros((len(of_figure), len(columns)))
    both = np.zeros((len(of_figure),) * 2)
    step = max(1, _PAIRS_AT_ONCE // (len(of_figure) * len(columns)))
    for start in range(0, len(rows), step):
        chosen = slice(start, start + step)
        above = ratings[:, rows[chosen], np.newaxis]
        won = (above > below[:, np.newaxis]) + 0.5 * (above == below[:, np.newaxis])
        won *= positives[of_figure][:, rows[chosen], np.newaxis]
        won *= negatives[of_figure][:, np.newaxis, columns]
        of_rows[:, chosen] = won.sum(axis=2)
        of_columns += won.sum(axis=1)
        flat = won.reshape(len(of_figure), -1)
        both += flat @ flat.T
    sums = of_rows.sum(axis=1)
    apart = np.outer(sums, sums) - of_rows @ of_rows.T - of_columns @ of_columns.T + both
    sizes = [members[of_figure].astype(np.float64) for members in (positives, negatives)]
    alike = [size @ size.T for size in sizes]
    counts = [np.outer(size.sum(axis=1), size.sum(axis=1)) for size in sizes]
    pairs_of_pairs = (counts[0] - alike[0]) * (counts[1] - alike[1])
    areas = sums / (sizes[0].sum(axis=1) * sizes[1].sum(axis=1))
    return _without_rounding(np.outer(areas, areas) - apart / pairs_of_pairs)


def _without_rounding(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns a difference of products near 1 with nothing where only their rounding is left."""
    covariance[np.abs(covariance) < 1e-14] = 0.0
    return covariance
