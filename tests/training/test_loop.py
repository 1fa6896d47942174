import keras
import numpy as np
import pytest

from chexkeras import progress
from chexkeras.models.classifier import build_classifier
from chexkeras.recipes.recipe import Loss, Stage
from chexkeras.training import loop
from chexkeras.training.frozen.plan import plan_features
from chexkeras.training.frozen.shelves import Shelves
from chexkeras.training.trainer import build_loss

pytestmark = pytest.mark.keras


def test_each_stage_starts_from_the_best_epoch_and_the_model_ends_with_it(toy_recipe, toy_splits, monkeypatch):
    keras.utils.set_random_seed(0)
    model = build_classifier("Effusion", backbone="SmallCNN", weights=None, image_size=32, precision="float32")
    values = iter([0.6, 0.9, 0.7, 0.8, 0.85, 0.8])
    before, after = [], []
    real = loop._epoch

    def watched(*arguments):
        before.append(model.get_weights())
        row = real(*arguments)
        after.append(model.get_weights())
        return row

    monkeypatch.setattr(loop, "mean_auc", lambda *_: next(values))
    monkeypatch.setattr(loop, "_epoch", watched)
    loss = build_loss(toy_recipe, toy_splits.train)
    fitted = loop.fit_stages(model, toy_recipe, loss, toy_splits.train, toy_splits.validation)
    assert (fitted.best_stage, fitted.best_epoch) == ("stage1", 2)
    assert [stage["best_epoch"] for stage in fitted.stages] == [2, 2]
    assert not all(np.array_equal(*pair) for pair in zip(after[1], after[2], strict=True))
    for weights in (before[3], model.get_weights()):
        for expected, found in zip(after[1], weights, strict=True):
            np.testing.assert_array_equal(expected, found)


def classifier(head="three_layer"):
    keras.utils.set_random_seed(0)
    return build_classifier(
        "Effusion", backbone="SmallCNN", weights=None, image_size=32, head=head, precision="float32"
    )


def fit(recipe, splits):
    model = classifier()
    return model, loop.fit_stages(model, recipe, build_loss(recipe, splits.train), splits.train, splits.validation)


def test_the_validation_loss_decides_where_the_recipe_says_so(toy_recipe, toy_splits, monkeypatch):
    real, losses = loop._epoch, iter([0.5, 0.3, 0.4, 0.6, 0.2, 0.9])
    areas = iter([0.9, 0.5, 0.8, 0.7, 0.6, 0.95])
    monkeypatch.setattr(loop, "_epoch", lambda *a: {**real(*a), "val_loss": next(losses), "val_auroc": next(areas)})
    _, fitted = fit(toy_recipe.replace(monitor="val_loss"), toy_splits)
    assert (fitted.best_stage, fitted.best_epoch) == ("stage2", 2)
    assert [stage["best_epoch"] for stage in fitted.stages] == [2, 2]


def test_every_setting_of_the_optimiser_trains(toy_recipe, toy_splits):
    stages = (
        Stage("a", 2, 1e-3, "none", optimizer="sgd", schedule="reduce_on_plateau", ema=0.9, clip_norm=1.0),
        Stage(
            "b", 2, 1e-3, "block3_conv", batchnorm="trained", optimizer="adamw", weight_decay=1e-4, schedule="cosine"
        ),
        Stage("c", 3, 1e-3, "all", batchnorm="trained", schedule="warmup_cosine", accumulate=2),
    )
    _, fitted = fit(toy_recipe.replace(stages=stages), toy_splits)
    assert [row["stage"] for row in fitted.history] == ["a", "a", "b", "b", "c", "c", "c"]
    assert all(np.isfinite(row["loss"]) for row in fitted.history)
    assert [stage["batchnorm_layers_held"] for stage in fitted.stages] == [4, 2, 0]
    ended = {row["stage"]: row["learning_rate"] for row in fitted.history}
    assert ended["b"] == ended["c"] == pytest.approx(0.0, abs=1e-9)


def test_targets_that_cannot_be_scored_on_validation_are_named(toy_recipe, toy_splits, capsys):
    validation = toy_splits.validation.assign(Mass=0.0)
    recipe = toy_recipe.replace(targets=("Effusion", "Mass"), stages=toy_recipe.stages[:1])
    model = build_classifier(recipe.targets, backbone="SmallCNN", weights=None, image_size=32, precision="float32")
    loop.fit_stages(model, recipe, build_loss(recipe, toy_splits.train), toy_splits.train, validation)
    assert "leaves out what has one class there: Mass" in capsys.readouterr().err


def test_accumulation_that_never_changes_a_weight_is_refused_before_the_first_epoch(toy_recipe, toy_splits):
    stages = (toy_recipe.stages[0], Stage("late", 1, 1e-3, accumulate=100))
    with pytest.raises(ValueError, match=r"late.accumulate=100"):
        fit(toy_recipe.replace(stages=stages), toy_splits)


