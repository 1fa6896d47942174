"""Cross-validated numbers against values by hand, slow implementations and other functions of the package."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats

import chexkeras as cx
from chexkeras.evaluation.cross_validation.contributions import (
    areas_in_folds,
    auroc_parts,
    average_precision_parts,
    slope_parts,
)
from chexkeras.evaluation.cross_validation.fold_scores import FoldScores
from chexkeras.evaluation.uncertainty.intervals import auc_variance, clustered_proportion_interval
from chexkeras.results import CrossValidated
from tests.evaluation.cross_validation.made_folds import out_of_fold


def slow_area(rows):
    pairs = itertools.product(rows["score"][rows["label"] == 1], rows["score"][rows["label"] == 0])
    won = [1.0 if high > low else 0.5 if high == low else 0.0 for high, low in pairs]
    return sum(won) / len(won)


def finding_of(table):
    return next(iter(FoldScores.of(table).findings.values()))


class TestAuroc:
    def test_it_is_the_mean_of_areas_within_folds_and_not_the_area_over_all(self):
        table = pd.DataFrame({
            "image_id": list("abcdefgh"), "patient_id": list("abcdefgh"), "finding": "Mass",
            "label": [1.0, 0, 1, 0, 1, 0, 0, 0], "score": [0.9, 0.8, 0.7, 0.75, 0.3, 0.1, 0.2, 0.35],
            "repeat": 1, "fold": [1, 1, 1, 1, 2, 2, 2, 2], "seed": 0, "threshold": 0.5,
        })  # fmt: skip
        areas, _ = areas_in_folds(finding_of(table))
        # Fold 1: .9 beats .8 and .75, .7 beats none. Fold 2: .3 beats .1 and .2, not .35.
        assert areas.tolist() == [[[0.5, pytest.approx(2 / 3)]]]
        assert cx.evaluation.evaluate_folds(table).findings[0].folds[1].auroc == pytest.approx(2 / 3)
        part, _ = auroc_parts(finding_of(table), np.arange(8), 8)
        assert part.area == pytest.approx((0.5 + 2 / 3) / 2)
        assert slow_area(table) != pytest.approx(part.area, abs=0.05)

    def test_it_agrees_with_counting_pairs_in_every_fold_repeat_and_seed(self):
        table = out_of_fold(repeats=2, seeds=2)
        slow = [slow_area(rows) for _, rows in table.groupby(["repeat", "seed", "fold"])]
        assert cx.evaluation.evaluate_folds(table)["Mass"].auroc.value == pytest.approx(np.mean(slow), abs=1e-12)

    def test_with_large_folds_its_variance_is_that_of_delong_over_the_folds(self):
        table = out_of_fold(patients=4000, folds=4, images=1)
        scores = finding_of(table)
        part, _ = auroc_parts(scores, scores.owner, 4000)
        of_folds = [auc_variance(rows["label"], rows["score"])[1] for _, rows in table.groupby("fold")]
        assert part.variance == pytest.approx(np.sum(of_folds) / 16, rel=0.02)

    def test_repeats_and_seeds_of_the_same_scores_add_no_information(self):
        once = out_of_fold(noise=0.0)
        again = pd.concat([once.assign(repeat=repeat, seed=seed) for repeat in (1, 2) for seed in (0, 1)])
        one, many = (cx.evaluation.evaluate_folds(table)["Mass"] for table in (once, again))
        for name in ("auroc", "average_precision", "sensitivity", "specificity", "slope", "intercept", "brier"):
            assert getattr(many, name).low == pytest.approx(getattr(one, name).low, abs=1e-9), name
        assert many.spread.seeds.value == many.spread.repeats.value == 0.0

    def test_monotone_scores_of_each_fold_change_nothing_of_it(self):
        table = out_of_fold()
        moved = table.assign(score=np.where(table["fold"] == 2, table["score"] / 2, table["score"]))
        one, other = (cx.evaluation.evaluate_folds(each)["Mass"] for each in (table, moved))
        assert one.auroc == other.auroc
        assert one.brier != other.brier

    def test_a_fold_whose_logits_are_shifted_and_stretched_has_the_same_average_precision(self):
        table = out_of_fold()
        odds = special.logit(table["score"]) * 1.7 - 0.8
        moved = table.assign(score=np.where(table["fold"] == 2, special.expit(odds), table["score"]))
        one, other = (cx.evaluation.evaluate_folds(each)["Mass"] for each in (table, moved))
        assert one.average_precision.value == pytest.approx(other.average_precision.value, abs=1e-12)
        assert one.average_precision.low == pytest.approx(other.average_precision.low, abs=1e-12)

    def test_the_average_precision_of_a_good_model_is_not_told_as_too_low(self):
        # Ranks within folds of 13 negatives would give 0.50 here, pooled scores of other scales 0.56.
        rng, found, truth = np.random.default_rng(0), [], 0.665
        for _ in range(60):
            label = np.repeat([1.0, 0.0], [15, 135])
            fold = np.concatenate([rng.permutation(15) % 10, rng.permutation(135) % 10])
            odds = rng.normal(2 * label) * rng.uniform(0.5, 2, 10)[fold] + rng.normal(0, 1, 10)[fold]
            names = [f"{number:03}" for number in range(150)]
            table = pd.DataFrame(
                {"image_id": names, "patient_id": names, "finding": "Mass", "label": label, "repeat": 1, "seed": 0,
                 "score": special.expit(odds), "fold": fold + 1, "threshold": 0.5}
            )  # fmt: skip
            found.append(average_precision_parts(finding_of(table)).value)
        assert np.mean(found) == pytest.approx(truth, abs=0.05)

    def test_a_positive_in_each_fold_still_has_an_interval_of_some_length(self):
        table = out_of_fold(patients=80, folds=4, images=1)
        first = table[table["label"] == 1].groupby("fold")["image_id"].first()
        few = table.assign(label=table["image_id"].isin(first).astype(float))
        found = cx.evaluation.evaluate_folds(few)["Mass"].auroc
        assert found.high - found.low > 0.25
        assert "worth 4 images" in found.caution

    def test_the_mean_over_findings_is_narrower_than_each(self):
        result = cx.evaluation.evaluate_folds(out_of_fold(findings=("Mass", "Edema", "Nodule")))
        for name in ("auroc", "average_precision", "sensitivity", "specificity"):
            mean, each = getattr(result, name), [getattr(entry, name) for entry in result.findings]
            assert mean.value == pytest.approx(np.mean([one.value for one in each]))
            assert mean.high - mean.low < min(one.high - one.low for one in each)


class TestOthers:
    def test_average_precision_follows_from_ranks_of_folds_on_one_scale(self):
        table = out_of_fold(patients=30, folds=3)
        rows = finding_of(table)
        prevalence, scaled = table["label"].mean(), []
        for _, fold in table.groupby("fold"):
            odds = special.logit(fold["score"])
            low = odds[fold["label"] == 0]
            placed = (odds - low.mean()) / low.std()
            for image in low.index:
                others = low.drop(image)
                placed[image] = (placed[image] + (low[image] - others.mean()) / others.std()) / 2
            scaled.append(placed)
        scaled = pd.concat(scaled)
        low = scaled[table["label"] == 0]
        rates = [((low > x).sum() + 1 / 3) / (len(low) + 2 / 3) for x in scaled[table["label"] == 1]]
        rates = np.array(rates)
        # Between the share below and the share not above: half of itself counts.
        true = np.array([((rates < x).sum() + (rates <= x).sum() + 1) / 2 / len(rates) for x in rates])
        slow = np.mean(prevalence * true / (prevalence * true + (1 - prevalence) * rates))
        assert average_precision_parts(rows).value == pytest.approx(slow, abs=1e-12)

    def test_contributions_to_the_average_precision_are_those_of_a_jackknife(self):
        table = out_of_fold(patients=300, folds=3, images=1, seed=3)
        part, left = average_precision_parts(finding_of(table)), []
        images = sorted(table["image_id"])
        chosen = images[::7]
        for image in chosen:
            rest = finding_of(table[table["image_id"] != image])
            left.append(average_precision_parts(rest).value)
        at = [images.index(image) for image in chosen]
        positive = finding_of(table).positive[at]
        for rows in (positive, ~positive):
            jackknife, own = (np.array(x)[rows] for x in (part.value - np.array(left), part.of_images[at]))
            # The step at a false-positive rate of next to nothing is steeper than its slope.
            assert np.corrcoef(jackknife, own)[0, 1] > 0.97
            assert 0.8 < own.std() / jackknife.std() < 1.05

    def test_rates_of_one_training_are_those_of_plain_calls(self):
        table = out_of_fold()
        table["threshold"] = 0.3 + 0.05 * table["fold"]
        result = cx.evaluation.evaluate_folds(table)["Mass"]
        called = table["score"] >= table["threshold"]
        for found, among, right in (
            (result.sensitivity, table["label"] == 1, called),
            (result.specificity, table["label"] == 0, ~called),
        ):
            plain = clustered_proportion_interval(right[among].astype(float), table["patient_id"][among])
            assert (found.value, found.low, found.high) == pytest.approx(
                (plain.value, plain.low, plain.high), abs=1e-12
            )

    def test_slope_and_intercept_maximise_the_likelihood(self):
        table = out_of_fold(patients=90, folds=3)
        rows = table.sort_values("image_id")
        odds, label, fold = special.logit(rows["score"].to_numpy()), rows["label"].to_numpy(), rows["fold"].to_numpy()

        def loss(line):
            fitted = line[fold - 1] + line[3] * odds
            return np.logaddexp(0, fitted).sum() - label @ fitted

        best = optimize.minimize(loss, np.array([0.0, 0.0, 0.0, 1.0]), tol=1e-12).x
        result = cx.evaluation.evaluate_folds(table)["Mass"]
        assert result.slope.value == pytest.approx(best[3], abs=1e-4)
        assert result.brier.value == pytest.approx(((rows["score"] - rows["label"]) ** 2).mean(), abs=1e-12)
        assert special.expit(odds + result.intercept.value).mean() == pytest.approx(label.mean(), abs=1e-9)

    def test_a_slope_that_no_finite_line_fits_is_none(self):
        table = out_of_fold(patients=12, folds=2)
        table["score"] = np.where(table["label"] == 1, 0.9, 0.1) + 0.01 * (table.index % 5)
        assert math.isnan(slope_parts(finding_of(table)).value)
        assert "no finite line" in cx.evaluation.evaluate_folds(table)["Mass"].slope.reason

    def test_a_fold_without_threshold_is_named(self):
        table = out_of_fold()
        table.loc[table["fold"] == 3, "threshold"] = math.nan
        result = cx.evaluation.evaluate_folds(table)["Mass"]
        assert result.sensitivity.reason == "no threshold was chosen in 1 of 5 fold(s), first fold 3"
        assert result.auroc.estimable


class TestSpread:
    def test_seeds_and_repeats_have_chi_squared_limits(self):
        table = out_of_fold(repeats=2, seeds=4)
        result = cx.evaluation.evaluate_folds(table)["Mass"]
        areas = np.array([[slow_area(rows) for _, rows in group.groupby("fold")]
                          for _, group in table.groupby(["repeat", "seed"])]).reshape(2, 4, 5)  # fmt: skip
        variance = areas.mean(axis=2).var(axis=1, ddof=1).mean()
        seeds = result.spread.seeds
        assert seeds.value == pytest.approx(math.sqrt(variance))
        assert seeds.low == pytest.approx(math.sqrt(6 * variance / stats.chi2.ppf(0.975, 6)))
        assert seeds.high == pytest.approx(math.sqrt(6 * variance / stats.chi2.ppf(0.025, 6)))
        assert result.spread.repeats.value == pytest.approx(areas.mean(axis=(1, 2)).std(ddof=1))
        assert result.spread.folds == pytest.approx(math.sqrt(areas.mean(axis=1).var(axis=1, ddof=1).mean()))
        assert "two trainings that differ in nothing but their seed" in " ".join(str(result).split())

    def test_with_one_seed_and_one_division_nothing_is_said_of_them(self):
        spread = cx.evaluation.evaluate_folds(out_of_fold())["Mass"].spread
        assert not spread.seeds.estimable
        assert not spread.repeats.estimable
        assert spread.folds > 0


class TestResult:
    def test_it_is_the_same_after_json_and_whatever_the_order_of_rows(self):
        table = out_of_fold(repeats=2, seeds=2, findings=("Mass", "Edema"))
        result = cx.evaluation.evaluate_folds(table, cautions=["Synthetic images."])
        again = CrossValidated.from_dict(json.loads(json.dumps(result.to_dict())))
        assert str(again) == str(result)
        mixed = cx.evaluation.evaluate_folds(table.sample(frac=1, random_state=0), cautions=["Synthetic images."])
        assert {entry.finding: str(entry) for entry in mixed.findings} == {e.finding: str(e) for e in result.findings}
        assert mixed.scores_fingerprint == result.scores_fingerprint

    def test_it_prints_in_80_columns_with_its_cautions_first(self):
        for findings in (("Mass",), tuple(cx.NIH14)):
            text = str(cx.evaluation.evaluate_folds(out_of_fold(findings=findings), cautions=["Synthetic images."]))
            assert max(map(len, text.splitlines())) <= 80
            assert text.startswith("Caution: Synthetic images.")
            assert "A model that is" in text

    def test_a_notebook_shows_markup_as_text(self):
        result = cx.evaluation.evaluate_folds(out_of_fold(), cautions=["<script>"])
        assert "<script>" not in result._repr_html_()
        assert "&lt;script&gt;" in result._repr_html_()

    def test_an_unknown_finding_is_told(self):
        with pytest.raises(KeyError, match="was not cross-validated; did you mean 'Mass'"):
            cx.evaluation.evaluate_folds(out_of_fold())["Mas"]


class TestRefusals:
    def test_patients_in_two_folds_are_named(self):
        table = out_of_fold()
        table.loc[table["image_id"] == "i0007", "fold"] = 1 + table["fold"][7] % 5
        with pytest.raises(
            ValueError, match=r"1 patient\(s\) are in two folds of a repeat.*: p003 \(first in repeat 1\)"
        ):
            cx.evaluation.evaluate_folds(table)

    def test_a_missing_row_is_told_with_its_training(self):
        table = out_of_fold(repeats=2, seeds=2).drop(index=130)
        with pytest.raises(ValueError, match=r"Mass: repeat 1, seed 1 scores 119 of 120 images"):
            cx.evaluation.evaluate_folds(table)

    def test_a_repeat_without_a_seed_is_told(self):
        table = out_of_fold(repeats=2, seeds=2)
        with pytest.raises(ValueError, match=r"repeat 2 has no rows of seed 1"):
            cx.evaluation.evaluate_folds(table[(table["repeat"] == 1) | (table["seed"] == 0)])

    def test_other_folds_with_another_seed_are_refused(self):
        table = out_of_fold(seeds=2)
        swapped = table["fold"].map({1: 2, 2: 1}).fillna(table["fold"])
        table["fold"] = np.where(table["seed"] == 1, swapped, table["fold"])
        with pytest.raises(ValueError, match="in two folds of a repeat"):
            cx.evaluation.evaluate_folds(table)

    def test_labels_that_differ_between_seeds_are_refused(self):
        table = out_of_fold(seeds=2)
        table.loc[125, "label"] = 1 - table["label"][125]
        with pytest.raises(ValueError, match=r"1 image\(s\) have other labels in another repeat or seed, first i0005"):
            cx.evaluation.evaluate_folds(table)

    def test_one_class_in_a_fold_is_a_reason_and_no_error(self):
        table = out_of_fold()
        table.loc[table["fold"] == 4, "label"] = 0.0
        result = cx.evaluation.evaluate_folds(table)
        assert "fold 4 has no positives" in result["Mass"].auroc.reason
        assert not result.auroc.estimable
        assert result["Mass"].sensitivity.estimable

    @pytest.mark.parametrize(
        ("column", "value", "said"),
        [
            ("fold", 1.5, "the fold column .* holds 1.5; whole numbers"),
            ("seed", -1, "the seed column .* holds -1"),
            ("threshold", 2.0, "thresholds lie between 0 and 1"),
            ("score", 3.0, "repeat 1, seed 0: .*look like logits"),
            ("label", 0.5, "repeat 1, seed 0: .*labels must be 1, 0 or NaN"),
        ],
    )
    def test_values_out_of_range_are_told(self, column, value, said):
        table = out_of_fold()
        table[column] = table[column].astype(float)
        table.loc[0, column] = value
        with pytest.raises(ValueError, match=said):
            cx.evaluation.evaluate_folds(table)

    def test_several_thresholds_in_a_fold_are_told(self):
        table = out_of_fold()
        table.loc[0, "threshold"] = 0.7
        with pytest.raises(ValueError, match=rf"fold {table['fold'][0]} of repeat 1 has several thresholds"):
            cx.evaluation.evaluate_folds(table)

    def test_one_fold_is_no_cross_validation(self):
        with pytest.raises(ValueError, match="has one fold only"):
            cx.evaluation.evaluate_folds(out_of_fold().assign(fold=1))

    def test_repeats_with_other_numbers_of_folds_are_refused(self):
        table = out_of_fold(repeats=2)
        table.loc[table["repeat"] == 2, "fold"] = table["fold"] % 4
        with pytest.raises(ValueError, match="repeats have 4 and 5 folds"):
            cx.evaluation.evaluate_folds(table)

    def test_unknown_labels_do_not_count(self):
        table = out_of_fold()
        unknown = table["image_id"].isin(["i0001", "i0044"])
        result = cx.evaluation.evaluate_folds(table.assign(label=table["label"].mask(unknown)))
        assert result["Mass"].n_images == 118
        assert result.n_images == 120


def test_a_table_is_read_as_it_was_written(tmp_path):
    from chexkeras import files

    table = out_of_fold(seeds=2)
    table["threshold"] = table["threshold"].mask(table["fold"] == 2)
    files.write_csv(tmp_path / "out_of_fold.csv", table)
    read = cx.evaluation.read_out_of_fold(tmp_path)
    assert json.dumps(cx.evaluation.evaluate_folds(read).to_dict()) == json.dumps(
        cx.evaluation.evaluate_folds(table).to_dict()
    )
    (tmp_path / "out_of_fold.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"out_of_fold.csv lacks the column"):
        cx.evaluation.read_out_of_fold(tmp_path)
