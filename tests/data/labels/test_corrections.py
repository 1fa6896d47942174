"""Corrections: applied as they are written, told in the source, and refused for a test part that nobody has read."""

import hashlib
import math

import pandas as pd
import pytest

import chexkeras as cx
from chexkeras.data.corrections import read_corrections

LINES = "image_id,finding,label,proposed,your_label,note,read_by\n"


@pytest.fixture
def images():
    return cx.data.ImageTable.of(
        pd.DataFrame({"image_id": list("abcd"), "patient_id": list("pqrs"), "Mass": [1.0, 0.0, 1.0, 0.0]})
    )


def written(folder, *rows):
    file = folder / "suspects.csv"
    file.write_text(LINES + "".join(f"{row}\n" for row in rows))
    return file


def test_filled_rows_change_labels_and_blank_ones_do_not(tmp_path, images):
    file = written(tmp_path, "a,Mass,1,0,0,,", "b,Mass,0,1,,looked fine,", "c,Mass,1,0,unknown,,AB", "d,Mass,0,1,0,,")
    made = cx.data.apply_corrections(images, file)
    assert made["Mass"].tolist()[:2] == [0.0, 0.0]
    assert math.isnan(made["Mass"][2])
    assert images["Mass"].tolist() == [1.0, 0.0, 1.0, 0.0]


def test_the_source_tells_the_file_its_hash_and_how_many(tmp_path, images):
    file = written(tmp_path, "a,Mass,1,0,0,,", "d,Mass,0,1,1,,AB")
    source = cx.data.apply_corrections(images, file).source
    assert source.files[-1] == ("suspects.csv", hashlib.sha256(file.read_bytes()).hexdigest())
    assert "2 label(s) were corrected by hand from suspects.csv" in source.cautions[-1]
    assert "1 name a reader" in source.cautions[-1]


def test_labels_of_the_official_test_part_need_a_reader(tmp_path, images):
    images["official_split"] = ["train_val", "test", "test", "train_val"]
    with pytest.raises(ValueError, match="test labels are never corrected by a model's opinion"):
        cx.data.apply_corrections(images, written(tmp_path, "b,Mass,0,1,1,,"))
    assert cx.data.apply_corrections(images, written(tmp_path, "b,Mass,0,1,1,,Dr. B"))["Mass"][1] == 1.0


def test_a_test_part_drawn_later_needs_a_reader_too(tmp_path):
    corrections = read_corrections(written(tmp_path, "a,Mass,1,0,0,,", "d,Mass,0,1,1,,AB"))
    corrections.refuse_unread(pd.Series(["d", "b"]))
    with pytest.raises(ValueError, match=r"corrects 1 label\(s\) of the test part without a reader, first Mass of a"):
        corrections.refuse_unread(pd.Series(["a"]))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("z,Mass,1,0,0,,", r"names 1 image\(s\) that the table does not have, first z"),
        ("a,Edema,1,0,0,,", "names 'Edema', which is no label of the table"),
        ("a,Mass,0,1,1,,", "was made for other labels: Mass of a is 1 in the table"),
        ("a,Mass,1,0,maybe,,", "your_label of a is 'maybe'; 1, 0 or \"unknown\" was expected"),
        ("a,Mass,1,0,0,,\na,Mass,1,0,1,,", "corrects Mass of a twice"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, images, row, said):
    with pytest.raises(ValueError, match=said):
        cx.data.apply_corrections(images, written(tmp_path, row))


def test_another_csv_is_told(tmp_path, images):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other.csv lacks the column"):
        cx.data.apply_corrections(images, tmp_path / "other.csv")
