"""The variance of the AUROC: against its definition, counted pair by pair and patient by patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexkeras.evaluation.uncertainty.delong import auc_contributions, auc_covariance, contributions_covariance
from chexkeras.evaluation.uncertainty.intervals import auc_variance

quick = settings(derandomize=True, deadline=None, max_examples=50)


def kernel(positive_score, negative_score):
    return 1.0 if positive_score > negative_score else 0.5 if positive_score == negative_score else 0.0


def slow_delong(labels, first, second):
    """Covariance of two areas by the definition of DeLong et al. 1988, equations 4 to 8."""
    components = []
    for scores in (first, second):
        x = [s for s, label in zip(scores, labels, strict=True) if label]
        y = [s for s, label in zip(scores, labels, strict=True) if not label]
        v10 = [np.mean([kernel(a, b) for b in y]) for a in x]
        v01 = [np.mean([kernel(a, b) for a in x]) for b in y]
        components.append((v10, v01))
    (a10, a01), (b10, b01) = components
    return np.cov(a10, b10)[0, 1] / len(a10) + np.cov(a01, b01)[0, 1] / len(a01)


def slow_obuchowski(labels, scores, patients):
    """Variance of the area for clustered images by the definition of Obuchowski 1997, equations 3 to 6."""
    x = [(p, s) for p, s, label in zip(patients, scores, labels, strict=True) if label]
    y = [(p, s) for p, s, label in zip(patients, scores, labels, strict=True) if not label]
    area = np.mean([kernel(a, b) for _, a in x for _, b in y])
    v10 = {patient: 0.0 for patient in patients}
    v01 = {patient: 0.0 for patient in patients}
    for patient, a in x:
        v10[patient] += np.mean([kernel(a, b) for _, b in y]) - area
    for patient, b in y:
        v01[patient] += np.mean([kernel(a, b) for _, a in x]) - area
    i10, i01, i = len({p for p, _ in x}), len({p for p, _ in y}), len(set(patients))
    s10 = i10 / ((i10 - 1) * len(x)) * sum(v**2 for v in v10.values())
    s01 = i01 / ((i01 - 1) * len(y)) * sum(v**2 for v in v01.values())
    s11 = i / (i - 1) * sum(v10[patient] * v01[patient] for patient in v10)
    return s10 / len(x) + s01 / len(y) + 2 * s11 / (len(x) * len(y))


@st.composite
def images(draw):
    n = draw(st.integers(6, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.random(n) < 0.4
    labels[:4] = [True, True, False, False]
    scores = rng.integers(0, 15, (2, n)) / 15
    return (labels, scores, np.concatenate([np.arange(4), rng.integers(0, max(5, n // 3), n - 4)]))


@quick
@given(images())
def test_variance_and_covariance_equal_the_definition_of_delong(case):
    labels, scores, _ = case
    _, covariance = auc_covariance(labels, scores)
    for row in (0, 1):
        for column in (0, 1):
            slow = slow_delong(labels, scores[row], scores[column])
            assert covariance[row, column] == pytest.approx(slow, rel=1e-9, abs=1e-12)


@quick
@given(images())
def test_clustered_variance_equals_the_definition_of_obuchowski(case):
    labels, scores, patients = case
    _, variance = auc_variance(labels, scores[0], clusters=patients)
    assert variance == pytest.approx(slow_obuchowski(labels, scores[0], patients), rel=1e-9, abs=1e-12)
    assert variance >= 0


@quick
@given(images())
def test_one_image_for_each_patient_gives_delong_exactly(case):
    labels, scores, _ = case
    names = [f"patient {number}" for number in range(len(labels))]
    assert auc_variance(labels, scores[0], clusters=names) == auc_variance(labels, scores[0])
    _, clustered = auc_covariance(labels, scores, np.arange(len(labels))[::-1].copy())
    _, plain = auc_covariance(labels, scores)
    np.testing.assert_allclose(clustered, plain, rtol=1e-12, atol=1e-18)


@quick
@given(images())
def test_repeating_every_image_of_a_patient_adds_no_information(case):
    labels, scores, patients = case
    twice = (np.tile(labels, 2), np.tile(scores[0], 2))
    once = auc_variance(labels, scores[0], clusters=patients)
    assert auc_variance(*twice, clusters=np.tile(patients, 2)) == pytest.approx(once, rel=1e-9, abs=1e-15)


def test_treating_repeated_images_as_independent_shrinks_the_error_by_root_two():
    rng = np.random.default_rng(5)
    labels = rng.random(4000) < 0.5
    scores = rng.random(4000) + 0.3 * labels
    once = auc_variance(labels, scores)[1]
    naive = auc_variance(np.tile(labels, 2), np.tile(scores, 2))[1]
    assert np.sqrt(once / naive) == pytest.approx(np.sqrt(2), rel=1e-3)


def test_the_same_classifier_twice_is_perfectly_correlated():
    rng = np.random.default_rng(2)
    labels, scores = np.arange(50) % 3 == 0, rng.random(50)
    _, covariance = auc_covariance(labels, np.stack([scores, scores]))
    contrast = np.array([1, -1])
    assert contrast @ covariance @ contrast == pytest.approx(0, abs=1e-18)


def test_variance_is_undefined_when_a_class_comes_from_one_patient():
    assert np.isnan(auc_variance([1, 0, 0], [0.9, 0.1, 0.95])[1])
    assert np.isnan(auc_variance([1, 1, 0, 0], [0.9, 0.2, 0.1, 0.95], clusters=["a", "a", "b", "c"])[1])


def test_a_perfect_ranking_has_exactly_no_variance():
    scores = np.linspace(0, 1, 31)
    assert auc_variance(scores > 0.61, scores) == (1.0, 0.0)


@pytest.mark.parametrize("patients", [5, 21, 31, 35, 200])
def test_patients_whose_images_cancel_leave_no_rounding_dust(patients):
    # Every patient has one positive and one negative image; what one gains by scoring high the other loses.
    level = np.repeat(np.arange(patients), 2) * 2.0
    labels = np.tile([1, 0], patients)
    area, variance = auc_variance(labels, level + 0.5 * labels, clusters=level)
    assert 0.5 < area < 1
    assert variance == 0


def slow_covariance_of_findings(labels, scores, patients):
    """Covariance of the areas of two findings with labels of their own, from every patient's pairs."""
    names, terms, factors = sorted(set(patients)), [], []
    for finding_labels, finding_scores in zip(labels, scores, strict=True):
        x = [(p, s) for p, s, label in zip(patients, finding_scores, finding_labels, strict=True) if label]
        y = [(p, s) for p, s, label in zip(patients, finding_scores, finding_labels, strict=True) if not label]
        area = np.mean([kernel(a, b) for _, a in x for _, b in y])
        v10 = [sum(np.mean([kernel(a, b) for _, b in y]) - area for p, a in x if p == name) / len(x) for name in names]
        v01 = [sum(np.mean([kernel(a, b) for _, a in x]) - area for p, b in y if p == name) / len(y) for name in names]
        terms.append((np.array(v10), np.array(v01)))
        sizes = [len({p for p, _ in rows}) for rows in (x, y, x + y)]
        factors.append([size / (size - 1) for size in sizes])
    (a10, a01), (b10, b01) = terms
    shared = np.sqrt(np.prod(factors, axis=0))
    return (shared[0] * a10 * b10 + shared[1] * a01 * b01 + shared[2] * (a10 * b01 + a01 * b10)).sum()


