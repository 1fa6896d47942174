import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from chexkeras.models.classifier import build_classifier
from chexkeras.models.exposure import layers
from chexkeras.models.exposure.entries import EXPOSURES
from chexkeras.models.exposure.layers import MEAN, SPREAD, Equalise, Smooth, Standardise, Stretch
from chexkeras.models.partition import partition
from chexkeras.models.stages import backbone_layers, freeze
from chexkeras.models.stored.model_file import load_model

pytestmark = pytest.mark.keras
EACH = [Standardise, Stretch, Equalise]


def film(seed=0, side=40):
    """A smooth image with noise, a black border and white markers, as float32 (1, side, side, 1)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    image = 70 + 60 * np.sin(3 * rows) * np.cos(2 * columns) + rng.normal(0, 5, (side, side))
    image = np.clip(np.rint(image), 20, 200)
    image[:, :4] = 0
    image[2:5, 30:36] = 215
    return image[None, ..., None].astype(np.float32)


def shown(layer, image):
    return keras.ops.convert_to_numpy(layer(image))


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize(("factor", "offset"), [(1.0, 40.0), (0.7, 0.0), (1.15, -0.0), (0.5, 90.0)])
def test_another_brightness_and_contrast_of_a_whole_image_give_the_same(kind, inner, factor, offset):
    layer, image = kind(inner), film()
    # Ranks are counted in 1,024 steps of the image's range, where rounding may move a value by a step.
    np.testing.assert_allclose(shown(layer, factor * image + offset), shown(layer, image), atol=0.01)


@pytest.mark.parametrize("gamma", [0.7, 1.4])
@pytest.mark.parametrize("inner", [False, True])
def test_ranks_bear_any_gamma_and_mean_and_spread_do_not(gamma, inner):
    image = film()
    changed = 255 * (image / 255) ** gamma
    whole = np.abs(shown(Equalise(), changed) - shown(Equalise(), image))
    assert np.quantile(whole, 0.99) < 1.0
    assert np.abs(shown(Standardise(inner), changed) - shown(Standardise(inner), image)).max() > 2.0


def test_mean_and_spread_are_those_that_are_aimed_at():
    found = shown(Standardise(), film())
    assert found.mean() == pytest.approx(MEAN, abs=0.01)
    assert found.std() == pytest.approx(SPREAD, abs=0.01)


def test_percentiles_become_black_and_white_as_numpy_counts_them():
    image = film()
    low, high = np.percentile(image, (2, 98))
    expected = np.clip(255 * (image - low) / (high - low), 0, 255)
    np.testing.assert_allclose(shown(Stretch(), image), expected, atol=0.01)


def test_a_rank_is_the_share_of_darker_pixels_and_equal_ones_share_theirs():
    image = np.array([[10, 10, 20], [20, 20, 20], [30, 40, 50]], np.float32)[None, ..., None]
    expected = 255 * np.array([[1, 1, 4], [4, 4, 4], [6.5, 7.5, 8.5]]) / 9
    np.testing.assert_allclose(shown(Equalise(), image)[0, ..., 0], expected, atol=1e-3)


@pytest.mark.parametrize("kind", EACH)
def test_border_and_markers_change_nothing_where_they_are_left_out(kind):
    bare = film()[:, 6:, 4:28]
    framed = np.pad(bare, ((0, 0), (3, 3), (8, 8), (0, 0)), constant_values=0.0)
    framed[:, :3] = 255.0
    inside = (slice(None), slice(3, -3), slice(8, -8))
    found, expected = shown(kind(True), framed)[inside], shown(kind(True), bare)
    # The bare image has a black and a white of its own, a few pixels that are not measured in it.
    assert np.abs(found - expected).mean() < 6
    assert np.abs(shown(kind(False), framed)[inside] - expected).mean() > 12


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("level", [0.0, 77.0, 255.0])
def test_an_even_image_stays_even_and_a_nearly_even_one_is_not_torn_apart(kind, inner, level):
    even = np.full((2, 16, 16, 1), level, np.float32)
    found = shown(kind(inner), even)
    assert np.isfinite(found).all()
    assert np.ptp(found) == 0
    nearly = even.copy()
    nearly[0, 3, 3] += 1.0 if level < 255 else -1.0
    found = shown(kind(inner), nearly)
    assert np.isfinite(found).all()
    assert np.ptp(found) <= 35


@pytest.mark.parametrize("kind", [*EACH, Smooth])
def test_an_image_gives_the_same_alone_in_a_batch_and_compiled(kind):
    import tensorflow as tf

    images = np.concatenate([film(seed) for seed in range(3)])
    layer = kind()
    expected = shown(layer, images)
    np.testing.assert_allclose(np.concatenate([shown(layer, images[n : n + 1]) for n in range(3)]), expected, atol=0.01)
    np.testing.assert_allclose(tf.function(layer)(images), expected, atol=0.01)


def test_smoothing_is_a_gaussian_that_leaves_even_images_alone():
    from scipy import ndimage

    image = film()
    # SciPy repeats the pixel at the edge ("mirror" does not).
    expected = ndimage.gaussian_filter(image[0, ..., 0].astype(float), 2.0, mode="mirror", radius=6)
    np.testing.assert_allclose(shown(Smooth(2.0), image)[0, ..., 0], expected, atol=0.01)
    even = np.full((1, 20, 20, 1), 88.0, np.float32)
    np.testing.assert_allclose(shown(Smooth(1.5), even), even, atol=1e-3)


def test_smoothing_takes_most_noise_away():
    noise = np.random.default_rng(0).normal(100, 20, (1, 64, 64, 1)).astype(np.float32)
    # White noise is divided by 2 sqrt(pi) sigma.
    assert shown(Smooth(2.0), noise).std() == pytest.approx(20 / (2 * np.sqrt(np.pi) * 2), rel=0.25)


@pytest.mark.parametrize("name", EXPOSURES)
def test_a_classifier_with_them_is_saved_and_loaded_with_the_same_scores(name, tmp_path):
    keras.utils.set_random_seed(0)
    options = {"backbone": "SmallCNN", "weights": None, "image_size": 40, "precision": "float32"}
    model = build_classifier("Pneumonia", exposure=name, smoothing=1.5, head="linear", **options)
    names = [layer.name for layer in model.layers]
    assert names.index("preprocess_smoothing") < names.index("preprocess_exposure") < names.index("preprocess_unit")
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    layer = again.get_layer("preprocess_exposure")
    assert (type(layer).__name__, layer.inner) == (EXPOSURES[name].layer, EXPOSURES[name].inner)
    assert again.get_layer("preprocess_smoothing").sigma_px == 1.5
    np.testing.assert_allclose(shown(again, film()), shown(model, film()), atol=1e-6)
    assert not layer.trainable_weights
    freeze(model, 0.0)
    assert next(layer.name for layer in backbone_layers(model)) == "pixels"
    parts = partition(model)
    found = shown(parts.suffix, parts.prefix(film()))
    np.testing.assert_allclose(found, shown(model, film()), atol=1e-5)


def test_without_them_a_classifier_is_what_it_was():
    keras.utils.set_random_seed(0)
    options = {"backbone": "SmallCNN", "weights": None, "image_size": 40, "precision": "float32"}
    plain = build_classifier("Pneumonia", **options)
    assert not any(layer.name in ("preprocess_exposure", "preprocess_smoothing") for layer in plain.layers)
    assert [layer.name for layer in plain.layers][:3] == ["pixels", "preprocess_channels", "preprocess_unit"]


def test_every_entry_has_its_layer_and_a_layer_of_either_extent():
    for entry in EXPOSURES.values():
        assert issubclass(getattr(layers, entry.layer), layers.ExposureLayer), entry.name
        assert entry.inner == entry.name.endswith("_inner")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Standardise()(keras.Input((None, 16, 1))), "both known"),
        (lambda: Equalise()(keras.Input((16, 16, 3))), r"it needs \(height, width, 1\)"),
        (lambda: Stretch(inner=1), "inner=1 must be true or false"),
        (lambda: Smooth(0), "sigma_px=0 must be a number above 0"),
        (lambda: Smooth(True), "sigma_px=True must be a number"),
        (lambda: Smooth(4.0)(keras.Input((12, 12, 1))), "above 12 pixels"),
        (lambda: build_classifier("Mass", exposure="standardize"), "did you mean 'standardise'"),
        (lambda: build_classifier("Mass", exposure=3), "exposure=3 must be text or None"),
        (lambda: build_classifier("Mass", smoothing=11), "smoothing=11 must be a number above 0 and at most 10"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


WORK = """
import json, sys
import keras, numpy as np
from chexkeras.models.exposure import layers
image = np.array(json.loads(sys.argv[1]), np.float32)
found = {}
for kind in (layers.Standardise, layers.Stretch, layers.Equalise):
    for inner in (False, True):
        found[kind.__name__ + str(inner)] = keras.ops.convert_to_numpy(kind(inner)(image)).ravel().tolist()
found["Smooth"] = keras.ops.convert_to_numpy(layers.Smooth(1.0)(image)).ravel().tolist()
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_they_do_the_same_on_other_backends(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    image = film(side=36)
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", WORK, json.dumps(image.tolist())], capture_output=True, text=True, env=environment,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    for kind in EACH:
        for inner in (False, True):
            expected = shown(kind(inner), image).ravel()
            np.testing.assert_allclose(told[f"{kind.__name__}{inner}"], expected, atol=0.05)
    np.testing.assert_allclose(told["Smooth"], shown(Smooth(1.0), image).ravel(), atol=0.01)
