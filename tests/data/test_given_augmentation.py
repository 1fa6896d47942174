import keras
import numpy as np
import pytest
import tensorflow as tf

from chexkeras.data.augmentation import Augmentation, augment
from chexkeras.data.given_augmentation import GivenAugmentation
from chexkeras.data.pipeline import make_dataset

pytestmark = pytest.mark.keras


def changes(seed=None):
    return keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal", seed=seed),
            keras.layers.RandomRotation(0.1, seed=seed),
            keras.layers.RandomContrast(0.3, seed=seed),
        ]
    )


def batches(table, **options):
    dataset = make_dataset(
        table, "Effusion", image_size=32, batch_size=8, shuffle=True, counting=False, **{"seed": 1, **options}
    )
    return np.concatenate([pixels.numpy() for pixels, _ in dataset])


def test_what_an_image_becomes_follows_from_seed_epoch_and_image_alone(toy):
    table = toy.head(16)
    first = GivenAugmentation.of(changes(), 32)
    shown = batches(table, augmentation=first, epoch=3)
    # Again, after other draws; and by another object of other seeds, as in another process.
    batches(table, augmentation=first, epoch=4)
    np.testing.assert_array_equal(batches(table, augmentation=first, epoch=3), shown)
    np.testing.assert_array_equal(batches(table, augmentation=GivenAugmentation.of(changes(9), 32), epoch=3), shown)
    assert not np.array_equal(batches(table, augmentation=first, epoch=4), shown)
    assert not np.array_equal(batches(table, augmentation=first, epoch=3, seed=2), shown)
    assert not np.array_equal(shown, batches(table, epoch=3))
    assert shown.min() >= 0 and shown.max() <= 255


def test_layers_of_a_sequence_draw_independently():
    twice = keras.Sequential([keras.layers.RandomBrightness(0.3), keras.layers.RandomBrightness(0.3)])
    settings = GivenAugmentation.of(twice, 8)
    image = tf.fill((8, 8, 1), 128.0)
    found = [float(settings.apply(image, tf.constant([7, draw], tf.int64))[0, 0, 0]) for draw in range(40)]
    # Two equal draws would make every change an even multiple of one: their spread would be that of one, doubled.
    once = GivenAugmentation.of(keras.layers.RandomBrightness(0.3), 8)
    single = [float(once.apply(image, tf.constant([7, draw], tf.int64))[0, 0, 0]) for draw in range(40)]
    assert np.abs(np.array(found) - 128 - 2 * (np.array(single) - 128)).max() > 5


def test_it_is_recorded_by_its_class_and_a_plain_record_cannot_change_images():
    made = GivenAugmentation.of(changes(), 16)
    assert made.active and made.to_dict()["given"] == "Sequential"
    assert "given" not in Augmentation().to_dict()
    with pytest.raises(ValueError, match="give it again"):
        augment(tf.zeros((8, 8, 1)), tf.constant([0, 0], tf.int64), Augmentation(given="Sequential"))


@keras.saving.register_keras_serializable("test_given_augmentation")
class Elsewhere(keras.layers.Layer):
    """Draws from TensorFlow's own generator."""

    def call(self, images):
        return images + tf.random.uniform((), maxval=50.0)


@pytest.mark.parametrize(
    ("layer", "words"),
    (
        (lambda: Elsewhere(), "could not be repeated"),
        (lambda: keras.layers.Rescaling(0.5), "belongs into the model"),
        (lambda: keras.layers.RandomCrop(8, 8), "cannot change images"),
        (lambda: keras.layers.Dense(3), "cannot change images"),
        (lambda: keras.layers.Conv2D(3, 40), "cannot change images"),
    ),
)
def test_a_layer_that_cannot_be_repeated_or_fits_no_image_is_refused(layer, words):
    with pytest.raises(ValueError, match=words):
        GivenAugmentation.of(layer(), 16)
