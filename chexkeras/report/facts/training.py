"""Facts on how the network was built and trained: the recipe in words, stages, layers, curves, brightness of images.

Of the recipe only those numbers are named that had an effect.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from chexkeras.models.exposure.entries import EXPOSURES
from chexkeras.models.losses import loss_words
from chexkeras.models.optimizers import optimizer_words
from chexkeras.models.registry import GIVEN
from chexkeras.report.facts.facts import Facts, percent, printed
from chexkeras.report.facts.run_reader import Documents
from chexkeras.report.markdown import Marked, as_code

_RECIPE = "recipe.json"
_ORIGINS = {"imagenet": "ImageNet"}
_MONITORS = {"val_auroc": "AUROC", "val_loss": "loss"}


def augmentation_words(augment: dict[str, Any]) -> list[str]:
    """Returns the random changes of the training images that were switched on, in words.

    Example:
        >>> augmentation_words({"flip": True, "flip_probability": 0.25, "zoom_fraction": 0.0, "rotation_degrees": 5.0})
        ['mirroring left to right of 25.0 % of the images', 'rotation by at most 5 degrees to either side']
    """
    given = {name: value for name, value in augment.items() if value not in (None, False, 0, 0.0)}
    plain = {
        "rotation_degrees": "rotation by at most {} degrees to either side",
        "shear_degrees": "slant by at most {} degrees to either side",
        "gamma": "a power of the grey values of at most 1 + {} or its reciprocal",
    }
    shares = {
        "shift_fraction": "shift by at most {} of the side",
        "zoom_fraction": "change of scale by at most {}",
        "brightness": "change of brightness by at most {} of the grey range",
        "contrast": "change of contrast by at most {}",
    }
    losses = {
        "noise": "noise of at most {} of the grey range",
        "resolution_loss": "loss of at most {} of the sides' pixels",
    }
    found = []
    if given.get("given"):
        return [f"those of the Keras layer {given['given']}, which was given to training"]
    if "flip" in given:
        found.append(f"mirroring left to right of {percent(float(given.get('flip_probability', 0.5)))} of the images")
    found += [text.format(printed(given[name])) for name, text in plain.items() if name in given]
    found += [text.format(percent(float(given[name]))) for name, text in shares.items() if name in given]
    chance = percent(float(given.get("degrade_probability", 0.5)))
    found += [
        f"{text.format(percent(float(given[name])))} in {chance} of the images"
        for name, text in losses.items()
        if name in given
    ]
    if "jpeg_loss" in given:
        found.append(f"JPEG quality lowered by at most {printed(given['jpeg_loss'])} in {chance} of the images")
    if "blur_probability" in given:
        low, high = given["blur_sigma_px"]
        found.append(
            f"blur of {percent(float(given['blur_probability']))} of the images, standard deviation {low:g} "
            f"to {high:g} pixels, kernel of {given['blur_kernel_px']} pixels"
        )
    if "erase_probability" in given:
        low, high = (percent(float(share), 0) for share in given["erase_area"])
        found.append(
            f"a rectangle of {low} to {high} of the image filled with its mean in "
            f"{percent(float(given['erase_probability']))} of the images"
        )
    return found


def trained_words(trainable: Any, batchnorm: str) -> str:
    """Returns which part of the network a stage trains.

    Example:
        >>> trained_words(0.2, "held")
        "the top 20 % of the backbone's layers but their BatchNorm layers, and the head"
    """
    held = " but their BatchNorm layers" if batchnorm == "held" else ""
    if isinstance(trainable, str):
        return Marked(f"the backbone's layers from {as_code(trainable)} on{held}, and the head")
    if trainable == 0:
        return "the head alone; the backbone is frozen"
    if trainable == 1:
        return f"all of the backbone's layers{held}, and the head"
    return f"the top {percent(float(trainable), 0)} of the backbone's layers{held}, and the head"


def add_recipe(facts: Facts, documents: Documents) -> None:
    """Records what holds for all stages: network, images, loss, augmentation, and what picked the epoch."""
    for key in ("image_size", "head", "batch_size", "seed"):
        documents.add(facts, f"recipe.{key}", _RECIPE, key)
    backbone = documents.pick(_RECIPE, "backbone")
    text = "a Keras model of one's own" if backbone == GIVEN else None
    facts.add("recipe.backbone", backbone, text, file=_RECIPE, field="backbone")
    weights = documents.pick(_RECIPE, "weights", None)
    text = (
        "no pretrained weights (the base starts untrained)"
        if weights is None
        else f"{_ORIGINS.get(weights, 'given')} weights"
    )
    named = documents.pick("provenance.json", "weights.source", "")
    if named not in ("", "not stated"):
        text = f"weights by another publisher ({documents.pick('provenance.json', 'weights.origin', named)})"
    facts.add("recipe.weights", weights, text, file=_RECIPE, field="weights")
    loss = documents.pick(_RECIPE, "loss")
    facts.add("recipe.loss", loss, loss_words(loss, printed), file=_RECIPE, field="loss")
    changes = documents.pick(_RECIPE, "augment", None) or {}
    facts.add(
        "recipe.augment", changes, "; ".join(augmentation_words(changes)) or "none", file=_RECIPE, field="augment"
    )
    documents.add(facts, "recipe.clahe", _RECIPE, "clahe", default=None)
    documents.add(facts, "recipe.smoothing", _RECIPE, "smoothing", default=None)
    exposure = documents.pick(_RECIPE, "exposure", None)
    words = EXPOSURES[exposure].words if exposure in EXPOSURES else str(exposure or "none")
    facts.add("recipe.exposure", exposure, words, file=_RECIPE, field="exposure")
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
    facts.add(f"{key}.optimizer", planned, optimizer_words(planned, printed), file=_RECIPE, field=f"stages[{at}]")
    trainable = documents.pick(_RECIPE, f"stages[{at}].trainable")
    text = trained_words(trainable, batchnorm)
    facts.add(f"{key}.trains", trainable, text, file=_RECIPE, field=f"stages[{at}].trainable")


_STAGES = "stages.json"
_MOST_NAMES = 8

INTENSITIES = "intensities.json"
MOST_SHOWN = 4
"""Findings whose brightness is shown: of more, those with the most images."""


def names_text(names: list[str]) -> str:
    """Returns layer names for prose: all of a few, or the first, the last and the count of many."""
    if not names:
        return "none"
    if len(names) <= _MOST_NAMES:
        return Marked(", ".join(map(as_code, names)))
    return Marked(f"{len(names):,} layers from {as_code(names[0])} to {as_code(names[-1])}")


def _add_stage(facts: Facts, documents: Documents, index: int, history: pd.DataFrame) -> str:
    name = str(documents.pick(_STAGES, f"[{index}].stage"))
    planned = [str(stage.get("name")) for stage in documents.pick("recipe.json", "stages")]
    if name not in planned:
        raise ValueError(f"stages.json describes stage {name!r}, but recipe.json has only: {', '.join(planned)}.")
    key = f"stage.{name}"
    add_stage_plan(facts, documents, key, planned.index(name))
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


def _add_kept(facts: Facts, names: list[str]) -> None:
    """Records which stage the kept model is from, what was trained of it, and the stages run after it in vain."""
    stage = facts["run.best"].value.get("stage") or ""
    known = stage in names
    facts.add("kept", known, file="provenance.json", field="best.stage, whether it is one of the stages")
    after = names[names.index(stage) + 1 :] if known else []
    facts.add("kept.stage", stage, file="provenance.json", field="best.stage")
    facts.add("kept.dropped", after, " and ".join(after) or "none", file=_STAGES, field="stages after best.stage")
    for kind in ("trainable", "frozen"):
        at = names.index(stage) if known else 0
        count = facts[f"stage.{names[at]}.{kind}_parameters"]
        facts.add(f"kept.{kind}", count.value if known else None, file=_STAGES, field=f"[{at}].{kind}_parameters")


def given_words(records: dict[str, Any]) -> str:
    """Returns the Keras objects that were given in words, each with its class.

    Args:
        records: "given" of provenance.json: by what it was given as, what is recorded of each.

    Example:
        >>> given_words({"loss": {"class": "BinaryFocalCrossentropy"}, "callbacks": ["Timer"]})
        'loss `BinaryFocalCrossentropy`, callbacks `Timer`'
    """
    parts = []
    for part, entry in records.items():
        if isinstance(entry, dict):
            parts.append(f"{part} {as_code(str(entry.get('class', '')))}")
        else:
            parts.append(f"{part} {', '.join(as_code(str(name)) for name in entry)}")
    return Marked(", ".join(parts))


def _add_given(facts: Facts, documents: Documents) -> None:
    """Records the Keras objects of one's own, and the model that was trained elsewhere with what was stated of it."""
    records = documents.pick("provenance.json", "given", {})
    facts.add("given", records, given_words(records) or "none", file="provenance.json", field="given")
    model = records.get("model") or {}
    facts.add("elsewhere", bool(model), file="provenance.json", field="given.model, whether there is one")
    stated = (model or records.get("backbone") or {}).get("input_range")
    shown = stated if isinstance(stated, str) else " and ".join(f"{value:g}" for value in stated or ())
    facts.add("given.input_range", stated, shown, file="provenance.json", field="given.*.input_range")
    origin = documents.pick("provenance.json", "weights.origin", "")
    facts.add("elsewhere.origin", origin, str(origin), file="provenance.json", field="weights.origin")


