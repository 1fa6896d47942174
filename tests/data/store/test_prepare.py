import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom import dcmread

from chexkeras.data.audit.audit import audit
from chexkeras.data.datasets.custom import load_table
from chexkeras.data.datasets.nih import load_nih
from chexkeras.data.pipeline import images_with_ids, make_dataset
from chexkeras.data.pixels import read_image, to_model_pixels
from chexkeras.data.store import decoder
from chexkeras.data.store import prepare as module
from chexkeras.data.store.prepare import prepare
from chexkeras.data.store.store import Manifest, Store
from chexkeras.dicom.profiles import CLINICAL
from chexkeras.dicom.read import read_dicom
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.phantoms import make_phantoms

pytestmark = pytest.mark.keras


@pytest.fixture
def images(make_images, tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("images"), 50)


@pytest.fixture
def small_chunks(monkeypatch):
    """Sixteen images of 16 px a chunk."""
    monkeypatch.setattr(module, "_CHUNK_BYTES", 16 * 16 * 16)


@pytest.fixture
def decoded(monkeypatch):
    """Counts the rows that are decoded."""
    rows, real = [], decoder._decode

    def counting(group, *arguments):
        rows.extend(group)
        return real(group, *arguments)

    monkeypatch.setattr(decoder, "_decode", counting)
    return rows


def content(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize(
    ("mode", "suffix", "size"),
    [("L", "png", 40), ("L", "jpg", 40), ("RGB", "jpg", 23), ("RGBA", "png", 40), ("LA", "png", 9)],
)
def test_images_are_stored_as_the_very_pixels_that_training_reads(tmp_path, mode, suffix, size):
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"{number}.{suffix}") for number in range(11)]
    for path in paths:
        channels = () if mode in ("L", "LA") else (3,)
        Image.fromarray(rng.integers(0, 256, (37, 41, *channels), dtype=np.uint8)).convert(mode).save(path)
    store = prepare(pd.DataFrame({"image_id": paths, "path": paths}), tmp_path / "store", size=size)
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(store.images[row], read_image(path, size).numpy()[..., 0])


def test_dicom_images_are_stored_as_they_are_scored_and_refused_ones_left_out_with_the_gates_code(tmp_path):
    root = make_phantoms(tmp_path / "phantoms", images=6, size=128, dicom=True)
    paths = sorted(str(path) for path in (root / "dicom").rglob("*") if path.is_file() and path.suffix != ".csv")
    png = tmp_path / "image.png"
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(png)
    bad = tmp_path / "hand.dcm"
    dataset = dcmread(paths[0])
    dataset.BodyPartExamined = "HAND"
    dataset.save_as(bad)
    table = pd.DataFrame({"path": [*paths, str(png), str(bad)]}).assign(image_id=lambda t: t["path"])
    with pytest.raises(ValueError, match=r"hand\.dcm \(body_part: "):
        prepare(table[table["path"].isin([str(png), str(bad)])], tmp_path / "strict", size=32)
    store = prepare(table, tmp_path / "store", size=32, missing="skip")
    assert store.left_out[str(bad)] == "body_part"
    accepted = [row for row, path in enumerate(table["path"]) if path not in store.left_out]
    assert len(accepted) > 3
    for row in accepted:
        path = table["path"][row]
        image = np.asarray(Image.open(path)) if path == str(png) else read_dicom(path).pixels
        np.testing.assert_array_equal(store.images[row], to_model_pixels(image[..., np.newaxis], 32).numpy()[..., 0])
    assert not store.images[len(table) - 1].any()


@pytest.fixture(scope="module")
def dicom_table(tmp_path_factory):
    """The DICOM folder of some phantoms as a table of one's own, with its expected verdicts."""
    root = make_phantoms(tmp_path_factory.mktemp("dicom") / "phantoms", images=12, size=256)
    expected = pd.read_csv(root / "dicom_expected.csv")
    frame = expected.assign(who=range(len(expected)), Effusion=[number % 2 for number in range(len(expected))])
    frame.to_csv(root / "dicom" / "images.csv", index=False)
    options = {"image_column": "file", "label_columns": "Effusion", "patient_column": "who"}
    return load_table(root / "dicom" / "images.csv", **options), expected.set_index("file")["verdict"]


