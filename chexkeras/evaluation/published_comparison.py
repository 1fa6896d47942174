"""Comparisons of published results, as far as a table without scores allows them."""

import itertools
import math
from collections.abc import Sequence

from chexkeras import checks
from chexkeras.evaluation.comparison.compare import adjusted, judge
from chexkeras.evaluation.comparison.paired_tests import mcnemar
from chexkeras.evaluation.comparison.published import CAUTION, PNEUMONIA_PROJECT, PublishedResult, published_auc
from chexkeras.evaluation.hanley_mcneil import correlation_needed, hanley_mcneil_error
from chexkeras.evaluation.rates import rates_from_counts
from chexkeras.evaluation.uncertainty.limits import normal_quantile
from chexkeras.results import Comparison, Estimate


def compare_published(
    first: PublishedResult, second: PublishedResult, statistic: str = "AUROC", *, confidence: float = 0.95
) -> Comparison:
    """Compares two published experiments as far as a table without scores allows.

    On the same images the two results are paired, but a table does not say how. AUROC: the correlation of the two areas
    is taken as 0, which is the most cautious for models that agree at all; `method` says how high it would have to be
    for the difference to matter. Sensitivity and specificity: of all ways in which the two could have called the same
    images, the one with the most discordant images, and so the largest p-value. Each model is at its own threshold, so
    a gain of one that is paid for with the other is another point on the curve and not a better model.

    Args:
        first: One experiment.
        second: Another, on the same images (same `part`).
        statistic: "AUROC", "sensitivity" or "specificity".
        confidence: Coverage of the interval, in (0, 1).

    Returns:
        First minus second; not estimable where an AUC was not given.

    Raises:
        ValueError: If the statistic is another (F1 and PPV depend on prevalence and threshold at once), the results
            are of different findings or parts, or their class sizes differ.

    Source:
        Hanley & McNeil, Radiology 148, 1983 (areas of the same cases); McNemar, Psychometrika 12, 1947; Tango,
        Statistics in Medicine 17, 1998.

    Example:
        >>> print(compare_published(*PNEUMONIA_PROJECT[2:]))
        Pneumonia, AUROC: 2A is not distinguishable from 2B, difference 0.002 (95 % CI -0.053 to 0.058)
    """
    if statistic in ("F1", "PPV", "NPV", "accuracy"):
        raise ValueError(
            f"{statistic} changes with the prevalence and the threshold, so it does not rank models; compare AUROC, "
            "sensitivity or specificity."
        )
    checks.one_of(statistic, ("AUROC", "sensitivity", "specificity"), "statistic")
    checks.probability(confidence, "confidence", open_interval=True)
    same = (first.finding, first.part, first.n_positive, first.n_negative)
    if same != (second.finding, second.part, second.n_positive, second.n_negative):
        raise ValueError(
            f"{first.name} ({first.finding}, {first.part}, {first.n_positive} positive) and {second.name} "
            f"({second.finding}, {second.part}, {second.n_positive} positive) were measured on different images; "
            "only results on the same images are compared."
        )
    parts = _areas(first, second, confidence) if statistic == "AUROC" else _calls(first, second, statistic, confidence)
    values, difference, p_value = parts
    return judge(
        Comparison(
            first=first.name,
            second=second.name,
            finding=first.finding,
            statistic=statistic,
            first_value=values[0],
            second_value=values[1],
            difference=difference,
            p_value=p_value,
            p_adjusted=p_value,
            verdict="not estimable",
            method=difference.method,
        )
    )


def compare_all_published(
    results: Sequence[PublishedResult] = PNEUMONIA_PROJECT,
    statistics: Sequence[str] = ("AUROC", "sensitivity", "specificity"),
    *,
    confidence: float = 0.95,
) -> tuple[Comparison, ...]:
    """Compares every pair of published experiments, with Holm's correction over all of it.

    Args:
        results: At least two, on the same images.
        statistics: As for `compare_published`.
        confidence: Coverage of intervals, in (0, 1).

    Returns:
        For each statistic one comparison of each pair.

    Raises:
        ValueError: As for `compare_published`.
    """
    asked = itertools.product(statistics, itertools.combinations(results, 2))
    return adjusted([compare_published(*pair, statistic, confidence=confidence) for statistic, pair in asked])


def _areas(
    first: PublishedResult, second: PublishedResult, confidence: float
) -> tuple[tuple[Estimate, Estimate], Estimate, float]:
    values = (published_auc(first, confidence=confidence), published_auc(second, confidence=confidence))
    n, sizes = first.n_positive + first.n_negative, (first.n_positive, first.n_negative)
    if first.auc is None or second.auc is None:
        ends = max(itertools.product(first.auc_range, second.auc_range), key=lambda pair: abs(pair[0] - pair[1]))
        needed = correlation_needed(*ends, *sizes, confidence=confidence)
        reason = "; ".join(value.reason for value in values if not value.estimable)
        reason += f"; even {ends[0]:.4f} and {ends[1]:.4f} would need a correlation above {needed:.4f} to differ"
        return values, Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    error = math.hypot(*(hanley_mcneil_error(area, *sizes) for area in (first.auc, second.auc)))
    difference, half = first.auc - second.auc, normal_quantile(confidence) * error
    needed = correlation_needed(first.auc, second.auc, *sizes, confidence=confidence)
    method = (
        "Hanley-McNeil 1982 errors, correlation of the areas unknown and taken as 0; p below "
        f"{1 - confidence:.2g} needs a correlation above {needed:.4f}. {CAUTION}"
    )
    estimate = Estimate(difference, difference - half, difference + half, confidence, n, method)
    return values, estimate, math.erfc(abs(difference) / (error * math.sqrt(2)))


def _calls(
    first: PublishedResult, second: PublishedResult, statistic: str, confidence: float
) -> tuple[tuple[Estimate, Estimate], Estimate, float]:
    both = [
        rates_from_counts(
            each.true_positives, each.false_negatives, each.false_positives, each.true_negatives, confidence=confidence
        )
        for each in (first, second)
    ]
    values = (getattr(both[0], statistic), getattr(both[1], statistic))
    if statistic == "sensitivity":
        right, n, other = (first.true_positives, second.true_positives), first.n_positive, "specificity"
    else:
        right, n, other = (first.true_negatives, second.true_negatives), first.n_negative, "sensitivity"
    # As few images as possible that both called rightly: the most discordant pairing the margins allow.
    agreed = max(0, right[0] + right[1] - n)
    difference, p_value = mcnemar(right[0] - agreed, right[1] - agreed, n, confidence=confidence)
    against = tuple(getattr(found, other).value for found in both)
    method = (
        f"{difference.method}, the most that the counts allow. At the thresholds {first.threshold:g} and "
        f"{second.threshold:g} {other} is {against[0]:.3f} against {against[1]:.3f}"
    )
    if difference.value * (against[0] - against[1]) < 0:
        method += ": a trade-off between the two, not a better model"
    method += f". {CAUTION}"
    return values, Estimate(difference.value, difference.low, difference.high, confidence, n, method), p_value
