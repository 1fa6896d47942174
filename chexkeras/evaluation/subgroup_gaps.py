"""Gaps between groups: each group against the rest within a margin, best against worst, equalised odds.

A significant difference is not yet a large one, and groups that do not differ significantly may still differ by much.
Here every gap comes with an interval, so that a margin can be met or not. The gap between the best and the worst of
several groups is larger than 0 even where all are equal, because best and worst are picked after the fact; its interval
is therefore taken from intervals of all differences that hold together.

One patient imaged both PA and AP makes the two views depend on each other: what patients contribute to each value gives
the covariance of all values, see `group_estimates`.
"""

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.group_columns import groups_of
from chexkeras.evaluation.group_estimates import SetEstimates, joint, measure_areas, measure_shares
from chexkeras.evaluation.scores import Scores, points_by_finding
from chexkeras.evaluation.subgroups import MINIMUM
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval
from chexkeras.results import (
    EqualizedOdds,
    Estimate,
    GroupAgainstRest,
    GroupRates,
    GroupValue,
    OperatingPoint,
    SubgroupGaps,
    SubgroupNonInferiority,
)
from chexkeras.results.evaluation import STATISTICS


@checked
def subgroup_gaps(
    scores: pd.DataFrame,
    groups: pd.Series | pd.DataFrame,
    *,
    statistic: str = "auroc",
    column: str | None = None,
    point: OperatingPoint | None = None,
    minimum: int = MINIMUM,
    confidence: float = 0.95,
) -> SubgroupGaps:
    """Measures how far the groups of one column lie apart, with intervals that hold for all groups at once.

    Groups get simultaneous intervals (max-t). The gap between best and worst group, and the shortfall of the worst
    against all images, are the largest of several differences; their limits are the largest lower and the largest upper
    limit of simultaneous intervals of all these differences. They cover whichever groups are truly best and worst, also
    where all are equal; where groups differ much they are wider than needed.

    Args:
        scores: Long table of scores of one finding.
        groups: The group of each image: a series whose index is the image_id, or an image table with image_id and
            `column`. A missing value means unknown. Ages and other measures are cut into bands; see
            `group_columns.groups_of`.
        statistic: "auroc", "sensitivity" or "specificity".
        column: What the images are grouped by; by default the series' name.
        point: The frozen operating point, chosen on other scores; needed for sensitivity and specificity.
        minimum: Smallest number of positives (for specificity negatives, for AUROC of either) that a group needs to be
            estimated, at least 2.
        confidence: Coverage, in (0, 1): of all groups' intervals together, of the gap, and of the shortfall.

    Returns:
        The groups in their order and the gaps. Gaps are not estimable where fewer than two groups are large enough.

    Raises:
        ValueError: If the scores hold several findings, images of them are not in `groups`, no image has a known
            group, or the point is missing, decides another finding or was chosen on these very scores.

    Source:
        Hothorn, Bretz & Westfall, Biometrical Journal 50, 2008 (simultaneous intervals); Hsu, Multiple Comparisons,
        1996 (the best and the worst from simultaneous intervals); Zou & Donner, Statistics in Medicine 27, 2008 (limits
        of a difference).

    Example:
        >>> scores = pd.DataFrame({
        ...     "image_id": range(400), "patient_id": range(400), "finding": "Edema", "label": [0, 1] * 200,
        ...     "score": [(image * 37 % 100 + 40 * (image % 2)) / 140 for image in range(400)]})
        >>> sex = pd.Series(["F", "M", "M", "F"] * 100, index=range(400), name="sex")
        >>> print(subgroup_gaps(scores, sex).gap)
        0.024 (95 % CI 0.000-0.103)
    """
    checks.one_of(statistic, STATISTICS, "statistic")
    grouped = _group(scores, groups, column, point, statistic, minimum, confidence)
    reasons = grouped.too_small(statistic, minimum)
    levels = [level for level, reason in reasons.items() if not reason]
    values = {level: grouped.none(reason) for level, reason in reasons.items()}
    everything = np.ones(len(grouped.positive), dtype=bool)
    missing = grouped.why_not(statistic, everything, 1)
    best = worst = ""
    gap, by_chance = grouped.none(_too_few_groups(levels, statistic)), math.nan
    shortfall = gap
    if levels:
        masks, k = [grouped.masks[level] for level in levels], len(levels)
        rests = [~rows for rows in masks] if k > 1 else []
        estimates = grouped.measure(statistic, [*masks, *rests, everything])
        values |= dict(zip(levels, _simultaneous(estimates, range(k), confidence), strict=True))
        if k > 1:
            best, worst = levels[int(np.argmax(estimates.values[:k]))], levels[int(np.argmin(estimates.values[:k]))]
            (gap,), by_chance = _largest(estimates, [list(itertools.combinations(range(k), 2))], confidence)
            shortfall = _shortfall(estimates, k, statistic, confidence)
    return SubgroupGaps(
        grouped.finding, grouped.column, statistic,
        grouped.none(missing) if missing else grouped.alone(statistic, everything),
        tuple(GroupValue(level, *grouped.counts(level), values[level]) for level in reasons),
        best, worst, gap, by_chance, shortfall, grouped.n_unknown,
    )  # fmt: skip


