import dataclasses
import shutil
import time

import numpy as np
import pandas as pd
import pytest

from chexkeras.data.datasets.nih import load_nih
from chexkeras.data.image_table import TableSource, fingerprint, source_of
from chexkeras.data.splits.splitters import (
    PARTS,
    Splits,
    check_classes,
    lacking_classes,
    official_split,
    official_split_by_image,
    split_by_image,
    split_by_patient,
)
from chexkeras.findings import NIH14


def table_of(patients: int = 60, images: int = 4, seed: int = 0) -> pd.DataFrame:
    """A table with `images` images per patient, two findings, and the last quarter of patients in the test list."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), images)
    follow_up = np.tile(np.arange(images), patients)
    table = pd.DataFrame(
        {
            "image_id": [f"{one:08d}_{two:03d}.png" for one, two in zip(patient, follow_up, strict=True)],
            "path": "/images",
            "patient_id": patient.astype(str),
            "age_years": 50.0,
            "Pneumonia": (rng.random(len(patient)) < 0.3).astype(float),
            "Edema": (rng.random(len(patient)) < 0.4).astype(float),
            "official_split": np.where(patient < patients * 3 // 4, "train_val", "test"),
        }
    )
    table.attrs["source"] = TableSource("made for the test", cautions=("careful",))
    return table


def assignment_of(table: pd.DataFrame, part: list[str] | np.ndarray) -> pd.DataFrame:
    return table[["image_id", "patient_id"]].assign(part=part)


# Properties of the three ways


def test_no_patient_is_in_two_parts_and_every_image_in_one():
    table = table_of()
    splits = split_by_patient(table, ["Pneumonia", "Edema"])
    patients = [set(splits.part(name)["patient_id"]) for name in PARTS]
    assert patients[0].isdisjoint(patients[1] | patients[2]) and patients[1].isdisjoint(patients[2])
    images = pd.concat([splits.train, splits.validation, splits.test])["image_id"]
    assert sorted(images) == sorted(table["image_id"])
    assert not splits.leaky and splits.crossing_patients == ()
    assert splits.description == "split by patient, stratified over Pneumonia and Edema, seed 0"
    assert repr(splits) == "<Splits by patient, seed 0: train 168, validation 36, test 36 images>"


def test_parts_are_image_tables_in_order_with_their_source():
    table = table_of()
    part = split_by_patient(table, "Pneumonia").validation
    assert list(part.columns) == list(table.columns)
    assert part.index.tolist() == list(range(len(part)))
    assert part["image_id"].is_monotonic_increasing
    assert source_of(part) is source_of(table)


@pytest.mark.parametrize("split", [split_by_patient, split_by_image, official_split, official_split_by_image])
def test_one_seed_gives_one_split_whatever_the_order_of_rows(split):
    table = table_of()
    first, again, other = (split(table, "Pneumonia", seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert split(table.sample(frac=1, random_state=1), "Pneumonia").fingerprint == first.fingerprint


def test_a_later_change_of_the_table_does_not_reach_the_split():
    table = table_of()
    splits = split_by_patient(table, "Pneumonia")
    expected = splits.train["Pneumonia"].tolist()
    table["Pneumonia"] = 0.0
    assert splits.train["Pneumonia"].tolist() == expected


def test_shares_are_those_asked_for():
    summary = split_by_patient(table_of(), "Pneumonia", validation=0.2, test=0.3).summary()
    np.testing.assert_allclose(summary["share"], [0.5, 0.2, 0.3], atol=0.02)


def test_the_summary_counts_by_hand():
    table = table_of()
    splits = split_by_patient(table, ["Edema", "Pneumonia"])
    summary = splits.summary()
    assert list(summary.index) == list(PARTS)
    assert list(summary.columns) == [
        "images", "patients", "share", "Edema_positives", "Edema_prevalence", "Pneumonia_positives",
        "Pneumonia_prevalence",
    ]  # fmt: skip
    row, part = summary.loc["test"], splits.test
    assert row["images"] == len(part) == 4 * row["patients"]
    assert row["Edema_positives"] == part["Edema"].sum()
    assert row["Edema_prevalence"] == pytest.approx(part["Edema"].sum() / len(part))
    assert "split by patient" in splits._repr_html_()


def test_unknown_labels_count_neither_way():
    table = table_of()
    table.loc[table.index % 4 == 0, "Edema"] = np.nan
    summary = split_by_patient(table, "Edema").summary()
    assert summary["Edema_positives"].sum() == (table["Edema"] == 1).sum()
    assert summary["Edema_labelled"].sum() == table["Edema"].notna().sum() < len(table)
    assert summary.loc["train", "Edema_prevalence"] == pytest.approx(table["Edema"].mean(), abs=0.03)


def test_a_split_of_images_without_patients_is_not_called_one_by_patient():
    table = table_of()
    alone = split_by_patient(table.assign(patient_id=table["image_id"]), "Edema")
    assert not alone.patients_known and split_by_patient(table, "Edema").patients_known
    assert alone.description.startswith("split by image (patients are not known), stratified over Edema")
    assert repr(alone).startswith("<Splits by image, patients not known, seed 0: train")


def test_a_split_by_image_calls_itself_leaky_everywhere():
    splits = split_by_image(table_of(), "Pneumonia")
    assert splits.leaky
    assert len(splits.crossing_patients) > 10
    assert repr(splits).startswith("<LEAKY Splits by image")
    assert splits.description.startswith(f"LEAKY split by image: {len(splits.crossing_patients)} of 60 patients")
    assert splits.to_dict()["leaky"] is True
    assert "LEAKY" in splits._repr_html_()


def test_the_official_split_keeps_the_test_list_and_takes_validation_patients_from_the_rest():
    table = table_of()
    splits = official_split(table, "Pneumonia", validation=0.2)
    assert set(splits.test["image_id"]) == set(table["image_id"][table["official_split"] == "test"])
    assert set(splits.validation["official_split"]) == {"train_val"}
    assert set(splits.validation["patient_id"]).isdisjoint(splits.train["patient_id"])
    assert len(splits.validation) / 180 == pytest.approx(0.2, abs=0.03)
    assert not splits.leaky
    assert splits.description.startswith("official test list; validation split by patient")


def test_the_official_split_by_image_keeps_the_test_list_and_shares_patients_between_the_rest():
    table = table_of()
    splits = official_split_by_image(table, "Pneumonia", validation=0.2)
    assert set(splits.test["image_id"]) == set(table["image_id"][table["official_split"] == "test"])
    assert len(splits.validation) == 36
    trained, validated, tested = (set(splits.part(name)["patient_id"]) for name in PARTS)
    assert tested.isdisjoint(trained | validated)
    assert set(splits.crossing_patients) == trained & validated
    assert len(trained & validated) > 10
    assert splits.leaky and splits.to_dict()["leaky"] is True
    assert repr(splits).startswith("<LEAKY Splits by official_image")
    assert splits.description == (
        "official test list, whose patients are in no other part; LEAKY split by image between training and "
        f"validation: {len(trained & validated)} of 45 patients have images in both, so scores on "
        "validation are better than on new patients (stratified over Pneumonia, seed 0)"
    )


def test_a_patient_of_the_official_test_part_in_another_part_is_refused_by_image_too():
    table = table_of()
    table.loc[0, "official_split"] = "test"
    with pytest.raises(ValueError, match=r"1 patient\(s\) have images in several parts, first patient '0' in test and"):
        official_split_by_image(table, "Pneumonia")


def test_a_saved_official_split_by_image_loads(tmp_path):
    table = table_of()
    splits = official_split_by_image(table, "Pneumonia")
    loaded = Splits.load(splits.save(tmp_path / "splits.csv"), table)
    assert (loaded.kind, loaded.fingerprint, loaded.shares) == ("official_image", splits.fingerprint, splits.shares)


# Bad input


@pytest.mark.parametrize("split", [split_by_patient, split_by_image, official_split])
def test_an_unknown_target_is_refused_with_the_nearest(split):
    with pytest.raises(ValueError, match=r"unknown finding 'Pnuemonia'; did you mean 'Pneumonia'"):
        split(table_of(), "Pnuemonia")


def test_a_table_without_labels_or_patients_is_refused():
    table = table_of()
    with pytest.raises(ValueError, match="has no label column"):
        split_by_patient(table.drop(columns=["Pneumonia", "Edema"]), "Pneumonia")
    with pytest.raises(ValueError, match=r"lacks the column\(s\) patient_id; .* needs to know each image's patient"):
        split_by_patient(table.drop(columns="patient_id"), "Pneumonia")
    table.loc[3, "patient_id"] = ""
    with pytest.raises(ValueError, match=r"1 image\(s\) have no patient_id, first '00000000_003.png'"):
        split_by_patient(table, "Pneumonia")


def test_a_image_twice_in_the_table_is_refused():
    table = pd.concat([table_of(), table_of().head(1)])
    with pytest.raises(ValueError, match=r"names 1 image\(s\) more than once, first '00000000_000.png'"):
        split_by_patient(table, "Pneumonia")


def test_shares_outside_their_range_are_refused():
    with pytest.raises(ValueError, match=r"validation=0 must lie strictly between 0 and 1"):
        split_by_patient(table_of(), "Pneumonia", validation=0)
    with pytest.raises(ValueError, match=r"validation=0.5 and test=0.5 leave nothing for training"):
        split_by_patient(table_of(), "Pneumonia", validation=0.5, test=0.5)
    with pytest.raises(ValueError, match=r"validation=15 must lie"):
        official_split(table_of(), "Pneumonia", validation=15)


def test_too_few_patients_are_counted():
    with pytest.raises(
        ValueError, match=r"2 patients cannot fill 3 parts \(train, validation, test\); load more patients"
    ):
        split_by_patient(table_of(patients=2), "Pneumonia")


def test_a_part_without_a_class_is_named_with_its_counts():
    table = table_of()
    table["Edema"] = (table["patient_id"] == "7").astype(float)
    with pytest.raises(ValueError) as e:
        split_by_patient(table, ["Edema"])
    message = str(e.value)
    assert "validation has 0 positive and 36 negative images of Edema" in message
    assert "leave Edema out of the targets" in message
    # Beside a finding that every part has both classes of, it is left to be named by the run.
    assert len(split_by_patient(table, ["Pneumonia", "Edema"]).train)


def test_an_official_test_list_with_one_class_points_to_the_split_by_patient():
    table = table_of()
    table.loc[table["official_split"] == "test", "Pneumonia"] = 1.0
    way = r"use split_by_patient \(.* --split patient\), or load more images"
    with pytest.raises(ValueError, match=rf"test has 60 positive and 0 negative images of Pneumonia.*{way}"):
        official_split(table, "Pneumonia")


def test_check_classes_looks_at_targets_the_split_was_not_made_for():
    table = table_of()
    table["Mass"] = 0.0
    splits = split_by_patient(table, "Pneumonia")
    check_classes(splits, "Edema")
    with pytest.raises(ValueError, match="0 positive and 168 negative images of Mass"):
        check_classes(splits, ["Mass"])


def test_a_rare_finding_among_others_may_lack_a_class_in_validation_or_test_and_is_named():
    splits = split_by_patient(table_of(), "Pneumonia")
    in_training = splits.table["image_id"].isin(splits.train["image_id"])
    splits.table["Mass"] = (in_training & (splits.table.index % 3 == 0)).astype(float)
    lacking = lacking_classes(splits, ["Pneumonia", "mass"])
    assert [(each.part, each.target, each.positive) for each in lacking] == [
        ("validation", "Mass", 0),
        ("test", "Mass", 0),
    ]
    assert lacking[1].negative == len(splits.test)
    check_classes(splits, ["Pneumonia", "Mass"])
    with pytest.raises(ValueError, match="validation and test of one target at least, but validation has 0 positive"):
        check_classes(splits, ["Mass"])
    splits.table["Mass"] = 1.0 - splits.table["Mass"].where(~in_training, 0.0)
    with pytest.raises(ValueError, match=r"train has \d+ positive and 0 negative images of Mass"):
        check_classes(splits, ["Pneumonia", "Mass"])


def test_images_in_no_official_list_are_counted():
    table = table_of()
    with pytest.raises(ValueError, match=r"has no column 'official_split'; .* --split patient\)"):
        official_split(table.drop(columns="official_split"), "Pneumonia")
    with pytest.raises(ValueError, match=r"none of the 180 images is in the official test list; .* --split patient\)"):
        official_split(table[table["official_split"] == "train_val"], "Pneumonia")
    table.loc[5, "official_split"] = ""
    with pytest.raises(ValueError, match=r"1 of 240 images are in neither official list, first '00000001_001.png'"):
        official_split(table, "Pneumonia")


def test_a_patient_in_both_official_lists_is_refused():
    table = table_of()
    table.loc[0, "official_split"] = "test"
    with pytest.raises(ValueError, match=r"1 patient\(s\) have images in several parts, first patient '0' in test and"):
        official_split(table, "Pneumonia")


# The proof, whoever made the assignment


def test_an_assignment_that_crosses_is_refused_unless_it_is_by_image():
    table = table_of()
    part = np.where(np.arange(len(table)) % 4 == 0, "test", "train")
    made = ("Pneumonia",), (("train", 0.75), ("test", 0.25)), table, assignment_of(table, part)
    for kind in ("patient", "official"):
        with pytest.raises(
            ValueError, match=r"60 patient\(s\) have images in several parts, first patient '0' in test and train"
        ):
            Splits(kind, 0, *made)
    assert Splits("image", 0, *made).leaky


def test_an_assignment_must_fit_the_table():
    table = table_of()
    good = assignment_of(table, "train")

    def made(assignment, kind="patient"):
        return Splits(kind, 0, ("Pneumonia",), (), table, assignment)

    made(good)
    with pytest.raises(ValueError, match="differ in their images or patients"):
        made(good.iloc[1:])
    with pytest.raises(ValueError, match="differ in their images or patients"):
        made(good.assign(patient_id=["x", *good["patient_id"][1:]]))
    with pytest.raises(ValueError, match=r"unknown part\(s\) 'training'; expected train, validation, test"):
        made(good.assign(part="training"))
    with pytest.raises(ValueError, match=r"1 image\(s\) are assigned twice, first '00000000_000.png'"):
        made(pd.concat([good, good.head(1)]))
    with pytest.raises(ValueError, match=r"kind='random'"):
        made(good, "random")


def test_a_split_cannot_be_changed():
    splits = split_by_patient(table_of(), "Pneumonia")
    with pytest.raises(dataclasses.FrozenInstanceError):
        splits.kind = "image"


# Saved and loaded


def test_a_saved_split_loads_onto_the_same_table(tmp_path):
    table = table_of()
    splits = split_by_image(table, ["Pneumonia", "Edema"], seed=3)
    path = splits.save(tmp_path / "run" / "splits.csv")
    assert path.read_text().splitlines()[0] == "image_id,patient_id,part"
    loaded = Splits.load(path, table)
    pd.testing.assert_frame_equal(loaded.assignment, splits.assignment, check_dtype=False)
    assert loaded.to_dict() == splits.to_dict()
    assert (loaded.kind, loaded.seed, loaded.targets, loaded.shares) == ("image", 3, splits.targets, splits.shares)
    pd.testing.assert_frame_equal(loaded.test, splits.test)
    assert source_of(loaded.test) is source_of(table)


def test_images_may_move_and_rows_may_change_order(tmp_path):
    table = table_of()
    path = split_by_patient(table, "Pneumonia").save(tmp_path / "splits.csv")
    moved = table.assign(path="/elsewhere").sample(frac=1, random_state=0)
    assert fingerprint(moved) == fingerprint(table)
    assert len(Splits.load(path, moved).test) == 36


def test_patients_with_leading_zeros_or_named_na_survive(tmp_path):
    table = table_of()
    table["patient_id"] = table["patient_id"].replace({"0": "0070", "1": "NA", "2": "1.0"})
    splits = split_by_patient(table, "Pneumonia")
    assert Splits.load(splits.save(tmp_path / "s.csv"), table).fingerprint == splits.fingerprint


def test_another_table_is_refused(tmp_path):
    table = table_of()
    path = split_by_patient(table, "Pneumonia").save(tmp_path / "splits.csv")
    relabelled = table.copy()
    relabelled.loc[0, "Edema"] = 1 - relabelled.loc[0, "Edema"]
    for other in (relabelled, table.iloc[1:]):
        with pytest.raises(ValueError, match=rf"belongs to another table: 240 images.* has {len(other)} images"):
            Splits.load(path, other)


def test_an_edited_csv_is_refused(tmp_path):
    table = table_of()
    path = split_by_patient(table, "Pneumonia").save(tmp_path / "splits.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *[line.replace(",train", ",test") for line in lines[1:]]]))
    with pytest.raises(ValueError, match=r"splits.csv is not what was saved .* edited or cut short"):
        Splits.load(path, table)


def test_missing_and_foreign_files_are_said(tmp_path):
    table = table_of()
    path = split_by_patient(table, "Pneumonia").save(tmp_path / "splits.csv")
    shutil.copy(path, tmp_path / "alone.csv")
    with pytest.raises(FileNotFoundError, match=r"alone.json'; a split is two files"):
        Splits.load(tmp_path / "alone.csv", table)
    (tmp_path / "alone.json").write_text('{"kind": "patient"}')
    with pytest.raises(ValueError, match=r"alone.json lacks seed, targets"):
        Splits.load(tmp_path / "alone.csv", table)
    with pytest.raises(FileNotFoundError, match="splits: no file at"):
        Splits.load(tmp_path / "absent.csv", table)
    with pytest.raises(ValueError, match=r"does not end in .csv"):
        split_by_patient(table, "Pneumonia").save(tmp_path / "splits.json")


# Up-sampling, after splitting only


def test_only_the_training_part_is_shown_several_times_and_every_part_keeps_each_image_once():
    splits = split_by_patient(table_of(), ["Pneumonia", "Edema"])
    more = splits.up_sampled({"pneumonia": 3, "Edema": 2})
    for name in PARTS:
        pd.testing.assert_frame_equal(more.part(name), splits.part(name))
    pd.testing.assert_frame_equal(splits.training_rows, splits.train)
    rows, train = more.training_rows, splits.train
    expected = np.where(train["Pneumonia"] == 1, 3, np.where(train["Edema"] == 1, 2, 1))
    shown = rows["image_id"].value_counts()
    assert [shown[image] for image in train["image_id"]] == expected.tolist()
    assert rows.index.tolist() == list(range(expected.sum()))
    assert source_of(rows) is source_of(train)
    assert set(rows["patient_id"]).isdisjoint({*more.validation["patient_id"], *more.test["patient_id"]})


def test_up_sampling_is_told_everywhere_and_survives_saving(tmp_path):
    table = table_of()
    more = split_by_patient(table, "Pneumonia").up_sampled({"Pneumonia": 4})
    assert more.description == (
        "split by patient, stratified over Pneumonia, seed 0; training images up-sampled after splitting: Pneumonia x 4"
    )
    assert repr(more).endswith(f"test 36 images (an epoch shows {len(more.training_rows)})>")
    assert "Pneumonia x 4" in more._repr_html_()
    assert more.to_dict()["up_sampled"] == {"Pneumonia": 4}
    loaded = Splits.load(more.save(tmp_path / "splits.csv"), table)
    assert loaded.factors == (("Pneumonia", 4),)
    pd.testing.assert_frame_equal(loaded.training_rows, more.training_rows)
    leaky = split_by_image(table, "Pneumonia").up_sampled({"Pneumonia": 2})
    assert "LEAKY" in leaky.description and "Pneumonia x 2" in leaky.description


def test_a_split_saved_before_there_was_up_sampling_loads(tmp_path):
    table = table_of()
    path = split_by_patient(table, "Pneumonia").save(tmp_path / "splits.csv")
    sidecar = path.with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace('  "up_sampled": {},\n', ""))
    assert "up_sampled" not in sidecar.read_text()
    assert Splits.load(path, table).factors == ()


def test_factors_replace_earlier_ones_and_unknown_labels_stay_once():
    table = table_of()
    table.loc[table.index % 5 == 0, "Edema"] = np.nan
    splits = split_by_patient(table, "Pneumonia").up_sampled({"Pneumonia": 9}).up_sampled({"Edema": 2})
    assert splits.factors == (("Edema", 2),)
    assert len(splits.training_rows) == len(splits.train) + (splits.train["Edema"] == 1).sum()
    assert splits.up_sampled({}).factors == ()


def test_a_table_that_was_up_sampled_cannot_be_split():
    repeated = split_by_patient(table_of(), "Pneumonia").up_sampled({"Pneumonia": 4}).training_rows
    for split in (split_by_patient, split_by_image, official_split):
        with pytest.raises(ValueError, match=r"image\(s\) more than once, .* split first: splits.up_sampled"):
            split(repeated, "Pneumonia")


def test_bad_factors_are_named():
    table = table_of().assign(Mass=0.0)
    splits = split_by_patient(table, "Pneumonia")
    with pytest.raises(ValueError, match=r"factors must be a dict whose values are each a whole number, but holds 1.5"):
        splits.up_sampled({"Pneumonia": 1.5})
    with pytest.raises(ValueError, match=r"the factor of Pneumonia=0 must be"):
        splits.up_sampled({"Pneumonia": 0})
    with pytest.raises(ValueError, match=r"unknown finding 'Pnuemonia'; did you mean 'Pneumonia'"):
        splits.up_sampled({"Pnuemonia": 2})
    with pytest.raises(ValueError, match=r"none of the 168 training images shows Mass; there is nothing to repeat"):
        splits.up_sampled({"Mass": 2})
    with pytest.raises(TypeError, match=r"factors=4 must be a dict whose values are each a whole number"):
        splits.up_sampled(4)


# The real file


def spread(splits: Splits, parts: tuple[str, ...]) -> pd.Series:
    """Each target's largest relative deviation from its overall prevalence, over `parts`."""
    together = pd.concat([splits.part(name) for name in parts])
    summary = splits.summary().loc[list(parts)]
    return pd.Series(
        {
            target: (summary[f"{target}_prevalence"] / together[target].mean() - 1).abs().max()
            for target in splits.targets
            if together[target].sum() >= 500
        }
    )


