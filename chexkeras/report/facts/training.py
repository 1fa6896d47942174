"""Facts on how the network was built and trained: stages, layers, parameters, curves, brightness of the films."""

import math
from typing import Any

import numpy as np
import pandas as pd

from chexkeras import files
from chexkeras.report.facts.facts import Facts
from chexkeras.report.facts.run_reader import Documents
from chexkeras.report.recipe_facts import add_recipe, add_stage_plan

_STAGES = "stages.json"
_MOST_NAMES = 8

INTENSITIES = "intensities.json"
MOST_SHOWN = 4
"""Findings whose brightness is shown: of more, those with the most films."""


def names_text(names: list[str]) -> str:
    """Returns layer names for prose: all of a few, or the first, the last and the count of many."""
    if not names:
        return "none"
    if len(names) <= _MOST_NAMES:
        return ", ".join(f"`{name}`" for name in names)
    return f"{len(names):,} layers from `{names[0]}` to `{names[-1]}`"


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


def add_training(facts: Facts, documents: Documents, history: pd.DataFrame) -> None:
    """Records the recipe, each stage with its layers and parameters, and how validation went."""
    add_recipe(facts, documents)
    count = len(documents.pick(_STAGES, ""))
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


def _checked(entry: Any, finding: str) -> dict[str, Any]:
    """Returns an entry whose shares fit its bins.

    Raises:
        ValueError: If they do not; the message names the finding.
    """
    try:
        bins = len(entry["bins"]) - 1
        fits = all(entry[group] is None or len(entry[group]) == bins for group in ("positive", "negative"))
        counted = all(isinstance(entry[f"n_{group}"], int) for group in ("positive", "negative"))
    except (KeyError, TypeError):
        fits = counted = False
    if not fits or not counted:
        raise ValueError(
            f"{INTENSITIES} of the run has no shares by bin for {finding}; was it written by another version? "
            "Remove the file for a report without it, or train again."
        )
    return dict(entry)


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
    path = run.folder / INTENSITIES
    there = path.is_file()
    field = "whether the run keeps the brightness of its films"
    facts.add("intensities", there, file=INTENSITIES if there else "convention", field=field)
    document = files.read_json(path) if there else {}
    known = [finding for finding in facts["evaluated"].value if finding in document]
    shown = sorted(known, key=lambda finding: -_checked(document[finding], finding)["n_positive"])[:MOST_SHOWN]
    for finding in shown:
        _add_brightness(facts, finding, _checked(document[finding], finding))
    facts.add(
        "intensities.shown", shown, file=INTENSITIES if there else "convention", field="findings with the most films"
    )
