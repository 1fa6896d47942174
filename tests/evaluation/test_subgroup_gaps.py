"""Gaps between groups: against the rest within a margin, best against worst, equalised odds."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation import (
    choose_threshold,
    equalized_odds_gap,
    group_estimates,
    subgroup_gaps,
    subgroups_non_inferior,
)
from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.subgroups import subgroup_analysis
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval
from chexkeras.results import EqualizedOdds, SubgroupGaps, SubgroupNonInferiority

POINT = choose_threshold(None, rule="fixed", target=0.5, finding="Edema")


def table_of(labels, scores, groups, patients=None):
    names = [f"{number:05d}" for number in range(len(labels))]
    owners = names if patients is None else [str(patient) for patient in patients]
    made = pd.DataFrame(
        {"image_id": names, "patient_id": owners, "finding": "Edema", "label": np.asarray(labels, float),
         "score": np.asarray(scores, float)}
    )  # fmt: skip
    return made, pd.Series(groups, index=names, name="group")


def cohort(seed=0, patients=120, images=4, groups=3, worse=0.0):
    """Images of patients who appear in several groups; the last group's scores are worse if asked."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), images)
    labels, group = rng.random(len(owner)) < 0.4, rng.integers(0, groups, len(owner))
    raw = labels * (1.8 - worse * (group == groups - 1)) + 0.6 * rng.normal(size=patients)[owner]
    raw = raw + rng.normal(size=len(owner)) - 0.9
    return table_of(labels, 1 / (1 + np.exp(-raw)), np.array(list("ABCDEFGH"))[group], owner)


def of_counts(**counts):
    """One patient per image; for each group (positives called, positives, negatives called, negatives)."""
    labels, scores, groups = [], [], []
    for name, (hits, positives, alarms, negatives) in counts.items():
        labels += [1] * positives + [0] * negatives
        scores += [0.9] * hits + [0.1] * (positives - hits) + [0.9] * alarms + [0.1] * (negatives - alarms)
        groups += [name] * (positives + negatives)
    return table_of(labels, scores, groups)


def test_values_gap_and_shortfall_are_those_counted_by_hand():
    scores, groups = of_counts(F=(18, 20, 2, 20), M=(12, 20, 5, 20), X=(15, 20, 3, 20))
    gaps = subgroup_gaps(scores, groups, statistic="sensitivity", point=POINT)
    assert [group.value.value for group in gaps.groups] == [0.9, 0.6, 0.75]
    assert [group.value.n for group in gaps.groups] == [20, 20, 20]
    assert (gaps.best, gaps.worst) == ("F", "M")
    assert gaps.gap.value == pytest.approx(0.3)
    assert gaps.overall.value == pytest.approx(0.75)
    assert gaps.shortfall.value == pytest.approx(0.15)
    of_specificity = subgroup_gaps(scores, groups, statistic="specificity", point=POINT)
    assert (of_specificity.best, of_specificity.worst, of_specificity.gap.value) == ("F", "M", pytest.approx(0.15))


def test_each_area_is_that_of_its_group_and_the_overall_one_that_of_all_images():
    scores, groups = cohort()
    gaps = subgroup_gaps(scores, groups)
    for group in gaps.groups:
        rows = (groups == group.level).to_numpy()
        assert group.value.value == pytest.approx(auc(scores["label"][rows], scores["score"][rows]))
        assert (group.n_images, group.n_positive) == (rows.sum(), scores["label"][rows].sum())
        assert group.n_patients == scores["patient_id"][rows].nunique()
    alone = auc_interval(scores["label"], scores["score"], clusters=scores["patient_id"].to_numpy())
    assert gaps.overall == alone
    values = [group.value.value for group in gaps.groups]
    assert gaps.gap.value == pytest.approx(max(values) - min(values))
    assert gaps.shortfall.value == pytest.approx(alone.value - min(values))


def test_simultaneous_intervals_hold_each_groups_own():
    scores, groups = cohort()
    own = {group.level: group.auroc for group in subgroup_analysis(scores, groups).groups}
    for group in subgroup_gaps(scores, groups).groups:
        assert group.value.low < own[group.level].low < own[group.level].high < group.value.high
        assert "simultaneous, each of 3" in group.value.method


