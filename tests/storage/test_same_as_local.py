"""What is read from an object store gives what the same files on disk give, byte for byte."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import chexkeras as cx
from chexkeras import storage
from chexkeras.data.audit.audit import audit
from chexkeras.data.datasets.custom import load_table
from chexkeras.data.datasets.registry import open_data
from chexkeras.data.pipeline import make_dataset
from chexkeras.data.resolution import source_resolution
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.data.store.prepare import prepare
from chexkeras.dicom.workers.options import IN_PROCESS
from chexkeras.inference.score_folder import score_folder
from chexkeras.phantoms import make_phantoms
from chexkeras.storage import drivers

pytestmark = pytest.mark.keras

COLUMNS = {"image_column": "file", "label_columns": "edema", "patient_column": "who"}


@pytest.fixture(scope="session")
def nih(tmp_path_factory):
    """Phantoms in NIH's layout with a damaged image and one that is all one colour."""
    folder = make_phantoms(tmp_path_factory.mktemp("phantoms") / "nih", images=12, size=64, dicom=True)
    first, second, *_ = sorted((folder / "images").iterdir())
    first.write_bytes(first.read_bytes()[:200])
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(second)
    return folder


@pytest.fixture(params=["s3", "memory"])
def elsewhere(request):
    """Puts a folder into an object store and returns its address."""
    put = request.getfixturevalue(request.param)
    return lambda folder: put(folder, f"{request.param}://bucket/place/{Path(folder).name}")


