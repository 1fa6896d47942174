"""The maps of a model whose true map is known, and formulas worked out by hand."""

import numpy as np
import pytest

from chexkeras.explanation.explain import map_network, maps_of
from chexkeras.explanation.methods import METHODS, grad_cam, grad_cam_plus_plus, hires_cam
from chexkeras.explanation.sanity_checks import rank_correlation


def made(model, images, method, layer=None):
    entry = METHODS.find(method, "method")
    return maps_of(map_network(model, entry, layer), entry, images, [0], batch_size=4 if len(images) <= 4 else 8)


def test_cam_and_hirescam_are_the_true_map_and_add_up_to_the_logit(bright_spot_model, spots):
    images, _ = spots
    truth = images[..., 0].reshape(6, 8, 4, 8, 4).mean(axis=(2, 4)) / 200
    for method in ("cam", "hirescam"):
        maps, scores = made(bright_spot_model, images, method)
        np.testing.assert_allclose(maps[:, 0], truth, rtol=1e-4, atol=1e-5)
        logits = np.log(scores / (1 - scores))[:, 0]
        np.testing.assert_allclose(maps[:, 0].sum(axis=(1, 2)) - 5, logits, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_place_that_the_score_rests_on(bright_spot_model, spots, method):
    images, places = spots
    maps, _ = made(bright_spot_model, images, method)
    side = maps.shape[2]
    for heat, (row, column) in zip(maps[:, 0], places, strict=True):
        top, left = divmod(int(heat.argmax()), side)
        assert (int((top + 0.5) * 8 / side), int((left + 0.5) * 8 / side)) == (row, column)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "occlusion"])
def test_every_method_agrees_with_occlusion_better_than_chance(bright_spot_model, method):
    images = np.random.default_rng(1).uniform(0, 60, (8, 8, 8, 1)).repeat(4, axis=1).repeat(4, axis=2)
    images = images.astype(np.float32)
    maps, _ = made(bright_spot_model, images, method)
    occluded, _ = made(bright_spot_model, images, "occlusion")
    coarse = occluded[:, 0]
    finer = maps[:, 0].repeat(7, axis=1).repeat(7, axis=2).reshape(8, 14, 4, 14, 4).mean(axis=(2, 4))
    assert min(rank_correlation(one, other) for one, other in zip(finer, coarse, strict=True)) > 0.3


def test_grad_cam_weighs_channels_by_their_mean_gradient_and_leaves_out_what_is_below_0():
    features = np.array([[[[1.0, 2.0], [3.0, 0.0]]]])
    gradients = np.array([[[[2.0, -1.0], [0.0, -3.0]]]])
    # Mean gradients 1 and -2: 1 - 4 and 3 - 0.
    np.testing.assert_allclose(grad_cam(features, gradients), [[[0.0, 3.0]]])
    np.testing.assert_allclose(hires_cam(features, gradients), [[[0.0, 0.0]]])


def test_grad_cam_plus_plus_by_hand():
    features = np.array([[[[1.0], [3.0]]]])
    gradients = np.array([[[[2.0], [-1.0]]]])
    # Shares: 4 / (8 + 4 * 8) and 1 / (2 + 4 * -1); rising gradients only: 0.1 * 2 + -0.5 * 0.
    np.testing.assert_allclose(grad_cam_plus_plus(features, gradients), [[[0.2, 0.6]]])


def test_hirescam_is_the_gradient_by_finite_differences():
    from chexkeras.models.classifier import build_classifier

    model = build_classifier(("A", "B"), backbone="SmallCNN", weights=None, image_size=32, head="three_layer")
    images = np.random.default_rng(2).uniform(0, 255, (1, 32, 32, 1)).astype(np.float32)
    network = map_network(model, METHODS["hirescam"], "block3_pool")
    seen = network.outputs(images, 1)
    (found,) = network.gradients(seen, [1])
    rng = np.random.default_rng(3)
    for _ in range(5):
        at = (0, *(int(rng.integers(length)) for length in seen.features.shape[1:]))
        ends = []
        for step in (0.01, -0.01):
            moved = seen.features.copy()
            moved[at] += step
            ends.append(float((network._rest(moved, training=False).numpy() @ network.kernel)[0, 1]))
        assert found[at] == pytest.approx((ends[0] - ends[1]) / 0.02, abs=1e-4)


def test_a_layer_that_does_not_cross_alone_is_mapped_too():
    """Inside a residual block another path runs beside the layer."""
    import keras

    pixels = keras.Input((32, 32, 1), name="pixels")
    first = keras.layers.Conv2D(4, 3, strides=4, padding="same", activation="relu", name="first")(pixels)
    beside = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="beside")(first)
    pooled = keras.layers.GlobalAveragePooling2D(name="head_pool")(keras.layers.Add(name="sum")([first, beside]))
    model = keras.Model(pixels, keras.layers.Dense(1, activation="sigmoid", name="head_probability")(pooled))
    images = np.random.default_rng(4).uniform(0, 2, (2, 32, 32, 1)).astype(np.float32)
    whole, alone = (made(model, images, "hirescam", layer)[0] for layer in ("sum", "beside"))
    (other,) = (made(model, images, "hirescam", "first")[0],)
    assert whole.shape == alone.shape == (2, 1, 8, 8)
    # What is added to both paths of a sum adds to the score through both; the second path is not linear.
    features = keras.Model(model.input, [model.get_layer(name).output for name in ("first", "beside", "sum")])
    first_, beside_, sum_ = (np.asarray(each) for each in features(images))
    weights = model.get_layer("head_probability").get_weights()[0][:, 0] / 64
    np.testing.assert_allclose(alone[:, 0], beside_ @ weights, atol=1e-6)
    np.testing.assert_allclose(whole[:, 0], sum_ @ weights, atol=1e-6)
    assert np.abs(other[:, 0] - first_ @ weights).max() > 1e-6
