import warnings

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.tag import Tag

from chexkeras.dicom.pixels.display import render
from tests.dicom.dicom_images import image, lookup_item

EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
NO_WINDOW = ("WindowCenter", "WindowWidth")


def shown(values, **tags):
    """The display values of one row of stored values, and the warnings."""
    rendered = render(image(np.asarray([values]), **tags))
    assert rendered.pixels.dtype == np.uint8
    return rendered.pixels[0].tolist(), rendered.warnings


def test_eight_bits_without_a_window_are_shown_as_they_are():
    values = np.random.default_rng(0).integers(0, 256, (31, 17), dtype=np.uint8)
    rendered = render(image(values, drop=(*NO_WINDOW, "RescaleSlope", "RescaleIntercept"), **EIGHT))
    np.testing.assert_array_equal(rendered.pixels, values)
    assert (rendered.warnings, rendered.decoder, rendered.padding_fraction) == ((), "native", 0.0)


def test_eight_bits_with_the_window_of_all_values_are_shown_as_they_are():
    values = list(range(256))
    assert shown(values, WindowCenter=128, WindowWidth=256, **EIGHT) == (values, ())
    exact = {"WindowCenter": 127.5, "WindowWidth": 255, "VOILUTFunction": "LINEAR_EXACT"}
    assert shown(values, **exact, **EIGHT) == (values, ())


@pytest.mark.parametrize(("slope", "intercept"), [(2.5, -1000), (-1, 4095), (0.1, 7)])
def test_rescaling_and_a_window_together_agree_with_pydicom(slope, intercept):
    values = np.random.default_rng(5).integers(0, 4096, (1, 500)).astype(np.uint16)
    tags = {"WindowCenter": 100, "WindowWidth": 700, "RescaleSlope": slope, "RescaleIntercept": intercept}
    dataset = image(values, **tags)
    shown_by_pydicom = apply_windowing(apply_modality_lut(values, dataset), dataset)
    # pydicom shows the window over the range of the modality values, from the end that stored 0 becomes.
    ends = intercept, 4095 * slope + intercept
    expected = (shown_by_pydicom - ends[0]) / (ends[1] - ends[0])
    np.testing.assert_array_equal(render(dataset).pixels, np.rint(expected * 255).astype(np.uint8))


def test_the_first_of_several_windows_is_used():
    assert shown([0, 40, 80], WindowCenter=[40.5, 2000], WindowWidth=[81, 4000]) == ([0, 128, 255], ())


@pytest.mark.parametrize(("center", "width"), [("2000", "0"), ("2000", "nan"), ("inf", "50"), ("2000", "-5")])
def test_where_the_first_window_is_unusable_the_next_usable_one_is_used_and_told(center, width):
    dataset = image(np.array([[0, 40, 80]]))
    for keyword, first, other in (("WindowCenter", center, "40.5"), ("WindowWidth", width, "81")):
        value = f"{first}\\{other}".encode()
        value += b" " * (len(value) % 2)
        dataset[Tag(keyword)] = RawDataElement(Tag(keyword), "DS", len(value), value, 0, False, True)
    rendered = render(dataset)
    assert (rendered.pixels[0].tolist(), rendered.warnings, rendered.window) == ([0, 128, 255], ("window_other",), 2)


def test_where_the_first_table_is_unusable_the_next_usable_one_is_used_and_told():
    bad, good = *lookup_item([0, 1], 0, 10), *lookup_item([0, 512, 1023], 0, 10)
    bad.LUTDescriptor = [30, 0, 10]
    rendered = render(image(np.array([[0, 1, 2]]), VOILUTSequence=[bad, good]))
    assert (rendered.pixels[0].tolist(), rendered.warnings, rendered.window) == ([0, 128, 255], ("window_other",), 2)
    assert render(image(np.array([[0, 1, 2]]), VOILUTSequence=[good, bad])).window == 1


def test_without_a_window_one_broken_cell_does_not_ruin_the_contrast():
    values = np.clip(np.random.default_rng(0).normal(800, 150, (128, 128)), 300, 1400).astype(np.uint16)
    values[0, 0], values[0, 1] = 4095, 0
    pixels = render(image(values, drop=NO_WINDOW)).pixels
    low, high = np.percentile(values, [0.5, 99.5], method="inverted_cdf")
    expected = np.clip((values.astype(float) - low) / (high - low), 0, 1)
    np.testing.assert_array_equal(pixels, np.rint(expected * 255))
    assert np.ptp(np.percentile(pixels, [25, 75])) > 60


