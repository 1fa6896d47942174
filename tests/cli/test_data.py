"""audit, prepare and train on every kind of data set: it is told by itself, and mistakes say what to do."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.cli.image_options import columns_of, policies
from chexkeras.data.store.store import Store
from chexkeras.phantoms import make_chexpert_phantoms, make_phantoms

pytestmark = pytest.mark.usefixtures("run_eagerly")

runner = CliRunner()
SMALL = ("--preset", "quick", "--set", "backbone=SmallCNN", "--set", "image_size=32", "--set", "stage1.epochs=1")
SMALL = (*SMALL, "--set", "stage2.epochs=1", "--validation", "0.25", "--test", "0.25")


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def succeeded(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eighty phantoms in NIH's layout, half of them with Effusion, and DICOM files beside them."""
    return make_phantoms(tmp_path_factory.mktemp("nih") / "images", images=80, size=64, prevalence={"Effusion": 0.5})


@pytest.fixture(scope="module")
def chexpert(tmp_path_factory):
    """The same in CheXpert's layout, with uncertain labels."""
    folder = tmp_path_factory.mktemp("chexpert")
    return make_chexpert_phantoms(folder, images=80, size=64, prevalence={"Effusion": 0.5})


@pytest.fixture
def own(images, tmp_path):
    """The images in NIH's layout, as a CSV of one's own with other names."""
    written = pd.read_csv(images / "Data_Entry_2017.csv", usecols=[0, 1, 3])
    table = pd.DataFrame(
        {
            "image": written["Image Index"],
            "person": written["Patient ID"],
            "water": written["Finding Labels"].str.contains("Effusion").astype(int),
        }
    )
    path = tmp_path / "own.csv"
    table.to_csv(path, index=False)
    columns = ("--image-column", "image", "--patient-column", "person", "--label-columns", "water=Effusion")
    return (path, *columns, "--images", images / "images")


def test_audit_tells_of_every_kind_what_it_is(images, chexpert, own, tmp_path):
    assert succeeded("audit", images, "--no-pixels").startswith(
        "chexkeras phantoms (labels: not applicable (synthetic))"
    )
    assert succeeded("audit", chexpert.parent, "--no-pixels").startswith("chexkeras phantoms in CheXpert's layout (")
    out = tmp_path / "audit.json"
    told = succeeded("audit", *own, "--out", out)
    assert told.startswith("own.csv (labels: not stated)\n80 images of ")
    assert "Patients are not known" not in told
    assert json.loads(out.read_text())["checked"] == 80
    path, *options = own
    del options[2:4]
    assert "Patients are not known" in succeeded("audit", path, *options, "--no-pixels")


@pytest.mark.keras
def test_prepare_stores_every_kind_and_says_where(images, chexpert, own, tmp_path):
    for kind, arguments in (("nih", (images,)), ("chexpert", (chexpert,)), ("own", own)):
        output = succeeded("prepare", *arguments, "--store", tmp_path / kind, "--size", 32)
        assert f"store: {tmp_path / kind}" in output
        assert len(Store.load(tmp_path / kind)) == 80
    np.testing.assert_array_equal(Store.load(tmp_path / "nih").images, Store.load(tmp_path / "own").images)
    again = succeeded("prepare", images, "--store", tmp_path / "nih", "--size", 32)
    assert "80 images of 32 px are stored" in again


@pytest.mark.keras
def test_prepare_lists_what_it_leaves_out(images, tmp_path):
    output = succeeded(
        "prepare", _of_dicom(images, tmp_path), "--image-column", "file", "--label-columns", "Effusion", "--images",
        images / "dicom", "--store", tmp_path / "store", "--size", 32, "--missing", "skip",
    )  # fmt: skip
    assert "left out: reject_body_part_hand.dcm (body_part)" in output
    assert "left out: accept" not in output


