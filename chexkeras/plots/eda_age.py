"""Who is on the films: ages and sexes, and how common a finding is at each age."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras.checks import positive_int, require_columns
from chexkeras.plots import style
from chexkeras.plots.eda_inputs import FIX, chosen_findings, counted_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW_IMAGES = 0.01
_SEXES = {"F": ("female", style.ORANGE, "//"), "M": ("male", style.BLUE, "")}


def _bands(ages: pd.Series, bin_years: int) -> np.ndarray:
    """Returns the edges of age bands from 0 to beyond the oldest."""
    top = ages.max() if ages.notna().any() else bin_years
    return np.arange(0, top + bin_years + 1, bin_years)


def _without_age(ages: pd.Series) -> str:
    missing = int(ages.isna().sum())
    return f" ({missing:,} images without a plausible age are not shown)" if missing else ""


@style.styled
def age_sex(
    table: pd.DataFrame,
    *,
    bin_years: int = 10,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the images by age band and sex.

    Args:
        table: Image table.
        bin_years: Width of an age band, in years.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes.
    """
    import seaborn

    require_columns(table, ["age_years", "sex", "patient_id"], "the image table", FIX)
    edges = _bands(table["age_years"], positive_int(bin_years, "bin_years"))
    shown = table.loc[table["sex"].isin(list(_SEXES)), ["age_years", "sex"]].dropna()
    sexes = [sex for sex in _SEXES if (shown["sex"] == sex).any()]
    ax = style.axes(ax)
    if sexes:
        seaborn.histplot(
            shown, x="age_years", hue="sex", hue_order=sexes, palette=[_SEXES[sex][1] for sex in sexes], bins=edges,
            multiple="dodge", shrink=0.85, alpha=1, edgecolor="white", legend=False, ax=ax,
        )  # fmt: skip
    # Seaborn draws the groups from last to first.
    for bars, sex in zip(ax.containers, reversed(sexes), strict=True):
        word, _, hatch = _SEXES[sex]
        for bar in bars:
            bar.set_hatch(hatch)
        bars.set_label(f"{word}, n = {int((table['sex'] == sex).sum()):,}")
    ax.set_xlabel("age, years" + _without_age(table["age_years"]))
    ax.set_ylabel("images")
    ax.set_xticks(edges)
    ax.grid(axis="x", visible=False)
    if sexes:
        ax.legend(*(items[::-1] for items in ax.get_legend_handles_labels()))
    style.title(ax, f"Age and sex: {counted_table(table)}", style.cautions(note, table))
    return ax


@style.styled
def prevalence_by_age(
    table: pd.DataFrame,
    finding: str,
    *,
    bin_years: int = 10,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws how many of the images of each age band show a finding, with intervals that let a patient's films agree.

    Args:
        table: Image table.
        finding: The finding.
        bin_years: Width of an age band, in years.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes.

    Raises:
        ValueError: If the finding is unknown or not in the table.
    """
    from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval

    require_columns(table, ["age_years", "patient_id"], "the image table", FIX)
    (name,) = chosen_findings(table, finding)
    edges = _bands(table["age_years"], positive_int(bin_years, "bin_years"))
    known = table[table[name].isin((0, 1))]
    band = np.digitize(known["age_years"].fillna(-1), edges) - 1
    ax = style.axes(ax)
    words, top = [], 0.0
    for position in range(len(edges) - 1):
        rows = known[band == position]
        words.append(f"{edges[position]:g}-{edges[position + 1] - 1:g}\n{len(rows):,}")
        if not len(rows):
            continue
        share = clustered_proportion_interval(rows[name] == 1, rows["patient_id"].astype(str))
        value, low, high = share.value * 100, share.low * 100, share.high * 100
        error = [[max(value - low, 0)], [max(high - value, 0)]]
        ax.errorbar(position, value, yerr=error, fmt="o", color=style.BLUE, capsize=3)
        # The interval of a handful of films would press all others flat; it may leave the figure.
        top = max(top, high if len(rows) >= _FEW_IMAGES * len(known) else value)
    whole = (known[name] == 1).mean() * 100 if len(known) else 0.0
    ax.axhline(whole, color=style.GREY, linestyle="--", linewidth=1.2, label=f"all ages: {whole:.1f} %")
    ax.set_xticks(range(len(words)), words, fontsize=8)
    ax.set_xlim(-0.6, len(words) - 0.4)
    ax.set_ylim(0, min(1.25 * max(top, whole, 1e-6), 110))
    ax.set_yticks([tick for tick in ax.get_yticks() if tick <= 100])
    ax.set_xlabel("age, years; below, images" + _without_age(table["age_years"]))
    ax.set_ylabel(f"% of images with {style.words(name)} (95 % CI)")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper center")
    style.title(ax, f"{style.words(name)} by age: {counted_table(table)}", style.cautions(note, table))
    return ax