def test_without_a_window_a_falling_slope_and_padding_leave_the_percentiles_those_of_the_values():
    values = np.random.default_rng(1).integers(0, 4096, (100, 100))
    values[:30] = 4095
    tags = {"RescaleSlope": -2, "RescaleIntercept": 100, "PixelPaddingValue": 4095, "drop": NO_WINDOW}
    rescaled = 100.0 - 2 * values
    low, high = np.percentile(rescaled[values != 4095], [0.5, 99.5], method="inverted_cdf")
    expected = np.where(values == 4095, 0, np.clip((rescaled - low) / (high - low), 0, 1))
    np.testing.assert_array_equal(render(image(values, **tags)).pixels, np.rint(expected * 255))


def test_where_nearly_all_pixels_have_one_value_the_whole_range_is_shown():
    values = np.full((50, 50), 1000)
    values[0, :3] = 500, 1250, 1500
    assert render(image(values, drop=NO_WINDOW)).pixels[0, :4].tolist() == [0, 191, 255, 128]


@pytest.mark.parametrize("keyword", ["PixelPaddingValue", "PixelPaddingRangeLimit"])
@pytest.mark.parametrize("value", [b"x ", b"1.5 ", b"1\\2 "])
def test_padding_that_cannot_be_read_is_told(keyword, value):
    dataset = image(np.array([[0, 40, 80]]), WindowCenter=40.5, WindowWidth=81)
    dataset[Tag(keyword)] = RawDataElement(Tag(keyword), "DS", len(value), value, 0, False, True)
    rendered = render(dataset)
    assert (rendered.pixels[0].tolist(), rendered.warnings) == ([0, 128, 255], ("padding_invalid",))


@pytest.mark.parametrize(
    ("tags", "codes"),
    [
        ({"WindowWidth": 0}, ("window_invalid", "window_missing")),
        ({"WindowWidth": -100}, ("window_invalid", "window_missing")),
        ({"WindowWidth": 0.5}, ("window_invalid", "window_missing")),
        ({"WindowWidth": ""}, ("window_invalid", "window_missing")),
        ({"WindowCenter": ""}, ("window_invalid", "window_missing")),
        ({"drop": ("WindowCenter",)}, ("window_invalid", "window_missing")),
        ({"drop": NO_WINDOW}, ("window_missing",)),
    ],
)
def test_without_a_usable_window_more_than_eight_bits_fall_back_on_their_percentiles_with_a_warning(tags, codes):
    # (1000, 1500, 3000): 0, 500 / 2000 * 255 = 63.75, 255.
    assert shown([1000, 1500, 3000], **tags) == ([0, 64, 255], codes)


def test_an_unusable_window_of_eight_bits_falls_back_on_all_stored_values():
    assert shown([10, 20, 30], WindowWidth=0, **EIGHT) == ([10, 20, 30], ("window_invalid",))


def test_an_unknown_function_is_taken_as_linear_with_a_warning():
    found = shown([0, 40, 80], WindowCenter=40.5, WindowWidth=81, VOILUTFunction="CUBIC")
    assert found == ([0, 128, 255], ("voi_function_unknown",))


INVERSIONS = [
    ("MONOCHROME2", "IDENTITY", False, ()),
    ("MONOCHROME2", "", False, ()),
    ("MONOCHROME1", "INVERSE", True, ()),
    ("MONOCHROME1", "", True, ()),
    ("MONOCHROME2", "INVERSE", True, ("presentation_conflict",)),
    ("MONOCHROME1", "IDENTITY", True, ("presentation_conflict",)),
]


@pytest.mark.parametrize(("photometric", "shape", "inverted", "codes"), INVERSIONS)
def test_the_image_is_inverted_at_most_once(photometric, shape, inverted, codes):
    tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    upright = [0, 64, 191, 255]
    expected = [255 - value for value in upright] if inverted else upright
    assert shown(upright, WindowCenter=128, WindowWidth=256, **tags, **EIGHT) == (expected, codes)


def test_the_inversion_comes_after_the_window():
    # Window of 0..80 first: 0, 64 (63.75), 255; then inverted: 255, 191.25, 0.
    tags = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    assert shown([0, 20, 4095], WindowCenter=40.5, WindowWidth=81, **tags)[0] == [255, 191, 0]


def test_signed_values_are_sign_extended_from_the_stored_bits():
    # 12 bits in 16: 0xFFF is -1 and 0x800 is -2048, whether or not the unused bits repeat the sign.
    values = np.array([0x0FFF, 0xFFFF, 0x0800, 0xF800, 0x0000, 0x07FF], dtype=np.uint16)
    tags = {"PixelRepresentation": 1, "WindowCenter": 0, "WindowWidth": 4096}
    # (x + 0.5) / 4095 + 0.5: -2048 becomes 0 and 2047 becomes 1; -1 becomes 127.47 and 0 becomes 127.53.
    assert shown(values, **tags) == ([127, 127, 0, 0, 128, 255], ())


