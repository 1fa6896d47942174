"""How far scores can be read as probabilities: observed shares against scores, with the scores' distribution below."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.plots import style
from chexkeras.plots._inputs import FindingScores, finding_scores
from chexkeras.results import Calibration, Estimate, Evaluation, FindingEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = (
    (style.BLUE, "o"), (style.ORANGE, "s"), (style.GREEN, "D"),
    (style.PURPLE, "^"), (style.AMBER, "v"), (style.SKY, "P"),
)  # fmt: skip
"""Colour and marker of the first run, the second, and so on."""

_HISTOGRAM_BINS = 40
_ROOMY_INCHES = 4.5


class _RunOnAxes(NamedTuple):
    """One run on the axes; alone it has no name."""

    name: str
    found: FindingScores
    calibration: Calibration


def by_name(
    scores: pd.DataFrame | Mapping[str, pd.DataFrame],
    evaluation: Evaluation | FindingEvaluation | Mapping[str, Evaluation] | None,
) -> list[tuple[str, pd.DataFrame, Evaluation | FindingEvaluation | None]]:
    """Returns (name, scores, evaluation) of each run; one run alone has no name.

    Raises:
        ValueError: If there is no run, more than there are looks, or scores and evaluations are named differently.
    """
    if isinstance(scores, pd.DataFrame):
        if isinstance(evaluation, Mapping):
            raise ValueError("one table of scores came with several evaluations; give {name: scores} for several runs.")
        return [("", scores, evaluation)]
    if not 0 < len(scores) <= len(LOOKS):
        raise ValueError(f"{len(scores)} runs were given; one axes holds 1 to {len(LOOKS)}.")
    if evaluation is not None and not (isinstance(evaluation, Mapping) and set(evaluation) == set(scores)):
        raise ValueError(f"give the evaluations by the names of the scores, {{name: evaluation}}: {', '.join(scores)}.")
    return [(name, table, evaluation[name] if evaluation else None) for name, table in scores.items()]


@checked
@style.styled
def reliability(
    scores: pd.DataFrame | Mapping[str, pd.DataFrame],
    evaluation: Evaluation | FindingEvaluation | Mapping[str, Evaluation] | None = None,
    *,
    finding: str | None = None,
    bins: int = 10,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the reliability diagram: the share of positives observed in bins of equal size against their mean score.

    Below it stands how the scores are distributed: for one run those of positive images upwards and of negative
    ones downwards, each as a share of its class. Where all bins lie below 0.5 the axes end there, so that the scores
    of rare findings can be seen.

    Args:
        scores: Scores table (one row per image and finding), or several by name: {"stage 1": scores, ...}.
        evaluation: What was measured on these scores, or several by the same names; where it holds no calibration,
            that is measured here.
        finding: Which finding, where there are several.
        bins: Bins of the diagram where it is measured here.
        ax: Axes to draw on, with the histogram hung below them; a new figure by default.
        note: Sentences written on the figure; by default the evaluation's cautions.

    Returns:
        The axes of the diagram; the histogram is the first of its ``child_axes``.

    Raises:
        ValueError: If the finding is not in the scores, several are and none is named, or runs and evaluations do not
            go together.
    """
    runs = by_name(scores, evaluation)
    ax = style.axes(ax, 5.6, 6.0 + 0.7 * len(runs))
    notes = style.cautions(note, *[entry for _, table, measured in runs for entry in (measured, table)])
    roomy = style.room(ax).height > _ROOMY_INCHES
    drawn = []
    for name, table, measured in runs:
        found = finding_scores(table, finding, measured)
        finding = found.finding
        if found.explain_if_empty(ax, f"Calibration: {style.words(finding)}", notes):
            return ax
        known = found.measured.calibration if found.measured else None
        drawn.append(_RunOnAxes(name, found, known or _measure(found, bins)))
    top = _top(drawn)
    ax.plot([0, top], [0, top], color=style.GREY, linewidth=1.2, linestyle=":", label="perfect calibration")
    for run, (colour, marker) in zip(drawn, LOOKS, strict=False):
        _draw_bins(ax, run, colour, marker, roomy=roomy)
    ax.set_xlim(-0.01 * top, 1.01 * top)
    ax.set_ylim(-0.01 * top, 1.03 * top)
    ax.set_aspect("equal")
    ax.set_ylabel(f"observed share of positives (bars: {_confidence(drawn) * 100:g} % CI)")
    ax.tick_params(labelbottom=False)
    _histogram(ax, drawn, top, roomy=roomy)
    # Below the drawing: slopes, intervals and counts need more room than any corner has.
    style.legend_below(ax)
    style.title(ax, f"Calibration: {style.words(finding or '')}", notes)
    return ax


