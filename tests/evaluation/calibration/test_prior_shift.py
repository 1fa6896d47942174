"""Scores at another prevalence: the closed formula, and prevalence estimated from scores, against slow ways."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from chexkeras.evaluation.calibration import prior_shift
from chexkeras.evaluation.calibration.prior_shift import estimate_prevalence, shift_probabilities
from chexkeras.evaluation.uncertainty.resampling import patient_counts

quick = settings(derandomize=True, deadline=None, max_examples=60)


def calibrated(rng, n, prevalence, trained_at=0.5, gap=1.5):
    """Returns scores calibrated at `trained_at` of images with another prevalence, and their labels."""
    labels = rng.random(n) < prevalence
    seen = rng.normal(size=n) + gap * labels
    return special.expit(gap * seen - gap**2 / 2 + special.logit(trained_at)), labels


def test_a_score_of_80_percent_at_equal_classes_becomes_5_percent_at_1_36():
    # Odds 4 times (.0136 / .9864): computed independently, full precision.
    shifted = shift_probabilities([0.8], from_prevalence=0.5, to_prevalence=0.0136)
    assert shifted[0] == pytest.approx(0.05226748654880862, rel=1e-14)
    assert shift_probabilities(0.8, from_prevalence=0.5, to_prevalence=0.0136).shape == ()


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_shifting_keeps_order_and_can_be_undone(scores, before, after):
    given = np.array(scores)
    shifted = shift_probabilities(given, from_prevalence=before, to_prevalence=after)
    assert ((shifted >= 0) & (shifted <= 1)).all()
    order = np.argsort(given, kind="stable")
    assert (np.diff(shifted[order]) >= 0).all()
    back = shift_probabilities(shifted, from_prevalence=after, to_prevalence=before)
    assert back == pytest.approx(given, abs=1e-9)
    assert shift_probabilities(given, from_prevalence=before, to_prevalence=before) == pytest.approx(given, abs=1e-12)
    inside = (given > 1e-9) & (given < 1 - 1e-9)
    moved = special.logit(shifted[inside]) - special.logit(given[inside])
    assert moved == pytest.approx(special.logit(after) - special.logit(before), abs=1e-5)


def test_certainty_stays_certainty():
    assert list(shift_probabilities([0, 1], from_prevalence=0.3, to_prevalence=0.01)) == [0, 1]


def test_shifted_scores_are_calibrated_at_the_new_prevalence():
    rng = np.random.default_rng(1)
    scores, labels = calibrated(rng, 400_000, 0.05)
    shifted = shift_probabilities(scores, from_prevalence=0.5, to_prevalence=0.05)
    assert shifted.mean() == pytest.approx(labels.mean(), abs=0.002)
    for low, high in ((0.02, 0.05), (0.1, 0.2), (0.4, 0.6)):
        rows = (shifted > low) & (shifted < high)
        assert labels[rows].mean() == pytest.approx(shifted[rows].mean(), abs=4 * 0.5 / math.sqrt(rows.sum()))


def likelihood_maximum(scores, before):
    def negative(at):
        return -np.log(at * scores / before + (1 - at) * (1 - scores) / (1 - before)).sum()

    return optimize.minimize_scalar(negative, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}).x


@pytest.mark.parametrize(("prevalence", "trained_at"), [(0.1, 0.5), (0.4, 0.2), (0.9, 0.5)])
def test_em_ends_where_the_likelihood_is_largest(prevalence, trained_at):
    scores, _ = calibrated(np.random.default_rng(2), 600, prevalence, trained_at)
    found = estimate_prevalence(scores, train_prevalence=trained_at, replicates=50)
    assert found.converged
    assert found.prevalence.value == pytest.approx(likelihood_maximum(scores, trained_at), abs=1e-5)
    # At the fixed point the mean of the shifted scores is the prevalence.
    assert found.scores.mean() == pytest.approx(found.prevalence.value, abs=1e-7)
    shifted = shift_probabilities(scores, from_prevalence=trained_at, to_prevalence=found.prevalence.value)
    assert found.scores == pytest.approx(shifted, abs=1e-9)


def test_the_interval_is_that_of_a_slow_bootstrap_of_patients():
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(120), 4)
    labels = np.repeat(rng.random(120) < 0.2, 4)
    seen = np.repeat(rng.normal(size=120), 4) + 0.3 * rng.normal(size=480) + 1.5 * labels
    scores = special.expit(1.5 * seen - 1.5**2 / 2)
    found = estimate_prevalence(scores, train_prevalence=0.5, clusters=patients).prevalence
    drawn = []
    for _ in range(500):
        rows = (4 * rng.integers(0, 120, 120)[:, None] + np.arange(4)).ravel()
        drawn.append(likelihood_maximum(scores[rows], 0.5))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))
    naive = estimate_prevalence(scores, train_prevalence=0.5).prevalence
    assert found.high - found.low > 1.5 * (naive.high - naive.low)
    assert "480 images of 120 patients" in found.method
    assert "valid for calibrated scores and a change of prevalence alone" in found.method


def test_replicates_are_the_likelihood_maxima_of_the_images_drawn():
    scores = np.sort(calibrated(np.random.default_rng(11), 400, 0.02, gap=3)[0])
    found = estimate_prevalence(scores, train_prevalence=0.5, replicates=60, seed=4).prevalence
    draws = np.concatenate(list(patient_counts(np.zeros(400, dtype=bool), replicates=60, seed=4, width=400)))
    slow = [likelihood_maximum(np.repeat(scores, times), 0.5) for times in draws]
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=2e-5)


def test_one_image_of_each_patient_is_the_same_as_no_patients():
    scores, _ = calibrated(np.random.default_rng(4), 100, 0.3)
    alone = estimate_prevalence(scores, train_prevalence=0.5, replicates=100)
    named = estimate_prevalence(scores, train_prevalence=0.5, replicates=100, clusters=np.arange(100))
    assert alone.prevalence == named.prevalence


def test_one_seed_gives_one_result_whatever_the_order_of_rows():
    scores, _ = calibrated(np.random.default_rng(5), 200, 0.3)
    arguments = {"train_prevalence": 0.5, "replicates": 200}
    first, again = (estimate_prevalence(rows, **arguments).prevalence for rows in (scores, scores[::-1]))
    assert (again.value, again.low, again.high) == pytest.approx((first.value, first.low, first.high), abs=1e-9)
    other = estimate_prevalence(scores, seed=1, **arguments).prevalence
    assert (other.low, other.high) != (first.low, first.high)


def test_images_without_any_sign_of_the_finding_give_zero_with_an_upper_limit():
    rng = np.random.default_rng(6)
    scores = special.expit(rng.normal(-3, 0.3, 200))
    found = estimate_prevalence(scores, train_prevalence=0.5)
    assert found.prevalence.value == found.prevalence.low == 0
    assert found.converged
    assert (found.scores < 1e-6).all()
    everything = estimate_prevalence(1 - scores, train_prevalence=0.5)
    assert everything.prevalence.value == everything.prevalence.high == 1


def test_scores_of_exactly_0_and_1_do_not_break_it():
    found = estimate_prevalence([0.0, 1.0, 0.2, 0.1, 0.9, 0.0], train_prevalence=0.5, replicates=100)
    assert 0.2 < found.prevalence.value < 0.6
    assert np.isfinite(found.scores).all()


@quick
@given(st.integers(2, 40), st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_the_interval_contains_the_estimate_and_stays_within_0_and_1(n, trained_at, seed):
    rng = np.random.default_rng(seed)
    found = estimate_prevalence(
        rng.random(n), train_prevalence=trained_at, replicates=50, clusters=rng.integers(0, 5, n)
    ).prevalence  # fmt: skip
    if found.estimable:
        assert 0 <= found.low <= found.value <= found.high <= 1
    else:
        assert found.reason


def test_steps_that_do_not_suffice_are_said():
    scores, _ = calibrated(np.random.default_rng(7), 300, 0.05)
    found = estimate_prevalence(scores, train_prevalence=0.5, iterations=2, replicates=20)
    assert (found.iterations, found.converged) == (2, False)
    assert "not converged" in found.prevalence.method


@pytest.mark.parametrize(
    ("scores", "clusters", "reason"),
    [([0.3, 0.3, 0.3], None, "all scores are equal"), ([0.3, 0.6], ["a", "a"], "all images come from one patient")],
)
def test_what_says_nothing_is_not_estimable(scores, clusters, reason):
    found = estimate_prevalence(scores, train_prevalence=0.5, clusters=clusters)
    assert reason in found.prevalence.reason
    assert list(found.scores) == scores
    assert not found.converged


@pytest.mark.parametrize(
    ("scores", "arguments", "message"),
    [
        ([0.2, 1.4], {}, "look like logits"),
        ([0.2, math.nan], {}, "1 of 2 scores are NaN"),
        ([], {}, "at least one score"),
        ([[0.2, 0.3]], {}, r"shape \(1, 2\)"),
        ([0.2, 0.3], {"train_prevalence": 0}, "train_prevalence=0 must lie strictly"),
        ([0.2, 0.3], {"train_prevalence": -0.2}, "train_prevalence=-0.2 must lie strictly"),
        ([0.2, 0.3], {"iterations": 0}, "iterations=0"),
        ([0.2, 0.3], {"tolerance": 0}, "tolerance=0"),
        ([0.2, 0.3], {"confidence": 95}, "confidence=95"),
        ([0.2, 0.3], {"clusters": ["a"]}, "one patient for each image"),
    ],
)
def test_bad_input_is_refused_in_words(scores, arguments, message):
    with pytest.raises(ValueError, match=message):
        estimate_prevalence(scores, **{"train_prevalence": 0.5, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to_prevalence": 1.36}, "to_prevalence=1.36 must lie strictly between 0 and 1"),
        ({"from_prevalence": -0.5}, "from_prevalence=-0.5 must lie strictly between 0 and 1"),
        ({"to_prevalence": 0}, "to_prevalence=0"),
    ],
)
def test_a_prevalence_that_is_none_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        shift_probabilities([0.5], **{"from_prevalence": 0.5, "to_prevalence": 0.1, **arguments})
    with pytest.raises(ValueError, match="look like logits"):
        shift_probabilities([2.5], from_prevalence=0.5, to_prevalence=0.1)


@pytest.mark.slow
def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(300):
        scores, _ = calibrated(rng, 300, 0.2)
        found = estimate_prevalence(scores, train_prevalence=0.5, replicates=300).prevalence
        covered += found.low <= 0.2 <= found.high
    assert 0.91 <= covered / 300 <= 0.985


@pytest.mark.parametrize("images", [1, 3])
def test_blocks_of_patients_give_the_same_interval(monkeypatch, images):
    rng = np.random.default_rng(12)
    scores, _ = calibrated(rng, 600, 0.3)
    patients = rng.permutation(600) // images
    arguments = {"train_prevalence": 0.5, "replicates": 50, "clusters": patients}
    whole = estimate_prevalence(scores, **arguments)
    monkeypatch.setattr(prior_shift, "_CELLS_AT_ONCE", 65 * 37)
    monkeypatch.setattr(prior_shift, "_COUNTS_AT_ONCE", 600 * 7)
    blocks = estimate_prevalence(scores, **arguments)
    assert (blocks.prevalence.low, blocks.prevalence.high) == pytest.approx(
        (whole.prevalence.low, whole.prevalence.high), abs=1e-12
    )


def test_memory_grows_with_the_images_and_not_with_images_times_prevalences(monkeypatch):
    monkeypatch.setattr(prior_shift, "_CELLS_AT_ONCE", 2**16)
    monkeypatch.setattr(prior_shift, "_COUNTS_AT_ONCE", 2**18)
    scores = np.random.default_rng(0).beta(1, 5, 50_000)
    tracemalloc.start()
    estimate_prevalence(scores, train_prevalence=0.15, replicates=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 65 numbers for each image would be 26 megabytes.
    assert peak < 16 * scores.nbytes
