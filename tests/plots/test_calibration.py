import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from chexkeras.evaluation.calibration.calibration import measure_calibration
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.plots import style
from chexkeras.plots.calibration import LOOKS, reliability

CAUTION = "Synthetic images, not clinical evidence."


def table(n=300, *, centre=-1.0, seed=0, finding="Effusion"):
    rng = np.random.default_rng(seed)
    truth = rng.normal(centre, 1.2, n)
    return pd.DataFrame(
        {
            "image_id": [f"{number}.png" for number in range(n)],
            "patient_id": [str(number // 2) for number in range(n)],
            "finding": finding,
            "label": (rng.random(n) < expit(truth)).astype(float),
            "score": expit(1.3 * truth + 0.3),
        }
    )


def measured(scores):
    return measure_calibration(scores["label"], scores["score"], clusters=scores["patient_id"])


def _labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def _bins(ax):
    """Returns the points of each run and the ends of their bars."""
    for bars in ax.containers:
        line, _, (ranges,) = bars
        yield np.asarray(line.get_data()), np.array([segment[:, 1] for segment in ranges.get_segments()])


def test_bins_stand_where_they_were_measured_with_their_intervals():
    scores = table()
    ((points, ends),) = _bins(reliability(scores))
    bins = measured(scores).bins
    assert points[0] == pytest.approx([entry.mean_score for entry in bins])
    assert points[1] == pytest.approx([entry.observed.value for entry in bins])
    assert ends == pytest.approx(np.array([(entry.observed.low, entry.observed.high) for entry in bins]))


def test_the_legend_gives_n_and_every_number_with_its_interval():
    scores = table()
    entry = measured(scores)
    text = " ".join(_labels(reliability(scores)))
    assert f"n = 300 ({entry.n_positive} positive)" in text
    assert f"Brier score {style.interval_text(entry.brier)}" in text
    assert style.interval_text(entry.expected_calibration_error) in text
    assert f"slope {entry.slope.value:.2f} ({entry.slope.low:.2f} to {entry.slope.high:.2f})" in text
    assert "perfect calibration" in text
    assert "bars: 95 % CI" in reliability(scores).get_ylabel()


def test_negative_intercepts_have_a_minus_sign_and_a_readable_range():
    scores = table(2000)
    scores["score"] = expit(scores["score"])
    entry = measured(scores).intercept
    assert entry.high < 0
    expected = f"intercept −{-entry.value:.2f} (−{-entry.low:.2f} to −{-entry.high:.2f})"
    assert expected in " ".join(_labels(reliability(scores)))


def test_the_histogram_below_holds_every_score_of_either_class():
    scores = table()
    (panel,) = reliability(scores).child_axes
    heights = np.array([patch.get_height() for patch in panel.patches])
    assert heights[heights > 0].sum() == pytest.approx(100)
    assert heights[heights < 0].sum() == pytest.approx(-100)
    centre = [patch.get_x() + patch.get_width() / 2 for patch in panel.patches]
    lowest = scores["score"].between(0, 1 / 40) & (scores["label"] == 0)
    assert heights[40] == pytest.approx(-100 * lowest.sum() / (scores["label"] == 0).sum())
    assert centre[40] == pytest.approx(1 / 80)
    assert panel.get_xlabel() == "score"


def test_rare_findings_are_drawn_large_and_what_is_left_out_is_said():
    scores = table(4000, centre=-4.5)
    ax = reliability(scores)
    top = ax.get_xlim()[1]
    assert max(entry.observed.high for entry in measured(scores).bins) < top < 0.5
    assert ax.get_ylim()[1] == pytest.approx(top, rel=0.05)
    end = round(top / 1.01, 6)
    beyond = int((scores["score"] > end).sum())
    assert ax.child_axes[0].get_xlabel() == f"score; {beyond} scores above {end:g} are not shown"


def test_several_runs_stand_on_one_axes_by_name():
    first, second = table(), table(seed=1)
    ax = reliability({"stage 1": first, "stage 2": second})
    points = [found for found, _ in _bins(ax)]
    assert points[1][0] == pytest.approx([entry.mean_score for entry in measured(second).bins])
    assert [text.split(":")[0] for text in _labels(ax)[1:]] == ["stage 1", "stage 2"]
    assert [bars[0].get_color() for bars in ax.containers] == [LOOKS[0][0], LOOKS[1][0]]
    shares = [patch.get_data()[0] for patch in ax.child_axes[0].patches]
    assert [share.sum() for share in shares] == pytest.approx([100, 100])


def test_what_was_measured_is_drawn_with_the_parts_name_and_the_cautions():
    scores = table()
    evaluation = evaluate(scores, cautions=[CAUTION])
    ax = reliability(scores, evaluation)
    assert CAUTION in [text.get_text() for text in ax.texts]
    assert "test, n = 300" in " ".join(_labels(ax))
    assert CAUTION not in [text.get_text() for text in reliability(scores, evaluation, note="").texts]
    several = reliability({"a": scores, "b": scores}, {"a": evaluation, "b": evaluation})
    assert [text.get_text() for text in several.texts].count(CAUTION) == 1


def test_recalibrated_scores_are_called_so():
    import dataclasses

    scores = table()
    evaluation = evaluate(scores)
    calibration = measure_calibration(scores["label"], scores["score"], scores_are="recalibrated by Platt scaling")
    entry = dataclasses.replace(evaluation["Effusion"], calibration=calibration)
    assert "recalibrated by Platt scaling" in " ".join(_labels(reliability(scores, entry)))


def test_one_class_gives_no_diagram_but_says_why(scores):
    scores["label"] = 1.0
    ax = reliability(scores)
    assert "not estimable:\nno negative image" in [text.get_text() for text in ax.texts]


def test_it_draws_on_the_axes_it_is_given_and_takes_ten_images(scores):
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 2)
    assert reliability(scores, ax=axes[1]) is axes[1]
    assert "Effusion" in axes[1].get_title(loc="left")


def test_runs_and_evaluations_must_go_together(scores):
    evaluation = evaluate(scores)
    with pytest.raises(ValueError, match="several evaluations"):
        reliability(scores, {"a": evaluation})
    with pytest.raises(ValueError, match=r"by the names of the scores, .*: a"):
        reliability({"a": scores}, {"b": evaluation})
    with pytest.raises(ValueError, match="by the names of the scores"):
        reliability({"a": scores}, evaluation)
    with pytest.raises(ValueError, match="0 runs were given"):
        reliability({})
    with pytest.raises(ValueError, match="say finding="):
        reliability(pd.concat([scores, scores.assign(finding="Mass")]))
