import keras
import numpy as np
import pytest

from chexkeras.models.classifier import build_classifier
from chexkeras.training import fitting
from chexkeras.training.trainer import build_loss

pytestmark = pytest.mark.keras


def test_each_stage_starts_from_the_best_epoch_and_the_model_ends_with_it(toy_recipe, toy_splits, monkeypatch):
    keras.utils.set_random_seed(0)
    model = build_classifier("Effusion", backbone="SmallCNN", weights=None, image_size=32, precision="float32")
    values = iter([0.6, 0.9, 0.7, 0.8, 0.85, 0.8])
    before, after = [], []
    real = fitting._epoch

    def watched(*arguments):
        before.append(model.get_weights())
        row = real(*arguments)
        after.append(model.get_weights())
        return row

    monkeypatch.setattr(fitting, "mean_auc", lambda *_: next(values))
    monkeypatch.setattr(fitting, "_epoch", watched)
    loss = build_loss(toy_recipe, toy_splits.train)
    fitted = fitting.fit_stages(model, toy_recipe, loss, toy_splits.train, toy_splits.validation)
    assert (fitted.best_stage, fitted.best_epoch) == ("stage1", 2)
    assert [stage["best_epoch"] for stage in fitted.stages] == [2, 2]
    assert not all(np.array_equal(*pair) for pair in zip(after[1], after[2], strict=True))
    for weights in (before[3], model.get_weights()):
        for expected, found in zip(after[1], weights, strict=True):
            np.testing.assert_array_equal(expected, found)
