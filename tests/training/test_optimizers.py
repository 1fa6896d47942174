import keras
import numpy as np
import pytest

from chexkeras.recipes.recipe import Stage
from chexkeras.training.memory import GatheredGradients
from chexkeras.training.optimizers import AveragedWeights, LearningRate, make_optimizer

pytestmark = pytest.mark.keras


def stage(**settings):
    return Stage("stage1", **{"epochs": 4, "learning_rate": 0.1, **settings})


def moved(optimizer, start, *gradients):
    """Returns a weight vector after steps with these gradients."""
    weight = keras.Variable(np.array(start, np.float32))
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(np.array(gradient, np.float32))], [weight])
    return keras.ops.convert_to_numpy(weight)


def rate_at(optimizer, step):
    optimizer.iterations.assign(step)
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def test_a_plain_stage_gets_keras_own_adam_and_nothing_else():
    expected = keras.optimizers.Adam(0.1, name="plain").get_config()
    found = make_optimizer(stage(), 10).get_config()
    # Keras counts up the names of the optimizers that it makes.
    assert {**found, "name": "plain"} == expected


def test_sgd_with_decay_and_momentum_by_hand():
    optimizer = make_optimizer(stage(optimizer="sgd", weight_decay=0.5), 10)
    # Decay: 1 - 0.1 * 0.5 * 1 = 0.95; step: - 0.1 * 2. Again: 0.75 * 0.95 + (0.9 * -0.2 - 0.2).
    assert moved(optimizer, [1.0], [2.0], [2.0]) == pytest.approx([0.75 * 0.95 - 0.38], rel=1e-5)


def test_adamw_decays_apart_from_the_gradient():
    optimizer = make_optimizer(stage(optimizer="adamw", weight_decay=0.5), 10)
    # Adam's first step is the learning rate in the gradient's direction, whatever its size.
    assert moved(optimizer, [1.0], [7.0]) == pytest.approx([0.95 - 0.1], rel=1e-5)


def test_gradients_are_clipped_by_the_norm_of_all_weights_together():
    optimizer = make_optimizer(stage(optimizer="sgd", clip_norm=1.0), 10)
    weights = [keras.Variable(np.zeros(1, np.float32)) for _ in range(2)]
    optimizer.apply([keras.ops.convert_to_tensor([3.0]), keras.ops.convert_to_tensor([4.0])], weights)
    found = [float(keras.ops.convert_to_numpy(weight)[0]) for weight in weights]
    assert found == pytest.approx([-0.1 * 3 / 5, -0.1 * 4 / 5], rel=1e-5)


def test_accumulated_gradients_are_averaged_into_one_step():
    optimizer = make_optimizer(stage(optimizer="sgd", accumulate=3), 10)
    assert moved(optimizer, [0.0], [1.0], [2.0]) == [0.0]
    optimizer = make_optimizer(stage(optimizer="sgd", accumulate=3), 10)
    assert moved(optimizer, [0.0], [1.0], [2.0], [6.0]) == pytest.approx([-0.1 * 3.0], rel=1e-5)


def test_a_stage_that_would_never_change_a_weight_is_refused():
    make_optimizer(stage(accumulate=8), 2)
    with pytest.raises(ValueError, match="stage has only 8 steps"):
        make_optimizer(stage(accumulate=9), 2)


def test_cosine_follows_the_formula_over_all_steps_of_the_stage():
    optimizer = make_optimizer(stage(schedule="cosine"), 5)
    for step in (0, 3, 10, 19, 20):
        assert rate_at(optimizer, step) == pytest.approx(0.1 * (1 + np.cos(np.pi * step / 20)) / 2, abs=1e-7)


def test_warm_up_rises_in_a_line_and_then_follows_the_cosine():
    optimizer = make_optimizer(stage(schedule="warmup_cosine", warmup_epochs=2), 5)
    expected = [0.0, 0.05, 0.1, 0.1 * (1 + np.cos(np.pi / 2)) / 2, 0.0]
    assert [rate_at(optimizer, step) for step in (0, 5, 10, 15, 20)] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("mode", "values"), [("max", [0.6, 0.7, 0.7, 0.6, 0.8]), ("min", [0.4, 0.3, 0.3, 0.4, 0.2])])
