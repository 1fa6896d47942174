"""Enriched sets brought to their population: by hand, against copied images, Mercaldo, scikit-learn and a bootstrap."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.metrics import average_precision_score, roc_auc_score

from chexkeras.evaluation.clinical_use.deployment import deployment_from_outcomes
from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.sampling_weights import WeightedEvaluation, population_weights, weighted_evaluation
from chexkeras.evaluation.uncertainty.influence import spread, weighted_auc, weighted_share
from chexkeras.evaluation.uncertainty.intervals import auc_interval, average_precision_interval
from chexkeras.evaluation.uncertainty.precision_draws import average_precision_draws, weighted_average_precision

quick = settings(derandomize=True, deadline=None, max_examples=15)
STATISTICS = ("prevalence", "auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv")


def drawn(rng, n_positive, n_negative, gap=1.5, images=1):
    owner = np.repeat(np.arange(n_positive + n_negative), images)
    labels = (owner < n_positive).astype(float)
    scores = rng.normal(size=n_positive + n_negative)[owner] + 0.7 * rng.normal(size=len(owner)) * (images > 1)
    return labels, scores + gap * labels, owner


def test_ten_rows_by_hand():
    # Three positives, two of them called; weights 1, 2, 3. Four negatives, one called; weights 2, 2, 4, 8.
    labels = [1, 1, 1, 0, 0, 0, 0, np.nan]
    scores = [0.9, 0.8, 0.1, 0.85, 0.3, 0.2, 0.05, 0.5]
    weights = [1, 2, 3, 2, 2, 4, 8, 100]
    found = weighted_evaluation(labels, scores, weights, population="the clinic", threshold=0.5)
    assert found.sensitivity.value == pytest.approx(3 / 6)
    assert found.specificity.value == pytest.approx(14 / 16)
    assert found.ppv.value == pytest.approx(3 / 5)
    assert found.npv.value == pytest.approx(14 / 17)
    assert found.prevalence.value == pytest.approx(6 / 22)
    # 0.9 beats 16, 0.8 beats 14, 0.1 beats 8 of 16.
    assert found.auroc.value == pytest.approx((1 * 16 + 2 * 14 + 3 * 8) / (6 * 16))
    # Precision where each positive is called: 1/1, 3/5, 6/14.
    assert found.average_precision.value == pytest.approx((1 * 1 + 2 * 3 / 5 + 3 * 6 / 14) / 6)
    assert (found.n_images, found.n_positive) == (7, 3)
    assert found.worth_positive == pytest.approx(36 / 14)
    assert all("weighted to the clinic" in getattr(found, name).method for name in STATISTICS)


@quick
@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 10**6))
def test_values_are_those_of_images_copied_as_often_as_they_weigh(n_positive, n_negative, seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat([1.0, 0.0], [n_positive, n_negative])
    scores = rng.integers(0, 8, len(labels)) / 8
    times = rng.integers(1, 5, len(labels))
    found = weighted_evaluation(labels, scores, times, population="copies", threshold=0.5)
    copied = np.repeat(labels, times), np.repeat(scores, times)
    assert found.auroc.value == pytest.approx(roc_auc_score(*copied))
    assert found.auroc.value == pytest.approx(roc_auc_score(labels, scores, sample_weight=times))
    assert found.average_precision.value == pytest.approx(average_precision_score(*copied))
    plain = rates(copied[0], copied[1] >= 0.5)
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        one, other = getattr(found, name), getattr(plain, name)
        assert one.estimable == other.estimable
        if one.estimable:
            assert one.value == pytest.approx(other.value)
            assert one.low <= one.value <= one.high


def test_equal_weights_of_independent_images_give_the_plain_intervals():
    labels, scores, _ = drawn(np.random.default_rng(1), 60, 200)
    found = weighted_evaluation(labels, scores, np.full(260, 7.0), population="itself", threshold=1.0)
    plain = rates(labels, scores >= 1.0)
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        one, other = getattr(found, name), getattr(plain, name)
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-9)
    area = auc_interval(labels, scores)
    assert (found.auroc.value, found.auroc.low, found.auroc.high) == pytest.approx((area.value, area.low, area.high))
    few = drawn(np.random.default_rng(2), 12, 40)
    one, other = weighted_evaluation(*few[:2], np.ones(52), population="itself").auroc, auc_interval(*few[:2])
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)
    assert (found.worth, found.worth_positive, found.worth_negative) == pytest.approx((260, 60, 200))


def test_equal_weights_of_several_images_a_patient_give_nearly_the_plain_intervals():
    labels, scores, owner = drawn(np.random.default_rng(3), 60, 150, images=3)
    found = weighted_evaluation(labels, scores, np.ones(630), population="itself", threshold=1.0, clusters=owner)
    plain = rates(labels, scores >= 1.0, clusters=owner)
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        one, other = getattr(found, name), getattr(plain, name)
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-9)
    area = auc_interval(labels, scores, clusters=owner)
    assert (found.auroc.low, found.auroc.high) == pytest.approx((area.low, area.high), abs=0.002)
    precision = average_precision_interval(labels, scores, clusters=owner)
    limits = found.average_precision.low, found.average_precision.high
    assert limits == pytest.approx((precision.low, precision.high), abs=0.04)
    assert "630 images of 210 patients" in found.auroc.method


def test_weights_by_label_alone_give_the_predictive_values_of_deployment():
    labels, scores, _ = drawn(np.random.default_rng(4), 80, 300)
    weights = population_weights(labels, {1: 0.02, 0: 0.98})
    found = weighted_evaluation(labels, scores, weights, population="2 %", threshold=1.0, strata=labels)
    other = deployment_from_outcomes(labels, scores >= 1.0, 0.02)
    assert found.ppv.value == pytest.approx(other.ppv.value)
    assert found.npv.value == pytest.approx(other.npv.value)
    # Mercaldo's interval is on the logit scale, this one is Clopper-Pearson's; both have the same variance.
    assert (found.ppv.low, found.ppv.high) == pytest.approx((other.ppv.low, other.ppv.high), rel=0.15)
    assert found.prevalence.value == found.prevalence.low == found.prevalence.high == pytest.approx(0.02)
    assert "fixed by the shares of the strata" in found.prevalence.method
    plain = rates(labels, scores >= 1.0)
    assert (found.sensitivity.low, found.sensitivity.high) == pytest.approx(
        (plain.sensitivity.low, plain.sensitivity.high)
    )


def test_the_linearised_variance_of_an_area_is_that_of_a_bootstrap_of_patients():
    rng = np.random.default_rng(5)
    labels, scores, owner = drawn(rng, 60, 120, images=2)
    weights = np.where(labels == 1, 0.2, 1.0) * rng.uniform(0.5, 2, 180)[owner]
    positive = labels == 1
    found = weighted_auc(positive, scores, weights)
    variance = spread(weights * found.of_images, owner, positive.astype(int), (positive, ~positive)).variance
    values = []
    for _ in range(600):
        counts = np.bincount(np.concatenate([rng.integers(0, 60, 60), rng.integers(60, 180, 120)]), minlength=180)
        values.append(weighted_auc(positive, scores, weights * counts[owner]).value)
    assert math.sqrt(variance) == pytest.approx(np.std(values), rel=0.1)


def test_influences_are_derivatives_by_the_weights():
    rng = np.random.default_rng(6)
    positive, scores, weights = rng.random(12) < 0.5, rng.integers(0, 6, 12) / 6, rng.uniform(0.5, 2, 12)
    hits, among = rng.random(12) < 0.5, rng.random(12) < 0.7
    for statistic in (
        lambda w: weighted_auc(positive, scores, w),
        lambda w: weighted_share(hits, among, w),
    ):
        found = statistic(weights)
        for k in range(12):
            moved = weights.copy()
            moved[k] += 1e-6
            assert (statistic(moved).value - found.value) / 1e-6 == pytest.approx(found.of_images[k], abs=1e-5)
        assert weights @ found.of_images == pytest.approx(0, abs=1e-12)


def test_stratified_variance_of_a_mean_as_in_textbooks():
    # Cochran, Sampling Techniques, 1977, section 5.9: sum of squared shares times the variance within each stratum.
    rng = np.random.default_rng(7)
    strata = np.repeat([0, 1, 2], [20, 30, 50])
    hits = rng.random(100) < np.array([0.2, 0.5, 0.9])[strata]
    shares = np.array([0.5, 0.3, 0.2])
    weights = (shares / (np.bincount(strata) / 100))[strata]
    found = weighted_share(hits, np.ones(100, dtype=bool), weights)
    by_hand = sum(shares[h] ** 2 * np.var(hits[strata == h], ddof=1) / (strata == h).sum() for h in range(3))
    assert found.value == pytest.approx(sum(shares[h] * hits[strata == h].mean() for h in range(3)))
    everything = np.ones(100, dtype=bool)
    found = spread(weights * found.of_images, np.arange(100), strata, (everything,))
    assert found.variance == pytest.approx(by_hand)


def test_a_stratum_with_one_patient_leaves_no_variance_and_is_named():
    strata = ["a"] * 20 + ["b"] * 2
    labels, scores = [1, 0] * 11, [k % 7 / 7 for k in range(22)]
    weights = population_weights(strata, {"a": 0.5, "b": 0.5})
    found = weighted_evaluation(
        labels, scores, weights, population="p", threshold=0.5, strata=strata, clusters=[*range(20), 90, 90]
    )
    assert "the stratum b has one patient only" in found.auroc.reason


def test_where_every_call_is_right_one_heavy_false_alarm_could_still_have_been_missed():
    # 40 true positives that weigh 0.1 each are worth 0.8 of one negative that weighs 5.
    labels, scores = [1] * 40 + [0] * 40, [0.9] * 40 + [0.1] * 40
    found = weighted_evaluation(labels, scores, [0.1] * 40 + [5.0] * 40, population="p", threshold=0.5)
    assert found.ppv.value == 1
    assert found.ppv.low == pytest.approx(stats.beta.ppf(0.025, 0.8, 1))
    equal = weighted_evaluation(labels, scores, np.ones(80), population="p", threshold=0.5)
    assert equal.ppv.low == pytest.approx(stats.beta.ppf(0.025, 40, 1))
    assert equal.sensitivity.low == pytest.approx(stats.beta.ppf(0.025, 40, 1))


def test_draws_between_order_statistics_have_the_moments_of_a_uniform_sample():
    # One positive above 1 of 4 equally weighted negatives: its false-positive rate is Beta(2, 4)-like in the middle of
    # the second of five gaps; precision is 1 / (1 + rate) at equal class weights.
    positive, scores = np.array([True, True, False, False, False, False]), np.array([0.75, 0.75, 0.9, 0.6, 0.4, 0.2])
    weights = np.array([0.5, 0.5, 0.25, 0.25, 0.25, 0.25])
    values = average_precision_draws(positive, scores, weights, np.arange(6), positive.astype(int), replicates=4000)
    gaps = np.random.default_rng(1).dirichlet(np.ones(5), 200_000)
    expected = 1 / (1 + gaps[:, 0] + gaps[:, 1] / 2)
    assert np.quantile(values, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(expected, [0.1, 0.5, 0.9]), abs=0.01)
    assert weighted_average_precision(positive, scores, weights) == pytest.approx(1 / 1.25)


def test_a_flattered_average_precision_is_said_and_its_interval_reaches_down():
    labels, scores, _ = drawn(np.random.default_rng(10), 100, 100, gap=2.0)
    weights = population_weights(labels, {1: 0.01, 0: 0.99})
    found = weighted_evaluation(labels, scores, weights, population="1 %", strata=labels)
    assert any("is flattered" in caution for caution in found.cautions)
    # The population's own average precision, from a very large sample.
    many = np.random.default_rng(0).normal(size=400_000) + 2.0 * (np.arange(400_000) < 4000)
    truth = weighted_average_precision(np.arange(400_000) < 4000, many, np.ones(400_000))
    assert found.average_precision.low <= truth <= found.average_precision.high
    assert truth < found.average_precision.value


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(11)
    labels, scores, owner = drawn(rng, 20, 60, images=2)
    scores, weights = np.round(scores, 1), rng.uniform(0.5, 2, 160)
    views = np.where(rng.random(160) < 0.5, "PA", "AP")
    order = rng.permutation(160)
    for clusters in (owner, None):
        one, other = (
            weighted_evaluation(
                labels[rows], scores[rows], weights[rows], population="p", threshold=1.0, strata=views[rows],
                clusters=None if clusters is None else clusters[rows],
            )
            for rows in (np.arange(160), order)
        )  # fmt: skip
        for name in STATISTICS:
            first, second = getattr(one, name), getattr(other, name)
            assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high))


def test_population_weights_of_finding_and_view_by_hand():
    strata = pd.DataFrame({"finding": [1, 1, 1, 0], "view": ["AP", "AP", "PA", "PA"]})
    weights = population_weights(strata, {(1, "AP"): 0.1, (1, "PA"): 0.1, (0, "PA"): 0.8})
    assert weights == pytest.approx([0.2, 0.2, 0.4, 3.2])
    assert weights.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("strata", "shares", "error", "message"),
    [
        ([1, 0], {1: 0.1}, ValueError, "no share is given for the strata 0"),
        ([1, 0], {1: 0.1, 0: 0.8, 2: 0.1}, ValueError, "no image is of the strata 2"),
        ([1, 0], {1: 0.1, 0: 0.8}, ValueError, "shares sum to 0.9"),
        ([1, 0], {1: 0.0, 0: 1.0}, ValueError, "share of 1 is 0"),
        ([1, 0], {1: -0.1, 0: 1.1}, ValueError, "share of 1=-0.1"),
        ([1, None], {1: 0.5, 0: 0.5}, ValueError, "1 of 2 images have no stratum"),
        ([1, 0], [0.5, 0.5], TypeError, "shares must be a dict"),
    ],
)
def test_shares_that_make_no_population_are_refused(strata, shares, error, message):
    with pytest.raises(error, match=message):
        population_weights(strata, shares)


@pytest.mark.parametrize(
    ("weights", "how", "message"),
    [
        ([1, 0, 1], {}, "1 of 3 weights are not above 0, first 0"),
        ([1, -2, 1], {}, "first -2"),
        ([1, np.inf, 1], {}, "first inf"),
        ([1, 1], {}, "weights have shape"),
        ([1, 1, 1], {"population": " "}, "say in words"),
        ([1, 1, 1], {"threshold": "high"}, "threshold='high'"),
        ([1, 1, 1], {"threshold": math.nan}, "threshold is NaN"),
        ([1, 1, 1], {"strata": [1, 0]}, "strata name 2 images"),
        ([1, 1, 1], {"confidence": 95}, "confidence=95"),
        ([1, 1, 1], {"clusters": [1, 2]}, "clusters have shape"),
    ],
)
def test_bad_arguments_are_told(weights, how, message):
    with pytest.raises(ValueError, match=message):
        weighted_evaluation([1, 0, 0], [0.3, 0.2, 0.1], weights, **{"population": "p"} | how)


def test_a_missing_class_and_no_threshold_are_reasons():
    found = weighted_evaluation([0, 0], [0.1, 0.2], [1, 1], population="p")
    assert found.auroc.reason == "no positives: all 2 known labels are negative"
    assert found.sensitivity.reason == "no threshold was given"
    assert weighted_evaluation([0, 0], [0.1, 0.2], [1, 1], population="p", threshold=1).sensitivity.reason == (
        "no positives"
    )


def test_the_record_survives_json_and_names_what_it_is_worth():
    labels, scores, _ = drawn(np.random.default_rng(12), 10, 30)
    found = weighted_evaluation(labels, scores, np.where(labels == 1, 0.01, 1.0), population="p", threshold=1.0)
    again = WeightedEvaluation.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert list(found.to_frame()["statistic"]) == list(STATISTICS)
    heavy = weighted_evaluation(labels, scores, special.expit(np.arange(40.0) - 38), population="p", threshold=1.0)
    assert any("are worth" in caution for caution in heavy.cautions)
    assert "interval approximate: worth" in heavy.auroc.method


def test_limits_cover_where_classes_are_enriched_and_patients_have_two_images():
    rng = np.random.default_rng(13)
    truth = {"auroc": stats.norm.cdf(1.5 / math.sqrt(2 * 1.49)), "specificity": stats.norm.cdf(1 / math.sqrt(1.49))}
    alarm = 0.95 * (1 - truth["specificity"])
    hit = 0.05 * stats.norm.sf((1 - 1.5) / math.sqrt(1.49))
    truth["ppv"] = hit / (hit + alarm)
    runs, covered = 50, dict.fromkeys(truth, 0)
    for _ in range(runs):
        labels, scores, owner = drawn(rng, 40, 120, images=2)
        weights = population_weights(labels, {1: 0.05, 0: 0.95})
        found = weighted_evaluation(
            labels, scores, weights, population="p", threshold=1.0, strata=labels, clusters=owner
        )
        for name, value in truth.items():
            covered[name] += getattr(found, name).low <= value <= getattr(found, name).high
    assert all(0.86 <= count / runs <= 1 for count in covered.values())


def test_a_perfect_ranking_is_not_above_1_by_rounding():
    for seed in range(20):
        labels = np.repeat([0.0, 1.0], 30)
        weights = np.random.default_rng(seed).random(60) + 0.1
        found = weighted_evaluation(labels, labels, weights, population="a hospital").auroc
        assert found.low <= found.value <= found.high <= 1.0
