import keras
import numpy as np
import pytest

from chexkeras.models import (
    AsymmetricLoss,
    AucMarginLoss,
    FocalLoss,
    ThreeWayCrossentropy,
    WeightedBinaryCrossentropy,
)

pytestmark = pytest.mark.keras

LABELS = np.array([[1.0, 0.0], [0.0, np.nan], [np.nan, 1.0], [1.0, 1.0]], np.float32)
SCORES = np.array([[0.9, 0.2], [0.4, 0.7], [0.1, 0.6], [0.3, 0.99]], np.float32)


def slow_bce(labels, scores, positive, negative, smoothing=0.0):
    total = 0.0
    for row_labels, row_scores in zip(labels, scores, strict=True):
        image = 0.0
        for label, score, wp, wn in zip(row_labels, row_scores, positive, negative, strict=True):
            if np.isnan(label):
                continue
            target = label * (1 - smoothing) + smoothing / 2
            image -= wp * target * np.log(score) + wn * (1 - target) * np.log(1 - score)
        total += image / labels.shape[1]
    return total / len(labels)


def slow_focal(labels, scores, gamma, alpha, weights=(1.0, 1.0), smoothing=0.0):
    total = 0.0
    for row_labels, row_scores in zip(labels, scores, strict=True):
        image = 0.0
        for label, score, weight in zip(row_labels, row_scores, weights, strict=True):
            if np.isnan(label):
                continue
            target = label * (1 - smoothing) + smoothing / 2
            right = target * score + (1 - target) * (1 - score)
            share = alpha * target + (1 - alpha) * (1 - target)
            entropy = -target * np.log(score) - (1 - target) * np.log(1 - score)
            image += weight * share * (1 - right) ** gamma * entropy
        total += image / labels.shape[1]
    return total / len(labels)


def slow_asymmetric(labels, scores, gamma_positive, gamma_negative, clip, weights=(1.0, 1.0)):
    total = 0.0
    for row_labels, row_scores in zip(labels, scores, strict=True):
        image = 0.0
        for label, score, weight in zip(row_labels, row_scores, weights, strict=True):
            if label == 1:
                image -= weight * (1 - score) ** gamma_positive * np.log(score)
            elif label == 0 and score > clip:
                image -= weight * (score - clip) ** gamma_negative * np.log(1 - (score - clip))
        total += image / labels.shape[1]
    return total / len(labels)


def slow_auc_margin(labels, scores, margin, weights=(1.0, 1.0)):
    """The paper's min-max by brute force: a, b and alpha from grids instead of closed forms."""
    grid = np.linspace(0.0, 2.0, 2001)
    total = 0.0
    for column in range(labels.shape[1]):
        positives = scores[labels[:, column] == 1, column]
        negatives = scores[labels[:, column] == 0, column]
        if not len(positives) or not len(negatives):
            continue
        around_a = min(np.mean((positives - a) ** 2) for a in grid)
        around_b = min(np.mean((negatives - b) ** 2) for b in grid)
        gap = margin + negatives.mean() - positives.mean()
        total += weights[column] * (around_a + around_b + max(2 * alpha * gap - alpha**2 for alpha in grid))
    return total / labels.shape[1]


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


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, 0.5), (3.0, 0.9)])
def test_focal_equals_a_slow_loop(gamma, alpha, smoothing):
    expected = slow_focal(LABELS, SCORES, gamma, alpha, smoothing=smoothing)
    assert value(FocalLoss(gamma, alpha, label_smoothing=smoothing)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_focal_is_keras_own_also_for_labels_that_are_smoothed_or_lie_between(smoothing):
    labels = np.array([[1.0, 0.0], [0.3, 0.8], [0.5, 1.0], [0.0, 0.05]], np.float32)
    settings = {"gamma": 1.5, "alpha": 0.4, "label_smoothing": smoothing}
    own = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, **settings)
    assert value(FocalLoss(**settings), labels) == pytest.approx(value(own, labels), rel=1e-4)


