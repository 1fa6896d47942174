"""The analysis of reader studies: published results, mixed sums written out, and what must not change a result."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.readers.figures_of_merit import Figures, figures_of_merit
from chexkeras.evaluation.readers.localization import afroc_figures
from chexkeras.evaluation.readers.localization_study import LocalizationStudy
from chexkeras.evaluation.readers.mrmc import mrmc, mrmc_all, mrmc_localization
from chexkeras.evaluation.readers.obuchowski_rockette import OrhModel
from chexkeras.evaluation.readers.reader_study import ReaderStudy, read_reader_study
from chexkeras.evaluation.readers.roe_metz import RatingModel, simulate_reader_study
from chexkeras.evaluation.uncertainty.delong import auc_covariance
from chexkeras.evaluation.uncertainty.intervals import auc_interval
from chexkeras.results import MrmcResult

SUMMARY = json.loads((Path(__file__).parent / "vandyke_summary.json").read_text(encoding="utf-8"))
"""Figures of five readers in two modalities, and their covariances."""

# Printed by the R package MRMCaov 0.3.0 (Smith & Hillis, SPIE 11316, 2020) for the study of Van Dyke et al. (1993), in
# its article: covariance, readers, images, then difference 1 - 2: value, error, degrees, low, high, p.
PUBLISHED = {
    ("auroc_delong", "random", "random"):
        (-0.04380032, 0.0206825, 15.06611, -0.0878671960, 0.0002665519, 0.05123303),
    ("auroc_unbiased", "random", "random"):
        (-0.04380032, 0.02067154, 15.03418, -0.0878519409, 0.0002512968, 0.0511618),
    ("auroc_jackknife", "fixed", "random"):
        (-0.04380032, 0.01871748, math.nan, -0.08048591, -0.00711473, 0.01927984),
    ("auroc_delong", "random", "fixed"):
        (-0.04380032, 0.01484629, 4, -0.08502022, -0.00258042, 0.04195875),
    ("sensitivity_at_3", "random", "random"):
        (-0.09777778, 0.03780451, 15.71732, -0.1780371, -0.0175185, 0.02008822),
}  # fmt: skip
# The same: each modality alone: value, mean square of readers, Cov2, error, degrees, low, high.
PUBLISHED_MEANS = {
    ("auroc_delong", "random", "random"): (
        (0.8970370, 0.003082629, 0.0004775239, 0.03307642, 12.59597, 0.8253461, 0.9687280),
        (0.9408374, 0.001304602, 0.0002015292, 0.02150464, 12.56530, 0.8942155, 0.9874592),
    ),
    ("auroc_unbiased", "random", "random"): (
        (0.8970370, 0.003082629, 0.0004771788, 0.0330712, 12.58802, 0.8253526, 0.9687214),
        (0.9408374, 0.001304602, 0.0002009512, 0.0214912, 12.53391, 0.8942323, 0.9874424),
    ),
    ("auroc_jackknife", "fixed", "random"): (
        (0.8970370, 0.003082629, 0.0004839618, 0.02428971, math.nan, 0.8494301, 0.9446440),
        (0.9408374, 0.001304602, 0.0002041879, 0.01677632, math.nan, 0.9079564, 0.9737183),
    ),
    ("sensitivity_at_3", "random", "random"): (
        (0.8222222, 0.009135802, 0.001646465, 0.05893747, 14.456811, 0.6961876, 0.9482568),
        (0.9200000, 0.005086420, 0.000382716, 0.03741657, 7.575855, 0.8328691, 1.0),
    ),
}


def summary(name):
    part = SUMMARY[name]
    matrix = np.zeros((10, 10))
    matrix[np.triu_indices(10)] = part["covariance"]
    return Figures(np.array(part["values"]).reshape(2, 5), matrix + np.triu(matrix, 1).T)


def limits(value, spread):
    quantile = stats.norm.ppf(0.975) if math.isinf(spread.degrees) else stats.t.ppf(0.975, spread.degrees)
    half = quantile * math.sqrt(spread.variance)
    return value - half, value + half


@pytest.mark.parametrize("case", PUBLISHED, ids="-".join)
def test_published_differences_follow_from_the_figures_and_their_covariances(case):
    name, readers, images = case
    figures = summary(name)
    model = OrhModel.of(figures, readers=readers, images=images, pooled=True)
    value, error, degrees, low, high, p_value = PUBLISHED[case]
    spread = model.spread(np.array([1.0, -1.0]))
    difference = float(figures.values[0].mean() - figures.values[1].mean())
    assert difference == pytest.approx(value, abs=5e-9)
    assert math.sqrt(spread.variance) == pytest.approx(error, rel=3e-6)
    if not math.isnan(degrees):
        assert spread.degrees == pytest.approx(degrees, rel=1e-6)
    assert limits(difference, spread) == pytest.approx((low, high), abs=5e-8)
    assert model.overall().p_value == pytest.approx(p_value, rel=1e-6)


@pytest.mark.parametrize("case", PUBLISHED_MEANS, ids="-".join)
def test_published_means_follow_from_each_modality_alone(case):
    name, readers, images = case
    figures = summary(name)
    model = OrhModel.of(figures, readers=readers, images=images, pooled=True)
    for number, (value, ms_reader, cov2, error, degrees, low, high) in enumerate(PUBLISHED_MEANS[case]):
        spread = model.spread(np.eye(2)[number], alone=True)
        mean = float(figures.values[number].mean())
        assert mean == pytest.approx(value, abs=5e-8)
        assert (spread.readers, spread.images) == (pytest.approx(ms_reader, rel=1e-6), pytest.approx(cov2, rel=1e-6))
        assert math.sqrt(spread.variance) == pytest.approx(error, rel=1e-6)
        if not math.isnan(degrees):
            assert spread.degrees == pytest.approx(degrees, rel=1e-6)
        found = limits(mean, spread)
        assert (max(0, found[0]), min(1, found[1])) == pytest.approx((low, high), abs=1e-7)


def test_published_variance_components_and_tests():
    model = OrhModel.of(summary("auroc_delong"), readers="random", images="random", pooled=True)
    found = model.components(np.ones((2, 2), dtype=bool))
    assert (found.cov1, found.cov2, found.cov3) == pytest.approx((0.0003420090, 0.0003395265, 0.0002358497), abs=5e-11)
    assert (found.reader, found.modality_reader) == pytest.approx((0.0015364254, 0.0002045840), abs=5e-11)
    assert found.error == pytest.approx(0.0007921325, abs=5e-11)
    assert (model.ms_modality, model.ms_interaction) == pytest.approx((0.004796171, 0.0005510306), rel=2e-7)
    test = model.overall()
    assert (test.value, test.numerator_degrees) == (pytest.approx(4.484854, rel=2e-7), 1)
    assert test.denominator_degrees == pytest.approx(15.06611, rel=1e-6)
    fixed = OrhModel.of(summary("auroc_jackknife"), readers="fixed", images="random", pooled=True).overall()
    assert (fixed.name, fixed.value) == ("chi-square", pytest.approx(5.475953, rel=2e-7))
    cases = OrhModel.of(summary("auroc_delong"), readers="random", images="fixed", pooled=True).overall()
    assert (cases.value, cases.denominator_degrees) == (pytest.approx(8.704, rel=1e-4), 4)
    share = OrhModel.of(summary("sensitivity_at_3"), readers="random", images="random", pooled=True)
    assert share.overall().value == pytest.approx(6.689493, rel=1e-6)
    assert share.components(np.ones((2, 2), dtype=bool)).reader == pytest.approx(0.0049747475, rel=1e-7)


def test_published_results_of_patients_nested_in_modalities():
    # The package leaves out each of 228 patients in turn also for the modality they are not in; here every modality
    # leaves out its own 114, which differs by a known factor.
    figures = summary("auroc_jackknife")
    matrix = figures.covariance * (227 / 228) / (113 / 114)
    matrix[:5, 5:] = matrix[5:, :5] = 0
    model = OrhModel.of(figures._replace(covariance=matrix), readers="random", images="random", pooled=True)
    found = model.components(np.eye(2, dtype=bool))
    assert (found.error, found.cov2) == pytest.approx((0.0008058382, 0.0003455973), rel=2e-7)
    assert (found.reader, found.modality_reader) == pytest.approx((0.001642585, 9.078969e-05), rel=1e-6)
    assert math.isnan(found.cov1)
    assert math.isnan(found.cov3)
    spread = model.spread(np.array([1.0, -1.0]))
    assert (math.sqrt(spread.variance), spread.degrees) == pytest.approx((0.03019283, 68.42325), rel=1e-6)
    test = model.overall()
    assert (test.value, test.p_value) == pytest.approx((2.104491, 0.1514363), rel=1e-6)


def study(readers=4, groups=None, areas=(0.85, 0.75, 0.8), images=(14, 18), points=5, **changes):
    """Returns a made-up study with ties; modalities m1, m2, ..."""
    n = len(groups) if groups else 2
    made = simulate_reader_study({f"m{number + 1}": area for number, area in enumerate(areas[:n])}, readers=readers,
                                 images=images, groups=groups, **{"seed": 7, **changes})  # fmt: skip
    rows = made.to_frame()
    return ReaderStudy.of(rows.assign(rating=np.ceil(rows["rating"] / (100 / points))))


def numbers(part):
    """Returns the numbers of a part of a result, one after the other, without those of Holm's correction."""
    values = []
    for name, value in part.to_dict().items():
        inner = value.values() if isinstance(value, dict) else [value]
        values += [each for each in inner if isinstance(each, float | int) and name != "p_adjusted"]
    return values


