"""What is in an image table: findings, views, and how many there are of each patient and on each image.

Ages, findings that come together and shortcuts have files of their own; all are found here.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras.checks import require_columns
from chexkeras.plots import style
from chexkeras.plots.eda_age import age_sex, prevalence_by_age
from chexkeras.plots.eda_inputs import FIX, chosen_findings, counted_table
from chexkeras.plots.eda_together import cooccurrence, findings_with
from chexkeras.plots.shortcuts import shortcuts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "age_sex",
    "cooccurrence",
    "findings_per_image",
    "findings_with",
    "images_per_patient",
    "prevalence",
    "prevalence_by_age",
    "shortcuts",
    "views",
]


@style.styled
def prevalence(
    table: pd.DataFrame,
    findings: str | Iterable[str] | None = None,
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws how many images show each finding, with the share of the images whose label is known.

    Args:
        table: Image table.
        findings: Which findings; all that the table has by default.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes.

    Raises:
        ValueError: If a finding is unknown or not in the table.
    """
    names = chosen_findings(table, findings)
    labels = table[names]
    positives = (labels == 1).sum().sort_values(kind="stable")
    known = labels.notna().sum()
    ax = style.axes(ax, 6.4, 1.4 + 0.27 * len(names))
    bars = ax.barh([style.words(name) for name in positives.index], positives.to_numpy(), color=style.BLUE, height=0.7)
    share = [
        f" {count:,} ({count / known[name] * 100:.1f} %)" if known[name] else f" {count:,} (no known label)"
        for name, count in zip(map(str, positives.index), positives.tolist(), strict=True)
    ]
    ax.bar_label(bars, share, fontsize=8.5)
    ax.margins(x=0.22)
    ax.set_xlabel("images labelled positive")
    ax.grid(axis="y", visible=False)
    style.title(ax, f"Findings in {counted_table(table)}", style.cautions(note, table))
    return ax


@style.styled
def views(
    table: pd.DataFrame,
    finding: str | None = None,
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the images by view, split by one finding where asked: a finding tied to a view is a shortcut to learn.

    Args:
        table: Image table.
        finding: A finding whose positives are shown apart.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes.
    """
    require_columns(table, ["view", "patient_id"], "the image table", FIX)
    ax = style.axes(ax, 6.4, 3.0)
    kinds = sorted(table["view"].astype(str).unique(), reverse=True)
    if finding is None:
        groups = [("images", np.ones(len(table), bool), style.BLUE)]
    else:
        (name,) = chosen_findings(table, finding)
        positive = (table[name] == 1).to_numpy()
        groups = [
            (f"{style.words(name)} positive", positive, style.ORANGE),
            ("other", ~positive, style.SKY),
        ]
    left = np.zeros(len(kinds))
    totals = [int((table["view"].astype(str) == kind).sum()) for kind in kinds]
    for word, mask, colour in groups:
        counts = np.array([int(((table["view"].astype(str) == kind) & mask).sum()) for kind in kinds], float)
        ax.barh(kinds, counts, left=left, color=colour, height=0.6, label=f"{word}, n = {int(counts.sum()):,}")
        left += counts
    for row, total in enumerate(totals):
        positives = int((positive & (table["view"].astype(str) == kinds[row])).sum()) if finding else None
        share = f"; {positives / total * 100:.1f} % positive" if positives is not None and total else ""
        ax.annotate(
            f" {total:,} ({total / max(len(table), 1) * 100:.1f} %){share}", (total, row), va="center", fontsize=8.5
        )
    ax.margins(x=0.4 if finding else 0.2)
    ax.set_xlabel("images")
    ax.grid(axis="y", visible=False)
    if finding is not None:
        ax.set_ylim(-0.5, len(kinds) + 0.1)
        ax.legend(loc="upper right", ncols=2)
    style.title(ax, f"Views: {counted_table(table)}", style.cautions(note, table))
    return ax


def _bars_of_counts(counts: pd.Series, ax: "Axes", most: int) -> None:
    """Draws a bar for 0, 1, 2, ... with everything from `most` on in the last one."""
    clipped = counts.clip(upper=most).value_counts().sort_index()
    positions = range(int(counts.min()), min(int(counts.max()), most) + 1)
    heights = [int(clipped.get(position, 0)) for position in positions]
    bars = ax.bar(list(positions), heights, color=style.BLUE, width=0.75)
    ax.bar_label(bars, [f"{height:,}" if height else "" for height in heights], fontsize=8.5)
    names = [f"{position}+" if position == most and counts.max() > most else str(position) for position in positions]
    ax.set_xticks(list(positions), names)
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.12)


@style.styled
def images_per_patient(
    table: pd.DataFrame, *, most: int = 12, ax: "Axes | None" = None, note: str | Sequence[str] | None = None
) -> "Axes":
    """Draws how many images the patients have; the reason why splits must be made by patient.

    Args:
        table: Image table.
        most: The last bar holds this many images or more.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes.
    """
    require_columns(table, ["patient_id"], "the image table", FIX)
    counts = table.groupby("patient_id").size()
    ax = style.axes(ax)
    if len(counts):
        _bars_of_counts(counts, ax, most)
    ax.set_xlabel("images of one patient")
    ax.set_ylabel("patients")
    style.title(ax, f"Images per patient: {counted_table(table)}", style.cautions(note, table))
    return ax


@style.styled
def findings_per_image(
    table: pd.DataFrame, *, most: int = 6, ax: "Axes | None" = None, note: str | Sequence[str] | None = None
) -> "Axes":
    """Draws how many findings an image shows at once.

    Args:
        table: Image table.
        most: The last bar holds this many findings or more.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes.
    """
    names = chosen_findings(table, None)
    counts = (table[names] == 1).sum(axis=1)
    ax = style.axes(ax)
    if len(counts):
        _bars_of_counts(counts, ax, most)
    ax.set_xlabel(f"findings on one image (of {len(names)} looked for)")
    ax.set_ylabel("images")
    style.title(ax, f"Findings per image: {counted_table(table)}", style.cautions(note, table))
    return ax
