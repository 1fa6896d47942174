"""Fixed changes of an image, each against what it should be by hand or by another implementation."""

import io

import numpy as np
import pytest
from PIL import Image

from chexkeras.data.perturbations import GROUPS, KINDS, PERTURBATIONS, Perturbation, perturbations_of


@pytest.fixture
def image():
    smooth = np.add.outer(np.linspace(20, 120, 33), np.linspace(0, 100, 33))
    return (smooth + np.random.default_rng(0).normal(0, 10, (33, 33))).clip(0, 255).astype(np.float32)


def changed(kind, image, amount=1.0, image_id="a.png", seed=0):
    return Perturbation(kind, amount).apply(image, image_id, seed)


@pytest.mark.parametrize("entry", PERTURBATIONS, ids=lambda entry: entry.name)
def test_every_change_keeps_shape_type_and_range_and_leaves_the_image_alone(entry, image):
    before = image.copy()
    after = entry.apply(image, "a.png")
    assert after.shape == image.shape and after.dtype == np.float32
    assert after.min() >= 0 and after.max() <= 255
    assert np.array_equal(image, before)
    assert not np.array_equal(after, image)


def test_the_grid_names_each_change_once_and_covers_every_kind_and_group():
    names = [entry.name for entry in PERTURBATIONS]
    assert len(set(names)) == len(names)
    assert {entry.kind for entry in PERTURBATIONS} == set(KINDS)
    assert {entry.group for entry in PERTURBATIONS} == set(GROUPS)


def test_exposure_by_hand():
    image = np.array([[0, 51, 127.5, 204, 255]], np.float32)
    assert changed("brightness", image, 0.1)[0].tolist() == pytest.approx([25.5, 76.5, 153, 229.5, 255])
    assert changed("brightness", image, -0.2)[0].tolist() == pytest.approx([0, 0, 76.5, 153, 204])
    assert changed("contrast", image, 0.5)[0].tolist() == pytest.approx([63.75, 89.25, 127.5, 165.75, 191.25])
    assert changed("gamma", image, 2)[0].tolist() == pytest.approx([0, 10.2, 63.75, 163.2, 255])
    assert changed("inverted", image)[0].tolist() == pytest.approx([255, 204, 127.5, 51, 0])


def test_mirroring_and_turning_by_a_right_angle_move_every_pixel(image):
    assert np.array_equal(changed("mirrored", image), image[:, ::-1])
    np.testing.assert_allclose(changed("rotation", image, 90), np.rot90(image), atol=1e-3)
    np.testing.assert_allclose(changed("rotation", image, -90), np.rot90(image, -1), atol=1e-3)


def test_shifting_moves_to_the_right_and_zooming_enlarges_about_the_centre():
    image = np.zeros((21, 21), np.float32)
    image[10, 10] = 200
    assert np.unravel_index(changed("shift", image, 2 / 21).argmax(), image.shape) == (10, 12)
    square = np.zeros((41, 41), np.float32)
    square[16:25, 16:25] = 100
    larger = changed("zoom", square, 2)
    assert larger.sum() == pytest.approx(4 * square.sum(), rel=0.02)
    assert np.allclose(larger, larger[::-1, ::-1], atol=1e-3)


def test_noise_has_its_standard_deviation_and_belongs_to_the_image():
    gray = np.full((200, 200), 128, np.float32)
    one = changed("noise", gray, 0.05) - gray
    assert one.std() == pytest.approx(0.05 * 255, rel=0.02) and abs(one.mean()) < 0.3
    assert np.array_equal(changed("noise", gray, 0.05), gray + one)
    assert not np.array_equal(changed("noise", gray, 0.05, image_id="b.png"), gray + one)
    assert not np.array_equal(changed("noise", gray, 0.05, seed=1), gray + one)


def test_blur_spreads_a_point_by_a_gaussian():
    image = np.zeros((51, 51), np.float32)
    image[25, 25] = 255
    sigma = 0.04 * 51
    row = np.exp(-0.5 * (np.arange(51) - 25.0) ** 2 / sigma**2)
    expected = 255 * np.outer(row, row) / row.sum() ** 2
    np.testing.assert_allclose(changed("blur", image, 0.04), expected, atol=0.01)


def test_a_coarser_image_has_lost_what_is_smaller_than_its_pixels():
    image = np.full((32, 32), 100, np.float32)
    image[::2, ::2] += 40
    # Blocks of 2 x 2 average to 110.
    np.testing.assert_allclose(changed("resolution", image, 0.5), 110, atol=1e-3)
    assert np.array_equal(changed("resolution", image, 1), image)


def test_jpeg_is_that_of_pillow(image):
    stream = io.BytesIO()
    Image.fromarray(np.rint(image).astype(np.uint8)).save(stream, "JPEG", quality=20)
    assert np.array_equal(changed("jpeg", image, 20), np.asarray(Image.open(stream), np.float32))
    losses = [np.abs(changed("jpeg", image, quality) - image).mean() for quality in (90, 50, 20)]
    assert losses == sorted(losses)


@pytest.mark.parametrize(
    ("kind", "amount", "said"),
    [
        ("brightnes", 0.1, "did you mean 'brightness'"),
        ("brightness", 1.5, r"amount=1.5 of brightness must be a number from -1 to 1"),
        ("brightness", 0, "amount=0 of brightness is no change"),
        ("brightness", True, "must be a number"),
        ("jpeg", 0, "from 1 to 95"),
        ("noise", float("nan"), "from 0 to 1"),
        ("mirrored", 2, "from 1 to 1"),
        ("gamma", "1", "must be a number"),
    ],
)
def test_what_cannot_be_is_refused(kind, amount, said):
    with pytest.raises(ValueError, match=said):
        Perturbation(kind, amount)


def test_numbers_of_numpy_are_amounts_like_any(image):
    for kind, amount in (("rotation", np.int64(-5)), ("jpeg", np.int32(20)), ("gamma", np.float32(2))):
        given, plain = Perturbation(kind, amount), Perturbation(kind, amount.item())
        assert given == plain and given.name == plain.name
        assert np.array_equal(given.apply(image, "a.png"), plain.apply(image, "a.png"))


def test_groups_choose_their_changes():
    assert {entry.kind for entry in perturbations_of("misuse")} == {"mirrored", "inverted"}
    assert set(perturbations_of(GROUPS)) == set(PERTURBATIONS)
    with pytest.raises(ValueError, match="did you mean 'misuse'"):
        perturbations_of(["misused"])
    with pytest.raises(ValueError, match="no group is named"):
        perturbations_of([])