def slow_orh(values, covariance):
    """Obuchowski and Rockette's analysis with Hillis' degrees of freedom, sum by sum."""
    names, readers = list(dict.fromkeys(m for m, _ in values.index)), list(dict.fromkeys(r for _, r in values.index))
    t, r = len(names), len(readers)
    of = {pair: float(values[pair]) for pair in values.index}
    grand = sum(of.values()) / (t * r)
    row = {m: sum(of[m, j] for j in readers) / r for m in names}
    column = {j: sum(of[m, j] for m in names) / t for j in readers}
    ms_t = r * sum((row[m] - grand) ** 2 for m in names) / (t - 1)
    ms_r = t * sum((column[j] - grand) ** 2 for j in readers) / (r - 1)
    ms_tr = sum((of[m, j] - row[m] - column[j] + grand) ** 2 for m in names for j in readers) / ((t - 1) * (r - 1))
    kinds = {"var": [], "cov1": [], "cov2": [], "cov3": []}
    for m, j in values.index:
        for n, k in values.index:
            kind = {(True, True): "var", (False, True): "cov1", (True, False): "cov2", (False, False): "cov3"}
            kinds[kind[m == n, j == k]].append(float(covariance.loc[(m, j), (n, k)]))
    var, cov1, cov2, cov3 = (sum(part) / len(part) for part in kinds.values())
    scale = ms_tr + r * max(cov2 - cov3, 0)
    return {
        "row": row, "f": ms_t / scale, "error": math.sqrt(2 / r * scale),
        "degrees": scale**2 / (ms_tr**2 / ((t - 1) * (r - 1))),
        "fixed": math.sqrt(2 / r * (var - cov1 + (r - 1) * max(cov2 - cov3, 0))),
        "images": math.sqrt(2 / r * ms_tr), "ms_tr": ms_tr,
        "reader": (ms_r - ms_tr) / t - cov1 + cov3, "modality_reader": ms_tr - var + cov1 + cov2 - cov3,
    }  # fmt: skip


