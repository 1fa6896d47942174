"""Training from a recipe and a split to a run folder."""

import contextlib
import dataclasses
import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras import files, provenance
from chexkeras.data.audit import Audit
from chexkeras.data.audit import audit as audit_films
from chexkeras.data.columns import resolve_targets
from chexkeras.data.pipeline import films_with_ids
from chexkeras.data.source import source_of
from chexkeras.data.splits import Splits, check_classes
from chexkeras.data.store import Store
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.scores import write_scores
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.models.batchnorm import adapt_batchnorm
from chexkeras.models.classifier import build_classifier, resolve_precision
from chexkeras.models.scoring import predict_scores, scores_table
from chexkeras.models.stages import backbone_layers, trainable_start
from chexkeras.progress import say, track
from chexkeras.training import run as run_folder
from chexkeras.training.feature_plan import check_draws, plan_features
from chexkeras.training.fitting import Fitted, fit_stages
from chexkeras.training.imbalance import class_weights, imbalance_record
from chexkeras.training.losses import AsymmetricLoss, AucMarginLoss, FocalLoss, WeightedBinaryCrossentropy
from chexkeras.training.recipe import Recipe, Stage
from chexkeras.training.run import Run

SUBGROUPS = ("sex", "age_years", "view")
"""What every run is measured by, besides as a whole, where its table knows it."""

UNTRAINED_CAUTION = (
    "Untrained backbone: the frozen convolutions keep random weights, so the results show that the software works, "
    "not what pretrained weights reach."
)


def build_loss(recipe: Recipe, train: pd.DataFrame) -> keras.losses.Loss:
    """Returns the recipe's loss, its class weights taken from the training films.

    Args:
        recipe: The recipe.
        train: Image table of the training part, its rows as often as an epoch shows them.

    Raises:
        ValueError: If class weights are asked for a target with one class.
    """
    spec = recipe.loss
    given = dict(spec.target_weights)
    counts = [float(given.get(target, 1.0)) for target in recipe.targets]
    if spec.name == "focal":
        return FocalLoss(spec.gamma, spec.alpha, counts)
    if spec.name == "asymmetric":
        return AsymmetricLoss(spec.gamma_positive, spec.gamma_negative, spec.clip, counts)
    if spec.name == "auc_margin":
        return AucMarginLoss(spec.margin, counts)
    weights = class_weights(train, recipe.targets, spec.class_weights, cap=spec.cap, beta=spec.beta)
    positive, negative = ([w * count for w, count in zip(side, counts, strict=True)] for side in weights)
    return WeightedBinaryCrossentropy(positive, negative, spec.label_smoothing)


