"""Comparing models: differences by a second way, verdicts that follow from their numbers, misaligned runs refused."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from chexkeras.evaluation.comparison.compare import compare, compare_all, comparison_table, judge
from chexkeras.evaluation.comparison.paired_tests import auroc_difference, bootstrap_difference, mcnemar
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.results import Comparison, Estimate
from tests.evaluation import written_out

quick = settings(derandomize=True, deadline=None, max_examples=40)


def scores(seed=0, n=240, patients=None, signal=1.0, finding="Edema"):
    """Labels and patients depend on nothing but n; the seed and the signal are the model's."""
    cohort, model = np.random.default_rng(n), np.random.default_rng(seed)
    labels = (cohort.random(n) < 0.4).astype(float)
    difficulty = cohort.normal(size=n)
    owners = np.arange(n) if patients is None else np.append(np.arange(patients), cohort.integers(0, patients, n))[:n]
    raw = signal * labels + difficulty + 0.7 * model.normal(size=n)
    return pd.DataFrame(
        {
            "image_id": [f"image {number:04d}" for number in range(n)],
            "patient_id": [f"patient {owner}" for owner in owners],
            "finding": finding,
            "label": labels,
            "score": 1 / (1 + np.exp(-raw)),
        }
    )


def slow_covariance(labels, one, other):
    """DeLong et al. 1988, equations 4 to 8."""
    parts = []
    for score in (one, other):
        x, y = score[labels == 1], score[labels == 0]
        wins = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    (a10, a01), (b10, b01) = parts
    return np.cov(a10, b10)[0, 1] / len(a10) + np.cov(a01, b01)[0, 1] / len(a01)


