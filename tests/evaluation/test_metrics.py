"""Discrimination metrics: by hand on ten rows, against slow definitions, and by their properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chexkeras.evaluation import metrics

# Ten images by hand: one tie across the classes at 0.6. Of 4 x 6 pairs, 19 are ranked rightly and one is tied.
LABELS = [1, 1, 0, 1, 0, 0, 1, 0, 0, 0]
SCORES = [0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]

quick = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def ranked(draw):
    """Labels with both classes, and scores on a coarse grid so that ties are common."""
    n = draw(st.integers(2, 40))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1)))
    labels[0], labels[1] = 0, 1
    scores = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 12))) / 12
    return labels, scores


def pair_counting_auc(labels, scores):
    won = [
        (p > n) + 0.5 * (p == n)
        for p, is_positive in zip(scores, labels, strict=True)
        if is_positive
        for n, other in zip(scores, labels, strict=True)
        if not other
    ]
    return sum(won) / len(won)


def test_auc_of_ten_images_by_hand():
    assert metrics.auc(LABELS, SCORES) == 19.5 / 24


def test_confusion_of_ten_images_by_hand_counts_a_score_at_the_threshold_as_positive():
    assert metrics.confusion(LABELS, SCORES, 0.6) == (3, 1, 2, 4)
    assert metrics.confusion(LABELS, SCORES, 0.6000001) == (2, 2, 1, 5)


def test_roc_curve_of_ten_images_by_hand():
    curve = metrics.roc_curve(LABELS, SCORES)
    assert (curve.false_positive_rate[0], curve.sensitivity[0]) == (0, 0)
    assert (curve.false_positive_rate[-1], curve.sensitivity[-1]) == (1, 1)
    np.testing.assert_array_equal(curve.threshold[1:], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert math.isnan(curve.threshold[0])
    np.testing.assert_allclose(curve.sensitivity[1:6], [0.25, 0.5, 0.5, 0.75, 0.75])
    np.testing.assert_allclose(curve.false_positive_rate[1:6], [0, 0, 1 / 6, 2 / 6, 3 / 6])


def test_precision_recall_of_ten_images_by_hand():
    curve = metrics.precision_recall_curve(LABELS, SCORES)
    assert (curve.precision[-1], curve.recall[-1], curve.threshold[-1]) == (1, 0.25, 0.9)
    assert (curve.precision[0], curve.recall[0], curve.threshold[0]) == (0.4, 1, 0.1)
    by_hand = 0.25 * (1 / 1 + 2 / 2 + 3 / 5 + 4 / 7)
    assert metrics.average_precision(LABELS, SCORES) == pytest.approx(by_hand, abs=1e-15)


@quick
@given(ranked())
def test_auc_equals_counting_every_pair(case):
    assert metrics.auc(*case) == pytest.approx(pair_counting_auc(*case), abs=1e-14)


@quick
@given(ranked())
def test_placements_count_the_other_class_twice_and_its_ties_once(case):
    labels, scores = case
    counted = [
        sum(
            2 * ((a > b) if label else (a < b)) + (a == b)
            for b, other in zip(scores, labels, strict=True)
            if other != label
        )
        for a, label in zip(scores, labels, strict=True)
    ]
    found = metrics.placements(labels == 1, scores)
    assert (found.tolist(), found.dtype) == (counted, np.int64)


@quick
@given(ranked())
def test_metrics_agree_with_scikit_learn(case):
    from sklearn.metrics import average_precision_score, roc_auc_score

    assert metrics.auc(*case) == pytest.approx(roc_auc_score(*case), abs=1e-12)
    assert metrics.average_precision(*case) == pytest.approx(average_precision_score(*case), abs=1e-12)


@quick
@given(ranked())
def test_auc_is_unchanged_by_a_monotone_map_and_by_row_order(case):
    labels, scores = case
    value = metrics.auc(labels, scores)
    assert metrics.auc(labels, np.exp(3 * scores) - 7) == value
    order = np.random.default_rng(0).permutation(len(labels))
    assert metrics.auc(labels[order], scores[order]) == value
    assert metrics.average_precision(labels[order], scores[order]) == metrics.average_precision(labels, scores)


@quick
@given(ranked())
def test_auc_of_the_opposite_question_is_the_complement(case):
    labels, scores = case
    assert metrics.auc(labels, scores) + metrics.auc(1 - labels, scores) == pytest.approx(1, abs=1e-14)
    assert metrics.auc(1 - labels, -scores) == pytest.approx(metrics.auc(labels, scores), abs=1e-14)


@quick
@given(ranked())
def test_trapezoids_under_the_roc_curve_give_the_auc(case):
    curve = metrics.roc_curve(*case)
    heights = (curve.sensitivity[1:] + curve.sensitivity[:-1]) / 2
    area = np.sum(heights * np.diff(curve.false_positive_rate))
    assert area == pytest.approx(metrics.auc(*case), abs=1e-12)
    assert len(curve.threshold) == len(np.unique(case[1])) + 1
    assert np.isfinite(curve.threshold[1:]).all()


def test_unknown_labels_take_their_rows_out_everywhere():
    labels, scores = [*map(float, LABELS), math.nan], [*SCORES, 0.95]
    assert metrics.auc(labels, scores) == metrics.auc(LABELS, SCORES)
    assert metrics.average_precision(labels, scores) == metrics.average_precision(LABELS, SCORES)
    assert metrics.confusion(labels, scores, 0.6) == metrics.confusion(LABELS, SCORES, 0.6)
    assert len(metrics.roc_curve(labels, scores).threshold) == 10


def test_one_class_gives_nan_for_areas_and_an_error_for_curves():
    assert math.isnan(metrics.auc([1, 1], [0.2, 0.3]))
    assert math.isnan(metrics.auc([0, math.nan], [0.2, 0.3]))
    assert math.isnan(metrics.average_precision([0, 0], [0.2, 0.3]))
    with pytest.raises(ValueError, match="no negatives: all 2 known labels are positive"):
        metrics.roc_curve([1, 1], [0.2, 0.3])
    with pytest.raises(ValueError, match="at least one positive"):
        metrics.precision_recall_curve([0, 0], [0.2, 0.3])


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([], [], "at least one row"),
        ([1, 0], [0.5], "equal length"),
        ([[1, 0]], [[0.5, 0.2]], "one finding at a time"),
        ([1, -1], [0.5, 0.2], "found -1 in 1 row"),
        ([1, 0], [0.5, math.nan], "1 of 2 scores are NaN or infinite"),
        ([1, 0], [0.5, math.inf], "diverged"),
    ],
)
def test_bad_input_is_refused_in_words(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        metrics.auc(labels, scores)


def test_logits_are_refused_where_probabilities_are_needed_only():
    assert metrics.auc([0, 1], [-3, 4]) == 1
    with pytest.raises(ValueError, match="look like logits"):
        metrics.confusion([0, 1], [-3, 4], 0.5)


def test_a_threshold_in_percent_is_refused():
    with pytest.raises(ValueError, match=r"threshold=50 must lie between 0 and 1"):
        metrics.confusion([0, 1], [0.1, 0.9], 50)
