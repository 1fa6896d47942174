"""Two sites with different patients: Newcombe's published limits, statsmodels, slow sums by patient, coverage."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from statsmodels.stats.proportion import confint_proportions_2indep

from chexkeras.evaluation.comparison import unpaired
from chexkeras.evaluation.comparison.unpaired import added_as_squares, compare_unpaired
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.evaluation.uncertainty.delong import auc_covariance
from chexkeras.evaluation.uncertainty.intervals import auc_interval
from chexkeras.results import Comparison, Estimate, OperatingPoint

quick = settings(derandomize=True, deadline=None, max_examples=40)
SOME = Estimate(0.9, 0.8, 0.95)
POINT = OperatingPoint("Edema", 0.5, "stated", None, "stated", "", 0, 0, SOME, SOME)


def table(labels, scores, site, patients=None):
    numbers = range(len(labels)) if patients is None else patients
    return pd.DataFrame(
        {
            "image_id": [f"{site}-{k}" for k in range(len(labels))],
            "patient_id": [f"{site}-{k}" for k in numbers],
            "finding": "Edema",
            "label": np.asarray(labels, float),
            "score": scores,
        }
    )


def called(hits, n, site, patients=None):
    """A site with n positives of which `hits` are called, and two negatives that are not."""
    scores = [0.9] * hits + [0.1] * (n - hits) + [0.1, 0.2]
    return table([1] * n + [0, 0], scores, site, patients)


def sensitivity(first, second, **how):
    return next(
        entry
        for entry in compare_unpaired(first, second, points=POINT, statistics=(), **how)
        if entry.statistic == "sensitivity"
    )


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_limits_of_two_proportions_as_newcombe_published_them(first, second, low, high):
    # Newcombe, Statistics in Medicine 17, 1998 (873-890), table II, method 10.
    found = sensitivity(called(*first, "a"), called(*second, "b")).difference
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))
    assert found.n == first[1] + second[1]


@quick
@given(st.integers(1, 40), st.integers(1, 40), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_independent_images_agree_with_statsmodels_and_test_with_interval(n1, n2, data, level):
    hits = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    found = sensitivity(called(hits[0], n1, "a"), called(hits[1], n2, "b"), confidence=level)
    slow = confint_proportions_2indep(hits[0], n1, hits[1], n2, method="newcomb", compare="diff", alpha=1 - level)
    assert (found.difference.low, found.difference.high) == pytest.approx(slow, abs=1e-9)
    outside = found.difference.low > 1e-9 or found.difference.high < -1e-9
    if abs(found.p_value - (1 - level)) > 1e-5:
        assert (found.p_value < 1 - level) == outside
    mirrored = sensitivity(called(hits[1], n2, "b"), called(hits[0], n1, "a"), confidence=level)
    assert mirrored.difference.low == pytest.approx(-found.difference.high, abs=1e-12)
    assert mirrored.p_value == pytest.approx(found.p_value, rel=1e-5)


def normal_site(rng, n_positive, n_negative, gap, site, images=1):
    patients = np.repeat(np.arange(n_positive + n_negative), images)
    labels = np.repeat([1] * n_positive + [0] * n_negative, images)
    shared = rng.normal(size=n_positive + n_negative)[patients]
    seen = math.sqrt(0.5) * shared + math.sqrt(0.5) * rng.normal(size=len(labels)) if images > 1 else shared
    return table(labels, special.expit(seen + gap * labels), site, patients)


def test_areas_are_compared_by_their_own_intervals_added_as_squares():
    rng = np.random.default_rng(3)
    first, second = normal_site(rng, 12, 90, 1.5, "a"), normal_site(rng, 60, 200, 1.0, "b")
    (found,) = compare_unpaired(first, second, names=("north", "south"))
    one, other = (auc_interval(each["label"], each["score"]) for each in (first, second))
    assert (found.first_value.value, found.second_value.value) == (one.value, other.value)
    difference = one.value - other.value
    low = difference - math.sqrt((one.value - one.low) ** 2 + (other.high - other.value) ** 2)
    high = difference + math.sqrt((one.high - one.value) ** 2 + (other.value - other.low) ** 2)
    assert (found.difference.value, found.difference.low, found.difference.high) == pytest.approx(
        (difference, low, high)
    )
    assert "different patients" in found.method
    assert Comparison.from_dict(found.to_dict()) == found


def test_of_many_patients_the_test_is_the_z_test_of_two_delong_areas():
    rng = np.random.default_rng(5)
    first, second = normal_site(rng, 800, 900, 1.00, "a", images=2), normal_site(rng, 700, 900, 1.00, "b", images=2)
    (found,) = compare_unpaired(first, second)
    value = variance = 0.0
    for sign, each in ((1, first), (-1, second)):
        owner = np.unique(each["patient_id"], return_inverse=True)[1]
        areas, covariance = auc_covariance(each["label"].to_numpy() == 1, each["score"].to_numpy(), owner)
        value, variance = value + sign * areas[0], variance + covariance[0, 0]
    z = stats.norm.ppf(0.975) * math.sqrt(variance)
    assert 0.01 < found.p_value < 0.5
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(value) / math.sqrt(variance)), abs=0.01)
    assert (found.difference.low, found.difference.high) == pytest.approx((value - z, value + z), abs=1e-3)


def test_images_of_one_patient_count_by_what_the_patient_is_worth():
    # 40 patients with 3 images each that are all called or all not: a sensitivity from 40, not from 120.
    hits = np.repeat([1] * 30 + [0] * 10, 3)
    first = table(np.append(hits * 0 + 1, 0), np.append(hits * 0.8 + 0.1, 0.1), "a", [*np.repeat(range(40), 3), 99])
    second = called(50, 80, "b")
    found = sensitivity(first, second).difference
    t = stats.t.ppf(0.975, 119) / stats.t.ppf(0.975, 39)
    size, z2 = 40 * t**2, stats.norm.ppf(0.975) ** 2

    def wilson(share, n):
        half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
        return (share + z2 / (2 * n) - half) / (1 + z2 / n), (share + z2 / (2 * n) + half) / (1 + z2 / n)

    (low1, high1), (low2, high2) = wilson(0.75, size), wilson(0.625, 80)
    assert found.low == pytest.approx(0.125 - math.hypot(0.75 - low1, high2 - 0.625))
    assert found.high == pytest.approx(0.125 + math.hypot(high1 - 0.75, 0.625 - low2))


def test_few_patients_are_said():
    found = sensitivity(called(4, 5, "a"), called(50, 80, "b"))
    assert "interval approximate: first worth 5 patients" in found.method
    assert "approximate" not in sensitivity(called(20, 30, "a"), called(50, 80, "b")).method


def test_each_site_may_have_its_own_threshold_and_margins_are_judged():
    first, second = called(56, 70, "a"), called(48, 80, "b")
    low = OperatingPoint("Edema", 0.05, "stated", None, "stated", "", 0, 0, SOME, SOME)
    own = compare_unpaired(
        first, second, names=("x", "y"), points={"x": POINT, "y": low}, statistics=(), margin={"sensitivity": 0.4}
    )
    assert [entry.statistic for entry in own] == ["sensitivity", "specificity"]
    assert own[0].second_value.value == 1.0
    assert own[0].non_inferior is (own[0].difference.low > -0.4)
    assert own[1].non_inferior is None


def test_patients_in_both_are_refused_with_the_way_out():
    first = called(5, 10, "a")
    with pytest.raises(ValueError, match=r"12 of the 12 patients of second .* use compare.*patient_id = 'second-'"):
        compare_unpaired(first, first)


def test_a_threshold_chosen_on_one_of_the_tables_is_refused():
    first = normal_site(np.random.default_rng(0), 20, 40, 1, "a")
    point = choose_threshold(first, rule="youden", chosen_on="validation")
    with pytest.raises(ValueError, match="chosen on these very scores"):
        compare_unpaired(first, called(5, 10, "b"), points=point)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"names": ("a", "a")}, "two different names"),
        ({"statistics": ("AUC",)}, "statistic='AUC'"),
        ({"statistics": ()}, "nothing to compare"),
        ({"confidence": 95}, "confidence=95"),
        ({"margin": {"F1": 0.1}}, "margin for"),
    ],
)
def test_bad_arguments_are_told(how, message):
    with pytest.raises(ValueError, match=message):
        compare_unpaired(called(5, 10, "a"), called(5, 10, "b"), **how)


def test_findings_without_a_partner_are_left_out_and_none_in_common_is_an_error():
    first = called(5, 10, "a")
    with pytest.raises(ValueError, match="no finding in common: first has Edema and second has Mass"):
        compare_unpaired(first, called(5, 10, "b").assign(finding="Mass"))


def test_a_site_without_positives_is_named_as_the_reason():
    nobody = table([0, 0, 0], [0.1, 0.6, 0.2], "b")
    found = compare_unpaired(called(5, 10, "a"), nobody, names=("north", "south"), points=POINT)
    assert [entry.verdict for entry in found] == ["not estimable", "not estimable", "not distinguishable"]
    assert found[0].difference.reason == "south: no positives: all 3 known labels are negative"
    unknown = compare_unpaired(called(5, 10, "a"), table([np.nan], [0.3], "b"))
    assert unknown[0].difference.reason == "second: no image has a known label"


def test_slopes_are_compared_as_two_wald_intervals_and_called_different():
    rng = np.random.default_rng(11)

    def site(name, slope):
        odds = rng.normal(size=900)
        return table(rng.random(900) < special.expit(slope * odds), special.expit(odds), name)

    first, second = site("a", 1.0), site("b", 0.4)
    found = compare_unpaired(first, second, statistics=("calibration slope", "calibration intercept"))
    slope = found[0]
    halves = [(value.high - value.low) / 2 for value in (slope.first_value, slope.second_value)]
    assert slope.difference.high - slope.difference.value == pytest.approx(math.hypot(*halves))
    z = slope.difference.value / (math.hypot(*halves) / stats.norm.ppf(0.975))
    assert slope.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-4)
    assert slope.verdict == "different"
    assert "differs from" in str(slope)


@pytest.mark.parametrize("statistic", ["AUROC", "sensitivity"])
def test_the_interval_covers_as_often_as_it_says(statistic):
    # Few positives and two images a patient at one site; 0.5 of the variance between patients.
    rng = np.random.default_rng(17)
    gaps, runs = (1.6, 1.1), 300 if statistic == "AUROC" else 120
    if statistic == "AUROC":
        truth = special.ndtr(gaps[0] / math.sqrt(2)) - special.ndtr(gaps[1] / math.sqrt(2))
    else:
        truth = special.ndtr(gaps[0] - 0.5) - special.ndtr(gaps[1] - 0.5)
    point = OperatingPoint("Edema", special.expit(0.5), "stated", None, "stated", "", 0, 0, SOME, SOME)
    covered = 0
    for _ in range(runs):
        first, second = normal_site(rng, 15, 30, gaps[0], "a", 2), normal_site(rng, 25, 40, gaps[1], "b")
        if statistic == "AUROC":
            one, other = (
                auc_interval(each["label"], each["score"], clusters=each["patient_id"]) for each in (first, second)
            )
            low, high = added_as_squares(one, other)
        else:
            found = compare_unpaired(first, second, points=point, statistics=())[0].difference
            low, high = found.low, found.high
        covered += low <= truth <= high
    assert 0.92 <= covered / runs <= 0.99


@pytest.mark.parametrize(("value", "sign"), [(0.2, 1), (-0.2, -1)])
def test_limits_that_few_images_do_not_have_near_certainty_do_not_stop_the_test(value, sign):
    """The interval ends at 0 at a confidence of one half, and has no ends beyond 99.9 %."""

    def limits(level):
        if level > 0.999:
            return math.nan, math.nan
        return (value - 0.4 * level, 1.0) if sign > 0 else (-1.0, value + 0.4 * level)

    assert unpaired._p_value(limits, value) == pytest.approx(0.5, abs=1e-6)
    assert unpaired._p_value(lambda level: (math.nan, math.nan), value) == 1.0
