"""From out-of-fold scores to a `CrossValidated`: every number with its interval, and what is luck of fold and seed."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.cross_validation.contributions import (
    Influenced,
    areas_in_folds,
    auroc_parts,
    average_precision_parts,
    brier_parts,
    intercept_parts,
    share_parts,
    slope_parts,
)
from chexkeras.evaluation.cross_validation.fold_scores import FindingFolds, FoldScores
from chexkeras.evaluation.scores import one_class
from chexkeras.evaluation.uncertainty.delong import AucContributions
from chexkeras.evaluation.uncertainty.influence import share_limits
from chexkeras.evaluation.uncertainty.intervals import mean_of_areas
from chexkeras.evaluation.uncertainty.limits import clopper_pearson, logit_limits
from chexkeras.evaluation.uncertainty.worth import Error, approximate, kish
from chexkeras.results import CrossValidated, CrossValidatedFinding, Estimate, FoldResult, FoldSpread

_RATES = {"sensitivity": True, "specificity": False}


@checked
def evaluate_folds(table: pd.DataFrame, confidence: float = 0.95, *, cautions: Sequence[str] = ()) -> CrossValidated:
    """Judges out-of-fold scores: how good the models of the folds are, with intervals that rest on patients.

    The AUROC is the mean over folds of the area within each fold. Scores of different folds are never ranked against
    each other: they come from different models, one of which may score all images a little higher, so that an area
    over all of them would also measure how well the models agree on a scale. Its interval comes from what each image
    contributes to the error (the influence curve), summed within patients; repeats and seeds are averaged before
    squaring, since they ask the same patients again. It covers what the models of the folds, as they were fitted, would
    achieve on new patients; benchmarks/README.md says how often.

    Average precision is that over all folds, put on one scale by their negatives: the mean over folds would flatter.
    Sensitivity and specificity count every image at the threshold of its own fold. The calibration slope compares
    images within folds only, the intercept is one shift for all folds, and the Brier score the mean over images.

    Args:
        table: Out-of-fold scores with `fold_scores.FOLD_COLUMNS`: image_id, patient_id, finding, label, score, repeat,
            fold, seed, threshold.
        confidence: Coverage of intervals, in (0, 1).
        cautions: Sentences that a reader must see beside the numbers, such as that images are synthetic.

    Returns:
        The result. What cannot be measured, as with one class in a fold, is not estimable and says why.

    Raises:
        TypeError: If the table is no DataFrame.
        ValueError: If it is no table of out-of-fold scores, see `FoldScores.of`: patients in two folds and missing
            rows are refused.

    Source:
        LeDell, Petersen & van der Laan, Electronic Journal of Statistics 9, 2015 (influence curve of a cross-validated
        AUROC); Obuchowski, Biometrics 53, 1997 (patients with several images); Forman & Scholz, SIGKDD Explorations
        12, 2010 (why not to pool folds).
    """
    checks.probability(confidence, "confidence", open_interval=True)
    return judge_folds(FoldScores.of(table), confidence, cautions)


def judge_folds(scores: FoldScores, confidence: float, cautions: Sequence[str] = ()) -> CrossValidated:
    """Does what `evaluate_folds` does with a table that was checked.

    Args:
        scores: The out-of-fold scores.
        confidence: Coverage of intervals, in (0, 1).
        cautions: Sentences that a reader must see beside the numbers.
    """
    measured = {name: _measure(each, scores, confidence) for name, each in scores.findings.items()}
    ranked = {name: found for name, found in measured.items() if found.area is not None}
    why_not = {name: found.entry.auroc.reason for name, found in measured.items() if found.area is None}
    areas = [found.areas for found in ranked.values() if found.areas is not None]
    mean_areas = np.mean(areas, axis=0) if areas else None
    return CrossValidated(
        n_folds=scores.n_folds,
        n_repeats=len(scores.repeats),
        n_seeds=len(scores.seeds),
        n_images=scores.n_images,
        n_patients=len(scores.patients),
        scores_fingerprint=scores.fingerprint,
        findings=tuple(found.entry for found in measured.values()),
        auroc=_mean_area([found.area for found in ranked.values() if found.area], scores, confidence, why_not),
        spread=spread_of(mean_areas, math.nan, confidence),
        cautions=tuple(cautions),
        **{
            name: _mean_of({key: found.parts.get(name) for key, found in measured.items()}, scores, confidence)
            for name in ("average_precision", *_RATES)
        },
    )


class _Measured(NamedTuple):
    """One finding: its entry, and what the means over findings are made of."""

    entry: CrossValidatedFinding
    area: AucContributions | None
    areas: NDArray[np.float64] | None
    parts: dict[str, Influenced]


def _measure(each: FindingFolds, scores: FoldScores, confidence: float) -> _Measured:
    n, n_positive = len(each.positive), int(each.positive.sum())
    parts: dict[str, Influenced] = {}
    found: dict[str, Estimate] = {}
    why = each.unmeasurable()
    area = areas = None
    if why:
        nothing = Estimate.not_estimable(why, n=n, confidence=confidence)
        found |= dict.fromkeys(("auroc", "average_precision", "slope"), nothing)
    else:
        area, areas = auroc_parts(each, scores.numbers_of(each), len(scores.patients))
        found["auroc"] = area_estimate(area, each, confidence)
        parts["average_precision"] = average_precision_parts(each)
        found["average_precision"] = _bounded(
            parts["average_precision"],
            confidence,
            f"folds put on one scale, at the prevalence of these images, {n_positive / n:.3g}",
            each,
        )
        found["slope"] = _unbounded(slope_parts(each), confidence, "logistic, an intercept for each fold", each)
    if n_positive in (0, n):
        found["intercept"] = Estimate.not_estimable(one_class(n_positive, n - n_positive), n=n, confidence=confidence)
    else:
        found["intercept"] = _unbounded(intercept_parts(each), confidence, "logistic at slope 1, one for all", each)
    found["brier"] = (
        _bounded(brier_parts(each), confidence, "mean over images", each)
        if n
        else Estimate.not_estimable(one_class(0, 0), confidence=confidence)
    )
    lacking = _without_threshold(each, scores)
    for name, called in _RATES.items():
        among = each.positive if called else ~each.positive
        if lacking or not among.any():
            reason = lacking or one_class(n_positive, n - n_positive)
            found[name] = Estimate.not_estimable(reason, n=int(among.sum()), confidence=confidence)
        else:
            parts[name] = share_parts(each, among, called=called)
            found[name] = _share(parts[name], confidence, each)
    chance = math.nan if area is None else _by_chance(each)
    entry = CrossValidatedFinding(
        finding=each.finding,
        n_images=n,
        n_patients=len(np.unique(each.owner)),
        n_positive=n_positive,
        n_negative=n - n_positive,
        spread=spread_of(areas, chance, confidence),
        folds=_fold_results(each, scores, areas),
        **found,
    )
    owned = {name: part._replace(owner=scores.numbers_of(each)) for name, part in parts.items()}
    return _Measured(entry, area, areas, owned)


def area_estimate(area: AucContributions, each: FindingFolds, confidence: float) -> Estimate:
    """Returns the mean area of folds with its interval.

    Args:
        area: From `auroc_parts`.
        each: The scores it was measured on.
        confidence: Coverage, in (0, 1).
    """
    low, high, method = area.limits(confidence, unit=_unit(each))
    method = f"mean over folds of the area within, influence curve by {_unit(each)}: {method}{_basis(each)}"
    method += approximate(area.worth, _unit(each))
    return Estimate(area.area, low, high, confidence, len(each.positive), method).unless_it_spans(0, 1)


def spread_of(areas: NDArray[np.float64] | None, by_chance: float, confidence: float) -> FoldSpread:
    """Returns how far areas of folds, repeats and seeds lie apart.

    Args:
        areas: Shape (repeats, seeds, folds); None where there are none.
        by_chance: Standard deviation that the few test images of a fold make; NaN where it is not known.
        confidence: Coverage, in (0, 1).

    Returns:
        Standard deviations; of seeds and repeats with chi-squared limits, as for normally distributed values.
    """
    if areas is None:
        nothing = Estimate.not_estimable("no finding can be measured in every fold", confidence=confidence)
        return FoldSpread(nothing, nothing, math.nan, math.nan)
    n_repeats, n_seeds, _ = areas.shape
    whole = areas.mean(axis=2)
    of_seeds = Estimate.not_estimable("one seed only", n=n_seeds, confidence=confidence)
    if n_seeds > 1:
        variance = float(whole.var(axis=1, ddof=1).mean())
        of_seeds = _deviation(variance, n_repeats * (n_seeds - 1), n_seeds, confidence, "between seeds, same folds")
    of_repeats = Estimate.not_estimable("one division into folds only", n=n_repeats, confidence=confidence)
    if n_repeats > 1:
        variance = float(whole.mean(axis=1).var(ddof=1))
        words = "between divisions into folds, means over seeds"
        of_repeats = _deviation(variance, n_repeats - 1, n_repeats, confidence, words)
    folds = math.sqrt(float(areas.mean(axis=1).var(axis=1, ddof=1).mean()))
    return FoldSpread(of_seeds, of_repeats, folds, by_chance)


def _deviation(variance: float, degrees: int, n: int, confidence: float, what: str) -> Estimate:
    from scipy import special

    tails = ((1 + confidence) / 2, (1 - confidence) / 2)
    low, high = (math.sqrt(degrees * variance / (2 * special.gammaincinv(degrees / 2, tail))) for tail in tails)
    method = f"standard deviation {what}, chi-squared limits with {degrees} degrees of freedom"
    return Estimate(math.sqrt(variance), low, high, confidence, n, method)


def _by_chance(each: FindingFolds) -> float:
    """Returns the standard deviation of a fold's area that its test images alone make, by patient."""
    areas, placed = areas_in_folds(each)
    variances = []
    for repeat, n_folds in enumerate(each.n_folds):
        place = each.owner * n_folds + each.fold[repeat]
        size = (int(each.owner.max()) + 1) * n_folds
        for area, of_images in zip(areas[repeat], placed[repeat], strict=True):
            variance = np.zeros(n_folds)
            for rows in (each.positive, ~each.positive):
                fold = each.fold[repeat][rows]
                deviations = (of_images[rows] - area[fold]) / np.bincount(fold, minlength=n_folds)[fold]
                sums = np.bincount(place[rows], deviations, size).reshape(-1, n_folds)
                patients = (np.bincount(place[rows], minlength=size).reshape(-1, n_folds) > 0).sum(axis=0)
                # Of one patient there is no telling.
                factor = np.divide(patients, patients - 1, out=np.full(n_folds, np.nan), where=patients > 1)
                variance += factor * (sums**2).sum(axis=0)
            variances.append(variance)
    return math.sqrt(float(np.mean(variances)))


