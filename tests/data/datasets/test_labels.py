"""Uncertain labels stay with their images, and a second pass fills only what was left open."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexkeras.data import image_table
from chexkeras.data.datasets.labels import (
    BECOMES,
    POLICIES,
    fill_uncertain,
    policies,
    refuse_third_class,
    settle,
    uncertain_mask,
)
from chexkeras.data.image_table import TableSource, source_of
from chexkeras.data.splits.splitters import split_by_patient

MARKS = st.sampled_from([1.0, 0.0, -1.0, np.nan])
NAMES = ("Edema", "Atelectasis", "Fracture")


def slow_settle(row, policy_of, blank):
    """One image, one label at a time, as the rule is written."""
    labels, uncertain = [], []
    for (name, policy), mark in zip(policy_of.items(), row, strict=True):
        if mark == -1:
            uncertain.append(name)
            labels.append(BECOMES[policy])
        elif mark != mark:
            labels.append(0.0 if blank == "negative" else np.nan)
        else:
            labels.append(mark)
    return labels, "|".join(uncertain)


@given(
    st.lists(st.tuples(MARKS, MARKS, MARKS), min_size=1, max_size=20),
    st.tuples(*[st.sampled_from(POLICIES)] * 3),
    st.sampled_from(["negative", "unknown"]),
)
def test_settling_agrees_with_one_label_at_a_time(rows, chosen, blank):
    policy_of = dict(zip(NAMES, chosen, strict=True))
    labels, texts = settle(np.array(rows), policy_of, blank)
    expected = [slow_settle(row, policy_of, blank) for row in rows]
    np.testing.assert_equal(np.column_stack([labels[name] for name in NAMES]).tolist(), [one[0] for one in expected])
    assert texts.tolist() == [one[1] for one in expected]


def test_the_policies_are_those_of_the_paper():
    """Irvin et al. 2019: U-Ignore, U-Zeros, U-Ones, U-SelfTrained, U-MultiClass."""
    assert POLICIES == ("ignore", "zeros", "ones", "self_trained", "multiclass")
    assert policies("ones", NAMES) == dict.fromkeys(NAMES, "ones")
    assert policies({}, NAMES) == dict.fromkeys(NAMES, "ignore")


@pytest.fixture
def table():
    """Six images of six patients: Edema open on three of them, Fracture on one, and an Edema that is unknown."""
    frame = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "path": "",
            "patient_id": list("123456"),
            "Edema": [1.0, np.nan, np.nan, 0.0, np.nan, np.nan],
            "Fracture": [0.0, 1.0, np.nan, 0.0, 1.0, 0.0],
            "icu": [True, False] * 3,
            "official_split": "",
            "uncertain": ["", "Edema", "Edema|Fracture", "", "", "Edema"],
        }
    )
    policy = (("Edema", "self_trained"), ("Fracture", "self_trained"))
    frame.attrs["source"] = TableSource("toy", uncertain_policy=policy)
    return frame


def scores(images="abcdef", finding="Edema", values=None):
    values = [0.9, 0.8, 0.3, 0.2, 0.7, 1.0][: len(images)] if values is None else values
    return pd.DataFrame(
        {"image_id": list(images), "patient_id": "x", "finding": finding, "label": np.nan, "score": values}
    )


def test_a_third_class_is_refused_for_its_findings_alone(table):
    source = dataclasses.replace(source_of(table), uncertain_policy=(("Edema", "multiclass"), ("Fracture", "ones")))
    table.attrs["source"] = source
    ways = r"head=three_way and loss.name=three_way \(.* --set head=three_way --set loss.name=three_way\)"
    with pytest.raises(ValueError, match=rf"labels of Edema .* 'multiclass', which takes .* {ways}.*'ignore'"):
        refuse_third_class(table, ["fracture", "edema"])
    refuse_third_class(table, "Fracture")


# The marks


def test_the_mask_names_each_uncertain_label(table):
    mask = uncertain_mask(table)
    assert mask.columns.tolist() == ["Edema", "Fracture"]
    assert mask["Edema"].tolist() == [False, True, True, False, False, True]
    assert mask["Fracture"].tolist() == [False, False, True, False, False, False]
    assert uncertain_mask(table, "fracture").columns.tolist() == ["Fracture"]
    assert uncertain_mask(table, ["Fracture", "Edema"]).columns.tolist() == ["Fracture", "Edema"]
    with pytest.raises(ValueError, match="unknown finding 'Mass'"):
        uncertain_mask(table, ["Mass"])


def test_the_marks_stay_with_their_images(table):
    chosen = table[table["Fracture"] == 0].iloc[::-1]
    assert uncertain_mask(chosen)["Edema"].to_dict() == {5: True, 3: False, 0: False}
    without = table.drop(columns="uncertain").head(2).assign(image_id=["x", "y"])
    joined = pd.concat([table, without], ignore_index=True)
    assert uncertain_mask(joined)["Edema"].tolist() == [False, True, True, False, False, True, False, False]
    saved = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    pd.testing.assert_frame_equal(uncertain_mask(saved), uncertain_mask(table))


def test_a_name_within_another_is_not_taken_for_it():
    table = pd.DataFrame({"Effusion": [np.nan], "Pleural Effusion": [np.nan], "uncertain": ["Pleural Effusion"]})
    assert uncertain_mask(table).iloc[0].tolist() == [False, True]


def test_a_table_without_marks_has_none(table):
    assert not uncertain_mask(table.drop(columns="uncertain")).any(axis=None)


def test_the_marks_are_no_label(table):
    assert image_table.label_columns(table) == ("Edema", "Fracture")


# The second pass


def test_filling_replaces_what_was_left_open_and_nothing_else(table):
    filled = fill_uncertain(table, scores())
    # e is unknown without having been marked; f's score of 1 is kept apart from a label that a report gave.
    np.testing.assert_allclose(filled["Edema"], [1, 0.8, 0.3, 0, np.nan, 1 - 1e-6], rtol=0, atol=1e-12)
    assert (filled["Edema"] == 1).sum() == (table["Edema"] == 1).sum()
    pd.testing.assert_frame_equal(filled.drop(columns="Edema"), table.drop(columns="Edema"))
    assert dict(source_of(filled).uncertain_policy) == {"Edema": "self_trained, filled", "Fracture": "self_trained"}
    np.testing.assert_equal(table["Edema"].tolist(), [1, np.nan, np.nan, 0, np.nan, np.nan])


def test_only_scored_images_are_filled_in_whatever_order_they_come(table):
    filled = fill_uncertain(table, scores("ba", values=[0.8, 0.9]))
    np.testing.assert_equal(filled["Edema"].tolist(), [1, 0.8, np.nan, 0, np.nan, np.nan])
    both = pd.concat([scores("c", values=[0.4]), scores("c", "fracture", [0.6])])
    assert fill_uncertain(table, both).loc[2, ["Edema", "Fracture"]].tolist() == [0.4, 0.6]


def test_a_threshold_makes_the_labels_whole(table):
    filled = fill_uncertain(table, scores(values=[0.9, 0.3, 0.29, 0.2, 0.7, 1.0]), threshold=0.3)
    np.testing.assert_equal(filled["Edema"].tolist(), [1, 1, 0, 0, np.nan, 1])


def test_a_marked_label_that_is_settled_already_stays(table):
    table.loc[1, "Edema"] = 0.0
    assert fill_uncertain(table, scores())["Edema"].tolist()[1:3] == [0.0, 0.3]


def test_the_split_can_be_kept_over_the_second_pass(table):
    more = pd.concat([table.assign(image_id=f"{n}" + table["image_id"], patient_id=str(n)) for n in range(9)])
    more.attrs = dict(table.attrs)
    splits = split_by_patient(more.reset_index(drop=True), "Edema", validation=0.3, test=0.3)
    train = splits.train
    first = scores("a", values=[0.5]).iloc[[0] * len(train)].assign(image_id=train["image_id"].tolist())
    second = dataclasses.replace(splits, table=fill_uncertain(splits.table, first))
    assert second.assignment is splits.assignment
    assert (second.train["Edema"] == 0.5).sum() == uncertain_mask(train)["Edema"].sum() > 0
    for part in ("validation", "test"):
        pd.testing.assert_series_equal(second.part(part)["Edema"], splits.part(part)["Edema"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.drop(columns="score"), r"table of scores lacks the column\(s\) score"),
        (lambda s: s.assign(score=2.0), "score"),
        (lambda s: s.assign(image_id="z").head(1), r"1 scored image\(s\) are not in the table, first 'z'"),
        (lambda s: s.assign(finding="Mass"), "unknown finding 'Mass'"),
        (
            lambda s: s[s["image_id"].isin(["a", "e"])],
            r"none of the scored images has an uncertain label of Edema.* --uncertain self_trained\)",
        ),
        (lambda s: pd.concat([s, s]), "score an image twice"),
    ],
)
def test_scores_that_do_not_fit_are_refused(table, change, message):
    with pytest.raises(ValueError, match=message):
        fill_uncertain(table, change(scores()))


def test_labels_settled_otherwise_are_not_filled(table):
    table.attrs["source"] = TableSource("toy", uncertain_policy=(("Edema", "ones"),))
    with pytest.raises(ValueError, match="Edema was loaded with uncertain='ones'; load it with 'self_trained'"):
        fill_uncertain(table, scores())
    with pytest.raises(ValueError, match=r"the table lacks the column\(s\) uncertain"):
        fill_uncertain(table.drop(columns="uncertain"), scores())


@pytest.mark.parametrize("threshold", [0, 1, "half", np.nan])
def test_a_threshold_outside_the_open_interval_is_refused(table, threshold):
    with pytest.raises(ValueError, match="threshold="):
        fill_uncertain(table, scores(), threshold=threshold)
