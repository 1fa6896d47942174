"""Facts on what changed films do to the scores: repeated scoring, exposure, noise, position, compression, misuse."""

from collections.abc import Sequence
from typing import Any

from chexkeras.report.facts.facts import Facts, difference_text, estimate_text, interval_text
from chexkeras.report.figures.figure import FEW
from chexkeras.results import Estimate, PerturbationEffect
from chexkeras.results.robustness import FEWEST_PATIENTS, VERDICTS

_FILE = "robustness.json"
_AUROC = "AUROC"
_LEAST = 1e-6


def add_robustness(facts: Facts, run: Any) -> None:
    """Records what was measured of changed films, if the measurement is of the scores and thresholds on file.

    Args:
        facts: Where they go; the evaluated findings are there already.
        run: The `Run`.

    Raises:
        ValueError: If robustness.json is damaged or of another version.
    """
    from chexkeras.evaluation.scores import scores_fingerprint

    measured = run.robustness
    frozen = {point.finding: point.threshold for point in run.operating_points}
    current = (
        measured is not None
        and measured.scores_fingerprint == scores_fingerprint(run.scores("test"))
        and measured.thresholds == frozen
    )
    facts.add("robustness", current, file=_FILE if measured else "convention",
              field="whether changed films were measured, on the scores and thresholds on file")  # fmt: skip
    facts.add("robustness.stale", measured is not None and not current, file=_FILE if measured else "convention",
              field="scores_fingerprint and thresholds, against scores_test.csv and operating_points.json")  # fmt: skip
    if measured is None or not current:
        return
    for name, value, text in (
        ("n_images", measured.n_images, None),
        ("n_patients", measured.n_patients, None),
        ("n_images_in_part", measured.n_images_in_part, None),
        ("image_size", measured.image_size, None),
        ("seed", measured.seed, str(measured.seed)),
        ("margin", measured.margin, f"{measured.margin:g}"),
        ("repeat_difference", measured.repeat_difference, _small(measured.repeat_difference)),
        ("single_difference", measured.single_difference, _small(measured.single_difference)),
        ("single_images", measured.single_images, None),
    ):
        facts.add(f"robustness.{name}", value, text, file=_FILE, field=name)
    facts.add("robustness.fewest_patients", FEWEST_PATIENTS, file="convention",
              field="patients with, and without the finding, below which no AUROC has held")  # fmt: skip
    effects = [effect for effect in measured.effects if effect.finding in facts["evaluated"].value]
    changes = list(dict.fromkeys(effect.perturbation for effect in effects))
    facts.add("robustness.changes", len(changes), file=_FILE, field="effects: different changes")
    findings = [name for name in facts["evaluated"].value if name in measured.findings]
    facts.add("robustness.findings", findings, file=_FILE, field="effects: findings that were evaluated")
    for verdict in VERDICTS:
        count = sum(effect.verdict(_AUROC) == verdict for effect in effects)
        facts.add(f"robustness.{verdict}", count, file=_FILE, field=f"effects: verdicts {verdict!r} on AUROC")
    facts.add("robustness.by_finding", len(findings) <= FEW, file="convention",
              field=f"each finding by itself up to {FEW} findings")  # fmt: skip
    if len(findings) <= FEW:
        for finding in findings:
            rows = [_row(effect) for effect in measured.of(finding)]
            facts.add(f"robustness.{finding}.rows", rows, "", file=_FILE, field=f"effects of {finding}")
    else:
        facts.add("robustness.rows", [_summary(effects, change) for change in changes], "", file=_FILE,
                  field="effects by change, over all findings")  # fmt: skip


def _small(value: float) -> str:
    return "none" if value == 0 else "below 0.000001" if value < _LEAST else f"{value:.2g}"


def _brief(estimate: Estimate) -> str:
    """Returns a number with its interval; how many images it comes from stands above the table."""
    return f"{estimate.value:.3f} ({interval_text(estimate)})" if estimate.estimable else estimate_text(estimate)


def _row(effect: PerturbationEffect) -> list[str]:
    """Returns a change's row: kind, change, AUROC, its difference and verdict, other differences, calls changed."""
    others = {entry.statistic: difference_text(entry.difference) for entry in effect.comparisons}
    return [
        effect.group,
        effect.perturbation,
        _brief(effect[_AUROC].first_value),
        others[_AUROC],
        effect.verdict(_AUROC),
        others.get("sensitivity", "no operating point"),
        others.get("specificity", "no operating point"),
        _brief(effect.calls_changed),
    ]


def _summary(measured: Sequence[PerturbationEffect], change: str) -> list[Any]:
    """Returns a change's row over all findings: kind, change, verdicts by number, and where it costs most."""
    effects = [effect for effect in measured if effect.perturbation == change]
    counts = [sum(effect.verdict(_AUROC) == verdict for effect in effects) for verdict in VERDICTS]
    known = [effect for effect in effects if effect[_AUROC].difference.estimable]
    worst = min(known, key=lambda effect: effect[_AUROC].difference.value, default=None)
    most = "not estimable" if worst is None else (
        f"{worst.finding.replace('_', ' ')} {difference_text(worst[_AUROC].difference)}"
    )  # fmt: skip
    return [effects[0].group, change, *counts, most]
