"""Assumed variance components: by hand, and against ratings drawn from the Roe-Metz model."""

import math

import numpy as np
import pytest
from scipy import special

from chexkeras.evaluation.sample_size.assumed_components import conjectured_components, roe_metz_components
from chexkeras.evaluation.sample_size.auroc import auc_standard_error


def test_conjectured_components_by_hand():
    made = conjectured_components(
        0.03, 100, reader_range=0.08, within_range=0.04, reader_correlation=0.75, correlations=(0.5, 0.4, 0.3)
    )
    # Ranges over four: standard deviations of .02 between and .01 within.
    assert made.treatment_reader == pytest.approx(0.0004 * 0.25 + 0.0001)
    assert made.reader == pytest.approx(0.0004 * 0.75)
    assert (made.error, made.cov1) == pytest.approx((0.0009, 0.00045))
    assert (made.cov2, made.cov3) == pytest.approx((0.00036, 0.00027))
    assert made.n_cases == 100


def test_the_components_of_the_roe_metz_model_are_those_of_ratings_drawn_from_it():
    rng = np.random.default_rng(3)
    area, n_positive, n_negative, n_readers, runs = 0.8, 12, 18, 4, 4000
    of_reader, of_both = (math.sqrt(variance) for variance in (0.03, 0.02))
    of_case, of_modality, of_reading = (math.sqrt(variance) for variance in (0.3, 0.35, 0.1))
    distance = special.ndtri(area) * math.sqrt(2 * 1.05)
    ratings, centres = [], []
    for n, mean in ((n_positive, distance), (n_negative, 0.0)):
        reader = rng.normal(size=(runs, 1, n_readers, 1)) * of_reader
        reader = mean + reader + rng.normal(size=(runs, 2, n_readers, 1)) * of_both
        drawn = reader + rng.normal(size=(runs, 1, 1, n)) * of_case + rng.normal(size=(runs, 2, 1, n)) * of_modality
        drawn = drawn + rng.normal(size=(runs, 1, n_readers, n)) * of_reading
        ratings.append(drawn + rng.normal(size=(runs, 2, n_readers, n)) * math.sqrt(0.25))
        centres.append(reader[..., 0])
    areas = np.mean([(ratings[0] > ratings[1][..., [k]]).mean(axis=3) for k in range(n_negative)], axis=0)
    true = special.ndtr((centres[0] - centres[1]) / math.sqrt(2))
    error, spread = areas - true, true - area
    apart = ~np.eye(n_readers, dtype=bool)

    def mean_product(first, second, other_reader):
        products = np.einsum("ni,nj->ij", first, second) / runs
        return products[apart].mean() if other_reader else np.trace(products) / n_readers

    found = [
        np.mean([mean_product(spread[:, i], spread[:, i], False) for i in (0, 1)])
        - mean_product(spread[:, 0], spread[:, 1], False),
        np.mean([mean_product(error[:, i], error[:, i], False) for i in (0, 1)]),
        mean_product(error[:, 0], error[:, 1], False),
        np.mean([mean_product(error[:, i], error[:, i], True) for i in (0, 1)]),
        mean_product(error[:, 0], error[:, 1], True),
        mean_product(spread[:, 0], spread[:, 1], False),
    ]
    made = roe_metz_components(area, n_positive, n_negative, readers=(0.03, 0.02), cases=(0.3, 0.35, 0.1))
    assert areas.mean() == pytest.approx(area, abs=0.003)
    expected = [made.treatment_reader, made.error, made.cov1, made.cov2, made.cov3, made.reader]
    assert found == pytest.approx(expected, rel=0.08)


def test_without_differences_between_readers_the_error_is_that_of_one_area():
    made = roe_metz_components(0.85, 60, 40, readers=(0.0, 0.0))
    assert made.error == pytest.approx(auc_standard_error(0.85, 60, 40) ** 2, rel=1e-9)
    assert (made.treatment_reader, made.reader) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_readings_that_share_no_case_effect_do_not_covary():
    made = roe_metz_components(0.85, 60, 40, cases=(0.0, 0.0, 0.0))
    assert (made.cov2, made.cov3) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert made.cov1 == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: conjectured_components(0, 10, reader_range=0.1, within_range=0), "standard_error=0"),
        (lambda: conjectured_components(0.1, 1, reader_range=0.1, within_range=0), "n_cases=1"),
        (lambda: conjectured_components(0.1, 10, reader_range=10, within_range=0), "reader_range=10"),
        (
            lambda: conjectured_components(0.1, 9, reader_range=0.1, within_range=0, correlations=(0.5, 0.4)),
            "must be 3 values",
        ),
        (
            lambda: conjectured_components(0.1, 9, reader_range=0.1, within_range=0, correlations=(0.6, 0.5, 0.1)),
            "without any variance",
        ),
        (lambda: roe_metz_components(0.5, 10, 10), "above 0.5"),
        (lambda: roe_metz_components(0.8, 10, 10, cases=(0.5, 0.3, 0.2)), "must add up to less than 1"),
        (lambda: roe_metz_components(0.8, 10, 10, readers=(0.1,)), "must be 2 values"),
        (lambda: roe_metz_components(0.8, 10, 10, readers=(0.1, -0.1)), "each at least 0"),
    ],
)
def test_bad_arguments_are_refused_in_words(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
