"""Rates at a threshold: published tables, hand counts, library oracles, a slow bootstrap of patients, properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.metrics import f1_score, matthews_corrcoef
from statsmodels.stats.proportion import proportion_confint

from chexkeras.evaluation.rates import Rates, rates, rates_from_counts
from chexkeras.results import Estimate
from tests.evaluation import written_out

quick = settings(derandomize=True, deadline=None, max_examples=60)
NAMES = (
    "sensitivity", "specificity", "ppv", "npv", "accuracy", "likelihood_ratio_positive", "likelihood_ratio_negative",
    "f1", "mcc", "youden",
)  # fmt: skip


def limits(estimate):
    return (estimate.low, estimate.high)


def images(tp, fn, fp, tn):
    """Returns labels and calls with these counts."""
    return np.repeat([1, 1, 0, 0], [tp, fn, fp, tn]), np.repeat([1, 0, 1, 0], [tp, fn, fp, tn]).astype(bool)


def degrees_of_ratio(numerator, denominator):
    """Degrees of freedom of the logarithm of a ratio of two shares, given as (successes, images) of few images."""
    return written_out.satterthwaite(
        [1 / successes - 1 / n for successes, n in (numerator, denominator)], [numerator[1], denominator[1]]
    )


def correlated(seed, patients=60):
    """Returns labels, calls and patients; the images of a patient resemble each other in both."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), rng.integers(1, 7, patients))
    ill, look = rng.normal(size=(2, patients))
    labels = 0.8 * ill[owner] + 0.6 * rng.normal(size=len(owner)) > 0.5
    called = labels + 0.8 * look[owner] + 0.6 * rng.normal(size=len(owner)) > 0.6
    return labels, called, owner


def test_likelihood_ratios_of_scott_2008():
    # Scott et al. 2008 as printed in the documentation of epiR (epi.tests): LR+ 3.75 (3.32-4.24), LR- 0.13 (0.11-0.16).
    found = rates_from_counts(670, 74, 202, 640)
    positive, negative = found.likelihood_ratio_positive, found.likelihood_ratio_negative
    assert (positive.value, *limits(positive)) == pytest.approx((3.7537, 3.3207, 4.2432), abs=5e-5)
    assert (negative.value, *limits(negative)) == pytest.approx((0.1309, 0.1051, 0.1630), abs=5e-5)
    assert positive.method == "Simel 1991, log interval"


def test_proportions_of_a_published_clearance_are_clopper_pearson():
    # red dot, 510(k) K191556: sensitivity 283/299 .9465 (.9146-.9691), specificity 518/589 .8795 (.8504-.9046).
    found = rates_from_counts(283, 16, 71, 518)
    assert (found.sensitivity.value, *limits(found.sensitivity)) == pytest.approx((0.9465, 0.9146, 0.9691), abs=5e-5)
    assert (found.specificity.value, *limits(found.specificity)) == pytest.approx((0.8795, 0.8504, 0.9046), abs=5e-5)


@pytest.mark.parametrize("counts", [(670, 74, 202, 640), (188, 34, 10412, 5736), (3, 2, 1, 9)])
def test_counts_agree_with_scikit_learn_statsmodels_and_the_formulas(counts):
    tp, fn, fp, tn = counts
    labels, called = images(*counts)
    found = rates_from_counts(*counts)
    assert found.f1.value == pytest.approx(f1_score(labels, called), rel=1e-12)
    assert found.mcc.value == pytest.approx(matthews_corrcoef(labels, called), rel=1e-12)
    for name, part, whole in (
        ("sensitivity", tp, tp + fn), ("specificity", tn, tn + fp), ("ppv", tp, tp + fp), ("npv", tn, tn + fn),
        ("accuracy", tp + tn, sum(counts)),
    ):  # fmt: skip
        estimate = getattr(found, name)
        assert estimate.value == part / whole
        assert limits(estimate) == pytest.approx(proportion_confint(part, whole, method="beta"), rel=1e-9)
    # F1 = 2 J / (1 + J), J being a share of the images that are not true negatives.
    share = np.array(proportion_confint(tp, tp + fn + fp, method="beta"))
    assert limits(found.f1) == pytest.approx(tuple(2 * share / (1 + share)), rel=1e-9)
    error = math.sqrt(1 / tp - 1 / (tp + fn) + 1 / fp - 1 / (fp + tn))
    half = (math.log(found.likelihood_ratio_positive.high) - math.log(found.likelihood_ratio_positive.low)) / 2
    # Simel's normal quantile where both classes are large; Student's t for 5 positives and 10 negatives.
    quantile = stats.t.ppf(0.975, degrees_of_ratio((tp, tp + fn), (fp, fp + tn))) if tp + fn < 50 else 1.959963984540054
    assert half == pytest.approx(quantile * error, rel=1e-9)


