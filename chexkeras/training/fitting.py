"""Fitting stage after stage, epoch by epoch, with exact validation AUROC; the best epoch's weights are kept."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras.data.store import Store
from chexkeras.models.stages import apply_stage
from chexkeras.progress import say
from chexkeras.training.callbacks import EpochProgress, FiniteLoss
from chexkeras.training.feature_plan import FeaturePlan
from chexkeras.training.monitor import MONITORS, EarlyStopping, better, mean_auc, one_class_targets
from chexkeras.training.optimisation import AveragedWeights, LearningRate, make_optimizer
from chexkeras.training.recipe import Recipe, Stage
from chexkeras.training.stage_data import StageData, film_data

_MONITOR_NAMES = {"val_auroc": "validation AUROC", "val_loss": "validation loss"}


@dataclass
class Fitted:
    """What fitting leaves behind, besides the model's weights.

    Attributes:
        history: One row per epoch.
        stages: One entry per stage: its boundary, its epochs and how it ended.
        best_stage: Stage of the epoch whose weights the model now has.
        best_epoch: Its number within the stage, from 1.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    best_stage: str = ""
    best_epoch: int = 0


def fit_stages(
    model: keras.Model,
    recipe: Recipe,
    loss: keras.losses.Loss,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    plan: FeaturePlan | None = None,
    store: Store | None = None,
) -> Fitted:
    """Runs a recipe's stages; the model ends with the weights of the epoch that the recipe's monitor finds best.

    Args:
        model: A classifier of `build_classifier`; changed in place.
        recipe: The recipe.
        loss: The loss of every stage.
        train: Image table of the training part, its rows as often as an epoch shows them.
        validation: Image table of the validation part.
        plan: Stored features for the stages that can use them; None reads the films anew in every epoch.
        store: The store the films are read from; None reads their files.

    Returns:
        History and boundaries.

    Raises:
        ValueError: If the loss stops being a number (the message says in which step), or a stage accumulates over
            more steps than it has.
    """
    fitted = Fitted()
    best_value, best_weights = None, None
    mode, name = MONITORS[recipe.monitor], _MONITOR_NAMES[recipe.monitor]
    labels = validation[list(recipe.targets)].to_numpy(np.float32)
    left_out = one_class_targets(labels, recipe.targets)
    if left_out:
        say(f"the validation AUROC leaves out what has one class there: {', '.join(left_out)}")
    steps = math.ceil(len(train) / recipe.batch_size)
    optimizers = [make_optimizer(stage, steps) for stage in recipe.stages]
    for stage, optimizer in zip(recipe.stages, optimizers, strict=True):
        if best_weights is not None:
            model.set_weights(best_weights)
        boundary = apply_stage(
            model, stage.trainable, optimizer=optimizer, loss=loss, name=stage.name, batchnorm=stage.batchnorm
        )
        say(str(boundary))
        if plan is not None and stage.name in plan.layers:
            data = plan.stage_data(model, recipe, stage.name)
        else:
            data = film_data(model, recipe, train, validation, store)
        rate = LearningRate(stage, optimizer, mode)
        callbacks = [] if stage.ema is None else [AveragedWeights()]
        stopping = EarlyStopping(stage.patience, mode)
        for epoch in range(1, stage.epochs + 1):
            row = _epoch(stage, epoch, len(fitted.history) + 1, data, loss, labels, steps, callbacks)
            value = row[recipe.monitor]
            row["learning_rate"] = rate.after_epoch(value)
            fitted.history.append(row)
            if stopping.update(value) and better(value, best_value, mode):
                best_value, best_weights = value, model.get_weights()
                fitted.best_stage, fitted.best_epoch = stage.name, epoch
            _report(row, stage)
            if stopping.exhausted:
                break
        ended = f"no better {name} for its patience" if stopping.exhausted else "all epochs run"
        fitted.stages.append(
            {**boundary.to_dict(), "epochs_run": epoch, "best_epoch": stopping.best_epoch, "ended": ended}
        )
    if best_weights is not None:
        model.set_weights(best_weights)
    return fitted


def _epoch(
    stage: Stage,
    epoch: int,
    global_epoch: int,
    data: StageData,
    loss: keras.losses.Loss,
    labels: np.ndarray,
    steps: int,
    further: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    start = time.perf_counter()
    where = f"{stage.name} epoch {epoch}"
    progress = EpochProgress(f"{where}/{stage.epochs}", steps)
    callbacks = [*further, FiniteLoss(where), progress]
    try:
        # The epoch's number fixes order and augmentation, so that a run can be taken up again at any epoch.
        result = data.model.fit(data.train(global_epoch), epochs=1, verbose=0, shuffle=False, callbacks=callbacks)
    finally:
        progress.close()
    scores = np.asarray(data.model.predict(data.validation(), verbose=0))
    return {
        "stage": stage.name,
        "epoch": epoch,
        "global_epoch": global_epoch,
        "loss": float(result.history["loss"][-1]),
        "val_loss": float(keras.ops.convert_to_numpy(loss(labels, scores))),
        "val_auroc": mean_auc(labels, scores.astype(np.float64)),
        "learning_rate": stage.learning_rate,
        "seconds": time.perf_counter() - start,
    }


def _report(row: dict[str, Any], stage: Stage) -> None:
    left = (stage.epochs - row["epoch"]) * row["seconds"]
    say(
        f"  {row['stage']} epoch {row['epoch']}/{stage.epochs}: loss {row['loss']:.4f}, validation loss "
        f"{row['val_loss']:.4f}, validation AUROC {row['val_auroc']:.3f}, {row['seconds']:.0f} s"
        + (f", at most {left:.0f} s left in this stage" if left else "")
    )
