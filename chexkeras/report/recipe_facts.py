"""Facts on the recipe: what was asked for, in words, with only those of its numbers that had an effect."""

from typing import Any

from chexkeras.report.facts.facts import Facts, percent, printed
from chexkeras.report.facts.run_reader import Documents

_RECIPE = "recipe.json"
_ORIGINS = {"imagenet": "ImageNet"}
_LOSSES = {
    "weighted_bce": "binary cross-entropy",
    "focal": "focal loss",
    "asymmetric": "asymmetric loss",
    "auc_margin": "AUC margin loss",
    "three_way": "cross-entropy over positive, negative and uncertain",
}
_LOSS_USES = {
    "weighted_bce": ("class_weights", "label_smoothing"),
    "focal": ("gamma", "alpha", "label_smoothing"),
    "asymmetric": ("gamma_positive", "gamma_negative", "clip"),
    "auc_margin": ("margin",),
    "three_way": (),
}
"""Each loss uses its own numbers only; the others in the recipe are idle defaults."""

_WEIGHT_USES = {"capped": ("cap",), "effective": ("beta",)}
_OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD with momentum"}
_MONITORS = {"val_auroc": "AUROC", "val_loss": "loss"}


def augmentation_words(augment: dict[str, Any]) -> list[str]:
    """Returns the random changes of the training films that were switched on, in words.

    Example:
        >>> augmentation_words({"flip": True, "flip_probability": 0.25, "zoom_fraction": 0.0, "rotation_degrees": 5.0})
        ['mirroring left to right of 25.0 % of the films', 'rotation by at most 5 degrees to either side']
    """
    given = {name: value for name, value in augment.items() if value not in (None, False, 0, 0.0)}
    plain = {
        "rotation_degrees": "rotation by at most {} degrees to either side",
        "shear_degrees": "slant by at most {} degrees to either side",
    }
    shares = {
        "shift_fraction": "shift by at most {} of the side",
        "zoom_fraction": "change of scale by at most {}",
        "brightness": "change of brightness by at most {} of the grey range",
        "contrast": "change of contrast by at most {}",
    }
    found = []
    if "flip" in given:
        found.append(f"mirroring left to right of {percent(float(given.get('flip_probability', 0.5)))} of the films")
    found += [text.format(printed(given[name])) for name, text in plain.items() if name in given]
    found += [text.format(percent(float(given[name]))) for name, text in shares.items() if name in given]
    if "blur_probability" in given:
        low, high = given["blur_sigma_px"]
        found.append(
            f"blur of {percent(float(given['blur_probability']))} of the films, standard deviation {low:g} to {high:g} "
            f"pixels, kernel of {given['blur_kernel_px']} pixels"
        )
    if "erase_probability" in given:
        low, high = (percent(float(share), 0) for share in given["erase_area"])
        found.append(
            f"a rectangle of {low} to {high} of the film filled with its mean in "
            f"{percent(float(given['erase_probability']))} of the films"
        )
    return found


def loss_words(settings: dict[str, Any]) -> str:
    """Returns the loss with the numbers that it uses.

    Example:
        >>> loss_words({"name": "focal", "gamma": 2.0, "alpha": 0.25, "class_weights": "balanced"})
        'focal loss (gamma 2, alpha 0.25)'
    """
    name = str(settings.get("name", ""))
    used = _LOSS_USES.get(name, tuple(key for key in settings if key != "name"))
    if "class_weights" in used:
        used = (*used, *_WEIGHT_USES.get(str(settings.get("class_weights")), ()))
    parts = [
        f"{key.replace('_', ' ')} {printed(settings[key])}" for key in used if settings.get(key) not in (None, 0, 0.0)
    ]
    counted = settings.get("target_weights") or ()
    if counted:
        parts.append("weights of findings " + ", ".join(f"{finding} {printed(weight)}" for finding, weight in counted))
    text = _LOSSES.get(name, name)
    return f"{text} ({', '.join(parts)})" if parts else text


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def optimizer_words(stage: dict[str, Any]) -> str:
    """Returns how a stage's weights were changed, with what differs from plain descent.

    Example:
        >>> optimizer_words({"optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "clip_norm": None})
        'AdamW, weight decay 0.01, learning rate falling to none along a cosine'
    """
    parts = [_OPTIMIZERS.get(str(stage.get("optimizer", "adam")), str(stage.get("optimizer")))]
    if stage.get("weight_decay"):
        parts.append(f"weight decay {printed(stage['weight_decay'])}")
    schedule = stage.get("schedule", "constant")
    if schedule == "cosine":
        parts.append("learning rate falling to none along a cosine")
    elif schedule == "warmup_cosine":
        parts.append(f"learning rate rising for {_epochs(stage['warmup_epochs'])}, then falling along a cosine")
    elif schedule == "reduce_on_plateau":
        parts.append(
            f"learning rate times {printed(stage['reduce_factor'])} after {_epochs(stage['reduce_patience'])} without "
            "a better value"
        )
    if stage.get("clip_norm"):
        parts.append(f"gradients clipped to a norm of {printed(stage['clip_norm'])}")
    if (stage.get("accumulate") or 1) > 1:
        parts.append(f"gradients averaged over {stage['accumulate']} batches")
    if stage.get("ema"):
        parts.append(f"moving average of the weights with momentum {printed(stage['ema'])}")
    return ", ".join(parts)


