import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.comparison.pooling import pool_sites
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.plots.forest import sites_forest, subgroup_forest
from chexkeras.results import Estimate, Interaction, Subgroup, SubgroupAnalysis

FEW = Estimate.not_estimable("too few: 4 positives, at least 10 are needed")


@pytest.fixture
def analysis():
    groups = (
        Subgroup("F", 120, 60, 30, 90, Estimate(0.8, 0.7, 0.9), Estimate(0.7, 0.5, 0.85), Estimate(0.9, 0.85, 0.95)),
        Subgroup("M", 1300, 70, 40, 1260, Estimate(0.6, 0.45, 0.7), Estimate(0.8, 0.6, 0.9), Estimate(0.8, 0.7, 0.9)),
        Subgroup("X", 9, 8, 4, 5, FEW, FEW, FEW),
    )
    tests = (Interaction("auroc", 0.01, 0.03, "Wald"), Interaction("sensitivity", np.nan, np.nan, "", "few"),
             Interaction("specificity", 1e-5, 2e-5, "score"))  # fmt: skip
    return SubgroupAnalysis("sex", groups, tests, n_unknown=12)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_every_group_stands_with_its_interval_where_the_numbers_say(analysis):
    ax = subgroup_forest(analysis)
    drawn = {round(box[0].get_ydata()[0]): box for box in ax.containers}
    assert [box[0].get_xdata()[0] for box in drawn.values()] == [0.8, 0.6]
    (bar,) = drawn[2][2]
    np.testing.assert_allclose(bar.get_segments()[0][:, 0], [0.45, 0.7])
    for text in ("sex", "female", "male", "X", "120", "30", "0.800 (0.700–0.900)", "1,300", "difference: p = 0.030"):
        assert text in texts(ax)


def test_a_group_too_small_is_written_out_and_not_drawn(analysis):
    ax = subgroup_forest(analysis)
    assert "too few: 4 positives" in texts(ax)
    assert len(ax.containers) == 2
    assert {"not known", "12", "in no group"} <= set(texts(ax))


def test_a_test_that_could_not_be_made_is_said(analysis):
    assert "no test between groups" in texts(subgroup_forest(analysis, "sensitivity"))
    assert "difference: p <0.001" in texts(subgroup_forest(analysis, "specificity"))


def test_specificity_counts_negatives(analysis):
    ax = subgroup_forest(analysis, "specificity")
    assert {"negative", "1,260"} <= set(texts(ax))
    assert "positive" not in texts(ax)


def test_the_overall_value_is_a_line_through_all_groups(analysis):
    ax = subgroup_forest(analysis, overall=Estimate(0.72, 0.66, 0.78))
    assert [
        line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2
    ] == [0.72]
    assert "all images" in texts(ax)
    assert len(ax.lines) > len(subgroup_forest(analysis).lines)


def test_labels_stay_inside_the_figure_and_apart(analysis):
    ax = subgroup_forest([analysis, analysis], overall=Estimate(0.72, 0.66, 0.78), note="Synthetic images.")
    ax.figure.draw_without_rendering()
    width, height = ax.figure.get_size_inches() * ax.figure.dpi
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[k + 1 :])


def test_an_evaluation_brings_its_subgroups_its_overall_value_and_its_cautions():
    rng = np.random.default_rng(0)
    labels = (np.arange(200) % 3 == 0).astype(float)
    scores = pd.DataFrame(
        {"image_id": [str(k) for k in range(200)], "patient_id": [str(k // 2) for k in range(200)],
         "finding": "Effusion", "label": labels, "score": np.clip(0.3 * labels + 0.7 * rng.random(200), 0, 1)}
    )  # fmt: skip
    point = choose_threshold(None, rule="fixed", target=0.5, finding="Effusion")
    table = pd.DataFrame({"image_id": scores["image_id"], "view": np.where(rng.random(200) < 0.5, "PA", "AP")})
    evaluation = evaluate(scores, point, cautions=["Synthetic images."], table=table, subgroups=["view"])
    entry = evaluation.findings[0]
    ax = subgroup_forest(evaluation, "sensitivity")
    assert f"{entry.sensitivity.value:.3f}" in " ".join(texts(ax))
    assert "Synthetic images." in texts(ax)
    assert ax.get_title(loc="left") == "Sensitivity in groups: Effusion (test)"


def test_nothing_to_draw_and_unknown_statistics_are_refused(analysis):
    with pytest.raises(ValueError, match="nothing was measured in groups"):
        subgroup_forest([])
    with pytest.raises(ValueError, match="did you mean 'auroc'"):
        subgroup_forest(analysis, "AUROCC")


def test_sites_stand_with_their_weights_the_mean_and_the_prediction():
    pooled = pool_sites(
        {"north": Estimate(0.86, 0.82, 0.89, 0.95, 1200), "south": Estimate(0.8, 0.75, 0.84, 0.95, 900),
         "east": Estimate(0.83, 0.77, 0.88, 0.95, 400), "west": Estimate.not_estimable("no positives: all negative")}
    )  # fmt: skip
    ax = sites_forest(pooled)
    for site in pooled.sites[:3]:
        assert {site.name, f"{site.weight:.0%}", f"{site.estimate.n:,}"} <= set(texts(ax))
    assert {"mean of sites", "a new site", "no positives: all negative", "2,500"} <= set(texts(ax))
    assert len(ax.containers) == 5
    assert "I²" in ax.get_xlabel()
    assert any("few sites" in text.casefold() for text in texts(ax))
    alone = sites_forest(pool_sites({"north": Estimate(0.86, 0.82, 0.89)}), note="One site.")
    assert "One site." in texts(alone)
