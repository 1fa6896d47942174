"""Pooling over sites: the BCG trials as published, statsmodels, a slow likelihood, simulated coverage."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats
from statsmodels.stats.meta_analysis import combine_effects

from chexkeras.evaluation.comparison.pooling import PooledSites, pool_scores, pool_sites
from chexkeras.evaluation.comparison.random_effects import (
    between_sites,
    prediction_limits,
    q_statistic,
    random_effects,
)
from chexkeras.evaluation.uncertainty.intervals import auc_interval, proportion_interval
from chexkeras.results import Estimate, OperatingPoint

quick = settings(derandomize=True, deadline=None, max_examples=40)
SOME = Estimate(0.9, 0.8, 0.95)
POINT = OperatingPoint("Edema", 0.5, "stated", None, "stated", "", 0, 0, SOME, SOME)
Z = stats.norm.ppf(0.975)

# Colditz et al., JAMA 271, 1994: tuberculosis yes and no with vaccine, yes and no without, 13 trials.
BCG = np.array([
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600),
    (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
], dtype=float)  # fmt: skip


def risk_ratios():
    a, b, c, d = BCG.T
    return np.log(a / (a + b) / (c / (c + d))), np.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))


def odds_ratios():
    a, b, c, d = BCG.T
    return np.log(a * d / (b * c)), np.sqrt((1 / BCG).sum(axis=1))


def as_estimates(values, errors):
    return {
        f"site {k}": Estimate(v, v - Z * e, v + Z * e, 0.95, 100)
        for k, (v, e) in enumerate(zip(values, errors, strict=True))
    }


def test_bcg_trials_as_published():
    # As metafor (Viechtbauer, Journal of Statistical Software 36(3), 2010) gives them for log risk ratios.
    values, errors = risk_ratios()
    found = pool_sites(as_estimates(values, errors), statistic="log risk ratio", scale="identity")
    assert found.tau_squared.value == pytest.approx(0.3132, abs=5e-5)
    assert found.mean.value == pytest.approx(-0.7145, abs=5e-5)
    assert found.i_squared.value == pytest.approx(0.9222, abs=5e-5)
    assert (found.q, found.q_degrees) == (pytest.approx(152.2330, abs=5e-5), 12)
    assert found.q_p_value < 1e-10
    laird = pool_sites(as_estimates(values, errors), scale="identity", estimator="DerSimonian-Laird")
    assert laird.mean.value == pytest.approx(-0.7141, abs=5e-5)


def test_bcg_odds_ratios_and_their_profile_interval_as_published():
    # van Houwelingen, Arends & Stijnen 2002 as reanalysed with metafor: tau squared 0.1302 to 1.1812.
    found = pool_sites(as_estimates(*odds_ratios()), scale="identity")
    # The root that was published is good to 1e-4.
    limits = found.tau_squared.low, found.tau_squared.high
    assert limits == (pytest.approx(0.1302, abs=1e-4), pytest.approx(1.1812, abs=1e-4))


@pytest.mark.parametrize(("estimator", "name"), [("Paule-Mandel", "iterated"), ("DerSimonian-Laird", "dl")])
@pytest.mark.parametrize("effects", [risk_ratios, odds_ratios])
def test_mean_tau_and_hartung_knapp_error_agree_with_statsmodels(estimator, name, effects):
    values, errors = effects()
    slow = combine_effects(values, errors**2, method_re=name)
    found = pool_sites(as_estimates(values, errors), scale="identity", estimator=estimator)
    assert found.tau_squared.value == pytest.approx(slow.tau2, abs=1e-8)
    assert found.mean.value == pytest.approx(slow.mean_effect_re, abs=1e-8)
    # statsmodels has the plain form; the modified one does not go below the error without the factor.
    half = stats.t.ppf(0.975, 12) * max(slow.sd_eff_w_re_hksj, slow.sd_eff_w_re)
    assert (found.mean.low, found.mean.high) == pytest.approx((found.mean.value - half, found.mean.value + half))
    assert found.q == pytest.approx(slow.q)


def slow_reml(values, variances):
    """Restricted likelihood by its definition: the density of contrasts that know nothing of the mean."""
    k = len(values)
    contrasts = np.linalg.qr(np.column_stack([np.ones(k), np.eye(k)[:, 1:]]))[0][:, 1:].T

    def minus(tau2):
        return -stats.multivariate_normal.logpdf(
            contrasts @ values, cov=contrasts @ np.diag(variances + tau2) @ contrasts.T
        )

    starts = [optimize.minimize_scalar(minus, bounds=(0, top), method="bounded") for top in (0.01, 0.1, 1, 10)]
    best = min(starts, key=lambda each: each.fun)
    return 0.0 if minus(0.0) <= best.fun else best.x


@quick
@given(st.integers(3, 9), st.integers(0, 10**6))
def test_reml_is_the_maximum_of_the_likelihood_of_contrasts(k, seed):
    rng = np.random.default_rng(seed)
    variances = rng.uniform(0.005, 0.3, k)
    values = rng.normal(size=k) * np.sqrt(variances + rng.choice([0, 0.02, 0.5]))
    assert between_sites(values, variances, "REML") == pytest.approx(slow_reml(values, variances), abs=2e-4)


@quick
@given(st.integers(2, 12), st.integers(0, 10**6), st.sampled_from(["REML", "Paule-Mandel", "DerSimonian-Laird"]))
def test_the_interval_is_never_narrower_than_that_of_the_fixed_effect_mean(k, seed, estimator):
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.05, 0.5, k)
    fit = random_effects(rng.normal(size=k) * errors * rng.choice([0.1, 1, 3]), errors, estimator, 0.95)
    assert fit.error >= 1 / math.sqrt((1 / errors**2).sum()) - 1e-12
    assert fit.weights.sum() == pytest.approx(1)
    assert 0 <= fit.tau_limits[0] <= fit.tau_limits[1]
    # The limits are where the Q statistic has the quantiles of its distribution.
    values = rng.normal(size=k)
    fit = random_effects(values, errors, estimator, 0.9)
    for limit, level in zip(fit.tau_limits, (0.95, 0.05), strict=True):
        if limit > 0:
            assert q_statistic(values, errors**2, limit) == pytest.approx(stats.chi2.ppf(level, k - 1), rel=1e-6)


def test_prediction_is_that_of_higgins_on_the_logit_scale():
    given = {
        "A": Estimate(0.86, 0.82, 0.89), "B": Estimate(0.80, 0.75, 0.84),
        "C": Estimate(0.83, 0.77, 0.88), "D": Estimate(0.90, 0.87, 0.92),
    }  # fmt: skip
    found = pool_sites(given)
    middle = special.logit(found.mean.value)
    error = (special.logit(found.mean.high) - middle) / stats.t.ppf(0.975, 3)
    half = stats.t.ppf(0.975, 2) * math.sqrt(error**2 + found.tau_squared.value)
    limits = special.expit([middle - half, middle + half])
    assert (found.prediction_higgins.low, found.prediction_higgins.high) == pytest.approx(tuple(limits))
    assert "t with 2 degrees" in found.prediction_higgins.method


def test_prediction_agrees_with_draws_of_tau_and_of_the_next_site():
    rng = np.random.default_rng(8)
    values, errors = rng.normal(size=5), np.linspace(0.2, 0.6, 5)
    drawn = []
    for q in rng.chisquare(4, 2000):
        # By its definition: the tau squared at which the statistic has the drawn value, then a new true value.
        if q_statistic(values, errors**2, 0.0) <= q:
            tau2 = 0.0
        else:
            tau2 = optimize.brentq(lambda tau2, q=q: q_statistic(values, errors**2, tau2) - q, 0, 1e6)
        weights = 1 / (errors**2 + tau2)
        mean = weights @ values / weights.sum() + rng.normal(size=20) / math.sqrt(weights.sum())
        drawn.extend(mean + math.sqrt(tau2) * rng.normal(size=20))
    limits = prediction_limits(values, errors, 0.9)
    assert limits == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])), abs=0.1)
    wider = prediction_limits(values, errors, 0.99)
    assert wider[0] < limits[0] < limits[1] < wider[1]
    agreeing = prediction_limits([1.0, 1.0, 1.0], [0.1, 0.1, 0.1], 0.95)
    assert agreeing == pytest.approx((1 - Z * 0.1 / math.sqrt(3), 1 + Z * 0.1 / math.sqrt(3)), abs=1e-6)


def test_a_site_without_error_gets_half_an_image_on_either_side():
    found = pool_sites({"A": proportion_interval(25, 25), "B": proportion_interval(40, 50)}, statistic="sensitivity")
    assert found.sites[0].scaled == pytest.approx(math.log(25.5 / 0.5))
    assert found.sites[0].error == pytest.approx(math.sqrt(1 / 25.5 + 1 / 0.5))
    assert any("A: its value is 1" in caution for caution in found.cautions)
    none = pool_sites({"A": proportion_interval(0, 25), "B": proportion_interval(40, 50)})
    assert none.sites[0].scaled == pytest.approx(-math.log(25.5 / 0.5))


def test_one_site_two_sites_and_few_sites():
    one = pool_sites({"A": SOME, "B": Estimate.not_estimable("no positives")})
    assert one.mean.reason == "one site says nothing of how sites differ"
    assert "B is left out: no positives." in one.cautions
    two = pool_sites({"A": SOME, "B": Estimate(0.8, 0.7, 0.9)})
    assert two.mean.method.endswith("2 sites: interval approximate")
    assert "at least three" in two.prediction.reason
    three = pool_sites({"A": SOME, "B": Estimate(0.8, 0.7, 0.9), "C": Estimate(0.85, 0.8, 0.9)})
    assert three.prediction.estimable
    assert "3 sites: interval approximate" in three.mean.method
    five = pool_sites({name: SOME for name in "ABCDE"})
    assert "approximate" not in five.mean.method
    assert five.tau_squared.value == 0
    # Sites that are exactly alike are not known to be alike: no interval of width 0.
    assert "less than chance alone" in five.i_squared.reason


def test_the_record_survives_json_and_reads_as_a_table():
    found = pool_sites({"A": SOME, "B": Estimate.not_estimable("no positives"), "C": Estimate(0.8, 0.7, 0.88)})
    again = PooledSites.from_dict(json.loads(json.dumps(found.to_dict()).replace("NaN", "null")))
    assert str(again) == str(found)
    assert again.sites[0] == found.sites[0]
    assert list(found.to_frame()["site"]) == ["A", "B", "C", "mean of sites", "a new site"]


@pytest.mark.parametrize(
    ("given", "how", "error", "message"),
    [
        ({}, {}, ValueError, "at least one site"),
        ({"A": 0.9}, {}, TypeError, "but holds 0.9, a float"),
        ({"A": Estimate(1.2, 1.1, 1.3)}, {}, ValueError, "logit scale"),
        ({"A": Estimate(0.9, 0.9, 0.9)}, {}, ValueError, "some length"),
        ({"A": SOME}, {"scale": "probit"}, ValueError, "scale='probit'"),
        ({"A": SOME}, {"estimator": "ML"}, ValueError, "estimator='ML'"),
        ({"A": Estimate(0.0, 0.0, 0.1)}, {"scale": "log"}, ValueError, "none on the log scale"),
    ],
)
def test_bad_arguments_are_told(given, how, error, message):
    with pytest.raises(error, match=message):
        pool_sites(given, **how)


def site(rng, name, n_positive, n_negative, gap, images=1):
    patients = np.repeat(np.arange(n_positive + n_negative), images)
    labels = np.repeat([1.0] * n_positive + [0.0] * n_negative, images)
    seen = rng.normal(size=n_positive + n_negative)[patients] + 0.5 * rng.normal(size=len(labels)) * (images > 1)
    return pd.DataFrame(
        {
            "image_id": [f"{name}-{k}" for k in range(len(labels))],
            "patient_id": [f"{name}-{k}" for k in patients],
            "finding": "Edema",
            "label": labels,
            "score": special.expit(seen + gap * labels - 0.5),
        }
    )


def test_scores_are_pooled_by_delong_and_binomial_variances():
    rng = np.random.default_rng(2)
    tables = {name: site(rng, name, 80, 300, 1 + k / 4) for k, name in enumerate("ABC")}
    area, sensitivity, specificity = pool_scores(tables, points=POINT)
    assert (area.statistic, sensitivity.statistic, specificity.statistic) == ("AUROC", "sensitivity", "specificity")
    for k, table in enumerate(tables.values()):
        # With 50 patients or more in a class, auc_interval is DeLong's on the logit scale.
        alone = auc_interval(table["label"], table["score"], clusters=table["patient_id"])
        error = (special.logit(alone.high) - special.logit(alone.low)) / 2 / Z
        assert (area.sites[k].scaled, area.sites[k].error) == pytest.approx((special.logit(alone.value), error))
        hits = (table["score"] >= 0.5)[table["label"] == 1].to_numpy()
        share = hits.mean()
        error = math.sqrt(1 / (share * 80) + 1 / ((1 - share) * 80))
        assert (sensitivity.sites[k].scaled, sensitivity.sites[k].error) == pytest.approx((special.logit(share), error))


def test_showing_every_image_twice_changes_no_weight():
    rng = np.random.default_rng(4)
    tables = {name: site(rng, name, 60, 90, 1.2) for name in "AB"}
    twice = {
        name: pd.concat([table, table.assign(image_id=table["image_id"] + "-again")]) for name, table in tables.items()
    }
    for once, again in zip(pool_scores(tables, points=POINT), pool_scores(twice, points=POINT), strict=True):
        assert (again.mean.low, again.mean.high) == pytest.approx((once.mean.low, once.mean.high), rel=1e-9)


def test_sites_that_share_a_patient_and_thresholds_chosen_there_are_refused():
    rng = np.random.default_rng(4)
    table = site(rng, "A", 10, 10, 1)
    with pytest.raises(ValueError, match="also in another table"):
        pool_scores({"A": table, "B": table})
    with pytest.raises(ValueError, match="nothing to pool"):
        pool_scores({"A": table}, statistics=())
    lone = pool_scores({"A": table, "B": site(rng, "B", 0, 20, 1)}, points=POINT)
    assert [each.n_sites for each in lone] == [1, 1, 2]
    assert any("B is left out: no positives" in caution for caution in lone[0].cautions)


def test_mean_and_prediction_cover_as_often_as_they_say():
    # 8 sites whose log odds differ with tau 0.3; errors of 0.15 to 0.5.
    rng = np.random.default_rng(6)
    runs, covered, predicted = 400, 0, 0
    errors = np.linspace(0.15, 0.5, 8)
    for _ in range(runs):
        values = 1.5 + 0.3 * rng.normal(size=8) + errors * rng.normal(size=8)
        fit = random_effects(values, errors, "Paule-Mandel", 0.95)
        covered += abs(fit.mean - 1.5) <= stats.t.ppf(0.975, 7) * fit.error
        low, high = prediction_limits(values, errors, 0.95)
        predicted += low <= 1.5 + 0.3 * rng.normal() <= high
    assert 0.92 <= covered / runs <= 0.985
    assert 0.92 <= predicted / runs <= 0.985