def _measure(found: FindingScores, bins: int) -> Calibration:
    from chexkeras.evaluation.calibration.calibration import measure_calibration

    return measure_calibration(found.labels, found.scores, clusters=found.patients, bins=bins)


def _top(drawn: list[_RunOnAxes]) -> float:
    """Returns where both axes end: at 1, or not far above the highest bin."""
    highest = max(max(entry.mean_score, entry.observed.high) for run in drawn for entry in run.calibration.bins)
    return 1.0 if highest > 0.5 else max(0.02, math.ceil(highest * 1.05 / 0.02) * 0.02)


def _confidence(drawn: list[_RunOnAxes]) -> float:
    return drawn[0].calibration.bins[0].observed.confidence


def _draw_bins(ax: "Axes", run: _RunOnAxes, colour: str, marker: str, *, roomy: bool) -> None:
    measured = run.calibration
    means = np.array([entry.mean_score for entry in measured.bins])
    observed, low, high = (
        np.array([getattr(entry.observed, name) for entry in measured.bins]) for name in ("value", "low", "high")
    )
    slope, intercept = f"slope {_signed(measured.slope)}", f"intercept {_signed(measured.intercept)}"
    brier, error = (style.interval_text(found) for found in (measured.brier, measured.expected_calibration_error))
    # In a low panel short lines, or the legend would leave the drawing no room.
    numbers = [f"{slope}, {intercept}", f"Brier score {brier}", f"calibration error (ECE) {error}"]
    level = f"{measured.brier.confidence * 100:g} % CI "
    short = [slope, intercept, f"Brier {brier.replace(level, '')}", f"ECE {error.replace(level, '')}"]
    counts = f"{run.name}: {run.found.counts}" if run.name else run.found.counts
    lines = [counts, *(numbers if roomy else short)]
    if measured.scores != Calibration.scores:
        lines.insert(1, measured.scores)
    ax.errorbar(
        means, observed, yerr=[observed - low, high - observed], color=colour, marker=marker, markersize=6,
        markeredgecolor="white", linewidth=1.4, elinewidth=1.1, capsize=2.5, label="\n".join(lines),
    )  # fmt: skip


def _signed(estimate: Estimate) -> str:
    """Returns a number with its interval where both may be negative, for example "−0.19 (−0.30 to −0.08)"."""
    if not estimate.estimable:
        return "not estimable"
    value, low, high = (f"{number:.2f}".replace("-", "−") for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def _histogram(ax: "Axes", drawn: list[_RunOnAxes], top: float, *, roomy: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    panel = ax.inset_axes((0, -0.3, 1, 0.25), sharex=ax)
    edges = np.linspace(0, top, _HISTOGRAM_BINS + 1)
    centres, width = (edges[:-1] + edges[1:]) / 2, top / _HISTOGRAM_BINS
    if len(drawn) == 1:
        (only,) = drawn
        named: dict[int, Any] = {}
        for label, word, colour, sign in ((1, "positive", style.ORANGE, 1), (0, "negative", style.SKY, -1)):
            chosen = only.found.scores[only.found.labels == label]
            heights = np.histogram(chosen, edges)[0] * 100 / len(chosen)
            panel.bar(centres, sign * heights, width * 0.9, color=colour)
            named[sign] = panel.annotate(
                f"{word} images",
                xy=(0.995, 0.5 + sign * 0.48),
                xycoords="axes fraction",
                ha="right",
                va="top" if sign > 0 else "bottom",
                fontsize=style.points(8.5),
                color=style.INK,
            )
        # Room for the words above and below the bars.
        low, high = panel.get_ylim()
        panel.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
        for text in named.values():
            style.keep_inside(text, (text.get_text(), text.get_text().split()[0]), 0.9 * top, 0.4 * (high - low))
        panel.axhline(0, color=style.INK, linewidth=0.8)
        panel.set_ylabel("% of class" if roomy else "%")
    else:
        for run, (colour, _) in zip(drawn, LOOKS, strict=False):
            heights = np.histogram(run.found.scores, edges)[0] * 100 / len(run.found.scores)
            panel.stairs(heights, edges, color=colour, linewidth=1.3)
        panel.set_ylabel("% of images" if roomy else "%")
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    beyond = sum(int((run.found.scores > top).sum()) for run in drawn)
    outside = f"; {beyond:,} scores above {top:g} are not shown" if beyond else ""
    panel.set_xlabel(f"score{outside}")
    # Its uppermost number would stand beside the lowest of the diagram above.
    panel.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
