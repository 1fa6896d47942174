"""A learning rate for each block: exact ratios of the first change, with and without stored features."""

import keras
import numpy as np
import pytest

from chexkeras.models.classifier import build_classifier
from chexkeras.models.optimizers import optimizer_words
from chexkeras.models.partition import partition
from chexkeras.models.stages import apply_stage, blocks, factors_of_blocks, rate_factors
from chexkeras.recipes.recipe import Stage
from chexkeras.training.optimizers import make_optimizer

# Tracing takes far longer than these single steps.
pytestmark = [pytest.mark.keras, pytest.mark.usefixtures("run_eagerly")]


def classifier():
    keras.utils.set_random_seed(0)
    return build_classifier(
        "Mass", backbone="SmallCNN", weights=None, image_size=32, head="linear", precision="float32"
    )


def batch():
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (8, 32, 32, 1)).astype(np.float32)
    return images, (np.arange(8) % 2)[:, None].astype(np.float32)


def change(trainable, layer_decay, stored=False, **settings):
    """Returns what the first step changes in each layer's weights, and the weights before."""
    model = classifier()
    stage = Stage("s", 1, 1e-2, trainable, layer_decay=layer_decay, **settings)
    optimizer = make_optimizer(stage, 1)
    apply_stage(model, trainable, optimizer=optimizer, loss=keras.losses.BinaryCrossentropy())
    if layer_decay is not None:
        optimizer.set_factors(model, rate_factors(model, layer_decay))
    fitted, (inputs, labels) = model, batch()
    if stored:
        parts = partition(model)
        fitted, inputs = parts.suffix, parts.prefix.predict(inputs, verbose=0)
        fitted.compile(optimizer=optimizer, loss=model.loss)
    layers = {layer.name: layer for layer in model.layers if layer.trainable_weights}
    before = {name: [np.asarray(weight) for weight in layer.trainable_weights] for name, layer in layers.items()}
    fitted.fit(inputs, labels, batch_size=8, epochs=1, verbose=0)
    after = {name: [np.asarray(weight) for weight in layer.trainable_weights] for name, layer in layers.items()}
    return {name: [b - a for a, b in zip(before[name], after[name], strict=True)] for name in layers}, before


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "weight_decay": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 0.01, "schedule": "cosine"},
        {"ema": 0.9},
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_the_first_change_is_the_plain_one_times_the_factor(settings, stored):
    trainable = "block2_conv" if stored else "all"
    plain, _ = change(trainable, None, stored, **settings)
    decayed, _ = change(trainable, 0.5, stored, **settings)
    factors = rate_factors(classifier(), 0.5)
    assert {"block2_conv", "block4_conv", "head_probability"} <= set(plain) == set(decayed)
    told = []
    for name, changes in plain.items():
        for one, other in zip(changes, decayed[name], strict=True):
            np.testing.assert_allclose(other, one * factors.get(name, 1.0), rtol=2e-3, atol=1e-7)
            told.append(np.abs(one).max())
    assert min(told) > 0


def test_the_blocks_of_a_convolutional_network_are_its_resolutions():
    model = classifier()
    assert factors_of_blocks(model, 0.5) == {
        "pixels": 0.0625, "block1_pool": 0.125, "block2_pool": 0.25, "block3_pool": 0.5
    }  # fmt: skip
    assert [layer for group in blocks(model) for layer in group] == [
        layer for layer in model.layers if not layer.name.startswith(("preprocess_", "head_"))
    ]
    assert set(rate_factors(model, 1.0).values()) == {1.0}


@pytest.mark.parametrize("value", [0.0, 1.5, -1, "half", True])
def test_a_factor_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="layer_decay"):
        Stage("s", 1, 1e-3, layer_decay=value)


def test_words_of_the_report():
    assert optimizer_words({"layer_decay": 0.8}) == (
        "Adam, learning rate times 0.8 from block to block towards the input"
    )