def train(
    recipe: Recipe,
    splits: Splits,
    run_dir: str | Path,
    *,
    audit: Audit | None = None,
    cautions: Sequence[str] = (),
    overwrite: bool = False,
    features: str = "auto",
    draws: int | None = None,
    store: Store | None = None,
) -> Run:
    """Trains, chooses the operating points on validation, evaluates on test and writes the run folder.

    Everything that can be refused is refused before the first epoch. A run of the same name stays as it was until the
    new one is complete.

    Args:
        recipe: What to do.
        splits: Which film belongs to which part.
        run_dir: Folder to write.
        audit: An audit of the films made before; None makes one now.
        cautions: Further sentences to show beside every number of the run, for example on how the films were sampled.
        overwrite: Whether a run of the same name may be replaced.
        features: Whether to compute what is frozen once and store it instead of once per epoch: "auto" (float16 where
            that is exact but for rounding, and cheaper), "float16", "float32" or "off".
        draws: With random augmentation: how many fixed draws of it to store for each film instead of drawing anew in
            every epoch. That changes the recipe and is recorded; None reads the films anew.
        store: Films decoded before (`data.prepare.prepare`); the files at `path` are then not opened, and the run is
            the same, bit for bit. Without an `audit`, labels and patients are audited but no pixels.

    Returns:
        The run.

    Raises:
        ValueError: If a film cannot be read, a part lacks a class, a stage names no layer, the operating point cannot
            be chosen from so few positives, or the loss stops being a number.
        FileExistsError: If the folder is taken.
    """
    start = time.perf_counter()
    folder = run_folder.check_free(run_dir, overwrite)
    recipe = _for_table(recipe, splits.table)
    check_classes(splits, recipe.targets)
    if recipe.up_sample:
        splits = splits.up_sampled(dict(recipe.up_sample))
    check_draws(recipe, features, draws)
    if draws is not None and not _leading_held(recipe):
        raise ValueError(f"draws={draws} stores features, but the first stage trains BatchNorm; leave draws out.")
    _rehearse_operating_points(recipe, splits.validation)
    if store is not None:
        store.require_size(recipe.image_size)
        store.rows(splits.table["image_id"])
    audit = audit or audit_films(
        pd.concat([splits.train, splits.validation, splits.test]), splits, decode=store is None
    )
    keras.utils.set_random_seed(recipe.seed)
    model = build_classifier(
        recipe.targets,
        backbone=recipe.backbone,
        weights=recipe.weights,
        image_size=recipe.image_size,
        head=recipe.head,
        precision=recipe.precision,
    )
    for stage in recipe.stages:
        trainable_start(backbone_layers(model), stage.trainable)
    with run_folder.writing(folder) as working:
        if recipe.weights is None:
            _adapt(model, splits.train, recipe, store)
        rows = splits.training_rows
        loss = build_loss(recipe, rows)
        with _feature_folder(folder) as stored:
            stages, plan = _leading_held(recipe), None
            if stages:
                planned = recipe.replace(stages=stages)
                plan = plan_features(model, planned, rows, splits.validation, stored, features, draws, store)
            if plan is not None:
                plan.fill(recipe.batch_size)
            fitted = fit_stages(model, recipe, loss, rows, splits.validation, plan, store)
        say(f"keeping the weights of {fitted.best_stage} epoch {fitted.best_epoch}, best on validation")
        model.save(working / "model.keras")
        shown = _cautions(recipe, splits, cautions)
        _write_results(model, recipe, splits, working, shown, store)
        _write_data(splits, audit, working)
        files.write_csv(working / "history.csv", pd.DataFrame(fitted.history))
        files.write_json(working / "stages.json", fitted.stages)
        recipe.save(working / "recipe.json")
        record = _provenance(model, recipe, splits, loss, fitted, shown)
        weighed = recipe.loss.class_weights if recipe.loss.name == "weighted_bce" else "none"
        record["imbalance"] = imbalance_record(rows, recipe.targets, weighed, splits.factors)
        record["model"]["sha256"] = files.sha256_file(working / "model.keras")
        record["seconds"] = time.perf_counter() - start
        record["store"] = store.fingerprint if store is not None else None
        record["features"] = plan.to_dict() if plan else None
        files.write_json(working / "provenance.json", record)
    return Run.load(run_dir)


def _for_table(recipe: Recipe, table: pd.DataFrame) -> Recipe:
    """Returns the recipe with its findings as the table spells them: NIH's Effusion is CheXpert's Pleural Effusion."""
    spelt = dict(zip(recipe.targets, resolve_targets(table, recipe.targets), strict=True))
    weights = tuple((spelt[name], weight) for name, weight in recipe.loss.target_weights)
    loss = dataclasses.replace(recipe.loss, target_weights=weights)
    return recipe.replace(targets=tuple(spelt.values()), loss=loss)


def _leading_held(recipe: Recipe) -> tuple[Stage, ...]:
    """Returns the stages before the first that trains BatchNorm: what a later one reads is no constant function."""
    return tuple(itertools.takewhile(lambda stage: stage.batchnorm == "held", recipe.stages))


