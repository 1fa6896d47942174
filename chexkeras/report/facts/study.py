"""Facts on triage and the study that would show it: time to score and to be read, images that the goals ask for."""

from typing import Any

import numpy as np
import pandas as pd

from chexkeras.report.facts.facts import Facts, percent
from chexkeras.results import Estimate

_FILE = "dicom_results.csv"
_QUANTILES = (0.5, 0.9, 0.95)


def quantile_interval(values: Any, share: float, *, confidence: float = 0.95) -> Estimate:
    """Returns a quantile with the distribution-free interval between two of the sorted values.

    Args:
        values: Independent measurements.
        share: Of the values below the quantile, strictly between 0 and 1.
        confidence: At least this coverage, in (0, 1).

    Returns:
        The quantile; its limits are NaN-free: without enough values it is not estimable, with the reason.

    Source:
        Conover, Practical Nonparametric Statistics, 1999, section 3.2.

    Example:
        >>> quantile_interval(range(1, 101), 0.5)
        <Estimate: 50.500 (95 % CI 40.000-61.000), n = 100>
    """
    from scipy import stats

    ordered = np.sort(np.asarray(list(values), dtype=np.float64))
    n, tail = len(ordered), (1 - confidence) / 2
    if not n:
        return Estimate.not_estimable("nothing was timed", confidence=confidence)
    lower, upper = int(stats.binom.ppf(tail, n, share)), int(stats.binom.ppf(1 - tail, n, share)) + 1
    if lower < 1 or upper > n:
        return Estimate.not_estimable(f"{n} timed files are too few for this quantile and an interval", n=n,
                                      confidence=confidence)  # fmt: skip
    value = float(np.quantile(ordered, share))
    return Estimate(value, float(ordered[lower - 1]), float(ordered[upper - 1]), confidence, n, "order statistics")


def add_processing_time(facts: Facts, results: pd.DataFrame | None) -> None:
    """Records quantiles of the seconds from opening a file to its score, over the files that were scored."""
    seconds = pd.Series(dtype=float)
    if results is not None:
        scored = results[pd.to_numeric(results["score"], errors="coerce").notna()].drop_duplicates("file")
        seconds = pd.to_numeric(scored["seconds"], errors="coerce").dropna()
    facts.add("time", len(seconds), file=_FILE, field="files with a score and a time")
    if not len(seconds):
        return
    for share in _QUANTILES:
        found = quantile_interval(seconds, share)
        text = (
            f"{found.value:.2f} s ({found.confidence * 100:g} % CI {found.low:.2f}–{found.high:.2f}; n = {found.n:,})"
            if found.estimable
            else f"{float(np.quantile(seconds, share)):.2f} s, without interval: {found.reason}"
        )
        name = f"{share * 100:g} % of files within"
        facts.add(f"time.{share * 100:g}", found, text, file=_FILE, field=f"seconds, files with a score: {name}")
    facts.add(
        "time.quantiles", [f"{share * 100:g}" for share in _QUANTILES], file="convention", field="shown quantiles"
    )
    longest = float(seconds.max())
    facts.add("time.longest", longest, f"{longest:.2f} s", file=_FILE, field="seconds, files with a score: largest")


def _minutes(hours: float) -> str:
    return f"{hours * 60:.1f} min"


