import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.comparison.compare import compare
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.uncertainty.intervals import auc_interval, average_precision_interval
from chexkeras.plots import style
from chexkeras.plots.comparison import (
    auroc_bars,
    difference_forest,
    precision_recall_comparison,
    roc_comparison,
    threshold_comparison,
)
from chexkeras.results import Comparison, Estimate

CURVES = [roc_comparison, precision_recall_comparison, threshold_comparison]


@pytest.fixture
def runs(scores):
    return {"2A": scores, "2B": scores.assign(score=[0.8, 0.6, 0.9, 0.4, 0.2, 0.7, 0.5, 0.3, 0.1, 0.05])}


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_every_run_has_its_roc_curve_and_its_interval(runs):
    ax = roc_comparison(runs)
    for name, table in runs.items():
        area = auc_interval(table["label"], table["score"])
        assert f"{name}: {style.interval_text(area)}" in legend(ax)
    curve = next(line for line in ax.lines if str(line.get_label()).startswith("2B"))
    points = set(zip(np.round(curve.get_xdata(), 6), np.round(curve.get_ydata(), 6), strict=True))
    # Of the second run: at 0.6 three of four positives and one of six negatives are called.
    assert (round(1 / 6, 6), 0.75) in points
    assert ax.get_legend().get_title().get_text() == "n = 10 (4 positive)"


def test_precision_recall_has_one_prevalence_for_all_runs(runs):
    ax = precision_recall_comparison(runs)
    table = runs["2A"]
    area = average_precision_interval(table["label"], table["score"], clusters=table["patient_id"])
    assert f"2A: {style.interval_text(area)}" in legend(ax)
    assert sum("prevalence 0.400" in text for text in legend(ax)) == 1


def test_sensitivity_and_specificity_of_every_run_against_the_threshold(runs):
    ax = threshold_comparison(runs)
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == {"2A: sensitivity", "2A: specificity", "2B: sensitivity", "2B: specificity"}
    line = lines["2B: sensitivity"]
    # At 0.5: three of the four positives of the second run score at least that.
    assert line.get_ydata()[np.searchsorted(line.get_xdata(), 0.5)] == 0.75


@pytest.mark.parametrize("draw", CURVES)
def test_runs_differ_in_line_style_and_not_only_in_colour(draw, runs):
    six = {name: runs["2A"] for name in "abcdef"}
    styles = {}
    for line in draw(six).lines:
        name = str(line.get_label()).split(":")[0]
        styles.setdefault(name, set()).add(
            (line._dash_pattern[1] and tuple(line._dash_pattern[1]), line._dash_pattern[0])
        )
    of_runs = [tuple(sorted(map(str, styles[name]))) for name in "abcdef"]
    assert len(set(of_runs)) == 6


@pytest.mark.parametrize("draw", CURVES)
def test_runs_on_other_images_are_not_drawn_together(draw, runs):
    with pytest.raises(ValueError, match="2B lacks 1 of the 10 images"):
        draw({"2A": runs["2A"], "2B": runs["2B"].iloc[1:]})
    with pytest.raises(ValueError, match="labels differ on 10 of 10 images"):
        draw({"2A": runs["2A"], "2B": runs["2B"].assign(label=1 - runs["2B"]["label"])})


@pytest.mark.parametrize("draw", CURVES)
def test_no_run_too_many_runs_and_one_class_are_refused(draw, runs):
    with pytest.raises(ValueError, match="0 runs were given"):
        draw({})
    with pytest.raises(ValueError, match="7 runs were given; 1 to 6"):
        draw(dict.fromkeys("abcdefg", runs["2A"]))
    with pytest.raises(ValueError, match="Effusion: no positive image"):
        draw({"2A": runs["2A"].assign(label=0.0)})


@pytest.mark.parametrize("draw", CURVES)
def test_the_note_stands_on_the_figure(draw, runs):
    assert "Synthetic." in [text.get_text() for text in draw(runs, note="Synthetic.").texts]


@pytest.fixture
def evaluations(runs):
    def both(table):
        mass = table.assign(finding="Pleural_Thickening", score=1 - table["score"])
        return evaluate(pd.concat([table, mass, table.assign(finding="Mass", label=0.0)]), cautions=["Synthetic."])

    return {name: both(table) for name, table in runs.items()}


