"""The mean AUROC over findings: against its definition, the bootstrap of patients, and `auc_interval`."""

import math

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.uncertainty.bootstrap import bootstrap_replicates
from chexkeras.evaluation.uncertainty.delong import auc_covariance
from chexkeras.evaluation.uncertainty.intervals import auc_interval, macro_auc_interval
from chexkeras.evaluation.uncertainty.limits import newcombe_auc
from tests.evaluation import written_out


def long_table(labels, scores, patients, names=None):
    names = names or [f"finding {column}" for column in range(labels.shape[1])]
    parts = [
        pd.DataFrame(
            {
                "image_id": [f"{row:08d}" for row in range(len(labels))],
                "patient_id": patients,
                "finding": name,
                "label": labels[:, column],
                "score": scores[:, column],
            }
        )
        for column, name in enumerate(names)
    ]
    return pd.concat(parts, ignore_index=True)


def cohort(seed, n=1500, n_patients=400, prevalences=(0.1, 0.3, 0.2)):
    """Findings whose scores share a term of the patient, so that their areas vary together."""
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, n_patients, n)
    ill = rng.random(n_patients) < 0.5
    labels = ((rng.random((n, len(prevalences))) < 2 * np.array(prevalences)) & ill[patients, np.newaxis]).astype(float)
    noise = rng.normal(size=n_patients)[patients, np.newaxis] + rng.normal(size=labels.shape)
    return labels, 1 / (1 + np.exp(-(noise + 1.2 * labels))), patients


def error_of(estimate):
    """Returns the standard error behind a logit interval."""
    half = (math.log(estimate.high / (1 - estimate.high)) - math.log(estimate.low / (1 - estimate.low))) / 2
    return half / 1.959963984540054 * estimate.value * (1 - estimate.value)


def test_macro_is_the_mean_and_spreads_as_the_patient_bootstrap_says():
    labels, scores, patients = cohort(1)
    estimate = macro_auc_interval(long_table(labels, scores, patients))
    assert estimate.value == pytest.approx(np.mean([auc(labels[:, k], scores[:, k]) for k in range(3)]), abs=1e-12)
    replicates = bootstrap_replicates("auroc", labels, scores, clusters=patients).mean(axis=1)
    assert error_of(estimate) == pytest.approx(replicates.std(), rel=0.06)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(replicates, [0.025, 0.975])), abs=0.004)
    # Taking the areas as independent would lose most of the variance that the patients share.
    alone = [error_of(auc_interval(labels[:, k], scores[:, k], clusters=patients)) for k in range(3)]
    assert error_of(estimate) > 1.1 * math.sqrt(np.sum(np.square(alone))) / 3
    assert estimate.n == 1500
    assert "mean of 3 findings" in estimate.method
    assert f"1500 images of {len(np.unique(patients))} patients" in estimate.method


def test_macro_with_unknown_labels_spreads_as_the_patient_bootstrap_says():
    labels, scores, patients = cohort(2)
    labels[np.random.default_rng(0).random(labels.shape) < 0.3] = math.nan
    estimate = macro_auc_interval(long_table(labels, scores, patients))
    replicates = bootstrap_replicates("auroc", labels, scores, clusters=patients).mean(axis=1)
    assert error_of(estimate) == pytest.approx(replicates.std(), rel=0.06)


@pytest.mark.parametrize("n", [60, 1500])
def test_one_finding_gives_its_own_interval(n):
    labels, scores, patients = cohort(3, n=n, n_patients=n // 3)
    for clusters in (patients, np.arange(n)):
        macro = macro_auc_interval(long_table(labels[:, :1], scores[:, :1], clusters))
        alone = auc_interval(labels[:, 0], scores[:, 0], clusters=clusters)
        assert (macro.value, macro.n) == (alone.value, alone.n)
        assert (macro.low, macro.high) == pytest.approx((alone.low, alone.high), rel=1e-12)


def test_findings_with_the_same_labels_follow_delongs_covariance_where_images_are_independent():
    labels, scores, patients = cohort(4)
    shared, patients = np.repeat(labels[:, 1:2], 3, axis=1), np.arange(len(patients))
    estimate = macro_auc_interval(long_table(shared, scores, patients))
    areas, covariance = auc_covariance(shared[:, 0] == 1, scores.T)
    assert estimate.value == pytest.approx(areas.mean(), abs=1e-12)
    assert error_of(estimate) == pytest.approx(math.sqrt(covariance.mean()), rel=1e-9)


def test_findings_of_several_images_keep_obuchowskis_correlations_and_have_raised_variances():
    labels, scores, patients = cohort(4, n=500, n_patients=250)
    shared = np.repeat(labels[:, 1:2], 3, axis=1)
    estimate = macro_auc_interval(long_table(shared, scores, patients))
    group = np.unique(patients, return_inverse=True)[1]
    areas, covariance = auc_covariance(shared[:, 0] == 1, scores.T, group)
    assert estimate.value == pytest.approx(areas.mean(), abs=1e-12)
    raised = [written_out.auc_variance(shared[:, 0] == 1, scores[:, k], patients)[1] for k in range(3)]
    assert all(raised[k] >= covariance[k, k] - 1e-15 for k in range(3))
    assert max(raised[k] / covariance[k, k] for k in range(3)) > 1.01
    total = sum(
        covariance[i, j] * math.sqrt(raised[i] * raised[j] / covariance[i, i] / covariance[j, j])
        for i in range(3)
        for j in range(3)
    )
    assert error_of(estimate) == pytest.approx(math.sqrt(total) / 3, rel=1e-9)


def test_a_finding_counted_twice_changes_nothing():
    labels, scores, patients = cohort(5)
    once = macro_auc_interval(long_table(labels[:, 1:2], scores[:, 1:2], patients))
    twice = macro_auc_interval(long_table(labels[:, [1, 1]], scores[:, [1, 1]], patients))
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high), rel=1e-9)


