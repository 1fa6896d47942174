import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from chexkeras.data.augmentation import Augmentation, augment, flips, image_seed

pytestmark = pytest.mark.keras

CHANGES = {
    "flip": {"flip": True},
    "rotation": {"rotation_degrees": 15.0},
    "shift": {"shift_fraction": 0.1},
    "zoom": {"zoom_fraction": 0.2},
    "shear": {"shear_degrees": 10.0},
    "brightness": {"brightness": 0.3},
    "contrast": {"contrast": 0.5},
    "gamma": {"gamma": 0.5},
    "noise": {"noise": 0.1},
    "resolution": {"resolution_loss": 0.75},
    "jpeg": {"jpeg_loss": 80.0},
    "blur": {"blur_probability": 0.5},
    "erase": {"erase_probability": 0.5},
}
ALL = {name: value for change in CHANGES.values() for name, value in change.items()}


def image():
    return np.random.default_rng(0).integers(0, 256, (40, 36, 1)).astype(np.float32)


def changed(settings, n=12, seed=0):
    return np.stack([augment(tf.constant(image()), image_seed(seed, 0, row), settings) for row in range(n)])


def test_nothing_is_changed_by_default():
    assert not Augmentation().active
    np.testing.assert_array_equal(changed(Augmentation(), 1)[0], image())


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_active_random_repeatable_and_in_range(change):
    settings = Augmentation(**CHANGES[change])
    assert settings.active
    one = changed(settings)
    assert one.shape == (12, 40, 36, 1)
    assert one.min() >= 0.0
    assert one.max() <= 255.0
    assert len({image.tobytes() for image in one}) >= 2
    np.testing.assert_array_equal(one, changed(settings))
    assert not np.array_equal(one, changed(settings, seed=1))


@pytest.mark.parametrize("change", [*CHANGES, "all"])
def test_each_change_is_the_same_in_a_graph_and_inside_tf_data(change):
    settings = Augmentation(**(ALL if change == "all" else CHANGES[change]))

    def step(row):
        return augment(tf.constant(image()), image_seed(0, 0, row), settings)

    rows = tf.data.Dataset.range(12)
    inside = np.stack(list(rows.map(step, num_parallel_calls=2).as_numpy_iterator()))
    np.testing.assert_allclose(inside, changed(settings), atol=1e-3)
    again = np.stack(list(rows.map(step, num_parallel_calls=1).as_numpy_iterator()))
    np.testing.assert_array_equal(inside, again)


def test_a_change_draws_the_same_whatever_else_is_switched_on():
    bright = changed(Augmentation(brightness=0.1)) - image()
    both = changed(Augmentation(brightness=0.1, blur_probability=1.0, blur_sigma_px=(1e-3, 1e-3))) - image()
    np.testing.assert_allclose(both, bright, atol=1e-3)
    sheared = changed(Augmentation(shear_degrees=10.0))
    np.testing.assert_allclose(changed(Augmentation(shear_degrees=10.0, rotation_degrees=1e-6)), sheared, atol=0.05)


def test_the_draws_of_earlier_versions_have_not_moved():
    # First pixel of the first row and mean of each image, written down before shear, blur and erasing came.
    settings = Augmentation(flip=True, rotation_degrees=15.0, shift_fraction=0.1, brightness=0.2, contrast=0.3)
    ramp = tf.constant(np.arange(49, dtype=np.float32).reshape(7, 7, 1) * 4)
    seen = [augment(ramp, image_seed(3, 2, row), settings).numpy() for row in range(3)]
    np.testing.assert_allclose([image[0, 0, 0] for image in seen], [20.439, 77.103, 46.346], atol=2e-3)
    np.testing.assert_allclose([image.mean() for image in seen], [82.364, 158.029, 107.147], atol=2e-3)


@pytest.mark.parametrize("probability", [0.3, 0.5, 1.0])
def test_images_are_mirrored_as_often_as_asked_and_as_foretold(probability):
    settings = Augmentation(flip=True, flip_probability=probability)
    rows = np.arange(300)
    foretold = flips(7, 3, rows, probability)
    assert foretold.mean() == pytest.approx(probability, abs=0.08)
    image = np.arange(9, dtype=np.float32).reshape(3, 3, 1)
    seen = [augment(image, image_seed(7, 3, row), settings).numpy()[0, 0, 0] == 2 for row in rows[:60]]
    assert seen == foretold[:60].tolist()


def test_a_image_mirrored_at_a_low_probability_is_mirrored_at_a_higher_one():
    assert (flips(0, 0, np.arange(200), 0.3) <= flips(0, 0, np.arange(200))).all()


def test_settings_survive_json():
    settings = Augmentation(**ALL, blur_sigma_px=(0.5, 1.5), erase_area=(0.1, 0.2))
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.to_dict().items()}
    assert Augmentation(**listed) == settings
    assert dataclasses.replace(settings, blur_sigma_px=[1, 2]).blur_sigma_px == (1.0, 2.0)


def test_a_range_or_probability_of_a_change_that_is_off_changes_nothing():
    assert not Augmentation(blur_sigma_px=(1, 2), erase_area=(0.1, 0.2), blur_kernel_px=7, flip_probability=0.3).active


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rotation_degrees": 90}, r"augment\.rotation_degrees=90 must be a number from 0 to 45"),
        ({"shift_fraction": -0.1}, r"augment\.shift_fraction=-0\.1 must be a number from 0 to 0\.5"),
        ({"shear_degrees": 31}, r"augment\.shear_degrees=31 must be a number from 0 to 30"),
        ({"contrast": "x"}, r"augment\.contrast='x' must be a number"),
        ({"brightness": float("nan")}, r"augment\.brightness=nan must be a number"),
        ({"zoom_fraction": True}, r"augment\.zoom_fraction=True must be a number"),
        ({"flip": 1}, r"augment\.flip=1 must be true or false"),
        (
            {"flip": True, "flip_probability": 0},
            r"augment\.flip_probability=0 mirrors nothing; set augment\.flip=false",
        ),
        ({"flip_probability": 30}, r"augment\.flip_probability=30 must lie between 0 and 1"),
        ({"blur_probability": -1}, r"augment\.blur_probability=-1 must lie between 0 and 1"),
        ({"erase_probability": "often"}, r"augment\.erase_probability='often' is not a number"),
        (
            {"blur_sigma_px": (2.0, 0.1)},
            r"augment\.blur_sigma_px=\(2\.0, 0\.1\) must be two numbers, smallest and largest",
        ),
        ({"blur_sigma_px": 2.0}, r"augment\.blur_sigma_px=2\.0 must be two numbers"),
        ({"blur_sigma_px": (0, 1)}, "above 0 and up to 10"),
        ({"erase_area": (0.1, 0.5)}, r"augment\.erase_area=\(0\.1, 0\.5\) must be two numbers.*up to 0\.3"),
        ({"erase_area": (0.1, "b")}, r"augment\.erase_area=\(0\.1, 'b'\) must be two numbers"),
        ({"blur_kernel_px": 4}, r"augment\.blur_kernel_px=4 must be an odd whole number from 3 to 31"),
        ({"blur_kernel_px": 5.0}, r"augment\.blur_kernel_px=5\.0 must be an odd whole number"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**wrong)