def test_a_high_bit_above_the_lowest_possible_one_is_shifted_down():
    # 12 bits stored in bits 4 to 15; what stands in the bits below does not count.
    values = (np.array([0, 1, 2048, 4095], dtype=np.uint16) << 4) | 0xF
    plain = shown([0, 1, 2048, 4095])
    assert shown(values, HighBit=15) == plain == ([0, 0, 128, 255], ())


def test_what_stands_above_the_high_bit_does_not_count():
    assert shown([0xA000, 0xA000 | 2048, 0xA000 | 4095]) == ([0, 128, 255], ())


def test_signed_eight_bits_without_a_window_are_shown_over_all_stored_values():
    values = np.array([-128, -1, 0, 127], dtype=np.int8)
    assert shown(values, PixelRepresentation=1, drop=NO_WINDOW, **EIGHT) == ([0, 127, 128, 255], ())


def test_a_missing_sign_is_taken_as_unsigned():
    assert shown([0, 4095], drop=("PixelRepresentation",)) == ([0, 255], ())


def test_rescaling_comes_before_the_window():
    # 2 x - 100: 50 is 0, 90 is 80; the window shows 0 to 80.
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 40.5, "WindowWidth": 81}
    assert shown([0, 50, 60, 70, 90, 200], **tags) == ([0, 0, 64, 128, 255, 255], ())


def test_a_falling_rescale_slope_turns_the_image_over():
    assert shown([0, 10, 255], RescaleSlope=-1, RescaleIntercept=0, drop=NO_WINDOW, **EIGHT) == ([255, 245, 0], ())


@pytest.mark.parametrize("tags", [{"RescaleSlope": 0}, {"RescaleSlope": [1, 1]}, {"RescaleSlope": 1e308}])
def test_an_unusable_rescale_is_left_out_with_a_warning_and_so_is_the_window_made_for_its_values(tags):
    window = {"WindowCenter": 40.5, "WindowWidth": 81}
    codes = ("modality_lut_invalid", "window_missing")
    assert shown([1000, 1500, 3000], **window, **tags) == ([0, 64, 255], codes)
    table = lookup_item([0, 512, 1023], 0, 10)
    assert shown([1000, 1500, 3000], VOILUTSequence=table, **tags) == ([0, 64, 255], codes)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("value", [b"x ", b"1,5 "])
def test_a_slope_or_intercept_that_is_no_number_is_unusable(keyword, value):
    dataset = image(np.array([[1000, 1500, 3000]]))
    dataset[Tag(keyword)] = RawDataElement(Tag(keyword), "DS", len(value), value, 0, False, True)
    rendered = render(dataset)
    assert rendered.pixels[0].tolist() == [0, 64, 255]
    assert rendered.warnings == ("modality_lut_invalid", "window_missing")


@pytest.mark.parametrize(
    ("tags", "values"),
    [
        ({"drop": ("RescaleIntercept",)}, [0, 40, 80]),
        ({"RescaleIntercept": ""}, [0, 40, 80]),
        ({"drop": ("RescaleSlope",)}, [0, 40, 80]),
        ({"RescaleSlope": ""}, [0, 40, 80]),
        # The missing partner is 0 or 1, and the one that is there counts.
        ({"RescaleSlope": 2, "drop": ("RescaleIntercept",)}, [0, 20, 40]),
        ({"RescaleIntercept": -1000, "RescaleSlope": ""}, [1000, 1040, 1080]),
    ],
)
def test_one_of_slope_and_intercept_is_completed_and_the_window_kept(tags, values):
    found = shown(values, WindowCenter=40.5, WindowWidth=81, **tags)
    assert found == ([0, 128, 255], ("rescale_incomplete",))


def test_neither_slope_nor_intercept_needs_a_word():
    for tags in ({"drop": ("RescaleSlope", "RescaleIntercept")}, {"RescaleSlope": "", "RescaleIntercept": ""}):
        assert shown([0, 40, 80], WindowCenter=40.5, WindowWidth=81, **tags) == ([0, 128, 255], ())


def test_a_modality_table_comes_before_the_window_and_replaces_rescaling():
    # First value mapped 10: below it the first entry, beyond the last the last one.
    table = lookup_item([0, 20, 40, 80], 10, 16)
    tags = {"ModalityLUTSequence": table, "RescaleSlope": 7, "WindowCenter": 40.5, "WindowWidth": 81}
    assert shown([0, 10, 11, 12, 13, 4000], **tags) == ([0, 0, 64, 128, 255, 255], ())


def test_a_table_can_begin_below_zero():
    table = lookup_item([0, 20, 40, 80], -2, 16)
    tags = {"ModalityLUTSequence": table, "WindowCenter": 40.5, "WindowWidth": 81, "PixelRepresentation": 1}
    assert shown(np.array([-5, -2, -1, 0, 1, 2], dtype=np.int16), **tags)[0] == [0, 0, 64, 128, 255, 255]