def test_a_table_of_dicom_files_gets_the_verdicts_of_the_gate_and_trains_from_the_store(dicom_table, tmp_path):
    table, verdicts = dicom_table
    told = r"images are DICOM files \(first 'accept.*'chexkeras prepare'.*store = cx.prepare"
    with pytest.raises(ValueError, match=told):
        make_dataset(table, "Effusion", image_size=32)
    with pytest.raises(ValueError, match=r"of \d+ images are DICOM files"):
        images_with_ids(table, image_size=32)
    store = prepare(table, tmp_path / "store", size=32, missing="skip")
    assert set(store.left_out) == set(verdicts.index[verdicts == "reject"])
    kept = store.leave_out_absent(table)
    assert set(kept["image_id"]) == set(verdicts.index[verdicts == "accept"])
    batches = list(make_dataset(kept, "Effusion", image_size=32, batch_size=4, store=store))
    pixels = np.concatenate([pixels for pixels, _ in batches])
    for image, path in zip(pixels, kept["path"], strict=True):
        np.testing.assert_array_equal(image, to_model_pixels(read_dicom(path).pixels[..., np.newaxis], 32))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches])[:, 0], kept["Effusion"])


def test_the_profile_decides_what_is_refused(dicom_table, tmp_path):
    table, verdicts = dicom_table
    over_60 = dataclasses.replace(CLINICAL, name="60 and over", minimum_age_years=60)
    refused = {}
    for image_id, path in zip(table["image_id"], table["path"], strict=True):
        try:
            read_dicom(path, profile=over_60)
        except DicomRejected as rejected:
            refused[image_id] = rejected.code
    store = prepare(table, tmp_path / "store", size=16, missing="skip", profile=over_60)
    # A file that is not DICOM is no image either, and gets no code of the gate.
    refused |= {image_id: "unreadable" for image_id, code in refused.items() if code == "not_dicom"}
    assert store.left_out == refused
    assert store.manifest.profile == "60 and over"
    assert set(verdicts.index[verdicts == "reject"]) < set(refused) < set(verdicts.index)
    with pytest.raises(ValueError, match=r"none of the \d+ images can be used \(.*view_missing"):
        prepare(table, tmp_path / "course", size=16, missing="skip", profile="course")


def test_it_is_filled_in_chunks_and_a_complete_one_is_checked_not_decoded(
    images, tmp_path, small_chunks, decoded, capsys
):
    store = prepare(images, tmp_path / "store", size=16)
    assert len(store.manifest.chunks) == 4
    assert sorted(decoded) == list(range(50))
    before = content(store.folder)
    decoded.clear()
    again = prepare(images, tmp_path / "store", size=16)
    assert decoded == []
    assert content(again.folder) == before
    assert "50 images of 16 px are stored" in capsys.readouterr().err


def test_the_number_of_threads_does_not_change_the_bytes(images, tmp_path, small_chunks):
    stores = [prepare(images, tmp_path / str(workers), size=16, workers=workers) for workers in (1, 5)]
    assert content(stores[0].folder) == content(stores[1].folder)


