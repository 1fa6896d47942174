"""Weights as keras-hub has them, put into our layers: the same features as keras-hub's own network gives."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import chexkeras
from chexkeras.models.classifier import build_classifier
from chexkeras.models.vit import published
from chexkeras.models.vit.network import patch_features
from chexkeras.models.vit.sizes import SIZES, MissingPackage, VisionTransformer

pytestmark = [pytest.mark.keras, pytest.mark.slow]

needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="keras-hub is not installed: pip install 'chexkeras[hub]'"
)
TINY = {
    "dinov2": VisionTransformer("TinyTwo", "dinov2", "none", 32, 3, 2, 14, trained_grid=4),
    "dinov3": VisionTransformer("TinyThree", "dinov3", "none", 32, 3, 2, 16, 4, trained_grid=4),
}


def theirs_and_ours(size):
    """Returns keras-hub's network with random numbers in every weight, and ours, for images of as many patches."""
    theirs = published.hub_backbone(published.keras_hub(size), size)
    draw = np.random.default_rng(0)
    for weight in theirs.weights:
        weight.assign(draw.normal(0, 0.3, weight.shape))
    if not size.rotary:
        theirs.embeddings.interpolated_position_embeddings.assign(theirs.embeddings.position_embeddings)
    return theirs, ours(size, size.trained_grid)


def ours(size, grid):
    pixels = keras.Input((grid * size.patch, grid * size.patch, 3))
    return keras.Model(pixels, patch_features(pixels, size))


def patches_of(theirs, size, images):
    (name,) = theirs.input
    return np.asarray(theirs({name: images}))[:, 1 + size.registers :]


def normalised(side):
    return np.random.default_rng(4).normal(size=(2, side, side, 3)).astype(np.float32)


@needs_hub
@pytest.mark.parametrize("family", TINY)
def test_features_are_those_of_keras_hub(family, tmp_path):
    size = TINY[family]
    theirs, model = theirs_and_ours(size)
    published.put(model, size, theirs)
    images = normalised(model.input_shape[1])
    expected = patches_of(theirs, size, images)
    np.testing.assert_allclose(np.asarray(model(images)).reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    theirs.save_weights(tmp_path / "model.weights.h5")
    again = ours(size, size.trained_grid)
    published.load(again, size, tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(np.asarray(again(images)), np.asarray(model(images)))


@needs_hub
@pytest.mark.parametrize("family", TINY)
def test_other_image_sizes_give_what_keras_hub_gives(family, tmp_path):
    size, grid = TINY[family], 6
    theirs, _ = theirs_and_ours(size)
    theirs.save_weights(tmp_path / "model.weights.h5")
    side = grid * size.patch
    config = {**theirs.get_config(), "image_shape": (side, side, 3)}
    larger = type(theirs).from_config(config)
    larger.load_weights(tmp_path / "model.weights.h5")
    model = ours(size, grid)
    published.load(model, size, tmp_path / "model.weights.h5")
    images = normalised(side)
    expected = patches_of(larger, size, images)
    np.testing.assert_allclose(np.asarray(model(images)).reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)


@needs_hub
def test_configurations_are_the_published_ones():
    hub = published.keras_hub(SIZES[0])
    stated = {**hub.models.DINOV2Backbone.presets, **hub.models.DINOV3Backbone.presets}
    assert {size.preset for size in SIZES} <= set(stated)
    # To the number for DINOv2, for whose presets keras-hub states it exactly.
    small = published.hub_backbone(hub, SIZES[0])
    assert small.count_params() == stated["dinov2_small"]["metadata"]["params"]


@needs_hub
def test_another_size_is_refused_and_changes_nothing():
    theirs, _ = theirs_and_ours(TINY["dinov3"])
    wide = VisionTransformer("Wide", "dinov3", "none", 64, 3, 2, 16, 4)
    model = ours(wide, 2)
    before = model.get_weights()
    with pytest.raises(ValueError, match="do not fit Wide"):
        published.put(model, wide, theirs)
    assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))


def test_a_missing_package_is_told_in_a_sentence(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "keras_hub" else found(name))
    with pytest.raises(MissingPackage, match=r"DINOv3Small need keras-hub.*pip install 'chexkeras\[hub\]'"):
        build_classifier("Mass", backbone="DINOv3Small", weights="dinov3", image_size=32)


def test_nothing_imports_keras_hub_by_itself():
    code = (
        "import sys, chexkeras.models.vit.network, chexkeras.models.vit.published; sys.exit('keras_hub' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@needs_hub
def test_tensorflow_text_is_not_imported(tmp_path):
    """With a package of that name which ends the program."""
    (tmp_path / "tensorflow_text").mkdir()
    (tmp_path / "tensorflow_text" / "__init__.py").write_text("raise SystemExit('imported')")
    code = (
        "import sys\n"
        "from chexkeras.models.vit import published\n"
        "from chexkeras.models.vit.sizes import SIZES\n"
        "published.keras_hub(SIZES[0])\n"
        "sys.exit('tensorflow_text' in sys.modules)\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(chexkeras.__file__).parents[1])])
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}).returncode == 0
