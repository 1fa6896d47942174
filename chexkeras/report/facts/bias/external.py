"""Facts on the run at other hospitals: each site with its verdicts, how sites differ, or that there was none."""

from collections.abc import Sequence
from typing import Any

from chexkeras.evaluation.comparison.pooling import PooledSites
from chexkeras.report.facts.facts import Facts, difference_text, estimate_text
from chexkeras.results import ExternalTest, LocalAdjustment
from chexkeras.results.external import WORSE
from chexkeras.results.robustness import RATES
from chexkeras.results.shortcuts import SHORTCUT_WORDS
from chexkeras.runs.external import EXTERNAL, NOT_TESTED, TEST_FILE, external_tests, pool_external

_FILES = f"{EXTERNAL}/"


def add_external(facts: Facts, run: Any) -> None:
    """Records every external test of the scores and the model on file.

    "external.summary" is what a first page has to say: one sentence for each site and finding, or that the run was not
    tested outside its own source.

    Args:
        facts: Where they go; the evaluated findings are there already.
        run: The `Run`.

    Raises:
        ValueError: If a file of an external test is damaged or of another version.
    """
    from chexkeras.evaluation.scores import scores_fingerprint

    every = external_tests(run.folder)
    internal = scores_fingerprint(run.scores("test"))
    model = (run.provenance.get("model") or {}).get("sha256")
    tests = [
        test for test in every if test.internal_fingerprint == internal and (not model or test.model_sha256 == model)
    ]
    stale = [test.name for test in every if test not in tests]
    outside = [test for test in tests if test.outside]
    file = _FILES if every else "convention"
    facts.add("external", [test.name for test in tests], file=file, field="names of the external tests")
    facts.add("external.tested", bool(outside), file=file, field="whether one is of another source than the run's")
    facts.add("external.stale", stale, ", ".join(stale), file=file,
              field="tests of another model, or beside other test scores")  # fmt: skip
    summary = [_sentence(test, entry.finding) for test in tests for entry in test.findings]
    if not outside:
        summary.insert(0, NOT_TESTED)
    facts.add("external.summary", summary, " ".join(summary), file=file, field="verdict of each site and finding")
    worse = [
        _sentence(test, entry.finding) for test in tests for entry in test.findings if entry.discrimination == WORSE
    ]
    facts.add("external.worse", worse, " ".join(worse), file=file, field="those whose verdict on the AUROC is worse")
    worst = [f"{test.name}: {test.leading}" for test in tests]
    facts.add("external.verdicts", worst, "; ".join(worst), file=file, field="worst verdict of each site")
    for test in tests:
        _add_site(facts, test)
    _add_pooled(facts, tests)


def _sentence(test: ExternalTest, finding: str) -> str:
    entry, measured = test[finding], test.evaluation[finding]
    area = entry["AUROC"]
    return (
        f"{finding.replace('_', ' ')} at {test.name} ({test.kind}): {entry.discrimination}, AUROC "
        f"{estimate_text(measured.auroc)}, internal test {estimate_text(area.second_value)}; difference "
        f"{difference_text(area.difference)}."
    )


