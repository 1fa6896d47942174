"""The published tables, where the machine has them: their counts as loaded.

They ship inside the wheel of torchxrayvision 1.5.7, in its folder ``torchxrayvision/data``.
"""

import gzip
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

import chexkeras as cx

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def tables():
    given = os.environ.get("CHEXKERAS_TEST_READINGS")
    if not given:
        pytest.skip("CHEXKERAS_TEST_READINGS is not set: no published tables on this machine")
    return Path(given)


def placed(tables, pattern, destination):
    """Puts a table, packed or not, where a download has it."""
    found = sorted(tables.glob(pattern))
    if not found:
        pytest.skip(f"no {pattern} among the published tables")
    destination.parent.mkdir(parents=True, exist_ok=True)
    if found[0].suffix == ".gz":
        with gzip.open(found[0]) as packed, destination.open("wb") as out:
            shutil.copyfileobj(packed, out)
    else:
        shutil.copy(found[0], destination)
    return destination


def positive(table):
    return {name: int((table[name] == 1).sum()) for name in table.findings}


def test_rsna_has_26_684_images_of_which_6_012_are_positive(tables, tmp_path):
    packed = sorted(tables.glob("kaggle_stage_2_train_labels.csv.zip"))
    if packed:
        with zipfile.ZipFile(packed[0]) as archive:
            archive.extract("stage_2_train_labels.csv", tmp_path)
    else:
        placed(tables, "*stage_2_train_labels.csv*", tmp_path / "stage_2_train_labels.csv")
    table = cx.open_data(tmp_path, missing="keep")
    assert (len(table), positive(table)) == (26_684, {"Pneumonia": 6_012})


def test_siim_has_12_047_images_of_which_2_669_are_positive(tables, tmp_path):
    placed(tables, "siim-pneumothorax-train-rle.csv*", tmp_path / "train-rle.csv")
    table = cx.open_data(tmp_path, missing="keep")
    # 12,954 rows: an image with several outlines has one for each.
    assert (len(table), positive(table)) == (12_047, {"Pneumothorax": 2_669})


def test_vindr_has_15_000_images_of_three_readers(tables, tmp_path):
    placed(tables, "vinbigdata-train.csv*", tmp_path / "train.csv")
    table = cx.open_data(tmp_path, missing="keep")
    assert len(table) == 15_000
    found = positive(table)
    assert (found["Cardiomegaly"], found["Effusion"], found["Lung Lesion"], found["Pneumothorax"]) == (
        1_817, 634, 405, 58
    )  # fmt: skip
    by_one = positive(cx.open_data(tmp_path, missing="keep", agreement="any"))
    agreed = cx.open_data(tmp_path, missing="keep", agreement="unanimous")
    for name, count in found.items():
        assert positive(agreed)[name] <= count <= by_one[name]
        assert positive(agreed)[name] + int(agreed[name].isna().sum()) == by_one[name]
    # The challenge's boxes are of 14 findings; those without a name here are no columns.
    assert "Edema" not in found


def test_padchest_has_160_861_rows_of_67_625_patients(tables):
    found = sorted(tables.glob("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv*"))
    if not found:
        pytest.skip("PadChest's table is not there")
    table = cx.open_data(tables / found[0].name, missing="keep", views="all")
    # The paper counts 160,868 images; the table has 160,861 rows, of which 11 are marked EXCLUDE.
    assert len(table) + len(table.source.left_out) == 160_861 and len(table) == 160_850
    assert table["patient_id"].nunique() == 67_625
    assert table["view"].value_counts().to_dict() == {
        "PA": 91_728, "LATERAL": 49_579, "AP": 18_905, "COSTAL": 630, "": 8
    }  # fmt: skip
    found = positive(table)
    assert (found["Cardiomegaly"], found["Pneumonia"], found["Pneumothorax"], found["Mass"]) == (
        15_021, 8_174, 573, 1_039
    )  # fmt: skip
    assert int(table["Cardiomegaly"].isna().sum()) == 6_302
    assert table["labelled_by"].value_counts().to_dict() == {"RNN_model": 121_797, "Physician": 39_053}


def test_open_i_has_3_955_reports_with_7_470_images(tables, tmp_path):
    found = sorted(tables.glob("NLMCXR_reports.tgz"))
    if not found:
        pytest.skip("Open-I's reports are not there")
    with tarfile.open(found[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    assert len(list((tmp_path / "ecgen-radiology").glob("*.xml"))) == 3_955
    table = cx.open_data(tmp_path, missing="keep", views="all")
    # 104 reports have no image.
    assert (len(table), table["patient_id"].nunique()) == (7_470, 3_851)
    found = positive(table)
    assert (found["Cardiomegaly"], found["Effusion"], found["Pneumothorax"]) == (693, 292, 54)


def test_chexperts_training_table(tables, tmp_path):
    placed(tables, "chexpert_train.csv*", tmp_path / "CheXpert-v1.0-small" / "train.csv")
    table = cx.open_data(tmp_path, missing="keep", views="all")
    assert (len(table), table["patient_id"].nunique()) == (223_414, 64_540)
    assert positive(table)["Cardiomegaly"] == 27_000
