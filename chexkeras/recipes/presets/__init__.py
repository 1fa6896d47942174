"""Recipes by name, each with its source.

To add one, write an entry in the file of its system, or in `nih` or `chexpert`: the recipe, and beside it where its
facts are from, what the source leaves open and what was chosen, how it read and divided its images, and what it says it
reached.
"""

from typing import TYPE_CHECKING

from chexkeras.arguments import checked
from chexkeras.checks import one_of
from chexkeras.recipes.presets.chexpert import CHEXPERT
from chexkeras.recipes.presets.chexvision import CHEXVISION
from chexkeras.recipes.presets.nih import NIH
from chexkeras.recipes.presets.own import OWN
from chexkeras.recipes.presets.source import ChexpertReading, Claim, Preset, Source, by_name
from chexkeras.recipes.presets.udacity import UDACITY
from chexkeras.recipes.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ChexpertReading",
    "Claim",
    "Preset",
    "Source",
    "as_run_split",
    "explain",
    "names",
    "preset",
    "recipe_of",
    "source",
    "table",
]

_PRESETS = by_name(OWN, UDACITY, CHEXVISION, NIH, CHEXPERT)


def names() -> tuple[str, ...]:
    """Returns the names of the presets."""
    return tuple(_PRESETS)


def _find(name: str) -> Preset:
    return _PRESETS[one_of(name, _PRESETS, "preset")]


@checked
def preset(name: str) -> Recipe:
    """Returns a recipe by name.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: If there is none of that name; the message gives the nearest.

    Example:
        >>> preset("udacity-2a").stages[1].trainable
        0.2
    """
    return _find(name).recipe


@checked
def recipe_of(recipe: Recipe | str) -> Recipe:
    """Returns a recipe as it came, or that of a preset's name.

    Args:
        recipe: A recipe, or one of `names()`.

    Raises:
        ValueError: If there is no preset of that name; the message gives the nearest.

    Example:
        >>> recipe_of("quick") == preset("quick")
        True
    """
    return preset(recipe) if isinstance(recipe, str) else recipe


@checked
def source(name: str) -> Source:
    """Returns where a preset comes from: the system, its data and split, its results, and what was chosen here.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: If there is none of that name; the message gives the nearest.

    Example:
        >>> print(source("team20-finetune").claims[0])
        mean AUROC 0.864 on CheXpert images, five findings; the evaluation split is not stated
    """
    return _find(name).source


@checked
def explain(name: str) -> str:
    """Returns a preset as text: source, protocol, results, what was chosen here, and every setting of the recipe.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: If there is none of that name; the message gives the nearest.
    """
    from chexkeras.recipes.presets.describe import explained

    return explained(_find(name))


def table() -> "pd.DataFrame":
    """Returns all presets, one row each: recipe, split and results of the source."""
    from chexkeras.recipes.presets.describe import tabulated

    return tabulated(_PRESETS.values())


@checked
def as_run_split(name: str) -> str:
    """Returns how the source of a preset divided its images, to repeat its result as it was obtained.

    "image" is leaky (`cx.split_by_image`, and the run says so), "official_image" is so between training and
    validation (`official_split_by_image`); "patient" is `split_by_patient`, "official" `official_split`. The shares of
    the parts, where the source states them, are its `Source.validation` and `Source.test`.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: If there is none of that name, or the source does not say how it divided its images.

    Example:
        >>> as_run_split("chexvision-densenet"), as_run_split("udacity-2a")
        ('official_image', 'patient')
    """
    found = source(name)
    if found.split is None:
        raise ValueError(
            f"the source of preset {name!r} does not state how it divided its images, so that its run cannot be "
            "repeated as it was; choose a split, by patient if nothing speaks against it."
        )
    return "official_image" if found.split == "image" and found.official_test else found.split