def _mean_area(
    areas: list[AucContributions], scores: FoldScores, confidence: float, why_not: Mapping[str, str]
) -> Estimate:
    left_out = "; ".join(f"{name}: {why}" for name, why in why_not.items())
    if not areas:
        return Estimate.not_estimable(f"no finding can be measured: {left_out}"[:1_000], confidence=confidence)
    unit = "images" if scores.n_images == len(scores.patients) else "patients"
    value, low, high, method = mean_of_areas(areas, confidence, unit)
    method = f"mean over folds of the area within, influence curve by {unit}: {method}"
    method += f"; left out: {left_out}"[:1_000] if left_out else ""
    return Estimate(value, low, high, confidence, scores.n_images, method)


def _mean_of(parts: Mapping[str, Influenced | None], scores: FoldScores, confidence: float) -> Estimate:
    """Returns the mean over findings of one statistic; findings vary together, since they are of the same patients."""
    found = [part for part in parts.values() if part is not None]
    left_out = [name for name, part in parts.items() if part is None]
    if not found:
        return Estimate.not_estimable("no finding has it", n=scores.n_images, confidence=confidence)
    value = math.fsum(part.value for part in found) / len(found)
    sums = np.stack([np.bincount(part.owner, part.of_images, len(scores.patients)) for part in found])
    factor = len(scores.patients) / max(len(scores.patients) - 1, 1)
    covariance = factor * sums @ sums.T
    raised = np.array([max(part.variance, own) for part, own in zip(found, np.diag(covariance), strict=True)])
    scale = np.sqrt(np.divide(raised, np.diag(covariance), out=np.ones(len(found)), where=np.diag(covariance) > 0))
    covariance *= np.outer(scale, scale)
    np.fill_diagonal(covariance, raised)
    variance, worth = float(covariance.mean()), min(kish(part.owner[part.counts]) for part in found)
    method = f"mean of {len(found)} findings with covariances between them, logit interval"
    method += f"; left out: {', '.join(left_out)}"[:1_000] if left_out else ""
    if not 0 < value < 1 or not variance > 0:
        low, high = clopper_pearson(worth * value, worth, confidence)
        return Estimate(value, low, high, confidence, scores.n_images, f"{method}; binomial, as nothing varies")
    error = Error(math.sqrt(variance), max(1.0, worth - 1))
    limits = logit_limits(value, error.value, confidence, degrees=error.degrees)
    return Estimate(value, *limits, confidence, scores.n_images, f"{method}{error.words}{approximate(worth)}")


