import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation import group_columns
from chexkeras.evaluation.group_columns import (
    GroupedColumn,
    age_bands,
    column_words,
    columns_to_measure,
    groups_of,
    overview_groups,
)


def grouped(values, column="thing"):
    table = pd.DataFrame({"image_id": [str(number) for number in range(len(values))], column: values})
    return groups_of(table, column, table["image_id"])


def test_ages_fall_into_bands_that_begin_at_their_edge():
    bands = age_bands(pd.Series([0, 17.99, 18, 21.9, 22, 39, 40, 59.5, 60, 74, 75, 104, np.nan]))
    assert list(bands[:-1]) == ["0-17", "0-17", "18-21", "18-21", "22-39", "22-39", "40-59", "40-59", "60-74", "60-74",
                                "75+", "75+"]  # fmt: skip
    assert bands.isna().sum() == 1
    assert bands.cat.ordered


def test_bands_without_an_image_stay_visible():
    assert list(grouped([50.0, 51.0], "age_years").cat.categories) == [
        "0-17",
        "18-21",
        "22-39",
        "40-59",
        "60-74",
        "75+",
    ]
    assert list(age_bands([30, 70], edges=(22, 65)).cat.categories) == ["22-64", "65+"]


@pytest.mark.parametrize("edges", [(40,), (40, 40), (40, 20)])
def test_edges_must_ascend(edges):
    with pytest.raises(ValueError, match="ascending ages"):
        age_bands([50], edges=edges)


def test_an_age_below_the_first_band_is_refused():
    with pytest.raises(ValueError, match="an age of -1 years"):
        age_bands([-1, 40])


def test_labels_become_with_and_without():
    groups = grouped([1.0, 0.0, np.nan, 1.0], "Effusion")
    assert list(groups[groups.notna()]) == ["with Effusion", "without Effusion", "with Effusion"]
    assert list(groups.cat.categories) == ["without Effusion", "with Effusion"]
    assert list(grouped([True, False], "pacemaker")) == ["with pacemaker", "without pacemaker"]


def test_measures_are_cut_at_their_quartiles():
    groups = grouped(np.arange(1.0, 101.0))
    assert list(groups.value_counts(sort=False)) == [25, 25, 25, 25]
    assert groups.cat.categories[0] == "1 to 25.75"
    tied = grouped([*([0.5] * 80), *np.arange(20.0)])
    assert tied.notna().all()


def test_few_distinct_numbers_and_texts_are_categories_in_order():
    assert list(grouped([2, 10, 2, 3]).cat.categories) == ["2", "3", "10"]
    assert list(grouped(["PA", "AP", " PA ", "", None]).dropna()) == ["PA", "AP", "PA"]
    given = pd.Categorical(["low", "high"], ["low", "high"], ordered=True)
    assert list(grouped(given).cat.categories) == ["low", "high"]


def test_images_are_found_by_id_in_any_order_and_each_once():
    table = pd.DataFrame({"view": ["PA", "AP", "LL"]}, index=["a", "b", "c"])
    assert list(groups_of(table, "view", ["c", "a"])) == ["LL", "PA"]
    with pytest.raises(ValueError, match="in the image table twice, first a"):
        groups_of(pd.concat([table, table.iloc[:1]]), "view", ["b"])


def test_usual_columns_come_first_then_those_that_the_loader_added():
    table = pd.DataFrame({"image_id": ["a"], "view": ["PA"], "hospital": ["X"], "note": ["blurred"], "site": ["1"]})
    assert columns_to_measure(table) == ("view", "site")
    assert columns_to_measure(table, ("hospital", "site")) == ("view", "site", "hospital")