@pytest.mark.parametrize("groups", [(0, 0), (0, 0, 0), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("covariance", ["delong", "unbiased", "jackknife"])
def test_the_analysis_is_that_of_mixed_sums(groups, covariance):
    made = study(groups=groups)
    slow = slow_orh(*figures_of_merit(made, covariance=covariance))
    result = mrmc(made, covariance=covariance)
    assert result.overall.value == pytest.approx(slow["f"])
    freedom = len(groups) - 1
    assert result.overall.p_value == pytest.approx(stats.f.sf(slow["f"], freedom, slow["degrees"]))
    assert result.components.reader == pytest.approx(max(slow["reader"], 0))
    assert result.components.modality_reader == pytest.approx(max(slow["modality_reader"], 0))
    for pair in result.differences:
        value = slow["row"][pair.first] - slow["row"][pair.second]
        assert (pair.standard_error, pair.degrees) == pytest.approx((slow["error"], slow["degrees"]))
        half = stats.t.ppf(0.975, slow["degrees"]) * slow["error"]
        assert (pair.difference.low, pair.difference.high) == pytest.approx((value - half, value + half))
        assert pair.p_value == pytest.approx(2 * stats.t.sf(abs(value / slow["error"]), slow["degrees"]))
        assert pair.components == result.components
    fixed = mrmc(made, covariance=covariance, readers="fixed")
    assert fixed.differences[0].standard_error == pytest.approx(slow["fixed"])
    # 14 positive patients: by t with 13 degrees of freedom.
    told = fixed.differences[0]
    assert (told.degrees, fixed.overall.name) == (13, "F")
    assert told.p_value == pytest.approx(2 * stats.t.sf(abs(told.difference.value) / slow["fixed"], 13))
    images = mrmc(made, covariance=covariance, images="fixed")
    assert images.differences[0].standard_error == pytest.approx(slow["images"])
    assert images.differences[0].degrees == freedom * 3


def test_an_f_of_two_modalities_is_the_square_of_t():
    for readers, images in (("random", "random"), ("fixed", "random"), ("random", "fixed")):
        result = mrmc(study(), readers=readers, images=images)
        assert result.overall.value == pytest.approx(result.differences[0].statistic ** 2)
        assert result.overall.p_value == pytest.approx(result.differences[0].p_value)


def test_a_modality_alone_is_the_same_within_a_study_of_several():
    made = study(model=RatingModel(0.6, 0.1, 0.3, 0.3, 0.2, 0.2))
    rows = made.to_frame()
    alone = mrmc(ReaderStudy.of(rows[rows["modality"] == "m1"]))
    assert alone.design == "single modality"
    assert (alone.overall, alone.differences) == (None, ())
    assert numbers(alone.means[0]) == pytest.approx(numbers(mrmc(made).means[0]))
    values, matrix = figures_of_merit(ReaderStudy.of(rows[rows["modality"] == "m1"]))
    cov2 = float(np.mean(matrix.to_numpy()[~np.eye(4, dtype=bool)]))
    spread = values.var(ddof=1) / 4 + max(cov2, 0)
    assert alone.means[0].standard_error == pytest.approx(math.sqrt(spread))
    assert alone.means[0].degrees == pytest.approx(spread**2 / ((values.var(ddof=1) / 4) ** 2 / 3))
    assert alone.components.reader > 0
    assert alone.components.reader == pytest.approx(values.var(ddof=1) - np.diag(matrix).mean() + cov2)


@pytest.mark.parametrize("pair", [("m1", "m2"), ("m1", "m3"), ("m2", "m3")])
@pytest.mark.parametrize("readers", ["random", "fixed"])
def test_in_a_partly_nested_study_every_pair_rests_on_its_own_two_modalities(pair, readers):
    made = study(groups=(0, 1, 1))
    rows = made.to_frame()
    whole = mrmc(made, readers=readers)
    alone = mrmc(ReaderStudy.of(rows[rows["modality"].isin(pair)]), readers=readers)
    assert whole.design == "partly nested"
    found, expected = whole.difference(*pair), alone.difference(*pair)
    assert numbers(found) == pytest.approx(numbers(expected), nan_ok=True)
    shared = pair == ("m2", "m3")
    assert found.patients == ("the same patients" if shared else "no patient in common")
    assert math.isnan(found.components.cov1) != shared


def test_the_overall_test_of_a_partly_nested_study():
    made = study(groups=(0, 1, 1))
    values, matrix = figures_of_merit(made)
    slow = slow_orh(values, matrix)
    result = mrmc(made)
    test, sharing = result.overall, result.difference("m2", "m3").components
    # Only pairs that share patients say what figures covary across modalities.
    assert (result.components.cov1, result.components.cov3) == pytest.approx((sharing.cov1, sharing.cov3))
    assert result.components.modality_reader == pytest.approx(max(slow["modality_reader"], 0))
    # What modalities without a common patient do not covary counts as 0 in the mean of all pairs.
    assert test.value == pytest.approx(slow["f"])
    assert 1 < test.numerator_degrees < 2
    freedom = test.numerator_degrees, test.denominator_degrees
    assert test.p_value == pytest.approx(stats.f.sf(slow["f"], *freedom))
    # Box's degrees of freedom, as the variance of a quadratic form of the expected covariances.
    blocks = matrix.to_numpy().reshape(3, 4, 3, 4)
    same = sum(blocks[:, j, :, j] for j in range(4)) / 4
    between = sum(blocks[:, j, :, k] for j in range(4) for k in range(4) if j != k) / 12
    gain = slow["ms_tr"] - (np.trace(same - between) - (same - between).sum() / 3) / 2
    parts = same - between + max(gain, 0) * np.eye(3)
    centre = np.eye(3) - 1 / 3
    roots = np.linalg.eigvals(centre @ (parts / 4 + between)).real
    assert test.numerator_degrees == pytest.approx(roots.sum() ** 2 / (roots**2).sum())
    of_parts = np.linalg.eigvals(centre @ parts).real
    scale = slow["error"] ** 2 * 2
    expected = scale**2 / (slow["ms_tr"] ** 2 / (3 * of_parts.sum() ** 2 / (of_parts**2).sum()))
    assert test.denominator_degrees == pytest.approx(expected)


def test_fixed_readers_of_a_partly_nested_study_are_tested_by_walds_chi_square():
    made = study(groups=(0, 1, 1))
    values, matrix = figures_of_merit(made)
    mean = np.kron(np.eye(3), np.full((1, 4), 0.25))
    contrast = np.array([[1.0, -1, 0], [0, 1, -1]]) @ mean
    told = contrast @ values.to_numpy()
    expected = told @ np.linalg.solve(contrast @ matrix.to_numpy() @ contrast.T, told)
    test = mrmc(made, readers="fixed").overall
    # From 14 positive patients an error is itself uncertain: F with 13 degrees of freedom.
    assert (test.name, test.numerator_degrees, test.denominator_degrees) == ("F", 2, 13)
    assert test.value == pytest.approx(expected / 2)
    assert test.p_value == pytest.approx(stats.f.sf(expected / 2, 2, 13))
    many = study(groups=(0, 1, 1), images=(30, 40))
    values, matrix = figures_of_merit(many)
    told = contrast @ values.to_numpy()
    expected = told @ np.linalg.solve(contrast @ matrix.to_numpy() @ contrast.T, told)
    test = mrmc(many, readers="fixed").overall
    assert (test.name, test.value) == ("chi-square", pytest.approx(expected))
    assert test.p_value == pytest.approx(stats.chi2.sf(expected, 2))


def test_one_reader_is_compared_as_models_are():
    made = study(readers=1)
    result = mrmc(made)
    rows = made.to_frame().pivot(index="image_id", columns="modality", values="rating")
    truth = made.to_frame().drop_duplicates("image_id").set_index("image_id")["truth"].loc[rows.index]
    areas, matrix = auc_covariance(truth.to_numpy() == 1, rows[["m1", "m2"]].to_numpy().T)
    error = math.sqrt(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1])
    pair = result.differences[0]
    half = stats.t.ppf(0.975, 13) * error
    assert pair.difference.value == pytest.approx(areas[0] - areas[1])
    assert (pair.difference.low, pair.difference.high) == pytest.approx(
        (areas[0] - areas[1] - half, areas[0] - areas[1] + half)
    )
    assert pair.p_value == pytest.approx(2 * stats.t.sf(abs(areas[0] - areas[1]) / error, 13))
    assert result.means[0].estimate == auc_interval(truth, rows["m1"])
    assert result.readers == "fixed"
    assert result.cautions[0] == "The results hold for this one reader only, not for others."
    assert math.isnan(result.components.reader)


def test_figures_of_readers_are_the_ordinary_ones():
    made = study()
    result = mrmc(made)
    rows = made.to_frame()
    own = rows[(rows["modality"] == "m2") & (rows["reader"] == "reader 3")]
    entry = next(each for each in result.figures if (each.reader, each.modality) == ("reader 3", "m2"))
    assert entry.estimate == auc_interval(own["truth"], own["rating"])
    other = rows[(rows["modality"] == "m1") & (rows["reader"] == "reader 3")]
    told = next(each for each in result.reader_differences if each.reader == "reader 3")
    ratings = np.stack([other["rating"], own["rating"]])
    areas, matrix = auc_covariance(own["truth"].to_numpy() == 1, ratings)
    assert told.difference.value == pytest.approx(areas[0] - areas[1])
    assert told.standard_error == pytest.approx(math.sqrt(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1]))
    assert told.p_value == pytest.approx(2 * stats.t.sf(abs(told.difference.value) / told.standard_error, 13))


