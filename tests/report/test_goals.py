import pytest

from chexkeras.report.goals import MET, NOT_ESTIMABLE, NOT_MET, PerformanceGoals, judge, overall
from chexkeras.results import Estimate


@pytest.mark.parametrize(
    ("value", "low", "high", "word", "reason"),
    [
        (0.90, 0.801, 0.95, MET, "lower limit 0.801 lies above"),
        (0.90, 0.800, 0.95, NOT_MET, "not shown with this many images"),
        (0.80, 0.700, 0.90, NOT_MET, "estimate 0.800 itself does not"),
        (0.50, 0.400, 0.60, NOT_MET, "even the upper limit 0.600"),
    ],
)
def test_the_lower_limit_decides(value, low, high, word, reason):
    verdict = judge(Estimate(value, low, high, n=100), 0.8)
    assert verdict.word == word
    assert reason in verdict.reason


def test_what_cannot_be_estimated_is_neither_met_nor_missed():
    assert judge(Estimate.not_estimable("no positives"), 0.8).word == NOT_ESTIMABLE
    assert judge(Estimate.not_estimable("no positives"), 0.8).reason == "no positives"


def test_an_invalid_measurement_meets_nothing_however_good():
    assert judge(Estimate(1.0, 0.99, 1.0, n=1000), 0.8, invalid="leaky").word == NOT_ESTIMABLE


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([MET, MET], MET),
        ([MET, NOT_MET], NOT_MET),
        ([NOT_ESTIMABLE, NOT_MET], NOT_MET),
        ([MET, NOT_ESTIMABLE], NOT_ESTIMABLE),
        ([], NOT_ESTIMABLE),
    ],
)
def test_all_goals_must_be_met(words, expected):
    assert overall(words) == expected


def test_a_goal_outside_the_open_unit_interval_is_refused():
    with pytest.raises(ValueError, match="specificity_above"):
        PerformanceGoals(specificity_above=80)
