"""Facts on what a triage device is for: how long a film takes to be scored, and how long films wait to be read."""

from typing import Any

import numpy as np
import pandas as pd

from chexkeras.report.facts.facts import Facts
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
        Estimate(value=50.5, low=40.0, high=61.0, confidence=0.95, n=100, method='order statistics', reason='')
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
        facts.add(f"{key}.saving", saving, text, file="evaluation.json", field=f"{where}: saving of diseased films")
        facts.add(f"{key}.workload", effect.workload, f"{effect.workload * 100:.0f} %", file=file,
                  field=f"share of the time that readers are busy, {finding}")  # fmt: skip
        lost = effect.non_diseased_hours - effect.fifo_hours
        facts.add(f"{key}.lost", lost, _minutes(lost), file="evaluation.json", field=f"{where}: loss of other films")
        word = "above" if saving.low > 0 else "below" if saving.high < 0 else "around"
        facts.add(f"{key}.saving_is", word, file="evaluation.json", field=f"{where}: saving against none")
