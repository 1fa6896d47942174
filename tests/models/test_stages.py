import keras
import numpy as np
import pytest

from chexkeras.models.classifier import build_classifier
from chexkeras.models.partition import changes_in_training, crossing_layer, partition
from chexkeras.models.stages import apply_stage, backbone_layers, freeze, trainable_start

# A few steps of each model: tracing it would take longer.
pytestmark = [pytest.mark.keras, pytest.mark.usefixtures("run_eagerly")]


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return build_classifier("Effusion", backbone="SmallCNN", weights=None, image_size=32, precision="float32")


def stage(model, trainable, name="stage", batchnorm="held"):
    optimizer = keras.optimizers.Adam(1e-2)
    loss = keras.losses.BinaryCrossentropy()
    return apply_stage(model, trainable, optimizer=optimizer, loss=loss, name=name, batchnorm=batchnorm)


def fit(model):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 32, 32, 1)).astype(np.float32)
    model.fit(images, rng.integers(0, 2, (16, 1)).astype(np.float32), epochs=2, batch_size=8, verbose=0)


def weights_by_layer(model):
    return {layer.name: [keras.ops.convert_to_numpy(weight) for weight in layer.weights] for layer in model.layers}


def changed(before, after):
    return tuple(
        name
        for name in before
        if any(not np.array_equal(old, new) for old, new in zip(before[name], after[name], strict=True))
    )


@pytest.mark.parametrize("trainable", [0.0, 0.3, "block3_conv", 1.0])
def test_exactly_the_named_layers_change_and_batchnorm_stays_bit_identical(model, trainable):
    boundary = stage(model, trainable)
    before = weights_by_layer(model)
    fit(model)
    assert changed(before, weights_by_layer(model)) == boundary.layers_trainable
    assert not any("bn" in name for name in boundary.layers_trainable)


def test_batchnorm_would_move_if_it_were_not_held(model):
    """Shows that the test above can fail: an unfrozen BatchNorm does change its statistics in `fit`."""
    stage(model, 1.0)
    model.get_layer("block4_bn").trainable = True
    model.compile(optimizer="adam", loss="binary_crossentropy")
    before = weights_by_layer(model)
    fit(model)
    assert "block4_bn" in changed(before, weights_by_layer(model))


@pytest.mark.parametrize(("trainable", "moved"), [(0.0, set()), ("block3_conv", {3, 4}), ("all", {1, 2, 3, 4})])
def test_batchnorm_that_is_trained_moves_in_unfrozen_layers_alone(model, trainable, moved):
    boundary = stage(model, trainable, batchnorm="trained")
    before = weights_by_layer(model)
    fit(model)
    after = changed(before, weights_by_layer(model))
    assert {name for name in after if "bn" in name} == {f"block{block}_bn" for block in moved}
    assert after == boundary.layers_trainable
    assert boundary.batchnorm_layers_held == 4 - len(moved)


def test_a_stage_after_one_that_trained_batchnorm_holds_it_again(model):
    stage(model, "all", batchnorm="trained")
    fit(model)
    assert stage(model, "all").batchnorm_layers_held == 4
    before = weights_by_layer(model)
    fit(model)
    assert not any("bn" in name for name in changed(before, weights_by_layer(model)))


def test_all_and_none_are_the_whole_base_and_none_of_it(model):
    layers = backbone_layers(model)
    assert (trainable_start(layers, "all"), trainable_start(layers, "none")) == (0, 17)
    assert stage(model, "all").layers_trainable == stage(model, 1.0).layers_trainable
    assert stage(model, "none").layers_trainable == stage(model, 0.0).layers_trainable


def test_the_partition_comes_before_batchnorm_that_is_trained(model):
    stage(model, "block3_bn", batchnorm="trained")
    assert partition(model).crossing == "block3_conv"
    stage(model, "block3_bn")
    assert partition(model).crossing == "block3_pool"


def test_each_stage_switches_anew(model):
    first = stage(model, 0.3, "stage1")
    second = stage(model, 0.0, "stage2")
    assert first.first_trainable_layer.startswith("block")
    assert second.first_trainable_layer == "head_dense_1024"
    assert set(second.layers_trainable) < set(first.layers_trainable)
    assert second.total_parameters == first.total_parameters == model.count_params()
    assert second.trainable_parameters + second.frozen_parameters == second.total_parameters