def test_labels_reach_the_loss_in_the_order_of_the_targets_with_their_weights_and_unknown_ones_masked(toy_recipe, toy):
    """Four images scored 0.5 / 0.25 / 0.8 whatever they show; the loss of one step is worked out by hand."""
    images = toy.head(4).assign(
        Mass=[1.0, 0.0, np.nan, 0.0], Edema=[0.0, 1.0, 0.0, np.nan], Abnormal=[1.0, 1, 0, np.nan]
    )
    targets = ("Edema", "Abnormal", "Mass")
    spec = Loss(class_weights="capped", target_weights={"Abnormal": 0.5})
    recipe = toy_recipe.replace(targets=targets, loss=spec, stages=(Stage("only", 1, 1e-12),))
    model = build_classifier(targets, backbone="SmallCNN", weights=None, image_size=32, precision="float32")
    last = model.get_layer("head_probability")
    scores = np.array([0.5, 0.25, 0.8])
    last.kernel.assign(np.zeros(last.kernel.shape))
    last.bias.assign(np.log(scores / (1 - scores)))
    loss = build_loss(recipe, images)
    # Edema: 1 positive, 2 negatives. Abnormal: 2 and 1, half counted. Mass: 1 and 2.
    assert loss.positive_weights == [2.0, 0.25, 2.0]
    assert loss.negative_weights == [1.0, 0.5, 1.0]
    edema = 2 * np.log(2) + 2 * np.log(2)
    abnormal = 2 * 0.25 * np.log(4) + 0.5 * np.log(4 / 3)
    mass = 2 * np.log(5 / 4) + 2 * np.log(5)
    fitted = loop.fit_stages(model, recipe, loss, images, images)
    assert fitted.history[0]["loss"] == pytest.approx((edema + abnormal + mass) / 3 / 4, rel=1e-4)
    assert fitted.history[0]["val_loss"] == pytest.approx((edema + abnormal + mass) / 3 / 4, rel=1e-4)


def test_every_epoch_is_one_line_with_the_time_that_may_be_left(toy_recipe, toy_splits, monkeypatch, capsys):
    clock = iter(np.cumsum([0, 60, 0, 20, 0, 22, 0, 100, 0, 30, 0, 30, 0, 30]).tolist())
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(clock))
    values = iter([0.6, 0.9, 0.7, 0.8, 0.85, 0.8, 0.7])
    monkeypatch.setattr(loop, "mean_auc", lambda *_: next(values))
    stages = (Stage("one", 3, 1e-3, 0.0), Stage("two", 9, 1e-3, 0.0, patience=2))
    monkeypatch.setattr(loop.StageFit, "epoch", lambda *_: 0.25)
    monkeypatch.setattr(loop.StageFit, "scores", lambda _: np.full((len(toy_splits.validation), 1), 0.5))
    fit(toy_recipe.replace(stages=stages), toy_splits)
    shown = capsys.readouterr().err
    lines = [line for line in shown.splitlines() if " epoch " in line]
    assert max(map(len, lines[:-1])) <= 80
    assert lines[0].startswith("  one epoch 1/3: loss 0.2500, val ")
    told = " ".join(shown.split())
    assert told.count("at most 3 epochs, then two of 9") == 1
    assert "two stopped after epoch 4: no better validation AUROC in 2 epochs; one epoch 2 kept" in told
    ends = [line.split("AUROC ")[1] for line in lines if " loss " in line]
    # By hand: 2 epochs at 60 s, 1 at 20 s; then 8 at 100 s, 7 at 30 s, 6 at 30 s, and the patience is used up.
    assert ends == [
        "0.600, 60 s; 2 min left",
        "0.900, 20 s; 20 s left",
        "0.700, 22 s",
        "0.800, 100 s; 13 min left",
        "0.850, 30 s; 4 min left",
        "0.800, 30 s; 3 min left",
        "0.700, 30 s",
    ]


def test_the_longest_line_of_an_epoch_fits_80_columns(capsys):
    """Hours an epoch, days left, losses of two digits before the point."""
    row = {"stage": "stage2", "epoch": 27, "loss": 10.25, "val_loss": 11.5, "val_auroc": 0.5, "seconds": 7300.0}
    loop._report(row, loop.Stage("stage2", 30, 1e-3), f"{progress.duration(86_400 * 3)} left")
    assert capsys.readouterr().err == (
        "  stage2 epoch 27/30: loss 10.2500, val 11.5000, AUROC 0.500, 2.0 h; 72.0 h left\n"
    )


def test_weights_that_the_last_step_breaks_are_named_with_their_epoch(toy_recipe, toy_splits):
    """One step an epoch: its loss is still that of good weights."""
    stages = (Stage("only", 2, 1e39, optimizer="sgd"),)
    with pytest.raises(ValueError, match=r"no numbers after only epoch 1: its last step broke them; lower"):
        fit(toy_recipe.replace(stages=stages, batch_size=200), toy_splits)


@pytest.mark.parametrize("features", [False, True])
def test_half_precision_that_overflows_stops_at_its_first_step_and_names_it(toy_recipe, toy_splits, tmp_path, features):
    keras.utils.set_random_seed(0)
    model = build_classifier("Effusion", backbone="SmallCNN", weights=None, image_size=32, precision="mixed_float16")
    assert model.get_layer("head_probability").compute_dtype == "float32"
    plan = None
    if features:
        plan = plan_features(
            model, toy_recipe, toy_splits.train, toy_splits.validation, Shelves(tmp_path / "features", own=True)
        )
        plan.fill(toy_recipe.batch_size)
    kernel = model.get_layer("head_dense_1024").kernel
    kernel.assign(np.full(kernel.shape, 6e4))
    loss = build_loss(toy_recipe, toy_splits.train)
    with pytest.raises(ValueError, match=r"loss became nan in stage1 epoch 1, step 1;.*precision='float32'"):
        loop.fit_stages(model, toy_recipe, loss, toy_splits.train, toy_splits.validation, plan)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
