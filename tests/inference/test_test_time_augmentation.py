import keras
import numpy as np
import pytest
from scipy import ndimage

from chexkeras.data.pixels import to_model_pixels
from chexkeras.inference.test_time_augmentation import TestTimeAugmentation, predict_augmented
from chexkeras.models.scoring import predict_scores

pytestmark = pytest.mark.keras


def images(n=3, size=33):
    rng = np.random.default_rng(0)
    smooth = [ndimage.gaussian_filter(rng.uniform(0, 255, (size, size)), 2) for _ in range(n)]
    return np.stack(smooth)[..., np.newaxis].astype(np.float32)


def brightness_left(size=32):
    """A model whose score is the mean gray value of the left half, so that versions can be worked out by hand."""
    pixels = keras.Input((size, size, 1))
    left = keras.layers.Cropping2D(((0, 0), (0, size // 2)))(pixels)
    mean = keras.layers.GlobalAveragePooling2D()(left)
    return keras.Model(pixels, keras.layers.Rescaling(1 / 255)(mean))


def test_without_further_versions_the_image_alone_is_scored(toy_run, toy_splits):
    table, model = toy_splits.test.head(5), toy_run.load_model()
    plain = predict_scores(model, table, "Effusion", batch_size=4)
    augmented = predict_augmented(model, table, "Effusion", TestTimeAugmentation(), batch_size=4)
    np.testing.assert_allclose(augmented["score"], plain["score"], atol=1e-6)
    assert augmented.drop(columns="score").equals(plain.drop(columns="score"))


def test_image_and_mirror_image_by_hand(toy):
    from PIL import Image

    table, model = toy.head(4), brightness_left()
    halves = []
    for path in table["path"]:
        image = np.asarray(Image.open(path))[..., np.newaxis]
        gray = np.asarray(to_model_pixels(image, 32), float) / 255
        halves.append((gray[:, :16].mean(), gray[:, 16:].mean()))
    left, right = np.array(halves).T
    for weights, share in ((None, 0.5), ((3.0, 1.0), 0.75)):
        found = predict_augmented(
            model, table, "Effusion", TestTimeAugmentation(flip=True, weights=weights), batch_size=3
        )
        np.testing.assert_allclose(found["score"], share * left + (1 - share) * right, atol=1e-5)
    assert np.abs(left - right).max() > 0.02, "the test could not tell the versions apart"


def test_the_mirror_image_is_mirrored_from_left_to_right():
    shown = TestTimeAugmentation(flip=True).apply(images(), "mirrored")
    np.testing.assert_array_equal(shown[:, :, 0], images()[:, :, -1])


def test_a_positive_angle_turns_anticlockwise():
    image = np.zeros((1, 33, 33, 1), np.float32)
    image[0, 16, 28] = 255.0
    shown = TestTimeAugmentation(rotations_degrees=(45,)).apply(image, "rotated 45")[0, :, :, 0]
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert row < 12, "what was on the right goes up"
    assert column > 20


@pytest.mark.parametrize("angle", [-7.0, 7.0, 15.0])
def test_rotated_versions_are_those_of_scipy(angle):
    shown = TestTimeAugmentation(rotations_degrees=(3.0, angle)).apply(images(), f"rotated {angle:g}")
    expected = ndimage.rotate(images(), angle, axes=(1, 2), reshape=False, order=1, mode="reflect")
    np.testing.assert_allclose(shown, expected, atol=0.2)
    wrong = ndimage.rotate(images(), -angle, axes=(1, 2), reshape=False, order=1, mode="reflect")
    assert np.abs(shown - wrong).max() > 10


def test_a_list_of_files_is_sent_to_the_predictor():
    with pytest.raises(TypeError, match=r"table must be a table .*, not a list\..*Predictor\.load\(run\)"):
        predict_augmented(brightness_left(), ["image.dcm"], "Effusion", TestTimeAugmentation(flip=True))


def test_the_table_of_a_run_folder_says_where_paths_come_from(toy_run, toy):
    table, model = toy_run.table.head(3), brightness_left()
    with pytest.raises(ValueError, match=r"lacks the column\(s\) path; .*open_data.*merge the paths by image_id"):
        predict_augmented(model, table, "Effusion", TestTimeAugmentation())
    merged = table.merge(toy[["image_id", "path"]], on="image_id")
    assert len(predict_augmented(model, merged, "Effusion", TestTimeAugmentation())) == 3


def test_what_a_image_without_structure_scores_no_version_changes():
    augmentation = TestTimeAugmentation(flip=True, rotations_degrees=(-7, 7))
    assert augmentation.names == ("image", "mirrored", "rotated -7", "rotated 7")
    flat = np.full((2, 32, 32, 1), 100.0, np.float32)
    for name in augmentation.names:
        np.testing.assert_allclose(augmentation.apply(flat, name), flat, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 1}, "flip=1 must be true or false"),
        ({"rotations_degrees": (0,)}, "other than 0"),
        ({"rotations_degrees": (60,)}, "from -45 to 45"),
        ({"rotations_degrees": ("7",)}, "from -45 to 45"),
        ({"rotations_degrees": (7, 7)}, "names an angle twice"),
        ({"flip": True, "weights": (1.0,)}, r"1 weight\(s\) for 2 versions of an image \(image, mirrored\)"),
        ({"weights": (-1.0,)}, "numbers above 0"),
    ],
)
def test_wrong_versions_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TestTimeAugmentation(**options)


def test_versions_are_plain_values_for_the_record():
    assert TestTimeAugmentation(rotations_degrees=5).to_dict() == {
        "flip": False,
        "rotations_degrees": (5,),
        "weights": None,
    }
