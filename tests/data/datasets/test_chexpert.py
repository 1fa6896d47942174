"""CheXpert's folder as an image table: its layout, its views, its policies, and what is refused."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from chexkeras.data import image_table
from chexkeras.data.datasets.chexpert import load_chexpert
from chexkeras.data.datasets.labels import uncertain_mask
from chexkeras.data.image_table import CASE_CONTROL_CAUTION, SYNTHETIC_CAUTION, source_of
from chexkeras.data.splits.splitters import official_split
from chexkeras.files import sha256_file, write_json
from chexkeras.findings import CHEXPERT5, CHEXPERT14, NO_FINDING

HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
FRONTAL = "train/patient00001/study1/view1_frontal.jpg"
LATERAL = "train/patient00001/study1/view2_lateral.jpg"
SECOND = "train/patient00001/study2/view1_frontal.jpg"
OTHER = "train/patient00002/study1/view1_frontal.jpg"
VALID = "valid/patient64541/study1/view1_frontal.jpg"


def row(image, sex="Male", age="68", view="Frontal", projection="AP", release="CheXpert-v1.0-small/", **labels):
    """Returns a line of the label file; labels by finding, with _ for a blank in its name, all others blank."""
    marks = {name.replace("_", " "): mark for name, mark in labels.items()}
    assert set(marks) <= set(CHEXPERT14)
    return ",".join([release + image, sex, age, view, projection, *(str(marks.get(name, "")) for name in CHEXPERT14)])


def write(folder, lines, name="train.csv", header=HEADER, images=True):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in (header, *lines)), encoding="utf-8")
    for line in lines if images else ():
        image = folder / line.split(",")[0].split("/", 1)[1]
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"an image")
    return folder


@pytest.fixture
def chexpert(tmp_path):
    """Five images of three patients: four in train.csv, one of them lateral, and one in valid.csv."""
    folder = tmp_path / "data" / "CheXpert-v1.0-small"
    write(
        folder,
        [
            row(FRONTAL, sex="Female", Edema="1.0", Atelectasis="-1.0", Pneumonia="0.0"),
            row(LATERAL, sex="Female", view="Lateral", projection="", Edema="1.0", Atelectasis="-1.0", Pneumonia="0.0"),
            row(SECOND, age="69", projection="PA", Edema="-1.0", Atelectasis="-1.0", Cardiomegaly="1.0"),
            row(OTHER, sex="Unknown", age="0", No_Finding="1.0", Support_Devices="1.0"),
        ],
    )
    return write(folder, [row(VALID, age="90", **{n.replace(" ", "_"): "0.0" for n in CHEXPERT14})], "valid.csv")


def test_the_table_has_the_agreed_columns_and_values(chexpert):
    table = load_chexpert(chexpert, views="all")
    assert list(table.columns) == [*image_table.METADATA, *CHEXPERT14, "official_split", "uncertain"]
    assert table["image_id"].tolist() == [FRONTAL, LATERAL, SECOND, OTHER, VALID]
    assert table["path"].tolist() == [str(chexpert / image) for image in table["image_id"]]
    assert table["patient_id"].tolist() == ["patient00001"] * 3 + ["patient00002", "patient64541"]
    assert table["follow_up"].tolist() == [1, 1, 2, 1, 1]
    assert table["sex"].tolist() == ["F", "F", "M", "", "M"]
    assert table["view"].tolist() == ["AP", "LATERAL", "PA", "AP", "AP"]
    assert table["official_split"].tolist() == ["train_val"] * 4 + ["test"]
    np.testing.assert_equal(table["age_years"].tolist(), [68, 68, 69, np.nan, 90])
    assert table[["width_px", "height_px", "pixel_spacing_mm"]].isna().all(axis=None)
    assert all(table[name].dtype == np.float64 for name in CHEXPERT14)
    assert table["follow_up"].dtype == np.int64
    assert image_table.finding_columns(table) == CHEXPERT14[1:]
    assert image_table.label_columns(table) == CHEXPERT14


def test_the_source_says_what_was_read_and_how(chexpert):
    source = source_of(load_chexpert(chexpert, uncertain={"Edema": "ones"}, findings=["Edema", "Fracture"]))
    assert (source.dataset, source.label_release) == ("CheXpert", "CheXpert-v1.0-small")
    assert source.files == tuple((name, sha256_file(chexpert / name)) for name in ("train.csv", "valid.csv"))
    assert source.uncertain_policy == (("Edema", "ones"), ("Fracture", "ignore"))
    assert (source.views, source.blank_policy, source.implausible_ages) == ("frontal", "negative", 1)
    told = source.to_dict()
    assert told["uncertain_policy"] == {"Edema": "ones", "Fracture": "ignore"}
    assert (told["views"], told["blank_policy"]) == ("frontal", "negative")


# The folder


@pytest.mark.parametrize("folder", ["CheXpert-v1.0", "CheXpert-v1.0-small"])
def test_the_folder_or_its_parent_may_be_named(tmp_path, folder):
    write(tmp_path / folder, [row(FRONTAL, release=f"{folder}/")])
    table = load_chexpert(tmp_path)
    pd.testing.assert_frame_equal(table, load_chexpert(tmp_path / folder))
    assert source_of(table).label_release == folder


def test_a_renamed_folder_and_paths_without_its_name_are_read(tmp_path):
    write(tmp_path / "images", [row(FRONTAL)])
    assert load_chexpert(tmp_path / "images")["path"].tolist() == [str(tmp_path / "images" / FRONTAL)]
    (tmp_path / "images" / "train.csv").write_text(f"{HEADER}\n{row(FRONTAL, release='')}\n")
    table = load_chexpert(tmp_path / "images")
    assert table["image_id"].tolist() == [FRONTAL]
    assert source_of(table).label_release == "not stated"


def test_both_sizes_side_by_side_are_not_chosen_between(tmp_path, chexpert):
    write(chexpert.parent / "CheXpert-v1.0", [row(FRONTAL)])
    with pytest.raises(ValueError, match=r"both CheXpert-v1.0 and CheXpert-v1.0-small are in .*; give the folder of"):
        load_chexpert(chexpert.parent)
    assert len(load_chexpert(chexpert)) == 4


def test_a_folder_without_label_files_is_refused(tmp_path, chexpert):
    with pytest.raises(FileNotFoundError, match=r"root: no folder at '.*absent'"):
        load_chexpert(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"no train.csv or valid.csv in '.*train', nor in CheXpert-v1.0 or"):
        load_chexpert(chexpert / "train")
    with pytest.raises(NotADirectoryError, match=r"train.csv' is a file, a folder was expected"):
        load_chexpert(chexpert / "train.csv")


def test_one_label_file_may_be_read_alone(chexpert):
    assert load_chexpert(chexpert, part="valid")["image_id"].tolist() == [VALID]
    assert VALID not in load_chexpert(chexpert, part="train")["image_id"].tolist()
    (chexpert / "train.csv").unlink()
    assert load_chexpert(chexpert)["image_id"].tolist() == [VALID]
    with pytest.raises(FileNotFoundError, match=r"no train.csv in"):
        load_chexpert(chexpert, part="train")


# Views, ages, sexes


def test_views_choose_the_images(chexpert):
    assert load_chexpert(chexpert)["image_id"].tolist() == [FRONTAL, SECOND, OTHER, VALID]
    assert load_chexpert(chexpert, views="lateral")["image_id"].tolist() == [LATERAL]
    (chexpert / "train.csv").unlink()
    with pytest.raises(ValueError, match=r"none of the 1 images is lateral; choose other views"):
        load_chexpert(chexpert, views="lateral")


def test_a_frontal_image_keeps_the_odd_view_that_the_file_gives_it(tmp_path):
    write(tmp_path, [row(FRONTAL, projection="LL"), row(OTHER, projection="")])
    assert load_chexpert(tmp_path)["view"].tolist() == ["LL", ""]


def test_impossible_ages_are_counted_among_the_images_loaded(tmp_path):
    ages = {FRONTAL: "0", SECOND: "121", OTHER: "", "train/patient00003/study1/view1_frontal.jpg": "90"}
    lateral = row(LATERAL, view="Lateral", projection="", age="0")
    write(tmp_path, [*(row(image, age=age) for image, age in ages.items()), lateral])
    table = load_chexpert(tmp_path)
    np.testing.assert_equal(table["age_years"].tolist(), [np.nan, np.nan, np.nan, 90])
    assert source_of(table).implausible_ages == 2
    assert source_of(load_chexpert(tmp_path, views="all")).implausible_ages == 3


# Policies


@pytest.mark.parametrize(
    ("policy", "label"),
    [("ignore", np.nan), ("zeros", 0.0), ("ones", 1.0), ("self_trained", np.nan), ("multiclass", np.nan)],
)
def test_a_policy_decides_what_an_uncertain_label_becomes(chexpert, policy, label):
    table = load_chexpert(chexpert, uncertain=policy)
    np.testing.assert_equal(table["Atelectasis"].tolist(), [label, label, 0.0, 0.0])
    np.testing.assert_equal(table["Edema"].tolist(), [1.0, label, 0.0, 0.0])
    assert table["Pneumonia"].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert table["uncertain"].tolist() == ["Atelectasis", "Edema|Atelectasis", "", ""]
    assert dict(source_of(table).uncertain_policy) == dict.fromkeys(CHEXPERT14, policy)


def test_each_finding_may_have_its_own_policy(chexpert):
    table = load_chexpert(chexpert, uncertain={"atelectasis": "ones", "Edema": "zeros"}, findings=CHEXPERT5)
    assert image_table.finding_columns(table) == CHEXPERT5
    assert table["Atelectasis"].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert table["Edema"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert dict(source_of(table).uncertain_policy)["Pleural Effusion"] == "ignore"


def test_a_blank_is_negative_or_unknown(chexpert):
    table = load_chexpert(chexpert, blank="unknown", uncertain="zeros")
    np.testing.assert_equal(table["Edema"].tolist(), [1.0, 0.0, np.nan, 0.0])
    np.testing.assert_equal(table[NO_FINDING].tolist(), [np.nan, np.nan, 1.0, 0.0])
    assert load_chexpert(chexpert)[NO_FINDING].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_a_policy_that_makes_labels_certain_is_said_beside_every_number(chexpert):
    assert source_of(load_chexpert(chexpert)).cautions == ()
    policies = {"Edema": "ones", "Atelectasis": "zeros", "Fracture": "ones"}
    assert source_of(load_chexpert(chexpert, uncertain=policies)).cautions == (
        "Uncertain labels count as present, where images are evaluated too: Edema.",
        "Uncertain labels count as absent, where images are evaluated too: Atelectasis.",
    )
    assert source_of(load_chexpert(chexpert, uncertain=policies, part="valid")).cautions == ()


def test_a_contradiction_is_remembered_and_a_device_is_none(tmp_path):
    contradictory = row(FRONTAL, No_Finding="1.0", Edema="1.0")
    write(tmp_path, [contradictory, row(OTHER, No_Finding="1.0", Support_Devices="1.0")])
    table = load_chexpert(tmp_path, findings=["Fracture"])
    assert source_of(table).contradictory == (FRONTAL,)


def test_labels_are_a_second_reading_of_the_file(chexpert):
    raw = pd.concat([pd.read_csv(chexpert / name) for name in ("train.csv", "valid.csv")], ignore_index=True)
    table = load_chexpert(chexpert, views="all", uncertain="ones")
    for name in CHEXPERT14:
        expected = [1.0 if value in (1, -1) else 0.0 for value in raw[name]]
        assert table[name].tolist() == expected
    assert (uncertain_mask(table) == (raw[list(CHEXPERT14)] == -1)).all(axis=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uncertain": "one"}, r"uncertain='one'; did you mean 'ones'\? Expected one of: ignore, zeros, ones, self_tr"),
        ({"uncertain": {"Edema": "U-Ones"}}, r"uncertain\['Edema'\]='U-Ones'"),
        ({"uncertain": {"Hernia": "ones"}}, r"unknown finding 'Hernia'"),
        ({"uncertain": {"Edema": "ones", "edema": "zeros"}}, r"more than once: Edema"),
        ({"uncertain": {"Edema": "ones"}, "findings": ["Fracture"]}, r"unknown finding 'Edema'"),
        ({"blank": "zero"}, r"blank='zero'.*Expected one of: negative, unknown"),
        ({"views": "PA"}, r"views='PA'.*Expected one of: frontal, lateral, all"),
        ({"part": "test"}, r"part='test'.*Expected one of: train, valid, all"),
        ({"missing": "ignore"}, r"missing='ignore'.*Expected one of: error, skip, keep"),
        ({"findings": ["Infiltration"]}, r"unknown finding 'Infiltration'"),
        ({"findings": ["Effusion", "Pleural Effusion"]}, r"more than once: Pleural Effusion"),
    ],
)
def test_an_unknown_choice_is_refused(chexpert, options, message):
    with pytest.raises(ValueError, match=message):
        load_chexpert(chexpert, **options)


# The label file


def test_columns_may_come_in_any_order_and_spelling_beside_others(tmp_path):
    header = (
        "," + HEADER.replace("Frontal/Lateral", "frontal_lateral").replace("Pleural Effusion", "Effusion") + ",Ward"
    )
    write(tmp_path, [row(FRONTAL, Pleural_Effusion="1.0", Edema="-1")])
    (tmp_path / "train.csv").write_text(f"{header}\n0,{row(FRONTAL, Pleural_Effusion='1', Edema='-1')},7\n")
    table = load_chexpert(tmp_path, uncertain="ones")
    assert table.loc[0, ["Pleural Effusion", "Edema", "Fracture"]].tolist() == [1.0, 1.0, 0.0]
    assert "Ward" not in table.columns


def test_a_missing_column_is_named(chexpert):
    text = (chexpert / "train.csv").read_text()
    (chexpert / "train.csv").write_text(text.replace("AP/PA", "View").replace("Edema", "Oedema of the lung"))
    with pytest.raises(ValueError, match=r"train.csv lacks the column\(s\) AP/PA, Edema; its first line is: 'Path,Sex"):
        load_chexpert(chexpert)
    (chexpert / "train.csv").write_text(text.replace("Fracture", "Edema"))
    with pytest.raises(ValueError, match=r"train.csv has more than one column for Edema"):
        load_chexpert(chexpert, findings=["Edema"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"train.csv lacks the column\(s\) Path"),
        (HEADER.encode() + b"\n", "train.csv has a header and no rows"),
        (HEADER.encode() + b"\n\xff\xfe", "train.csv is not UTF-8 text"),
    ],
    ids=["empty", "header only", "not text"],
)
def test_a_label_file_without_rows_is_refused(chexpert, content, message):
    (chexpert / "train.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_chexpert(chexpert)


@pytest.mark.parametrize("mark", ["2.0", "-2", "yes", "0.5", "1.0?"])
def test_a_mark_that_means_nothing_is_named_with_its_image(chexpert, mark):
    write(chexpert, [row(FRONTAL, Edema="1.0"), row(OTHER, Edema=mark)])
    with pytest.raises(ValueError, match=rf"train.csv: 'Edema' is .*{mark[:3]}.* for CheXpert.*{OTHER}.*-1.0 \(unc"):
        load_chexpert(chexpert)


def test_a_plane_that_is_neither_is_named(tmp_path):
    write(tmp_path, [row(FRONTAL), row(OTHER, view="Oblique")])
    with pytest.raises(ValueError, match=rf"Frontal/Lateral is 'Oblique' for .*{OTHER}.*expected Frontal or Lateral"):
        load_chexpert(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "CheXpert-v1.0-small/../../secret/train/patient00001/study1/view1_frontal.jpg",
        "../train/patient00001/study1/view1_frontal.jpg",
        "CheXpert-v1.0-small/train/../patient00001/study1/view1_frontal.jpg",
        "/data/CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg",
        "CheXpert-v1.0-small/train/00001/study1/view1_frontal.jpg",
        "image.jpg",
        "",
    ],
)
def test_a_path_of_another_form_or_out_of_the_folder_is_refused(tmp_path, path):
    write(tmp_path, [row(FRONTAL)])
    (tmp_path / "train.csv").write_text(f"{HEADER}\n{row(FRONTAL)}\n{row(path, release='')}\n")
    with pytest.raises(
        ValueError, match=r"train.csv: Path .* \(and 0 more\) is not of the form CheXpert-v1.0-small/.*--image-column\)"
    ):
        load_chexpert(tmp_path, missing="keep")


def test_a_image_named_twice_is_refused_within_and_across_files(chexpert):
    with (chexpert / "valid.csv").open("a") as handle:
        handle.write(row(OTHER) + "\n")
    with pytest.raises(
        ValueError, match=rf"train.csv and valid.csv names 1 image\(s\) more than once, first '{OTHER}'"
    ):
        load_chexpert(chexpert)


# Images on disk


def test_missing_images_are_an_error_left_out_or_kept(chexpert):
    (chexpert / SECOND).unlink()
    ways = r".*missing='skip' \(on the command line --missing skip\), or keep"
    with pytest.raises(FileNotFoundError, match=rf"1 of 4 images are missing in .* \(first: {SECOND}\){ways}"):
        load_chexpert(chexpert)
    skipped = load_chexpert(chexpert, missing="skip")
    assert skipped["image_id"].tolist() == [FRONTAL, OTHER, VALID]
    assert source_of(skipped).left_out == ((SECOND, "image not found"),)
    kept = load_chexpert(chexpert, missing="keep")
    assert kept["path"].eq("").tolist() == [False, True, False, False]


def test_no_images_at_all_is_an_error_unless_kept(tmp_path):
    write(tmp_path, [row(FRONTAL)], images=False)
    for missing in ("error", "skip"):
        with pytest.raises(FileNotFoundError, match="none of the 1 images is in"):
            load_chexpert(tmp_path, missing=missing)
    assert load_chexpert(tmp_path, missing="keep")["path"].tolist() == [""]


def test_phantoms_are_named_synthetic(chexpert):
    write_json(chexpert / "PHANTOM.json", {"parameters": {"prevalence": {"Edema": 0.5}}})
    source = source_of(load_chexpert(chexpert))
    assert source.synthetic and "phantoms" in source.dataset
    assert source.cautions == (SYNTHETIC_CAUTION, CASE_CONTROL_CAUTION)
    assert "PHANTOM.json" in dict(source.files)


# What comes after


def test_valid_csv_is_the_test_part_of_the_official_split(tmp_path):
    lines = [row(f"train/patient{n:05d}/study1/view1_frontal.jpg", Edema=f"{n % 2}.0") for n in range(1, 21)]
    write(tmp_path, lines)
    write(
        tmp_path, [row(f"valid/patient{n}/study1/view1_frontal.jpg", Edema=n % 2) for n in (64541, 64542)], "valid.csv"
    )
    splits = official_split(load_chexpert(tmp_path), "Edema", validation=0.2)
    assert splits.test["image_id"].str.startswith("valid/").all()
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (16, 4, 2)


def test_the_source_stays_through_filters_and_a_join_of_equals(chexpert):
    table = load_chexpert(chexpert)
    halves = [table[table["sex"] == "F"], table[table["sex"] != "F"]]
    assert source_of(pd.concat(halves)) == source_of(table)
    assert dataclasses.replace(source_of(table)) == source_of(table)


def test_loading_imports_no_tensorflow(chexpert):
    code = (
        "import sys; from chexkeras.data.datasets import chexpert, custom, labels; "
        f"chexpert.load_chexpert({str(chexpert)!r}); sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