def test_focal_by_hand():
    # The paper: -0.25 (1 - 0.9)^2 log 0.9 of a positive; of a negative 0.75 times 0.2^2 times -log 0.8.
    labels, scores = np.array([[1.0], [0.0]]), np.array([[0.9], [0.2]])
    each = keras.ops.convert_to_numpy(FocalLoss().call(labels, scores))
    np.testing.assert_allclose(each, [0.25 * 0.01 * 0.1053605, 0.75 * 0.04 * 0.2231436], rtol=1e-5)
    # Smoothed by 0.2 a positive is 0.9: error 0.9 x 0.1 + 0.1 x 0.9, weight 0.25 x 0.9 + 0.75 x 0.1.
    smoothed = keras.ops.convert_to_numpy(FocalLoss(label_smoothing=0.2).call(labels[:1], scores[:1]))
    np.testing.assert_allclose(smoothed, [0.3 * 0.18**2 * (0.9 * 0.1053605 + 0.1 * 2.3025851)], rtol=1e-5)


@pytest.mark.parametrize("settings", [(1.0, 4.0, 0.05), (0.0, 0.0, 0.0), (0.5, 0.5, 0.2), (2.0, 3.0, 0.5)])
def test_asymmetric_equals_a_slow_loop(settings):
    weights = [1.0, 0.5]
    expected = slow_asymmetric(LABELS, SCORES, *settings, weights)
    assert value(AsymmetricLoss(*settings, target_weights=weights)) == pytest.approx(expected, rel=1e-4)


def test_asymmetric_without_focusing_is_cross_entropy_and_an_easy_negative_costs_nothing():
    plain = value(WeightedBinaryCrossentropy([1.0, 1.0], [1.0, 1.0]))
    assert value(AsymmetricLoss(0.0, 0.0, 0.0)) == pytest.approx(plain, rel=1e-5)
    assert value(AsymmetricLoss(), np.zeros((1, 1)), np.full((1, 1), 0.04)) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("margin", [1.0, 0.3])
def test_auc_margin_equals_the_papers_min_max_on_a_grid(margin):
    weights = [1.0, 0.5]
    loss = AucMarginLoss(margin, weights)
    assert value(loss) == pytest.approx(slow_auc_margin(LABELS, SCORES, margin, weights), abs=1e-5)


def test_auc_margin_by_hand():
    labels = np.array([[1.0], [1.0], [0.0], [0.0], [np.nan]])
    scores = np.array([[0.9], [0.7], [0.2], [0.4], [0.99]])
    # Means 0.8 and 0.3, variances 0.01 each, hinge 1 + 0.3 - 0.8 = 0.5.
    assert value(AucMarginLoss(), labels, scores) == pytest.approx(0.01 + 0.01 + 0.25, rel=1e-5)
    # A margin that is reached leaves the two variances; one class alone leaves nothing.
    assert value(AucMarginLoss(0.4), labels, scores) == pytest.approx(0.02, rel=1e-5)
    assert value(AucMarginLoss(), labels[:2], scores[:2]) == 0.0


ALL = [
    WeightedBinaryCrossentropy([2.0, 3.0], [0.7, 0.6]),
    FocalLoss(),
    FocalLoss(0.5, label_smoothing=0.1),
    AsymmetricLoss(),
    AsymmetricLoss(0.0, 0.5, 0.0),
    AucMarginLoss(),
]


@pytest.mark.parametrize("loss", ALL)
def test_extreme_scores_and_unknown_labels_give_finite_values_and_gradients(loss):
    import tensorflow as tf

    scores = tf.Variable([[0.0, 1.0], [1.0, 0.0], [0.5, 0.0], [0.0, 1.0]])
    with tf.GradientTape() as tape:
        result = loss(LABELS, scores)
    gradient = tape.gradient(result, scores).numpy()
    assert np.isfinite(result.numpy())
    assert np.isfinite(gradient).all()
    assert gradient[1, 1] == 0.0, "an unknown label must not pull its score"


