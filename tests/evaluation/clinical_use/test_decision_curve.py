"""Net benefit and decision curves: by hand, against a direct loop, and against resampling of copied tables."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from chexkeras.evaluation.clinical_use.decision_curve import COLUMNS, decision_curve, net_benefit
from chexkeras.evaluation.uncertainty.resampling import patient_counts

quick = settings(derandomize=True, deadline=None, max_examples=50)

LABELS = [1, 1, 0, 1, 0, 0, 1, 0, 0, 0]
SCORES = [0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def sampled(n=300, *, seed=0, patients=None):
    rng = np.random.default_rng(seed)
    owner = np.arange(n) if patients is None else rng.integers(0, patients, n)
    truth = -1 + rng.normal(size=owner.max() + 1)[owner]
    return (rng.random(n) < expit(truth)).astype(float), expit(truth + 0.5 * rng.normal(size=n)), owner


def slow_net_benefit(labels, scores, t, prevalence=None):
    """Adds up image by image what each call is worth."""
    positives, negatives = sum(labels), sum(1 - label for label in labels)
    total = 0.0
    for label, score in zip(labels, scores, strict=True):
        if score >= t:
            worth = 1.0 if label else -t / (1 - t)
            if prevalence is None:
                total += worth / len(labels)
            else:
                total += worth * (prevalence / positives if label else (1 - prevalence) / negatives)
    return total


def test_ten_images_by_hand():
    # At 0.6: 3 of 4 positives and 2 of 6 negatives are called, and a false alarm costs 1.5 true positives.
    assert net_benefit(LABELS, SCORES, 0.6) == pytest.approx(3 / 10 - 2 / 10 * 1.5)
    # At 0.25: all 4 positives, 4 of the 6 negatives, each worth a third.
    assert net_benefit(LABELS, SCORES, 0.25) == pytest.approx(4 / 10 - 4 / 10 / 3)
    # At a prevalence of 2 %: .02 x 3/4 - .98 x 2/6 x 1.5.
    assert net_benefit(LABELS, SCORES, 0.6, prevalence=0.02) == pytest.approx(0.015 - 0.49)
    curve = decision_curve(LABELS, SCORES, thresholds=[0.25, 0.4, 0.6], replicates=20).set_index(
        "threshold_probability"
    )
    assert list(curve["treat_none"]) == [0, 0, 0]
    # Treating all: .4 - .6 t/(1 - t), which is 0 at t = prevalence.
    assert list(curve["treat_all"]) == pytest.approx([0.4 - 0.6 / 3, 0.0, 0.4 - 0.6 * 1.5])
    assert list(curve["difference"]) == pytest.approx([4 / 10 - 4 / 30 - 0.2, 0.4 - 0.3 * 0.4 / 0.6, 0.0])


@st.composite
def images(draw):
    n = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = (rng.random(n) < 0.4).astype(float)
    labels[:2] = [1, 0]
    return labels, rng.integers(0, 21, n) / 20


@quick
@given(images(), st.sampled_from([None, 0.01, 0.3]))
def test_the_curve_is_the_slow_sum_at_every_threshold(case, prevalence):
    labels, scores = case
    grid = [0.05, 0.1, 0.35, 0.5, 0.95]
    curve = decision_curve(labels, scores, thresholds=grid, prevalence=prevalence, replicates=5)
    slow = [slow_net_benefit(labels, scores, t, prevalence) for t in grid]
    assert list(curve["net_benefit"]) == pytest.approx(slow)
    assert [net_benefit(labels, scores, t, prevalence) for t in grid] == pytest.approx(slow)
    everything = [slow_net_benefit(labels, np.ones(len(labels)), t, prevalence) for t in grid]
    assert list(curve["treat_all"]) == pytest.approx(everything)
    best = [max(0.0, value) for value in everything]
    assert list(curve["difference"]) == pytest.approx(np.subtract(slow, best))


@quick
@given(images(), st.floats(0.01, 0.99))
def test_net_benefit_is_bounded_and_agrees_at_the_observed_prevalence(case, t):
    labels, scores = case
    share = float(np.mean(labels))
    assert net_benefit(labels, scores, t) <= share + 1e-12
    assert net_benefit(labels, labels, t) == pytest.approx(share)
    assert net_benefit(labels, scores, t, prevalence=share) == pytest.approx(net_benefit(labels, scores, t))
    assert net_benefit(labels, np.zeros(len(labels)), t) == 0


@pytest.mark.parametrize("patients", [None, 40])
@pytest.mark.parametrize("prevalence", [None, 0.05])
def test_limits_equal_a_slow_bootstrap_of_copied_tables(patients, prevalence):
    labels, scores, owner = sampled(90, seed=2, patients=patients)
    grid = [0.1, 0.3, 0.5]
    curve = decision_curve(
        labels, scores, thresholds=grid, prevalence=prevalence, clusters=owner, replicates=150, seed=3, confidence=0.9
    )
    order = np.lexsort((scores, labels))
    labels, scores, owner = labels[order], scores[order], owner[order]
    owner = np.arange(90) if patients is None else np.unique(owner, return_inverse=True)[1]
    strata = np.bincount(owner, labels) > 0 if prevalence else np.zeros(owner.max() + 1, bool)
    models, differences = [], []
    for counts in np.concatenate(list(patient_counts(strata, replicates=150, seed=3, width=1))):
        rows = np.concatenate([np.tile(np.flatnonzero(owner == patient), n) for patient, n in enumerate(counts)])
        drawn, score = labels[rows.astype(int)], scores[rows.astype(int)]
        models.append([slow_net_benefit(drawn, score, t, prevalence) for t in grid])
        treat_all = [slow_net_benefit(drawn, np.ones(len(drawn)), t, prevalence) for t in grid]
        differences.append(np.subtract(models[-1], np.maximum(treat_all, 0)))
    for names, replicates in ((("low", "high"), models), (("difference_low", "difference_high"), differences)):
        limits = np.quantile(replicates, [0.05, 0.95], axis=0)
        assert np.stack([curve[name] for name in names]) == pytest.approx(limits)


def test_limits_contain_the_estimate_and_patients_widen_them():
    rng = np.random.default_rng(4)
    labels, scores = np.repeat(rng.random(60) < 0.3, 5), np.repeat(rng.random(60), 5)
    owner = np.repeat(np.arange(60), 5)
    naive, ours = (decision_curve(labels, scores, clusters=clusters) for clusters in (None, owner))
    for curve in (naive, ours):
        assert (curve["low"] <= curve["net_benefit"]).all() and (curve["net_benefit"] <= curve["high"]).all()
        assert (curve["difference_low"] <= curve["difference"]).all()
    assert (ours["high"] - ours["low"]).mean() > 1.8 * (naive["high"] - naive["low"]).mean()
    assert (ours.attrs["n_patients"], naive.attrs["n_patients"]) == (60, None)
    assert "bootstrap of 60 patients" in ours.attrs["method"]


def test_at_a_stated_prevalence_the_default_is_known_exactly():
    labels, scores, _ = sampled()
    curve = decision_curve(labels, scores, prevalence=0.02, thresholds=[0.01, 0.02, 0.04], replicates=50)
    assert list(curve["treat_all"]) == pytest.approx([0.02 - 0.98 / 99, 0.0, 0.02 - 0.98 / 24])
    assert curve.attrs["prevalence"] == 0.02
    assert curve.attrs["prevalence_stated"]
    assert list(curve["difference_high"] - curve["difference"]) == pytest.approx(
        list(curve["high"] - curve["net_benefit"])
    )


def test_thresholds_reach_four_times_the_prevalence_by_default():
    labels, scores = np.repeat([1.0, 0.0], [10, 90]), np.linspace(1, 0, 100)
    curve = decision_curve(labels, scores, replicates=5)
    assert list(curve.columns) == list(COLUMNS)
    grid = curve["threshold_probability"]
    assert (len(grid), grid.iloc[0], grid.iloc[-1]) == (100, pytest.approx(0.004), pytest.approx(0.4))
    assert decision_curve(labels, scores, prevalence=0.001, replicates=5)["threshold_probability"].max() == 0.05
    assert decision_curve(labels, scores, prevalence=0.9, replicates=5)["threshold_probability"].max() == 0.99
    assert (curve.attrs["n_images"], curve.attrs["n_positive"]) == (100, 10)


def test_order_of_rows_and_unknown_labels_do_not_matter():
    labels, scores, owner = sampled(80, seed=5, patients=30)
    order = np.random.default_rng(0).permutation(80)
    plain = decision_curve(labels, scores, clusters=owner, replicates=40)
    again = decision_curve(
        [math.nan, *labels[order]], [math.nan, *scores[order]], clusters=[99, *owner[order]], replicates=40
    )
    assert plain.equals(again)


def test_a_class_from_one_patient_has_no_limits():
    curve = decision_curve([1, 1, 0, 0], [0.9, 0.2, 0.3, 0.1], clusters=["a", "a", "b", "c"], thresholds=[0.25])
    assert curve["net_benefit"][0] == pytest.approx(1 / 4 - 1 / 4 / 3)
    assert curve[["low", "high", "difference_low", "difference_high"]].isna().all(axis=None)


@pytest.mark.parametrize("t", [0.0, 1.0, -0.1, math.nan, 10])
def test_threshold_probabilities_lie_strictly_between_0_and_1(t):
    with pytest.raises(ValueError, match=r"threshold_probability=.* must lie strictly between 0 and 1"):
        net_benefit(LABELS, SCORES, t)
    with pytest.raises(ValueError, match=r"thresholds=.* must lie strictly between 0 and 1"):
        decision_curve(LABELS, SCORES, thresholds=[0.5, t])


def test_bad_input_is_refused_with_a_reason():
    with pytest.raises(ValueError, match=r"prevalence=-0.1 must lie strictly between 0 and 1"):
        decision_curve(LABELS, SCORES, prevalence=-0.1)
    with pytest.raises(ValueError, match=r"prevalence=0 must lie strictly"):
        net_benefit(LABELS, SCORES, 0.5, prevalence=0)
    with pytest.raises(ValueError, match="look like logits"):
        decision_curve(LABELS, np.array(SCORES) * 9)
    with pytest.raises(ValueError, match="needs both classes; no positives"):
        decision_curve([0, 0], [0.1, 0.2])
    with pytest.raises(ValueError, match="needs both classes; no negatives"):
        net_benefit([1, 1], [0.1, 0.2], 0.5)
    with pytest.raises(ValueError, match="thresholds must ascend"):
        decision_curve(LABELS, SCORES, thresholds=[0.5, 0.5])
    with pytest.raises(ValueError, match="give a list of threshold probabilities"):
        decision_curve(LABELS, SCORES, thresholds=[])
