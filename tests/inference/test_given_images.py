import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.dicom.pixels.array_image import checked_range, grey_array, split_images
from chexkeras.dicom.read import read_image
from chexkeras.dicom.workers.options import IN_PROCESS, ReadOptions
from chexkeras.inference.given_images import given_images
from chexkeras.inference.predictor import Predictor
from tests.dicom.workers.worker_faults import FAULTY
from tests.inference.test_predictor import wrap

pytestmark = pytest.mark.keras

ONE_WORKER = ReadOptions(workers=1)


def gray(rows=300, columns=280, seed=0):
    noise = np.random.default_rng(seed).normal(0, 20, (rows, columns))
    ramp = np.add.outer(np.linspace(0, 128, rows), np.linspace(0, 127, columns))
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


def as_png(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()


# An image file has no header, and these have more pixels than the images that the toy run has learnt from.
FINE = "no_header;unlike_resolution"


@pytest.fixture(scope="module")
def predictor(toy_run):
    return Predictor.load(toy_run)


@pytest.fixture
def png_score(predictor, tmp_path):
    def of(values):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.png"
        path.write_bytes(as_png(values))
        (score,) = predictor.predict([path], read_options=IN_PROCESS)["score"]
        assert not np.isnan(score)
        return score

    return of


def test_an_array_of_any_accepted_form_gets_the_score_of_its_png_bit_for_bit(predictor, png_score):
    image = gray()
    expected = png_score(image)
    given = {
        "rows and columns": (image, None),
        "with a channel": (image[..., None], None),
        "one of a stack": (image[None], None),
        "one of a stack with a channel": (image[None, ..., None], None),
        "in a list": ([image], None),
        "not contiguous": (np.asfortranarray(image), None),
        "0 to 1": ((image / 255).astype(np.float64), (0, 1)),
        "0 to 1 in single precision": ((image / 255).astype(np.float32), (0, 1)),
        "0 to 255 as numbers": (image.astype(np.float32), (0, 255)),
        "-1 to 1": (image / 127.5 - 1, (-1, 1)),
        "whole numbers": (image.astype(np.int64), (0, 255)),
    }
    for name, (array, value_range) in given.items():
        row = predictor.predict(array, read_options=IN_PROCESS, value_range=value_range).iloc[0]
        assert row["score"] == expected, name
        assert row["file"] == "array 0" and row["code"] == FINE and row["decoder"] == "array"


def test_sixteen_bits_are_rounded_as_those_of_a_png(predictor, png_score):
    image = gray().astype(np.uint16) * 257 + np.random.default_rng(1).integers(-100, 100, (300, 280))
    image = image.clip(0, 65535).astype(np.uint16)
    row = predictor.predict(image, value_range=(0, 65535)).iloc[0]
    assert row["score"] == png_score(image)


def test_an_array_of_many_images_gives_a_row_for_each_in_order(predictor):
    images = np.stack([gray(seed=seed) for seed in range(3)])
    results = predictor.predict(images, batch_size=2)
    assert results["file"].tolist() == ["array 0", "array 1", "array 2"]
    for at, image in enumerate(images):
        assert results["score"][at] == pytest.approx(predictor.predict(image)["score"][0], abs=1e-6)


@pytest.mark.parametrize("kind", ("png", "jpeg", "dicom"))
def test_the_bytes_of_a_file_give_its_row_from_a_worker_process_and_without_one(predictor, tmp_path, kind):
    path, image = tmp_path / f"image.{kind}", gray()
    if kind == "dicom":
        wrap(path, image)
    else:
        Image.fromarray(image).save(path)
    from_file = predictor.predict([path], read_options=IN_PROCESS).drop(columns=["file", "seconds"])
    content = path.read_bytes()
    for given in ([content], content, bytearray(content), memoryview(content)):
        for options in (IN_PROCESS, ONE_WORKER):
            results = predictor.predict(given, read_options=options)
            assert results["file"].tolist() == ["bytes 0"]
            pd.testing.assert_frame_equal(results.drop(columns=["file", "seconds"]), from_file)


def test_paths_bytes_and_arrays_go_together_and_a_bad_one_stops_none(predictor, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(as_png(gray()))
    hostile = as_png(gray())[:-3000]
    blank = np.zeros((300, 280), np.uint8)
    results = predictor.predict([path, b"<html>no image</html>", hostile, gray(), b"", blank], read_options=ONE_WORKER)
    assert results["file"].tolist() == [str(path), "bytes 1", "bytes 2", "array 3", "bytes 4", "array 5"]
    assert results["verdict"].tolist() == ["warn", "reject", "reject", "warn", "reject", "reject"]
    assert results["code"].tolist() == [FINE, "not_dicom", "unreadable", FINE, "not_dicom", "constant"]
    assert results["score"][0] == pytest.approx(results["score"][3], abs=1e-6)


def test_bytes_beyond_the_size_of_a_file_are_refused_as_the_file_is(predictor):
    import dataclasses

    from chexkeras.dicom.profiles import CLINICAL

    small = dataclasses.replace(CLINICAL, maximum_file_bytes=1000)
    for options in (IN_PROCESS, ONE_WORKER):
        row = Predictor(predictor.model, predictor.points, small).predict(as_png(gray()), read_options=options).iloc[0]
        assert row["code"] == "too_large"


def test_bytes_that_end_the_process_that_decodes_them_are_refused_and_the_next_ones_are_read():
    from chexkeras.dicom.rejection import DicomRejected
    from chexkeras.dicom.workers.pool import ReaderPool

    content = as_png(gray())
    with ReaderPool(FAULTY, ONE_WORKER) as pool:
        with pytest.raises(DicomRejected) as refused:
            pool.read(b"exit")
        assert refused.value.code == "decoder_crash"
        np.testing.assert_array_equal(pool.read(content).pixels, gray())


def test_an_array_is_judged_as_the_file_with_its_values_is(tmp_path):
    from chexkeras.dicom.rejection import DicomRejected

    narrow = (gray().astype(np.uint16) * 16).clip(0, 4095)
    dark = gray() // 4
    for values, value_range in ((narrow, (0, 65535)), (dark, None), (gray(20, 20), None), (gray() * 0 + 9, None)):
        path = tmp_path / "image.png"
        path.write_bytes(as_png(values))
        with pytest.raises(DicomRejected) as of_file:
            read_image(path)
        with pytest.raises(DicomRejected) as of_array:
            read_image(grey_array(values, value_range, "it"))
        assert of_array.value.violations == of_file.value.violations
    assert read_image(grey_array(narrow, (0, 4095), "it")).pixels.max() > 200


@pytest.mark.parametrize(
    ("images", "value_range", "error", "words"),
    (
        (gray() / 255, None, ValueError, "do not tell their range"),
        (gray().astype(np.uint16), None, ValueError, "do not tell their range"),
        (gray().astype(np.float32), (0, 1), ValueError, "0 to 255, and value_range=(0, 1) was stated"),
        (np.full((40, 40), np.nan), (0, 1), ValueError, "NaN"),
        (gray() / 255, (1, 0), ValueError, "the larger one of white"),
        (gray() / 255, (0, np.inf), ValueError, "two numbers"),
        (gray() / 255, "float", ValueError, "two numbers"),
        (gray() > 100, None, TypeError, "real numbers"),
        (gray() * 1j, (0, 1), TypeError, "real numbers"),
        (np.stack([gray()] * 3, axis=-1), None, ValueError, "3 channels"),
        (np.stack([gray()] * 3, axis=-1)[None], None, ValueError, "3 channels"),
        (gray()[0], None, ValueError, "(280,)"),
        (gray()[None, None], None, ValueError, "was expected"),
        (np.zeros((2, 0, 5), np.uint8), None, ValueError, "was expected"),
        ([gray(), np.stack([gray()] * 2)], None, ValueError, "array 1 of the list holds 2 images"),
        (".", None, ValueError, "'.' is a folder; give its files, or score the whole of it with cx.score_folder"),
        (["image.png"], (0, 1), ValueError, "none was given"),
        ([b""], (0, 1), ValueError, "none was given"),
        ([3], None, TypeError, "(int)"),
        (3, None, TypeError, "were given as a int"),
        (pd.DataFrame({"path": ["a.png"]}), None, TypeError, "a table of 1 rows"),
        ([Image.fromarray(gray())], None, TypeError, "given as an array"),
    ),
)
def test_what_is_no_image_is_refused_before_anything_is_read_and_says_how_to_give_it(images, value_range, error, words):
    with pytest.raises(error) as refused:
        given_images(images, value_range)
    assert words in str(refused.value)


def test_columns_and_arrays_of_paths_are_paths(tmp_path):
    paths = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    for given in (pd.Series(paths), np.array(paths), np.array(paths, dtype=object), iter(paths), tuple(paths)):
        assert [str(path) for path in given_images(given)] == paths
    for one in (paths[0], tmp_path / "a.png"):
        assert [str(path) for path in given_images(one)] == paths[:1]


def test_a_stack_of_as_many_columns_as_colours_is_not_taken_apart():
    assert len(split_images(np.zeros((3, 50, 60)), "it")) == 3
    assert split_images(np.zeros((50, 60, 1)), "it")[0].shape == (50, 60)
    assert checked_range((0, 4095)) == (0.0, 4095.0)
