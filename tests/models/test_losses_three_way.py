import keras
import numpy as np
import pandas as pd
import pytest

from chexkeras.data.datasets.labels import settle
from chexkeras.models import ThreeWayCrossentropy
from chexkeras.models.losses import UNCERTAIN
from chexkeras.recipes.recipe import Loss, Recipe
from chexkeras.training.objective import with_third_class

pytestmark = pytest.mark.keras

LABELS = np.array([[1.0, 0.0], [0.0, np.nan], [UNCERTAIN, 1.0], [0.3, UNCERTAIN]], np.float32)


def logits(rows=4, findings=2):
    return np.random.default_rng(0).normal(0, 1.5, (rows, 3 * findings)).astype(np.float32)


def slow(labels, given, weights=(1.0, 1.0)):
    total = 0.0
    for row_labels, row in zip(labels, given, strict=True):
        for finding, label in enumerate(row_labels):
            powers = [np.exp(float(logit)) for logit in row[3 * finding : 3 * finding + 3]]
            absent, present, uncertain = (power / sum(powers) for power in powers)
            if label == UNCERTAIN:
                total -= weights[finding] * np.log(uncertain)
            elif not np.isnan(label):
                total -= weights[finding] * (label * np.log(present) + (1 - label) * np.log(absent))
    return total / labels.size


def value(loss, labels=LABELS, scores=None):
    return float(keras.ops.convert_to_numpy(loss(labels, logits() if scores is None else scores)))


@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, 0.5)])
def test_equals_a_slow_loop(weights):
    assert value(ThreeWayCrossentropy(weights)) == pytest.approx(slow(LABELS, logits(), weights), rel=1e-5)


def test_by_hand():
    three = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    labels = np.array([[0.0], [UNCERTAIN], [np.nan]])
    # Logits are probabilities up to their sum: any shift gives the same.
    assert value(ThreeWayCrossentropy(), labels, np.log(three) + 7.0) == pytest.approx(
        (np.log(2) - np.log(0.7)) / 3, rel=1e-5
    )


def test_of_one_probability_it_is_cross_entropy_on_the_certain_labels():
    labels = np.array([[1.0, 0.0], [UNCERTAIN, np.nan], [0.0, 1.0]])
    scores = np.array([[0.8, 0.4], [0.1, 0.9], [0.3, 0.6]])
    expected = -(np.log(0.8) + np.log(0.6) + np.log(0.7) + np.log(0.6)) / 6
    assert value(ThreeWayCrossentropy(), labels, scores) == pytest.approx(expected, rel=1e-5)


def test_gradient_matches_finite_differences_and_unknown_labels_pull_nothing():
    import tensorflow as tf

    scores, loss, step = logits(), ThreeWayCrossentropy((1.0, 0.5)), 1e-4
    tensor = tf.Variable(scores)
    with tf.GradientTape() as tape:
        result = loss(LABELS, tensor)
    gradient = tape.gradient(result, tensor).numpy()
    for place in np.ndindex(scores.shape):
        up, down = scores.astype(np.float64), scores.astype(np.float64)
        up[place] += step / 2
        down[place] -= step / 2
        steep = (slow(LABELS, up, (1.0, 0.5)) - slow(LABELS, down, (1.0, 0.5))) / step
        assert gradient[place] == pytest.approx(steep, rel=1e-3, abs=1e-6), place
    assert (gradient[1, 3:] == 0.0).all()


def test_a_class_that_is_ruled_out_wrongly_still_pulls():
    """The loss is taken from logits: from probabilities the gradient would be 0 where the softmax has rounded to 0."""
    import tensorflow as tf

    given = tf.Variable([[200.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        result = ThreeWayCrossentropy()(np.array([[UNCERTAIN]]), given)
    assert float(result) == pytest.approx(200.0)
    np.testing.assert_allclose(tape.gradient(result, given).numpy(), [[1.0, 0.0, -1.0]], atol=1e-6)


def test_it_survives_serialisation_without_custom_objects():
    loss = ThreeWayCrossentropy([2.0, 1.0])
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is ThreeWayCrossentropy
    assert again.get_config() == loss.get_config()
    with pytest.raises(ValueError, match="target_weights"):
        ThreeWayCrossentropy([0.0])


def chexpert_table(policy="multiclass", blank="negative"):
    raw = np.array([[1.0, -1.0], [-1.0, 0.0], [0.0, np.nan], [1.0, 1.0]])
    findings = ("Edema", "Atelectasis")
    labels, marked = settle(raw, dict.fromkeys(findings, policy), blank)
    return pd.DataFrame({"image_id": list("abcd"), **labels, "uncertain": marked})


def test_uncertain_labels_become_the_third_class_and_blanks_stay_what_they_are():
    table = chexpert_table(blank="unknown")
    rows = with_third_class(table, ("Atelectasis", "Edema"))
    np.testing.assert_array_equal(rows["Edema"], [1.0, UNCERTAIN, 0.0, 1.0])
    np.testing.assert_array_equal(rows["Atelectasis"], [UNCERTAIN, 0.0, np.nan, 1.0])
    assert table["Edema"].isna().sum() == 1, "what is evaluated keeps them unknown"


def test_without_an_uncertain_label_there_is_no_third_class():
    with pytest.raises(ValueError, match="no third class to learn"):
        with_third_class(chexpert_table("ones"), ("Edema",))
    with pytest.raises(ValueError, match="no third class to learn"):
        with_third_class(chexpert_table().drop(columns="uncertain"), ("Edema",))


def test_head_and_loss_go_together():
    recipe = Recipe(head="three_way", loss=Loss("three_way"))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    for changes in ({"head": "three_way"}, {"loss": Loss("three_way")}):
        with pytest.raises(ValueError, match="set both or neither"):
            Recipe().replace(**changes)


def test_a_classifier_learns_which_images_are_uncertain_and_still_gives_one_probability():
    """Stripes across, stripes down and no stripes stand for the three classes."""
    from chexkeras.models.classifier import build_classifier
    from chexkeras.models.stages import apply_stage

    keras.utils.set_random_seed(0)
    model = build_classifier(
        "Edema", backbone="SmallCNN", weights=None, image_size=32, head="three_way", precision="float32"
    )
    labels = np.tile([0.0, 1.0, UNCERTAIN], 8).astype(np.float32)[:, np.newaxis]
    stripes = np.broadcast_to(np.where(np.arange(32) % 2, 250.0, 5.0), (32, 32))
    shown = {0.0: stripes, 1.0: stripes.T, UNCERTAIN: np.full((32, 32), 128.0)}
    images = np.stack([shown[float(label)] for label in labels[:, 0]])[..., np.newaxis].astype(np.float32)
    apply_stage(model, 1.0, optimizer=keras.optimizers.Adam(3e-3), loss=ThreeWayCrossentropy(), name="stage1")
    history = model.fit(images, labels, epochs=25, batch_size=12, shuffle=False, verbose=0).history["loss"]
    assert history[-1] < 0.1 < history[0]
    scores = model.predict(images, verbose=0)
    assert scores.shape == (24, 1)
    assert scores[labels == 1.0].min() > 0.9 > 0.1 > scores[labels == 0.0].max()
    # BatchNorm is held, so that the logits are those that were learnt.
    given = np.asarray(model(images, training=True))
    assert (given[labels[:, 0] == UNCERTAIN].argmax(axis=1) == 2).all()
