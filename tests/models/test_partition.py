import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from chexkeras.models.partition import first_changing, frozen_share, partition

pytestmark = pytest.mark.keras

# The package has a function of the same name.
module = importlib.import_module("chexkeras.models.partition")


def dense_network(blocks=3, activation="relu"):
    """Returns a small network of DenseNet's shape whose first block is frozen, BatchNorm far from its defaults."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 6, 2))
    values = keras.layers.Conv2D(5, 3, padding="same", name="stem")(inputs)
    for block in range(1, blocks + 1):
        added = keras.layers.BatchNormalization(name=f"b{block}_bn0")(values)
        added = keras.layers.Activation(activation, name=f"b{block}_act0")(added)
        added = keras.layers.Conv2D(4, 1, use_bias=False, name=f"b{block}_conv1")(added)
        added = keras.layers.BatchNormalization(name=f"b{block}_bn1")(added)
        added = keras.layers.Activation("relu", name=f"b{block}_act1")(added)
        added = keras.layers.Conv2D(3, 3, padding="same", use_bias=False, name=f"b{block}_conv2")(added)
        values = keras.layers.Concatenate(name=f"b{block}_concat")([values, added])
    values = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="bn")(values))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(values)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="sigmoid", name="head")(pooled))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights([*(rng.normal(0.5, 0.5, size) for _ in range(3)), rng.uniform(0.5, 2, size)])
            layer.trainable = False
    for name in ("stem", "b1_conv1", "b1_conv2"):
        model.get_layer(name).trainable = False
    return model


def gradients(model, inputs, labels):
    with tf.GradientTape() as tape:
        loss = keras.losses.BinaryCrossentropy()(labels, model(inputs))
    return tape.gradient(loss, [variable.value for variable in model.trainable_variables])


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_output_and_gradients_are_those_of_the_graph_itself(activation):
    model = dense_network(activation=activation)
    parts = partition(model)
    assert parts.crossing == "b1_concat"
    plain = keras.Model(model.get_layer("b1_concat").output, model.output)
    assert [id(one) for one in parts.suffix.trainable_variables] == [id(one) for one in plain.trainable_variables]
    rng = np.random.default_rng(1)
    features = tf.constant(rng.normal(0, 1, (4, 6, 6, 8)).astype(np.float32))
    labels = np.array([[0, 1], [1, 0], [1, 1], [0, 0]], np.float32)
    np.testing.assert_allclose(parts.suffix(features), plain(features), rtol=1e-5)
    for ours, theirs in zip(gradients(parts.suffix, features, labels), gradients(plain, features, labels), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-7)


def test_constant_channels_are_kept_apart_through_every_block(monkeypatch):
    widths, real = [], module._normalised

    def noted(layer, values, start, stop):
        widths.append((layer.name, values.shape[-1]))
        return real(layer, values, start, stop)

    monkeypatch.setattr(module, "_normalised", noted)
    partition(dense_network()).suffix(np.zeros((1, 6, 6, 8), np.float32))
    assert widths == [("b3_bn0", 8), ("b3_bn0", 3), ("bn", 8), ("bn", 6)]


def test_building_it_twice_leaves_the_classifier_as_it_was():
    model = dense_network()
    assert partition(model).crossing == partition(model).crossing
    features = np.zeros((2, 6, 6, 8), np.float32)
    partition(model).suffix.predict(features, verbose=0)
    assert len(model.layers) == len(keras.models.clone_model(model).layers)
    assert model.get_layer("b3_conv1").output.shape == (None, 6, 6, 4)


def test_frozen_share_counts_multiplications_by_hand():
    inputs = keras.Input((4, 4, 1))
    first = keras.layers.Conv2D(2, 3, padding="same", name="first")(inputs)
    second = keras.layers.Conv2D(3, 1, name="second")(first)
    pooled = keras.layers.GlobalAveragePooling2D()(second)
    model = keras.Model(inputs, keras.layers.Dense(5)(pooled))
    prefix = keras.Model(inputs, first)
    assert frozen_share(model, prefix) == pytest.approx(9 * 2 * 16 / (9 * 2 * 16 + 2 * 3 * 16 + 15))
    assert first_changing(model).name == "first"