@pytest.mark.parametrize("words", [True, False])
def test_a_voi_table_is_preferred_to_a_window_and_shown_over_its_own_bits(words):
    # 10 bits: 1023 is white; 512 / 1023 * 255 = 127.62.
    table = lookup_item([0, 512, 1023], 100, 10, words=words)
    assert shown([0, 100, 101, 102, 4095], VOILUTSequence=table) == ([0, 0, 128, 255, 255], ())


def test_eight_bit_entries_may_be_packed_two_to_a_word():
    (item,) = lookup_item([0, 0], 0, 8)
    item.LUTDescriptor = [4, 0, 8]
    item["LUTData"].value = bytes([0, 10, 200, 255])
    assert shown([0, 1, 2, 3], VOILUTSequence=[item], **EIGHT) == ([0, 10, 200, 255], ())


def test_zero_entries_mean_65536():
    (item,) = lookup_item(np.arange(65536), 0, 16)
    assert item.LUTDescriptor == [0, 0, 16]
    bits = {"BitsStored": 16, "HighBit": 15}
    # 32768 / 65535 * 255 = 127.50 (127.502).
    assert shown([0, 32768, 65535], VOILUTSequence=[item], **bits) == ([0, 128, 255], ())


@pytest.mark.parametrize("spoil", ["descriptor", "bits", "short", "no data"])
def test_an_unusable_table_is_left_out_with_a_warning(spoil):
    (item,) = lookup_item([0, 512, 1023], 0, 10)
    if spoil == "descriptor":
        item.LUTDescriptor = [3, 0]
    elif spoil == "bits":
        item.LUTDescriptor = [3, 0, 32]
    elif spoil == "short":
        item.LUTDescriptor = [30, 0, 10]
    else:
        del item.LUTData
    window = {"WindowCenter": 40.5, "WindowWidth": 81}
    assert shown([0, 40, 80], VOILUTSequence=[item], **window) == ([0, 128, 255], ("voi_lut_invalid",))
    codes = ("modality_lut_invalid", "window_missing")
    assert shown([1000, 1500, 3000], ModalityLUTSequence=[item], **window) == ([0, 64, 255], codes)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_takes_no_part_in_the_range(photometric):
    tags = {"PhotometricInterpretation": photometric, "drop": (*NO_WINDOW, "PresentationLUTShape")}
    middle = [0, 64, 255] if photometric == "MONOCHROME2" else [255, 191, 0]
    assert shown([4095, 1000, 1500, 3000], PixelPaddingValue=4095, **tags)[0] == [0, *middle]
    with_range = {"PixelPaddingValue": 4000, "PixelPaddingRangeLimit": 4095}
    assert shown([4000, 4095, 1000, 1500, 3000], **with_range, **tags)[0] == [0, 0, *middle]
    backwards = {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4000}
    assert shown([4000, 4095, 1000, 1500, 3000], **backwards, **tags)[0] == [0, 0, *middle]


def test_signed_padding_is_found_even_when_written_unsigned():
    values = np.array([-2048, -1000, 0, 1000], dtype=np.int16)
    dataset = image([values], PixelRepresentation=1, drop=NO_WINDOW)
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2048)
    rendered = render(dataset)
    assert rendered.pixels[0].tolist() == [0, 0, 128, 255]
    assert rendered.padding_fraction == 0.25


def test_an_image_of_nothing_but_padding_is_black():
    rendered = render(image(np.full((2, 2), 5), PixelPaddingValue=5, drop=NO_WINDOW))
    assert rendered.pixels.max() == 0
    assert rendered.padding_fraction == 1.0


def test_an_image_of_one_value_without_a_window_is_black():
    assert render(image(np.full((2, 2), 77), drop=NO_WINDOW)).pixels.tolist() == [[0, 0], [0, 0]]


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["mlut_18.dcm", "vlut_04.dcm"])
def test_the_published_table_images_agree_with_pydicom(real_dicom, name):
    dataset = pydicom.dcmread(real_dicom / "codecs" / name)
    values = dataset.pixel_array
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = apply_voi_lut(apply_modality_lut(values, dataset), dataset).astype(float)
    rendered = render(dataset)
    if name.startswith("vlut"):
        expected /= 65535
        assert rendered.warnings == ()
    else:
        low, high = np.percentile(expected, [0.5, 99.5], method="inverted_cdf")
        expected = np.clip((expected - low) / (high - low), 0, 1)
        assert rendered.warnings == ("window_missing",)
    np.testing.assert_array_equal(rendered.pixels, np.rint(expected * 255).astype(np.uint8))
