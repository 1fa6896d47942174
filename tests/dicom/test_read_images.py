"""PNG and JPEG files, which have no header that could be judged."""

import dataclasses
import math

import numpy as np
import pytest
from dicom_films import ramp
from PIL import Image

from chexkeras.dicom.gate import CLINICAL, DicomRejected
from chexkeras.dicom.read import is_dicom, read_film


def rejection(path, profile="clinical", read=read_film):
    with pytest.raises(DicomRejected) as caught:
        read(path, profile=profile)
    return caught.value


def test_content_tells_dicom_from_images_not_the_name(tmp_path, make_film):
    renamed = make_film(name="film.png")
    assert is_dicom(renamed)
    assert read_film(renamed).view == "PA"
    path = tmp_path / "image.dcm"
    Image.fromarray(ramp(highest=255).astype(np.uint8)).save(path, "PNG")
    assert read_film(path).warnings == ("no_header",)


def test_images_have_no_header(tmp_path):
    values = ramp(highest=255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "film.png")
    film = read_film(tmp_path / "film.png")
    assert (film.view, film.sex, film.photometric, film.key, film.decoder) == ("", "", "", "", "pillow")
    assert math.isnan(film.age_years) and math.isnan(film.pixel_spacing_mm)


def test_images_of_any_mode_become_grey(tmp_path):
    grey = ramp(highest=255).astype(np.uint8)
    colour = np.stack([grey] * 3, axis=-1)
    with_alpha = np.dstack([colour, np.full_like(grey, 255)])
    for name, values in {"grey": grey, "colour": colour, "alpha": with_alpha}.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(read_film(tmp_path / f"{name}.png").pixels, grey)
    # 16 bits: 65535 is white, so that 257 steps make one.
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_film(tmp_path / "deep.png").pixels, grey)
    Image.fromarray(grey).save(tmp_path / "film.jpg", quality=95)
    assert np.abs(read_film(tmp_path / "film.jpg").pixels.astype(int) - grey).max() < 8


def test_images_are_checked_for_size_and_content(tmp_path):
    Image.fromarray(ramp(100, 300, 255).astype(np.uint8)).save(tmp_path / "small.png")
    assert rejection(tmp_path / "small.png").code == "geometry"
    Image.new("L", (300, 300), 7).save(tmp_path / "flat.png")
    assert rejection(tmp_path / "flat.png").code == "constant"
    tiny = dataclasses.replace(CLINICAL, maximum_file_bytes=10)
    assert rejection(tmp_path / "flat.png", tiny).code == "too_large"
    content = (tmp_path / "small.png").read_bytes()
    Image.fromarray(ramp(300, 300, 255).astype(np.uint8)).save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    assert rejection(tmp_path / "cut.png").code == "unreadable"


def test_an_image_of_huge_dimensions_is_rejected_before_it_is_decoded(tmp_path):
    Image.new("L", (10_001, 300), 7).save(tmp_path / "huge.png")
    assert rejection(tmp_path / "huge.png").code == "geometry"


def test_an_image_format_that_is_neither_png_nor_jpeg_is_rejected(tmp_path):
    Image.fromarray(ramp(300, 300, 255).astype(np.uint8)).save(tmp_path / "film.tif")
    assert rejection(tmp_path / "film.tif").code == "unreadable"
