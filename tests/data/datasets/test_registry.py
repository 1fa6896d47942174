"""One way in for all kinds of data sets: what lies there decides, and errors say what was looked for."""

import importlib
import inspect
import subprocess
import sys

import pandas as pd
import pytest

from chexkeras.data.datasets.chexpert import load_chexpert
from chexkeras.data.datasets.custom import load_table
from chexkeras.data.datasets.nih import load_nih
from chexkeras.data.datasets.registry import CHEXPERT, DATA_SETS, NIH, OWN_TABLE, data_set_of, open_data, recognise
from chexkeras.data.image_table import source_of
from chexkeras.findings import CHEXPERT14

CHEXPERT_HEADER = ",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT14))


@pytest.fixture
def chexpert(tmp_path):
    """Two images of CheXpert-v1.0-small, the second with an uncertain Edema."""
    root = tmp_path / "chexpert" / "CheXpert-v1.0-small"
    root.mkdir(parents=True)
    lines = [CHEXPERT_HEADER]
    for number, edema in ((1, "1.0"), (2, "-1.0")):
        image = f"train/patient{number:05d}/study1/view1_frontal.jpg"
        (root / image).parent.mkdir(parents=True)
        (root / image).write_bytes(b"an image")
        labels = [edema if name == "Edema" else "" for name in CHEXPERT14]
        lines.append(",".join([f"{root.name}/{image}", "Male", "60", "Frontal", "AP", *labels]))
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    (folder / "images").mkdir(parents=True)
    for name in ("a.png", "b.dcm"):
        (folder / "images" / name).write_bytes(b"an image")
    path = folder / "images.csv"
    path.write_text("file,person,Edema\na.png,1,1\nb.dcm,2,0\n")
    return path


ASK = {"image_column": "file", "label_columns": ["Edema"], "patient_column": "person", "images": "images"}


def same(one, other):
    pd.testing.assert_frame_equal(one, other)
    assert source_of(one) == source_of(other)


def test_a_folder_or_label_file_of_nih_is_opened_as_load_nih_does(nih):
    assert recognise(nih.root) is NIH
    same(open_data(nih.root), load_nih(nih.root))
    same(open_data(str(nih.root / "Data_Entry_2017_v2020.csv")), load_nih(nih.root))
    (nih.root / "images" / nih.images[0]).unlink()
    same(open_data(nih.root, missing="skip"), load_nih(nih.root, missing="skip"))
    nih.write_images("images_64")
    assert open_data(nih.root, images="images_64")["path"].str.contains("images_64").all()


def test_a_label_file_of_nih_under_another_name_is_known_by_its_header(nih):
    path = (nih.root / "Data_Entry_2017_v2020.csv").rename(nih.root / "labels.csv")
    assert recognise(path) is NIH
    assert len(open_data(path)) == 4


def test_a_folder_of_chexpert_or_the_one_around_it_is_opened_as_load_chexpert_does(chexpert):
    assert recognise(chexpert) is recognise(chexpert.parent) is CHEXPERT
    same(open_data(chexpert.parent), load_chexpert(chexpert))
    same(open_data(chexpert, uncertain={"Edema": "ones"}), load_chexpert(chexpert, uncertain={"Edema": "ones"}))
    assert open_data(chexpert, blank="unknown")["Fracture"].isna().all()


def test_a_csv_of_ones_own_is_opened_as_load_table_does(own):
    assert recognise(own) is OWN_TABLE
    expected = load_table(
        own, image_column="file", label_columns=["Edema"], patient_column="person", root=own.parent / "images"
    )
    same(open_data(own, **ASK), expected)
    same(open_data(own, **{**ASK, "images": str(own.parent / "images")}), expected)


def test_with_an_image_column_a_file_is_ones_own_whatever_its_header(nih):
    table = open_data(
        nih.root / "Data_Entry_2017_v2020.csv", image_column="Image Index", label_columns="Finding Labels",
        separator="|", images="images",
    )  # fmt: skip
    assert source_of(table).dataset == "Data_Entry_2017_v2020.csv"
    assert table["Pneumonia"].tolist() == [0, 0, 0, 1]


def test_options_that_were_not_given_are_no_options(nih):
    every = dict.fromkeys(name for entry in DATA_SETS for name in entry.option_names)
    same(open_data(nih.root, **every), load_nih(nih.root))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            {"views": "all"},
            r"views='all' \(.* --views\) is for CheXpert's layout, PadChest's layout, Open-I's layout and "
            r"MIMIC-CXR-JPG's layout, but "
            r".*nih' is NIH's layout, .*: images\.",
        ),
        ({"part": "all"}, r"part='all' is for CheXpert's layout"),
        (
            {"image_column": "file"},
            r"image_column='file' \(.* --image-column\) is for a table of one's own, but .* is NIH's layout",
        ),
    ],
)
def test_an_option_of_another_kind_is_refused(nih, option, message):
    with pytest.raises(ValueError, match=message):
        open_data(nih.root, **option)


