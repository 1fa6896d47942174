"""How well scores separate a finding from the rest: curves, thresholds, counts, each with its n and interval."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras.checks import nearest, require_columns
from chexkeras.plots import style
from chexkeras.results import Evaluation, FindingEvaluation, OperatingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FIX = "Give a scores table as predict_scores returns it."


def _rows(scores: pd.DataFrame, finding: str | None) -> tuple[str, pd.DataFrame]:
    """Returns the finding and its rows with a known label.

    Raises:
        ValueError: If the finding is not there, or several are and none is named.
    """
    require_columns(scores, ["patient_id", "finding", "label", "score"], "the scores table", _FIX)
    names = [str(name) for name in scores["finding"].unique()]
    if finding is None:
        if len(names) != 1:
            raise ValueError(f"the scores hold {len(names)} findings ({', '.join(names)}); say finding='...'.")
        finding = names[0]
    if finding not in names:
        raise ValueError(f"no scores for {finding!r}; {nearest(finding, names)}. There are: {', '.join(names)}.")
    rows = scores[(scores["finding"] == finding) & scores["label"].notna()]
    return finding, rows


def _evaluated(
    evaluation: Evaluation | FindingEvaluation | None, finding: str | None
) -> tuple[str | None, FindingEvaluation | None, str]:
    """Returns (finding, its evaluation, the split's name), as far as they were given."""
    if evaluation is None or isinstance(evaluation, FindingEvaluation):
        return finding or (evaluation.finding if evaluation else None), evaluation, ""
    if finding is None and len(evaluation.findings) == 1:
        finding = evaluation.findings[0].finding
    if finding is None:
        names = ", ".join(entry.finding for entry in evaluation.findings)
        raise ValueError(f"the evaluation holds several findings ({names}); say finding='...'.")
    return finding, evaluation[finding], evaluation.split


def _where(split: str, positives: int, negatives: int) -> str:
    part = f"{split}, " if split else ""
    return f"{part}n = {positives + negatives:,} ({positives:,} positive)"


def _classes(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int, int]:
    labels = rows["label"].to_numpy(float)
    scores = rows["score"].to_numpy(float)
    return labels, scores, int((labels == 1).sum()), int((labels == 0).sum())


def _needs_both(ax: "Axes", positives: int, negatives: int, text: str, notes: tuple[str, ...]) -> bool:
    """Says on the axes why there is no curve; returns whether there can be one."""
    if positives and negatives:
        return True
    missing = "positive" if not positives else "negative"
    ax.text(0.5, 0.5, f"not estimable:\nno {missing} image", transform=ax.transAxes, ha="center", va="center")
    style.title(ax, text, notes)
    return False


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
    from chexkeras.evaluation.intervals import auc_interval
    from chexkeras.evaluation.metrics import roc_curve

    finding, entry, split = _evaluated(evaluation, finding)
    finding, rows = _rows(scores, finding)
    labels, values, positives, negatives = _classes(rows)
    ax = style.axes(ax, 5.2, 5.4)
    notes = style.cautions(note, evaluation, scores)
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=1, linestyle=":", label="chance")
    ax.set_xlabel("1 − specificity")
    ax.set_ylabel("sensitivity")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.01)
    ax.set_aspect("equal")
    text = f"ROC: {style.words(finding)}"
    if not _needs_both(ax, positives, negatives, text, notes):
        return ax
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, values)
    area = entry.auroc if entry else auc_interval(labels, values, clusters=rows["patient_id"].to_numpy())
    ax.plot(
        false_positive_rate,
        true_positive_rate,
        color=style.BLUE,
        label=f"AUROC {style.interval_text(area)}\n{_where(split, positives, negatives)}",
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

    finding, entry, split = _evaluated(evaluation, finding)
    finding, rows = _rows(scores, finding)
    labels, values, positives, negatives = _classes(rows)
    ax = style.axes(ax, 5.2, 5.0)
    notes = style.cautions(note, evaluation, scores)
    ax.set_xlabel("recall (sensitivity)")
    ax.set_ylabel("precision (positive predictive value)")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.03)
    text = f"Precision and recall: {style.words(finding)}"
    if not _needs_both(ax, positives, negatives, text, notes):
        return ax
    precision, recall, _ = precision_recall_curve(labels, values)
    if entry and entry.average_precision.estimable:
        area = style.interval_text(entry.average_precision)
    else:
        area = f"{average_precision(labels, values):.3f}"
    ax.plot(
        recall,
        precision,
        color=style.BLUE,
        drawstyle="steps-post",
        label=f"average precision {area}\n{_where(split, positives, negatives)}",
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
    finding, rows = _rows(scores, finding or (point.finding if point else None))
    labels, values, positives, negatives = _classes(rows)
    ax = style.axes(ax)
    notes = style.cautions(note, scores)
    ax.set_xlabel("threshold (a film is called positive when its score is at least this)")
    ax.set_ylabel("share")
    ax.set_ylim(-0.02, 1.04)
    text = f"Choosing the threshold: {style.words(finding)}"
    if not _needs_both(ax, positives, negatives, text, notes):
        return ax
    grid = np.unique(values)
    positive_scores = np.sort(values[labels == 1])
    negative_scores = np.sort(values[labels == 0])
    sensitivity = 1 - np.searchsorted(positive_scores, grid, side="left") / positives
    specificity = np.searchsorted(negative_scores, grid, side="left") / negatives
    ax.step(grid, sensitivity, where="pre", color=style.BLUE, label=f"sensitivity, {positives:,} positive images")
    ax.step(
        grid,
        specificity,
        where="pre",
        color=style.ORANGE,
        linestyle="--",
        label=f"specificity, {negatives:,} negative images",
    )
    split = split or (point.chosen_on if point else "")
    if point is not None:
        aim = f", target {point.target:g}" if point.target is not None else ""
        rule = point.rule.replace("_", " ")
        ax.axvline(
            point.threshold,
            color=style.INK,
            linewidth=1.3,
            linestyle="-.",
            label=f"chosen: {point.threshold:.4g} (rule {rule}{aim})",
        )
        for name, estimate, colour, marker in (
            ("sensitivity", point.sensitivity, style.BLUE, "o"),
            ("specificity", point.specificity, style.ORANGE, "s"),
        ):
            if estimate.estimable:
                ax.plot(
                    [point.threshold],
                    [estimate.value],
                    marker=marker,
                    markersize=7,
                    color=colour,
                    markeredgecolor="white",
                    linestyle="none",
                    zorder=4,
                    label=f"{name} there {style.interval_text(estimate)}",
                )
    # Below the drawing: every corner of the drawing itself is crossed by one of the two curves.
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=1 if _narrow(ax) else 2)
    style.title(ax, text + (f" ({split})" if split else ""), notes)
    return ax


