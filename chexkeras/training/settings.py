"""Changing single fields of a recipe by name, as ``stage2.learning_rate=3e-5``."""

import json
from collections.abc import Iterable
from typing import Any

from chexkeras.checks import nearest
from chexkeras.training.recipe import Recipe


def with_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Returns a recipe with some fields changed.

    Args:
        recipe: The recipe to start from.
        settings: Each ``field=value`` or ``group.field=value``; a stage is named by its own name. Values are read as
            JSON where they are JSON (numbers, true, null) and as text otherwise.

    Returns:
        The changed recipe, validated anew.

    Raises:
        ValueError: If a field does not exist (the message gives the nearest) or its value is refused.

    Example:
        >>> changed = with_settings(Recipe(), ["stage2.epochs=3", "augment.flip=true"])
        >>> changed.stages[1].epochs, changed.augment.flip
        (3, True)
    """
    data = recipe.to_dict()
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"setting {setting!r} must read field=value, for example stage2.learning_rate=3e-5.")
        *groups, name = path.strip().split(".")
        place = data
        for group in groups:
            place = _inner(place, group, setting)
        if name not in place or isinstance(place[name], dict) or name == "stages":
            known = _fields(place)
            raise ValueError(f"setting {setting!r} names no field; {nearest(name, known)} There: {', '.join(known)}.")
        place[name] = _value(text, place[name])
    try:
        return Recipe.from_dict(data)
    except TypeError as error:
        raise ValueError(f"the settings {list(settings)} do not make a recipe: {error}") from error


def _inner(place: dict[str, Any], group: str, setting: str) -> dict[str, Any]:
    stages = {stage["name"]: stage for stage in place.get("stages", ())}
    inside = stages.get(group, place.get(group))
    if not isinstance(inside, dict):
        known = [*stages, *(name for name, value in place.items() if isinstance(value, dict))]
        raise ValueError(f"setting {setting!r} names no group {group!r}; {nearest(group, known)} Groups: {known}.")
    return inside


def _fields(place: dict[str, Any]) -> list[str]:
    return [name for name, value in place.items() if not isinstance(value, dict) and name != "stages"]


def _value(text: str, before: Any) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None if text.strip().lower() == "none" else text.strip()
    if isinstance(before, (list, tuple)) and isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value