@checked
def subgroups_non_inferior(
    scores: pd.DataFrame,
    groups: pd.Series | pd.DataFrame,
    *,
    margin: float,
    statistic: str = "auroc",
    column: str | None = None,
    point: OperatingPoint | None = None,
    minimum: int = MINIMUM,
    confidence: float = 0.95,
) -> SubgroupNonInferiority:
    """Says of every group whether it is at most a margin worse than the rest of the images.

    The margin is met where the interval of the difference lies above ``-margin``, not met where it lies below it, and
    otherwise not shown, which is neither good nor bad news but too few images.

    Args:
        scores: Long table of scores of one finding.
        groups: The group of each image: a series whose index is the image_id, or an image table with image_id and
            `column`. A missing value means unknown. Ages and other measures are cut into bands; see
            `group_columns.groups_of`.
        margin: How much worse than the rest a group may be, in the statistic's units, in (0, 1); state it before
            looking.
        statistic: "auroc", "sensitivity" or "specificity".
        column: What the images are grouped by; by default the series' name.
        point: The frozen operating point, chosen on other scores; needed for sensitivity and specificity.
        minimum: Smallest number of positives (for specificity negatives, for AUROC of either) that a group and its rest
            need to be estimated, at least 2.
        confidence: Two-sided coverage of each difference, in (0, 1). A verdict is one-sided at (1 + confidence) / 2,
            97.5 % by default.

    Returns:
        Each group against all other images whose group is known, those of groups too small to stand alone included.

    Raises:
        ValueError: If the scores hold several findings, images of them are not in `groups`, no image has a known
            group, the margin is out of range, or the point is missing, decides another finding or was chosen on these
            very scores.

    Source:
        FDA, Non-Inferiority Clinical Trials to Establish Effectiveness, 2016; Newcombe, Statistics in Medicine 17, 1998
        and Zou & Donner, Statistics in Medicine 27, 2008 (limits of a difference).
    """
    checks.probability(margin, "margin", open_interval=True)
    checks.one_of(statistic, STATISTICS, "statistic")
    grouped = _group(scores, groups, column, point, statistic, minimum, confidence)
    reasons = grouped.too_small(statistic, minimum)
    made = []
    for level, reason in reasons.items():
        rows = grouped.masks[level]
        missing = grouped.why_not(statistic, ~rows, minimum)
        value, rest = (
            grouped.none(why) if why else grouped.alone(statistic, members)
            for why, members in ((reason, rows), (missing, ~rows))
        )
        difference = grouped.none(reason or f"the rest: {missing}")
        if value.estimable and rest.estimable:
            estimates = grouped.measure(statistic, [rows, ~rows])
            limits, n = estimates.difference(0, 1, confidence), int(estimates.n_images.sum())
            difference = Estimate(*limits, confidence, n, _of_largest(1, confidence))
        n_images, _, n_positive, n_negative = grouped.counts(level)
        verdict = _verdict(difference, margin)
        made.append(GroupAgainstRest(level, n_images, n_positive, n_negative, value, rest, difference, verdict))
    return SubgroupNonInferiority(
        grouped.finding, grouped.column, statistic, margin, (1 + confidence) / 2, tuple(made), grouped.n_unknown
    )


