"""How training went: both stages on one axis of epochs, with the boundary between them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.checks import require_columns
from chexkeras.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BESIDE_INCHES = 0.8
_COLUMNS = ("stage", "global_epoch", "loss", "val_loss", "val_auroc")


def _lower_panel(ax: "Axes") -> "Axes":
    """Returns axes below `ax`, made from its own room in the figure, sharing its epochs."""
    drawn = ax.figure
    spec = ax.get_subplotspec()
    if spec is not None:
        halves = spec.subgridspec(2, 1, hspace=0.08)
        ax.set_subplotspec(halves[0])
        return drawn.add_subplot(halves[1], sharex=ax)
    room = ax.get_position()
    ax.set_position((room.x0, room.y0 + room.height * 0.54, room.width, room.height * 0.46))
    return drawn.add_axes((room.x0, room.y0, room.width, room.height * 0.46), sharex=ax)


def _boundaries(history: pd.DataFrame) -> list[tuple[str, float, float]]:
    """Returns (stage, first epoch - 0.5, last epoch + 0.5) in order of training."""
    groups = history.groupby("stage", sort=False)["global_epoch"]
    return [(str(stage), epochs.min() - 0.5, epochs.max() + 0.5) for stage, epochs in groups]


@checked
@style.styled
def training_curves(
    history: pd.DataFrame,
    *,
    kept: int | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the loss above and the validation AUROC below, over all epochs, with the stages marked.

    Args:
        history: One row per epoch: stage, global_epoch, loss, val_loss, val_auroc.
        kept: The epoch whose weights were kept, counted over all stages (`Run.kept_epoch`); a star marks it. None
            marks the largest AUROC, which another monitor need not have kept.
        ax: Axes whose room is divided between the two panels; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The upper axes (loss); the lower (AUROC) is the last of ``ax.figure.axes``.

    Raises:
        ValueError: If the history is empty, lacks a column, or has no such epoch.
    """
    from matplotlib.ticker import MaxNLocator

    require_columns(history, _COLUMNS, "the training history", "Give history.csv of a run folder.")
    if history.empty:
        raise ValueError("the training history has no epoch; train the model, or load a finished run.")
    ax = style.axes(ax, 6.4, 5.2)
    lower = _lower_panel(ax)
    epochs = history["global_epoch"].to_numpy()
    ax.plot(epochs, history["loss"], color=style.BLUE, marker="o", markersize=3.5, label="training")
    ax.plot(
        epochs, history["val_loss"], color=style.ORANGE, marker="s", markersize=3.5, linestyle="--", label="validation"
    )
    ax.set_ylabel("loss")
    ax.tick_params(labelbottom=False)
    ax.legend(loc="best")

    aurocs = history["val_auroc"].to_numpy(float)
    lower.plot(epochs, aurocs, color=style.GREEN, marker="D", markersize=3.5, label="validation")
    if kept is not None and kept not in epochs:
        raise ValueError(f"kept={kept!r} is no epoch of this history, which has {epochs[0]} to {epochs[-1]}.")
    if kept is not None or np.isfinite(aurocs).any():
        best = int(np.nanargmax(aurocs)) if kept is None else int(np.flatnonzero(epochs == kept)[0])
        value = f"{aurocs[best]:.3f}, " if np.isfinite(aurocs[best]) else ""
        lower.plot(
            [epochs[best]],
            [aurocs[best]],
            marker="*",
            markersize=14,
            color=style.AMBER,
            markeredgecolor=style.INK,
            linestyle="none",
            label=f"{'largest' if kept is None else 'kept'}: {value}epoch {epochs[best]}",
        )
    lower.axhline(0.5, color=style.GREY, linewidth=1, linestyle=":", label="chance")
    lower.set_ylabel("AUROC")
    lower.set_xlabel("epoch, counted over all stages")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.legend(loc="best")

    stages = _boundaries(history)
    for number, (stage, first, last) in enumerate(stages):
        if number:
            for panel in (ax, lower):
                panel.axvline(first, color=style.INK, linewidth=1, linestyle="-.", label="_stage boundary")
        # No name runs into the next stage, nor a first one into the numbers of the axis.
        share = (last - first) / (stages[-1][2] - stages[0][1])
        name = style.shortened(
            style.words(stage), share * (style.room(ax).width - _BESIDE_INCHES) - 0.05, style.points(9)
        )
        ax.annotate(
            name,
            xy=((first + last) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, -3),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=style.points(9),
            color=style.INK,
        )
    ax.margins(y=0.18)
    ax.set_xlim(stages[0][1], stages[-1][2])
    style.title(ax, "Training", style.cautions(note, history))
    return ax
