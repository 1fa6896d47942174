"""Calibration: by hand, against statsmodels, against slow resampling of copied tables, and coverage in simulation."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from scipy.special import expit, logit, ndtr
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from chexkeras import files
from chexkeras.evaluation.calibration.calibration import equal_mass_bins, measure_calibration
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval, proportion_interval
from chexkeras.evaluation.uncertainty.resampling import patient_counts
from chexkeras.results import Calibration
from tests.evaluation import written_out

quick = settings(derandomize=True, deadline=None, max_examples=50)

# Ten images scored 0.2 with one positive, ten scored 0.7 with six.
HAND_LABELS = [1] + [0] * 9 + [1] * 6 + [0] * 4
HAND_SCORES = [0.2] * 10 + [0.7] * 10


def sampled(n=400, *, seed=0, centre=-1.0, slope=1.3, shift=0.4, patients=None):
    """Labels, scores that are too extreme and too high, and patients whose images agree by more than the scores say."""
    rng = np.random.default_rng(seed)
    owner = np.arange(n) if patients is None else rng.integers(0, patients, n)
    of_patients, unseen = rng.normal(size=(2, owner.max() + 1))[:, owner]
    truth = centre + of_patients + 0.5 * rng.normal(size=n)
    return (rng.random(n) < expit(truth + unseen)).astype(float), expit(shift + slope * truth), owner


@st.composite
def images(draw):
    n = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = (rng.random(n) < 0.4).astype(float)
    labels[:2] = [1, 0]
    return labels, rng.integers(0, 21, n) / 20, draw(st.integers(1, 12))


def test_twenty_images_by_hand():
    measured = measure_calibration(HAND_LABELS, HAND_SCORES)
    assert measured.brier.value == pytest.approx(0.175)
    assert measured.reliability == pytest.approx(0.01)
    assert measured.resolution == pytest.approx(0.0625)
    assert measured.uncertainty == pytest.approx(0.2275)
    assert measured.expected_calibration_error.value == pytest.approx(0.1)
    low, high = measured.bins
    assert (low.low, low.high, low.n_images, low.n_positive, low.mean_score) == (0.2, 0.2, 10, 1, pytest.approx(0.2))
    assert low.observed == proportion_interval(1, 10, method="wilson")
    assert (high.n_images, high.n_positive, high.observed.value) == (10, 6, 0.6)
    # The line through two points: log odds from logit(.1) to logit(.6) while scores go from logit(.2) to logit(.7).
    assert measured.slope.value == pytest.approx((logit(0.6) - logit(0.1)) / (logit(0.7) - logit(0.2)))
    assert (measured.n_images, measured.n_positive, measured.scores) == (20, 7, "as the model gave them")


@quick
@given(images())
def test_the_decomposition_of_the_scores_themselves_needs_what_varies_within_bins(case):
    # Stephenson, Coelho & Jolliffe, Weather and Forecasting 23, 2008: Brier = REL - RES + UNC + WBV - WBC.
    labels, scores, bins = case
    measured, group = measure_calibration(labels, scores, bins=bins, replicates=20), equal_mass_bins(scores, bins)
    variance = covariance = 0.0
    for number in set(group):
        rows = group == number
        variance += float(((scores[rows] - scores[rows].mean()) ** 2).sum()) / len(labels)
        covariance += 2 * float(((scores[rows] - scores[rows].mean()) * labels[rows]).sum()) / len(labels)
    binned = measured.reliability - measured.resolution + measured.uncertainty
    assert np.mean((scores - labels) ** 2) == pytest.approx(binned + variance - covariance)
    mean = np.array([scores[group == number].mean() for number in group])
    assert np.mean((mean - labels) ** 2) == pytest.approx(binned)


@quick
@given(images())
def test_bins_keep_ties_together_ascend_and_are_about_equal(case):
    _, scores, bins = case
    group = equal_mass_bins(scores, bins)
    order = np.argsort(scores, kind="stable")
    assert (np.diff(group[order]) >= 0).all()
    assert sorted(set(group)) == list(range(max(group) + 1))
    assert len(set(group)) <= bins
    for score in set(scores):
        assert len(set(group[scores == score])) == 1
    distinct = np.random.default_rng(0).permutation(len(scores)) / len(scores)
    sizes = np.bincount(equal_mass_bins(distinct, bins))
    assert max(sizes) - min(sizes) <= 1


def models(labels, scores):
    """Returns statsmodels' logistic regressions that give slope and intercept, each as its last coefficient."""
    odds, ones = logit(scores), np.ones((len(labels), 1))
    return [
        GLM(labels, np.column_stack([ones, odds]), family=Binomial()),
        GLM(labels, ones, family=Binomial(), offset=odds),
    ]


