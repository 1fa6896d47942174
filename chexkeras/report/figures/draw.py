"""The figures of a report: drawn from the run folder alone, each with a caption that is a sentence of facts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chexkeras.progress import track
from chexkeras.report.answers import Answers
from chexkeras.report.facts.facts import Facts
from chexkeras.report.figures import catalogue
from chexkeras.report.figures.figure import Figure, Plan, Sheet

NAMES = (
    "flowchart", "dicom_verdicts", "training_curves", "precision_recall", "threshold_tradeoff", "prevalence",
    "age_sex", "views", "images_per_patient", "cooccurrence", "intensities", "roc", "auroc_bars", "confusion_matrix",
    "score_histogram", "subgroup_forest_auroc", "subgroup_forest_sensitivity", "subgroup_forest_specificity",
    "reliability", "decision_curve", "triage_waiting", "roc_comparison", "difference_forest", "robustness",
)  # fmt: skip
"""Every figure that a report may have."""


def _short(cautions: Sequence[str]) -> tuple[str, ...]:
    """Returns the first caution, and how many more there are: all of them would leave no room for type to be read.

    Example:
        >>> _short(["Synthetic images.", "Untrained base.", "Few positives."])
        ('Synthetic images.', 'And 2 more cautions: see the first page.')
    """
    more = len(cautions) - 1
    if more < 1:
        return tuple(cautions)
    return cautions[0], f"And {more} more {'caution' if more == 1 else 'cautions'}: see the first page."


def plan_figures(run: Any, facts: Facts, answers: Answers | None = None) -> list[Sheet]:
    """Returns every figure that the run and the answers allow, not yet drawn.

    Args:
        run: A `Run`.
        facts: Its facts.
        answers: The answers that the facts were collected with.
    """
    plan = Plan(run, facts, Answers() if answers is None else answers)
    catalogue.algorithm(plan)
    catalogue.data(plan)
    catalogue.performance(plan)
    catalogue.groups(plan)
    catalogue.probabilities(plan)
    catalogue.robustness(plan)
    catalogue.waiting(plan)
    catalogue.comparison(plan)
    return plan.sheets


def draw_figures(run: Any, facts: Facts, folder: Path, answers: Answers | None = None) -> dict[str, Figure]:
    """Draws every figure of the report.

    Args:
        run: A `Run`.
        facts: Its facts.
        folder: Where the PNG files go; must exist.
        answers: The answers that the facts were collected with.

    Returns:
        The figures by name; the same run, answers and versions give the same files.
    """
    sheets = plan_figures(run, facts, answers)
    notes = _short(facts["cautions"].value)
    for sheet in track(sheets, "Drawing figures"):
        sheet.write(folder, notes)
    return {sheet.figure.name: sheet.figure for sheet in sheets}