@pytest.mark.parametrize("covariance", ["delong", "unbiased", "jackknife"])
def test_neither_the_order_of_rows_nor_the_scale_of_ratings_changes_a_result(covariance):
    made = study(groups=(0, 0, 1))
    rows = made.to_frame()
    again = ReaderStudy.of(rows.assign(rating=rows["rating"] ** 3 - 9).sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(
        mrmc(made, covariance=covariance).to_frame(), mrmc(again, covariance=covariance).to_frame(), rtol=1e-12
    )


def test_exchanging_classes_and_turning_ratings_round_changes_nothing():
    rows = study().to_frame()
    one = mrmc(ReaderStudy.of(rows)).to_frame()
    other = mrmc(ReaderStudy.of(rows.assign(truth=1 - rows["truth"], rating=-rows["rating"]))).to_frame()
    pd.testing.assert_frame_equal(one, other, rtol=1e-9)


def test_a_function_that_is_the_area_gives_the_analysis_of_the_area():
    made = study()
    named, own = mrmc(made, covariance="jackknife"), mrmc(made, auc, covariance="jackknife")
    assert own.figure == "auc"
    assert own.differences[0].difference.low == pytest.approx(named.differences[0].difference.low)
    assert own.overall.p_value == pytest.approx(named.overall.p_value)
    assert own.figures[0].estimate.method == "jackknife of 32 patients, t"


def test_sensitivity_and_specificity_are_analysed_at_a_rating():
    made = study()
    rows = made.to_frame()
    for figure, label in (("sensitivity", 1), ("specificity", 0)):
        result = mrmc(made, figure, threshold=3)
        assert result.figure == f"{figure} at a rating of at least 3"
        own = rows[rows["truth"] == label]
        right = ((own["rating"] >= 3) == bool(label)).groupby(own["modality"]).mean()
        assert [entry.estimate.value for entry in result.means] == pytest.approx(right.tolist())


def test_verdicts_are_read_off_the_interval():
    made = study(readers=8, areas=(0.93, 0.72), images=(60, 60), points=100)
    result = mrmc(made)
    pair = result.difference("m1", "m2")
    assert pair.difference.low > 0
    verdict = result.verdict("m1", "m2", margin=0.05)
    assert (verdict.verdict, verdict.non_inferior) == ("better", True)
    assert (verdict.first_value, verdict.second_value) == tuple(entry.estimate for entry in result.means)
    turned = result.verdict("m2", "m1", margin=0.05)
    assert (turned.verdict, turned.non_inferior) == ("worse", False)
    assert turned.difference.low == -pair.difference.high
    assert result.difference("m2", "m1").statistic == -pair.statistic
    # The margin is met exactly where the lower limit lies above it.
    low = result.difference("m2", "m1").difference.low
    assert result.verdict("m2", "m1", margin=-low + 1e-9).non_inferior is True
    assert result.verdict("m2", "m1", margin=-low - 1e-9).non_inferior is False
    assert result.verdict("m1", "m2").non_inferior is None
    same = mrmc(study(areas=(0.8, 0.8)))
    assert same.verdict("m1", "m2").verdict == "not distinguishable"
    for names, message in ((("m1", "m3"), "second='m3'"), (("m1", "m1"), "name two modalities")):
        with pytest.raises(ValueError, match=message):
            result.verdict(*names)
    with pytest.raises(ValueError, match="margin"):
        result.verdict("m1", "m2", margin=-0.05)


def test_several_pairs_and_findings_are_corrected_together():
    rows = study(groups=(0, 0, 0)).to_frame().assign(finding="Edema")
    other = study(groups=(0, 0, 0), seed=9).to_frame().assign(finding="Mass")
    both = mrmc_all(ReaderStudy.of(pd.concat([rows, other])))
    assert [result.finding for result in both] == ["Edema", "Mass"]
    single = mrmc(ReaderStudy.of(rows))
    assert [pair.p_value for pair in both[0].differences] == [pair.p_value for pair in single.differences]
    p_values = [pair.p_value for result in both for pair in result.differences]
    smallest = int(np.argmin(p_values))
    adjusted = [pair.p_adjusted for result in both for pair in result.differences]
    assert adjusted[smallest] == pytest.approx(min(1, 6 * p_values[smallest]))
    smallest = int(np.argmin([pair.p_value for pair in single.differences]))
    assert single.differences[smallest].p_adjusted == pytest.approx(min(1, 3 * single.differences[smallest].p_value))
    tests = [result.overall for result in both]
    least = min(tests, key=lambda test: test.p_value)
    assert least.p_adjusted == pytest.approx(min(1, 2 * least.p_value))


def test_a_finding_that_cannot_be_measured_does_not_stop_the_others():
    rows = study().to_frame()
    made = ReaderStudy.of(pd.concat([rows.assign(finding="Edema"), rows.assign(finding="Mass", truth=0)]))
    fine, nothing = mrmc_all(made)
    assert fine.differences[0].difference.estimable
    assert fine.differences[0].p_adjusted == fine.differences[0].p_value
    assert str(nothing.means[0].estimate) == "not estimable: no positive image in m1"
    assert str(nothing.differences[0].difference) == "not estimable: no positive image in m1"
    assert nothing.verdict("m1", "m2", margin=0.1).verdict == "not estimable"
    assert nothing.verdict("m1", "m2", margin=0.1).non_inferior is False
    assert math.isnan(nothing.overall.p_value)


def test_perfect_readers_have_no_estimated_variance_and_get_cautious_limits():
    rows = study().to_frame().assign(rating=lambda table: table["truth"])
    result = mrmc(ReaderStudy.of(rows))
    mean = result.means[0].estimate
    assert (mean.value, mean.high) == (1.0, 1.0)
    assert 0.8 < mean.low < 0.95
    assert "because neither readers nor patients make a difference" in mean.method
    assert result.differences[0].difference.reason == "the means differ by 0, but without any estimated variance"
    shares = mrmc(ReaderStudy.of(rows), "sensitivity", threshold=1)
    assert shares.means[0].estimate.low == pytest.approx(stats.beta.ppf(0.025, 14, 1))
    own = mrmc(ReaderStudy.of(rows), auc, covariance="jackknife")
    assert not own.means[0].estimate.estimable


def test_readers_who_agree_leave_only_the_patients():
    rows = study(readers=1).to_frame()
    made = ReaderStudy.of(pd.concat([rows.assign(reader=name) for name in "ABC"]))
    many, one = mrmc(made), mrmc(ReaderStudy.of(rows))
    assert many.differences[0].standard_error == pytest.approx(one.differences[0].standard_error)
    assert math.isnan(many.differences[0].degrees)
    assert one.differences[0].degrees == 13
    assert many.overall.p_value == pytest.approx(2 * stats.norm.sf(abs(one.differences[0].statistic)))


def test_what_a_reader_must_know_is_said():
    few = mrmc(study(readers=2, images=(6, 9)))
    assert any(caution.startswith("2 readers say little of readers in general:") for caution in few.cautions)
    told = next(caution for caution in few.cautions if caution.startswith("The positive patients of m1"))
    assert told.startswith(
        "The positive patients of m1 are worth 6: intervals are approximate, and that of the readers'"
    )
    assert "interval approximate: worth 6 patients" in few.differences[0].difference.method
    assert mrmc(study(), readers="fixed").cautions[0] == "The results hold for these 4 readers only, not for others."
    assert (
        mrmc(study(), images="fixed").cautions[-1] == "The results hold for these images only, not for other patients."
    )
    # All readers gain the same, though patients vary: less than chance alone would make of it.
    rows = study(readers=6, areas=(0.8, 0.8), seed=3).to_frame()
    first = rows[(rows["reader"] == "reader 1")]
    made = ReaderStudy.of(pd.concat([first.assign(reader=f"r{number}") for number in range(5)]))
    assert mrmc(made).components.reader == 0.0


def test_a_mean_near_1_has_an_interval_on_the_logit_scale_too():
    result = mrmc(study(areas=(0.95, 0.7), images=(40, 40), points=100))
    for entry in result.means:
        value, error = entry.estimate.value, entry.standard_error
        half = stats.t.ppf(0.975, entry.degrees) * error / (value * (1 - value))
        assert entry.logit_interval.value == value
        expected = stats.logistic.cdf([stats.logistic.ppf(value) - half, stats.logistic.ppf(value) + half])
        assert (entry.logit_interval.low, entry.logit_interval.high) == pytest.approx(expected)
    near, far = result.means
    assert near.estimate.value > 0.9 > far.estimate.value
    (told,) = [caution for caution in result.cautions if caution.startswith("Means near 0 or 1")]
    assert told.endswith(f"{near.logit_interval.low:.3f} to {near.logit_interval.high:.3f} in m1.")
    assert not mrmc(study(), auc, covariance="jackknife").means[0].logit_interval.estimable
    assert mrmc(study(readers=1)).means[0].logit_interval == mrmc(study(readers=1)).means[0].estimate


def test_negative_variances_are_given_as_0_and_told():
    for seed in range(30):
        made = study(readers=3, seed=seed)
        slow = slow_orh(*figures_of_merit(made))
        result = mrmc(made)
        told = [caution for caution in result.cautions if "what they gain by a modality was estimated as -" in caution]
        assert bool(told) == (slow["modality_reader"] < 0)
        if told:
            assert result.components.modality_reader == 0.0
            return
    raise AssertionError("no study had a negative variance")


def test_a_result_is_json_both_ways_and_a_table(tmp_path):
    for made in (mrmc(study(groups=(0, 1, 1))), mrmc(study(readers=1)), mrmc(study(), images="fixed")):
        again = MrmcResult.load(made.save(tmp_path / "result.json"))
        pd.testing.assert_frame_equal(again.to_frame(), made.to_frame())
        assert str(again) == str(made)
    table = mrmc(study()).to_frame()
    counts = {"reader": 8, "mean": 2, "mean, logit interval": 2, "reader difference": 4, "difference": 1}
    assert table["what"].value_counts().to_dict() == counts
    text, page = str(mrmc(study())), mrmc(study())._repr_html_()
    for part in ("AUROC of 4 readers (random) and 32 patients (random), fully crossed", "m1 − m2", "F(1, "):
        assert part in text
    assert "mean of the readers" in page
    assert "the same patients" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"readers": "some"}, "readers='some'"),
        ({"images": "all"}, "images='all'"),
        ({"readers": "fixed", "images": "fixed"}, "nothing is left that varies"),
        ({"confidence": 95}, "confidence=95 must lie strictly between 0 and 1"),
        ({"figure": "sensitivity"}, "needs threshold="),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mrmc(study(), **arguments)
    with pytest.raises(ValueError, match="one reader on fixed images"):
        mrmc(study(readers=1), images="fixed")
    for analyse in (mrmc, mrmc_all):
        with pytest.raises(TypeError, match="study must be a ReaderStudy, not a table of"):
            analyse(study().to_frame())


