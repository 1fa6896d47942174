"""Differences of paired proportions: against published tables, brute-force likelihoods, and slow sums by patient."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from chexkeras.evaluation.comparison.paired_tests import _Signs, _tango, mcnemar, paired_proportions
from chexkeras.evaluation.uncertainty.limits import clopper_pearson

quick = settings(derandomize=True, deadline=None, max_examples=60)


def test_airway_hyper_responsiveness_as_published():
    # Bentur et al. 2009 as worked by Fagerland, Lydersen & Laake, Statistics in Medicine 33, 2014 (interval) and BMC
    # Medical Research Methodology 13:91, 2013 (exact conditional p 0.0703): table 1, 1, 7, 12.
    assert _tango(1, 7, 21, 0.95) == (pytest.approx(-0.517, abs=5e-4), pytest.approx(-0.026, abs=5e-4))
    difference, p_value = mcnemar(1, 7, 21)
    assert p_value == pytest.approx(0.0703, abs=5e-5)
    # The two disagree on 0. So beside it stands Clopper and Pearson's limit of 7 in 8, (0.4735, 0.9968).
    assert difference.low == pytest.approx(-0.517, abs=5e-4)
    assert difference.high == pytest.approx(8 / 21 * (1 - 2 * 0.4735), abs=5e-5)


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
    for limit in _tango(first_only, second_only, n, 0.95):
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
def test_the_interval_excludes_zero_exactly_where_the_exact_test_is_significant(first_only, second_only, rest, level):
    n = max(1, first_only + second_only + rest)
    difference, p_value = mcnemar(first_only, second_only, n, confidence=level)
    mirrored, same = mcnemar(second_only, first_only, n, confidence=level)
    assert -1 <= difference.low <= difference.value <= difference.high <= 1
    assert (mirrored.low, mirrored.high, same) == (
        pytest.approx(-difference.high, abs=1e-8), pytest.approx(-difference.low, abs=1e-8), p_value
    )  # fmt: skip
    table = [[0, first_only], [second_only, 0]]
    assert p_value == pytest.approx(min(1.0, statsmodels_mcnemar(table, exact=True).pvalue))
    assert (p_value < 1 - level) == (difference.low > 0 or difference.high < 0)


@st.composite
def clustered(draw):
    patients = draw(st.integers(3, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    owners = np.concatenate([np.arange(patients), np.arange(patients), rng.integers(0, patients, 8)])
    return rng.random(len(owners)) < 0.7, rng.random(len(owners)) < 0.5, owners


def slow_signs(first, second, owners):
    """The two-sided p-value by going through every way in which the patients' net differences could point."""
    gained = [sum(float(a) - float(b) for a, b, o in zip(first, second, owners, strict=True) if o == name)
              for name in sorted(set(owners))]  # fmt: skip
    sums = [abs(sum(sign * each for sign, each in zip(signs, gained, strict=True)))
            for signs in itertools.product((-1, 1), repeat=len(gained))]  # fmt: skip
    return float(np.mean(np.array(sums) >= abs(sum(gained))))


def slow_clustered_score(first, second, owners, delta):
    """Tango's statistic over the design effect: patients' squared sums over those of as many single images."""
    of_patients = ahead = behind = 0.0
    for name in sorted(set(owners)):
        rows = [float(a) - float(b) for a, b, o in zip(first, second, owners, strict=True) if o == name]
        of_patients += sum(each - delta for each in rows) ** 2
        ahead, behind = ahead + max(sum(rows), 0), behind + max(-sum(rows), 0)
    n = len(owners)
    of_images = ahead * (1 - delta) ** 2 + behind * (1 + delta) ** 2 + (n - ahead - behind) * delta**2
    return slow_score_statistic(ahead, behind, n, delta) / (of_patients / of_images)


@quick
@given(clustered())
def test_several_images_of_a_patient_are_added_up_and_patients_signs_are_tried_out(case):
    first, second, owners = case
    difference, p_value = paired_proportions(first, second, clusters=owners)
    assert difference.value == pytest.approx(first.mean() - second.mean())
    assert difference.low <= difference.value <= difference.high
    assert p_value == pytest.approx(slow_signs(first, second, owners))
    assert (p_value < 0.05) == (difference.low > 0 or difference.high < 0)
    if "do not differ" in difference.method or "beside 0" in difference.method:
        return
    for limit in (difference.low, difference.high):
        if abs(limit) < 1:
            found = slow_clustered_score(first, second, owners, limit)
            assert found == pytest.approx(stats.norm.ppf(0.975) ** 2, rel=1e-2)


