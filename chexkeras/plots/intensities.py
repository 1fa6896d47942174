"""How bright films are, with a finding and without it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chexkeras.checks import positive_int, require_columns
from chexkeras.plots import style
from chexkeras.plots.eda_inputs import FIX, chosen_findings
from chexkeras.plots.images import read_film

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 32
_BAND = (10, 90)
_LOOKS = ((style.BLUE, "-"), (style.ORANGE, "--"))
"""Colour and line of films without the finding, and with it."""


def _shares(rows: pd.DataFrame) -> np.ndarray:
    """Returns (films, bins): the share of each film's pixels in each band of gray, in percent."""
    films = (read_film(str(path), str(name))[0] for path, name in zip(rows["path"], rows["image_id"], strict=True))
    return np.array([np.histogram(film, _BINS, (0, 256))[0] * 100 / film.size for film in films])


@style.styled
def intensity_histogram(
    table: pd.DataFrame,
    finding: str,
    *,
    most: int = 100,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the gray levels of films with and without a finding: the mean film, and where most films lie.

    A visible difference is a warning as much as a hint: view, age and machine change brightness too, and a model may
    learn those.

    Args:
        table: Image table.
        finding: The finding.
        most: Films of each group that are opened, drawn at random but always the same ones.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the table carries.

    Returns:
        The axes.

    Raises:
        ValueError: If the finding is unknown or not in the table.
        FileNotFoundError: If a film's file is missing; the message names it.
    """
    most = positive_int(most, "most")
    require_columns(table, ["image_id", "path"], "the image table", FIX)
    (finding,) = chosen_findings(table, finding)
    ax = style.axes(ax)
    centres = (np.arange(_BINS) + 0.5) * 256 / _BINS
    for (label, name), (colour, line) in zip(_groups(finding), _LOOKS, strict=True):
        rows = table[table[finding] == label]
        if rows.empty:
            continue
        shares = _shares(rows.sample(min(most, len(rows)), random_state=0))
        low, high = np.percentile(shares, _BAND, axis=0)
        of = f" of {len(rows):,}" if len(rows) > most else ""
        ax.fill_between(centres, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(centres, shares.mean(axis=0), color=colour, linestyle=line, label=f"{name}, n = {len(shares):,}{of}")
    return _finished(ax, finding, "mean film; band: middle 80 % of films", style.cautions(note, table))


@style.styled
def intensity_profile(
    shares: Mapping[str, Any],
    finding: str,
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the gray levels of the mean film with and without a finding from what a run keeps of its training films.

    Args:
        shares: An entry of a run's intensities.json: "bins" (n + 1 edges in gray levels), "positive" and "negative"
            (n shares of a film's pixels, or None), "n_positive" and "n_negative" films.
        finding: The finding.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.

    Raises:
        ValueError: If shares and bins do not fit.
    """
    edges = np.asarray(shares["bins"], dtype=np.float64)
    ax = style.axes(ax)
    for (label, name), (colour, line) in zip(_groups(finding), _LOOKS, strict=True):
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
    ax.set_ylabel("% of a film's pixels per gray level")
    return _finished(ax, finding, "mean film", style.cautions(note))


def _groups(finding: str) -> tuple[tuple[int, str], tuple[int, str]]:
    word = style.words(finding)
    return (0, f"no {word}"), (1, word)


def _finished(ax: "Axes", finding: str, legend: str, notes: tuple[str, ...]) -> "Axes":
    ax.set_xlim(0, 255)
    ax.set_ylim(0, ax.get_ylim()[1] * 1.3)
    ax.set_xlabel("gray level (0 black, 255 white)")
    if not ax.get_ylabel():
        ax.set_ylabel("% of a film's pixels")
    if ax.lines:
        ax.legend(title=legend, title_fontsize=8.5)
    style.title(ax, f"Brightness of films: {style.words(finding)}", notes)
    return ax
