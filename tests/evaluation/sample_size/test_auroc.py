"""Planning for areas under the ROC curve: a published error, formulas written out, simulated studies."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.sample_size.auroc import (
    MODELS,
    auc_standard_error,
    power_auc_difference,
    power_auc_lower_bound,
    sample_size_auc,
    sample_size_auc_difference,
    sample_size_auc_lower_bound,
)
from chexkeras.evaluation.uncertainty.delong import auc_covariance
from chexkeras.evaluation.uncertainty.intervals import auc_interval


def scores(rng, area, n_positive, n_negative):
    """Returns normal scores whose true area is `area`, positives first."""
    distance = math.sqrt(2) * stats.norm.ppf(area)
    return rng.normal(size=n_positive + n_negative) + distance * np.repeat([1, 0], [n_positive, n_negative])


def test_the_error_of_hanley_and_mcneil_is_reproduced():
    # Radiology 143, 1982: 51 abnormal and 58 normal images with an area of .893 have a standard error of .032.
    error = auc_standard_error(0.8931710615280596, 51, 58, model="hanley_mcneil")
    assert error == pytest.approx(0.03248657960734211, rel=1e-12)


def test_obuchowskis_formula_by_hand():
    # Obuchowski 1998 with A = sqrt(2) z(.85) = 1.4657 and R = 2: .0099 e^(-1.0741) (18.741 + 10.148 / 2) / 100.
    variance = 0.0099 * math.exp(-1.07413) * (5 * 2.14826 + 8 + (2.14826 + 8) / 2) / 100
    assert auc_standard_error(0.85, 100, 200, model="obuchowski") == pytest.approx(math.sqrt(variance), rel=1e-4)


@pytest.mark.parametrize(("area", "n_positive", "n_negative"), [(0.6, 20, 80), (0.85, 100, 100), (0.97, 300, 40)])
def test_the_binormal_error_is_that_of_the_integrals(area, n_positive, n_negative):
    distance = math.sqrt(2) * stats.norm.ppf(area)
    # How often two positives both beat a negative, and a positive beats two negatives.
    two_positives = integrate.quad(lambda x: stats.norm.pdf(x) * stats.norm.sf(x - distance) ** 2, -9, 9)[0]
    two_negatives = integrate.quad(lambda x: stats.norm.pdf(x - distance) * stats.norm.cdf(x) ** 2, -9, 12)[0]
    variance = (
        area * (1 - area) + (n_positive - 1) * (two_positives - area**2) + (n_negative - 1) * (two_negatives - area**2)
    ) / (n_positive * n_negative)
    assert auc_standard_error(area, n_positive, n_negative) == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_the_binormal_error_is_that_of_simulated_studies():
    rng = np.random.default_rng(1)
    labels = np.repeat([1, 0], [60, 140])
    areas = [auc(labels, scores(rng, 0.8, 60, 140)) for _ in range(1500)]
    assert np.std(areas) == pytest.approx(auc_standard_error(0.8, 60, 140), rel=0.06)


@pytest.mark.parametrize("model", MODELS)
def test_the_size_for_a_width_is_the_smallest(model):
    size = sample_size_auc(0.85, 0.04, negatives_per_positive=3, model=model)
    z = stats.norm.ppf(0.975)
    assert z * auc_standard_error(0.85, size.cases, 3 * size.cases, model=model) <= 0.04
    assert z * auc_standard_error(0.85, size.cases - 1, 3 * (size.cases - 1), model=model) > 0.04
    assert size.total == 4 * size.cases
    assert model in size.purpose


def test_power_to_show_a_goal_is_that_of_simulated_studies():
    rng = np.random.default_rng(2)
    labels = np.repeat([1, 0], [100, 150])
    shown = [auc_interval(labels, scores(rng, 0.85, 100, 150)).low > 0.78 for _ in range(600)]
    expected = power_auc_lower_bound(0.85, 0.78, 100, 150)
    assert 0.5 < expected < 0.9
    assert np.mean(shown) == pytest.approx(expected, abs=0.06)


def test_power_to_tell_two_models_apart_is_that_of_simulated_studies():
    rng = np.random.default_rng(3)
    positive = np.repeat([True, False], 250)
    told, correlations = [], []
    for _ in range(300):
        shared = rng.normal(size=500)
        pair = np.stack([math.sqrt(0.6) * shared + math.sqrt(0.4) * rng.normal(size=500) for _ in range(2)])
        pair += math.sqrt(2) * stats.norm.ppf([[0.87], [0.82]]) * positive
        areas, covariance = auc_covariance(positive, pair)
        error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        told.append(abs(areas[0] - areas[1]) > 1.96 * error)
        correlations.append(covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1]))
    expected = power_auc_difference(0.87, 0.82, 250, 250, correlation=float(np.mean(correlations)))
    assert 0.5 < expected < 0.95
    assert np.mean(told) == pytest.approx(expected, abs=0.08)


def test_power_to_show_that_a_model_is_not_inferior_is_that_of_simulated_studies():
    rng = np.random.default_rng(4)
    positive = np.repeat([True, False], 200)
    shown, correlations = [], []
    for _ in range(300):
        shared = rng.normal(size=400)
        pair = np.stack([math.sqrt(0.6) * shared + math.sqrt(0.4) * rng.normal(size=400) for _ in range(2)])
        pair += math.sqrt(2) * stats.norm.ppf([[0.85], [0.86]]) * positive
        areas, covariance = auc_covariance(positive, pair)
        error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        shown.append(areas[0] - areas[1] - 1.96 * error > -0.05)
        correlations.append(covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1]))
    expected = power_auc_difference(0.85, 0.86, 200, 200, correlation=float(np.mean(correlations)), margin=0.05)
    assert 0.4 < expected < 0.95
    assert np.mean(shown) == pytest.approx(expected, abs=0.08)


def test_sizes_within_a_margin_have_the_power_asked_for_and_one_less_has_not():
    size = sample_size_auc_difference(0.84, 0.85, correlation=0.5, margin=0.04)
    arguments = {"correlation": 0.5, "margin": 0.04}
    assert power_auc_difference(0.84, 0.85, size.cases, size.cases, **arguments) >= 0.8
    assert power_auc_difference(0.84, 0.85, size.cases - 1, size.cases - 1, **arguments) < 0.8
    assert "lies above -0.04" in size.purpose
    assert power_auc_difference(0.8, 0.84, 300, 300, **arguments) == pytest.approx(0.025)
    # Superiority in one direction is the two-sided test without its other side.
    assert power_auc_difference(0.8, 0.8, 90, 90, correlation=0.3, margin=0) == pytest.approx(0.025)


def test_sizes_have_the_power_asked_for_and_one_less_has_not():
    size = sample_size_auc_lower_bound(0.85, 0.80, 0.9, negatives_per_positive=2)
    assert power_auc_lower_bound(0.85, 0.80, size.cases, 2 * size.cases) >= 0.9
    assert power_auc_lower_bound(0.85, 0.80, size.cases - 1, 2 * size.cases - 2) < 0.9
    size = sample_size_auc_difference(0.85, 0.82, correlation=0.5)
    assert power_auc_difference(0.85, 0.82, size.cases, size.cases, correlation=0.5) >= 0.8
    assert power_auc_difference(0.85, 0.82, size.cases - 1, size.cases - 1, correlation=0.5) < 0.8
    assert sample_size_auc_difference(0.82, 0.85, correlation=0.5).cases == size.cases


def test_the_same_images_for_both_models_take_fewer_of_them():
    sizes = [sample_size_auc_difference(0.85, 0.82, correlation=shared).cases for shared in (0, 0.5, 0.9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.9 * sizes[1]


def test_equal_areas_are_told_apart_as_often_as_the_test_errs():
    assert power_auc_difference(0.8, 0.8, 100, 100, correlation=0.3) == pytest.approx(0.05)
    assert power_auc_lower_bound(0.8, 0.8, 100, 100) == pytest.approx(0.025)
    assert power_auc_lower_bound(0.8, 0.8, 100, 100, one_sided=True) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: auc_standard_error(0.5, 10, 10), "above 0.5"),
        (lambda: auc_standard_error(0.8, 1, 10), "n_positive=1 must be a number of at least 2"),
        (lambda: auc_standard_error(0.8, 10, 10, model="normal"), "did you mean 'binormal'"),
        (lambda: sample_size_auc(0.8, 0.05, negatives_per_positive=0), "negatives_per_positive=0"),
        (lambda: sample_size_auc(80, 0.05), "expected=80"),
        (lambda: sample_size_auc(0.8, 1e-9), "more than 10,000,000 positives"),
        (lambda: power_auc_lower_bound(0.8, 1, 10, 10), "goal=1 must lie strictly"),
        (lambda: sample_size_auc_lower_bound(0.8, 0.85), "true=0.8 must lie above goal=0.85"),
        (lambda: sample_size_auc_difference(0.8, 0.8, correlation=0.5), "no number of images tells"),
        (lambda: sample_size_auc_difference(0.8, 0.85, correlation=0.5, margin=0.05), "by margin=0.05 or more"),
        (lambda: power_auc_difference(0.8, 0.8, 10, 10, correlation=0.5, margin=1), "margin=1 calls everything"),
        (lambda: power_auc_difference(0.8, 0.8, 10, 10, correlation=0.5, margin=-0.1), "margin=-0.1"),
        (lambda: power_auc_difference(0.8, 0.9, 10, 10, correlation=1), "nothing to tell the models apart"),
        (lambda: power_auc_difference(0.8, 0.9, 10, 10, correlation=0.5, confidence=95), "confidence=95"),
    ],
)
def test_bad_arguments_are_refused_in_words(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
