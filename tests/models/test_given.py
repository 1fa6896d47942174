import keras
import numpy as np
import pytest

from chexkeras.models import given
from chexkeras.models.classifier import build_classifier
from chexkeras.models.object_record import digest, rebuilt, recorded
from chexkeras.models.partition import partition
from chexkeras.models.stages import adapt_batchnorm, apply_stage, backbone_layers, batchnorm_layers, freeze

pytestmark = pytest.mark.keras

TARGETS = ("Effusion", "Mass")


def branches(channels=1):
    """A base with a sum of two branches at its end, one of them a model."""
    pixels = keras.Input((None, None, channels))
    first = keras.layers.Conv2D(4, 3, 2, padding="same", name="first")(pixels)
    first = keras.layers.BatchNormalization(name="first_bn")(first)
    inside = keras.Sequential([keras.layers.Conv2D(4, 3, padding="same"), keras.layers.BatchNormalization()])
    second = inside(keras.layers.ReLU()(first))
    return keras.Model(pixels, keras.layers.Conv2D(6, 3, name="last")(first + second), name="mine")


@keras.saving.register_keras_serializable("test_given")
class Opaque(keras.Model):
    """Code of its own, with a BatchNorm inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.convolution = keras.layers.Conv2D(4, 3, 2)
        self.normalisation = keras.layers.BatchNormalization()

    def call(self, images, training=None):
        return self.normalisation(self.convolution(images), training=training)


def built(**options):
    options = {"backbone": branches(), "input_range": (0, 1), "head": "linear", "precision": "float32", **options}
    return build_classifier(TARGETS, image_size=32, weights=None, **options)


def test_the_layers_of_a_given_backbone_are_the_models_own_and_score_with_its_weights():
    base = branches()
    model = built(backbone=base)
    names = [layer.name for layer in backbone_layers(model)]
    assert {"first", "first_bn", "last"} <= set(names)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    gray = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 1)).astype(np.float32)
    features = keras.Model(model.input, model.get_layer("head_pool").input)
    np.testing.assert_allclose(features.predict(gray, verbose=0), base.predict(gray / 255, verbose=0), atol=1e-5)
    model.get_layer("first").kernel.assign(model.get_layer("first").kernel * 0)
    assert float(np.abs(base.get_layer("first").get_weights()[0]).max()) > 0


def test_stages_and_the_frozen_part_work_on_a_given_backbone():
    model = built()
    count = len(backbone_layers(model))
    boundary = apply_stage(model, 0.2, optimizer=keras.optimizers.Adam(), loss=keras.losses.BinaryCrossentropy())
    assert boundary.backbone_layers_trainable == -(-count // 5)
    assert boundary.batchnorm_layers_held == 2
    assert "last" in boundary.layers_trainable and "first" not in boundary.layers_trainable
    parts = partition(model)
    assert parts is not None and parts.prefix.weights
    gray = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 1)).astype(np.float32)
    stored = parts.suffix.predict(parts.prefix.predict(gray, verbose=0), verbose=0)
    np.testing.assert_allclose(stored, model.predict(gray, verbose=0), atol=1e-5)


def test_batchnorm_inside_of_code_of_its_own_is_held_and_takes_statistics():
    model = built(backbone=Opaque())
    assert freeze(model, 1.0) == 0
    (inner,) = [each for layer in backbone_layers(model) for each in batchnorm_layers(layer)]
    assert not inner.trainable and not inner.trainable_weights
    before = keras.ops.convert_to_numpy(inner.moving_mean)
    rng = np.random.default_rng(0)
    assert adapt_batchnorm(model, [rng.uniform(0, 255, (4, 32, 32, 1)).astype(np.float32) for _ in range(3)]) == 1
    assert np.abs(keras.ops.convert_to_numpy(inner.moving_mean) - before).max() > 1e-4
    freeze(model, 1.0, "trained")
    assert inner.trainable


def test_statistics_of_every_branch_are_taken_where_a_sum_comes_last():
    pixels = keras.Input((32, 32, 1))
    branch = [keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 3)(pixels)) for _ in range(2)]
    model = built(backbone=keras.Model(pixels, branch[0] + branch[1]))
    gray = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 1)).astype(np.float32)
    assert adapt_batchnorm(model, [gray]) == 2
    for layer in backbone_layers(model):
        for each in batchnorm_layers(layer):
            assert np.abs(keras.ops.convert_to_numpy(each.moving_mean)).max() > 1e-3


HEADS = {
    "a layer": lambda: keras.layers.Dense(2, activation="sigmoid"),
    "a Sequential without an input": lambda: keras.Sequential(
        [keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2, activation="sigmoid")]
    ),
    "a Sequential of the feature map": lambda: keras.Sequential(
        [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(2, activation="sigmoid")]
    ),
    "a model of the pooled features": lambda: keras.Sequential(
        [keras.Input((6,)), keras.layers.Dropout(0.5), keras.layers.Dense(2, activation="sigmoid")]
    ),
    "a model of the feature map": lambda: _of_map(),
}


def _of_map():
    features = keras.Input((None, None, 6))
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(features, keras.layers.Dense(2, activation="sigmoid")(pooled))


@pytest.mark.parametrize("name", HEADS)
def test_a_head_takes_the_feature_map_or_its_average_and_is_found_by_its_layers_names(name):
    model = built(head=HEADS[name]())
    assert model.output_shape == (None, 2)
    added = [layer.name for layer in model.layers if layer.name.startswith("head_")]
    assert "head_probability" in added and "head_pool" in added
    assert len([layer for layer in model.layers if "pooling" in type(layer).__name__.lower()]) == 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    (
        ({"head": keras.layers.Dense(3, activation="sigmoid")}, ValueError, r"gives \(3,\) numbers"),
        ({"head": keras.layers.Dense(2)}, ValueError, "sigmoid"),
        ({"head": keras.layers.Dense(2, activation="softmax")}, ValueError, "softmax"),
        ({"head": keras.layers.Activation("sigmoid")}, ValueError, "no weights to train|numbers for an image"),
        ({"head": keras.layers.Conv2D(2, 3)}, ValueError, "makes no probabilities"),
        ({"head": keras.Sequential([keras.Input((9,)), keras.layers.Dense(2)])}, ValueError, "makes no probabilities"),
        ({"head": 3}, TypeError, "head"),
        ({"head": keras.layers.Dense}, TypeError, "head"),
        ({"backbone": keras.layers.GlobalAveragePooling2D()}, ValueError, "a feature map"),
        ({"backbone": branches(2)}, ValueError, "2 channels"),
        ({"backbone": keras.Sequential([keras.Input((9,)), keras.layers.Dense(2)])}, ValueError, "images"),
        ({"backbone": branches(), "input_range": None}, ValueError, "never guessed"),
        ({"backbone": branches(), "input_range": "imagenet"}, ValueError, "three channels"),
        ({"backbone": print}, TypeError, "backbone"),
        ({"backbone": "SmallCNN"}, ValueError, "for a Keras object as backbone"),
    ),
)
def test_what_is_no_backbone_or_head_is_refused_with_the_way_out(options, error, words):
    with pytest.raises(error, match=words):
        built(**options)


def test_a_fingerprint_knows_no_names_that_keras_counts_and_no_seeds_but_every_setting():
    first, second = branches(), branches()
    assert first.get_layer("first").name == second.get_layer("first").name
    assert digest(recorded(first, "backbone")) == digest(recorded(second, "backbone"))
    rotation = [keras.layers.RandomRotation(factor, seed=seed) for factor, seed in ((0.1, 1), (0.1, 2), (0.2, 1))]
    prints = [digest(recorded(layer, "augment")) for layer in rotation]
    assert prints[0] == prints[1] != prints[2]


def test_a_record_makes_the_object_again_and_code_without_a_name_is_refused():
    loss = keras.losses.BinaryFocalCrossentropy(gamma=3.0)
    again = rebuilt(recorded(loss, "loss"), "loss")
    assert again.get_config() == loss.get_config()

    class Unregistered(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred

    for value in (Unregistered(), keras.layers.Lambda(lambda x: x)):
        with pytest.raises(ValueError, match="register_keras_serializable"):
            recorded(value, "loss")


def test_names_of_the_classifiers_own_layers_are_left_to_it():
    pixels = keras.Input((32, 32, 1), name="pixels")
    base = keras.Model(pixels, keras.layers.Conv2D(2, 3, name="head_pool")(pixels))
    model = built(backbone=base)
    assert "given_head_pool" in [layer.name for layer in backbone_layers(model)]
    assert given.free_name("preprocess_unit") == "given_preprocess_unit"
