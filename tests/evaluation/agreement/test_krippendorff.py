"""Krippendorff's alpha: his published example, its definition pair by pair, and what it must not depend on."""

import itertools

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.agreement.krippendorff import LEVELS, krippendorff_alpha


def published():
    # Krippendorff 2011, section D: four observers, twelve units; "." is missing.
    rows = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    return pd.DataFrame([[np.nan if cell == "." else float(cell) for cell in row] for row in rows]).T


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_four_observers_as_published(level, alpha):
    found = krippendorff_alpha(published(), level=level)
    assert found.value == pytest.approx(alpha, abs=5e-4)
    assert "40 ratings of 11 images; 1 images with fewer than two ratings left out" in found.method
    assert found.low < alpha < found.high < 1


def slow_alpha(table, level):
    """All pairs of ratings within images against all pairs of the whole table."""
    units = [[v for v in row if not np.isnan(v)] for row in table.to_numpy()]
    units = [unit for unit in units if len(unit) > 1]
    ratings = [v for unit in units for v in unit]

    def apart(a, b):
        if level == "ordinal":
            low, high = sorted((a, b))
            between = sum(low <= v <= high for v in ratings) - (ratings.count(a) + ratings.count(b)) / 2
            return 0.0 if a == b else between**2
        if level == "ratio":
            return ((a - b) / (a + b)) ** 2 if a + b else 0.0
        return (a - b) ** 2 if level == "interval" else float(a != b)

    within = sum(apart(a, b) / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit, 2))
    between = sum(apart(a, b) for a, b in itertools.permutations(ratings, 2)) / (len(ratings) - 1)
    return 1 - within / between


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_is_what_all_pairs_add_up_to(level):
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 7, 25)
    table = pd.DataFrame({f"r{k}": np.clip(truth + rng.integers(-2, 3, 25), 0, 6) for k in range(5)}, dtype=float)
    table = table.mask(rng.random(table.shape) < 0.4)
    table.iloc[0, 1:] = np.nan
    assert krippendorff_alpha(table, level=level).value == pytest.approx(slow_alpha(table, level))


def test_alpha_ignores_what_its_level_does_not_know():
    table = published()
    for level, change in (("ordinal", np.exp), ("interval", lambda v: 7 - 3 * v), ("ratio", lambda v: 2.5 * v)):
        changed, plain = (krippendorff_alpha(each, level=level) for each in (change(table), table))
        assert (changed.value, changed.low, changed.high) == pytest.approx((plain.value, plain.low, plain.high))
    words = table.replace({1: "e", 2: "b", 3: "d", 4: "a", 5: "c"}).astype(object).where(table.notna())
    named = krippendorff_alpha(words, level="nominal", categories=tuple("abcde"))
    assert named.value == krippendorff_alpha(table, level="nominal").value
    shuffled = table.sample(frac=1, random_state=0)[[2, 0, 3, 1]]
    assert krippendorff_alpha(shuffled, level="ordinal").value == pytest.approx(
        krippendorff_alpha(table, level="ordinal").value
    )


@pytest.mark.parametrize("level", LEVELS)
def test_perfect_and_opposite_ratings_keep_some_doubt(level):
    agreed = pd.DataFrame({"A": [1, 2, 3, 4] * 4, "B": [1, 2, 3, 4] * 4})
    found = krippendorff_alpha(agreed, level=level)
    assert (found.value, found.high) == (1, 1) and found.low < 0.8
    opposite = krippendorff_alpha(pd.DataFrame({"A": [1, 2] * 10, "B": [2, 1] * 10}), level=level)
    assert opposite.value == pytest.approx(-0.95)
    assert opposite.low == opposite.value and opposite.high > -0.7


def test_patients_make_the_interval_wider():
    rng = np.random.default_rng(5)
    truth = np.repeat(rng.normal(50, 20, 40), 5)
    shared = np.repeat(rng.normal(0, 12, (40, 3)), 5, axis=0)
    table = pd.DataFrame(np.clip(truth[:, None] + shared + rng.normal(0, 3, (200, 3)), 0, 100).round())
    alone = krippendorff_alpha(table, level="interval")
    owned = krippendorff_alpha(table, level="interval", patients={image: image // 5 for image in range(200)})
    assert owned.value == alone.value
    assert owned.high - owned.low > 1.7 * (alone.high - alone.low)


@pytest.mark.parametrize(
    ("ratings", "options", "message"),
    [
        ({"A": [1, 2], "B": [1, 2]}, {"level": "metric"}, "level='metric'"),
        ({"A": [-1, 2], "B": [1, 2]}, {"level": "ratio"}, "needs numbers from 0 on; the smallest is -1"),
        ({"A": ["a"], "B": ["b"]}, {"level": "interval", "categories": ("a", "b")}, "the categories are texts"),
        ({"A": np.arange(2001.0), "B": np.arange(2001.0)}, {"level": "ratio"}, "2,001 different ones .* round"),
    ],
)
def test_ratings_that_do_not_fit_the_level_are_refused(ratings, options, message):
    with pytest.raises(ValueError, match=message):
        krippendorff_alpha(pd.DataFrame(ratings), **options)


def test_alpha_is_undefined_without_pairs_or_differences():
    lone = pd.DataFrame({"A": [1, None], "B": [None, 2]})
    assert krippendorff_alpha(lone, level="nominal").reason == "no image has two ratings"
    same = pd.DataFrame({"A": [3, 3], "B": [3, 3]})
    assert krippendorff_alpha(same, level="ordinal").reason == "all ratings are 3; alpha is undefined"
