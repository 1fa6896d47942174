"""Vision transformers as classifiers: their layers by a second, slower method, their stages, cuts and files."""

import keras
import numpy as np
import pytest

from chexkeras.explanation.network import MapNetwork, spatial_layers
from chexkeras.models.backbones import BACKBONES, register_backbone
from chexkeras.models.classifier import build_classifier
from chexkeras.models.partition import changes_in_training, partition
from chexkeras.models.stages import apply_stage, factors_of_blocks
from chexkeras.models.stored.model_file import load_model
from chexkeras.models.vit.layers import PatchMap, SelfAttention, Tokens, rotations
from chexkeras.models.vit.network import patch_features
from chexkeras.models.vit.sizes import VisionTransformer
from chexkeras.recipes.recipe import Recipe

pytestmark = pytest.mark.keras

TINY = {
    "dinov2": VisionTransformer("TinyTwo", "dinov2", "none", 16, 4, 2, 14, trained_grid=4),
    "dinov3": VisionTransformer("TinyThree", "dinov3", "none", 16, 4, 2, 16, 4),
}


@pytest.fixture
def classifier(request):
    size = TINY[request.param]
    register_backbone(size.name, lambda pixels: patch_features(pixels, size), "imagenet")
    keras.utils.set_random_seed(3)
    model = build_classifier(
        "Mass", backbone=size.name, weights=None, image_size=3 * size.patch, head="linear", precision="float32"
    )
    # Larger than initial weights are, so that every part tells.
    draw = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + draw.normal(0, 0.2, weight.shape))
    return model


@pytest.fixture
def images(classifier):
    side = classifier.input_shape[1]
    return np.random.default_rng(2).integers(0, 256, (4, side, side, 1)).astype(np.float32)


def compiled(model, trainable):
    return apply_stage(model, trainable, optimizer=keras.optimizers.SGD(0.1), loss=keras.losses.BinaryCrossentropy())


@pytest.mark.parametrize("classifier", TINY, indirect=True)
@pytest.mark.parametrize("first", ["block3_norm1", "block2_norm2", "norm"])
def test_stored_features_and_the_rest_are_the_whole(classifier, images, first):
    boundary = compiled(classifier, first)
    assert boundary.first_trainable_layer == first
    parts = partition(classifier)
    assert (
        classifier.get_layer(parts.crossing)
        is classifier.layers[classifier.layers.index(classifier.get_layer(first)) - 1]
    )
    assert not any(changes_in_training(layer) for layer in parts.prefix.layers)
    whole = classifier.predict(images, verbose=0)
    features = parts.prefix.predict(images, verbose=0)
    np.testing.assert_allclose(parts.suffix.predict(features, verbose=0), whole, rtol=1e-5, atol=1e-6)
    assert np.ptp(whole) > 1e-4


@pytest.mark.parametrize("classifier", TINY, indirect=True)
def test_what_is_trained_and_saved_is_what_is_loaded(classifier, images, tmp_path):
    compiled(classifier, "all")
    before = classifier.predict(images, verbose=0)
    classifier.fit(images, np.array([[0.0], [1.0], [1.0], [0.0]]), epochs=2, verbose=0)
    trained = classifier.predict(images, verbose=0)
    assert not np.allclose(before, trained, atol=1e-4)
    classifier.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "model.keras").predict(images, verbose=0), trained)


@pytest.mark.parametrize("classifier", TINY, indirect=True)
def test_heat_maps_are_made_of_patches(classifier, images):
    network = MapNetwork(classifier)
    assert network.layer == "patch_map" and network.is_linear
    seen = network.outputs(images, 4)
    assert seen.features.shape == (4, 3, 3, 16)
    assert network.gradients(seen, [0]).shape == (1, 4, 3, 3, 16)
    assert spatial_layers(classifier) == ("embed_patches", "patch_map")


@pytest.mark.parametrize("classifier", TINY, indirect=True)
def test_blocks_are_those_of_the_transformer(classifier):
    factors = factors_of_blocks(classifier, 0.5)
    assert list(factors) == ["pixels", "block1_norm1", "block2_norm1", "block3_norm1", "block4_norm1"]
    assert list(factors.values()) == [0.5**5, 0.5**4, 0.5**3, 0.5**2, 0.5]