def _add_site(facts: Facts, test: ExternalTest) -> None:
    key, file = f"external.{test.name}", f"{EXTERNAL}/{test.name}/{TEST_FILE}"
    for name in ("dataset", "label_release", "kind", "n_images", "n_patients", "n_listed", "n_overlap", "margin",
                 "operating_margin"):  # fmt: skip
        facts.add(f"{key}.{name}", getattr(test, name), file=file, field=name)
    facts.add(f"{key}.copies", test.n_copies, test.copies_sentence, file=file, field="n_copies, n_beside_copies")
    for name in ("refused", "unlike_training"):
        facts.add(f"{key}.{name}", getattr(test, name), file=file, field=name)
    reasons = [f"{code} ({count:,})" for code, count in test.refused_reasons]
    facts.add(f"{key}.refused_reasons", reasons, ", ".join(reasons), file=file, field="refused_reasons")
    lacking = [f"{finding}: {reason}" for finding, reason in test.left_out]
    facts.add(f"{key}.left_out", lacking, "; ".join(lacking), file=file, field="left_out")
    facts.add(f"{key}.cautions", list(test.cautions), "", file=file, field="cautions")
    rows = [
        [
            entry.finding,
            each.statistic,
            estimate_text(each.first_value),
            estimate_text(each.second_value),
            difference_text(each.difference),
            entry.verdict(each.statistic) if each.statistic in ("AUROC", *RATES) else each.verdict,
        ]
        for entry in test.findings
        for each in entry.comparisons
    ]
    facts.add(f"{key}.rows", rows, "", file=file, field="findings: comparisons")
    compared = test.shortcuts.entries if test.shortcuts is not None else ()
    shortcuts = [
        [
            entry.finding,
            SHORTCUT_WORDS[entry.shortcut],
            estimate_text(entry.alone),
            difference_text(entry.difference),
            entry.verdict,
        ]
        for entry in compared
        if entry.alone.estimable
    ]
    facts.add(f"{key}.shortcuts", shortcuts, "", file=file, field="shortcuts: entries that could be asked there")
    there = [[entry.finding, SHORTCUT_WORDS[entry.name], estimate_text(entry.auroc)] for entry in test.site_shortcuts]
    facts.add(f"{key}.site_shortcuts", there, "", file=file, field="site_shortcuts")
    groups = [
        [entry.finding, analysis.column.replace("_", " "), group.level, f"{group.n_images:,}", f"{group.n_positive:,}",
         estimate_text(group.auroc), estimate_text(group.sensitivity), estimate_text(group.specificity)]
        for entry in test.evaluation.findings
        for analysis in entry.subgroups
        for group in analysis.groups
    ]  # fmt: skip
    facts.add(f"{key}.groups", groups, "", file=file, field="evaluation: subgroups")
    adjusted = [_adjusted_row(entry) for entry in test.adjustments]
    facts.add(f"{key}.adjusted", adjusted, "", file=file, field="adjustments")


def _adjusted_row(entry: LocalAdjustment) -> list[Any]:
    local = "none" if entry.local_threshold is None else f"{entry.local_threshold:.4g}"
    return [
        entry.finding,
        f"{entry.n_fitted:,}",
        f"{entry.n_measured:,}",
        f"{entry.frozen_threshold:.4g}: {estimate_text(entry.sensitivity_frozen)}, "
        f"{estimate_text(entry.specificity_frozen)}",
        f"{local}: {estimate_text(entry.sensitivity_local)}, {estimate_text(entry.specificity_local)}",
        f"{estimate_text(entry.slope_before)}; {estimate_text(entry.brier_before)}",
        f"{estimate_text(entry.slope_after)}; {estimate_text(entry.brier_after)}",
        entry.reason,
    ]


def _add_pooled(facts: Facts, tests: Sequence[ExternalTest]) -> None:
    """Records means over sites with their heterogeneity, and in words what a validation study has to plan for."""
    rows, told = [], []
    outside = [test for test in tests if test.outside]
    for finding in facts["evaluated"].value:
        pooled = pool_external(outside, finding)
        rows += [_pooled_row(entry) for entry in pooled]
        told += [_heterogeneity(entry) for entry in pooled]
        if not pooled:
            told += [_single(test, finding) for test in outside if finding in {each.finding for each in test.findings}]
    facts.add("external.pooled", rows, "", file=_FILES if rows else "convention", field="random effects over sites")
    facts.add("external.heterogeneity", told, " ".join(told), file=_FILES if told else "convention",
              field="how far the sites measured differ")  # fmt: skip


def _pooled_row(entry: PooledSites) -> list[Any]:
    return [
        entry.finding,
        entry.statistic,
        f"{entry.n_sites:,}",
        estimate_text(entry.mean),
        estimate_text(entry.prediction),
        estimate_text(entry.i_squared),
    ]


def _heterogeneity(entry: PooledSites) -> str:
    values = [site.estimate.value for site in entry.sites if site.estimate.estimable]
    about = f"{entry.finding.replace('_', ' ')}, {entry.statistic}: from {min(values):.3f} to {max(values):.3f} at "
    about += f"{len(values):,} sites"
    if entry.prediction.estimable:
        return f"{about}; at a new site between {entry.prediction.low:.3f} and {entry.prediction.high:.3f}."
    return f"{about}; too few to say what a new site may show ({entry.prediction.reason})."


def _single(test: ExternalTest, finding: str) -> str:
    area = test[finding]["AUROC"]
    return (
        f"{finding.replace('_', ' ')}, AUROC: {difference_text(area.difference)} at {test.name} against the internal "
        "test; one site says nothing of how sites differ."
    )
