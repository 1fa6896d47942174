import numpy as np
import pytest
import tensorflow as tf

from chexkeras.data.augmentation import Augmentation, augment, image_seed
from chexkeras.data.degradation import coarser, compressed, noisy, other_gamma
from chexkeras.training.frozen.augmented_copies import AugmentedCopies

pytestmark = pytest.mark.keras


def image(side=48):
    rows, columns = np.mgrid[:side, :side]
    fine = 20.0 * ((rows + columns) % 2)
    return np.rint(100 + 60 * np.sin(rows / 9) + fine).astype(np.float32)[..., None]


def draw(value):
    return tf.constant(value, tf.float32)


@pytest.mark.parametrize(("at", "power"), [(0.0, 1 / 1.5), (0.5, 1.0), (1.0, 1.5)])
def test_a_power_of_the_gray_values_runs_from_the_reciprocal_to_the_largest(at, power):
    expected = 255 * (image() / 255) ** power
    np.testing.assert_allclose(other_gamma(image(), draw(at), 0.5), expected, atol=0.01)


def test_noise_has_no_more_than_its_deviation_and_is_none_at_the_draw_of_nothing():
    even, seed = np.full((80, 80, 1), 128.0, np.float32), tf.constant([1, 2], tf.int64)
    np.testing.assert_array_equal(noisy(even, draw(0.0), seed, 0.1), even)
    found = noisy(even, draw(1.0), seed, 0.1).numpy()
    assert found.std() == pytest.approx(25.5, rel=0.05)
    assert found.mean() == pytest.approx(128, abs=1.5)
    np.testing.assert_array_equal(found, noisy(even, draw(1.0), seed, 0.1))
    assert np.abs(found - noisy(even, draw(1.0), tf.constant([1, 3], tf.int64), 0.1)).max() > 1


def test_fewer_pixels_take_fine_structure_away_and_keep_the_mean():
    found = coarser(image(), draw(1.0), 0.75).numpy()
    assert found.shape == image().shape
    assert found.mean() == pytest.approx(image().mean(), abs=1.0)
    assert np.abs(np.diff(found[..., 0], axis=0)).mean() < 0.5 * np.abs(np.diff(image()[..., 0], axis=0)).mean()
    np.testing.assert_allclose(coarser(image(), draw(0.0), 0.75), image(), atol=1e-3)
    assert coarser(image(4), draw(1.0), 0.9).shape == (4, 4, 1)


def test_a_lower_jpeg_quality_changes_more():
    apart = [np.abs(compressed(image(), draw(at), 90.0).numpy() - image()).mean() for at in (0.0, 0.5, 1.0)]
    assert apart[0] < 2 < apart[2]
    assert apart[0] < apart[1] < apart[2]
    found = compressed(image(), draw(1.0), 95.0).numpy()
    np.testing.assert_array_equal(found, np.rint(found))


@pytest.mark.parametrize("field", [{"noise": 0.1}, {"resolution_loss": 0.5}, {"jpeg_loss": 80.0}])
def test_the_share_of_images_is_the_stated_one_and_the_others_stay_bit_for_bit(field):
    settings = Augmentation(**field, degrade_probability=0.3)
    rows = range(200)
    same = [np.array_equal(augment(image(16), image_seed(0, 0, row), settings), image(16)) for row in rows]
    # 200 draws: four standard errors are 0.13.
    assert np.mean(same) == pytest.approx(0.7, abs=0.13)


def test_each_loss_has_draws_of_its_own_that_no_other_moves():
    only, seed = Augmentation(noise=0.1, degrade_probability=1.0), image_seed(0, 0, 5)
    both = Augmentation(noise=0.1, gamma=0.5, degrade_probability=1.0)
    even = np.full((24, 24, 1), 255 * 0.5, np.float32)
    # Gamma changes the level of an even image alone; the noise on top is the same.
    alone, together = (augment(even, seed, each).numpy() for each in (only, both))
    np.testing.assert_allclose(together - together.mean(), alone - alone.mean(), atol=0.02)


def test_stored_draws_are_those_of_the_copies_number():
    settings = Augmentation(noise=0.1, gamma=0.4, resolution_loss=0.5, jpeg_loss=50.0)
    copies = AugmentedCopies(settings, seed=3, draws=2)
    assert not copies.exact
    pixels = tf.constant(np.stack([image(), image() / 2]))
    for copy in range(copies.count):
        found = copies.pixels(pixels, np.array([4, 9]), copy).numpy()
        for place, row in enumerate((4, 9)):
            expected = augment(pixels[place], image_seed(3, copy, row), settings)
            np.testing.assert_allclose(found[place], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"gamma": -0.1}, "augment.gamma=-0.1 must be a number from 0 to 2"),
        ({"noise": 0.5}, "augment.noise=0.5 must be a number from 0 to 0.3"),
        ({"resolution_loss": 1.0}, "augment.resolution_loss=1.0 must be a number from 0 to 0.9"),
        ({"jpeg_loss": 96}, "augment.jpeg_loss=96 must be a number from 0 to 95"),
        ({"jpeg_loss": float("nan")}, "must be a number from 0 to 95"),
        ({"degrade_probability": 0.0}, "degrade_probability=0 degrades nothing"),
        ({"degrade_probability": 1.5}, "degrade_probability"),
    ],
)
def test_what_goes_too_far_is_refused(field, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**field)


def test_an_augmentation_saved_before_these_fields_is_what_it_was():
    new = ("gamma", "noise", "resolution_loss", "jpeg_loss", "degrade_probability")
    before = {name: value for name, value in Augmentation(flip=True).to_dict().items() if name not in new}
    assert Augmentation(**before) == Augmentation(flip=True)
    assert not Augmentation(**{**before, "flip": False}).active
