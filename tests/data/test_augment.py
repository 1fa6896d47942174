import numpy as np
import pytest

from chexkeras.data.augment import Augmentation, augment, film_seed

pytestmark = pytest.mark.keras


def film(size=33):
    rows, columns = np.mgrid[:size, :size]
    return (100 + 100 * np.exp(-((rows - 8) ** 2 + (columns - 24) ** 2) / 18))[..., np.newaxis].astype(np.float32)


def centre(image):
    weights = image[..., 0] - image.min()
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return (rows * weights).sum() / weights.sum(), (columns * weights).sum() / weights.sum()


def moved(settings, n=40):
    return [augment(film(), film_seed(0, 0, index), settings).numpy() for index in range(n)]


def test_flip_mirrors_about_half_of_the_films_left_to_right():
    mirrored = [np.array_equal(image, film()[:, ::-1]) for image in moved(Augmentation(flip=True), 100)]
    assert 30 < sum(mirrored) < 70
    plain = [np.array_equal(image, film()) for image in moved(Augmentation(flip=True), 100)]
    assert sum(mirrored) + sum(plain) == 100


def test_rotation_keeps_the_distance_from_the_centre_and_its_limit():
    angles = []
    for image in moved(Augmentation(rotation_degrees=10.0)):
        row, column = np.unravel_index(image[..., 0].argmax(), image.shape[:2])
        assert np.hypot(row - 16, column - 16) == pytest.approx(np.hypot(8, 8), abs=1.0)
        angles.append(np.degrees(np.arctan2(16 - row, column - 16)) - 45.0)
    assert max(map(abs, angles)) < 14.0
    assert min(angles) < -3.0 < 3.0 < max(angles)


def test_shift_moves_both_ways_within_its_limit():
    positions = np.array(
        [np.unravel_index(i[..., 0].argmax(), (33, 33)) for i in moved(Augmentation(shift_fraction=0.1))]
    )
    offsets = positions - (8, 24)
    assert np.abs(offsets).max() <= 4
    assert (offsets.min(axis=0) < 0).all()
    assert (offsets.max(axis=0) > 0).all()


def test_zoom_changes_the_distance_from_the_centre():
    distances = [
        np.hypot(*(np.array(np.unravel_index(image[..., 0].argmax(), (33, 33))) - 16))
        for image in moved(Augmentation(zoom_fraction=0.3))
    ]
    assert min(distances) < np.hypot(8, 8) - 1 < np.hypot(8, 8) + 1 < max(distances)


def test_brightness_and_contrast_change_gray_values_only():
    bright = moved(Augmentation(brightness=0.1))
    shifts = [float((image - film()).mean()) for image in bright]
    assert -25.6 <= min(shifts) < 0 < max(shifts) <= 25.6
    contrasts = [image.std() / film().std() for image in moved(Augmentation(contrast=0.2))]
    assert 0.79 <= min(contrasts) < 1 < max(contrasts) <= 1.21


def test_nothing_is_changed_by_default():
    assert not Augmentation().active
    np.testing.assert_array_equal(moved(Augmentation(), 1)[0], film())
