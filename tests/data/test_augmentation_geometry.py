import numpy as np
import pytest

from chexkeras.data.augmentation import Augmentation, augment, image_seed

pytestmark = pytest.mark.keras


def radiograph(size=33):
    rows, columns = np.mgrid[:size, :size]
    return (100 + 100 * np.exp(-((rows - 8) ** 2 + (columns - 24) ** 2) / 18))[..., np.newaxis].astype(np.float32)


def moved(settings, n=40, image=None):
    return [
        augment(radiograph() if image is None else image, image_seed(0, 0, row), settings).numpy() for row in range(n)
    ]


def test_flip_mirrors_about_half_of_the_images_left_to_right():
    seen = moved(Augmentation(flip=True), 100)
    mirrored = [np.array_equal(image, radiograph()[:, ::-1]) for image in seen]
    plain = [np.array_equal(image, radiograph()) for image in seen]
    assert 30 < sum(mirrored) < 70
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
    positions = [
        np.unravel_index(image[..., 0].argmax(), (33, 33)) for image in moved(Augmentation(shift_fraction=0.1))
    ]
    offsets = np.array(positions) - (8, 24)
    assert np.abs(offsets).max() <= 4
    assert (offsets.min(axis=0) < 0).all()
    assert (offsets.max(axis=0) > 0).all()


def test_zoom_changes_the_distance_from_the_centre():
    distances = [
        np.hypot(*(np.array(np.unravel_index(image[..., 0].argmax(), (33, 33))) - 16))
        for image in moved(Augmentation(zoom_fraction=0.3))
    ]
    assert min(distances) < np.hypot(8, 8) - 1 < np.hypot(8, 8) + 1 < max(distances)


def bar():
    columns = np.arange(65)
    return np.repeat((200 * np.exp(-((columns - 32) ** 2) / 8))[np.newaxis, :, np.newaxis], 65, axis=0).astype(
        np.float32
    )


def column_of_each_row(image):
    weights = image[16:49, :, 0]
    return (weights * np.arange(65)).sum(axis=1) / weights.sum(axis=1)


def test_shear_slants_a_vertical_bar_about_its_middle_to_both_sides_within_its_limit():
    slants = []
    for image in moved(Augmentation(shear_degrees=10.0), image=bar()):
        columns = column_of_each_row(image)
        slope, middle = np.polyfit(np.arange(-16, 17), columns, 1)
        np.testing.assert_allclose(columns, middle + slope * np.arange(-16, 17), atol=0.1)
        assert middle == pytest.approx(32.0, abs=0.1)
        slants.append(np.degrees(np.arctan(slope)))
    assert max(map(abs, slants)) < 10.3
    assert min(slants) < -6.0 < 6.0 < max(slants)


def test_shear_leaves_horizontal_lines_where_they_are():
    lying = bar().transpose(1, 0, 2)
    for image in moved(Augmentation(shear_degrees=10.0), 5, image=lying):
        np.testing.assert_allclose(image, lying, atol=1e-2)


def test_rotation_and_shear_together_keep_areas():
    rows, columns = np.mgrid[:65, :65] - 32
    blob = (200 * np.exp(-(rows**2 + columns**2) / 30))[..., np.newaxis].astype(np.float32)
    for image in moved(Augmentation(rotation_degrees=45.0, shear_degrees=30.0), image=blob):
        # Only the middle: reflection shows the blob again in the corners.
        assert image[14:51, 14:51].sum() == pytest.approx(blob.sum(), rel=0.01)


def test_an_even_image_stays_even_whatever_moves():
    even = np.full((33, 33, 1), 77.0, np.float32)
    settings = Augmentation(flip=True, rotation_degrees=20, shift_fraction=0.2, zoom_fraction=0.3, shear_degrees=20)
    for image in moved(settings, 10, image=even):
        np.testing.assert_allclose(image, even, atol=1e-3)
