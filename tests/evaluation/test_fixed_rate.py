"""One rate where the other is fixed: the threshold by hand, ranks by the binomial distribution, coverage."""

import json
import math

import numpy as np
import pytest
from scipy import special, stats

from chexkeras.evaluation import sensitivity_at_specificity, specificity_at_sensitivity
from chexkeras.evaluation.fixed_rate import _ranks, combined_side, shares_at_ranks
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.results import RateAtTarget

LABELS = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
SCORES = [10, 8, 6, 3, 9, 7, 5, 4, 2, 1]


def test_the_threshold_is_the_lowest_with_the_specificity_asked_for():
    # From the top: + - + - + - - + - -.
    for target, threshold, reached, rate in ((0.8, 8, 5 / 6, 2 / 4), (5 / 6, 8, 5 / 6, 2 / 4), (0.6, 6, 4 / 6, 3 / 4),
                                             (0.99, 10, 1.0, 1 / 4)):  # fmt: skip
        found = sensitivity_at_specificity(LABELS, SCORES, target)
        assert (found.threshold, found.reached, found.rate.value) == (threshold, pytest.approx(reached), rate)
        called = np.array(SCORES) >= found.threshold
        assert found.rate.value == called[:4].mean()
        assert found.reached == pytest.approx(1 - called[4:].mean())


def test_the_threshold_is_the_highest_with_the_sensitivity_asked_for():
    for target, threshold, reached, rate in ((0.75, 6, 0.75, 4 / 6), (0.7, 6, 0.75, 4 / 6), (0.8, 3, 1.0, 2 / 6),
                                             (0.5, 8, 0.5, 5 / 6)):  # fmt: skip
        found = specificity_at_sensitivity(LABELS, SCORES, target)
        assert (found.threshold, found.reached, found.rate.value) == (threshold, reached, pytest.approx(rate))
        called = np.array(SCORES) >= found.threshold
        assert (found.statistic, found.at, found.target) == ("specificity", "sensitivity", target)
        assert found.rate.value == pytest.approx(1 - called[4:].mean())


def test_a_published_table_gives_its_points():
    # WFNS grade (1 to 5) by outcome, 72 good and 41 poor: Turck et al., Intensive Care Medicine 36, 2010.
    good, poor = (37, 20, 3, 8, 4), (2, 12, 1, 8, 18)
    grades = np.concatenate([np.repeat(np.arange(1, 6), good), np.repeat(np.arange(1, 6), poor)])
    labels = np.repeat([0, 1], [72, 41])
    found = sensitivity_at_specificity(labels, grades, 0.9)
    assert (found.threshold, found.rate.value, found.reached) == (5, 18 / 41, pytest.approx(68 / 72))
    back = specificity_at_sensitivity(labels, grades, 0.9)
    assert (back.threshold, back.rate.value, back.reached) == (2, pytest.approx(37 / 72), pytest.approx(39 / 41))


def test_at_its_own_threshold_the_rate_has_its_usual_interval():
    rng = np.random.default_rng(0)
    owner, labels = np.repeat(np.arange(60), 3), (rng.random(180) < 0.5).astype(float)
    scores = labels + rng.normal(size=60)[owner] + rng.normal(size=180)
    found = sensitivity_at_specificity(labels, scores, 0.8, clusters=owner)
    members = labels == 1
    assert found.at_threshold == clustered_proportion_interval(scores[members] >= found.threshold, owner[members])
    assert found.rate.high - found.rate.low > found.at_threshold.high - found.at_threshold.low
    assert "effective sample sizes" in found.rate.method


@pytest.mark.parametrize(("size", "allowed"), [(20, 0.1), (200, 0.05), (31, 0.5)])
def test_ranks_are_those_of_the_binomial_distribution_at_the_middle_of_its_steps(size, allowed):
    low, high = _ranks(allowed, size, 0.95)
    counts = stats.binom(size, allowed)
    # The chance of a count above a rank, half a step counted, falls from 97.5 % at the lower to 2.5 % at the upper.
    assert counts.sf(math.floor(high + 0.5) - 1) >= 0.025 >= counts.sf(math.ceil(high + 0.5) - 1)
    if low > 0:
        assert counts.sf(math.floor(low + 0.5) - 1) >= 0.975 >= counts.sf(math.ceil(low + 0.5) - 1)
    else:
        assert counts.pmf(0) > 0.02


def test_shares_at_ranks_lie_between_those_at_the_thresholds():
    cases, others = np.array([10.0, 8, 6, 3]), np.array([9.0, 7, 5, 4, 2, 1])
    np.testing.assert_allclose(shares_at_ranks(np.array([0.5, 1.5, 1.0, 6.0]), cases, others), [0.25, 0.5, 0.375, 1.0])
    # A tie counts half.
    assert shares_at_ranks(np.array([0.5]), np.array([9.0, 1.0]), np.array([9.0]))[0] == 0.25