def test_a_second_image_of_one_patient_moves_neither_the_test_nor_the_interval():
    first, second = np.ones(100), np.r_[np.zeros(4), np.ones(96)]
    alone, p_alone = paired_proportions(first, second, clusters=np.arange(100))
    assert (p_alone, alone.low) == (0.125, pytest.approx(0.04 * (2 * 0.3976 - 1), abs=5e-6))
    more, p_more = paired_proportions(np.append(first, 1), np.append(second, 1), clusters=[*range(100), 99])
    assert p_more == 0.125
    assert (more.low, more.high) == pytest.approx((alone.low, alone.high), abs=1e-3)


def test_limits_beside_zero_are_clopper_and_pearsons_where_patients_count_one_each():
    signs = _Signs.of(np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 7))
    low, high = clopper_pearson(9, 11, 0.95)
    assert signs.share_limits(0.95) == pytest.approx((low, high), abs=1e-9)
    assert signs.p_value() == pytest.approx(stats.binomtest(9, 11).pvalue)


def test_many_patients_signs_are_tried_out_as_exactly_as_few():
    rng = np.random.default_rng(5)
    gained = rng.integers(-6, 8, 30_000).astype(float)
    sizes, total = np.abs(gained), gained.sum()
    normal = 2 * stats.norm.sf((abs(total) - 1) / np.sqrt(sizes @ sizes))
    assert _Signs.of(gained).p_value() == pytest.approx(normal, rel=1e-2, abs=1e-12)
    assert _Signs.of(gained[:5000] - 0).tails(0.5)[1] == pytest.approx(
        1 - _Signs.of(-gained[:5000]).tails(0.5)[1], abs=0.02
    )


def test_where_test_and_score_interval_disagree_the_limit_beside_zero_is_the_tests():
    # Six patients, all for the first: p is 2 / 64. Their unequal numbers make the score statistic 63^2 / 1365 < 3.84.
    gained = np.array([1, 2, 4, 8, 16, 32])
    owners = np.concatenate([np.repeat(np.arange(6), gained), np.arange(6, 200)])
    first = np.ones(len(owners))
    second = (owners >= 6).astype(float)
    difference, p_value = paired_proportions(first, second, clusters=owners)
    assert p_value == pytest.approx(2 / 64)
    assert 0 < difference.low < 63 / len(owners) * (2 * _Signs.of(gained * 1.0).share_limits(0.95)[0] - 1)
    mirrored, _ = paired_proportions(second, first, clusters=owners)
    assert (mirrored.low, mirrored.high) == pytest.approx((-difference.high, -difference.low))
    assert "beside 0 by the exact test; 257 images of 200 patients, 6 of them" in difference.method


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
    # Two, two and one image are worth 25 / 9 patients; without discordant ones the limits are z^2 / (n + z^2).
    z2 = stats.norm.ppf(0.975) ** 2
    assert (difference.value, p_value) == (0, 1)
    assert (-difference.low, difference.high) == pytest.approx((z2 / (25 / 9 + z2),) * 2)
    assert difference.method.endswith("interval approximate: worth 3 patients")


def test_patients_who_all_gain_alike_still_leave_doubt():
    difference, _ = paired_proportions(np.ones(12), np.zeros(12), clusters=np.repeat(np.arange(6), 2))
    assert (difference.value, difference.high) == (1, 1)
    assert difference.low == pytest.approx(mcnemar(6, 0, 6)[0].low)


def test_the_test_holds_its_level_and_the_interval_its_coverage_with_several_images_of_a_patient():
    rng = np.random.default_rng(7)
    missed = rejected = 0
    for _ in range(300):
        owners = np.repeat(np.arange(31), rng.integers(1, 6, 31))
        patient, image = (rng.choice([1, 0, -1], size, p=[0.2, 0.6, 0.2]) for size in (31, len(owners)))
        gained = np.where(rng.random(len(owners)) < 0.7, patient[owners], image)
        difference, p_value = paired_proportions(gained == 1, gained == -1, clusters=owners)
        missed += not difference.low <= 0 <= difference.high
        rejected += p_value < 0.05
    assert missed == rejected <= 0.06 * 300


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