@quick
@given(images(), st.integers(0, 2**32 - 1))
def test_covariance_of_findings_equals_the_sum_over_patients(case, seed):
    labels, scores, patients = case
    other = np.random.default_rng(seed).permutation(labels)
    group = np.unique(patients, return_inverse=True)[1]
    parts = [
        auc_contributions(positive, row, group, group.max() + 1)
        for positive, row in zip((labels, other), scores, strict=True)
    ]
    if min(part.n_positive_patients for part in parts) < 2 or min(part.n_negative_patients for part in parts) < 2:
        return
    found = contributions_covariance(parts)[0, 1]
    assert found == pytest.approx(slow_covariance_of_findings((labels, other), scores, patients), rel=1e-9, abs=1e-12)


@quick
@given(images())
def test_effective_sizes_divide_by_the_design_effect(case):
    labels, scores, patients = case
    n = len(labels)
    alone = auc_contributions(labels, scores[0], np.arange(n), n)
    assert (alone.n_positive_patients, alone.n_negative_patients, alone.n_patients) == (
        labels.sum(),
        n - labels.sum(),
        n,
    )
    assert alone.effective_positives == pytest.approx(labels.sum())
    group = np.unique(patients, return_inverse=True)[1]
    part = auc_contributions(labels, scores[0], group, group.max() + 1)
    assert 0 < part.effective_positives <= labels.sum()
    thrice = auc_contributions(np.tile(labels, 3), np.tile(scores[0], 3), np.tile(np.arange(n), 3), n)
    assert thrice.effective_positives == pytest.approx(labels.sum())
    assert thrice.effective_negatives == pytest.approx(n - labels.sum())


def test_effective_sizes_count_patients_where_nothing_varies():
    perfect = auc_contributions(np.arange(12) < 6, -np.arange(12.0), np.arange(12) // 3, 4)
    assert (perfect.effective_positives, perfect.effective_negatives) == (2, 2)


def test_one_class_is_refused_with_its_reason():
    with pytest.raises(ValueError, match="no positives: all 2 known labels are negative"):
        auc_variance([0, 0], [0.1, 0.2])
