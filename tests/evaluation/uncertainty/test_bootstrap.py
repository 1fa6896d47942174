"""The patient bootstrap: against copied images and scikit-learn, against DeLong, and by its properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from chexkeras.evaluation.metrics import auc, average_precision
from chexkeras.evaluation.uncertainty.bootstrap import bootstrap_differences, bootstrap_interval, bootstrap_replicates
from chexkeras.evaluation.uncertainty.intervals import auc_interval, auc_variance, proportion_interval
from chexkeras.evaluation.uncertainty.resampling import patient_counts

quick = settings(derandomize=True, deadline=None, max_examples=40)


def sensitivity(labels, scores):
    return float((scores[labels == 1] >= 0.5).mean())


@st.composite
def images(draw):
    n = draw(st.integers(6, 50))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = (rng.random(n) < draw(st.sampled_from([0.1, 0.5]))).astype(float)
    labels[:4] = [1, 1, 0, 0]
    return labels, rng.integers(0, 10, n) / 10, np.append(np.arange(4), rng.integers(0, max(5, n // 2), n - 4))


def test_replicates_equal_scikit_learn_on_the_images_of_the_drawn_patients():
    rng = np.random.default_rng(4)
    labels, scores = rng.random(120) < 0.3, rng.integers(0, 20, 120) / 20
    patients = rng.integers(0, 40, 120)
    names = np.unique(patients)
    ever_positive = np.array([labels[patients == name].any() for name in names])
    drawn = np.concatenate(list(patient_counts(ever_positive, replicates=60, seed=9, width=120)))
    slow = []
    for counts in drawn:
        rows = np.concatenate([np.flatnonzero(patients == name) for name in np.repeat(names, counts)])
        slow.append(roc_auc_score(labels[rows], scores[rows]))
    fast = bootstrap_replicates("auroc", labels, scores, clusters=patients, replicates=60, seed=9)
    np.testing.assert_allclose(fast, slow, rtol=1e-12)
    copied = bootstrap_replicates(lambda y, s: auc(y, s), labels, scores, clusters=patients, replicates=60, seed=9)
    np.testing.assert_array_equal(copied, fast)


def test_findings_on_the_same_images_see_the_same_draws():
    rng = np.random.default_rng(5)
    patients = rng.integers(0, 50, 150)
    labels = (rng.random((150, 3)) < [0.2, 0.4, 0.3]).astype(float)
    labels[rng.random((150, 3)) < 0.1] = math.nan
    scores = rng.random((150, 3))
    together = bootstrap_replicates("auroc", labels, scores, clusters=patients, replicates=40, seed=2)
    assert together.shape == (40, 3)
    names = np.unique(patients)
    ever_positive = np.array([(labels[patients == name] == 1).any() for name in names])
    drawn = np.concatenate(list(patient_counts(ever_positive, replicates=40, seed=2, width=150)))
    for column in range(3):
        known = ~np.isnan(labels[:, column])
        for counts, value in zip(drawn, together[:, column], strict=True):
            times = counts[np.searchsorted(names, patients[known])]
            expected = roc_auc_score(np.repeat(labels[known, column], times), np.repeat(scores[known, column], times))
            assert value == pytest.approx(expected, rel=1e-12)


def test_a_finding_without_positives_has_no_replicates_and_spoils_no_other():
    labels = np.array([[1, 0], [1, 0], [0, 0], [0, 0]])
    replicates = bootstrap_replicates("auroc", labels, np.random.default_rng(1).random((4, 2)), replicates=20)
    assert np.isfinite(replicates[:, 0]).all()
    assert np.isnan(replicates[:, 1]).all()


@quick
@given(images())
def test_the_order_of_rows_does_not_matter(case):
    labels, scores, patients = case
    order = np.random.default_rng(0).permutation(len(labels))
    for clusters, shuffled in ((None, None), (patients, patients[order])):
        for statistic in ("auroc", "average_precision", sensitivity):
            for method in ("percentile", "bca"):
                options = {"method": method, "replicates": 20}
                estimate = bootstrap_interval(statistic, labels, scores, clusters=clusters, **options)
                again = bootstrap_interval(statistic, labels[order], scores[order], clusters=shuffled, **options)
                assert again == estimate or not estimate.estimable


@quick
@given(images(), st.sampled_from(["percentile", "bca"]))
def test_the_interval_contains_its_estimate(case, method):
    labels, scores, patients = case
    for statistic, plain in (("auroc", auc), ("average_precision", average_precision), (sensitivity, sensitivity)):
        estimate = bootstrap_interval(statistic, labels, scores, clusters=patients, method=method, replicates=50)
        if estimate.estimable:
            assert estimate.value == pytest.approx(plain(labels, scores), abs=1e-15)
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        else:
            assert "only one" in estimate.reason or "every bootstrap replicate" in estimate.reason


@quick
@given(images())
def test_replicates_survive_monotone_maps_and_turn_with_the_question(case):
    labels, scores, patients = case
    replicates = bootstrap_replicates("auroc", labels, scores, clusters=patients, replicates=20)
    mapped = bootstrap_replicates("auroc", labels, np.exp(scores) * 9 - 40, clusters=patients, replicates=20)
    np.testing.assert_array_equal(mapped, replicates)
    turned = bootstrap_replicates("auroc", labels, -scores, clusters=patients, replicates=20)
    np.testing.assert_allclose(turned, 1 - replicates, atol=1e-12)


def test_percentiles_are_those_of_the_replicates():
    rng = np.random.default_rng(6)
    labels, scores, patients = rng.random(200) < 0.3, rng.random(200), rng.integers(0, 70, 200)
    estimate = bootstrap_interval("auroc", labels, scores, clusters=patients, confidence=0.9, seed=3)
    replicates = bootstrap_replicates("auroc", labels, scores, clusters=patients, seed=3)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(replicates, [0.05, 0.95])), abs=1e-15)
    assert (estimate.n, estimate.confidence) == (200, 0.9)
    positive = len(np.unique(patients[labels]))
    assert f"bootstrap of {len(np.unique(patients))} patients ({positive} positive), 2000 repl" in estimate.method
    assert estimate != bootstrap_interval("auroc", labels, scores, clusters=patients, confidence=0.9, seed=4)


def test_replicates_spread_as_obuchowskis_variance_says():
    rng = np.random.default_rng(7)
    patients = np.repeat(np.arange(400), 3)
    labels = rng.random(1200) < np.repeat(rng.beta(0.5, 1.5, 400), 3)
    scores = np.repeat(rng.normal(size=400), 3) + rng.normal(size=1200) + labels
    for clusters in (None, patients):
        replicates = bootstrap_replicates("auroc", labels, scores, clusters=clusters)
        error = math.sqrt(auc_variance(labels, scores, clusters=clusters)[1])
        assert replicates.std() == pytest.approx(error, rel=0.06)


def test_repeated_images_leave_the_clustered_error_alone_and_shrink_the_naive_one_by_root_two():
    rng = np.random.default_rng(8)
    labels, patients = rng.random(600) < 0.4, rng.integers(0, 300, 600)
    scores = rng.random(600) + 0.4 * labels
    twice = (np.tile(labels, 2), np.tile(scores, 2))
    once = bootstrap_replicates("auroc", labels, scores, clusters=patients, replicates=500)
    repeated = bootstrap_replicates("auroc", *twice, clusters=np.tile(patients, 2), replicates=500)
    np.testing.assert_allclose(repeated, once, rtol=1e-12)
    naive_once, naive_twice = (bootstrap_replicates("auroc", *images).std() for images in ((labels, scores), twice))
    assert naive_once / naive_twice == pytest.approx(math.sqrt(2), rel=0.05)


# Differences


def test_differences_are_taken_within_a_draw():
    rng = np.random.default_rng(9)
    labels, patients = (rng.random(300) < 0.3).astype(float), rng.integers(0, 90, 300)
    first = rng.random(300) + 0.4 * labels
    second = first + 0.05 * rng.random(300)
    for clusters in (None, patients):
        drawn = bootstrap_differences("auroc", labels, first, second, clusters=clusters, replicates=300)
        apart = bootstrap_replicates("auroc", labels, first, clusters=clusters, replicates=300)
        assert drawn.shape == (300,)
        # The two agree on nearly every pair, so their difference varies far less than either.
        assert drawn.std() < 0.3 * apart.std()
        assert drawn.mean() == pytest.approx(auc(labels, first) - auc(labels, second), abs=3 * drawn.std() / 10)
    by_hand = bootstrap_replicates("auroc", labels, second, clusters=patients, replicates=300)
    np.testing.assert_array_equal(drawn, apart - by_hand)


@pytest.mark.parametrize("statistic", ["auroc", "average_precision", sensitivity])
def test_differences_turn_their_sign_with_the_order_of_models(statistic):
    rng = np.random.default_rng(10)
    labels, first, second = rng.random(100) < 0.5, rng.random(100), rng.random(100)
    forward = bootstrap_differences(statistic, labels, first, second, replicates=30)
    np.testing.assert_array_equal(forward, -bootstrap_differences(statistic, labels, second, first, replicates=30))
    order = rng.permutation(100)
    again = bootstrap_differences(statistic, labels[order], first[order], second[order], replicates=30)
    np.testing.assert_array_equal(forward, again)
    assert (bootstrap_differences(statistic, labels, first, first, replicates=30) == 0).all()


def test_models_on_other_images_are_refused():
    with pytest.raises(ValueError, match=r"first_scores have shape \(3,\) and second_scores \(2,\)"):
        bootstrap_differences("auroc", [1, 0, 1], [0.1, 0.2, 0.3], [0.1, 0.2])


# What cannot be estimated


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([0, 0, 0], "no positives: all 3 known labels are negative"),
        ([1, 1, math.nan], "no negatives: all 2 known labels are positive"),
        ([math.nan] * 3, "no image has a known label"),
        ([1, 0, 0], "only one positive image; a bootstrap needs at least two"),
        ([1, 1, 0], "only one negative image; a bootstrap needs at least two"),
    ],
)
@pytest.mark.parametrize("statistic", ["auroc", "average_precision"])
def test_too_little_is_not_estimable_and_says_why(statistic, labels, reason):
    estimate = bootstrap_interval(statistic, labels, [0.9, 0.5, 0.1])
    assert str(estimate) == f"not estimable: {reason}"


def test_one_positive_patient_is_not_estimable():
    estimate = bootstrap_interval("auroc", [1, 1, 0, 0], [0.9, 0.5, 0.6, 0.1], clusters=["a", "a", "b", "c"])
    assert estimate.reason == "only one positive patient; a bootstrap needs at least two"


def test_perfect_rankings_are_not_said_to_be_known_exactly():
    labels, scores = np.repeat([0, 1], 20), np.linspace(0, 1, 40)
    assert bootstrap_interval("auroc", labels, scores).low == pytest.approx(auc_interval(labels, scores).low)
    assert bootstrap_interval("average_precision", labels, scores).low == proportion_interval(20, 20).low
    estimate = bootstrap_interval(sensitivity, labels, scores)
    assert estimate.reason == "sensitivity is 1 in every bootstrap replicate, so the bootstrap has no interval to offer"


def test_a_statistic_of_negatives_needs_no_positives():
    def specificity(labels, scores):
        return float((scores[labels == 0] < 0.5).mean())

    estimate = bootstrap_interval(specificity, [0] * 100, np.linspace(0, 0.6, 100))
    assert estimate.value == 0.83
    assert (estimate.low, estimate.high) == pytest.approx((0.75, 0.9), abs=0.02)
    assert "100 images (0 positive)" in estimate.method


def test_replicates_without_a_value_are_left_out_and_counted():
    def seldom(labels, scores):
        return math.nan if scores.max() < 0.99 else float(scores.mean())

    labels, scores = np.arange(40) % 2, np.append(np.linspace(0, 0.9, 39), 1.0)
    estimate = bootstrap_interval(seldom, labels, scores, replicates=1000)
    # The only image at 1 is drawn in all but (19/20) ** 20 = 36 % of the replicates.
    left_out = int(estimate.method.split("; ")[1].split()[0])
    assert left_out == pytest.approx(358, abs=60)
    never = bootstrap_interval(lambda y, s: math.nan if len(np.unique(s)) < 40 else 0.5, labels, scores, replicates=50)
    assert never.reason == "statistic has no value in 50 of 50 bootstrap replicates"
    assert "no finite value" in bootstrap_interval(lambda y, s: math.nan, labels, scores).reason


def test_few_positive_patients_are_mentioned():
    rng = np.random.default_rng(2)
    estimate = bootstrap_interval("auroc", np.arange(60) < 5, rng.random(60), replicates=50)
    assert estimate.method.endswith("; interval approximate: worth 5 images")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "bac"}, ValueError, "did you mean 'bca'"),
        ({"confidence": 95}, ValueError, "confidence=95 must lie strictly"),
        ({"replicates": 0}, ValueError, "replicates=0 must be a whole number"),
        ({"statistic": "auc"}, ValueError, "Expected one of: auroc, average_precision"),
        ({"statistic": None}, TypeError, "statistic=None must be a function or text"),
        ({"scores": [0.1, math.nan, 0.3, 0.4]}, ValueError, "1 of 4 scores are NaN or infinite"),
        ({"labels": [1, 0, 2, 0]}, ValueError, "labels must be 1, 0 or NaN"),
        ({"scores": np.zeros((4, 2))}, ValueError, r"scores have shape \(4, 2\)"),
        ({"clusters": ["a", "b", None, "c"]}, ValueError, "1 of 4 clusters are missing"),
        ({"labels": []}, ValueError, "expected a row for each image"),
    ],
)
def test_bad_input_is_refused_in_words(change, error, message):
    good = {"statistic": "auroc", "labels": [1, 0, 1, 0], "scores": [0.4, 0.1, 0.2, 0.3]}
    with pytest.raises(error, match=message):
        bootstrap_interval(**(good | change))
