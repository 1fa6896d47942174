"""Two recipes on the same folds and seeds: whether one is better, by the variance that cross-validation asks for."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.comparison.compare import adjusted
from chexkeras.evaluation.cross_validation.contributions import auroc_parts
from chexkeras.evaluation.cross_validation.evaluate_folds import area_estimate, spread_of
from chexkeras.evaluation.cross_validation.fold_scores import FindingFolds, FoldScores
from chexkeras.evaluation.uncertainty.delong import AucContributions, degrees_of, raised_covariance
from chexkeras.evaluation.uncertainty.intervals import mean_of_areas
from chexkeras.evaluation.uncertainty.worth import approximate, student_p_value, student_quantile
from chexkeras.results import Comparison, Estimate, FoldComparison

_Tested = tuple[Estimate, float]
_SAME = "both order the images of every fold alike"


@checked
def compare_folds(
    table_a: pd.DataFrame,
    table_b: pd.DataFrame,
    *,
    names: tuple[str, str] = ("A", "B"),
    margin: float | None = None,
    confidence: float = 0.95,
) -> tuple[FoldComparison, ...]:
    """Says whether one of two recipes is better, from their out-of-fold scores on the same folds and seeds.

    The AUROC of each fold is compared with that of the other recipe on the same fold. Two answers are made. Nadeau and
    Bengio's corrected resampled t asks whether the recipes differ whatever images of this kind they are trained on:
    the variance of the differences of folds, enlarged because the folds' models share most of their training images.
    The influence curve, paired by image and patient, asks whether these very models differ; what another training
    sample would have made of the recipes is not in it. A choice of a recipe needs the first, and what is reported
    (verdict, p-value, interval) is the more cautious of the two: where recipes are equally good the influence curve
    rejects at the 5 % level up to 7 times in a hundred, the resampled t up to 6, the more cautious up to 4, see
    benchmarks/README.md.

    Args:
        table_a: Out-of-fold scores of the first recipe, with `fold_scores.FOLD_COLUMNS`.
        table_b: Out-of-fold scores of the second, of the same images, labels, repeats, folds and seeds.
        names: What to call the two, different.
        margin: How much worse the first may be and still count as no worse, in (0, 1), stated beforehand; None for
            none.
        confidence: Coverage of intervals, in (0, 1).

    Returns:
        One comparison for each finding that both have and that can be measured in every fold, p-values with Holm's
        correction over findings; with several findings, last, their mean, uncorrected.

    Raises:
        TypeError: If a table is no DataFrame.
        ValueError: If a table is no table of out-of-fold scores; images, patients, labels, folds, repeats or seeds
            differ; no finding is common; or an argument is out of range.

    Source:
        Nadeau & Bengio, Machine Learning 52, 2003 (corrected resampled t); Bouckaert & Frank, PAKDD 2004 (repeated
        cross-validation); LeDell, Petersen & van der Laan, Electronic Journal of Statistics 9, 2015.
    """
    checks.probability(confidence, "confidence", open_interval=True)
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f'names={names!r}; two different names were expected, such as ("two-stage", "one-stage").')
    if margin is not None:
        checks.probability(margin, "margin", open_interval=True)
    return judge_pair(*_matched(table_a, table_b, names), names, margin, confidence)


def judge_pair(
    first: FoldScores, second: FoldScores, names: tuple[str, str], margin: float | None, confidence: float
) -> tuple[FoldComparison, ...]:
    """Does what `compare_folds` does with tables that were checked and have the same folds and seeds.

    Args:
        first: Out-of-fold scores of the first recipe.
        second: Out-of-fold scores of the second recipe.
        names: What to call the two.
        margin: How much worse the first may be; None for none.
        confidence: Coverage of intervals, in (0, 1).
    """
    pairs = {name: _pair(first.findings[name], second.findings[name], first) for name in _common(first, second, names)}
    measured = {name: pair for name, pair in pairs.items() if isinstance(pair, _Pair)}
    compared = [
        _compared(name, [pair], [first.findings[name]], names, margin, confidence) for name, pair in measured.items()
    ]
    judged = adjusted([each.comparison for each in compared])
    found = [_with(each, comparison) for each, comparison in zip(compared, judged, strict=True)]
    for name, why in pairs.items():
        if not isinstance(why, _Pair):
            found.append(_nothing(name, str(why), names, margin, confidence))
    if len(measured) > 1:
        scores = [first.findings[name] for name in measured]
        mean = _compared("", list(measured.values()), scores, names, margin, confidence)
        found.append(_with(mean, adjusted([mean.comparison])[0]))
    return tuple(found)


class _Pair(NamedTuple):
    """One finding of both recipes: areas with their contributions, and the difference paired by image."""

    first: AucContributions
    second: AucContributions
    difference: AucContributions
    of_folds: NDArray[np.float64]
    same: bool


def _matched(table_a: pd.DataFrame, table_b: pd.DataFrame, names: tuple[str, str]) -> tuple[FoldScores, FoldScores]:
    made = []
    for table, name in ((table_a, names[0]), (table_b, names[1])):
        try:
            made.append(FoldScores.of(table))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    first, second = made
    for what in ("repeats", "seeds", "n_folds"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            words = what.removeprefix("n_")
            raise ValueError(
                f"{names[0]} has {words} {one} and {names[1]} {other}; recipes are compared on the same folds and "
                "seeds."
            )
    return first, second


def _common(first: FoldScores, second: FoldScores, names: tuple[str, str]) -> list[str]:
    common = [name for name in first.findings if name in second.findings]
    if not common:
        raise ValueError(
            f"no finding in common: {names[0]} has {', '.join(first.findings)} and {names[1]} has "
            f"{', '.join(second.findings)}."
        )
    for name in common:
        one, other = first.findings[name], second.findings[name]
        if not np.array_equal(one.image_id, other.image_id):
            lone = sorted(set(one.image_id) ^ set(other.image_id))
            raise ValueError(
                f"{name}: {len(lone)} image(s) have a label and scores in one table only, first {lone[0]}; only scores "
                "of the same images can be compared."
            )
        for what, words in (("patient_id", "patients"), ("positive", "labels"), ("fold", "folds")):
            differing = np.flatnonzero(np.atleast_2d(getattr(one, what) != getattr(other, what)).any(axis=0))
            if len(differing):
                raise ValueError(
                    f"{name}: {words} of {len(differing)} image(s) differ between {names[0]} and {names[1]}, first "
                    f"{one.image_id[differing[0]]}; recipes are compared on the same images, labels and folds."
                )
    return common


def _pair(one: FindingFolds, other: FindingFolds, scores: FoldScores) -> "_Pair | str":
    why = one.unmeasurable()
    if why:
        return why
    owner, n = scores.numbers_of(one), len(scores.patients)
    (first, areas), (second, others) = (auroc_parts(each, owner, n) for each in (one, other))
    difference, of_folds = auroc_parts(one, owner, n, minus=other)
    same = bool((areas == others).all()) and not difference.of_positives.any() and not difference.of_negatives.any()
    return _Pair(first, second, difference, of_folds, same)


def _compared(
    finding: str,
    pairs: list[_Pair],
    scores: list[FindingFolds],
    names: tuple[str, str],
    margin: float | None,
    confidence: float,
) -> FoldComparison:
    of_folds = np.mean([pair.of_folds for pair in pairs], axis=0)
    n = max(len(each.positive) for each in scores)
    if all(pair.same for pair in pairs):
        alike = Estimate(0.0, 0.0, 0.0, confidence, n, _SAME)
        resampled = influence = (alike, 1.0)
    else:
        resampled = corrected_resampled_t(of_folds, confidence)
        influence = _by_influence([pair.difference for pair in pairs], n, confidence)
    reported = _more_cautious(resampled, influence)
    values = (
        _value([pair.first for pair in pairs], scores, confidence),
        _value([pair.second for pair in pairs], scores, confidence),
    )
    comparison = Comparison.measured(names, finding, "AUROC", values, *reported, margin=margin)
    return FoldComparison(comparison, *resampled, *influence, spread_of(of_folds, math.nan, confidence))


def corrected_resampled_t(of_folds: NDArray[np.float64], confidence: float) -> _Tested:
    """Returns the mean difference with the interval of Nadeau and Bengio's corrected resampled t, and its p-value.

    The variance of a mean of J differences is not theirs over J, since folds' models share training images: it is
    (1 / J + test images / training images) times theirs, here with 1 / (folds - 1) as that ratio. Seeds of a fold are
    averaged first; degrees of freedom are J - 1.

    Args:
        of_folds: Differences, shape (repeats, seeds, folds).
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate, `n` being the number of differences, and the two-sided p-value; p is 1 where all are 0, and NaN
        where they are equal but not 0.

    Source:
        Nadeau & Bengio, Machine Learning 52, 2003; Bouckaert & Frank, PAKDD 2004 (repeated cross-validation).
    """
    of_models = of_folds.mean(axis=1)
    n, ratio = of_models.size, 1 / (of_models.shape[1] - 1)
    value, variance = float(of_models.mean()), float(of_models.var(ddof=1))
    method = f"corrected resampled t (Nadeau & Bengio 2003) on {n} folds, {n - 1} degrees of freedom"
    # What rounding leaves of equal differences is no variance.
    if not math.sqrt(variance) > 1e-12:
        if abs(value) <= 1e-12:
            return Estimate(0.0, 0.0, 0.0, confidence, n, f"{method}; no fold differs"), 1.0
        reason = "the difference is the same in every fold, so that nothing tells how it varies"
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    error = math.sqrt((1 / n + ratio) * variance)
    half = student_quantile(confidence, n - 1) * error
    limits = max(-1.0, value - half), min(1.0, value + half)
    return Estimate(value, *limits, confidence, n, method), student_p_value(value / error, n - 1)


def _by_influence(parts: list[AucContributions], n: int, confidence: float) -> _Tested:
    covariance = raised_covariance(parts)
    value, variance = math.fsum(part.area for part in parts) / len(parts), float(covariance.mean())
    worth, degrees = min(part.worth for part in parts), degrees_of(parts)
    if not variance > 0:
        reason = "the areas differ without any estimated variance" if variance == 0 else "a class of one patient only"
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    error = math.sqrt(variance)
    half = student_quantile(confidence, degrees) * error
    student = "" if math.isinf(degrees) else f", Student's t with {degrees:.0f} degrees of freedom"
    method = f"influence curve of the models of the folds, paired by image and patient{student}{approximate(worth)}"
    limits = max(-1.0, value - half), min(1.0, value + half)
    return Estimate(value, *limits, confidence, n, method), student_p_value(value / error, degrees)


def _more_cautious(resampled: _Tested, influence: _Tested) -> _Tested:
    """Returns the answer whose interval is wider; none where one of them has none."""
    for answer in (resampled, influence):
        if not answer[0].estimable:
            return answer
    return max(resampled, influence, key=lambda answer: answer[0].high - answer[0].low)


def _value(parts: list[AucContributions], scores: list[FindingFolds], confidence: float) -> Estimate:
    if len(parts) == 1:
        return area_estimate(parts[0], scores[0], confidence)
    value, low, high, method = mean_of_areas(parts, confidence, "patients")
    return Estimate(value, low, high, confidence, max(len(each.positive) for each in scores), method)


def _nothing(finding: str, why: str, names: tuple[str, str], margin: float | None, confidence: float) -> FoldComparison:
    none = Estimate.not_estimable(why, confidence=confidence)
    comparison = Comparison.measured(names, finding, "AUROC", (none, none), none, math.nan, margin=margin)
    return FoldComparison(comparison, none, math.nan, none, math.nan, spread_of(None, math.nan, confidence))


def _with(each: FoldComparison, comparison: Comparison) -> FoldComparison:
    return FoldComparison(comparison, each.resampled, each.p_resampled, each.influence, each.p_influence, each.spread)
