"""Predictive values at a stated prevalence: Mercaldo's formulas written out, Bayes by hand, several images a
patient."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chexkeras.evaluation.clinical_use.deployment import deployment, deployment_from_outcomes
from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval, proportion_interval
from chexkeras.results import Deployment, Estimate
from tests.evaluation import written_out

quick = settings(derandomize=True, deadline=None, max_examples=60)
PER_1000 = (
    "true_positives_per_1000", "false_negatives_per_1000", "false_positives_per_1000", "true_negatives_per_1000",
)  # fmt: skip


def images(tp, fn, fp, tn):
    return np.repeat([1, 1, 0, 0], [tp, fn, fp, tn]), np.repeat([1, 0, 1, 0], [tp, fn, fp, tn]).astype(bool)


def mercaldo(tp, fn, fp, tn, prevalence, added=0.0):
    """Returns PPV and NPV with their logit limits, as Mercaldo, Lau & Zhou 2007 write them.

    Below 50 images of a class with Student's t at Satterthwaite's degrees of freedom in place of the normal quantile.
    """
    n1, n0 = tp + fn + 2 * added, fp + tn + 2 * added
    se, sp = (tp + added) / n1, (tn + added) / n0
    result = []
    for logit, parts in (
        (
            math.log(se * prevalence / ((1 - sp) * (1 - prevalence))),
            [(1 - se) / se / n1, sp / (1 - sp) / n0],
        ),
        (
            math.log(sp * (1 - prevalence) / ((1 - se) * prevalence)),
            [se / (1 - se) / n1, (1 - sp) / sp / n0],
        ),
    ):
        quantile = stats.norm.ppf(0.975)
        if min(tp + fn, fp + tn) < 50:
            quantile = stats.t.ppf(0.975, written_out.satterthwaite(parts, [tp + fn, fp + tn]))
        half = quantile * math.sqrt(sum(parts))
        ends = (logit, logit - half, logit + half)
        result.append([1 / (1 + math.exp(-end)) for end in ends])
    return result


def numbers(estimate):
    return [estimate.value, estimate.low, estimate.high]


@pytest.mark.parametrize("counts", [(90, 10, 20, 80), (188, 34, 10412, 5736), (12, 3, 1, 300)])
@pytest.mark.parametrize("prevalence", [0.0136, 0.3, 0.9])
def test_independent_images_give_mercaldos_interval_and_few_students_t(counts, prevalence):
    found = deployment_from_outcomes(*images(*counts), prevalence)
    ppv, npv = mercaldo(*counts, prevalence)
    assert numbers(found.ppv) == pytest.approx(ppv, rel=1e-12)
    assert numbers(found.npv) == pytest.approx(npv, rel=1e-12)
    tp, fn, fp, tn = counts
    student = ""
    if tp + fn < 50:
        parts = [1 / tp - 1 / (tp + fn), 1 / fp - 1 / (fp + tn)]
        degrees = written_out.satterthwaite(parts, [tp + fn, fp + tn])
        student = f", Student's t with {degrees:.0f} degrees of freedom"
    assert found.ppv.method == f"Mercaldo 2007, logit interval{student}, at prevalence {prevalence:g}"
    assert found.prevalence == prevalence


def test_predictive_values_and_counts_by_hand_at_one_in_a_hundred():
    # Of 1,000 images 10 are positive, 9 of them found; of 990 negatives a fifth, 198, are called.
    found = deployment_from_outcomes(*images(90, 10, 20, 80), 0.01)
    assert [getattr(found, name).value for name in PER_1000] == pytest.approx([9, 1, 198, 792])
    assert found.ppv.value == pytest.approx(9 / 207)
    assert found.npv.value == pytest.approx(792 / 793)


def test_counts_per_1000_are_the_scaled_intervals_of_sensitivity_and_specificity():
    found = deployment_from_outcomes(*images(90, 10, 20, 80), 0.2)
    sensitivity, specificity = proportion_interval(90, 100), proportion_interval(80, 100)
    low, high = found.true_positives_per_1000.low, found.true_positives_per_1000.high
    assert (low, high) == pytest.approx((200 * sensitivity.low, 200 * sensitivity.high))
    missed = found.false_negatives_per_1000
    assert (missed.low, missed.high) == pytest.approx((200 * (1 - sensitivity.high), 200 * (1 - sensitivity.low)))
    alarms = found.false_positives_per_1000
    assert (alarms.low, alarms.high) == pytest.approx((800 * (1 - specificity.high), 800 * (1 - specificity.low)))
    assert "per 1,000 images at prevalence 0.2, from the specificity (Clopper-Pearson)" in alarms.method


def test_published_estimates_give_the_same_as_outcomes():
    labels, called = images(90, 10, 20, 80)
    found = deployment(
        proportion_interval(90, 100), proportion_interval(80, 100), 0.05, n_positive=100, n_negative=100
    )  # fmt: skip
    assert found == deployment_from_outcomes(labels, called, 0.05)


@pytest.mark.parametrize("counts", [(100, 0, 20, 80), (90, 10, 0, 100), (0, 30, 5, 95), (20, 10, 40, 0)])
def test_a_zero_count_adds_half_the_squared_quantile_to_each(counts):
    added = stats.norm.ppf(0.975) ** 2 / 2
    found = deployment_from_outcomes(*images(*counts), 0.1)
    tp, fn, fp, tn = counts
    for estimate, (_, low, high), value in zip(
        (found.ppv, found.npv),
        mercaldo(*counts, 0.1, added),
        (
            0.1 * tp / (tp + fn) / (0.1 * tp / (tp + fn) + 0.9 * fp / (fp + tn)),
            0.9 * tn / (fp + tn) / (0.9 * tn / (fp + tn) + 0.1 * fn / (tp + fn)),
        ),
        strict=True,
    ):
        assert estimate.value == pytest.approx(value)
        assert (estimate.low, estimate.high) == pytest.approx((min(low, value), max(high, value)), rel=1e-9)
        assert "1.92 added to all four" in estimate.method


def test_at_the_study_prevalence_they_are_the_observed_predictive_values():
    labels, called = images(60, 15, 30, 195)
    found, observed = deployment_from_outcomes(labels, called, 0.25), rates(labels, called)
    assert found.ppv.value == pytest.approx(observed.ppv.value)
    assert found.npv.value == pytest.approx(observed.npv.value)


def clustered(seed, patients):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    ill, look = rng.normal(size=(2, patients))
    labels = 0.8 * ill[owner] + 0.6 * rng.normal(size=len(owner)) > 0.5
    return labels, labels + 0.8 * look[owner] + 0.6 * rng.normal(size=len(owner)) > 0.6, owner


def test_several_images_of_a_patient_widen_the_interval_as_a_slow_bootstrap_does():
    labels, called, owner = clustered(2, 300)
    found = deployment_from_outcomes(labels, called, 0.02, clusters=owner)
    naive = deployment_from_outcomes(labels, called, 0.02)
    rows = [np.flatnonzero(owner == patient) for patient in range(300)]
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(400):
        chosen = np.concatenate([rows[patient] for patient in rng.integers(0, 300, 300)])
        label, call = labels[chosen], called[chosen]
        hits, alarms = call[label].mean(), call[~label].mean()
        drawn.append(0.02 * hits / (0.02 * hits + 0.98 * alarms))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (found.ppv.low, found.ppv.high) == pytest.approx((low, high), rel=0.06)
    assert found.ppv.high - found.ppv.low > 1.15 * (naive.ppv.high - naive.ppv.low)
    assert "300 patients" in found.ppv.method
    assert found.true_positives_per_1000.low == pytest.approx(
        20 * clustered_proportion_interval(called[labels], owner[labels]).low
    )


@quick
@given(st.tuples(*[st.integers(0, 30)] * 4), st.sampled_from([0.001, 0.1, 0.5, 0.99]), st.booleans())
def test_values_lie_in_their_intervals_and_counts_add_up(counts, prevalence, several):
    if not sum(counts):
        return
    labels, called = images(*counts)
    owner = np.arange(len(labels)) // 2 if several else None
    found = deployment_from_outcomes(labels, called, prevalence, clusters=owner)
    for estimate in (found.ppv, found.npv):
        if estimate.estimable:
            assert 0 <= estimate.low <= estimate.value + 1e-12
            assert estimate.value - 1e-12 <= estimate.high <= 1
        else:
            assert estimate.reason
    values = [getattr(found, name) for name in PER_1000]
    assert all(part.low <= part.value <= part.high for part in values if part.estimable)
    if all(part.estimable for part in values):
        assert sum(part.value for part in values) == pytest.approx(1000)


def test_more_frequent_means_a_higher_ppv_and_a_lower_npv():
    labels, called = images(40, 10, 30, 120)
    found = [deployment_from_outcomes(labels, called, share) for share in (0.01, 0.05, 0.2, 0.6)]
    assert sorted(entry.ppv.value for entry in found) == [entry.ppv.value for entry in found]
    assert sorted((entry.npv.value for entry in found), reverse=True) == [entry.npv.value for entry in found]


@pytest.mark.parametrize(
    ("counts", "name", "reason"),
    [
        ((0, 0, 3, 7), "ppv", "no positives"),
        ((0, 0, 3, 7), "true_positives_per_1000", "no positives"),
        ((3, 7, 0, 0), "false_positives_per_1000", "no negatives"),
        ((0, 4, 0, 6), "ppv", "no image is called positive"),
        ((4, 0, 6, 0), "npv", "every image is called positive"),
    ],
)
def test_what_is_undefined_says_why(counts, name, reason):
    estimate = getattr(deployment_from_outcomes(*images(*counts), 0.1), name)
    assert not estimate.estimable
    assert estimate.reason == reason
    assert deployment_from_outcomes(*images(0, 0, 3, 7), 0.1).false_positives_per_1000.value == pytest.approx(270)


def test_one_patient_says_nothing_about_patients():
    found = deployment_from_outcomes([1, 1, 0, 0], [1, 0, 1, 0], 0.1, clusters=["a"] * 4)
    assert found.ppv.reason == "all images come from one patient"


def test_the_figures_survive_json():
    found = deployment_from_outcomes(*images(90, 10, 0, 80), 0.05)
    assert Deployment.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("prevalence", [-0.1, 0, 1, 1.36, math.nan, "rare"])
def test_a_prevalence_that_is_none_is_refused(prevalence):
    for ask in (
        lambda: deployment_from_outcomes([1, 0], [True, False], prevalence),
        lambda: deployment(
            proportion_interval(9, 10), proportion_interval(8, 10), prevalence, n_positive=10, n_negative=10
        ),
    ):
        with pytest.raises(ValueError, match=r"prevalence=.*(strictly between 0 and 1|not a number)"):
            ask()


def test_intervals_and_numbers_must_fit_together():
    found, passed = proportion_interval(9, 10), proportion_interval(8, 10, confidence=0.9)
    with pytest.raises(ValueError, match=r"confidence=0.95, but the interval of the specificity has 0.9"):
        deployment(found, passed, 0.1, n_positive=10, n_negative=10)
    with pytest.raises(ValueError, match="n_negative=0 must be a number of cases above 0"):
        deployment(found, proportion_interval(8, 10), 0.1, n_positive=10, n_negative=0)
    with pytest.raises(ValueError, match="Give decisions"):
        deployment_from_outcomes([1, 0], [0.9, 0.2], 0.1)


def test_a_sensitivity_that_is_not_estimable_passes_its_reason_on():
    unknown = Estimate.not_estimable("no positives")
    found = deployment(unknown, proportion_interval(8, 10), 0.1, n_positive=10, n_negative=10)
    assert found.ppv.reason == found.true_positives_per_1000.reason == "no positives"


def test_images_seen_again_do_not_make_a_predictive_value_more_certain_where_a_count_is_zero():
    labels, called = images(32, 8, 0, 20)
    found = []
    for copies in (2, 100):
        patients = np.repeat(np.arange(60), copies)
        given = np.repeat(labels, copies), np.repeat(called, copies)
        found.append(deployment_from_outcomes(*given, 0.1, clusters=patients).ppv)
    assert found[0].low == pytest.approx(found[1].low)
    assert found[0].low < 0.6
    assert "1.92 added to all four, counted in patients, and reach" in found[0].method