@pytest.fixture
def vectors():
    """The folder with the reader studies, or a skip."""
    root = os.environ.get("CHEXKERAS_TEST_DATA")
    if not root or not (Path(root) / "vectors" / "vandyke.csv").is_file():
        pytest.skip("set CHEXKERAS_TEST_DATA to a folder with vectors/vandyke.csv and vectors/kundel.csv")
    return Path(root) / "vectors"


@pytest.mark.realdata
def test_the_ratings_of_van_dyke_give_the_published_results(vectors):
    made = read_reader_study(vectors / "vandyke.csv", columns={"modality": "treatment", "image_id": "case"})
    assert str(made) == "5 readers, 2 modalities, 114 images of 114 patients (45 positive), fully crossed"
    for (name, readers, images), expected in PUBLISHED.items():
        figure, _, covariance = name.partition("_")
        arguments = {"threshold": 3} if figure == "sensitivity" else {"covariance": covariance}
        result = mrmc(made, figure, readers=readers, images=images, **arguments)
        pair = result.differences[0]
        limits_ = pair.difference.value, pair.standard_error, pair.difference.low, pair.difference.high, pair.p_value
        assert limits_ == pytest.approx((*expected[:2], *expected[3:]), rel=3e-6)
        values, matrix = figures_of_merit(made, figure, **arguments)
        np.testing.assert_allclose(values, summary(name).values.ravel(), atol=1e-12)
        np.testing.assert_allclose(matrix, summary(name).covariance, rtol=1e-9, atol=1e-14)
    # Printed for fixed readers: reader 5's difference and error.
    last = mrmc(made, covariance="jackknife", readers="fixed").reader_differences[-1]
    assert (last.difference.value, last.standard_error) == pytest.approx((-0.10016103, 0.04405746), rel=1e-7)
    assert (last.difference.low, last.p_value) == pytest.approx((-0.186512066, 0.02300099), rel=1e-6)


