"""Whether two models can be told apart on the same images: differences with intervals, tests, verdicts in words.

Choose the better model on validation only. On the test part a comparison says how sure the difference is; taking the
winner from it and quoting its test result would flatter it. Two models' scores are first brought together: the same
images, patients and labels, each model with its own threshold.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.comparison.paired_tests import auroc_difference, bootstrap_difference, paired_proportions
from chexkeras.evaluation.scores import Points, Scores, points_by_finding
from chexkeras.evaluation.uncertainty.bootstrap import bootstrap_interval
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval
from chexkeras.evaluation.uncertainty.limits import holm, p_text
from chexkeras.evaluation.uncertainty.resampling import Statistic
from chexkeras.evaluation.uncertainty.worth import too_few
from chexkeras.plain import PlainTable
from chexkeras.results import Comparison, Estimate, OperatingPoint

NAMED = ("AUROC", "average precision")
"""Statistics that `compare` knows by name; any other is given as a function."""


@checked
def compare(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    names: Sequence[str] = ("first", "second"),
    points: Mapping[str, Points] | Sequence[Points] | None = None,
    statistics: Sequence[str | Statistic] = ("AUROC",),
    margin: float | Mapping[str, float] | None = None,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Compares two models on the same images, finding by finding.

    AUROC: paired DeLong test with Obuchowski's clustered covariance. Average precision and functions: bootstrap of
    whole patients, both models on the same draws. With operating points also sensitivity and specificity, each model
    at its own frozen threshold: McNemar's exact test, or that of patients' signs for several images of a patient. A
    difference of rates is not estimable where the patients are worth fewer than 5 (`worth.FEWEST`).

    Intervals are those of each comparison alone. The verdict rests on the p-value after Holm's correction over
    everything compared in this call, so it is the more cautious: "better" and "worse" mean that the interval excludes
    0, but an interval that excludes 0 may come with "not distinguishable". Findings that only one table has are left
    out.

    Args:
        first: Long table of scores (image_id, patient_id, finding, label, score).
        second: Long table of scores of the same images with the same labels, rows in any order.
        names: What to call the two.
        points: Frozen operating points, by name or as a sequence of two; for each model one point or several, at most
            one for each finding.
        statistics: "AUROC", "average precision", or functions of (labels, scores) named by their ``__name__``.
        margin: How much worse the first may be and still count as not inferior, in the statistic's units, in (0, 1);
            state it before looking. One for all statistics, or by the statistic's name. Non-inferiority is shown when
            the lower limit of the two-sided interval of the difference lies above ``-margin``: a one-sided test at
            (1 - confidence) / 2, 2.5 % by default. It is not corrected for several comparisons.
        confidence: Coverage of intervals, in (0, 1).
        replicates: Bootstrap replicates.
        seed: Of the bootstrap.

    Returns:
        One comparison for each finding and statistic, first minus second.

    Raises:
        TypeError: If a statistic is neither a name nor a function with a name.
        ValueError: If image ids, patients or labels differ, no finding is common, a point decides a finding for one
            model only or was chosen on these very scores, or an argument is out of range.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988; Obuchowski, Biometrics 53, 1997; Holm, Scandinavian
        Journal of Statistics 6, 1979; FDA, Non-Inferiority Clinical Trials to Establish Effectiveness, 2016.

    Example:
        >>> good = pd.DataFrame({
        ...     "image_id": list("abcdefgh"), "patient_id": list("abcdefgh"), "finding": "Edema",
        ...     "label": [1, 1, 1, 1, 0, 0, 0, 0], "score": [0.9, 0.8, 0.7, 0.3, 0.6, 0.2, 0.1, 0.1]})
        >>> print(compare(good, good.assign(score=good["score"].to_numpy()[::-1]), names=("it", "its mirror"))[0])
        Edema, AUROC: it is better than its mirror, difference 0.875 (95 % CI 0.442-1.000; approximate: worth 4 images)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    checks.positive_int(replicates, "replicates")
    if isinstance(names, str) or len(names) != 2 or names[0] == names[1]:
        raise ValueError(f'names={names!r}; two different names are expected, such as ("2A", "2B").')
    pair = (str(names[0]), str(names[1]))
    chosen = {_named(each): each for each in ((statistics,) if isinstance(statistics, str) else statistics)}
    if not chosen and points is None:
        raise ValueError('there is nothing to compare: give statistics such as ("AUROC",) or operating points.')
    margins = margins_of(margin, list(chosen), points is not None)
    tables = (Scores.of(first), Scores.of(second))
    matched = match_scores(*tables, pair)
    decided = {} if points is None else match_points(points, tables, pair, matched)
    made: list[Comparison] = []
    for finding, rows in matched.items():
        parts = {name: _by_score(each, rows, confidence, replicates, seed) for name, each in chosen.items()}
        if finding in decided:
            parts |= _by_calls(rows, decided[finding], confidence)
        for statistic, part in parts.items():
            made.append(Comparison.measured(pair, finding, statistic, *part, margin=margins.get(statistic)))
    return adjusted(made)


@checked
def compare_all(
    tables: Mapping[str, pd.DataFrame],
    *,
    points: Mapping[str, Points] | None = None,
    statistics: Sequence[str | Statistic] = ("AUROC",),
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Compares every pair of several models, with Holm's correction over all pairs, findings and statistics together.

    Args:
        tables: Long tables of scores of the same images, by the model's name; at least two.
        points: Frozen operating points by the model's name; for each model one point or several, at most one for each
            finding.
        statistics: "AUROC", "average precision", or functions of (labels, scores) named by their ``__name__``.
        confidence: Coverage of intervals, in (0, 1).
        replicates: Bootstrap replicates.
        seed: Of the bootstrap.

    Returns:
        One comparison for each pair in the order of `tables`, each finding and each statistic.

    Raises:
        TypeError: If a statistic is neither a name nor a function with a name.
        ValueError: If there are fewer than two tables; image ids, patients or labels differ, no finding is common, a
            point decides a finding for one model only or was chosen on these very scores, or an argument is out of
            range.
    """
    if len(tables) < 2:
        raise ValueError(f"tables holds {len(tables)} model(s); at least two are needed for a comparison.")
    made: list[Comparison] = []
    for one, other in itertools.combinations(tables, 2):
        theirs = None if points is None else {name: points[name] for name in (one, other) if name in points}
        made += compare(
            tables[one], tables[other], names=(one, other), points=theirs, statistics=statistics,
            confidence=confidence, replicates=replicates, seed=seed,
        )  # fmt: skip
    return adjusted(made)


