"""Every backbone and head of the registries gives heat maps, and the same on every Keras backend."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from chexkeras.explanation.explain import map_network, maps_of
from chexkeras.explanation.methods import METHODS
from chexkeras.models.backbones import BACKBONES, register_backbone
from chexkeras.models.classifier import build_classifier
from chexkeras.models.heads import HEADS

ALWAYS = ("SmallCNN", "VGG16", "ResNet50", "ConvNeXtTiny")
"""One of each way of building; the others take up to ten seconds each."""

SIZE = 64


def untrained(**given):
    patch = BACKBONES[given["backbone"]].patch or 1
    return build_classifier(("A", "B"), weights=None, image_size=SIZE // patch * patch, precision="float32", **given)


def check_maps_of(model):
    """Maps of both findings: finite, not the same everywhere, with the model's own scores."""
    images = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:])).astype(np.float32)
    network = map_network(model, METHODS["gradcam"])
    rows, columns = network.model.get_layer("head_pool").input.shape[1:3]
    assert rows == columns >= 2
    expected = np.asarray(model(images, training=False))
    for method in ("gradcam", "hirescam"):
        maps, scores = maps_of(network, METHODS[method], images, [0, 1], 2)
        assert maps.shape == (2, 2, rows, columns) and np.isfinite(maps).all()
        # A score is rounded otherwise in another graph of the same network.
        np.testing.assert_allclose(scores, expected, atol=1e-3)
    assert (np.ptp(maps, axis=(2, 3)) > 0).all()


@pytest.mark.keras
@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.release) for name in BACKBONES]
)
def test_every_backbone_gives_heat_maps(name, run_eagerly):
    check_maps_of(untrained(backbone=name))


@pytest.mark.keras
@pytest.mark.parametrize("head", HEADS)
def test_every_head_gives_heat_maps(head, run_eagerly):
    check_maps_of(untrained(backbone="SmallCNN", head=head))


def test_a_backbone_without_rows_and_columns_left_is_told_in_one_sentence():
    def to_one_place(pixels):
        import keras

        return keras.layers.Conv2D(4, 32, name="whole_image")(pixels)

    register_backbone("ToOnePlace", to_one_place)
    model = build_classifier(("A",), backbone="ToOnePlace", weights=None, image_size=32, precision="float32")
    with pytest.raises(
        ValueError, match="gives one row and one column for images of 32 pixels: there is nothing to map"
    ):
        map_network(model, METHODS["gradcam"])


WORK = """
import json, sys
import keras, numpy as np
from chexkeras.explanation.explain import map_network, maps_of
from chexkeras.explanation.methods import METHODS
from chexkeras.models.classifier import build_classifier

folder = sys.argv[1]
model = build_classifier(("A", "B"), backbone="SmallCNN", weights=None, image_size=64, head="three_layer",
                         precision="float32")
if keras.backend.backend() == "tensorflow":
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    # Statistics of BatchNorm that differ from where they begin.
    model.set_weights([w * rng.uniform(0.9, 1.1, w.shape).astype(w.dtype) for w in model.get_weights()])
    model.save_weights(folder + "/same.weights.h5")
model.load_weights(folder + "/same.weights.h5")
images = np.random.default_rng(1).uniform(0, 255, (3, 64, 64, 1)).astype(np.float32)
found = {}
for name, entry in METHODS.items():
    if entry.linear_only:
        continue
    for layer in (None,) if entry.formula is None else (None, "block3_pool"):
        maps, scores = maps_of(map_network(model, entry, layer), entry, images, [0, 1], 4)
        found[f"{name}/{layer}"] = maps
        found["scores"] = scores
np.savez(folder + f"/{keras.backend.backend()}.npz", **found)
print(json.dumps({"backend": keras.backend.backend()}))
"""


@pytest.fixture(scope="module")
def maps_on(tmp_path_factory):
    """Makes the maps of one model under a backend, in a process of its own; TensorFlow's come first."""
    folder = tmp_path_factory.mktemp("backends")

    def made(backend):
        if not (folder / f"{backend}.npz").is_file():
            environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
            done = subprocess.run(
                [sys.executable, "-c", WORK, str(folder)], capture_output=True, text=True, env=environment, check=False
            )
            assert done.returncode == 0, done.stderr[-3000:]
            assert json.loads(done.stdout.splitlines()[-1]) == {"backend": backend}
        return dict(np.load(folder / f"{backend}.npz"))

    return made


@pytest.mark.keras
@pytest.mark.slow
@pytest.mark.release
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_backend_gives_the_maps_of_tensorflow(maps_on, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed (the extra of that name)")
    expected, found = maps_on("tensorflow"), maps_on(backend)
    assert set(found) == set(expected) and len(found) >= 8
    apart = {}
    for name, maps in expected.items():
        # Maps are read on their own scale, from 0 to their highest value; what occlusion takes from a logit is the
        # difference of two logits of about 1, each rounded.
        largest = 1.0 if name.startswith("occlusion") else np.abs(maps).max()
        assert largest > 0, name
        apart[name] = float(np.abs(found[name] - maps).max() / largest)
    assert max(apart.values()) < 1e-4, apart
