"""True prevalence: published examples, formulas written out, coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chexkeras.evaluation.reference_standard.prevalence import true_prevalence
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval, proportion_interval, size_behind
from chexkeras.results import Estimate

quick = settings(derandomize=True, deadline=None, max_examples=40)


def calls(positive, n):
    return np.repeat([1, 0], [positive, n - positive])


def test_brucellosis_and_helicobacter_as_published():
    # The examples of epiR's epi.prev: 23 of 150 cows, sensitivity 96 %, specificity 89 %: 5.1 (0 to 13) per 100.
    cows = true_prevalence(calls(23, 150), 0.96, 0.89)
    assert [round(100 * x, 1) for x in (cows.value, cows.low, cows.high)] == [5.1, 0.0, 13.1]
    # Moujaber et al. 2008: 6 of 151 children, 96.4 % and 92.7 %, Clopper-Pearson: 0 (0 to 1.3) per 100.
    children = true_prevalence(calls(6, 151), 0.964, 0.927)
    assert [round(100 * x, 1) for x in (children.value, children.low, children.high)] == [0.0, 0.0, 1.3]
    assert "drawn in from -0.037" in children.method


@quick
@given(st.integers(1, 199), st.floats(0.6, 1), st.floats(0.6, 1), st.integers(20, 200), st.integers(20, 200))
def test_estimated_rates_give_lang_and_reiczigels_limits(positive, one, other, n1, n2):
    hits, passed = round(one * n1), round(other * n2)
    found = true_prevalence(
        calls(positive, 200), proportion_interval(hits, n1), proportion_interval(passed, n2), confidence=0.9
    )
    # Lang & Reiczigel, Preventive Veterinary Medicine 113, 2014, as they write it.
    z = stats.norm.ppf(0.95)
    se, sp = (hits + 1) / (n1 + 2), (passed + 1) / (n2 + 2)
    p = (positive + z * z / 2) / (200 + z * z)
    prevalence = (p + sp - 1) / (se + sp - 1)
    of_se, of_sp = se * (1 - se) / (n1 + 2), sp * (1 - sp) / (n2 + 2)
    shift = 2 * z * z * (prevalence * of_se - (1 - prevalence) * of_sp)
    variance = p * (1 - p) / (200 + z * z) + prevalence**2 * of_se + (1 - prevalence) ** 2 * of_sp
    half = z * math.sqrt(variance) / (se + sp - 1)
    low, high = prevalence + shift - half, prevalence + shift + half
    if low > 1 or high < 0:
        assert not found.estimable
        return
    value = (positive / 200 + passed / n2 - 1) / (hits / n1 + passed / n2 - 1)
    assert found.value == pytest.approx(min(1, max(0, value)))
    assert found.low == pytest.approx(min(found.value, max(0, low)), abs=1e-5)
    assert found.high == pytest.approx(max(found.value, min(1, high)), abs=1e-5)


def test_a_perfect_test_gives_its_own_share():
    owner = np.repeat(np.arange(40), 3)
    labels = np.random.default_rng(0).random(120) < 0.3
    plain = clustered_proportion_interval(labels, owner)
    found = true_prevalence(labels, 1.0, 1.0, clusters=owner)
    assert (found.value, found.low, found.high) == pytest.approx((plain.value, plain.low, plain.high))


@pytest.mark.parametrize(("hits", "n"), [(0, 40), (40, 40), (13, 40), (399, 400)])
def test_the_size_behind_an_exact_interval_is_found(hits, n):
    assert size_behind(proportion_interval(hits, n), "sensitivity") == pytest.approx(n, rel=1e-6)


def test_what_no_prevalence_gives_is_refused():
    few = true_prevalence(calls(1, 500), 0.9, 0.9)
    assert "fewer than sensitivity 0.900 and specificity 0.900 allow" in few.reason
    many = true_prevalence(calls(499, 500), 0.9, 0.9)
    assert "more than sensitivity" in many.reason
    chance = true_prevalence(calls(50, 500), 0.5, 0.5)
    assert "no better than chance" in chance.reason
    assert true_prevalence([math.nan], 0.9, 0.9).reason == "no image has a call"


@pytest.mark.parametrize(
    ("called", "how", "message"),
    [
        ([0.5, 1], {}, "called: labels must be 1, 0 or NaN"),
        ([[1, 0]], {}, "one call for each image"),
        ([1, 0], {"sensitivity": 90}, "sensitivity=90"),
        ([1, 0], {"specificity": Estimate.not_estimable("no negatives")}, "specificity is not estimable"),
        ([1, 0], {"specificity": Estimate(0.9, 0.9, 0.9)}, "of some length"),
        ([1, 0], {"clusters": [1]}, "clusters have shape"),
        ([1, 0], {"confidence": 0}, "confidence=0"),
    ],
)
def test_bad_arguments_are_told(called, how, message):
    with pytest.raises(ValueError, match=message):
        true_prevalence(called, **({"sensitivity": 0.9, "specificity": 0.9} | how))


def test_limits_cover_whether_rates_are_known_or_estimated():
    rng = np.random.default_rng(1)
    truth, runs, covered = 0.15, 150, [0, 0]
    for _ in range(runs):
        owner = np.repeat(np.arange(100), 2)
        positive = rng.random(100) < truth
        called = rng.random(200) < np.where(positive, 0.85, 0.05)[owner]
        rates = (
            (0.85, 0.95),
            (proportion_interval(rng.binomial(80, 0.85), 80), proportion_interval(rng.binomial(80, 0.95), 80)),
        )
        for place, (one, other) in enumerate(rates):
            found = true_prevalence(called, one, other, clusters=owner)
            covered[place] += found.estimable and found.low <= truth <= found.high
    assert all(0.9 <= count / runs <= 1 for count in covered)
