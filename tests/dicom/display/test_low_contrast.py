"""Images that decode and show too little: the window or table is named, and another one taken where there is one."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from chexkeras.dicom.pixels import contrast
from chexkeras.dicom.pixels.display import render
from chexkeras.dicom.profiles import CLINICAL
from chexkeras.dicom.read import read_dicom, read_image
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.rules import RULE_BY_CODE
from tests.dicom.dicom_images import image, lookup_item

FULL = (2048, 4096)
NO_WINDOW = ("WindowCenter", "WindowWidth")
WARNING = dataclasses.replace(CLINICAL, overrides=(("low_contrast", "warn"),))


def chest(bits=12, side=256):
    """Something like a chest: bright in the middle, two dark lungs, a dark surround, a little noise."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    lungs = [np.exp(-(((x - at) / 0.13) ** 2) - ((y - 0.45) / 0.28) ** 2) for at in (0.3, 0.7)]
    shade = 0.75 - 0.5 * sum(lungs) + np.random.default_rng(0).normal(0, 0.01, x.shape)
    shade[:, :12] = shade[:, -12:] = 0.02
    return np.rint(np.clip(shade, 0, 1) * (2**bits - 1)).astype(np.uint16)


def windows(*pairs):
    return {"WindowCenter": [center for center, _ in pairs], "WindowWidth": [width for _, width in pairs]}


def rejection(path, profile="clinical"):
    with pytest.raises(DicomRejected) as caught:
        read_image(path, profile=profile)
    return caught.value


def test_the_rule_says_the_limits_that_are_measured():
    check = RULE_BY_CODE["low_contrast"].check
    assert f"at least {contrast.FEWEST_GREY_LEVELS} grey" in check
    assert f"at most {contrast.MOST_CLIPPED:.0%}".replace("%", " %") in check
    assert f"{contrast.MOST_AT_EACH_END:.0%} each".replace("%", " %") in check


UNFIT = {
    "of 16 bits on 12": (windows((32768, 65536)), "WindowWidth", "window 1"),
    "stored units on rescaled values": ({"RescaleSlope": 0.1, **windows(FULL)}, "WindowWidth", "window 1"),
    "too narrow": (windows((2500, 150)), "WindowWidth", "window 1"),
    "partly outside": (windows((3550, 1100)), "WindowWidth", "window 1"),
    "of Hounsfield units": (windows((40, 400)), "WindowWidth", "window 1"),
    "sigmoid of next to no width": ({"VOILUTFunction": "SIGMOID", **windows((2500, 0.001))}, "WindowWidth", "window 1"),
    "exact of next to no width": (
        {"VOILUTFunction": "LINEAR_EXACT", **windows((2500, 1e-300))},
        "WindowWidth",
        "window 1",
    ),
    "a table too dark": (
        {"drop": NO_WINDOW, "VOILUTSequence": lookup_item(np.linspace(0, 9000, 4096).round(), 0, 16)},
        "VOILUTSequence",
        "VOI table 1",
    ),
    "a second table": (
        {
            "drop": NO_WINDOW,
            "VOILUTSequence": lookup_item([0], 0, 7) + lookup_item(np.linspace(0, 9000, 4096).round(), 0, 16),
        },
        "VOILUTSequence",
        "VOI table 2",
    ),
}


@pytest.mark.parametrize(("tags", "tag", "words"), UNFIT.values(), ids=UNFIT.keys())
def test_a_window_or_table_that_does_not_fit_is_refused_by_name(make_image, tags, tag, words):
    rejected = rejection(make_image(chest(), **tags))

    assert rejected.code == "low_contrast"
    assert tag in rejected.tag
    assert rejected.found.endswith(f"shown through {words}")


def test_it_is_a_warning_where_the_profile_only_warns(make_image):
    assert "low_contrast" in read_dicom(make_image(chest(), **windows((32768, 65536))), profile=WARNING).warnings


CONSTANT = {
    "far outside": (windows((60000, 4096)), "window 1"),
    "tiny values": ({"RescaleSlope": 0.001, **windows(FULL)}, "window 1"),
    "table elsewhere": (
        {"drop": NO_WINDOW, "VOILUTSequence": lookup_item(np.linspace(0, 4095, 4096).round(), 9000, 12)},
        "VOI table 1",
    ),
}


@pytest.mark.parametrize(("tags", "words"), CONSTANT.values(), ids=CONSTANT.keys())
def test_a_constant_image_names_what_made_it_constant(make_image, tags, words):
    rejected = rejection(make_image(chest(), **tags))

    assert rejected.code == "constant"
    assert rejected.found.endswith(f"shown through {words}")


def test_a_window_is_not_blamed_for_an_image_that_stores_little(make_image):
    blank = np.where(np.arange(256) < 128, 100, 3000) * np.ones((256, 1), dtype=int)

    rejected = rejection(make_image(blank))

    assert (rejected.code, rejected.found) == ("low_contrast", "2 grey levels in use; stored values in use: 2")
    assert "PixelData" in rejected.tag


