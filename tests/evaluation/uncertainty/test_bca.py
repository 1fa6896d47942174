"""BCa: the acceleration against its closed form for a mean, the limits against SciPy's."""

import math

import numpy as np
import pytest
from scipy import stats

from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.uncertainty.bootstrap import acceleration, bootstrap_interval
from chexkeras.evaluation.uncertainty.resampling import any_on_counts, auroc_on_counts


def mean_on_counts(values):
    owner = np.arange(len(values))
    return any_on_counts(lambda _, scores: float(scores.mean()), np.zeros(len(values), dtype=bool), values, owner)


def skewness_over_six(values):
    deviations = values - values.mean()
    return (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)


def test_acceleration_of_a_mean_is_its_closed_form():
    values = np.random.default_rng(1).exponential(size=200)
    found = acceleration(mean_on_counts(values), np.zeros(200, dtype=bool), 200)
    assert found == pytest.approx(skewness_over_six(values), rel=1e-9)
    assert found > 0.01


def test_strata_have_their_own_centre():
    rng = np.random.default_rng(2)
    strata = np.arange(60) < 20
    values = np.where(strata, 50 + rng.exponential(size=60), rng.exponential(size=60))
    centred = values - np.where(strata, values[strata].mean(), values[~strata].mean())
    # Of a mean of n with n_s in a stratum, leaving one out of the stratum moves the rest by 1 / (n - 1).
    left_out = centred * np.where(strata, 19 / 20, 39 / 40) / 59
    expected = (left_out**3).sum() / (6 * (left_out**2).sum() ** 1.5)
    # The mean of the rest also moves because the strata's shares change, alike for all members of a stratum.
    shift = np.array([values[np.arange(60) != out].mean() for out in range(60)])
    by_hand = np.where(strata, shift[strata].mean() - shift, shift[~strata].mean() - shift)
    by_hand *= np.where(strata, 19 / 20, 39 / 40)
    np.testing.assert_allclose(by_hand, left_out, atol=1e-12)
    assert acceleration(mean_on_counts(values), strata, 60) == pytest.approx(expected, rel=1e-9)


def test_groups_of_patients_find_nearly_the_same_acceleration():
    values = np.sort(np.random.default_rng(3).exponential(size=5000))
    found = acceleration(mean_on_counts(values), np.zeros(5000, dtype=bool), 5000)
    # Skewness 2 over 6 sqrt(5000) is .0047; 500 groups add an error of about .0013.
    assert found == pytest.approx(skewness_over_six(values), abs=0.004)
    assert found > 0


def test_without_influence_the_acceleration_is_undefined():
    assert math.isnan(acceleration(mean_on_counts(np.ones(10)), np.zeros(10, dtype=bool), 10))


def test_limits_agree_with_scipy_for_the_auroc_of_independent_images():
    rng = np.random.default_rng(4)
    labels = np.repeat([1, 0], [25, 60])
    scores = rng.normal(size=85) + 1.6 * labels
    estimate = bootstrap_interval("auroc", labels, scores, method="bca", replicates=10_000)

    def area(positives, negatives, axis=-1):
        return (positives[..., :, None] > negatives[..., None, :]).mean(axis=(-2, -1))

    theirs = stats.bootstrap(
        (scores[:25], scores[25:]), area, n_resamples=10_000, method="BCa", batch=200, random_state=1
    ).confidence_interval
    assert (estimate.low, estimate.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)
    percentile = bootstrap_interval("auroc", labels, scores, replicates=10_000)
    assert abs(estimate.low - percentile.low) > 0.006
    assert estimate.method.startswith("auroc, BCa bootstrap of 85 images (25 positive)")


def test_fast_and_copied_jackknife_agree():
    rng = np.random.default_rng(5)
    owner = np.sort(rng.integers(0, 50, 200))
    owner = np.unique(owner, return_inverse=True)[1]
    positive, scores = rng.random(200) < 0.4, rng.random(200)
    strata = np.bincount(owner, positive) > 0
    copied = any_on_counts(auc, positive, scores, owner)
    fast = acceleration(auroc_on_counts(positive, scores, owner), strata, 200)
    assert fast == pytest.approx(acceleration(copied, strata, 200), rel=1e-9)


def test_a_ranking_that_every_replicate_improves_falls_back_to_percentiles():
    labels = np.repeat([1, 0], [22, 1600])
    estimate = bootstrap_interval("average_precision", labels, np.linspace(0, 1, 1622), method="bca", replicates=100)
    assert "percentile (BCa is undefined here)" in estimate.method
    assert estimate.low <= estimate.value <= estimate.high
