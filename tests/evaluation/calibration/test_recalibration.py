"""Recalibration: against independent optimisers, that it is frozen, and that it is not measured where it was fitted."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from chexkeras.evaluation.calibration.calibration import measure_calibration
from chexkeras.evaluation.calibration.recalibration import (
    METHODS,
    Recalibration,
    fit_recalibration,
    load_recalibrations,
    save_recalibrations,
)
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.scores import read_scores, write_scores
from chexkeras.evaluation.thresholds import choose_threshold

quick = settings(derandomize=True, deadline=None, max_examples=40)


def table(labels, scores, finding="Edema", prefix="validation"):
    ids = [f"{prefix}{number:05d}" for number in range(len(labels))]
    return pd.DataFrame(
        {
            "image_id": ids,
            "patient_id": ids,
            "finding": finding,
            "label": np.asarray(labels, float),
            "score": np.asarray(scores, float),
        }
    )


def distorted(n=500, *, seed=0, slope=1.6, shift=0.9, prefix="validation"):
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1, 1.3, n)
    return table(rng.random(n) < expit(truth), expit(shift + slope * truth), prefix=prefix)


@pytest.fixture(scope="module")
def validation():
    return distorted()


def test_platt_is_the_unpenalised_logistic_regression(validation):
    fitted = fit_recalibration(validation, method="platt")
    odds = logit(validation["score"].to_numpy())
    oracle = GLM(validation["label"].to_numpy(), np.column_stack([np.ones(len(odds)), odds]), family=Binomial())
    assert (fitted.intercept, fitted.slope) == pytest.approx(tuple(oracle.fit(tol=1e-12).params), abs=1e-7)
    assert fitted.probabilities(validation["score"]) == pytest.approx(oracle.fit(tol=1e-12).fittedvalues, abs=1e-7)
    # Maximum likelihood leaves neither slope nor intercept to mend.
    again = measure_calibration(validation["label"], fitted.probabilities(validation["score"]), replicates=10)
    assert (again.slope.value, again.intercept.value) == (pytest.approx(1), pytest.approx(0, abs=1e-9))


def test_temperature_minimises_the_log_loss(validation):
    fitted = fit_recalibration(validation, method="temperature")
    sign, odds = np.where(validation["label"] == 1, -1, 1), logit(validation["score"])
    loss = optimize.minimize_scalar(
        lambda temperature: np.logaddexp(0, sign * odds / temperature).sum(),
        bounds=(0.05, 20),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert 1 / fitted.slope == pytest.approx(loss.x, rel=1e-5)
    assert fitted.intercept == 0
    assert fitted.probabilities([0.5])[0] == 0.5
    assert f"temperature {loss.x:.4g}" in fitted.note


def test_isotonic_pools_neighbours_as_by_hand():
    # Labels 0 1 0 1 1 at rising scores: the 1 and 0 in the middle pool to a half, the two ends stay 0 and 1.
    fitted = fit_recalibration(table([0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6]), method="isotonic")
    assert fitted.probabilities([0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0]) == pytest.approx([0, 0, 0.5, 0.5, 1, 1, 1])
    assert fitted.probabilities([0.15]) == pytest.approx([0.25])


def slow_isotonic(labels, scores):
    """Largest of the smallest means over stretches of distinct scores, the min-max formula of isotonic regression."""
    distinct = sorted(set(scores))
    mean = {(a, b): labels[(scores >= a) & (scores <= b)].mean() for a in distinct for b in distinct if a <= b}
    return {s: max(min(mean[a, b] for b in distinct if b >= s) for a in distinct if a <= s) for s in distinct}


@quick
@given(st.integers(4, 25), st.integers(0, 2**32 - 1))
def test_isotonic_is_the_min_max_formula_and_what_scikit_learn_predicts(n, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, n) / 11
    labels = (rng.random(n) < scores).astype(float)
    labels[np.argmin(scores)], labels[np.argmax(scores)] = 0, 1
    slow = slow_isotonic(labels, scores)
    if labels.min() == labels.max() or len(set(slow.values())) == 1:
        return
    fitted = fit_recalibration(table(labels, scores), method="isotonic")
    assert fitted.probabilities(scores) == pytest.approx([slow[score] for score in scores])
    grid = np.linspace(0, 1, 50)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    assert fitted.probabilities(grid) == pytest.approx(oracle.predict(grid))


@pytest.mark.parametrize("method", METHODS)
def test_it_mends_scores_of_another_part(method, validation):
    test = distorted(4000, seed=1, prefix="test", shift=0.0 if method == "temperature" else 0.9)
    if method == "temperature":
        validation = distorted(shift=0.0)
    fitted = fit_recalibration(validation, method=method)
    before = measure_calibration(test["label"], test["score"], replicates=200)
    mended = fitted.apply(test)
    after = measure_calibration(mended["label"], mended["score"], replicates=200, scores_are=fitted.description)
    assert after.expected_calibration_error.value < before.expected_calibration_error.low
    assert after.brier.value < before.brier.value
    assert after.scores == fitted.description
    n_positive = int(validation["label"].sum())
    assert f"fitted on validation ({n_positive} positive of 500)" in after.scores


def test_apply_changes_nothing_but_the_score(validation):
    fitted = fit_recalibration(validation)
    test = pd.concat([distorted(50, seed=2, prefix="test"), table([0, 1], [0.2, 0.3], finding="Mass", prefix="test")])
    test.loc[3, "label"] = np.nan
    mended = fitted.apply(test)
    own = test[test["finding"] == "Edema"]
    pd.testing.assert_frame_equal(mended.drop(columns="score"), own.drop(columns="score").astype(mended.dtypes[:4]))
    assert list(mended["score"]) == list(fitted.probabilities(own["score"]))


@quick
@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=20), st.sampled_from(METHODS))
def test_probabilities_never_fall_where_scores_rise(scores, method):
    fitted = fit_recalibration(distorted(200, seed=4), method=method)
    mended = fitted.probabilities(np.sort(scores))
    assert (np.diff(mended) >= 0).all()
    assert (mended >= 0).all() and (mended <= 1).all()


def test_platt_and_temperature_keep_the_ranking_and_isotonic_makes_ties(validation):
    labels, scores = validation["label"], validation["score"]
    for method in ("platt", "temperature"):
        assert auc(labels, fit_recalibration(validation, method=method).probabilities(scores)) == auc(labels, scores)
    stepped = fit_recalibration(validation, method="isotonic")
    assert len(set(stepped.probabilities(scores))) < len(set(scores)) / 2
    assert auc(labels, stepped.probabilities(scores)) != auc(labels, scores)
    assert "the ROC curve changes" in stepped.note


def test_it_is_not_measured_on_the_scores_that_fitted_it(validation, tmp_path):
    fitted = fit_recalibration(validation)
    read_back = read_scores(write_scores(tmp_path / "scores.csv", validation.sample(frac=1, random_state=0)))
    together = pd.concat([validation, table([0, 1], [0.1, 0.9], finding="Mass")])
    for same in (validation, read_back, together):
        with pytest.raises(ValueError, match=r"Edema: .* was fitted on these very scores \(validation\)"):
            fitted.apply(same)
        assert len(fitted.apply(same, allow_fitted=True)) == len(validation)


def test_a_new_threshold_is_chosen_on_recalibrated_validation_scores(validation):
    fitted = fit_recalibration(validation)
    test = distorted(600, seed=6, prefix="test")
    old = choose_threshold(validation, target=0.9)
    new = choose_threshold(fitted.apply(validation, allow_fitted=True), target=0.9)
    assert new.threshold == pytest.approx(fitted.probabilities([old.threshold])[0])
    before, after = evaluate(test, old)["Edema"], evaluate(fitted.apply(test), new)["Edema"]
    assert before.true_positives == after.true_positives
    assert before.false_positives == after.false_positives
    assert "choose it again" in fitted.note


@pytest.mark.parametrize("method", METHODS)
def test_json_gives_the_very_same_map_back(method, validation, tmp_path):
    fitted = fit_recalibration(validation, method=method)
    back = Recalibration.load(fitted.save(tmp_path / "one.json"))
    assert back == fitted
    assert (back.probabilities(validation["score"]) == fitted.probabilities(validation["score"])).all()
    with pytest.raises(dataclasses.FrozenInstanceError):
        back.slope = 2.0


def test_a_run_folder_keeps_one_for_each_finding(validation, tmp_path):
    both = [fit_recalibration(validation), fit_recalibration(validation.assign(finding="Mass"), method="isotonic")]
    path = save_recalibrations(tmp_path, both)
    assert path.name == "recalibration.json"
    assert load_recalibrations(tmp_path) == tuple(both)
    save_recalibrations(tmp_path, both[0])
    assert load_recalibrations(tmp_path) == (both[0],)
    with pytest.raises(ValueError, match="Edema: more than one recalibration"):
        save_recalibrations(tmp_path, [both[0], both[0]])
    with pytest.raises(FileNotFoundError, match="no folder"):
        save_recalibrations(tmp_path / "no_such_run", both)
    with pytest.raises(FileNotFoundError, match="call save_recalibrations first"):
        load_recalibrations(tmp_path.parent)


@pytest.mark.parametrize("method", METHODS)
def test_one_class_cannot_fit_it(method):
    with pytest.raises(ValueError, match=r"Edema: .* cannot be fitted on validation, no positives"):
        fit_recalibration(table([0, 0, np.nan], [0.1, 0.2, 0.9]), method=method)


def test_where_nothing_rising_fits_best_it_says_so():
    with pytest.raises(ValueError, match="classes are separated"):
        fit_recalibration(table([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]))
    with pytest.raises(ValueError, match="all scores are equal"):
        fit_recalibration(table([0, 1], [0.4, 0.4]))
    worse = table([1, 1, 0, 1, 0, 0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    with pytest.raises(ValueError, match="turn the ranking round"):
        fit_recalibration(worse)
    with pytest.raises(ValueError, match="every image would get the same probability"):
        fit_recalibration(table([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4]), method="isotonic")
    with pytest.raises(ValueError, match=r"wrong side of 0.5 outweigh"):
        fit_recalibration(table([1, 0, 1, 0], [0.1, 0.2, 0.3, 0.4]), method="temperature")
    with pytest.raises(ValueError, match=r"0.5 separates the classes"):
        fit_recalibration(table([0, 0, 1, 1], [0.1, 0.5, 0.6, 0.9]), method="temperature")


def test_bad_input_is_refused_with_a_reason(validation):
    with pytest.raises(ValueError, match="did you mean 'isotonic'"):
        fit_recalibration(validation, method="isotonik")
    both = pd.concat([validation, validation.assign(finding="Mass")])
    with pytest.raises(ValueError, match="every finding has its own recalibration"):
        fit_recalibration(both)
    assert fit_recalibration(both, finding="Mass").finding == "Mass"
    with pytest.raises(ValueError, match="finding='Edma'"):
        fit_recalibration(both, finding="Edma")
    fitted = fit_recalibration(validation)
    with pytest.raises(ValueError, match="maps 'Edema', but these scores have only: Mass"):
        fitted.apply(validation.assign(finding="Mass"))
    with pytest.raises(ValueError, match="Edema: scores run from -1 to 2 and look like logits"):
        fitted.probabilities([-1.0, 2.0])