def test_boundary_reads_as_a_sentence(model):
    text = str(stage(model, 0.0, "stage1"))
    assert text.startswith("stage1: trains from head_dense_1024 (0 of 17 backbone layers), 591,873 parameters trained")


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 2), (0.2, 4), (0.5, 9), (1.0, 17)])
def test_share_of_layers_is_rounded_up(model, share, count):
    layers = backbone_layers(model)
    assert len(layers) == 17
    assert len(layers) - trainable_start(layers, share) == count


def test_rounding_up_does_not_count_floating_point_dust():
    assert trainable_start([None] * 30, 0.1) == 27


@pytest.mark.parametrize(
    ("trainable", "message"), [(1.2, "share from 0 to 1"), ("block3_conb", "did you mean 'block3_conv'")]
)
def test_wrong_boundaries_are_refused(model, trainable, message):
    with pytest.raises(ValueError, match=message):
        freeze(model, trainable)


@pytest.mark.parametrize(
    ("trainable", "crossing"), [(0.0, "head_pool"), (0.3, "block3_pool"), ("block2_conv", "block1_pool")]
)
def test_partition_cuts_before_the_first_layer_that_changes(model, trainable, crossing):
    stage(model, trainable)
    parts = partition(model)
    assert parts.crossing == crossing
    assert not any(changes_in_training(layer) for layer in parts.prefix.layers)
    images = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 1)).astype(np.float32)
    whole = model.predict(images, verbose=0)
    halves = parts.suffix.predict(parts.prefix.predict(images, verbose=0), verbose=0)
    # Cut in two, other operations may be fused: sums of at most 1,024 float32 terms in another order.
    np.testing.assert_allclose(halves, whole, rtol=1e-5)


def test_a_wrong_choice_for_batchnorm_is_refused(model):
    with pytest.raises(ValueError, match="did you mean 'trained'"):
        freeze(model, 0.0, "train")


def test_partition_shares_the_weights(model):
    stage(model, 0.3)
    parts = partition(model)
    parts.suffix.get_layer("head_probability").bias.assign([3.0])
    assert float(model.get_layer("head_probability").bias[0]) == 3.0


def test_nothing_is_cut_off_where_two_tensors_cross():
    inputs = keras.Input((4,))
    left = keras.layers.Dense(4, name="left")(inputs)
    right = keras.layers.Dense(4, name="right")(inputs)
    joined = keras.layers.Add(name="joined")([left, right])
    model = keras.Model(inputs, keras.layers.Dense(1, name="head_out")(joined))
    model.get_layer("left").trainable = False
    assert crossing_layer(model) is None
    model.get_layer("right").trainable = False
    assert crossing_layer(model).name == "joined"


def test_dropout_and_unfrozen_batchnorm_change_in_training():
    inputs = keras.Input((4,))
    dropped = keras.layers.Dropout(0.5, name="dropped")(inputs)
    normalised = keras.layers.BatchNormalization(name="normalised")(dropped)
    model = keras.Model(inputs, normalised)
    assert changes_in_training(model.get_layer("dropped"))
    assert changes_in_training(model.get_layer("normalised"))
    model.get_layer("normalised").trainable = False
    assert not changes_in_training(model.get_layer("normalised"))


@pytest.mark.slow
def test_densenet121_boundaries_are_those_of_the_published_recipe():
    model = build_classifier("Pneumonia", weights=None, image_size=64, precision="float32")
    boundary = stage(model, 0.2, "stage2")
    assert boundary.first_trainable_layer == "conv5_block5_0_bn"
    assert (boundary.backbone_layers_trainable, boundary.backbone_layers) == (86, 427)
    assert boundary.batchnorm_layers_held == 121
    assert partition(model).crossing == "conv5_block4_concat"
    assert partition(model).prefix.output_shape == (None, 2, 2, 640)
    before = weights_by_layer(model)
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 1)).astype(np.float32)
    model.fit(images, np.ones((8, 1), np.float32), epochs=1, batch_size=8, verbose=0)
    assert changed(before, weights_by_layer(model)) == boundary.layers_trainable
    assert len(boundary.layers_trainable) == 27
    assert stage(model, 0.35).first_trainable_layer.startswith("conv4_block20")
    assert stage(model, 0.0).trainable_parameters == 1_574_913
    assert partition(model).crossing == "head_pool"
