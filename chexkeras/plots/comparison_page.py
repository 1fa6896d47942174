"""All drawings of several runs side by side, written into one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chexkeras.plots import style
from chexkeras.plots.comparison import (
    difference_forest,
    precision_recall_comparison,
    roc_comparison,
    threshold_comparison,
)
from chexkeras.plots.forest import height_of
from chexkeras.plots.thresholds import confusion_matrix
from chexkeras.plots.training import training_curves
from chexkeras.results import Comparison, Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chexkeras.runs.run import Run


def draw_comparison(
    runs: "Mapping[str, Run]",
    comparisons: Sequence[Comparison],
    folder: str | Path,
    evaluations: Mapping[str, Evaluation] | None = None,
) -> list[Path]:
    """Draws ROC, precision-recall and threshold curves, differences, confusion matrices and training curves.

    Args:
        runs: Runs by name, scored on the same test films.
        comparisons: From `evaluation.comparison.compare.compare_all` on these runs.
        folder: Where the PNG files go; made if need be, files of the same name are replaced.
        evaluations: By the run's name, for the confusion matrices: at a stated threshold, for example. By default the
            runs' own.

    Returns:
        The files written.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    notes = list(dict.fromkeys(caution for run in runs.values() for caution in run.cautions))
    scores = {name: run.scores("test") for name, run in runs.items()}
    findings = list(dict.fromkeys(comparison.finding for comparison in comparisons))
    written = []

    def page(name: str, panels: int = 1, width: float = 6.0, height: float = 6.0) -> "list[Axes]":
        drawn, axes = style.figure(1, panels, width=width, height=height)
        if panels > 1:
            # Once for all of them: in each they would leave the drawings no room.
            style.figure_note(drawn, tuple(notes))
        pages.append((drawn, place / f"{name}.png"))
        return axes

    pages: list[tuple[Figure, Path]] = []
    for finding in findings:
        curves = (("roc", roc_comparison), ("precision_recall", precision_recall_comparison),
                  ("thresholds", threshold_comparison))  # fmt: skip
        for name, draw in curves:
            draw(scores, finding=finding, ax=page(f"{name}_{finding}")[0], note=notes)
        axes = page(f"confusion_{finding}", len(runs), 4.6, 5.2)
        for ax, (name, run) in zip(axes, runs.items(), strict=True):
            confusion_matrix((evaluations or {}).get(name, run.evaluation), finding=finding, ax=ax, note=name)
    rows = len(comparisons) + len({(entry.finding, entry.statistic) for entry in comparisons})
    difference_forest(comparisons, ax=page("differences", 1, 10.4, height_of(rows))[0], note=notes)
    for name, run in runs.items():
        training_curves(run.history, kept=run.kept_epoch, ax=page(f"training_{name}")[0], note=[f"{name}.", *notes])
    for drawn, path in pages:
        style.save(drawn, path)
        written.append(path)
    return written
