"""PNG and JPEG files, which have no header that could be judged."""

import dataclasses
import math
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from chexkeras.dicom.pixels import image_file
from chexkeras.dicom.profiles import CLINICAL
from chexkeras.dicom.read import is_dicom, read_image
from chexkeras.dicom.rejection import DicomRejected
from tests.dicom.dicom_images import ramp


def rejection(path, profile="clinical", read=read_image):
    with pytest.raises(DicomRejected) as caught:
        read(path, profile=profile)
    return caught.value


def test_content_tells_dicom_from_images_not_the_name(tmp_path, make_image):
    renamed = make_image(name="image.png")
    assert is_dicom(renamed)
    assert read_image(renamed).view == "PA"
    path = tmp_path / "image.dcm"
    Image.fromarray(ramp(highest=255).astype(np.uint8)).save(path, "PNG")
    assert read_image(path).warnings == ("no_header",)


def test_images_have_no_header(tmp_path):
    values = ramp(highest=255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "image.png")
    image = read_image(tmp_path / "image.png")
    assert (image.view, image.sex, image.photometric, image.key, image.decoder) == ("", "", "", "", "pillow")
    assert math.isnan(image.age_years) and math.isnan(image.pixel_spacing_mm)


def test_images_of_any_mode_become_grey(tmp_path):
    grey = ramp(highest=255).astype(np.uint8)
    colour = np.stack([grey] * 3, axis=-1)
    with_alpha = np.dstack([colour, np.full_like(grey, 255)])
    for name, values in {"grey": grey, "colour": colour, "alpha": with_alpha}.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.png").pixels, grey)
    # 16 bits: 65535 is white, so that 257 steps make one.
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png").pixels, grey)
    Image.fromarray(grey).save(tmp_path / "image.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "image.jpg").pixels.astype(int) - grey).max() < 8


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


def test_an_image_that_pillow_itself_takes_for_a_bomb_is_rejected_for_its_size(tmp_path):
    def chunk(kind, data):
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    size = struct.pack(">LLBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert rejection(tmp_path / "bomb.png").code == "geometry"


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_colour_photograph_is_rejected_as_its_dicom_object_would_be(tmp_path, suffix):
    grey = ramp(300, 300, 255).astype(np.uint8)
    photograph = np.dstack([grey, grey[::-1], grey[:, ::-1]])
    Image.fromarray(photograph).save(tmp_path / f"colour.{suffix}")
    rejected = rejection(tmp_path / f"colour.{suffix}")
    assert (rejected.code, rejected.tag) == ("photometric", "file")
    assert "at most 8 grey values apart" in rejected.expected


def test_channels_may_differ_by_what_jpeg_rounds_and_no_more(tmp_path):
    grey = np.clip(ramp(300, 300, 255), 0, 240).astype(np.uint8)
    for difference in (8, 9):
        colour = np.dstack([grey, grey, grey])
        colour[7, 7, 2] += difference
        Image.fromarray(colour).save(tmp_path / f"{difference}.png")
    assert read_image(tmp_path / "8.png").warnings == ("no_header",)
    assert rejection(tmp_path / "9.png").code == "photometric"
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "grey.jpg", quality=60)
    assert read_image(tmp_path / "grey.jpg").warnings == ("no_header",)


def test_a_palette_of_colours_is_rejected_and_one_of_greys_is_read(tmp_path):
    grey = ramp(300, 300, 255).astype(np.uint8)
    for name, palette in {"grey": [[v] * 3 for v in range(256)], "red": [[v, 0, 0] for v in range(256)]}.items():
        image = Image.fromarray(grey, "P")
        image.putpalette(np.ravel(palette).astype(np.uint8).tobytes())
        image.save(tmp_path / f"{name}.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png").pixels, grey)
    assert rejection(tmp_path / "red.png").code == "photometric"


def test_a_image_in_the_four_inks_of_print_is_rejected(tmp_path):
    Image.fromarray(ramp(300, 300, 255).astype(np.uint8)).convert("CMYK").save(tmp_path / "inks.jpg")
    rejected = rejection(tmp_path / "inks.jpg")
    assert (rejected.code, rejected.expected) == ("photometric", "grey or RGB")


@pytest.mark.parametrize("hidden", ["all", "one"])
def test_a_image_with_transparent_pixels_is_rejected(tmp_path, hidden):
    grey = ramp(300, 300, 255).astype(np.uint8)
    alpha = np.full_like(grey, 0 if hidden == "all" else 255)
    alpha[5, 5] = 0
    Image.fromarray(np.dstack([grey, grey, grey, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([grey, alpha]), "LA").save(tmp_path / "la.png")
    Image.fromarray(grey).save(tmp_path / "keyed.png", transparency=int(grey[5, 5]))
    for name in ("rgba", "la", "keyed"):
        rejected = rejection(tmp_path / f"{name}.png")
        assert (rejected.code, rejected.expected) == ("photometric", "an image without transparent pixels")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_image_lying_on_its_side_is_turned_as_its_orientation_says(tmp_path, suffix):
    grey = ramp(300, 280, 255).astype(np.uint8)
    image = Image.fromarray(grey)
    image.save(tmp_path / f"plain.{suffix}")
    exif = image.getexif()
    # EXIF 2.32, 4.6.4, tag 274: 6 is to be turned clockwise by a right angle.
    exif[274] = 6
    image.save(tmp_path / f"turned.{suffix}", exif=exif)
    plain = read_image(tmp_path / f"plain.{suffix}").pixels
    np.testing.assert_array_equal(read_image(tmp_path / f"turned.{suffix}").pixels, np.rot90(plain, -1))


def test_an_image_format_that_is_neither_png_nor_jpeg_is_rejected(tmp_path):
    Image.fromarray(ramp(300, 300, 255).astype(np.uint8)).save(tmp_path / "image.tif")
    rejected = rejection(tmp_path / "image.tif")
    assert (rejected.code, rejected.tag) == ("not_dicom", "file")
    assert rejected.expected.endswith("or a PNG or JPEG file")


def test_a_file_of_several_pictures_is_rejected_since_nobody_says_which_is_meant(tmp_path):
    pictures = [Image.fromarray(ramp(300, 280, highest).astype(np.uint8)) for highest in (255, 200)]
    pictures[0].save(tmp_path / "several.png", save_all=True, append_images=pictures[1:])
    pictures[0].save(tmp_path / "several.jpg", "MPO", save_all=True, append_images=pictures[1:])
    for name in ("several.png", "several.jpg"):
        rejected = rejection(tmp_path / name)
        assert (rejected.code, rejected.tag, rejected.found) == ("multi_frame", "file", "2")
        # Training gives them to no other decoder either.
        content = (tmp_path / name).read_bytes()
        assert not image_file.is_plain_grey(content)
        with pytest.raises(ValueError, match=r"2 pictures|not a whole"):
            image_file.decode(content)
    # One picture in either form is one.
    pictures[0].save(tmp_path / "one.png", save_all=True)
    pictures[0].save(tmp_path / "one.jpg", "MPO", save_all=True)
    assert read_image(tmp_path / "one.png").warnings == read_image(tmp_path / "one.jpg").warnings == ("no_header",)
