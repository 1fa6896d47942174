"""Several runs in one drawing: their curves, their findings, what their differences amount to, and all that in files.

Runs differ in colour and in line style or marker, so that they stay apart in black-and-white print.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.evaluation.uncertainty.limits import p_text
from chexkeras.plots import style
from chexkeras.plots._inputs import FindingScores, finding_scores
from chexkeras.plots.forest import Row, difference_axis, difference_text, draw_rows, height_of
from chexkeras.plots.thresholds import confusion_matrix, rates_by_threshold
from chexkeras.plots.training.history import training_curves
from chexkeras.results import Comparison, Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chexkeras.runs.run import Run

LOOKS = (
    (style.BLUE, "-", "o"), (style.ORANGE, "--", "s"), (style.GREEN, "-.", "^"), (style.PURPLE, ":", "D"),
    (style.INK, (0, (5, 1, 1, 1, 1, 1)), "v"), (style.AMBER, (0, (1, 1)), "P"),
)  # fmt: skip
"""Colour, line style and marker of each run."""


@checked
@style.styled
def roc_comparison(
    runs: Mapping[str, pd.DataFrame],
    *,
    finding: str | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the ROC curves of several runs on the same images, each with its AUROC and interval in the legend.

    Overlapping intervals do not mean that runs are equal: they share images, so use `cx.compare` and
    `difference_forest` to tell them apart.

    Args:
        runs: Scores tables by the run's name; at least one, at most six.
        finding: Which finding, where there are several.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.

    Raises:
        ValueError: If there are too many runs, a class is missing, or the runs have different images or labels.
    """
    from chexkeras.evaluation.metrics import roc_curve
    from chexkeras.evaluation.uncertainty.intervals import auc_interval

    parts = _same_images(runs, finding)
    ax = style.axes(ax, 5.6, 5.8)
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=1, linestyle=":", label="chance, AUROC 0.500")
    for (name, found), look in zip(parts.items(), LOOKS, strict=False):
        false_positive_rate, true_positive_rate, _ = roc_curve(found.labels, found.scores)
        area = auc_interval(found.labels, found.scores, clusters=found.patients)
        ax.plot(false_positive_rate, true_positive_rate, **_line(look), label=f"{name}: {style.interval_text(area)}")
    ax.set_xlabel("1 − specificity")
    ax.set_ylabel("sensitivity")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.01)
    ax.set_aspect("equal")
    looks = {"title": found.counts, "title_fontsize": style.points(8.5), "alignment": "left"}
    style.legend_inside(ax, "lower right", **looks)
    style.title(ax, f"ROC of {len(parts)} runs: {style.words(found.finding)}", style.cautions(note, *runs.values()))
    return ax


