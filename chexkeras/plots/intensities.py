"""How bright films are, with a finding and without it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras.checks import positive_int, require_columns
from chexkeras.plots import style
from chexkeras.plots.eda_inputs import FIX, chosen_findings
from chexkeras.plots.films import read_film

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 32
_BAND = (10, 90)


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
    word = style.words(finding)
    groups = ((0, f"no {word}", style.BLUE, "-"), (1, word, style.ORANGE, "--"))
    for label, name, colour, line in groups:
        rows = table[table[finding] == label]
        if rows.empty:
            continue
        shares = _shares(rows.sample(min(most, len(rows)), random_state=0))
        low, high = np.percentile(shares, _BAND, axis=0)
        of = f" of {len(rows):,}" if len(rows) > most else ""
        ax.fill_between(centres, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(centres, shares.mean(axis=0), color=colour, linestyle=line, label=f"{name}, n = {len(shares):,}{of}")
    ax.set_xlim(0, 255)
    ax.set_ylim(0, ax.get_ylim()[1] * 1.3)
    ax.set_xlabel("gray level (0 black, 255 white)")
    ax.set_ylabel("% of a film's pixels")
    ax.legend(title="mean film; band: middle 80 % of films", title_fontsize=8.5)
    style.title(ax, f"Brightness of films: {word}", style.cautions(note, table))
    return ax
