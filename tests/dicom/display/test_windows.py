import numpy as np
import pytest
from pydicom.pixels.processing import apply_windowing

from chexkeras.dicom.pixels.display import render
from chexkeras.dicom.pixels.windows import linear_exact_window, linear_window, sigmoid_window
from tests.dicom.dicom_images import image


def shown(values, **tags):
    """The display values of one row of stored values, and the warnings."""
    rendered = render(image(np.asarray([values]), **tags))
    return rendered.pixels[0].tolist(), rendered.warnings


# By hand, PS3.3 C.11.2.1.2.1: (x - 40) / 80 + 0.5, times 255: 0, 63.75, 127.5, 191.25, 255.
def test_linear_window_uses_the_half_and_the_one():
    assert shown([0, 20, 40, 60, 80, 4095], WindowCenter=40.5, WindowWidth=81) == ([0, 64, 128, 191, 255, 255], ())


# By hand, C.11.2.1.3.2: (x - 40.5) / 81 + 0.5, times 255: 0, 62.96, 125.93, 188.89, 251.85, 255 at 81.
def test_linear_exact_window_uses_neither():
    found = shown([0, 20, 40, 60, 80, 81], WindowCenter=40.5, WindowWidth=81, VOILUTFunction="LINEAR_EXACT")
    assert found == ([0, 63, 126, 189, 252, 255], ())


# By hand, C.11.2.1.3.1: 255 / (1 + exp(-4 (x - 40) / 80)): 1 / (1 + e^2) = 0.119203 and so on.
def test_sigmoid_window_is_one_half_at_its_center():
    found = shown([0, 20, 40, 60, 80, 4095], WindowCenter=40, WindowWidth=80, VOILUTFunction="SIGMOID")
    assert found == ([30, 69, 128, 186, 225, 255], ())


def test_a_linear_window_of_width_one_is_a_step():
    assert shown([0, 39, 40, 41], WindowCenter=40, WindowWidth=1) == ([0, 0, 255, 255], ())


@pytest.mark.parametrize(
    ("name", "function"),
    [("LINEAR", linear_window), ("LINEAR_EXACT", linear_exact_window), ("SIGMOID", sigmoid_window)],
)
@pytest.mark.parametrize("seed", range(5))
def test_windows_agree_with_pydicom(name, function, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-2048, 2048, (1, 500)).astype(np.int16)
    center, width = float(rng.uniform(-1000, 1000)), float(rng.uniform(1, 3000))
    tags = {"WindowCenter": center, "WindowWidth": width, "VOILUTFunction": name, "PixelRepresentation": 1}
    dataset = image(values, drop=("RescaleSlope", "RescaleIntercept"), **tags)
    lowest, highest = -2048, 2047
    expected = (apply_windowing(values, dataset) - lowest) / (highest - lowest)
    center, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
    np.testing.assert_allclose(function(values.astype(float), center, width), expected, atol=1e-12)
    np.testing.assert_array_equal(render(dataset).pixels, np.rint(expected * 255).astype(np.uint8))
