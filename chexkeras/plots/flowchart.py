"""The algorithm as a flowchart, drawn from the configuration that was actually run."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chexkeras.plots import style
from chexkeras.results import OperatingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Step:
    """One box of the flowchart.

    Attributes:
        name: The heading, a few words.
        detail: What happens there, from the configuration.
        colour: The box's fill.
    """

    name: str
    detail: str
    colour: str = "#EAF3FA"


def _recipe(recipe: Any) -> Mapping[str, Any]:
    return recipe if isinstance(recipe, Mapping) else recipe.to_dict()


def _network(recipe: Mapping[str, Any], stages: Sequence[Mapping[str, Any]]) -> str:
    weights = recipe.get("weights")
    start = "untrained" if weights in (None, "none") else f"weights: {weights}"
    if not stages:
        return str(start)
    last = stages[-1]
    held, tuned = last.get("frozen_parameters"), last.get("trainable_parameters")
    if held is None or tuned is None:
        return str(start)
    first = str(last.get("first_trainable_layer", ""))
    return (
        f"{start}; {held:,} of {held + tuned:,} parameters of the whole network frozen, "
        f"{tuned:,} trained (from {first})"
    )


def steps(
    recipe: Any, stages: Sequence[Mapping[str, Any]] = (), points: Iterable[OperatingPoint] = ()
) -> tuple[Step, ...]:
    """Returns the boxes in order of the flow.

    Args:
        recipe: A Recipe or its dict.
        stages: stages.json of a run.
        points: The frozen operating points.
    """
    settings = _recipe(recipe)
    size = settings["image_size"]
    targets = [style.words(name) for name in settings["targets"]]
    named = ", ".join(targets[:3]) + (f" and {len(targets) - 3} more" if len(targets) > 3 else "")
    points = tuple(points)
    if not points:
        decision = "no threshold was chosen: the score is the output"
    elif len(points) == 1:
        decision = f"positive when score ≥ {points[0].threshold:.4g}, frozen on the {points[0].chosen_on} part"
    else:
        decision = f"positive when score ≥ the finding's own threshold ({len(points)} frozen thresholds)"
    return (
        Step("DICOM file", "one projection radiograph", style.PALE),
        Step("DICOM checks", "file, modality, body part, view, age, geometry, pixels", "#FFF4DC"),
        Step("Display pixels", "modality and VOI transforms, one polarity, 8-bit grey"),
        Step("Resize", f"area average to {size} × {size} pixels"),
        Step(f"{settings['backbone']}", _network(settings, stages)),
        Step("Head", f"{str(settings['head']).replace('_', ' ')}, sigmoid output"),
        Step("Score", f"one value from 0 to 1 for {named}"),
        Step("Threshold", decision, "#FFF4DC"),
    )


def _box(ax: "Axes", x: float, y: float, width: float, height: float, step: Step, wrap: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=step.colour,
            edgecolor=style.INK,
            linewidth=1,
            label=step.name,
        )
    )
    lines = textwrap.wrap(step.detail, wrap)
    ax.text(x, y + 0.105 * len(lines), step.name, ha="center", va="center", fontsize=9.5, fontweight="bold")
    ax.text(x, y - 0.13, "\n".join(lines), ha="center", va="center", fontsize=8.5, linespacing=1.15)


def _arrow(ax: "Axes", start: tuple[float, float], end: tuple[float, float], colour: str = style.INK) -> None:
    arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=end, xytext=start, arrowprops=arrow)


@style.styled
def flowchart(
    recipe: Any,
    *,
    stages: Sequence[Mapping[str, Any]] = (),
    points: Iterable[OperatingPoint] = (),
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the way of a film from the DICOM file to the call, with the branch of the rejected ones.

    Args:
        recipe: A Recipe or its dict.
        stages: stages.json of a run, for the numbers of frozen and trained parameters.
        points: The frozen operating points.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.
    """
    flow = steps(recipe, stages, points)
    height, gap = 0.74, 0.3
    pitch = height + gap
    total = len(flow) * pitch + pitch
    ax = style.axes(ax, 7.2, 0.78 * total + 0.6)
    ax.grid(visible=False)
    ax.set_axis_off()
    centre, width = 2.6, 4.6
    tops = [total - pitch / 2 - index * pitch for index in range(len(flow))]
    for index, (step, y) in enumerate(zip(flow, tops, strict=True)):
        _box(ax, centre, y, width, height, step, 62)
        if index:
            _arrow(ax, (centre, tops[index - 1] - height / 2), (centre, y + height / 2))
    gate = next(index for index, step in enumerate(flow) if step.name == "DICOM checks")
    refused = Step("Rejected", "not scored; reason code reported", "#FBE3D6")
    _box(ax, 6.45, tops[gate], 2.1, height, refused, 24)
    _arrow(ax, (centre + width / 2, tops[gate]), (6.45 - 1.05, tops[gate]), style.ORANGE)
    ax.text(centre + 0.08, tops[gate] - height / 2 - gap / 2, "accepted", fontsize=8, va="center", color=style.GREY)
    last = tops[-1] - pitch
    for x, name, words, colour in (
        (centre - 1.25, "Call: positive", "score at or above the threshold", "#DDF0E8"),
        (centre + 1.25, "Call: negative", "score below the threshold", style.PALE),
    ):
        _box(ax, x, last, 2.1, height, Step(name, words, colour), 30)
        _arrow(ax, (centre, tops[-1] - height / 2), (x, last + height / 2))
    ax.set_xlim(0.15, 7.6)
    ax.set_ylim(last - pitch / 2 - 0.05, total)
    name = _recipe(recipe).get("name") or "algorithm"
    style.title(ax, f"From film to call: {name}", style.cautions(note))
    return ax
