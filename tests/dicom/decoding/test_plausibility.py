"""Phantoms as they are, noisy and low in contrast, against the same phantoms scrambled."""

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from chexkeras.dicom.pixels.plausibility import (
    bytes_are_swapped,
    disorder,
    ends_in_nothing,
    lower_byte_is_foreign,
    neighbour_correlation,
    row_shift,
)
from chexkeras.dicom.read import read_dicom, read_image
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.phantoms.cohort import make_cohort
from chexkeras.phantoms.render import render
from tests.dicom.dicom_images import image, write

SIDE = 640
# A detector's noise in the lower bits, which eight bits do not have.
GRAIN = 0.002


@pytest.fixture(scope="module", params=[0, 1, 2])
def phantom(request):
    return render(make_cohort(3, seed=5)[request.param], 5, SIDE)[0]


def values_of(phantom, bits):
    grain = np.random.default_rng(1).normal(0, GRAIN, phantom.shape)
    return np.rint(np.clip(phantom / 255 + grain, 0, 1) * (2**bits - 1)).astype(np.uint16)


def noisy(phantom, share, contrast=1.0):
    noise = np.random.default_rng(2).normal(0, share * 255, phantom.shape)
    return np.clip(np.rint(phantom * contrast + noise), 0, 255).astype(np.uint8)


