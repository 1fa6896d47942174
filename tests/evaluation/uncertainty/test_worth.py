"""What patients are worth: by hand, against an analysis of variance written out, and without cliffs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.subgroups import areas_differ, proportions_differ
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval
from chexkeras.evaluation.uncertainty.worth import (
    Agreement,
    approximate,
    effective_size,
    kish,
    satterthwaite,
    student_p_value,
    student_quantile,
)
from tests.evaluation import written_out

quick = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def values_of_patients(draw):
    n = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    owner = rng.integers(0, draw(st.sampled_from([1, 2, 5, 30])), n)
    values = rng.normal(size=owner.max() + 1)[owner] * draw(st.sampled_from([0.0, 1.0])) + rng.normal(size=n)
    if draw(st.booleans()):
        values = (values > 0).astype(float)
    return values - values.mean(), owner


def test_kish_counts_patients_with_equally_many_images_and_hardly_those_with_one_beside_one_with_hundred():
    assert kish(np.repeat(np.arange(7), 5)) == pytest.approx(7)
    # (100 + 50)^2 over 100^2 + 50.
    assert kish(np.array([0] * 100 + list(range(1, 51)))) == pytest.approx(22_500 / 10_050)
    assert kish(np.array([3])) == 1
    assert kish(np.array([], dtype=np.int64)) == 0


@quick
@given(values_of_patients())
def test_kish_lies_between_1_and_the_number_of_patients(case):
    _, owner = case
    assert kish(owner) == pytest.approx(written_out.kish(owner))
    assert 1 <= kish(owner) <= len(np.unique(owner)) + 1e-9
    assert Agreement.of(np.zeros(len(owner)), owner).worth == pytest.approx(kish(owner))


def test_design_effect_by_hand():
    # Patients with values (1, 1), (-1, -1), (1, -1): sums 2, -2, 0, so 8 over 6 squares. Analysis of variance: between
    # patients 4 with 2 degrees, within them 2 with 3, so (2 - 2/3) / (2 + 2/3) = 1/2 and 1 + (2 - 1) / 2.
    agreement = Agreement.of(np.array([1.0, 1, -1, -1, 1, -1]), np.array([0, 0, 1, 1, 2, 2]))
    assert float(agreement.correlation()) == pytest.approx(0.5)
    assert float(agreement.design_effect()) == pytest.approx(1.5)


@quick
@given(values_of_patients())
def test_design_effect_agrees_with_an_analysis_of_variance_written_out(case):
    values, owner = case
    agreement = Agreement.of(values, owner)
    found = float(agreement.design_effect())
    assert found == pytest.approx(written_out.design_effect(values, owner), rel=1e-9)
    # All images of a patient agreeing is the worst that the images themselves can say of each other's correlation.
    assert found >= 1
    assert float(agreement.correlation()) <= 1


def test_design_effect_is_that_of_statsmodels_variance_components_where_sizes_are_equal():
    # With 4 images of each patient the moments of the analysis of variance are the restricted likelihood's, too.
    import pandas as pd
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(80), 4)
    values = rng.normal(size=80)[owner] + rng.normal(size=320)
    fit = MixedLM.from_formula("y ~ 1", pd.DataFrame({"y": values, "g": owner}), groups="g").fit(reml=True)
    shared, alone = float(fit.cov_re.iloc[0, 0]), float(fit.scale)
    agreement = Agreement.of(values - values.mean(), owner)
    assert float(agreement.correlation()) == pytest.approx(shared / (shared + alone), rel=1e-3)
    assert float(agreement.design_effect()) == pytest.approx(1 + 3 * shared / (shared + alone), rel=0.01)


def test_images_of_patients_that_disagree_by_chance_are_still_no_more_than_independent():
    # Every patient has one success in two: the sums of patients do not vary at all.
    values, owner = np.tile([0.5, -0.5], 20), np.repeat(np.arange(20), 2)
    assert float(Agreement.of(values, owner).design_effect()) == 1


def test_one_large_patient_that_happens_to_look_average_does_not_make_the_rest_certain():
    # Its 100 images sum to nothing, so the ratio of squares is small; the others say that images of a patient agree.
    rng = np.random.default_rng(0)
    owner = np.concatenate([np.zeros(100, dtype=int), np.repeat(np.arange(1, 31), 3)])
    values = np.concatenate([np.tile([1.0, -1.0], 50), np.repeat(rng.choice([-1.0, 1.0], 30), 3)])
    values -= values.mean()
    agreement = Agreement.of(values, owner)
    by_squares = float(agreement.together) / float(agreement.scatter)
    assert float(agreement.design_effect()) > 4 * by_squares


def test_patients_with_many_images_being_harder_is_seen_by_the_sums_of_patients():
    # Ten patients with 20 images that all fail, 100 with two images of which one does: a correlation of all patients
    # together hardly sees it (1.85), but the sums of ten patients do: (10 x 5^2 + 100 x 0.5^2) / 75.
    owner = np.concatenate([np.repeat(np.arange(10), 20), np.repeat(np.arange(10, 110), 2)])
    values = np.concatenate([np.zeros(200), np.arange(200) % 2]).astype(float)
    values -= values.mean()
    agreement = Agreement.of(values, owner)
    assert float(agreement.design_effect()) == pytest.approx(275 / 75)
    assert float(agreement.design_effect()) > 1.9 * (1 + (agreement.crowding - 1) * float(agreement.correlation()))


@pytest.mark.parametrize("shape", ["one patient", "nothing varies", "one image a patient"])
def test_where_nothing_can_be_estimated_images_of_a_patient_count_as_one(shape):
    owner = {"one patient": np.zeros(6), "nothing varies": np.arange(6) // 2, "one image a patient": np.arange(6)}
    values = np.zeros(6) if shape == "nothing varies" else np.array([1.0, -1, 2, -2, 3, -3])
    agreement = Agreement.of(values, owner[shape].astype(np.int64))
    expected = {"one patient": 6, "nothing varies": 2, "one image a patient": 1}[shape]
    assert float(agreement.design_effect()) == pytest.approx(expected)


def test_several_sets_of_values_are_judged_at_once_as_one_by_one():
    rng = np.random.default_rng(1)
    owner = rng.integers(0, 12, 50)
    sets = [rng.normal(size=50) for _ in range(3)] + [np.zeros(50)]
    each = [Agreement.of(values, owner) for values in sets]
    fields = {name: np.array([getattr(one, name) for one in each]) for name in ("scatter", "together", "between")}
    first = each[0]
    together = Agreement(n=first.n, n_patients=first.n_patients, squares=first.squares, **fields)
    np.testing.assert_allclose(together.design_effect(), [float(one.design_effect()) for one in each], rtol=1e-12)


def test_the_design_effect_elsewhere_grows_with_the_images_that_share_a_patient():
    rng = np.random.default_rng(2)
    owner = np.repeat(np.arange(100), 5)
    values = rng.normal(size=100)[owner] + rng.normal(size=500)
    whole = Agreement.of(values - values.mean(), owner)
    own = float(whole.design_effect())
    twos = Agreement.of(np.zeros(20), np.repeat(np.arange(10), 2))
    assert whole.design_effect_elsewhere(whole) == pytest.approx(own)
    # Of 5 images a patient four share one, of 2 images one: a quarter of what exceeds 1.
    assert whole.design_effect_elsewhere(twos) == pytest.approx(1 + (own - 1) / 4)
    assert whole.design_effect_elsewhere(Agreement.of(np.zeros(9), np.arange(9))) == 1
    alone = Agreement.of(np.arange(4.0) - 1.5, np.arange(4))
    assert alone.design_effect_elsewhere(twos) == 1


def test_satterthwaites_degrees_are_welchs_for_two_samples():
    # The degrees that SciPy's Welch test takes for samples of 8 and 15.
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=8), 3 * rng.normal(size=15)
    expected = stats.ttest_ind(first, second, equal_var=False).df
    found = satterthwaite([first.var(ddof=1) / 8, second.var(ddof=1) / 15], [8, 15])
    assert found == pytest.approx(expected, rel=1e-12)


def test_satterthwaites_degrees_at_their_ends():
    assert satterthwaite([0.0, 0.0], [5, 5]) == math.inf
    assert satterthwaite([2.0, 0.0], [1.0, 30]) == 1  # a patient alone counts as two
    assert satterthwaite([1.0, 1.0, 1.0], [11, 11, 11]) == pytest.approx(30)


@pytest.mark.parametrize("degrees", [1, 2.5, 30, math.inf])
def test_students_quantiles_and_p_values_are_scipys(degrees):
    reference = stats.norm if math.isinf(degrees) else stats.t(degrees)
    assert student_quantile(0.95, degrees) == pytest.approx(reference.ppf(0.975), rel=1e-9)
    assert student_p_value(-1.7, degrees) == pytest.approx(2 * reference.sf(1.7), rel=1e-9)
    assert student_p_value(student_quantile(0.99, degrees), degrees) == pytest.approx(0.01)


@quick
@given(values_of_patients(), st.sampled_from([0.8, 0.95]))
def test_effective_size_agrees_with_loops_and_never_exceeds_the_images(case, confidence):
    values, owner = case
    hits = values > 0
    agreement = Agreement.of(hits - hits.mean(), owner)
    found = float(effective_size(agreement, confidence))
    assert found == pytest.approx(written_out.effective_size(hits, owner.tolist(), confidence), rel=1e-9)
    assert 1 <= found <= len(hits) + 1e-9


@pytest.mark.parametrize("n", [2, 12, 500])
def test_effective_size_is_the_number_of_images_where_each_patient_has_one(n):
    hits = np.arange(n) % 3 == 0
    assert float(effective_size(Agreement.of(hits - hits.mean(), np.arange(n)), 0.95)) == n


def test_the_caution_names_what_patients_are_worth_below_ten():
    assert approximate(9.4) == "; interval approximate: worth 9 patients"
    assert approximate(1.2, "images") == "; interval approximate: worth 1 image"
    assert approximate(10.0) == ""


def half_width(estimate):
    return (estimate.high - estimate.low) / 2


@pytest.mark.parametrize("n", [40, 400])
def test_one_second_image_of_one_patient_changes_intervals_and_tests_by_little(n):
    # No cliff between images that are all independent and images of which two share a patient.
    rng = np.random.default_rng(4)
    labels = np.arange(n) % 2 == 0
    scores = rng.normal(size=n) + 1.2 * labels
    called = scores > 0.6
    groups = [np.arange(n) % 4 < 2, np.arange(n) % 4 >= 2]
    within = [group & labels for group in groups]
    owner = np.arange(n)
    for first, second in ((0, 4), (2, 6), (1, 5)):  # positives of one group, of the other, negatives
        joined = owner.copy()
        joined[second] = first
        for measure in (
            lambda who: auc_interval(labels, scores, clusters=who),
            lambda who: clustered_proportion_interval(called[labels], who[labels]),
            lambda who: rates(labels, called, clusters=who).likelihood_ratio_positive,
            lambda who: rates(labels, called, clusters=who).mcc,
        ):
            alone, shared = measure(owner), measure(joined)
            assert shared.value == alone.value
            # Two images of n / 2 can add 4 / n to the variance, and take a degree of freedom of n / 2.
            assert half_width(shared) == pytest.approx(half_width(alone), rel=5 / n + 0.02)
            assert half_width(shared) >= half_width(alone) * (1 - 2 / n)
        for test in (
            lambda who: areas_differ(labels, scores, who, groups),
            lambda who: proportions_differ("sensitivity", called, who, within),
        ):
            assert test(joined).p_value == pytest.approx(test(owner).p_value, abs=2 / n + 0.01)