def test_repeated_images_of_a_patient_leave_the_value_alone_and_the_error_within_a_hundredth():
    labels, scores, patients = cohort(6)
    once = macro_auc_interval(long_table(labels, scores, patients))
    twice = macro_auc_interval(long_table(np.tile(labels, (2, 1)), np.tile(scores, (2, 1)), np.tile(patients, 2)))
    assert twice.value == once.value
    # Each image beside its copy, patients seem to agree a little better.
    assert error_of(twice) == pytest.approx(error_of(once), rel=0.015)
    images = np.arange(len(labels))
    once = macro_auc_interval(long_table(labels, scores, images))
    twice = macro_auc_interval(long_table(np.tile(labels, (2, 1)), np.tile(scores, (2, 1)), np.tile(images, 2)))
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high), rel=1e-9)


def test_findings_that_cannot_be_ranked_are_left_out_by_name():
    labels, scores, patients = cohort(7, prevalences=(0.1, 0.3, 0.2, 0.1))
    labels[:, 0], labels[:, 3] = 0, 0
    labels[np.flatnonzero(patients == patients[0])[:1], 3] = 1
    names = ["Hernia", "Effusion", "Mass", "Edema"]
    estimate = macro_auc_interval(long_table(labels, scores, patients, names))
    assert estimate.method.endswith(
        "left out: Hernia (no positives: all 1500 known labels are negative), Edema (positives of one patient only)"
    )
    without = macro_auc_interval(long_table(labels[:, 1:3], scores[:, 1:3], patients, names[1:3]))
    assert (estimate.value, estimate.low, estimate.high) == (without.value, without.low, without.high)


def test_no_finding_with_both_classes_is_not_estimable_and_says_why():
    labels = np.array([[0, 1], [0, math.nan], [math.nan, 1]])
    estimate = macro_auc_interval(long_table(labels, np.full((3, 2), 0.5), [1, 2, 3], ["Mass", "Edema"]))
    assert estimate.reason == (
        "no finding has both classes: Mass: no positives: all 2 known labels are negative; "
        "Edema: no negatives: all 2 known labels are positive"
    )
    assert estimate.n == 3


def test_perfect_rankings_are_not_said_to_be_known_exactly():
    labels = np.stack([np.arange(80) < 40, np.arange(80) < 10], axis=1).astype(float)
    scores = np.stack([np.linspace(1, 0, 80)] * 2, axis=1)
    estimate = macro_auc_interval(long_table(labels, scores, np.arange(80)))
    assert (estimate.value, estimate.low, estimate.high) == (1.0, *newcombe_auc(1.0, 10, 70, 0.95))
    assert "10 positive and 70 negative images of the rarest" in estimate.method


def test_few_positives_widen_the_interval_to_what_hanley_and_mcneil_expect():
    labels, scores, _ = cohort(8, n=600, n_patients=600, prevalences=(0.02, 0.3))
    assert labels[:, 0].sum() < 30
    # A rare finding whose positives happen to score alike: DeLong sees hardly any variance.
    scores[labels[:, 0] == 1, 0] = 0.8
    images = np.arange(600)
    estimate = macro_auc_interval(long_table(labels, scores, images))
    areas, variances = zip(*(auc_covariance(labels[:, k] == 1, scores[:, k]) for k in range(2)), strict=True)
    assert error_of(estimate) > 1.2 * math.sqrt(float(variances[0][0, 0] + variances[1][0, 0])) / 2
    assert estimate.value == pytest.approx(np.mean(areas), abs=1e-12)


def test_confidence_widens_and_must_be_a_fraction():
    table = long_table(*cohort(9))
    narrow, wide = macro_auc_interval(table, confidence=0.8), macro_auc_interval(table, confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high
    with pytest.raises(ValueError, match="confidence=95"):
        macro_auc_interval(table, confidence=95)
    with pytest.raises(TypeError, match="scores_table must be a table"):
        macro_auc_interval([1, 2])