def trained_words(trainable: Any, batchnorm: str) -> str:
    """Returns which part of the network a stage trains.

    Example:
        >>> trained_words(0.2, "held")
        "the top 20 % of the backbone's layers but their BatchNorm layers, and the head"
    """
    held = " but their BatchNorm layers" if batchnorm == "held" else ""
    if isinstance(trainable, str):
        return f"the backbone's layers from `{trainable}` on{held}, and the head"
    if trainable == 0:
        return "the head alone; the backbone is frozen"
    if trainable == 1:
        return f"all of the backbone's layers{held}, and the head"
    return f"the top {percent(float(trainable), 0)} of the backbone's layers{held}, and the head"


def add_recipe(facts: Facts, documents: Documents) -> None:
    """Records what holds for all stages: network, films, loss, augmentation, and what picked the epoch."""
    for key in ("image_size", "backbone", "head", "batch_size", "seed"):
        documents.add(facts, f"recipe.{key}", _RECIPE, key)
    weights = documents.pick(_RECIPE, "weights", None)
    text = (
        "no pretrained weights (the base starts untrained)"
        if weights is None
        else f"{_ORIGINS.get(weights, 'given')} weights"
    )
    facts.add("recipe.weights", weights, text, file=_RECIPE, field="weights")
    loss = documents.pick(_RECIPE, "loss")
    facts.add("recipe.loss", loss, loss_words(loss), file=_RECIPE, field="loss")
    changes = documents.pick(_RECIPE, "augment", None) or {}
    facts.add(
        "recipe.augment", changes, "; ".join(augmentation_words(changes)) or "none", file=_RECIPE, field="augment"
    )
    documents.add(facts, "recipe.clahe", _RECIPE, "clahe", default=None)
    repeated = documents.pick(_RECIPE, "up_sample", None) or []
    text = ", ".join(f"{finding} {printed(factor)} times" for finding, factor in repeated)
    facts.add("recipe.up_sample", repeated, text or "none", file=_RECIPE, field="up_sample")
    balanced = documents.pick(_RECIPE, "balanced_batches", None) or []
    text = ", ".join(balanced) or "none"
    facts.add("recipe.balanced_batches", balanced, text, file=_RECIPE, field="balanced_batches")
    monitor = str(documents.pick(_RECIPE, "monitor", "val_auroc"))
    facts.add("recipe.monitor", monitor, _MONITORS.get(monitor, monitor), file=_RECIPE, field="monitor")


def add_stage_plan(facts: Facts, documents: Documents, key: str, at: int) -> None:
    """Records what the recipe asks of one stage, under `key`.

    Args:
        facts: Where they go.
        documents: The run's files.
        key: Beginning of the keys.
        at: The stage's position in the recipe.
    """
    planned = documents.pick(_RECIPE, f"stages[{at}]")
    documents.add(facts, f"{key}.epochs_planned", _RECIPE, f"stages[{at}].epochs")
    documents.add(facts, f"{key}.learning_rate", _RECIPE, f"stages[{at}].learning_rate")
    documents.add(facts, f"{key}.patience", _RECIPE, f"stages[{at}].patience", default=None)
    batchnorm = str(planned.get("batchnorm", "held"))
    facts.add(f"{key}.batchnorm", batchnorm, file=_RECIPE, field=f"stages[{at}].batchnorm, held by default")
    facts.add(f"{key}.optimizer", planned, optimizer_words(planned), file=_RECIPE, field=f"stages[{at}]")
    trainable = documents.pick(_RECIPE, f"stages[{at}].trainable")
    text = trained_words(trainable, batchnorm)
    facts.add(f"{key}.trains", trainable, text, file=_RECIPE, field=f"stages[{at}].trainable")
