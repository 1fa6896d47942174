import keras
import numpy as np
import pytest
from PIL import Image

from chexkeras.data.augmentation import Augmentation
from chexkeras.data.pipeline import images_with_ids, make_dataset
from chexkeras.data.pixels import read_image, to_model_pixels
from chexkeras.data.sampling import shuffled
from chexkeras.data.store.prepare import prepare

pytestmark = pytest.mark.keras


STRONG = Augmentation(
    flip=True,
    rotation_degrees=20,
    shift_fraction=0.1,
    zoom_fraction=0.2,
    shear_degrees=10,
    brightness=0.3,
    contrast=0.5,
    blur_probability=0.5,
    erase_probability=0.5,
)


@pytest.fixture(scope="module")
def toy_store(toy, tmp_path_factory):
    # Another order than the table's, so that rows of one are not rows of the other.
    return prepare(toy.sample(frac=1, random_state=0), tmp_path_factory.mktemp("store"), size=32)


def collected(dataset):
    batches = [(pixels.numpy(), labels.numpy()) for pixels, labels in dataset]
    return np.concatenate([pixels for pixels, _ in batches]), np.concatenate([labels for _, labels in batches])


def test_pixels_are_area_averages_rounded_to_whole_gray_values():
    image = np.array([[0, 10, 255, 255], [20, 31, 255, 255]] * 2, np.uint8)[..., np.newaxis]
    pixels = to_model_pixels(image, 2).numpy()[..., 0]
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, [[15, 255], [15, 255]])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_png_of_any_gray_mode_is_read_as_the_same_image(tmp_path, mode):
    gray = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    path = tmp_path / "image.png"
    Image.fromarray(gray).convert(mode).save(path)
    np.testing.assert_allclose(read_image(str(path), 20).numpy()[..., 0].astype(int), gray, atol=1)


def test_every_row_comes_exactly_once_and_keeps_its_label(toy):
    table = toy.assign(Effusion=np.arange(len(toy)) % 2)
    plain_pixels, plain_labels = collected(make_dataset(table, "Effusion", image_size=32, batch_size=32))
    pixels, labels = collected(make_dataset(table, "Effusion", image_size=32, batch_size=32, shuffle=True))
    assert plain_pixels.shape == (120, 32, 32, 1)
    assert plain_pixels.dtype == np.float32
    assert (plain_pixels.min(), plain_pixels.max()) >= (0.0, 0.0)
    assert plain_pixels.max() <= 255.0
    order = {image.tobytes(): index for index, image in enumerate(plain_pixels)}
    positions = [order[image.tobytes()] for image in pixels]
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


def test_the_first_pass_may_have_any_number_and_the_others_count_on(toy):
    options = {"image_size": 32, "shuffle": True, "seed": 3, "augmentation": STRONG}
    whole, resumed = make_dataset(toy, "Effusion", **options), make_dataset(toy, "Effusion", **options, epoch=2)
    passes = [collected(whole)[0] for _ in range(4)]
    for expected in passes[2:]:
        np.testing.assert_array_equal(collected(resumed)[0], expected)
    assert len({images.tobytes() for images in passes}) == 4


def test_an_order_is_a_permutation_of_all_rows_not_of_neighbours(toy):
    order = shuffled(10_000, 0, 0).rows
    assert sorted(order) == list(range(10_000))
    # A uniform permutation of n rows moves each by n / 3 on average.
    assert np.abs(order - np.arange(10_000)).mean() == pytest.approx(10_000 / 3, rel=0.05)


@pytest.mark.parametrize("epoch", [-1, 1.5])
def test_an_epoch_that_is_no_number_of_one_is_refused(toy, epoch):
    with pytest.raises(ValueError, match=f"epoch={epoch} must be a whole number"):
        make_dataset(toy, "Effusion", epoch=epoch)


def test_fit_over_several_epochs_sees_every_image_in_each(toy):
    model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
    model.compile(loss="mse")
    history = model.fit(make_dataset(toy, "Effusion", image_size=32, shuffle=True), epochs=3, verbose=0, shuffle=False)
    assert len(history.history["loss"]) == 3


def test_augmentation_is_repeatable_and_stays_in_range(toy):
    options = {"image_size": 32, "augmentation": STRONG, "seed": 1}
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


def test_ids_come_with_their_images(toy):
    ids = [value.decode() for _, batch in images_with_ids(toy, image_size=32, batch_size=50) for value in batch.numpy()]
    assert ids == toy["image_id"].tolist()


def test_any_label_column_of_the_table_can_be_learned(toy):
    labels = collected(make_dataset(toy.assign(icu_admission=np.arange(120.0) % 2), "icu_admission", image_size=32))[1]
    np.testing.assert_array_equal(labels[:, 0], np.arange(120) % 2)