def test_a_plateau_lowers_the_rate_and_waits_anew(mode, values):
    plateau = stage(schedule="reduce_on_plateau", reduce_factor=0.5, reduce_patience=1)
    optimizer = make_optimizer(plateau, 5)
    rate = LearningRate(plateau, optimizer, mode)
    assert [rate.after_epoch(value) for value in values] == [0.1, 0.1, 0.1, 0.05, 0.025]
    assert rate.value == 0.025
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(0.025)


def linear_data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 3)).astype(np.float32), rng.normal(size=(12, 1)).astype(np.float32)


def linear_model(optimizer):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer=optimizer, loss="mse", auto_scale_loss=False)
    return model


def averages(inputs, targets, weight, settings, epochs, size):
    """Yields the weights and their average after each epoch of SGD with momentum 0.9, a batch at a time in numpy."""
    average, velocity, gathered, batches = weight, np.zeros_like(weight), np.zeros_like(weight), 0
    changes = 0
    for _ in range(epochs):
        for start in range(0, len(inputs), size):
            x, y = inputs[start : start + size], targets[start : start + size]
            gathered = gathered + 2 * x.T @ (x @ weight - y) / len(x)
            batches += 1
            if batches % settings.accumulate == 0:
                velocity = 0.9 * velocity - settings.learning_rate * gathered / settings.accumulate
                weight, gathered, changes = weight + velocity, np.zeros_like(weight), changes + 1
                average = weight if changes == 1 else settings.ema * average + (1 - settings.ema) * weight
        yield weight, average


@pytest.mark.parametrize("accumulate", [1, 2, 4, 5])
def test_the_average_of_the_weights_is_that_of_one_uninterrupted_training_and_moves_once_a_change(accumulate):
    """A linear model fitted epoch by epoch, against the same steps in numpy; epochs end between changes too."""
    inputs, targets = linear_data()
    settings = stage(optimizer="sgd", learning_rate=0.05, ema=0.8, accumulate=accumulate)
    model = linear_model(make_optimizer(settings, 3))
    callback = AveragedWeights()
    expected = list(averages(inputs, targets, model.get_weights()[0].astype(np.float64), settings, 5, 4))
    for _, average in expected:
        model.fit(inputs, targets, batch_size=4, epochs=1, shuffle=False, verbose=0, callbacks=[callback])
        np.testing.assert_allclose(model.get_weights()[0], average, atol=1e-6)
    assert not np.allclose(*expected[-1], rtol=1e-2)


def test_batches_in_pieces_give_the_same_average_as_whole_ones():
    inputs, targets = linear_data()
    settings = stage(optimizer="sgd", learning_rate=0.05, ema=0.8, accumulate=2)
    found = []
    for size, wrap in ((4, lambda optimizer: optimizer), (2, lambda optimizer: GatheredGradients(optimizer, 2))):
        optimizer = make_optimizer(settings, 3)
        model = linear_model(optimizer)
        optimizer.build(model.trainable_variables)
        model.compile(optimizer=wrap(optimizer), loss="mse", auto_scale_loss=False)
        model.fit(inputs, targets, batch_size=size, epochs=3, shuffle=False, verbose=0)
        found.append(model.get_weights()[0])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_with_an_average_the_weights_change_as_without(optimizer):
    gradients = ([1.0], [2.0], [-4.0], [0.5], [3.0], [1.0])
    plain = make_optimizer(stage(optimizer=optimizer, accumulate=3), 10)
    averaged = make_optimizer(stage(optimizer=optimizer, accumulate=3, ema=0.9), 10)
    assert moved(averaged, [0.3], *gradients) == pytest.approx(moved(plain, [0.3], *gradients), abs=1e-7)
    assert averaged.get_config()["ema_momentum"] == 0.9
    again = keras.optimizers.deserialize(keras.optimizers.serialize(averaged))
    assert (type(again), again.get_config()) == (type(averaged), averaged.get_config())