def test_the_published_pneumonia_table_gives_its_f1_at_equal_classes():
    # Experiment 1A of the reference project: 188 of 222 positives found, 5,736 of 16,148 negatives passed. At equal
    # classes its F1 is .6798; among its own 1.36 % positives a tenth of that.
    found = rates_from_counts(188, 34, 10412, 5736)
    sensitivity, alarm = found.sensitivity.value, 1 - found.specificity.value
    assert 2 * sensitivity / (2 * sensitivity + (1 - sensitivity) + alarm) == pytest.approx(0.6798, abs=5e-5)
    assert found.f1.value == pytest.approx(2 * 188 / (2 * 188 + 34 + 10412), rel=1e-12)


def test_mcc_error_is_that_of_a_numeric_derivative():
    counts = np.array([30.0, 10.0, 20.0, 140.0])

    def mcc(cells):
        tp, fn, fp, tn = cells
        return (tp * tn - fp * fn) / math.sqrt((tp + fn) * (fp + tn) * (tp + fp) * (fn + tn))

    gradient = np.array([(mcc(counts + step) - mcc(counts - step)) / 2e-4 for step in 1e-4 * np.eye(4)])
    error = math.sqrt(counts @ gradient**2)
    found = rates_from_counts(30, 10, 20, 140).mcc
    half = (math.atanh(found.high) - math.atanh(found.low)) / 2
    # Student's t, because 40 positives are few; each class adds its part to the variance.
    parts = [float(counts[cells] @ gradient[cells] ** 2) for cells in (slice(0, 2), slice(2, 4))]
    quantile = stats.t.ppf(0.975, written_out.satterthwaite(parts, [40, 160]))
    assert half == pytest.approx(quantile * error / (1 - found.value**2), rel=1e-6)
    # Ten times as many are enough for the normal quantile.
    found = rates_from_counts(300, 100, 200, 1400).mcc
    half = (math.atanh(found.high) - math.atanh(found.low)) / 2
    assert half == pytest.approx(1.959963984540054 * error / math.sqrt(10) / (1 - found.value**2), rel=1e-6)


def test_youden_adds_the_intervals_as_newcombe_does():
    # Newcombe 1998, method 10: the limits of a difference from those of its two proportions, here 45/50 and 1 - 32/40.
    found = rates_from_counts(45, 5, 8, 32)
    (low, high), (under, over) = (proportion_confint(*part, method="beta") for part in ((45, 50), (32, 40)))
    assert found.youden.value == pytest.approx(0.7)
    assert found.youden.low == pytest.approx(0.7 - math.hypot(0.9 - low, 0.8 - under), rel=1e-9)
    assert found.youden.high == pytest.approx(0.7 + math.hypot(high - 0.9, over - 0.8), rel=1e-9)


def test_one_image_of_each_patient_is_the_same_as_counts():
    labels, called = images(38, 10, 15, 90)
    plain = rates_from_counts(38, 10, 15, 90)
    assert rates(labels, called) == plain
    assert rates(labels, called, clusters=np.arange(153)) == plain
    nearly = np.arange(153)
    nearly[1] = 0
    for name in NAMES:
        assert limits(getattr(rates(labels, called, clusters=nearly), name)) == pytest.approx(
            limits(getattr(plain, name)), rel=0.02
        )


def test_unknown_labels_are_left_out():
    labels, called, owner = correlated(3)
    padded = rates([*labels, math.nan, math.nan], [*called, True, False], clusters=[*owner, 0, 99])
    assert padded == rates(labels, called, clusters=owner)


@pytest.mark.parametrize("name", ["likelihood_ratio_positive", "likelihood_ratio_negative", "mcc", "f1", "accuracy"])
def test_clustered_intervals_agree_with_a_slow_bootstrap_of_patients(name):
    labels, called, owner = correlated(5, patients=250)
    estimate = getattr(rates(labels, called, clusters=owner), name)
    rng = np.random.default_rng(8)
    rows = [np.flatnonzero(owner == patient) for patient in range(250)]
    drawn = []
    for _ in range(300):
        chosen = np.concatenate([rows[patient] for patient in rng.integers(0, 250, 250)])
        drawn.append(getattr(rates(labels[chosen], called[chosen]), name).value)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (estimate.high - estimate.low) == pytest.approx(high - low, rel=0.2)
    naive = getattr(rates(labels, called), name)
    assert estimate.high - estimate.low > 1.1 * (naive.high - naive.low)
    assert "patients" in estimate.method