@checked
def equalized_odds_gap(
    scores: pd.DataFrame,
    groups: pd.Series | pd.DataFrame,
    *,
    point: OperatingPoint,
    column: str | None = None,
    minimum: int = MINIMUM,
    confidence: float = 0.95,
) -> EqualizedOdds:
    """Measures how far a frozen threshold is from the same sensitivity and false-positive rate in all groups.

    The gap is the larger of two: the highest minus the lowest sensitivity, and the same of the false-positive rate. Its
    interval comes from simultaneous intervals of all differences between groups in either rate.

    Args:
        scores: Long table of scores of one finding.
        groups: The group of each image: a series whose index is the image_id, or an image table with image_id and
            `column`. A missing value means unknown. Ages and other measures are cut into bands; see
            `group_columns.groups_of`.
        point: The frozen operating point, chosen on other scores.
        column: What the images are grouped by; by default the series' name.
        minimum: Smallest number of positives, and of negatives, that a group needs to be estimated, at least 2. A group
            with enough of one class only counts in that class.
        confidence: Coverage of the three gaps together, and of all groups' rates together, in (0, 1).

    Returns:
        The rates of each group and the gaps; a gap is not estimable with fewer than two groups large enough.

    Raises:
        ValueError: If the scores hold several findings, images of them are not in `groups`, no image has a known
            group, or the point decides another finding or was chosen on these very scores.

    Source:
        Hardt, Price & Srebro, NeurIPS 2016 (equalised odds); Hothorn, Bretz & Westfall, Biometrical Journal 50, 2008.
    """
    grouped = _group(scores, groups, column, point, "sensitivity", minimum, confidence)
    sets: list[NDArray[np.bool_]] = []
    at: dict[str, dict[str, int]] = {}
    rates: dict[str, dict[str, Estimate]] = {}
    for statistic in ("sensitivity", "specificity"):
        reasons = grouped.too_small(statistic, minimum)
        rates[statistic] = {level: grouped.none(reason) for level, reason in reasons.items()}
        large = [level for level, reason in reasons.items() if not reason]
        at[statistic] = {level: len(sets) + number for number, level in enumerate(large)}
        sets += [grouped.of_class(statistic, grouped.masks[level]) for level in large]
    lacking = next(filter(None, (_too_few_groups(of_rate, rate) for rate, of_rate in at.items())), "")
    gaps, by_chance = [grouped.none(lacking)] * 3, math.nan
    if sets:
        kinds = [rate for rate, of_rate in at.items() for _ in of_rate]
        estimates = measure_shares(grouped.right, grouped.patients, sets, kinds)
        together = _simultaneous(estimates, range(len(sets)), confidence)
        for rate, of_rate in at.items():
            rates[rate] |= {level: together[number] for level, number in of_rate.items()}
        if not lacking:
            pairs = [list(itertools.combinations(of_rate.values(), 2)) for of_rate in at.values()]
            gaps, by_chance = _largest(estimates, [[*pairs[0], *pairs[1]], *pairs], confidence)
    made = []
    for level in grouped.masks:
        _, _, n_positive, n_negative = grouped.counts(level)
        false_alarms = _complement(rates["specificity"][level])
        made.append(GroupRates(level, n_positive, n_negative, rates["sensitivity"][level], false_alarms))
    return EqualizedOdds(
        grouped.finding, grouped.column, tuple(made), gaps[1], gaps[2], gaps[0], by_chance, grouped.n_unknown
    )


