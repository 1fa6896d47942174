"""Fitting stage after stage, epoch by epoch, with exact validation AUROC; the best epoch's weights are kept."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras.models.stages import apply_stage
from chexkeras.progress import say
from chexkeras.training.callbacks import EpochProgress, FiniteLoss
from chexkeras.training.feature_plan import FeaturePlan
from chexkeras.training.monitor import EarlyStopping, mean_auc
from chexkeras.training.recipe import Recipe, Stage
from chexkeras.training.stage_data import StageData, film_data


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
) -> Fitted:
    """Runs a recipe's stages; the model ends with the weights of the epoch with the best validation AUROC.

    Args:
        model: A classifier of `build_classifier`; changed in place.
        recipe: The recipe.
        loss: The loss of every stage.
        train: Image table of the training part.
        validation: Image table of the validation part.
        plan: Stored features for the stages that can use them; None reads the films anew in every epoch.

    Returns:
        History and boundaries.

    Raises:
        ValueError: If the loss stops being a number; the message says in which step.
    """
    fitted = Fitted()
    best_value, best_weights = -math.inf, None
    labels = validation[list(recipe.targets)].to_numpy(np.float32)
    steps = math.ceil(len(train) / recipe.batch_size)
    for stage in recipe.stages:
        if best_weights is not None:
            model.set_weights(best_weights)
        boundary = apply_stage(
            model,
            stage.trainable,
            optimizer=keras.optimizers.Adam(stage.learning_rate),
            loss=loss,
            name=stage.name,
        )
        say(str(boundary))
        stored = plan is not None and stage.name in plan.layers
        data = plan.stage_data(model, recipe, stage.name) if stored else film_data(model, recipe, train, validation)
        stopping = EarlyStopping(stage.patience)
        for epoch in range(1, stage.epochs + 1):
            row = _epoch(stage, epoch, len(fitted.history) + 1, data, loss, labels, steps)
            fitted.history.append(row)
            if stopping.update(row["val_auroc"]) and row["val_auroc"] > best_value:
                best_value, best_weights = row["val_auroc"], model.get_weights()
                fitted.best_stage, fitted.best_epoch = stage.name, epoch
            _report(row, stage)
            if stopping.exhausted:
                break
        ended = "no better validation AUROC for its patience" if stopping.exhausted else "all epochs run"
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
) -> dict[str, Any]:
    start = time.perf_counter()
    where = f"{stage.name} epoch {epoch}"
    progress = EpochProgress(f"{where}/{stage.epochs}", steps)
    callbacks = [FiniteLoss(where), progress]
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
