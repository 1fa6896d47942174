"""Training in segments: the same results, and less memory."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import chexkeras
from chexkeras.models.backbones import register_backbone
from chexkeras.models.classifier import build_classifier
from chexkeras.models.partition import checkpointed, partition
from chexkeras.models.stages import apply_stage
from chexkeras.models.vit.network import patch_features
from chexkeras.models.vit.sizes import VisionTransformer
from chexkeras.recipes.recipe import Recipe

pytestmark = pytest.mark.keras


def branched(pixels):
    """Two joined branches in each block, and stochastic depth in the last: what cannot be computed twice."""
    from keras import layers

    found = layers.Conv2D(4, 3, 2, padding="same", name="own_stem")(pixels)
    for block in range(3):
        one = layers.Conv2D(4, 3, padding="same", activation="gelu", name=f"own_{block}_a")(found)
        one = layers.Conv2D(4, 3, padding="same", activation="gelu", name=f"own_{block}_b")(one)
        if block == 2:
            one = layers.Dropout(0.3, name="own_dropout")(one)
        found = layers.Concatenate(name=f"own_{block}_join")([found, one])
    return found


TINY = VisionTransformer("TinyOne", "dinov3", "none", 16, 3, 2, 8, 4)


def classifier(backbone):
    register_backbone("Branched", branched)
    register_backbone("TinyOne", lambda pixels: patch_features(pixels, TINY))
    keras.utils.set_random_seed(0)
    return build_classifier("Mass", backbone=backbone, weights=None, image_size=32, head="linear", precision="float32")


def trained(backbone, trainable, segments):
    model = classifier(backbone)
    apply_stage(model, trainable, optimizer=keras.optimizers.SGD(0.05), loss=keras.losses.BinaryCrossentropy())
    draw = np.random.default_rng(0)
    inputs, labels = draw.integers(0, 256, (8, 32, 32, 1)).astype(np.float32), (np.arange(8) % 2)[:, None]
    fitted = model
    parts = partition(model, checkpointed=segments)
    if parts is not None and trainable != "all":
        fitted, inputs = parts.suffix, parts.prefix.predict(inputs, verbose=0)
    elif segments:
        fitted = checkpointed(model)
    if fitted is not model:
        fitted.compile(optimizer=model.optimizer, loss=model.loss)
        assert any(segment.twice for segment in fitted.segments) == segments
    before = [np.asarray(weight) for weight in model.trainable_weights]
    losses = fitted.fit(inputs, labels.astype(np.float32), batch_size=4, epochs=2, shuffle=False, verbose=0).history
    after = [np.asarray(weight) for weight in model.trainable_weights]
    assert all(np.abs(b - a).max() > 0 for a, b in zip(before, after, strict=True))
    return losses["loss"], after


@pytest.mark.parametrize(
    ("backbone", "trainable"),
    [("TinyOne", "all"), ("TinyOne", "block2_norm1"), ("Branched", "own_1_a"), ("Branched", "all")],
)
def test_results_are_those_of_training_in_one_piece(backbone, trainable):
    plain, plain_weights = trained(backbone, trainable, False)
    losses, weights = trained(backbone, trainable, True)
    np.testing.assert_allclose(losses, plain, rtol=1e-5)
    for one, other in zip(plain_weights, weights, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)


def test_segments_hold_every_layer_once_and_no_random_one_twice():
    model = classifier("Branched")
    apply_stage(model, "all", optimizer=keras.optimizers.SGD(), loss=keras.losses.BinaryCrossentropy())
    whole = checkpointed(model)
    assert [place for part in whole.segments for place in range(part.start, part.stop)] == list(
        range(len(whole.shared_layers))
    )
    of_dropout = next(
        part for part in whole.segments
        if any(layer.name == "own_dropout" for layer in whole.shared_layers[part.start : part.stop])
    )  # fmt: skip
    assert not of_dropout.twice


def test_batchnorm_that_is_trained_is_not_computed_twice():
    model = classifier("SmallCNN")
    apply_stage(
        model, "all", optimizer=keras.optimizers.SGD(), loss=keras.losses.BinaryCrossentropy(), batchnorm="trained"
    )
    whole = checkpointed(model)
    for part in whole.segments:
        layers = whole.shared_layers[part.start : part.stop]
        assert not (part.twice and any(isinstance(layer, keras.layers.BatchNormalization) for layer in layers))


def test_an_old_keras_is_told_in_a_sentence(monkeypatch):
    monkeypatch.delattr(keras, "remat")
    with pytest.raises(ValueError, match=r"gradient_checkpointing=True needs keras\.remat"):
        checkpointed(classifier("SmallCNN"))


def test_the_field_is_true_or_false():
    with pytest.raises(ValueError, match="gradient_checkpointing='yes'"):
        Recipe(gradient_checkpointing="yes")


# What two steps add to the largest memory that the process ever had.
PROGRAM = """
import json, resource, sys
import keras, numpy as np
from chexkeras.models.backbones import register_backbone
from chexkeras.models.classifier import build_classifier
from chexkeras.models.partition import checkpointed
from chexkeras.models.stages import apply_stage
from chexkeras.models.vit.network import patch_features
from chexkeras.models.vit.sizes import VisionTransformer

size = VisionTransformer("Deep", "dinov3", "none", 64, 8, 4, 8, 4)
register_backbone("Deep", lambda pixels: patch_features(pixels, size))
keras.utils.set_random_seed(0)
model = build_classifier("Mass", backbone="Deep", weights=None, image_size=128, head="linear", precision="float32")
apply_stage(model, "all", optimizer=keras.optimizers.SGD(0.01), loss=keras.losses.BinaryCrossentropy())
fitted = model
if sys.argv[1] == "segments":
    fitted = checkpointed(model)
    fitted.compile(optimizer=model.optimizer, loss=model.loss)
images = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 1)).astype("float32")
labels = (np.arange(8) % 2)[:, None].astype("float32")
fitted.predict(images, verbose=0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
loss = [float(fitted.train_on_batch(images, labels)) for _ in range(2)]
print(json.dumps({"kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, "loss": loss}))
"""


@pytest.mark.slow
@pytest.mark.release  # What a process holds at most depends on the allocator and on the threads of the machine.
def test_a_step_takes_less_memory():
    """Eight blocks of 261 tokens, 8 images: measured once as 356 MB in one piece and 160 MB in segments."""
    found = {}
    for mode in ("whole", "segments"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, mode],
            cwd=Path(chexkeras.__file__).parents[1], capture_output=True, text=True, check=True,
        )  # fmt: skip
        found[mode] = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(found["segments"]["loss"], found["whole"]["loss"], rtol=1e-4)
    assert found["segments"]["kb"] < 0.75 * found["whole"]["kb"], found
