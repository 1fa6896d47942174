import numpy as np
import pytest
from scipy.ndimage import correlate1d

from chexkeras.data.augmentation import Augmentation, augment, image_seed

pytestmark = pytest.mark.keras


def radiograph():
    return np.random.default_rng(0).uniform(60, 190, (40, 36, 1)).astype(np.float32)


def changed(settings, n=40, image=None):
    image = radiograph() if image is None else image
    return np.stack([augment(image, image_seed(0, 0, row), settings).numpy() for row in range(n)])


def test_brightness_adds_the_same_to_every_pixel_within_its_limit():
    shifts = changed(Augmentation(brightness=0.1)) - radiograph()
    assert np.ptp(shifts, axis=(1, 2, 3)).max() < 1e-3
    assert -25.5 <= shifts.min() < -15 < 15 < shifts.max() <= 25.5


def test_contrast_scales_about_the_mean_within_its_limit():
    seen = changed(Augmentation(contrast=0.2))
    np.testing.assert_allclose(seen.mean(axis=(1, 2, 3)), radiograph().mean(), atol=0.01)
    ratios = seen.std(axis=(1, 2, 3)) / radiograph().std()
    assert 0.8 <= ratios.min() < 0.9 < 1.1 < ratios.max() <= 1.2


@pytest.mark.parametrize(("sigma", "width"), [(0.7, 3), (1.5, 5), (2.0, 13)])
def test_blur_is_the_gaussian_of_scipy_with_its_kernel_cut(sigma, width):
    steps = np.arange(width) - width // 2
    kernel = np.exp(-0.5 * (steps / sigma) ** 2)
    kernel /= kernel.sum()
    image = radiograph()[..., 0].astype(float)
    expected = correlate1d(correlate1d(image, kernel, axis=0, mode="mirror"), kernel, axis=1, mode="mirror")
    settings = Augmentation(blur_probability=1.0, blur_sigma_px=(sigma, sigma), blur_kernel_px=width)
    np.testing.assert_allclose(changed(settings, 1)[0, ..., 0], expected, atol=1e-3)


def test_blur_takes_some_images_by_different_amounts_and_leaves_the_others_untouched():
    seen = changed(Augmentation(blur_probability=0.4, blur_sigma_px=(0.5, 2.0)), 100)
    untouched = np.array([np.array_equal(image, radiograph()) for image in seen])
    assert 45 < untouched.sum() < 75
    roughness = seen[~untouched].std(axis=(1, 2, 3)) / radiograph().std()
    assert roughness.max() < 0.8
    assert np.ptp(roughness) > 0.2


def test_blur_keeps_an_even_image_and_the_mean():
    settings = Augmentation(blur_probability=1.0)
    np.testing.assert_allclose(changed(settings, 5, np.full((20, 20, 1), 77.0, np.float32)), 77.0, atol=1e-3)
    np.testing.assert_allclose(changed(settings).mean(axis=(1, 2, 3)), radiograph().mean(), atol=1.0)


def erased_parts(settings, n=200):
    """Returns top, bottom, left, right (the ends not included) of each erased rectangle."""
    for image in changed(settings, n):
        rows, columns = np.nonzero(image[..., 0] != radiograph()[..., 0])
        if len(rows):
            top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
            assert len(rows) == (bottom - top) * (right - left)
            np.testing.assert_allclose(image[top:bottom, left:right], radiograph().mean(), rtol=1e-5)
            yield top, bottom, left, right


def test_erasing_fills_one_rectangle_of_the_asked_area_with_the_mean_anywhere_in_the_image():
    parts = np.array(list(erased_parts(Augmentation(erase_probability=1.0, erase_area=(0.02, 0.08)))))
    assert len(parts) == 200
    tall, wide = parts[:, 1] - parts[:, 0], parts[:, 3] - parts[:, 2]
    # Sides are rounded to whole pixels, so that the area can be off by half a pixel times each side.
    slack = (tall + wide) / 2 + 0.25
    assert (tall * wide + slack >= 0.02 * 40 * 36).all()
    assert (tall * wide - slack <= 0.08 * 40 * 36).all()
    assert (tall > wide).mean() == pytest.approx(0.5, abs=0.12)
    assert parts[:, 0].min() == 0
    assert parts[:, 1].max() == 40
    assert parts[:, 2].min() == 0
    assert parts[:, 3].max() == 36


def test_erasing_takes_as_many_images_as_asked_and_leaves_the_others_untouched():
    assert len(list(erased_parts(Augmentation(erase_probability=0.3)))) == pytest.approx(60, abs=20)


def test_the_largest_rectangle_still_fits():
    parts = np.array(list(erased_parts(Augmentation(erase_probability=1.0, erase_area=(0.3, 0.3)))))
    areas = (parts[:, 1] - parts[:, 0]) * (parts[:, 3] - parts[:, 2])
    np.testing.assert_allclose(areas, 0.3 * 40 * 36, rtol=0.08)