def add_training(facts: Facts, documents: Documents, history: pd.DataFrame) -> None:
    """Records the recipe, each stage with its layers and parameters, and how validation went."""
    add_recipe(facts, documents)
    _add_given(facts, documents)
    count = len(documents.pick(_STAGES, ""))
    if not count:
        _add_no_training(facts, documents)
        return
    names = [_add_stage(facts, documents, index, history) for index in range(count)]
    facts.add("stages", names, file=_STAGES, field="stage of every entry")
    _add_kept(facts, names)
    held = all(facts[f"stage.{name}.batchnorm"].value == "held" for name in names)
    facts.add("training.batchnorm_held", held, file="recipe.json", field="batchnorm of every stage")
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


def _add_no_training(facts: Facts, documents: Documents) -> None:
    """Records that no stage was run: the model was trained elsewhere."""
    facts.add("stages", [], "none", file=_STAGES, field="stage of every entry")
    facts.add("kept", False, file="provenance.json", field="best.stage, whether it is one of the stages")
    facts.add("kept.stage", "", file="provenance.json", field="best.stage")
    facts.add("kept.dropped", [], "none", file=_STAGES, field="stages after best.stage")
    facts.add("training.epochs", 0, file="history.csv", field="rows")
    facts.add("training.batchnorm_held", False, file="recipe.json", field="batchnorm of every stage")
    facts.add("network.head_layers", [], "none", file=_STAGES, field="layers_trainable, head")
    documents.add(facts, "network.parameters", "provenance.json", "model.parameters")


