"""The mean area under the ROC curve over findings, with an interval that knows the findings share their patients."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.evaluation.inputs import one_class
from chexkeras.evaluation.scores import check_scores
from chexkeras.evaluation.uncertainty.delong import AucContributions, auc_contributions, contributions_covariance
from chexkeras.evaluation.uncertainty.intervals import FEW, auc_limits
from chexkeras.evaluation.uncertainty.limits import hanley_mcneil_variance, logit_limits, newcombe_auc
from chexkeras.results import Estimate


def macro_auc_interval(scores_table: pd.DataFrame, *, confidence: float = 0.95) -> Estimate:
    """Returns the mean AUROC over findings, each counted once, with its confidence interval.

    The findings are scored on the same films, so their areas vary together. What every patient contributes to the
    error of each area gives the covariance matrix of all areas, and from it the variance of their mean; films of one
    patient may agree. A finding with fewer than 30 patients in a class gets at least the variance that Hanley and
    McNeil's formula gives its area, as in `auc_interval`.

    Args:
        scores_table: Long table of scores (image_id, patient_id, finding, label, score).
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate; `n` counts images, `method` names the findings that are left out for having one class only, or
        one of their classes from a single patient. With one finding it is `auc_interval`'s. Not estimable when no
        finding has both classes. When every ranking is perfect, Newcombe's interval of the finding with the fewest
        positives, since the mean cannot vary more than the least certain area.

    Raises:
        TypeError: If it is not a pandas DataFrame.
        ValueError: If it is not a clean table of scores, see `check_scores`.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988; Obuchowski, Biometrics 53, 1997 (contributions of
        clusters, here also across labels).
    """
    checks.probability(confidence, "confidence", open_interval=True)
    table = check_scores(scores_table)
    known = table[table["label"].notna()]
    parts, left_out = _contributions(table, known)
    if not parts:
        reason = f"no finding has both classes: {'; '.join(f'{name}: {why}' for name, why in left_out.items())}"
        return Estimate.not_estimable(reason, n=known["image_id"].nunique(), confidence=confidence)
    used = known[known["finding"].isin(list(parts))]
    n, n_patients = used["image_id"].nunique(), used["patient_id"].nunique()
    unit = "images" if n == n_patients else "patients"
    value, low, high, method = _mean(list(parts.values()), confidence, unit)
    method += f", {n} images of {n_patients} patients"
    if left_out:
        method += f"; left out: {', '.join(f'{name} ({why})' for name, why in left_out.items())}"
    return Estimate(value, low, high, confidence, n, method)


def _contributions(table: pd.DataFrame, known: pd.DataFrame) -> tuple[dict[str, AucContributions], dict[str, str]]:
    """Returns the areas that can be averaged, and why other findings are left out."""
    patients = pd.Index(table["patient_id"].unique())
    parts: dict[str, AucContributions] = {}
    single: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in table["finding"].unique():
        rows = known[known["finding"] == name]
        positive = rows["label"].to_numpy() == 1
        if positive.all() or not positive.any():
            left_out[name] = one_class(int(positive.sum()), int((~positive).sum()))
            continue
        owner = patients.get_indexer(rows["patient_id"]).astype(np.int64)
        part = auc_contributions(positive, rows["score"].to_numpy(), owner, len(patients))
        parts[name] = part
        for kind, count in (("positives", part.n_positive_patients), ("negatives", part.n_negative_patients)):
            if count == 1:
                single[name] = f"{kind} of one patient only"
    if len(single) < len(parts):
        parts = {name: part for name, part in parts.items() if name not in single}
        left_out |= single
    return parts, left_out


def _mean(parts: list[AucContributions], confidence: float, unit: str) -> tuple[float, float, float, str]:
    """Returns the mean area, its limits and how they were computed."""
    covariance = contributions_covariance(parts)
    if len(parts) == 1:
        low, high, method = auc_limits(parts[0], float(covariance[0, 0]), confidence, unit)
        return parts[0].area, low, high, f"one finding: {method}"
    value, variance = math.fsum(part.area for part in parts) / len(parts), _variance_of_mean(parts, covariance)
    if variance > 0:
        name = "DeLong" if unit == "images" else "DeLong clustered by patient (Obuchowski 1997)"
        method = f"mean of {len(parts)} findings, {name} with covariances between findings, logit interval"
        return value, *logit_limits(value, math.sqrt(variance), confidence), method
    least = min(parts, key=lambda part: min(part.effective_positives, part.effective_negatives))
    method = (
        f"mean of {len(parts)} findings, Newcombe 2006 method 5 on {least.n_positive_patients} positive and "
        f"{least.n_negative_patients} negative {unit} of the rarest, because the DeLong variance is zero or undefined"
    )
    limits = newcombe_auc(value, least.effective_positives, least.effective_negatives, confidence)
    return value, *limits, method


def _variance_of_mean(parts: list[AucContributions], covariance: NDArray[np.float64]) -> float:
    floored = covariance.copy()
    for row, part in enumerate(parts):
        if min(part.n_positive_patients, part.n_negative_patients) < FEW:
            floor = hanley_mcneil_variance(part.area, part.effective_positives, part.effective_negatives)
            floored[row, row] = max(floored[row, row], floor)
    return float(floored.mean())
