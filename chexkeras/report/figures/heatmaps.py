"""The gallery of heat maps in the report: what the run kept of its study, drawn at random."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras import plots
from chexkeras.explanation.heatmaps import Heatmaps
from chexkeras.plots import style
from chexkeras.report.figures.figure import PlannedFigure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chexkeras.report.figures.inputs import FigureInputs

_COLUMNS, _INCHES, _ROW_INCHES = 4, 10.4, 2.95
_PEAK = {True: ", peak in a box", False: ", peak outside", None: ""}


def heatmap_gallery(inputs: "FigureInputs") -> PlannedFigure | None:
    """Hits, misses, false alarms and correct negatives with their heat maps, where these depend on the model."""
    facts = inputs.facts
    if not (facts["heatmaps"].value and facts["heatmaps.gallery"].value):
        return None
    study, gallery = inputs.run.heatmaps, inputs.run.heatmap_gallery
    names = tuple(str(place) for place in range(len(study.examples)))
    scores = np.array([[entry["score"]] for entry in study.examples], np.float32)
    maps = Heatmaps(
        gallery.maps[:, np.newaxis], scores, names, (study.finding,), study.checks.method, study.checks.layer,
        "relative", gallery.images.shape[1],
    )  # fmt: skip
    rows = [(name, study.finding, *box) for name, drawn in zip(names, gallery.boxes, strict=True) for box in drawn]
    boxes = pd.DataFrame(rows, columns=["image_id", "finding", "x_px", "y_px", "width_px", "height_px"])
    # They are shares of the image's side.
    boxes.attrs["image_px"] = 1.0
    titles = [f"{entry['outcome']}{_PEAK[entry['hit']]}" for entry in study.examples]

    def draw(_: str, ax: "Axes", notes: tuple[str, ...]) -> None:
        plots.heatmap_gallery(
            maps, pd.DataFrame({"image_id": names}), boxes=boxes, titles=titles, threshold=study.threshold,
            pixels=list(gallery.images), columns=_COLUMNS, ax=ax, note=notes,
        )  # fmt: skip

    called = facts["heatmaps.gallery.threshold"].text
    boxed = ". White: radiologists' boxes" if len(boxes) and not facts["source.synthetic"].value else ""
    boxed = ". White: boxes of the synthetic finding" if len(boxes) and not boxed else boxed
    return PlannedFigure(
        f"Heat maps of {facts['heatmaps.gallery.images'].text} test images for {style.words(study.finding)}, drawn at "
        f"random of each outcome at the threshold {called}, each on its own scale{boxed}",
        "heatmaps.json and heatmaps.png",
        draw,
        (_INCHES, _ROW_INCHES * -(-len(names) // _COLUMNS) + 0.8),
    )
