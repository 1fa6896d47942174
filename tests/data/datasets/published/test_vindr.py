"""VinDr-CXR: three readers to one label, both kinds of tables, and what is refused."""

import numpy as np
import pytest

import chexkeras as cx
from chexkeras.data import load_vindr

A, B, C = (letter * 32 for letter in "abc")
BOXES = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n" + "".join(
    f"{image},{name},1,{reader},{box}\n"
    for image, name, reader, box in (
        (A, "Cardiomegaly", "R1", "1,2,3,4"), (A, "Cardiomegaly", "R1", "5,6,7,8"),
        (A, "Cardiomegaly", "R2", "1,2,3,4"),
        (A, "No finding", "R3", ",,,"), (B, "Nodule/Mass", "R1", "1,2,3,4"), (B, "ILD", "R2", "1,2,3,4"),
        (B, "No finding", "R3", ",,,"), (C, "No finding", "R1", ",,,"), (C, "No finding", "R2", ",,,"),
        (C, "No finding", "R3", ",,,"),
    )
)  # fmt: skip


def test_boxes_of_three_readers_become_a_label(tmp_path):
    (tmp_path / "train.csv").write_text(BOXES)
    labels = {}
    for agreement in ("majority", "any", "unanimous"):
        table = cx.open_data(tmp_path, missing="keep", agreement=agreement)
        assert table.findings == ("Cardiomegaly", "Lung Lesion")
        labels[agreement] = table[["Cardiomegaly", "Lung Lesion"]].values.tolist()
    assert labels["majority"] == [[1, 0], [0, 0], [0, 0]]
    assert labels["any"] == [[1, 0], [0, 1], [0, 0]]
    assert np.array_equal(labels["unanimous"], [[np.nan, 0], [0, np.nan], [0, 0]], equal_nan=True)


def test_labels_of_whole_images_bring_the_test_part(tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "image_labels_train.csv").write_text(
        "image_id,rad_id,Pleural effusion,Nodule/Mass,Tuberculosis,No finding\n"
        f"{A},R1,1,0,1,0\n{A},R2,1,1,0,0\n{A},R3,0,0,0,1\n"
    )
    (folder / "image_labels_test.csv").write_text(
        f"image_id,Pleural effusion,Nodule/Mass,Tuberculosis,No finding\n{B},0,1,0,0\n"
    )
    table = cx.open_data(tmp_path, missing="keep")
    assert table[["Effusion", "Lung Lesion", "official_split"]].values.tolist() == [
        [1, 0, "train_val"], [0, 1, "test"]
    ]  # fmt: skip
    assert "Tuberculosis" not in table.columns
    with pytest.raises(ValueError, match="VinDr-CXR does not label it: unknown finding 'Hernia'"):
        load_vindr(tmp_path, missing="keep", findings=["Hernia"])
    text = (folder / "image_labels_train.csv").read_text()
    (folder / "image_labels_train.csv").write_text(text + f"{A},R3,0,0,0,1\n")
    with pytest.raises(ValueError, match=r"one reader reads a+ twice"):
        load_vindr(tmp_path, missing="keep")


def test_an_unknown_finding_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text(BOXES.replace("ILD", "IDL"))
    with pytest.raises(ValueError, match="unknown finding 'idl'"):
        load_vindr(tmp_path, missing="keep")
