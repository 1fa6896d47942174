"""Several sets of images at once: how their values vary together, differences, and what holds simultaneously."""

import itertools
import math

import numpy as np
import pytest
from scipy import special, stats

from chexkeras.evaluation import group_estimates
from chexkeras.evaluation.group_estimates import SetEstimates, joint, measure_areas, measure_shares
from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval


def shares_of(*counts):
    """Independent images: for each set how many of how many were called rightly."""
    right = np.concatenate([np.arange(n) < hits for hits, n in counts])
    number = np.repeat(np.arange(len(counts)), [n for _, n in counts])
    return measure_shares(right, np.arange(len(right)), [number == each for each in range(len(counts))])


def two_views(seed, patients=120, images=3, worse=0.0):
    """Images of patients imaged in both views; labels, scores, patients, and which images are AP."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), images)
    positive, ap = rng.random(len(owner)) < 0.45, rng.random(len(owner)) < 0.5
    scores = positive * (1.4 - worse * ap) + rng.normal(size=patients)[owner] + rng.normal(size=len(owner))
    return positive, scores, owner, ap


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_differences_of_independent_shares_are_newcombes(first, second, low, high):
    # Newcombe, Statistics in Medicine 17, 1998, p. 873, table II, method 10.
    value, *limits = shares_of(first, second).difference(0, 1, 0.95)
    assert value == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert limits == pytest.approx([low, high], abs=6e-5)


def test_each_value_has_the_limits_it_has_alone():
    positive, scores, owner, ap = two_views(0)
    areas = measure_areas(positive, scores, owner, [ap, ~ap])
    right = (scores > 0.7) == positive
    shares = measure_shares(right, owner, [ap & positive, ~ap & positive])
    for number, rows in enumerate((ap, ~ap)):
        alone = auc_interval(positive[rows], scores[rows], clusters=owner[rows], confidence=0.9)
        assert areas.limits[number](0.9) == pytest.approx((alone.low, alone.high))
        assert areas.values[number] == alone.value
        members = rows & positive
        alone = clustered_proportion_interval(right[members], owner[members], confidence=0.9)
        assert shares.limits[number](0.9) == pytest.approx((alone.low, alone.high))
        assert shares.values[number] == alone.value
        assert shares.n_images[number] == members.sum()


@pytest.mark.parametrize("statistic", ["auroc", "sensitivity"])
def test_sets_that_share_patients_vary_together_as_leaving_patients_out_says(statistic):
    positive, scores, owner, ap = two_views(3, patients=150, images=5)
    right = (scores > 0.7) == positive

    def values(kept):
        if statistic == "auroc":
            return [auc(positive[rows & kept], scores[rows & kept]) for rows in (ap, ~ap)]
        return [right[rows & kept & positive].mean() for rows in (ap, ~ap)]

    left = np.array([values(owner != patient) for patient in range(150)])
    jackknife = 149 / 150 * (left - left.mean(axis=0)).T @ (left - left.mean(axis=0))
    if statistic == "auroc":
        made = measure_areas(positive, scores, owner, [ap, ~ap])
    else:
        made = measure_shares(right, owner, [ap & positive, ~ap & positive])
    correlation = made.covariance[0, 1] / math.sqrt(made.covariance[0, 0] * made.covariance[1, 1])
    expected = jackknife[0, 1] / math.sqrt(jackknife[0, 0] * jackknife[1, 1])
    assert expected > 0.05
    assert correlation == pytest.approx(expected, abs=0.03)
    np.testing.assert_allclose(np.sqrt(np.diag(made.covariance)), np.sqrt(np.diag(jackknife)), rtol=0.15)
    # What varies together is told apart better than if the views were of different patients.
    apart = made._replace(covariance=np.diag(np.diag(made.covariance)))
    paired, unpaired = (each.difference(0, 1, 0.95) for each in (made, apart))
    assert paired[2] - paired[1] < unpaired[2] - unpaired[1]


def test_without_variance_a_value_still_has_limits_and_a_difference():
    estimates = shares_of((12, 12), (9, 12))
    assert estimates.covariance[0, 0] == 0
    assert estimates.limits[0](0.95)[0] < 0.8
    value, low, high = estimates.difference(0, 1, 0.95)
    assert low < 0 < value < high
    # Were both shares equal, neither would be without variance.
    assert (np.diag(estimates.covariance_if_equal) > 0).all()


def test_only_shares_of_one_kind_are_taken_to_be_equal():
    counts = (90, 100), (80, 100), (30, 100), (20, 100)
    right = np.concatenate([np.arange(n) < hits for hits, n in counts])
    sets = [np.repeat(np.arange(4), 100) == each for each in range(4)]
    made = measure_shares(right, np.arange(400), sets, ["sensitivity", "sensitivity", "specificity", "specificity"])
    np.testing.assert_allclose(np.diag(made.covariance_if_equal) * 100, [0.85 * 0.15] * 2 + [0.25 * 0.75] * 2)


def test_few_patients_are_told_of_and_make_limits_wide():
    right, owner = np.array([True, False] * 40), np.repeat(np.arange(8), 10)
    few = measure_shares(right, owner, [owner < 4, owner >= 4])
    many = measure_shares(right, np.arange(80), [owner < 4, owner >= 4])
    assert few.methods[0].endswith("interval approximate: worth 4 patients")
    assert "approximate" not in many.methods[0]
    assert few.limits[0](0.95)[0] < many.limits[0](0.95)[0]


def estimates_with(covariance):
    k = len(covariance)
    return SetEstimates(np.full(k, 0.8), covariance, covariance, (), (), (), np.full(k, 100))


def pairs(k):
    contrasts = np.zeros((k * (k - 1) // 2, k))
    for row, (one, other) in enumerate(itertools.combinations(range(k), 2)):
        contrasts[row, one], contrasts[row, other] = 1, -1
    return contrasts


def test_independent_intervals_need_sidaks_confidence_and_a_single_one_its_own():
    assert joint(estimates_with(np.eye(4) * 0.01), np.eye(4), 0.95).confidence == pytest.approx(0.95**0.25)
    assert joint(estimates_with(np.eye(1)), np.eye(1), 0.95).confidence == pytest.approx(0.95)


@pytest.mark.parametrize("correlations", [(0.5, 0.5, 0.5), (0.9, 0.0, 0.3), (-0.3, 0.2, 0.8)])
def test_the_joint_confidence_is_that_of_the_multivariate_normal_distribution(correlations):
    one, two, three = correlations
    matrix = np.array([[1, one, two], [one, 1, three], [two, three, 1]])
    scale = np.diag([0.01, 0.03, 0.2])
    quantile = special.ndtri(0.5 + joint(estimates_with(scale @ matrix @ scale), np.eye(3), 0.9).confidence / 2)
    normal = stats.multivariate_normal(cov=matrix, allow_singular=True, seed=0)
    together = normal.cdf([quantile] * 3, lower_limit=[-quantile] * 3)
    assert together == pytest.approx(0.9, abs=0.003)


@pytest.mark.parametrize("k", [3, 5, 8])
def test_all_differences_of_equal_groups_need_tukeys_quantile(k):
    found = joint(estimates_with(np.eye(k) * 0.004), pairs(k), 0.95)
    quantile = special.ndtri(0.5 + found.confidence / 2)
    assert stats.studentized_range.cdf(quantile * math.sqrt(2), k, np.inf) == pytest.approx(0.95, abs=0.0015)
    # Tippett's constants: the mean range of k standard normal values, as on every control chart.
    mean_range = {3: 1.693, 5: 2.326, 8: 2.847}[k]
    assert found.by_chance == pytest.approx(mean_range * math.sqrt(0.004), rel=0.003)


def test_where_a_variance_is_zero_sidaks_bound_is_taken():
    covariance = np.diag([0.0, 0.01, 0.02])
    assert joint(estimates_with(covariance), np.eye(3), 0.95).confidence == pytest.approx(0.95 ** (1 / 3))
    # A set that no contrast uses does not matter.
    only = np.array([[0.0, 1.0, -1.0]])
    assert joint(estimates_with(covariance), only, 0.95).confidence == pytest.approx(0.95)


def test_the_lattice_fills_a_normal_distribution():
    points = group_estimates._errors(np.array([[1.0, 0.6], [0.6, 1.0]]))
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=2e-3)
    np.testing.assert_allclose(np.cov(points.T), [[1.0, 0.6], [0.6, 1.0]], atol=3e-3)
