"""The consensus of readers, and each against the others: counted by hand and in other ways."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.agreement.consensus import ReaderPerformance, majority, readers_against_others
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from tests.evaluation.rated_images import rated


def test_the_majority_counted_by_hand():
    table = pd.DataFrame(
        {"image_id": list("abcd"), "A": [1, 0, 1, None], "B": [1, 0, 0, None], "C": [0, 1, None, None]}
    )
    consensus = majority(table)
    assert consensus["a"] == 1
    assert consensus["b"] == 0
    assert consensus[["c", "d"]].isna().all()


def test_each_reader_is_held_against_the_majority_of_the_others():
    table, _ = rated(300)
    made = readers_against_others(table)
    assert [entry.reader for entry in made] == list(table.columns)
    for entry in made:
        others = table.drop(columns=entry.reader).sum(axis=1)
        positive = others >= 2
        assert entry.sensitivity.value == pytest.approx(table.loc[positive, entry.reader].mean())
        assert entry.specificity.value == pytest.approx(1 - table.loc[~positive, entry.reader].mean())
        assert (entry.n_images, entry.n_tied) == (300, 0)


def test_images_on_which_the_others_are_split_are_counted_and_left_out():
    table, _ = rated(100, readers=3)
    entry = readers_against_others(table)[0]
    split = table["reader 1"] != table["reader 2"]
    assert (entry.n_tied, entry.n_images) == (split.sum(), 100 - split.sum())
    agreed = table[~split & (table["reader 1"] == 1)]
    assert entry.sensitivity == clustered_proportion_interval(agreed["reader 0"] == 1, agreed.index)


def test_the_majority_of_grades_is_the_most_frequent_one():
    table = pd.DataFrame({"A": [1, 2, 5, None], "B": [1, 3, 5, None], "C": [4, 4, 3, None], "D": [None, 4, 3, None]})
    assert majority(table, categories=range(1, 6)).tolist()[:2] == [1, 4]
    assert majority(table, categories=range(1, 6)).isna().tolist() == [False, False, True, True]
    words = pd.DataFrame({"A": ["no", "yes"], "B": ["no", None], "C": ["yes", None]}, index=["x", "y"])
    assert majority(words, categories=("no", "yes")).tolist() == ["no", "yes"]


def test_each_reader_of_grades_is_held_against_the_most_frequent_grade_of_the_others():
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 4, 200)
    table = pd.DataFrame({f"r{k}": np.where(rng.random(200) < 0.7, truth, rng.integers(1, 4, 200)) for k in range(4)})
    patients = {number: number // 2 for number in range(200)}
    for entry in readers_against_others(table, categories=(1, 2, 3), patients=patients):
        right, rows, tied = {1: [], 2: [], 3: []}, {1: [], 2: [], 3: []}, 0
        for image in range(200):
            others = table.drop(columns=entry.reader).loc[image].tolist()
            best = [grade for grade in (1, 2, 3) if others.count(grade) == max(map(others.count, others))]
            if len(best) == 1:
                right[best[0]].append(table.loc[image, entry.reader] == best[0])
                rows[best[0]].append(image // 2)
            else:
                tied += 1
        assert entry.n_tied == tied and entry.n_images == 200 - tied
        assert [each.category for each in entry.by_category] == ["1", "2", "3"]
        for grade, each in zip((1, 2, 3), entry.by_category, strict=True):
            assert each.agreement.value == pytest.approx(np.mean(right[grade]))
            expected = clustered_proportion_interval(right[grade], rows[grade])
            assert (each.agreement.low, each.agreement.high) == pytest.approx((expected.low, expected.high))
        assert entry.agreement.value == pytest.approx(np.mean(np.concatenate(list(right.values()))))
        assert entry.sensitivity.reason == "ratings of several categories, see by_category"
        assert ReaderPerformance.from_dict(entry.to_dict()).by_category == entry.by_category


def test_of_calls_the_categories_are_sensitivity_and_specificity():
    entry = readers_against_others(rated(60)[0])[0]
    assert [each.category for each in entry.by_category] == ["negative", "positive"]
    assert [each.agreement for each in entry.by_category] == [entry.specificity, entry.sensitivity]
    alone = readers_against_others(pd.DataFrame({"A": [0, 1], "B": [0, 0], "C": [0, 0]}))[0]
    assert alone.sensitivity.reason == "the other readers agree on no positive"