def test_an_overview_names_the_groups_that_have_images():
    def names(values, column):
        return [(name, int(mask.sum())) for name, mask in overview_groups(pd.Series(values), column)]

    assert names(["F", "M", "", None, "F"], "sex") == [("female", 2), ("male", 1)]
    assert names(["AP", "PA", "AP"], "view") == [("PA view", 1), ("AP view", 2)]
    assert names([21.9, 22, 64.5, 65, np.nan], "age_years") == [
        ("younger than 22 years", 1), ("22 to 64 years", 2), ("65 years and older", 1),
    ]  # fmt: skip
    assert names(["B", "A", "B"], "manufacturer") == [("manufacturer A", 1), ("manufacturer B", 2)]
    assert names(["7"], "field_strength") == [("field strength 7", 1)]


def test_one_entry_says_how_a_column_is_called_and_grouped(monkeypatch):
    def halves(values):
        return pd.cut(values, [0, 100, np.inf], right=False, labels=["low", "high"])

    entry = GroupedColumn("dose", "dose (uGy)", {"low": "low dose", "high": "high dose"}, group=halves)
    monkeypatch.setitem(group_columns.USUAL_COLUMNS, "dose", entry)
    table = pd.DataFrame({"image_id": ["a", "b", "c"], "dose": [20.0, 150.0, 130.0]})
    assert list(groups_of(table, "dose", table["image_id"])) == ["low", "high", "high"]
    assert [name for name, _ in overview_groups(table["dose"], "dose")] == ["low dose", "high dose"]
    assert column_words("dose").heading == "dose (uGy)" and "dose" in columns_to_measure(table)


def test_a_value_that_fills_a_quarter_is_a_group_of_its_own():
    doses = grouped(np.r_[np.zeros(80), np.arange(1.0, 21.0)])
    assert doses.value_counts(sort=False).to_dict() == {"0": 80, "1 to 20": 20}
    halves = grouped(np.r_[np.zeros(50), np.arange(1.0, 51.0)])
    assert halves.value_counts(sort=False).to_dict() == {"0": 50, "1 to 25.5": 25, "25.5 to 50": 25}
    middle = grouped(np.r_[np.full(60, 5.0), np.arange(20) / 10, np.arange(6.0, 26.0)])
    assert middle.value_counts(sort=False).to_dict() == {"0 to 1.9": 20, "5": 60, "6 to 25": 20}
    assert middle.cat.ordered
    one_more = grouped([*([0.0] * 95), 1, 2, 3, 4, 5, 6, np.nan])
    assert one_more.value_counts(sort=False).to_dict() == {"0": 95, "1 to 6": 6} and one_more.isna().sum() == 1


def test_bands_of_close_numbers_keep_different_names():
    assert list(grouped([1, 1 + 1e-9, 1 + 2e-9]).cat.categories) == ["1", "1.000000001", "1.000000002"]
    assert grouped(1 + np.arange(100) * 1e-9).value_counts(sort=False).tolist() == [25] * 4


@pytest.mark.parametrize("column", ["dose", "age_years"])
def test_an_infinite_measure_is_refused_in_words(column):
    values = np.where(np.arange(100) == 3, np.inf, np.arange(100.0))
    with pytest.raises(ValueError, match="is infinite for 1 of 100 images, which belongs to no group; correct it"):
        grouped(values, column)
    with pytest.raises(ValueError, match="infinite"):
        overview_groups(pd.Series(values), column)
    with pytest.raises(ValueError, match="ages must be a list, each a number"):
        age_bands(["58Y"])


def test_one_number_in_two_types_is_one_group():
    assert list(grouped([1, 1.0, "1", "a"]).cat.categories) == ["1", "a"]
    assert list(grouped(pd.Series([0, 1.0, None], dtype=object), "Edema").cat.categories) == [
        "without Edema",
        "with Edema",
    ]
    assert len(grouped(pd.Series([*range(20), None], dtype=object)).cat.categories) == 4
    assert list(grouped(pd.Categorical(["high", "low ", "low"], ["low", "low ", "high"])).cat.categories) == [
        "low",
        "high",
    ]


def test_images_are_found_however_their_ids_are_written():
    table = pd.DataFrame({"image_id": [1.0, 2.0, 3.0], "view": ["PA", "AP", "LL"]})
    assert list(groups_of(table, "view", ["3", " 1"])) == ["LL", "PA"]
