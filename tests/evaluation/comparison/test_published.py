"""The reference experiments rebuilt from counts: published and reconstructed numbers, recomputed here."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from chexkeras.evaluation.comparison.paired_tests import mcnemar
from chexkeras.evaluation.comparison.published import (
    CAUTION,
    PNEUMONIA_PROJECT,
    compare_all_published,
    compare_published,
    published_auc,
    published_table,
)
from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.rates import rates_from_counts
from chexkeras.evaluation.uncertainty.delong import auc_covariance
from chexkeras.evaluation.uncertainty.limits import correlation_needed, hanley_mcneil_error

ONE_A, ONE_B, TWO_A, TWO_B = PNEUMONIA_PROJECT


def test_hanley_and_mcneils_own_example():
    # Radiology 143, 1982, table I: 58 normal and 51 abnormal scans rated 1 to 5; area .893, error .032 as printed.
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    ratings = np.concatenate([np.repeat(range(5), normal), np.repeat(range(5), abnormal)]).astype(float)
    positive = np.arange(109) >= 58
    area = auc(positive, ratings)
    assert area == pytest.approx(0.8932, abs=5e-5)
    assert hanley_mcneil_error(area, 51, 58) == pytest.approx(0.0325, abs=5e-5)
    assert np.sqrt(auc_covariance(positive, ratings)[1][0, 0]) == pytest.approx(0.0307, abs=5e-5)


def test_the_error_comes_near_to_delongs_under_the_model_it_assumes():
    # Negative exponential scores: the chance that a positive beats a negative is 3 / (3 + 1).
    rng = np.random.default_rng(0)
    positive = np.arange(2000) < 400
    errors = []
    for _ in range(20):
        scores = rng.exponential(np.where(positive, 3.0, 1.0))
        areas, covariance = auc_covariance(positive, scores)
        errors.append(np.sqrt(covariance[0, 0]) / hanley_mcneil_error(float(areas[0]), 400, 1600))
    assert np.mean(errors) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("result", "sensitivity", "specificity"),
    [
        # Clopper-Pearson limits computed once by another program from the same counts.
        (ONE_A, (0.847, 0.7926, 0.8915), (0.355, 0.3478, 0.3627)),
        (ONE_B, (0.203, 0.1519, 0.2617), (0.920, 0.9158, 0.9242)),
        (TWO_A, (0.401, 0.3359, 0.4686), (0.844, 0.8378, 0.8491)),
        (TWO_B, (0.550, 0.4816, 0.6162), (0.700, 0.6930, 0.7071)),
    ],
)
def test_the_counts_give_the_published_rates(result, sensitivity, specificity):
    assert (result.n_positive, result.n_negative) == (222, 16148)
    found = rates_from_counts(
        result.true_positives, result.false_negatives, result.false_positives, result.true_negatives
    )
    for estimate, (value, low, high) in ((found.sensitivity, sensitivity), (found.specificity, specificity)):
        assert estimate.value == pytest.approx(value, abs=5e-4)
        assert (estimate.low, estimate.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_only_222_positives_fit_the_four_recalls():
    # Recall as printed to four digits by the counts here; no other number of positives has four whole counts for them.
    recalls = [round(result.true_positives / 222, 4) for result in PNEUMONIA_PROJECT]
    fitting = [
        n
        for n in range(200, 250)
        if all(any(round(hits / n, 4) == recall for hits in range(n + 1)) for recall in recalls)
    ]
    assert fitting == [222]


def test_the_table_prints_intervals_and_the_f1_that_needs_no_model():
    table = published_table()
    row = table.set_index("experiment").loc["2A"]
    low, high = proportion_confint(89, 89 + 2527, method="beta")
    assert row["PPV"] == f"{89 / 2616:.3f} (95 % CI {low:.3f}-{high:.3f})"
    assert row["F1"].startswith("0.063 (95 % CI")
    assert set(table["F1 of calling everything positive"]) == {"0.027"}
    assert list(table["AUC as printed"]) == ["0.6641 to 0.6736"] * 2 + ["0.6736", "0.6715"]
    assert table["AUC"][0] == "not estimable: 1A: known only to lie within 0.6641 to 0.6736"
    assert table.attrs["cautions"] == (CAUTION,)
    assert "counts reconstructed" in row["source"]
    pd.testing.assert_frame_equal(published_table([TWO_A]).reset_index(drop=True), table[2:3].reset_index(drop=True))


def test_each_auc_is_known_to_four_hundredths_only():
    estimate = published_auc(TWO_A)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(0.039, abs=1e-3)
    assert hanley_mcneil_error(0.6736, 222, 16148) == pytest.approx(0.0200, abs=1e-4)


def test_2a_and_2b_are_not_distinguishable_by_auc():
    made = compare_published(TWO_A, TWO_B)
    assert made.verdict == "not distinguishable"
    assert made.difference.value == pytest.approx(0.0021)
    assert made.difference.low < -0.05 < 0.05 < made.difference.high
    assert "needs a correlation above 0.9986" in made.method
    assert CAUTION in made.method


def test_at_the_correlation_needed_the_difference_is_just_significant():
    needed = correlation_needed(0.6736, 0.6715, 222, 16148)
    assert needed > 0.9985
    errors = [hanley_mcneil_error(area, 222, 16148) for area in (0.6736, 0.6715)]
    variance = errors[0] ** 2 + errors[1] ** 2 - 2 * needed * errors[0] * errors[1]
    assert 2 * stats.norm.sf(0.0021 / np.sqrt(variance)) == pytest.approx(0.05)
    assert correlation_needed(0.7, 0.7, 50, 50) == pytest.approx(1)
    assert correlation_needed(0.95, 0.6, 500, 500) < 0


def test_an_auc_known_by_its_range_only_is_not_compared_but_bounded():
    made = compare_published(ONE_A, TWO_B)
    assert made.verdict == "not estimable"
    assert "1A: known only to lie within 0.6641 to 0.6736" in made.difference.reason
    assert made.difference.reason.endswith("even 0.6641 and 0.6715 would need a correlation above 0.9823 to differ")


def test_sensitivities_are_compared_in_the_least_favourable_pairing():
    made = compare_published(TWO_A, TWO_B, "sensitivity")
    # 89 and 122 of 222: at most all 89 and all 122 are different images, since 89 + 122 <= 222.
    expected, p_value = mcnemar(89, 122, 222)
    assert (made.difference.low, made.difference.high, made.p_value) == (expected.low, expected.high, p_value)
    for agreed in range(90):
        assert mcnemar(89 - agreed, 122 - agreed, 222)[1] <= p_value
    assert "specificity is 0.844 against 0.700: a trade-off between the two, not a better model" in made.method
    crowded = compare_published(ONE_A, TWO_B, "sensitivity")
    assert crowded.p_value == mcnemar(188 - 88, 122 - 88, 222)[1]


def test_all_pairs_are_corrected_together():
    made = compare_all_published()
    assert len(made) == 18
    by_name = {(entry.statistic, entry.first, entry.second): entry for entry in made}
    assert by_name["AUROC", "2A", "2B"].verdict == "not distinguishable"
    assert by_name["specificity", "2A", "2B"].verdict == "better"
    assert by_name["sensitivity", "1A", "2A"].verdict == "better"
    close = by_name["sensitivity", "2A", "2B"]
    assert close.p_value < 0.05 < close.p_adjusted
    assert close.verdict == "not distinguishable"
    assert "Holm's correction" in str(close) and f"p = {close.p_adjusted:.2g}" in str(close)
    assert "Holm" not in str(by_name["AUROC", "2A", "2B"])


def test_what_does_not_compare_is_refused():
    with pytest.raises(ValueError, match="F1 changes with the prevalence"):
        compare_published(TWO_A, TWO_B, "F1")
    with pytest.raises(ValueError, match="did you mean 'AUROC'"):
        compare_published(TWO_A, TWO_B, "AUC")
    with pytest.raises(ValueError, match="measured on different images"):
        compare_published(TWO_A, dataclasses.replace(TWO_B, part="test"))
    with pytest.raises(ValueError, match="must ascend within"):
        dataclasses.replace(TWO_A, auc_range=(0.7, 0.6))
    with pytest.raises(ValueError, match="0 positives and 16148 negatives"):
        dataclasses.replace(TWO_A, true_positives=0, false_negatives=0)