def error_written_out(labels, called, owner, gradient):
    """Returns variance and degrees of freedom of a function whose derivatives by tp, fn, fp, tn are given.

    The patients' sums of what images contribute are squared; where these squares are smaller, by the design effect,
    than what positives say about their mean, negatives about theirs, or the classes' means, the difference is added.
    """
    k = len(set(owner))
    kind = np.where(labels, np.where(called, 0, 1), np.where(called, 2, 3))
    values = gradient[kind]
    sums = {}
    for patient, value in zip(owner, values, strict=True):
        sums[patient] = sums.get(patient, 0.0) + value
    variance = k / (k - 1) * sum(total**2 for total in sums.values())
    means = np.where(labels, values[labels].mean(), values[~labels].mean())
    variances, worths = [], []
    for rows, part in (
        (labels, values - means), (~labels, values - means), (np.ones(len(labels), bool), means),
    ):  # fmt: skip
        if np.abs(part[rows]).max() < 1e-12:
            continue
        parts, who = part[rows], owner[rows]
        variances.append(written_out.raised(parts, who))
        worths.append(written_out.kish(who))
        groups = written_out.by_patient(parts, who)
        variance += max(0.0, variances[-1] - len(groups) / (len(groups) - 1) * sum(sum(group) ** 2 for group in groups))
    return max(variance, sum(values**2)), written_out.satterthwaite(variances, worths)


def clustered(cells):
    """Returns labels, calls and patients of whom each has the counts of one row."""
    labels, called = (np.concatenate([images(*row)[part] for row in cells]) for part in (0, 1))
    return labels == 1, called, np.repeat(np.arange(len(cells)), np.sum(cells, axis=1))


@pytest.mark.parametrize(
    "cells",
    [
        [[3, 0, 0, 1], [0, 3, 0, 2], [4, 1, 2, 0], [0, 0, 3, 1], [1, 0, 0, 6]],
        [[2, 1, 1, 2], [1, 2, 2, 1], [2, 1, 2, 1], [1, 1, 1, 3]],  # patients who resemble each other by chance
        [[12, 3, 0, 0], [0, 1, 0, 2], [1, 0, 2, 0], [0, 1, 1, 20], [1, 0, 0, 1]],  # few with many images
    ],
)
def test_clustered_likelihood_ratios_and_mcc_written_out(cells):
    labels, called, owner = clustered(cells)
    tp, fn, fp, tn = np.sum(cells, axis=0)
    found = rates(labels, called, clusters=owner)
    # What an image adds to the error of log(sensitivity / (1 - specificity)): a share of the found less one of the
    # positives, and the reverse for false alarms and negatives.
    positive, negative = -1 / (tp + fn), 1 / (fp + tn)
    for estimate, value, gradient in (
        (
            found.likelihood_ratio_positive,
            (tp / (tp + fn)) / (fp / (fp + tn)),
            np.array([positive + 1 / tp, positive, negative - 1 / fp, negative]),
        ),
        (
            found.likelihood_ratio_negative,
            (fn / (tp + fn)) / (tn / (fp + tn)),
            np.array([positive, positive + 1 / fn, negative, negative - 1 / tn]),
        ),
    ):
        variance, degrees = error_written_out(labels, called, owner, gradient)
        assert estimate.value == pytest.approx(value)
        assert math.log(estimate.high / estimate.value) == pytest.approx(
            stats.t.ppf(0.975, degrees) * math.sqrt(variance)
        )

    def mcc(counts):
        tp, fn, fp, tn = counts
        return (tp * tn - fp * fn) / math.sqrt((tp + fn) * (fp + tn) * (tp + fp) * (fn + tn))

    counts = np.array([tp, fn, fp, tn], float)
    gradient = np.array([(mcc(counts + step) - mcc(counts - step)) / 2e-4 for step in 1e-4 * np.eye(4)])
    variance, degrees = error_written_out(labels, called, owner, gradient)
    half = stats.t.ppf(0.975, degrees) * math.sqrt(variance) / (1 - mcc(counts) ** 2)
    assert math.atanh(found.mcc.high) - math.atanh(found.mcc.value) == pytest.approx(half, rel=1e-5)