def content(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def without_paths(table):
    return table.drop(columns="path")


def test_an_audit_and_a_store_of_nih_are_the_same(nih, elsewhere, tmp_path):
    url = elsewhere(nih)
    here, there = open_data(nih), open_data(url)
    pd.testing.assert_frame_equal(without_paths(here), without_paths(there))
    assert there["path"].tolist() == [path.replace(str(nih), url) for path in here["path"]]
    assert there.source == here.source
    assert audit(there, missing="skip").to_dict() == audit(here, missing="skip").to_dict()
    prepare(here, tmp_path / "here", size=32, missing="skip")
    store = prepare(there, tmp_path / "there", size=32, missing="skip")
    assert set(store.left_out.values()) == {"unreadable", "constant"}
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert source_resolution(there, 32) == source_resolution(here, 32)


def test_a_table_of_ones_own_with_dicom_files_is_the_same(nih, elsewhere, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(nih / "dicom", folder / "films")
    films = sorted(path.name for path in (folder / "films").iterdir())[:8]
    rows = pd.DataFrame({"file": [f"films/{name}" for name in films], "edema": [1, 0] * 4, "who": range(8)})
    rows.to_csv(folder / "table.csv", index=False)
    url = elsewhere(folder)
    here, there = (open_data(f"{root}/table.csv", **COLUMNS) for root in (folder, url))
    pd.testing.assert_frame_equal(without_paths(here), without_paths(there))
    assert audit(there, missing="skip").to_dict() == audit(here, missing="skip").to_dict()
    prepare(here, tmp_path / "here", size=32, missing="skip")
    prepare(there, tmp_path / "there", size=32, missing="skip")
    assert content(tmp_path / "there") == content(tmp_path / "here")


@pytest.mark.parametrize("options", [{"read_options": IN_PROCESS}, {}], ids=["in this process", "in workers"])
def test_scores_of_a_folder_are_the_same(toy_run, nih, elsewhere, tmp_path, options):
    folder = tmp_path / "films"
    shutil.copytree(nih / "dicom", folder)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "film").write_bytes(b"")
    url = elsewhere(folder)
    run = shutil.copytree(toy_run.folder, tmp_path / "run")
    here = score_folder(run, folder, keep=False, out=tmp_path / "here.csv", **options)
    there = score_folder(run, url, keep=False, out=tmp_path / "there.csv", **options)
    assert len(here) > 10
    assert set(here["verdict"]) >= {"reject", "warn"}
    # What changes with the file's time, and how long it took.
    beside = ["fingerprint", "seconds"]
    pd.testing.assert_frame_equal(here.drop(columns=beside), there.drop(columns=beside))
    again = score_folder(run, url, keep=False, out=tmp_path / "there.csv", resume=True, **options)
    pd.testing.assert_frame_equal(pd.DataFrame(again[beside]), pd.DataFrame(there[beside]), check_dtype=False)


def test_files_given_one_by_one_are_scored_too(toy_run, nih, memory):
    url = memory(nih / "dicom", "memory://bucket/films")
    name = sorted(path.name for path in (nih / "dicom").iterdir())[0]
    predictor = cx.Predictor.load(toy_run)
    here = predictor.predict([nih / "dicom" / name], read_options=IN_PROCESS)
    there = predictor.predict([f"{url}/{name}"], read_options=IN_PROCESS)
    assert there["file"].tolist() == [f"{url}/{name}"] * len(here)
    pd.testing.assert_frame_equal(here.drop(columns=["file", "seconds"]), there.drop(columns=["file", "seconds"]))


def test_each_image_is_fetched_once_and_the_folder_listed_once(nih, memory, monkeypatch):
    url = memory(nih, "memory://bucket/nih")
    asked = []
    driver = drivers._driver("memory")
    for name in ("find", "cat_file"):
        real = getattr(driver, name)

        def noting(path, *arguments, _name=name, _real=real, **options):
            asked.append((_name, path))
            return _real(path, *arguments, **options)

        monkeypatch.setattr(driver, name, noting)
    table = open_data(url)
    assert [path for name, path in asked if name == "find"] == ["/bucket/nih/images"]
    del asked[:]
    audit(table, missing="skip")
    assert sorted(path for name, path in asked) == sorted(f"/{path.partition('://')[2]}" for path in table["path"])


@pytest.mark.slow
def test_a_training_from_a_store_of_images_elsewhere_gives_the_same_scores(toy, memory, short_recipe, tmp_path):
    folder = Path(toy["path"].iloc[0]).parent
    url = memory(folder, "memory://bucket/toy")
    there = toy.assign(path=[f"{url}/{Path(path).name}" for path in toy["path"]])
    there.attrs = dict(toy.attrs)
    runs = []
    for name, table in {"here": toy, "there": there}.items():
        store = prepare(table, tmp_path / f"{name}.store", size=short_recipe.image_size)
        splits = split_by_patient(table, "Effusion", validation=0.25, test=0.25)
        runs.append(cx.train(short_recipe, splits, tmp_path / name, store=store))
    here, there = (run.scores("test") for run in runs)
    pd.testing.assert_frame_equal(pd.DataFrame(here), pd.DataFrame(there))


def test_training_refuses_to_read_an_object_store(nih, memory, short_recipe):
    table = open_data(memory(nih, "memory://bucket/nih"))
    with pytest.raises(ValueError, match=r"12 of 12 images lie in an object store .* 'chexkeras prepare'"):
        make_dataset(table, short_recipe.targets, image_size=32)


def test_images_elsewhere_may_be_named_by_a_table_of_this_machine(nih, memory, tmp_path):
    url = memory(nih, "memory://bucket/nih")
    names = sorted(path.name for path in (nih / "images").iterdir())[:2]
    rows = pd.DataFrame({"file": [f"{url}/images/{name}" for name in names], "edema": [1, 0], "who": [1, 2]})
    table = load_table(rows, root=tmp_path, **COLUMNS)
    assert table["image_id"].tolist() == names
    assert table["path"].tolist() == rows["file"].tolist()
    with_root = load_table(rows.assign(file=names), root=f"{url}/images", **COLUMNS)
    assert with_root["path"].tolist() == rows["file"].tolist()
    with pytest.raises(FileNotFoundError, match="1 of 2 images are missing"):
        load_table(rows.assign(file=[names[0], "other.png"]), root=f"{url}/images", **COLUMNS)


def test_many_folders_are_listed_at_once(memory, tmp_path, monkeypatch):
    for patient in range(60):
        (tmp_path / f"patient{patient}").mkdir()
        (tmp_path / f"patient{patient}" / "view.PNG").write_bytes(b"")
    url = memory(tmp_path, "memory://bucket/own")
    rows = pd.DataFrame(
        {"file": [f"patient{patient}/view.png" for patient in range(60)], "edema": [0, 1] * 30, "who": range(60)}
    )
    monkeypatch.setattr(storage.remote, "names_in", lambda folder: pytest.fail("listed alone"))
    table = load_table(rows, root=url, **COLUMNS)
    assert table["path"].iloc[3] == f"{url}/patient3/view.PNG"


def test_a_table_elsewhere_names_no_file_of_this_machine(memory, tmp_path):
    (tmp_path / "table.csv").write_text("file,edema,who\n/etc/hostname,1,1\n")
    url = memory(tmp_path, "memory://bucket/own")
    with pytest.raises(ValueError, match=r"'/etc/hostname' .* is a path of this machine"):
        open_data(f"{url}/table.csv", **COLUMNS)
