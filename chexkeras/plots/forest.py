"""Forest plots: rows of estimates with intervals and text beside them, for groups, changed images and sites."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from chexkeras.arguments import checked
from chexkeras.checks import one_of
from chexkeras.evaluation.comparison.pooling import PooledSites
from chexkeras.evaluation.group_columns import column_words
from chexkeras.evaluation.uncertainty.limits import p_text
from chexkeras.plots import style
from chexkeras.plots._inputs import evaluated
from chexkeras.results import (
    Estimate,
    Evaluation,
    FindingEvaluation,
    PerturbationEffect,
    Robustness,
    Subgroup,
    SubgroupAnalysis,
    SubgroupGaps,
)
from chexkeras.results.evaluation import STATISTICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES_A_ROW = 0.29
_POINTS, _LEAST_POINTS = 10.0, 4.5
_LEAST_DRAWING, _LEAST_DRAWING_INCHES = 0.16, 0.8
"""What a forest keeps for the intervals themselves, of its width; texts that find no room beside that are left off."""

_HEAD_INCHES, _GAPS_INCHES = 1.1, 0.45
_READABLE_POINTS, _SMALLER, _EASY_DRAWING = 6.0, (0.9, 0.8, 0.7, 0.6), 0.35
"""In type of these sizes, none below so many points, numbers are kept; best where intervals have this share of all."""

_CELL, _CELL_GAP = 5.2, 1.2
"""A column of cells is at least so wide, and so much wider than the longest of them, in sizes of type."""


@dataclass(frozen=True)
class Row:
    """One line of a forest plot.

    Attributes:
        label: What stands on the left.
        estimate: The number; None for a heading.
        cells: Texts of the columns between label and drawing.
        right: Text on the right of a heading; an estimate's own text stands there otherwise.
        bold: Whether the label is a heading.
        summary: Whether the estimate is the overall one, drawn as a diamond.
    """

    label: str
    estimate: Estimate | None = None
    cells: tuple[str, ...] = ()
    right: str = ""
    bold: bool = False
    summary: bool = False


def height_of(rows: int) -> float:
    """Returns the height in inches of a new figure with so many rows."""
    return 1.5 + _INCHES_A_ROW * rows


def draw_rows(
    ax: "Axes", rows: Sequence[Row], *, columns: Sequence[str] = (), right_heading: str = "", digits: int = 3
) -> bool:
    """Draws rows from the top down: labels and columns on the left, estimates in the middle, texts on the right.

    Args:
        ax: The axes; its x-axis is the statistic's.
        rows: What to draw.
        columns: Headings of the cells.
        right_heading: Heading of the texts on the right.
        digits: Decimals of these texts.

    Returns:
        Whether there was room for the texts on the right; in a narrow panel they are left off, but for the reasons why
        there is no estimate, which then stand in the drawing.
    """
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    rights = [right_heading, *(_right_text(row, digits) for row in rows)]
    table = _columns(ax, rows, columns, rights)
    ax.tick_params(axis="x", labelsize=table.points)
    positions = list(range(len(rows)))
    ax.set_ylim(len(rows) - 0.4, -1.2)
    ax.set_yticks(positions, [""] * len(rows))
    beside = ax.get_yaxis_transform()

    def text(x: float, y: float, content: str, offset: float, align: str, **looks: Any) -> None:
        drawn = ax.annotate(
            content, (x, y), xycoords=beside, xytext=(offset, 0), textcoords="offset points", ha=align, va="center",
            fontsize=table.points, annotation_clip=False, **looks,
        )  # fmt: skip
        # What stands above and below may leave a row less height than was expected here.
        style.keep_inside(drawn, (content,), math.inf, 1)

    # Offsets in points, so that columns keep their distance whatever the size of the drawing.
    widths = table.cell_points if table.with_cells else ()
    cells = len(widths)
    # A column ends where those to its right begin.
    ends = [-(sum(widths[number + 1 :]) + 10) for number in range(cells)]
    label_at = -(sum(widths) + 8)
    for end, heading in zip(ends, columns, strict=False):
        text(0, -0.8, heading, end, "right", color=style.GREY)
    if table.with_right:
        text(1, -0.8, right_heading, 8, "left", color=style.GREY)
    for y, row, right in zip(positions, rows, rights[1:], strict=True):
        weight = "bold" if row.bold or row.summary else "normal"
        label = style.shortened(row.label, table.label_inches, table.points, weight=weight)
        text(0, y, label, label_at, "right", fontweight=weight)
        for end, cell in zip(ends, row.cells, strict=False):
            text(0, y, cell, end, "right")
        if row.estimate is not None and row.estimate.estimable:
            _draw(ax, y, row.estimate, summary=row.summary)
        if not table.with_right:
            if row.estimate is not None and not row.estimate.estimable:
                text(0, y, right, 4, "left", color=style.GREY, fontstyle="italic")
            continue
        if row.estimate is None:
            text(1, y, right, 8, "left", fontstyle="italic")
        elif not row.estimate.estimable:
            text(1, y, right, 8, "left", color=style.GREY, fontstyle="italic")
        else:
            text(1, y, right, 8, "left")
    return table.with_right


class _Columns(NamedTuple):
    """The texts of a forest in the room that they have.

    Attributes:
        points: Size of the type.
        cell_points: Width of each column of cells.
        label_inches: Room for a label.
        with_cells: Whether there is room for the cells.
        with_right: Whether there is room for the texts on the right.
    """

    points: float
    cell_points: tuple[float, ...]
    label_inches: float
    with_cells: bool
    with_right: bool


def _columns(ax: "Axes", rows: Sequence[Row], columns: Sequence[str], rights: Sequence[str]) -> _Columns:
    """Returns which texts fit beside a drawing that can still be read; labels stay, if need be shortened."""
    place, points = style.room(ax), style.points(_POINTS)
    # No larger than its row, title and axis labels taken off.
    row_inches = max(place.height - _HEAD_INCHES, 0.5 * place.height) / (len(rows) + 1.6)
    points = max(_LEAST_POINTS, min(points, 0.85 * row_inches * 72))
    kept = [max(_LEAST_DRAWING_INCHES, share * place.width) for share in (_LEAST_DRAWING, _EASY_DRAWING)]
    room, roomy = (place.width - inches - _GAPS_INCHES for inches in kept)
    # Smaller type before any numbers are left off.
    smaller = [share * points for share in _SMALLER if share * points >= _READABLE_POINTS]
    for size, limit in [(points, room), *((size, limit) for limit in (roomy, room) for size in smaller)]:
        label, widths, right = _widths(rows, columns, rights, size)
        taken = sum(widths) / 72 + right
        if label + taken <= limit:
            return _Columns(size, widths, max(room - taken, 0.3), True, True)
    label, widths, right = _widths(rows, columns, rights, points)
    with_right, cells = label + right <= room, sum(widths) / 72
    with_cells = not with_right and label + cells <= room
    taken = right if with_right else cells * with_cells
    return _Columns(points, widths, max(room - taken, 0.3), with_cells, with_right)


def _widths(
    rows: Sequence[Row], columns: Sequence[str], rights: Sequence[str], points: float
) -> tuple[float, tuple[float, ...], float]:
    """Returns what labels take (inches), each column of cells (points), and the texts on the right (inches)."""
    label = max((style.text_inches(row.label, points, weight="bold") for row in rows), default=0.0)
    cells = [
        max(style.text_inches(text, points) for text in (heading, *(row.cells[at] for row in rows if row.cells[at:])))
        for at, heading in enumerate(columns)
    ]
    widths = tuple(max(_CELL * points, 72 * inches + _CELL_GAP * points) for inches in cells)
    return label, widths, max(style.text_inches(text, points) for text in rights)


def _right_text(row: Row, digits: int) -> str:
    if row.estimate is None or row.right:
        return row.right
    return _numbers(row.estimate, digits) if row.estimate.estimable else row.estimate.reason.split(",")[0]


def _draw(ax: "Axes", y: float, estimate: Estimate, *, summary: bool) -> None:
    marker, colour, size = ("D", style.INK, 6.5) if summary else ("s", style.BLUE, 5.5)
    style.error_bars(ax, estimate, y, marker=marker, colour=colour, markersize=size, linewidth=1.4, zorder=3)


def difference_text(difference: Estimate) -> str:
    """Returns, for example, "−0.120 (−0.181 to −0.052)", or "not estimable".

    Args:
        difference: An estimate that may be negative.
    """
    if not difference.estimable:
        return "not estimable"
    # Plus zero: what rounds to nothing has no sign to lose.
    limits = (difference.value, difference.low, difference.high)
    value, low, high = (f"{round(number, 3) + 0.0:+.3f}".replace("-", "−") for number in limits)
    return f"{value} ({low} to {high})"


def difference_axis(ax: "Axes", differences: Iterable[Estimate], margins: Sequence[float]) -> None:
    """Draws the lines of no difference and of the margins, and makes room for all intervals.

    Args:
        ax: The axes; their x-axis is the difference.
        differences: What is drawn.
        margins: Losses from which on a difference matters, each above 0.
    """
    ax.axvline(0, color=style.INK, linewidth=1.2, zorder=1)
    for margin, dashes in zip(margins, itertools.cycle(("--", ":")), strict=False):
        ax.axvline(-margin, color=style.ORANGE, linewidth=1.4, linestyle=dashes, label=f"margin −{margin:g}", zorder=1)
    limits = [limit for entry in differences if entry.estimable for limit in (entry.low, entry.high)]
    low, high = min([0.0, *limits, *(-margin for margin in margins)]), max([0.0, *limits])
    reach = (high - low) * 0.06 or 0.1
    ax.set_xlim(low - reach, high + reach)


def _numbers(estimate: Estimate, digits: int) -> str:
    value, low, high = (f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high))
    between = " to " if estimate.low < 0 else "–"
    return f"{value} ({low}{between}{high})".replace("-", "−")


_WORDS = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity"}


@checked
@style.styled
def subgroup_forest(
    analyses: Evaluation | FindingEvaluation | SubgroupAnalysis | Iterable[SubgroupAnalysis],
    statistic: str = "auroc",
    *,
    finding: str | None = None,
    overall: Estimate | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws a statistic in every group with its interval, and a vertical line at the overall value.

    Each column's heading carries the p-value for a difference between its groups, after Holm's correction. Groups too
    small to estimate are listed with the reason, so that nobody takes them for unaffected.

    Args:
        analyses: What was measured in groups; of an evaluation, its finding's.
        statistic: "auroc", "sensitivity" or "specificity".
        finding: Which finding, where an evaluation holds several.
        overall: The value on all images; by default the evaluation's.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the evaluation's cautions.

    Returns:
        The axes.

    Raises:
        ValueError: If the statistic is unknown, nothing was measured in groups, or several findings were evaluated and
            none is named.
    """
    name = _WORDS[one_of(statistic, STATISTICS, "statistic")]
    groups, title = _groups(analyses, finding)
    if isinstance(analyses, Evaluation | FindingEvaluation):
        overall = overall or getattr(evaluated(analyses, finding)[1], statistic)
    if not groups:
        raise ValueError(
            "nothing was measured in groups; give subgroups to evaluate, or what subgroup_analyses returns."
        )
    rows = [] if overall is None else [Row("all images", overall, ("", ""), summary=True)]
    for analysis in groups:
        rows.append(_heading(analysis, statistic))
        rows += [_row(group, statistic, analysis.column) for group in analysis.groups]
        if analysis.n_unknown:
            rows.append(Row("not known", None, (f"{analysis.n_unknown:,}", ""), right="in no group"))
    ax = style.axes(ax, 8.2, height_of(len(rows)))
    counted = "negative" if statistic == "specificity" else "positive"
    told = draw_rows(ax, rows, columns=("images", counted), right_heading=f"{name} (95 % CI)")
    if overall is not None and overall.estimable:
        ax.axvline(overall.value, color=style.INK, linewidth=1, linestyle="--", zorder=1)
    estimates = [row.estimate for row in rows if row.estimate is not None and row.estimate.estimable]
    low = min((estimate.low for estimate in estimates), default=0.0)
    ax.set_xlim(max(0.0, low - 0.05), 1.0)
    tests = "p: for a difference between the groups of a column, after Holm over all tests made together"
    ax.set_xlabel(f"{name}\n{tests}" if told else name)
    style.title(ax, f"{name[0].upper()}{name[1:]} in groups{title}", style.cautions(note, analyses))
    return ax