@pytest.mark.parametrize("augmentation", [None, STRONG], ids=["plain", "augmented"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_store_gives_the_same_batches_as_the_files_bit_for_bit(toy, toy_store, augmentation, shuffle):
    options = {"image_size": 32, "batch_size": 32, "augmentation": augmentation, "shuffle": shuffle, "seed": 5}
    from_files = make_dataset(toy, ("Effusion", "Mass"), **options)
    from_store = make_dataset(toy.drop(columns="path"), ("Effusion", "Mass"), **options, store=toy_store)
    assert from_store.cardinality() == from_files.cardinality() == 4
    assert from_store.element_spec == from_files.element_spec
    for _ in range(2):
        for (pixels, labels), (stored, known) in zip(from_files, from_store, strict=True):
            np.testing.assert_array_equal(stored, pixels)
            np.testing.assert_array_equal(known, labels)


def test_a_store_is_taken_up_at_any_epoch(toy, toy_store):
    options = {"image_size": 32, "shuffle": True, "seed": 3, "augmentation": STRONG, "store": toy_store}
    counting = make_dataset(toy, "Effusion", **options)
    passes = [collected(counting)[0] for _ in range(3)]
    np.testing.assert_array_equal(collected(make_dataset(toy, "Effusion", **options, epoch=2))[0], passes[2])
    assert not np.array_equal(passes[1], passes[2])


def test_a_part_of_a_stored_table_reads_its_own_images_and_their_ids(toy, toy_store):
    part = toy.iloc[[50, 3, 77]]
    files = list(images_with_ids(part, image_size=32, batch_size=2))
    stored = list(images_with_ids(part, image_size=32, batch_size=2, store=toy_store))
    assert [len(ids) for _, ids in stored] == [2, 1]
    assert [value.decode() for _, ids in stored for value in ids.numpy()] == part["image_id"].tolist()
    for (pixels, _), (same, _) in zip(files, stored, strict=True):
        np.testing.assert_array_equal(same, pixels)


@pytest.mark.parametrize("stored", [False, True], ids=["files", "store"])
def test_a_image_that_repeats_comes_as_often_and_is_changed_differently_each_time(toy, toy_store, stored):
    table = toy.iloc[[0, 1, 1, 1]]
    options = {"image_size": 32, "store": toy_store if stored else None}
    pixels, labels = collected(make_dataset(table, "Effusion", **options))
    np.testing.assert_array_equal(pixels[1], pixels[3])
    assert labels.shape == (4, 1)
    changed = collected(make_dataset(table, "Effusion", **options, augmentation=STRONG))[0]
    assert len({image.tobytes() for image in changed}) == 4


def test_a_model_fits_on_a_store(toy, toy_store):
    model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
    model.compile(loss="mse")
    batches = make_dataset(toy, "Effusion", image_size=32, shuffle=True, store=toy_store)
    assert len(model.fit(batches, epochs=2, verbose=0, shuffle=False).history["loss"]) == 2


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        (lambda table: table, 64, "holds images of 32 px, but 64 px are wanted"),
        (lambda table: table.assign(image_id="x" + table["image_id"]), 32, r"120 of 120 images are not in the store"),
        (lambda table: table.drop(columns="image_id"), 32, r"lacks the column\(s\) image_id"),
        (lambda table: table.head(0), 32, "is empty"),
    ],
)
def test_a_store_that_does_not_fit_is_refused_at_once(toy, toy_store, change, size, message):
    with pytest.raises(ValueError, match=message):
        make_dataset(change(toy), "Effusion", image_size=size, store=toy_store)
    with pytest.raises(ValueError, match=message):
        images_with_ids(change(toy), image_size=size, store=toy_store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda table: table.drop(columns="path"),
            r"lacks the column\(s\) path; .* or merge the paths by image_id; the table in a run folder has none\.",
        ),
        (lambda table: table.drop(columns="Effusion"), "Effusion"),
        (lambda table: table.head(0), "is empty"),
        (lambda table: table.assign(path=""), "missing='skip'"),
    ],
)
def test_unusable_tables_are_refused(toy, change, message):
    with pytest.raises(ValueError, match=message):
        make_dataset(change(toy), "Effusion")


def test_balanced_batches_hold_equal_shares_and_change_a_repeated_image_differently(toy):
    options = {"image_size": 32, "batch_size": 8, "shuffle": True, "seed": 2, "balance": "Effusion"}
    toy = toy.assign(Effusion=[1.0] * 4 + [0.0] * (len(toy) - 4))
    shares = [labels.numpy().sum() for _, labels in make_dataset(toy, "Effusion", **options)]
    assert shares == [4] * (len(toy) // 8)
    images, labels = collected(make_dataset(toy, "Effusion", **options))
    assert len(np.unique(images[labels[:, 0] == 1], axis=0)) == 4
    images, labels = collected(make_dataset(toy, "Effusion", **options, augmentation=STRONG))
    positives = images[labels[:, 0] == 1]
    assert len(np.unique(positives, axis=0)) == len(positives) == len(toy) // 2


def test_balance_needs_a_random_order(toy):
    with pytest.raises(ValueError, match=r"balance='Effusion' with shuffle=False"):
        make_dataset(toy, "Effusion", balance="Effusion")
