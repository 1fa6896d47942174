"""Several data sets in one table, and splits that know their sites."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.data import combine_tables, leave_one_site_out, sites_of, source_of, split_each_site
from chexkeras.data.image_table import TableSource


def images(name, count, columns, **source):
    """Images of `count` patients; every fourth has the finding."""
    ids = [f"{name}{number}" for number in range(count)]
    table = pd.DataFrame({"image_id": ids, "patient_id": [str(number) for number in range(count)], "view": "PA"})
    for place, column in enumerate(columns):
        table[column] = [float((number + place) % 4 == 0) for number in range(count)]
    table.attrs["source"] = TableSource(dataset=name, **source)
    return table


@pytest.fixture
def both():
    north = images("north", 40, ["Effusion", "Mass"], cautions=("Text-mined labels.",))
    south = images("south", 60, ["Pleural Effusion", "Edema"], synthetic=True)
    return combine_tables({"north": north, "south": south})


def test_findings_that_a_set_does_not_label_are_unknown_there(both):
    assert sites_of(both) == ("north", "south") and len(both) == 100
    here = both["site"] == "north"
    assert both.loc[here, "Edema"].isna().all() and both.loc[~here, "Mass"].isna().all()
    # One finding under two names is one column, in the first table's spelling.
    assert both["Effusion"].notna().all() and "Pleural Effusion" not in both
    assert both.loc[~here, "Effusion"].sum() == 15
    assert both.findings == ("Effusion", "Mass", "Edema")


def test_the_same_number_is_another_person_at_another_site(both):
    assert both["patient_id"].nunique() == 100
    assert both["patient_id"].str.startswith(("north: ", "south: ")).all()


def test_sources_and_cautions_of_all_go_along(both):
    source = source_of(both)
    assert source.dataset == "north and south" and source.synthetic
    assert source.cautions == ("north: Text-mined labels.",)


def test_image_names_that_two_sites_use_are_told_apart():
    tables = {name: images("x", 12, ["Mass"]) for name in ("a", "b")}
    tables["b"] = images("x", 14, ["Mass"]).iloc[5:]
    found = combine_tables(tables)
    assert found["image_id"].is_unique and "a: x7" in set(found["image_id"]) and "x13" in set(found["image_id"])


def test_only_the_targets_that_are_asked_for_are_kept():
    tables = {"a": images("a", 12, ["Mass", "Edema"]), "b": images("b", 12, ["Edema"])}
    assert combine_tables(tables, "edema").findings == ("Edema",)
    with pytest.raises(ValueError, match="unknown finding"):
        combine_tables(tables, "Fracture")


def test_images_that_two_sets_share_are_refused():
    """RSNA's and one's own copies of NIH images are NIH's, by their names."""
    mine = pd.DataFrame({"image_id": ["00000013_008.png", "b.png"], "patient_id": ["x", "y"], "Mass": [0.0, 1.0]})
    nih = pd.DataFrame({"image_id": ["00000013_026.png"], "patient_id": ["13"], "Mass": [1.0]})
    nih.attrs["source"] = TableSource(dataset="NIH ChestX-ray14")
    with pytest.raises(ValueError, match=r"1 images of 'mine' .* of patients, of 'nih'"):
        combine_tables({"nih": nih, "mine": mine})


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"a": images("a", 8, ["Mass"])}, "at least two tables"),
        ({"a": images("a", 8, ["Mass"]), " a": images("b", 8, ["Mass"])}, "name of its own"),
        ({"": images("a", 8, ["Mass"]), "b": images("b", 8, ["Mass"])}, "not blank"),
        ({"a": images("a", 8, ["Effusion", "Pleural Effusion"]), "b": images("b", 8, ["Mass"])}, "two columns for"),
    ],
)
def test_what_cannot_be_combined_is_said(tables, message):
    with pytest.raises(ValueError, match=message):
        combine_tables(tables)


def test_every_part_holds_the_same_share_of_every_site(both):
    splits = split_each_site(both, "Effusion", validation=0.2, test=0.2, seed=3)
    for part in ("train", "validation", "test"):
        counts = splits.part(part)["site"].value_counts()
        assert counts["south"] == pytest.approx(1.5 * counts["north"], abs=2)
    assert not splits.leaky and not splits.crossing_patients
    again = split_each_site(both.iloc[::-1], "Effusion", validation=0.2, test=0.2, seed=3)
    assert again.fingerprint == splits.fingerprint


def test_one_site_after_the_other_is_left_out(both):
    found = leave_one_site_out(both, "Effusion", validation=0.25)
    assert [splits.fold for splits in found] == ["site north left out", "site south left out"]
    for splits in found:
        (tested,) = set(splits.test["site"])
        assert tested not in set(splits.train["site"]) | set(splits.validation["site"])
        assert len(splits.test) == (both["site"] == tested).sum()
        assert "left out" in splits.description


def test_a_site_that_does_not_label_the_target_is_not_tested_on(both):
    """Mass is labelled in the north alone: without it nothing could be learnt."""
    with pytest.raises(ValueError, match="Mass"):
        leave_one_site_out(both, "Mass")
    one = both[both["site"] == "north"]
    with pytest.raises(ValueError, match="one site only"):
        leave_one_site_out(one, "Effusion")
    with pytest.raises(ValueError, match="have no site"):
        split_each_site(both.assign(site=["", *["a"] * 99]), "Effusion")
    with pytest.raises(ValueError, match="site"):
        split_each_site(both.drop(columns="site"), "Effusion")
    with pytest.raises(ValueError, match="nothing for training"):
        split_each_site(both, "Effusion", validation=0.5, test=0.5)


@pytest.mark.keras
def test_unknown_labels_take_no_part_in_the_loss(both):
    from chexkeras.models.losses import masked

    labels = both[["Effusion", "Mass"]].to_numpy(np.float32)
    _, _, known = masked(labels, np.full(labels.shape, 0.3, np.float32))
    assert np.array_equal(np.asarray(known).astype(bool), ~np.isnan(labels))
    assert np.asarray(known)[-1].tolist() == [1, 0]
