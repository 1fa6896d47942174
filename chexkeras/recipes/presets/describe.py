"""Presets in words: everything here is made from the recipe and its source, so that it cannot say anything else."""

import json
import textwrap
from collections.abc import Iterable
from typing import Any

import pandas as pd

from chexkeras.models.losses import loss_words
from chexkeras.plain import PlainTable
from chexkeras.recipes.presets.source import Claim, Preset, Source
from chexkeras.recipes.recipe import Recipe, Stage

_WIDTH = 110
_ALWAYS = ("name", "targets", "image_size", "backbone", "weights", "head", "batch_size", "monitor", "seed")
_SPLIT_WORDS = {
    "image": "by image, leaky: images of one patient in several parts",
    "patient": "by patient",
    "official": "the data set's own parts",
    None: "not stated",
}
_OFFICIAL_TEST = "; the official test list was left alone"


def settings_of(recipe: Recipe) -> list[str]:
    """Returns a recipe as ``field=value`` lines, each of which `overrides.with_settings` takes.

    A line is left out where the value is the default, but for the fields that everybody asks for.

    Example:
        >>> settings_of(Recipe(stages=(Stage("only", 3, 1e-4),)))[-3:]
        ['only.epochs=3', 'only.learning_rate=0.0001', 'only.trainable=0.0']
    """
    values, default = recipe.to_dict(), Recipe().to_dict()
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += _lines(value, default[name], f"{name}.")
        elif name != "stages" and (name in _ALWAYS or value != default[name]):
            lines.append(_line(name, value))
    for stage in values["stages"]:
        plain = Stage(stage["name"], epochs=1, learning_rate=1.0).to_dict()
        named = f"{stage.pop('name')}."
        lines += _lines(stage, plain, named, always=("epochs", "learning_rate", "trainable"))
    return lines


def _lines(values: dict[str, Any], default: dict[str, Any], prefix: str, always: tuple[str, ...] = ()) -> list[str]:
    return [
        _line(prefix + name, value) for name, value in values.items() if name in always or value != default.get(name)
    ]


def _line(name: str, value: Any) -> str:
    return f"{name}={json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"


def explained(preset: Preset) -> str:
    """Returns a preset as text: what it follows, how that was measured, what was chosen, and every setting."""
    recipe, source = preset.recipe, preset.source
    parts = [
        _paragraph(f"{recipe.name}: {source.system}"),
        _paragraph(f"Source: {source.where}."),
        _paragraph(f"Data: {source.data}"),
        _reading(recipe, source),
        _paragraph(f"Split of the source: {_split(source)}. {source.protocol}"),
        _listed("Published result", list(map(_claim, source.claims)) or ["none."]),
        _listed("Not stated by the source, chosen here", source.chosen),
        _listed("Done otherwise here", source.differs),
        _paragraph(f"Loss: {loss_words(recipe.loss.to_dict())}."),
        "Recipe (change a line with --set; what is not named has its default):\n"
        + "\n".join(f"  {line}" for line in settings_of(recipe)),
    ]
    return "\n".join(part for part in parts if part)


def _reading(recipe: Recipe, source: Source) -> str:
    if source.reading is None:
        return ""
    options = [f"--{name}" for name in source.reading.options]
    return _paragraph(
        f"Labels of the source: {source.reading}. 'chexkeras train --preset {recipe.name}' reads CheXpert so where "
        f"{', '.join(options[:-1])} and {options[-1]} say nothing else."
    )


def _split(source: Source) -> str:
    shares = [
        f"{100 * share:g} % {name}"
        for name, share in (("validation", source.validation), ("test", source.test))
        if share is not None
    ]
    of = " (of the other images)" if source.official_test and shares else ""
    return "; ".join(
        [f"{_SPLIT_WORDS[source.split]}{_OFFICIAL_TEST if source.official_test else ''}"]
        + ([f"{', '.join(shares)}{of}"] if shares else [])
    )


def _claim(claim: Claim) -> str:
    of_each = ", ".join(f"{finding} {value:g}" for finding, value in claim.by_finding)
    return f"{claim}; {of_each}." if of_each else f"{claim}."


def _paragraph(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _listed(title: str, entries: Iterable[str]) -> str:
    lines = [
        textwrap.fill(entry, _WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
        for entry in entries
    ]
    return "\n".join([f"{title}:", *lines]) if lines else ""


def tabulated(presets: Iterable[Preset]) -> pd.DataFrame:
    """Returns one row for each preset.

    Args:
        presets: Which.

    Returns:
        Columns preset, targets (the name of one, or how many), image_size, backbone, weights, head, loss, stages,
        batch_size, augment (the settings that change images), split (of the source), published (results), source.
    """
    return PlainTable([_row(preset.recipe, preset.source) for preset in presets])


def _row(recipe: Recipe, source: Source) -> dict[str, Any]:
    changes = _lines(recipe.augment.to_dict(), Recipe().augment.to_dict(), "")
    return {
        "preset": recipe.name,
        "targets": recipe.targets[0] if len(recipe.targets) == 1 else f"{len(recipe.targets)} targets",
        "image_size": recipe.image_size,
        "backbone": recipe.backbone,
        "weights": recipe.weights or "untrained",
        "head": recipe.head,
        "loss": recipe.loss.name,
        "stages": "; ".join(map(_stage, recipe.stages)),
        "batch_size": recipe.batch_size,
        "augment": ", ".join(changes) or "none",
        "split": source.split or "not stated",
        "published": "; ".join(map(str, source.claims)) or "none",
        "source": source.where,
    }


def _stage(stage: Stage) -> str:
    if isinstance(stage.trainable, str):
        what = f"from {stage.trainable}"
    else:
        what = f"top {stage.trainable:.0%}" if stage.trainable else "head alone"
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs} epochs"
    return f"{stage.name}: {epochs} at {stage.learning_rate:g}, {what}"