@pytest.mark.realdata
def test_the_ratings_of_kundel_are_partly_nested(vectors):
    made = read_reader_study(vectors / "kundel.csv", columns={"modality": "treatment_name", "image_id": "case"})
    assert str(made) == "4 readers, 3 modalities, 190 images of 190 patients (56 positive), partly nested"
    result = mrmc(made)
    film, soft = "Screen-film", "Soft-copy computed radiogram"
    hard = "Hard-copy computed radiogram"
    assert result.difference(hard, soft).patients == "the same patients"
    assert result.difference(hard, film).patients == "no patient in common"
    # No patient in common: the error is that of two studies of the same readers, sum by sum.
    rows = made.to_frame()
    for one, other in ((hard, film), (hard, soft), (film, soft)):
        part = ReaderStudy.of(rows[rows["modality"].isin((one, other))])
        slow = slow_orh(*figures_of_merit(part))
        pair = result.difference(one, other)
        assert (pair.standard_error, pair.degrees) == pytest.approx((slow["error"], slow["degrees"]))


def marked(readers=4, n=60, seed=5, missed=0.2):
    """Marks of readers in two modalities: one lesion in each of half of the images, one mark on each image."""
    rng = np.random.default_rng(seed)
    images = pd.DataFrame({"image_id": [f"i{k:03}" for k in range(n)]})
    lesions = pd.DataFrame({"image_id": images["image_id"][: n // 2], "lesion": "L"})
    ill = np.arange(n) < n // 2
    tables = []
    for modality, distance in (("aided", 1.6), ("alone", 0.8)):
        hard = rng.normal(size=n)
        for reader in range(readers):
            rating = 0.6 * hard + 0.8 * rng.normal(size=n) + (distance + 0.2 * reader) * ill
            hit = np.where(ill & (rng.random(n) > missed), "L", None)
            frame = {"image_id": images["image_id"], "rating": rating, "lesion": hit}
            tables.append(pd.DataFrame(frame | {"reader": f"R{reader}", "modality": modality}))
    return LocalizationStudy.of(pd.concat(tables), lesions, images)


def test_marks_that_all_hit_are_analysed_as_ratings_of_images():
    marks = marked(missed=0.0)
    rows = [
        {"reader": reader, "modality": modality, "image_id": f"i{image:03}", "truth": int(not normal), "rating": rating}
        for modality in marks.modalities
        for reader in marks.readers
        for image, (normal, rating) in enumerate(
            zip(marks.normal, np.append(marks.marks(reader, modality).lesions,
                                        marks.marks(reader, modality).images[marks.normal]), strict=True)
        )
    ]  # fmt: skip
    of_images, of_marks = mrmc(ReaderStudy.of(pd.DataFrame(rows))), mrmc_localization(marks)
    assert of_marks.figure == "weighted AFROC"
    one, other = of_images.difference("aided", "alone"), of_marks.difference("aided", "alone")
    for name in ("standard_error", "degrees", "statistic", "p_value"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9)
    assert [each.estimate.value for each in of_marks.means] == pytest.approx(
        [each.estimate.value for each in of_images.means], abs=1e-12
    )
    for mine, theirs in zip(of_marks.figures, of_images.figures, strict=True):
        assert (mine.estimate.low, mine.estimate.high) == pytest.approx((theirs.estimate.low, theirs.estimate.high))


@pytest.mark.parametrize("options", [{}, {"weighted": False}, {"false_positives_on": "all"}])
def test_areas_of_marks_follow_obuchowski_and_rockette_written_out(options):
    marks = marked()
    found = mrmc_localization(marks, **options)
    areas, covariance = afroc_figures(marks, **options)
    values = areas.to_numpy().reshape(2, 4)
    blocks = covariance.to_numpy().reshape(2, 4, 2, 4)
    pairs = [(j, k) for j in range(4) for k in range(4) if j != k]
    cov2 = np.mean([blocks[i, j, i, k] for i in range(2) for j, k in pairs])
    cov3 = np.mean([blocks[i, j, 1 - i, k] for i in range(2) for j, k in pairs])
    centred = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    interaction = (centred**2).sum() / 3
    scale = interaction + 4 * max(cov2 - cov3, 0)
    pair = found.differences[0]
    assert pair.difference.value == pytest.approx(values[0].mean() - values[1].mean(), abs=1e-12)
    assert pair.standard_error == pytest.approx(math.sqrt(2 / 4 * scale), rel=1e-9)
    assert pair.degrees == pytest.approx(scale**2 / (interaction**2 / 3), rel=1e-9)
    assert MrmcResult.from_dict(found.to_dict()) == found


def test_what_no_marks_can_say_is_refused():
    with pytest.raises(TypeError, match="study must be a LocalizationStudy, not a ReaderStudy"):
        mrmc_localization(study())
    with pytest.raises(ValueError, match="both fixed"):
        mrmc_localization(marked(), readers="fixed", images="fixed")
    assert mrmc_localization(marked(readers=1)).readers == "fixed"