PICTURES = {
    "as it is": lambda film: film,
    "noise of 2 %": lambda film: noisy(film, 0.02),
    "noise of 5 %": lambda film: noisy(film, 0.05),
    "16 gray levels": lambda film: film // 16 * 16,
    "a tenth of the contrast": lambda film: film // 10 + 100,
    "half of the contrast and noise": lambda film: noisy(film, 0.03, 0.5),
    "on its side": lambda film: np.rot90(film),
    "mirrored": lambda film: film[:, ::-1],
    "turned by 30 degrees": lambda film: np.asarray(Image.fromarray(film).rotate(30)),
    "in a black border": lambda film: np.pad(film, 160),
    "negative": lambda film: 255 - film,
    "lines of a grid": lambda film: np.clip(film + 8.0 * np.sin(2.3 * np.arange(SIDE)), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_stays_one(phantom, name):
    assert disorder(np.ascontiguousarray(PICTURES[name](phantom))) == ""


def sheared(film, columns):
    flat = film.ravel()
    return flat[: flat.size // columns * columns].reshape(-1, columns)


def permuted(film):
    return film[np.random.default_rng(3).permutation(len(film))]


SCRAMBLED = {
    "random": lambda film: np.random.default_rng(4).integers(0, 256, film.shape, dtype=np.uint8),
    "random in a black border": lambda film: np.pad(SCRAMBLED["random"](film), 160),
    "bytes of 16 bits swapped": lambda film: (values_of(film, 16).byteswap() >> 8).astype(np.uint8),
    "bytes of 14 bits swapped": lambda film: (values_of(film, 14).byteswap() >> 8).astype(np.uint8),
    "16 bits as 8": lambda film: values_of(film, 16).view(np.uint8),
    "rows out of order": permuted,
    "columns out of order": lambda film: np.ascontiguousarray(permuted(film.T).T),
    "rows and columns exchanged": lambda film: sheared(film[:, :240], SIDE),
    "rows too long by 5": lambda film: sheared(film, SIDE + 5),
    "rows too short by 40": lambda film: sheared(film, SIDE - 40),
}


@pytest.mark.parametrize("name", SCRAMBLED)
def test_what_is_out_of_order_is_told(phantom, name):
    assert disorder(SCRAMBLED[name](phantom)) != ""


def test_the_shift_of_the_rows_is_named(phantom):
    assert row_shift(phantom) == 0
    # Rows are read with five pixels of the next one at their end, so that each begins further on in the film.
    assert row_shift(sheared(phantom, SIDE + 5)) == -5
    assert disorder(sheared(phantom, SIDE + 5)) == "rows that go on 5 columns to the left"


def test_correlation_by_hand():
    # Two tiles of stripes, 0 and 2 in turn, mean 1, variance 1: across all differences are 2, down there are none.
    stripes = np.tile([0, 2], (16, 16))
    assert neighbour_correlation(stripes) == (1 - 4 / 2, 1.0)
    assert neighbour_correlation(stripes.T) == (1.0, 1 - 4 / 2)
    assert neighbour_correlation(np.full((32, 32), 7)) == (1.0, 1.0)


def test_tiles_of_one_value_do_not_count():
    snow = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    assert neighbour_correlation(np.pad(snow, 160)) == neighbour_correlation(snow)


@pytest.mark.parametrize("bits", [12, 14, 16])
def test_swapped_bytes_are_told_from_those_in_order(phantom, bits):
    values = values_of(phantom, bits)
    assert not bytes_are_swapped(values) and bytes_are_swapped(values.byteswap())
    signed = values.astype(np.int32) - 2 ** (bits - 1)
    assert not bytes_are_swapped(signed.astype(np.int16)) and bytes_are_swapped(signed.astype(np.int16).byteswap())
    # Neither way round is a picture; this is not for the bytes to tell.
    assert not bytes_are_swapped(np.random.default_rng(0).integers(0, 65536, (64, 64), dtype=np.uint16))


def rejection(path, read=read_dicom):
    with pytest.raises(DicomRejected) as caught:
        read(path)
    return caught.value


# 12 bits described as 16, as exporters like to write them: no unused bits that could tell.
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_files_of_swapped_bytes_are_refused_in_every_syntax(tmp_path, phantom, bits, syntax):
    for swapped in (False, True):
        values = values_of(phantom, bits)
        dataset = image(
            values.byteswap() if swapped else values, BitsStored=16, HighBit=15, WindowCenter=2 ** (bits - 1),
            WindowWidth=2**bits,
        )  # fmt: skip
        if syntax:
            dataset.compress(syntax, generate_instance_uid=False)
        path = write(tmp_path / "image.dcm", dataset)
        if not swapped:
            assert read_dicom(path).warnings == ()
            continue
        rejected = rejection(path)
        assert (rejected.code, rejected.found) == ("scrambled", "swapped bytes")


@pytest.mark.parametrize("bits", [11, 12, 16])
def test_a_lower_byte_that_does_not_belong_to_the_upper_one_is_seen(tmp_path, phantom, bits):
    # Within the exposed field: the edges of the field on its plate are steps of more than one upper byte.
    edge = SIDE // 4
    values = values_of(phantom[edge:-edge, edge:-edge].repeat(2, axis=0).repeat(2, axis=1), bits)
    foreign = values & 0xFF00 | np.random.default_rng(6).integers(0, 256, values.shape, dtype=np.uint16)
    # The upper byte alone makes them alike.
    assert min(neighbour_correlation(foreign)) > 0.9
    tags = {"BitsStored": bits, "HighBit": bits - 1, "WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits}
    assert read_dicom(write(tmp_path / "image.dcm", image(values, **tags))).warnings == ()
    if bits < 16:
        rejected = rejection(write(tmp_path / "image.dcm", image(foreign, **tags)))
        assert (rejected.code, rejected.found) == ("scrambled", "lower bytes that do not belong to the upper ones")


@pytest.mark.parametrize("factor", [257, 256, 200, 150, 100, 16, 1])
@pytest.mark.parametrize("noise", [0, 0.02, 0.07])
def test_eight_bits_scaled_up_and_noise_are_no_foreign_bytes(phantom, factor, noise):
    values = noisy(phantom, noise).astype(np.int32) * factor
    assert not lower_byte_is_foreign(values)
    assert not lower_byte_is_foreign(values - 128 * factor)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_image_files_are_looked_at_as_well(tmp_path, suffix):
    snow = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    Image.fromarray(snow).save(tmp_path / f"snow.{suffix}", quality=95)
    assert rejection(tmp_path / f"snow.{suffix}", read_image).code == "scrambled"


def test_an_image_too_small_to_tell_is_not_judged():
    assert disorder(np.random.default_rng(0).integers(0, 256, (31, 400), dtype=np.uint8)) == ""


def test_a_corner_of_the_middle_gray_is_what_a_decoder_puts_where_data_ends(phantom):
    filled = phantom.copy()
    filled[200:] = 128
    assert ends_in_nothing(filled) and not ends_in_nothing(phantom)
    assert not ends_in_nothing(np.full((64, 64), 128, np.uint8))


def test_a_profile_may_only_warn_of_snow_or_pass_it(tmp_path):
    from dataclasses import replace

    from PIL import Image

    from chexkeras.dicom.profiles import find_profile
    from chexkeras.dicom.read import read_image
    from chexkeras.dicom.rejection import DicomRejected

    snow = np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8)
    Image.fromarray(snow).save(tmp_path / "snow.png")
    with pytest.raises(DicomRejected) as refused:
        read_image(tmp_path / "snow.png")
    assert refused.value.code == "scrambled"
    for severity, codes in (("warn", ("no_header", "scrambled")), ("off", ("no_header",))):
        profile = replace(find_profile("clinical"), overrides=(("scrambled", severity),))
        assert read_image(tmp_path / "snow.png", profile).warnings == codes
