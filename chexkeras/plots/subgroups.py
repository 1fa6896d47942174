"""How performance differs between groups: one row for each group, with its size, and the test beside its column."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from chexkeras import checks
from chexkeras.evaluation.p_values import p_text
from chexkeras.plots import style
from chexkeras.plots._inputs import evaluated
from chexkeras.plots.forest import Row, draw_rows, height_of
from chexkeras.results import Estimate, Evaluation, FindingEvaluation, Subgroup, SubgroupAnalysis
from chexkeras.results.subgroups import STATISTICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WORDS = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity"}
_SEXES = {"F": "female", "M": "male"}
_COLUMN_WORDS = {"age_years": "age (years)", "view": "view", "sex": "sex"}


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
    name = _WORDS[checks.one_of(statistic, STATISTICS, "statistic")]
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
    draw_rows(ax, rows, columns=("images", counted), right_heading=f"{name} (95 % CI)")
    if overall is not None and overall.estimable:
        ax.axvline(overall.value, color=style.INK, linewidth=1, linestyle="--", zorder=1)
    estimates = [row.estimate for row in rows if row.estimate is not None and row.estimate.estimable]
    low = min((estimate.low for estimate in estimates), default=0.0)
    ax.set_xlim(max(0.0, low - 0.05), 1.0)
    ax.set_xlabel(
        f"{name}\np: for a difference between the groups of a column, after Holm over all tests made together"
    )
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
    words = _COLUMN_WORDS.get(analysis.column, style.words(analysis.column))
    test = next((test for test in analysis.interactions if test.statistic == statistic), None)
    if test is None or test.reason:
        return Row(words, right="no test between groups", bold=True)
    p_value = p_text(test.p_adjusted)
    said = f"p {p_value}" if p_value.startswith("<") else f"p = {p_value}"
    return Row(words, right=f"difference: {said}", bold=True)


def _row(group: Subgroup, statistic: str, column: str) -> Row:
    counted = group.n_negative if statistic == "specificity" else group.n_positive
    level = _SEXES.get(group.level, group.level) if column == "sex" else group.level
    return Row(level, getattr(group, statistic), (f"{group.n_images:,}", f"{counted:,}"))
