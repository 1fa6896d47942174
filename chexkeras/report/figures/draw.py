"""The figures of a report: drawn from the run folder alone, each with a caption that is a sentence of facts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from chexkeras.progress import track
from chexkeras.report.answers import Answers
from chexkeras.report.facts.facts import Facts
from chexkeras.report.figures.catalogue import FIGURES
from chexkeras.report.figures.figure import Figure, PlannedFigure
from chexkeras.report.figures.inputs import FigureInputs

NAMES = tuple(FIGURES)
"""Every figure that a report may have."""


def plan_figures(run: Any, facts: Facts, answers: Answers | None = None) -> list[PlannedFigure]:
    """Returns every figure that the run and the answers allow, not yet drawn.

    Args:
        run: A `Run`.
        facts: Its facts.
        answers: The answers that the facts were collected with; None if there were none.
    """
    inputs = FigureInputs(run, facts, Answers() if answers is None else answers)
    planned = ((name, plan(inputs)) for name, plan in FIGURES.items())
    return [replace(found, name=name) for name, found in planned if found is not None and found.panels]


def draw_figures(run: Any, facts: Facts, folder: Path, answers: Answers | None = None) -> dict[str, Figure]:
    """Draws every figure of the report.

    Args:
        run: A `Run`.
        facts: Its facts.
        folder: Where the PNG files go; must exist.
        answers: The answers that the facts were collected with; None if there were none.

    Returns:
        The figures by name; the same run, answers and versions give the same files.
    """
    planned = plan_figures(run, facts, answers)
    cautions = tuple(facts["cautions"].value)
    for entry in track(planned, "Drawing figures"):
        entry.write(folder, cautions)
    return {
        entry.name: replace(entry.figure, cautions=cautions, at_head=True) if entry.cautions is None else entry.figure
        for entry in planned
    }
