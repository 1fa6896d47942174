"""Many trainings in one drawing: the folds of a cross-validation, the settings of a sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chexkeras.arguments import checked
from chexkeras.plots import style
from chexkeras.plots.cautions import cautions
from chexkeras.plots.forest import Row, draw_rows, height_of
from chexkeras.results import CrossValidated
from chexkeras.runs.series import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_SETTINGS = 30
_INCHES_A_ROW = 0.32


@checked
@style.styled
def fold_plot(
    evaluation: CrossValidated, *, ax: "Axes | None" = None, note: str | Sequence[str] | None = None
) -> "Axes":
    """Draws the AUROC of every training within its fold, and their mean with its interval, finding by finding.

    Args:
        evaluation: What a cross-validation found, `CrossValidation.evaluation`.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; None takes the evaluation's cautions.

    Returns:
        The axes.
    """
    rows = [
        Row(style.words(entry.finding), entry.auroc, (f"{entry.n_images:,}", f"{entry.n_positive:,}"))
        for entry in evaluation.findings
    ]
    ax = style.axes(ax, 8.2, height_of(len(rows)))
    confidence = f"{100 * evaluation.auroc.confidence:g} %"
    draw_rows(ax, rows, columns=("images", "positive"), right_heading=f"AUROC ({confidence} CI)")
    for place, entry in enumerate(evaluation.findings):
        areas = [fold.auroc for fold in entry.folds]
        ax.plot(areas, [place + 0.25] * len(areas), "|", color=style.GREY, markersize=style.points(5), zorder=1)
    ax.set_xlabel("AUROC, mean over folds; a stroke for each training in its fold")
    trainings = evaluation.n_folds * evaluation.n_repeats * evaluation.n_seeds
    style.title(ax, f"Cross-validation, {trainings} trainings", cautions(note, evaluation))
    return ax


@checked
@style.styled
def sweep_plot(sweep: Sweep, *, ax: "Axes | None" = None, note: str | Sequence[str] | None = None) -> "Axes":
    """Draws every setting of a sweep: its AUROC on validation, by which one is chosen, and on test.

    Args:
        sweep: The finished sweep; of more than 30 settings the best 30 on validation are drawn.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; None takes the sweep's cautions.

    Returns:
        The axes.
    """
    table = sweep.table.head(_MOST_SETTINGS)
    labels = [
        ", ".join(f"{str(field).rpartition('.')[2]} {value}" for field, value in row.items())
        for row in table.drop(columns=["run", "validation", "test"]).to_dict("records")
    ]
    ax = style.axes(ax, 6.8, 1.8 + _INCHES_A_ROW * len(table))
    places = np.arange(len(table))
    ax.hlines(places, table["validation"], table["test"], color=style.GREY, linewidth=1)
    ax.plot(table["validation"], places, "o", color=style.BLUE, label="validation, chooses")
    ax.plot(table["test"], places, "D", color=style.ORANGE, markerfacecolor="white", label="test, says what is left")
    ax.set_yticks(places, labels)
    ax.set_ylim(len(table) - 0.4, -0.9)
    ax.set_xlabel("AUROC, mean over findings" if len(sweep.recipe.targets) > 1 else "AUROC")
    style.legend_below(ax, columns=2)
    of = f"the best {len(table)} of " if len(sweep.table) > len(table) else ""
    style.title(ax, f"{of}{len(sweep.table)} settings", cautions(note, sweep))
    return ax


@checked
def draw_folds(evaluation: CrossValidated, path: str | Path) -> Path:
    """Draws a cross-validation into a file.

    Args:
        evaluation: What it found, `CrossValidation.evaluation`.
        path: The PNG file to write.

    Returns:
        The path.
    """
    return _saved(fold_plot(evaluation), path)


@checked
def draw_sweep(sweep: Sweep, path: str | Path) -> Path:
    """Draws a sweep into a file.

    Args:
        sweep: The finished sweep.
        path: The PNG file to write.

    Returns:
        The path.
    """
    return _saved(sweep_plot(sweep), path)


def _saved(ax: "Axes", path: str | Path) -> Path:
    import matplotlib.pyplot as plt

    drawn: Any = ax.figure
    style.save(drawn, path)
    plt.close(drawn)
    return Path(path)