def test_sides_are_added_as_squares_and_cancel_where_errors_agree():
    assert combined_side(3.0, 4.0, 0.0) == 5.0
    assert combined_side(3.0, 4.0, -0.9) == 5.0
    assert combined_side(3.0, 4.0, 0.25) == pytest.approx(math.sqrt(19))
    assert combined_side(3.0, 4.0, 0.9) == 3.0


def test_with_endless_negatives_only_the_positives_count_and_the_other_way_round():
    rng = np.random.default_rng(1)
    scores = np.concatenate([1.5 + rng.normal(size=40), rng.normal(size=40_000)])
    labels = np.repeat([1, 0], [40, 40_000])
    found = sensitivity_at_specificity(labels, scores, 0.9).rate
    hits = found.value * 40
    wilson = stats.binomtest(round(hits), 40).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=0.02)
    # 40 positives set the threshold: the specificity is that of 40,000 negatives at an uncertain threshold.
    back = specificity_at_sensitivity(labels, scores, 0.9)
    assert back.rate.high - back.rate.low > 5 * (back.at_threshold.high - back.at_threshold.low)


def test_exchanging_classes_and_signs_exchanges_the_two_functions():
    rng = np.random.default_rng(2)
    labels, scores = rng.integers(0, 2, 150), rng.normal(size=150)
    scores = scores + labels
    owner = np.repeat(np.arange(50), 3)
    one = specificity_at_sensitivity(labels, scores, 0.8, clusters=owner)
    other = sensitivity_at_specificity(1 - labels, -scores, 0.8, clusters=owner)
    assert (one.rate.value, one.rate.low, one.rate.high) == pytest.approx(
        (other.rate.value, other.rate.low, other.rate.high)
    )
    assert one.reached == pytest.approx(other.reached)


def test_nothing_depends_on_the_scale_of_scores_or_the_order_of_rows():
    rng = np.random.default_rng(3)
    labels, owner = rng.integers(0, 2, 240), np.repeat(np.arange(80), 3)
    scores, mixed = rng.normal(size=240) + labels, rng.permutation(240)
    one = sensitivity_at_specificity(labels, scores, 0.9, clusters=owner).rate
    other = sensitivity_at_specificity(labels[mixed], np.exp(scores[mixed]), 0.9, clusters=owner[mixed]).rate
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


@pytest.mark.parametrize(
    ("m", "n", "measure", "target", "shift"),
    [(31, 200, specificity_at_sensitivity, 0.9, 2.0), (60, 60, sensitivity_at_specificity, 0.9, 1.5)],
)
def test_intervals_cover_where_intervals_at_the_threshold_do_not(m, n, measure, target, shift):
    rng, labels = np.random.default_rng(4), np.repeat([1.0, 0.0], [m, n])
    true = special.ndtr(shift - special.ndtri(target))
    hits = naive = 0
    for _ in range(200):
        found = measure(labels, np.concatenate([shift + rng.normal(size=m), rng.normal(size=n)]), target)
        hits += found.rate.low <= true <= found.rate.high
        naive += found.at_threshold.low <= true <= found.at_threshold.high
    assert hits >= 0.93 * 200
    assert naive < 0.9 * 200


def test_too_few_negatives_for_one_false_positive_leave_the_lower_limit_open():
    found = sensitivity_at_specificity(LABELS, SCORES, 0.99)
    assert found.rate.low == 0.0
    assert found.reached == 1.0
    assert "interval approximate: worth 4 images" in found.rate.method


def test_where_no_score_calls_few_enough_nothing_is_called():
    found = sensitivity_at_specificity([1, 1, 0, 0, 0], [1, 1, 1, 1, 0], 0.9)
    assert (found.rate.value, found.reached) == (0.0, 1.0)
    assert math.isnan(found.threshold)


def test_results_are_json_both_ways():
    found = sensitivity_at_specificity(LABELS, SCORES, 0.8)
    assert RateAtTarget.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_what_cannot_be_estimated_says_why_and_wrong_targets_are_refused():
    none = sensitivity_at_specificity([0, 0, 0], [1, 2, 3], 0.9)
    assert none.rate.reason == none.at_threshold.reason == "no positives: all 3 known labels are negative"
    assert math.isnan(none.threshold)
    for target in (0, 1, 90):
        with pytest.raises(ValueError, match="fraction"):
            sensitivity_at_specificity(LABELS, SCORES, target)
        with pytest.raises(ValueError, match="fraction"):
            specificity_at_sensitivity(LABELS, SCORES, target)
