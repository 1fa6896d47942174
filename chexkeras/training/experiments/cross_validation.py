"""Cross-validation and seeds: many trainings of one recipe for little more than the price of one."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chexkeras import checks, files, provenance
from chexkeras.arguments import checked
from chexkeras.data.audit.audit import Audit
from chexkeras.data.image_table import ImageTable, resolve_targets, source_of
from chexkeras.data.splits.folds import k_fold
from chexkeras.data.splits.splits import Splits
from chexkeras.data.splits.splitters import split_without_test
from chexkeras.data.store.store import Store
from chexkeras.evaluation.cross_validation.evaluate_folds import evaluate_folds
from chexkeras.evaluation.scores import write_scores
from chexkeras.inference.engines import check_frozen_engine
from chexkeras.inference.ensemble import Ensemble
from chexkeras.parallel import HERE, Workplace
from chexkeras.recipes.presets import recipe_of
from chexkeras.recipes.recipe import Recipe
from chexkeras.runs.run import Run
from chexkeras.runs.series import CROSS_VALIDATION, FINAL, OUT_OF_FOLD, RUNS, SEEDS, CrossValidation, SeedRuns
from chexkeras.training.experiments.series import Series, under_way
from chexkeras.training.frozen.place import place_of_features
from chexkeras.training.shared import SharedWork, shared_shelves
from chexkeras.training.trainer import Asked

BASE_STATISTICS = ("all", "fold")
_FINAL_RUN = "final"

OF_ALL_IMAGES = (
    "The untrained base took its BatchNorm statistics once, from all images without their labels, those of the test "
    "folds among them."
)


@checked
def cross_validate(
    recipe: Recipe | str,
    table: pd.DataFrame,
    run_dir: str | Path,
    *,
    folds: int = 5,
    repeats: int = 1,
    seeds: int = 1,
    validation: float = 0.15,
    final: str = "refit",
    base_statistics: str = "all",
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
    executor: str | Workplace = HERE,
) -> CrossValidation:
    """Trains a recipe on folds of a table, so that every image is scored by models that have not seen its patient.

    Patients are divided into folds as `k_fold` does, every finding spread alike. What is frozen is computed once for
    all trainings. Each fold chooses its epoch and its threshold on a validation part of its own. A series that was
    killed goes on with `resume`, and ends as if nothing had happened.

    Args:
        recipe: What to do, or the name of a preset.
        table: An image table.
        run_dir: Folder to write: the folds as runs, the out-of-fold scores, what they are worth, the final model.
        folds: Into how many parts the patients are divided, at least 2.
        repeats: How often they are divided anew.
        seeds: How many trainings of each fold differ in nothing but their seed: the recipe's, the next, and so on. The
            base of an untrained network is that of the recipe's seed in all of them.
        validation: Fraction of all images by which a training chooses epoch and threshold, in (0, 1).
        final: The model to use afterwards: "refit", one training on all images; "ensemble", the mean of the folds'
            models; or "none". Its performance is estimated by the folds in either case.
        base_statistics: Where an untrained base takes its BatchNorm statistics: "all", once from all images without
            their labels, so that what is frozen is the same for all folds; or "fold", from each training part, which
            costs a pass for each.
        audit: An audit of the images made before; None makes one now.
        cautions: Further sentences to show beside every number.
        overwrite: Whether a series of the same name, or an interrupted one, may be replaced.
        features: How what is frozen is stored: "auto", "float16", "float32" or "off"; see `train`.
        features_store: Folder in which it stays for later trainings; None removes it at the end.
        features_limit: Bytes that the folder may take; see `train`.
        draws: With random augmentation: how many fixed draws of it to store for each image; see `train`.
        frozen_engine: What computes features that are stored; see `train`.
        store: Images decoded before (`cx.prepare`); None reads the files.
        resume: Whether to continue the interrupted series of this name.
        executor: Where features that are stored are computed; see `train`.

    Returns:
        The finished cross-validation.

    Raises:
        ValueError: If a finding has too few patients for so many folds, an argument is out of range, the series is to
            be resumed with other inputs, or what `train` refuses.
        FileExistsError: If the folder is taken, or an interrupted series would be lost.
        FileNotFoundError: If there is nothing to resume.
        OSError: If a checkpoint cannot be written.
    """
    checks.positive_int(seeds, "seeds")
    check_frozen_engine(frozen_engine)
    place = place_of_features(executor, features, frozen_engine, shared=False)
    checks.one_of(final, FINAL, "final")
    checks.one_of(base_statistics, BASE_STATISTICS, "base_statistics")
    table = ImageTable.of(table)
    recipe = recipe_of(recipe)
    recipe = recipe.replace(targets=resolve_targets(table, recipe.targets))
    divided = k_fold(table, recipe.targets, folds=folds, repeats=repeats, validation=validation, seed=recipe.seed)
    plan = [
        (repeat, fold, seed, divided[(repeat - 1) * folds + fold - 1])
        for repeat in range(1, repeats + 1)
        for fold in range(1, folds + 1)
        for seed in range(recipe.seed, recipe.seed + seeds)
    ]
    shared = SharedWork(
        shared_shelves(features_store, features_limit),
        trainings=len(plan) + (final == "refit"),
        base_seed=recipe.seed,
        base_images=table if base_statistics == "all" else None,
        lean=True,
    )
    said = [*cautions]
    if recipe.weights is None and base_statistics == "all":
        said.append(OF_ALL_IMAGES)
    asked = Asked(audit, said, overwrite, features, draws, store, resume, frozen_engine=frozen_engine, place=place)
    how = {
        "folds": folds,
        "repeats": repeats,
        "seeds": seeds,
        "validation": validation,
        "final": final,
        "base_statistics": base_statistics,
    }
    inputs = {"recipe": recipe.to_dict(), "splits": [part.fingerprint for part in divided], **how}
    started = time.perf_counter()
    with under_way(run_dir, CROSS_VALIDATION, inputs, how, asked, shared, table) as series:
        entries, tables = [], []
        for number, (repeat, fold, seed, splits) in enumerate(plan, start=1):
            name = f"repeat-{repeat}-fold-{fold}-seed-{seed}"
            title = f"training {number} of {len(plan)}: repeat {repeat}, fold {fold} of {folds}, seed {seed}"
            run = series.train(name, recipe.replace(seed=seed), splits, title)
            tables.append(_out_of_fold(run, repeat, fold, seed))
            entries.append({**entry_of(run, name), "repeat": repeat, "fold": fold, "seed": seed})
        scores = pd.concat(tables, ignore_index=True)
        last = _final_model(series, final, recipe, table, validation, len(plan))
        shown = list(dict.fromkeys([sentence for run in _runs(series, entries) for sentence in run.cautions]))
        files.write_csv(series.folder / OUT_OF_FOLD, scores)
        files.write_json(
            series.folder / CROSS_VALIDATION,
            {
                **_record(recipe, table, entries, shown, time.perf_counter() - started),
                **how,
                "final": last,
                "estimates": evaluate_folds(scores, cautions=shown).to_dict(),
            },
        )
        files.write_csv(series.folder / "table.csv", table.drop(columns="path", errors="ignore"))
        if series.audit is not None:
            files.write_json(series.folder / "audit.json", series.audit.to_dict())
    return CrossValidation.load(run_dir)


@checked
def train_seeds(
    recipe: Recipe | str,
    splits: Splits,
    run_dir: str | Path,
    *,
    seeds: int = 5,
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
    executor: str | Workplace = HERE,
) -> SeedRuns:
    """Trains a recipe several times on one split, with nothing different but the seed, and measures their mean.

    The spread says what part of a difference between two experiments is luck. What is frozen is computed once: the base
    of an untrained network is that of the recipe's own seed, with BatchNorm statistics from the training images.

    Args:
        recipe: What to do, or the name of a preset.
        splits: Which image belongs to which part.
        run_dir: Folder to write: the runs, their spread and their ensemble.
        seeds: How many, at least 2: the recipe's seed, the next, and so on.
        audit: An audit of the images made before; None makes one now.
        cautions: Further sentences to show beside every number.
        overwrite: Whether a series of the same name, or an interrupted one, may be replaced.
        features: How what is frozen is stored: "auto", "float16", "float32" or "off"; see `train`.
        features_store: Folder in which it stays for later trainings; None removes it at the end.
        features_limit: Bytes that the folder may take; see `train`.
        draws: With random augmentation: how many fixed draws of it to store for each image; see `train`.
        frozen_engine: What computes features that are stored; see `train`.
        store: Images decoded before (`cx.prepare`); None reads the files.
        resume: Whether to continue the interrupted series of this name.
        executor: Where features that are stored are computed; see `train`.

    Returns:
        The finished series.

    Raises:
        ValueError: If there are fewer than 2 seeds, the series is to be resumed with other inputs, or what `train`
            refuses.
        FileExistsError: If the folder is taken, or an interrupted series would be lost.
        FileNotFoundError: If there is nothing to resume.
        OSError: If a checkpoint cannot be written.
    """
    checks.positive_int(seeds, "seeds", least=2)
    check_frozen_engine(frozen_engine)
    place = place_of_features(executor, features, frozen_engine, shared=False)
    recipe = recipe_of(recipe)
    recipe = recipe.replace(targets=resolve_targets(splits.table, recipe.targets))
    shared = SharedWork(shared_shelves(features_store, features_limit), seeds, recipe.seed, splits.train, lean=True)
    asked = Asked(audit, cautions, overwrite, features, draws, store, resume, frozen_engine=frozen_engine, place=place)
    inputs = {"recipe": recipe.to_dict(), "split": splits.fingerprint, "table": splits.table_sha256, "seeds": seeds}
    started = time.perf_counter()
    with under_way(run_dir, SEEDS, inputs, {"seeds": seeds}, asked, shared, splits.table, splits) as series:
        splits.save(series.folder / "splits.csv")
        entries = []
        for number, seed in enumerate(range(recipe.seed, recipe.seed + seeds), start=1):
            title = f"training {number} of {seeds}: seed {seed}"
            run = series.train(f"seed-{seed}", recipe.replace(seed=seed), splits, title)
            entries.append({**entry_of(run, f"seed-{seed}"), "seed": seed})
        runs = _runs(series, entries)
        together = Ensemble.of(runs)
        measured = together.evaluate()
        for part in ("validation", "test"):
            write_scores(series.folder / f"scores_{part}.csv", together.scores(part))
        shown = list(measured.cautions)
        files.write_json(
            series.folder / SEEDS,
            {
                **_record(recipe, splits.table, entries, shown, time.perf_counter() - started),
                "seeds": seeds,
                "ensemble": measured.to_dict(),
                "spread": [_spread(runs, measured, finding) for finding in recipe.targets],
            },
        )
    return SeedRuns.load(run_dir)


def _runs(series: Series, entries: list[dict[str, Any]]) -> list[Run]:
    return [Run.load(series.folder / RUNS / entry["run"]) for entry in entries]


def entry_of(run: Run, name: str) -> dict[str, Any]:
    """Returns what the record of a series says of one training.

    Args:
        run: Its run.
        name: Name of its folder.
    """
    made = run.provenance
    return {
        "run": name,
        "best": made["best"],
        "seconds": made["seconds"],
        "resumed_after_epochs": made["taken_up_after_epochs"],
        "features": made["features"],
        "scored_from_features": made.get("scored_from_features"),
        "model_sha256": made["model"]["sha256"],
    }


def _out_of_fold(run: Run, repeat: int, fold: int, seed: int) -> pd.DataFrame:
    thresholds = {point.finding: point.threshold for point in run.operating_points if point.chosen_on == "validation"}
    scores = pd.DataFrame(run.scores("test"))
    return scores.assign(repeat=repeat, fold=fold, seed=seed, threshold=scores["finding"].map(thresholds).astype(float))


def _final_model(
    series: Series, final: str, recipe: Recipe, table: pd.DataFrame, validation: float, trained: int
) -> dict[str, Any]:
    if final == "refit":
        splits = split_without_test(table, recipe.targets, validation=validation, seed=recipe.seed)
        series.train(_FINAL_RUN, recipe, splits, "the final model: fitted to all images")
        return {
            "kind": final,
            "run": f"{RUNS}/{_FINAL_RUN}",
            "said": "one training on all images but those by which it chose epoch and threshold; it has no test part, "
            "and its performance is estimated by the folds",
        }
    if final == "ensemble":
        return {
            "kind": final,
            "said": f"the mean of the {trained} models of the folds; each image was measured by those alone that had "
            "not seen it, and the performance of their mean is estimated by the folds",
        }
    return {"kind": final, "said": "none; the folds estimate what a training of the recipe is worth"}


def _record(
    recipe: Recipe, table: pd.DataFrame, entries: list[dict[str, Any]], cautions: list[str], seconds: float
) -> dict[str, Any]:
    return {
        **provenance.collect(),
        "recipe": recipe.to_dict(),
        "source": source_of(table).to_dict(),
        "images": len(table),
        "patients": int(table["patient_id"].nunique()),
        "runs": entries,
        "cautions": cautions,
        "seconds_of_last_sitting": seconds,
    }


def _spread(runs: Sequence[Run], measured: Any, finding: str) -> dict[str, Any]:
    """Returns how far the trainings of several seeds lie apart in one finding."""
    areas = np.array([_area(run.evaluation, finding) for run in runs])
    return {
        "finding": finding,
        "trainings": len(areas),
        "auroc_mean": float(areas.mean()),
        "auroc_sd": float(areas.std(ddof=1)),
        "auroc_lowest": float(areas.min()),
        "auroc_highest": float(areas.max()),
        "auroc_of_ensemble": _area(measured, finding),
    }


def _area(evaluation: Any, finding: str) -> float:
    return float(next(entry.auroc.value for entry in evaluation.findings if entry.finding == finding))