class _Grouped(NamedTuple):
    """The images of one finding whose label and group are known.

    Attributes:
        finding: The finding.
        column: What the images are grouped by.
        masks: For each group, in order, which images are in it, shape (n,).
        positive: Shape (n,), labels.
        scores: Shape (n,), probabilities.
        right: Shape (n,), whether each image was called rightly; all True without an operating point.
        patients: Shape (n,), patient numbers 0, 1, ...
        n_unknown: Images whose group is not known.
        confidence: Coverage of intervals.
    """

    finding: str
    column: str
    masks: dict[str, NDArray[np.bool_]]
    positive: NDArray[np.bool_]
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    patients: NDArray[np.int64]
    n_unknown: int
    confidence: float

    def counts(self, level: str) -> tuple[int, int, int, int]:
        """Returns images, patients, positives and negatives of a group."""
        rows = self.masks[level]
        n_positive = int(self.positive[rows].sum())
        return int(rows.sum()), len(np.unique(self.patients[rows])), n_positive, int(rows.sum()) - n_positive

    def none(self, reason: str) -> Estimate:
        """Returns the estimate that has no value."""
        return Estimate.not_estimable(reason, confidence=self.confidence)

    def of_class(self, statistic: str, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Returns which of these images a statistic is made of."""
        if statistic == "auroc":
            return rows
        return rows & (self.positive if statistic == "sensitivity" else ~self.positive)

    def why_not(self, statistic: str, rows: NDArray[np.bool_], minimum: int) -> str:
        """Returns why a statistic of these images would say too little; empty where it does not."""
        for kind, members, needed in (
            ("positives", self.positive, statistic != "specificity"),
            ("negatives", ~self.positive, statistic != "sensitivity"),
        ):
            count = int((rows & members).sum())
            if needed and count < minimum:
                said = kind if count != 1 else kind[:-1]
                return f"too few: {count or 'no'} {said}, at least {minimum} are needed"
            if needed and len(np.unique(self.patients[rows & members])) < 2:
                return f"all {count} {kind} come from one patient"
        return ""

    def too_small(self, statistic: str, minimum: int) -> dict[str, str]:
        """Returns for each group why it is left out, or an empty text."""
        return {level: self.why_not(statistic, rows, minimum) for level, rows in self.masks.items()}

    def alone(self, statistic: str, rows: NDArray[np.bool_]) -> Estimate:
        """Returns a statistic of these images with its usual interval."""
        rows = self.of_class(statistic, rows)
        owner = self.patients[rows]
        if statistic == "auroc":
            return auc_interval(self.positive[rows], self.scores[rows], clusters=owner, confidence=self.confidence)
        return clustered_proportion_interval(self.right[rows], owner, confidence=self.confidence)

    def measure(self, statistic: str, sets: Sequence[NDArray[np.bool_]]) -> SetEstimates:
        """Returns a statistic in several sets of images at once."""
        sets = [self.of_class(statistic, rows) for rows in sets]
        if statistic == "auroc":
            return measure_areas(self.positive, self.scores, self.patients, sets)
        return measure_shares(self.right, self.patients, sets)


def _group(
    scores: pd.DataFrame,
    groups: pd.Series | pd.DataFrame,
    column: str | None,
    point: OperatingPoint | None,
    statistic: str,
    minimum: int,
    confidence: float,
) -> _Grouped:
    """Checks what was given and brings images and groups together."""
    checks.probability(confidence, "confidence", open_interval=True)
    if checks.positive_int(minimum, "minimum") < 2:
        raise ValueError("minimum=1; a group needs at least 2 positives to be estimated, 10 is the usual bound.")
    if not isinstance(groups, pd.Series | pd.DataFrame):
        raise TypeError(f"groups is a {type(groups).__name__}; a pandas Series or an image table was expected.")
    if column is None and isinstance(groups, pd.Series) and groups.name is not None:
        column = str(groups.name)
    if column is None:
        raise ValueError("column is missing; say what the images are grouped by, for example column='sex'.")
    checked = Scores.of(scores)
    if len(checked.findings) > 1:
        names = ", ".join(checked.findings)
        raise ValueError(f"the scores hold {len(checked.findings)} findings ({names}); give one at a time.")
    (finding,) = checked.findings
    if point is None and statistic != "auroc":
        raise ValueError(f"statistic={statistic!r} needs point=..., the frozen operating point of {finding}.")
    if point is not None:
        if point.finding != finding:
            raise ValueError(f"the operating point decides {point.finding!r}, but these are scores of {finding!r}.")
        points_by_finding(point, checked, "gaps between groups of them", "measure gaps on another split")
    known = checked.labelled()
    table = groups.to_frame(column) if isinstance(groups, pd.Series) else groups
    level = groups_of(table, column, known["image_id"], finding=finding)
    unknown = level.isna().to_numpy()
    codes = level.cat.codes.to_numpy()[~unknown]
    positive, values, owners = known[~unknown].arrays()
    right = np.ones(len(values), dtype=bool) if point is None else (values >= point.threshold) == positive
    return _Grouped(
        finding, column, {str(name): codes == code for code, name in enumerate(level.cat.categories)},
        positive, values, right, np.unique(owners.astype(str), return_inverse=True)[1].astype(np.int64),
        int(unknown.sum()), confidence,
    )  # fmt: skip


def _too_few_groups(levels: Collection[str], statistic: str) -> str:
    """Returns why there is no gap between these groups; empty where there is one."""
    count = "1 group is" if len(levels) == 1 else f"{len(levels)} groups are"
    return "" if len(levels) > 1 else f"{count} large enough to estimate {statistic}, at least 2 are needed"


def _simultaneous(estimates: SetEstimates, sets: Sequence[int], confidence: float) -> list[Estimate]:
    """Returns the values of some sets with intervals that all cover at once as often as asked."""
    each = joint(estimates, np.eye(len(estimates.values))[list(sets)], confidence).confidence
    return [
        Estimate(
            float(estimates.values[number]), *estimates.limits[number](each), confidence,
            int(estimates.n_images[number]),
            f"{estimates.methods[number]}; simultaneous, each of {len(sets)} at {100 * each:.2f} %",
        )
        for number in sets
    ]  # fmt: skip


def _largest(
    estimates: SetEstimates, families: Sequence[Sequence[tuple[int, int]]], confidence: float
) -> tuple[list[Estimate], float]:
    """Returns the largest difference within each family of pairs of sets, and how large the first one's is by chance.

    The first family holds all pairs; what is simultaneous over it is so within all others.
    """
    every = families[0]
    contrasts = np.zeros((len(every), len(estimates.values)))
    for row, (one, other) in enumerate(every):
        contrasts[row, one], contrasts[row, other] = 1, -1
    each = joint(estimates, contrasts, confidence)
    differences = {(one, other): estimates.difference(one, other, each.confidence) for one, other in every}
    method = _of_largest(len(every), each.confidence)
    made = []
    for pairs in families:
        limits = [differences[pair] for pair in pairs]
        low = max(0.0, *(max(low, -high) for _, low, high in limits))
        high = max(max(abs(low), abs(high)) for _, low, high in limits)
        value = max(abs(difference) for difference, _, _ in limits)
        sets = sorted({number for pair in pairs for number in pair})
        n = int(estimates.n_images[sets].sum())
        made.append(Estimate(value, low, high, confidence, n, method))
    return made, each.by_chance


def _shortfall(estimates: SetEstimates, k: int, statistic: str, confidence: float) -> Estimate:
    """Returns the value of all images minus that of the worst of k groups.

    All images hold the group itself, and limits of a difference are poor where two sets overlap much. So those of the
    rest minus the group are brought to scale: for shares the difference from all images is that from the rest times
    the share of the rest; for areas the scale is the ratio of the standard errors.

    Args:
        estimates: Of k groups, of the k rests, and of all images.
        k: How many groups.
        statistic: "auroc", "sensitivity" or "specificity".
        confidence: Coverage, in (0, 1).
    """
    from_rest = np.hstack([-np.eye(k), np.eye(k), np.zeros((k, 1))])
    from_all = np.hstack([-np.eye(k), np.zeros((k, k)), np.ones((k, 1))])
    each = joint(estimates, from_rest, confidence).confidence
    limits = []
    for group in range(k):
        rest, low, high = estimates.difference(k + group, group, each)
        scale = float(estimates.n_images[k + group] / estimates.n_images[-1])
        of_rest, of_all = (float(row[group] @ estimates.covariance @ row[group]) for row in (from_rest, from_all))
        if statistic == "auroc" and min(of_rest, of_all) > 0:
            scale = math.sqrt(of_all / of_rest)
        difference = float(estimates.values[-1] - estimates.values[group])
        limits.append((difference, difference - scale * (rest - low), difference + scale * (high - rest)))
    value, low, high = (max(limit) for limit in zip(*limits, strict=True))
    return Estimate(value, low, high, confidence, int(estimates.n_images[-1]), _of_largest(k, each))


def _of_largest(count: int, each: float) -> str:
    if count == 1:
        return "limits of the two values combined (Zou & Donner 2008)"
    return f"largest of {count} differences, from simultaneous intervals of all, each at {100 * each:.2f} %"


def _verdict(difference: Estimate, margin: float) -> str:
    if not difference.estimable:
        return "not estimable"
    if difference.low > -margin:
        return "met"
    return "not met" if difference.high < -margin else "not shown"


def _complement(share: Estimate) -> Estimate:
    if not share.estimable:
        return share
    return replace(share, value=1 - share.value, low=1 - share.high, high=1 - share.low)
