"""Which findings come together on one film."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras.checks import require_columns
from chexkeras.plots import style
from chexkeras.plots.eda_inputs import FIX, chosen_findings, counted_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@style.styled
def cooccurrence(
    table: pd.DataFrame,
    findings: str | Iterable[str] | None = None,
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws how often two findings share an image, as a share of the row's finding.

    Args:
        table: Image table.
        findings: Which findings; all that the table has by default.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes.
    """
    import seaborn

    names = chosen_findings(table, findings)
    positive = (table[names] == 1).to_numpy(float)
    together = positive.T @ positive
    alone = np.diag(together)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(alone[:, None] > 0, together / alone[:, None], np.nan) * 100
    np.fill_diagonal(share, np.nan)
    spelled = [style.words(name) for name in names]
    rows = [f"{word} ({int(count):,})" for word, count in zip(spelled, alone, strict=True)]
    side = 2.2 + 0.42 * len(names)
    ax = style.axes(ax, side + 1.2, side)
    top = max(1.0, float(np.nanmax(share))) if np.isfinite(share).any() else 1.0
    seaborn.heatmap(
        pd.DataFrame(share, index=rows, columns=spelled), cmap="Blues", vmin=0, vmax=top, square=True, annot=True,
        fmt=".0f", annot_kws={"fontsize": 8}, cbar=False, linewidths=0.5, ax=ax,
    )  # fmt: skip
    ax.grid(visible=False)
    ax.set_xticks(ax.get_xticks(), spelled, rotation=55, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    ax.set_xlabel("% of the row's positive images that also show")
    style.title(ax, f"Findings together: {counted_table(table)}", style.cautions(note, table))
    return ax


@style.styled
def findings_with(
    table: pd.DataFrame,
    finding: str,
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws which other findings the images with a finding show, beside the images without it.

    A model for one finding may in truth recognise its companions.

    Args:
        table: Image table.
        finding: The finding.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes.

    Raises:
        ValueError: If the finding is unknown or not in the table, or the table has no other.
    """
    require_columns(table, ["patient_id"], "the image table", FIX)
    (name,) = chosen_findings(table, finding)
    others = [other for other in chosen_findings(table, None) if other != name]
    if not others:
        raise ValueError(f"the table has no finding besides {name}; load it with all its findings.")
    groups = {kind: table.loc[table[name] == label, others] for kind, label in (("with", 1), ("without", 0))}
    shares = pd.DataFrame({kind: (rows == 1).sum() / rows.notna().sum() * 100 for kind, rows in groups.items()})
    shares = shares.fillna(0.0).sort_values(["with", "without"], kind="stable")
    ax = style.axes(ax, 6.4, 1.8 + 0.36 * len(others))
    places = np.arange(len(others))
    word = style.words(name)
    for kind, offset, colour, hatch in (("with", 0.2, style.ORANGE, ""), ("without", -0.2, style.SKY, "//")):
        bars = ax.barh(
            places + offset, shares[kind], height=0.38, color=colour, hatch=hatch, edgecolor="white",
            label=f"{kind} {word}, n = {len(groups[kind]):,}",
        )  # fmt: skip
        ax.bar_label(bars, [f" {share:.1f} %" for share in shares[kind]], fontsize=7.5)
    ax.set_yticks(places, [style.words(str(other)) for other in shares.index])
    ax.margins(x=0.12)
    ax.set_xlabel("% of images that also show")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    style.title(ax, f"What comes with {word}", style.cautions(note, table))
    return ax
