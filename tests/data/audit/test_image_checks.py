import numpy as np
import pytest
from PIL import Image

from chexkeras.data.audit.image_checks import GRAY_STEPS, image_facts, thumbnail


def shown(facts) -> np.ndarray:
    return np.frombuffer(facts.thumbnail, "<u2").reshape(16, 16) / GRAY_STEPS


def test_a_thumbnail_holds_the_means_of_equal_areas(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    expected = pixels.reshape(16, 4, 16, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(shown(image_facts(str(tmp_path / "image.png"))), expected, atol=0.5 / GRAY_STEPS + 1e-4)


def test_a_thumbnail_is_the_same_for_every_mode_that_stores_the_same_gray(tmp_path):
    gray = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40), dtype=np.uint8))
    seen = []
    for mode in ("L", "RGB", "RGBA", "LA"):
        gray.convert(mode).save(tmp_path / f"{mode}.png")
        seen.append(image_facts(str(tmp_path / f"{mode}.png")).thumbnail)
    assert len(set(seen)) == 1 and len(seen[0]) == 512


def test_sixteen_bits_are_brought_to_the_same_scale_and_keep_their_low_contrast(tmp_path):
    gray = np.random.default_rng(2).integers(0, 256, (32, 32)).astype(np.uint16)
    Image.fromarray(gray * 257).save(tmp_path / "deep.png")
    np.testing.assert_allclose(
        shown(image_facts(str(tmp_path / "deep.png"))), gray.reshape(16, 2, 16, 2).mean(axis=(1, 3)), atol=0.01
    )
    Image.fromarray((gray // 16 + 1000).astype(np.uint16)).save(tmp_path / "faint.png")
    assert len(np.unique(shown(image_facts(str(tmp_path / "faint.png"))))) > 10


@pytest.mark.parametrize("shape", [(5, 9), (1, 300), (17, 33), (1024, 700)])
def test_any_shape_has_a_thumbnail_between_its_darkest_and_brightest_pixel(shape):
    pixels = np.random.default_rng(3).integers(40, 200, shape, dtype=np.uint8)
    small = thumbnail(pixels) / GRAY_STEPS
    assert small.shape == (16, 16)
    assert small.min() >= pixels.min() - 0.01 and small.max() <= pixels.max() + 0.01
    assert small.mean() == pytest.approx(pixels.mean(), abs=10)


def test_a_image_that_cannot_be_used_has_no_thumbnail(tmp_path):
    Image.new("L", (16, 16), 7).save(tmp_path / "constant.png")
    assert image_facts(str(tmp_path / "constant.png")).thumbnail == b""
    assert image_facts("").thumbnail == b""
