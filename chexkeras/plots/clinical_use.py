"""What a model is worth in use: decision curves, and waiting times in a reading queue with triage."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from chexkeras.arguments import checked
from chexkeras.plots import style
from chexkeras.plots._inputs import finding_scores
from chexkeras.plots.calibration import LOOKS, by_name
from chexkeras.results import Estimate, Evaluation, FindingEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chexkeras.evaluation.clinical_use.triage import TriageEffect


@checked
@style.styled
def decision_curve(
    scores: pd.DataFrame | Mapping[str, pd.DataFrame],
    evaluation: Evaluation | FindingEvaluation | Mapping[str, Evaluation] | None = None,
    *,
    finding: str | None = None,
    prevalence: float | None = None,
    thresholds: ArrayLike | None = None,
    replicates: int = 1000,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the net benefit against the threshold probability, with a bootstrap band, treating all and treating none.

    A model is of use where its curve lies above both defaults. Scores are compared with threshold probabilities, so
    they must be probabilities at the prevalence drawn: recalibrate them first, and shift their odds to a stated one.

    Args:
        scores: Scores table (one row per image and finding), or several by name: {"stage 1": scores, ...}.
        evaluation: What was measured on these scores, or several by the same names; it names the part and carries
            cautions.
        finding: Which finding, where there are several.
        prevalence: Share of positives at the place of use; None for that of these images.
        thresholds: Threshold probabilities, see `cx.evaluation.decision_curve`; several runs share them.
        replicates: Bootstrap replicates.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the evaluation's cautions.

    Returns:
        The axes.

    Raises:
        ValueError: If the finding is not in the scores, several are and none is named, runs and evaluations do not go
            together, or a threshold or the prevalence is not strictly between 0 and 1.
    """
    from chexkeras.evaluation.clinical_use import decision_curve

    runs = by_name(scores, evaluation)
    ax = style.axes(ax, 6.6, 4.8 + 0.2 * len(runs))
    notes = style.cautions(note, *[entry for _, table, measured in runs for entry in (measured, table)])
    ax.set_xlabel("threshold probability t (one finding is worth (1 − t) / t false alarms)")
    ax.set_ylabel("net benefit (true positives per image)")
    drawn: list[pd.DataFrame] = []
    for (name, table, measured), (colour, _) in zip(runs, LOOKS, strict=False):
        found = finding_scores(table, finding, measured)
        finding = found.finding
        if found.explain_if_empty(ax, f"Decision curve: {style.words(finding)}", notes):
            return ax
        grid = drawn[0]["threshold_probability"] if drawn and thresholds is None else thresholds
        curve = decision_curve.decision_curve(
            found.labels, found.scores, clusters=found.patients, thresholds=grid, prevalence=prevalence,
            replicates=replicates,
        )  # fmt: skip
        who = f"{name}: {found.counts}" if name else found.counts
        t = curve["threshold_probability"]
        ax.plot(t, curve["net_benefit"], color=colour, label=f"{who}, band: {curve.attrs['confidence'] * 100:g} % CI")
        ax.fill_between(t, curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)
        drawn.append(curve)
    _draw_defaults(ax, drawn, [name for name, _, _ in runs])
    top = max(max(curve["net_benefit"].max(), curve["high"].max(), curve["treat_all"].max()) for curve in drawn)
    # Far below 0 treating all would squeeze everything else; that it is harmful there is seen well enough.
    ax.set_ylim(-0.25 * top, 1.08 * top)
    ax.set_xlim(0, drawn[0]["threshold_probability"].iloc[-1])
    style.legend_below(ax)
    at = f" at a prevalence of {prevalence * 100:.3g} %" if prevalence is not None else ""
    style.title(ax, f"Decision curve: {style.words(finding or '')}{at}", notes)
    return ax


def _draw_defaults(ax: "Axes", drawn: list[pd.DataFrame], names: list[str]) -> None:
    first = drawn[0]
    ax.axhline(0, color=style.INK, linewidth=1.2, linestyle=":", label="treat none")
    same = all(np.allclose(curve["treat_all"], first["treat_all"]) for curve in drawn[1:])
    for curve, name, (colour, _) in zip(drawn[:1] if same else drawn, names, LOOKS, strict=False):
        share = f"treat all, prevalence {curve.attrs['prevalence']:.3g}"
        ax.plot(
            curve["threshold_probability"],
            curve["treat_all"],
            color=style.GREY if same else colour,
            linewidth=1.3,
            linestyle="--",
            label=share if same else f"{share} ({name})",
        )