@checked
def comparison_table(comparisons: Iterable[Comparison]) -> pd.DataFrame:
    """Returns one row for each comparison, numbers with their intervals as text.

    Args:
        comparisons: From `compare` or `compare_all`.

    Returns:
        Columns finding, statistic, first, its value, second, its value, difference, p, p (Holm), verdict (of the
        first), method, and non-inferior where a margin was stated.
    """
    words = {None: "", True: "shown", False: "not shown"}
    rows = [
        {
            "finding": entry.finding,
            "statistic": entry.statistic,
            "first": entry.first,
            "value of the first": str(entry.first_value),
            "second": entry.second,
            "value of the second": str(entry.second_value),
            "difference": str(entry.difference),
            "p": p_text(entry.p_value),
            "p (Holm)": p_text(entry.p_adjusted),
            "verdict": entry.verdict,
            "non-inferior": words[entry.non_inferior] + (f" within {entry.margin:g}" if entry.margin else ""),
            "method": entry.method,
        }
        for entry in comparisons
    ]
    table = PlainTable(rows)
    return table.drop(columns="non-inferior") if len(table) and not table["non-inferior"].any() else table


def match_scores(first: Scores, second: Scores, names: tuple[str, str]) -> dict[str, pd.DataFrame]:
    """Returns the scores of two models side by side, for each finding that both have.

    Args:
        first: Scores of the first model.
        second: Scores of the second model, rows in any order.
        names: What to call the two in messages.

    Returns:
        For each finding a table with patient_id, label (1 or 0), first and second, in the order of image ids; images
        whose label is unknown in both are left out.

    Raises:
        ValueError: If no finding is common, or images, patients or labels differ; a label known to one table only
            differs.
    """
    parts = [table.by_finding() for table in (first, second)]
    common = [name for name in parts[0] if name in parts[1]]
    if not common:
        raise ValueError(
            f"no finding in common: {names[0]} has {', '.join(parts[0])} and {names[1]} has {', '.join(parts[1])}."
        )
    return {finding: _side_by_side(finding, parts[0][finding], parts[1][finding], names) for finding in common}


