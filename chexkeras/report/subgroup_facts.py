"""Facts on groups of patients and films: what was measured in each, and whether groups differ by more than chance."""

import math
from dataclasses import replace

from chexkeras.report.facts import Documents, Facts
from chexkeras.results import Estimate, Subgroup, SubgroupAnalysis
from chexkeras.results.subgroups import STATISTICS

_FILE = "evaluation.json"
WORDS = {"age_years": "age in years"}
"""How columns are called in prose."""


def _kept(group: Subgroup, fewest: int) -> Subgroup:
    short = {
        "auroc": (min(group.n_positive, group.n_negative), "positive" if group.n_positive < fewest else "negative"),
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
    """Returns an analysis without the estimates of groups that the report calls too few.

    Args:
        analysis: As it was evaluated, perhaps with a smaller minimum.
        fewest: Positive images (negative ones, for the specificity) that a group must have.
    """
    return replace(analysis, groups=tuple(_kept(group, fewest) for group in analysis.groups))


def _add_group(facts: Facts, documents: Documents, key: str, at: str, group: Subgroup) -> None:
    for name in ("level", "n_images", "n_patients", "n_positive", "n_negative"):
        documents.add(facts, f"{key}.{name}", _FILE, f"{at}.{name}")
    for name in STATISTICS:
        estimate = getattr(group, name)
        text = None if estimate.estimable or not estimate.reason.startswith("too few") else estimate.reason
        facts.add(f"{key}.{name}", estimate, text, file=_FILE, field=f"{at}.{name}, with the report's minimum")


def _add_tests(facts: Facts, analysis: SubgroupAnalysis, key: str, at: str) -> None:
    from chexkeras.evaluation.p_values import p_text

    for number, test in enumerate(analysis.interactions):
        where = f"{at}.interactions[{number}]"
        for name in ("p_value", "p_adjusted"):
            p_value = getattr(test, name)
            text = f"no test ({test.reason})" if math.isnan(p_value) else p_text(p_value)
            facts.add(f"{key}.{test.statistic}.{name}", p_value, text, file=_FILE, field=f"{where}.{name}")


def _sentence(analysis: SubgroupAnalysis, statistic: str) -> str:
    from chexkeras.evaluation.subgroups import worst_group_sentence

    words = WORDS.get(analysis.column, analysis.column.replace("_", " "))
    return worst_group_sentence(analysis, statistic).replace(f"By {analysis.column},", f"By {words},", 1)


def add_subgroups(facts: Facts, documents: Documents, fewest: int) -> None:
    """Records every group of every finding under "groups.<finding>.<column>.<position>", tests and worst groups.

    Args:
        facts: Where they go.
        documents: The run's files.
        fewest: Groups with fewer positive images (negative ones, for the specificity) are called too few.
    """
    differing: list[str] = []
    for index, entry in enumerate(documents.pick(_FILE, "findings")):
        finding = str(entry["finding"])
        analyses = [with_minimum(SubgroupAnalysis.from_dict(plain), fewest) for plain in entry.get("subgroups", ())]
        columns = [analysis.column for analysis in analyses]
        facts.add(f"groups.{finding}", columns, file=_FILE, field=f"findings[{index}].subgroups, columns")
        for number, analysis in enumerate(analyses):
            at, key = f"findings[{index}].subgroups[{number}]", f"groups.{finding}.{analysis.column}"
            words = WORDS.get(analysis.column, analysis.column.replace("_", " "))
            facts.add(f"{key}.words", analysis.column, words, file=_FILE, field=f"{at}.column")
            facts.add(key, len(analysis.groups), file=_FILE, field=f"{at}, number of groups")
            documents.add(facts, f"{key}.n_unknown", _FILE, f"{at}.n_unknown")
            for position, group in enumerate(analysis.groups):
                _add_group(facts, documents, f"{key}.{position}", f"{at}.groups[{position}]", group)
            few = [group.level for group in analysis.groups if group.n_positive < fewest]
            facts.add(f"{key}.too_few", few, ", ".join(few), file=_FILE, field=f"{at}.groups, below the minimum")
            _add_tests(facts, analysis, key, at)
            for statistic in STATISTICS:
                facts.add(f"{key}.{statistic}.worst", _sentence(analysis, statistic), file=_FILE,
                          field=f"{at}, lowest {statistic}")  # fmt: skip
                level = 1 - analysis.groups[0].auroc.confidence if analysis.groups else 0
                test = next((test for test in analysis.interactions if test.statistic == statistic), None)
                if test is not None and test.p_adjusted < level:
                    differing.append(f"{finding.replace('_', ' ')}: {statistic.replace('auroc', 'AUROC')} by {words}")
    facts.add("groups.differing", differing, "; ".join(differing) or "none", file=_FILE,
              field="subgroups whose adjusted p-value is below 1 - confidence")  # fmt: skip
