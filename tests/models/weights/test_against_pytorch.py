"""The same weights in PyTorch and in Keras, by the publishers' own classes; skipped where these are not installed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from chexkeras.models import backbones
from chexkeras.models.classifier import build_classifier
from chexkeras.models.weights import opening

pytestmark = [pytest.mark.keras, pytest.mark.slow]
PROGRAM = Path(__file__).with_name("by_pytorch.py")
RELATIVE = 1e-4


def made_by_pytorch(name, folder, *packages):
    """Returns a file of weights with the images and features that PyTorch computed from it."""
    for package in ("torch", "torchvision", *packages):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install torch torchvision torchxrayvision")
    file, expected = folder / "weights.pt", folder / "expected.npz"
    subprocess.run([sys.executable, PROGRAM, name, file, expected], check=True)
    stored = np.load(expected)
    return file, stored["images"], stored["features"]


def deviation(found, expected):
    found = np.moveaxis(keras.ops.convert_to_numpy(found), 3, 1)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "network", "source"),
    [
        ("torchvision", "DenseNet121", None),
        ("torchvision before 1.6", "DenseNet121", None),
        ("torchvision 169", "DenseNet169", None),
        ("torchvision 201", "DenseNet201", None),
        ("checkpoint", "DenseNet121", None),
        ("radimagenet", "DenseNet121", "radimagenet-torch"),
    ],
)
def test_colour_networks(tmp_path, name, network, source):
    file, images, expected = made_by_pytorch(name, tmp_path)
    pixels = keras.Input((64, 64, 3))
    found = opening.find(network, source or file, file if source else None)
    model = keras.Model(pixels, backbones.attach(backbones.BACKBONES[network], pixels, found))
    differs = deviation(model(np.moveaxis(images, 1, 3), training=False), expected)
    assert differs < RELATIVE


@pytest.mark.parametrize("name", ["torchxrayvision", "torchxrayvision before 1.6"])
def test_torchxrayvision(tmp_path, name):
    file, images, expected = made_by_pytorch(name, tmp_path, "torchxrayvision")
    model = build_classifier("Mass", weights="xrv-pc", weights_file=file, image_size=64, precision="float32")
    features = keras.Model(model.input, model.get_layer("relu").output)
    differs = deviation(features(images, training=False), expected)
    assert differs < RELATIVE
