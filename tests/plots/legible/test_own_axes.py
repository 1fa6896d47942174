"""What a plot draws on axes of one's own stays in their cell, with a layout and without; long names are wrapped."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.transforms import Bbox

from chexkeras import plots
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.plots.layout.names import _name
from chexkeras.results import Estimate, Subgroup, SubgroupAnalysis
from tests.made_external import made_external, made_scores
from tests.plots.legible.legibility import faults, texts_of

LONG = "Verdacht auf beidseitige basale Pneumonie (V.a.), Röntgen Thorax im Liegen"
NOTE = "Synthetic images, not clinical evidence."
FEW = Estimate.not_estimable("too few: 4 positives, at least 10 are needed")


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(0)
    labels = (rng.random(200) < 0.3).astype(float)
    return pd.DataFrame(
        {
            "image_id": [str(number) for number in range(200)],
            "patient_id": [str(number) for number in range(200)],
            "finding": "Effusion", "label": labels,
            "score": 1 / (1 + np.exp(-(rng.normal(size=200) + 1.3 * labels - 0.8))),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def evaluation(scores):
    point = choose_threshold(scores.assign(score=scores["score"] ** 1.1), finding="Effusion")
    return evaluate(scores, point, cautions=[NOTE], split="test")


@pytest.fixture(scope="module")
def groups():
    rates = (Estimate(0.8, 0.7, 0.9),) * 3
    levels = tuple(Subgroup(f"{at * 10}-{at * 10 + 9}", 1200, 60, 30, 90, *rates) for at in range(6))
    return SubgroupAnalysis("age_years", (*levels, Subgroup("60+", 9, 8, 4, 5, FEW, FEW, FEW)), (), n_unknown=12)


def _stays(ax, row, column, *, beyond=3.0):
    """Whether a panel of two by two lies in its quarter of the figure."""
    box = ax.figure.bbox
    half_x = [box.x0, 0.5 * (ax.figure.subplotpars.left + ax.figure.subplotpars.right) * box.width, box.x1]
    half_y = [box.y0, 0.5 * (ax.figure.subplotpars.bottom + ax.figure.subplotpars.top) * box.height, box.y1]
    around = ax.get_tightbbox(for_layout_only=False)
    notes = [text.get_window_extent() for text in ax.texts if text.get_label() == "caution"]
    around = Bbox.union([around, *notes])
    return (
        around.x0 >= half_x[column] - beyond
        and around.x1 <= half_x[column + 1] + beyond
        and around.y0 >= half_y[1 - row] - beyond
        and around.y1 <= half_y[2 - row] + beyond
    )


@pytest.mark.parametrize("size", [(9.0, 8.0), (6.4, 4.8)])
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_curves_and_calibration_stay_in_their_cells(scores, evaluation, layout, size):
    drawn, places = plt.subplots(2, 2, figsize=size, layout=layout)
    plots.roc(scores, evaluation, ax=places[0, 0])
    plots.precision_recall(scores, evaluation, ax=places[0, 1])
    plots.reliability(scores, evaluation, ax=places[1, 0])
    plots.score_histogram(scores, ax=places[1, 1], note=NOTE)
    assert faults(drawn) == []
    if layout is None:
        assert all(_stays(places[at], *at) for at in np.ndindex(2, 2))
    for ax in places.ravel():
        assert [text.get_text() for text in ax.texts if text.get_label() == "caution"] == [NOTE]
        # The legend covers no number of an axis: it lies in the drawing or under it.
        legend, own = ax.get_legend().get_window_extent(), ax.get_window_extent()
        assert legend.y1 < own.y0 or (legend.x0 >= own.x0 - 1 and legend.x1 <= own.x1 + 1)


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_calls_and_groups_stay_in_their_cells(evaluation, groups, layout):
    drawn, places = plt.subplots(2, 2, figsize=(9, 8), layout=layout)
    plots.confusion_matrix(evaluation, ax=places[0, 0])
    plots.subgroup_forest([groups], ax=places[0, 1], note=NOTE)
    plots.confusion_matrix(evaluation, ax=places[1, 1])
    assert faults(drawn) == []
    cells = [text for text in places[0, 0].texts if "%" in text.get_text()]
    (left, _), (right, _) = places[0, 0].transData.transform([(-0.5, 0), (0.5, 0)])
    assert len(cells) == 4
    assert all(text.get_window_extent().width <= right - left for text in cells)
    told = [text.get_text() for text in places[0, 1].texts]
    assert {"1,200", "0.800 (0.700–0.900)", "too few: 4 positives"} <= set(told)
    if layout is None:
        assert all(_stays(places[at], *at) for at in ((0, 0), (0, 1), (1, 1)))


def test_a_forest_without_room_for_its_numbers_keeps_the_reasons_and_speaks_of_no_p(groups):
    _, places = plt.subplots(1, 4, figsize=(7, 4))
    ax = plots.subgroup_forest([groups], ax=places[0])
    told = [text.get_text() for text in ax.texts]
    assert "0.800 (0.700–0.900)" not in told and "too few: 4 positives" in told
    assert ax.get_xlabel() == "AUROC"


def test_a_layout_that_the_figure_is_given_later_places_the_drawing(scores):
    drawn, places = plt.subplots(1, 2)
    ax = plots.roc(scores, ax=places[0])
    before = ax.get_position().extents
    drawn.subplots_adjust(left=0.3)
    assert not np.allclose(ax.get_position().extents, before)
    assert ax.get_in_layout()


def test_long_names_are_wrapped_beside_bars_whose_numbers_stay_in_the_drawing(table):
    given = table.rename(columns={"Effusion": LONG})
    ax = plots.prevalence(given, [LONG, "Mass", "Hernia"])
    assert faults(ax.figure) == []
    assert LONG in [" ".join(label.get_text().split()) for label in ax.get_yticklabels()]
    own = ax.get_window_extent()
    assert own.width >= 0.4 * ax.figure.bbox.width
    assert all(text.get_window_extent().x1 <= own.x1 + 1 for text in ax.texts if text.get_label() != "caution")


def test_long_names_of_several_findings_stay_on_the_canvas():
    made = made_scores([LONG, "Mass"], skill=2.0, seed=1)
    ax = plots.auroc_bars(evaluate(made, split="test"))
    assert faults(ax.figure) == []
    (whole,) = [label.get_text() for label in ax.get_yticklabels() if label.get_text().startswith("Verdacht")]
    assert whole.count("\n") <= 2 and " ".join(whole.split()).startswith(LONG)


def test_the_longest_name_keeps_its_count():
    text = _name("W" * 100 + " (1,234)", 1.0, 9.0, lines=3)
    assert text.count("\n") == 2 and text.endswith("… (1,234)")
    assert _name("Mass (12)", 1.0, 9.0, lines=3) == "Mass (12)"


def test_columns_of_a_forest_stay_apart():
    internal, finding = made_scores(["Pneumonia"], skill=2.0, seed=1), "Pneumonia"
    points = [choose_threshold(made_scores([finding], skill=2.0, seed=2), finding=finding)]
    test = made_external(made_scores([finding], skill=0.9, seed=4), internal, points, "south")
    ax = plots.external_forest([test], finding, Estimate(0.9, 0.86, 0.93, 0.95, 300, "m"))
    assert faults(ax.figure) == []
    ax.figure.draw_without_rendering()
    verdict = next(text for text in texts_of(ax.figure) if text.get_text() == test[finding].discrimination)
    count = next(text for text in ax.texts if text.get_text() == f"{test.evaluation[finding].auroc.n:,}")
    assert verdict.get_window_extent().x0 - count.get_window_extent().x1 >= 5