@pytest.mark.parametrize("first", [(32768, 65536), (60000, 4096), (2500, 100), (-500, 1000)])
def test_a_first_window_that_shows_next_to_nothing_gives_way_to_one_that_shows_the_image(first):
    both, alone = (render(image(chest(), **windows(*pairs))) for pairs in ((first, FULL), (FULL,)))

    np.testing.assert_array_equal(both.pixels, alone.pixels)
    assert (both.warnings, both.window, both.shown_by) == (("window_other",), 2, "WindowWidth")


def test_a_first_window_that_shows_the_image_stays_though_another_shows_more():
    rendered = render(image(chest(), **windows((2000, 2500), FULL)))
    assert (rendered.warnings, rendered.window) == ((), 1)


def test_where_no_window_shows_the_image_the_first_one_stays_and_is_named(make_image):
    rejected = rejection(make_image(chest(), **windows((32768, 65536), (60000, 9000))))
    assert (rejected.code, rejected.found.split()[-1]) == ("low_contrast", "1")


def test_a_table_that_shows_next_to_nothing_gives_way_to_a_window():
    dark = lookup_item(np.linspace(0, 9000, 4096).round(), 0, 16)

    rendered = render(image(chest(), VOILUTSequence=dark))

    np.testing.assert_array_equal(rendered.pixels, render(image(chest())).pixels)
    assert (rendered.warnings, rendered.window, rendered.shown_by) == (("window_other",), 1, "WindowWidth")


@pytest.mark.parametrize(("center", "width"), [("\\2048", "\\4096"), ("2048\\", "4096\\"), ("x\\2048", "9\\4096")])
def test_blanks_in_a_list_of_windows_leave_the_others(tmp_path, center, width):
    dataset = image(chest(), drop=NO_WINDOW)
    for keyword, text in (("WindowCenter", center), ("WindowWidth", width)):
        dataset.add_new(keyword, "LO", text.split("\\"))

    np.testing.assert_array_equal(render(dataset).pixels, render(image(chest())).pixels)


@pytest.mark.parametrize("vr", ["LO", "US", "FD", "IS"])
def test_a_window_is_read_whatever_its_value_representation(vr):
    dataset = image(chest(), drop=NO_WINDOW)
    for keyword, number in (("WindowCenter", 2048), ("WindowWidth", 4096)):
        dataset.add_new(keyword, vr, str(number) if vr == "LO" else number)

    np.testing.assert_array_equal(render(dataset).pixels, render(image(chest())).pixels)


def test_a_falling_slope_and_its_window_turn_the_image_over():
    rendered = render(image(chest(), RescaleSlope=-1, RescaleIntercept=4095))
    np.testing.assert_allclose(rendered.pixels, 255.0 - render(image(chest())).pixels, atol=1)


@pytest.mark.parametrize("window", [(3300, 900), (1700, 2200)])
def test_half_black_or_a_tenth_white_is_a_warning(make_image, window):
    assert read_dicom(make_image(chest(), **windows(window))).warnings == ("saturated",)


def test_black_padding_does_not_saturate(make_image):
    padded = chest()
    padded[:, :150] = 0
    assert "saturated" not in read_dicom(make_image(padded, PixelPaddingValue=0)).warnings


@pytest.mark.parametrize(
    "tags",
    [
        windows((4096, 8192)),
        windows((0, 8192)),
        {"RescaleSlope": 0.5},
        {"VOILUTSequence": lookup_item(np.clip(np.arange(4096) * 1.3, 0, 4090).round(), 0, 13)},
    ],
)
def test_an_image_in_one_half_of_the_scale_is_a_warning(make_image, tags):
    assert read_dicom(make_image(chest(), **tags)).warnings == ("half_scale",)


SIXTEEN_BITS = [(8, "constant"), (10, "constant"), (12, "low_contrast"), (14, "low_contrast"), (15, "low_contrast")]


@pytest.mark.parametrize(("bits", "code"), SIXTEEN_BITS)
def test_fewer_bits_saved_as_sixteen_are_refused_with_the_cause_and_the_remedy(tmp_path, bits, code):
    path = tmp_path / "image.png"
    Image.fromarray(chest(bits)).save(path)

    rejected = rejection(path)

    assert (rejected.code, rejected.tag) == (code, "file")
    assert f"none takes more than {bits} bits" in rejected.found
    assert "scaled to all of 0 to 255, or 0 to 65535 in 16 bits" in rejected.expected
    if code == "low_contrast":
        assert read_image(path, profile=WARNING).warnings == ("no_header", "low_contrast")


def test_sixteen_bits_in_full_are_read_without_a_word(tmp_path):
    Image.fromarray(chest(16)).save(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png").warnings == ("no_header",)


def test_an_eight_bit_file_of_few_levels_is_refused_too(tmp_path):
    Image.fromarray((chest(8) // 17).astype(np.uint8)).save(tmp_path / "image.png")
    rejected = rejection(tmp_path / "image.png")
    assert rejected.code == "low_contrast"
    assert rejected.found.endswith("grey levels in use")


def test_windows_of_images_of_color_channels_do_not_count(make_image):
    grey = chest(8).astype(np.uint8)
    rgb = np.stack([grey] * 3, axis=-1)
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PresentationLUTShape": ""}
    np.testing.assert_array_equal(render(image(rgb, **windows((60000, 10)), **tags, **eight)).pixels, grey)
