"""Differences of paired proportions: against published tables, brute-force likelihoods, and slow sums by patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from chexkeras.evaluation.comparison.paired_tests import mcnemar, paired_proportions

quick = settings(derandomize=True, deadline=None, max_examples=60)


def test_airway_hyper_responsiveness_as_published():
    # Bentur et al. 2009 as worked by Fagerland, Lydersen & Laake, Statistics in Medicine 33, 2014 (interval) and BMC
    # Medical Research Methodology 13:91, 2013 (exact conditional p 0.0703): table 1, 1, 7, 12.
    difference, p_value = mcnemar(1, 7, 21)
    assert (difference.low, difference.high) == (pytest.approx(-0.517, abs=5e-4), pytest.approx(-0.026, abs=5e-4))
    assert p_value == pytest.approx(0.0703, abs=5e-5)


def slow_score_statistic(first_only, second_only, n, delta):
    """Squared score statistic with the nuisance share found by maximising the likelihood numerically."""

    def minus_log_likelihood(share):
        shares = np.array([share + delta, share, 1 - 2 * share - delta])
        counts = np.array([first_only, second_only, n - first_only - second_only])
        return -float(np.sum(counts[counts > 0] * np.log(np.maximum(shares[counts > 0], 1e-300))))

    found = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(max(0, -delta), (1 - delta) / 2), method="bounded", options={"xatol": 1e-12}
    )
    return (first_only - second_only - n * delta) ** 2 / (n * (2 * found.x + delta * (1 - delta)))


@pytest.mark.parametrize(("first_only", "second_only", "n"), [(12, 2, 50), (40, 20, 160), (3, 0, 30), (1, 7, 21)])
def test_the_interval_ends_where_the_score_test_just_rejects(first_only, second_only, n):
    difference, _ = mcnemar(first_only, second_only, n)
    for limit in (difference.low, difference.high):
        assert slow_score_statistic(first_only, second_only, n, limit) == pytest.approx(
            stats.norm.ppf(0.975) ** 2, rel=1e-3
        )


def test_without_discordant_images_the_interval_still_has_width():
    difference, p_value = mcnemar(0, 0, 20)
    z2 = stats.norm.ppf(0.975) ** 2
    assert (difference.value, p_value) == (0, 1)
    assert (-difference.low, difference.high) == (pytest.approx(z2 / (20 + z2)), pytest.approx(z2 / (20 + z2)))


@quick
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_a_significant_exact_test_always_comes_with_an_interval_without_zero(first_only, second_only, rest, level):
    n = max(1, first_only + second_only + rest)
    difference, p_value = mcnemar(first_only, second_only, n, confidence=level)
    mirrored, same = mcnemar(second_only, first_only, n, confidence=level)
    assert -1 <= difference.low <= difference.value <= difference.high <= 1
    assert (mirrored.low, mirrored.high, same) == (
        pytest.approx(-difference.high, abs=1e-8), pytest.approx(-difference.low, abs=1e-8), p_value
    )  # fmt: skip
    table = [[0, first_only], [second_only, 0]]
    assert p_value == pytest.approx(min(1.0, statsmodels_mcnemar(table, exact=True).pvalue))
    if p_value < 1 - level:
        assert difference.low > 0 or difference.high < 0


@st.composite
def clustered(draw):
    patients = draw(st.integers(3, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    owners = np.concatenate([np.arange(patients), np.arange(patients), rng.integers(0, patients, 8)])
    return rng.random(len(owners)) < 0.7, rng.random(len(owners)) < 0.5, owners


def slow_obuchowski(first, second, owners, delta):
    """Obuchowski's squared statistic for a stated difference, summed patient by patient."""
    names = sorted(set(owners))
    total, squares = 0.0, 0.0
    for name in names:
        gained = sum(float(a) - float(b) - delta for a, b, o in zip(first, second, owners, strict=True) if o == name)
        total += gained
        squares += gained**2
    return total**2 / (len(names) / (len(names) - 1) * squares)


@quick
@given(clustered())
def test_several_images_of_a_patient_are_added_up_before_they_are_squared(case):
    first, second, owners = case
    difference, p_value = paired_proportions(first, second, clusters=owners)
    assert difference.value == pytest.approx(first.mean() - second.mean())
    if "do not differ" in difference.method:
        return
    assert p_value == pytest.approx(stats.chi2.sf(slow_obuchowski(first, second, owners, 0), 1))
    for limit in (difference.low, difference.high):
        if abs(limit) < 1:
            assert slow_obuchowski(first, second, owners, limit) == pytest.approx(stats.norm.ppf(0.975) ** 2)
    assert (p_value < 0.05) == (difference.low > 0 or difference.high < 0)


def test_repeating_every_image_of_a_patient_adds_no_information():
    rng = np.random.default_rng(3)
    first, second, owners = rng.random(60) < 0.8, rng.random(60) < 0.6, rng.integers(0, 25, 60)
    once, p_once = paired_proportions(first, second, clusters=owners)
    twice, p_twice = paired_proportions(np.tile(first, 2), np.tile(second, 2), clusters=np.tile(owners, 2))
    assert (twice.low, twice.high, p_twice) == pytest.approx((once.low, once.high, p_once))


def test_one_image_for_each_patient_is_counted_exactly():
    first, second = [1, 1, 1, 0, 1, 0], [1, 0, 0, 1, 0, 0]
    assert paired_proportions(first, second, clusters=list("abcdef")) == mcnemar(3, 1, 6)


@pytest.mark.parametrize(("first", "second"), [([1, 1, 0, 0, 1], [1, 1, 0, 0, 1]), ([1, 0, 0, 1, 1], [0, 1, 1, 0, 1])])
def test_patients_who_gain_nothing_give_a_difference_of_zero_with_width(first, second):
    difference, p_value = paired_proportions(first, second, clusters=list("aabbc"))
    on_patients, _ = mcnemar(0, 0, 3)
    assert (difference.value, p_value) == (0, 1)
    assert (difference.low, difference.high) == (on_patients.low, on_patients.high)


def test_patients_who_all_gain_alike_still_leave_doubt():
    difference, _ = paired_proportions(np.ones(12), np.zeros(12), clusters=np.repeat(np.arange(6), 2))
    assert (difference.value, difference.high) == (1, 1)
    assert difference.low == pytest.approx(mcnemar(6, 0, 6)[0].low)


def test_what_cannot_be_compared_says_why():
    assert paired_proportions([], [])[0].reason == "no images to compare on"
    assert paired_proportions([1, 0], [0, 0], clusters=["a", "a"])[0].reason == "all 2 images come from one patient"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 2, 2), "n counts all images"),
        ((-1, 2, 5), "first_only=-1 must be a whole number"),
        ((1, 2.0, 5), "second_only=2.0 must be a whole number"),
    ],
)
def test_impossible_counts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mcnemar(*arguments)


def test_outcomes_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="one outcome for each image"):
        paired_proportions([1, 0], [1])
    with pytest.raises(ValueError, match="must be 0/1"):
        paired_proportions([1, 0.5], [1, 0])
