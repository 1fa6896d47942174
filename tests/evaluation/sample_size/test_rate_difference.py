"""Planning comparisons of rates: exact powers against every outcome tried, simulated studies, large numbers."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from chexkeras.evaluation.comparison.paired_tests import mcnemar
from chexkeras.evaluation.sample_size.rate_difference import (
    power_paired_rates,
    power_unpaired_rates,
    sample_size_paired_rates,
    sample_size_unpaired_rates,
)
from chexkeras.evaluation.uncertainty.limits import wilson


@pytest.mark.parametrize(
    ("n", "new", "old", "margin", "discordance"),
    [
        (14, 0.9, 0.85, 0.2, 0.2),
        (17, 0.7, 0.8, 0.25, None),
        (16, 0.8, 0.5, 0.0, 0.4),
        (16, 0.8, 0.5, 0.03, 0.4),
        (15, 0.9, 0.9, 0.15, 0.0),
    ],
)
def test_paired_power_is_the_sum_over_every_outcome_of_what_the_interval_shows(n, new, old, margin, discordance):
    share = new * (1 - old) + old * (1 - new) if discordance is None else discordance
    cells = ((share + new - old) / 2, (share - new + old) / 2, 1 - share)
    chance = stats.multinomial(n, cells)
    expected = sum(
        chance.pmf((first, second, n - first - second))
        for first, second in itertools.product(range(n + 1), repeat=2)
        if first + second <= n and mcnemar(first, second, n)[0].low > -margin
    )
    found = power_paired_rates(n, new, old, margin=margin, discordance=discordance)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("sizes", "new", "old", "margin"), [((15, 12), 0.9, 0.8, 0.2), ((9, 20), 0.5, 0.6, 0.4)])
def test_unpaired_power_is_the_sum_over_every_outcome_of_what_the_interval_shows(sizes, new, old, margin):
    expected = 0.0
    for first, second in itertools.product(range(sizes[0] + 1), range(sizes[1] + 1)):
        p, q = first / sizes[0], second / sizes[1]
        low = wilson(first, sizes[0], 0.95)[0]
        high = wilson(second, sizes[1], 0.95)[1]
        if p - q - math.hypot(p - low, high - q) > -margin:
            expected += stats.binom.pmf(first, sizes[0], new) * stats.binom.pmf(second, sizes[1], old)
    assert power_unpaired_rates(*sizes, new, old, margin=margin) == pytest.approx(expected, abs=1e-9)


def test_newcombes_published_interval_is_the_one_planned_for():
    # Newcombe 1998, Statistics in Medicine 17, 873-890, table II: 56/70 - 48/80, method 10: .0524 to .3339.
    low = wilson(56, 70, 0.95)[0], wilson(48, 80, 0.95)[1]
    assert 56 / 70 - 48 / 80 - math.hypot(56 / 70 - low[0], low[1] - 48 / 80) == pytest.approx(0.0524, abs=5e-5)


def test_a_difference_at_the_margin_is_shown_as_often_as_the_test_errs():
    assert power_paired_rates(400, 0.83, 0.88, margin=0.05, discordance=0.15) == pytest.approx(0.025, abs=0.004)
    # Beside 0 stands McNemar's exact test, which errs less often than it may.
    assert 0.015 < power_paired_rates(400, 0.85, 0.85, margin=0, discordance=0.15) < 0.025
    assert power_unpaired_rates(500, 500, 0.83, 0.88, margin=0.05) == pytest.approx(0.025, abs=0.004)


def test_many_cases_follow_the_normal_distribution():
    # 3,000 cases, 10 % discordant, no true difference: the error is sqrt(.1 / 3000), and a margin of .015 lies 2.6 of
    # them away; at the margin itself Tango's error is a little larger.
    found = power_paired_rates(3000, 0.9, 0.9, margin=0.015, discordance=0.1)
    assert found == pytest.approx(stats.norm.cdf(0.015 / math.sqrt(0.1 / 3000) - 1.96), abs=0.02)
    found = power_unpaired_rates(3000, 3000, 0.9, 0.9, margin=0.02)
    assert found == pytest.approx(stats.norm.cdf(0.02 / math.sqrt(0.18 / 3000) - 1.96), abs=0.02)


def test_the_size_lasts():
    plan = sample_size_paired_rates(0.88, 0.88, margin=0.08, discordance=0.1)
    arguments = {"margin": 0.08, "discordance": 0.1}
    powers = {n: power_paired_rates(n, 0.88, 0.88, **arguments) for n in range(1, plan.lasting + 150)}
    assert all(powers[n] >= 0.8 for n in range(plan.lasting, plan.lasting + 150))
    assert powers[plan.lasting - 1] < 0.8
    assert plan.smallest == next(n for n, power in powers.items() if power >= 0.8)
    assert plan.power == powers[plan.lasting]


def test_the_unpaired_size_lasts():
    plan = sample_size_unpaired_rates(0.9, 0.9, margin=0.1, old_per_new=2)
    powers = [power_unpaired_rates(n, 2 * n, 0.9, 0.9, margin=0.1) for n in range(plan.lasting - 1, plan.lasting + 60)]
    assert powers[0] < 0.8 <= min(powers[1:])
    assert "2 times as many other cases" in plan.purpose


def test_a_large_size_is_found_without_trying_all():
    plan = sample_size_paired_rates(0.85, 0.88, margin=0.037, discordance=0.05)
    assert plan.lasting > 5000
    assert power_paired_rates(plan.lasting, 0.85, 0.88, margin=0.037, discordance=0.05) >= 0.8
    assert power_paired_rates(plan.lasting - 50, 0.85, 0.88, margin=0.037, discordance=0.05) < 0.8


def test_readings_that_agree_take_fewer_cases_and_other_cases_take_more():
    sizes = [sample_size_paired_rates(0.9, 0.9, margin=0.08, discordance=share).lasting for share in (0.05, 0.1, None)]
    assert sizes == sorted(sizes)
    assert sizes[-1] < 1.3 * sample_size_unpaired_rates(0.9, 0.9, margin=0.08).lasting


def test_rates_without_discordance_are_shown_as_soon_as_there_are_enough_cases():
    # No case differs; Tango's lower limit is then -z^2 / (n + z^2), above -.05 from 73 cases on.
    plan = sample_size_paired_rates(0.95, 0.95, margin=0.05, discordance=0.0)
    assert (plan.lasting, plan.smallest, plan.power) == (73, 73, pytest.approx(1.0))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: power_paired_rates(0, 0.9, 0.9, margin=0.1), "n=0 must be a whole number"),
        (lambda: power_paired_rates(10, 90, 0.9, margin=0.1), "new=90"),
        (lambda: power_paired_rates(10, 0.9, 0.9, margin=5), "margin=5"),
        (lambda: power_paired_rates(10, 0.9, 0.9, margin=1), "margin=1 calls everything"),
        (lambda: power_paired_rates(10, 0.9, 0.8, margin=0.1, discordance=0.05), "at least 0.1 and at most 0.3"),
        (lambda: power_paired_rates(10, 0.9, 0.8, margin=0.1, discordance=0.35), "at least 0.1 and at most 0.3"),
        (lambda: sample_size_paired_rates(0.8, 0.9, margin=0.1), "lies below old=0.9 by the margin of 0.1 or more"),
        (lambda: sample_size_paired_rates(0.9, 0.9, margin=0.001), "ask for less power or a wider margin"),
        (lambda: sample_size_unpaired_rates(0.9, 0.9, margin=0.1, old_per_new=0), "old_per_new=0"),
        (lambda: sample_size_unpaired_rates(0.9, 0.9, 80, margin=0.1), "power=80"),
    ],
)
def test_bad_arguments_are_refused_in_words(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


def test_simulated_readings_show_it_as_often_as_said():
    rng = np.random.default_rng(2)
    drawn = rng.multinomial(120, [0.08, 0.06, 0.86], size=2000)
    outcomes, counts = np.unique(drawn[:, :2], axis=0, return_counts=True)
    shown = sum(count for (first, second), count in zip(outcomes, counts, strict=True)
                if mcnemar(int(first), int(second), 120)[0].low > -0.07)  # fmt: skip
    expected = power_paired_rates(120, 0.9, 0.88, margin=0.07, discordance=0.14)
    assert 0.5 < expected < 0.95
    assert shown / 2000 == pytest.approx(expected, abs=0.035)