WEIGHTS = (1.0, 0.5)
WITH_SLOW = [
    (
        WeightedBinaryCrossentropy([2.0, 3.0], [0.7, 0.6], 0.1),
        lambda scores: slow_bce(LABELS, scores, [2.0, 3.0], [0.7, 0.6], 0.1),
    ),
    (FocalLoss(1.5, 0.4, WEIGHTS), lambda scores: slow_focal(LABELS, scores, 1.5, 0.4, WEIGHTS)),
    (FocalLoss(1.5, 0.4, WEIGHTS, 0.2), lambda scores: slow_focal(LABELS, scores, 1.5, 0.4, WEIGHTS, 0.2)),
    (AsymmetricLoss(target_weights=WEIGHTS), lambda scores: slow_asymmetric(LABELS, scores, 1.0, 4.0, 0.05, WEIGHTS)),
    (AucMarginLoss(0.9, WEIGHTS), lambda scores: slow_auc_margin(LABELS, scores, 0.9, WEIGHTS)),
]


@pytest.mark.parametrize(("loss", "slow"), WITH_SLOW, ids=lambda pair: getattr(pair, "name", "slow"))
def test_gradient_matches_finite_differences(loss, slow):
    import tensorflow as tf

    scores = tf.Variable(SCORES)
    with tf.GradientTape() as tape:
        result = loss(LABELS, scores)
    gradient = tape.gradient(result, scores).numpy()
    # The grid of the slow AUC margin has steps of 1e-3; elsewhere a small step is exact enough.
    step = 2e-2 if isinstance(loss, AucMarginLoss) else 1e-4
    for place in np.ndindex(SCORES.shape):
        up, down = SCORES.astype(np.float64), SCORES.astype(np.float64)
        up[place] += step / 2
        down[place] -= step / 2
        # SCORES has a 0.99 that half a step of 2e-2 would move to 1: still a score.
        steep = (slow(np.minimum(up, 1.0)) - slow(down)) / step
        assert gradient[place] == pytest.approx(steep, rel=2e-2, abs=2e-4), place


def test_order_masks_and_weights_by_hand():
    """Three images, the findings Mass, Edema and Abnormal, whose weights are 1, 1 and one half."""
    labels = np.array([[1.0, 0.0, 1.0], [0.0, np.nan, 0.0], [np.nan, np.nan, 1.0]])
    scores = np.array([[0.5, 0.25, 0.8], [0.5, 0.9, 0.5], [0.1, 0.1, 0.5]])
    # Positives of Mass weigh 3, of Edema 5, of Abnormal 2 x 1/2; negatives 1, 1 and 1 x 1/2.
    loss = WeightedBinaryCrossentropy([3.0, 5.0, 1.0], [1.0, 1.0, 0.5])
    image_1 = 3 * np.log(2) + np.log(4 / 3) + np.log(5 / 4)
    image_2 = np.log(2) + 0.5 * np.log(2)
    image_3 = np.log(2)
    each = keras.ops.convert_to_numpy(loss.call(labels, scores))
    np.testing.assert_allclose(each, np.array([image_1, image_2, image_3]) / 3, rtol=1e-5)
    other = np.where(np.isnan(labels), 0.123, scores)
    assert value(loss, labels, other) == value(loss, labels, scores), "the score of an unknown label plays no part"
    swapped = value(loss, labels[:, [1, 0, 2]], scores[:, [1, 0, 2]])
    assert swapped != pytest.approx(value(loss, labels, scores)), "the order of the targets does"


def test_half_precision_scores_are_computed_in_float32():
    scores = keras.ops.cast(np.array([[0.5, 0.25]]), "float16")
    for loss in ALL:
        result = loss(np.array([[1.0, 0.0]]), scores)
        assert keras.backend.standardize_dtype(result.dtype) == "float32"