@contextlib.contextmanager
def _feature_folder(run_dir: Path) -> Iterator[Path]:
    """Yields the folder for stored features; it goes when the block ends, unless a person or a kill interrupted it."""
    folder = run_dir.with_name(f".{run_dir.name}.features")
    try:
        yield folder
    except KeyboardInterrupt:
        if folder.exists():
            say(f"interrupted: the same training takes up the features stored in {folder}; delete it to free the space")
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _rehearse_operating_points(recipe: Recipe, validation: pd.DataFrame) -> None:
    """Chooses the operating points once for a perfect classifier: what fails here would fail after training."""
    perfect = validation[list(recipe.targets)].fillna(0.0).to_numpy()
    scores = scores_table(validation, recipe.targets, validation["image_id"].tolist(), perfect)
    _operating_points(recipe, scores)


def _operating_points(recipe: Recipe, scores: pd.DataFrame) -> list[Any]:
    spec = recipe.operating_point
    return [
        choose_threshold(scores, rule=spec.rule, target=spec.target, finding=finding, chosen_on="validation")
        for finding in recipe.targets
    ]


def _adapt(model: keras.Model, train: pd.DataFrame, recipe: Recipe, store: Store | None) -> None:
    # Shuffled once: NIH lists a patient's films together, and a batch should look like the whole.
    order = np.random.default_rng(recipe.seed).permutation(len(train))
    size = min(recipe.batch_size, len(train))
    used = order[: len(order) // size * size]
    batches = films_with_ids(train.iloc[used], image_size=recipe.image_size, batch_size=size, store=store)
    steps = len(used) // size
    count = adapt_batchnorm(model, (pixels for pixels, _ in track(batches, "BatchNorm statistics", steps)))
    say(f"untrained base: {count} BatchNorm layers took their statistics from {len(used):,} training films")


def _cautions(recipe: Recipe, splits: Splits, further: Sequence[str]) -> list[str]:
    shown = list(source_of(splits.train).cautions)
    if recipe.weights is None:
        shown.append(UNTRAINED_CAUTION)
    if splits.leaky:
        shown.append(splits.description)
    return list(dict.fromkeys([*shown, *further]))


def _write_results(
    model: keras.Model, recipe: Recipe, splits: Splits, working: Path, cautions: Sequence[str], store: Store | None
) -> None:
    options = {"batch_size": recipe.batch_size, "store": store}
    validation = predict_scores(model, splits.validation, recipe.targets, **options)
    test = predict_scores(model, splits.test, recipe.targets, **options)
    points = _operating_points(recipe, validation)
    write_scores(working / "scores_validation.csv", validation)
    write_scores(working / "scores_test.csv", test)
    files.write_json(working / "operating_points.json", [point.to_dict() for point in points])
    subgroups = [column for column in SUBGROUPS if column in splits.test.columns]
    measured = evaluate(test, points, cautions=cautions, table=splits.test, subgroups=subgroups)
    measured.save(working / "evaluation.json")


def _write_data(splits: Splits, audit: Audit, working: Path) -> None:
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    table = pd.concat([part.drop(columns="path", errors="ignore").assign(part=name) for name, part in parts.items()])
    files.write_csv(working / "table.csv", table)
    splits.save(working / "splits.csv")
    left_out = list(source_of(splits.train).left_out)
    files.write_csv(working / "left_out.csv", pd.DataFrame(left_out, columns=["image_id", "reason"]))
    files.write_json(working / "audit.json", audit.to_dict())


def _provenance(
    model: keras.Model,
    recipe: Recipe,
    splits: Splits,
    loss: keras.losses.Loss,
    fitted: Fitted,
    cautions: Sequence[str],
) -> dict[str, Any]:
    if recipe.weights is None:
        weights = {"origin": f"untrained, seed {recipe.seed}"}
    elif recipe.weights == "imagenet":
        weights = {"origin": "ImageNet"}
    else:
        weights = {"origin": f"file {Path(recipe.weights).name}", "sha256": files.sha256_file(recipe.weights)}
    return {
        **provenance.collect(),
        "source": source_of(splits.train).to_dict(),
        "split": splits.to_dict(),
        "weights": weights,
        "loss": loss.get_config(),
        "precision": resolve_precision(recipe.precision),
        "best": {"stage": fitted.best_stage, "epoch": fitted.best_epoch},
        "model": {"name": model.name, "parameters": model.count_params()},
        "cautions": list(cautions),
    }
