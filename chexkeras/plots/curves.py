"""How well scores rank images, whatever the threshold: ROC and precision-recall curves with n and intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from chexkeras.plots import style
from chexkeras.plots._inputs import classes, counted, evaluated, needs_both, rows_of, thinned
from chexkeras.results import Evaluation, FindingEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

    finding, entry, split = evaluated(evaluation, finding)
    finding, rows = rows_of(scores, finding)
    labels, values, positives, negatives = classes(rows)
    ax = style.axes(ax, 5.2, 5.4)
    notes = style.cautions(note, evaluation, scores)
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=1, linestyle=":", label="chance")
    ax.set_xlabel("1 − specificity")
    ax.set_ylabel("sensitivity")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.01)
    ax.set_aspect("equal")
    text = f"ROC: {style.words(finding)}"
    if not needs_both(ax, positives, negatives, text, notes):
        return ax
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, values)
    area = entry.auroc if entry else auc_interval(labels, values, clusters=rows["patient_id"].to_numpy())
    ax.plot(
        *thinned(false_positive_rate, true_positive_rate),
        color=style.BLUE,
        label=f"AUROC {style.interval_text(area)}\n{counted(split, positives, negatives)}",
    )
    if entry and entry.operating_point and entry.sensitivity.estimable and entry.specificity.estimable:
        x, y = 1 - entry.specificity.value, entry.sensitivity.value
        ax.errorbar(
            [x],
            [y],
            xerr=[
                [entry.specificity.high - entry.specificity.value],
                [entry.specificity.value - entry.specificity.low],
            ],
            yerr=[[y - entry.sensitivity.low], [entry.sensitivity.high - y]],
            color=style.ORANGE,
            marker="o",
            markersize=7,
            markeredgecolor="white",
            linestyle="none",
            capsize=3,
            zorder=4,
            label=f"operating point, threshold {entry.operating_point.threshold:.4g}\n(bars: "
            f"{entry.sensitivity.confidence * 100:g} % CI)",
        )
    ax.legend(loc="lower right")
    style.title(ax, text, notes)
    return ax


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

    finding, entry, split = evaluated(evaluation, finding)
    finding, rows = rows_of(scores, finding)
    labels, values, positives, negatives = classes(rows)
    ax = style.axes(ax, 5.2, 5.0)
    notes = style.cautions(note, evaluation, scores)
    ax.set_xlabel("recall (sensitivity)")
    ax.set_ylabel("precision (positive predictive value)")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.03)
    text = f"Precision and recall: {style.words(finding)}"
    if not needs_both(ax, positives, negatives, text, notes):
        return ax
    precision, recall, _ = precision_recall_curve(labels, values)
    if entry and entry.average_precision.estimable:
        area = style.interval_text(entry.average_precision)
    else:
        area = f"{average_precision(labels, values):.3f}"
    ax.plot(
        *thinned(recall, precision),
        color=style.BLUE,
        drawstyle="steps-post",
        label=f"average precision {area}\n{counted(split, positives, negatives)}",
    )
    share = positives / (positives + negatives)
    ax.axhline(share, color=style.GREY, linewidth=1.2, linestyle=":", label=f"prevalence {share:.3f} (no skill)")
    if entry and entry.operating_point and entry.sensitivity.estimable and entry.ppv.estimable:
        ax.errorbar(
            [entry.sensitivity.value],
            [entry.ppv.value],
            xerr=[
                [entry.sensitivity.value - entry.sensitivity.low],
                [entry.sensitivity.high - entry.sensitivity.value],
            ],
            yerr=[[entry.ppv.value - entry.ppv.low], [entry.ppv.high - entry.ppv.value]],
            color=style.ORANGE,
            marker="o",
            markersize=7,
            markeredgecolor="white",
            linestyle="none",
            capsize=3,
            zorder=4,
            label=f"operating point, threshold {entry.operating_point.threshold:.4g}",
        )
    ax.legend(loc="best")
    style.title(ax, text, notes)
    return ax
