"""What a model could learn in place of a finding: view, age and sex, image size, a thumbnail; and brightness.

And whether a model was shown to see more than these.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.checks import positive_int, require_columns
from chexkeras.data.audit.result import Audit
from chexkeras.data.audit.shortcuts import INFORMATIVE_AUROC, SHORTCUTS, Shortcut
from chexkeras.plots import style
from chexkeras.plots._inputs import FIX, chosen_findings
from chexkeras.plots.forest import Row, difference_axis, difference_text, draw_rows, height_of
from chexkeras.plots.images import read_images
from chexkeras.results import ShortcutStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS = {
    "view": (style.BLUE, "o"),
    "age and sex": (style.ORANGE, "s"),
    "image size": (style.GREEN, "^"),
    "thumbnail": (style.PURPLE, "D"),
}


@checked
@style.styled
def shortcuts(
    audit: Audit | Sequence[Shortcut],
    finding: str | None = None,
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the AUROC of each shortcut alone with its interval; filled where it is informative.

    Args:
        audit: An audit, or what `data.audit.shortcuts.shortcuts` returned.
        finding: Draw this finding only.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the audit's table carries.

    Returns:
        The axes.

    Raises:
        ValueError: If nothing was measured, or nothing for `finding`.
    """
    measured = audit.shortcuts if isinstance(audit, Audit) else tuple(audit)
    chosen = [shortcut for shortcut in measured if finding in (None, shortcut.finding)]
    if not chosen:
        there = ", ".join(dict.fromkeys(shortcut.finding for shortcut in measured)) or "none"
        asked = f" of {finding!r}" if finding else ""
        raise ValueError(
            f"no shortcuts{asked} were measured (there are: {there}); name the finding: audit(table, targets='...')."
        )
    findings = list(dict.fromkeys(shortcut.finding for shortcut in chosen))
    names = [name for name in SHORTCUTS if any(shortcut.name == name for shortcut in chosen)]
    single = len(findings) == 1
    rows = names if single else findings
    ax = style.axes(ax, 6.4, 1.7 + (0.42 if single else 0.16 * len(names) + 0.08) * len(rows))
    for shortcut in (one for one in chosen if one.auroc.estimable):
        area, (colour, marker) = shortcut.auroc, _LOOKS[shortcut.name]
        offset = 0.0 if single else (names.index(shortcut.name) - (len(names) - 1) / 2) * 0.8 / len(names)
        place = rows.index(shortcut.name if single else shortcut.finding) + offset
        ax.errorbar(
            area.value, place, xerr=[[area.value - area.low], [area.high - area.value]], fmt=marker, color=colour,
            markerfacecolor=colour if shortcut.informative else "white", markersize=5, capsize=2.5, linewidth=1.3,
        )  # fmt: skip
        if single:
            ax.annotate(f" {shortcut}", (area.high, place), xytext=(3, 0), textcoords="offset points", va="center")
    for shortcut in (one for one in chosen if single and not one.auroc.estimable):
        place = rows.index(shortcut.name)
        ax.annotate(
            f"not estimable: {shortcut.auroc.reason}", (0.5, place), va="center", fontsize=style.points(8.5),
            xytext=(4, 0), textcoords="offset points",
        )  # fmt: skip
    ax.axvline(0.5, color=style.INK, linewidth=1)
    ax.axvline(INFORMATIVE_AUROC, color=style.GREY, linewidth=1, linestyle=":")
    ax.set_yticks(range(len(rows)), [style.words(row) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    estimable = [shortcut.auroc for shortcut in chosen if shortcut.auroc.estimable]
    left, right = min([0.46, *(area.low - 0.01 for area in estimable)]), max([0.7, *(area.high for area in estimable)])
    # Beside the last interval there is room for its numbers.
    ax.set_xlim(left, right + (right - left) * (0.42 if single else 0.03))
    ax.set_xticks([tick for tick in ax.get_xticks() if left <= tick <= 1])
    if not single:
        handles = [ax.plot([], [], _LOOKS[name][1], color=_LOOKS[name][0], label=name)[0] for name in names]
        style.legend_below(ax, columns=len(names), handles=handles)
    ax.set_xlabel(f"AUROC from this alone (95 % CI); filled from {INFORMATIVE_AUROC:g} (dotted): informative")
    ax.grid(axis="y", visible=False)
    what = style.words(findings[0]) if single else f"{len(findings)} findings"
    style.title(ax, f"Shortcuts to {what}", style.cautions(note, audit.table if isinstance(audit, Audit) else None))
    return ax


@checked
@style.styled
def shortcut_comparison(
    study: ShortcutStudy,
    finding: str | None = None,
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws a model's AUROC minus that of each shortcut, with its interval and the verdict in words.

    Where an interval reaches 0, the model is not shown to see more than that shortcut.

    Args:
        study: A run's `shortcuts`; where that is None, what `inference.measure_shortcuts(run, table)` returns.
        finding: Draw this finding only.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the study's cautions.

    Returns:
        The axes.

    Raises:
        ValueError: If nothing was compared, or nothing for `finding`.
    """
    chosen = [name for name in study.findings if finding in (None, name)]
    if not chosen:
        there = ", ".join(study.findings) or "none"
        raise ValueError(f"the model was compared with no shortcut for {finding!r}; there are: {there}.")
    rows: list[Row] = []
    for name in chosen:
        entries = study.of(name)
        if len(chosen) > 1:
            rows.append(Row(style.words(name), bold=True))
        for entry in entries:
            alone = f"{entry.alone.value:.3f}" if entry.alone.estimable else ""
            numbers = f"{difference_text(entry.difference)}  {entry.verdict}"
            rows.append(Row(entry.shortcut, entry.difference, (alone,), numbers if entry.difference.estimable else ""))
    ax = style.axes(ax, 8.6, height_of(len(rows)) + 0.3)
    draw_rows(ax, rows, columns=("alone",), right_heading="model minus shortcut (95 % CI), verdict")
    difference_axis(ax, [row.estimate for row in rows if row.estimate is not None], ())
    models = [study.of(name)[0].model for name in chosen]
    single = f"; model {models[0].value:.3f}" if len(chosen) == 1 and models[0].estimable else ""
    ax.set_xlabel(f"AUROC of the model minus that of the shortcut{single}")
    what = style.words(chosen[0]) if len(chosen) == 1 else f"{len(chosen)} findings"
    style.title(ax, f"The model beside shortcuts: {what}", style.cautions(note, study))
    return ax


_BINS = 32
_BAND = (10, 90)
_BEYOND = 3.0
"""From this many times the height of all other grays on, black or white reaches beyond the axis."""
_CURVES = ((style.BLUE, "-"), (style.ORANGE, "--"))
"""Colour and line of images without the finding, and with it."""


def _shares(rows: pd.DataFrame) -> np.ndarray:
    """Returns (images, bins): the share of each image's pixels in each band of gray, in percent."""
    images = read_images(rows["path"].astype(str).tolist(), rows["image_id"].astype(str).tolist())
    return np.array([np.histogram(image, _BINS, (0, 256))[0] * 100 / image.size for image, _ in images])


@checked
@style.styled
def intensity_histogram(
    table: pd.DataFrame,
    finding: str,
    *,
    most: int = 100,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the gray levels of images with and without a finding: the mean image, and where most images lie.

    A visible difference is a warning as much as a hint: view, age and machine change brightness too, and a model may
    learn those.

    Args:
        table: Image table.
        finding: The finding.
        most: Images of each group that are opened, drawn at random but always the same ones.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes.

    Raises:
        ValueError: If the finding is unknown or not in the table.
        FileNotFoundError: If an image's file is missing; the message names it.
    """
    most = positive_int(most, "most")
    require_columns(table, ["image_id", "path"], "the image table", FIX)
    (finding,) = chosen_findings(table, finding)
    ax = style.axes(ax)
    centres = (np.arange(_BINS) + 0.5) * 256 / _BINS
    for (label, name), (colour, line) in zip(_groups(finding), _CURVES, strict=True):
        rows = table[table[finding] == label]
        if rows.empty:
            continue
        shares = _shares(rows.sample(min(most, len(rows)), random_state=0))
        low, high = np.percentile(shares, _BAND, axis=0)
        of = f" of {len(rows):,}" if len(rows) > most else ""
        ax.fill_between(centres, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(centres, shares.mean(axis=0), color=colour, linestyle=line, label=f"{name}, n = {len(shares):,}{of}")
    return _finished(ax, finding, "mean image; band: middle 80 % of images", style.cautions(note, table))


@checked
@style.styled
def intensity_profile(
    shares: Mapping[str, Any],
    finding: str,
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the gray levels of the mean image with and without a finding from what a run keeps of its training images.

    Args:
        shares: An entry of a run's intensities.json: "bins" (n + 1 edges in gray levels), "positive" and "negative"
            (n shares of an image's pixels, or None), "n_positive" and "n_negative" images.
        finding: The finding.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.

    Raises:
        ValueError: If shares and bins do not fit.
    """
    lacking = [name for name in ("bins", "positive", "negative") if name not in shares]
    if lacking:
        raise ValueError(f"shares have no {', '.join(lacking)}; give those of a finding, as in run.intensities.")
    edges = np.asarray(shares["bins"], dtype=np.float64)
    ax = style.axes(ax)
    for (label, name), (colour, line) in zip(_groups(finding), _CURVES, strict=True):
        group = "positive" if label else "negative"
        if shares[group] is None:
            continue
        values = np.asarray(shares[group], dtype=np.float64)
        if len(values) != len(edges) - 1:
            raise ValueError(f"{len(values)} {group} shares do not fit {len(edges)} edges; one edge more is expected.")
        # Per unit of gray, so that the height does not depend on how wide the bins are.
        percent = values * 100 / np.diff(edges)
        ax.plot((edges[:-1] + edges[1:]) / 2, percent, color=colour, linestyle=line,
                label=f"{name}, n = {shares[f'n_{group}']:,}")  # fmt: skip
    ax.set_ylabel("% of an image's pixels per gray level")
    return _finished(ax, finding, "mean image", style.cautions(note))


def _groups(finding: str) -> tuple[tuple[int, str], tuple[int, str]]:
    word = style.words(finding)
    return (0, f"no {word}"), (1, word)


def _heights(ax: "Axes") -> tuple[dict[str, float], float]:
    """Returns the highest shares of black and of white among the curves, and the highest of the grays between them."""
    curves = [np.asarray(line.get_ydata(), dtype=np.float64) for line in ax.lines]
    ends = {name: max((curve[at] for curve in curves), default=0.0) for name, at in (("black", 0), ("white", -1))}
    return ends, max((curve[1:-1].max(initial=0.0) for curve in curves), default=0.0)


def _finished(ax: "Axes", finding: str, legend: str, notes: tuple[str, ...]) -> "Axes":
    ax.set_xlim(0, 255)
    # Frames and the air beside a patient are black, saturated parts white: at their height the rest would be flat.
    ends, within = _heights(ax)
    beyond = {name: height for name, height in ends.items() if height > _BEYOND * within > 0}
    ax.set_ylim(0, (within if beyond else ax.get_ylim()[1]) * 1.3)
    if beyond:
        legend += f"\nbeyond the axis: {', '.join(f'{name} {height:.3g}' for name, height in beyond.items())}"
    ax.set_xlabel("gray level (0 black, 255 white)")
    if not ax.get_ylabel():
        ax.set_ylabel("% of an image's pixels")
    if ax.lines:
        style.legend_inside(ax, title=legend, title_fontsize=style.points(8.5))
    style.title(ax, f"Brightness of images: {style.words(finding)}", notes)
    return ax
