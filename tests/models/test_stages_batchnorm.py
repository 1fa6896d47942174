import keras
import numpy as np
import pytest

from chexkeras.models.classifier import build_classifier
from chexkeras.models.stages import adapt_batchnorm

pytestmark = pytest.mark.keras


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return build_classifier("Effusion", backbone="SmallCNN", weights=None, image_size=32, precision="float32")


def batches(n=5):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (8, 32, 32, 1)).astype(np.float32) for _ in range(n)]


def test_first_batchnorm_takes_the_weighted_mean_of_the_batch_statistics(model):
    images = batches()
    convolved = keras.Model(model.input, model.get_layer("block1_conv").output)
    means = np.array([convolved.predict(batch, verbose=0).mean(axis=(0, 1, 2)) for batch in images])
    variances = np.array([convolved.predict(batch, verbose=0).var(axis=(0, 1, 2)) for batch in images])
    layer = model.get_layer("block1_bn")
    weights = layer.momentum ** np.arange(len(images))[::-1]
    assert adapt_batchnorm(model, images) == 4
    np.testing.assert_allclose(layer.moving_mean, np.average(means, axis=0, weights=weights), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, np.average(variances, axis=0, weights=weights), rtol=1e-3)


def test_features_get_unit_scale_where_they_had_none(model):
    images = np.concatenate(batches())
    normalised = keras.Model(model.input, model.get_layer("block4_bn").output)
    before = normalised.predict(images, verbose=0).std()
    adapt_batchnorm(model, batches())
    after = normalised.predict(images, verbose=0)
    assert before < 0.2
    assert 0.8 < after.std() < 1.2
    assert abs(after.mean()) < 0.1


def test_only_the_statistics_change(model):
    weights = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    adapt_batchnorm(model, batches())
    for old, new in zip(weights, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))


def test_no_image_is_an_error(model):
    with pytest.raises(ValueError, match="at least one"):
        adapt_batchnorm(model, [])
