import dataclasses

import numpy as np
import pandas as pd
import pytest

from chexkeras.data.splits.folds import k_fold
from chexkeras.data.splits.splits import Splits
from tests.data.splits.test_splitters import table_of

TARGETS = ["Pneumonia", "Edema"]


def test_every_image_is_tested_once_in_each_repeat_and_no_patient_is_in_two_parts():
    table = table_of(patients=63, images=3)
    found = k_fold(table, TARGETS, folds=4, repeats=2, seed=5)
    assert len(found) == 8
    for repeat in (found[:4], found[4:]):
        tested = pd.concat([splits.test for splits in repeat])["image_id"]
        assert sorted(tested) == sorted(table["image_id"])
        for splits in repeat:
            parts = [set(splits.part(name)["patient_id"]) for name in ("train", "validation", "test")]
            assert sum(map(len, parts)) == len(set.union(*parts)) == 63
            assert not splits.leaky
    assert found[0].fingerprint != found[4].fingerprint


def test_parts_have_the_shares_that_were_asked_for_and_every_finding_alike():
    table = table_of(patients=200, images=2)
    for splits in k_fold(table, TARGETS, folds=5, validation=0.2):
        summary = splits.summary()
        assert summary["share"].tolist() == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
        for name in TARGETS:
            assert summary[f"{name}_prevalence"].tolist() == pytest.approx([table[name].mean()] * 3, abs=0.03)


def test_one_seed_gives_one_division_whatever_the_order_of_the_rows_and_a_repeat_is_that_of_the_next_seed():
    table = table_of()
    first = k_fold(table, TARGETS, folds=3, repeats=2, seed=1)
    shuffled = k_fold(table.sample(frac=1, random_state=0), TARGETS, folds=3, seed=1)
    for one, other in zip(first, shuffled, strict=False):
        assert set(one.test["image_id"]) == set(other.test["image_id"])
        assert set(one.validation["image_id"]) == set(other.validation["image_id"])
    assert [each.fingerprint for each in first[3:]] == [
        each.fingerprint for each in k_fold(table, TARGETS, folds=3, seed=2)
    ]


def test_a_fold_says_which_one_it_is_also_when_it_was_saved(tmp_path):
    table = table_of()
    splits = k_fold(table, TARGETS, folds=3)[1]
    assert splits.description == (
        "split by patient, cross-validation, fold 2 of 3, stratified over Pneumonia and Edema, seed 0"
    )
    assert "fold 2 of 3" in repr(splits)
    loaded = Splits.load(splits.save(tmp_path / "splits.csv"), table)
    assert loaded.fold == "fold 2 of 3" and loaded.to_dict() == splits.to_dict()
    assert splits.up_sampled({"Edema": 2}).fold == "fold 2 of 3"
    assert "fold" not in dataclasses.replace(splits, fold="").to_dict()
    assert k_fold(table, TARGETS, folds=3, repeats=2)[4].fold == "fold 2 of 3, repeat 2 of 2"


def test_a_finding_of_as_many_patients_as_folds_is_tested_in_every_one():
    table = table_of(patients=50, images=2)
    table["Mass"] = table["patient_id"].isin(["3", "9", "20", "31", "44"]).astype(float)
    for splits in k_fold(table, [*TARGETS, "Mass"], folds=5):
        assert (splits.test["Mass"] == 1).any() and (splits.train["Mass"] == 1).any()


def test_a_finding_of_fewer_patients_than_folds_is_refused_and_named_with_the_ways_out():
    table = table_of(patients=50, images=2)
    table["Mass"] = table["patient_id"].isin(["3", "9", "20", "31"]).astype(float)
    with pytest.raises(ValueError, match=r"Mass has positive images of 4 patient.*fewer folds.*leave Mass out"):
        k_fold(table, [*TARGETS, "Mass"], folds=5)
    assert len(k_fold(table, [*TARGETS, "Mass"], folds=4)) == 4
    table["Mass"] = 1 - table["Mass"]
    with pytest.raises(ValueError, match="Mass has negative images of 4 patient"):
        k_fold(table, "Mass", folds=5)
    table["Mass"] = np.nan
    with pytest.raises(ValueError, match="Mass has positive images of 0 patient"):
        k_fold(table, "Mass")


def test_two_folds_of_two_positive_patients_leave_none_to_validate_with_and_say_so():
    table = table_of(patients=20, images=2)
    table["Mass"] = table["patient_id"].isin(["3", "9"]).astype(float)
    with pytest.raises(ValueError, match="positive"):
        k_fold(table, "Mass", folds=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    (
        ({"folds": 1}, "folds=1"),
        ({"folds": 2.5}, "folds=2.5"),
        ({"repeats": 0}, "repeats=0"),
        ({"seed": -1}, "seed=-1"),
        ({"validation": 0}, "validation=0"),
        ({"folds": 2, "validation": 0.5}, "leave nothing for training"),
    ),
)
def test_numbers_that_make_no_folds_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        k_fold(table_of(), TARGETS, **arguments)
