"""How much of the grey scale an image uses: by hand, and phantoms shown well and badly."""

import numpy as np
import pytest

from chexkeras.dicom.pixels.contrast import Contrast, contrast, contrast_of_counts, value_counts

RAMP = np.tile(np.arange(256, dtype=np.uint8), (64, 1))


def test_levels_and_shares_by_hand():
    pixels = np.repeat(np.array([0, 255, 10, 20, 30], dtype=np.uint8), [100, 50, 425, 424, 1])

    found = contrast(pixels)

    # 849 of the 850 grey pixels, more than 99 %, have the values 10 and 20.
    assert (found.grey_levels, found.black, found.white) == (2, 0.1, 0.05)


@pytest.mark.parametrize(("bits", "levels"), [(8, 16), (10, 16), (12, 16), (14, 63)])
def test_every_bit_depth_shown_as_if_it_were_more_is_found(bits, levels):
    spare = 4 if bits < 14 else 2

    squeezed = (RAMP.astype(int) * (2**bits - 1) // 255 / (2 ** (bits + spare) - 1) * 255).round().astype(np.uint8)

    assert "grey levels in use" in contrast(squeezed).problem
    assert contrast(squeezed).grey_levels <= levels


def test_a_marker_does_not_hide_the_few_levels_of_the_rest():
    squeezed = np.tile(RAMP // 17, (8, 1))
    squeezed[:2, :200] = np.arange(200) + 56

    assert contrast(squeezed).grey_levels < 20


def test_an_image_of_black_and_white_alone_is_found():
    assert contrast(np.where(RAMP > 128, 255, 0).astype(np.uint8)).problem == "50% of the pixels black and 50% white"


@pytest.mark.parametrize(
    ("black", "white", "problem"),
    [
        (0.75, 0.0, ""),
        (0.0, 0.75, ""),
        (0.5, 0.2, ""),
        (0.81, 0.0, "81% of the pixels black and 0% white"),
        (0.01, 0.8, "1% of the pixels black and 80% white"),
        (0.26, 0.3, "26% of the pixels black and 30% white"),
    ],
)
def test_a_surround_is_no_low_contrast_but_an_image_that_is_cut_off_is(black, white, problem):
    pixels = np.resize(np.arange(1, 255, dtype=np.uint8), 10_000)
    pixels[: round(black * 10_000)] = 0
    pixels[10_000 - round(white * 10_000) :] = 255

    assert contrast(pixels).problem == problem


def test_too_few_pixels_are_not_judged():
    assert not contrast(np.full((63, 65), 100, dtype=np.uint8)).problem
    assert contrast(np.full((64, 64), 100, dtype=np.uint8)).problem == "1 grey level in use"


def test_no_pixels_at_all_are_said():
    assert contrast_of_counts(np.zeros(256, dtype=int)) == Contrast(0, 0.0, 0.0, "no pixels")


def test_values_are_counted_as_numpy_counts_them():
    values = np.random.default_rng(0).integers(0, 300, size=(1100, 1000))

    np.testing.assert_array_equal(value_counts(values, 4096), np.bincount(values.ravel(), minlength=4096))
