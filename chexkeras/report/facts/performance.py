"""Facts on what was measured: frozen thresholds, the test part's numbers, verdicts, and errors per thousand images."""

import math
import re
from typing import Any

import pandas as pd

from chexkeras.report.answers import STATED
from chexkeras.report.facts import integrity
from chexkeras.report.facts.facts import UNKNOWN_NUMBER, Facts, estimate_text, interval_text
from chexkeras.report.facts.run_reader import Documents
from chexkeras.report.goals import PerformanceGoals, judge, overall
from chexkeras.report.markdown import as_code
from chexkeras.results import Estimate, FindingEvaluation

CHANCE_AUROC = 0.5
IMAGES = 1000
_EVALUATION, _POINTS = "evaluation.json", "operating_points.json"
_RATES = ("sensitivity", "specificity", "ppv", "npv", "auroc", "average_precision", "likelihood_ratio_positive",
          "likelihood_ratio_negative", "accuracy", "f1", "mcc")  # fmt: skip
_DEPLOYED = ("ppv", "npv", "true_positives_per_1000", "false_negatives_per_1000", "false_positives_per_1000",
             "true_negatives_per_1000")  # fmt: skip
_SAMPLED = re.compile(r"case-control|enriched|equal numbers", re.IGNORECASE)
_COUNTS = ("n_images", "n_patients", "n_positive", "n_negative", "true_positives", "false_negatives",
           "false_positives", "true_negatives")  # fmt: skip


def compared(estimate: Estimate, level: float) -> str:
    """Returns where an interval lies: "above", "below" or "around" a level, or "unknown".

    Example:
        >>> compared(Estimate(0.55, 0.48, 0.62), 0.5)
        'around'
    """
    if not estimate.estimable:
        return "unknown"
    if estimate.low > level:
        return "above"
    return "below" if estimate.high < level else "around"


def _add_point(facts: Facts, documents: Documents, finding: str) -> None:
    """Records the operating point of a finding under "point.<finding>."; its existence under "point.<finding>"."""
    points = documents.pick(_POINTS, "")
    found = [index for index, point in enumerate(points) if point["finding"] == finding]
    facts.add(f"point.{finding}", bool(found), file=_POINTS, field=f"an entry for {finding}")
    if not found:
        return
    at, key = f"[{found[0]}]", f"point.{finding}"
    threshold = documents.pick(_POINTS, f"{at}.threshold")
    facts.add(f"{key}.threshold", threshold, f"{threshold:.4g}", file=_POINTS, field=f"{at}.threshold")
    for name in ("rule", "target", "chosen_on", "n_positive", "n_negative", "inequality", "note"):
        documents.add(facts, f"{key}.{name}", _POINTS, f"{at}.{name}")
    digest = str(documents.pick(_POINTS, f"{at}.scores_fingerprint"))
    field = f"{at}.scores_fingerprint"
    facts.add(f"{key}.fingerprint", digest, as_code(digest[:16]) if digest else "none", file=_POINTS, field=field)
    for name in ("sensitivity", "specificity"):
        estimate = Estimate.from_dict(documents.pick(_POINTS, f"{at}.{name}"))
        facts.add(f"{key}.{name}", estimate, file=_POINTS, field=f"{at}.{name}")


def _add_impact(facts: Facts, finding: str, at: str, entry: FindingEvaluation) -> None:
    """Records false calls per thousand images, the prevalence held at the test part's."""
    share = entry.prevalence.value
    for name, part in (("positives", share), ("negatives", 1 - share)):
        count = IMAGES * part
        text = "an unknown number" if math.isnan(count) else f"{count:.0f}"
        facts.add(f"impact.{finding}.{name}", count, text, file=_EVALUATION, field=f"{IMAGES} x prevalence of {at}")
    for name, rate, among in (
        ("false_negatives", entry.sensitivity, share),
        ("false_positives", entry.specificity, 1 - share),
    ):
        missed = name == "false_negatives"
        word = "positive" if missed else "negative"
        product = "prevalence x (1 - sensitivity)" if missed else "(1 - prevalence) x (1 - specificity)"
        field = f"{IMAGES} x {product} of {at}"
        if not rate.estimable or not entry.prevalence.estimable:
            reason = rate.reason or entry.prevalence.reason
            value = Estimate.not_estimable(reason, n=rate.n)
            text = estimate_text(value)
        else:
            low, middle, high = (IMAGES * among * (1 - bound) for bound in (rate.high, rate.value, rate.low))
            value = Estimate(middle, low, high, rate.confidence, rate.n, rate.method)
            text = f"{middle:.0f} ({interval_text(value, digits=0)}; from {rate.n:,} {word} test images)"
        facts.add(f"impact.{finding}.{name}", value, text, file=_EVALUATION, field=field)


