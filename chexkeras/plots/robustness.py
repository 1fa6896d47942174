"""What changed films do to a model, change by change."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chexkeras.checks import one_of
from chexkeras.plots import style
from chexkeras.plots.forest import Row, draw_rows, height_of
from chexkeras.results import PerturbationEffect, Robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@style.styled
def robustness_forest(
    robustness: Robustness,
    statistic: str = "AUROC",
    *,
    finding: str | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws how much each change of the films costs, with intervals, the line of no loss, and the stated margin.

    Args:
        robustness: From `inference.robustness.measure_robustness`, or a run's `robustness`.
        statistic: "AUROC", "sensitivity" or "specificity".
        finding: Which finding, where there are several.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the measurement's cautions.

    Returns:
        The axes.

    Raises:
        ValueError: If the finding or the statistic was not measured, or one of several findings must be named.
    """
    found = robustness.findings
    if finding is None and len(found) > 1:
        raise ValueError(f"{len(found)} findings were measured; name one with finding=: {', '.join(found)}.")
    finding = one_of(found[0] if finding is None else finding, found, "finding")
    effects = robustness.of(finding)
    one_of(statistic, [entry.statistic for entry in effects[0].comparisons], "statistic")
    rows: list[Row] = []
    for group in dict.fromkeys(effect.group for effect in effects):
        rows.append(Row(group, bold=True))
        rows += [
            Row(effect.perturbation, effect[statistic].difference, right=_said(effect, statistic))
            for effect in effects
            if effect.group == group
        ]
    ax = style.axes(ax, 9.6, height_of(len(rows)))
    draw_rows(ax, rows, right_heading="difference (CI), verdict")
    ax.axvline(0, color=style.INK, linewidth=1.2, zorder=1)
    ax.axvline(-robustness.margin, color=style.ORANGE, linewidth=1.4, linestyle="--", zorder=1)
    limits = [effect[statistic].difference for effect in effects if effect[statistic].difference.estimable]
    ends = [0.0, -robustness.margin, *(number for entry in limits for number in (entry.low, entry.high))]
    reach = (max(ends) - min(ends)) * 0.06
    ax.set_xlim(min(ends) - reach, max(ends) + reach)
    ax.set_xlabel(
        f"{statistic} of the changed films − of the same films unchanged (n = {robustness.n_images:,})\n"
        f"dashed: the stated margin of {robustness.margin:g}; to its right a loss of so much is excluded"
    )
    style.title(ax, f"Changed films: {style.words(finding)}", style.cautions(note, robustness))
    return ax


def _said(effect: PerturbationEffect, statistic: str) -> str:
    difference = effect[statistic].difference
    if not difference.estimable:
        return "not estimable"
    value, low, high = (
        f"{round(number, 3) + 0.0:+.3f}" for number in (difference.value, difference.low, difference.high)
    )
    return f"{value} ({low} to {high}), ".replace("-", "−") + effect.verdict(statistic)
