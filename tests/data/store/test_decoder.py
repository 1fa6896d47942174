"""An image is the same image for training, a store and scoring, whatever kind of image file it comes in."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from chexkeras.data import pixels
from chexkeras.data.store import decoder
from chexkeras.dicom.pixels import image_file
from chexkeras.dicom.read import read_image
from chexkeras.inference.predictor import Predictor

pytestmark = pytest.mark.keras

_RNG = np.random.default_rng(7)
# Edges and noise: where two decoders of JPEG differ most.
GREY = np.clip(np.tile(np.linspace(0, 255, 300), (280, 1)) + _RNG.normal(0, 40, (280, 300)), 0, 255).astype(np.uint8)
DEEP = (GREY.astype(np.uint16) << 8) | _RNG.integers(0, 256, GREY.shape, dtype=np.uint16)
COLOUR = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
SIDEWAYS = Image.Exif()
SIDEWAYS[274] = 6

IMAGES = {
    "grey 8 bit.png": (GREY, {}),
    "grey 16 bit.png": (DEEP, {}),
    "grey of three channels.png": (np.dstack([GREY] * 3), {}),
    "grey of four channels.png": (np.dstack([GREY] * 3 + [np.full_like(GREY, 255)]), {}),
    "on its side.png": (GREY, {"exif": SIDEWAYS}),
    "good.jpg": (GREY, {"quality": 95}),
    "poor.jpg": (GREY, {"quality": 40}),
    "progressive.jpg": (GREY, {"progressive": True}),
    "grey of three channels.jpg": (np.dstack([GREY] * 3), {"quality": 90}),
    "on its side.jpg": (GREY, {"exif": SIDEWAYS}),
}


def _saved(folder, name, values, options):
    Image.fromarray(values).save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize("name", IMAGES)
def test_training_a_store_and_scoring_see_the_same_image_bit_for_bit(toy_run, tmp_path, name):
    path = _saved(tmp_path, name, *IMAGES[name])
    predictor = Predictor.load(toy_run)
    size = predictor.model.input_shape[1]
    scored = predictor.model_pixels(read_image(path).pixels)
    np.testing.assert_array_equal(pixels.read_image(tf.constant(str(path)), size), scored)
    np.testing.assert_array_equal(decoder.read_images([str(path)], size), scored[np.newaxis, ..., 0])
    # And at their own size, where no average hides a difference.
    grey = read_image(path).pixels
    square = min(grey.shape)
    image = pixels.to_model_pixels(grey[..., np.newaxis], square)
    np.testing.assert_array_equal(pixels.read_image(tf.constant(str(path)), square), image)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_colour_becomes_the_luma_of_one_decoder_in_training(tmp_path, suffix):
    path = _saved(tmp_path, f"colour.{suffix}", COLOUR[:280, :280], {})
    luma = image_file.decode(path.read_bytes())
    np.testing.assert_array_equal(decoder.read_images([str(path)], 280)[0], luma)
    if suffix == "png":
        # ITU-R BT.601, to whole gray values.
        np.testing.assert_allclose(luma, COLOUR[:280, :280] @ [0.299, 0.587, 0.114], atol=0.51)


def test_sixteen_bits_are_divided_by_257_and_rounded(tmp_path):
    path = _saved(tmp_path, "deep.png", DEEP[:280, :280], {})
    np.testing.assert_array_equal(decoder.read_images([str(path)], 280)[0], np.rint(DEEP[:280, :280] / 257))


def test_a_image_in_the_four_inks_of_print_is_refused_by_both(tmp_path):
    path = tmp_path / "inks.jpg"
    Image.fromarray(GREY).convert("CMYK").save(path)
    with pytest.raises(ValueError, match=r"an image cannot be decoded: .*not a whole PNG or JPEG file in grey or RGB"):
        decoder.read_images([str(path)], 32)


def _content(values, format_name="PNG", **options):
    stream = io.BytesIO()
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(stream, format_name, **options)
    return stream.getvalue()


def test_plain_grey_is_what_holds_eight_bits_one_channel_and_no_orientation():
    assert image_file.is_plain_grey(_content(GREY))
    assert image_file.is_plain_grey(_content(GREY, "JPEG"))
    assert image_file.is_plain_grey(_content(GREY, "JPEG", progressive=True))
    others = [_content(DEEP), _content(COLOUR), _content(Image.fromarray(GREY).convert("1")), b"", b"GIF89a"]
    others += [_content(GREY, kind, exif=SIDEWAYS) for kind in ("PNG", "JPEG")]
    others += [_content(COLOUR, "JPEG"), _content(GREY, "JPEG")[:20], _content(GREY, "BMP")]
    assert not any(map(image_file.is_plain_grey, others))


@pytest.mark.parametrize("keyword", ["Raw profile type exif", "XML:com.adobe.xmp"])
def test_text_that_can_hold_an_orientation_is_left_to_pillow_and_other_text_is_not(keyword):
    from PIL.PngImagePlugin import PngInfo

    with_orientation, packed, with_date = PngInfo(), PngInfo(), PngInfo()
    with_orientation.add_text(keyword, "x")
    packed.add_text("comment", "x" * 100, zip=True)
    with_date.add_text("date:create", "2017-09-04")
    assert not image_file.is_plain_grey(_content(GREY, pnginfo=with_orientation))
    assert not image_file.is_plain_grey(_content(GREY, pnginfo=packed))
    assert image_file.is_plain_grey(_content(GREY, pnginfo=with_date))
