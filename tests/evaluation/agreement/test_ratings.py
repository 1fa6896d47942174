"""Tables of ratings: what is accepted, in calls, grades and numbers, and what is refused in words."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.agreement.consensus import majority
from chexkeras.evaluation.agreement.kappa import fleiss_kappa
from chexkeras.evaluation.agreement.ratings import check_ratings
from tests.evaluation.rated_images import rated


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table * 2, r"found 2 in \d+ place"),
        (lambda table: table.iloc[:0], "no image"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "rated in two rows, first image 0000"),
        (lambda table: table.astype(object).replace(1.0, "yes"), "not numeric"),
    ],
)
def test_ratings_that_are_not_calls_are_refused(spoil, message):
    with pytest.raises(ValueError, match=message):
        fleiss_kappa(spoil(rated(20)[0]))


def test_a_rated_image_without_a_patient_is_refused():
    table, _ = rated(20)
    with pytest.raises(ValueError, match="19 of 20 rated images have no patient, first image 0001"):
        fleiss_kappa(table, patients={"image 0000": "a"})
    with pytest.raises(TypeError, match="ratings must be a table"):
        majority(table.to_numpy())


def test_images_readers_and_patients_are_known_however_they_are_written():
    table, _ = rated(20)
    plain = table.set_axis([str(number) for number in range(20)])
    patients = {str(number): str(number // 2) for number in range(20)}
    expected = fleiss_kappa(plain, patients=patients)
    written = table.set_axis([number if number % 2 else float(number) for number in range(20)])
    mixed = {float(number): (f"{number // 2} " if number % 2 else number // 2) for number in range(20)}
    assert fleiss_kappa(written, patients=mixed) == expected
    with pytest.raises(ValueError, match="rated in two rows, first 1"):
        majority(plain.set_axis(["1", "1 ", *plain.index[2:]]))
    with pytest.raises(ValueError, match=r"1 row.s. of the ratings have no image id"):
        majority(plain.set_axis([" ", *plain.index[1:]]))
    with pytest.raises(ValueError, match="have two columns, first A"):
        majority(plain.set_axis(["A", "A ", *plain.columns[2:]], axis=1))
    twice = pd.Series(["p", "q"], index=["0", "0"])
    with pytest.raises(ValueError, match=r"1 image.s. belong to two patients, first 0"):
        fleiss_kappa(plain, patients=twice)


def test_five_points_a_hundred_points_and_words_are_accepted_as_such():
    points = pd.DataFrame({"A": [1, 5, None], "B": [2, 4, 3]}, index=["x", "y", "z"])
    assert check_ratings(points, categories=(1, 2, 3, 4, 5)).loc["y"].tolist() == [5, 4]
    assert check_ratings(points, categories=range(1, 6)).isna().to_numpy().sum() == 1
    positions = pd.DataFrame({"A": [0, 100, 37], "B": [2, 41.5, 3]})
    assert check_ratings(positions, categories=None)["B"].tolist() == [2, 41.5, 3]
    with pytest.raises(ValueError, match=r"100, 99, .*\.\.\. or NaN \(not rated\); found 41\.5 in 1 place"):
        check_ratings(positions, categories=range(101))
    words = pd.DataFrame({"A": ["no", "yes", None], "B": ["yes", "yes", "no"]})
    assert check_ratings(words, categories=("no", "yes"))["A"].tolist()[:2] == [0, 1]


@pytest.mark.parametrize(
    ("ratings", "categories", "message"),
    [
        ([[1, 3], [2, 1]], (0, 1), r"ratings must be 1, 0 or NaN .* found 3 in 2 place\(s\)\. To go on, make calls of"),
        ([["a", "b"], ["b", "c"]], ("a", "b"), "must be one of 'a', 'b' or missing .* found 'c', 1 such"),
        ([["a", "b"], ["b", "c"]], (0, 1), "not numeric"),
        ([[1, 3], [2, np.inf]], None, r"1 rating\(s\) are infinite"),
        ([[1, 3], [2, 1]], (1,), "at least two different values"),
        ([[1, 3], [2, 1]], (1, 1, 3), "at least two different values"),
        ([[1, 3], [2, 1]], (1, "3"), "all of them numbers or all of them texts"),
        ([[1, 3], [2, 1]], (1, np.nan), "must be finite numbers"),
        ([[1, 3], [2, 1]], "abc", "at least two different values"),
    ],
)
def test_ratings_outside_their_categories_are_refused_in_words(ratings, categories, message):
    with pytest.raises(ValueError, match=message):
        check_ratings(pd.DataFrame(ratings), categories=categories)


def test_a_function_that_takes_grades_says_how():
    grades = pd.DataFrame({"A": [1, 2, 5], "B": [1, 3, 4], "C": [2, 2, 2]})
    with pytest.raises(ValueError, match=r"name the categories, for example .* 4, 5\), or make calls"):
        fleiss_kappa(grades)
    # What the message says to do with what was not rated.
    partly = grades.astype(float).mask(grades == 5)
    assert (partly >= 4).where(partly.notna()).to_numpy().tolist()[2][1:] == [1.0, 0.0]
    assert majority((partly >= 4).where(partly.notna())).isna().tolist() == [False, False, True]