def test_tokens_are_class_registers_patches():
    layer = Tokens(registers=2, positions=True)
    layer.build((None, 2, 2, 3))
    for weight, value in zip(layer.weights, (10.0, 20.0, 100.0), strict=True):
        weight.assign(np.full(weight.shape, value))
    patches = np.arange(12.0, dtype=np.float32).reshape(1, 2, 2, 3)
    tokens = np.asarray(layer(patches))
    assert tokens[0, :, 0].tolist() == [110.0, 20.0, 20.0, 100.0, 103.0, 106.0, 109.0]
    np.testing.assert_array_equal(PatchMap(2)(tokens), patches + 100.0)


@pytest.mark.parametrize("grid", [0, 2])
def test_attention_is_that_of_the_formula(grid):
    """Token by token and head by head, from the definition."""
    layer = SelfAttention(2, grid=grid, key_bias=False)
    tokens = np.random.default_rng(5).normal(size=(1, 6, 8)).astype(np.float32)
    layer.build(tokens.shape)
    draw = np.random.default_rng(6)
    for weight in layer.weights:
        weight.assign(draw.normal(0, 0.5, weight.shape))

    def turned(vector, patch):
        centre = [2 * (place + 0.5) / 2 - 1 for place in divmod(patch, 2)]
        angles = [2 * np.pi * axis * 100.0**-(0.0) for axis in centre]
        return np.concatenate(
            [
                [vector[i] * np.cos(angles[i]) - vector[i + 2] * np.sin(angles[i]) for i in range(2)],
                [vector[i + 2] * np.cos(angles[i]) + vector[i] * np.sin(angles[i]) for i in range(2)],
            ]
        )

    dense = {name: [np.asarray(w) for w in getattr(layer, f"{name}_dense").weights] for name in
             ("query", "key", "value", "output")}  # fmt: skip
    query, value = (tokens[0] @ dense[name][0] + dense[name][1] for name in ("query", "value"))
    key = tokens[0] @ dense["key"][0]
    gathered = np.zeros((6, 8))
    for head in (slice(0, 4), slice(4, 8)):
        q, k = query[:, head].copy(), key[:, head].copy()
        for patch in range(4 if grid else 0):
            q[2 + patch], k[2 + patch] = turned(q[2 + patch], patch), turned(k[2 + patch], patch)
        weights = np.exp(q @ k.T / 2.0)
        gathered[:, head] = weights / weights.sum(1, keepdims=True) @ value[:, head]
    expected = gathered @ dense["output"][0] + dense["output"][1]
    np.testing.assert_allclose(np.asarray(layer(tokens))[0], expected, rtol=1e-4, atol=1e-5)


def test_turned_products_depend_on_the_distance_alone():
    cosine, sine = rotations(5, 8)
    draw = np.random.default_rng(7)
    query, key = draw.normal(size=(2, 8))

    def at(vector, place):
        half = np.concatenate([-vector[4:], vector[:4]])
        return vector * cosine[place] + half * sine[place]

    products = {(one, other): at(query, one) @ at(key, other) for one in range(25) for other in range(25)}
    assert products[0, 6] == pytest.approx(products[6, 12], abs=1e-5)
    assert products[0, 6] == pytest.approx(products[18, 24], abs=1e-5)
    assert products[0, 6] != pytest.approx(products[0, 7], abs=1e-3)


@pytest.mark.parametrize(
    ("backbone", "size", "fix"), [("DINOv2Base", 512, "504 or 518"), ("DINOv3Base", 230, "224 or 240")]
)
def test_images_that_are_no_whole_number_of_patches_are_refused(backbone, size, fix):
    with pytest.raises(ValueError, match=f"image_size={size} is no multiple of .*set image_size={fix}"):
        Recipe(backbone=backbone, image_size=size, weights=None)
    with pytest.raises(ValueError, match=f"image_size={fix}"):
        build_classifier("Mass", backbone=backbone, image_size=size, weights=None)


def test_sizes_are_entered_as_backbones():
    assert {name for name in BACKBONES if name.startswith("DINO")} == {
        f"DINOv{family}{size}" for family in (2, 3) for size in ("Small", "Base", "Large")
    }
    assert Recipe(backbone="DINOv3Base", image_size=512, weights="dinov3").weights == "dinov3"
    with pytest.raises(ValueError, match="of DINOv2Small or DINOv2Base"):
        Recipe(backbone="DINOv3Base", weights="dinov2")
    with pytest.raises(ValueError, match=r"no ImageNet weights; use weights='dinov3' or weights=None"):
        build_classifier("Mass", backbone="DINOv3Small")