def test_findings_are_ordered_by_their_auroc_with_their_intervals(evaluations):
    ax = auroc_bars(evaluations)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "Effusion (4)",
        "Pleural Thickening (4)",
        "Mass (0)",
    ]
    for box, (name, evaluation) in zip(ax.containers, evaluations.items(), strict=True):
        assert box.get_label() == name
        areas = [evaluation[finding].auroc for finding in ("Effusion", "Pleural_Thickening")]
        np.testing.assert_allclose(box[0].get_xdata(orig=False), [area.value for area in areas])
        segments = box[2][0].get_segments()
        np.testing.assert_allclose([segment[:, 0] for segment in segments], [[area.low, area.high] for area in areas])
    assert len({tuple(line.get_marker()) for line in (box[0] for box in ax.containers)}) == 2


def test_a_finding_without_positives_says_so_once(evaluations):
    texts = [text.get_text() for text in auroc_bars(evaluations).texts]
    assert texts.count("not estimable, no positives: all 10 known labels are negative") == 1
    assert "Synthetic." in texts


def test_one_run_needs_no_legend_and_too_many_are_refused(evaluations):
    ax = auroc_bars(evaluations["2A"])
    assert ax.get_legend() is None
    assert ax.get_title(loc="left") == "AUROC by finding (test)"
    with pytest.raises(ValueError, match="7 runs were given"):
        auroc_bars(dict.fromkeys("abcdefg", evaluations["2A"]))


def comparison(low, high, *, verdict="not distinguishable", margin=None, statistic="AUROC", first="2A"):
    value = Estimate(0.8, 0.7, 0.9)
    difference = Estimate((low + high) / 2, low, high)
    non_inferior = None if margin is None else low > -margin
    return Comparison(
        first, "2B", "Effusion", statistic, value, value, difference, 0.02, 0.04, verdict, margin, non_inferior
    )


def test_differences_stand_beside_the_line_of_no_difference():
    ax = difference_forest([comparison(-0.02, 0.06), comparison(0.01, 0.05, verdict="better", first="1A")])
    assert 0 in [line.get_xdata()[0] for line in ax.lines]
    assert [round(box[0].get_xdata()[0], 3) for box in ax.containers] == [0.02, 0.03]
    texts = [text.get_text() for text in ax.texts]
    assert "Effusion: AUROC" in texts
    assert "+0.020 (−0.020 to +0.060), p = 0.040, not distinguishable" in texts
    assert "+0.030 (+0.010 to +0.050), p = 0.040, better" in texts
    assert {"2A − 2B", "1A − 2B"} <= set(texts)


def test_the_margin_is_drawn_where_it_was_stated_and_what_it_shows_is_said():
    ax = difference_forest([comparison(-0.02, 0.06, margin=0.05), comparison(-0.07, 0.02, margin=0.05)])
    (line,) = [line for line in ax.lines if str(line.get_label()).startswith("margin")]
    assert set(line.get_xdata()) == {-0.05}
    assert line.get_color() == style.ORANGE
    assert matplotlib.colors.is_color_like(line.get_color())
    said = " ".join(text.get_text() for text in ax.texts)
    assert "not distinguishable, not inferior" in said
    assert "not distinguishable, non-inferiority not shown" in said
    assert not [line for line in difference_forest(comparison(-0.02, 0.06)).lines if "margin" in str(line.get_label())]


def test_statistics_are_gathered_under_one_heading_each():
    ax = difference_forest(
        [comparison(0, 0.1, statistic=name, first=first) for first in ("1A", "2A") for name in ("AUROC", "sensitivity")]
    )
    headings = [text.get_text() for text in ax.texts if text.get_text().startswith("Effusion: ")]
    assert headings == ["Effusion: AUROC", "Effusion: sensitivity"]


def test_what_cannot_be_compared_is_listed_without_a_mark(runs):
    flat = {name: table.assign(label=0.0) for name, table in runs.items()}
    ax = difference_forest(compare(flat["2A"], flat["2B"], names=("2A", "2B")))
    assert "not estimable" in [text.get_text() for text in ax.texts]
    assert not ax.containers
    with pytest.raises(ValueError, match="comparisons is empty"):
        difference_forest([])


def test_rows_stay_inside_the_figure_and_apart():
    ax = difference_forest(
        [comparison(-0.02, 0.06, margin=0.05, first=f"run {k}") for k in range(5)], note="Synthetic."
    )
    ax.figure.draw_without_rendering()
    width, height = ax.figure.get_size_inches() * ax.figure.dpi
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[k + 1 :])