def test_with_two_groups_the_gap_is_one_difference_and_its_interval_that_of_the_test_against_the_rest():
    scores, groups = cohort(2, groups=2, worse=0.8)
    gaps = subgroup_gaps(scores, groups)
    first, second = subgroups_non_inferior(scores, groups, margin=0.05).groups
    assert (gaps.best, gaps.worst) == ("A", "B")
    assert gaps.gap.low > 0
    assert (gaps.gap.value, gaps.gap.low, gaps.gap.high) == pytest.approx(
        (first.difference.value, first.difference.low, first.difference.high)
    )
    assert (second.difference.value, second.difference.low, second.difference.high) == pytest.approx(
        (-first.difference.value, -first.difference.high, -first.difference.low)
    )


def test_the_shortfall_is_the_difference_from_the_rest_times_the_share_of_the_rest():
    scores, groups = of_counts(F=(45, 50, 5, 50), M=(120, 150, 20, 150))
    gaps = subgroup_gaps(scores, groups, statistic="sensitivity", point=POINT)
    worst = subgroups_non_inferior(scores, groups, margin=0.1, statistic="sensitivity", point=POINT).groups[1]
    assert gaps.worst == "M"
    assert gaps.shortfall.value == pytest.approx(-0.25 * worst.difference.value)
    # With two groups one difference says all: that of the other group is its negative.
    limits = -0.25 * worst.difference.high, -0.25 * worst.difference.low
    assert (gaps.shortfall.low, gaps.shortfall.high) == pytest.approx(limits)


@pytest.mark.parametrize(
    ("margin", "counts", "verdict"),
    [
        (0.1, {"F": (270, 300, 1, 20), "M": (270, 300, 1, 20)}, "met"),
        (0.1, {"F": (27, 30, 1, 20), "M": (27, 30, 1, 20)}, "not shown"),
        (0.1, {"F": (180, 300, 1, 20), "M": (270, 300, 1, 20)}, "not met"),
        (0.4, {"F": (180, 300, 1, 20), "M": (270, 300, 1, 20)}, "met"),
    ],
)
def test_a_margin_is_met_not_met_or_not_shown_by_the_interval(margin, counts, verdict):
    scores, groups = of_counts(**counts)
    found = subgroups_non_inferior(scores, groups, margin=margin, statistic="sensitivity", point=POINT)
    assert found.groups[0].verdict == verdict
    # The other group is as good or better; the verdict on all is that of the worse.
    assert found.verdict == verdict
    low, high = found.groups[0].difference.low, found.groups[0].difference.high
    expected = "met" if low > -margin else "not met" if high < -margin else "not shown"
    assert expected == verdict
    assert found.one_sided_confidence == 0.975


def test_the_rest_holds_all_other_images_those_of_small_groups_too():
    scores, groups = of_counts(F=(18, 20, 2, 20), M=(12, 20, 5, 20), X=(4, 4, 3, 4))
    found = subgroups_non_inferior(scores, groups, margin=0.1, statistic="sensitivity", point=POINT)
    assert found.groups[0].rest.value == pytest.approx((12 + 4) / 24)
    assert found.groups[2].value.reason == "too few: 4 positives, at least 10 are needed"
    assert found.groups[2].verdict == "not estimable"
    assert found.groups[2].rest.value == pytest.approx(30 / 40)
    assert found.verdict == "not shown"


def test_a_rest_too_small_leaves_the_difference_open_with_its_reason():
    scores, groups = of_counts(F=(18, 20, 2, 20), M=(4, 5, 1, 5))
    found = subgroups_non_inferior(scores, groups, margin=0.1, statistic="sensitivity", point=POINT)
    assert found.groups[0].difference.reason == "the rest: too few: 5 positives, at least 10 are needed"
    gaps = subgroup_gaps(scores, groups, statistic="sensitivity", point=POINT)
    assert gaps.gap.reason == "1 group is large enough to estimate sensitivity, at least 2 are needed"
    assert (gaps.best, gaps.worst) == ("", "")
    assert math.isnan(gaps.gap_by_chance)
    assert gaps.groups[0].value.estimable
    odds = equalized_odds_gap(scores, groups, point=POINT)
    assert odds.gap.reason == gaps.gap.reason
    assert odds.groups[0].sensitivity.estimable
    assert not odds.groups[1].sensitivity.estimable


