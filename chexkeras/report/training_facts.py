"""Facts on how the network was built and trained: recipe, stages, layers, parameters, curves."""

import math
from typing import Any

import pandas as pd

from chexkeras.report.facts import Documents, Facts, percent, printed

_RECIPE, _STAGES = "recipe.json", "stages.json"
_MOST_NAMES = 8

_ORIGINS = {"imagenet": "ImageNet"}
_LOSSES = {"weighted_bce": "class-weighted binary cross-entropy", "focal": "focal loss"}


def _augmentation(name: str, value: Any) -> str:
    """Returns one random change of the training films in words."""
    if name == "flip":
        return "mirroring left to right of half of the films"
    if name == "rotation_degrees":
        return f"rotation by at most {printed(value)} degrees to either side"
    phrases = {
        "shift_fraction": "shift by at most {} of the side",
        "zoom_fraction": "change of scale by at most {}",
        "brightness": "change of brightness by at most {} of the grey range",
        "contrast": "change of contrast by at most {}",
    }
    if name in phrases:
        return phrases[name].format(percent(float(value)))
    return f"{name.replace('_', ' ')} {printed(value)}"


def _loss(settings: dict[str, Any]) -> str:
    name = str(settings.get("name", ""))
    text = _LOSSES.get(name, name)
    # Each loss uses its own numbers only; the others in the recipe are idle defaults.
    used = {"weighted_bce": ("class_weights", "label_smoothing"), "focal": ("gamma", "alpha")}.get(name)
    parts = [
        f"{key.replace('_', ' ')} {printed(value)}"
        for key, value in settings.items()
        if key != "name" and value not in (None, 0, 0.0) and (used is None or key in used)
    ]
    return f"{text} ({', '.join(parts)})" if parts else text


def _share_trained(trainable: Any) -> str:
    if isinstance(trainable, str):
        return f"the backbone from layer `{trainable}` on, and the head"
    if trainable == 0:
        return "the head alone; the backbone is frozen"
    if trainable == 1:
        return "the whole network but its BatchNorm layers"
    return f"the top {percent(float(trainable), 0)} of the backbone's layers, and the head"


def names_text(names: list[str]) -> str:
    """Returns layer names for prose: all of a few, or the first, the last and the count of many."""
    if not names:
        return "none"
    if len(names) <= _MOST_NAMES:
        return ", ".join(f"`{name}`" for name in names)
    return f"{len(names):,} layers from `{names[0]}` to `{names[-1]}`"


def _add_recipe(facts: Facts, documents: Documents) -> None:
    for key in ("image_size", "backbone", "head", "batch_size", "seed"):
        documents.add(facts, f"recipe.{key}", _RECIPE, key)
    weights = documents.pick(_RECIPE, "weights", None)
    text = (
        "no pretrained weights (the base starts untrained)"
        if weights is None
        else f"{_ORIGINS.get(weights, weights)} weights"
    )
    facts.add("recipe.weights", weights, text, file=_RECIPE, field="weights")
    facts.add("recipe.optimizer", documents.pick(_RECIPE, "optimizer", "Adam"), file=_RECIPE, field="optimizer")
    loss = documents.pick(_RECIPE, "loss")
    facts.add("recipe.loss", loss, _loss(loss), file=_RECIPE, field="loss")
    changes = documents.pick(_RECIPE, "augment", None) or {}
    phrases = [_augmentation(name, value) for name, value in changes.items() if value]
    facts.add("recipe.augment", changes, "; ".join(phrases) or "none", file=_RECIPE, field="augment")


def _add_stage(facts: Facts, documents: Documents, index: int, history: pd.DataFrame) -> str:
    name = str(documents.pick(_STAGES, f"[{index}].stage"))
    planned = [str(stage.get("name")) for stage in documents.pick(_RECIPE, "stages")]
    if name not in planned:
        raise ValueError(f"stages.json describes stage {name!r}, but recipe.json has only: {', '.join(planned)}.")
    at = planned.index(name)
    key = f"stage.{name}"
    documents.add(facts, f"{key}.epochs_planned", _RECIPE, f"stages[{at}].epochs")
    documents.add(facts, f"{key}.learning_rate", _RECIPE, f"stages[{at}].learning_rate")
    trainable = documents.pick(_RECIPE, f"stages[{at}].trainable")
    facts.add(f"{key}.trains", trainable, _share_trained(trainable), file=_RECIPE, field=f"stages[{at}].trainable")
    for field in ("trainable_parameters", "frozen_parameters", "batchnorm_layers_held", "first_trainable_layer"):
        documents.add(facts, f"{key}.{field}", _STAGES, f"[{index}].{field}")
    for field in ("backbone_layers", "backbone_layers_trainable"):
        documents.add(facts, f"{key}.{field}", _STAGES, f"[{index}].{field}", default=None)
    names = [str(layer) for layer in documents.pick(_STAGES, f"[{index}].layers_trainable", [])]
    tuned = [layer for layer in names if not layer.startswith("head_")]
    facts.add(
        f"{key}.tuned_layers", tuned, names_text(tuned), file=_STAGES, field=f"[{index}].layers_trainable, backbone"
    )
    rows = history[history["stage"].astype(str) == name]
    facts.add(f"{key}.epochs_run", len(rows), file="history.csv", field=f"rows of {name}")
    scored = rows.dropna(subset=["val_auroc"])
    if len(scored):
        best = scored.iloc[int(scored["val_auroc"].to_numpy().argmax())]
        value, epoch = float(best["val_auroc"]), int(best["global_epoch"])
        text = f"{value:.3f} (epoch {epoch})"
    else:
        value, text = math.nan, "not measured"
    facts.add(f"{key}.best_val_auroc", value, text, file="history.csv", field=f"largest val_auroc of {name}")
    return name


def add_training(facts: Facts, documents: Documents, history: pd.DataFrame) -> None:
    """Records the recipe, each stage with its layers and parameters, and how validation went."""
    _add_recipe(facts, documents)
    count = len(documents.pick(_STAGES, ""))
    names = [_add_stage(facts, documents, index, history) for index in range(count)]
    facts.add("stages", names, file=_STAGES, field="stage of every entry")
    trained = [str(layer) for layer in documents.pick(_STAGES, "[0].layers_trainable", [])]
    head = [layer for layer in trained if layer.startswith("head_")]
    facts.add("network.head_layers", head, names_text(head), file=_STAGES, field="[0].layers_trainable, head")
    total = documents.pick(_STAGES, f"[{count - 1}].total_parameters", None)
    if total is None:
        total = sum(facts[f"stage.{names[-1]}.{kind}_parameters"].value for kind in ("trainable", "frozen"))
    facts.add("network.parameters", total, file=_STAGES, field=f"[{count - 1}].total_parameters")
    facts.add("training.epochs", len(history), file="history.csv", field="rows")
    last = history.iloc[-1]
    for field in ("loss", "val_loss"):
        facts.add(f"training.last_{field}", float(last[field]), f"{last[field]:.3f}", file="history.csv",
                  field=f"{field} of the last row")  # fmt: skip
