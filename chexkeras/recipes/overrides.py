"""Changing single fields of a recipe by name, as ``stage2.learning_rate=3e-5``."""

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.checks import nearest
from chexkeras.recipes.presets import recipe_of
from chexkeras.recipes.recipe import Loss, Recipe, Stage

_MOST_TRIALS = 500


@checked
def with_settings(recipe: Recipe | str, settings: Iterable[str]) -> Recipe:
    """Returns a recipe with some fields changed.

    Args:
        recipe: The recipe to start from, or a preset's name.
        settings: Each ``field=value`` or ``group.field=value``; a stage is named by its own name. Values are read as
            JSON where they are JSON (numbers, true, null) and as text otherwise; a list may have lost the quotes of its
            words to the shell. "none" means null where a field takes null, and no entries where it takes several.

    Returns:
        The changed recipe, checked again.

    Raises:
        ValueError: If a field does not exist (the message gives the nearest) or its value is refused.

    Example:
        >>> changed = with_settings(Recipe(), ["stage2.epochs=3", "augment.flip=true"])
        >>> changed.stages[1].epochs, changed.augment.flip
        (3, True)
    """
    recipe = recipe_of(recipe)
    data = recipe.to_dict()
    of_loss: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"setting {setting!r} must read field=value, for example stage2.learning_rate=3e-5.")
        *groups, name = path.strip().split(".")
        place: dict[str, Any] = data
        kind: type = Recipe
        for group in groups:
            place, kind = _inner(place, group, setting)
        if name not in _fields(place):
            known = _fields(place)
            raise ValueError(
                f"setting {setting!r} names no field; {_suggestion(name, known, data)} There: {', '.join(known)}."
            )
        place[name] = _value(text, _hint(kind, name))
        if kind is Loss:
            of_loss[name] = place[name]
    try:
        # Numbers that nobody set take the defaults of the loss that is chosen now.
        data["loss"] = (recipe.loss.replace(**of_loss) if of_loss else recipe.loss).to_dict()
        return Recipe.from_dict(data)
    except TypeError as error:
        raise ValueError(f"the settings {list(settings)} do not make a recipe: {error}") from error


def _inner(place: dict[str, Any], group: str, setting: str) -> tuple[dict[str, Any], type]:
    """Returns the fields of a group, and the class that they are of."""
    stages = {stage["name"]: stage for stage in place.get("stages", ())}
    inside = stages.get(group, place.get(group))
    if not isinstance(inside, dict):
        known = [*stages, *(name for name, value in place.items() if isinstance(value, dict))]
        raise ValueError(f"setting {setting!r} names no group {group!r}; {nearest(group, known)} Groups: {known}.")
    return inside, Stage if group in stages else get_type_hints(Recipe)[group]


def _hint(kind: type, name: str) -> Any:
    """Returns the type of a field; a loss has the numbers that `models.losses` declares for fields."""
    if kind is not Loss:
        return get_type_hints(kind)[name]
    if name == "target_weights":
        return tuple[Any, ...]
    return float | None if Loss.takes_null(name) else float


def _fields(place: dict[str, Any]) -> list[str]:
    return [name for name, value in place.items() if not isinstance(value, dict) and name != "stages"]


def _suggestion(name: str, known: list[str], data: dict[str, Any]) -> str:
    """Returns a sentence naming the field that may be meant, looked for in all groups where this one has none."""
    groups = {stage["name"]: stage for stage in data["stages"]}
    groups |= {group: value for group, value in data.items() if isinstance(value, dict)}
    everywhere = {f"{group}.{field}": field for group, inside in groups.items() for field in _fields(inside)}
    everywhere |= {field: field for field in _fields(data)}
    elsewhere = [path for path, field in everywhere.items() if field == name]
    if elsewhere:
        return f"did you mean {' or '.join(map(repr, elsewhere))}?"
    return nearest(name, known)


def _value(text: str, hint: Any) -> Any:
    """Returns the value that a text gives a field of this type."""
    several = get_origin(hint) is tuple
    word = text.strip()
    if word.lower() == "none":
        word = "[]" if several else "null" if NoneType in get_args(hint) else "none"
    value = _read(word)
    if several and isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value


def _read(word: str) -> Any:
    try:
        return json.loads(word)
    except json.JSONDecodeError:
        pass
    if not word.startswith(("[", "{")):
        return word
    try:
        return json.loads(re.sub(r"[^][{}:,]+", _quoted, word))
    except json.JSONDecodeError:
        return word


def _quoted(found: re.Match[str]) -> str:
    """Gives a word between brackets, commas and colons the quotes back that the shell has taken."""
    word = found[0].strip()
    try:
        json.loads(word or "0")
    except json.JSONDecodeError:
        return json.dumps(word)
    return word


def combinations(
    bases: Sequence[Recipe], settings: Mapping[str, Sequence[Any]], trials: int | None
) -> list[tuple[dict[str, Any], Recipe]]:
    """Returns what a sweep tries: the setting as it is named, and the recipe that it makes; each recipe once.

    Args:
        bases: The recipes to start from; their targets are the same.
        settings: The values to try by field.
        trials: How many combinations are drawn at random, with the first recipe's seed; None takes all.

    Raises:
        ValueError: If there is nothing to choose among or too much, or a field or value is refused.
    """
    if len({recipe.targets for recipe in bases}) > 1:
        named = "; ".join(f"{recipe.name}: {', '.join(recipe.targets)}" for recipe in bases)
        raise ValueError(f"recipes of other targets cannot be chosen among ({named}); give all the same.")
    for field, given in settings.items():
        if isinstance(given, str) or not len(given):
            raise ValueError(f"settings: {field} needs a list of values to try, got {given!r}.")
    found: dict[str, tuple[dict[str, Any], Recipe]] = {}
    for base in bases:
        for values in itertools.product(*settings.values()):
            setting = dict(zip(settings, values, strict=True))
            made = with_settings(base, [f"{field}={_text(value)}" for field, value in setting.items()])
            shown = {"recipe": base.name, **setting} if len(bases) > 1 else setting
            found.setdefault(json.dumps(made.to_dict(), sort_keys=True), (shown, made))
    tried = list(found.values())
    if trials is not None:
        checks.positive_int(trials, "trials", least=2)
        if trials < len(tried):
            drawn = np.random.default_rng(bases[0].seed).permutation(len(tried))[:trials]
            tried = [tried[place] for place in sorted(drawn)]
    if len(tried) < 2:
        raise ValueError(
            "a sweep needs at least two settings to choose among; give several values, as "
            "settings={'stage2.learning_rate': [1e-5, 3e-5]} (on the command line --set stage2.learning_rate=1e-5,3e-5)"
            ", or several recipes."
        )
    if len(tried) > _MOST_TRIALS:
        raise ValueError(
            f"{len(tried):,} settings to train are more than {_MOST_TRIALS}; give fewer values, or draw some at random "
            "with trials=... (on the command line --trials)."
        )
    return tried


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