def test_positives_of_one_patient_are_no_group():
    scores, groups = of_counts(F=(18, 20, 2, 20), M=(12, 20, 5, 20), X=(15, 20, 3, 20))
    one = ((groups == "X").to_numpy()) & (scores["label"] == 1).to_numpy()
    gaps = subgroup_gaps(scores.assign(patient_id=np.where(one, "one", scores["patient_id"])), groups)
    assert gaps.groups[2].value.reason == "all 20 positives come from one patient"
    assert {gaps.best, gaps.worst} == {"F", "M"}


def test_equalised_odds_is_the_larger_of_the_two_gaps():
    scores, groups = of_counts(F=(90, 100, 20, 100), M=(80, 100, 50, 100), X=(85, 100, 10, 100))
    odds = equalized_odds_gap(scores, groups, point=POINT)
    assert odds.sensitivity_gap.value == pytest.approx(0.1)
    assert odds.false_positive_rate_gap.value == pytest.approx(0.4)
    limits = odds.false_positive_rate_gap.low, odds.false_positive_rate_gap.high
    assert (odds.gap.value, odds.gap.low, odds.gap.high) == (odds.false_positive_rate_gap.value, *limits)
    assert [group.false_positive_rate.value for group in odds.groups] == pytest.approx([0.2, 0.5, 0.1])
    for group in odds.groups:
        assert group.false_positive_rate.low < group.false_positive_rate.value < group.false_positive_rate.high
    # Six differences are looked at in place of three: wider than the gap in specificity alone.
    alone = subgroup_gaps(scores, groups, statistic="specificity", point=POINT).gap
    assert odds.gap.low < alone.low < alone.high < odds.gap.high
    assert odds.gap_by_chance < 0.2


def test_equal_groups_lie_apart_by_chance_as_far_as_said(monkeypatch):
    monkeypatch.setattr(group_estimates, "_DRAWS", 2048)
    rng = np.random.default_rng(1)
    widths, said = [], []
    for _ in range(40):
        hits, alarms = rng.binomial(40, 0.8, 4), rng.binomial(40, 0.2, 4)
        counts = {name: (hit, 40, alarm, 40) for name, hit, alarm in zip("ABCD", hits, alarms, strict=True)}
        odds = equalized_odds_gap(*of_counts(**counts), point=POINT)
        widths.append(odds.gap.value)
        said.append(odds.gap_by_chance)
    assert np.mean(widths) == pytest.approx(np.mean(said), abs=0.03)


def test_the_gap_covers_where_groups_are_equal_and_picking_is_not_ignored(monkeypatch):
    monkeypatch.setattr(group_estimates, "_DRAWS", 2048)
    rng = np.random.default_rng(5)
    naive = honest = 0
    for _ in range(120):
        hits = rng.binomial(30, 0.75, 5)
        counts = {name: (hit, 30, 1, 12) for name, hit in zip("ABCDE", hits, strict=True)}
        scores, groups = of_counts(**counts)
        gap = subgroup_gaps(scores, groups, statistic="sensitivity", point=POINT).gap
        honest += gap.low == 0.0
        best, worst = int(np.argmax(hits)), int(np.argmin(hits))
        right = np.arange(60) < hits[best], np.arange(60) < hits[worst]
        sets = [np.arange(60) < 30, np.arange(60) >= 30]
        mixed = np.concatenate([right[0][:30], right[1][:30]])
        naive += group_estimates.measure_shares(mixed, np.arange(60), sets).difference(0, 1, 0.95)[1] <= 0
    assert honest >= 0.9 * 120
    assert naive < 0.85 * 120


def test_patients_in_two_groups_make_the_difference_more_certain():
    scores, groups = cohort(7, groups=2)
    together = subgroups_non_inferior(scores, groups, margin=0.1).groups[0].difference
    own = scores.assign(patient_id=scores["patient_id"] + groups.to_numpy())
    apart = subgroups_non_inferior(own, groups, margin=0.1).groups[0].difference
    assert together.value == pytest.approx(apart.value)
    assert together.high - together.low < apart.high - apart.low


@pytest.mark.parametrize("measure", [subgroup_gaps, lambda *given: subgroups_non_inferior(*given, margin=0.1),
                                     lambda *given: equalized_odds_gap(*given, point=POINT)])  # fmt: skip