@pytest.mark.parametrize(
    "loss",
    [
        WeightedBinaryCrossentropy([2.0], [0.7], 0.1),
        FocalLoss(1.5, 0.4, label_smoothing=0.1),
        AsymmetricLoss(2.0, 3.0, 0.1, [1.0, 0.5]),
        AucMarginLoss(0.7, [2.0]),
    ],
)
def test_losses_survive_serialisation_without_custom_objects(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize("loss", [*ALL, ThreeWayCrossentropy([1.0, 2.0])], ids=lambda loss: loss.name)
def test_a_model_saved_with_a_loss_loads_without_custom_objects(loss, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="sigmoid")])
    model.compile(optimizer="adam", loss=loss)
    inputs = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    model.fit(inputs, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.loss.get_config() == loss.get_config()
    assert again.evaluate(inputs, LABELS, verbose=0) == pytest.approx(model.evaluate(inputs, LABELS, verbose=0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedBinaryCrossentropy([1.0, 2.0], [1.0]), "one of each per target"),
        (lambda: WeightedBinaryCrossentropy([0.0], [1.0]), r"positive_weights=\[0\.0\] must be above 0"),
        (lambda: WeightedBinaryCrossentropy([1.0], [float("nan")]), r"negative_weights=\[nan\] .*neither NaN"),
        (lambda: WeightedBinaryCrossentropy([], []), r"positive_weights=\[\] must be a number, or a list"),
        (lambda: WeightedBinaryCrossentropy(None, [1.0]), "positive_weights=None must be a number, or a list"),
        (lambda: WeightedBinaryCrossentropy([[1.0, 2.0]], [1.0]), "must be a number, or a list with one for each"),
        (lambda: WeightedBinaryCrossentropy([1.0], [1.0], float("nan")), "label_smoothing=nan must be a number"),
        (lambda: WeightedBinaryCrossentropy([1.0], [1.0], 1.0), "label_smoothing"),
        (lambda: FocalLoss(-1.0), "gamma"),
        (lambda: FocalLoss(float("nan")), "gamma=nan must be a number"),
        (lambda: FocalLoss("2"), "gamma='2' must be a number"),
        (lambda: FocalLoss([2.0, 1.0]), r"gamma=\[2\.0, 1\.0\] must be a number"),
        (lambda: FocalLoss(True), "gamma=True must be a number"),
        (lambda: FocalLoss(2.0, 1.0), "alpha"),
        (lambda: FocalLoss(2.0, []), r"alpha=\[\] must be a number, or a list"),
        (lambda: FocalLoss(2.0, [0.5, float("nan")]), r"alpha=\[0\.5, nan\] must be a number, or a list"),
        (lambda: FocalLoss(label_smoothing=1.0), "label_smoothing=1.0 must be a number of at least 0 and below 1"),
        (lambda: FocalLoss(target_weights=[]), r"target_weights=\[\] must be a number, or a list"),
        (lambda: FocalLoss(target_weights=[1.0, 0.0]), "target_weights"),
        (lambda: AsymmetricLoss(-1.0), "gamma_positive"),
        (lambda: AsymmetricLoss(gamma_negative=float("inf")), "gamma_negative=inf must be a number"),
        (lambda: AsymmetricLoss(clip=1.0), "clip"),
        (lambda: AsymmetricLoss(clip=float("nan")), "clip=nan must be a number"),
        (lambda: AucMarginLoss(0.0), "margin"),
        (lambda: AucMarginLoss(target_weights=[float("nan")]), r"target_weights=\[nan\] .*neither NaN"),
        (lambda: ThreeWayCrossentropy([float("nan"), 1.0]), r"target_weights=\[nan, 1\.0\] .*neither NaN"),
    ],
)
def test_wrong_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
