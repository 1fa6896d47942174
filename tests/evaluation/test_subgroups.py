"""Groups: estimates of each, "too few" where there are too few, and tests that hold when groups share patients."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.subgroups import (
    areas_differ,
    proportions_differ,
    subgroup_analyses,
    subgroup_analysis,
    subgroup_table,
    worst_group_sentence,
)
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.evaluation.uncertainty.delong import auc_contributions, contributions_covariance
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval
from chexkeras.evaluation.uncertainty.limits import holm
from chexkeras.results import SubgroupAnalysis
from tests.evaluation import written_out


def cohort(seed=0, patients=150, images=4, *, worse_in_ap=0.0):
    """Images of patients who are imageed in both views; scores in AP are noisier if asked."""
    rng = np.random.default_rng(seed)
    n = patients * images
    owner = np.repeat(np.arange(patients), images)
    labels = (rng.random(n) < 0.4).astype(float)
    ap = rng.random(n) < 0.5
    raw = labels * (1.5 - worse_in_ap * ap) + 0.7 * rng.normal(size=patients)[owner] + rng.normal(size=n)
    names = [f"{number:05d}" for number in range(n)]
    scores = pd.DataFrame(
        {"image_id": names, "patient_id": owner.astype(str), "finding": "Edema", "label": labels,
         "score": 1 / (1 + np.exp(0.7 - raw))}
    )  # fmt: skip
    table = pd.DataFrame(
        {"image_id": names, "view": np.where(ap, "AP", "PA"), "sex": np.array(["F", "M"])[owner % 2],
         "age_years": 5.0 + owner % 90, "Effusion": (rng.random(n) < 0.3).astype(float)}
    )  # fmt: skip
    return scores, table


def masks(group):
    return [group == number for number in np.unique(group)]


POINT = choose_threshold(None, rule="fixed", target=0.5, finding="Edema")


def test_each_group_is_measured_on_its_own_rows_with_its_patients():
    scores, table = cohort()
    analysis = subgroup_analysis(scores, table, column="view", point=POINT)
    assert [group.level for group in analysis.groups] == ["AP", "PA"]
    rows = scores[(table["view"] == "AP").to_numpy()]
    group, positive = analysis.groups[0], rows[rows["label"] == 1]
    assert (group.n_images, group.n_positive) == (len(rows), len(positive))
    assert group.n_patients == rows["patient_id"].nunique()
    assert group.auroc == auc_interval(rows["label"], rows["score"], clusters=rows["patient_id"])
    assert group.sensitivity == clustered_proportion_interval(
        positive["score"] >= 0.5, positive["patient_id"].to_numpy()
    )
    negative = rows[rows["label"] == 0]
    assert group.specificity.value == pytest.approx((negative["score"] < 0.5).mean())


def test_a_score_at_the_threshold_is_positive_in_every_group():
    scores, table = cohort()
    at, above = (
        subgroup_analysis(scores.assign(score=value), table, column="view", point=POINT) for value in (0.5, 0.7)
    )
    for group, other in zip(at.groups, above.groups, strict=True):
        assert group.sensitivity.value == other.sensitivity.value == 1
        assert group.specificity.value == other.specificity.value == 0


def test_a_series_keyed_by_image_id_serves_as_well_as_a_table_in_any_order():
    scores, table = cohort()
    series = table.set_index("image_id")["sex"].sample(frac=1, random_state=1)
    assert subgroup_analysis(scores, series, point=POINT) == subgroup_analysis(scores, table, column="sex", point=POINT)


def test_groups_with_fewer_than_ten_positives_are_too_few_to_estimate():
    scores, table = cohort()
    positive = scores["label"].to_numpy() == 1
    rare = np.zeros(len(scores), dtype=bool)
    rare[np.flatnonzero(positive)[:9]] = rare[np.flatnonzero(~positive)[:12]] = True
    analysis = subgroup_analysis(
        scores, table.assign(view=np.where(rare, "portable", "PA")), column="view", point=POINT
    )
    small = analysis.groups[1]
    assert small.sensitivity.reason == "too few: 9 positives, at least 10 are needed"
    assert small.auroc.reason == small.sensitivity.reason
    assert small.specificity.estimable
    tests = {test.statistic: test for test in analysis.interactions}
    assert tests["sensitivity"].reason == "1 group is large enough, at least 2 are needed"
    assert math.isnan(tests["auroc"].p_value)
    assert tests["specificity"].p_value >= 0
    assert analysis.worst("sensitivity").level == "PA"
    rare[np.flatnonzero(positive)[9]] = True
    ten = subgroup_analysis(scores, table.assign(view=np.where(rare, "portable", "PA")), column="view", point=POINT)
    assert ten.groups[1].sensitivity.estimable


def test_unknown_groups_are_counted_and_belong_to_none():
    scores, table = cohort()
    table.loc[:6, "sex"] = None
    analysis = subgroup_analysis(scores, table, column="sex")
    assert analysis.n_unknown == 7
    assert sum(group.n_images for group in analysis.groups) == len(scores) - 7


def test_without_an_operating_point_only_the_auroc_is_compared():
    analysis = subgroup_analysis(*cohort(), column="sex")
    assert analysis.groups[0].sensitivity.reason == "no operating point was chosen"
    assert [test.reason for test in analysis.interactions[1:]] == ["no operating point was chosen"] * 2
    assert analysis.interactions[0].p_value > 0


def test_groups_that_share_patients_covary_as_the_patient_bootstrap_says():
    scores, table = cohort(4)
    positive, values = scores["label"].to_numpy() == 1, scores["score"].to_numpy()
    owner, ap = scores["patient_id"].astype(int).to_numpy(), (table["view"] == "AP").to_numpy()
    parts = [auc_contributions(positive[rows], values[rows], owner[rows], 150) for rows in (ap, ~ap)]
    covariance = contributions_covariance(parts)
    images = [np.flatnonzero(owner == patient) for patient in range(150)]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(1500):
        taken = np.concatenate([images[patient] for patient in rng.integers(0, 150, 150)])
        areas = []
        for view in (True, False):
            rows = taken[ap[taken] == view]
            ranks = stats.rankdata(values[rows])
            n_positive = positive[rows].sum()
            wins = ranks[positive[rows]].sum() - n_positive * (n_positive + 1) / 2
            areas.append(wins / (n_positive * (len(rows) - n_positive)))
        drawn.append(areas)
    resampled = np.cov(np.array(drawn).T)
    np.testing.assert_allclose(np.diag(covariance), np.diag(resampled), rtol=0.15)
    assert covariance[0, 1] == pytest.approx(resampled[0, 1], abs=0.1 * covariance[0, 0])


def test_patients_in_both_groups_are_taken_into_account_in_the_test_of_areas():
    # Each patient has one image in either view with nearly the same score: the two areas err together.
    rng = np.random.default_rng(3)
    patients, positive = np.repeat(np.arange(120), 2), np.repeat(np.arange(120) % 3 == 0, 2)
    values = np.repeat(rng.normal(size=120), 2) + positive + 0.2 * rng.normal(size=240)
    pa = np.tile([True, False], 120)
    drawn = []
    for _ in range(400):
        taken = rng.integers(0, 120, 120)
        kept = np.concatenate([2 * taken, 2 * taken + 1])
        drawn.append(
            np.subtract(
                *(auc(positive[kept][pa[kept] == view], values[kept][pa[kept] == view]) for view in (True, False))
            )
        )
    difference = auc(positive[pa], values[pa]) - auc(positive[~pa], values[~pa])
    test = areas_differ(positive, values, patients, [pa, ~pa])
    error = abs(difference) / np.sqrt(stats.chi2.isf(test.p_value, 1))
    assert error == pytest.approx(np.std(drawn), rel=0.15)
    apart = areas_differ(positive, values, np.arange(240), [pa, ~pa])
    assert abs(difference) / np.sqrt(stats.chi2.isf(apart.p_value, 1)) > 2 * error


@pytest.mark.parametrize("statistic", ["auroc", "sensitivity"])
def test_the_interaction_p_value_is_uniform_when_views_of_shared_patients_do_not_differ(statistic):
    p_values = []
    for seed in range(300):
        scores, table = cohort(seed, patients=80)
        positive, values = scores["label"].to_numpy() == 1, scores["score"].to_numpy()
        owner, ap = scores["patient_id"].astype(int).to_numpy(), (table["view"] == "AP").to_numpy()
        if statistic == "auroc":
            test = areas_differ(positive, values, owner, [ap, ~ap])
        else:
            test = proportions_differ(statistic, values >= 0.5, owner, [ap & positive, ~ap & positive])
        p_values.append(test.p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_a_real_difference_between_views_is_found():
    analysis = subgroup_analysis(*cohort(1, worse_in_ap=1.2), column="view", point=POINT)
    assert analysis.interactions[0].p_adjusted < 0.01
    assert analysis.worst("auroc").level == "AP"


@pytest.mark.parametrize(
    "counts", [[(30, 20), (42, 8)], [(3, 9), (8, 1), (20, 30)], [(11, 1), (12, 0), (9, 3), (12, 0), (40, 10), (10, 2)]]
)
def test_one_image_for_each_patient_gives_pearsons_chi_square_exactly(counts):
    right = np.concatenate([np.repeat([True, False], pair) for pair in counts])
    group = np.repeat(np.arange(len(counts)), np.sum(counts, axis=1))
    order = np.random.default_rng(0).permutation(len(right))
    right, group = right[order], group[order]
    test = proportions_differ("sensitivity", right, np.arange(len(right)), [group == k for k in range(len(counts))])
    pearson = stats.chi2_contingency(counts, correction=False)
    assert test.p_value == pytest.approx(pearson.pvalue, rel=1e-9)
    assert test.method == f"score chi-square on {len(counts)} groups"


def test_equally_many_images_of_each_patient_give_pearsons_chi_square_over_the_design_effect():
    # Rao & Scott's first-order correction, where no patient is in two groups.
    rng = np.random.default_rng(2)
    owner, chance = np.repeat(np.arange(120), 4), rng.beta(1.6, 0.4, 120)
    right, group = rng.random(480) < chance[owner], owner % 3
    test = proportions_differ("specificity", right, owner, [group == k for k in range(3)])
    pearson = stats.chi2_contingency(np.array([np.bincount(group[right == hit]) for hit in (True, False)]))
    effect = written_out.design_effect(right.astype(float), owner)
    assert effect > 1.5
    assert test.p_value == pytest.approx(stats.chi2.sf(pearson.statistic / effect, 2), rel=1e-9)
    assert "clustered by patient (Rao & Scott 1992)" in test.method


def test_the_score_test_written_out_for_groups_that_share_patients_with_unequal_numbers_of_images():
    scores, table = cohort(7, patients=60)
    kept = (scores["label"] == 1).to_numpy() & (np.random.default_rng(1).random(240) < 0.7)
    right = (scores["score"] >= 0.5).to_numpy()[kept]
    owner = scores["patient_id"].astype(int).to_numpy()[kept]
    ap = (table["view"] == "AP").to_numpy()[kept]
    common = right.mean()
    crowding = len(right) / written_out.kish(owner)
    shared = (written_out.design_effect(right.astype(float), owner) - 1) / (crowding - 1)
    variances, own, residuals = [], [], []
    for rows in (ap, ~ap):
        n = rows.sum()
        # What exceeds 1 in the design effect is shared out by how many images of a group share a patient.
        variances.append(common * (1 - common) / n * (1 + (n / written_out.kish(owner[rows]) - 1) * shared))
        sums = {p: sum(right[rows & (owner == p)] - common) / n for p in set(owner)}
        residuals.append(sums)
        own.append(sum(value**2 for value in sums.values()))
    covariance = sum(residuals[0][p] * residuals[1][p] for p in residuals[0])
    for mine, variance in zip(own, variances, strict=True):
        covariance *= math.sqrt(min(1.0, variance / mine))  # a correlation says no more of a smaller variance
    assert covariance > 0.05 * min(variances)
    difference = right[ap].mean() - right[~ap].mean()
    chi2 = difference**2 / (sum(variances) - 2 * covariance)
    found = proportions_differ("sensitivity", right, owner, [ap, ~ap]).p_value
    assert found == pytest.approx(stats.chi2.sf(chi2, 1), rel=1e-9)


def test_with_thousands_of_patients_the_score_test_comes_to_that_of_generalised_estimating_equations():
    # They take each group's own scatter, which few patients leave too uncertain, and so agree in the limit only.
    import statsmodels.api as sm

    scores, table = cohort(8, patients=2000)
    kept = (scores["label"] == 1).to_numpy()
    right = (scores["score"] >= 0.5).to_numpy()[kept]
    owner = np.unique(scores["patient_id"].astype(int).to_numpy()[kept], return_inverse=True)[1]
    band = table["age_years"].to_numpy()[kept] // 30
    groups = [band == level for level in np.unique(band)]
    design = np.column_stack([np.ones(len(right)), *groups[1:]]).astype(float)
    family = sm.families.Binomial()
    whole = sm.GEE(right.astype(float), design, groups=owner, family=family)
    common = sm.GEE(right.astype(float), design[:, :1], groups=owner, family=family).fit()
    expected = whole.compare_score_test(common)["statistic"]
    found = stats.chi2.isf(proportions_differ("sensitivity", right, owner, groups).p_value, len(groups) - 1)
    assert found == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("images", [1, "several"])
def test_the_test_of_areas_is_welchs_with_variances_drawn_towards_a_common_one(images):
    from statsmodels.stats.oneway import anova_generic

    rng = np.random.default_rng(6)
    sizes = np.ones(150, dtype=int) if images == 1 else written_out.nih_sizes(rng, 150, "pneumothorax") % 8 + 1
    owner = np.repeat(np.arange(150), sizes)
    group = np.digitize(owner, [20, 60, 80]) % 4  # 20, 40, 20 and 70 patients
    positive = owner % 3 == 0
    scores = rng.normal(size=150)[owner] + rng.normal(size=len(owner)) + positive * (1 + 0.2 * group)
    parts = [written_out.auc_variance(positive[rows], scores[rows], owner[rows]) for rows in masks(group)]
    degrees = np.array([written_out.satterthwaite(variances, worths) for _, _, variances, worths, _ in parts])
    usual = np.zeros(4)
    for class_ in (0, 1):
        weights = [worths[class_] - 1 for *_, worths, _ in parts]
        scatter = sum(
            weight * variances[class_] * effective[class_]
            for weight, (_, _, variances, _, effective) in zip(weights, parts, strict=True)
        ) / sum(weights)
        usual += [scatter / effective[class_] for *_, effective in parts]
    # The common variance counts as much as 20 patients of a group's own.
    drawn = (degrees * np.array([part[1] for part in parts]) + 20 * usual) / (degrees + 20)
    nobs = degrees + 20 + 1
    welch = anova_generic(np.array([part[0] for part in parts]), drawn * nobs, nobs, use_var="unequal")
    found = areas_differ(positive, scores, owner, masks(group))
    assert 0.001 < welch.pvalue < 0.9
    assert found.p_value == pytest.approx(welch.pvalue, rel=1e-9)
    assert found.method.startswith(
        "Welch's test on 4 AUROCs, DeLong covariance over patients (Obuchowski 1997), F with"
    )


@pytest.mark.parametrize("several", [False, True])
def test_six_small_groups_that_do_not_differ_are_rarely_said_to(several):
    # Twelve patients with the finding in each; taken at face value, their own variances reject 11-28 % of the time.
    rng = np.random.default_rng(0)
    distance, rejected = stats.norm.ppf(0.85) * math.sqrt(2), {"auroc": 0, "sensitivity": 0}
    runs = 150 if several else 300
    for _ in range(runs):
        sizes = written_out.nih_sizes(rng, 216, "pneumothorax") if several else np.ones(216, dtype=int)
        owner = np.repeat(np.arange(216), sizes)
        positive, group = owner < 72, owner % 6
        noise = math.sqrt(0.5) * (rng.normal(size=216)[owner] + rng.normal(size=len(owner)))
        scores = noise + distance * positive
        rejected["auroc"] += areas_differ(positive, scores, owner, masks(group)).p_value < 0.05
        within = [rows & positive for rows in masks(group)]
        test = proportions_differ("sensitivity", scores >= distance - 1, owner, within)
        rejected["sensitivity"] += test.p_value < 0.05
    assert max(rejected.values()) / runs <= 0.09, rejected


def test_groups_at_one_and_at_zero_are_still_tested():
    owner = np.arange(40)
    first = owner < 20
    perfect = proportions_differ("sensitivity", np.ones(40, dtype=bool), owner, [first, ~first])
    assert perfect.p_value == 1
    assert "exactly equal" in perfect.method
    assert proportions_differ("sensitivity", first, owner, [first, ~first]).p_value < 1e-6


def test_a_difference_whose_error_is_unknown_is_not_tested():
    # Both groups rank perfectly or perfectly wrongly: no variance.
    positive = np.array([True, False] * 10)
    values = np.where(np.arange(20) < 10, positive, ~positive).astype(float)
    rows = np.arange(20) < 10
    test = areas_differ(positive, values, np.arange(20), [rows, ~rows])
    assert math.isnan(test.p_value)
    assert "cannot be estimated" in test.reason


def test_holm_corrects_over_all_columns_asked_for_together():
    scores, table = cohort(2)
    together = subgroup_analyses(scores, table, ("sex", "view", "age_years", "Effusion"), point=POINT)
    tests = [test for analysis in together for test in analysis.interactions]
    np.testing.assert_array_equal([test.p_adjusted for test in tests], holm(test.p_value for test in tests))
    alone = subgroup_analysis(scores, table, column="sex", point=POINT)
    assert [test.p_value for test in alone.interactions] == [test.p_value for test in together[0].interactions]
    assert [group.level for group in together[2].groups] == ["0-17", "18-21", "22-39", "40-59", "60-74", "75+"]
    assert [group.level for group in together[3].groups] == ["without Effusion", "with Effusion"]
    assert SubgroupAnalysis.from_dict(together[2].to_dict()) == together[2]


def test_the_sentence_names_the_worst_group_and_what_the_test_says():
    scores, table = cohort(1, worse_in_ap=1.2)
    analysis = subgroup_analysis(scores, table, column="view", point=POINT)
    group = analysis.groups[0]
    assert worst_group_sentence(analysis, "auroc") == (
        f"By view, AUROC is lowest for AP: {group.auroc}, {group.n_images:,} images; groups differ by more than "
        "chance (p < 0.001 after Holm)."
    )
    few = subgroup_analysis(scores, table.assign(view="AP"), column="view", point=POINT)
    assert worst_group_sentence(few).endswith(
        "no test between groups (1 group is large enough, at least 2 are needed)."
    )
    none = subgroup_analysis(scores, table, column="view", point=POINT, minimum=10_000)
    assert worst_group_sentence(none) == "By view, no group is large enough to estimate sensitivity."
    with pytest.raises(ValueError, match="did you mean 'auroc'"):
        worst_group_sentence(analysis, "auc")


def test_the_table_of_tests_gives_both_p_values():
    analyses = subgroup_analyses(*cohort(1, worse_in_ap=1.2), ("view", "sex"), point=POINT)
    table = subgroup_table(analyses)
    assert list(table["column"]) == ["view"] * 3 + ["sex"] * 3
    assert table["p (Holm)"][0] == "<0.001"
    assert table["lowest in"][0].startswith("AP: ")


def test_bad_input_is_refused():
    scores, table = cohort()
    with pytest.raises(ValueError, match="the scores hold 2 findings"):
        subgroup_analysis(pd.concat([scores, scores.assign(finding="Mass")]), table, column="sex")
    with pytest.raises(ValueError, match="decides 'Mass', but these are scores of 'Edema'"):
        subgroup_analysis(
            scores, table, column="sex", point=choose_threshold(None, rule="fixed", target=0.5, finding="Mass")
        )
    with pytest.raises(ValueError, match="no column 'sexx'; did you mean 'sex'"):
        subgroup_analysis(scores, table, column="sexx")
    with pytest.raises(ValueError, match="say what the images are grouped by"):
        subgroup_analysis(scores, table)
    with pytest.raises(ValueError, match="100 of 600 images scored are not in the image table, first 00000"):
        subgroup_analysis(scores, table.iloc[100:], column="sex")
    with pytest.raises(ValueError, match="no image has a known sex"):
        subgroup_analysis(scores, table.assign(sex=None), column="sex")
    with pytest.raises(ValueError, match="Edema is the finding measured"):
        subgroup_analysis(scores, table.assign(Edema=1.0), column="Edema")
    with pytest.raises(ValueError, match="minimum=1"):
        subgroup_analysis(scores, table, column="sex", minimum=1)
