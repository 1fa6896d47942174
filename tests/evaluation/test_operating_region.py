"""Partial areas: published values, brute force, the jackknife, invariances, and intervals that cover."""

import json
import math

import numpy as np
import pytest
from scipy import integrate, special

from chexkeras.evaluation import compare_partial_auc, partial_auc
from chexkeras.evaluation.metrics import auc, roc_curve
from chexkeras.evaluation.operating_region import (
    _contributions,
    _of_patients,
    _region,
    _with_range,
    power_curve_variance,
)
from chexkeras.evaluation.uncertainty.delong import auc_contributions, contributions_covariance
from chexkeras.evaluation.uncertainty.limits import hanley_mcneil_variance
from chexkeras.results import PartialArea, PartialAreaDifference

# WFNS grade (1 to 5) by outcome in 113 patients with aneurysmal subarachnoid haemorrhage: Turck et al., Intensive Care
# Medicine 36, 2010, the data set aSAH of the R package pROC (Robin et al., BMC Bioinformatics 12, 2011).
GOOD, POOR = (37, 20, 3, 8, 4), (2, 12, 1, 8, 18)
WFNS = np.concatenate([np.repeat(np.arange(1, 6), GOOD), np.repeat(np.arange(1, 6), POOR)]).astype(float)
OUTCOME = np.repeat([0.0, 1.0], [sum(GOOD), sum(POOR)])


def images(seed, patients=100, each=4, rounded=False):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), each)
    labels = (rng.random(len(owner)) < 0.4).astype(float)
    scores = 1.4 * labels + 0.7 * rng.normal(size=patients)[owner] + rng.normal(size=len(owner))
    return labels, np.round(2 * scores) / 2 if rounded else scores, owner


def brute_force(labels, scores, *, low, high, over="specificity"):
    """Integrates the ROC curve, straight between its points, over a fine grid."""
    curve = roc_curve(labels, scores)
    grid = np.linspace(low, high, 200_001)
    if over == "specificity":
        # A jump of the curve is passed at its foot, then at its top: a tiny slope keeps interpolation unambiguous.
        x, y = curve.false_positive_rate, curve.sensitivity
        heights = np.interp(1 - grid, x + 1e-12 * np.arange(len(x)), y)
    else:
        x, y = curve.sensitivity, 1 - curve.false_positive_rate
        heights = np.interp(grid, x + 1e-12 * np.arange(len(x)), y)
    return float(integrate.trapezoid(heights, grid))


@pytest.mark.parametrize(
    ("region", "area", "standardised"),
    [
        ({"specificity": (1, 0.9)}, 0.0334417344173442, 0.649693339038653),
        ({"specificity": (0.8, 0.9)}, 0.0598373983739837, 0.763749402199904),
        ({"specificity": (0.5, 0)}, 0.488134475939354, 0.952537903757416),
        ({"sensitivity": (1, 0.9)}, 0.0400999322493225, 0.68473648552275),
        ({"sensitivity": (0.9, 0.8)}, 0.0609953703703703, None),
        ({"sensitivity": (0.5, 0)}, 0.483358739837398, None),
        ({"specificity": (0, 1)}, 0.823678861788618, 0.823678861788618),
    ],
)
def test_values_are_those_that_proc_gives(region, area, standardised):
    # The expected values are those that pROC's own tests hold for auc(outcome ~ wfns) with partial.auc.
    found = partial_auc(OUTCOME, WFNS, **region)
    assert found.area.value == pytest.approx(area, abs=1e-12)
    assert standardised is None or found.standardised.value == pytest.approx(standardised, abs=1e-12)


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.9, 1.0), (0.62, 0.87), (0.0, 0.3)])
def test_areas_are_those_under_the_curve_by_brute_force(low, high, rounded):
    labels, scores, _ = images(1, rounded=rounded)
    for over in ("specificity", "sensitivity"):
        found = partial_auc(labels, scores, **{over: (low, high)})
        assert found.area.value == pytest.approx(brute_force(labels, scores, low=low, high=high, over=over), abs=2e-6)
        assert (found.over, found.low, found.high) == (over, low, high)


def test_by_hand_on_ten_images():
    labels = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    scores = [10, 8, 6, 3, 9, 7, 5, 4, 2, 1]
    # Called from the top: + - + - + - - + - -. Up to one false alarm in six the sensitivity is 1/4 (one positive above
    # the first negative), up to two it is 2/4.
    assert partial_auc(labels, scores, specificity=(5 / 6, 1)).area.value == pytest.approx(1 / 6 * 1 / 4)
    assert partial_auc(labels, scores, specificity=(4 / 6, 1)).area.value == pytest.approx(1 / 6 * (1 / 4 + 2 / 4))
    # To call all four positives four of six negatives are called.
    assert partial_auc(labels, scores, sensitivity=(3 / 4, 1)).area.value == pytest.approx(1 / 4 * 2 / 6)