def _worth(part: Influenced, each: FindingFolds) -> float:
    """Returns what the patients are worth whose images decide: those of the rarer class where both count."""
    counted = [part.counts & rows for rows in (each.positive, ~each.positive)]
    return min(kish(each.owner[rows]) for rows in counted if rows.any())


def _bounded(part: Influenced, confidence: float, what: str, each: FindingFolds) -> Estimate:
    """Returns a statistic in [0, 1] with limits on the logit scale."""
    worth, n = _worth(part, each), int(part.counts.sum())
    method = f"{what}, influence curve by {_unit(each)}, logit interval"
    if math.isnan(part.variance):
        return Estimate.not_estimable("all images come from one patient", n=n, confidence=confidence)
    if not 0 < part.value < 1 or not part.variance > 0:
        low, high = clopper_pearson(worth * part.value, worth, confidence)
        method = f"{what}, binomial on {_unit(each)} worth {worth:.1f}, because nothing varies{_basis(each)}"
        return Estimate(part.value, low, high, confidence, n, method)
    error = Error(math.sqrt(part.variance), max(1.0, worth - 1))
    limits = logit_limits(part.value, error.value, confidence, degrees=error.degrees)
    method += f"{error.words}{_basis(each)}{approximate(worth, _unit(each))}"
    return Estimate(part.value, *limits, confidence, n, method)


