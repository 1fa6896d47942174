"""Performance in groups of patients or images, and whether the groups differ by more than chance.

Which group each image belongs to, and by which columns every run is measured: see `group_columns`.

One patient imaged both PA and AP makes the two views depend on each other. Contributions are added up within patients,
for all groups at once, so their covariances are part of every test.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.group_columns import groups_of
from chexkeras.evaluation.group_estimates import variances_if_equal
from chexkeras.evaluation.scores import Scores
from chexkeras.evaluation.uncertainty.delong import AucContributions, auc_contributions, raised_covariance
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval
from chexkeras.evaluation.uncertainty.limits import holm, p_text
from chexkeras.plain import PlainTable
from chexkeras.results import Estimate, Interaction, OperatingPoint, Subgroup, SubgroupAnalysis
from chexkeras.results.evaluation import STATISTICS

MINIMUM = 10
"""Positives (for specificity: negatives) below which a group says too little to be estimated."""

_WORDS = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity"}


def subgroup_analysis(
    scores: pd.DataFrame,
    groups: pd.Series | pd.DataFrame,
    *,
    column: str | None = None,
    point: OperatingPoint | None = None,
    minimum: int = MINIMUM,
    confidence: float = 0.95,
) -> SubgroupAnalysis:
    """Measures one finding in each group of images and tests whether the groups differ.

    Intervals rest on patients. A group with fewer than `minimum` positives (negatives, for specificity; either, for
    AUROC) is not estimated. The tests of interaction leave such groups out:

    - AUROC: Welch's test on the groups' areas, with the covariance of all areas over patients; see `areas_differ`.
    - Sensitivity, specificity: score chi-square at the common proportion, Pearson's where images are independent. It
      stays valid where a group is at 0 or 1, as Wald's test does not; see `proportions_differ`.

    Args:
        scores: Long table of scores of one finding.
        groups: The group of each image: a series whose index is the image_id, or an image table with image_id and
            `column`. A missing value means unknown. Ages and other measures are cut into bands; see
            `group_columns.groups_of`.
        column: What the images are grouped by; by default the series' name.
        point: The frozen operating point; without it there is no sensitivity and no specificity.
        minimum: Smallest number of positives or negatives that is estimated, at least 2.
        confidence: Coverage of intervals, in (0, 1).

    Returns:
        The groups in their order, and one test per statistic, Holm-adjusted over these tests.

    Raises:
        ValueError: If the scores hold several findings, images of them are not in `groups`, no image has a known
            group, or the point decides another finding.

    Source:
        Obuchowski, Biometrics 53, 1997 (covariance of areas); Rao & Scott, Biometrics 48, 1992 (proportions of
        clustered images).
    """
    if column is None:
        column = str(groups.name) if isinstance(groups, pd.Series) and groups.name is not None else None
    if column is None:
        raise ValueError("column is missing; say what the images are grouped by, for example column='sex'.")
    table = groups.to_frame(column) if isinstance(groups, pd.Series) else groups
    return subgroup_analyses(scores, table, [column], point=point, minimum=minimum, confidence=confidence)[0]


@checked
def subgroup_analyses(
    scores: pd.DataFrame,
    table: pd.DataFrame,
    columns: Sequence[str],
    *,
    point: OperatingPoint | None = None,
    minimum: int = MINIMUM,
    confidence: float = 0.95,
) -> tuple[SubgroupAnalysis, ...]:
    """Measures one finding by several columns, with Holm's correction over all tests of interaction together.

    Args:
        scores: Long table of scores of one finding.
        table: Image table with image_id (as a column or as its index) and the columns.
        columns: What to group by, for example ("sex", "age_years", "view", "Effusion"); another finding's column
            groups by its label.
        point: The frozen operating point; without it there is no sensitivity and no specificity.
        minimum: Smallest number of positives or negatives that is estimated, at least 2.
        confidence: Coverage of intervals, in (0, 1).

    Returns:
        One analysis per column, in order.

    Raises:
        ValueError: If the scores hold several findings, a column or images of the scores are not in `table`, no image
            has a known group in a column, or the point decides another finding.
    """
    checks.probability(confidence, "confidence", open_interval=True)
    if checks.positive_int(minimum, "minimum") < 2:
        raise ValueError("minimum=1; a group needs at least 2 positives to be estimated, 10 is the usual bound.")
    checked = Scores.of(scores)
    findings = checked.findings
    if len(findings) > 1:
        raise ValueError(f"the scores hold {len(findings)} findings ({', '.join(findings)}); give one at a time.")
    if point is not None and point.finding != findings[0]:
        raise ValueError(f"the operating point decides {point.finding!r}, but these are scores of {findings[0]!r}.")
    known = checked.labelled()
    if isinstance(columns, str):
        columns = [columns]
    made = [_analyse(known, findings[0], table, column, point, minimum, confidence) for column in columns]
    corrected = iter(holm(test.p_value for analysis in made for test in analysis.interactions))
    adjusted = [tuple(replace(test, p_adjusted=next(corrected)) for test in each.interactions) for each in made]
    return tuple(replace(each, interactions=tests) for each, tests in zip(made, adjusted, strict=True))


def worst_group_sentence(analysis: SubgroupAnalysis, statistic: str = "sensitivity") -> str:
    """Returns one sentence on the group with the lowest estimate, and on whether groups differ by more than chance.

    Args:
        analysis: One column's groups.
        statistic: "auroc", "sensitivity" or "specificity".

    Raises:
        ValueError: If the statistic is another.
    """
    name = _WORDS[checks.one_of(statistic, STATISTICS, "statistic")]
    worst = analysis.worst(statistic)
    if worst is None:
        return f"By {analysis.column}, no group is large enough to estimate {name}."
    of = {"auroc": worst.n_images, "sensitivity": worst.n_positive, "specificity": worst.n_negative}[statistic]
    what = {"auroc": "images", "sensitivity": "positive images", "specificity": "negative images"}[statistic]
    sentence = f"By {analysis.column}, {name} is lowest for {worst.level}: {getattr(worst, statistic)}, {of:,} {what}"
    test = next(test for test in analysis.interactions if test.statistic == statistic)
    left_out = sum(not getattr(group, statistic).estimable for group in analysis.groups)
    omitted = f" {_groups(left_out)} too small to estimate." if left_out else ""
    if math.isnan(test.p_value):
        return f"{sentence}; no test between groups ({test.reason}).{omitted}"
    differ = "differ by" if test.p_adjusted < 1 - getattr(worst, statistic).confidence else "do not differ by"
    return f"{sentence}; groups {differ} more than chance (p = {p_text(test.p_adjusted)} after Holm).{omitted}".replace(
        "p = <", "p < "
    )


def _groups(count: int) -> str:
    return "1 group is" if count == 1 else f"{count} groups are"


@checked
def subgroup_table(analyses: Iterable[SubgroupAnalysis]) -> pd.DataFrame:
    """Returns the tests of interaction, one row for each column and statistic.

    Args:
        analyses: From `subgroup_analyses`.

    Returns:
        Columns column, statistic, groups compared, p, p (Holm), test, lowest in; groups too small are counted out.
    """
    rows = []
    for analysis in analyses:
        for test in analysis.interactions:
            compared = [group for group in analysis.groups if getattr(group, test.statistic).estimable]
            worst = analysis.worst(test.statistic)
            rows.append(
                {
                    "column": analysis.column,
                    "statistic": _WORDS[test.statistic],
                    "groups compared": len(compared),
                    "p": p_text(test.p_value),
                    "p (Holm)": p_text(test.p_adjusted),
                    "test": test.method or test.reason,
                    "lowest in": f"{worst.level}: {getattr(worst, test.statistic)}" if worst else "–",
                }
            )
    return PlainTable(rows)


def _analyse(
    known: Scores,
    finding: str,
    table: pd.DataFrame,
    column: str,
    point: OperatingPoint | None,
    minimum: int,
    confidence: float,
) -> SubgroupAnalysis:
    level = groups_of(table, column, known["image_id"], finding=finding)
    unknown = level.isna().to_numpy()
    grouped = known[~unknown]
    codes = level.cat.codes.to_numpy()[~unknown]
    positive, values, owners = grouped.arrays()
    names = owners.astype(str)
    patients = np.unique(names, return_inverse=True)[1]
    called = None if point is None else values >= point.threshold
    members = [codes == code for code in range(len(level.cat.categories))]
    groups = tuple(
        _measure(str(name), positive[rows], values[rows], names[rows], None if called is None else called[rows],
                 minimum, confidence)
        for name, rows in zip(level.cat.categories, members, strict=True)
    )  # fmt: skip
    tests = []
    for statistic in STATISTICS:
        kept = [rows for rows, group in zip(members, groups, strict=True) if getattr(group, statistic).estimable]
        if called is None and statistic != "auroc":
            test = untested(statistic, "no operating point was chosen")
        elif len(kept) < 2:
            test = untested(statistic, f"{_groups(len(kept))} large enough, at least 2 are needed")
        elif called is None or statistic == "auroc":
            test = areas_differ(positive, values, patients, kept)
        else:
            among = positive if statistic == "sensitivity" else ~positive
            test = proportions_differ(statistic, called == positive, patients, [rows & among for rows in kept])
        tests.append(test)
    return SubgroupAnalysis(column, groups, tuple(tests), int(unknown.sum()))


def _measure(
    level: str,
    positive: NDArray[np.bool_],
    values: NDArray[np.float64],
    names: NDArray[np.str_],
    called: NDArray[np.bool_] | None,
    minimum: int,
    confidence: float,
) -> Subgroup:
    n, n_positive = len(positive), int(positive.sum())

    def enough(which: str) -> Estimate | None:
        count = {"positives": n_positive, "negatives": n - n_positive}[which]
        if count >= minimum:
            return None
        said = which if count != 1 else which[:-1]
        reason = f"too few: {count or 'no'} {said}, at least {minimum} are needed"
        return Estimate.not_estimable(reason, n=n, confidence=confidence)

    def share(which: str) -> Estimate:
        if called is None:
            return Estimate.not_estimable("no operating point was chosen", n=n, confidence=confidence)
        among = positive if which == "positives" else ~positive
        right = (called == positive)[among]
        return enough(which) or clustered_proportion_interval(right, names[among], confidence=confidence)

    return Subgroup(
        level=level,
        n_images=n,
        n_patients=len(np.unique(names)),
        n_positive=n_positive,
        n_negative=n - n_positive,
        auroc=enough("positives")
        or enough("negatives")
        or auc_interval(positive, values, clusters=names, confidence=confidence),
        sensitivity=share("positives"),
        specificity=share("negatives"),
    )


def untested(statistic: str, reason: str) -> Interaction:
    """Returns the test of a statistic that cannot be made, with the reason."""
    return Interaction(statistic, math.nan, math.nan, reason=reason)


def areas_differ(
    positive: NDArray[np.bool_],
    values: NDArray[np.float64],
    patients: NDArray[np.int64],
    groups: Sequence[NDArray[np.bool_]],
) -> Interaction:
    """Returns Welch's test that groups have the same area under the ROC curve.

    The Wald statistic on the differences, with the covariance of all groups' areas over patients. The variance of a
    small group is itself uncertain, and among several groups there is always one where it is too small: it is drawn
    towards the variance that a group of its size has when images scatter as in all groups together, which counts as
    much as `_BORROWED` patients of its own. What uncertainty is left is allowed for as Welch does, with degrees of
    freedom from what each group's patients are worth.

    Args:
        positive: Shape (n,), clean labels.
        values: Shape (n,), scores.
        patients: Shape (n,), patient numbers 0, 1, ...
        groups: At least two masks of shape (n,), disjoint, each with both classes.

    Returns:
        The test; none where errors cannot be estimated.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988 (contrasts of areas); Obuchowski, Biometrics 53, 1997;
        Smyth, Statistical Applications in Genetics and Molecular Biology 3, 2004 (variances drawn towards a common
        one); Welch, Biometrika 38, 1951.
    """
    n_patients = int(patients.max()) + 1
    parts = [auc_contributions(positive[rows], values[rows], patients[rows], n_patients) for rows in groups]
    covariance = raised_covariance(parts)
    own, degrees = np.diag(covariance), np.array([part.satterthwaite for part in parts])
    # Without any scatter, as in a perfect ranking, a group knows nothing of its variance.
    known = np.where(own > 0, np.minimum(degrees, 1e6), 0.0)
    drawn = (known * own + _BORROWED * _variances_of_all(parts)) / (known + _BORROWED)
    method = f"Welch's test on {len(parts)} AUROCs, DeLong covariance over patients (Obuchowski 1997)"
    areas = np.array([part.area for part in parts])
    return _all_equal("auroc", areas, _with_variances(covariance, drawn), list(known + _BORROWED), method)


_BORROWED = 20
"""How many patients the variance of all groups together counts for in that of each; chosen by simulation."""


def _variances_of_all(parts: Sequence[AucContributions]) -> NDArray[np.float64]:
    """Returns the variances that groups of these sizes have when images scatter as in all groups together."""
    total = np.zeros(len(parts))
    for name in ("positives", "negatives"):
        variance, size, worth = (
            np.array([getattr(part, f"{kind}_{name}") for part in parts]) for kind in ("variance", "effective", "worth")
        )
        weight = np.maximum(worth - 1, 0.0)
        total += float(np.nansum(variance * size * weight) / max(weight.sum(), 1e-12)) / size
    return total


def proportions_differ(
    statistic: str, right: NDArray[np.bool_], patients: NDArray[np.int64], groups: Sequence[NDArray[np.bool_]]
) -> Interaction:
    """Returns the score chi-square test that groups have the same proportion.

    Every group's variance is that of the common proportion, times a design effect where patients have several images;
    with one image for each patient it is Pearson's chi-square. It stays valid where a group is at 0 or 1. The groups'
    own scatter, which other score tests use, is too small by chance in one of several small groups.

    Args:
        statistic: "sensitivity" or "specificity".
        right: Shape (n,), whether each image was called rightly.
        patients: Shape (n,), patient numbers 0, 1, ...
        groups: At least two masks of shape (n,), disjoint, not empty.

    Returns:
        The test; none where errors cannot be estimated.

    Source:
        Pearson, Philosophical Magazine 50, 1900; Rao & Scott, Biometrics 48, 1992 (design effects).
    """
    every, hits = np.logical_or.reduce(list(groups)), right.astype(np.float64)
    residual, n_patients = hits - hits[every].mean(), int(patients.max()) + 1
    # Each patient's residuals about the common proportion, in the units of each group's own proportion.
    residuals: NDArray[np.float64] = np.stack(
        [np.bincount(patients[rows], residual[rows] / rows.sum(), n_patients).astype(float) for rows in groups]
    )
    method = f"score chi-square on {len(groups)} groups"
    if len(np.unique(patients[every])) < every.sum():
        method += ", clustered by patient (Rao & Scott 1992)"
    shares = np.array([hits[rows].mean() for rows in groups])
    known = [math.inf] * len(shares)
    covariance = _with_variances(residuals @ residuals.T, variances_if_equal(hits, patients, groups))
    return _all_equal(statistic, shares, covariance, known, method)


def _with_variances(covariance: NDArray[np.float64], variances: ArrayLike) -> NDArray[np.float64]:
    """Returns the covariance with these variances and with correlations that are no larger for it.

    Where a variance was too small by chance, nothing is known of a larger covariance.
    """
    raised, own = np.array(variances, dtype=np.float64), np.diag(covariance)
    scale = np.sqrt(np.divide(np.minimum(raised, own), own, out=np.ones_like(raised), where=own > 0))
    changed = covariance * np.outer(scale, scale)
    np.fill_diagonal(changed, raised)
    return changed


def _of_differences(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    contrast = np.hstack([-np.ones((len(covariance) - 1, 1)), np.eye(len(covariance) - 1)])
    return contrast @ covariance @ contrast.T


def _all_equal(
    statistic: str,
    values: NDArray[np.float64],
    covariance: NDArray[np.float64],
    degrees: Sequence[float],
    method: str,
) -> Interaction:
    """Returns the test that all values are equal, from their covariance and each one's degrees of freedom."""
    from scipy import stats

    differences = values[1:] - values[0]
    if np.allclose(differences, 0, rtol=0, atol=1e-12):
        return Interaction(statistic, 1.0, 1.0, method + "; all groups are exactly equal")
    variances, of_differences = np.diag(covariance), _of_differences(covariance)
    # Correlations, so that neither the scale of a statistic nor the size of a group decides what counts as singular.
    scale = np.sqrt(np.diag(of_differences))
    if np.isnan(covariance).any() or not scale.all():
        return untested(statistic, "the error of a difference between groups cannot be estimated")
    correlation = of_differences / np.outer(scale, scale)
    if np.linalg.eigvalsh(correlation)[0] < 1e-9:
        return untested(statistic, "too few patients to estimate how the groups vary together")
    standardised = differences / scale
    chi2 = float(standardised @ np.linalg.solve(correlation, standardised))
    k = len(values)
    weights = 1 / variances
    spread = float(sum((1 - weight) ** 2 / d for weight, d in zip(weights / weights.sum(), degrees, strict=True)))
    if not spread:
        p_value = float(stats.chi2.sf(chi2, k - 1))
        return Interaction(statistic, p_value, p_value, method)
    ratio = chi2 / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * spread)
    below = (k**2 - 1) / (3 * spread)
    p_value = float(stats.f.sf(ratio, k - 1, below))
    return Interaction(statistic, p_value, p_value, f"{method}, F with {k - 1} and {below:.0f} degrees of freedom")