@checked
@style.styled
def triage_waiting(
    effect: "TriageEffect", *, ax: "Axes | None" = None, note: str | Sequence[str] | None = None
) -> "Axes":
    """Draws the mean minutes from an image's arrival to the end of its reading, with and without the triage device.

    Args:
        effect: From `evaluation.clinical_use.triage.triage_effect` or `simulate_triage`.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; the assumptions of the queue stand below it in any case.

    Returns:
        The axes.
    """
    ax = style.axes(ax, 7.2, 3.6)
    rows = [
        ("all images, without the device", effect.fifo_hours, style.GREY, ""),
        (f"diseased images ({effect.prevalence * 100:.3g} %)", effect.diseased_hours, style.ORANGE, ""),
        ("other images", effect.non_diseased_hours, style.BLUE, ""),
        (f"flagged images ({effect.flagged_share * 100:.3g} %)", effect.flagged_hours, style.PALE, "//"),
        ("images not flagged", effect.unflagged_hours, style.PALE, "//"),
    ]
    rows = [row for row in rows if np.isfinite(row[1])]
    positions = np.arange(len(rows))
    minutes = [hours * 60 for _, hours, _, _ in rows]
    bars = ax.barh(positions, minutes, height=0.66, color=[row[2] for row in rows], edgecolor=style.GREY, linewidth=0.6)
    for bar, (_, _, _, hatch) in zip(bars, rows, strict=True):
        bar.set_hatch(hatch)
    texts, ends = [f"{value:.1f}" for value in minutes], list(minutes)
    if effect.saving.estimable:
        # The time without the device is known in this queue, so the saving's error is that of the time with it.
        less, more = (
            (effect.saving.high - effect.saving.value) * 60,
            (effect.saving.value - effect.saving.low) * 60,
        )
        ax.errorbar(
            [minutes[1]], [1], xerr=[[less], [more]], color=style.INK, capsize=3, linewidth=1.3, linestyle="none"
        )
        ends[1] += more
    for y, (x, text) in enumerate(zip(ends, texts, strict=True)):
        ax.annotate(text, (x, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=style.points(9))
    ax.set_yticks(positions, [row[0] for row in rows])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlim(0, max(ends) * 1.18)
    style.keep_beside(ax)
    saved = f"Diseased images: {_saved(effect.saving_hours, effect.saving)}."
    # Text that belongs to the axis label has its room whatever the layout makes of the drawing.
    ax.set_xlabel(f"mean minutes from arrival to the end of reading\n{saved}\n{_assumed(effect)}", linespacing=1.35)
    style.title(ax, "Reading queue with and without triage", style.cautions(note))
    return ax


def _saved(hours: float, saving: Estimate) -> str:
    word = "less" if hours >= 0 else "more"
    if not saving.estimable:
        return f"{abs(hours) * 60:.1f} minutes {word}"
    low, high = (f"{limit * 60:.1f}".replace("-", "−") for limit in (saving.low, saving.high))
    return f"{abs(hours) * 60:.1f} minutes {word} (saving {saving.confidence * 100:g} % CI {low} to {high})"


def _assumed(effect: "TriageEffect") -> str:
    readers = "one reader reads" if effect.readers == 1 else f"each of {effect.readers} readers reads"
    first = {
        "pre-emptive": "a flagged image interrupts the reading of another",
        "non-pre-emptive": "a flagged image is the next to be read",
    }[effect.discipline]
    return (
        f"Assuming that {effect.arrivals_per_hour:g} images arrive per hour, {readers} {effect.reads_per_hour:g} "
        f"(busy {effect.workload * 100:.0f} % of the time), and {first}; "
        f"sensitivity {effect.sensitivity:.3g}, specificity {effect.specificity:.3g}."
    )


@checked
@style.styled
def triage_by_workload(
    effect: "TriageEffect", *, ax: "Axes | None" = None, note: str | Sequence[str] | None = None
) -> "Axes":
    """Draws how the times of a reading queue change with how busy its readers are, which no study can fix.

    The device, the prevalence and the readers are those of `effect`; only the rate of arrivals varies.

    Args:
        effect: From `evaluation.clinical_use.triage.triage_effect`; its own workload is marked.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.
    """
    from chexkeras.evaluation.clinical_use.triage import triage_effect

    ax = style.axes(ax, 6.4, 4.4)
    capacity = effect.readers * effect.reads_per_hour
    workloads = np.linspace(0.02, max(0.95, effect.workload), 120)
    effects = [
        triage_effect(
            effect.sensitivity, effect.specificity, effect.prevalence, arrivals_per_hour=workload * capacity,
            reads_per_hour=effect.reads_per_hour, readers=effect.readers, discipline=effect.discipline,
        )
        for workload in workloads
    ]  # fmt: skip
    for name, text, colour, line in (
        ("fifo_hours", "all images, without the device", style.GREY, "--"),
        ("non_diseased_hours", "other images, with the device", style.BLUE, "-"),
        ("diseased_hours", "diseased images, with the device", style.ORANGE, "-"),
    ):
        minutes = [getattr(entry, name) * 60 for entry in effects]
        ax.plot(workloads * 100, minutes, color=colour, linestyle=line, label=text)
    ax.axvline(
        effect.workload * 100,
        color=style.INK,
        linewidth=1.2,
        linestyle="-.",
        label=f"{effect.arrivals_per_hour:g} images per hour, diseased: {_saved(effect.saving_hours, effect.saving)}",
    )
    ax.set_xlim(0, 100)
    ax.set_ylim(0, None)
    ax.set_xlabel("readers busy, % of the time")
    ax.set_ylabel("mean minutes to the end of reading")
    style.legend_inside(ax, "upper left")
    style.title(ax, "Reading queue with triage, by workload", style.cautions(note))
    return ax