def _add_finding(facts: Facts, documents: Documents, index: int, goals: PerformanceGoals, invalid: str) -> list[str]:
    from chexkeras.evaluation.thresholds import RULES

    at = f"findings[{index}]"
    entry = FindingEvaluation.from_dict(documents.pick(_EVALUATION, at))
    finding = entry.finding
    key = f"test.{finding}"
    for name in _COUNTS:
        text = UNKNOWN_NUMBER if name == "n_patients" and not facts["patients.known"].value else None
        documents.add(facts, f"{key}.{name}", _EVALUATION, f"{at}.{name}", text)
    for name in _RATES:
        estimate = getattr(entry, name)
        facts.add(f"{key}.{name}", estimate, file=_EVALUATION, field=f"{at}.{name}")
        facts.add(f"{key}.{name}.method", estimate.method, file=_EVALUATION, field=f"{at}.{name}.method")
    _add_prevalence(facts, key, at, entry.prevalence)
    _add_selective(facts, key, at, entry)
    against_chance = compared(entry.auroc, CHANCE_AUROC)
    facts.add(f"{key}.auroc_is", against_chance, file=_EVALUATION, field=f"{at}.auroc against chance")
    point = entry.operating_point
    aimed = point.target if point and point.rule in RULES and RULES[point.rule].reaches == "sensitivity" else None
    reached = compared(entry.sensitivity, aimed) if aimed is not None else "no target"
    facts.add(f"{key}.target_is", reached, file=_EVALUATION, field=f"{at}.sensitivity against its target")
    words = []
    for name, goal in (("sensitivity", goals.sensitivity_above), ("specificity", goals.specificity_above)):
        verdict = judge(getattr(entry, name), goal, invalid=invalid)
        words.append(verdict.word)
        field = f"{at}.{name}.low against the goal"
        facts.add(f"verdict.{finding}.{name}", verdict.word, file=_EVALUATION, field=field)
        facts.add(f"verdict.{finding}.{name}.reason", verdict.reason, file=_EVALUATION, field=field)
    facts.add(f"verdict.{finding}", overall(words), file=_EVALUATION, field=f"{at}, all goals")
    _add_impact(facts, finding, at, entry)
    return words


def _add_selective(facts: Facts, key: str, at: str, entry: FindingEvaluation) -> None:
    """Records what is left where images near the threshold are left open; nothing where all are called."""
    found, band = entry.selective, entry.operating_point.abstain if entry.operating_point else None
    facts.add(f"{key}.selective", found is not None, file=_EVALUATION, field=f"{at}.selective, whether there is one")
    if found is None or band is None:
        return
    facts.add(f"{key}.selective.band", str(band), file=_EVALUATION, field=f"{at}.operating_point.abstain")
    for name in ("n_images", "n_called", "coverage", "accuracy", "sensitivity", "specificity"):
        facts.add(f"{key}.selective.{name}", getattr(found, name), file=_EVALUATION, field=f"{at}.selective.{name}")


def _add_prevalence(facts: Facts, key: str, at: str, share: Estimate) -> None:
    """Records the share of positives; where sampling set it, an interval would claim a population that there is not."""
    fraction, in_percent = None, None
    if share.estimable and facts["prevalence.sampled"].value:
        fraction = f"{share.value:.3f} (set by sampling, so without an interval; n = {share.n:,})"
        in_percent = f"{share.value * 100:.1f} %, set by sampling, n = {share.n:,}"
    elif share.estimable:
        in_percent = f"{share.value * 100:.1f} %, {interval_text(share, scale=100, digits=1)}, n = {share.n:,}"
    method = "set by sampling" if fraction else share.method
    facts.add(f"{key}.prevalence", share, fraction, file=_EVALUATION, field=f"{at}.prevalence")
    facts.add(f"{key}.prevalence.method", share.method, method, file=_EVALUATION, field=f"{at}.prevalence.method")
    facts.add(f"{key}.prevalence_percent", share, in_percent, file=_EVALUATION, field=f"{at}.prevalence")


def _add_deployed(facts: Facts, key: str, deployed: Any, file: str, field: str) -> None:
    """Records predictive values, counts per thousand images and images called for each one found, at a prevalence."""
    for name in _DEPLOYED:
        value = getattr(deployed, name)
        text = None
        if value.estimable and name.endswith("per_1000"):
            text = f"{value.value:.1f} ({interval_text(value, digits=1)})"
        facts.add(f"{key}.{name}", value, text, file=file, field=f"{field}: {name}")
    ppv = deployed.ppv
    if ppv.estimable and ppv.value > 0:
        low, value, high = (f"{1 / bound:.1f}" if bound > 0 else "no limit" for bound in (ppv.high, ppv.value, ppv.low))
        text = f"{value} ({ppv.confidence * 100:g} % CI {low} to {high})"
    else:
        text = f"not estimable ({ppv.reason or 'no call is right'})"
    facts.add(f"{key}.number_needed", ppv, text, file=file, field=f"{field}: 1 / ppv")