MOMENTS = """
import hashlib, os, signal, sys
import numpy as np
import pandas as pd
from PIL import Image
from chexkeras.data.store import decoder, prepare, store

moment, count = sys.argv[3], int(sys.argv[4])
def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dying(real, before):
    def call(*arguments):
        global count
        count -= 1
        if before and not count:
            die()
        result = real(*arguments)
        if not before and not count:
            die()
        return result
    return call

def torn(self, rows, images):
    real(self, range(rows.start, rows.start + len(rows) // 2), images)
    die()

# Decodes without TensorFlow, which takes long to start; the images have the size that is wanted already.
prepare._pixels_version = lambda: 2
decoder.read_images = lambda paths, size: np.stack([np.asarray(Image.open(path)) for path in paths])
prepare._CHUNK_BYTES = 16 * 16 * 16
if moment == "rename":
    os.replace = dying(os.replace, before=True)
elif moment == "renamed":
    os.replace = dying(os.replace, before=False)
elif moment == "written":
    store.ImagesFile.write = dying(store.ImagesFile.write, before=False)
elif moment == "torn":
    real = store.ImagesFile.write
    store.ImagesFile.write = torn
elif moment == "created":
    store.ImagesFile.create = dying(store.ImagesFile.create, before=False)
prepare.prepare(pd.read_csv(sys.argv[1]), sys.argv[2], size=16, workers=1)
"""
# What is killed: before the first manifest stands, after it, after the index, after the empty image file, half-way
# through writing images, after writing but before the manifest tells, and before and after the manifest tells.
KILLS = [
    ("rename", 1), ("renamed", 1), ("renamed", 2), ("created", 1), ("torn", 1), ("written", 1), ("rename", 3),
    ("renamed", 3), ("torn", 1), ("written", 2),
]  # fmt: skip


def test_killed_again_and_again_it_ends_with_the_same_bytes(images, tmp_path, small_chunks, decoded):
    expected = content(prepare(images, tmp_path / "whole", size=16).folder)
    images.to_csv(tmp_path / "table.csv", index=False)
    folder = tmp_path / "killed"
    for moment, count in KILLS:
        script = [sys.executable, "-c", MOMENTS, str(tmp_path / "table.csv"), str(folder), moment, str(count)]
        assert subprocess.run(script, check=False).returncode == -signal.SIGKILL
        with pytest.raises((ValueError, FileNotFoundError), match=r"is not complete|no image store in|no folder at"):
            Store.load(folder)
    done = sum(chunk is not None for chunk in Manifest.load(folder).chunks)
    assert 0 < done < 4
    decoded.clear()
    prepare(images, folder, size=16)
    assert content(folder) == expected
    assert min(decoded) == 16 * done


KILLED = """
import sys
import pandas as pd
from chexkeras.data.store import decoder, prepare
prepare._CHUNK_BYTES = 16 * 16 * 16
real = decoder._decode
def held(rows, *arguments):
    if rows.start >= 32:
        sys.stdin.read()  # No further than this until it is killed.
    return real(rows, *arguments)
decoder._decode = held
prepare.prepare(pd.read_csv(sys.argv[1]), sys.argv[2], size=16, workers=1)
"""


@pytest.mark.release
def test_killed_and_started_again_it_ends_with_the_same_bytes(images, tmp_path, small_chunks, decoded):
    expected = content(prepare(images, tmp_path / "whole", size=16).folder)
    images.to_csv(tmp_path / "table.csv", index=False)
    folder = tmp_path / "killed"
    script = [sys.executable, "-c", KILLED, str(tmp_path / "table.csv"), str(folder)]
    process = subprocess.Popen(script, stdin=subprocess.PIPE)
    manifest = folder / "manifest.json"
    try:
        while process.poll() is None and not (manifest.exists() and '"pixels"' in manifest.read_text()):
            time.sleep(0.005)
        assert process.poll() is None
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with pytest.raises(ValueError, match="is not complete"):
        Store.load(folder)
    decoded.clear()
    prepare(images, folder, size=16)
    assert content(folder) == expected
    assert 0 < len(decoded) < 50
    assert min(decoded) >= 16