@pytest.mark.parametrize(("low", "high"), [(0.8, 1.0), (0.6, 0.9), (0.0, 1.0)])
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("rounded", [False, True])
def test_the_variance_is_that_of_leaving_out_one_patient_at_a_time(low, high, clustered, rounded):
    labels, scores, owner = images(2, rounded=rounded)
    owner = owner if clustered else np.arange(len(owner))
    region, positive = _region((low, high), None), labels == 1
    area, contribution = _contributions(region, positive, scores)
    part = _of_patients(region, area, contribution, positive, owner)
    n = int(owner.max()) + 1
    left = [_contributions(region, positive[owner != each], scores[owner != each])[0] for each in range(n)]
    jackknife = (n - 1) / n * ((left - np.mean(left)) ** 2).sum()
    assert math.sqrt(contributions_covariance([part])[0, 0]) == pytest.approx(math.sqrt(jackknife), rel=0.02)
    assert part.variance >= contributions_covariance([part])[0, 0] * (1 - 1e-9)


def test_over_the_whole_range_area_and_contributions_are_delongs():
    labels, scores, owner = images(3)
    positive = labels == 1
    area, contribution = _contributions(_region((0, 1), None), positive, scores)
    part, whole = (
        _of_patients(_region((0, 1), None), area, contribution, positive, owner),
        auc_contributions(positive, scores, owner, int(owner.max()) + 1),
    )
    assert area == pytest.approx(auc(labels, scores))
    np.testing.assert_allclose(part.of_positives, whole.of_positives, atol=1e-12)
    np.testing.assert_allclose(part.of_negatives, whole.of_negatives, atol=1e-12)
    assert (part.variance, part.worth) == pytest.approx((whole.variance, whole.worth))
    assert part.sizes == pytest.approx(whole.sizes)


def test_the_power_curves_variance_is_hanley_and_mcneils_over_the_whole_range():
    # In large samples, where pairs of one image with itself no longer count.
    for area in (0.6, 0.85, 0.97):
        expected = hanley_mcneil_variance(area, 4e5, 9e5, averaged=False)
        assert power_curve_variance(area, (0.0, 1.0), (4e5, 9e5)) == pytest.approx(expected, rel=1e-3)


def test_the_power_curves_variance_is_that_of_data_with_such_a_curve():
    rng, k, values = np.random.default_rng(4), 0.2, []
    for _ in range(400):
        # Placements of positives have the distribution function rate ** k, those of negatives are uniform.
        scores = np.concatenate([-(rng.random(80) ** (1 / k)), -rng.random(80)])
        values.append(partial_auc(np.repeat([1.0, 0.0], 80), scores, specificity=(0.7, 1)).area.value / 0.3)
    expected = power_curve_variance(0.3**k / (1 + k), (0.0, 0.3), (80, 80))
    assert np.std(values) == pytest.approx(math.sqrt(expected), rel=0.12)


def test_a_range_of_sensitivity_is_one_of_specificity_with_classes_exchanged():
    labels, scores, owner = images(5)
    one = partial_auc(labels, scores, sensitivity=(0.7, 0.95), clusters=owner)
    other = partial_auc(1 - labels, -scores, specificity=(0.7, 0.95), clusters=owner)
    assert (one.area.value, one.area.low, one.area.high) == pytest.approx(
        (other.area.value, other.area.low, other.area.high)
    )
    assert one.standardised.value == pytest.approx(other.standardised.value)


def test_nothing_depends_on_the_scale_of_scores_the_order_of_rows_or_the_names_of_patients():
    labels, scores, owner = images(6)
    mixed = np.random.default_rng(0).permutation(len(labels))
    for region in ({"specificity": (0.9, 1)}, {"sensitivity": (0.98, 1)}):
        one = partial_auc(labels, scores, clusters=owner, **region).area
        other = partial_auc(
            labels[mixed], np.exp(scores[mixed]), clusters=[f"p{each}" for each in owner[mixed]], **region
        ).area
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_chance_is_half_and_perfection_one_on_the_standardised_scale():
    scores = np.repeat(np.arange(50.0), 2)
    chance = partial_auc([0, 1] * 50, scores, specificity=(0.8, 1))
    assert chance.standardised.value == pytest.approx(0.5)
    perfect = partial_auc([0] * 200 + [1] * 30, np.arange(230.0), specificity=(0.9, 1))
    assert (perfect.area.value, perfect.standardised.value) == pytest.approx((0.1, 1.0))
    assert perfect.area.high == pytest.approx(0.1)
    assert 0.05 < perfect.area.low < 0.098
    assert "power ROC curve" in perfect.area.method


