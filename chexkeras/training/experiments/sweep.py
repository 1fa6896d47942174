"""A sweep: settings of a recipe tried on one split, chosen on validation, the winner's optimism measured on test."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chexkeras import files, provenance
from chexkeras.arguments import checked
from chexkeras.data.audit.audit import Audit
from chexkeras.data.image_table import resolve_targets, source_of
from chexkeras.data.splits.splits import Splits
from chexkeras.data.store.store import Store
from chexkeras.evaluation.metrics import auc
from chexkeras.inference.engines import check_frozen_engine
from chexkeras.recipes.overrides import combinations
from chexkeras.recipes.presets import recipe_of
from chexkeras.recipes.recipe import Recipe
from chexkeras.runs.run import Run
from chexkeras.runs.series import SWEEP, Sweep
from chexkeras.training.experiments.cross_validation import entry_of
from chexkeras.training.experiments.series import under_way
from chexkeras.training.shared import SharedWork, shared_shelves
from chexkeras.training.trainer import Asked


@checked
def sweep(
    recipes: Recipe | str | Sequence[Recipe | str],
    splits: Splits,
    run_dir: str | Path,
    *,
    settings: Mapping[str, Sequence[Any]] | None = None,
    trials: int | None = None,
    audit: Audit | None = None,
    cautions: Sequence[str] = (),
    overwrite: bool = False,
    features: str = "auto",
    features_store: str | Path | None = None,
    features_limit: int | None = None,
    draws: int | None = None,
    frozen_engine: str = "keras",
    store: Store | None = None,
    resume: bool = False,
) -> Sweep:
    """Trains a recipe with every combination of some settings, and chooses among them on validation alone.

    What is frozen is computed once for all that leave it as it is. The base of an untrained network is that of the
    first recipe's seed, with BatchNorm statistics from the training images. The test part chooses nothing: it says how
    much of the winner's lead on validation was luck.

    Args:
        recipes: What to do, or the name of a preset; several are tried with every combination of settings each.
        splits: Which image belongs to which part.
        run_dir: Folder to write: the runs, and what they make of each setting.
        settings: Values to try by field of the recipe, as {"stage2.learning_rate": [1e-5, 3e-5]}; see
            `recipes.with_settings` for how fields are named. None tries the recipes as they are.
        trials: Try so many combinations drawn at random by the first recipe's seed; None tries all.
        audit: An audit of the images made before; None makes one now.
        cautions: Further sentences to show beside every number.
        overwrite: Whether a series of the same name, or an interrupted one, may be replaced.
        features: How what is frozen is stored: "auto", "float16", "float32" or "off"; see `train`.
        features_store: Folder in which it stays for later trainings; None removes it at the end.
        features_limit: Bytes that the folder may take; see `train`.
        draws: With random augmentation: how many fixed draws of it to store for each image; see `train`.
        frozen_engine: What computes features that are stored; see `train`.
        store: Images decoded before (`cx.prepare`); None reads the files.
        resume: Whether to continue the interrupted sweep of this name.

    Returns:
        The finished sweep.

    Raises:
        ValueError: If a setting names no field or its value is refused, there is nothing to choose from, recipes have
            other targets, the sweep is to be resumed with other inputs, or what `train` refuses.
        FileExistsError: If the folder is taken, or an interrupted series would be lost.
        FileNotFoundError: If there is nothing to resume.
        OSError: If a checkpoint cannot be written.
    """
    check_frozen_engine(frozen_engine)
    started_with = [recipes] if isinstance(recipes, (str, Recipe)) else list(recipes)
    if not started_with:
        raise ValueError("no recipe to sweep; give one, or the name of a preset.")
    bases = [_for_table(recipe_of(each), splits) for each in started_with]
    tried = combinations(bases, settings or {}, trials)
    seed = bases[0].seed
    shared = SharedWork(shared_shelves(features_store, features_limit), len(tried), seed, splits.train, lean=True)
    asked = Asked(audit, cautions, overwrite, features, draws, store, resume, frozen_engine=frozen_engine)
    inputs = {
        "recipes": [recipe.to_dict() for _, recipe in tried],
        "split": splits.fingerprint,
        "table": splits.table_sha256,
    }
    options = {
        "recipes": [recipe.to_dict() for recipe in bases],
        "settings": dict(settings or {}),
        "trials": trials,
    }
    began = time.perf_counter()
    with under_way(run_dir, SWEEP, inputs, options, asked, shared, splits.table, splits) as series:
        splits.save(series.folder / "splits.csv")
        entries, runs = [], []
        for number, (setting, recipe) in enumerate(tried, start=1):
            name = f"setting-{number:03d}"
            run = series.train(name, recipe, splits, f"setting {number} of {len(tried)}: {_said(setting)}")
            runs.append(run)
            entries.append({**entry_of(run, name), "setting": setting, **_measured(run)})
        best = max(range(len(entries)), key=lambda place: (entries[place]["validation"], -place))
        files.write_json(
            series.folder / SWEEP,
            {
                **provenance.collect(),
                "recipe": bases[0].to_dict(),
                "source": source_of(splits.table).to_dict(),
                "split": splits.to_dict(),
                "settings": dict(settings or {}),
                "trials": trials,
                "images": {part: len(splits.part(part)) for part in ("train", "validation", "test")},
                "runs": entries,
                "winner": entries[best]["run"],
                "optimism": _optimism(entries, best),
                "cautions": list(dict.fromkeys(sentence for run in runs for sentence in run.cautions)),
                "seconds_of_last_sitting": time.perf_counter() - began,
            },
        )
    return Sweep.load(run_dir)


def _for_table(recipe: Recipe, splits: Splits) -> Recipe:
    return recipe.replace(targets=resolve_targets(splits.table, recipe.targets))


def _said(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{field} {value}" for field, value in setting.items())


def _measured(run: Run) -> dict[str, Any]:
    """Returns the mean AUROC over findings on validation, of the epoch that was kept, and on test."""
    found: dict[str, Any] = {}
    for part in ("validation", "test"):
        scores = run.scores(part)
        areas = []
        for finding in run.recipe.targets:
            known = scores.of_finding(finding).dropna(subset=["label"])
            label = known["label"].to_numpy(float)
            if 0 < label.sum() < len(label):
                areas.append(auc(label, known["score"].to_numpy(float)))
        found[part] = float(np.mean(areas)) if areas else math.nan
    return found


def _optimism(entries: Sequence[Mapping[str, Any]], best: int) -> dict[str, float]:
    """Returns how far the winner's validation AUROC lies above its test AUROC, and what of that choosing has made.

    The other settings differ between the two parts as well, by the images in them: their mean difference is no merit
    and no fault of a choice. What the winner loses beyond it is what was chosen for and is not there.
    """
    lost = np.array([entry["validation"] - entry["test"] for entry in entries])
    return {
        "validation": entries[best]["validation"],
        "test": entries[best]["test"],
        "winner": float(lost[best]),
        "all_settings": float(np.nanmean(lost)),
        "by_choosing": float(lost[best] - np.nanmean(lost)),
        "best_on_test": float(np.nanmax([entry["test"] for entry in entries])),
    }
