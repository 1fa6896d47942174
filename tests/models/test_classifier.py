import keras
import numpy as np
import pytest

from chexkeras.models import backbones
from chexkeras.models.classifier import build_classifier, resolve_precision
from chexkeras.models.stages import backbone_layers

pytestmark = pytest.mark.keras


def small(targets="Effusion", **options):
    options = {"backbone": "SmallCNN", "weights": None, "image_size": 32, "precision": "float32", **options}
    return build_classifier(targets, **options)


def images(n=4, size=32):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 1)).astype(np.float32)


def test_takes_gray_pixels_and_gives_one_probability_per_target():
    model = small(("Effusion", "Mass", "Nodule"))
    assert model.input_shape == (None, 32, 32, 1)
    probabilities = model.predict(images(), verbose=0)
    assert probabilities.shape == (4, 3)
    assert probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_imagenet_normalisation_inside_the_model_is_that_of_keras_applications():
    pixels = keras.Input((8, 8, 1))
    model = keras.Model(pixels, backbones.normalise(pixels, "imagenet"))
    gray = images(2, 8)
    expected = keras.applications.densenet.preprocess_input(np.repeat(gray, 3, axis=-1).copy())
    np.testing.assert_allclose(model.predict(gray, verbose=0), expected, atol=1e-4)


def test_caffe_normalisation_inside_the_model_is_that_of_keras_applications():
    pixels = keras.Input((8, 8, 1))
    model = keras.Model(pixels, backbones.normalise(pixels, "caffe"))
    gray = images(2, 8)
    expected = keras.applications.resnet.preprocess_input(np.repeat(gray, 3, axis=-1).copy())
    np.testing.assert_allclose(model.predict(gray, verbose=0), expected, atol=1e-4)


def test_signed_normalisation_inside_the_model_is_that_of_keras_applications():
    pixels = keras.Input((8, 8, 1))
    model = keras.Model(pixels, backbones.normalise(pixels, "signed"))
    gray = images(2, 8)
    expected = keras.applications.mobilenet_v2.preprocess_input(np.repeat(gray, 3, axis=-1).copy())
    np.testing.assert_allclose(model.predict(gray, verbose=0), expected, atol=1e-6)


def test_head_is_the_three_layer_head_of_the_recipe():
    model = small()
    kinds = [type(layer).__name__ for layer in model.layers if layer.name.startswith("head_")]
    assert kinds == ["GlobalAveragePooling2D", "Dense", "Dropout", "Dense", "Dropout", "Dense"]
    rates = [model.get_layer(name).rate for name in ("head_dropout_1", "head_dropout_2")]
    units = [model.get_layer(name).units for name in ("head_dense_1024", "head_dense_512", "head_probability")]
    assert rates == [0.5, 0.3]
    assert units == [1024, 512, 1]


def test_half_precision_keeps_the_probabilities_in_float32_and_the_global_policy_as_it_was():
    before = keras.config.dtype_policy().name
    model = small(precision="mixed_bfloat16")
    assert keras.config.dtype_policy().name == before
    assert model.get_layer("block1_conv").compute_dtype == "bfloat16"
    assert model.get_layer("preprocess_unit").compute_dtype == "float32"
    assert model.get_layer("head_probability").compute_dtype == "float32"


def test_auto_precision_is_float32_without_a_gpu():
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    assert resolve_precision("auto") == "float32"


def test_saved_and_reloaded_it_gives_the_same_scores(tmp_path):
    model = small(("Effusion", "Mass"))
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    for expected, found in zip(model.get_weights(), reloaded.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, found)
    np.testing.assert_allclose(reloaded.predict(images(), verbose=0), model.predict(images(), verbose=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "DenseNet112"}, "did you mean 'DenseNet121'"),
        ({"head": "three_layers"}, "did you mean 'three_layer'"),
        ({"image_size": 8}, "too small"),
        ({"precision": "float16"}, "Expected one of"),
        ({"targets": "Pnuemonia"}, "did you mean 'Pneumonia'"),
        ({"weights": "imagenet"}, "SmallCNN has no ImageNet weights"),
    ],
)
def test_wrong_arguments_are_refused_with_the_way_out(options, message):
    with pytest.raises(ValueError, match=message):
        small(**{"targets": "Effusion", **options})


def test_missing_weights_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5"):
        small(weights="nowhere.h5")


def test_imagenet_weights_without_a_network_name_three_ways_out(monkeypatch):
    def refused(*_, **__):
        raise Exception("URL fetch failure")  # what keras.utils.get_file raises

    monkeypatch.setattr(keras.applications, "DenseNet121", refused)
    with pytest.raises(OSError, match=r"Three ways out.*\(1\).*\(2\).*\(3\)"):
        build_classifier("Effusion", image_size=32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layers"), [("ResNet50", 175), pytest.param("DenseNet121", 427, marks=pytest.mark.release)]
)
def test_weights_from_a_file_reach_the_backbone_by_layer(tmp_path, name, layers):
    source = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(64, 64, 3))
    source.save_weights(tmp_path / "source.weights.h5")
    model = build_classifier(
        "Effusion", backbone=name, weights=tmp_path / "source.weights.h5", image_size=64, precision="float32"
    )
    # By position: Keras counts the names of padding layers up with every network it builds.
    for layer, copy in zip(source.layers[1:], backbone_layers(model)[1:], strict=True):
        for expected, found in zip(layer.get_weights(), copy.get_weights(), strict=True):
            np.testing.assert_array_equal(expected, found)
    assert len(backbone_layers(model)) == len(source.layers) == layers
    wrong = tmp_path / "wrong.weights.h5"
    small().save_weights(wrong)
    with pytest.raises(ValueError, match=f"does not fit {name}"):
        build_classifier("Effusion", backbone=name, weights=wrong, image_size=64)


def test_every_head_that_a_recipe_may_name_can_be_built():
    from chexkeras.models.heads import HEADS

    for head in HEADS:
        assert small(head=head).output_shape == (None, 1)


def test_a_backbone_without_imagenet_weights_takes_a_file_or_refuses_it(tmp_path):
    page = tmp_path / "page.weights.h5"
    page.write_text("no weights")
    for backbone in ("SmallCNN", "SEResNet34"):
        with pytest.raises(ValueError, match=r"'page\.weights\.h5' is not used: it is damaged") as refused:
            build_classifier("Mass", backbone=backbone, weights=str(page), image_size=64)
        assert len(str(refused.value)) < 700
