from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf

from chexkeras.models.clahe import Clahe, lightness_tables

pytestmark = pytest.mark.keras


def pattern():
    rows, columns = np.mgrid[:16, :16]
    return ((7 * rows + 11 * columns * columns) % 200 + 20).astype(np.uint8)


def equalised(images, **options):
    return Clahe(**options)(np.asarray(images, np.float32)[..., np.newaxis]).numpy()[..., 0]


def slow(image, clip_limit, tiles):
    """Equalises one image pixel by pixel, in fractions."""
    height, width = image.shape
    tall, wide = -(-height // tiles), -(-width // tiles)
    padded = np.pad(image, ((0, tall * tiles - height), (0, wide * tiles - width)), mode="reflect")
    limit = max(int(clip_limit * tall * wide / 256), 1)
    maps = {}
    for row in range(tiles):
        for column in range(tiles):
            counts = [0] * 256
            for value in padded[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide].ravel():
                counts[value] += 1
            excess = sum(max(count - limit, 0) for count in counts)
            counts = [min(count, limit) + excess // 256 for count in counts]
            rest = excess % 256
            place, step = 0, max(256 // rest, 1) if rest else 1
            while place < 256 and rest:
                counts[place] += 1
                place, rest = place + step, rest - 1
            total = 0
            for level, count in enumerate(counts):
                total += count
                # round() of a fraction takes halves to even.
                maps[row, column, level] = round(Fraction(255 * total, tall * wide))
    result = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            down, across = Fraction(y, tall) - Fraction(1, 2), Fraction(x, wide) - Fraction(1, 2)
            above, left = down.__floor__(), across.__floor__()
            down, across = down - above, across - left
            mixed = sum(
                part * share * maps[min(max(row, 0), tiles - 1), min(max(column, 0), tiles - 1), image[y, x]]
                for row, part in ((above, 1 - down), (above + 1, down))
                for column, share in ((left, 1 - across), (left + 1, across))
            )
            result[y, x] = round(mixed)
    return result


@pytest.mark.parametrize(("size", "tiles", "clip_limit"), [(24, 3, 2.0), (21, 4, 2.0), (20, 2, 40.0), (16, 8, 1.0)])
def test_it_is_the_same_as_a_slow_equalisation_in_fractions(size, tiles, clip_limit):
    rng = np.random.default_rng(size)
    images = [rng.integers(0, 256, (size, size), dtype=np.uint8), rng.integers(90, 110, (size, size), dtype=np.uint8)]
    seen = equalised(images, clip_limit=clip_limit, tiles=tiles, lightness=False)
    np.testing.assert_array_equal(seen, [slow(image, clip_limit, tiles) for image in images])


def test_gray_values_are_those_of_opencv():
    # OpenCV 5.0.0: cv2.createCLAHE(2.0, (2, 2)).apply(pattern())[[0, 5]]
    first = [8, 28, 84, 155, 231, 118, 251, 189, 126, 94, 99, 162, 247, 32, 211, 44]
    sixth = [64, 86, 127, 190, 26, 159, 48, 229, 183, 159, 170, 217, 18, 71, 250, 110]
    np.testing.assert_array_equal(equalised([pattern()], tiles=2, lightness=False)[0][[0, 5]], [first, sixth])


def test_lightness_is_that_of_opencvs_lab_and_back_to_one_level():
    # OpenCV 5.0.0: gray -> RGB -> Lab, CLAHE as above on L, -> RGB; and L of every 15th gray value.
    first = [11, 30, 77, 147, 228, 110, 250, 183, 119, 89, 94, 158, 246, 33, 206, 46]
    sixth = [59, 79, 118, 183, 28, 151, 47, 224, 178, 153, 165, 214, 22, 68, 249, 102]
    np.testing.assert_allclose(equalised([pattern()], tiles=2)[0][[0, 5]], [first, sixth], atol=1)
    levels = [0, 11, 28, 47, 65, 82, 98, 113, 129, 144, 158, 173, 187, 201, 215, 228, 242, 255]
    assert lightness_tables()[0][::15].tolist() == levels


def test_the_tables_rise_and_undo_each_other_to_within_the_merged_dark_levels():
    to_lightness, to_gray = lightness_tables()
    assert (np.diff(to_lightness) >= 0).all()
    assert (np.diff(to_gray) >= 0).all()
    assert np.abs(to_gray[to_lightness] - np.arange(256)).max() <= 1


def test_local_contrast_grows_within_0_to_255_and_a_flat_image_stays_flat():
    rows, columns = np.mgrid[:64, :64]
    faint = 100 + 2.0 * ((rows // 4 + columns // 4) % 2) + rows / 8
    seen = equalised([faint, np.full((64, 64), 77.0)])
    assert seen[0].std() > 1.5 * faint.std()
    assert (seen.min(), seen.max()) >= (0, 0)
    assert seen.max() <= 255
    assert np.ptp(seen[1]) <= 1
    np.testing.assert_array_equal(seen, np.round(seen))


def test_a_image_gives_the_same_in_any_batch_in_a_graph_compiled_and_inside_tf_data():
    images = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 1)).astype(np.float32)
    layer = Clahe()
    expected = layer(images).numpy()
    np.testing.assert_array_equal(np.concatenate([layer(images[:2]), layer(images[2:])]), expected)
    np.testing.assert_array_equal(tf.function(layer)(images), expected)
    np.testing.assert_array_equal(tf.function(layer, jit_compile=True)(images), expected)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(3).map(layer)
    np.testing.assert_array_equal(np.concatenate(list(dataset.as_numpy_iterator())), expected)


def test_values_between_and_beyond_the_levels_are_rounded_and_cut():
    image = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.float32)
    image[0, 0], image[0, 1] = 0.0, 255.0
    changed = image + 0.4 * np.sin(image)
    changed[0, 0], changed[0, 1] = -20.0, 300.0
    np.testing.assert_array_equal(equalised([changed]), equalised([image]))


def test_it_stays_in_float32_under_half_precision():
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 1)).astype(np.float32)
    expected = Clahe()(image).numpy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = Clahe()
    finally:
        keras.config.set_dtype_policy("float32")
    assert layer(image).dtype == "float32"
    np.testing.assert_array_equal(layer(image), expected)


def test_a_saved_model_keeps_its_settings(tmp_path):
    pixels = keras.Input((16, 16, 1))
    model = keras.Model(pixels, Clahe(3.0, 4, False, name="preprocess_clahe")(pixels))
    model.save(tmp_path / "model.keras")
    layer = keras.saving.load_model(tmp_path / "model.keras").layers[1]
    assert (layer.name, layer.clip_limit, layer.tiles, layer.lightness) == ("preprocess_clahe", 3.0, 4, False)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"clip_limit": 0.5}, (16, 16, 1), r"clip_limit=0\.5 must be a number from 1"),
        ({"clip_limit": True}, (16, 16, 1), "clip_limit=True must be a number"),
        ({"tiles": 0}, (16, 16, 1), "tiles=0 must be a whole number"),
        ({}, (16, 16, 3), r"it needs \(height, width, 1\)"),
        ({}, (None, 16, 1), "both known"),
        ({}, (7, 7, 1), "at least 8 pixels"),
    ],
)
def test_what_cannot_be_equalised_is_refused(options, shape, message):
    with pytest.raises(ValueError, match=message):
        Clahe(**options)(keras.Input(shape))