def test_images_of_one_patient_that_agree_make_the_interval_wider():
    labels, scores, _ = images(7, patients=60, each=1)
    thrice, owner = np.repeat(scores, 3), np.repeat(np.arange(60), 3)
    once = partial_auc(labels, scores, specificity=(0.5, 1)).area
    again = partial_auc(np.repeat(labels, 3), thrice, specificity=(0.5, 1), clusters=owner).area
    assert (again.value, again.low, again.high) == pytest.approx((once.value, once.low, once.high), abs=0.003)
    ignored = partial_auc(np.repeat(labels, 3), thrice, specificity=(0.5, 1)).area
    assert ignored.high - ignored.low < 0.7 * (once.high - once.low)
    assert "clustered by patient" in again.method
    assert "180 images of 60 patients" in again.method


def test_few_images_that_set_the_range_are_told_of():
    labels, scores, _ = images(8, patients=200, each=1)
    few = partial_auc(labels, scores, sensitivity=(0.9, 1)).area
    assert few.method.endswith(f"interval approximate: only {labels.sum() * 0.1:.1f} positives set the range")
    assert "order statistics" in few.method
    enough = partial_auc(labels, scores, specificity=(0.8, 1)).area
    assert "approximate" not in enough.method
    assert "logit interval" in enough.method


def test_limits_of_a_range_that_few_images_set_are_those_of_paths_drawn_one_by_one():
    rng, n = np.random.default_rng(9), 150
    labels, scores = np.repeat([1.0, 0.0], [60, n]), np.concatenate([1.5 + rng.normal(size=60), rng.normal(size=n)])
    region, grid = _region((0.95, 1), None), (np.arange(400) + 0.5) / 400 * 0.05
    area, contribution = _contributions(region, labels == 1, scores)
    part = _of_patients(region, area, contribution, labels == 1, None)
    # Limits at the area itself leave the range's part alone.
    share = area / 0.05
    classes = scores[:60], scores[60:]
    low, high = _with_range(region, part, (share, share), classes, float(n), 0.9)
    sensitivity = [(classes[0] > edge).mean() for edge in np.sort(classes[1])[::-1]]
    areas = []
    for _ in range(3000):
        above = np.searchsorted(np.sort(rng.random(n)), grid)
        # So many negatives lie above the true threshold, which is taken to lie between the last of them and the next;
        # where none does, nothing is known of the sensitivity.
        between = [(sensitivity[each - 1] + sensitivity[each]) / 2 for each in range(1, 40)]
        areas.append(np.take([0.0, *between], above).mean())
    expected = np.quantile(areas, [0.05, 0.95]) - np.mean(areas)
    np.testing.assert_allclose(np.array([low, high]) - share, expected, atol=0.012)


def test_degrees_of_freedom_are_those_of_the_images_within_the_range():
    labels, scores, _ = images(8, patients=300, each=1)
    noisy = scores + np.random.default_rng(1).normal(size=len(scores))
    found = compare_partial_auc(labels, scores, noisy, sensitivity=(0.9, 1)).difference
    degrees = int(found.method.split("Student's t with ")[1].split(" ")[0])
    # Twelve of 121 positives lie within; the 179 negatives add some degrees of their own.
    assert 11 <= degrees <= 30
    assert "positives set the range" not in found.method


@pytest.mark.parametrize(
    ("m", "n", "region"), [(31, 150, {"specificity": (0.9, 1)}), (40, 100, {"sensitivity": (0.9, 1)})]
)
def test_intervals_cover(m, n, region):
    rng = np.random.default_rng(11)
    shift = 1.8
    if "specificity" in region:
        true = integrate.quad(lambda rate: special.ndtr(shift + special.ndtri(rate)), 0, 0.1)[0]
    else:
        true = integrate.quad(lambda rate: special.ndtr(shift - special.ndtri(rate)), 0.9, 1)[0]
    labels, hits, wald = np.repeat([1.0, 0.0], [m, n]), 0, 0
    for _ in range(120):
        scores = np.concatenate([shift + rng.normal(size=m), rng.normal(size=n)])
        found = partial_auc(labels, scores, **region).area
        hits += found.low <= true <= found.high
        bounds = _region(region.get("specificity"), region.get("sensitivity"))
        area, contribution = _contributions(bounds, labels == 1, scores)
        half = 1.96 * math.sqrt(_of_patients(bounds, area, contribution, labels == 1, None).variance)
        wald += area - half <= true <= area + half
    assert hits >= 0.92 * 120
    # What the interval is for: where few positives set the range a plain one covers far too rarely.
    assert "specificity" in region or wald < 0.9 * 120