def add_waiting(facts: Facts, answers: Any) -> None:
    """Records mean times in the reading queue, where the author stated its rates and the finding's prevalence."""
    from chexkeras.evaluation.clinical_use.triage import triage_effect

    arrivals, reads = answers.get("reading.arrivals_per_hour"), answers.get("reading.reads_per_hour")
    stated = arrivals is not None and reads is not None
    file = "submission.toml"
    facts.add(
        "waiting", stated, file="convention", field="whether submission.toml states the rates of the reading room"
    )
    if not stated:
        return
    readers = answers.get("reading.readers") or 1
    discipline = answers.get("reading.discipline") or "non-pre-emptive"
    facts.add("waiting.readers", readers, file=file, field="reading.readers, one by default")
    facts.add("waiting.discipline", discipline, file=file, field="reading.discipline")
    for finding in facts["evaluated"].value:
        key, share = f"waiting.{finding}", answers.prevalences.get(finding)
        rates = [facts[f"test.{finding}.{name}"].value for name in ("sensitivity", "specificity")]
        possible = share is not None and all(rate.estimable for rate in rates)
        facts.add(key, possible, file=file, field=f"prevalence.{finding}, and a measured operating point")
        if not possible:
            continue
        sensitivity, specificity = rates
        effect = triage_effect(sensitivity, specificity, share, arrivals_per_hour=arrivals, reads_per_hour=reads,
                               readers=readers, discipline=discipline)  # fmt: skip
        where = f"sensitivity and specificity of {finding}, with the queue of submission.toml"
        facts.add(f"{key}.effect", effect.to_dict(), "", file="evaluation.json", field=where)
        for name in ("fifo_hours", "flagged_hours", "diseased_hours", "non_diseased_hours"):
            hours = getattr(effect, name)
            facts.add(f"{key}.{name}", hours, _minutes(hours), file="evaluation.json", field=f"{where}: {name}")
        saving = effect.saving
        low, value, high = (_minutes(hours) for hours in (saving.low, saving.value, saving.high))
        text = f"{value} ({saving.confidence * 100:g} % CI {low} to {high})"
        facts.add(f"{key}.saving", saving, text, file="evaluation.json", field=f"{where}: saving of diseased images")
        facts.add(f"{key}.workload", effect.workload, f"{effect.workload * 100:.0f} %", file=file,
                  field=f"share of the time that readers are busy, {finding}")  # fmt: skip
        lost = effect.non_diseased_hours - effect.fifo_hours
        facts.add(f"{key}.lost", lost, _minutes(lost), file="evaluation.json", field=f"{where}: loss of other images")
        word = "above" if saving.low > 0 else "below" if saving.high < 0 else "around"
        facts.add(f"{key}.saving_is", word, file="evaluation.json", field=f"{where}: saving against none")


_CONVENTION, _ANSWERS = "convention", "submission.toml"
POWER = 0.8
CLOSEST = 0.005
"""An expected rate less than this above its goal asks for more images than any study has."""

EXAMPLE_CASES = 500
EXAMPLE_RATES = (0.82, 0.85, 0.87, 0.90)
"""The reference project's plan: 1,000 images, half of them with the finding, and rates it might have in truth."""

_EXAMPLE = "validation plan of the reference project"


def _expected(facts: Facts, finding: str, measure: str, answers: Any) -> tuple[float, str, str]:
    """Returns the rate to plan with, where it comes from in words, and its file."""
    stated = answers.get(f"study.expected_{measure}")
    if stated is not None:
        return float(stated), "stated by the sponsor", _ANSWERS
    measured: Estimate = facts[f"test.{finding}.{measure}"].value
    return measured.value, "as measured on the test part of this run", "evaluation.json"