def _unbounded(part: Influenced, confidence: float, what: str, each: FindingFolds) -> Estimate:
    n, worth = len(each.positive), kish(each.owner)
    if math.isnan(part.value):
        return Estimate.not_estimable("no finite line fits best in the folds", n=n, confidence=confidence)
    if math.isnan(part.variance):
        return Estimate.not_estimable("all images come from one patient", n=n, confidence=confidence)
    error = Error(math.sqrt(part.variance), max(1.0, worth - 1))
    half = error.half_width(confidence)
    method = (
        f"{what}, variance by {_unit(each)}{error.words}{_basis(each)}{approximate(_worth(part, each), _unit(each))}"
    )
    return Estimate(part.value, part.value - half, part.value + half, confidence, n, method)


def _share(part: Influenced, confidence: float, each: FindingFolds) -> Estimate:
    agreement = part.agreement
    n, worth = agreement.n, agreement.worth
    basis = f"{n} images of {agreement.n_patients} patients{approximate(worth)}"
    variance = float(agreement.scatter) * float(agreement.design_effect())
    if not 0 < part.value < 1 or not variance > 0:
        low, high = clopper_pearson(worth * part.value, worth, confidence)
        method = f"Clopper-Pearson on patients, worth {worth:.1f}, because the images do not vary; {basis}"
        return Estimate(part.value, low, high, confidence, n, method).unless_it_spans(0, 1)
    low, high, effective = share_limits(part.value, variance, n, worth, confidence)
    method = f"thresholds of the folds, Clopper-Pearson at the effective sample size {effective:.1f}; {basis}"
    return Estimate(part.value, low, high, confidence, n, method).unless_it_spans(0, 1)


def _unit(each: FindingFolds) -> str:
    return "images" if len(np.unique(each.owner)) == len(each.owner) else "patients"


def _basis(each: FindingFolds) -> str:
    trainings = f", {each.n_trainings} trainings of every fold" if each.n_trainings > 1 else ""
    return f"; {len(each.positive)} images of {len(np.unique(each.owner))} patients{trainings}"


def _without_threshold(each: FindingFolds, scores: FoldScores) -> str:
    """Returns in which folds no threshold was chosen, "" where every fold has one."""
    lacking = {
        (scores.repeats[repeat], each.names[repeat][int(each.fold[repeat, image])])
        for repeat, _, image in np.argwhere(np.isnan(each.threshold))
    }
    if not lacking:
        return ""
    total = sum(each.n_folds)
    return f"no threshold was chosen in {len(lacking)} of {total} fold(s), first fold {min(lacking)[1]}"


def _fold_results(each: FindingFolds, scores: FoldScores, areas: NDArray[np.float64] | None) -> tuple[FoldResult, ...]:
    found = []
    for r, repeat in enumerate(scores.repeats):
        for k, name in enumerate(each.names[r]):
            rows = np.flatnonzero(each.fold[r] == k)
            n_positive = int(each.positive[rows].sum())
            for s, seed in enumerate(scores.seeds):
                area = math.nan if areas is None else float(areas[r, s, k])
                threshold = float(each.threshold[r, s, rows[0]]) if len(rows) else math.nan
                found.append(FoldResult(repeat, name, seed, n_positive, len(rows) - n_positive, area, threshold))
    return tuple(found)