def test_auroc_is_compared_by_delongs_paired_test():
    first, second = scores(1, signal=1.6), scores(2)
    labels, one, other = first["label"].to_numpy(), first["score"].to_numpy(), second["score"].to_numpy()
    (made,) = compare(first, second, names=("this", "that"))
    difference = roc_auc_score(labels, one) - roc_auc_score(labels, other)
    variance = (
        slow_covariance(labels, one, one)
        + slow_covariance(labels, other, other)
        - 2 * slow_covariance(labels, one, other)
    )
    assert made.difference.value == pytest.approx(difference)
    assert made.p_value == pytest.approx(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    assert (made.difference.low, made.difference.high) == pytest.approx((difference - half, difference + half))
    assert made.first_value.value == pytest.approx(roc_auc_score(labels, one))
    assert (made.first, made.second, made.finding, made.statistic) == ("this", "that", "Edema", "AUROC")


def test_several_images_of_a_patient_widen_the_interval_as_the_patient_bootstrap_does():
    first, second = scores(1, 400, 100, 1.5), scores(2, 400, 100)
    # Images of one patient are alike: the same label, and errors in common.
    for table, seed, signal in ((first, 5, 1.2), (second, 6, 0.9)):
        owner = table["patient_id"].str[8:].astype(int).to_numpy()
        table["label"] = (owner % 3 == 0).astype(float)
        shared = np.random.default_rng(seed).normal(size=100)[owner]
        raw = signal * table["label"] + shared + np.random.default_rng(seed + 2).normal(size=400)
        table["score"] = 1 / (1 + np.exp(-raw))
    (made,) = compare(first, second)
    assert "clustered by patient (Obuchowski 1997); 400 images of 100 patients" in made.method
    rng, owners = np.random.default_rng(0), first["patient_id"].to_numpy()
    rows = {owner: np.flatnonzero(owners == owner) for owner in np.unique(owners)}
    drawn = []
    for _ in range(400):
        images = np.concatenate([rows[owner] for owner in rng.choice(list(rows), len(rows))])
        labels = first["label"].to_numpy()[images]
        drawn.append(
            roc_auc_score(labels, first["score"].to_numpy()[images])
            - roc_auc_score(labels, second["score"].to_numpy()[images])
        )
    width = made.difference.high - made.difference.low
    # 34 positive patients with four images each are few: Student's t at 33 degrees of freedom or a little more.
    assert width == pytest.approx(2 * 2.03 * np.std(drawn), rel=0.12)
    assert "Student's t" in made.difference.method
    alone = compare(*(table.assign(patient_id=table["image_id"]) for table in (first, second)))[0].difference
    assert width > 1.1 * (alone.high - alone.low)


@pytest.mark.parametrize(("patients", "few"), [(30, True), (110, True), (260, False)])
def test_the_paired_difference_of_several_images_written_out(patients, few):
    rng = np.random.default_rng(patients)
    owner = np.repeat(np.arange(patients), written_out.nih_sizes(rng, patients, "pneumothorax") % 6 + 1)
    labels = (owner % 2 == 0) & (rng.random(len(owner)) < 0.9)
    shared = rng.normal(size=patients)[owner]
    first, second = (shared + gain * labels + rng.normal(size=len(owner)) for gain in (1.5, 1.0))
    estimate, p_value = auroc_difference(labels, first, second, clusters=owner)
    value, variance, parts, worths, _ = written_out.auc_difference(labels, first, second, owner)
    degrees = written_out.satterthwaite(parts, worths) if min(worths) < 50 else math.inf
    assert math.isfinite(degrees) == few
    distribution = stats.t(degrees) if few else stats.norm
    half = distribution.ppf(0.975) * math.sqrt(variance)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((value, value - half, value + half))
    assert p_value == pytest.approx(2 * distribution.sf(abs(value) / math.sqrt(variance)))
    assert ("Student's t with" in estimate.method) == few


def test_the_paired_difference_of_few_independent_images_has_students_t():
    rng = np.random.default_rng(2)
    labels = np.arange(90) < 12
    first, second = (rng.normal(size=90) + gain * labels for gain in (1.5, 1.0))
    estimate, p_value = auroc_difference(labels, first, second)
    value, variance, parts, _, _ = written_out.auc_difference(labels, first, second, range(90))
    distribution = stats.t(written_out.satterthwaite(parts, [12, 78]))
    assert estimate.high - value == pytest.approx(distribution.ppf(0.975) * math.sqrt(variance))
    assert p_value == pytest.approx(2 * distribution.sf(abs(value) / math.sqrt(variance)))
    few = auroc_difference(labels[4:], first[4:], second[4:])[0]
    assert few.method.endswith("; interval approximate: worth 8 images")


@quick
@given(st.integers(0, 2**16), st.sampled_from([None, 30]))
def test_exchanging_the_models_mirrors_the_comparison(seed, patients):
    first, second = scores(seed, 120, patients, 1.4), scores(seed + 1, 120, patients)
    (there,), (back,) = compare(first, second), compare(second, first)
    assert there.p_value == pytest.approx(back.p_value)
    assert (there.difference.low, there.difference.high) == pytest.approx((-back.difference.high, -back.difference.low))
    assert (there.verdict, back.verdict) in [
        ("better", "worse"), ("worse", "better"), ("not distinguishable", "not distinguishable")
    ]  # fmt: skip
    assert (there.p_value < 0.05) == (there.difference.low > 0 or there.difference.high < 0)


@pytest.mark.parametrize("patients", [None, 60])
def test_identical_scores_differ_by_nothing_and_are_not_distinguishable(patients):
    table = scores(1, patients=patients)
    point = choose_threshold(None, rule="fixed", target=0.5, finding="Edema")
    for made in compare(table, table.copy(), points=(point, point)):
        assert (made.difference.value, made.p_value, made.p_adjusted) == (0, 1, 1)
        assert made.verdict == "not distinguishable"


def test_the_order_of_rows_does_not_matter():
    first, second = scores(1, patients=90), scores(2, patients=90)
    point = choose_threshold(None, rule="fixed", target=0.6, finding="Edema")
    shuffled = second.sample(frac=1, random_state=3)
    assert compare(first, second, points=(point, point)) == compare(first, shuffled, points=(point, point))


def test_the_p_value_of_delong_is_uniform_when_models_are_equally_good():
    p_values = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        labels = np.arange(120) % 3 == 0
        shared = rng.normal(size=120) + labels
        p_values.append(auroc_difference(labels, *(shared + rng.normal(size=120) for _ in range(2)))[1])
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_sensitivity_and_specificity_are_compared_at_each_models_own_threshold():
    first, second = scores(1, signal=2.0), scores(2)
    points = {
        "this": choose_threshold(None, rule="fixed", target=0.4, finding="Edema"),
        "that": choose_threshold(None, rule="fixed", target=0.6, finding="Edema"),
    }
    made = compare(first, second, names=("this", "that"), points=points, statistics=())
    positive = first["label"] == 1
    called, theirs = first["score"] >= 0.4, second["score"] >= 0.6
    expected = mcnemar(
        int((positive & called & ~theirs).sum()), int((positive & ~called & theirs).sum()), int(positive.sum())
    )
    assert [entry.statistic for entry in made] == ["sensitivity", "specificity"]
    assert (made[0].difference, made[0].p_value) == expected
    assert made[0].first_value.value == pytest.approx(called[positive].mean())
    assert made[1].second_value.value == pytest.approx((~theirs)[~positive].mean())
    assert made[0].verdict == "better"
    assert made[1].verdict == "worse"


def recall_in_top_tenth(labels, score):
    """The share of positives among the tenth of images with the highest scores."""
    return float(labels[np.argsort(-score, kind="stable")[: max(1, len(score) // 10)]].sum() / labels.sum())


def test_other_statistics_are_compared_on_the_same_draws_of_patients():
    first, second = scores(1, 300, 120, 1.8), scores(2, 300, 120)
    made = compare(first, second, statistics=("average precision", recall_in_top_tenth), replicates=300, seed=4)
    assert [entry.statistic for entry in made] == ["average precision", "recall in top tenth"]
    labels, one, other = first["label"].to_numpy(), first["score"].to_numpy(), second["score"].to_numpy()
    assert made[0].difference.value == pytest.approx(
        average_precision_score(labels, one) - average_precision_score(labels, other)
    )
    assert made[1].difference.value == recall_in_top_tenth(labels, one) - recall_in_top_tenth(labels, other)
    # A slow bootstrap with its own draws: both models on the same patients.
    patients, rng = first["patient_id"].to_numpy(), np.random.default_rng(0)
    images = {name: np.flatnonzero(patients == name) for name in np.unique(patients)}
    drawn = []
    for _ in range(300):
        rows = np.concatenate([images[name] for name in rng.choice(list(images), len(images))])
        drawn.append(
            average_precision_score(labels[rows], one[rows]) - average_precision_score(labels[rows], other[rows])
        )
    assert made[0].difference.high - made[0].difference.low == pytest.approx(3.92 * np.std(drawn), rel=0.2)
    alone = sum(((value.high - value.low) / 3.92) ** 2 for value in (made[0].first_value, made[0].second_value))
    assert np.var(drawn) < 0.9 * alone
    assert "paired percentile bootstrap of 120 patients" in made[0].method
    assert made[0].p_value == pytest.approx(2 / 301)


def test_a_bootstrap_p_value_below_five_percent_comes_with_an_interval_without_zero():
    seen = set()
    for seed in range(25):
        first, second = scores(2 * seed, 80, signal=1.7), scores(2 * seed + 1, 80)
        difference, p_value = bootstrap_difference(
            "average_precision", first["label"], first["score"], second["score"], replicates=200, seed=seed
        )
        seen.add(p_value < 0.05)
        if p_value < 0.05:
            assert difference.low > 0 or difference.high < 0
    assert seen == {True, False}


def test_a_bootstrap_needs_two_patients_of_each_class_and_a_defined_statistic():
    def undefined(labels, score):
        return float("nan")

    labels, one, other = [1, 0, 0, 1], [0.9, 0.1, 0.3, 0.5], [0.8, 0.2, 0.1, 0.4]
    lone = bootstrap_difference("average_precision", labels, one, other, clusters=list("abca"))
    assert lone[0].reason == "only one positive patient; a bootstrap needs at least two"
    assert bootstrap_difference(undefined, labels, one, other)[0].reason == "undefined has no value on these images"
    assert bootstrap_difference("average_precision", [0, 0], [0.1, 0.2], [0.2, 0.1])[0].reason.startswith(
        "no positives"
    )
    assert bootstrap_difference("average_precision", labels, one, one) == (
        Estimate(0.0, 0.0, 0.0, 0.95, 4, "both give the same scores"), 1.0
    )  # fmt: skip


def test_holm_corrects_over_everything_compared_together():
    first = pd.concat([scores(1, signal=1.5), scores(3, signal=1.2, finding="Mass")])
    second = pd.concat([scores(2), scores(4, finding="Mass")])
    point = [choose_threshold(None, rule="fixed", target=0.5, finding=name) for name in ("Edema", "Mass")]
    made = compare(first, second, points=(point, point))
    assert len(made) == 6
    ordered = sorted(made, key=lambda entry: entry.p_value)
    running = 0.0
    for rank, entry in enumerate(ordered):
        running = max(running, min(1.0, (6 - rank) * entry.p_value))
        assert entry.p_adjusted == pytest.approx(running)


def test_several_models_are_compared_in_pairs_and_corrected_over_all_pairs():
    tables = {"a": scores(1, signal=2.0), "b": scores(2), "c": scores(3)}
    made = compare_all(tables)
    assert [(entry.first, entry.second) for entry in made] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [compare(tables[one], tables[other])[0].p_value for one, other in (("a", "b"), ("a", "c"), ("b", "c"))]
    assert [entry.p_value for entry in made] == raw
    assert made[int(np.argmin(raw))].p_adjusted == pytest.approx(3 * min(raw))
    with pytest.raises(ValueError, match="at least two"):
        compare_all({"a": tables["a"]})


def entry(low, high, p_adjusted, margin=None):
    value = Estimate(0.9, 0.8, 0.95)
    return judge(
        Comparison(
            "a",
            "b",
            "Edema",
            "AUROC",
            value,
            value,
            Estimate((low + high) / 2, low, high),
            0.01,
            p_adjusted,
            "",
            margin,
        )
    )


def test_the_verdict_needs_both_the_corrected_test_and_the_interval():
    assert entry(0.01, 0.05, 0.02).verdict == "better"
    assert entry(-0.05, -0.01, 0.02).verdict == "worse"
    assert entry(0.01, 0.05, 0.06).verdict == "not distinguishable"
    assert entry(-0.01, 0.05, 0.02).verdict == "not distinguishable"
    assert entry(0.01, 0.05, float("nan")).verdict == "not estimable"


def test_non_inferiority_is_read_from_the_lower_limit_and_the_stated_margin():
    assert entry(-0.02, 0.03, 0.5).non_inferior is None
    assert entry(-0.02, 0.03, 0.5, 0.03).non_inferior is True
    assert entry(-0.02, 0.03, 0.5, 0.02).non_inferior is False
    assert entry(-0.05, -0.01, 0.01, 0.06).verdict == "worse"
    assert entry(-0.05, -0.01, 0.01, 0.06).non_inferior is True
    made = compare(scores(1), scores(2), margin={"AUROC": 0.2})[0]
    assert (made.margin, made.non_inferior) == (0.2, made.difference.low > -0.2)


def test_one_class_is_not_estimable_and_takes_no_part_in_the_correction():
    first, second = (pd.concat([scores(s), scores(s, finding="Mass").assign(label=0.0)]) for s in (1, 2))
    edema, mass = compare(first, second, margin=0.05)
    assert mass.verdict == "not estimable"
    assert mass.difference.reason.startswith("no positives")
    assert np.isnan(mass.p_adjusted)
    assert mass.non_inferior is False
    assert edema.p_adjusted == edema.p_value
    assert "cannot be compared" in str(mass)


def test_two_perfect_rankings_are_equal_with_doubt():
    labels = [0, 0, 0, 1, 1, 1]
    difference, p_value = auroc_difference(labels, [1, 2, 3, 4, 5, 6], [2, 1, 3, 4, 5, 6])
    assert (difference.value, p_value) == (0, 1)
    assert difference.low < -0.3 < 0.3 < difference.high
    assert auroc_difference(labels, [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1])[0].reason.startswith("the areas 1.000 and")


def test_a_class_of_one_patient_has_no_error_to_estimate():
    difference, p_value = auroc_difference([1, 0, 0], [0.9, 0.1, 0.95], [0.8, 0.9, 0.1])
    assert difference.reason.startswith("only one positive image")
    assert np.isnan(p_value)


def test_labels_unknown_in_both_are_left_out():
    first, second = scores(1), scores(2)
    for table in (first, second):
        table.loc[:9, "label"] = np.nan
    (made,) = compare(first, second)
    assert made == compare(first.iloc[10:], second.iloc[10:])[0]


def test_unequal_images_are_named_and_counted():
    first, second = scores(1), scores(2)
    with pytest.raises(ValueError, match="Edema: that lacks 3 of the 240 images of the other, first image 0000"):
        compare(first, second.iloc[3:], names=("this", "that"))
    with pytest.raises(ValueError, match="this lacks 240 of the 240 images"):
        compare(first.assign(image_id=first["image_id"] + ".png"), second, names=("this", "that"))


def test_unequal_labels_patients_and_findings_are_refused():
    first, second = scores(1), scores(2)
    known = second.copy()
    known.loc[[4, 7], "label"] = 1 - known.loc[[4, 7], "label"]
    with pytest.raises(ValueError, match="labels differ on 2 of 240 images, first image 0004"):
        compare(first, known)
    half = second.copy()
    half.loc[7, "label"] = np.nan
    with pytest.raises(
        ValueError, match=r"labels differ on 1 of 240 images, first image 0007 \(first \d, second nan\)"
    ):
        compare(first, half)
    with pytest.raises(ValueError, match="belong to different patients in first and second, first image 0000"):
        compare(first, second.assign(patient_id=second["patient_id"] + "x"))
    with pytest.raises(ValueError, match="no finding in common: first has Edema and second has Mass"):
        compare(first, second.assign(finding="Mass"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ("a", "a")}, "two different names"),
        ({"names": "ab"}, "names='ab' must be a list, each text"),
        ({"statistics": ("AUC",)}, "did you mean 'AUROC'"),
        ({"statistics": ()}, "nothing to compare"),
        ({"margin": 0}, "margin=0 must lie"),
        ({"margin": {"AUPRC": 0.1}}, "margin for='AUPRC'"),
        ({"confidence": 95}, "confidence=95"),
        ({"replicates": 0}, "replicates=0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        compare(scores(1), scores(2), **arguments)
    with pytest.raises(TypeError, match="function with a name"):
        compare(scores(1), scores(2), statistics=(lambda labels, score: 0.0,))


def test_operating_points_that_do_not_fit_are_refused():
    first, second = scores(1), scores(2)
    point = choose_threshold(None, rule="fixed", target=0.5, finding="Edema")
    other = choose_threshold(None, rule="fixed", target=0.5, finding="Mass")
    with pytest.raises(ValueError, match="chosen on these very scores"):
        compare(first, second, points=(choose_threshold(first, target=0.8), point))
    with pytest.raises(ValueError, match="more than one operating point"):
        compare(first, second, points=((point, point), point))
    with pytest.raises(ValueError, match="Mass: an operating point of both models"):
        compare(first, second, points=((point, other), point))
    with pytest.raises(ValueError, match="expected for first, second"):
        compare(first, second, points={"first": point})
    with pytest.raises(ValueError, match="points must be a dict"):
        compare(first, second, points=point)


def test_the_table_holds_every_number_with_its_interval():
    made = compare(scores(1, signal=2.0), scores(2), names=("2A", "2B"), margin=0.05)
    table = comparison_table(made)
    row = table.iloc[0]
    assert row["difference"] == str(made[0].difference)
    assert row["value of the first"] == str(made[0].first_value)
    assert row["p"] == "<0.001"
    assert (row["verdict"], row["non-inferior"]) == ("better", "shown within 0.05")
    assert "non-inferior" not in comparison_table(compare(scores(1), scores(2)))
    assert comparison_table([]).empty
    assert Comparison.from_dict(made[0].to_dict()) == made[0]