def _of_dicom(images, folder):
    names = sorted(path.name for path in (images / "dicom").iterdir())
    path = folder / "dicom.csv"
    pd.DataFrame({"file": names, "Effusion": [number % 2 for number in range(len(names))]}).to_csv(path, index=False)
    return path


@pytest.mark.keras
def test_train_refuses_dicom_files_before_it_opens_an_image(images, tmp_path):
    columns = ("--image-column", "file", "--label-columns", "Effusion", "--images", images / "dicom")
    arguments = ("train", "--data", _of_dicom(images, tmp_path), *columns, "--run", tmp_path / "run")
    message = refused(*arguments, *SMALL, "--finding", "Effusion")
    assert "images are DICOM files" in message
    assert "chexkeras prepare" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.keras
def test_a_run_from_a_store_is_the_run_from_the_files(images, tmp_path):
    succeeded("prepare", images, "--store", tmp_path / "store", "--size", 32)
    for name, source in (("from_files", ()), ("from_store", ("--store", tmp_path / "store"))):
        succeeded("train", "--data", images, "--run", tmp_path / name, *SMALL, "--finding", "Effusion", *source)
    for file in ("scores_test.csv", "scores_validation.csv", "operating_points.json", "table.csv"):
        assert (tmp_path / "from_files" / file).read_bytes() == (tmp_path / "from_store" / file).read_bytes()
    provenance = json.loads((tmp_path / "from_store" / "provenance.json").read_text())
    assert provenance["store"] == Store.load(tmp_path / "store").fingerprint


@pytest.mark.keras
def test_train_on_a_store_with_images_left_out_lists_them_with_the_run(images, tmp_path):
    table = pd.read_csv(images / "Data_Entry_2017.csv", index_col=False)
    part = tmp_path / "part"
    part.mkdir()
    table.iloc[:-3].to_csv(part / "Data_Entry_2017_v2020.csv", index=False)
    succeeded("prepare", part, "--images", images / "images", "--store", tmp_path / "store", "--size", 32)
    arguments = ("train", "--data", images, "--run", tmp_path / "run", *SMALL, "--finding", "Effusion")
    message = refused(*arguments, "--store", tmp_path / "store")
    assert "3 of 80 images are not in the store" in message
    assert "--missing skip" in message
    succeeded(*arguments, "--store", tmp_path / "store", "--missing", "skip")
    left_out = pd.read_csv(tmp_path / "run" / "left_out.csv")
    assert left_out["image_id"].tolist() == table["Image Index"].tolist()[-3:]
    assert set(left_out["reason"]) == {"not in the store"}


@pytest.mark.keras
def test_train_takes_chexpert_with_a_policy_for_its_uncertain_labels(chexpert, tmp_path):
    arguments = ("train", "--data", chexpert, *SMALL, "--finding", "Pleural Effusion", "--uncertain", "ones")
    output = succeeded(*arguments, "--run", tmp_path / "run", "--split", "official")
    assert "Caution: Uncertain labels count as present" in output
    parts = pd.read_csv(tmp_path / "run" / "splits.csv").groupby("part")["image_id"]
    assert all(parts.get_group("test").str.startswith("valid/"))
    assert all(parts.get_group("train").str.startswith("train/"))
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recipe["targets"] == ["Pleural Effusion"]
    source = json.loads((tmp_path / "run" / "provenance.json").read_text())["source"]
    assert source["uncertain_policy"]["Pleural Effusion"] == "ones"


