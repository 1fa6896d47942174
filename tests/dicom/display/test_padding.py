"""Padding, and what is written in its tags though it is the image itself."""

import numpy as np
import pytest

from chexkeras.dicom.pixels.display import render
from tests.dicom.dicom_images import image
from tests.dicom.display.test_low_contrast import chest

PLAIN = render(image(chest())).pixels


def padded(values=None, **tags):
    rendered = render(image(chest() if values is None else values, **tags))
    return rendered.pixels, rendered.padding_fraction, rendered.warnings


@pytest.mark.parametrize(
    "tags",
    [
        # One value in the midst of the image's: specks all over it.
        {"PixelPaddingValue": 2500},
        # Half of the image, from either end or from the middle.
        {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 2500},
        {"PixelPaddingValue": 2800, "PixelPaddingRangeLimit": 4095},
        {"PixelPaddingValue": 2400, "PixelPaddingRangeLimit": 2600},
    ],
)
def test_values_of_the_image_itself_are_no_padding(tags):
    pixels, fraction, codes = padded(**tags)
    np.testing.assert_array_equal(pixels, PLAIN)
    assert (fraction, codes) == (0.0, ("padding_invalid",))


@pytest.mark.parametrize("value", [0, 2500, 4095])
def test_real_padding_is_believed_wherever_its_value_lies(value):
    values = chest()
    values[values == value] = abs(value - 1)
    values[:, :60] = value
    pixels, fraction, codes = padded(values, PixelPaddingValue=value)
    assert not pixels[:, :60].any()
    assert (round(fraction, 4), codes) == (round(60 / 256, 4), ())


def test_a_range_of_padding_apart_from_the_image_is_believed():
    values = np.clip(chest(), 300, None)
    values[:, :60] = np.random.default_rng(1).integers(0, 100, (256, 60))
    pixels, fraction, codes = padded(values, PixelPaddingValue=0, PixelPaddingRangeLimit=100)
    assert not pixels[:, :60].any()
    assert (round(fraction, 4), codes) == (round(60 / 256, 4), ())


def test_padding_that_does_not_occur_needs_no_word():
    for value in (1, 65535, -30000):
        pixels, fraction, codes = padded(PixelPaddingValue=value)
        np.testing.assert_array_equal(pixels, PLAIN)
        assert (fraction, codes) == (0.0, ())


def test_padding_written_as_signed_on_unsigned_values_is_found():
    values = chest(16)
    values[:, :60] = 65535
    dataset = image(values, BitsStored=16, HighBit=15, WindowCenter=32768, WindowWidth=65536)
    dataset.add_new("PixelPaddingValue", "SS", -1)
    assert round(render(dataset).padding_fraction, 4) == round(60 / 256, 4)
