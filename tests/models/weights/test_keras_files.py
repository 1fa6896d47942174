"""Files that Keras and tf_keras wrote: read exactly."""

import os
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest

from chexkeras.models import backbones
from chexkeras.models.weights import opening

pytestmark = pytest.mark.keras


def deviation(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def densenet(weights, size=32):
    pixels = keras.Input((size, size, 3))
    return keras.Model(pixels, backbones.attach(backbones.BACKBONES["DenseNet121"], pixels, weights))


def write_as_tf_keras(path, model, draw):
    """Writes random weights as tf_keras' `save_weights` lays a .h5 file out: a group a layer, names with ":0"."""
    written = {}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        for layer in model.layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [f"{layer.name}/{each.name}:0".encode() for each in layer.weights]
            written[layer.name] = []
            for each in layer.weights:
                array = draw.uniform(0.5, 1.5, each.shape).astype(np.float32)
                group.create_dataset(f"{layer.name}/{each.name}:0", data=array)
                written[layer.name].append(array)
    return written


def test_a_file_in_the_layout_of_tf_keras_is_read_exactly(tmp_path):
    path = tmp_path / "densenet121_notop.h5"
    written = write_as_tf_keras(path, densenet(None), np.random.default_rng(0))
    found = opening.find("DenseNet121", "radimagenet", path)
    assert (found.layout, found.normalisation, found.conversion) == ("Keras", "caffe_255", "none: Keras' own file")
    network = densenet(found)
    assert sum(len(arrays) for arrays in written.values()) == 604
    for layer in network.layers:
        for array, given in zip(written.get(layer.name, []), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(given, array)


@pytest.mark.parametrize("ending", [".h5", ".weights.h5"])
def test_keras_own_files_are_read_exactly(tmp_path, ending):
    keras.utils.set_random_seed(3)
    model, path = densenet(None), tmp_path / f"own{ending}"
    if ending == ".h5":
        written = write_as_tf_keras(path, model, np.random.default_rng(1))
        expected = [array for layer in model.layers for array in written[layer.name]]
    else:
        model.save_weights(path)
        expected = model.get_weights()
    for array, given in zip(expected, densenet(path).get_weights(), strict=True):
        np.testing.assert_array_equal(given, array)


def test_imagenets_file_offline_is_taken_for_what_it_is(tmp_path):
    path = tmp_path / "own.weights.h5"
    densenet(None).save_weights(path)
    found = opening.find("DenseNet121", "imagenet", path)
    assert found.record()["source"] == "imagenet"
    assert found.normalisation is None
    assert opening.find("DenseNet121", "imagenet") is None


TF_KERAS = """
import sys, numpy, tf_keras
tf_keras.utils.set_random_seed(1)
model = tf_keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(64, 64, 3))
for layer in model.layers:
    if isinstance(layer, tf_keras.layers.BatchNormalization):
        draw = numpy.random.default_rng(1)
        layer.set_weights([draw.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
model.save_weights(sys.argv[1])
images = numpy.random.default_rng(2).normal(size=(2, 64, 64, 3)).astype("float32")
numpy.savez(sys.argv[2], images=images, features=model(images, training=False).numpy())
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".h5", ".weights.h5"])
def test_tf_keras(tmp_path, ending):
    pytest.importorskip("tf_keras")
    file, expected = tmp_path / f"notop{ending}", tmp_path / "expected.npz"
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "1"}
    # In a program of its own: it and Keras do not share one TensorFlow well.
    subprocess.run([sys.executable, "-c", TF_KERAS, file, expected], check=True, env=environment)
    stored = np.load(expected)
    found = keras.ops.convert_to_numpy(densenet(file, size=64)(stored["images"], training=False))
    assert deviation(found, stored["features"]) < 1e-5