@checked
@style.styled
def precision_recall_comparison(
    runs: Mapping[str, pd.DataFrame],
    *,
    finding: str | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the precision-recall curves of several runs on the same images, with the prevalence they are read against.

    Args:
        runs: Scores tables by the run's name; at least one, at most six.
        finding: Which finding, where there are several.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.

    Raises:
        ValueError: If there are too many runs, a class is missing, or the runs have different images or labels.
    """
    from chexkeras.evaluation.metrics import precision_recall_curve
    from chexkeras.evaluation.uncertainty.intervals import average_precision_interval

    parts = _same_images(runs, finding)
    ax = style.axes(ax, 5.6, 5.4)
    for (name, found), look in zip(parts.items(), LOOKS, strict=False):
        precision, recall, _ = precision_recall_curve(found.labels, found.scores)
        area = average_precision_interval(found.labels, found.scores, clusters=found.patients)
        text = f"{name}: {style.interval_text(area)}"
        ax.plot(recall, precision, **_line(look), drawstyle="steps-post", label=text)
    share = found.positives / len(found.rows)
    ax.axhline(share, color=style.GREY, linewidth=1.2, linestyle=":", label=f"prevalence {share:.3f} (no skill)")
    ax.set_xlabel("recall (sensitivity)")
    ax.set_ylabel("precision (positive predictive value)")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.03)
    heading = f"average precision, {found.counts}"
    # Below the drawing: curves of a rare and of a frequent finding lie in different corners.
    style.legend_below(ax, title=heading, title_fontsize=style.points(8.5))
    text = f"Precision and recall of {len(parts)} runs: {style.words(found.finding)}"
    style.title(ax, text, style.cautions(note, *runs.values()))
    return ax


@checked
@style.styled
def threshold_comparison(
    runs: Mapping[str, pd.DataFrame],
    *,
    finding: str | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws sensitivity (thick) and specificity (thin) of several runs against the threshold.

    A threshold means something else in every run, since scores are not on one scale; compare runs at equal sensitivity
    or specificity, not at equal threshold.

    Args:
        runs: Scores tables by the run's name; at least one, at most six.
        finding: Which finding, where there are several.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.

    Raises:
        ValueError: If there are too many runs, a class is missing, or the runs have different images or labels.
    """
    parts = _same_images(runs, finding)
    ax = style.axes(ax, 7.0, 5.2)
    for (name, found), look in zip(parts.items(), LOOKS, strict=False):
        grid, sensitivity, specificity = rates_by_threshold(found)
        drawn = _line(look)
        ax.step(grid, sensitivity, where="pre", **{**drawn, "linewidth": 2.4}, label=f"{name}: sensitivity")
        ax.step(grid, specificity, where="pre", **{**drawn, "linewidth": 1.0}, label=f"{name}: specificity")
    ax.set_xlabel("threshold (an image is called positive when its score is at least this)")
    ax.set_ylabel("share")
    ax.set_ylim(-0.02, 1.04)
    style.legend_below(ax, columns=2, title=found.counts, title_fontsize=style.points(8.5))
    text = f"Sensitivity and specificity of {len(parts)} runs: {style.words(found.finding)}"
    style.title(ax, text, style.cautions(note, *runs.values()))
    return ax


@checked
@style.styled
def difference_forest(
    comparisons: Comparison | Iterable[Comparison],
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws paired differences with their intervals, the line of no difference, and the non-inferiority margin.

    To the right of the line the first is better. The verdict beside each interval rests on the p-value after Holm's
    correction, so it may be more cautious than the interval looks.

    Args:
        comparisons: From `cx.compare`, `cx.compare_all` or `cx.evaluation.compare_published`.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.

    Raises:
        ValueError: If there is nothing to draw.
    """
    entries = [comparisons] if isinstance(comparisons, Comparison) else list(comparisons)
    if not entries:
        raise ValueError("comparisons is empty; give what compare returns.")
    headings = dict.fromkeys((entry.finding, entry.statistic) for entry in entries)
    rows: list[Row] = []
    for finding, statistic in headings:
        rows.append(Row(f"{style.words(finding)}: {statistic}", bold=True))
        rows += [
            Row(f"{entry.first} − {entry.second}", entry.difference, right=_verdict_text(entry))
            for entry in entries
            if (entry.finding, entry.statistic) == (finding, statistic)
        ]
    ax = style.axes(ax, 10.4, height_of(len(rows)))
    draw_rows(ax, rows, right_heading="difference (CI), p after Holm, verdict on the first")
    margins = sorted({entry.margin for entry in entries if entry.margin is not None})
    difference_axis(ax, [entry.difference for entry in entries], margins)
    under = "\ndashed: the stated margin; an interval to its right is not inferior" if margins else ""
    ax.set_xlabel(f"first − second; right of 0 the first is better{under}")
    style.title(ax, "Differences on the same images", style.cautions(note))
    return ax


def _verdict_text(entry: Comparison) -> str:
    if not entry.difference.estimable:
        return "not estimable"
    p_value = p_text(entry.p_adjusted)
    text = f"{difference_text(entry.difference)}, p {'' if p_value.startswith('<') else '= '}{p_value}, {entry.verdict}"
    if entry.non_inferior is not None:
        text += ", not inferior" if entry.non_inferior else ", non-inferiority not shown"
    return text


def _line(look: tuple[str, Any, str]) -> dict[str, Any]:
    return {"color": look[0], "linestyle": look[1], "linewidth": 1.8}


def few_enough(runs: Mapping[str, object]) -> None:
    """Refuses no run, and more runs than there are looks.

    Raises:
        ValueError: If so.
    """
    if not 1 <= len(runs) <= len(LOOKS):
        raise ValueError(f"{len(runs)} runs were given; 1 to {len(LOOKS)} can be told apart in one drawing.")


def _same_images(runs: Mapping[str, pd.DataFrame], finding: str | None) -> dict[str, FindingScores]:
    """Returns each run's scores of the finding, all of the same images with the same labels."""
    from chexkeras.evaluation.comparison.compare import match_scores
    from chexkeras.evaluation.scores import Scores

    few_enough(runs)
    tables = {name: Scores.of(finding_scores(scores, finding).rows) for name, scores in runs.items()}
    first, *others = tables
    for name in others:
        match_scores(tables[first], tables[name], (first, name))
    parts = {name: finding_scores(table, finding) for name, table in tables.items()}
    one = parts[first]
    if not one.positives or not one.negatives:
        missing = "positive" if not one.positives else "negative"
        raise ValueError(f"{one.finding}: no {missing} image, so there is no curve to draw.")
    return parts


@checked
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
            reason = f"{which}not estimable, {next(iter(unknown.values()))}"
            at = 0.0 if not which else 0.42
            ax.annotate(
                reason, (0.5, y + at), xytext=(4, 0), textcoords="offset points", va="center",
                fontsize=style.points(8), fontstyle="italic", color=style.GREY,
            )  # fmt: skip
    ax.axvline(0.5, color=style.GREY, linewidth=1.2, linestyle=":")
    ax.set_yticks(range(len(order)), [f"{style.words(finding)} ({positives[finding]:,})" for finding in order])
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlim(lowest - 0.02, 1.0)
    confidence = next(iter(runs.values())).findings[0].auroc.confidence if order else 0.95
    ax.set_xlabel(f"AUROC with {confidence * 100:g} % CI; dotted: chance. In brackets: positive images")
    if len(runs) > 1:
        style.legend_below(ax, columns=len(runs))
    split = " and ".join(dict.fromkeys(run.split for run in runs.values()))
    style.title(ax, f"AUROC by finding ({split})", style.cautions(note, *runs.values()))
    return ax


@checked
def draw_comparison(
    runs: "Mapping[str, Run]",
    comparisons: Sequence[Comparison],
    folder: str | Path,
    evaluations: Mapping[str, Evaluation] | None = None,
) -> list[Path]:
    """Draws ROC, precision-recall and threshold curves, differences, confusion matrices and training curves.

    Args:
        runs: Runs by name, scored on the same test images.
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
