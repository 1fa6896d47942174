"""Two sites, or two runs on different patients: differences with intervals and tests that need no pairs.

Where the same images were scored twice, `compare` is the right one: it uses that they are the same. Here nothing links
the two samples, so their errors add up. Each side's limits are those that are reported for it alone, and the limits of
the difference are made of them, so that few patients and values near 1 count as they do there.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.calibration.calibration import measure_calibration
from chexkeras.evaluation.comparison.compare import adjusted, margins_of, match_points
from chexkeras.evaluation.scores import LabelledImages, Points, Scores, patient_numbers
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval
from chexkeras.evaluation.uncertainty.limits import wilson
from chexkeras.evaluation.uncertainty.worth import Agreement, approximate, effective_size, kish
from chexkeras.results import Comparison, Estimate, OperatingPoint

NAMED = ("AUROC", "calibration slope", "calibration intercept")
"""Statistics of scores that `compare_unpaired` knows; sensitivity and specificity come with operating points."""

_LEAST_P = 1e-10


@checked
def compare_unpaired(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    names: Sequence[str] = ("first", "second"),
    points: Points | Mapping[str, Points] | None = None,
    statistics: Sequence[str] = ("AUROC",),
    margin: float | Mapping[str, float] | None = None,
    confidence: float = 0.95,
) -> tuple[Comparison, ...]:
    """Compares two sites, or two runs, whose patients are different ones, finding by finding.

    The limits of a difference are made of the limits of its two parts: the distances from value to limit are added as
    squares (MOVER; for two proportions with Wilson's limits this is Newcombe's method 10). AUROC: the limits of
    `auc_interval`. Sensitivity and specificity: Wilson's, at the effective sample sizes where patients have several
    images. Calibration slope and intercept: those of `measure_calibration`. The p-value is 1 minus the confidence at
    which the interval of the difference just ends at 0, so test and interval cannot disagree.

    A difference between sites is not one between models: the sites may differ in patients, prevalence, scanners and in
    how the labels were made. Findings that only one table has are left out.

    Args:
        first: Long table of scores (image_id, patient_id, finding, label, score) of the first site or run.
        second: Long table of scores (image_id, patient_id, finding, label, score) of the second, of other patients.
        names: What to call the two.
        points: Frozen operating points, at most one for each finding: the same for both, as where one model is used at
            two sites, or by name where each has its own. None leaves sensitivity and specificity out.
        statistics: Any of "AUROC", "calibration slope" and "calibration intercept".
        margin: How much worse the first may be and still count as not inferior, in the statistic's units, in (0, 1);
            state it before looking. One for all of AUROC, sensitivity and specificity, or by the statistic's name.
            None for no such question.
        confidence: Coverage of intervals, in (0, 1).

    Returns:
        One comparison for each finding and statistic, first minus second, p-values after Holm's correction over all of
        them. Of calibration the verdict says "different", since neither direction is better. Not estimable, with the
        reason, where one side is not.

    Raises:
        TypeError: If a table is not a pandas DataFrame.
        ValueError: If a patient is in both tables, no finding is common, a point decides a finding for one side only
            or was chosen on these very scores, a name or statistic is unknown, or an argument is out of range.

    Source:
        Newcombe, Statistics in Medicine 17, 1998 (873-890, method 10); Zou & Donner, Statistics in Medicine 27, 2008
        (any two estimates with limits); Korn & Graubard, Survey Methodology 24, 1998 (effective sample size); Holm,
        Scandinavian Journal of Statistics 6, 1979.

    Example:
        >>> here = pd.DataFrame({
        ...     "image_id": [f"a{k}" for k in range(80)], "patient_id": [f"a{k}" for k in range(80)],
        ...     "finding": "Edema", "label": [0, 1] * 40, "score": [k % 2 * 0.25 + k % 7 / 10 for k in range(80)]})
        >>> there = here.assign(image_id="b" + here["image_id"], patient_id="b" + here["patient_id"],
        ...                     score=here["label"] * 0.05 + here["score"].round(1) / 2)
        >>> print(compare_unpaired(here, there, names=("north", "south"))[0])
        Edema, AUROC: north is not distinguishable from south, difference -0.083 (95 % CI -0.211 to 0.041)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    if isinstance(names, str) or len(names) != 2 or names[0] == names[1]:
        raise ValueError(f'names={names!r}; two different names are expected, such as ("north", "south").')
    pair = (str(names[0]), str(names[1]))
    chosen = (statistics,) if isinstance(statistics, str) else tuple(statistics)
    for statistic in chosen:
        checks.one_of(statistic, NAMED, "statistic")
    if not chosen and points is None:
        raise ValueError('there is nothing to compare: give statistics such as ("AUROC",) or operating points.')
    margins = margins_of(margin, [name for name in chosen if name == "AUROC"], points is not None)
    tables = (Scores.of(first), Scores.of(second))
    refuse_shared_patients(dict(zip(pair, tables, strict=True)))
    common = [name for name in tables[0].findings if name in tables[1].findings]
    if not common:
        listed = [", ".join(table.findings) for table in tables]
        raise ValueError(f"no finding in common: {pair[0]} has {listed[0]} and {pair[1]} has {listed[1]}.")
    decided = {} if points is None else _frozen(points, tables, pair, common)
    made: list[Comparison] = []
    for finding in common:
        images = [table.of_finding(finding).arrays() for table in tables]
        sides = {name: [_of_scores(part, name, confidence) for part in images] for name in chosen}
        if finding in decided:
            each = list(zip(images, decided[finding], strict=True))
            for name in ("sensitivity", "specificity"):
                sides[name] = [_of_calls(part, name, point, confidence) for part, point in each]
        for name, both in sides.items():
            measured = _difference(pair, finding, name, both, confidence)
            made.append(replace(measured, margin=margins.get(name)))
    return tuple(_undirected(entry) for entry in adjusted(made))