@pytest.mark.realdata
@pytest.mark.parametrize("seed", [0, 1])
def test_the_full_file_splits_by_patient_within_the_tolerances(full_nih, seed):
    started = time.process_time()
    splits = split_by_patient(full_nih, NIH14, seed=seed)
    assert time.process_time() - started < 30
    np.testing.assert_allclose(splits.summary()["share"], [0.7, 0.15, 0.15], atol=0.005)
    deviation = spread(splits, PARTS)
    assert len(deviation) == 13
    assert deviation.max() < 0.05, deviation


@pytest.mark.realdata
def test_the_full_file_splits_officially(full_nih):
    splits = official_split(full_nih, NIH14)
    summary = splits.summary()
    assert summary.loc["test", ["images", "patients", "Pneumonia_positives"]].tolist() == [25_596, 2_797, 555]
    assert summary.loc[["train", "validation"], "patients"].sum() == 28_008
    assert summary.loc["validation", "images"] / 86_524 == pytest.approx(0.125, abs=0.005)
    assert spread(splits, ("train", "validation")).max() < 0.05


@pytest.mark.realdata
def test_the_case_control_images_need_the_split_by_patient(real_nih):
    table = load_nih(real_nih, missing="skip")
    with pytest.raises(ValueError, match=r"test has 153 positive and 0 negative images of Pneumonia"):
        official_split(table, "Pneumonia")
    prevalence = split_by_patient(table, "Pneumonia").summary()["Pneumonia_prevalence"]
    np.testing.assert_allclose(prevalence, 0.5, atol=0.025)


@pytest.mark.realdata
def test_the_small_real_images_split_over_all_findings_and_the_one_that_two_patients_have_is_named(real_nih):
    table = load_nih(real_nih, images="images_64", missing="skip")
    assert table.loc[table["Hernia"] == 1, "patient_id"].nunique() == 2
    splits = split_by_patient(table, NIH14)
    assert [tuple(each) for each in lacking_classes(splits, NIH14)] == [("test", "Hernia", 0, 150)]
    names = [name for name in NIH14 if name != "Hernia"]
    assert splits.crossing_patients == ()
    summary = splits.summary()
    assert summary["images"].tolist() == [700, 150, 150]
    assert (summary[[f"{name}_positives" for name in names]] > 1).all(axis=None)


def test_whole_numbers_as_patient_ids_are_taken_as_text(tmp_path):
    table = table_of()
    numbers = table.assign(patient_id=table["patient_id"].astype(int))
    splits = split_by_patient(numbers, "Pneumonia")
    assert splits.assignment["patient_id"].map(type).eq(str).all()
    again = Splits.load(splits.save(tmp_path / "splits.csv"), numbers)
    assert again.fingerprint == splits.fingerprint
    assert not again.crossing_patients
