"""Weights of PyTorch in Keras' DenseNet: the same outputs as an independent computation, whatever the file's layout."""

import json

import keras
import numpy as np
import pytest

from chexkeras.models import backbones
from chexkeras.models.classifier import build_classifier
from chexkeras.models.weights import densenet, opening
from tests.models.weights.torch_files import TorchFile, forward, random_densenet, text

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def network():
    """Keras' DenseNet121 without top, for small images."""
    pixels = keras.Input((32, 32, 3))
    return keras.Model(pixels, backbones.BACKBONES["DenseNet121"].build(pixels, None))


def deviation(found, expected):
    """Largest difference, relative to the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def outputs(network, file, images, source=None):
    name = file if source is None else source
    found = opening.find("DenseNet121", name, None if source is None else file)
    opening.put(found, "DenseNet121", network)
    return found, np.moveaxis(keras.ops.convert_to_numpy(network(np.moveaxis(images, 1, 3), training=False)), 3, 1)


LAYOUTS = {
    "state dictionary": lambda file, arrays: file.state_dict(arrays),
    "checkpoint": lambda file, arrays: b"}(" + text("epoch") + b"K\x05" + text("state_dict") + file.state_dict(
        {f"module.{key}": array for key, array in arrays.items()}
    ) + b"u",
    "whole model": lambda file, arrays: file.module("torchxrayvision.models DenseNet", arrays),
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "before 1.6"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_network_gives_what_the_weights_give_elsewhere(network, tmp_path, layout, legacy):
    weights = random_densenet(seed=1)
    file = TorchFile(legacy)
    path = file.save(tmp_path / "densenet121.pth", LAYOUTS[layout](file, weights))
    images = np.random.default_rng(2).normal(size=(1, 3, 32, 32))
    found, given = outputs(network, path, images)
    assert deviation(given, forward(weights, images)) < 1e-4
    assert (found.layout, found.normalisation, found.gray) == ("PyTorch", "imagenet", False)


def test_one_gray_channel_becomes_three_equal_ones(network, tmp_path):
    weights, file = random_densenet(channels=1, seed=3), TorchFile(legacy=True)
    path = file.save(tmp_path / "nih.pt", file.module("torchxrayvision.models DenseNet", weights))
    gray = np.random.default_rng(4).uniform(-1024, 1024, (1, 1, 32, 32))
    found, given = outputs(network, path, np.repeat(gray, 3, axis=1))
    assert deviation(given, forward(weights, gray)) < 1e-4
    assert (found.normalisation, found.gray) == ("signed_1024", True)
    assert "three equal channels" in found.conversion


def test_a_classifier_scales_its_pixels_as_the_source_does(tmp_path):
    weights, file = random_densenet(channels=1, seed=5), TorchFile()
    path = file.save(tmp_path / "nih.pt", file.state_dict(weights))
    model = build_classifier("Mass", weights="xrv-pc", weights_file=path, image_size=32, precision="float32")
    images = np.random.default_rng(6).integers(0, 256, (1, 32, 32, 1)).astype(np.float32)
    features = keras.Model(model.input, model.get_layer("relu").output)(images, training=False)
    # As torchxrayvision scales images of 8 bits: black is -1024, white 1024.
    scaled = (2 * (images / 255) - 1) * 1024
    expected = forward(weights, np.moveaxis(scaled, 3, 1))
    assert deviation(np.moveaxis(keras.ops.convert_to_numpy(features), 3, 1), expected) < 1e-4


def test_pixels_of_radimagenet(tmp_path):
    pixels = keras.Input((1, 1, 1))
    scaled = keras.Model(pixels, backbones.normalise(pixels, "caffe_255"))
    given = scaled.predict(np.array([[[[0.0]]], [[[255.0]]]]), verbose=0)[:, 0, 0]
    # preprocess_input subtracts the means of blue, green and red, and rescale=1/255 follows.
    means = np.array([103.939, 116.779, 123.68])
    np.testing.assert_allclose(given, [-means / 255, (255 - means) / 255], rtol=1e-5)


def test_the_difference_of_epsilons_goes_into_the_variance():
    weights = random_densenet()
    features = densenet.features_of(weights)
    converted = densenet.converted(features, "DenseNet121", 1.001e-5)
    variance = converted["conv1_bn"][3].astype(float) + 1.001e-5
    np.testing.assert_allclose(variance, weights["features.norm0.running_var"].astype(float) + 1e-5, rtol=1e-6)
    kernel = converted["conv3_block2_2_conv"][0]
    np.testing.assert_array_equal(
        kernel[2, 0, 5, 7], weights["features.denseblock2.denselayer2.conv2.weight"][7, 5, 2, 0]
    )


def test_keys_of_old_versions_and_of_others_are_mapped(network, tmp_path):
    weights = random_densenet(seed=7)
    old = {
        key.replace("norm1.", "norm.1.").replace("norm2.", "norm.2.").replace("conv1.", "conv.1.").replace(
            "conv2.", "conv.2."
        ): array
        for key, array in weights.items()
    }  # fmt: skip
    old = {key.replace("features.conv0", "encoder.stem"): array for key, array in old.items()}
    old = {key.replace("features.", "encoder."): array for key, array in old.items()}
    assert "encoder.denseblock1.denselayer1.norm.1.weight" in old
    file = TorchFile()
    path = file.save(tmp_path / "chexpert.ckpt", file.state_dict(old))
    description = tmp_path / "mine.json"
    description.write_text(
        json.dumps(
            {
                "name": "mine",
                "seen": ["CheXpert"],
                "normalisation": "unit",
                "keys": {"encoder.": "features.", "encoder.stem.": "features.conv0."},
            }
        )
    )
    images = np.random.default_rng(8).normal(size=(1, 3, 32, 32))
    found, given = outputs(network, path, images, source=description)
    assert deviation(given, forward(weights, images)) < 1e-4
    assert found.normalisation == "unit"
    assert [entry["dataset"] for entry in found.record()["seen"]] == ["CheXpert"]
    with pytest.raises(ValueError, match=r"no array's key ends in conv0\.weight"):
        opening.find("DenseNet121", path)


def test_arrays_that_are_views_are_read_as_they_lie(tmp_path):
    whole = np.arange(24, dtype=np.float32)
    file = TorchFile()
    content = b"}(" + text("a") + file.tensor(whole, strides=(1, 6), offset=2, shape=(3, 3)) + b"u"
    from chexkeras.models.weights.pytorch import read_pytorch

    found = read_pytorch(file.save(tmp_path / "views.pt", content))["a"]
    np.testing.assert_array_equal(found, [[2, 8, 14], [3, 9, 15], [4, 10, 16]])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions_are_read(tmp_path, dtype):
    from chexkeras.models.weights.pytorch import read_pytorch

    array = np.array([0.5, -2.0, 3.0], dtype)
    file = TorchFile()
    found = read_pytorch(file.save(tmp_path / "a.pt", file.state_dict({"a": array})))
    np.testing.assert_array_equal(found["a"], array)


def test_safetensors_give_the_same_arrays(network, tmp_path):
    weights = random_densenet(seed=9)
    listed, content = {"__metadata__": {"format": "pt"}}, b""
    for key, array in weights.items():
        kind = "I64" if array.dtype == np.int64 else "F32"
        begin = len(content)
        content += array.tobytes()
        listed[key] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, len(content)]}
    header = json.dumps(listed).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)
    images = np.random.default_rng(10).normal(size=(1, 3, 32, 32))
    found, given = outputs(network, path, images)
    assert deviation(given, forward(weights, images)) < 1e-4
    assert found.layout == "safetensors"
