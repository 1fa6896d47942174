"""Statistics from counts of patients: equal to copying the drawn images and asking scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from chexkeras.evaluation import metrics
from chexkeras.evaluation.uncertainty import resampling

quick = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def draws(draw):
    n = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    positive = rng.random(n) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    positive[:2] = [True, False]
    scores = rng.integers(0, draw(st.sampled_from([2, 10, 1000])), n) / 10 - 3
    owner = np.unique(rng.integers(0, draw(st.integers(1, n)), n), return_inverse=True)[1]
    return positive, scores, owner, rng.integers(0, 4, (5, owner.max() + 1))


@pytest.mark.parametrize(
    ("fast", "theirs", "needs_negatives"),
    [
        (resampling.auroc_on_counts, roc_auc_score, True),
        (resampling.average_precision_on_counts, average_precision_score, False),
    ],
)
@quick
@given(case=draws())
def test_values_on_counts_equal_scikit_learn_on_copied_images(fast, theirs, needs_negatives, case):
    positive, scores, owner, counts = case
    values = fast(positive, scores, owner)(counts)
    for row, value in zip(counts, values, strict=True):
        times = row[owner]
        if not times[positive].any() or (needs_negatives and not times[~positive].any()):
            assert np.isnan(value)
        else:
            expected = theirs(np.repeat(positive, times), np.repeat(scores, times))
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_any_function_sees_the_copied_images():
    seen = []

    def statistic(labels, scores):
        seen.append((labels.tolist(), scores.tolist()))
        return scores.sum()

    images = (np.array([True, False, True]), np.array([0.3, 0.2, 0.1]), np.array([0, 1, 0]))
    values = resampling.any_on_counts(statistic, *images)(np.array([[2, 0], [1, 3]]))
    assert seen == [
        ([1.0, 1.0, 1.0, 1.0], [0.3, 0.3, 0.1, 0.1]),
        ([1.0, 0.0, 0.0, 0.0, 1.0], [0.3, 0.2, 0.2, 0.2, 0.1]),
    ]
    assert values == pytest.approx([0.8, 1.0])


def test_counts_too_large_for_32_bits_are_still_exact():
    # One patient owns 50,000 images; drawing it for all 50,001 draws makes 2.5 thousand million images.
    rng = np.random.default_rng(3)
    positive, scores = rng.random(100_000) < 0.5, rng.integers(0, 1000, 100_000) / 1000
    owner = np.append(np.zeros(50_000, dtype=np.int64), np.arange(1, 50_001))
    counts = np.zeros((1, 50_001), dtype=np.int64)
    counts[0, 0] = 50_001
    for plain, on_counts in resampling.NAMED.values():
        drawn = on_counts(positive, scores, owner)(counts)
        assert drawn[0] == pytest.approx(plain(positive[:50_000], scores[:50_000]), rel=1e-12)


def test_statistics_are_found_by_name_by_function_or_taken_as_they_are():
    assert resampling.find_statistic("auroc") == ("auroc", metrics.auc, "auroc")
    assert resampling.find_statistic(metrics.average_precision)[2] == "average_precision"
    assert resampling.find_statistic(roc_auc_score) == ("roc auc score", roc_auc_score, "")
    assert resampling.find_statistic(lambda labels, scores: 0.0)[0] == "statistic"


@pytest.mark.parametrize(
    ("statistic", "error", "message"),
    [("aurok", ValueError, "did you mean 'auroc'"), (0.5, TypeError, "statistic is a float; expected one of auroc")],
)
def test_other_statistics_are_refused(statistic, error, message):
    with pytest.raises(error, match=message):
        resampling.find_statistic(statistic)