def test_an_interruption_tells_how_far_it_came_and_the_same_call_goes_on(
    images, tmp_path, small_chunks, monkeypatch, capsys
):
    real = decoder._decode

    def interrupted(rows, *arguments):
        if rows.start >= 40:
            raise KeyboardInterrupt
        return real(rows, *arguments)

    monkeypatch.setattr(decoder, "_decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(images, tmp_path / "store", size=16)
    assert "interrupted: 32 of 50 images are stored; the same call goes on there" in capsys.readouterr().err
    monkeypatch.setattr(decoder, "_decode", real)
    assert content(prepare(images, tmp_path / "store", size=16).folder) == content(
        prepare(images, tmp_path / "whole", size=16).folder
    )


def test_nothing_stays_at_work_after_an_error(faulty, tmp_path, small_chunks):
    with pytest.raises(ValueError, match="cannot be used") as caught:
        prepare(faulty.drop(index=35), tmp_path / "store", size=16, workers=3)
    assert caught.value.__traceback__ is not None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


@pytest.mark.parametrize("leftover", [(), (".manifest.abc.json",)])
def test_a_kill_before_the_first_manifest_leaves_nothing_in_the_way(images, tmp_path, leftover):
    for name in leftover:
        (tmp_path / name).write_text("{")
    assert len(prepare(images, tmp_path, size=16)) == 50
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("damage", "rows"),
    [
        (lambda data: data[: 128 + 40 * 256], range(32, 50)),
        (lambda data: data[: 128 + 17 * 256] + b"!" + data[128 + 17 * 256 + 1 :], range(16, 32)),
        (lambda data: b"", range(50)),
        (lambda data: b"?" + data[1:], ()),
    ],
    ids=["cut short", "changed", "emptied", "header"],
)
def test_what_is_damaged_is_decoded_again(images, tmp_path, small_chunks, decoded, damage, rows):
    store = prepare(images, tmp_path, size=16)
    before = content(tmp_path)
    path = tmp_path / "films.npy"
    path.write_bytes(damage(path.read_bytes()))
    decoded.clear()
    prepare(images, store.folder, size=16)
    assert content(tmp_path) == before
    assert sorted(decoded) == list(rows)


def test_a_replaced_image_is_decoded_again_with_its_chunk_alone(make_images, tmp_path, small_chunks, decoded):
    images = make_images(tmp_path, 40)
    prepare(images, tmp_path / "store", size=16)
    replaced = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(replaced).save(images["path"][20])
    decoded.clear()
    store = prepare(images, tmp_path / "store", size=16)
    assert sorted(decoded) == list(range(16, 32))
    np.testing.assert_array_equal(store.images[20], replaced)
    store.verify()


def test_a_larger_store_serves_part_of_its_images_and_images_that_repeat(images, tmp_path, decoded, capsys):
    whole = prepare(images, tmp_path, size=16)
    decoded.clear()
    part = images.iloc[[30, 4, 4]]
    served = prepare(part, tmp_path, size=16)
    assert decoded == []
    assert served.fingerprint == whole.fingerprint
    assert "all 2 images are in" in capsys.readouterr().err
    np.testing.assert_array_equal(served.read(served.rows(part["image_id"])), whole.images[[30, 4, 4]])


def test_a_image_that_repeats_is_stored_once(images, tmp_path):
    assert len(prepare(pd.concat([images, images.head(10)]), tmp_path, size=16)) == 50


def test_a_larger_store_of_another_profile_is_refused(images, tmp_path):
    prepare(images, tmp_path, size=16)
    with pytest.raises(ValueError, match=r"holds another store .*DICOM profile clinical"):
        prepare(images.head(3), tmp_path, size=16, profile="course")


@pytest.mark.parametrize("size", [16, 4])
def test_a_constant_image_is_refused_as_the_audit_refuses_it_and_a_nearly_constant_one_is_not(images, tmp_path, size):
    nearly = np.full((16, 16), 7, np.uint8)
    Image.fromarray(nearly).save(images["path"][3])
    nearly[0, 0] = 8
    Image.fromarray(nearly).save(images["path"][4])
    with pytest.raises(ValueError, match=r"1 image\(s\) cannot be used: image03 \(constant: .*every pixel is 7"):
        prepare(images, tmp_path / "strict", size=size)
    store = prepare(images, tmp_path / "store", size=size, missing="skip")
    assert store.left_out == {"image03": "constant"}
    assert store.left_out.keys() == set(images["image_id"]) - set(audited(images)["image_id"])
    assert not store.images[3].any()
    assert (store.images[4] >= 7).all()


