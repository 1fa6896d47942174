"""The algorithm as a flowchart, drawn from the configuration that was actually run."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chexkeras.arguments import checked
from chexkeras.models.registry import GIVEN
from chexkeras.plots import style
from chexkeras.results import OperatingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chexkeras.recipes.recipe import Recipe

_ORIGINS = {"imagenet": "ImageNet"}
_WRAP = 60
_LINE = 0.19
_NAMES_ONLY, _SMALL_POINTS = 0.6, 5.0
"""In a panel smaller than this share of its full size, boxes hold their names and nothing that could not be read."""


@dataclass(frozen=True)
class FlowStep:
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


def _network(recipe: Mapping[str, Any], stages: Sequence[Mapping[str, Any]], kept: str | None) -> str:
    weights = recipe.get("weights")
    if recipe.get("backbone") == GIVEN:
        start = "a Keras model of one's own, with its weights" if stages else "a Keras model that was trained elsewhere"
    else:
        start = "untrained base" if weights is None else f"base with {_ORIGINS.get(weights, weights)} weights"
    names = [str(stage.get("stage", "")) for stage in stages]
    at = names.index(kept) if kept in names else len(stages) - 1
    shown = stages[at] if stages else {}
    frozen, tuned = shown.get("frozen_parameters"), shown.get("trainable_parameters")
    if frozen is None or tuned is None:
        return start
    which, after = "last stage", names[at + 1 :]
    if after:
        which = f"kept from {names[at]} ({' and '.join(after)} run, not kept)"
    return f"{start}; {which}: {tuned:,} parameters trained, head included, and {frozen:,} frozen"


def steps(
    recipe: Any,
    stages: Sequence[Mapping[str, Any]] = (),
    points: Iterable[OperatingPoint] = (),
    kept: str | None = None,
) -> tuple[FlowStep, ...]:
    """Returns the boxes in order of the flow.

    Args:
        recipe: A Recipe or its dict.
        stages: stages.json of a run.
        points: The frozen operating points.
        kept: Name of the stage that the kept model is from; None for the last.
    """
    settings = _recipe(recipe)
    lacking = [name for name in ("image_size", "backbone", "head", "targets") if name not in settings]
    if lacking:
        raise ValueError(f"recipe lacks {', '.join(lacking)}; give a Recipe, or what its to_dict() returns.")
    size = settings["image_size"]
    elsewhere = settings["backbone"] == GIVEN and not settings.get("stages")
    head = str(settings["head"]).replace("_", " ") + ", sigmoid output"
    if settings["head"] == GIVEN:
        head = "a Keras layer of one's own, giving probabilities"
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
        FlowStep("DICOM file", "one projection radiograph", style.PALE),
        FlowStep("DICOM checks", "file, modality, body part, view, age, geometry, pixels", "#FFF4DC"),
        FlowStep("Display pixels", "modality and VOI transforms, one polarity, 8-bit grey"),
        FlowStep("Resize", f"area average to {size} × {size} pixels"),
        FlowStep(
            "Network" if settings["backbone"] == GIVEN else settings["backbone"], _network(settings, stages, kept)
        ),
        *(() if elsewhere else (FlowStep("Head", head),)),
        FlowStep("Score", f"one value from 0 to 1 for {named}"),
        FlowStep("Threshold", decision, "#FFF4DC"),
    )


def _lines(step: FlowStep, wrap: int) -> list[str]:
    return textwrap.wrap(step.detail, wrap)


def _box(
    ax: "Axes", x: float, top: float, size: tuple[float, float], step: FlowStep, scale: float, wrap: int = _WRAP
) -> None:
    from matplotlib.patches import FancyBboxPatch

    width, height = size
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, top - height),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=step.colour,
            edgecolor=style.INK,
            linewidth=1,
            label=step.name,
        )
    )
    if scale < _NAMES_ONLY:
        ax.text(x, top - height / 2, step.name, ha="center", va="center", fontsize=_SMALL_POINTS, fontweight="bold")
        return
    name, detail = 9.5 * scale, 8.5 * scale
    ax.text(x, top - 0.1, step.name, ha="center", va="top", fontsize=name, fontweight="bold")
    lines = "\n".join(_lines(step, wrap))
    ax.text(x, top - 0.34, lines, ha="center", va="top", fontsize=detail, linespacing=1.15)


def _arrow(ax: "Axes", start: tuple[float, float], end: tuple[float, float], colour: str = style.INK) -> None:
    arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=end, xytext=start, arrowprops=arrow)


@checked
@style.styled
def flowchart(
    recipe: "Recipe | Mapping[str, Any]",
    *,
    stages: Sequence[Mapping[str, Any]] = (),
    points: Iterable[OperatingPoint] = (),
    kept: str | None = None,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the way of an image from the DICOM file to the call, with the branch of the rejected ones.

    Args:
        recipe: A Recipe or its dict.
        stages: stages.json of a run, for the numbers of frozen and trained parameters.
        points: The frozen operating points.
        kept: Name of the stage that the kept model is from; None for the last.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure.

    Returns:
        The axes.
    """
    flow = steps(recipe, stages, points, kept)
    gap = 0.3
    heights = [0.44 + _LINE * len(_lines(step, _WRAP)) for step in flow]
    last_height = 0.44 + 2 * _LINE
    total = sum(heights) + gap * len(flow) + last_height
    width, height = 7.2, 0.95 * total + 0.6
    ax = style.axes(ax, width, height)
    place = style.room(ax)
    # The boxes are as large as the panel lets them be, so their type is too.
    scale = min(1.0, place.width / width, place.height / height)
    ax.grid(visible=False)
    ax.set_axis_off()
    centre, width = 2.6, 4.6
    top = total
    for index, (step, height) in enumerate(zip(flow, heights, strict=True)):
        _box(ax, centre, top, (width, height), step, scale)
        if step.name == "DICOM checks":
            refused = FlowStep("Rejected", "not scored; the reason is reported", "#FBE3D6")
            side = 0.44 + _LINE * len(_lines(refused, 24))
            middle = top - height / 2
            _box(ax, 6.45, middle + side / 2, (2.1, side), refused, scale, 24)
            _arrow(ax, (centre + width / 2, middle), (6.45 - 1.05, middle), style.ORANGE)
            if scale >= _NAMES_ONLY:
                at = centre + 0.1, top - height - gap / 2
                ax.text(*at, "accepted", fontsize=8 * scale, va="center", color=style.GREY)
        top -= height
        if index < len(flow) - 1:
            _arrow(ax, (centre, top), (centre, top - gap))
            top -= gap
    for x, name, words, colour in (
        (centre - 1.25, "Call: positive", "score at or above the threshold", "#FCE8CF"),
        (centre + 1.25, "Call: negative", "score below the threshold", style.PALE),
    ):
        _box(ax, x, top - gap, (2.1, last_height), FlowStep(name, words, colour), scale, 24)
        _arrow(ax, (centre, top), (x, top - gap))
    ax.set_xlim(0.15, 7.6)
    ax.set_ylim(top - gap - last_height - 0.05, total + 0.05)
    name = _recipe(recipe).get("name") or "algorithm"
    style.title(ax, f"From image to call: {name}", style.cautions(note))
    return ax