def _groups(
    analyses: Evaluation | FindingEvaluation | SubgroupAnalysis | Iterable[SubgroupAnalysis], finding: str | None
) -> tuple[list[SubgroupAnalysis], str]:
    if isinstance(analyses, SubgroupAnalysis):
        return [analyses], f": {style.words(finding)}" if finding else ""
    if isinstance(analyses, Evaluation | FindingEvaluation):
        named, entry, split = evaluated(analyses, finding)
        text = f": {style.words(named or '')}" + (f" ({split})" if split else "")
        return list(entry.subgroups) if entry else [], text
    return list(analyses), f": {style.words(finding)}" if finding else ""


def _heading(analysis: SubgroupAnalysis, statistic: str) -> Row:
    column = analysis.column
    words = column_words(column).heading
    test = next((test for test in analysis.interactions if test.statistic == statistic), None)
    if test is None or test.reason:
        return Row(words, right="no test between groups", bold=True)
    return Row(words, right=f"difference: p {_equal(p_text(test.p_adjusted))}", bold=True)


def _row(group: Subgroup, statistic: str, column: str) -> Row:
    counted = group.n_negative if statistic == "specificity" else group.n_positive
    return Row(
        column_words(column).level(group.level), getattr(group, statistic), (f"{group.n_images:,}", f"{counted:,}")
    )


