"""Facts on groups of patients and images: what was measured in each, and whether groups differ by more than chance."""

import math
import re
from dataclasses import replace
from typing import Any

import pandas as pd

from chexkeras.data.image_table import finding_columns, source_of
from chexkeras.evaluation.group_columns import USUAL_COLUMNS, any_known, column_words, columns_to_measure
from chexkeras.evaluation.subgroups import subgroup_analysis, worst_group_sentence
from chexkeras.report.facts.facts import Facts, estimate_text
from chexkeras.report.facts.run_reader import Documents
from chexkeras.results import Estimate, Subgroup, SubgroupAnalysis
from chexkeras.results.evaluation import STATISTICS

_FILE = "evaluation.json"
OTHERS = "other findings"
"""The column of images with and without another finding."""


def _kept(group: Subgroup, fewest: int) -> Subgroup:
    short = {
        "auroc": min((group.n_positive, "positive"), (group.n_negative, "negative")),
        "sensitivity": (group.n_positive, "positive"),
        "specificity": (group.n_negative, "negative"),
    }
    kept = {}
    for name, (count, word) in short.items():
        measured = getattr(group, name)
        # Why a larger group has no number is for the evaluation to say.
        if count < fewest:
            reason = f"too few: {count} {word}"
            measured = Estimate.not_estimable(reason, n=count, confidence=measured.confidence)
        kept[name] = measured
    return replace(group, **kept)


def with_minimum(analysis: SubgroupAnalysis, fewest: int) -> SubgroupAnalysis:
    """Returns an analysis without empty groups, and without the estimates of those that the report calls too few.

    Args:
        analysis: As it was evaluated, perhaps with a smaller minimum.
        fewest: Positive images (negative ones, for the specificity) that a group must have.
    """
    return replace(analysis, groups=tuple(_kept(group, fewest) for group in analysis.groups if group.n_images))


def _add_group(facts: Facts, key: str, file: str, at: str, group: Subgroup, words: str) -> None:
    facts.add(f"{key}.level", group.level, words, file=file, field=f"{at}.level")
    for name in ("n_images", "n_patients", "n_positive", "n_negative"):
        facts.add(f"{key}.{name}", getattr(group, name), file=file, field=f"{at}.{name}")
    for name in STATISTICS:
        estimate = getattr(group, name)
        text = None if estimate.estimable or not estimate.reason.startswith("too few") else estimate.reason
        facts.add(f"{key}.{name}", estimate, text, file=file, field=f"{at}.{name}, with the report's minimum")


def _add_tests(facts: Facts, analysis: SubgroupAnalysis, key: str, file: str, at: str) -> None:
    from chexkeras.evaluation.uncertainty.limits import p_text

    for number, test in enumerate(analysis.interactions):
        where = f"{at}.interactions[{number}]"
        for name in ("p_value", "p_adjusted"):
            p_value = getattr(test, name)
            text = f"no test ({test.reason})" if math.isnan(p_value) else p_text(p_value)
            facts.add(f"{key}.{test.statistic}.{name}", p_value, text, file=file, field=f"{where}.{name}")


def group_sentence(analysis: SubgroupAnalysis, statistic: str) -> str:
    """Returns a sentence on the group with the lowest estimate; on the only one where the others are too small.

    Args:
        analysis: As the report shows it.
        statistic: "auroc", "sensitivity" or "specificity".
    """
    words = column_words(analysis.column).words
    estimated = tuple(
        replace(group, level=column_words(analysis.column).level(group.level))
        for group in analysis.groups
        if getattr(group, statistic).estimable
    )
    name = statistic.replace("auroc", "AUROC")
    small = len(analysis.groups) - len(estimated)
    if len(analysis.groups) == 1:
        level = column_words(analysis.column).level(analysis.groups[0].level)
        return f"By {words}, all images are in the group {level}; there is nothing to compare its {name} with."
    if len(estimated) == 1:
        (only,) = estimated
        needed = {"auroc": "images of both classes", "sensitivity": "positive images", "specificity": "negative images"}
        return (
            f"By {words}, only the group {only.level} has enough {needed[statistic]} to estimate "
            f"its {name}: {estimate_text(getattr(only, statistic))}. Groups cannot be compared."
        )
    shown = replace(analysis, groups=estimated)
    # Intervals with the dash of all the others in the report.
    sentence = re.sub(r"(CI \d\.\d+)-", r"\1–", worst_group_sentence(shown, statistic))
    sentence = sentence.replace(f"By {analysis.column},", f"By {words},", 1)
    if not estimated or not small:
        return sentence
    return f"{sentence} {f'{small} groups are' if small > 1 else 'One group is'} too small to estimate."


