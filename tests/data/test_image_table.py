"""Which columns of an image table are labels, and how targets are looked up in them."""

import copy
import pickle

import pandas as pd
import pytest

from chexkeras.data import image_table
from chexkeras.data.image_table import ImageTable, TableSource


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "image_id": ["a"], "age_years": [50.0], "width_px": [1024], "No Finding": [0.0], "Pleural Effusion": [1.0],
            "Tuberculosis": [0.0], "Abnormal": [1.0], "ward": ["A"], "icu": [True], "official_split": [""],
            "uncertain": [""],
        }
    )  # fmt: skip


def test_labels_are_the_numeric_columns_that_do_not_describe_the_image(table):
    assert image_table.label_columns(table) == ("No Finding", "Pleural Effusion", "Tuberculosis", "Abnormal")
    assert image_table.finding_columns(table) == ("Pleural Effusion", "Tuberculosis")


def test_targets_are_found_in_any_spelling_of_their_finding(table):
    assert image_table.resolve_targets(table, "effusion") == ("Pleural Effusion",)
    assert image_table.resolve_targets(table, ["tuberculosis", "no_finding"]) == ("Tuberculosis", "No Finding")
    assert image_table.resolve_targets(table, (name for name in ["Abnormal"])) == ("Abnormal",)


def test_a_target_that_is_no_label_is_refused(table):
    with pytest.raises(ValueError, match=r"unknown finding 'Pneumonia'.*Known findings: No Finding, Pleural Effusion"):
        image_table.resolve_targets(table, "Pneumonia")
    with pytest.raises(ValueError, match=r"unknown finding 'icu'"):
        image_table.resolve_targets(table, "icu")
    with pytest.raises(ValueError, match=r"no column 'Abnormal'; add_abnormal\(table\) derives it"):
        image_table.resolve_targets(table.drop(columns="Abnormal"), ["Tuberculosis", "Abnormal"])
    with pytest.raises(ValueError, match=r"the table has no label column \(it has: image_id, ward\)"):
        image_table.resolve_targets(table[["image_id", "ward"]], "Edema")


def test_the_fingerprint_minds_labels_and_marks_and_not_where_images_lie(table):
    moved = table.assign(path="elsewhere")
    assert image_table.fingerprint(moved) == image_table.fingerprint(table)
    assert image_table.fingerprint(table.assign(uncertain="Tuberculosis")) != image_table.fingerprint(table)


SOURCE = TableSource("one", cautions=("Toy images.",), left_out=(("z", "gone"),))


@pytest.fixture
def images():
    frame = pd.DataFrame({"image_id": ["a", "b"], "patient_id": [7, 8], "Edema": [1.0, None], "sex": ["M", "F"]})
    return ImageTable.of(frame).with_source(SOURCE)


def test_a_data_frame_is_checked_once_and_becomes_an_image_table(images):
    assert images["patient_id"].tolist() == ["7", "8"]
    assert ImageTable.of(images) is images
    assert (images.labels, images.findings, images.targets("edema")) == (("Edema",), ("Edema",), ("Edema",))
    assert images.source is images.attrs["source"]
    assert ImageTable.of(pd.DataFrame(images)).source == TableSource("own table")
    with pytest.raises(
        ValueError, match=r"the table lacks the column\(s\) patient_id; it has: image_id\. Load it with"
    ):
        ImageTable.of(pd.DataFrame({"image_id": ["a"]}))
    with pytest.raises(TypeError, match=r"table must be a table \(pandas.DataFrame\), not a list"):
        ImageTable.of(["a"])


def test_making_one_leaves_the_data_frame_as_it_is():
    frame = pd.DataFrame({"image_id": ["a"], "patient_id": [7], "Edema": [1.0]})
    made = ImageTable.of(frame)
    made["Mass"] = 0.0
    made.loc[0, "Edema"] = 0.0
    again = made.with_source(SOURCE)
    again.loc[0, "Edema"] = 0.5
    assert frame.to_dict("list") == {"image_id": ["a"], "patient_id": [7], "Edema": [1.0]}
    assert made["Edema"].tolist() == [0.0]
    assert made.source != SOURCE


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table[table["Edema"] == 1],
        lambda table: table.iloc[1:].reset_index(drop=True),
        lambda table: table.sort_values("image_id", ascending=False),
        lambda table: table.drop(columns="Edema"),
        lambda table: table.assign(Mass=0.0),
        lambda table: table.drop_duplicates(),
        lambda table: table.copy(),
        copy.deepcopy,
        lambda table: pickle.loads(pickle.dumps(table)),
        lambda table: pd.concat([table, table]),
        lambda table: pd.concat([table, pd.DataFrame(table)]),
        lambda table: table.merge(pd.DataFrame({"image_id": ["a"], "ward": ["x"]}), on="image_id"),
    ],
)
def test_a_part_or_a_copy_is_an_image_table_with_its_source(images, change):
    changed = change(images)
    assert type(changed) is ImageTable
    assert changed.source == SOURCE
    assert (type(images), images.source, list(images["image_id"])) == (ImageTable, SOURCE, ["a", "b"])


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table[["Edema"]],
        lambda table: table.drop(columns="patient_id"),
        lambda table: table.describe(),
        lambda table: table.groupby("patient_id")[["Edema"]].mean(),
        lambda table: table.melt(),
        pd.DataFrame,
    ],
)
def test_without_its_columns_it_is_a_plain_data_frame(images, change):
    assert type(change(images)) is pd.DataFrame


def test_columns_renamed_away_are_noticed_where_the_table_is_used_next(images):
    with pytest.raises(ValueError, match=r"lacks the column\(s\) image_id"):
        ImageTable.of(images.rename(columns={"image_id": "file"}))


def test_tables_put_together_keep_every_caution(images):
    other = images.with_source(TableSource("two", synthetic=True, cautions=("Synthetic.",), implausible_ages=1))
    source = pd.concat([images, other]).source
    assert (source.dataset, source.label_release, source.synthetic) == ("one and two", "not stated", True)
    assert source.cautions == ("Toy images.", "Synthetic.")
    assert (source.left_out, source.implausible_ages) == (SOURCE.left_out, 1)
    assert images.merge(other, on="image_id", suffixes=("", "_other")).source == source


def test_it_is_saved_and_read_as_any_data_frame(images, tmp_path):
    images.to_csv(tmp_path / "table.csv", index=False)
    read = pd.read_csv(tmp_path / "table.csv")
    assert image_table.fingerprint(ImageTable.of(read)) == image_table.fingerprint(images)


def test_a_patient_written_in_two_ways_is_one_patient():
    frame = pd.DataFrame({"image_id": [1, 2.0, "3 ", "4"], "patient_id": [7, 7.0, " 7", None], "Edema": 1.0})
    table = ImageTable.of(frame)
    assert table["image_id"].tolist() == ["1", "2", "3", "4"]
    assert table["patient_id"].tolist()[:3] == ["7"] * 3 and table["patient_id"].isna().tolist()[3]
    assert frame["patient_id"].tolist()[:3] == [7, 7.0, " 7"]
    with pytest.raises(ValueError, match=r"patient_id of the table holds both '7' and '7.0'"):
        ImageTable.of(frame.assign(patient_id=["7", "7.0", "8", "9"]))
    plain = pd.DataFrame({"image_id": ["a", "b"], "patient_id": ["p", "q"]})
    assert ImageTable.of(plain).dtypes.tolist() == plain.dtypes.tolist()
