"""An imperfect reference: mixtures taken apart exactly, Wilson's limits, linear programming for bounds, coverage."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.reference_standard.imperfect import (
    ReferenceCorrected,
    correct_reference_error,
    frechet_bounds,
)
from chexkeras.evaluation.uncertainty.intervals import proportion_interval
from chexkeras.results import Estimate

quick = settings(derandomize=True, deadline=None, max_examples=12)
rate = st.floats(0.55, 0.99)


def images(both, label_only, call_only, neither):
    counts = [both, label_only, call_only, neither]
    return np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


def shares(prevalence, sensitivity, specificity, reference_sensitivity, reference_specificity):
    """Shares of (label, call) under independence given the truth."""
    return np.array(
        [
            prevalence * (reference_sensitivity if label else 1 - reference_sensitivity)
            * (sensitivity if call else 1 - sensitivity)
            + (1 - prevalence) * (1 - reference_specificity if label else reference_specificity)
            * (1 - specificity if call else specificity)
            for label, call in ((1, 1), (1, 0), (0, 1), (0, 0))
        ]
    )  # fmt: skip


@quick
@given(st.floats(0.1, 0.9), rate, rate, rate, rate)
def test_a_mixture_is_taken_apart_into_what_it_was_made_of(prevalence, sensitivity, specificity, one, other):
    counts = np.round(shares(prevalence, sensitivity, specificity, one, other) * 5_000).astype(int)
    found = correct_reference_error(
        *images(*counts), reference_sensitivity=one, reference_specificity=other, replicates=2
    )
    # Rounding to whole images matters where the reference is near chance.
    assert found.sensitivity.value == pytest.approx(sensitivity, abs=0.02)
    assert found.specificity.value == pytest.approx(specificity, abs=0.02)
    assert found.prevalence.value == pytest.approx(prevalence, abs=0.02)
    assert found.sensitivity_lowest.value - 0.02 <= sensitivity <= found.sensitivity_highest.value + 0.02
    assert found.specificity_lowest.value - 0.02 <= specificity <= found.specificity_highest.value + 0.02


def test_by_hand():
    # 400 images, 100 labelled, 110 called, 80 both; reference 0.9 and 0.95.
    found = correct_reference_error(
        *images(80, 20, 30, 270), reference_sensitivity=0.9, reference_specificity=0.95, replicates=50
    )
    assert found.prevalence.value == pytest.approx((0.25 - 0.05) / 0.85)
    assert found.sensitivity.value == pytest.approx((80 - 0.05 * 110) / (100 - 0.05 * 400))
    assert found.specificity.value == pytest.approx((270 - 0.1 * 290) / (300 - 0.1 * 400))
    plain = rates(*images(80, 20, 30, 270))
    assert found.apparent_sensitivity == plain.sensitivity
    assert found.apparent_specificity == plain.specificity


def test_with_a_perfect_reference_the_limits_are_wilsons():
    found = correct_reference_error(
        *images(27, 3, 5, 65), reference_sensitivity=1.0, reference_specificity=1.0, replicates=50
    )
    for estimate, (hits, n) in ((found.sensitivity, (27, 30)), (found.specificity, (65, 70))):
        slow = proportion_interval(hits, n, method="wilson")
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((slow.value, slow.low, slow.high))
    assert found.sensitivity_lowest.value == pytest.approx(0.9)
    assert found.sensitivity_highest.value == pytest.approx(0.9)


@quick
@given(st.tuples(*[st.integers(1, 60)] * 4), rate, rate)
def test_bounds_are_those_of_linear_programming(counts, one, other):
    cells = np.array(counts) / sum(counts)
    labelled = cells[0] + cells[1]
    better = one + other - 1
    prevalence = (labelled + other - 1) / better
    found = frechet_bounds(cells[np.newaxis], np.array([one]), np.array([other]))[:, 0]
    if not 0 < prevalence < 1:
        assert list(found) == [0, 1, 0, 1]
        return
    # Shares of (label, call) among true positives; each at most the cell, and labels as the reference's rates say.
    equal = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])
    totals = [prevalence * one, prevalence * (1 - one)]
    for sign, place in ((1, 0), (-1, 1)):
        slow = optimize.linprog(
            sign * np.array([1, 0, 1, 0]), A_eq=equal, b_eq=totals, bounds=[(0, cell) for cell in cells]
        )
        assert found[place] == pytest.approx(sign * slow.fun / prevalence, abs=1e-7)
        # Specificity: what is neither called nor positive.
        slow = optimize.linprog(
            sign * -np.array([0, 1, 0, 1]), A_eq=equal, b_eq=totals, bounds=[(0, cell) for cell in cells]
        )
        cleared = cells[1] + cells[3] + sign * slow.fun
        assert found[2 + place] == pytest.approx(cleared / (1 - prevalence), abs=1e-7)


def test_errors_that_go_together_leave_the_correction_but_not_the_bounds():
    # Both miss the same faint findings: of 30 % positives a third is faint.
    rng = np.random.default_rng(3)
    n = 200_000
    positive, faint = rng.random(n) < 0.3, rng.random(n) < 1 / 3
    labels = np.where(positive, rng.random(n) < np.where(faint, 0.5, 0.95), rng.random(n) < 0.03)
    called = np.where(positive, rng.random(n) < np.where(faint, 0.4, 0.95), rng.random(n) < 0.1)
    found = correct_reference_error(
        labels, called, reference_sensitivity=labels[positive].mean(), reference_specificity=0.97, replicates=20
    )
    truth = called[positive].mean()
    assert found.sensitivity.value > truth + 0.03
    assert found.sensitivity_lowest.value <= truth <= found.sensitivity_highest.value
    assert f"sensitivity lies from {found.sensitivity_lowest.value:.3f}" in found.cautions[0]


def test_the_limits_end_where_a_slow_score_test_just_rejects():
    labels, called = images(80, 20, 30, 270)
    found = correct_reference_error(labels, called, reference_sensitivity=0.9, reference_specificity=0.95, replicates=2)
    specificity, prevalence = found.specificity.value, found.prevalence.value
    for limit in (found.sensitivity.low, found.sensitivity.high):
        factor = (labels - 0.05) * (called - limit)
        # Its variance by enumerating truth, label and call under the limit.
        variance = 0.0
        for truth, p in ((1, prevalence), (0, 1 - prevalence)):
            for label in (0, 1):
                for call in (0, 1):
                    of_label = (0.9 if truth else 0.05) if label else (0.1 if truth else 0.95)
                    of_call = (limit if truth else 1 - specificity) if call else (1 - limit if truth else specificity)
                    variance += p * of_label * of_call * ((label - 0.05) * (call - limit)) ** 2
        if 0 < limit < 1:
            z = factor.mean() / math.sqrt(variance / 400)
            assert abs(z) == pytest.approx(stats.norm.ppf(0.975), rel=1e-6)
    assert found.sensitivity.low > 0


def test_an_uncertain_reference_widens_the_limits():
    counts = images(80, 20, 30, 270)
    known = correct_reference_error(*counts, reference_sensitivity=0.9, reference_specificity=0.95, replicates=50)
    guessed = correct_reference_error(
        *counts, reference_sensitivity=proportion_interval(45, 50), reference_specificity=proportion_interval(95, 100),
        replicates=50,
    )  # fmt: skip
    assert guessed.sensitivity.value == pytest.approx(known.sensitivity.value)
    assert guessed.sensitivity.low < known.sensitivity.low
    assert guessed.specificity.low < known.specificity.low


@pytest.mark.parametrize(
    ("counts", "rates_of_reference", "reason"),
    [
        ((3, 1, 30, 366), (0.9, 0.95), "0.010 of the images are found positive, no more than the 0.050"),
        ((380, 4, 8, 8), (0.9, 0.95), "no fewer than the sensitivity 0.900"),
        ((80, 20, 30, 270), (0.5, 0.5), "no better than chance"),
    ],
)
def test_counts_that_the_reference_cannot_give_are_refused(counts, rates_of_reference, reason):
    one, other = rates_of_reference
    found = correct_reference_error(*images(*counts), reference_sensitivity=one, reference_specificity=other)
    for estimate in (found.sensitivity, found.specificity, found.sensitivity_lowest):
        assert reason in estimate.reason


def test_independence_that_the_counts_contradict_is_refused():
    # Every label is a call, though a tenth of the labels should be false alarms that the device does not share.
    found = correct_reference_error(
        *images(200, 0, 0, 300), reference_sensitivity=0.99, reference_specificity=0.7, replicates=10
    )
    assert "do not err independently" in found.sensitivity.reason


def test_json_table_and_nothing():
    found = correct_reference_error(
        *images(80, 20, 30, 270), reference_sensitivity=0.9, reference_specificity=0.95, replicates=50
    )
    assert ReferenceCorrected.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert list(found.to_frame()["rate"]) == ["sensitivity", "specificity"]
    nothing = correct_reference_error([math.nan], [1], reference_sensitivity=0.9, reference_specificity=0.9)
    assert nothing.sensitivity.reason == "no image has a known label"


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(80), 3)
    positive = (rng.random(80) < 0.4)[owner]
    labels, called = (rng.random(240) < np.where(positive, 0.85, 0.08) for _ in range(2))
    order = rng.permutation(240)
    for clusters in (owner, None):
        one, other = (
            correct_reference_error(
                labels[rows], called[rows],
                reference_sensitivity=0.85, reference_specificity=Estimate(0.92, 0.88, 0.95),
                clusters=None if clusters is None else clusters[rows], replicates=100,
            )
            for rows in (np.arange(240), order)
        )  # fmt: skip
        for name in ("sensitivity", "specificity", "prevalence", "sensitivity_lowest", "specificity_highest"):
            first, second = getattr(one, name), getattr(other, name)
            assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high))


@pytest.mark.parametrize(
    ("given", "how", "message"),
    [
        (([1, 0], [1, 2]), {}, "called must be True or False"),
        (([1, 3], [1, 0]), {}, "labels must be 1, 0 or NaN"),
        (([1, 0], [1]), {}, "both must be one column"),
        (([1, 0], [1, 0]), {"reference_specificity": 95}, "reference_specificity=95"),
        (([1, 0], [1, 0]), {"replicates": 0}, "replicates=0"),
        (([1, 0], [1, 0]), {"clusters": [None, 1]}, "clusters are missing"),
    ],
)
def test_bad_arguments_are_told(given, how, message):
    with pytest.raises(ValueError, match=message):
        correct_reference_error(*given, **({"reference_sensitivity": 0.9, "reference_specificity": 0.9} | how))


@pytest.mark.parametrize("estimated", [False, True])
def test_corrected_rates_are_unbiased_and_their_limits_cover(estimated):
    rng = np.random.default_rng(7)
    truth, runs, covered, values = (0.8, 0.9), 80, [0, 0], []
    for _ in range(runs):
        owner = np.repeat(np.arange(200), 2)
        positive = (rng.random(200) < 0.25)[owner]
        labels = rng.random(400) < np.where(positive, 0.85, 0.05)
        alike = rng.random(200)[owner]
        called = np.where(rng.random(400) < 0.5, alike, rng.random(400)) < np.where(positive, 0.8, 0.1)
        one, other = 0.85, 0.95
        if estimated:
            one, other = (proportion_interval(rng.binomial(100, share), 100) for share in (one, other))
        found = correct_reference_error(
            labels, called, reference_sensitivity=one, reference_specificity=other, clusters=owner, replicates=2
        )
        for place, estimate in enumerate((found.sensitivity, found.specificity)):
            covered[place] += estimate.low <= truth[place] <= estimate.high
        values.append((found.sensitivity.value, found.specificity.value))
    assert all(count / runs >= 0.89 for count in covered)
    # A ratio with an uncertain denominator is a little too large on average.
    assert np.mean(values, axis=0) == pytest.approx(truth, abs=0.04 if estimated else 0.02)