def _narrow(ax: "Axes") -> bool:
    return ax.get_window_extent().width / ax.figure.dpi < 4.5


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
    finding, entry, split = _evaluated(evaluation, finding)
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
            ax.text(
                column,
                row,
                f"{int(counts[row, column]):,}\n{names[row][column]}\n{share[row, column] * 100:.1f} % of the row",
                ha="center",
                va="center",
                fontsize=10,
                color="white" if share[row, column] > 0.55 else style.INK,
            )
    ax.set_xticks([0, 1], ["called positive", "called negative"])
    ax.set_yticks([0, 1], [f"positive\nn = {entry.n_positive:,}", f"negative\nn = {entry.n_negative:,}"])
    ax.set_xlabel(f"score at least {entry.operating_point.threshold:.4g}" + (f"; {split} part" if split else ""))
    ax.set_ylabel("label")
    for spine in ax.spines.values():
        spine.set_visible(False)
    style.title(ax, text, notes)
    return ax


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
    finding, rows = _rows(scores, finding or (point.finding if point else None))
    labels, values, _, _ = _classes(rows)
    ax = style.axes(ax)
    edges = np.linspace(0, 1, bins + 1)
    for label, word, colour, hatch in ((0, "negative", style.SKY, ""), (1, "positive", style.ORANGE, "//")):
        chosen = values[labels == label]
        if len(chosen):
            ax.hist(
                chosen,
                edges,
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
    ax.legend(loc="best")
    style.title(ax, f"Scores: {style.words(finding)}", style.cautions(note, scores))
    return ax
