import numpy as np
import pytest

from chexkeras import plots
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.thresholds import choose_threshold


@pytest.fixture
def point(scores):
    return choose_threshold(scores, rule="sensitivity", target=0.75)


def _step_at(line, threshold):
    """The height of a curve drawn with where="pre" at a threshold."""
    return line.get_ydata()[np.searchsorted(line.get_xdata(), threshold, side="left")]


def test_the_curves_give_sensitivity_and_specificity_counted_by_hand(scores, point):
    ax = plots.threshold_tradeoff(scores, point)
    lines = {str(line.get_label()).split(",")[0]: line for line in ax.lines}
    for threshold in (0.05, 0.3, 0.55, 0.6, 0.65, 0.9):
        called = scores["score"] >= threshold
        positive = scores["label"] == 1
        assert _step_at(lines["sensitivity"], threshold) == pytest.approx((called & positive).sum() / 4)
        assert _step_at(lines["specificity"], threshold) == pytest.approx((~called & ~positive).sum() / 6)


def test_the_chosen_threshold_and_its_rule_are_marked(scores, point):
    ax = plots.threshold_tradeoff(scores, point)
    chosen = next(line for line in ax.lines if str(line.get_label()).startswith("chosen"))
    assert set(chosen.get_xdata()) == {0.6}
    assert "rule sensitivity, target 0.75" in chosen.get_label()
    assert "(validation)" in ax.get_title(loc="left")
    assert any("sensitivity there 0.750 (95 % CI" in text.get_text() for text in ax.get_legend().get_texts())


def test_without_a_point_the_curves_stand_alone(scores):
    ax = plots.threshold_tradeoff(scores)
    assert len(ax.lines) == 2


def test_the_confusion_matrix_holds_the_four_counts_and_their_names(scores, point):
    held_out = scores.assign(score=scores["score"] - 0.01)
    ax = plots.confusion_matrix(evaluate(held_out, point))
    texts = [text.get_text() for text in ax.texts]
    assert [text.split("\n")[:2] for text in texts] == [
        ["2", "true positive"],
        ["2", "false negative"],
        ["1", "false positive"],
        ["5", "true negative"],
    ]
    assert np.asarray(ax.images[0].get_array())[0, 0] == pytest.approx(0.5)
    assert "n = 4" in ax.get_yticklabels()[0].get_text()


def test_without_a_threshold_there_is_no_matrix(scores):
    ax = plots.confusion_matrix(evaluate(scores))
    assert "no threshold was chosen" in [text.get_text() for text in ax.texts]


def test_each_class_of_the_histogram_sums_to_a_hundred_percent(scores, point):
    ax = plots.score_histogram(scores, point)
    negative, positive = ax.containers
    assert sum(bar.get_height() for bar in negative) == pytest.approx(100)
    assert sum(bar.get_height() for bar in positive) == pytest.approx(100)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["negative, n = 6", "positive, n = 4", "threshold 0.6"]


@pytest.mark.parametrize("draw", [plots.threshold_tradeoff, plots.score_histogram])
def test_the_note_stands_on_the_figure(draw, scores):
    assert "Synthetic." in [text.get_text() for text in draw(scores, note="Synthetic.").texts]
