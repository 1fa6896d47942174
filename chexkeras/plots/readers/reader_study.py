"""A reader study in two drawings: every reader's ROC curve with the readers' average, and what each reader gained."""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from chexkeras.arguments import checked
from chexkeras.evaluation.metrics import roc_curve
from chexkeras.evaluation.readers.mrmc import mrmc
from chexkeras.evaluation.readers.reader_study import ReaderStudy
from chexkeras.evaluation.uncertainty.limits import p_text
from chexkeras.plots import style
from chexkeras.plots.comparison import LOOKS
from chexkeras.plots.forest import Row, difference_axis, difference_text, draw_rows, height_of
from chexkeras.results import MrmcResult
from chexkeras.results.reader_study import turned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AREA = "AUROC"
_NAME_LETTERS, _INCHES_A_LETTER, _NUMBERS_INCHES = 44, 0.085, 3.2
_DRAWING_INCHES = (4.7, 5.0)


def average_roc(curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the average of ROC curves, taken along the diagonals on which false and true positives add up alike.

    Along a diagonal every curve has exactly one point, also where it rises straight up, and the area under the average
    is the average of the areas.

    Args:
        curves: False positive rates and sensitivities of each curve, from (0, 0) to (1, 1).

    Returns:
        False positive rates and sensitivities of the average.

    Source:
        Chen & Samuelson, British Journal of Radiology 87, 2014.
    """
    along = np.unique(np.concatenate([alarms + hits for alarms, hits in curves]).round(12))
    above = np.mean([np.interp(along, alarms + hits, hits - alarms) for alarms, hits in curves], axis=0)
    return (along - above) / 2, (along + above) / 2


@checked
@style.styled
def reader_roc(
    study: ReaderStudy,
    result: MrmcResult | None = None,
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the empirical ROC curve of every reader in every modality, thin, and the average of the readers, thick.

    Args:
        study: The ratings of one finding, with at most six modalities.
        result: What `mrmc` found of the readers' areas under the ROC curve, for the legend; computed if it is None or
            of another figure.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions of the result.

    Returns:
        The axes.

    Raises:
        ValueError: If the study has several findings or more than six modalities, or a class is missing.
    """
    readings = study.readings()
    if len(readings) > len(LOOKS):
        raise ValueError(
            f"{len(readings)} modalities were read; at most {len(LOOKS)} can be told apart in one drawing."
        )
    areas = result if result is not None and result.figure == _AREA else mrmc(study)
    ax = style.axes(ax, 5.6, 6.2 + 0.4 * len(readings))
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=1, linestyle=":")
    for part, (colour, line, _) in zip(readings, LOOKS, strict=False):
        curves = [roc_curve(part.positive, ratings)[:2] for ratings in part.ratings]
        for alarms, hits in curves:
            ax.plot(alarms, hits, color=colour, linewidth=0.7, alpha=0.45, label="_reader")
        name = "\n".join(textwrap.wrap(_called(part.modality, "modality"), _NAME_LETTERS))
        label = f"{name}\nmean {_AREA} {style.interval_text(areas.mean(part.modality).estimate)}"
        ax.plot(*average_roc(curves), color=colour, linestyle=line, linewidth=2.6, label=label)
    ax.set_xlabel("1 − specificity")
    ax.set_ylabel("sensitivity")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.01)
    ax.set_aspect("equal")
    heading = f"{len(study.readers)} readers: thin each, thick their average"
    # Below the drawing: the curves of many readers leave no corner of it free.
    style.legend_below(ax, title=heading, title_fontsize=style.points(8.5), handlelength=3)
    style.title(ax, f"ROC of the readers{_of(areas)}", style.cautions(note, areas))
    return ax


