"""Closed-form limits: published numbers and SciPy. Intervals made of them are tested in files of their own."""

import math

import pytest
from scipy import stats

from chexkeras.evaluation.uncertainty.limits import (
    clopper_pearson,
    hanley_mcneil_variance,
    logit_limits,
    newcombe_auc,
    normal_quantile,
    wilson,
)


@pytest.mark.parametrize(("confidence", "quantile"), [(0.95, 1.959963984540054), (0.9, 1.6448536269514722)])
def test_quantiles_of_the_normal_distribution(confidence, quantile):
    assert normal_quantile(confidence) == pytest.approx(quantile, abs=1e-12)


def test_newcombes_table_of_proportions_is_reproduced():
    """81 of 263 in Newcombe, Statistics in Medicine 17, 1998, Table I."""
    assert wilson(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert clopper_pearson(81, 263, 0.95) == pytest.approx((0.2527, 0.3676), abs=5e-5)


def test_clopper_pearson_at_a_fraction_lies_between_its_neighbours():
    low, middle, high = (clopper_pearson(successes, 20, 0.95) for successes in (7, 7.5, 8))
    assert low[0] < middle[0] < high[0]
    assert low[1] < middle[1] < high[1]
    assert (clopper_pearson(0, 20, 0.95)[0], clopper_pearson(20, 20, 0.95)[1]) == (0, 1)


def test_logit_limits_by_hand():
    # logit(.8) = log 4; .05 / (.8 x .2) = .3125.
    low, high = logit_limits(0.8, 0.05, 0.95)
    for limit, sign in ((low, -1), (high, 1)):
        assert math.log(limit / (1 - limit)) == pytest.approx(math.log(4) + sign * 1.959963984540054 * 0.3125)
    wider = logit_limits(0.8, 0.05, 0.95, degrees=9)
    assert math.log(wider[1] / (1 - wider[1])) == pytest.approx(math.log(4) + stats.t.ppf(0.975, 9) * 0.3125)
    assert logit_limits(0.8, 0.05, 0.95, degrees=1e9) == pytest.approx((low, high), abs=1e-8)


def test_hanley_and_mcneils_variance_with_averaged_sizes():
    # Their formula for 51 abnormal and 58 normal at .8932: Q1 = A/(2-A), Q2 = 2A^2/(1+A), error .0325 as recomputed
    # from Radiology 143, 1982. Averaging the sizes keeps the two digits printed.
    area = 0.8931710615280596
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    theirs = (area * (1 - area) + 50 * (first - area**2) + 57 * (second - area**2)) / (51 * 58)
    assert math.sqrt(theirs) == pytest.approx(0.03248657960734211, rel=1e-9)
    assert math.sqrt(hanley_mcneil_variance(area, 51, 58)) == pytest.approx(0.032, abs=5e-4)
    averaged = (area * (1 - area) + 53.5 * (first - area**2) + 53.5 * (second - area**2)) / (51 * 58)
    assert hanley_mcneil_variance(area, 51, 58) == pytest.approx(averaged, rel=1e-9)


def test_newcombes_limits_of_perfect_and_inflated_areas():
    # Newcombe, Statistics in Medicine 25, 2006, method 5: .899 to 1 at 20 against 20.
    low, high = newcombe_auc(1.0, 20, 20, 0.95)
    assert (f"{low:.3f}", high) == ("0.899", 1)
    assert newcombe_auc(0.0, 20, 20, 0.95) == pytest.approx((0, 1 - low), abs=1e-9)
    plain, inflated = newcombe_auc(0.8, 20, 50, 0.95), newcombe_auc(0.8, 20, 50, 0.95, inflation=2)
    assert inflated[0] < plain[0] < 0.8 < plain[1] < inflated[1]
    assert newcombe_auc(0.8, 20, 50, 0.95, inflation=(1.6448536269514722 / 1.959963984540054) ** 2) == pytest.approx(
        newcombe_auc(0.8, 20, 50, 0.9), abs=1e-9
    )
