"""What a threshold makes of the scores: the trade-off it was chosen from, the calls it makes, the scores it cuts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.plots import style
from chexkeras.plots._inputs import FindingScores, evaluated, finding_scores, thinned
from chexkeras.results import Evaluation, FindingEvaluation, OperatingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@checked
@style.styled
def threshold_tradeoff(
    scores: pd.DataFrame,
    point: OperatingPoint | None = None,
    *,
    finding: str | None = None,
    split: str = "",
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws sensitivity and specificity against the threshold, with the chosen one marked.

    Args:
        scores: Scores table, normally of the part that chose the threshold.
        point: The chosen operating point.
        finding: Which finding, where there are several; by default the operating point's.
        split: The part's name for the legend; by default the one that chose the point.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.

    Raises:
        ValueError: If the finding is not in the scores, or several are and none is named.
    """
    found = finding_scores(scores, finding or (point.finding if point else None))
    # Wide enough for the legend's two columns; in a narrower figure they would squeeze the drawing.
    ax = style.axes(ax, 7.4, 4.8)
    notes = style.cautions(note, scores)
    ax.set_xlabel("threshold (an image is called positive when its score is at least this)")
    ax.set_ylabel("share")
    ax.set_ylim(-0.02, 1.04)
    text = f"Choosing the threshold: {style.words(found.finding)}"
    if found.explain_if_empty(ax, text, notes):
        return ax
    grid, sensitivity, specificity = rates_by_threshold(found)
    label = f"sensitivity, {found.positives:,} positive images"
    ax.step(*thinned(grid, sensitivity), where="pre", color=style.BLUE, label=label)
    label = f"specificity, {found.negatives:,} negative images"
    ax.step(*thinned(grid, specificity), where="pre", color=style.ORANGE, linestyle="--", label=label)
    split = split or (point.chosen_on if point else "")
    if point is not None:
        aim = f", target {point.target:g}" if point.target is not None else ""
        rule = point.rule.replace("_", " ")
        label = f"chosen: {point.threshold:.4g} (rule {rule}{aim})"
        ax.axvline(point.threshold, color=style.INK, linewidth=1.3, linestyle="-.", label=label)
        for name, estimate, colour, marker in (
            ("sensitivity", point.sensitivity, style.BLUE, "o"),
            ("specificity", point.specificity, style.ORANGE, "s"),
        ):
            if estimate.estimable:
                label = f"{name} there {style.interval_text(estimate)}"
                looks: dict[str, Any] = {"markersize": 7, "markeredgecolor": "white", "linestyle": "none", "zorder": 4}
                ax.plot([point.threshold], [estimate.value], marker=marker, color=colour, label=label, **looks)
    # Below the drawing: every corner of the drawing itself is crossed by one of the two curves.
    style.legend_below(ax, columns=2)
    style.title(ax, text + (f" ({split})" if split else ""), notes)
    return ax


def rates_by_threshold(found: FindingScores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (thresholds, sensitivity, specificity) at every score that occurs.

    Args:
        found: Scores of both classes.
    """
    grid = np.unique(found.scores)
    positive, negative = (np.sort(found.scores[found.labels == label]) for label in (1, 0))
    sensitivity = 1 - np.searchsorted(positive, grid, side="left") / found.positives
    specificity = np.searchsorted(negative, grid, side="left") / found.negatives
    return grid, sensitivity, specificity


@checked
@style.styled
def confusion_matrix(
    evaluation: Evaluation | FindingEvaluation,
    *,
    finding: str | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the four counts at the frozen threshold, shaded by their share of the true class.

    Args:
        evaluation: What was measured.
        finding: Which finding, where there are several.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the evaluation's cautions.

    Returns:
        The axes.

    Raises:
        ValueError: If several findings were evaluated and none is named.
    """
    finding, entry, split = evaluated(evaluation, finding)
    ax = style.axes(ax, 5.0, 4.4)
    ax.grid(visible=False)
    notes = style.cautions(note, evaluation)
    text = f"Calls at the threshold: {style.words(finding or '')}"
    if entry is None or entry.operating_point is None or entry.true_positives is None:
        ax.text(0.5, 0.5, "no threshold was chosen", transform=ax.transAxes, ha="center", va="center")
        style.title(ax, text, notes)
        return ax
    counts = np.array(
        [[entry.true_positives, entry.false_negatives], [entry.false_positives, entry.true_negatives]], float
    )
    sums = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = (("true positive", "false negative"), ("false positive", "true negative"))
    for row in range(2):
        for column in range(2):
            count, percent = f"{int(counts[row, column]):,}", f"{share[row, column] * 100:.1f} %"
            name = names[row][column]
            wordings = (
                f"{count}\n{name}\n{percent} of the row",
                "\n".join([count, *name.split(), percent, "of the row"]),
                f"{count}\n{percent}",
            )
            called = ax.text(
                column, row, wordings[0], ha="center", va="center", fontsize=style.points(10),
                color="white" if share[row, column] > 0.55 else style.INK,
            )  # fmt: skip
            style.keep_inside(called, wordings, 1, 1)
    ax.set_xticks([0, 1], ["called positive", "called negative"])
    ax.set_yticks([0, 1], [f"positive\nn = {entry.n_positive:,}", f"negative\nn = {entry.n_negative:,}"])
    ax.set_xlabel(f"score at least {entry.operating_point.threshold:.4g}" + (f"; {split} part" if split else ""))
    ax.set_ylabel("label")
    for spine in ax.spines.values():
        spine.set_visible(False)
    style.title(ax, text, notes)
    return ax


@checked
@style.styled
def score_histogram(
    scores: pd.DataFrame,
    point: OperatingPoint | None = None,
    *,
    finding: str | None = None,
    bins: int = 30,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the scores of positive and negative images, each class as a share of itself.

    Args:
        scores: Scores table.
        point: An operating point whose threshold is marked.
        finding: Which finding, where there are several; by default the operating point's.
        bins: Number of bins over [0, 1].
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.

    Raises:
        ValueError: If the finding is not in the scores, or several are and none is named.
    """
    found = finding_scores(scores, finding or (point.finding if point else None))
    ax = style.axes(ax)
    edges = np.linspace(0, 1, bins + 1)
    for label, word, colour, hatch in ((0, "negative", style.SKY, ""), (1, "positive", style.ORANGE, "//")):
        chosen = found.scores[found.labels == label]
        if len(chosen):
            ax.hist(
                chosen,
                list(edges),
                weights=np.full(len(chosen), 100 / len(chosen)),
                color=colour,
                alpha=0.6,
                hatch=hatch,
                edgecolor="white",
                label=f"{word}, n = {len(chosen):,}",
            )
    if point is not None:
        ax.axvline(
            point.threshold, color=style.INK, linewidth=1.3, linestyle="-.", label=f"threshold {point.threshold:.4g}"
        )
    ax.set_xlim(0, 1)
    ax.set_xlabel("score")
    ax.set_ylabel("% of the class")
    # Below the drawing: bars may stand in every corner of it.
    style.legend_below(ax, columns=3)
    style.title(ax, f"Scores: {style.words(found.finding)}", style.cautions(note, scores))
    return ax