def by_other_findings(run: Any, finding: str, confidence: float, fewest: int) -> SubgroupAnalysis | None:
    """Returns performance on images that show another finding and on those that show none.

    Args:
        run: A `Run`.
        finding: The finding measured.
        confidence: Of the intervals.
        fewest: Groups with fewer positive images (negative ones, for the specificity) are called too few.

    Returns:
        The analysis; None where the table has no other finding, or the images are all of one kind.
    """
    scores = run.scores("test")
    rows = scores[(scores["finding"] == finding) & scores["label"].notna()]
    table = run.table.set_index("image_id")
    others = [name for name in finding_columns(run.table) if name != finding]
    table = table.loc[table.index.isin(rows["image_id"]), others]
    shown = (table == 1).any(axis=1)
    # An image without another finding, but with one that is not known, may be of either kind.
    groups = shown.map({True: "at least one", False: "none"}).where(shown | table.notna().all(axis=1))
    if not others or groups.nunique() < 2 or not rows["image_id"].isin(groups.index).all():
        return None
    point = next((point for point in run.operating_points if point.finding == finding), None)
    return subgroup_analysis(rows, groups.rename(OTHERS), point=point, confidence=confidence, minimum=max(2, fewest))


def _add_analysis(facts: Facts, finding: str, whole: SubgroupAnalysis, file: str, at: str, fewest: int) -> list[str]:
    """Records one column's groups and tests; returns the statistics in which groups differ by more than chance."""
    analysis = with_minimum(whole, fewest)
    key = f"groups.{finding}.{analysis.column}"
    words = column_words(analysis.column).words
    facts.add(f"{key}.words", analysis.column, words, file=file, field=f"{at}.column")
    facts.add(f"{key}.analysis", analysis.to_dict(), "", file=file, field=f"{at}, with the report's minimum")
    facts.add(key, len(analysis.groups), file=file, field=f"{at}, number of groups")
    facts.add(f"{key}.n_unknown", analysis.n_unknown, file=file, field=f"{at}.n_unknown")
    places = [number for number, group in enumerate(whole.groups) if group.n_images]
    for position, (number, group) in enumerate(zip(places, analysis.groups, strict=True)):
        called = column_words(analysis.column).level(group.level)
        _add_group(facts, f"{key}.{position}", file, f"{at}.groups[{number}]", group, called)
    few = [column_words(analysis.column).level(group.level) for group in analysis.groups if group.n_positive < fewest]
    facts.add(f"{key}.too_few", few, ", ".join(few), file=file, field=f"{at}.groups, below the minimum")
    _add_tests(facts, analysis, key, file, at)
    differing = []
    level = 1 - analysis.groups[0].auroc.confidence if analysis.groups else 0
    for statistic in STATISTICS:
        facts.add(f"{key}.{statistic}.worst", group_sentence(analysis, statistic), file=file,
                  field=f"{at}, lowest {statistic}")  # fmt: skip
        test = next((test for test in analysis.interactions if test.statistic == statistic), None)
        if test is not None and test.p_adjusted < level:
            differing.append(f"{finding.replace('_', ' ')}: {statistic.replace('auroc', 'AUROC')} by {words}")
    return differing


def _add_columns(facts: Facts, table: pd.DataFrame) -> None:
    """Records in words by which columns the table's images can be grouped, and by which usual ones they cannot."""
    known = [name for name in columns_to_measure(table, source_of(table).group_columns) if any_known(table[name])]
    absent = [name for name in USUAL_COLUMNS if name not in known]
    for name, columns, nothing in (("known", known, "groups of patients"), ("absent", absent, "nothing")):
        words = [column_words(column).short or column_words(column).words for column in columns]
        text = " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
        facts.add(f"groups.{name}", columns, text or nothing, file="table.csv", field=f"columns to group by: {name}")


def add_subgroups(facts: Facts, documents: Documents, run: Any, fewest: int) -> None:
    """Records every group of every finding under "groups.<finding>.<column>.<position>", tests and worst groups.

    The columns of `columns_to_measure` were measured when the run was evaluated; images with and without other findings
    are measured here. Which usual columns the table knows, and which not, is recorded too.

    Args:
        facts: Where they go.
        documents: The run's files.
        run: The `Run`.
        fewest: Groups with fewer positive images (negative ones, for the specificity) are called too few.
    """
    _add_columns(facts, run.table)
    differing: list[str] = []
    for index, entry in enumerate(documents.pick(_FILE, "findings")):
        finding = str(entry["finding"])
        analyses = [SubgroupAnalysis.from_dict(plain) for plain in entry.get("subgroups", ())]
        facts.add(f"groups.{finding}.measured", bool(analyses), file=_FILE, field=f"findings[{index}].subgroups, any")
        for number, analysis in enumerate(analyses):
            at = f"findings[{index}].subgroups[{number}]"
            differing += _add_analysis(facts, finding, analysis, _FILE, at, fewest)
        columns = [analysis.column for analysis in analyses]
        further = by_other_findings(run, finding, facts["test.confidence"].value, fewest)
        if further is not None:
            at = f"{finding} by the other findings in table.csv"
            differing += _add_analysis(facts, finding, further, "scores_test.csv", at, fewest)
            columns.append(further.column)
        facts.add(f"groups.{finding}", columns, file=_FILE, field=f"findings[{index}].subgroups, and other findings")
    facts.add("groups.differing", differing, "; ".join(differing) or "none", file=_FILE,
              field="subgroups whose adjusted p-value is below 1 - confidence")  # fmt: skip