def refuse_shared_patients(tables: Mapping[str, Scores]) -> None:
    """Refuses tables that have patients in common.

    Args:
        tables: Tables of scores, by the site's name.

    Raises:
        ValueError: If a patient id occurs in two of them.
    """
    owner: dict[str, str] = {}
    for name, table in tables.items():
        patients = table["patient_id"].unique()
        shared = [patient for patient in patients if patient in owner]
        if shared:
            other = owner[shared[0]]
            raise ValueError(
                f"{len(shared)} of the {len(patients)} patients of {name} are also in another table, first {shared[0]} "
                f"in {other}. Scores of the same images are compared in pairs: use compare. Where only the numbering "
                f"is the same, make the ids differ: patient_id = '{name}-' + patient_id."
            )
        owner |= dict.fromkeys(patients, name)


def added_as_squares(first: Estimate, second: Estimate) -> tuple[float, float]:
    """Returns the limits of a difference of two independent estimates, from the limits of each.

    Args:
        first: With its interval.
        second: With its interval, at the same confidence.

    Returns:
        Lower and upper limit of first minus second.

    Source:
        Newcombe, Statistics in Medicine 17, 1998 (873-890, method 10); Zou & Donner, Statistics in Medicine 27, 2008.

    Example:
        >>> low, high = added_as_squares(Estimate(0.8, 0.6916, 0.8777), Estimate(0.6, 0.4903, 0.7003))
        >>> round(low, 3), round(high, 3)
        (0.052, 0.334)
    """
    difference = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return difference - below, difference + above


class _Side(NamedTuple):
    """One side's statistic.

    Attributes:
        at: The value with its limits at any confidence, from which the difference is made.
        reported: The estimate that stands beside the difference.
        how: What the limits are, for the method.
        few: What its patients are worth where that is little; otherwise empty.
    """

    at: Callable[[float], Estimate]
    reported: Estimate
    how: str
    few: str


def _area(images: LabelledImages, confidence: float) -> _Side:
    owner = patient_numbers(images.patient, np.ones(len(images.positive), dtype=bool))

    def at(level: float) -> Estimate:
        return auc_interval(images.positive, images.score, clusters=owner, confidence=level)

    return _Side(at, at(confidence), "limits of each area (auc_interval)", _few(images.patient[images.positive]))


def _calibration(images: LabelledImages, confidence: float, which: str) -> _Side:
    def at(level: float) -> Estimate:
        # Slope and intercept need no replicates; those of the Brier score go unused.
        measured = measure_calibration(
            images.positive, images.score, clusters=images.patient, confidence=level, replicates=2, bins=1
        )
        return measured.slope if which == "slope" else measured.intercept

    few = _few(images.patient[images.positive])
    return _Side(at, at(confidence), f"limits of each {which} (logistic recalibration)", few)


def _of_scores(images: LabelledImages, statistic: str, confidence: float) -> _Side:
    if not len(images.positive):
        nothing = Estimate.not_estimable("no image has a known label", confidence=confidence)
        return _Side(lambda level: nothing, nothing, "", "")
    if statistic == "AUROC":
        return _area(images, confidence)
    return _calibration(images, confidence, statistic.removeprefix("calibration "))