@checked
@style.styled
def gaps_forest(gaps: SubgroupGaps, *, ax: "Axes | None" = None, note: str | Sequence[str] | None = None) -> "Axes":
    """Draws one statistic in the groups of a column with intervals that hold together, and how far they lie apart.

    Args:
        gaps: From `subgroup_gaps`.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.
    """
    name, words = _WORDS[gaps.statistic], column_words(gaps.column)
    counted = "negative" if gaps.statistic == "specificity" else "positive"
    rows = [Row("all images", gaps.overall, ("", ""), summary=True), Row(words.heading, bold=True)]
    for group in gaps.groups:
        n = group.n_negative if gaps.statistic == "specificity" else group.n_positive
        rows.append(Row(words.level(group.level), group.value, (f"{group.n_images:,}", f"{n:,}")))
    if gaps.n_unknown:
        rows.append(Row("not known", None, (f"{gaps.n_unknown:,}", ""), right="in no group"))
    ax = style.axes(ax, 8.2, height_of(len(rows)))
    percent = f"{100 * gaps.overall.confidence:g} %"
    draw_rows(ax, rows, columns=("images", counted), right_heading=f"{name} ({percent} CI)")
    if gaps.overall.estimable:
        ax.axvline(gaps.overall.value, color=style.INK, linewidth=1, linestyle="--", zorder=1)
    estimates = [row.estimate for row in rows if row.estimate is not None and row.estimate.estimable]
    ax.set_xlim(max(0.0, min((estimate.low for estimate in estimates), default=0.0) - 0.05), 1.0)
    apart = f"no gap: {gaps.gap.reason}"
    if gaps.gap.estimable:
        best, worst = (words.level(level) for level in (gaps.best, gaps.worst))
        apart = (
            f"{best} lies {_numbers(gaps.gap, 3)} above {worst}; by chance alone {gaps.gap_by_chance:.3f} on average"
        )
    ax.set_xlabel(f"{name}, intervals of the groups cover together\n{apart}")
    heading = f"{name[0].upper()}{name[1:]} by {words.words}: {style.words(gaps.finding)}"
    style.title(ax, heading, style.cautions(note))
    return ax