def test_patients_that_agree_by_chance_do_not_make_a_number_certain():
    labels, called, owner = clustered([[2, 1, 1, 2]] * 6)
    same, plain = (rates(labels, called, clusters=group).likelihood_ratio_positive for group in (owner, None))
    # All six patients have the same counts; what is left is the variance of 36 images with the factor 6/5, and
    # Student's t for the six patients that are behind either class's part of it.
    parts = [1 / 12 - 1 / 18, 1 / 6 - 1 / 18]
    six, images_ = (stats.t.ppf(0.975, written_out.satterthwaite(parts, [n, n])) for n in (6, 18))
    widened = math.sqrt(6 / 5) * six / images_
    assert math.log(same.high / same.value) == pytest.approx(widened * math.log(plain.high / plain.value))


def test_images_seen_twice_tell_nothing_new():
    labels, called = images(60, 20, 30, 190)
    single, patients = rates(labels, called), np.repeat(np.arange(300), 2)
    double = rates(np.repeat(labels, 2), np.repeat(called, 2), clusters=patients)
    for name, parts in (
        ("likelihood_ratio_positive", [1 / 60 - 1 / 80, 1 / 30 - 1 / 220]),
        ("likelihood_ratio_negative", [1 / 20 - 1 / 80, 1 / 190 - 1 / 220]),
    ):
        once, twice = getattr(single, name), getattr(double, name)
        assert twice.value == pytest.approx(once.value)
        # Student's t of 80 and 220 patients and the factor 300/299 instead of the normal quantile.
        of_patients = [parts[0] * 80 / 79, parts[1] * 220 / 219]
        student = stats.t.ppf(0.975, written_out.satterthwaite(of_patients, [80, 220])) / 1.959963984540054
        factor = math.sqrt(300 / 299)
        assert math.log(twice.high / twice.low) == pytest.approx(student * factor * math.log(once.high / once.low))


def test_images_seen_again_do_not_make_a_zero_count_more_certain():
    labels, called = images(32, 8, 0, 20)
    single = rates(labels, called)
    once, found = single.likelihood_ratio_positive, []
    for copies in (2, 100):
        patients = np.repeat(np.arange(60), copies)
        many = rates(np.repeat(labels, copies), np.repeat(called, copies), clusters=patients)
        ratio = many.likelihood_ratio_positive
        # 0.5 patients are added, not 0.5 images: 20 patients without a false alarm are all that is known.
        assert ratio.value == pytest.approx(once.value)
        assert math.log(ratio.high / ratio.low) == pytest.approx(math.log(once.high / once.low), rel=0.06)
        found.append(limits(ratio))
        assert "0.5 was added to all four, counted in patients" in ratio.method
    assert found[0] == pytest.approx(found[1])