def audited(images):
    table = images.assign(patient_id=images["image_id"], Edema=0.0)
    return audit(table, targets=[], missing="skip").table


@pytest.fixture
def faulty(make_images, tmp_path):
    """Forty images, of which one is no image, one cut short and one gone."""
    table = make_images(tmp_path, 40)
    Path(table["path"][18]).write_text("no image")
    path = Path(table["path"][21])
    path.write_bytes(path.read_bytes()[:-60])
    os.remove(table["path"][35])
    return table


def test_images_without_a_file_stop_before_anything_is_made(faulty, tmp_path):
    with pytest.raises(ValueError, match=r"1 of 40 images have no file \(first 'image35'\).* --missing skip\)"):
        prepare(faulty, tmp_path / "store", size=16)
    assert not (tmp_path / "store").exists()


def test_damaged_images_stop_at_the_end_of_their_chunk_and_replaced_ones_go_on(faulty, tmp_path, small_chunks, decoded):
    table = faulty.drop(index=35)
    message = r"2 image\(s\) cannot be used: image18 \(unread.*\); image21 \(unread.*\)\..*16 images stored before"
    with pytest.raises(ValueError, match=message):
        prepare(table, tmp_path / "store", size=16)
    for row in (18, 21):
        shutil.copy(table["path"][0], table["path"][row])
    decoded.clear()
    store = prepare(table, tmp_path / "store", size=16)
    assert min(decoded) == 16
    assert store.left_out == {}


def test_unusable_images_are_left_out_on_request_and_listed_with_the_reason(faulty, tmp_path, small_chunks):
    store = prepare(faulty, tmp_path / "store", size=16, missing="skip")
    assert store.left_out == {"image18": "unreadable", "image21": "unreadable", "image35": "missing_file"}
    assert Store.load(store.folder).left_out == store.left_out
    assert not store.images[[18, 21, 35]].any()
    np.testing.assert_array_equal(store.images[20], np.asarray(Image.open(faulty["path"][20])))
    with pytest.raises(ValueError, match=r"2 of 39 images were left out when the store was prepared \(first 'image18'"):
        prepare(faulty.drop(index=35), store.folder, size=16)


def test_left_out_images_are_tried_again_when_they_must_not_be_missing(faulty, tmp_path, small_chunks, decoded):
    table = faulty.drop(index=[21, 35])
    prepare(table, tmp_path / "store", size=16, missing="skip")
    decoded.clear()
    prepare(table, tmp_path / "store", size=16, missing="skip")
    assert decoded == []
    with pytest.raises(ValueError, match=r"1 image\(s\) cannot be used: image18.* --missing skip\)"):
        prepare(table, tmp_path / "store", size=16)


def test_a_table_of_unusable_images_alone_makes_no_store(faulty, tmp_path):
    with pytest.raises(ValueError, match=r"none of the 2 images can be used \(missing_file, unreadable\)"):
        prepare(faulty.loc[[18, 35]], tmp_path / "store", size=16, missing="skip")


def test_a_full_disk_is_told_before_anything_is_decoded(images, tmp_path, monkeypatch, decoded):
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("Usage", "free")(2_000_000))
    with pytest.raises(OSError, match=r"needs 0\.01 GB in '.*store', but 0\.00 GB are free there; make room"):
        prepare(images, tmp_path / "new" / "store", size=512)
    assert decoded == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"size": 8},
        {"table": lambda images: images.iloc[::-1]},
        {"table": lambda images: images.assign(image_id="x" + images["image_id"])},
        {"profile": "course"},
    ],
)
def test_the_store_of_other_images_is_refused_and_left_alone(images, tmp_path, change):
    prepare(images, tmp_path, size=16)
    before = content(tmp_path)
    options = {"size": 16, **change}
    table = options.pop("table", lambda table: table)(images)
    with pytest.raises(
        ValueError, match=r"holds another store \(50 images of 16 px, DICOM profile clinical.*give another"
    ):
        prepare(table, tmp_path, **options)
    assert content(tmp_path) == before


