"""Two recipes on the same folds: the tests by hand, the verdicts, and what is refused."""

import json
import math

import numpy as np
import pytest
from scipy import stats

import chexkeras as cx
from chexkeras.evaluation.cross_validation.compare_folds import corrected_resampled_t
from chexkeras.results import FoldComparison
from tests.evaluation.cross_validation.made_folds import out_of_fold


def test_the_corrected_resampled_t_is_that_of_nadeau_and_bengio():
    differences = np.array([0.02, 0.05, -0.01, 0.03, 0.04])
    found, p_value = corrected_resampled_t(differences.reshape(1, 1, 5), 0.95)
    error = math.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1))
    assert found.value == pytest.approx(0.026)
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert p_value == pytest.approx(2 * stats.t.sf(0.026 / error, 4))


def test_seeds_are_averaged_before_folds_are_counted():
    differences = np.random.default_rng(0).normal(0.02, 0.03, (2, 3, 5))
    found, _ = corrected_resampled_t(differences, 0.95)
    of_models = differences.mean(axis=1).ravel()
    error = math.sqrt((1 / 10 + 1 / 4) * of_models.var(ddof=1))
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 9) * error)


def test_a_clearly_better_recipe_is_better_whichever_comes_first():
    good, poor = out_of_fold(signal=3.0, seeds=2, repeats=2), out_of_fold(signal=0.5, seeds=2, repeats=2, of=1)
    one, other = cx.evaluation.compare_folds(good, poor)[0], cx.evaluation.compare_folds(poor, good)[0]
    assert one.verdict == "A is better than B"
    assert other.verdict == "B is better than A"
    assert one.comparison.difference.low == pytest.approx(-other.comparison.difference.high)
    assert one.comparison.p_value == pytest.approx(other.comparison.p_value)


def test_what_is_reported_is_the_more_cautious_of_both():
    tables = out_of_fold(repeats=2), out_of_fold(repeats=2, of=1)
    found = cx.evaluation.compare_folds(*tables)[0]
    widths = [each.high - each.low for each in (found.resampled, found.influence)]
    reported = found.comparison.difference
    assert reported.high - reported.low == max(widths)
    assert found.comparison.p_value == max(found.p_resampled, found.p_influence)


def test_equal_recipes_were_not_shown_to_differ():
    table = out_of_fold(seeds=2)
    found = cx.evaluation.compare_folds(table, table, names=("one", "two"))[0]
    assert found.verdict == "one and two were not shown to differ"
    assert found.comparison.p_value == 1.0


def test_a_margin_is_judged_by_the_interval():
    table, nearly = out_of_fold(patients=300, noise=0.02), out_of_fold(patients=300, noise=0.02, of=1)
    found = cx.evaluation.compare_folds(table, nearly, margin=0.05)[0]
    assert found.comparison.non_inferior is True
    assert "that A is at most 0.05 worse is shown" in found.verdict


def test_the_luck_of_the_seed_is_told_beside_the_difference():
    one = cx.evaluation.compare_folds(out_of_fold(seeds=3, noise=1.0), out_of_fold(seeds=3, noise=1.0, of=1))[0]
    assert "with one seed" in one.luck
    assert "with these 3" in one.luck
    alone = cx.evaluation.compare_folds(out_of_fold(), out_of_fold(of=1))[0]
    assert alone.luck == "with one seed nothing tells what part of the difference is luck of the seed"


def test_several_findings_are_corrected_and_their_mean_comes_last():
    findings = ("Mass", "Edema", "Nodule")
    tables = out_of_fold(findings=findings, signal=1.6), out_of_fold(findings=findings, of=1)
    found = cx.evaluation.compare_folds(*tables)
    assert [each.comparison.finding for each in found] == [*findings, ""]
    assert max(each.comparison.p_adjusted / each.comparison.p_value for each in found[:3]) > 1
    values = [each.comparison.difference.value for each in found]
    assert values[3] == pytest.approx(np.mean(values[:3]))
    assert str(found[3]).startswith("mean of the findings")


def test_it_is_the_same_after_json():
    found = cx.evaluation.compare_folds(out_of_fold(), out_of_fold(of=1))[0]
    assert str(FoldComparison.from_dict(json.loads(json.dumps(found.to_dict())))) == str(found)
    assert max(map(len, str(found).splitlines())) <= 80


def test_a_finding_with_one_class_in_a_fold_cannot_be_compared():
    table = out_of_fold(findings=("Mass", "Edema"))
    table.loc[(table["fold"] == 2) & (table["finding"] == "Edema"), "label"] = 0.0
    found = cx.evaluation.compare_folds(table, table)
    assert found[-1].comparison.finding == "Edema"
    assert "cannot be compared" in found[-1].verdict


class TestRefusals:
    def test_other_folds_are_refused(self):
        table = out_of_fold()
        with pytest.raises(ValueError, match=r"Mass: folds of 120 image\(s\) differ between A and B"):
            cx.evaluation.compare_folds(table, table.assign(fold=table["fold"] % 5 + 1))

    def test_other_seeds_are_refused(self):
        with pytest.raises(ValueError, match=r"A has seeds \(0,\) and B \(0, 1\)"):
            cx.evaluation.compare_folds(out_of_fold(), out_of_fold(seeds=2))

    def test_other_images_are_refused(self):
        table = out_of_fold()
        with pytest.raises(ValueError, match=r"1 image\(s\) have a label and scores in one table only, first i0000"):
            cx.evaluation.compare_folds(table, table[table["image_id"] != "i0000"])

    def test_other_labels_are_refused(self):
        table = out_of_fold()
        other = table.assign(label=np.where(table["image_id"] == "i0003", 1 - table["label"], table["label"]))
        with pytest.raises(ValueError, match=r"labels of 1 image\(s\) differ between A and B, first i0003"):
            cx.evaluation.compare_folds(table, other)

    def test_no_common_finding_is_told(self):
        with pytest.raises(ValueError, match="no finding in common: A has Mass and B has Edema"):
            cx.evaluation.compare_folds(out_of_fold(), out_of_fold(findings=("Edema",)))

    def test_which_table_is_wrong_is_told(self):
        with pytest.raises(ValueError, match=r"^second: .*has one fold only"):
            cx.evaluation.compare_folds(out_of_fold(), out_of_fold().assign(fold=1), names=("first", "second"))

    def test_equal_names_are_refused(self):
        with pytest.raises(ValueError, match="two different names"):
            cx.evaluation.compare_folds(out_of_fold(), out_of_fold(), names=("A", "A"))
