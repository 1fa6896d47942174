import numpy as np
import pandas as pd
import pytest

from chexkeras import plots
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.metrics import roc_curve
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.evaluation.uncertainty.intervals import auc_interval
from chexkeras.plots import style

CAUTION = "Synthetic images, not clinical evidence."


@pytest.fixture
def evaluation(scores):
    return evaluate(scores, choose_threshold(None, rule="fixed", target=0.55, finding="Effusion"), cautions=[CAUTION])


def _labels(ax):
    return [text.get_text().replace("\n", " ") for text in ax.get_legend().get_texts()]


def test_the_roc_curve_passes_the_points_counted_by_hand(scores, evaluation):
    ax = plots.roc(scores, evaluation)
    curve = next(line for line in ax.lines if str(line.get_label()).startswith("AUROC"))
    points = set(zip(np.round(curve.get_xdata(), 6), np.round(curve.get_ydata(), 6), strict=True))
    # At 0.6: three of four positives and one of six negatives are called.
    assert (round(1 / 6, 6), 0.75) in points
    assert (0.0, 0.0) in points
    assert (1.0, 1.0) in points


def test_the_roc_legend_gives_auroc_interval_and_n(scores, evaluation):
    text = " ".join(_labels(plots.roc(scores, evaluation)))
    assert style.interval_text(evaluation["Effusion"].auroc) in text
    assert "test, n = 10 (4 positive)" in text


def test_the_operating_point_is_marked_where_it_was_measured(scores, evaluation):
    ax = plots.roc(scores, evaluation)
    (marker,) = [box for box in ax.containers if str(box.get_label()).startswith("operating point")]
    assert marker[0].get_xdata()[0] == pytest.approx(1 / 6)
    assert marker[0].get_ydata()[0] == pytest.approx(0.75)


def test_without_an_evaluation_the_interval_is_computed_with_patients(scores):
    scores["patient_id"] = [str(number // 2) for number in range(10)]
    expected = auc_interval(scores["label"], scores["score"], clusters=scores["patient_id"])
    ax = plots.roc(scores)
    assert style.interval_text(expected) in " ".join(_labels(ax))
    assert not ax.containers


@pytest.mark.parametrize("draw", [plots.roc, plots.precision_recall])
def test_the_evaluations_cautions_stand_on_the_figure(draw, scores, evaluation):
    assert CAUTION in [text.get_text() for text in draw(scores, evaluation).texts]
    assert CAUTION not in [text.get_text() for text in draw(scores, evaluation, note="").texts]


def test_precision_recall_shows_the_prevalence_as_its_baseline(scores, evaluation):
    ax = plots.precision_recall(scores, evaluation)
    base = next(line for line in ax.lines if str(line.get_label()).startswith("prevalence"))
    assert list(base.get_ydata()) == [0.4, 0.4]
    assert style.interval_text(evaluation["Effusion"].average_precision) in " ".join(_labels(ax))


@pytest.mark.parametrize("draw", [plots.roc, plots.precision_recall])
def test_one_class_gives_no_curve_but_says_why(draw, scores):
    scores["label"] = 0.0
    ax = draw(scores)
    assert "not estimable:\nno positive image" in [text.get_text() for text in ax.texts]


def test_rows_without_a_label_do_not_count(scores, evaluation):
    extra = scores.iloc[[0]].assign(image_id="x", label=np.nan, score=0.01)
    ax = plots.roc(pd.concat([scores, extra]))
    assert "n = 10 (4 positive)" in " ".join(_labels(ax))


def test_several_findings_need_a_name_and_a_wrong_name_gets_the_nearest(scores):
    both = pd.concat([scores, scores.assign(finding="Mass")])
    with pytest.raises(ValueError, match="say finding="):
        plots.roc(both)
    with pytest.raises(ValueError, match="did you mean 'Mass'"):
        plots.roc(both, finding="Mas")
    assert "Mass" in plots.roc(both, finding="Mass").get_title(loc="left")
    with pytest.raises(ValueError, match="several findings"):
        plots.roc(both, evaluate(both))


def test_a_curve_of_many_points_is_drawn_with_few_and_keeps_its_shape():
    rng = np.random.default_rng(0)
    labels = (rng.random(20_000) < 0.1).astype(float)
    scores = pd.DataFrame(
        {"image_id": [str(k) for k in range(20_000)], "patient_id": [str(k) for k in range(20_000)],
         "finding": "Effusion", "label": labels, "score": 1 / (1 + np.exp(-rng.normal(size=20_000) - labels))}
    )  # fmt: skip
    ax = plots.roc(scores)
    x, y = next(line for line in ax.lines if "AUROC" in str(line.get_label())).get_data()
    whole_x, whole_y, _ = roc_curve(labels, scores["score"])
    assert len(whole_x) > 2000 and len(x) <= 510
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    # Every point of the whole curve has a drawn one of at most one cell's diagonal beside it.
    for at in range(0, len(whole_x), 37):
        assert np.hypot(x - whole_x[at], y - whole_y[at]).min() < 0.0058
    drawn = plots.precision_recall(scores).lines[0]
    assert len(drawn.get_xdata()) < 1500
