"""Published results rebuilt from their counts, with the intervals and the comparisons that the publication left out.

The pneumonia project (a course project on NIH ChestX-ray14 with a written FDA submission) reports rates at the
threshold 0.5 and AUCs of four experiments on 16,370 validation images. The rounded rates fit one set of whole counts.
Published results are compared as far as a table without scores allows.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.comparison.compare import adjusted, judge
from chexkeras.evaluation.comparison.paired_tests import mcnemar
from chexkeras.evaluation.rates import Rates, rates_from_counts
from chexkeras.evaluation.readers.reader_f1 import f1_at_prevalence
from chexkeras.evaluation.uncertainty.intervals import auc_interval_from_counts
from chexkeras.evaluation.uncertainty.limits import correlation_needed, hanley_mcneil_error, normal_quantile
from chexkeras.plain import Described, PlainTable
from chexkeras.results import Comparison, Estimate

CAUTION = "Published table; its counts are reconstructed from rounded rates, and images are taken as independent."
"""What must stand beside every number of this module."""


@checked(fields=True)
@dataclass(frozen=True)
class PublishedResult(Described):
    """One published experiment: four counts and, where it is known, the AUC.

    Attributes:
        name: What the publication calls it.
        setting: What it tried.
        finding: The finding.
        true_positives: Positive images called positive at the threshold.
        false_negatives: Positive images not called at the threshold.
        false_positives: Negative images called positive at the threshold.
        true_negatives: Negative images not called at the threshold.
        threshold: The score at which the counts hold.
        auc_range: Between which values the area under the ROC curve lies; twice the same where it is known.
        part: The images it was measured on; results of the same part were measured on the same images.
        source: Where the numbers come from.
    """

    name: str
    setting: str
    finding: str
    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int
    threshold: float
    auc_range: tuple[float, float]
    part: str
    source: str

    def __post_init__(self) -> None:
        low, high = self.auc_range
        if not 0 < low <= high < 1:
            raise ValueError(f"{self.name}: auc_range={self.auc_range} must ascend within (0, 1).")
        if min(self.n_positive, self.n_negative) < 1:
            raise ValueError(f"{self.name}: {self.n_positive} positives and {self.n_negative} negatives; needs both.")

    @property
    def auc(self) -> float | None:
        """The area under the ROC curve; None where only a range is known."""
        return self.auc_range[0] if self.auc_range[0] == self.auc_range[1] else None

    @property
    def n_positive(self) -> int:
        """How many images are positive."""
        return self.true_positives + self.false_negatives

    @property
    def n_negative(self) -> int:
        """How many images are negative."""
        return self.false_positives + self.true_negatives

    @property
    def prevalence(self) -> float:
        """The share of positives."""
        return self.n_positive / (self.n_positive + self.n_negative)


_SOURCE = "pneumonia project, table of experiments 1A to 2B; counts reconstructed, the only whole solution"
_PART = "NIH ChestX-ray14, 16,370 validation images of 4,621 patients"
# What could be read gives the AUCs of 2A and 2B, and for all four experiments only the lowest and the highest.
_SPAN = (0.6641, 0.6736)

PNEUMONIA_PROJECT: tuple[PublishedResult, ...] = tuple(
    PublishedResult(name, setting, "Pneumonia", *counts, 0.5, areas, _PART, _SOURCE)
    for name, setting, counts, areas in (
        ("1A", "ImageNet normalisation", (188, 34, 10_412, 5_736), _SPAN),
        ("1B", "aggressive augmentation", (45, 177, 1_291, 14_857), _SPAN),
        ("2A", "top 20 % of layers trained", (89, 133, 2_527, 13_621), (0.6736, 0.6736)),
        ("2B", "top 35 % of layers trained", (122, 100, 4_843, 11_305), (0.6715, 0.6715)),
    )
)
"""The pneumonia project's four experiments; the AUCs of 1A and 1B are known only to lie within those of all four."""


def published_auc(result: PublishedResult, *, confidence: float = 0.95) -> Estimate:
    """Returns a published area under the ROC curve with Hanley and McNeil's interval on the logit scale.

    Args:
        result: The experiment.
        confidence: Coverage, in (0, 1).

    Returns:
        The estimate; not estimable where only a range was given.
    """
    checks.probability(confidence, "confidence", open_interval=True)
    n = result.n_positive + result.n_negative
    if result.auc is None:
        reason = f"{result.name}: known only to lie within {printed_auc(result)}"
        return Estimate.not_estimable(reason, n=n, confidence=confidence)
    return auc_interval_from_counts(result.auc, result.n_positive, result.n_negative, confidence=confidence)


def printed_auc(result: PublishedResult) -> str:
    """Returns the area as published: a number, or the range it lies in."""
    return f"{result.auc:.4f}" if result.auc is not None else "{:.4f} to {:.4f}".format(*result.auc_range)


@checked
def published_table(
    results: Iterable[PublishedResult] = PNEUMONIA_PROJECT, *, confidence: float = 0.95
) -> pd.DataFrame:
    """Returns published experiments with the intervals that go with their counts.

    Args:
        results: The experiments.
        confidence: Coverage of intervals, in (0, 1).

    Returns:
        One row for each: counts, sensitivity, specificity and PPV (Clopper-Pearson), F1 with the F1 of calling
        everything positive at that prevalence, AUC (Hanley-McNeil). ``attrs["cautions"]`` must stand beside it.
    """
    rows = []
    for result in results:
        found = _rates(result, confidence)
        rows.append(
            {
                "experiment": result.name,
                "setting": result.setting,
                "TP": result.true_positives,
                "FN": result.false_negatives,
                "FP": result.false_positives,
                "TN": result.true_negatives,
                "threshold": result.threshold,
                "sensitivity": str(found.sensitivity),
                "specificity": str(found.specificity),
                "PPV": str(found.ppv),
                "F1": str(found.f1),
                "F1 of calling everything positive": f"{f1_at_prevalence(1, 0, result.prevalence):.3f}",
                "AUC as printed": printed_auc(result),
                "AUC": str(published_auc(result, confidence=confidence)),
                "source": result.source,
            }
        )
    table = PlainTable(rows)
    table.attrs["cautions"] = (CAUTION,)
    return table


@checked
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
    return judge(Comparison.measured((first.name, second.name), first.finding, statistic, *parts))


@checked
def compare_all_published(
    results: Sequence[PublishedResult] = PNEUMONIA_PROJECT,
    statistics: Sequence[str] = ("AUROC", "sensitivity", "specificity"),
    *,
    confidence: float = 0.95,
) -> tuple[Comparison, ...]:
    """Compares every pair of published experiments, with Holm's correction over all of it.

    Args:
        results: At least two, on the same images.
        statistics: Any of "AUROC", "sensitivity" and "specificity".
        confidence: Coverage of intervals, in (0, 1).

    Returns:
        For each statistic one comparison of each pair.

    Raises:
        ValueError: If a statistic is another, or the results are of different findings or images.
    """
    pairs = itertools.product(statistics, itertools.combinations(results, 2))
    return adjusted([compare_published(*pair, statistic, confidence=confidence) for statistic, pair in pairs])


def _rates(result: PublishedResult, confidence: float) -> Rates:
    counts = (result.true_positives, result.false_negatives, result.false_positives, result.true_negatives)
    return rates_from_counts(*counts, confidence=confidence)


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
    both = [_rates(each, confidence) for each in (first, second)]
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