@pytest.mark.keras
def test_a_second_pass_fills_the_uncertain_labels_of_the_first_runs_training_images(chexpert, tmp_path):
    arguments = ("train", "--data", chexpert, *SMALL, "--finding", "Pleural Effusion", "--uncertain", "self_trained")
    first, second = tmp_path / "first", tmp_path / "second"
    succeeded(*arguments, "--run", first)
    told = succeeded(*arguments, "--run", second, "--first-run", first)
    assert "--first-run keeps that run's split: --validation, --test not used" in told
    before, after = (pd.read_csv(run / "table.csv").set_index("image_id") for run in (first, second))
    assert (before["part"] == after["part"]).all()
    marked = before["uncertain"].fillna("").str.split("|").map(lambda names: "Pleural Effusion" in names)
    filled = marked & (before["part"] == "train")
    labels = after["Pleural Effusion"]
    assert filled.sum() > 0
    assert before.loc[marked, "Pleural Effusion"].isna().all()
    assert labels[filled].between(0, 1, inclusive="neither").all()
    assert labels[marked & ~filled].isna().all()
    pd.testing.assert_series_equal(labels[~marked], before["Pleural Effusion"][~marked])
    other = ("train", "--data", chexpert, *SMALL, "--finding", "Pleural Effusion", "--first-run", first)
    assert "it needs --uncertain self_trained" in refused(*other, "--run", tmp_path / "third")
    message = refused(
        *(*arguments[:-4], "--finding", "Edema", *arguments[-2:]), "--run", second, "--overwrite", "--first-run", first
    )
    assert "learnt Pleural Effusion, which are not all of the findings to fill (Edema)" in message


@pytest.mark.keras
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--uncertain", "multiclass"), "--set head=three_way --set loss.name=three_way"),
        (("--uncertain", "maybe"), "uncertain='maybe'"),
        (("--uncertain", "ones", "--uncertain", "Edema=zeros"), "--uncertain ones stands beside others"),
        (("--finding", "Effusions"), "Effusions"),
        (("--first-run", "nowhere"), "no folder at 'nowhere'"),
        (("--blank", "zero"), "blank='zero'"),
        (("--views", "side"), "views='side'"),
        (
            ("--image-column", "Path"),
            "image_column='Path' (on the command line --image-column) is for a table of one's own",
        ),
        (("--images", "images"), "(on the command line --images) is for NIH's layout"),
        (("--store", "nowhere"), "store: no folder at 'nowhere'"),
        (("--missing", "maybe"), "--missing='maybe'"),
    ],
)
def test_train_refuses_options_that_do_not_fit_before_it_opens_an_image(chexpert, tmp_path, options, message):
    arguments = ("train", "--data", chexpert, "--run", tmp_path / "run", *SMALL, "--finding", "Pleural Effusion")
    assert message in " ".join(refused(*arguments, *options).split())
    assert not (tmp_path / "run").exists()


@pytest.mark.keras
def test_train_takes_a_table_of_ones_own_with_its_own_label(images, own, tmp_path):
    path, *options = own
    options[options.index("water=Effusion")] = "water"
    del options[2:4]
    output = succeeded("train", "--data", path, *options, "--run", tmp_path / "run", *SMALL, "--finding", "water")
    assert "Patients are not known" in output
    assert set(pd.read_csv(tmp_path / "run" / "scores_test.csv")["finding"]) == {"water"}


@pytest.mark.parametrize("command", [("audit",), ("prepare", "--store", "x"), ("train", "--run", "x", "--data")])
def test_a_folder_without_labels_says_what_was_looked_for(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    message = " ".join(refused(*command, "images").split())
    assert "no label file in 'images'; looked for NIH's Data_Entry_2017_v2020.csv" in message
    assert "CheXpert's train.csv or valid.csv" in message
    (tmp_path / "images" / "own.csv").write_text("file,label\n")
    message = " ".join(refused(*command, "images/own.csv").split())
    assert (
        "own.csv is a table of your own: name image_column and label_columns (on the command line --image-column"
        in message
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


def test_policies_and_columns_are_read_from_their_options():
    assert policies(()) is None
    assert policies(["ones"]) == "ones"
    assert policies(["Edema=ones"]) == {"Edema": "ones"}
    assert columns_of(()) is None
    assert columns_of(["a, b", "c"]) == ["a", "b", "c"]
    assert columns_of(["a=Edema"]) == {"a": "Edema"}