def test_the_order_of_rows_and_groups_as_a_table_change_nothing(measure):
    scores, groups = cohort(3)
    mixed = scores.sample(frac=1, random_state=2).reset_index(drop=True)
    one, other = measure(scores, groups).to_dict(), measure(mixed, groups.sample(frac=1, random_state=3)).to_dict()
    assert rounded(one) == rounded(other)


def rounded(value):
    if isinstance(value, dict):
        return {name: rounded(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return round(value, 9) if isinstance(value, float) and not math.isnan(value) else str(value)


def test_results_are_json_both_ways_and_tables():
    scores, groups = cohort(3)
    scores.loc[:3, "label"] = np.nan
    groups.iloc[10:15] = None
    made = (
        (SubgroupGaps, subgroup_gaps(scores, groups)),
        (SubgroupNonInferiority, subgroups_non_inferior(scores, groups, margin=0.1)),
        (EqualizedOdds, equalized_odds_gap(scores, groups, point=POINT)),
    )
    for kind, result in made:
        assert kind.from_dict(json.loads(json.dumps(result.to_dict()))) == result
        assert result.n_unknown == 5
        frame = result.to_frame()
        assert list(frame["group"]) == ["A", "B", "C"]
    assert "within 0.1" in made[1][1].to_frame().columns
    assert str(made[0][1]).startswith("Edema, auroc by group: ")
    small = subgroup_gaps(scores, groups, minimum=500)
    assert "not estimable: 0 groups are large enough" in str(small)
    assert SubgroupGaps.from_dict(json.loads(json.dumps(small.to_dict()))).gap.reason == small.gap.reason


def test_a_band_without_images_does_not_stand_against_a_verdict():
    scores, groups = of_counts(F=(270, 300, 1, 20), M=(270, 300, 1, 20))
    table = pd.DataFrame({"image_id": groups.index, "age_years": np.where(groups == "F", 30, 50)})
    found = subgroups_non_inferior(scores, table, margin=0.1, column="age_years", statistic="sensitivity", point=POINT)
    assert [group.verdict for group in found.groups if group.n_images] == ["met", "met"]
    assert [group.verdict for group in found.groups if not group.n_images] == ["not estimable"] * 4
    assert found.verdict == "met"


def test_ages_are_cut_into_bands_as_elsewhere():
    scores, groups = cohort(4)
    table = pd.DataFrame({"image_id": groups.index, "age_years": np.arange(len(groups)) % 80})
    gaps = subgroup_gaps(scores, table, column="age_years", minimum=2)
    assert [group.level for group in gaps.groups] == ["0-17", "18-21", "22-39", "40-59", "60-74", "75+"]


def test_wrong_input_is_refused_with_what_to_do():
    scores, groups = cohort()
    chosen = choose_threshold(scores, rule="youden")
    other = choose_threshold(None, rule="fixed", target=0.5, finding="Mass")
    for given, message in (
        ({"statistic": "sensitivity"}, "needs point="),
        ({"statistic": "accuracy"}, "Expected one of: auroc"),
        ({"statistic": "sensitivity", "point": other}, "decides 'Mass'"),
        ({"statistic": "sensitivity", "point": chosen}, "chosen on these very scores"),
        ({"minimum": 1}, "at least 2"),
        ({"confidence": 95}, "fraction"),
    ):
        with pytest.raises(ValueError, match=message):
            subgroup_gaps(scores, groups, **given)
    with pytest.raises(ValueError, match="margin"):
        subgroups_non_inferior(scores, groups, margin=5)
    with pytest.raises(ValueError, match="column is missing"):
        subgroup_gaps(scores, groups.rename(None))
    with pytest.raises(TypeError, match=r"groups must be a column \(pandas\.Series\)"):
        subgroup_gaps(scores, list(groups))
    with pytest.raises(ValueError, match="2 findings"):
        subgroup_gaps(pd.concat([scores, scores.assign(finding="Mass")]), groups)


def test_the_values_beside_a_difference_have_their_usual_intervals():
    scores, groups = cohort()
    first = subgroups_non_inferior(scores, groups, margin=0.1, statistic="sensitivity", point=POINT).groups[0]
    members = (groups == "A").to_numpy() & (scores["label"] == 1).to_numpy()
    called = (scores["score"] >= 0.5).to_numpy()
    assert first.value == clustered_proportion_interval(called[members], scores["patient_id"].to_numpy()[members])
