import keras
import numpy as np
import pytest
from PIL import Image

from chexkeras.data.augment import Augmentation
from chexkeras.data.pipeline import films_with_ids, make_dataset, read_film, to_model_pixels

pytestmark = pytest.mark.keras


def collected(dataset):
    batches = [(pixels.numpy(), labels.numpy()) for pixels, labels in dataset]
    return np.concatenate([pixels for pixels, _ in batches]), np.concatenate([labels for _, labels in batches])


def test_pixels_are_area_averages_rounded_to_whole_gray_values():
    film = np.array([[0, 10, 255, 255], [20, 31, 255, 255]] * 2, np.uint8)[..., np.newaxis]
    pixels = to_model_pixels(film, 2).numpy()[..., 0]
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, [[15, 255], [15, 255]])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_png_of_any_gray_mode_is_read_as_the_same_film(tmp_path, mode):
    gray = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    path = tmp_path / "film.png"
    Image.fromarray(gray).convert(mode).save(path)
    np.testing.assert_allclose(read_film(str(path), 20).numpy()[..., 0].astype(int), gray, atol=1)


def test_every_row_comes_exactly_once_and_keeps_its_label(toy):
    table = toy.assign(Effusion=np.arange(len(toy)) % 2)
    plain_pixels, plain_labels = collected(make_dataset(table, "Effusion", image_size=32, batch_size=32))
    pixels, labels = collected(make_dataset(table, "Effusion", image_size=32, batch_size=32, shuffle=True))
    assert plain_pixels.shape == (120, 32, 32, 1)
    assert plain_pixels.dtype == np.float32
    assert (plain_pixels.min(), plain_pixels.max()) >= (0.0, 0.0)
    assert plain_pixels.max() <= 255.0
    order = {film.tobytes(): index for index, film in enumerate(plain_pixels)}
    positions = [order[film.tobytes()] for film in pixels]
    assert sorted(positions) == list(range(120))
    assert positions != list(range(120))
    np.testing.assert_array_equal(labels, plain_labels[positions])


def test_order_changes_with_the_pass_and_the_seed_and_repeats_for_a_fixed_epoch(toy):
    def labels_of(dataset):
        return collected(dataset)[0][:, 0, 0, 0].tolist()

    options = {"image_size": 32, "shuffle": True, "seed": 3}
    counting = make_dataset(toy, "Effusion", **options)
    first, second = labels_of(counting), labels_of(counting)
    assert first != second
    assert labels_of(make_dataset(toy, "Effusion", **options, epoch=1)) == second
    assert labels_of(make_dataset(toy, "Effusion", **{**options, "seed": 4}, epoch=1)) != second


def test_fit_over_several_epochs_sees_every_film_in_each(toy):
    model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
    model.compile(loss="mse")
    history = model.fit(make_dataset(toy, "Effusion", image_size=32, shuffle=True), epochs=3, verbose=0, shuffle=False)
    assert len(history.history["loss"]) == 3


def test_augmentation_is_repeatable_and_stays_in_range(toy):
    strong = Augmentation(
        flip=True, rotation_degrees=20, shift_fraction=0.1, zoom_fraction=0.2, brightness=0.3, contrast=0.5
    )
    options = {"image_size": 32, "augmentation": strong, "seed": 1}
    one = collected(make_dataset(toy, "Effusion", **options, epoch=2))[0]
    two = collected(make_dataset(toy, "Effusion", **options, epoch=2))[0]
    plain = collected(make_dataset(toy, "Effusion", image_size=32))[0]
    np.testing.assert_array_equal(one, two)
    assert one.min() >= 0.0
    assert one.max() <= 255.0
    assert not np.array_equal(one, plain)
    assert not np.array_equal(one, collected(make_dataset(toy, "Effusion", **options, epoch=3))[0])


def test_unknown_labels_stay_unknown(toy):
    labels = collected(make_dataset(toy.assign(Effusion=np.nan), ("Effusion", "Mass"), image_size=32))[1]
    assert np.isnan(labels[:, 0]).all()
    assert not np.isnan(labels[:, 1]).any()


def test_ids_come_with_their_films(toy):
    ids = [value.decode() for _, batch in films_with_ids(toy, image_size=32, batch_size=50) for value in batch.numpy()]
    assert ids == toy["image_id"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="path"), r"lacks the column\(s\) path"),
        (lambda table: table.drop(columns="Effusion"), r"lacks the column\(s\) Effusion"),
        (lambda table: table.head(0), "is empty"),
        (lambda table: table.assign(path=""), "missing='skip'"),
    ],
)
def test_unusable_tables_are_refused(toy, change, message):
    with pytest.raises(ValueError, match=message):
        make_dataset(change(toy), "Effusion")


@pytest.mark.parametrize("wrong", [{"rotation_degrees": 90}, {"shift_fraction": -0.1}, {"flip": 1}, {"contrast": "x"}])
def test_augmentation_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=r"augment\."):
        Augmentation(**wrong)