@quick
@given(st.tuples(*[st.integers(0, 30)] * 4), st.integers(0, 2**32 - 1), st.booleans())
def test_intervals_contain_their_estimate_and_stay_in_range(counts, seed, several):
    labels, called = images(*counts)
    if not len(labels):
        return
    owner = np.random.default_rng(seed).integers(0, max(1, len(labels) // 2), len(labels)) if several else None
    found = rates(labels, called, clusters=owner)
    for name in NAMES:
        estimate = getattr(found, name)
        assert estimate.estimable or estimate.reason
        if estimate.estimable:
            floor = -1 if name in ("mcc", "youden") else 0
            ceiling = math.inf if "ratio" in name else 1
            assert floor <= estimate.low <= estimate.value + 1e-12
            assert estimate.value - 1e-12 <= estimate.high <= ceiling
            assert estimate.high > estimate.low


@quick
@given(st.tuples(*[st.integers(0, 30)] * 4))
def test_turning_the_question_round_mirrors_the_rates(counts):
    tp, fn, fp, tn = counts
    if not sum(counts):
        return
    one, other = rates_from_counts(tp, fn, fp, tn), rates_from_counts(tn, fp, fn, tp)
    assert repr(one.sensitivity) == repr(other.specificity).replace("negatives", "positives")
    assert one.mcc.value == pytest.approx(other.mcc.value, nan_ok=True)
    assert limits(one.mcc) == pytest.approx(limits(other.mcc), nan_ok=True)
    plus, minus = one.likelihood_ratio_positive, other.likelihood_ratio_negative
    if plus.estimable:
        assert limits(plus) == pytest.approx((1 / minus.high, 1 / minus.low))


def test_a_zero_count_is_filled_and_said():
    # Without a false alarm: (9 + .5) / (10 + 1) over .5 / (20 + 1), limits from the same counts.
    found = rates_from_counts(9, 1, 0, 20).likelihood_ratio_positive
    error = math.sqrt(1 / 9.5 - 1 / 11 + 1 / 0.5 - 1 / 21)
    assert found.value == pytest.approx((9.5 / 11) / (0.5 / 21))
    quantile = stats.t.ppf(0.975, written_out.satterthwaite([1 / 9.5 - 1 / 11, 1 / 0.5 - 1 / 21], [10, 20]))
    assert found.high == pytest.approx(found.value * math.exp(quantile * error))
    assert "0.5 was added" in found.method
    assert "added" not in rates_from_counts(9, 1, 0, 20).likelihood_ratio_negative.method


def test_calls_without_an_error_do_not_make_mcc_certain():
    found = rates_from_counts(40, 0, 0, 60).mcc
    # By hand: each rate at its lower 98.75 % bound, .0125 ** (1 / n), so that both hold together with 97.5 %.
    missed, alarms = 40 * (1 - 0.0125 ** (1 / 40)), 60 * (1 - 0.0125 ** (1 / 60))
    weights = [40 - missed, missed, alarms, 60 - alarms]
    worst = matthews_corrcoef([1, 1, 0, 0], [1, 0, 1, 0], sample_weight=weights)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(worst)
    assert "no call differs" in found.method
    wrong = rates_from_counts(0, 40, 60, 0).mcc
    assert (wrong.value, wrong.low, wrong.high) == (-1, -1, pytest.approx(-worst))


@pytest.mark.parametrize(
    ("counts", "name", "reason"),
    [
        ((0, 0, 3, 7), "sensitivity", "no positives"),
        ((0, 0, 3, 7), "likelihood_ratio_positive", "no positives"),
        ((0, 0, 3, 7), "f1", "no positives"),
        ((0, 0, 3, 7), "mcc", "no positives"),
        ((3, 7, 0, 0), "youden", "no negatives"),
        ((0, 5, 0, 5), "ppv", "no image is called positive"),
        ((0, 5, 0, 5), "likelihood_ratio_positive", "no image is called positive"),
        ((0, 5, 0, 5), "mcc", "no image is called positive"),
        ((5, 0, 5, 0), "npv", "every image is called positive"),
        ((5, 0, 5, 0), "likelihood_ratio_negative", "every image is called positive"),
        ((5, 0, 5, 0), "mcc", "every image is called positive"),
        ((0, 0, 0, 0), "accuracy", "no image has a known label"),
    ],
)
def test_what_the_counts_leave_undefined_says_why(counts, name, reason):
    for found in (rates_from_counts(*counts), rates([*images(*counts)[0], math.nan], [*images(*counts)[1], False])):
        estimate = getattr(found, name)
        assert not estimate.estimable
        assert reason in estimate.reason


def test_no_positive_found_is_an_f1_of_zero_with_an_upper_limit():
    found = rates_from_counts(0, 8, 2, 90).f1
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(2 * (1 - 0.025**0.1) / (2 - 0.025**0.1))


def test_calling_everything_is_not_known_exactly_to_tell_nothing():
    found = rates_from_counts(5, 0, 20, 0).likelihood_ratio_positive
    assert found.low < 0.9 < 1.1 < found.high
    assert "0.5 was added" in found.method


def test_one_patient_says_nothing_about_patients():
    found = rates([1, 1, 0, 0], [1, 0, 1, 0], clusters=["a"] * 4)
    assert found.mcc.reason == found.likelihood_ratio_positive.reason == "all images come from one patient"


def test_few_positives_are_mentioned():
    assert rates_from_counts(4, 1, 10, 90).mcc.method.endswith("; interval approximate: worth 5 images")
    labels, called, owner = correlated(2, patients=12)
    few = rates(labels, called, clusters=owner // 2).mcc
    worth = written_out.kish((owner // 2)[labels])
    assert few.method.endswith(f"; interval approximate: worth {worth:.0f} patients")


def test_the_method_names_students_t_where_it_is_used():
    few, many = rates_from_counts(20, 5, 10, 90), rates_from_counts(200, 50, 100, 900)
    degrees = degrees_of_ratio((20, 25), (10, 100))
    expected = f"Simel 1991, log interval, Student's t with {degrees:.0f} degrees of freedom"
    assert few.likelihood_ratio_positive.method == expected
    assert many.likelihood_ratio_positive.method == "Simel 1991, log interval"
    assert "Fisher's z, Student's t with" in few.mcc.method
    assert many.mcc.method == "delta method on Fisher's z"


def test_rates_are_plain_data():
    found = rates_from_counts(4, 1, 10, 90)
    assert isinstance(found, Rates)
    assert Estimate.from_dict(found.to_dict()["mcc"]) == found.mcc
    assert found.to_dict()["true_positives"] == 4


@pytest.mark.parametrize(
    ("counts", "message"),
    [((4.0, 1, 2, 3), r"tp=4.0 must be a whole"), ((4, -1, 2, 3), "fn=-1 must"), ((4, 1, True, 3), "fp=True must")],
)
def test_counts_must_be_whole_and_not_negative(counts, message):
    with pytest.raises(ValueError, match=message):
        rates_from_counts(*counts)


@pytest.mark.parametrize(
    ("labels", "called", "clusters", "message"),
    [
        ([1, 0], [True], None, r"labels have shape \(2,\) and called \(1,\)"),
        ([], [], None, "empty"),
        ([1, 2], [True, False], None, "labels must be 1, 0 or NaN"),
        ([1, 0], [0.7, 0.2], None, r"found 0.7 in 2 row\(s\). Give decisions"),
        ([1, 0], [math.nan, 0], None, "found nan in 1 row"),
        ([1, 0], [True, False], ["a"], "one patient for each image"),
        ([1, 0], [True, False], ["a", None], "1 of 2 clusters are missing"),
    ],
)
def test_bad_input_is_refused_in_words(labels, called, clusters, message):
    with pytest.raises(ValueError, match=message):
        rates(labels, called, clusters=clusters)


def test_confidence_must_be_a_fraction():
    with pytest.raises(ValueError, match="confidence=95"):
        rates_from_counts(1, 1, 1, 1, confidence=95)


def test_likelihood_ratios_and_mcc_cover_with_100_patients_of_as_many_images_as_nihs():
    # Sensitivity 0.9 and specificity 0.8 among 18 % positives; half of what decides a call is shared by a patient.
    rng = np.random.default_rng(0)
    truth = rates_from_counts(1620, 180, 1640, 6560)
    names = ("likelihood_ratio_positive", "likelihood_ratio_negative", "mcc")
    covered = dict.fromkeys(names, 0)
    for _ in range(250):
        owner = np.repeat(np.arange(100), written_out.nih_sizes(rng, 100))
        positive = (rng.random(100) < 0.3)[owner] & (rng.random(len(owner)) < 0.6)
        noise = math.sqrt(0.5) * (rng.normal(size=100)[owner] + rng.normal(size=len(owner)))
        called = np.where(positive, noise <= special.ndtri(0.9), noise > special.ndtri(0.8))
        found = rates(positive, called, clusters=owner)
        for name in names:
            covered[name] += getattr(found, name).low <= getattr(truth, name).value <= getattr(found, name).high
    assert min(covered.values()) / 250 >= 0.915, covered


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say_with_and_without_several_images():
    """Coverage of 95 % intervals: 300 independent images, and 80 patients with one to six resembling images."""
    several = [correlated(seed, 80) for seed in range(600)]
    truth = rates(*(np.concatenate([case[part] for case in several]) for part in (0, 1)))
    names = ("likelihood_ratio_positive", "likelihood_ratio_negative", "f1", "mcc", "youden")
    aims = {name: getattr(truth, name).value for name in names}
    pool = [np.concatenate([case[part] for case in several]) for part in (0, 1)]
    rng = np.random.default_rng(4)
    for kind in ("independent", "several"):
        covered = dict.fromkeys(names, 0)
        for labels, called, owner in several:
            rows = rng.integers(0, len(pool[0]), 300)
            found = rates(labels, called, clusters=owner) if kind == "several" else rates(pool[0][rows], pool[1][rows])
            for name in names:
                covered[name] += getattr(found, name).low <= aims[name] <= getattr(found, name).high
        # 600 simulations leave a standard error of .9 points, and the truth has one of its own: three below 95.
        assert all(count / 600 >= 0.922 for count in covered.values()), (kind, covered)
        assert covered["mcc"] / 600 <= 0.98
