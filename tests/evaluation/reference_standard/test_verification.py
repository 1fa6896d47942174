"""Verification bias: hepatic scintigraphy as published, Zhou's variance, maximum likelihood, a bootstrap, coverage."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.reference_standard.verification import VerificationCorrected, correct_verification_bias
from chexkeras.evaluation.uncertainty.intervals import auc_interval
from chexkeras.evaluation.uncertainty.limits import clopper_pearson

quick = settings(derandomize=True, deadline=None, max_examples=30)
NAN = math.nan


def images(s1, r1, u1, s0, r0, u0):
    """Verified positive, verified negative and unverified images among called, then among not called ones."""
    labels = [1.0] * s1 + [0.0] * r1 + [NAN] * u1 + [1.0] * s0 + [0.0] * r0 + [NAN] * u0
    return np.array(labels), np.repeat([True, False], [s1 + r1 + u1, s0 + r0 + u0])


SCINTIGRAPHY = (231, 32, 166, 27, 54, 140)


def test_hepatic_scintigraphy_as_published():
    # Drum & Christacopoulos, Journal of Nuclear Medicine 13, 1972; corrected by Begg & Greenes, Biometrics 39, 1983, to
    # .836 and .738 from .895 and .628.
    labels, called = images(*SCINTIGRAPHY)
    found = correct_verification_bias(labels, called)
    assert found.sensitivity.value == pytest.approx(0.836, abs=5e-4)
    assert found.specificity.value == pytest.approx(0.738, abs=5e-4)
    assert found.verified_sensitivity.value == pytest.approx(231 / 258)
    assert found.verified_specificity.value == pytest.approx(54 / 86)
    assert (found.n_images, found.n_verified) == (650, 344)
    assert found.ppv.value == pytest.approx(231 / 263)
    assert found.npv.value == pytest.approx(54 / 81)
    # By hand: 429 x 231/263 + 221 x 27/81 of 650.
    assert found.prevalence.value == pytest.approx((429 * 231 / 263 + 221 / 3) / 650)


def test_limits_rest_on_zhous_variance():
    # Zhou, Statistics in Medicine 12, 1993: variance of the log odds of the corrected rates.
    s1, r1, u1, s0, r0, u0 = SCINTIGRAPHY
    labels, called = images(*SCINTIGRAPHY)
    found = correct_verification_bias(labels, called)
    n1, n0 = s1 + r1 + u1, s0 + r0 + u0
    for estimate, of_log_odds, verified in (
        (found.sensitivity, 1 / n1 + 1 / n0 + r1 / (s1 * (s1 + r1)) + r0 / (s0 * (s0 + r0)), (s1, s0)),
        (found.specificity, 1 / n1 + 1 / n0 + s1 / (r1 * (s1 + r1)) + s0 / (r0 * (s0 + r0)), (r1, r0)),
    ):
        weights = np.repeat([n1 / (s1 + r1), n0 / (s0 + r0)], verified)
        worth = weights.sum() ** 2 / (weights**2).sum()
        fewness = stats.t.ppf(0.975, sum(verified) - 1) / stats.t.ppf(0.975, worth - 1)
        size = 1 / (of_log_odds * estimate.value * (1 - estimate.value)) * fewness**2
        assert (estimate.low, estimate.high) == pytest.approx(clopper_pearson(estimate.value * size, size, 0.95))


@quick
@given(st.tuples(*[st.integers(1, 30)] * 6))
def test_values_are_the_maximum_of_the_likelihood(counts):
    s1, r1, u1, s0, r0, u0 = counts
    found = correct_verification_bias(*images(*counts))

    def minus(parameters):
        prevalence, sensitivity, specificity = special.expit(parameters)
        hit, miss = prevalence * sensitivity, prevalence * (1 - sensitivity)
        alarm, passed = (1 - prevalence) * (1 - specificity), (1 - prevalence) * specificity
        terms = [hit, alarm, hit + alarm, miss, passed, miss + passed]
        return -sum(count * math.log(term) for count, term in zip(counts, terms, strict=True))

    best = optimize.minimize(minus, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    values = found.prevalence.value, found.sensitivity.value, found.specificity.value
    assert values == pytest.approx(tuple(special.expit(best.x)), abs=1e-4)
    (low, high), (least, most) = found.sensitivity_range, found.specificity_range
    extremes = [
        ((s1 + a) / (s1 + a + s0 + b), (r0 + u0 - b) / (r0 + u0 - b + r1 + u1 - a))
        for a in range(u1 + 1) for b in range(u0 + 1)
    ]  # fmt: skip
    assert (low, high) == pytest.approx((min(x for x, _ in extremes), max(x for x, _ in extremes)))
    assert (least, most) == pytest.approx((min(y for _, y in extremes), max(y for _, y in extremes)))


def test_with_every_image_verified_nothing_changes():
    rng = np.random.default_rng(1)
    owner = np.repeat(np.arange(150), 2)
    labels = np.repeat(rng.random(150) < 0.4, 2).astype(float)
    scores = rng.normal(size=150)[owner] + rng.normal(size=300) + labels
    for clusters in (None, owner):
        found = correct_verification_bias(labels, scores > 0.5, scores=scores, clusters=clusters)
        plain = rates(labels, scores > 0.5, clusters=clusters)
        for name in ("sensitivity", "specificity", "ppv", "npv"):
            one, other = getattr(found, name), getattr(plain, name)
            assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-9)
        assert found.cautions == ()
        area = auc_interval(labels, scores, clusters=clusters)
        assert found.auroc.value == pytest.approx(area.value)
        assert (found.auroc.low, found.auroc.high) == pytest.approx((area.low, area.high), abs=0.01)


def drawn(rng, n, images_a_patient=1):
    owner = np.repeat(np.arange(n // images_a_patient), images_a_patient)
    positive = (rng.random(n // images_a_patient) < 0.2)[owner]
    own = rng.normal(size=n)
    shared = rng.normal(size=n // images_a_patient)[owner]
    seen = own if images_a_patient == 1 else math.sqrt(0.5) * (own + shared)
    return positive, seen + 1.5 * positive, owner


def verify(rng, positive, called, strata=None):
    chance = np.where(called, 0.8, 0.25) * (1 if strata is None else np.where(strata, 1.0, 0.5))
    return np.where(rng.random(len(called)) < chance, positive.astype(float), NAN)


def test_the_linearised_errors_are_those_of_a_bootstrap_of_patients():
    rng = np.random.default_rng(2)
    positive, scores, owner = drawn(rng, 1200, 2)
    called, strata = scores > 1, np.repeat(rng.random(600) < 0.5, 2)
    labels = verify(rng, positive, called, strata)
    found = correct_verification_bias(labels, called, scores=scores, strata=strata, clusters=owner)
    redrawn = {"sensitivity": [], "specificity": [], "npv": [], "auroc": []}
    for _ in range(100):
        rows = np.concatenate([2 * (k := rng.integers(0, 600, 600)), 2 * k + 1])
        again = correct_verification_bias(labels[rows], called[rows], scores=scores[rows], strata=strata[rows])
        for name, values in redrawn.items():
            values.append(special.logit(getattr(again, name).value))
    for name, values in redrawn.items():
        estimate = getattr(found, name)
        error = (special.logit(estimate.high) - special.logit(estimate.low)) / 2 / stats.norm.ppf(0.975)
        assert error == pytest.approx(np.std(values), rel=0.3)


def test_strata_that_verification_depended_on_take_its_bias_off():
    # Positives of one stratum are easier to see and oftener verified; without the strata the bias stays.
    rng = np.random.default_rng(3)
    n = 100_000
    strata, positive = rng.random(n) < 0.3, rng.random(n) < 0.2
    called = rng.random(n) < np.where(positive, np.where(strata, 0.9, 0.5), 0.1)
    labels = np.where(rng.random(n) < np.where(called, 0.8, np.where(strata, 0.6, 0.05)), positive, NAN)
    truth = called[positive].mean()
    assert correct_verification_bias(labels, called, strata=strata).sensitivity.value == pytest.approx(truth, abs=0.01)
    assert abs(correct_verification_bias(labels, called).sensitivity.value - truth) > 0.05


def test_the_corrected_area_is_that_of_all_images():
    rng = np.random.default_rng(4)
    positive, scores, _ = drawn(rng, 60_000)
    labels = verify(rng, positive, scores > 1)
    found = correct_verification_bias(labels, scores > 1, scores=scores)
    assert found.auroc.value == pytest.approx(stats.norm.cdf(1.5 / math.sqrt(2)), abs=0.01)
    known = ~np.isnan(labels)
    assert abs(auc_interval(labels[known], scores[known]).value - found.auroc.value) > 0.01


def test_a_call_without_a_verified_image_is_named():
    found = correct_verification_bias(*images(20, 5, 10, 0, 0, 60))
    assert found.sensitivity.reason == "none of the 60 images not called is verified, so nothing is known of them"
    assert found.ppv.value == pytest.approx(0.8)
    assert not found.npv.estimable
    strata = ["AP"] * 35 + ["PA"] * 60
    labels, called = images(20, 5, 10, 10, 10, 40)
    labels[35:55], called[40:45] = NAN, True
    named = correct_verification_bias(labels, called, strata=strata)
    assert "of the stratum PA is verified" in named.sensitivity.reason
    nobody = correct_verification_bias([NAN, NAN], [1, 0])
    assert nobody.verified_sensitivity.reason == "no image is verified"
    assert nobody.sensitivity_range == (0.0, 1.0)


def test_a_rate_without_an_error_has_limits_that_allow_for_the_unverified():
    # 40 hits among verified calls; a missed positive would stand for 300 / 20 = 15 images, a hit for 1.
    found = correct_verification_bias(*images(40, 10, 0, 0, 20, 280))
    assert found.sensitivity.value == 1
    assert found.sensitivity.low == pytest.approx(stats.beta.ppf(0.025, 40 / 15, 1))
    assert correct_verification_bias(*images(40, 10, 0, 0, 300, 0)).sensitivity.low == pytest.approx(
        stats.beta.ppf(0.025, 40, 1)
    )


def test_cautions_and_json():
    found = correct_verification_bias(*images(*SCINTIGRAPHY))
    assert "as if verification had depended on the call alone" in found.cautions[0]
    assert f"from {231 / (231 + 27 + 140):.3f} to {397 / 424:.3f}" in found.cautions[0]
    again = VerificationCorrected.from_dict(json.loads(json.dumps(found.to_dict()).replace("NaN", "null")))
    assert again.cells == found.cells
    assert again.sensitivity == found.sensitivity
    table = found.to_frame().set_index("statistic")
    assert table.loc["sensitivity", "verified images alone"].startswith("0.895")
    few = correct_verification_bias(*images(5, 2, 3, 2, 9, 30))
    assert "interval approximate: worth" in few.sensitivity.method


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(5)
    positive, scores, owner = drawn(rng, 300, 3)
    scores = np.round(scores, 1)
    labels = verify(rng, positive, scores > 1)
    order = rng.permutation(300)
    one = correct_verification_bias(labels, scores > 1, scores=scores, clusters=owner)
    other = correct_verification_bias(labels[order], scores[order] > 1, scores=scores[order], clusters=owner[order])
    for name in ("sensitivity", "specificity", "auroc"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high))


@pytest.mark.parametrize(
    ("given", "how", "message"),
    [
        (([1, 0], [1, NAN]), {}, "called must be True or False for every image"),
        (([1, 2], [1, 0]), {}, "labels must be 1, 0 or NaN"),
        (([1, 0], [1]), {}, "both must be one column"),
        (([1, 0], [1, 0]), {"scores": [0.1, NAN]}, "scores are NaN"),
        (([1, 0], [1, 0]), {"strata": ["a"]}, "strata name 1 images"),
        (([1, 0], [1, 0]), {"strata": pd.DataFrame({"view": ["AP", None]})}, "1 of 2 images have no stratum"),
        (([1, 0], [1, 0]), {"clusters": [1]}, "clusters have shape"),
        (([1, 0], [1, 0]), {"confidence": 1}, "confidence=1"),
    ],
)
def test_bad_arguments_are_told(given, how, message):
    with pytest.raises(ValueError, match=message):
        correct_verification_bias(*given, **how)


def test_corrected_rates_are_unbiased_and_their_limits_cover():
    rng = np.random.default_rng(6)
    truth = {"sensitivity": stats.norm.sf(-0.5), "specificity": stats.norm.cdf(1)}
    truth["auroc"] = stats.norm.cdf(1.5 / math.sqrt(2))
    runs, covered, values = 60, dict.fromkeys(truth, 0), {name: [] for name in truth}
    for _ in range(runs):
        positive, scores, owner = drawn(rng, 800, 2)
        labels = verify(rng, positive, scores > 1)
        found = correct_verification_bias(labels, scores > 1, scores=scores, clusters=owner)
        for name, value in truth.items():
            covered[name] += getattr(found, name).low <= value <= getattr(found, name).high
            values[name].append(getattr(found, name).value)
    assert all(count / runs >= 0.86 for count in covered.values())
    for name, value in truth.items():
        assert np.mean(values[name]) == pytest.approx(value, abs=0.02)


def test_a_cell_without_a_verified_positive_still_widens_limits():
    # In one stratum none of 20 verified images that were not called is positive; 280 of its images are not verified.
    counts = (40, 10, 0, 5, 20, 60), (40, 10, 0, 0, 20, 280)
    labels, called = (np.concatenate(part) for part in zip(*(images(*each) for each in counts), strict=True))
    strata = np.repeat(["a", "b"], [sum(each) for each in counts])
    found = correct_verification_bias(labels, called, strata=strata)
    hits, missed = 80, 85 * 5 / 25
    value, total = hits / (hits + missed), hits + missed
    # Begg and Greenes' variance by hand, and half an unseen positive among 21 for the 280.
    seen = 100 * (0.8 * (1 - value)) ** 2 + 100 * 0.8 * 0.2 * (1 - value) ** 2
    seen += 85 * (0.2 * value) ** 2 + (85 / 25) ** 2 * 25 * 0.2 * 0.8 * value**2
    unseen = (280 * value) ** 2 * (0.5 / 21) * (1 - 0.5 / 21) / 21
    weights = np.repeat([1.0, 85 / 25], [80, 5])
    worth = weights.sum() ** 2 / (weights**2).sum()
    fewness = stats.t.ppf(0.975, 84) / stats.t.ppf(0.975, worth - 1)
    size = value * (1 - value) * total**2 / (seen + unseen) * fewness**2
    assert found.sensitivity.value == pytest.approx(value)
    assert (found.sensitivity.low, found.sensitivity.high) == pytest.approx(clopper_pearson(value * size, size, 0.95))


def test_an_area_whose_uncalled_images_show_no_positive_reaches_down():
    # 60 verified hits, and none of 50 verified images of the 950 not called is positive.
    rng = np.random.default_rng(8)
    labels, called = images(60, 40, 0, 0, 50, 900)
    scores = np.where(called, 1.0, 0.0) + 0.5 * labels * called + rng.random(len(labels))
    scores[np.isnan(scores)] = rng.random(int(np.isnan(scores).sum()))
    verified_all = correct_verification_bias(*images(60, 40, 0, 0, 950, 0), scores=np.where(called, scores, scores - 1))
    found = correct_verification_bias(labels, called, scores=np.where(called, scores, scores - 1))
    assert found.auroc.value > 0.9
    assert found.auroc.low < verified_all.auroc.low - 0.05
