"""Sample size and power: published sizes, exact sums over all outcomes, simulated studies."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint, samplesize_confint_proportion

from chexkeras.evaluation.sample_size.rates import (
    PlannedSize,
    design_effect,
    half_width_proportion,
    power_lower_bound,
    sample_size_lower_bound,
    sample_size_proportion,
)
from chexkeras.evaluation.uncertainty.intervals import proportion_interval

quick = settings(derandomize=True, deadline=None, max_examples=40)


def summed_power(n, true, goal, confidence=0.95, one_sided=False):
    """Returns the power as the sum of the probabilities of all outcomes whose interval reaches the goal."""
    alpha = (1 - confidence) * (2 if one_sided else 1)
    reached = [x for x in range(n + 1) if proportion_confint(x, n, alpha, method="beta")[0] >= goal]
    return sum(stats.binom.pmf(x, n, true) for x in reached)


def test_buderers_size_of_hajian_tilaki():
    # Hajian-Tilaki, Journal of Biomedical Informatics 48, 2014: sensitivity .80 +/- .07 at prevalence .10 takes 1,255.
    size = sample_size_proportion(0.80, 0.07, prevalence=0.10)
    assert (size.total, size.cases) == (1255, 126)
    assert size.unrounded == pytest.approx(1254.3539, abs=5e-5)
    assert str(size).startswith("126 cases (1,255 images in all): 95 % interval of +/-0.07")
    # A specificity is about negatives, nine tenths of the images.
    assert sample_size_proportion(0.80, 0.07, prevalence=0.90).total == 140


@quick
@given(st.floats(0.02, 0.98), st.floats(0.01, 0.3), st.sampled_from([0.8, 0.95, 0.99]))
def test_cases_agree_with_statsmodels(expected, half_width, confidence):
    size = sample_size_proportion(expected, half_width, confidence=confidence)
    oracle = samplesize_confint_proportion(expected, half_width, alpha=1 - confidence)
    assert size.unrounded == pytest.approx(oracle, rel=1e-9)
    assert size.cases == size.total == math.ceil(oracle)


def test_a_study_of_1000_with_500_positives_knows_85_percent_within_3_points():
    half = half_width_proportion(500, 0.85)
    low, high = proportion_confint(425, 500, method="beta")
    assert half == pytest.approx(max(0.85 - low, high - 0.85))
    assert f"{100 * half:.1f}" == "3.4"
    interval = proportion_interval(425, 500)
    assert half == pytest.approx(0.85 - interval.low)


@pytest.mark.parametrize(("true", "power"), [(0.85, 0.8267), (0.87, 0.9882), (0.90, 0.9999965)])
def test_power_of_500_positives_to_show_80_percent(true, power):
    # Computed independently with numpy and scipy.
    assert power_lower_bound(500, true, 0.80) == pytest.approx(power, abs=5e-5 if power < 0.99 else 5e-8)


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize(("n", "true", "goal"), [(1, 0.9, 0.5), (29, 0.99, 0.9), (80, 0.9, 0.8), (120, 0.75, 0.8)])
def test_power_is_the_sum_over_all_outcomes(n, true, goal, one_sided):
    found = power_lower_bound(n, true, goal, one_sided=one_sided)
    assert found == pytest.approx(summed_power(n, true, goal, one_sided=one_sided), abs=1e-12)


def test_below_the_goal_power_is_at_most_the_error_allowed():
    for n in (10, 50, 333):
        assert power_lower_bound(n, 0.8, 0.8) <= 0.025
        assert power_lower_bound(n, 0.8, 0.8, one_sided=True) <= 0.05
        assert power_lower_bound(n, 0.7, 0.8) < power_lower_bound(n, 0.8, 0.8) + 1e-12


@pytest.mark.parametrize(("true", "lasting"), [(0.85, 494), (0.87, 248), (0.90, 113)])
def test_exact_sizes_for_80_percent_power_to_show_80_percent(true, lasting):
    # Computed independently; the two-sided 95 % Clopper-Pearson lower bound has to reach .80.
    plan = sample_size_lower_bound(true, 0.80)
    assert plan.lasting == lasting
    assert plan.power == pytest.approx(summed_power(lasting, true, 0.80))
    assert summed_power(lasting - 1, true, 0.80) < 0.8
    assert all(power_lower_bound(n, true, 0.80) >= 0.8 for n in range(lasting, 3 * lasting))
    assert plan.smallest < lasting
    assert power_lower_bound(plan.smallest, true, 0.80) >= 0.8
    assert all(power_lower_bound(n, true, 0.80) < 0.8 for n in range(1, plan.smallest))
    assert str(plan).startswith(f"{lasting} cases (power 0.8")


@quick
@given(st.floats(0.3, 0.9), st.floats(0.06, 0.3), st.sampled_from([0.5, 0.8, 0.95]), st.booleans())
def test_every_larger_number_keeps_the_power(goal, gain, power, one_sided):
    true = min(goal + gain, 0.995)
    plan = sample_size_lower_bound(true, goal, power, one_sided=one_sided)
    assert plan.smallest <= plan.lasting
    for n in (plan.lasting, plan.lasting + 1, plan.lasting + 7, 2 * plan.lasting, 10 * plan.lasting):
        assert power_lower_bound(n, true, goal, one_sided=one_sided) >= power
    if plan.lasting > 1:
        assert power_lower_bound(plan.lasting - 1, true, goal, one_sided=one_sided) < power


def test_a_one_sided_bound_takes_fewer_cases():
    assert sample_size_lower_bound(0.85, 0.8, one_sided=True).lasting == 398
    assert sample_size_lower_bound(0.85, 0.8, confidence=0.9).lasting == 398


@pytest.mark.parametrize(
    ("images", "correlation", "effect"),
    [(1, 0.7, 1), (3, 0, 1), (3, 1, 3), (2.5, 0.4, 1.6), ([1, 1, 4], 1, 3), ([2, 2], 0.5, 1.5)],
)
def test_design_effect_by_hand(images, correlation, effect):
    assert design_effect(images, correlation) == pytest.approx(effect)


def test_the_design_effect_is_the_variance_of_simulated_studies():
    rng = np.random.default_rng(1)
    images = rng.integers(1, 6, 60)
    owner = np.repeat(np.arange(60), images)
    correlation, rate = 0.4, 0.8
    # An image repeats its patient's answer with the probability sqrt(correlation), so two do with the correlation.
    first = rng.random((4000, 60)) < rate
    own = rng.random((4000, len(owner))) < rate
    repeats = rng.random((4000, len(owner))) < math.sqrt(correlation)
    shares = np.where(repeats, first[:, owner], own).mean(axis=1)
    independent = rate * (1 - rate) / len(owner)
    assert shares.var() / independent == pytest.approx(design_effect(images, correlation), rel=0.08)


def test_clustering_inflates_a_size_and_says_so():
    size = sample_size_proportion(0.80, 0.07, prevalence=0.10).clustered(2.5, 0.4)
    assert size.unrounded == pytest.approx(1.6 * 1254.3539, abs=1e-3)
    assert (size.total, size.cases) == (2007, 202)
    assert "design effect of 1.6" in size.purpose
    assert PlannedSize(10, 10, 10.0, "").clustered(1, 0.5).cases == 10


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: sample_size_proportion(80, 0.07), "expected=80 must lie strictly"),
        (lambda: sample_size_proportion(0.8, 0), "half_width=0 must lie strictly"),
        (lambda: sample_size_proportion(0.8, 0.1, prevalence=-0.1), "prevalence=-0.1 must lie between"),
        (lambda: sample_size_proportion(0.8, 0.1, prevalence=0), "no number of images would hold a case"),
        (lambda: sample_size_proportion(0.8, 0.1, confidence=95), "confidence=95"),
        (lambda: half_width_proportion(0, 0.8), "n=0 must be a whole number"),
        (lambda: power_lower_bound(12.5, 0.9, 0.8), "n=12.5 must be a whole number"),
        (lambda: power_lower_bound(10, 1.2, 0.8), "true=1.2 must lie between"),
        (lambda: power_lower_bound(10, 0.9, 1.0), "goal=1.0 must lie strictly"),
        (lambda: sample_size_lower_bound(0.8, 0.8), "true=0.8 must lie above goal=0.8"),
        (lambda: sample_size_lower_bound(0.9, 0.8, 1.0), "power=1.0 must lie strictly"),
        (lambda: sample_size_lower_bound(0.80001, 0.8), "so close"),
        (lambda: design_effect(0.5, 0.2), "must be at least 1"),
        (lambda: design_effect([], 0.2), "must be at least 1"),
        (lambda: design_effect(3, -0.2), "correlation=-0.2"),
        (lambda: sample_size_proportion(0.8, 0.1).clustered(3, 2), "correlation=2"),
    ],
)
def test_bad_arguments_are_refused_in_words(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