def _add_size(facts: Facts, finding: str, measure: str, answers: Any) -> None:
    from chexkeras.evaluation.sample_size.rates import power_lower_bound, sample_size_lower_bound

    key = f"plan.{finding}.{measure}"
    goal = facts[f"goal.{measure}_above"].value
    power = answers.get("study.power") or POWER
    rate, origin, file = _expected(facts, finding, measure, answers)
    facts.add(f"{key}.expected", rate, f"{rate:.3f}" if rate == rate else "not estimable", file=file,
              field=f"{measure} of {finding}, expected")  # fmt: skip
    facts.add(f"{key}.origin", origin, file=file, field=f"{measure} of {finding}, where the expected value comes from")
    field = f"exact power of the Clopper-Pearson lower bound, {measure} of {finding}"
    cases = facts[f"test.{finding}.n_{'positive' if measure == 'sensitivity' else 'negative'}"].value
    confidence = facts["test.confidence"].value
    had = power_lower_bound(cases, rate, goal, confidence=confidence) if rate == rate and cases else float("nan")
    facts.add(f"{key}.power_here", had, f"{had:.3f}" if had == had else "not estimable", file=file,
              field=f"{field}, with {cases} cases")  # fmt: skip
    reason = ""
    if rate != rate:
        reason = "not known, since no rate to plan with is estimable"
    elif rate <= goal:
        reason = f"no number is enough, since the expected {rate:.3f} does not lie above the goal"
    elif rate >= 1:
        reason = "not known, since no study can be planned with a rate that is never wrong; state one below it"
    elif rate - goal < CLOSEST:
        reason = f"more than can be planned for, since the expected {rate:.3f} is too close to the goal"
    cases_needed = None if reason else sample_size_lower_bound(rate, goal, power, confidence=confidence).lasting
    facts.add(f"{key}.cases", cases_needed, reason or f"{cases_needed:,}", file=file, field=field)
    facts.add(f"{key}.possible", cases_needed is not None, file=file, field=f"{field}, whether any number is enough")
    if cases_needed is None:
        return
    effect = facts["plan.design_effect"].value
    images = -(-cases_needed * effect // 1)
    facts.add(f"{key}.images", int(images), file=file, field=f"{field}, times the design effect")


def _add_example(facts: Facts) -> None:
    """Records what the reference project's 1,000 images, 500 with the finding, can show."""
    from chexkeras.evaluation.sample_size.rates import half_width_proportion, power_lower_bound, sample_size_lower_bound

    goal, confidence = facts["goal.sensitivity_above"].value, facts["test.confidence"].value
    facts.add("example.images", 2 * EXAMPLE_CASES, file=_CONVENTION, field=f"images in the {_EXAMPLE}")
    facts.add("example.cases", EXAMPLE_CASES, file=_CONVENTION, field=f"images of each class in the {_EXAMPLE}")
    rows = []
    for rate in EXAMPLE_RATES:
        width = half_width_proportion(EXAMPLE_CASES, rate, confidence=confidence)
        power = power_lower_bound(EXAMPLE_CASES, rate, goal, confidence=confidence)
        needed = "no number is enough"
        if rate - goal >= CLOSEST:
            needed = f"{sample_size_lower_bound(rate, goal, POWER, confidence=confidence).lasting:,}"
        rows.append([f"{rate:.2f}", f"{width * 100:.1f}", f"{power:.3f}", needed])
    facts.add("example.rows", rows, "", file=_CONVENTION,
              field=f"exact power against the goal for rates that the {_EXAMPLE} might meet")  # fmt: skip


def _add_criteria(facts: Facts) -> None:
    """Records which images the DICOM gate keeps out of a study."""
    rules = facts["dicom.rules"].value
    at = {name: rules["columns"].index(name) for name in ("code", "item", "expected", "severity")}
    rows = [
        [row[at["item"]], row[at["expected"]], row[at["code"]]]
        for row in rules["rows"]
        if row[at["severity"]] == "reject"
    ]
    facts.add("plan.criteria", rows, str(len(rows)), file=_CONVENTION,
              field=f"rules of severity reject in the profile {facts['dicom.profile'].value}")  # fmt: skip


def add_planning(facts: Facts, answers: Any) -> None:
    """Records sizes for the goals of every finding, the worked example, and the study's inclusion criteria.

    Args:
        facts: Where they go; goals, test numbers and DICOM rules are there already.
        answers: The author's `Answers`.
    """
    from chexkeras.evaluation.sample_size.rates import design_effect

    power = answers.get("study.power")
    facts.add("plan.power", power or POWER, f"{(power or POWER) * 100:g} %", file=_ANSWERS if power else _CONVENTION,
              field="study.power" if power else "power usually asked for")  # fmt: skip
    facts.add("plan.power_usual", POWER, f"{POWER * 100:.0f} %", file=_CONVENTION, field="power usually asked for")
    images, agree = answers.get("study.images_per_patient") or 1.0, answers.get("study.correlation") or 0.0
    effect = design_effect(images, agree)
    stated = images > 1 and agree > 0
    facts.add("plan.clustered", stated, file=_ANSWERS if stated else _CONVENTION,
              field="study.images_per_patient, study.correlation" if stated else "one image per patient")  # fmt: skip
    facts.add("plan.design_effect", effect, f"{effect:.2f}", file=_ANSWERS if stated else _CONVENTION,
              field="1 + (images per patient - 1) x correlation")  # fmt: skip
    for finding in facts["evaluated"].value:
        for measure in ("sensitivity", "specificity"):
            _add_size(facts, finding, measure, answers)
        share = answers.prevalences.get(finding)
        needed = f"plan.{finding}.sensitivity.images"
        radiographs = facts[needed].value if needed in facts else None
        facts.add(f"plan.{finding}.consecutive", share is not None and radiographs is not None, file=_CONVENTION,
                  field=f"whether the number of consecutive radiographs can be computed for {finding}")  # fmt: skip
        if share is not None and radiographs is not None:
            total = int(-(-radiographs // share))
            facts.add(
                f"plan.{finding}.total", total, file=_ANSWERS, field=f"radiographs with it / prevalence.{finding}"
            )
            text = percent(share, 2)
            facts.add(f"plan.{finding}.prevalence", share, text, file=_ANSWERS, field=f"prevalence.{finding}")
    _add_example(facts)
    _add_criteria(facts)
