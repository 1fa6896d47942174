"""A device and two readers without the truth: the closed solution, brute-force likelihood, Dawid-Skene, coverage."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats

from chexkeras.evaluation.agreement.dawid_skene import dawid_skene
from chexkeras.evaluation.reference_standard.latent import LatentTruth, latent_truth

RATES = ((0.85, 0.9), (0.8, 0.95), (0.7, 0.97))


def drawn(rng, n, prevalence, rates=RATES, images=1, alike=0.0):
    """Calls and readings; a share `alike` of the luck of a patient's images is the same."""
    owner = np.repeat(np.arange(n // images), images)
    positive = (rng.random(n // images) < prevalence)[owner]
    columns = []
    for sensitivity, specificity in rates:
        luck = np.where(rng.random(n) < alike, rng.random(n // images)[owner], rng.random(n))
        columns.append(luck < np.where(positive, sensitivity, 1 - specificity))
    return np.stack(columns, axis=1).astype(float), owner


def closed(values):
    """Prevalence and rates from three covariances and the third central moment (Pepe & Janes 2007 solve it alike)."""
    means = values.mean(axis=0)
    second = np.cov(values.T, bias=True)
    third = (values - means).prod(axis=1).mean()
    ratio = third**2 / (second[0, 1] * second[0, 2] * second[1, 2])
    prevalence = (1 - math.copysign(math.sqrt(ratio / (4 + ratio)), third)) / 2
    rates = []
    for one, (other, last) in enumerate(((1, 2), (0, 2), (0, 1))):
        reach = math.sqrt(
            second[one, other] * second[one, last] / second[other, last] / (prevalence * (1 - prevalence))
        )
        rates.append((means[one] + (1 - prevalence) * reach, 1 - means[one] + prevalence * reach))
    return prevalence, rates


def test_two_readers_and_a_device_have_the_closed_solution():
    values, _ = drawn(np.random.default_rng(1), 900, 0.3)
    found = latent_truth(values[:, 0], values[:, 1:])
    prevalence, rates = closed(values)
    assert found.prevalence.value == pytest.approx(prevalence, abs=1e-5)
    assert (found.sensitivity.value, found.specificity.value) == pytest.approx(rates[0], abs=1e-5)
    for reader, expected in zip(found.readers, rates[1:], strict=True):
        assert (reader.sensitivity.value, reader.specificity.value) == pytest.approx(expected, abs=1e-5)


def test_expected_counts_give_back_what_they_were_made_of():
    rows, times = [], []
    for pattern in itertools.product((0, 1), repeat=3):
        positive = np.prod([a if x else 1 - a for x, (a, _) in zip(pattern, RATES, strict=True)])
        negative = np.prod([1 - b if x else b for x, (_, b) in zip(pattern, RATES, strict=True)])
        rows.append(pattern)
        times.append(round(100_000 * (0.2 * positive + 0.8 * negative)))
    values = np.repeat(rows, times, axis=0)
    found = latent_truth(values[:, 0], values[:, 1:])
    assert found.prevalence.value == pytest.approx(0.2, abs=1e-3)
    assert (found.sensitivity.value, found.specificity.value) == pytest.approx(RATES[0], abs=1e-3)


def test_limits_are_where_a_brute_force_profile_likelihood_has_fallen():
    values, _ = drawn(np.random.default_rng(2), 250, 0.3)
    found = latent_truth(values[:, 0], values[:, 1:])
    patterns, counts = np.unique(values, axis=0, return_counts=True)

    def minus(parameters):
        prevalence, rest = parameters[0], parameters[1:].reshape(2, 3)
        positive = np.where(patterns == 1, rest[0], 1 - rest[0]).prod(axis=1)
        negative = np.where(patterns == 1, 1 - rest[1], rest[1]).prod(axis=1)
        return -float(counts @ np.log(prevalence * positive + (1 - prevalence) * negative))

    best = np.array([
        found.prevalence.value, found.sensitivity.value, *(reader.sensitivity.value for reader in found.readers),
        found.specificity.value, *(reader.specificity.value for reader in found.readers),
    ])  # fmt: skip
    most = -minus(best)
    for limit in (found.sensitivity.low, found.sensitivity.high):
        held = optimize.minimize(
            lambda some, limit=limit: minus(special.expit(np.insert(some, 1, special.logit(limit)))),
            special.logit(np.delete(best, 1)), method="Nelder-Mead",
            options={"maxiter": 20_000, "maxfev": 20_000, "xatol": 1e-8, "fatol": 1e-10},
        )  # fmt: skip
        assert 2 * (most + held.fun) == pytest.approx(stats.chi2.ppf(0.95, 1), abs=2e-3)


def test_four_readers_agree_with_dawid_and_skene():
    values, _ = drawn(np.random.default_rng(3), 500, 0.3, rates=(*RATES, (0.9, 0.85), (0.75, 0.9)))
    values[np.random.default_rng(4).random(values.shape) < 0.1] = np.nan
    values = values[~np.isnan(values[:, 0])]
    names = ["A", "B", "C", "D"]
    found = latent_truth(values[:, 0], pd.DataFrame(values[:, 1:], columns=names))
    table = pd.DataFrame(values, columns=["device", *names], index=[str(k) for k in range(len(values))])
    table = table[table[names].notna().any(axis=1)]
    other = dawid_skene(table, replicates=2, tolerance=1e-9)
    assert found.sensitivity.value == pytest.approx(other.sensitivities["device"].value, abs=1e-4)
    assert [reader.name for reader in found.readers] == names
    for reader in found.readers:
        assert reader.specificity.value == pytest.approx(other.specificities[reader.name].value, abs=1e-4)
    assert "no way to check" not in found.cautions[0]


def test_showing_every_image_twice_changes_next_to_nothing():
    values, _ = drawn(np.random.default_rng(5), 300, 0.3)
    once = latent_truth(values[:, 0], values[:, 1:])
    twice = np.repeat(values, 2, axis=0)
    again = latent_truth(twice[:, 0], twice[:, 1:], clusters=np.repeat(np.arange(300), 2))
    assert again.sensitivity.value == pytest.approx(once.sensitivity.value, abs=1e-6)
    # Student's t at 300 patients in place of the normal distribution.
    assert (again.sensitivity.low, again.sensitivity.high) == pytest.approx(
        (once.sensitivity.low, once.sensitivity.high), abs=2e-3
    )


def test_the_order_of_rows_changes_nothing():
    values, owner = drawn(np.random.default_rng(6), 240, 0.4, images=3)
    order = np.random.default_rng(7).permutation(240)
    one = latent_truth(values[:, 0], values[:, 1:], clusters=owner)
    other = latent_truth(values[order, 0], values[order, 1:], clusters=owner[order])
    for name in ("sensitivity", "specificity", "prevalence"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high), abs=1e-4)


def test_a_rate_of_1_has_no_upper_limit_and_is_said():
    values = np.repeat([[1, 1, 1], [1, 1, 0], [0, 0, 0], [0, 0, 1]], [30, 10, 50, 2], axis=0)
    found = latent_truth(values[:, 0], values[:, 1:])
    assert found.sensitivity.value == pytest.approx(1, abs=1e-4)
    assert found.sensitivity.high > 1 - 1e-6
    # No image contradicts it among the 40 that both find: the likelihood of x^40 falls by chi squared / 2.
    assert found.sensitivity.low == pytest.approx(math.exp(-stats.chi2.ppf(0.95, 1) / 2 / 40), abs=0.01)
    assert any("estimated as 1" in caution for caution in found.cautions)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[1, 1, 0], [1, 0, 1], [1, 1, 1]], "device finds every image positive"),
        ([[1, 1, 0], [0, 0, 0], [1, 1, 0]], "reader 2 finds no image positive"),
        ([[1, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]], "device and reader 2 agree no more than chance"),
        (
            [[1, 1, np.nan], [0, 0, np.nan], [1, np.nan, 1], [0, np.nan, 0]],
            "no image has both reader 1 and reader 2",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(values, reason):
    values = np.array(values, dtype=float)
    found = latent_truth(values[:, 0], values[:, 1:])
    assert reason in found.sensitivity.reason
    assert found.readers[1].name == "reader 2"
    assert not found.prevalence.estimable


def test_json_and_table():
    values, _ = drawn(np.random.default_rng(8), 200, 0.4)
    found = latent_truth(values[:, 0], values[:, 1:])
    assert LatentTruth.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert list(found.to_frame()["of"]) == ["device", "reader 1", "reader 2"]
    assert "no way to check" in found.cautions[0]


@pytest.mark.parametrize(
    ("called", "readings", "how", "message"),
    [
        ([1, 0], [[1], [0]], {}, "more unknown rates than counts"),
        ([1, 0], [1, 0], {}, "one call, and one reading of each reader"),
        ([1, np.nan], [[1, 1], [0, 0]], {}, "1 of 2 calls are missing"),
        ([1, 0], [[1, 1], [0, 5]], {}, "reader 2: labels must be 1, 0 or NaN"),
        ([1, 0], pd.DataFrame({"device": [1, 0], "B": [1, 0]}), {}, "none may be 'device'"),
        ([], np.empty((0, 2)), {}, "are empty"),
        ([1, 0], [[1, 1], [0, 0]], {"clusters": [1]}, "clusters have shape"),
        ([1, 0], [[1, 1], [0, 0]], {"confidence": 2}, "confidence=2"),
    ],
)
def test_bad_arguments_are_told(called, readings, how, message):
    with pytest.raises(ValueError, match=message):
        latent_truth(called, readings, **how)


def test_rates_are_nearly_unbiased_and_their_limits_cover():
    rng = np.random.default_rng(9)
    runs, values = 16, []
    covered = 0
    for _ in range(runs):
        read, owner = drawn(rng, 400, 0.3, images=2, alike=0.3)
        found = latent_truth(read[:, 0], read[:, 1:], clusters=owner)
        values.append((found.sensitivity.value, found.specificity.value))
        covered += found.sensitivity.low <= RATES[0][0] <= found.sensitivity.high
    assert covered / runs >= 0.75
    assert np.mean(values, axis=0) == pytest.approx(RATES[0], abs=0.03)