def _side_by_side(finding: str, first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    one, other = first.set_index("image_id"), second.set_index("image_id")
    for name, mine, theirs in ((names[0], one, other), (names[1], other, one)):
        lacking = theirs.index.difference(mine.index).tolist()
        if len(lacking):
            raise ValueError(
                f"{finding}: {name} lacks {len(lacking)} of the {len(theirs)} images of the other, first "
                f"{lacking[0]}; only scores of the same images can be compared."
            )
    # By image id, so that the order of rows in the tables cannot matter to any draw.
    one = one.sort_index()
    other = other.loc[one.index]
    moved = np.flatnonzero(one["patient_id"] != other["patient_id"])
    if len(moved):
        raise ValueError(
            f"{finding}: {len(moved)} image(s) belong to different patients in {names[0]} and {names[1]}, first "
            f"{one.index.tolist()[moved[0]]}; fix patient_id."
        )
    labels = one["label"].to_numpy(float), other["label"].to_numpy(float)
    differing = np.flatnonzero(~np.isclose(*labels, rtol=0, atol=0, equal_nan=True))
    if len(differing):
        image, known = one.index.tolist()[differing[0]], [each[differing[0]] for each in labels]
        raise ValueError(
            f"{finding}: labels differ on {len(differing)} of {len(one)} images, first {image} ({names[0]} "
            f"{known[0]:g}, {names[1]} {known[1]:g}); models are compared against the same labels only."
        )
    rows = one[["patient_id", "label"]].assign(first=one["score"], second=other["score"])
    return rows[rows["label"].notna()]


def match_points(
    points: Mapping[str, Points] | Sequence[Points],
    tables: tuple[Scores, Scores],
    names: tuple[str, str],
    findings: Iterable[str],
) -> dict[str, tuple[OperatingPoint, OperatingPoint]]:
    """Returns the frozen thresholds of two models, for each finding that they decide.

    Args:
        points: By the model's name, or a sequence of two.
        tables: The scores they will be applied to, of the first and of the second model.
        names: The two models.
        findings: Those that both models have scored.

    Returns:
        For each finding the point of the first and of the second.

    Raises:
        ValueError: If a model has none, or several for one finding; a finding is decided or scored for one model
            only; or a point was chosen on these very scores.
    """
    if isinstance(points, Mapping):
        if set(points) != set(names):
            raise ValueError(f"points are given for {', '.join(points) or 'nobody'}, expected for {', '.join(names)}.")
        given = [points[name] for name in names]
    elif isinstance(points, OperatingPoint) or len(points) != 2:
        raise ValueError("points must hold two entries, the operating points of the first and of the second.")
    else:
        given = list(points)
    frozen = [
        points_by_finding(of_model, table, "comparing on them", "compare on another split", model=name)
        for of_model, table, name in zip(given, tables, names, strict=True)
    ]
    lone = set(frozen[0]).symmetric_difference(frozen[1]) | (set(frozen[0]) - set(findings))
    if lone:
        raise ValueError(
            f"{', '.join(sorted(lone))}: an operating point of both models and scores of both are needed; leave out "
            "the findings that only one of them decides."
        )
    return {finding: (frozen[0][finding], frozen[1][finding]) for finding in frozen[0]}


def judge(comparison: Comparison) -> Comparison:
    """Returns a comparison with the verdict, and the word on non-inferiority, that its numbers bear out.

    "better" and "worse" need both an adjusted p-value below 1 - confidence and an interval on that side of 0.
    """
    difference = comparison.difference
    words = "not distinguishable"
    if not difference.estimable or math.isnan(comparison.p_adjusted):
        words = "not estimable"
    elif comparison.p_adjusted < 1 - difference.confidence and (difference.low > 0 or difference.high < 0):
        words = "better" if difference.low > 0 else "worse"
    margin = comparison.margin
    # A difference that cannot be estimated has NaN limits, so nothing is shown.
    return replace(comparison, verdict=words, non_inferior=None if margin is None else bool(difference.low > -margin))


def adjusted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Returns comparisons made together with Holm's correction over them, and judged by it.

    Args:
        comparisons: With their own p-values; earlier corrections are replaced.

    Returns:
        The comparisons in order, with adjusted p-values and verdicts.
    """
    corrected = holm(entry.p_value for entry in comparisons)
    return tuple(
        judge(replace(entry, p_adjusted=p_value)) for entry, p_value in zip(comparisons, corrected, strict=True)
    )


def _named(statistic: str | Statistic) -> str:
    if isinstance(statistic, str):
        return checks.one_of(statistic, NAMED, "statistic")
    name = getattr(statistic, "__name__", "<lambda>")
    if not callable(statistic) or name == "<lambda>":
        raise TypeError(f"statistic={statistic!r}; one of {', '.join(NAMED)} or a function with a name was expected.")
    return name.strip("_").replace("_", " ")


def margins_of(margin: float | Mapping[str, float] | None, names: list[str], with_points: bool) -> dict[str, float]:
    """Returns the margin of non-inferiority of each statistic that has one.

    Args:
        margin: One for all statistics, or by their names, each in (0, 1); None for none.
        names: The statistics compared, besides sensitivity and specificity.
        with_points: Whether sensitivity and specificity are compared too.

    Raises:
        ValueError: If a statistic is not compared, or a margin is out of range.
    """
    known = names + (["sensitivity", "specificity"] if with_points else [])
    if margin is None:
        return {}
    given = dict(margin) if isinstance(margin, Mapping) else dict.fromkeys(known, margin)
    return {
        checks.one_of(name, known, "margin for"): checks.probability(value, "margin", open_interval=True)
        for name, value in given.items()
    }


_Part = tuple[tuple[Estimate, Estimate], Estimate, float]
"""Both values, their difference, its p-value."""


def _by_score(statistic: str | Statistic, rows: pd.DataFrame, confidence: float, replicates: int, seed: int) -> _Part:
    labels, patients = rows["label"].to_numpy(), rows["patient_id"].to_numpy()
    first, second = rows["first"].to_numpy(), rows["second"].to_numpy()
    if not len(rows):
        nothing = Estimate.not_estimable("no image has a known label", confidence=confidence)
        return (nothing, nothing), nothing, math.nan
    if statistic == "AUROC":
        one, other = (
            auc_interval(labels, scores, clusters=patients, confidence=confidence) for scores in (first, second)
        )
        return (one, other), *auroc_difference(labels, first, second, clusters=patients, confidence=confidence)
    measured = statistic.replace(" ", "_") if isinstance(statistic, str) else statistic
    how: dict[str, Any] = {
        "clusters": patients, "confidence": confidence, "replicates": replicates, "seed": seed
    }  # fmt: skip
    one, other = (bootstrap_interval(measured, labels, scores, **how) for scores in (first, second))
    return (one, other), *bootstrap_difference(measured, labels, first, second, **how)


def _by_calls(rows: pd.DataFrame, points: tuple[OperatingPoint, OperatingPoint], confidence: float) -> dict[str, _Part]:
    positive, patients = rows["label"].to_numpy() == 1, rows["patient_id"].to_numpy()
    called = [rows[side].to_numpy() >= point.threshold for side, point in zip(("first", "second"), points, strict=True)]
    parts = {}
    for name, among, right, empty in (
        ("sensitivity", positive, called, "no positives"),
        ("specificity", ~positive, [~calls for calls in called], "no negatives"),
    ):
        owners, first, second = patients[among], right[0][among], right[1][among]
        one, other = (
            clustered_proportion_interval(right, owners, confidence=confidence, empty=empty).unless_it_spans(0, 1)
            for right in (first, second)
        )
        difference, p_value = paired_proportions(first, second, clusters=owners, confidence=confidence)
        why = too_few(np.unique(owners, return_inverse=True)[1])
        if why and difference.estimable:
            difference, p_value = Estimate.not_estimable(why, n=difference.n, confidence=confidence), math.nan
        parts[name] = ((one, other), difference, p_value)
    return parts
