"""The run at other hospitals in the report: the internal test and each site, finding by finding."""

from typing import TYPE_CHECKING

from chexkeras import plots
from chexkeras.plots.forest import height_of
from chexkeras.report.figures.figure import PlannedFigure
from chexkeras.runs.external import external_tests, pool_external

if TYPE_CHECKING:
    from chexkeras.report.figures.inputs import FigureInputs


def external(inputs: "FigureInputs") -> PlannedFigure | None:
    """AUROC in the internal test and at every other hospital, their mean, and what a new site may show."""
    names = set(inputs.facts["external"].value)
    tests = [test for test in external_tests(inputs.run.folder) if test.name in names]
    measured = {entry.finding for test in tests for entry in test.findings}
    shown = [finding for finding in inputs.leading if finding in measured]
    if not shown:
        return None
    areas = {finding: inputs.run.evaluation[finding].auroc for finding in shown}
    pooled = {
        finding: next((entry for entry in pool_external(tests, finding) if entry.statistic == "AUROC"), None)
        for finding in shown
    }
    drawn = [test.evaluation[finding].auroc for test in tests for finding in shown if finding in measured
             and any(entry.finding == finding for entry in test.findings)]  # fmt: skip
    return PlannedFigure(
        f"AUROC of the frozen model in the internal test ({inputs.images_of('test')}) and on the images of "
        f"{', '.join(test.name for test in tests)}, for {inputs.led_by(shown)}",
        "evaluation.json and external.json of each site",
        lambda finding, ax, notes: plots.external_forest(
            tests, finding, areas[finding], pooled=pooled[finding], ax=ax, note=notes
        ),
        (10.4, height_of(len(tests) + 3) + 0.3),
        shown,
        columns=1,
        estimates=[*areas.values(), *drawn],
        cautions=tuple(dict.fromkeys(caution for test in tests for caution in test.cautions)),
    )