def test_slope_and_intercept_are_those_of_statsmodels():
    labels, scores, _ = sampled()
    ours = measure_calibration(labels, scores, replicates=10, confidence=0.9)
    for estimate, model in zip((ours.slope, ours.intercept), models(labels, scores), strict=True):
        fit = model.fit(tol=1e-12)
        assert estimate.value == pytest.approx(fit.params[-1], abs=1e-6)
        assert (estimate.high - estimate.low) / 2 == pytest.approx(1.6448536269515 * fit.bse[-1], rel=1e-4)
    assert ours.slope.method == "logistic recalibration, Wald interval"


@pytest.mark.parametrize("seed", range(6))
def test_clustered_errors_are_statsmodels_sandwich_times_what_the_design_effect_adds_to_it(seed):
    labels, scores, owner = sampled(seed=seed, patients=60)
    ours = measure_calibration(labels, scores, clusters=owner, replicates=10, confidence=0.9)
    quantile = stats.t.ppf(0.95, written_out.kish(owner) - 1)
    for estimate, model in zip((ours.slope, ours.intercept), models(labels, scores), strict=True):
        plain = model.fit(tol=1e-12)
        sandwich = model.fit(tol=1e-12, cov_type="cluster", cov_kwds={"groups": owner})
        error = (estimate.high - estimate.low) / 2 / quantile
        assert estimate.value == pytest.approx(sandwich.params[-1], abs=1e-6)
        # What images contribute to the coefficient: their residuals times a row of the inverse information.
        contributions = (model.exog * (labels - plain.mu)[:, np.newaxis]) @ plain.cov_params()
        contribution = contributions[:, -1]
        by_squares = sum(sum(group) ** 2 for group in written_out.by_patient(contribution, owner)) / sum(
            contribution**2
        )
        more = written_out.design_effect(contribution, owner) / by_squares
        expected = max(plain.bse[-1], sandwich.bse[-1] * math.sqrt(more))
        assert error == pytest.approx(expected, rel=1e-4)
        assert error >= sandwich.bse[-1] * (1 - 1e-4)
        assert "400 images of" in estimate.method
        assert "Student's t" in estimate.method


def test_clustered_errors_are_statsmodels_sandwich_where_the_sums_of_patients_say_most():
    # Sixty patients have a positive and a negative image each, ten have twelve that are nearly all negative: a common
    # correlation hardly sees it, but sums do.
    rng = np.random.default_rng(3)
    owner = np.repeat(np.arange(70), np.repeat([2, 12], [60, 10]))
    odds = 0.5 * rng.normal(size=len(owner))
    labels = np.where(owner < 60, np.arange(len(owner)) % 2, rng.random(len(owner)) < 0.1).astype(float)
    ours = measure_calibration(labels, expit(odds), clusters=owner, replicates=10)
    quantile = stats.t.ppf(0.975, written_out.kish(owner) - 1)
    fit = models(labels, expit(odds))[1].fit(tol=1e-12, cov_type="cluster", cov_kwds={"groups": owner})
    error = (ours.intercept.high - ours.intercept.low) / 2 / quantile
    assert error == pytest.approx(fit.bse[-1], rel=1e-4)


def test_slope_and_intercept_cover_with_60_patients_of_as_many_images_as_nihs():
    # Calibrated scores; labels agree within patients beyond what the scores say.
    rng, covered = np.random.default_rng(1), {"slope": 0, "intercept": 0}
    for _ in range(200):
        owner = np.repeat(np.arange(60), written_out.nih_sizes(rng, 60))
        seen, unseen = (math.sqrt(0.5) * (rng.normal(size=60)[owner] + rng.normal(size=len(owner))) for _ in range(2))
        scores = expit(1.3 * seen - 2)
        labels = (ndtr(unseen) < scores).astype(float)
        measured = measure_calibration(labels, scores, clusters=owner, replicates=2)
        for name, truth in (("slope", 1.0), ("intercept", 0.0)):
            estimate = getattr(measured, name)
            covered[name] += estimate.low <= truth <= estimate.high
    assert min(covered.values()) / 200 >= 0.92, covered


