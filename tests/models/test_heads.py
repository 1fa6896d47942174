import keras
import numpy as np
import pytest

from chexkeras.models.classifier import build_classifier
from chexkeras.models.heads import HEADS
from chexkeras.models.partition import partition
from chexkeras.models.stages import apply_stage

# A few steps of each model: tracing it would take longer.
pytestmark = [pytest.mark.keras, pytest.mark.usefixtures("run_eagerly")]

# Behind the pooling: each layer's kind and its number, dense units or dropout rate.
LAYERS = {
    "three_layer": [("Dense", 1024), ("Dropout", 0.5), ("Dense", 512), ("Dropout", 0.3), ("Dense", 3)],
    "linear": [("Dense", 3)],
    "dropout": [("Dropout", 0.5), ("Dense", 3)],
    "dense_512": [("Dense", 512), ("Dropout", 0.3), ("Dense", 3)],
    "dense_1024": [("Dense", 1024), ("Dense", 3)],
    "dense_bn": [("Dense", 512), ("BatchNormalization", None), ("Dense", 3)],
    "three_way": [("Dense", 9), ("ThreeWay", None)],
}


def classifier(head, targets=("Effusion", "Mass", "Nodule"), **options):
    keras.utils.set_random_seed(0)
    given = {"backbone": "SmallCNN", "weights": None, "image_size": 32, "precision": "float32", **options}
    return build_classifier(targets, head=head, **given)


def images(n=8):
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 1)).astype(np.float32)


def stage(model, trainable=0.0, batchnorm="held"):
    loss = keras.losses.BinaryCrossentropy()
    return apply_stage(model, trainable, optimizer=keras.optimizers.Adam(1e-2), loss=loss, batchnorm=batchnorm)


def labels(n=8, targets=3):
    return np.random.default_rng(1).integers(0, 2, (n, targets)).astype(np.float32)


def test_every_head_is_tested():
    assert set(LAYERS) == set(HEADS)


@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_made_of_the_layers_that_its_description_names(head):
    model = classifier(head)
    layers = [layer for layer in model.layers if layer.name.startswith("head_")]
    assert type(layers[0]).__name__ == "GlobalAveragePooling2D"
    found = [
        (type(layer).__name__, getattr(layer, "units", None) or getattr(layer, "rate", None)) for layer in layers[1:]
    ]
    assert found == LAYERS[head]
    assert layers[-1].name == "head_probability"


@pytest.mark.parametrize("head", HEADS)
def test_every_head_gives_float32_probabilities_in_half_precision_too(head):
    scores = classifier(head, precision="mixed_bfloat16").predict(images(), verbose=0)
    assert scores.shape == (8, 3)
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("head", HEADS)
def test_a_saved_model_with_any_head_loads_safely_and_scores_the_same(head, tmp_path):
    model = classifier(head, clahe=2.0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    for expected, found in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, found)
    np.testing.assert_allclose(again.predict(images(), verbose=0), model.predict(images(), verbose=0), rtol=1e-5)


def test_a_new_process_that_knows_the_layers_loads_layers_of_our_own(tmp_path):
    """That is all that `Run.load_model` imports before it loads."""
    import subprocess
    import sys

    classifier("three_way", clahe=2.0).save(tmp_path / "model.keras")
    code = (
        "import keras, sys; from chexkeras.models import clahe, three_way;"
        "model = keras.saving.load_model(sys.argv[1], compile=False, safe_mode=True);"
        "print(model.layers[1].name, model.output_shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.keras")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "preprocess_clahe (None, 3)"


def test_batchnorm_of_a_head_trains_in_a_stage_that_holds_the_backbones():
    model = classifier("dense_bn")
    boundary = stage(model, trainable=1.0)
    head = model.get_layer("head_batchnorm")
    before = [keras.ops.convert_to_numpy(weight) for weight in head.weights]
    held = [keras.ops.convert_to_numpy(weight) for weight in model.get_layer("block4_bn").weights]
    model.fit(images(), labels(), epochs=1, batch_size=4, verbose=0)
    assert boundary.batchnorm_layers_held == 4
    assert "head_batchnorm" in boundary.layers_trainable
    for old, new in zip(before, head.weights, strict=True):
        assert not np.array_equal(old, keras.ops.convert_to_numpy(new)), new.name
    for old, new in zip(held, model.get_layer("block4_bn").weights, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))


@pytest.mark.parametrize("trainable", [0.0, 0.3])
@pytest.mark.parametrize("head", ["dense_bn", "three_way", "dropout"])
def test_a_stage_on_stored_features_is_the_stage_on_images(head, trainable):
    """The suffix shares the head, so what it learns and gives is the classifier's own."""
    model = classifier(head)
    stage(model, trainable)
    parts = partition(model)
    assert parts.crossing == ("head_pool" if trainable == 0.0 else "block3_pool")
    features = parts.prefix.predict(images(), verbose=0)
    np.testing.assert_allclose(parts.suffix.predict(features, verbose=0), model.predict(images(), verbose=0), rtol=1e-5)
    if head != "dropout":
        given = np.asarray(parts.suffix(keras.ops.convert_to_tensor(features), training=True))
        np.testing.assert_allclose(given, np.asarray(model(images(), training=True)), rtol=1e-4, atol=1e-6)


def test_three_logits_in_training_and_one_probability_otherwise():
    model = classifier("three_way", ("Effusion", "Mass"))
    stage(model)  # holds BatchNorm, so that training changes nothing else
    logits = keras.Model(model.input, model.get_layer("head_logits").output).predict(images(), verbose=0)
    np.testing.assert_allclose(np.asarray(model(images(), training=True)), logits, rtol=1e-5)
    one = np.asarray(model(images(), training=False))
    assert (logits.shape, one.shape, model.output_shape) == ((8, 6), (8, 2), (None, 2))
    for finding in range(2):
        absent, present, _ = np.exp(logits[:, 3 * finding : 3 * finding + 3].astype(np.float64)).T
        np.testing.assert_allclose(one[:, finding], present / (absent + present), rtol=1e-5)


def test_huge_logits_overflow_nowhere():
    from chexkeras.models.three_way import ThreeWay

    layer = ThreeWay()
    logits = keras.ops.convert_to_tensor([[500.0, -500.0, 0.0], [-500.0, 500.0, 0.0]])
    np.testing.assert_allclose(np.asarray(layer(logits, training=False)), [[0.0], [1.0]])


def test_equalisation_is_the_first_layer_and_only_where_it_is_asked_for():
    assert "preprocess_clahe" not in [layer.name for layer in classifier("linear").layers]
    model = classifier("linear", clahe=3.0)
    layer = model.layers[1]
    assert (layer.name, layer.clip_limit, layer.tiles) == ("preprocess_clahe", 3.0, 8)
    plain = classifier("linear")
    plain.set_weights(model.get_weights())
    equalised = np.asarray(layer(images()))
    np.testing.assert_allclose(
        model.predict(images(), verbose=0), plain.predict(equalised, verbose=0), rtol=1e-5, atol=1e-7
    )
    with pytest.raises(ValueError, match=r"clahe=0\.5 must be a number from 1"):
        classifier("linear", clahe=0.5)