def test_a_folder_with_something_else_is_refused(images, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="holds something that is no image store; give a new or empty folder"):
        prepare(images, tmp_path, size=16)
    with pytest.raises(FileExistsError, match="is a file; name a folder"):
        prepare(images, tmp_path / "thesis.txt", size=16)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (lambda images: images.head(0), {}, "the image table is empty"),
        (lambda images: images.drop(columns="path"), {}, r"lacks the column\(s\) path"),
        (lambda images: images.assign(image_id="same"), {}, r"49 image ids stand for two files \(first 'same', 'same'"),
        (lambda images: images, {"size": 0}, "size=0 must be a whole number"),
        (lambda images: images, {"workers": 0}, "workers=0 must be a whole number"),
        (lambda images: images, {"missing": "ignore"}, "missing='ignore'"),
        (lambda images: images, {"profile": "clinic"}, "clinical"),
    ],
)
def test_unusable_arguments_are_refused(images, tmp_path, table, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(table(images), tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


@pytest.mark.realdata
def test_a_thousand_real_images_are_stored_as_their_averages(real_nih, tmp_path):
    table = load_nih(real_nih, missing="skip")
    store = prepare(table, tmp_path / "images", size=64)
    assert (len(store), store.left_out) == (1000, {})
    store.verify()
    for row in range(0, 1000, 50):
        # Five by five pixels of 320: an average that is never half-way between two gray values.
        image = np.asarray(Image.open(table["path"][row]).convert("L"), float)
        np.testing.assert_array_equal(store.images[row], np.rint(image.reshape(64, 5, 64, 5).mean(axis=(1, 3))))
    small = load_nih(real_nih, images="images_64", missing="skip")
    store = prepare(small, tmp_path / "small", size=64)
    assert (len(store), store.left_out) == (1000, {})
    for row in range(0, 1000, 50):
        image = np.asarray(Image.open(small["path"][row]).convert("L"), int)
        np.testing.assert_allclose(store.images[row], image, atol=1)


@pytest.mark.realdata
def test_original_images_are_stored_as_training_reads_them(real_nih, tmp_path):
    paths = sorted(str(path) for path in (real_nih / "images_1024").glob("*.png"))[:10]
    store = prepare(pd.DataFrame({"image_id": paths, "path": paths}), tmp_path, size=224)
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(store.images[row], read_image(path, 224).numpy()[..., 0])


def test_images_of_low_contrast_are_named_at_once_and_whenever_the_store_is_used(tmp_path, capsys):
    names = [f"{number}.png" for number in range(3)]
    for number, name in enumerate(names):
        deep = np.linspace(0, 4095 if number == 1 else 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
        Image.fromarray(deep).save(tmp_path / name)
    table = pd.DataFrame({"image_id": names, "path": [str(tmp_path / name) for name in names]})
    store = prepare(table, tmp_path / "store", size=64)
    said = capsys.readouterr().err
    assert "1.png shows too little: 16 grey levels in use" in said
    assert store.told_of_contrast(names) in said and "1 image(s)" in store.told_of_contrast(names)
    assert Store.load(tmp_path / "store").told_of_contrast(["1.png"]) and not store.told_of_contrast(["0.png"])
    # A smaller table of the same store, and one prepared again after the file was mended.
    prepare(table.head(2), tmp_path / "store", size=64)
    assert "1.png (16 grey levels in use)" in capsys.readouterr().err
    Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)).save(tmp_path / "1.png")
    assert prepare(table, tmp_path / "store", size=64).told_of_contrast(names) == ""