@checked
@style.styled
def reader_forest(
    result: MrmcResult,
    first: str | None = None,
    second: str | None = None,
    *,
    margin: float | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws what each reader gained by one modality over another, with intervals, and all readers together.

    A reader's interval is for this reader on other patients; that of all readers together, the diamond, is the study's
    result.

    Args:
        result: From `mrmc`.
        first: The first modality; by default that of the first difference.
        second: The second modality, which the first is compared with; by default that of the first difference.
        margin: How much worse than the second the first may be and still count as no worse, in (0, 1), to be drawn as a
            line; None for none.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions of the result.

    Returns:
        The axes.

    Raises:
        ValueError: If the study has one modality only, or a modality is unknown.
    """
    names = _pair(result, first, second)
    together = result.difference(*names)
    flip = (together.first, together.second) not in {(pair.first, pair.second) for pair in result.differences}
    rows = []
    for entry in result.reader_differences:
        if {entry.first, entry.second} == set(names):
            difference = turned(entry.difference) if flip else entry.difference
            rows.append(Row(_called(entry.reader), difference, right=difference_text(difference)))
    p_value = p_text(together.p_adjusted)
    ends = f", p {'' if p_value.startswith('<') else '= '}{p_value}"
    ends += " after Holm" if together.p_adjusted != together.p_value else ""
    text = difference_text(together.difference) + (ends if together.difference.estimable else "")
    whom = "all readers" if result.readers == "random" else f"these {result.n_readers} readers"
    rows.append(Row(whom, together.difference, right=text, summary=True))
    ax = style.axes(ax, 8.6, height_of(len(rows)))
    draw_rows(ax, rows, right_heading=f"difference ({result.confidence * 100:g} % CI)")
    difference_axis(ax, [row.estimate for row in rows if row.estimate is not None], [] if margin is None else [margin])
    one, other = (_called(name, "modality") for name in names)
    under = f"{one} is better to the right of 0"
    if margin is not None:
        under += f"; dashed: the stated margin of {margin:g}"
    ax.set_xlabel(f"{result.figure}: {one} − {other}\n{under}")
    style.title(ax, f"What readers gain{_of(result)}", style.cautions(note, result))
    return ax


@checked
@style.styled
def plot_reader_study(
    study: ReaderStudy,
    result: MrmcResult | None = None,
    *,
    first: str | None = None,
    second: str | None = None,
    margin: float | None = None,
    axes: "tuple[Axes, Axes] | None" = None,
    note: str | Sequence[str] | None = None,
) -> "tuple[Axes, Axes]":
    """Draws a reader study side by side: the readers' ROC curves, and what each reader gained.

    Args:
        study: The ratings of one finding in at least two modalities.
        result: From `mrmc`; by default the areas under the ROC curve with random readers and images.
        first: The first modality of the difference; by default that of the result's first difference.
        second: The second modality, which the first is compared with; by default that of the result's first difference.
        margin: How much worse than the second the first may be and still count as no worse, in (0, 1), to be drawn as a
            line; None for none.
        axes: Two axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions of the result.

    Returns:
        Both axes.

    Raises:
        ValueError: If the study has several findings, one modality or more than six, or a modality is unknown.
    """
    found = mrmc(study) if result is None else result
    _pair(found, first, second)
    if axes is None:
        import matplotlib.pyplot as plt

        height = max(6.0 + 0.4 * len(found.means), height_of(found.n_readers + 1))
        # The drawings keep their width; names of readers, and the numbers beside the drawing, come on top of it.
        beside = _INCHES_A_LETTER * max(len(_called(entry.reader)) for entry in found.figures) + _NUMBERS_INCHES
        size = (sum(_DRAWING_INCHES) + 1.2 + beside, height)
        drawn, (left, right) = plt.subplots(1, 2, figsize=size, width_ratios=_DRAWING_INCHES, layout="constrained")
        style.figure_note(drawn, style.cautions(note, found))
        note = ""
    else:
        left, right = axes
    reader_roc(study, found, ax=left, note=note)
    reader_forest(found, first, second, margin=margin, ax=right, note="" if note is None else note)
    return left, right


def draw_reader_study(
    study: ReaderStudy,
    result: MrmcResult,
    folder: str | Path,
    *,
    first: str | None = None,
    second: str | None = None,
    margin: float | None = None,
) -> Path:
    """Writes a reader study as a PNG file, named after its finding.

    Args:
        study: The ratings of one finding.
        result: From `mrmc`.
        folder: Where it goes; made where it is missing.
        first: The first modality of the difference; by default that of the result's first difference.
        second: The second modality, which the first is compared with; by default that of the result's first difference.
        margin: How much worse than the second the first may be and still count as no worse, in (0, 1); None for none.

    Returns:
        The file.
    """
    import matplotlib.pyplot as plt

    destination = Path(folder)
    destination.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", result.finding).strip("_")
    if result.differences:
        axes = plot_reader_study(study, result, first=first, second=second, margin=margin)[0]
    else:
        axes = reader_roc(study, result)
    path = destination / f"reader_study{'_' if name else ''}{name}.png"
    drawn = cast("Figure", axes.figure)
    style.save(drawn, path)
    plt.close(drawn)
    return path


def _pair(result: MrmcResult, first: str | None, second: str | None) -> tuple[str, str]:
    """Returns the two modalities that are meant."""
    if not result.differences:
        raise ValueError("the study has one modality only, so there is no difference to draw; use reader_roc.")
    if (first is None) != (second is None):
        raise ValueError("name both modalities, first and second, or neither.")
    if first is None or second is None:
        return result.differences[0].first, result.differences[0].second
    result.difference(first, second)
    return first, second


def _called(name: str, what: str = "reader") -> str:
    """Returns a name for print; a mere number says what it numbers."""
    return f"{what} {name}" if name.isdecimal() else style.words(name)


def _of(result: MrmcResult) -> str:
    return f": {style.words(result.finding)}" if result.finding else ""
