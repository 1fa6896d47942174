"""The model beside shortcuts in the report: what it sees more than each of them, finding by finding."""

from typing import TYPE_CHECKING

from chexkeras import plots
from chexkeras.plots.forest import height_of
from chexkeras.report.figures.figure import PlannedFigure

if TYPE_CHECKING:
    from chexkeras.report.figures.inputs import FigureInputs


def shortcuts(inputs: "FigureInputs") -> PlannedFigure | None:
    """The model beside what could be answered without looking for disease."""
    study = inputs.run.shortcuts
    if study is None or not inputs.facts["shortcuts"].value:
        return None
    shown = [finding for finding in inputs.leading if finding in study.findings]
    return PlannedFigure(
        f"AUROC of the model minus that of each shortcut on the test part ({inputs.images_of('test')}) for "
        f"{inputs.led_by(shown)}; where an interval reaches zero, the model is not shown to see more",
        "shortcuts.json",
        lambda finding, ax, notes: plots.shortcut_comparison(study, finding, ax=ax, note=notes),
        (8.6, height_of(5) + 0.3),
        shown,
        columns=1,
    )