def test_a_difference_is_that_of_the_areas_and_the_test_agrees_with_its_interval():
    labels, scores, owner = images(12)
    noisy = scores + np.random.default_rng(1).normal(size=len(scores))
    for region in ({"specificity": (0.7, 1)}, {"sensitivity": (0.5, 0.9)}):
        found = compare_partial_auc(labels, scores, noisy, clusters=owner, **region)
        assert found.first == partial_auc(labels, scores, clusters=owner, **region)
        assert found.difference.value == pytest.approx(found.first.area.value - found.second.area.value)
        assert found.standardised.value == pytest.approx(
            found.first.standardised.value - found.second.standardised.value
        )
        assert (found.p_value < 0.05) == (found.difference.low > 0 or found.difference.high < 0)
        back = compare_partial_auc(labels, noisy, scores, clusters=owner, **region)
        assert (back.difference.low, back.p_value) == pytest.approx((-found.difference.high, found.p_value))


def test_the_variance_of_a_difference_is_that_of_leaving_out_one_patient_at_a_time():
    labels, scores, owner = images(13)
    noisy = scores + np.random.default_rng(1).normal(size=len(scores))
    region, positive = _region((0.7, 1), None), labels == 1
    parts = [_contributions(region, positive, each) for each in (scores, noisy)]
    part = _of_patients(region, parts[0][0] - parts[1][0], parts[0][1] - parts[1][1], positive, owner)
    left = [
        _contributions(region, positive[kept], scores[kept])[0] - _contributions(region, positive[kept], noisy[kept])[0]
        for kept in (owner != each for each in range(100))
    ]
    jackknife = 99 / 100 * ((left - np.mean(left)) ** 2).sum()
    assert math.sqrt(contributions_covariance([part])[0, 0]) == pytest.approx(math.sqrt(jackknife), rel=0.03)


def test_models_that_order_images_alike_do_not_differ_and_two_perfect_ones_differ_by_nothing_known():
    labels, scores, _ = images(14)
    same = compare_partial_auc(labels, scores, np.exp(scores), specificity=(0.9, 1))
    assert (same.difference.low, same.difference.value, same.difference.high, same.p_value) == (0, 0, 0, 1)
    known = [0] * 30 + [1] * 20
    perfect = compare_partial_auc(known, np.arange(50), [*range(29, -1, -1), *range(30, 50)], specificity=(0.8, 1))
    assert perfect.difference.low < 0 == perfect.difference.value < perfect.difference.high
    assert perfect.p_value == 1


def test_differences_cover():
    rng, hits = np.random.default_rng(15), 0
    labels = np.repeat([1.0, 0.0], [60, 150])
    for _ in range(150):
        scores, other = rng.normal(size=(2, 210))
        first = scores + 1.8 * labels
        second = 0.6 * scores + 0.8 * other + 1.8 * labels
        found = compare_partial_auc(labels, first, second, specificity=(0.8, 1))
        hits += found.difference.low <= 0 <= found.difference.high
    assert 0.9 * 150 <= hits < 150


def test_results_are_json_both_ways():
    labels, scores, owner = images(16)
    for kind, made in (
        (PartialArea, partial_auc(labels, scores, specificity=(0.9, 1), clusters=owner)),
        (PartialAreaDifference, compare_partial_auc(labels, scores, -scores, specificity=(0.9, 1), clusters=owner)),
    ):
        assert kind.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_what_cannot_be_estimated_says_why():
    none = partial_auc([1, 1, 1], [0.1, 0.2, 0.3], specificity=(0.9, 1))
    assert none.area.reason == none.standardised.reason == "no negatives: all 3 known labels are positive"
    assert compare_partial_auc([1, 1], [1, 2], [2, 1], specificity=(0, 1)).difference.reason.startswith("no negatives")
    one = partial_auc([1, 1, 0, 0, 0], range(5), specificity=(0.9, 1), clusters=["a", "a", "b", "c", "d"])
    assert one.area.reason == "only one positive patient, at least two are needed"
    assert partial_auc([1, 0, 0], range(3), specificity=(0.9, 1)).area.reason.startswith("only one positive image")


def test_wrong_ranges_are_refused_with_what_to_give():
    for given in ({}, {"specificity": (0.9, 1), "sensitivity": (0.9, 1)}):
        with pytest.raises(ValueError, match="either specificity"):
            partial_auc([0, 1], [0, 1], **given)
    for ends, message in (((0.9, 0.9), "empty range"), ((90, 100), "fraction"), ((0.9,), "two fractions")):
        with pytest.raises(ValueError, match=message):
            partial_auc([0, 1], [0, 1], specificity=ends)
    with pytest.raises(TypeError, match=r"specificity=0\.9 must be a list"):
        partial_auc([0, 1], [0, 1], specificity=0.9)
