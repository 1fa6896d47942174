import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.image_table import TableSource, source_of
from chexkeras.data.store.prepare import prepare
from chexkeras.data.store.store import Store

pytestmark = pytest.mark.keras


@pytest.fixture
def images(make_images, tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("images"), 20)


@pytest.fixture
def store(images, tmp_path):
    return prepare(images, tmp_path / "store", size=16)


def test_it_holds_the_images_in_table_order_and_reads_them_in_any(images, store):
    expected = np.stack([np.asarray(Image.open(path)) for path in images["path"]])
    assert len(store) == 20
    assert store.size == 16
    np.testing.assert_array_equal(store.images, expected)
    rows = store.rows(["image07", "image00", "image07", "image19"])
    assert rows.tolist() == [7, 0, 7, 19]
    np.testing.assert_array_equal(store.read(rows), expected[[7, 0, 7, 19]])
    assert store.read([]).shape == (0, 16, 16)


def test_the_file_is_a_plain_npy_file_that_cannot_be_written_through_the_map(store):
    assert np.load(store.folder / "films.npy").shape == (20, 16, 16)
    assert not store.images.flags.writeable


def test_it_can_be_moved_and_opened_without_the_image_files(images, store, tmp_path):
    shutil.move(store.folder, tmp_path / "elsewhere")
    moved = Store.load(str(tmp_path / "elsewhere"))
    assert moved.fingerprint == store.fingerprint
    assert repr(moved) == f"Store(20 images of 16 px in '{tmp_path / 'elsewhere'}')"
    moved.verify()


def test_the_fingerprint_tells_other_pixels_and_other_order(images, store, tmp_path):
    prints = {store.fingerprint, prepare(images.iloc[::-1], tmp_path / "b", size=16).fingerprint}
    prints |= {prepare(images.head(19), tmp_path / "c", size=16).fingerprint}
    assert len(prints) == 3
    assert prepare(images, tmp_path / "d", size=16).fingerprint in prints


def test_missing_images_are_counted_and_named(store):
    with pytest.raises(
        ValueError, match=r"2 of 3 images are not in the store .* of 20 \(first 'x', 'y'\);.*--missing skip\)"
    ):
        store.rows(["image00", "x", "y"])
    with pytest.raises(ValueError, match=r"first 'a', 'b', 'c', \.\.\.\)"):
        store.rows(pd.Series(list("abcd")))


def test_left_out_images_are_refused_with_the_reason(images, tmp_path):
    store = prepare(images.assign(path=["", *images["path"][1:]]), tmp_path / "s", size=16, missing="skip")
    assert "1 left out" in repr(store)
    with pytest.raises(
        ValueError,
        match=r"1 of 2 images were left out .* 'image00': missing_file.*absent\(table\) \(on .* --missing skip\)",
    ):
        store.rows(["image01", "image00"])
    kept = images[~images["image_id"].isin(store.left_out)]
    assert store.rows(kept["image_id"]).tolist() == list(range(1, 20))


def test_images_that_a_store_does_not_have_are_left_out_with_the_reason(images, tmp_path):
    store = prepare(images.assign(path=["", *images["path"][1:]]), tmp_path / "s", size=16, missing="skip")
    table = pd.concat([images.head(3), images.head(1).assign(image_id="new")], ignore_index=True)
    table.attrs["source"] = TableSource(dataset="images", left_out=(("gone", "image not found"),))
    kept = store.leave_out_absent(table)
    assert kept["image_id"].tolist() == ["image01", "image02"]
    assert kept.index.tolist() == [0, 1]
    assert source_of(kept).left_out == (
        ("gone", "image not found"), ("image00", "missing_file"), ("new", "not in the store"),
    )  # fmt: skip
    assert source_of(table).left_out == (("gone", "image not found"),)
    assert source_of(store.leave_out_absent(kept)) is source_of(kept)
    with pytest.raises(ValueError, match=r"none of the 1 images is in the store .* of 20; prepare a store from this"):
        store.leave_out_absent(table.tail(1))


@pytest.mark.parametrize("rows", [[-1], [3, 20]])
def test_rows_out_of_range_are_refused(store, rows):
    with pytest.raises(ValueError, match="rows must lie from 0 to 19"):
        store.read(rows)


def test_another_size_is_refused_with_both_ways_out(store):
    store.require_size(16)
    ways = r"with size=224 \(.* prepare --size 224\), or train with image_size=16 \(train --set image_size=16\)"
    with pytest.raises(ValueError, match=rf"images of 16 px, but 224 px are wanted; prepare one {ways}"):
        store.require_size(224)


def cut_short(folder):
    path = folder / "films.npy"
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(folder):
    with (folder / "films.npy").open("ab") as file:
        file.write(b"\0")


def other_shape(folder):
    data = (folder / "films.npy").read_bytes().replace(b"(20, 16, 16)", b"(16, 20, 16)")
    (folder / "films.npy").write_bytes(data)


def change_index(folder):
    path = folder / "index.csv"
    path.write_text(path.read_text().replace("image03", "image99"))


def change_manifest(**changes):
    def change(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_short, r"has 5,247 bytes, 5,248 were expected: it was cut short; prepare it again"),
        (lengthen, r"5,249 bytes, 5,248 were expected: it was lengthened"),
        (lambda folder: (folder / "films.npy").unlink(), r"has 0 bytes.*cut short"),
        (other_shape, "is not a file of 20 images of 16 px"),
        (change_index, r"index\.csv of the store .* is missing or was changed"),
        (lambda folder: (folder / "index.csv").unlink(), r"index\.csv of the store .* is missing or was changed"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "is not valid JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "is not the manifest of an image store"),
        (change_manifest(format="other"), "is not the manifest of an image store"),
        (change_manifest(extra=1), r"has other fields \(.*extra"),
        (change_manifest(images=10**9), "does not list all its parts"),
        (change_manifest(chunks=[None]), r"is not complete \(0 of 1 parts are done\); prepare it again"),
    ],
)
def test_a_damaged_store_is_refused(store, damage, message):
    damage(store.folder)
    with pytest.raises(ValueError, match=message):
        Store.load(store.folder)


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no image store in .*it has no manifest\.json"):
        Store.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="store: no folder at"):
        Store.load(tmp_path / "nowhere")


def test_changed_pixels_are_found_by_their_checksum(store):
    path = store.folder / "films.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"rows 0 to 19 of the store .* differ from their checksum"):
        Store.load(store.folder).verify()


def test_a_store_cut_short_while_it_is_open_is_noticed(store):
    cut_short(store.folder)
    with pytest.raises(ValueError, match="cut short while it was in use"):
        store.read([19])
