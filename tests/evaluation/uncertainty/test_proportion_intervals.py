"""Intervals of proportions, of independent images and of patients: published numbers, statsmodels, loops, coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval, proportion_interval
from tests.evaluation import written_out
from tests.evaluation.uncertainty.drawn_images import images, limits, quick


@pytest.mark.parametrize(
    ("successes", "n", "wilson", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0000, 0.1611), (0.0000, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_newcombes_table_is_reproduced(successes, n, wilson, exact):
    """Newcombe, Statistics in Medicine 17, 1998, Table I, methods 3 (Wilson) and 5 (Clopper-Pearson)."""
    assert limits(proportion_interval(successes, n, method="wilson")) == pytest.approx(wilson, abs=5e-5)
    assert limits(proportion_interval(successes, n)) == pytest.approx(exact, abs=5e-5)


@pytest.mark.parametrize(
    ("successes", "n", "published"),
    [(283, 299, (0.9465, 0.9146, 0.9691)), (518, 589, (0.8795, 0.8504, 0.9046))],
)
def test_intervals_printed_for_the_red_dot_device_are_reproduced(successes, n, published):
    """Sensitivity and specificity in the 510(k) summary of red dot, K191556 (Clopper-Pearson)."""
    estimate = proportion_interval(successes, n)
    assert (estimate.value, *limits(estimate)) == pytest.approx(published, abs=5.1e-5)


@pytest.mark.parametrize(
    ("hits", "misses", "alarms", "passed", "sensitivity", "specificity"),
    [
        (188, 34, 10412, 5736, (0.7926, 0.8915), (0.3478, 0.3627)),
        (45, 177, 1291, 14857, (0.1519, 0.2617), (0.9158, 0.9242)),
        (89, 133, 2527, 13621, (0.3359, 0.4686), (0.8378, 0.8491)),
        (122, 100, 4843, 11305, (0.4816, 0.6162), (0.6930, 0.7071)),
    ],
)
def test_course_experiments_1a_to_2b_get_their_missing_intervals(
    hits, misses, alarms, passed, sensitivity, specificity
):
    """Confusion matrices reconstructed from the four published recalls and accuracies (222 of 16,370 positive)."""
    assert limits(proportion_interval(hits, hits + misses)) == pytest.approx(sensitivity, abs=5.1e-5)
    assert limits(proportion_interval(passed, passed + alarms)) == pytest.approx(specificity, abs=5.1e-5)


@quick
@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_proportions_agree_with_statsmodels_and_contain_their_estimate(n, data, confidence):
    from statsmodels.stats.proportion import proportion_confint

    successes = data.draw(st.integers(0, n))
    for method, theirs in (("clopper-pearson", "beta"), ("wilson", "wilson")):
        estimate = proportion_interval(successes, n, method=method, confidence=confidence)
        assert limits(estimate) == pytest.approx(
            proportion_confint(successes, n, alpha=1 - confidence, method=theirs), abs=1e-9
        )
        assert estimate.low <= estimate.value <= estimate.high


def test_no_cases_are_not_estimable():
    assert str(proportion_interval(0, 0)) == "not estimable: no cases (n = 0)"


@pytest.mark.parametrize(
    ("successes", "n", "method", "message"),
    [
        (3, 2, "wilson", "successes=3 exceed n=2"),
        (-1, 2, "wilson", "successes=-1"),
        (0.5, 2, "wilson", "whole number"),
        (1, 2, "clopper", "did you mean 'clopper-pearson'"),
    ],
)
def test_impossible_counts_are_refused(successes, n, method, message):
    with pytest.raises(ValueError, match=message):
        proportion_interval(successes, n, method=method)


@pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
def test_confidence_must_be_a_fraction(confidence):
    with pytest.raises(ValueError, match="confidence"):
        proportion_interval(1, 2, confidence=confidence)
    with pytest.raises(ValueError, match="confidence"):
        auc_interval([0, 1], [0.1, 0.2], confidence=confidence)


def test_clustered_proportion_by_hand():
    # Residuals of the patients from 6/8: 3 - 2.25, 2 - 1.5, 1 - 2.25. Squares: .5625 + .25 + 1.5625 = 2.375, against
    # 6 x .0625 + 2 x .5625 = 1.5 of the images. Analysis of variance: between patients .8333 with 2 degrees of freedom,
    # within them .6667 with 5, at (8 - 22 / 8) / 2 = 2.625 images a patient: a correlation of .2833 / .6333. At 22 / 8
    # images over worth this says 1.783, more than 2.375 / 1.5. Student's t at .975: 2.364624 with 7 degrees, and with
    # 64 / 22 - 1 of what the three patients are worth.
    outcomes, patients = [1, 1, 1, 1, 1, 1, 0, 0], list("aaabbccc")
    effective = 8 / (1 + 1.75 * 0.283333 / 0.633333) * (2.364624 / stats.t.ppf(0.975, 64 / 22 - 1)) ** 2
    estimate = clustered_proportion_interval(outcomes, patients)
    assert f"effective sample size {effective:.1f}" in estimate.method
    assert "8 images of 3 patients" in estimate.method
    assert (estimate.value, estimate.n) == (0.75, 8)
    by_hand = written_out.clopper_pearson(0.75 * effective, effective)
    assert limits(estimate) == pytest.approx(by_hand, rel=1e-4)


@quick
@given(images())
def test_clustered_proportion_is_clopper_pearson_at_the_effective_size(case):
    outcomes, _, patients = case
    if outcomes.all() or len(set(patients)) == len(patients):
        return
    effective = written_out.effective_size(outcomes == 1, patients.tolist())
    found = clustered_proportion_interval(outcomes, patients)
    assert limits(found) == pytest.approx(written_out.clopper_pearson(outcomes.mean() * effective, effective), abs=1e-9)


@quick
@given(images())
def test_clustered_proportion_is_never_narrower_than_the_plain_one(case):
    outcomes, _, patients = case
    plain = proportion_interval(int(outcomes.sum()), len(outcomes))
    clustered = clustered_proportion_interval(outcomes, patients)
    assert clustered.value == plain.value
    assert clustered.low <= plain.low + 1e-12
    assert clustered.high >= plain.high - 1e-12


@quick
@given(images())
def test_one_image_for_each_patient_gives_the_plain_interval(case):
    outcomes, _, _ = case
    names = [f"{number:08d}" for number in range(len(outcomes))]
    assert clustered_proportion_interval(outcomes, names) == proportion_interval(int(outcomes.sum()), len(outcomes))


def test_images_that_only_repeat_their_patient_count_as_patients():
    outcomes = np.repeat(np.arange(200) % 4 > 0, 3)
    repeated = clustered_proportion_interval(outcomes, np.repeat(np.arange(200), 3))
    plain = proportion_interval(150, 200)
    assert limits(repeated) == pytest.approx(limits(plain), abs=2e-3)


@pytest.mark.parametrize(("outcome", "successes"), [(0, 0), (1, 7)])
def test_without_variance_patients_are_counted(outcome, successes):
    estimate = clustered_proportion_interval([outcome] * 21, np.arange(21) // 3)
    assert limits(estimate) == pytest.approx(limits(proportion_interval(successes, 7)))
    assert "on patients" in estimate.method


@pytest.mark.parametrize("outcome", [0, 1])
def test_without_variance_patients_count_as_what_they_are_worth(outcome):
    # Thirteen patients of whom one has eight images: 20^2 over 64 + 12 is 5.26.
    estimate = clustered_proportion_interval([outcome] * 20, [0] * 8 + list(range(1, 13)))
    assert limits(estimate) == pytest.approx(written_out.clopper_pearson(outcome * 400 / 76, 400 / 76))
    assert "on patients, worth 5.3, because the images do not vary; 20 images of 13 patients" in estimate.method


def test_images_of_a_single_patient_tell_almost_nothing():
    estimate = clustered_proportion_interval([1, 0, 1, 1], ["a"] * 4)
    assert estimate.high - estimate.low > 0.9


def test_no_image_gives_the_reason_of_the_caller():
    estimate = clustered_proportion_interval([], [], empty="no image scores below the threshold")
    assert str(estimate) == "not estimable: no image scores below the threshold"


def test_clustered_proportion_covers_where_the_plain_one_does_not():
    rng = np.random.default_rng(13)
    patients = np.repeat(np.arange(50), 6)
    covered = {"plain": 0, "clustered": 0}
    for _ in range(500):
        # Sensitivity .8 on average, differing between patients with an intraclass correlation of .5.
        outcomes = rng.random(300) < np.repeat(rng.beta(0.8, 0.2, 50), 6)
        clustered = clustered_proportion_interval(outcomes, patients)
        plain = proportion_interval(int(outcomes.sum()), 300)
        covered["clustered"] += clustered.low <= 0.8 <= clustered.high
        covered["plain"] += plain.low <= 0.8 <= plain.high
    assert 0.92 <= covered["clustered"] / 500 <= 0.985
    assert covered["plain"] / 500 < 0.8


def test_clustered_proportion_covers_with_60_patients_of_as_many_images_as_nihs_with_pneumothorax():
    rng = np.random.default_rng(0)
    covered, by_number = 0, 0
    for _ in range(300):
        patients = np.repeat(np.arange(60), written_out.nih_sizes(rng, 60, "pneumothorax"))
        hits = rng.random(len(patients)) < rng.beta(0.9, 0.1, 60)[patients]
        estimate = clustered_proportion_interval(hits, patients)
        covered += estimate.low <= 0.9 <= estimate.high
        # What covered too rarely: the ratio of squares alone, and 60 patients counted as 60.
        deviations = hits - hits.mean()
        ratio = np.sum(np.bincount(patients, deviations) ** 2) / np.sum(deviations**2)
        student = stats.t.ppf(0.975, len(hits) - 1) / stats.t.ppf(0.975, 59)
        size = len(hits) / max(1, ratio) * student**2
        low, high = written_out.clopper_pearson(hits.mean() * size, size)
        by_number += low <= 0.9 <= high
    assert covered / 300 >= 0.93
    assert by_number / 300 < 0.91


@pytest.mark.parametrize("patients", [["a", None, "b"], [1.0, math.nan, 2.0], ["a", "b"]])
def test_every_image_needs_its_patient(patients):
    with pytest.raises(ValueError, match="patient"):
        clustered_proportion_interval([1, 0, 1], patients)
    with pytest.raises(ValueError, match="patient"):
        auc_interval([1, 0, 1], [0.1, 0.2, 0.3], clusters=patients)


def test_outcomes_other_than_0_and_1_are_refused():
    with pytest.raises(ValueError, match="0/1"):
        clustered_proportion_interval([0.2, math.nan], ["a", "b"])


@pytest.mark.slow
@pytest.mark.parametrize(("n", "sensitivity"), [(10, 0.8), (100, 0.9)])
def test_clopper_pearson_never_covers_less_than_it_says(n, sensitivity):
    rng = np.random.default_rng(22)
    counts = np.arange(n + 1)
    intervals = [proportion_interval(int(count), n) for count in counts]
    inside = np.array([estimate.low <= sensitivity <= estimate.high for estimate in intervals])
    exact = stats.binom.pmf(counts, n, sensitivity)[inside].sum()
    simulated = inside[rng.binomial(n, sensitivity, 20_000)].mean()
    assert simulated == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-9)
    assert exact >= 0.95
