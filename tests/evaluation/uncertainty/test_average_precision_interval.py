"""Intervals of the average precision: the bootstrap behind them, both readings of prevalence, coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from chexkeras.evaluation.metrics import average_precision
from chexkeras.evaluation.uncertainty.bootstrap import bootstrap_interval, bootstrap_replicates
from chexkeras.evaluation.uncertainty.intervals import average_precision_interval, proportion_interval
from tests.evaluation import written_out


def limits(estimate):
    return (estimate.low, estimate.high)


def test_average_precision_limits_are_students_on_the_logit_scale():
    rng = np.random.default_rng(4)
    labels, scores, patients = rng.random(80) < 0.3, rng.integers(0, 20, 80) / 20, rng.integers(0, 30, 80)
    estimate = average_precision_interval(labels, scores, clusters=patients, replicates=300, seed=9)
    drawn = bootstrap_replicates("average_precision", labels, scores, clusters=patients, replicates=300, seed=9)
    value, positive_patients = average_precision(labels, scores), len(np.unique(patients[labels]))
    worth = min(written_out.kish(patients[labels]), written_out.kish(patients[~labels]))
    assert worth < positive_patients - 1
    half = stats.t.ppf(0.975, worth - 1) * np.std(drawn, ddof=1) / (value * (1 - value))
    centre = math.log(value / (1 - value))
    by_hand = [1 / (1 + math.exp(-(centre + sign * half))) for sign in (-1, 1)]
    assert limits(estimate) == pytest.approx(by_hand, rel=1e-9)
    assert f"({positive_patients} positive), 300 replicates, seed 9" in estimate.method
    assert f"at the prevalence of these images, {labels.mean():.3g}" in estimate.method


def test_average_precision_of_a_sampled_prevalence_draws_positive_and_other_patients_together():
    rng = np.random.default_rng(4)
    labels, scores, patients = rng.random(80) < 0.3, rng.integers(0, 20, 80) / 20, rng.integers(0, 30, 80)
    options = {"clusters": patients, "replicates": 300, "seed": 9}
    fixed = average_precision_interval(labels, scores, **options)
    estimate = average_precision_interval(labels, scores, sampled_prevalence=True, **options)
    drawn = bootstrap_replicates("average_precision", labels, scores, keep_classes=False, **options)
    value, worth = average_precision(labels, scores), written_out.kish(patients[labels])
    half = stats.t.ppf(0.975, worth - 1) * np.nanstd(drawn, ddof=1) / (value * (1 - value))
    assert estimate.value == fixed.value
    assert math.log(estimate.high / (1 - estimate.high)) == pytest.approx(math.log(value / (1 - value)) + half)
    assert estimate.high - estimate.low > 1.05 * (fixed.high - fixed.low)
    assert f"drawn from at random (prevalence here {labels.mean():.3g})" in estimate.method


def test_replicates_without_a_positive_image_say_nothing_of_the_average_precision():
    # Three positives in thirty images: about one draw in twenty has none.
    labels, scores = np.arange(30) < 3, np.linspace(0, 1, 30)[::-1].copy()
    scores[[1, 10]] = scores[[10, 1]]
    drawn = bootstrap_replicates("average_precision", labels, scores, keep_classes=False)
    assert 0.02 < np.isnan(drawn).mean() < 0.08
    estimate = average_precision_interval(labels, scores, sampled_prevalence=True)
    assert 0 < estimate.low < estimate.value < estimate.high < 1


def test_average_precision_interval_has_one_result_for_one_seed_whatever_the_row_order():
    rng = np.random.default_rng(4)
    labels, scores, patients = rng.random(300) < 0.2, rng.integers(0, 50, 300) / 50, rng.integers(0, 90, 300)
    order = rng.permutation(300)
    for clusters, shuffled in ((None, None), (patients, patients[order])):
        estimate = average_precision_interval(labels, scores, clusters=clusters, replicates=200)
        assert estimate == average_precision_interval(labels[order], scores[order], clusters=shuffled, replicates=200)
        assert estimate != average_precision_interval(labels, scores, clusters=clusters, replicates=200, seed=1)
        assert estimate.low < estimate.value == average_precision(labels, scores) < estimate.high


def test_average_precision_interval_of_a_perfect_ranking_is_not_a_point():
    estimate = average_precision_interval(np.arange(30) >= 20, np.linspace(0, 1, 30))
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == proportion_interval(10, 10).low
    assert "binomial" in estimate.method


def test_average_precision_interval_contains_its_estimate_even_for_a_classifier_that_is_wrong_throughout():
    # Drawing an image twice can only help such a ranking, so nearly every replicate lies above the estimate.
    labels = np.repeat([1, 0], [22, 1600])
    estimate = average_precision_interval(labels, np.linspace(0, 1, 1622), replicates=300)
    assert 0 < estimate.low <= estimate.value < estimate.high


@pytest.mark.parametrize(
    ("labels", "reason"),
    [([0, 0, 0], "no positives"), ([1, 1, 1], "no negatives"), ([1, 0, 0], "only one positive image")],
)
def test_average_precision_without_enough_positives_is_not_estimable(labels, reason):
    assert reason in average_precision_interval(labels, [0.9, 0.5, 0.1]).reason


def test_average_precision_of_one_positive_patient_is_not_estimable():
    estimate = average_precision_interval([1, 1, 0, 0], [0.9, 0.5, 0.6, 0.1], clusters=["a", "a", "b", "c"])
    assert "only one positive patient" in estimate.reason


def test_average_precision_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(14)
    large = np.repeat([1, 0], [60_000, 240_000])
    truth = average_precision(large, rng.normal(size=len(large)) + 1.5 * large)
    labels = np.repeat([1, 0], [50, 200])
    covered = 0
    for _ in range(200):
        estimate = average_precision_interval(labels, rng.normal(size=250) + 1.5 * labels, replicates=300)
        covered += estimate.low <= truth <= estimate.high
    assert 0.89 <= covered / 200 <= 0.99


def test_average_precision_of_a_population_needs_the_sampled_prevalence_to_be_covered():
    # At a distance of half a standard deviation the average precision is little more than the prevalence, here 20 %.
    score = np.linspace(-9, 12, 20_001)
    found, called = stats.norm.sf(score - 0.5), stats.norm.sf(score)
    precision = 0.2 * found / (0.2 * found + 0.8 * called)
    truth = np.sum(precision * stats.norm.pdf(score - 0.5)) * (score[1] - score[0])
    rng, covered = np.random.default_rng(0), {True: 0, False: 0}
    for seed in range(150):
        labels = rng.random(400) < 0.2
        scores = rng.normal(size=400) + 0.5 * labels
        for sampled in covered:
            estimate = average_precision_interval(labels, scores, replicates=200, seed=seed, sampled_prevalence=sampled)
            covered[sampled] += estimate.low <= truth <= estimate.high
    assert 0.91 <= covered[True] / 150 <= 0.99
    assert covered[False] / 150 < 0.91


@pytest.mark.slow
def test_average_precision_covers_at_10_positives_where_percentiles_do_not():
    rng = np.random.default_rng(21)
    distance, prevalence = stats.norm.ppf(0.85) * math.sqrt(2), 0.05
    grid = np.linspace(-9, 12, 100_001)
    found, called = stats.norm.sf(grid - distance), stats.norm.sf(grid)
    precision = prevalence * found / (prevalence * found + (1 - prevalence) * called)
    truth = np.sum(precision * stats.norm.pdf(grid - distance)) * (grid[1] - grid[0])
    labels, covered = np.arange(200) < 10, {"ours": 0, "percentile": 0}
    for seed in range(1000):
        scores = rng.normal(size=200) + distance * labels
        options = {"replicates": 400, "seed": seed}
        for name, estimate in (
            ("ours", average_precision_interval(labels, scores, **options)),
            ("percentile", bootstrap_interval("average_precision", labels, scores, **options)),
        ):
            covered[name] += estimate.low <= truth <= estimate.high
    assert 0.92 <= covered["ours"] / 1000 <= 0.98
    assert covered["percentile"] / 1000 < 0.92
