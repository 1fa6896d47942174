"""Data sets as they lie on people's disks: in batches, renamed, saved again by a spreadsheet or converted."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chexkeras.data.datasets.chexpert import load_chexpert
from chexkeras.data.datasets.custom import load_table
from chexkeras.data.datasets.nih import load_boxes, load_nih
from chexkeras.data.datasets.registry import open_data
from chexkeras.data.image_table import ImageTable
from tests.data.datasets.test_chexpert import OTHER, SECOND, VALID, row, write

BATCH = "CheXpert-v1.0 batch {}"
FIRST = BATCH.format("1 (validate & csv)")
FRONTAL = "train/patient00001/study1/view1_frontal.jpg"


# CheXpert's full-size download: four folders


@pytest.fixture
def batches(tmp_path):
    """Label files and the validation images in the first batch, patients 1 and 2 in two others."""
    lines = [row(image, release="CheXpert-v1.0/") for image in (FRONTAL, SECOND, OTHER)]
    write(tmp_path / FIRST, lines, images=False)
    write(tmp_path / FIRST, [row(VALID, release="CheXpert-v1.0/")], "valid.csv")
    for image, batch in ((FRONTAL, "2 (train 1)"), (SECOND, "2 (train 1)"), (OTHER, "4 (train 3)")):
        path = tmp_path / BATCH.format(batch) / image.removeprefix("train/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an image")
    return tmp_path


@pytest.mark.parametrize("given", ["", FIRST], ids=["the folder of the batches", "the first batch"])
def test_patients_are_found_in_the_batches_of_the_full_size_download(batches, given):
    for table in (load_chexpert(batches / given), open_data(batches / given)):
        assert table["image_id"].tolist() == [FRONTAL, SECOND, OTHER, VALID]
        assert [Path(path).read_bytes() for path in table["path"]] == [b"an image"] * 4
        assert Path(table["path"].iloc[2]) == batches / BATCH.format("4 (train 3)") / OTHER.removeprefix("train/")
        assert table["official_split"].tolist() == ["train_val"] * 3 + ["test"]


def test_label_files_beside_the_batches_and_a_part_inside_one_are_found_too(batches):
    for name in ("train.csv", "valid.csv"):
        shutil.move(batches / FIRST / name, batches / name)
    moved = batches / BATCH.format("4 (train 3)")
    (moved / "train").mkdir()
    shutil.move(moved / "patient00002", moved / "train" / "patient00002")
    assert load_chexpert(batches)["path"].map(os.path.isfile).all()


def test_a_patient_in_two_batches_is_refused_and_a_missing_batch_told(batches):
    twice = batches / BATCH.format("3 (train 2)") / "patient00001"
    shutil.copytree(batches / BATCH.format("2 (train 1)") / "patient00001", twice)
    with pytest.raises(ValueError, match=r"patient00001 lies both in .*batch 2 .* and .*batch 3 "):
        load_chexpert(batches)
    shutil.rmtree(twice.parent)
    shutil.rmtree(batches / BATCH.format("2 (train 1)"))
    with pytest.raises(FileNotFoundError, match=r"2 of 4 images are missing .* four folders of the full-size download"):
        load_chexpert(batches)


def test_a_patient_is_one_however_the_path_is_written(tmp_path):
    write(tmp_path, [row(FRONTAL), row(SECOND.replace("patient", "Patient"))])
    assert load_chexpert(tmp_path, missing="keep")["patient_id"].unique().tolist() == ["patient00001"]


# Names and endings


@pytest.mark.parametrize("change", [lambda name: name.replace(".png", ".jpg"), str.upper], ids=["ending", "capitals"])
@pytest.mark.parametrize("folder", ["images", "images_002/images", "elsewhere"])
def test_images_of_nih_under_another_ending_or_in_capitals_are_found_and_told(nih, change, folder, caplog):
    shutil.rmtree(nih.root / "images")
    nih.write_images(folder)
    for path in (nih.root / folder).iterdir():
        path.rename(path.with_name(change(path.name)))
    caplog.set_level(logging.WARNING)
    table = load_nih(nih.root)
    assert table["image_id"].tolist() == nih.images
    assert [os.path.basename(path) for path in table["path"]] == [change(image) for image in nih.images]
    assert f"{len(table)} images lie there under another ending or in other capitals" in caplog.text


def test_an_image_with_the_very_name_is_preferred_wherever_it_lies(nih):
    nih.write_images("images_001/images")
    nih.write_images("images")
    for path in (nih.root / "images").iterdir():
        path.rename(path.with_suffix(".jpg"))
    assert load_nih(nih.root)["path"].str.endswith(".png").all()


def test_two_files_that_may_be_meant_are_refused(nih):
    nih.write_images()
    first = nih.root / "images" / nih.images[0]
    shutil.copy(first, first.with_suffix(".jpg"))
    assert load_nih(nih.root)["path"].iloc[0] == str(first)
    first.rename(first.with_suffix(".JPEG"))
    with pytest.raises(ValueError, match=rf"{nih.images[0]} is not there, but .* are; keep the one that is meant"):
        load_nih(nih.root)


def test_images_of_chexpert_under_another_ending_are_found(tmp_path):
    write(tmp_path, [row(FRONTAL), row(OTHER)])
    (tmp_path / FRONTAL).rename((tmp_path / FRONTAL).with_suffix(".PNG"))
    assert load_chexpert(tmp_path)["path"].iloc[0].endswith("view1_frontal.PNG")


@pytest.fixture
def own(tmp_path):
    """A folder with two images of a table of one's own, and a function that loads a table of them."""
    for name in ("a.png", "sub/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"an image")

    def load(text, encoding="utf-8", **options):
        (tmp_path / "own.csv").write_text(text, encoding=encoding)
        asked = {"image_column": "file", "label_columns": "Edema", "patient_column": "who", **options}
        return load_table(tmp_path / "own.csv", **asked)

    return load


def test_images_in_capitals_are_found_and_another_ending_is_told_where_it_may_be_a_mask(own, tmp_path):
    table = own("file,who,Edema\nA.PNG,1,0\nsub/b.png,2,1\n")
    assert [Path(path).name.casefold() for path in table["path"]] == ["a.png", "b.png"]
    with pytest.raises(
        FileNotFoundError, match=r"A\.jpg lies there as a\.png: write the names as the files are called"
    ):
        own("file,who,Edema\na.jpg,1,0\nsub/b.png,2,1\n".replace("a.jpg", "A.jpg"))
    assert len(own("file,who,Edema\na.jpg,1,0\nsub/b.png,2,1\n", missing="skip")) == 1


@pytest.mark.skipif(os.sep == "\\", reason="a backslash is part of a name on other systems only")
def test_paths_with_backslashes_are_read_where_no_file_has_one_in_its_name(own, tmp_path):
    table = own("file,who,Edema\na.png,1,0\nsub\\b.png,2,1\n")
    assert table["image_id"].tolist() == ["a.png", "sub/b.png"] and table["path"].map(os.path.isfile).all()
    with pytest.raises(ValueError, match="leads out of"):
        own("file,who,Edema\n..\\a.png,1,0\n")
    (tmp_path / "sub\\b.png").write_bytes(b"another image")
    assert own("file,who,Edema\nsub\\b.png,2,1\n")["path"].tolist() == [str(tmp_path / "sub\\b.png")]


def test_label_files_and_lists_of_nih_under_other_names_are_found(nih):
    nih.write_images()
    nih.write_lists(nih.images[:-1], nih.images[-1:])
    names = {
        "Data_Entry_2017_v2020.csv": "Data_Entry_2017_v2020 (1).csv",
        "train_val_list.txt": "train_val_list_NIH.txt",
        "test_list.txt": "Test_List.TXT",
    }
    for name, other in names.items():
        (nih.root / name).rename(nih.root / other)
    assert open_data(nih.root)["official_split"].tolist() == ["train_val"] * (len(nih.images) - 1) + ["test"]
    shutil.copy(nih.root / "Test_List.TXT", nih.root / "test_list_2.txt")
    with pytest.raises(ValueError, match=r"both Test_List.TXT and test_list_2.txt may be NIH's test_list.txt"):
        open_data(nih.root)
    (nih.root / "Data_Entry_2017_v2020 (1).csv").rename(nih.root / "labels.csv")
    with pytest.raises(FileNotFoundError, match=r"labels.csv is a label file of NIH under another name: give its path"):
        open_data(nih.root)


def test_a_box_list_under_another_name_is_found(tmp_path):
    (tmp_path / "BBox_List_2017_Official_NIH.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000001_000.png,Mass,1,2,3,4,,,\n"
    )
    assert load_boxes(tmp_path)["finding"].tolist() == ["Mass"]


# Tables


@pytest.mark.parametrize("mark", [";", "\t", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_may_be_separated_by_semicolons_or_tabs_and_begin_with_a_mark(own, mark, encoding):
    text = ",file , who,Edema\n0, a.png ,1,0\n1,sub/b.png,2 ,1\n".replace(",", mark)
    for asked in ({}, {"image_column": " file"}):
        table = own(text, encoding, **asked)
        assert table["image_id"].tolist() == ["a.png", "sub/b.png"] and table["patient_id"].tolist() == ["1", "2"]
        assert table["Edema"].tolist() == [0, 1]


def test_the_label_file_of_nih_may_be_separated_by_semicolons_and_hold_row_numbers(nih):
    expected = load_nih(nih.root, missing="keep")
    path = nih.root / "Data_Entry_2017_v2020.csv"
    lines = path.read_text().splitlines()
    rows = [";".join([str(number), *line.split(",")]) for number, line in enumerate(lines[1:])]
    path.write_text("\n".join([";".join(["Unnamed: 0", *lines[0].split(",")]), *rows]), encoding="utf-8-sig")
    pd.testing.assert_frame_equal(open_data(nih.root, missing="keep"), expected)


def frame(**columns):
    return pd.DataFrame({"file": ["a.png", "b.png"], "who": [1, 2], "Edema": [0, 1], **columns})


def load_frame(table, **options):
    asked = {"image_column": "file", "label_columns": "Edema", "patient_column": "who", "missing": "keep", **options}
    return load_table(table, **asked)


def test_blanks_around_the_names_of_a_frame_are_no_part_of_them():
    given = frame().rename(columns={"file": " file", "who": "who "})
    assert load_frame(given)["patient_id"].tolist() == load_frame(given, image_column=" file")["patient_id"].tolist()


@pytest.mark.parametrize("name", ["who", "Edema", "file", "other"])
def test_equal_names_of_columns_are_refused_in_a_frame_as_in_a_csv(own, name):
    given = pd.concat([frame(other=0), frame(other=0)[[name]]], axis=1)
    message = f"has more than one column for {name}; keep one of each"
    with pytest.raises(ValueError, match=f"own table {message}"):
        load_frame(given)
    with pytest.raises(ValueError, match=f"own.csv {message}"):
        own(given.to_csv(index=False))
    table = ImageTable.of(pd.DataFrame({"image_id": ["a"], "patient_id": ["1"], "Edema": [1.0]}))
    with pytest.raises(ValueError, match="the table has more than one column for Edema"):
        ImageTable.of(pd.concat([table, table[["Edema"]]], axis=1))


@pytest.mark.parametrize(
    "cells",
    [
        ["['edema', 'pleural effusion']", "['normal']", "[]"],
        ['["edema", "pleural effusion"]', '["normal",]', "[ ]"],
        ["[edema, pleural effusion]", "[normal]", ""],
        ["edema,pleural effusion", "normal", ""],
    ],
)
@pytest.mark.parametrize("separator", [",", "|"])
def test_findings_written_as_a_list_are_the_findings_in_it(cells, separator):
    if separator == "|" and "'" not in cells[0] and '"' not in cells[0]:
        cells = [cell.replace(",", "|") for cell in cells]
    table = load_table(
        pd.DataFrame({"file": ["a.png", "b.png", "c.png"], "words": cells}),
        image_column="file", label_columns="words", separator=separator, missing="keep",
    )  # fmt: skip
    assert table.findings == ("Edema", "Pleural Effusion", "normal")
    np.testing.assert_equal(table[list(table.findings)].to_numpy(), [[1, 1, 0], [0, 0, 1], [np.nan] * 3])


@pytest.mark.parametrize(
    "cell",
    ["['edema' 'mass']", "'edema','mass'", "['edema', mass]", "['edema', 'mass'", '"edema"', "[['edema'], 'mass']"],
)
def test_brackets_and_quotes_that_are_no_list_are_refused(cell):
    with pytest.raises(ValueError, match=r"a\.png: brackets or quotes .* such as \['Edema', 'Mass'\]"):
        load_table(
            pd.DataFrame({"file": ["a.png"], "words": [cell]}),
            image_column="file", label_columns="words", separator=",", missing="keep",
        )  # fmt: skip