def test_images_are_not_for_chexpert_whose_label_file_names_the_folders(chexpert):
    message = r"images='images' \(on the command line --images\) is for NIH's layout, .* and a table of one's own"
    with pytest.raises(ValueError, match=message):
        open_data(chexpert, images="images")


def test_an_option_that_no_kind_has_is_a_mistake_in_the_program(nih):
    with pytest.raises(TypeError, match=r"unknown option 'image'; there are: images, part, views"):
        open_data(nih.root, image="images")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {},
            r"images\.csv is a table of your own: name image_column and label_columns \(on the command line "
            r"--image-column and --label-columns\)\. It has the columns: file, per",
        ),
        ({"image_column": "file"}, r"name label_columns \(.* --label-columns\)\. It has .*: file, person, Edema\."),
        ({"label_columns": "Edema"}, r"name image_column \(on the command line --image-column\)\."),
    ],
)
def test_a_table_of_ones_own_says_what_it_needs_and_has(own, given, message):
    with pytest.raises(ValueError, match=message):
        open_data(own, **given)


def test_what_was_looked_for_is_named(tmp_path, nih):
    with pytest.raises(FileNotFoundError, match=r"root: no file or folder at '.*gone'"):
        open_data(tmp_path / "gone")
    folder = tmp_path / "folder"
    folder.mkdir()
    looked_for = (
        r"no label file in '.*folder'; looked for NIH's Data_Entry_2017_v2020\.csv or Data_Entry_2017\.csv or "
        r"sample_labels\.csv; CheXpert's train\.csv or valid\.csv, there or in CheXpert-v1\.0 or CheXpert-v1\.0-small "
        r"or CheXpert-v1\.0 batch 1 \(validate & csv\); RSNA's stage_2_train_labels\.csv; .*stage_2_train\.csv\."
    )
    with pytest.raises(FileNotFoundError, match=looked_for + " The folder is empty"):
        open_data(folder)
    (folder / "notes.txt").write_text("images")
    with pytest.raises(FileNotFoundError, match=looked_for + " Give the folder that holds it"):
        open_data(folder)
    (folder / "images.csv").write_text("file\na.png\n")
    with pytest.raises(
        FileNotFoundError, match=looked_for + r" If images\.csv is .*, give its path, .* --label-columns\)"
    ):
        open_data(folder)
    with pytest.raises(FileNotFoundError, match=r"There is one at '.*nih/Data_Entry_2017_v2020\.csv': give its folder"):
        open_data(nih.root / "images")
    with pytest.raises(FileNotFoundError, match=r"There is one at '.*nih/Data_Entry_2017_v2020\.csv': give its folder"):
        open_data(tmp_path)


def test_a_train_csv_of_ones_own_is_not_taken_for_chexperts(own):
    own.rename(own.with_name("train.csv"))
    with pytest.raises(FileNotFoundError, match=r"If train\.csv is your own table"):
        open_data(own.parent)
    assert len(open_data(own.with_name("train.csv"), **ASK)) == 2


def test_two_data_sets_in_one_folder_and_chexperts_bare_label_file_are_refused(nih, chexpert):
    with pytest.raises(ValueError, match=r"train\.csv' is CheXpert's label file; give its folder, '.*small'"):
        open_data(chexpert / "train.csv")
    (nih.root / "train.csv").write_bytes((chexpert / "train.csv").read_bytes())
    with pytest.raises(ValueError, match=r"label files of NIH \(Data_Entry_2017_v2020\.csv\) and of CheXpert"):
        open_data(nih.root)
    assert len(open_data(nih.root / "Data_Entry_2017_v2020.csv")) == 4


@pytest.mark.parametrize("entry", DATA_SETS, ids=lambda entry: entry.owner)
def test_every_option_is_one_of_its_loader(entry):
    module, name = entry.loader.split(":")
    loader = getattr(importlib.import_module(module), name)
    taken = set(inspect.signature(loader).parameters)
    if entry is OWN_TABLE:
        taken |= set(inspect.signature(load_table).parameters)
    assert set(entry.option_names) <= taken
    assert all(option.help for option in entry.options if option.on_command_line)


def test_an_entry_names_its_phantoms_and_what_to_cite(nih):
    assert data_set_of(source_of(load_nih(nih.root)).dataset) is NIH
    assert data_set_of("CheXpert") is CHEXPERT
    assert data_set_of("") is data_set_of("mine.csv") is None
    for entry in (NIH, CHEXPERT):
        module, name = entry.phantoms.split(":")
        assert callable(getattr(importlib.import_module(module), name))
        assert entry.license and entry.citation and entry.vocabulary


def test_opening_and_preparing_start_without_tensorflow(nih):
    code = (
        "import sys; from chexkeras.data.datasets.registry import open_data; "
        "from chexkeras.data.store import decoder, prepare, store; "
        f"open_data({str(nih.root)!r}); sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
