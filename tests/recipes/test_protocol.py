"""How images are read, checked and divided around a recipe, from Python."""

import dataclasses

import pytest

from chexkeras.data.image_table import source_of
from chexkeras.recipes import presets
from chexkeras.recipes.protocol import (
    SplitPlan,
    own_split,
    reading_cautions,
    source_reading,
    source_split,
    split_for,
    split_like_source,
    targets_to_fill,
    usable_table,
)
from chexkeras.recipes.recipe import Loss, Recipe

RECIPE = Recipe(targets=("Effusion",))


def as_chexpert(table, policy, views="frontal", blank="negative"):
    """The toy table as if it were CheXpert, read by a policy for the uncertain labels of one finding."""
    source = source_of(table)
    table = table.copy()
    table.attrs["source"] = dataclasses.replace(
        source, uncertain_policy=(("Effusion", policy),), views=views, blank_policy=blank
    )
    return table


def test_an_own_plan_takes_fifteen_percent_each_unless_told_otherwise(capsys):
    assert own_split() == SplitPlan("patient", 0.15, 0.15)
    assert own_split("image", 0.2, 0.3) == SplitPlan("image", 0.2, 0.3)
    assert own_split("official", test=0.2).kind == "official"
    assert "the test part is the data set's own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (lambda: own_split("random"), "kind='random'"),
        (lambda: own_split(validation=1.5), "validation=1.5 must lie strictly between 0 and 1"),
        (lambda: source_split("chexnet", test=0), "test=0 must lie strictly between"),
        (lambda: source_split("kufel-effnet"), "does not state how it divided its images"),
        (lambda: source_split("chexnet", test=0.3), "test=0.3: the source of preset 'chexnet' took 0.2; leave it out"),
        (lambda: source_split("chexpert-uones", test=0.3), "tested on the data set's own test part"),
        (lambda: source_split("chexnett"), "did you mean 'chexnet'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_the_words_of_python(plan, message):
    with pytest.raises(ValueError) as refused:
        plan()
    assert message in str(refused.value)
    assert "--" not in str(refused.value)


def test_a_table_is_divided_as_the_source_of_a_preset_did(toy):
    splits = split_like_source(toy, "hborhan-r1", RECIPE)
    assert (splits.kind, splits.leaky) == ("image", True)
    assert dict(splits.shares) == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1})
    by_patient = split_like_source(toy, "xrv-densenet", RECIPE.replace(seed=3), validation=0.1)
    assert (by_patient.kind, by_patient.seed, by_patient.leaky) == ("patient", 3, False)
    assert dict(by_patient.shares) == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2})
    same = split_for(toy, RECIPE.replace(seed=3), source_split("xrv-densenet", 0.1))
    assert same.table_sha256 == by_patient.table_sha256
    assert same.fingerprint == by_patient.fingerprint


def test_the_official_parts_stay_what_they_are(toy):
    table = toy.copy()
    table["official_split"] = ["test" if int(patient) > 40 else "train_val" for patient in table["patient_id"]]
    table.attrs = dict(toy.attrs)
    splits = split_like_source(table, "chexvision-densenet", RECIPE)
    assert splits.kind == "official_image"
    assert set(splits.test["patient_id"]) == {str(patient) for patient in range(41, 61)}


def test_labels_are_read_as_the_source_did_and_a_run_says_where_they_were_not(toy):
    recipe = presets.preset("chexpert-uones").replace(targets=("Effusion",))
    assert source_reading("chexpert-uones", recipe) == {"views": "all", "uncertain": "ones", "blank": "negative"}
    assert source_reading("two-stage", RECIPE) == source_reading("own", RECIPE) == {}
    third = recipe.replace(head="three_way", loss=Loss("three_way"))
    assert source_reading("chexpert-uones", third) == {"views": "all", "blank": "negative"}
    assert reading_cautions("chexpert-uones", toy, RECIPE) == ()
    assert reading_cautions("two-stage", as_chexpert(toy, "zeros"), RECIPE) == ()


def test_dicom_files_are_known_by_their_content_before_a_training(toy, tmp_path):
    (tmp_path / "a.png").write_bytes(bytes(128) + b"DICM")
    table = toy.copy()
    table.attrs = toy.attrs
    table.loc[table.index[0], "path"] = str(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"1 of \d+ images are DICOM files .*'chexkeras prepare'"):
        usable_table(table, RECIPE)


def test_what_cannot_be_trained_on_is_refused_before_an_image_is_decoded(toy):
    assert "Abnormal" in usable_table(toy, Recipe(targets=("Abnormal",)))
    with pytest.raises(ValueError, match="model with a third class"):
        usable_table(as_chexpert(toy, "multiclass"), RECIPE)
    usable_table(as_chexpert(toy, "multiclass"), RECIPE.replace(head="three_way", loss=Loss("three_way")))
    with pytest.raises(ValueError, match="shows Hernia"):
        usable_table(toy, RECIPE.replace(balanced_batches=("Hernia",)))


def test_a_first_pass_says_that_its_uncertain_labels_wait(toy, capsys):
    waiting = as_chexpert(toy, "self_trained")
    assert targets_to_fill(waiting, ("Effusion", "Mass")) == ["Effusion"]
    assert targets_to_fill(toy, ("Effusion",)) == []
    split_for(waiting, RECIPE, own_split("patient", 0.25, 0.25))
    assert "a second pass fills them" in capsys.readouterr().err
