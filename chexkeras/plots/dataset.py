"""What is in an image table: findings, alone and together, views, ages and sexes, images of each patient."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.checks import positive_int, require_columns
from chexkeras.plots import style
from chexkeras.plots._inputs import FIX, chosen_findings, table_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW_IMAGES = 0.01
_LEAST_POINTS = 4.0
_UNKNOWN = "sex not known"
_SEXES = {"F": ("female", style.ORANGE, "//"), "M": ("male", style.BLUE, ""), "": (_UNKNOWN, style.GREY, "..")}


@checked
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
    ax.bar_label(bars, share, fontsize=style.points(8.5))
    ax.margins(x=0.22)
    style.keep_beside(ax)
    ax.set_xlabel("images labelled positive")
    ax.grid(axis="y", visible=False)
    style.title(ax, f"Findings in {table_counts(table)}", style.cautions(note, table))
    return ax


@checked
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
            f" {total:,} ({total / max(len(table), 1) * 100:.1f} %){share}",
            (total, row),
            va="center",
            fontsize=style.points(8.5),
        )
    ax.margins(x=0.4 if finding else 0.2)
    style.keep_beside(ax)
    ax.set_xlabel("images")
    ax.grid(axis="y", visible=False)
    if finding is not None:
        style.legend_below(ax, columns=2)
    style.title(ax, f"Views: {table_counts(table)}", style.cautions(note, table))
    return ax


def _bars_of_counts(counts: pd.Series, ax: "Axes", most: int) -> None:
    """Draws a bar for 0, 1, 2, ... with everything from `most` on in the last one."""
    clipped = counts.clip(upper=most).value_counts().sort_index()
    positions = range(int(counts.min()), min(int(counts.max()), most) + 1)
    heights = [int(clipped.get(position, 0)) for position in positions]
    bars = ax.bar(list(positions), heights, color=style.BLUE, width=0.75)
    ax.bar_label(bars, [f"{height:,}" if height else "" for height in heights], fontsize=style.points(8.5))
    names = [f"{position}+" if position == most and counts.max() > most else str(position) for position in positions]
    ax.set_xticks(list(positions), names)
    # A single bar would fill the whole drawing.
    middle, half = (positions[0] + positions[-1]) / 2, max(len(positions), 4) / 2 + 0.1
    ax.set_xlim(middle - half, middle + half)
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.12)


@checked
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
    style.title(ax, f"Images per patient: {table_counts(table)}", style.cautions(note, table))
    return ax


@checked
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
    style.title(ax, f"Findings per image: {table_counts(table)}", style.cautions(note, table))
    return ax


def _bands(ages: pd.Series, bin_years: int) -> np.ndarray:
    """Returns the edges of age bands from 0 to beyond the oldest."""
    top = ages.max() if ages.notna().any() else bin_years
    return np.arange(0, top + bin_years + 1, bin_years)


def _without_age(ages: pd.Series) -> str:
    missing = int(ages.isna().sum())
    return f" ({missing:,} images without a plausible age are not shown)" if missing else ""


@checked
@style.styled
def age_sex(
    table: pd.DataFrame,
    *,
    bin_years: int = 10,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the images by age band and sex, those whose sex is not known apart; without any age it says so.

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
    # Whose sex is unknown is drawn too: left out, a table without sexes would look like one without images.
    told = table["sex"].where(table["sex"].isin(("F", "M")), "").astype(str)
    shown = pd.DataFrame({"age_years": table["age_years"].astype(float), "sex": told}).dropna()
    sexes = [sex for sex in _SEXES if (shown["sex"] == sex).any()]
    ax = style.axes(ax)
    about = "Age" if sexes == [""] else "Age and sex"
    if not sexes:
        ax.set_axis_off()
        ax.text(
            0.5, 0.5, "no age to draw:\nno image has a plausible age", transform=ax.transAxes, ha="center", va="center"
        )
    else:
        seaborn.histplot(
            shown, x="age_years", hue="sex", hue_order=sexes, palette=[_SEXES[sex][1] for sex in sexes], bins=edges,
            multiple="dodge", shrink=0.85, alpha=1, edgecolor="white", legend=False, ax=ax,
        )  # fmt: skip
    # Seaborn draws the groups from last to first.
    for bars, sex in zip(ax.containers, reversed(sexes), strict=True):
        word, _, hatch = _SEXES[sex]
        for bar in bars:
            bar.set_hatch(hatch)
        bars.set_label(f"{word}, n = {int((told == sex).sum()):,}")
    ax.set_xlabel("age, years" + _without_age(table["age_years"]))
    ax.set_ylabel("images")
    ax.set_xticks(edges)
    ax.grid(axis="x", visible=False)
    if sexes:
        # Below the drawing: bars may stand in every corner of it.
        style.legend_below(ax, columns=2, handles=ax.get_legend_handles_labels()[0][::-1])
    style.title(ax, f"{about}: {table_counts(table)}", style.cautions(note, table))
    return ax


@checked
@style.styled
def prevalence_by_age(
    table: pd.DataFrame,
    finding: str,
    *,
    bin_years: int = 10,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws how many of the images of each age band show a finding, with intervals that let a patient's images agree.

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
        share = clustered_proportion_interval(rows[name] == 1, rows["patient_id"])
        value, low, high = share.value * 100, share.low * 100, share.high * 100
        error = [[max(value - low, 0)], [max(high - value, 0)]]
        ax.errorbar(position, value, yerr=error, fmt="o", color=style.BLUE, capsize=3)
        # The interval of a handful of images would press all others flat; it may leave the figure.
        top = max(top, high if len(rows) >= _FEW_IMAGES * len(known) else value)
    whole = (known[name] == 1).mean() * 100 if len(known) else 0.0
    ax.axhline(whole, color=style.GREY, linestyle="--", linewidth=1.2, label=f"all ages: {whole:.1f} %")
    ax.set_xticks(range(len(words)), words, fontsize=style.points(8))
    ax.set_xlim(-0.6, len(words) - 0.4)
    ax.set_ylim(0, min(1.25 * max(top, whole, 1e-6), 110))
    ax.set_yticks([tick for tick in ax.get_yticks() if tick <= 100])
    ax.set_xlabel("age, years; below, images" + _without_age(table["age_years"]))
    ax.set_ylabel(f"% of images with {style.words(name)} (95 % CI)")
    ax.grid(axis="x", visible=False)
    style.legend_below(ax)
    style.title(ax, f"{style.words(name)} by age: {table_counts(table)}", style.cautions(note, table))
    return ax


@checked
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
    place = style.room(ax)
    # Where a cell is too small for a number that can be read, its shade alone tells.
    cell_points = 72 * min(place.width - 1.8, place.height - 1.2) / len(names)
    numbers = min(style.points(8), 0.45 * cell_points)
    top = max(1.0, float(np.nanmax(share))) if np.isfinite(share).any() else 1.0
    seaborn.heatmap(
        pd.DataFrame(share, index=rows, columns=spelled), cmap="Blues", vmin=0, vmax=top, square=True, fmt=".0f",
        annot=bool(numbers >= _LEAST_POINTS), annot_kws={"fontsize": numbers}, cbar=False, linewidths=0.5, ax=ax,
    )  # fmt: skip
    ax.grid(visible=False)
    ax.set_xticks(ax.get_xticks(), spelled, rotation=55, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    ax.set_xlabel("% of the row's positive images that also show")
    style.title(ax, f"Findings together: {table_counts(table)}", style.cautions(note, table))
    return ax


@checked
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
        ax.bar_label(bars, [f" {share:.1f} %" for share in shares[kind]], fontsize=style.points(7.5))
    ax.set_yticks(places, [style.words(str(other)) for other in shares.index])
    ax.margins(x=0.12)
    style.keep_beside(ax)
    ax.set_xlabel("% of images that also show")
    ax.grid(axis="y", visible=False)
    style.legend_below(ax, columns=2)
    style.title(ax, f"What comes with {word}", style.cautions(note, table))
    return ax