@checked
@style.styled
def robustness_forest(
    robustness: Robustness,
    statistic: str | None = None,
    *,
    finding: str | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws how much each change of the images costs, with intervals, the line of no loss, and the stated margins.

    A row for each change holds the differences of AUROC and, where images were called, of sensitivity and specificity;
    beside it stands the verdict on the change, the worse of those on ranking and on the operating point.

    Args:
        robustness: From `inference.robustness.measure_robustness`, or a run's `robustness`.
        statistic: Only "AUROC", "sensitivity" or "specificity", with its numbers and verdict; None draws all of them.
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
    measured = [entry.statistic for entry in effects[0].comparisons]
    drawn = measured if statistic is None else [one_of(statistic, measured, "statistic")]
    rows: list[Row] = []
    at: dict[str, int] = {}
    for group in dict.fromkeys(effect.group for effect in effects):
        rows.append(Row(group, bold=True))
        for effect in (effect for effect in effects if effect.group == group):
            at[effect.perturbation] = len(rows)
            difference = effect[drawn[0]].difference
            if len(drawn) > 1:
                rows.append(Row(effect.perturbation, right=_verdict_text(effect)))
            else:
                rows.append(Row(effect.perturbation, difference, right=_loss_text(effect, drawn[0])))
    ax = style.axes(ax, 9.6, height_of(len(rows) if len(drawn) == 1 else round(1.4 * len(rows))))
    draw_rows(ax, rows, right_heading="difference (CI), verdict" if len(drawn) == 1 else "verdict: ranking, calls")
    margins = sorted({entry.margin or 0.0 for entry in effects[0].comparisons if entry.statistic in drawn})
    differences = [effect[name].difference for effect in effects for name in drawn]
    difference_axis(ax, differences, margins)
    if len(drawn) > 1:
        for effect in effects:
            _draw_side_by_side(ax, at[effect.perturbation], effect, drawn)
    stated = " and ".join(f"{margin:g}" for margin in margins)
    of_which, lines = (" (AUROC; rates)", "dashed and dotted") if len(margins) > 1 else ("", "dashed")
    ax.set_xlabel(
        f"{drawn[0] if len(drawn) == 1 else 'performance'} on the changed images − on the same images unchanged "
        f"(n = {robustness.n_images:,})\n"
        f"{lines}: the stated margin of {stated}{of_which}; to its right a loss of so much is excluded"
    )
    if len(drawn) > 1:
        style.legend_below(ax, columns=len(drawn) + len(margins), fontsize=_POINTS)
    style.title(ax, f"Changed images: {style.words(finding)}", style.cautions(note, robustness))
    return ax


_MARKS = {"AUROC": ("s", style.BLUE), "sensitivity": ("o", style.PURPLE), "specificity": ("^", style.GREEN)}
_APART = 0.26


def _draw_side_by_side(ax: "Axes", y: int, effect: PerturbationEffect, statistics: Sequence[str]) -> None:
    """Draws the differences of several statistics in one row; the first row's marks are named in the legend."""
    named = set(ax.get_legend_handles_labels()[1])
    for number, name in enumerate(statistics):
        difference, (marker, colour) = effect[name].difference, _MARKS[name]
        if difference.estimable:
            label = "_nolegend_" if name in named else name
            place = y + _APART * (number - (len(statistics) - 1) / 2)
            style.error_bars(ax, difference, place, marker=marker, colour=colour, markersize=5, linewidth=1.3,
                             label=label, zorder=3)  # fmt: skip


def _verdict_text(effect: PerturbationEffect) -> str:
    return f"{effect.leading}: {effect.discrimination}, {effect.operating_point}"


def _loss_text(effect: PerturbationEffect, statistic: str) -> str:
    difference = effect[statistic].difference
    return difference_text(difference) + (f", {effect.verdict(statistic)}" if difference.estimable else "")


@checked
@style.styled
def sites_forest(pooled: PooledSites, *, ax: "Axes | None" = None, note: str | Sequence[str] | None = None) -> "Axes":
    """Draws a statistic at every site, the mean of the sites, and where a new site is expected.

    Args:
        pooled: From `pool_sites` or `pool_scores`.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions of the pooling.

    Returns:
        The axes.
    """
    shares = ["–" if math.isnan(site.weight) else f"{site.weight:.0%}" for site in pooled.sites]
    rows = [
        Row(site.name, site.estimate, (f"{site.estimate.n:,}", share))
        for site, share in zip(pooled.sites, shares, strict=True)
    ]
    rows.append(Row("mean of sites", pooled.mean, (f"{pooled.mean.n:,}", ""), summary=True))
    rows.append(Row("a new site", pooled.prediction, ("", "")))
    ax = style.axes(ax, 8.2, height_of(len(rows)))
    level = f"{pooled.mean.confidence * 100:g} %"
    draw_rows(ax, rows, columns=("images", "weight"), right_heading=f"{pooled.statistic} ({level} interval)")
    if pooled.mean.estimable:
        ax.axvline(pooled.mean.value, color=style.INK, linewidth=1, linestyle="--", zorder=1)
    if pooled.scale == "logit":
        low = min((row.estimate.low for row in rows if row.estimate is not None and row.estimate.estimable), default=0)
        ax.set_xlim(max(0.0, low - 0.05), 1.0)
    words = f"{pooled.statistic}\nlast row: prediction interval of a site's true value"
    if pooled.i_squared.estimable:
        words += f"\nI² {pooled.i_squared}, Q test p {_equal(p_text(pooled.q_p_value))}"
    ax.set_xlabel(words)
    about = f"{pooled.statistic[0].upper()}{pooled.statistic[1:]} over sites"
    about += f": {style.words(pooled.finding)}" if pooled.finding else ""
    style.title(ax, about, style.cautions(note, pooled))
    return ax


def _equal(p_value: str) -> str:
    return p_value if p_value.startswith("<") else f"= {p_value}"