def _checked(entry: dict[str, Any], finding: str) -> dict[str, Any]:
    """Returns an entry whose shares fit its bins.

    Raises:
        ValueError: If they do not; the message names the finding.
    """
    bins = len(entry["bins"]) - 1
    if any(entry[group] is not None and len(entry[group]) != bins for group in ("positive", "negative")):
        raise ValueError(
            f"{INTENSITIES} of the run has no shares by bin for {finding}; was it written by another version? "
            "Remove the file for a report without it, or train again."
        )
    return entry


def _add_brightness(facts: Facts, finding: str, entry: dict[str, Any]) -> None:
    key, edges = f"intensities.{finding}", np.asarray(entry["bins"], dtype=np.float64)
    for group in ("positive", "negative"):
        facts.add(f"{key}.n_{group}", entry[f"n_{group}"], file=INTENSITIES, field=f"{finding}.n_{group}")
        shares = entry[group]
        mean = None if shares is None else float(np.dot(shares, (edges[:-1] + edges[1:]) / 2))
        text = "not known" if mean is None else f"{mean:.1f}"
        facts.add(
            f"{key}.mean_{group}", mean, text, file=INTENSITIES, field=f"{finding}.{group}: mean of the bins' centres"
        )
    note = str(entry.get("n_note", "")).replace("_", " ")
    facts.add(f"{key}.note", note, file=INTENSITIES, field=f"{finding}.n_note")
    facts.add(f"{key}.shares", entry, "", file=INTENSITIES, field=finding)


def add_intensities(facts: Facts, run: Any) -> None:
    """Records mean grey levels and the shares that the figure is drawn from; the file is optional.

    Args:
        facts: Where they go; the findings that were evaluated are there already.
        run: The `Run`.

    Raises:
        ValueError: If the file is there and does not hold what it should.
    """
    document = run.intensities
    there = document is not None
    field = "whether the run keeps the brightness of its images"
    facts.add("intensities", there, file=INTENSITIES if there else "convention", field=field)
    known = {finding: _checked(document[finding], finding) for finding in facts["evaluated"].value
             if finding in (document or {})}  # fmt: skip
    shown = sorted(known, key=lambda finding: -known[finding]["n_positive"])[:MOST_SHOWN]
    for finding in shown:
        _add_brightness(facts, finding, known[finding])
    facts.add(
        "intensities.shown", shown, file=INTENSITIES if there else "convention", field="findings with the most images"
    )