def _of_calls(images: LabelledImages, statistic: str, point: OperatingPoint, confidence: float) -> _Side:
    called = images.score >= point.threshold
    positive = statistic == "sensitivity"
    rows, right = (images.positive, called) if positive else (~images.positive, ~called)
    hits, patients = right[rows].astype(np.float64), images.patient[rows]
    n, empty = len(hits), "no positives" if positive else "no negatives"
    if not n:
        nothing = Estimate.not_estimable(empty, confidence=confidence)
        return _Side(lambda level: nothing, nothing, "", "")
    owner, value = patient_numbers(patients, np.ones(n, dtype=bool)), float(hits.mean())
    agreement = Agreement.of(hits - value, np.arange(n) if owner is None else owner)

    def at(level: float) -> Estimate:
        size = float(n)
        if owner is not None:
            size = float(effective_size(agreement, level)) if 0 < value < 1 else agreement.worth
        return Estimate(value, *wilson(value * size, size, level), level, n)

    how = f"Newcombe 1998 method 10, Wilson limits of each {statistic}"
    how += "" if owner is None else " at the effective sample size"
    reported = clustered_proportion_interval(hits, patients, confidence=confidence, empty=empty)
    return _Side(at, reported, how, _few(patients))


def _few(patients: NDArray[np.object_]) -> str:
    if not len(patients):
        return ""
    worth = kish(np.unique(patients.astype(str), return_inverse=True)[1])
    return approximate(worth).rpartition(": ")[2]


def _difference(
    names: tuple[str, str], finding: str, statistic: str, sides: Sequence[_Side], confidence: float
) -> Comparison:
    values = [side.at(confidence) for side in sides]
    reported = (sides[0].reported, sides[1].reported)
    n = sum(entry.n for entry in values)
    lacking = [f"{name}: {entry.reason}" for name, entry in zip(names, values, strict=True) if not entry.estimable]
    if lacking:
        nothing = Estimate.not_estimable("; ".join(lacking), n=n, confidence=confidence)
        return Comparison.measured(names, finding, statistic, reported, nothing, math.nan)
    least, most = (-math.inf, math.inf) if statistic.startswith("calibration") else (-1.0, 1.0)
    low, high = added_as_squares(values[0], values[1])
    how = dict.fromkeys(side.how for side in sides)
    method = f"different patients: {'; '.join(how)}, distances added as squares; p-value by inverting the interval"
    few = [f"{name} {side.few}" for name, side in zip(names, sides, strict=True) if side.few]
    if few:
        method += f"; interval approximate: {', '.join(few)}"
    value = values[0].value - values[1].value
    difference = Estimate(value, max(least, low), min(most, high), confidence, n, method)
    p_value = _p_value(lambda level: added_as_squares(sides[0].at(level), sides[1].at(level)), value)
    return Comparison.measured(names, finding, statistic, reported, difference, p_value)


def _p_value(limits: Callable[[float], tuple[float, float]], value: float) -> float:
    """Returns 1 minus the confidence at which an interval just ends at 0."""
    from scipy import optimize

    if value == 0:
        return 1.0

    def beyond(log_p: float) -> float:
        low, high = limits(-math.expm1(log_p))
        end = low if value > 0 else -high
        # Few images may have no limits at a confidence near 1: an interval without an end leaves nothing out.
        return -1.0 if math.isnan(end) else end

    # Below a confidence of a ten-thousandth, ratios of quantiles lose their digits.
    most, least = math.log1p(-1e-4), math.log(_LEAST_P)
    if beyond(most) <= 0:
        return 1.0
    if beyond(least) >= 0:
        return _LEAST_P
    return math.exp(optimize.brentq(beyond, least, most, xtol=1e-7))


def _frozen(
    points: Points | Mapping[str, Points], tables: tuple[Scores, Scores], names: tuple[str, str], findings: list[str]
) -> dict[str, tuple[OperatingPoint, OperatingPoint]]:
    if isinstance(points, Mapping):
        return match_points(points, tables, names, findings)
    both = (points,) if isinstance(points, OperatingPoint) else tuple(points)
    return match_points((both, both), tables, names, findings)


def _undirected(entry: Comparison) -> Comparison:
    if entry.statistic.startswith("calibration") and entry.verdict in ("better", "worse"):
        return replace(entry, verdict="different")
    return entry