def add_deployment(facts: Facts, run: Any, answers: Any) -> None:
    """Records what each threshold would mean at the prevalence that the author stated.

    Args:
        facts: Where they go; thresholds are there already.
        run: The `Run`.
        answers: The author's `Answers`.
    """
    from chexkeras.evaluation.clinical_use.deployment import deployment_from_outcomes

    scores = run.scores("test")
    for finding in facts["evaluated"].value:
        share, key = answers.prevalences.get(finding), f"deployed.{finding}"
        possible = share is not None and bool(facts[f"point.{finding}"].value)
        facts.add(key, possible, file="convention", field=f"whether submission.toml states a prevalence of {finding}")
        if not possible:
            continue
        rows = scores[(scores["finding"] == finding) & scores["label"].notna()]
        called = rows["score"].to_numpy() >= facts[f"point.{finding}.threshold"].value
        confidence = facts["test.confidence"].value
        deployed = deployment_from_outcomes(rows["label"], called, share, clusters=rows["patient_id"],
                                            confidence=confidence)  # fmt: skip
        text = f"{share * 100:.3g} %"
        facts.add(f"{key}.prevalence", share, text, file="submission.toml", field=f"prevalence.{finding}")
        where = f"labels and calls of {finding} at the prevalence of submission.toml"
        _add_deployed(facts, key, deployed, "scores_test.csv", where)


def _scores_agree(scores: pd.DataFrame, fingerprint: str) -> bool:
    from chexkeras.evaluation.scores import scores_fingerprint

    return scores_fingerprint(scores) == fingerprint


def _add_checks(facts: Facts, run: Any) -> None:
    """Records whether the scores on file are the ones that were measured and that chose the thresholds."""
    test = run.scores("test")
    agree = _scores_agree(test, run.evaluation.scores_fingerprint)
    verdict = {True: "yes", False: "NO: scores and measurements do not belong together"}
    facts.add("check.test_scores", agree, verdict[agree], file="scores_test.csv", field="fingerprint of all rows")
    facts.add("test.score_rows", len(test), file="scores_test.csv", field="rows")
    digest = run.evaluation.scores_fingerprint
    facts.add("hash.test_scores", digest, as_code(digest[:16]), file=_EVALUATION, field="scores_fingerprint")
    frozen = {point.finding: point.threshold for point in run.operating_points}
    used = {e.finding: e.operating_point.threshold for e in run.evaluation.findings if e.operating_point}
    facts.add("check.thresholds", used == frozen, "yes" if used == frozen else "NO: they differ",
              file=_POINTS, field="threshold, against evaluation.json")  # fmt: skip
    validation = run.scores("validation")
    agree = all(
        _scores_agree(validation[validation["finding"] == point.finding], point.scores_fingerprint)
        for point in run.operating_points
        if point.chosen_on == "validation"
    )
    facts.add(
        "check.validation_scores", agree, verdict[agree], file="scores_validation.csv", field="fingerprint by finding"
    )


def add_performance(facts: Facts, documents: Documents, run: Any, goals: PerformanceGoals) -> None:
    """Records thresholds, test numbers, verdicts and impact for every finding, and the goals they are held against."""
    file = "submission.toml" if goals.origin == STATED else "convention"
    for name, text in (
        ("sensitivity_above", f"{goals.sensitivity_above:.2f}"),
        ("specificity_above", f"{goals.specificity_above:.2f}"),
        ("fewest_positives", str(goals.fewest_positives)),
        ("origin", goals.origin),
    ):
        facts.add(f"goal.{name}", getattr(goals, name), text, file=file, field=f"goals.{name}")
    facts.add("convention.images", IMAGES, file="convention", field="images that errors are counted on")
    facts.add("convention.chance", CHANCE_AUROC, file="convention", field="AUROC of a coin")
    facts.add("goal.stated", goals.origin == STATED, file=file, field="whether the sponsor stated goals")
    _add_checks(facts, run)
    cautions = [*run.provenance.get("source", {}).get("cautions", ()), *run.cautions, *run.evaluation.cautions]
    sampled = bool(facts["source.synthetic"].value) or any(_SAMPLED.search(str(caution)) for caution in cautions)
    facts.add("prevalence.sampled", sampled, file="provenance.json", field="cautions: synthetic or case-control images")
    documents.add(facts, "test.part", _EVALUATION, "split")
    confidence = documents.pick(_EVALUATION, "findings[0].auroc.confidence")
    facts.add("test.confidence", confidence, f"{confidence * 100:g} %", file=_EVALUATION,
              field="findings[0].auroc.confidence")  # fmt: skip
    integrity.add_number_check(facts, run)
    invalid = integrity.no_verdict(facts)
    facts.add("verdict.invalid", invalid, invalid, file=_EVALUATION, field="why no verdict can be given, if so")
    words: list[str] = []
    evaluated = [str(entry["finding"]) for entry in documents.pick(_EVALUATION, "findings")]
    for index, finding in enumerate(evaluated):
        words += _add_finding(facts, documents, index, goals, invalid)
        _add_point(facts, documents, finding)
    facts.add("verdict", overall(words), file=_EVALUATION, field="all findings, all goals")
    facts.add("evaluated", evaluated, file=_EVALUATION, field="finding of every entry")