def test_scores_of_exactly_0_and_1_are_drawn_in_and_the_shift_still_makes_ends_meet():
    rng = np.random.default_rng(5)
    labels, scores = rng.random(200) < 0.4, rng.choice([0.0, 1.0], 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = measure_calibration(labels, scores)
    shifted = expit(logit(np.clip(scores, 1e-7, 1 - 1e-7)) + measured.intercept.value)
    assert shifted.mean() == pytest.approx(labels.mean(), rel=1e-9)
    assert measured.slope.estimable
    assert "200 scores drawn in" in measured.intercept.method


def test_a_known_distortion_is_found_again():
    rng = np.random.default_rng(1)
    truth = rng.normal(-2, 1.5, 200_000)
    labels = rng.random(len(truth)) < expit(truth)
    measured = measure_calibration(labels, expit(1.5 * truth + 0.8), replicates=20)
    assert measured.slope.low < 1 / 1.5 < measured.slope.high
    assert measured.slope.high - measured.slope.low < 0.02
    too_high = measure_calibration(labels, expit(truth + 0.8), replicates=20)
    assert too_high.intercept.low < -0.8 < too_high.intercept.high


@pytest.mark.parametrize("patients", [None, 25])
def test_intervals_equal_a_slow_bootstrap_of_copied_tables(patients):
    labels, scores, owner = sampled(80, seed=3, patients=patients)
    measured = measure_calibration(labels, scores, clusters=owner, bins=5, replicates=200, seed=4)
    # Independent images are numbered by label and score.
    order = np.lexsort((scores, labels))
    labels, scores, owner = labels[order], scores[order], owner[order]
    owner = np.arange(80) if patients is None else np.unique(owner, return_inverse=True)[1]
    group = equal_mass_bins(scores, 5)
    together = np.zeros(owner.max() + 1, bool)
    briers, errors, deviations = [], [], []
    residual = [float((scores - labels)[group == number].sum()) / 80 for number in range(5)]
    for counts in np.concatenate(list(patient_counts(together, replicates=200, seed=4, width=1))):
        rows = np.concatenate([np.tile(np.flatnonzero(owner == patient), n) for patient, n in enumerate(counts)])
        rows = rows.astype(int)
        difference = scores[rows] - labels[rows]
        briers.append(np.mean(difference**2))
        of_bins = [difference[group[rows] == number].sum() / len(rows) for number in range(5)]
        errors.append(np.abs(of_bins).sum())
        deviations.append(np.abs(np.subtract(of_bins, residual)).sum())
    brier, error = measured.brier, measured.expected_calibration_error
    half = 1.959963984540054 * np.std(briers, ddof=1) / (brier.value * (1 - brier.value))
    assert (brier.low, brier.high) == pytest.approx(
        (expit(logit(brier.value) - half), expit(logit(brier.value) + half))
    )
    high = np.quantile(errors, 0.975)
    assert error.high == pytest.approx(high)
    assert error.low in (0.0, pytest.approx(2 * error.value - high))
    if error.value < np.quantile(deviations, 0.95):
        assert error.low == 0


def test_calibrated_scores_are_not_said_to_be_miscalibrated_but_bad_ones_are():
    rng = np.random.default_rng(2)
    truth = expit(rng.normal(-2, 1.2, 3000))
    labels = rng.random(3000) < truth
    good = measure_calibration(labels, truth).expected_calibration_error
    assert good.low == 0 < good.value < 0.03
    bad = measure_calibration(labels, np.sqrt(truth)).expected_calibration_error
    assert 0.1 < bad.low < bad.value < bad.high
    assert "by chance" in good.method


def test_what_chance_alone_shows_is_said():
    # With ten bins of 20 images at 0.5, a bin's count deviates from 10 by 2 sqrt(5) sqrt(1/2 pi) on average
    # (De Moivre); hand: E|X - 10| for X ~ B(20, 1/2) is 20 C(20, 10) / 2^21 = 1.7620.
    labels, scores = np.tile([0.0, 1.0], 100), np.linspace(0.499, 0.501, 200)
    method = measure_calibration(labels, scores, replicates=4000).expected_calibration_error.method
    shown = float(method.split("would show about ")[1].split(" ")[0])
    assert shown == pytest.approx(20 * math.comb(20, 10) / 2**21 / 20, rel=0.03)


def test_patients_with_several_images_widen_every_interval():
    rng = np.random.default_rng(7)
    truth = np.repeat(rng.normal(-1, 1.5, 80), 6)
    labels = np.repeat(rng.random(80) < expit(truth[::6]), 6)
    scores, owner = expit(1.4 * truth + 0.1 * rng.normal(size=480)), np.repeat(np.arange(80), 6)
    naive, ours = measure_calibration(labels, scores), measure_calibration(labels, scores, clusters=owner)
    for name in ("slope", "intercept", "brier"):
        wide, narrow = getattr(ours, name), getattr(naive, name)
        assert wide.value == pytest.approx(narrow.value)
        assert wide.high - wide.low > 1.8 * (narrow.high - narrow.low)
    rows = equal_mass_bins(scores, 10) == 4
    assert ours.bins[4].observed == clustered_proportion_interval(labels[rows], owner[rows])


def test_writing_every_image_twice_leaves_the_clustered_errors_and_shrinks_the_naive_ones():
    labels, scores, owner = sampled(300, seed=9)
    once = measure_calibration(labels, scores)
    doubled = [np.tile(column, 2) for column in (labels, scores, owner)]
    naive = measure_calibration(*doubled[:2])
    clustered = measure_calibration(*doubled[:2], clusters=doubled[2])

    def width(estimate):
        return estimate.high - estimate.low

    for name in ("slope", "intercept"):
        assert width(getattr(once, name)) / width(getattr(naive, name)) == pytest.approx(math.sqrt(2))
    # The sandwich replaces the information matrix, and Student's t the normal quantile.
    assert width(clustered.slope) == pytest.approx(width(once.slope), rel=0.15)
    assert width(clustered.brier) == pytest.approx(width(once.brier), rel=0.1)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([0, 0, 0, 0], "no positives: all 4 known labels are negative"),
        ([1, 1, math.nan, 1], "no negatives: all 3 known labels are positive"),
        ([math.nan] * 4, "no image has a known label"),
    ],
)
def test_one_class_is_not_estimable_and_says_why(labels, reason):
    measured = measure_calibration(labels, [0.1, 0.2, 0.3, 0.4], clusters=["a", "a", "b", "c"])
    for name in ("slope", "intercept", "brier", "expected_calibration_error"):
        assert getattr(measured, name).reason == reason
    assert math.isnan(measured.reliability)
    assert sum(entry.n_images for entry in measured.bins) == measured.n_images == sum(not math.isnan(x) for x in labels)


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], "no positive scores below a negative"),
        ([0, 0, 1, 1], [0.1, 0.3, 0.3, 0.4], "no positive scores below a negative"),
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], "no positive scores above a negative"),
        ([1, 0, 1, 0], [0.3, 0.3, 0.3, 0.3], "all scores are equal"),
    ],
)
def test_separated_classes_have_no_slope_but_an_intercept(labels, scores, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = measure_calibration(labels, scores)
    assert reason in measured.slope.reason
    assert measured.intercept.estimable
    assert expit(logit(scores) + measured.intercept.value).mean() == pytest.approx(np.mean(labels))


def test_almost_separated_classes_have_a_slope():
    labels, scores = [0] * 30 + [1, 0] + [1] * 30, np.linspace(0.01, 0.99, 62)
    measured = measure_calibration(labels, scores)
    found = optimize.minimize(
        lambda line: np.logaddexp(0, np.where(labels, -1, 1) * (line[0] + line[1] * logit(scores))).sum(),
        [0, 1],
        method="BFGS",
        options={"gtol": 1e-8},
    )
    assert measured.slope.value == pytest.approx(found.x[1], rel=1e-4)


def test_one_patient_says_nothing_about_patients():
    measured = measure_calibration([0, 1, 0, 1], [0.1, 0.3, 0.2, 0.6], clusters=["a"] * 4)
    assert "from one patient" in measured.slope.reason
    assert "from one patient" in measured.brier.reason
    one_positive = measure_calibration([0, 1, 0, 1, 0], [0.1, 0.3, 0.2, 0.6, 0.4], clusters=["a", "b", "a", "b", "c"])
    assert "all positive images come from one patient" in one_positive.intercept.reason


def test_scores_without_error_have_no_interval_to_offer():
    assert "no interval to offer" in measure_calibration([0, 1, 0, 1], [0.0, 1.0, 0.0, 1.0]).brier.reason


def test_few_positives_are_mentioned():
    labels, scores, _ = sampled(200, seed=1, centre=-4)
    measured = measure_calibration(labels, scores)
    assert measured.slope.method.endswith(f"; interval approximate: worth {int(labels.sum())} images")


def test_order_of_rows_and_unknown_labels_do_not_matter():
    labels, scores, owner = sampled(120, seed=2, patients=40)
    order = np.random.default_rng(0).permutation(120)
    plain = measure_calibration(labels, scores, clusters=owner, replicates=50)
    shuffled = measure_calibration(
        [*labels[order], math.nan], [*scores[order], 0.5], clusters=[*owner[order], 999], replicates=50
    )
    for name in ("slope", "intercept", "brier", "expected_calibration_error"):
        ours, theirs = getattr(plain, name), getattr(shuffled, name)
        assert (theirs.value, theirs.low, theirs.high) == pytest.approx((ours.value, ours.low, ours.high), abs=1e-9)
    independent, again = (measure_calibration(labels[o], scores[o], replicates=50) for o in (slice(None), order))
    assert independent == again


@quick
@given(images())
def test_every_interval_contains_its_estimate(case):
    labels, scores, bins = case
    measured = measure_calibration(labels, scores, bins=bins, replicates=30)
    for estimate in (measured.slope, measured.intercept, measured.brier, measured.expected_calibration_error):
        assert not estimate.estimable or estimate.low <= estimate.value <= estimate.high
    assert measured.expected_calibration_error.low >= 0
    assert sum(entry.n_positive for entry in measured.bins) == labels.sum()


def test_json_gives_the_same_calibration_back(tmp_path):
    for labels, scores in ((HAND_LABELS, HAND_SCORES), ([0, 0], [0.1, 0.2])):
        measured = measure_calibration(labels, scores, scores_are="recalibrated")
        path = files.write_json(tmp_path / "calibration.json", measured.to_dict())
        back = Calibration.from_dict(json.loads(path.read_text()))
        assert repr(back) == repr(measured)


def test_bad_input_is_refused_with_a_reason():
    with pytest.raises(ValueError, match="look like logits"):
        measure_calibration([0, 1], [-2.0, 3.0])
    with pytest.raises(ValueError, match="NaN or infinite"):
        measure_calibration([0, 1], [0.2, math.nan])
    with pytest.raises(ValueError, match="labels must be 1, 0 or NaN"):
        measure_calibration([0, 2], [0.2, 0.4])
    with pytest.raises(ValueError, match="bins=0 must be a whole number of at least 1"):
        measure_calibration([0, 1], [0.2, 0.4], bins=0)
    with pytest.raises(ValueError, match="replicates=0"):
        measure_calibration([0, 1], [0.2, 0.4], replicates=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slope", "shift"),
    [(1.5, 0.5), *(pytest.param(1.0, shift, marks=pytest.mark.release) for shift in (0.0, 1.5))],
)
def test_intervals_cover_as_often_as_they_say_with_ten_positives_of_200(slope, shift):
    rng = np.random.default_rng(8)
    truth = rng.normal(-3.5, 1.2, 1_000_000)
    share, score = expit(truth), expit(shift + slope * truth)
    true_shift = optimize.brentq(lambda add: (expit(logit(score) + add) - share).mean(), -5, 5)
    order = np.argsort(score)
    true = {
        "slope": 1 / slope,
        "intercept": true_shift,
        "brier": (share * (1 - score) ** 2 + (1 - share) * score**2).mean(),
        "expected_calibration_error": np.abs((score - share)[order].reshape(10, -1).mean(axis=1)).mean(),
    }
    covered = dict.fromkeys(true, 0)
    for repeat in range(500):
        rows = rng.integers(0, len(share), 200)
        labels = rng.random(200) < share[rows]
        measured = measure_calibration(labels, score[rows], replicates=300, seed=repeat)
        for name, value in true.items():
            estimate = getattr(measured, name)
            covered[name] += estimate.low <= value <= estimate.high
    for name, times in covered.items():
        # 500 repetitions know a coverage of .95 to about .02; the Brier score of ten positives is skewed, truly .94.
        assert 0.91 <= times / 500 <= 0.985, f"{name} {times / 500}"
