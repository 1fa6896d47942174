"""How well scores rank images, whatever the threshold: ROC and precision-recall curves with n and intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from chexkeras.arguments import checked
from chexkeras.plots import style
from chexkeras.plots._inputs import finding_scores, thinned
from chexkeras.results import Estimate, Evaluation, FindingEvaluation, OperatingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@checked
@style.styled
def roc(
    scores: pd.DataFrame,
    evaluation: Evaluation | FindingEvaluation | None = None,
    *,
    finding: str | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the ROC curve, its AUROC with the interval in the legend, and the frozen operating point.

    Args:
        scores: Scores table (one row per image and finding).
        evaluation: What was measured on these scores; without it the AUROC interval is computed here and no
            operating point is marked.
        finding: Which finding, where there are several.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the evaluation's cautions.

    Returns:
        The axes.

    Raises:
        ValueError: If the finding is not in the scores, or several are and none is named.
    """
    from chexkeras.evaluation.metrics import roc_curve
    from chexkeras.evaluation.uncertainty.intervals import auc_interval

    found = finding_scores(scores, finding, evaluation)
    entry, labels, values = found.measured, found.labels, found.scores
    ax = style.axes(ax, 5.2, 5.4)
    notes = style.cautions(note, evaluation, scores)
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=1, linestyle=":", label="chance")
    ax.set_xlabel("1 − specificity")
    ax.set_ylabel("sensitivity")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.01)
    ax.set_aspect("equal")
    text = f"ROC: {style.words(found.finding)}"
    if found.explain_if_empty(ax, text, notes):
        return ax
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, values)
    area = entry.auroc if entry else auc_interval(labels, values, clusters=found.patients)
    label = f"AUROC {style.interval_text(area)}\n{found.counts}"
    ax.plot(*thinned(false_positive_rate, true_positive_rate), color=style.BLUE, label=label)
    if entry and entry.operating_point and entry.sensitivity.estimable and entry.specificity.estimable:
        right = entry.specificity
        false_positives = Estimate(1 - right.value, 1 - right.high, 1 - right.low)
        bars = f"(bars: {entry.sensitivity.confidence * 100:g} % CI)"
        _draw_operating_point(ax, false_positives, entry.sensitivity, entry.operating_point, f"\n{bars}")
    style.legend_inside(ax, "lower right")
    style.title(ax, text, notes)
    return ax


@checked
@style.styled
def precision_recall(
    scores: pd.DataFrame,
    evaluation: Evaluation | FindingEvaluation | None = None,
    *,
    finding: str | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws precision against recall with the prevalence as the baseline that every such curve must be read against.

    Args:
        scores: Scores table (one row per image and finding).
        evaluation: What was measured on these scores; gives the interval and the operating point.
        finding: Which finding, where there are several.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the evaluation's cautions.

    Returns:
        The axes.

    Raises:
        ValueError: If the finding is not in the scores, or several are and none is named.
    """
    from chexkeras.evaluation.metrics import average_precision, precision_recall_curve

    found = finding_scores(scores, finding, evaluation)
    entry, labels, values = found.measured, found.labels, found.scores
    ax = style.axes(ax, 5.2, 5.0)
    notes = style.cautions(note, evaluation, scores)
    ax.set_xlabel("recall (sensitivity)")
    ax.set_ylabel("precision (positive predictive value)")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.03)
    text = f"Precision and recall: {style.words(found.finding)}"
    if found.explain_if_empty(ax, text, notes):
        return ax
    precision, recall, _ = precision_recall_curve(labels, values)
    if entry and entry.average_precision.estimable:
        area = style.interval_text(entry.average_precision)
    else:
        area = f"{average_precision(labels, values):.3f}"
    label = f"average precision {area}\n{found.counts}"
    ax.plot(*thinned(recall, precision), color=style.BLUE, drawstyle="steps-post", label=label)
    share = found.positives / len(found.rows)
    ax.axhline(share, color=style.GREY, linewidth=1.2, linestyle=":", label=f"prevalence {share:.3f} (no skill)")
    if entry and entry.operating_point and entry.sensitivity.estimable and entry.ppv.estimable:
        _draw_operating_point(ax, entry.sensitivity, entry.ppv, entry.operating_point)
    style.legend_inside(ax)
    style.title(ax, text, notes)
    return ax


def _draw_operating_point(ax: "Axes", x: Estimate, y: Estimate, point: OperatingPoint, further: str = "") -> None:
    label = f"operating point, threshold {point.threshold:.4g}{further}"
    style.error_bars(
        ax, x, y, colour=style.ORANGE, markersize=7, markeredgecolor="white", capsize=3, zorder=4, label=label
    )
