"""Every figure of a report, with many findings and long cautions: no text on another, none beyond the canvas."""

from functools import cache

import pytest

from chexkeras.report.answers import load_answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.figures.draw import NAMES, plan_figures
from chexkeras.runs.run import Run
from tests.plots.legible.every_plot import CAUTIONS
from tests.plots.legible.legibility import faults
from tests.report.conftest import Design, write_run_folder


@pytest.fixture(scope="module")
def planned_of_many(tmp_path_factory):
    """Returns the figures of a run with 14 findings by name."""

    @cache
    def plan():
        folder = tmp_path_factory.mktemp("many") / "run"
        run = Run.load(write_run_folder(folder, Design(targets=_named(), patients=150, prevalence=0.2)))
        return {planned.name: planned for planned in plan_figures(run, collect_facts(run))}

    return plan


def _named():
    from chexkeras.findings import NIH14

    return NIH14


@pytest.fixture(scope="module")
def planned_of_one(finished_run, answered):
    """Returns the figures of a run with one finding and every answer by name."""

    @cache
    def plan():
        run, answers = Run.load(finished_run), load_answers(answered)
        return {planned.name: planned for planned in plan_figures(run, collect_facts(run, answers=answers), answers)}

    return plan


@pytest.mark.parametrize("name", NAMES)
def test_no_text_of_a_figure_of_one_finding_is_covered_or_cut(name, planned_of_one):
    planned = planned_of_one().get(name)
    if planned is None:
        pytest.skip("not a figure of one finding")
    assert faults(planned.drawn(CAUTIONS), least_share=0.3) == []


@pytest.mark.parametrize("name", NAMES)
def test_no_text_of_a_figure_of_many_findings_is_covered_or_cut(name, planned_of_many):
    planned = planned_of_many().get(name)
    if planned is None:
        pytest.skip("not a figure of many findings")
    assert faults(planned.drawn(CAUTIONS), least_share=0.3) == []
