"""How well marks locate lesions: the area under the alternative free-response curve (AFROC), weighted or not.

An area under the ROC curve asks whether an image was called suspicious, and forgives a reader who pointed at the wrong
place. Here a reader marks places and rates each mark. A lesion has the rating of the highest mark that hits it; a
normal image has the rating of its highest mark, which is false. The area is the probability that a lesion is rated
higher than a normal image. What was not marked ranks below every mark; a lesion and a normal image that are both
unmarked count a half. So a reader who marks nothing has an area of .5, and one who marks false places only has 0.
"""

import itertools

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.readers.localization_study import FALSE_POSITIVES_ON, LocalizationStudy, Marks, many
from chexkeras.evaluation.uncertainty.delong import AucContributions, class_contributions, contributions_covariance
from chexkeras.evaluation.uncertainty.worth import approximate
from chexkeras.results import Estimate


@checked
def afroc(
    study: LocalizationStudy,
    *,
    weighted: bool = True,
    false_positives_on: str = "normal",
    reader: str | None = None,
    modality: str | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Returns the area under a reader's AFROC curve with its confidence interval.

    The mean over all pairs of a lesion and an image of 1 where the lesion is rated higher than the image's highest
    false mark, 1/2 where they are rated alike or neither is marked, 0 otherwise; the same as the trapezoids under the
    curve with a straight line from its last point to (1, 1). What each lesion and each image contributes to the area is
    added up within patients, as for an area under the ROC curve, which this is where every abnormal image has one
    lesion and every mark hits it.

    Args:
        study: The marks.
        weighted: Whether every abnormal image counts once, its lesions by their weights (weighted AFROC,
            recommended); otherwise every lesion counts once, so that images with many lesions count more.
        false_positives_on: "normal": false marks on normal images count (AFROC). "all": on abnormal images too
            (AFROC1), where there are no or few normal images.
        reader: The reader's name; None where there is one only.
        modality: The modality's name; None where there is one only.
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate; not estimable without a lesion, or without an image whose false marks count.

    Raises:
        ValueError: If an argument is unknown or out of range, or several readers or modalities are there and none is
            named.

    Source:
        Chakraborty & Winter, Radiology 174, 1990 (AFROC); Chakraborty & Zhai, Medical Physics 43, 2016 (weighted
        AFROC); DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988, and Obuchowski, Biometrics 53, 1997 (variance).

    Example:
        >>> images = pd.DataFrame({"image_id": [f"{k:02}" for k in range(40)]})
        >>> lesions = pd.DataFrame({"image_id": images["image_id"][:20], "lesion": "1"})
        >>> marks = images[10:30].assign(rating=range(20, 0, -1), lesion=["1"] * 10 + [None] * 10)
        >>> print(afroc(LocalizationStudy.of(marks, lesions, images)))
        0.625 (95 % CI 0.432-0.781)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    checks.one_of(false_positives_on, FALSE_POSITIVES_ON, "false_positives_on")
    marks = study.marks(reader, modality)
    n = len(study.patient)
    reason = _nothing(study, false_positives_on)
    if reason:
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    part = _contributions(study, marks, weighted, false_positives_on)
    n_patients = study.n_patients
    unit = "images" if n_patients == n else "patients"
    low, high, method = part.limits(confidence, unit=unit, because="because nothing varies")
    name = afroc_name(weighted, false_positives_on)
    abnormal = n - int(study.normal.sum())
    basis = f"{many(len(study.weights), 'lesion')} in {abnormal} of {n} images of {n_patients} patients"
    text = f"area under the {name} curve, positives being lesions; {method}; {basis}{approximate(part.worth, unit)}"
    return Estimate(part.area, low, high, confidence, n, text)


def afroc_name(weighted: bool, false_positives_on: str) -> str:
    """Returns what an AFROC area is called.

    Args:
        weighted: Whether every abnormal image counts once.
        false_positives_on: "normal" or "all".

    Example:
        >>> afroc_name(True, "normal"), afroc_name(False, "all")
        ('weighted AFROC', 'AFROC1')
    """
    return ("weighted AFROC" if weighted else "AFROC") + ("" if false_positives_on == "normal" else "1")


@checked
def afroc_figures(
    study: LocalizationStudy, *, weighted: bool = True, false_positives_on: str = "normal"
) -> tuple[pd.Series, pd.DataFrame]:
    """Returns each reader's AFROC area in each modality and the covariance matrix of these areas.

    Another sample of patients changes all of them together; `mrmc_localization` rests on that.

    Args:
        study: The marks of all readers in all modalities, on the same images.
        weighted: Whether every abnormal image counts once (weighted AFROC); otherwise every lesion.
        false_positives_on: "normal": false marks on normal images count. "all": on abnormal images too.

    Returns:
        Areas by (modality, reader), and their covariances with the same names on both sides.

    Raises:
        ValueError: If an argument is unknown, or the areas or their covariances cannot be estimated, with the reason.

    Source:
        Obuchowski, Biometrics 53, 1997 (contributions of patients).
    """
    checks.one_of(false_positives_on, FALSE_POSITIVES_ON, "false_positives_on")
    reason = _nothing(study, false_positives_on)
    if not reason:
        pairs = list(itertools.product(study.modalities, study.readers))
        parts = [_contributions(study, study.marks(r, m), weighted, false_positives_on) for m, r in pairs]
        one_patient = [what for what, n in zip(("lesions", "false marks"), parts[0].patients, strict=True) if n < 2]
        reason = f"images for {one_patient[0]} come from one patient only" if one_patient else ""
    if reason:
        raise ValueError(f"the figures of the readers cannot be estimated: {reason}.")
    names = pd.MultiIndex.from_tuples(pairs, names=["modality", "reader"])
    areas = pd.Series([part.area for part in parts], names)
    return areas, pd.DataFrame(contributions_covariance(parts), names, names)


@checked
def afroc_curve(
    study: LocalizationStudy,
    *,
    weighted: bool = True,
    false_positives_on: str = "normal",
    reader: str | None = None,
    modality: str | None = None,
) -> pd.DataFrame:
    """Returns the points of a reader's AFROC curve, for figures.

    Args:
        study: The marks.
        weighted: Whether every abnormal image counts once (weighted AFROC); otherwise every lesion.
        false_positives_on: "normal": false marks on normal images count. "all": on abnormal images too.
        reader: The reader's name; None where there is one only.
        modality: The modality's name; None where there is one only.

    Returns:
        A table with threshold (marks rated at least so count), false_positive_fraction (images with a false mark) and
        lesion_fraction (lesions hit), from (0, 0) at an infinite threshold to (1, 1), which is reached by a straight
        line from the last mark.

    Raises:
        ValueError: If an argument is unknown, there is no lesion or no image whose false marks count, or several
            readers or modalities are there and none is named.

    Source:
        Chakraborty & Winter, Radiology 174, 1990.
    """
    checks.one_of(false_positives_on, FALSE_POSITIVES_ON, "false_positives_on")
    marks, reason = study.marks(reader, modality), _nothing(study, false_positives_on)
    if reason:
        raise ValueError(f"there is no AFROC curve: {reason}.")
    share = _shares(study, weighted)
    images = marks.images if false_positives_on == "all" else marks.images[study.normal]
    rated = np.concatenate([marks.lesions, images])
    thresholds = np.array([np.inf, *np.unique(rated[rated > -np.inf])[::-1], -np.inf])
    order = np.argsort(marks.lesions, kind="stable")
    # What lies below each threshold, added up in rising order.
    below = np.concatenate([[0.0], np.cumsum(share[order])])[np.searchsorted(marks.lesions[order], thresholds)]
    false = 1 - np.searchsorted(np.sort(images), thresholds) / len(images)
    found = np.where(thresholds == np.inf, 0.0, 1 - below)
    return pd.DataFrame({"threshold": thresholds, "false_positive_fraction": false, "lesion_fraction": found})


def _nothing(study: LocalizationStudy, false_positives_on: str) -> str:
    """Returns why there is no area, empty where there is one."""
    if not len(study.weights):
        return "no lesion"
    if false_positives_on == "normal" and not study.normal.any():
        return 'no normal image; false_positives_on="all" counts false marks on abnormal ones'
    return ""


def _shares(study: LocalizationStudy, weighted: bool) -> NDArray[np.float64]:
    """Returns what each lesion counts; together 1."""
    if weighted:
        return study.weights / (len(study.patient) - int(study.normal.sum()))
    return np.full(len(study.weights), 1 / len(study.weights))


def _apart(values: NDArray[np.float64], area: float) -> NDArray[np.float64]:
    """Returns what each of the values contributes to the error of their mean, rounding taken for nothing."""
    return np.where(np.abs(values - area) < 1e-12, 0.0, values - area) / len(values)


def _contributions(study: LocalizationStudy, marks: Marks, weighted: bool, false_positives_on: str) -> AucContributions:
    """Returns the area with the contributions of patients: of what counts once, lesions or images, and of images."""
    chosen = np.ones(len(study.patient), dtype=bool) if false_positives_on == "all" else study.normal
    false, share = marks.images[chosen], _shares(study, weighted)
    above = _share_below(marks.lesions, false, np.ones(len(false))) / len(false)
    beaten = 1 - _share_below(false, marks.lesions, share)
    area = float(above @ share)
    if abs(area - round(area)) < 1e-12:
        area = float(round(area))
    owner, others = study.patient[study.lesion_image], study.patient[chosen]
    if weighted:
        abnormal = ~study.normal
        above = np.bincount(study.lesion_image, above * study.weights, len(abnormal)).astype(np.float64)[abnormal]
        owner = study.patient[abnormal]
    positives, negatives = (_apart(above, area), owner), (_apart(beaten, area), others)
    return class_contributions(area, positives, negatives, study.n_patients)


def _share_below(
    values: NDArray[np.float64], others: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns for each value what the others below it count together, those equal to it by half."""
    order = np.argsort(others, kind="stable")
    ranked, counted = others[order], np.concatenate([[0.0], np.cumsum(share[order])])
    return np.asarray(counted[np.searchsorted(ranked, values)] + counted[np.searchsorted(ranked, values, "right")]) / 2
