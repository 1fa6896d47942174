"""A run at other hospitals in one drawing: the internal test, each site with its verdict, what a new one may show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chexkeras.arguments import checked
from chexkeras.evaluation.comparison.pooling import PooledSites
from chexkeras.plots import style
from chexkeras.plots.forest import Row, draw_rows, height_of
from chexkeras.results import Estimate, ExternalTest
from chexkeras.results.external import INTERNAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SAME, _SEEN = "same source", "seen by the weights"
_LOWEST = 0.4


@checked
@style.styled
def external_forest(
    tests: Sequence[ExternalTest],
    finding: str,
    internal: Estimate,
    *,
    pooled: PooledSites | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the AUROC of one finding in the internal test and at every other hospital.

    Args:
        tests: External tests of one run; those without the finding are left out.
        finding: A finding of the run.
        internal: AUROC of the run's own test part.
        pooled: The mean of the sites and the prediction for a new one, from `runs.external.pool_external`; None draws
            neither.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions of the tests.

    Returns:
        The axes.

    Raises:
        ValueError: If no test has the finding.
    """
    shown = [test for test in tests if finding in {entry.finding for entry in test.findings}]
    if not shown:
        raise ValueError(f"no external test has measured {finding!r}.")
    rows = [Row(INTERNAL, internal, (f"{internal.n:,}", ""), bold=True)]
    for test in shown:
        area = test.evaluation[finding].auroc
        label = test.name if test.outside else f"{test.name} ({_SAME if test.same_source else _SEEN})"
        rows.append(Row(label, area, (f"{area.n:,}", test[finding].discrimination)))
    if pooled is not None:
        rows.append(Row("mean of sites", pooled.mean, (f"{pooled.mean.n:,}", ""), summary=True))
        if pooled.prediction.estimable:
            rows.append(Row("a new site", pooled.prediction, ("", "")))
    ax = style.axes(ax, 10.4, height_of(len(rows)))
    level = f"{internal.confidence * 100:g} %"
    draw_rows(ax, rows, columns=("images", "verdict"), right_heading=f"AUROC ({level} interval)")
    ax.axvline(0.5, color=style.GREY, linewidth=1, linestyle=":", zorder=1)
    if internal.estimable:
        ax.axvline(internal.value, color=style.INK, linewidth=1, linestyle="--", zorder=1)
    known = [row.estimate for row in rows if row.estimate is not None and row.estimate.estimable]
    lowest = min((estimate.low for estimate in known), default=_LOWEST)
    ax.set_xlim(max(0.0, min(_LOWEST, lowest - 0.03)), 1.0)
    words = f"AUROC; dashed: internal test, dotted: chance; loss that matters: {shown[0].margin:g}"
    if pooled is not None and pooled.prediction.estimable:
        words += "\nlast row: prediction interval of a site's true value"
    ax.set_xlabel(words)
    style.title(ax, f"At other hospitals: {style.words(finding)}", style.cautions(note, *shown))
    return ax
