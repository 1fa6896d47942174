"""The order of a worklist: who stands where, that nobody is left out, and that chance has no part in it."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexkeras.delivery.worklist.order import (
    GROUPS,
    NOT_ASSESSED,
    UNLIKE_TRAINING,
    margin,
    reading_order,
)
from tests.delivery.worklist.conftest import told


def test_films_stand_by_group_and_then_by_their_leading_score():
    records = [
        told("low", 0.05, 0.1), told("refused"), told("unlike low", 0.1, 0.1, novelty=2.0),
        told("just positive", 0.33, 0.1), told("nearly", 0.3, 0.1), told("unlike high", 0.9, 0.1, novelty=2.0),
        told("mass", 0.1, 0.8),
    ]  # fmt: skip
    found = reading_order(records)
    assert [(entry.rank, entry.file, entry.group) for entry in found] == [
        (1, "unlike high", "positive"), (2, "mass", "positive"), (3, "just positive", "positive"),
        (4, "refused", NOT_ASSESSED), (5, "unlike low", UNLIKE_TRAINING), (6, "nearly", "negative"),
        (7, "low", "negative"),
    ]  # fmt: skip
    assert found[0].unlike and found[1].leading.finding == "Mass" and math.isnan(found[3].margin)


def test_a_score_that_the_run_leaves_open_stands_between_positive_and_refused():
    record = told("open", 0.3, 0.1)
    record["findings"][0]["decision"] = "uncertain"
    found = reading_order([told("refused"), record, told("high", 0.4)])
    assert [entry.group for entry in found] == ["positive", "uncertain", NOT_ASSESSED]


def test_of_equal_scores_the_film_with_more_findings_comes_first_and_then_the_name_decides():
    records = [told("c", 0.9, 0.1), told("b", 0.9, 0.1), told("a", 0.1, 0.95), told("more", 0.9, 0.9)]
    records[2] = told("a", 0.9, 0.2)
    orders = {tuple(entry.file for entry in reading_order(each)) for each in itertools.permutations(records)}
    # "more" has two findings, and of the second the margin is 0.8, less than that of the first.
    assert orders == {("more", "a", "b", "c")}
    assert reading_order([told("more", 0.9, 0.9)])[0].others == ("Mass",)


def test_no_finding_speaks_against_suspicion():
    def normal(file, score):
        record = told(file, score, threshold=0.5)
        record["findings"][0]["finding"] = "No Finding"
        return record

    found = reading_order([normal("normal", 0.9), normal("not normal", 0.2)])
    assert [(entry.file, entry.group) for entry in found] == [("not normal", "positive"), ("normal", "negative")]
    assert found[0].margin == pytest.approx(0.6) and found[1].margin == pytest.approx(-0.8)


def test_a_refused_film_keeps_its_reason_and_one_unlike_training_is_told_by_its_code_too():
    marked = told("x", 0.1, code="unlike_training", verdict="warn", novelty=math.nan)
    refused, unlike = reading_order([marked, told("y")])
    assert refused.result.reasons == ("modality: expected DX or CR; found CT",)
    assert unlike.group == UNLIKE_TRAINING and "unlike_training" in unlike.result.warnings[0]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_margin_rises_with_the_score_and_changes_sign_at_the_threshold(one, other, threshold):
    low, high = sorted((one, other))
    assert -1 <= margin("Mass", low, threshold) <= margin("Mass", high, threshold) <= 1
    assert (margin("Mass", one, threshold) >= 0) == (one >= threshold) or threshold in (0, 1) or one == threshold


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.1, 2.0]), st.booleans()), min_size=1))
def test_every_film_is_there_once_with_ranks_from_1(films):
    records = [
        told(f"{at}", *(() if refused else (one, two)), novelty=novelty)
        for at, (one, two, novelty, refused) in enumerate(films)
    ]
    found = reading_order(records)
    assert [entry.rank for entry in found] == list(range(1, len(films) + 1))
    assert sorted(entry.file for entry in found) == sorted(record["file"] for record in records)
    places = [list(GROUPS).index(entry.group) for entry in found]
    assert places == sorted(places)
    for first, second in itertools.pairwise(found):
        if first.group == second.group and first.leading:
            assert first.margin >= second.margin
