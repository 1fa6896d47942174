import keras
import numpy as np
import pytest
import tensorflow as tf

from chexkeras.models.backbones import BACKBONES
from chexkeras.models.classifier import build_classifier
from chexkeras.models.partition import changes_in_training, first_changing, frozen_share, partition
from chexkeras.models.stages import apply_stage

# A few steps of each model: tracing it would take longer.
pytestmark = [pytest.mark.keras, pytest.mark.usefixtures("run_eagerly")]


def classifier(name, size=64):
    keras.utils.set_random_seed(0)
    model = build_classifier("Mass", backbone=name, weights=None, image_size=size, head="linear", precision="float32")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.full(layer.moving_variance.shape, 0.5))
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layers", "crossing"),
    [
        pytest.param("ResNet50", 175, "conv4_block6_out", marks=pytest.mark.release),
        ("VGG16", 19, "block4_pool"),
        pytest.param("ConvNeXtTiny", 133, "add_", marks=pytest.mark.release),
        ("SEResNet34", 187, "stage3_block6_relu"),
        ("SmallCNN", 17, "block3_pool"),
    ],
)
def test_a_stage_is_cut_in_two_that_together_are_the_classifier(name, layers, crossing, tmp_path):
    model = classifier(name)
    boundary = apply_stage(
        model, 0.2, optimizer=keras.optimizers.Adam(1e-3), loss=keras.losses.BinaryCrossentropy(), name="stage2"
    )
    parts = partition(model)
    assert boundary.backbone_layers == layers
    assert model.layers[-1].input.shape[-1] == BACKBONES[name].channels
    assert parts.crossing.startswith(crossing)
    assert frozen_share(model, parts.prefix) > 0.5
    assert not any(changes_in_training(layer) for layer in parts.prefix.layers)
    images = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 1)).astype(np.float32)
    whole = model.predict(images, verbose=0)
    features = parts.prefix.predict(images, verbose=0)
    np.testing.assert_allclose(parts.suffix.predict(features, verbose=0), whole, rtol=1e-4, atol=1e-6)
    parts.suffix.compile(optimizer=model.optimizer, loss=model.loss)
    # ConvNeXt's grouped convolutions have no gradient on a CPU but in a graph.
    tf.config.run_functions_eagerly(name != "ConvNeXtTiny")
    parts.suffix.fit(features, np.array([[0.0], [1.0], [1.0], [0.0]]), epochs=1, verbose=0)
    tf.config.run_functions_eagerly(True)
    trained = model.predict(images, verbose=0)
    assert not np.allclose(trained, whole)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(reloaded.predict(images, verbose=0), trained, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EfficientNetB0", "EfficientNetV2S"])
def test_dropout_inside_a_frozen_base_leaves_little_that_could_be_stored(name):
    model = classifier(name)
    apply_stage(model, 0.2, optimizer=keras.optimizers.Adam(1e-3), loss=keras.losses.BinaryCrossentropy())
    first = first_changing(model)
    assert isinstance(first, keras.layers.Dropout)
    assert not first.trainable_weights
    assert frozen_share(model, partition(model).prefix) < 0.2
