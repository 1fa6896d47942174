import math

import keras
import numpy as np
import pytest

from chexkeras.training.callbacks import EarlyStopping, FiniteLoss, mean_auc, one_class_targets


def test_mean_auc_is_exact_and_skips_targets_with_one_class():
    labels = np.array([[1, 0, np.nan], [0, 0, 1], [1, 0, 0], [0, 0, 1]], float)
    scores = np.array([[0.9, 0.1, 0.5], [0.8, 0.2, 0.6], [0.7, 0.3, 0.7], [0.1, 0.4, 0.8]])
    assert mean_auc(labels, scores) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert math.isnan(mean_auc(labels[:, 1:2], scores[:, 1:2]))


def test_targets_with_one_known_class_are_named():
    labels = np.array([[1, 0, np.nan, np.nan], [0, 0, 1, np.nan]], float)
    assert one_class_targets(labels, ("Mass", "Edema", "Nodule", "Hernia")) == ("Edema", "Nodule", "Hernia")


def test_where_smaller_is_better_early_stopping_keeps_the_smallest():
    stopping = EarlyStopping(patience=2, mode="min")
    events = [(stopping.update(value), stopping.exhausted) for value in (math.nan, 0.7, 0.6, 0.65, 0.6)]
    assert events == [(False, False), (True, False), (True, False), (False, False), (False, True)]
    assert (stopping.best, stopping.best_epoch) == (0.6, 3)


def test_early_stopping_keeps_the_best_and_stops_after_its_patience():
    stopping = EarlyStopping(patience=2)
    events = [(stopping.update(value), stopping.exhausted) for value in (0.6, 0.7, 0.65, math.nan)]
    assert events == [(True, False), (True, False), (False, False), (False, True)]
    assert (stopping.best, stopping.best_epoch) == (0.7, 2)


def test_without_patience_it_never_stops():
    stopping = EarlyStopping(patience=None)
    for _ in range(50):
        stopping.update(0.5)
    assert not stopping.exhausted


@pytest.mark.keras
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_bar_goes_when_an_epoch_breaks_off(monkeypatch, error):
    from chexkeras.recipes.recipe import Stage
    from chexkeras.training.loop import StageFit
    from chexkeras.training.stage_data import StageData

    def breaks_off(*_, callbacks, **__):
        for callback in callbacks:
            callback.on_epoch_begin(0)
        bars.append(callbacks[-1].bar)
        raise error

    bars = []
    monkeypatch.setattr("rich.console.Console.is_interactive", True, raising=False)
    model = type("Model", (), {"fit": staticmethod(breaks_off)})()
    # No more of a stage than one epoch's fitting needs.
    under_way = StageFit.__new__(StageFit)
    under_way.data = StageData(model, lambda _: None, lambda _: None)
    under_way.stage, under_way.steps, under_way._average = Stage("stage1", 1, 1e-3), 1, None
    under_way.batch_size, under_way.images_at_a_time, under_way._seed = 1, 1, 0
    under_way._further = ()
    with pytest.raises(error):
        under_way._fit(1, 1)
    assert not bars[0].live.is_started


@pytest.mark.keras
def test_a_loss_that_is_not_a_number_stops_training_and_names_the_step():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    inputs = np.ones((8, 1), np.float32)
    inputs[5] = np.nan
    with pytest.raises(ValueError, match=r"loss became nan in stage1 epoch 2, step 3.*learning rate"):
        model.fit(
            inputs, np.ones((8, 1)), batch_size=2, shuffle=False, verbose=0, callbacks=[FiniteLoss("stage1 epoch 2")]
        )
