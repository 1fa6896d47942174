"""How unlike its training images a run finds images: validation and test against test images that were changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chexkeras.arguments import checked
from chexkeras.plots import style
from chexkeras.results import Estimate, Novelty
from chexkeras.results.estimate import NOT_MEASURED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES_A_ROW, _HEAD_INCHES = 0.42, 1.5
_LINEAR_TO = 1.0


def novelty_rows(novelty: Novelty) -> list[tuple[str, tuple[float, ...], Estimate]]:
    """Returns what is drawn from top to bottom: a name, the percentiles, and the share that is flagged.

    Args:
        novelty: From a run.
    """
    rows = [("validation", novelty.validation, novelty.false_alarms), ("test", novelty.test, novelty.on_test)]
    rows += [(f"test, {entry.name}", entry.percentiles, entry.flagged) for entry in novelty.changed]
    return [row for row in rows if row[1]]


@checked
@style.styled
def novelty_distances(novelty: Novelty, *, ax: "Axes | None" = None, note: str | Sequence[str] | None = None) -> "Axes":
    """Draws how far images lie from the training images, and what lies beyond the frozen threshold.

    A line reaches from the 1st to the 99th percentile of each group, a bar from the 25th to the 75th; a point marks the
    median. Beside each group's name stands the share beyond the threshold, with its interval.

    Args:
        novelty: A run's `novelty`, or from `inference.measure_novelty`.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions of the measure.

    Returns:
        The axes.

    Raises:
        ValueError: If it holds no percentiles, as one that was never frozen on validation.
    """
    rows = novelty_rows(novelty)
    if not rows:
        raise ValueError("the novelty holds no distances; take that of a run, run.novelty, which was frozen.")
    ax = style.axes(ax, 9.4, _HEAD_INCHES + _INCHES_A_ROW * len(rows))
    places = np.arange(len(rows))[::-1]
    for place, (name, percentiles, _) in zip(places, rows, strict=True):
        low, quarter, median, three_quarters, high = (percentiles[at] for at in (1, 25, 50, 75, 99))
        colour = style.ORANGE if "," in name else style.BLUE
        ax.hlines(place, low, high, color=colour, linewidth=1.2, zorder=2)
        ax.hlines(place, quarter, three_quarters, color=colour, linewidth=5, alpha=0.6, zorder=2)
        ax.plot([median], [place], "o", color=colour, markersize=5, zorder=3)
    # A knee lies a hundred times as far away as a chest: logarithmic above 1, where every group can still be seen.
    ax.set_xscale("symlog", linthresh=_LINEAR_TO)
    # Plain numbers: powers of ten would be set as formulas, which our texts are not.
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if not np.isnan(novelty.threshold):
        ax.axvline(novelty.threshold, color=style.INK, linewidth=1, linestyle="--", zorder=1)
    flagged = [_share(estimate) for _, _, estimate in rows]
    ax.set_yticks(places, [f"{name}\nflagged {share}" for (name, _, _), share in zip(rows, flagged, strict=True)])
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set_xlabel(
        "novelty (0: the median training image, 1: one in a hundred of them exceeds it)\n"
        f"dashed: the threshold, frozen on validation for {novelty.rate:g} false alarms"
    )
    style.title(ax, "How unlike the training images", style.cautions(note, novelty))
    return ax


def _share(estimate: Estimate) -> str:
    return style.interval_text(estimate) if estimate.estimable and estimate != NOT_MEASURED else "not estimable"
