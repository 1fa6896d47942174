import keras
import numpy as np
import pytest

from chexkeras.training.imbalance import class_weights
from chexkeras.training.losses import FocalLoss, WeightedBinaryCrossentropy

pytestmark = pytest.mark.keras

LABELS = np.array([[1.0, 0.0], [0.0, np.nan], [np.nan, 1.0], [1.0, 1.0]], np.float32)
SCORES = np.array([[0.9, 0.2], [0.4, 0.7], [0.1, 0.6], [0.3, 0.99]], np.float32)


def slow_bce(labels, scores, positive, negative, smoothing=0.0):
    total = 0.0
    for row_labels, row_scores in zip(labels, scores, strict=True):
        film = 0.0
        for label, score, wp, wn in zip(row_labels, row_scores, positive, negative, strict=True):
            if np.isnan(label):
                continue
            target = label * (1 - smoothing) + smoothing / 2
            film -= wp * target * np.log(score) + wn * (1 - target) * np.log(1 - score)
        total += film / labels.shape[1]
    return total / len(labels)


def slow_focal(labels, scores, gamma, alpha):
    total = 0.0
    for row_labels, row_scores in zip(labels, scores, strict=True):
        film = 0.0
        for label, score in zip(row_labels, row_scores, strict=True):
            if label == 1:
                film -= alpha * (1 - score) ** gamma * np.log(score)
            elif label == 0:
                film -= (1 - alpha) * score**gamma * np.log(1 - score)
        total += film / labels.shape[1]
    return total / len(labels)


def value(loss, labels=LABELS, scores=SCORES):
    return float(keras.ops.convert_to_numpy(loss(labels, scores)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_bce_equals_a_slow_loop_and_skips_unknown_labels(smoothing):
    loss = WeightedBinaryCrossentropy([3.0, 1.5], [0.6, 0.75], smoothing)
    assert value(loss) == pytest.approx(slow_bce(LABELS, SCORES, [3.0, 1.5], [0.6, 0.75], smoothing), rel=1e-5)


def test_unit_weights_give_keras_own_cross_entropy():
    labels = np.nan_to_num(LABELS)
    expected = float(keras.ops.convert_to_numpy(keras.losses.BinaryCrossentropy()(labels, SCORES)))
    assert value(WeightedBinaryCrossentropy([1.0, 1.0], [1.0, 1.0]), labels) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, 0.5), (3.0, 0.9)])
def test_focal_equals_a_slow_loop(gamma, alpha):
    assert value(FocalLoss(gamma, alpha)) == pytest.approx(slow_focal(LABELS, SCORES, gamma, alpha), rel=1e-4)


@pytest.mark.parametrize("loss", [WeightedBinaryCrossentropy([2.0, 3.0], [0.7, 0.6]), FocalLoss()])
def test_extreme_scores_and_unknown_labels_give_finite_values_and_gradients(loss):
    import tensorflow as tf

    scores = tf.Variable([[0.0, 1.0], [1.0, 0.0], [0.5, 0.0], [0.0, 1.0]])
    with tf.GradientTape() as tape:
        result = loss(LABELS, scores)
    gradient = tape.gradient(result, scores).numpy()
    assert np.isfinite(result.numpy())
    assert np.isfinite(gradient).all()
    assert gradient[1, 1] == 0.0, "an unknown label must not pull its score"


def test_gradient_matches_finite_differences():
    import tensorflow as tf

    loss = WeightedBinaryCrossentropy([2.0, 3.0], [0.7, 0.6], 0.1)
    scores = tf.Variable(SCORES)
    with tf.GradientTape() as tape:
        result = loss(LABELS, scores)
    gradient = tape.gradient(result, scores).numpy()
    moved = SCORES.astype(np.float64).copy()
    moved[0, 0] += 1e-4
    steep = slow_bce(LABELS, moved, [2.0, 3.0], [0.7, 0.6], 0.1) - slow_bce(
        LABELS, SCORES.astype(np.float64), [2.0, 3.0], [0.7, 0.6], 0.1
    )
    assert gradient[0, 0] == pytest.approx(steep / 1e-4, rel=1e-2)


@pytest.mark.parametrize("loss", [WeightedBinaryCrossentropy([2.0], [0.7], 0.1), FocalLoss(1.5, 0.4)])
def test_losses_survive_serialisation_without_custom_objects(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedBinaryCrossentropy([1.0, 2.0], [1.0]), "one of each per target"),
        (lambda: WeightedBinaryCrossentropy([0.0], [1.0]), "must be positive"),
        (lambda: WeightedBinaryCrossentropy([1.0], [1.0], 1.0), "label_smoothing"),
        (lambda: FocalLoss(-1.0), "gamma"),
        (lambda: FocalLoss(2.0, 1.0), "alpha"),
    ],
)
def test_wrong_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_balanced_weights_by_hand(toy):
    table = toy.head(10).assign(Effusion=[1, 1, 0, 0, 0, 0, 0, 0, np.nan, np.nan])
    positive, negative = class_weights(table, "Effusion")
    assert positive == [8 / 4]
    assert negative == [8 / 12]
    assert class_weights(table, "Effusion", "none") == ([1.0], [1.0])
    with pytest.raises(ValueError, match="Mass has 0 positive and 10 negative"):
        class_weights(table.assign(Mass=0.0), "Mass")
