"""How well each finding is recognised, all findings in one drawing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chexkeras.plots import style
from chexkeras.plots.comparison import LOOKS, few_enough
from chexkeras.results import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@style.styled
def auroc_bars(
    evaluations: Evaluation | Mapping[str, Evaluation],
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the AUROC of every finding with its interval, for one run or several, the best recognised finding on top.

    A bar from 0 would spend most of its length below chance, so the value is a marker and the interval a line; chance
    is marked.

    Args:
        evaluations: One evaluation, or several by the run's name; at most six.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the evaluations' cautions.

    Returns:
        The axes.

    Raises:
        ValueError: If there is no evaluation, or more than six.
    """
    runs = {"": evaluations} if isinstance(evaluations, Evaluation) else dict(evaluations)
    few_enough(runs)
    areas = {name: {entry.finding: entry.auroc for entry in run.findings} for name, run in runs.items()}
    positives = {entry.finding: entry.n_positive for run in runs.values() for entry in run.findings}
    mean = {
        finding: [found[finding].value for found in areas.values() if finding in found and found[finding].estimable]
        for finding in positives
    }
    order = sorted(positives, key=lambda finding: -float(np.mean(mean[finding])) if mean[finding] else 1.0)
    ax = style.axes(ax, 7.0, 1.6 + (0.24 + 0.11 * len(runs)) * len(order))
    lowest = 0.5
    for number, ((name, found), look) in enumerate(zip(areas.items(), LOOKS, strict=False)):
        offset = 0.7 * ((number + 0.5) / len(runs) - 0.5)
        drawn = [(y + offset, found[finding]) for y, finding in enumerate(order) if finding in found]
        known = [(y, area) for y, area in drawn if area.estimable]
        colour, _, marker = look
        ax.errorbar(
            [area.value for _, area in known], [y for y, _ in known],
            xerr=[[area.value - area.low for _, area in known], [area.high - area.value for _, area in known]],
            color=colour, marker=marker, markersize=5.5, linestyle="none", linewidth=1.4, capsize=2.5, label=name,
        )  # fmt: skip
        lowest = min([lowest, *(area.low for _, area in known)])
    for y, finding in enumerate(order):
        unknown = {
            name: found[finding].reason
            for name, found in areas.items()
            if finding in found and not found[finding].estimable
        }
        # Nothing but a gap would pass for a run that was not made.
        if unknown:
            which = "" if len(unknown) == len(runs) else f"{', '.join(unknown)}: "
            said = f"{which}not estimable, {next(iter(unknown.values()))}"
            at = 0.0 if not which else 0.42
            ax.annotate(said, (0.5, y + at), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
                        fontstyle="italic", color=style.GREY)  # fmt: skip
    ax.axvline(0.5, color=style.GREY, linewidth=1.2, linestyle=":")
    ax.set_yticks(range(len(order)), [f"{style.words(finding)} ({positives[finding]:,})" for finding in order])
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlim(lowest - 0.02, 1.0)
    confidence = next(iter(runs.values())).findings[0].auroc.confidence if order else 0.95
    ax.set_xlabel(f"AUROC with {confidence * 100:g} % CI; dotted: chance. In brackets: positive images")
    if len(runs) > 1:
        # Half an inch of tick labels and axis label lies between the drawing and its legend.
        below = -0.5 * ax.figure.dpi / ax.get_window_extent().height
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, below), ncols=len(runs))
    split = " and ".join(dict.fromkeys(run.split for run in runs.values()))
    style.title(ax, f"AUROC by finding ({split})", style.cautions(note, *runs.values()))
    return ax
