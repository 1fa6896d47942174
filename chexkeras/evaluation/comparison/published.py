"""Published results rebuilt from their counts, with the intervals and the comparisons that the publication left out.

The pneumonia project (a course project on NIH ChestX-ray14 with a written FDA submission) reports rates at the
threshold 0.5 and AUCs of four experiments on 16,370 validation images. The rounded rates fit one set of whole counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from chexkeras import checks
from chexkeras.evaluation.hanley_mcneil import hanley_mcneil_error
from chexkeras.evaluation.rates import rates_from_counts
from chexkeras.evaluation.readers.reader_f1 import f1_at_prevalence
from chexkeras.evaluation.uncertainty.limits import logit_limits
from chexkeras.results import Estimate

CAUTION = "Published table; its counts are reconstructed from rounded rates, and images are taken as independent."
"""What must stand beside every number of this module."""


@dataclass(frozen=True)
class PublishedResult:
    """One published experiment: four counts and, where it is known, the AUC.

    Attributes:
        name: What the publication calls it.
        setting: What it tried.
        finding: The finding.
        true_positives: Count at the threshold, likewise the next three.
        false_negatives: Positive images not called.
        false_positives: Negative images called positive.
        true_negatives: Negative images not called.
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
    error = hanley_mcneil_error(result.auc, result.n_positive, result.n_negative)
    limits = logit_limits(result.auc, error, confidence)
    return Estimate(result.auc, *limits, confidence, n, f"as published, Hanley-McNeil 1982 error {error:.4f}, logit")


def printed_auc(result: PublishedResult) -> str:
    """Returns the area as published: a number, or the range it lies in."""
    return f"{result.auc:.4f}" if result.auc is not None else "{:.4f} to {:.4f}".format(*result.auc_range)


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
        found = rates_from_counts(
            result.true_positives, result.false_negatives, result.false_positives, result.true_negatives,
            confidence=confidence,
        )  # fmt: skip
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
    table = pd.DataFrame(rows)
    table.attrs["cautions"] = (CAUTION,)
    return table
